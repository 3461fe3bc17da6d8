//! A file that says of what class each example is, where the data themselves do not: an idx of labels, a table, an array.
use super::classes::{Classes, MOST, no_class};
use super::csv::{Opened, shown, word};
use super::dictionary::{Dictionary, plain};
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
        let (name, cells) = cells(path, columns, count)?;
        let known = columns.classes.as_ref();
        let knows = || known.map_or_else(|| format!("0 to {}", count - 1), |known| known.list(known.words.len()));
        places(&cells.words, columns, count)
            .ok_or_else(|| strange(&name, &cells.words, columns, count, &format!("the model knows {}", knows())))
    }

    /// The class of each example, a number from 0 to 255: of an idx with one dimension of bytes, an array or a table of one column,
    /// plain or packed by gzip.
    ///
    /// # Errors
    /// Where the file cannot be read, is damaged, or has anything else.
    pub fn read_labels(path: &Path) -> Result<Vec<u8>> {
        let (name, cells) = cells(path, &Columns::default(), MOST)?;
        places(&cells.words, &Columns::default(), MOST).ok_or_else(|| no_label(&name, &cells.words))
    }

    /// The same, or of a table of one column in words, or in other numbers: their labels are then places among these, in the order of
    /// the numbers or the alphabet. A first line that comes again is no title.
    ///
    /// # Errors
    /// Where the file cannot be read, is damaged, or has more classes than a label tells apart.
    pub fn read_named_labels(path: &Path) -> Result<(Vec<u8>, Option<Classes>)> {
        let (name, cells) = cells(path, &Columns::default(), MOST)?;
        match places(&cells.words, &Columns::default(), MOST) {
            Some(labels) => Ok((labels, None)),
            None if !cells.is_text => Err(no_label(&name, &cells.words)),
            None => {
                let mut dictionary = Dictionary::new(MOST);
                let places: Option<Vec<usize>> = cells.words.iter().map(|word| dictionary.place(word)).collect();
                let places = places.ok_or_else(|| {
                    Error::failed(format!(
                        "{name}: has more than {MOST} different values; must be classes, of which each has many examples"
                    ))
                })?;
                let (sorted, words) = dictionary.sorted();
                let labels = places.into_iter().map(|place| sorted[place] as u8).collect();
                let classes =
                    Classes { name: cells.title.unwrap_or_default(), words, apart: true, ..Classes::default() };
                Ok((labels, Some(classes)))
            }
        }
    }
}

/// The labels of all, if each is a class.
fn places(words: &[String], columns: &Columns, count: usize) -> Option<Vec<u8>> {
    words.iter().map(|word| place(word, columns, count)).collect()
}

/// About the first that is none, where nobody knows words.
fn no_label(name: &str, words: &[String]) -> Error {
    strange(name, words, &Columns::default(), MOST, "a label is a whole number from 0 to 255")
}

/// About the first class that is none of those.
fn strange(name: &str, words: &[String], columns: &Columns, count: usize, must: &str) -> Error {
    let mut all = words.iter().enumerate();
    let (i, word) = all.find(|(_, word)| place(word, columns, count).is_none()).expect("one is strange");
    let word = if columns.classes.is_some() { shown(word.as_bytes()) } else { word.clone() };
    Error::failed(format!("{name}: row {i} is of class {word}; {must}"))
}

/// What a file says of each example.
struct Cells {
    words: Vec<String>,
    /// Of a table, what stands above them.
    title: Option<String>,
    is_text: bool,
}

/// The file's name, and what it says.
fn cells(path: &Path, columns: &Columns, count: usize) -> Result<(String, Cells)> {
    let (name, file, length) = open_file(path)?;
    let source = Source::new(name, file, length)?;
    let name = source.name.clone();
    let plain = |words| Cells { words, title: None, is_text: false };
    let cells = if idx::is_idx(&source.head) {
        plain(idx::read_labels(source)?.iter().map(u8::to_string).collect())
    } else if npy::is_npy(&source.head) {
        plain(numbers(npy::read(source)?.with_bytes(Some(Bytes::Plain))?)?)
    } else {
        words(source, columns, count)?
    };
    Ok((name, cells))
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
fn words(source: Source, columns: &Columns, count: usize) -> Result<Cells> {
    // Which line is a header is told by what stands there, below.
    let opened = Opened::new(source, Some(&Columns { header: Header::No, again: true, ..Columns::default() }))?;
    let (file, first, width) = (opened.name.clone(), &opened.first.cells, opened.width);
    let known = columns.classes.as_ref();
    let title = known.map(|known| known.name.as_bytes()).filter(|name| !name.is_empty());
    // R leaves the title of the names of rows out.
    let names = opened.second.as_ref().is_some_and(|second| second.cells.len() == width + 1) as usize;
    let at = match first.iter().position(|cell| Some(cell) == title) {
        Some(at) => Some((at + names, true, width + names)),
        None if width == 1 => {
            let is_title = word(&first[0]) && place(&String::from_utf8_lossy(&first[0]), columns, count).is_none();
            Some((0, is_title, 1))
        }
        None => known.filter(|_| width == columns.of).map(|known| (known.at, false, width)),
    };
    let column = known.map(|known| known.told());
    let Some((at, is_titled, cells)) = at else {
        let or = column.map_or(String::new(), |column| format!("a column {column}, or "));
        return Err(Error::failed(format!(
            "{file}: has {width} columns, and which is of classes is not known; give {or}the class of each row alone"
        )));
    };
    let title = first.get(at).map_or(String::new(), |cell| String::from_utf8_lossy(cell).into_owned());
    let column = column.unwrap_or(at.to_string());
    let none = |line: u64| Error::failed(no_class(&format!("line {line}"), &file, &column));
    let (mut words, mut next) = (vec![], opened.first.line);
    for (i, row) in opened.into_rows().enumerate() {
        let row = row?;
        // A table of one column has no other way to leave a cell empty.
        if width == 1 && row.line > next {
            return Err(none(next));
        }
        next = row.line + 1 + row.cells.as_slice().iter().filter(|&&b| b == b'\n').count() as u64;
        if i == 0 && is_titled {
            continue;
        }
        if row.cells.len() != cells {
            return Err(Error::failed(format!(
                "line {} of {file} has {} cells, but {cells} are expected; put a class that has a comma in quotes",
                row.line,
                row.cells.len()
            )));
        }
        match row.cells.get(at).filter(|cell| !cell.is_empty()) {
            Some(cell) => words.push(String::from_utf8_lossy(cell).into_owned()),
            None => return Err(none(row.line)),
        }
    }
    // Where nobody knows the classes, one that comes again is no title.
    if is_titled && known.is_none() && words.contains(&title) {
        words.insert(0, title);
        return Ok(Cells { words, title: None, is_text: true });
    }
    if words.is_empty() {
        return Err(Error::failed(format!("{file} holds a header row and no classes: add a row for each")));
    }
    Ok(Cells { words, title: is_titled.then_some(title), is_text: true })
}
