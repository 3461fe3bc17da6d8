//! Is there a GPU that this program can use? cudarc panics where a library or a symbol is missing, so everything is
//! asked for before its first use. Answers in sentences, prints nothing.
use super::image;
use super::libraries::{self, Cublas};
use crate::{Error, Result};
use cudarc::driver::sys::CUdevice_attribute as Attribute;
use cudarc::driver::{result, sys};
use std::ffi::{c_int, c_uint};
use std::fmt;

/// Every symbol of the driver that we call, ourselves or through cudarc: tests/standin/driver.rs holds us to it.
#[rustfmt::skip]
pub const DRIVER: &[&str] = &[
    "cuCtxGetCurrent", "cuCtxSetCurrent", "cuDeviceGet", "cuDeviceGetAttribute", "cuDeviceGetCount", "cuDeviceGetName",
    "cuDevicePrimaryCtxRelease_v2", "cuDevicePrimaryCtxRetain", "cuDeviceTotalMem_v2", "cuDriverGetVersion",
    "cuEventCreate", "cuEventDestroy_v2", "cuEventElapsedTime", "cuEventRecord", "cuEventSynchronize", "cuFuncSetAttribute",
    "cuGetErrorString", "cuGraphDestroy", "cuGraphExecDestroy", "cuGraphGetNodes", "cuGraphInstantiateWithFlags",
    "cuGraphLaunch", "cuGraphUpload", "cuInit", "cuLaunchKernelEx", "cuMemAlloc_v2", "cuMemFree_v2", "cuMemGetInfo_v2",
    "cuMemcpyDtoDAsync_v2", "cuMemcpyDtoHAsync_v2", "cuMemcpyHtoDAsync_v2", "cuMemsetD8Async", "cuModuleGetFunction",
    "cuModuleLoadData", "cuOccupancyMaxActiveClusters",
    "cuModuleUnload", "cuStreamBeginCapture_v2", "cuStreamCreate", "cuStreamDestroy_v2", "cuStreamEndCapture",
    "cuStreamSynchronize", "cuStreamWaitEvent",
];

/// The driver's library, as the system has it.
const LIBRARY: &str = if cfg!(windows) { "nvcuda.dll" } else { "libcuda.so.1" };
/// The oldest driver we speak to, as cuDriverGetVersion counts: 12.0.
const OLDEST: c_int = 12000;
/// The oldest GPU that build.rs compiles for.
pub const CAPABILITY: (i32, i32) = (8, 0);

type Function = unsafe extern "C" fn();
type Get = unsafe extern "C" fn(*mut c_int) -> c_int;
type Init = unsafe extern "C" fn(c_uint) -> c_int;

/// The CUDA version of the driver (13000 is 13.0), once it has started and found a GPU.
pub fn driver() -> Result<i32> {
    // SAFETY: opening a library runs its initialisers; we trust the driver's, as every program with CUDA does.
    if !unsafe { sys::is_culib_present() } {
        let install = match image::RELEASE.is_empty() {
            true => "to use a GPU install NVIDIA's driver, then build anew, for this build has no GPU kernels",
            false => "install NVIDIA's driver to use a GPU",
        };
        return Err(Error::failed(format!("no CUDA driver ({LIBRARY} was not found): {install}")));
    }
    // SAFETY: the line above has seen the library, so this opens it and does not panic.
    let library = unsafe { sys::culib() };
    // SAFETY: looked up, not called.
    let missing = |name: &&&str| unsafe { library.get::<Function>(name.as_bytes()) }.is_err();
    if let Some(name) = DRIVER.iter().find(missing) {
        return Err(Error::failed(format!("the CUDA driver has no {name}: update it to CUDA 12.0 or later")));
    }

    let failed = |call: &str, code: c_int| match code {
        0 => Ok(()),
        100 => Err(Error::failed("a CUDA driver, but no GPU")),
        _ => Err(Error::failed(format!("the CUDA driver does not start: {call} gives error {code}"))),
    };
    let get = |call: &str| {
        let mut value = 0;
        // SAFETY: both symbols asked for here are int f(int*) in cuda.h, and were found above. The result is a plain
        // integer, for cudarc's enum has undefined behaviour where the driver returns a code that it does not know.
        let code = match unsafe { library.get::<Get>(call.as_bytes()) } {
            // SAFETY: the signature, as above; `value` outlives the call.
            Ok(f) => unsafe { f(&mut value) },
            Err(_) => 500,
        };
        failed(call, code).map(|()| value)
    };
    let version = get("cuDriverGetVersion")?;
    if version < OLDEST {
        let (major, minor) = version_pair(version);
        return Err(Error::failed(format!("the CUDA driver speaks CUDA {major}.{minor}: update it to 12.0 or later")));
    }
    // SAFETY: CUresult cuInit(unsigned), found above.
    let started = match unsafe { library.get::<Init>(b"cuInit") } {
        // SAFETY: the signature, as above; 0 is the only flag there is.
        Ok(f) => unsafe { f(0) },
        Err(_) => 500,
    };
    failed("cuInit", started)?;
    match get("cuDeviceGetCount")? {
        0 => Err(Error::failed("a CUDA driver, but no GPU")),
        _ => Ok(version),
    }
}

/// Major and minor of a CUDA version.
pub fn version_pair(version: i32) -> (i32, i32) {
    (version / 1000, version % 1000 / 10)
}

/// What a GPU is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    pub ordinal: usize,
    pub name: String,
    /// Compute capability: (9, 0) is Hopper.
    pub capability: (i32, i32),
    pub multiprocessors: i32,
    /// Domain, bus and device of PCI: its name on this machine, whatever its number is for this process.
    pub bus: String,
    /// In bytes.
    pub memory: usize,
}

impl Device {
    /// Asks the driver, which [`driver`] has started.
    pub fn look(ordinal: usize) -> Result<Device> {
        let failed = |e| super::because(format_args!("cannot look at GPU {ordinal}"), e);
        let count = result::device::get_count().map_err(failed)?;
        if ordinal >= count as usize {
            let last = count - 1;
            return Err(Error::request(format!("cuda:{ordinal}: this machine has GPUs 0 to {last}; pass cuda:0")));
        }
        let device = result::device::get(ordinal as c_int).map_err(failed)?;
        // SAFETY: `device` was returned by the driver, above.
        let get = |attribute| unsafe { result::device::get_attribute(device, attribute) }.map_err(failed);
        Ok(Device {
            ordinal,
            name: result::device::get_name(device).map_err(failed)?,
            capability: (
                get(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
                get(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
            ),
            multiprocessors: get(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
            bus: format!(
                "{:04x}-{:02x}-{:02x}",
                get(Attribute::CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID)?,
                get(Attribute::CU_DEVICE_ATTRIBUTE_PCI_BUS_ID)?,
                get(Attribute::CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID)?
            ),
            // SAFETY: as above.
            memory: unsafe { result::device::total_mem(device) }.map_err(failed)?,
        })
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Device { ordinal, name, capability: (major, minor), multiprocessors, memory, .. } = self;
        let gib = *memory as f64 / (1u64 << 30) as f64;
        write!(
            f,
            "GPU {ordinal}: {name}, compute capability {major}.{minor}, {multiprocessors} multiprocessors, {gib:.1} GiB"
        )
    }
}

/// What `info` says of this machine. What is missing says so, with the command that fixes it.
#[derive(Clone, Debug)]
pub struct Report {
    /// The CUDA version of the driver.
    pub driver: Result<i32>,
    pub devices: Vec<Result<Device>>,
    /// Not looked for where there is no driver.
    pub cublas: Option<Result<Cublas>>,
    /// Who compiled, or will compile, our kernels; or what helps where there are none.
    pub kernels: String,
}

impl Report {
    pub fn look() -> Report {
        let compiled = match image::RELEASE {
            "" => image::NO_KERNELS.into(),
            release => format!("compiled by nvcc {release}"),
        };
        let driver = driver();
        let Ok(version) = driver else {
            return Report { driver, devices: Vec::new(), cublas: None, kernels: compiled };
        };
        let count = result::device::get_count().unwrap_or(0);
        let devices: Vec<Result<Device>> = (0..count as usize).map(Device::look).collect();
        let usable = |device: &&Device| !image::RELEASE.is_empty() && device.capability >= CAPABILITY;
        let kernels = match devices.iter().flatten().filter(usable).all(|device| image::has_code(device, version)) {
            true => compiled,
            false => {
                format!("{compiled} to PTX, and by the driver for this GPU when first used, which takes some seconds")
            }
        };
        Report { driver, devices, cublas: Some(libraries::cublas(version)), kernels }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match &self.driver {
            Ok(version) => {
                let (major, minor) = version_pair(*version);
                write!(f, "CUDA driver: {major}.{minor}")?;
            }
            Err(why) => write!(f, "CUDA driver: {why}")?,
        }
        for device in &self.devices {
            match device {
                Ok(device) => write!(f, "\n{device}")?,
                Err(why) => write!(f, "\n{why}")?,
            }
        }
        match &self.cublas {
            Some(Ok(cublas)) => write!(f, "\ncuBLAS: {cublas}")?,
            Some(Err(why)) => write!(f, "\ncuBLAS: {why}")?,
            None => {}
        }
        write!(f, "\nkernels: {}", self.kernels)
    }
}
