//! Markov chains over (z, x_missing) whose stationary distribution is p(z, x_missing | x_observed).
//!
//! A chain begins by importance resampling: one of K draws from the prior, weighed with p(x_observed|z), fills x in; one of
//! K draws from q(z|x) of that, weighed with p(x_observed|z) p(z) / q(z|x), takes its place. The prior as the first
//! proposal needs no guess of the missing values and lets every chain begin elsewhere.
//!
//! Then sweeps: a proposal from q(z|x), accepted or not, and x_missing ~ p(x_missing|z). Always to accept is the pseudo-Gibbs
//! sampler of Rezende, Mohamed & Wierstra 2014 (appendix F), whose distribution is off by as much as q is; the Metropolis
//! step of Mattei & Frellsen 2018 makes it exact, whatever q is:
//!
//! ```text
//! accept z' with probability min(1, [p(x|z') p(z') / q(z'|x)] / [p(x|z) p(z) / q(z|x)])
//! ```
//!
//! q knows nothing of masks and is narrow, so few of its proposals are accepted where much is missing. Each sweep therefore
//! walks as well, in z alone, with x_missing integrated out: z' = √(1 − b²) z + b eps leaves the prior as it is, and is
//! accepted with probability min(1, p(x_observed|z') / p(x_observed|z)) (Neal 1999; Cotter et al. 2013, "MCMC methods for
//! functions", the preconditioned Crank-Nicolson proposal).
//!
//! The encoder of a model that was trained where values were missing is given what is observed, and needs no guess (Mattei &
//! Frellsen 2019, "MIWAE"): its draws begin the chain, in place of both, and are its proposals, with p(x_observed|z) for
//! p(x|z) and x_missing integrated out.
//!
//! With noise on what is observed, y = x + N(0, s²), the clean x of those columns is filled in too, from p(x|z, y).
use super::{Given, Imputer, Settings};
use crate::Result;
use crate::data::Missing;
use crate::decoding::{Column, Decoding, Draws};
use crate::device::MISSING;
use crate::rng::{self, Stream};
use rayon::prelude::*;

/// One chain: which example, and which of its draws.
#[derive(Clone, Copy)]
pub(super) struct Unit {
    pub example: usize,
    pub draw: usize,
}

/// What a number of the generator is for: the low three bits of its step.
pub(super) enum Purpose {
    Eps = 0,
    Choice = 1,
    Fill = 2,
    Score = 3,
    Walk = 4,
    WalkChoice = 5,
}

/// The step of the generator.
pub(super) fn step(index: u32, purpose: Purpose) -> u32 {
    8 * index + purpose as u32
}

/// How far the walk of a sweep goes, in turn: what fits depends on how much is observed.
const STRIDES: [f64; 4] = [0.4, 0.2, 0.1, 0.05];

impl Unit {
    /// A key of its own for each draw of an example: splitmix64 moves its state by this much.
    fn seed(self, seed: u64) -> u64 {
        seed.wrapping_add((self.draw as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }
    pub(super) fn normals(self, out: &mut [f64], seed: u64, step: u32) {
        rng::normals(out, self.seed(seed), Stream::Impute, step, self.example as u32);
    }
    fn uniform(self, seed: u64, index: u32, purpose: Purpose) -> f64 {
        let mut u = [0f32];
        rng::uniforms(&mut u, self.seed(seed), Stream::Impute, step(index, purpose), self.example as u32);
        u[0] as f64
    }
    fn draws(self, decoding: &Decoding, seed: u64, index: u32) -> Draws {
        decoding.draws(self.seed(seed), Stream::Impute, step(index, Purpose::Fill), self.example as u32)
    }
}

/// The chains of a block, a row each.
pub(super) struct Chains {
    chains: usize,
    told: Vec<f64>,     // (chains, condition)
    pub x: Vec<f64>,    // (chains, input), filled
    z: Vec<f64>,        // (chains, latent)
    out: Vec<f64>,      // (chains, width): the decoder's output at z
    pub mean: Vec<f64>, // (chains, input): of x given z and what is observed, over the sweeps that count
    /// Proposals of q, and steps of the walk, that were accepted.
    pub accepted: usize,
    pub walked: usize,
}

impl Chains {
    /// Takes the proposals (z, out) where `accepts(chain, z held, out held, out, x)`; how many.
    fn step(
        &mut self,
        z: &[f64],
        out: &[f64],
        accepts: impl Fn(usize, &[f64], &[f64], &[f64], &[f64]) -> bool + Sync,
    ) -> usize {
        let (latent, width, input) = (z.len() / self.chains, out.len() / self.chains, self.x.len() / self.chains);
        let held = self.z.par_chunks_mut(latent).zip(self.out.par_chunks_mut(width)).zip(self.x.par_chunks(input));
        let accepted = held.enumerate().map(|(i, ((held_z, held_out), x))| {
            let (z, out) = (&z[i * latent..][..latent], &out[i * width..][..width]);
            let accepted = accepts(i, held_z, held_out, out, x);
            if accepted {
                held_z.copy_from_slice(z);
                held_out.copy_from_slice(out);
            }
            accepted as usize
        });
        accepted.sum()
    }
}

/// log p of what is observed of an example, given z: the decoder's `out`.
pub(super) fn log_p_observed(decoding: &Decoding, given: &Given, s: &Settings, example: usize, out: &[f64]) -> f64 {
    let start = example * given.cols;
    let known = (0..given.cols).filter(|j| given.observed[start + j]);
    known
        .map(|j| {
            let (column, y) = (decoding.column(out, j), given.values[start + j] as f64);
            match s.noise {
                None => column.log_p(y),
                Some(noise) => column.log_p_noisy(y, noise * noise),
            }
        })
        .sum()
}

/// z = mu + exp(logvar/2) eps; log p(z) − log q(z|x) = ½ Σ (eps² + logvar − z²).
fn propose(head: &[f64], eps: &[f64], z: &mut [f64]) -> f64 {
    let (mu, logvar) = head.split_at(z.len());
    let mut ratio = 0.0;
    for j in 0..z.len() {
        z[j] = mu[j] + (0.5 * logvar[j]).exp() * eps[j];
        ratio += 0.5 * (eps[j] * eps[j] + logvar[j] - z[j] * z[j]);
    }
    ratio
}

/// The same ratio of a z that came from elsewhere.
fn log_ratio(head: &[f64], z: &[f64]) -> f64 {
    let (mu, logvar) = head.split_at(z.len());
    let eps2 = |j: usize| (z[j] - mu[j]).powi(2) * (-logvar[j]).exp();
    (0..z.len()).map(|j| 0.5 * (eps2(j) + logvar[j] - z[j] * z[j])).sum()
}

impl Imputer {
    /// The chains of `units`, from their start to their last sweep.
    pub(super) fn run(&mut self, given: &Given, units: &[Unit], s: &Settings) -> Result<Chains> {
        let (n, model) = (units.len(), &self.engine.network.model);
        let (input, latent, width) = (model.input, model.latent, self.engine.network.decoded.out.cols);
        let mut chains = Chains {
            chains: n,
            told: given.told_of(units.iter().map(|u| u.example)),
            x: units.iter().flat_map(|u| &given.values[u.example * input..][..input]).map(|&x| x as f64).collect(),
            z: vec![0.0; n * latent],
            out: vec![0.0; n * width],
            mean: vec![0.0; n * input],
            accepted: 0,
            walked: 0,
        };
        let k = s.samples as u32;
        let sees_gaps = self.sees_gaps();
        let observed = |i: usize| &given.observed[units[i].example * input..][..input];
        let from_prior = |eps: &[f64], z: &mut [f64]| {
            z.copy_from_slice(eps);
            0.0
        };
        if !sees_gaps {
            self.resample(&mut chains, given, units, s, 0, |_, eps, z| from_prior(eps, z))?;
            self.fill(&mut chains, given, units, s, k);
        }
        let head = self.encode(&chains, given, units)?;
        self.resample(&mut chains, given, units, s, k + 1, |i, eps, z| match observed(i).contains(&true) {
            true => propose(&head[i * 2 * latent..][..2 * latent], eps, z),
            // Of an example of which nothing is observed, a draw from the prior is exact. One that is there stays.
            false if sees_gaps => from_prior(eps, z),
            false => f64::NEG_INFINITY,
        })?;
        chains.mean.fill(0.0);
        self.fill(&mut chains, given, units, s, 2 * k + 1);

        for sweep in 0..s.sweeps {
            if sweep == s.sweeps / 2 {
                chains.mean.fill(0.0);
            }
            self.sweep(&mut chains, given, units, s, 2 * k + 2 + sweep as u32)?;
        }
        let counted = (s.sweeps - s.sweeps / 2).max(1) as f64;
        chains.mean.iter_mut().for_each(|mean| *mean /= counted);
        Ok(chains)
    }

    /// One of K candidates, each with a probability proportional to its weight p(x_observed|z) · ratio: the one whose
    /// log-weight + Gumbel noise is the largest. `candidate(chain, eps, z)` makes z, and gives the logarithm of the ratio.
    fn resample(
        &mut self,
        chains: &mut Chains,
        given: &Given,
        units: &[Unit],
        s: &Settings,
        first: u32,
        candidate: impl Fn(usize, &[f64], &mut [f64]) -> f64 + Sync,
    ) -> Result<()> {
        let Imputer { engine, decoding, .. } = self;
        let (latent, width) = (engine.network.model.latent, engine.network.decoded.out.cols);
        let mut best = vec![f64::NEG_INFINITY; units.len()];
        for index in first..first + s.samples as u32 {
            let (z, ratios) = candidates(units, latent, s.seed, step(index, Purpose::Eps), &candidate);
            let out = engine.decode(&z, &chains.told)?;
            let held = chains.z.par_chunks_mut(latent).zip(chains.out.par_chunks_mut(width)).zip(&mut best);
            held.enumerate().for_each(|(i, ((held_z, held_out), best))| {
                let out = &out[i * width..][..width];
                let log_weight = ratios[i] + log_p_observed(decoding, given, s, units[i].example, out);
                let gumbel = -(-units[i].uniform(s.seed, index, Purpose::Choice).ln()).ln();
                if log_weight + gumbel > *best {
                    *best = log_weight + gumbel;
                    held_z.copy_from_slice(&z[i * latent..][..latent]);
                    held_out.copy_from_slice(out);
                }
            });
        }
        Ok(())
    }

    /// Whether the encoder has learned to see examples with gaps.
    fn sees_gaps(&self) -> bool {
        self.engine.network.model.missing == Missing::Allow
    }

    /// q(z|x) of each chain: given what is observed, by an encoder that sees gaps, and else given x as it is filled.
    fn encode(&mut self, chains: &Chains, given: &Given, units: &[Unit]) -> Result<Vec<f64>> {
        if !self.sees_gaps() {
            return self.engine.encode(&chains.x, &chains.told);
        }
        // What was given, and not the clean x of it: a proposal knows nothing of where the chain is.
        let row = |u: &Unit| u.example * given.cols..(u.example + 1) * given.cols;
        let seen = |i: usize| if given.observed[i] { given.values[i] as f64 } else { MISSING };
        let seen: Vec<f64> = units.iter().flat_map(row).map(seen).collect();
        self.engine.encode(&seen, &chains.told)
    }

    /// A Metropolis step in z given what the encoder saw, one in z given what is observed, then x_missing given z.
    fn sweep(&mut self, chains: &mut Chains, given: &Given, units: &[Unit], s: &Settings, index: u32) -> Result<()> {
        let (head, sees_gaps) = (self.encode(chains, given, units)?, self.sees_gaps());
        let Imputer { engine, decoding, .. } = self;
        let latent = engine.network.model.latent;
        let head = |i: usize| &head[i * 2 * latent..][..2 * latent];
        let eps = step(index, Purpose::Eps);
        let (z, ratios) = candidates(units, latent, s.seed, eps, &|i, eps, z: &mut [f64]| propose(head(i), eps, z));
        let out = engine.decode(&z, &chains.told)?;
        chains.accepted += chains.step(&z, &out, |i, held_z, held_out, out, x| {
            let log_p = |out: &[f64]| match sees_gaps {
                true => log_p_observed(decoding, given, s, units[i].example, out),
                false => decoding.columns(out).zip(x).map(|(c, &x)| c.log_p(x)).sum::<f64>(),
            };
            let u = units[i].uniform(s.seed, index, Purpose::Choice);
            u.ln() < log_p(out) + ratios[i] - log_p(held_out) - log_ratio(head(i), held_z)
        });

        let stride = STRIDES[index as usize % STRIDES.len()];
        let held = &chains.z;
        let walk = |i: usize, eps: &[f64], z: &mut [f64]| {
            let from = &held[i * latent..][..latent];
            for j in 0..latent {
                z[j] = (1.0 - stride * stride).sqrt() * from[j] + stride * eps[j];
            }
            0.0
        };
        let (z, _) = candidates(units, latent, s.seed, step(index, Purpose::Walk), &walk);
        let out = engine.decode(&z, &chains.told)?;
        chains.walked += chains.step(&z, &out, |i, _, held_out, out, _| {
            let log_p = |out: &[f64]| log_p_observed(decoding, given, s, units[i].example, out);
            let u = units[i].uniform(s.seed, index, Purpose::WalkChoice);
            u.ln() < log_p(out) - log_p(held_out)
        });
        self.fill(chains, given, units, s, index);
        Ok(())
    }

    /// x ~ p(x | z, what is observed), and its mean to the sum of means.
    fn fill(&self, chains: &mut Chains, given: &Given, units: &[Unit], s: &Settings, index: u32) {
        let (decoding, input, width) = (&self.decoding, given.cols, self.engine.network.decoded.out.cols);
        let rows = chains.x.par_chunks_mut(input).zip(chains.mean.par_chunks_mut(input));
        rows.zip(chains.out.par_chunks(width)).zip(units).for_each(|(((x, mean), out), unit)| {
            let mut draws = unit.draws(decoding, s.seed, index);
            for j in 0..input {
                let at = unit.example * input + j;
                let column: Column = match (given.observed[at], s.noise) {
                    (false, _) => decoding.column(out, j),
                    (true, Some(noise)) => decoding.column(out, j).given(given.values[at] as f64, noise * noise),
                    (true, None) => continue,
                };
                mean[j] += column.mean();
                x[j] = draws.draw(j, column);
            }
        });
    }
}

/// A candidate for every chain, and the logarithm of its ratio.               (chains, latent), (chains)
fn candidates(
    units: &[Unit],
    latent: usize,
    seed: u64,
    step: u32,
    candidate: &(impl Fn(usize, &[f64], &mut [f64]) -> f64 + Sync),
) -> (Vec<f64>, Vec<f64>) {
    let mut z = vec![0f64; units.len() * latent];
    let ratios = z.par_chunks_mut(latent).enumerate().map(|(i, z)| {
        let mut eps = vec![0f64; latent];
        units[i].normals(&mut eps, seed, step);
        candidate(i, &eps, z)
    });
    let ratios = ratios.collect();
    (z, ratios)
}
