//! `vae-gpu encode`
use super::Common;
use super::condition::DataFor;
use super::output::{Kept, Output, Table, wrote};
use crate::Result;
use crate::checkpoint::Saved;
use crate::config::Binarize;
use crate::evaluate::{check_binarized, check_data};
use crate::infer::Inference;
use crate::latents;
use clap::Args;
use std::path::PathBuf;

/// Writes the latents of examples: the mean of q(z|x), as a table of (N, Z)
#[derive(Args)]
#[command(
    mut_arg("to", |to| to.help("An .npy, or a .csv; - is a csv on stdout")),
    after_help = "Example:\n  vae-gpu encode runs/digits --data t10k-images-idx3-ubyte.gz --to latents.npy"
)]
pub(crate) struct EncodeArgs {
    /// A run directory, or a model.safetensors
    model: PathBuf,
    #[command(flatten)]
    data: DataFor,
    /// Writes [mu | logvar], (N, 2Z)
    #[arg(long)]
    logvar: bool,
    /// none, threshold or dynamic; as in training if not given
    #[arg(long, value_enum, hide_possible_values = true)]
    binarize: Option<Binarize>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    kept: Kept,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn run(args: &EncodeArgs) -> Result<()> {
    let (path, table) = args.output.table(&args.common)?;
    let saved = Saved::read(&args.model)?;
    let data = args.data.load(&saved.run, &args.common)?;
    check_data(&saved, &data, "--data")?;
    let binarize = saved.run.binarize(args.binarize)?;
    let asked = args.binarize.unwrap_or(Binarize::None);
    check_binarized(asked, &saved.run.model, &data, "leave out --binarize, or the example")?;
    let latent = saved.run.model.latent;
    let mut titles = names("mu", latent);
    if args.logvar {
        titles.extend(names("logvar", latent));
    }
    let front = args.kept.front((&args.data, &saved.run), table == Table::Csv, (data.rows(), 1), &titles)?;
    let device = args.common.device_at_hand()?;
    let head = Inference::open(&saved, binarize, &device)?.encode(&data, args.common.seed)?;
    let values = if args.logvar { head } else { latents::means(&head, latent) };
    table.write(path, &values, &titles, front)?;
    wrote(&args.common, path, Some(data.rows()))
}

/// What the columns of a table of latents are called.
pub(super) fn names(what: &str, latent: usize) -> Vec<String> {
    (0..latent).map(|j| format!("{what}{j}")).collect()
}
