//! Unpacking `.gz`, as a stream and up to a bound: what a small file unpacks to is not known in advance.
use std::io::{self, Read};

use flate2::read::MultiGzDecoder;

/// The most that a packed file may unpack to, in bytes.
const BOUND: u64 = 16 << 30;

/// Whether these first bytes are gzip's.
pub(super) fn is_gzip(head: &[u8]) -> bool {
    head.starts_with(&[0x1f, 0x8b])
}

/// The unpacked bytes of `packed`, all members of it.
pub(super) fn unpack(packed: impl Read) -> impl Read {
    Bounded { inner: MultiGzDecoder::new(packed), left: BOUND, bound: BOUND }
}

/// Gives bytes until the bound, and an error beyond it.
struct Bounded<R> {
    inner: R,
    left: u64,
    bound: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(out)?;
        self.left = self.left.checked_sub(n as u64).ok_or_else(|| {
            io::Error::other(format!("it unpacks to more than {} bytes, unpack it with gunzip first", self.bound))
        })?;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unpacking_stops_at_the_bound() {
        let read = |bound| {
            let mut out = Vec::new();
            Bounded { inner: &[7u8; 100][..], left: bound, bound }.read_to_end(&mut out).map(|_| out.len())
        };
        assert_eq!(read(100).unwrap(), 100);
        assert!(read(99).unwrap_err().to_string().contains("more than 99 bytes"));
    }
}
