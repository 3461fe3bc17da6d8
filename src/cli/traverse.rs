//! `vae-gpu traverse`
use super::condition::DataFor;
use super::decode::draw_rows;
use super::output::{Output, Target, front_of_points};
use super::told::{self, Told};
use super::{Common, print};
use crate::checkpoint::Saved;
use crate::config::{Condition, Run};
use crate::error::{Error, Result, at_least_one};
use crate::evaluate::check_data;
use crate::infer::Inference;
use crate::latents;
use clap::Args;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Moves one latent at a time through the prior, then the mean of p(x|z): what each latent means
#[derive(Args)]
#[command(
    allow_negative_numbers = true,
    mut_arg("labels", |what| what.value_name("WHAT").help("Of a conditional model: a class; what columns hold, as \
        age=50,ward=surgery; or a FILE, of the classes of --data, or of columns, of which the first row counts")),
    after_help = "Examples:\n  vae-gpu traverse runs/digits --to latents.png\n  \
    vae-gpu traverse runs/digits --around 3 --rows 10 --extent 2 --to latents.png\n\n\
    A conditional model is told --condition; else what the example is told, or of z = 0 the first one of the data.\n\n\
    A row for each latent, by its mean KL over --data, the largest first: the first rows mean most, and a latent without \
    KL means nothing. An npy holds (rows · steps, D); a csv says which latent each row moves, and where to. --json says which latents they are."
)]
pub(crate) struct TraverseArgs {
    /// A run directory, or a model.safetensors
    model: PathBuf,
    #[command(flatten)]
    data: DataFor,
    /// Around mu of this example of the data, counted from 0, in place of z = 0
    #[arg(long, value_name = "I")]
    around: Option<usize>,
    /// From −E to E
    #[arg(long, value_name = "E", default_value_t = 3.0)]
    extent: f64,
    /// Points from one end to the other
    #[arg(long, value_name = "N", default_value_t = 9)]
    steps: usize,
    /// The first rows only; all if not given
    #[arg(long, value_name = "N")]
    rows: Option<usize>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    common: Common,
}

impl TraverseArgs {
    fn check(&self) -> Result<()> {
        if self.steps < 2 {
            return Err(Error::request(format!("steps {}: must be at least 2, the ends; pass --steps 9", self.steps)));
        }
        at_least_one("rows", self.rows.unwrap_or(1), "--rows 10")?;
        match self.extent.is_finite() && self.extent > 0.0 {
            true => Ok(()),
            false => Err(Error::request(format!("extent {}: must be a positive number; pass --extent 3", self.extent))),
        }
    }

    /// What --condition says of all rows; none where it is a file of the classes of the data, which they are then read with.
    fn condition(&self, run: &Run) -> Result<(Option<Told>, DataFor)> {
        let of_data = matches!(run.data.condition, Some(Condition::Classes { .. }));
        let Some(what) = self.data.labels.as_ref().filter(|what| !(of_data && Path::new(what).is_file())) else {
            return Ok((None, self.data.clone()));
        };
        let told = told::of(run, Some(what))?;
        match told.takes_turns() {
            true => Err(Error::request(format!("condition {what}: all rows are of one; pass a single class"))),
            false => Ok((Some(told), DataFor { labels: None, ..self.data.clone() })),
        }
    }
}

pub(crate) fn run(args: &TraverseArgs) -> Result<()> {
    args.check()?;
    let (path, target) = args.output.picture_or_table(&args.common)?;
    let saved = Saved::read(&args.model)?;
    let (asked, of_data) = args.condition(&saved.run)?;
    let (data, told) = of_data.load_with_told(&saved.run, &args.common)?;
    check_data(&saved, &data, "--data")?;
    if let Some(i) = args.around.filter(|&i| i >= data.rows()) {
        let (name, rows) = (&data.name, data.rows());
        return Err(Error::request(format!(
            "around {i}: {name} has {rows} examples; pass a number from 0 to {}",
            rows - 1
        )));
    }

    let device = args.common.device_at_hand()?;
    let mut inference = Inference::open(&saved, saved.run.data.binarize, &device)?;
    let latent = inference.latent();
    let head = inference.encode(&data, args.common.seed)?;
    let kl = latents::kl_per_dim(&head, latent);
    let mut dims: Vec<usize> = (0..latent).collect();
    dims.sort_by(|&i, &j| kl[j].total_cmp(&kl[i])); // stable: equals stay in their order
    dims.truncate(args.rows.unwrap_or(latent));
    let around = match args.around {
        None => vec![0.0; latent],
        Some(i) => latents::means(&inference.encode(&Arc::new(data.pick(&[i])), args.common.seed)?, latent),
    };
    // Of a conditional model: the condition of the example that is gone around, or of the first.
    let (of, width) = (args.around.unwrap_or(0), saved.run.model.condition);
    let (given, told) = match &asked {
        Some(asked) => (asked.first(1)?, asked.first_in_file(1)),
        None => (inference.condition_of(&data.pick(&[of])), told[of * width..][..width].to_vec()),
    };
    let count = dims.len() * args.steps;
    let z = latents::traverse(&around, &dims, args.extent, args.steps);
    let decoded = inference.decode(&z, &given.repeat(count))?;
    // Which latent, and what it is.
    let points = z.chunks(latent).enumerate().map(|(i, z)| (dims[i / args.steps], z));
    let points = points.map(|(j, z)| vec![j as f64, f64::from(z[j])]);
    let front = front_of_points(target, &saved.run, &["latent", "z"].map(String::from), points);
    let front = told::behind(front, target, &saved.run, (&told, count));
    match target {
        Target::Table(table) => table.write_examples(path, &decoded, &saved.run, front)?,
        Target::Png => draw_rows(path, decoded, args.steps, &saved.run)?,
    }
    let kl: Vec<f64> = dims.iter().map(|&j| kl[j]).collect();
    if args.common.json {
        return print(serde_json::json!({ "dims": dims, "kl": kl }));
    }
    let rows = dims.iter().zip(&kl).map(|(j, kl)| format!("{j} ({kl:.2})")).collect::<Vec<_>>().join(" ");
    args.common.say(format!("latents from the first row, with their mean kl in nats: {rows}"));
    Ok(())
}
