//! How a sweep is followed: one bar for all its runs on a terminal, elsewhere a line for each run that ends.
use super::super::Common;
use super::super::progress::{Bar, WHOLE};
use super::super::words::counted;
use super::{Heard, Task};
use crate::checkpoint::Best;
use crate::metrics::Record;
use crate::trainer::{Ending, Outcome};
use std::time::Instant;

pub(super) struct Follow<'a> {
    tasks: &'a [Task<'a>],
    /// What each run is of the whole work, and what part of it is done.
    shares: Vec<f64>,
    parts: Vec<f64>,
    /// Runs that have ended, and that there are.
    ended: usize,
    runs: usize,
    bar: Bar,
    began: Instant,
}

impl<'a> Follow<'a> {
    /// `done` of the `runs` are so already.
    pub fn new(common: &'a Common, tasks: &'a [Task<'a>], done: usize, runs: usize) -> Follow<'a> {
        // The memory of a step is near enough to its work.
        let work = |task: &Task| task.bytes.0 as f64 * task.run.job.run.training.steps as f64;
        let work: Vec<f64> = tasks.iter().map(work).collect();
        let all = work.iter().sum::<f64>().max(1.0);
        let bar = Bar::new(common, WHOLE as u64, "{msg} {bar:24} {percent} %, {eta} left");
        let parts = vec![0.0; tasks.len()];
        let shares = work.into_iter().map(|work| work / all).collect();
        let follow = Follow { tasks, shares, parts, ended: done, runs, bar, began: Instant::now() };
        if !tasks.is_empty() {
            follow.draw();
        }
        follow
    }

    fn done(&self) -> f64 {
        self.shares.iter().zip(&self.parts).map(|(share, part)| share * part).sum()
    }

    fn draw(&self) {
        self.bar.set((WHOLE * self.done()) as u64, || format!("{} of {} runs", self.ended, self.runs));
    }

    pub fn hear(&mut self, heard: &Heard) {
        match heard {
            Heard::Part(i, part) => self.parts[*i] = *part,
            Heard::Note(i, sentence) => self.bar.line(&format!("{}: {sentence}", self.tasks[*i].run.name)),
            Heard::Ended(i, ended) => {
                let name = &self.tasks[*i].run.name;
                if !matches!(ended, Ok(outcome) if outcome.ending == Ending::Stopped) {
                    (self.ended, self.parts[*i]) = (self.ended + 1, 1.0);
                }
                match ended {
                    Err(why) => self.bar.line(&format!("{name}: failed: {why}")),
                    Ok(outcome) if !self.bar.is_shown() => self.bar.line(&format!("{name}: {}", self.told(outcome))),
                    Ok(_) => (),
                }
            }
        }
        self.draw();
    }

    /// Of a run that ended: how, and how long the others take.
    fn told(&self, outcome: &Outcome) -> String {
        let bound = match (&outcome.best, &outcome.valid, &outcome.train) {
            (Some(Best { elbo, .. }), ..) | (None, Some(Record { elbo, .. }), _) => format!("valid elbo {elbo:.2}"),
            (None, None, Some(r)) => format!("train elbo {:.2}", r.elbo),
            (None, None, None) => "nothing was learned".into(),
        };
        let (done, seconds) = (self.done(), outcome.seconds);
        let left = self.began.elapsed().as_secs_f64() * (1.0 - done) / done.max(1e-9);
        let left = if self.ended < self.runs { format!(", about {left:.0} s left") } else { String::new() };
        match outcome.ending {
            Ending::Stopped => format!("cut after step {}; saved", outcome.steps),
            _ => format!("{bound} in {seconds:.1} s ({} of {}{left})", self.ended, counted(self.runs, "run")),
        }
    }

    pub fn finish(&self) {
        self.bar.finish();
    }
}
