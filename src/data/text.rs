//! The text of a table, read a second time: to be written beside what came of its rows, as it stands there, to the digit.
//! In UTF-8; and beside other columns, those that are learned as numbers with points for decimal commas, as they are written.
use super::asked::List;
use super::csv::Opened;
use super::read::{is_text, open_file};
use super::rows::{Dress, Row};
use super::source::Source;
use super::there::There;
use super::to_csv::Front;
use super::{Columns, decimals, named, pictures, row_names, rows_held_out};
use crate::{Error, Result};
use csv::ByteRecord;
use std::borrow::Cow;
use std::collections::HashSet;
use std::ffi::OsString;
use std::path::Path;

/// Which columns of a table are wanted as text.
#[derive(Clone, Copy, Debug)]
pub enum Keep<'a> {
    /// The first, where it names the rows: it is not learned, nor of classes, and no name comes again and again. Of a folder of
    /// pictures, the names of their files.
    RowNames,
    Listed(&'a List),
    /// To be written in its own way, with what separates its cells and its marks.
    All,
}

/// How a column writes its numbers.
pub(super) enum Way {
    /// As it is.
    Point,
    Comma,
    /// 0 and 1 in these words; what lies between as a number.
    Truth([String; 2]),
}

impl Way {
    /// A number in as few digits as tell it from others.
    pub fn write(&self, number: String) -> String {
        match (self, number.as_str()) {
            (Way::Truth([no, _]), "0") => no.clone(),
            (Way::Truth([_, yes]), "1") => yes.clone(),
            (Way::Comma, _) => number.replace('.', ","),
            _ => number,
        }
    }
}

/// Some columns of a table, as text.
#[derive(Clone, Debug, PartialEq)]
pub struct Text {
    /// What those are called that are kept; none where the file has no header.
    pub titles: Option<Vec<String>>,
    /// Where in the file they stand.
    pub kept: Vec<usize>,
    /// Where in the file the columns of the data stand: a column of words is one of them.
    pub taken: Vec<usize>,
    /// Of each example those that are kept.
    pub rows: Vec<ByteRecord>,
    /// What separates cells in the file.
    pub delimiter: u8,
    /// How it begins, and ends its lines.
    pub(super) dress: Dress,
}

impl Text {
    /// The text of the first `count` rows of a file that was read as `columns`. None of what is no text, or comes through a pipe and
    /// is gone.
    ///
    /// # Errors
    /// A file that cannot be read any more, or has fewer rows now; columns to keep that are not there.
    pub fn read(path: &Path, columns: &Columns, keep: Keep, count: usize) -> Result<Option<Text>> {
        match Text::of_first(path, columns, keep, count)? {
            Some(text) if !text.kept.is_empty() && text.rows.len() < count => Err(fewer(path)),
            text => Ok(text),
        }
    }

    /// The same of the first `count` rows of those that [`Dataset::split`](super::Dataset::split) holds out.
    ///
    /// # Errors
    /// As [`Text::read`].
    pub fn held_out(
        path: &Path,
        columns: &Columns,
        keep: Keep,
        (fraction, count): (f64, usize),
    ) -> Result<Option<Text>> {
        let Some(text) = Text::of_first(path, columns, keep, usize::MAX)? else { return Ok(None) };
        let held = rows_held_out(text.rows.len(), fraction).into_iter().take(count);
        let rows: Vec<ByteRecord> = held.map(|i| text.rows[i].clone()).collect();
        match !text.kept.is_empty() && rows.len() < count {
            true => Err(fewer(path)),
            false => Ok(Some(Text { rows, ..text })),
        }
    }

    /// The same of as many as there are, `count` at most.
    fn of_first(path: &Path, columns: &Columns, keep: Keep, count: usize) -> Result<Option<Text>> {
        if let (true, Keep::RowNames) = (path.is_dir(), keep) {
            return Text::of_folder(path, count).map(Some);
        }
        let (path, array) = named::split(path);
        if array.is_some() || !path.is_file() {
            return Ok(None);
        }
        let (name, file, length) = open_file(&path)?;
        let source = Source::new(name, file, length)?;
        if !is_text(&source.head) {
            return Ok(None);
        }
        let opened = Opened::new(source, Some(columns))?;
        let there = opened.there();
        let taken = columns.positions(&there)?;
        let class = columns.class_column(&there)?;
        let mut kept = match keep {
            Keep::RowNames => (0..(there.rows_named && !taken.contains(&0) && class != Some(0)) as usize).collect(),
            Keep::Listed(list) => there.places(list, "keep")?,
            Keep::All => (0..there.width).collect::<Vec<usize>>(),
        };
        let words = columns.of_words(&there, &taken)?;
        let numbers: HashSet<usize> = taken.iter().copied().filter(|at| !words.contains(at)).collect();
        let (names, delimiter) = (opened.names.clone(), opened.rows.delimiter);
        let dress = opened.rows.dress.clone();
        let rows = opened.into_rows().take(if kept.is_empty() { 0 } else { count });
        let part = |row: Result<Row>| {
            let row = row?;
            let cell = |&j: &usize| {
                let cell = row.cells.get(j).unwrap_or_default();
                let plain = numbers.contains(&j) && !matches!(keep, Keep::All);
                if plain { decimals::plain(cell) } else { Cow::Borrowed(cell) }
            };
            Ok(kept.iter().map(cell).collect::<ByteRecord>())
        };
        let mut rows = rows.map(part).collect::<Result<Vec<ByteRecord>>>()?;
        if matches!(keep, Keep::RowNames) && !row_names::are_names(rows.iter().map(|row| &row[0])) {
            (kept, rows) = (vec![], vec![]);
        }
        let titles = names.map(|names| kept.iter().map(|&j| names[j].clone()).collect());
        Ok(Some(Text { titles, kept, taken, rows, delimiter, dress }))
    }

    /// The names of the first `count` pictures of a folder.
    fn of_folder(path: &Path, count: usize) -> Result<Text> {
        let names = pictures::names(path)?;
        let row = |name: &OsString| ByteRecord::from(vec![name.to_string_lossy().as_bytes()]);
        let rows: Vec<ByteRecord> = names.iter().take(count).map(row).collect();
        Ok(Text {
            titles: Some(vec!["file".into()]),
            kept: vec![0],
            taken: vec![],
            rows,
            delimiter: b',',
            dress: Dress::default(),
        })
    }

    /// How the column at `j` writes its numbers.
    pub(super) fn way_of(&self, j: usize) -> Way {
        let cells = || self.rows.iter().map(|row| &row[j]);
        let find = |value: &[u8]| cells().find(|cell| cell.eq_ignore_ascii_case(value));
        let owned = |cell: &[u8]| String::from_utf8_lossy(cell).into_owned();
        match (find(b"false"), find(b"true")) {
            (None, None) if self.delimiter != b',' && cells().any(decimals::has_decimal_comma) => Way::Comma,
            (None, None) => Way::Point,
            (no, yes) => Way::Truth([owned(no.unwrap_or(b"False")), owned(yes.unwrap_or(b"True"))]),
        }
    }

    /// In front of a table that has so many rows for each of its own.
    pub fn front(self, times: usize) -> Front {
        let titles = self.titles.unwrap_or(vec![String::new(); self.kept.len()]);
        Front { titles, rows: self.rows, times }
    }
}

fn fewer(path: &Path) -> Error {
    let file = path.display();
    Error::failed(format!("{file}: has fewer rows than a moment ago; leave it as it is, and try again"))
}

impl There<'_> {
    /// Where the columns of a list stand, in the order of the file.
    fn places(&self, list: &List, what: &str) -> Result<Vec<usize>> {
        let listed = self.listed(list, what)?;
        Ok((0..self.width).filter(|&j| listed[j]).collect())
    }
}
