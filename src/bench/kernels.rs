//! The operations of a step, one by one, and the launches that a GPU makes of them, each as a step would run it and beside
//! a copy of as many bytes.
use super::probe::{Probes, means};
use super::{Case, Protocol, Running, quantile};
use crate::Result;
use crate::check;
use crate::config::Numbers;
use crate::step::Step;

/// One operation, or one launch, measured.
#[derive(Clone, Debug)]
pub struct Line {
    pub name: String,
    pub us: f64,
    /// What it reads and writes, once each. Of a launch, without the data set.
    pub bytes: f64,
    /// What a copy of as many bytes takes, launched as it is, in microseconds.
    pub copy_us: f64,
}

impl Line {
    pub fn gb_per_s(&self) -> f64 {
        self.bytes / self.us / 1e3
    }
}

/// A case, taken apart: each part in the order in which a step runs it.
pub struct Parts {
    pub operations: Vec<Line>,
    /// Neighbours among the operations share a launch where one kernel does for both. None: nothing is launched.
    pub launches: Option<Vec<Line>>,
}

/// Times the operations of one case, and the launches of its step.
///
/// # Errors
/// Those of the device.
pub fn run(case: &Case, protocol: Protocol, probes: &mut Probes) -> Result<Parts> {
    case.check()?;
    let step = Step { lr: case.optimizer.lr, ..Step::batch(protocol.seed, case.batch) };
    let (network, mut running) = (case.network(), Running::open(case, protocol)?);
    let width = if case.device.numbers == Numbers::F64 { 8.0 } else { 4.0 };
    let launch = probes.launch(&case.device)?.unwrap_or(0.0);
    let mut lines = vec![];
    for item in check::items(&network, &case.optimizer) {
        // Fills the memory with what a step leaves there: what an operation before added up many times may not be finite, and
        // then there would be no update to time.
        running.train(1)?;
        running.backend.set_step(&step)?;
        let us = quantile(&means(&mut *running.backend, 2e3, &*item.run)?, 0.5);
        let elements: usize = item.inputs.iter().chain(&item.outputs).map(|v| v.elements()).sum();
        lines.push((item.name, us, width * elements as f64));
    }
    drop(running);
    // Anew: an operation that adds, or updates, was run many times.
    let mut running = Running::open(case, protocol)?;
    running.train(1)?;
    let launches = match running.backend.gauge() {
        Some(gauge) => gauge.launches(&step)?,
        None => None,
    };
    drop(running);
    let mut line = |(name, us, bytes)| {
        let rate = probes.copy(&case.device, bytes)?;
        Ok(Line { name, us, bytes, copy_us: launch + bytes / rate * 1e6 })
    };
    let operations = lines.into_iter().map(&mut line).collect::<Result<_>>()?;
    let launches = launches.map(|all| all.into_iter().map(|l| line((l.name, l.us, l.bytes))).collect());
    Ok(Parts { operations, launches: launches.transpose()? })
}
