//! Memory for a training; and where there is too little, the largest batch that fits.
use super::Validation;
use crate::config::{Numbers, Run};
use crate::data::Dataset;
use crate::device::{Backend, Device};
use crate::evaluate::Evaluator;
use crate::model::Network;
use crate::{Error, Result, host};
use std::sync::Arc;

/// What is to be in memory at once.
pub(super) struct Room<'r, 'a> {
    pub run: &'r Run,
    pub device: &'r Device,
    pub data: &'r Arc<Dataset>,
    /// Examples in a batch.
    pub batch: usize,
    pub valid: Option<&'a Arc<Dataset>>,
}

impl<'a> Room<'_, 'a> {
    fn network(&self, batch: usize) -> Network {
        Network::training(&self.run.model, batch, self.run.data.binarize)
    }

    fn evaluator(&self, data: &Dataset) -> Evaluator {
        Evaluator::validating(&self.run.model, self.run.data.binarize, data.rows())
    }

    /// The memory of the training and of its validation, with their data.
    ///
    /// # Errors
    /// Too little of it: bytes wanted, bytes free, and a batch that fits.
    pub fn open(&self) -> Result<(Network, Box<dyn Backend>, Option<Validation<'a>>)> {
        self.try_open().map_err(|e| match e {
            Error::NoRoom { .. } => Error::failed(format!("{e}; {}", self.remedy())),
            other => other,
        })
    }

    /// What saving takes of the host's memory: parameters and moments as f64 for a moment, then the file twice.
    fn saving(&self, network: &Network) -> u64 {
        let numbers: usize = network.parameters.iter().map(|p| 3 * p.shape.iter().product::<usize>()).sum();
        numbers as u64 * if self.run.training.precision == Numbers::F64 { 16 } else { 8 }
    }

    /// Linux hands out memory that it does not have, and ends the process that uses it: so it is asked first.
    fn check_host(&self, network: &Network) -> Result<()> {
        let layout = if self.device.is_host() { self.device.bytes(network.layout()) } else { 0 };
        let wanted = layout + self.saving(network);
        match host::free_memory() {
            Some(free) if free < wanted => {
                let place =
                    if self.device.is_host() { "parameters, activations and checkpoints" } else { "checkpoints" };
                Err(Error::NoRoom { what: format!("{place} in this machine's memory"), wanted, free: Some(free) })
            }
            _ => Ok(()),
        }
    }

    /// Bytes that the training and its validation take on the device, and on the host.
    pub fn wanted(&self) -> (u64, u64) {
        let network = self.network(self.batch);
        let (state, saving) = (self.state(&network), self.saving(&network));
        if self.device.is_host() { (state, state + saving) } else { (state, saving) }
    }

    /// Bytes of the network, of the data, and of what validates them, on the device.
    fn state(&self, network: &Network) -> u64 {
        let takes = |network: &Network, data| self.device.bytes(network.layout()) + self.device.bytes_of(data);
        takes(network, self.data) + self.valid.map_or(0, |data| takes(self.evaluator(data).network(), data))
    }

    fn try_open(&self) -> Result<(Network, Box<dyn Backend>, Option<Validation<'a>>)> {
        let network = self.network(self.batch);
        self.check_host(&network)?;
        let mut backend = self.device.open(network.layout(), self.batch)?;
        backend.load(self.data)?;
        let Some(data) = self.valid else { return Ok((network, backend, None)) };
        let evaluator = self.evaluator(data);
        let n = evaluator.network();
        let mut b = self.device.open(n.layout(), n.tape.batch)?;
        b.load(data)?; // once: a device keeps it
        Ok((network, backend, Some(Validation { data, evaluator, backend: b })))
    }

    fn remedy(&self) -> String {
        let Some(room) = self.device.room() else { return "pass a smaller --batch".into() };
        let fits = |batch| {
            let network = self.network(batch);
            self.state(&network) <= room && self.check_host(&network).is_ok()
        };
        // The largest below the one that did not fit, by halves.
        let (mut fit, mut not) = (0, self.batch);
        while not - fit > 1 {
            let middle = fit + (not - fit) / 2;
            if fits(middle) { fit = middle } else { not = middle }
        }
        match fit {
            0 => "not even --batch 1 fits: pass a smaller --hidden, or less data".into(),
            _ => format!("the largest that fits is --batch {fit}"),
        }
    }
}
