//! Gradients into steps, over the flat parameters: as in PyTorch's `torch.optim`. Padding has gradient zero, and every
//! rule leaves a zero with gradient zero where it is.
use super::{Cpu, GRAIN};
use crate::arena::Layout;
use crate::config::{Optimizer, Rule};
use crate::device::sum;
use crate::device::{Real, vectorise};
use rayon::prelude::*;

pub fn step<T: Real>(cpu: &mut Cpu<T>, layout: &Layout, o: &Optimizer) {
    let step = cpu.step;
    let params = layout.params();
    let views = [params, layout.d(params), layout.moment(params, 0), layout.moment(params, 1)];
    let [w, g, m, v] = cpu.split(views);
    let g = &*g;

    let clip = match o.clip_norm {
        0.0 => 1.0,
        limit => {
            // Pieces of one size whatever the number of threads, then their sum in order.
            let squares: f64 = g
                .par_chunks(GRAIN)
                .map(|g| {
                    vectorise(
                        #[inline(always)]
                        || sum([g], |[g]| g * g),
                    )
                    .to_f64()
                })
                .collect::<Vec<f64>>()
                .iter()
                .sum();
            if !squares.is_finite() {
                cpu.note_gradient(false);
                return;
            }
            // As torch.nn.utils.clip_grad_norm_ has it, with its 1e-6.
            (limit / (squares.sqrt() + 1e-6)).min(1.0)
        }
    };

    let t = |x: f64| T::of(x);
    let (lr, decay, clip) = (t(step.lr), t(o.weight_decay), t(clip));
    let (beta1, beta2) = (t(o.betas.0), t(o.betas.1));
    let (rest1, rest2) = (t(1.0 - o.betas.0), t(1.0 - o.betas.1));
    let (eps, momentum, zero) = (t(o.eps), t(o.momentum), t(0.0)); // eps may be 0: then what never had a gradient stays
    // lr m̂ / (√v̂ + eps) with m̂ = m / c1, v̂ = v / c2
    let rate = t(step.lr / step.corrections.0);
    let scale = t(1.0 / step.corrections.1.sqrt());
    let shrink = t(1.0 - step.lr * o.weight_decay);

    let chunks = w.par_chunks_mut(GRAIN).zip(g.par_chunks(GRAIN));
    let chunks = chunks.zip(m.par_chunks_mut(GRAIN)).zip(v.par_chunks_mut(GRAIN)).with_min_len(2);
    chunks.for_each(|(((w, g), m), v)| {
        vectorise(
            #[inline(always)]
            || {
                // One length for all four, so that the loops need no bounds.
                let n = w.len();
                let (w, g, m, v) = (&mut w[..n], &g[..n], &mut m[..n], &mut v[..n]);
                match o.rule {
                    Rule::Sgd => {
                        for i in 0..n {
                            w[i] -= lr * (g[i] * clip + decay * w[i]);
                        }
                    }
                    Rule::Momentum => {
                        for i in 0..n {
                            m[i] = (momentum * m[i] + (g[i] * clip + decay * w[i])).flushed();
                            w[i] -= lr * m[i];
                        }
                    }
                    Rule::Adagrad => {
                        for i in 0..n {
                            let g = g[i] * clip + decay * w[i];
                            v[i] += g * g;
                            let root = v[i].sqrt() + eps;
                            w[i] -= if root > zero { lr * g / root } else { zero };
                        }
                    }
                    Rule::Adam | Rule::Adamw => {
                        let (shrink, decay) = match o.rule {
                            Rule::Adamw => (shrink, t(0.0)), // Loshchilov & Hutter 2019: beside the gradient
                            _ => (t(1.0), decay),
                        };
                        for i in 0..n {
                            let g = g[i] * clip + decay * w[i];
                            m[i] = (beta1 * m[i] + rest1 * g).flushed();
                            v[i] = (beta2 * v[i] + rest2 * g * g).flushed();
                            let root = v[i].sqrt() * scale + eps;
                            let step = rate * m[i] * root.reciprocal();
                            w[i] = w[i] * shrink - if root > zero { step } else { zero };
                        }
                    }
                }
            },
        )
    });
}
