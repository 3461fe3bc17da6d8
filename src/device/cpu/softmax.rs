//! Log-probabilities of variables of several columns, of which one is 1: y −= log Σ exp(y), in place.
use super::segments::BLOCK;
use super::{Cpu, each_rows};
use crate::arena::View;
use crate::device::Real;
use std::ops::Range;

pub fn forward<T: Real>(cpu: &mut Cpu<T>, y: View, variables: View) {
    let y = cpu.live(y);
    let [out, variables_in] = cpu.split([y, variables]);
    let variables = variables_in[..variables.cols].as_chunks::<2>().0;
    each_rows(
        y.rows,
        [(out, y.stride)],
        #[inline(always)]
        |_, [out]: [&mut [T]; 1]| {
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
            let log_sum = super::sum([&*y], |[y]| y.exp()).ln();
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
