//! Tensors by name in `.safetensors`: the length of a header, the header as JSON, then the numbers, little-endian.
//! <https://github.com/huggingface/safetensors#format>
use half::{bf16, f16};
use safetensors::tensor::{Dtype, Metadata, TensorInfo};

use super::source::{Real, Source, Wide};
use super::{Dataset, Values, named, rounding};
use crate::{Error, Result};

/// A longer header than this is no data set's: thousands of tensors. The JSON of one takes many times its length in memory.
const HEADER_BOUND: u64 = 1 << 20;

/// Whether these first bytes are those of safetensors: a length below 4 GiB, then JSON.
pub(super) fn is_safetensors(head: &[u8]) -> bool {
    head.len() > 8 && head[4..8] == [0; 4] && head[8] == b'{'
}

/// The tensor that was asked for, or else the only one with examples and their numbers.
pub(super) fn read(mut source: Source, asked: Option<&str>) -> Result<Dataset> {
    let what = "the header of .safetensors";
    let length = source.bytes(8, what)?;
    let length = u64::from_le_bytes(length.try_into().expect("eight bytes"));
    let name = source.name.clone();
    if length > HEADER_BOUND {
        return Err(Error::failed(format!(
            "{name} claims a header of {length} bytes: must be at most {HEADER_BOUND}; save the data in a file of its own"
        )));
    }
    // Deserializing checks that the tensors lie end to end, each as long as its shape says.
    let header: Metadata = serde_json::from_slice(&source.bytes(length as usize, what)?).map_err(|e| {
        let e = named::cut(&e.to_string(), 200);
        Error::failed(format!("{name} has a damaged header of .safetensors ({e}): write it again with save_file"))
    })?;
    source.claim(&[header.data_len() as u64], 1)?;

    let arrays = header.offset_keys();
    let tensors: Vec<&TensorInfo> = arrays.iter().filter_map(|array| header.info(array)).collect();
    let mut data: Vec<usize> = (0..tensors.len()).filter(|&i| tensors[i].shape.len() > 1).collect();
    if data.is_empty() {
        data = (0..tensors.len()).collect();
    }
    let i = named::choose(&name, &arrays, &data, asked)?;
    let tensor = tensors[i];
    if arrays.len() > 1 {
        source.name = format!("{name}:{}", named::shown(&arrays[i]));
    }
    let (begin, end) = tensor.data_offsets;
    let dims: Vec<u64> = tensor.shape.iter().map(|&d| d as u64).collect();
    let (size, real, wide) = element(tensor.dtype).ok_or_else(|| {
        let (name, dtype) = (&source.name, tensor.dtype);
        Error::failed(format!("{name} holds numbers of the type {dtype}: must be real numbers; save it as F32"))
    })?;
    let (count, _) = source.count(&dims, size)?;
    source.skip(begin as u64, "what stands before the tensor")?;
    let (values, coarse) = match tensor.dtype {
        Dtype::U8 => (Values::Bytes(source.bytes(count, "the tensor")?), vec![]),
        _ => {
            let cols = count / tensor.shape[0];
            let (values, coarse) = rounding::reals(&mut source, (count, cols), size, real, wide)?;
            (Values::Reals(values), coarse)
        }
    };
    source.skip((header.data_len() - end) as u64, "what stands behind the tensor")?;
    source.end()?;
    Ok(Dataset { coarse, ..Dataset::of(source.name, &dims, values) })
}

/// Bytes per number, how to read one, and how before it is rounded where f32 does not hold all of them.
fn element(dtype: Dtype) -> Option<(usize, Real, Option<Wide>)> {
    macro_rules! of {
        ($t:ty, $n:literal) => {
            ($n, |b| <$t>::from_le_bytes(b.try_into().expect("chunks of the type's size")) as f32, None)
        };
        (wide $t:ty, $n:literal) => {{
            let wide: Wide = |b| <$t>::from_le_bytes(b.try_into().expect("chunks of the type's size")) as f64;
            ($n, |b| <$t>::from_le_bytes(b.try_into().expect("chunks of the type's size")) as f32, Some(wide))
        }};
    }
    Some(match dtype {
        Dtype::BOOL => (1, |b| (b[0] != 0) as u8 as f32, None),
        Dtype::U8 => of!(u8, 1),
        Dtype::I8 => of!(i8, 1),
        Dtype::U16 => of!(u16, 2),
        Dtype::I16 => of!(i16, 2),
        Dtype::U32 => of!(wide u32, 4),
        Dtype::I32 => of!(wide i32, 4),
        Dtype::U64 => of!(wide u64, 8),
        Dtype::I64 => of!(wide i64, 8),
        Dtype::F16 => (2, |b| f16::from_le_bytes([b[0], b[1]]).to_f32(), None),
        Dtype::BF16 => (2, |b| bf16::from_le_bytes([b[0], b[1]]).to_f32(), None),
        Dtype::F32 => of!(f32, 4),
        Dtype::F64 => of!(wide f64, 8),
        _ => return None,
    })
}
