//! `vae-gpu manifold`
use super::decode::draw_rows;
use super::interpolate::pair;
use super::output::{Output, Target, front_of_points, wrote};
use super::{Common, told};
use crate::checkpoint::Saved;
use crate::config::Binarize;
use crate::infer::Inference;
use crate::latents;
use crate::{Error, Result};
use clap::Args;
use std::path::PathBuf;

/// The plane of two latents: z on a grid of equal masses of the prior, then the mean of p(x|z)
#[derive(Args)]
#[command(
    after_help = "Examples:\n  vae-gpu train --latent 2 --out runs/plane && vae-gpu manifold runs/plane --to plane.png\n  \
    vae-gpu manifold runs/digits --dims 3,11 --side 15 --to plane.png\n\n\
    The unit square through the inverse of the normal distribution: Kingma & Welling 2014, figure 4. The first latent \
    rises to the right, the second upwards. An npy holds the pictures row by row, (side², D)."
)]
pub(crate) struct ManifoldArgs {
    /// A run directory, or a model.safetensors
    model: PathBuf,
    /// Pictures along each side
    #[arg(long, value_name = "N", default_value_t = 20)]
    side: usize,
    /// Which two latents, counted from 0; the others are 0. Needed where there are not two
    #[arg(long, value_name = "I,J", value_parser = pair)]
    dims: Option<(usize, usize)>,
    /// Of a conditional model: a class, the first if not given; what columns hold, as age=50,ward=surgery; or a FILE, of which the first
    /// row counts
    #[arg(long, value_name = "WHAT")]
    condition: Option<String>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn run(args: &ManifoldArgs) -> Result<()> {
    if !(1..=1000).contains(&args.side) {
        return Err(Error::request(format!("side {}: must be from 1 to 1000; pass --side 20", args.side)));
    }
    let (path, target) = args.output.picture_or_table(&args.common)?;
    let saved = Saved::read(&args.model)?;
    let latent = saved.run.model.latent;
    let dims = match args.dims {
        _ if latent == 1 => {
            return Err(Error::failed("the model has one latent, and a plane needs two; use vae-gpu traverse"));
        }
        None if latent != 2 => {
            return Err(Error::request(format!(
                "dims: not given, and the model has {latent} latents; pass --dims 0,1 for a plane of two of them"
            )));
        }
        None => (0, 1),
        Some((i, j)) if i == j || i.max(j) >= latent => {
            return Err(Error::request(format!(
                "dims {i},{j}: must be two different latents from 0 to {}; pass --dims 0,1",
                latent - 1
            )));
        }
        Some(dims) => dims,
    };
    let told = told::of(&saved.run, args.condition.as_deref())?;
    if let Some(list) = args.condition.as_ref().filter(|_| told.takes_turns()) {
        return Err(Error::request(format!("condition {list}: a plane is of one; pass a single class")));
    }
    let given = told.first(1)?.repeat(args.side * args.side);
    let device = args.common.device_at_hand()?;
    let z = latents::manifold(args.side, dims, latent);
    let decoded = Inference::open(&saved, Binarize::None, &device)?.decode(&z, &given)?;
    let (i, j) = dims;
    let points = z.chunks(latent).map(|z| vec![f64::from(z[i]), f64::from(z[j])]);
    let front = front_of_points(target, &saved.run, &[i, j].map(|dim| format!("z{dim}")), points);
    let front = told::behind(front, target, &saved.run, (&told.first_in_file(1), args.side * args.side));
    match target {
        Target::Table(table) => table.write_examples(path, &decoded, &saved.run, front)?,
        Target::Png => draw_rows(path, decoded, args.side, &saved.run)?,
    }
    wrote(&args.common, path, target.rows(args.side * args.side))
}
