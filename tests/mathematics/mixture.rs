//! The mixture of Gaussians: beside another implementation, beside what a known mixture must give, and what expectation
//! maximisation promises.
use crate::numbers::{Numbers, assert_close, assert_near, mean_and_error};
use std::path::{Path, PathBuf};
use vae_gpu::data::Dataset;
use vae_gpu::gaussian::Gaussian;
use vae_gpu::mixture::em::{self, Fit, Settings};
use vae_gpu::mixture::{Config, Covariance, Mixture};
use vae_gpu::tensors::Tensors;

const BOTH: [Covariance; 2] = [Covariance::Diag, Covariance::Full];

/// How many standard errors count as a contradiction: see tests/mathematics/operations.rs.
const SIGMAS: f64 = 4.0;

fn quiet(_: usize, _: usize, _: f64) {}

/// Any mixture whose components overlap a little, means within `spread`.
fn mixture(covariance: Covariance, components: usize, cols: usize, spread: f64, numbers: &mut Numbers) -> Mixture {
    let mut weights: Vec<f64> = numbers.units(components).iter().map(|u| 0.5 + u).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter_mut().for_each(|w| *w /= sum);
    let means = numbers.uniforms(components * cols, spread);
    let spread = match covariance {
        Covariance::Diag => numbers.units(components * cols).iter().map(|u| 0.2 + u).collect(),
        Covariance::Full => (0..components).flat_map(|_| covariance_of(cols, numbers)).collect(),
    };
    Mixture { covariance, weights, means, spread }
}

/// A Aᵀ / D + I / 5
fn covariance_of(cols: usize, numbers: &mut Numbers) -> Vec<f64> {
    let a = numbers.normals(cols * cols);
    let row = |i: usize| &a[i * cols..][..cols];
    let product = |i, j| row(i).iter().zip(row(j)).map(|(a, b)| a * b).sum::<f64>() / cols as f64;
    let entry = |i, j| product(i, j) + if i == j { 0.2 } else { 0.0 };
    (0..cols * cols).map(|e| entry(e / cols, e % cols)).collect()
}

// ------------------------------------------------------------------------------------------------- the density

#[test]
fn the_density_is_the_weighted_sum_of_its_components() {
    for (components, cols) in [(1, 1), (3, 5), (2, 17), (4, 33)] {
        for covariance in BOTH {
            let mut numbers = Numbers::new(1);
            let m = mixture(covariance, components, cols, 1.0, &mut numbers);
            let x = numbers.normals(70 * cols); // more than a block of examples
            let log_p = m.log_likelihoods(&x).unwrap();
            let r = m.responsibilities(&x).unwrap();
            for (i, x) in x.chunks(cols).enumerate() {
                let joint: Vec<f64> = (0..components)
                    .map(|k| {
                        let full = match covariance {
                            Covariance::Full => m.spread_of(k).to_vec(),
                            Covariance::Diag => diagonal(m.spread_of(k)),
                        };
                        m.weights[k] * Gaussian::new(m.mean(k).to_vec(), &full).unwrap().log_density(x).exp()
                    })
                    .collect();
                let p: f64 = joint.iter().sum();
                let what = format!("{covariance:?}, {components} of {cols}, example {i}");
                let got = log_p[i];
                // roundings of sums of some tens of terms near one
                assert!((got - p.ln()).abs() < 1e-11 * p.ln().abs().max(1.0), "{what}: {got}, want {}", p.ln());
                let want: Vec<f64> = joint.iter().map(|j| j / p).collect();
                assert_near(&format!("{what}: responsibilities"), &r[i * components..][..components], &want, 1e-10);
            }
        }
    }
}

fn diagonal(variances: &[f64]) -> Vec<f64> {
    let n = variances.len();
    (0..n * n).map(|e| if e / n == e % n { variances[e / n] } else { 0.0 }).collect()
}

#[test]
fn draws_have_the_moments_of_the_mixture() {
    let (components, cols, count) = (3, 5, 40_000);
    for covariance in BOTH {
        let m = mixture(covariance, components, cols, 2.0, &mut Numbers::new(2));
        let (x, z) = m.sample(count, 3).unwrap();
        for k in 0..components {
            let of: Vec<f64> = z.iter().map(|&z| (z == k) as u8 as f64).collect();
            near_mean(&format!("{covariance:?} weight {k}"), &of, m.weights[k]);
        }
        for i in 0..cols {
            let of: Vec<f64> = x.chunks(cols).map(|x| x[i]).collect();
            let mean: f64 = (0..components).map(|k| m.weights[k] * m.mean(k)[i]).sum();
            near_mean(&format!("{covariance:?} mean {i}"), &of, mean);
            for j in 0..cols {
                // E[x_i x_j] = Σ_k w_k (Σ_k,ij + mu_ki mu_kj)
                let second = |k: usize| {
                    let s = match covariance {
                        Covariance::Full => m.spread_of(k)[i * cols + j],
                        Covariance::Diag => diagonal(m.spread_of(k))[i * cols + j],
                    };
                    m.weights[k] * (s + m.mean(k)[i] * m.mean(k)[j])
                };
                let products: Vec<f64> = x.chunks(cols).map(|x| x[i] * x[j]).collect();
                near_mean(&format!("{covariance:?} E x{i} x{j}"), &products, (0..components).map(second).sum());
            }
        }
        let few = m.sample(7, 3).unwrap().0;
        assert_eq!(few, x[..7 * cols], "a draw depends on its number alone");
        assert_ne!(few, m.sample(7, 4).unwrap().0);
    }
}

fn near_mean(what: &str, draws: &[f64], want: f64) {
    let (mean, error) = mean_and_error(draws);
    assert!((mean - want).abs() < SIGMAS * error, "{what}: {mean} ± {error}, want {want}");
}

// ------------------------------------------------------------------------------------------------- the fit

/// Dempster, Laird & Rubin 1977, theorem 1. It holds for the floor 0, where the M step is the maximum; a floor moves the
/// variances away from it.
#[test]
fn the_likelihood_never_falls() {
    for (rows, components, cols) in [(300, 3, 5), (101, 7, 2), (257, 2, 33), (60, 1, 17), (33, 4, 1)] {
        for covariance in BOTH {
            for seed in 0..3 {
                let mut numbers = Numbers::new(seed);
                let m = mixture(covariance, components, cols, 1.0, &mut numbers);
                let x = m.sample(rows, seed).unwrap().0;
                // A start that is far from an optimum.
                let start = mixture(covariance, components, cols, 1.0, &mut numbers);
                let settings = Settings { iterations: 30, tolerance: 0.0, floor: Some(0.0), ..any(covariance) };
                let fit = match em::fit_from(&x, start, &settings, &mut quiet) {
                    Ok(fit) => fit,
                    // Few examples of many columns: a component may fall onto fewer than it has columns.
                    Err(e) => {
                        assert!(rows < 5 * components * cols && e.to_string().contains("positive definite"), "{e}");
                        continue;
                    }
                };
                let what = format!("{covariance:?}, {rows} examples of {cols}, {components} components, seed {seed}");
                for (i, pair) in fit.trace.windows(2).enumerate() {
                    let fall = pair[0] - pair[1];
                    // What the rounding of a sum of D squares leaves, of a converged fit.
                    assert!(fall < 1e-11 * pair[0].abs().max(1.0), "{what}: falls by {fall:e} in round {i}");
                }
                assert!(fit.trace[30] > fit.trace[0] + 0.01, "{what}: {:?}", fit.trace);
            }
        }
    }
}

fn any(covariance: Covariance) -> Settings {
    Settings::new(1, covariance)
}

#[test]
fn some_rounds_from_a_start_agree_with_scikit_learn() {
    for (name, covariance) in [("diag", Covariance::Diag), ("full", Covariance::Full)] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/mixture/{name}.safetensors"));
        let golden = Tensors::read(&path).unwrap();
        let tensor = |name: &str| golden.tensors[name].values.clone();
        let start = Mixture {
            covariance,
            weights: tensor("start.weights"),
            means: tensor("start.means"),
            spread: tensor("start.spread"),
        };
        let config: serde_json::Value = serde_json::from_str(&golden.metadata["config"]).unwrap();
        let iterations = config["iterations"].as_u64().unwrap() as usize;
        let settings = Settings { iterations, tolerance: 0.0, floor: config["floor"].as_f64(), ..any(covariance) };
        let x = tensor("x");
        let fit = em::fit_from(&x, start, &settings, &mut quiet).unwrap();
        assert_eq!(fit.trace.len(), iterations + 1);
        // It computes a diagonal variance as E[x²] − E[x]², which at a mean of −100 costs it six of sixteen digits.
        let close = |what: &str, got: &[f64]| assert_close(&format!("{name} {what}"), got, &tensor(what), 1e-9, 0.1);
        close("weights", &fit.mixture.weights);
        close("means", &fit.mixture.means);
        close("spread", &fit.mixture.spread);
        close("log_p", &fit.log_likelihoods);
        close("responsibilities", &fit.mixture.responsibilities(&x).unwrap());
        assert!(fit.trace[iterations] > fit.trace[0] + 0.5, "the start was far away: {:?}", fit.trace);
    }
}

#[test]
fn a_known_mixture_is_found_again() {
    let (components, cols, rows) = (4, 3, 4000);
    for covariance in BOTH {
        let truth = mixture(covariance, components, cols, 6.0, &mut Numbers::new(7));
        let (x, _) = truth.sample(rows, 1).unwrap();
        let settings = Settings { floor: Some(0.0), tolerance: 1e-8, ..Settings::new(components, covariance) };
        let fit = em::fit(&x, cols, &settings, &mut quiet).unwrap();
        assert!(fit.converged);
        assert!(fit.mixture.weights.is_sorted_by(|a, b| a >= b), "the largest weight comes first");
        let log_p = |m: &Mixture| m.log_likelihoods(&x).unwrap().iter().sum::<f64>();
        assert!(log_p(&fit.mixture) > log_p(&truth), "more likely on the examples than what they came from");
        for k in 0..components {
            let distance = |l: usize| -> f64 {
                truth.mean(k).iter().zip(fit.mixture.mean(l)).map(|(a, b)| (a - b) * (a - b)).sum()
            };
            let l = (0..components).min_by(|&a, &b| distance(a).total_cmp(&distance(b))).unwrap();
            let n = truth.weights[k] * rows as f64;
            // The components hardly overlap, so these are the errors of a mean, of a share, and of a variance.
            let share = (truth.weights[k] * (1.0 - truth.weights[k]) / rows as f64).sqrt();
            let off = (fit.mixture.weights[l] - truth.weights[k]) / share;
            assert!(off.abs() < SIGMAS, "{covariance:?}: weight {k} is {off} standard errors off");
            for j in 0..cols {
                let at = if covariance == Covariance::Full { j * cols + j } else { j };
                let (want, got) = (truth.spread_of(k)[at], fit.mixture.spread_of(l)[at]);
                let off = (fit.mixture.mean(l)[j] - truth.mean(k)[j]) / (want / n).sqrt();
                assert!(off.abs() < SIGMAS, "{covariance:?}: mean {k}, {j} is {off} standard errors off");
                let off = (got - want) / (want * (2.0 / n).sqrt());
                assert!(off.abs() < SIGMAS, "{covariance:?}: variance {k}, {j} is {off} standard errors off");
            }
        }
    }
}

/// Also of more columns than a group of panels holds, and of more examples than are packed at once.
#[test]
fn one_component_is_the_mean_and_the_covariance_of_the_data() {
    for (rows, cols, covariance) in [
        (101, 19, Covariance::Diag),
        (101, 19, Covariance::Full),
        (7, 131, Covariance::Full),
        (12_000, 3, Covariance::Full),
        (1001, 300, Covariance::Full),
    ] {
        let x = Numbers::new(3).normals(rows * cols);
        let settings = Settings { floor: Some(0.25), ..Settings::new(1, covariance) };
        let fit = em::fit(&x, cols, &settings, &mut quiet).unwrap();
        let mut columns = vec![vec![0.0; rows]; cols];
        x.iter().enumerate().for_each(|(e, &x)| columns[e % cols][e / cols] = x);
        let means: Vec<f64> = columns.iter().map(|c| c.iter().sum::<f64>() / rows as f64).collect();
        let what = format!("{covariance:?}, {rows} examples of {cols}");
        assert_near(&format!("{what}: means"), &fit.mixture.means, &means, 1e-12); // sums of 12,000 numbers
        let entry = |i: usize, j: usize| {
            let products = columns[i].iter().zip(&columns[j]).map(|(a, b)| (a - means[i]) * (b - means[j]));
            products.sum::<f64>() / rows as f64 + if i == j { 0.25 } else { 0.0 }
        };
        let want: Vec<f64> = match covariance {
            Covariance::Diag => (0..cols).map(|j| entry(j, j)).collect(),
            Covariance::Full => (0..cols * cols).map(|e| entry(e / cols, e % cols)).collect(),
        };
        assert_near(&format!("{what}: spread"), &fit.mixture.spread, &want, 1e-12);
        assert_eq!(fit.mixture.weights, [1.0]);
    }
}

#[test]
fn the_most_likely_restart_is_kept() {
    let x = mixture(Covariance::Diag, 8, 2, 4.0, &mut Numbers::new(5)).sample(500, 1).unwrap().0;
    let settings = |restarts| Settings { restarts, one_unit: true, ..Settings::new(8, Covariance::Diag) };
    let mut ends = vec![f64::NEG_INFINITY; 5];
    let mut watch = |restart: usize, _: usize, mean: f64| ends[restart] = mean;
    let best = em::fit(&x, 2, &settings(5), &mut watch).unwrap();
    let top = ends.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    assert_eq!((best.log_likelihood(), ends[best.restart]), (top, top));
    // Neither the first nor the last, so that both would be wrong.
    assert!(best.restart > 0 && ends[0] < top - 1e-3 && ends[4] < top - 1e-3, "{ends:?}");
}

/// Heaps in two columns, beside one of noise: in units of which it is a hundred thousand times as wide, or no wider.
#[test]
fn units_of_a_column_are_no_matter() {
    let centres = [[0.0, 0.0], [3.0, 0.0], [0.0, 3.0]];
    let noise = Numbers::new(5).normals(3 * 600);
    let table = |unit: f64| -> Vec<f64> {
        let row = |(i, n): (usize, &[f64])| {
            let [a, b] = centres[i % 3];
            [a + n[0] / 2.0, b + n[1] / 2.0, unit * n[2]]
        };
        noise.chunks(3).enumerate().flat_map(row).collect()
    };
    for covariance in BOTH {
        let settings = Settings { restarts: 1, ..Settings::new(3, covariance) };
        let [one, other] = [1.0, 131072.0].map(|unit| {
            let fit = em::fit(&table(unit), 3, &settings, &mut quiet).unwrap();
            (fit.log_likelihood() + unit.ln(), fit.mixture.responsibilities(&table(unit)).unwrap())
        });
        assert!((one.0 - other.0).abs() < 1e-9, "{} and {}", one.0, other.0);
        // The heaps are those that were drawn: each example is in that of its first.
        let best = |r: &[f64]| (0..3).max_by(|&i, &j| r[i].total_cmp(&r[j])).unwrap();
        let found: Vec<usize> = other.1.chunks(3).map(best).collect();
        let wrong = (0..600).filter(|i| found[*i] != found[i % 3]).count();
        assert!(wrong < 12, "{wrong} of 600");
        assert!(one.1.iter().zip(&other.1).all(|(a, b)| (a - b).abs() < 1e-9));
    }
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    for (covariance, rows, components, cols) in
        [(Covariance::Diag, 700, 5, 131), (Covariance::Full, 700, 3, 51), (Covariance::Full, 20_000, 2, 3)]
    {
        let x = mixture(covariance, components, cols, 1.0, &mut Numbers::new(6)).sample(rows, 2).unwrap().0;
        let with = |threads| -> Fit {
            let settings = Settings { iterations: 4, restarts: 2, ..Settings::new(components, covariance) };
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| em::fit(&x, cols, &settings, &mut quiet).unwrap())
        };
        let (one, two, three) = (with(1), with(2), with(3));
        assert!(one.mixture == two.mixture && two.mixture == three.mixture, "{covariance:?}");
        assert!(one.trace == two.trace && one.log_likelihoods == three.log_likelihoods);
    }
}

// ------------------------------------------------------------------------------------------------- what is degenerate

#[test]
fn an_empty_component_keeps_its_place_with_weight_zero() {
    let x = Numbers::new(8).normals(50 * 2);
    // Beyond f64, and at exp(−(20² − 20 · 3)) of the nearest example.
    for place in [1e6, 20.0] {
        for covariance in BOTH {
            let start = with_one_at(place, covariance);
            let settings = Settings { floor: Some(0.0), ..any(covariance) };
            let fit = em::fit_from(&x, start.clone(), &settings, &mut quiet).unwrap();
            assert_eq!((fit.mixture.weights.clone(), fit.mixture.empty()), (vec![1.0, 0.0], 1));
            assert_eq!((fit.mixture.mean(1), fit.mixture.spread_of(1)), (start.mean(1), start.spread_of(1)));
            assert!(fit.trace.windows(2).all(|t| t[1] > t[0] - 1e-12) && fit.trace.iter().all(|t| t.is_finite()));
            let drawn = fit.mixture.sample(100, 0).unwrap().1;
            assert!(drawn.iter().all(|&k| k == 0));
        }
    }
}

/// Two components of variance one, at 0 and at (`place`, `place`).
fn with_one_at(place: f64, covariance: Covariance) -> Mixture {
    let one = if covariance == Covariance::Full { diagonal(&[1.0; 2]) } else { vec![1.0; 2] };
    Mixture { covariance, weights: vec![0.5; 2], means: vec![0.0, 0.0, place, place], spread: one.repeat(2) }
}

#[test]
fn a_component_that_begins_far_away_finds_its_way_back() {
    let x = Numbers::new(8).normals(50 * 2);
    for covariance in BOTH {
        let settings = Settings { floor: Some(0.1), tolerance: 0.0, iterations: 60, ..any(covariance) };
        let fit = em::fit_from(&x, with_one_at(13.0, covariance), &settings, &mut quiet).unwrap();
        // It has at least the example that was nearest.
        assert!(fit.mixture.weights[1] > 0.01 && fit.mixture.mean(1)[0] < 4.0, "{:?}", fit.mixture);
    }
}

#[test]
fn fewer_distinct_examples_than_components_are_fitted_with_the_floor() {
    let x = [[0.0, 1.0], [2.0, 1.0]].concat().repeat(5); // two distinct ones; the second column is constant
    for covariance in BOTH {
        let fit = em::fit(&x, 2, &Settings::new(6, covariance), &mut quiet).unwrap();
        let m = &fit.mixture;
        let finite = [&m.weights, &m.means, &m.spread, &fit.trace].iter().all(|v| v.iter().all(|x| x.is_finite()));
        assert!(finite, "{fit:?}");
        // Both points are component means, of the floor's variances: 0.001 of the first column's, 1, and of the second
        // the same part of the mean, ½, for it has none of its own.
        for k in 0..2 {
            let point = &x[2 * k..2 * k + 2];
            let at = (0..6).filter(|&l| m.weights[l] > 0.0).find(|&l| (m.mean(l)[0] - point[0]).abs() < 1e-9);
            let spread = m.spread_of(at.unwrap());
            let variances = [spread[0], spread[spread.len() - 1]];
            assert!((variances[0] - 1e-3).abs() < 1e-9 && (variances[1] - 5e-4).abs() < 1e-9, "{variances:?}");
        }
    }
}

/// The default floor has the unit of its column: a column in other units changes log p(x) by the logarithm of the factor,
/// and nothing else.
#[test]
fn the_default_floor_does_not_depend_on_units() {
    let x = Numbers::new(9).normals(200 * 2);
    // Powers of two, so that nothing is rounded otherwise.
    let factors = [2f64.powi(-12), 2f64.powi(12)];
    let scaled: Vec<f64> = x.iter().enumerate().map(|(i, x)| x * factors[i % 2]).collect();
    for covariance in BOTH {
        let start = with_one_at(1.5, covariance);
        let mut far = start.clone();
        far.means.iter_mut().enumerate().for_each(|(i, mean)| *mean *= factors[i % 2]);
        let size = far.spread.len() / 2;
        far.spread.iter_mut().enumerate().for_each(|(i, v)| {
            let (row, col) = if size == 4 { (i % 4 / 2, i % 2) } else { (i % 2, i % 2) };
            *v *= factors[row] * factors[col];
        });
        let settings = Settings { iterations: 20, tolerance: 0.0, ..any(covariance) };
        let fit = |x: &[f64], start: Mixture| em::fit_from(x, start, &settings, &mut quiet).unwrap().log_likelihood();
        let (plain, far) = (fit(&x, start), fit(&scaled, far));
        // The factors' logarithms cancel. With a floor of the mean variance nothing would be left of the small column.
        assert!((plain - far).abs() < 1e-9, "{covariance:?}: {plain} {far}");
    }
}

#[test]
fn one_example_is_a_component_of_the_floor() {
    for covariance in BOTH {
        let settings = Settings { floor: Some(0.5), ..Settings::new(1, covariance) };
        let fit = em::fit(&[1.0, 2.0, 3.0], 3, &settings, &mut quiet).unwrap();
        assert_eq!(fit.mixture.means, [1.0, 2.0, 3.0]);
        let want = -1.5 * (std::f64::consts::TAU * 0.5).ln();
        assert!((fit.log_likelihood() - want).abs() < 1e-14);
    }
}

#[test]
fn without_a_floor_what_has_no_bound_is_an_error_that_names_it() {
    // A constant column that no f64 holds exactly; and columns that are the same.
    let mut constant = Numbers::new(1).normals(40);
    constant.iter_mut().skip(1).step_by(2).for_each(|x| *x = 0.7);
    let twins: Vec<f64> = Numbers::new(2).normals(20).iter().flat_map(|&x| [x, x]).collect();
    let fit = |x: &[f64], covariance| {
        let settings = Settings { floor: Some(0.0), ..Settings::new(1, covariance) };
        em::fit(x, 2, &settings, &mut quiet).map(|_| ())
    };
    for covariance in BOTH {
        let e = fit(&constant, covariance).unwrap_err();
        let sentence = e.to_string();
        assert!(sentence.starts_with("component 0 (counted from 0): the variance of column 1 is "), "{sentence}");
        assert!(sentence.ends_with("so its density has no bound; pass a larger --floor, or fewer --components"));
        assert_eq!(e.exit_code(), 1);
    }
    assert_eq!(fit(&twins, Covariance::Diag), Ok(()));
    let sentence = fit(&twins, Covariance::Full).unwrap_err().to_string();
    assert!(
        sentence.starts_with("component 0 (counted from 0): covariance: not positive definite, at row 1 (counted"),
        "{sentence}"
    );
}

#[test]
fn an_example_out_of_range_is_named() {
    let m = with_one_at(1.0, Covariance::Diag);
    for wrong in [1e200, f64::NAN, f64::INFINITY] {
        let sentence = m.log_likelihoods(&[0.0, 0.0, 0.0, wrong]).unwrap_err().to_string();
        assert!(sentence.starts_with("mixture: log p(x) of example 1 (counted from 0) is "), "{sentence}");
    }
}

#[test]
fn a_file_whose_weights_are_no_probabilities_is_refused() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mixture-weights.safetensors");
    let mut m = with_one_at(1.0, Covariance::Full);
    let (input, data) = (2, "normals".to_string());
    let config = Config {
        components: 2,
        covariance: m.covariance,
        input,
        shape: None,
        data,
        columns: None,
        bytes: None,
        floor: Some(0.0),
        seed: 0,
    };
    m.write(&path, &config).unwrap();
    assert_eq!(Mixture::read(&path).unwrap(), (m.clone(), config.clone()));
    for weights in [[0.5, 0.6], [1.5, -0.5], [f64::NAN, 1.0]] {
        m.weights = weights.to_vec();
        m.write(&path, &config).unwrap();
        let sentence = Mixture::read(&path).unwrap_err().to_string();
        assert!(sentence.ends_with("; must be probabilities"), "{sentence}");
    }
}

// ------------------------------------------------------------------------------------------------- real data

fn shared(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(name);
    if !path.exists() {
        println!("skipped: no {}", path.display());
        return None;
    }
    Some(path)
}

/// A face has 560 pixels that move together: a full covariance says much more of faces that it never saw.
#[test]
fn a_full_covariance_tells_more_of_faces_than_a_diagonal_one() {
    let Some(path) = shared("freyfaces/freyfaces-1965x28x20-idx3-ubyte.gz") else { return };
    let (train, valid) = Dataset::read(&path).unwrap().split(0.1).unwrap();
    let [x, held_out] = [train, valid].map(|d| d.to_rows().into_iter().map(f64::from).collect::<Vec<_>>());
    let [diag, full] = BOTH.map(|covariance| {
        let settings = Settings { restarts: 1, iterations: 3, ..Settings::new(1, covariance) };
        let fit = em::fit(&x, 560, &settings, &mut quiet).unwrap();
        mean_and_error(&fit.mixture.log_likelihoods(&held_out).unwrap())
    });
    assert!(full.0 - diag.0 > SIGMAS * (full.1 + diag.1), "diag {diag:?}, full {full:?}");
}
