//! Memory for a training; and where there is too little, the largest batch that fits.
use crate::config::Run;
use crate::data::Dataset;
use crate::device::{Backend, Device};
use crate::model::Network;
use crate::{Error, Result};
use std::sync::Arc;

/// The device with the layout of `network` in its memory, and the data.
///
/// # Errors
/// Too little memory: bytes wanted, bytes free, and a batch that fits.
pub(super) fn open(
    run: &Run,
    device: &Device,
    network: &Network,
    batch: usize,
    data: &Arc<Dataset>,
) -> Result<Box<dyn Backend>> {
    let opened = device.open(network.layout(), batch).and_then(|mut backend| {
        backend.load(data)?;
        Ok(backend)
    });
    opened.map_err(|e| match e {
        Error::NoRoom { .. } => Error::failed(format!("{e}; {}", remedy(run, device, batch, data))),
        other => other,
    })
}

fn remedy(run: &Run, device: &Device, batch: usize, data: &Dataset) -> String {
    let Some(room) = device.room() else { return "pass a smaller --batch".into() };
    let fits = |batch: usize| {
        let network = Network::training(&run.model, batch, run.data.binarize);
        device.bytes(network.layout()) + device.bytes_of(data) <= room
    };
    // The largest below the one that did not fit, by halves.
    let (mut fit, mut not) = (0, batch);
    while not - fit > 1 {
        let middle = fit + (not - fit) / 2;
        if fits(middle) { fit = middle } else { not = middle }
    }
    match fit {
        0 => "not even --batch 1 fits: pass a smaller --hidden, or less data".into(),
        _ => format!("the largest that fits is --batch {fit}"),
    }
}
