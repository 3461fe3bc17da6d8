//! The model and its objective.
use crate::data::Missing;
use crate::error::at_least_one;
use crate::likelihood::{Likelihood, name_of};
use crate::{Error, Result};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::ops::Range;

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

impl Activation {
    /// Whether the slope is a function of what goes in, which is then kept; else it is one of what comes out.
    pub fn slope_is_of_input(self) -> bool {
        match self {
            Activation::Gelu => true,
            Activation::Tanh | Activation::Relu | Activation::Softplus | Activation::Sigmoid => false,
        }
    }

    /// What the slope is a function of.
    pub(crate) fn slope_from<T>(self, input: T, output: T) -> T {
        if self.slope_is_of_input() { input } else { output }
    }
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

/// Where the dispersion of a negative binomial p(x|z) comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dispersion {
    /// One learned log-dispersion.
    Scalar,
    /// One learned log-dispersion per data dimension.
    #[default]
    Shared,
    /// A second head of the decoder.
    Network,
}

impl Dispersion {
    fn is_default(&self) -> bool {
        *self == Dispersion::default()
    }
}

/// What the mean of a negative binomial p(x|z) is relative to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SizeFactor {
    /// Nothing: the decoder gives the logarithms of means.
    #[default]
    None,
    /// What the counts of the example add up to: the decoder gives the logarithms of shares of it, up to a constant (Lopez et al.
    /// 2018, "Deep generative modeling for single-cell transcriptomics").
    Total,
}

impl SizeFactor {
    fn is_none(&self) -> bool {
        *self == SizeFactor::None
    }
}

/// Where a column of p(x|z) has its second parameter from, if it has one: its variance, or its dispersion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// It is given, or there is none.
    Fixed,
    /// A parameter.
    Learned,
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

/// Which gradient q's parameters follow. Both are the same in the mean; p's parameters have that of the bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gradient {
    /// That of the bound: through z, and through log q(z|x), which holds them itself.
    #[default]
    Total,
    /// Through z alone. At q(z|x) = p(z|x) it is 0 whatever was drawn, and of iwae it does not drown in noise as K grows. Of elbo-mc
    /// Roeder et al. 2017, "Sticking the Landing"; of iwae Tucker et al. 2019, "Doubly Reparameterized Gradient Estimators for Monte
    /// Carlo Objectives".
    Path,
}

impl Gradient {
    fn is_total(&self) -> bool {
        *self == Gradient::Total
    }
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
    /// Of each column of x, but those of `others`.
    #[serde(default = "defaults::likelihood")]
    pub likelihood: Likelihood,
    /// Columns of x, from..to, that have a likelihood of their own; in order. Those of a categorical are one variable.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<(Likelihood, usize, usize)>,
    #[serde(default = "defaults::variance")]
    pub variance: Variance,
    /// The standard deviation of p(x|z) where `variance` is fixed.
    #[serde(default = "defaults::one")]
    pub sigma: f64,
    #[serde(default = "defaults::mean")]
    pub mean: Mean,
    /// Of a negative binomial.
    #[serde(default, skip_serializing_if = "Dispersion::is_default")]
    pub dispersion: Dispersion,
    /// Of a negative binomial.
    #[serde(default, skip_serializing_if = "SizeFactor::is_none")]
    pub size_factor: SizeFactor,
    #[serde(default = "defaults::objective")]
    pub objective: Objective,
    /// Of an objective that draws its KL.
    #[serde(default, skip_serializing_if = "Gradient::is_total")]
    pub gradient: Gradient,
    /// How many z are drawn for each example: K.
    #[serde(default = "defaults::samples")]
    pub samples: usize,
    /// The weight of the KL.
    #[serde(default = "defaults::one")]
    pub beta: f64,
    /// λ of the free bits, in nats per latent dimension (Kingma et al. 2016).
    #[serde(default)]
    pub free_bits: f64,
    /// Where values of x may be missing, the encoder sees 0 in their place, and p(x|z) is of what is observed (Mattei & Frellsen
    /// 2019, "MIWAE").
    #[serde(default, skip_serializing_if = "Missing::is_refused")]
    pub missing: Missing,
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
            others: vec![],
            variance: defaults::variance(),
            sigma: 1.0,
            mean: defaults::mean(),
            dispersion: Dispersion::default(),
            size_factor: SizeFactor::None,
            objective: defaults::objective(),
            gradient: Gradient::Total,
            samples: 1,
            beta: 1.0,
            free_bits: 0.0,
            missing: Missing::Refuse,
        }
    }

    /// The same layers and likelihoods, trained as `other` is.
    pub(crate) fn trained_as(self, other: &Model) -> Model {
        let &Model { objective, gradient, samples, beta, free_bits, .. } = other;
        Model { objective, gradient, samples, beta, free_bits, ..self }
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

    /// The numbers of an example in its widest layer.
    pub(crate) fn widest(&self) -> usize {
        self.hidden.iter().copied().fold(2 * self.columns().max(self.latent), usize::max)
    }

    /// How many examples go through it side by side where nobody says how many: 1,024, or as few as leave 32 MB in f64 to the
    /// widest layer, for what is wide would take memory for a thousand where three are asked for.
    pub fn examples_at_once(&self) -> usize {
        const NUMBERS: usize = 1 << 22;
        (NUMBERS / self.widest()).clamp(1, 1024)
    }

    /// Whether what is minimised, once the KL has warmed up, is −elbo and nothing else.
    pub fn minimises_elbo(&self) -> bool {
        self.objective == Objective::Elbo && self.beta == 1.0 && self.free_bits == 0.0
    }

    /// The columns with a likelihood of their own that no scale is for: zeros and ones, and counts, are what they are.
    pub fn unscaled(&self) -> impl Iterator<Item = usize> {
        let own = self.others.iter().filter(|(likelihood, ..)| !likelihood.is_scaled());
        own.flat_map(|&(_, from, to)| from..to)
    }

    /// Whether columns have different likelihoods.
    pub fn is_mixed(&self) -> bool {
        !self.others.is_empty()
    }

    /// The likelihoods of x, each with its columns, in order: one where all have the same.
    pub fn likelihoods(&self) -> Vec<(Likelihood, Range<usize>)> {
        let (mut all, mut at) = (vec![], 0);
        let mut push = |likelihood, columns: Range<usize>| {
            if !columns.is_empty() {
                all.push((likelihood, columns));
            }
        };
        for &(likelihood, from, to) in &self.others {
            push(self.likelihood, at..from);
            push(likelihood, from..to);
            at = to;
        }
        push(self.likelihood, at..self.input);
        all
    }

    /// That of each column.                                                                                (input)
    pub fn likelihood_of_each(&self) -> Vec<Likelihood> {
        self.likelihoods().into_iter().flat_map(|(likelihood, columns)| columns.map(move |_| likelihood)).collect()
    }

    /// The columns of each categorical variable, of which one is 1.
    pub fn categoricals(&self) -> Vec<Range<usize>> {
        let categorical = |(likelihood, columns)| (likelihood == Likelihood::Categorical).then_some(columns);
        self.likelihoods().into_iter().filter_map(categorical).collect()
    }

    /// Whether a column has this likelihood.
    pub fn has(&self, likelihood: Likelihood) -> bool {
        self.likelihoods().iter().any(|(l, _)| *l == likelihood)
    }

    /// Whether all columns have it.
    pub fn is_all(&self, likelihood: Likelihood) -> bool {
        self.likelihoods().iter().all(|(l, _)| *l == likelihood)
    }

    /// Whether a column is of counts.
    pub fn has_counts(&self) -> bool {
        self.likelihoods().iter().any(|(l, _)| l.is_of_counts())
    }

    /// Whether all columns are.
    pub fn is_of_counts(&self) -> bool {
        self.likelihoods().iter().all(|(l, _)| l.is_of_counts())
    }

    /// Whether what the decoder gives are shares of what the counts of an example add up to, which is taken as given.
    pub fn is_of_shares(&self) -> bool {
        self.likelihood == Likelihood::Multinomial || self.size_factor == SizeFactor::Total
    }

    /// Where the second parameter of a column of this likelihood comes from.
    pub(crate) fn spread(&self, likelihood: Likelihood) -> Spread {
        match (likelihood, self.variance, self.dispersion) {
            (Likelihood::Bernoulli | Likelihood::Poisson, ..) => Spread::Fixed,
            (Likelihood::Categorical | Likelihood::Multinomial, ..) => Spread::Fixed,
            (Likelihood::Gaussian, Variance::Fixed, _) => Spread::Fixed,
            (Likelihood::Gaussian, Variance::Scalar | Variance::Shared, _) => Spread::Learned,
            (Likelihood::Gaussian, Variance::Network, _) => Spread::Network,
            (Likelihood::NegativeBinomial, _, Dispersion::Scalar | Dispersion::Shared) => Spread::Learned,
            (Likelihood::NegativeBinomial, _, Dispersion::Network) => Spread::Network,
        }
    }

    /// Whether the second parameter of some column comes from there.
    pub(crate) fn spreads(&self, from: Spread) -> bool {
        self.likelihoods().iter().any(|(l, _)| self.spread(*l) == from)
    }

    /// The decoder's second head, by its name in files, where it has one.
    pub(crate) fn second_head(&self) -> Option<&'static str> {
        match self.spreads(Spread::Network) {
            true if self.likelihood == Likelihood::Gaussian && !self.is_mixed() => Some("decoder.out_logvar"),
            true => Some("decoder.out_logdispersion"),
            false => None,
        }
    }

    /// The second parameters that are learned without a network, by their name in files: how many, where there are some.
    pub(crate) fn learned_spreads(&self) -> Option<(&'static str, usize)> {
        let (name, scalar) = match self.likelihood {
            _ if self.is_mixed() => ("decoder.logdispersion", false),
            Likelihood::Gaussian => ("decoder.logvar", self.variance == Variance::Scalar),
            _ => ("decoder.logdispersion", self.dispersion == Dispersion::Scalar),
        };
        self.spreads(Spread::Learned).then_some((name, if scalar { 1 } else { self.input }))
    }

    /// # Errors
    /// Columns that cannot be: a file may say anything.
    fn check_others(&self) -> Result<()> {
        let mut at = 0;
        for &(likelihood, from, to) in &self.others {
            if from < at || to <= from || to > self.input {
                return Err(Error::request(format!(
                    "{} {from}..{to}: must be columns from..to of the {} of x, in order; give each one likelihood",
                    name_of(likelihood),
                    self.input
                )));
            }
            at = to;
        }
        let shares = match self.size_factor {
            SizeFactor::Total => ("size-factor total", "negative-binomial without it"),
            SizeFactor::None => ("multinomial", "poisson"),
        };
        if self.is_mixed() && (self.is_of_shares() || self.has(Likelihood::Multinomial)) {
            return Err(Error::request(format!(
                "{}: must be of all columns, for their counts are shares of one total; leave out the options that give columns a \
                 likelihood of their own",
                shares.0
            )));
        }
        if self.size_factor == SizeFactor::Total && self.likelihood != Likelihood::NegativeBinomial {
            return Err(Error::request(format!(
                "size-factor total: the likelihood {} has none; leave it out, or pass --likelihood negative-binomial",
                name_of(self.likelihood)
            )));
        }
        if self.input == 1 && self.is_of_shares() {
            return Err(Error::request(format!(
                "{}: x has one column, whose share is always 1; give data with more, or pass --likelihood {}",
                shares.0, shares.1
            )));
        }
        // Where they begin and end is kept in f32.
        if let Some(variable) = self.categoricals().iter().find(|variable| variable.end > 1 << 24) {
            return Err(Error::request(format!(
                "categorical: columns {variable:?}: must be among the first 16777216; give data with fewer"
            )));
        }
        let scalar = [
            ("variance", Likelihood::Gaussian, self.variance == Variance::Scalar),
            ("dispersion", Likelihood::NegativeBinomial, self.dispersion == Dispersion::Scalar),
        ];
        let refused = scalar.iter().find(|(_, likelihood, scalar)| self.is_mixed() && *scalar && self.has(*likelihood));
        match refused {
            None => Ok(()),
            Some((option, ..)) => Err(Error::request(format!(
                "{option} scalar: must be another where columns have different likelihoods; pass --{option} shared"
            ))),
        }
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
        self.check_others()?;
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
        request(self.objective == Objective::Elbo && self.gradient == Gradient::Path, &|| {
            "gradient path: the KL of the objective elbo is in closed form, and not drawn; leave it out, or pass --objective elbo-mc or iwae"
                .into()
        })?;
        request(self.objective != Objective::Elbo && self.free_bits > 0.0, &|| {
            let objective = name_of(self.objective);
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

    /// # Errors
    /// A batch that cannot be.
    pub fn check_batch(&self, batch: usize) -> Result<()> {
        at_least_one("batch", batch, "--batch 100")?;
        // A row of the decoder is one of the batch's examples times samples; positions in it are 32-bit numbers.
        let elements = batch.saturating_mul(self.samples).saturating_mul(self.widest());
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
