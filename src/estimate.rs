//! Means with their errors, quantiles, and means of exponentials in log space: what every estimate is made of.

/// The mean over the data set, and its standard error: the examples' standard deviation over √n.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Estimate {
    pub mean: f64,
    /// NaN of one example, which says nothing of how others differ from it.
    pub error: f64,
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

/// Importance weights of one example, met one by one as logarithms: Σ w and Σ w², without overflow.
#[derive(Clone, Copy, Debug)]
pub struct Weights {
    /// The largest logarithm so far; the sums are of exp(log w − top).
    top: f64,
    sum: f64,
    squares: f64,
    count: usize,
}

impl Default for Weights {
    fn default() -> Self {
        Weights { top: f64::NEG_INFINITY, sum: 0.0, squares: 0.0, count: 0 }
    }
}

impl Weights {
    pub fn add(&mut self, log_weight: f64) {
        self.count += 1;
        if log_weight <= self.top {
            let w = (log_weight - self.top).exp();
            self.sum += w;
            self.squares += w * w;
        } else {
            let down = (self.top - log_weight).exp();
            self.sum = self.sum * down + 1.0;
            self.squares = self.squares * down * down + 1.0;
            self.top = log_weight;
        }
    }
    /// log (1/n) Σ w
    pub fn log_mean(&self) -> f64 {
        self.top + (self.sum / self.count as f64).ln()
    }
    /// (Σ w)² / Σ w², from 1 to n: how many equal weights would say as much (Kong 1992).
    pub fn effective(&self) -> f64 {
        self.sum * self.sum / self.squares
    }
    /// The variance of [`Weights::log_mean`] by the delta method: the variance of w over n (mean w)². Too small where one
    /// weight outweighs all others, as then n weights do not show how much larger the next might be.
    pub fn variance_of_log_mean(&self) -> f64 {
        let n = self.count as f64;
        (1.0 / self.effective() - 1.0 / n).max(0.0) * n / (n - 1.0).max(1.0)
    }
}

/// An estimate of log p(x), in nats per example, by weights whose mean is p(x) in expectation: in expectation it lies
/// below the truth.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogLikelihood {
    /// Its mean, and the error that comes from having seen so many examples and no more.
    pub bound: Estimate,
    /// The part of that error that comes from having drawn so many weights and no more; it goes with their number. Of one weight an
    /// example nothing tells it: NaN.
    pub monte_carlo_error: f64,
    /// The effective number of weights an example, in the mean; near 1, the estimate is far below the truth.
    pub effective_samples: f64,
    /// How many weights an example had.
    pub samples: usize,
    /// Of each example.
    pub per_example: Vec<f64>,
}

/// Gathers a [`LogLikelihood`], example by example.
#[derive(Clone, Debug, Default)]
pub struct LogLikelihoods {
    effective: Running,
    variances: f64,
    samples: usize,
    per_example: Vec<f64>,
}

impl LogLikelihoods {
    pub fn add(&mut self, weights: &Weights) {
        self.effective.add(weights.effective());
        self.variances += weights.variance_of_log_mean();
        self.samples = weights.count;
        self.per_example.push(weights.log_mean());
    }
    pub fn finish(self) -> LogLikelihood {
        let mut running = Running::default();
        self.per_example.iter().for_each(|&x| running.add(x));
        let monte_carlo_error = self.variances.sqrt() / running.n.max(1.0);
        LogLikelihood {
            bound: running.estimate(),
            monte_carlo_error: if self.samples > 1 { monte_carlo_error } else { f64::NAN },
            effective_samples: self.effective.mean,
            samples: self.samples,
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
            let mut w = Weights::default();
            [1.0f64, 5.0, 2.0].iter().for_each(|x| w.add(x.ln() + shift));
            let (want, effective) = ((8.0f64 / 3.0).ln() + shift, 64.0 / 30.0);
            // 1e5 has a unit in the last place of 1.5e-11
            assert!((w.log_mean() - want).abs() < 1e-10, "{} {want}", w.log_mean());
            assert!((w.effective() - effective).abs() < 1e-9, "{} {effective}", w.effective());
        }
    }

    #[test]
    fn the_delta_method_is_the_variance_of_the_mean_over_its_square() {
        let values = [1.0f64, 5.0, 2.0, 2.5];
        let (mut w, mut running) = (Weights::default(), Running::default());
        values.iter().for_each(|x| {
            w.add(x.ln());
            running.add(*x);
        });
        let want = running.variance() / values.len() as f64 / running.mean.powi(2);
        assert!((w.variance_of_log_mean() - want).abs() < 1e-12, "{} {want}", w.variance_of_log_mean());
    }

    #[test]
    fn one_weight_tells_no_error() {
        let error = |values: &[f64]| {
            let (mut all, mut w) = (LogLikelihoods::default(), Weights::default());
            values.iter().for_each(|&x| w.add(x));
            all.add(&w);
            all.finish().monte_carlo_error
        };
        assert!(error(&[-3.0]).is_nan() && error(&[-3.0, -4.0]) > 0.0);
    }

    #[test]
    fn equal_weights_are_all_effective_and_have_no_error() {
        let mut w = Weights::default();
        (0..7).for_each(|_| w.add(-1234.5));
        assert_eq!((w.log_mean(), w.effective(), w.variance_of_log_mean()), (-1234.5, 7.0, 0.0));
    }
}
