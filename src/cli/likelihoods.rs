//! Columns with a likelihood of their own: `--bernoulli`, `--gaussian`, `--poisson`, `--negative-binomial` and
//! `--categorical`.
use crate::config::Likelihood;
use crate::data::List;
use clap::Args;

/// Each called like the likelihood whose columns it names: `config::used` counts on it.
#[derive(Args)]
#[command(next_help_heading = "Model")]
pub(super) struct OthersArgs {
    /// Columns of zeros and ones that are bernoulli, whatever the likelihood of the others, as smoker,married or 3..7. --scale
    /// leaves them as they are
    #[arg(long, value_name = "COLUMNS", conflicts_with = "resume")]
    bernoulli: Option<List>,
    /// Columns that are gaussian
    #[arg(long, value_name = "COLUMNS", conflicts_with = "resume")]
    gaussian: Option<List>,
    /// Columns of counts that are poisson. The encoder sees log(1 + x) of them; --scale leaves them as they are
    #[arg(long, value_name = "COLUMNS", conflicts_with = "resume")]
    poisson: Option<List>,
    /// Columns of counts that are negative-binomial, the same
    #[arg(long, value_name = "COLUMNS", conflicts_with = "resume")]
    negative_binomial: Option<List>,
    /// Columns of words, or of numbers that are none but names, that are categorical: x has a column for each word, at most 1000, of
    /// which one is 1. Kept in the model, which knows no other words. 1 and 1.0 are one word, 01 and 1e5 are as they are written;
    /// case counts. What an npy is given has a column for each word, a csv has words. Of the marks of --missing, none, null, - and .
    /// are words
    #[arg(long, value_name = "COLUMNS", conflicts_with = "resume")]
    categorical: Option<List>,
}

impl OthersArgs {
    pub(super) fn lists(&self) -> Vec<(Likelihood, List)> {
        let all = [
            (Likelihood::Bernoulli, &self.bernoulli),
            (Likelihood::Gaussian, &self.gaussian),
            (Likelihood::Poisson, &self.poisson),
            (Likelihood::NegativeBinomial, &self.negative_binomial),
            (Likelihood::Categorical, &self.categorical),
        ];
        all.into_iter().filter_map(|(likelihood, list)| Some((likelihood, list.clone()?))).collect()
    }
}
