//! The shallow latent variable model: z ~ Categorical(weights), p(x|z = k) = N(mu_k, Σ_k), on the CPU in f64.
//!
//! This file is the model and what it gives: densities, responsibilities, draws, its file. [`em`] fits it, `kmeans`
//! says where to begin. Examples are rows of f64 (N, D); likelihoods are nats per example, of a density: they depend on
//! the scale of the data, and may be positive.
use crate::gaussian::Cholesky;
use crate::rng::{self, Stream, Words};
use crate::tensors::{Tensors, Width};
use crate::{Error, Result};
use density::Density;
use rand_distr::{Distribution, StandardUniform};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::path::Path;

mod density;
pub mod em;
mod kmeans;
mod panels;

/// What Σ_k may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Covariance {
    /// A variance for each column.
    Diag,
    /// Any symmetric positive definite matrix.
    Full,
}

/// A mixture of Gaussians.
#[derive(Clone, Debug, PartialEq)]
pub struct Mixture {
    pub covariance: Covariance,
    /// p(z = k), which sum to one. A component that nothing belongs to has 0.         (K)
    pub weights: Vec<f64>,
    pub means: Vec<f64>, // (K, D)
    /// Variances (K, D), or covariances (K, D, D).
    pub spread: Vec<f64>,
}

impl Mixture {
    pub fn components(&self) -> usize {
        self.weights.len()
    }
    /// How many numbers an example has.
    pub fn cols(&self) -> usize {
        self.means.len() / self.components()
    }
    /// mu_k
    pub fn mean(&self, k: usize) -> &[f64] {
        &self.means[k * self.cols()..][..self.cols()]
    }
    /// Variances (D) or the covariance (D, D) of component k.
    pub fn spread_of(&self, k: usize) -> &[f64] {
        let size = self.spread.len() / self.components();
        &self.spread[k * size..][..size]
    }
    /// How many components nothing belongs to.
    pub fn empty(&self) -> usize {
        self.weights.iter().filter(|&&w| w == 0.0).count()
    }

    /// log p(x) = log Σ_k weights_k N(x; mu_k, Σ_k) of every example of `x`, (N, D), in nats.             (N)
    ///
    /// # Errors
    /// A covariance that is singular or not positive definite.
    ///
    /// ```
    /// use vae_gpu::mixture::{Covariance, Mixture};
    /// let two = Mixture {
    ///     covariance: Covariance::Diag,
    ///     weights: vec![0.5, 0.5],
    ///     means: vec![-1.0, 1.0],
    ///     spread: vec![1.0, 1.0],
    /// };
    /// // Between two equal bells, each is worth N(1; 0, 1).
    /// let density = (-0.5f64).exp() / std::f64::consts::TAU.sqrt();
    /// assert!((two.log_likelihoods(&[0.0])?[0] - density.ln()).abs() < 1e-15);
    /// assert_eq!(two.responsibilities(&[0.0])?, [0.5, 0.5]);
    /// # Ok::<(), vae_gpu::Error>(())
    /// ```
    pub fn log_likelihoods(&self, x: &[f64]) -> Result<Vec<f64>> {
        Ok(self.expect(x)?.0)
    }

    /// p(z = k | x) of every example: they sum to one.                       (N, K)
    ///
    /// # Errors
    /// As [`Mixture::log_likelihoods`].
    pub fn responsibilities(&self, x: &[f64]) -> Result<Vec<f64>> {
        Ok(self.expect(x)?.1)
    }

    /// Both at once: the E step.                       (N), (N, K)
    fn expect(&self, x: &[f64]) -> Result<(Vec<f64>, Vec<f64>)> {
        let components = self.components();
        let mut r = Density::new(self)?.log_joint(x);
        let mut log_p = vec![0.0; x.len() / self.cols()];
        r.par_chunks_mut(components).zip(&mut log_p).with_min_len(256).for_each(|(r, log_p)| {
            // log Σ exp, from the largest, which is then exp(0)
            let top = r.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            r.iter_mut().for_each(|r| *r = (*r - top).exp());
            let sum: f64 = r.iter().sum();
            r.iter_mut().for_each(|r| *r /= sum);
            *log_p = top + sum.ln();
        });
        match log_p.iter().position(|p| !p.is_finite()) {
            None => Ok((log_p, r)),
            Some(i) => Err(Error::failed(format!(
                "mixture: log p(x) of example {i} (counted from 0) is {}; the example is out of the range of f64",
                log_p[i]
            ))),
        }
    }

    /// `count` draws: k from the weights, then x from N(mu_k, Σ_k). Draw i depends on the seed and i alone.
    /// Gives (count, D), and the component of each.
    ///
    /// # Errors
    /// As [`Mixture::log_likelihoods`].
    pub fn sample(&self, count: usize, seed: u64) -> Result<(Vec<f64>, Vec<usize>)> {
        let cols = self.cols();
        let factors: Option<Vec<Cholesky>> = match self.covariance {
            Covariance::Diag => None,
            Covariance::Full => Some(self.factors()?),
        };
        // The last component that has weight takes what rounding leaves.
        let last = self.weights.iter().rposition(|&w| w > 0.0).unwrap_or(0);
        let draw = |i: usize| {
            let u: f64 = StandardUniform.sample(&mut Words::new(seed, Stream::Sample, 1, i as u32));
            let mut below = 0.0;
            let k = self.weights.iter().position(|w| {
                below += w;
                u < below
            });
            let k = k.unwrap_or(last);
            let mut eps = vec![0.0; cols];
            rng::normals(&mut eps, seed, Stream::Sample, 0, i as u32);
            let deviation = match &factors {
                None => eps.iter().zip(self.spread_of(k)).map(|(e, v)| e * v.sqrt()).collect(),
                Some(factors) => factors[k].times(&eps),
            };
            (deviation.iter().zip(self.mean(k)).map(|(d, m)| m + d).collect::<Vec<f64>>(), k)
        };
        let draws: Vec<_> = (0..count).into_par_iter().map(draw).collect();
        let (x, z): (Vec<Vec<f64>>, Vec<usize>) = draws.into_iter().unzip();
        Ok((x.concat(), z))
    }

    /// L of every covariance.
    fn factors(&self) -> Result<Vec<Cholesky>> {
        let factor = |k| Cholesky::new(self.spread_of(k), self.cols()).map_err(|e| of_component(k, &e));
        (0..self.components()).into_par_iter().map(factor).collect()
    }

    /// The same, its components by falling weight.
    pub(crate) fn by_weight(self) -> Mixture {
        let mut order: Vec<usize> = (0..self.components()).collect();
        order.sort_by(|&a, &b| self.weights[b].total_cmp(&self.weights[a])); // stable: equals stay in their order
        let of_each = |of: fn(&Mixture, usize) -> &[f64]| order.iter().flat_map(|&k| of(&self, k)).copied().collect();
        let weights = order.iter().map(|&k| self.weights[k]).collect();
        let (means, spread) = (of_each(Mixture::mean), of_each(Mixture::spread_of));
        Mixture { weights, means, spread, ..self }
    }

    fn spread_name(&self) -> &'static str {
        match self.covariance {
            Covariance::Diag => "variances",
            Covariance::Full => "covariances",
        }
    }

    /// Writes `weights` (K), `means` (K, D) and `variances` (K, D) or `covariances` (K, D, D), in f64, with `config` as
    /// the metadata of that name.
    ///
    /// # Errors
    /// A place that cannot be written.
    pub fn write(&self, path: &Path, config: &Config) -> Result<()> {
        let (components, cols) = (self.components(), self.cols());
        let mut file = Tensors::default();
        let mut shape = vec![components, cols];
        file.insert("weights", vec![components], self.weights.clone());
        file.insert("means", shape.clone(), self.means.clone());
        if self.covariance == Covariance::Full {
            shape.push(cols);
        }
        file.insert(self.spread_name(), shape, self.spread.clone());
        let config = serde_json::to_string(config).expect("a configuration is JSON");
        file.metadata.insert("config".into(), config);
        file.write(path, Width::F64)
    }

    /// Reads what [`Mixture::write`] wrote.
    ///
    /// # Errors
    /// A file that cannot be read or is no mixture, a tensor that is missing or has another shape, weights that are not.
    pub fn read(path: &Path) -> Result<(Mixture, Config)> {
        let file = Tensors::read(path)?;
        let what = path.display();
        let config = file.metadata.get("config").and_then(|text| serde_json::from_str::<Config>(text).ok());
        let Some(config) = config else {
            return Err(Error::failed(format!("{what}: no mixture; give the mixture.safetensors of vae-gpu mixture")));
        };
        let (components, cols, covariance) = (config.components, config.input, config.covariance);
        let mut mixture = Mixture { covariance, weights: vec![], means: vec![], spread: vec![] };
        mixture.weights = file.get(path, "weights", &[components])?.to_vec();
        mixture.means = file.get(path, "means", &[components, cols])?.to_vec();
        let shape = [components, cols, cols];
        let dims = if covariance == Covariance::Full { 3 } else { 2 };
        mixture.spread = file.get(path, mixture.spread_name(), &shape[..dims])?.to_vec();
        let sum: f64 = mixture.weights.iter().sum();
        if !((sum - 1.0).abs() < 1e-6 && mixture.weights.iter().all(|&w| w >= 0.0)) {
            return Err(Error::failed(format!("{what}: the weights sum to {sum}; must be probabilities")));
        }
        Ok((mixture, config))
    }
}

/// Where a mixture came from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    pub components: usize,
    pub covariance: Covariance,
    /// Numbers of an example.
    pub input: usize,
    /// Where the examples are pictures.
    pub shape: Option<crate::data::Shape>,
    pub data: String,
    /// Which columns of the data, where not all, and their names, where they have any: other data are read by them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<crate::data::Columns>,
    /// What the bytes of the data stand for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<crate::data::Bytes>,
    /// What was added to every variance. None: a part of the column's own or, of pictures, of the mean one.
    pub floor: Option<f64>,
    pub seed: u64,
}

/// The same sentence, about component k.
fn of_component(k: usize, e: &Error) -> Error {
    Error::failed(format!("component {k} (counted from 0): {e}; pass a larger --floor, or fewer --components"))
}
