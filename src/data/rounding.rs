//! Columns of which f32 keeps too little: large numbers that differ by less than the step between two f32 there, as times in
//! seconds. What is lost is seen while the numbers are read, for nothing of it is there afterwards.

use super::source::{Real, Source, Wide};
use crate::Result;

/// From which row on it is looked: what is kept of each column shall be little beside the rows.
const FROM: usize = 4;
/// So many rows differ from the one before, and not as f32.
const LOST: u32 = 3;
/// A column that spans more steps of f32 than this is rounded, and still a column.
const STEPS: f32 = 256.0;
/// Closer numbers, in parts of their size, are the noise of f64.
const NOISE: f64 = 1e-13;

/// What was seen of each column so far.
pub(super) struct Rounding {
    cols: usize,
    columns: Vec<Column>,
}

#[derive(Clone)]
struct Column {
    last: f64,
    low: f32,
    high: f32,
    lost: u32,
}

impl Rounding {
    pub fn new(cols: usize) -> Rounding {
        Rounding { cols, columns: vec![] }
    }

    /// The number of a row and a column, before it is rounded.
    pub fn see(&mut self, row: usize, j: usize, number: f64) {
        if row < FROM {
            return;
        }
        if self.columns.is_empty() {
            let column = Column { last: f64::NAN, low: f32::INFINITY, high: f32::NEG_INFINITY, lost: 0 };
            self.columns = vec![column; self.cols];
        }
        let (column, rounded) = (&mut self.columns[j], number as f32);
        let away = (number - column.last).abs();
        // Whole numbers have no noise.
        let apart = away > NOISE * number.abs() || away >= 1.0 && number.fract() == 0.0 && column.last.fract() == 0.0;
        column.lost = column.lost.saturating_add((apart && column.last as f32 == rounded) as u32);
        (column.low, column.high) = (column.low.min(rounded), column.high.max(rounded));
        column.last = number;
    }

    /// The columns of which too little is left.
    pub fn coarse(&self) -> Vec<usize> {
        let is_coarse = |column: &Column| {
            let largest = column.low.abs().max(column.high.abs());
            column.lost >= LOST && column.high - column.low < STEPS * (largest.next_up() - largest)
        };
        (0..self.columns.len()).filter(|&j| is_coarse(&self.columns[j])).collect()
    }
}

/// The next `count` numbers of a file, in rows of `cols`; and of which columns f32 keeps too little, where the type has more than it
/// holds: then `wide` has a number before it is rounded.
///
/// # Errors
/// Those of the file.
pub(super) fn reals(
    source: &mut Source,
    (count, cols): (usize, usize),
    size: usize,
    real: Real,
    wide: Option<Wide>,
) -> Result<(Vec<f32>, Vec<usize>)> {
    let Some(wide) = wide else { return Ok((source.reals(count, size, real)?, vec![])) };
    let (mut rounding, mut i) = (Rounding::new(cols), 0);
    let values = source.reals_seen(count, size, real, |bytes| {
        rounding.see(i / cols, i % cols, wide(bytes));
        i += 1;
    })?;
    Ok((values, rounding.coarse()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_coarse_and_noise_is_not() {
        let coarse = |number: &dyn Fn(usize) -> f64| {
            let mut rounding = Rounding::new(1);
            (0..50).for_each(|i| rounding.see(i, 0, number(i)));
            !rounding.coarse().is_empty()
        };
        assert!(coarse(&|i| 1.7e9 + i as f64));
        assert!(coarse(&|i| 1.0 + i as f64 * 1e-9));
        assert!(coarse(&|i| 1e15 + i as f64));
        // Days, not seconds; a constant with the noise of f64; numbers that f32 holds; few that do not change.
        assert!(!coarse(&|i| 1.7e9 + i as f64 * 86400.0));
        assert!(!coarse(&|i| 0.1 + (i % 2) as f64 * 1e-17));
        assert!(!coarse(&|i| i as f64 * 0.1));
        assert!(!coarse(&|_| 1.7e9 + 1.0));
    }
}
