//! How fast a GPU is: for benches.
use super::{Gpu, NONE};
use crate::Result;
use crate::arena::View;
use crate::device::driver::{Driver, Grid};
use crate::device::kernels::{self, In, Out16};
use crate::device::{Gauge, Work};
use std::time::Instant;

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
