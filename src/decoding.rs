//! p(x|z) on the host, column by column and in f64. The engine sums over columns and gives means; draws, masks and noisy
//! observations need every column by itself.
use crate::Result;
use crate::config::{Likelihood, Mean};
use crate::device::{Backend, Real};
use crate::model::Network;
use crate::rng::{self, Stream};
use crate::tape::LogVariance;
use std::f64::consts::TAU;

/// One column of x, given z.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Column {
    /// p(x = 1) = σ(logit)
    Bernoulli { logit: f64 },
    /// N(mean, variance)
    Gaussian { mean: f64, variance: f64 },
}

impl Column {
    pub fn mean(self) -> f64 {
        match self {
            Column::Bernoulli { logit } => logit.sigmoid(),
            Column::Gaussian { mean, .. } => mean,
        }
    }

    /// log p(x), in nats. Of a Bernoulli, for x in [0, 1]: x log σ(l) + (1 − x) log(1 − σ(l)) = x l − log(1 + exp(l)).
    pub fn log_p(self, x: f64) -> f64 {
        match self {
            Column::Bernoulli { logit } => x * logit - logit.softplus(),
            Column::Gaussian { mean, variance } => log_normal(x - mean, variance),
        }
    }

    /// log p(y) of y = x + N(0, variance of the noise). Of a Bernoulli it is a mixture of two normals, around 0 and 1.
    pub fn log_p_noisy(self, y: f64, noise: f64) -> f64 {
        match self {
            Column::Bernoulli { logit } => {
                let (zero, one) =
                    (-logit.softplus() + log_normal(y, noise), -(-logit).softplus() + log_normal(y - 1.0, noise));
                let top = zero.max(one);
                top + (-(zero - one).abs()).exp().ln_1p()
            }
            Column::Gaussian { mean, variance } => log_normal(y - mean, variance + noise),
        }
    }

    /// x ~ p(x), from a number of [`Decoding::noise`].
    pub fn draw(self, noise: f32) -> f64 {
        match self {
            Column::Bernoulli { .. } => ((noise as f64) < self.mean()) as u8 as f64,
            Column::Gaussian { mean, variance } => mean + variance.sqrt() * noise as f64,
        }
    }

    /// The column once y = x + N(0, variance of the noise) is known: Bayes' rule, which stays in the family.
    pub fn given(self, y: f64, noise: f64) -> Column {
        match self {
            // log N(y; 1, s²) − log N(y; 0, s²) = (y − ½) / s²
            Column::Bernoulli { logit } => Column::Bernoulli { logit: logit + (y - 0.5) / noise },
            Column::Gaussian { mean, variance } => {
                let weight = variance / (variance + noise);
                Column::Gaussian { mean: mean + weight * (y - mean), variance: weight * noise }
            }
        }
    }
}

/// log N(d; 0, variance)
fn log_normal(d: f64, variance: f64) -> f64 {
    -0.5 * ((TAU * variance).ln() + d * d / variance)
}

/// How a row of the decoder's output is read.
pub struct Decoding {
    input: usize,
    likelihood: Likelihood,
    mean: Mean,
    variance: Spread,
}

/// The variance of a Gaussian column.
enum Spread {
    /// Of column j at `j % len`: one for all, or one for each.
    Known(Vec<f64>),
    /// The right half of the output holds its logarithm.
    Network,
}

impl Decoding {
    /// For the parameters that `b` holds.
    ///
    /// # Errors
    /// Those of the device.
    pub fn of(network: &Network, b: &mut dyn Backend) -> Result<Decoding> {
        let decoded = network.decoded;
        let variance = match decoded.variance {
            LogVariance::Fixed(logvar) => Spread::Known(vec![logvar.exp()]),
            LogVariance::Learned(v) => Spread::Known(b.read(v)?.into_iter().map(f64::exp).collect()),
            LogVariance::Network => Spread::Network,
        };
        Ok(Decoding { input: network.model.input, likelihood: decoded.likelihood, mean: decoded.mean, variance })
    }

    /// Column `j` of p(x|z), of one row of the output.
    pub fn column(&self, out: &[f64], j: usize) -> Column {
        match self.likelihood {
            Likelihood::Bernoulli => Column::Bernoulli { logit: out[j] },
            Likelihood::Gaussian => Column::Gaussian {
                mean: if self.mean == Mean::Sigmoid { out[j].sigmoid() } else { out[j] },
                variance: match &self.variance {
                    Spread::Known(variances) => variances[j % variances.len()],
                    Spread::Network => out[self.input + j].exp(),
                },
            },
        }
    }

    /// All columns, in order.
    pub fn columns<'a>(&'a self, out: &'a [f64]) -> impl Iterator<Item = Column> + 'a {
        (0..self.input).map(|j| self.column(out, j))
    }

    /// What [`Column::draw`] draws from: one number for each column, uniform or normal.
    pub fn noise(&self, seed: u64, stream: Stream, step: u32, row: u32) -> Vec<f32> {
        let mut noise = vec![0f32; self.input];
        match self.likelihood {
            Likelihood::Bernoulli => rng::uniforms(&mut noise, seed, stream, step, row),
            Likelihood::Gaussian => rng::normals(&mut noise, seed, stream, step, row),
        }
        noise
    }
}
