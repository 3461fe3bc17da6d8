//! Unpacking `.gz`, as a stream and up to a bound: what a small file unpacks to is not known in advance.
use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

use flate2::read::MultiGzDecoder;

use super::source::Refused;

/// Whether these first bytes are gzip's.
pub(super) fn is_gzip(head: &[u8]) -> bool {
    head.starts_with(&[0x1f, 0x8b])
}

/// The most that so many packed bytes may unpack to: 64 MiB + 100 times as many, whatever packed them. What people have is
/// below (MNIST 5 times, binarised MNIST 22 times, the same as f64 86 times); deflate can do 1032.
pub(super) fn allowance(packed: u64) -> u64 {
    packed.saturating_mul(100).saturating_add(64 << 20)
}

/// The unpacked bytes of `packed`, all members of it. Without a `length`, from a pipe, the bound grows with what came.
pub(super) fn unpack(packed: impl Read, length: Option<u64>) -> impl Read {
    let came = Rc::new(Cell::new(length.unwrap_or(0)));
    let counted = Counted { inner: packed, came: came.clone(), counts: length.is_none() };
    Bounded::new(MultiGzDecoder::new(counted), came)
}

/// Counts the bytes that come.
struct Counted<R> {
    inner: R,
    came: Rc<Cell<u64>>,
    counts: bool,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(out)?;
        if self.counts {
            self.came.set(self.came.get() + n as u64);
        }
        Ok(n)
    }
}

/// Gives bytes up to the allowance of those packed, and an error beyond it.
pub(super) struct Bounded<R> {
    inner: R,
    given: u64,
    packed: Rc<Cell<u64>>,
}

impl<R> Bounded<R> {
    pub fn new(inner: R, packed: Rc<Cell<u64>>) -> Self {
        Self { inner, given: 0, packed }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(out)?;
        self.given += n as u64;
        let (packed, bound) = (self.packed.get(), allowance(self.packed.get()));
        match self.given > bound {
            true => Err(Refused::error(format!(
                "unpacks to more than {bound} bytes (64 MiB + 100 times the {packed} packed ones): unpack it first, with \
                 gunzip or unzip, if that is right"
            ))),
            false => Ok(n),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unpacking_stops_at_the_allowance() {
        let bound = allowance(3);
        assert_eq!(bound, (64 << 20) + 300);
        let read = |count: u64| {
            let bytes = io::repeat(7).take(count);
            io::copy(&mut Bounded::new(bytes, Rc::new(Cell::new(3))), &mut io::sink())
        };
        assert_eq!(read(bound).unwrap(), bound);
        assert!(read(bound + 1).unwrap_err().to_string().contains("more than 67109164 bytes"));
        assert_eq!(allowance(u64::MAX), u64::MAX);
    }
}
