//! The gradients of the parameters, of several layers in one launch, and Adam along with them.
use super::products::whole;
use super::{Gpu, NONE, Shortcut, activation};
use crate::Result;
use crate::arena::View;
use crate::config::{Activation, Optimizer, Rule};
use crate::device::driver::{Driver, Epilogue, Factor, Grid, Precision, Product};
use crate::device::kernels::{self, In, In16, InAny, LAYERS, Layer, Layers, Out, Out16};
use crate::tape::{Op, Tape};

/// Over so many rows at most, gradients whose factors are not large are finite: see kernels/step.cuh.
const FINITE: usize = 8192;
/// In bf16, gradients of so many rows do not run beside the rest: each of two products takes little time there, but the whole
/// GPU and all that its memory gives. On an H200 a step of 784-500-20-500-784 took with and without, us: 8192 rows 411 (366);
/// 1024 108.5 (111.6); in tf32 8192 rows 454 (474). In between nothing has been timed.
const CROWDED: usize = 4096;
/// Blocks of a launch that has something to do in rare steps only.
const FEW: usize = 256;

/// The gradients of one layer's parameters, and what they are made of.
#[derive(Clone, Copy)]
pub(super) struct Gradient {
    /// (out, in)
    pub dw: View,
    /// (1, out); no rows where it is known already
    pub dbias: View,
    /// (rows, out), before the nonlinearity
    pub dy: View,
    /// (rows, in)
    pub x: View,
}

/// What the kernels of Adam take of an optimiser.
pub(super) struct Constants {
    pub decay: f32,
    pub shrink: f32,
    pub b1: f32,
    pub r1: f32,
    pub b2: f32,
    pub r2: f32,
    pub eps: f32,
}

impl Constants {
    pub fn new(o: &Optimizer) -> Constants {
        let decay = o.weight_decay as f32;
        let (decay, shrink) = if o.rule == Rule::Adamw { (0.0, decay) } else { (decay, 0.0) };
        let (b1, b2) = o.betas;
        let [b1, r1, b2, r2] = [b1, 1.0 - b1, b2, 1.0 - b2].map(|x| x as f32);
        Constants { decay, shrink, b1, r1, b2, r2, eps: o.eps as f32 }
    }
}

impl<D: Driver> Gpu<D> {
    /// Of the kernels for up to [`LAYERS`] layers: how many blocks, and the operands.
    fn operands(&mut self, layers: &[Gradient]) -> Result<(usize, Layers)> {
        let blocks = layers.iter().map(|g| g.dw.rows.div_ceil(64) * g.dw.cols.div_ceil(64)).sum();
        let (out, none) = (Out(NONE), In(NONE));
        let mut all = [Layer { dw: out, dbias: out, dy: none, dy16: In16(NONE), x: InAny::F32(NONE) }; LAYERS];
        for (g, of) in layers.iter().zip(&mut all) {
            let dy16 = match self.operand(g.dy)? {
                InAny::Half(dy) => dy,
                InAny::F32(_) => NONE,
            };
            let (dw, dbias, dy) = (Out(g.dw), Out(g.dbias), In(whole(g.dy)));
            *of = Layer { dw, dbias, dy, dy16: In16(dy16), x: self.operand(g.x)? };
        }
        Ok((blocks, Layers(all)))
    }

    /// `dy` becomes the gradient before the activation; dbias its sum over the rows, where that has rows itself. Of
    /// thousands of rows in bf16, whose gradient no kernel reads but products, relu's is in bf16 alone.
    pub(super) fn through_activation(
        &mut self,
        dbias: View,
        dy: View,
        y: View,
        a: View,
        f: Option<Activation>,
    ) -> Result<()> {
        let copy = f.is_some() || !self.is_fresh(dy);
        let dy16 = if copy { self.copy16(dy) } else { Out16(NONE) };
        let halves = self.reads_copies() && f == Some(Activation::Relu) && self.is_fresh(y);
        let source = In(f.map_or(y, |f| f.slope_from(a, y)));
        self.copied(dy);
        let (f, parts) = (activation(f), self.parts(dy.rows, dy.cols));
        let d = &mut self.driver;
        if parts.rows == 0 {
            return kernels::activation_backward(d, Grid::columns(dy), Out(dy), dy16, Out(dbias), source, f);
        }
        let grid = Grid::new([dy.cols.div_ceil(32) as u32, parts.rows as u32], 256);
        let partial = if dbias.rows > 0 { parts } else { NONE };
        if halves {
            kernels::relu_backward_tall(d, grid, dy16, Out(partial), In(dy), In16(y))?;
        } else {
            kernels::activation_backward_tall(d, grid, Out(dy), dy16, Out(partial), source, f)?;
        }
        match dbias.rows {
            0 => Ok(()),
            _ => kernels::bias_of_parts(d, Grid::line(dbias.cols.div_ceil(8), 64), Out(dbias), In(partial)),
        }
    }

    /// Notes the gradients of a layer's parameters for later where our own kernel makes them, or has the library make
    /// them, beside whatever follows up to `Driver::join`.
    pub(super) fn finish_gradient(
        &mut self,
        later: &mut Vec<Gradient>,
        dw: View,
        dbias: View,
        dy: View,
        y: View,
        a: View,
        x: View,
        f: Option<Activation>,
    ) -> Result<()> {
        let product = Product { c: dw, a: Factor::T(dy), b: Factor::N(x), epilogue: Epilogue::None };
        let library = self.library_takes(&product);
        // Whatever comes before needs the gradient before the nonlinearity, but not its sum.
        if f.is_some() {
            self.through_activation(dbias, dy, y, a, f)?;
        }
        let mut done = false;
        if library {
            self.refresh_factors(&product)?;
            done = self.beside(dy.rows, |gpu| {
                if f.is_none() {
                    gpu.through_activation(dbias, dy, y, a, f)?;
                }
                gpu.product(dw, product.a, product.b, Epilogue::None)
            })?;
        }
        if done {
            self.unseen = true;
        } else {
            later.push(Gradient { dw, dbias: if library || f.is_some() { NONE } else { dbias }, dy, x });
        }
        Ok(())
    }

    /// Beside whatever follows up to `Driver::join`. The copies in bf16 that it reads are up to date.
    fn beside<T>(&mut self, rows: usize, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if !self.has(Shortcut::Branch) || self.driver.precision() == Precision::Bf16 && rows >= CROWDED {
            return work(self);
        }
        self.driver.branch()?;
        self.aside = true;
        let done = work(self);
        self.aside = false;
        self.driver.trunk();
        done
    }

    /// By our own kernels.
    pub(super) fn gradients(&mut self, layers: &[Gradient]) -> Result<()> {
        let (kernel, threads) = match self.tensor() {
            Some(way) => (kernels::product_tn_tensor(way), 256),
            None => (kernels::product_tn as fn(&mut D, Grid, &Layers) -> Result<()>, 512),
        };
        for layers in layers.chunks(LAYERS) {
            let (blocks, operands) = self.operands(layers)?;
            kernel(&mut self.driver, Grid::line(blocks, threads), &operands)?;
            layers.iter().for_each(|g| self.changed(g.dw));
        }
        Ok(())
    }

    /// Where no parameter waits for all gradients: neither for their norm nor, if one is not finite, to be left alone.
    /// `gradients` are those that our own kernels make; it takes all of them.
    pub(super) fn adam_at_once(&self, tape: &Tape, optimizer: &Optimizer, gradients: &[Gradient]) -> bool {
        let layers = tape.ops.iter().filter(|op| matches!(op, Op::Linear { .. })).count();
        let learned = |op: &Op| matches!(op, Op::Nll { decoded, .. } if decoded.learned.is_some());
        self.has(Shortcut::Update)
            && self.tensor().is_some()
            && !self.library
            && matches!(optimizer.rule, Rule::Adam | Rule::Adamw)
            && optimizer.clip_norm == 0.0
            && gradients.len() == layers
            && gradients.iter().all(|g| g.dbias.rows == 1 && g.dy.rows <= FINITE)
            && !tape.ops.iter().any(learned)
    }

    pub(super) fn gradients_and_adam(&mut self, tape: &Tape, o: &Optimizer, gradients: &[Gradient]) -> Result<()> {
        let params = tape.layout.params();
        let w16 = self.kept16(params);
        let [w, m, v] = [params, tape.layout.moment(params, 0), tape.layout.moment(params, 1)].map(Out);
        let (g, none, metrics) = (In(tape.layout.d(params)), In(NONE), Out(tape.layout.metrics()));
        let Constants { decay, shrink, b1, r1, b2, r2, eps } = Constants::new(o);
        let kernel = kernels::product_tn_adam(self.way());
        for layers in gradients.chunks(LAYERS) {
            let (blocks, operands) = self.operands(layers)?;
            let (d, grid) = (&mut self.driver, Grid::line(blocks, 256));
            kernel(d, grid, w, w16, m, v, g, &operands, decay, shrink, b1, r1, b2, r2, eps)?;
        }
        self.changed(tape.layout.d(params));
        self.updated(params, w16);
        // For steps with large numbers, whose gradients must all be seen first.
        let (d, grid) = (&mut self.driver, Grid::line(FEW, 256));
        kernels::adam(d, grid, w, w16, m, v, g, none, metrics, 0.0, decay, shrink, b1, r1, b2, r2, eps, 1)
    }
}
