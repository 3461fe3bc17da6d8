//! The bytes of one file, plain or packed, with every claim of a header held against what is really there.
//! A claim reserves memory only where the length of the file covers it; otherwise memory grows with the bytes that come.
use std::fmt;
use std::io::{self, Cursor, Read};

use super::gzip;
use super::read::FORMATS;
use crate::{Error, Result};

/// How far a reader may look ahead to tell the format.
const HEAD: u64 = 64 << 10;
/// What is reserved at once, in bytes, for a number of them that is only claimed; then as much as has come.
const STEP: usize = 256 << 10;

/// How the bytes of one number become a real.
pub(super) type Real = fn(&[u8]) -> f32;
/// The same before it is rounded, where f32 does not hold all of them.
pub(super) type Wide = fn(&[u8]) -> f64;

/// A file being read, from its first unpacked byte.
pub(super) struct Source<'a> {
    /// The path, for messages.
    pub name: String,
    /// The first bytes; reading gives them again.
    pub head: Vec<u8>,
    reader: Box<dyn Read + 'a>,
    /// Bytes not yet read; unknown for a pipe and for packed bytes.
    left: Option<u64>,
    packed: bool,
}

impl<'a> Source<'a> {
    /// The bytes of `reader`, unpacked where they are gzip. Their number, where it is known, is `length`.
    ///
    /// # Errors
    /// Where they cannot be read, are none, or are packed twice.
    pub fn new(name: String, reader: impl Read + 'a, length: Option<u64>) -> Result<Self> {
        let plain = Self { name, head: Vec::new(), reader: Box::new(reader), left: length, packed: false }.look()?;
        if !gzip::is_gzip(&plain.head) {
            return Ok(plain);
        }
        let unpacked = Self::packed(plain.name, gzip::unpack(plain.reader, length), None)?;
        if gzip::is_gzip(&unpacked.head) {
            let name = unpacked.name;
            return Err(Error::failed(format!("{name} is packed by gzip twice: unpack it once with gunzip")));
        }
        Ok(unpacked)
    }

    /// What a `reader` unpacks; `left` bytes, where they lie there as they are.
    ///
    /// # Errors
    /// Where it cannot be unpacked, or is nothing.
    pub fn packed(name: String, reader: impl Read + 'a, left: Option<u64>) -> Result<Self> {
        Self { name, head: Vec::new(), reader: Box::new(reader), left, packed: true }.look()
    }

    /// Fills `head` and puts the bytes back in front of the rest.
    fn look(mut self) -> Result<Self> {
        let mut head = Vec::new();
        self.reader.by_ref().take(HEAD).read_to_end(&mut head).map_err(|e| self.broken(e))?;
        if head.is_empty() {
            let what = if self.packed { "unpacks to nothing" } else { "is empty" };
            let name = self.name;
            return Err(Error::failed(format!("{name} {what}: give a file of {FORMATS} with at least one example")));
        }
        let reader = Box::new(Cursor::new(head.clone()).chain(self.reader));
        Ok(Self { reader, head, ..self })
    }

    /// The sentence for bytes that cannot be had.
    pub fn broken(&self, e: io::Error) -> Error {
        let name = &self.name;
        Error::failed(match e.get_ref().and_then(|e| e.downcast_ref::<Refused>()) {
            Some(refused) => format!("{name} {refused}"),
            None if self.packed => {
                format!("{name} cannot be unpacked: {e}; the file is cut short or damaged, fetch it again")
            }
            None => format!("{name} cannot be read: {e}"),
        })
    }

    fn cut_short(&self, what: &str, need: u64, got: u64) -> Error {
        let name = &self.name;
        Error::failed(format!("{name} is cut short: {what} takes {need} bytes, but {got} are left; fetch it again"))
    }

    /// How many numbers `dims` are, and how many bytes at `size` each.
    ///
    /// # Errors
    /// Where there are none, or more than memory can address.
    pub fn count(&self, dims: &[u64], size: usize) -> Result<(usize, u64)> {
        let name = &self.name;
        let shape = shape(dims);
        if dims.is_empty() || dims.contains(&0) {
            return Err(Error::failed(format!(
                "{name} holds no numbers: its shape is ({shape}), give a file with at least one example"
            )));
        }
        let count = dims.iter().try_fold(1u64, |n, &d| n.checked_mul(d));
        let bytes = count.and_then(|n| n.checked_mul(size as u64)).filter(|&b| b <= isize::MAX as u64);
        match (count, bytes) {
            (Some(count), Some(bytes)) => Ok((count as usize, bytes)),
            _ => Err(Error::failed(format!(
                "{name} claims the shape ({shape}), more than memory can address: the header is damaged, fetch it again"
            ))),
        }
    }

    /// Checks that `dims` numbers of `size` bytes are what remains, and returns how many numbers that is.
    /// For packed bytes `end` does the second half of the check.
    ///
    /// # Errors
    /// Where there are none, more than memory can address, or another number of bytes than remain.
    pub fn claim(&self, dims: &[u64], size: usize) -> Result<usize> {
        let (count, bytes) = self.count(dims, size)?;
        match self.left {
            Some(left) if left < bytes => Err(self.cut_short(&format!("the shape ({})", shape(dims)), bytes, left)),
            Some(left) if left > bytes => Err(self.too_long(&format!(", by {}", left - bytes))),
            _ => Ok(count),
        }
    }

    /// Whether the bytes that a header claims are known to be there, once [`Source::claim`] has held them against the file.
    pub fn is_covered(&self) -> bool {
        self.left.is_some()
    }

    fn too_long(&self, by: &str) -> Error {
        Error::failed(format!(
            "{} holds more bytes than the shape in its header says{by}: the header or the end is damaged, fetch it again",
            self.name
        ))
    }

    /// The next `count` bytes.
    pub fn bytes(&mut self, count: usize, what: &str) -> Result<Vec<u8>> {
        let covered = self.left.is_some_and(|left| left >= count as u64);
        let mut out = Vec::new();
        while out.len() < count {
            let part = if covered { count } else { out.len().max(STEP).min(count - out.len()) };
            room(&self.name, &mut out, part)?;
            let got = self.reader.by_ref().take(part as u64).read_to_end(&mut out).map_err(|e| self.broken(e))?;
            if got < part {
                return Err(self.cut_short(what, count as u64, out.len() as u64));
            }
        }
        self.left = self.left.map(|left| left.saturating_sub(count as u64));
        Ok(out)
    }

    /// The next `count` numbers of `size` bytes each, a buffer at a time.
    pub fn reals(&mut self, count: usize, size: usize, real: Real) -> Result<Vec<f32>> {
        self.reals_seen(count, size, real, |_| ())
    }

    /// The same, and `see` has the bytes of each number.
    pub fn reals_seen(
        &mut self,
        count: usize,
        size: usize,
        real: Real,
        mut see: impl FnMut(&[u8]),
    ) -> Result<Vec<f32>> {
        self.numbers(count, size, |bytes| {
            see(bytes);
            real(bytes)
        })
    }

    /// The next `count` numbers of `size` bytes each, as what `number` makes of their bytes.
    pub fn numbers<T>(&mut self, count: usize, size: usize, mut number: impl FnMut(&[u8]) -> T) -> Result<Vec<T>> {
        let covered = self.left.is_some_and(|left| left >= (count * size) as u64);
        let mut out = Vec::new();
        while out.len() < count {
            if out.len() == out.capacity() {
                let more = if covered { count } else { out.len().max(STEP / 4).min(count - out.len()) };
                room(&self.name, &mut out, more)?;
            }
            let n = (out.capacity() - out.len()).min(count - out.len()).min(STEP / 8);
            let bytes = self.bytes(n * size, "what the header claims")?;
            out.extend(bytes.chunks_exact(size).map(&mut number));
        }
        Ok(out)
    }

    /// Passes over the next `count` bytes.
    pub fn skip(&mut self, count: u64, what: &str) -> Result<()> {
        let passed = io::copy(&mut self.reader.by_ref().take(count), &mut io::sink()).map_err(|e| self.broken(e))?;
        self.left = self.left.map(|left| left.saturating_sub(passed));
        if passed < count { Err(self.cut_short(what, count, passed)) } else { Ok(()) }
    }

    /// Checks that nothing follows; for packed bytes this is also where their checksum is compared.
    pub fn end(&mut self) -> Result<()> {
        let mut one = Vec::new();
        self.reader.by_ref().take(1).read_to_end(&mut one).map_err(|e| self.broken(e))?;
        if one.is_empty() { Ok(()) } else { Err(self.too_long("")) }
    }
}

impl Read for Source<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.reader.read(out)
    }
}

/// A bound of ours that bytes go beyond, on its way through a reader: what follows the name in the sentence.
#[derive(Debug)]
pub(super) struct Refused(String);

impl Refused {
    pub fn error(sentence: String) -> io::Error {
        io::Error::other(Refused(sentence))
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// Makes room for exactly so many more.
///
/// # Errors
/// Too little memory, which is no reason to abort.
pub(super) fn room<T>(name: &str, out: &mut Vec<T>, more: usize) -> Result<()> {
    out.try_reserve_exact(more).map_err(|_| {
        let bytes = (out.len() as u128 + more as u128) * size_of::<T>() as u128;
        Error::failed(format!("{name} takes {bytes} bytes of memory, more than there are: give fewer examples"))
    })
}

/// "60000 x 28 x 28", and no more of them than a line takes.
pub(super) fn shape(dims: &[u64]) -> String {
    const SHOWN: usize = 16;
    let shown = dims.iter().take(SHOWN).map(u64::to_string).collect::<Vec<_>>().join(" x ");
    if dims.len() > SHOWN { format!("{shown} x ..., of {} dimensions", dims.len()) } else { shown }
}
