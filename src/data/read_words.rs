//! Columns of words while a file is read: which they are, what their cells say, and how rows come to have a column for each word.
use super::columns::widen;
use super::csv::shown;
use super::dictionary::Dictionary;
use super::read::Missing;
use super::there::There;
use super::words::MOST;
use super::{Columns, Dataset, Sparse, Values, Words};
use crate::likelihood::Likelihood;
use crate::{Error, Result, host};
use clap::ValueEnum;
use std::collections::HashSet;

/// What of a word that a model does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Unknown {
    /// An error that names it.
    #[default]
    Refuse,
    /// It counts as missing, and a note tells which.
    Missing,
}

/// Of fewer rows nothing is said of words that do not come again.
const FEW: usize = 20;

impl Columns {
    /// The words that a file of `count` columns has as such: those alone that a model is told where it is of nothing else; none where
    /// it has a column for each word already, which names would tell.
    fn words_in(&self, there: &There, count: usize) -> Vec<Words> {
        if count == self.alone.len() {
            let alone = self.words.iter().filter(|words| self.alone.contains(&words.column));
            return alone.map(|words| Words { column: words.column - self.alone.start, ..words.clone() }).collect();
        }
        let is_wide = there.names.is_none() && self.is_wide(count);
        if is_wide { vec![] } else { self.words.clone() }
    }

    /// Which of the columns of a file, at these positions, are of words.
    ///
    /// # Errors
    /// Columns that are not there.
    pub(super) fn of_words(&self, there: &There, positions: &[usize]) -> Result<HashSet<usize>> {
        let known = self.words_in(there, positions.len());
        let known = known.iter().filter_map(|words| positions.get(words.column).copied());
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
        let known = self.words_in(there, count);
        if known.is_empty() && count != self.alone.len() {
            taken.words = self.words.clone(); // if there are any, the data have a column for each already
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
        for Words { column, words } in known {
            let known = Dictionary::of(&words);
            all[column] = Some(if self.unknown == Some(Unknown::Missing) { known.taking_strange() } else { known });
        }
        Ok(all)
    }

    /// What one may leave instead of an example with a word that the model does not know in column `j`.
    pub(super) fn else_leave(&self, missing: Missing, j: usize) -> &'static str {
        match (missing, self.unknown) {
            _ if self.alone.contains(&j) => "", // what it is told must be known
            (Missing::Refuse | Missing::Never, _) => "",
            (Missing::Allow, None) => "the cell empty, which the model takes as missing, or ",
            (Missing::Allow, Some(_)) => {
                "the cell empty or pass --unknown-words missing, which the model takes as missing, or leave "
            }
        }
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
                // By its position, or of a file of the model's columns alone, or of those that it is told.
                None if there.width == self.alone.len() => {
                    self.words_in(there, there.width).first().is_some_and(|words| words.column == 0)
                }
                None => {
                    let is_first = there.width != self.of || self.taken.first().is_none_or(|first| first.0 == 0);
                    is_first && self.words.first().is_some_and(|words| words.column == 0)
                }
            },
        }
    }
}

/// The place of a word in the column `at` of a file, in a row that `line` tells; NaN where it has none, and that is allowed. What
/// one may leave instead of the example, the sentence says.
///
/// # Errors
/// One that a model does not know; more of them than a column may have.
pub(super) fn place_of(
    dictionary: &mut Dictionary,
    word: &str,
    there: &There,
    at: usize,
    line: impl FnOnce() -> String,
    else_leave: &str,
) -> Result<f32> {
    let place = match dictionary.place(word) {
        None if dictionary.take_strange(word) => Some(f32::NAN),
        place => place.map(|place| place as f32),
    };
    place.ok_or_else(|| {
        let (file, title) = (there.file, title(there, at));
        Error::failed(match dictionary.is_known() {
            true => format!(
                "{} of {file} has {} in column {title}: the model knows {}; leave {}the example out, or train on data that \
                 have it",
                line(),
                shown(word.as_bytes()),
                dictionary.list(),
                else_leave
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

/// Whether a cell of a column of words says that the word is missing. Fewer do than of numbers: none, - and . may be words.
pub(super) fn is_missing(cell: &[u8]) -> bool {
    const MISSING: [&[u8]; 8] = [b"", b"na", b"n/a", b"#n/a", b"#nv", b"<na>", b"nan", b"?"];
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
            let Some(dictionary) = dictionary else {
                moved.push(None);
                continue;
            };
            let (told, name) = (self.columns.told(column), &self.name);
            if let Some((times, words)) = dictionary.strange() {
                self.notes.push(format!(
                    "{told} of {name}: {times} of {rows} words are none of the model's, as {words}; taken as missing"
                ));
            }
            let (places, words) = dictionary.sorted();
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
        let own = std::mem::take(values);
        (self.cols, self.values) = with_a_column_each(&self.name, own, cols, &moved)?;
        self.columns.words = all;
        let columns: Vec<usize> = (0..self.cols).map(|j| self.columns.column_of(j)).collect();
        let likelihoods = std::mem::take(&mut self.columns.likelihoods);
        self.columns.likelihoods = columns.iter().filter_map(|&column| likelihoods.get(column).copied()).collect();
        let is_coarse = |&j: &usize| self.coarse.contains(&columns[j]) && moved[columns[j]].is_none();
        self.coarse = (0..self.cols).filter(is_coarse).collect();
        Ok(Dataset { shape: None, ..self })
    }
}

/// Of a column of words `moved` says where the places went that it holds. How wide a row is then, and all rows: sparse where
/// that takes less than half of the memory.
fn with_a_column_each(
    name: &str,
    mut values: Vec<f32>,
    cols: usize,
    moved: &[Option<Vec<usize>>],
) -> Result<(usize, Values)> {
    let width = |column: &Option<Vec<usize>>| column.as_ref().map_or(1, Vec::len);
    let (rows, wide): (usize, usize) = (values.len() / cols, moved.iter().map(width).sum());
    let missing = |j: usize| values.iter().skip(j).step_by(cols).filter(|x| x.is_nan()).count();
    let words = (0..cols).filter_map(|j| Some((j, moved[j].as_ref()?.len())));
    let entries_of_missing: usize = words.map(|(j, words)| missing(j) * (words - 1)).sum();
    let bytes = 8 * (rows * (cols + 1) + entries_of_missing);
    let sparse = 2 * bytes < 4 * rows * wide;
    // What words take is not bounded by the bytes of the file, and memory that was promised may still not be there.
    let more = if sparse { bytes } else { 4 * rows * (wide - cols) };
    let (more, free) = (more as u64, host::free_memory());
    if let Some(free) = free.filter(|&free| more > free) {
        return Err(Error::failed(format!(
            "{name}: with a column for each word its rows take {more} bytes of memory more, and {free} are free; leave out \
             columns of many words, or give fewer examples"
        )));
    }
    if sparse {
        let room = Sparse::with_room(name, rows, rows * cols + entries_of_missing)?;
        return Ok((wide, Values::Sparse(entries(room, &values, cols, moved))));
    }
    widen(name, &mut values, cols, wide, |_, row, mut rest| {
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
    })?;
    Ok((wide, Values::Reals(values)))
}

/// The same as sparse rows. Numbers are entries even where they are 0: what scales them moves their zeros.
fn entries(mut sparse: Sparse, values: &[f32], cols: usize, moved: &[Option<Vec<usize>>]) -> Sparse {
    let mut row = vec![];
    for values in values.chunks(cols) {
        row.clear();
        let mut first = 0;
        for (&x, places) in values.iter().zip(moved) {
            let Some(places) = places else {
                row.push((first, x));
                first += 1;
                continue;
            };
            match x.is_nan() {
                true => row.extend((first..first + places.len() as u32).map(|j| (j, x))),
                false => row.push((first + places[x as usize] as u32, 1.0)),
            }
            first += places.len() as u32;
        }
        sparse.push(row.iter().copied());
    }
    sparse
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_widened_where_they_stand() {
        let nan = f32::NAN;
        let values = vec![0.5, 1.0, 0.0, 1.5, 0.0, nan, 2.5, nan, 1.0];
        let moved = [None, Some(vec![2, 0, 1]), Some(vec![1, 0])];
        let (wide, sparse) = (6, entries(Sparse::none(), &values, 3, &moved));
        let (width, dense) = with_a_column_each("x", values, 3, &moved).unwrap();
        let Values::Reals(values) = dense else { panic!("few columns, all stored: {dense:?}") };
        assert_eq!(width, wide);
        let want =
            [[0.5, 1.0, 0.0, 0.0, 0.0, 1.0], [1.5, 0.0, 0.0, 1.0, nan, nan], [2.5, nan, nan, nan, 1.0, 0.0]].concat();
        assert_eq!(
            values.iter().map(|x| x.to_bits()).collect::<Vec<_>>(),
            want.iter().map(|x| x.to_bits()).collect::<Vec<_>>()
        );
        assert_eq!((sparse.rows(), sparse.entries()), (3, 3 + 4 + 5), "of each missing word all columns");
        let dense = sparse.dense("x", wide).unwrap();
        assert!(dense.iter().zip(&want).all(|(a, b)| a == b || a.is_nan() && b.is_nan()), "{dense:?}");
    }

    #[test]
    fn many_words_are_kept_by_what_is_not_zero() {
        let values: Vec<f32> = (0..100).flat_map(|i| [i as f32 / 2.0, i as f32]).collect();
        let (wide, sparse) = with_a_column_each("x", values, 2, &[None, Some((0..100).rev().collect())]).unwrap();
        let Values::Sparse(sparse) = sparse else { panic!("{wide} columns, all stored") };
        assert_eq!((wide, sparse.entries(), sparse.row(3)), (101, 200, (&[0, 97][..], &[1.5, 1.0][..])));
    }
}
