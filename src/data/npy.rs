//! NumPy's `.npy`: a magic word, a version, the length of a header, the header as the text of a Python dictionary,
//! then the numbers. Reads versions 1 to 3 of every plain real type; writes `<f4` in C order. No objects, no records.
//! <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>
use std::cell::{Cell, RefCell};
use std::io::{self, Write};

use half::f16;

use super::named::shown;
use super::rounding::Rounding;
use super::source::{Real, Source, Wide, room, shape};
use super::{Dataset, Values};
use crate::{Error, Result};

const MAGIC: &[u8] = b"\x93NUMPY";
/// A longer header than this is damage; NumPy itself refuses beyond 10,000 characters.
const HEADER_BOUND: usize = 1 << 16;

/// Whether these first bytes are npy's.
pub(super) fn is_npy(head: &[u8]) -> bool {
    head.starts_with(MAGIC)
}

/// What stands before the numbers.
struct Header {
    /// The type of the numbers, as `<f4`.
    kind: String,
    fortran: bool,
    dims: Vec<u64>,
}

/// Examples along the first dimension; the others are flattened, and one dimension is one column.
pub(super) fn read(mut source: Source) -> Result<Dataset> {
    let Header { kind, fortran, dims } = header(&mut source)?;
    let (size, real) = element(&kind).ok_or_else(|| {
        let name = &source.name;
        Error::failed(match kind.trim_start_matches(['<', '>', '|', '=']).as_bytes() {
            [b'O', ..] => format!(
                "{name} holds objects of Python: must be one array of real numbers; write it again with np.stack(x), of rows as long \
                 as each other"
            ),
            [b'U' | b'S', ..] => format!(
                "{name} holds words: must be real numbers; write what has words as csv, for --categorical or --classes"
            ),
            _ => format!(
                "{name} holds numbers of the type \"{}\": must be real numbers; write it again with x.astype(\"float32\")",
                shown(&kind)
            ),
        })
    })?;
    let n = source.claim(&dims, size)?;
    let (rows, cols) = (dims[0] as usize, n / dims[0] as usize);
    let (rounding, seen) = (RefCell::new(Rounding::new(cols)), Cell::new(0));
    let values = if kind.ends_with("u1") {
        let what = format!("the shape ({})", shape(&dims));
        Values::Bytes(in_rows(&mut source, n, &dims, fortran, |source, n| source.bytes(n, &what))?)
    } else {
        let read = |source: &mut Source, n| match wide(&kind) {
            None => source.reals(n, size, real),
            Some(wide) => source.reals_seen(n, size, real, |bytes| {
                let i = seen.replace(seen.get() + 1);
                let (row, j) = match fortran && dims.len() > 1 {
                    true => (i % rows, in_c_order(&dims[1..], i / rows)),
                    false => (i / cols, i % cols),
                };
                rounding.borrow_mut().see(row, j, wide(bytes));
            }),
        };
        Values::Reals(in_rows(&mut source, n, &dims, fortran, read)?)
    };
    source.end()?;
    let mut data = Dataset { coarse: rounding.into_inner().coarse(), ..Dataset::of(source.name, &dims, values) };
    if dims.len() == 1 && rows > 1 {
        data.notes.push(format!("{}: one dimension, taken as {rows} examples of one number", data.name));
    }
    Ok(data)
}

/// One dimension of real numbers, each for itself; and of what type, as u1.
pub(super) fn reals(mut source: Source) -> Result<(Vec<f32>, String)> {
    let Header { kind, dims, .. } = header(&mut source)?;
    let (Some((size, real)), 1) = (element(&kind), dims.len()) else {
        return Err(not_a_list(&source, &kind, &dims, "real numbers"));
    };
    let values =
        if dims == [0] { vec![] } else { source.claim(&dims, size).and_then(|n| source.reals(n, size, real))? };
    source.end()?;
    Ok((values, kind.trim_start_matches(['<', '>', '|', '=']).into()))
}

/// One dimension of whole numbers; one that `T` does not hold becomes `most`.
pub(super) fn whole_numbers<T: TryFrom<u64> + Copy>(mut source: Source, most: T) -> Result<Vec<T>> {
    let Header { kind, dims, .. } = header(&mut source)?;
    let little = !kind.starts_with('>');
    let size = match kind.strip_prefix(['<', '>', '|', '=']) {
        Some("i4" | "u4") if dims.len() == 1 => 4,
        Some("i8" | "u8") if dims.len() == 1 => 8,
        _ => return Err(not_a_list(&source, &kind, &dims, "whole numbers of 4 or 8 bytes")),
    };
    let number = |bytes: &[u8]| {
        let mut all = [0; 8];
        let sign = if little { bytes[size - 1] } else { bytes[0] };
        for (at, byte) in all[..size].iter_mut().enumerate() {
            *byte = bytes[if little { at } else { size - 1 - at }];
        }
        let number = if sign >= 0x80 { u64::MAX } else { u64::from_le_bytes(all) };
        T::try_from(number).unwrap_or(most)
    };
    let numbers =
        if dims == [0] { vec![] } else { source.claim(&dims, size).and_then(|n| source.numbers(n, size, number))? };
    source.end()?;
    Ok(numbers)
}

/// A word: what `np.array("csr")` holds, or `np.array(b"csr")`.
pub(super) fn text(mut source: Source) -> Result<String> {
    let Header { kind, dims, .. } = header(&mut source)?;
    let word = kind.get(1..).and_then(|kind| {
        let (each, length) = kind.strip_prefix('S').map(|n| (1, n)).or(kind.strip_prefix('U').map(|n| (4, n)))?;
        Some(each * length.parse::<usize>().ok().filter(|&n| n <= 16)?)
    });
    let (Some(length), []) = (word, &dims[..]) else {
        return Err(not_a_list(&source, &kind, &dims, "a word"));
    };
    let bytes = source.bytes(length, "the word")?;
    source.end()?;
    Ok(bytes.into_iter().filter(|&b| b != 0).map(char::from).collect())
}

fn not_a_list(source: &Source, kind: &str, dims: &[u64], must: &str) -> Error {
    Error::failed(format!(
        "{} is of the type \"{}\" and the shape ({}): must be {must}; write it again with scipy.sparse.save_npz",
        source.name,
        shown(kind),
        shape(dims)
    ))
}

/// Whether a type is one of whole numbers.
fn is_whole(kind: &str) -> bool {
    kind.trim_start_matches(['<', '>', '|', '=']).starts_with(['u', 'i'])
}

/// Whether it is one dimension of whole numbers.
pub(super) fn holds_labels(mut source: Source) -> Result<bool> {
    let Header { kind, dims, .. } = header(&mut source)?;
    Ok(dims.len() == 1 && is_whole(&kind))
}

fn header(source: &mut Source) -> Result<Header> {
    let text = dictionary(source)?;
    let unreadable = |key: &str| {
        Error::failed(format!(
            "{}: the header of .npy has no readable {key:?}; write it again with np.save",
            source.name
        ))
    };
    let descr = value(&text, "descr").ok_or_else(|| unreadable("descr"))?;
    let fortran = match value(&text, "fortran_order").ok_or_else(|| unreadable("fortran_order"))? {
        v if v.starts_with("True") => true,
        v if v.starts_with("False") => false,
        _ => return Err(unreadable("fortran_order")),
    };
    let dims = value(&text, "shape").and_then(dims).ok_or_else(|| unreadable("shape"))?;
    let kind = quoted(descr).ok_or_else(|| {
        Error::failed(format!(
            "{} holds records, not plain numbers: save one (N, D) array of f4, f8 or u1",
            source.name
        ))
    })?;
    Ok(Header { kind: kind.into(), fortran, dims })
}

/// The text of the dictionary.
fn dictionary(source: &mut Source) -> Result<String> {
    let what = "the header of .npy";
    let version = source.bytes(8, what)?[6];
    let length = match version {
        1 => source.bytes(2, what)?.iter().rev().fold(0, |n, &b| n << 8 | b as usize),
        2 | 3 => source.bytes(4, what)?.iter().rev().fold(0, |n, &b| n << 8 | b as usize),
        _ => {
            return Err(Error::failed(format!(
                "{} is .npy of version {version}: must be 1, 2 or 3; write it again with np.save",
                source.name
            )));
        }
    };
    if length > HEADER_BOUND {
        return Err(Error::failed(format!(
            "{} claims a header of {length} bytes: must be at most {HEADER_BOUND}; write it again with np.save",
            source.name
        )));
    }
    Ok(String::from_utf8_lossy(&source.bytes(length, what)?).into_owned())
}

/// What follows `'key':` in the dictionary.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let at = text.find(&format!("'{key}'"))?;
    text[at + key.len() + 2..].trim_start().strip_prefix(':').map(str::trim_start)
}

/// The text between the quotes that `text` begins with.
fn quoted(text: &str) -> Option<&str> {
    text.strip_prefix('\'')?.split_once('\'').map(|(inside, _)| inside)
}

/// `(3, 4)`, `(3,)`, `()`; Python 2 wrote `(3L,)`.
fn dims(text: &str) -> Option<Vec<u64>> {
    let (inside, _) = text.strip_prefix('(')?.split_once(')')?;
    let numbers = inside.split(',').map(|d| d.trim().trim_end_matches('L')).filter(|d| !d.is_empty());
    numbers.map(|d| d.parse().ok()).collect()
}

/// Bytes per number and how to read one.
fn element(kind: &str) -> Option<(usize, Real)> {
    macro_rules! of {
        ($t:ty, $n:literal) => {
            if kind.starts_with('>') {
                ($n, |b| <$t>::from_be_bytes(b.try_into().expect("chunks of the type's size")) as f32)
            } else {
                ($n, |b| <$t>::from_le_bytes(b.try_into().expect("chunks of the type's size")) as f32)
            }
        };
    }
    let name = kind.strip_prefix(['<', '>', '|', '='])?;
    Some(match name {
        "b1" => (1, |b| (b[0] != 0) as u8 as f32),
        "u1" => of!(u8, 1),
        "i1" => of!(i8, 1),
        "u2" => of!(u16, 2),
        "i2" => of!(i16, 2),
        "u4" => of!(u32, 4),
        "i4" => of!(i32, 4),
        "u8" => of!(u64, 8),
        "i8" => of!(i64, 8),
        "f2" if kind.starts_with('>') => (2, |b| f16::from_be_bytes([b[0], b[1]]).to_f32()),
        "f2" => (2, |b| f16::from_le_bytes([b[0], b[1]]).to_f32()),
        "f4" => of!(f32, 4),
        "f8" => of!(f64, 8),
        _ => return None,
    })
}

/// How to read a number before it is rounded, of the types that f32 does not hold.
fn wide(kind: &str) -> Option<Wide> {
    macro_rules! of {
        ($t:ty) => {
            match kind.starts_with('>') {
                true => |b| <$t>::from_be_bytes(b.try_into().expect("chunks of the type's size")) as f64,
                false => |b| <$t>::from_le_bytes(b.try_into().expect("chunks of the type's size")) as f64,
            }
        };
    }
    Some(match kind.strip_prefix(['<', '>', '|', '='])? {
        "u4" => of!(u32),
        "i4" => of!(i32),
        "u8" => of!(u64),
        "i8" => of!(i64),
        "f8" => of!(f64),
        _ => return None,
    })
}

/// The place in C order, last index fastest, of column `from` in Fortran order, first index fastest.
fn in_c_order(dims: &[u64], mut from: usize) -> usize {
    dims.iter().fold(0, |col, &d| {
        let index = from % d as usize;
        from /= d as usize;
        col * d as usize + index
    })
}

/// Numbers that are read at once where columns come one after the other, if a column has not more.
const AT_ONCE: usize = 64 << 10;

/// All `n` numbers in rows. Those in Fortran order are read by columns, so that a large file is held once; where it is not
/// known that they are all there, they are read first, and memory grows with what comes.
fn in_rows<T: Copy + Default>(
    source: &mut Source,
    n: usize,
    dims: &[u64],
    fortran: bool,
    read: impl Fn(&mut Source, usize) -> Result<Vec<T>>,
) -> Result<Vec<T>> {
    if !fortran || dims.len() < 2 {
        return read(source, n);
    }
    let all = if source.is_covered() { None } else { Some(read(source, n)?) };
    let (rows, cols) = (dims[0] as usize, n / dims[0] as usize);
    let mut out = Vec::new();
    room(&source.name, &mut out, n)?;
    out.resize(n, T::default());
    let together = (AT_ONCE / rows).max(1);
    for first in (0..cols).step_by(together) {
        let some = first * rows..cols.min(first + together) * rows;
        let came = if all.is_none() { read(source, some.len())? } else { vec![] };
        let columns = all.as_ref().map_or(&came[..], |all| &all[some]);
        for (from, column) in (first..).zip(columns.chunks_exact(rows)) {
            let cells = out[in_c_order(&dims[1..], from)..].iter_mut().step_by(cols);
            cells.zip(column).for_each(|(cell, &value)| *cell = value);
        }
    }
    Ok(out)
}

/// Writes a matrix as `.npy` of version 1.0: `<f4`, C order, the numbers beginning at a multiple of 64 bytes.
///
/// `values` is (rows, cols), row-major.
///
/// # Errors
/// Those of `out`.
///
/// ```
/// let mut file = Vec::new();
/// vae_gpu::data::npy::write(&mut file, 2, 3, &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0])?;
/// assert_eq!(file.len(), 128 + 6 * 4);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn write(out: &mut impl Write, rows: usize, cols: usize, values: &[f32]) -> io::Result<()> {
    assert_eq!(values.len(), rows * cols, "a matrix has rows x cols numbers");
    let mut text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {cols}), }}");
    let before = MAGIC.len() + 4;
    let total = (before + text.len() + 1).next_multiple_of(64);
    text.extend(std::iter::repeat_n(' ', total - before - text.len() - 1));
    text.push('\n');
    out.write_all(MAGIC)?;
    out.write_all(&[1, 0])?;
    out.write_all(&(text.len() as u16).to_le_bytes())?;
    out.write_all(text.as_bytes())?;
    let mut buffer = Vec::with_capacity(4 * values.len().min(1 << 14));
    for part in values.chunks(1 << 14) {
        buffer.clear();
        buffer.extend(part.iter().flat_map(|v| v.to_le_bytes()));
        out.write_all(&buffer)?;
    }
    Ok(())
}
