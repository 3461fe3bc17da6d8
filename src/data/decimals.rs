//! Numbers with a comma for the decimal point: read where something else separates the cells, and only where no number of the file
//! can be meant otherwise.
use super::rows::Row;
use super::there::There;
use crate::{Error, Result};
use std::borrow::Cow;

/// 167,1 or 1.234,5
pub(super) fn has_decimal_comma(bytes: &[u8]) -> bool {
    let last = |mark| bytes.iter().rposition(|&b| b == mark);
    let without_points = || bytes.iter().copied().filter(|&b| b != b'.').collect::<Vec<_>>();
    last(b',') > last(b'.') && decimal_comma(&without_points()).is_some()
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

/// 1.234 or 12.500
fn has_points_of_thousands(bytes: &[u8]) -> bool {
    let swapped: Vec<u8> = bytes.iter().map(|&b| if b == b'.' { b',' } else { b }).collect();
    has_commas_of_thousands(&swapped)
}

/// Where the decimal comma of a number stands: it has no other mark, and a digit behind it.
fn decimal_comma(cell: &[u8]) -> Option<usize> {
    let comma = cell.iter().position(|&b| b == b',')?;
    let (whole, rest) = (cell[..comma].strip_prefix(b"-").unwrap_or(&cell[..comma]), &cell[comma + 1..]);
    let whole = whole.strip_prefix(b"+").unwrap_or(whole);
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    let (digits, exponent) = rest.split_at(digits);
    let is_exponent = |e: &[u8]| std::str::from_utf8(e).is_ok_and(|e| e[1..].parse::<i32>().is_ok());
    let ends = exponent.is_empty() || matches!(exponent[0], b'e' | b'E') && is_exponent(exponent);
    (whole.iter().all(u8::is_ascii_digit) && !digits.is_empty() && ends).then_some(comma)
}

/// A number as programs write it: with a point for its decimal comma, and 1 or 0 for a truth value. Anything else as it is.
pub(super) fn plain(cell: &[u8]) -> Cow<'_, [u8]> {
    if let Some(at) = decimal_comma(cell) {
        let mut number = cell.to_vec();
        number[at] = b'.';
        return Cow::Owned(number);
    }
    match cell {
        _ if cell.eq_ignore_ascii_case(b"true") => Cow::Borrowed(b"1"),
        _ if cell.eq_ignore_ascii_case(b"false") => Cow::Borrowed(b"0"),
        _ => Cow::Borrowed(cell),
    }
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
    /// One of the points can part none.
    is_point: bool,
}

impl Marks {
    /// The number in column `j`.
    pub fn see(&mut self, row: &Row, j: usize) {
        let example = |text| Some(Example { line: row.line, column: j, text });
        let cell = &row.cells[j];
        let text = || String::from_utf8_lossy(cell).into_owned();
        if cell.contains(&b',') {
            self.is_sure |= !has_commas_of_thousands(cell);
            if self.comma.is_none() {
                self.comma = example(text());
            }
        } else if cell.contains(&b'.') {
            self.is_point |= !has_points_of_thousands(cell);
            if self.point.is_none() {
                self.point = example(text());
            }
        }
    }

    /// After the last row: a note, if there were decimal commas, or points of which none can be anything else.
    ///
    /// # Errors
    /// Numbers that may be meant otherwise: there are points too, or all commas may part thousands.
    pub fn check(self, there: &There) -> Result<Option<String>> {
        let at =
            |one: &Example| format!("line {}, column {} of {} is {:?}", one.line, one.column + 1, there.file, one.text);
        let Some(comma) = self.comma else {
            let note =
                |point: &Example| format!("{}: points taken as decimal points, as in {:?}", there.file, point.text);
            return Ok(self.point.as_ref().filter(|_| !self.is_point).map(note));
        };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_comma_and_a_digit_behind_it() {
        for number in ["0,5", ",5", "-1,25", "+12,0", "1,5e3", "1,5E-3", "1,234"] {
            let at = decimal_comma(number.as_bytes()).unwrap_or_else(|| panic!("{number}"));
            let point = format!("{}.{}", &number[..at], &number[at + 1..]);
            assert!(point.parse::<f32>().is_ok(), "{point}");
        }
        for other in ["", ",", "5", "5,", "1,2,3", "1.234,5", "1,5e", "1,5x", "a,5", "1, 5", "--1,5", "1,5 kg", "e,5"] {
            assert_eq!(decimal_comma(other.as_bytes()), None, "{other}");
        }
    }
}
