//! The batch of a step, from the resident data set, where NaN is missing if that is allowed; and what an encoder sees of counts.
use super::{Cpu, each_rows};
use crate::arena::View;
use crate::config::Binarize;
use crate::data::{Dataset, Values};
use crate::device::{MISSING, Real};
use crate::rng::{self, Stream};
use crate::tape::{Fetch, Kind, Order};

/// x[b K + k] = columns of example (position + b) of this epoch; bytes stand for byte / 255. 0 of −0, which is [`MISSING`].
pub fn forward<T: Real>(cpu: &mut Cpu<T>, x: View, fetch: Fetch, data: &Dataset) {
    let (step, x, Fetch { from, samples, order, binarize, missing }) = (cpu.step, cpu.live(x), fetch);
    let (n, cols) = (data.rows() as u32, x.cols);
    let inside = from + cols <= data.cols && step.position + step.rows <= n && x.rows == step.rows as usize * samples;
    assert!(inside, "{x:?}, {fetch:?} of {n} examples of {} columns", data.cols);
    let keys = rng::shuffle_keys(step.seed, step.epoch);
    let [out] = cpu.split([x]);
    each_rows(
        x.rows,
        [(out, x.stride)],
        #[inline(always)]
        |first: usize, [out]: &mut [&mut [T]; 1]| {
            let mut draws = vec![0f32; if binarize == Binarize::Dynamic { cols } else { 0 }];
            let begin = first / samples; // of the batch
            let end = (first + out.len().div_ceil(x.stride)).div_ceil(samples);
            let mut examples: Vec<u32> = (begin..end).map(|b| step.position + b as u32).collect();
            if order == Order::Shuffled {
                rng::shuffle(&mut examples, step.position + begin as u32, n, &keys);
            }
            for (i, out) in out.chunks_mut(x.stride).enumerate() {
                let at = (first + i) / samples;
                let example = examples[at - begin] as usize;
                let source = example * data.cols + from..example * data.cols + from + cols;
                match &data.values {
                    // Divided in f32 on every device, so that all see the same x.
                    Values::Bytes(v) => {
                        out.iter_mut().zip(&v[source.clone()]).for_each(|(x, &b)| *x = T::of((b as f32 / 255.0) as f64))
                    }
                    Values::Reals(v) => {
                        out.iter_mut().zip(&v[source.clone()]).for_each(|(x, &r)| *x = T::of(r as f64 + 0.0))
                    }
                    Values::Sparse(v) => {
                        out[..cols].fill(T::of(0.0));
                        v.entries_in(example, from..from + cols).for_each(|(j, r)| out[j] = T::of(r as f64 + 0.0));
                    }
                }
                let (zero, one) = (T::of(0.0), T::of(1.0));
                match binarize {
                    Binarize::None => {}
                    Binarize::Threshold => {
                        out[..cols].iter_mut().for_each(|x| *x = if *x >= T::of(0.5) { one } else { zero })
                    }
                    Binarize::Dynamic => {
                        rng::uniforms(&mut draws, step.seed, Stream::Binarize, step.index, step.first_row + at as u32);
                        for (x, &u) in out.iter_mut().zip(&draws) {
                            *x = if T::of(u as f64) < *x { one } else { zero };
                        }
                    }
                }
                match &data.values {
                    Values::Reals(v) if missing => {
                        let gaps = out.iter_mut().zip(&v[source]).filter(|(_, r)| r.is_nan());
                        gaps.for_each(|(x, _)| *x = T::of(MISSING));
                    }
                    Values::Sparse(v) if missing => {
                        let gaps = v.entries_in(example, from..from + cols).filter(|(_, r)| r.is_nan());
                        gaps.for_each(|(j, _)| out[j] = T::of(MISSING));
                    }
                    _ => {}
                }
            }
        },
    );
}

/// y = log(1 + x): exact to a rounding, for x is whole. In the columns whose codes are not of counts y = x.
pub fn log1p<T: Real>(cpu: &mut Cpu<T>, y: View, x: View, kinds: Option<View>) {
    let (y, x) = (cpu.live(y), cpu.live(x));
    let [out, x_in, codes] = cpu.split([y, x, kinds.unwrap_or(View::NONE)]);
    let (x_in, codes) = (&*x_in, &*codes);
    each_rows(
        y.rows,
        [(out, y.stride)],
        #[inline(always)]
        |first: usize, [out]: &mut [&mut [T]; 1]| {
            for (i, out) in out.chunks_mut(y.stride).enumerate() {
                let x = &x_in[(first + i) * x.stride..][..x.cols];
                for j in 0..x.len() {
                    out[j] = (T::of(1.0) + x[j]).ln();
                }
                for ((out, &x), code) in out.iter_mut().zip(x).zip(codes) {
                    if !Kind::of(code.to_f64()).likelihood.is_of_counts() {
                        *out = x;
                    }
                }
            }
        },
    );
}
