//! −log p(x|z) for each row of the decoder's output, in nats. A value of x that is missing adds nothing, to no sum and no
//! gradient: p(x|z) is a product over columns, and that of what was observed has one factor less.
use super::{Cpu, GRAIN, each_rows, each_rows_of, squares_are_finite, sum};
use crate::arena::View;
use crate::config::{Likelihood, Mean, Spread};
use crate::counts;
use crate::device::{Real, vectorise};
use crate::tape::{Decoded, Family, Kind};
use rayon::prelude::*;
use std::ops::Range;

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

/// Its slope in the log-variance: ½ (1 − (x − m)² exp(−logvar)).
#[inline(always)]
fn logvar_slope<T: Real>(m: T, logvar: T, x: T) -> T {
    T::of(0.5) * (T::of(1.0) - (x - m) * (x - m) * (-logvar).exp())
}

/// What column x adds to a sum: nothing where it is missing.
#[inline(always)]
fn observed<T: Real>(x: T, term: T) -> T {
    if x.is_missing() { T::of(0.0) } else { term }
}

/// An operand that there is not.
const NONE: View = View { offset: 0, rows: 0, cols: 0, stride: 0 };

/// Columns that stand side by side and have one likelihood. An operation goes over all rows for each: a choice of the likelihood
/// within a row would cost short rows, of one likelihood too, a tenth of a step.
struct Run {
    kind: Kind,
    columns: Range<usize>,
}

impl Run {
    /// The one that begins at this column, of `n`.
    fn at<T: Real>(cpu: &Cpu<T>, family: Family, from: usize, n: usize) -> Option<Run> {
        let (kind, to) = match family {
            _ if from == n => return None,
            Family::One(kind) => (kind, n),
            Family::ByColumn(codes) => {
                let codes = &cpu.memory[cpu.start..][codes.span()][from..];
                (Kind::of(codes[0].to_f64()), from + codes.iter().take_while(|&&code| code == codes[0]).count())
            }
        };
        Some(Run { kind, columns: from..to })
    }

    /// Their log-dispersions in a row: one for each, or one that serves all. `network`: the row's part of the second head.
    #[inline(always)]
    fn log_dispersions<'a, T: Real>(&self, fixed: &'a [T; 1], learned: &'a [T], network: &'a [T]) -> &'a [T] {
        match self.kind.spread {
            Spread::Fixed => fixed,
            Spread::Learned if learned.len() == 1 => learned,
            Spread::Learned => &learned[self.columns.clone()],
            Spread::Network => &network[self.columns.clone()],
        }
    }
}

/// Calls `f` for all runs of the columns of x, from left to right.
fn each_run<T: Real>(cpu: &mut Cpu<T>, decoded: Decoded, x: View, mut f: impl FnMut(&mut Cpu<T>, Run)) {
    let mut at = 0;
    while let Some(run) = Run::at(cpu, decoded.family, at, x.cols) {
        at = run.columns.end;
        f(cpu, run);
    }
}

pub fn forward<T: Real>(cpu: &mut Cpu<T>, nll: View, decoded: Decoded, x: View) {
    each_run(cpu, decoded, x, |cpu, run| forward_of(cpu, nll, decoded, x, run));
}

/// Of the first run nll = Σ, of the others nll += Σ.
fn forward_of<T: Real>(cpu: &mut Cpu<T>, nll: View, decoded: Decoded, x: View, run: Run) {
    let samples = nll.rows / x.rows;
    let (nll, out, x) = (cpu.live(nll), cpu.live(decoded.out), cpu.live(x));
    let spreads = decoded.learned.unwrap_or(NONE);
    let [nll_out, out_in, x_in, learned] = cpu.split([nll, out, x, spreads]);
    let (out_in, x_in, learned, fixed) = (&*out_in, &*x_in, &learned[..spreads.cols], [T::of(decoded.fixed)]);
    each_rows_of(
        out.stride,
        nll.rows,
        [(nll_out, nll.stride)],
        #[inline(always)]
        |first, [nll_out]: [&mut [T]; 1]| {
            let (from, n) = (run.columns.start, run.columns.len());
            for (i, nll) in nll_out.chunks_mut(nll.stride).enumerate() {
                let row = first + i;
                let (out, network) = out_in[row * out.stride..][..out.cols].split_at(x.cols);
                let x = &x_in[row / samples * x.stride + from..][..n];
                let a = run.log_dispersions(&fixed, learned, network);
                let sum = row_of(run.kind.likelihood, decoded.mean, [x, &out[from..][..n]], a);
                nll[0] = if from == 0 { sum } else { nll[0] + sum };
            }
        },
    );
}

/// Σ of −log p over columns of one row that have one likelihood.
#[inline(always)]
fn row_of<T: Real>(likelihood: Likelihood, mean: Mean, [x, out]: [&[T]; 2], a: &[T]) -> T {
    match (likelihood, a) {
        (Likelihood::Bernoulli, _) => sum(
            [x, out],
            #[inline(always)]
            |[x, o]| bernoulli(o, x),
        ),
        (Likelihood::Gaussian, a) => match mean {
            Mean::Identity => gaussian_row(
                [x, out],
                a,
                #[inline(always)]
                |o| o,
            ),
            Mean::Sigmoid => gaussian_row(
                [x, out],
                a,
                #[inline(always)]
                |o| o.sigmoid(),
            ),
        },
        (Likelihood::Poisson, _) => sum(
            [x, out],
            #[inline(always)]
            |[x, o]| observed(x, counts::poisson(o, x)),
        ),
        (Likelihood::NegativeBinomial, &[a]) => sum(
            [x, out],
            #[inline(always)]
            |[x, o]| observed(x, counts::negative_binomial(o, a, x)),
        ),
        (Likelihood::NegativeBinomial, a) => sum(
            [x, out, a],
            #[inline(always)]
            |[x, o, a]| observed(x, counts::negative_binomial(o, a, x)),
        ),
    }
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
    each_run(cpu, decoded, x, |cpu, run| backward_of(cpu, dout, ddispersion, decoded, x, weight, run));
}

fn backward_of<T: Real>(
    cpu: &mut Cpu<T>,
    dout: View,
    ddispersion: Option<View>,
    decoded: Decoded,
    x: View,
    weight: View,
    run: Run,
) {
    let samples = weight.rows / x.rows;
    let (dout, out, x, weight) = (cpu.live(dout), cpu.live(decoded.out), cpu.live(x), cpu.live(weight));
    let spreads = decoded.learned.unwrap_or(NONE);
    let [dout_out, ddispersion_out, out_in, x_in, weight_in, learned] =
        cpu.split([dout, ddispersion.unwrap_or(NONE), out, x, weight, spreads]);
    let (out_in, x_in, weight_in, learned) = (&*out_in, &*x_in, &*weight_in, &learned[..spreads.cols]);
    let (fixed, kind, columns) = ([T::of(decoded.fixed)], run.kind, &run.columns);
    let row_of = |row: usize| {
        let out = &out_in[row * out.stride..][columns.clone()];
        (out, &x_in[row / samples * x.stride..][columns.clone()], weight_in[row * weight.stride])
    };
    each_rows(
        dout.rows,
        [(dout_out, dout.stride)],
        #[inline(always)]
        |first, [dout_out]: [&mut [T]; 1]| {
            // Of slices that are as long as this the compiler knows that they are of one length.
            let (from, n) = (columns.start, columns.len());
            for (i, dout) in dout_out.chunks_mut(dout.stride).enumerate() {
                let row = first + i;
                let (out, network) = out_in[row * out.stride..][..out.cols].split_at(x.cols);
                let (x_in, w) = (&x_in[row / samples * x.stride + from..][..n], weight_in[row * weight.stride]);
                let a = run.log_dispersions(&fixed, learned, network);
                let (dmean, dnetwork) = dout[..decoded.out.cols].split_at_mut(x.cols);
                let spread = match kind.spread {
                    Spread::Network => Some(&mut dnetwork[from..][..n]),
                    _ if dnetwork.is_empty() => None,
                    // Of the second head too each column has a number.
                    _ => {
                        dnetwork[from..][..n].fill(T::of(0.0));
                        None
                    }
                };
                let gradients = (&mut dmean[from..][..n], spread);
                slopes(kind.likelihood, decoded.mean, gradients, [x_in, &out[from..][..n]], a, w);
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

/// The gradients of columns of one row that have one likelihood: of the decoder's output, and of its second head.
#[inline(always)]
fn slopes<T: Real>(
    likelihood: Likelihood,
    mean: Mean,
    (dmean, spread): (&mut [T], Option<&mut [T]>),
    [x, out]: [&[T]; 2],
    a: &[T],
    w: T,
) {
    match likelihood {
        Likelihood::Bernoulli => each(
            dmean,
            [x, out],
            #[inline(always)]
            |[x, o]| observed(x, w * (o.sigmoid() - x)),
        ),
        Likelihood::Gaussian => match mean {
            Mean::Identity => gaussian_slopes(
                (dmean, spread),
                [x, out],
                a,
                w,
                #[inline(always)]
                |o| (o, T::of(1.0)),
            ),
            Mean::Sigmoid => gaussian_slopes(
                (dmean, spread),
                [x, out],
                a,
                w,
                #[inline(always)]
                |o| {
                    let m = o.sigmoid();
                    (m, m * (T::of(1.0) - m))
                },
            ),
        },
        Likelihood::Poisson => each(
            dmean,
            [x, out],
            #[inline(always)]
            |[x, o]| observed(x, w * counts::poisson_slope(o, x)),
        ),
        Likelihood::NegativeBinomial => by_dispersion(
            (dmean, spread),
            [x, out],
            a,
            #[inline(always)]
            |x, o, a| observed(x, w * counts::negative_binomial_slope(o, a, x)),
            #[inline(always)]
            |x, o, a| observed(x, w * counts::dispersion_slope(o, a, x)),
        ),
    }
}

/// Σ of −log p over a row of Gaussians, whose means are made of the decoder's output. A choice of the mean within the loop would
/// have every number pay for both.
#[inline(always)]
fn gaussian_row<T: Real>([x, out]: [&[T]; 2], a: &[T], mean: impl Fn(T) -> T) -> T {
    match a {
        &[a] => sum(
            [x, out],
            #[inline(always)]
            |[x, o]| gaussian(mean(o), a, x),
        ),
        a => sum(
            [x, out, a],
            #[inline(always)]
            |[x, o, a]| gaussian(mean(o), a, x),
        ),
    }
}

/// Its gradients, from the mean and its derivative.
#[inline(always)]
fn gaussian_slopes<T: Real>(
    out_of: (&mut [T], Option<&mut [T]>),
    [x, out]: [&[T]; 2],
    a: &[T],
    w: T,
    mean: impl Fn(T) -> (T, T),
) {
    by_dispersion(
        out_of,
        [x, out],
        a,
        #[inline(always)]
        |x, o, a| {
            let (m, dm) = mean(o);
            observed(x, w * (m - x) * (-a).exp() * dm)
        },
        #[inline(always)]
        |x, o, a| observed(x, w * logvar_slope(mean(o).0, a, x)),
    )
}

/// out[j] = f of what stands at j of the slices.
#[inline(always)]
fn each<T: Real, const N: usize>(out: &mut [T], slices: [&[T]; N], f: impl Fn([T; N]) -> T) {
    let n = out.len();
    let slices = slices.map(|s| &s[..n]);
    for j in 0..n {
        out[j] = f(slices.map(|s| s[j]));
    }
}

/// The gradients of the mean's part of the output, and of the log-dispersion's part where there is one, by their slopes of
/// (x, out, a); `a` is one for all or one for each.
#[inline(always)]
fn by_dispersion<T: Real>(
    (dmean, dspread): (&mut [T], Option<&mut [T]>),
    [x, out]: [&[T]; 2],
    a: &[T],
    in_mean: impl Fn(T, T, T) -> T,
    in_spread: impl Fn(T, T, T) -> T,
) {
    match a {
        &[a] => each(
            dmean,
            [x, out],
            #[inline(always)]
            |[x, o]| in_mean(x, o, a),
        ),
        a => each(
            dmean,
            [x, out, a],
            #[inline(always)]
            |[x, o, a]| in_mean(x, o, a),
        ),
    }
    if let Some(dspread) = dspread {
        each(
            &mut dspread[..x.len()],
            [x, out, a],
            #[inline(always)]
            |[x, o, a]| in_spread(x, o, a),
        );
    }
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
