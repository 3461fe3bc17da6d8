//! `vae-gpu info`
use super::{Common, print};
use crate::Result;
use crate::config::name_of;
use crate::device::Device;
use clap::Args;

/// Says what was found on this machine, what is missing, and where a run with these options would compute
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
    // Its notes are what `gpu` has said.
    let chosen = Device::find(&args.common.device, args.common.precision).map(|(device, _)| device);
    // All that was found helps where what was asked for is not there; where it cannot be, nothing does.
    let chosen = match chosen {
        Err(e) if e.exit_code() == 2 => return Err(e),
        chosen => chosen,
    };
    if args.common.json {
        print(serde_json::json!({
            "version": env!("CARGO_PKG_VERSION"),
            "cpu": { "threads": threads, "vectors": vectors },
            "gpu": gpu,
            "device": chosen.as_ref().ok().map(|device| &device.name),
            "precision": chosen.as_ref().ok().map(|device| name_of(device.numbers)),
        }))?;
    } else {
        let gpu: String = gpu.iter().map(|line| format!("\ngpu      {line}")).collect();
        let device = match &chosen {
            Ok(device) => format!("\nruns on  {}, {}", device.name, name_of(device.numbers)),
            Err(_) => String::new(),
        };
        print(format!(
            "vae-gpu {}\ncpu      {threads} threads, vectors {vectors}{gpu}{device}",
            env!("CARGO_PKG_VERSION")
        ))?;
    }
    chosen.map(|_| ())
}

/// Driver, devices and cuBLAS, a line each; what is missing, with what would fix it.
fn gpu() -> Vec<String> {
    #[cfg(feature = "cuda")]
    return crate::device::cuda::Report::look().to_string().lines().map(String::from).collect();
    #[cfg(not(feature = "cuda"))]
    return vec!["this build has no CUDA: build it with --features cuda".into()];
}
