//! `vae-gpu eval`
use super::condition::DataFor;
use super::output::{Kept, Output, Table, is_stdout, titles_of_examples};
use super::progress::Working;
use super::{Common, counted, first, print, thousands, with_error};
use crate::ais::{Ais, Annealer};
use crate::checkpoint::Saved;
use crate::config::{Binarize, Likelihood, OnNan, Run, name_of};
use crate::data::{Dataset, to_csv};
use crate::device::{Backend, Device};
use crate::error::{Error, Result, at_least_one};
use crate::estimate::{Estimate, LogLikelihood, Running};
use crate::evaluate::{Evaluation, Evaluator, check_binarized, check_data};
use crate::tail;
use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Computes the elbo and its parts, estimates of log p(x), active units
#[derive(Args)]
#[command(
    mut_arg("to", |to| to.required(false).help("An .npy, or a .csv: the estimates of log p(x) of each example, a column each, (N, 1) for L_K alone")),
    after_help = "Examples:\n  \
    vae-gpu eval runs/digits\n  \
    vae-gpu eval runs/mnist --data t10k-images-idx3-ubyte.gz --samples 5000 --json\n  \
    vae-gpu eval runs/mnist --data t10k-images-idx3-ubyte.gz --samples 1000 --estimator iwae,naive\n  \
    vae-gpu eval runs/mnist --data t10k-images-idx3-ubyte.gz --count 100 --estimator ais --temperatures 500\n  \
    vae-gpu eval runs/table --data new.csv --samples 100 --to bounds.npy   of each example: how unlike the others it is\n  \
    vae-gpu eval runs/table --data new.csv --estimator elbo --to parts.csv     and how well it is told: elbo, nll, kl\n\n\
    Every number has its standard error over the examples; of one example there is none. Of an estimate of log p(x) three figures stand beside it, for it \
    is made of so many samples: the part of its error that comes from them, as another --seed would show it; how far it is too low in the \
    mean, as more samples would; both by the jackknife; and the effective number of samples: near 1 of many it is lower still. Where the \
    weights of some examples have so heavy a tail that none of these figures can be trusted (k̂ of Vehtari et al. 2024, of 25 samples or \
    more), it is said of how many; ais may do better. A unit \
    is active where the variance over x of E_q[z] is above 0.01. Of a model with --scale all figures are of scaled data; a line \
    more says what L_K is in the units of the file, where p(x) is a density: less by the sum of ln factor of all columns."
)]
pub(crate) struct EvalArgs {
    /// A run directory, or a model.safetensors
    model: PathBuf,
    #[command(flatten)]
    data: DataFor,
    /// How many examples, the first ones; all if not given
    #[arg(long, value_name = "N")]
    count: Option<usize>,
    /// Importance samples for each example
    #[arg(long, value_name = "K", default_value_t = 1)]
    samples: usize,
    /// How log p(x) is estimated: iwae (K draws from q, always there), naive (K from the prior), ais (annealed), or several; elbo adds to
    /// --to that of each example, and its parts nll and kl; columns adds the part of the nll that each column has: which of them are odd
    #[arg(long, value_enum, value_delimiter = ',', hide_possible_values = true, default_value = "iwae")]
    estimator: Vec<Estimator>,
    /// Of ais: steps from the prior to the posterior
    #[arg(long, value_name = "T", default_value_t = 500)]
    temperatures: usize,
    /// Of ais: chains for each example
    #[arg(long, value_name = "C", default_value_t = 16)]
    chains: usize,
    /// Of ais: gradients at each temperature
    #[arg(long, value_name = "N", default_value_t = 10)]
    leapfrogs: usize,
    /// Where the bound of an example is not finite, as of a cell of 1e30: stop, or skip: it counts nowhere, and is nan in --to
    #[arg(long, value_enum, value_name = "WHAT", default_value = "stop", hide_possible_values = true)]
    on_nan: OnNan,
    /// none, threshold or dynamic; as in training if not given
    #[arg(long, value_enum, hide_possible_values = true)]
    binarize: Option<Binarize>,
    #[command(flatten)]
    output: Option<Output>,
    #[command(flatten)]
    kept: Kept,
    #[command(flatten)]
    common: Common,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Estimator {
    Iwae,
    Naive,
    Ais,
    Elbo,
    Columns,
}

impl EvalArgs {
    /// What the estimates of each example are called.
    fn titles(&self, run: &Run) -> Vec<String> {
        let others = [Estimator::Naive, Estimator::Ais].into_iter().filter(|other| self.estimator.contains(other));
        let bound: &[&str] = if self.estimator.contains(&Estimator::Elbo) { &["elbo", "nll", "kl"] } else { &[] };
        let bound = bound.iter().map(|title| title.to_string());
        let columns = if self.estimator.contains(&Estimator::Columns) { titles_of_examples(run) } else { vec![] };
        let columns = columns.into_iter().map(|name| format!("nll_{name}"));
        ["iwae".into()].into_iter().chain(others.map(name_of)).chain(bound).chain(columns).collect()
    }

    /// # Errors
    /// What is asked for and is not there, or goes nowhere.
    fn check(&self, run: &Run) -> Result<()> {
        let others = [Estimator::Naive, Estimator::Ais];
        if let (OnNan::Skip, Some(other)) = (self.on_nan, others.iter().find(|other| self.estimator.contains(other))) {
            let other = name_of(*other);
            return Err(Error::request(format!("on-nan skip: is of iwae alone; leave it out, or {other}")));
        }
        if !self.estimator.contains(&Estimator::Columns) {
            return Ok(());
        }
        if run.model.has(Likelihood::Multinomial) {
            return Err(Error::request(
                "estimator columns: the nll of a multinomial is no sum over columns, for they share a total; leave it out",
            ));
        }
        match self.output {
            Some(_) => Ok(()),
            None => Err(Error::request("estimator columns: is of each example; pass --to FILE.csv too")),
        }
    }
}

pub(crate) fn run(args: &EvalArgs) -> Result<()> {
    at_least_one("samples", args.samples, "--samples 1")?;
    at_least_one("count", args.count.unwrap_or(1), "--count 100")?;
    let ais = Ais { temperatures: args.temperatures, chains: args.chains, leapfrogs: args.leapfrogs };
    ais.check()?;
    let output = args.output.as_ref().map(|output| output.table(&args.common)).transpose()?;
    let on_stdout = output.is_some_and(|(path, _)| is_stdout(path));
    let saved = Saved::read(&args.model)?;
    args.check(&saved.run)?;
    let model = &saved.run.model;
    let mut data = args.data.load(&saved.run, &args.common)?;
    check_data(&saved, &data, "--data")?;
    if let Some(count) = args.count {
        data = first(data, count);
    }
    let titles = args.titles(&saved.run);
    let front = args.kept.front(
        (&args.data, &saved.run),
        matches!(output, Some((_, Table::Csv))),
        (data.rows(), 1),
        &titles,
    )?;
    let binarize = saved.run.binarize(args.binarize)?;
    check_binarized(args.binarize.unwrap_or(Binarize::None), model, &data, "leave out --binarize, or the example")?;
    let annealer = args
        .estimator
        .contains(&Estimator::Ais)
        .then(|| Annealer::new(model, ais, binarize, data.rows()))
        .transpose()?;
    let (device, seed) = (args.common.device_at_hand()?, args.common.seed);
    let (e, naive, by_column) = {
        let (evaluator, mut backend) = opened(&saved, &data, Sampled { samples: args.samples, binarize }, &device)?;
        let evaluator = if args.on_nan == OnNan::Skip { evaluator.skipping() } else { evaluator };
        let e = follow(&args.common, ELBO, data.rows(), |watch| evaluator.run(&mut *backend, &data, seed, watch));
        let e = e.map_err(|e| match e {
            Error::NotFinite { .. } if args.on_nan == OnNan::Stop => {
                Error::failed(format!("{e}; --on-nan skip leaves such examples out"))
            }
            e => e,
        })?;
        let by_column = args.estimator.contains(&Estimator::Columns).then(|| {
            follow(&args.common, "columns", data.rows(), |watch| evaluator.columns(&mut *backend, &data, seed, watch))
        });
        let naive = args.estimator.contains(&Estimator::Naive).then(|| {
            follow(&args.common, "naive", data.rows(), |watch| evaluator.prior(&mut *backend, &data, seed, watch))
        });
        (e, naive.transpose()?, by_column.transpose()?)
    };
    let mut others: Vec<(&str, LogLikelihood)> = naive.into_iter().map(|naive| ("naive", naive)).collect();
    if let Some(annealer) = annealer {
        let mut backend = saved.place(annealer.network(), &data, &device)?;
        let ais = follow(&args.common, "ais", data.rows(), |watch| annealer.run(&mut *backend, &data, seed, watch))?;
        others.push(("ais", ais));
    }
    if let Some((path, table)) = output {
        let columns: Vec<&LogLikelihood> = [&e.iwae].into_iter().chain(others.iter().map(|(_, l)| l)).collect();
        // Of a column of words the nll is the sum over its words, of which one counts.
        let (mut rows, words): (Vec<f32>, _) = (vec![], saved.run.words());
        for (i, &[nll, kl]) in e.parts.iter().enumerate() {
            rows.extend(columns.iter().map(|l| l.per_example[i] as f32));
            if args.estimator.contains(&Estimator::Elbo) {
                rows.extend([-(nll + kl), nll, kl].map(|x| x as f32));
            }
            if let Some(by_column) = &by_column {
                let own = &by_column[i * model.input..][..model.input];
                let parts = to_csv::cells(own.len(), &words, |j| own[j], |of| own[of.columns.clone()].iter().sum());
                rows.extend(parts.into_iter().map(|part: f64| if nll.is_nan() { f32::NAN } else { part as f32 }));
            }
        }
        table.write(path, &rows, &titles, front)?;
    }
    if !e.left_out.is_empty() {
        let (out, of) = (thousands(e.left_out.len() as f64), counted(data.rows(), "example"));
        let first = e.left_out[0];
        args.common.say(format!(
            "left out, for their bounds are not finite: {out} of {of}, the first of which is {first} (counted from 0)"
        ));
    }
    // A density has units: those of the scaled columns, and those of the file.
    let scale = saved.run.data.scale.as_ref().filter(|_| model.has(Likelihood::Gaussian));
    let in_file = scale.map(|scale| {
        let bounds = scale.in_file(&e.iwae.per_example, &data, model.input).into_iter();
        bounds.filter(|bound| !bound.is_nan()).collect::<Running>().estimate()
    });
    match args.common.json {
        true => print(json(&e, &others, in_file, output.map(|(path, _)| path))),
        // There stands the table.
        false if on_stdout => {
            args.common.say(table(&data, &e, &others, in_file));
            Ok(())
        }
        false => print(table(&data, &e, &others, in_file)),
    }
}

/// How examples are evaluated.
#[derive(Clone, Copy)]
pub(super) struct Sampled {
    /// Importance samples for each.
    pub samples: usize,
    pub binarize: Binarize,
}

/// What takes the time of an evaluation.
const ELBO: &str = "elbo and L_K";

/// The bounds of the model on data that it takes.
///
/// # Errors
/// Those of the device, a bound that is not finite.
pub(super) fn evaluated(saved: &Saved, data: &Arc<Dataset>, how: Sampled, common: &Common) -> Result<Evaluation> {
    let (evaluator, mut backend) = opened(saved, data, how, &common.device_at_hand()?)?;
    follow(common, ELBO, data.rows(), |watch| evaluator.run(&mut *backend, data, common.seed, watch))
}

/// A device with the model and the data, laid out for an evaluation.
fn opened(saved: &Saved, data: &Arc<Dataset>, how: Sampled, device: &Device) -> Result<(Evaluator, Box<dyn Backend>)> {
    let evaluator = Evaluator::new(&saved.run.model, how.samples, how.binarize, data.rows());
    let backend = saved.place(evaluator.network(), data, device)?;
    Ok((evaluator, backend))
}

/// Does it, and shows how far it is.
fn follow<T>(
    common: &Common,
    what: &'static str,
    examples: usize,
    work: impl FnOnce(&mut dyn FnMut(f64) -> Result<()>) -> Result<T>,
) -> Result<T> {
    let mut working = Working::new(common, what, examples);
    work(&mut |part| {
        working.part(part);
        Ok(())
    })
}

/// Fewer effective samples an example tell that hardly one has a weight, and that their spread does not show it.
const FEW: f64 = 3.0;
/// Of fewer samples there could be no more, whatever the proposal.
const ENOUGH: usize = 10;

fn is_far_too_low(l: &LogLikelihood) -> bool {
    l.samples >= ENOUGH && l.effective_samples < FEW
}

fn table(data: &Dataset, e: &Evaluation, others: &[(&str, LogLikelihood)], in_file: Option<Estimate>) -> String {
    let line = |name: &str, e: Estimate| format!("{name:<12} {}", with_error(e));
    let of_log_p = |name: String, l: &LogLikelihood| {
        let (error, effective) = (l.monte_carlo_error, l.effective_samples);
        let few = if is_far_too_low(l) { ", so few that it is far too low" } else { "" };
        let low = (-l.bias).max(0.0);
        let of = format!("effective samples {effective:.1} of {}{few}", l.samples);
        let heavy = match l.heavy.unwrap_or(0) {
            0 => String::new(),
            n => {
                let (n, of) = (thousands(n as f64), counted(e.examples, "example"));
                format!("; k̂ above {:.2} in {n} of {of}", tail::threshold(l.samples))
            }
        };
        let drawn = format!("   of it by sampling {error:.4}; too low by about {low:.4}; {of}{heavy}");
        format!("{}{}", line(&name, l.bound), if l.samples > 1 { drawn } else { String::new() })
    };
    let mut kl: Vec<f64> = e.kl_per_dim.clone();
    kl.sort_by(|a, b| b.total_cmp(a));
    let kl = kl.iter().map(|kl| format!("{kl:.2}")).collect::<Vec<_>>().join(" ");
    let mut lines = vec![
        format!("{}: {}, nats per example ± standard error", data.name, counted(e.examples, "example")),
        line("elbo", e.elbo),
        line("nll", e.nll),
        line("kl", e.kl),
        of_log_p(format!("L_{}", e.iwae.samples), &e.iwae),
    ];
    lines.extend(others.iter().map(|(name, l)| of_log_p(format!("{name}_{}", l.samples), l)));
    let units = |l| format!("{}   L_{} as a density in the units of the file", line("of the file", l), e.iwae.samples);
    lines.extend(in_file.map(units));
    lines.push(format!("active units {:>6} of {}", e.active_units, e.kl_per_dim.len()));
    lines.push(format!("kl per dimension, largest first: {kl}"));
    lines.join("\n")
}

fn json(e: &Evaluation, others: &[(&str, LogLikelihood)], in_file: Option<Estimate>, to: Option<&Path>) -> Value {
    let mut json = Map::new();
    let mut put = |name: String, value: Value| json.insert(name, value);
    put("examples".into(), json!(e.examples));
    if !e.left_out.is_empty() {
        put("left_out".into(), json!(e.left_out));
    }
    for (name, estimate) in [("elbo", e.elbo), ("nll", e.nll), ("kl", e.kl)] {
        put(name.into(), json!(estimate.mean));
        put(format!("{name}_error"), json!(estimate.error));
    }
    for (name, l) in [("iwae", &e.iwae)].into_iter().chain(others.iter().map(|(name, l)| (*name, l))) {
        put(name.into(), json!(l.bound.mean));
        put(format!("{name}_error"), json!(l.bound.error));
        put(format!("{name}_monte_carlo_error"), json!(l.monte_carlo_error));
        put(format!("{name}_bias"), json!(l.bias));
        put(format!("{name}_effective_samples"), json!(l.effective_samples));
        if let Some(heavy) = l.heavy {
            put(format!("{name}_heavy_tailed"), json!(heavy));
        }
    }
    if let Some(l) = in_file {
        put("iwae_in_units_of_file".into(), json!(l.mean));
    }
    if let Some(to) = to {
        put("to".into(), json!(to.display().to_string()));
    }
    put("samples".into(), json!(e.iwae.samples));
    put("active_units".into(), json!(e.active_units));
    put("kl_per_dim".into(), json!(e.kl_per_dim));
    put("variance_of_mean".into(), json!(e.variance_of_mean));
    Value::Object(json)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Measured where log p(x) is known, of linear models with gaps and without: 2.0 of 300 samples, 2.3 of 5000 and 1.9 of 100 were
    /// 34, 29 and 4 nats below it.
    #[test]
    fn few_effective_samples_of_many_tell_that_an_estimate_is_low() {
        let of = |effective_samples, samples| {
            is_far_too_low(&LogLikelihood { effective_samples, samples, ..LogLikelihood::default() })
        };
        assert!(of(2.0, 300) && of(2.3, 5000) && of(1.9, 100));
        assert!(!of(1.3, 2) && !of(5.5, 100) && !of(12.4, 1000));
    }
}
