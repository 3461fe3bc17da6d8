//! What a user chooses: the model, its objective, and how it is trained. Plain data, checked once; everything below
//! assumes that it is right. config.json is these structs.
use crate::{Error, Result};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

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
        let at_least_one = |name: &str, value: usize, example: &str| {
            request(value == 0, &|| format!("{name} 0: must be at least 1; pass {example}"))
        };
        at_least_one("input", self.input, "data with at least one column")?;
        at_least_one("latent", self.latent, "--latent 20")?;
        at_least_one("samples", self.samples, "--samples 1")?;
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
        request(self.latent > 1 << 20 || self.input > 1 << 26 || self.hidden.iter().any(|&h| h > 1 << 20), &|| {
            "a layer is wider than this program can address; pass widths up to 1048576".to_string()
        })
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
