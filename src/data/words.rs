//! Columns of words. A data set has a column for each word of them, of which one is 1 in every example; a model keeps the words,
//! and what it gives has words again.
use super::asked::There;
use super::csv::shown;
use super::dictionary::Dictionary;
use super::source::room;
use super::{Columns, Dataset, Values};
use crate::config::Likelihood;
use crate::{Error, Result, host};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// As many as one column may have: more are names of something.
const MOST: usize = 1000;
/// Of fewer rows nothing is said of words that do not come again.
const FEW: usize = 20;

/// The words of a column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Words {
    /// Which it is of the columns that were taken, counted from 0.
    pub column: usize,
    /// As the file writes them, of numbers the shortest way: numbers by their size, words by the alphabet.
    pub words: Vec<String>,
}

/// A column of x where columns of words are wide.
struct Place {
    /// Which it is of the columns that were taken.
    column: usize,
    /// Its word, if it is one of several.
    word: Option<usize>,
}

impl Columns {
    /// What column `j` of a data set is, by the columns that were taken from its file.
    fn place(&self, j: usize) -> Place {
        let mut before = 0; // columns of x beyond those of the file
        for Words { column, words } in &self.words {
            match j.checked_sub(column.saturating_add(before)) {
                None => break,
                Some(word) if word < words.len() => return Place { column: *column, word: Some(word) },
                Some(_) => before += words.len().saturating_sub(1),
            }
        }
        Place { column: j - before, word: None }
    }

    /// Which of the columns that were taken column `j` of a data set belongs to: itself, unless some are of words.
    pub fn column_of(&self, j: usize) -> usize {
        self.place(j).column
    }

    /// What the file calls the column that column `j` of a data set belongs to.
    pub(crate) fn name_of(&self, j: usize) -> Option<&String> {
        self.names.get(self.column_of(j))
    }

    /// What column `j` of a data set is called: as in the file, or `ward=A` where it is one of several words.
    pub(crate) fn full_name(&self, j: usize) -> Option<String> {
        let Place { column, word } = self.place(j);
        let name = self.names.get(column)?.clone();
        let words = self.words.iter().find(|words| words.column == column);
        Some(match words.zip(word) {
            Some((words, word)) => format!("{name}={}", words.words[word]),
            None => name,
        })
    }

    /// The columns of a data set that are the words of one column each.
    pub fn variables(&self) -> Vec<Range<usize>> {
        let mut before = 0;
        let range = |Words { column, words }: &Words| {
            let from = column + before;
            before += words.len().saturating_sub(1);
            from..from + words.len()
        };
        self.words.iter().map(range).collect()
    }

    /// # Errors
    /// What cannot be: a file may say anything.
    pub(super) fn check_words(&self) -> Result<()> {
        let in_order = self.words.windows(2).all(|two| two[0].column < two[1].column);
        let possible = self.words.iter().all(|w| (1..=MOST).contains(&w.words.len()) && w.column < 1 << 26);
        match in_order && possible {
            true => Ok(()),
            false => Err(Error::failed("words: those of its data cannot be; it is damaged")),
        }
    }

    /// Of each of the `count` columns that are taken from a file, the words that are known of it, if it is of words. Empty where
    /// none is: a file may have a million columns.
    pub(super) fn dictionaries(&self, there: &There, taken: &Columns, count: usize) -> Vec<Option<Dictionary>> {
        let own = |own: &Option<Likelihood>| (*own == Some(Likelihood::Categorical)).then(|| Dictionary::new(MOST));
        // A file of a condition alone has none of them.
        let known: Vec<&Words> =
            self.words.iter().filter(|w| w.column < count && there.all().len() != self.or).collect();
        let mut all = vec![];
        if !known.is_empty() || taken.likelihoods.contains(&Some(Likelihood::Categorical)) {
            all.extend(taken.likelihoods.iter().map(own));
            all.resize_with(count, || None);
        }
        known.into_iter().for_each(|Words { column, words }| all[*column] = Some(Dictionary::of(words)));
        all
    }

    /// Whether the first column of a file is of words, and then does not hold the names of its rows.
    pub(super) fn begin_with_words(&self, there: &There) -> bool {
        match &self.asked {
            Some(asked) => asked.is_of_words(there, 0),
            None => {
                let of_words = self.words.first().is_some_and(|words| words.column == 0);
                let is_first = match there.names.filter(|_| !self.names.is_empty()) {
                    Some(names) => names[0] == self.names[0],
                    None => self.taken.first().is_none_or(|first| first.0 == 0),
                };
                of_words && is_first
            }
        }
    }
}

/// The place of a word in the column `at` of a file, which `line` tells.
///
/// # Errors
/// One that a model does not know; more of them than a column may have.
pub(super) fn place(
    dictionary: &mut Dictionary,
    word: &str,
    there: &There,
    at: usize,
    line: impl FnOnce() -> String,
) -> Result<f32> {
    dictionary.place(word).map(|place| place as f32).ok_or_else(|| {
        let (file, title) = (there.file, there.title(at).map_or(at.to_string(), super::named::shown));
        Error::failed(match dictionary.is_known() {
            true => format!(
                "{} of {file} has {} in column {title}: the model knows {}; leave the example out, or train on data that \
                 have it",
                line(),
                shown(word.as_bytes()),
                dictionary.list()
            ),
            false => format!(
                "categorical {title}: {file} has more than {MOST} different values there; must be a column of words, of which \
                 each has many examples"
            ),
        })
    })
}

impl Dataset {
    /// With a column for each word, in place of columns that hold places in dictionaries.
    ///
    /// # Errors
    /// A column without any; too little memory.
    pub(super) fn with_words(mut self, dictionaries: Vec<Option<Dictionary>>) -> Result<Dataset> {
        let (cols, rows) = (self.cols, self.rows());
        let Values::Reals(values) = &mut self.values else { return Ok(self) };
        if dictionaries.is_empty() {
            return Ok(self);
        }
        let (mut all, mut moved) = (vec![], vec![]);
        for (column, dictionary) in dictionaries.into_iter().enumerate() {
            let Some((places, words)) = dictionary.map(Dictionary::sorted) else {
                moved.push(None);
                continue;
            };
            let (told, name) = (self.columns.told(column), &self.name);
            if words.is_empty() {
                return Err(Error::failed(format!("{told} of {name}: every value is missing; leave the column out")));
            }
            if rows > FEW && 2 * words.len() > rows {
                self.notes
                    .push(format!("{told} of {name}: {} words in {rows} rows, hardly one comes again", words.len()));
            }
            all.push(Words { column, words });
            moved.push(Some(places));
        }
        self.cols = widen(&self.name, values, cols, &moved)?;
        self.columns.words = all;
        let columns: Vec<usize> = (0..self.cols).map(|j| self.columns.column_of(j)).collect();
        let likelihoods = std::mem::take(&mut self.columns.likelihoods);
        self.columns.likelihoods = columns.iter().filter_map(|&column| likelihoods.get(column).copied()).collect();
        self.coarse = (0..self.cols).filter(|&j| self.coarse.contains(&columns[j])).collect();
        Ok(Dataset { shape: None, ..self })
    }
}

/// Makes room in every row, from the last on: it is the same memory, and more of it. Of a column of words `moved` says where the
/// places went that it holds. How wide a row is then.
fn widen(name: &str, values: &mut Vec<f32>, cols: usize, moved: &[Option<Vec<usize>>]) -> Result<usize> {
    let width = |column: &Option<Vec<usize>>| column.as_ref().map_or(1, Vec::len);
    let (rows, wide): (usize, usize) = (values.len() / cols, moved.iter().map(width).sum());
    // What words take is not bounded by the bytes of the file, and memory that was promised may still not be there.
    let (more, free) = ((rows * (wide - cols) * size_of::<f32>()) as u64, host::free_memory());
    if let Some(free) = free.filter(|&free| more > free) {
        return Err(Error::failed(format!(
            "{name}: with a column for each word its rows take {more} bytes of memory more, and {free} are free; leave out \
             columns of many words, or give fewer examples"
        )));
    }
    room(name, values, rows * (wide - cols))?;
    values.resize(rows * wide, 0.0);
    let mut row = vec![0.0; cols];
    for i in (0..rows).rev() {
        row.copy_from_slice(&values[i * cols..(i + 1) * cols]);
        let mut rest = &mut values[i * wide..(i + 1) * wide];
        for (&x, places) in row.iter().zip(moved) {
            let (own, behind) = rest.split_at_mut(width(places));
            match places {
                None => own[0] = x,
                Some(_) if x.is_nan() => own.fill(x),
                Some(places) => {
                    own.fill(0.0);
                    own[places[x as usize]] = 1.0;
                }
            }
            rest = behind;
        }
    }
    Ok(wide)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_words_are_wide() {
        let words = |column, words: &[&str]| Words { column, words: words.iter().map(|w| w.to_string()).collect() };
        let names = ["age", "ward", "ill", "bmi"].map(String::from).to_vec();
        let all = vec![words(1, &["a", "b", "c"]), words(2, &["no"])];
        let columns = Columns { names, words: all, ..Columns::default() };
        assert_eq!(columns.variables(), [1..4, 4..5]);
        assert_eq!((0..6).map(|j| columns.column_of(j)).collect::<Vec<_>>(), [0, 1, 1, 1, 2, 3]);
        let full: Vec<_> = (0..6).map(|j| columns.full_name(j).unwrap()).collect();
        assert_eq!(full, ["age", "ward=a", "ward=b", "ward=c", "ill=no", "bmi"]);
        assert_eq!(columns.full_name(6), None);
        assert_eq!(columns.listed(&[0, 1, 2, 3, 4]), "age,ward,ill");
        assert_eq!(columns.told(3), "column 1 (\"ward\", counted from 0)");
        let others = |own: &[usize], likelihood| {
            let likelihoods = (0..6).map(|j| own.contains(&j).then_some(likelihood)).collect();
            Columns { likelihoods, ..columns.clone() }.others(6)
        };
        // Two variables side by side stay two, and what is no word is one run.
        let categorical = Likelihood::Categorical;
        assert_eq!(others(&[1, 2, 3, 4], categorical), [(categorical, 1, 4), (categorical, 4, 5)]);
        let plain = Columns { likelihoods: vec![Some(Likelihood::Poisson); 2], ..Columns::default() };
        assert_eq!(plain.others(6), [(Likelihood::Poisson, 0, 2)]);
    }

    #[test]
    fn rows_are_widened_where_they_stand() {
        let nan = f32::NAN;
        let mut values = vec![0.5, 1.0, 0.0, 1.5, 0.0, nan, 2.5, nan, 1.0];
        let wide = widen("x", &mut values, 3, &[None, Some(vec![2, 0, 1]), Some(vec![1, 0])]).unwrap();
        assert_eq!(wide, 6);
        let want =
            [[0.5, 1.0, 0.0, 0.0, 0.0, 1.0], [1.5, 0.0, 0.0, 1.0, nan, nan], [2.5, nan, nan, nan, 1.0, 0.0]].concat();
        assert_eq!(
            values.iter().map(|x| x.to_bits()).collect::<Vec<_>>(),
            want.iter().map(|x| x.to_bits()).collect::<Vec<_>>()
        );
    }
}
