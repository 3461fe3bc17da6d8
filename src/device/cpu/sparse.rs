//! The product where one factor is mostly zeros, as pixels, counts and words are: what is zero is left out.
//!
//! A sum without its terms of zero is the same sum, and the others stay in their order: the bits are those of the product
//! that leaves nothing out, where the other factor is finite.
use super::pack::pack;
use super::product::{Factor, Piece, aligned, block_of};
use pulp::Simd;
use std::cell::Cell;

/// Which factor is mostly zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

/// Of a line of the sparse factor (a row of the left one, a column of the right one) a number that is not zero.
#[derive(Clone, Copy, Default)]
struct Entry {
    /// Where in the block of k.
    at: u32,
    x: f32,
}

/// Vectors of a panel of the dense factor: as many sums as hide how long each takes, and leave registers over.
const VECTORS: usize = 8;

/// Numbers of a part of a panel, 24 KiB: it stays in the first cache while so many lines go through it, and their sums do.
const PART: usize = 6 << 10;
const LINES: usize = 16;

/// Fewer columns of the dense factor are not worth the lists.
const NARROW: usize = 64;

/// One number in so many may be other than zero.
const ONE_IN: usize = 4;

/// The side that seems mostly zeros, by a few of its rows, if one is and that is worth it.
pub(super) fn side(m: usize, n: usize, k: usize, a: Factor<f32>, b: Factor<f32>) -> Option<Side> {
    if n >= NARROW && mostly_zeros(m, k, a) {
        return Some(Side::Left);
    }
    (m >= NARROW && mostly_zeros(k, n, b)).then_some(Side::Right)
}

/// By eight of its rows, or of its columns if these lie in one piece.
fn mostly_zeros(rows: usize, cols: usize, f: Factor<f32>) -> bool {
    const ASKED: usize = 8;
    let (count, len, stride) = if f.col == 1 { (rows, cols, f.row) } else { (cols, rows, f.col) };
    let asked = count.min(ASKED);
    let filled = |i: usize| f.data[i * count / asked * stride..][..len].iter().filter(|x| **x != 0.0).count();
    (0..asked).map(filled).sum::<usize>() * ONE_IN <= asked * len
}

/// Kept from one product to the next.
#[derive(Default)]
struct Buffers {
    entries: Vec<Entry>,
    /// Where the list of each part of each line begins.
    starts: Vec<u32>,
    panel: Vec<f32>,
    sums: Vec<f32>,
    turned: Vec<f32>,
}

thread_local! {
    static BUFFERS: Cell<Buffers> = Cell::default();
}

/// As `blocks`: whether every element has a finite square.
#[inline(always)]
pub(super) fn product<S: Simd>(simd: S, Piece { mut c, cols, k, a, b, .. }: Piece, side: Side) -> bool {
    // Either way line i of `thin` times `dense` is line i of c.
    let (thin, dense, lines, across) = match side {
        Side::Left => (a, b, c.len(), cols),
        Side::Right => (b.turned(), a.turned(), cols, c.len()),
    };
    let width = VECTORS * S::F32_LANES;
    let rows = PART / width;
    let block = block_of::<S>(k);
    let mut buffers = BUFFERS.take();
    let Buffers { entries, starts, panel: for_panel, sums: for_sums, turned: for_turned } = &mut buffers;
    let mut finite = true;
    for from in (0..k).step_by(block) {
        let depth = block.min(k - from);
        list(entries, starts, lines, depth, rows, Factor { data: &thin.data[from * thin.col..], ..thin });
        for start in (0..across).step_by(width) {
            let cols = start..across.min(start + width);
            let panel = aligned(for_panel, depth * width);
            let data = &dense.data[from * dense.row + start * dense.col..];
            pack(simd, panel, || VECTORS * S::F32_LANES, depth, cols.len(), data, dense.col, dense.row);
            for first in (0..lines).step_by(LINES) {
                let group = first..lines.min(first + LINES);
                let sums = aligned(for_sums, LINES * width);
                sums.fill(0.0);
                for (part, panel) in panel.chunks(PART).enumerate() {
                    for (line, sums) in group.clone().zip(sums.chunks_exact_mut(width)) {
                        let list = part * lines + line;
                        let entries = &entries[starts[list] as usize..starts[list + 1] as usize];
                        match cols.len().div_ceil(S::F32_LANES) {
                            5.. => add_up::<S, 8>(simd, sums, entries, panel),
                            3.. => add_up::<S, 4>(simd, sums, entries, panel),
                            _ => add_up::<S, 2>(simd, sums, entries, panel),
                        }
                    }
                }
                match side {
                    Side::Left => {
                        for (line, sums) in group.zip(sums.chunks_exact(width)) {
                            finite &= put(&mut c[line][cols.clone()], from > 0, sums);
                        }
                    }
                    Side::Right => {
                        let turned = aligned(for_turned, width * LINES);
                        pack(simd, turned, || LINES, width, group.len(), sums, width, 1);
                        for (c, sums) in c[cols.clone()].iter_mut().zip(turned.chunks_exact(LINES)) {
                            finite &= put(&mut c[group.clone()], from > 0, sums);
                        }
                    }
                }
            }
        }
    }
    BUFFERS.set(buffers);
    finite
}

/// Assigns, or in later blocks of k adds; whether the squares are finite.
#[inline(always)]
fn put(c: &mut [f32], more: bool, sums: &[f32]) -> bool {
    let mut finite = true;
    for (c, &sum) in c.iter_mut().zip(sums) {
        *c = if more { *c + sum } else { sum };
        finite &= (*c * *c).is_finite();
    }
    finite
}

/// Adds Σ x · row of the panel, of which the first `N` of [`VECTORS`] vectors matter.
#[inline(always)]
fn add_up<S: Simd, const N: usize>(simd: S, sums: &mut [f32], entries: &[Entry], panel: &[f32]) {
    let (panel, _) = bytemuck::cast_slice::<f32, S::f32s>(panel).as_chunks::<VECTORS>();
    let (sums, _) = bytemuck::cast_slice_mut::<f32, S::f32s>(sums).as_chunks_mut::<N>();
    let mut total = sums[0];
    for &Entry { at, x } in entries {
        let (row, x) = (&panel[at as usize], simd.splat_f32s(x));
        for v in 0..N {
            total[v] = simd.mul_add_e_f32s(x, row[v], total[v]);
        }
    }
    sums[0] = total;
}

/// What is not zero of each line within `depth` of k, in order, in parts of so many `rows` of a panel: list `part · lines + line`
/// from its start to the next one's.
#[inline(always)]
fn list(entries: &mut Vec<Entry>, starts: &mut Vec<u32>, lines: usize, depth: usize, rows: usize, f: Factor<f32>) {
    entries.clear();
    entries.reserve(lines * depth); // as many as there can be: no later step allocates, whatever its examples are
    starts.clear();
    starts.resize(lines * depth.div_ceil(rows) + 1, 0);
    if f.col == 1 {
        // Line by line, which lie in one piece each.
        let all = (0..depth).step_by(rows).flat_map(|from| (0..lines).map(move |line| (from, line)));
        for ((from, line), start) in all.zip(&mut starts[1..]) {
            let part = &f.data[line * f.row + from..][..rows.min(depth - from)];
            each_filled(part, |at, x| entries.push(Entry { at: at as u32, x }));
            *start = entries.len() as u32;
        }
        return;
    }
    // Row by row of what lies across them: counted first.
    let all = || f.data.chunks(f.col).take(depth).map(|row| &row[..lines]).enumerate();
    for (at, row) in all() {
        let counts = &mut starts[1 + at / rows * lines..][..lines];
        counts.iter_mut().zip(row).for_each(|(count, x)| *count += (*x != 0.0) as u32);
    }
    let mut end = 0;
    for start in &mut starts[1..] {
        (*start, end) = (end, end + *start);
    }
    entries.resize(end as usize, Entry::default());
    // Each now is where its list begins; counted on, where it ends.
    for (at, row) in all() {
        let ends = &mut starts[1 + at / rows * lines..][..lines];
        each_filled(row, |line, x| {
            entries[ends[line] as usize] = Entry { at: (at % rows) as u32, x };
            ends[line] += 1;
        });
    }
}

/// Calls `f` with the place and the value of every number that is not zero. By runs, of which a word of bits says where these
/// are: a branch for each number would be guessed wrong too often.
#[inline(always)]
fn each_filled(row: &[f32], mut f: impl FnMut(usize, f32)) {
    const RUN: usize = 64;
    for (i, run) in row.chunks(RUN).enumerate() {
        let mut filled = filled(run);
        while filled != 0 {
            let j = filled.trailing_zeros() as usize;
            f(i * RUN + j, run[j]);
            filled &= filled - 1;
        }
    }
}

/// Bit j: whether number j is not zero.
#[inline(always)]
fn filled(run: &[f32]) -> u64 {
    // Of a length that the compiler knows: then it is vectors.
    let (parts, rest) = run.as_chunks::<16>();
    let mut all = 0;
    for (i, part) in parts.iter().enumerate() {
        let bits = part.iter().enumerate().fold(0, |bits, (j, x)| bits | ((*x != 0.0) as u32) << j);
        all |= (bits as u64) << (16 * i);
    }
    for (j, x) in rest.iter().enumerate() {
        all |= ((*x != 0.0) as u64) << (16 * parts.len() + j);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Stream, uniforms};
    use pulp::WithSimd;

    /// Numbers in (−1, 1), of which as large a part is zero, some of them −0.
    fn numbers(len: usize, zeros: f32, row: u32) -> Vec<f32> {
        let mut draws = vec![0.0; 2 * len];
        uniforms(&mut draws, 3, Stream::Sample, 0, row);
        let (values, chances) = draws.split_at(len);
        let number = |(&x, &u): (&f32, &f32)| if u >= zeros { 2.0 * x - 1.0 } else { [0.0, -0.0][(x > 0.5) as usize] };
        values.iter().zip(chances).map(number).collect()
    }

    const SHAPES: [(usize, usize, usize); 6] =
        [(1, 64, 3), (64, 1, 1), (7, 72, 801), (100, 504, 41), (130, 67, 400), (250, 20, 9)];

    /// Both sides, with factors that lie either way and gaps between their rows, against the product that leaves nothing out.
    fn same_bits<S: Simd>(name: &str, simd: S) {
        fn factor(data: &[f32], transposed: bool, rows: usize, cols: usize) -> Factor<'_, f32> {
            if transposed { Factor::t(data, rows + 3) } else { Factor::n(data, cols + 3) }
        }
        for (m, n, k) in SHAPES {
            for (ta, tb) in [(false, false), (false, true), (true, false), (true, true)] {
                for (side, zeros) in [(Side::Left, [0.8, 0.1]), (Side::Right, [0.1, 0.8]), (Side::Left, [1.0, 0.0])] {
                    let a = numbers((m + 3) * (k + 3), zeros[0], 0);
                    let b = numbers((k + 3) * (n + 3), zeros[1], 1);
                    let (a, b) = (factor(&a, ta, m, k), factor(&b, tb, k, n));
                    let with = |sparse| {
                        let mut c = vec![f32::NAN; m * n];
                        let piece = Piece { c: c.chunks_mut(n).collect(), cols: n, k, a, b, sparse };
                        assert!(piece.with_simd(simd), "{name} {m}x{n}x{k}: all squares are finite");
                        c.iter().map(|x| x.to_bits()).collect::<Vec<_>>()
                    };
                    assert!(with(Some(side)) == with(None), "{name} {m}x{n}x{k} {ta} {tb} {side:?}");
                }
            }
        }
    }

    #[test]
    fn leaving_zeros_out_changes_no_bit() {
        same_bits("scalar", pulp::Scalar::new());
        same_bits("512 bits", pulp::Scalar512b);
        #[cfg(target_arch = "x86_64")]
        if let Some(simd) = pulp::x86::V3::try_new() {
            same_bits("avx2", simd);
        }
        #[cfg(target_arch = "x86_64")]
        if let Some(simd) = pulp::x86::V4::try_new() {
            same_bits("avx512", simd);
        }
    }

    #[test]
    fn a_square_that_is_not_finite_is_told() {
        for side in [Side::Left, Side::Right] {
            let (m, n, k) = (70, 80, 5);
            for (large, finite) in [(1e18, true), (1e20, false)] {
                let (mut a, mut b) = (vec![0.0; m * k], vec![0.0; k * n]);
                (a[(m - 1) * k + 2], b[2 * n + n - 1]) = (1.0, large);
                let mut c = vec![0.0; m * n];
                let (a, b) = (Factor::n(&a, k), Factor::n(&b, n));
                let piece = Piece { c: c.chunks_mut(n).collect(), cols: n, k, a, b, sparse: Some(side) };
                assert_eq!(pulp::Arch::new().dispatch(piece), finite, "{side:?}, {large}");
                assert_eq!(c[m * n - 1], large);
            }
        }
    }

    #[test]
    fn the_factor_of_zeros_is_seen() {
        let (m, n, k) = (100, 120, 784);
        let seen = |zeros: [f32; 2], ta, tb, m, n| {
            let (a, b) = (numbers(m * k, zeros[0], 0), numbers(k * n, zeros[1], 1));
            let a = if ta { Factor::t(&a, m) } else { Factor::n(&a, k) };
            let b = if tb { Factor::t(&b, k) } else { Factor::n(&b, n) };
            side(m, n, k, a, b)
        };
        for (ta, tb) in [(false, false), (false, true), (true, false), (true, true)] {
            assert_eq!(seen([0.85, 0.0], ta, tb, m, n), Some(Side::Left));
            assert_eq!(seen([0.0, 0.85], ta, tb, m, n), Some(Side::Right));
            assert_eq!(seen([0.5, 0.5], ta, tb, m, n), None, "half of relu's outputs");
            assert_eq!(seen([0.85, 0.0], ta, tb, m, 20), None, "too narrow to be worth it");
            assert_eq!(seen([0.0, 0.85], ta, tb, 20, n), None);
        }
    }
}
