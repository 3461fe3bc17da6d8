//! Which device a run uses: chosen once, at the edge. Prints nothing: what should be said is handed back.
#[cfg(feature = "cuda")]
use super::driver::Precision;
use super::{Backend, Cpu, Shortcut, cpu};
#[cfg(feature = "cuda")]
use super::{Gpu, cuda};
use crate::arena::Layout;
use crate::config::Numbers;
use crate::data::Dataset;
use crate::files::{self, Lock};
use crate::{Error, Result, host};

/// A device that was found, and the arithmetic on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    /// `cpu`, or `cuda:0 (NVIDIA H200)`.
    pub name: String,
    pub numbers: Numbers,
    /// The number of the GPU. None: the CPU.
    gpu: Option<usize>,
    /// The library of products, and what it is for. None: there is none.
    pub library: Option<String>,
    variant: Option<Variant>,
}

/// In what a GPU differs from one that trains, to measure what that costs or gives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Variant {
    /// The library of products may add in any order: two runs may differ.
    AnyOrder,
    /// Of what the library of products offers, the fastest is taken, here and now: two runs may differ.
    Timed,
    /// Steps take longer.
    Without(Shortcut),
    /// A small batch's whole pass, forward and backward, is one launch: what no GPU has run yet, and trainings do without.
    Stacked,
}

impl Device {
    /// `choice` is `auto`, `cpu`, `cuda` or `cuda:N`. With the device come sentences about what was chosen.
    ///
    /// # Errors
    /// A name that is none of these, a device that is not there, an arithmetic that it does not have.
    pub fn find(choice: &str, numbers: Numbers) -> Result<(Device, Vec<String>)> {
        let cpu = |numbers| Device { name: "cpu".into(), numbers, gpu: None, library: None, variant: None };
        match (choice, numbers) {
            ("auto" | "cpu", Numbers::F64) => Ok((cpu(numbers), vec![])),
            ("cpu", Numbers::Tf32 | Numbers::Bf16) => {
                Err(Error::request("precision tf32 and bf16 need a GPU; pass --precision fp32 on the CPU"))
            }
            ("cpu", Numbers::Fp32) => Ok((cpu(numbers), vec![])),
            ("auto", _) => Device::find_gpu(0, numbers).or_else(|why| {
                let instead = if numbers == Numbers::Fp32 { "" } else { ", in fp32" };
                Ok((cpu(Numbers::Fp32), vec![format!("{why}; running on the CPU{instead}")]))
            }),
            _ => {
                let ordinal = match choice.strip_prefix("cuda") {
                    Some("") => Some(0),
                    Some(number) => number.strip_prefix(':').and_then(|n| n.parse().ok()),
                    None => None,
                };
                match (ordinal, numbers) {
                    (None, _) => Err(Error::request(format!(
                        "device {choice}: must be auto, cpu, cuda or cuda:N; pass --device auto"
                    ))),
                    (Some(_), Numbers::F64) => Err(Error::request(
                        "precision f64 is for the CPU; pass --device cpu, or --precision fp32 on the GPU",
                    )),
                    (Some(ordinal), _) => Device::find_gpu(ordinal, numbers),
                }
            }
        }
    }

    #[cfg(feature = "cuda")]
    fn find_gpu(ordinal: usize, numbers: Numbers) -> Result<(Device, Vec<String>)> {
        let (found, cublas) = cuda::find(ordinal)?;
        cuda::try_kernels(&found)?;
        let name = format!("cuda:{ordinal} ({})", found.name);
        let slower = |why| format!("{why}; matrix products run on our own, slower kernels");
        let library = cublas.as_ref().ok().map(|cublas| cuda::library(&found, cublas));
        let device = Device { name, numbers, gpu: Some(ordinal), library, variant: None };
        Ok((device, cublas.err().map(slower).into_iter().collect()))
    }

    #[cfg(not(feature = "cuda"))]
    fn find_gpu(_: usize, _: Numbers) -> Result<(Device, Vec<String>)> {
        Err(Error::failed("this build has no CUDA: build it with --features cuda"))
    }

    /// Memory for a layout, of batches of `batch` examples. It stays on this thread.
    ///
    /// # Errors
    /// Too little memory.
    pub fn open(&self, layout: &Layout, batch: usize) -> Result<Box<dyn Backend>> {
        #[cfg(feature = "cuda")]
        if let Some(ordinal) = self.gpu {
            // An update goes through all parameters as one row, whose positions are 32-bit numbers in the kernels.
            let (parameters, most) = (layout.params().cols, i32::MAX);
            if parameters > most as usize {
                return Err(Error::request(format!(
                    "hidden: the model would have {parameters} parameters with their padding, at most {most} are possible on a \
                     GPU; pass a smaller --hidden"
                )));
            }
            let precision = match self.numbers {
                Numbers::Tf32 => Precision::Tf32,
                Numbers::Bf16 => Precision::Bf16,
                Numbers::Fp32 | Numbers::F64 => Precision::Fp32,
            };
            let mut cuda = cuda::Cuda::new(ordinal, layout, precision)?;
            match self.variant {
                Some(Variant::AnyOrder) => cuda.choose(cuda::Algorithms::AnyOrder),
                Some(Variant::Timed) => cuda.choose(cuda::Algorithms::Fastest),
                Some(Variant::Without(_) | Variant::Stacked) | None => {}
            }
            let mut gpu = Gpu::new(cuda, layout)?;
            match self.variant {
                Some(Variant::Without(shortcut)) => gpu.leave_out(shortcut),
                Some(Variant::Stacked) => gpu.stack_passes(),
                _ => {}
            }
            return Ok(Box::new(gpu));
        }
        // What is not a training asks here: the system may hand out memory that it does not have.
        if let (Some(free), wanted) = (self.room(), self.bytes(layout))
            && wanted > free
        {
            return Err(Error::NoRoom { what: cpu::WHAT.into(), wanted, free: Some(free) });
        }
        Ok(match self.numbers {
            Numbers::F64 => Box::new(Cpu::<f64>::try_new(layout, batch)?),
            _ => Box::new(Cpu::<f32>::try_new(layout, batch)?),
        })
    }

    /// Tells other processes that a training runs on this GPU, as long as this is held; or hears so from one of them.
    pub fn claim(&self) -> Lock {
        #[cfg(feature = "cuda")]
        if let Some(Ok(found)) = self.gpu.map(cuda::detect::Device::look) {
            return files::lock_named(&found.bus);
        }
        Lock::Held(None)
    }

    /// The same GPU with a difference.
    pub fn with(&self, variant: Variant) -> Device {
        let name = match variant {
            Variant::AnyOrder => format!("{}, any order", self.name),
            Variant::Timed => format!("{}, timed", self.name),
            Variant::Without(shortcut) => format!("{}, without {}", self.name, shortcut.name()),
            Variant::Stacked => format!("{}, stacked", self.name),
        };
        Device { name, variant: Some(variant), ..self.clone() }
    }

    /// Whether its memory is that of the host.
    pub fn is_host(&self) -> bool {
        self.gpu.is_none()
    }

    /// Bytes of memory that a layout takes.
    pub fn bytes(&self, layout: &Layout) -> u64 {
        let each = match (self.gpu, self.numbers) {
            (None, Numbers::F64) => 8,
            (Some(_), Numbers::Bf16) => 4 + 2,
            _ => 4,
        };
        #[cfg(feature = "cuda")]
        let beside = if self.gpu.is_some() { cuda::BESIDE } else { 0 };
        #[cfg(not(feature = "cuda"))]
        let beside = 0;
        each * layout.total() as u64 + beside
    }

    /// Bytes of memory that a data set takes on the device, beside what the host has of it.
    pub fn bytes_of(&self, data: &Dataset) -> u64 {
        if self.gpu.is_some() { data.values.bytes() } else { 0 }
    }

    /// Bytes of memory that are free, where that is known.
    pub fn room(&self) -> Option<u64> {
        #[cfg(feature = "cuda")]
        if let Some(ordinal) = self.gpu {
            return cuda::room(ordinal);
        }
        host::free_memory()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_request_is_told_so() {
        for (choice, numbers) in [
            ("gpu", Numbers::Fp32),
            ("cuda:", Numbers::Fp32),
            ("cuda:-1", Numbers::Fp32),
            ("cuda0", Numbers::Fp32),
            ("cuda", Numbers::F64),
            ("cpu", Numbers::Tf32),
            ("cpu", Numbers::Bf16),
        ] {
            let error = Device::find(choice, numbers).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{choice} {numbers:?}: {error}");
        }
    }
}
