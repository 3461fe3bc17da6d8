//! The first column of a table, where it is left out as the names of the rows: whether its cells can be names. Words that are
//! no names would else be lost in silence.
use std::collections::HashSet;

use super::csv::shown;
use super::decimals::{has_commas_of_thousands, has_decimal_comma};
use crate::{Error, Result};

/// Rows that are looked at for names that come again: what is kept of them is bounded.
const LOOKED: usize = 1000;
/// Fewer rows say nothing about names that come again.
const FEWEST: usize = 4;

/// What was seen of it so far.
#[derive(Default)]
pub(super) struct RowNames {
    rows: usize,
    different: HashSet<Vec<u8>>,
}

/// Why a cell is no name.
pub(super) enum Why {
    /// A number with a decimal comma: it was meant to be learned.
    Value,
    Comment,
}

impl RowNames {
    /// The name of the next row, or why it is none.
    pub fn add(&mut self, name: &[u8]) -> Option<Why> {
        if self.rows < LOOKED {
            self.rows += 1;
            self.different.insert(name.to_vec());
        }
        match name {
            _ if has_decimal_comma(name) || has_commas_of_thousands(name) => Some(Why::Value),
            [b'#', b' ' | b'\t', ..] => Some(Why::Comment),
            _ => None,
        }
    }

    /// Of a column of `file` called `title`, which as an option of `train` is `skipped`; `takes_words`: it could be learned.
    ///
    /// # Errors
    /// Names that come twice or more on average name no rows.
    pub fn check(&self, file: &str, title: Option<&str>, skipped: &str, takes_words: bool) -> Result<()> {
        let Some((rows, different)) = self.come_again() else { return Ok(()) };
        let title = title.map_or(String::new(), |title| format!(" ({})", shown(title.as_bytes())));
        let remedy = match takes_words {
            true => format!(
                "train with --categorical {skipped}, with --classes {skipped} if it is the class of an example, or with \
                 --skip-columns {skipped}"
            ),
            false => format!("leave a column of words out by --skip-columns {skipped}"),
        };
        Err(Error::failed(format!(
            "column 1{title} of {file} has words that come again, {different} different ones in {rows} rows: names of rows \
             differ; {remedy}"
        )))
    }

    /// The same of numbers, above which the header on this line has no title.
    ///
    /// # Errors
    /// As above.
    pub fn check_untitled(&self, file: &str, line: u64) -> Result<()> {
        let Some((rows, different)) = self.come_again() else { return Ok(()) };
        Err(Error::failed(format!(
            "line {line} of {file} has a title less than there are columns, so that the first would be names of rows; but it has \
             {different} different numbers in {rows} rows: give each column a title, or delete the line if it is a comment"
        )))
    }

    /// How many rows there are, and how many different names, where these come twice or more on average.
    fn come_again(&self) -> Option<(usize, usize)> {
        let (rows, different) = (self.rows, self.different.len());
        (rows >= FEWEST && 2 * different <= rows).then_some((rows, different))
    }
}

/// Whether these can be the names of rows, as [`RowNames::check`] has it.
pub(super) fn are_names<'a>(cells: impl Iterator<Item = &'a [u8]>) -> bool {
    let mut names = RowNames::default();
    cells.for_each(|cell| _ = names.add(cell));
    names.check("", None, "", true).is_ok()
}

/// The line about one whose words come again, in a later file of a model.
pub(super) fn repeated(file: &str, title: Option<&str>) -> String {
    let (title, keep) = (title.map(|title| shown(title.as_bytes())), title.unwrap_or("0"));
    let title = title.map_or(String::new(), |title| format!(" ({title})"));
    format!(
        "{file}: first column{title} left out, and no names of rows, for its words come again; --keep {keep} writes it beside"
    )
}

/// The line about it.
pub(super) fn note(file: &str, title: Option<&str>) -> String {
    let title = title.map_or(String::new(), |title| format!(" ({})", shown(title.as_bytes())));
    format!("{file}: first column{title} taken as names of the rows")
}
