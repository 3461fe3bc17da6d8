//! `vae-gpu encode`
use super::{Common, data_for};
use crate::Result;
use crate::checkpoint::Saved;
use crate::config::Binarize;
use crate::data::npy;
use crate::evaluate::check_data;
use crate::files::write_atomically;
use crate::infer::Inference;
use clap::Args;
use std::path::PathBuf;

/// Writes the latents of examples: the mean of q(z|x), as an npy of (N, Z)
#[derive(Args)]
#[command(after_help = "Example:\n  vae-gpu encode runs/digits --data t10k-images-idx3-ubyte.gz --to latents.npy")]
pub(crate) struct EncodeArgs {
    /// A run directory, or a model.safetensors
    model: PathBuf,
    /// What to encode; for a model of built-in data, their test part if not given
    #[arg(long, value_name = "FILE")]
    data: Option<String>,
    /// Writes [mu | logvar], (N, 2Z)
    #[arg(long)]
    logvar: bool,
    /// none, threshold or dynamic; as in training if not given
    #[arg(long, value_enum, hide_possible_values = true)]
    binarize: Option<Binarize>,
    /// An .npy
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn run(args: &EncodeArgs) -> Result<()> {
    let saved = Saved::read(&args.model)?;
    let data = data_for(&saved.run, &args.data)?;
    check_data(&saved, &data, "--data")?;
    let device = args.common.device()?;
    let head = Inference::open(&saved, args.binarize.unwrap_or(saved.run.data.binarize), &device)?
        .encode(&data, args.common.seed)?;
    let latent = saved.run.model.latent;
    let (cols, out) = match args.logvar {
        true => (2 * latent, head),
        false => (latent, head.chunks(2 * latent).flat_map(|row| &row[..latent]).copied().collect()),
    };
    write_atomically(&args.to, |mut file| npy::write(&mut file, data.rows(), cols, &out))
}
