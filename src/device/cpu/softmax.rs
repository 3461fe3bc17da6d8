//! Log-probabilities of variables of several columns, of which one is 1: y −= log Σ exp(y), in place. And the logarithms of the
//! means of counts that have one total.
use super::likelihood::observed;
use super::segments::BLOCK;
use super::{Cpu, each_rows};
use crate::arena::View;
use crate::device::Real;
use crate::device::sum;
use std::ops::Range;

pub fn forward<T: Real>(cpu: &mut Cpu<T>, y: View, variables: View) {
    let y = cpu.live(y);
    let [out, variables_in] = cpu.split([y, variables]);
    let variables = variables_in[..variables.cols].as_chunks::<2>().0;
    each_rows(
        y.rows,
        [(out, y.stride)],
        #[inline(always)]
        |_, [out]: &mut [&mut [T]; 1]| {
            let mut scratch = [T::of(0.0); BLOCK];
            for ends in variables {
                let [from, to] = ends.map(|end| end.to_f64() as usize);
                let at_once = (BLOCK / (to - from)).max(1);
                for rows in out.chunks_mut(at_once * y.stride) {
                    normalise(rows, y.stride, from..to, &mut scratch);
                }
            }
        },
    );
}

/// In place of log 0: a number whose exponential is 0, and which is one.
const NONE: f64 = -1e4;

/// y += log Σ x − log Σ exp(y), over what is observed of a row of x.
pub fn log_means<T: Real>(cpu: &mut Cpu<T>, y: View, x: View) {
    let samples = y.rows / x.rows;
    let (y, x) = (cpu.live(y), cpu.live(x));
    let [out, x_in] = cpu.split([y, x]);
    let x_in = &*x_in;
    each_rows(
        y.rows,
        [(out, y.stride)],
        #[inline(always)]
        |first, [out]: &mut [&mut [T]; 1]| {
            for (i, out) in out.chunks_mut(y.stride).enumerate() {
                let x = &x_in[(first + i) / samples * x.stride..][..x.cols];
                let y = &mut out[..x.len()];
                let total = total(x);
                let lowest = T::of(f64::NEG_INFINITY);
                // Of a row without any count all means are 0, and so is what it adds to the loss.
                let of_total = if total > T::of(0.0) { total.ln() } else { T::of(NONE) };
                // With the largest taken away first, nothing overflows. One that is missing is not the largest.
                let top = y.iter().zip(x).fold(lowest, |top, (&y, x)| if x.is_missing() { top } else { top.max(y) });
                let sum = sum([&*y, x], |[y, x]| observed(x, (y - top).exp()));
                // Where nothing is observed there is nothing to shift.
                let shift = if top > lowest { of_total - top - sum.ln() } else { T::of(0.0) };
                y.iter_mut().for_each(|y| *y += shift);
            }
        },
    );
}

/// dy −= exp(y) / Σ x · Σ dy, over what is observed of a row of x.
pub fn log_means_backward<T: Real>(cpu: &mut Cpu<T>, dy: View, y: View, x: View) {
    let samples = y.rows / x.rows;
    let (dy, y, x) = (cpu.live(dy), cpu.live(y), cpu.live(x));
    let [out, y_in, x_in] = cpu.split([dy, y, x]);
    let (y_in, x_in) = (&*y_in, &*x_in);
    each_rows(
        dy.rows,
        [(out, dy.stride)],
        #[inline(always)]
        |first, [out]: &mut [&mut [T]; 1]| {
            for (i, out) in out.chunks_mut(dy.stride).enumerate() {
                let row = first + i;
                let (x, y) = (&x_in[row / samples * x.stride..][..x.cols], &y_in[row * y.stride..][..x.cols]);
                let (dy, total) = (&mut out[..x.len()], total(x));
                // Where nothing is counted all means are 0, whatever their shares: there is nothing to take away.
                let pull = if total > T::of(0.0) { sum([&*dy], |[d]| d) / total } else { T::of(0.0) };
                dy.iter_mut().zip(y).zip(x).for_each(|((d, &y), &x)| *d -= observed(x, pull * y.exp()));
            }
        },
    );
}

/// The sum of the counts of a row that are observed.
#[inline(always)]
pub(super) fn total<T: Real>(x: &[T]) -> T {
    sum([x], |[x]| observed(x, x))
}

/// Some rows of one variable: as many as fit side by side, for most have few words, and a vector of 16 has no use for three.
#[inline(always)]
fn normalise<T: Real>(rows: &mut [T], stride: usize, columns: Range<usize>, scratch: &mut [T; BLOCK]) {
    let n = columns.len();
    if n > BLOCK {
        // With the largest taken away first, nothing overflows.
        for row in rows.chunks_mut(stride) {
            let y = &mut row[columns.clone()];
            let top = y.iter().fold(y[0], |top, &y| top.max(y));
            y.iter_mut().for_each(|y| *y -= top);
            let log_sum = sum([&*y], |[y]| y.exp()).ln();
            y.iter_mut().for_each(|y| *y -= log_sum);
        }
        return;
    }
    let mut len = 0;
    for (row, exps) in rows.chunks_mut(stride).zip(scratch.chunks_mut(n)) {
        let y = &mut row[columns.clone()];
        let top = y.iter().fold(y[0], |top, &y| top.max(y));
        for (y, exp) in y.iter_mut().zip(exps) {
            *y -= top;
            *exp = *y;
        }
        len += n;
    }
    scratch[..len].iter_mut().for_each(|x| *x = x.exp());
    for (i, at) in (0..len).step_by(n).enumerate() {
        scratch[i] = scratch[at..at + n].iter().fold(T::of(0.0), |sum, &exp| sum + exp);
    }
    scratch[..len / n].iter_mut().for_each(|x| *x = x.ln());
    for (row, &log_sum) in rows.chunks_mut(stride).zip(&*scratch) {
        row[columns.clone()].iter_mut().for_each(|y| *y -= log_sum);
    }
}
