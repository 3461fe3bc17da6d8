//! −log p(x|z) for each row of the decoder's output, in nats. A value of x that is missing adds nothing, to no sum and no
//! gradient: p(x|z) is a product over columns, and that of what was observed has one factor less.
use super::likelihood::{Sum, logvar_slope, observed, slopes, terms};
use super::segments::{BLOCK, Block, Rows, SHORT, Segment, each_segment};
use super::softmax::total;
use super::{Cpu, GRAIN, each_rows, each_rows_of, squares_are_finite};
use crate::arena::View;
use crate::config::{Likelihood, Mean, Spread};
use crate::counts;
use crate::device::sum;
use crate::device::{Real, vectorise};
use crate::tape::{Decoded, Family, Kind};
use rayon::prelude::*;

pub fn forward<T: Real>(cpu: &mut Cpu<T>, nll: View, decoded: Decoded, x: View) {
    each_segment(cpu, decoded, x, |cpu, segment| forward_of(cpu, nll, decoded, x, segment));
    if let Family::One(Kind { likelihood: Likelihood::Multinomial, .. }) = decoded.family {
        less_of_totals(cpu, nll, x);
    }
}

/// Of counts whose total is given: nll −= −log p of the total, a Poisson's of the mean that it is.
fn less_of_totals<T: Real>(cpu: &mut Cpu<T>, nll: View, x: View) {
    let samples = nll.rows / x.rows;
    let (nll, x) = (cpu.live(nll), cpu.live(x));
    let [nll_out, x_in] = cpu.split([nll, x]);
    let x_in = &*x_in;
    each_rows_of(
        x.cols,
        nll.rows,
        [(nll_out, nll.stride)],
        #[inline(always)]
        |first, [nll_out]: &mut [&mut [T]; 1]| {
            for (i, nll) in nll_out.chunks_mut(nll.stride).enumerate() {
                nll[0] -= counts::at_best(total(&x_in[(first + i) / samples * x.stride..][..x.cols]));
            }
        },
    );
}

/// Of the first segment nll = Σ, of the others nll += Σ.
fn forward_of<T: Real>(cpu: &mut Cpu<T>, nll: View, decoded: Decoded, x: View, segment: Segment) {
    let samples = nll.rows / x.rows;
    let (nll, out, x) = (cpu.live(nll), cpu.live(decoded.out), cpu.live(x));
    let spreads = decoded.learned.unwrap_or(View::NONE);
    let [nll_out, out_in, x_in, learned] = cpu.split([nll, out, x, spreads]);
    let (learned, fixed) = (&learned[..spreads.cols], [T::of(decoded.fixed)]);
    let rows = Rows { segment: &segment, x: (&*x_in, x), out: (&*out_in, out), samples, learned, fixed };
    each_rows_of(
        out.stride,
        nll.rows,
        [(nll_out, nll.stride)],
        #[inline(always)]
        |first, [nll_out]: &mut [&mut [T]; 1]| {
            let (from, n, Kind { likelihood, .. }) = (segment.columns.start, segment.columns.len(), segment.kind);
            let add = |nll: &mut [T], sum: T| nll[0] = if from == 0 { sum } else { nll[0] + sum };
            if n >= SHORT {
                for (i, nll) in nll_out.chunks_mut(nll.stride).enumerate() {
                    let (of, a) = rows.row(first + i);
                    add(nll, terms(likelihood, decoded.mean, of, a, Sum));
                }
                return;
            }
            let mut block = Block::new();
            for (i, nlls) in nll_out.chunks_mut(Block::<T>::rows(n) * nll.stride).enumerate() {
                let first = first + i * Block::<T>::rows(n);
                let (of, a, each) = block.filled(&rows, first..first + nlls.len() / nll.stride);
                terms(likelihood, decoded.mean, of, a, &mut *each);
                for (nll, each) in nlls.chunks_mut(nll.stride).zip(each.chunks(n)) {
                    add(nll, each.iter().fold(T::of(0.0), |sum, &term| sum + term));
                }
            }
        },
    );
}

/// dout[r] = weight[r] · d nll[r] / d out[r], and the same for a learned log-dispersion, summed over the rows that it serves: of
/// a Gaussian d nll / d logvar = ½ (1 − (x − m)² exp(−logvar)).
pub fn backward<T: Real>(
    cpu: &mut Cpu<T>,
    dout: View,
    ddispersion: Option<View>,
    decoded: Decoded,
    x: View,
    weight: View,
) {
    each_segment(cpu, decoded, x, |cpu, segment| backward_of(cpu, dout, ddispersion, decoded, x, weight, segment));
}

fn backward_of<T: Real>(
    cpu: &mut Cpu<T>,
    dout: View,
    ddispersion: Option<View>,
    decoded: Decoded,
    x: View,
    weight: View,
    segment: Segment,
) {
    let samples = weight.rows / x.rows;
    let (dout, out, x, weight) = (cpu.live(dout), cpu.live(decoded.out), cpu.live(x), cpu.live(weight));
    let spreads = decoded.learned.unwrap_or(View::NONE);
    let [dout_out, ddispersion_out, out_in, x_in, weight_in, learned] =
        cpu.split([dout, ddispersion.unwrap_or(View::NONE), out, x, weight, spreads]);
    let (out_in, x_in, weight_in, learned) = (&*out_in, &*x_in, &*weight_in, &learned[..spreads.cols]);
    let (fixed, kind, columns) = ([T::of(decoded.fixed)], segment.kind, &segment.columns);
    let all = Rows { segment: &segment, x: (x_in, x), out: (out_in, out), samples, learned, fixed };
    let row_of = |row: usize| {
        let ([x, out], _) = all.row(row);
        (out, x, weight_in[row * weight.stride])
    };
    each_rows(
        dout.rows,
        [(dout_out, dout.stride)],
        #[inline(always)]
        |first, [dout_out]: &mut [&mut [T]; 1]| {
            let n = columns.len();
            if n >= SHORT {
                for (i, dout) in dout_out.chunks_mut(dout.stride).enumerate() {
                    let (of, a) = all.row(first + i);
                    let parts = segment.parts(&mut dout[..out.cols], x.cols);
                    slopes(kind.likelihood, decoded.mean, parts, of, a, weight_in[(first + i) * weight.stride]);
                }
                return;
            }
            let (mut block, mut spreads) = (Block::new(), [T::of(0.0); BLOCK]);
            for (i, douts) in dout_out.chunks_mut(Block::<T>::rows(n) * dout.stride).enumerate() {
                let first = first + i * Block::<T>::rows(n);
                let (of, a, each) = block.filled(&all, first..first + douts.len() / dout.stride);
                let spread = (kind.spread == Spread::Network).then(|| &mut spreads[..each.len()]);
                slopes(kind.likelihood, decoded.mean, (&mut *each, spread), of, a, T::of(1.0));
                for (row, dout) in douts.chunks_mut(dout.stride).enumerate() {
                    let w = weight_in[(first + row) * weight.stride];
                    let (dmean, dnetwork) = segment.parts(&mut dout[..out.cols], x.cols);
                    let at = row * n..(row + 1) * n;
                    dmean.iter_mut().zip(&each[at.clone()]).for_each(|(d, &slope)| *d = w * slope);
                    let pairs = dnetwork.into_iter().flatten().zip(&spreads[at]);
                    pairs.for_each(|(d, &slope)| *d = w * slope);
                }
            }
        },
    );

    let Some(ddispersion) = ddispersion else { return };
    let at = if learned.len() == 1 { 0..1 } else { columns.clone() };
    let (a, gradient) = (&learned[at.clone()], &mut ddispersion_out[..ddispersion.cols][at]);
    match (kind.spread, kind.likelihood, decoded.mean) {
        (Spread::Fixed | Spread::Network, ..) => return gradient.fill(T::of(0.0)),
        (_, Likelihood::NegativeBinomial, _) => learned_gradient(
            gradient,
            a,
            out.rows,
            row_of,
            #[inline(always)]
            |o, a, x| counts::dispersion_slope(o, a, x),
        ),
        (_, _, Mean::Identity) => learned_gradient(
            gradient,
            a,
            out.rows,
            row_of,
            #[inline(always)]
            |o, a, x| logvar_slope(o, a, x),
        ),
        (_, _, Mean::Sigmoid) => learned_gradient(
            gradient,
            a,
            out.rows,
            row_of,
            #[inline(always)]
            |o, a, x| logvar_slope(o.sigmoid(), a, x),
        ),
    }
    let finite = squares_are_finite(gradient);
    cpu.note_gradient(finite);
}

/// The gradient of log-dispersions `a` that are parameters, one or one for each column: Σ_rows weight · slope(out, a, x), with
/// `row_of` the output, x and the weight of a row.
fn learned_gradient<'a, T: Real>(
    gradient: &mut [T],
    a: &[T],
    rows: usize,
    row_of: impl Fn(usize) -> (&'a [T], &'a [T], T) + Sync,
    slope: impl Fn(T, T, T) -> T + Sync,
) {
    if let [gradient] = gradient {
        // By row in parallel, then over the rows in order.
        let rows: Vec<T> = (0..rows)
            .into_par_iter()
            .with_min_len(16)
            .map(|row| {
                vectorise(
                    #[inline(always)]
                    || {
                        let (out, x, w) = row_of(row);
                        sum(
                            [x, out],
                            #[inline(always)]
                            |[x, o]| observed(x, w * slope(o, a[0], x)),
                        )
                    },
                )
            })
            .collect();
        *gradient = sum([&rows], |[row]| row);
        return;
    }
    // Columns by themselves, each over the rows in order, whatever the number of threads.
    const WIDTH: usize = 64;
    gradient.par_chunks_mut(WIDTH).with_min_len((GRAIN / (WIDTH * rows.max(1))).max(1)).enumerate().for_each(
        |(piece, sums)| {
            vectorise(
                #[inline(always)]
                || {
                    sums.fill(T::of(0.0));
                    let (n, first) = (sums.len(), piece * WIDTH);
                    let a = &a[first..][..n];
                    for row in 0..rows {
                        let (out, x, w) = row_of(row);
                        let (out, x) = (&out[first..][..n], &x[first..][..n]);
                        for j in 0..n {
                            sums[j] += observed(x[j], w * slope(out[j], a[j], x[j]));
                        }
                    }
                },
            )
        },
    );
}
