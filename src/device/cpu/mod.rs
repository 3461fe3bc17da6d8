//! What each operation means, in f64 the reference and in f32 the fallback. One file per group of operations, each with
//! its formula; this one holds the memory, the threads, and the table of the operations.
//!
//! All cores work, on rows or columns that no other touches, and every sum has one fixed order: the result has the same
//! bits with one thread and with many. Rows beyond `step.rows` are left alone.
use super::{Backend, Gauge, Launch, Real, Work, vectorise};
use crate::arena::{Layout, RING, View};
use crate::config::{Activation, Optimizer};
use crate::data::Dataset;
use crate::step::Step;
use crate::tape::{Decoded, Fetch, Goal, Tape};
use crate::{Error, Result, host};
use std::sync::Arc;
use std::time::Instant;

mod bound;
mod gather;
mod kl;
mod likelihood;
mod linear;
mod nll;
mod optimizer;
mod pack;
pub(crate) mod product;
mod reparam;
mod segments;
mod softmax;
mod sparse;

/// What was not finite in a step, as bits.
const LOSS: u8 = 1;
const GRADIENT: u8 = 2;
/// Bytes.
const CACHE_LINE: usize = 64;

/// The CPU as a [`Backend`].
pub struct Cpu<T: Real> {
    memory: Vec<T>,
    /// Where in it the arena begins: at the beginning of a cache line, which no vector of a view then straddles.
    start: usize,
    data: Option<Arc<Dataset>>,
    step: Step,
    /// The examples of a full batch.
    batch: usize,
    /// [`LOSS`] or [`GRADIENT`] was not finite: no update until the next `train`.
    halted: u8,
}

/// What the memory of a layout is for.
pub(super) const WHAT: &str = "parameters and activations on the CPU";

impl<T: Real> Cpu<T> {
    /// As [`Cpu::try_new`].
    ///
    /// # Panics
    /// Too little memory.
    pub fn new(layout: &Layout, batch: usize) -> Self {
        Cpu::try_new(layout, batch).unwrap_or_else(|e| panic!("{e}"))
    }

    /// Memory for a layout, of batches of `batch` examples.
    ///
    /// # Errors
    /// Too little memory.
    pub fn try_new(layout: &Layout, batch: usize) -> Result<Self> {
        let elements = layout.total() + CACHE_LINE;
        let mut memory = Vec::new();
        memory.try_reserve_exact(elements).map_err(|_| {
            let wanted = (elements * size_of::<T>()) as u64;
            Error::NoRoom { what: WHAT.into(), wanted, free: host::free_memory() }
        })?;
        memory.resize(elements, T::of(0.0));
        // A buffer that cannot be aligned, which only Miri has, still works.
        let start = memory.as_ptr().align_offset(CACHE_LINE).min(CACHE_LINE);
        for (view, values) in layout.constants() {
            memory[start..][view.span()].iter_mut().zip(values).for_each(|(x, &value)| *x = T::of(value));
        }
        Ok(Cpu { memory, start, data: None, step: Step::batch(0, batch), batch, halted: 0 })
    }

    /// Notes whether what was written of the parameters' gradient has finite squares.
    fn note_gradient(&mut self, finite: bool) {
        self.halted |= if finite { 0 } else { GRADIENT };
    }

    /// The rows that count of a view with one or several rows per example.
    fn live(&self, v: View) -> View {
        View { rows: v.rows / self.batch * self.step.rows as usize, ..v }
    }

    /// The views as slices, rows with their padding, all mutable: the first few are what an operation writes.
    fn split<const N: usize>(&mut self, views: [View; N]) -> [&mut [T]; N] {
        match self.memory[self.start..].get_disjoint_mut(views.map(View::padded)) {
            Ok(slices) => slices,
            Err(e) => panic!("an operation got views that overlap or leave the arena ({e}): {views:?}"),
        }
    }
}

/// Numbers a thread should have before another is worth it: about a microsecond of work. Threads hardly fall asleep.
const GRAIN: usize = 4 << 10;

/// Calls `f` with the number of the first row, and the rows as one piece of every matrix; pieces run in parallel. A
/// matrix is a slice and the elements that belong to one index: a row, or the K rows of an example. A closure that is not
/// `#[inline(always)]` is left out of the vectorisation.
pub(crate) fn each_rows<T: Real, const N: usize>(
    rows: usize,
    matrices: [(&mut [T], usize); N],
    f: impl Fn(usize, &mut [&mut [T]; N]) + Sync,
) {
    let work = matrices.iter().map(|(_, width)| width).sum();
    each_rows_of(work, rows, matrices, f)
}

/// The same where a row is more work than the matrices show: that of `work` numbers.
pub(crate) fn each_rows_of<T: Real, const N: usize>(
    work: usize,
    rows: usize,
    matrices: [(&mut [T], usize); N],
    f: impl Fn(usize, &mut [&mut [T]; N]) + Sync,
) {
    let piece = |first: usize, mut data: [&mut [T]; N]| {
        vectorise(
            #[inline(always)]
            || f(first, &mut data),
        )
    };
    halves(0, rows, (GRAIN / work.max(1)).max(1), matrices, &piece);
}

/// One for all operations, which it calls by a pointer: with each it would be compiled anew, and rayon's part with it.
fn halves<T: Real, const N: usize>(
    first: usize,
    rows: usize,
    grain: usize,
    matrices: [(&mut [T], usize); N],
    piece: &(dyn Fn(usize, [&mut [T]; N]) + Sync),
) {
    if rows <= grain {
        return piece(first, matrices.map(|(data, _)| data));
    }
    let middle = rows / 2;
    let mut upper: [Option<(&mut [T], usize)>; N] = [const { None }; N];
    let mut n = 0;
    let lower = matrices.map(|(data, width)| {
        let (low, high) = data.split_at_mut(middle * width);
        upper[n] = Some((high, width));
        n += 1;
        (low, width)
    });
    let upper = upper.map(|m| m.expect("every matrix was split"));
    rayon::join(
        || halves(first, middle, grain, lower, piece),
        || halves(first + middle, rows - middle, grain, upper, piece),
    );
}

/// Whether every number has a finite square.
fn squares_are_finite<T: Real>(values: &[T]) -> bool {
    values.iter().all(|&x| (x * x).is_finite())
}

/// For each precision by itself, not for any `T`: so the library alone compiles the engine, once, and not every program that uses
/// it anew.
macro_rules! backends {
    ($($T:ty)*) => { $(
    impl Backend for Cpu<$T> {
        fn write(&mut self, dst: View, src: &[f64]) -> Result<()> {
            assert_eq!(src.len(), dst.elements(), "{} numbers for {dst:?}", src.len());
            for (row, src) in src.chunks(dst.cols.max(1)).enumerate() {
                let at = self.start + dst.at(row, 0);
                self.memory[at..at + dst.cols].iter_mut().zip(src).for_each(|(d, &s)| *d = <$T>::of(s));
            }
            Ok(())
        }
        fn read(&mut self, src: View) -> Result<Vec<f64>> {
            let row = |row| &self.memory[self.start..][src.at(row, 0)..src.at(row, src.cols)];
            Ok((0..src.rows).flat_map(row).map(|x| x.to_f64()).collect())
        }
        fn load(&mut self, data: &Arc<Dataset>) -> Result<()> {
            data.check_rows()?;
            self.data = Some(data.clone());
            Ok(())
        }
        fn set_step(&mut self, step: &Step) -> Result<()> {
            assert!(step.rows as usize <= self.batch, "{} rows in a batch of {}", step.rows, self.batch);
            self.step = *step;
            Ok(())
        }
        fn train(&mut self, tape: &Tape, optimizer: &Optimizer, steps: &[Step]) -> Result<()> {
            assert!(steps.len() <= RING, "{} steps at once; the ring holds {RING}", steps.len());
            self.halted = 0;
            // On a thread of the pool: from outside, each of a step's many parallel loops would be handed over to it.
            rayon::scope(|_| {
                for step in steps {
                    self.set_step(step)?;
                    tape.step(self, optimizer)?;
                }
                Ok(())
            })
        }

        fn gather(&mut self, x: View, fetch: Fetch) -> Result<()> {
            let data = self.data.clone().ok_or_else(|| Error::failed("no data set was loaded on the device"))?;
            gather::forward(self, x, fetch, &data);
            Ok(())
        }
        fn log1p(&mut self, y: View, x: View, kinds: Option<View>) -> Result<()> {
            gather::log1p(self, y, x, kinds);
            Ok(())
        }
        fn log_softmax(&mut self, y: View, variables: View) -> Result<()> {
            softmax::forward(self, y, variables);
            Ok(())
        }
        fn log_means(&mut self, y: View, x: View) -> Result<()> {
            softmax::log_means(self, y, x);
            Ok(())
        }
        fn log_means_backward(&mut self, dy: View, y: View, x: View) -> Result<()> {
            softmax::log_means_backward(self, dy, y, x);
            Ok(())
        }
        fn linear_forward(&mut self, y: View, a: View, x: View, w: View, bias: View, f: Option<Activation>) -> Result<()> {
            linear::forward(self, y, a, x, w, bias, f);
            Ok(())
        }
        fn linear_backward(
            &mut self,
            dx: Option<View>,
            learned: Option<(View, View)>,
            dy: View,
            y: View,
            a: View,
            x: View,
            w: View,
            f: Option<Activation>,
        ) -> Result<()> {
            linear::backward(self, dx, learned, dy, y, a, x, w, f);
            Ok(())
        }
        fn reparam_forward(&mut self, z: View, ratio: View, head: View, eps: Option<View>) -> Result<()> {
            reparam::forward(self, z, ratio, head, eps);
            Ok(())
        }
        fn reparam_backward(
            &mut self,
            dhead: View,
            dz: View,
            z: View,
            head: View,
            eps: Option<View>,
            weight: View,
            goal: Goal,
        ) -> Result<()> {
            reparam::backward(self, dhead, dz, z, head, eps, weight, goal);
            Ok(())
        }
        fn kl_forward(&mut self, kl: View, kl_dim: View, head: View) -> Result<()> {
            kl::forward(self, kl, kl_dim, head);
            Ok(())
        }
        fn kl_backward(&mut self, dhead: View, head: View, kl_dim: View, goal: Goal) -> Result<()> {
            kl::backward(self, dhead, head, kl_dim, goal);
            Ok(())
        }
        fn nll_forward(&mut self, nll: View, decoded: Decoded, x: View) -> Result<()> {
            nll::forward(self, nll, decoded, x);
            Ok(())
        }
        fn nll_backward(
            &mut self,
            dout: View,
            ddispersion: Option<View>,
            decoded: Decoded,
            x: View,
            weight: View,
        ) -> Result<()> {
            nll::backward(self, dout, ddispersion, decoded, x, weight);
            Ok(())
        }
        fn bound(
            &mut self,
            bound: View,
            weight: View,
            metrics: View,
            nll: View,
            kl: View,
            kl_dim: View,
            ratio: View,
            goal: Goal,
        ) -> Result<()> {
            bound::forward(self, bound, weight, metrics, nll, kl, kl_dim, ratio, goal);
            Ok(())
        }
        fn update(&mut self, layout: &Layout, optimizer: &Optimizer) -> Result<()> {
            if self.halted == 0 {
                optimizer::step(self, layout, optimizer);
            }
            if self.halted > 0 {
                let flag = layout.metrics().at(self.step.slot as usize, 3);
                self.memory[self.start + flag] = <$T>::of(self.halted as f64);
            }
            Ok(())
        }

        fn gauge(&mut self) -> Option<&mut dyn Gauge> {
            Some(self)
        }
    }

    impl Gauge for Cpu<$T> {
        fn plan(&self) -> &'static str {
            "tape"
        }
        fn launches_per_step(&self) -> Result<Option<usize>> {
            Ok(None)
        }
        fn launches(&mut self, _: &Step) -> Result<Option<Vec<Launch>>> {
            Ok(None)
        }

        fn time(&mut self, times: usize, work: &Work) -> Result<f64> {
            work(self)?; // brings in the memory
            let clock = Instant::now();
            (0..times).try_for_each(|_| work(self))?;
            Ok(clock.elapsed().as_secs_f64() * 1e6 / times as f64)
        }
        fn copy(&mut self, dst: View, src: View) -> Result<()> {
            let (rows, width) = (src.rows, src.stride);
            let [dst, src] = self.split([dst, src]);
            let copy = |_: usize, [dst, src]: &mut [&mut [$T]; 2]| dst.copy_from_slice(src);
            each_rows(rows, [(dst, width), (src, width)], copy);
            Ok(())
        }
        fn idle_launch(&mut self, _: usize) -> Result<Option<f64>> {
            Ok(None)
        }
    }
    )* };
}
backends!(f32 f64);
