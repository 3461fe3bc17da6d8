//! Tables as text: comma, semicolon or tab; a header row and a first column of names are recognised and skipped. Every other cell
//! must be a finite number, but of columns that are asked for as words; missing values are refused, or NaN for who allows them.
//! Where no comma separates the cells it is a decimal point.
use super::classes::Labels;
use super::counting::Counting;
use super::decimals::{self, Marks, has_commas_of_thousands, has_decimal_comma};
use super::encoding::is_utf16;
use super::header::{Wanted, mixed};
use super::read::{self, FORMATS, Missing};
use super::rounding::Rounding;
use super::row_names::{self, RowNames, Why};
use super::rows::{Row, Rows, begin};
use super::source::{Source, room};
use super::there::There;
use super::{Columns, Dataset, Values, read_words};
use crate::{Error, Result};

/// Where it may as well be an example.
const AS_NAMES: &str = "taken as names of the columns; pass --header no if it is an example";

/// How much of a cell a message shows, in characters.
const SHOWN: usize = 32;

/// What one cell says.
pub(super) enum Cell {
    Number(f32),
    /// Empty, or a word or mark that programs write for a missing value.
    Missing,
    Word,
}

pub(super) fn cell(bytes: &[u8]) -> Cell {
    const MISSING: [&[u8]; 14] =
        [b"", b"na", b"n/a", b"#n/a", b"#nv", b"<na>", b"null", b"none", b"?", b".", b"-", b"--", b"nat", b"n.a."];
    let text = decimals::plain(bytes);
    match std::str::from_utf8(&text).ok().and_then(|text| text.parse::<f32>().ok()) {
        Some(v) if v.is_nan() => Cell::Missing,
        Some(v) => Cell::Number(v),
        None if MISSING.iter().any(|m| bytes.eq_ignore_ascii_case(m)) => Cell::Missing,
        None => Cell::Word,
    }
}

pub(super) fn word(bytes: &[u8]) -> bool {
    matches!(cell(bytes), Cell::Word)
}

/// What a cell says before `rounded`, which is all of it where it has few digits.
fn unrounded(bytes: &[u8], rounded: f32) -> f64 {
    const DIGITS: usize = 6; // that f32 tells apart
    let wide = || std::str::from_utf8(&decimals::plain(bytes)).ok().and_then(|text| text.parse().ok());
    if bytes.len() > DIGITS { wide().unwrap_or(rounded as f64) } else { rounded as f64 }
}

/// A table, as far as its header and its first rows tell what it is.
pub(super) struct Opened<'a> {
    pub name: String,
    pub rows: Rows<'a>,
    /// The first two below the header.
    pub first: Row,
    pub second: Option<Row>,
    /// What its columns are called.                                    (width)
    pub names: Option<Vec<String>>,
    pub width: usize,
    /// The first column holds the names of the rows, and is not asked for as words.
    pub rows_named: bool,
    /// They stand there in the first row; else only the header says so.
    named: bool,
    /// The line of a header that has no title for them.
    untitled: Option<u64>,
    /// What may have been meant otherwise; whether that was said of the header.
    notes: Vec<String>,
    counted: bool,
}

impl<'a> Opened<'a> {
    pub fn new(source: Source<'a>, columns: Option<&Columns>) -> Result<Self> {
        let name = source.name.clone();
        if is_utf16(&source.head) {
            return Err(Error::failed(format!(
                "{name} is UTF-16, as a spreadsheet's Unicode text: save it as UTF-8, or convert it, as by iconv -f utf-16 -t utf-8"
            )));
        }
        if let Some(why) = read::foreign(&source.head) {
            return Err(Error::failed(format!("{name} is {why}")));
        }
        // Text has no zero bytes; pictures and archives have.
        if source.head.contains(&0) {
            return Err(Error::failed(format!(
                "{name} is none of the formats that are read, nor text: give a file of {FORMATS}"
            )));
        }
        let none =
            |what| Error::failed(format!("{name} holds {what} and no examples: add a row of numbers per example"));
        let mut rows = Rows::new(source);
        let mut first = rows.next()?.ok_or_else(|| none("blank lines"))?;
        let mut second = rows.next()?;
        let mut header = None;
        let wanted = Wanted::of(columns, &first.cells);
        let mut notes = vec![];
        let below = second.as_ref().map(|s| &s.cells);
        let counted = wanted.is_of_numbers(&first.cells, below);
        if counted || wanted.is_header(&first.cells, below) {
            if counted {
                let some: Vec<String> = first.cells.iter().take(4).map(shown).collect();
                notes.push(format!("{name}: first line ({}, ...) {AS_NAMES}", some.join(", ")));
            }
            if let Some((word, number)) = mixed(&wanted.cells(&first.cells)).filter(|_| !counted) {
                let known = columns.is_some_and(Columns::are_known);
                return Err(Error::failed(format!(
                    "line {} of {name} has the word {} and the number {} in it: a header must be words alone, an example \
                     numbers alone; repair the line, {}",
                    first.line,
                    shown(word),
                    shown(number),
                    if known { "or give the file a header" } else { "or pass --header yes if it is a header" }
                )));
            }
            header = Some(std::mem::replace(&mut first, second.take().ok_or_else(|| none("a header row"))?));
        }

        let width = first.cells.len();
        if matches!(cell(&first.cells[0]), Cell::Missing) && second.is_none() {
            second = rows.next()?;
        }
        // The name of the first row may be missing.
        let below = || second.as_ref().is_some_and(|second| word(&second.cells[0]));
        let named = width > 1 && (word(&first.cells[0]) || matches!(cell(&first.cells[0]), Cell::Missing) && below());
        let mut rows_named = named;
        let (mut names, mut untitled): (Option<Vec<String>>, _) = (None, None);
        if let Some(header) = header {
            // R leaves the title of the row names out; pandas leaves it empty.
            let short = header.cells.len() + 1 == width;
            rows_named = named || width > 1 && (short || header.cells[0].is_empty());
            if header.cells.len() != width && !short {
                return Err(ragged(&name, &header, &first));
            }
            // A separator behind the last cell of every row is no name of a row.
            let open = |row: &Row| row.cells[width - 1].is_empty();
            if short && open(&first) && second.as_ref().is_none_or(|second| second.cells.len() == width && open(second))
            {
                return Err(Error::failed(format!(
                    "line {} of {name} ends in a separator that line {} has not: delete it in every row, or write it there, too",
                    first.line, header.line
                )));
            }
            if short && !named && header.cells[0].starts_with(b"#") {
                return Err(comment(&name, &header));
            }
            untitled = short.then_some(header.line);
            if short && width == 2 && !rows.decimal_commas && looks_like_decimals([Some(&first), second.as_ref()]) {
                return Err(Error::failed(format!(
                    "line {} of {name} has {} and {} below one title: if that is a decimal comma write a point; if the first are \
                     names of rows give them a title",
                    first.line,
                    shown(&first.cells[0]),
                    shown(&first.cells[1])
                )));
            }
            let title = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let mut titles: Vec<String> = header.cells.iter().map(title).collect();
            // NumPy writes a header as a comment. A model of before may have kept it so.
            if let Some(inside) = titles[0].strip_prefix('#').map(str::trim).filter(|inside| !inside.is_empty())
                && !titles[1..].iter().any(|title| title.starts_with('#'))
                && !columns.is_some_and(|columns| columns.names.contains(&titles[0]))
            {
                titles[0] = inside.into();
            }
            titles.splice(0..0, short.then(String::new));
            // What has no title is called as it will be in what is written.
            let nameless: Vec<usize> = (1..width).filter(|&j| titles[j].is_empty()).collect();
            if nameless.len() < width - 1 {
                nameless.into_iter().for_each(|j| titles[j] = format!("x{j}"));
            }
            names = Some(titles);
        }
        let there = There { file: &name, width, rows_named, names: names.as_deref() };
        let of_words = columns.is_some_and(|columns| columns.begin_with_words(&there));
        let (named, rows_named) = (named && !of_words, rows_named && !of_words);
        Ok(Opened { name, rows, first, second, names, width, rows_named, named, untitled, notes, counted })
    }

    /// All rows below the header.
    pub fn into_rows(self) -> impl Iterator<Item = Result<Row>> + use<'a> {
        let mut rows = self.rows;
        let rest = std::iter::from_fn(move || rows.next().transpose());
        [self.first].into_iter().chain(self.second).map(Ok).chain(rest)
    }

    pub fn there(&self) -> There<'_> {
        There { file: &self.name, width: self.width, rows_named: self.rows_named, names: self.names.as_deref() }
    }
}

/// One example per line, of all columns or of some.
pub(super) fn read(source: Source, columns: Option<&Columns>, missing: Missing) -> Result<Dataset> {
    let opened = Opened::new(source, columns)?;
    let Opened { name, mut rows, first, mut second, names, width, rows_named, named, untitled, mut notes, counted } =
        opened;
    let there = There { file: &name, width, rows_named, names: names.as_deref() };
    let positions = match columns {
        Some(columns) => columns.positions(&there)?,
        None => there.all().collect(),
    };
    let title = there.title(0);
    let without_names = columns.map_or(Ok(there.rows_named), |columns| columns.leave_out_row_names(&there))?;
    // The files of a model are read as it learned to.
    let of_model = columns.is_some_and(Columns::are_known);
    let noted = notes.len();
    notes.extend(without_names.then(|| row_names::note(&name, title)));
    if names.is_none() && columns.is_some_and(|known| of_model && !known.names.is_empty()) {
        notes.push(format!("{name}: has no header; its columns are taken by position, as those of the data that the model knows by names"));
    }
    let is_asked = (named || untitled.is_some()) && without_names;
    let mut row_names = is_asked.then(RowNames::default);
    let all = columns.is_none_or(Columns::are_all);
    let class = columns.map_or(Ok(None), |columns| columns.class_column(&there))?;
    let known = columns.and_then(|columns| columns.classes.as_ref());
    let mut labels = class.map(|at| (at, Labels::new(&there, at, known)));
    let all_columns = Columns::default();
    let columns = columns.unwrap_or(&all_columns);
    let mut chosen = columns.taken_from(&there, &positions)?;
    let mut dictionaries = columns.dictionaries(&there, &mut chosen, positions.len())?;
    let are_words = !dictionaries.is_empty() && dictionaries.iter().all(Option::is_some);
    let is_told = columns.are_known() || counted || !columns.said().is_auto();
    if let (true, false, Some(names)) = (are_words, is_told, &names) {
        let some: Vec<String> = names.iter().take(4).map(|name| shown(name.as_bytes())).collect();
        notes.push(format!("{name}: first line ({}) {AS_NAMES}", some.join(", ")));
    }

    let mut rounding = Rounding::new(positions.len());
    // Of columns that were named it is known what they are.
    let mut counting = (all && !of_model).then(|| Counting::new(positions.len()));
    let decimal_commas = rows.decimal_commas;
    let mut marks = decimal_commas.then(Marks::default);
    // Rows without a value.
    let mut hollow = 0;
    let mut values = Vec::new();
    let mut take = |row: &Row| -> Result<()> {
        // Room for twice as many, as push makes it, but too little of it is a sentence.
        if values.capacity() - values.len() < positions.len() {
            let more = values.len().max(positions.len());
            room(&name, &mut values, more)?;
        }
        if row.cells.len() != width {
            return Err(ragged(&name, &first, row));
        }
        if named && all && matches!(cell(&row.cells[0]), Cell::Number(_)) {
            return Err(Error::failed(format!(
                "line {}, column 1 of {name} is the word {}, but line {} has the number {} there: \
                 the first column must be all names or all numbers",
                first.line,
                shown(&first.cells[0]),
                row.line,
                shown(&row.cells[0])
            )));
        }
        match row_names.as_mut().and_then(|names| names.add(&row.cells[0])) {
            _ if of_model => {}
            None => {}
            Some(Why::Value) => return Err(bad_cell(&there, row.line, 0, &row.cells[0], missing, (false, of_model))),
            Some(Why::Comment) => return Err(comment(&name, row)),
        }
        if let Some((i, labels)) = &mut labels {
            labels.add(|| format!("line {}", row.line), &String::from_utf8_lossy(&row.cells[*i]))?;
        }
        let at = values.len() / positions.len();
        for (j, &i) in positions.iter().enumerate() {
            let bytes = &row.cells[i];
            if let Some(dictionary) =
                dictionaries.get_mut(j).and_then(Option::as_mut).filter(|_| !read_words::is_missing(bytes))
            {
                let word = &String::from_utf8_lossy(bytes);
                let line = || format!("line {}", row.line);
                values.push(read_words::place_of(dictionary, word, &there, i, line, columns.else_leave(missing, j))?);
                continue;
            }
            match cell(bytes) {
                Cell::Missing if missing == Missing::Allow => {
                    counting.iter_mut().for_each(|counting| counting.see(at, j, f64::NAN));
                    values.push(f32::NAN);
                }
                Cell::Number(v) if v.is_finite() && (decimal_commas || !bytes.contains(&b',')) => {
                    let number = unrounded(bytes, v);
                    rounding.see(at, j, number);
                    counting.iter_mut().for_each(|counting| counting.see(at, j, number));
                    if let Some(marks) = &mut marks {
                        marks.see(row, i);
                    }
                    values.push(v);
                }
                _ => return Err(bad_cell(&there, row.line, i, bytes, missing, (columns.is_told(&there, i), of_model))),
            }
        }
        hollow += values.iter().rev().take(positions.len()).all(|v| v.is_nan()) as usize;
        Ok(())
    };
    take(&first)?;
    while let Some(row) = match second.take() {
        Some(row) => Some(row),
        None => rows.next()?,
    } {
        take(&row)?;
        rows.spare = row.cells;
    }
    match (row_names, untitled) {
        (Some(names), _) if of_model => {
            if names.check("", None, "", true).is_err() {
                notes[noted] = row_names::repeated(&name, title);
            }
        }
        (Some(names), Some(line)) if !named => names.check_untitled(&name, line)?,
        (Some(names), _) => names.check(&name, title, &skipped(&there, 0), missing != Missing::Never)?,
        (None, _) => (),
    }
    if let Some(counting) = counting {
        let are_words = |j: usize| dictionaries.get(j).is_some_and(Option::is_some);
        notes.extend(counting.columns(values.len() / positions.len()).filter(|&j| !are_words(j)).map(|j| {
            let (column, skipped) = (chosen.told(j), skipped(&there, positions[j]));
            format!("{name}: {column} counts the rows; --skip-columns {skipped} leaves it out")
        }));
    }
    if hollow > 0 {
        let all = values.len() / positions.len();
        notes.push(format!("{name}: {hollow} of {all} rows have no value at all; delete those that are no examples"));
    }
    notes.extend(rows.foreign.map(|line| {
        format!(
            "{name}: line {line} is not UTF-8; taken as Windows-1252: if it is in another encoding convert it, as by iconv \
             -f ENCODING -t utf-8"
        )
    }));
    notes.extend(marks.map(|marks| marks.check(&there)).transpose()?.flatten());
    let labels = labels.and_then(|(_, labels)| {
        let (labels, classes) = labels.found();
        chosen.classes = Some(classes);
        labels
    });
    chosen.header = columns.said();
    let data = Dataset::new(name.clone(), positions.len(), Values::Reals(values));
    Dataset { columns: chosen, labels, coarse: rounding.coarse(), notes, ..data }.with_words(dictionaries)
}

/// Whether rows of two whole numbers may be one with a decimal comma: names of rows that are numbers count from 0 or 1.
fn looks_like_decimals(rows: [Option<&Row>; 2]) -> bool {
    let rows = rows.into_iter().flatten();
    let counts = |(i, row): (usize, &Row)| [i, i + 1].iter().any(|n| row.cells[0] == *n.to_string().as_bytes());
    let digits = |row: &Row| row.cells.iter().all(|cell| !cell.is_empty() && cell.iter().all(u8::is_ascii_digit));
    rows.clone().all(digits) && !rows.enumerate().all(counts)
}

fn ragged(name: &str, one: &Row, other: &Row) -> Error {
    let (got, want) = (other.cells.len(), one.cells.len());
    let s = if got == 1 { "" } else { "s" };
    let (from, to) = (begin(other.line, &other.cells), other.line);
    if to - from > one.line - begin(one.line, &one.cells) {
        return Error::failed(format!(
            "line {from} of {name} has a quotation mark that is not closed before line {to}, so that the row has {got} cell{s} and \
             not {want}: close it, or write it twice if it is part of the text"
        ));
    }
    Error::failed(format!(
        "line {} of {name} has {got} cell{s}, but line {} has {want}: every row must have as many",
        other.line, one.line
    ))
}

fn comment(name: &str, row: &Row) -> Error {
    let (line, comment) = (row.line, shown(&row.cells[0]));
    Error::failed(format!("line {line} of {name} begins with {comment}: comments are not read; delete the line"))
}

/// A cell for a message: in quotes, and cut where it is long.
pub(super) fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let cut: String = text.chars().take(SHOWN).collect();
    if cut.len() < text.len() { format!("{cut:?}...") } else { format!("{cut:?}") }
}

/// Column `j` as a list of columns takes it: its name where a shell takes that as it is; otherwise its number.
fn skipped(there: &There, j: usize) -> String {
    let plain =
        |title: &&str| title.starts_with(char::is_alphabetic) && title.chars().all(|c| c.is_alphanumeric() || c == '_');
    there.title(j).filter(plain).map_or(j.to_string(), String::from)
}

/// Column `j`, counted from 0; editors count from 1. What helps depends on who reads: a training may allow gaps, and learn words; a
/// mixture may neither; and what a model is told, `is_told`, must be known.
fn bad_cell(
    there: &There,
    line: u64,
    j: usize,
    bytes: &[u8],
    missing: Missing,
    (is_told, of_model): (bool, bool),
) -> Error {
    let skipped = skipped(there, j);
    let title = there.title(j).map_or(String::new(), |title| format!(" ({})", shown(title.as_bytes())));
    let at = format!("line {line}, column {}{title} of {}", j + 1, there.file);
    let shown = shown(bytes);
    Error::failed(match cell(bytes) {
        Cell::Missing => {
            let is = if bytes.is_empty() { "empty" } else { &shown };
            // As pandas writes it above the names of rows.
            let may_be_header = bytes.is_empty() && line == 1 && j == 0 && there.names.is_none();
            let or = match (is_told, missing) {
                (true, _) => "or leave the example out: what a model is told must be known",
                (false, Missing::Never) if may_be_header => {
                    "leave the example out, or pass --header yes if the line is one"
                }
                (false, Missing::Never) => "or leave the example out",
                (false, _) if may_be_header => {
                    "leave the example out, train with --missing allow, or pass --header yes if the line is one"
                }
                (false, _) => "leave the example out, or train with --missing allow",
            };
            format!("{at} is {is}: fill the cell, {or}")
        }
        Cell::Number(_) if !bytes.contains(&b',') => format!("{at} is {shown}: must be a finite number below 3.4e38"),
        _ if has_decimal_comma(bytes) && bytes.contains(&b'.') => {
            format!("{at} is {shown}, not a number: leave out the points that part thousands")
        }
        _ if bytes.contains(&b'\n') => {
            format!(
                "{at} is {shown}, over several lines: if a quotation mark is not closed, close it; a number has none"
            )
        }
        // What the cell says is for its author to tell.
        _ if has_decimal_comma(bytes) && has_commas_of_thousands(bytes) => {
            let text = String::from_utf8_lossy(bytes);
            let (more, less) = (text.replace(',', ""), text.replace(',', "."));
            format!("{at} is {shown}, not a number: write {more}, or {less} if the comma is a decimal one")
        }
        _ if has_decimal_comma(bytes) => {
            format!(
                "{at} is {shown}, not a number: write the decimal comma as a point, or separate the cells by semicolons"
            )
        }
        _ if has_commas_of_thousands(bytes) => {
            format!("{at} is {shown}, not a number: leave out the commas that part thousands")
        }
        _ if of_model => {
            format!(
                "{at} is {shown}, not a number, as the model has learned there: repair it, or leave the example out"
            )
        }
        _ if is_told => format!(
            "{at} is {shown}, not a number: of a column of words that the model is told train with --categorical {skipped}, or with \
             --classes {skipped} --condition labels if it is the class of an example"
        ),
        _ if missing == Missing::Never => format!(
            "{at} is {shown}, not a number: separate numbers by comma, semicolon or tab; leave a column of words out by \
             --skip-columns {skipped}"
        ),
        _ => {
            format!(
                "{at} is {shown}, not a number: separate numbers by comma, semicolon or tab; of a column of words train with \
                 --categorical {skipped}, with --classes {skipped} if it is the class of an example, or with --skip-columns \
                 {skipped}"
            )
        }
    })
}
