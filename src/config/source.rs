//! What a model is trained on.
use super::{Model, name_of};
use crate::data::{Bytes, Classes, Columns, Scale};
use crate::{Error, Result};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

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
    /// Which columns of the data are taken, where not all are, and their names, where they have any. The condition counts in
    /// them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Columns>,
    /// The file that the names of the columns are from, where the data have no place for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub names: Option<String>,
    /// What the bytes of the data stand for, also those of later files. None: of each file by itself, as before this was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Bytes>,
    /// How columns are scaled before the model sees them: those of x, then those of a condition that are no classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<Scale>,
    /// Where values are missing and columns are scaled: by how much log p(x) is less in the units of the file, in nats per example, on
    /// average over the data to validate on, or to train on if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_volume: Option<f64>,
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
            names: None,
            bytes: None,
            scale: None,
            log_volume: None,
            condition: None,
            shape: None,
            binarize: Binarize::None,
        }
    }

    /// The columns of a later file, which is read as the data were: all where none are kept.
    pub fn known_columns(&self) -> Columns {
        self.columns.clone().unwrap_or_default()
    }

    /// The column of classes, where the data have one.
    pub fn classes(&self) -> Option<&Classes> {
        self.columns.as_ref()?.classes.as_ref()
    }

    /// The files that they come from, of which the first is called `train` in messages.
    pub(crate) fn files(&self, train: &str) -> Vec<String> {
        let labels = match &self.condition {
            Some(Condition::Classes { train, valid, .. }) => [train.clone(), valid.clone()],
            _ => [None, None],
        };
        [Some(train.to_string()), self.valid.clone()].into_iter().chain(labels).flatten().collect()
    }

    /// Whether these data, just read, are those of a run that an earlier version may have begun: it kept neither what bytes
    /// stand for, nor the names of all columns, nor what gaps make of units. The same numbers may have moved to another path.
    pub fn are_of(&self, began: &Source) -> bool {
        let moved = self.checksum.is_some() && self.checksum == began.checksum;
        let moved = moved && self.valid.is_some() == began.valid.is_some();
        let files = if moved { began } else { self };
        let (train, valid, names) = (files.train.clone(), files.valid.clone(), files.names.clone());
        // The classes of the examples are in the checksum, too.
        let condition = match (&self.condition, &files.condition) {
            (Some(Condition::Classes { classes, .. }), Some(Condition::Classes { train, valid, .. })) => {
                Some(Condition::Classes { classes: *classes, train: train.clone(), valid: valid.clone() })
            }
            (own, _) => own.clone(),
        };
        let bytes = self.bytes.filter(|_| began.bytes.is_some());
        let columns = self.columns.clone().filter(|columns| began.columns.is_some() || !columns.are_all());
        let log_volume = self.log_volume.filter(|_| began.log_volume.is_some());
        Source { train, valid, names, condition, bytes, columns, log_volume, ..self.clone() } == *began
    }
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

impl Binarize {
    /// Checks that the model takes data that are binarised so. `new`: its likelihood can still be chosen.
    ///
    /// # Errors
    /// A model whose columns are not all of one kind, or are counts.
    pub(crate) fn fits(self, model: &Model, new: bool) -> Result<()> {
        let (why, or) = match self {
            Binarize::None => return Ok(()),
            _ if model.is_mixed() => ("makes zeros and ones of all columns, which have different likelihoods", ""),
            _ if model.likelihood.is_of_counts() => {
                ("zeros and ones are no counts", ", or pass --likelihood bernoulli")
            }
            _ => return Ok(()),
        };
        let or = if new { or } else { "" };
        Err(Error::request(format!("binarize {}: {why}; leave it out{or}", name_of(self))))
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
    /// Columns of the data, as from..to: the last ones, and x all others, unless `x` says which, as earlier versions had it.
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
