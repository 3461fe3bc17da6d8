//! What a trained model gives: latents of examples, examples of latents, draws from the prior.
use crate::checkpoint::Saved;
use crate::config::{Binarize, Likelihood, Mean, Model};
use crate::data::Dataset;
use crate::device::{Backend, Device, Real};
use crate::model::Network;
use crate::rng::{self, Stream};
use crate::step::Step;
use crate::{Error, Result};
use std::sync::Arc;

/// Examples in one batch.
const BATCH: usize = 1024;

/// A model on a device, ready to encode and decode.
pub struct Inference {
    network: Network,
    b: Box<dyn Backend>,
}

impl Inference {
    /// Lays the model out for one sample an example, and loads its parameters.
    ///
    /// # Errors
    /// Those of the device.
    pub fn open(saved: &Saved, binarize: Binarize, device: &Device) -> Result<Self> {
        let model = Model { samples: 1, ..saved.run.model.clone() };
        let network = Network::inference(&model, BATCH, binarize);
        let mut b = device.open(network.layout(), BATCH)?;
        saved.load(&network, &mut *b)?;
        Ok(Inference { network, b })
    }

    /// `[mu | logvar]` of every example.                               (rows, 2 latent)
    ///
    /// # Errors
    /// Those of the device.
    pub fn encode(&mut self, data: &Arc<Dataset>, seed: u64) -> Result<Vec<f32>> {
        let (n, rows) = (&self.network, data.rows());
        self.b.load(data)?;
        let mut out = Vec::with_capacity(rows * 2 * n.model.latent);
        for position in (0..rows).step_by(BATCH) {
            let live = BATCH.min(rows - position);
            let at = position as u32;
            self.b.set_step(&Step { position: at, first_row: at, ..Step::batch(seed, live) })?;
            n.tape.forward(&mut *self.b, n.tape.data.start..n.tape.encoder.end)?;
            let head = self.b.read(n.head.slice(0..live))?;
            out.extend(head.into_iter().map(|x| x as f32));
        }
        finite(&out, 2 * n.model.latent, "the encoder's output")?;
        Ok(out)
    }

    /// The mean of p(x|z) for every z, of a conditional model given a row of `condition` for each.
    /// z: (rows, latent), condition: (rows, condition), out: (rows, input)
    ///
    /// # Errors
    /// Those of the device.
    ///
    /// # Panics
    /// If there are not as many rows of one as of the other.
    pub fn decode(&mut self, z: &[f32], condition: &[f32]) -> Result<Vec<f32>> {
        let (n, m) = (&self.network, &self.network.model);
        let rows = z.len() / m.latent;
        assert_eq!(condition.len(), rows * m.condition, "a row of the condition for each of {rows} z");
        let mut out = Vec::with_capacity(rows * m.input);
        let real = |values: &[f32]| values.iter().map(|&v| v as f64).collect::<Vec<_>>();
        for first in (0..rows).step_by(BATCH) {
            let live = BATCH.min(rows - first);
            self.b.set_step(&Step::batch(0, live))?;
            self.b.write(n.z.slice(0..live), &real(&z[first * m.latent..][..live * m.latent]))?;
            let given = &condition[first * m.condition..][..live * m.condition];
            self.b.write(n.conditions[1].slice(0..live), &real(given))?;
            n.tape.forward(&mut *self.b, n.tape.decoder.clone())?;
            let decoded = self.b.read(n.decoded.out.slice(0..live).columns(0..m.input))?;
            let sigmoid = m.likelihood == Likelihood::Bernoulli || m.mean == Mean::Sigmoid;
            out.extend(decoded.into_iter().map(|x| if sigmoid { x.sigmoid() } else { x } as f32));
        }
        finite(&out, m.input, "the decoder's output")?;
        Ok(out)
    }

    /// Every example through mu and back.                              (rows, input)
    ///
    /// # Errors
    /// Those of the device.
    pub fn reconstruct(&mut self, data: &Arc<Dataset>, seed: u64) -> Result<Vec<f32>> {
        let latent = self.network.model.latent;
        let head = self.encode(data, seed)?;
        let mu: Vec<f32> = head.chunks(2 * latent).flat_map(|row| &row[..latent]).copied().collect();
        let model = &self.network.model;
        let given = data.columns(model.input..model.columns());
        self.decode(&mu, &given)
    }

    /// Means of p(x|z) for z from the prior: draw i depends on the seed, i and row i of the condition alone.
    /// condition: (count, condition), out: (count, input)
    ///
    /// # Errors
    /// Those of the device.
    pub fn sample(&mut self, count: usize, condition: &[f32], seed: u64) -> Result<Vec<f32>> {
        let latent = self.network.model.latent;
        let mut z = vec![0f32; count * latent];
        for (row, z) in z.chunks_mut(latent).enumerate() {
            rng::normals(z, seed, Stream::Sample, 0, row as u32);
        }
        self.decode(&z, condition)
    }
}

fn finite(values: &[f32], cols: usize, what: &str) -> Result<()> {
    match values.iter().position(|x| !x.is_finite()) {
        None => Ok(()),
        Some(i) => {
            let (row, col, value) = (i / cols, i % cols, values[i]);
            Err(Error::failed(format!("{what} is {value} for example {row}, column {col}; its input is out of range")))
        }
    }
}
