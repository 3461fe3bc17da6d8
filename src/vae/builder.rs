//! What a model shall be and how it is trained, step by step.
use super::{Vae, by_name, seen};
use crate::checkpoint::{Folder, Saved};
use crate::config::{
    Activation, Binarize, Condition, Dispersion, Gradient, Init, Likelihood, Model, Numbers, Objective, Optimizer,
    OutputBias, Rule, Run, SizeFactor, Source, Training, Variance,
};
use crate::data::{Bytes, Dataset, Missing, Scale, scale};
use crate::device::Device;
use crate::evaluate::fits;
use crate::schedule;
use crate::trainer::{Begin, InMemory, Saving, Trainer, Watch};
use crate::{Error, Result, metrics};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The settings of a training, from [`Vae::builder`]. What has no method of its own stands in `model` and `training`.
///
/// ```
/// # use vae_gpu::{Vae, data::digits};
/// # use std::sync::Arc;
/// # let data = Arc::new(digits::train().first(300));
/// let mut builder = Vae::builder().hidden(&[50]).latent(5).valid_fraction(0.1).epochs(2);
/// builder.training.patience = 3;
/// let mut seen = 0;
/// let vae = builder.fit_watched(&data, &mut |p: &vae_gpu::trainer::Progress| seen = p.step)?;
/// assert_eq!(seen, vae.outcome.unwrap().steps);
/// # Ok::<(), vae_gpu::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Builder {
    /// `input` is that of the data.
    pub model: Model,
    /// `steps` counts where it is not 0; `epochs` otherwise. `init_output_bias` has a method of its own.
    pub training: Training,
    epochs: u32,
    binarize: Binarize,
    scale: scale::Rule,
    valid: Valid,
    device: String,
    folder: Option<PathBuf>,
    start: Option<Arc<Saved>>,
    init_output_bias: Option<OutputBias>,
}

/// A run with its data, as the model sees them.
struct Prepared {
    run: Run,
    data: Arc<Dataset>,
    valid: Option<Arc<Dataset>>,
}

#[derive(Clone, Debug)]
enum Valid {
    None,
    Data(Arc<Dataset>),
    Fraction(f64),
}

impl Default for Builder {
    fn default() -> Builder {
        Builder {
            model: Model::new(1, &[500], 20),
            training: Training::new(100, 0),
            epochs: 10,
            binarize: Binarize::None,
            scale: scale::Rule::None,
            valid: Valid::None,
            device: "auto".into(),
            folder: None,
            start: None,
            init_output_bias: None,
        }
    }
}

/// Setters: `name: type => place`, each with its documentation.
macro_rules! set {
    ($($(#[$doc:meta])* $name:ident: $type:ty => $($place:ident).+;)*) => {$(
        $(#[$doc])*
        pub fn $name(mut self, $name: $type) -> Builder {
            self.$($place).+ = $name;
            self
        }
    )*};
}

impl Builder {
    set! {
        /// Latent dimensions.
        latent: usize => model.latent;
        /// After each hidden layer.
        activation: Activation => model.activation;
        /// p(x|z).
        likelihood: Likelihood => model.likelihood;
        /// Of a Gaussian: where its variance comes from. One that is learned begins with that of the data.
        variance: Variance => model.variance;
        /// The standard deviation of a fixed variance, in units of the data; where they are scaled, of what that makes of them.
        sigma: f64 => model.sigma;
        /// Of a negative binomial: where its dispersion comes from.
        dispersion: Dispersion => model.dispersion;
        /// Of a negative binomial: whether its means are shares of what the counts of an example add up to.
        size_factor: SizeFactor => model.size_factor;
        /// The bound that is maximised.
        objective: Objective => model.objective;
        /// Of an objective that draws its KL: which gradient q's parameters follow.
        gradient: Gradient => model.gradient;
        /// Whether examples may lack values, which are NaN: [`Dataset::from_rows_with_missing`]. The bounds are then of what is
        /// observed.
        missing: Missing => model.missing;
        /// K: latent samples for each example.
        samples: usize => model.samples;
        /// The weight of the KL.
        beta: f64 => model.beta;
        /// Nats of KL that each latent dimension has for nothing.
        free_bits: f64 => model.free_bits;
        /// Examples in a step.
        batch: usize => training.batch;
        /// Steps, in place of epochs.
        steps: u32 => training.steps;
        /// Passes over the data.
        epochs: u32 => epochs;
        /// The learning rate.
        lr: f64 => training.optimizer.lr;
        /// How weights begin.
        init: Init => training.init;
        /// Fixes all randomness.
        seed: u64 => training.seed;
        /// The arithmetic.
        precision: Numbers => training.precision;
        /// How grey values become zeros and ones.
        binarize: Binarize => binarize;
        /// How columns are scaled, those of a condition too: found on the data that are trained on, undone in what the model
        /// gives. Bytes are then taken as they are, 0 to 255. Sigma and the figures are of scaled data.
        scale: scale::Rule => scale;
    }

    /// Widths of the encoder's hidden layers, from the data inward; the decoder mirrors them. None: a linear model.
    pub fn hidden(mut self, widths: &[usize]) -> Builder {
        self.model.hidden = widths.to_vec();
        self
    }

    /// These columns, counted from 0, have this likelihood, whatever [`Builder::likelihood`] says of the others. Zeros and ones,
    /// counts and words are not scaled. Those of a categorical are one variable: of each example one is 1, and the others 0. Data
    /// that were read by an [`Asked`](crate::data::Asked) with likelihoods say so themselves, where this says nothing.
    ///
    /// ```
    /// # use vae_gpu::{Vae, config::{Likelihood, Variance}, data::{Dataset, scale::Rule}};
    /// // Height, whether somebody smokes, how often they were ill.
    /// let rows = (0..50).flat_map(|i| [150.0 + i as f32, (i % 3 == 0) as u8 as f32, (i % 5) as f32]);
    /// let data = std::sync::Arc::new(Dataset::from_rows("patients", 3, rows.collect())?);
    /// let vae = Vae::builder().likelihood(Likelihood::Gaussian).scale(Rule::Standard);
    /// let vae = vae.columns(Likelihood::Bernoulli, 1..2).columns(Likelihood::Poisson, 2..3);
    /// let means = vae.variance(Variance::Shared).hidden(&[9]).latent(2).epochs(2).fit(&data)?.sample(1, 0)?;
    /// assert!((100.0..300.0).contains(&means[0]) && (0.0..=1.0).contains(&means[1]) && means[2] > 0.0);
    /// # Ok::<(), vae_gpu::Error>(())
    /// ```
    pub fn columns(mut self, likelihood: Likelihood, columns: Range<usize>) -> Builder {
        self.model.others.push((likelihood, columns.start, columns.end));
        self.model.others.sort_by_key(|&(_, from, _)| from);
        self
    }

    /// The last `columns` of the data are told to encoder and decoder, and not learned. [`Dataset::with_classes`] puts
    /// classes there, [`Dataset::arranged`] other columns.
    pub fn condition(mut self, columns: usize) -> Builder {
        self.model.condition = columns;
        self
    }

    /// The rule, with PyTorch's constants for it; the learning rate stays.
    pub fn optimizer(mut self, rule: Rule) -> Builder {
        let lr = self.training.optimizer.lr;
        self.training.optimizer = Optimizer { lr, ..Optimizer::new(rule) };
        self
    }

    /// Validates on these after every epoch, and keeps the model that is best there by the loss that is trained, once the KL
    /// has warmed up.
    pub fn valid(mut self, data: &Arc<Dataset>) -> Builder {
        self.valid = Valid::Data(data.clone());
        self
    }

    /// Holds out this part of the data to validate on, as [`Dataset::split`] does.
    pub fn valid_fraction(mut self, fraction: f64) -> Builder {
        self.valid = Valid::Fraction(fraction);
        self
    }

    /// `auto` (a GPU if there is one), `cpu`, `cuda` or `cuda:N`.
    pub fn device(mut self, name: &str) -> Builder {
        self.device = name.into();
        self
    }

    /// Also leaves in this directory what `vae-gpu train` leaves: configuration, model, checkpoints, metrics; made if it is
    /// not there, overwritten if it holds a run.
    pub fn folder(mut self, path: impl Into<PathBuf>) -> Builder {
        self.folder = Some(path.into());
        self
    }

    /// How the bias of the decoder's mean begins; with the data where there are counts, if this says nothing.
    pub fn init_output_bias(mut self, how: OutputBias) -> Builder {
        self.init_output_bias = Some(how);
        self
    }

    /// Begins with the parameters of a trained model, in place of new ones: what [`Vae::into_saved`] gives, or
    /// [`Saved::read`]. Its layers, likelihoods, scale, condition and binarisation are kept, and not to be said here; how it is trained
    /// is. Validation data are judged before the first step, too: what is kept is no worse there.
    ///
    /// ```
    /// # use vae_gpu::{Vae, config::Objective, data::digits};
    /// # let data = std::sync::Arc::new(digits::train().first(300));
    /// let first = Vae::builder().hidden(&[50]).latent(5).epochs(4).device("cpu").fit(&data)?;
    /// let before = first.elbo(&data)?.mean;
    /// let on = Vae::builder().start(first.into_saved()).lr(3e-4).epochs(4).device("cpu").fit(&data)?;
    /// assert!(on.elbo(&data)?.mean > before && on.run().model.latent == 5);
    /// # Ok::<(), vae_gpu::Error>(())
    /// ```
    pub fn start(mut self, model: impl Into<Arc<Saved>>) -> Builder {
        self.start = Some(model.into());
        self
    }

    /// Trains. Nothing is said on the way; [`Vae::outcome`] and [`Vae::history`] tell how it went.
    ///
    /// # Errors
    /// A setting that cannot be; data that are not those of the likelihood, or that f32 does not tell apart; too little
    /// memory; a loss or gradient that is not finite.
    pub fn fit(self, data: &Arc<Dataset>) -> Result<Vae> {
        self.fit_watched(data, &mut ())
    }

    /// The same, followed by `watch`: a closure of the [`Progress`](crate::trainer::Progress), say, or what can also stop it.
    ///
    /// # Errors
    /// As [`Builder::fit`].
    ///
    /// ```
    /// # use vae_gpu::{Vae, data::digits, trainer::Progress};
    /// # let data = std::sync::Arc::new(digits::train().first(200));
    /// let mut steps = 0;
    /// // The type is needed: a closure is told from other watches by it.
    /// let mut watch = |p: &Progress| steps = p.step;
    /// Vae::builder().hidden(&[20]).latent(3).steps(4).fit_watched(&data, &mut watch)?;
    /// assert_eq!(steps, 4);
    /// # Ok::<(), vae_gpu::Error>(())
    /// ```
    pub fn fit_watched(mut self, data: &Arc<Dataset>, watch: &mut dyn Watch) -> Result<Vae> {
        data.check_whole()?;
        data.check_rounding()?;
        let (device, notes) = Device::find(&self.device, self.training.precision)?;
        self.training.precision = device.numbers;
        let start = self.start.clone();
        let (prepared, begin) = match &start {
            None => (self.prepare(data)?, Begin::New),
            Some(saved) => (self.prepare_from(saved, data)?, Begin::From(saved)),
        };
        notes.iter().for_each(|note| watch.note(note));
        self.train(&prepared, begin, device, watch)
    }

    /// A new model, and the data as it will see them.
    fn prepare(&mut self, data: &Arc<Dataset>) -> Result<Prepared> {
        if let Valid::Data(valid) = &mut self.valid {
            valid.check_whole()?;
            if valid.columns.words != data.columns.words {
                return Err(Error::request(format!(
                    "{}: has other words than {}; read it by columns.kept() of that",
                    valid.name, data.name
                )));
            }
            *valid = by_name(valid.clone(), &data.columns)?;
        }
        let others = data.columns.others(data.cols.saturating_sub(self.model.condition));
        if self.model.is_mixed() && !others.is_empty() && self.model.others != others {
            return Err(Error::request(format!(
                "columns: {} was read by an Asked that says what its columns are; name all likelihoods there",
                data.name
            )));
        }
        if !self.model.is_mixed() {
            self.model.others = others;
        }
        // Before what takes time.
        self.model(data)?.check()?;
        let (data, valid) = self.parts(data)?;
        let as_they_are = self.scale != scale::Rule::None || self.model.has_counts() || self.model.is_mixed();
        let bytes = if as_they_are { Some(Bytes::Plain) } else { data.bytes };
        let understood = |data: Arc<Dataset>| match data.bytes == bytes {
            true => Ok(data),
            false => Arc::unwrap_or_clone(data).with_bytes(bytes).map(Arc::new),
        };
        let (data, valid) = (understood(data)?, valid.map(understood).transpose()?);
        data.check_observed()?;
        let scale = match self.scale {
            scale::Rule::None => None,
            rule => Some(Scale::find(rule, &data, data.cols - self.classes(&data))?.leaving(self.model.unscaled())),
        };
        let (data, valid) = match &scale {
            None => (data, valid),
            Some(scale) => {
                let apply = |data: Arc<Dataset>| scale.apply(Arc::unwrap_or_clone(data)).map(Arc::new);
                (apply(data)?, valid.map(apply).transpose()?)
            }
        };
        let run = self.run(&data, valid.as_deref(), bytes, scale)?;
        run.check()?;
        let remedy = match self.scale {
            _ if run.model.is_mixed() => "give the column another likelihood",
            scale::Rule::None if run.model.has(Likelihood::Bernoulli) => {
                "take Likelihood::Gaussian, or scale::Rule::Minmax"
            }
            scale::Rule::Standard => "take Likelihood::Gaussian, or scale::Rule::Minmax in place of this one",
            _ => "take Likelihood::Gaussian, or leave the example out",
        };
        for data in [Some(&data), valid.as_ref()].into_iter().flatten() {
            fits(&run.model, data, "the data to learn", remedy)?;
        }
        Ok(Prepared { run, data, valid })
    }

    /// What is left of a trained model that is trained on, and the data as it sees them.
    fn prepare_from(&self, saved: &Saved, data: &Arc<Dataset>) -> Result<Prepared> {
        let anew = |model: Model| model.trained_as(&self.model);
        let nothing = Builder::default();
        let is_said = self.model != anew(nothing.model)
            || (self.scale, self.binarize) != (nothing.scale, nothing.binarize)
            || self.training.init != nothing.training.init
            || self.init_output_bias.is_some();
        if is_said {
            return Err(Error::request(
                "start: layers, likelihoods, scale, condition and binarisation are those of the model that it begins with; leave out what \
                 sets them",
            ));
        }
        let see = |data: &Arc<Dataset>| seen(saved, data);
        let (data, valid) = self.parts(data)?;
        let (data, valid) = (see(&data)?, valid.as_ref().map(see).transpose()?);
        let began = &saved.run;
        let training = Training {
            steps: self.length(&data)?,
            init: began.training.init,
            init_output_bias: began.training.init_output_bias,
            start: Some(saved.origin(&saved.path)),
            ..self.training.clone()
        };
        let model = anew(began.model.clone());
        let source = self.source(&model, began.data.clone(), &data, valid.as_deref());
        let run = Run { model, training, data: source };
        run.check()?;
        Ok(Prepared { run, data, valid })
    }

    /// Trains what was prepared.
    fn train(self, prepared: &Prepared, begin: Begin, device: Device, watch: &mut dyn Watch) -> Result<Vae> {
        let Prepared { run, data, valid } = prepared;
        let (run, valid) = (run.clone(), valid.as_ref());
        let saving = Saving::Every(Duration::from_secs(30));
        let (saved, outcome, history) = match &self.folder {
            None => {
                let keep = InMemory::default();
                let mut trainer = Trainer::keeping(run, keep, saving, data, valid, &device, begin)?;
                let outcome = trainer.run(watch)?;
                let InMemory { saved, history } = trainer.keep;
                (saved.expect("a training ends with a model"), outcome, history)
            }
            Some(path) if path.as_os_str().is_empty() => {
                return Err(Error::request("folder: its name is empty; give a directory, as runs/one"));
            }
            Some(path) => {
                let folder = Folder(path.clone()).hold()?;
                let mut trainer = Trainer::new(run, folder, saving, data, valid, &device, begin)?;
                let outcome = trainer.run(watch)?;
                trainer.keep.settle(); // also where `watch` stopped it: nobody goes on with it here
                let folder = trainer.close();
                (Saved::read(&folder.model())?, outcome, metrics::read(&folder.metrics())?)
            }
        };
        Ok(Vae { outcome: Some(outcome), history, ..Vae::of(saved, device)? })
    }

    /// Of the last columns of the data those that are classes, where these are what the model is told.
    fn classes(&self, data: &Dataset) -> usize {
        if data.classes == self.model.condition { data.classes } else { 0 }
    }

    /// How long it is to be.
    fn length(&self, data: &Dataset) -> Result<u32> {
        match self.training.steps {
            0 => schedule::steps(self.epochs, data.rows(), self.training.batch),
            steps => Ok(steps),
        }
    }

    /// To train on, and to validate on.
    fn parts(&self, data: &Arc<Dataset>) -> Result<(Arc<Dataset>, Option<Arc<Dataset>>)> {
        Ok(match &self.valid {
            Valid::None => (data.clone(), None),
            Valid::Data(valid) => (data.clone(), Some(valid.clone())),
            Valid::Fraction(fraction) => {
                let (rest, held_out) = (**data).clone().split(*fraction)?;
                (Arc::new(rest), Some(Arc::new(held_out)))
            }
        })
    }

    /// What is kept of these data, which are read as `how` says.
    fn source(&self, model: &Model, how: Source, data: &Dataset, valid: Option<&Dataset>) -> Source {
        let of_gaps = how.scale.as_ref().filter(|_| model.missing == Missing::Allow);
        Source {
            train: data.name.clone(),
            valid: if let Valid::Data(valid) = &self.valid { Some(valid.name.clone()) } else { None },
            valid_fraction: if let Valid::Fraction(fraction) = self.valid { fraction } else { 0.0 },
            rows: data.rows(),
            checksum: Some(Dataset::checksum([Some(data), valid])),
            log_volume: of_gaps.map(|scale| scale.mean_log_volume(valid.unwrap_or(data), model.input)),
            shape: data.shape,
            ..how
        }
    }

    /// The model of these data.
    fn model(&self, data: &Dataset) -> Result<Model> {
        let condition = self.model.condition;
        match data.cols.checked_sub(condition).filter(|&input| input > 0) {
            Some(input) => Ok(Model { input, ..self.model.clone() }),
            None => Err(Error::request(format!(
                "condition {condition}: {} has {} columns; at least one must be left to be learned",
                data.name, data.cols
            ))),
        }
    }

    fn run(&self, data: &Dataset, valid: Option<&Dataset>, bytes: Option<Bytes>, scale: Option<Scale>) -> Result<Run> {
        let model = self.model(data)?;
        let (input, classes) = (model.input, self.classes(data));
        let steps = self.length(data)?;
        let told = || Condition::Columns { columns: (input, data.cols), x: None };
        let how = Source {
            condition: match classes {
                0 => (model.condition > 0).then(told),
                classes => Some(Condition::Classes { classes, train: None, valid: None }),
            },
            columns: data.columns.kept(),
            bytes,
            scale,
            binarize: self.binarize,
            ..Source::new(&data.name, data.rows())
        };
        let source = self.source(&model, how, data, valid);
        let usual = OutputBias::usual(&model);
        let init_output_bias = self.init_output_bias.unwrap_or(usual);
        Ok(Run { model, training: Training { steps, init_output_bias, ..self.training.clone() }, data: source })
    }
}
