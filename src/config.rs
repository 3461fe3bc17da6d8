//! What a user chooses: the model, its objective, and how it is trained. Plain data, checked once; everything below
//! assumes that it is right. config.json is these structs.
use crate::data::{Columns, Scale};
use crate::error::at_least_one;
use crate::schedule::Schedule;
use crate::{Error, Result};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// The nonlinearity after each hidden layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    Tanh,
    Relu,
    Softplus,
    /// The tanh form: ½ x (1 + tanh(√(2/π) (x + 0.044715 x³))).
    Gelu,
    Sigmoid,
}

/// p(x|z).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Likelihood {
    /// The decoder gives logits; x in [0, 1].
    Bernoulli,
    /// The decoder gives the mean, and `variance` says where the variance comes from.
    Gaussian,
}

/// Where the variance of a Gaussian p(x|z) comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Variance {
    /// sigma², given.
    Fixed,
    /// One learned log-variance.
    Scalar,
    /// One learned log-variance per data dimension.
    Shared,
    /// A second head of the decoder.
    Network,
}

/// What becomes of the decoder's output before it is the mean of a Gaussian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mean {
    Identity,
    Sigmoid,
}

/// The bound on log p(x) that is maximised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Objective {
    /// The KL in closed form: estimator B of Kingma & Welling 2014.
    Elbo,
    /// The KL by Monte Carlo: estimator A.
    ElboMc,
    /// The importance-weighted bound of Burda et al. 2016.
    Iwae,
}

/// Whether and how grey values become zeros and ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Binarize {
    None,
    /// 1 where x ≥ ½.
    Threshold,
    /// 1 with probability x, drawn anew whenever the example is seen.
    Dynamic,
}

/// The model and its objective: what a case file and the metadata of a model hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// How many numbers an example has.
    pub input: usize,
    /// How many numbers a condition has, which encoder and decoder see beside x and z. 0: none.
    #[serde(default, skip_serializing_if = "zero")]
    pub condition: usize,
    /// The encoder's hidden widths, from the data inward; the decoder mirrors them. Empty: a linear model.
    #[serde(default)]
    pub hidden: Vec<usize>,
    pub latent: usize,
    #[serde(default = "defaults::activation")]
    pub activation: Activation,
    #[serde(default = "defaults::likelihood")]
    pub likelihood: Likelihood,
    #[serde(default = "defaults::variance")]
    pub variance: Variance,
    /// The standard deviation of p(x|z) where `variance` is fixed.
    #[serde(default = "defaults::one")]
    pub sigma: f64,
    #[serde(default = "defaults::mean")]
    pub mean: Mean,
    #[serde(default = "defaults::objective")]
    pub objective: Objective,
    /// How many z are drawn for each example: K.
    #[serde(default = "defaults::samples")]
    pub samples: usize,
    /// The weight of the KL.
    #[serde(default = "defaults::one")]
    pub beta: f64,
    /// λ of the free bits, in nats per latent dimension (Kingma et al. 2016).
    #[serde(default)]
    pub free_bits: f64,
}

/// Hidden layers at most: what a file claims shall not take more memory than it has bytes.
const LAYERS: usize = 1000;

fn zero(n: &usize) -> bool {
    *n == 0
}

mod defaults {
    use super::*;
    pub fn activation() -> Activation {
        Activation::Relu
    }
    pub fn likelihood() -> Likelihood {
        Likelihood::Bernoulli
    }
    pub fn variance() -> Variance {
        Variance::Fixed
    }
    pub fn mean() -> Mean {
        Mean::Identity
    }
    pub fn objective() -> Objective {
        Objective::Elbo
    }
    pub fn samples() -> usize {
        1
    }
    pub fn one() -> f64 {
        1.0
    }
}

impl Model {
    /// A Bernoulli model with one sample and the plain elbo: what `train` begins with.
    pub fn new(input: usize, hidden: &[usize], latent: usize) -> Model {
        Model {
            input,
            condition: 0,
            hidden: hidden.to_vec(),
            latent,
            activation: defaults::activation(),
            likelihood: defaults::likelihood(),
            variance: defaults::variance(),
            sigma: 1.0,
            mean: defaults::mean(),
            objective: defaults::objective(),
            samples: 1,
            beta: 1.0,
            free_bits: 0.0,
        }
    }

    /// Its widths from data to data, as 784-500-20-500-784; with a condition of 10, 784+10-500-20+10-500-784.
    pub fn widths(&self) -> String {
        let beside = if self.condition == 0 { String::new() } else { format!("+{}", self.condition) };
        let there = [format!("{}{beside}", self.input)].into_iter().chain(self.hidden.iter().map(usize::to_string));
        let back = self.hidden.iter().rev().chain([&self.input]).map(usize::to_string);
        there.chain([format!("{}{beside}", self.latent)]).chain(back).collect::<Vec<_>>().join("-")
    }

    /// The columns of its data: x and the condition.
    pub fn columns(&self) -> usize {
        self.input + self.condition
    }

    /// Whether the decoder has a second head, for the variance.
    pub fn has_variance_head(&self) -> bool {
        self.likelihood == Likelihood::Gaussian && self.variance == Variance::Network
    }

    /// # Errors
    /// A sentence about the first value that cannot be.
    pub fn check(&self) -> Result<()> {
        let request = |wrong: bool, sentence: &dyn Fn() -> String| match wrong {
            true => Err(Error::request(sentence())),
            false => Ok(()),
        };
        at_least_one("input", self.input, "data with at least one column")?;
        at_least_one("latent", self.latent, "--latent 20")?;
        at_least_one("samples", self.samples, "--samples 1")?;
        request(self.hidden.len() > LAYERS, &|| {
            format!("hidden: {} layers; at most {LAYERS} are possible; pass fewer widths", self.hidden.len())
        })?;
        for &width in &self.hidden {
            at_least_one("hidden", width, "--hidden 500, or --hidden none for a linear model")?;
        }
        let positive = |name: &str, value: f64, example: &str| {
            request(!(value.is_finite() && value > 0.0), &|| {
                format!("{name} {value}: must be a positive number; pass {example}")
            })
        };
        positive("sigma", self.sigma, "--sigma 1")?;
        let not_negative = |name: &str, value: f64, example: &str| {
            request(!(value.is_finite() && value >= 0.0), &|| {
                format!("{name} {value}: must be a number that is not negative; pass {example}")
            })
        };
        not_negative("beta", self.beta, "--beta 1")?;
        not_negative("free-bits", self.free_bits, "--free-bits 0")?;
        request(self.objective != Objective::Elbo && self.free_bits > 0.0, &|| {
            let objective = self.objective.to_possible_value().unwrap().get_name().to_string();
            format!(
                "free-bits {}: only the objective elbo has them, not {objective}; pass --free-bits 0",
                self.free_bits
            )
        })?;
        request(self.objective == Objective::Iwae && self.beta != 1.0, &|| {
            format!("beta {}: the objective iwae has none; pass --beta 1 or --objective elbo-mc", self.beta)
        })?;
        // Rows times columns of a matrix are 32-bit numbers in the kernels.
        let at_most = |name: &str, value: usize, most: usize, remedy: &str| {
            request(value > most, &|| format!("{name} {value}: must be at most {most}; {remedy}"))
        };
        at_most("latent", self.latent, 1 << 20, "pass --latent 20")?;
        for &width in &self.hidden {
            at_most("hidden", width, 1 << 20, "pass --hidden 500")?;
        }
        at_most("columns", self.columns(), 1 << 26, "give data with fewer")
    }
}

impl Model {
    /// # Errors
    /// A batch that cannot be.
    pub fn check_batch(&self, batch: usize) -> Result<()> {
        at_least_one("batch", batch, "--batch 100")?;
        // A row of the decoder is one of the batch's examples times samples; positions in it are 32-bit numbers.
        let widest = self.hidden.iter().copied().chain([2 * self.columns(), 2 * self.latent]).max();
        let elements = batch.saturating_mul(self.samples).saturating_mul(widest.unwrap_or(1));
        match elements > 1 << 31 {
            true => Err(Error::request(format!(
                "batch {batch} × samples {}: a layer would hold {elements} numbers, at most 2147483648 are possible; \
                 pass a smaller --batch",
                self.samples
            ))),
            false => Ok(()),
        }
    }
}

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

/// Everything about a run: the model, and how it was or will be trained. config.json, and the metadata of every file of
/// tensors. The keys of the model stand at the top, so that a run can be read where a model is wanted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    #[serde(flatten)]
    pub model: Model,
    pub training: Training,
    pub data: Source,
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
    /// Epochs without a better validation before the training ends. 0: never.
    pub patience: u32,
    /// Steps between two lines of metrics.
    pub log_every: u32,
    #[serde(default, skip_serializing_if = "OnNan::is_stop")]
    pub on_nan: OnNan,
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
        }
    }
}

/// What a model is trained on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// A path, or `digits` for the built-in ones.
    pub train: String,
    pub valid: Option<String>,
    /// The part of the training data that is held out for validation. 0: none.
    pub valid_fraction: f64,
    pub rows: usize,
    /// CRC-32 of the examples, those of validation behind them: so that a run goes on with what it began with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<u32>,
    /// Which columns of the data are taken, where not all are. The condition counts in them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Columns>,
    /// How columns are scaled before the model sees them: those of x, then those of a condition that are no classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<Scale>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<Condition>,
    /// Where the examples are pictures.
    pub shape: Option<crate::data::Shape>,
    pub binarize: Binarize,
}

impl Source {
    /// Of so many examples, of which none is held out.
    pub fn new(train: impl Into<String>, rows: usize) -> Source {
        Source {
            train: train.into(),
            valid: None,
            valid_fraction: 0.0,
            rows,
            checksum: None,
            columns: None,
            scale: None,
            condition: None,
            shape: None,
            binarize: Binarize::None,
        }
    }
}

/// Where the condition of a model comes from. In memory it stands behind the columns of x.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// The class of each example, as so many columns of which one is 1.
    Classes {
        classes: usize,
        /// idx files of labels for the training and the validation data. None: the labels that the data brings.
        train: Option<String>,
        valid: Option<String>,
    },
    /// Columns of the data, as from..to. x is what `x` names, or all others.
    Columns { columns: (usize, usize), x: Option<(usize, usize)> },
}

impl Condition {
    /// How many classes it has.
    pub fn classes(&self) -> usize {
        match self {
            Condition::Classes { classes, .. } => *classes,
            Condition::Columns { .. } => 0,
        }
    }

    /// How many columns it takes.
    pub fn width(&self) -> usize {
        match self {
            Condition::Classes { classes, .. } => *classes,
            Condition::Columns { columns, .. } => columns.1 - columns.0,
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
    fn is_init(&self) -> bool {
        *self == OutputBias::Init
    }
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

impl Run {
    /// # Errors
    /// A sentence about the first value that cannot be.
    pub fn check(&self) -> Result<()> {
        self.model.check()?;
        let t = &self.training;
        t.optimizer.check()?;
        at_least_one("steps", t.steps as usize, "--steps 1000 or --epochs 10")?;
        at_least_one("log-every", t.log_every as usize, "--log-every 100")?;
        self.model.check_batch(t.batch)?;
        self.data.columns.as_ref().map_or(Ok(()), Columns::check)?;
        let (input, columns) = (self.model.input, self.model.columns());
        self.data.scale.as_ref().map_or(Ok(()), |scale| scale.check(input, columns))?;
        if t.kl_warmup > 0 && self.model.objective == Objective::Iwae {
            let steps = t.kl_warmup;
            return Err(Error::request(format!(
                "kl-warmup {steps}: the objective iwae has no beta to warm up; leave it out or pass --objective elbo-mc"
            )));
        }
        if t.patience > 0 && self.data.valid.is_none() && self.data.valid_fraction == 0.0 {
            let patience = t.patience;
            return Err(Error::request(format!(
                "patience {patience}: needs validation data; pass --valid FILE or --valid-fraction 0.1"
            )));
        }
        Ok(())
    }
}
