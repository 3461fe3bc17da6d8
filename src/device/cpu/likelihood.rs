//! −log p of numbers given the decoder's output, in nats, and its slopes: elementwise, by likelihood. One that is missing adds
//! nothing.
use crate::config::{Likelihood, Mean};
use crate::counts;
use crate::device::Real;
use crate::device::sum;

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
pub(super) fn logvar_slope<T: Real>(m: T, logvar: T, x: T) -> T {
    T::of(0.5) * (T::of(1.0) - (x - m) * (x - m) * (-logvar).exp())
}

/// What column x adds to a sum: nothing where it is missing.
#[inline(always)]
pub(super) fn observed<T: Real>(x: T, term: T) -> T {
    if x.is_missing() { T::of(0.0) } else { term }
}

/// What becomes of −log p of numbers that stand in slices: their sum, or each in a slice of its own.
pub(super) trait Collect<T: Real> {
    type Made;
    fn collect<const N: usize>(self, slices: [&[T]; N], term: impl Fn([T; N]) -> T) -> Self::Made;
}

pub(super) struct Sum;

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
pub(super) fn terms<T: Real, C: Collect<T>>(
    likelihood: Likelihood,
    mean: Mean,
    [x, out]: [&[T]; 2],
    a: &[T],
    into: C,
) -> C::Made {
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
        // Of a multinomial, as Poissons whose means add up to what the counts do; but for what the total adds.
        (Likelihood::Poisson | Likelihood::Multinomial, _) => into.collect(
            [x, out],
            #[inline(always)]
            |[x, o]| observed(x, counts::poisson(o, x)),
        ),
        // Of a variable that is missing all columns are, and x is 0: there is nothing to leave out.
        (Likelihood::Categorical, _) => into.collect(
            [x, out],
            #[inline(always)]
            |[x, o]| -x * o,
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

/// The gradients of columns of one row that have one likelihood: of the decoder's output, and of its second head.
#[inline(always)]
pub(super) fn slopes<T: Real>(
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
        // In what the layer put out, before log Σ exp was taken away: softmax − x.
        Likelihood::Categorical => each(
            dmean,
            [x, out],
            #[inline(always)]
            |[x, o]| observed(x, w * (o.exp() - x)),
        ),
        // Of a multinomial in what the layer put out: total · share − x.
        Likelihood::Poisson | Likelihood::Multinomial => each(
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
    let (mut whole, mut at) = (slices, [T::of(0.0); N]);
    for i in 0..N {
        whole[i] = &slices[i][..n];
    }
    for j in 0..n {
        for i in 0..N {
            at[i] = whole[i][j];
        }
        out[j] = f(at);
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
