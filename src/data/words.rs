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
use std::collections::HashSet;
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

    /// Of each of the first `cols` columns of a data set, whether it is a column of the file by itself, or the first word of one.
    pub(crate) fn begin(&self, cols: usize) -> Vec<bool> {
        (0..cols).map(|j| j == 0 || self.column_of(j) != self.column_of(j - 1)).collect()
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

    /// How many columns data have that have one for each word, of a model without names of columns or with.
    pub(super) fn is_wide(&self, width: usize) -> bool {
        let narrow = if self.taken.is_empty() { self.names.len() } else { self.count() };
        let more: usize = self.words.iter().map(|words| words.words.len().saturating_sub(1)).sum();
        more > 0 && width == narrow + more
    }

    /// Which of the columns of a file, at these positions, are of words.
    ///
    /// # Errors
    /// Columns that are not there.
    pub(super) fn of_words(&self, there: &There, positions: &[usize]) -> Result<HashSet<usize>> {
        // A file of a condition alone has none of them, and one that has a column for each word already none that reads as words.
        let known = self.words.iter().filter(|_| positions.len() != self.or && !self.is_wide(positions.len()));
        let known = known.filter_map(|words| positions.get(words.column).copied());
        let asked =
            self.asked.as_ref().map(|asked| asked.likelihoods(there, positions)).transpose()?.unwrap_or_default();
        let asked = positions.iter().zip(asked).filter(|(_, own)| *own == Some(Likelihood::Categorical));
        Ok(known.chain(asked.map(|(&at, _)| at)).collect())
    }

    /// Of each of the `count` columns that are `taken` from a file, the words that are known of it, if it is of words. Empty where
    /// none is: a file may have a million columns; or where data have a column for each word already.
    ///
    /// # Errors
    /// Too few columns.
    pub(super) fn dictionaries(
        &self,
        there: &There,
        taken: &mut Columns,
        count: usize,
    ) -> Result<Vec<Option<Dictionary>>> {
        let of_words = |own: &Option<Likelihood>| *own == Some(Likelihood::Categorical);
        let known = &self.words[..if there.all().len() == self.or { 0 } else { self.words.len() }];
        if there.names.is_none() && self.is_wide(count) && !known.is_empty() {
            taken.words = known.to_vec();
            return Ok(vec![]);
        }
        if known.iter().any(|words| words.column >= count) {
            return Err(Error::failed(format!(
                "{}: an example has {count} columns; the data of the model have more: give data of the same columns",
                there.file
            )));
        }
        let mut all = vec![];
        if !known.is_empty() || taken.likelihoods.iter().any(of_words) {
            all.extend(taken.likelihoods.iter().map(|own| of_words(own).then(|| Dictionary::new(MOST))));
            all.resize_with(count, || None);
        }
        known.iter().for_each(|Words { column, words }| all[*column] = Some(Dictionary::of(words)));
        Ok(all)
    }

    /// Whether the first column of a file is of words, and then does not hold the names of its rows.
    pub(super) fn begin_with_words(&self, there: &There) -> bool {
        match &self.asked {
            Some(asked) => asked.is_of_words(there, 0),
            None => match there.names.filter(|_| !self.names.is_empty()) {
                Some(names) => {
                    let is_it = |words: &Words| self.names.get(words.column) == Some(&names[0]);
                    !names[0].is_empty() && self.words.iter().any(is_it)
                }
                // By its position, or of a file of the model's columns alone.
                None => {
                    let is_first = there.width != self.of || self.taken.first().is_none_or(|first| first.0 == 0);
                    is_first && self.words.first().is_some_and(|words| words.column == 0)
                }
            },
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
        let (file, title) = (there.file, title(there, at));
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

fn title(there: &There, at: usize) -> String {
    there.title(at).map_or(format!("{at} (counted from 0)"), super::named::shown)
}

/// Checks that a number of an array is a code that f32 tells from its neighbours.
///
/// # Errors
/// A larger one.
pub(super) fn check_code(code: f32, there: &There, at: usize, row: usize) -> Result<()> {
    const MOST: f32 = (1 << 24) as f32;
    match code.abs() < MOST {
        true => Ok(()),
        false => Err(Error::failed(format!(
            "categorical {}: row {row} of {} is {code}, and f32 tells no codes beyond {MOST} apart; give words, or smaller codes",
            title(there, at),
            there.file
        ))),
    }
}

/// The text of a cell of words.
///
/// # Errors
/// It is none: what is written in another encoding would make one word of several.
pub(super) fn text<'a>(cell: &'a [u8], there: &There, at: usize, line: u64) -> Result<&'a str> {
    std::str::from_utf8(cell).map_err(|_| {
        Error::failed(format!(
            "line {line} of {} has {} in column {}, which is not UTF-8: convert the file, as by iconv -f latin1 -t utf8",
            there.file,
            shown(cell),
            title(there, at)
        ))
    })
}

/// Whether a cell of a column of words says that the word is missing. Fewer do than of numbers: none, - and . may be words.
pub(super) fn is_missing(cell: &[u8]) -> bool {
    const MISSING: [&[u8]; 7] = [b"", b"na", b"n/a", b"#n/a", b"<na>", b"nan", b"?"];
    MISSING.iter().any(|missing| cell.eq_ignore_ascii_case(missing))
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
                self.notes.push(format!(
                    "{told} of {name}: {} words in {rows} rows, hardly one comes again; --skip-columns leaves names out",
                    words.len()
                ));
            }
            all.push(Words { column, words });
            moved.push(Some(places));
        }
        self.cols = widen(&self.name, values, cols, &moved)?;
        self.columns.words = all;
        let columns: Vec<usize> = (0..self.cols).map(|j| self.columns.column_of(j)).collect();
        let likelihoods = std::mem::take(&mut self.columns.likelihoods);
        self.columns.likelihoods = columns.iter().filter_map(|&column| likelihoods.get(column).copied()).collect();
        let is_coarse = |&j: &usize| self.coarse.contains(&columns[j]) && moved[columns[j]].is_none();
        self.coarse = (0..self.cols).filter(is_coarse).collect();
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
