//! How probable hidden values were: log p(x_hidden | x_observed) = log p(x_known) − log p(x_observed), each by importance
//! sampling, beside columns that know nothing of each other.
use super::chain::{Purpose, Unit, step};
use super::{Given, Imputer, Settings};
use crate::config::Likelihood;
use crate::decoding::Column;
use crate::estimate::{Estimate, Weights};
use crate::tape::Kind;
use crate::{Error, Result};
use rayon::prelude::*;
use std::f64::consts::TAU;

/// Means over the examples that have hidden values, in nats per example.
#[derive(Clone, Copy, Debug)]
pub struct Score {
    pub examples: usize,
    /// log p(x_hidden | x_observed).
    ///
    /// The difference of two estimates that are too low in the mean (Jensen: the logarithm of an unbiased estimate), by
    /// amounts that go to zero as the samples grow. What is observed is the harder one to estimate, so the difference
    /// tends to be too high: compare two numbers of samples.
    pub model: Estimate,
    /// log p(x_hidden) where all columns are independent of one another.
    pub columns: Estimate,
    /// log p(x_known)
    pub known: Estimate,
    /// log p(x_observed)
    pub observed: Estimate,
    /// The mean over the examples of (Σ w)² / Σ w² of the weights for x_observed: the samples that count.
    pub effective_samples: f64,
    pub samples: usize,
}

impl Score {
    /// Checks that there is something to score.
    ///
    /// # Errors
    /// There is not, or noise on what is observed.
    pub fn check(given: &Given, s: &Settings) -> Result<()> {
        if !(0..given.values.len()).any(|i| given.is_hidden(i)) {
            return Err(Error::request(format!(
                "score: {} has no value that a mask hides; pass a --mask with zeros where values are known",
                given.name
            )));
        }
        match s.noise {
            Some(_) => Err(Error::request("score: what noise hides is not known; leave out --noise or --score")),
            None => Ok(()),
        }
    }
}

impl Imputer {
    /// Scores what is known and not observed. `settings.samples` samples for each of the two estimates, from a mixture of
    /// q(z|x) at the example as each of its chains filled it in, and of the prior, which bounds the weights.
    ///
    /// # Errors
    /// Those of [`Score::check`], and of the device.
    pub fn score(&mut self, given: &Given, s: &Settings) -> Result<Score> {
        Score::check(given, s)?;
        let hidden = |i: usize| given.is_hidden(i);
        let cols = given.cols;
        let columns = self.columns(given);
        let [mut known, mut observed, mut model, mut baseline, mut effective] = [const { Vec::new() }; 5];
        self.each_block(given, s, |imputer, units, chains| {
            // Both estimates have their own proposals: x with the hidden values as the chains filled them, and as they are.
            let mut completed = chains.x.clone();
            for (unit, x) in units.iter().zip(completed.chunks_mut(cols)) {
                let values = &given.values[unit.example * cols..][..cols];
                x.iter_mut().zip(values).filter(|(_, v)| !v.is_nan()).for_each(|(x, &v)| *x = v as f64);
            }
            let examples: Vec<usize> = units.iter().step_by(s.draws).map(|u| u.example).collect();
            let of_observed = imputer.log_weights(given, &examples, &chains.x, s, 0, |i| given.observed[i])?;
            let of_known = imputer.log_weights(given, &examples, &completed, s, 1, |i| !given.values[i].is_nan())?;
            for (i, &example) in examples.iter().enumerate() {
                let cells = example * cols..(example + 1) * cols;
                if !cells.clone().any(hidden) {
                    continue;
                }
                let weights = |all: &[f64]| {
                    let mut weights = Weights::of(0); // only their mean is asked for
                    all[i * s.samples..][..s.samples].iter().for_each(|&log| weights.add(log));
                    weights
                };
                // Of nothing the probability is one, and its estimate would be noise.
                let any = cells.clone().any(|at| given.observed[at]);
                let (of_observed, count) = match any {
                    true => (weights(&of_observed).log_mean(), weights(&of_observed).effective()),
                    false => (0.0, s.samples as f64),
                };
                let of_known = weights(&of_known).log_mean();
                known.push(of_known);
                observed.push(of_observed);
                model.push(of_known - of_observed);
                effective.push(count);
                let alone = cells.filter(|&at| hidden(at)).map(|at| columns[at % cols].log_p(given.values[at] as f64));
                baseline.push(alone.sum());
            }
            Ok(())
        })?;
        Ok(Score {
            examples: model.len(),
            model: Estimate::of(&model),
            columns: Estimate::of(&baseline),
            known: Estimate::of(&known),
            observed: Estimate::of(&observed),
            effective_samples: Estimate::of(&effective).mean,
            samples: s.samples,
        })
    }

    /// log [p(x_counted|z) p(z) / g(z)] of K draws z ~ g for each example, with g the mixture of the prior and of q(z|x) at
    /// each of the example's completions `x`, which takes its draws in turn (the balance heuristic, Veach & Guibas 1995).
    ///                                                                                           (examples, K)
    fn log_weights(
        &mut self,
        given: &Given,
        examples: &[usize],
        x: &[f64],
        s: &Settings,
        which: u32,
        counts: impl Fn(usize) -> bool + Sync,
    ) -> Result<Vec<f64>> {
        let Imputer { engine, decoding, .. } = self;
        let (latent, width) = (engine.network.model.latent, engine.network.decoded.out.cols);
        let (m, n) = (s.draws, examples.len());
        let each = |times: usize| examples.iter().flat_map(move |&example| std::iter::repeat_n(example, times));
        let heads = engine.encode(x, &given.told_of(each(m)))?; // (examples · m, 2 latent)
        // Component 0 is the prior. How many of the K draws each one gives:
        let share = |c: usize| (s.samples + m - c) / (m + 1);
        let head = |i: usize, c: usize| &heads[(i * m + c - 1) * 2 * latent..][..2 * latent];
        let normal = |i: usize, c: usize, j: usize| match c {
            0 => (0.0, 0.0),
            _ => (head(i, c)[j], head(i, c)[latent + j]),
        };
        let log_density = |i: usize, c: usize, z: &[f64]| {
            let term = |j: usize| {
                let (mu, logvar) = normal(i, c, j);
                TAU.ln() + logvar + (z[j] - mu).powi(2) * (-logvar).exp()
            };
            -0.5 * (0..latent).map(term).sum::<f64>()
        };

        let mut all = vec![0f64; n * s.samples];
        let together = (engine.network.tape.batch / n).max(1);
        for first in (0..s.samples).step_by(together) {
            let count = together.min(s.samples - first);
            let mut z = vec![0f64; count * n * latent]; // (count, examples, latent)
            let ratios: Vec<f64> = z
                .par_chunks_mut(latent)
                .enumerate()
                .map(|(row, z)| {
                    let (k, i) = (first + row / n, row % n);
                    Unit { example: examples[i], draw: 0 }.normals(
                        z,
                        s.seed,
                        step(2 * k as u32 + which, Purpose::Score),
                    );
                    for j in 0..latent {
                        let (mu, logvar) = normal(i, k % (m + 1), j);
                        z[j] = mu + (0.5 * logvar).exp() * z[j];
                    }
                    let parts = (0..=m).filter(|&c| share(c) > 0);
                    let parts = parts.map(|c| (share(c) as f64 / s.samples as f64).ln() + log_density(i, c, z));
                    log_density(i, 0, z) - log_sum_exp(&parts.collect::<Vec<_>>())
                })
                .collect();
            let told = given.told_of((0..count * n).map(|row| examples[row % n]));
            let out = engine.decode(&z, &told)?;
            let log_p: Vec<f64> = out
                .par_chunks(width)
                .enumerate()
                .map(|(row, out)| {
                    let start = examples[row % n] * given.cols;
                    let cells = (0..given.cols).filter(|j| counts(start + j));
                    cells.map(|j| decoding.column(out, j).log_p(given.values[start + j] as f64)).sum::<f64>()
                })
                .collect();
            for (row, (log_p, ratio)) in log_p.iter().zip(&ratios).enumerate() {
                all[row % n * s.samples + first + row / n] = log_p + ratio;
            }
        }
        Ok(all)
    }

    /// Each column by itself, fitted to all values that are known, hidden ones included: what it is compared with has seen
    /// the answers.
    fn columns(&self, given: &Given) -> Vec<Column> {
        let moments: Vec<(f64, f64)> = (0..given.cols)
            .map(|j| {
                let known =
                    || given.values.iter().skip(j).step_by(given.cols).filter(|v| !v.is_nan()).map(|&v| v as f64);
                let n = known().count().max(1) as f64;
                let mean = known().sum::<f64>() / n;
                (mean, known().map(|v| (v - mean).powi(2)).sum::<f64>() / n)
            })
            .collect();
        let each = Kind::each(&self.engine.network.model);
        // A column that never changes would have an infinite density.
        let gaussian: Vec<f64> = (moments.iter().zip(&each))
            .filter_map(|(m, kind)| (kind.likelihood == Likelihood::Gaussian).then_some(m.1))
            .collect();
        let floor = 1e-6 * gaussian.iter().sum::<f64>() / gaussian.len().max(1) as f64;
        let column = |(&(mean, variance), kind): (&(f64, f64), &Kind)| match kind.likelihood {
            // Beyond ±700 the logit of a column of zeros or ones: its log p is 0 to rounding.
            Likelihood::Bernoulli => Column::Bernoulli { logit: (mean / (1.0 - mean)).ln().clamp(-700.0, 700.0) },
            Likelihood::Gaussian => Column::Gaussian { mean, variance: variance.max(floor).max(f64::MIN_POSITIVE) },
            Likelihood::Poisson => Column::Poisson { log_mean: mean.ln() },
            Likelihood::Categorical => Column::Categorical { log_p: mean.ln(), behind: 0 },
            Likelihood::Multinomial => unreachable!("of which nothing is filled in"),
            // By moments: variance = m + α m².
            Likelihood::NegativeBinomial => Column::NegativeBinomial {
                log_mean: mean.ln(),
                log_dispersion: ((variance - mean) / (mean * mean)).max(f64::MIN_POSITIVE).ln(),
            },
        };
        moments.iter().zip(&each).map(column).collect()
    }
}

/// log Σ exp
fn log_sum_exp(logs: &[f64]) -> f64 {
    let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    top + logs.iter().map(|l| (l - top).exp()).sum::<f64>().ln()
}
