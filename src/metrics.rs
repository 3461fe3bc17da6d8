//! What a training reports: one record per stretch of steps or validation, one JSON object per line.
use crate::checkpoint::Best;
use crate::config::Training;
use crate::files::{Counted, no_room};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Which data a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    Train,
    Valid,
}

/// One line of metrics.jsonl. Bounds are in nats per example, averaged over the examples since the line before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Steps done.
    pub step: u32,
    /// Epochs done, in fractions.
    pub epoch: f64,
    pub split: Split,
    /// −(nll + kl): beta 1, no free bits.
    pub elbo: f64,
    pub nll: f64,
    pub kl: f64,
    /// What is minimised, with free bits and the objective's own bound: of training at the beta of each step, of validation
    /// at the whole beta, so that it is the same measure at every epoch.
    pub loss: f64,
    pub lr: f64,
    /// Of the last step.
    pub beta: f64,
    pub examples_per_s: f64,
}

/// The validation whose model is kept, as its training chooses: of those after the warm-up of the KL the first of the least
/// loss; where there is none yet, the last. `best` is what the checkpoint has: a version before this one chose within the
/// warm-up too.
pub fn kept<'r>(records: &'r [Record], training: &Training, best: Option<Best>) -> Option<&'r Record> {
    let valid = || records.iter().filter(|r| r.split == Split::Valid);
    let is_best = |r: &Record| best.is_some_and(|best| best.elbo == r.elbo && best.epoch == r.epoch as u32);
    let counted = valid().filter(|r| training.chooses(r.step) || is_best(r));
    counted.reduce(|best, r| if r.loss < best.loss { r } else { best }).or(valid().next_back())
}

/// The records of a split that are a course over steps. The line at the end of an epoch is of all of it: beside finer ones within it
/// would be a spike, and where an epoch has several they are taken instead; else it is.
pub fn course(records: &[Record], split: Split) -> Vec<&Record> {
    const SEVERAL: usize = 2;
    let (mut all, mut begun): (Vec<&Record>, usize) = (vec![], 0); // where those of the epoch begin
    for record in records.iter().filter(|r| r.split == split) {
        let is_whole = record.epoch.fract() == 0.0;
        if !is_whole {
            all.push(record);
            continue;
        }
        if all.len() - begun < SEVERAL {
            all.truncate(begun);
            all.push(record);
        }
        begun = all.len();
    }
    all
}

/// metrics.jsonl, open to be written.
pub struct Log {
    file: Counted,
    path: PathBuf,
    /// Those at the step of the checkpoint: what is done again there is not written again.
    there: Vec<(u32, Split)>,
}

impl Log {
    /// Begins a new file; or, with the step of a checkpoint, keeps the lines up to it and goes on.
    ///
    /// # Errors
    /// A place that cannot be written.
    pub fn open(path: &Path, resume_at: Option<u32>) -> Result<(Log, Vec<Record>)> {
        let kept = match resume_at {
            Some(step) => read(path)?.into_iter().filter(|r| r.step <= step).collect(),
            None => vec![],
        };
        let cannot = |e| Error::failed(format!("cannot write {}: {e}", path.display()));
        let there = kept.iter().map(|r| (r.step, r.split)).filter(|(step, _)| Some(*step) == resume_at).collect();
        let lines: String = kept.iter().map(line).collect();
        crate::files::write_atomically(path, |out| out.write_all(lines.as_bytes()))?;
        let file = OpenOptions::new().append(true).open(path).map_err(cannot)?;
        Ok((Log { file: Counted { file, bytes: lines.len() as u64 }, path: path.into(), there }, kept))
    }

    /// # Errors
    /// A disk that is full, say.
    pub fn write(&mut self, record: &Record) -> Result<()> {
        if self.there.contains(&(record.step, record.split)) {
            return Ok(());
        }
        let path = self.path.display();
        let cannot = |e: std::io::Error| Error::failed(format!("cannot write {path}: {e}"));
        self.file.write_all(line(record).as_bytes()).map_err(|e| cannot(no_room(e, self.file.bytes)))
    }
}

fn line(record: &Record) -> String {
    serde_json::to_string(record).expect("a record is JSON") + "\n"
}

/// The records of a run, up to a line that was cut off or is damaged.
///
/// # Errors
/// A file that cannot be read.
pub fn read(path: &Path) -> Result<Vec<Record>> {
    match std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()) {
        Ok(text) => Ok(text.lines().map_while(|line| serde_json::from_str(line).ok()).collect()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(vec![]),
        Err(e) => Err(Error::failed(format!("cannot read {}: {e}", path.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_the_least_loss_after_the_warm_up() {
        let record = |(i, loss): (usize, f64)| {
            let (step, epoch, elbo) = (4 * i as u32 + 4, i as f64 + 1.0, -loss);
            let (nll, kl, lr, beta) = (loss, 0.0, 1e-3, 1.0);
            Record { step, epoch, split: Split::Valid, elbo, nll, kl, loss, lr, beta, examples_per_s: 1.0 }
        };
        let records: Vec<Record> = [3.0, 9.0, 5.0, 5.0, 7.0].into_iter().enumerate().map(record).collect();
        let epoch = |kl_warmup, best| {
            kept(&records, &Training { kl_warmup, ..Training::new(1, 20) }, best).map(|record| record.epoch)
        };
        assert_eq!(epoch(0, None), Some(1.0));
        assert_eq!(epoch(5, None), Some(3.0), "of two that are the same the first");
        assert_eq!(epoch(20, None), Some(5.0));
        assert_eq!(epoch(21, None), Some(5.0), "none counts: the last");
        let old = Best { elbo: -3.0, epoch: 1, loss: None };
        assert_eq!(epoch(5, Some(old)), Some(1.0), "a run that chose within its warm-up kept that model");
        assert!(kept(&[], &Training::new(1, 1), None).is_none());
    }
}
