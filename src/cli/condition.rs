//! The data of a conditional model, and what it is told with them: `--condition`, `--past` and `--future`.
use super::loading::load_again;
use super::{Common, Part, data_for, file_of};
use crate::config::{Condition, Run, Source};
use crate::data::{Columns, Dataset, Missing, Unknown, Values};
use crate::evaluate::same_columns;
use crate::{Error, Result};
use clap::Args;
use std::iter;
use std::path::Path;
use std::sync::Arc;

/// Data for a trained model, and the labels that go with it.
#[derive(Args, Clone)]
pub(crate) struct DataFor {
    /// Examples like those of the training; for a model of built-in data, their test part if not given
    #[arg(long, value_name = "FILE")]
    pub(super) data: Option<String>,
    /// In place of --data the examples that the run was validated on: those that --valid-fraction held out, or of its --valid
    #[arg(long, conflicts_with_all = ["data", "labels"])]
    pub(super) held_out: bool,
    /// Of a model with classes: a file with those of --data, where these have no such column: idx, or a table with a column called
    /// as that of --classes, or with a single one
    #[arg(long = "condition", value_name = "FILE")]
    pub(super) labels: Option<String>,
    /// Words that the model does not know: refuse, or missing, which they then count as. That takes a model trained with --missing
    /// allow, or impute
    #[arg(long, value_enum, default_value = "refuse", hide_possible_values = true, value_name = "WHAT")]
    pub(super) unknown_words: Unknown,
}

impl DataFor {
    /// The file of the data, if they are not built in.
    pub(super) fn file(&self) -> Option<&Path> {
        self.data.as_deref().and_then(file_of)
    }

    /// The same, also of what the run held out: then the part of the file that it is, or 0 where it is all of it.
    pub(super) fn file_and_part<'a>(&'a self, run: &'a Run) -> (Option<&'a Path>, f64) {
        match (&run.data.valid, self.held_out) {
            (_, false) => (self.file(), 0.0),
            (Some(valid), true) => (file_of(valid), 0.0),
            (None, true) => (file_of(&run.data.train), run.data.valid_fraction),
        }
    }

    /// The data, with the model's condition behind its columns. Says what of them may have been meant otherwise.
    pub(super) fn load(&self, run: &Run, common: &Common) -> Result<Arc<Dataset>> {
        if self.held_out {
            self.check(run, run.model.missing)?;
            let (_, valid) = load_again(run, "leave out --held-out, and pass --data FILE")?;
            return valid.ok_or_else(|| Error::request("held-out: the run held nothing out; pass --data FILE"));
        }
        self.read(run, &run.data, run.model.missing, common)
    }

    /// The same, and what of them the model is told in the units of the file: not as it comes back from where the model has it, but
    /// where they are read again as the run did.
    pub(super) fn load_with_told(&self, run: &Run, common: &Common) -> Result<(Arc<Dataset>, Vec<f32>)> {
        let columns = run.model.input..run.model.columns();
        if self.held_out {
            let data = self.load(run, common)?;
            let mut told = data.columns(columns.clone());
            run.data.scale.iter().for_each(|scale| scale.undo(&mut told, columns.clone()));
            return Ok((data, told));
        }
        let data = self.read(run, &Source { scale: None, ..run.data.clone() }, run.model.missing, common)?;
        same_columns(&data, columns.end, "the data of the model")?;
        let told = data.columns(columns);
        Ok(match &run.data.scale {
            Some(scale) => (Arc::new(scale.apply(Arc::unwrap_or_clone(data))?), told),
            None => (data, told),
        })
    }

    /// The same with gaps, whatever the model was trained on, and in the units of the file.
    pub(super) fn load_with_gaps(&self, run: &Run, common: &Common) -> Result<Arc<Dataset>> {
        if self.held_out {
            return Err(Error::request("held-out: is no file to fill in; pass --data FILE"));
        }
        self.read(run, &Source { scale: None, ..run.data.clone() }, Missing::Allow, common)
    }

    /// The same, of a model that is told columns, where x may be missing, or nothing be there but what it is told: then x is NaN.
    pub(super) fn load_told(&self, run: &Run, common: &Common) -> Result<Arc<Dataset>> {
        let (Some(path), Some(_)) = (&self.data, self.file()) else { return self.load(run, common) };
        self.check(run, Missing::Allow)?;
        let columns = Columns { unknown: Some(self.unknown_words), ..columns_or_told(run) };
        let data = super::dataset(path, Part::Test, Some(&columns), run.data.bytes, Missing::Allow)?;
        common.tell(&data);
        check_told(&data, run)?;
        let (x, told) = (run.model.input, run.model.condition);
        // Where they stand alone, a column is told by its place among them.
        let known = |data: &Dataset, columns| {
            data.check(columns, |v| !v.is_nan(), "a condition must be known; leave the example out")
        };
        let data = match data.cols == told {
            false => arrange(data, &run.data, None)?,
            true => {
                known(&data, 0..told)?;
                let rows = data.to_rows();
                let wide = rows.chunks(told).flat_map(|row| iter::repeat_n(f32::NAN, x).chain(row.iter().copied()));
                let data = Dataset::new(data.name, x + told, Values::Reals(wide.collect()));
                match &run.data.scale {
                    Some(scale) => scale.apply(data)?,
                    None => data,
                }
            }
        };
        same_columns(&data, x + told, "the data of the model")?;
        known(&data, x..x + told)?;
        Ok(Arc::new(data))
    }

    /// Whether the model can be asked so.
    fn check(&self, run: &Run, missing: Missing) -> Result<()> {
        if self.unknown_words == Unknown::Missing {
            let has_words = run.data.columns.as_ref().is_some_and(|columns| !columns.words.is_empty());
            let wrong = match (has_words, missing) {
                (false, _) => Some("the model has no columns of words; leave it out"),
                (true, Missing::Refuse | Missing::Never) => {
                    Some("the model takes no missing values; train it with --missing allow, or leave it out")
                }
                (true, Missing::Allow) => None,
            };
            wrong.map_or(Ok(()), |wrong| Err(Error::request(format!("unknown-words missing: {wrong}"))))?;
        }
        if let (Some(labels), false) = (&self.labels, matches!(run.data.condition, Some(Condition::Classes { .. }))) {
            return Err(Error::request(format!(
                "condition {labels}: the model was not trained on classes; leave it out"
            )));
        }
        Ok(())
    }

    fn read(&self, run: &Run, source: &Source, missing: Missing, common: &Common) -> Result<Arc<Dataset>> {
        self.check(run, missing)?;
        let mut data = data_for(run, &self.data, missing, self.unknown_words)?;
        if let (Some(labels), Some(_)) = (&self.labels, &data.labels) {
            data.notes.push(format!("{}: has classes of its own; those of {labels} count", data.name));
        }
        common.tell(&data);
        // The columns were named when the model was trained, and are not what this request has wrong.
        if let Some(want) = run.data.condition.as_ref().map(columns_of).filter(|&want| data.cols < want) {
            return same_columns(&data, want, "the data of the model").map(|()| Arc::new(data));
        }
        Ok(Arc::new(arrange(data, source, self.labels.as_deref())?))
    }
}

/// The columns of a model's data, or those alone that it is told.
pub(super) fn columns_or_told(run: &Run) -> Columns {
    let known = run.data.known_columns();
    let Some(Condition::Columns { columns: (from, to), .. }) = run.data.condition else { return known };
    let alone = known.column_of(from)..known.column_of(to - 1) + 1;
    Columns { alone, ..known }
}

/// Whether data read as [`columns_or_told`] can be either.
pub(super) fn check_told(data: &Dataset, run: &Run) -> Result<()> {
    let (got, width) = (data.cols, run.model.condition);
    match got == width || got >= run.data.condition.as_ref().map_or(0, columns_of) {
        true => Ok(()),
        false => Err(Error::failed(format!(
            "{}: a row has {got} numbers; must have {width}, those of the condition, or be a whole example",
            data.name
        ))),
    }
}

/// How many columns data have at least where the condition stands among them.
fn columns_of(condition: &Condition) -> usize {
    match condition {
        Condition::Classes { .. } => 0,
        Condition::Columns { columns, x } => columns.1.max(x.map_or(0, |x| x.1)),
    }
}

/// What a model sees of `data`: its condition behind its columns, scaled where the scale was found already. `labels`: a
/// file that has them.
pub(super) fn arrange(mut data: Dataset, source: &Source, labels: Option<&str>) -> Result<Dataset> {
    let data = match &source.condition {
        None => data,
        Some(Condition::Classes { classes, .. }) => {
            let named = source.classes();
            if let Some(labels) = labels {
                data.labels = Some(Dataset::read_classes(Path::new(labels), &source.known_columns(), *classes)?);
                data.columns.classes = named.cloned();
            }
            if let (Some(named), None) = (named, &data.labels) {
                if let Some(e) = data.columns.classes.as_ref().and_then(|found| found.incomplete(&data.name)) {
                    return Err(e);
                }
                let name = &data.name;
                return Err(Error::failed(match named.apart {
                    true => format!("{name}: the model is told the class of each example; give --condition FILE"),
                    false => format!(
                        "{name}: has no column {} with the class of each example, which the model is told; give data that have \
                         it, or --condition FILE",
                        named.told()
                    ),
                }));
            }
            data.with_classes(*classes)?
        }
        Some(Condition::Columns { columns, x }) => data.arranged(x.map(|x| x.0..x.1), columns.0..columns.1)?,
    };
    match &source.scale {
        Some(scale) if scale.is_found() => scale.apply(data),
        _ => Ok(data),
    }
}

/// How many classes these labels have.
pub(super) fn classes(data: &Dataset) -> usize {
    data.labels.iter().flatten().max().map_or(1, |&last| last as usize + 1)
}
