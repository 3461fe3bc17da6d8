//! `vae-gpu rank`
use super::condition::DataFor;
use super::output::{Kept, Output, Table, write_table, wrote};
use super::progress::Working;
use super::{Common, counted, first, print, thousands, with_error};
use crate::checkpoint::Saved;
use crate::config::{Likelihood, Run};
use crate::data::npy;
use crate::data::to_csv::{self, Front};
use crate::error::{Error, Result, a_part, at_least_one};
use crate::estimate::Estimate;
use crate::evaluate::check_data;
use crate::infer::Inference;
use crate::ranking::{HeldOut, Measures, best_of, check_zeros_and_ones};
use clap::Args;
use serde_json::{Value, json};
use std::io::Write;
use std::path::PathBuf;

/// Holds out part of what each example has, and says how high the rest ranks it: recall and NDCG; or
/// writes what each example has not and would most likely have
#[derive(Args)]
#[command(mut_arg("to", |to| to.help("Writes what each example has not and would most likely have, in place of the \
    measures: a .csv of names, or an .npy of positions among the columns that the model learned, counted from 0").required(false)), after_help = "Examples:\n  \
    vae-gpu rank runs/baskets --data new.npz\n  \
    vae-gpu rank runs/baskets --data new.npz --at 10,100 --hold-out 0.5 --json\n  \
    vae-gpu rank runs/baskets --data new.npz --best 10 --to best.csv\n\n\
    Of items in baskets, words in texts: for models of counts, or of zeros and ones. Of every example part of what is not 0 is \
    made 0, the rest is encoded, and all columns that are 0 then are ranked by their mean in p(x|z). What is missing is neither \
    held out nor ranked.\n\n\
    recall@K   the part of what was held out that is among the first K, or of K where more was\n\
    ndcg@K     the same, a column at place i worth 1 / log2(1 + i), over the most that could be had\n\n\
    The measures are those of Liang et al. 2018. Beside each stands that of a ranking by how many of these examples show a \
    column, which is the same for all of them: a model that ranks no better has learned nothing of who has what.\n\n\
    With --to nothing is held out: the columns that are 0 are ranked after the whole example. A row each, the most probable \
    first; where an example has so many columns that too few are left, a csv has nothing and an .npy -1.")]
pub(crate) struct RankArgs {
    /// A run directory, or a model.safetensors
    model: PathBuf,
    #[command(flatten)]
    data: DataFor,
    /// How many examples, the first ones; all if not given
    #[arg(long, value_name = "N")]
    count: Option<usize>,
    /// The part of what is not 0 in an example that is held out: rounded, at least one column and never all
    #[arg(long, value_name = "F", default_value_t = 0.2, conflicts_with = "to")]
    hold_out: f64,
    /// How many columns of the ranking count; 20,50,100 if not given, or what of that a model of few columns has
    #[arg(long, value_name = "K,...", value_delimiter = ',', conflicts_with = "to")]
    at: Vec<usize>,
    #[command(flatten)]
    output: Option<Output>,
    #[command(flatten)]
    kept: Kept,
    /// How many columns of each example --to has; 20 if not given, or what of that a model of few columns has
    #[arg(long, value_name = "N", requires = "to")]
    best: Option<usize>,
    #[command(flatten)]
    common: Common,
}

impl RankArgs {
    /// Numbers of columns that say something of a model with `input` of them.
    fn places(&self, input: usize) -> Result<Vec<usize>> {
        let mut at = match &self.at[..] {
            [] => [20, 50, 100].into_iter().filter(|&k| 2 * k <= input).collect(),
            asked => asked.to_vec(),
        };
        if at.is_empty() {
            at.push(input.div_ceil(4));
        }
        at.sort_unstable();
        at.dedup();
        at.iter().try_for_each(|&k| fewer("at", k, input))?;
        Ok(at)
    }
}

/// A ranking of all columns says nothing.
fn fewer(option: &str, k: usize, input: usize) -> Result<()> {
    match k >= input && k > 1 {
        true => Err(Error::request(format!(
            "{option} {k}: the model ranks {input} columns, and at most one fewer can be asked for; pass --{option} {}",
            input.div_ceil(4)
        ))),
        false => Ok(()),
    }
}

pub(crate) fn run(args: &RankArgs) -> Result<()> {
    at_least_one("count", args.count.unwrap_or(1), "--count 100")?;
    args.at.iter().try_for_each(|&k| at_least_one("at", k, "--at 20"))?;
    at_least_one("best", args.best.unwrap_or(1), "--best 20")?;
    a_part("hold-out", args.hold_out, "--hold-out 0.2")?;
    let saved = Saved::read(&args.model)?;
    let model = &saved.run.model;
    let of_bits = model.likelihood == Likelihood::Bernoulli;
    if model.is_mixed() || !(model.likelihood.is_of_counts() || of_bits) || saved.run.data.scale.is_some() {
        return Err(Error::request(format!(
            "rank {}: takes a model of counts, or of zeros and ones, as they stand in the file; this one is of something else",
            args.model.display()
        )));
    }
    let at = args.places(model.input)?;
    let best = args.best.unwrap_or(20.min(model.input.div_ceil(2)));
    fewer("best", best, model.input)?;
    let output = args.output.as_ref().map(|output| output.table(&args.common)).transpose()?;
    let mut data = args.data.load(&saved.run, &args.common)?;
    check_data(&saved, &data, "--data")?;
    if let Some(count) = args.count {
        data = first(data, count);
    }
    if of_bits {
        check_zeros_and_ones(&data, model.input)?;
    }
    let front =
        args.kept.front((&args.data, &saved.run), matches!(output, Some((_, Table::Csv))), (data.rows(), 1), &[])?;
    if let Some((path, table)) = output {
        let mut inference = Inference::open(&saved, saved.run.data.binarize, &args.common.device_at_hand()?)?;
        let mut working = Working::new(&args.common, "ranking", data.rows());
        let seed = args.common.seed;
        let all = best_of(&data, model.input, &mut inference, best, seed, &mut |part| working.part(part))?;
        write_table(path, |mut file| write(&mut file, table, &all, best, &saved.run, front.as_ref()))?;
        return wrote(&args.common, path, Some(all.len()));
    }
    let name = data.name.clone();
    let held = HeldOut::of(data, model.input, args.hold_out, args.common.seed)?;
    let device = args.common.device_at_hand()?;
    let mut inference = Inference::open(&saved, saved.run.data.binarize, &device)?;
    let mut working = Working::new(&args.common, "ranking", held.columns.len());
    let by_model = held.ranked_by(&mut inference, &at, args.common.seed, &mut |part| working.part(part))?;
    let by_frequency = held.ranked_by_frequency(&at);
    match args.common.json {
        true => print(json!({
            "examples": held.columns.len(),
            "left_out": held.left_out,
            "hold_out": args.hold_out,
            "held_out_columns": held.mean_columns(),
            "by_model": as_json(&by_model),
            "by_frequency": as_json(&by_frequency),
        })),
        false => print(table(&name, &held, &by_model, &by_frequency)),
    }
}

/// The columns of each example, `best` or fewer: their names, or their positions in x.
fn write(
    file: &mut impl Write,
    table: Table,
    all: &[Vec<u32>],
    best: usize,
    run: &Run,
    front: Option<&Front>,
) -> std::io::Result<()> {
    match table {
        Table::Npy => {
            let of_row =
                |row: &Vec<u32>| -> Vec<f32> { (0..best).map(|i| row.get(i).map_or(-1.0, |&j| j as f32)).collect() };
            let values: Vec<f32> = all.iter().flat_map(of_row).collect();
            npy::write(file, all.len(), best, &values)
        }
        Table::Csv => {
            let names = run.names();
            let of_row = |row: &Vec<u32>| -> Vec<String> {
                (0..best).map(|i| row.get(i).map_or(String::new(), |&j| names[j as usize].clone())).collect()
            };
            let titles = (1..=best).map(|place| place.to_string()).collect();
            to_csv::write_rows(file, titles, all.iter().map(of_row), front)
        }
    }
}

fn as_json(measures: &[Measures]) -> Vec<Value> {
    let one = |m: &Measures| {
        json!({
            "at": m.at,
            "recall": m.recall.mean,
            "recall_error": m.recall.error,
            "ndcg": m.ndcg.mean,
            "ndcg_error": m.ndcg.error,
        })
    };
    measures.iter().map(one).collect()
}

fn table(name: &str, held: &HeldOut, by_model: &[Measures], by_frequency: &[Measures]) -> String {
    let left_out = match held.left_out {
        0 => String::new(),
        n => format!(" ({} with fewer than two columns that are not 0 left out)", thousands(n as f64)),
    };
    let mut lines = vec![format!(
        "{name}: {}{left_out}, {:.1} columns held out of each on average; means ± standard error",
        counted(held.columns.len(), "example"),
        held.mean_columns(),
    )];
    let pairs = || by_model.iter().zip(by_frequency);
    let line = |what: &str, at: usize, model: Estimate, frequency: Estimate| {
        format!("{:<12} {}   by frequency {}", format!("{what}@{at}"), with_error(model), with_error(frequency).trim())
    };
    lines.extend(pairs().map(|(m, f)| line("recall", m.at, m.recall, f.recall)));
    lines.extend(pairs().map(|(m, f)| line("ndcg", m.at, m.ndcg, f.ndcg)));
    lines.join("\n")
}
