//! The bytes of one file, plain or packed, with every claim of a header held against what is really there.
//! A claim reserves memory only where the length of the file covers it; otherwise memory grows with the bytes that come.
use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::Path;

use super::gzip;
use crate::{Error, Result};

/// How far a reader may look ahead to tell the format.
const HEAD: u64 = 64 << 10;
/// What is reserved at once for bytes whose number is only claimed.
const STEP: usize = 1 << 20;

/// How the bytes of one number become a real.
pub(super) type Real = fn(&[u8]) -> f32;

/// A file being read, from its first unpacked byte.
pub(super) struct Source {
    /// The path, for messages.
    pub name: String,
    /// The first bytes; reading gives them again.
    pub head: Vec<u8>,
    reader: Box<dyn Read>,
    /// Bytes not yet read; unknown for a pipe and for packed bytes.
    left: Option<u64>,
    packed: bool,
}

impl Source {
    /// Opens a file, unpacks it where it is gzip, and looks at its first bytes.
    ///
    /// # Errors
    /// Where it cannot be opened, is a directory, is empty, or is packed twice.
    pub fn open(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let cannot = |e: io::Error| Error::failed(format!("{name} cannot be read: {e}; check the path"));
        let file = File::open(path).map_err(cannot)?;
        let about = file.metadata().map_err(cannot)?;
        if about.is_dir() {
            return Err(Error::failed(format!("{name} is a directory: give one file of idx, .npy or numeric .csv")));
        }
        let left = about.is_file().then_some(about.len());
        let mut plain = Self { name, head: Vec::new(), reader: Box::new(file), left, packed: false };
        plain.look()?;
        if !gzip::is_gzip(&plain.head) {
            return Ok(plain);
        }
        let reader = Box::new(gzip::unpack(plain.reader));
        let mut unpacked = Self { name: plain.name, head: Vec::new(), reader, left: None, packed: true };
        unpacked.look()?;
        if gzip::is_gzip(&unpacked.head) {
            return Err(Error::failed(format!(
                "{} is packed by gzip twice: unpack it once with gunzip",
                unpacked.name
            )));
        }
        Ok(unpacked)
    }

    /// Fills `head` and puts the bytes back in front of the rest.
    fn look(&mut self) -> Result<()> {
        let mut head = Vec::new();
        self.reader.by_ref().take(HEAD).read_to_end(&mut head).map_err(|e| self.broken(e))?;
        if head.is_empty() {
            let what = if self.packed { "unpacks to nothing" } else { "is empty" };
            return Err(Error::failed(format!(
                "{} {what}: give a file of idx, .npy or numeric .csv with at least one example",
                self.name
            )));
        }
        let rest = std::mem::replace(&mut self.reader, Box::new(io::empty()));
        self.reader = Box::new(Cursor::new(head.clone()).chain(rest));
        self.head = head;
        Ok(())
    }

    /// The sentence for bytes that cannot be had.
    pub fn broken(&self, e: impl std::fmt::Display) -> Error {
        let name = &self.name;
        Error::failed(if self.packed {
            format!("{name} cannot be unpacked: {e}; the file is cut short or damaged, fetch it again")
        } else {
            format!("{name} cannot be read: {e}")
        })
    }

    fn cut_short(&self, what: &str, need: u64, got: u64) -> Error {
        let name = &self.name;
        Error::failed(format!("{name} is cut short: {what} takes {need} bytes, but {got} are left; fetch it again"))
    }

    /// Checks that `dims` numbers of `size` bytes are what remains, and returns how many numbers that is.
    /// For packed bytes `end` does the second half of the check.
    ///
    /// # Errors
    /// Where there are none, more than memory can address, or another number of bytes than remain.
    pub fn claim(&self, dims: &[u64], size: usize) -> Result<usize> {
        let name = &self.name;
        let shape = shape(dims);
        if dims.is_empty() || dims.contains(&0) {
            return Err(Error::failed(format!(
                "{name} holds no numbers: its shape is ({shape}), give a file with at least one example"
            )));
        }
        let count = dims.iter().try_fold(1u64, |n, &d| n.checked_mul(d));
        let bytes = count.and_then(|n| n.checked_mul(size as u64)).filter(|&b| b <= isize::MAX as u64);
        let (Some(count), Some(bytes)) = (count, bytes) else {
            return Err(Error::failed(format!(
                "{name} claims the shape ({shape}), more than memory can address: the header is damaged, fetch it again"
            )));
        };
        match self.left {
            Some(left) if left < bytes => Err(self.cut_short(&format!("the shape ({shape})"), bytes, left)),
            Some(left) if left > bytes => Err(self.too_long(&format!(", by {}", left - bytes))),
            _ => Ok(count as usize),
        }
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
        let mut out = Vec::with_capacity(if covered { count } else { count.min(STEP) });
        self.reader.by_ref().take(count as u64).read_to_end(&mut out).map_err(|e| self.broken(e))?;
        if out.len() < count {
            return Err(self.cut_short(what, count as u64, out.len() as u64));
        }
        self.left = self.left.map(|left| left.saturating_sub(count as u64));
        Ok(out)
    }

    /// The next `count` numbers of `size` bytes each, a buffer at a time.
    pub fn reals(&mut self, count: usize, size: usize, real: Real) -> Result<Vec<f32>> {
        let covered = self.left.is_some_and(|left| left >= (count * size) as u64);
        let mut out = Vec::with_capacity(if covered { count } else { count.min(STEP) });
        while out.len() < count {
            let n = (count - out.len()).min(STEP / 8);
            let bytes = self.bytes(n * size, "what the header claims")?;
            out.extend(bytes.chunks_exact(size).map(real));
        }
        Ok(out)
    }

    /// Checks that nothing follows; for packed bytes this is also where gzip's checksum is compared.
    pub fn end(&mut self) -> Result<()> {
        let mut one = Vec::new();
        self.reader.by_ref().take(1).read_to_end(&mut one).map_err(|e| self.broken(e))?;
        if one.is_empty() { Ok(()) } else { Err(self.too_long("")) }
    }
}

impl Read for Source {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.reader.read(out)
    }
}

/// "60000 x 28 x 28".
pub(super) fn shape(dims: &[u64]) -> String {
    dims.iter().map(u64::to_string).collect::<Vec<_>>().join(" x ")
}
