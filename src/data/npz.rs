//! NumPy's `.npz`: a zip archive with an `.npy` for each array.
use std::io::{Read, Seek};

use super::zip::Archive;
use super::{Dataset, named, npy, scipy};
use crate::{Error, Result};

/// The array that was asked for, or else the only one, or the sparse matrix that all are. Labels beside the data are passed over.
pub(super) fn read(name: String, file: impl Read + Seek, length: u64, asked: Option<&str>) -> Result<Dataset> {
    let mut archive = Archive::open(name, file, length)?;
    let inside = archive.entries.iter().enumerate();
    let arrays = inside.filter_map(|(i, e)| Some((i, e.name.strip_suffix(".npy")?.to_string())));
    let (places, arrays): (Vec<usize>, Vec<String>) = arrays.unzip();
    let name = archive.name.clone();
    if archive.entries.iter().any(|entry| entry.name.starts_with("xl/") || entry.name == "content.xml") {
        return Err(Error::failed(format!("{name} is a workbook of a spreadsheet: save its sheet as csv")));
    }
    if archive.entries.iter().any(|entry| entry.name == "data.pkl" || entry.name.ends_with("/data.pkl")) {
        return Err(Error::failed(format!(
            "{name} is what torch.save wrote: give np.save(\"x.npy\", x.numpy()), or safetensors.torch.save_file"
        )));
    }
    if arrays.is_empty() {
        return Err(Error::failed(format!(
            "{name} is a zip archive without an .npy in it: write one with np.savez, or unpack it with unzip"
        )));
    }
    if asked.is_none() && scipy::is_sparse(&arrays) {
        return scipy::read(&mut archive, &arrays.into_iter().zip(places).collect::<Vec<_>>());
    }
    let full = |i: usize| format!("{name}:{}", named::shown(&arrays[i]));
    let mut data: Vec<usize> = (0..arrays.len()).collect();
    if asked.is_none() && arrays.len() > 1 {
        // A file that cannot be read is no labels; if it is the one chosen, reading it says why.
        data.retain(|&i| {
            let mut is_labels = |i| npy::holds_labels(archive.read(places[i], full(i))?);
            !(named::is_labels(&arrays[i]) && is_labels(i).unwrap_or(false))
        });
    }
    let i = named::choose(&name, &arrays, &data, asked)?;
    let source = archive.read(places[i], full(i))?;
    if !npy::is_npy(&source.head) {
        let name = source.name;
        return Err(Error::failed(format!(
            "{name} is not .npy as its name says: write the archive again with np.savez"
        )));
    }
    npy::read(source)
}
