//! What columns a file has, and where those are that somebody asks for.
use super::asked::{CONDITION, List, Part};
use super::named::shown;
use crate::{Error, Result};
use std::collections::{HashMap, HashSet};

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

    /// The position of a name, or why it has none.
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
                let twice = if or.is_empty() { "pass a position" } else { "give each a name of its own" };
                Err(format!("columns {one} and {other} of {file} have this name; {twice}"))
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
    pub(super) fn listed_of(&self, list: &List, what: &str, is_left: &[bool]) -> Result<Vec<bool>> {
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
    pub(super) fn range(&self, part: &Part, what: &str) -> Result<std::ops::Range<usize>> {
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
