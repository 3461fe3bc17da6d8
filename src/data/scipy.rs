//! Sparse matrices as `scipy.sparse.save_npz` writes them: an `.npz` of `format`, `shape`, `data` and where the entries are.
//! Their numbers stand for themselves, those of bytes too: few pictures are kept so.
use std::io::{Read, Seek};

use super::named::shown;
use super::source::{Source, shape};
use super::sparse::{ROOM_FOR_EMPTY, Sparse};
use super::zip::Archive;
use super::{Dataset, Values, npy};
use crate::{Error, Result};

/// Whether an archive with arrays of these names is such a matrix.
pub(super) fn is_sparse(arrays: &[String]) -> bool {
    ["format", "shape", "data"].iter().all(|name| arrays.iter().any(|array| array == name))
}

/// The matrix; `arrays` are the names and the places of what the archive has.
pub(super) fn read<R: Read + Seek>(archive: &mut Archive<R>, arrays: &[(String, usize)]) -> Result<Dataset> {
    let name = archive.name.clone();
    let format = npy::text(array(archive, arrays, "format")?)?;
    let dims = npy::whole_numbers(array(archive, arrays, "shape")?)?;
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
    let values = npy::reals(array(archive, arrays, "data")?)?;
    let most = |claimed: u64| claimed <= (ROOM_FOR_EMPTY + 16 * values.len()) as u64;
    if rows == 0 || cols == 0 || !most(rows) || !most(cols) {
        return Err(Error::failed(format!(
            "{name} claims {rows} examples of {cols} columns, and has {} entries: must have one of each, and no more than \
             {ROOM_FOR_EMPTY} + 16 for each entry; leave out those without any",
            values.len()
        )));
    }
    let (rows, cols) = (rows as usize, cols as usize);
    let mut places = |wanted: &str| npy::whole_numbers(array(archive, arrays, wanted)?);
    // Places beyond 32 bits are beyond the columns too.
    let narrow = |places: Vec<u64>| places.into_iter().map(|j| j.try_into().unwrap_or(u32::MAX)).collect::<Vec<u32>>();
    let sparse = match &format[..] {
        "coo" => {
            let (row, column) = (narrow(places("row")?), narrow(places("col")?));
            Sparse::from_triples(&name, (rows, cols), &row, column, values)?
        }
        _ => {
            let (starts, across) = (places("indptr")?, narrow(places("indices")?));
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
    Ok(Dataset::new(name, cols, Values::Sparse(sparse)))
}

/// One of its arrays.
fn array<'a, R: Read + Seek>(
    archive: &'a mut Archive<R>,
    arrays: &[(String, usize)],
    wanted: &str,
) -> Result<Source<'a>> {
    let name = &archive.name;
    let place = arrays.iter().find(|(array, _)| array == wanted).map(|&(_, place)| place).ok_or_else(|| {
        Error::failed(format!("{name} has no array {wanted}: write it again with scipy.sparse.save_npz"))
    })?;
    let full = format!("{name}:{wanted}");
    archive.read(place, full)
}
