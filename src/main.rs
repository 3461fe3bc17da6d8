//! The program: parses, runs, prints what went wrong, exits with its code.
use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(vae_gpu::cli::main())
}
