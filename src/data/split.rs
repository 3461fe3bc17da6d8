//! Which examples are held out to validate on: a hash of their places says it, the same for every run.
use super::{Dataset, values};
use crate::error::a_part;
use crate::{Error, Result};

impl Dataset {
    /// Splits off round(fraction x rows) examples: (the rest, those held out), both in the order of the file.
    ///
    /// Which ones is a function of the number of rows and the fraction alone, never of the seed: the rows are put in
    /// the order of a fixed hash of their index, and the last ones are held out. So every run of a comparison sees
    /// the same split, files sorted by class split evenly, and a larger fraction holds out a superset.
    ///
    /// # Errors
    /// Where the fraction is not between 0 and 1, or leaves one part empty.
    pub fn split(mut self, fraction: f64) -> Result<(Self, Self)> {
        a_part("valid-fraction", fraction, "--valid-fraction 0.1")?;
        let rows = self.rows();
        let held = held_out(rows, fraction);
        if held == 0 || held == rows {
            let remedy =
                if rows > 1 { "pass --valid-fraction 0.5, or give more examples" } else { "give more examples" };
            return Err(Error::request(format!(
                "valid-fraction {fraction}: holds out {held} of the {rows} examples of {}, and must leave at least 1 on \
                 each side; {remedy}",
                self.name
            )));
        }
        let is_held_out = is_among_last(rows, held);
        // The smaller side moves out, the other closes up where it is: a large file is not held twice.
        let moves = |i: usize| is_held_out(i) == (2 * held <= rows);
        let values = self.values.move_out(self.cols, moves);
        let labels = self.labels.as_mut().map(|labels| values::move_out(labels, 1, moves));
        let (name, cols, columns) = (self.name.clone(), self.cols, self.columns.clone());
        let (shape, classes, bytes) = (self.shape, self.classes, self.bytes);
        let moved = Dataset { labels, shape, classes, columns, bytes, ..Dataset::new(name, cols, values) };
        let (train, mut held) = if 2 * held <= rows { (self, moved) } else { (moved, self) };
        held.name += ", held out";
        Ok((train, held))
    }
}

/// How many of so many examples are held out.
fn held_out(rows: usize, fraction: f64) -> usize {
    (fraction * rows as f64).round() as usize
}

/// Which of so many examples [`Dataset::split`] holds out, in order: some and not all.
pub(crate) fn rows_held_out(rows: usize, fraction: f64) -> Vec<usize> {
    let held = held_out(rows, fraction);
    if held == 0 || held >= rows {
        return vec![];
    }
    let is_held_out = is_among_last(rows, held);
    (0..rows).filter(|&i| is_held_out(i)).collect()
}

/// Whether an example is of those `held` whose hashes are the largest.
fn is_among_last(rows: usize, held: usize) -> impl Fn(usize) -> bool {
    let from = last_hashes(rows, held);
    move |i| hash(i as u64) >= from
}

/// From where on the hashes of `0..rows` are the `held` largest; no two are the same. By their upper bits, for a list of all
/// may be longer than the data.
fn last_hashes(rows: usize, held: usize) -> u64 {
    let upper = |i: usize| (hash(i as u64) >> 48) as usize;
    let mut counts = vec![0; 1 << 16];
    (0..rows).for_each(|i| counts[upper(i)] += 1);
    let (mut at, mut above) = (counts.len(), 0);
    while above < held {
        at -= 1;
        above += counts[at];
    }
    let mut here: Vec<u64> = (0..rows).filter(|&i| upper(i) == at).map(|i| hash(i as u64)).collect();
    here.sort_unstable();
    here[above - held]
}

/// A mix of 64 bits in which every bit depends on every bit: splitmix64, Steele, Lea & Flood 2014.
pub(super) fn hash(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}
