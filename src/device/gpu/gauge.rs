//! How fast a GPU is: for benches.
use super::calls::{Call, Noting};
use super::{Gpu, NONE};
use crate::Result;
use crate::arena::{RING, View};
use crate::device::driver::{Driver, Grid, Precision};
use crate::device::kernels::{self, In, Out16};
use crate::device::{Gauge, Launch, Work};
use crate::step::Step;
use std::time::Instant;

/// How long a launch is repeated, at least and at most.
const LONG: f64 = 2e3; // microseconds
const OFTEN: usize = 500;

impl<D: Driver> Gpu<D> {
    /// Microseconds for `work` once: `times` of it are one graph, replayed once to warm up, and once more.
    fn time_captured(&mut self, times: usize, work: impl Fn(&mut Self) -> Result<()>) -> Result<f64> {
        self.step = None;
        self.driver.begin_capture()?;
        let recorded = (0..times).try_for_each(|_| work(self));
        let ended = self.driver.end_capture();
        recorded.and(ended)?;
        self.driver.replay(1)?;
        self.driver.download(0..1)?; // waits
        let clock = Instant::now();
        self.driver.replay(1)?;
        self.driver.download(0..1)?;
        let elapsed = clock.elapsed();
        self.driver.forget();
        Ok(elapsed.as_secs_f64() * 1e6 / times as f64)
    }

    /// What the step of training that ran last asks of its driver, and whether that runs beside the rest.
    fn calls(&mut self) -> Result<Vec<(Call, bool)>> {
        let Some((tape, optimizer, _)) = self.step.take() else { return Ok(vec![]) };
        let Gpu { scratch, sums, aside, data, unseen, library, without, stacks, .. } = *self;
        let (fresh, step) = (self.fresh.clone(), None);
        let driver = Noting { driver: &mut self.driver, calls: vec![], beside: false };
        let mut noting = Gpu { driver, scratch, sums, aside, data, fresh, unseen, library, without, stacks, step };
        noting.driver.begin_capture()?;
        let noted = noting.planned_step(&tape, &optimizer);
        let ended = noting.driver.end_capture();
        noted.and(ended)?;
        noting.driver.forget();
        Ok(noting.driver.calls)
    }
}

impl<D: Driver> Gauge for Gpu<D> {
    fn plan(&self) -> &'static str {
        "graph"
    }

    fn launches_per_step(&self) -> Result<Option<usize>> {
        match self.step {
            Some((_, _, true)) => self.driver.captured().map(Some),
            _ => Ok(None),
        }
    }

    fn launches(&mut self, step: &Step) -> Result<Option<Vec<Launch>>> {
        let operand = if self.driver.precision() == Precision::Bf16 { 2 } else { 4 };
        // However often it updates them, parameters stay as they are.
        let steps = vec![Step { lr: 0.0, ..*step }; RING];
        let mut launches = vec![];
        for (call, beside) in self.calls()? {
            let mut mean = |times| {
                self.plan(&steps)?;
                self.time_captured(times, |gpu| call.again(&mut gpu.driver))
            };
            let times = ((LONG / mean(1)?.max(1e-3)) as usize).clamp(1, OFTEN);
            let mut means = (0..3).map(|_| mean(times)).collect::<Result<Vec<f64>>>()?;
            means.sort_by(f64::total_cmp);
            let name = call.name() + if beside { ", beside" } else { "" };
            launches.push(Launch { name, bytes: call.bytes(operand), us: means[1] });
        }
        Ok(Some(launches))
    }

    fn time(&mut self, times: usize, work: &Work) -> Result<f64> {
        work(self)?; // libraries choose their kernels, and take their memory
        self.time_captured(times, |gpu| work(gpu))
    }

    fn copy(&mut self, dst: View, src: View) -> Result<()> {
        self.changed(dst);
        self.driver.copy(dst.offset, src.offset, src.padded().len())
    }

    fn idle_launch(&mut self, launches: usize) -> Result<Option<f64>> {
        let none = View { cols: 4, stride: 8, ..NONE };
        let idle = |gpu: &mut Self| kernels::cast(&mut gpu.driver, Grid::line(128, 256), Out16(none), In(none));
        self.time_captured(launches, idle).map(Some)
    }
}
