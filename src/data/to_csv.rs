//! Writes a table as csv: a header, and a row a line. What [`super::Dataset::read`] gives back, to the bit.
use super::text::{Text, Way};
use csv::{ByteRecord, Terminator};
use std::borrow::Cow;
use std::io::{self, Write};
use std::ops::Range;

/// Columns that are the words of one.
pub struct Of {
    /// Which they are.
    pub columns: Range<usize>,
    /// What that one is called.
    pub name: String,
    pub words: Vec<String>,
}

impl Of {
    /// Which of its words a row has, or is most likely to; none where they are missing.
    pub(crate) fn most_probable(&self, row: &[f32]) -> Option<usize> {
        let columns = &row[self.columns.clone()];
        let largest = (0..columns.len()).reduce(|best, j| if columns[j] > columns[best] { j } else { best });
        largest.filter(|_| !columns[0].is_nan())
    }
}

/// Text in front of rows.
pub struct Front {
    /// What its columns are called.
    pub titles: Vec<String>,
    pub rows: Vec<ByteRecord>,
    /// How many rows of the table each of these belongs to, one after the other.
    pub times: usize,
}

impl Front {
    /// What stands in front of what: of two, both.
    pub(crate) fn joined(front: Option<Front>, behind: Option<Front>) -> Option<Front> {
        let (Some(a), Some(b)) = (&front, &behind) else { return front.or(behind) };
        let row = |i: usize| a.rows[i / a.times].iter().chain(b.rows[i / b.times].iter()).collect();
        let rows = (0..a.rows.len() * a.times).map(row).collect();
        Some(Front { titles: [a.titles.as_slice(), &b.titles].concat(), rows, times: 1 })
    }
}

/// `values` is (rows, as many columns as there are names), row-major; each number in as few digits as tell it from others. In
/// place of the columns of `words`, in order, stands the word whose number is the largest; nothing where they are missing. `front`
/// has a row for each, if there is one.
///
/// # Errors
/// Those of `out`.
///
/// ```
/// let mut file = Vec::new();
/// vae_gpu::data::to_csv::write(&mut file, &["age", "weight, kg"].map(String::from), &[41.0, 70.5], &[], None)?;
/// assert_eq!(file, b"age,\"weight, kg\"\n41,70.5\n");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn write(
    out: &mut impl Write,
    names: &[String],
    values: &[f32],
    words: &[Of],
    front: Option<&Front>,
) -> io::Result<()> {
    let columns = names.len();
    assert!(values.len().is_multiple_of(columns), "rows have a number for each name");
    write_rows(out, titles(names, words), values.chunks(columns).map(|row| texts(row, words)), front)
}

/// What stands above a table of columns of these names.
pub(crate) fn titles(names: &[String], words: &[Of]) -> Vec<String> {
    cells(names.len(), words, |j| names[j].clone(), |of| of.name.clone())
}

/// A header, and rows of text, each behind its `front`.
///
/// # Errors
/// Those of `out`.
pub(crate) fn write_rows(
    out: &mut impl Write,
    titles: Vec<String>,
    rows: impl Iterator<Item = Vec<String>>,
    front: Option<&Front>,
) -> io::Result<()> {
    let mut csv = csv::Writer::from_writer(out);
    let mut line = |front: &ByteRecord, cells: Vec<String>| {
        csv.write_record(front.iter().chain(cells.iter().map(String::as_bytes))).map_err(cause)
    };
    let none = ByteRecord::new();
    line(&front.map_or(none.clone(), |front| front.titles.iter().collect()), titles)?;
    for (i, row) in rows.enumerate() {
        line(front.map_or(&none, |front| &front.rows[i / front.times]), row)?;
    }
    csv.flush()
}

/// The table `text`, of which examples are the first rows, with what is `hidden` filled in: the cells of example `i` in as many rows
/// of `values` as are `times`. Columns of x, or of those that are the words of one the first, stand `at` so in the rows of `text`.
///
/// # Errors
/// Those of `out`.
pub(crate) fn write_filled(
    out: &mut impl Write,
    text: &Text,
    (values, cols, times): (&[f32], usize, usize),
    words: &[Of],
    at: impl Fn(usize) -> usize,
    hidden: impl Fn(usize, usize) -> bool,
) -> io::Result<()> {
    out.write_all(&text.dress.opening)?;
    let end = if text.dress.crlf { Terminator::CRLF } else { Terminator::Any(b'\n') };
    let mut rows = csv::WriterBuilder::new().delimiter(text.delimiter).terminator(end).from_writer(out);
    if let Some(titles) = &text.titles {
        rows.write_record(titles).map_err(cause)?;
    }
    let firsts = cells(cols, words, |j| j, |of| of.columns.start);
    // Where they stand, and how numbers are written there; words are what they are.
    let is_word = |j| words.iter().any(|of| of.columns.start == j);
    let place = |&j: &usize| (at(j), if is_word(j) { Way::Point } else { text.way_of(at(j)) });
    let places: Vec<(usize, Way)> = firsts.iter().map(place).collect();
    for (row, values) in values.chunks(cols).enumerate() {
        let example = row / times;
        let mut line: Vec<Cow<[u8]>> = text.rows[example].iter().map(Cow::Borrowed).collect();
        let filled = texts(values, words).into_iter();
        for ((text, _), (place, way)) in filled.zip(&firsts).zip(&places).filter(|((_, j), _)| hidden(example, **j)) {
            line[*place] = Cow::Owned(way.write(text).into_bytes());
        }
        rows.write_record(line).map_err(cause)?;
    }
    rows.flush()
}

/// What it was that failed, of a table as text.
pub(super) fn cause(e: csv::Error) -> io::Error {
    match e.into_kind() {
        csv::ErrorKind::Io(e) => e,
        other => io::Error::other(format!("{other:?}")),
    }
}

/// The numbers of a row in as few digits as tell them from others, and the words of its columns of words.
pub(crate) fn texts(row: &[f32], words: &[Of]) -> Vec<String> {
    let word = |of: &Of| of.most_probable(row).map_or(String::new(), |j| of.words[j].clone());
    cells(row.len(), words, |j| row[j].to_string(), word)
}

/// What stands in a line: of each column by itself, or of those that are the words of one.
pub(crate) fn cells<T>(columns: usize, words: &[Of], one: impl Fn(usize) -> T, word: impl Fn(&Of) -> T) -> Vec<T> {
    let (mut cells, mut at) = (vec![], 0);
    for of in words {
        cells.extend((at..of.columns.start).map(&one));
        cells.push(word(of));
        at = of.columns.end;
    }
    cells.extend((at..columns).map(one));
    cells
}
