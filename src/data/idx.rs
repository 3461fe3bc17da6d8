//! The idx format of MNIST: two zero bytes, a type, the number of dimensions, each dimension as a big-endian u32,
//! then the numbers, big-endian. <http://yann.lecun.com/exdb/mnist/>
use super::read::FORMATS;
use super::source::{Real, Source, Wide, shape};
use super::{Dataset, Values, rounding};
use crate::{Error, Result};

/// Whether these first bytes are idx's. No text begins with a zero byte.
pub(super) fn is_idx(head: &[u8]) -> bool {
    head.starts_with(&[0, 0])
}

/// Examples along the first dimension; the others are flattened.
pub(super) fn read(mut source: Source) -> Result<Dataset> {
    let (kind, dims) = header(&mut source)?;
    if let [n] = dims[..] {
        return Err(Error::failed(format!(
            "{} is a list of {n} labels (idx with one dimension), not data: give the file of the examples, \
             such as train-images-idx3-ubyte.gz",
            source.name
        )));
    }
    let (values, coarse) = numbers(&mut source, kind, &dims)?;
    Ok(Dataset { coarse, ..Dataset::of(source.name, &dims, values) })
}

/// One class per example.
pub(super) fn read_labels(mut source: Source) -> Result<Vec<u8>> {
    if !is_idx(&source.head) {
        return Err(Error::failed(format!(
            "{} is not an idx file: labels are idx with one dimension of bytes, such as train-labels-idx1-ubyte.gz",
            source.name
        )));
    }
    let (kind, dims) = header(&mut source)?;
    if dims.len() != 1 || kind != 0x08 {
        return Err(Error::failed(format!(
            "{} holds {} {}, not labels: labels are idx with one dimension of bytes, such as train-labels-idx1-ubyte.gz",
            source.name,
            shape(&dims),
            if kind == 0x08 { "bytes" } else { "numbers" },
        )));
    }
    let n = source.claim(&dims, 1)?;
    let labels = source.bytes(n, "the list of labels")?;
    source.end()?;
    Ok(labels)
}

/// The type and the dimensions.
fn header(source: &mut Source) -> Result<(u8, Vec<u64>)> {
    let magic = source.bytes(4, "the header of idx")?;
    let (kind, ndim) = (magic[2], magic[3] as usize);
    if size(kind).is_none() {
        return Err(Error::failed(format!(
            "{} begins like idx with the unknown type 0x{kind:02x}: must be 0x08, 0x09 or 0x0b to 0x0e; \
             give a file of {FORMATS}",
            source.name
        )));
    }
    if ndim == 0 {
        return Err(Error::failed(format!(
            "{} is idx with 0 dimensions: must have at least 2, examples and their numbers",
            source.name
        )));
    }
    let dims = source.bytes(4 * ndim, "the header of idx")?;
    Ok((kind, dims.chunks_exact(4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]) as u64).collect()))
}

/// Bytes that a number of this type takes.
fn size(kind: u8) -> Option<usize> {
    match kind {
        0x08 | 0x09 => Some(1),
        0x0b => Some(2),
        0x0c | 0x0d => Some(4),
        0x0e => Some(8),
        _ => None,
    }
}

/// All of them, and of which columns f32 keeps too little.
fn numbers(source: &mut Source, kind: u8, dims: &[u64]) -> Result<(Values, Vec<usize>)> {
    // `header` let no other type through.
    let size = size(kind).expect("a known type");
    let n = source.claim(dims, size)?;
    let real: Real = match kind {
        0x08 => {
            let values = Values::Bytes(source.bytes(n, &format!("the shape ({})", shape(dims)))?);
            source.end()?;
            return Ok((values, vec![]));
        }
        0x09 => |b| b[0] as i8 as f32,
        0x0b => |b| i16::from_be_bytes([b[0], b[1]]) as f32,
        0x0c => |b| i32::from_be_bytes([b[0], b[1], b[2], b[3]]) as f32,
        0x0d => |b| f32::from_be_bytes([b[0], b[1], b[2], b[3]]),
        _ => |b| f64::from_be_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]) as f32,
    };
    let wide: Option<Wide> = match kind {
        0x0c => Some(|b| i32::from_be_bytes([b[0], b[1], b[2], b[3]]) as f64),
        0x0e => Some(|b| f64::from_be_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]])),
        _ => None,
    };
    let (values, coarse) = rounding::reals(source, (n, n / dims[0] as usize), size, real, wide)?;
    source.end()?;
    Ok((Values::Reals(values), coarse))
}
