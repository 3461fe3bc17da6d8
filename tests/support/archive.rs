//! Zip archives and PNG files byte by byte, so that they can lie.
#![allow(dead_code)] // each test file uses its part
use std::io::Write;

use flate2::{Compression, Crc, write::DeflateEncoder, write::ZlibEncoder};

/// A file in an archive. Fields that a test spoils are public.
#[derive(Clone)]
pub struct Entry {
    pub name: String,
    pub flags: u16,
    pub method: u16,
    pub crc: u32,
    pub size: u32,
    pub packed: Vec<u8>,
}

pub fn crc(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

pub fn stored(name: &str, bytes: &[u8]) -> Entry {
    let (crc, size) = (crc(bytes), bytes.len() as u32);
    Entry { name: name.into(), flags: 0, method: 0, crc, size, packed: bytes.into() }
}

pub fn deflated(name: &str, bytes: &[u8]) -> Entry {
    let mut packed = DeflateEncoder::new(Vec::new(), Compression::best());
    packed.write_all(bytes).unwrap();
    Entry { method: 8, packed: packed.finish().unwrap(), ..stored(name, bytes) }
}

/// The archive of these files.
pub fn zip(entries: &[Entry]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for e in entries {
        let at = out.len() as u32;
        let mut about = Vec::new();
        [20, e.flags, e.method, 0, 0].iter().for_each(|n| about.extend(n.to_le_bytes()));
        [e.crc, e.packed.len() as u32, e.size].iter().for_each(|n| about.extend(n.to_le_bytes()));
        about.extend((e.name.len() as u16).to_le_bytes());
        about.extend([0, 0]);
        out.extend(b"PK\x03\x04");
        out.extend(&about);
        out.extend(e.name.as_bytes());
        out.extend(&e.packed);
        directory.extend(b"PK\x01\x02\x14\0");
        directory.extend(about);
        directory.extend([0; 10]);
        directory.extend(at.to_le_bytes());
        directory.extend(e.name.as_bytes());
    }
    let (at, count) = (out.len() as u32, entries.len() as u16);
    out.extend(&directory);
    out.extend(b"PK\x05\x06\0\0\0\0");
    [count, count].iter().for_each(|n| out.extend(n.to_le_bytes()));
    [directory.len() as u32, at].iter().for_each(|n| out.extend(n.to_le_bytes()));
    out.extend([0, 0]);
    out
}

fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let body = [&kind[..], data].concat();
    [&(data.len() as u32).to_be_bytes()[..], &body, &crc(&body).to_be_bytes()].concat()
}

/// A picture of which `rows` are the lines, each behind the number of its filter. `extra` are chunks before them.
pub fn png(width: u32, height: u32, depth: u8, colour: u8, extra: &[(&[u8; 4], &[u8])], rows: &[u8]) -> Vec<u8> {
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::best());
    packed.write_all(rows).unwrap();
    let size = [width.to_be_bytes(), height.to_be_bytes()].concat();
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    out.extend(chunk(b"IHDR", &[&size[..], &[depth, colour, 0, 0, 0]].concat()));
    extra.iter().for_each(|(kind, data)| out.extend(chunk(kind, data)));
    out.extend(chunk(b"IDAT", &packed.finish().unwrap()));
    out.extend(chunk(b"IEND", b""));
    out
}

/// Tensors under a header as it is given.
pub fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
}
