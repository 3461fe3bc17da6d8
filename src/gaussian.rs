//! Gaussians with a full covariance, in f64: the Cholesky factor and what it gives, the density, the divergence.
//!
//! What the encoder and the decoder compute have diagonal covariances and live on a device; this is for what is exact
//! and small beside them: a posterior in closed form, the components of a mixture.
use crate::device::{sum, vectorise};
use crate::{Error, Result};

/// L of A = L Lᵀ, lower triangular, for a symmetric positive definite A.                       (n, n)
#[derive(Clone, Debug, PartialEq)]
pub struct Cholesky {
    n: usize,
    lower: Vec<f64>,
}

impl Cholesky {
    /// Factorises `a`, (n, n), of which the lower triangle is read.
    ///
    /// # Errors
    /// A matrix that is not positive definite, to within the rounding of its own numbers: names the first row at fault.
    ///
    /// # Panics
    /// If `a` is not (n, n).
    pub fn new(a: &[f64], n: usize) -> Result<Cholesky> {
        assert_eq!(a.len(), n * n, "{} numbers for a matrix of {n} rows", a.len());
        let mut lower = vec![0.0; n * n];
        for i in 0..n {
            let (above, row) = lower.split_at_mut(i * n);
            for j in 0..=i {
                // L_ij = (A_ij − Σ_{k<j} L_ik L_jk) / L_jj, and L_ii the root of what is left of A_ii
                let left = if j < i {
                    let (head, rest) = row.split_at_mut(j);
                    rest[0] = (a[i * n + j] - dot(head, &above[j * n..j * n + j])) / above[j * n + j];
                    continue;
                } else {
                    a[i * n + i] - dot(&row[..i], &row[..i])
                };
                // What rounding alone could have left of a singular matrix.
                let rounding = n as f64 * f64::EPSILON * a[i * n + i];
                if !(left > rounding && left.is_finite()) {
                    return Err(Error::failed(format!(
                        "covariance: not positive definite, at row {i} (counted from 0) {left:.1e} is left of {:.1e}; \
                         add to its diagonal, or leave out columns that others determine",
                        a[i * n + i]
                    )));
                }
                row[i] = left.sqrt();
            }
        }
        Ok(Cholesky { n, lower })
    }

    /// L, row-major, zero above the diagonal.                       (n, n)
    pub fn lower(&self) -> &[f64] {
        &self.lower
    }

    fn row(&self, i: usize) -> &[f64] {
        &self.lower[i * self.n..][..i + 1]
    }

    /// ln det A = 2 Σ ln L_ii
    pub fn log_det(&self) -> f64 {
        2.0 * (0..self.n).map(|i| self.row(i)[i].ln()).sum::<f64>()
    }

    /// b becomes L⁻¹ b, from the first row down.
    pub fn solve_lower(&self, b: &mut [f64]) {
        for i in 0..self.n {
            let row = self.row(i);
            b[i] = (b[i] - dot(&row[..i], &b[..i])) / row[i];
        }
    }

    /// b becomes A⁻¹ b = L⁻ᵀ L⁻¹ b.
    pub fn solve(&self, b: &mut [f64]) {
        self.solve_lower(b);
        for i in (0..self.n).rev() {
            let row = self.row(i);
            b[i] /= row[i];
            let (head, rest) = b.split_at_mut(i);
            head.iter_mut().zip(row).for_each(|(b, l)| *b -= l * rest[0]);
        }
    }

    /// L⁻¹, lower triangular too.                       (n, n)
    pub fn inverse_lower(&self) -> Vec<f64> {
        let n = self.n;
        let mut inverse = vec![0.0; n * n];
        vectorise(
            #[inline(always)]
            || {
                for i in 0..n {
                    // Row i of L L⁻¹ = I.
                    let (above, row) = inverse.split_at_mut(i * n);
                    let l = self.row(i);
                    row[i] = 1.0;
                    for k in 0..i {
                        row[..=k].iter_mut().zip(&above[k * n..]).for_each(|(r, p)| *r -= l[k] * p);
                    }
                    row[..=i].iter_mut().for_each(|r| *r /= l[i]);
                }
            },
        );
        inverse
    }

    /// L b
    pub fn times(&self, b: &[f64]) -> Vec<f64> {
        (0..self.n).map(|i| dot(self.row(i), &b[..=i])).collect()
    }
}

/// N(mean, Σ)
#[derive(Clone, Debug, PartialEq)]
pub struct Gaussian {
    mean: Vec<f64>,
    factor: Cholesky,
}

impl Gaussian {
    /// Of a mean (D) and a covariance (D, D), of which the lower triangle is read.
    ///
    /// # Errors
    /// A covariance that is singular or not positive definite.
    ///
    /// # Panics
    /// If the shapes do not belong together.
    pub fn new(mean: Vec<f64>, covariance: &[f64]) -> Result<Gaussian> {
        let factor = Cholesky::new(covariance, mean.len())?;
        Ok(Gaussian { mean, factor })
    }

    /// (D)
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// L of Σ = L Lᵀ.
    pub fn factor(&self) -> &Cholesky {
        &self.factor
    }

    /// log N(x; mean, Σ) = −½ [D ln 2π + ln det Σ + (x − mean)ᵀ Σ⁻¹ (x − mean)], in nats.
    pub fn log_density(&self, x: &[f64]) -> f64 {
        let mut d: Vec<f64> = x.iter().zip(&self.mean).map(|(x, m)| x - m).collect();
        self.factor.solve_lower(&mut d);
        -0.5 * (d.len() as f64 * std::f64::consts::TAU.ln() + self.factor.log_det() + dot(&d, &d))
    }

    /// mean + L eps: a draw, where eps is one of N(0, I).
    pub fn at(&self, eps: &[f64]) -> Vec<f64> {
        self.factor.times(eps).iter().zip(&self.mean).map(|(s, m)| s + m).collect()
    }
}

/// KL(q ‖ p) of two Gaussians, in nats: Doersch 2016, "Tutorial on Variational Autoencoders", equation 6.
///
/// ½ [tr(S₁⁻¹ S₀) + (m₁ − m₀)ᵀ S₁⁻¹ (m₁ − m₀) − D + ln det S₁ − ln det S₀], q = N(m₀, S₀), p = N(m₁, S₁).
/// Exactly 0 where both are the same numbers.
///
/// # Panics
/// If they differ in dimension.
///
/// ```
/// use vae_gpu::gaussian::{Gaussian, kl};
/// let q = Gaussian::new(vec![1.0, -1.0], &[2.0, 0.5, 0.5, 1.0])?;
/// let prior = Gaussian::new(vec![0.0, 0.0], &[1.0, 0.0, 0.0, 1.0])?;
/// // ½ (tr 3 + |m|² 2 − 2 − ln det 1.75)
/// assert!((kl(&q, &prior) - 0.5 * (3.0 - 1.75f64.ln())).abs() < 1e-15);
/// assert_eq!(kl(&q, &q), 0.0);
/// # Ok::<(), vae_gpu::Error>(())
/// ```
pub fn kl(q: &Gaussian, p: &Gaussian) -> f64 {
    let n = q.mean.len();
    assert_eq!(n, p.mean.len(), "a divergence between {n} dimensions and {}", p.mean.len());
    // tr(S₁⁻¹ S₀) = ‖L₁⁻¹ L₀‖², column by column: no inverse, and never negative
    let mut trace = 0.0;
    for j in 0..n {
        let mut column: Vec<f64> = (0..n).map(|i| q.factor.lower[i * n + j]).collect();
        p.factor.solve_lower(&mut column);
        trace += dot(&column, &column);
    }
    let mut d: Vec<f64> = p.mean.iter().zip(&q.mean).map(|(p, q)| p - q).collect();
    p.factor.solve_lower(&mut d);
    0.5 * (trace + dot(&d, &d) - n as f64 + p.factor.log_det() - q.factor.log_det())
}

/// Σ a b, in one fixed order.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    vectorise(
        #[inline(always)]
        || sum([a, b], |[a, b]| a * b),
    )
}
