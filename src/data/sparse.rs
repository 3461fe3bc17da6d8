//! Rows of which most numbers are zero, as those that are not. Compressed sparse rows, as SciPy's `csr_matrix` has them.
use std::ops::Range;

use super::source::room;
use crate::{Error, Result};

/// Rows, or columns, that may be claimed where there are no entries; each entry allows for 16 more.
pub(super) const ROOM_FOR_EMPTY: usize = 16 << 10;

/// The entries of all rows, one row after the other; what has none is 0. An entry may be 0 itself, or NaN: missing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sparse {
    /// Where the entries of each row begin, and where those of the last end.    (rows + 1)
    starts: Vec<u64>,
    /// The columns of the entries, ascending within a row.                        (entries)
    columns: Vec<u32>,
    values: Vec<f32>,
}

impl Sparse {
    /// No rows.
    pub(super) fn none() -> Self {
        Sparse { starts: vec![0], ..Sparse::default() }
    }

    /// Rows of `cols` numbers: `starts` says where the entries of each begin, and where those of the last end, `columns` and
    /// `values` are theirs. They may come in any order within a row; those of one place are added, as SciPy does.
    ///
    /// # Errors
    /// Starts that go back or do not end where the entries do, a column that is not there.
    pub fn new(name: &str, cols: usize, starts: Vec<u64>, columns: Vec<u32>, values: Vec<f32>) -> Result<Self> {
        let bad = |what: String| Error::failed(format!("{name}: {what}; write it again with scipy.sparse.save_npz"));
        if columns.len() != values.len() {
            return Err(bad(format!("{} columns of {} entries: must be as many", columns.len(), values.len())));
        }
        if starts.first() != Some(&0) || starts.last() != Some(&(values.len() as u64)) || !starts.is_sorted() {
            return Err(bad(format!(
                "the beginnings of rows must rise from 0 to {}, the number of entries",
                values.len()
            )));
        }
        if let Some(j) = columns.iter().find(|&&j| j as usize >= cols) {
            return Err(bad(format!("an entry is in column {j}, of {cols}; they count from 0")));
        }
        let mut sparse = Sparse { starts, columns, values };
        if (0..sparse.rows()).any(|i| !sparse.row(i).0.is_sorted_by(|a, b| a < b)) {
            sparse.tidy();
        }
        Ok(sparse)
    }

    /// Entries by their rows and columns, in any order; those of one place are added.
    ///
    /// # Errors
    /// Not as many of each, a row or a column that is not there, too little memory.
    pub(super) fn from_triples(
        name: &str,
        (rows, cols): (usize, usize),
        row: &[u32],
        column: Vec<u32>,
        values: Vec<f32>,
    ) -> Result<Self> {
        let bad = |what: String| Error::failed(format!("{name}: {what}; write it again with scipy.sparse.save_npz"));
        if row.len() != values.len() {
            return Err(bad(format!("{} rows of {} entries: must be as many", row.len(), values.len())));
        }
        if let Some(i) = row.iter().find(|&&i| i as usize >= rows) {
            return Err(bad(format!("an entry is in row {i}, of {rows}; they count from 0")));
        }
        if column.len() != values.len() {
            return Err(bad(format!("{} columns of {} entries: must be as many", column.len(), values.len())));
        }
        // In the order of the rows, by counting: `starts` is where the next entry of a row goes, and at last where those of the
        // row behind it begin.
        let mut sorted = Sparse::default();
        room(name, &mut sorted.starts, rows + 1)?;
        room(name, &mut sorted.columns, values.len())?;
        room(name, &mut sorted.values, values.len())?;
        let Sparse { mut starts, mut columns, values: mut numbers } = sorted;
        starts.resize(rows + 1, 0u64);
        columns.resize(values.len(), 0);
        numbers.resize(values.len(), 0.0);
        row.iter().filter(|&&i| i as usize + 1 < rows).for_each(|&i| starts[i as usize + 1] += 1);
        (1..=rows).for_each(|i| starts[i] += starts[i - 1]);
        for ((&i, j), x) in row.iter().zip(column).zip(values) {
            let to = &mut starts[i as usize];
            (columns[*to as usize], numbers[*to as usize]) = (j, x);
            *to += 1;
        }
        starts.rotate_right(1);
        starts[0] = 0;
        Sparse::new(name, cols, starts, columns, numbers)
    }

    /// Each row as a column, of `rows` rows: as many as these have columns.
    pub(super) fn transposed(self, name: &str, rows: usize) -> Result<Self> {
        let of_each = |j: usize| std::iter::repeat_n(j as u32, self.row(j).0.len());
        let column: Vec<u32> = (0..self.rows()).flat_map(of_each).collect();
        let cols = self.rows();
        Sparse::from_triples(name, (rows, cols), &self.columns, column, self.values)
    }

    /// Sorts the entries of every row by their columns, and adds those of one place.
    fn tidy(&mut self) {
        let (mut end, mut row) = (0, vec![]);
        for i in 0..self.rows() {
            let entries = self.starts[i] as usize..self.starts[i + 1] as usize;
            row.clear();
            row.extend(self.columns[entries.clone()].iter().copied().zip(self.values[entries].iter().copied()));
            row.sort_by_key(|&(j, _)| j); // a stable sort: sums do not depend on how it works
            self.starts[i] = end as u64;
            for (n, &(j, x)) in row.iter().enumerate() {
                if n > 0 && row[n - 1].0 == j {
                    self.values[end - 1] += x;
                } else {
                    (self.columns[end], self.values[end]) = (j, x);
                    end += 1;
                }
            }
        }
        *self.starts.last_mut().expect("one more than rows") = end as u64;
        self.columns.truncate(end);
        self.values.truncate(end);
    }

    /// Adds a row of these entries, whose columns ascend.
    ///
    /// # Errors
    /// Too little memory.
    pub(super) fn push(&mut self, name: &str, row: &[(u32, f32)]) -> Result<()> {
        debug_assert!(row.is_sorted_by(|a, b| a.0 < b.0), "columns ascend");
        grow(name, &mut self.columns, row.len())?;
        grow(name, &mut self.values, row.len())?;
        grow(name, &mut self.starts, 1)?;
        self.columns.extend(row.iter().map(|&(j, _)| j));
        self.values.extend(row.iter().map(|&(_, x)| x));
        self.starts.push(self.values.len() as u64);
        Ok(())
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.starts.len() - 1
    }

    /// How many entries there are.
    pub fn entries(&self) -> usize {
        self.values.len()
    }

    /// Bytes that they take.
    pub fn bytes(&self) -> usize {
        self.pieces().map(<[u8]>::len).iter().sum()
    }

    /// Starts, columns and values, as kernels/data.cuh wants them one behind the other.
    pub(crate) fn pieces(&self) -> [&[u8]; 3] {
        [bytemuck::cast_slice(&self.starts), bytemuck::cast_slice(&self.columns), bytemuck::cast_slice(&self.values)]
    }

    /// The columns and the values of the entries of row `i`.
    pub fn row(&self, i: usize) -> (&[u32], &[f32]) {
        let entries = self.starts[i] as usize..self.starts[i + 1] as usize;
        (&self.columns[entries.clone()], &self.values[entries])
    }

    /// The entries of row `i` in these columns: how far each is from the first of them, and its value.
    pub fn entries_in(&self, i: usize, columns: Range<usize>) -> impl Iterator<Item = (usize, f32)> {
        let (places, values) = self.row(i);
        let begin = places.partition_point(|&j| (j as usize) < columns.start);
        let end = begin + places[begin..].partition_point(|&j| (j as usize) < columns.end);
        places[begin..end].iter().zip(&values[begin..end]).map(move |(&j, &x)| (j as usize - columns.start, x))
    }

    /// All entries: row, column and value.
    pub fn iter(&self) -> impl Iterator<Item = (usize, usize, f32)> {
        (0..self.rows()).flat_map(|i| {
            let (columns, values) = self.row(i);
            columns.iter().zip(values).map(move |(&j, &x)| (i, j as usize, x))
        })
    }

    /// The entries of each row, to be changed: the columns, and the values.
    pub(super) fn rows_mut(&mut self) -> impl Iterator<Item = (&[u32], &mut [f32])> {
        let (mut columns, mut values) = (&self.columns[..], &mut self.values[..]);
        self.starts.windows(2).map(move |ends| {
            let n = (ends[1] - ends[0]) as usize;
            let (own, rest) = columns.split_at(n);
            let (mine, others) = std::mem::take(&mut values).split_at_mut(n);
            (columns, values) = (rest, others);
            (own, mine)
        })
    }

    /// These rows, in this order.
    pub(super) fn pick(&self, rows: impl Iterator<Item = usize>) -> Self {
        let mut picked = Sparse::none();
        for i in rows {
            let (columns, values) = self.row(i);
            picked.columns.extend(columns);
            picked.values.extend(values);
            picked.starts.push(picked.values.len() as u64);
        }
        picked
    }

    /// Keeps these of `cols` columns of every row, in this order.
    pub(super) fn keep(&mut self, cols: usize, positions: &[usize]) {
        let mut moved = vec![None; cols];
        positions.iter().enumerate().for_each(|(to, &from)| moved[from] = Some(to as u32));
        let (mut end, mut row) = (0, vec![]);
        for i in 0..self.rows() {
            let entries = self.starts[i] as usize..self.starts[i + 1] as usize;
            row.clear();
            row.extend(entries.filter_map(|at| Some((moved[self.columns[at] as usize]?, self.values[at]))));
            row.sort_unstable_by_key(|&(j, _)| j);
            self.starts[i] = end as u64;
            for &(j, x) in &row {
                (self.columns[end], self.values[end]) = (j, x);
                end += 1;
            }
        }
        *self.starts.last_mut().expect("one more than rows") = end as u64;
        self.columns.truncate(end);
        self.values.truncate(end);
        self.columns.shrink_to_fit();
        self.values.shrink_to_fit();
    }

    /// With one more entry behind those of each row: a 1 in the column `first` + its number.
    ///
    /// # Errors
    /// Too little memory.
    pub(super) fn with_ones(&self, name: &str, first: usize, numbers: &[u8]) -> Result<Self> {
        let mut wide = Sparse::none();
        room(name, &mut wide.columns, self.entries() + self.rows())?;
        room(name, &mut wide.values, self.entries() + self.rows())?;
        room(name, &mut wide.starts, self.rows())?;
        for (i, &number) in numbers.iter().enumerate() {
            let (columns, values) = self.row(i);
            wide.columns.extend(columns.iter().copied().chain([(first + number as usize) as u32]));
            wide.values.extend(values.iter().copied().chain([1.0]));
            wide.starts.push(wide.values.len() as u64);
        }
        Ok(wide)
    }

    /// All rows of `cols` numbers, with their zeros.                        (rows, cols)
    ///
    /// # Errors
    /// Too little memory.
    pub(super) fn dense(&self, name: &str, cols: usize) -> Result<Vec<f32>> {
        let mut all = vec![];
        room(name, &mut all, self.rows().saturating_mul(cols))?;
        all.resize(self.rows() * cols, 0.0);
        self.iter().for_each(|(i, j, x)| all[i * cols + j] = x);
        Ok(all)
    }
}

/// Room for so many more, and for as many again as there are.
fn grow<T>(name: &str, out: &mut Vec<T>, more: usize) -> Result<()> {
    if out.capacity() - out.len() >= more { Ok(()) } else { room(name, out, more.max(out.len())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sparse() -> Sparse {
        let columns = vec![3, 1, 1, 0, 2];
        Sparse::new("x", 4, vec![0, 3, 3, 5], columns, vec![1.0, 2.0, 0.5, f32::INFINITY, 0.0]).unwrap()
    }

    #[test]
    fn entries_come_in_order_and_those_of_one_place_are_added() {
        let x = sparse();
        assert_eq!((x.rows(), x.entries(), x.bytes()), (3, 4, 4 * 8 + 4 * 8));
        assert_eq!(x.row(0), (&[1, 3][..], &[2.5, 1.0][..]));
        assert_eq!(x.row(1), (&[][..], &[][..]));
        assert_eq!(x.row(2), (&[0, 2][..], &[f32::INFINITY, 0.0][..]));
        assert_eq!(x.dense("x", 4).unwrap()[..4], [0.0, 2.5, 0.0, 1.0]);
    }

    #[test]
    fn rows_and_columns_move_with_their_entries() {
        let mut x = sparse();
        assert_eq!(x.pick([2, 0, 2].into_iter()).entries(), 6);
        assert_eq!(x.entries_in(0, 2..4).collect::<Vec<_>>(), [(1, 1.0)]);
        let wide = x.with_ones("x", 4, &[0, 2, 1]).unwrap();
        assert_eq!(wide.row(1), (&[6][..], &[1.0][..]));
        x.keep(4, &[3, 0, 1]);
        assert_eq!(x.row(0), (&[0, 2][..], &[1.0, 2.5][..]));
        assert_eq!(x.row(2), (&[1][..], &[f32::INFINITY][..]));
    }

    #[test]
    fn entries_in_any_order_are_put_in_rows() {
        let (row, column) = ([2, 0, 0, 2, 0], vec![2, 3, 1, 0, 1]);
        let triples =
            |row, column| Sparse::from_triples("x", (3, 4), row, column, vec![0.0, 1.0, 2.0, f32::INFINITY, 0.5]);
        let found = triples(&row, column.clone()).unwrap();
        assert_eq!(found, sparse());
        assert_eq!(found.clone().transposed("x", 4).unwrap().transposed("x", 3).unwrap(), found);
        assert!(triples(&[2, 0, 3, 2, 0], column).is_err() && triples(&row, vec![2, 3, 4, 0, 1]).is_err());
        assert!(triples(&row[..4], vec![0; 5]).is_err() && triples(&row, vec![0; 4]).is_err());
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        let parts = |starts: &[u64], columns: &[u32]| {
            Sparse::new("x", 4, starts.to_vec(), columns.to_vec(), vec![1.0, 2.0]).is_ok()
        };
        assert!(parts(&[0, 1, 2], &[0, 3]));
        assert!(!parts(&[0, 1, 2], &[0, 4]), "a column beyond the last");
        assert!(!parts(&[0, 2, 1, 2], &[0, 3]), "back");
        assert!(!parts(&[0, 1], &[0, 3]) && !parts(&[1, 2], &[0, 3]) && !parts(&[], &[0, 3]));
        assert!(!parts(&[0, 2], &[0]), "a column short");
    }
}
