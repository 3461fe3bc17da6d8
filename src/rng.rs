//! Randomness as a function of (seed, step, index). Nothing here, or anywhere, holds the state of a generator: the
//! backward pass recomputes the noise of the forward pass, a resumed run continues exactly, and every device draws the
//! same bits. The same functions in CUDA: kernels/philox.cuh.
use crate::device::Real;
use std::convert::Infallible;

/// What a draw is for. The last word of the Philox counter, so that no two purposes share bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Stream {
    /// eps of the reparameterisation, in training.
    Noise = 0,
    /// Dynamic binarisation.
    Binarize = 1,
    /// The order of the examples in an epoch.
    Shuffle = 2,
    /// Initial weights.
    Init = 3,
    /// Draws from the prior, and of `x` given `z`.
    Sample = 4,
    /// Annealed importance sampling: where its chains begin, momenta, who is accepted.
    Anneal = 5,
    /// The same, of the run that looks for the lengths of its steps.
    Pilot = 6,
    /// Chains that fill in what is missing.
    Impute = 7,
}

/// Philox4x32-10: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
pub fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    philox_lanes(counter.map(|c| [c]), key).map(|c| c[0])
}

/// `L` Philox blocks side by side. Counters and results are by word, so that the compiler vectorises over lanes.
#[inline(always)]
pub fn philox_lanes<const L: usize>(mut c: [[u32; L]; 4], mut key: [u32; 2]) -> [[u32; L]; 4] {
    for _ in 0..10 {
        for l in 0..L {
            let (a, b) = (0xD2511F53u64 * c[0][l] as u64, 0xCD9E8D57u64 * c[2][l] as u64);
            c[0][l] = (b >> 32) as u32 ^ c[1][l] ^ key[0];
            c[1][l] = b as u32;
            c[2][l] = (a >> 32) as u32 ^ c[3][l] ^ key[1];
            c[3][l] = a as u32;
        }
        key = [key[0].wrapping_add(0x9E3779B9), key[1].wrapping_add(0xBB67AE85)];
    }
    c
}

/// The halves of a seed, as Philox takes them.
pub fn key(seed: u64) -> [u32; 2] {
    [seed as u32, (seed >> 32) as u32]
}

/// In (0, 1): 23 bits and a half fit the mantissa of an f32, so neither end is reached in any precision.
#[inline(always)]
pub fn unit<T: Real>(word: u32) -> T {
    (T::of_int((word >> 9) as i32) + T::of(0.5)) * T::of(1.0 / 8388608.0) // every step of this is exact
}

/// Lanes for [`fill`]: wide enough for AVX-512.
const LANES: usize = 16;

/// Calls `f` with the Philox words of rows of `cols` columns, `LANES` blocks at a time, through the rows one after the other:
/// word w of block b of a row belongs to column `4 b + w`. A row of few columns shares its lanes with the next ones.
#[inline(always)]
fn fill<T: Copy>(
    out: &mut [T],
    cols: usize,
    [first, step, stream]: [u32; 3],
    key: [u32; 2],
    f: impl Fn([[u32; LANES]; 4]) -> [[T; LANES]; 4],
) {
    let (rows, of_row) = (out.len() / cols.max(1), cols.div_ceil(4));
    let (mut row, mut block) = (0, 0);
    while row < rows {
        let begin = (row, block);
        let (mut rows_of, mut blocks) = ([0; LANES], [0; LANES]);
        for l in 0..LANES {
            (rows_of[l], blocks[l]) = (first.wrapping_add(row as u32), block as u32);
            (row, block) = if block + 1 < of_row { (row, block + 1) } else { (row + 1, 0) };
        }
        let values = f(philox_lanes([blocks, rows_of, [step; LANES], [stream; LANES]], key));
        let (mut at, mut block) = begin;
        if block + LANES <= cols / 4 {
            let out = &mut out[at * cols + 4 * block..][..4 * LANES];
            for i in 0..4 * LANES {
                out[i] = values[i % 4][i / 4];
            }
            continue;
        }
        for l in 0..LANES {
            if at < rows {
                let (start, left) = (at * cols + 4 * block, cols - 4 * block);
                for (w, out) in out[start..start + left.min(4)].iter_mut().enumerate() {
                    *out = values[w][l];
                }
            }
            (at, block) = if block + 1 < of_row { (at, block + 1) } else { (at + 1, 0) };
        }
    }
}

/// eps ~ N(0, 1) for the columns of one row: Box–Muller on each half of a Philox block.
#[inline(always)]
pub fn normals<T: Real>(out: &mut [T], seed: u64, stream: Stream, step: u32, row: u32) {
    normals_of_rows(out, out.len(), seed, stream, step, row);
}

/// The same for rows of `cols` columns, from `first` on.
#[inline(always)]
pub fn normals_of_rows<T: Real>(out: &mut [T], cols: usize, seed: u64, stream: Stream, step: u32, first: u32) {
    fill(
        out,
        cols,
        [first, step, stream as u32],
        key(seed),
        #[inline(always)]
        |words| {
            let mut values = [[T::of(0.0); LANES]; 4];
            for half in 0..2 {
                for l in 0..LANES {
                    let radius = (T::of(-2.0) * unit::<T>(words[2 * half][l]).ln()).sqrt();
                    // A turn in [0, 1), in 24 bits.
                    let (sin, cos) =
                        (T::of_int((words[2 * half + 1][l] >> 8) as i32) * T::of(1.0 / 16777216.0)).sin_cos_turns();
                    (values[2 * half][l], values[2 * half + 1][l]) = (radius * cos, radius * sin);
                }
            }
            values
        },
    );
}

/// u ~ U(0, 1) for the columns of one row.
#[inline(always)]
pub fn uniforms(out: &mut [f32], seed: u64, stream: Stream, step: u32, row: u32) {
    fill(
        out,
        out.len(),
        [row, step, stream as u32],
        key(seed),
        #[inline(always)]
        |words| {
            let mut values = [[0.0; LANES]; 4];
            for w in 0..4 {
                for l in 0..LANES {
                    values[w][l] = unit(words[w][l]);
                }
            }
            values
        },
    );
}

/// The keys of an epoch's shuffle, one for each round.
pub fn shuffle_keys(seed: u64, epoch: u32) -> [u32; 8] {
    let block = |i| philox([i, 0, epoch, Stream::Shuffle as u32], key(seed));
    let ([a, b, c, d], [e, f, g, h]) = (block(0), block(1));
    [a, b, c, d, e, f, g, h]
}

/// Where examples `first..` of `0..n` go: a bijection of `0..n`, so that a permutation is never stored. A Feistel network
/// over the next even number of bits, walked until it lands inside (Black & Rogaway 2002, "Ciphers with arbitrary
/// finite domains").
#[inline(always)]
pub fn shuffle(out: &mut [u32], first: u32, n: u32, keys: &[u32; 8]) {
    debug_assert!(first as usize + out.len() <= n as usize);
    let half = ((32 - (n - 1).leading_zeros()).max(2)).div_ceil(2); // at most 16 bits a side
    let mask = (1u32 << half) - 1;
    for (chunk, out) in out.chunks_mut(LANES).enumerate() {
        let mut at = [0; LANES];
        for l in 0..LANES {
            at[l] = (first + (chunk * LANES + l) as u32).min(n - 1); // beyond the last: not used
        }
        // All lanes walk until the last of them has landed.
        let (mut walking, mut is_first) = (true, true);
        while walking {
            let (mut left, mut right) = ([0; LANES], [0; LANES]);
            for l in 0..LANES {
                (left[l], right[l]) = (at[l] >> half, at[l] & mask);
            }
            for &key in keys {
                for l in 0..LANES {
                    (left[l], right[l]) = (right[l], left[l] ^ (mix(right[l] ^ key) & mask));
                }
            }
            walking = false;
            for l in 0..LANES {
                let next = left[l] << half | right[l];
                at[l] = if is_first || at[l] >= n { next } else { at[l] };
                walking |= at[l] >= n;
            }
            is_first = false;
        }
        out.copy_from_slice(&at[..out.len()]);
    }
}

/// The finaliser of MurmurHash3: every bit of the input reaches every bit of the output.
#[inline(always)]
fn mix(mut h: u32) -> u32 {
    h = (h ^ (h >> 16)).wrapping_mul(0x85EBCA6B);
    h = (h ^ (h >> 13)).wrapping_mul(0xC2B2AE35);
    h ^ (h >> 16)
}

/// One row of the initial weights as a source for `rand`'s distributions. It lives as long as the row it fills.
pub struct Words {
    key: [u32; 2],
    counter: [u32; 4],
    ready: [u32; 4],
    left: usize,
}

impl Words {
    pub fn new(seed: u64, stream: Stream, tensor: u32, row: u32) -> Words {
        Words { key: key(seed), counter: [0, row, tensor, stream as u32], ready: [0; 4], left: 0 }
    }
    fn word(&mut self) -> u32 {
        if self.left == 0 {
            self.ready = philox(self.counter, self.key);
            self.counter[0] += 1;
            self.left = 4;
        }
        self.left -= 1;
        self.ready[3 - self.left]
    }
}

impl rand::TryRng for Words {
    type Error = Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.word())
    }
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.word() as u64 | (self.word() as u64) << 32)
    }
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for chunk in out.chunks_mut(4) {
            chunk.copy_from_slice(&self.word().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_gives_the_known_answers() {
        // From the Random123 distribution, kat_vectors.
        assert_eq!(philox([0; 4], [0; 2]), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
        assert_eq!(philox([!0; 4], [!0; 2]), [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]);
        let counter = [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344];
        let key = [0xa4093822, 0x299f31d0];
        assert_eq!(philox(counter, key), [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1]);
    }

    /// All of an epoch.
    fn order(n: u32, seed: u64, epoch: u32) -> Vec<u32> {
        let mut order = vec![0; n as usize];
        shuffle(&mut order, 0, n, &shuffle_keys(seed, epoch));
        order
    }

    /// One example, as the definition has it.
    fn walked(i: u32, n: u32, keys: &[u32; 8]) -> u32 {
        let half = ((32 - (n - 1).leading_zeros()).max(2)).div_ceil(2);
        let mask = (1u32 << half) - 1;
        let pass = |at: u32| {
            let (left, right) = keys.iter().fold((at >> half, at & mask), |(l, r), key| (r, l ^ (mix(r ^ key) & mask)));
            left << half | right
        };
        let mut at = pass(i);
        while at >= n {
            at = pass(at);
        }
        at
    }

    /// Whatever lanes a row, or an example, shares with which others.
    #[test]
    fn side_by_side_each_is_what_it_is_alone() {
        for n in [1, 2, 31, 257, 5000] {
            let (keys, whole) = (shuffle_keys(5, 2), order(n, 5, 2));
            assert!((0..n).all(|i| whole[i as usize] == walked(i, n, &keys)), "n = {n}");
            for first in (0..n).step_by(1 + n as usize / 9) {
                let mut part = vec![0; (n - first).min(37) as usize];
                shuffle(&mut part, first, n, &keys);
                assert_eq!(part, whole[first as usize..][..part.len()], "n = {n} from {first}");
            }
        }
        for (rows, cols) in [(40, 1), (33, 2), (7, 3), (17, 4), (9, 5), (5, 20), (3, 50), (2, 64), (3, 130)] {
            let (mut all, mut alone) = (vec![0f64; rows * cols], vec![0f64; cols]);
            normals_of_rows(&mut all, cols, 9, Stream::Noise, 4, u32::MAX - 1); // the number of a row wraps
            for (i, row) in all.chunks(cols).enumerate() {
                normals(&mut alone, 9, Stream::Noise, 4, (u32::MAX - 1).wrapping_add(i as u32));
                assert_eq!(row, alone, "row {i} of {rows} × {cols}");
                for (b, four) in row.chunks(4).enumerate() {
                    let words =
                        philox([b as u32, (u32::MAX - 1).wrapping_add(i as u32), 4, Stream::Noise as u32], key(9));
                    let radius = |w: u32| (-2.0 * unit::<f64>(w).ln()).sqrt();
                    let (sin, cos) = ((words[1] >> 8) as f64 / 16777216.0).sin_cos_turns();
                    assert_eq!(four[0], radius(words[0]) * cos, "row {i}, block {b} of {rows} × {cols}");
                    assert!(four.len() < 2 || four[1] == radius(words[0]) * sin);
                }
            }
        }
    }

    #[test]
    fn the_shuffle_is_a_bijection_and_differs_between_epochs() {
        for n in [1, 2, 3, 5, 16, 17, 1000, 60_000] {
            let mut seen = vec![false; n as usize];
            order(n, 7, 3).iter().for_each(|&i| seen[i as usize] = true);
            assert!(seen.iter().all(|&s| s), "n = {n}");
        }
        let same = order(1000, 7, 0).iter().zip(order(1000, 7, 1)).filter(|(a, b)| *a == b).count();
        assert!(same < 10, "{same} of 1000 examples stand where they stood"); // one is expected
    }

    #[test]
    fn the_shuffle_leaves_no_order() {
        // The rank correlation of position and example is within four standard errors, 1/√n, of zero.
        let n = 10_000u32;
        for epoch in 0..5 {
            let order = order(n, 1, epoch);
            let centre = (n - 1) as f64 / 2.0;
            let (mut cov, mut var) = (0.0, 0.0);
            for i in 0..n {
                cov += (i as f64 - centre) * (order[i as usize] as f64 - centre);
                var += (i as f64 - centre).powi(2);
            }
            assert!((cov / var).abs() < 4.0 / (n as f64).sqrt(), "epoch {epoch}: correlation {}", cov / var);
        }
    }

    fn moments<T: Real>() -> [f64; 4] {
        let (rows, cols) = (200, 1003);
        let mut sums = [0.0; 4];
        let mut row = vec![T::of(0.0); cols];
        for r in 0..rows {
            normals(&mut row, 5, Stream::Noise, 2, r);
            for &x in &row {
                (0..4).for_each(|p| sums[p] += x.to_f64().powi(p as i32 + 1));
            }
        }
        sums.map(|s| s / (rows as usize * cols) as f64)
    }

    #[test]
    fn normals_have_the_moments_of_a_normal() {
        for [mean, second, third, fourth] in [moments::<f32>(), moments::<f64>()] {
            let error = 4.0 / (200.0f64 * 1003.0).sqrt(); // four standard errors; the variances are 1, 2, 15 and 96
            assert!(mean.abs() < error, "mean {mean}");
            assert!((second - 1.0).abs() < error * 2f64.sqrt(), "variance {second}");
            assert!(third.abs() < error * 15f64.sqrt(), "third moment {third}");
            assert!((fourth - 3.0).abs() < error * 96f64.sqrt(), "fourth moment {fourth}");
        }
    }

    #[test]
    fn both_precisions_draw_the_same_normals() {
        let (mut single, mut double) = ([0f32; 101], [0f64; 101]);
        normals(&mut single, 9, Stream::Noise, 4, 7);
        normals(&mut double, 9, Stream::Noise, 4, 7);
        for (s, d) in single.iter().zip(double) {
            assert!((*s as f64 - d).abs() < 2e-6 * (1.0 + d.abs()), "got {s}, want {d}"); // a few roundings of f32
        }
    }
}
