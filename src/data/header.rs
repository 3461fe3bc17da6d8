//! Whether the first row of a table is a header: as it is said to be, or else by its words, and by what the rows below it are.
use clap::ValueEnum;
use csv::ByteRecord;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

use super::Columns;
use super::csv::{Cell, cell, word};
use super::there::There;

/// Whether the first line of a text is the names of its columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Header {
    /// As its words and numbers, and those below, tell.
    #[default]
    Auto,
    /// Also where they are numbers.
    Yes,
    /// Also where the example is of words.
    No,
}

impl Header {
    /// Whether it is the one that needs no word.
    pub fn is_auto(&self) -> bool {
        *self == Header::Auto
    }
}

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

/// Numbers as names. Those of `columns` are looked at, beside which stand others or none.
///
/// They are a header where they grow, and the row below shows that they are no example: beside them stands a word above a number; or
/// they grow in even steps, as columns that are counted, years or wavelengths, and below are fractions, or there are so many that
/// they are no chance; or they are years, and those below are none.
fn is_of_numbers(columns: &[usize], beside: &[usize], first: &ByteRecord, second: Option<&ByteRecord>) -> bool {
    const SOME: usize = 3;
    const MORE: usize = 5;
    const MANY: usize = 8;
    let Some(second) = second.filter(|second| second.len() == first.len()) else { return false };
    let numbers: Option<Vec<u64>> = columns.iter().map(|&j| whole(&first[j])).collect();
    let Some(numbers) = numbers.filter(|_| columns.iter().all(|&j| !word(&second[j]))) else { return false };
    // pandas leaves the title of the names of rows out.
    if first[0].is_empty() && word(&second[0]) && columns.first() == Some(&1) {
        return are_distinct(&numbers);
    }
    if !numbers.is_sorted_by(|a, b| a < b) {
        return false;
    }
    let titles = || beside.iter().filter(|&&j| word(&first[j]));
    let no_years_below = || columns.iter().any(|&j| !whole(&second[j]).as_ref().is_some_and(is_year));
    if numbers.len() + titles().count() >= SOME && numbers.len() > 1 && numbers.iter().all(is_year) && no_years_below()
    {
        return true;
    }
    if numbers.len() < SOME {
        return false;
    }
    if titles().any(|&j| matches!(cell(&second[j]), Cell::Number(_))) {
        return true;
    }
    let step = numbers[1] - numbers[0];
    if numbers.windows(2).any(|n| n[1] - n[0] != step) {
        return false;
    }
    let fractions = columns.iter().filter(|&&j| whole(&second[j]).is_none()).count();
    let fewest = match fractions {
        0 => MANY,
        some if some < columns.len() => MORE,
        _ => SOME,
    };
    let fewest = match (titles().next(), step, numbers[0]) {
        (Some(_), 1, _) | (None, 1, 0) => fewest,
        (Some(_), ..) => fewest.max(MORE),
        // An example may be 1, 2, 3.
        (None, 1, 1) => MANY,
        (None, 2.., _) if fractions == columns.len() => MORE,
        _ => return false,
    };
    numbers.len() >= fewest
}

/// Names that are numbers, above rows that have numbers for names: pandas leaves the title of these out, and an example could
/// begin with a gap. It is none where the rows count from 0 and the names grow; or where these are years, or below them are
/// fractions alone.
fn is_above_numbered_rows(first: &ByteRecord, second: Option<&ByteRecord>) -> bool {
    if is_header(first, second) {
        return false; // as it counts its columns
    }
    let Some(second) = second.filter(|second| second.len() == first.len() && first.len() > 2) else { return false };
    let numbers: Option<Vec<u64>> = first.iter().skip(1).map(whole).collect();
    let Some(numbers) = numbers.filter(|_| first[0].is_empty() && whole(&second[0]).is_some()) else { return false };
    let cells = || second.iter().skip(1);
    let are_fractions = || cells().all(|c| whole(c).is_none() && matches!(cell(c), Cell::Number(_)));
    let from_zero = &second[0] == b"0" && numbers.is_sorted_by(|a, b| a < b);
    let are_years = || numbers.iter().all(is_year) && !cells().all(|c| whole(c).as_ref().is_some_and(is_year));
    from_zero || are_distinct(&numbers) && (are_years() || are_fractions())
}

fn are_distinct(numbers: &[u64]) -> bool {
    numbers.iter().collect::<HashSet<_>>().len() == numbers.len()
}

fn is_year(number: &u64) -> bool {
    (1800..=2100).contains(number)
}

/// x0, x1, and so on: what columns are called that have no names, as `Run::names` has it.
fn is_ours(cell: &[u8]) -> bool {
    cell.strip_prefix(b"x").and_then(whole).is_some()
}

/// Whether the row is these names, in whatever order; an empty cell may stand in front, where pandas has no title.
fn are_names(names: &[String], row: &ByteRecord) -> bool {
    // A single short one would be a number like another.
    const LONG: usize = 4;
    let mut names: Vec<&[u8]> = names.iter().map(String::as_bytes).collect();
    let mut cells: Vec<&[u8]> = row.iter().skip(row[0].is_empty() as usize).collect();
    names.sort_unstable();
    cells.sort_unstable();
    names == cells && (names.len() > 1 || names.iter().any(|name| name.len() >= LONG))
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
    /// Whether it has one is known: it was said, or the names by which columns are asked for stand in the first row.
    Known(bool),
    /// At these positions; in the other columns words mean nothing. Whether they are those of a model, and whether the first column
    /// of the file is of words, which then says nothing of names of rows.
    At(Vec<usize>, bool, bool),
}

impl Wanted {
    pub fn of(columns: Option<&Columns>, first: &ByteRecord) -> Wanted {
        let Some(columns) = columns else { return Wanted::All };
        match columns.said() {
            Header::Yes => return Wanted::Known(true),
            Header::No if columns.are_first() => return Wanted::Known(false),
            // A later file may have one, where it shows: words where there are none, or the names that this program gives.
            Header::No if !columns.words.is_empty() => return Wanted::Known(first.iter().all(is_ours)),
            _ => {}
        }
        // Behind the mark of a comment, as NumPy writes it.
        let behind = first[0].strip_prefix(b"#").map(<[u8]>::trim_ascii);
        let cells: HashSet<&[u8]> = first.iter().chain(behind).collect();
        let has = |name: &String| cells.contains(name.as_bytes());
        let known = !columns.names.is_empty() && columns.names.iter().all(has);
        // Names that are numbers may stand in an example too; but hardly all, in this order, or all alone.
        let positions: Vec<usize> = match columns.are_all() {
            true => (first.len().saturating_sub(columns.names.len())..first.len()).collect(),
            false => columns.taken.iter().flat_map(|&(from, to)| from..to.min(first.len())).collect(),
        };
        let same = || positions.iter().map(|&j| &first[j]).eq(columns.names.iter().map(String::as_bytes));
        let others = columns.alone.len() == first.len() && are_names(columns.names_alone(), first);
        if columns.by_name() && first.iter().any(word)
            || known && (first.iter().any(word) || same())
            || are_names(&columns.names, first)
            || others
        {
            return Wanted::Known(true);
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
            Wanted::Known(is_header) => *is_header,
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
    pub fn is_of_numbers(&self, first: &ByteRecord, second: Option<&ByteRecord>) -> bool {
        let all: Vec<usize> = (0..first.len()).collect();
        match self {
            Wanted::All => {
                let is_named = |row: &ByteRecord| row.get(0).is_some_and(word);
                let below = second.is_some_and(is_named);
                let (beside, columns) = all.split_at((is_named(first) || first[0].is_empty() && below) as usize);
                // A word above a number in the first column is told by that.
                is_above_numbered_rows(first, second)
                    || (!is_named(first) || below) && is_of_numbers(columns, beside, first, second)
            }
            Wanted::At(positions, false, _) => {
                let mut is_taken = vec![false; first.len()];
                positions.iter().for_each(|&j| is_taken[j] = true);
                let beside: Vec<usize> = all.iter().copied().filter(|&j| !is_taken[j]).collect();
                // Those that are not taken tell too.
                let (words, numbers): (Vec<usize>, Vec<usize>) = all.iter().partition(|&&j| word(&first[j]));
                is_above_numbered_rows(first, second)
                    || is_of_numbers(positions, &beside, first, second)
                    || is_of_numbers(&numbers, &words, first, second)
            }
            _ => false,
        }
    }

    /// Of a header, what should be words.
    pub fn cells<'a>(&self, header: &'a ByteRecord) -> Vec<&'a [u8]> {
        match self {
            Wanted::All | Wanted::Again => header.iter().collect(),
            Wanted::Known(_) => vec![],
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
