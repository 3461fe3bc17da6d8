//! A step of training in fewer launches: the tape's operations, with neighbours merged where one kernel does for both.
//! What has no such kernel runs as the tape would run it, operation by operation; the numbers mean the same.
use super::gradients::Gradient;
use super::latent::Latent;
use super::nll::Wanted;
use super::products::{BernoulliOf, Finish};
use super::{Gpu, NONE, Shortcut};
use crate::Result;
use crate::arena::View;
use crate::config::{self, Likelihood, Objective, Optimizer};
use crate::device::Backend;
use crate::device::driver::{Driver, Epilogue, Factor};
use crate::tape::{Op, Tape};

/// So many rows at most, a sample of an example each, one block gives the bound of in passing.
const BOUND_IN_PASSING: usize = 2048;

impl<D: Driver> Gpu<D> {
    /// What `Tape::step` does, for the step whose turn it is.
    pub(super) fn merged_step(&mut self, tape: &Tape, optimizer: &Optimizer) -> Result<()> {
        let gradients = match self.stack(tape) {
            Some(stack) => self.stacked_step(tape, &stack)?,
            None => {
                let parts = self.merged_forward(tape)?;
                self.merged_backward(tape, parts)?
            }
        };
        self.driver.join()?;
        if self.adam_at_once(tape, optimizer, &gradients) {
            return self.gradients_and_adam(tape, optimizer, &gradients);
        }
        self.gradients(&gradients)?;
        self.update(&tape.layout, optimizer)
    }

    /// Hands back −log p(x|z), in parts, where no operation has put it in its place.
    fn merged_forward(&mut self, tape: &Tape) -> Result<Option<View>> {
        let mut parts = None;
        assert!(matches!(tape.ops[0], Op::Gather { .. }), "a step that is planned begins with its data");
        let mut ops = tape.ops.iter().copied().enumerate().peekable();
        while let Some((i, op)) = ops.next() {
            match (op, ops.peek().map(|&(_, next)| next)) {
                (Op::Gather { x, fetch }, Some(Op::Log1p { y, x: counts, kinds })) if counts == x => {
                    ops.next();
                    self.fetch(x, Some((y, kinds)), fetch, i == 0)?
                }
                (Op::Gather { x, fetch }, _) => self.fetch(x, None, fetch, i == 0)?,
                (Op::Kl { kl, kl_dim, head }, Some(Op::Reparam { z, ratio, eps, .. })) => {
                    ops.next();
                    let behind = ops.peek().map(|&(_, op)| op);
                    if self.latent_forward(Latent { kl, kl_dim, head, z, ratio, eps }, behind)? {
                        ops.next();
                    }
                }
                (Op::Linear { y, x, weight, bias, .. }, Some(Op::Nll { x: data, decoded, .. }))
                    if decoded.family.one() == Some(Likelihood::Bernoulli)
                        && self.nll_in_product(tape, y, x, weight) =>
                {
                    ops.next();
                    // The data need no gradient.
                    let op = BernoulliOf { dout: tape.layout.d(y), data, room: tape.layout.d(tape.x) };
                    parts = Some(self.bernoulli_product(y, x, weight, bias, op)?)
                }
                (Op::Nll { nll, decoded, x }, _) if self.nll_at_once(tape) => {
                    let ddispersion = decoded.learned.map(|v| tape.layout.d(v));
                    let dout = tape.layout.d(decoded.out);
                    self.log_likelihood(Wanted { nll, dout, weight: NONE, ddispersion }, decoded, x)?
                }
                (Op::Bound { .. }, _) if self.bound_in_passing(tape) => {}
                _ => tape.forward(self, i..i + 1)?,
            }
        }
        Ok(parts)
    }

    /// Where besides our own kernel makes the logits of a Bernoulli, and each example has one row of them.
    fn nll_in_product(&self, tape: &Tape, y: View, x: View, weight: View) -> bool {
        self.has(Shortcut::Nll)
            && self.bound_in_passing(tape)
            && y.rows == tape.batch
            && self.is_ours(y, Factor::N(x), Factor::T(weight))
    }

    /// Where the weights are known before the bound, those of one sample too, the gradient of −log p(x|z) is made along with
    /// its value.
    fn nll_at_once(&self, tape: &Tape) -> bool {
        tape.objective.objective != Objective::Iwae || tape.weight.rows == tape.batch
    }

    /// Then the backward pass need not wait for the bound either.
    pub(super) fn bound_in_passing(&self, tape: &Tape) -> bool {
        // Of the path alone the latent variables have a kernel of their own, which reads the weights.
        let total = tape.objective.gradient == config::Gradient::Total;
        self.nll_at_once(tape) && tape.weight.rows <= BOUND_IN_PASSING && total
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
                Op::Gather { .. } | Op::Log1p { .. } | Op::LogSoftmax { .. } => {}
                Op::LogMeans { .. } => tape.backward_of(self, i)?,
                Op::Bound { .. } | Op::Kl { .. } => {}
                Op::Nll { .. } if self.nll_at_once(tape) => {}
                Op::Nll { .. } => tape.backward_of(self, i)?,
                Op::Linear { y, a, x, weight, bias, activation } => {
                    let (dw, dbias, dy) = (d(weight), d(bias), d(y));
                    let f = if sloped { None } else { activation };
                    self.finish_gradient(&mut gradients, dw, dbias, dy, y, a, x, f)?;
                    sloped = false;
                    if known == Some(x) {
                        sloped = true;
                    } else if x != tape.x {
                        let (dx, before) = (d(x), tape.ops[i - 1]);
                        if self.product(dx, Factor::N(dy), Factor::N(weight), Epilogue::None)? {
                            continue;
                        }
                        let finish = match before {
                            Op::Linear { y, a, activation: Some(f), .. } if y == x => {
                                sloped = true;
                                Finish::Slope { out: f.slope_from(a, y), f: Some(f) }
                            }
                            _ => Finish::None,
                        };
                        self.own_product(dx, dy, Factor::N(weight), finish)?
                    }
                }
                Op::Reparam { z, ratio, head, eps } if self.bound_in_passing(tape) => {
                    known = self.latent_backward(tape, z, ratio, head, eps, parts)?;
                }
                Op::Reparam { .. } => tape.backward_of(self, i)?,
            }
        }
        Ok(gradients)
    }
}
