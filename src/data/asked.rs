//! Columns as a user asks for them. They come in the order of the file and once, however they were
//! asked for; but those that a model is told come last. Positions are of the file, whatever asks for them.
use super::header::Header;
use super::named::shown;
use super::names::Names;
use super::there::There;
use crate::likelihood::{Likelihood, name_of};
use crate::{Error, Result};
use std::fmt;
use std::str::FromStr;

pub(super) const CONDITION: &str = "condition";

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
    /// What the columns are called, of data that have no place for it.
    pub names: Option<Names>,
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
pub struct List(pub(super) Vec<Part>);

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
