//! Which distribution p(x|z) is: what a model has, and what columns of data are asked to be of.
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// p(x|z).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Likelihood {
    /// The decoder gives logits; x in [0, 1].
    Bernoulli,
    /// The decoder gives the mean, and `variance` says where the variance comes from.
    Gaussian,
    /// Of counts: the decoder gives the logarithm of the mean, which is the variance too.
    Poisson,
    /// Of counts that vary more: the decoder gives the logarithm of the mean m, and `dispersion` says where the α of the variance
    /// m + α m² comes from.
    NegativeBinomial,
    /// Of a word among several: a column for each, of which one is 1, and the decoder gives the logarithm of its probability up to
    /// a constant.
    Categorical,
    /// Of counts that add up to what they do: the decoder gives the logarithms of the shares of all columns, up to a constant.
    Multinomial,
}

impl Likelihood {
    /// Whether x is whole and not negative. The encoder then sees log(1 + x), for counts of 1 and of 10,000 stand in one row.
    pub fn is_of_counts(self) -> bool {
        matches!(self, Likelihood::Poisson | Likelihood::NegativeBinomial | Likelihood::Multinomial)
    }

    /// Whether columns that are named as of this likelihood are scaled with the others.
    pub fn is_scaled(self) -> bool {
        self == Likelihood::Gaussian
    }
}

/// A choice by its name on the command line.
pub(crate) fn name_of<T: ValueEnum>(choice: T) -> String {
    choice.to_possible_value().map_or(String::new(), |value| value.get_name().into())
}
