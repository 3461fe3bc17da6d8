//! The zip archives that NumPy writes: stored or deflated, of one part, sizes of 32 or 64 bits. The directory at the end is
//! believed only where the file bears it out. <https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT>
use std::cell::Cell;
use std::collections::HashSet;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::rc::Rc;

use flate2::{Crc, read::DeflateDecoder};

use super::gzip::Bounded;
use super::named::shown;
use super::source::Source;
use crate::{Error, Result};

/// Bytes of the record that ends an archive, before its comment, which 16 bits count.
const END: usize = 22;
const ENCRYPTED: u16 = 1;

/// Whether these first bytes are those of an archive; the second are those of an empty one.
pub(super) fn is_zip(head: &[u8]) -> bool {
    head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06")
}

/// A file in the archive, as the directory has it.
pub(super) struct Entry {
    pub name: String,
    flags: u16,
    method: u16,
    crc: u32,
    /// Bytes in the archive, and unpacked.
    packed: u64,
    size: u64,
    at: u64,
}

/// An archive of `length` bytes.
pub(super) struct Archive<R> {
    /// The path, for messages.
    pub name: String,
    file: R,
    pub entries: Vec<Entry>,
    /// Where the directory begins, and the files end.
    directory: u64,
}

impl<R: Read + Seek> Archive<R> {
    /// Reads the directory.
    ///
    /// # Errors
    /// An archive that is cut short or damaged, or has two files of one name.
    pub fn open(name: String, mut file: R, length: u64) -> Result<Self> {
        let damaged = |what: &str| {
            Error::failed(format!("{name} is a zip archive that is cut short or damaged ({what}): fetch it again"))
        };
        let cannot = |e: io::Error| damaged(&reason(e));
        let ends = end(&mut file, length).map_err(cannot)?;
        let Some([count, size, directory, until]) = ends else { return Err(damaged("its end is not there")) };
        if directory.checked_add(size) != Some(until) {
            return Err(damaged("its directory is not where its end says"));
        }
        file.seek(SeekFrom::Start(directory)).map_err(cannot)?;
        let mut entries = Vec::new();
        let mut records = BufReader::new(file.by_ref().take(size));
        for _ in 0..count {
            entries.push(entry(&mut records).map_err(cannot)?.ok_or_else(|| damaged("its directory is not whole"))?);
        }
        if records.bytes().next().is_some() {
            return Err(damaged(&format!("its directory has more than the {count} files that its end says")));
        }
        let mut names = HashSet::new();
        if let Some(twice) = entries.iter().find(|e: &&Entry| !names.insert(&e.name)) {
            let twice = shown(&twice.name);
            return Err(Error::failed(format!("{name} holds two files {twice}: write it again with np.savez")));
        }
        Ok(Self { name, file, entries, directory })
    }

    /// The unpacked bytes of one file, called `name` in messages.
    ///
    /// # Errors
    /// A file that is encrypted, packed otherwise, or not where the directory says.
    pub fn read(&mut self, i: usize, name: String) -> Result<Source<'_>> {
        let entry = &self.entries[i];
        let damaged = |what: &str| Error::failed(format!("{name} is damaged ({what}): fetch it again"));
        if entry.flags & ENCRYPTED != 0 {
            return Err(Error::failed(format!("{name} is encrypted: write it again with np.savez")));
        }
        if ![0, 8].contains(&entry.method) {
            return Err(Error::failed(format!(
                "{name} is packed by method {}: must be stored or deflated; write it again with np.savez",
                entry.method
            )));
        }
        let head = (|| {
            self.file.seek(SeekFrom::Start(entry.at))?;
            let mut head = [0; 30];
            self.file.read_exact(&mut head)?;
            let mut own = vec![0; u16_at(&head, 26) as usize];
            self.file.read_exact(&mut own)?;
            self.file.seek_relative(u16_at(&head, 28) as i64)?;
            io::Result::Ok((head, own, self.file.stream_position()?))
        })();
        let (head, own, begin) = head.map_err(|e| damaged(&reason(e)))?;
        if !head.starts_with(b"PK\x03\x04") || String::from_utf8_lossy(&own) != entry.name {
            return Err(damaged("it is not where the directory says"));
        }
        if begin.checked_add(entry.packed).is_none_or(|end| end > self.directory) {
            return Err(damaged("it reaches beyond the end"));
        }
        if entry.method == 0 && entry.packed != entry.size {
            return Err(damaged("it is stored, with two sizes"));
        }
        let there = self.file.by_ref().take(entry.packed);
        let checked = |inner| Checked { inner, crc: Crc::new(), read: 0, size: entry.size, want: entry.crc };
        match entry.method {
            0 => Source::packed(name, checked(Box::new(there) as Box<dyn Read>), Some(entry.size)),
            _ => {
                let inflated = Inflated { inner: DeflateDecoder::new(there), packed: entry.packed };
                let bounded = Bounded::new(inflated, Rc::new(Cell::new(entry.packed)));
                Source::packed(name, checked(Box::new(bounded)), None)
            }
        }
    }
}

fn reason(e: io::Error) -> String {
    if e.kind() == io::ErrorKind::UnexpectedEof { "it ends too early".into() } else { e.to_string() }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// The end of the archive: how many files its directory has, its size, where it begins, and where it must end.
fn end(file: &mut (impl Read + Seek), length: u64) -> io::Result<Option<[u64; 4]>> {
    let from = length.saturating_sub((END + u16::MAX as usize) as u64);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    file.by_ref().take(length - from).read_to_end(&mut tail)?;
    let is_end =
        |at: &usize| tail[*at..].starts_with(b"PK\x05\x06") && u16_at(&tail, at + 20) as usize == tail.len() - at - END;
    let Some(at) = (0..=tail.len().saturating_sub(END)).rev().find(|at| tail.len() >= at + END && is_end(at)) else {
        return Ok(None);
    };
    let (record, end) = (&tail[at..], from + at as u64);
    let [disk, first] = [4, 6].map(|at| u16_at(record, at));
    let [here, count] = [8, 10].map(|at| u16_at(record, at) as u64);
    let [size, directory] = [12, 16].map(|at| u32_at(record, at) as u64);
    // Another record, of 64 bits, may stand before, and 20 bytes between the two that say where.
    let mut bytes = [0; 20];
    file.seek(SeekFrom::Start(end.saturating_sub(20)))?;
    if end >= 20 {
        file.read_exact(&mut bytes)?;
    }
    if !bytes.starts_with(b"PK\x06\x07") {
        // What did not fit here would be 0xff.. and lead nowhere.
        let whole = disk == 0 && first == 0 && here == count;
        return Ok(whole.then_some([count, size, directory, end]));
    }
    let at = u64_at(&bytes, 8);
    if at > length {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(at))?;
    let mut bytes = [0; 56];
    file.read_exact(&mut bytes)?;
    let [disks, here, count] = [16, 24, 32].map(|at| u64_at(&bytes, at));
    let whole = bytes.starts_with(b"PK\x06\x06") && disks == 0 && here == count;
    Ok(whole.then_some([count, u64_at(&bytes, 40), u64_at(&bytes, 48), at]))
}

/// The next record of the directory.
fn entry(records: &mut impl Read) -> io::Result<Option<Entry>> {
    let mut record = [0; 46];
    records.read_exact(&mut record)?;
    if !record.starts_with(b"PK\x01\x02") {
        return Ok(None);
    }
    let [name, extra, comment] = [28, 30, 32].map(|at| {
        let mut bytes = vec![0; u16_at(&record, at) as usize];
        records.read_exact(&mut bytes).map(|()| bytes)
    });
    let (name, extra, _) = (name?, extra?, comment?);
    let mut entry = Entry {
        name: String::from_utf8_lossy(&name).into_owned(),
        flags: u16_at(&record, 8),
        method: u16_at(&record, 10),
        crc: u32_at(&record, 16),
        packed: u32_at(&record, 20) as u64,
        size: u32_at(&record, 24) as u64,
        at: u32_at(&record, 42) as u64,
    };
    // What did not fit into 32 bits stands in the extra field 1, in this order.
    let wide = [&mut entry.size, &mut entry.packed, &mut entry.at].into_iter().filter(|n| **n == u32::MAX as u64);
    for (n, bytes) in wide.zip(field(&extra, 1).unwrap_or_default().chunks_exact(8)) {
        *n = u64_at(bytes, 0);
    }
    Ok(Some(entry))
}

/// The extra field of this kind.
fn field(mut extra: &[u8], kind: u16) -> Option<&[u8]> {
    while extra.len() >= 4 {
        let (head, rest) = extra.split_at(4);
        let (field, after) = rest.split_at_checked(u16_at(head, 2) as usize)?;
        if u16_at(head, 0) == kind {
            return Some(field);
        }
        extra = after;
    }
    None
}

/// Compares size and checksum at the end.
struct Checked<R> {
    inner: R,
    crc: Crc,
    read: u64,
    size: u64,
    want: u32,
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(out)?;
        self.crc.update(&out[..n]);
        self.read += n as u64;
        let ended = n == 0 && !out.is_empty();
        if self.read > self.size || ended && self.read < self.size {
            return Err(io::Error::other(format!("it does not have the {} bytes that the directory says", self.size)));
        }
        if ended && self.crc.sum() != self.want {
            return Err(io::Error::other("its checksum is another"));
        }
        Ok(n)
    }
}

/// Checks at the end that all packed bytes were needed.
struct Inflated<R> {
    inner: DeflateDecoder<R>,
    packed: u64,
}

impl<R: Read> Read for Inflated<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(out)?;
        match n == 0 && !out.is_empty() && self.inner.total_in() != self.packed {
            true => Err(io::Error::other("it ends before its packed bytes do")),
            false => Ok(n),
        }
    }
}
