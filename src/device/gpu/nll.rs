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

impl<D: Driver> Gpu<D> {
    pub(super) fn log_likelihood(&mut self, nll: View, decoded: Decoded, x: View) -> Result<()> {
        let (samples, d) = ((nll.rows / x.rows) as i32, &mut self.driver);
        let Parts { squash, mean, dispersion, fixed } = Parts::new(decoded, x.cols);
        let (by_four, by_one) = (Grid::rows(nll.rows, x.cols.div_ceil(4)), Grid::rows(nll.rows, x.cols));
        let (nll, mean, dispersion, x) = (Out(nll), In(mean), In(dispersion), In(x));
        match decoded.likelihood {
            Likelihood::Bernoulli => kernels::bernoulli_forward(d, by_four, nll, mean, x, samples),
            Likelihood::Gaussian => {
                kernels::gaussian_forward(d, by_one, nll, mean, dispersion, x, samples, squash, fixed)
            }
            Likelihood::Poisson => kernels::poisson_forward(d, by_one, nll, mean, x, samples),
            Likelihood::NegativeBinomial => {
                kernels::negative_binomial_forward(d, by_one, nll, mean, dispersion, x, samples)
            }
        }
    }

    pub(super) fn log_likelihood_gradient(
        &mut self,
        dout: View,
        ddispersion: Option<View>,
        decoded: Decoded,
        x: View,
        weight: View,
    ) -> Result<()> {
        let samples = (weight.rows / x.rows) as i32;
        let Parts { squash, mean, dispersion, fixed } = Parts::new(decoded, x.cols);
        let network = match decoded.dispersion {
            LogDispersion::Network => dout.columns(x.cols..2 * x.cols),
            _ => NONE,
        };
        let dmean = dout.columns(0..x.cols);
        let (dmean16, network16) = (self.copy16(dmean), self.copy16(network));
        self.copied(dmean);
        self.copied(network);

        // One for all: each block leaves a part of its gradient.
        let scalar = ddispersion.filter(|v| v.cols == 1);
        let blocks = mean.rows.min(SCRATCH);
        let partial = scalar.map_or(NONE, |_| self.scratch.columns(0..blocks));
        let (rows, quads, columns) =
            (Grid::rows(blocks, x.cols), Grid::quads(dmean), Grid::line(x.cols.div_ceil(8), 256));
        let (d, out, a, x, w) = (&mut self.driver, In(mean), In(dispersion), In(x), In(weight));
        let (dmean, network, part) = (Out(dmean), Out(network), Out(partial));
        #[rustfmt::skip] // a line for each group
        match decoded.likelihood {
            Likelihood::Bernoulli => kernels::bernoulli_backward(d, quads, dmean, dmean16, out, x, w, samples)?,
            Likelihood::Poisson => kernels::poisson_backward(d, quads, dmean, dmean16, out, x, w, samples)?,
            Likelihood::Gaussian => kernels::gaussian_backward(
                d, rows, dmean, dmean16, network, network16, part,
                out, a, x, w, samples, squash, fixed,
            )?,
            Likelihood::NegativeBinomial => kernels::negative_binomial_backward(
                d, rows, dmean, dmean16, network, network16, part,
                out, a, x, w, samples,
            )?,
        };
        match (ddispersion, decoded.likelihood) {
            (None, _) => Ok(()),
            (Some(v), _) if v.cols == 1 => {
                kernels::dispersion_scalar_backward(d, Grid::line(1, 256), Out(v), In(partial))
            }
            (Some(v), Likelihood::NegativeBinomial) => {
                kernels::negative_binomial_shared_backward(d, columns, Out(v), out, a, x, w, samples)
            }
            (Some(v), _) => kernels::logvar_shared_backward(d, columns, Out(v), out, a, x, w, samples, squash),
        }
    }
}
