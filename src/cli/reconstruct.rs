//! `vae-gpu reconstruct`
use super::condition::DataFor;
use super::output::{Kept, Output, Target, titles_of_examples, wrote};
use super::{Common, first};
use crate::checkpoint::Saved;
use crate::error::{Result, at_least_one};
use crate::evaluate::check_data;
use crate::infer::Inference;
use crate::plot::grid;
use crate::report::{on_one_scale, tile};
use clap::Args;
use std::path::PathBuf;

/// Encodes examples and decodes their means: originals over reconstructions, or all reconstructions as npy
#[derive(Args)]
#[command(after_help = "Example:\n  vae-gpu reconstruct runs/digits --to reconstructions.png")]
pub(crate) struct ReconstructArgs {
    /// A run directory, or a model.safetensors
    model: PathBuf,
    #[command(flatten)]
    data: DataFor,
    /// How many examples, the first ones; a picture shows 32 if not given, an npy holds all
    #[arg(long, value_name = "N")]
    count: Option<usize>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    kept: Kept,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn run(args: &ReconstructArgs) -> Result<()> {
    at_least_one("count", args.count.unwrap_or(1), "--count 32")?;
    let (path, target) = args.output.picture_or_table(&args.common)?;
    let saved = Saved::read(&args.model)?;
    let data = args.data.load(&saved.run, &args.common)?;
    check_data(&saved, &data, "--data")?;
    let count = args.count.unwrap_or(if target == Target::Png { 32 } else { usize::MAX }).min(data.rows());
    let data = first(data, count);
    let front = args.kept.front(
        (&args.data, &saved.run),
        target.is_csv(),
        (data.rows(), 1),
        &titles_of_examples(&saved.run),
    )?;
    let device = args.common.device_at_hand()?;
    let mut inference = Inference::open(&saved, saved.run.data.binarize, &device)?;
    let mut out = inference.reconstruct(&data, args.common.seed)?;
    match target {
        Target::Table(table) => table.write_examples(path, &out, &saved.run, front)?,
        Target::Png => {
            let cols = saved.run.model.input;
            let mut originals = inference.examples(&data);
            on_one_scale(&saved.run, [&mut originals, &mut out]);
            let shape = tile(&saved.run);
            let (tiles, columns) = grid::interleave(&originals, &out, cols, grid::columns_for(2 * count, shape));
            grid::write_png(path, &tiles, shape, columns)?;
        }
    }
    wrote(&args.common, path, target.rows(count))
}
