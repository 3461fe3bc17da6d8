//! log p(x) by annealed importance sampling (Neal 2001; for decoders: Wu et al. 2017), for models whose q is poor: from
//! the prior to the posterior along p(z) p(x|z)^beta, one Hamiltonian transition at each temperature. The decoder and
//! its gradient run on the device; z, its momentum and the decision to accept it live on the host, in f64.
use crate::config::{Binarize, Model};
use crate::data::Dataset;
use crate::device::Backend;
use crate::error::{Result, at_least_one};
use crate::estimate::{LogLikelihood, LogLikelihoods, Weights};
use crate::evaluate::{self, FIRST_STEP};
use crate::model::Network;
use crate::rng::{self, Stream};
use crate::step::Step;
use std::sync::Arc;

/// How much is spent on each example.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ais {
    /// Steps of beta from 0 to 1.
    pub temperatures: usize,
    /// Independent chains, each of which gives one weight.
    pub chains: usize,
    /// Gradients in one transition.
    pub leapfrogs: usize,
}

impl Ais {
    /// # Errors
    /// A number of nothing.
    pub fn check(&self) -> Result<()> {
        at_least_one("temperatures", self.temperatures, "--temperatures 500")?;
        at_least_one("chains", self.chains, "--chains 16")?;
        at_least_one("leapfrogs", self.leapfrogs, "--leapfrogs 10")
    }
}

/// Chains in one batch.
const ROWS: usize = 2048;
/// The part of the transitions that should be accepted (Neal 2011, section 4.4).
const ACCEPTED: f64 = 0.65;
/// How quickly the pilot's step size follows, in its logarithm.
const GAIN: f64 = 0.3;
/// No step is longer: at 2, leapfrog steps on the prior itself diverge.
const LONGEST: f64 = 1.5;
/// Every trajectory is longer or shorter by up to this part, lest one be a whole turn and end where it began.
const JITTER: f64 = 0.2;

/// A model laid out for annealing, with the gradient of its decoder.
pub struct Annealer {
    network: Network,
    ais: Ais,
}

/// All chains of some examples.
struct Chains {
    /// (rows, latent)
    z: Vec<f64>,
    /// −log p(x|z).                                                     (rows)
    nll: Vec<f64>,
    /// Its gradient with respect to z.                                  (rows, latent)
    dz: Vec<f64>,
}

/// The lengths of the leapfrog steps, by temperature: looked for, or as they were found. Weights are unbiased only if the
/// transitions do not depend on the chains that they move, so the pilot that looks is thrown away.
enum Sizes<'a> {
    Looking(&'a mut Vec<f64>),
    Found(&'a [f64]),
}

impl Annealer {
    /// For so many examples.
    ///
    /// # Errors
    /// An option that cannot be.
    pub fn new(model: &Model, ais: Ais, binarize: Binarize, examples: usize) -> Result<Annealer> {
        ais.check()?;
        let model = evaluate::drawing(model, ais.chains);
        let batch = (ROWS / ais.chains).clamp(1, examples.max(1));
        model.check_batch(batch)?;
        Ok(Annealer { network: Network::gradients(&model, batch, binarize), ais })
    }
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Estimates log p(x) of every example of `data`, which the caller loaded on `b`. `watch` hears of every batch: the
    /// part that is done.
    ///
    /// # Errors
    /// Those of the device, a number that is not finite, and what `watch` returns.
    pub fn run(
        &self,
        b: &mut dyn Backend,
        data: &Arc<Dataset>,
        seed: u64,
        watch: &mut dyn FnMut(f64) -> Result<()>,
    ) -> Result<LogLikelihood> {
        let (n, chains) = (&self.network, self.ais.chains);
        let (rows, batch) = (data.rows(), n.tape.batch);
        b.write(n.tape.weight, &vec![1.0; n.tape.weight.elements()])?; // d nll / d nll
        let mut all = LogLikelihoods::default();
        for position in (0..rows).step_by(batch) {
            let live = batch.min(rows - position);
            let at = position as u32;
            // The x of an evaluation, where it is drawn.
            let step = Step { index: FIRST_STEP, position: at, first_row: at, ..Step::batch(seed, live) };
            b.set_step(&step)?;
            n.tape.forward(b, n.tape.data.clone())?;
            let mut sizes = vec![];
            let few = live.div_ceil(8);
            self.anneal(b, &Step { rows: few as u32, ..step }, Stream::Pilot, Sizes::Looking(&mut sizes))?;
            let logs = self.anneal(b, &step, Stream::Anneal, Sizes::Found(&sizes))?;
            for (example, logs) in logs.chunks(chains).enumerate() {
                let mut weights = Weights::of(chains);
                logs.iter().for_each(|&w| weights.add(w));
                evaluate::finite(data, position + example, [weights.log_mean()])?;
                all.add(&weights);
            }
            watch((position + live) as f64 / rows as f64)?;
        }
        Ok(all.finish())
    }

    /// Takes the chains of `step.rows` examples from the prior to the posterior; the logarithms of their weights.
    fn anneal(&self, b: &mut dyn Backend, step: &Step, stream: Stream, mut sizes: Sizes) -> Result<Vec<f64>> {
        let (latent, last) = (self.network.model.latent, self.ais.temperatures);
        let rows = step.rows as usize * self.ais.chains;
        let first_chain = step.first_row as usize * self.ais.chains;
        let draw = |t: usize| {
            let mut values = vec![0.0; rows * latent];
            for (row, values) in values.chunks_mut(latent).enumerate() {
                rng::normals(values, step.seed, stream, t as u32, (first_chain + row) as u32);
            }
            values
        };
        b.set_step(step)?;
        let mut now = self.chains(b, draw(0))?;
        let mut logs = vec![0.0; rows];
        let mut size = LONGEST;
        for t in 1..=last {
            let beta = temperature(t, last);
            let warmer = beta - temperature(t - 1, last);
            logs.iter_mut().zip(&now.nll).for_each(|(log, nll)| *log -= warmer * nll);
            if t == last {
                break; // where the chains go from here changes no weight
            }
            // One more row of noise, which no chain has: how long this temperature's trajectories are, and who stays.
            let mut chances = vec![0f32; rows + 1];
            rng::uniforms(&mut chances, step.seed, stream, t as u32, u32::MAX - step.first_row);
            let jitter = 1.0 + JITTER * (2.0 * chances[rows] as f64 - 1.0);
            let scaled = jitter * if let Sizes::Found(sizes) = &sizes { sizes[t - 1] } else { size };
            let accepted = self.transition(b, &mut now, draw(t), beta, scaled, &chances)?;
            if let Sizes::Looking(sizes) = &mut sizes {
                sizes.push(size);
                size = (size * (GAIN * (accepted - ACCEPTED)).exp()).min(LONGEST);
            }
        }
        Ok(logs)
    }

    /// One trajectory of every chain under the energy ½ |z|² + beta nll (Neal 2011, figure 2); the mean probability
    /// with which they were accepted.
    fn transition(
        &self,
        b: &mut dyn Backend,
        now: &mut Chains,
        mut momentum: Vec<f64>,
        beta: f64,
        size: f64,
        chances: &[f32],
    ) -> Result<f64> {
        let latent = self.network.model.latent;
        let half = |values: &[f64]| 0.5 * values.iter().map(|v| v * v).sum::<f64>();
        let energy = |chains: &Chains, momentum: &[f64]| -> Vec<f64> {
            let kinetic = momentum.chunks(latent).map(half);
            let potential = chains.z.chunks(latent).zip(&chains.nll).map(|(z, nll)| half(z) + beta * nll);
            kinetic.zip(potential).map(|(k, p)| k + p).collect()
        };
        let push = |momentum: &mut [f64], chains: &Chains, size: f64| {
            for ((p, z), dz) in momentum.iter_mut().zip(&chains.z).zip(&chains.dz) {
                *p -= size * (z + beta * dz);
            }
        };

        let before = energy(now, &momentum);
        push(&mut momentum, now, 0.5 * size);
        let mut next: Option<Chains> = None;
        for leap in 1..=self.ais.leapfrogs {
            let from = next.as_ref().unwrap_or(now);
            let moved = self.chains(b, from.z.iter().zip(&momentum).map(|(z, p)| z + size * p).collect())?;
            push(&mut momentum, &moved, if leap == self.ais.leapfrogs { 0.5 * size } else { size });
            next = Some(moved);
        }
        let next = next.expect("there is at least one leap");
        let after = energy(&next, &momentum);

        let mut accepted = 0.0;
        for row in 0..before.len() {
            let change = before[row] - after[row];
            // A trajectory that diverged may have no energy, and stays: `min` alone would take a NaN for certainty.
            let probability = if change.is_nan() { 0.0 } else { change.exp().min(1.0) };
            if (chances[row] as f64) < probability {
                let span = row * latent..(row + 1) * latent;
                now.z[span.clone()].copy_from_slice(&next.z[span.clone()]);
                now.dz[span.clone()].copy_from_slice(&next.dz[span]);
                now.nll[row] = next.nll[row];
            }
            accepted += probability;
        }
        Ok(accepted / before.len() as f64)
    }

    /// Decodes every z, and follows the gradient of the nll back to it.
    fn chains(&self, b: &mut dyn Backend, z: Vec<f64>) -> Result<Chains> {
        let n = &self.network;
        let rows = z.len() / n.model.latent;
        b.write(n.z.slice(0..rows), &z)?;
        let ops = n.tape.likelihood.clone();
        n.tape.forward(b, ops.clone())?;
        n.tape.backward_to_input(b, ops)?;
        let (nll, dz) = (b.read(n.nll.slice(0..rows))?, b.read(n.layout().d(n.z).slice(0..rows))?);
        Ok(Chains { z, nll, dz })
    }
}

/// beta at step t of T: a sigmoid, slow at both ends (Wu et al. 2017, section 4).
fn temperature(t: usize, last: usize) -> f64 {
    const DELTA: f64 = 4.0;
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let at = |t: usize| sigmoid(DELTA * (2.0 * t as f64 / last as f64 - 1.0));
    (at(t) - at(0)) / (at(last) - at(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_temperatures_go_from_0_to_1_and_never_back() {
        for last in [1, 2, 7, 1000] {
            let betas: Vec<f64> = (0..=last).map(|t| temperature(t, last)).collect();
            assert_eq!((betas[0], betas[last]), (0.0, 1.0));
            assert!(betas.windows(2).all(|b| b[0] < b[1]), "{betas:?}");
        }
    }
}
