//! `vae-gpu mixture`
use super::output::{Kept, Output, Table, beside_lines, can_make};
use super::progress::Working;
use super::{Common, counted, file_of, held_out_part, loading, own_test, print, with_error};
use crate::config::{Numbers, Source, name_of};
use crate::data::{Asked, Columns, Dataset, Header, List, Missing};
use crate::estimate::Estimate;
use crate::evaluate::same_columns;
use crate::mixture::em::{self, Fit, Settings};
use crate::mixture::{Config, Covariance, Mixture};
use crate::plot::grid;
use crate::{Error, Result, host};
use clap::Args;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What it writes into its directory.
const FILES: [&str; 3] = ["mixture.safetensors", "means.png", "samples.png"];
/// Draws in samples.png.
const SAMPLES: usize = 64;

/// Fits a mixture of Gaussians by expectation maximisation, on the CPU in f64
#[derive(Args)]
#[command(
    allow_negative_numbers = true,
    mut_arg("device", |device| device.help("auto or cpu: it is fitted on the CPU")),
    mut_arg("precision", |precision| precision.default_value("f64").help("f64, and no other")),
    after_help = "Examples:\n  \
    vae-gpu mixture                                            the built-in digits, 10 components\n  \
    vae-gpu mixture --data table.csv --components 5 --covariance full --valid-fraction 0.1\n  \
    vae-gpu mixture --data faces.idx.gz --components 1 --covariance full --out runs/faces\n  \
    vae-gpu mixture --start runs/faces/mixture.safetensors --data other.idx.gz --iterations 0 --out runs/other\n  \
    vae-gpu mixture --start runs/mixture/mixture.safetensors --data new.csv --iterations 0 --to of-each.csv\n\n\
    Writes mixture.safetensors (weights, means, variances or covariances; the largest weight first, or in the order of \
    --start), means.png in that order, and samples.png. The log-likelihood is that of a density, in nats per example with its standard error: it depends on \
    the scale of the data. Bytes count as byte / 255.\n\n\
    With --to a table has a row for each example: log p(x); the component it most probably belongs to, by its place in \
    mixture.safetensors, counted from 0; and how probable each is."
)]
pub(crate) struct MixtureArgs {
    /// idx, npy, npz (sparse too), safetensors, png or csv, or a folder of png, told by content; FILE.npz:NAME is one of several arrays; digits, built in, if
    /// not given
    #[arg(long, value_name = "FILE")]
    data: Option<String>,
    /// Data to hold the fit against
    #[arg(long, value_name = "FILE", conflicts_with = "valid_fraction")]
    valid: Option<String>,
    /// The part of the data that is held out to hold the fit against, as 0.1
    #[arg(long, value_name = "F")]
    valid_fraction: Option<f64>,
    /// Columns of the data to fit: positions, ranges and names of a header, as age,height,3..7; all if not given
    #[arg(long, value_name = "COLUMNS")]
    columns: Option<List>,
    /// Columns to leave out, of all or of --columns
    #[arg(long, value_name = "COLUMNS")]
    skip_columns: Option<List>,
    /// Whether the first line of a csv is the names of its columns: yes, no, or auto, which tells by its words and numbers
    #[arg(long, value_enum, default_value = "auto", hide_possible_values = true, value_name = "WHETHER")]
    header: Header,
    /// Where mixture.safetensors and the pictures go; runs/mixture if not given, and nowhere where nothing is fitted: with
    /// --start, --iterations 0 and --to
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Writes into a directory that holds a mixture already, and replaces the file of --to where it exists
    #[arg(long)]
    force: bool,
    /// An .npy, or a .csv: what each example of --data belongs to, (N, 2 + K)
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    #[command(flatten)]
    kept: Kept,
    /// How many Gaussians
    #[arg(long, value_name = "K", default_value_t = 10)]
    components: usize,
    /// diag (a variance for each column) or full
    #[arg(long, value_enum, default_value = "diag", hide_possible_values = true)]
    covariance: Covariance,
    /// Rounds of expectation maximisation at most
    #[arg(long, value_name = "N", default_value_t = 200)]
    iterations: usize,
    /// Ends where the mean log-likelihood changes by less, in nats per example (scikit-learn's tol)
    #[arg(long, value_name = "NATS", default_value_t = 1e-3)]
    tolerance: f64,
    /// Starts by k-means++, of which the most likely fit is kept; of a table the first, third, ... measure each column by its own
    /// spread, the others as it stands
    #[arg(long, value_name = "N", default_value_t = 3)]
    restarts: usize,
    /// Added to every variance (scikit-learn's reg_covar); if not given, to those of each column 0.001 of its own variance in
    /// the data; of a column that never changes, and of pictures, whose columns are of one unit, 0.001 of the mean variance
    #[arg(long, value_name = "VARIANCE")]
    floor: Option<f64>,
    /// Goes on from a mixture.safetensors in place of k-means++
    #[arg(long, value_name = "FILE", conflicts_with_all = ["components", "covariance", "restarts"])]
    start: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

impl MixtureArgs {
    fn settings(&self) -> Settings {
        Settings {
            components: self.components,
            covariance: self.covariance,
            iterations: self.iterations,
            tolerance: self.tolerance,
            restarts: self.restarts,
            floor: self.floor,
            one_unit: false,
            seed: self.common.seed,
        }
    }

    /// The data, and to go on from a mixture those of its columns.
    fn source(&self, start: Option<&Config>) -> Result<Source> {
        let train = self.data.clone().unwrap_or("digits".into());
        let valid = self.valid.clone().or(own_test(&train, self.valid_fraction));
        let valid_fraction = held_out_part(self.valid_fraction)?;
        let (take, skip) = (self.columns.clone(), self.skip_columns.clone());
        let asked = Columns::asked(Asked { take, skip, header: self.header, ..Asked::default() });
        let (known, bytes) = start.map_or((None, None), |start| (start.columns.clone(), start.bytes));
        if let (Some(_), Some(known)) = (&asked, known.as_ref().filter(|known| !known.names.is_empty())) {
            return Err(Error::request(format!(
                "columns: the mixture of --start is of {}, which are taken by their names; leave out --columns, \
                 --skip-columns and --header",
                known.listed_names()
            )));
        }
        Ok(Source { valid, valid_fraction, columns: asked.or(known), bytes, ..Source::new(train, 0) })
    }

    /// Where it writes a mixture, if it fits one.
    fn out(&self) -> Option<PathBuf> {
        let fits = self.start.is_none() || self.iterations > 0 || self.to.is_none();
        self.out.clone().or(fits.then(|| "runs/mixture".into()))
    }

    /// A directory that holds one of its files, and a run's samples.png is one, is not written into unasked.
    fn check_out(&self) -> Result<()> {
        let Some(out) = self.out() else { return Ok(()) };
        match FILES.iter().find(|name| out.join(name).exists()) {
            Some(name) if !self.force => Err(Error::request(format!(
                "out {}: holds {name} already; pass another --out, or --force to replace it",
                out.display()
            ))),
            _ => Ok(()),
        }
    }

    /// Where the table of all examples goes.
    fn table(&self) -> Result<Option<(&Path, Table)>> {
        let Some(to) = &self.to else { return Ok(None) };
        beside_lines(to)?;
        if let Some(part) = self.valid_fraction {
            return Err(Error::request(format!(
                "to {}: --valid-fraction {part} takes part of the rows away; leave one of them out, or write the table \
                 afterwards, with --start and --iterations 0",
                to.display()
            )));
        }
        let (_, table) = Output::new(to.clone(), self.force).table(&self.common)?;
        Ok(Some((to, table)))
    }

    /// The threads, and nothing else of a device: it is always the CPU, in f64.
    fn open(&self) -> Result<()> {
        if self.common.precision != Numbers::F64 {
            let precision = name_of(self.common.precision);
            return Err(Error::request(format!(
                "precision {precision}: a mixture is fitted in f64; pass --precision f64, or leave it out"
            )));
        }
        let device = &self.common.device;
        if device.starts_with("cuda") {
            return Err(Error::request(format!(
                "device {device}: a mixture is fitted on the CPU; pass --device cpu, or leave it out"
            )));
        }
        let device = if device == "auto" { "cpu".into() } else { device.clone() };
        Common { device, ..self.common.clone() }.device().map(|_| ())
    }
}

pub(crate) fn run(args: &MixtureArgs) -> Result<()> {
    args.check_out()?;
    let (out, table) = (args.out(), args.table()?);
    args.open()?;
    let start = args.start.as_ref().map(|path| Mixture::read(path)).transpose()?;
    let mut source = args.source(start.as_ref().map(|(_, config)| config))?;
    let start = start.map(|(mixture, _)| mixture);
    let (data, valid) = loading::load(&mut source, Missing::Never, loading::Reading::First)?;
    if let Some(valid) = &valid {
        same_columns(valid, data.cols, "--data")?;
    }
    let mut settings = args.settings();
    if let Some(start) = &start {
        same_columns(&data, start.cols(), "the data of --start")?;
        settings = Settings { components: start.components(), covariance: start.covariance, ..settings };
    }
    settings.one_unit = data.shape.is_some();
    settings.check(data.rows())?;
    let what = format!("{}: {} rows of {} columns in f64", data.name, data.rows(), data.cols);
    host::check_memory(8 * data.rows() as u128 * data.cols as u128, &what, "give fewer examples")?;
    let x = rows(&data);

    let names = of_each_names(settings.components);
    let (file, is_csv) = ((file_of(&source.train), 0.0), matches!(table, Some((_, Table::Csv))));
    let front = args.kept.front_of(file, &source.known_columns(), is_csv, (data.rows(), 1), &names)?;

    out.as_deref().map_or(Ok(()), can_make)?;
    let goes = [&out, &args.to].into_iter().flatten().map(|path| path.display().to_string()).collect::<Vec<_>>();
    args.common.say(format!(
        "{}: {} of {}; {}, {} covariance; writing to {}",
        data.name,
        counted(data.rows(), "example"),
        data.cols,
        counted(settings.components, "component"),
        name_of(settings.covariance),
        goes.join(" and "),
    ));
    [Some(&data), valid.as_ref()].into_iter().flatten().for_each(|data| args.common.tell(data));
    let clock = Instant::now();
    let fit = follow(args, &x, data.cols, start, &settings)?;
    let seconds = clock.elapsed().as_secs_f64();

    let config = Config {
        components: settings.components,
        covariance: settings.covariance,
        input: data.cols,
        shape: data.shape,
        data: source.train,
        columns: source.columns,
        bytes: source.bytes,
        floor: settings.floor,
        seed: settings.seed,
    };
    if let Some(out) = &out {
        std::fs::create_dir_all(out).map_err(|e| {
            Error::failed(format!("cannot make the directory {}: {e}; pass another --out", out.display()))
        })?;
        fit.mixture.write(&out.join(FILES[0]), &config)?;
        draw(out, args.common.seed, &fit.mixture, &data)?;
    }
    if let Some((path, table)) = table {
        table.write(path, &of_each(&fit, &x)?, &names, front)?;
    }
    let on_valid = match &valid {
        Some(valid) => Some(Likelihood::of(&fit.mixture.log_likelihoods(&rows(valid))?)),
        None => None,
    };
    report(args, &fit, &config, seconds, on_valid)
}

fn rows(data: &Dataset) -> Vec<f64> {
    let mut row = vec![0f32; data.cols];
    let mut all = Vec::with_capacity(data.rows() * data.cols);
    for i in 0..data.rows() {
        data.row(i, &mut row);
        all.extend(row.iter().map(|&x| f64::from(x)));
    }
    all
}

/// Fits, and says how it goes: a line at the end of every restart, and now and then in between.
fn follow(args: &MixtureArgs, x: &[f64], cols: usize, start: Option<Mixture>, settings: &Settings) -> Result<Fit> {
    let restarts = if start.is_some() { 1 } else { settings.restarts };
    let each = settings.iterations + 1;
    let mut working = Working::new(&args.common, "mixture", x.len() / cols * each * restarts).at_most();
    let mut last: Option<String> = None;
    let mut watch = |restart: usize, iteration: usize, mean: f64| {
        if iteration == 0
            && let Some(line) = last.take()
        {
            working.line(&line);
        }
        let line = format!("start {}, iteration {iteration:>4}: {mean:.4} nats per example", restart + 1);
        // The last part is not told: whether it converges is not known here.
        working.part_with((restart * each + iteration) as f64 / (restarts * each) as f64, &line);
        last = Some(line);
    };
    let fit = match start {
        Some(start) => em::fit_from(x, start, settings, &mut watch)?,
        None => em::fit(x, cols, settings, &mut watch)?,
    };
    if let Some(line) = last {
        working.line(&line);
    }
    Ok(fit)
}

/// The columns of the table of all examples.
fn of_each_names(components: usize) -> Vec<String> {
    let each = (0..components).map(|k| format!("p(z = {k})"));
    ["log p(x)", "component"].into_iter().map(String::from).chain(each).collect()
}

/// Its rows.                                                                                             (N, 2 + K)
fn of_each(fit: &Fit, x: &[f64]) -> Result<Vec<f32>> {
    let r = fit.mixture.responsibilities(x)?;
    let row = |(log_p, r): (&f64, &[f64])| {
        // The first of several that are as probable.
        let best = (0..r.len()).rev().max_by(|&i, &j| r[i].total_cmp(&r[j])).unwrap_or(0);
        [*log_p, best as f64].into_iter().chain(r.iter().copied()).map(|x| x as f32).collect::<Vec<f32>>()
    };
    Ok(fit.log_likelihoods.iter().zip(r.chunks(fit.mixture.components())).flat_map(row).collect())
}

/// Both pictures on the scale of the data.
fn draw(out: &Path, seed: u64, mixture: &Mixture, data: &Dataset) -> Result<()> {
    let is_table = data.shape.is_none() && !data.columns.names.is_empty();
    let shape = if is_table { (1, data.cols).into() } else { grid::shape_for(data.cols, data.shape) };
    let some = data.first(1000).to_rows();
    let picture = |name: &str, values: Vec<f64>| {
        let mut tiles: Vec<f32> = values.into_iter().map(|x| x as f32).collect();
        grid::by_first([&mut some.clone(), &mut tiles], shape);
        let count = tiles.len() / data.cols;
        grid::write_png(&out.join(name), &tiles, shape, grid::columns_for(count, shape))
    };
    picture(FILES[1], mixture.means.clone())?;
    picture(FILES[2], mixture.sample(SAMPLES, seed)?.0)
}

/// log p(x) over a data set, in nats per example.
struct Likelihood {
    examples: usize,
    of_each: Estimate,
}

impl Likelihood {
    fn of(log_p: &[f64]) -> Likelihood {
        Likelihood { examples: log_p.len(), of_each: Estimate::of(log_p) }
    }
    fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "examples": self.examples,
            "log_likelihood": self.of_each.mean,
            "log_likelihood_error": self.of_each.error,
        })
    }
    fn line(&self, part: &str) -> String {
        format!("{part:<6} log p(x)  {}   {}", with_error(self.of_each), counted(self.examples, "example"))
    }
}

fn report(args: &MixtureArgs, fit: &Fit, config: &Config, seconds: f64, valid: Option<Likelihood>) -> Result<()> {
    let train = Likelihood::of(&fit.log_likelihoods);
    let (iterations, empty) = (fit.trace.len() - 1, fit.mixture.empty());
    if args.common.json {
        return print(serde_json::json!({
            "out": args.out().map(|out| out.display().to_string()),
            "config": config,
            "iterations": iterations,
            "converged": fit.converged,
            "restart": fit.restart,
            "seconds": seconds,
            "empty": empty,
            "weights": fit.mixture.weights,
            "trace": fit.trace,
            "train": train.json(),
            "valid": valid.as_ref().map(Likelihood::json),
        }));
    }
    let ending = if fit.converged { "converged" } else { "not yet converged, --iterations was reached" };
    let empty = match empty {
        0 => String::new(),
        1 => "; 1 component is empty".into(),
        n => format!("; {n} components are empty"),
    };
    if args.iterations > 0 {
        args.common.say(format!(
            "start {}: {}, {ending}{empty}; {seconds:.1} s in all",
            fit.restart + 1,
            counted(iterations, "iteration")
        ));
    }
    print(format!("nats per example ± standard error\n{}", train.line("train")))?;
    match valid {
        Some(valid) => print(valid.line("valid")),
        None => Ok(()),
    }
}
