//! Named tensors in a file: safetensors, read whole and checked before anything uses them.
use crate::files::write_atomically;
use crate::{Error, Result, seal};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// One tensor. Numbers are f64 in memory, which holds every type exactly that we read.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    pub shape: Vec<usize>,
    pub values: Vec<f64>,
}

/// What a tensor's numbers are in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    F32,
    F64,
}

/// The content of a file.
#[derive(Clone, Debug, Default)]
pub struct Tensors {
    pub tensors: BTreeMap<String, Tensor>,
    pub metadata: HashMap<String, String>,
}

impl Tensors {
    /// # Errors
    /// A file that cannot be read, is not safetensors, does not have its checksums, or holds other types than F32 and F64.
    pub fn read(path: &Path) -> Result<Tensors> {
        let cannot = |e| Error::failed(format!("{} cannot be read: {e}; check the path", path.display()));
        let bytes = std::fs::read(path).map_err(cannot)?;
        Tensors::parse(path, &bytes)
    }

    /// The same of the bytes of the file `path`, which is only named.
    ///
    /// # Errors
    /// As for [`Tensors::read`].
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Tensors> {
        let what = path.display();
        let damaged = |e: &dyn std::fmt::Display| {
            Error::failed(format!("{what}: not a safetensors file, or damaged ({e}); give the file that was written"))
        };
        let file = SafeTensors::deserialize(bytes).map_err(|e| damaged(&e))?;
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| damaged(&e))?;
        let mut metadata = header.metadata().clone().unwrap_or_default();
        if let Some(config) = metadata.get_mut("config") {
            let views = file.iter().map(|(name, view)| (name, view.data()));
            *config = seal::open(config, views).map_err(|why| Error::failed(format!("{what}: {why}")))?;
        }
        let mut tensors = BTreeMap::new();
        for (name, view) in file.tensors() {
            let data = view.data();
            let values = match view.dtype() {
                Dtype::F32 => data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()) as f64).collect(),
                Dtype::F64 => data.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect(),
                other => return Err(Error::failed(format!("{what}: {name} is {other:?}; must be F32 or F64"))),
            };
            tensors.insert(name, Tensor { shape: view.shape().to_vec(), values });
        }
        Ok(Tensors { tensors, metadata })
    }

    /// Written beside its name and renamed, so that the file is whole or absent; with checksums, where it has a
    /// configuration to keep them in.
    ///
    /// # Errors
    /// A place that cannot be written.
    pub fn write(self, path: &Path, width: Width) -> Result<()> {
        // One after the other from f64 to bytes, so that memory holds no more than twice the file.
        let bytes = |Tensor { shape, values }: Tensor| -> (Vec<usize>, Vec<u8>) {
            let bytes = match width {
                Width::F32 => values.iter().flat_map(|&x| (x as f32).to_le_bytes()).collect(),
                Width::F64 => values.iter().flat_map(|&x| x.to_le_bytes()).collect(),
            };
            (shape, bytes)
        };
        let tensors: Vec<_> = self.tensors.into_iter().map(|(name, t)| (name, bytes(t))).collect();
        let dtype = if width == Width::F32 { Dtype::F32 } else { Dtype::F64 };
        let views = tensors.iter().map(|(name, (shape, bytes))| {
            let view = TensorView::new(dtype, shape.clone(), bytes).expect("as many numbers as the shape says");
            (name.as_str(), view)
        });
        let mut metadata = self.metadata;
        if let Some(config) = metadata.get_mut("config") {
            *config = seal::close(config, tensors.iter().map(|(name, (_, bytes))| (name.as_str(), &bytes[..])));
        }
        let metadata = Some(metadata).filter(|m| !m.is_empty());
        let file = safetensors::serialize(views, metadata)
            .map_err(|e| Error::failed(format!("cannot write {}: {e}", path.display())))?;
        write_atomically(path, |out| out.write_all(&file))
    }

    pub fn insert(&mut self, name: impl Into<String>, shape: Vec<usize>, values: Vec<f64>) {
        self.tensors.insert(name.into(), Tensor { shape, values });
    }

    /// The numbers of `name`, if it is there with this shape.
    ///
    /// # Errors
    /// Names `path`, the tensor, and both shapes.
    pub fn get(&self, path: &Path, name: &str, shape: &[usize]) -> Result<&[f64]> {
        let what = path.display();
        let tensor = self
            .tensors
            .get(name)
            .ok_or_else(|| Error::failed(format!("{what}: the tensor {name} is missing; the model needs it")))?;
        if tensor.shape != shape {
            let got = &tensor.shape;
            return Err(Error::failed(format!("{what}: {name} has shape {got:?}; the model needs {shape:?}")));
        }
        Ok(&tensor.values)
    }
}
