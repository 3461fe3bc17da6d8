//! `vae-gpu rank`
use super::condition::DataFor;
use super::progress::Working;
use super::{Common, counted, first, print, thousands, with_error};
use crate::checkpoint::Saved;
use crate::config::Likelihood;
use crate::error::{Error, Result, a_part, at_least_one};
use crate::estimate::Estimate;
use crate::evaluate::check_data;
use crate::infer::Inference;
use crate::ranking::{HeldOut, Measures, check_zeros_and_ones};
use clap::Args;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Holds out part of what each example has, and says how high the rest ranks it: recall and NDCG
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    vae-gpu rank runs/baskets --data new.npz\n  \
    vae-gpu rank runs/baskets --data new.npz --at 10,100 --hold-out 0.5 --json\n\n\
    Of items in baskets, words in texts: for models of counts, or of zeros and ones. Of every example part of what is not 0 is \
    made 0, the rest is encoded, and all columns that are 0 then are ranked by their mean in p(x|z). What is missing is neither \
    held out nor ranked.\n\n\
    recall@K   the part of what was held out that is among the first K, or of K where more was\n\
    ndcg@K     the same, a column at place i worth 1 / log2(1 + i), over the most that could be had\n\n\
    The measures are those of Liang et al. 2018. Beside each stands that of a ranking by how many of these examples show a \
    column, which is the same for all of them: a model that ranks no better has learned nothing of who has what.")]
pub(crate) struct RankArgs {
    /// A run directory, or a model.safetensors
    model: PathBuf,
    #[command(flatten)]
    data: DataFor,
    /// How many examples, the first ones; all if not given
    #[arg(long, value_name = "N")]
    count: Option<usize>,
    /// The part of what is not 0 in an example that is held out: rounded, at least one column and never all
    #[arg(long, value_name = "F", default_value_t = 0.2)]
    hold_out: f64,
    /// How many columns of the ranking count; 20,50,100 if not given, or what of that a model of few columns has
    #[arg(long, value_name = "K,...", value_delimiter = ',')]
    at: Vec<usize>,
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
        match at.iter().find(|&&k| k >= input && k > 1) {
            Some(k) => {
                Err(Error::request(format!("at {k}: the model ranks {input} columns; pass --at {}", input.div_ceil(4))))
            }
            None => Ok(at),
        }
    }
}

pub(crate) fn run(args: &RankArgs) -> Result<()> {
    at_least_one("count", args.count.unwrap_or(1), "--count 100")?;
    args.at.iter().try_for_each(|&k| at_least_one("at", k, "--at 20"))?;
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
    let mut data = args.data.load(&saved.run, &args.common)?;
    check_data(&saved, &data, "--data")?;
    if let Some(count) = args.count {
        data = first(data, count);
    }
    if of_bits {
        check_zeros_and_ones(&data, model.input)?;
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
