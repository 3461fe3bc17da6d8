//! `vae-gpu reconstruct`
use super::decode::{Target, on_one_scale};
use super::{Common, data_for};
use crate::Result;
use crate::checkpoint::Saved;
use crate::data::npy;
use crate::evaluate::check_data;
use crate::files::write_atomically;
use crate::infer::Inference;
use crate::plot::grid;
use clap::Args;
use std::path::PathBuf;
use std::sync::Arc;

/// Encodes examples and decodes their means: originals over reconstructions, or all reconstructions as npy
#[derive(Args)]
#[command(after_help = "Example:\n  vae-gpu reconstruct runs/digits --to reconstructions.png")]
pub(crate) struct ReconstructArgs {
    /// A run directory, or a model.safetensors
    model: PathBuf,
    /// What to reconstruct; for a model of built-in data, their test part if not given
    #[arg(long, value_name = "FILE")]
    data: Option<String>,
    /// How many examples, the first ones; a picture shows 32 if not given, an npy holds all
    #[arg(long, value_name = "N")]
    count: Option<usize>,
    /// A .png or an .npy
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn run(args: &ReconstructArgs) -> Result<()> {
    let target = Target::of(&args.to)?;
    let saved = Saved::read(&args.model)?;
    let data = data_for(&saved.run, &args.data)?;
    check_data(&saved, &data, "--data")?;
    let count = args.count.unwrap_or(if target == Target::Png { 32 } else { usize::MAX }).min(data.rows());
    let data = Arc::new(data.first(count));
    let device = args.common.device()?;
    let mut out = Inference::open(&saved, saved.run.data.binarize, &device)?.reconstruct(&data, args.common.seed)?;
    match target {
        Target::Npy => write_atomically(&args.to, |mut file| npy::write(&mut file, count, data.cols, &out)),
        Target::Png => {
            let mut originals = data.to_rows();
            on_one_scale(&saved.run, [&mut originals, &mut out]);
            let shape = grid::shape_for(data.cols, saved.run.data.shape);
            let (tiles, columns) = grid::interleave(&originals, &out, data.cols, grid::columns_for(2 * count, shape));
            grid::write_png(&args.to, &tiles, shape, columns)
        }
    }
}
