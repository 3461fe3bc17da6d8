//! Time as the GPU has it.
use super::because;
use super::memory::Memory;
use crate::Result;
use cudarc::driver::sys::{self, CUevent_flags};
use cudarc::driver::{CudaContext, CudaEvent, CudaStream};
use std::ffi::c_int;
use std::sync::Arc;

/// A point in the work of a stream.
pub struct Mark(CudaEvent);

impl Mark {
    /// Once all work enqueued so far is done. Not inside a capture.
    pub fn new(context: &Arc<CudaContext>, stream: &CudaStream) -> Result<Mark> {
        let failed = |e| because("cannot take the time", e);
        let event = context.new_event(Some(CUevent_flags::CU_EVENT_DEFAULT)).map_err(failed)?;
        event.record(stream).map_err(failed)?;
        Ok(Mark(event))
    }

    /// Milliseconds between an earlier mark of the same stream and this one. Waits for both.
    pub fn since(&self, earlier: &Mark) -> Result<f64> {
        type Elapsed = unsafe extern "C" fn(*mut f32, sys::CUevent, sys::CUevent) -> c_int;
        let failed = |e| because("the GPU did not finish", e);
        self.0.synchronize().map_err(failed)?;
        earlier.0.synchronize().map_err(failed)?;
        let mut ms = 0.0f32;
        // SAFETY: both events are alive and have been recorded, by `new`. cuEventElapsedTime is in every driver, and
        // `detect` asked for it; the one that cudarc calls, cuEventElapsedTime_v2, is not in those before CUDA 12.8.
        let code = unsafe {
            let elapsed = sys::culib().get::<Elapsed>(b"cuEventElapsedTime");
            elapsed.map_or(500, |elapsed| elapsed(&mut ms, earlier.0.cu_event(), self.0.cu_event()))
        };
        match code {
            0 => Ok(f64::from(ms)),
            _ => Err(crate::Error::failed(format!("cannot take the time (CUDA error {code})"))),
        }
    }
}

/// A mark in the context that `memory` belongs to.
pub fn mark(memory: &Memory, stream: &CudaStream) -> Result<Mark> {
    Mark::new(memory.context(), stream)
}
