//! How long a step of training takes, case beside case. The data is resident, and random where none is given; the clock
//! stands around whole stretches as a training runs them, from planning the steps to having read their metrics.
//!
//! Repeats of all cases that fit into memory together are interleaved, A B C A B C, so that a drift of clocks or of the
//! machine's other work meets all of them. Prints nothing.
use crate::arena::{METRICS, RING};
use crate::check;
use crate::config::{Binarize, Init, Model, Numbers, Objective, Optimizer, name_of};
use crate::data::Dataset;
use crate::device::{Backend, Device};
use crate::estimate::quantile_of_sorted;
use crate::model::Network;
use crate::schedule::{Plan, Schedule};
use crate::step::Step;
use crate::{Error, Result, init};
use clap::ValueEnum;
use floor::Floor;
use probe::Probes;
use std::sync::Arc;
use std::time::Instant;

pub mod floor;
mod fma;
pub mod kernels;
pub mod probe;

/// The models of the papers, one that is all matrix product, and one that is hardly any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// 784-500-20-500-784, relu, batch 100 (Kingma & Welling 2014).
    Aevb,
    /// 784-200-200-50-200-200-784, tanh, k = 1, 5 and 50, batch 20, binarised anew at every use (Burda et al. 2016).
    Iwae,
    /// 4096-4096-4096-256-4096-4096-4096, relu, batch 8192.
    Wide,
    /// 64-64-8-64-64, relu, batch 100: a table, or one of many models.
    Small,
}

/// A model, and how it is trained where nothing else is asked for.
#[derive(Clone, Debug)]
pub struct Work {
    pub model: Model,
    /// Its numbers of samples, a case each.
    pub samples: Vec<usize>,
    pub batch: usize,
    pub binarize: Binarize,
}

impl Preset {
    pub fn work(self) -> Work {
        use crate::config::Activation::{Relu, Tanh};
        let work = |input, hidden: &[usize], latent, activation, batch| Work {
            model: Model { activation, ..Model::new(input, hidden, latent) },
            samples: vec![1],
            batch,
            binarize: Binarize::None,
        };
        match self {
            Preset::Aevb => work(784, &[500], 20, Relu, 100),
            Preset::Iwae => {
                let iwae = work(784, &[200, 200], 50, Tanh, 20);
                let model = Model { objective: Objective::Iwae, ..iwae.model };
                Work { model, samples: vec![1, 5, 50], binarize: Binarize::Dynamic, ..iwae }
            }
            Preset::Wide => work(4096, &[4096, 4096], 256, Relu, 8192),
            Preset::Small => work(64, &[64], 8, Relu, 100),
        }
    }
}

/// One thing to measure.
#[derive(Clone, Debug)]
pub struct Case {
    pub model: Model,
    pub batch: usize,
    pub binarize: Binarize,
    /// What it learns from; none: random bytes, or of counts and words what these can be.
    pub data: Option<Arc<Dataset>>,
    pub optimizer: Optimizer,
    pub device: Device,
}

/// How to measure.
#[derive(Clone, Copy, Debug)]
pub struct Protocol {
    pub repeats: usize,
    /// The least that a repeat takes. The warm-up takes two and a half times as long, and at least 200 steps if they
    /// fit into ten times as long.
    pub seconds: f64,
    pub init: Init,
    pub seed: u64,
}

/// What was measured of a case. Times are microseconds a step.
#[derive(Clone, Debug)]
pub struct Report {
    pub case: Case,
    pub plan: &'static str,
    /// One time for each repeat, in their order.
    pub repeats: Vec<f64>,
    /// How long the host was busy, or waited for room in the device's queue. None: it is the device.
    pub host_us: Option<f64>,
    /// None: nothing is launched on this device.
    pub launches: Option<usize>,
    pub flops: f64,
    pub bytes: f64,
    /// Operations a second that nothing exceeds, see `Probes::peak`: what `mfu` relates to.
    pub peak: f64,
    pub floor: Floor,
}

impl Report {
    /// The quartile: 0.25, 0.5 or 0.75.
    pub fn quantile(&self, q: f64) -> f64 {
        quantile(&self.repeats, q)
    }
    pub fn examples_per_s(&self) -> f64 {
        self.case.batch as f64 / self.quantile(0.5) * 1e6
    }
    /// Which part of the peak the arithmetic reaches.
    pub fn mfu(&self) -> f64 {
        self.flops / (self.quantile(0.5) * 1e-6) / self.peak
    }
    pub fn percent_of_floor(&self) -> f64 {
        100.0 * self.floor.us() / self.quantile(0.5)
    }
}

/// Between the two values around it, on the line.
pub fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    quantile_of_sorted(&sorted, q)
}

/// Cases are measured together as long as their states take no more than this.
const TOGETHER: f64 = 4e9; // bytes
/// The random data set has no more than this.
const DATA: usize = 256 << 20; // bytes

/// Measures all cases; each report as soon as it is complete, in their order.
///
/// # Errors
/// A model that cannot be, too little memory, a loss that is not finite, and those of `report`.
pub fn run(
    cases: &[Case],
    protocol: Protocol,
    probes: &mut Probes,
    report: &mut dyn FnMut(Report) -> Result<()>,
) -> Result<()> {
    cases.iter().try_for_each(Case::check)?;
    let mut rest = cases;
    while !rest.is_empty() {
        let mut bytes = 0.0;
        let together = rest.iter().take_while(|case| {
            bytes += case.bytes();
            bytes <= TOGETHER
        });
        let (group, after) = rest.split_at(together.count().max(1));
        // Before the group takes its memory.
        for case in group {
            probes.peak(&case.device)?;
            probes.launch(&case.device)?;
            probes.copy(&case.device, case.working_set())?;
        }
        let mut running = vec![];
        for case in group {
            let mut running_case = Running::open(case, protocol)?;
            running_case.warm_up(protocol.seconds)?;
            running.push(running_case);
        }
        for _ in 0..protocol.repeats {
            for case in &mut running {
                case.repeat(protocol.seconds)?;
            }
        }
        for case in running {
            report(case.report(probes)?)?;
        }
        rest = after;
    }
    Ok(())
}

impl Case {
    fn network(&self) -> Network {
        Network::training(&self.model, self.batch, self.binarize)
    }
    /// Of its state on the device.
    fn bytes(&self) -> f64 {
        let width = match self.device.numbers {
            Numbers::F64 => 8,
            Numbers::Fp32 | Numbers::Tf32 => 4,
            Numbers::Bf16 => 6,
        };
        (width * self.network().layout().total()) as f64
    }
    fn working_set(&self) -> f64 {
        floor::working_set(&self.model, self.batch, &self.optimizer, self.device.numbers)
    }
    /// Checks that it can be measured.
    ///
    /// # Errors
    /// A model that cannot be; less data than a batch has.
    pub fn check(&self) -> Result<()> {
        self.model.check()?;
        self.model.check_batch(self.batch)?;
        match &self.data {
            Some(data) if data.rows() < self.batch => {
                let (batch, name, rows) = (self.batch, &data.name, data.rows());
                Err(Error::request(format!("batch {batch}: {name} has {rows} examples; pass --batch {rows} or less")))
            }
            _ => Ok(()),
        }
    }
    /// What it learns from: if none is given, as much as MNIST is, if that is not too large.
    fn data(&self) -> Arc<Dataset> {
        let random = || {
            let rows = (DATA / self.model.input).min(60_000) / self.batch * self.batch;
            Arc::new(check::data_for(&self.model, rows.max(self.batch)))
        };
        self.data.clone().unwrap_or_else(random)
    }
}

/// A case in memory.
struct Running<'a> {
    case: &'a Case,
    network: Network,
    backend: Box<dyn Backend>,
    plan: Plan,
    /// The step that comes next.
    index: u32,
    /// Steps between two readings of the metrics.
    stretch: usize,
    /// Microseconds a step of each repeat, and the host's part.
    repeats: Vec<f64>,
    host: Vec<f64>,
}

/// How long a stretch took, in seconds: until everything was enqueued, and until its metrics were read.
struct Took {
    host: f64,
    all: f64,
}

impl<'a> Running<'a> {
    fn open(case: &'a Case, Protocol { init, seed, .. }: Protocol) -> Result<Running<'a>> {
        let network = case.network();
        let mut backend = case.device.open(network.layout(), case.batch)?;
        let data = case.data();
        let examples = data.rows() / case.batch * case.batch;
        backend.load(&data)?;
        init::parameters(&network, init, seed, &mut *backend)?;
        let plan = Plan {
            examples: examples as u32,
            batch: case.batch as u32,
            total: u32::MAX,
            seed,
            optimizer: case.optimizer,
            schedule: Schedule::Constant,
            lr_warmup: 0,
            beta: case.model.beta,
            kl_warmup: 0,
        };
        Ok(Running { case, network, backend, plan, index: 0, stretch: 1, repeats: vec![], host: vec![] })
    }

    /// So many steps, as `Trainer` runs them.
    fn train(&mut self, steps: usize) -> Result<Took> {
        let clock = Instant::now();
        let step = |slot: u32| Step { slot, ..self.plan.step(self.index + slot) };
        let planned: Vec<Step> = (0..steps as u32).map(step).collect();
        self.backend.train(&self.network.tape, &self.case.optimizer, &planned)?;
        let host = clock.elapsed().as_secs_f64();
        let metrics = self.backend.read(self.network.layout().metrics().slice(0..steps))?;
        let all = clock.elapsed().as_secs_f64();
        // After a loss that is not finite steps are skipped, and skipping is fast.
        if metrics.chunks(METRICS).any(|row| row[3] != 0.0) {
            let name = name(&self.case.model);
            return Err(Error::failed(format!("{name}: the loss is not finite; pass a smaller --lr")));
        }
        self.index += steps as u32;
        Ok(Took { host, all })
    }

    fn warm_up(&mut self, seconds: f64) -> Result<()> {
        // The first step is launched, the second captured: what they take says nothing.
        self.train(1)?;
        self.train(2)?;
        let clock = Instant::now();
        let (mut steps, mut busy) = (3, 0.0);
        while (busy < 2.5 * seconds || steps < 200) && busy < 10.0 * seconds {
            let per_step = self.train(self.stretch)?.all / self.stretch as f64;
            steps += self.stretch;
            self.stretch = ((seconds / per_step) as usize).min(2 * self.stretch).clamp(1, RING);
            busy = clock.elapsed().as_secs_f64();
        }
        Ok(())
    }

    fn repeat(&mut self, seconds: f64) -> Result<()> {
        let (mut steps, mut all, mut host) = (0, 0.0, 0.0);
        while steps == 0 || all < seconds {
            let took = self.train(self.stretch)?;
            steps += self.stretch;
            all += took.all;
            host += took.host;
        }
        self.repeats.push(all * 1e6 / steps as f64);
        self.host.push(host * 1e6 / steps as f64);
        Ok(())
    }

    fn report(mut self, probes: &mut Probes) -> Result<Report> {
        let case = self.case.clone();
        let gauge = self.backend.gauge();
        let (plan, launches) = match gauge {
            Some(gauge) => (gauge.plan(), gauge.launches_per_step()?),
            None => ("tape", None),
        };
        let (numbers, optimizer) = (case.device.numbers, &case.optimizer);
        let flops = floor::flops(&case.model, case.batch);
        let bytes = floor::bytes(&case.model, case.batch, optimizer, numbers);
        let peak = probes.peak(&case.device)?;
        let launch = probes.launch(&case.device)?.unwrap_or(0.0);
        let floor = Floor {
            product: flops / peak * 1e6,
            memory: bytes / probes.copy(&case.device, case.working_set())? * 1e6,
            launches: launches.unwrap_or(0) as f64 * launch,
        };
        let host_us = launches.map(|_| quantile(&self.host, 0.5));
        Ok(Report { case, plan, repeats: self.repeats, host_us, launches, flops, bytes, peak, floor })
    }
}

/// The preset that it is, or its widths from data to data.
pub fn name(m: &Model) -> String {
    let preset = |p: &&Preset| Model { samples: m.samples, ..p.work().model } == *m;
    Preset::value_variants().iter().find(preset).map_or_else(|| m.widths(), |&preset| name_of(preset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_between_the_values_around_them() {
        let values = [5.0, 1.0, 4.0, 2.0, 3.0];
        assert_eq!([0.0, 0.25, 0.5, 0.75, 1.0].map(|q| quantile(&values, q)), [1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(quantile(&[1.0, 2.0], 0.25), 1.25);
        assert_eq!(quantile(&[7.0], 0.75), 7.0);
    }
}
