//! How good a model is on a data set: the elbo and its parts, the importance bound, and what the latents do.
use crate::checkpoint::Saved;
use crate::config::{Binarize, Likelihood, Model, Objective};
use crate::data::{Dataset, MISSING, Missing, is_part_or_missing};
use crate::decoding::Decoding;
use crate::device::{Backend, Real};
use crate::estimate::{Estimate, LogLikelihood, LogLikelihoods, Running, Weights};
use crate::model::Network;
use crate::step::Step;
use crate::{Error, Result, host, latents};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;

/// A latent is active where the variance over x of `E_q[z]` is above this (Burda et al. 2016, section 5.2).
pub const ACTIVE: f64 = 0.01;

/// Rows of the decoder in one batch of an evaluation.
const ROWS: usize = 4096;
/// The most numbers that its widest layer has there: 256 MiB in f32.
const NUMBERS: usize = 1 << 26;

/// Training counts its steps from 0, an evaluation from here, so that they draw other noise.
pub(crate) const FIRST_STEP: u32 = 1 << 31;
/// Draws from the prior are counted from here.
const FIRST_PRIOR_STEP: u32 = 3 << 30;

/// All in nats per example.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// Those that count.
    pub examples: usize,
    /// −(nll + kl)
    pub elbo: Estimate,
    pub nll: Estimate,
    pub kl: Estimate,
    /// The KL by Monte Carlo: log q(z|x) − log p(z) of the z that were drawn.
    pub ratio: Estimate,
    /// The importance-weighted bound on log p(x), L_K (Burda et al. 2016, equation 8).
    pub iwae: LogLikelihood,
    pub active_units: usize,
    /// nll and kl of each example.
    pub parts: Vec<[f64; 2]>,
    /// Those of which these, or the bound, are not finite: [`Evaluator::skipping`].
    pub left_out: Vec<usize>,
    /// The mean KL of each latent dimension.
    pub kl_per_dim: Vec<f64>,
    /// `Var_x E_q[z]` of each latent dimension.
    pub variance_of_mean: Vec<f64>,
}

impl Evaluation {
    /// What a training of this model minimises, at its whole beta: with the objective's own bound and free bits, of which
    /// the data set is the batch.
    pub fn loss(&self, model: &Model) -> f64 {
        match model.objective {
            _ if model.minimises_elbo() => -self.elbo.mean,
            Objective::Elbo => {
                let kl = self.kl_per_dim.iter().map(|kl| kl.max(model.free_bits)).sum::<f64>();
                self.nll.mean + model.beta * kl
            }
            Objective::ElboMc => self.nll.mean + model.beta * self.ratio.mean,
            Objective::Iwae => -self.iwae.bound.mean,
        }
    }
}

/// Where z is drawn from, for the estimates of log p(x) by importance weights p(x|z) p(z) / q(z).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proposal {
    /// q(z|x), given by the encoder.
    Encoder,
    /// p(z): the weights are p(x|z), for most z nearly 0.
    Prior,
}

/// A model laid out for an evaluation, and a device for it.
pub struct Evaluator {
    network: Network,
    samples: usize,
    skips: bool,
}

impl Evaluator {
    /// For so many examples; `samples` z are drawn for each, in several passes if they are many.
    pub fn new(model: &Model, samples: usize, binarize: Binarize, examples: usize) -> Evaluator {
        let pass = samples.min(64);
        let model = drawing(model, pass);
        let batch = (ROWS.min(NUMBERS / model.widest()) / pass).clamp(1, examples.max(1));
        Evaluator { network: Network::inference(&model, batch, binarize), samples, skips: false }
    }
    /// To validate a training, with its z for each example. The elbo has one: more would tell nothing else.
    pub fn validating(model: &Model, binarize: Binarize, examples: usize) -> Evaluator {
        let samples = if model.objective == Objective::Elbo { 1 } else { model.samples };
        Evaluator::new(model, samples, binarize, examples)
    }
    /// Goes on where the bound of an example is not finite: it counts nowhere, and of it all is NaN. Of examples all of which are so
    /// there is no evaluation.
    pub fn skipping(self) -> Evaluator {
        Evaluator { skips: true, ..self }
    }
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Evaluates the parameters that `b` holds on `data`, which the caller loaded there. `watch` hears of every batch:
    /// the part that is done.
    ///
    /// # Errors
    /// Those of the device, a number that is not finite, and what `watch` returns.
    pub fn run(
        &self,
        b: &mut dyn Backend,
        data: &Arc<Dataset>,
        seed: u64,
        watch: &mut dyn FnMut(f64) -> Result<()>,
    ) -> Result<Evaluation> {
        let (n, rows) = (&self.network, data.rows());
        let (batch, latent) = (n.tape.batch, n.model.latent);
        let [mut elbo, mut nll, mut kl, mut ratio] = [Running::default(); 4];
        let mut iwae = LogLikelihoods::default();
        let (mut parts, mut left_out) = (Vec::with_capacity(rows), vec![]);
        let mut kl_per_dim = vec![0.0; latent];
        let mut means = vec![Running::default(); latent];
        for position in (0..rows).step_by(batch) {
            let live = batch.min(rows - position);
            let draws = self.draw(b, seed, position..position + live, Proposal::Encoder, &mut |_, _| Ok(()))?;
            let kls = b.read(n.kl.slice(0..live))?;
            let dims = b.read(n.tape.kl_dim)?;
            let heads = b.read(n.head.slice(0..live))?;
            let before = left_out.len();
            for (example, (draws, kl_of)) in draws.iter().zip(kls).enumerate() {
                match finite(data, position + example, [-draws.nll - kl_of, draws.weights.log_mean()]) {
                    Err(_) if self.skips => {
                        left_out.push(position + example);
                        parts.push([f64::NAN; 2]);
                        iwae.leave_out();
                        continue;
                    }
                    checked => checked?,
                }
                let mu = &heads[example * 2 * latent..][..latent];
                means.iter_mut().zip(mu).for_each(|(running, &mu)| running.add(mu));
                elbo.add(-(draws.nll + kl_of));
                nll.add(draws.nll);
                kl.add(kl_of);
                ratio.add(draws.ratio);
                parts.push([draws.nll, kl_of]);
                iwae.add(&draws.weights);
            }
            // The device's mean is over all of the batch.
            let counted = live - (left_out.len() - before);
            let dims = match counted {
                0 => vec![0.0; latent],
                all if all == live => dims,
                _ => {
                    let rows = heads.chunks(2 * latent).zip(&parts[position..]);
                    let rows = rows.filter(|(_, [nll, _])| !nll.is_nan()).flat_map(|(row, _)| row);
                    latents::kl_per_dim(&rows.map(|&x| x as f32).collect::<Vec<_>>(), latent)
                }
            };
            kl_per_dim.iter_mut().zip(dims).for_each(|(sum, mean)| *sum += mean * counted as f64);
            watch((position + live) as f64 / rows as f64)?;
        }
        let examples = rows - left_out.len();
        if examples == 0 {
            return finite(data, 0, [f64::NAN]).map(|()| unreachable!("NaN is not finite"));
        }
        kl_per_dim.iter_mut().for_each(|kl| *kl /= examples as f64);
        let variance_of_mean: Vec<f64> = means.iter().map(Running::variance_as_it_is).collect();
        Ok(Evaluation {
            examples,
            elbo: elbo.estimate(),
            nll: nll.estimate(),
            kl: kl.estimate(),
            ratio: ratio.estimate(),
            iwae: iwae.finish(),
            parts,
            left_out,
            active_units: variance_of_mean.iter().filter(|&&v| v > ACTIVE).count(),
            kl_per_dim,
            variance_of_mean,
        })
    }

    /// The plain Monte Carlo estimate log (1/K) Σ p(x|z), z from the prior: right in the limit, and for any K that one
    /// can wait for far too low, because hardly a z explains x (Doersch 2016, section 2).
    ///
    /// # Errors
    /// As [`Evaluator::run`].
    pub fn prior(
        &self,
        b: &mut dyn Backend,
        data: &Arc<Dataset>,
        seed: u64,
        watch: &mut dyn FnMut(f64) -> Result<()>,
    ) -> Result<LogLikelihood> {
        let (rows, batch) = (data.rows(), self.network.tape.batch);
        let mut naive = LogLikelihoods::default();
        for position in (0..rows).step_by(batch) {
            let end = rows.min(position + batch);
            for (example, draws) in
                self.draw(b, seed, position..end, Proposal::Prior, &mut |_, _| Ok(()))?.iter().enumerate()
            {
                finite(data, position + example, [draws.weights.log_mean(), draws.nll])?;
                naive.add(&draws.weights);
            }
            watch(end as f64 / rows as f64)?;
        }
        Ok(naive.finish())
    }

    /// −log p(x|z) of each column, the mean over the z of [`Evaluator::run`]: those of a row add up to its nll. NaN where a value is
    /// missing.                                                                                                    (rows, input)
    ///
    /// # Errors
    /// Those of the device, and what `watch` returns.
    ///
    /// # Panics
    /// A multinomial, whose log p is no sum over columns.
    pub fn columns(
        &self,
        b: &mut dyn Backend,
        data: &Arc<Dataset>,
        seed: u64,
        watch: &mut dyn FnMut(f64) -> Result<()>,
    ) -> Result<Vec<f64>> {
        let (n, rows) = (&self.network, data.rows());
        let (batch, input, pass, width) = (n.tape.batch, n.model.input, n.model.samples, n.decoded.out.cols);
        let decoding = Decoding::of(n, b)?;
        let may_miss = n.model.missing == Missing::Allow;
        let what = format!("the nll of {input} columns of {rows} examples");
        host::check_memory(12 * rows as u128 * input as u128, &what, "pass a smaller --count")?;
        let mut sums = vec![0.0; rows * input];
        for position in (0..rows).step_by(batch) {
            let live = batch.min(rows - position);
            let part = &mut sums[position * input..(position + live) * input];
            let mut see = |b: &mut dyn Backend, count: usize| {
                let (x, out) = (b.read(n.x.slice(0..live))?, b.read(n.decoded.out.slice(0..live * pass))?);
                let of_example = |(i, (sums, x)): (usize, (&mut [f64], &[f64]))| {
                    for out in out[i * pass * width..].chunks(width).take(count) {
                        for (j, (sum, &x)) in sums.iter_mut().zip(x).enumerate() {
                            let known = !may_miss || !x.is_missing();
                            let log_p = if known { decoding.column(out, j).log_p(x) } else { f64::NAN };
                            *sum -= log_p / self.samples as f64;
                        }
                    }
                };
                part.par_chunks_mut(input).zip(x.par_chunks(input)).enumerate().for_each(of_example);
                Ok(())
            };
            self.draw(b, seed, position..position + live, Proposal::Encoder, &mut see)?;
            watch((position + live) as f64 / rows as f64)?;
        }
        Ok(sums)
    }

    /// Draws all z of some examples, and weighs them. The examples are gathered and encoded once, so that a dynamic
    /// binarisation gives one x for all z. `see` looks at the device after each pass, of so many z that count.
    fn draw(
        &self,
        b: &mut dyn Backend,
        seed: u64,
        examples: Range<usize>,
        from: Proposal,
        see: &mut dyn FnMut(&mut dyn Backend, usize) -> Result<()>,
    ) -> Result<Vec<Draws>> {
        let (n, live) = (&self.network, examples.len());
        let (tape, pass, first) = (&n.tape, n.model.samples, examples.start as u32);
        let step = Step { index: FIRST_STEP, position: first, first_row: first, ..Step::batch(seed, live) };
        b.set_step(&step)?;
        let noise = match from {
            Proposal::Encoder => {
                tape.forward(b, tape.data.start..tape.encoder.end)?;
                FIRST_STEP
            }
            Proposal::Prior => {
                tape.forward(b, tape.data.clone())?;
                b.write(n.head, &vec![0.0; n.head.elements()])?; // mu and logvar of the prior
                FIRST_PRIOR_STEP
            }
        };
        let mut draws = vec![Draws { nll: 0.0, ratio: 0.0, weights: Weights::of(self.samples) }; live];
        for (p, drawn) in (0..self.samples).step_by(pass).enumerate() {
            b.set_step(&Step { index: noise + p as u32, ..step })?;
            tape.forward(b, tape.encoder.end..tape.ops.len())?;
            let (nlls, ratios) = (b.read(n.nll.slice(0..live * pass))?, b.read(n.ratio.slice(0..live * pass))?);
            let count = pass.min(self.samples - drawn);
            see(b, count)?;
            for (draws, rows) in draws.iter_mut().zip((0..).step_by(pass)) {
                for row in rows..rows + count {
                    draws.nll += nlls[row] / self.samples as f64;
                    draws.ratio += ratios[row] / self.samples as f64;
                    draws.weights.add(-nlls[row] - ratios[row]);
                }
            }
        }
        Ok(draws)
    }
}

/// The model with so many z for each example. The importance weights are the same whatever it was trained on; the tape's
/// own bound is not used.
pub(crate) fn drawing(model: &Model, samples: usize) -> Model {
    Model { samples, objective: Objective::Elbo, free_bits: 0.0, beta: 1.0, ..model.clone() }
}

/// What the z of one example gave.
#[derive(Clone)]
struct Draws {
    /// The mean of −log p(x|z).
    nll: f64,
    /// The mean of log q(z|x) − log p(z).
    ratio: f64,
    weights: Weights,
}

/// The estimates of an example are numbers.
pub(crate) fn finite<const N: usize>(data: &Dataset, example: usize, values: [f64; N]) -> Result<()> {
    match values.iter().all(|x| x.is_finite()) {
        true => Ok(()),
        false => Err(Error::NotFinite { example, data: data.name.clone() }),
    }
}

/// The data fits the model.
///
/// # Errors
/// A sentence with both numbers of columns, or about a value that the likelihood cannot take.
pub fn check_data(saved: &Saved, data: &Dataset, option: &str) -> Result<()> {
    let remedy = match &saved.run.data.scale {
        _ if saved.run.model.is_mixed() => format!("leave the example out of {option}"),
        None if saved.run.model.has_counts() => format!("leave the example out of {option}"),
        None => format!("pass --likelihood gaussian or scale the data of {option}"),
        Some(_) => format!("the examples that the model was trained on have none beyond; leave it out of {option}"),
    };
    fits(&saved.run.model, data, "the data of the model", &remedy)
}

/// What is to become zeros and ones is in [0, 1]: a Gaussian takes other numbers too.
///
/// # Errors
/// The first that is not, by row and column.
pub(crate) fn check_binarized(binarize: Binarize, model: &Model, data: &Dataset, remedy: &str) -> Result<()> {
    let must = format!("must be in [0, 1] to become zeros and ones; {remedy}");
    match binarize != Binarize::None && model.likelihood == Likelihood::Gaussian {
        true => data.check(0..model.input, is_part_or_missing, &must),
        false => Ok(()),
    }
}

/// The same of a model that is to be trained, whose columns are those of `like`. `remedy`: for a value that cannot be.
pub(crate) fn fits(model: &Model, data: &Dataset, like: &str, remedy: &str) -> Result<()> {
    same_columns(data, model.columns(), like)?;
    let there = |v: f32| !v.is_nan();
    match model.missing {
        Missing::Refuse | Missing::Never => data.check(0..data.cols, there, MISSING)?,
        Missing::Allow => {
            data.check(model.input..data.cols, there, "a condition must be known; leave the example out")?
        }
    }
    model.likelihoods().into_iter().try_for_each(|(likelihood, columns)| match likelihood {
        Likelihood::Bernoulli => data.check_unit_interval(columns, remedy),
        Likelihood::Gaussian => Ok(()),
        Likelihood::Poisson | Likelihood::NegativeBinomial | Likelihood::Multinomial => {
            data.check_counts(columns, remedy)
        }
        Likelihood::Categorical => data.check_one_of(columns, remedy),
    })
}

pub(crate) fn check_columns(model: &Model, data: &Dataset) -> Result<()> {
    same_columns(data, model.columns(), "the data of the model")
}

/// The same sentence wherever data meet a width that is fixed: by a model, by `--data`, by a mixture.
pub(crate) fn same_columns(data: &Dataset, want: usize, like: &str) -> Result<()> {
    // As the file has them.
    let beyond: usize = data.columns.variables().iter().map(|variable| variable.len() - 1).sum();
    let (name, got, want) = (&data.name, data.cols - beyond, want.saturating_sub(beyond));
    match got == want {
        true => Ok(()),
        false => Err(Error::failed(format!(
            "{name}: an example has {got} numbers; must have {want}, as {like}: give data of the same columns"
        ))),
    }
}
