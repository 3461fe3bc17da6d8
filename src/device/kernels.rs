//! One function for each kernel of kernels/*.cu, with the kernel's own parameters; written by build.rs. The data set and
//! the plan are the device's own, so callers do not name them.
use super::driver::{Arg, Driver, Grid};
use crate::arena::View;

/// A kernel's parameter of that type: see kernels/view.cuh.
#[derive(Clone, Copy, Debug)]
pub struct In(pub View);
/// A kernel's parameter of that type: see kernels/view.cuh.
#[derive(Clone, Copy, Debug)]
pub struct Out(pub View);
/// A kernel's parameter of that type: see kernels/view.cuh.
#[derive(Clone, Copy, Debug)]
pub struct In16(pub View);
/// A kernel's parameter of that type: see kernels/view.cuh.
#[derive(Clone, Copy, Debug)]
pub struct Out16(pub View);

/// A kernel's parameter of that type: numbers of f32, or their copy in bf16.
#[derive(Clone, Copy, Debug)]
pub enum InAny {
    F32(View),
    Half(View),
}

impl InAny {
    fn arg(self) -> Arg {
        match self {
            InAny::F32(view) => Arg::AnyView { view, half: false },
            InAny::Half(view) => Arg::AnyView { view, half: true },
        }
    }
}

/// What the GPU loads: a fatbin, or PTX without any kernel where the build found no nvcc. Ends with a zero byte.
pub const IMAGE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/kernels.image"));

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));
