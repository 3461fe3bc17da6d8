//! `vae-gpu impute`
use super::condition::DataFor;
use super::decode::draw_rows;
use super::output::{Output, Target, beside_lines, write_table};
use super::progress::Working;
use super::{Common, counted, print, thousands, with_error};
use crate::checkpoint::Saved;
use crate::config::{Binarize, Run};
use crate::data::text::{Keep, Text};
use crate::data::{Columns, Dataset, to_csv};
use crate::error::{Result, at_least_one};
use crate::estimate::Estimate;
use crate::evaluate::check_columns;
use crate::host;
use crate::impute::{Filled, Given, Imputer, Score, Settings, fills_in};
use crate::plot::grid;
use crate::report::tile;
use clap::Args;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Fills in what is missing, given what is observed: inpainting, super-resolution, gaps in tables, denoising
#[derive(Args)]
#[command(
    allow_negative_numbers = true,
    mut_arg("to", |to| to.required(false).required_unless_present("score")),
    after_help = "Examples:\n  \
    vae-gpu impute runs/table --data gaps.csv --to filled.npy          empty cells, NA, NaN, <NA>, #N/A, ?, . and - are missing\n  \
    vae-gpu impute runs/mnist --data t10k-images-idx3-ubyte.gz --mask upper.npy --to filled.png\n  \
    vae-gpu impute runs/mnist --data digits --mask upper.npy --draws 5 --to several.png\n  \
    vae-gpu impute runs/mnist --data digits --mask upper.npy --score   how probable the hidden part was\n  \
    vae-gpu impute runs/moving --mask past.npy --draws 5 --to futures.png   the second frame from the first\n  \
    vae-gpu impute runs/frey --data noisy.npy --noise 0.1 --to clean.png\n  \
    vae-gpu impute runs/told --mask upper.npy --to told.png            of a conditional model, which is told what it was in training\n\n\
    A mask has 1 where a value is observed and 0 where it is missing, in the shape of the data (of a model with --columns: of \
    those, without a condition; of words one number a column) or as one row for all examples. In Python, for 28 x 28: m = np.zeros((28, 28)), then m[:14] = 1 for the upper half, or m[::2, ::2] = 1 for \
    super-resolution from every second pixel, then np.save('mask.npy', m.ravel()).\n\n\
    A csv that is written for a csv is that table, with all its columns as they stand, and only what is missing filled in.\n\n\
    Chains over z and the missing part: importance resampling, then Gibbs sweeps with Metropolis steps (Rezende et al. 2014; \
    Mattei & Frellsen 2018), exact in the limit whatever the encoder is. The default is the mean of the missing part, over 10 \
    chains; --draws M writes M draws of each example instead, (N · M, D). A picture has rows of what is observed, of each \
    filling, and, where only a mask hides it, of the truth. Time goes with examples · chains · 2 (K + sweeps).\n\n\
    --noise S: what is observed is y = x + S · normal noise, and is filled in from p(x | z, y) too. Of a Gaussian x, y has \
    the variance S² more; of a Bernoulli x, y is a mixture of N(0, S²) and N(1, S²).\n\n\
    --score: log p(hidden | observed) = log p(known) − log p(observed), each with K importance samples, beside independent \
    columns fitted to all known values. Both estimates are low by Jensen's inequality, the second by more: the difference \
    tends to be too high where K is small, so compare two K."
)]
pub(crate) struct ImputeArgs {
    /// A run directory, or a model.safetensors
    model: PathBuf,
    #[command(flatten)]
    data: DataFor,
    /// 1: observed, 0: missing; in the shape of the data, or one row for all examples
    #[arg(long, value_name = "FILE")]
    mask: Option<PathBuf>,
    #[command(flatten)]
    output: Option<Output>,
    /// How many examples, the first ones; a picture shows 16 if not given, all else takes all
    #[arg(long, value_name = "N")]
    count: Option<usize>,
    /// Importance samples that begin a chain, and those of each estimate of --score
    #[arg(long, value_name = "K", default_value_t = 100)]
    samples: usize,
    /// Gibbs sweeps; the mean is over the second half
    #[arg(long, value_name = "N", default_value_t = 20)]
    sweeps: usize,
    /// Writes M draws of each example, in place of the mean over 10 chains
    #[arg(long, value_name = "M")]
    draws: Option<usize>,
    /// The standard deviation of the noise on what is observed; of a model with --scale, on what that makes of it
    #[arg(long, value_name = "S")]
    noise: Option<f64>,
    /// Prints how probable the values were that the mask hides; of a model with --scale, of scaled values
    #[arg(long)]
    score: bool,
    /// none, threshold or dynamic; as in training if not given. What is observed is written as it was given
    #[arg(long, value_enum, hide_possible_values = true, conflicts_with = "noise")]
    binarize: Option<Binarize>,
    #[command(flatten)]
    common: Common,
}

/// Chains behind a mean.
const CHAINS: usize = 10;

impl ImputeArgs {
    fn settings(&self) -> Settings {
        Settings {
            samples: self.samples,
            sweeps: self.sweeps,
            draws: self.draws.unwrap_or(CHAINS),
            noise: self.noise,
            seed: self.common.seed,
        }
    }

    /// The data, gaps and all, under the mask.
    fn read(&self, run: &Run, target: Option<Target>) -> Result<Given> {
        let remedy = "give fewer examples";
        let data = Arc::unwrap_or_clone(self.data.load_with_gaps(run, &self.common)?).dense(remedy)?;
        check_columns(&run.model, &data)?;
        // The values and which are there, a mask, and what is filled in: of a mean its sums, too.
        let each = 9 + self.draws.map_or(12, |draws| 4 * draws as u128);
        let (rows, cols) = (data.rows(), data.cols);
        host::check_memory(
            each * rows as u128 * cols as u128,
            &format!("{rows} rows of {cols} columns, filled in,"),
            remedy,
        )?;
        let names = data.columns.names.get(..data.columns.in_file(run.model.input)).unwrap_or_default();
        let mask = self.mask.as_deref().map(|mask| read_mask(mask, names)?.dense(remedy)).transpose()?;
        let given = Given::beside(&data, run.model.input, mask.as_ref())?;
        at_least_one("count", self.count.unwrap_or(1), "--count 16")?;
        match (self.count, target) {
            (Some(count), _) => Ok(given.first(count)),
            (None, Some(Target::Png)) if !self.score => Ok(given.first(16)),
            (None, _) => Ok(given),
        }
    }
}

/// A mask of several columns with a header is read by that, as the data are. A single column may be one row of marks.
fn read_mask(path: &Path, names: &[String]) -> Result<Dataset> {
    let mask = Dataset::read(path)?;
    match mask.cols > 1 && !mask.columns.names.is_empty() {
        true => mask.with_columns(&Columns { names: names.to_vec(), ..Columns::default() }),
        false => Ok(mask),
    }
}

pub(crate) fn run(args: &ImputeArgs) -> Result<()> {
    let settings = args.settings();
    settings.check()?;
    let output = args.output.as_ref().map(|output| output.picture_or_table(&args.common)).transpose()?;
    if let Some((path, _)) = output.filter(|_| args.score) {
        beside_lines(path)?;
    }
    let saved = Saved::read(&args.model)?;
    fills_in(&saved.run.model)?;
    let given = args.read(&saved.run, output.map(|(_, target)| target))?;
    let text = match args.data.file() {
        Some(path) if output.is_some_and(|(_, target)| target.is_csv()) => {
            Text::read(path, &saved.run.data.known_columns(), Keep::All, given.rows())?
        }
        _ => None,
    };
    let mut seen = given.clone();
    if let Some(scale) = &saved.run.data.scale {
        scale.apply_to(&mut seen.values, 0..given.cols);
        scale.apply_to(&mut seen.told, given.cols..saved.run.model.columns());
    }
    if args.noise.is_none() {
        let binarize = saved.run.binarize(args.binarize)?;
        seen.check(&saved.run.model, args.binarize.unwrap_or(Binarize::None))?;
        seen.binarize(binarize, args.common.seed);
    }
    if args.score {
        Score::check(&seen, &settings)?;
    }
    let device = args.common.device_at_hand()?;
    let mut working = Working::new(&args.common, "impute", given.rows());
    let mut imputer = Imputer::open(&saved, &device)?.watched(move |part| working.part(part));

    let mut said = serde_json::json!({ "examples": given.rows(), "values": given.count(), "missing": given.missing() });
    if let Some((path, target)) = output {
        let mut filled = match args.draws {
            None => imputer.mean(&seen, &settings)?,
            Some(_) => imputer.draws(&seen, &settings)?,
        };
        said["accepted"] = filled.accepted.map(|a| a.0).into();
        said["walked"] = filled.accepted.map(|a| a.1).into();
        args.common.say(describe(&given, filled.accepted));
        if let Some(scale) = &saved.run.data.scale {
            scale.undo(&mut filled.values, 0..given.cols);
        }
        if args.noise.is_none() {
            put_back(&given, &mut filled);
        }
        match target {
            Target::Table(table) => match text {
                Some(text) => write_filled(path, &given, &filled.values, &text, args.noise.is_some(), &saved.run)?,
                None => table.write_examples(path, &filled.values, &saved.run, None)?,
            },
            Target::Png => draw(path, &given, &filled.values, &saved.run)?,
        }
    }
    if args.score {
        let score = imputer.score(&seen, &settings)?;
        match args.common.json {
            true => said["score"] = json(&score),
            false => print(report(&score))?,
        }
    }
    match args.common.json {
        true => print(said),
        false => Ok(()),
    }
}

fn describe(given: &Given, accepted: Option<(f64, f64)>) -> String {
    let (missing, all) = (thousands(given.missing() as f64), thousands(given.count() as f64));
    let accepted = accepted.map(|(q, walk)| {
        format!("; accepted: {:.0} % of the proposals of q, {:.0} % of the steps of the walk", 100.0 * q, 100.0 * walk)
    });
    format!("{}: {missing} of {all} values are missing{}", given.name, accepted.unwrap_or_default())
}

/// What was observed stands as it was given, not as the model saw it.
fn put_back(given: &Given, filled: &mut Filled) {
    let draws = filled.values.len() / given.values.len();
    for (row, values) in filled.values.chunks_mut(given.cols).enumerate() {
        let start = row / draws * given.cols;
        for (j, value) in values.iter_mut().enumerate().filter(|(j, _)| given.observed[start + j]) {
            *value = given.values[start + j];
        }
    }
}

/// The table of the file, with all its columns as they stand, and what was missing filled in, once for each draw. With noise nothing
/// is as it stood.
fn write_filled(path: &Path, given: &Given, filled: &[f32], text: &Text, noisy: bool, run: &Run) -> Result<()> {
    let columns = run.data.known_columns();
    // A file may have a column for each word already, as an array has.
    let is_wide = columns.is_wide(text.taken.len());
    let (x, words) = (run.x(), if is_wide { vec![] } else { run.words() });
    let at = |j: usize| text.taken[if is_wide { x[j] } else { columns.column_of(x[j]) }];
    let hidden = |example: usize, j: usize| noisy || !given.observed[example * given.cols + j];
    let values = (filled, given.cols, filled.len() / given.values.len());
    write_table(path, |mut file| to_csv::write_filled(&mut file, text, values, &words, at, hidden))
}

/// Rows of what is observed, of every filling, and of the truth if a mask alone hides it.
fn draw(path: &Path, given: &Given, filled: &[f32], run: &Run) -> Result<()> {
    let cols = given.cols;
    let observed = given.values.iter().zip(&given.observed).map(|(&v, &o)| if o { v } else { f32::NAN });
    let each = filled.len() / given.values.len();
    let filling = |m: usize| filled.chunks(cols).skip(m).step_by(each).flatten().copied().collect();
    let mut parts: Vec<Vec<f32>> = std::iter::once(observed.collect()).chain((0..each).map(filling)).collect();
    if (0..given.values.len()).any(|i| given.is_hidden(i)) {
        parts.push(given.values.clone());
    }
    // An example and its fillings stand together, so that no row of them is cut short where it need not be.
    let columns = grid::columns_of_stacks(given.rows(), parts.len(), tile(run));
    let parts: Vec<&[f32]> = parts.iter().map(Vec::as_slice).collect();
    let (tiles, columns) = grid::stack(&parts, cols, columns);
    draw_rows(path, tiles, columns, run)
}

fn json(score: &Score) -> serde_json::Value {
    serde_json::json!({
        "examples": score.examples,
        "log_p": score.model.mean, "log_p_error": score.model.error,
        "columns": score.columns.mean, "columns_error": score.columns.error,
        "log_p_known": score.known.mean, "log_p_known_error": score.known.error,
        "log_p_observed": score.observed.mean, "log_p_observed_error": score.observed.error,
        "samples": score.samples, "effective_samples": score.effective_samples,
    })
}

fn report(score: &Score) -> String {
    let line = |name: &str, e: Estimate| format!("{name:<24} {}", with_error(e));
    format!(
        "log p(hidden | observed) of {}, nats per example ± standard error\n{}\n{}\n{} for each estimate, of \
         which {:.1} count where the hidden part is not seen",
        counted(score.examples, "example"),
        line("the model", score.model),
        line("each column by itself", score.columns),
        counted(score.samples, "sample"),
        score.effective_samples,
    )
}
