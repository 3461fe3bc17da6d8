//! `--scale`: x' = (x − shift) / factor for every column, found on the training data, kept in the model, and undone in
//! what it gives. A model and a device see x' alone.
use super::bytes::reals;
use super::moments::{Moments, each_row};
use super::{Dataset, Values};
use crate::{Error, Result};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// How a column is scaled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    #[default]
    None,
    /// From the smallest to the largest number onto [0, 1].
    Minmax,
    /// To mean 0 and standard deviation 1.
    Standard,
}

/// What was found of each column that is scaled: those of x, then those of a condition. Classes are none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scale {
    pub rule: Rule,
    /// Empty before data were read.
    pub shift: Vec<f32>,
    pub factor: Vec<f32>,
}

impl Scale {
    /// Not yet of any data.
    pub fn asked(rule: Rule) -> Option<Scale> {
        (rule != Rule::None).then_some(Scale { rule, shift: vec![], factor: vec![] })
    }

    /// Whether it was found on data already.
    pub fn is_found(&self) -> bool {
        !self.shift.is_empty()
    }

    /// That of the first `cols` columns of `data`, of what is observed of them. One that never changes keeps the factor 1. Bytes are what they stand for: a
    /// training takes them as they are, [`Bytes::Plain`](super::Bytes::Plain).
    ///
    /// # Errors
    /// Numbers so far apart that no f32 holds the distance.
    pub fn find(rule: Rule, data: &Dataset, cols: usize) -> Result<Scale> {
        let moments = if rule == Rule::Standard { Moments::of } else { Moments::without_variance };
        let Moments { low, high, mean, variance } = moments(data, cols);
        let mut scale = Scale { rule, shift: vec![], factor: vec![] };
        for j in 0..cols {
            let width = high[j] as f64 - low[j] as f64;
            let (shift, factor) = match rule {
                _ if width == 0.0 => (low[j], 1.0),
                Rule::None => (0.0, 1.0),
                // Rounded up, so that nothing comes to lie beyond 1.
                Rule::Minmax if (width as f32 as f64) < width => (low[j], (width as f32).next_up()),
                Rule::Minmax => (low[j], width as f32),
                Rule::Standard => (mean[j] as f32, variance[j].sqrt() as f32),
            };
            if !factor.is_finite() {
                let (column, name) = (data.columns.told(j), &data.name);
                return Err(Error::failed(format!(
                    "{column} of {name}: its numbers from {} to {} are too far apart to be scaled; leave out --scale",
                    low[j], high[j]
                )));
            }
            scale.shift.push(shift);
            scale.factor.push(if factor > 0.0 { factor } else { 1.0 });
        }
        Ok(scale)
    }

    /// With these columns as they are.
    pub fn leaving(mut self, columns: impl IntoIterator<Item = usize>) -> Scale {
        for j in columns {
            (self.shift[j], self.factor[j]) = (0.0, 1.0);
        }
        self
    }

    /// The data with its columns scaled. A missing value stays missing.
    ///
    /// # Errors
    /// Fewer columns; a number so far from those that this was found on that no f32 holds it.
    pub fn apply(&self, mut data: Dataset) -> Result<Dataset> {
        let (cols, scaled) = (data.cols, self.shift.len());
        if cols < scaled {
            return Err(Error::failed(format!(
                "{}: an example has {cols} numbers; must have {scaled}, as the data of the model: give data of the same \
                 columns",
                data.name
            )));
        }
        if self.moves_zeros(&data.values) {
            data = data.dense("leave --scale out, which moves the zeros, or give fewer examples")?;
        }
        let mut values = match data.values {
            Values::Bytes(bytes) => Values::Reals(reals(bytes, |b| b as f32 / 255.0)),
            others => others,
        };
        let infinite = match &mut values {
            Values::Bytes(_) => unreachable!("they are reals now"),
            Values::Reals(values) => values
                .chunks_mut(cols)
                .enumerate()
                .find_map(|(i, row)| Some((i, self.apply_to(&mut row[..scaled], 0..scaled)?))),
            Values::Sparse(sparse) => sparse.rows_mut().enumerate().find_map(|(i, (columns, values))| {
                let mut entries = columns.iter().map(|&j| j as usize).zip(values).filter(|(j, _)| *j < scaled);
                entries.find_map(|(j, x)| Some((i, self.apply_to(std::slice::from_mut(x), j..j + 1)?)))
            }),
        };
        if let Some((i, j)) = infinite {
            let (column, name) = (data.columns.told(j), &data.name);
            return Err(Error::failed(format!(
                "row {i}, {column} of {name}: lies too far from the data that the scale was found on; repair it or leave the \
                 example out"
            )));
        }
        (data.values, data.bytes) = (values, None);
        Ok(data)
    }

    /// Whether a zero that is not stored would become another number.
    fn moves_zeros(&self, values: &Values) -> bool {
        let Values::Sparse(sparse) = values else { return false };
        let mut stored = vec![0; self.shift.len()];
        for (_, j, _) in sparse.iter() {
            if let Some(n) = stored.get_mut(j) {
                *n += 1;
            }
        }
        self.shift.iter().zip(stored).any(|(&shift, stored)| shift != 0.0 && stored < sparse.rows())
    }

    /// Scales one row, or several, of these columns: x' = (x − shift) / factor. Classes, behind all that are scaled, stay.
    /// The column of the first number that came to be infinite.
    pub fn apply_to(&self, rows: &mut [f32], columns: Range<usize>) -> Option<usize> {
        let mut infinite = None;
        for row in rows.chunks_mut(columns.len().max(1)) {
            for (x, j) in row.iter_mut().zip(self.scaled(&columns)) {
                *x = ((*x as f64 - self.shift[j] as f64) / self.factor[j] as f64) as f32;
                if x.is_infinite() && infinite.is_none() {
                    infinite = Some(j);
                }
            }
        }
        infinite
    }

    /// x = x' factor + shift, for rows of these columns; classes stay.
    pub fn undo(&self, rows: &mut [f32], columns: Range<usize>) {
        for row in rows.chunks_mut(columns.len().max(1)) {
            for (x, j) in row.iter_mut().zip(self.scaled(&columns)) {
                *x = (*x as f64 * self.factor[j] as f64 + self.shift[j] as f64) as f32;
            }
        }
    }

    /// The same of distances, as standard deviations: x = x' factor.
    pub fn undo_distances(&self, rows: &mut [f32], columns: Range<usize>) {
        for row in rows.chunks_mut(columns.len().max(1)) {
            row.iter_mut().zip(self.scaled(&columns)).for_each(|(x, j)| *x *= self.factor[j]);
        }
    }

    /// Those of the columns that are scaled.
    fn scaled(&self, columns: &Range<usize>) -> Range<usize> {
        columns.start..columns.end.min(self.shift.len())
    }

    /// Σ ln factor over the first columns: log p(x) = log p(x') − this, for densities.
    pub fn log_volume(&self, input: usize) -> f64 {
        self.factor[..input].iter().map(|&f| (f as f64).ln()).sum()
    }

    /// The same of each example, of what is observed of it.                     (rows)
    pub fn log_volumes(&self, data: &Dataset, input: usize) -> Vec<f64> {
        let mut volumes = vec![];
        each_row(data, |row| {
            let observed = self.factor[..input].iter().zip(row).filter(|(_, x)| !x.is_nan());
            volumes.push(observed.map(|(&f, _)| (f as f64).ln()).sum());
        });
        volumes
    }

    /// log p of each example in the units of the file, from that of the scaled columns.                                  (rows)
    pub(crate) fn in_file(&self, log_p: &[f64], data: &Dataset, input: usize) -> Vec<f64> {
        log_p.iter().zip(self.log_volumes(data, input)).map(|(log_p, volume)| log_p - volume).collect()
    }

    /// Their mean.
    pub(crate) fn mean_log_volume(&self, data: &Dataset, input: usize) -> f64 {
        let volumes = self.log_volumes(data, input);
        volumes.iter().sum::<f64>() / volumes.len() as f64
    }

    /// What became of the columns, for a line.
    pub fn told(&self) -> &'static str {
        match self.rule {
            Rule::None => "as they are",
            Rule::Minmax => "scaled to [0, 1]",
            Rule::Standard => "scaled to mean 0 and standard deviation 1",
        }
    }

    /// # Errors
    /// What cannot be of a model of so many columns, of which `input` are x: a file may say anything.
    pub fn check(&self, input: usize, columns: usize) -> Result<()> {
        let finite = self.shift.iter().all(|x| x.is_finite()) && self.factor.iter().all(|&f| f > 0.0 && f.is_finite());
        let (count, known) = (self.shift.len(), self.rule != Rule::None);
        match finite && known && count == self.factor.len() && [input, columns].contains(&count) {
            true => Ok(()),
            false => Err(Error::failed("scale: that of its columns cannot be; it is damaged")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(cols: usize, values: &[f32]) -> Dataset {
        let values = Values::Reals(values.to_vec());
        Dataset::new("x", cols, values)
    }

    #[test]
    fn nothing_lies_beyond_one_and_all_comes_back() {
        let values: Vec<f32> =
            (0..3000).map(|i| ((i * 7919 % 3001) as f32 * 0.7371 - 300.3) * 1e4f32.powi(i % 3)).collect();
        let x = data(3, &values);
        for rule in [Rule::Minmax, Rule::Standard] {
            let scale = Scale::find(rule, &x, 3).unwrap();
            let mut back = scale.apply(x.clone()).unwrap().to_rows();
            if rule == Rule::Minmax {
                assert!(back.iter().all(|v| (0.0..=1.0).contains(v)));
                assert!((0..3).all(|j| back.iter().skip(j).step_by(3).any(|&v| v > 0.9999999)));
            }
            scale.undo(&mut back, 0..3);
            for (i, (got, want)) in back.iter().zip(&values).enumerate() {
                assert!((got - want).abs() <= 1e-6 * scale.factor[i % 3] * 10.0, "{rule:?}, {i}: {got}, want {want}");
            }
        }
    }

    #[test]
    fn what_a_file_claims_is_held_against_the_model() {
        let scale = Scale { rule: Rule::Standard, shift: vec![0.0; 3], factor: vec![1.0; 3] };
        assert!(scale.check(3, 5).is_ok() && scale.check(2, 3).is_ok());
        assert!(scale.check(2, 4).is_err() && scale.check(4, 4).is_err());
        for factor in [0.0, -1.0, f32::INFINITY, f32::NAN] {
            let scale = Scale { factor: vec![1.0, factor, 1.0], ..scale.clone() };
            assert!(scale.check(3, 3).is_err(), "{factor}");
        }
        assert!(Scale { shift: vec![0.0; 2], ..scale.clone() }.check(3, 3).is_err());
        assert!(Scale { rule: Rule::None, ..scale }.check(3, 3).is_err());
    }

    #[test]
    fn what_no_f32_holds_is_told() {
        let far = data(1, &[-3e38, 3e38]);
        assert!(Scale::find(Rule::Minmax, &far, 1).unwrap_err().to_string().contains("too far apart"));
        let scale = Scale::find(Rule::Minmax, &data(1, &[0.0, 1e-30]), 1).unwrap();
        let e = scale.apply(data(1, &[0.0, 1e30])).unwrap_err().to_string();
        assert!(e.starts_with("row 1, column 0 (counted from 0) of x: lies too far"), "{e}");
        assert!(scale.apply(Dataset { values: Values::Bytes(vec![255]), ..data(1, &[]) }).is_ok());
    }

    #[test]
    fn a_column_that_never_changes_keeps_its_factor() {
        let x = data(2, &[0.1, 1.0, 0.1, 2.0, 0.1, 4.0]);
        for rule in [Rule::Minmax, Rule::Standard] {
            let scale = Scale::find(rule, &x, 2).unwrap();
            assert_eq!((scale.shift[0], scale.factor[0]), (0.1, 1.0));
            assert_eq!(Moments::of(&scale.apply(x.clone()).unwrap(), 2).variance[0], 0.0);
        }
    }
}
