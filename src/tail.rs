//! How heavy the tail of importance weights is: k̂, the shape of a generalised Pareto distribution that is fitted to the largest of
//! them (Vehtari, Simpson, Gelman, Yao & Gabry 2024, "Pareto smoothed importance sampling"). A mean of weights whose k is ½ has no
//! variance, from 1 on no mean; above 0.7 no number of samples that one can wait for makes up for it, and neither effective samples
//! nor a jackknife see what was never drawn.

/// The most that an estimate of so many samples can be trusted with: less than 0.7 where they are few.
pub fn threshold(samples: usize) -> f64 {
    (1.0 - 1.0 / (samples as f64).log10()).min(0.7)
}

/// So few numbers tell no shape.
const FEW: usize = 5;

/// The largest weights of an example, by their logarithms: as many as a fit takes, of however many.
#[derive(Clone, Debug, Default)]
pub struct Tail {
    /// How many are fitted, min(K / 5, 3 √K). 0: too few.
    size: usize,
    /// Among them the `size` + 1 largest.
    logs: Vec<f64>,
    /// None of those that are left out is larger.
    floor: f64,
}

impl Tail {
    /// Of so many weights.
    pub fn of(samples: usize) -> Tail {
        let size = (samples as f64 / 5.0).min(3.0 * (samples as f64).sqrt()).ceil() as usize;
        Tail { size: if size < FEW { 0 } else { size }, logs: vec![], floor: f64::NEG_INFINITY }
    }

    pub fn add(&mut self, log: f64) {
        if self.size == 0 || log <= self.floor {
            return;
        }
        self.logs.push(log);
        if self.logs.len() > 2 * (self.size + 1) {
            let (_, &mut least, _) = self.logs.select_nth_unstable_by(self.size, |a, b| b.total_cmp(a));
            self.logs.truncate(self.size + 1);
            self.floor = least;
        }
    }

    /// k̂; None of too few weights. Of weights that are all the same it is −∞: they have no tail.
    pub fn shape(&self) -> Option<f64> {
        let mut logs = self.logs.clone();
        logs.sort_unstable_by(|a, b| b.total_cmp(a));
        let (&top, &cut) = logs.first().zip(logs.get(self.size).filter(|_| self.size > 0))?;
        // How far above the largest that is not among them, with the largest of all as 1.
        let cut = (cut - top).exp();
        let mut beyond: Vec<f64> =
            logs[..self.size].iter().map(|log| (log - top).exp() - cut).filter(|&x| x > 0.0).collect();
        if beyond.len() < FEW {
            // All at one height, or but for a few: these few are all there is of the mean.
            return Some(if beyond.is_empty() { f64::NEG_INFINITY } else { f64::INFINITY });
        }
        beyond.reverse();
        Some(fit(&beyond))
    }
}

/// The shape of numbers above 0, in rising order (Zhang & Stephens 2009), drawn to ½ as if by ten numbers more.
fn fit(rising: &[f64]) -> f64 {
    const PRIOR: f64 = 3.0;
    const WEIGHT: f64 = 10.0;
    let n = rising.len() as f64;
    let quarter = rising[((n / 4.0 + 0.5) as usize).max(1) - 1];
    let most = rising[rising.len() - 1];
    let shape = |b: f64| rising.iter().map(|x| (-b * x).ln_1p()).sum::<f64>() / n;
    let points = 30 + n.sqrt() as usize;
    let b = |i: usize| (1.0 - (points as f64 / (i as f64 + 0.5)).sqrt()) / (PRIOR * quarter) + 1.0 / most;
    let of: Vec<(f64, f64)> = (0..points)
        .map(|i| {
            let (b, k) = (b(i), shape(b(i)));
            (b, n * ((-b / k).ln() - k - 1.0))
        })
        .filter(|(_, log)| log.is_finite())
        .collect();
    let top = of.iter().fold(f64::NEG_INFINITY, |top, (_, log)| top.max(*log));
    let (sum, mean) = of.iter().fold((0.0, 0.0), |(sum, mean), (b, log)| {
        let weight = (log - top).exp();
        (sum + weight, mean + weight * b)
    });
    (n * shape(mean / sum) + WEIGHT * 0.5) / (n + WEIGHT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(logs: &[f64]) -> Option<f64> {
        let mut tail = Tail::of(logs.len());
        logs.iter().for_each(|&log| tail.add(log));
        tail.shape()
    }

    /// As ArviZ 0.23.4 has it: `arviz.psislw(logs)[1]`, of weights u^−k with u evenly spread over (0, 1), and of a parabola.
    #[test]
    fn the_shape_is_that_of_another_implementation() {
        let u = |i: usize| (i as f64 * 0.618_033_988_749_894_9).fract();
        let of = |samples: usize, log: &dyn Fn(f64) -> f64| {
            shape(&(1..=samples).map(|i| log(u(i))).collect::<Vec<f64>>()).unwrap()
        };
        for (samples, k, want) in [
            (100, 0.2, 0.3410144582871517),
            (100, 0.6, 0.5729460747861703),
            (100, 1.1, 0.860046145233106),
            (1000, 0.2, 0.21200068809640926),
            (1000, 0.6, 0.5514384397440879),
            (1000, 1.1, 0.9771509050639354),
            (4000, 1.1, 1.0156392641420218),
        ] {
            // Wherever they lie.
            for shift in [0.0, -2000.0] {
                let got = of(samples, &|u| shift - k * u.ln());
                assert!((got - want).abs() < 1e-6, "{samples} {k}: {got}, want {want}");
            }
        }
        let got = of(1000, &|u| -0.5 * (6.0 * u).powi(2));
        assert!((got + 1.5142497322274566).abs() < 1e-6, "{got}");
    }

    #[test]
    fn few_weights_tell_no_shape_and_one_that_is_all_of_the_mean_the_worst() {
        assert_eq!(shape(&[0.0; 20]), None);
        assert_eq!(shape(&[-3.0; 100]), Some(f64::NEG_INFINITY));
        let alone: Vec<f64> = (0..100).map(|i| if i == 7 { 0.0 } else { -1000.0 - i as f64 }).collect();
        assert_eq!(shape(&alone), Some(f64::INFINITY));
    }
}
