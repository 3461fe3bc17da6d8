//! A run and its data: read, checked, trained, shown. `train` is one of them, `sweep` has many.
use super::options::TrainArgs;
use super::{Common, Part, columns_told, condition, dataset, file_of, held_out_part, own_test, report};
use crate::checkpoint::{Folder, Held, Saved};
use crate::config::{Binarize, Condition, Likelihood, Run, Source};
use crate::data::scale::Rule;
use crate::data::{Bytes, Columns, Dataset, Missing, Moments, Scale, file_and_array, is_part_or_missing};
use crate::device::Device;
use crate::evaluate::fits;
use crate::files::{Lock, write_atomically};
use crate::infer::Inference;
use crate::metrics::{self, Record, Split};
use crate::plot::{self, grid};
use crate::report::Drawn;
use crate::trainer::{Outcome, Saving, Trainer, Watch};
use crate::{Error, Result};
use std::path::Path;
use std::sync::Arc;

/// The data of a run, to train on and to validate on, each with the condition behind its columns. The first time, the
/// classes in `source` are counted, and its columns, their scale, and what bytes stand for are found; the data then know which
/// of their columns have a likelihood of their own.
pub(super) fn load(source: &mut Source, missing: Missing) -> Result<(Arc<Dataset>, Option<Arc<Dataset>>)> {
    let is_new = source.rows == 0;
    if is_new && source.scale.is_some() {
        source.bytes = Some(Bytes::Plain);
    }
    let columns = match is_new {
        true => source.columns.clone(),
        false => Some(Columns { again: true, ..source.known_columns() }),
    };
    let mut data = dataset(&source.train, Part::Train, columns.as_ref(), source.bytes, missing)?;
    if is_new {
        data.check_rounding()?;
        source.bytes = source.bytes.or(data.bytes);
        if let Some(Condition::Columns { columns: place @ (0, 0), .. }) = &mut source.condition {
            *place = data.columns.told_of(data.cols);
        }
        source.columns = data.columns.kept();
    }
    // What is said of a header is said of the data; what they are validated on tells by itself, also when a run goes on.
    let again = columns.map(|columns| Columns { again: columns.header.is_auto(), ..columns });
    let columns = if is_new { source.columns.clone() } else { again };
    let valid = source.valid.as_ref().map(|path| dataset(path, Part::Test, columns.as_ref(), source.bytes, missing));
    let mut valid = valid.transpose()?;
    let in_a_column = source.classes().is_some_and(|classes| !classes.apart);
    if let Some(Condition::Classes { classes, train, valid: valid_labels }) = &mut source.condition {
        for (data, file) in [(Some(&mut data), &train), (valid.as_mut(), &valid_labels)] {
            let (Some(data), Some(file)) = (data, file) else { continue };
            let (path, known) = (Path::new(file), source.columns.as_ref().filter(|known| known.classes.is_some()));
            match known {
                // Of a run that goes on, or those of training.
                Some(known) => {
                    data.labels = Some(Dataset::read_classes(path, known, *classes)?);
                    data.columns.classes = known.classes.clone();
                }
                None => {
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
    if missing == Missing::Allow {
        data.check_observed()?;
    }
    if let Some(scale) = source.scale.as_mut().filter(|scale| !scale.is_found()) {
        let classes = source.condition.as_ref().map_or(0, Condition::classes);
        let own = data.columns.likelihoods.iter().enumerate();
        let kept = own.filter_map(|(j, own)| own.is_some_and(|own| !own.is_scaled()).then_some(j));
        *scale = Scale::find(scale.rule, &data, data.cols - classes)?.leaving(kept);
        (data, valid) = (scale.apply(data)?, valid.map(|valid| scale.apply(valid)).transpose()?);
        if missing == Missing::Allow {
            let judged = valid.as_ref().unwrap_or(&data);
            let input = judged.cols - source.condition.as_ref().map_or(0, Condition::width);
            source.log_volume = Some(scale.mean_log_volume(judged, input));
        }
    }
    Ok((Arc::new(data), valid.map(Arc::new)))
}

/// The data of a run that are read again: those that it began with. `otherwise`: what else can be done where they are not.
pub(super) fn load_again(saved: &Saved, otherwise: &str) -> Result<(Arc<Dataset>, Option<Arc<Dataset>>)> {
    let began = &saved.run.data;
    let (data, valid) =
        load(&mut began.clone(), saved.run.model.missing).map_err(|e| moved(began, otherwise).unwrap_or(e))?;
    if data.rows() != began.rows {
        let (name, got, want) = (&data.name, data.rows(), began.rows);
        return Err(Error::failed(format!(
            "{name}: has {got} examples; the run began with {want}: the file changed; give the same file, or {otherwise}"
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
    Some(Error::failed(format!(
        "{file}: is not there; the run keeps the path as it was given, and it begins where the run was started: go there, or \
         {otherwise}"
    )))
}

fn check(run: &Run, data: &Dataset, valid: Option<&Dataset>) -> Result<()> {
    run.check()?;
    let is_binarized = run.data.binarize != Binarize::None;
    let mut sets = [Some(data), valid].into_iter().flatten();
    if is_binarized && run.model.likelihood == Likelihood::Gaussian {
        let must = "must be in [0, 1] to become zeros and ones; leave out --binarize, or divide by what is the most";
        sets.clone().try_for_each(|set| set.check(0..run.model.input, is_part_or_missing, must))?;
    }
    let remedy = match run.data.scale.as_ref().map(|scale| scale.rule) {
        None if run.model.is_mixed() => "give the column another likelihood, as by --gaussian",
        Some(_) if run.model.is_mixed() => {
            "it is scaled here; pass --likelihood gaussian, and name the columns of zeros and ones by --bernoulli: it and the options of \
             counts and words leave theirs unscaled"
        }
        None if is_binarized => {
            "pass --scale minmax; or leave out --binarize, and pass --likelihood gaussian --scale standard"
        }
        None if run.model.likelihood.is_of_counts() => "pass --likelihood gaussian",
        None => {
            "pass --likelihood gaussian --scale standard, or --scale minmax; of counts --likelihood negative-binomial"
        }
        Some(Rule::Minmax) => {
            "as it is scaled, and no example that is trained on lies beyond; pass --likelihood gaussian, of pixels divide by 255 in \
             place of --scale, or leave the example out"
        }
        Some(_) => "it is scaled here; pass --likelihood gaussian, or --scale minmax in place of this one",
    };
    sets.try_for_each(|set| fits(&run.model, set, "--data", remedy))
}

/// Data that were read, with their checksum.
pub(super) struct Loaded {
    pub source: Source,
    pub data: Arc<Dataset>,
    pub valid: Option<Arc<Dataset>>,
}

/// Where the data of a new run come from. Nothing is read yet.
pub(super) fn source(args: &TrainArgs) -> Result<Source> {
    let path = args.data.data.clone().unwrap_or("digits".into());
    args.data.check()?;
    Ok(Source {
        valid: args.data.valid.clone().or(own_test(&path, args.data.valid_fraction)),
        valid_fraction: held_out_part(args.data.valid_fraction)?,
        columns: args.columns(),
        scale: Scale::asked(args.data.scale),
        condition: args.data.condition(),
        binarize: args.data.binarize,
        bytes: args.bytes(),
        ..Source::new(path, 0)
    })
}

impl Loaded {
    pub(super) fn new(mut source: Source, missing: Missing) -> Result<Loaded> {
        let (data, valid) = load(&mut source, missing)?;
        source.checksum = Some(Dataset::checksum([Some(&*data), valid.as_deref()]));
        Ok(Loaded { source, data, valid })
    }
}

/// A run that was checked, with its data. It has no directory and no device yet.
pub(super) struct Job {
    pub run: Run,
    pub data: Arc<Dataset>,
    pub valid: Option<Arc<Dataset>>,
}

impl Job {
    /// A new run.
    pub(super) fn new(args: &TrainArgs, loaded: &Loaded) -> Result<Job> {
        let source = Source { binarize: args.data.binarize, ..loaded.source.clone() };
        let run = args.run(&loaded.data, source)?;
        check(&run, &loaded.data, loaded.valid.as_deref())?;
        Ok(Job { run, data: loaded.data.clone(), valid: loaded.valid.clone() })
    }

    /// One that goes on, with the data that it began with.
    pub(super) fn again(saved: &Saved) -> Result<Job> {
        let (data, valid) = load_again(saved, "begin a new run")?;
        check(&saved.run, &data, valid.as_deref())?;
        Ok(Job { run: saved.run.clone(), data, valid })
    }

    /// What is worth saying of its columns before it begins. `is_new`: it can still be asked for otherwise.
    pub(super) fn hints(&self, is_new: bool) -> Vec<String> {
        let (run, data) = (&self.run, &self.data);
        // Of zeros and ones, counts and words as they are there is nothing.
        if !run.model.has(Likelihood::Gaussian) && run.data.scale.is_none() {
            return vec![];
        }
        let moments = Moments::of(data, data.cols);
        let mut hints: Vec<String> = columns_told::never_change(run, data, &moments).into_iter().collect();
        if is_new {
            // One is enough: they advise the same.
            let size = columns_told::unscaled(run, data, &moments).or_else(|| columns_told::far(run, data, &moments));
            hints.extend(size.or_else(|| columns_told::outweighed(run, &moments)));
            hints.extend(columns_told::zeros_and_ones(run, data));
        }
        hints
    }

    /// Trains into a directory, to the end or until `watch`, which is made when all is ready, wants to stop.
    /// `repeating`: the file of options that repeats the run, where it is not there yet.
    pub(super) fn train<W: Watch>(
        &self,
        folder: Held,
        saving: Saving,
        resume: Option<&Saved>,
        repeating: Option<&str>,
        device: &Device,
        watch: impl FnOnce(&Trainer) -> W,
    ) -> Result<(Outcome, Held, W)> {
        let (data, valid) = (&self.data, self.valid.as_ref());
        let mut trainer = Trainer::new(self.run.clone(), folder, saving, data, valid, device, resume)?;
        if let Some(text) = repeating {
            write_atomically(&trainer.folder().options(), |out| out.write_all(text.as_bytes()))?;
        }
        let mut watch = watch(&trainer);
        let outcome = trainer.run(&mut watch)?;
        Ok((outcome, trainer.close(), watch)) // pictures may need the memory
    }

    /// What is shown of a run that has ended: its pictures and its page. What could not be made is told.
    pub(super) fn show(&self, files: &Folder, device: &Device, say: &mut dyn FnMut(String)) -> Result<()> {
        let shown = self.valid.as_ref().unwrap_or(&self.data);
        let saved = Saved::read(&files.0)?;
        match draw(&saved, files, shown, device) {
            // More examples at once than a step may have: the model is saved all the same.
            Err(e @ Error::NoRoom { .. }) => say(format!("no pictures: {e}")),
            drawn => drawn?,
        }
        // It can be made again at any time: nothing about it ends a training that succeeded.
        if let Err(e) = report::of_run(files, &saved, shown, device) {
            say(format!("no report: {e}; vae-gpu report {} makes it again", files.0.display()));
        }
        Ok(())
    }
}

/// Says so where another process trains on the device; others hear so of this one as long as this is held.
pub(super) fn claim(device: &Device, common: &Common) -> Lock {
    let claim = device.claim();
    if matches!(claim, Lock::Taken) {
        common.say(format!("another training runs on {} already: both are slower, and share its memory", device.name));
    }
    claim
}

/// The curves of training and validation.
pub(super) fn curves(folder: &Folder) -> Result<()> {
    let records = metrics::read(&folder.metrics())?;
    let point = |r: &Record| plot::Point { step: r.step as u64, elbo: r.elbo, nll: r.nll, kl: r.kl };
    let points = |split| metrics::course(&records, split).into_iter().map(point).collect::<Vec<_>>();
    let series = plot::curves::training(&points(Split::Train), &points(Split::Valid));
    let title = folder.0.file_name().unwrap_or_default().to_string_lossy().into_owned();
    plot::curves::write(&folder.picture("curves.svg"), &title, &plot::curves::TRAINING, &series)
}

/// Samples and reconstructions.
fn draw(saved: &Saved, folder: &Folder, data: &Arc<Dataset>, device: &Device) -> Result<()> {
    let mut inference = Inference::open(saved, Binarize::None, device)?;
    let drawn = Drawn::of(&saved.run, data, &mut inference, 64)?;
    grid::write_png(&folder.picture("samples.png"), &drawn.samples, drawn.shape, drawn.columns)?;
    let (tiles, columns) = drawn.pairs();
    grid::write_png(&folder.picture("reconstructions.png"), &tiles, drawn.shape, columns)
}
