//! `vae-gpu sample`
use super::condition::DataFor;
use super::decode::{draw_rows, write};
use super::output::{Kept, Output, Target, titles_of_examples, wrote};
use super::{Common, first, told};
use crate::checkpoint::Saved;
use crate::config::{Run, SizeFactor};
use crate::data::Unknown;
use crate::error::{Error, Result, at_least_one};
use crate::evaluate::check_data;
use crate::infer::{Inference, Totals};
use crate::latents;
use clap::Args;
use std::path::PathBuf;

/// Draws from the prior, z ~ N(0, T² I), or around examples, z ~ N(mu(x), T² diag(exp(logvar(x)))); then the mean of p(x|z)
#[derive(Args)]
#[command(
    mut_arg("keep", |keep| keep.requires("near").help(
        "Columns of the FILE of --near that a csv has in front of its rows, as they stand there: positions, ranges and names, as id,date. \
        If not given a first column of names, where each has one variation"
    )),
    allow_negative_numbers = true,
    after_help = "Examples:\n  vae-gpu sample runs/digits --to samples.png\n  \
    vae-gpu sample runs/digits --condition 7 --to sevens.png         of a model trained with --condition labels\n  \
    vae-gpu sample runs/digits --count 10000 --seed 1 --draw --to samples.npy\n  \
    vae-gpu sample runs/digits --near digits --temperature 1.5 --to more.png    more like these\n\n\
    With --near, a picture has a row for each example: the example, then its variations. An npy holds the variations \
    alone, (N · M, D): those of an example stand together."
)]
pub(crate) struct SampleArgs {
    /// A run directory, or a model.safetensors
    model: PathBuf,
    /// How many: 64 draws, or one for each row of a FILE of --condition; with --near the first examples, 8 in a picture
    /// and all in an npy
    #[arg(long, value_name = "N")]
    count: Option<usize>,
    /// Draws around the examples in FILE, rather than from the prior
    #[arg(long, value_name = "FILE")]
    near: Option<String>,
    /// Variations of each example of --near
    #[arg(long, value_name = "M", default_value_t = 8, requires = "near")]
    per_example: usize,
    /// The standard deviation of z is T times as large; 0: its mean
    #[arg(long, value_name = "T", default_value_t = 1.0)]
    temperature: f64,
    /// Of a conditional model: classes, as 7 or 0,1,2, or as the column of --classes has them, in quotes where they have commas, that
    /// take turns, all if not given; what columns hold, as age=50,ward=surgery; or a FILE with a row for each draw, or one for all, of classes
    /// too. With --near, a FILE of those of its examples.
    /// A csv of draws has in front what each was told, by the names that it has in the data
    #[arg(long, value_name = "WHAT")]
    condition: Option<String>,
    /// Draws x ~ p(x|z), in place of its mean
    #[arg(long)]
    draw: bool,
    /// Of shares (multinomial, --size-factor total), what the counts of a row add up to, under a size factor in the mean, to 16777216: if not
    /// given with --near as those of its example, else 1, and their means are shares
    #[arg(long, value_name = "N")]
    total: Option<u64>,
    #[command(flatten)]
    kept: Kept,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    common: Common,
}

impl SampleArgs {
    fn check(&self) -> Result<()> {
        at_least_one("count", self.count.unwrap_or(1), "--count 64")?;
        at_least_one("per-example", self.per_example, "--per-example 8")?;
        let t = self.temperature;
        match t.is_finite() && t >= 0.0 {
            true => Ok(()),
            false => Err(Error::request(format!(
                "temperature {t}: must be a number that is not negative; pass --temperature 1"
            ))),
        }
    }

    /// The mean of p(x|z), or a draw.
    fn decode(&self, inference: &mut Inference, z: &[f32], condition: &[f32]) -> Result<Vec<f32>> {
        match self.draw {
            true => inference.draw(z, condition, self.common.seed),
            false => inference.decode(z, condition),
        }
    }
}

/// What the counts of a row shall add up to.
///
/// # Errors
/// More than f32 holds every count of, none, or a model that is not of shares. Or nothing is said where shares of 1 are no counts.
pub(crate) fn total(asked: Option<u64>, is_drawn: bool, run: &Run) -> Result<f64> {
    const MOST: u64 = 1 << 24;
    match asked {
        None if is_drawn && run.model.size_factor == SizeFactor::Total => Err(Error::request(
            "draw: what the counts of a row add up to is given to the model (size-factor total), and nothing gives it; pass --total 1000",
        )),
        None => Ok(1.0),
        Some(total) if !(1..=MOST).contains(&total) => {
            Err(Error::request(format!("total {total}: must be from 1 to {MOST}; pass --total 100")))
        }
        Some(total) if !run.model.is_of_shares() => Err(Error::request(format!(
            "total {total}: the model is not of shares of a total, as a multinomial or one of --size-factor total is; leave it out"
        ))),
        Some(total) => Ok(total as f64),
    }
}

pub(crate) fn run(args: &SampleArgs) -> Result<()> {
    args.check()?;
    let (path, target) = args.output.picture_or_table(&args.common)?;
    let saved = Saved::read(&args.model)?;
    let total = total(args.total, args.draw && args.near.is_none(), &saved.run)?;
    let Some(near) = &args.near else {
        let told = told::of(&saved.run, args.condition.as_deref())?;
        let count = args.count.or(told.count()).unwrap_or(64);
        let given = told.first(count)?;
        let device = args.common.device_at_hand()?;
        let mut inference = Inference::open(&saved, saved.run.data.binarize, &device)?;
        inference.set_totals(Totals::Of(total));
        let z = latents::prior(count, inference.latent(), args.temperature, args.common.seed);
        let front = told::behind(None, target, &saved.run, (&told.first_in_file(count), 1));
        write(path, target, args.decode(&mut inference, &z, &given)?, &saved.run, front)?;
        return wrote(&args.common, path, target.rows(count));
    };

    let (data, labels) = (Some(near.clone()), args.condition.clone());
    let near = DataFor { data, held_out: false, labels, unknown_words: Unknown::Refuse };
    let (data, told) = near.load_with_told(&saved.run, &args.common)?;
    check_data(&saved, &data, "--near")?;
    let count = args.count.unwrap_or(if target == Target::Png { 8 } else { usize::MAX });
    let data = first(data, count);
    let names = args.kept.front(
        (&near, &saved.run),
        target.is_csv(),
        (data.rows(), args.per_example),
        &titles_of_examples(&saved.run),
    )?;
    let device = args.common.device_at_hand()?;
    let mut inference = Inference::open(&saved, saved.run.data.binarize, &device)?;
    match args.total {
        None if saved.run.model.is_of_shares() => inference.set_totals_like(&data, args.per_example),
        _ => inference.set_totals(Totals::Of(total)),
    }
    let z = inference.near(&data, args.per_example, args.temperature, args.common.seed)?;
    let given = latents::repeated(&inference.condition_of(&data), saved.run.model.condition, args.per_example);
    let variations = args.decode(&mut inference, &z, &given)?;
    let cols = saved.run.model.input;
    match target {
        Target::Table(table) => {
            let told = &told[..data.rows() * saved.run.model.condition]; // of the first ones
            let front = told::behind(names, target, &saved.run, (told, args.per_example));
            table.write_examples(path, &variations, &saved.run, front)?
        }
        Target::Png => {
            let rows = inference.examples(&data);
            let of_example = rows.chunks(cols).zip(variations.chunks(cols * args.per_example));
            let tiles = of_example.flat_map(|(example, others)| [example, others].concat()).collect();
            draw_rows(path, tiles, 1 + args.per_example, &saved.run)?;
        }
    }
    wrote(&args.common, path, target.rows(data.rows() * args.per_example))
}
