//! The latent variables, forward and backward, with what stands around them in the same launch.
use super::products::Tiles;
use super::{Gpu, NONE, Shortcut, activation, objective};
use crate::Result;
use crate::arena::View;
use crate::config::Activation;
use crate::device::driver::{Driver, Factor, Grid};
use crate::device::kernels::{self, In, Out};
use crate::tape::{Op, Tape};

/// What kernels/bottleneck.cu has room for: so many latent dimensions, as kernels/stack.cu, and so many samples drawn again in
/// each block.
pub(super) const LATENT: usize = 64;
const SAMPLES: usize = 8;

/// The views of `Op::Kl` and `Op::Reparam`.
pub(super) struct Latent {
    pub kl: View,
    pub kl_dim: View,
    pub head: View,
    pub z: View,
    pub ratio: View,
    pub eps: Option<View>,
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

impl<D: Driver> Gpu<D> {
    /// `Op::Kl` and `Op::Reparam`. With them goes the layer `behind`, where that is one and may: then true.
    pub(super) fn latent_forward(&mut self, it: Latent, behind: Option<Op>) -> Result<bool> {
        let Latent { kl, kl_dim, head, z, ratio, eps } = it;
        let (z16, samples) = (self.copy16(z), (z.rows / head.rows) as i32);
        self.copied(z);
        let (kl_rows, kl_cols) = (head.rows, kl_dim.cols.div_ceil(8));
        let (kl, kl_dim, ratio, eps) = (Out(kl), Out(kl_dim), Out(ratio), In(eps.unwrap_or(NONE)));
        if let Some(Op::Linear { y, a, x, weight, bias, activation: f @ Some(_) }) = behind
            && x == z
            && self.beside_latent(y, Factor::N(x), Factor::T(weight), head, z)
        {
            let grid = Grid::line(kl_cols + Tiles::Small.count(y), 512);
            let (y16, pre) = (self.copy16(y), Out(if a == y { NONE } else { a }));
            let (w, bias, f, kernel) =
                (self.operand(weight)?, In(bias), activation(f), kernels::latent_forward_linear(self.way()));
            #[rustfmt::skip] // a line for each group
            kernel(
                &mut self.driver, grid, Out(y), y16, pre, Out(z), z16, ratio, kl, kl_dim,
                In(head), eps, w, bias, samples, f,
            )?;
            self.changed(a);
            self.copied(y);
            return Ok(true);
        }
        let parts = self.parts(head.rows, kl_dim.0.cols);
        let grid = Grid::line(z.rows.div_ceil(8) + kl_rows.div_ceil(8) + kl_cols * parts.rows.max(1), 256);
        let (d, partial) = (&mut self.driver, Out(parts));
        kernels::latent_forward(d, grid, Out(z), z16, ratio, kl, kl_dim, partial, In(head), eps, samples)?;
        self.kl_of_parts(kl_dim.0, parts)?;
        Ok(false)
    }

    /// The second stage of the mean of each dimension, where there are parts.
    pub(super) fn kl_of_parts(&mut self, kl_dim: View, parts: View) -> Result<()> {
        if parts.rows == 0 {
            return Ok(());
        }
        kernels::kl_dim_of_parts(&mut self.driver, Grid::line(kl_dim.cols.div_ceil(8), 64), Out(kl_dim), In(parts))
    }

    /// Backward of `Op::Reparam` and `Op::Kl`, and `Op::Bound`, where the weights are known. `parts`: of `Op::Nll`, where
    /// it is in parts. With them goes the layer before, where it may: then the activation whose gradient that made.
    pub(super) fn latent_backward(
        &mut self,
        tape: &Tape,
        z: View,
        ratio: View,
        head: View,
        eps: Option<View>,
        parts: Option<View>,
    ) -> Result<Option<View>> {
        let Some(&Op::Bound { bound, weight, nll, kl, kl_dim, objective: goal, .. }) = tape.ops.last() else {
            unreachable!("a step ends with its bound")
        };
        let d = |v| tape.layout.d(v);
        let (dhead, dhead16) = (Out(d(head)), self.copy16(d(head)));
        let (bound, weight, metrics) = (Out(bound), Out(weight), Out(tape.layout.metrics()));
        let (dz, eps, nll) = (In(d(z)), In(eps.unwrap_or(NONE)), In(parts.unwrap_or(nll)));
        let (kl, kl_dim, ratio) = (In(kl), In(kl_dim), In(ratio));
        let samples = (z.rows / head.rows) as i32;
        let (free_bits, goal) = (goal.free_bits as f32, objective(goal.objective));
        self.copied(d(head));
        if let Some(EncoderEnd { x, weight: w, out, f }) = self.encoder_end(tape, head, z) {
            let grid = Grid::line(1 + Tiles::Small.count(x), 512);
            let (dx16, w, f) = (self.copy16(d(x)), self.operand(w)?, activation(Some(f)));
            let kernel = kernels::latent_backward_linear(self.way());
            #[rustfmt::skip] // a line for each group
            kernel(
                &mut self.driver, grid, Out(d(x)), dx16, dhead, dhead16, bound, weight, metrics,
                dz, In(z), In(head), eps, nll, kl, kl_dim, ratio, w, In(out),
                samples, goal, free_bits, f,
            )?;
            self.copied(d(x));
            return Ok(Some(x));
        }
        let quads = head.rows * z.cols.div_ceil(4);
        let grid = Grid::line(1 + quads.div_ceil(256).clamp(1, 2047), 256);
        #[rustfmt::skip] // a line for each group
        kernels::latent_backward(
            &mut self.driver, grid, dhead, dhead16, bound, weight, metrics,
            dz, In(z), In(head), eps, nll, kl, kl_dim, ratio,
            samples, goal, free_bits,
        )?;
        Ok(None)
    }

    /// Where our own kernel makes the product of a layer beside the latent variables, and small tiles serve.
    fn beside_latent(&self, c: View, a: Factor, b: Factor, head: View, z: View) -> bool {
        self.has(Shortcut::Latent)
            && z.cols <= LATENT
            && z.rows <= SAMPLES * head.rows
            && self.is_ours(c, a, b)
            && Tiles::of(c, true) != Tiles::Wide
    }

    /// Where its product goes along with the latent variables.
    fn encoder_end(&self, tape: &Tape, head: View, z: View) -> Option<EncoderEnd> {
        let ends = |op: &&[Op]| matches!(op[1], Op::Linear { y, .. } if y == head);
        match *tape.ops.windows(2).find(ends)? {
            [Op::Linear { y, a, activation: Some(f), .. }, Op::Linear { x, weight, .. }] if x == y => {
                let (dx, dy) = (tape.layout.d(x), tape.layout.d(head));
                let along = self.beside_latent(dx, Factor::N(dy), Factor::N(weight), head, z);
                along.then_some(EncoderEnd { x, weight, out: f.slope_from(a, y), f })
            }
            _ => None,
        }
    }
}
