//! A step of training in fewer launches: the tape's operations, with neighbours merged where one kernel does for both.
//! What has no such kernel runs as the tape would run it, operation by operation; the numbers mean the same.
use super::products::{BernoulliOf, Finish, whole};
use super::{Gpu, NONE, Shortcut, activation};
use crate::Result;
use crate::arena::View;
use crate::config::{Activation, Likelihood, Objective, Optimizer, Rule};
use crate::device::Backend;
use crate::device::driver::{Driver, Epilogue, Factor, Grid, Precision, Product};
use crate::device::kernels::{self, In, Out};
use crate::tape::{LogVariance, Op, Tape};

/// So many examples at most, one block gives the bound of in passing.
const BOUND_IN_PASSING: usize = 2048;
/// Over so many rows at most, gradients whose factors are not large are finite: see kernels/step.cuh.
const FINITE: usize = 128;
/// What kernels/bottleneck.cu has room for: so many latent dimensions, and so many samples are drawn again in each block.
const LATENT: usize = 64;
const SAMPLES: usize = 8;
/// Layers whose gradients one launch makes.
const LAYERS: usize = 6;
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

/// The layer from the encoder's last activation to `[mu | logvar]`.
struct EncoderEnd {
    /// (rows, in), the output of `f`.
    x: View,
    /// (2 latent, in)
    weight: View,
    /// What the slope of `f` is a function of.
    out: View,
    f: Activation,
}

/// Of the kernels for up to [`LAYERS`] layers: how many blocks, and the operands.
fn operands(layers: &[Gradient]) -> (usize, [(Out, Out, In, In); LAYERS]) {
    let blocks = layers.iter().map(|g| g.dw.rows.div_ceil(64) * g.dw.cols.div_ceil(64)).sum();
    let layer = |i: usize| match layers.get(i) {
        Some(g) => (Out(g.dw), Out(g.dbias), In(whole(g.dy)), In(whole(g.x))),
        None => (Out(NONE), Out(NONE), In(NONE), In(NONE)),
    };
    (blocks, std::array::from_fn(layer))
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
    /// What `Tape::step` does, for the step whose turn it is.
    pub(super) fn merged_step(&mut self, tape: &Tape, optimizer: &Optimizer) -> Result<()> {
        let parts = self.merged_forward(tape)?;
        let gradients = self.merged_backward(tape, parts)?;
        if self.adam_at_once(tape, optimizer, &gradients) {
            return self.gradients_and_adam(tape, optimizer, &gradients);
        }
        self.gradients(&gradients)?;
        self.update(&tape.layout, optimizer)
    }

    /// Where no parameter waits for all gradients: neither for their norm nor, where one is not finite, to be left alone.
    /// `gradients` are those that our own kernels make; it takes all of them.
    fn adam_at_once(&self, tape: &Tape, optimizer: &Optimizer, gradients: &[Gradient]) -> bool {
        let layers = tape.ops.iter().filter(|op| matches!(op, Op::Linear { .. })).count();
        let learned =
            |op: &Op| matches!(op, Op::Nll { decoded, .. } if matches!(decoded.variance, LogVariance::Learned(_)));
        self.has(Shortcut::Update)
            && self.tensor().0
            && !self.library
            && matches!(optimizer.rule, Rule::Adam | Rule::Adamw)
            && optimizer.clip_norm == 0.0
            && gradients.len() == layers
            && gradients.iter().all(|g| g.dbias.rows == 1 && g.dy.rows <= FINITE)
            && !tape.ops.iter().any(learned)
    }

    fn gradients_and_adam(&mut self, tape: &Tape, o: &Optimizer, gradients: &[Gradient]) -> Result<()> {
        let params = tape.layout.params();
        let [w, m, v] = [params, tape.layout.moment(params, 0), tape.layout.moment(params, 1)].map(Out);
        let (g, none, metrics) = (In(tape.layout.d(params)), In(NONE), Out(tape.layout.metrics()));
        let Constants { decay, shrink, b1, r1, b2, r2, eps } = Constants::new(o);
        let (_, kind) = self.tensor();
        for layers in gradients.chunks(LAYERS) {
            let (blocks, [l0, l1, l2, l3, l4, l5]) = operands(layers);
            let (d, grid) = (&mut self.driver, Grid::line(blocks, 256));
            #[rustfmt::skip] // a line for each group
            kernels::product_tn_adam(
                d, grid, w, m, v,
                l0.0, l0.1, l1.0, l1.1, l2.0, l2.1, l3.0, l3.1, l4.0, l4.1, l5.0, l5.1, g,
                l0.2, l0.3, l1.2, l1.3, l2.2, l2.3, l3.2, l3.3, l4.2, l4.3, l5.2, l5.3,
                decay, shrink, b1, r1, b2, r2, eps, kind,
            )?;
        }
        self.changed(tape.layout.d(params));
        self.changed(params);
        // For steps with large numbers, whose gradients must all be seen first.
        let (d, grid) = (&mut self.driver, Grid::line(FEW, 256));
        kernels::adam(d, grid, w, m, v, g, none, metrics, 0.0, decay, shrink, b1, r1, b2, r2, eps, 1)
    }

    /// Hands back −log p(x|z), in parts, where no operation has put it in its place.
    fn merged_forward(&mut self, tape: &Tape) -> Result<Option<View>> {
        let mut parts = None;
        assert!(matches!(tape.ops[0], Op::Gather { .. }), "a step that is planned begins with its data");
        let mut ops = tape.ops.iter().copied().enumerate().peekable();
        while let Some((i, op)) = ops.next() {
            match (op, ops.peek().map(|&(_, next)| next)) {
                (Op::Gather { x, fetch }, _) => self.fetch(x, fetch, i == 0)?,
                (Op::Kl { kl, kl_dim, head }, Some(Op::Reparam { z, ratio, eps, .. })) => {
                    ops.next();
                    let z16 = self.copy16(z);
                    self.copied(z);
                    if let Some(&(_, Op::Linear { y, a, x, weight, bias, activation: f @ Some(_) })) = ops.peek()
                        && x == z
                        && self.beside_latent(
                            Product { c: y, a: Factor::N(x), b: Factor::T(weight), epilogue: Epilogue::None },
                            head,
                            z,
                        )
                    {
                        ops.next();
                        let (mut grid, _) = Grid::tiles(y, (32, 16));
                        let kl_blocks = (head.rows.div_ceil(16) + kl_dim.cols.div_ceil(8)) as u32;
                        grid.blocks[1] += kl_blocks.div_ceil(grid.blocks[0]);
                        let (y16, pre) = (self.copy16(y), Out(if a == y { NONE } else { a }));
                        let (samples, f, kind) = ((z.rows / head.rows) as i32, activation(f), self.tensor().1);
                        let (z, ratio, kl, kl_dim) = (Out(z), Out(ratio), Out(kl), Out(kl_dim));
                        let (head, eps, w, bias) = (In(head), In(eps.unwrap_or(NONE)), In(whole(weight)), In(bias));
                        #[rustfmt::skip] // a line for each group
                        kernels::latent_forward_linear(
                            &mut self.driver, grid, Out(y), y16, pre, z, z16, ratio, kl, kl_dim,
                            head, eps, w, bias, samples, f, kind,
                        )?;
                        self.changed(a);
                        self.copied(y);
                        continue;
                    }
                    let blocks = z.rows.div_ceil(8) + head.rows.div_ceil(8) + kl_dim.cols.div_ceil(8);
                    let (samples, grid) = ((z.rows / head.rows) as i32, Grid::line(blocks, 256));
                    let (z, ratio, kl, kl_dim) = (Out(z), Out(ratio), Out(kl), Out(kl_dim));
                    let (head, eps) = (In(head), In(eps.unwrap_or(NONE)));
                    kernels::latent_forward(&mut self.driver, grid, z, z16, ratio, kl, kl_dim, head, eps, samples)?
                }
                (Op::Linear { y, x, weight, bias, .. }, Some(Op::Nll { x: data, .. }))
                    if self.nll_in_product(tape, y, x, weight) =>
                {
                    ops.next();
                    // The data need no gradient.
                    let op = BernoulliOf { dout: tape.layout.d(y), data, room: tape.layout.d(tape.x) };
                    parts = Some(self.bernoulli_product(y, x, weight, bias, op)?)
                }
                (Op::Nll { nll, decoded, x }, _) if self.nll_at_once(tape) => {
                    let dout = tape.layout.d(decoded.out);
                    let dout16 = self.copy16(dout);
                    self.copied(dout);
                    let (grid, samples) = (Grid::rows(nll.rows, x.cols.div_ceil(4)), (nll.rows / x.rows) as i32);
                    let (nll, out, x) = (Out(nll), In(decoded.out), In(x));
                    kernels::bernoulli_both(&mut self.driver, grid, nll, Out(dout), dout16, out, x, samples)?
                }
                (Op::Bound { .. }, _) if self.bound_in_passing(tape) => {}
                _ => tape.forward(self, i..i + 1)?,
            }
        }
        Ok(parts)
    }

    /// Where our own kernel makes this product of the layer behind the latent variables, in small tiles.
    fn beside_latent(&self, product: Product, head: View, z: View) -> bool {
        self.has(Shortcut::Latent)
            && self.tensor().0
            && z.cols <= LATENT
            && z.rows <= SAMPLES * head.rows
            && !self.driver.offers(&product)
            && !Grid::tiles(product.c, (32, 16)).1
    }

    /// Where besides our own kernel makes the logits, and each example has one row of them.
    fn nll_in_product(&self, tape: &Tape, y: View, x: View, weight: View) -> bool {
        let product = Product { c: y, a: Factor::N(x), b: Factor::T(weight), epilogue: Epilogue::None };
        self.has(Shortcut::Nll)
            && self.bound_in_passing(tape)
            && y.rows == tape.batch
            && self.tensor().0
            && !self.driver.offers(&product)
    }

    /// Where the weights are known before the bound, those of one sample too, a Bernoulli's gradient is made along with
    /// its value.
    fn nll_at_once(&self, tape: &Tape) -> bool {
        let bernoulli = |op: &Op| matches!(op, Op::Nll { decoded, .. } if decoded.likelihood == Likelihood::Bernoulli);
        let known = tape.objective.objective != Objective::Iwae || tape.weight.rows == tape.batch;
        known && tape.ops.iter().any(bernoulli)
    }

    /// Then the backward pass need not wait for the bound either.
    fn bound_in_passing(&self, tape: &Tape) -> bool {
        self.nll_at_once(tape) && tape.batch <= BOUND_IN_PASSING
    }

    /// Down to the gradients of the parameters, of which those are left that our own kernels make. `parts`: as
    /// `merged_forward` handed them back.
    fn merged_backward(&mut self, tape: &Tape, parts: Option<View>) -> Result<Vec<Gradient>> {
        let d = |v| tape.layout.d(v);
        let mut gradients: Vec<Gradient> = vec![];
        // Whether d of the next layer's output is before its nonlinearity already.
        let mut sloped = false;
        // d of the encoder's last activation, where it is known before its turn.
        let mut known = None;
        for (i, &op) in tape.ops.iter().enumerate().rev() {
            match op {
                Op::Gather { .. } | Op::Bound { .. } | Op::Kl { .. } => {}
                Op::Nll { .. } if self.nll_at_once(tape) => {}
                Op::Nll { .. } => tape.backward_of(self, i)?,
                Op::Linear { y, a, x, weight, bias, activation } => {
                    let (dw, dbias, dy) = (d(weight), d(bias), d(y));
                    let f = if sloped { None } else { activation };
                    let merged = self.finish_gradient(&mut gradients, dw, dbias, dy, y, a, x, f)?;
                    debug_assert!(merged || f == activation || activation.is_none() || sloped);
                    sloped = false;
                    if known == Some(x) {
                        sloped = true;
                    } else if x != tape.x {
                        let (dx, before) = (d(x), tape.ops[i - 1]);
                        if self.product(dx, Factor::N(dy), Factor::N(weight), Epilogue::None)? {
                            continue;
                        }
                        let finish = match before {
                            Op::Linear { y, a, activation: f @ Some(_), .. } if y == x => {
                                sloped = true;
                                Finish::Slope { out: if f == Some(Activation::Gelu) { a } else { y }, f }
                            }
                            _ => Finish::None,
                        };
                        self.own_product(dx, dy, Factor::N(weight), finish)?
                    }
                }
                Op::Reparam { z, ratio, head, eps } if self.bound_in_passing(tape) => {
                    let Some(&Op::Bound { bound, weight, nll, kl, kl_dim, objective, .. }) = tape.ops.last() else {
                        unreachable!("a step ends with its bound")
                    };
                    self.changed(d(head));
                    let (samples, goal) = ((z.rows / head.rows) as i32, super::objective(objective.objective));
                    let (free_bits, metrics) = (objective.free_bits as f32, Out(tape.layout.metrics()));
                    if let Some(layer) = self.layer_before(tape, head, z) {
                        let EncoderEnd { x, weight: w, out, f } = layer;
                        let (mut grid, _) = Grid::tiles(x, (32, 16));
                        grid.blocks[1] += 1; // for the bound
                        let (dx, dx16, kind) = (d(x), self.copy16(d(x)), self.tensor().1);
                        let (eps, nll) = (In(eps.unwrap_or(NONE)), In(parts.unwrap_or(nll)));
                        #[rustfmt::skip] // a line for each group
                        kernels::latent_backward_linear(
                            &mut self.driver, grid, Out(dx), dx16, Out(d(head)), Out(bound), Out(weight), metrics,
                            In(d(z)), In(z), In(head), eps, nll, In(kl), In(kl_dim), In(ratio), In(whole(w)), In(out),
                            samples, goal, free_bits, activation(Some(f)), kind,
                        )?;
                        self.copied(dx);
                        known = Some(x);
                        continue;
                    }
                    let quads = head.rows * z.cols.div_ceil(4);
                    let grid = Grid::line(1 + quads.div_ceil(256).clamp(1, 2047), 256);
                    kernels::latent_backward(
                        &mut self.driver,
                        grid,
                        Out(d(head)),
                        Out(bound),
                        Out(weight),
                        metrics,
                        In(d(z)),
                        In(z),
                        In(head),
                        In(eps.unwrap_or(NONE)),
                        In(parts.unwrap_or(nll)),
                        In(kl),
                        In(kl_dim),
                        In(ratio),
                        samples,
                        goal,
                        free_bits,
                    )?
                }
                Op::Reparam { .. } => tape.backward_of(self, i)?,
            }
        }
        Ok(gradients)
    }

    /// The layer from the encoder's last activation to `head`, where its product goes along with the latent variables.
    fn layer_before(&self, tape: &Tape, head: View, z: View) -> Option<EncoderEnd> {
        let ends = |op: &&[Op]| matches!(op[1], Op::Linear { y, .. } if y == head);
        match *tape.ops.windows(2).find(ends)? {
            [Op::Linear { y, a, activation: Some(f), .. }, Op::Linear { x, weight, .. }] if x == y => {
                let (dx, dy) = (tape.layout.d(x), tape.layout.d(head));
                let product = Product { c: dx, a: Factor::N(dy), b: Factor::N(weight), epilogue: Epilogue::None };
                let out = if f == Activation::Gelu { a } else { y };
                self.beside_latent(product, head, z).then_some(EncoderEnd { x, weight, out, f })
            }
            _ => None,
        }
    }

    /// Notes the gradients of a layer's parameters for later where our own kernel makes them, or makes them now.
    /// False where the nonlinearity had to be gone through first, in a launch of its own.
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
    ) -> Result<bool> {
        let product = Product { c: dw, a: Factor::T(dy), b: Factor::N(x), epilogue: Epilogue::None };
        let library = self.driver.offers(&product);
        if library || f.is_some() {
            let copy = f.is_some() || self.driver.precision() == Precision::Bf16 && !self.is_fresh(dy);
            let dy16 = if copy { self.copy16(dy) } else { super::kernels::Out16(NONE) };
            let source = In(if f == Some(Activation::Gelu) { a } else { y });
            self.copied(dy);
            let (grid, f) = (Grid::columns(dy), activation(f));
            kernels::activation_backward(&mut self.driver, grid, Out(dy), dy16, Out(dbias), source, f)?;
        }
        let apart = library || f.is_some();
        if library && self.product(dw, product.a, product.b, Epilogue::None)? {
            self.unseen = true;
        } else {
            later.push(Gradient { dw, dbias: if apart { NONE } else { dbias }, dy, x });
        }
        Ok(!apart)
    }

    /// By our own kernels.
    pub(super) fn gradients(&mut self, layers: &[Gradient]) -> Result<()> {
        let (tensor, kind) = self.tensor();
        let kernel = if tensor { kernels::product_tn_tensor } else { kernels::product_tn };
        let threads = if tensor { 256 } else { 512 };
        for layers in layers.chunks(LAYERS) {
            let (blocks, [l0, l1, l2, l3, l4, l5]) = operands(layers);
            let (d, grid) = (&mut self.driver, Grid::line(blocks, threads));
            #[rustfmt::skip] // a line for each layer
            kernel(
                d, grid,
                l0.0, l0.1, l0.2, l0.3,
                l1.0, l1.1, l1.2, l1.3,
                l2.0, l2.1, l2.2, l2.3,
                l3.0, l3.1, l3.2, l3.3,
                l4.0, l4.1, l4.2, l4.3,
                l5.0, l5.1, l5.2, l5.3,
                kind,
            )?;
            layers.iter().for_each(|g| self.changed(g.dw));
        }
        Ok(())
    }
}
