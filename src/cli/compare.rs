//! `vae-gpu compare`
use super::judge::Judged;
use super::report::Page;
use super::{BUILT_IN, Common, table};
use crate::checkpoint::Folder;
use crate::sweep::table::{Entry, Rows, Table};
use crate::{Error, Result};
use clap::Args;
use std::path::{Path, PathBuf};

/// Compares runs: in which options they differ, and what came of each, best first
#[derive(Args)]
#[command(
    mut_arg("to", |to| to.help("An .html for the table with the curves of all runs, on one page")),
    after_help = "Examples:\n  vae-gpu compare runs/digits runs/digits-2\n  \
    vae-gpu compare runs/sweep-digits --to sweep.html\n  \
    vae-gpu compare runs/a runs/b --data new.csv          which of them finds new data likelier, and whether that is more than chance\n\n\
    Runs that differ in their seed only are one row: mean ± standard deviation. The elbo is that of the model that was kept, \
    the best validation, or where there is no validation data the last of training; active units are those of report.html. \
    Where columns are scaled differently, rows stand by the elbo as a density in the units of the file, in which vae-gpu eval tells \
    L_K; where data differ, or likelihoods so that the bounds are of different quantities, no order means anything, and a line says so. \
    Of runs that are not done the table says so, and a row counts them only where none of it is done."
)]
pub(crate) struct CompareArgs {
    /// Run directories; that of a sweep stands for its runs
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
    /// One row for each run, those that differ in their seed only too
    #[arg(long)]
    each: bool,
    #[command(flatten)]
    page: Page,
    #[command(flatten)]
    judged: Judged,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn run(args: &CompareArgs) -> Result<()> {
    let to = args.page.path()?;
    let (mut entries, mut seen) = (vec![], vec![]);
    for path in &args.runs {
        for folder in runs(path)? {
            // A run that is named twice, say by itself and by its sweep, is one.
            let place = folder.0.canonicalize().unwrap_or(folder.0.clone());
            if !seen.contains(&place) {
                seen.push(place);
                let name = folder.0.display().to_string();
                // Beside others; one that was named is asked for.
                let is_named = folder.0 == *path;
                match Entry::read(folder, name) {
                    Err(e) if !is_named => args.common.say(format!("left out: {e}")),
                    read => entries.push(read?),
                }
            }
        }
    }
    if args.judged.is_asked_for() {
        return args.judged.judge(&entries, &args.common);
    }
    if !args.each {
        count_once(&mut entries).iter().for_each(|note| args.common.say(note));
    }
    let rows = if args.each { Rows::Runs } else { Rows::Combinations };
    let found = Table::new(entries, rows, &BUILT_IN)?;
    if let Some(to) = to {
        let name = to.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        table::write_page(&found, &name, to)?;
    }
    table::show(&found, &args.common)?;
    if let Some(to) = to {
        args.common.say(format!("{}: open it in a browser", to.display()));
    }
    Ok(())
}

/// Leaves out runs that another is, to the last digit of every bound: a copy, or the same command once more, is no second draw, and a
/// spread over both would be none. Says which.
fn count_once(entries: &mut Vec<Entry>) -> Vec<String> {
    let course = |entry: &Entry| entry.records.iter().map(|r| (r.step, r.split, r.elbo.to_bits())).collect::<Vec<_>>();
    let mut notes = vec![];
    for i in (1..entries.len()).rev() {
        let is_it = |other: &&Entry| {
            !other.records.is_empty() && other.run == entries[i].run && course(other) == course(&entries[i])
        };
        if let Some(other) = entries[..i].iter().find(is_it) {
            notes.insert(0, format!("{} is the same run as {}, and counts once", entries[i].name, other.name));
            entries.remove(i);
        }
    }
    notes
}

/// The run that a directory is, or the runs in it.
fn runs(path: &Path) -> Result<Vec<Folder>> {
    let what = path.display();
    if !path.is_dir() {
        return Err(Error::failed(format!("{what}: is no directory; give a run directory, as runs/digits")));
    }
    let found = if Folder(path.into()).config().exists() { vec![Folder(path.into())] } else { runs_in(path) };
    match found.is_empty() {
        true => Err(Error::failed(format!("{what}: holds no run; give a run directory, as runs/digits, or a sweep's"))),
        false => Ok(found),
    }
}

/// The directories in this one that hold a run, by name.
pub(super) fn runs_in(path: &Path) -> Vec<Folder> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    found.retain(|path| Folder(path.clone()).config().exists());
    found.sort();
    found.into_iter().map(Folder).collect()
}
