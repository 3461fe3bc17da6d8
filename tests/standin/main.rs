//! The GPU's path on a machine without one: the shipped program and the engine on a driver that executes the kernels
//! in the emulator.
#![cfg(feature = "cuda")]
mod bench;
mod driver;
mod drivers;
#[path = "../support/measured.rs"]
mod measured;
mod memory;
#[path = "../support/program.rs"]
mod program;
mod shipped;
