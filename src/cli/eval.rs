//! `vae-gpu eval`
use super::{Common, data_for, print, thousands};
use crate::checkpoint::Saved;
use crate::config::Binarize;
use crate::evaluate::{Estimate, Evaluator, check_data};
use crate::{Error, Result};
use clap::Args;
use std::path::PathBuf;

/// Computes the elbo and its parts, the importance bound, active units
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    vae-gpu eval runs/digits\n  \
    vae-gpu eval runs/mnist --data t10k-images-idx3-ubyte.gz --samples 5000 --json\n\n\
    Every number has its standard error over the examples. A unit is active where the variance over x of E_q[z] is \
    above 0.01.")]
pub(crate) struct EvalArgs {
    /// A run directory, or a model.safetensors
    model: PathBuf,
    /// What to evaluate on; for a model of the built-in digits, their test part if not given
    #[arg(long, value_name = "FILE")]
    data: Option<String>,
    /// Importance samples for each example
    #[arg(long, value_name = "K", default_value_t = 1)]
    samples: usize,
    /// none, threshold or dynamic; as in training if not given
    #[arg(long, value_enum, hide_possible_values = true)]
    binarize: Option<Binarize>,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn run(args: &EvalArgs) -> Result<()> {
    if args.samples == 0 {
        return Err(Error::request("samples 0: must be at least 1; pass --samples 1"));
    }
    let saved = Saved::read(&args.model)?;
    let data = data_for(&saved.run, &args.data)?;
    check_data(&saved, &data, "--data")?;
    let device = args.common.device()?;
    let binarize = args.binarize.unwrap_or(saved.run.data.binarize);
    let evaluator = Evaluator::new(&saved.run.model, args.samples, binarize);
    let n = evaluator.network();
    let mut backend = device.open(n.layout(), n.tape.batch)?;
    saved.load(n, &mut *backend)?;
    backend.load(&data)?;
    let e = evaluator.run(&mut *backend, &data, args.common.seed, &mut |_| Ok(()))?;
    if args.common.json {
        return print(e.to_json());
    }
    let line = |name: &str, e: Estimate| format!("{name:<12} {:>11.4} ± {:.4}", e.mean, e.error);
    let mut kl: Vec<f64> = e.kl_per_dim.clone();
    kl.sort_by(|a, b| b.total_cmp(a));
    let kl = kl.iter().map(|kl| format!("{kl:.2}")).collect::<Vec<_>>().join(" ");
    print(format!(
        "{}: {} examples, nats per example ± standard error\n{}\n{}\n{}\n{}\nactive units {:>6} of {}\nkl per dimension, largest first: {kl}",
        data.name,
        thousands(e.examples as f64),
        line("elbo", e.elbo),
        line("nll", e.nll),
        line("kl", e.kl),
        line(&format!("L_{}", e.samples), e.iwae),
        e.active_units,
        e.kl_per_dim.len(),
    ))
}
