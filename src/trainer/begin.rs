//! Where the parameters of a training begin.
use crate::checkpoint::{Position, Saved};
use crate::config::{OutputBias, Run};
use crate::data::Dataset;
use crate::device::{Backend, Chosen};
use crate::model::Network;
use crate::{Result, init};

/// Where the parameters of a training begin.
#[derive(Clone, Copy)]
pub enum Begin<'a> {
    /// At new ones, as the run says, and as the data say.
    New,
    /// At those of another model of the same layers. All else is new: moments, schedules, the order of the examples.
    From(&'a Saved),
    /// Where a checkpoint of the same run stands.
    Again(&'a Saved),
}

impl<'a> Begin<'a> {
    /// The checkpoint, of a run that goes on.
    pub fn checkpoint(self) -> Option<&'a Saved> {
        match self {
            Begin::Again(saved) => Some(saved),
            Begin::New | Begin::From(_) => None,
        }
    }

    /// The algorithms that a run that goes on was made by.
    pub(super) fn chosen(self) -> Option<&'a Chosen> {
        self.checkpoint()?.position()?.chosen.as_ref()
    }

    /// Writes the parameters to the device, and of a run that goes on the moments; where it stands.
    ///
    /// # Errors
    /// A checkpoint that is none, a model of other layers, and those of the device.
    pub(super) fn write(self, run: &Run, network: &Network, data: &Dataset, b: &mut dyn Backend) -> Result<Position> {
        let t = &run.training;
        match self {
            Begin::Again(saved) => return saved.resume(network, b),
            Begin::From(saved) => saved.load(network, b)?,
            Begin::New => {
                init::parameters(network, t.init, t.seed, b)?;
                if t.init_output_bias == OutputBias::Data {
                    init::output_bias(network, data, run.data.binarize, b)?;
                }
                init::log_variance(network, data, b)?;
                init::log_dispersion(network, data, b)?;
            }
        }
        Ok(Position::default())
    }
}
