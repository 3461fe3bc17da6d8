//! The batch of a step, from the resident data set.
use super::{Cpu, each_rows};
use crate::arena::View;
use crate::config::Binarize;
use crate::data::{Dataset, Values};
use crate::device::Real;
use crate::rng::{self, Stream};
use crate::tape::Order;

/// x[b] = example (position + b) of this epoch; bytes stand for byte / 255.
pub fn forward<T: Real>(cpu: &mut Cpu<T>, x: View, order: Order, binarize: Binarize, data: &Dataset) {
    let (step, x) = (cpu.step, cpu.live(x));
    let (n, cols) = (data.rows() as u32, data.cols);
    assert!(cols == x.cols && step.position + step.rows <= n, "{x:?} of {n} examples of {cols} columns");
    let keys = rng::shuffle_keys(step.seed, step.epoch);
    let [out] = cpu.split([x]);
    each_rows(
        x.rows,
        [(out, x.stride)],
        #[inline(always)]
        |first: usize, [out]: [&mut [T]; 1]| {
            let mut draws = vec![0f32; if binarize == Binarize::Dynamic { cols } else { 0 }];
            for (i, out) in out.chunks_mut(x.stride).enumerate() {
                let at = (first + i) as u32;
                let example = match order {
                    Order::Sequential => step.position + at,
                    Order::Shuffled => rng::shuffle(step.position + at, n, &keys),
                } as usize;
                let source = example * cols..(example + 1) * cols;
                match &data.values {
                    // Divided in f32 on every device, so that all see the same x.
                    Values::Bytes(v) => {
                        out.iter_mut().zip(&v[source]).for_each(|(x, &b)| *x = T::of((b as f32 / 255.0) as f64))
                    }
                    Values::Reals(v) => out.iter_mut().zip(&v[source]).for_each(|(x, &r)| *x = T::of(r as f64)),
                }
                let (zero, one) = (T::of(0.0), T::of(1.0));
                match binarize {
                    Binarize::None => {}
                    Binarize::Threshold => {
                        out[..cols].iter_mut().for_each(|x| *x = if *x >= T::of(0.5) { one } else { zero })
                    }
                    Binarize::Dynamic => {
                        rng::uniforms(&mut draws, step.seed, Stream::Binarize, step.index, step.first_row + at);
                        for (x, &u) in out.iter_mut().zip(&draws) {
                            *x = if T::of(u as f64) < *x { one } else { zero };
                        }
                    }
                }
            }
        },
    );
}
