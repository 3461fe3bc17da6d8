//! A step of training as data: recorded once from the configuration, run at every step. Nothing here allocates.
//!
//! The graph of a VAE with MLPs is a chain, so every gradient has exactly one producer. Gradients are therefore
//! *assigned*, not accumulated: there is nothing to clear and nothing to read back. Two exceptions say so: `kl_backward` adds to
//! what `reparam_backward` assigned, and `log_means_backward` makes another gradient of what that of −log p assigned, in place.
use crate::Result;
use crate::arena::{Layout, View};
use crate::config::{Activation, Binarize, Gradient, Likelihood, Mean, Model, Objective, Optimizer, Spread};
use crate::device::Backend;
use std::ops::Range;

/// In which order the examples come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// By the epoch's keyed bijection.
    Shuffled,
    /// As they lie in the data set.
    Sequential,
}

/// What a gather takes from the data set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fetch {
    /// The first column; as many follow as the view has.
    pub from: usize,
    /// How many rows of the view each example fills, one after the other.
    pub samples: usize,
    pub order: Order,
    pub binarize: Binarize,
    /// Whether NaN in the data is a value that nobody observed, [`MISSING`](crate::device::MISSING) in x.
    pub missing: bool,
}

impl Fetch {
    /// The first columns, a row for each example; nothing is missing.
    pub fn new(order: Order, binarize: Binarize) -> Fetch {
        Fetch { from: 0, samples: 1, order, binarize, missing: false }
    }
}

/// p(x|z) as the tape needs it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decoded {
    /// The decoder's output.          (rows, input), or (rows, 2 input): [mean | log-dispersion]; of what is categorical log p; of
    /// shares of a total their logarithms, up to a constant, and once `LogMeans` has run those of means
    pub out: View,
    pub family: Family,
    /// Of the columns that are Gaussian.
    pub mean: Mean,
    /// 2 log sigma: the log-variance of a Gaussian where nothing else says it.
    pub fixed: f64,
    /// Log-dispersions that are parameters: (1, 1) for all, or (1, input).
    pub learned: Option<View>,
}

/// The likelihood of the columns.
///
/// The second parameter of a column is the log-variance of a Gaussian, the log-dispersion of a negative binomial. The other
/// likelihoods have none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Family {
    /// One for all.
    One(Kind),
    /// The [`Kind::code`] of each.                                                                  (1, input)
    ByColumn(View),
}

impl Family {
    /// The likelihood that all columns have.
    pub fn one(self) -> Option<Likelihood> {
        match self {
            Family::One(kind) => Some(kind.likelihood),
            Family::ByColumn(_) => None,
        }
    }

    /// A name for messages.
    pub fn name(self) -> String {
        self.one().map_or("by column".into(), crate::config::name_of)
    }
}

/// What a column of p(x|z) is, and where its second parameter comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    pub likelihood: Likelihood,
    pub spread: Spread,
}

impl Kind {
    /// A column of this likelihood in a model.
    pub fn new(model: &Model, likelihood: Likelihood) -> Kind {
        Kind { likelihood, spread: model.spread(likelihood) }
    }

    /// Of each column of x.
    pub fn each(model: &Model) -> Vec<Kind> {
        let of = |(likelihood, columns): (Likelihood, Range<usize>)| columns.map(move |_| Kind::new(model, likelihood));
        model.likelihoods().into_iter().flat_map(of).collect()
    }

    const LIKELIHOODS: [Likelihood; 6] = [
        Likelihood::Bernoulli,
        Likelihood::Gaussian,
        Likelihood::Poisson,
        Likelihood::NegativeBinomial,
        Likelihood::Categorical,
        Likelihood::Multinomial,
    ];
    const SPREADS: [Spread; 3] = [Spread::Fixed, Spread::Learned, Spread::Network];

    /// As a number, for devices: kernels/kinds.cuh reads it too.
    pub fn code(self) -> f64 {
        let place = Self::LIKELIHOODS.iter().position(|&l| l == self.likelihood);
        let source = Self::SPREADS.iter().position(|&s| s == self.spread);
        (place.expect("all are there") + 8 * source.expect("all are there")) as f64
    }

    /// The one with this number.
    pub fn of(code: f64) -> Kind {
        let code = code as usize;
        Kind { likelihood: Self::LIKELIHOODS[code % 8], spread: Self::SPREADS[code / 8] }
    }
}

/// One fused operation and the views it touches. Gradients are not named: `Layout::d` knows them.
/// `rows` is the batch, and every example has `samples` rows after `Reparam`: example b, sample k in row b·K + k.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// x = these columns of this step's examples, scaled to [0, 1] where they are bytes, binarised; zero beyond
    /// `step.rows`. x: (rows samples, some)
    Gather { x: View, fetch: Fetch },
    /// y = log(1 + x): what an encoder sees of counts, 0 where a value is missing; y = x in the columns that are none, by
    /// their codes.                                                       x, y: (rows, some), kinds: (1, some)
    Log1p { y: View, x: View, kinds: Option<View> },
    /// y_j −= log Σ_i exp(y_i) over the columns of each variable: log p of each of its words, from the decoder's output up to a
    /// constant. What it is done to twice stays as it is.        y: (rows, some), variables: (1, 2 V): from and to of each
    LogSoftmax { y: View, variables: View },
    /// y_j += log Σ_i x_i − log Σ_i exp(y_i), sums over what is observed of x: from the logarithms of shares, up to a constant, those
    /// of the means of counts that add up as those of x do; of a total of 0 −10,000 and less, whose exponentials are 0. What it is
    /// done to twice stays as it is. `pulls`: whether it has a backward, which makes of d/d log mean d/dy, in place; else the likelihood's
    /// is in y already.    y: (rows K, input), x: (rows, input)
    LogMeans { y: View, x: View, pulls: bool },
    /// a = x weightᵀ + bias, y = f(a); y and a are one view where f' is a function of f.
    /// x: (rows, in), weight: (out, in), bias: (1, out), y, a: (rows, out)
    Linear { y: View, a: View, x: View, weight: View, bias: View, activation: Option<Activation> },
    /// z = mu + exp(logvar / 2) eps, and log q(z|x) − log p(z) = ½ Σ (z² − logvar − eps²).
    /// head: (rows, 2 latent), z: (rows K, latent), ratio: (rows K, 1), eps: drawn, or given (rows K, latent)
    Reparam { z: View, ratio: View, head: View, eps: Option<View> },
    /// `kl[row] = ½ Σ (mu² + exp(logvar) − 1 − logvar)`; `kl_dim[j]` its mean over the batch, by dimension.
    /// head: (rows, 2 latent), kl: (rows, 1), kl_dim: (1, latent)
    Kl { kl: View, kl_dim: View, head: View },
    /// `nll[row] = −log p(x|z)`, of what is observed of x.    x: (rows, input), nll: (rows K, 1)
    Nll { nll: View, decoded: Decoded, x: View },
    /// `bound[b]` by the objective, without free bits; `weight[b K + k]` = d loss / d nll of that row; and the metrics.
    /// bound: (rows, 1), weight: (rows K, 1)
    Bound { bound: View, weight: View, nll: View, kl: View, kl_dim: View, ratio: View, objective: Goal },
}

/// What is maximised, with its constants. beta is in the step: it may warm up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Goal {
    pub objective: Objective,
    pub gradient: Gradient,
    pub free_bits: f64,
}

/// The operations of one step, forward; backward is the same list from its end.
#[derive(Clone, Debug, PartialEq)]
pub struct Tape {
    pub ops: Vec<Op>,
    pub layout: Layout,
    /// Fetches x, and the condition.
    pub data: Range<usize>,
    /// From x to `[mu | logvar]`.
    pub encoder: Range<usize>,
    /// From z to the decoder's output.
    pub decoder: Range<usize>,
    /// From z to −log p(x|z).
    pub likelihood: Range<usize>,
    pub objective: Goal,
    /// The examples of a full batch.
    pub batch: usize,
    /// What the encoder sees, the data and its condition, which needs no gradient.
    pub x: View,
    /// d loss / d nll.
    pub weight: View,
    pub kl_dim: View,
}

impl Tape {
    /// A whole step of training. Launched anew or captured into a graph, this is what runs.
    pub fn step(&self, b: &mut dyn Backend, optimizer: &Optimizer) -> Result<()> {
        self.forward(b, 0..self.ops.len())?;
        self.backward(b)?;
        b.update(&self.layout, optimizer)
    }

    /// Some of the operations: `0..ops.len()`, or one of the named ranges.
    pub fn forward(&self, b: &mut dyn Backend, ops: Range<usize>) -> Result<()> {
        for &op in &self.ops[ops] {
            match op {
                Op::Gather { x, fetch } => b.gather(x, fetch)?,
                Op::Log1p { y, x, kinds } => b.log1p(y, x, kinds)?,
                Op::LogSoftmax { y, variables } => b.log_softmax(y, variables)?,
                Op::LogMeans { y, x, .. } => b.log_means(y, x)?,
                Op::Linear { y, a, x, weight, bias, activation } => {
                    b.linear_forward(y, a, x, weight, bias, activation)?
                }
                Op::Reparam { z, ratio, head, eps } => b.reparam_forward(z, ratio, head, eps)?,
                Op::Kl { kl, kl_dim, head } => b.kl_forward(kl, kl_dim, head)?,
                Op::Nll { nll, decoded, x } => b.nll_forward(nll, decoded, x)?,
                Op::Bound { bound, weight, nll, kl, kl_dim, ratio, objective } => {
                    b.bound(bound, weight, self.layout.metrics(), nll, kl, kl_dim, ratio, objective)?
                }
            }
        }
        Ok(())
    }

    pub fn backward(&self, b: &mut dyn Backend) -> Result<()> {
        (0..self.ops.len()).rev().try_for_each(|i| self.backward_of(b, i))
    }

    /// Of one operation.
    pub fn backward_of(&self, b: &mut dyn Backend, op: usize) -> Result<()> {
        self.back(b, op, true)
    }

    /// Of some operations, down to what they are functions of, and without the gradients of parameters.
    pub fn backward_to_input(&self, b: &mut dyn Backend, ops: Range<usize>) -> Result<()> {
        ops.rev().try_for_each(|op| self.back(b, op, false))
    }

    fn back(&self, b: &mut dyn Backend, op: usize, parameters: bool) -> Result<()> {
        let d = |v| self.layout.d(v);
        match self.ops[op] {
            // That of −log p takes it into account: it is of what the layer put out.
            Op::LogSoftmax { .. } | Op::LogMeans { pulls: false, .. } => {}
            Op::LogMeans { y, x, pulls: true } => b.log_means_backward(d(y), y, x)?,
            Op::Gather { .. } | Op::Log1p { .. } | Op::Bound { .. } => {}
            Op::Nll { decoded, x, .. } => {
                let ddispersion = decoded.learned.filter(|_| parameters).map(d);
                b.nll_backward(d(decoded.out), ddispersion, decoded, x, self.weight)?
            }
            Op::Linear { y, a, x, weight, bias, activation } => {
                let dx = (x != self.x).then(|| d(x));
                let learned = parameters.then(|| (d(weight), d(bias)));
                b.linear_backward(dx, learned, d(y), y, a, x, weight, activation)?
            }
            // Reversed, Kl comes first; but it adds to what Reparam assigns, so Reparam's arm runs both.
            Op::Kl { .. } => {}
            Op::Reparam { z, head, eps, .. } => {
                b.reparam_backward(d(head), d(z), z, head, eps, self.weight, self.objective)?;
                if self.objective.objective == Objective::Elbo {
                    b.kl_backward(d(head), head, self.kl_dim, self.objective)?
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn every_kind_of_column_has_a_number_of_its_own() {
        for &likelihood in Likelihood::value_variants() {
            for spread in Kind::SPREADS {
                let kind = Kind { likelihood, spread };
                assert_eq!(Kind::of(kind.code()), kind);
            }
        }
    }
}
