//! The rows of a table as text: what separates cells, and cells in UTF-8 with points in their numbers, whatever the file has.
use csv::{ByteRecord, ReaderBuilder, Trim};

use super::decimals::write_points;
use super::encoding::make_utf8;
use super::lines::Lines;
use super::source::Source;
use super::to_csv::cause;
use crate::Result;

pub(super) struct Row {
    /// Counted from 1, as editors do.
    pub line: u64,
    pub cells: ByteRecord,
    /// Which of them had a decimal comma, where now a point is.
    pub commas: Vec<usize>,
}

/// The lines that are not blank.
pub(super) struct Rows<'a> {
    reader: csv::Reader<Lines<Source<'a>>>,
    /// A record whose memory the next row takes over.
    pub spare: ByteRecord,
    /// No comma separates the cells.
    pub decimal_commas: bool,
    /// The first line that was not UTF-8.
    pub foreign: Option<u64>,
}

impl<'a> Rows<'a> {
    pub fn new(source: Source<'a>) -> Self {
        let delimiter = delimiter(&source.head);
        let mut builder = ReaderBuilder::new();
        builder.has_headers(false).flexible(true).trim(Trim::All).buffer_capacity(1 << 16).delimiter(delimiter);
        let reader = builder.from_reader(Lines::new(source, delimiter));
        Self { reader, spare: ByteRecord::new(), decimal_commas: delimiter != b',', foreign: None }
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
                Ok(true) => {
                    // `Lines` ends each line by one \n, so the reader stands one line behind the record.
                    let line = self.reader.position().line() - 1;
                    if make_utf8(&mut cells) {
                        self.foreign.get_or_insert(line);
                    }
                    let commas = if self.decimal_commas { write_points(&mut cells) } else { vec![] };
                    return Ok(Some(Row { line, cells, commas }));
                }
            }
        }
    }
}

/// Tab before semicolon before comma: the first that the first line has outside quotes.
fn delimiter(head: &[u8]) -> u8 {
    let mut quoted = false;
    let line = head.split(|&b| b == b'\n' || b == b'\r').find(|line| !line.trim_ascii().is_empty()).unwrap_or(head);
    let outside: Vec<u8> = line
        .iter()
        .copied()
        .filter(|&b| {
            quoted ^= b == b'"';
            !quoted
        })
        .collect();
    *b"\t;".iter().find(|d| outside.contains(d)).unwrap_or(&b',')
}
