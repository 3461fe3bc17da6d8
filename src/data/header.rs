//! Whether the first row of a table is a header: by its words, and by what the rows below it are.
use csv::ByteRecord;

use super::Columns;
use super::asked::There;
use super::csv::{Cell, cell, word};

/// A header has a word in it. Two cases look alike and are told by what follows: a row of numbers with its name in
/// front is an example; the same with 0, 1, 2, ... or 1, 2, 3, ... behind is a header that counts its columns.
fn is_header(first: &ByteRecord, second: Option<&ByteRecord>) -> bool {
    let counts = |from: usize| {
        first.len() > 2 && first.iter().skip(1).enumerate().all(|(i, c)| c == (i + from).to_string().as_bytes())
    };
    if first.iter().skip(1).any(word) {
        return true;
    }
    if word(&first[0]) {
        let second_is_named = second.is_none_or(|s| word(&s[0]));
        return first.len() == 1 || counts(0) || counts(1) || !second_is_named;
    }
    first[0].is_empty() && (counts(0) || counts(1))
}

/// Numbers that count columns from 0, or years behind the title of the names of rows, are a header where the row below shows that
/// they are no example: by its fractions, or because so many numbers that count are no chance.
fn is_counted(first: &ByteRecord, second: Option<&ByteRecord>) -> bool {
    const SOME: usize = 3;
    const MORE: usize = 5;
    const MANY: usize = 8;
    let Some(second) = second.filter(|second| second.len() == first.len()) else { return false };
    let names = match (word(&first[0]), word(&second[0])) {
        (false, false) => 0,
        (true, true) => 1,
        _ => return false, // told by its words
    };
    let numbers: Vec<Option<u64>> = first.iter().skip(names).map(whole).collect();
    let counts = numbers.windows(2).all(|n| n[1].is_some() && n[1] == n[0].map(|n| n + 1));
    let below: Vec<&[u8]> = second.iter().skip(names).collect();
    if numbers.len() < SOME || !counts || below.iter().any(|c| word(c)) {
        return false;
    }
    let fractions = below.iter().filter(|c| whole(c).is_none()).count();
    let fewest = match fractions {
        0 => MANY,
        some if some < below.len() => MORE,
        _ => SOME,
    };
    let from = if names == 1 { numbers[0].is_some() } else { numbers[0] == Some(0) };
    numbers.len() >= MANY && numbers[0] == Some(1) || numbers.len() >= fewest && from
}

/// A whole number as programs count.
fn whole(bytes: &[u8]) -> Option<u64> {
    let number: u64 = std::str::from_utf8(bytes).ok()?.parse().ok().filter(|&n| n < 1 << 32)?;
    (number.to_string().as_bytes() == bytes).then_some(number)
}

/// What is wanted of a table, before it is known whether it has a header.
pub(super) enum Wanted {
    All,
    /// All, of a file that was read before: what counts its columns was an example unless it is kept as their names.
    Again,
    /// By names, which then stand in the first row.
    Named,
    /// At these positions; in the other columns words mean nothing. Whether they are those of a model, and whether the first column
    /// of the file is of words, which then says nothing of names of rows.
    At(Vec<usize>, bool, bool),
}

impl Wanted {
    pub fn of(columns: Option<&Columns>, first: &ByteRecord) -> Wanted {
        let Some(columns) = columns else { return Wanted::All };
        let has = |name: &String| first.iter().any(|cell| cell == name.as_bytes());
        let known = !columns.names.is_empty() && columns.names.iter().all(has);
        // Names that are numbers may stand in an example too; but hardly all, in this order.
        let positions: Vec<usize> = match columns.are_all() {
            true => (first.len().saturating_sub(columns.names.len())..first.len()).collect(),
            false => columns.taken.iter().flat_map(|&(from, to)| from..to.min(first.len())).collect(),
        };
        let same = || positions.iter().map(|&j| &first[j]).eq(columns.names.iter().map(String::as_bytes));
        if columns.by_name() && first.iter().any(word) || known && (first.iter().any(word) || same()) {
            return Wanted::Named;
        }
        // What cannot be is told once names are known.
        let there = There { file: "", width: first.len(), rows_named: false, names: None };
        let positions = columns.positions(&there).unwrap_or_default();
        // Words of a column of words are no names, where other columns can tell.
        let of_words = columns.of_words(&there, &positions).unwrap_or_default();
        let others: Vec<usize> = positions.iter().copied().filter(|at| !of_words.contains(at)).collect();
        let at = |others| Wanted::At(others, columns.are_known(), of_words.contains(&0));
        match columns.are_all() {
            true if !of_words.is_empty() && !others.is_empty() => at(others),
            true if columns.again => Wanted::Again,
            true => Wanted::All,
            false if !others.is_empty() => at(others),
            false => Wanted::All,
        }
    }

    pub fn is_header(&self, first: &ByteRecord, second: Option<&ByteRecord>) -> bool {
        match self {
            Wanted::All | Wanted::Again => is_header(first, second),
            Wanted::Named => true,
            Wanted::At(positions, _, words_first) => {
                let second = second.filter(|_| !words_first);
                // Row names are words too, in every row.
                let title =
                    |&j: &usize| word(&first[j]) && (j > 0 || second.is_none_or(|s| s.get(0).is_none_or(|c| !word(c))));
                let elsewhere = (1..first.len()).any(|j| word(&first[j]));
                positions.iter().any(title) || !elsewhere && is_header(first, second)
            }
        }
    }

    /// Whether it is a header, of numbers.
    pub fn counts(&self, first: &ByteRecord, second: Option<&ByteRecord>) -> bool {
        match self {
            Wanted::All => is_counted(first, second),
            Wanted::At(_, known, _) => !known && is_counted(first, second),
            Wanted::Again | Wanted::Named => false,
        }
    }

    /// Of a header, what should be words.
    pub fn cells<'a>(&self, header: &'a ByteRecord) -> Vec<&'a [u8]> {
        match self {
            Wanted::All | Wanted::Again => header.iter().collect(),
            Wanted::Named => vec![],
            Wanted::At(positions, ..) => positions.iter().map(|&j| &header[j]).collect(),
        }
    }
}

/// A word and a number of a row that has both, unless it is a header all the same: words, and behind them numbers that
/// count its columns. Else it may as well be an example with a damaged cell, which nobody would miss.
pub(super) fn mixed<'a>(first: &[&'a [u8]]) -> Option<(&'a [u8], &'a [u8])> {
    // A column may be called inf.
    let number = |c: &&&[u8]| matches!(cell(c), Cell::Number(v) if v.is_finite());
    let found = (*first.iter().find(|c| word(c))?, *first.iter().find(number)?);
    let leading = first.iter().take_while(|c| !number(c)).count();
    let counts = |from: usize| {
        first.len() > leading + 1
            && first.iter().skip(leading).enumerate().all(|(i, c)| *c == (i + from).to_string().as_bytes())
    };
    if counts(0) || counts(1) { None } else { Some(found) }
}
