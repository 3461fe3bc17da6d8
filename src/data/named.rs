//! Which of several arrays in a file is the data: the only one, or the one that the path names behind a colon.
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// How many names a message lists, and how many characters of each.
const LISTED: usize = 8;
const SHOWN: usize = 40;

/// `FILE:NAME` as a file that is there and the name of an array in it. A file of the whole name goes first.
pub(crate) fn split(path: &Path) -> (PathBuf, Option<String>) {
    let whole = (path.to_path_buf(), None);
    let Some(text) = path.to_str().filter(|_| !path.exists()) else { return whole };
    let mut parts = text.rmatch_indices(':').map(|(at, _)| (&text[..at], &text[at + 1..]));
    match parts.find(|(file, array)| !array.is_empty() && Path::new(file).is_file()) {
        Some((file, array)) => (file.into(), Some(array.into())),
        None => whole,
    }
}

/// Whether an array of this name, if it has one dimension of whole numbers, is no data but their classes.
pub(super) fn is_labels(array: &str) -> bool {
    ["labels", "label", "y"].contains(&array)
}

/// The place of the array that was asked for, or else of the only one that may be the data.
///
/// # Errors
/// It is not there, or none was asked for and there are several.
pub(super) fn choose(name: &str, arrays: &[String], data: &[usize], asked: Option<&str>) -> Result<usize> {
    let list = list(arrays);
    let example = arrays.first().map_or("NAME".into(), |array| shown(array));
    match asked {
        Some(asked) => arrays.iter().position(|array| array == asked).ok_or_else(|| {
            let asked = shown(asked);
            Error::request(format!("{name} has no array {asked}: it has {list}; name one, as --data {name}:{example}"))
        }),
        None if data.len() == 1 => Ok(data[0]),
        None => {
            let count = arrays.len();
            Err(Error::request(format!("{name} holds {count} arrays, {list}: name one, as --data {name}:{example}")))
        }
    }
}

/// "x, y and 3 more".
fn list(arrays: &[String]) -> String {
    let some = arrays.iter().take(LISTED).map(|array| shown(array)).collect::<Vec<_>>().join(", ");
    match arrays.len().saturating_sub(LISTED) {
        0 => some,
        more => format!("{some} and {more} more"),
    }
}

/// A name from inside a file, on one line and cut where it is long.
pub(super) fn shown(array: &str) -> String {
    cut(array, SHOWN)
}

/// So many characters of a text from inside a file, on one line.
pub(super) fn cut(text: &str, characters: usize) -> String {
    let cut: String = text.chars().take(characters).flat_map(char::escape_debug).collect();
    if text.chars().nth(characters).is_some() { format!("{cut}...") } else { cut }
}
