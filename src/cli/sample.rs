//! `vae-gpu sample`
use super::decode::{Target, write};
use super::{Common, condition};
use crate::checkpoint::Saved;
use crate::config::Binarize;
use crate::error::{Result, at_least_one};
use crate::infer::Inference;
use clap::Args;
use std::path::PathBuf;

/// Draws from the prior: z ~ N(0, I), then the mean of p(x|z)
#[derive(Args)]
#[command(after_help = "Examples:\n  vae-gpu sample runs/digits --to samples.png\n  \
    vae-gpu sample runs/digits --condition 7 --to sevens.png        where the model was trained with --condition labels\n  \
    vae-gpu sample runs/digits --count 10000 --seed 1 --to samples.npy")]
pub(crate) struct SampleArgs {
    /// A run directory, or a model.safetensors
    model: PathBuf,
    /// How many
    #[arg(long, value_name = "N", default_value_t = 64)]
    count: usize,
    /// Of a conditional model: classes, as 7 or 0,1,2, that take turns, all if not given; or a FILE with a row for each draw
    #[arg(long, value_name = "WHAT")]
    condition: Option<String>,
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
    let given = condition::rows(&saved.run, args.condition.as_deref(), args.count)?;
    let device = args.common.device()?;
    let samples = Inference::open(&saved, Binarize::None, &device)?.sample(args.count, &given, args.common.seed)?;
    write(&args.to, target, samples, &saved.run)
}
