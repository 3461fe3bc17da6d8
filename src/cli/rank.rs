//! `vae-gpu rank`
use super::condition::DataFor;
use super::{Common, counted, first, print, with_error};
use crate::checkpoint::Saved;
use crate::config::{Binarize, Likelihood};
use crate::error::{Error, Result, at_least_one};
use crate::evaluate::check_data;
use crate::infer::Inference;
use crate::ranking::{HeldOut, Measures};
use clap::Args;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Holds out part of what each example has, and says how well the rest ranks it: recall and NDCG
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    vae-gpu rank runs/baskets --data held-out.npz\n  \
    vae-gpu rank runs/baskets --data held-out.npz --at 10,100 --hold-out 0.5 --json\n\n\
    For counts, and for zeros and ones: items in baskets, words in texts. Of every example part of what is not 0 is made 0, the \
    rest is encoded, and the columns that it has not are ranked by the mean of p(x|z) at the mean of q(z|x). recall@K: how many of \
    the first K were held out, of as many as could be. ndcg@K: the same with less weight for later places, \
    1 / log2(1 + place). As in Liang et al. 2018, whose examples are users that the training has not seen. Beside \
    both stands what the columns' frequency alone ranks, which is the same for every example.")]
pub(crate) struct RankArgs {
    /// A run directory, or a model.safetensors
    model: PathBuf,
    #[command(flatten)]
    data: DataFor,
    /// How many examples, the first ones; all if not given
    #[arg(long, value_name = "N")]
    count: Option<usize>,
    /// The part of what is not 0 in an example that is held out, at least one column
    #[arg(long, value_name = "F", default_value_t = 0.2)]
    hold_out: f64,
    /// How many columns of the ranking count, as 20,100
    #[arg(long, value_name = "K", value_delimiter = ',', default_value = "20,50,100")]
    at: Vec<usize>,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn run(args: &RankArgs) -> Result<()> {
    at_least_one("count", args.count.unwrap_or(1), "--count 100")?;
    args.at.iter().try_for_each(|&k| at_least_one("at", k, "--at 20"))?;
    if !(args.hold_out > 0.0 && args.hold_out < 1.0) {
        return Err(Error::request(format!(
            "hold-out {}: must be more than 0 and less than 1; pass --hold-out 0.2",
            args.hold_out
        )));
    }
    let saved = Saved::read(&args.model)?;
    let model = &saved.run.model;
    let ranks = model.likelihood.is_of_counts() || model.likelihood == Likelihood::Bernoulli;
    if !ranks || model.is_mixed() {
        return Err(Error::request(format!(
            "rank {}: its columns are not all counts, or zeros and ones, of which what is not 0 could be held out; give a model of such",
            args.model.display()
        )));
    }
    let mut data = args.data.load(&saved.run, &args.common)?;
    check_data(&saved, &data, "--data")?;
    if let Some(count) = args.count {
        data = first(data, count);
    }
    let held = HeldOut::of(&data, model.input, args.hold_out, args.common.seed)?;
    let device = args.common.device_at_hand()?;
    // Zeros and ones stay what they are: drawn anew, they would not be those that are held out.
    let binarize = match saved.run.data.binarize {
        Binarize::Dynamic => Binarize::None,
        other => other,
    };
    let mut inference = Inference::open(&saved, binarize, &device)?;
    let by_model = held.ranked_by(&mut inference, &args.at, args.common.seed)?;
    let by_frequency = held.ranked_by_frequency(model.input, &args.at);
    match args.common.json {
        true => print(json!({
            "examples": held.held.len(),
            "left_out": held.left_out,
            "hold_out": args.hold_out,
            "ranks": all(&by_model),
            "by_frequency": all(&by_frequency),
        })),
        false => print(table(&data.name, args.hold_out, &held, &by_model, &by_frequency)),
    }
}

fn all(measures: &[Measures]) -> Vec<Value> {
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

fn table(name: &str, part: f64, held: &HeldOut, by_model: &[Measures], by_frequency: &[Measures]) -> String {
    let left_out = match held.left_out {
        0 => String::new(),
        n => format!(" ({} with fewer than two left out)", counted(n, "example")),
    };
    let mut lines = vec![format!(
        "{name}: {}{left_out}, of each {part} of the columns that are not 0 held out; means ± standard error",
        counted(held.held.len(), "example"),
    )];
    let pairs = || by_model.iter().zip(by_frequency);
    let line = |what: &str, at: usize, [model, frequency]: [crate::estimate::Estimate; 2]| {
        format!("{:<12} {}   by frequency {}", format!("{what}@{at}"), with_error(model), with_error(frequency).trim())
    };
    lines.extend(pairs().map(|(m, f)| line("recall", m.at, [m.recall, f.recall])));
    lines.extend(pairs().map(|(m, f)| line("ndcg", m.at, [m.ndcg, f.ndcg])));
    lines.join("\n")
}
