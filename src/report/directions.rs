//! The two directions in which a cloud of points is widest: its first principal components, for a plane to draw it in.
use crate::gaussian::dot;
use crate::latents;
use rayon::prelude::*;

/// Points in their first two principal directions.
#[derive(Clone, Debug)]
pub struct Plane {
    /// Of each point, where it lies.
    pub at: Vec<[f64; 2]>,
    /// The variance along each direction, over that in all.
    pub share: [f64; 2],
    /// Of each column, its variance.
    pub variances: Vec<f64>,
}

/// Vectors that are followed at once. The two wanted ones converge as (λ₁₇ / λ₂)ⁿ, not as (λ₃ / λ₂)ⁿ.
const BLOCK: usize = 16;
const ROUNDS: usize = 60;

/// Projects the rows of `x`, each of `cols` numbers, onto the two leading eigenvectors of their covariance, found by
/// orthogonal iteration with a Rayleigh–Ritz step (Golub & Van Loan, Matrix Computations, section 8.2.4). The covariance
/// itself, of cols², is never made. Of each direction the largest component is positive: the picture has one orientation.
///
/// # Panics
/// If `x` is not whole rows, or empty.
pub fn plane(x: &[f32], cols: usize) -> Plane {
    assert!(cols > 0 && !x.is_empty() && x.len().is_multiple_of(cols), "{} numbers in rows of {cols}", x.len());
    let rows = x.len() / cols;
    let mut mean = vec![0.0; cols];
    x.chunks(cols).for_each(|row| mean.iter_mut().zip(row).for_each(|(m, &v)| *m += v as f64 / rows as f64));
    let centred: Vec<f64> = x.iter().zip(mean.iter().cycle()).map(|(&v, m)| v as f64 - m).collect();
    let mut variances = vec![0.0; cols];
    for row in centred.chunks(cols) {
        variances.iter_mut().zip(row).for_each(|(s, d)| *s += d * d / rows as f64);
    }

    let covariance_times = |v: &[f64]| {
        let mut out = vec![0.0; cols];
        for row in centred.chunks(cols) {
            let along = dot(row, v) / rows as f64;
            out.iter_mut().zip(row).for_each(|(o, d)| *o += along * d);
        }
        out
    };
    // Random vectors: a direction that is orthogonal to all of them would never be found.
    let start = latents::prior(BLOCK.min(cols), cols, 1.0, 0);
    let mut basis: Vec<Vec<f64>> = start.chunks(cols).map(|v| v.iter().map(|&v| v as f64).collect()).collect();
    orthonormalise(&mut basis);
    let mut before = [0.0; 2];
    for _ in 0..ROUNDS {
        let images: Vec<Vec<f64>> = basis.par_iter().map(|v| covariance_times(v)).collect();
        let n = basis.len();
        let mut small: Vec<f64> = (0..n * n).map(|at| dot(&basis[at / n], &images[at % n])).collect();
        let order = eigenvectors(&mut small, n); // (n, n): a row each, largest first
        let mix = |weights: &[f64]| {
            let mut out = vec![0.0; cols];
            for (w, v) in weights.iter().zip(&basis) {
                out.iter_mut().zip(v).for_each(|(o, v)| *o += w * v);
            }
            out
        };
        let ritz: Vec<Vec<f64>> = order.chunks(n).map(mix).collect();
        let variance = |v: &Vec<f64>| dot(v, &covariance_times(v));
        let now = [ritz.first().map_or(0.0, variance), ritz.get(1).map_or(0.0, variance)];
        let settled = (0..2).all(|i| (now[i] - before[i]).abs() <= 1e-13 * now[0]);
        (basis, before) = (ritz, now);
        if settled || cols <= BLOCK {
            break; // a whole basis is right at once
        }
        basis = basis.par_iter().map(|v| covariance_times(v)).collect();
        orthonormalise(&mut basis);
    }
    // A last look, for the rounds end on images.
    basis.truncate(2);
    basis.resize(2, vec![0.0; cols]);
    for v in &mut basis {
        let largest = v.iter().copied().max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap_or(1.0);
        if largest < 0.0 {
            v.iter_mut().for_each(|v| *v = -*v);
        }
    }
    let total: f64 = variances.iter().sum();
    Plane {
        at: centred.chunks(cols).map(|row| [dot(row, &basis[0]), dot(row, &basis[1])]).collect(),
        share: before.map(|variance| if total > 0.0 { variance / total } else { 0.0 }),
        variances,
    }
}

/// Gram–Schmidt, twice, so that what is nearly dependent ends orthogonal too; what is nothing becomes an axis or zero.
fn orthonormalise(vectors: &mut [Vec<f64>]) {
    for i in 0..vectors.len() {
        let (done, rest) = vectors.split_at_mut(i);
        let v = &mut rest[0];
        let scale = dot(v, v).sqrt();
        for _ in 0..2 {
            for u in done.iter() {
                let along = dot(u, v);
                v.iter_mut().zip(u).for_each(|(v, u)| *v -= along * u);
            }
        }
        let norm = dot(v, v).sqrt();
        let keep = if norm > 1e-12 * scale { 1.0 / norm } else { 0.0 };
        v.iter_mut().for_each(|v| *v *= keep);
    }
}

/// The eigenvectors of a symmetric (n, n), one a row, that of the largest eigenvalue first: cyclic Jacobi rotations
/// (Golub & Van Loan, section 8.5). `a` ends diagonal.
fn eigenvectors(a: &mut [f64], n: usize) -> Vec<f64> {
    let mut v: Vec<f64> = (0..n * n).map(|at| if at / n == at % n { 1.0 } else { 0.0 }).collect();
    for _ in 0..30 {
        for (p, q) in (0..n).flat_map(|p| (p + 1..n).map(move |q| (p, q))) {
            if a[p * n + q] == 0.0 {
                continue;
            }
            let theta = (a[q * n + q] - a[p * n + p]) / (2.0 * a[p * n + q]);
            let t = theta.signum() / (theta.abs() + theta.hypot(1.0));
            let c = 1.0 / t.hypot(1.0);
            let s = t * c;
            for k in 0..n {
                let (x, y) = (a[k * n + p], a[k * n + q]);
                (a[k * n + p], a[k * n + q]) = (c * x - s * y, s * x + c * y);
            }
            for rows in [&mut *a, &mut v] {
                for k in 0..n {
                    let (x, y) = (rows[p * n + k], rows[q * n + k]);
                    (rows[p * n + k], rows[q * n + k]) = (c * x - s * y, s * x + c * y);
                }
            }
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| a[j * n + j].total_cmp(&a[i * n + i]));
    order.into_iter().flat_map(|i| v[i * n..(i + 1) * n].to_vec()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ± each direction in turn, times the root of its variance: the covariance has these eigenvectors, exactly.
    fn cloud(directions: &[Vec<f64>], variances: &[f64]) -> Vec<f32> {
        let n = directions.len() as f64;
        let point = |(d, v): (&Vec<f64>, &f64)| {
            let to = (v * n).sqrt();
            [to, -to].map(|to| d.iter().map(|d| (d * to) as f32 + 3.0).collect::<Vec<_>>()).concat()
        };
        directions.iter().zip(variances).flat_map(point).collect()
    }

    /// An axis, bent away from it.
    fn axis(i: usize, cols: usize) -> Vec<f64> {
        (0..cols).map(|j| ((i * j + i + 2 * j) as f64).sin() + if i == j { 1.5 } else { 0.0 }).collect()
    }

    #[test]
    fn two_dimensions_are_the_closed_form() {
        // [[a, b], [b, c]] has the eigenvalues (a + c)/2 ± √(((a − c)/2)² + b²).
        let x = [1.0f32, 2.0, -3.0, 0.5, 2.0, 2.5, 0.0, -5.0];
        let (mx, my) = (0.0, 0.0);
        let sum =
            |f: &dyn Fn(f64, f64) -> f64| x.chunks(2).map(|p| f(p[0] as f64 - mx, p[1] as f64 - my)).sum::<f64>() / 4.0;
        let (a, b, c) = (sum(&|x, _| x * x), sum(&|x, y| x * y), sum(&|_, y| y * y));
        let root = (((a - c) / 2.0).powi(2) + b * b).sqrt();
        let got = plane(&x, 2);
        for (got, want) in got.share.iter().zip([(a + c) / 2.0 + root, (a + c) / 2.0 - root]) {
            assert!((got - want / (a + c)).abs() < 1e-12, "{got} {want}");
        }
        // The coordinates are uncorrelated, and have these variances.
        let cross: f64 = got.at.iter().map(|p| p[0] * p[1]).sum();
        let first: f64 = got.at.iter().map(|p| p[0] * p[0]).sum::<f64>() / 4.0;
        assert!(cross.abs() < 1e-9 && (first - (a + c) / 2.0 - root).abs() < 1e-9, "{cross} {first}");
        assert!((got.variances[0] - a).abs() < 1e-12 && (got.variances[1] - c).abs() < 1e-12);
    }

    #[test]
    fn directions_that_were_put_there_are_found() {
        for cols in [3, 16, 17, 50] {
            // A rotated basis; the two widest stand last, and the third is near.
            let mut directions: Vec<Vec<f64>> = (0..cols).map(|i| axis(i, cols)).collect();
            orthonormalise(&mut directions);
            let mut variances: Vec<f64> = (0..cols).map(|i| 1.0 + 0.5 * i as f64 / cols as f64).collect();
            variances[cols - 2] = 2.0;
            variances[cols - 1] = 3.0;
            let got = plane(&cloud(&directions, &variances), cols);
            let total: f64 = variances.iter().sum();
            for (got, want) in got.share.iter().zip([3.0, 2.0]) {
                assert!((got - want / total).abs() < 1e-6, "{cols}: {got}, want {}", want / total); // the cloud is f32
            }
            // The pair of points along the widest direction lies on the first axis, at ± √(3 cols).
            let end = got.at[2 * (cols - 1)];
            assert!((end[0].abs() - (3.0 * cols as f64).sqrt()).abs() < 1e-4 && end[1].abs() < 1e-3, "{cols}: {end:?}");
        }
    }

    #[test]
    fn one_dimension_and_one_point_have_a_plane() {
        let line = plane(&[1.0, 3.0], 1);
        assert_eq!((line.share, line.at), ([1.0, 0.0], vec![[-1.0, 0.0], [1.0, 0.0]]));
        let point = plane(&[4.0, 5.0, 6.0], 3);
        assert_eq!((point.share, point.at), ([0.0, 0.0], vec![[0.0, 0.0]]));
    }
}
