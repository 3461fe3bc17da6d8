//! Our kernels, as a driver loads them: code where the build has that for the GPU, else PTX, which the driver compiles.
use super::because;
use super::detect::Device;
use crate::device::kernels::NAMES;
use crate::{Error, Result};
use cudarc::driver::{CudaContext, CudaFunction, DriverError, sys::CUresult};
use cudarc::nvrtc::Ptx;
use flate2::read::GzDecoder;
use std::collections::{BTreeMap, HashMap};
use std::env;
use std::io::Read;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The CUDA of the nvcc that compiled the kernels, as `13.0`; empty where the build found none.
pub const RELEASE: &str = env!("NVCC_RELEASE");
/// What helps then.
pub const NO_KERNELS: &str = "this build has no GPU kernels: build it where nvcc is found, or with VAE_GPU_NVCC=fetch";

/// If set, the driver compiles the kernels even where the build has code: so that this can be seen on any GPU.
/// (`CUDA_FORCE_PTX_JIT` is of every library, and cuBLAS has PTX for a few GPUs only.)
pub const PTX: &str = "VAE_GPU_PTX";

/// Our kernels by name, loaded on one GPU.
pub type Functions = Arc<HashMap<&'static str, CudaFunction>>;

/// Of compute capability 8.0 and 9.0, packed by build/image.rs.
struct Kernels {
    code: &'static [u8],
    /// Ends with a zero byte.
    ptx: &'static [u8],
}

const AMPERE: Kernels = Kernels {
    code: include_bytes!(concat!(env!("OUT_DIR"), "/kernels.80.cubin.gz")),
    ptx: include_bytes!(concat!(env!("OUT_DIR"), "/kernels.80.ptx.gz")),
};
const HOPPER: Kernels = Kernels {
    code: include_bytes!(concat!(env!("OUT_DIR"), "/kernels.90.cubin.gz")),
    ptx: include_bytes!(concat!(env!("OUT_DIR"), "/kernels.90.ptx.gz")),
};

/// Whether the build has code for this GPU that a driver of this CUDA version knows. Else the driver compiles the kernels
/// itself, and remembers them for the next time.
pub fn has_code(device: &Device, driver: i32) -> bool {
    code(device, driver).is_some()
}

fn code(device: &Device, driver: i32) -> Option<&'static [u8]> {
    let major: i32 = RELEASE.split('.').next()?.parse().ok()?;
    match device.capability {
        _ if env::var_os(PTX).is_some_and(|v| !v.is_empty()) => None,
        // The format of code changes with the major version: that of CUDA 13 is unknown to the drivers of CUDA 12.
        _ if driver / 1000 < major => None,
        (8, _) => Some(AMPERE.code),
        (9, 0) => Some(HOPPER.code),
        _ => None,
    }
}

/// What is loaded, by GPU. It keeps the GPU's context too: without a holder the driver would end that and make another for
/// the next who opens the GPU, which takes longer than training a small model a little, as compiling does.
fn loaded() -> MutexGuard<'static, BTreeMap<usize, Functions>> {
    static LOADED: Mutex<BTreeMap<usize, Functions>> = Mutex::new(BTreeMap::new());
    LOADED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The context was lost, and what is loaded on this GPU with it: who opens it next begins anew.
pub fn forget(ordinal: usize) {
    loaded().remove(&ordinal);
}

/// The kernels on this GPU, in a driver of this CUDA version: once loaded, they stay until `forget`.
///
/// # Errors
/// The driver can neither load nor compile them, or the build has none.
pub fn load(context: &Arc<CudaContext>, device: &Device, driver: i32) -> Result<Functions> {
    if let Some(functions) = loaded().get(&device.ordinal) {
        return Ok(functions.clone());
    }
    let load = |packed| context.load_module(Ptx::from_binary(unpack(packed)));
    let ptx = if device.capability < (9, 0) { AMPERE.ptx } else { HOPPER.ptx };
    let module = match code(device, driver).map(load) {
        None => load(ptx),
        Some(Err(e)) if is_foreign(e) => load(ptx),
        Some(loaded) => loaded,
    };
    let module = module.map_err(|e| match (is_foreign(e), RELEASE) {
        (false, _) => because("cannot load the kernels", e),
        (true, "") => Error::failed(NO_KERNELS),
        (true, release) => {
            let why = because("the driver can neither load nor compile the kernels", e);
            Error::failed(format!("{why}: update it to CUDA {release}, of which they are"))
        }
    })?;
    let function =
        |&name| module.load_function(name).map(|function| (name, function)).map_err(|e| because(NO_KERNELS, e));
    let functions: Functions = Arc::new(NAMES.iter().map(function).collect::<Result<_>>()?);
    loaded().insert(device.ordinal, functions.clone());
    Ok(functions)
}

/// Whether the driver does not know the format, the GPU or the version.
fn is_foreign(e: DriverError) -> bool {
    use CUresult::*;
    [
        CUDA_ERROR_INVALID_IMAGE,
        CUDA_ERROR_NO_BINARY_FOR_GPU,
        CUDA_ERROR_INVALID_PTX,
        CUDA_ERROR_UNSUPPORTED_PTX_VERSION,
        CUDA_ERROR_JIT_COMPILER_NOT_FOUND,
        CUDA_ERROR_INVALID_SOURCE,
    ]
    .contains(&e.0)
}

fn unpack(packed: &[u8]) -> Vec<u8> {
    let mut bytes = vec![];
    GzDecoder::new(packed).read_to_end(&mut bytes).expect("the build packed it");
    bytes
}
