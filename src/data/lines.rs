//! Text as lines, however it ends them, between a file and the reader of csv.
use std::io::{self, Read};

use super::source::Refused;

/// The most bytes and cells of a row: far beyond the widest of tables. A quote that is never closed ends here.
const ROW: usize = 16 << 20;
const CELLS: usize = 1 << 20;

/// Text whose every line ends by exactly one \n, the last one too: this makes line numbers exact. Refuses a row that
/// does not end; what is counted for it may be a buffer more than it has.
pub(super) struct Lines<R> {
    pub inner: R,
    /// What the last byte was; None after the end.
    after: Option<u8>,
    delimiter: u8,
    /// Of the row so far.
    bytes: usize,
    cells: usize,
    /// Whether so far there is one quotation mark too many, or too few.
    is_odd: bool,
}

impl<R> Lines<R> {
    pub fn new(inner: R, delimiter: u8) -> Self {
        Self { inner, after: Some(b'\n'), delimiter, bytes: 0, cells: 0, is_odd: false }
    }

    /// What comes from now on is another row.
    pub fn begin_row(&mut self) {
        (self.bytes, self.cells) = (0, 0);
    }

    /// Whether quotation marks so far are an odd number of them: where no cell has one as it is, one is open.
    pub fn is_open(&self) -> bool {
        self.is_odd
    }

    /// Counts `read` to the row.
    fn bounded(&mut self, read: &[u8]) -> io::Result<()> {
        self.bytes += read.len();
        self.cells += read.iter().filter(|&&b| b == self.delimiter).count();
        self.is_odd ^= read.iter().filter(|&&b| b == b'"').count() % 2 == 1;
        match self.bytes > ROW || self.cells > CELLS {
            true => Err(Refused::error(format!(
                "has a row of more than {ROW} bytes or {CELLS} cells: end each row by a new line, close every quote"
            ))),
            false => Ok(()),
        }
    }
}

impl<R: Read> Read for Lines<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let Some(mut after) = self.after else { return Ok(0) };
        loop {
            let n = self.inner.read(out)?;
            if n == 0 {
                // `out` is never empty: it is the reader's buffer.
                self.after = None;
                out[0] = b'\n';
                return Ok((after != b'\n' && after != b'\r') as usize);
            }
            let mut kept = 0;
            for i in 0..n {
                let byte = out[i];
                if !(byte == b'\n' && after == b'\r') {
                    out[kept] = if byte == b'\r' { b'\n' } else { byte };
                    kept += 1;
                }
                after = byte;
            }
            self.after = Some(after);
            self.bounded(&out[..kept])?;
            if kept > 0 {
                return Ok(kept);
            }
        }
    }
}
