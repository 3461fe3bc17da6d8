//! What a model is fitted to: a matrix of examples, from a file or built in.
//! A file's format is told by its content, never by its name. Nothing here knows about models or devices.
mod asked;
mod bytes;
mod classes;
mod columns;
mod condition;
mod counting;
mod csv;
mod decimals;
mod dictionary;
pub mod digits;
mod encoding;
mod gzip;
mod header;
mod idx;
mod lines;
mod moments;
pub mod moving;
mod named;
mod names;
pub mod npy;
mod npz;
mod pictures;
mod read;
mod read_classes;
mod read_words;
mod rounding;
mod row_names;
mod rows;
mod safetensors;
pub mod scale;
mod scipy;
mod shape;
mod source;
mod sparse;
mod split;
pub mod text;
mod there;
pub mod to_csv;
mod values;
mod words;
mod zip;

pub(crate) use asked::parts;
pub use asked::{Asked, Column, List, Told};
pub use bytes::Bytes;
pub use classes::Classes;
pub use columns::Columns;
pub(crate) use dictionary::{list, plain};
pub use header::Header;
pub(crate) use moments::Moments;
pub(crate) use named::split as file_and_array;
pub use names::Names;
pub(crate) use read::MISSING;
pub use read::Missing;
pub use read_words::Unknown;
pub use scale::Scale;
pub use shape::Shape;
pub use sparse::Sparse;
pub(crate) use split::rows_held_out;
pub use values::Values;
pub use words::Words;

use crate::{Error, Result};
use std::ops::Range;

/// What zeros and ones must be, or what lies between, and counts.
pub(crate) const PART: &str = "must be in [0, 1] for the Bernoulli likelihood";
pub(crate) const COUNT: &str = "must be a whole number, 0 or more, for a likelihood of counts";

/// Whether it is in [0, 1], or nobody observed it.
pub(crate) fn is_part_or_missing(x: f32) -> bool {
    (0.0..=1.0).contains(&x) || x.is_nan()
}

/// Whether it is a count.
pub(crate) fn is_count(x: f32) -> bool {
    x >= 0.0 && x.fract() == 0.0
}

/// What the columns of a categorical variable must be.
pub(crate) const ONE_OF: &str = "one must be 1 and the others 0, or all missing, for the categorical likelihood";

/// Whether they are.
pub(crate) fn is_one_of(columns: &[f32]) -> bool {
    let count = |of: f32| columns.iter().filter(|&&x| x == of).count();
    count(1.0) == 1 && count(0.0) == columns.len() - 1 || columns.iter().all(|x| x.is_nan())
}

/// A data set in memory: one row per example.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// Where it came from, for messages.
    pub name: String,
    /// How many numbers one example has.
    pub cols: usize,
    pub values: Values,
    /// How many of its last columns are classes, of which one is 1.
    pub classes: usize,
    /// One class per example, where the source gives them.
    pub labels: Option<Vec<u8>>,
    /// Where the examples are pictures.
    pub shape: Option<Shape>,
    /// What its columns are called, and where in the file they were.
    pub columns: Columns,
    /// What its bytes stand for, where its source had bytes.
    pub bytes: Option<Bytes>,
    /// Columns whose numbers lie so close together in their source that f32 tells hardly any apart.
    pub coarse: Vec<usize>,
    /// What was understood of its source that may have been meant otherwise, each a line.
    pub notes: Vec<String>,
}

impl Dataset {
    /// Rows of `cols` numbers, taken as they are: without labels, names, or the shape of a picture. Bytes stand for byte / 255;
    /// [`Dataset::from_byte_rows`] tells zeros and ones from grey values. What is no whole rows is refused where it is used.
    pub fn new(name: impl Into<String>, cols: usize, values: Values) -> Self {
        let (labels, shape, columns) = (None, None, Columns::default());
        let bytes = matches!(values, Values::Bytes(_)).then_some(Bytes::Grey);
        Dataset {
            name: name.into(),
            cols,
            values,
            classes: 0,
            labels,
            shape,
            columns,
            bytes,
            coarse: vec![],
            notes: vec![],
        }
    }

    /// Examples along the first of `dims`; the others are flattened. Bytes are as the file has them.
    fn of(name: String, dims: &[u64], values: Values) -> Self {
        let cols = dims[1..].iter().product::<u64>() as usize;
        let (values, bytes) = match values {
            Values::Bytes(values) => {
                let (values, bytes) = bytes::found(values);
                (Values::Bytes(values), Some(bytes))
            }
            others => (others, None),
        };
        Dataset { shape: Shape::of(dims), bytes, ..Self::new(name, cols, values) }
    }

    /// Rows of `cols` numbers from memory, checked. `name` is for messages.
    ///
    /// # Errors
    /// No examples, not whole rows, or a number that is not finite.
    pub fn from_rows(name: impl Into<String>, cols: usize, values: Vec<f32>) -> Result<Self> {
        let data = Self::whole_rows(name.into(), cols, values)?;
        data.check(0..cols, f32::is_finite, "must be finite")?;
        Ok(data)
    }

    /// The same, where NaN is a value that nobody observed.
    ///
    /// # Errors
    /// No examples, not whole rows, or an infinite number.
    pub fn from_rows_with_missing(name: impl Into<String>, cols: usize, values: Vec<f32>) -> Result<Self> {
        let data = Self::whole_rows(name.into(), cols, values)?;
        data.check(0..cols, |v| !v.is_infinite(), "must be finite, or NaN where it is missing")?;
        Ok(data)
    }

    fn whole_rows(name: String, cols: usize, values: Vec<f32>) -> Result<Self> {
        let data = Self::new(name, cols, Values::Reals(values));
        data.check_whole()?;
        Ok(data)
    }

    /// Checks that there are examples, all of `cols` numbers, and where there are labels one for each.
    ///
    /// # Errors
    /// Data that were put together otherwise.
    pub(crate) fn check_whole(&self) -> Result<()> {
        let (name, cols) = (&self.name, self.cols);
        let count = match &self.values {
            Values::Bytes(values) => values.len(),
            Values::Reals(values) => values.len(),
            Values::Sparse(values) => values.rows().saturating_mul(cols),
        };
        if cols == 0 || count == 0 || !count.is_multiple_of(cols) {
            return Err(Error::request(format!("{name}: {count} numbers; must be whole rows of {cols}, at least one")));
        }
        match self.labels.as_ref().map(Vec::len).filter(|&labels| labels != self.rows()) {
            None => Ok(()),
            Some(labels) => Err(Error::failed(format!(
                "{name}: has {} examples, but there are {labels} labels; give its own",
                self.rows()
            ))),
        }
    }

    /// The same of bytes: byte / 255, or where none exceeds 1 zeros and ones.
    ///
    /// # Errors
    /// No examples, or not whole rows.
    ///
    /// ```
    /// let data = vae_gpu::data::Dataset::from_byte_rows("black and white", 2, vec![0, 1, 1, 0])?;
    /// assert_eq!(data.to_rows(), [0.0, 1.0, 1.0, 0.0]);
    /// # Ok::<(), vae_gpu::Error>(())
    /// ```
    pub fn from_byte_rows(name: impl Into<String>, cols: usize, values: Vec<u8>) -> Result<Self> {
        let dims = [values.len().checked_div(cols).unwrap_or(0) as u64, cols as u64];
        let data = Dataset { shape: None, ..Self::of(name.into(), &dims, Values::Bytes(values)) };
        data.check_whole()?;
        Ok(data)
    }

    /// The same from the entries of rows of which most numbers are zero, as SciPy's `csr_matrix` has them: where those of each
    /// row begin and those of the last end, their columns, their values. Those of one place are added.
    ///
    /// # Errors
    /// No examples; entries that are not within the rows and columns; a number that is not finite.
    pub fn from_sparse_rows(
        name: impl Into<String>,
        cols: usize,
        starts: Vec<u64>,
        columns: Vec<u32>,
        values: Vec<f32>,
    ) -> Result<Self> {
        let name = name.into();
        if cols as u64 > 1 << 32 {
            return Err(Error::request(format!("{name}: rows of {cols}; at most {} are possible", 1u64 << 32)));
        }
        if cols == 0 || starts.len() < 2 {
            let rows = starts.len().saturating_sub(1);
            return Err(Error::request(format!("{name}: {rows} rows of {cols}; must be at least one, of one number")));
        }
        let sparse = Sparse::new(&name, cols, starts, columns, values)?;
        let data = Self::new(name, cols, Values::Sparse(sparse));
        data.check(0..cols, f32::is_finite, "must be finite")?;
        Ok(data)
    }

    /// CRC-32 of the numbers of data sets, one set after the other: of bytes as they are stored, of all others as f32, zeros
    /// too. So sparse rows have the sum of the array that they are.
    pub fn checksum<'a>(sets: impl IntoIterator<Item = Option<&'a Dataset>>) -> u32 {
        let mut sum = crc32fast::Hasher::new();
        for set in sets.into_iter().flatten() {
            match &set.values {
                Values::Bytes(bytes) => sum.update(bytes),
                Values::Reals(reals) => sum.update(bytemuck::cast_slice(reals)),
                Values::Sparse(_) => {
                    let mut row = vec![0.0; set.cols];
                    for i in 0..set.rows() {
                        set.row(i, &mut row);
                        sum.update(bytemuck::cast_slice(&row));
                    }
                }
            }
        }
        sum.finalize()
    }

    /// How many examples there are.
    pub fn rows(&self) -> usize {
        self.values.rows(self.cols)
    }

    /// Writes example `i` to `out`, which has `cols` elements; bytes are scaled to [0, 1].
    pub fn row(&self, i: usize, out: &mut [f32]) {
        self.part(i, 0..self.cols, out);
    }

    /// The same of some columns alone.
    pub fn part(&self, i: usize, columns: Range<usize>, out: &mut [f32]) {
        self.values.write(i, self.cols, columns, out);
    }

    /// Checks that its columns are there as f32, as a training needs.
    ///
    /// # Errors
    /// The first column of which the rounding to f32 left too little.
    pub fn check_rounding(&self) -> Result<()> {
        let Some(&j) = self.coarse.first() else { return Ok(()) };
        let (mut row, column) = (vec![0.0; self.cols], self.columns.told(j));
        self.row(0, &mut row);
        let step = row[j].abs().next_up() - row[j].abs();
        Err(Error::failed(format!(
            "{column} of {}: its numbers near {} differ by hardly more than {step}, the step of f32 there; subtract an offset \
             from the column, as its smallest number",
            self.name, row[j]
        )))
    }

    /// Checks that every number of these columns is in [0, 1], as a Bernoulli likelihood needs, or missing.
    ///
    /// # Errors
    /// The first number that is not, by row and column, counted from 0.
    pub fn check_unit_interval(&self, columns: Range<usize>, remedy: &str) -> Result<()> {
        let must = format!("{PART}; {remedy}");
        self.check(columns, is_part_or_missing, &must)
    }

    /// Checks that every number of these columns is a count, as their likelihoods need, or missing.
    ///
    /// # Errors
    /// The first number that is not, by row and column, counted from 0; bytes that stand for byte / 255.
    pub fn check_counts(&self, columns: Range<usize>, remedy: &str) -> Result<()> {
        let must = format!("{COUNT}; {remedy}");
        match self.values {
            Values::Reals(_) | Values::Sparse(_) => self.check(columns, |v| is_count(v) || v.is_nan(), &must),
            Values::Bytes(_) => Err(Error::failed(format!("{}: a byte stands for byte / 255: {must}", self.name))),
        }
    }

    /// Checks that of these columns, which are one categorical variable, one is 1 and the others are 0, or all are missing.
    ///
    /// # Errors
    /// The first example where it is not so, counted from 0.
    pub fn check_one_of(&self, columns: Range<usize>, remedy: &str) -> Result<()> {
        let mut variable = vec![0.0; columns.len()];
        for i in 0..self.rows() {
            self.part(i, columns.clone(), &mut variable);
            if !is_one_of(&variable) {
                return Err(Error::failed(format!(
                    "row {i}, columns {columns:?} (counted from 0) of {}: {ONE_OF}; {remedy}",
                    self.name
                )));
            }
        }
        Ok(())
    }

    /// How many values of each column are there: not missing.
    pub fn observed(&self) -> Vec<usize> {
        let mut observed = vec![0; self.cols];
        match &self.values {
            Values::Bytes(_) => observed.fill(self.rows()),
            Values::Reals(values) => values
                .chunks(self.cols)
                .for_each(|row| observed.iter_mut().zip(row).for_each(|(n, x)| *n += !x.is_nan() as usize)),
            Values::Sparse(values) => {
                observed.fill(self.rows());
                values.iter().filter(|(.., x)| x.is_nan()).for_each(|(_, j, _)| observed[j] -= 1);
            }
        }
        observed
    }

    /// # Errors
    /// More examples than an engine counts: theirs are 32-bit numbers.
    pub(crate) fn check_rows(&self) -> Result<()> {
        match i32::try_from(self.rows()) {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::failed(format!(
                "{} holds {} examples: at most {} are possible; give fewer",
                self.name,
                self.rows(),
                i32::MAX
            ))),
        }
    }

    /// Checks that something is there of each column, as a training needs.
    ///
    /// # Errors
    /// The first column of which nothing is observed.
    pub fn check_observed(&self) -> Result<()> {
        match self.observed().iter().position(|&n| n == 0) {
            None => Ok(()),
            Some(j) => Err(Error::failed(format!(
                "{} of {}: every value is missing; leave the column out",
                self.columns.told(j),
                self.name
            ))),
        }
    }

    /// The first number of these columns for which `holds` is false becomes a sentence that ends in `must`. Of 0 it is true: what
    /// is sparse has zeros that are not looked at.
    pub(crate) fn check(&self, columns: Range<usize>, holds: impl Fn(f32) -> bool, must: &str) -> Result<()> {
        let bad = match &self.values {
            Values::Bytes(values) => {
                let number = |b: u8| b as f32 / 255.0;
                // What holds of every byte, as most does, needs no look at them.
                let wrong: [bool; 256] = std::array::from_fn(|b| !holds(number(b as u8)));
                let inside = |&(at, &b): &(usize, &u8)| wrong[b as usize] && columns.contains(&(at % self.cols));
                let first = || values.iter().enumerate().find(inside);
                let found = if wrong.contains(&true) { first() } else { None };
                found.map(|(at, &b)| (at / self.cols, at % self.cols, number(b)))
            }
            Values::Reals(values) => values.chunks(self.cols).enumerate().find_map(|(i, row)| {
                let j = row[columns.clone()].iter().position(|&v| !holds(v))?;
                Some((i, columns.start + j, row[columns.start + j]))
            }),
            Values::Sparse(values) => {
                debug_assert!(holds(0.0), "what has no entry is 0, and {must}");
                values.iter().find(|&(_, j, v)| columns.contains(&j) && !holds(v))
            }
        };
        match bad {
            None => Ok(()),
            Some((i, j, v)) => {
                let (column, name) = (self.columns.told(j), &self.name);
                Err(Error::failed(format!("row {i}, {column} of {name} is {v}: {must}")))
            }
        }
    }

    /// The first `n` examples, or all if there are fewer.
    pub fn first(&self, n: usize) -> Self {
        let n = n.min(self.rows());
        Dataset {
            values: self.values.first(n, self.cols),
            labels: self.labels.as_ref().map(|labels| labels[..n].to_vec()),
            name: self.name.clone(),
            cols: self.cols,
            shape: self.shape,
            columns: self.columns.clone(),
            classes: self.classes,
            bytes: self.bytes,
            coarse: self.coarse.clone(),
            notes: vec![],
        }
    }

    /// The examples with these numbers, counted from 0, in this order; one may come twice.
    pub fn pick(&self, rows: &[usize]) -> Self {
        Dataset {
            values: self.values.pick(rows, self.cols),
            labels: self.labels.as_ref().map(|labels| values::gather(labels, 1, rows)),
            name: self.name.clone(),
            cols: self.cols,
            shape: self.shape,
            columns: self.columns.clone(),
            classes: self.classes,
            bytes: self.bytes,
            coarse: self.coarse.clone(),
            notes: vec![],
        }
    }

    /// All examples, one after the other.                              (rows, cols)
    pub fn to_rows(&self) -> Vec<f32> {
        let mut all = vec![0.0; self.rows() * self.cols];
        all.chunks_mut(self.cols).enumerate().for_each(|(i, row)| self.row(i, row));
        all
    }
}
