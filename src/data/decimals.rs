//! Numbers with a comma for the decimal point: read where something else separates the cells, and only where no number of the file
//! can be meant otherwise.
use super::asked::There;
use super::rows::Row;
use crate::{Error, Result};
use csv::ByteRecord;

/// 167,1 or 1.234,5
pub(super) fn has_decimal_comma(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let is_number = |text: String| text.parse::<f32>().is_ok();
    let after_points = text.rfind(',') > text.rfind('.');
    after_points && (is_number(text.replace(',', ".")) || is_number(text.replace('.', "").replace(',', ".")))
}

/// 1,234.5 or 1,234,567
pub(super) fn has_commas_of_thousands(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let whole = text.split('.').next().unwrap_or_default().trim_start_matches(['-', '+']);
    let mut groups = whole.split(',');
    let first = groups.next().is_some_and(|group| (1..=3).contains(&group.len()) && !group.starts_with('0'));
    first
        && whole.contains(',')
        && groups.all(|group| group.len() == 3 && group.bytes().all(|b| b.is_ascii_digit()))
        && text.replace(',', "").parse::<f32>().is_ok()
}

/// The cell with a point, if it is a number with one comma, a digit behind it, and no point.
fn with_point(cell: &[u8]) -> Option<Vec<u8>> {
    let comma = cell.iter().position(|&b| b == b',')?;
    let mut number = cell.to_vec();
    number[comma] = b'.';
    let is_number = std::str::from_utf8(&number).is_ok_and(|number| number.parse::<f32>().is_ok());
    (is_number && number.get(comma + 1).is_some_and(u8::is_ascii_digit)).then_some(number)
}

/// Writes points for the decimal commas of a row, and says in which cells.
pub(super) fn write_points(cells: &mut ByteRecord) -> Vec<usize> {
    if !cells.as_slice().contains(&b',') {
        return vec![];
    }
    let mut commas = vec![];
    let cell = |(j, cell): (usize, &[u8])| match with_point(cell) {
        Some(number) => {
            commas.push(j);
            number
        }
        None => cell.to_vec(),
    };
    *cells = cells.iter().enumerate().map(cell).collect();
    commas
}

/// A number of the file, for a message.
struct Example {
    line: u64,
    column: usize,
    text: String,
}

/// With what the numbers of a file are written that are learned.
#[derive(Default)]
pub(super) struct Marks {
    comma: Option<Example>,
    point: Option<Example>,
    /// One of the commas can part no thousands.
    is_sure: bool,
}

impl Marks {
    /// The number in column `j`.
    pub fn see(&mut self, row: &Row, j: usize) {
        let example = |text| Some(Example { line: row.line, column: j, text });
        let text = || String::from_utf8_lossy(&row.cells[j]);
        if row.commas.binary_search(&j).is_ok() {
            let text = text().replace('.', ",");
            self.is_sure |= !has_commas_of_thousands(text.as_bytes());
            if self.comma.is_none() {
                self.comma = example(text);
            }
        } else if self.point.is_none() && row.cells[j].contains(&b'.') {
            self.point = example(text().into_owned());
        }
    }

    /// After the last row: a note, if there were decimal commas.
    ///
    /// # Errors
    /// Numbers that may be meant otherwise: there are points too, or all commas may part thousands.
    pub fn check(self, there: &There) -> Result<Option<String>> {
        let Some(comma) = self.comma else { return Ok(None) };
        let at =
            |one: &Example| format!("line {}, column {} of {} is {:?}", one.line, one.column + 1, there.file, one.text);
        let plain = "write the decimal comma as a point, and leave out what parts thousands";
        Err(Error::failed(match self.point {
            Some(point) => format!(
                "{}, but line {} has {:?}: one of the marks may part thousands; {plain}",
                at(&comma),
                point.line,
                point.text
            ),
            None if self.is_sure => return Ok(Some(format!("{}: commas taken as decimal points", there.file))),
            None => {
                let (less, more) = (comma.text.replace(',', "."), comma.text.replace(',', ""));
                format!("{}, and no comma of the file tells whether that is {less} or {more}: {plain}", at(&comma))
            }
        }))
    }
}
