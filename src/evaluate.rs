//! How good a model is on a data set: the elbo and its parts, the importance bound, and what the latents do.
use crate::checkpoint::Saved;
use crate::config::{Binarize, Model, Objective};
use crate::data::Dataset;
use crate::device::Backend;
use crate::model::Network;
use crate::step::Step;
use crate::{Error, Result};
use serde::Serialize;
use std::sync::Arc;

/// A latent is active where the variance over x of `E_q[z]` is above this (Burda et al. 2016, section 5.2).
pub const ACTIVE: f64 = 0.01;

/// Rows of the decoder in one batch of an evaluation: a few megabytes of activations.
const ROWS: usize = 4096;

/// Training counts its steps from 0, an evaluation from here, so that they draw other noise.
const FIRST_STEP: u32 = 1 << 31;

/// The mean over the data set, and its standard error: the examples' standard deviation over √n.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Estimate {
    pub mean: f64,
    pub error: f64,
}

/// All in nats per example.
#[derive(Clone, Debug)]
pub struct Evaluation {
    pub examples: usize,
    /// −(nll + kl)
    pub elbo: Estimate,
    pub nll: Estimate,
    pub kl: Estimate,
    /// The importance-weighted bound on log p(x) with `samples` samples (Burda et al. 2016, equation 8).
    pub iwae: Estimate,
    pub samples: usize,
    pub active_units: usize,
    /// The mean KL of each latent dimension.
    pub kl_per_dim: Vec<f64>,
    /// `Var_x E_q[z]` of each latent dimension.
    pub variance_of_mean: Vec<f64>,
}

/// What the evaluation's JSON holds.
#[derive(Serialize)]
struct Json<'a> {
    examples: usize,
    elbo: f64,
    elbo_error: f64,
    nll: f64,
    nll_error: f64,
    kl: f64,
    kl_error: f64,
    iwae: f64,
    iwae_error: f64,
    samples: usize,
    active_units: usize,
    kl_per_dim: &'a [f64],
    variance_of_mean: &'a [f64],
}

impl Evaluation {
    pub fn to_json(&self) -> String {
        let json = Json {
            examples: self.examples,
            elbo: self.elbo.mean,
            elbo_error: self.elbo.error,
            nll: self.nll.mean,
            nll_error: self.nll.error,
            kl: self.kl.mean,
            kl_error: self.kl.error,
            iwae: self.iwae.mean,
            iwae_error: self.iwae.error,
            samples: self.samples,
            active_units: self.active_units,
            kl_per_dim: &self.kl_per_dim,
            variance_of_mean: &self.variance_of_mean,
        };
        serde_json::to_string(&json).expect("an evaluation is JSON")
    }
}

/// A running mean and variance (Welford 1962): exact sums would lose the small differences of large numbers.
#[derive(Clone, Copy, Default)]
struct Running {
    n: f64,
    mean: f64,
    squares: f64,
}

impl Running {
    fn add(&mut self, x: f64) {
        self.n += 1.0;
        let d = x - self.mean;
        self.mean += d / self.n;
        self.squares += d * (x - self.mean);
    }
    fn variance(&self) -> f64 {
        if self.n > 1.0 { self.squares / (self.n - 1.0) } else { 0.0 }
    }
    fn estimate(&self) -> Estimate {
        Estimate { mean: self.mean, error: (self.variance() / self.n).sqrt() }
    }
}

/// A model laid out for an evaluation, and a device for it.
pub struct Evaluator {
    network: Network,
    samples: usize,
}

impl Evaluator {
    /// `samples` z are drawn for each example, in several passes if they are many.
    pub fn new(model: &Model, samples: usize, binarize: Binarize) -> Evaluator {
        let pass = samples.min(64);
        // The importance weights are the same whatever the model was trained on; the tape's own bound is not used.
        let model = Model { samples: pass, objective: Objective::Elbo, free_bits: 0.0, beta: 1.0, ..model.clone() };
        let batch = (ROWS / pass).max(1);
        Evaluator { network: Network::inference(&model, batch, binarize), samples }
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
        let (batch, pass, latent) = (n.tape.batch, n.model.samples, n.model.latent);
        let passes = self.samples.div_ceil(pass);
        let [mut elbo, mut nll, mut kl, mut iwae] = [Running::default(); 4];
        let mut kl_per_dim = vec![0.0; latent];
        let mut means = vec![Running::default(); latent];
        for position in (0..rows).step_by(batch) {
            let live = batch.min(rows - position);
            // Of each example: the sum of nll, and log Σ exp of its log-weights as (largest, sum).
            let mut sums = vec![0.0; live];
            let mut weights = vec![(f64::NEG_INFINITY, 0.0); live];
            let mut kls = vec![];
            for p in 0..passes {
                let step = Step {
                    index: FIRST_STEP + p as u32,
                    position: position as u32,
                    first_row: position as u32,
                    ..Step::batch(seed, live)
                };
                b.set_step(&step)?;
                n.tape.forward(b, 0..n.tape.ops.len())?;
                let count = pass.min(self.samples - p * pass);
                let (nlls, ratios) = (b.read(n.nll)?, b.read(n.ratio)?);
                for example in 0..live {
                    for row in example * pass..example * pass + count {
                        sums[example] += nlls[row];
                        accumulate(&mut weights[example], -nlls[row] - ratios[row]);
                    }
                }
                if p == 0 {
                    kls = b.read(n.kl)?;
                    let dims = b.read(n.tape.kl_dim)?;
                    kl_per_dim.iter_mut().zip(dims).for_each(|(sum, mean)| *sum += mean * live as f64);
                    let head = b.read(n.head)?;
                    for row in head.chunks(2 * latent).take(live) {
                        means.iter_mut().zip(row).for_each(|(running, &mu)| running.add(mu));
                    }
                }
            }
            for example in 0..live {
                let mean_nll = sums[example] / self.samples as f64;
                let (top, sum) = weights[example];
                let bound = top + (sum / self.samples as f64).ln();
                let value = -(mean_nll + kls[example]);
                if !(value.is_finite() && bound.is_finite()) {
                    let (i, what) = (position + example, &data.name);
                    return Err(Error::failed(format!(
                        "{what}: the bound of example {i} is not finite; the model does not fit this data"
                    )));
                }
                elbo.add(value);
                nll.add(mean_nll);
                kl.add(kls[example]);
                iwae.add(bound);
            }
            watch((position + live) as f64 / rows as f64)?;
        }
        kl_per_dim.iter_mut().for_each(|kl| *kl /= rows as f64);
        // Over the data set as it is, so divided by n.
        let variance_of_mean: Vec<f64> = means.iter().map(|m| m.squares / m.n).collect();
        Ok(Evaluation {
            examples: rows,
            elbo: elbo.estimate(),
            nll: nll.estimate(),
            kl: kl.estimate(),
            iwae: iwae.estimate(),
            samples: self.samples,
            active_units: variance_of_mean.iter().filter(|&&v| v > ACTIVE).count(),
            kl_per_dim,
            variance_of_mean,
        })
    }
}

/// Adds exp(x) to (top, sum), which stand for sum · exp(top).
fn accumulate((top, sum): &mut (f64, f64), x: f64) {
    if x <= *top {
        *sum += (x - *top).exp();
    } else {
        *sum = *sum * (*top - x).exp() + 1.0;
        *top = x;
    }
}

/// The data fits the model.
///
/// # Errors
/// A sentence with both numbers of columns, or about a value that the likelihood cannot take.
pub fn check_data(saved: &Saved, data: &Dataset, option: &str) -> Result<()> {
    check_columns(&saved.run.model, data)?;
    if saved.run.model.likelihood == crate::config::Likelihood::Bernoulli {
        data.check_unit_interval(option)?;
    }
    Ok(())
}

pub(crate) fn check_columns(model: &Model, data: &Dataset) -> Result<()> {
    let (got, want) = (data.cols, model.input);
    match got == want {
        true => Ok(()),
        false => Err(Error::failed(format!(
            "{}: an example has {got} numbers; the model takes {want}: give data like what it was trained on",
            data.name
        ))),
    }
}
