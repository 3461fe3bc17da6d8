//! Which columns of a file a data set has, and what they are called, as a model keeps them.
use super::asked::{Asked, List, Part};
use super::classes::Classes;
use super::header::Header;
use super::named::shown;
use super::read_words::{self, Unknown};
use super::source::room;
use super::there::There;
use super::{Bytes, Dataset, Values, Words, csv, dictionary};
use crate::likelihood::Likelihood;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::ops::Range;

/// Some columns of a file; those that a model is told by name stand behind those that it learns. A file of which these were all
/// already is taken as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Columns {
    /// From..to, counted from 0 in the file. Empty: all, but for the names of the rows.
    #[serde(default)]
    pub taken: Vec<(usize, usize)>,
    /// How many columns the file has.
    #[serde(default)]
    pub of: usize,
    /// Of each that was taken; empty where the file has no names for them. A file that has some is read by them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// The column that is none of them, but says of what class each example is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<Classes>,
    /// Those of words, in order: of each the data have a column for each word.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<Words>,
    /// Whether the first line of the text is their names, where that was said.
    #[serde(default, skip_serializing_if = "Header::is_auto")]
    pub header: Header,
    /// Of each column of the data, the likelihood of its own that was asked for; empty where none was. It is the model's, which keeps
    /// it elsewhere.
    #[serde(skip)]
    pub likelihoods: Vec<Option<Likelihood>>,
    /// Where no file was read yet: what is asked of the first.
    #[serde(skip)]
    pub asked: Option<Asked>,
    /// How many of them, the last, a model is told, where that was asked for.
    #[serde(skip)]
    pub told: usize,
    /// Those that a file may have alone, as it has those that a model is told.
    #[serde(skip)]
    pub alone: Range<usize>,
    /// Whether these are wanted, and no others that stand beside them.
    #[serde(skip)]
    pub only_alone: bool,
    /// Where in the file each stands, where they were put in another order, or behind the names of rows.
    #[serde(skip)]
    pub arranged: Vec<usize>,
    /// The data of a run are read again: as they were then, whatever would be told of a header now.
    #[serde(skip)]
    pub again: bool,
    /// What of words that a model does not know, where somebody was asked; else they are refused.
    #[serde(skip)]
    pub unknown: Option<Unknown>,
}

impl Columns {
    /// Not yet of any file.
    pub fn asked(asked: Asked) -> Option<Columns> {
        (asked != Asked::default()).then(|| Columns { asked: Some(asked), ..Columns::default() })
    }

    /// Whether those of a model, which are all of its data; or of a file of which all are asked for.
    pub fn are_all(&self) -> bool {
        let apart = self.asked.as_ref().map(|asked| Asked {
            likelihoods: vec![],
            words: false,
            header: Header::Auto,
            names: None,
            ..asked.clone()
        });
        self.taken.is_empty() && apart.is_none_or(|apart| apart == Asked::default())
    }

    /// What a model keeps of them, once they were taken from a file: nothing where they are all, and have no names.
    pub fn kept(&self) -> Option<Columns> {
        let kept = Columns { likelihoods: vec![], arranged: vec![], told: 0, ..self.clone() };
        (kept != Columns::default()).then_some(kept)
    }

    /// Whether a model knows them: else a file is the first, and what it may have meant otherwise is asked.
    pub(super) fn are_known(&self) -> bool {
        self.asked.is_none()
    }

    /// Whether the file is the one that they are first found in, or are found in again.
    pub(super) fn are_first(&self) -> bool {
        self.asked.is_some() || self.again
    }

    /// Whether a column of a file is asked for as what a model is told.
    pub(super) fn is_told(&self, there: &There, at: usize) -> bool {
        self.all_told(there).is_some_and(|told| told[at])
    }

    /// Of each column of a file, whether it is; none where nothing is told.
    fn all_told(&self, there: &There) -> Option<Vec<bool>> {
        let told = self.asked.as_ref()?.told.as_ref()?;
        there.listed(told.list(), told.option()).ok()
    }

    /// Whether a text has a header, as it was said of it.
    pub(super) fn said(&self) -> Header {
        self.asked.as_ref().map_or(self.header, |asked| asked.header)
    }

    /// Whether the first column is left out for the names of the rows, and not because it was asked for.
    ///
    /// # Errors
    /// Columns that are not there.
    pub(super) fn leave_out_row_names(&self, there: &There) -> Result<bool> {
        match &self.asked {
            Some(asked) => asked.leaves_out_row_names(there),
            None => Ok(there.rows_named && self.are_all()),
        }
    }

    /// What a model keeps of these, once they are at these positions: of all, their names alone.
    ///
    /// # Errors
    /// Columns with a likelihood of their own that are not there.
    pub(super) fn taken_from(&self, there: &There, positions: &[usize]) -> Result<Columns> {
        let found = Columns::of(there, positions);
        let asked = self.asked.as_ref().map(|asked| asked.likelihoods(there, positions)).transpose()?;
        let told = self.all_told(there).map_or(0, |told| positions.iter().filter(|&&at| told[at]).count());
        let found = Columns { likelihoods: asked.unwrap_or_default(), told, ..found };
        // Of a file without names, where columns of words stand is known by their positions alone.
        let by_place = there.names.is_none() && found.likelihoods.contains(&Some(Likelihood::Categorical));
        // Of all it is not kept where they stand, but while they are read a message tells it.
        let in_order = positions.iter().copied().eq(0..positions.len());
        let arranged = if in_order { vec![] } else { positions.to_vec() };
        Ok(match self.are_all() && !by_place {
            true => Columns { taken: vec![], of: 0, arranged, ..found },
            false => found,
        })
    }

    /// Whether only a file with names can tell which they are.
    pub(super) fn by_name(&self) -> bool {
        self.asked.as_ref().is_some_and(Asked::by_name)
    }

    /// Where in the file they are, in the order in which they shall come.
    ///
    /// # Errors
    /// Columns that are not there.
    pub(super) fn positions(&self, there: &There) -> Result<Vec<usize>> {
        if let Some(asked) = &self.asked {
            return asked.positions(there);
        }
        let (own, whole) = (there.all(), there.width == self.of);
        let alone = self.names_alone();
        if self.only_alone
            && own.len() != self.alone.len()
            && let Some(found) = self.told_among(there)
        {
            return found;
        }
        let add = "; give it that column, which a model of --missing allow takes empty";
        let find_all = |names: &[String]| {
            there.find_all(names, "the model's column", add).map_err(|e| Error::failed(e.to_string()))
        };
        match there.names {
            _ if own.len() == self.alone.len() => match there.names {
                Some(names) if !alone.is_empty() && names[own.clone()] != *alone => self.find_told(there),
                _ => Ok(own.collect()),
            },
            // Those alone, with others beside them.
            Some(_) if !alone.is_empty() && there.has_all(alone) && !there.has_all(&self.names) => {
                self.find_told(there)
            }
            None if self.is_wide(own.len()) => Ok(own.collect()),
            // The same header, even one that has a name twice.
            Some(names) if names[own.clone()] == self.names => Ok(own.collect()),
            Some(names) if whole && self.places().map(|at| names.get(at)).eq(self.names.iter().map(Some)) => {
                Ok(self.places().collect())
            }
            // A model of before gaps in a header were given names.
            Some(_) if self.names.iter().any(String::is_empty) && own.len() == self.names.len() => Ok(own.collect()),
            Some(_) if !self.names.is_empty() => {
                let mut seen = HashSet::new();
                if let Some(twice) = self.names.iter().find(|name| !seen.insert(*name)) {
                    let (file, twice) = (there.file, shown(twice));
                    return Err(Error::failed(format!(
                        "{file}: two columns of the model's data have the name {twice}; give data with the same header"
                    )));
                }
                find_all(&self.names)
            }
            _ if self.taken.is_empty() || own.len() == self.count() && !whole => Ok(own.collect()),
            _ if whole => Ok(self.places().collect()),
            _ => {
                let (file, got, told, count) = (there.file, own.len(), self.alone.len(), self.count());
                Err(Error::failed(match told {
                    0 if count == self.of => format!(
                        "{file}: an example has {got} numbers; must have {count}, as the data of the model: give data of the same \
                         columns"
                    ),
                    0 => format!(
                        "{file}: an example has {got} numbers; must have {}, as the data of the model, or its {count} columns \
                         alone: give data of the same columns",
                        self.of
                    ),
                    _ => format!(
                        "{file}: a row has {got} numbers; must have {told}, those of the condition, or be a whole example"
                    ),
                }))
            }
        }
    }

    /// What a model is told, where it stands among others: by names, or by the places of a whole file, or of the columns that the model
    /// has of it. None where neither tells.
    fn told_among(&self, there: &There) -> Option<Result<Vec<usize>>> {
        let own = there.all();
        let of_own = || own.clone().skip(self.alone.start).take(self.alone.len()).collect();
        match there.names {
            // The same header, even one that has a name twice.
            Some(names) if names[own.clone()] == self.names => Some(Ok(of_own())),
            Some(_) if !self.names_alone().is_empty() => Some(self.find_told(there)),
            _ if there.width == self.of && !self.taken.is_empty() => {
                Some(Ok(self.places().skip(self.alone.start).take(self.alone.len()).collect()))
            }
            _ if self.is_wide(own.len()) || self.alone.end > own.len() => None,
            _ => (self.taken.is_empty() || own.len() == self.count()).then(|| Ok(of_own())),
        }
    }

    /// By their names. What a model is told is never missing.
    fn find_told(&self, there: &There) -> Result<Vec<usize>> {
        let add = "; give it that column, which the model is told";
        there.find_all(self.names_alone(), "the model's column", add).map_err(|e| Error::failed(e.to_string()))
    }

    /// Where in the file the one stands that was taken as number `column`.
    pub(crate) fn place_of(&self, column: usize) -> usize {
        self.arranged.get(column).copied().or_else(|| self.places().nth(column)).unwrap_or(column)
    }

    /// Where in the file those stand that were taken; none where they are all.
    pub(super) fn places(&self) -> impl Iterator<Item = usize> {
        self.taken.iter().flat_map(|&(from, to)| from..to)
    }

    /// How many were taken.
    pub fn count(&self) -> usize {
        self.taken.iter().map(|(from, to)| to.saturating_sub(*from)).fold(0, usize::saturating_add)
    }

    /// The first of their names, for a message.
    pub(crate) fn listed_names(&self) -> String {
        dictionary::list(&self.names, self.names.len())
    }

    /// As they are after they were taken from a file.
    pub(super) fn of(there: &There, positions: &[usize]) -> Columns {
        let mut taken: Vec<(usize, usize)> = vec![];
        for &at in positions {
            match taken.last_mut() {
                Some((_, to)) if *to == at => *to += 1,
                _ => taken.push((at, at + 1)),
            }
        }
        let names = there.names.map_or(vec![], |names| positions.iter().map(|&j| names[j].clone()).collect());
        Columns { taken, of: there.width, names, ..Columns::default() }
    }

    /// Whether columns that were just read stand in their file where these stood in theirs.
    pub(crate) fn stand_as(&self, before: &Columns) -> bool {
        match before.taken.is_empty() {
            true => self.arranged.is_sorted(),
            false => (&self.taken, self.of) == (&before.taken, before.of),
        }
    }

    /// What those are called that a file may have alone; nothing where they have no names.
    pub(super) fn names_alone(&self) -> &[String] {
        self.names.get(self.alone.clone()).unwrap_or_default()
    }

    /// Which of the `cols` columns of the data are those that a model is told.
    pub(crate) fn told_of(&self, cols: usize) -> (usize, usize) {
        let learned = self.in_file(cols) - self.told;
        ((0..cols).rfind(|&j| self.column_of(j) < learned).map_or(0, |last| last + 1), cols)
    }

    /// Those of the first `input` columns of the data that have a likelihood of their own, as a model has them: also the one that
    /// all others have, for they are not scaled as those are.
    pub(crate) fn others(&self, input: usize) -> Vec<(Likelihood, usize, usize)> {
        let variables = self.variables();
        let mut others: Vec<(Likelihood, usize, usize)> = vec![];
        for (j, own) in self.likelihoods.iter().enumerate().take(input) {
            let begins = || variables.iter().any(|variable| variable.start == j);
            match (own, others.last_mut()) {
                (Some(own), Some((last, _, to))) if last == own && *to == j && !begins() => *to += 1,
                (Some(own), _) => others.push((*own, j, j + 1)),
                (None, _) => {}
            }
        }
        others
    }

    /// Whether a file has no others, in whatever order they come, but for that of the classes.
    pub(crate) fn leave_none(&self) -> bool {
        let classes = self.classes.as_ref().is_some_and(|classes| !classes.apart) as usize;
        self.taken.is_empty() || self.count() + classes == self.of
    }

    /// As `--columns` takes them.
    pub fn list(&self) -> String {
        self.taken.iter().map(|&(from, to)| Part::Range(from, to).to_string()).collect::<Vec<_>>().join(",")
    }

    /// Some columns of the data, as an option takes those that they are of: by their names, where all have one of their own.
    pub(crate) fn listed(&self, some: &[usize]) -> String {
        let mut some: Vec<usize> = some.iter().map(|&j| self.column_of(j)).collect();
        some.dedup();
        let mut seen = HashSet::new();
        let twice: HashSet<&String> = self.names.iter().filter(|name| !seen.insert(*name)).collect();
        let simple = |name: &&String| {
            !name.contains([',', '"']) && name.parse::<List>().is_ok_and(|l| l.is_of_names()) && !twice.contains(*name)
        };
        let named: Option<Vec<&str>> = some.iter().map(|&j| Some(self.names.get(j).filter(simple)?.as_str())).collect();
        match named {
            Some(named) => named.join(","),
            None => {
                let all: Vec<usize> = self.places().collect();
                let positions: Vec<usize> = some.iter().map(|&j| all.get(j).copied().unwrap_or(j)).collect();
                List::at(&positions).to_string()
            }
        }
    }

    /// Some columns of the data for a message: by the names of those that they are of, the first and the last where they are more than a
    /// few; by their positions where they have none.
    pub(crate) fn shown(&self, (from, to): (usize, usize)) -> String {
        const FEW: usize = 4;
        let all: Vec<usize> = (from..to).collect();
        let of_file = self.column_of(from)..to.checked_sub(1).map_or(0, |last| self.column_of(last) + 1);
        match self.names.get(of_file).unwrap_or_default() {
            [] => self.listed(&all),
            few if few.len() <= FEW => few.iter().map(|name| shown(name)).collect::<Vec<_>>().join(", "),
            many @ [first, .., last] => format!("{} to {} ({} columns)", shown(first), shown(last), many.len()),
            [_] => unreachable!("one is few"),
        }
    }

    /// Column `j` of a data set for a message: where it stands in the file, and its name where it has one.
    pub fn told(&self, j: usize) -> String {
        let j = self.column_of(j);
        let at = self.place_of(j);
        match self.names.get(j) {
            Some(name) if !name.is_empty() => format!("column {at} ({}, counted from 0)", csv::shown(name.as_bytes())),
            _ => format!("column {at} (counted from 0)"),
        }
    }

    /// # Errors
    /// Ranges that cannot be: a file may say anything.
    pub fn check(&self) -> Result<()> {
        let mut taken = self.taken.clone();
        taken.sort_unstable();
        let apart = taken.windows(2).all(|two| two[0].1 <= two[1].0);
        let possible = apart && taken.iter().all(|&(from, to)| from < to && to <= self.of);
        let named = self.names.is_empty() || self.taken.is_empty() || self.names.len() == self.count();
        self.classes.as_ref().map_or(Ok(()), |classes| classes.check(self.of))?;
        self.check_words()?;
        match possible && named {
            true => Ok(()),
            false => Err(Error::failed("columns: those of its data cannot be; it is damaged")),
        }
    }
}

impl Dataset {
    /// Some columns, by their names where they have any, in the memory that they take already. Pictures they are no more.
    ///
    /// # Errors
    /// Columns that are not there.
    pub fn with_columns(mut self, columns: &Columns) -> Result<Dataset> {
        if !self.columns.words.is_empty() {
            return Err(Error::request(format!(
                "{}: its columns of words were read as those of other data; read the file by the columns of the model",
                self.name
            )));
        }
        if columns.asked.as_ref().is_some_and(|asked| asked.header == Header::Yes) && self.columns.header.is_auto() {
            return Err(Error::request(format!("header: {} is no text, and has none; leave --header out", self.name)));
        }
        let given = columns.asked.as_ref().and_then(|asked| asked.names.as_ref());
        let names = match given.map(|given| given.of(self.cols, &self.name)).transpose()? {
            Some(given) => Some(given.to_vec()),
            None => Some(self.columns.names.clone()).filter(|names| names.len() == self.cols),
        };
        let file = self.name.clone();
        let there = There { file: &file, width: self.cols, rows_named: false, names: names.as_deref() };
        let positions = columns.positions(&there)?;
        let mut taken = columns.taken_from(&there, &positions)?;
        let mut dictionaries = columns.dictionaries(&there, &mut taken, positions.len())?;
        if !dictionaries.is_empty() {
            self = self.with_bytes(Some(Bytes::Plain))?; // the byte itself
        }
        if let Some(at) = columns.class_column(&there)? {
            let (labels, classes) = self.classes_in(at, &there, columns.classes.as_ref())?;
            (self.labels, taken.classes) = (labels, Some(classes));
        }
        if positions.iter().copied().ne(0..self.cols) {
            self.values.keep(self.cols, &positions);
            self.shape = None;
            self.keep_coarse(&positions);
        }
        if !dictionaries.is_empty() {
            self = self.dense("give fewer examples, or a csv")?;
        }
        let cols = positions.len();
        for (j, &at) in positions.iter().enumerate() {
            let dictionary = dictionaries.get_mut(j).and_then(Option::as_mut);
            if let (Some(dictionary), Values::Reals(values)) = (dictionary, &mut self.values) {
                for (i, x) in values.iter_mut().skip(j).step_by(cols).enumerate().filter(|(_, x)| !x.is_nan()) {
                    read_words::check_code(*x, &there, at, i)?;
                    let (code, row) = (x.to_string(), || format!("row {i}"));
                    *x = read_words::place_of(dictionary, &code, &there, at, row, "")?; // no cell to leave empty
                }
            }
        }
        Dataset { cols, columns: taken, ..self }.with_words(dictionaries)
    }

    /// Which columns f32 does not tell apart, now that these are left, in this order.
    pub(super) fn keep_coarse(&mut self, positions: &[usize]) {
        let coarse = std::mem::take(&mut self.coarse);
        self.coarse = (0..positions.len()).filter(|&j| coarse.contains(&positions[j])).collect();
    }
}

/// Keeps these columns of every row, in this order, without other memory than that of a row.
pub(super) fn keep<T: Copy>(values: &mut Vec<T>, cols: usize, positions: &[usize]) {
    assert!(positions.len() <= cols, "a row does not grow where it stands");
    let mut row = Vec::with_capacity(cols);
    let mut end = 0;
    for start in (0..values.len()).step_by(cols) {
        row.clear();
        row.extend(positions.iter().map(|&j| values[start + j]));
        values[end..end + row.len()].copy_from_slice(&row);
        end += row.len();
    }
    values.truncate(end);
    values.shrink_to_fit();
}

/// Makes every row `wide`, from the last on: it is the same memory, and more of it. `fill(number, row, wide row)` writes all of what
/// a row becomes.
///
/// # Errors
/// Too little memory.
pub(super) fn widen<T: Copy + Default>(
    name: &str,
    values: &mut Vec<T>,
    cols: usize,
    wide: usize,
    fill: impl Fn(usize, &[T], &mut [T]),
) -> Result<()> {
    let rows = values.len() / cols;
    room(name, values, rows * (wide - cols))?;
    values.resize(rows * wide, T::default());
    let mut row = vec![T::default(); cols];
    for i in (0..rows).rev() {
        row.copy_from_slice(&values[i * cols..(i + 1) * cols]);
        fill(i, &row, &mut values[i * wide..(i + 1) * wide]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_claims_is_possible_or_refused() {
        let columns = |taken: &[(usize, usize)], of, names: usize| {
            Columns { taken: taken.to_vec(), of, names: vec!["a".into(); names], ..Columns::default() }.check().is_ok()
        };
        assert!(columns(&[], 0, 0) && columns(&[(0, 2), (3, 4)], 4, 0) && columns(&[(0, 2), (3, 4)], 4, 3));
        assert!(columns(&[], 0, 3), "all, by their names");
        assert!(!columns(&[(0, 2)], 1, 0) && !columns(&[(2, 2)], 4, 0) && !columns(&[(0, 2)], 4, 1));
        assert!(!columns(&[(0, usize::MAX), (0, usize::MAX)], 7, 0));
    }

    #[test]
    fn columns_are_kept_in_the_memory_that_they_have() {
        let mut values: Vec<u32> = (0..12).collect();
        keep(&mut values, 4, &[3, 1]);
        assert_eq!(values, [3, 1, 7, 5, 11, 9]);
    }
}
