//! What the cores can do at most: multiply-adds of numbers that stay in registers. A product that is far from it wastes
//! time, which no comparison with another product of ours would show.
use pulp::Simd;
use std::hint::black_box;
use std::time::Instant;

/// Sums that do not wait for each other: two are begun in a cycle, and each takes four or five. With two factors they fit
/// sixteen registers.
const SUMS: usize = 12;
/// About 2 ms.
const TURNS: usize = 1 << 20;

/// Floating-point operations a second of all threads together, a multiplication and an addition two of them: the best of
/// some runs.
pub fn rate() -> f64 {
    let run = |_| {
        let began = Instant::now();
        let lanes = rayon::broadcast(|_| pulp::Arch::new().dispatch(MultiplyAdds));
        2.0 * (lanes.iter().sum::<usize>() * SUMS * TURNS) as f64 / began.elapsed().as_secs_f64()
    };
    (0..7).map(run).fold(0.0, f64::max)
}

struct MultiplyAdds;

impl pulp::WithSimd for MultiplyAdds {
    /// Numbers in a vector.
    type Output = usize;
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> usize {
        // Stays finite and normal: it goes to 1.
        let (scale, shift) = black_box((0.5, 0.5));
        let (scale, shift) = (simd.splat_f32s(scale), simd.splat_f32s(shift));
        let mut sums = [simd.splat_f32s(0.0); SUMS];
        for _ in 0..TURNS {
            for sum in &mut sums {
                *sum = simd.mul_add_e_f32s(*sum, scale, shift);
            }
        }
        black_box(sums.iter().fold(0.0, |all, sum| all + simd.reduce_sum_f32s(*sum)));
        S::F32_LANES
    }
}
