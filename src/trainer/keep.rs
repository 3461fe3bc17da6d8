//! Where a training keeps what it makes: a run directory, or memory.
use crate::checkpoint::{self, Held, Position, Saved};
use crate::config::Run;
use crate::device::Backend;
use crate::files::{Aside, write_atomically};
use crate::metrics::{Log, Record};
use crate::model::Network;
use crate::{Result, schedule};

/// What a training hands over, and when.
pub trait Keep {
    /// Before the first step; or, of a training that goes on, after so many. Returns the lines of metrics up to there.
    ///
    /// # Errors
    /// A place that cannot be written.
    fn begin(&mut self, run: &Run, network: &Network, resume_at: Option<u32>) -> Result<Vec<Record>>;

    /// A line of metrics.
    ///
    /// # Errors
    /// A place that cannot be written.
    fn record(&mut self, record: &Record) -> Result<()>;

    /// The model: the best so far, or the last where no validation chooses.
    ///
    /// # Errors
    /// Those of the device and of the place; a parameter that is not finite.
    fn model(&mut self, run: &Run, network: &Network, b: &mut dyn Backend) -> Result<()>;

    /// All that a training needs to go on.
    ///
    /// # Errors
    /// As [`Keep::model`].
    fn checkpoint(&mut self, run: &Run, at: &Position, network: &Network, b: &mut dyn Backend) -> Result<()>;

    /// A validation chose its model: it takes the place of the one before, if that still has it.
    fn takes_place(&mut self) {}

    /// Somebody stopped it: it can go on.
    fn stopped(&mut self) {}

    /// Why it fails: the first cause it is told. That it does is told anyway.
    fn failed(&mut self, _: &str) {}

    /// What is left of a training that fails, as a clause.
    fn left(&self) -> String;
}

/// In a run directory.
pub struct InFolder {
    pub folder: Held,
    log: Option<Log>,
    /// The run that this one replaces, until it has a model that a validation chose, or a checkpoint of an epoch or more.
    before: Option<Aside>,
    /// Whether there is a model, and a checkpoint, of this training.
    has_model: bool,
    has_checkpoint: bool,
}

impl From<Held> for InFolder {
    fn from(folder: Held) -> InFolder {
        InFolder { folder, log: None, before: None, has_model: false, has_checkpoint: false }
    }
}

impl InFolder {
    /// It has the place of the run before, however far it came.
    pub fn settle(&mut self) {
        self.before.take().into_iter().for_each(Aside::forget);
    }
}

impl Keep for InFolder {
    fn begin(&mut self, run: &Run, network: &Network, resume_at: Option<u32>) -> Result<Vec<Record>> {
        self.before = self.folder.begin(run, network, resume_at.is_some())?;
        let (log, lines) = Log::open(&self.folder.metrics(), resume_at)?;
        self.log = Some(log);
        (self.has_model, self.has_checkpoint) = (resume_at.is_some(), resume_at.is_some());
        Ok(lines)
    }
    fn record(&mut self, record: &Record) -> Result<()> {
        self.log.as_mut().expect("a training begins before its first line").write(record)
    }
    fn model(&mut self, run: &Run, network: &Network, b: &mut dyn Backend) -> Result<()> {
        checkpoint::save_model(&self.folder, run, network, b)?;
        self.has_model = true;
        Ok(())
    }
    fn checkpoint(&mut self, run: &Run, at: &Position, network: &Network, b: &mut dyn Backend) -> Result<()> {
        checkpoint::save(&self.folder, run, at, network, b)?;
        self.has_checkpoint = true;
        let epoch = schedule::steps_per_epoch(run.data.rows, run.training.batch);
        if at.step as usize >= epoch.min(run.training.steps as usize) {
            self.settle();
        }
        Ok(())
    }
    fn takes_place(&mut self) {
        self.settle();
    }
    fn stopped(&mut self) {
        self.before = self.before.take().map(Aside::staying);
    }
    fn failed(&mut self, why: &str) {
        if !self.folder.failed().exists() {
            let _ = write_atomically(&self.folder.failed(), |out| writeln!(out, "{why}"));
        }
    }
    fn left(&self) -> String {
        let folder = self.folder.0.display();
        match (self.has_checkpoint, self.has_model) {
            _ if self.before.as_ref().is_some_and(Aside::returns) => format!("{folder} has the run before again"),
            (true, _) => format!("the last checkpoint in {folder} is kept"),
            (false, true) => format!("no checkpoint was written yet, but the best model in {folder} is kept"),
            (false, false) => "no checkpoint was written yet".into(),
        }
    }
}

/// In memory: the model alone, and the lines of metrics.
#[derive(Default)]
pub struct InMemory {
    pub saved: Option<Saved>,
    pub history: Vec<Record>,
}

impl Keep for InMemory {
    fn begin(&mut self, _: &Run, _: &Network, _: Option<u32>) -> Result<Vec<Record>> {
        Ok(vec![])
    }
    fn record(&mut self, record: &Record) -> Result<()> {
        self.history.push(record.clone());
        Ok(())
    }
    fn model(&mut self, run: &Run, network: &Network, b: &mut dyn Backend) -> Result<()> {
        self.saved = Some(Saved::of_network(run, network, b)?);
        Ok(())
    }
    fn checkpoint(&mut self, _: &Run, _: &Position, _: &Network, _: &mut dyn Backend) -> Result<()> {
        Ok(())
    }
    fn left(&self) -> String {
        "nothing is kept".into()
    }
}
