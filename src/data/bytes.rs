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
    /// Numbers from 0 to 255: those of scaled columns, whose units are then those of the file.
    Plain,
}

impl Bytes {
    /// For a line about so many examples.
    pub fn told(self) -> &'static str {
        match self {
            Bytes::Grey => " of bytes / 255",
            Bytes::Binary => " of bytes 0 and 1",
            Bytes::Plain => "",
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

/// Bytes as numbers. From the end, in pieces that are given back: together they take little more than the numbers alone.
pub(super) fn reals(mut bytes: Vec<u8>, real: impl Fn(u8) -> f32) -> Vec<f32> {
    const PIECE: usize = 16 << 20;
    let mut out = vec![0f32; bytes.len()]; // zeros that nobody has written to take no memory yet
    while !bytes.is_empty() {
        let from = bytes.len().saturating_sub(PIECE);
        out[from..].iter_mut().zip(&bytes[from..]).for_each(|(x, &b)| *x = real(b));
        bytes.truncate(from);
        bytes.shrink_to_fit();
    }
    out
}

impl Dataset {
    /// The data with bytes that stand for what those of a model do, whatever they seem to be themselves. Data that were no
    /// bytes stay; all do where the model does not say.
    ///
    /// # Errors
    /// Zeros and ones are wanted, and a byte is neither. Black and white, 0 and 255, are zeros and ones too.
    pub fn with_bytes(mut self, want: Option<Bytes>) -> Result<Dataset> {
        let (Some(have), Some(want)) = (self.bytes, want) else { return Ok(self) };
        let (cols, own) = (self.cols, self.cols - self.classes);
        match (&mut self.values, have, want) {
            (Values::Bytes(values), Bytes::Binary, Bytes::Grey) => {
                values.chunks_mut(cols).flat_map(|row| &mut row[..own]).for_each(|b| *b /= 255);
                let name = &self.name;
                self.notes
                    .push(format!("{name}: no byte exceeds 1; each is divided by 255, as those of the model's data"));
            }
            (Values::Bytes(values), Bytes::Grey, Bytes::Binary)
                if values.iter().all(|&b| b <= 1 || b == 255 && own < cols) =>
            {
                // From memory; those of a file are found to be zeros and ones when it is read.
                values.chunks_mut(cols).flat_map(|row| &mut row[..own]).for_each(|b| *b = b.saturating_mul(255));
            }
            (Values::Bytes(_), Bytes::Grey, Bytes::Binary) => self.check_black_and_white()?,
            (Values::Bytes(values), _, Bytes::Plain) => {
                let one = if have == Bytes::Binary { 255 } else { 1 };
                let mut numbers = reals(std::mem::take(values), |b| (b / one) as f32);
                numbers.chunks_mut(cols).flat_map(|row| &mut row[own..]).for_each(|class| *class = class.min(1.0));
                self.values = Values::Reals(numbers);
            }
            // The 16 bits of a picture, as those of pictures of 8.
            (Values::Reals(values), Bytes::Grey, Bytes::Plain) => {
                values.chunks_mut(cols).flat_map(|row| &mut row[..own]).for_each(|x| *x *= 255.0);
            }
            (Values::Sparse(values), Bytes::Plain, Bytes::Grey) => {
                for (columns, values) in values.rows_mut() {
                    let own = columns.iter().zip(values).filter(|(j, _)| (**j as usize) < own);
                    own.for_each(|(_, x)| *x /= 255.0);
                }
            }
            (Values::Reals(values), Bytes::Plain, Bytes::Grey) => {
                values.chunks_mut(cols).flat_map(|row| &mut row[..own]).for_each(|x| *x /= 255.0);
            }
            _ => return Ok(self),
        }
        Ok(Dataset { bytes: Some(want), ..self })
    }

    /// Whether grey values are zeros and ones all the same.
    fn check_black_and_white(&self) -> Result<()> {
        let Values::Bytes(values) = &self.values else { return Ok(()) };
        let is_grey = values.iter().any(|b| !matches!(b, 0 | 255)); // a class is one of both
        match values.iter().position(|&b| b > 1).filter(|_| is_grey) {
            None => Ok(()),
            Some(i) => Err(Error::failed(format!(
                "row {}, {} of {} is the byte {}: must be 0 or 1, as all bytes of the model's data, which stand for themselves; \
                 for grey values write byte / 255 as f4",
                i / self.cols,
                self.columns.told(i % self.cols),
                self.name,
                values[i]
            ))),
        }
    }
}
