//! −log p(x|z) and its gradient, by likelihood.
use super::{Gpu, NONE};
use crate::Result;
use crate::arena::{SCRATCH, View};
use crate::config::{Likelihood, Mean};
use crate::device::driver::{Driver, Grid};
use crate::device::kernels::{self, In, Out};
use crate::tape::{Decoded, Family};

/// So many rows have work for all processors with a few warps each.
const FULL: usize = 512;

/// The decoder's output and the log-dispersions, as the kernels take them. Without rows: there are none.
struct Parts {
    /// Whether the mean of a Gaussian is the sigmoid of the output.
    squash: i32,
    /// What the mean is a function of.                                                        (rows K, input)
    mean: View,
    learned: View,
    /// A second head's.                                                                       (rows K, input)
    network: View,
    /// A Gaussian's, where no view has it.
    fixed: f32,
}

impl Parts {
    fn new(decoded: Decoded, input: usize) -> Parts {
        let out = decoded.out;
        Parts {
            squash: (decoded.mean == Mean::Sigmoid) as i32,
            mean: out.columns(0..input),
            learned: decoded.learned.unwrap_or(NONE),
            network: if out.cols > input { out.columns(input..2 * input) } else { NONE },
            fixed: decoded.fixed as f32,
        }
    }

    /// The one of them that all columns have.
    fn dispersion(&self) -> View {
        if self.network.rows > 0 { self.network } else { self.learned }
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
        let parts = Parts::new(decoded, x.cols);
        let (dispersion, Parts { squash, mean, learned, network, fixed }) = (parts.dispersion(), parts);
        let samples = (mean.rows / x.rows) as i32;
        // A gradient of the whole output, or of none of it.
        let part = |from: usize, exists: bool| {
            if exists && dout.rows > 0 { dout.columns(from..from + x.cols) } else { NONE }
        };
        let (dmean, dnetwork) = (part(0, true), part(x.cols, network.rows > 0));
        let (dmean16, dnetwork16) = (self.copy16(dmean), self.copy16(dnetwork));
        self.copied(dmean);
        self.copied(dnetwork);

        // One for all: each block leaves a part of its gradient.
        let scalar = ddispersion.filter(|v| v.cols == 1);
        let blocks = if scalar.is_some() { mean.rows.min(SCRATCH) } else { mean.rows };
        let partial = scalar.map_or(NONE, |_| self.scratch.columns(0..blocks));
        let (grid, by_four) = (Grid::rows(blocks, x.cols), Grid::rows(mean.rows, x.cols.div_ceil(4)));
        // Of rows that fill a GPU of today a thread takes four quads, whose loads are on their way at once.
        let few = if mean.rows < FULL { by_four } else { Grid::rows(mean.rows, x.cols.div_ceil(16)) };
        let (d, by_columns) = (&mut self.driver, Grid::line(x.cols.div_ceil(8), 256));
        let (out, a, x, w) = (In(mean), In(dispersion), In(x), In(weight));
        let (value, pull, pull_spread, part) = (Out(nll), Out(dmean), Out(dnetwork), Out(partial));
        let likelihood = match decoded.family {
            Family::One(kind) => kind.likelihood,
            Family::ByColumn(kinds) => {
                let (kinds, learned, network) = (In(kinds), In(learned), In(network));
                #[rustfmt::skip] // a line for each group
                kernels::mixed_nll(
                    d, grid, value, pull, dmean16, pull_spread, dnetwork16,
                    out, kinds, learned, network, x, w, samples, squash, fixed,
                )?;
                let Some(v) = ddispersion else { return Ok(()) };
                return kernels::mixed_shared_backward(
                    d,
                    by_columns,
                    Out(v),
                    out,
                    kinds,
                    learned,
                    x,
                    w,
                    samples,
                    squash,
                );
            }
        };
        #[rustfmt::skip] // a line for each group
        match likelihood {
            Likelihood::Bernoulli if dout.rows == 0 => {
                kernels::bernoulli_forward(d, by_four, value, out, x, samples)?
            }
            Likelihood::Bernoulli if nll.rows == 0 => {
                kernels::bernoulli_backward(d, Grid::quads(dmean), pull, dmean16, out, x, w, samples)?
            }
            Likelihood::Bernoulli => kernels::bernoulli_both(d, few, value, pull, dmean16, out, x, samples)?,
            Likelihood::Gaussian => kernels::gaussian_nll(
                d, grid, value, pull, dmean16, pull_spread, dnetwork16, part,
                out, a, x, w, samples, squash, fixed,
            )?,
            Likelihood::Categorical => unreachable!("which columns are one variable is told by column"),
            Likelihood::Poisson => kernels::poisson_nll(d, grid, value, pull, dmean16, out, x, w, samples)?,
            Likelihood::Multinomial => kernels::multinomial_nll(d, grid, value, pull, dmean16, out, x, w, samples)?,
            Likelihood::NegativeBinomial => kernels::negative_binomial_nll(
                d, grid, value, pull, dmean16, pull_spread, dnetwork16, part,
                out, a, x, w, samples,
            )?,
        };
        match (ddispersion, likelihood) {
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
