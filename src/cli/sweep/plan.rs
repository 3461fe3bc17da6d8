//! The runs of a sweep, each checked before any is trained: what `train` would make of its options.
use super::super::job::Job;
use super::super::loading::{Loaded, Wanted};
use super::super::options::TrainArgs;
use super::super::out::held;
use super::super::{Common, config_file, unused};
use super::{Start, SweepArgs};
use crate::checkpoint::{Folder, Saved};
use crate::config::{Numbers, name_of, used};
use crate::device::Device;
use crate::sweep::grid::{Axis, Combination, combinations};
use crate::{Error, Result};
use clap::parser::ValueSource;
use clap::{ArgMatches, Command, FromArgMatches};
use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

/// What decides where a run goes and on what it computes, which is the same for all.
const NOT_FOR_A_GRID: [&str; 6] = ["out", "resume", "config", "device", "threads", "save-every"];

/// A run of the sweep.
pub(super) struct Planned {
    /// As its directory.
    pub name: String,
    pub folder: Folder,
    pub job: Job,
    /// The file of options that repeats it.
    pub repeating: String,
    pub device: Device,
}

/// All of them. Nothing is written yet.
///
/// # Errors
/// The first combination that cannot be, as a sentence.
pub(super) fn plan(args: &SweepArgs, out: &Folder, command: &Command, given: &ArgMatches) -> Result<Vec<Planned>> {
    let train = command.find_subcommand("train").expect("there is a command train");
    args.grid.iter().try_for_each(|axis| check(train, axis))?;
    let base = given.subcommand_matches("sweep").map(|given| words(train, given)).unwrap_or_default();
    for axis in &args.grid {
        let name = format!("--{}=", axis.name);
        if let Some(value) = base.iter().find_map(|word| word.to_str()?.strip_prefix(&name)) {
            return Err(Error::request(format!(
                "{} {value}: the grid is of it, too; leave one of the two out",
                axis.name
            )));
        }
    }
    // Data, and models to begin with, are read once for all runs that name the same.
    let mut read: Vec<(Wanted, Loaded)> = vec![];
    let mut models: HashMap<PathBuf, Arc<Saved>> = HashMap::new();
    let mut jobs = vec![];
    for combination in combinations(&args.grid, args.train.common.seed, args.seeds)? {
        let (one, given) = of(train, &base, &combination)?;
        let start = match one.data.start.as_ref().map(|path| (path, models.get(path))) {
            Some((path, None)) => {
                let model = Arc::new(Saved::read(path)?);
                models.insert(path.clone(), model.clone());
                Some(model)
            }
            known => known.and_then(|(_, model)| model.cloned()),
        };
        let wanted = Wanted::new(&one, start.as_ref().map(|saved| &saved.run))?.unbinarized();
        let at = match read.iter().position(|(known, _)| *known == wanted) {
            Some(at) => at,
            None => {
                read.push((wanted.clone(), wanted.load()?));
                read.len() - 1
            }
        };
        let (name, job) = (combination.name(), Job::new(&one, &read[at].1, start.as_ref())?);
        jobs.push((name, job, config_file::repeating(train, &given)));
    }
    // The same device for all runs of a precision.
    let mut devices: Vec<(Numbers, Device)> = vec![];
    let (mut planned, mut names) = (vec![], HashMap::new());
    for (name, mut job, repeating) in jobs {
        let precision = job.run.training.precision;
        let device = match devices.iter().find(|(numbers, _)| *numbers == precision) {
            Some((_, device)) => device.clone(),
            None => {
                let device = Common { precision, ..args.train.common.clone() }.device()?;
                devices.push((precision, device.clone()));
                device
            }
        };
        job.run.training.precision = device.numbers;
        let settings = serde_json::to_string(&job.run).expect("a configuration is JSON");
        if let Some(other) = names.insert(settings, name.clone()) {
            return Err(Error::request(format!(
                "grid: {name} and {other} are the same run; leave out one of the values"
            )));
        }
        let repeating = config_file::with(&repeating, "precision", name_of(device.numbers));
        planned.push(Planned { folder: Folder(out.0.join(&name)), name, job, repeating, device });
    }
    Ok(planned)
}

/// Whether an option of `train` can be an axis.
fn check(train: &Command, axis: &Axis) -> Result<()> {
    let name = &axis.name;
    let refused = |why: &str| Err(Error::request(format!("grid {name}: {why}; see vae-gpu sweep --help")));
    let Some(option) = train.get_arguments().find(|arg| arg.get_long() == Some(name)) else {
        return refused(&config_file::no_such_option(train, name));
    };
    match name.as_str() {
        "seed" => refused("seeds are counted by --seeds, from --seed on"),
        name if NOT_FOR_A_GRID.contains(&name) => refused("is the same for all runs; pass it beside the grid"),
        _ if !option.get_action().takes_values() => refused("takes no value"),
        _ => Ok(()),
    }
}

/// What was asked for of the options that all runs share, as words of a command line.
fn words(train: &Command, given: &ArgMatches) -> Vec<OsString> {
    let mut words = vec![];
    for arg in train.get_arguments() {
        let (id, Some(name)) = (arg.get_id().as_str(), arg.get_long()) else { continue };
        let shared = !matches!(id, "out" | "force" | "resume" | "config");
        if !shared || given.value_source(id) != Some(ValueSource::CommandLine) {
            continue;
        }
        if !arg.get_action().takes_values() {
            words.push(format!("--{name}").into());
            continue;
        }
        for value in given.get_raw(id).into_iter().flatten() {
            let mut word = OsString::from(format!("--{name}="));
            word.push(value);
            words.push(word);
        }
    }
    words
}

/// The options of one combination, as `train` reads them.
fn of(train: &Command, base: &[OsString], combination: &Combination) -> Result<(TrainArgs, ArgMatches)> {
    // What the grid chooses displaces what it does not use: `--momentum 0.8` is for the runs of the rule momentum.
    let chosen =
        |choice: &str| combination.values.iter().find(|(name, _)| name == choice).map(|(_, value)| value.clone());
    let name = |word: &OsString| word.to_string_lossy().trim_start_matches("--").split('=').next().map(String::from);
    let given = |option: &str| {
        chosen(option).is_some() || base.iter().any(|word| name(word).is_some_and(|name| name == option))
    };
    let base = base.iter().filter(|word| !name(word).is_some_and(|name| used::displaced(&name, chosen, given)));
    let own = combination.values.iter().map(|(name, value)| format!("--{name}={value}").into());
    let seed = format!("--seed={}", combination.seed).into();
    let line = ["train".into()].into_iter().chain(base.cloned()).chain(own).chain([seed]);
    let given = train.clone().try_get_matches_from(line);
    given.as_ref().map_or(Ok(()), unused::refuse)?;
    given.and_then(|given| Ok((TrainArgs::from_arg_matches(&given)?, given))).map_err(|e| {
        // What clap says in its first paragraph, as one sentence.
        let text = e.render().to_string();
        let first = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
        let sentence = first.split_whitespace().collect::<Vec<_>>().join(" ");
        Error::request(format!("{}: {sentence}", combination.name()))
    })
}

impl Planned {
    /// Whether what is in its directory is this run, or nothing.
    ///
    /// # Errors
    /// It is another.
    pub fn allow(&self) -> Result<()> {
        let path = self.folder.0.display();
        let another = |what: &str| {
            Err(Error::request(format!(
                "out {path}: holds {what} already; pass another --out, or --force to replace it"
            )))
        };
        match held(&self.folder.0) {
            None => Ok(()),
            Some(_) if self.is_there() => Ok(()),
            Some("config.json") => another("a run with other settings or other data"),
            Some(name) => another(name),
        }
    }

    fn is_there(&self) -> bool {
        self.folder.read_config().is_ok_and(|run| self.job.run.is(&run))
    }

    /// Where it begins. What was trained to its end is not trained anew, with its checkpoint or without.
    ///
    /// # Errors
    /// A checkpoint that is damaged; the model of one that is complete is gone, and there is no `force` to train it anew.
    pub fn start(&self, force: bool) -> Result<Start> {
        if !self.is_there() {
            return Ok(Start::New);
        }
        if !self.folder.checkpoint().exists() {
            // One that was cut before its first checkpoint has no page yet.
            return Ok(if self.folder.has_ended() { Start::Done } else { Start::New });
        }
        let saved = Saved::read(&self.folder.checkpoint())?;
        let path = self.folder.0.display();
        Ok(match saved.is_complete() {
            _ if !self.job.run.is(&saved.run) => Start::New, // of the run that this one replaces
            true if self.folder.has_ended() => Start::Done,
            true if !self.folder.model().exists() && force => Start::New,
            true if !self.folder.model().exists() => {
                return Err(Error::failed(format!(
                    "{path}: its model.safetensors is gone; pass --force to train it anew"
                )));
            }
            _ => Start::GoOn,
        })
    }
}
