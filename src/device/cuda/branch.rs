//! A second stream, for work that is independent of what the first does meanwhile. In a capture the two become branches of
//! one graph.
use super::because;
use super::blas::Lane;
use super::memory::{self, Memory};
use crate::Result;
use cudarc::driver::{CudaContext, CudaEvent, CudaStream, DriverError};
use std::sync::Arc;

pub struct Branch {
    stream: Arc<CudaStream>,
    workspace: Memory,
    /// The last point of the trunk that the branch waits for, and the last one of the branch that the trunk waits for.
    forked: CudaEvent,
    joined: CudaEvent,
    /// Whether it has work that the trunk does not wait for.
    open: bool,
}

impl Branch {
    pub fn new(context: &Arc<CudaContext>, workspace: usize) -> Result<Branch> {
        let failed = |e| because("cannot make a stream", e);
        let stream = context.new_stream().map_err(failed)?;
        let event = || context.new_event(None).map_err(failed);
        let (forked, joined) = (event()?, event()?);
        let workspace = Memory::new(context, "the second workspace of cuBLAS", workspace)?;
        Ok(Branch { stream, workspace, forked, joined, open: false })
    }

    /// What follows on the branch waits for the trunk as it is now.
    pub fn fork(&mut self, trunk: &CudaStream) -> Result<()> {
        follow(&self.stream, trunk, &self.forked)?;
        self.open = true;
        Ok(())
    }

    /// What follows on the trunk waits for the branch. False where there is nothing to wait for.
    pub fn join(&mut self, trunk: &CudaStream) -> Result<bool> {
        if self.open {
            follow(trunk, &self.stream, &self.joined)?;
        }
        Ok(std::mem::take(&mut self.open))
    }

    /// The capture that it was part of has ended, whatever came of it.
    pub fn ended(&mut self) {
        self.open = false;
    }

    pub fn lane(&self) -> Lane<'_> {
        Lane { stream: &self.stream, workspace: &self.workspace }
    }

    /// Until all of it is done.
    pub fn wait(&self) -> Result<()> {
        memory::wait(&self.stream)
    }
}

/// What comes next on `later` waits for all that is on `earlier` now.
fn follow(later: &CudaStream, earlier: &CudaStream, event: &CudaEvent) -> Result<()> {
    let order = || -> std::result::Result<(), DriverError> {
        event.record(earlier)?;
        later.wait(event)
    };
    order().map_err(|e| because("cannot order two streams", e))
}
