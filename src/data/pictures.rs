//! PNG: one picture, or a folder of pictures, each an example. Grey or RGB, 8 or 16 bits; palettes are looked up, fewer bits
//! spread over 8. An alpha channel may be there if all of it is opaque. No transparency and no animation: what they stand for is a
//! matter of taste.
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Seek};
use std::path::Path;

use png::{BitDepth, ColorType, Decoder, Reader, Transformations};

use super::gzip::allowance;
use super::source::room;
use super::{Bytes, Dataset, Shape, Values};
use crate::{Error, Result};

/// Whether these first bytes are PNG's.
pub(super) fn is_png(head: &[u8]) -> bool {
    head.starts_with(b"\x89PNG\r\n\x1a\n")
}

/// One picture, of a file of `length` bytes.
pub(super) fn read(name: String, input: impl BufRead + Seek, length: u64) -> Result<Dataset> {
    let mut picture = Picture::open(&name, input, allowance(length))?;
    let mut values = picture.kind.none();
    picture.append(&name, &mut values)?;
    let shape = picture.kind.shape;
    Ok(of(name, shape, values))
}

/// The names of the pictures of a folder in order, byte by byte. Hidden files are passed over.
pub(super) fn names(folder: &Path) -> Result<Vec<OsString>> {
    let mut files: Vec<OsString> = Vec::new();
    for entry in fs::read_dir(folder).map_err(|e| cannot(folder, e))? {
        let file = entry.map_err(|e| cannot(folder, e))?.file_name();
        if !file.as_encoded_bytes().starts_with(b".") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn cannot(path: &Path, e: io::Error) -> Error {
    Error::failed(format!("{} cannot be read: {e}", path.display()))
}

/// All pictures of a folder, in the order of their names.
pub(super) fn read_folder(folder: &Path) -> Result<Dataset> {
    let name = folder.display().to_string();
    let files = names(folder)?;
    let mut length = 0;
    for file in &files {
        let path = folder.join(file);
        length += fs::metadata(&path).map_err(|e| cannot(&path, e))?.len();
    }
    let mut first: Option<(Kind, Values, String)> = None;
    for file in &files {
        let path = folder.join(file);
        let input = File::open(&path).map_err(|e| cannot(&path, e))?;
        let mut input = BufReader::new(input);
        let path = path.display().to_string();
        if !input.fill_buf().is_ok_and(is_png) {
            return Err(Error::failed(format!(
                "{path} is not a PNG: move what is no picture out of the folder {name}"
            )));
        }
        let mut picture = Picture::open(&path, input, allowance(length))?;
        let kind = picture.kind;
        let (same, values, one) = match &mut first {
            Some(first) => first,
            None => {
                kind.check(&name, files.len(), allowance(length))?;
                let mut values = kind.none();
                let numbers = files.len() * kind.shape.numbers();
                match &mut values {
                    Values::Bytes(v) => room(&name, v, numbers)?,
                    Values::Reals(v) => room(&name, v, numbers)?,
                    Values::Sparse(_) => unreachable!("pictures are stored whole"),
                }
                first.insert((kind, values, path.clone()))
            }
        };
        if kind != *same {
            return Err(Error::failed(format!(
                "{path} is {kind}, but {one} is {same}: all pictures of a folder must be of one size and kind"
            )));
        }
        picture.append(&path, values)?;
    }
    match first {
        Some((kind, values, _)) => Ok(of(name, kind.shape, values)),
        None => Err(Error::failed(format!("{name} is a folder without pictures: put PNG files of one size into it"))),
    }
}

/// Grey values, whatever their depth.
fn of(name: String, shape: Shape, values: Values) -> Dataset {
    Dataset { shape: Some(shape), bytes: Some(Bytes::Grey), ..Dataset::new(name, shape.numbers(), values) }
}

/// Size, colours and depth.
#[derive(Clone, Copy, PartialEq)]
struct Kind {
    shape: Shape,
    /// Bytes of a number: 1 or 2.
    depth: usize,
}

impl Kind {
    /// Its values, of no picture yet.
    fn none(&self) -> Values {
        if self.depth == 1 { Values::Bytes(Vec::new()) } else { Values::Reals(Vec::new()) }
    }

    /// Checks what a header claims of `count` pictures before anything is reserved for it.
    fn check(&self, name: &str, count: usize, most: u64) -> Result<()> {
        let bytes = (self.shape.numbers() as u64).saturating_mul((count * self.depth) as u64);
        let pictures = if count == 1 { String::new() } else { format!("{count} pictures of ") };
        match bytes > most {
            true => Err(Error::failed(format!(
                "{name} claims {pictures}{self}, more than the {most} bytes that PNG of this length is believed to unpack to \
                 (64 MiB + 100 times its bytes): give it as .npy"
            ))),
            false => Ok(()),
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let Shape { height, width, channels } = self.shape;
        let colour = if channels == 1 { "grey" } else { "RGB" };
        write!(f, "{width} x {height} pixels of {colour} in {} bits", 8 * self.depth)
    }
}

/// A picture of which the header is read.
struct Picture<R: BufRead + Seek> {
    reader: Reader<R>,
    kind: Kind,
    /// Whether its pixels have an alpha channel, which is no part of the kind.
    alpha: bool,
}

impl<R: BufRead + Seek> Picture<R> {
    fn open(name: &str, input: R, most: u64) -> Result<Self> {
        let mut decoder = Decoder::new(input);
        decoder.set_transformations(Transformations::EXPAND);
        decoder.set_ignore_text_chunk(true);
        decoder.set_ignore_iccp_chunk(true);
        decoder.ignore_checksums(false);
        let info = decoder.read_header_info().map_err(|e| damaged(name, e))?;
        // The library reserves rows as wide as the header claims: the claim is checked first, at its largest.
        let depth = if info.bit_depth == BitDepth::Sixteen { 2 } else { 1 };
        let shape = Shape { height: info.height as usize, width: info.width as usize, channels: 3 };
        let grey = [ColorType::Grayscale, ColorType::GrayscaleAlpha].contains(&info.color_type);
        let shape = if grey { Shape { channels: 1, ..shape } } else { shape };
        Kind { shape, depth }.check(name, 1, most)?;
        let reader = decoder.read_info().map_err(|e| damaged(name, e))?;
        if reader.info().animation_control.is_some() {
            return Err(Error::failed(format!("{name} is animated: give its pictures as files of their own")));
        }
        let alpha = matches!(reader.output_color_type().0, ColorType::GrayscaleAlpha | ColorType::Rgba);
        Ok(Self { reader, kind: Kind { shape, depth }, alpha })
    }

    /// The bytes of its pixels without those of an alpha channel.
    fn pixels(&mut self, name: &str) -> Result<Vec<u8>> {
        let (shape, depth) = (self.kind.shape, self.kind.depth);
        let numbers = shape.numbers() / shape.channels * (shape.channels + self.alpha as usize);
        let mut pixels = Vec::new();
        room(name, &mut pixels, numbers * depth)?;
        pixels.resize(numbers * depth, 0);
        self.frame(name, &mut pixels)?;
        if self.alpha {
            let colours = shape.channels * depth;
            let (mut kept, mut opaque) = (0, true);
            for from in (0..pixels.len()).step_by(colours + depth) {
                opaque &= pixels[from + colours..][..depth].iter().all(|&alpha| alpha == u8::MAX);
                pixels.copy_within(from..from + colours, kept);
                kept += colours;
            }
            if !opaque {
                return Err(Error::failed(format!(
                    "{name} is transparent in places: must be opaque, for what stands behind it is not known; write it again \
                     without its alpha channel"
                )));
            }
            pixels.truncate(kept);
        }
        Ok(pixels)
    }

    fn frame(&mut self, name: &str, out: &mut [u8]) -> Result<()> {
        self.reader.next_frame(out).and_then(|_| self.reader.finish()).map_err(|e| damaged(name, e))
    }

    fn append(&mut self, name: &str, values: &mut Values) -> Result<()> {
        let numbers = self.kind.shape.numbers();
        match values {
            Values::Bytes(values) => {
                room(name, values, numbers)?;
                if self.alpha {
                    values.extend(self.pixels(name)?);
                    return Ok(());
                }
                let from = values.len();
                values.resize(from + numbers, 0);
                self.frame(name, &mut values[from..])
            }
            Values::Reals(values) => {
                let pixels = self.pixels(name)?;
                room(name, values, numbers)?;
                values.extend(pixels.chunks_exact(2).map(|b| u16::from_be_bytes([b[0], b[1]]) as f32 / 65535.0));
                Ok(())
            }
            Values::Sparse(_) => unreachable!("pictures are stored whole"),
        }
    }
}

fn damaged(name: &str, e: png::DecodingError) -> Error {
    Error::failed(format!("{name} is a PNG that is cut short or damaged ({e}): write it again"))
}
