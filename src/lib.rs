//! Variational autoencoders, fast on an NVIDIA GPU and right everywhere.
#![deny(unsafe_code)]

pub mod arena;
pub mod case;
pub mod config;
pub mod data;
pub mod device;
pub mod error;
pub mod files;
pub mod model;
pub mod plot;
pub mod rng;
pub mod schedule;
pub mod step;
pub mod tape;
pub mod tensors;

pub use error::{Error, Result};
