//! What a conditional model is given beside x, as columns behind those of x: classes, each a column of which one is 1, or
//! columns that the data had already.
use super::classes::MOST;
use super::{Columns, Dataset};
use crate::{Error, Result};
use std::ops::Range;

impl Dataset {
    /// With the class of each example in `labels` as so many more columns, of which that one is 1.
    ///
    /// # Errors
    /// No labels, another number of them than of examples, or one beyond the classes.
    pub fn with_classes(mut self, classes: usize) -> Result<Dataset> {
        let name = &self.name;
        let Some(labels) = &self.labels else {
            return Err(Error::request(format!(
                "{name} has no labels of its own: pass the file that has them, as --condition labels-idx1-ubyte.gz"
            )));
        };
        self.check_whole()?;
        if !(1..=MOST).contains(&classes) {
            return Err(Error::request(format!("{name}: {classes} classes; must be from 1 to {MOST}")));
        }
        if let Some(i) = labels.iter().position(|&l| l as usize >= classes) {
            let (class, known) = self.class_told(labels[i], classes);
            return Err(Error::failed(format!("{name}: example {i} is of class {class}; the model knows {known}")));
        }
        self.values.put_classes(name, self.cols, labels, classes)?;
        Ok(Dataset { cols: self.cols + classes, classes, ..self })
    }

    /// The columns `x`, or all but those of the condition, and behind them the condition.
    ///
    /// # Errors
    /// Columns that are not there, none left for x, or x and the condition sharing some.
    pub fn arranged(mut self, x: Option<Range<usize>>, condition: Range<usize>) -> Result<Dataset> {
        let (name, cols) = (&self.name, self.cols);
        for range in x.iter().chain([&condition]) {
            if range.is_empty() || range.end > cols {
                let Range { start, end } = range;
                return Err(Error::request(format!(
                    "columns {start}..{end} of {name}: must be from..to, with to at most {cols} and beyond from; they \
                     count from 0"
                )));
            }
        }
        let parts = match x {
            Some(x) if x.start < condition.end && condition.start < x.end => {
                return Err(Error::request(format!(
                    "columns {x:?} and {condition:?}: one shall be predicted from the other, and they share some"
                )));
            }
            Some(x) => vec![x, condition],
            None if condition.len() == cols => {
                return Err(Error::request(format!("columns {condition:?} of {name}: none are left to be learned")));
            }
            None => vec![0..condition.start, condition.end..cols, condition],
        };
        let positions: Vec<usize> = parts.into_iter().flatten().collect();
        if positions.iter().copied().eq(0..cols) {
            return Ok(self);
        }
        if !self.columns.words.is_empty() {
            return Err(Error::request(format!(
                "{name}: a column of words is as many columns as it has words, and cannot be arranged by places; ask for a \
                 condition when the file is read"
            )));
        }
        self.values.keep(cols, &positions);
        self.keep_coarse(&positions);
        fn moved<T: Clone>(of_each: &[T], positions: &[usize]) -> Vec<T> {
            if of_each.is_empty() { vec![] } else { positions.iter().map(|&j| of_each[j].clone()).collect() }
        }
        let places: Vec<usize> = self.columns.places().collect();
        let arranged = positions.iter().map(|&j| places.get(j).copied().unwrap_or(j)).collect();
        let Columns { names, likelihoods, classes, .. } = self.columns;
        let (names, likelihoods) = (moved(&names, &positions), moved(&likelihoods, &positions));
        // Where in the file they were is no list of ranges any more.
        let columns = Columns { names, likelihoods, classes, arranged, ..Columns::default() };
        Ok(Dataset { cols: positions.len(), columns, ..self })
    }

    /// Some columns of all examples, bytes scaled to [0, 1].            (rows, range)
    pub fn columns(&self, range: Range<usize>) -> Vec<f32> {
        // Row by row: all rows as reals are four times the memory of bytes, and most models have no condition.
        let rows = if range.is_empty() { 0 } else { self.rows() };
        let mut out = vec![0f32; rows * range.len()];
        out.chunks_mut(range.len().max(1)).enumerate().for_each(|(i, row)| self.part(i, range.clone(), row));
        out
    }
}
