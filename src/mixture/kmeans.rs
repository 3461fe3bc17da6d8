//! Where a fit begins: k-means from the seeds of k-means++ (Arthur & Vassilvitskii 2007, "k-means++: the advantages of
//! careful seeding").
use crate::device::sum;
use crate::device::vectorise;
use crate::rng::{Stream, Words};
use rand_distr::{Distribution, StandardUniform};
use rayon::prelude::*;

/// Rounds of Lloyd's algorithm at most: it is only a start.
const ROUNDS: usize = 20;
/// Examples that a thread takes at a time, at least.
const GRAIN: usize = 64;

/// The centres (K, D), and to which each example of x (N, D) is nearest (N), where the squared distance of two is
/// Σ_j scale_j (a_j − b_j)². A function of the seed and `restart`.
pub(super) fn clusters(x: &[f64], scale: &[f64], components: usize, seed: u64, restart: u32) -> (Vec<f64>, Vec<usize>) {
    let cols = scale.len();
    let mut centres = seeds(x, scale, components, seed, restart);
    let mut nearest = assign(x, scale, &centres);
    for _ in 0..ROUNDS {
        centres = means(x, cols, &nearest, centres);
        let next = assign(x, scale, &centres);
        if next == nearest {
            break;
        }
        nearest = next;
    }
    (centres, nearest)
}

/// The first centre is any example, each next one an example in proportion to its squared distance from the nearest
/// centre so far. Where all distances are 0, the data have fewer distinct examples than there are centres: any.
fn seeds(x: &[f64], scale: &[f64], components: usize, seed: u64, restart: u32) -> Vec<f64> {
    let cols = scale.len();
    let rows = x.len() / cols;
    let mut centres = Vec::with_capacity(components * cols);
    let mut distances = vec![f64::INFINITY; rows];
    for k in 0..components {
        let u: f64 = StandardUniform.sample(&mut Words::new(seed, Stream::Init, restart, k as u32));
        let total: f64 = distances.iter().sum();
        let chosen = if k == 0 || total == 0.0 {
            (u * rows as f64) as usize
        } else {
            let mut left = u * total;
            let found = distances.iter().position(|&d| {
                left -= d;
                left < 0.0
            });
            // What rounding leaves goes to the last that can be chosen.
            found.or(distances.iter().rposition(|&d| d > 0.0)).unwrap_or(0)
        };
        let centre = &x[chosen * cols..][..cols];
        distances.par_iter_mut().zip(x.par_chunks(cols)).with_min_len(GRAIN).for_each(|(nearest, x)| {
            *nearest = nearest.min(distance(x, centre, scale));
        });
        centres.extend_from_slice(centre);
    }
    centres
}

fn assign(x: &[f64], scale: &[f64], centres: &[f64]) -> Vec<usize> {
    let cols = scale.len();
    let nearest = |x: &[f64]| {
        let mut best = (f64::INFINITY, 0);
        for (k, centre) in centres.chunks(cols).enumerate() {
            let d = distance(x, centre, scale);
            if d < best.0 {
                best = (d, k);
            }
        }
        best.1
    };
    x.par_chunks(cols).with_min_len(GRAIN).map(nearest).collect()
}

/// The mean of each cluster; the old centre where it is empty. Every thread has columns of its own, and adds in the
/// order of the examples.
fn means(x: &[f64], cols: usize, nearest: &[usize], old: Vec<f64>) -> Vec<f64> {
    const STRIP: usize = 64;
    let components = old.len() / cols;
    let mut counts = vec![0.0; components];
    nearest.iter().for_each(|&k| counts[k] += 1.0);
    let strips: Vec<Vec<f64>> = (0..cols.div_ceil(STRIP))
        .into_par_iter()
        .map(|s| {
            let strip = s * STRIP..(s * STRIP + STRIP).min(cols);
            let mut sums = vec![0.0; components * strip.len()];
            for (x, &k) in x.chunks(cols).zip(nearest) {
                // From the old centre: so the sum of a column that is constant is exactly zero.
                let terms = x[strip.clone()].iter().zip(&old[k * cols + strip.start..]);
                sums[k * strip.len()..].iter_mut().zip(terms).for_each(|(sum, (x, old))| *sum += x - old);
            }
            sums
        })
        .collect();
    let mut centres = old;
    for (s, sums) in strips.iter().enumerate() {
        for (k, sums) in sums.chunks(sums.len() / components).enumerate().filter(|&(k, _)| counts[k] > 0.0) {
            let centre = centres[k * cols + s * STRIP..].iter_mut();
            centre.zip(sums).for_each(|(c, sum)| *c += sum / counts[k]);
        }
    }
    centres
}

/// Σ_j scale_j (a_j − b_j)²
fn distance(a: &[f64], b: &[f64], scale: &[f64]) -> f64 {
    vectorise(
        #[inline(always)]
        || sum([a, b, scale], |[a, b, scale]| scale * (a - b) * (a - b)),
    )
}
