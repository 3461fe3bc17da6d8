//! `--missing allow`: a table with gaps is learned from what is there, and every command takes one.
use crate::linear::{self, LinearGaussian};
use crate::numbers::Numbers;
use crate::program::{folder, run};
use crate::runs;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use vae_gpu::Vae;
use vae_gpu::config::{Likelihood, Variance};
use vae_gpu::data::{Dataset, Missing};

const COLS: usize = 6;

/// x = W z + b + 0.6 ε in six columns, of which 30 % are missing: (truth, what is given, mean log p of what is given).
fn gaps(rows: usize) -> (Vec<f64>, Vec<f64>, f64) {
    let linear = LinearGaussian::new(COLS, 2, 3);
    let mut numbers = Numbers::new(11);
    let truth: Vec<f64> = linear.draw(rows, &mut numbers).iter().map(|&x| x as f64).collect();
    let there = numbers.units(rows * COLS);
    let given: Vec<f64> = truth.iter().zip(there).map(|(&x, u)| if u < 0.3 { f64::NAN } else { x }).collect();
    let log_p = given.chunks(COLS).map(|x| linear.log_p(x)).sum::<f64>() / rows as f64;
    (truth, given, log_p)
}

/// With a header; gaps are empty cells.
fn write_csv(path: &Path, x: &[f64]) {
    let mut table = String::from("a,b,c,d,e,f\n");
    for row in x.chunks(COLS) {
        let cells = row.iter().map(|x| if x.is_nan() { String::new() } else { x.to_string() });
        writeln!(table, "{}", cells.collect::<Vec<_>>().join(",")).unwrap();
    }
    std::fs::write(path, table).unwrap();
}

/// The best likelihood of what was observed is at least that of the parameters it was drawn with, and above it by about half
/// a nat for each of the model's 19 parameters, over all examples.
#[test]
fn a_model_of_what_is_observed_is_as_likely_as_the_one_it_was_drawn_from() {
    let home = folder("missing-truth");
    let (truth, given, log_p) = gaps(1000);
    write_csv(&home.join("gaps.csv"), &given);
    run(
        &home,
        "train --data gaps.csv --missing allow --hidden none --latent 2 --likelihood gaussian --variance scalar --objective \
         iwae --samples 20 --batch 50 --epochs 300 --lr 0.01 --lr-schedule cosine --out run --device cpu --quiet",
    )
    .succeeded();
    let line = "eval run --data gaps.csv --samples 2000 --json --device cpu --quiet";
    let e: serde_json::Value = run(&home, line).json();
    let got = e["iwae"].as_f64().unwrap();
    println!("L_2000 {got:.4}; of the truth {log_p:.4}");
    assert!(got > log_p - 0.01 && got < log_p + 0.04, "L_2000 {got}, the truth has {log_p}");

    // What is filled in is nearer to the truth than the means of the columns are.
    run(&home, "impute run --data gaps.csv --to filled.npy --device cpu --quiet").succeeded();
    let filled = Dataset::read(&home.join("filled.npy")).unwrap().to_rows();
    let linear = LinearGaussian::new(COLS, 2, 3);
    let square = |guess: &dyn Fn(usize) -> f64| {
        let missing = (0..given.len()).filter(|&i| given[i].is_nan());
        missing.clone().map(|i| (guess(i) - truth[i]).powi(2)).sum::<f64>() / missing.count() as f64
    };
    let (model, means) = (square(&|i| filled[i] as f64), square(&|i| linear.b[i % COLS]));
    let exact = square(&|i| conditional_mean(&linear, &given[i / COLS * COLS..][..COLS], i % COLS));
    println!("mean square error: {model:.4}, the exact conditional mean {exact:.4}, means of columns {means:.4}");
    // 5 %: what 19 learned parameters and 200 draws of z cost.
    assert!(model < 1.05 * exact && exact < 0.8 * means, "{model}, exact {exact}, means {means}");
    assert!((0..given.len()).all(|i| given[i].is_nan() || filled[i] as f64 == given[i]), "what was there stays");
}

/// E[x_j | what is observed], by Bayes' rule for p(z | x) in two dimensions.
fn conditional_mean(linear: &LinearGaussian, x: &[f64], j: usize) -> f64 {
    let (s2, w) = (linear.sigma * linear.sigma, |i: usize| [linear.w[2 * i], linear.w[2 * i + 1]]);
    let (mut precision, mut sum) = ([[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0]);
    for i in (0..COLS).filter(|&i| !x[i].is_nan()) {
        for a in 0..2 {
            (0..2).for_each(|b| precision[a][b] += w(i)[a] * w(i)[b] / s2);
            sum[a] += w(i)[a] * (x[i] - linear.b[i]) / s2;
        }
    }
    let [[p, q], [_, r]] = precision;
    let z = [(r * sum[0] - q * sum[1]) / (p * r - q * q), (p * sum[1] - q * sum[0]) / (p * r - q * q)];
    linear.b[j] + linear::dot(&w(j), &z)
}

const TRAIN: &str = "train --data gaps.csv --likelihood gaussian --variance shared --scale standard --hidden 9 --latent 2 \
                     --batch 20 --epochs 4 --device cpu --quiet";

#[test]
fn gaps_are_refused_unless_they_are_allowed_and_then_every_command_takes_them() {
    let home = folder("missing-commands");
    let (truth, given, _) = gaps(120);
    write_csv(&home.join("gaps.csv"), &given);
    write_csv(&home.join("whole.csv"), &truth);
    let line = 2 + given.iter().position(|x| x.is_nan()).unwrap() / COLS;
    let column = given.iter().position(|x| x.is_nan()).unwrap() % COLS;
    let sentence = format!(
        "line {line}, column {} (\"{}\") of gaps.csv is empty: fill the cell, leave the example out, or train with --missing \
         allow",
        column + 1,
        ["a", "b", "c", "d", "e", "f"][column]
    );
    run(&home, TRAIN).refused(1, &sentence);

    run(&home, &format!("{TRAIN} --missing allow --valid-fraction 0.2 --out run")).succeeded();
    for command in [
        "eval run --data gaps.csv --samples 10 --estimator iwae,naive,ais",
        "encode run --data gaps.csv --to latents.npy",
        "reconstruct run --data gaps.csv --to back.csv",
        "reconstruct run --data gaps.csv --to back.png",
        "sample run --near gaps.csv --to near.png",
        "interpolate run --data gaps.csv --to between.png",
        "traverse run --data gaps.csv --to latents.png",
        "impute run --data gaps.csv --to filled.csv",
        "report run --to page.html",
        "report run --data gaps.csv --to other.html",
        "eval run --data whole.csv",
        "train --config run/run.toml --out again",
        "sweep --data gaps.csv --missing allow --likelihood gaussian --grid scale=none,standard --epochs 1 --hidden 5 --out sweep",
    ] {
        run(&home, &format!("{command} --device cpu --quiet")).succeeded();
    }
    runs::assert_same_run(&home.join("run"), &home.join("again"), "run.toml");
    let latents = Dataset::read(&home.join("latents.npy")).unwrap();
    assert_eq!((latents.rows(), latents.cols), (120, 2));
    let filled = std::fs::read_to_string(home.join("filled.csv")).unwrap();
    assert!(filled.starts_with("a,b,c,d,e,f\n") && !filled.contains(",,"), "{filled}");

    // One that did not learn with gaps does not know what the zeros mean.
    run(&home, &format!("{TRAIN} --data whole.csv --out whole")).succeeded();
    run(&home, "encode whole --data gaps.csv --to x.npy --device cpu").refused(1, &sentence);
}

/// log p(x) of a table has the units of its columns: of each example, those of what is observed.
#[test]
fn the_density_of_the_file_is_of_what_is_observed() {
    let home = folder("missing-units");
    let (_, given, _) = gaps(200);
    write_csv(&home.join("gaps.csv"), &given);
    run(&home, &format!("{TRAIN} --missing allow --out run")).succeeded();
    let said =
        run(&home, "eval run --data gaps.csv --samples 10 --json --device cpu --to bounds.npy").succeeded().stdout;
    let e: serde_json::Value = serde_json::from_str(&said).unwrap();
    let config: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(home.join("run/config.json")).unwrap()).unwrap();
    let factor = |i: usize| config["data"]["scale"]["factor"][i % COLS].as_f64().unwrap().ln();
    let volume = (0..given.len()).filter(|&i| !given[i].is_nan()).map(factor).sum::<f64>() / 200.0;
    let [scaled, file] =
        ["iwae", "iwae_in_units_of_file"].map(|key| e[key].as_f64().unwrap_or_else(|| panic!("{key}: {said}")));
    assert!((scaled - volume - file).abs() < 1e-6, "{scaled} - {volume} is not {file}");
}

#[test]
fn what_cannot_be_learned_is_refused() {
    let home = folder("missing-refused");
    std::fs::write(home.join("empty.csv"), "a,b,c\n1,,2\n3,,4\n5,,7\n").unwrap();
    std::fs::write(home.join("told.csv"), "a,b,c\n1,2,2\n3,,4\n5,6,\n").unwrap();
    let train =
        "train --likelihood gaussian --hidden 3 --latent 1 --epochs 1 --device cpu --quiet --missing allow --out run";
    run(&home, &format!("{train} --data empty.csv"))
        .refused(1, "column 1 (\"b\", counted from 0) of empty.csv: every value is missing; leave the column out");
    run(&home, &format!("{train} --data told.csv --condition 1..2")).refused(
        1,
        "row 1, column 1 (\"b\", counted from 0) of told.csv is NaN: a condition must be known; leave the example out",
    );
    run(&home, &format!("{train} --data told.csv --condition 0..1")).succeeded();
}

#[test]
fn the_library_takes_nan_where_it_is_told_to() {
    let (_, given, _) = gaps(200);
    let values: Vec<f32> = given.iter().map(|&x| x as f32).collect();
    assert!(Dataset::from_rows("gaps", COLS, values.clone()).is_err());
    let data = Arc::new(Dataset::from_rows_with_missing("gaps", COLS, values).unwrap());
    let builder =
        || Vae::builder().hidden(&[9]).latent(2).likelihood(Likelihood::Gaussian).variance(Variance::Shared).epochs(3);
    let refused = builder().device("cpu").fit(&data).map(|_| ()).unwrap_err().to_string();
    assert!(refused.contains("is NaN: must be a number"), "{refused}");
    let mut vae = builder().missing(Missing::Allow).device("cpu").fit(&data).unwrap();
    assert!(vae.elbo(&data).unwrap().mean.is_finite());
    assert_eq!(vae.encode(&data).unwrap().mean.len(), 400);
}
