//! Matrix products: three loops in f64, and in f32 a tiled product on all cores.
//!
//! The f32 product follows Goto & van de Geijn 2008, "Anatomy of high-performance matrix multiplication", with one
//! difference: at our sizes copying `a` would cost as much as it saves, so only `b` is packed. Threads share the columns
//! of `c`: no thread packs what another has packed.
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
}

/// The definition.
pub fn exact(c: &mut [f64], n: usize, k: usize, a: Factor<f64>, b: Factor<f64>) {
    c.par_chunks_mut(n).enumerate().for_each(|(i, c)| {
        c.fill(0.0);
        for l in 0..k {
            let factor = a.data[i * a.row + l * a.col];
            for (j, c) in c.iter_mut().enumerate() {
                *c += factor * b.data[l * b.row + j * b.col];
            }
        }
    });
}

/// Products of one element are summed in order within blocks of k, and block after block: k alone decides the result's
/// bits, not the number of threads.
pub fn fast(c: &mut [f32], n: usize, k: usize, a: Factor<f32>, b: Factor<f32>) {
    /// As many multiplications as are worth waking another thread for: about 10 µs.
    const GRAIN: usize = 1 << 20;
    let pieces = (c.len() * k / GRAIN).clamp(1, rayon::current_num_threads());
    let rows = c.chunks_mut(n).collect();
    columns(Columns { c: rows, first: 0, k, a, b }, pieces);
}

/// Some columns of c = a b, from column `first` of b.
struct Columns<'c, 'f> {
    c: Vec<&'c mut [f32]>,
    first: usize,
    k: usize,
    a: Factor<'f, f32>,
    b: Factor<'f, f32>,
}

/// Splits them between threads, and at last computes them.
fn columns(it: Columns, pieces: usize) {
    let width = it.c.first().map_or(0, |row| row.len());
    let middle = (width * (pieces / 2) / pieces).next_multiple_of(16);
    if pieces < 2 || middle >= width {
        return pulp::Arch::new().dispatch(it);
    }
    let (left, right) = it.c.into_iter().map(|row| row.split_at_mut(middle)).unzip();
    let (left, right) = (Columns { c: left, ..it }, Columns { c: right, first: it.first + middle, ..it });
    rayon::join(|| columns(left, pieces / 2), || columns(right, pieces - pieces / 2));
}

impl pulp::WithSimd for Columns<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match (S::REGISTER_COUNT, S::F32_LANES) {
            (32.., 4..) => blocks::<S, 8, 3>(simd, self),
            (_, 4..) => blocks::<S, 4, 3>(simd, self),
            _ => blocks::<S, 4, 4>(simd, self),
        }
    }
}

/// The most of k that is packed at once: a panel of 48 columns then fills three quarters of a cache of 48 KiB.
const BLOCK: usize = 200;

thread_local! {
    /// Kept from one product to the next.
    static PACKED: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// By blocks of k, panels of `NV` vectors of columns (a multiple of four columns), tiles of `MR` rows: a tile's sums fill the registers.
#[inline(always)]
fn blocks<S: Simd, const MR: usize, const NV: usize>(simd: S, Columns { mut c, first, k, a, b }: Columns) {
    let width = NV * S::F32_LANES;
    let cols = c.first().map_or(0, |row| row.len());
    let block = k.div_ceil(k.div_ceil(BLOCK).max(1)).max(1);
    let mut packed = PACKED.take();
    let len = block * cols.next_multiple_of(width) + 16;
    packed.resize(len.max(packed.len()), 0.0);
    let aligned = packed.as_ptr().align_offset(64); // else every load would touch two cache lines
    for from in (0..k).step_by(block) {
        let depth = block.min(k - from);
        let packed = &mut packed[aligned..][..depth * cols.next_multiple_of(width)];
        simd.vectorize(
            #[inline(always)]
            || pack(packed, width, depth, cols, from, first, b),
        );
        for (start, panel) in (0..cols).step_by(width).zip(packed.chunks_exact(depth * width)) {
            let cols = start..cols.min(start + width);
            for (i, c) in c.chunks_mut(MR).enumerate() {
                let a = A { a, row: i * MR, from, depth };
                macro_rules! tiles {
                    ($($rows:literal)*) => {
                        match (c.len(), cols.len().div_ceil(S::F32_LANES)) {
                            $(
                                ($rows, 1) if $rows < MR => tile::<S, $rows, 1, NV>(simd, c, cols.clone(), a, panel),
                                ($rows, 2) if $rows < MR => tile::<S, $rows, 2, NV>(simd, c, cols.clone(), a, panel),
                                ($rows, _) if $rows < MR => tile::<S, $rows, NV, NV>(simd, c, cols.clone(), a, panel),
                            )*
                            (_, 1) => tile::<S, MR, 1, NV>(simd, c, cols.clone(), a, panel),
                            (_, 2) => tile::<S, MR, 2, NV>(simd, c, cols.clone(), a, panel),
                            _ => tile::<S, MR, NV, NV>(simd, c, cols.clone(), a, panel),
                        }
                    };
                }
                tiles!(1 2 3 4 5 6 7);
            }
        }
    }
    PACKED.set(packed);
}

/// b[from + l][first + j] goes to row l of panel j / width, column j % width. What lies beyond `cols` is never used.
#[inline(always)]
fn pack(packed: &mut [f32], width: usize, depth: usize, cols: usize, from: usize, first: usize, b: Factor<f32>) {
    if b.col == 1 {
        for l in 0..depth {
            let row = &b.data[(from + l) * b.row + first..][..cols];
            let (whole, rest) = row.split_at(cols / width * width);
            for (p, part) in whole.chunks_exact(width).enumerate() {
                packed[(p * depth + l) * width..][..width].copy_from_slice(part);
            }
            if !rest.is_empty() {
                packed[whole.len() * depth + l * width..][..rest.len()].copy_from_slice(rest);
            }
        }
        return;
    }
    // Four columns at a time, first side by side: that loop becomes shuffles of vectors.
    let mut quads = [[0.0; 4]; BLOCK];
    let quads = &mut quads[..depth];
    for j in (0..cols).step_by(4) {
        let [p, q, r, s] = [0, 1, 2, 3].map(|i| &b.data[(first + (j + i).min(cols - 1)) * b.col + from..][..depth]);
        for (l, quad) in quads.iter_mut().enumerate() {
            *quad = [p[l], q[l], r[l], s[l]];
        }
        let panel = packed[j / width * width * depth..][..width * depth].chunks_exact_mut(width);
        for (panel, quad) in panel.zip(&*quads) {
            panel[j % width..][..4].copy_from_slice(quad);
        }
    }
}

/// Of a, the rows from `row` on and `depth` columns from `from` on.
#[derive(Clone, Copy)]
struct A<'f> {
    a: Factor<'f, f32>,
    row: usize,
    from: usize,
    depth: usize,
}

/// `MR` rows of c, `N` vectors of its columns: assigned in the first block of k, added to in the others.
#[inline(always)]
fn tile<S: Simd, const MR: usize, const N: usize, const NV: usize>(
    simd: S,
    c: &mut [&mut [f32]],
    cols: Range<usize>,
    A { a, row, from, depth }: A,
    panel: &[f32],
) {
    let panel = &bytemuck::cast_slice::<f32, S::f32s>(panel).as_chunks::<NV>().0[..depth];
    let mut sums = [[simd.splat_f32s(0.0); N]; MR];
    if a.col == 1 {
        let rows: [&[f32]; MR] = std::array::from_fn(|i| &a.data[(row + i) * a.row + from..][..depth]);
        for l in 0..depth {
            let a = |i: usize| rows[i][l];
            add(simd, &mut sums, a, &panel[l]);
        }
    } else {
        let mut rows = a.data[from * a.col + row..].chunks(a.col).map(|row| &row[..MR]);
        let (pairs, last) = panel.as_chunks::<2>();
        for [b, next] in pairs {
            let (Some(a), Some(a_next)) = (rows.next(), rows.next()) else { break };
            add(simd, &mut sums, |i| a[i], b);
            add(simd, &mut sums, |i| a_next[i], next);
        }
        if let ([b], Some(a)) = (last, rows.next()) {
            add(simd, &mut sums, |i| a[i], b);
        }
    }
    for (c, sums) in c.iter_mut().zip(sums) {
        let c = &mut c[cols.clone()];
        if c.len() == N * S::F32_LANES {
            for (c, sum) in bytemuck::cast_slice_mut::<f32, S::f32s>(c).iter_mut().zip(sums) {
                *c = if from == 0 { sum } else { simd.add_f32s(*c, sum) };
            }
        } else {
            for (c, sum) in c.chunks_mut(S::F32_LANES).zip(sums) {
                let before = if from == 0 { simd.splat_f32s(0.0) } else { simd.partial_load_f32s(c) };
                simd.partial_store_f32s(c, simd.add_f32s(before, sum));
            }
        }
    }
}

/// sums += a b
#[inline(always)]
fn add<S: Simd, const MR: usize, const N: usize, const NV: usize>(
    simd: S,
    sums: &mut [[S::f32s; N]; MR],
    a: impl Fn(usize) -> f32,
    b: &[S::f32s; NV],
) {
    for i in 0..MR {
        let a = simd.splat_f32s(a(i));
        for v in 0..N {
            sums[i][v] = simd.mul_add_e_f32s(a, b[v], sums[i][v]);
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
    fn check(name: &str, product: impl Fn(&mut [f32], usize, usize, Factor<f32>, Factor<f32>)) {
        fn factor<T>(data: &[T], transposed: bool, rows: usize, cols: usize) -> Factor<'_, T> {
            if transposed { Factor::t(data, rows + 3) } else { Factor::n(data, cols + 3) }
        }
        for (m, n, k) in [(1, 1, 1), (1, 8, 3), (2, 16, 5), (7, 40, 1), (17, 33, 300), (9, 104, 201), (100, 504, 17)] {
            for (ta, tb) in [(false, false), (false, true), (true, false), (true, true)] {
                let (a, a_wide) = numbers((m + 3) * (k + 3), 0);
                let (b, b_wide) = numbers((k + 3) * (n + 3), 1);
                let (mut got, mut want) = (vec![f32::NAN; m * n], vec![0.0; m * n]);
                product(&mut got, n, k, factor(&a, ta, m, k), factor(&b, tb, k, n));
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
        fn with<S: Simd>(simd: S) -> impl Fn(&mut [f32], usize, usize, Factor<f32>, Factor<f32>) {
            move |c, n, k, a, b| Columns { c: c.chunks_mut(n).collect(), first: 0, k, a, b }.with_simd(simd)
        }
        check("this machine's", fast);
        check("scalar", with(pulp::Scalar::new()));
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
