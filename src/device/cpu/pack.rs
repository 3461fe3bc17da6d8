//! A factor of a product laid out in panels, so that the product reads it from one end to the other.
use crate::device::vectorise_for;
use pulp::Simd;

/// Element (l, j), which lies at `l · down + j · along` of `data`, goes to row l of panel j / width, column j % width.
/// `width` is a multiple of four, and one of `along` and `down` is 1. What lies in a panel beyond the last column is never
/// used. `width` is a function to be a constant where it is used.
#[inline(always)]
pub(super) fn pack<S: Simd>(
    simd: S,
    packed: &mut [f32],
    width: impl Fn() -> usize,
    depth: usize,
    cols: usize,
    data: &[f32],
    along: usize,
    down: usize,
) {
    vectorise_for(
        simd,
        #[inline(always)]
        || match (along, S::F32_LANES) {
            (1, _) => rows(packed, width(), depth, cols, data, down),
            // With AVX-512 this has not been measured.
            #[cfg(target_arch = "x86_64")]
            (_, 8) => match pulp::x86::V3::try_new() {
                Some(avx2) => columns_by_eight(avx2, packed, width(), depth, cols, data, along),
                None => columns(packed, width(), depth, cols, data, along),
            },
            _ => columns(packed, width(), depth, cols, data, along),
        },
    )
}

#[inline(always)]
fn rows(packed: &mut [f32], width: usize, depth: usize, cols: usize, data: &[f32], down: usize) {
    for l in 0..depth {
        let row = &data[l * down..][..cols];
        let (whole, rest) = row.split_at(cols / width * width);
        for (p, part) in whole.chunks_exact(width).enumerate() {
            packed[(p * depth + l) * width..][..width].copy_from_slice(part);
        }
        if !rest.is_empty() {
            packed[whole.len() * depth + l * width..][..rest.len()].copy_from_slice(rest);
        }
    }
}

#[inline(always)]
fn columns(packed: &mut [f32], width: usize, depth: usize, cols: usize, data: &[f32], along: usize) {
    // Four columns at a time, first side by side: that loop becomes shuffles of vectors.
    let mut quads = [[0.0; 4]; super::product::BLOCK];
    let quads = &mut quads[..depth];
    for j in (0..cols).step_by(4) {
        let [p, q, r, s] = [0, 1, 2, 3].map(|i| &data[(j + i).min(cols - 1) * along..][..depth]);
        for (l, quad) in quads.iter_mut().enumerate() {
            *quad = [p[l], q[l], r[l], s[l]];
        }
        let panel = packed[j / width * width * depth..][..width * depth].chunks_exact_mut(width);
        for (panel, quad) in panel.zip(&*quads) {
            panel[j % width..][..4].copy_from_slice(quad);
        }
    }
}

/// Eight columns by eight rows at a time, turned in registers. Without `map` on arrays in the loop, which the compiler does
/// not inline into code for AVX2.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn columns_by_eight(
    avx2: pulp::x86::V3,
    packed: &mut [f32],
    width: usize,
    depth: usize,
    cols: usize,
    data: &[f32],
    along: usize,
) {
    for j in (0..cols).step_by(8) {
        let columns: [&[f32]; 8] = std::array::from_fn(|i| &data[(j + i).min(cols - 1) * along..][..depth]);
        // Where columns j and j + 4 of row 0 go. Where a panel ends between them, the second half may be beyond the last.
        let at = [j, j + 4].map(|j| j / width * width * depth + j % width);
        let beside = j % width + 8 <= width;
        for l in (0..depth / 8 * 8).step_by(8) {
            let block = transpose(avx2, |i| &columns[i].as_chunks().0[l / 8]);
            if beside {
                let rows = &mut packed[at[0] + l * width..][..7 * width + 8];
                for i in 0..8 {
                    rows[i * width..][..8].copy_from_slice(&block[i]);
                }
            } else {
                for i in 0..8 {
                    packed[at[0] + (l + i) * width..][..4].copy_from_slice(&block[i][..4]);
                    if j + 4 < cols {
                        packed[at[1] + (l + i) * width..][..4].copy_from_slice(&block[i][4..]);
                    }
                }
            }
        }
        for l in depth / 8 * 8..depth {
            for i in 0..8.min(cols - j) {
                packed[at[i / 4] + l * width + i % 4] = columns[i][l];
            }
        }
    }
}

/// Of 8 × 8 numbers: pairs, then fours, within the halves of a vector, and the halves at last.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn transpose<'a>(avx2: pulp::x86::V3, row: impl Fn(usize) -> &'a [f32; 8]) -> [[f32; 8]; 8] {
    let avx = avx2.avx;
    let row = |i: usize| pulp::cast(*row(i));
    let pairs = |a, b| [avx._mm256_unpacklo_ps(a, b), avx._mm256_unpackhi_ps(a, b)];
    let fours = |a, b| [avx._mm256_shuffle_ps::<0x44>(a, b), avx._mm256_shuffle_ps::<0xee>(a, b)];
    let low = |a, b| pulp::cast(avx._mm256_permute2f128_ps::<0x20>(a, b));
    let high = |a, b| pulp::cast(avx._mm256_permute2f128_ps::<0x31>(a, b));
    let ([ab, ab2], [cd, cd2]) = (pairs(row(0), row(1)), pairs(row(2), row(3)));
    let ([ef, ef2], [gh, gh2]) = (pairs(row(4), row(5)), pairs(row(6), row(7)));
    let ([p0, p1], [p2, p3]) = (fours(ab, cd), fours(ab2, cd2));
    let ([q0, q1], [q2, q3]) = (fours(ef, gh), fours(ef2, gh2));
    [low(p0, q0), low(p1, q1), low(p2, q2), low(p3, q3), high(p0, q0), high(p1, q1), high(p2, q2), high(p3, q3)]
}
