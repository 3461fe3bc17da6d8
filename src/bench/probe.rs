//! The figures that a floor rests on, measured now on this device: a large matrix product in each precision, copies,
//! and a launch that does nothing. Each once for a device; memory is given back at once.
use super::{fma, quantile};
use crate::arena::{Layout, View};
use crate::check;
use crate::config::{Binarize, Numbers};
use crate::device::{Backend, Device, Gauge, Work};
use crate::step::Step;
use crate::tape::{Fetch, Order};
use crate::{Error, Result};
use std::collections::HashMap;
use std::sync::Arc;

/// What was measured so far.
#[derive(Default)]
pub struct Probes {
    /// Operations a second, by device and precision.
    products: HashMap<String, f64>,
    /// Of multiply-adds alone, on the CPU.
    fma: Option<f64>,
    /// Bytes a second, by device and the bytes of source and destination together.
    copies: HashMap<(String, usize), f64>,
    launches: HashMap<String, Option<f64>>,
}

/// A product and a copy go up in size until one takes this long.
const LONG: f64 = 1e3; // microseconds
/// A launch that takes longer is no GPU's.
const LAUNCH: f64 = 100.0; // microseconds
const PRODUCTS: [usize; 5] = [64, 256, 1024, 4096, 8192]; // the first for an emulator, which takes seconds for the second
/// Source and destination of a copy together.
const COPIES: (usize, usize) = (64 << 10, 512 << 20); // bytes

impl Probes {
    /// Floating-point operations a second of a square product, the best of some sizes. Comes first: what runs after it
    /// finds the clocks up.
    pub fn product(&mut self, device: &Device) -> Result<f64> {
        let key = format!("{} {:?}", device.name, device.numbers);
        if let Some(&rate) = self.products.get(&key) {
            return Ok(rate);
        }
        let mut best = 0f64;
        for n in PRODUCTS {
            let us = product(device, n)?;
            best = best.max(2.0 * (n as f64).powi(3) / us * 1e6);
            if us > LONG {
                break;
            }
        }
        self.products.insert(key, best);
        Ok(best)
    }

    /// Floating-point operations a second of multiply-adds alone: of a CPU in fp32.
    pub fn fma(&mut self, device: &Device) -> Option<f64> {
        let asked = device.is_host() && device.numbers == Numbers::Fp32;
        asked.then(|| *self.fma.get_or_insert_with(fma::rate))
    }

    /// Those that nothing exceeds: of multiply-adds alone where they can be had, else of the largest product.
    pub fn peak(&mut self, device: &Device) -> Result<f64> {
        let product = self.product(device)?;
        Ok(self.fma(device).map_or(product, |fma| fma.max(product)))
    }

    /// Microseconds for a launch that does nothing; None where nothing is launched.
    pub fn launch(&mut self, device: &Device) -> Result<Option<f64>> {
        if let Some(&us) = self.launches.get(&device.name) {
            return Ok(us);
        }
        let mut layout = Layout::inference();
        layout.activation(1, 1);
        let mut backend = device.open(&layout, 1)?;
        let gauge = gauge(&mut *backend)?;
        let mut times: Vec<f64> = gauge.idle_launch(2)?.into_iter().collect();
        // Where a launch takes long, its first is as good as the next.
        if times.iter().all(|&us| us < LAUNCH) {
            times.clear();
            for _ in 0..5 {
                times.extend(gauge.idle_launch(500)?);
            }
        }
        let us = if times.is_empty() { None } else { Some(quantile(&times, 0.5)) };
        self.launches.insert(device.name.clone(), us);
        Ok(us)
    }

    /// Bytes a second, read and written both counted, of a copy whose source and destination are as large as
    /// `working_set` bytes, so that it finds what a step finds of it in caches. What a launch takes is taken off.
    pub fn copy(&mut self, device: &Device, working_set: f64) -> Result<f64> {
        let bytes = (working_set as usize).next_power_of_two().clamp(COPIES.0, COPIES.1);
        let key = (device.name.clone(), bytes);
        if let Some(&rate) = self.copies.get(&key) {
            return Ok(rate);
        }
        let launch = self.launch(device)?.unwrap_or(0.0);
        let us = copy(device, bytes)?;
        let rate = bytes as f64 / (us - launch).max(us / 2.0) * 1e6;
        self.copies.insert(key, rate);
        Ok(rate)
    }

    /// Bytes and bytes a second of copies from small to large.
    pub fn copies(&mut self, device: &Device) -> Result<Vec<(usize, f64)>> {
        let mut copies = vec![];
        let mut bytes = 1 << 20;
        while bytes <= COPIES.1 {
            let rate = self.copy(device, bytes as f64)?;
            copies.push((bytes, rate));
            if bytes as f64 / rate * 1e6 > 10.0 * LONG {
                break;
            }
            bytes *= 8;
        }
        Ok(copies)
    }
}

/// Microseconds for y = x weightᵀ, all n × n and random.
fn product(device: &Device, n: usize) -> Result<f64> {
    let mut layout = Layout::inference();
    let (weight, bias) = (layout.weight(n, n), layout.parameter(1, n));
    let (x, y) = (layout.activation(n, n), layout.activation(n, n));
    let mut backend = device.open(&layout, n)?;
    backend.load(&Arc::new(check::data(n, n)))?;
    backend.set_step(&Step::batch(0, n))?;
    let whole = Fetch::new(Order::Sequential, Binarize::None);
    backend.gather(x, whole)?;
    backend.gather(weight, whole)?;
    let times = means(&mut *backend, 3e4, &|b| b.linear_forward(y, y, x, weight, bias, None))?;
    Ok(quantile(&times, 0.0)) // a peak: what disturbs it is not part of it
}

/// Microseconds for a copy, source and destination together of so many bytes.
fn copy(device: &Device, bytes: usize) -> Result<f64> {
    let cols = 1024;
    let width = if device.numbers == Numbers::F64 { 8 } else { 4 };
    let rows = bytes / 2 / width / cols;
    let mut layout = Layout::inference();
    let (src, dst): (View, View) = (layout.activation(rows, cols), layout.activation(rows, cols));
    let mut backend = device.open(&layout, rows)?;
    let times = means(&mut *backend, 5e3, &|b| gauge(b)?.copy(dst, src))?;
    Ok(quantile(&times, 0.0))
}

fn gauge(b: &mut dyn Backend) -> Result<&mut dyn Gauge> {
    b.gauge().ok_or_else(|| Error::failed("this device has nothing to measure it with"))
}

/// Five means, in microseconds for `work` once, each over about so many microseconds. Of work that takes ten times as long the
/// first time is as good as the next.
pub(super) fn means(b: &mut dyn Backend, us: f64, work: &Work) -> Result<Vec<f64>> {
    let once = gauge(b)?.time(1, work)?;
    if once > 10.0 * us {
        return Ok(vec![once]);
    }
    let runs = ((us / once.max(1e-3)) as usize).clamp(1, 500);
    (0..5).map(|_| gauge(b)?.time(runs, work)).collect()
}
