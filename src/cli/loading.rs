//! The data of a run: read for the first time, when what is asked of them is found out; or again, when they must be the same; or as
//! a model that was trained before reads them, which the run begins with.
use super::options::TrainArgs;
use super::{Part, condition, dataset, file_of, held_out_part, own_test};
use crate::config::{Binarize, Condition, Run, Source};
use crate::data::{Bytes, Columns, Dataset, Missing, Scale, file_and_array};
use crate::{Error, Result};
use std::path::Path;
use std::sync::Arc;

/// What is known of data before they are read.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Reading {
    /// Nothing: it is found out.
    First,
    /// All: they are those of a run that began with them.
    Again,
    /// How a model reads its data; these are others, or have been added to.
    Later,
}

/// The data of a run, to train on and to validate on, each with the condition behind its columns. The first time, the
/// classes in `source` are counted, and its columns, their scale, and what bytes stand for are found; the data then know which
/// of their columns have a likelihood of their own.
pub(super) fn load(
    source: &mut Source,
    missing: Missing,
    reading: Reading,
) -> Result<(Arc<Dataset>, Option<Arc<Dataset>>)> {
    let is_new = reading == Reading::First;
    if is_new && source.scale.is_some() {
        source.bytes = Some(Bytes::Plain);
    }
    let columns = match reading {
        Reading::First => source.columns.clone(),
        Reading::Again => Some(Columns { again: true, ..source.known_columns() }),
        Reading::Later => Some(source.known_columns()),
    };
    let mut data = dataset(&source.train, Part::Train, columns.as_ref(), source.bytes, missing)?;
    if reading != Reading::Again {
        data.check_rounding()?;
    }
    if is_new {
        source.bytes = source.bytes.or(data.bytes);
        if let Some(Condition::Columns { columns: place @ (0, 0), .. }) = &mut source.condition {
            *place = data.columns.told_of(data.cols);
        }
        source.columns = data.columns.kept();
    }
    // What is said of a header is said of the data; what they are validated on tells by itself, also when a run goes on.
    let again = columns.map(|columns| Columns { again: columns.again && columns.header.is_auto(), ..columns });
    let columns = if is_new { source.columns.clone() } else { again };
    let valid = source.valid.as_ref().map(|path| dataset(path, Part::Test, columns.as_ref(), source.bytes, missing));
    let mut valid = valid.transpose()?;
    let in_a_column = source.classes().is_some_and(|classes| !classes.apart);
    if let Some(Condition::Classes { classes, train, valid: valid_labels }) = &mut source.condition {
        for (data, file) in [(Some(&mut data), &train), (valid.as_mut(), &valid_labels)] {
            let (Some(data), Some(file)) = (data, file) else { continue };
            let path = Path::new(file);
            let known = source.columns.clone().unwrap_or_default();
            match known.classes.is_some() || reading == Reading::Later {
                // Of a run that goes on, or those of training.
                true => {
                    data.labels = Some(Dataset::read_classes(path, &known, *classes)?);
                    data.columns.classes = known.classes;
                }
                false => {
                    let (labels, named) = Dataset::read_named_labels(path)?;
                    data.labels = Some(labels);
                    if named.is_some() {
                        data.columns.classes = named.clone();
                        source.columns.get_or_insert_default().classes = named;
                    }
                }
            }
        }
        if !in_a_column && valid.as_ref().is_some_and(|valid| valid.labels.is_none()) {
            return Err(Error::request(
                "valid-condition: not given, and --valid has no labels of its own; pass --valid-condition FILE",
            ));
        }
        if *classes == 0 {
            *classes = condition::classes(&data);
        }
    }
    if source.valid_fraction > 0.0 {
        let (train, held_out) = data.split(source.valid_fraction)?;
        (data, valid) = (train, Some(held_out));
    }
    let arrange = |data| condition::arrange(data, source, None);
    let (mut data, mut valid) = (arrange(data)?, valid.map(arrange).transpose()?);
    if missing == Missing::Allow && reading != Reading::Later {
        data.check_observed()?;
    }
    if let Some(scale) = source.scale.as_mut().filter(|scale| !scale.is_found()) {
        let classes = source.condition.as_ref().map_or(0, Condition::classes);
        let own = data.columns.likelihoods.iter().enumerate();
        let kept = own.filter_map(|(j, own)| own.is_some_and(|own| !own.is_scaled()).then_some(j));
        *scale = Scale::find(scale.rule, &data, data.cols - classes)?.leaving(kept);
        (data, valid) = (scale.apply(data)?, valid.map(|valid| scale.apply(valid)).transpose()?);
    }
    if let (Some(scale), true) = (&source.scale, missing == Missing::Allow && reading != Reading::Again) {
        let judged = valid.as_ref().unwrap_or(&data);
        let input = judged.cols - source.condition.as_ref().map_or(0, Condition::width);
        source.log_volume = Some(scale.mean_log_volume(judged, input));
    }
    Ok((Arc::new(data), valid.map(Arc::new)))
}

/// The data of a run that are read again: those that it began with. `otherwise`: what else can be done where they are not.
pub(super) fn load_again(run: &Run, otherwise: &str) -> Result<(Arc<Dataset>, Option<Arc<Dataset>>)> {
    let began = &run.data;
    let (data, valid) = load(&mut began.clone(), run.model.missing, Reading::Again)
        .map_err(|e| moved(began, otherwise).unwrap_or(e))?;
    if data.rows() != began.rows {
        let (name, got, want) = (&data.name, data.rows(), began.rows);
        let has = if began.valid_fraction > 0.0 { "leaves" } else { "has" };
        return Err(Error::failed(format!(
            "{name}: {has} {got} examples; the run began with {want}: the file changed; give the same file, or {otherwise}"
        )));
    }
    if began.checksum.is_some_and(|sum| sum != Dataset::checksum([Some(&*data), valid.as_deref()])) {
        let (files, its) = (began.files(&data.name), "numbers are not those that the run began with");
        return Err(Error::failed(match files.as_slice() {
            [one] => format!("{one}: its {its}; give the same file, or {otherwise}"),
            [first @ .., last] => {
                let first = first.join(", ");
                format!("{first} or {last}: their {its}; give the same files, or {otherwise}")
            }
            [] => unreachable!("data have a name"),
        }));
    }
    Ok((data, valid))
}

/// Why the files of a run may not be found: it keeps their paths as it was given them.
fn moved(began: &Source, otherwise: &str) -> Option<Error> {
    let is_gone = |file: &String| {
        let path = Path::new(file);
        path.is_relative() && file_of(file).is_some() && !file_and_array(path).0.exists()
    };
    let file = began.files(&began.train).into_iter().find(is_gone)?;
    // Of labels nobody can say where they are now.
    let is_of_labels = file != began.train && began.valid.as_ref() != Some(&file);
    let otherwise = if is_of_labels { "begin a new run" } else { otherwise };
    Some(Error::failed(format!(
        "{file}: is not there; the run keeps the path as it was given, and it begins where the run was started: go there, or \
         {otherwise}"
    )))
}

/// The data of a new run, before they are read. What is alike needs to be read but once.
#[derive(Clone, PartialEq)]
pub(super) struct Wanted {
    source: Source,
    missing: Missing,
    reading: Reading,
}

impl Wanted {
    /// What the options name; of a run that begins with another model, the data as that reads them, and its own where none are
    /// named. Nothing is read yet.
    pub(super) fn new(args: &TrainArgs, start: Option<&Run>) -> Result<Wanted> {
        let data = &args.data;
        data.check()?;
        let path = data.path(start);
        let named = data.data.is_some() || data.valid.is_some() || data.valid_fraction.is_some();
        let (valid, valid_fraction) = match start.filter(|_| !named) {
            Some(run) => (run.data.valid.clone(), run.data.valid_fraction),
            None => {
                let valid = data.valid.clone().or(own_test(&path, data.valid_fraction));
                (valid, held_out_part(data.valid_fraction)?)
            }
        };
        let (kept, missing, reading) = match start {
            Some(run) => {
                let condition = args.told_anew(run)?;
                let kept = Source { condition, rows: 0, checksum: None, log_volume: None, ..run.data.clone() };
                (kept, run.model.missing, Reading::Later)
            }
            None => {
                let asked = Source {
                    columns: args.columns()?,
                    names: data.names.as_ref().map(|file| file.display().to_string()),
                    scale: Scale::asked(data.scale),
                    condition: data.condition(),
                    binarize: data.binarize,
                    bytes: args.bytes(),
                    ..Source::new("", 0)
                };
                (asked, data.missing, Reading::First)
            }
        };
        Ok(Wanted { source: Source { train: path, valid, valid_fraction, ..kept }, missing, reading })
    }

    /// How it is read, whatever it is binarised to later.
    pub(super) fn unbinarized(mut self) -> Wanted {
        self.source.binarize = Binarize::None;
        self
    }

    /// Reads it.
    ///
    /// # Errors
    /// Those of the files, and what in them cannot be.
    pub(super) fn load(self) -> Result<Loaded> {
        let Wanted { mut source, missing, reading } = self;
        let (data, valid) = load(&mut source, missing, reading)?;
        source.checksum = Some(Dataset::checksum([Some(&*data), valid.as_deref()]));
        Ok(Loaded { source, data, valid })
    }
}

/// Data that were read, with their checksum.
pub(super) struct Loaded {
    pub source: Source,
    pub data: Arc<Dataset>,
    pub valid: Option<Arc<Dataset>>,
}

impl TrainArgs {
    /// What a run is told that begins with another model: the same, of other data by the file of labels that is named, if one is.
    fn told_anew(&self, run: &Run) -> Result<Option<Condition>> {
        let (asked, data) = (self.data.condition(), &self.data);
        match (&run.data.condition, asked) {
            (Some(Condition::Classes { classes, .. }), Some(Condition::Classes { train, valid, .. })) => {
                Ok(Some(Condition::Classes { classes: *classes, train, valid }))
            }
            // Other data have their own, and so has what else is validated on.
            (Some(Condition::Classes { classes, train, valid }), None) => {
                let other = data.valid.is_some() || data.valid_fraction.is_some();
                let train = train.clone().filter(|_| data.data.is_none());
                let valid = valid.clone().filter(|_| data.data.is_none() && !other).or(data.valid_condition.clone());
                Ok(Some(Condition::Classes { classes: *classes, train, valid }))
            }
            (told, None) => Ok(told.clone()),
            (told, Some(_)) => {
                let is_told = match told {
                    None => "nothing",
                    Some(Condition::Classes { .. }) => "classes",
                    Some(Condition::Columns { .. }) => "columns",
                };
                Err(Error::request(format!(
                    "condition {}: the model of --start is told {is_told}, and stays so; leave it out",
                    data.condition_as_given()
                )))
            }
        }
    }
}
