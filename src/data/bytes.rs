//! What the bytes of a file stand for. The file does not say: it is found on the data that a model is trained on, kept in the
//! model, and holds for every later file of it, so that the same bytes are the same numbers.
use super::{Dataset, Values};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// What bytes stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bytes {
    /// Grey values: byte / 255.
    Grey,
    /// Zeros and ones, which stand for themselves.
    Binary,
}

impl Bytes {
    /// For a line about so many examples.
    pub fn told(self) -> &'static str {
        match self {
            Bytes::Grey => " of bytes / 255",
            Bytes::Binary => " of bytes 0 and 1",
        }
    }
}

/// Bytes as a file has them, and what they seem to be: where none exceeds 1 the zeros and ones of binary pictures (binarised
/// MNIST is written so), which are kept as 0 and 255. Read as grey they would be black to within 1/255.
pub(super) fn found(mut values: Vec<u8>) -> (Vec<u8>, Bytes) {
    if values.iter().any(|&b| b > 1) {
        return (values, Bytes::Grey);
    }
    values.iter_mut().for_each(|b| *b *= 255);
    (values, Bytes::Binary)
}

impl Dataset {
    /// The data with bytes that stand for what those of a model do, whatever they seem to be themselves. Data that were no
    /// bytes stay; all do where the model does not say.
    ///
    /// # Errors
    /// Zeros and ones are wanted, and a byte is neither. Black and white, 0 and 255, are zeros and ones too.
    pub fn with_bytes(mut self, want: Option<Bytes>) -> Result<Dataset> {
        let (Some(want), Some(have), Values::Bytes(values)) = (want, self.bytes, &mut self.values) else {
            return Ok(self);
        };
        let (cols, own) = (self.cols, self.cols - self.classes);
        match (have, want) {
            (Bytes::Binary, Bytes::Grey) => {
                values.chunks_mut(cols).flat_map(|row| &mut row[..own]).for_each(|b| *b /= 255);
                let name = &self.name;
                self.notes
                    .push(format!("{name}: no byte exceeds 1; each is divided by 255, as those of the model's data"));
            }
            (Bytes::Grey, Bytes::Binary) => {
                let other = values.iter().any(|b| !matches!(b, 0 | 255)); // a class is one of both
                if let Some(i) = values.iter().position(|&b| b > 1).filter(|_| other) {
                    return Err(Error::failed(format!(
                        "row {}, {} of {} is the byte {}: must be 0 or 1, as all bytes of the model's data, which stand for \
                         themselves; for grey values write byte / 255 as f4",
                        i / cols,
                        self.columns.told(i % cols),
                        self.name,
                        values[i]
                    )));
                }
            }
            _ => {}
        }
        Ok(Dataset { bytes: Some(want), ..self })
    }
}
