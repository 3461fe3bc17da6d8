//! Text that is not UTF-8: taken as Windows-1252, what spreadsheets in western Europe and the Americas write, and of which Latin-1
//! is all that one can see. Every byte has a meaning there, so that different words stay different whatever they were.
use csv::ByteRecord;

/// What 0x80 to 0x9f stand for (<https://encoding.spec.whatwg.org/#windows-1252>); the other bytes stand for the character of
/// their number.
const ABOVE_ASCII: &str = "€\u{81}‚ƒ„…†‡ˆ‰Š‹Œ\u{8d}Ž\u{8f}\u{90}‘’“”•–—˜™š›œ\u{9d}žŸ";

fn decoded(cell: &[u8]) -> String {
    let character = |&byte: &u8| match byte {
        0x80..=0x9f => ABOVE_ASCII.chars().nth(byte as usize - 0x80).unwrap_or(byte as char),
        _ => byte as char,
    };
    cell.iter().map(character).collect()
}

/// Makes UTF-8 of a row that is not. Whether it was not.
pub(super) fn make_utf8(cells: &mut ByteRecord) -> bool {
    // Cells may be one character only where they meet.
    if cells.as_slice().is_ascii() || cells.iter().all(|cell| std::str::from_utf8(cell).is_ok()) {
        return false;
    }
    *cells = cells.iter().map(decoded).collect();
    true
}

/// Whether a file begins with the mark of UTF-16, of either byte order.
pub(super) fn is_utf16(head: &[u8]) -> bool {
    matches!(head, [0xff, 0xfe, ..] | [0xfe, 0xff, ..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_character() {
        let all: Vec<u8> = (0..=255).collect();
        let mut characters: Vec<char> = decoded(&all).chars().collect();
        assert_eq!(characters.len(), 256);
        assert_eq!(
            [0x41, 0x80, 0x99, 0x9f, 0xa0, 0xe9, 0xff].map(|i| characters[i]),
            ['A', '€', '™', 'Ÿ', '\u{a0}', 'é', 'ÿ']
        );
        characters.sort_unstable();
        characters.dedup();
        assert_eq!(characters.len(), 256, "different bytes, different characters");
    }

    #[test]
    fn a_character_is_of_one_cell() {
        let mut split = ByteRecord::from(vec![b"\xc3".as_slice(), b"\xa9"]);
        assert!(make_utf8(&mut split));
        assert_eq!(split, ByteRecord::from(vec!["Ã", "©"]));
        let mut whole = ByteRecord::from(vec!["é", "1"]);
        assert!(!make_utf8(&mut whole) && whole.iter().eq(["é".as_bytes(), b"1"]));
    }
}
