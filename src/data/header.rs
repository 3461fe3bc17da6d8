//! Whether the first row of a table is a header: by its words, and by what the rows below it are.
use csv::ByteRecord;

use super::Columns;
use super::columns::There;
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

/// What is wanted of a table, before it is known whether it has a header.
pub(super) enum Wanted {
    All,
    /// By names, which then stand in the first row.
    Named,
    /// At these positions; in the other columns words mean nothing.
    At(Vec<usize>),
}

impl Wanted {
    pub fn of(columns: Option<&Columns>, first: &ByteRecord) -> Wanted {
        let Some(columns) = columns else { return Wanted::All };
        let has = |name: &String| first.iter().any(|cell| cell == name.as_bytes());
        let known = !columns.names.is_empty() && columns.names.iter().all(has);
        if columns.by_name() && first.iter().any(word) || known && (!columns.are_all() || first.iter().any(word)) {
            return Wanted::Named;
        }
        if columns.are_all() {
            return Wanted::All;
        }
        // What cannot be is told once names are known.
        let there = There { file: "", width: first.len(), rows_named: false, names: None };
        columns.positions(&there).map_or(Wanted::All, Wanted::At)
    }

    pub fn is_header(&self, first: &ByteRecord, second: Option<&ByteRecord>) -> bool {
        match self {
            Wanted::All => is_header(first, second),
            Wanted::Named => true,
            Wanted::At(positions) => {
                // Row names are words too, in every row.
                let title =
                    |&j: &usize| word(&first[j]) && (j > 0 || second.is_none_or(|s| s.get(0).is_none_or(|c| !word(c))));
                let elsewhere = (1..first.len()).any(|j| word(&first[j]));
                positions.iter().any(title) || !elsewhere && is_header(first, second)
            }
        }
    }

    /// Of a header, what should be words.
    pub fn cells<'a>(&self, header: &'a ByteRecord) -> Vec<&'a [u8]> {
        match self {
            Wanted::All => header.iter().collect(),
            Wanted::Named => vec![],
            Wanted::At(positions) => positions.iter().map(|&j| &header[j]).collect(),
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
