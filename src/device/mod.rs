//! Where the arithmetic happens. [`Backend`] is the contract: `Cpu` states what each operation means, `Gpu` runs our
//! kernels through a [`driver::Driver`], which is `Cuda` in the program and the emulator in tests.
use crate::Result;
use crate::arena::{Layout, View};
use crate::config::{Activation, Optimizer};
use crate::data::Dataset;
use crate::step::Step;
use crate::tape::{Decoded, Fetch, Goal, Tape};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

pub mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
pub mod driver;
mod gpu;
pub mod kernels;
mod open;
mod real;

pub use cpu::Cpu;
pub use gpu::{Gpu, Shortcut};
pub use open::{Device, Variant};
pub(crate) use real::sum;
pub use real::{Real, vectorise, vectorise_for};

/// What x holds for a value that nobody observed: −0. A network sees 0 there, and the likelihood leaves it out. A gather makes 0
/// of a −0 in the data.
pub const MISSING: f64 = -0.0;

/// Memory, steps, and every fused operation: forward and backward side by side, outputs first. Everything assigns;
/// `kl_backward` alone adds. Views are those of one layout, and of a batch the first `step.rows` examples count.
pub trait Backend {
    /// Numbers cross this edge as f64, which holds every precision, and without padding.
    fn write(&mut self, dst: View, src: &[f64]) -> Result<()>;
    fn read(&mut self, src: View) -> Result<Vec<f64>>;
    /// Makes `data` resident: what `gather` reads from.
    fn load(&mut self, data: &Arc<Dataset>) -> Result<()>;

    /// What the operations that follow belong to.
    fn set_step(&mut self, step: &Step) -> Result<()>;
    /// Runs whole steps of training, at most [`crate::arena::RING`]. A step whose loss, or the square of whose gradient,
    /// is not finite is not applied, nor are those after it; their metrics say so.
    fn train(&mut self, tape: &Tape, optimizer: &Optimizer, steps: &[Step]) -> Result<()>;

    fn gather(&mut self, x: View, fetch: Fetch) -> Result<()>;
    /// y = log(1 + x), of x that is not negative; in the columns whose codes are not of counts y = x.
    fn log1p(&mut self, y: View, x: View, kinds: Option<View>) -> Result<()>;

    /// y −= log Σ exp(y) over the columns of each variable, which `variables` gives as from and to, one behind the other.
    fn log_softmax(&mut self, y: View, variables: View) -> Result<()>;
    /// y += log Σ x − log Σ exp(y), over what is observed of a row of x. Rows b K + k of y are of row b of x.
    fn log_means(&mut self, y: View, x: View) -> Result<()>;
    /// dy −= share Σ dy in what is observed, with share = exp(y) / Σ x: from the gradient in the logarithms of means, which `log_means`
    /// made, to that in what it made them of, for each of them takes from all others.
    fn log_means_backward(&mut self, dy: View, y: View, x: View) -> Result<()>;

    fn linear_forward(&mut self, y: View, a: View, x: View, w: View, bias: View, f: Option<Activation>) -> Result<()>;
    /// `dy` becomes da, the gradient before the activation. No `dx`: x is the data. `learned`: dw and dbias, where they
    /// are wanted.
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
    ) -> Result<()>;

    fn reparam_forward(&mut self, z: View, ratio: View, head: View, eps: Option<View>) -> Result<()>;
    /// Also what `ratio` gives to mu and logvar directly, where the objective has it.
    fn reparam_backward(
        &mut self,
        dhead: View,
        dz: View,
        z: View,
        head: View,
        eps: Option<View>,
        weight: View,
        goal: Goal,
    ) -> Result<()>;

    fn kl_forward(&mut self, kl: View, kl_dim: View, head: View) -> Result<()>;
    /// dhead += beta · d mean kl / d head, for the dimensions above the free bits.
    fn kl_backward(&mut self, dhead: View, head: View, kl_dim: View, goal: Goal) -> Result<()>;

    fn nll_forward(&mut self, nll: View, decoded: Decoded, x: View) -> Result<()>;
    /// `ddispersion`: of a learned log-dispersion, (1, 1) or (1, input).
    fn nll_backward(
        &mut self,
        dout: View,
        ddispersion: Option<View>,
        decoded: Decoded,
        x: View,
        weight: View,
    ) -> Result<()>;

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
    ) -> Result<()>;

    /// From now on, of what a library of products offers the fastest is taken: the one that `known` names, where that is of
    /// the same library; else the one that is the fastest here and now, when a product is first run.
    fn tune(&mut self, _known: Option<&Chosen>) {}
    /// What was taken so far, for whoever goes on. None: there is no library.
    fn chosen(&self) -> Option<Chosen> {
        None
    }

    /// One step of the optimiser on all parameters, unless the loss or the gradient was not finite.
    fn update(&mut self, layout: &Layout, optimizer: &Optimizer) -> Result<()>;

    /// What is measured: nothing, unless a device says otherwise.
    fn gauge(&mut self) -> Option<&mut dyn Gauge> {
        None
    }
}

/// Of what a library of products offers for each, which one was taken.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Chosen {
    /// The library, and the device that it offered them for.
    pub library: String,
    /// By product: the place in the library's list.
    pub algorithms: BTreeMap<String, usize>,
}

/// Operations, one after the other, that neither read nor write on the host.
pub type Work<'a> = dyn Fn(&mut dyn Backend) -> Result<()> + 'a;

/// A launch of a step, measured.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The kernel, the shape of what it writes first, and its blocks; or the product. And whether it runs beside the rest.
    pub name: String,
    /// What it is given, once each: without the data set.
    pub bytes: f64,
    pub us: f64,
}

/// What a device offers to whoever measures it.
pub trait Gauge {
    /// How a step of training runs, in a word: one operation after the other (`tape`), or as a captured `graph`.
    fn plan(&self) -> &'static str;
    /// Launches in a step of training, once one was captured. None: on this device nothing is launched.
    fn launches_per_step(&self) -> Result<Option<usize>>;
    /// Each launch of the step of training that ran last, in their order, timed as a graph of nothing but itself. `step`
    /// is the one that they belong to; then none can follow. None: on this device nothing is launched.
    fn launches(&mut self, step: &Step) -> Result<Option<Vec<Launch>>>;
    /// Microseconds for `work` once, the mean of `times` without a pause between them, as a step would run it: captured
    /// where a step is. What was captured before is forgotten.
    fn time(&mut self, times: usize, work: &Work) -> Result<f64>;
    /// dst = src, padding included.
    fn copy(&mut self, dst: View, src: View) -> Result<()>;
    /// Microseconds for a launch that does nothing, among `launches` of them. None: on this device nothing is launched.
    fn idle_launch(&mut self, launches: usize) -> Result<Option<f64>>;
}
