//! Which columns of a file a data set has, and what they are called: as they are asked for, and as a model keeps them.
//! Columns come in the order of the file and once, however they were asked for; but those of a condition come last.
use super::classes::Classes;
use super::named::shown;
use super::{Dataset, Values};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

/// Some columns of a file; those that a model is told by name stand behind those that it learns. A file of which these were all already is taken as it is.
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
    /// Where no file was read yet: what is asked of the first.
    #[serde(skip)]
    pub asked: Option<Asked>,
    /// A file of so many columns is something else, and taken as it is.
    #[serde(skip)]
    pub or: usize,
    /// The data of a run are read again: as they were then, whatever would be told of a header now.
    #[serde(skip)]
    pub again: bool,
}

/// Columns as a user names them: all of `take` but those of `skip`, those of `last` behind the others; and the one that holds
/// classes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Asked {
    pub take: Option<List>,
    pub skip: Option<List>,
    pub last: Option<List>,
    pub classes: Option<Column>,
}

/// One column, by its position or its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Column(pub(super) Part);

impl FromStr for Column {
    type Err = String;
    fn from_str(s: &str) -> std::result::Result<Column, String> {
        let s = s.trim();
        match (s.parse::<usize>(), s.split_once("..")) {
            (Ok(at), _) => Ok(Column(Part::Range(at, at.saturating_add(1)))),
            (_, Some((from, to))) if from.parse::<usize>().is_ok() && to.parse::<usize>().is_ok() => {
                Err("must be one column".into())
            }
            _ if s.is_empty() => Err("must be a position or a name, as 4 or species".into()),
            _ => Ok(Column(Part::Name(s.into()))),
        }
    }
}

/// `0..784`, positions and names, separated by commas. A number is a position, whatever the columns are called.
#[derive(Clone, Debug, PartialEq)]
pub struct List(Vec<Part>);

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part {
    Range(usize, usize),
    Name(String),
}

impl FromStr for List {
    type Err = String;
    fn from_str(s: &str) -> std::result::Result<List, String> {
        let part = |s: &str| {
            let number = |s: &str| s.trim().parse::<usize>().ok();
            let range = match s.split_once("..") {
                Some((from, to)) => number(from).zip(number(to)),
                None => number(s).map(|at| (at, at.saturating_add(1))),
            };
            match range {
                _ if s.is_empty() => Err("must be positions, ranges or names, as 0..784 or age,height,3".into()),
                Some((from, to)) if from >= to => Err(format!("{s}: must be from..to, with to beyond from")),
                Some((from, to)) => Ok(Part::Range(from, to)),
                None => Ok(Part::Name(s.into())),
            }
        };
        Ok(List(s.split(',').map(|s| part(s.trim())).collect::<std::result::Result<_, _>>()?))
    }
}

impl Part {
    fn name(&self) -> Option<&str> {
        match self {
            Part::Name(name) => Some(name),
            Part::Range(..) => None,
        }
    }
}

impl List {
    /// Whether it is of names alone.
    pub(crate) fn is_of_names(&self) -> bool {
        self.0.iter().all(|part| part.name().is_some())
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Part::Range(from, to) if from + 1 == *to => write!(f, "{from}"),
            Part::Range(from, to) => write!(f, "{from}..{to}"),
            Part::Name(name) => write!(f, "{}", shown(name)),
        }
    }
}

/// What a file has: its name, how many columns, and what they are called.
pub(super) struct There<'a> {
    pub file: &'a str,
    pub width: usize,
    /// The first column holds the names of the rows, and is not taken unless it is asked for.
    pub rows_named: bool,
    /// (width)
    pub names: Option<&'a [String]>,
}

impl There<'_> {
    fn all(&self) -> std::ops::Range<usize> {
        self.rows_named as usize..self.width
    }

    /// What column `j` is called, if it has a name.
    pub fn title(&self, j: usize) -> Option<&str> {
        self.names.map(|names| names[j].as_str()).filter(|title| !title.is_empty())
    }

    /// The position of a name.
    fn find(&self, name: &str, what: &str) -> Result<usize> {
        let (file, asked) = (self.file, shown(name));
        let Some(names) = self.names else {
            return Err(Error::request(format!(
                "{what} {asked}: {file} has no names for its columns; pass positions, counted from 0, as 0..{}",
                self.width
            )));
        };
        let mut found = names.iter().enumerate().filter(|(_, n)| *n == name);
        match (found.next(), found.next()) {
            (Some((at, _)), None) => Ok(at),
            (Some((one, _)), Some((other, _))) => Err(Error::request(format!(
                "{what} {asked}: columns {one} and {other} of {file} have this name; pass a position"
            ))),
            (None, _) => {
                let remedy = match nearest(name, names) {
                    Some(near) => format!("did you mean {}?", shown(near)),
                    None => {
                        let some: Vec<String> = names.iter().take(8).map(|n| shown(n)).collect();
                        let more = if names.len() > 8 { ", ..." } else { "" };
                        format!("it has {}{more}", some.join(", "))
                    }
                };
                Err(Error::request(format!("{what} {asked}: {file} has no column of this name; {remedy}")))
            }
        }
    }

    /// The columns of a list, in the order of the file.
    fn listed(&self, list: &List, what: &str) -> Result<Vec<bool>> {
        let mut is_listed = vec![false; self.width];
        for part in &list.0 {
            is_listed[self.range(part, what)?].fill(true);
        }
        Ok(is_listed)
    }

    /// The positions of a part of a list.
    fn range(&self, part: &Part, what: &str) -> Result<std::ops::Range<usize>> {
        let (from, to) = match part {
            Part::Range(from, to) => (*from, *to),
            Part::Name(name) => {
                let at = self.find(name, what)?;
                (at, at + 1)
            }
        };
        if to > self.width {
            let (file, last) = (self.file, self.width - 1);
            return Err(Error::request(format!(
                "{what} {part}: {file} has columns 0 to {last}; pass some of them, as 0..{}",
                self.width
            )));
        }
        Ok(from..to)
    }

    /// That of one column.
    pub(super) fn position(&self, part: &Part, what: &str) -> Result<usize> {
        Ok(self.range(part, what)?.start)
    }
}

impl Columns {
    /// Not yet of any file.
    pub fn asked(asked: Asked) -> Option<Columns> {
        (asked != Asked::default()).then(|| Columns { asked: Some(asked), ..Columns::default() })
    }

    /// Whether those of a model, which are all of its data.
    pub fn are_all(&self) -> bool {
        self.taken.is_empty() && self.asked.is_none()
    }

    /// What a model keeps of them, once they were taken from a file: nothing where they are all, and have no names.
    pub fn kept(&self) -> Option<Columns> {
        (*self != Columns::default()).then(|| self.clone())
    }

    /// Whether a model knows them: else a file is the first, and what it may have meant otherwise is asked.
    pub(super) fn are_known(&self) -> bool {
        self.asked.is_none()
    }

    /// Whether the first column is left out for the names of the rows, and not because it was asked for.
    ///
    /// # Errors
    /// Columns that are not there.
    pub(super) fn leave_out_row_names(&self, there: &There) -> Result<bool> {
        let Some(Asked { take, skip, .. }) = &self.asked else { return Ok(there.rows_named && self.are_all()) };
        let skipped = skip.as_ref().map(|list| there.listed(list, "skip-columns")).transpose()?;
        let is_class = self.class_column(there)? == Some(0);
        Ok(there.rows_named && take.is_none() && !is_class && !skipped.is_some_and(|skipped| skipped[0]))
    }

    /// What a model keeps of these, once they are at these positions: of all, their names alone.
    pub(super) fn taken_from(&self, there: &There, positions: &[usize]) -> Columns {
        let found = Columns::of(there, positions);
        if self.are_all() { Columns { names: found.names, ..Columns::default() } } else { found }
    }

    /// Whether only a file with names can tell which they are.
    pub(super) fn by_name(&self) -> bool {
        let lists = self.asked.iter().flat_map(|asked| [&asked.take, &asked.skip, &asked.last]).flatten();
        let classes = self.asked.iter().flat_map(|asked| &asked.classes).map(|Column(part)| part);
        lists.flat_map(|list| &list.0).chain(classes).any(|part| part.name().is_some())
    }

    /// Where in the file they are, in the order in which they shall come.
    ///
    /// # Errors
    /// Columns that are not there.
    pub(super) fn positions(&self, there: &There) -> Result<Vec<usize>> {
        if let Some(asked) = &self.asked {
            let take = asked.take.as_ref().map(|list| there.listed(list, "columns")).transpose()?;
            let skip = asked.skip.as_ref().map(|list| there.listed(list, "skip-columns")).transpose()?;
            let taken = |j: &usize| match &take {
                Some(take) => take[*j],
                None => there.all().contains(j),
            };
            let class = self.class_column(there)?;
            let left_out = |j: usize| skip.as_ref().is_some_and(|s| s[j]) || class == Some(j);
            let left: Vec<usize> = (0..there.width).filter(taken).filter(|&j| !left_out(j)).collect();
            return match left.is_empty() {
                true => Err(Error::request(format!(
                    "{}: none of the {} columns of {} are left; leave some",
                    if skip.is_some() { "skip-columns" } else { "classes" },
                    there.width,
                    there.file
                ))),
                false => last(left, asked.last.as_ref(), there),
            };
        }
        let (own, whole) = (there.all(), there.width == self.of);
        match there.names {
            _ if own.len() == self.or => Ok(own.collect()),
            // The same header, even one that has a name twice.
            Some(names) if names[own.clone()] == self.names => Ok(own.collect()),
            Some(_) if !self.names.is_empty() => {
                let mut seen = HashSet::new();
                if let Some(twice) = self.names.iter().find(|name| !seen.insert(*name)) {
                    let (file, twice) = (there.file, shown(twice));
                    return Err(Error::failed(format!(
                        "{file}: two columns of the model's data have the name {twice}; give data with the same header"
                    )));
                }
                let find =
                    |name: &String| there.find(name, "the model's column").map_err(|e| Error::failed(e.to_string()));
                self.names.iter().map(find).collect()
            }
            _ if self.taken.is_empty() || own.len() == self.count() && !whole => Ok(own.collect()),
            _ if whole => Ok(self.taken.iter().flat_map(|&(from, to)| from..to).collect()),
            _ => Err(Error::failed(format!(
                "{}: an example has {} numbers; must have {}, as the data of the model, or its {} columns alone: give \
                 data of the same columns",
                there.file,
                own.len(),
                self.of,
                self.count()
            ))),
        }
    }

    /// How many were taken.
    pub fn count(&self) -> usize {
        self.taken.iter().map(|(from, to)| to.saturating_sub(*from)).fold(0, usize::saturating_add)
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

    /// How many of the last were asked for as such.
    pub(crate) fn asked_last(&self) -> usize {
        let names = self.asked.iter().flat_map(|asked| &asked.last).flat_map(|list| &list.0);
        names.filter_map(Part::name).collect::<HashSet<_>>().len()
    }

    /// Whether they come as they stand in the file.
    pub(crate) fn are_in_order(&self) -> bool {
        self.taken.is_sorted()
    }

    /// As `--columns` takes them.
    pub fn list(&self) -> String {
        self.taken.iter().map(|&(from, to)| Part::Range(from, to).to_string()).collect::<Vec<_>>().join(",")
    }

    /// Column `j` of a data set for a message: its number, and its name where it has one.
    pub fn told(&self, j: usize) -> String {
        match self.names.get(j) {
            Some(name) if !name.is_empty() => format!("column {j} ({:?}, counted from 0)", shown(name)),
            _ => format!("column {j} (counted from 0)"),
        }
    }

    /// # Errors
    /// Ranges that cannot be: a file may say anything.
    pub fn check(&self) -> Result<()> {
        let possible = self.taken.iter().all(|&(from, to)| from < to && to <= self.of);
        let named = self.names.is_empty() || self.taken.is_empty() || self.names.len() == self.count();
        self.classes.as_ref().map_or(Ok(()), |classes| classes.check(self.of))?;
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
        let names = Some(&self.columns.names[..]).filter(|names| names.len() == self.cols);
        let there = There { file: &self.name, width: self.cols, rows_named: false, names };
        let positions = columns.positions(&there)?;
        let mut taken = columns.taken_from(&there, &positions);
        if let Some(at) = columns.class_column(&there)? {
            let (labels, classes) = self.classes_in(at, &there, columns.classes.as_ref())?;
            (self.labels, taken.classes) = (labels, Some(classes));
        }
        if positions.iter().copied().ne(0..self.cols) {
            match &mut self.values {
                Values::Bytes(v) => keep(v, self.cols, &positions),
                Values::Reals(v) => keep(v, self.cols, &positions),
            }
            self.shape = None;
            self.keep_coarse(&positions);
        }
        Ok(Dataset { cols: positions.len(), columns: taken, ..self })
    }

    /// Which columns f32 does not tell apart, now that these are left, in this order.
    pub(super) fn keep_coarse(&mut self, positions: &[usize]) {
        let coarse = std::mem::take(&mut self.coarse);
        self.coarse = (0..positions.len()).filter(|&j| coarse.contains(&positions[j])).collect();
    }
}

/// Those of the list behind the others.
fn last(left: Vec<usize>, list: Option<&List>, there: &There) -> Result<Vec<usize>> {
    let Some(list) = list else { return Ok(left) };
    let no_file = |e: Error| Error::request(e.to_string().replacen(": ", ": is no file, and ", 1));
    let is_last = there.listed(list, "condition").map_err(no_file)?;
    if let Some(away) = (0..there.width).find(|j| is_last[*j] && !left.contains(j)) {
        let away = there.title(away).map_or(away.to_string(), shown);
        return Err(Error::request(format!(
            "condition {away}: --columns, --skip-columns or --classes leave this column out; name one of the others"
        )));
    }
    let (last, mut first): (Vec<usize>, Vec<usize>) = left.into_iter().partition(|&j| is_last[j]);
    first.extend(last);
    Ok(first)
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

/// The name that was meant, if one is near: by the fewest letters to change, whatever their case.
fn nearest<'a>(name: &str, names: &'a [String]) -> Option<&'a str> {
    const LONGEST: usize = 64; // of names that are compared
    let letters = |s: &str| s.to_lowercase().chars().take(LONGEST).collect::<Vec<_>>();
    let asked = letters(name);
    let near = names.iter().filter(|n| n.len() <= LONGEST).map(|n| (changes(&asked, &letters(n)), n));
    let (changes, near) = near.min_by_key(|(changes, _)| *changes)?;
    (changes <= (asked.len() / 3).max(1)).then_some(near)
}

/// Letters to insert, leave out or replace (Levenshtein 1966).
fn changes(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut before = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = before + (x != y) as usize;
            before = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(before + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_the_one_with_a_typing_error() {
        let names = ["age", "height", "weight", "Größe"].map(String::from);
        for (typed, meant) in [("hieght", Some("height")), ("AGE", Some("age")), ("größe", Some("Größe")), ("id", None)]
        {
            assert_eq!(nearest(typed, &names), meant, "{typed}");
        }
        let letters = |s: &str| s.chars().collect::<Vec<_>>();
        assert_eq!(changes(&letters("kitten"), &letters("sitting")), 3);
        assert_eq!(changes(&letters(""), &letters("abc")), 3);
    }

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
