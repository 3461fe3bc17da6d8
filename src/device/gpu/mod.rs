//! The operations as kernel launches and matrix products. Safe: addresses exist only behind a [`Driver`].
//!
//! Rows beyond `step.rows` are computed along with the others, from zeros; their weight in the loss is zero, and so is
//! every gradient that starts from it.
use super::driver::{Driver, Epilogue, Factor, Grid, PLAN_WORDS, Resident};
use super::kernels::{self, In, Out, Out16};
use super::{Backend, Chosen, Gauge, Real};
use crate::arena::{ALIGN, Layout, RING, SCRATCH, View};
use crate::config::{Activation, Binarize, Gradient, Objective, Optimizer, Rule};
use crate::data::Dataset;
use crate::step::Step;
use crate::tape::{Decoded, Fetch, Goal, Order, Tape};
use crate::{Error, Result};
use std::sync::Arc;

mod calls;
mod gauge;
mod gradients;
mod latent;
mod nll;
mod plan;
mod products;
mod shortcut;
mod stack;

pub use shortcut::Shortcut;

use gradients::Constants;
use nll::Wanted;
use products::Finish;

/// A GPU, or whatever runs our kernels, as a [`Backend`].
pub struct Gpu<D> {
    pub driver: D,
    scratch: View,
    /// For the parts of sums over many rows: of what runs one after the other, and beside.
    sums: [View; 2],
    /// What is launched now runs beside the rest.
    aside: bool,
    /// What the device holds of the data: (rows, cols).
    data: Option<(usize, usize)>,
    /// The views whose copy in bf16 is up to date.
    fresh: Vec<View>,
    /// A library wrote gradients, and did not say whether they are finite.
    unseen: bool,
    /// The library multiplied in this step: what it wrote may be large.
    library: bool,
    /// What a step does without: for benches.
    without: Option<Shortcut>,
    /// Whether a small batch's whole pass is one launch, where it can be.
    stacks: bool,
    /// The step of training that ran last, and whether it is captured.
    step: Option<(Tape, Optimizer, bool)>,
}

/// An operand that a kernel is not given.
pub(super) const NONE: View = View::NONE;
/// Of so many samples an example, and of more, a warp makes the gradient of a latent dimension together.
const SPREAD: i32 = 8;
/// A sum over so many rows has parts, which a launch of its own adds up: it takes less than the wait for a block that goes
/// through all of them.
const TALL: usize = 2048;
/// At most so many: kParts of kernels/reduce.cuh.
const PARTS: usize = 32;
/// Blocks that fill any GPU of today several times over; kernels walk over the rest.
const MANY: usize = 2048;

impl Grid {
    pub(super) fn line(blocks: usize, threads: u32) -> Grid {
        Grid::new([blocks as u32, 1], threads)
    }
    /// For kernels that walk over `Quads` of `v`.
    fn quads(v: View) -> Grid {
        Grid::line((v.rows * v.cols.div_ceil(4)).div_ceil(256).clamp(1, MANY), 256)
    }
    /// A block for each 8 columns of `v`, of as many threads as rows can use: half of them take four rows each at a time.
    pub(super) fn columns(v: View) -> Grid {
        Grid::line(v.cols.div_ceil(8), (v.rows / 2).next_multiple_of(32).clamp(256, 512) as u32)
    }
    /// A block for each of `rows` rows, of as many threads as `items` per row need.
    pub(super) fn rows(rows: usize, items: usize) -> Grid {
        Grid::line(rows, items.next_multiple_of(32).clamp(32, 256) as u32)
    }
}

/// As kernels/activation.cuh numbers them.
pub(super) fn activation(f: Option<Activation>) -> i32 {
    match f {
        None => 0,
        Some(Activation::Tanh) => 1,
        Some(Activation::Relu) => 2,
        Some(Activation::Softplus) => 3,
        Some(Activation::Gelu) => 4,
        Some(Activation::Sigmoid) => 5,
    }
}

/// As kernels/bound.cu numbers them. What is added to the gradient of z: nothing, beta times the weight, or the weight, for
/// iwae's bound has no beta, whatever the step says.
pub(super) fn objective(objective: Objective) -> i32 {
    match objective {
        Objective::Elbo => 0,
        Objective::ElboMc => 1,
        Objective::Iwae => 2,
    }
}

impl<D: Driver> Gpu<D> {
    /// # Errors
    /// Those of the driver.
    pub fn new(mut driver: D, layout: &Layout) -> Result<Self> {
        for (view, values) in layout.constants() {
            driver.upload(view.offset, &values.iter().map(|&x| f32::of(x)).collect::<Vec<_>>())?;
        }
        Ok(Gpu {
            driver,
            scratch: layout.scratch(),
            sums: layout.sums(),
            aside: false,
            data: None,
            fresh: vec![],
            unseen: false,
            library: false,
            without: None,
            stacks: false,
            step: None,
        })
    }

    /// From now on, a small batch's whole pass is one launch, where it can be.
    pub fn stack_passes(&mut self) {
        self.driver.forget();
        self.step = None;
        self.stacks = true;
    }

    /// From now on, steps do without this one.
    pub fn leave_out(&mut self, shortcut: Shortcut) {
        self.driver.forget();
        self.step = None;
        self.fresh.clear();
        self.without = Some(shortcut);
    }
    fn has(&self, shortcut: Shortcut) -> bool {
        self.without != Some(shortcut)
    }

    /// Where a sum over so many rows leaves its parts, a row each: no rows where it has none.
    pub(super) fn parts(&self, rows: usize, cols: usize) -> View {
        let (View { offset, cols: room, .. }, stride) = (self.sums[self.aside as usize], cols.next_multiple_of(ALIGN));
        let parts = if rows < TALL { 0 } else { (room / stride).min(PARTS) };
        View { offset, rows: parts, cols, stride }
    }

    /// `gather`; with `next` as the first launch of a planned step. And `log1p`, where there is a view for it, and for the codes
    /// of its columns, if they differ: then x itself is no factor of a product.
    fn fetch(&mut self, x: View, seen: Option<(View, Option<View>)>, fetch: Fetch, next: bool) -> Result<()> {
        let Fetch { from, samples, order, binarize, missing } = fetch;
        let Some((_, cols)) = self.data else { return Err(Error::failed("no data set was loaded onto the GPU")) };
        assert!(from + x.cols <= cols, "{x:?}, {fetch:?} of {cols} columns");
        let shuffled = (order == Order::Shuffled) as i32;
        let binarize = match binarize {
            Binarize::None => 0,
            Binarize::Threshold => 1,
            Binarize::Dynamic => 2,
        };
        let x16 = if seen.is_none() { self.copy16(x) } else { Out16(NONE) };
        let (seen, kinds) = seen.map_or((NONE, NONE), |(seen, kinds)| (seen, kinds.unwrap_or(NONE)));
        let seen16 = self.copy16(seen);
        if seen.rows > 0 {
            self.changed(x)
        } else {
            self.copied(x)
        }
        self.copied(seen);
        let (from, samples, missing, next) = (from as i32, samples as i32, missing as i32, next as i32);
        // A thread for each quad, until there are so many that they fill a GPU of today: then several a thread.
        let mut lanes = x.cols.div_ceil(4).next_power_of_two();
        while lanes > 32 && x.rows * lanes > 1 << 17 {
            lanes /= 2;
        }
        let (grid, lanes) = (Grid::line((x.rows * lanes).div_ceil(256).clamp(1, MANY), 256), lanes as i32);
        let d = &mut self.driver;
        let (x, seen, kinds) = (Out(x), Out(seen), In(kinds));
        kernels::gather(d, grid, x, x16, seen, seen16, kinds, shuffled, binarize, missing, from, samples, next, lanes)
    }

    /// From the first of these on, nothing halted.
    fn plan(&mut self, steps: &[Step]) -> Result<()> {
        let mut words = steps[0].words().to_vec();
        words.extend([0; 8]); // cursor, the flags
        steps.iter().for_each(|step| words.extend(step.words()));
        debug_assert!(words.len() <= PLAN_WORDS);
        self.driver.write_plan(0, &words)
    }

    /// Between steps, the only copies that stay up to date are those of the parameters, which an update renews.
    fn keep_parameters(&mut self, tape: &Tape) {
        let params = tape.layout.params();
        self.fresh.retain(|&v| v == params);
    }

    /// One step as it is captured: the plan moves on, then the tape runs.
    fn planned_step(&mut self, tape: &Tape, optimizer: &Optimizer) -> Result<()> {
        self.keep_parameters(tape);
        self.library = false;
        self.merged_step(tape, optimizer)
    }
}

impl<D: Driver> Backend for Gpu<D> {
    fn write(&mut self, dst: View, src: &[f64]) -> Result<()> {
        assert_eq!(src.len(), dst.elements(), "{} numbers for {dst:?}", src.len());
        if src.is_empty() {
            return Ok(());
        }
        self.changed(dst);
        if dst.rows <= 1 || dst.cols == dst.stride {
            return self.driver.upload(dst.offset, &src.iter().map(|&x| f32::of(x)).collect::<Vec<_>>());
        }
        // What lies between the rows may belong to other views, and there may be many rows.
        let mut span = self.driver.download(dst.span())?;
        for (row, src) in span.chunks_mut(dst.stride).zip(src.chunks(dst.cols)) {
            row.iter_mut().zip(src).for_each(|(x, &s)| *x = f32::of(s));
        }
        self.driver.upload(dst.offset, &span)
    }

    fn read(&mut self, src: View) -> Result<Vec<f64>> {
        if src.elements() == 0 {
            return Ok(vec![]);
        }
        let span = self.driver.download(src.span())?;
        Ok(span.chunks(src.stride).flat_map(|row| &row[..src.cols]).map(|&x| x.to_f64()).collect())
    }

    fn load(&mut self, data: &Arc<Dataset>) -> Result<()> {
        data.check_rows()?;
        self.driver.forget(); // what was captured holds the old address
        self.step = None;
        self.data = Some((data.rows(), data.cols));
        self.driver.load(&Resident::new(data))
    }

    fn set_step(&mut self, step: &Step) -> Result<()> {
        let mut words = step.words().to_vec();
        words.extend([0, 0, 0]); // cursor, halted, large
        self.driver.write_plan(0, &words)
    }

    fn train(&mut self, tape: &Tape, optimizer: &Optimizer, steps: &[Step]) -> Result<()> {
        assert!(steps.len() <= RING, "{} steps; a plan holds {RING}", steps.len());
        if steps.is_empty() {
            return Ok(());
        }
        self.plan(steps)?;

        // A new step is launched once, so that libraries choose their kernels and take their memory, and captured then.
        let (known, mut captured) = match &self.step {
            Some((t, o, captured)) if t == tape && o == optimizer => (true, *captured),
            _ => (false, false),
        };
        if self.reads_copies() {
            self.refresh(tape.layout.params())?;
        }
        let mut left = steps.len();
        if !known {
            self.driver.forget();
            self.step = None;
            self.planned_step(tape, optimizer)?;
            left -= 1;
        }
        if left > 0 && !captured {
            self.driver.begin_capture()?;
            let recorded = self.planned_step(tape, optimizer);
            let ended = self.driver.end_capture(); // after an error too: a stream that captures can do nothing else
            recorded.and(ended)?;
            captured = true;
        }
        match &mut self.step {
            Some((_, _, flag)) => *flag = captured,
            None => self.step = Some((tape.clone(), *optimizer, captured)),
        }
        self.keep_parameters(tape);
        if left > 0 { self.driver.replay(left) } else { Ok(()) }
    }

    fn tune(&mut self, known: Option<&Chosen>) {
        self.step = None;
        self.driver.tune(known);
    }

    fn chosen(&self) -> Option<Chosen> {
        self.driver.chosen()
    }

    fn gather(&mut self, x: View, fetch: Fetch) -> Result<()> {
        self.fetch(x, None, fetch, false)
    }

    fn log1p(&mut self, y: View, x: View, kinds: Option<View>) -> Result<()> {
        let y16 = self.copy16(y);
        self.copied(y);
        let kinds = In(kinds.unwrap_or(NONE));
        kernels::log1p_forward(&mut self.driver, Grid::quads(y), Out(y), y16, In(x), kinds)
    }

    fn log_softmax(&mut self, y: View, variables: View) -> Result<()> {
        let warps = y.rows * variables.cols / 2;
        let grid = Grid::line(warps.div_ceil(8).min(MANY), 256);
        kernels::log_softmax(&mut self.driver, grid, Out(y), In(variables))
    }

    fn log_means(&mut self, y: View, x: View) -> Result<()> {
        let samples = (y.rows / x.rows) as i32;
        kernels::log_means(&mut self.driver, Grid::rows(y.rows, x.cols), Out(y), In(x), samples)
    }

    fn log_means_backward(&mut self, dy: View, y: View, x: View) -> Result<()> {
        let (samples, dy16) = ((y.rows / x.rows) as i32, self.copy16(dy));
        self.copied(dy);
        let grid = Grid::rows(y.rows, x.cols);
        kernels::log_means_backward(&mut self.driver, grid, Out(dy), dy16, In(y), In(x), samples)
    }

    fn linear_forward(&mut self, y: View, a: View, x: View, w: View, bias: View, f: Option<Activation>) -> Result<()> {
        let (n, t) = (Factor::N(x), Factor::T(w));
        let done = match f {
            None => self.product(a, n, t, Epilogue::Bias(bias))?,
            // The library's gives 0 for NaN, where ours keeps it. Data and weights are finite, so NaN comes of what overflowed
            // before it: there the gradient of the weights is 0 times infinity, and found.
            Some(Activation::Relu) => self.product(a, n, t, Epilogue::BiasRelu(bias))?,
            _ => false,
        };
        if done {
            return Ok(());
        }
        if !self.product(a, n, t, Epilogue::None)? {
            return self.own_product(y, x, t, Finish::Activation { bias, pre: a, f });
        }
        let y16 = self.copy16(y);
        self.copied(y);
        kernels::bias_activation(&mut self.driver, Grid::quads(y), Out(y), y16, Out(a), In(bias), activation(f))
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
        match (learned, f) {
            (Some((dw, dbias)), _) => {
                let mut later = vec![];
                self.finish_gradient(&mut later, dw, dbias, dy, y, a, x, f)?;
                self.gradients(&later)?;
            }
            (None, Some(_)) => self.through_activation(NONE, dy, y, a, f)?,
            (None, None) => {}
        }
        if let Some(dx) = dx
            && !self.product(dx, Factor::N(dy), Factor::N(w), Epilogue::None)?
        {
            self.own_product(dx, dy, Factor::N(w), Finish::None)?;
        }
        self.driver.join()
    }

    fn reparam_forward(&mut self, z: View, ratio: View, head: View, eps: Option<View>) -> Result<()> {
        let samples = (z.rows / head.rows) as i32;
        let (z16, eps) = (self.copy16(z), In(eps.unwrap_or(NONE)));
        self.copied(z);
        let grid = Grid::line(z.rows.div_ceil(4), 128);
        kernels::reparam_forward(&mut self.driver, grid, Out(z), z16, Out(ratio), In(head), eps, samples)
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
        let samples = (z.rows / head.rows) as i32;
        let (direct, dhead16) = (objective(goal.objective), self.copy16(dhead));
        self.copied(dhead);
        let path = goal.gradient == Gradient::Path;
        let spread = samples >= SPREAD;
        let lanes = if spread || path { 32 } else { 1 };
        let grid = Grid::line((head.rows * z.cols.div_ceil(4) * lanes).div_ceil(128).min(MANY), 128);
        let (dhead, dz, z, head, eps) = (Out(dhead), In(dz), In(z), In(head), In(eps.unwrap_or(NONE)));
        if path {
            let (d, weight, iwae) = (&mut self.driver, In(weight), (goal.objective == Objective::Iwae) as i32);
            return kernels::reparam_backward_path(d, grid, dhead, dhead16, dz, z, head, eps, weight, samples, iwae);
        }
        kernels::reparam_backward(
            &mut self.driver,
            grid,
            dhead,
            dhead16,
            dz,
            z,
            head,
            eps,
            In(weight),
            samples,
            direct,
            spread as i32,
        )
    }

    fn kl_forward(&mut self, kl: View, kl_dim: View, head: View) -> Result<()> {
        let parts = self.parts(head.rows, kl_dim.cols);
        let grid = Grid::line(head.rows.div_ceil(8) + kl_dim.cols.div_ceil(8) * parts.rows.max(1), 256);
        kernels::kl_forward(&mut self.driver, grid, Out(kl), Out(kl_dim), Out(parts), In(head))?;
        self.kl_of_parts(kl_dim, parts)
    }

    fn kl_backward(&mut self, dhead: View, head: View, kl_dim: View, goal: Goal) -> Result<()> {
        let dhead16 = self.copy16(dhead);
        self.copied(dhead);
        let grid = Grid::quads(head.columns(0..kl_dim.cols));
        kernels::kl_backward(&mut self.driver, grid, Out(dhead), dhead16, In(head), In(kl_dim), goal.free_bits as f32)
    }

    fn nll_forward(&mut self, nll: View, decoded: Decoded, x: View) -> Result<()> {
        self.log_likelihood(Wanted { nll, dout: NONE, weight: NONE, ddispersion: None }, decoded, x)
    }

    fn nll_backward(
        &mut self,
        dout: View,
        ddispersion: Option<View>,
        decoded: Decoded,
        x: View,
        weight: View,
    ) -> Result<()> {
        self.log_likelihood(Wanted { nll: NONE, dout, weight, ddispersion }, decoded, x)
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
        let samples = (nll.rows / kl.rows) as i32;
        let objective = objective(goal.objective);
        // As many threads as there are examples, or warps if these have samples. One block goes round twice, a thread with
        // four examples at a time; of more, each goes round once, and another launch adds up what they leave.
        let (threads, at_once) = if samples == 1 { (kl.rows, 4 * 512) } else { (32 * kl.rows, 512) };
        let blocks = if threads <= 2 * at_once { 1 } else { threads.div_ceil(512).min(SCRATCH / 4) };
        let partial = View { rows: if blocks > 1 { blocks } else { 0 }, cols: 3, stride: 4, ..self.scratch };
        let grid = Grid::line(blocks, threads.next_multiple_of(32).min(512) as u32);
        let (free_bits, d) = (goal.free_bits as f32, &mut self.driver);
        let (nll, kl, kl_dim, ratio) = (In(nll), In(kl), In(kl_dim), In(ratio));
        let (bound, weight, metrics) = (Out(bound), Out(weight), Out(metrics));
        kernels::bound(
            d,
            grid,
            bound,
            weight,
            metrics,
            Out(partial),
            nll,
            kl,
            kl_dim,
            ratio,
            samples,
            objective,
            free_bits,
        )?;
        match partial.rows {
            0 => Ok(()),
            _ => kernels::metrics_of_parts(d, Grid::line(1, 256), metrics, In(partial), kl_dim, objective, free_bits),
        }
    }

    fn update(&mut self, layout: &Layout, o: &Optimizer) -> Result<()> {
        let params = layout.params();
        let (w, w16, g) = (Out(params), self.kept16(params), In(layout.d(params)));
        let (m, v) = (Out(layout.moment(params, 0)), Out(layout.moment(params, 1)));
        let (grid, d) = (Grid::quads(params), &mut self.driver);
        let blocks = (grid.blocks[0] as usize).min(SCRATCH);
        let partial = if o.clip_norm > 0.0 { self.scratch.columns(0..blocks) } else { NONE };
        if o.clip_norm > 0.0 || self.unseen {
            kernels::gradient_norm(d, Grid::line(blocks, 256), Out(partial), g)?;
        }
        self.unseen = false;
        let (partial, metrics) = (In(partial), Out(layout.metrics()));
        let (clip, decay, eps) = (o.clip_norm as f32, o.weight_decay as f32, o.eps as f32);
        match o.rule {
            Rule::Sgd => kernels::sgd(d, grid, w, w16, g, partial, metrics, clip, decay)?,
            Rule::Momentum => {
                kernels::momentum(d, grid, w, w16, m, g, partial, metrics, clip, decay, o.momentum as f32)?
            }
            Rule::Adagrad => kernels::adagrad(d, grid, w, w16, v, g, partial, metrics, clip, decay, eps)?,
            Rule::Adam | Rule::Adamw => {
                let Constants { decay, shrink, b1, r1, b2, r2, eps } = Constants::new(o);
                kernels::adam(d, grid, w, w16, m, v, g, partial, metrics, clip, decay, shrink, b1, r1, b2, r2, eps, 0)?
            }
        }
        self.updated(params, w16);
        Ok(())
    }

    fn gauge(&mut self) -> Option<&mut dyn Gauge> {
        Some(self)
    }
}
