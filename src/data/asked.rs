//! Columns as a user asks for them, and where a file has them. They come in the order of the file and once, however they were
//! asked for; but those that a model is told come last. Positions are of the file, whatever asks for them.
use super::header::Header;
use super::named::shown;
use crate::likelihood::{Likelihood, name_of};
use crate::{Error, Result};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::str::FromStr;

const CONDITION: &str = "condition";

/// Columns as a user names them: all of `take` but those of `skip`, those that are told behind the others; the one that holds
/// classes; and those that have a likelihood of their own.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Asked {
    pub take: Option<List>,
    pub skip: Option<List>,
    pub told: Option<Told>,
    pub classes: Option<Column>,
    pub likelihoods: Vec<(Likelihood, List)>,
    /// Whether all others are categorical.
    pub words: bool,
    /// Whether the first line of the text is the names of its columns.
    pub header: Header,
}

/// What a model is told beside x, and what it then learns.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// These columns, beside all others.
    Condition(List),
    /// The past, and of all others the future alone.
    Past(List, List),
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
            _ => Ok(Column(quoted(s).unwrap_or(Part::Name(s.into())))),
        }
    }
}

/// `0..784`, positions and names, separated by commas. A number is a position, whatever the columns are called; in quotes, as in a
/// csv, anything is a name.
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
        let part = |s: &str| quoted(s.trim()).map_or_else(|| part(s.trim()), Ok);
        Ok(List(parts(s).into_iter().map(part).collect::<std::result::Result<_, _>>()?))
    }
}

/// The name that stands in quotes.
fn quoted(s: &str) -> Option<Part> {
    let name = s.strip_prefix('"')?.strip_suffix('"').filter(|name| !name.is_empty())?;
    Some(Part::Name(name.replace("\"\"", "\"")))
}

/// What commas separate that stand in no quotes.
pub(crate) fn parts(s: &str) -> Vec<&str> {
    let mut quoted = false;
    s.split(|c| {
        quoted ^= c == '"';
        c == ',' && !quoted
    })
    .collect()
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
    /// Of columns at these positions, in order.
    pub(crate) fn at(positions: &[usize]) -> List {
        let mut parts: Vec<Part> = vec![];
        for &at in positions {
            match parts.last_mut() {
                Some(Part::Range(_, to)) if *to == at => *to += 1,
                _ => parts.push(Part::Range(at, at + 1)),
            }
        }
        List(parts)
    }

    /// Whether it is of names alone.
    pub(crate) fn is_of_names(&self) -> bool {
        self.0.iter().all(|part| part.name().is_some())
    }
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let parts: Vec<String> = self.0.iter().map(Part::to_string).collect();
        write!(f, "{}", parts.join(","))
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
    pub(super) fn all(&self) -> std::ops::Range<usize> {
        self.rows_named as usize..self.width
    }

    /// What column `j` is called, if it has a name.
    pub fn title(&self, j: usize) -> Option<&str> {
        self.names.map(|names| names[j].as_str()).filter(|title| !title.is_empty())
    }

    /// The position of a name.
    pub(super) fn find(&self, name: &str, what: &str) -> Result<usize> {
        self.find_or(name, what, "")
    }

    /// The same. `or`: what else helps where no column has a name like it.
    pub(super) fn find_or(&self, name: &str, what: &str, or: &str) -> Result<usize> {
        self.at(name, or).map_err(|why| Error::request(format!("{what} {}: {why}", shown(name))))
    }

    /// The positions of many names: to look for each from the first on would take a minute of a hundred thousand.
    pub(super) fn find_all(&self, names: &[String], what: &str, or: &str) -> Result<Vec<usize>> {
        let mut known: HashMap<&str, Option<usize>> = HashMap::new();
        for (at, name) in self.names.unwrap_or_default().iter().enumerate() {
            known.entry(name).and_modify(|twice| *twice = None).or_insert(Some(at));
        }
        let find = |name: &String| match known.get(name.as_str()) {
            Some(&Some(at)) => Ok(at),
            _ => self.find_or(name, what, or),
        };
        names.iter().map(find).collect()
    }

    /// Whether it has all of these names.
    pub(super) fn has_all(&self, names: &[String]) -> bool {
        let there: HashSet<&String> = self.names.unwrap_or_default().iter().collect();
        names.iter().all(|name| there.contains(name))
    }

    /// The same, or why it has none.
    fn at(&self, name: &str, or: &str) -> std::result::Result<usize, String> {
        let file = self.file;
        let Some(names) = self.names else {
            return Err(format!(
                "{file} has no names for its columns; pass positions, counted from 0, as 0..{}",
                self.width
            ));
        };
        let mut found = names.iter().enumerate().filter(|(_, n)| *n == name);
        match (found.next(), found.next()) {
            (Some((at, _)), None) => Ok(at),
            (Some((one, _)), Some((other, _))) => {
                Err(format!("columns {one} and {other} of {file} have this name; pass a position"))
            }
            (None, _) => {
                let remedy = match nearest(name, names) {
                    Some(near) => format!("did you mean {}?", shown(near)),
                    None => {
                        let some: Vec<String> = names.iter().take(8).map(|n| shown(n)).collect();
                        let more = if names.len() > 8 { ", ..." } else { "" };
                        format!("it has {}{more}{or}", some.join(", "))
                    }
                };
                Err(format!("{file} has no column of this name; {remedy}"))
            }
        }
    }

    /// The columns of a list, in the order of the file.
    pub(super) fn listed(&self, list: &List, what: &str) -> Result<Vec<bool>> {
        let mut is_listed = vec![false; self.width];
        for part in &list.0 {
            is_listed[self.range(part, what)?].fill(true);
        }
        Ok(is_listed)
    }

    /// The same of those that are left to choose from.
    fn listed_of(&self, list: &List, what: &str, is_left: &[bool]) -> Result<Vec<bool>> {
        let mut is_listed = vec![false; self.width];
        for part in &list.0 {
            let wrong = |why: &str| Error::request(format!("{what} {part}: {why}"));
            let range = match part {
                // It may be meant for a file of labels.
                Part::Name(name) if what == CONDITION => {
                    let at = self.at(name, "").map_err(|why| wrong(&format!("is no file, and {why}")))?;
                    at..at + 1
                }
                _ => self.range(part, what)?,
            };
            let left_out = range.clone().find(|&at| !is_left[at]);
            match left_out {
                Some(0) if self.rows_named => {
                    return Err(wrong("column 0 holds the names of the rows, of which no model is told; begin at 1"));
                }
                Some(_) => {
                    let why = "--columns, --skip-columns or --classes leave this column out; name one of the others";
                    return Err(wrong(why));
                }
                None => is_listed[range].fill(true),
            }
        }
        Ok(is_listed)
    }

    fn is_name(&self, name: &str) -> bool {
        self.names.is_some_and(|names| names.iter().any(|n| n == name))
    }

    /// The positions of a part of a list.
    fn range(&self, part: &Part, what: &str) -> Result<std::ops::Range<usize>> {
        let (from, to) = match part {
            // Where there is no such position it may be a name, as a year.
            Part::Range(from, to) if *from >= self.width && *to == from + 1 && self.is_name(&from.to_string()) => {
                let at = self.find(&from.to_string(), what)?;
                (at, at + 1)
            }
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
}

impl Asked {
    /// Where in the file they are, in the order in which they shall come.
    ///
    /// # Errors
    /// Columns that are not there, or none that are left.
    pub(super) fn positions(&self, there: &There) -> Result<Vec<usize>> {
        let take = self.take.as_ref().map(|list| there.listed(list, "columns")).transpose()?;
        let skip = self.skip.as_ref().map(|list| there.listed(list, "skip-columns")).transpose()?;
        let class = self.class(there)?;
        let taken = |j: &usize| match &take {
            Some(take) => take[*j],
            None => there.all().contains(j),
        };
        let left_out = |j: usize| skip.as_ref().is_some_and(|s| s[j]) || class == Some(j);
        let left: Vec<usize> = (0..there.width).filter(taken).filter(|&j| !left_out(j)).collect();
        match left.is_empty() {
            true => Err(Error::request(format!(
                "{}: none of the {} columns of {} are left; leave some",
                if skip.is_some() { "skip-columns" } else { "classes" },
                there.width,
                there.file
            ))),
            false => self.told_last(left, there),
        }
    }

    /// Of the columns that are left those that a model is told behind the others, or behind the future.
    fn told_last(&self, left: Vec<usize>, there: &There) -> Result<Vec<usize>> {
        let Some(told_by) = &self.told else { return Ok(left) };
        let mut is_left = vec![false; there.width];
        left.iter().for_each(|&at| is_left[at] = true);
        let is_told = there.listed_of(told_by.list(), told_by.option(), &is_left)?;
        if let Told::Past(past, future) = told_by {
            is_left = there.listed_of(future, "future", &is_left)?;
            if let Some(at) = (0..there.width).find(|&at| is_left[at] && is_told[at]) {
                return Err(Error::request(format!(
                    "past {past}: has column {at} (counted from 0), as --future {future} does; name it in one of them"
                )));
            }
        }
        let (told, first): (Vec<usize>, Vec<usize>) = left.into_iter().partition(|&at| is_told[at]);
        let learned: Vec<usize> = first.into_iter().filter(|&at| is_left[at]).collect();
        match learned.is_empty() {
            true => Err(Error::request(format!(
                "{} {}: none of the {} columns of {} is left to be learned; name fewer",
                told_by.option(),
                told_by.list(),
                told.len(),
                there.file
            ))),
            false => Ok([learned, told].concat()),
        }
    }

    /// Where the classes are, if they are asked for.
    pub(super) fn class(&self, there: &There) -> Result<Option<usize>> {
        self.classes.as_ref().map(|Column(part)| Ok(there.range(part, "classes")?.start)).transpose()
    }

    /// The likelihood of its own that each of the columns at `positions` has, if one has any; of those that are told, words alone.
    ///
    /// # Errors
    /// Columns that are not there, or not learned; one with two likelihoods.
    pub(super) fn likelihoods(&self, there: &There, positions: &[usize]) -> Result<Vec<Option<Likelihood>>> {
        let is_told = self.told.as_ref().map(|told| there.listed(told.list(), told.option())).transpose()?;
        let is_told = |at: usize| is_told.as_ref().is_some_and(|told| told[at]);
        let mut is_taken = vec![false; there.width];
        positions.iter().for_each(|&at| is_taken[at] = true);
        let mut all = vec![None; there.width];
        for (likelihood, list) in &self.likelihoods {
            let what = name_of(*likelihood);
            // What is told has no likelihood; but words are a column each also there.
            let has = |at: usize| is_taken[at] && (*likelihood == Likelihood::Categorical || !is_told(at));
            for part in &list.0 {
                let mut range = there.range(part, &what)?.filter(|&at| has(at)).peekable();
                if range.peek().is_none() && there.rows_named && !is_taken[0] && there.range(part, &what)?.contains(&0)
                {
                    return Err(Error::request(format!(
                        "{what} {part}: the first column of {} is taken as names of the rows, for it is of words; name columns that \
                         are learned, or of words --categorical {part}",
                        there.file
                    )));
                }
                if range.peek().is_none() {
                    return Err(Error::request(format!(
                        "{what} {part}: is left out, or told to the model; name columns that are learned"
                    )));
                }
                for at in range {
                    if let Some(other) = all[at].replace(*likelihood).filter(|other| other != likelihood) {
                        return Err(Error::request(format!(
                            "{what} {part}: column {at} (counted from 0) is {} already; name it once",
                            name_of(other)
                        )));
                    }
                }
            }
        }
        if self.words {
            (0..there.width)
                .filter(|&at| is_taken[at] && !is_told(at))
                .for_each(|at| _ = all[at].get_or_insert(Likelihood::Categorical));
        }
        let any = all.iter().any(Option::is_some);
        Ok(if any { positions.iter().map(|&at| all[at]).collect() } else { vec![] })
    }

    /// Whether column `at` of a file is of words. Nothing is said of columns that are not there.
    pub(super) fn is_of_words(&self, there: &There, at: usize) -> bool {
        let lists = self.likelihoods.iter().map(|(likelihood, list)| (*likelihood, there.listed(list, "")));
        let mut own = lists.filter(|(_, listed)| listed.as_ref().is_ok_and(|listed| listed[at])).map(|(l, _)| l);
        // A title that is left out is that of names of rows, if it is the first.
        let has_title = there.names.is_none_or(|names| at > 0 || !names[at].is_empty());
        own.next().map_or(self.words && has_title, |likelihood| likelihood == Likelihood::Categorical)
    }

    /// Whether the first column is left out for the names of the rows, and not because it was asked for.
    pub(super) fn leaves_out_row_names(&self, there: &There) -> Result<bool> {
        let skipped = self.skip.as_ref().map(|list| there.listed(list, "skip-columns")).transpose()?;
        let is_class = self.class(there)? == Some(0);
        Ok(there.rows_named && self.take.is_none() && !is_class && !skipped.is_some_and(|skipped| skipped[0]))
    }

    /// Whether only a file with names can tell which they are.
    pub(super) fn by_name(&self) -> bool {
        let lists = [&self.take, &self.skip].into_iter().flatten().chain(self.told.iter().flat_map(Told::lists));
        let lists = lists.chain(self.likelihoods.iter().map(|(_, list)| list)).flat_map(|list| &list.0);
        lists.chain(self.classes.iter().map(|Column(part)| part)).any(|part| part.name().is_some())
    }
}

impl Told {
    /// What is told.
    pub(super) fn list(&self) -> &List {
        match self {
            Told::Condition(list) | Told::Past(list, _) => list,
        }
    }

    /// The option that says so.
    pub(super) fn option(&self) -> &'static str {
        match self {
            Told::Condition(_) => CONDITION,
            Told::Past(..) => "past",
        }
    }

    fn lists(&self) -> Vec<&List> {
        match self {
            Told::Condition(list) => vec![list],
            Told::Past(past, future) => vec![past, future],
        }
    }
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
}
