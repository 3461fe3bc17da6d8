//! A small batch's pass through all layers, forward and backward, in one launch: see kernels/stack.cu.
use super::gradients::Gradient;
use super::latent::LATENT;
use super::{Gpu, NONE, activation, objective};
use crate::Result;
use crate::arena::View;
use crate::config::{Activation, Likelihood};
use crate::device::Backend;
use crate::device::driver::{Driver, Epilogue, Factor, Grid, Product};
use crate::device::kernels::{self, In, InAny, Out, Out16, PHASES, Phase, Phases, Way};
use crate::tape::{Fetch, Goal, Op, Tape};

/// As kernels/stack.cu has them: the examples of a cluster, and the threads of a block.
const EXAMPLES: usize = 16;
const THREADS: u32 = 512;
/// Every cluster reads all weights. Where they are more than these together, launches that read them once are sooner done.
const WEIGHTS: usize = 1 << 24;

/// `Op::Linear`.
#[derive(Clone, Copy)]
struct Linear {
    y: View,
    a: View,
    x: View,
    weight: View,
    bias: View,
    f: Option<Activation>,
}

/// A step that can be one: its parts, as the tape has them.
pub(super) struct Stack {
    x: View,
    fetch: Fetch,
    encoder: Vec<Linear>,
    decoder: Vec<Linear>,
    kl: View,
    kl_dim: View,
    head: View,
    z: View,
    ratio: View,
    eps: Option<View>,
    /// What the logits are of.
    data: View,
    bound: View,
    weight: View,
    goal: Goal,
    /// Blocks of a cluster.
    size: u32,
    way: Way,
}

/// As kernels/stack.cu numbers them.
#[derive(Clone, Copy)]
enum Kind {
    Forward,
    Draw,
    Logits,
    Backward,
    PullBack,
}

/// The layers that `ops` begins with.
fn layers(ops: &[Op], of: View) -> (Vec<Linear>, &[Op]) {
    let (mut layers, mut input) = (vec![], of);
    for op in ops {
        match *op {
            Op::Linear { y, a, x, weight, bias, activation: f } if x == input => {
                layers.push(Linear { y, a, x, weight, bias, f });
                input = y;
            }
            _ => break,
        }
    }
    let rest = &ops[layers.len()..];
    (layers, rest)
}

impl<D: Driver> Gpu<D> {
    /// The step of `tape` as one launch, where it can be one and the device has room for it.
    pub(super) fn stack(&self, tape: &Tape) -> Option<Stack> {
        if !self.stacks || !self.bound_in_passing(tape) || tape.weight.rows != tape.batch {
            return None;
        }
        let (&Op::Gather { x, fetch }, ops) = tape.ops.split_first()? else { return None };
        let (encoder, ops) = layers(ops, x);
        let &[Op::Kl { kl, kl_dim, head }, Op::Reparam { z, ratio, eps, .. }, ref ops @ ..] = ops else { return None };
        let (decoder, ops) = layers(ops, z);
        let &[Op::Nll { decoded, x: data, .. }, Op::Bound { bound, weight, objective: goal, .. }] = ops else {
            return None;
        };
        let way = self.tensor()?;
        let all = || encoder.iter().chain(&decoder);
        let gradient = |l: &Linear| {
            let (dw, dy) = (tape.layout.d(l.weight), tape.layout.d(l.y));
            Product { c: dw, a: Factor::T(dy), b: Factor::N(l.x), epilogue: Epilogue::None }
        };
        let weights: usize = all().map(|l| l.weight.elements()).sum();
        let clusters = x.rows.div_ceil(EXAMPLES);
        let fits = encoder.len() > 1
            && decoder.len() > 1
            && 2 * (encoder.len() + decoder.len()) - 1 <= PHASES
            && decoded.family.one() == Some(Likelihood::Bernoulli)
            && z.cols <= LATENT
            && goal.free_bits == 0.0
            && clusters * weights <= WEIGHTS
            && !all().any(|l| self.library_takes(&gradient(l)));
        if !fits {
            return None;
        }
        let kernel = match way {
            Way::Tf32 => "stack_tf32",
            Way::Bf16 => "stack_bf16",
            Way::Split => "stack_split",
            Way::Half => "stack_half",
        };
        let sizes = self.driver.clusters(kernel, THREADS);
        let size = sizes.iter().find(|cluster| cluster.at_once as usize >= clusters)?.blocks;
        Some(Stack {
            x,
            fetch,
            encoder,
            decoder,
            kl,
            kl_dim,
            head,
            z,
            ratio,
            eps,
            data,
            bound,
            weight,
            goal,
            size,
            way,
        })
    }

    /// Down to the gradients that are left to be made.
    pub(super) fn stacked_step(&mut self, tape: &Tape, stack: &Stack) -> Result<Vec<Gradient>> {
        let d = |v| tape.layout.d(v);
        let Stack { x, kl, kl_dim, head, z, ratio, eps, data, goal, size, .. } = *stack;
        self.fetch(x, None, stack.fetch, true)?;
        let layers = [&stack.encoder[..], &stack.decoder].concat();
        let logits = layers[layers.len() - 1].y;
        let mut phases = vec![];
        for &l in &layers {
            let (kind, a) = if l.x == z {
                (Kind::Draw, InAny::F32(NONE))
            } else {
                (if l.y == logits { Kind::Logits } else { Kind::Forward }, self.operand(l.x)?)
            };
            let (pre, b) = (if l.a == l.y { NONE } else { l.a }, self.operand(l.weight)?);
            let (c16, f) = (self.copy16(l.y), activation(l.f));
            phases.push(Phase {
                c: Out(l.y),
                c16,
                pre: Out(pre),
                a,
                b,
                bias: In(l.bias),
                out: In(NONE),
                kind: kind as u32,
                f,
            });
            self.changed(l.a);
            if let Kind::Logits = kind {
                self.changed(l.y)
            } else {
                self.copied(l.y)
            }
            if l.y == head {
                self.copied(z);
            }
        }
        self.copied(d(logits));
        let mut gradients = vec![];
        for (i, &l) in layers.iter().enumerate().rev() {
            gradients.push(Gradient { dw: d(l.weight), dbias: d(l.bias), dy: d(l.y), x: l.x });
            if l.x == x {
                continue;
            }
            let (kind, a) =
                if l.y == head { (Kind::PullBack, InAny::F32(NONE)) } else { (Kind::Backward, self.operand(d(l.y))?) };
            let b = self.operand(l.weight)?;
            // What the slope of the layer before is a function of; z has none before it.
            let slope = layers[..i].last().filter(|_| l.x != z).and_then(|l| Some((l, l.f?)));
            let (out, f) = slope.map_or((NONE, None), |(l, f)| (f.slope_from(l.a, l.y), Some(f)));
            let (c, c16) = (d(l.x), self.copy16(d(l.x)));
            let (f, kind) = (activation(f), kind as u32);
            phases.push(Phase { c: Out(c), c16, pre: Out(NONE), a, b, bias: In(NONE), out: In(out), kind, f });
            self.copied(c);
            if l.x == z {
                self.copied(d(head));
            }
        }
        let none = Phase {
            c: Out(NONE),
            c16: Out16(NONE),
            pre: Out(NONE),
            a: InAny::F32(NONE),
            b: InAny::F32(NONE),
            bias: In(NONE),
            out: In(NONE),
            kind: 0,
            f: 0,
        };
        let count = phases.len();
        phases.resize(PHASES, none);
        let phases = Phases(phases.try_into().expect("as many as there is room for"));

        // The data need no gradient.
        let parts = d(x).columns(0..parts(logits.cols, size as usize));
        let grid = Grid { blocks: [size * x.rows.div_ceil(EXAMPLES) as u32, 1], threads: THREADS, cluster: size };
        let (z16, dhead16, dout16) = (self.copy16(z), self.copy16(d(head)), self.copy16(d(logits)));
        #[rustfmt::skip] // a line for each group
        kernels::stack(stack.way)(
            &mut self.driver, grid, &phases, Out(z), z16, Out(ratio), Out(kl), In(head), In(eps.unwrap_or(NONE)),
            Out(d(head)), dhead16, In(d(z)), Out(parts), Out(d(logits)), dout16, In(data),
            objective(goal.objective), count as i32, size as i32,
        )?;
        self.bound(stack.bound, stack.weight, tape.layout.metrics(), parts, kl, kl_dim, ratio, goal)?;
        Ok(gradients)
    }
}

/// In how many parts a row's −log p(x|z) is left, of so many columns: as run_phase of kernels/stack.cu shares them out.
fn parts(cols: usize, size: usize) -> usize {
    let across = match cols {
        _ if cols <= 16 * size => 1,
        _ if cols <= 32 * size => 2,
        _ => 4,
    };
    cols.div_ceil(16 * across)
}
