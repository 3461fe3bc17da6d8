//! `vae-gpu grad`
use super::Common;
use super::output::{Output, wrote};
use crate::Result;
use crate::case::Case;
use crate::tensors::Width;
use clap::Args;
use std::path::PathBuf;

/// Runs one forward and backward pass of a case file, to compare with another framework
#[derive(Args)]
#[command(
    mut_arg("to", |to| to.help("Where the result goes")),
    after_help = "A case is a safetensors file with param.*, x (B, D), eps (B, K, Z) and the model as JSON under the \
    metadata key config; the result has out.nll, out.kl, out.bound, out.loss and grad.*, in float64.\n\n\
    Example:\n  vae-gpu grad case.safetensors --precision f64 --to result.safetensors"
)]
pub(crate) struct GradArgs {
    /// A case file
    case: PathBuf,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn run(args: &GradArgs) -> Result<()> {
    let path = args.output.path()?;
    let case = Case::read(&args.case)?;
    let device = args.common.device_at_hand()?;
    let network = &case.network;
    let mut backend = device.open(network.layout(), network.tape.batch)?;
    case.run(&mut *backend)?.write(path, Width::F64)?;
    wrote(&args.common, path, None)
}
