//! The table of several runs: as text, as JSON, and as a page.
use super::{Common, print, report};
use crate::Result;
use crate::files::write_atomically;
use crate::report::page_of_several;
use crate::sweep::table::{Entry, Row, Spread, Table};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Prints it, best first.
pub(super) fn show(table: &Table, common: &Common) -> Result<()> {
    table.notes().iter().for_each(|note| common.say(note));
    match common.json {
        true => table.json().into_iter().try_for_each(print),
        false => print(text(table)),
    }
}

fn text(table: &Table) -> String {
    let head = table.options.iter().map(|option| option.to_string());
    let of_file = table.by_file.then_some("of the file");
    let head = head.chain([table.elbo()].into_iter().chain(of_file).map(String::from));
    let head = head.chain(["kl", "active", "seconds", "run"].map(String::from));
    let head: Vec<String> = head.collect();
    let rows: Vec<Vec<String>> = table.rows.iter().map(|row| cells(table, row)).collect();
    let lines = aligned(&head, &rows);
    let mut out = lines[0].clone();
    for (row, line) in table.rows.iter().zip(&lines[1..]) {
        let _ = write!(out, "\n{line}");
        // What happened; what may help stands in failed.txt, and would be more lines than the results.
        let short = |remark: &String| remark.split("; ").next().unwrap_or_default().to_string();
        table.remarks(row).iter().map(short).for_each(|remark| _ = write!(out, "\n    {remark}"));
    }
    out
}

/// The head and the rows as lines: numbers stand below one another; the name, of any length, comes last.
pub(super) fn aligned(head: &[String], rows: &[Vec<String>]) -> Vec<String> {
    let last = head.len() - 1;
    let width = |column: usize| {
        let cells = rows.iter().map(|row| &row[column]).chain([&head[column]]).map(|cell| cell.chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..last).map(width).collect();
    let line = |cells: &[String]| {
        let numbers = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}  "));
        numbers.chain([cells[last].clone()]).collect::<String>()
    };
    [line(head)].into_iter().chain(rows.iter().map(|row| line(row))).collect()
}

fn cells(table: &Table, row: &Row) -> Vec<String> {
    let none = || "–".to_string();
    let number = |spread: Option<Spread>, digits: usize| match spread {
        None => none(),
        Some(Spread { mean, deviation: None }) => format!("{mean:.digits$}"),
        Some(Spread { mean, deviation: Some(deviation) }) => format!("{mean:.digits$} ± {deviation:.digits$}"),
    };
    let mean = |spread: Option<Spread>, digits| number(spread.map(|s| Spread { deviation: None, ..s }), digits);
    let several = row.runs.len() > 1;
    let run = match row.runs.as_slice() {
        [one] => table.entries[*one].name.clone(),
        all => format!("{} runs", all.len()),
    };
    let options = row.values.iter().map(|value| value.clone().unwrap_or_else(none));
    let bounds = [Some(number(row.elbo, 2)), table.by_file.then(|| number(row.of_file, 2))];
    let results = [number(row.kl, 2), mean(row.active, if several { 1 } else { 0 }), mean(row.seconds, 1), run];
    options.chain(bounds.into_iter().flatten()).chain(results).collect()
}

/// Writes the page, with links to the pages of its runs.
pub(super) fn write_page(table: &Table, name: &str, to: &Path) -> Result<()> {
    let from = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let from = from.canonicalize().unwrap_or(from.into());
    let page = page_of_several(name, &table.page(name, |entry| link(entry, &from)));
    write_atomically(to, |out| out.write_all(page.as_bytes()))
}

/// The way from a directory to the page of a run, if it has one.
fn link(entry: &Entry, from: &Path) -> Option<String> {
    let page = entry.folder.0.canonicalize().ok()?.join(report::FILE);
    let shared = page.components().zip(from.components()).take_while(|(a, b)| a == b).count();
    let up = from.components().skip(shared).map(|_| "..");
    let down: PathBuf = page.components().skip(shared).collect();
    let words = up.map(Some).chain(down.iter().map(|part| part.to_str())).collect::<Option<Vec<_>>>()?;
    page.exists().then(|| words.join("/"))
}
