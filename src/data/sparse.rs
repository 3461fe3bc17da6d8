//! Rows of which most numbers are zero, as those that are not. Compressed sparse rows, as SciPy's `csr_matrix` has them.
use std::ops::Range;

use super::source::room;
use crate::{Error, Result};

/// The entries of all rows, one row after the other; what has none is 0. An entry may be 0 itself, or NaN: missing.
#[derive(Clone, Debug, PartialEq)]
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
        Sparse { starts: vec![0], columns: vec![], values: vec![] }
    }

    /// No rows yet, and room for so many of so many entries together.
    ///
    /// # Errors
    /// Too little memory.
    pub(super) fn with_room(name: &str, rows: usize, entries: usize) -> Result<Self> {
        let mut none = Sparse::none();
        room(name, &mut none.starts, rows)?;
        room(name, &mut none.columns, entries)?;
        room(name, &mut none.values, entries)?;
        Ok(none)
    }

    /// Rows of `cols` numbers: `starts` says where the entries of each begin, and where those of the last end, `columns` and
    /// `values` are theirs. They may come in any order within a row; those of one place are added, as SciPy does.
    ///
    /// # Errors
    /// Starts that go back or do not end where the entries do, a column that is not there.
    pub fn new(name: &str, cols: usize, starts: Vec<u64>, columns: Vec<u32>, values: Vec<f32>) -> Result<Self> {
        let bad = |what: String| bad(name, what);
        as_many(name, "columns", columns.len(), values.len())?;
        if starts.first() != Some(&0) || starts.last() != Some(&(values.len() as u64)) || !starts.is_sorted() {
            return Err(bad(format!(
                "the beginnings of rows must rise from 0 to {}, the number of entries",
                values.len()
            )));
        }
        if let Some(j) = columns.iter().find(|&&j| j as usize >= cols) {
            let column =
                if *j == u32::MAX { "a column below 0, or beyond 32 bits".into() } else { format!("column {j}") };
            return Err(bad(format!("an entry is in {column}, of {cols}; they count from 0")));
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
        as_many(name, "rows", row.len(), values.len())?;
        as_many(name, "columns", column.len(), values.len())?;
        if let Some(i) = row.iter().find(|&&i| i as usize >= rows) {
            return Err(bad(name, format!("an entry is in row {i}, of {rows}; they count from 0")));
        }
        // In the order of the rows, by counting: `starts` is where the next entry of a row goes, and at last where those of the
        // row behind it begin.
        let Sparse { mut starts, mut columns, values: mut numbers } = Sparse::with_room(name, rows, values.len())?;
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
    ///
    /// # Errors
    /// Too little memory.
    pub(super) fn transposed(self, name: &str, rows: usize) -> Result<Self> {
        let (cols, mut column) = (self.rows(), vec![]);
        room(name, &mut column, self.entries())?;
        column.extend((0..cols).flat_map(|j| std::iter::repeat_n(j as u32, self.row(j).0.len())));
        Sparse::from_triples(name, (rows, cols), &self.columns, column, self.values)
    }

    /// Sorts the entries of every row by their columns, and adds those of one place.
    fn tidy(&mut self) {
        self.rewrite(|_, row| {
            row.sort_by_key(|&(j, _)| j); // a stable sort: sums do not depend on how it works
            row.dedup_by(|next, kept| {
                let same = next.0 == kept.0;
                kept.1 += if same { next.1 } else { 0.0 };
                same
            });
            true
        });
    }

    /// Makes every row, by its number, what `change` makes of its entries, which may not be more; or leaves it out, where that says
    /// false. All where they are: they are not held twice.
    fn rewrite(&mut self, mut change: impl FnMut(usize, &mut Vec<(u32, f32)>) -> bool) {
        let (mut begin, mut end, mut rows, mut row) = (0, 0, 0, vec![]);
        for i in 0..self.rows() {
            let entries = begin..self.starts[i + 1] as usize;
            begin = entries.end;
            row.clear();
            row.extend(self.columns[entries.clone()].iter().copied().zip(self.values[entries].iter().copied()));
            if change(i, &mut row) {
                self.starts[rows] = end as u64; // of a row that was read
                rows += 1;
                for &(j, x) in &row {
                    (self.columns[end], self.values[end]) = (j, x);
                    end += 1;
                }
            }
        }
        self.starts[rows] = end as u64;
        self.starts.truncate(rows + 1);
        self.columns.truncate(end);
        self.values.truncate(end);
        self.starts.shrink_to_fit();
        self.columns.shrink_to_fit();
        self.values.shrink_to_fit();
    }

    /// Adds a row of these entries, whose columns ascend.
    pub(super) fn push(&mut self, row: impl Iterator<Item = (u32, f32)> + Clone) {
        debug_assert!(row.clone().is_sorted_by(|a, b| a.0 < b.0), "columns ascend");
        self.columns.extend(row.clone().map(|(j, _)| j));
        self.values.extend(row.map(|(_, x)| x));
        self.starts.push(self.values.len() as u64);
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

    /// Makes zeros of the entries of row `i` in these columns.
    pub(super) fn clear(&mut self, i: usize, columns: &[u32]) {
        let entries = self.starts[i] as usize..self.starts[i + 1] as usize;
        for (j, x) in self.columns[entries.clone()].iter().zip(&mut self.values[entries]) {
            if columns.binary_search(j).is_ok() {
                *x = 0.0;
            }
        }
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
    pub(super) fn pick(&self, rows: impl Iterator<Item = usize> + Clone) -> Self {
        let (count, entries) = rows.clone().fold((0, 0), |(n, entries), i| (n + 1, entries + self.row(i).0.len()));
        let mut picked = Sparse {
            starts: Vec::with_capacity(count + 1),
            columns: Vec::with_capacity(entries),
            values: Vec::with_capacity(entries),
        };
        picked.starts.push(0);
        for i in rows {
            let (columns, values) = self.row(i);
            picked.columns.extend(columns);
            picked.values.extend(values);
            picked.starts.push(picked.values.len() as u64);
        }
        picked
    }

    /// Moves the rows that `moves` into memory of their own. The others close up where they are.
    pub(super) fn move_out(&mut self, moves: impl Fn(usize) -> bool) -> Self {
        let out = self.pick((0..self.rows()).filter(|&i| moves(i)));
        self.rewrite(|i, _| !moves(i));
        out
    }

    /// Keeps these of `cols` columns of every row, in this order; none comes twice.
    pub(super) fn keep(&mut self, cols: usize, positions: &[usize]) {
        let mut moved = vec![None; cols];
        for (to, &from) in positions.iter().enumerate() {
            assert!(moved[from].replace(to as u32).is_none(), "column {from} twice");
        }
        self.rewrite(|_, row| {
            row.retain(|&(j, _)| moved[j as usize].is_some());
            row.iter_mut().for_each(|(j, _)| *j = moved[*j as usize].expect("it is kept"));
            row.sort_unstable_by_key(|&(j, _)| j);
            true
        });
    }

    /// With one more entry behind those of each row: a 1 in the column `first` + its number.
    ///
    /// # Errors
    /// Too little memory.
    pub(super) fn with_ones(&self, name: &str, first: usize, numbers: &[u8]) -> Result<Self> {
        let mut wide = Sparse::with_room(name, self.rows(), self.entries() + self.rows())?;
        for (i, &number) in numbers.iter().enumerate() {
            let (columns, values) = self.row(i);
            let one = ((first + number as usize) as u32, 1.0);
            wide.push(columns.iter().copied().zip(values.iter().copied()).chain([one]));
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

fn bad(name: &str, what: String) -> Error {
    Error::failed(format!("{name}: {what}; the parts of the sparse matrix do not belong together, write it again"))
}

fn as_many(name: &str, what: &str, count: usize, entries: usize) -> Result<()> {
    match count == entries {
        true => Ok(()),
        false => Err(bad(name, format!("{count} {what} of {entries} entries: must be as many"))),
    }
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
