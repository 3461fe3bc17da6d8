//! The file that a command writes: `--to`, and `--force` for one that is there. What can be known about it is checked
//! before any work is done.
use super::condition::DataFor;
use super::{Common, print, told, unless_gone};
use crate::config::Run;
use crate::data::text::{Keep, Text};
use crate::data::to_csv::{self, Front, Of};
use crate::data::{Columns, List, npy};
use crate::files::write_atomically;
use crate::{Error, Result};
use clap::Args;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Where the result goes. A command with more to say about it says so with `mut_arg`.
#[derive(Args)]
pub(crate) struct Output {
    /// A .png, or a table: an .npy, or a .csv with the names of its columns; - is a csv on stdout
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// Replaces the file of --to where it exists
    #[arg(long, requires = "to")]
    force: bool,
}

/// What kind of file is written, by its name.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Target {
    Png,
    Table(Table),
}

/// How a table is written.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Table {
    Npy,
    /// With a header.
    Csv,
}

impl Table {
    /// Rows of as many numbers as there are names.
    pub(crate) fn write(self, path: &Path, values: &[f32], names: &[String], front: Option<Front>) -> Result<()> {
        self.write_with_words(path, values, names, &[], front)
    }

    /// Examples of a run. A csv has words where they are of words: of each the most probable.
    pub(crate) fn write_examples(self, path: &Path, values: &[f32], run: &Run, front: Option<Front>) -> Result<()> {
        self.write_with_words(path, values, &run.names(), &run.words(), front)
    }

    fn write_with_words(
        self,
        path: &Path,
        values: &[f32],
        names: &[String],
        words: &[Of],
        front: Option<Front>,
    ) -> Result<()> {
        write_table(path, |mut file| match self {
            Table::Npy => npy::write(&mut file, values.len() / names.len(), names.len(), values),
            Table::Csv => to_csv::write(&mut file, names, values, words, front.as_ref()),
        })
    }
}

/// What stands above a table of examples.
pub(crate) fn titles_of_examples(run: &Run) -> Vec<String> {
    to_csv::titles(&run.names(), &run.words())
}

/// In front of the rows of a csv that belong to no row of a file: what each of them is, in columns of these names. None of what is no
/// csv, and where the examples, or what they are told, have a column of such a name.
pub(crate) fn front_of_points(
    target: Target,
    run: &Run,
    titles: &[String],
    points: impl Iterator<Item = Vec<f64>>,
) -> Option<Front> {
    let mut names = titles_of_examples(run);
    names.extend(told::front(run, &[], 1).into_iter().flat_map(|front| front.titles));
    let row = |point: Vec<f64>| point.iter().map(|&x| (x as f32).to_string()).collect();
    let is_free = target.is_csv() && !titles.iter().any(|title| names.contains(title));
    is_free.then(|| Front { titles: titles.to_vec(), rows: points.map(row).collect(), times: 1 })
}

/// What stands in front of the rows of a csv: of a command that writes some for each example.
#[derive(Args)]
pub(crate) struct Kept {
    /// Columns of --data that a csv has in front of its rows, as they stand there: positions, ranges and names, as id,date. If not given
    /// a first column of names, or those of the files of a folder, where a row is written for each
    #[arg(long, value_name = "COLUMNS")]
    keep: Option<List>,
}

impl Kept {
    /// For a table of columns of these names, with `times` rows for each of `count` examples of `data`, which was read for the run.
    ///
    /// # Errors
    /// Columns that are not there, or are written anyway; some that are asked for where no text is read, or none written.
    pub(crate) fn front(
        &self,
        (data, run): (&DataFor, &Run),
        is_csv: bool,
        rows: (usize, usize),
        names: &[String],
    ) -> Result<Option<Front>> {
        self.front_of(data.file_and_part(run), &run.data.known_columns(), is_csv, rows, names)
    }

    /// The same of a file, unless the data are built in, that was read as these columns; or of the `part` of it that was held out.
    ///
    /// # Errors
    /// As [`Kept::front`].
    pub(crate) fn front_of(
        &self,
        (file, part): (Option<&Path>, f64),
        columns: &Columns,
        is_csv: bool,
        (count, times): (usize, usize),
        names: &[String],
    ) -> Result<Option<Front>> {
        let wrong = |why: String| match &self.keep {
            Some(list) => Err(Error::request(format!("keep {list}: {why}"))),
            None => Ok(None),
        };
        if !is_csv {
            return wrong("only a csv has words; pass --to FILE.csv, or leave --keep out".into());
        }
        let Some(path) = file else {
            return wrong(
                "built-in data, and what was held out, have no text; leave it out, or pass --data FILE".into(),
            );
        };
        // Names of rows that come again name none, and such a table would be refused as data.
        if times > 1 && self.keep.is_none() {
            return Ok(None);
        }
        let keep = self.keep.as_ref().map_or(Keep::RowNames, Keep::Listed);
        let text = match part > 0.0 {
            true => Text::held_out(path, columns, keep, (part, count))?,
            false => Text::read(path, columns, keep, count)?,
        };
        match text {
            Some(text) => {
                let twice = text.titles.iter().flatten().find(|title| names.contains(title));
                match twice {
                    Some(title) if self.keep.is_some() => {
                        wrong(format!("the table has a column {title:?} anyway; leave it out"))
                    }
                    _ if text.kept.is_empty() => Ok(None),
                    _ => Ok(Some(text.front(times))),
                }
            }
            None => wrong(format!("{} is no text that can be read a second time; leave it out", path.display())),
        }
    }
}

impl Target {
    /// So many, of a table.
    pub(crate) fn rows(self, rows: usize) -> Option<usize> {
        matches!(self, Target::Table(_)).then_some(rows)
    }
    pub(crate) fn is_csv(self) -> bool {
        self == Target::Table(Table::Csv)
    }
}

impl Output {
    /// For a command whose `--force` is of more than this file.
    pub(crate) fn new(to: PathBuf, force: bool) -> Output {
        Output { to, force }
    }

    /// The path, once a file can be written there.
    ///
    /// # Errors
    /// A file that is there already, without `--force`; a place where none can be made.
    pub(crate) fn path(&self) -> Result<&Path> {
        let path = self.to.as_path();
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => return Err(cannot_write(path, "it is a directory; name a file in it")),
            // A pipe or a terminal takes what comes; so does /dev/stdout, whatever file the shell has put behind it.
            Ok(found) if !found.is_file() || path.starts_with("/dev") => return Ok(path),
            Ok(_) if !self.force => {
                let path = path.display();
                return Err(Error::request(format!(
                    "to {path}: exists already; pass another name, or --force to replace it"
                )));
            }
            _ => {}
        }
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.into()); // the file is made where a link points
        let directory = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        if !directory.exists() {
            let reason = format!("the directory {} does not exist; create it first", directory.display());
            return Err(cannot_write(path, &reason));
        }
        let remedy = "pass a file in a directory that can be written to";
        try_to_write_in(directory).map_err(|e| cannot_write(path, &format!("{e}; {remedy}")))?;
        Ok(path)
    }

    /// There is JSON on stdout, and nothing else.
    fn beside_json(&self, common: &Common) -> Result<()> {
        match common.json && is_stdout(&self.to) {
            true => Err(Error::request("to -: with --json stdout has JSON, and nothing else; pass --to FILE.csv")),
            false => Ok(()),
        }
    }

    /// The path as before, and what its name asks for.
    ///
    /// # Errors
    /// Another ending than .png, .npy or .csv, stdout beside `--json`, and those of [`Output::path`].
    pub(crate) fn picture_or_table(&self, common: &Common) -> Result<(&Path, Target)> {
        self.beside_json(common)?;
        let target = match self.to.extension().and_then(|e| e.to_str()) {
            _ if is_stdout(&self.to) => return Ok((&self.to, Target::Table(Table::Csv))),
            Some("png") => Target::Png,
            Some("npy") => Target::Table(Table::Npy),
            Some("csv") => Target::Table(Table::Csv),
            other => {
                let (path, example) = (self.to.display(), self.to.file_stem().unwrap_or("picture".as_ref()));
                let of_tables = ["tsv", "txt", "gz", "tab", "dat", "xlsx", "parquet"];
                let ending = if other.is_some_and(|other| of_tables.contains(&other)) { "csv" } else { "png" };
                return Err(Error::request(format!(
                    "to {path}: must end in .png, .npy or .csv; pass --to {}",
                    ending_in(Path::new(example), ending).display()
                )));
            }
        };
        Ok((self.path()?, target))
    }

    /// The path as before, where a table is all that can be written. A name without an ending, as a pipe has, is an .npy.
    ///
    /// # Errors
    /// Another ending than .npy or .csv, stdout beside `--json`, and those of [`Output::path`].
    pub(crate) fn table(&self, common: &Common) -> Result<(&Path, Table)> {
        self.beside_json(common)?;
        let table = match self.to.extension().map(|e| e.to_str()) {
            _ if is_stdout(&self.to) => return Ok((&self.to, Table::Csv)),
            Some(Some("csv")) => Table::Csv,
            Some(Some("npy")) | None => Table::Npy,
            Some(_) => {
                let (path, csv) = (self.to.display(), ending_in(&self.to.with_extension(""), "csv"));
                return Err(Error::request(format!(
                    "to {path}: must end in .npy or .csv; pass --to {}",
                    csv.display()
                )));
            }
        };
        Ok((self.path()?, table))
    }
}

/// Of a command that says nothing else: as JSON, if that is asked for, the file that was written, and of a table how many rows.
pub(crate) fn wrote(common: &Common, path: &Path, rows: Option<usize>) -> Result<()> {
    if !common.json {
        return Ok(());
    }
    let mut said = serde_json::json!({ "to": path.display().to_string() });
    if let Some(rows) = rows {
        said["rows"] = rows.into();
    }
    print(said)
}

/// Whether a table goes to stdout.
pub(crate) fn is_stdout(path: &Path) -> bool {
    path == Path::new("-")
}

/// Checks that a table does not come between the lines of a command that has some on stdout.
///
/// # Errors
/// Both on stdout.
pub(crate) fn beside_lines(path: &Path) -> Result<()> {
    match is_stdout(path) {
        true => Err(Error::request("to -: what is printed stands on stdout already; pass --to FILE.csv")),
        false => Ok(()),
    }
}

/// As [`write_atomically`]; or to stdout, whose reader may go away once it has what it wanted.
pub(crate) fn write_table(path: &Path, fill: impl FnOnce(&mut dyn io::Write) -> io::Result<()>) -> Result<()> {
    if !is_stdout(path) {
        return write_atomically(path, fill);
    }
    let mut out = io::BufWriter::new(io::stdout().lock());
    let written = fill(&mut out).and_then(|()| out.flush());
    // What is left in the buffer would be written once more.
    let _ = out.into_parts();
    written.or_else(unless_gone)
}

/// Whether a directory can be made, and files in it. It is not made yet: what may fail comes first.
///
/// # Errors
/// A place where it cannot.
pub(crate) fn can_make(directory: &Path) -> Result<()> {
    let there = directory.ancestors().find(|part| part.exists()).filter(|part| !part.as_os_str().is_empty());
    try_to_write_in(there.unwrap_or(Path::new("."))).map_err(|e| {
        Error::failed(format!("cannot make the directory {}: {e}; pass another --out", directory.display()))
    })
}

/// Makes a file and takes it away: permissions, quotas and read-only disks have no shorter question.
fn try_to_write_in(directory: &Path) -> io::Result<()> {
    let trial = directory.join(format!(".vae-gpu-{}.trial", std::process::id()));
    File::create_new(&trial)?;
    fs::remove_file(&trial)
}

/// As [`crate::files::write_atomically`] says it.
fn cannot_write(path: &Path, reason: &str) -> Error {
    Error::failed(format!("cannot write {}: {reason}", path.display()))
}

/// A name with the ending behind it, unless it stands there, as in z.csv.gz.
fn ending_in(name: &Path, ending: &str) -> PathBuf {
    match name.extension() {
        Some(own) if own == ending => name.into(),
        _ => PathBuf::from(format!("{}.{ending}", name.display())),
    }
}
