//! A file that says of what class each example is, where the data themselves do not: an idx of labels, a table, an array.
use super::classes::no_class;
use super::csv::{Opened, shown, word};
use super::dictionary::plain;
use super::read::open_file;
use super::source::Source;
use super::{Bytes, Columns, Dataset, Header, idx, npy};
use crate::{Error, Result};
use std::path::Path;

impl Dataset {
    /// The class of each example, as its place among those that a model knows, whose data were of `columns`; or where these have no
    /// words as the number below `count` that it is.
    ///
    /// Of a table the column counts that is called as the classes are, or the only one, whose title may be another; of one without a
    /// header that is as wide as the data, the one where they had theirs. Bytes and numbers are classes of that name: where the model
    /// knows words, another file may count them in another order.
    ///
    /// # Errors
    /// What cannot be read; a class that the model does not know.
    pub fn read_classes(path: &Path, columns: &Columns, count: usize) -> Result<Vec<u8>> {
        let known = columns.classes.as_ref();
        let knows = known.map_or(format!("0 to {}", count - 1), |known| known.list(known.words.len()));
        Self::read_places(path, columns, count, &format!("the model knows {knows}"))
    }

    /// The class of each example, a number from 0 to 255: of an idx with one dimension of bytes, an array or a table of one column,
    /// plain or packed by gzip.
    ///
    /// # Errors
    /// Where the file cannot be read, is damaged, or has anything else.
    pub fn read_labels(path: &Path) -> Result<Vec<u8>> {
        const MUST: &str =
            "a label is a number from 0 to 255; classes in words are a column of the data, for --classes";
        Self::read_places(path, &Columns::default(), u8::MAX as usize + 1, MUST)
    }

    fn read_places(path: &Path, columns: &Columns, count: usize, must: &str) -> Result<Vec<u8>> {
        let known = columns.classes.as_ref();
        let (name, file, length) = open_file(path)?;
        let source = Source::new(name, file, length)?;
        let name = source.name.clone();
        let words = if idx::is_idx(&source.head) {
            idx::read_labels(source)?.iter().map(u8::to_string).collect()
        } else if npy::is_npy(&source.head) {
            numbers(npy::read(source)?.with_bytes(Some(Bytes::Plain))?)?
        } else {
            words(source, columns, count)?
        };
        let label = |(i, word): (usize, &String)| {
            let of = || if known.is_some() { shown(word.as_bytes()) } else { word.clone() };
            place(word, columns, count)
                .ok_or_else(|| Error::failed(format!("{name}: row {i} is of class {}; {must}", of())))
        };
        words.iter().enumerate().map(label).collect()
    }
}

/// The label of a class, if the model knows it.
fn place(word: &str, columns: &Columns, count: usize) -> Option<u8> {
    let label = match &columns.classes {
        Some(known) => known.place(word),
        None => plain(word).parse().ok().filter(|&label| label < count),
    };
    label.map(|label| label as u8)
}

/// An array of one column, as text would have it.
fn numbers(data: Dataset) -> Result<Vec<String>> {
    if data.cols != 1 {
        let (name, cols) = (&data.name, data.cols);
        return Err(Error::failed(format!("{name}: a row has {cols} numbers; must have one, the class of an example")));
    }
    let mut number = [0.0];
    let text = |i| {
        data.part(i, 0..1, &mut number);
        number[0].to_string()
    };
    Ok((0..data.rows()).map(text).collect())
}

/// The cells of the column that counts.
fn words(source: Source, columns: &Columns, count: usize) -> Result<Vec<String>> {
    // Which line is a header is told by what stands there, below.
    let opened = Opened::new(source, Some(&Columns { header: Header::No, again: true, ..Columns::default() }))?;
    let (file, first, width) = (opened.name.clone(), &opened.first.cells, opened.width);
    let known = columns.classes.as_ref();
    let title = known.map(|known| known.name.as_bytes()).filter(|name| !name.is_empty());
    let at = match first.iter().position(|cell| Some(cell) == title) {
        // R leaves the title of the names of rows out.
        Some(at) => Some((at + opened.second.as_ref().is_some_and(|s| s.cells.len() == width + 1) as usize, true)),
        None if width == 1 => {
            Some((0, word(&first[0]) && place(&String::from_utf8_lossy(&first[0]), columns, count).is_none()))
        }
        None => known.filter(|_| width == columns.of).map(|known| (known.at, false)),
    };
    let column = known.map(|known| known.told());
    let Some((at, is_titled)) = at else {
        let or = column.map_or(String::new(), |column| format!("a column {column}, or "));
        return Err(Error::failed(format!(
            "{file}: has {width} columns, and which is of classes is not known; give {or}the class of each row alone"
        )));
    };
    let mut words = vec![];
    for row in opened.into_rows().skip(is_titled as usize) {
        let row = row?;
        match row.cells.get(at).filter(|cell| !cell.is_empty()) {
            Some(cell) => words.push(String::from_utf8_lossy(cell).into_owned()),
            None => {
                let place = format!("line {}", row.line);
                return Err(Error::failed(no_class(&place, &file, &column.unwrap_or(at.to_string()))));
            }
        }
    }
    if words.is_empty() {
        return Err(Error::failed(format!("{file} holds a header row and no classes: add a row for each")));
    }
    Ok(words)
}
