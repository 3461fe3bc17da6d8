//! The command line. One file per command; this one parses and reports. The only room that prints.
use crate::config::Numbers;
use crate::data::{Dataset, digits, moving};
use crate::device::Device;
use crate::{Error, Result};
use clap::parser::ValueSource;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;

mod bench;
mod check;
mod condition;
mod decode;
mod encode;
mod eval;
mod forecast;
mod grad;
mod impute;
mod info;
mod interpolate;
mod manifold;
mod mixture;
mod options;
mod progress;
mod reconstruct;
mod report;
mod sample;
mod signals;
mod train;
mod traverse;

#[derive(Parser)]
#[command(
    name = "vae-gpu",
    version,
    about = "Trains variational autoencoders on an NVIDIA GPU, or on the CPU",
    long_about = "Trains variational autoencoders (MLP encoder and decoder) on an NVIDIA GPU with hand-written kernels, \
                  or on the CPU, and computes what the papers define: the elbo and its parts, the importance bound, \
                  active units, samples, reconstructions, latents.",
    after_help = "Examples:\n  \
                  vae-gpu train                                          on built-in digits: nothing to download\n  \
                  vae-gpu train --data moving                            on two frames of a moving digit, built in as well\n  \
                  vae-gpu train --data train-images-idx3-ubyte.gz        on MNIST\n  \
                  vae-gpu train --data table.csv --likelihood gaussian --variance shared\n  \
                  vae-gpu eval runs/digits --samples 500                 the elbo, its parts, and L_500\n  \
                  vae-gpu sample runs/digits --to samples.png            what the model draws\n\n\
                  Likelihood-like numbers are nats per example. `vae-gpu help COMMAND` says what each command takes."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Train(Box<options::TrainArgs>),
    Eval(eval::EvalArgs),
    Sample(sample::SampleArgs),
    Reconstruct(reconstruct::ReconstructArgs),
    Report(report::ReportArgs),
    Interpolate(interpolate::InterpolateArgs),
    Manifold(manifold::ManifoldArgs),
    Traverse(traverse::TraverseArgs),
    Forecast(forecast::ForecastArgs),
    Impute(impute::ImputeArgs),
    Encode(encode::EncodeArgs),
    Decode(decode::DecodeArgs),
    Mixture(mixture::MixtureArgs),
    Grad(grad::GradArgs),
    Check(check::CheckArgs),
    Bench(bench::BenchArgs),
    Info(info::InfoArgs),
}

/// What every command takes.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Common {
    /// Where to compute: auto, cpu, cuda or cuda:N. auto takes a GPU if there is one
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    device: String,
    /// The arithmetic: f64 (CPU only), fp32, tf32 or bf16 (GPU only)
    #[arg(long, value_enum, default_value = "fp32", hide_possible_values = true, value_name = "PRECISION")]
    precision: Numbers,
    /// Fixes all randomness: initial weights, order of the examples, noise
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
    /// Threads on the CPU; all cores if not given. The result is the same
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Prints JSON on stdout, and nothing else there
    #[arg(long)]
    json: bool,
    /// Says nothing but what was asked for
    #[arg(long, short)]
    quiet: bool,
}

impl Common {
    /// Finds the device, once, and says what was chosen.
    fn device(&self) -> Result<Device> {
        if let Some(threads) = self.threads {
            if threads == 0 {
                return Err(Error::request("threads 0: must be at least 1; pass --threads 2"));
            }
            // Fails where the pool runs already, which only a caller of the library can bring about.
            let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
        }
        let (device, notes) = Device::find(&self.device, self.precision)?;
        notes.iter().for_each(|note| self.say(note));
        Ok(device)
    }

    /// A line for the user, unless it should be quiet.
    fn say(&self, line: impl std::fmt::Display) {
        if !self.quiet {
            // A closed stderr is no reason to stop.
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    }
}

/// Prints to stdout. A reader that went away (`| head`) has what it wanted.
pub(crate) fn print(text: impl std::fmt::Display) -> Result<()> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::failed(format!("cannot write to stdout: {e}")))
        }
        _ => Ok(()),
    }
}

/// The data sets that the program makes itself, by the names that stand for paths.
pub(crate) const BUILT_IN: [&str; 2] = ["digits", "moving"];

/// A data set by its path, or a built-in one by its name.
pub(crate) fn dataset(path: &str, part: Part) -> Result<Arc<Dataset>> {
    Ok(Arc::new(match (path, part) {
        ("digits", Part::Train) => digits::train(),
        ("digits", Part::Test) => digits::test(),
        ("moving", Part::Train) => moving::train(),
        ("moving", Part::Test) => moving::test(),
        _ => Dataset::read(Path::new(path))?,
    }))
}

/// Built-in data bring their own test set, to validate on unless a part is held out.
pub(crate) fn own_test(path: &str, valid_fraction: Option<f64>) -> Option<String> {
    (BUILT_IN.contains(&path) && valid_fraction.is_none()).then(|| path.to_string())
}

/// Which part of a built-in data set.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Part {
    Train,
    Test,
}

/// The data that `--data` names; without it, the test part of what the model was trained on, if that is built in.
pub(crate) fn data_for(model: &crate::config::Run, data: &Option<String>) -> Result<Arc<Dataset>> {
    match (data, model.data.train.as_str()) {
        (Some(path), _) => dataset(path, Part::Test),
        (None, built_in) if BUILT_IN.contains(&built_in) => dataset(built_in, Part::Test),
        (None, trained) => {
            Err(Error::request(format!("data: not given, and the model was trained on {trained}; pass --data FILE")))
        }
    }
}

/// 12345678 as 12,345,678.
pub(crate) fn thousands(n: f64) -> String {
    let digits = format!("{:.0}", n.max(0.0));
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// The options that stand on the command line, by name: those that have their default are not among them.
fn given(matches: Option<&clap::ArgMatches>) -> Vec<String> {
    let Some(matches) = matches else { return vec![] };
    let by_user = |id: &&clap::Id| matches.value_source(id.as_str()) == Some(ValueSource::CommandLine);
    matches.ids().filter(by_user).map(|id| id.to_string()).collect()
}

/// Runs the program; its exit code.
pub fn main() -> u8 {
    signals::survive_file_size_limit();
    let matches = match Cli::command().try_get_matches() {
        Ok(matches) => matches,
        Err(e) => {
            // clap knows what is an error and what was asked for (--help); a closed pipe is neither.
            let _ = e.print();
            return if e.use_stderr() { 2 } else { 0 };
        }
    };
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|e| e.exit());
    let done = match cli.command {
        Command::Train(args) => train::run(&args, &given(matches.subcommand_matches("train"))),
        Command::Eval(args) => eval::run(&args),
        Command::Sample(args) => sample::run(&args),
        Command::Reconstruct(args) => reconstruct::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Interpolate(args) => interpolate::run(&args),
        Command::Manifold(args) => manifold::run(&args),
        Command::Traverse(args) => traverse::run(&args),
        Command::Forecast(args) => forecast::run(&args),
        Command::Impute(args) => impute::run(&args),
        Command::Encode(args) => encode::run(&args),
        Command::Decode(args) => decode::run(&args),
        Command::Mixture(args) => mixture::run(&args),
        Command::Grad(args) => grad::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Info(args) => info::run(&args),
    };
    match done {
        Ok(()) => 0,
        Err(e) => {
            let bold = if std::io::stderr().is_terminal() { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
            let _ = writeln!(std::io::stderr(), "{}vae-gpu:{} {e}", bold.0, bold.1);
            e.exit_code()
        }
    }
}
