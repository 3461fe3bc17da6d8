//! What tables that are drawn from a known model are written to and held against: integrals over z.
use crate::program::run;
use crate::runs::assert_same_run;
use std::fmt::Write;
use std::path::Path;

/// With a header; gaps are empty cells.
pub fn write_csv(path: &Path, names: &[&str], x: &[f64]) {
    let mut table = names.join(",") + "\n";
    for row in x.chunks(names.len()) {
        let cells = row.iter().map(|x| if x.is_nan() { String::new() } else { x.to_string() });
        writeln!(table, "{}", cells.collect::<Vec<_>>().join(",")).unwrap();
    }
    std::fs::write(path, table).unwrap();
}

pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Every estimate of log p of the first 40 rows of x.csv under `run` is near `exact`.
pub fn estimates_are(home: &Path, exact: f64) {
    let line = "eval run --data x.csv --count 40 --samples 2000 --estimator iwae,naive,ais --json --device cpu --quiet";
    let e: serde_json::Value = run(home, line).json();
    println!("{e}");
    for estimate in ["iwae", "naive", "ais"] {
        let (got, error) = (&e[estimate], &e[format!("{estimate}_monte_carlo_error")]);
        let (got, error) = (got.as_f64().unwrap(), error.as_f64().unwrap());
        // Its own error four times over, and f32.
        assert!((got - exact).abs() < 4.0 * error + 1e-4, "{estimate} {got} ± {error}, the integral is {exact}");
    }
}

/// Every command that takes any model, of `run`, which was trained on x.csv, with so many draws in drawn.csv; and `more`, one after
/// the other. What run.toml says makes the same run again.
pub fn every_command(home: &Path, draws: usize, more: &[&str]) {
    let sample = format!("sample run --count {draws} --draw --to drawn.csv");
    let commands = [
        "eval run --data x.csv --count 10 --samples 10 --estimator iwae,naive,ais --to bounds.npy",
        "encode run --data x.csv --to latents.csv",
        "decode run --data latents.csv --to back.csv",
        "reconstruct run --data x.csv --to back.png",
        &sample,
        "sample run --near x.csv --to near.png",
        "interpolate run --data x.csv --to between.png",
        "traverse run --data x.csv --to latents.png",
        "manifold run --to plane.png",
        "report run --to page.html",
        "train --config run/run.toml --out again",
    ];
    for command in commands.iter().chain(more) {
        run(home, &format!("{command} --device cpu --quiet")).succeeded();
    }
    assert_same_run(&home.join("run"), &home.join("again"), "run.toml");
}

/// The first 30 rows of `x` with a quarter of their values missing.
pub fn with_gaps(x: &[f64], cols: usize) -> Vec<f64> {
    let there = crate::numbers::Numbers::new(8).uniforms(30 * cols, 1.0);
    x.iter().zip(&there).map(|(&x, u)| if *u < -0.5 { f64::NAN } else { x }).collect()
}

/// Points from −8 to 8, so many in a unit.
pub fn points(in_a_unit: i32) -> Vec<f64> {
    (-8 * in_a_unit..=8 * in_a_unit).map(|i| i as f64 / in_a_unit as f64).collect()
}

/// log p(x) = log ∫ p(x|z) N(z; 0, 1) dz by the trapezoidal rule, and the share that each point has in it: p(z|x) dz. `p` is
/// p(x|z) at a point, by its number.
pub fn over_z(points: &[f64], p: impl Fn(usize) -> f64) -> (f64, Vec<f64>) {
    let apart = points[1] - points[0];
    let density = |(i, z): (usize, &f64)| (-0.5 * z * z).exp() * apart / std::f64::consts::TAU.sqrt() * p(i);
    let weights: Vec<f64> = points.iter().enumerate().map(density).collect();
    let total: f64 = weights.iter().sum();
    (total.ln(), weights.iter().map(|weight| weight / total).collect())
}
