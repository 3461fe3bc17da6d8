//! Counts what the tape asks of the allocator, in a program of its own because the allocator is the program's. The
//! backend here does nothing: what a device allocates is the device's affair.
#![allow(unsafe_code)] // an allocator can be had in no other way
use std::alloc::{GlobalAlloc, Layout as Memory, System};
use std::cell::Cell;
use std::sync::Arc;
use vae_gpu::arena::{Layout, View};
use vae_gpu::config::{Activation, Binarize, Likelihood, Model, Objective, Optimizer, Rule, Variance};
use vae_gpu::data::Dataset;
use vae_gpu::device::Backend;
use vae_gpu::model::Network;
use vae_gpu::step::Step;
use vae_gpu::tape::{Decoded, Fetch, Goal, Tape};
use vae_gpu::{Error, Result};

/// The system's allocator, counting for each thread alone.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    // A thread that is ending has none to count with.
    let _ = ALLOCATIONS.try_with(|n| n.set(n.get() + 1));
}

// SAFETY: every call goes to the system's allocator as it came; counting neither allocates nor panics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, memory: Memory) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(memory) }
    }
    unsafe fn dealloc(&self, at: *mut u8, memory: Memory) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(at, memory) }
    }
    unsafe fn realloc(&self, at: *mut u8, memory: Memory, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(at, memory, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Counts its calls.
struct Idle(usize);

impl Idle {
    fn called(&mut self) -> Result<()> {
        self.0 += 1;
        Ok(())
    }
}

type Act = Option<Activation>;

impl Backend for Idle {
    fn write(&mut self, _: View, _: &[f64]) -> Result<()> {
        Err(Error::failed("a step of the tape copies nothing from the host"))
    }
    fn read(&mut self, _: View) -> Result<Vec<f64>> {
        Err(Error::failed("a step of the tape copies nothing to the host"))
    }
    fn load(&mut self, _: &Arc<Dataset>) -> Result<()> {
        Err(Error::failed("a step of the tape loads nothing"))
    }
    fn set_step(&mut self, _: &Step) -> Result<()> {
        Err(Error::failed("a step of the tape does not plan"))
    }
    fn train(&mut self, _: &Tape, _: &Optimizer, _: &[Step]) -> Result<()> {
        Err(Error::failed("a step of the tape is not many"))
    }
    fn gather(&mut self, _: View, _: Fetch) -> Result<()> {
        self.called()
    }
    fn log1p(&mut self, _: View, _: View, _: Option<View>) -> Result<()> {
        self.called()
    }
    fn log_softmax(&mut self, _: View, _: View) -> Result<()> {
        self.called()
    }
    fn log_means(&mut self, _: View, _: View) -> Result<()> {
        self.called()
    }
    fn log_means_backward(&mut self, _: View, _: View, _: View) -> Result<()> {
        self.called()
    }
    fn linear_forward(&mut self, _: View, _: View, _: View, _: View, _: View, _: Act) -> Result<()> {
        self.called()
    }
    fn linear_backward(
        &mut self,
        _: Option<View>,
        _: Option<(View, View)>,
        _: View,
        _: View,
        _: View,
        _: View,
        _: View,
        _: Act,
    ) -> Result<()> {
        self.called()
    }
    fn reparam_forward(&mut self, _: View, _: View, _: View, _: Option<View>) -> Result<()> {
        self.called()
    }
    fn reparam_backward(
        &mut self,
        _: View,
        _: View,
        _: View,
        _: View,
        _: Option<View>,
        _: View,
        _: Goal,
    ) -> Result<()> {
        self.called()
    }
    fn kl_forward(&mut self, _: View, _: View, _: View) -> Result<()> {
        self.called()
    }
    fn kl_backward(&mut self, _: View, _: View, _: View, _: Goal) -> Result<()> {
        self.called()
    }
    fn nll_forward(&mut self, _: View, _: Decoded, _: View) -> Result<()> {
        self.called()
    }
    fn nll_backward(&mut self, _: View, _: Option<View>, _: Decoded, _: View, _: View) -> Result<()> {
        self.called()
    }
    fn bound(&mut self, _: View, _: View, _: View, _: View, _: View, _: View, _: View, _: Goal) -> Result<()> {
        self.called()
    }
    fn update(&mut self, _: &Layout, _: &Optimizer) -> Result<()> {
        self.called()
    }
}

#[test]
fn a_step_of_the_tape_allocates_nothing() {
    // 11 forward (6 of them linear), 8 backward and kl's where the objective has it, 1 update
    for (objective, calls) in [(Objective::Elbo, 21), (Objective::ElboMc, 20), (Objective::Iwae, 20)] {
        let shared =
            Model { variance: Variance::Shared, likelihood: Likelihood::Gaussian, ..Model::new(17, &[9, 7], 3) };
        let model = Model { objective, samples: 3, ..shared };
        let network = Network::training(&model, 5, Binarize::None);
        let optimizer = Optimizer::new(Rule::Adam);
        let mut idle = Idle(0);
        let before = ALLOCATIONS.get();
        let result = network.tape.step(&mut idle, &optimizer);
        let allocations = ALLOCATIONS.get() - before;
        result.unwrap();
        assert_eq!(allocations, 0, "{objective:?}");
        assert_eq!(idle.0, calls, "{objective:?}: operations of a step");
    }
    let before = ALLOCATIONS.get();
    std::hint::black_box(Box::new(1));
    assert_eq!(ALLOCATIONS.get() - before, 1, "the allocator counts");
}
