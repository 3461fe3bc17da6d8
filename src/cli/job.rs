//! A run with its data: checked, trained, shown. `train` is one of them, `sweep` has many.
use super::loading::{Loaded, load_again};
use super::options::TrainArgs;
use super::{Common, columns_told, report};
use crate::checkpoint::{Folder, Held, Saved};
use crate::config::{Binarize, Likelihood, Run, Source};
use crate::data::scale::Rule;
use crate::data::{Dataset, Moments};
use crate::device::Device;
use crate::evaluate::{check_binarized, fits, same_columns};
use crate::files::{Lock, write_atomically};
use crate::infer::Inference;
use crate::metrics::{self, Record, Split};
use crate::plot::{self, grid};
use crate::report::Drawn;
use crate::trainer::{Begin, Outcome, Saving, Trainer, Watch};
use crate::{Error, Result};
use std::sync::Arc;

/// What to do about data that are none of the model that a run begins with.
const OF_MODEL: &str = "give data like those that it learned, or leave out --start";

fn check(run: &Run, data: &Dataset, valid: Option<&Dataset>) -> Result<()> {
    run.check()?;
    if run.training.start.is_some() {
        let mut sets = [Some(data), valid].into_iter().flatten();
        sets.clone().try_for_each(|set| same_columns(set, run.model.columns(), "the model of --start"))?;
        return sets.try_for_each(|set| {
            check_binarized(run.data.binarize, &run.model, set, OF_MODEL)?;
            fits(&run.model, set, "--data", OF_MODEL)
        });
    }
    let is_binarized = run.data.binarize != Binarize::None;
    let mut sets = [Some(data), valid].into_iter().flatten();
    let or = "leave out --binarize, or divide by what is the most";
    sets.clone().try_for_each(|set| check_binarized(run.data.binarize, &run.model, set, or))?;
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

/// A run that was checked, with its data. It has no directory and no device yet.
pub(super) struct Job {
    pub run: Run,
    pub data: Arc<Dataset>,
    pub valid: Option<Arc<Dataset>>,
    /// The model that it begins with, where that is not new.
    start: Option<Arc<Saved>>,
}

impl Job {
    /// A new run, that begins with `start` or a new model.
    pub(super) fn new(args: &TrainArgs, loaded: &Loaded, start: Option<&Arc<Saved>>) -> Result<Job> {
        let binarize = start.map_or(args.data.binarize, |saved| saved.run.data.binarize);
        let source = Source { binarize, ..loaded.source.clone() };
        let run = args.run(&loaded.data, source, start.map(|saved| &**saved))?;
        check(&run, &loaded.data, loaded.valid.as_deref())?;
        Ok(Job { run, data: loaded.data.clone(), valid: loaded.valid.clone(), start: start.cloned() })
    }

    /// One that goes on, with the data that it began with. `are_named`: where they are now is said.
    pub(super) fn again(saved: &Saved, are_named: bool) -> Result<Job> {
        let otherwise = match are_named {
            true => "begin a new run with its weights, by --start",
            false => "pass --data FILE of them, or begin a new run",
        };
        let (data, valid) = load_again(&saved.run, otherwise)?;
        check(&saved.run, &data, valid.as_deref())?;
        Ok(Job { run: saved.run.clone(), data, valid, start: None })
    }

    /// What is worth saying of its columns before it begins. `is_new`: it can still be asked for otherwise, if it begins with a new
    /// model.
    pub(super) fn hints(&self, is_new: bool) -> Vec<String> {
        let (run, data) = (&self.run, &self.data);
        // Of zeros and ones, counts and words as they are there is nothing.
        if !run.model.has(Likelihood::Gaussian) && run.data.scale.is_none() {
            return vec![];
        }
        let moments = Moments::of(data, data.cols);
        let mut hints: Vec<String> = columns_told::never_change(run, data, &moments).into_iter().collect();
        if is_new && self.start.is_none() {
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
        let begin = match (resume, &self.start) {
            (Some(saved), _) => Begin::Again(saved),
            (None, Some(saved)) => Begin::From(saved),
            (None, None) => Begin::New,
        };
        let mut trainer = Trainer::new(self.run.clone(), folder, saving, data, valid, device, begin)?;
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
