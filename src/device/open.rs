//! Which device a run uses: chosen once, at the edge.
use super::{Backend, Cpu};
use crate::arena::Layout;
use crate::config::Numbers;
use crate::{Error, Result};

/// A device that was found, and the arithmetic on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    /// `cpu`, or `cuda:0 (NVIDIA H200)`.
    pub name: String,
    pub numbers: Numbers,
}

impl Device {
    /// `choice` is `auto`, `cpu`, `cuda` or `cuda:N`. With the device come sentences about what was chosen.
    ///
    /// # Errors
    /// A name that is none of these, a device that is not there, an arithmetic that it does not have.
    pub fn find(choice: &str, numbers: Numbers) -> Result<(Device, Vec<String>)> {
        match choice {
            "auto" | "cpu" => {}
            "cuda" => return Err(Error::failed("this build has no CUDA; pass --device cpu")),
            _ => {
                return Err(Error::request(format!(
                    "device {choice}: must be auto, cpu, cuda or cuda:N; pass --device auto"
                )));
            }
        }
        match numbers {
            Numbers::Tf32 | Numbers::Bf16 => {
                Err(Error::request("precision tf32 and bf16 need a GPU; pass --precision fp32 on the CPU"))
            }
            Numbers::F64 | Numbers::Fp32 => Ok((Device { name: "cpu".into(), numbers }, vec![])),
        }
    }

    /// Memory for a layout, of batches of `batch` examples.
    ///
    /// # Errors
    /// Too little memory.
    pub fn open(&self, layout: &Layout, batch: usize) -> Result<Box<dyn Backend>> {
        Ok(match self.numbers {
            Numbers::F64 => Box::new(Cpu::<f64>::new(layout, batch)),
            _ => Box::new(Cpu::<f32>::new(layout, batch)),
        })
    }
}
