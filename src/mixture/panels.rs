//! The one product that a full covariance needs, twice: of differences with an inverse factor for the density, and of
//! differences with each other for the covariance. Both are sums over a depth of panels of eight columns.
use pulp::Simd;

/// Columns of a panel.
pub(super) const WIDTH: usize = 8;
/// Panels on the right side of a tile: its sums fill the registers of AVX-512.
pub(super) const ACROSS: usize = 3;

/// c[i][j] = Σ_l a[l][i] b[l][j] for a panel `a` and three panels `b`, all (depth, 8), summed over l in order.
pub(super) fn tile(a: &[f64], b: [&[f64]; ACROSS]) -> [[[f64; WIDTH]; ACROSS]; WIDTH] {
    pulp::Arch::new().dispatch(Tile { a, b })
}

struct Tile<'a> {
    a: &'a [f64],
    b: [&'a [f64]; ACROSS],
}

impl pulp::WithSimd for Tile<'_> {
    type Output = [[[f64; WIDTH]; ACROSS]; WIDTH];
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
        let mut c = [[[0.0; WIDTH]; ACROSS]; WIDTH];
        // By constants, so that of each instruction set one is compiled.
        if const { S::REGISTER_COUNT >= 32 && S::F64_LANES == WIDTH } {
            sums::<S, 8, ACROSS, 1>(simd, &mut c, 0, 0, self.a, self.b);
        } else if const { S::F64_LANES == 4 } {
            each::<S, 4, 2>(simd, &mut c, self);
        } else if const { S::F64_LANES == 2 } {
            each::<S, 2, 4>(simd, &mut c, self);
        } else {
            c = plain(self);
        }
        c
    }
}

/// Piece by piece, with fewer registers: `M` rows and one panel of `V` vectors.
#[inline(always)]
fn each<S: Simd, const M: usize, const V: usize>(simd: S, c: &mut [[[f64; WIDTH]; ACROSS]; WIDTH], it: Tile) {
    for across in 0..ACROSS {
        for row in (0..WIDTH).step_by(M) {
            sums::<S, M, 1, V>(simd, c, row, across, it.a, [it.b[across]]);
        }
    }
}

/// Its loops have known lengths: so the sums stay in their registers.
#[inline(always)]
fn sums<S: Simd, const M: usize, const P: usize, const V: usize>(
    simd: S,
    c: &mut [[[f64; WIDTH]; ACROSS]; WIDTH],
    row: usize,
    across: usize,
    a: &[f64],
    b: [&[f64]; P],
) {
    let a = a.as_chunks::<WIDTH>().0;
    let b = b.map(|b| &bytemuck::cast_slice::<f64, S::f64s>(b).as_chunks::<V>().0[..a.len()]);
    let mut sums = [[[simd.splat_f64s(0.0); V]; P]; M];
    for (l, a) in a.iter().enumerate() {
        for i in 0..M {
            let a = simd.splat_f64s(a[row + i]);
            for p in 0..P {
                for v in 0..V {
                    sums[i][p][v] = simd.mul_add_e_f64s(a, b[p][l][v], sums[i][p][v]);
                }
            }
        }
    }
    for i in 0..M {
        for p in 0..P {
            c[row + i][across + p].copy_from_slice(bytemuck::cast_slice::<S::f64s, f64>(&sums[i][p]));
        }
    }
}

/// The definition, for a machine without vectors.
fn plain(it: Tile) -> [[[f64; WIDTH]; ACROSS]; WIDTH] {
    let mut c = [[[0.0; WIDTH]; ACROSS]; WIDTH];
    for (l, a) in it.a.as_chunks::<WIDTH>().0.iter().enumerate() {
        for i in 0..WIDTH {
            for p in 0..ACROSS {
                for j in 0..WIDTH {
                    c[i][p][j] += a[i] * it.b[p][l * WIDTH + j];
                }
            }
        }
    }
    c
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulp::WithSimd;

    #[test]
    fn every_instruction_set_gives_the_product() {
        for depth in [0, 1, 17, 300] {
            let numbers = |seed: usize| -> Vec<f64> {
                (0..depth * WIDTH).map(|i| ((i * 7 + seed * 13) % 31) as f64 / 31.0 - 0.4).collect()
            };
            let (a, b) = (numbers(1), [numbers(2), numbers(3), numbers(4)]);
            let tile = || Tile { a: &a, b: b.each_ref().map(|b| &b[..]) };
            let want = plain(tile());
            let check = |name: &str, got: [[[f64; WIDTH]; ACROSS]; WIDTH]| {
                for (g, w) in got.as_flattened().as_flattened().iter().zip(want.as_flattened().as_flattened()) {
                    // depth roundings of sums below the depth
                    assert!((g - w).abs() <= 1e-16 * (depth * depth) as f64, "{name}, depth {depth}: {g}, want {w}");
                }
            };
            check("this machine's", super::tile(&a, b.each_ref().map(|b| &b[..])));
            check("scalar", tile().with_simd(pulp::Scalar::new()));
            #[cfg(target_arch = "x86_64")]
            if let Some(simd) = pulp::x86::V3::try_new() {
                check("avx2", tile().with_simd(simd));
            }
        }
    }
}
