//! Variational autoencoders, fast on an NVIDIA GPU and right everywhere.
#![deny(unsafe_code)]

pub mod arena;
pub mod case;
pub mod checkpoint;
pub mod cli;
pub mod config;
pub mod data;
pub mod device;
pub mod error;
pub mod evaluate;
pub mod files;
pub mod infer;
pub mod init;
pub mod metrics;
pub mod model;
pub mod plot;
pub mod rng;
pub mod schedule;
pub mod step;
pub mod tape;
pub mod tensors;
pub mod trainer;

pub use error::{Error, Result};
