//! The library in the words of its users.
mod builder;

pub use builder::Builder;

use crate::Result;
use crate::checkpoint::Saved;
use crate::config::{Condition, Model, Run};
use crate::data::{Columns, Dataset};
use crate::device::Device;
use crate::estimate::Estimate;
use crate::evaluate::{Evaluation, Evaluator, check_data};
use crate::infer::Inference;
use crate::latents;
use crate::metrics::Record;
use crate::trainer::Outcome;
use crate::{Error, error::at_least_one};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// A variational autoencoder: [`Vae::builder`], `fit`, and what the fitted model gives. Nothing is printed, no file is
/// touched unless it is named, and everything that can go wrong is an [`Error`](crate::Error).
///
/// Data are a [`Dataset`]: from a file ([`Dataset::read`]), from numbers ([`Dataset::from_rows`]), or the built-in digits.
/// What the model gives is row-major `Vec<f32>`, a row an example, in the units of the data. The same settings, data and seed give the bytes that
/// `vae-gpu train` gives.
///
/// ```
/// use std::sync::Arc;
/// use vae_gpu::{Vae, config::Likelihood, data::Dataset};
///
/// // 200 points around a circle, in the plane.
/// let angle = |i: usize| i as f32 * 0.0314;
/// let points = (0..200).flat_map(|i| [angle(i).cos(), angle(i).sin()]).collect();
/// let data = Arc::new(Dataset::from_rows("a circle", 2, points)?);
///
/// let mut vae = Vae::builder()
///     .hidden(&[32])
///     .latent(2)
///     .likelihood(Likelihood::Gaussian)
///     .sigma(0.1)
///     .lr(0.01)
///     .epochs(60)
///     .batch(20)
///     .device("cpu")
///     .fit(&data)?;
///
/// let elbo = vae.elbo(&data)?;                                  // nats per example, with its standard error
/// let z = vae.encode(&data)?;                                   // q(z|x): mean and logvar, (200, 2) each
/// let back = vae.decode(&z.mean)?;                              // the mean of p(x|z), (200, 2)
/// let drawn = vae.sample(10, 0)?;                               // (10, 2), seed 0
/// # assert!(elbo.mean > -2.0 && elbo.error > 0.0, "{elbo:?}");
/// # assert_eq!((z.mean.len(), z.logvar.len(), back.len(), drawn.len()), (400, 400, 400, 20));
/// # Ok::<(), vae_gpu::Error>(())
/// ```
///
/// Methods that take `&mut self` compute in the memory that the model has on its device, where it has room for up to 1,024 examples
/// at once. It stays on its thread; [`Vae::into_saved`] goes to others.
pub struct Vae {
    saved: Saved,
    device: Device,
    inference: Inference,
    /// How the training went, of a model that was fitted here.
    pub outcome: Option<Outcome>,
    /// The lines of metrics of that training, in order.
    pub history: Vec<Record>,
}

impl fmt::Debug for Vae {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Vae").field("run", self.run()).field("device", &self.device).finish_non_exhaustive()
    }
}

/// q(z|x) of some examples: a Gaussian with a diagonal covariance.
#[derive(Clone, Debug, PartialEq)]
pub struct Latents {
    /// (rows, latent)
    pub mean: Vec<f32>,
    /// The logarithm of the variance. (rows, latent)
    pub logvar: Vec<f32>,
}

impl Vae {
    /// Begins with the defaults of `vae-gpu train`: 500 hidden units, 20 latent dimensions, Bernoulli, Adam, 10 epochs of
    /// batches of 100.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// A model that was trained before, here or by `vae-gpu train`: a run directory, or its `model.safetensors`. On a GPU
    /// if there is one.
    ///
    /// # Errors
    /// A file that is missing or damaged; too little memory.
    pub fn open(path: impl AsRef<Path>) -> Result<Vae> {
        let saved = Saved::read(path.as_ref())?;
        let (device, _) = Device::find("auto", saved.run.training.precision)?;
        Vae::of(saved, device)
    }

    /// The same on a device of choice.
    ///
    /// # Errors
    /// As [`Vae::open`].
    pub fn open_on(path: impl AsRef<Path>, device: Device) -> Result<Vae> {
        Vae::of(Saved::read(path.as_ref())?, device)
    }

    /// The same of a model in memory: what [`Vae::into_saved`] gave.
    ///
    /// # Errors
    /// Too little memory.
    pub fn of(saved: Saved, device: Device) -> Result<Vae> {
        let inference = Inference::open(&saved, saved.run.data.binarize, &device)?;
        Ok(Vae { saved, device, inference, outcome: None, history: vec![] })
    }

    /// Its parameters and its configuration: what an [`Imputer`](crate::impute::Imputer) opens, and what goes to another thread, where a
    /// model that is on its device stays on its own.
    ///
    /// ```
    /// # use vae_gpu::{Vae, data::digits, device::Device};
    /// # use std::{sync::Arc, thread};
    /// let fit = |seed| move || {
    ///     let data = Arc::new(digits::train().first(200));
    ///     let builder = Vae::builder().hidden(&[20]).latent(3).epochs(1).seed(seed).device("cpu");
    ///     builder.fit(&data).map(Vae::into_saved)
    /// };
    /// let both = [0, 1].map(|seed| thread::spawn(fit(seed))).map(|thread| thread.join().unwrap());
    /// for saved in both {
    ///     let (cpu, _) = Device::find("cpu", vae_gpu::config::Numbers::Fp32)?;
    ///     assert_eq!(Vae::of(saved?, cpu)?.sample(2, 0)?.len(), 2 * 784);
    /// }
    /// # Ok::<(), vae_gpu::Error>(())
    /// ```
    pub fn into_saved(self) -> Saved {
        self.saved
    }

    /// The same, which stays here.
    pub fn saved(&self) -> &Saved {
        &self.saved
    }

    /// Its configuration: the model, how it was trained, and on what.
    pub fn run(&self) -> &Run {
        &self.saved.run
    }

    /// Where it computes.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The evidence lower bound, −(nll + kl), in nats per example, with the standard error of its mean over the examples.
    /// One z is drawn for each.
    ///
    /// # Errors
    /// Data of other columns, or of other names where both have some; numbers that the likelihood cannot have.
    pub fn elbo(&self, data: &Arc<Dataset>) -> Result<Estimate> {
        Ok(self.evaluate(data, 1)?.elbo)
    }

    /// Everything that `vae-gpu eval` says: the elbo and its parts, the bound L_K of `samples` draws, active units.
    ///
    /// # Errors
    /// As [`Vae::elbo`]; no samples.
    pub fn evaluate(&self, data: &Arc<Dataset>, samples: usize) -> Result<Evaluation> {
        at_least_one("samples", samples, "1")?;
        let data = &seen(&self.saved, data)?;
        let run = self.run();
        let evaluator = Evaluator::new(&run.model, samples, run.data.binarize, data.rows());
        let mut backend = self.saved.place(evaluator.network(), data, &self.device)?;
        evaluator.run(&mut *backend, data, run.training.seed, &mut |_| Ok(()))
    }

    /// q(z|x) of every example.
    ///
    /// # Errors
    /// As [`Vae::elbo`].
    pub fn encode(&mut self, data: &Arc<Dataset>) -> Result<Latents> {
        let head = self.inference.encode(&seen(&self.saved, data)?, self.saved.run.training.seed)?;
        let latent = self.inference.latent();
        let logvar = head.chunks(2 * latent).flat_map(|row| &row[latent..]).copied().collect();
        Ok(Latents { mean: latents::means(&head, latent), logvar })
    }

    /// The mean of p(x|z).                              z: (rows, latent), out: (rows, input)
    ///
    /// # Errors
    /// Not whole rows; a model that needs a condition, which [`Vae::decode_given`] takes.
    pub fn decode(&mut self, z: &[f32]) -> Result<Vec<f32>> {
        self.decode_given(z, &[])
    }

    /// The same of a conditional model.                 z: (rows, latent), condition: (rows, condition)
    ///
    /// # Errors
    /// Not whole rows, or not as many of one as of the other.
    pub fn decode_given(&mut self, z: &[f32], condition: &[f32]) -> Result<Vec<f32>> {
        let rows = whole_rows("z", z.len(), self.run().model.latent)?;
        let condition = self.told(condition, rows)?;
        self.inference.decode(z, &condition)
    }

    /// Means of p(x|z) for `count` z from the prior. Row i depends on the seed and i alone.      (count, input)
    ///
    /// # Errors
    /// A model that needs a condition, which [`Vae::sample_given`] takes.
    pub fn sample(&mut self, count: usize, seed: u64) -> Result<Vec<f32>> {
        self.told(&[], count)?;
        self.inference.sample(count, &[], seed)
    }

    /// The same of a conditional model, one draw for each row of `condition`.  condition: (count, condition)
    ///
    /// # Errors
    /// Not whole rows; a model without a condition.
    pub fn sample_given(&mut self, condition: &[f32], seed: u64) -> Result<Vec<f32>> {
        let width = self.run().model.condition;
        at_least_one("the model's condition", width, "sample() for a model that has none")?;
        let count = whole_rows("condition", condition.len(), width)?;
        self.inference.sample(count, &self.told(condition, count)?, seed)
    }

    /// Every example through the mean of q(z|x) and back.                                  (rows, input)
    ///
    /// # Errors
    /// As [`Vae::elbo`].
    pub fn reconstruct(&mut self, data: &Arc<Dataset>) -> Result<Vec<f32>> {
        self.inference.reconstruct(&seen(&self.saved, data)?, self.saved.run.training.seed)
    }

    /// Writes the model as `vae-gpu train` does: safetensors, under the names and shapes of `torch.nn.Linear`. The file is
    /// whole or absent.
    ///
    /// # Errors
    /// A place that cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.saved.write(path.as_ref())
    }

    /// A condition as the model sees it, checked to be `rows` rows.
    fn told(&self, condition: &[f32], rows: usize) -> Result<Vec<f32>> {
        let Model { condition: width, input, .. } = self.run().model;
        if condition.len() != rows.saturating_mul(width) {
            return Err(Error::request(format!(
                "condition: {} numbers; must be {rows} rows of {width}, one for each z",
                condition.len()
            )));
        }
        let mut condition = condition.to_vec();
        if let Some(scale) = &self.run().data.scale {
            scale.apply_to(&mut condition, input..input + width);
        }
        Ok(condition)
    }
}

/// Data as a model sees them.
///
/// # Errors
/// Data of other columns or words, or of numbers that its likelihood cannot have.
fn seen(saved: &Saved, data: &Arc<Dataset>) -> Result<Arc<Dataset>> {
    let (run, source) = (&saved.run, &saved.run.data);
    data.check_whole()?;
    let known = source.known_columns();
    if !known.words.is_empty() && !data.columns.words.is_empty() && known.words != data.columns.words {
        return Err(Error::request(format!(
            "{}: has other words than the model knows; read it by run().data.known_columns()",
            data.name
        )));
    }
    // Those of a condition stand behind the others, wherever they stand in the file.
    let in_order = || match source.condition {
        Some(Condition::Columns { columns: (from, to), .. }) if known.words.is_empty() => {
            let names = run.x().into_iter().chain(from..to).filter_map(|j| known.names.get(j).cloned());
            Columns { names: names.collect(), ..Columns::default() }
        }
        _ => known.clone(),
    };
    let mut data = by_name(data.clone(), &in_order())?;
    if let (Some(Condition::Classes { classes, .. }), 0, Some(_)) = (&source.condition, data.classes, &data.labels) {
        data = Arc::new(Arc::unwrap_or_clone(data).with_classes(*classes)?);
    }
    if source.bytes.is_some() && data.bytes.is_some_and(|bytes| Some(bytes) != source.bytes) {
        data = Arc::new(Arc::unwrap_or_clone(data).with_bytes(source.bytes)?);
    }
    if let Some(scale) = &source.scale {
        data = Arc::new(scale.apply(Arc::unwrap_or_clone(data))?);
    }
    check_data(saved, &data, "the call")?;
    Ok(data)
}

/// Data whose columns come in this order, which their names say where both have some.
///
/// # Errors
/// Columns that are not there; classes, or what else stands behind columns that have other names.
fn by_name(data: Arc<Dataset>, columns: &Columns) -> Result<Arc<Dataset>> {
    let names = &data.columns.names;
    if names.is_empty() || *columns == Columns::default() || *names == columns.names {
        return Ok(data);
    }
    if data.classes > 0 {
        if columns.names.is_empty() {
            return Ok(data);
        }
        return Err(Error::request(format!(
            "{}: its columns have other names than those of the model, or another order; call with_classes on data that were read by \
             run().data.known_columns()",
            data.name
        )));
    }
    Arc::unwrap_or_clone(data).with_columns(columns).map(Arc::new)
}

fn whole_rows(what: &str, numbers: usize, width: usize) -> Result<usize> {
    match numbers.is_multiple_of(width) {
        true => Ok(numbers / width),
        false => Err(Error::request(format!("{what}: {numbers} numbers; must be whole rows of {width}"))),
    }
}
