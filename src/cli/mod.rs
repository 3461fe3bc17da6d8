//! The command line. One file per command; this one parses and reports. The only room that prints.
use crate::config::{Numbers, name_of};
use crate::data::{Bytes, Columns, Dataset, Missing, Unknown, digits, moving};
use crate::device::Device;
use crate::error::a_part;
use crate::{Error, Result};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;

mod bench;
mod check;
mod columns_told;
mod compare;
mod completions;
mod condition;
mod config_file;
mod decode;
mod encode;
mod eval;
mod forecast;
mod grad;
mod impute;
mod info;
mod interpolate;
mod job;
mod judge;
mod likelihoods;
mod loading;
mod manifold;
mod mixture;
mod numbers;
mod options;
mod out;
mod output;
mod progress;
mod rank;
mod reconstruct;
mod report;
mod sample;
mod signals;
mod sweep;
mod table;
mod told;
mod train;
mod traverse;
mod unused;
mod words;
pub(crate) use words::{counted, thousands, with_error};

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
                  vae-gpu sweep --grid latent=2,10,50 --grid beta=1,4    all combinations, and one table of them\n  \
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
    Sweep(Box<sweep::SweepArgs>),
    Compare(compare::CompareArgs),
    Eval(eval::EvalArgs),
    Rank(rank::RankArgs),
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
    Completions(completions::CompletionsArgs),
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
    /// Prints JSON on stdout, and nothing else there: one object, or of several things one a line
    #[arg(long)]
    json: bool,
    /// Says nothing but what was asked for, and where that could not be had
    #[arg(long, short)]
    quiet: bool,
}

impl Common {
    /// Finds the device, once, and says what was chosen.
    fn device(&self) -> Result<Device> {
        let (device, notes) = Device::find(&self.device, self.precision)?;
        self.say_of(&device, &notes);
        Ok(device)
    }

    /// The same for a run that began elsewhere, maybe in an arithmetic that the CPU does not have: it goes on there in fp32.
    fn device_to_go_on(&self) -> Result<Device> {
        match (self.device.as_str(), self.precision) {
            ("cpu", Numbers::Tf32 | Numbers::Bf16) => {
                self.say(format!("{} needs a GPU; going on in fp32", name_of(self.precision)));
                Common { precision: Numbers::Fp32, ..self.clone() }.device()
            }
            _ => self.device(),
        }
    }

    /// The same for a command that takes a moment: that `auto` came to be the CPU is no news each time.
    fn device_at_hand(&self) -> Result<Device> {
        let (device, notes) = Device::find(&self.device, self.precision)?;
        if self.device != "auto" || self.precision != Numbers::Fp32 {
            self.say_of(&device, &notes);
        }
        Ok(device)
    }

    /// What is to be said of a device: also to who wants it quiet, where the arithmetic is another than was asked for.
    fn say_of(&self, device: &Device, notes: &[String]) {
        let quiet = self.quiet && device.numbers == self.precision;
        notes.iter().for_each(|note| Common { quiet, ..self.clone() }.say(note));
    }

    /// What was understood of data that may have been meant otherwise.
    fn tell(&self, data: &Dataset) {
        data.notes.iter().filter(|_| !self.json).for_each(|note| self.say(note));
    }

    /// A line for the user, unless it should be quiet.
    fn say(&self, line: impl std::fmt::Display) {
        if !self.quiet {
            // A closed stderr is no reason to stop.
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    }
}

/// No machine has more cores, and to start as many takes longer than to train.
const MOST_THREADS: usize = 1024;

/// Starts the threads of `--threads`, before a command does anything: built-in data are made by them.
///
/// # Errors
/// The system gives fewer.
fn start_threads(given: &ArgMatches) -> Result<()> {
    let asked = given.subcommand().map(|(_, given)| given.try_get_one::<usize>("threads"));
    let Some(Ok(asked)) = asked else { return Ok(()) }; // a command that computes nothing
    if asked == Some(&0) {
        return Err(Error::request("threads 0: must be at least 1; pass --threads 2"));
    }
    if let Some(threads) = asked.filter(|&&threads| threads > MOST_THREADS) {
        return Err(Error::request(format!("threads {threads}: must be at most {MOST_THREADS}; pass --threads 2")));
    }
    let threads = asked.copied().unwrap_or(0); // 0: as many as there are cores
    match rayon::ThreadPoolBuilder::new().num_threads(threads).build_global() {
        // Where they run already, which only a caller of the library can bring about, it has no source.
        Err(e) if std::error::Error::source(&e).is_some() => {
            Err(Error::failed(format!("threads: cannot be started: {e}; pass --threads 1, or allow more memory")))
        }
        _ => Ok(()),
    }
}

/// Prints to stdout. A reader that went away (`| head`) has what it wanted.
pub(crate) fn print(text: impl std::fmt::Display) -> Result<()> {
    writeln!(std::io::stdout(), "{text}").or_else(unless_gone)
}

/// Why stdout could not be written, unless its reader went away.
fn unless_gone(cause: std::io::Error) -> Result<()> {
    match cause.kind() {
        std::io::ErrorKind::BrokenPipe => Ok(()),
        _ => Err(Error::failed(format!("cannot write to stdout: {cause}"))),
    }
}

/// The data sets that the program makes itself, by the names that stand for paths.
pub(crate) const BUILT_IN: [&str; 2] = ["digits", "moving"];

/// The file that data are in, if they are not built in.
fn file_of(data: &str) -> Option<&Path> {
    (!BUILT_IN.contains(&data)).then_some(Path::new(data))
}

/// Some or all columns of a data set by its path, or of a built-in one by its name. `bytes`: what its bytes shall stand for,
/// where that is known.
pub(crate) fn dataset(
    path: &str,
    part: Part,
    columns: Option<&Columns>,
    bytes: Option<Bytes>,
    missing: Missing,
) -> Result<Dataset> {
    let read = match (path, part) {
        ("digits", Part::Train) => digits::train(),
        ("digits", Part::Test) => digits::test(),
        ("moving", Part::Train) => moving::train(),
        ("moving", Part::Test) => moving::test(),
        _ => Dataset::read_columns(Path::new(path), columns, missing)?,
    };
    match columns {
        Some(columns) if BUILT_IN.contains(&path) => read.with_columns(columns)?,
        _ => read,
    }
    .with_bytes(bytes)
}

/// Built-in data bring their own test set, to validate on unless a part is held out.
pub(crate) fn own_test(path: &str, valid_fraction: Option<f64>) -> Option<String> {
    (BUILT_IN.contains(&path) && valid_fraction.is_none()).then(|| path.to_string())
}

/// The part of the data that is held out; 0 if none was asked for.
pub(crate) fn held_out_part(valid_fraction: Option<f64>) -> Result<f64> {
    let Some(part) = valid_fraction else { return Ok(0.0) };
    a_part("valid-fraction", part, "--valid-fraction 0.1").map(|()| part)
}

/// Which part of a built-in data set.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Part {
    Train,
    Test,
}

/// The data that `--data` names; without it, the test part of what the model was trained on, if that is built in.
pub(crate) fn data_for(
    run: &crate::config::Run,
    data: &Option<String>,
    missing: Missing,
    unknown: Unknown,
) -> Result<Dataset> {
    let (columns, bytes) = (Columns { unknown: Some(unknown), ..run.data.known_columns() }, run.data.bytes);
    let columns = Some(&columns);
    match (data, run.data.train.as_str()) {
        (Some(path), _) => dataset(path, Part::Test, columns, bytes, missing),
        (None, built_in) if BUILT_IN.contains(&built_in) => dataset(built_in, Part::Test, columns, bytes, missing),
        (None, trained) => {
            let held_out = run.data.valid.is_some() || run.data.valid_fraction > 0.0;
            let or = if held_out { ", or --held-out for its validation part" } else { "" };
            Err(Error::request(format!(
                "data: not given, and the model was trained on {trained}; pass --data FILE{or}"
            )))
        }
    }
}

/// The first `count` examples, or all if there are fewer: then the same, and no copy.
pub(crate) fn first(data: Arc<Dataset>, count: usize) -> Arc<Dataset> {
    if count < data.rows() { Arc::new(data.first(count)) } else { data }
}

/// The whole command line. What a `--config` says, a later option says anew.
fn command() -> clap::Command {
    let of_train = |command: clap::Command| command.args_override_self(true);
    numbers::with_sentences(Cli::command()).mut_subcommand("train", of_train).mut_subcommand("sweep", of_train)
}

/// The file of options that repeats a training, or a sweep.
fn repeating(command: &clap::Command, given: &clap::ArgMatches) -> String {
    match given.subcommand().map(|(name, given)| (command.find_subcommand(name), given)) {
        Some((Some(command), given)) => config_file::repeating(command, given),
        _ => String::new(),
    }
}

/// Runs the program; its exit code.
pub fn main() -> u8 {
    #[cfg(unix)]
    signals::survive_file_size_limit();
    let command = command();
    let args = match config_file::expand(std::env::args_os().collect(), &command) {
        Ok(args) => args,
        Err(e) => return ended(Err(e)),
    };
    let given =
        command.clone().try_get_matches_from(args).and_then(|given| Ok((Cli::from_arg_matches(&given)?, given)));
    let (cli, given) = match given {
        Ok(given) => given,
        Err(e) => {
            // clap knows what is an error and what was asked for (--help).
            let printed = e.print();
            if e.use_stderr() {
                return 2;
            }
            return ended(printed.or_else(unless_gone));
        }
    };
    // Of a sweep each combination is asked.
    let of_one = given.subcommand().filter(|(name, _)| *name != "sweep");
    let used = of_one.map_or(Ok(()), |(_, given)| unused::refuse(given));
    let done = used.and_then(|()| start_threads(&given)).and_then(|()| match cli.command {
        Command::Train(args) => {
            let by_user =
                |option| of_one.is_some_and(|(_, given)| given.value_source(option) == Some(ValueSource::CommandLine));
            let length = by_user("epochs") || by_user("steps");
            let anew = train::Anew { length, patience: by_user("patience"), on_nan: by_user("on_nan") };
            train::run(&args, &repeating(&command, &given), anew)
        }
        Command::Sweep(args) => sweep::run(&args, &command, &given),
        Command::Compare(args) => compare::run(&args),
        Command::Eval(args) => eval::run(&args),
        Command::Rank(args) => rank::run(&args),
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
        Command::Completions(args) => completions::run(&args, command.clone()),
    });
    ended(done)
}

/// Says what went wrong, if anything did; the exit code.
fn ended(done: Result<()>) -> u8 {
    match done {
        Ok(()) => 0,
        Err(e) => {
            let plain = !std::io::stderr().is_terminal() || std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
            let bold = if plain { ("", "") } else { ("\x1b[1;31m", "\x1b[0m") };
            let _ = writeln!(std::io::stderr(), "{}vae-gpu:{} {e}", bold.0, bold.1);
            e.exit_code()
        }
    }
}
