//! The directory that a training writes to: which one, and whether it may.
use super::options::TrainArgs;
use crate::checkpoint::{FILES, Folder, Held, SWEEP};
use crate::config::Run;
use crate::{Error, Result};
use std::path::Path;

/// The first of the files of a run that a directory holds.
pub(super) fn held(path: &Path) -> Option<&'static str> {
    FILES.into_iter().find(|name| path.join(name).exists())
}

/// Whether a directory is that of the model which a run begins with, or holds it: it would go with what is replaced there.
fn holds(out: &Path, model: &Path) -> bool {
    let place = |path: &Path| std::fs::canonicalize(path).ok();
    place(model).zip(place(out)).is_some_and(|(model, out)| model.starts_with(out))
}

/// Refuses a directory that holds the model which a run begins with.
pub(super) fn check_start(out: &Path, model: &Path) -> Result<()> {
    match holds(out, model) {
        true => {
            let path = out.display();
            Err(Error::request(format!("out {path}: holds the model that --start names; pass another --out")))
        }
        false => Ok(()),
    }
}

impl TrainArgs {
    /// Whether the run directory that was named may be written to. `start`: the run that this one begins with.
    ///
    /// # Errors
    /// One that holds something.
    pub(super) fn check_out(&self, start: Option<&Run>) -> Result<()> {
        let Some(out) = &self.data.out else { return Ok(()) };
        let path = out.display();
        let request = |sentence: String| Err(Error::request(sentence));
        if out.join(SWEEP).exists() {
            return request(format!("out {path}: is the directory of a sweep; pass another --out, as {path}/mine"));
        }
        let place = |path: &Path| std::fs::canonicalize(path).ok().filter(|path| path.is_dir());
        let is_out = |other: &Path| place(other).is_some_and(|other| place(out) == Some(other));
        let name = || self.data.name(start);
        if self.data.data.iter().chain(&self.data.valid).any(|data| is_out(Path::new(data))) {
            return request(format!("out {path}: is the folder of the data; pass another --out, as runs/{}", name()));
        }
        self.data.start.as_deref().map_or(Ok(()), |model| check_start(out, model))?;
        let Some(name) = held(out).filter(|_| !self.data.force) else { return Ok(()) };
        let there = |name: &str| out.join(name).exists();
        request(match name {
            "config.json" if there("checkpoint.safetensors") => format!(
                "out {path}: holds a run already; pass another --out, --resume {path} to go on with it, or --force to replace it"
            ),
            "config.json" if !there("model.safetensors") => {
                format!("out {path}: holds a run that ended before anything was saved; pass --force to begin it anew")
            }
            "config.json" => format!("out {path}: holds a run already; pass another --out, or --force to replace it"),
            _ => format!("out {path}: holds {name} already; pass another --out, or --force to replace it"),
        })
    }

    /// The run directory: the one that was named, or a new one below `runs`, in which no other run is.
    ///
    /// # Errors
    /// One that cannot be written, or is another run's.
    pub(super) fn hold_out(&self, start: Option<&Run>) -> Result<Held> {
        if let Some(out) = &self.data.out {
            return Folder(out.clone()).hold();
        }
        let name = self.data.name(start);
        for i in 1.. {
            let out = Path::new("runs").join(if i == 1 { name.clone() } else { format!("{name}-{i}") });
            let begins_there = self.data.start.as_deref().is_some_and(|model| holds(&out, model));
            let may = self.data.force && !begins_there;
            let is_free = || !out.join(SWEEP).exists() && (may || held(&out).is_none());
            if !is_free() {
                continue;
            }
            // Another may have begun in it, and even ended, since.
            if let Some(folder) = Folder(out.clone()).hold_if_free()?.filter(|_| is_free()) {
                return Ok(folder);
            }
        }
        unreachable!("names do not end")
    }
}
