//! From a path, or from bytes, to a data set: which format it is, told by its first bytes.
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek};
use std::path::Path;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::source::Source;
use super::{Columns, Dataset, csv, idx, named, npy, npz, pictures, safetensors, zip};
use crate::{Error, Result};

/// What is read, for messages.
pub(super) const FORMATS: &str = "idx, .npy, .npz, .safetensors, .png or numeric .csv";

/// What is said of NaN where none may be.
pub(crate) const MISSING: &str = "must be a number; repair it, leave the example out, or train with --missing allow";

/// What becomes of missing values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missing {
    /// A file that lacks some is refused.
    #[default]
    Refuse,
    /// They are NaN.
    Allow,
    /// Refused, and nobody could allow them, nor words: of a mixture.
    #[value(skip)]
    #[serde(skip)]
    Never,
}

impl Missing {
    /// Whether it is the one that needs no word.
    pub fn is_refused(&self) -> bool {
        *self != Missing::Allow
    }

    /// What is said of NaN where none may be.
    fn sentence(self) -> &'static str {
        if self == Missing::Never { "must be a number; repair it, or leave the example out" } else { MISSING }
    }
}

impl Dataset {
    /// Reads idx, `.npy`, `.npz`, `.safetensors`, PNG or numeric `.csv`, those but zip and PNG plain or packed by gzip, or a
    /// folder of PNG pictures. `FILE:NAME` is an array by its name, of `.npz` or `.safetensors`.
    ///
    /// Bytes stand for byte / 255; where no byte of an array exceeds 1 they are binary pictures and stand for
    /// themselves (they are kept as 0 and 255). [`Dataset::with_bytes`] makes of either what a model learned. The 16 bits
    /// of a picture stand for value / 65535. Every other number becomes an f32; [`Dataset::check_rounding`] says where that
    /// leaves too little.
    ///
    /// Of a sparse matrix in `.npz` every number stands for itself, until a model says what bytes are; entries of one place are
    /// added; and none is held against the step of f32.
    ///
    /// Memory stays within a small multiple of the file. What is packed may unpack to 64 MiB + 100 times its bytes.
    ///
    /// # Errors
    /// Where the file cannot be read, is damaged, holds no example, or holds a number that is missing or not finite;
    /// where several arrays may be meant.
    pub fn read(path: &Path) -> Result<Self> {
        Self::read_columns(path, None, Missing::Refuse)
    }

    /// The same for the bytes of a file, called `name` in messages.
    ///
    /// # Errors
    /// Those of [`Dataset::read`].
    pub fn from_bytes(name: &str, bytes: &[u8]) -> Result<Self> {
        let length = Some(bytes.len() as u64);
        Self::parse(name.into(), Cursor::new(bytes), length, None, None, Missing::Refuse)?.finite(Missing::Refuse)
    }

    /// [`Dataset::read_columns`] for the bytes of a file, called `name` in messages.
    ///
    /// # Errors
    /// Those of [`Dataset::read_columns`].
    pub fn columns_from_bytes(name: &str, bytes: &[u8], columns: &Columns, missing: Missing) -> Result<Self> {
        let length = Some(bytes.len() as u64);
        Self::parse(name.into(), Cursor::new(bytes), length, None, Some(columns), missing)?
            .taking(Some(columns), missing)
    }

    fn finite(self, missing: Missing) -> Result<Self> {
        let must = "must be a finite number below 3.4e38; repair it or leave the example out";
        // What is missing is told first; but all are looked at once only, where all is well.
        let or_missing = |e| self.check(0..self.cols, |v| !v.is_nan(), missing.sentence()).err().unwrap_or(e);
        self.check(0..self.cols, f32::is_finite, must).map_err(or_missing)?;
        Ok(self)
    }

    /// As [`Dataset::read`], but only some columns, where they are named. Where missing values are allowed, NaN, and in text an
    /// empty cell, a word such as NA, or one of ? . -, become NaN. Of text, what is not taken may be words.
    ///
    /// # Errors
    /// Those of [`Dataset::read`], columns that are not there.
    pub fn read_columns(path: &Path, columns: Option<&Columns>, missing: Missing) -> Result<Self> {
        let (path, array) = named::split(path);
        let data = match path.is_dir() {
            true => pictures::read_folder(&path)?,
            false => {
                let (name, file, length) = open_file(&path)?;
                Self::parse(name, file, length, array.as_deref(), columns, missing)?
            }
        };
        data.taking(columns, missing)
    }

    /// These columns of a file that was parsed, checked.
    fn taking(self, columns: Option<&Columns>, missing: Missing) -> Result<Self> {
        let given = columns.and_then(|columns| columns.asked.as_ref()?.names.as_ref());
        if let (Some(given), true) = (given, self.columns != Columns::default()) {
            return Err(given.refused_by(&self.name));
        }
        let data = match columns {
            // Text is the one format that has taken them already.
            Some(columns) if self.columns == Columns::default() => self.with_columns(columns)?,
            _ => self,
        };
        if missing.is_refused() {
            return data.finite(missing);
        }
        data.check(
            0..data.cols,
            |v| v.is_finite() || v.is_nan(),
            "must be a finite number below 3.4e38, or NaN where it is missing",
        )?;
        Ok(data)
    }

    /// The data of a file of `length` bytes, or of a pipe, which has none.
    fn parse(
        name: String,
        mut file: impl Read + Seek,
        length: Option<u64>,
        array: Option<&str>,
        columns: Option<&Columns>,
        missing: Missing,
    ) -> Result<Self> {
        // Only these two need to go back and forth in the file.
        if let Some(length) = length {
            let mut head = Vec::new();
            let looked = file.by_ref().take(8).read_to_end(&mut head).and_then(|_| file.rewind());
            looked.map_err(|e| Error::failed(format!("{name} cannot be read: {e}")))?;
            if zip::is_zip(&head) {
                return npz::read(name, file, length, array);
            }
            if pictures::is_png(&head) {
                only_array(&name, array)?;
                return pictures::read(name, BufReader::new(file), length);
            }
        }
        let source = Source::new(name, file, length)?;
        let (name, head) = (&source.name, &source.head);
        if zip::is_zip(head) || pictures::is_png(head) {
            return Err(Error::failed(format!(
                "{name} is a zip archive or a picture that comes packed by gzip or through a pipe: give the file itself"
            )));
        }
        if safetensors::is_safetensors(head) {
            return safetensors::read(source, array);
        }
        only_array(name, array)?;
        if npy::is_npy(head) {
            npy::read(source)
        } else if idx::is_idx(head) {
            idx::read(source)
        } else {
            csv::read(source, columns, missing)
        }
    }
}

/// Formats that are met with and not read, by how they begin; what they are, and what helps.
const OTHERS: [(&[u8], &str, &str); 3] = [
    (b"\x89HDF", "HDF5, as .h5 and .h5ad are", "write its matrix in Python, by numpy.save or scipy.sparse.save_npz"),
    (b"PAR1", "Parquet", "write it as csv, as by pandas.read_parquet(FILE).to_csv(\"FILE.csv\", index=False)"),
    (
        b"%%MatrixMarket",
        "a MatrixMarket file",
        "write it in Python, by scipy.sparse.save_npz(\"FILE.npz\", scipy.io.mmread(FILE).tocsr())",
    ),
];

/// What a file that begins so is, and what helps, where it is of a format that is met with and not read.
pub(super) fn foreign(head: &[u8]) -> Option<String> {
    let (_, what, remedy) = OTHERS.iter().find(|(begin, ..)| head.starts_with(begin))?;
    Some(format!("{what}, which is not read: {remedy}"))
}

/// Whether a file that begins so, unpacked, is none of the formats that are no text.
pub(super) fn is_text(head: &[u8]) -> bool {
    let others = [zip::is_zip, pictures::is_png, safetensors::is_safetensors, npy::is_npy, idx::is_idx];
    !others.iter().any(|is| is(head))
}

/// A file, its path for messages, and how long it is, unless it is a pipe.
pub(super) fn open_file(path: &Path) -> Result<(String, File, Option<u64>)> {
    let name = path.display().to_string();
    let remedy = if name == "-" { "standard input is /dev/stdin" } else { "check the path" };
    let cannot = |e: io::Error| Error::failed(format!("{name} cannot be read: {e}; {remedy}"));
    let file = File::open(path).map_err(cannot)?;
    let about = file.metadata().map_err(cannot)?;
    if about.is_dir() {
        return Err(Error::failed(format!("{name} is a directory: give one file")));
    }
    let length = about.is_file().then_some(about.len());
    Ok((name, file, length))
}

/// Checks that no array was asked for by name in a file that has but one.
fn only_array(name: &str, asked: Option<&str>) -> Result<()> {
    match asked {
        None => Ok(()),
        Some(asked) => Err(Error::request(format!(
            "{name}:{}: only .npz and .safetensors hold arrays by name; pass {name} alone",
            named::shown(asked)
        ))),
    }
}
