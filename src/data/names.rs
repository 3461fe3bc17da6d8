//! The names of the columns of data that have no place for them, arrays and sparse matrices, from a file beside them.
use std::path::Path;

use super::csv::Opened;
use super::read::open_file;
use super::source::Source;
use super::{Columns, Header};
use crate::{Error, Result};

/// Names of columns, in order, maybe below a title.
#[derive(Clone, Debug, PartialEq)]
pub struct Names {
    file: String,
    all: Vec<String>,
}

impl Names {
    /// One a line; of a line with several cells the first, as in the `features.tsv` of single cells.
    ///
    /// # Errors
    /// A file that cannot be read, or is no text; a line without a name.
    pub fn read(path: &Path) -> Result<Names> {
        let (file, bytes, length) = open_file(path)?;
        let source = Source::new(file.clone(), bytes, length)?;
        let opened = Opened::new(source, Some(&Columns { header: Header::No, again: true, ..Columns::default() }))?;
        let mut all = vec![];
        for row in opened.into_rows() {
            let row = row?;
            match row.cells.get(0).filter(|cell| !cell.is_empty()) {
                Some(name) => all.push(String::from_utf8_lossy(name).into_owned()),
                None => {
                    return Err(Error::failed(format!("line {} of {file} has no name of a column in front", row.line)));
                }
            }
        }
        Ok(Names { file, all })
    }

    /// Those of the `cols` columns of `data`.
    ///
    /// # Errors
    /// More or fewer: one more, the first, is the title.
    pub(super) fn of(&self, cols: usize, data: &str) -> Result<&[String]> {
        let Names { file, all } = self;
        match all.len() {
            n if n == cols => Ok(all),
            n if n == cols + 1 => Ok(&all[1..]),
            n => Err(Error::request(format!(
                "names {file}: has {n} names, and {data} {cols} columns; give one a line, in the order of the columns"
            ))),
        }
    }

    /// That `data`, a text, takes none.
    pub(super) fn refused_by(&self, data: &str) -> Error {
        let file = &self.file;
        Error::request(format!(
            "names {file}: {data} is text, whose first line names its columns; leave it out, or write them there"
        ))
    }
}
