//! `vae-gpu info`
use super::{Common, print};
use crate::Result;
use clap::Args;

/// Says what was found on this machine, and what is missing
#[derive(Args)]
pub(crate) struct InfoArgs {
    #[command(flatten)]
    common: Common,
}

pub(crate) fn run(args: &InfoArgs) -> Result<()> {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    let vectors = format!("{:?}", pulp::Arch::new());
    let vectors = vectors.split('(').next().unwrap_or("plain").to_string();
    if args.common.json {
        return print(serde_json::json!({
            "version": env!("CARGO_PKG_VERSION"),
            "cpu": { "threads": threads, "vectors": vectors },
        }));
    }
    print(format!("vae-gpu {}\ncpu      {threads} threads, vectors {vectors}", env!("CARGO_PKG_VERSION")))
}
