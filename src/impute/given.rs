//! What is known of the examples, and what of it is observed.
use super::Settings;
use crate::config::{Binarize, Likelihood, Model};
use crate::data::{COUNT, Columns, Dataset, ONE_OF, PART, is_count, is_one_of, is_part_or_missing};
use crate::rng::{self, Stream};
use crate::{Error, Result};
use std::ops::Range;

/// Examples of which some values are not observed.
#[derive(Clone, Debug)]
pub struct Given {
    /// Where they came from, for messages.
    pub name: String,
    pub cols: usize,
    /// (rows, cols), NaN where nobody knows. A value that is known and not observed is a truth to be scored against.
    pub values: Vec<f32>,
    /// (rows, cols)
    pub observed: Vec<bool>,
    /// What the columns are called.
    pub columns: Columns,
    /// What a conditional model is told of each beside it, as it sees it.                          (rows, condition)
    pub told: Vec<f32>,
}

impl Given {
    /// NaN in `data` is missing; so is what the mask has a 0 for. The mask has the shape of the data, or is one row for
    /// all examples; of a column of words it has one number.
    ///
    /// # Errors
    /// A mask of another shape, or with other numbers than 0 and 1.
    pub fn new(data: &Dataset, mask: Option<&Dataset>) -> Result<Given> {
        Given::beside(data, data.cols, mask)
    }

    /// The same of the first `cols` columns, beside which a model is told the others.
    ///
    /// # Errors
    /// Those of [`Given::new`]; something that is told is missing.
    pub fn beside(data: &Dataset, cols: usize, mask: Option<&Dataset>) -> Result<Given> {
        let (rows, values, told) = (data.rows(), data.columns(0..cols), data.columns(cols..data.cols));
        data.check(cols..data.cols, |v| !v.is_nan(), "a condition must be known; leave the example out")?;
        let mut observed: Vec<bool> = values.iter().map(|v| !v.is_nan()).collect();
        if let Some(mask) = mask {
            let marks = mask.to_rows();
            if let Some(i) = marks.iter().position(|m| ![0.0, 1.0].contains(m)) {
                let (row, col) = (i / mask.cols, i % mask.cols);
                return Err(Error::failed(format!(
                    "row {row}, column {col} (counted from 0) of {} is {}: must be 1 where the value is observed, 0 where it is \
                     missing",
                    mask.name, marks[i]
                )));
            }
            // np.save writes one row of D marks with one dimension, which is read as D rows of one column.
            let column_of: Vec<usize> = (0..cols).map(|j| data.columns.column_of(j)).collect();
            let width = data.columns.in_file(cols);
            let one_row = marks.len() == width && (mask.rows() == 1 || mask.cols == 1);
            if !one_row && (mask.rows(), mask.cols) != (rows, width) {
                return Err(Error::failed(format!(
                    "{}: the mask is {} x {} numbers; must be {rows} x {width} as {}, or one row of {width}",
                    mask.name,
                    mask.rows(),
                    mask.cols,
                    data.name
                )));
            }
            let mark = |i: usize| marks[(i / cols * width + column_of[i % cols]) % marks.len()];
            observed.iter_mut().enumerate().for_each(|(i, o)| *o &= mark(i) == 1.0);
        }
        Ok(Given { name: data.name.clone(), cols, values, observed, columns: data.columns.clone(), told })
    }

    pub fn rows(&self) -> usize {
        self.values.len() / self.cols
    }

    /// The first `n` examples, or all if there are fewer.
    pub fn first(mut self, n: usize) -> Given {
        let (rows, n) = (self.rows(), n.min(self.rows()));
        let length = n * self.cols;
        self.told.truncate(self.told.len() / rows.max(1) * n);
        self.values.truncate(length);
        self.observed.truncate(length);
        self
    }

    /// What a model is told of these examples, one after the other.                   (examples, condition)
    pub(super) fn told_of(&self, examples: impl Iterator<Item = usize>) -> Vec<f64> {
        let width = self.told.len() / self.rows().max(1);
        examples.flat_map(|i| &self.told[i * width..(i + 1) * width]).map(|&x| x as f64).collect()
    }

    /// How many values are missing, a word being one.
    pub fn missing(&self) -> usize {
        let first = self.columns.begin(self.cols);
        self.observed.iter().zip(first.iter().cycle()).filter(|(observed, first)| !**observed && **first).count()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.rows() * self.columns.in_file(self.cols)
    }

    /// Whether the value at `i` is known and not observed.
    pub fn is_hidden(&self, i: usize) -> bool {
        !self.observed[i] && !self.values[i].is_nan()
    }

    /// Whether the value at `i` stays as it is.
    pub(super) fn is_exact(&self, i: usize, s: &Settings) -> bool {
        self.observed[i] && s.noise.is_none()
    }

    /// Makes zeros and ones of what is known, as the model was trained on: a dynamic one is drawn once.
    pub fn binarize(&mut self, how: Binarize, seed: u64) {
        let mut draws = vec![0.5f32; self.cols];
        for (row, values) in self.values.chunks_mut(self.cols).enumerate() {
            match how {
                Binarize::None => return,
                Binarize::Threshold => {}
                Binarize::Dynamic => rng::uniforms(&mut draws, seed, Stream::Binarize, 0, row as u32),
            }
            for (x, &u) in values.iter_mut().zip(&draws).filter(|(x, _)| !x.is_nan()) {
                *x = match how {
                    Binarize::Dynamic => u < *x,
                    _ => *x >= 0.5,
                } as u8 as f32;
            }
        }
    }

    /// Checks that the likelihoods, as in training, take what is known, and zeros and ones can be made of it where that is asked for.
    ///
    /// # Errors
    /// The first value that one does not, by row and column, counted from 0.
    pub fn check(&self, model: &Model, binarize: Binarize) -> Result<()> {
        model.likelihoods().into_iter().try_for_each(|(likelihood, columns)| {
            let (takes, must): (fn(f32) -> bool, _) = match likelihood {
                Likelihood::Bernoulli => (is_part_or_missing, PART),
                Likelihood::Gaussian if binarize == Binarize::None => return Ok(()),
                Likelihood::Gaussian => (is_part_or_missing, "must be in [0, 1] to become zeros and ones"),
                Likelihood::Poisson | Likelihood::NegativeBinomial | Likelihood::Multinomial => (is_count, COUNT),
                Likelihood::Categorical => return self.check_one_of(columns),
            };
            let wrong = |(row, values): (usize, &[f32])| {
                let mut columns = columns.clone();
                columns.find(|&j| !values[j].is_nan() && !takes(values[j])).map(|j| (row, j, values[j]))
            };
            match self.values.chunks(self.cols).enumerate().find_map(wrong) {
                None => Ok(()),
                Some((row, j, value)) => Err(Error::failed(format!(
                    "row {row}, {} of {} is {value}: {must}, as in training",
                    self.columns.told(j),
                    self.name
                ))),
            }
        })
    }

    /// The same of the columns of a categorical variable, which are observed or missing together.
    fn check_one_of(&self, columns: Range<usize>) -> Result<()> {
        for (row, (values, observed)) in self.values.chunks(self.cols).zip(self.observed.chunks(self.cols)).enumerate()
        {
            let (values, observed) = (&values[columns.clone()], &observed[columns.clone()]);
            let must = match () {
                () if !is_one_of(values) => ONE_OF,
                () if observed.iter().any(|&o| o != observed[0]) => "one variable is observed or missing as a whole",
                () => continue,
            };
            return Err(Error::failed(format!(
                "row {row}, {} of {}: {must}, as in training",
                self.columns.told(columns.start),
                self.name
            )));
        }
        Ok(())
    }
}
