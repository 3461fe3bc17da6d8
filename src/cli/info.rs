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
    let gpu = gpu();
    if args.common.json {
        return print(serde_json::json!({
            "version": env!("CARGO_PKG_VERSION"),
            "cpu": { "threads": threads, "vectors": vectors },
            "gpu": gpu,
        }));
    }
    let gpu: String = gpu.iter().map(|line| format!("\ngpu      {line}")).collect();
    print(format!("vae-gpu {}\ncpu      {threads} threads, vectors {vectors}{gpu}", env!("CARGO_PKG_VERSION")))
}

/// Driver, devices and cuBLAS, a line each; what is missing, with what would fix it.
fn gpu() -> Vec<String> {
    #[cfg(feature = "cuda")]
    return crate::device::cuda::Report::look().to_string().lines().map(String::from).collect();
    #[cfg(not(feature = "cuda"))]
    return vec!["this build has no CUDA: build it with --features cuda".into()];
}
