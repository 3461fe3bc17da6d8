//! The arithmetic of the CPU, in f32 and in f64.
//!
//! f64 is the reference and calls the standard library. f32 is for speed: its functions are branch-free polynomials
//! that a compiler turns into vector code inside [`vectorise`], where a call of libm would end it. Their relative
//! errors, measured over the whole range by the tests below, are under 3e-7.
use super::MISSING;
use super::cpu::product::{self, Factor};
use std::fmt::Debug;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub, SubAssign};

/// Runs `f` compiled for the widest vectors that this machine has. Only what is inlined into it profits: `f` and the
/// functions called inside are `#[inline(always)]`.
#[inline(always)]
pub fn vectorise<R>(f: impl FnMut() -> R) -> R {
    struct Run<F>(F);
    impl<R, F: FnMut() -> R> pulp::WithSimd for Run<F> {
        type Output = R;
        #[inline(always)]
        fn with_simd<S: pulp::Simd>(self, simd: S) -> R {
            vectorise_for(simd, self.0)
        }
    }
    pulp::Arch::new().dispatch(Run(f))
}

/// The same, with vectors that were chosen before.
#[inline(always)]
pub fn vectorise_for<S: pulp::Simd, R>(simd: S, f: impl FnMut() -> R) -> R {
    // By reference: a closure that is called as an `FnOnce` may be called by a function that nothing says to inline.
    struct Call<F>(F);
    impl<R, F: FnMut() -> R> pulp::NullaryFnOnce for Call<F> {
        type Output = R;
        #[inline(always)]
        fn call(mut self) -> R {
            (self.0)()
        }
    }
    simd.vectorize(Call(f))
}

/// `f32`, or `f64` for gradient checks.
pub trait Real:
    Copy
    + PartialOrd
    + Debug
    + Default
    + Send
    + Sync
    + Sum
    + Neg<Output = Self>
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
    + 'static
{
    /// c = a b, with c (m, n) without gaps between its rows, a (m, k), b (k, n). Whether every element has a finite square.
    fn product(c: &mut [Self], n: usize, k: usize, a: Factor<Self>, b: Factor<Self>) -> bool;

    fn of(x: f64) -> Self;
    fn of_int(x: i32) -> Self;
    fn to_f64(self) -> f64;
    fn sqrt(self) -> Self;
    fn abs(self) -> Self;
    fn max(self, other: Self) -> Self;
    /// self · a + b, rounded once where the machine can.
    fn mul_add(self, a: Self, b: Self) -> Self;
    fn exp(self) -> Self;
    /// exp(x) − 1, exact near 0.
    fn exp_m1(self) -> Self;
    fn ln(self) -> Self;
    /// log(1 + x) for x in [0, 1].
    fn ln_1p_unit(self) -> Self;
    fn tanh(self) -> Self;
    /// Sine and cosine of 2π x, for x in [0, 1).
    fn sin_cos_turns(self) -> (Self, Self);
    fn is_finite(self) -> bool;
    /// Whether it stands for a value that nobody observed: [`MISSING`], and not the 0 that it is equal to.
    fn is_missing(self) -> bool;

    /// 1 / x of a positive, normal x below 2¹²⁶.
    #[inline(always)]
    fn reciprocal(self) -> Self {
        Self::of(1.0) / self
    }
    /// Zero where it is under 1e-30. A running mean of a gradient that has ended, as of a unit that died, would sink into
    /// the numbers too small for f32's normal range and stay there: a hundred times slower on a CPU.
    #[inline(always)]
    fn flushed(self) -> Self {
        if self.abs() < Self::of(1e-30) { Self::of(0.0) } else { self } // a NaN stays one
    }
    /// 1 / (1 + exp(−x)), without overflow on either side.
    #[inline(always)]
    fn sigmoid(self) -> Self {
        let one = Self::of(1.0);
        let e = (-self.abs()).exp();
        let s = one / (one + e);
        if self >= Self::of(0.0) { s } else { e * s }
    }
    /// log(1 + exp(x)), without overflow: x⁺ + log(1 + exp(−|x|)).
    #[inline(always)]
    fn softplus(self) -> Self {
        self.max(Self::of(0.0)) + (-self.abs()).exp().ln_1p_unit()
    }
}

impl Real for f64 {
    fn product(c: &mut [f64], n: usize, k: usize, a: Factor<f64>, b: Factor<f64>) -> bool {
        product::exact(c, n, k, a, b)
    }
    fn of(x: f64) -> f64 {
        x
    }
    fn of_int(x: i32) -> f64 {
        x as f64
    }
    fn to_f64(self) -> f64 {
        self
    }
    fn sqrt(self) -> f64 {
        f64::sqrt(self)
    }
    fn abs(self) -> f64 {
        f64::abs(self)
    }
    fn max(self, other: f64) -> f64 {
        if self < other { other } else { self } // f64::max would drop a NaN
    }
    fn mul_add(self, a: f64, b: f64) -> f64 {
        self * a + b
    }
    fn exp(self) -> f64 {
        f64::exp(self)
    }
    fn exp_m1(self) -> f64 {
        f64::exp_m1(self)
    }
    fn ln(self) -> f64 {
        f64::ln(self)
    }
    fn ln_1p_unit(self) -> f64 {
        f64::ln_1p(self)
    }
    fn tanh(self) -> f64 {
        f64::tanh(self)
    }
    fn sin_cos_turns(self) -> (f64, f64) {
        (std::f64::consts::TAU * self).sin_cos()
    }
    fn is_finite(self) -> bool {
        f64::is_finite(self)
    }
    fn is_missing(self) -> bool {
        self.to_bits() == MISSING.to_bits()
    }
}

/// The coefficients of `poly`, highest power first (Horner).
#[inline(always)]
fn poly<const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    let mut sum = coefficients[0];
    for c in &coefficients[1..] {
        sum = f32::mul_add(sum, x, *c);
    }
    sum
}

/// exp(x) = 2ⁿ (1 + p) with p = exp(r) − 1 for |r| ≤ ½ log 2. Returns (2ⁿ, p). Beyond ±88 it is infinity or zero.
#[inline(always)]
fn exp_parts(x: f32) -> (f32, f32) {
    // Adding 1.5 · 2²³ rounds to an integer, which then stands in the low bits. `clamp` keeps a NaN.
    const ROUND: f32 = 12582912.0;
    let x = f32::clamp(x, -88.0, 89.0);
    let shifted = f32::mul_add(x, std::f32::consts::LOG2_E, ROUND);
    // No more than 2¹²⁷, the largest power there is: else the last third before f32's end would be infinite or, times a
    // negative p, no number. There r is up to log 2, and the error up to 2e-6.
    let shifted = if shifted > ROUND + 127.0 { ROUND + 127.0 } else { shifted };
    let n = shifted - ROUND;
    // log 2 in two pieces, the first with trailing zeros, so that n · piece is exact (Cody & Waite).
    let r = f32::mul_add(n, -0.693_359_4, x);
    let r = f32::mul_add(n, 2.121_944_4e-4, r);
    let scale = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    let tail = poly(r, [1.984_127e-4, 1.388_888_9e-3, 8.333_334e-3, 4.166_666_7e-2, 1.666_666_7e-1, 0.5]);
    (scale, f32::mul_add(r * r, tail, r))
}

impl Real for f32 {
    fn product(c: &mut [f32], n: usize, k: usize, a: Factor<f32>, b: Factor<f32>) -> bool {
        product::fast(c, n, k, a, b)
    }
    #[inline(always)]
    fn of(x: f64) -> f32 {
        x as f32
    }
    #[inline(always)]
    fn of_int(x: i32) -> f32 {
        x as f32
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self as f64
    }
    #[inline(always)]
    fn sqrt(self) -> f32 {
        f32::sqrt(self)
    }
    #[inline(always)]
    fn abs(self) -> f32 {
        f32::abs(self)
    }
    #[inline(always)]
    fn max(self, other: f32) -> f32 {
        if self < other { other } else { self } // f32::max would drop a NaN
    }
    #[inline(always)]
    fn mul_add(self, a: f32, b: f32) -> f32 {
        f32::mul_add(self, a, b)
    }
    #[inline(always)]
    fn exp(self) -> f32 {
        let (scale, p) = exp_parts(self);
        f32::mul_add(scale, p, scale)
    }
    #[inline(always)]
    fn exp_m1(self) -> f32 {
        let (scale, p) = exp_parts(self);
        f32::mul_add(scale, p, scale - 1.0)
    }
    /// For positive, normal x.
    #[inline(always)]
    fn ln(self) -> f32 {
        // x = m 2ᵉ with m in [√½, √2), by moving the exponent's boundary there.
        let bits = self.to_bits().wrapping_sub(0x3f3504f3);
        let e = ((bits as i32) >> 23) as f32;
        let m = f32::from_bits((bits & 0x007fffff).wrapping_add(0x3f3504f3));
        // log m = 2 artanh(t), t = (m − 1) / (m + 1)
        let t = (m - 1.0) / (m + 1.0);
        let t2 = t * t;
        let series = t * t2 * poly(t2, [2.0 / 9.0, 2.0 / 7.0, 2.0 / 5.0, 2.0 / 3.0]);
        f32::mul_add(e, 0.693_359_4, f32::mul_add(e, -2.121_944_4e-4, f32::mul_add(2.0, t, series)))
    }
    #[inline(always)]
    fn ln_1p_unit(self) -> f32 {
        // 2 artanh(x / (2 + x)): no cancellation for small x, and t ≤ 1/3 for x ≤ 1
        let t = self / (2.0 + self);
        let t2 = t * t;
        let series = poly(t2, [2.0 / 15.0, 2.0 / 13.0, 2.0 / 11.0, 2.0 / 9.0, 2.0 / 7.0, 2.0 / 5.0, 2.0 / 3.0]);
        f32::mul_add(t * t2, series, 2.0 * t)
    }
    #[inline(always)]
    fn tanh(self) -> f32 {
        // −expm1(−2|x|) / (2 + expm1(−2|x|)) keeps the relative precision near 0
        let e = Real::exp_m1(-2.0 * self.abs()); // ours: the method of the standard library calls libm
        let t = -e / (2.0 + e);
        f32::copysign(t, self)
    }
    #[inline(always)]
    fn sin_cos_turns(self) -> (f32, f32) {
        // A quarter turn at a time: x = (q + r) / 4 with |r| ≤ ½
        const ROUND: f32 = 12582912.0;
        let shifted = f32::mul_add(self, 4.0, ROUND);
        let quarter = shifted.to_bits();
        let r = f32::mul_add(self, 4.0, -(shifted - ROUND)) * std::f32::consts::FRAC_PI_2;
        let r2 = r * r;
        let sin = f32::mul_add(r * r2, poly(r2, [2.755_731_9e-6, -1.984_127e-4, 8.333_333e-3, -1.666_666_7e-1]), r);
        let cos = poly(r2, [2.480_158_7e-5, -1.388_888_9e-3, 4.166_666_7e-2, -0.5, 1.0]);
        let (s, c) = if quarter & 1 == 0 { (sin, cos) } else { (cos, sin) };
        let sign = |x: f32, minus: u32| f32::from_bits(x.to_bits() ^ (minus << 31));
        (sign(s, (quarter >> 1) & 1), sign(c, ((quarter + 1) >> 1) & 1))
    }
    #[inline(always)]
    fn is_finite(self) -> bool {
        f32::is_finite(self)
    }
    #[inline(always)]
    fn is_missing(self) -> bool {
        self.to_bits() == (MISSING as f32).to_bits()
    }
    /// Newton's iteration r += r (1 − x r), from a guess with the exponent negated that is within 12.5 %. A division
    /// of 16 numbers keeps the one unit that has it busy for 16 cycles.
    #[inline(always)]
    fn reciprocal(self) -> f32 {
        let mut r = f32::from_bits(0x7EF311C7u32.wrapping_sub(self.to_bits()));
        for _ in 0..3 {
            r = f32::mul_add(r, f32::mul_add(-self, r, 1.0), r);
        }
        r
    }
}

/// Σ f over what stands at one place of slices of one length, in 16 interleaved sums; always in the same order. It goes by
/// pieces of a length that the compiler knows, the last filled up with zeros, whose terms are left out: else it would check
/// each place, and leave the end of every piece to a loop of single numbers, which took three quarters of the time.
#[inline(always)]
pub(crate) fn sum<T: Real, const N: usize>(slices: [&[T]; N], f: impl Fn([T; N]) -> T) -> T {
    const LANES: usize = 16;
    const PIECE: usize = 2 * LANES;
    let (n, zero) = (slices[0].len(), T::of(0.0));
    let (mut lanes, mut terms, mut last) = ([zero; LANES], [zero; PIECE], [[zero; PIECE]; N]);
    for start in (0..n).step_by(PIECE) {
        let len = PIECE.min(n - start);
        if len < PIECE {
            last.iter_mut().zip(slices).for_each(|(last, s)| last[..len].copy_from_slice(&s[start..n]));
        }
        // Arrays by loops: nothing says to inline what `map` calls.
        let mut pieces = [&last[0]; N];
        for (j, piece) in pieces.iter_mut().enumerate() {
            *piece = slices[j][start..].first_chunk().unwrap_or(&last[j]);
        }
        for i in 0..PIECE {
            let mut at = [zero; N];
            for j in 0..N {
                at[j] = pieces[j][i];
            }
            terms[i] = f(at); // in a loop of its own, which vectorises whatever the terms are
        }
        terms[len..].fill(zero);
        for terms in terms.as_chunks::<LANES>().0 {
            for l in 0..LANES {
                lanes[l] += terms[l];
            }
        }
    }
    let mut width = LANES / 2;
    while width > 0 {
        for l in 0..width {
            let upper = lanes[l + width];
            lanes[l] += upper;
        }
        width /= 2;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The worst |got − want| / |want| over `n` points from `low` to `high`.
    fn worst(low: f64, high: f64, got: impl Fn(f32) -> f32, want: impl Fn(f64) -> f64) -> (f64, f32) {
        let n = 1_000_003;
        let mut worst = (0.0, 0.0);
        for i in 0..n {
            let x = (low + (high - low) * i as f64 / (n - 1) as f64) as f32;
            let (got, want) = (got(x) as f64, want(x as f64));
            let error = (got - want).abs() / want.abs().max(1e-37);
            if error > worst.0 {
                worst = (error, x);
            }
        }
        worst
    }

    #[test]
    fn f32_functions_are_right_to_a_few_roundings() {
        // A unit in the last place is 6e-8 to 1.2e-7.
        let check = |name: &str, (error, at): (f64, f32), bound: f64| {
            assert!(error < bound, "{name}({at}): relative error {error:.2e}, bound {bound:.2e}");
        };
        check("exp", worst(-87.0, 88.0, Real::exp, f64::exp), 2e-7);
        check("exp", worst(-1.0, 1.0, Real::exp, f64::exp), 2e-7);
        check("exp_m1", worst(-20.0, 20.0, Real::exp_m1, f64::exp_m1), 3e-7);
        check("exp_m1", worst(-1e-3, 1e-3, Real::exp_m1, f64::exp_m1), 2e-7);
        check("ln", worst(1e-7, 0.9, Real::ln, f64::ln), 2e-7);
        check("ln", worst(1.1, 1e6, Real::ln, f64::ln), 2e-7);
        check("ln_1p", worst(0.0, 1.0, Real::ln_1p_unit, f64::ln_1p), 2e-7);
        check("ln_1p", worst(0.0, 1e-5, Real::ln_1p_unit, f64::ln_1p), 2e-7);
        check("reciprocal", worst(1e-8, 1e-6, Real::reciprocal, |x| 1.0 / x), 2e-7);
        check("reciprocal", worst(1e-3, 1e3, Real::reciprocal, |x| 1.0 / x), 2e-7);
        check("tanh", worst(-12.0, 12.0, Real::tanh, f64::tanh), 3e-7);
        check("tanh", worst(-1e-2, 1e-2, Real::tanh, f64::tanh), 3e-7);
        check("sigmoid", worst(-80.0, 80.0, Real::sigmoid, |x| 1.0 / (1.0 + (-x).exp())), 3e-7);
        check("softplus", worst(-80.0, 80.0, Real::softplus, |x| x.max(0.0) + (-x.abs()).exp().ln_1p()), 3e-7);
    }

    #[test]
    fn sine_and_cosine_of_turns_are_right() {
        for i in 0..1_000_000 {
            let x = i as f32 / 1e6;
            let (sin, cos) = x.sin_cos_turns();
            let (s, c) = (std::f64::consts::TAU * x as f64).sin_cos();
            // absolute: near a zero the argument's own rounding is larger than the value
            assert!((sin as f64 - s).abs() < 2e-7 && (cos as f64 - c).abs() < 2e-7, "{x}: got ({sin}, {cos})");
        }
    }

    #[test]
    fn f32_functions_are_right_at_the_edges() {
        assert_eq!(Real::exp(-1e4f32), 0.0);
        assert_eq!(Real::exp(1e4f32), f32::INFINITY);
        assert_eq!(Real::exp(f32::NEG_INFINITY), 0.0);
        for i in 0..=500 {
            let x = 88.0 + 0.722 * i as f32 / 500.0; // to the largest number
            let error = (Real::exp(x) as f64 / f64::exp(x as f64) - 1.0).abs();
            assert!(error < 2e-6, "exp {x}: {error:e}");
        }
        assert_eq!(Real::exp(88.73f32), f32::INFINITY);
        assert_eq!(Real::softplus(1e4f32), 1e4);
        assert_eq!(Real::softplus(-1e4f32), 0.0);
        assert_eq!(Real::sigmoid(1e4f32), 1.0);
        assert_eq!(Real::sigmoid(-1e4f32), 0.0);
        assert_eq!(Real::tanh(1e4f32), 1.0);
        assert_eq!(Real::tanh(-1e4f32), -1.0);
        assert_eq!(Real::exp_m1(0f32), 0.0);
        for f in [Real::exp, Real::exp_m1, Real::softplus, Real::sigmoid, Real::tanh] {
            assert!(f(f32::NAN).is_nan());
        }
    }
}
