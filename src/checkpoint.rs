//! What a run leaves on disk, and how it continues: `config.json`, `model.safetensors`, `checkpoint.safetensors`.
//! Every file is whole or absent.
use crate::config::{Numbers, Run};
use crate::device::Backend;
use crate::files::write_atomically;
use crate::model::Network;
use crate::tensors::{Tensors, Width};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Where a training stands, beside its tensors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// The index of the next step.
    pub step: u32,
    /// Elapsed in earlier sessions, seconds.
    pub seconds: f64,
    /// Sums since the last line of metrics: of loss, nll and kl over examples, and the examples.
    pub window: [f64; 4],
    pub best: Option<Best>,
    /// Epochs since then without a better one.
    pub stale_epochs: u32,
}

/// The best validation so far.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    pub elbo: f64,
    pub epoch: u32,
}

/// The files of a run directory.
#[derive(Clone, Debug)]
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn config(&self) -> PathBuf {
        self.0.join("config.json")
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

    /// Makes the directory, and `config.json` in it.
    ///
    /// # Errors
    /// A place that cannot be written.
    pub fn create(&self, run: &Run) -> Result<()> {
        let path = self.0.display();
        std::fs::create_dir_all(&self.0)
            .map_err(|e| Error::failed(format!("cannot make the directory {path}: {e}; pass another --out")))?;
        let json = serde_json::to_string_pretty(run).expect("a configuration is JSON");
        write_atomically(&self.config(), |out| writeln!(out, "{json}"))
    }
}

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
        tensors.insert(&p.name, p.shape.clone(), b.read(p.view)?);
    }
    Ok(tensors)
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
            tensors.insert(format!("moment{}.{}", which + 1, p.name), p.shape.clone(), moment);
        }
    }
    tensors.write(&folder.checkpoint(), width(run.training.precision))
}

/// A checkpoint or a model as it was read, before it goes to a device.
pub struct Saved {
    pub path: PathBuf,
    pub run: Run,
    /// Of a checkpoint: where the training stood.
    position: Option<Position>,
    tensors: Tensors,
}

impl Saved {
    /// Reads a run directory (its model) or a file of tensors.
    ///
    /// # Errors
    /// What is missing or wrong with it.
    pub fn read(path: &Path) -> Result<Saved> {
        let path = if path.is_dir() { Folder(path.into()).model() } else { path.to_path_buf() };
        let what = path.display();
        if !path.exists() {
            return Err(Error::failed(format!("{what}: there is no such file; give a run directory or its model")));
        }
        let tensors = Tensors::read(&path)?;
        let config = tensors.metadata.get("config").ok_or_else(|| {
            Error::failed(format!("{what}: no metadata key config; give a model that this program wrote"))
        })?;
        let Header { run, position } = serde_json::from_str(config)
            .map_err(|e| Error::failed(format!("{what}: its configuration cannot be understood: {e}")))?;
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
        self.load(network, b)?;
        for p in &network.parameters {
            for which in 0..2 {
                let name = format!("moment{}.{}", which + 1, p.name);
                let values = self.tensors.get(&self.path, &name, &p.shape)?;
                b.write(network.layout().moment(p.view, which), values)?;
            }
        }
        Ok(position)
    }
}
