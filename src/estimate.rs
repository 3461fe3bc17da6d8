//! Means with their errors, quantiles, and means of exponentials in log space: what every estimate is made of.
use crate::tail::{self, Tail};

/// The mean over the data set, and its standard error: the examples' standard deviation over √n.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Estimate {
    pub mean: f64,
    /// NaN of one example, which says nothing of how others differ from it.
    pub error: f64,
}

impl Estimate {
    /// Of the examples that these are of.
    pub fn of(values: &[f64]) -> Estimate {
        values.iter().copied().collect::<Running>().estimate()
    }
}

/// A running mean and variance (Welford 1962): exact sums would lose the small differences of large numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Running {
    pub n: f64,
    pub mean: f64,
    squares: f64,
}

impl Running {
    pub fn add(&mut self, x: f64) {
        self.n += 1.0;
        let d = x - self.mean;
        self.mean += d / self.n;
        self.squares += d * (x - self.mean);
    }
    /// Of a sample: divided by n − 1.
    pub fn variance(&self) -> f64 {
        if self.n > 1.0 { self.squares / (self.n - 1.0) } else { 0.0 }
    }
    /// Of these numbers and no others: divided by n.
    pub fn variance_as_it_is(&self) -> f64 {
        if self.n > 0.0 { self.squares / self.n } else { 0.0 }
    }
    pub fn estimate(&self) -> Estimate {
        let error = if self.n > 1.0 { (self.variance() / self.n).sqrt() } else { f64::NAN };
        Estimate { mean: self.mean, error }
    }
}

impl FromIterator<f64> for Running {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Running {
        let mut running = Running::default();
        values.into_iter().for_each(|x| running.add(x));
        running
    }
}

/// log Σ w of weights that are met one by one as logarithms, without overflow.
#[derive(Clone, Copy, Debug)]
struct LogSum {
    /// The largest logarithm so far; the sum is of exp(log w − top).
    top: f64,
    sum: f64,
}

impl LogSum {
    const NONE: LogSum = LogSum { top: f64::NEG_INFINITY, sum: 0.0 };

    /// `times` weights of this logarithm.
    fn add(&mut self, log: f64, times: f64) {
        if log <= self.top {
            self.sum += times * (log - self.top).exp();
        } else {
            self.sum = self.sum * (self.top - log).exp() + times;
            self.top = log;
        }
    }
    /// The sum of both.
    fn plus(mut self, other: LogSum) -> LogSum {
        self.add(other.top, other.sum);
        self
    }
    fn log(self) -> f64 {
        self.top + self.sum.ln()
    }
}

/// Groups of weights that the jackknife leaves out in turn: of more weights a fixed number takes as little memory.
const GROUPS: usize = 32;

/// Importance weights of one example, met one by one as logarithms: Σ w and Σ w², Σ w of each group, and the largest.
#[derive(Clone, Debug)]
pub struct Weights {
    all: LogSum,
    /// Of squares.
    squares: LogSum,
    /// Weight i is in group i modulo as many as there are.
    groups: [LogSum; GROUPS],
    tail: Tail,
    count: usize,
}

/// What the number of weights does to [`Weights::log_mean`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Jackknife {
    /// Of what comes out between one set of so many weights and another.
    pub variance: f64,
    /// By how much it lies off in the mean of many sets: below what endless weights would give, and negative.
    pub bias: f64,
}

impl Weights {
    /// None yet of so many.
    pub fn of(samples: usize) -> Weights {
        let groups = [LogSum::NONE; GROUPS];
        Weights { all: LogSum::NONE, squares: LogSum::NONE, groups, tail: Tail::of(samples), count: 0 }
    }
    pub fn add(&mut self, log_weight: f64) {
        self.all.add(log_weight, 1.0);
        self.squares.add(2.0 * log_weight, 1.0);
        self.groups[self.count % GROUPS].add(log_weight, 1.0);
        self.tail.add(log_weight);
        self.count += 1;
    }
    /// log (1/n) Σ w
    pub fn log_mean(&self) -> f64 {
        self.all.log() - (self.count as f64).ln()
    }
    /// (Σ w)² / Σ w², from 1 to n: how many equal weights would say as much (Kong 1992).
    pub fn effective(&self) -> f64 {
        (2.0 * self.all.log() - self.squares.log()).exp()
    }
    /// From what [`Weights::log_mean`] is without each group in turn: the delete-m jackknife for groups of unequal size (Busing, Meijer
    /// & van der Leeden 1999), as Nowozin 2018 ("Debiasing evidence approximations") has it for one size. The delta method,
    /// (1/effective − 1/n), never exceeds 1, and a set of which one weight outweighs all others may be off by thirty nats. Of one
    /// weight nothing tells it: NaN.
    pub fn jackknife(&self) -> Jackknife {
        let (n, g) = (self.count as f64, self.count.min(GROUPS));
        if g < 2 {
            return Jackknife { variance: f64::NAN, bias: f64::NAN };
        }
        let whole = self.log_mean();
        let size = |i: usize| (self.count / g + (i < self.count % g) as usize) as f64;
        // Of what stands before a group and what stands behind it: nothing is taken away from a sum of which it may be all.
        let sums = |groups: &mut dyn Iterator<Item = &LogSum>| -> Vec<LogSum> {
            let sum = |all: &mut LogSum, group: &LogSum| Some(std::mem::replace(all, all.plus(*group)));
            groups.scan(LogSum::NONE, sum).collect()
        };
        let groups = &self.groups[..g];
        let (before, behind) = (sums(&mut groups.iter()), sums(&mut groups.iter().rev()));
        let without = |i: usize| before[i].plus(behind[g - 1 - i]).log() - (n - size(i)).ln();
        let without: Vec<f64> = (0..g).map(without).collect();
        // As distances from the whole, which may be a thousand times as large.
        let d = |i: usize| without[i] - whole;
        let bias: f64 = (0..g).map(|i| (1.0 - size(i) / n) * d(i)).sum();
        let of = |i: usize| {
            let h = n / size(i);
            ((1.0 - h) * d(i) + bias).powi(2) / (h - 1.0)
        };
        Jackknife { variance: (0..g).map(of).sum::<f64>() / g as f64, bias }
    }
}

/// An estimate of log p(x), in nats per example, by weights whose mean is p(x) in expectation: in expectation it lies
/// below the truth.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogLikelihood {
    /// Its mean, and the error that comes from having seen so many examples and no more.
    pub bound: Estimate,
    /// The part of that error that comes from having drawn so many weights and no more, by the jackknife; it goes with their number.
    /// Of one weight an example nothing tells it: NaN.
    pub monte_carlo_error: f64,
    /// How far it lies from the truth in expectation, by the jackknife to the first order: negative, for it is below, and where few
    /// weights count for more than this. Of one weight NaN.
    pub bias: f64,
    /// The effective number of weights an example, in the mean; near 1, the estimate is far below the truth.
    pub effective_samples: f64,
    /// How many weights an example had.
    pub samples: usize,
    /// Of how many examples the weights have so heavy a tail that no figure here is to be trusted: a shape k above what so many
    /// weights can make up for, 0.7 at the most (Vehtari et al. 2024). None of fewer weights than tell it.
    pub heavy: Option<usize>,
    /// Of each example.
    pub per_example: Vec<f64>,
}

/// Gathers a [`LogLikelihood`], example by example.
#[derive(Clone, Debug, Default)]
pub struct LogLikelihoods {
    effective: Running,
    biases: Running,
    variances: f64,
    samples: usize,
    heavy: Option<usize>,
    per_example: Vec<f64>,
}

impl LogLikelihoods {
    pub fn add(&mut self, weights: &Weights) {
        self.effective.add(weights.effective());
        let Jackknife { variance, bias } = weights.jackknife();
        self.variances += variance;
        self.biases.add(bias);
        self.samples = weights.count;
        let is_heavy = weights.tail.shape().map(|shape| shape > tail::threshold(weights.count));
        self.heavy = is_heavy.map(|is_heavy| self.heavy.unwrap_or(0) + is_heavy as usize);
        self.per_example.push(weights.log_mean());
    }
    /// An example that counts nowhere.
    pub fn leave_out(&mut self) {
        self.per_example.push(f64::NAN);
    }
    pub fn finish(self) -> LogLikelihood {
        let running: Running = self.per_example.iter().copied().filter(|bound| !bound.is_nan()).collect();
        LogLikelihood {
            bound: running.estimate(),
            monte_carlo_error: self.variances.sqrt() / running.n.max(1.0),
            bias: self.biases.mean,
            effective_samples: self.effective.mean,
            samples: self.samples,
            heavy: self.heavy,
            per_example: self.per_example,
        }
    }
}

/// Between the two values around it, on the line, as NumPy has it.
///
/// # Panics
/// If there are none.
pub fn quantile_of_sorted(sorted: &[f64], q: f64) -> f64 {
    let at = q * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    below + (above - below) * at.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_far_beyond_the_range_of_exp_have_their_mean() {
        for shift in [0.0, -1e5, 1e5] {
            let mut w = Weights::of(0);
            [1.0f64, 5.0, 2.0].iter().for_each(|x| w.add(x.ln() + shift));
            let (want, effective) = ((8.0f64 / 3.0).ln() + shift, 64.0 / 30.0);
            // 1e5 has a unit in the last place of 1.5e-11
            assert!((w.log_mean() - want).abs() < 1e-10, "{} {want}", w.log_mean());
            assert!((w.effective() - effective).abs() < 1e-9, "{} {effective}", w.effective());
        }
    }

    fn of(logs: &[f64]) -> Weights {
        let mut weights = Weights::of(0);
        logs.iter().for_each(|&log| weights.add(log));
        weights
    }

    /// As it is written for groups of one: L_J = n L − (n − 1) mean L_(i), and the variance (n − 1)/n Σ (L_(i) − mean)².
    #[test]
    fn the_jackknife_of_few_weights_leaves_out_one_at_a_time() {
        let values = [1.0f64, 5.0, 2.0, 2.5, 0.01];
        let n = values.len() as f64;
        let log_mean = |values: &[f64]| (values.iter().sum::<f64>() / values.len() as f64).ln();
        let without: Vec<f64> =
            (0..values.len()).map(|i| log_mean(&[&values[..i], &values[i + 1..]].concat())).collect();
        let mean = without.iter().sum::<f64>() / n;
        let want = Jackknife {
            variance: (n - 1.0) / n * without.iter().map(|l| (l - mean).powi(2)).sum::<f64>(),
            bias: (n - 1.0) * (mean - log_mean(&values)),
        };
        for shift in [0.0, -1e4] {
            let got = of(&values.map(|x| x.ln() + shift)).jackknife();
            let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
            assert!(near(got.variance, want.variance) && near(got.bias, want.bias), "{got:?}, want {want:?}");
        }
    }

    /// Of weights of a lognormal with σ = 1, in groups of unequal size: as far below 0 as the variance of w over 2 n, and spread by its
    /// root, in the mean of many sets.
    #[test]
    fn the_jackknife_of_many_weights_tells_their_spread_and_how_low_they_are() {
        let (sets, n) = (4000, 140);
        let mut numbers = vec![0f32; sets * n];
        crate::rng::normals(&mut numbers, 1, crate::rng::Stream::Sample, 0, 0);
        let (mut logs, mut variance, mut bias) = (Running::default(), Running::default(), Running::default());
        for set in numbers.chunks(n) {
            let weights = of(&set.iter().map(|&eps| eps as f64 - 0.5).collect::<Vec<_>>()); // of mean 1
            logs.add(weights.log_mean());
            variance.add(weights.jackknife().variance);
            bias.add(weights.jackknife().bias);
        }
        let error = logs.estimate().error;
        assert!((bias.mean - logs.mean).abs() < 4.0 * error, "{} told, {} ± {error}", bias.mean, logs.mean);
        // The spread of 4,000 is known to 1.1 %; the jackknife is a little large.
        assert!((variance.mean / logs.variance() - 1.05).abs() < 0.1, "{} told, {}", variance.mean, logs.variance());
    }

    /// Where one weight outweighs all others, the next may be as far above it as it is above them.
    #[test]
    fn one_weight_that_outweighs_all_others_is_no_certainty() {
        let told = of(&[0.0, -1.0, -900.0, -50.0, -2000.0]).jackknife();
        assert!(told.variance > 0.5 && told.bias < -0.4, "{told:?}");
        let told = of(&[0.0, -30.0, -60.0]).jackknife();
        assert!(told.variance > 100.0 && told.variance.is_finite() && told.bias < -10.0, "{told:?}");
    }

    #[test]
    fn one_weight_tells_no_error() {
        let error = |values: &[f64]| {
            let (mut all, mut w) = (LogLikelihoods::default(), Weights::of(0));
            values.iter().for_each(|&x| w.add(x));
            all.add(&w);
            all.finish().monte_carlo_error
        };
        assert!(error(&[-3.0]).is_nan() && error(&[-3.0, -4.0]) > 0.0);
    }

    #[test]
    fn equal_weights_are_all_effective_and_have_no_error() {
        let mut w = Weights::of(0);
        (0..7).for_each(|_| w.add(-1234.5));
        let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert!(near(w.log_mean(), -1234.5) && near(w.effective(), 7.0), "{} {}", w.log_mean(), w.effective());
        assert!(w.jackknife().variance < 1e-20 && w.jackknife().bias.abs() < 1e-10, "{:?}", w.jackknife());
    }
}
