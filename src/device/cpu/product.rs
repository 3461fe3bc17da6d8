//! Matrix products: three loops in f64, and in f32 a tiled product on all cores.
//!
//! The f32 product follows Goto & van de Geijn 2008, "Anatomy of high-performance matrix multiplication", its
//! micro-kernel in pulp's vectors.
use super::pack::pack;
use super::sparse::{self, Side};
use pulp::Simd;
use rayon::prelude::*;
use std::cell::Cell;
use std::ops::Range;

/// A factor: element (i, j) lies at `i · row + j · col` of `data`. One of the two is 1.
#[derive(Clone, Copy)]
pub struct Factor<'a, T> {
    pub data: &'a [T],
    pub row: usize,
    pub col: usize,
}

impl<'a, T> Factor<'a, T> {
    /// Row-major, rows `stride` apart.
    pub fn n(data: &'a [T], stride: usize) -> Self {
        Factor { data, row: stride, col: 1 }
    }
    /// The transpose of that.
    pub fn t(data: &'a [T], stride: usize) -> Self {
        Factor { data, row: 1, col: stride }
    }
    /// The transpose of this one.
    pub fn turned(self) -> Self {
        Factor { row: self.col, col: self.row, ..self }
    }
}

/// The definition. Whether every element has a finite square.
pub fn exact(c: &mut [f64], n: usize, k: usize, a: Factor<f64>, b: Factor<f64>) -> bool {
    let row = |(i, c): (usize, &mut [f64])| {
        c.fill(0.0);
        for l in 0..k {
            let factor = a.data[i * a.row + l * a.col];
            for (j, c) in c.iter_mut().enumerate() {
                *c += factor * b.data[l * b.row + j * b.col];
            }
        }
        c.iter().all(|c| (c * c).is_finite())
    };
    c.par_chunks_mut(n).enumerate().map(row).reduce(|| true, |a, b| a & b)
}

/// Products of one element are summed in order within blocks of k, and block after block: k alone decides the result's
/// bits on a processor, not the number of threads. Whether every element has a finite square: asked where the numbers are at hand, for
/// reading a gradient again would be a tenth of a step.
pub fn fast(c: &mut [f32], n: usize, k: usize, a: Factor<f32>, b: Factor<f32>) -> bool {
    /// As many multiplications as are worth another thread: about 2 µs. Between two products threads hardly fall asleep.
    const GRAIN: usize = 1 << 18;
    let pieces = (c.len() * k / GRAIN).clamp(1, rayon::current_num_threads());
    let sparse = sparse::side(c.len() / n, n, k, a, b);
    let c = c.chunks_mut(n).collect();
    piece(Piece { c, cols: n, k, a, b, sparse }, pieces)
}

/// Rows and columns of c, and the rows of a and the columns of b that they need.
pub(super) struct Piece<'c, 'f> {
    pub c: Vec<&'c mut [f32]>,
    pub cols: usize,
    pub k: usize,
    pub a: Factor<'f, f32>,
    pub b: Factor<'f, f32>,
    pub sparse: Option<Side>,
}

/// Splits it between threads, across its longer side, and at last computes it.
fn piece(mut it: Piece, pieces: usize) -> bool {
    let (rows, cols) = (it.c.len(), it.cols);
    let middle = (rows.max(cols) * (pieces / 2) / pieces).next_multiple_of(16);
    if pieces < 2 || middle >= rows.max(cols) {
        return pulp::Arch::new().dispatch(it);
    }
    let (low, high) = if rows > cols {
        let c = it.c.split_off(middle);
        let a = Factor { data: &it.a.data[middle * it.a.row..], ..it.a };
        (Piece { ..it }, Piece { c, a, ..it })
    } else {
        let (left, right) = it.c.into_iter().map(|row| row.split_at_mut(middle)).unzip();
        let b = Factor { data: &it.b.data[middle * it.b.col..], ..it.b };
        (Piece { c: left, cols: middle, ..it }, Piece { c: right, cols: cols - middle, b, ..it })
    };
    let (low, high) = rayon::join(|| piece(low, pieces / 2), || piece(high, pieces - pieces / 2));
    low & high
}

impl pulp::WithSimd for Piece<'_, '_> {
    type Output = bool;
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> bool {
        if let Some(side) = self.sparse {
            return sparse::product(simd, self, side);
        }
        // By constants, so that of each instruction set one is compiled.
        if const { S::F32_LANES < 4 } {
            blocks::<S, 4, 4, 4>(simd, self)
        } else if const { S::REGISTER_COUNT >= 32 } {
            blocks::<S, 8, 8, 3>(simd, self)
        } else {
            // Of 16 registers a tile of 4 × 3 leaves none over, and the compiler then moves its sums about and to the
            // stack and back: 2.5 times as slow as 6 × 2.
            blocks::<S, 6, 12, 2>(simd, self)
        }
    }
}

/// The most of k that is packed at once.
pub(super) const BLOCK: usize = 400;

/// Of k, in blocks of about one length, as much as is packed at once: with the instruction set, what decides the bits of a sum.
///
/// A longer block reads and writes c less often. With AVX-512 b's panel of 48 columns, then 75 KiB, streams a part from the second
/// cache; with AVX2 that of 16 stays in the first beside the rows of a, which in blocks of 400 it does not: 1.07 times as slow at
/// 1024 examples where others use the machine, too.
pub(super) fn block_of<S: Simd>(k: usize) -> usize {
    let most = if const { S::REGISTER_COUNT >= 32 } { BLOCK } else { 264 };
    k.div_ceil(k.div_ceil(most).max(1)).max(1)
}

/// The most rows of a that are packed at once, whole tiles of every size: 375 KiB.
const ROWS: usize = 240;

/// The most columns that a panel has.
const WIDEST: usize = 48;

thread_local! {
    /// Kept from one product to the next.
    static PACKED: Cell<[Vec<f32>; 2]> = const { Cell::new([Vec::new(), Vec::new()]) };
}

/// The beginning of a buffer, grown to `len`, from a cache line on: else every load would touch two of them.
pub(super) fn aligned(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    buffer.resize(buffer.len().max(len + 16), 0.0);
    let start = buffer.as_ptr().align_offset(64).min(16);
    &mut buffer[start..start + len]
}

/// By blocks of k, panels of `NV` vectors of columns, tiles of `M` rows: a tile's sums fill the registers. The rows of `MR /
/// M` tiles are packed side by side. A panel's columns and `MR` are multiples of four, as they are packed.
#[inline(always)]
fn blocks<S: Simd, const M: usize, const MR: usize, const NV: usize>(
    simd: S,
    Piece { mut c, cols, k, a, b, .. }: Piece,
) -> bool {
    let width = NV * S::F32_LANES;
    let block = block_of::<S>(k);
    let mut buffers = PACKED.take();
    let [for_a, for_b] = &mut buffers;
    // Zero times the square of every element: a NaN once a square is not finite.
    let mut marks = [simd.splat_f32s(0.0); NV];
    let marks = &mut marks;
    for from in (0..k).step_by(block) {
        let depth = block.min(k - from);
        let panels = aligned(for_b, depth * cols.next_multiple_of(width));
        pack(simd, panels, || NV * S::F32_LANES, depth, cols, &b.data[from * b.row..], b.col, b.row);
        for (part, c) in c.chunks_mut(ROWS).enumerate() {
            let tiles = aligned(for_a, depth * c.len().next_multiple_of(MR));
            pack(simd, tiles, || MR, depth, c.len(), &a.data[part * ROWS * a.row + from * a.col..], a.row, a.col);
            for (start, panel) in (0..cols).step_by(width).zip(panels.chunks_exact(depth * width)) {
                let cols = start..cols.min(start + width);
                for (i, c) in c.chunks_mut(M).enumerate() {
                    let (cols, first) = (cols.clone(), i * M % MR);
                    let a = &tiles[(i * M - first) * depth..][..MR * depth];
                    match (c.len() <= 4, cols.len().div_ceil(S::F32_LANES)) {
                        (false, 3..) => tile::<S, M, MR, NV, NV>(simd, c, cols, from > 0, a, first, panel, marks),
                        (false, 2) => tile::<S, M, MR, 2, NV>(simd, c, cols, from > 0, a, first, panel, marks),
                        (false, _) => tile::<S, M, MR, 1, NV>(simd, c, cols, from > 0, a, first, panel, marks),
                        (true, 3..) => tile::<S, 4, MR, NV, NV>(simd, c, cols, from > 0, a, first, panel, marks),
                        (true, 2) => tile::<S, 4, MR, 2, NV>(simd, c, cols, from > 0, a, first, panel, marks),
                        (true, _) => tile::<S, 4, MR, 1, NV>(simd, c, cols, from > 0, a, first, panel, marks),
                    }
                }
            }
        }
    }
    PACKED.set(buffers);
    marks.iter().all(|mark| simd.reduce_sum_f32s(*mark) == 0.0)
}

/// Up to `M` rows and `N` vectors of columns of c: assigned, or in later blocks of k added to. The rows of `a` begin at
/// `first` of the `MR` that are packed side by side.
#[inline(always)]
fn tile<S: Simd, const M: usize, const MR: usize, const N: usize, const NV: usize>(
    simd: S,
    c: &mut [&mut [f32]],
    cols: Range<usize>,
    more: bool,
    a: &[f32],
    first: usize,
    panel: &[f32],
    marks: &mut [S::f32s; NV],
) {
    if c.len() == M && cols.len() == N * S::F32_LANES {
        return whole_tile::<S, M, MR, N, NV>(simd, c, cols, more, a, first, panel, marks);
    }
    // At the edges of c, beside it.
    let mut beside = [[0.0; WIDEST]; M];
    // The last rows and columns of a and b may be what an earlier product left in the buffers.
    whole_tile::<S, M, MR, N, NV>(simd, &mut beside, 0..N * S::F32_LANES, false, a, first, panel, &mut marks.clone());
    let mut mark = 0.0;
    for (c, row) in c.iter_mut().zip(&beside) {
        for (c, sum) in c[cols.clone()].iter_mut().zip(row) {
            *c = if more { *c + *sum } else { *sum };
            mark += *c * *c * 0.0;
        }
    }
    marks[0] = simd.add_f32s(marks[0], simd.splat_f32s(mark));
}

/// Its loops have known lengths: so the sums stay in their registers.
#[inline(always)]
fn whole_tile<S: Simd, const M: usize, const MR: usize, const N: usize, const NV: usize>(
    simd: S,
    c: &mut [impl AsMut<[f32]>],
    cols: Range<usize>,
    more: bool,
    a: &[f32],
    first: usize,
    panel: &[f32],
    marks: &mut [S::f32s; NV],
) {
    let (panel, _) = bytemuck::cast_slice::<f32, S::f32s>(panel).as_chunks::<NV>();
    let mut sums = [[simd.splat_f32s(0.0); N]; M];
    for (a, b) in a.as_chunks::<MR>().0.iter().zip(panel) {
        let a = &a[first..][..M];
        for i in 0..M {
            let a = simd.splat_f32s(a[i]);
            for v in 0..N {
                sums[i][v] = simd.mul_add_e_f32s(a, b[v], sums[i][v]);
            }
        }
    }
    for i in 0..M {
        let c = bytemuck::cast_slice_mut::<f32, S::f32s>(&mut c[i].as_mut()[cols.clone()]);
        for v in 0..N {
            c[v] = if more { simd.add_f32s(c[v], sums[i][v]) } else { sums[i][v] };
            marks[v] = simd.mul_add_e_f32s(simd.mul_f32s(c[v], c[v]), simd.splat_f32s(0.0), marks[v]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Stream, uniforms};
    use pulp::WithSimd;

    /// Numbers in (−1, 1), the same ones in both precisions.
    fn numbers(len: usize, row: u32) -> (Vec<f32>, Vec<f64>) {
        let mut draws = vec![0.0; len];
        uniforms(&mut draws, 3, Stream::Sample, 0, row);
        draws.iter_mut().for_each(|x| *x = 2.0 * *x - 1.0);
        let wide = draws.iter().map(|&x| x as f64).collect();
        (draws, wide)
    }

    /// Compares `fast` with the definition, for factors that lie either way and rows with gaps between them.
    fn check(name: &str, product: impl Fn(&mut [f32], usize, usize, Factor<f32>, Factor<f32>) -> bool) {
        fn factor<T>(data: &[T], transposed: bool, rows: usize, cols: usize) -> Factor<'_, T> {
            if transposed { Factor::t(data, rows + 3) } else { Factor::n(data, cols + 3) }
        }
        for (m, n, k) in
            [(1, 1, 1), (1, 8, 3), (2, 16, 5), (7, 40, 1), (17, 33, 300), (9, 104, 201), (100, 504, 17), (250, 20, 9)]
        {
            for (ta, tb) in [(false, false), (false, true), (true, false), (true, true)] {
                let (a, a_wide) = numbers((m + 3) * (k + 3), 0);
                let (b, b_wide) = numbers((k + 3) * (n + 3), 1);
                let (mut got, mut want) = (vec![f32::NAN; m * n], vec![0.0; m * n]);
                assert!(product(&mut got, n, k, factor(&a, ta, m, k), factor(&b, tb, k, n)));
                exact(&mut want, n, k, factor(&a_wide, ta, m, k), factor(&b_wide, tb, k, n));
                for (i, (&got, want)) in got.iter().zip(want).enumerate() {
                    // k roundings of sums below √k
                    let bound = 6e-8 * (k as f64).powf(1.5).max(1.0);
                    assert!(
                        (got as f64 - want).abs() <= bound,
                        "{name} {m}x{n}x{k} {ta} {tb} [{i}]: {got}, want {want}"
                    );
                }
            }
        }
    }

    #[test]
    fn every_instruction_set_gives_the_product() {
        fn with<S: Simd>(simd: S) -> impl Fn(&mut [f32], usize, usize, Factor<f32>, Factor<f32>) -> bool {
            move |c, n, k, a, b| Piece { c: c.chunks_mut(n).collect(), cols: n, k, a, b, sparse: None }.with_simd(simd)
        }
        check("this machine's", fast);
        check("scalar", with(pulp::Scalar::new()));
        // As many numbers in a vector as with AVX-512, on a machine without.
        check("512 bits", with(pulp::Scalar512b));
        #[cfg(target_arch = "x86_64")]
        if let Some(simd) = pulp::x86::V3::try_new() {
            check("avx2", with(simd));
        }
    }

    #[test]
    fn one_thread_and_three_give_the_same_bits() {
        let (m, n, k) = (100, 504, 784);
        let ((a, _), (b, _)) = (numbers(m * k, 0), numbers(n * k, 1));
        let with = |threads| {
            let mut c = vec![0.0; m * n];
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| fast(&mut c, n, k, Factor::n(&a, k), Factor::t(&b, k)));
            c.iter().map(|x: &f32| x.to_bits()).collect::<Vec<_>>()
        };
        let one = with(1);
        assert!(one == with(2) && one == with(3));
    }
}
