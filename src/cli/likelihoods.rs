//! Columns with a likelihood of their own: `--bernoulli`, `--gaussian`, `--poisson` and `--negative-binomial`.
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
}

impl OthersArgs {
    pub(super) fn lists(&self) -> Vec<(Likelihood, List)> {
        let all = [
            (Likelihood::Bernoulli, &self.bernoulli),
            (Likelihood::Gaussian, &self.gaussian),
            (Likelihood::Poisson, &self.poisson),
            (Likelihood::NegativeBinomial, &self.negative_binomial),
        ];
        all.into_iter().filter_map(|(likelihood, list)| Some((likelihood, list.clone()?))).collect()
    }
}

/// Those of the `input` columns of x that have a likelihood of their own, as a model has them: also the one that all others
/// have, for they are not scaled as those are.
pub(super) fn others(of_each: &[Option<Likelihood>], input: usize) -> Vec<(Likelihood, usize, usize)> {
    let mut others: Vec<(Likelihood, usize, usize)> = vec![];
    for (j, own) in of_each.iter().enumerate().take(input) {
        match (own, others.last_mut()) {
            (Some(own), Some((last, _, to))) if last == own && *to == j => *to += 1,
            (Some(own), _) => others.push((*own, j, j + 1)),
            (None, _) => {}
        }
    }
    others
}
