//! What a user chooses: the model, its objective, and how it is trained. Plain data, checked once; everything below
//! assumes that it is right. config.json is these structs.
mod model;
mod source;
mod training;
pub mod used;

pub use crate::likelihood::Likelihood;
pub(crate) use crate::likelihood::name_of;
pub use model::{Activation, Dispersion, Gradient, Mean, Model, Objective, SizeFactor, Spread, Variance};
pub use source::{Binarize, Condition, Source};
pub use training::{Algorithm, Init, Numbers, OnNan, Optimizer, Origin, OutputBias, Rule, Training};

use crate::data::to_csv::Of;
use crate::data::{Columns, Words};
use crate::error::at_least_one;
use crate::schedule::Schedule;
use crate::{Error, Result};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// Everything about a run: the model, and how it was or will be trained. config.json, and the metadata of every file of
/// tensors. The keys of the model stand at the top, so that a run can be read where a model is wanted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    #[serde(flatten)]
    pub model: Model,
    pub training: Training,
    pub data: Source,
}

impl Run {
    /// Whether this, just planned, is the run that began so.
    pub fn is(&self, began: &Run) -> bool {
        self.model == began.model && self.training == began.training && self.data.are_of(&began.data)
    }

    /// What was asked for and has no effect, or less than it says, as sentences.
    pub(crate) fn idle(&self) -> Vec<String> {
        let (m, t) = (&self.model, &self.training);
        let free_bits = (m.beta == 0.0 && m.free_bits > 0.0)
            .then(|| format!("free-bits {}: without effect at beta 0, where the KL costs nothing anyway", m.free_bits));
        let kl_warmup = (m.beta == 0.0 && t.kl_warmup > 0)
            .then(|| format!("kl-warmup {}: without effect at beta 0, to which nothing warms up", t.kl_warmup));
        free_bits.into_iter().chain(kl_warmup).chain(t.unfinished()).collect()
    }

    /// Where the columns of x stand among those of the data.
    pub(crate) fn x(&self) -> Vec<usize> {
        let input = self.model.input;
        match self.data.condition {
            Some(Condition::Columns { x: Some((from, to)), .. }) => (from..to).take(input).collect(),
            Some(Condition::Columns { columns: (from, to), x: None }) => (0..from).chain(to..).take(input).collect(),
            Some(Condition::Classes { .. }) | None => (0..input).collect(),
        }
    }

    /// How data are binarised: as asked, else as in training.
    ///
    /// # Errors
    /// A model whose columns are not all of one kind, or are counts, or scaled so that they are not in [0, 1].
    pub(crate) fn binarize(&self, asked: Option<Binarize>) -> Result<Binarize> {
        let binarize = asked.unwrap_or(self.data.binarize);
        let scaled = self
            .data
            .scale
            .as_ref()
            .filter(|scale| binarize != Binarize::None && scale.rule != crate::data::scale::Rule::Minmax);
        if let Some(scale) = scaled {
            return Err(Error::request(format!(
                "binarize {}: the columns of the model are scaled (scale {}), and not in [0, 1] to become zeros and ones; leave it out",
                name_of(binarize),
                name_of(scale.rule)
            )));
        }
        binarize.fits(&self.model, false).map(|()| binarize)
    }

    /// What the columns of x are called: as in the data that the model learned from; x0, x1 and so on where they have no
    /// names.
    pub fn names(&self) -> Vec<String> {
        let all = self.data.known_columns();
        let names: Vec<String> = self.x().into_iter().filter_map(|j| all.full_name(j)).collect();
        let nameless = all.names.iter().any(String::is_empty);
        match names.len() == self.model.input && !nameless {
            true => names,
            false => (0..self.model.input).map(|j| format!("x{}", all.column_of(j))).collect(),
        }
    }

    /// The columns of x that are the words of one column of the file.
    pub(crate) fn words(&self) -> Vec<Of> {
        self.all_words().into_iter().filter(|of| of.columns.end <= self.model.input).collect()
    }

    /// The same of what the model is told, of which the first column is 0.
    pub(crate) fn words_told(&self) -> Vec<Of> {
        let input = self.model.input;
        let told = self.all_words().into_iter().filter(|of| of.columns.start >= input);
        told.map(|of| Of { columns: of.columns.start - input..of.columns.end - input, ..of }).collect()
    }

    fn all_words(&self) -> Vec<Of> {
        let all = self.data.known_columns();
        let of = |columns, words: &Words| {
            let name = all.names.get(words.column).filter(|name| !name.is_empty());
            Of { columns, name: name.cloned().unwrap_or(format!("x{}", words.column)), words: words.words.clone() }
        };
        all.variables().into_iter().zip(&all.words).map(|(columns, words)| of(columns, words)).collect()
    }

    /// Columns of x, as an option names them.
    pub(crate) fn listed(&self, columns: &[usize]) -> String {
        let x = self.x();
        let positions: Vec<usize> = columns.iter().filter_map(|&j| x.get(j).copied()).collect();
        self.data.known_columns().listed(&positions)
    }

    /// The columns that have a likelihood of their own, by the option that says so.
    pub(crate) fn others(&self) -> Vec<(&'static str, String)> {
        let (x, all) = (self.x(), self.data.known_columns());
        let of = |likelihood| {
            let own = self.model.others.iter().filter(|(l, ..)| *l == likelihood);
            let some: Vec<usize> = own.flat_map(|&(_, from, to)| from..to).collect();
            // Words that the model is told are named by the same option.
            let told = self.all_words().into_iter().map(|of| of.columns.start);
            let told = told.filter(|&j| likelihood == Likelihood::Categorical && j >= self.model.input);
            let some = some.into_iter().filter_map(|j| x.get(j).copied()).chain(told).collect::<Vec<_>>();
            let option = match likelihood {
                Likelihood::Bernoulli => "bernoulli",
                Likelihood::Gaussian => "gaussian",
                Likelihood::Poisson => "poisson",
                Likelihood::NegativeBinomial => "negative-binomial",
                Likelihood::Categorical => "categorical",
                Likelihood::Multinomial => "multinomial",
            };
            (!some.is_empty()).then(|| (option, all.listed(&some)))
        };
        Likelihood::value_variants().iter().filter_map(|&likelihood| of(likelihood)).collect()
    }

    /// # Errors
    /// A sentence about the first value that cannot be.
    pub fn check(&self) -> Result<()> {
        self.model.check()?;
        let t = &self.training;
        t.optimizer.check()?;
        // What their text cannot say is possible in memory, and could not be read again.
        String::from(t.init).parse::<Init>()?;
        t.lr_schedule.to_string().parse::<Schedule>()?;
        at_least_one("steps", t.steps as usize, "--steps 1000 or --epochs 10")?;
        at_least_one("log-every", t.log_every as usize, "--log-every 100")?;
        // A batch is never larger than the data, once these are known.
        let rows = if self.data.rows > 0 { self.data.rows } else { usize::MAX };
        self.model.check_batch(t.batch.min(rows))?;
        self.data.columns.as_ref().map_or(Ok(()), Columns::check)?;
        let variables = self.data.columns.as_ref().map_or(vec![], Columns::variables);
        let last = (self.model.input, self.model.columns());
        let in_order = match self.data.condition {
            Some(Condition::Columns { columns, x }) => columns == last && x.is_none(),
            Some(Condition::Classes { .. }) | None => true,
        };
        let (of_x, told): (Vec<_>, Vec<_>) = variables.into_iter().partition(|variable| variable.start < last.0);
        let possible = of_x == self.model.categoricals() && told.iter().all(|variable| variable.end <= last.1);
        let are_none = of_x.is_empty() && told.is_empty();
        if !(are_none || possible && in_order) {
            return Err(Error::failed("words: those of its data are not those of the model; it is damaged"));
        }
        let (input, columns) = (self.model.input, self.model.columns());
        self.data.scale.as_ref().map_or(Ok(()), |scale| scale.check(input, columns))?;
        if let (Some(scale), true) = (&self.data.scale, self.model.likelihood.is_of_counts()) {
            return Err(Error::request(format!(
                "scale {}: what is scaled is no count any more; leave it out, or pass --likelihood gaussian, and name columns of \
                 counts by --poisson or --negative-binomial",
                name_of(scale.rule)
            )));
        }
        self.data.binarize.fits(&self.model, true)?;
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
