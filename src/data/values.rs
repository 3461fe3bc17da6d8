//! The numbers of a data set, as compact as its source had them, and what becomes of them when rows and columns move.
use super::Dataset;
use super::columns::{keep, widen};
use super::sparse::Sparse;
use crate::Result;
use crate::host;
use std::ops::Range;

/// The numbers of all examples.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Stand for byte / 255, in [0, 1]. Row-major.
    Bytes(Vec<u8>),
    /// Row-major.
    Reals(Vec<f32>),
    /// Rows of which most numbers are zero.
    Sparse(Sparse),
}

impl Values {
    /// How many rows of `cols` numbers there are.
    pub(super) fn rows(&self, cols: usize) -> usize {
        match self {
            Values::Bytes(v) => v.len() / cols,
            Values::Reals(v) => v.len() / cols,
            Values::Sparse(v) => v.rows(),
        }
    }

    /// Writes these of the `cols` columns of row `i` to `out`, bytes scaled to [0, 1].
    pub(super) fn write(&self, i: usize, cols: usize, columns: Range<usize>, out: &mut [f32]) {
        assert_eq!(out.len(), columns.len(), "as many numbers as columns");
        let range = i * cols + columns.start..i * cols + columns.end;
        match self {
            Values::Bytes(v) => out.iter_mut().zip(&v[range]).for_each(|(out, &b)| *out = b as f32 / 255.0),
            Values::Reals(v) => out.copy_from_slice(&v[range]),
            Values::Sparse(v) => {
                out.fill(0.0);
                v.entries_in(i, columns).for_each(|(j, x)| out[j] = x);
            }
        }
    }

    /// Bytes that they take in memory.
    pub fn bytes(&self) -> u64 {
        (match self {
            Values::Bytes(v) => v.len(),
            Values::Reals(v) => size_of_val(&v[..]),
            Values::Sparse(v) => v.bytes(),
        }) as u64
    }

    /// Makes zeros of these of the `cols` columns of row `i`, in order.
    pub(crate) fn clear(&mut self, cols: usize, i: usize, columns: &[u32]) {
        let each = columns.iter().map(|&j| i * cols + j as usize);
        match self {
            Values::Bytes(v) => each.for_each(|at| v[at] = 0),
            Values::Reals(v) => each.for_each(|at| v[at] = 0.0),
            Values::Sparse(v) => v.clear(i, columns),
        }
    }

    /// Keeps these of `cols` columns of every row, in this order.
    pub(super) fn keep(&mut self, cols: usize, positions: &[usize]) {
        match self {
            Values::Bytes(v) => keep(v, cols, positions),
            Values::Reals(v) => keep(v, cols, positions),
            Values::Sparse(v) => v.keep(cols, positions),
        }
    }

    /// Writes the class of every row behind its `cols` numbers: as many columns as classes, of which that one is 1.
    ///
    /// # Errors
    /// Too little memory.
    pub(super) fn put_classes(&mut self, name: &str, cols: usize, labels: &[u8], classes: usize) -> Result<()> {
        match self {
            Values::Bytes(v) => beside(name, v, cols, labels, classes, 255),
            Values::Reals(v) => beside(name, v, cols, labels, classes, 1.0),
            Values::Sparse(v) => {
                *v = v.with_ones(name, cols, labels)?;
                Ok(())
            }
        }
    }

    /// The first `n` rows.
    pub(super) fn first(&self, n: usize, cols: usize) -> Self {
        match self {
            Values::Bytes(v) => Values::Bytes(v[..n * cols].to_vec()),
            Values::Reals(v) => Values::Reals(v[..n * cols].to_vec()),
            Values::Sparse(v) => Values::Sparse(v.pick(0..n)),
        }
    }

    /// These rows, in this order; one may come twice.
    pub(super) fn pick(&self, rows: &[usize], cols: usize) -> Self {
        match self {
            Values::Bytes(v) => Values::Bytes(gather(v, cols, rows)),
            Values::Reals(v) => Values::Reals(gather(v, cols, rows)),
            Values::Sparse(v) => Values::Sparse(v.pick(rows.iter().copied())),
        }
    }

    /// Moves the rows that `moves` into memory of their own. The others stay.
    pub(super) fn move_out(&mut self, cols: usize, moves: impl Fn(usize) -> bool) -> Self {
        match self {
            Values::Bytes(v) => Values::Bytes(move_out(v, cols, moves)),
            Values::Reals(v) => Values::Reals(move_out(v, cols, moves)),
            Values::Sparse(v) => Values::Sparse(v.move_out(moves)),
        }
    }
}

impl Dataset {
    /// The data by what of them is not 0, or is −0; bytes as they are.
    pub fn sparse(mut self) -> Dataset {
        if let Values::Reals(values) = &self.values {
            let mut sparse = Sparse::none();
            for row in values.chunks(self.cols) {
                let entries = (0..).zip(row.iter().copied()).filter(|(_, x)| x.to_bits() != 0);
                sparse.push(entries);
            }
            self.values = Values::Sparse(sparse);
        }
        self
    }

    /// The data with all zeros stored, where only what is not zero was.
    ///
    /// # Errors
    /// Too little memory. `for_what` ends the sentence.
    pub(crate) fn dense(mut self, for_what: &str) -> Result<Dataset> {
        if let Values::Sparse(sparse) = &self.values {
            let (rows, cols, name) = (self.rows(), self.cols, &self.name);
            let what = format!("{name}: with their zeros its {rows} rows of {cols} columns");
            host::check_memory(4 * rows as u128 * cols as u128, &what, for_what)?;
            self.values = Values::Reals(sparse.dense(name, cols)?);
        }
        Ok(self)
    }
}

/// These rows, in this order.
pub(super) fn gather<T: Copy>(values: &[T], cols: usize, rows: &[usize]) -> Vec<T> {
    rows.iter().flat_map(|&i| &values[i * cols..(i + 1) * cols]).copied().collect()
}

/// Moves the rows that `moves` into memory of their own. The others stay, in theirs.
pub(super) fn move_out<T: Copy>(values: &mut Vec<T>, cols: usize, moves: impl Fn(usize) -> bool) -> Vec<T> {
    let rows = values.len() / cols;
    let mut out = Vec::with_capacity(cols * (0..rows).filter(|&i| moves(i)).count());
    let mut end = 0;
    for i in 0..rows {
        let row = i * cols..(i + 1) * cols;
        if moves(i) {
            out.extend_from_slice(&values[row]);
        } else {
            values.copy_within(row, end);
            end += cols;
        }
    }
    values.truncate(end);
    values.shrink_to_fit();
    out
}

/// Writes the class of every row behind it.
fn beside<T: Copy + Default>(
    name: &str,
    values: &mut Vec<T>,
    cols: usize,
    labels: &[u8],
    classes: usize,
    one: T,
) -> Result<()> {
    widen(name, values, cols, cols + classes, |i, row, wide| {
        let (own, classes) = wide.split_at_mut(cols);
        own.copy_from_slice(row);
        classes.fill(T::default());
        classes[labels[i] as usize] = one;
    })
}
