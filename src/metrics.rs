//! What a training reports: one record per stretch of steps or validation, one JSON object per line.
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
    /// What was minimised: with beta, free bits and the objective's own bound.
    pub loss: f64,
    pub lr: f64,
    pub beta: f64,
    pub examples_per_s: f64,
}

/// metrics.jsonl, open to be written.
pub struct Log {
    file: Counted,
    path: PathBuf,
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
        let lines: String = kept.iter().map(line).collect();
        crate::files::write_atomically(path, |out| out.write_all(lines.as_bytes()))?;
        let file = OpenOptions::new().append(true).open(path).map_err(cannot)?;
        Ok((Log { file: Counted { file, bytes: lines.len() as u64 }, path: path.into() }, kept))
    }

    /// # Errors
    /// A disk that is full, say.
    pub fn write(&mut self, record: &Record) -> Result<()> {
        let path = self.path.display();
        let cannot = |e: std::io::Error| Error::failed(format!("cannot write {path}: {e}"));
        self.file.write_all(line(record).as_bytes()).map_err(|e| cannot(no_room(e, self.file.bytes)))
    }
}

fn line(record: &Record) -> String {
    serde_json::to_string(record).expect("a record is JSON") + "\n"
}

/// The records of a run. A last line that was cut off is left out.
///
/// # Errors
/// A file that cannot be read.
pub fn read(path: &Path) -> Result<Vec<Record>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text.lines().map_while(|line| serde_json::from_str(line).ok()).collect()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(vec![]),
        Err(e) => Err(Error::failed(format!("cannot read {}: {e}", path.display()))),
    }
}
