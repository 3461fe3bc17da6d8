//! The options of `vae-gpu train`, and the configuration that they make.
use super::Common;
use super::likelihoods::OthersArgs;
use crate::checkpoint::Saved;
use crate::config::{
    Activation, Algorithm, Binarize, Condition, Dispersion, Gradient, Init, Likelihood, Mean, Model, Objective, OnNan,
    Optimizer, OutputBias, Rule, Run, SizeFactor, Source, Training, Variance, used,
};
use crate::data::{Asked, Bytes, Column, Columns, Dataset, Header, List, Missing, Names, Told, scale};
use crate::schedule::{self, Schedule};
use crate::trainer::Saving;
use crate::{Error, Result};
use clap::Args;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// Trains a model and writes it, its checkpoint, metrics and pictures into a run directory
#[derive(Args)]
#[command(
    allow_negative_numbers = true,
    mut_arg("seed", |seed| seed.conflicts_with("resume")),
    mut_arg("precision", |precision| precision.conflicts_with("resume")),
    mut_arg("start", |start| start.conflicts_with_all(used::KEPT)),
    after_help = "Examples:\n  \
    vae-gpu train                                              the built-in digits, 10 epochs\n  \
    vae-gpu train --data train-images-idx3-ubyte.gz --binarize dynamic\n  \
    vae-gpu train --hidden 200,200 --latent 50 --activation tanh --objective iwae --samples 5 --batch 20\n  \
    vae-gpu train --data table.csv --likelihood gaussian --variance shared --valid-fraction 0.1 --patience 10\n  \
    vae-gpu train --data gaps.csv --missing allow --scale standard --likelihood gaussian --variance shared\n  \
    vae-gpu train --data genes.csv --likelihood negative-binomial --hidden 128 --latent 10\n  \
    vae-gpu train --data patients.csv --likelihood gaussian --scale standard --categorical ward --poisson visits\n  \
    vae-gpu train --condition labels                           the built-in digits, told which digit it is\n  \
    vae-gpu train --data iris.csv --classes species --condition labels --likelihood gaussian --scale standard\n  \
    vae-gpu train --resume runs/digits                         goes on where it was cut\n  \
    vae-gpu train --start runs/digits --beta 4                 a new run that begins with its weights\n\n\
    A column that is the same in all examples has no best learned variance: the longer the training, the smaller it is, until \
    a number is not finite and the training ends with a sentence. Leave such columns out, or keep --variance fixed."
)]
pub(crate) struct TrainArgs {
    #[command(flatten)]
    pub(super) data: DataArgs,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    others: OthersArgs,
    #[command(flatten)]
    training: TrainingArgs,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Args)]
#[command(next_help_heading = "Data and files", group(clap::ArgGroup::new("TOLD").multiple(true)))]
pub(super) struct DataArgs {
    /// idx, npy, npz, safetensors, png or csv, or a folder of png, told by content; FILE.npz:NAME is one of several arrays, and what
    /// scipy.sparse.save_npz wrote is one matrix; or digits or moving, built in. digits if not given. Bytes are divided by 255, but where none
    /// exceeds 1, with --scale, where columns are counts or have likelihoods of their own, and of a sparse matrix; later files are read so
    /// too. With --resume where the data of the run are now
    #[arg(long, value_name = "FILE")]
    pub(super) data: Option<String>,
    /// Data to validate on after every epoch. The model is kept that is best there by the loss that is trained, at the whole
    /// beta: of the epochs after --kl-warmup, or if there is none the last. With --resume where they are now
    #[arg(long, value_name = "FILE", conflicts_with = "valid_fraction")]
    pub(super) valid: Option<String>,
    /// The part of the data that is held out to validate on, as 0.1: examples drawn at random
    #[arg(long, value_name = "F", conflicts_with = "resume")]
    pub(super) valid_fraction: Option<f64>,
    /// Columns of the data to learn: positions, ranges and names of a header, as age,height,3..7; in the order of the file, whatever
    /// the order here. Positions count all columns from 0; all if not given. What is not learned may be words. Kept in the model,
    /// which takes the same columns of other files
    #[arg(long, value_name = "COLUMNS", conflicts_with = "resume")]
    columns: Option<List>,
    /// Columns to leave out, of all or of --columns
    #[arg(long, value_name = "COLUMNS", conflicts_with = "resume")]
    skip_columns: Option<List>,
    /// Whether the first line of a csv is the names of its columns: yes, no, or auto, which tells by its words and numbers. Kept in
    /// the model, whose other files have one too, or tell by themselves
    #[arg(
        long,
        value_enum,
        default_value = "auto",
        hide_possible_values = true,
        value_name = "WHETHER",
        conflicts_with = "resume"
    )]
    header: Header,
    /// The names of the columns, of an array or a sparse matrix, which have no place for them: a file with one a line, or in front of
    /// each, as features.tsv. Kept in the model
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    pub(super) names: Option<PathBuf>,
    /// A column of a csv, by name or position, that is no part of x but the class of each example, in words or numbers: the labels of
    /// the data, which --condition labels tells to the model, and by which the report colours the latents. Kept in the model
    #[arg(long, value_name = "COLUMN", conflicts_with = "resume")]
    classes: Option<Column>,
    /// Scales each column of the data, and of a condition by columns: none, minmax (onto [0, 1]) or standard (to mean 0 and
    /// standard deviation 1), as found on the examples that are trained on. Kept in the model, which scales what it is given and
    /// gives back what the file had, of bytes 0 to 255. --sigma and the figures are of scaled data
    #[arg(
        long,
        value_enum,
        default_value = "none",
        hide_possible_values = true,
        value_name = "HOW",
        conflicts_with = "resume"
    )]
    pub(super) scale: scale::Rule,
    /// Missing values, NaN or in text an empty cell, NA, N/A, <NA>, #N/A, #NV, none, null, ?, . or -: refuse, or allow. The encoder then sees 0 in their
    /// place, the mean after --scale standard, and the likelihood is of what is observed. Kept in the model, which takes other files
    /// with gaps too; vae-gpu impute fills them in
    #[arg(
        long,
        value_enum,
        default_value = "refuse",
        hide_possible_values = true,
        value_name = "WHAT",
        conflicts_with = "resume"
    )]
    pub(super) missing: Missing,
    /// Makes zeros and ones of grey values: none, threshold (at 1/2), dynamic (drawn at every use)
    #[arg(long, value_enum, default_value = "none", hide_possible_values = true, conflicts_with = "resume")]
    pub(super) binarize: Binarize,
    /// What encoder and decoder are told beside x: labels (the data's own), a file of labels (idx, npy or a csv of one column, in numbers or words), or columns, as --columns
    /// takes them: age,height or 0..10. Those of words are in --categorical too
    #[arg(long, value_name = "WHAT", conflicts_with_all = ["past", "resume"], group = "TOLD")]
    condition: Option<String>,
    /// The labels of --valid, where --condition is a file of labels
    #[arg(long, value_name = "LABELS", requires = "TOLD", conflicts_with_all = ["past", "resume"])]
    pub(super) valid_condition: Option<String>,
    /// Columns to predict --future from, as --columns takes them: 0..12 or monday,tuesday
    #[arg(long, value_name = "COLUMNS", requires = "future", conflicts_with = "resume")]
    past: Option<List>,
    /// Columns to predict from --past; all others are left out
    #[arg(long, value_name = "COLUMNS", requires = "past", conflicts_with_all = ["condition", "resume"])]
    future: Option<List>,
    /// The run directory; runs/NAME-OF-THE-DATA if not given, or the next with a number behind it where that is there
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    pub(super) out: Option<PathBuf>,
    /// Writes into a run directory that holds a run already, which is what other commands take until this one was validated, or saved
    /// after an epoch
    #[arg(long, conflicts_with = "resume")]
    pub(super) force: bool,
    /// Saves a checkpoint after every N steps, instead of at the end of an epoch when half a minute has passed
    #[arg(long, value_name = "N")]
    save_every: Option<u32>,
    /// Steps between two lines of metrics.jsonl; the line at the end of an epoch is of all of it, and a last one within an epoch
    /// also of the steps of the line before, for it may have few of its own
    #[arg(long, value_name = "N", default_value_t = 100, conflicts_with = "resume")]
    log_every: u32,
    /// Reads options from a TOML file, by their names here, as `latent = 20`; those on the command line win, also over
    /// what they exclude, as --steps over epochs. Every run leaves a run.toml that repeats it
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    #[allow(dead_code)] // the command line is what it makes of it before it is parsed
    config: Option<PathBuf>,
    /// Begins with the weights of MODEL, a run directory or its model.safetensors, in place of new ones. Its layers and likelihoods are
    /// kept, and how it reads data: columns, words, scale. So are its data, with what is held out, where no --data are given. How it is
    /// trained is said anew. What validation finds of it first, at epoch 0, the training has to better
    #[arg(long, value_name = "MODEL", conflicts_with = "resume", group = "TOLD")]
    pub(super) start: Option<PathBuf>,
    /// Goes on with the run in DIR, exactly as if it had never stopped. --epochs or --steps make it longer: one that ended with
    /// an epoch then is what it would be, had it been asked for at once
    #[arg(long, value_name = "DIR", conflicts_with = "ModelArgs")]
    pub(super) resume: Option<PathBuf>,
}

#[derive(Args)]
#[command(next_help_heading = "Model")]
pub(crate) struct ModelArgs {
    /// Widths of the encoder's hidden layers, as 500 or 200,200; none: a linear model. The decoder mirrors them
    #[arg(long, value_name = "WIDTHS", default_value = "500")]
    hidden: String,
    /// Latent dimensions
    #[arg(long, value_name = "N", default_value_t = 20)]
    latent: usize,
    /// tanh, relu, softplus, gelu (in its tanh form) or sigmoid
    #[arg(long, value_enum, default_value = "relu", hide_possible_values = true)]
    activation: Activation,
    /// p(x|z): bernoulli, gaussian, of counts poisson, negative-binomial or, given their total, multinomial, whose encoder sees log(1 +
    /// x), or of words categorical. Columns may have one of their own: --bernoulli and so on
    #[arg(long, value_enum, default_value = "bernoulli", hide_possible_values = true)]
    likelihood: Likelihood,
    /// Of a gaussian: fixed (--sigma), scalar, shared (one per column) or network (a second head). What is learned begins with the
    /// variance of the data
    #[arg(long, value_enum, default_value = "fixed", hide_possible_values = true)]
    variance: Variance,
    /// The standard deviation of a fixed variance
    #[arg(long, value_name = "S", default_value_t = 1.0)]
    sigma: f64,
    /// Of a gaussian: identity or sigmoid
    #[arg(long, value_enum, default_value = "identity", hide_possible_values = true)]
    mean: Mean,
    /// Of a negative-binomial, whose variance is m + dispersion m²: scalar, shared (one per column) or network (a second head).
    /// It begins with that of the data
    #[arg(long, value_enum, default_value = "shared", hide_possible_values = true)]
    dispersion: Dispersion,
    /// Of a negative-binomial: total, and the mean of a column is a share of what the counts of the example add up to, which is taken as
    /// given, as the library size of single cells; or none
    #[arg(long, value_enum, default_value = "none", hide_possible_values = true, value_name = "OF")]
    size_factor: SizeFactor,
    /// Initial weights: glorot, torch or normal:SIGMA
    #[arg(long, default_value = "glorot", value_parser = spelled::<Init>)]
    pub(super) init: Init,
    /// The decoder's output bias begins as init says, or so that its mean is that of the data: init or data. data for counts, else init
    #[arg(long, value_enum, hide_possible_values = true, value_name = "WHAT")]
    init_output_bias: Option<OutputBias>,
}

#[derive(Args)]
#[command(next_help_heading = "Training")]
struct TrainingArgs {
    /// elbo (KL in closed form), elbo-mc (KL by Monte Carlo) or iwae
    #[arg(long, value_enum, default_value = "elbo", hide_possible_values = true, conflicts_with = "resume")]
    objective: Objective,
    /// Of elbo-mc and iwae, what q's parameters follow: total, the gradient of the bound, or path, that through z alone: the same in the
    /// mean, with less noise where q is near the posterior, or of iwae K is large (sticking the landing; doubly reparameterised, DReG)
    #[arg(long, value_enum, default_value = "total", hide_possible_values = true, conflicts_with = "resume")]
    gradient: Gradient,
    /// Latent samples for each example
    #[arg(long, value_name = "K", default_value_t = 1, conflicts_with = "resume")]
    samples: usize,
    /// The weight of the KL
    #[arg(long, value_name = "B", default_value_t = 1.0, conflicts_with = "resume")]
    beta: f64,
    /// Steps over which beta rises from 0
    #[arg(long, value_name = "STEPS", default_value_t = 0, conflicts_with = "resume")]
    kl_warmup: u32,
    /// Nats of KL that each latent dimension has for nothing
    #[arg(long, value_name = "NATS", default_value_t = 0.0, conflicts_with = "resume")]
    free_bits: f64,
    /// sgd, momentum, adagrad, adam or adamw; sgd with --momentum beside it, on the command line, is momentum
    #[arg(long, value_enum, default_value = "adam", hide_possible_values = true, conflicts_with = "resume")]
    optimizer: Rule,
    /// Learning rate
    #[arg(long, default_value_t = 1e-3, conflicts_with = "resume")]
    lr: f64,
    /// constant, cosine, iwae (of that paper) or step:EPOCHS:FACTOR
    #[arg(long, default_value = "constant", value_name = "SCHEDULE", value_parser = spelled::<Schedule>, conflicts_with = "resume")]
    lr_schedule: Schedule,
    /// Steps over which the learning rate rises from 0
    #[arg(long, value_name = "STEPS", default_value_t = 0, conflicts_with = "resume")]
    lr_warmup: u32,
    /// beta1,beta2 of adam and adamw
    #[arg(long, value_name = "B1,B2", default_value = "0.9,0.999", value_parser = pair, conflicts_with = "resume")]
    betas: (f64, f64),
    /// Added to the denominator; 1e-8, for adagrad 1e-10
    #[arg(long, conflicts_with = "resume")]
    eps: Option<f64>,
    /// Of the rule momentum
    #[arg(long, default_value_t = 0.9, conflicts_with = "resume")]
    momentum: f64,
    /// 0, for adamw 0.01
    #[arg(long, conflicts_with = "resume")]
    weight_decay: Option<f64>,
    /// Scales gradients down to this global norm; 0: no limit
    #[arg(long, value_name = "NORM", default_value_t = 0.0, conflicts_with = "resume")]
    clip_norm: f64,
    /// Where a loss or a gradient is not finite, or a validation: stop, or skip that step, which is never applied, or that
    /// validation. With --resume: from there on
    #[arg(long, value_enum, value_name = "WHAT", default_value = "stop")]
    on_nan: OnNan,
    /// Of what cuBLAS offers for a large product: first (its own choice, always the same), or fastest: timed when the training
    /// begins, and kept to its end, also by --resume. Another run may time them otherwise, and then differs in the last digits
    #[arg(long, value_enum, value_name = "WHICH", default_value = "first", conflicts_with = "resume")]
    #[arg(hide_possible_values = true)]
    algorithm: Algorithm,
    /// Examples in a step
    #[arg(long, value_name = "N", default_value_t = 100, conflicts_with = "resume")]
    batch: usize,
    /// Passes over the data, in all: a run that --resume names is trained on until it has had so many
    #[arg(long, value_name = "N", default_value_t = 10, conflicts_with = "steps")]
    epochs: u32,
    /// Steps, in place of epochs
    #[arg(long, value_name = "N")]
    steps: Option<u32>,
    /// Ends after N epochs without a better validation; those of --kl-warmup do not count. With --resume a run goes on that had fewer;
    /// 0: it waits for ever
    #[arg(long, value_name = "N", default_value_t = 0)]
    patience: u32,
}

impl DataArgs {
    /// The data: those that are named, those that the model has which the run begins with, or what is built in.
    pub(super) fn path(&self, start: Option<&Run>) -> String {
        let of_model = || start.map_or("digits".into(), |run| run.data.train.clone());
        self.data.clone().unwrap_or_else(of_model)
    }

    /// What a run of these data is called.
    pub(super) fn name(&self, start: Option<&Run>) -> String {
        let path = self.path(start);
        let name = Path::new(&path).file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.split('.').next().filter(|n| !n.is_empty()).unwrap_or("run").to_string()
    }

    /// # Errors
    /// Positions that are no range, or an empty one; the labels of the data in two places; labels of the validation where columns
    /// are the condition.
    pub(super) fn check(&self) -> Result<()> {
        if let (Some(what), true) = (&self.condition, self.told().is_none()) {
            let is_labels = what == "labels" || is_file(what);
            if let (false, Err(why)) = (is_labels, what.parse::<List>()) {
                let why = why.strip_prefix(&format!("{what}: ")).unwrap_or(&why);
                return Err(Error::request(format!("condition {what}: {why}")));
            }
        }
        match (self.condition(), &self.valid_condition, &self.classes) {
            (Some(Condition::Columns { .. }), Some(labels), _) => Err(Error::request(format!(
                "valid-condition {labels}: --condition is of columns, which --valid has too; leave it out"
            ))),
            (Some(Condition::Classes { train: Some(file), .. }), _, Some(_)) => Err(Error::request(format!(
                "condition {file}: --classes says where the labels are; pass --condition labels, or leave one out"
            ))),
            _ => Ok(()),
        }
    }

    /// What --condition says.
    pub(super) fn condition_as_given(&self) -> &str {
        self.condition.as_deref().unwrap_or_default()
    }

    pub(super) fn condition(&self) -> Option<Condition> {
        if self.told().is_some() {
            return Some(Condition::Columns { columns: (0, 0), x: None }); // the last: known when they are read
        }
        self.condition.as_ref().map(|what| Condition::Classes {
            classes: 0, // counted when they are read
            train: Some(what.clone()).filter(|what| what != "labels"),
            valid: self.valid_condition.clone(),
        })
    }

    /// The columns that the model is told, where it is told some: what --condition says that is neither the labels nor a file.
    pub(super) fn told(&self) -> Option<Told> {
        if let (Some(past), Some(future)) = (&self.past, &self.future) {
            return Some(Told::Past(past.clone(), future.clone()));
        }
        let what = self.condition.as_ref().filter(|what| *what != "labels" && !is_file(what))?;
        what.parse().ok().map(Told::Condition)
    }
}

/// Whether --condition may mean a file: a column may be called as a directory.
fn is_file(what: &str) -> bool {
    let path = Path::new(what);
    path.exists() && !path.is_dir()
}

/// What can be wrong with it, without the option and the value: clap has named them by then.
fn spelled<T: FromStr<Err = Error>>(s: &str) -> std::result::Result<T, String> {
    s.parse().map_err(|e: Error| {
        let sentence = e.to_string();
        sentence.split_once(&format!("{s}: ")).map(|(_, bound)| bound.to_string()).unwrap_or(sentence)
    })
}

fn pair(s: &str) -> std::result::Result<(f64, f64), String> {
    let parse = |s: &str| s.trim().parse::<f64>().ok();
    s.split_once(',')
        .and_then(|(a, b)| Some((parse(a)?, parse(b)?)))
        .ok_or_else(|| "must be two numbers, as 0.9,0.999".into())
}

fn widths(s: &str) -> Result<Vec<usize>> {
    match s {
        "none" | "" => Ok(vec![]),
        _ => s
            .split(',')
            .map(|w| {
                let wrong = || Error::request(format!("hidden {s}: must be widths, as 500 or 200,200, or none"));
                w.trim().parse().map_err(|_| wrong())
            })
            .collect(),
    }
}

impl ModelArgs {
    /// What bytes stand for, where the likelihood says so.
    pub(super) fn bytes(&self) -> Option<Bytes> {
        let are_plain = self.likelihood.is_of_counts() || self.likelihood == Likelihood::Categorical;
        are_plain.then_some(Bytes::Plain)
    }

    /// For examples of so many numbers, with the plain elbo and one sample.
    pub(super) fn model(&self, input: usize) -> Result<Model> {
        Ok(Model {
            activation: self.activation,
            likelihood: self.likelihood,
            variance: self.variance,
            sigma: self.sigma,
            mean: self.mean,
            dispersion: self.dispersion,
            size_factor: self.size_factor,
            ..Model::new(input, &widths(&self.hidden)?, self.latent)
        })
    }
}

impl TrainArgs {
    /// What bytes stand for, where the model says so: a count is the byte itself, and what stands beside it in a table.
    pub(super) fn bytes(&self) -> Option<Bytes> {
        if self.others.lists().is_empty() { self.model.bytes() } else { Some(Bytes::Plain) }
    }

    /// The columns that are asked for, and what of them.
    ///
    /// # Errors
    /// Those of a file of names.
    pub(super) fn columns(&self) -> Result<Option<Columns>> {
        let data = &self.data;
        Ok(Columns::asked(Asked {
            take: data.columns.clone(),
            skip: data.skip_columns.clone(),
            told: data.told(),
            classes: data.classes.clone(),
            likelihoods: self.others.lists(),
            words: self.model.likelihood == Likelihood::Categorical,
            header: data.header,
            names: data.names.as_deref().map(Names::read).transpose()?,
        }))
    }

    /// The model that the run begins with, where it does not begin with a new one.
    ///
    /// # Errors
    /// As for [`Saved::read`].
    pub(super) fn start(&self) -> Result<Option<Saved>> {
        self.data.start.as_deref().map(Saved::read).transpose()
    }

    /// The configuration for data that was read from `source`, of a run that begins with `start` or a new model.
    pub(super) fn run(&self, data: &Dataset, source: Source, start: Option<&Saved>) -> Result<Run> {
        let (m, t) = (&self.model, &self.training);
        let condition = source.condition.as_ref().map_or(0, Condition::width);
        let layers = match start {
            Some(saved) => saved.run.model.clone(),
            None => Model {
                condition,
                missing: self.data.missing,
                others: data.columns.others(data.cols - condition),
                ..m.model(data.cols - condition)?
            },
        };
        let how = Model {
            objective: t.objective,
            gradient: t.gradient,
            samples: t.samples,
            beta: t.beta,
            free_bits: t.free_bits,
            ..Model::new(1, &[], 1)
        };
        let model = layers.trained_as(&how);
        let began = start.map(|saved| &saved.run.training);
        let usual = || m.init_output_bias.unwrap_or(OutputBias::usual(&model));
        let defaults = Optimizer::new(t.optimizer);
        let optimizer = Optimizer {
            lr: t.lr,
            betas: t.betas,
            eps: t.eps.unwrap_or(defaults.eps),
            momentum: t.momentum,
            weight_decay: t.weight_decay.unwrap_or(defaults.weight_decay),
            clip_norm: t.clip_norm,
            ..defaults
        };
        let steps = self.steps(data.rows(), t.batch)?;
        let training = Training {
            batch: t.batch,
            steps,
            optimizer,
            lr_schedule: t.lr_schedule,
            lr_warmup: t.lr_warmup,
            kl_warmup: t.kl_warmup,
            init: began.map_or(m.init, |began| began.init),
            init_output_bias: began.map_or_else(usual, |began| began.init_output_bias),
            seed: self.common.seed,
            precision: self.common.precision,
            patience: t.patience,
            log_every: self.data.log_every,
            on_nan: t.on_nan,
            algorithm: t.algorithm,
            start: start.zip(self.data.start.as_ref()).map(|(saved, named)| saved.origin(named)),
        };
        let source = Source { rows: data.rows(), shape: data.shape, ..source };
        Ok(Run { model, training, data: source })
    }

    /// How many steps there are to be, of batches of so many of the `rows` examples.
    fn steps(&self, rows: usize, batch: usize) -> Result<u32> {
        match self.training.steps {
            Some(steps) => Ok(steps),
            None => schedule::steps(self.training.epochs, rows, batch),
        }
    }

    /// The option that says how long a run is, and what it says.
    pub(super) fn length(&self) -> (&'static str, u32) {
        match self.training.steps {
            Some(steps) => ("steps", steps),
            None => ("epochs", self.training.epochs),
        }
    }

    /// Makes a run that has done so many steps as long as is asked for.
    ///
    /// # Errors
    /// It is longer already; or what it did so far depends on how long it was to be.
    pub(super) fn lengthen(&self, run: &mut Run, done: u32) -> Result<()> {
        let (option, value) = self.length();
        let steps = self.steps(run.data.rows, run.training.batch)?;
        let t = &mut run.training;
        if steps < done {
            return Err(Error::request(format!(
                "{option} {value}: the run has done {done} steps already, and that is {steps}; pass more, or leave it out"
            )));
        }
        if t.lr_schedule == Schedule::Cosine && steps != t.steps {
            return Err(Error::request(format!(
                "{option} {value}: the learning rate of the run falls to 0 at step {}, as --lr-schedule cosine has it, and was \
                 another at every step of a longer one; leave it out, or begin a new run",
                t.steps
            )));
        }
        t.steps = steps;
        Ok(())
    }

    pub(super) fn patience(&self) -> u32 {
        self.training.patience
    }

    pub(super) fn on_nan(&self) -> OnNan {
        self.training.on_nan
    }

    pub(super) fn saving(&self) -> Result<Saving> {
        match self.data.save_every {
            Some(0) => Err(Error::request("save-every 0: must be at least 1; pass --save-every 1000")),
            Some(steps) => Ok(Saving::Steps(steps)),
            None => Ok(Saving::Every(Duration::from_secs(30))),
        }
    }
}
