//! −log p(x) of a count, and its slopes: Poisson, and negative binomial. Of their logarithms of factorials and gammas, which
//! grow with x log x, most cancels; what stays is computed without them (Loader 2000, "Fast and accurate computation of
//! binomial probabilities"), so that a count of a million has as many right digits as one of three.
//!
//! x is whole and not negative, o is the logarithm of the mean m, and a that of the dispersion α: the variance of a negative
//! binomial is m + α m² (statsmodels' and DESeq2's α; scVI's and PyTorch's inverse dispersion r is 1/α). The same functions in
//! CUDA: kernels/counts.cuh. Here both sides of every choice are computed before it is made: a branch would end vector code.
use crate::device::Real;

/// Beyond ±20 a log-dispersion stays there: at e⁻²⁰ a count of a million has the variance of a Poisson to 0.2 %, at e²⁰ a column
/// is 0 almost always.
const STEEPEST: f64 = 20.0;

/// Beyond it a log-mean's exponential, which f32 does not hold for long, outweighs r, at most e²⁰, beyond the digits of f64.
const LARGEST: f64 = 80.0;

/// Poisson: m − x o + log x!.
#[inline(always)]
pub fn poisson<T: Real>(o: T, x: T) -> T {
    let (some, none) = (x * excess(o - positive(x).ln()) + at_best(x), o.exp());
    if x > T::of(0.0) { some } else { none }
}

/// Its slope in o.
#[inline(always)]
pub fn poisson_slope<T: Real>(o: T, x: T) -> T {
    o.exp() - x
}

/// Negative binomial, with r = 1/α: log x! + log Γ(r) − log Γ(x + r) + r log (1 + m/r) + x log (1 + r/m).
#[inline(always)]
pub fn negative_binomial<T: Real>(o: T, a: T, x: T) -> T {
    let Shape { r, n, w, log, .. } = Shape::of(o, a, x);
    let at = x * excess(o - positive(x).ln() + log) + r * (w - log) + at_best(x);
    let (some, none) = (at + (tail(r) - tail(n) + T::of(0.5) * (n / r).ln()), -r * log);
    if x > T::of(0.0) { some } else { none }
}

/// Its slope in o.
#[inline(always)]
pub fn negative_binomial_slope<T: Real>(o: T, a: T, x: T) -> T {
    let Shape { r, w, .. } = Shape::of(o, a, x);
    -r * w
}

/// Its slope in a.
#[inline(always)]
pub fn dispersion_slope<T: Real>(o: T, a: T, x: T) -> T {
    let Shape { r, n, w, log, moves } = Shape::of(o, a, x);
    let slope = r * (log - w + (digamma_less_log(n) - digamma_less_log(r)));
    if moves { slope } else { T::of(0.0) }
}

/// What a negative binomial's value and slopes are made of.
struct Shape<T> {
    r: T,
    /// r + x
    n: T,
    /// (x − m) / (r + m)
    w: T,
    /// log(1 + w) = log((r + x) / (r + m))
    log: T,
    /// Whether r is a function of a here.
    moves: bool,
}

impl<T: Real> Shape<T> {
    #[inline(always)]
    fn of(o: T, a: T, x: T) -> Shape<T> {
        let limit = T::of(STEEPEST);
        let moves = a.abs() <= limit;
        // Not by `max`, which would lose a NaN.
        let a = if a > limit { limit } else { a };
        let a = if a < -limit { -limit } else { a };
        let beyond = T::of(LARGEST);
        let within = if o > beyond { beyond } else { o };
        let (r, m) = ((-a).exp(), within.exp());
        let n = r + x;
        let w = (x - m) / (r + m);
        let small = w.abs() < T::of(0.5);
        let (near, far) = ((if small { w } else { T::of(0.0) }).ln_1p_unit(), (n / (r + m)).ln() + (within - o));
        Shape { r, n, w, log: if small { near } else { far }, moves }
    }
}

/// x where it is positive, for its logarithm.
#[inline(always)]
fn positive<T: Real>(x: T) -> T {
    x.max(T::of(1.0))
}

/// exp(u) − 1 − u, not negative.
#[inline(always)]
fn excess<T: Real>(u: T) -> T {
    u.exp_m1() - u
}

/// Where asymptotic series begin; what is below is moved there by so many steps of the recurrence.
const FROM: usize = 8;

/// log x! − x log x + x: −log p of a Poisson whose rate is x, which is the most that x can have.
#[inline(always)]
pub(crate) fn at_best<T: Real>(x: T) -> T {
    let (one, v) = (T::of(1.0), positive(x));
    let mut factorial = one;
    for i in 2..FROM {
        let i = T::of_int(i as i32);
        factorial *= if x >= i { i } else { one };
    }
    let few = factorial.ln() - x * v.ln() + x;
    let many = T::of(0.5) * (T::of(std::f64::consts::TAU) * v).ln() + tail_series(v);
    if x < T::of(FROM as f64) { few } else { many }
}

/// log Γ(v + 1) − (v + ½) log v + v − ½ log 2π: what Stirling's formula leaves out.
#[inline(always)]
fn tail<T: Real>(v: T) -> T {
    let few = v < T::of(FROM as f64);
    let from = if few { v + T::of(FROM as f64) } else { v };
    let mut product = from;
    for i in 1..FROM {
        product *= v + T::of_int(i as i32);
    }
    let squared = from * from;
    let eighth = squared * squared * (squared * squared);
    let moved = (v + T::of(0.5)) * (from / v).ln() - T::of(FROM as f64) - (product / eighth).ln();
    tail_series(from) + if few { moved } else { T::of(0.0) }
}

/// The same for v from [`FROM`] on: Σ B₂ₖ / (2k (2k − 1) v²ᵏ⁻¹), to 1e-15.
#[inline(always)]
fn tail_series<T: Real>(v: T) -> T {
    let i = T::of(1.0) / v;
    let terms = [1.0 / 156.0, -691.0 / 360_360.0, 1.0 / 1188.0, -1.0 / 1680.0, 1.0 / 1260.0, -1.0 / 360.0, 1.0 / 12.0];
    i * series(i * i, terms)
}

/// ψ(v) − log v, the derivative of log Γ less its logarithm.
#[inline(always)]
fn digamma_less_log<T: Real>(v: T) -> T {
    let few = v < T::of(FROM as f64);
    let from = if few { v + T::of(FROM as f64) } else { v };
    // Σ 1/(v + k) for k to 7: k and 7 − k make (2v + 7) / (u + k (7 − k)), and two of these one quotient.
    let t = |x: f64| T::of(x);
    let u = v * (v + t(7.0));
    let outer = (u + u + t(6.0)) / (u * (u + t(6.0)));
    let inner = (u + u + t(22.0)) / ((u + t(10.0)) * (u + t(12.0)));
    let sum = (v + v + t(7.0)) * (outer + inner);
    let i = T::of(1.0) / from;
    // −1/2v − Σ B₂ₖ / (2k v²ᵏ)
    let terms = [-1.0 / 12.0, 691.0 / 32_760.0, -1.0 / 132.0, 1.0 / 240.0, -1.0 / 252.0, 1.0 / 120.0, -1.0 / 12.0];
    let (at, moved) = (-T::of(0.5) * i + i * i * series(i * i, terms), (from / v).ln() - sum);
    at + if few { moved } else { T::of(0.0) }
}

/// A polynomial, its highest power first (Horner).
#[inline(always)]
fn series<T: Real, const N: usize>(x: T, coefficients: [f64; N]) -> T {
    let mut sum = T::of(coefficients[0]);
    for &c in &coefficients[1..] {
        sum = sum.mul_add(x, T::of(c));
    }
    sum
}

#[cfg(test)]
#[allow(clippy::excessive_precision)] // as printed
mod tests {
    use super::*;

    /// o, a, x; then the value and the slopes in o and a, of mpmath with 50 digits, from the gammas and their logarithms.
    const NEGATIVE_BINOMIAL: [([f64; 3], [f64; 3]); 16] = [
        ([-2.5, 0.5, 0.0], [0.0769857302739065286, 0.0723002269337485602, -0.00468550334015796844]),
        ([0.75, -3.0, 0.0], [2.01270253906790654, 1.91514519783725023, -0.097557341230656312]),
        ([3.0, 4.0, 0.0], [0.128226166311565786, 0.0182989524040483881, -0.109927213907517398]),
        ([0.5, 0.0, 1.0], [1.44815396836021336, 0.244918662403709129, 0.270841678223602448]),
        ([1.5, 1.0, 7.0], [3.63059312886601422, -0.191034483851760285, 0.604308990967446596]),
        ([2.25, -1.5, 8.0], [2.53416488919599906, 0.477297346303926912, 0.309199336883596032]),
        ([-6.0, 2.0, 3.0], [14.9631138918944791, -2.94360720129415248, -1.76348166657447819]),
        ([4.5, -4.0, 100.0], [3.9410129677603752, -3.76893892532506685, 0.200361950049868736]),
        ([4.5, -15.0, 100.0], [3.75650690864754013, -9.98259381428924017, 5.27643076805598946e-8]),
        ([4.0, -19.0, 50.0], [3.07591706575726325, 4.5981486265599042, 8.08399902276010022e-8]),
        ([5.0, 6.0, 1.0], [6.02728301690367981, 0.00246200935613250385, 0.97519569401377109]),
        ([-3.0, 12.0, 2.0], [12.6934431394153033, -0.000240645697781613358, 0.999710199807431389]),
        ([13.75, -2.0, 1e6], [13.761931291345885, -0.50026478151821201, 0.495046476170442496]),
        ([13.8125, -10.0, 1e6], [9.84310715503649314, -64.9763555807604118, 0.393578373047440794]),
        ([13.8125, 3.0, 1e6], [16.9879120513635049, -0.000150112695815426952, 0.87544103404366179]),
        ([0.0, 20.0, 1.0], [20.0000000432842261, 0.0, 0.999999958776927547]),
    ];
    const POISSON: [([f64; 2], f64); 10] = [
        ([-2.5, 0.0], 0.0820849986238987952),
        ([0.75, 0.0], 2.11700001661267467),
        ([0.5, 1.0], 1.14872127070012815),
        ([1.5, 7.0], 2.50685043140347912),
        ([2.25, 8.0], 2.09233873910377595),
        ([-6.0, 3.0], 19.7942382214047214),
        ([4.5, 100.0], 3.75650685608530369),
        ([13.75, 1e6], 2107.54289072408024),
        ([13.8125, 1e6], 12.3538792661083496),
        ([16.0, 9e6], 735.663518424133028),
    ];

    /// As near as 16 roundings of o and of the result leave it.
    fn near(what: &str, got: f64, want: f64, slope: f64, o: f64, epsilon: f64) {
        let bound = 16.0 * epsilon * (1.0 + want.abs() + (slope * o).abs());
        assert!((got - want).abs() <= bound, "{what}: got {got}, want {want}, within {bound:e}");
    }

    fn check<T: Real>(epsilon: f64) {
        for ([o, x], want) in POISSON {
            let got = poisson(T::of(o), T::of(x)).to_f64();
            near(&format!("Poisson, {o} {x}"), got, want, o.exp() - x, o, epsilon);
        }
        for ([o, a, x], [want, in_o, in_a]) in NEGATIVE_BINOMIAL {
            let (what, [o_, a_, x_]) = (format!("{o} {a} {x}"), [o, a, x].map(T::of));
            near(&what, negative_binomial(o_, a_, x_).to_f64(), want, in_o, o, epsilon);
            let (got_o, got_a) = (negative_binomial_slope(o_, a_, x_), dispersion_slope(o_, a_, x_));
            // x − m, of which o's rounding moves m.
            near(&format!("{what}: slope in o"), got_o.to_f64(), in_o, x.min((-a).exp()), o, epsilon);
            near(&format!("{what}: slope in a"), got_a.to_f64(), in_a, in_o, o, epsilon);
        }
    }

    #[test]
    fn values_and_slopes_are_those_of_fifty_digits() {
        check::<f64>(f64::EPSILON);
        check::<f32>(f32::EPSILON as f64);
    }

    /// With r = 1 it is geometric, (x + 1) log (1 + m) − x o: beyond what f32 holds of m no more than o.
    #[test]
    fn a_mean_that_f32_does_not_hold_is_as_likely_as_it_is() {
        fn check<T: Real>(name: &str) {
            for o in [79.0, 80.0, 81.0, 88.0, 89.0, 150.0, 1e4] {
                for x in [0.0, 3.0, 1e6] {
                    let (o_, x_) = (T::of(o), T::of(x));
                    let got = negative_binomial(o_, T::of(0.0), x_).to_f64();
                    let slopes = [negative_binomial_slope(o_, T::of(0.0), x_), dispersion_slope(o_, T::of(0.0), x_)];
                    // What is left of x + 1 times o less x times o.
                    assert!((got - o).abs() < 1e-5 * o + 2e-6 * x.sqrt(), "{name} {o} {x}: {got}");
                    assert!((slopes[0].to_f64() - 1.0).abs() < 1e-6, "{name} {o} {x}: {:?}", slopes[0].to_f64());
                    assert!(slopes[1].to_f64().is_finite(), "{name} {o} {x}");
                }
            }
        }
        check::<f64>("f64");
        check::<f32>("f32");
    }

    /// Sums to one, with its mean and its variance: of every count up to where nothing is left.
    #[test]
    fn probabilities_sum_to_one_and_have_their_mean_and_variance() {
        for (o, a) in [(-1.0, 0.7), (1.5, -2.0), (3.0, 1.0), (5.0, -25.0)] {
            let m = f64::exp(o);
            for negative in [false, true] {
                let nll = |x: f64| if negative { negative_binomial(o, a, x) } else { poisson(o, x) };
                let moment = |k: i32| (0..40_000).map(|x| (x as f64 - m).powi(k) * (-nll(x as f64)).exp()).sum::<f64>();
                let want = [1.0, 0.0, if negative { m + m * m * f64::max(a, -STEEPEST).exp() } else { m }];
                for (k, want) in (0..).zip(want) {
                    let got = moment(k);
                    assert!(
                        (got - want).abs() < 1e-10 * (1.0 + want),
                        "{o} {a} {negative}: moment {k} {got}, want {want}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_is_no_number_stays_none() {
        let nan = f32::NAN;
        for v in
            [poisson(nan, 0.0), poisson(nan, 3.0), negative_binomial(nan, 0.0, 3.0), negative_binomial(0.0, nan, 3.0)]
        {
            assert!(v.is_nan());
        }
        assert!(negative_binomial_slope(0.0, nan, 3.0f32).is_nan());
        // Where a stays at its limit its slope is none.
        assert_eq!(dispersion_slope(1.0, -21.0, 3.0f64), 0.0);
        assert_eq!(negative_binomial(1.0, -21.0, 3.0f64), negative_binomial(1.0, -20.0, 3.0f64));
    }
}
