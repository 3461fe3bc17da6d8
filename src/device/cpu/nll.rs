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

impl Run {
    /// Where the gradients of a row of the output go, of which `input` numbers are not of the second head: those of that head
    /// too, where it makes something of these columns; else they are 0.
    #[inline(always)]
    fn parts<'a, T: Real>(&self, dout: &'a mut [T], input: usize) -> (&'a mut [T], Option<&'a mut [T]>) {
        let (from, n) = (self.columns.start, self.columns.len());
        let (dmean, dnetwork) = dout.split_at_mut(input);
        let dnetwork = dnetwork.get_mut(from..from + n);
        let dnetwork = match self.kind.spread {
            Spread::Network => dnetwork,
            Spread::Fixed | Spread::Learned => {
                dnetwork.into_iter().for_each(|d| d.fill(T::of(0.0)));
                None
            }
        };
        (&mut dmean[from..][..n], dnetwork)
    }
}

/// Rows of fewer numbers than this are taken several at once: a vector of 16 has no use for three.
const SHORT: usize = 64;
/// Numbers that are taken at once.
const BLOCK: usize = 512;

/// Short rows, one behind the other.
struct Block<T> {
    x: [T; BLOCK],
    out: [T; BLOCK],
    a: [T; BLOCK],
    made: [T; BLOCK],
}

impl<T: Real> Block<T> {
    #[inline(always)]
    fn new() -> Block<T> {
        let zeros = [T::of(0.0); BLOCK];
        Block { x: zeros, out: zeros, a: zeros, made: zeros }
    }

    /// How many of `n` numbers it holds.
    #[inline(always)]
    fn rows(n: usize) -> usize {
        BLOCK / n
    }

    /// With these rows: x and the output, the log-dispersions, one for each number or one for all; and where what is made of
    /// them is to go.
    #[inline(always)]
    fn filled<'a>(&'a mut self, of: &'a Rows<T>, rows: Range<usize>) -> ([&'a [T]; 2], &'a [T], &'a mut [T]) {
        let (n, len) = (of.run.columns.len(), rows.len() * of.run.columns.len());
        let some = of.row(rows.start).1;
        let one_for_all = of.run.kind.spread != Spread::Network && some.len() == 1;
        for (i, row) in rows.enumerate() {
            let ([x, out], a) = of.row(row);
            let at = i * n..(i + 1) * n;
            self.x[at.clone()].copy_from_slice(x);
            self.out[at.clone()].copy_from_slice(out);
            if !one_for_all {
                self.a[at].copy_from_slice(a);
            }
        }
        let a = if one_for_all { some } else { &self.a[..len] };
        ([&self.x[..len], &self.out[..len]], a, &mut self.made[..len])
    }
}

/// What a run is made of, row by row.
struct Rows<'a, T> {
    run: &'a Run,
    x: (&'a [T], View),
    out: (&'a [T], View),
    /// Rows of the output for each of x.
    samples: usize,
    learned: &'a [T],
    fixed: [T; 1],
}

impl<'a, T: Real> Rows<'a, T> {
    /// x and the output of a row, and its log-dispersions.
    #[inline(always)]
    fn row(&'a self, row: usize) -> ([&'a [T]; 2], &'a [T]) {
        let (from, n) = (self.run.columns.start, self.run.columns.len());
        let ((x_in, x), (out_in, out)) = (self.x, self.out);
        let (out, network) = out_in[row * out.stride..][..out.cols].split_at(x.cols);
        let x = &x_in[row / self.samples * x.stride + from..][..n];
        ([x, &out[from..][..n]], self.run.log_dispersions(&self.fixed, self.learned, network))
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
    let (learned, fixed) = (&learned[..spreads.cols], [T::of(decoded.fixed)]);
    let rows = Rows { run: &run, x: (&*x_in, x), out: (&*out_in, out), samples, learned, fixed };
    each_rows_of(
        out.stride,
        nll.rows,
        [(nll_out, nll.stride)],
        #[inline(always)]
        |first, [nll_out]: [&mut [T]; 1]| {
            let (from, n, Kind { likelihood, .. }) = (run.columns.start, run.columns.len(), run.kind);
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

/// What becomes of −log p of numbers that stand in slices: their sum, or each in a slice of its own.
trait Collect<T: Real> {
    type Made;
    fn collect<const N: usize>(self, slices: [&[T]; N], term: impl Fn([T; N]) -> T) -> Self::Made;
}

struct Sum;

impl<T: Real> Collect<T> for Sum {
    type Made = T;
    #[inline(always)]
    fn collect<const N: usize>(self, slices: [&[T]; N], term: impl Fn([T; N]) -> T) -> T {
        sum(slices, term)
    }
}

impl<T: Real> Collect<T> for &mut [T] {
    type Made = ();
    #[inline(always)]
    fn collect<const N: usize>(self, slices: [&[T]; N], term: impl Fn([T; N]) -> T) {
        each(self, slices, term)
    }
}

/// −log p of columns that have one likelihood.
#[inline(always)]
fn terms<T: Real, C: Collect<T>>(likelihood: Likelihood, mean: Mean, [x, out]: [&[T]; 2], a: &[T], into: C) -> C::Made {
    match (likelihood, a) {
        (Likelihood::Bernoulli, _) => into.collect(
            [x, out],
            #[inline(always)]
            |[x, o]| bernoulli(o, x),
        ),
        (Likelihood::Gaussian, a) => match mean {
            Mean::Identity => gaussian_terms(
                into,
                [x, out],
                a,
                #[inline(always)]
                |o| o,
            ),
            Mean::Sigmoid => gaussian_terms(
                into,
                [x, out],
                a,
                #[inline(always)]
                |o| o.sigmoid(),
            ),
        },
        (Likelihood::Poisson, _) => into.collect(
            [x, out],
            #[inline(always)]
            |[x, o]| observed(x, counts::poisson(o, x)),
        ),
        (Likelihood::NegativeBinomial, &[a]) => into.collect(
            [x, out],
            #[inline(always)]
            |[x, o]| observed(x, counts::negative_binomial(o, a, x)),
        ),
        (Likelihood::NegativeBinomial, a) => into.collect(
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
    let all = Rows { run: &run, x: (x_in, x), out: (out_in, out), samples, learned, fixed };
    let row_of = |row: usize| {
        let out = &out_in[row * out.stride..][columns.clone()];
        (out, &x_in[row / samples * x.stride..][columns.clone()], weight_in[row * weight.stride])
    };
    each_rows(
        dout.rows,
        [(dout_out, dout.stride)],
        #[inline(always)]
        |first, [dout_out]: [&mut [T]; 1]| {
            let n = columns.len();
            if n >= SHORT {
                for (i, dout) in dout_out.chunks_mut(dout.stride).enumerate() {
                    let (of, a) = all.row(first + i);
                    let parts = run.parts(&mut dout[..out.cols], x.cols);
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
                    let (dmean, dnetwork) = run.parts(&mut dout[..out.cols], x.cols);
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

/// −log p of Gaussians, whose means are made of the decoder's output. A choice of the mean within the loop would have every
/// number pay for both.
#[inline(always)]
fn gaussian_terms<T: Real, C: Collect<T>>(into: C, [x, out]: [&[T]; 2], a: &[T], mean: impl Fn(T) -> T) -> C::Made {
    match a {
        &[a] => into.collect(
            [x, out],
            #[inline(always)]
            |[x, o]| gaussian(mean(o), a, x),
        ),
        a => into.collect(
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
