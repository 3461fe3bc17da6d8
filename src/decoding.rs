//! p(x|z) on the host, column by column and in f64. The engine sums over columns and gives means; draws, masks and noisy
//! observations need every column by itself.
use crate::config::{Likelihood, Mean, Spread};
use crate::device::{Backend, Real};
use crate::model::Network;
use crate::rng::{self, Stream, Words};
use crate::tape::Kind;
use crate::{Result, counts};
use rand_distr::{Binomial, Distribution, Gamma, Poisson, StandardNormal, StandardUniform};
use std::f64::consts::TAU;

/// One column of x, given z.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Column {
    /// p(x = 1) = σ(logit)
    Bernoulli { logit: f64 },
    /// N(mean, variance)
    Gaussian { mean: f64, variance: f64 },
    /// Of whole numbers, with the mean exp(log_mean), which is the variance too.
    Poisson { log_mean: f64 },
    /// Of whole numbers, with the mean m = exp(log_mean) and the variance m + m² exp(log_dispersion).
    NegativeBinomial { log_mean: f64, log_dispersion: f64 },
    /// One of the words of a variable: it is 1 with this probability, and then the others are 0. `behind`: how many of them stand
    /// behind it.
    Categorical { log_p: f64, behind: usize },
    /// The share of one column in counts that add up to `total`; `behind`: how many columns stand behind it.
    Multinomial { log_p: f64, behind: usize, total: f64 },
}

impl Column {
    pub fn mean(self) -> f64 {
        match self {
            Column::Bernoulli { logit } => logit.sigmoid(),
            Column::Gaussian { mean, .. } => mean,
            Column::Poisson { log_mean } | Column::NegativeBinomial { log_mean, .. } => log_mean.exp(),
            Column::Categorical { log_p, .. } => log_p.exp(),
            Column::Multinomial { log_p, total, .. } => total * log_p.exp(),
        }
    }

    /// The square root of its variance; of a word that of whether it is the one.
    pub fn deviation(self) -> f64 {
        let (mean, of_one) = (self.mean(), |p: f64| p * (1.0 - p));
        let variance = match self {
            Column::Bernoulli { logit } => logit.sigmoid() * (-logit).sigmoid(),
            Column::Gaussian { variance, .. } => variance,
            Column::Poisson { .. } => mean,
            Column::NegativeBinomial { log_dispersion, .. } => mean + mean * mean * log_dispersion.exp(),
            Column::Categorical { log_p, .. } => of_one(log_p.exp()),
            Column::Multinomial { log_p, total, .. } => total * of_one(log_p.exp()),
        };
        variance.sqrt()
    }

    /// From its share of 1 that of a total: the mean is as many times as large. What is of no counts stays as it is.
    fn of_total(self, total: f64) -> Column {
        match self {
            Column::Poisson { log_mean } => Column::Poisson { log_mean: log_mean + total.ln() },
            Column::NegativeBinomial { log_mean, log_dispersion } => {
                Column::NegativeBinomial { log_mean: log_mean + total.ln(), log_dispersion }
            }
            Column::Multinomial { log_p, behind, .. } => Column::Multinomial { log_p, behind, total },
            other => other,
        }
    }

    /// log p(x), in nats. Of a Bernoulli, for x in [0, 1]: x log σ(l) + (1 − x) log(1 − σ(l)) = x l − log(1 + exp(l)). Of a word
    /// its part of that of the variable.
    ///
    /// # Panics
    /// A share of a total: its log p is no sum over columns.
    pub fn log_p(self, x: f64) -> f64 {
        match self {
            Column::Bernoulli { logit } => x * logit - logit.softplus(),
            Column::Gaussian { mean, variance } => log_normal(x - mean, variance),
            Column::Poisson { log_mean } => -counts::poisson(log_mean, x),
            Column::NegativeBinomial { log_mean, log_dispersion } => {
                -counts::negative_binomial(log_mean, log_dispersion, x)
            }
            Column::Categorical { .. } if x == 0.0 => 0.0, // also where log p is −∞
            Column::Categorical { log_p, .. } => x * log_p,
            Column::Multinomial { .. } => panic!("the log p of counts with one total is no sum over columns"),
        }
    }

    /// log p(y) of y = x + N(0, variance of the noise). Of a Bernoulli it is a mixture of two normals, around 0 and 1.
    ///
    /// # Panics
    /// A count or a word: [`NOISY`].
    pub fn log_p_noisy(self, y: f64, noise: f64) -> f64 {
        match self {
            Column::Bernoulli { logit } => {
                let (zero, one) =
                    (-logit.softplus() + log_normal(y, noise), -(-logit).softplus() + log_normal(y - 1.0, noise));
                let top = zero.max(one);
                top + (-(zero - one).abs()).exp().ln_1p()
            }
            Column::Gaussian { mean, variance } => log_normal(y - mean, variance + noise),
            _ => panic!("{NOISY}"),
        }
    }

    /// The column once y = x + N(0, variance of the noise) is known: Bayes' rule, which stays in the family.
    ///
    /// # Panics
    /// A count or a word: [`NOISY`].
    pub fn given(self, y: f64, noise: f64) -> Column {
        match self {
            // log N(y; 1, s²) − log N(y; 0, s²) = (y − ½) / s²
            Column::Bernoulli { logit } => Column::Bernoulli { logit: logit + (y - 0.5) / noise },
            Column::Gaussian { mean, variance } => {
                let weight = variance / (variance + noise);
                Column::Gaussian { mean: mean + weight * (y - mean), variance: weight * noise }
            }
            _ => panic!("{NOISY}"),
        }
    }
}

/// Why noise on what is observed is refused beside counts and words.
pub const NOISY: &str = "with normal noise on them counts are no counts, and words no words";

/// log N(d; 0, variance)
fn log_normal(d: f64, variance: f64) -> f64 {
    -0.5 * ((TAU * variance).ln() + d * d / variance)
}

/// How a row of the decoder's output is read.
pub struct Decoding {
    /// Of each column.
    kinds: Vec<Kind>,
    /// Where the categorical variable ends that a column is of; 0 where it is of none.
    ends: Vec<usize>,
    mean: Mean,
    /// Log-dispersions that do not depend on z: one for all, or one for each. Without any, what `fixed` says.
    learned: Vec<f64>,
    fixed: f64,
    /// Whether what is put out are the logarithms of shares of a total, up to a constant.
    of_shares: bool,
}

impl Decoding {
    /// For the parameters that `b` holds.
    ///
    /// # Errors
    /// Those of the device.
    pub fn of(network: &Network, b: &mut dyn Backend) -> Result<Decoding> {
        let decoded = network.decoded;
        let learned = decoded.learned.map(|view| b.read(view)).transpose()?.unwrap_or_default();
        let kinds = Kind::each(&network.model);
        let mut ends = vec![0; kinds.len()];
        network.model.categoricals().into_iter().for_each(|variable| ends[variable.clone()].fill(variable.end));
        let (mean, fixed, of_shares) = (decoded.mean, decoded.fixed, network.model.is_of_shares());
        Ok(Decoding { kinds, ends, mean, learned, fixed, of_shares })
    }

    /// Makes the logarithms of shares of a row of what the decoder puts out, where it is of shares: on the device that is part of
    /// the likelihood, which is not asked for where there is no x. To be called before the columns of a row are.
    pub fn normalise(&self, out: &mut [f64]) {
        if self.of_shares {
            let out = &mut out[..self.kinds.len()];
            let top = out.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let log_sum = top + out.iter().map(|o| (o - top).exp()).sum::<f64>().ln();
            out.iter_mut().for_each(|o| *o -= log_sum);
        }
    }

    /// The log-dispersion of column `j`.
    fn spread(&self, out: &[f64], j: usize) -> f64 {
        match self.kinds[j].spread {
            Spread::Fixed => self.fixed,
            Spread::Learned => self.learned[j % self.learned.len()],
            Spread::Network => out[self.kinds.len() + j],
        }
    }

    /// Column `j` of p(x|z), of one row of the output. Shares are of a total of 1.
    pub fn column(&self, out: &[f64], j: usize) -> Column {
        match self.kinds[j].likelihood {
            Likelihood::Bernoulli => Column::Bernoulli { logit: out[j] },
            Likelihood::Gaussian => Column::Gaussian {
                mean: if self.mean == Mean::Sigmoid { out[j].sigmoid() } else { out[j] },
                variance: self.spread(out, j).exp(),
            },
            Likelihood::Poisson => Column::Poisson { log_mean: out[j] },
            Likelihood::NegativeBinomial => {
                Column::NegativeBinomial { log_mean: out[j], log_dispersion: self.spread(out, j) }
            }
            Likelihood::Categorical => Column::Categorical { log_p: out[j], behind: self.ends[j] - j - 1 },
            Likelihood::Multinomial => {
                Column::Multinomial { log_p: out[j], behind: self.kinds.len() - j - 1, total: 1.0 }
            }
        }
    }

    /// All columns, in order.
    pub fn columns<'a>(&'a self, out: &'a [f64]) -> impl Iterator<Item = Column> + 'a {
        (0..self.kinds.len()).map(|j| self.column(out, j))
    }

    /// The same where shares are of this total, of which x|z says nothing.
    pub fn columns_of<'a>(&'a self, out: &'a [f64], total: f64) -> impl Iterator<Item = Column> + 'a {
        self.columns(out).map(move |column| if self.of_shares { column.of_total(total) } else { column })
    }

    /// What the columns of one row are drawn from.
    pub fn draws(&self, seed: u64, stream: Stream, step: u32, row: u32) -> Draws {
        let all = |likelihood| self.kinds.iter().all(|kind| kind.likelihood == likelihood);
        let mut numbers = vec![0f32; self.kinds.len()];
        if all(Likelihood::Bernoulli) {
            rng::uniforms(&mut numbers, seed, stream, step, row);
        } else if all(Likelihood::Gaussian) {
            rng::normals(&mut numbers, seed, stream, step, row);
        } else {
            return Draws::from(Words::new(seed, stream, step, row));
        }
        Draws::Numbers(numbers)
    }
}

/// Randomness for the columns of one row: a function of the seed, the stream, the step and the row.
pub enum Draws {
    /// One for each column, uniform or normal, where all are Bernoulli or Gaussian.
    Numbers(Vec<f32>),
    /// As many as it takes, in the order in which columns are drawn. `left`: within a categorical variable, what is left of its
    /// uniform number beyond the columns before, infinite once one of them was drawn; within a multinomial, what is left of the
    /// total, and `share` what the columns that are left have of it.
    Words { words: Words, left: Option<f64>, share: f64 },
}

impl From<Words> for Draws {
    fn from(words: Words) -> Draws {
        Draws::Words { words, left: None, share: 1.0 }
    }
}

impl Draws {
    /// x ~ p(x) of column `j`.
    pub fn draw(&mut self, j: usize, column: Column) -> f64 {
        match (column, self) {
            (Column::Bernoulli { .. }, Draws::Numbers(u)) => ((u[j] as f64) < column.mean()) as u8 as f64,
            (Column::Bernoulli { .. }, Draws::Words { words, .. }) => {
                let u: f64 = StandardUniform.sample(words);
                (u < column.mean()) as u8 as f64
            }
            (Column::Gaussian { mean, variance }, Draws::Numbers(eps)) => mean + variance.sqrt() * eps[j] as f64,
            (Column::Gaussian { mean, variance }, Draws::Words { words, .. }) => {
                let eps: f64 = StandardNormal.sample(words);
                mean + variance.sqrt() * eps
            }
            (Column::Poisson { log_mean }, Draws::Words { words, .. }) => poisson(log_mean.exp(), words),
            (Column::NegativeBinomial { log_mean, log_dispersion }, Draws::Words { words, .. }) => {
                // A Poisson whose mean is drawn from Gamma(1/α, α m).
                let (shape, scale) = ((-log_dispersion).exp(), (log_mean + log_dispersion).exp());
                let mean = Gamma::new(shape, scale).map_or(log_mean.exp(), |gamma| gamma.sample(words));
                poisson(mean, words)
            }
            (Column::Multinomial { log_p, behind, total }, Draws::Words { words, left, share }) => {
                // Of what the columns before have left, a binomial of its part of their share; the last takes the rest.
                let n = left.take().unwrap_or(total);
                let p = log_p.exp();
                let part = if n > 0.0 { (p / *share).clamp(0.0, 1.0) } else { 0.0 };
                let x = match behind {
                    _ if log_p.is_nan() => f64::NAN,
                    0 => n,
                    _ => Binomial::new(n as u64, part).map_or(0.0, |binomial| binomial.sample(words) as f64),
                };
                (*left, *share) = if behind > 0 { (Some(n - x), *share - p) } else { (None, 1.0) };
                x
            }
            (Column::Categorical { log_p, behind }, Draws::Words { words, left, .. }) => {
                let u = left.take().unwrap_or_else(|| StandardUniform.sample(words));
                let p = log_p.exp();
                // The last takes what rounding left over.
                let is_drawn = u < p || behind == 0 && u.is_finite();
                *left = (behind > 0).then_some(if is_drawn { f64::INFINITY } else { u - p });
                is_drawn as u8 as f64
            }
            (_, Draws::Numbers(_)) => panic!("the draws are of another likelihood"),
        }
    }
}

/// Of a mean that the library does not take, nothing, or so much that f32 does not know its spread, the mean.
fn poisson(mean: f64, words: &mut Words) -> f64 {
    Poisson::new(mean).map_or(mean.round(), |poisson| poisson.sample(words))
}
