//! Variational autoencoders, fast on an NVIDIA GPU and right everywhere.
#![deny(unsafe_code)]

pub mod data;
pub mod error;
pub mod files;
pub mod plot;

pub use error::{Error, Result};
