//! `vae-gpu forecast`
use super::condition::{self, DataFor};
use super::decode::draw_rows;
use super::output::{Kept, Output, Target, titles_of_examples, wrote};
use super::sample::total;
use super::{Common, first};
use crate::checkpoint::Saved;
use crate::config::Condition;
use crate::error::{Error, Result, at_least_one};
use crate::infer::Inference;
use crate::latents;
use clap::Args;
use std::path::PathBuf;

/// Draws futures of examples, p(future | past): z from the prior, then the mean of p(future | z, past)
#[derive(Args)]
#[command(after_help = "Example:\n  \
    vae-gpu train --data moving --past 0..784 --future 784..1568 --out runs/moving\n  \
    vae-gpu forecast runs/moving --to futures.png\n\n\
    The future need not be there: --data may have the past alone, or gaps in its place.\n\n\
    A picture has a row for each example: its past where that is of the same size, its true future if it is known, and futures as the \
    model draws them. Each is a mean for one z: intervals for what will be seen are of --draw. An npy holds \
    the drawn futures alone, (N · draws, D): those of an example stand together.")]
pub(crate) struct ForecastArgs {
    /// A run directory, or a model.safetensors, that was trained with --past and --future, or a --condition of columns
    model: PathBuf,
    #[command(flatten)]
    data: DataFor,
    /// The first examples: 8 in a picture and all in an npy, if not given
    #[arg(long, value_name = "N")]
    count: Option<usize>,
    /// Futures of each example
    #[arg(long, value_name = "M", default_value_t = 6)]
    draws: usize,
    /// Draws from p(future | z, past), in place of its mean
    #[arg(long)]
    draw: bool,
    /// Of a multinomial, what the counts of a future add up to, to 16777216: 1 if not given, and their means are shares
    #[arg(long, value_name = "N")]
    total: Option<u64>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    kept: Kept,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn run(args: &ForecastArgs) -> Result<()> {
    at_least_one("count", args.count.unwrap_or(1), "--count 8")?;
    at_least_one("draws", args.draws, "--draws 6")?;
    let (path, target) = args.output.picture_or_table(&args.common)?;
    let saved = Saved::read(&args.model)?;
    let total = total(args.total, &saved.run)?;
    if !matches!(saved.run.data.condition, Some(Condition::Columns { .. })) {
        let path = args.model.display();
        return Err(Error::request(format!(
            "{path}: predicts nothing from columns; train it with --past and --future"
        )));
    }
    let data = args.data.load_told(&saved.run, &args.common)?;
    let count = args.count.unwrap_or(if target == Target::Png { 8 } else { usize::MAX });
    let data = first(data, count);
    let front = args.kept.front_of(
        (args.data.file(), &condition::columns_or_told(&saved.run)),
        target.is_csv(),
        (data.rows(), args.draws),
        &titles_of_examples(&saved.run),
    )?;

    let device = args.common.device_at_hand()?;
    let mut inference = Inference::open(&saved, saved.run.data.binarize, &device)?.of_total(total);
    let (future, past) = (saved.run.model.input, saved.run.model.condition);
    let given = inference.condition_of(&data);
    let repeated = condition::repeated(&given, past, args.draws);
    let z = latents::prior(data.rows() * args.draws, inference.latent(), 1.0, args.common.seed);
    let drawn = match args.draw {
        true => inference.draw(&z, &repeated, args.common.seed)?,
        false => inference.decode(&z, &repeated)?,
    };
    match target {
        Target::Table(table) => table.write_examples(path, &drawn, &saved.run, front)?,
        Target::Png => {
            let (truth, told) = (inference.examples(&data), inference.told(&data));
            // A past of another size is no tile of this picture, and a truth that nobody knows none.
            let (shown, known) = (past == future, !truth.iter().any(|x| x.is_nan()));
            let rows = told.chunks(past).zip(truth.chunks(future)).zip(drawn.chunks(args.draws * future));
            let tiles = rows.flat_map(|((past, truth), drawn)| {
                [if shown { past } else { &[] }, if known { truth } else { &[] }, drawn].concat()
            });
            draw_rows(path, tiles.collect(), args.draws + shown as usize + known as usize, &saved.run)?;
        }
    }
    wrote(&args.common, path, target.rows(data.rows() * args.draws))
}
