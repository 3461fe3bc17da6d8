//! How a model is trained: the rule that turns gradients into steps, and all else that does not change the model.
use super::Model;
use crate::schedule::Schedule;
use crate::{Error, Result};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// Which rule turns gradients into steps. As in PyTorch's `torch.optim`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    Sgd,
    Momentum,
    Adagrad,
    Adam,
    Adamw,
}

/// A rule and its constants.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Optimizer {
    pub rule: Rule,
    pub lr: f64,
    pub betas: (f64, f64),
    pub eps: f64,
    pub momentum: f64,
    pub weight_decay: f64,
    /// The largest global norm of the gradient; a larger one is scaled down to it. 0: no limit.
    pub clip_norm: f64,
}

impl Optimizer {
    /// With PyTorch's defaults.
    pub fn new(rule: Rule) -> Optimizer {
        let eps = if rule == Rule::Adagrad { 1e-10 } else { 1e-8 };
        let weight_decay = if rule == Rule::Adamw { 1e-2 } else { 0.0 };
        Optimizer { rule, lr: 1e-3, betas: (0.9, 0.999), eps, momentum: 0.9, weight_decay, clip_norm: 0.0 }
    }

    /// # Errors
    /// A sentence about the first value that cannot be.
    pub fn check(&self) -> Result<()> {
        let check = |name: &str, value: f64, ok: bool, bound: &str, example: &str| match ok {
            true => Ok(()),
            false => Err(Error::request(format!("{name} {value}: must be {bound}; pass {example}"))),
        };
        let finite = |x: f64| x.is_finite() && x >= 0.0;
        check("lr", self.lr, finite(self.lr) && self.lr > 0.0, "a positive number", "--lr 0.001")?;
        for beta in [self.betas.0, self.betas.1] {
            check("betas", beta, (0.0..1.0).contains(&beta), "in [0, 1)", "--betas 0.9,0.999")?;
        }
        check("eps", self.eps, finite(self.eps), "a number that is not negative", "--eps 1e-8")?;
        check("momentum", self.momentum, (0.0..1.0).contains(&self.momentum), "in [0, 1)", "--momentum 0.9")?;
        let decay = self.weight_decay;
        check("weight-decay", decay, finite(decay), "a number that is not negative", "--weight-decay 0")?;
        let norm = self.clip_norm;
        check("clip-norm", norm, finite(norm), "a number that is not negative", "--clip-norm 1, or 0 for no limit")
    }
}

/// How a model is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Training {
    pub batch: usize,
    /// How many steps in all.
    pub steps: u32,
    pub optimizer: Optimizer,
    pub lr_schedule: Schedule,
    pub lr_warmup: u32,
    pub kl_warmup: u32,
    pub init: Init,
    #[serde(default, skip_serializing_if = "OutputBias::is_init")]
    pub init_output_bias: OutputBias,
    pub seed: u64,
    pub precision: Numbers,
    /// Epochs without a better validation before the training ends, counted once the KL has warmed up. 0: never.
    pub patience: u32,
    /// Steps between two lines of metrics. That at the end of an epoch is of all of it.
    pub log_every: u32,
    #[serde(default, skip_serializing_if = "OnNan::is_stop")]
    pub on_nan: OnNan,
    #[serde(default, skip_serializing_if = "Algorithm::is_first")]
    pub algorithm: Algorithm,
    /// Where the parameters are not new: the model that they are from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Origin>,
}

/// A model that another run begins with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// As it was named.
    pub model: String,
    /// CRC-32 of its parameters.
    pub checksum: u32,
}

/// Which algorithm makes a product, where a library offers several. Only a GPU's does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// The library's own choice: always the same.
    #[default]
    First,
    /// Whichever is the fastest when the training begins, to its end.
    Fastest,
}

impl Algorithm {
    fn is_first(&self) -> bool {
        *self == Algorithm::First
    }
}

/// What becomes of a training at a step whose loss or gradient is not finite. The step itself is not applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnNan {
    #[default]
    Stop,
    /// It goes on with the next step.
    Skip,
}

impl OnNan {
    fn is_stop(&self) -> bool {
        *self == OnNan::Stop
    }
}

impl Training {
    /// Whether a validation after so many steps may choose the model: once the KL has warmed up. Before, it is another loss
    /// that falls, and by the one asked for an early model, of small KL, would win. The model that a run begins with is none.
    pub fn chooses(&self, step: u32) -> bool {
        step >= self.kl_warmup || step == 0 && self.start.is_some()
    }

    /// Warm-ups that outlast the training, as sentences.
    pub(crate) fn unfinished(&self) -> Vec<String> {
        let of = |name: &str, warmup: u32, what: &str| {
            let steps = self.steps;
            let part = 100.0 * steps as f64 / warmup.max(1) as f64;
            let sentence =
                format!("{name} {warmup}: the training ends after {steps} steps, at {part:.0} % of the {what}");
            (warmup > steps).then_some(sentence)
        };
        let kl = of("kl-warmup", self.kl_warmup, "beta that validation goes by");
        kl.into_iter().chain(of("lr-warmup", self.lr_warmup, "learning rate")).collect()
    }

    /// With the defaults of `train`, for so many steps of so many examples.
    pub fn new(batch: usize, steps: u32) -> Training {
        Training {
            batch,
            steps,
            optimizer: Optimizer::new(Rule::Adam),
            lr_schedule: Schedule::Constant,
            lr_warmup: 0,
            kl_warmup: 0,
            init: Init::Glorot,
            init_output_bias: OutputBias::Init,
            seed: 0,
            precision: Numbers::Fp32,
            patience: 0,
            log_every: 100,
            on_nan: OnNan::Stop,
            algorithm: Algorithm::First,
            start: None,
        }
    }
}

/// The arithmetic of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Numbers {
    F64,
    Fp32,
    Tf32,
    Bf16,
}

/// How weights begin. Biases begin at zero, but for `torch`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Init {
    /// Uniform ± √(6 / (in + out)) (Glorot & Bengio 2010).
    Glorot,
    /// Uniform ± 1/√in, biases too: what `torch.nn.Linear` does.
    Torch,
    /// Normal with this standard deviation.
    Normal(f64),
}

impl FromStr for Init {
    type Err = Error;
    fn from_str(s: &str) -> Result<Init> {
        let wrong = || Error::request(format!("init {s}: must be glorot, torch, or normal:SIGMA (normal:0.01)"));
        match s.split_once(':') {
            None if s == "glorot" => Ok(Init::Glorot),
            None if s == "torch" => Ok(Init::Torch),
            Some(("normal", sigma)) => match sigma.parse::<f64>() {
                Ok(sigma) if sigma.is_finite() && sigma >= 0.0 => Ok(Init::Normal(sigma)),
                _ => Err(wrong()),
            },
            _ => Err(wrong()),
        }
    }
}

impl TryFrom<String> for Init {
    type Error = Error;
    fn try_from(s: String) -> Result<Init> {
        s.parse()
    }
}

impl From<Init> for String {
    fn from(init: Init) -> String {
        match init {
            Init::Glorot => "glorot".into(),
            Init::Torch => "torch".into(),
            Init::Normal(sigma) => format!("normal:{sigma}"),
        }
    }
}

/// How the bias of the decoder's mean begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutputBias {
    /// As every bias.
    #[default]
    Init,
    /// So that with all else at zero the mean of p(x|z) is that of the data: as in the code of Burda et al. 2016.
    Data,
}

impl OutputBias {
    /// What is taken where nothing is said. Means of counts may be of any size, and a bias moves by about lr in a step.
    pub fn usual(model: &Model) -> OutputBias {
        if model.has_counts() { OutputBias::Data } else { OutputBias::Init }
    }
    fn is_init(&self) -> bool {
        *self == OutputBias::Init
    }
}
