//! `vae-gpu check`
use super::{Common, print};
use crate::check::Subject;
use crate::checkpoint::Saved;
use crate::{Error, Result, check};
use clap::Args;
use std::path::PathBuf;

/// Compares every operation on this device with the reference on the CPU: a table of errors
#[derive(Args)]
#[command(after_help = "Examples:\n  vae-gpu check --device cuda\n  vae-gpu check runs/digits --precision bf16")]
pub(crate) struct CheckArgs {
    /// A run directory, or a model.safetensors, whose shapes to check; those of the papers and odd ones if not given
    model: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn run(args: &CheckArgs) -> Result<()> {
    let device = args.common.device()?;
    let subjects = match &args.model {
        None => check::subjects(),
        Some(path) => {
            let run = Saved::read(path)?.run;
            let (batch, optimizer, binarize) = (run.training.batch, run.training.optimizer, run.data.binarize);
            vec![Subject { model: run.model, batch, optimizer, binarize }]
        }
    };
    if !args.common.json {
        print(format!(
            "{:<26} {:<40} {:>9} {:>9} {:>10} {:>9}",
            device.name, "operation", "error", "allowed", "µs", "GB/s"
        ))?;
    }
    let (mut checked, mut failed) = (0, 0);
    for subject in subjects {
        for line in check::run(&device, &subject)? {
            checked += 1;
            failed += !line.passes() as usize;
            if args.common.json {
                print(serde_json::json!({
                    "model": line.model, "op": line.op, "error": line.error, "tolerance": line.tolerance,
                    "us": line.microseconds, "gb_per_s": line.gb_per_s, "passes": line.passes(),
                }))?;
                continue;
            }
            let verdict = if line.passes() { "" } else { "  OUT OF TOLERANCE" };
            print(format!(
                "{:<26} {:<40} {:>9.1e} {:>9.0e} {:>10.1} {:>9.1}{verdict}",
                line.model, line.op, line.error, line.tolerance, line.microseconds, line.gb_per_s
            ))?;
        }
    }
    match failed {
        0 => {
            args.common.say(format!("{checked} operations within tolerance"));
            Ok(())
        }
        _ => Err(Error::failed(format!("{failed} of {checked} operations are out of tolerance on {}", device.name))),
    }
}
