//! Memory of the GPU. Positions become addresses in [`Memory::at`] and nowhere else.
use super::because;
use crate::{Error, Result};
use cudarc::driver::{CudaContext, CudaStream, result, sys};
use std::ops::Range;
use std::sync::Arc;

/// One allocation, freed when dropped. Its address is a multiple of 256 and never changes.
pub struct Memory {
    address: u64,
    bytes: usize,
    context: Arc<CudaContext>,
}

impl Memory {
    /// Not initialised. `what` is named if there is too little memory.
    pub fn new(context: &Arc<CudaContext>, what: &str, bytes: usize) -> Result<Memory> {
        // SAFETY: only the caller of a kernel reads it, and writes it before; it is freed once, in `drop`.
        match unsafe { result::malloc_sync(bytes.max(1)) } {
            Ok(address) => Ok(Memory { address, bytes, context: context.clone() }),
            Err(e) if e.0 == sys::cudaError_enum::CUDA_ERROR_OUT_OF_MEMORY => {
                let free = result::mem_get_info().ok().map(|(free, _)| free as u64);
                Err(Error::NoRoom { what: format!("{what} on the GPU"), wanted: bytes as u64, free })
            }
            Err(e) => Err(because(format_args!("cannot allocate {bytes} bytes for {what}"), e)),
        }
    }

    /// Waits until it is: whoever opens a device and fails at the next allocation frees this one at once.
    pub fn zeroed(context: &Arc<CudaContext>, stream: &CudaStream, what: &str, bytes: usize) -> Result<Memory> {
        let memory = Memory::new(context, what, bytes)?;
        memory.zero(stream, 0..bytes)?;
        wait(stream)?;
        Ok(memory)
    }

    pub fn context(&self) -> &Arc<CudaContext> {
        &self.context
    }

    /// The one place where a position, in bytes, becomes an address.
    pub fn at(&self, range: Range<usize>) -> u64 {
        assert!(
            range.start <= range.end && range.end <= self.bytes,
            "bytes {range:?} are outside the allocation of {} bytes",
            self.bytes
        );
        self.address + range.start as u64
    }

    pub fn zero(&self, stream: &CudaStream, range: Range<usize>) -> Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        let (bytes, dst) = (range.len(), self.at(range));
        // SAFETY: `at` checked the range; stream and memory are of one context, for `Cuda::new` makes both from the only
        // one it has; zero bytes are 0.0 and 0.
        unsafe { result::memset_d8_async(dst, 0, bytes, stream.cu_stream()) }.map_err(|e| because("cannot clear", e))
    }

    /// Waits until it is done. Not inside a capture: a graph would keep the address of the host's memory, and use it again
    /// at every replay.
    pub fn upload<T: bytemuck::NoUninit>(&self, stream: &CudaStream, at: usize, src: &[T]) -> Result<()> {
        // SAFETY: we wait; or the context is lost, and nothing is read any more.
        unsafe { self.enqueue(stream, at, src) }?;
        wait(stream)
    }

    /// Comes back at once.
    ///
    /// # Safety
    /// `src` stays where it is until somebody has waited for the stream: a driver may stage what it copies from pageable
    /// memory, or read it there when its turn comes.
    pub unsafe fn enqueue<T: bytemuck::NoUninit>(&self, stream: &CudaStream, at: usize, src: &[T]) -> Result<()> {
        let src: &[u8] = bytemuck::cast_slice(src);
        if src.is_empty() {
            return Ok(());
        }
        let dst = self.at(at..at + src.len());
        // SAFETY: `at` checked the range; the caller keeps `src`.
        unsafe { result::memcpy_htod_async(dst, src, stream.cu_stream()) }.map_err(|e| because("cannot upload", e))
    }

    /// Waits for all work before it. Not inside a capture.
    pub fn download(&self, stream: &CudaStream, src: Range<usize>) -> Result<Vec<f32>> {
        let mut dst = vec![0.0f32; src.len() / 4];
        if dst.is_empty() {
            return wait(stream).map(|()| dst);
        }
        let src = self.at(src.start..src.start + 4 * dst.len());
        // SAFETY: `at` checked the range. `dst` outlives the copy: below we wait for it, and never free it if we cannot.
        let copied = unsafe { result::memcpy_dtoh_async(&mut dst, src, stream.cu_stream()) };
        match copied.map_err(|e| because("cannot download", e)).and_then(|()| wait(stream)) {
            Ok(()) => Ok(dst),
            Err(e) => {
                std::mem::forget(dst);
                Err(e)
            }
        }
    }
}

/// Until all work enqueued so far is done.
pub fn wait(stream: &CudaStream) -> Result<()> {
    // SAFETY: the stream is alive.
    unsafe { result::stream::synchronize(stream.cu_stream()) }.map_err(|e| because("the GPU did not finish", e))
}

impl Drop for Memory {
    fn drop(&mut self) {
        // The result is ignored: after an error of the GPU this fails too, and the memory goes with the context.
        let _ = self.context.bind_to_thread();
        // SAFETY: made by `new`, freed once. Whoever owns it waits for the work that uses it first.
        let _ = unsafe { result::free_sync(self.address) };
    }
}
