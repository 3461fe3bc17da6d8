//! −log p(x|z) and its gradient, by likelihood.
use super::{Gpu, NONE};
use crate::Result;
use crate::arena::{SCRATCH, View};
use crate::config::{Likelihood, Mean};
use crate::device::driver::{Driver, Grid};
use crate::device::kernels::{self, In, Out};
use crate::tape::{Decoded, LogDispersion};

/// The mean and the log-dispersion (a view, or a number), as the kernels take them.
struct Parts {
    /// Whether the mean of a Gaussian is the sigmoid of the output.
    squash: i32,
    /// What the mean is a function of.                                                        (rows K, input)
    mean: View,
    /// No rows where it is fixed.
    dispersion: View,
    fixed: f32,
}

impl Parts {
    fn new(decoded: Decoded, input: usize) -> Parts {
        let (dispersion, fixed) = match decoded.dispersion {
            LogDispersion::Fixed(log) => (NONE, log as f32),
            LogDispersion::Learned(view) => (view, 0.0),
            LogDispersion::Network => (decoded.out.columns(input..2 * input), 0.0),
        };
        let squash = (decoded.mean == Mean::Sigmoid) as i32;
        Parts { squash, mean: decoded.out.columns(0..input), dispersion, fixed }
    }
}

/// What is wanted of the likelihood; a view without rows is not.
pub(super) struct Wanted {
    /// −log p(x|z).                                                                            (rows K, 1)
    pub nll: View,
    /// Its gradient in the decoder's output.
    pub dout: View,
    /// d loss / d nll. Without rows it is 1 / (step.rows K), as the bound will find too.       (rows K, 1)
    pub weight: View,
    /// The gradient of a log-dispersion that is a parameter.
    pub ddispersion: Option<View>,
}

impl<D: Driver> Gpu<D> {
    pub(super) fn log_likelihood(&mut self, wanted: Wanted, decoded: Decoded, x: View) -> Result<()> {
        let Wanted { nll, dout, weight, ddispersion } = wanted;
        let Parts { squash, mean, dispersion, fixed } = Parts::new(decoded, x.cols);
        let samples = (mean.rows / x.rows) as i32;
        // A gradient of the whole output, or of none of it.
        let part = |from: usize, exists: bool| {
            if exists && dout.rows > 0 { dout.columns(from..from + x.cols) } else { NONE }
        };
        let (dmean, network) = (part(0, true), part(x.cols, decoded.dispersion == LogDispersion::Network));
        let (dmean16, network16) = (self.copy16(dmean), self.copy16(network));
        self.copied(dmean);
        self.copied(network);

        // One for all: each block leaves a part of its gradient.
        let scalar = ddispersion.filter(|v| v.cols == 1);
        let blocks = if scalar.is_some() { mean.rows.min(SCRATCH) } else { mean.rows };
        let partial = scalar.map_or(NONE, |_| self.scratch.columns(0..blocks));
        let (grid, by_four) = (Grid::rows(blocks, x.cols), Grid::rows(mean.rows, x.cols.div_ceil(4)));
        let (d, cols) = (&mut self.driver, x.cols);
        let (out, a, x, w) = (In(mean), In(dispersion), In(x), In(weight));
        let (value, pull, pull_spread, part) = (Out(nll), Out(dmean), Out(network), Out(partial));
        #[rustfmt::skip] // a line for each group
        match decoded.likelihood {
            Likelihood::Bernoulli if dout.rows == 0 => {
                kernels::bernoulli_forward(d, by_four, value, out, x, samples)?
            }
            Likelihood::Bernoulli if nll.rows == 0 => {
                kernels::bernoulli_backward(d, Grid::quads(dmean), pull, dmean16, out, x, w, samples)?
            }
            Likelihood::Bernoulli => kernels::bernoulli_both(d, by_four, value, pull, dmean16, out, x, samples)?,
            Likelihood::Gaussian => kernels::gaussian_nll(
                d, grid, value, pull, dmean16, pull_spread, network16, part,
                out, a, x, w, samples, squash, fixed,
            )?,
            Likelihood::Poisson => kernels::poisson_nll(d, grid, value, pull, dmean16, out, x, w, samples)?,
            Likelihood::NegativeBinomial => kernels::negative_binomial_nll(
                d, grid, value, pull, dmean16, pull_spread, network16, part,
                out, a, x, w, samples,
            )?,
        };
        let by_columns = Grid::line(cols.div_ceil(8), 256);
        match (ddispersion, decoded.likelihood) {
            (None, _) => Ok(()),
            (Some(v), _) if v.cols == 1 => {
                kernels::dispersion_scalar_backward(d, Grid::line(1, 256), Out(v), In(partial))
            }
            (Some(v), Likelihood::NegativeBinomial) => {
                kernels::negative_binomial_shared_backward(d, by_columns, Out(v), out, a, x, w, samples)
            }
            (Some(v), _) => kernels::logvar_shared_backward(d, by_columns, Out(v), out, a, x, w, samples, squash),
        }
    }
}
