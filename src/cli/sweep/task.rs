//! One run of a sweep, made on one of its threads; what it has to say goes to the thread that prints.
use super::super::job;
use super::super::signals::Signals;
use super::Planned;
use crate::Result;
use crate::checkpoint::Saved;
use crate::trainer::{Ending, Outcome, Progress, Saving, Trainer, Watch, memory};
use std::sync::mpsc::Sender;

/// Where a run begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Start {
    Done,
    /// At its checkpoint.
    GoOn,
    New,
}

/// What is heard of a run, by its place among the tasks.
pub(super) enum Heard {
    /// This part of its steps is done, from 0 to 1.
    Part(usize, f64),
    Note(usize, String),
    Ended(usize, Result<Box<Outcome>>),
}

/// A run that is not done.
pub(super) struct Task<'a> {
    pub run: &'a Planned,
    start: Start,
    /// What it takes of the device's memory, and of the host's.
    pub bytes: (u64, u64),
}

impl<'a> Task<'a> {
    pub fn new(run: &'a Planned, start: Start) -> Task<'a> {
        let bytes = memory(&run.job.run, &run.device, &run.job.data, run.job.valid.as_ref());
        Task { run, start, bytes }
    }

    /// Trains it, unless a signal came.
    pub fn work(&self, i: usize, saving: Saving, signals: &Signals, to: &Sender<Heard>) {
        if signals.came().is_none() {
            let ended = self.make(i, saving, signals, to).map(Box::new);
            let _ = to.send(Heard::Ended(i, ended)); // the listener goes last
        }
    }

    fn make(&self, i: usize, saving: Saving, signals: &Signals, to: &Sender<Heard>) -> Result<Outcome> {
        let Planned { folder, job, repeating, device, .. } = self.run;
        let folder = folder.hold()?;
        let resume = match self.start {
            Start::GoOn => Some(Saved::read(&folder.checkpoint())?),
            Start::New | Start::Done => None,
        };
        let mut note = |sentence| _ = to.send(Heard::Note(i, sentence));
        if let Some(saved) = &resume {
            saved.differences(device).into_iter().for_each(&mut note);
        }
        let watch = |_: &Trainer| Told { i, signals, to };
        // What repeats a run names its data where they are now.
        let is_moved =
            |saved: &Saved| saved.run.data.files(&saved.run.data.train) != job.run.data.files(&job.run.data.train);
        let repeating = resume.as_ref().is_none_or(is_moved).then_some(repeating.as_str());
        let (outcome, files, _) = job.train(folder, saving, resume.as_ref(), repeating, device, watch)?;
        job::curves(&files)?;
        if outcome.ending != Ending::Stopped {
            job.show(&files, device, &mut note)?;
        }
        Ok(outcome)
    }
}

/// Who follows one of the trainings.
struct Told<'a> {
    i: usize,
    signals: &'a Signals,
    to: &'a Sender<Heard>,
}

impl Watch for Told<'_> {
    fn progress(&mut self, p: &Progress) {
        let _ = self.to.send(Heard::Part(self.i, p.step as f64 / p.steps.max(1) as f64));
    }
    fn note(&mut self, sentence: &str) {
        let _ = self.to.send(Heard::Note(self.i, sentence.into()));
    }
    fn stop(&mut self) -> bool {
        self.signals.came().is_some()
    }
}
