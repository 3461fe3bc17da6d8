//! Two frames of a digit that moves: one below the other, 28 x 28 each, for predicting the second from the first. One
//! frame shows where the digit is and not where it goes, so the first has several second frames, all alike plausible.
//! Each example is a pure function of its index.
use rayon::prelude::*;

use super::digits::{self, Rng};
use super::split::hash;
use super::{Dataset, Values};

/// Pixels along each side of a frame.
pub const SIDE: usize = 28;
/// Pixels along each side of the digit's box: a built-in digit at half its size.
const BOX: usize = digits::SIDE / 2;
/// Where the box may lie, along each axis: from 0 to this, so that the digit is always whole.
const ROOM: i32 = (SIDE - BOX) as i32;

/// (x, y) in pixels a frame, in eight directions: about 3 in each of them. All are equally likely.
pub const VELOCITIES: [(i32, i32); 8] = [(3, 0), (2, 2), (0, 3), (-2, 2), (-3, 0), (-2, -2), (0, -3), (2, -2)];

/// 20,000 examples to train on.
pub fn train() -> Dataset {
    draw_all("the moving digits", 20_000, 2)
}

/// 2,000 examples to test on; none is among those of `train`, and none shows a digit of [`super::digits`].
pub fn test() -> Dataset {
    draw_all("the moving test digits", 2_000, 3)
}

/// Frame t is columns 0..784, frame t + 1 the others, each row by row.
fn draw_all(name: &str, n: usize, stream: u64) -> Dataset {
    let cols = 2 * SIDE * SIDE;
    let mut values = vec![0u8; n * cols];
    let mut labels = vec![0u8; n];
    values.par_chunks_exact_mut(cols).zip(&mut labels).enumerate().for_each(|(i, (frames, label))| {
        let mut rng = Rng::new(hash(stream << 32 | i as u64));
        let mut full = [0u8; digits::SIDE * digits::SIDE];
        *label = digits::draw(&mut full, &mut rng);
        let digit = halved(&full);
        let mut place = || (rng.bits() % (ROOM as u64 + 1)) as i32;
        let (x, y) = (place(), place());
        let (vx, vy) = VELOCITIES[(rng.bits() % 8) as usize];
        let (now, next) = frames.split_at_mut(SIDE * SIDE);
        put(now, &digit, x, y);
        put(next, &digit, moved(x, vx), moved(y, vy));
    });
    Dataset {
        labels: Some(labels),
        shape: Some((2 * SIDE, SIDE).into()),
        ..Dataset::new(name, cols, Values::Bytes(values))
    }
}

/// One frame later. A wall turns it round: who would leave goes the other way, as fast.
fn moved(at: i32, velocity: i32) -> i32 {
    if (0..=ROOM).contains(&(at + velocity)) { at + velocity } else { at - velocity }
}

/// Each pixel the mean of four.
fn halved(full: &[u8]) -> [u8; BOX * BOX] {
    std::array::from_fn(|i| {
        let corner = 2 * (i / BOX) * digits::SIDE + 2 * (i % BOX);
        let sum: u32 = [0, 1, digits::SIDE, digits::SIDE + 1].iter().map(|k| full[corner + k] as u32).sum();
        ((sum + 2) / 4) as u8
    })
}

/// Draws the digit into an empty frame.
fn put(frame: &mut [u8], digit: &[u8; BOX * BOX], x: i32, y: i32) {
    for (row, line) in digit.chunks_exact(BOX).enumerate() {
        frame[(y as usize + row) * SIDE + x as usize..][..BOX].copy_from_slice(line);
    }
}
