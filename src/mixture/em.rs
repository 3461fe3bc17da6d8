//! Expectation maximisation (Dempster, Laird & Rubin 1977): each round is the most likely mixture for the
//! responsibilities of the one before, and with floor 0 no less likely.
//!
//! Every sum has one fixed order: the result has the same bits with one thread and with many.
use super::density::{groups, singular};
use super::kmeans::clusters;
use super::panels::{ACROSS, WIDTH, tile};
use super::{Covariance, Mixture};
use crate::device::vectorise;
use crate::error::{Error, Result, at_least_one};
use rayon::prelude::*;

/// What a component has of an example counts from here on.
const NEGLIGIBLE: f64 = 1e-100;
/// A component that has fewer examples in all is empty: it keeps its place and its spread, with weight 0. To move it
/// elsewhere would lower the likelihood, and end the promise that it never falls; restarts find the better places. One
/// that has more finds its way back. So far above [`NEGLIGIBLE`] that what is left out is lost in rounding.
const EMPTY: f64 = 1e-75;
/// Columns whose sums a thread keeps: a cache line of x eight times.
const STRIP: usize = 64;

/// What is fitted, and for how long.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub components: usize,
    pub covariance: Covariance,
    /// Rounds at most.
    pub iterations: usize,
    /// Ends where the mean log-likelihood changes by less, in nats per example: as in scikit-learn, 1e-3.
    pub tolerance: f64,
    /// Fits from different starts, of which the most likely one is kept.
    pub restarts: usize,
    /// Added to every variance, as scikit-learn's `reg_covar`. None: to those of a column [`FLOOR`] of its own variance in
    /// the data; of a column that never changes, and where all are of one unit, of the mean variance.
    pub floor: Option<f64>,
    /// The columns are of one unit, as the pixels of pictures are: the distances of every start are of them as they stand, and
    /// the default floor is common to all. Else those of every second start, the first among them, are in units of each
    /// column's standard deviation: what a table is in, grams or tonnes, is no matter to these.
    pub one_unit: bool,
    pub seed: u64,
}

/// The default floor, as a part of the variance of the data: a component of one example then has standard deviations of
/// 3 % of its columns'.
pub const FLOOR: f64 = 1e-3;

impl Settings {
    /// With the defaults of `vae-gpu mixture`.
    pub fn new(components: usize, covariance: Covariance) -> Settings {
        Settings {
            components,
            covariance,
            iterations: 200,
            tolerance: 1e-3,
            restarts: 3,
            floor: None,
            one_unit: false,
            seed: 0,
        }
    }

    /// Holds them against a data set of `rows` examples.
    ///
    /// # Errors
    /// The first setting that is wrong.
    pub fn check(&self, rows: usize) -> Result<()> {
        let refuse = |sentence: String| Err(Error::request(sentence));
        let k = self.components;
        at_least_one("components", k, "--components 10")?;
        if k > rows {
            return refuse(format!("components {k}: more than the {rows} examples; pass --components {rows} or fewer"));
        }
        at_least_one("restarts", self.restarts, "--restarts 3")?;
        for (name, value, usual) in
            [("tolerance", self.tolerance, "0.001"), ("floor", self.floor.unwrap_or(0.0), "0.001")]
        {
            if !(value >= 0.0 && value.is_finite()) {
                return refuse(format!("{name} {value}: must be a number that is not negative; pass --{name} {usual}"));
            }
        }
        Ok(())
    }

    /// Whether a column is measured by its own standard deviation in this start. In the others a column that is hardly ever not
    /// zero does not count as much as one that is; the likelihood tells which start was better.
    fn in_own_units(&self, restart: usize) -> bool {
        !self.one_unit && restart.is_multiple_of(2)
    }

    /// What is added to the variances of each column of x (N, D).                       (D)
    fn floors(&self, x: &[f64], cols: usize) -> Vec<f64> {
        if let Some(floor) = self.floor {
            return vec![floor; cols];
        }
        let own = variances(x, cols);
        let common = FLOOR * own.iter().sum::<f64>() / cols as f64;
        // A pixel that is hardly ever on has a standard deviation of 3 % of a typical one's, where its own would be next to none.
        let floor = |variance| if variance > 0.0 && !self.one_unit { FLOOR * variance } else { common };
        own.into_iter().map(floor).collect()
    }
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Fit {
    pub mixture: Mixture,
    /// The mean log-likelihood, in nats per example: of the start, and after every round.
    pub trace: Vec<f64>,
    /// log p(x) of every example, at the end.
    pub log_likelihoods: Vec<f64>,
    /// Whether it ended by the tolerance.
    pub converged: bool,
    /// Which start it came from, counted from 0.
    pub restart: usize,
}

impl Fit {
    /// Of the mixture on what it was fitted to, in nats per example.
    pub fn log_likelihood(&self) -> f64 {
        *self.trace.last().expect("the start is in the trace")
    }
}

/// Hears of every round: the restart, the round, the mean log-likelihood.
pub type Watch<'a> = dyn FnMut(usize, usize, f64) + 'a;

/// The most likely mixture of several starts by k-means++, for x (N, D); its components by falling weight.
///
/// # Errors
/// Settings that are wrong for this data, a variance that falls to zero where there is no floor.
///
/// ```
/// use vae_gpu::mixture::{Covariance, em};
/// let x = [0.0, 0.1, 0.2, 5.0, 5.1, 5.2]; // six examples of one number
/// let fit = em::fit(&x, 1, &em::Settings::new(2, Covariance::Diag), &mut |_, _, _| ())?;
/// let mut means = fit.mixture.means.clone();
/// means.sort_by(f64::total_cmp);
/// assert!((means[0] - 0.1).abs() < 1e-9 && (means[1] - 5.1).abs() < 1e-9);
/// # Ok::<(), vae_gpu::Error>(())
/// ```
pub fn fit(x: &[f64], cols: usize, settings: &Settings, watch: &mut Watch) -> Result<Fit> {
    settings.check(x.len() / cols)?;
    let floors = settings.floors(x, cols);
    let mut best: Option<Fit> = None;
    for restart in 0..settings.restarts {
        let start = start(x, settings, &floors, restart)?;
        let fit = Fit { restart, ..climb(x, start, settings, &floors, &mut |_, i, l| watch(restart, i, l))? };
        if best.as_ref().is_none_or(|best| fit.log_likelihood() > best.log_likelihood()) {
            best = Some(fit);
        }
    }
    let best = best.expect("there is at least one restart");
    // As they came about they stand in no order.
    Ok(Fit { mixture: best.mixture.by_weight(), ..best })
}

/// Goes on from a mixture: `components`, `covariance`, `restarts` and `seed` do not count.
///
/// # Errors
/// A covariance that is or becomes singular.
pub fn fit_from(x: &[f64], start: Mixture, settings: &Settings, watch: &mut Watch) -> Result<Fit> {
    let floors = settings.floors(x, start.cols());
    climb(x, start, settings, &floors, watch)
}

fn climb(x: &[f64], start: Mixture, settings: &Settings, floors: &[f64], watch: &mut Watch) -> Result<Fit> {
    let mut fit = Fit { mixture: start, trace: vec![], log_likelihoods: vec![], converged: false, restart: 0 };
    loop {
        let (log_p, responsibilities) = fit.mixture.expect(x)?;
        let mean = log_p.iter().sum::<f64>() / log_p.len() as f64;
        let gain = fit.trace.last().map(|before| mean - before);
        watch(0, fit.trace.len(), mean);
        fit.trace.push(mean);
        fit.log_likelihoods = log_p;
        fit.converged = gain.is_some_and(|gain| gain.abs() < settings.tolerance);
        if fit.converged || fit.trace.len() > settings.iterations {
            return Ok(fit);
        }
        fit.mixture = maximise(x, &responsibilities, fit.mixture, floors)?;
    }
}

/// The most likely mixture where every example belongs to its cluster alone.
fn start(x: &[f64], settings: &Settings, floors: &[f64], restart: usize) -> Result<Mixture> {
    let (components, cols) = (settings.components, floors.len());
    let variances = variances(x, cols);
    let scale: Vec<f64> =
        variances.iter().map(|&v| if v > 0.0 && settings.in_own_units(restart) { 1.0 / v } else { 1.0 }).collect();
    let (means, nearest) = clusters(x, &scale, components, settings.seed, restart as u32);
    let mut responsibilities = vec![0.0; nearest.len() * components];
    nearest.iter().enumerate().for_each(|(i, k)| responsibilities[i * components + k] = 1.0);
    // What an empty cluster keeps: the spread of all the data.
    let variances: Vec<f64> = variances.iter().zip(floors).map(|(v, floor)| v + floor).collect();
    let spread = match settings.covariance {
        Covariance::Diag => variances,
        Covariance::Full => {
            let mut diagonal = vec![0.0; cols * cols];
            variances.iter().enumerate().for_each(|(j, v)| diagonal[j * cols + j] = *v);
            diagonal
        }
    };
    let weights = vec![1.0 / components as f64; components];
    let before = Mixture { covariance: settings.covariance, weights, means, spread: spread.repeat(components) };
    maximise(x, &responsibilities, before, floors)
}

/// The M step. N_k = Σ_n r_nk, weight N_k / N, mean Σ_n r_nk x_n / N_k,
/// Σ_k = Σ_n r_nk (x_n − mean)(x_n − mean)ᵀ / N_k + diag(floors), or its diagonal.
fn maximise(x: &[f64], responsibilities: &[f64], before: Mixture, floors: &[f64]) -> Result<Mixture> {
    let (components, cols) = (before.components(), before.cols());
    let rows = x.len() / cols;
    let of = |k: usize| move |n: usize| responsibilities[n * components + k];
    let counts: Vec<f64> = (0..components).into_par_iter().map(|k| (0..rows).map(of(k)).sum()).collect();
    let mut after = before.clone();
    for k in 0..components {
        let count = counts[k];
        after.weights[k] = if count < EMPTY { 0.0 } else { count / rows as f64 };
    }
    let live = (0..components).filter(|&k| after.weights[k] > 0.0);
    let strips: Vec<(usize, usize)> =
        live.clone().flat_map(|k| (0..cols).step_by(STRIP).map(move |j| (k, j))).collect();
    let sums: Vec<Sums> = strips.par_iter().map(|&(k, j)| moments(x, cols, j, before.mean(k), of(k))).collect();
    for (&(k, from), sums) in strips.iter().zip(&sums) {
        for i in 0..STRIP.min(cols - from) {
            let (at, shift) = (k * cols + from + i, sums[0][i] / counts[k]);
            after.means[at] = before.means[at] + shift;
            if before.covariance == Covariance::Diag {
                // About the mean of before, so that little is lost where it moved little; never below zero.
                after.spread[at] = (sums[1][i] / counts[k] - shift * shift).max(0.0) + floors[from + i];
            }
        }
    }
    if before.covariance == Covariance::Full {
        let size = cols * cols;
        for k in live.clone() {
            let members: Vec<(usize, f64)> =
                (0..rows).map(|n| (n, of(k)(n))).filter(|&(_, r)| r > NEGLIGIBLE).collect();
            let mean = &after.means[k * cols..][..cols];
            covariance(&mut after.spread[k * size..][..size], x, mean, &members, counts[k], floors);
        }
    }
    for k in live {
        let (mean, spread) = (after.mean(k), after.spread_of(k));
        for j in 0..cols {
            let variance = if after.covariance == Covariance::Diag { spread[j] } else { spread[j * cols + j] };
            // A constant column leaves the square of a rounding.
            let rounding = f64::EPSILON * mean[j] * mean[j];
            if !(variance > rounding.max(f64::MIN_POSITIVE) && variance.is_finite()) {
                return Err(singular(k, j, variance));
            }
        }
    }
    Ok(after)
}

/// Σ r d and Σ r d² of the columns of a strip, d = x − centre.
type Sums = [[f64; STRIP]; 2];

/// Of the strip of columns that begins at `from`, in the order of the examples.
fn moments(x: &[f64], cols: usize, from: usize, centre: &[f64], r: impl Fn(usize) -> f64) -> Sums {
    let strip = from..(from + STRIP).min(cols);
    let centre = &centre[strip.clone()];
    let [mut first, mut second] = [[0.0; STRIP]; 2];
    vectorise(
        #[inline(always)]
        || {
            for (n, x) in x.chunks(cols).enumerate() {
                let r = r(n);
                if r > NEGLIGIBLE {
                    let sums = first.iter_mut().zip(&mut second);
                    for ((first, second), (x, centre)) in sums.zip(x[strip.clone()].iter().zip(centre)) {
                        let d = x - centre;
                        *first += r * d;
                        *second += r * d * d;
                    }
                }
            }
        },
    );
    [first, second]
}

/// The variance of each column.                       (D)
fn variances(x: &[f64], cols: usize) -> Vec<f64> {
    let rows = (x.len() / cols) as f64;
    let strips: Vec<usize> = (0..cols).step_by(STRIP).collect();
    let of = |&from: &usize| {
        let [first, second] = moments(x, cols, from, &x[..cols], |_| 1.0);
        let variance = move |i: usize| (second[i] / rows - (first[i] / rows).powi(2)).max(0.0);
        (0..STRIP.min(cols - from)).map(variance)
    };
    strips.par_iter().flat_map_iter(of).collect()
}

/// Σ_n r_n d dᵀ / count + diag(floors) for d = x_n − mean, over the members (n, r_n): the product of √r d with itself, of
/// which the lower triangle is computed, strip by strip of eight rows.
fn covariance(out: &mut [f64], x: &[f64], mean: &[f64], members: &[(usize, f64)], count: f64, floors: &[f64]) {
    let cols = mean.len();
    let stride = groups(cols) * ACROSS * WIDTH;
    // Examples that are packed at once: two megabytes, for any number of columns.
    let depth = ((1 << 18) / stride).next_multiple_of(WIDTH);
    let mut sums = vec![0.0; cols.next_multiple_of(WIDTH) * stride];
    let mut panels = vec![0.0; depth.min(members.len()) * stride];
    for members in members.chunks(depth) {
        let size = members.len() * WIDTH;
        let panels = &mut panels[..size * stride / WIDTH];
        panels.par_chunks_mut(size).enumerate().for_each(|(p, panel)| {
            let columns = p * WIDTH..(p * WIDTH + WIDTH).min(cols);
            if columns.start < cols {
                let mean = &mean[columns.clone()];
                for (&(n, r), row) in members.iter().zip(panel.chunks_mut(WIDTH)) {
                    let (x, root) = (&x[n * cols..][columns.clone()], r.sqrt());
                    row.iter_mut().zip(x.iter().zip(mean)).for_each(|(d, (x, mean))| *d = root * (x - mean));
                }
            }
        });
        let panels = &*panels;
        sums.par_chunks_mut(WIDTH * stride).enumerate().for_each(|(p, sums)| {
            let a = &panels[p * size..][..size];
            for group in 0..=p / ACROSS {
                let b = std::array::from_fn(|q| &panels[(group * ACROSS + q) * size..][..size]);
                for (sums, tile) in sums.chunks_mut(stride).zip(tile(a, b)) {
                    let sums = &mut sums[group * ACROSS * WIDTH..];
                    sums.iter_mut().zip(tile.as_flattened()).for_each(|(sum, t)| *sum += t);
                }
            }
        });
    }
    for i in 0..cols {
        for j in 0..=i {
            let value = sums[i * stride + j] / count + if i == j { floors[i] } else { 0.0 };
            (out[i * cols + j], out[j * cols + i]) = (value, value);
        }
    }
}
