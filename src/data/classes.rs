//! The column of a table that is no part of x but says of what class each example is, in words or in numbers: it becomes the
//! labels of the data.
use super::csv::shown;
use super::dictionary::{self, Dictionary, plain};
use super::there::There;
use super::{Columns, Dataset, Values, named};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// As many as a label, which is a byte, tells apart.
pub(super) const MOST: usize = 256;

/// Where the classes of a file stand, and which there are. A model knows them of its data; those of a later file which it does
/// not know come behind them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Classes {
    /// The column, counted from 0 in the file.
    pub at: usize,
    /// Its name; empty where the file has none for it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// As the file writes them, of numbers the shortest way: numbers by their size, words by the alphabet. A label is a
    /// place among them.
    pub words: Vec<String>,
    /// They are those of a file of labels: the data have no such column.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub apart: bool,
    /// Of a file of which not every example has one: the first that has none.
    #[serde(skip)]
    pub none: Option<String>,
}

/// Of line or row so and so.
pub(super) fn no_class(place: &str, file: &str, column: &str) -> String {
    format!("{place} of {file} has no class in column {column}: fill the cell, or leave the example out")
}

impl Classes {
    /// Of data that have the column, why they have no labels.
    pub fn incomplete(&self, file: &str) -> Option<Error> {
        Some(Error::failed(no_class(self.none.as_ref()?, file, &self.told())))
    }

    /// Where a class stands among them.
    pub(super) fn place(&self, word: &str) -> Option<usize> {
        let word = plain(word);
        self.words.iter().position(|known| *known == word)
    }

    /// The label of a class.
    ///
    /// # Errors
    /// None of them.
    pub fn label(&self, word: &str, what: &str) -> Result<usize> {
        self.place(word).ok_or_else(|| {
            Error::request(format!(
                "{what} {}: the model knows {}",
                shown(plain(word).as_bytes()),
                self.list(self.words.len())
            ))
        })
    }

    /// The first `count` of them, for a message.
    pub fn list(&self, count: usize) -> String {
        dictionary::list(&self.words, count)
    }

    /// The column as `--classes` takes it.
    pub fn column(&self) -> String {
        if self.name.is_empty() { self.at.to_string() } else { self.name.clone() }
    }

    /// The column for a message.
    pub fn told(&self) -> String {
        named::shown(&self.column())
    }

    /// Where the column stands in a file, if it is there: by its name, or else in a file of as many columns as the model's. A file of
    /// labels is none of the data.
    pub(super) fn find(&self, there: &There, of: usize) -> Option<usize> {
        if self.apart {
            return None;
        }
        match there.names.filter(|_| !self.name.is_empty()) {
            Some(names) => names.iter().position(|name| *name == self.name),
            None => (there.width == of).then_some(self.at),
        }
    }

    /// # Errors
    /// What cannot be: a file may say anything.
    pub(super) fn check(&self, of: usize) -> Result<()> {
        match (self.apart || self.at < of) && (1..=MOST).contains(&self.words.len()) {
            true => Ok(()),
            false => Err(Error::failed("classes: those of its data cannot be; it is damaged")),
        }
    }
}

/// The classes of examples as they come.
pub(super) struct Labels<'a> {
    file: &'a str,
    classes: Classes,
    dictionary: Dictionary,
    labels: Vec<u8>,
}

impl<'a> Labels<'a> {
    /// Of column `at`. `known`: those of a model.
    pub fn new(there: &There<'a>, at: usize, known: Option<&Classes>) -> Self {
        let words = known.map_or(vec![], |known| known.words.clone());
        let name = there.title(at).unwrap_or_default().to_string();
        let dictionary = Dictionary::beginning_with(words, MOST);
        Labels { file: there.file, classes: Classes { at, name, ..Classes::default() }, dictionary, labels: vec![] }
    }

    /// # Errors
    /// More classes than can be; none, where a model does not know them yet: of a later file it may not need them.
    pub fn add(&mut self, line: impl FnOnce() -> String, word: &str) -> Result<()> {
        if word.is_empty() && self.dictionary.is_known() {
            self.classes.none.get_or_insert_with(line);
            return Ok(());
        }
        let (file, column) = (self.file, || self.classes.told());
        if word.is_empty() {
            let (line, column) = (line(), column());
            return Err(Error::failed(no_class(&line, file, &column)));
        }
        match self.dictionary.place(word) {
            Some(label) => self.labels.push(label as u8),
            None => {
                return Err(Error::failed(format!(
                    "classes {}: {file} has more than {MOST} different values there; must be a column of classes, of which each \
                     has many examples",
                    column()
                )));
            }
        }
        Ok(())
    }

    /// The label of each example, if each has one, and what they stand for, which is sorted where a model does not know it yet.
    pub fn found(mut self) -> (Option<Vec<u8>>, Classes) {
        let (places, words) = self.dictionary.sorted();
        self.labels.iter_mut().for_each(|label| *label = places[*label as usize] as u8);
        (self.classes.none.is_none().then_some(self.labels), Classes { words, ..self.classes })
    }
}

impl Dataset {
    /// The class of each example, from a column of an array of numbers.
    ///
    /// # Errors
    /// Bytes; a number that is missing.
    pub(super) fn classes_in(
        &self,
        at: usize,
        there: &There,
        known: Option<&Classes>,
    ) -> Result<(Option<Vec<u8>>, Classes)> {
        let name = &self.name;
        if let Values::Bytes(_) = &self.values {
            return Err(Error::request(format!(
                "classes {at}: {name} is of bytes; classes are a column of a csv, or of an array of other numbers"
            )));
        }
        let mut labels = Labels::new(there, at, known);
        for i in 0..self.rows() {
            let mut class = [0.0];
            self.part(i, at..at + 1, &mut class);
            let word = if class[0].is_nan() { String::new() } else { class[0].to_string() };
            labels.add(|| format!("row {i}"), &word)?;
        }
        Ok(labels.found())
    }

    /// What a label stands for, for a message.
    pub(super) fn class_told(&self, label: u8, known: usize) -> (String, String) {
        let named = self.columns.classes.as_ref();
        match named.and_then(|classes| Some((classes, classes.words.get(label as usize)?))) {
            Some((classes, word)) => (shown(word.as_bytes()), classes.list(known)),
            None => (label.to_string(), format!("0 to {}", known - 1)),
        }
    }
}

impl Columns {
    /// Where in a file the classes stand, if any are asked for or known.
    ///
    /// # Errors
    /// A column that is not there.
    pub(super) fn class_column(&self, there: &There) -> Result<Option<usize>> {
        match &self.asked {
            Some(asked) => asked.class(there),
            None => Ok(self.classes.as_ref().and_then(|classes| classes.find(there, self.of))),
        }
    }
}
