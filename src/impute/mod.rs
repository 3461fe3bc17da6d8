//! Filling in what is missing: draws of x_missing given x_observed under a trained model, and how probable hidden values
//! were. Inpainting, super-resolution and gaps in tables are the same question with another mask; denoising is the one
//! where what is observed is not exact.
//!
//! The engine sums log p(x|z) over all columns; a mask needs it column by column, so the decoder's output is read back and
//! summed on the host, in f64 ([`crate::decoding`]).
mod chain;
mod given;
mod score;

pub use given::Given;
pub use score::Score;

use crate::arena::View;
use crate::checkpoint::Saved;
use crate::config::{Binarize, Likelihood, Model, SizeFactor};
use crate::decoding::{Decoding, NOISY};
use crate::device::{Backend, Device};
use crate::model::Network;
use crate::step::Step;
use crate::{Error, Result};
use std::ops::Range;

/// How the missing values are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Importance samples that choose where a chain begins: so many from the prior, then so many from q(z|x); of a model that was
    /// trained where values were missing from q(z|x) alone.
    pub samples: usize,
    /// Sweeps after that: a Metropolis step from q(z|x), one of a walk, and the missing values given z.
    pub sweeps: usize,
    /// Chains for each example, independent of one another.
    pub draws: usize,
    /// The standard deviation of the noise on what is observed. None: it is exact.
    pub noise: Option<f64>,
    pub seed: u64,
}

impl Settings {
    /// # Errors
    /// A sentence about the first value that cannot be.
    pub fn check(&self) -> Result<()> {
        for (name, value, example) in [("samples", self.samples, 100), ("draws", self.draws, 10)] {
            if !(1..=1_000_000).contains(&value) {
                return Err(Error::request(format!(
                    "{name} {value}: must be from 1 to 1000000; pass --{name} {example}"
                )));
            }
        }
        if self.sweeps > 1_000_000 {
            return Err(Error::request(format!("sweeps {}: must be at most 1000000; pass --sweeps 20", self.sweeps)));
        }
        match self.noise {
            Some(s) if !(s.is_finite() && s > 0.0) => {
                Err(Error::request(format!("noise {s}: must be a positive number; pass --noise 0.1")))
            }
            _ => Ok(()),
        }
    }
}

/// Filled examples.
#[derive(Clone, Debug)]
pub struct Filled {
    /// (rows, cols), or (rows · draws, cols) with the draws of an example together. What was observed, exactly, is what
    /// was given, bit for bit.
    pub values: Vec<f32>,
    /// The parts that were accepted of the proposals of q, and of the steps of the walk; None where none was made.
    pub accepted: Option<(f64, f64)>,
}

/// A model on a device, ready to fill in.
pub struct Imputer {
    engine: Engine,
    decoding: Decoding,
    watch: Box<dyn FnMut(f64)>,
}

/// The encoder and the decoder, on rows that the host holds.
struct Engine {
    network: Network,
    b: Box<dyn Backend>,
}

/// # Errors
/// A model that says nothing of what is hidden.
pub(crate) fn fills_in(model: &Model) -> Result<()> {
    let (what, or) = match model.size_factor {
        SizeFactor::Total => ("size-factor total", "--size-factor none"),
        SizeFactor::None => ("multinomial", "--likelihood poisson or negative-binomial"),
    };
    match model.is_of_shares() {
        false => Ok(()),
        true => Err(Error::request(format!(
            "{what}: the model takes the total of what is observed as given, and says nothing of what is hidden; train with {or} to fill \
             in counts"
        ))),
    }
}

impl Imputer {
    /// # Errors
    /// A model of shares, and those of the device.
    pub fn open(saved: &Saved, device: &Device) -> Result<Imputer> {
        fills_in(&saved.run.model)?;
        let model = Model { samples: 1, ..saved.run.model.clone() };
        let batch = model.examples_at_once(); // chains
        let network = Network::inference(&model, batch, Binarize::None);
        let mut b = device.open(network.layout(), batch)?;
        saved.load(&network, &mut *b)?;
        let decoding = Decoding::of(&network, &mut *b)?;
        Ok(Imputer { engine: Engine { network, b }, decoding, watch: Box::new(|_| ()) })
    }

    /// `watch` hears, block by block, which part of the examples is done.
    pub fn watched(self, watch: impl FnMut(f64) + 'static) -> Imputer {
        Imputer { watch: Box::new(watch), ..self }
    }

    /// E[x | what is observed]: the mean of p(x|z) over the second half of the sweeps of all chains.    (rows, cols)
    ///
    /// # Errors
    /// Those of the device, and a model that gives no finite numbers.
    pub fn mean(&mut self, given: &Given, s: &Settings) -> Result<Filled> {
        let mut sums = vec![0f64; given.values.len()];
        let accepted = self.each_block(given, s, |_, block, chains| {
            for (unit, mean) in block.iter().zip(chains.mean.chunks(given.cols)) {
                let sum = &mut sums[unit.example * given.cols..][..given.cols];
                sum.iter_mut().zip(mean).for_each(|(sum, mean)| *sum += mean / s.draws as f64);
            }
            Ok(())
        })?;
        let values = (0..sums.len()).map(|i| if given.is_exact(i, s) { given.values[i] } else { sums[i] as f32 });
        Ok(Filled { values: values.collect(), accepted })
    }

    /// x ~ p(x | what is observed), `draws` times for every example: chain i depends on its example, the settings and i
    /// alone.                                                                            (rows · draws, cols)
    ///
    /// # Errors
    /// Those of the device, and a model that gives no finite numbers.
    pub fn draws(&mut self, given: &Given, s: &Settings) -> Result<Filled> {
        let cols = given.cols;
        let mut values: Vec<f32> = given.values.chunks(cols).flat_map(|row| row.repeat(s.draws)).collect();
        let accepted = self.each_block(given, s, |_, block, chains| {
            for (unit, x) in block.iter().zip(chains.x.chunks(cols)) {
                let row = &mut values[(unit.example * s.draws + unit.draw) * cols..][..cols];
                for j in (0..cols).filter(|j| !given.is_exact(unit.example * cols + j, s)) {
                    row[j] = x[j] as f32;
                }
            }
            Ok(())
        })?;
        Ok(Filled { values, accepted })
    }

    /// Runs the chains of all examples that have something to fill in, whole examples at a time, and gives each block to
    /// `take`. The parts that were accepted.
    fn each_block(
        &mut self,
        given: &Given,
        s: &Settings,
        mut take: impl FnMut(&mut Imputer, &[chain::Unit], &chain::Chains) -> Result<()>,
    ) -> Result<Option<(f64, f64)>> {
        let model = &self.engine.network.model;
        s.check()?;
        if given.cols != model.input {
            let (cols, input) = (given.cols, model.input);
            return Err(Error::request(format!(
                "{}: has {cols} columns to fill in; the model has {input}",
                given.name
            )));
        }
        if let (Some(noise), true) = (s.noise, model.has_counts() || model.has(Likelihood::Categorical)) {
            return Err(Error::request(format!("noise {noise}: {NOISY}; leave it out")));
        }
        if s.noise.is_none() {
            given.check(model, Binarize::None)?;
        }
        if given.told.len() != given.rows() * model.condition {
            return Err(Error::request(format!(
                "condition: {} numbers; must be {} rows of {}, as the model is told",
                given.told.len(),
                given.rows(),
                model.condition
            )));
        }
        let open = |i: &usize| (i * given.cols..(i + 1) * given.cols).any(|at| !given.is_exact(at, s));
        let examples: Vec<usize> = (0..given.rows()).filter(open).collect();
        let per_block = (self.engine.network.tape.batch / s.draws).max(1);
        let (mut accepted, mut walked) = (0, 0);
        for (i, block) in examples.chunks(per_block).enumerate() {
            let unit = |&example: &usize| (0..s.draws).map(move |draw| chain::Unit { example, draw });
            let units: Vec<chain::Unit> = block.iter().flat_map(unit).collect();
            let chains = self.run(given, &units, s)?;
            accepted += chains.accepted;
            walked += chains.walked;
            take(self, &units, &chains)?;
            (self.watch)((i * per_block + block.len()) as f64 / examples.len() as f64);
        }
        let proposals = examples.len() * s.draws * s.sweeps;
        Ok((proposals > 0).then(|| (accepted as f64 / proposals as f64, walked as f64 / proposals as f64)))
    }
}

impl Engine {
    /// `[mu | logvar]` of rows of x, each beside what the model is told of it.                (rows, 2 latent)
    fn encode(&mut self, x: &[f64], told: &[f64]) -> Result<Vec<f64>> {
        let Network { tape, x: from, conditions, head, .. } = &self.network;
        self.through([(x, *from), (told, conditions[0])], tape.encoder.clone(), *head, "the encoder's output")
    }

    /// The decoder's output for rows of z, each beside what the model is told.
    fn decode(&mut self, z: &[f64], told: &[f64]) -> Result<Vec<f64>> {
        let Network { tape, z: from, conditions, decoded, .. } = &self.network;
        self.through([(z, *from), (told, conditions[1])], tape.decoder.clone(), decoded.out, "the decoder's output")
    }

    /// Writes rows to views, as many to each, runs some of the tape, reads them at `to`.
    fn through(&mut self, from: [(&[f64], View); 2], ops: Range<usize>, to: View, what: &str) -> Result<Vec<f64>> {
        let (rows, batch) = (from[0].0.len() / from[0].1.cols, self.network.tape.batch);
        let mut out = Vec::with_capacity(rows * to.cols);
        for first in (0..rows).step_by(batch) {
            let live = batch.min(rows - first);
            self.b.set_step(&Step::batch(0, live))?;
            for (rows, view) in from {
                self.b.write(view.slice(0..live), &rows[first * view.cols..(first + live) * view.cols])?;
            }
            self.network.tape.forward(&mut *self.b, ops.clone())?;
            out.extend(self.b.read(to.slice(0..live))?);
        }
        match out.iter().find(|v| !v.is_finite()) {
            None => Ok(out),
            Some(v) => Err(Error::failed(format!("{what} is {v}; the data is out of the range of the model"))),
        }
    }
}
