//! `vae-gpu sample`
use super::Common;
use super::decode::{Target, write};
use crate::checkpoint::Saved;
use crate::config::Binarize;
use crate::error::{Result, at_least_one};
use crate::infer::Inference;
use clap::Args;
use std::path::PathBuf;

/// Draws from the prior: z ~ N(0, I), then the mean of p(x|z)
#[derive(Args)]
#[command(after_help = "Examples:\n  vae-gpu sample runs/digits --to samples.png\n  \
    vae-gpu sample runs/digits --count 10000 --seed 1 --to samples.npy")]
pub(crate) struct SampleArgs {
    /// A run directory, or a model.safetensors
    model: PathBuf,
    /// How many
    #[arg(long, value_name = "N", default_value_t = 64)]
    count: usize,
    /// A .png or an .npy
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn run(args: &SampleArgs) -> Result<()> {
    at_least_one("count", args.count, "--count 64")?;
    let target = Target::of(&args.to)?;
    let saved = Saved::read(&args.model)?;
    let device = args.common.device()?;
    let samples = Inference::open(&saved, Binarize::None, &device)?.sample(args.count, args.common.seed)?;
    write(&args.to, target, samples, &saved.run)
}
