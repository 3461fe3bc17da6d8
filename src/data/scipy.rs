//! Sparse matrices as `scipy.sparse.save_npz` writes them: an `.npz` of `format`, `shape`, `data` and where the entries are.
//! Their numbers stand for themselves, those of bytes too: few pictures are kept so.
use std::io::{Read, Seek};

use super::named::shown;
use super::source::{Source, shape};
use super::sparse::Sparse;
use super::zip::Archive;
use super::{Bytes, Dataset, Values, npy};
use crate::{Error, Result};

/// Rows, or columns, at most: a place takes 32 bits.
const MOST: u64 = u32::MAX as u64;

/// Whether an archive with arrays of these names is such a matrix.
pub(super) fn is_sparse(arrays: &[String]) -> bool {
    let has = |name: &str| arrays.iter().any(|array| array == name);
    has("format") && has("shape") && has("data") && ["indptr", "row", "coords", "offsets"].into_iter().any(has)
}

/// The matrix; `arrays` are the names and the places of what the archive has.
pub(super) fn read<R: Read + Seek>(archive: &mut Archive<R>, arrays: &[(String, usize)]) -> Result<Dataset> {
    let name = archive.name.clone();
    let format = npy::text(array(archive, arrays, "format")?)?;
    let dims = npy::whole_numbers(array(archive, arrays, "shape")?, u64::MAX)?;
    let &[rows, cols] = &dims[..] else {
        return Err(Error::failed(format!("{name} has the shape ({}): must be (examples, columns)", shape(&dims))));
    };
    if !["csr", "csc", "coo"].contains(&&format[..]) {
        return Err(Error::failed(format!(
            "{name} is a sparse matrix of the format {}: must be csr, csc or coo; write it again with save_npz(file, \
             x.tocsr())",
            shown(&format)
        )));
    }
    let (values, kind) = npy::reals(array(archive, arrays, "data")?)?;
    let entries = values.len() as u64;
    if rows == 0 || cols == 0 {
        return Err(Error::failed(format!(
            "{name} holds no numbers: its shape is ({rows} x {cols}), give a file with at least one example"
        )));
    }
    // Memory that a small file takes shall be small; with all zeros, as some commands take them, too.
    for (what, claimed, most, room, each) in [
        ("examples", rows, MOST, 1 << 16, 16),
        ("columns", cols, MOST, 1 << 20, 16),
        ("numbers with all zeros", rows.saturating_mul(cols), u64::MAX, 1 << 24, 1 << 16),
    ] {
        if claimed > most.min(room + each * entries) {
            return Err(Error::failed(format!(
                "{name} claims {claimed} {what}, and has {entries} entries: must be at most {room}, and {each} for each entry; \
                 leave out those without any"
            )));
        }
    }
    let (rows, cols) = (rows as usize, cols as usize);
    // Places beyond 32 bits are beyond the columns too.
    let mut places = |wanted: &str| npy::whole_numbers(array(archive, arrays, wanted)?, u32::MAX);
    let mut sparse = match &format[..] {
        "coo" => {
            let (row, column) = (places("row")?, places("col")?);
            Sparse::from_triples(&name, (rows, cols), &row, column, values)?
        }
        _ => {
            let across = places("indices")?;
            let starts = npy::whole_numbers(array(archive, arrays, "indptr")?, u64::MAX)?;
            let (along, told, width) = if format == "csr" { (rows, "rows", cols) } else { (cols, "columns", rows) };
            if starts.len() != along + 1 {
                return Err(Error::failed(format!(
                    "{name} has {} beginnings of {along} {told}: must have one more; write it again with \
                     scipy.sparse.save_npz",
                    starts.len()
                )));
            }
            let sparse = Sparse::new(&name, width, starts, across, values)?;
            if format == "csr" { sparse } else { sparse.transposed(&name, rows)? }
        }
    };
    if kind == "b1" {
        // Of true and true SciPy makes true.
        sparse.rows_mut().flat_map(|(_, values)| values).for_each(|x| *x = x.min(1.0));
    }
    // Those that a dense file would give as byte / 255: later files of a model are read as the first was.
    Ok(Dataset { bytes: (kind == "u1").then_some(Bytes::Plain), ..Dataset::new(name, cols, Values::Sparse(sparse)) })
}

/// One of its arrays.
fn array<'a, R: Read + Seek>(
    archive: &'a mut Archive<R>,
    arrays: &[(String, usize)],
    wanted: &str,
) -> Result<Source<'a>> {
    let name = &archive.name;
    let place = arrays.iter().find(|(array, _)| array == wanted).map(|&(_, place)| place).ok_or_else(|| {
        Error::failed(format!(
            "{name} has no array {wanted}: write it again with scipy.sparse.save_npz(file, x.tocsr())"
        ))
    })?;
    let full = format!("{name}:{wanted}");
    archive.read(place, full)
}
