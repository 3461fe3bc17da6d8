//! `vae-gpu forecast`
use super::condition::{self, DataFor};
use super::decode::draw_rows;
use super::output::{Kept, Output, Target, front_of_points, titles_of_examples, wrote};
use super::sample::total;
use super::{Common, first};
use crate::checkpoint::Saved;
use crate::config::{Condition, Likelihood};
use crate::data::to_csv::Front;
use crate::error::{Error, Result, a_part, at_least_one};
use crate::infer::{Inference, Totals};
use crate::quantiles;
use crate::report::rows_of_predictions;
use clap::Args;
use std::path::PathBuf;

/// Draws futures of examples, p(future | past): z from the prior, then the mean of p(future | z, past)
#[derive(Args)]
#[command(after_help = "Example:\n  \
    vae-gpu train --data moving --past 0..784 --future 784..1568 --out runs/moving\n  \
    vae-gpu forecast runs/moving --to futures.png\n\n\
    The future need not be there: --data may have the past alone, or gaps in its place.\n\n\
    A picture has a row for each example: its past where that is of the same size, its true future if it is known, and futures as the \
    model draws them. Each is a mean for one z: intervals for what will be seen are of --draw, or --quantiles. An npy holds \
    the drawn futures alone, (N · draws, D): those of an example stand together; or (N, D · quantiles). A csv of several draws says \
    which example each is of, and its number, both counted from 0.")]
pub(crate) struct ForecastArgs {
    /// A run directory, or a model.safetensors, that was trained with --past and --future, or a --condition of columns
    model: PathBuf,
    #[command(flatten)]
    data: DataFor,
    /// The first examples: 8 in a picture and all in an npy, if not given
    #[arg(long, value_name = "N")]
    count: Option<usize>,
    /// Futures of each example: 6, or 200 for --quantiles
    #[arg(long, value_name = "M")]
    draws: Option<usize>,
    /// Draws from p(future | z, past), in place of its mean
    #[arg(long)]
    draw: bool,
    /// In place of draws what they are like, as 0.05,0.5,0.95: a row for each example, of each column of the future these quantiles of
    /// draws from p(future | past), which is what --draw gives
    #[arg(long, value_name = "Q,Q", value_delimiter = ',')]
    quantiles: Vec<f64>,
    /// Of shares (multinomial, --size-factor total), what the counts of a future add up to, to 16777216: 1 if not given, and their
    /// means are shares
    #[arg(long, value_name = "N")]
    total: Option<u64>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    kept: Kept,
    #[command(flatten)]
    common: Common,
}

/// Futures of each example where nobody says.
const DRAWS: usize = 6;
const DRAWS_FOR_QUANTILES: usize = 200;

pub(crate) fn run(args: &ForecastArgs) -> Result<()> {
    at_least_one("count", args.count.unwrap_or(1), "--count 8")?;
    let draws = args.draws.unwrap_or(if args.quantiles.is_empty() { DRAWS } else { DRAWS_FOR_QUANTILES });
    at_least_one("draws", draws, "--draws 6")?;
    args.quantiles.iter().try_for_each(|&q| a_part("quantiles", q, "--quantiles 0.05,0.5,0.95"))?;
    let (path, target) = args.output.picture_or_table(&args.common)?;
    if let (Target::Png, [first, ..]) = (target, args.quantiles.as_slice()) {
        return Err(Error::request(format!("quantiles {first}: are numbers; pass --to FILE.csv or FILE.npy")));
    }
    let saved = Saved::read(&args.model)?;
    if let (Some(of), [first, ..]) = (saved.run.words().first(), args.quantiles.as_slice()) {
        let name = &of.name;
        return Err(Error::request(format!(
            "quantiles {first}: the future has {name} in it, a column of words, which have none; pass --draw"
        )));
    }
    let total = total(args.total, args.draw || !args.quantiles.is_empty(), &saved.run)?;
    if !matches!(saved.run.data.condition, Some(Condition::Columns { .. })) {
        let path = args.model.display();
        return Err(Error::request(format!(
            "{path}: predicts nothing from columns; train it with --past and --future"
        )));
    }
    let data = args.data.load_told(&saved.run, &args.common)?;
    let count = args.count.unwrap_or(if target == Target::Png { 8 } else { usize::MAX });
    let data = first(data, count);
    let (times, titles) = match args.quantiles.is_empty() {
        true => (draws, titles_of_examples(&saved.run)),
        false => (1, quantiles::titles(&saved.run.names(), &args.quantiles)),
    };
    let front = args.kept.front_of(
        args.data.file_and_part(&saved.run),
        &condition::columns_or_told(&saved.run),
        target.is_csv(),
        (data.rows(), times),
        &titles,
    )?;

    // Which example a draw is of, and the number of the draw.
    let points = (0..data.rows() * draws).map(|i| vec![(i / draws) as f64, (i % draws) as f64]);
    let numbers = (draws > 1 && args.quantiles.is_empty()).then_some(["example", "draw"].map(String::from));
    let numbers = numbers.and_then(|titles| front_of_points(target, &saved.run, &titles, points));
    let front = Front::joined(front, numbers);

    let device = args.common.device_at_hand()?;
    let mut inference = Inference::open(&saved, saved.run.data.binarize, &device)?;
    inference.set_totals(Totals::Of(total));
    let (future, past) = (saved.run.model.input, saved.run.model.condition);
    let (z, given) = inference.asked(&data, draws, args.common.seed);
    let drawn = match args.draw || !args.quantiles.is_empty() {
        true => inference.draw(&z, &given, args.common.seed)?,
        false => inference.decode(&z, &given)?,
    };
    match target {
        Target::Table(table) if !args.quantiles.is_empty() => {
            let kinds = saved.run.model.likelihood_of_each();
            let whole = |j: usize| kinds[j] != Likelihood::Gaussian;
            table.write(path, &quantiles::of(&drawn, (draws, future), &args.quantiles, whole), &titles, front)?
        }
        Target::Table(table) => table.write_examples(path, &drawn, &saved.run, front)?,
        Target::Png => {
            let (truth, told) = (inference.examples(&data), inference.told(&data));
            let (tiles, across) = rows_of_predictions((&told, past), (&truth, future), &drawn);
            draw_rows(path, tiles, across, &saved.run)?;
        }
    }
    wrote(&args.common, path, target.rows(data.rows() * times))
}
