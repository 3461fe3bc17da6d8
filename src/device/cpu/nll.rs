//! −log p(x|z) for each row of the decoder's output, in nats. A value of x that is missing adds nothing, to no sum and no
//! gradient: p(x|z) is a product over columns, and that of what was observed has one factor less.
use super::{Cpu, each_rows, each_rows_of, squares_are_finite, sum};
use crate::arena::View;
use crate::config::{Likelihood, Mean};
use crate::device::{Real, vectorise};
use crate::tape::{Decoded, LogVariance};
use rayon::prelude::*;

/// ½ log 2π
const HALF_LOG_TAU: f64 = 0.918_938_533_204_672_8;

/// −[x log σ(l) + (1 − x) log (1 − σ(l))] = softplus(l) − x l: finite for every finite logit l.
#[inline(always)]
fn bernoulli<T: Real>(l: T, x: T) -> T {
    observed(x, l.softplus() - x * l)
}

/// ½ (log 2π + logvar + (x − m)² exp(−logvar))
#[inline(always)]
fn gaussian<T: Real>(m: T, logvar: T, x: T) -> T {
    observed(x, T::of(HALF_LOG_TAU) + T::of(0.5) * (logvar + (x - m) * (x - m) * (-logvar).exp()))
}

/// What column x adds to a sum: nothing where it is missing.
#[inline(always)]
fn observed<T: Real>(x: T, term: T) -> T {
    if x.is_missing() { T::of(0.0) } else { term }
}

/// The mean of p(x|z) from the decoder's output, and its derivative.
#[inline(always)]
fn mean_of<T: Real>(mean: Mean, out: T) -> (T, T) {
    match mean {
        Mean::Identity => (out, T::of(1.0)),
        Mean::Sigmoid => {
            let m = out.sigmoid();
            (m, m * (T::of(1.0) - m))
        }
    }
}

/// The log-variances of one row: of column j at `j % len`, so that one number serves a whole row.
#[inline(always)]
fn log_variances<'a, T: Real>(variance: LogVariance, learned: &'a [T], fixed: &'a [T; 1], out: &'a [T]) -> &'a [T] {
    match variance {
        LogVariance::Fixed(_) => fixed,
        LogVariance::Learned(v) => &learned[..v.cols],
        LogVariance::Network => &out[out.len() / 2..],
    }
}

fn fixed<T: Real>(variance: LogVariance) -> [T; 1] {
    [T::of(if let LogVariance::Fixed(logvar) = variance { logvar } else { 0.0 })]
}

/// The view of a learned log-variance, or an empty one.
fn learned(decoded: Decoded) -> View {
    match decoded.variance {
        LogVariance::Learned(v) => v,
        _ => View { offset: 0, rows: 0, cols: 0, stride: 0 },
    }
}

pub fn forward<T: Real>(cpu: &mut Cpu<T>, nll: View, decoded: Decoded, x: View) {
    let samples = nll.rows / x.rows;
    let (nll, out, x) = (cpu.live(nll), cpu.live(decoded.out), cpu.live(x));
    let [nll_out, out_in, x_in, learned] = cpu.split([nll, out, x, learned(decoded)]);
    let (out_in, x_in, learned, fixed) = (&*out_in, &*x_in, &*learned, fixed(decoded.variance));
    each_rows_of(
        out.stride,
        nll.rows,
        [(nll_out, nll.stride)],
        #[inline(always)]
        |first, [nll_out]: [&mut [T]; 1]| {
            for (i, nll) in nll_out.chunks_mut(nll.stride).enumerate() {
                let row = first + i;
                let out = &out_in[row * out.stride..][..out.cols];
                let x = &x_in[row / samples * x.stride..][..x.cols];
                nll[0] = match decoded.likelihood {
                    Likelihood::Bernoulli => sum(x.len(), |j| bernoulli(out[j], x[j])),
                    Likelihood::Gaussian => {
                        let logvar = log_variances(decoded.variance, learned, &fixed, out);
                        let n = logvar.len();
                        match n {
                            1 => sum(x.len(), |j| gaussian(mean_of(decoded.mean, out[j]).0, logvar[0], x[j])),
                            _ => sum(x.len(), |j| gaussian(mean_of(decoded.mean, out[j]).0, logvar[j], x[j])),
                        }
                    }
                };
            }
        },
    );
}

/// dout[r] = weight[r] · d nll[r] / d out[r], and the same for a learned log-variance, summed over the rows that it
/// serves: d nll / d logvar = ½ (1 − (x − m)² exp(−logvar)).
pub fn backward<T: Real>(cpu: &mut Cpu<T>, dout: View, dlogvar: Option<View>, decoded: Decoded, x: View, weight: View) {
    let samples = weight.rows / x.rows;
    let (dout, out, x, weight) = (cpu.live(dout), cpu.live(decoded.out), cpu.live(x), cpu.live(weight));
    let none = View { offset: 0, rows: 0, cols: 0, stride: 0 };
    let [dout_out, dlogvar_out, out_in, x_in, weight_in, learned] =
        cpu.split([dout, dlogvar.unwrap_or(none), out, x, weight, learned(decoded)]);
    let (out_in, x_in, weight_in, learned) = (&*out_in, &*x_in, &*weight_in, &*learned);
    let fixed = fixed(decoded.variance);
    let row_of = |row: usize| {
        let out = &out_in[row * out.stride..][..out.cols];
        (out, &x_in[row / samples * x.stride..][..x.cols], weight_in[row * weight.stride])
    };
    each_rows(
        dout.rows,
        [(dout_out, dout.stride)],
        #[inline(always)]
        |first, [dout_out]: [&mut [T]; 1]| {
            for (i, dout) in dout_out.chunks_mut(dout.stride).enumerate() {
                let (out, x, w) = row_of(first + i);
                match decoded.likelihood {
                    Likelihood::Bernoulli => {
                        for j in 0..x.len() {
                            dout[j] = observed(x[j], w * (out[j].sigmoid() - x[j]));
                        }
                    }
                    Likelihood::Gaussian => {
                        let logvar = log_variances(decoded.variance, learned, &fixed, out);
                        let network = decoded.variance == LogVariance::Network;
                        for j in 0..x.len() {
                            let precision = (-logvar[if logvar.len() == 1 { 0 } else { j }]).exp();
                            let (m, dm) = mean_of(decoded.mean, out[j]);
                            dout[j] = observed(x[j], w * (m - x[j]) * precision * dm);
                            if network {
                                let slope = w * T::of(0.5) * (T::of(1.0) - (x[j] - m) * (x[j] - m) * precision);
                                dout[x.len() + j] = observed(x[j], slope);
                            }
                        }
                    }
                }
            }
        },
    );

    let Some(dlogvar) = dlogvar else { return };
    let logvar = log_variances(decoded.variance, learned, &fixed, &[]);
    let slope = |row: usize, j: usize, logvar: T| {
        let (out, x, w) = row_of(row);
        let error = x[j] - mean_of(decoded.mean, out[j]).0;
        observed(x[j], w * T::of(0.5) * (T::of(1.0) - error * error * (-logvar).exp()))
    };
    if dlogvar.cols == 1 {
        // By row in parallel, then over the rows in order.
        let rows: Vec<T> = (0..out.rows)
            .into_par_iter()
            .with_min_len(16)
            .map(|row| {
                vectorise(
                    #[inline(always)]
                    || sum(x.cols, |j| slope(row, j, logvar[0])),
                )
            })
            .collect();
        dlogvar_out[0] = sum(rows.len(), |i| rows[i]);
    } else {
        each_rows(
            dlogvar.cols,
            [(&mut dlogvar_out[..dlogvar.cols], 1)],
            #[inline(always)]
            |first, [sums]: [&mut [T]; 1]| {
                sums.fill(T::of(0.0));
                for row in 0..out.rows {
                    sums.iter_mut().enumerate().for_each(|(j, sum)| *sum += slope(row, first + j, logvar[first + j]));
                }
            },
        );
    }
    let finite = squares_are_finite(&dlogvar_out[..dlogvar.cols]);
    cpu.note_gradient(finite);
}
