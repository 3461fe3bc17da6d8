//! The rows of a table as text: what separates cells, and cells in UTF-8, whatever the file is in.
use csv::{ByteRecord, ReaderBuilder, Trim};

use super::encoding::make_utf8;
use super::lines::Lines;
use super::source::Source;
use super::to_csv::cause;
use crate::Result;

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
    /// No comma does.
    pub decimal_commas: bool,
    /// The first line that was not UTF-8.
    pub foreign: Option<u64>,
    /// The first line says what separates cells, and nothing else.
    says_delimiter: bool,
}

impl<'a> Rows<'a> {
    pub fn new(source: Source<'a>) -> Self {
        let said = said(&source.head);
        let delimiter = said.unwrap_or_else(|| delimiter(&source.head));
        let mut builder = ReaderBuilder::new();
        builder.has_headers(false).flexible(true).trim(Trim::All).buffer_capacity(1 << 16).delimiter(delimiter);
        let reader = builder.from_reader(Lines::new(source, delimiter));
        let decimal_commas = delimiter != b',';
        let spare = ByteRecord::new();
        Self { reader, spare, delimiter, decimal_commas, foreign: None, says_delimiter: said.is_some() }
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
                Ok(false) => return Ok(None),
                Ok(true) if cells.len() == 1 && cells[0].is_empty() => {}
                Ok(true) if std::mem::take(&mut self.says_delimiter) => {}
                Ok(true) => {
                    // `Lines` ends each line by one \n, so the reader stands one line behind the record.
                    let line = self.reader.position().line() - 1;
                    if make_utf8(&mut cells) {
                        self.foreign.get_or_insert(line);
                    }
                    return Ok(Some(Row { line, cells }));
                }
            }
        }
    }
}

/// What `sep=;` in the first line says separates cells, as spreadsheets have it.
fn said(head: &[u8]) -> Option<u8> {
    let end = head.iter().position(|&b| b == b'\n' || b == b'\r')?;
    match head[..end].trim_ascii() {
        [b's' | b'S', b'e' | b'E', b'p' | b'P', b'=', delimiter @ (b',' | b';')] => Some(*delimiter),
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
