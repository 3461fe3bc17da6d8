//! `vae-gpu interpolate`
use super::Common;
use super::condition::DataFor;
use super::decode::draw_rows;
use super::output::{Output, Target, front_of_points, wrote};
use crate::checkpoint::Saved;
use crate::evaluate::check_data;
use crate::infer::Inference;
use crate::latents::{self, Path};
use crate::{Error, Result};
use clap::Args;
use std::path::PathBuf;
use std::sync::Arc;

/// Goes from one example to another in latent space: z from mu(a) to mu(b), then the mean of p(x|z)
#[derive(Args)]
#[command(after_help = "Examples:\n  vae-gpu interpolate runs/digits --to between.png\n  \
    vae-gpu interpolate runs/digits --data digits --pair 3,7 --pair 0,12 --steps 11 --spherical --to between.png\n\n\
    A picture has a row for each pair: the first example, the way from its reconstruction to that of the second, the \
    second example. What a conditional model is told goes from that of the first to that of the second. An npy holds the ways alone, (pairs · steps, D); a csv says from where to where each row is, and which \
    part of the way.")]
pub(crate) struct InterpolateArgs {
    /// A run directory, or a model.safetensors
    model: PathBuf,
    #[command(flatten)]
    data: DataFor,
    /// From example I to example J, counted from 0; may be given more than once. 0,1 2,3 4,5 6,7 if not given
    #[arg(long, value_name = "I,J", value_parser = pair)]
    pair: Vec<(usize, usize)>,
    /// Points on a way, its ends included
    #[arg(long, value_name = "N", default_value_t = 9)]
    steps: usize,
    /// Along the great circle from mu to mu, in place of the straight line
    #[arg(long)]
    spherical: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    common: Common,
}

/// I,J
pub(super) fn pair(s: &str) -> std::result::Result<(usize, usize), String> {
    let number = |s: &str| s.trim().parse().ok();
    let both = s.split_once(',').and_then(|(i, j)| Some((number(i)?, number(j)?)));
    both.ok_or_else(|| "must be two numbers counted from 0, as 0,1".into())
}

pub(crate) fn run(args: &InterpolateArgs) -> Result<()> {
    if args.steps < 2 {
        return Err(Error::request(format!("steps {}: must be at least 2, the ends; pass --steps 9", args.steps)));
    }
    let (path, target) = args.output.picture_or_table(&args.common)?;
    let saved = Saved::read(&args.model)?;
    let data = args.data.load(&saved.run, &args.common)?;
    check_data(&saved, &data, "--data")?;
    let rows = data.rows();
    if rows < 2 && args.pair.is_empty() {
        return Err(Error::failed(format!(
            "{}: has one example; a way needs two: pass --pair 0,0 or more data",
            data.name
        )));
    }
    let pairs: Vec<(usize, usize)> = match args.pair.is_empty() {
        true => (0..rows.min(8) / 2).map(|i| (2 * i, 2 * i + 1)).collect(),
        false => args.pair.clone(),
    };
    if let Some(&(i, j)) = pairs.iter().find(|&&(i, j)| i >= rows || j >= rows) {
        return Err(Error::request(format!(
            "pair {i},{j}: {} has {rows} examples; pass numbers from 0 to {}",
            data.name,
            rows - 1
        )));
    }

    let ends: Vec<usize> = pairs.iter().flat_map(|&(i, j)| [i, j]).collect();
    let ends = Arc::new(data.pick(&ends));
    let device = args.common.device_at_hand()?;
    let mut inference = Inference::open(&saved, saved.run.data.binarize, &device)?;
    let latent = inference.latent();
    let mu = latents::means(&inference.encode(&ends, args.common.seed)?, latent);
    let line = if args.spherical { Path::Arc } else { Path::Line };
    let ways = mu.chunks(2 * latent).map(|ends| line.between(&ends[..latent], &ends[latent..], args.steps));
    let ways: Vec<f32> = ways.flatten().collect();
    // A condition goes the same way, in a straight line.
    let width = saved.run.model.condition;
    let given = inference.condition_of(&ends);
    let given =
        given.chunks((2 * width).max(1)).map(|ends| Path::Line.between(&ends[..width], &ends[width..], args.steps));
    let decoded = inference.decode(&ways, &given.flatten().collect::<Vec<_>>())?;
    let cols = saved.run.model.input;
    let of_pair = |&(i, j): &(usize, usize)| {
        (0..args.steps).map(move |s| vec![i as f64, j as f64, s as f64 / (args.steps - 1) as f64])
    };
    let front =
        front_of_points(target, &saved.run, &["from", "to", "part"].map(String::from), pairs.iter().flat_map(of_pair));
    match target {
        Target::Table(table) => table.write_examples(path, &decoded, &saved.run, front)?,
        Target::Png => {
            let originals = inference.examples(&ends);
            let ways = originals.chunks(2 * cols).zip(decoded.chunks(args.steps * cols));
            let tiles = ways.flat_map(|(ends, way)| {
                let (from, to) = ends.split_at(cols);
                [from, way, to].concat()
            });
            draw_rows(path, tiles.collect(), args.steps + 2, &saved.run)?;
        }
    }
    wrote(&args.common, path, target.rows(pairs.len() * args.steps))
}
