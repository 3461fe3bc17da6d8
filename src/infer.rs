//! What a trained model gives: latents of examples, examples of latents, draws from the prior and around an example.
//! Examples come in as the model sees them, and go out in the units of the file that it was trained on.
//! Where in latent space: [`crate::latents`].
use crate::checkpoint::Saved;
use crate::config::{Binarize, Model};
use crate::data::{Dataset, Scale};
use crate::decoding::{Column, Decoding};
use crate::device::{Backend, Device};
use crate::host;
use crate::latents;
use crate::model::Network;
use crate::rng::Stream;
use crate::step::Step;
use crate::{Error, Result};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;

/// The place of the step in the counter of [`Stream::Sample`], where x is drawn. [`crate::latents`] has others.
const DRAW: u32 = 2;

/// What counts of shares ([`Model::is_of_shares`]) add up to, of which shares say nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum Totals {
    /// In every row this: of 1 their means are the shares.
    Of(f64),
    /// In the columns that are observed in these examples what the examples do, which rows take in turn.  (examples, input)
    Like(Vec<f32>),
}

impl Totals {
    /// What row `row` adds up to, of the columns of p(x|z) where it adds up to 1.
    fn of(&self, row: usize, input: usize, shares: impl Iterator<Item = Column>) -> f64 {
        match self {
            Totals::Of(total) => *total,
            Totals::Like(examples) => {
                let first = row * input % examples.len();
                let there = examples[first..][..input].iter().zip(shares).filter(|(x, _)| !x.is_nan());
                let (counted, share) = there.fold((0.0, 0.0), |(n, s), (&x, column)| (n + x as f64, s + column.mean()));
                if share > 0.0 { counted / share } else { 0.0 }
            }
        }
    }
}

/// A model on a device, ready to encode and decode.
pub struct Inference {
    network: Network,
    /// The examples of a full batch. What comes of one does not depend on it.
    batch: usize,
    b: Box<dyn Backend>,
    /// The model sees what this makes of x; what it gives is undone.
    scale: Option<Scale>,
    totals: Totals,
}

impl Inference {
    /// Lays the model out for one sample an example, and loads its parameters.
    ///
    /// # Errors
    /// Those of the device.
    pub fn open(saved: &Saved, binarize: Binarize, device: &Device) -> Result<Self> {
        let model = Model { samples: 1, ..saved.run.model.clone() };
        let batch = model.examples_at_once();
        let network = Network::inference(&model, batch, binarize);
        let mut b = device.open(network.layout(), batch)?;
        saved.load(&network, &mut *b)?;
        Ok(Inference { network, batch, b, scale: saved.run.data.scale.clone(), totals: Totals::Of(1.0) })
    }

    /// What the counts of shares add up to in the rows that are decoded from now on. It begins at 1.
    pub fn set_totals(&mut self, totals: Totals) {
        self.totals = totals;
    }

    /// The same: what they do in these examples, `each` rows for one.
    pub fn set_totals_like(&mut self, data: &Dataset, each: usize) {
        let input = self.network.model.input;
        self.totals = Totals::Like(latents::repeated(&data.columns(0..input), input, each));
    }

    /// `[mu | logvar]` of every example.                               (rows, 2 latent)
    ///
    /// # Errors
    /// Those of the device.
    pub fn encode(&mut self, data: &Arc<Dataset>, seed: u64) -> Result<Vec<f32>> {
        let (n, rows) = (&self.network, data.rows());
        self.b.load(data)?;
        let mut out = Vec::with_capacity(rows * 2 * n.model.latent);
        for position in (0..rows).step_by(self.batch) {
            let live = self.batch.min(rows - position);
            let at = position as u32;
            self.b.set_step(&Step { position: at, first_row: at, ..Step::batch(seed, live) })?;
            n.tape.forward(&mut *self.b, n.tape.data.start..n.tape.encoder.end)?;
            let head = self.b.read(n.head.slice(0..live))?;
            out.extend(head.into_iter().map(|x| x as f32));
        }
        finite(&out, 2 * n.model.latent, "the encoder's output")?;
        Ok(out)
    }

    /// The mean of p(x|z) for every z, of shares of the total (see [`Inference::set_totals`]); of a conditional model, given a row of `condition` for each.
    /// z: (rows, latent), condition: (rows, condition), out: (rows, input)
    ///
    /// # Errors
    /// Those of the device.
    ///
    /// # Panics
    /// If there are not as many rows of one as of the other.
    pub fn decode(&mut self, z: &[f32], condition: &[f32]) -> Result<Vec<f32>> {
        self.each_decoded(z, condition, Scale::undo, |_, columns, x| {
            x.iter_mut().zip(columns).for_each(|(x, column)| *x = column.mean() as f32);
        })
    }

    /// The standard deviation of each column of p(x|z), for every z.                     (rows, input)
    ///
    /// # Errors
    /// Those of the device.
    ///
    /// # Panics
    /// As [`Inference::decode`].
    pub fn deviations(&mut self, z: &[f32], condition: &[f32]) -> Result<Vec<f32>> {
        self.each_decoded(z, condition, Scale::undo_distances, |_, columns, x| {
            x.iter_mut().zip(columns).for_each(|(x, column)| *x = column.deviation() as f32);
        })
    }

    /// x ~ p(x|z) for every z: row i depends on its z, its condition, the seed and i alone.   (rows, input)
    ///
    /// # Errors
    /// Those of the device.
    ///
    /// # Panics
    /// As [`Inference::decode`].
    pub fn draw(&mut self, z: &[f32], condition: &[f32], seed: u64) -> Result<Vec<f32>> {
        self.each_decoded(z, condition, Scale::undo, |(decoding, row), columns, x| {
            let mut draws = decoding.draws(seed, Stream::Sample, DRAW, row as u32);
            x.iter_mut().zip(columns).enumerate().for_each(|(j, (x, column))| *x = draws.draw(j, column) as f32);
        })
    }

    /// `fill((decoding, row), columns, x)` makes x of the columns of p(x|z) of every row; `undo` brings it into the units of the file.
    fn each_decoded(
        &mut self,
        z: &[f32],
        condition: &[f32],
        undo: impl FnOnce(&Scale, &mut [f32], Range<usize>),
        fill: impl Fn((&Decoding, usize), &mut dyn Iterator<Item = Column>, &mut [f32]) + Sync,
    ) -> Result<Vec<f32>> {
        let n = &self.network;
        let (latent, input, given, width) = (n.model.latent, n.model.input, n.model.condition, n.decoded.out.cols);
        let rows = z.len() / latent;
        assert_eq!(condition.len(), rows * given, "a row of the condition for each of {rows} z");
        let decoding = Decoding::of(n, &mut *self.b)?;
        let real = |values: &[f32]| values.iter().map(|&v| v as f64).collect::<Vec<_>>();
        host::check_memory(
            4 * rows as u128 * input as u128,
            &format!("{rows} rows of {input} columns"),
            "ask for fewer rows",
        )?;
        let mut x = vec![0f32; rows * input];
        for (number, x) in x.chunks_mut(self.batch * input).enumerate() {
            let (first, live) = (number * self.batch, x.len() / input);
            self.b.set_step(&Step::batch(0, live))?;
            self.b.write(n.z.slice(0..live), &real(&z[first * latent..][..live * latent]))?;
            self.b.write(n.conditions[1].slice(0..live), &real(&condition[first * given..][..live * given]))?;
            n.tape.forward(&mut *self.b, n.tape.decoder.clone())?;
            let mut out = self.b.read(n.decoded.out.slice(0..live))?;
            x.par_chunks_mut(input).zip(out.par_chunks_mut(width)).enumerate().for_each(|(row, (x, out))| {
                decoding.normalise(out);
                let row = first + row;
                let total = self.totals.of(row, input, decoding.columns(out));
                fill((&decoding, row), &mut decoding.columns_of(out, total), x);
            });
        }
        if let Some(scale) = &self.scale {
            undo(scale, &mut x, 0..input);
        }
        finite(&x, input, "the decoder's output")?;
        Ok(x)
    }

    /// x of examples as the model sees them, as it was before it was scaled.     (rows, input)
    pub fn examples(&self, data: &Dataset) -> Vec<f32> {
        self.unscaled(data, 0..self.network.model.input)
    }

    /// Their condition, as it was before it was scaled.                        (rows, condition)
    pub fn told(&self, data: &Dataset) -> Vec<f32> {
        self.unscaled(data, self.network.model.input..self.network.model.columns())
    }

    fn unscaled(&self, data: &Dataset, columns: Range<usize>) -> Vec<f32> {
        let mut rows = data.columns(columns.clone());
        if let Some(scale) = &self.scale {
            scale.undo(&mut rows, columns);
        }
        rows
    }

    /// What the model is told beside x, as it sees it.                         (rows, condition)
    pub fn condition_of(&self, data: &Dataset) -> Vec<f32> {
        data.columns(self.network.model.input..self.network.model.columns())
    }

    /// z from the prior, `draws` for each example, and what is told with each: what predictions are decoded or drawn from.
    ///                                                    (rows · draws, latent), (rows · draws, condition)
    pub fn asked(&self, data: &Dataset, draws: usize, seed: u64) -> (Vec<f32>, Vec<f32>) {
        let z = latents::prior(data.rows() * draws, self.latent(), 1.0, seed);
        (z, latents::repeated(&self.condition_of(data), self.network.model.condition, draws))
    }

    /// Every example through mu and back; of shares what is observed adds up to what it does.    (rows, input)
    ///
    /// # Errors
    /// Those of the device.
    pub fn reconstruct(&mut self, data: &Arc<Dataset>, seed: u64) -> Result<Vec<f32>> {
        let head = self.encode(data, seed)?;
        let condition = self.condition_of(data);
        let before = self.totals.clone();
        if self.network.model.is_of_shares() {
            self.set_totals_like(data, 1);
        }
        let x = self.decode(&latents::means(&head, self.latent()), &condition);
        self.totals = before;
        x
    }

    /// Means of p(x|z) for z from the prior: draw i depends on the seed, i and row i of the condition alone.
    /// condition: (count, condition), out: (count, input)
    ///
    /// # Errors
    /// Those of the device.
    pub fn sample(&mut self, count: usize, condition: &[f32], seed: u64) -> Result<Vec<f32>> {
        let numbers = count as u128 * (self.latent() + self.network.model.input) as u128;
        host::check_memory(4 * numbers, &format!("{count} draws"), "ask for fewer")?;
        self.decode(&latents::prior(count, self.latent(), 1.0, seed), condition)
    }

    /// z ~ q(z|x) with `temperature` times its standard deviation, `each` for every example.
    ///                                                                         (rows · each, latent)
    ///
    /// # Errors
    /// Those of the device.
    pub fn near(&mut self, data: &Arc<Dataset>, each: usize, temperature: f64, seed: u64) -> Result<Vec<f32>> {
        let head = self.encode(data, seed)?;
        Ok(latents::near(&head, self.latent(), each, temperature, seed))
    }

    /// How many latent dimensions there are.
    pub fn latent(&self) -> usize {
        self.network.model.latent
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
