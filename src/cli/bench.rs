//! `vae-gpu bench`
use super::options::ModelArgs;
use super::{Common, Part, dataset, print, thousands};
use crate::bench::floor::Floor;
use crate::bench::probe::Probes;
use crate::bench::{self, Case, Preset, Protocol, Report, Work, kernels};
use crate::config::{Binarize, Model, Numbers, Objective, Optimizer, Rule, name_of};
use crate::data::{Dataset, Missing};
use crate::device::{Device, Shortcut, Variant};
use crate::error::at_least_one;
use crate::evaluate::fits;
use crate::{Error, Result};
use clap::{Args, ValueEnum};
use serde_json::json;
use std::sync::Arc;

/// Measures how long a step of training takes, and how near that is to what the machine can do
#[derive(Args)]
#[command(
    long_about = "Measures how long a step of training takes: median and quartiles of interleaved repeats, after a \
                  warm-up, on data that is resident, and random if none is given. Beside it, measured now too, stands \
                  what a step cannot go below: its arithmetic at the rate of a large product, or on the CPU of \
                  multiply-adds alone, its bytes at the rate of a copy, its launches at the time of one that does \
                  nothing; the longest of the three is the floor. MFU is the part of that rate of arithmetic. Zeros of \
                  the data are counted, also where the CPU leaves them out. Lists make every combination a case.",
    after_help = "Examples:\n  \
                  vae-gpu bench --preset aevb,iwae\n  \
                  vae-gpu bench --batch 100,1024,8192 --precision fp32,tf32,bf16 --device cuda\n  \
                  vae-gpu bench --input 64 --hidden 256,128 --latent 8 --device cpu,cuda --json\n  \
                  vae-gpu bench --data digits --preset aevb --batch 100,1024      of digits four pixels in five are 0\n  \
                  vae-gpu bench kernels --preset aevb --device cuda      each operation, and each launch, beside a copy"
)]
pub(crate) struct BenchArgs {
    /// Whole steps if not given; kernels: each operation of a step, each launch, and what the floor rests on
    #[arg(value_enum, value_name = "kernels", hide_possible_values = true)]
    what: Option<What>,
    /// aevb (784-500-20), iwae (784-200-200-50, k = 1, 5, 50), wide (4096-4096-4096-256) or small (64-64-8), or several
    #[arg(long, value_enum, value_delimiter = ',', value_name = "NAMES", hide_possible_values = true)]
    #[arg(conflicts_with_all = ["ModelArgs", "input", "objective"])]
    preset: Vec<Preset>,
    /// Examples in a step; the preset's, or 100
    #[arg(long, value_delimiter = ',', value_name = "N,N")]
    batch: Vec<usize>,
    /// Latent samples for each example; the preset's, or 1
    #[arg(long, value_delimiter = ',', value_name = "K,K")]
    samples: Vec<usize>,
    /// cpu, cuda, cuda:N or auto
    #[arg(long, value_delimiter = ',', value_name = "DEVICES", default_value = "auto")]
    device: Vec<String>,
    /// f64 (CPU only), fp32, tf32 or bf16 (GPU only)
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PRECISIONS", default_value = "fp32")]
    #[arg(hide_possible_values = true)]
    precision: Vec<Numbers>,
    /// Beside each GPU the same where cuBLAS may add in any order: what it costs that two runs give the same bits
    #[arg(long)]
    any_order: bool,
    /// Beside each GPU the same with the fastest of cuBLAS's first eight algorithms for each product, timed: what it gives
    #[arg(long)]
    timed: bool,
    /// Beside each GPU the same without this shortcut, or each of several: what library, split, copies, branch, update,
    /// nll or latent gives
    #[arg(long, value_enum, value_delimiter = ',', value_name = "NAMES", hide_possible_values = true)]
    without: Vec<Shortcut>,
    /// Beside each GPU the same with a small batch's whole pass, forward and backward, in one launch of clusters: no GPU
    /// has run it yet, so trainings do without
    #[arg(long)]
    stacked: bool,
    /// How often each case is measured
    #[arg(long, value_name = "N", default_value_t = 7)]
    repeats: usize,
    /// How long one measurement is, at least
    #[arg(long, value_name = "S", default_value_t = 0.2)]
    seconds: f64,
    /// How many numbers an example has
    #[arg(long, value_name = "N", default_value_t = 784, conflicts_with = "data")]
    input: usize,
    /// What is learned from: a file as train takes it, or digits or moving, the built-in ones; random numbers if not given
    #[arg(long, value_name = "FILE")]
    data: Option<String>,
    /// Makes zeros and ones of grey values: none, threshold, dynamic; the preset's (iwae: dynamic), or none
    #[arg(long, value_enum, hide_possible_values = true, value_name = "HOW")]
    binarize: Option<Binarize>,
    /// elbo, elbo-mc or iwae
    #[arg(long, value_enum, default_value = "elbo", hide_possible_values = true)]
    objective: Objective,
    /// sgd, momentum, adagrad, adam or adamw
    #[arg(long, value_enum, default_value = "adam", hide_possible_values = true)]
    optimizer: Rule,
    /// Learning rate
    #[arg(long, default_value_t = 1e-3)]
    lr: f64,
    /// Fixes all randomness
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
    /// Threads on the CPU; all cores if not given
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Prints a line of JSON for each case on stdout, and nothing else there
    #[arg(long)]
    json: bool,
    /// Says nothing but what was asked for
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    model: ModelArgs,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum What {
    Kernels,
}

impl BenchArgs {
    fn common(&self, device: &str, precision: Numbers) -> Common {
        let (seed, threads, json, quiet) = (self.seed, self.threads, self.json, self.quiet);
        Common { device: device.into(), precision, seed, threads, json, quiet }
    }

    fn protocol(&self) -> Protocol {
        Protocol { repeats: self.repeats, seconds: self.seconds, init: self.model.init, seed: self.seed }
    }

    /// What is measured beside a device.
    fn variants(&self, device: &Device) -> Vec<Device> {
        let any_order = self.any_order.then_some(Variant::AnyOrder);
        let timed = self.timed.then_some(Variant::Timed);
        // Each is for products in one precision.
        let changes = |shortcut: &Shortcut| match shortcut {
            Shortcut::Split => device.numbers == Numbers::Fp32,
            Shortcut::Copies => device.numbers == Numbers::Bf16,
            _ => true,
        };
        let without = self.without.iter().copied().filter(changes).map(Variant::Without);
        let stacked = self.stacked.then_some(Variant::Stacked);
        let variants = any_order.into_iter().chain(timed).chain(without).chain(stacked);
        if device.is_host() { vec![] } else { variants.map(|v| device.with(v)).collect() }
    }

    /// Each device in each precision that it has.
    fn devices(&self) -> Result<Vec<Device>> {
        let mut devices = vec![];
        for choice in &self.device {
            for &numbers in &self.precision {
                let common = self.common(choice, numbers);
                let gpu_only = matches!(numbers, Numbers::Tf32 | Numbers::Bf16);
                let lacks = if choice == "cpu" { gpu_only } else { choice != "auto" && numbers == Numbers::F64 };
                // Of one device, a precision that it does not have is a wrong request; of several, no case.
                if lacks && self.device.len() > 1 {
                    common.say(format!("{choice}: {} left out", name_of(numbers)));
                    continue;
                }
                let device = common.device()?;
                if !devices.contains(&device) {
                    let variants = self.variants(&device);
                    devices.push(device);
                    devices.extend(variants);
                }
            }
        }
        let beside = [
            ("any-order", self.any_order),
            ("timed", self.timed),
            ("without", !self.without.is_empty()),
            ("stacked", self.stacked),
        ];
        match beside.into_iter().find(|(_, asked)| *asked) {
            _ if devices.is_empty() => {
                Err(Error::request("precision: none of these devices has it; pass --precision fp32"))
            }
            Some((option, _)) if devices.iter().all(Device::is_host) => {
                Err(Error::request(format!("{option}: needs a GPU, and no device here is one; leave it out")))
            }
            _ => Ok(devices),
        }
    }

    /// Every combination of model, samples, batch, device and precision.
    fn cases(&self) -> Result<Vec<Case>> {
        let optimizer = Optimizer { lr: self.lr, ..Optimizer::new(self.optimizer) };
        optimizer.check()?;
        let data = match &self.data {
            Some(path) => Some(Arc::new(dataset(path, Part::Train, None, self.model.bytes(), Missing::Refuse)?)),
            None => None,
        };
        let works = self.works(data.as_deref())?;
        let devices = self.devices()?;
        let mut cases = vec![];
        for Work { model, samples, batch, binarize } in &works {
            let samples = if self.samples.is_empty() { samples } else { &self.samples };
            let batches = if self.batch.is_empty() { &vec![*batch] } else { &self.batch };
            let binarize = self.binarize.unwrap_or(*binarize);
            binarize.fits(model, true)?;
            for (&samples, &batch) in samples.iter().flat_map(|k| batches.iter().map(move |b| (k, b))) {
                let model = Model { samples, ..model.clone() };
                let case = |device: &Device| {
                    let (model, data, device) = (model.clone(), data.clone(), device.clone());
                    Case { model, batch, binarize, data, optimizer, device }
                };
                cases.extend(devices.iter().map(case));
            }
        }
        cases.iter().try_for_each(Case::check)?; // all of them before the first is measured
        Ok(cases)
    }

    /// The presets, or what the model's own options say, each of which can learn from the data.
    fn works(&self, data: Option<&Dataset>) -> Result<Vec<Work>> {
        let learns =
            |model: &Model, like: &str, remedy: &str| data.map_or(Ok(()), |data| fits(model, data, like, remedy));
        if self.preset.is_empty() {
            let model = self.model.model(data.map_or(self.input, |data| data.cols))?;
            let model = Model { objective: self.objective, ..model };
            learns(&model, "--data", "pass --likelihood gaussian")?;
            return Ok(vec![Work { model, samples: vec![1], batch: 100, binarize: Binarize::None }]);
        }
        let works: Vec<Work> = self.preset.iter().map(|preset| preset.work()).collect();
        for (work, &preset) in works.iter().zip(&self.preset) {
            learns(&work.model, &format!("the preset {}", name_of(preset)), "leave --preset out")?;
        }
        Ok(works)
    }
}

pub(crate) fn run(args: &BenchArgs) -> Result<()> {
    at_least_one("input", args.input, "--input 784")?;
    at_least_one("repeats", args.repeats, "--repeats 7")?;
    let seconds = args.seconds;
    if !(seconds > 0.0 && seconds <= 3600.0) {
        return Err(Error::request(format!(
            "seconds {seconds}: must be more than 0 and at most 3600; pass --seconds 0.2"
        )));
    }
    let cases = args.cases()?;
    let mut probes = Probes::default();
    match args.what {
        Some(What::Kernels) => operations(args, &cases, &mut probes),
        None => steps(args, &cases, &mut probes),
    }
}

fn steps(args: &BenchArgs, cases: &[Case], probes: &mut Probes) -> Result<()> {
    let widest = |f: &dyn Fn(&Case) -> String| cases.iter().map(|c| f(c).chars().count()).max().unwrap_or(0);
    let columns = [widest(&|c| bench::name(&c.model)).max(5), widest(&|c| c.device.name.clone()).max(6)];
    if !args.json {
        let titles = [
            "model",
            "batch",
            "k",
            "device",
            "numbers",
            "plan",
            "µs/step",
            "quartiles",
            "examples/s",
            "launches",
            "host µs",
            "GFLOP/step",
            "MFU",
            "MB/step",
            "of the floor",
        ];
        print(row(titles.map(String::from), columns))?;
    }
    bench::run(cases, args.protocol(), probes, &mut |r| match args.json {
        true => print(object(&r)),
        false => print(row(cells(&r), columns)),
    })?;
    args.common("", Numbers::Fp32).say(figures(cases, probes)?.join("\n"));
    Ok(())
}

/// A line of the table; `columns` are the widths of model and device.
fn row(cells: [String; 15], [model, device]: [usize; 2]) -> String {
    let [name, batch, k, place, numbers, plan, us, quartiles, rate, launches, host, flop, mfu, bytes, floor] = cells;
    format!(
        "{name:<model$} {batch:>6} {k:>3}  {place:<device$} {numbers:<7} {plan:<5} {us:>9} {quartiles:>19} {rate:>11} \
         {launches:>8} {host:>7} {flop:>10} {mfu:>5} {bytes:>8} {floor:>14}"
    )
}

fn cells(r: &Report) -> [String; 15] {
    let [low, mid, high] = [0.25, 0.5, 0.75].map(|q| r.quantile(q));
    let or_none = |value: Option<String>| value.unwrap_or("-".into());
    [
        bench::name(&r.case.model),
        r.case.batch.to_string(),
        r.case.model.samples.to_string(),
        r.case.device.name.clone(),
        name_of(r.case.device.numbers),
        r.plan.into(),
        format!("{mid:.1}"),
        format!("{low:.1} to {high:.1}"),
        thousands(r.examples_per_s()),
        or_none(r.launches.map(|n| n.to_string())),
        or_none(r.host_us.map(|us| format!("{us:.1}"))),
        format!("{:.3}", r.flops / 1e9),
        format!("{:.1}%", 100.0 * r.mfu()),
        format!("{:.1}", r.bytes / 1e6),
        format!("{:.0}%, {}", r.percent_of_floor(), r.floor.by()),
    ]
}

fn object(r: &Report) -> serde_json::Value {
    let Floor { product, memory, launches } = r.floor;
    json!({
        "model": bench::name(&r.case.model),
        "batch": r.case.batch,
        "samples": r.case.model.samples,
        "binarize": name_of(r.case.binarize),
        "data": r.case.data.as_ref().map_or("random", |data| &data.name),
        "device": r.case.device.name,
        "precision": name_of(r.case.device.numbers),
        "plan": r.plan,
        "us_per_step": r.quantile(0.5),
        "us_p25": r.quantile(0.25),
        "us_p75": r.quantile(0.75),
        "examples_per_s": r.examples_per_s(),
        "flops_per_step": r.flops,
        "launches_per_step": r.launches,
        "host_us_per_step": r.host_us,
        "bytes_per_step": r.bytes,
        "mfu": r.mfu(),
        "peak_tflops": r.peak / 1e12,
        "floor_us": r.floor.us(),
        "floor_by": r.floor.by(),
        "floor_product_us": product,
        "floor_memory_us": memory,
        "floor_launches_us": launches,
        "percent_of_floor": r.percent_of_floor(),
        "optimizer": name_of(r.case.optimizer.rule),
        "objective": name_of(r.case.model.objective),
        "repeats": r.repeats,
    })
}

/// What the floors rest on, a line for each device in each precision.
fn figures(cases: &[Case], probes: &mut Probes) -> Result<Vec<String>> {
    let mut lines: Vec<String> = vec![];
    for Case { device, .. } in cases {
        let product = probes.product(device)? / 1e12;
        let launch = probes.launch(device)?.map(|us| format!(", a launch in a graph {us:.2} µs")).unwrap_or_default();
        let fma =
            probes.fma(device).map(|fma| format!(" of {:.3} in multiply-adds alone", fma / 1e12)).unwrap_or_default();
        let (name, numbers) = (&device.name, name_of(device.numbers));
        let line = format!("{name} {numbers}: product {product:.3} TFLOP/s{fma}{launch}");
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    Ok(lines)
}

fn operations(args: &BenchArgs, cases: &[Case], probes: &mut Probes) -> Result<()> {
    let mut probed: Vec<&Device> = vec![];
    for case in cases {
        let (device, precision) = (&case.device, name_of(case.device.numbers));
        if !probed.contains(&device) {
            probed.push(device);
            basis(args, device, &precision, probes)?;
        }
        let (model, batch, samples) = (bench::name(&case.model), case.batch, case.model.samples);
        let parts = kernels::run(case, args.protocol(), probes)?;
        if args.json {
            let kinds = [("op", parts.operations), ("launch", parts.launches.unwrap_or_default())];
            for (kind, line) in kinds.iter().flat_map(|(kind, lines)| lines.iter().map(move |line| (kind, line))) {
                print(json!({
                    "model": model, "batch": batch, "samples": samples, "device": device.name, "precision": precision,
                    *kind: line.name, "us": line.us, "bytes": line.bytes, "gb_per_s": line.gb_per_s(),
                    "copy_us": line.copy_us,
                }))?;
            }
            continue;
        }
        print(format!("\n{model}, batch {batch}, k {samples}, {} {precision}", device.name))?;
        table("operation", &parts.operations)?;
        if let Some(launches) = parts.launches {
            print("")?;
            table("launch of a step", &launches)?;
            let all: f64 = launches.iter().map(|l| l.us).sum();
            print(format!("{:<WHAT$} {all:>10.2}", format!("{} launches, one after the other", launches.len())))?;
        }
    }
    Ok(())
}

/// Columns for what is measured.
const WHAT: usize = 60;

fn table(what: &str, lines: &[kernels::Line]) -> Result<()> {
    print(format!("{what:<WHAT$} {:>10} {:>9} {:>10} {:>7}", "µs", "GB/s", "a copy, µs", ""))?;
    for line in lines {
        let part = format!("{:.0}%", 100.0 * line.copy_us / line.us);
        let (name, us, rate, copy) = (&line.name, line.us, line.gb_per_s(), line.copy_us);
        print(format!("{name:<WHAT$} {us:>10.2} {rate:>9.1} {copy:>10.2} {part:>7}"))?;
    }
    Ok(())
}

/// What a floor rests on, measured.
fn basis(args: &BenchArgs, device: &Device, precision: &str, probes: &mut Probes) -> Result<()> {
    let product = probes.product(device)? / 1e12;
    let fma = probes.fma(device).map(|fma| fma / 1e12);
    let launch = probes.launch(device)?;
    let copies = probes.copies(device)?;
    if args.json {
        let copies: Vec<_> =
            copies.iter().map(|(bytes, rate)| json!({"bytes": bytes, "gb_per_s": rate / 1e9})).collect();
        return print(json!({
            "device": device.name, "precision": precision, "product_tflops": product, "fma_tflops": fma,
            "launch_us": launch, "copies": copies,
        }));
    }
    print(format!("{} {precision}", device.name))?;
    print(format!("{:<WHAT$} {product:>10.3} TFLOP/s", "the largest matrix product"))?;
    if let Some(fma) = fma {
        print(format!("{:<WHAT$} {fma:>10.3} TFLOP/s", "multiply-adds alone"))?;
    }
    if let Some(us) = launch {
        print(format!("{:<WHAT$} {us:>10.2} µs", "a launch in a graph that does nothing"))?;
    }
    for (bytes, rate) in copies {
        let what = format!("a copy, {} MiB from and to", bytes >> 20);
        print(format!("{what:<WHAT$} {:>10.1} GB/s", rate / 1e9))?;
    }
    Ok(())
}
