//! What a run leaves on disk, and how it continues: `config.json`, `model.safetensors`, `checkpoint.safetensors`.
//! Every file is whole or absent.
use crate::config::{Numbers, Origin, Run};
use crate::data::Dataset;
use crate::device::{Backend, Chosen, Device};
use crate::files::{self, Aside, write_atomically};
use crate::model::Network;
use crate::tensors::{Tensors, Width};
use crate::{Error, Result, host, schedule};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a training stands, beside its tensors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// The index of the next step.
    pub step: u32,
    /// Elapsed in earlier sessions, seconds.
    pub seconds: f64,
    /// Sums since the last line of metrics: of loss, nll and kl over examples, and the examples.
    pub window: [f64; 4],
    /// The same sums since the epoch began.
    #[serde(default)]
    pub epoch: [f64; 4],
    /// Those of the last line.
    #[serde(default)]
    pub line: [f64; 4],
    pub best: Option<Best>,
    /// Epochs since then without a better one.
    pub stale_epochs: u32,
    /// The step after which the last validation was.
    pub validated: u32,
    /// Steps that were not finite, in all and since the last that was.
    pub skipped: u32,
    pub skipped_in_a_row: u32,
    /// By what version of the program, and on what device: others give other last digits.
    pub program: String,
    pub device: String,
    /// Where the fastest algorithms were asked for: which they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen: Option<Chosen>,
}

impl Position {
    fn sums_are_finite(&self) -> bool {
        [self.window, self.epoch, self.line].iter().flatten().all(|x| x.is_finite())
    }
}

/// The best validation so far, of those after the warm-up of the KL.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    pub elbo: f64,
    pub epoch: u32,
    /// What it was chosen by, where that is not −elbo: the loss on the validation data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
}

/// What repeats a sweep, in its directory: by this it is known as one.
pub const SWEEP: &str = "sweep.toml";

/// The files of a run directory.
#[derive(Clone, Debug)]
pub struct Folder(pub PathBuf);

/// What a run writes into its directory: a directory that holds one of them is not written into unasked.
pub const FILES: [&str; 10] = [
    "config.json",
    "run.toml",
    "model.safetensors",
    "checkpoint.safetensors",
    "metrics.jsonl",
    "samples.png",
    "reconstructions.png",
    "curves.svg",
    "report.html",
    "failed.txt",
];

impl Folder {
    pub fn config(&self) -> PathBuf {
        self.0.join("config.json")
    }
    /// What `--config` takes to repeat the run.
    pub fn options(&self) -> PathBuf {
        self.0.join("run.toml")
    }
    /// Why its training failed.
    pub fn failed(&self) -> PathBuf {
        self.0.join("failed.txt")
    }
    pub fn model(&self) -> PathBuf {
        self.0.join("model.safetensors")
    }
    pub fn checkpoint(&self) -> PathBuf {
        self.0.join("checkpoint.safetensors")
    }
    pub fn metrics(&self) -> PathBuf {
        self.0.join("metrics.jsonl")
    }
    pub fn picture(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The configuration of the run, which it has from its beginning on.
    ///
    /// # Errors
    /// A file that cannot be read, or is no configuration.
    pub fn read_config(&self) -> Result<Run> {
        let path = self.config();
        let what = path.display();
        let text = std::fs::read_to_string(&path).map_err(|e| Error::failed(format!("{what}: cannot be read: {e}")))?;
        let run: Run = serde_json::from_str(&text)
            .map_err(|e| Error::failed(format!("{what}: its configuration cannot be understood: {e}")))?;
        run.check().map_err(|e| Error::failed(format!("{what}: {e}")))?;
        Ok(run)
    }

    /// The text of one of its files, where it is there and is text.
    pub fn text(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.0.join(name)).ok()
    }

    /// The run before it, which has its place until this one was validated, or saved after an epoch.
    pub fn before(&self) -> Option<Folder> {
        Some(Folder(Aside::place(&self.0))).filter(|before| before.model().exists())
    }

    /// The run that its commands take: the one before it, where that still has its place.
    pub fn standing(&self) -> Folder {
        self.before().unwrap_or_else(|| self.clone())
    }

    /// Whether its training came to its end, by itself or for want of patience: its page is made then, and not where it was cut.
    pub fn has_ended(&self) -> bool {
        self.model().exists() && self.picture("report.html").exists() && !self.failed().exists()
    }

    /// Makes the directory where it is not there, and keeps every other run out of it.
    ///
    /// # Errors
    /// A place that cannot be written; another run in it.
    pub fn hold(&self) -> Result<Held> {
        let path = self.0.display();
        self.hold_if_free()?.ok_or_else(|| {
            Error::request(format!("out {path}: another run writes to it; wait for it, or pass another --out"))
        })
    }

    /// The same; None where another run is in it.
    ///
    /// # Errors
    /// A place that cannot be written.
    pub fn hold_if_free(&self) -> Result<Option<Held>> {
        let path = self.0.display();
        std::fs::create_dir_all(&self.0)
            .map_err(|e| Error::failed(format!("cannot make the directory {path}: {e}; pass another --out")))?;
        Ok(match files::lock(&self.0) {
            files::Lock::Taken => None,
            files::Lock::Held(lock) => Some(Held { folder: self.clone(), _lock: lock }),
        })
    }
}

/// A run directory that no other run writes to, until this is dropped or the process ends, however it ends.
pub struct Held {
    folder: Folder,
    _lock: Option<std::fs::File>,
}

impl std::ops::Deref for Held {
    type Target = Folder;
    fn deref(&self) -> &Folder {
        &self.folder
    }
}

impl Held {
    /// Clears away what a process that was killed had not finished, sees that there is room, and writes `config.json`. A run that is
    /// there and is not the one that goes on is put aside until this one takes its place.
    ///
    /// # Errors
    /// A disk that is full or cannot be written.
    pub fn begin(&self, run: &Run, network: &Network, goes_on: bool) -> Result<Option<Aside>> {
        files::remove_partial(&self.0, &FILES);
        Aside::recover(&self.0, &FILES);
        let has_run = self.model().exists() || self.checkpoint().exists();
        let (wanted, free) = (self.room_wanted(run, network, goes_on), host::free_disk(&self.0));
        if let Some(free) = free.filter(|&free| free < wanted) {
            let path = self.0.display();
            return Err(Error::failed(format!(
                "{path}: a run of this model writes up to {wanted} bytes, and {free} are free; make room, or pass another --out"
            )));
        }
        let cannot = |e| Error::failed(format!("{}: the run in it cannot be put aside: {e}", self.0.display()));
        let aside = match goes_on {
            true => Aside::left(&self.0, &FILES).map(Aside::staying),
            // What is there had not taken its place yet, and is not what other commands took.
            false if has_run && self.before().is_some() => {
                FILES.iter().for_each(|file| _ = std::fs::remove_file(self.0.join(file)));
                Aside::left(&self.0, &FILES)
            }
            false if has_run => {
                Aside::clear(&self.0);
                Some(Aside::of(&self.0, &FILES).map_err(cannot)?)
            }
            false => Aside::left(&self.0, &FILES),
        };
        let _ = std::fs::remove_file(self.failed()); // of what is tried again
        if goes_on {
            let _ = std::fs::remove_file(self.picture("report.html")); // of where it stood
        }
        let json = serde_json::to_string_pretty(run).expect("a configuration is JSON");
        write_atomically(&self.config(), |out| writeln!(out, "{json}"))?;
        Ok(aside)
    }

    /// What the files will take beside those that are there: the new ones are written before the old ones go.
    fn room_wanted(&self, run: &Run, network: &Network, goes_on: bool) -> u64 {
        let bytes = if run.training.precision == Numbers::F64 { 8 } else { 4 };
        let parameters: usize = network.parameters.iter().map(|p| p.shape.iter().product::<usize>()).sum();
        let model = (parameters * bytes) as u64 + HEADERS;
        let there = |path: PathBuf| path.metadata().map_or(0, |file| file.len());
        let t = &run.training;
        let per_epoch = schedule::steps_per_epoch(run.data.rows, t.batch);
        let lines = t.steps as u64 / u64::from(t.log_every.max(1)) + 2 * (t.steps as usize / per_epoch.max(1)) as u64;
        // Model and checkpoint, of three times its size; and a second checkpoint while one is replaced.
        let all = 7 * model + if lines > LINES { 0 } else { LINE * lines };
        if goes_on {
            all.saturating_sub(there(self.model()) + there(self.checkpoint()) + there(self.metrics()))
        } else {
            all
        }
    }
}

/// Bytes of a line of metrics.
const LINE: u64 = 200;
/// More are of a training without end, which somebody stops some day.
const LINES: u64 = 1 << 16;
/// Bytes for what is neither tensors nor metrics: headers, pictures.
const HEADERS: u64 = 64 << 10;

fn width(numbers: Numbers) -> Width {
    if numbers == Numbers::F64 { Width::F64 } else { Width::F32 }
}

/// What stands under the metadata key `config`. One key, for the library writes several in no fixed order, and the same
/// run shall give the same bytes.
#[derive(Serialize, Deserialize)]
struct Header {
    #[serde(flatten)]
    run: Run,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    position: Option<Position>,
}

/// The parameters on the device, by name, under the configuration.
fn parameters(run: &Run, position: Option<&Position>, network: &Network, b: &mut dyn Backend) -> Result<Tensors> {
    let mut tensors = Tensors::default();
    let header = Header { run: run.clone(), position: position.cloned() };
    tensors.metadata.insert("config".into(), serde_json::to_string(&header).expect("a configuration is JSON"));
    for p in &network.parameters {
        insert_finite(&mut tensors, p.name.clone(), &p.shape, b.read(p.view)?)?;
    }
    Ok(tensors)
}

/// What is not finite never takes the place of what is.
fn insert_finite(tensors: &mut Tensors, name: String, shape: &[usize], values: Vec<f64>) -> Result<()> {
    if let Some(bad) = values.iter().find(|x| !x.is_finite()) {
        return Err(Error::failed(format!(
            "{name} holds {bad}: not saved, what was saved before is kept; try a smaller --lr, or --clip-norm 1"
        )));
    }
    tensors.insert(name, shape.to_vec(), values);
    Ok(())
}

/// Writes `model.safetensors`.
///
/// # Errors
/// Those of the device and of the disk.
pub fn save_model(folder: &Folder, run: &Run, network: &Network, b: &mut dyn Backend) -> Result<()> {
    parameters(run, None, network, b)?.write(&folder.model(), width(run.training.precision))
}

/// Writes `checkpoint.safetensors`: parameters, the optimiser's moments, the position.
///
/// # Errors
/// Those of the device and of the disk.
pub fn save(folder: &Folder, run: &Run, position: &Position, network: &Network, b: &mut dyn Backend) -> Result<()> {
    let mut tensors = parameters(run, Some(position), network, b)?;
    for p in &network.parameters {
        for which in 0..2 {
            let moment = b.read(network.layout().moment(p.view, which))?;
            insert_finite(&mut tensors, format!("moment{}.{}", which + 1, p.name), &p.shape, moment)?;
        }
    }
    tensors.write(&folder.checkpoint(), width(run.training.precision))
}

/// A checkpoint or a model as it was read, before it goes to a device.
#[derive(Debug)]
pub struct Saved {
    pub path: PathBuf,
    pub run: Run,
    /// Of a checkpoint: where the training stood.
    position: Option<Position>,
    tensors: Tensors,
}

impl Saved {
    /// What `model.safetensors` would hold, without the file.
    ///
    /// # Errors
    /// Those of the device; a parameter that is not finite.
    pub fn of_network(run: &Run, network: &Network, b: &mut dyn Backend) -> Result<Saved> {
        let tensors = parameters(run, None, network, b)?;
        Ok(Saved { path: "the model in memory".into(), run: run.clone(), position: None, tensors })
    }

    /// Writes it, as training writes `model.safetensors`.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn write(&self, path: &Path) -> Result<()> {
        self.tensors.clone().write(path, width(self.run.training.precision))
    }

    /// Reads a run directory (its model) or a file of tensors.
    ///
    /// # Errors
    /// What is missing or wrong with it.
    pub fn read(path: &Path) -> Result<Saved> {
        let path = if path.is_dir() { Folder(path.into()).standing().model() } else { path.to_path_buf() };
        if let Err(e) = path.metadata() {
            let what = path.display();
            if e.kind() == std::io::ErrorKind::PermissionDenied {
                return Err(Error::failed(format!("{what} cannot be read: {e}")));
            }
            let folder = Folder(path.parent().unwrap_or(Path::new("")).into());
            let before = Aside::place(&folder.0);
            return Err(Error::failed(match folder.text("failed.txt") {
                Some(why) => format!("{what}: there is none, for the training ended without one: {}", why.trim_end()),
                None if before.exists() => {
                    format!("{what}: there is none yet; the run that it replaces is in {}", before.display())
                }
                None if folder.0.join(SWEEP).exists() => {
                    let sweep = folder.0.display();
                    format!("{sweep}: is a sweep; give one of its runs: vae-gpu compare {sweep} --each lists them")
                }
                None => format!("{what}: there is no such file; give a run directory or its model"),
            }));
        }
        Saved::of(Tensors::read(&path)?, path)
    }

    /// The same of the bytes of a file, which `path` only names.
    ///
    /// # Errors
    /// As for [`Saved::read`].
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Saved> {
        Saved::of(Tensors::parse(path, bytes)?, path.into())
    }

    fn of(tensors: Tensors, path: PathBuf) -> Result<Saved> {
        let what = path.display();
        let config = tensors.metadata.get("config").ok_or_else(|| {
            Error::failed(format!("{what}: no metadata key config; give a model that this program wrote"))
        })?;
        let Header { run, position } = serde_json::from_str(config).map_err(|e| {
            let is_mixture =
                serde_json::from_str(config).is_ok_and(|config: serde_json::Value| config["components"].is_u64());
            Error::failed(match is_mixture {
                true => format!("{what}: holds a mixture of Gaussians; give a model that vae-gpu train wrote"),
                false => format!("{what}: its configuration cannot be understood: {e}"),
            })
        })?;
        run.check().map_err(|e| Error::failed(format!("{what}: {e}")))?;
        let saved = Saved { path: path.clone(), run, position, tensors };
        saved.check()?;
        Ok(saved)
    }

    /// Every parameter is there, with its shape and finite numbers.
    fn check(&self) -> Result<()> {
        for p in &Network::inference(&self.run.model, 1, crate::config::Binarize::None).parameters {
            let values = self.tensors.get(&self.path, &p.name, &p.shape)?;
            if let Some(i) = values.iter().position(|x| !x.is_finite()) {
                let (what, value) = (self.path.display(), values[i]);
                return Err(Error::failed(format!("{what}: {} holds {value} at position {i}; it is damaged", p.name)));
            }
        }
        Ok(())
    }

    /// What a run says of it that begins with its parameters.
    pub fn origin(&self, named: &Path) -> Origin {
        let mut sum = crc32fast::Hasher::new();
        for p in &Network::inference(&self.run.model, 1, crate::config::Binarize::None).parameters {
            sum.update(p.name.as_bytes());
            self.tensors
                .tensors
                .get(&p.name)
                .iter()
                .for_each(|tensor| sum.update(bytemuck::cast_slice(&tensor.values)));
        }
        Origin { model: named.display().to_string(), checksum: sum.finalize() }
    }

    /// Of a checkpoint: where the training stood.
    pub fn position(&self) -> Option<&Position> {
        self.position.as_ref()
    }

    /// Of a checkpoint: whether nothing of the training is left to do.
    pub fn is_complete(&self) -> bool {
        let Some(position) = &self.position else { return false };
        let (t, data) = (&self.run.training, &self.run.data);
        let validates = data.valid.is_some() || data.valid_fraction > 0.0;
        let out_of_patience = t.patience > 0 && position.stale_epochs >= t.patience;
        out_of_patience || position.step == t.steps && (!validates || position.validated == t.steps)
    }

    /// What makes a run that goes on here end in other last digits than one that went on where it began, as sentences.
    pub fn differences(&self, device: &Device) -> Vec<String> {
        let Some(position) = &self.position else { return vec![] };
        let began = |what: &str, then: &str, now: &str| {
            let note = format!(
                "this run went so far {what} {then}; from here on {now}: its numbers differ in the last digits"
            );
            (then != now).then_some(note)
        };
        let program = env!("CARGO_PKG_VERSION");
        let library = match (&position.chosen, &device.library) {
            (Some(chosen), Some(now)) => began("with algorithms of", &chosen.library, now),
            _ => None,
        };
        [began("on", &position.device, &device.name), began("with version", &position.program, program), library]
            .into_iter()
            .flatten()
            .collect()
    }

    /// Writes the parameters to the device.
    ///
    /// # Errors
    /// Those of the device.
    pub fn load(&self, network: &Network, b: &mut dyn Backend) -> Result<()> {
        for p in &network.parameters {
            b.write(p.view, self.tensors.get(&self.path, &p.name, &p.shape)?)?;
        }
        Ok(())
    }

    /// A device with the parameters, laid out as the network, and the data on it.
    ///
    /// # Errors
    /// Those of the device.
    pub fn place(&self, network: &Network, data: &Arc<Dataset>, device: &Device) -> Result<Box<dyn Backend>> {
        let mut backend = device.open(network.layout(), network.tape.batch)?;
        self.load(network, &mut *backend)?;
        backend.load(data)?;
        Ok(backend)
    }

    /// Writes the parameters and the optimiser's moments to the device; where the training stood.
    ///
    /// # Errors
    /// A file that is no checkpoint, and those of the device.
    pub fn resume(&self, network: &Network, b: &mut dyn Backend) -> Result<Position> {
        let what = self.path.display();
        let position = self
            .position
            .clone()
            .ok_or_else(|| Error::failed(format!("{what}: no position in it; it is a model, not a checkpoint")))?;
        if position.step > self.run.training.steps || !position.sums_are_finite() {
            return Err(Error::failed(format!("{what}: its position cannot be; it is damaged")));
        }
        self.load(network, b)?;
        for p in &network.parameters {
            for which in 0..2 {
                let name = format!("moment{}.{}", which + 1, p.name);
                let values = self.tensors.get(&self.path, &name, &p.shape)?;
                if !values.iter().all(|x| x.is_finite()) {
                    return Err(Error::failed(format!("{what}: {name} is not finite; it is damaged")));
                }
                b.write(network.layout().moment(p.view, which), values)?;
            }
        }
        Ok(position)
    }
}
