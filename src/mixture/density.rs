//! log weights_k + log N(x; mu_k, Σ_k) of every example and component: most of the work of a fit.
use super::panels::{ACROSS, WIDTH, tile};
use super::{Covariance, Mixture, of_component};
use crate::device::sum;
use crate::device::vectorise;
use crate::gaussian::dot;
use crate::{Error, Result};
use rayon::prelude::*;

/// Examples that a thread takes at a time: their panels stay in its second cache.
const BLOCK: usize = 64;

/// A mixture made ready: everything that does not depend on x.
pub(super) struct Density<'a> {
    mixture: &'a Mixture,
    /// log weights_k − ½ (D ln 2π + ln det Σ_k)                       (K)
    constants: Vec<f64>,
    /// 1 / variance (K, D), or L⁻¹ in panels of its rows: of each component `groups` of `ACROSS` panels.
    precision: Vec<f64>,
}

impl<'a> Density<'a> {
    pub(super) fn new(mixture: &'a Mixture) -> Result<Density<'a>> {
        let (components, cols) = (mixture.components(), mixture.cols());
        let constant = |k: usize, log_det: f64| {
            mixture.weights[k].ln() - 0.5 * (cols as f64 * std::f64::consts::TAU.ln() + log_det)
        };
        let (constants, precision) = match mixture.covariance {
            Covariance::Diag => {
                if let Some(i) = mixture.spread.iter().position(|&v| !(v >= f64::MIN_POSITIVE && v.is_finite())) {
                    return Err(singular(i / cols, i % cols, mixture.spread[i]));
                }
                let log_det = |k| mixture.spread_of(k).iter().map(|v| v.ln()).sum::<f64>();
                let constants = (0..components).map(|k| constant(k, log_det(k))).collect();
                (constants, mixture.spread.iter().map(|v| 1.0 / v).collect())
            }
            Covariance::Full => {
                let factors = mixture.factors()?;
                let constants = factors.iter().enumerate().map(|(k, f)| constant(k, f.log_det())).collect();
                let size = groups(cols) * ACROSS * WIDTH * cols;
                let mut precision = vec![0.0; components * size];
                precision.par_chunks_mut(size).zip(&factors).for_each(|(panels, factor)| {
                    let inverse = factor.inverse_lower();
                    for (j, row) in inverse.chunks(cols).enumerate() {
                        let panel = &mut panels[j / WIDTH * WIDTH * cols..];
                        row[..=j].iter().enumerate().for_each(|(l, &p)| panel[l * WIDTH + j % WIDTH] = p);
                    }
                });
                (constants, precision)
            }
        };
        Ok(Density { mixture, constants, precision })
    }

    /// (N, K) for x, (N, D)
    pub(super) fn log_joint(&self, x: &[f64]) -> Vec<f64> {
        let (components, cols) = (self.mixture.components(), self.mixture.cols());
        let mut out = vec![0.0; x.len() / cols * components];
        let blocks = x.par_chunks(BLOCK * cols).zip(out.par_chunks_mut(BLOCK * components));
        match self.mixture.covariance {
            Covariance::Diag => blocks.for_each(|(x, out)| {
                vectorise(
                    #[inline(always)]
                    || self.diagonal(x, out),
                )
            }),
            Covariance::Full => blocks.for_each_init(Vec::new, |panels, (x, out)| self.full(x, out, panels)),
        }
        out
    }

    /// constant − ½ Σ_j (x_j − mu_j)² / variance_j
    #[inline(always)]
    fn diagonal(&self, x: &[f64], out: &mut [f64]) {
        let (components, cols) = (self.mixture.components(), self.mixture.cols());
        for (x, out) in x.chunks(cols).zip(out.chunks_mut(components)) {
            for (k, out) in out.iter_mut().enumerate() {
                let (mean, precision) = (&self.mixture.means[k * cols..][..cols], &self.precision[k * cols..][..cols]);
                let square = |[x, mean, precision]: [f64; 3]| (x - mean) * (x - mean) * precision;
                *out = self.constants[k] - 0.5 * sum([x, mean, precision], square);
            }
        }
    }

    /// constant − ½ |L⁻¹ (x − mu)|². L⁻¹ is a triangle: its rows up to j need no more than j + 1 columns.
    fn full(&self, x: &[f64], out: &mut [f64], panels: &mut Vec<f64>) {
        let (components, cols) = (self.mixture.components(), self.mixture.cols());
        let rows = x.len() / cols;
        panels.resize(rows.next_multiple_of(WIDTH) * cols, 0.0);
        let size = self.precision.len() / components;
        for k in 0..components {
            // Examples stand in columns: panel i / 8, row l, column i % 8.
            for (i, x) in x.chunks(cols).enumerate() {
                let panel = &mut panels[i / WIDTH * WIDTH * cols..];
                for (l, (x, mean)) in x.iter().zip(self.mixture.mean(k)).enumerate() {
                    panel[l * WIDTH + i % WIDTH] = x - mean;
                }
            }
            let mut squares = [0.0; BLOCK];
            let inverse = &self.precision[k * size..][..size];
            for (g, b) in inverse.chunks(ACROSS * WIDTH * cols).enumerate() {
                let depth = ((g + 1) * ACROSS * WIDTH).min(cols);
                let b: [&[f64]; ACROSS] = std::array::from_fn(|p| &b[p * WIDTH * cols..][..depth * WIDTH]);
                for (a, squares) in panels.chunks(WIDTH * cols).zip(squares.chunks_mut(WIDTH)) {
                    for (y, square) in tile(&a[..depth * WIDTH], b).iter().zip(squares) {
                        let y = y.as_flattened();
                        *square += dot(y, y);
                    }
                }
            }
            for (out, square) in out.chunks_mut(components).zip(squares) {
                out[k] = self.constants[k] - 0.5 * square;
            }
        }
    }
}

/// How many groups of `ACROSS` panels hold `cols` columns.
pub(super) fn groups(cols: usize) -> usize {
    cols.div_ceil(ACROSS * WIDTH)
}

/// The sentence for a variance that is none.
pub(super) fn singular(k: usize, col: usize, variance: f64) -> Error {
    of_component(
        k,
        &Error::failed(format!("the variance of column {col} is {variance:.1e}, so its density has no bound")),
    )
}
