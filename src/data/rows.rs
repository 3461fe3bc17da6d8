//! The rows of a table as text: what separates cells, and cells in UTF-8, whatever the file is in.
use csv::{ByteRecord, ReaderBuilder, Trim};

use super::encoding::make_utf8;
use super::lines::Lines;
use super::source::Source;
use super::to_csv::cause;
use crate::{Error, Result};

pub(super) struct Row {
    /// Counted from 1, as editors do.
    pub line: u64,
    pub cells: ByteRecord,
}

/// The lines that are not blank.
pub(super) struct Rows<'a> {
    reader: csv::Reader<Lines<Source<'a>>>,
    /// A record whose memory the next row takes over.
    pub spare: ByteRecord,
    /// What separates the cells.
    pub delimiter: u8,
    /// How the file begins and ends its lines.
    pub dress: Dress,
    /// No comma does.
    pub decimal_commas: bool,
    /// The first line that was not UTF-8.
    pub foreign: Option<u64>,
    /// The first line says what separates cells, and nothing else.
    says_delimiter: bool,
    /// Where the last row began and ended, if its last cell has several lines.
    several: Option<(u64, u64)>,
}

/// The mark of UTF-8, which some write in front of it.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// What of a text says nothing of its rows, and yet must come back where they do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dress {
    /// In front of all rows: the mark of UTF-8, a line that says what separates cells.
    pub opening: Vec<u8>,
    /// Lines end as Windows ends them.
    pub crlf: bool,
}

impl Dress {
    fn of(head: &[u8], says_delimiter: bool) -> Dress {
        let mark = if head.starts_with(MARK) { MARK.len() } else { 0 };
        let line = head.iter().position(|&b| b == b'\n');
        let opening = line.filter(|_| says_delimiter).map_or(mark, |end| end + 1);
        Dress { opening: head[..opening].to_vec(), crlf: line.is_some_and(|end| head[..end].ends_with(b"\r")) }
    }
}

impl<'a> Rows<'a> {
    pub fn new(source: Source<'a>) -> Self {
        let said = said(&source.head);
        let delimiter = said.unwrap_or_else(|| delimiter(&source.head));
        let mut builder = ReaderBuilder::new();
        builder.has_headers(false).flexible(true).trim(Trim::All).buffer_capacity(1 << 16).delimiter(delimiter);
        let dress = Dress::of(&source.head, said.is_some());
        let reader = builder.from_reader(Lines::new(source, delimiter));
        let decimal_commas = delimiter != b',';
        let spare = ByteRecord::new();
        Self {
            reader,
            spare,
            delimiter,
            dress,
            decimal_commas,
            foreign: None,
            says_delimiter: said.is_some(),
            several: None,
        }
    }

    pub fn next(&mut self) -> Result<Option<Row>> {
        let mut cells = std::mem::take(&mut self.spare);
        loop {
            self.reader.get_mut().begin_row();
            let more = self.reader.read_byte_record(&mut cells);
            match more {
                Err(e) => {
                    return Err(self.reader.get_ref().inner.broken(cause(e)));
                }
                Ok(false) => {
                    return match self.several.filter(|_| self.reader.get_ref().is_open()) {
                        Some(lines) => Err(unclosed(&self.reader.get_ref().inner.name, lines)),
                        None => Ok(None),
                    };
                }
                Ok(true) if cells.len() == 1 && cells[0].is_empty() => {}
                Ok(true) if std::mem::take(&mut self.says_delimiter) => {}
                Ok(true) => {
                    // `Lines` ends each line by one \n, so the reader stands one line behind the record.
                    let line = self.reader.position().line() - 1;
                    self.several = cells
                        .iter()
                        .next_back()
                        .filter(|cell| cell.contains(&b'\n'))
                        .map(|_| (begin(line, &cells), line));
                    if make_utf8(&mut cells) {
                        self.foreign.get_or_insert(line);
                    }
                    return Ok(Some(Row { line, cells }));
                }
            }
        }
    }
}

/// The line that a row begins in which ends in `line`.
pub(super) fn begin(line: u64, cells: &ByteRecord) -> u64 {
    line - cells.as_slice().iter().filter(|&&b| b == b'\n').count() as u64
}

/// Of a row from one line to another.
fn unclosed(name: &str, (from, to): (u64, u64)) -> Error {
    Error::failed(format!(
        "{name}: a quotation mark in line {from} is not closed before the end, line {to}: close it, or write it twice if it is part \
         of the text"
    ))
}

/// What `sep=;` in the first line says separates cells, as spreadsheets have it.
fn said(head: &[u8]) -> Option<u8> {
    let head = head.strip_prefix(MARK).unwrap_or(head);
    let end = head.iter().position(|&b| b == b'\n' || b == b'\r')?;
    match &head[..end] {
        [b's' | b'S', b'e' | b'E', b'p' | b'P', b'=', delimiter @ (b',' | b';' | b'\t'), rest @ ..]
            if rest.trim_ascii().is_empty() =>
        {
            Some(*delimiter)
        }
        _ => None,
    }
}

/// Tab before semicolon before comma: the first that the first line has outside quotes, and the second line as often, or once more
/// where the names of rows have no title. A title may have the others in it.
fn delimiter(head: &[u8]) -> u8 {
    const ALL: [u8; 3] = *b"\t;,";
    // How often each stands in the first lines that are not blank.
    let (mut lines, mut quoted, mut blank) = ([[0; 3]; 2], false, true);
    let mut line = 0;
    for &b in head {
        quoted ^= b == b'"';
        if !quoted && (b == b'\n' || b == b'\r') {
            match blank {
                true => lines[line] = [0; 3],
                false => line += 1,
            }
            blank = true;
            if line == lines.len() {
                break;
            }
            continue;
        }
        blank &= b.is_ascii_whitespace();
        ALL.iter().zip(&mut lines[line]).filter(|(d, _)| !quoted && **d == b).for_each(|(_, count)| *count += 1);
    }
    let [first, second] = lines;
    let there = |i: &usize| first[*i] > 0;
    let alike = |i: &usize| there(i) && (second[*i] == first[*i] || second[*i] == first[*i] + 1);
    ALL[(0..3).find(alike).or((0..3).find(there)).unwrap_or(2)]
}
