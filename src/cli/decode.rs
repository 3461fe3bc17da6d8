//! `vae-gpu decode`, and how decoded examples are written.
use super::output::{Output, Target, wrote};
use super::sample::total;
use super::{Common, encode, told};
use crate::checkpoint::Saved;
use crate::config::{Binarize, Condition, Run};
use crate::data::text::{Keep, Text};
use crate::data::to_csv::Front;
use crate::data::{Bytes, Columns, Dataset, Missing};
use crate::infer::{Inference, Totals};
use crate::plot::grid;
use crate::report::{on_one_scale, tile};
use crate::{Error, Result};
use clap::Args;
use std::path::{Path, PathBuf};

/// Decodes latents: the mean of p(x|z) for every row of an npy or csv of (N, Z)
#[derive(Args)]
#[command(after_help = "Example:\n  vae-gpu decode runs/digits --data latents.npy --to decoded.png")]
pub(crate) struct DecodeArgs {
    /// A run directory, or a model.safetensors
    model: PathBuf,
    /// Latents, (N, Z)
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Of a conditional model: a class for all, classes that take turns, as 0,1,2; what columns hold, as age=50,ward=surgery; or a FILE
    /// with a row for each z, or one for all, of classes too, as the data have. A csv has it in front
    #[arg(long, value_name = "WHAT")]
    condition: Option<String>,
    /// Of shares (multinomial, --size-factor total), what the counts of a row add up to, to 16777216: 1 if not given, and their means are
    /// shares
    #[arg(long, value_name = "N")]
    total: Option<u64>,
    /// In place of the means the standard deviations of p(x|z), of each column in its units; of a word that of whether it is the one
    #[arg(long)]
    deviations: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    common: Common,
}

/// Writes them as the name of the file says.
pub(crate) fn write(path: &Path, target: Target, examples: Vec<f32>, run: &Run, front: Option<Front>) -> Result<()> {
    let cols = run.model.input;
    match target {
        Target::Table(table) => table.write_examples(path, &examples, run, front),
        Target::Png => {
            let columns = grid::columns_for(examples.len() / cols, tile(run));
            draw_rows(path, examples, columns, run)
        }
    }
}

/// Draws rows of `columns` examples.
pub(crate) fn draw_rows(path: &Path, mut examples: Vec<f32>, columns: usize, run: &Run) -> Result<()> {
    on_one_scale(run, [&mut examples]);
    grid::write_png(path, &examples, tile(run), columns)
}

/// A table with a header that names them is read by that: what `encode` wrote, with more beside it or in another order.
fn latents(path: &Path, latent: usize) -> Result<Dataset> {
    let columns = Columns { names: encode::names("mu", latent), ..Columns::default() };
    // What stands beside them may be words then.
    Dataset::read_columns(path, Some(&columns), Missing::Refuse).or_else(|e| {
        let z = Dataset::read(path)?;
        if z.columns.names.iter().any(|name| columns.names.contains(name)) { Err(e) } else { Ok(z) }
    })
}

pub(crate) fn run(args: &DecodeArgs) -> Result<()> {
    let (path, target) = args.output.picture_or_table(&args.common)?;
    let saved = Saved::read(&args.model)?;
    let latent = saved.run.model.latent;
    let total = total(args.total, false, &saved.run)?;
    let has_words = !saved.run.words().is_empty();
    if args.deviations && (target == Target::Png || has_words && target.is_csv()) {
        let why = if target == Target::Png { "are no picture" } else { "of words a csv has but the most probable" };
        return Err(Error::request(format!("deviations: {why}; pass --to FILE.npy")));
    }
    // They are numbers, as which bytes stand for themselves.
    let z = latents(&args.data, latent)?.with_bytes(Some(Bytes::Plain))?;
    if z.cols != latent {
        return Err(Error::failed(format!(
            "{}: a row has {} numbers; must have {latent}, as the latents of the model: give what vae-gpu encode wrote without --logvar",
            z.name, z.cols
        )));
    }
    if matches!(saved.run.data.condition, Some(Condition::Classes { .. })) && args.condition.is_none() {
        return Err(Error::request(
            "condition: not given; the model is told a class with each z: pass --condition FILE, with a row for each, or one \
             class for all",
        ));
    }
    let told = told::of(&saved.run, args.condition.as_deref())?;
    let given = told.each(z.rows())?;
    let text = match target.is_csv() {
        true => {
            Text::read(&args.data, &Columns::default(), Keep::RowNames, z.rows())?.filter(|text| !text.kept.is_empty())
        }
        false => None,
    };
    let device = args.common.device_at_hand()?;
    let mut inference = Inference::open(&saved, Binarize::None, &device)?;
    inference.set_totals(Totals::Of(total));
    let decoded = match args.deviations {
        true => inference.deviations(&z.to_rows(), &given)?,
        false => inference.decode(&z.to_rows(), &given)?,
    };
    let told = told.first_in_file(z.rows());
    let front = told::behind(text.map(|text| text.front(1)), target, &saved.run, (&told, 1));
    write(path, target, decoded, &saved.run, front)?;
    wrote(&args.common, path, target.rows(z.rows()))
}
