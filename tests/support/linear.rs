//! A linear Gaussian model, where log p(x) and the posterior are known. A test file takes it with `#[path]`.
#![allow(dead_code)] // each test file uses some of it
use crate::numbers::Numbers;
use vae_gpu::config::{Likelihood, Model, Objective};
use vae_gpu::device::Backend;
use vae_gpu::model::Network;

/// x = W z + b + sigma ε, z ~ N(0, I). The columns of W are orthogonal, so that p(z|x) has a diagonal covariance.
pub struct LinearGaussian {
    pub w: Vec<f64>, // (input, latent)
    pub b: Vec<f64>, // (input)
    pub sigma: f64,
    pub input: usize,
    pub latent: usize,
}

impl LinearGaussian {
    pub fn new(input: usize, latent: usize, seed: u64) -> LinearGaussian {
        let mut numbers = Numbers::new(seed);
        let mut columns: Vec<Vec<f64>> = vec![];
        for j in 0..latent {
            let mut column = numbers.normals(input);
            for other in &columns {
                // Gram and Schmidt
                let along = dot(&column, other) / dot(other, other);
                column.iter_mut().zip(other).for_each(|(c, o)| *c -= along * o);
            }
            let length = dot(&column, &column).sqrt();
            columns.push(column.iter().map(|c| c * (0.5 + j as f64) / length).collect());
        }
        let w = (0..input * latent).map(|i| columns[i % latent][i / latent]).collect();
        LinearGaussian { w, b: numbers.normals(input), sigma: 0.6, input, latent }
    }

    pub fn model(&self, objective: Objective, samples: usize) -> Model {
        let likelihood = Likelihood::Gaussian;
        Model { likelihood, sigma: self.sigma, objective, samples, ..Model::new(self.input, &[], self.latent) }
    }

    /// Variance of z_j given x: 1 / (1 + |w_j|² / sigma²).
    pub fn posterior_variance(&self, j: usize) -> f64 {
        let square: f64 = self.w.iter().skip(j).step_by(self.latent).map(|w| w * w).sum();
        1.0 / (1.0 + square / (self.sigma * self.sigma))
    }

    /// Decoder: the model. Encoder: the posterior, its mean moved by `shift`, its log-variance by `widening`.
    pub fn write(&self, network: &Network, b: &mut dyn Backend, shift: f64, widening: f64) {
        let (input, latent) = (self.input, self.latent);
        let gain = |j: usize, i: usize| self.posterior_variance(j) * self.w[i * latent + j] / self.sigma.powi(2);
        let row = |j: usize| (0..input).map(move |i| gain(j, i));
        let mu_bias = |j: usize| shift - row(j).zip(&self.b).map(|(g, b)| g * b).sum::<f64>();
        let mut put = |name: &str, values: &[f64]| b.write(network.parameter(name).unwrap().view, values).unwrap();
        put("decoder.out.weight", &self.w);
        put("decoder.out.bias", &self.b);
        put("encoder.mu.weight", &(0..latent).flat_map(row).collect::<Vec<_>>());
        put("encoder.mu.bias", &(0..latent).map(mu_bias).collect::<Vec<_>>());
        put("encoder.logvar.weight", &vec![0.0; latent * input]);
        let logvar = (0..latent).map(|j| self.posterior_variance(j).ln() + widening);
        put("encoder.logvar.bias", &logvar.collect::<Vec<_>>());
    }

    /// x = W z + b + sigma ε, as a file has it.                                     (rows, input)
    pub fn draw(&self, rows: usize, numbers: &mut Numbers) -> Vec<f32> {
        let mut values = vec![];
        for _ in 0..rows {
            let z = numbers.normals(self.latent);
            for (w, b) in self.w.chunks(self.latent).zip(&self.b) {
                values.push((dot(w, &z) + b + self.sigma * numbers.normal()) as f32);
            }
        }
        values
    }

    /// log N(x; b, W Wᵀ + sigma² I), by the Cholesky factor of the covariance; of the columns that are not NaN.
    pub fn log_p(&self, x: &[f64]) -> f64 {
        let observed: Vec<usize> = (0..self.input).filter(|&i| !x[i].is_nan()).collect();
        let n = observed.len();
        let row = |i: usize| &self.w[observed[i] * self.latent..][..self.latent];
        let mut l = vec![0.0; n * n];
        let mut solved = vec![0.0; n]; // L solved = x − b
        let mut log_density = -0.5 * n as f64 * std::f64::consts::TAU.ln();
        for i in 0..n {
            for j in 0..=i {
                let mut c = dot(row(i), row(j)) + if i == j { self.sigma.powi(2) } else { 0.0 };
                c -= (0..j).map(|k| l[i * n + k] * l[j * n + k]).sum::<f64>();
                l[i * n + j] = if i == j { c.sqrt() } else { c / l[j * n + j] };
            }
            let known: f64 = (0..i).map(|k| l[i * n + k] * solved[k]).sum();
            solved[i] = (x[observed[i]] - self.b[observed[i]] - known) / l[i * n + i];
            log_density -= l[i * n + i].ln() + 0.5 * solved[i] * solved[i];
        }
        log_density
    }
}

pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
