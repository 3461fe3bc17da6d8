//! `vae-gpu decode`, and how decoded examples are written.
use super::Common;
use crate::checkpoint::Saved;
use crate::config::{Binarize, Likelihood, Run};
use crate::data::{Dataset, npy};
use crate::files::write_atomically;
use crate::infer::{self, Inference};
use crate::plot::grid;
use crate::{Error, Result};
use clap::Args;
use std::path::{Path, PathBuf};

/// Decodes latents: the mean of p(x|z) for every row of an npy of (N, Z)
#[derive(Args)]
#[command(after_help = "Example:\n  vae-gpu decode runs/digits --data latents.npy --to decoded.png")]
pub(crate) struct DecodeArgs {
    /// A run directory, or a model.safetensors
    model: PathBuf,
    /// Latents, (N, Z)
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// A .png or an .npy
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    #[command(flatten)]
    common: Common,
}

/// What kind of file is written, by its name.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Target {
    Png,
    Npy,
}

impl Target {
    pub(crate) fn of(path: &Path) -> Result<Target> {
        match path.extension().and_then(|e| e.to_str()) {
            Some("png") => Ok(Target::Png),
            Some("npy") => Ok(Target::Npy),
            _ => Err(Error::request(format!("to {}: must end in .png or .npy", path.display()))),
        }
    }
}

/// Pictures show a Gaussian's means on a scale from their smallest to their largest.
pub(crate) fn write(path: &Path, target: Target, mut examples: Vec<f32>, run: &Run) -> Result<()> {
    let cols = run.model.input;
    let rows = examples.len() / cols;
    match target {
        Target::Npy => write_atomically(path, |mut file| npy::write(&mut file, rows, cols, &examples)),
        Target::Png => {
            if run.model.likelihood == Likelihood::Gaussian {
                let (low, high) = grid::range(&examples);
                grid::normalise(&mut examples, low, high);
            }
            let shape = grid::shape_for(cols, run.data.shape);
            grid::write_png(path, &examples, shape, grid::columns_for(rows, shape))
        }
    }
}

pub(crate) fn run(args: &DecodeArgs) -> Result<()> {
    let target = Target::of(&args.to)?;
    let saved = Saved::read(&args.model)?;
    let z = Dataset::read(&args.data)?;
    let latent = saved.run.model.latent;
    if z.cols != latent {
        return Err(Error::failed(format!(
            "{}: a row has {} numbers; the model's latents have {latent}",
            z.name, z.cols
        )));
    }
    let device = args.common.device()?;
    let network = infer::network(&saved.run.model, Binarize::None);
    let mut backend = device.open(network.layout(), network.tape.batch)?;
    let decoded = Inference::new(&network, &mut *backend, &saved)?.decode(&z.to_rows())?;
    write(&args.to, target, decoded, &saved.run)
}
