//! From what the user asks for to a device that runs it. Prints nothing: what should be said is handed back.
use super::driver::Precision;
use super::{Backend, Cpu};
use crate::arena::Layout;
use crate::{Error, Result};
use std::str::FromStr;

/// Where to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The first GPU, or the CPU where there is none.
    Auto,
    Cpu,
    /// The GPU of this number.
    Cuda(usize),
}

impl FromStr for Choice {
    type Err = Error;
    fn from_str(s: &str) -> Result<Choice> {
        match s {
            "auto" => Ok(Choice::Auto),
            "cpu" => Ok(Choice::Cpu),
            "cuda" => Ok(Choice::Cuda(0)),
            _ => s.strip_prefix("cuda:").and_then(|n| n.parse().ok()).map(Choice::Cuda).ok_or_else(|| {
                Error::request(format!("device {s}: must be auto, cpu, cuda or cuda:N; pass --device auto"))
            }),
        }
    }
}

/// The numbers to compute with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    Fp32,
    /// On a GPU only.
    Tf32,
    /// On a GPU only.
    Bf16,
    /// On the CPU only: the reference.
    Fp64,
}

impl FromStr for Arithmetic {
    type Err = Error;
    fn from_str(s: &str) -> Result<Arithmetic> {
        match s {
            "fp32" => Ok(Arithmetic::Fp32),
            "tf32" => Ok(Arithmetic::Tf32),
            "bf16" => Ok(Arithmetic::Bf16),
            "fp64" => Ok(Arithmetic::Fp64),
            _ => Err(Error::request(format!("precision {s}: must be fp32, tf32, bf16 or fp64; pass --precision fp32"))),
        }
    }
}

/// A device, ready to run.
pub struct Opened {
    pub backend: Box<dyn Backend>,
    /// What it is, for the log.
    pub device: String,
    /// Sentences that the user should read once.
    pub notes: Vec<String>,
}

/// Opens a device with zeros in its memory, for a layout and batches of `batch`.
///
/// # Errors
/// A request that the device cannot serve, or, unless the choice is `auto`, what is missing.
pub fn open(choice: Choice, arithmetic: Arithmetic, layout: &Layout, batch: usize) -> Result<Opened> {
    let precision = match (choice, arithmetic) {
        (Choice::Cuda(_), Arithmetic::Fp64) => {
            return Err(Error::request("precision fp64: a GPU computes in fp32 here; pass --device cpu"));
        }
        (Choice::Cpu, Arithmetic::Tf32 | Arithmetic::Bf16) => {
            return Err(Error::request("precision tf32 and bf16: only on a GPU; on the CPU pass --precision fp32"));
        }
        (Choice::Cpu | Choice::Auto, Arithmetic::Fp64) => {
            return Ok(Opened {
                backend: Box::new(Cpu::<f64>::new(layout, batch)),
                device: "the CPU".into(),
                notes: vec![],
            });
        }
        (_, Arithmetic::Fp32) => Precision::Fp32,
        (_, Arithmetic::Tf32) => Precision::Tf32,
        (_, Arithmetic::Bf16) => Precision::Bf16,
    };
    let notes = match choice {
        Choice::Cuda(ordinal) => return gpu(ordinal, precision, layout),
        Choice::Cpu => vec![],
        Choice::Auto => match gpu(0, precision, layout) {
            Ok(opened) => return Ok(opened),
            Err(why) if precision == Precision::Fp32 => vec![format!("{why}; running on the CPU")],
            Err(why) => vec![format!("{why}; running on the CPU, in fp32")],
        },
    };
    Ok(Opened { backend: Box::new(Cpu::<f32>::new(layout, batch)), device: "the CPU".into(), notes })
}

#[cfg(feature = "cuda")]
fn gpu(ordinal: usize, precision: Precision, layout: &Layout) -> Result<Opened> {
    let cuda = super::cuda::Cuda::new(ordinal, layout, precision)?;
    let (device, notes) = (cuda.device().to_string(), cuda.notes().to_vec());
    Ok(Opened { backend: Box::new(super::Gpu::new(cuda, layout)), device, notes })
}

#[cfg(not(feature = "cuda"))]
fn gpu(_: usize, _: Precision, _: &Layout) -> Result<Opened> {
    Err(Error::failed("this build has no CUDA: build it with --features cuda"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_named_by_a_word_and_a_number() {
        assert_eq!("cuda:3".parse(), Ok(Choice::Cuda(3)));
        assert_eq!("cuda".parse(), Ok(Choice::Cuda(0)));
        for wrong in ["gpu", "cuda:", "cuda:-1", "Auto"] {
            assert_eq!(wrong.parse::<Choice>().unwrap_err().exit_code(), 2, "{wrong}");
        }
    }

    #[test]
    fn what_a_device_cannot_compute_is_a_wrong_request() {
        let layout = Layout::inference();
        for (choice, arithmetic) in
            [(Choice::Cuda(0), Arithmetic::Fp64), (Choice::Cpu, Arithmetic::Tf32), (Choice::Cpu, Arithmetic::Bf16)]
        {
            assert_eq!(open(choice, arithmetic, &layout, 1).err().unwrap().exit_code(), 2);
        }
    }
}
