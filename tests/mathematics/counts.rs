//! `--likelihood poisson` and `negative-binomial`: what is learned of counts is as likely as what they were drawn from, every
//! estimate is that of an integral over z, and every command takes them.
use crate::exact::{estimates_are, every_command, mean, over_z, points, with_gaps, write_csv};
use crate::numbers::Numbers;
use crate::program::{folder, run, write_idx};
use std::path::Path;
use std::sync::Arc;
use vae_gpu::Vae;
use vae_gpu::config::{Dispersion, Likelihood};
use vae_gpu::data::Dataset;
use vae_gpu::tensors::Tensors;

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
const COLS: usize = NAMES.len();

/// log m_j = b_j + w_j z with one z ~ N(0, 1), and the dispersions α_j; of a Poisson, 0.
struct Truth {
    w: Vec<f64>,
    b: Vec<f64>,
    alpha: Vec<f64>,
}

impl Truth {
    fn new(overdispersed: bool) -> Truth {
        let alpha = if overdispersed { vec![0.5, 0.1, 1.0, 0.3, 2.0] } else { vec![0.0; COLS] };
        Truth { w: vec![0.8, -0.5, 0.3, 1.0, 0.0], b: vec![1.0, 3.0, -1.0, 0.5, 2.0], alpha }
    }

    /// What a run has learned, with a linear decoder and one latent.
    fn learned(run: &Path) -> Truth {
        let file = Tensors::read(&run.join("model.safetensors")).unwrap();
        let get = |name: &str| file.tensors[name].values.clone();
        let alpha = match file.tensors.contains_key("decoder.logdispersion") {
            true => get("decoder.logdispersion").into_iter().map(f64::exp).collect(),
            false => vec![0.0; COLS],
        };
        Truth { w: get("decoder.out.weight"), b: get("decoder.out.bias"), alpha }
    }

    /// p(x) of column j for every count to `most`, given z: each from the one before it.
    fn probabilities(&self, j: usize, z: f64, most: usize) -> Vec<f64> {
        let (m, alpha) = ((self.b[j] + self.w[j] * z).exp(), self.alpha[j]);
        let mut p = if alpha == 0.0 { (-m).exp() } else { (1.0 + alpha * m).powf(-1.0 / alpha) };
        let ratio = |x: f64| match alpha == 0.0 {
            true => m / x,
            false => (x - 1.0 + 1.0 / alpha) / x * (m / (1.0 / alpha + m)),
        };
        (0..=most)
            .map(|x| {
                p *= if x == 0 { 1.0 } else { ratio(x as f64) };
                p
            })
            .collect()
    }

    /// log p of every row, and where a value is NaN its mean given the others: integrals over z by the trapezoidal rule.
    fn exactly(&self, x: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let most = x.iter().filter(|x| !x.is_nan()).fold(0.0, |a: f64, &b| a.max(b)) as usize;
        let points = points(100);
        let tables: Vec<Vec<Vec<f64>>> =
            points.iter().map(|&z| (0..COLS).map(|j| self.probabilities(j, z, most)).collect()).collect();
        let (mut log_p, mut means) = (vec![], vec![]);
        for row in x.chunks(COLS) {
            let known = || (0..COLS).filter(|&j| !row[j].is_nan());
            let p = |i: usize| known().map(|j| tables[i][j][row[j] as usize]).product();
            let (log, shares) = over_z(&points, p);
            log_p.push(log);
            let mean = |j: usize, z: f64| (self.b[j] + self.w[j] * z).exp();
            let mean = |j: usize| points.iter().zip(&shares).map(|(&z, share)| mean(j, z) * share).sum::<f64>();
            means.extend((0..COLS).map(|j| if row[j].is_nan() { mean(j) } else { row[j] }));
        }
        (log_p, means)
    }

    /// Each count by inversion.
    fn draw(&self, rows: usize, numbers: &mut Numbers) -> Vec<f64> {
        let mut x = vec![];
        for _ in 0..rows {
            let z = numbers.normal();
            for j in 0..COLS {
                let (p, mut u, mut count) = (self.probabilities(j, z, 5000), numbers.unit(), 0);
                while u >= p[count] {
                    u -= p[count];
                    count += 1;
                }
                x.push(count as f64);
            }
        }
        x
    }
}

const LINEAR: &str = "--hidden none --latent 1 --objective iwae --samples 10 --batch 50 --epochs 150 --lr 0.01 \
                      --lr-schedule cosine --device cpu --quiet";

/// The best likelihood of the data is at least that of the parameters that drew them, and above it by about half a nat for each
/// of the model's parameters, over all examples; what eval estimates is the integral; what impute fills in its mean.
fn learns(name: &str, likelihood: &str, overdispersed: bool) {
    let home = folder(name);
    let truth = Truth::new(overdispersed);
    let x = truth.draw(1000, &mut Numbers::new(5));
    write_csv(&home.join("x.csv"), &NAMES, &x);
    run(&home, &format!("train --data x.csv --likelihood {likelihood} --out run {LINEAR}")).succeeded();
    let learned = Truth::learned(&home.join("run"));
    let (drawn_from, exact) = (mean(&truth.exactly(&x).0), mean(&learned.exactly(&x).0));
    println!("{likelihood}: log p {exact:.4}, of the truth {drawn_from:.4}; α {:.3?}", learned.alpha);
    assert!(exact > drawn_from - 0.005 && exact < drawn_from + 0.03, "{exact}, the truth has {drawn_from}");

    // Of the first rows, all estimates beside the integral.
    let exact = mean(&learned.exactly(&x[..40 * COLS]).0);
    estimates_are(&home, exact);

    // A quarter of the values hidden.
    let gaps = with_gaps(&x, COLS);
    write_csv(&home.join("gaps.csv"), &NAMES, &gaps);
    run(&home, "impute run --data gaps.csv --to filled.npy --sweeps 400 --device cpu --quiet").succeeded();
    let filled = Dataset::read(&home.join("filled.npy")).unwrap().to_rows();
    let (_, want) = learned.exactly(&gaps);
    let off = |i: usize| (filled[i] as f64 / want[i] - 1.0).abs();
    let worst = (0..gaps.len()).filter(|&i| gaps[i].is_nan()).map(off).fold(0.0, f64::max);
    println!("the worst conditional mean is off by {:.1} %", 100.0 * worst);
    assert!(worst < 0.15, "{worst}"); // 2,000 dependent draws of z, whose exponentials vary by as much as their mean
    assert!((0..gaps.len()).all(|i| gaps[i].is_nan() || filled[i] as f64 == gaps[i]), "what was there stays");
    run(&home, "impute run --data gaps.csv --to drawn.npy --draws 2 --device cpu --quiet").succeeded();
    let drawn = Dataset::read(&home.join("drawn.npy")).unwrap().to_rows();
    assert!(drawn.iter().all(|x| x.fract() == 0.0 && *x >= 0.0), "draws of counts are counts");
}

#[test]
fn a_poisson_model_is_as_likely_as_the_one_it_was_drawn_from() {
    learns("counts-poisson", "poisson", false);
}

#[test]
fn a_negative_binomial_model_is_as_likely_as_the_one_it_was_drawn_from() {
    learns("counts-negative-binomial", "negative-binomial", true);
}

const TRAIN: &str = "train --data x.csv --likelihood negative-binomial --hidden 9 --latent 2 --batch 20 --epochs 4 --device cpu \
                     --quiet";

#[test]
fn every_command_takes_counts() {
    let home = folder("counts-commands");
    let x = Truth::new(true).draw(150, &mut Numbers::new(5));
    write_csv(&home.join("x.csv"), &NAMES, &x);
    let gaps: Vec<f64> = x.iter().enumerate().map(|(i, &x)| if i % 7 == 3 { f64::NAN } else { x }).collect();
    write_csv(&home.join("gaps.csv"), &NAMES, &gaps);
    std::fs::write(home.join("told.csv"), "d,e\n3,1\n0,7\n").unwrap();
    run(&home, &format!("{TRAIN} --valid-fraction 0.2 --out run")).succeeded();
    every_command(
        &home,
        20,
        &[
            "impute run --data gaps.csv --to filled.csv",
            "impute run --data gaps.csv --to drawn.npy --draws 2",
            "train --data gaps.csv --likelihood poisson --missing allow --epochs 2 --hidden 5 --latent 2 --out gaps",
            "train --data x.csv --likelihood poisson --condition 3..5 --epochs 2 --hidden 5 --latent 2 --out told",
            "sample told --count 2 --condition told.csv --to told.png",
        ],
    );
    let text = std::fs::read_to_string(home.join("drawn.csv")).unwrap();
    assert!(text.starts_with("a,b,c,d,e\n") && !text.contains('.'), "draws of counts are counts: {text}");
    let options = std::fs::read_to_string(home.join("run/run.toml")).unwrap();
    assert!(options.contains("likelihood = \"negative-binomial\""), "{options}");

    // The same counts by both likelihoods may be held against one another; those that vary more than a Poisson's are found to.
    let line = "sweep --data x.csv --valid-fraction 0.2 --grid likelihood=poisson,negative-binomial --hidden 9 --latent 1 --epochs \
                30 --lr 0.01 --device cpu --out sweep";
    let run = run(&home, line).succeeded();
    assert!(!run.stderr.contains("not comparable"), "{}", run.stderr);
    let said = run.stdout;
    let rows: Vec<&str> = said.lines().filter(|l| l.contains("seed=0")).collect();
    assert_eq!(rows.len(), 2, "{said}");
    assert!(rows[0].contains("negative-binomial") && rows[1].contains("poisson"), "{said}");
}

/// Beside other columns too: the bounds of runs that differ in the likelihood of counts alone are of the same quantities.
#[test]
fn counts_beside_other_columns_may_be_held_against_one_another() {
    let home = folder("counts-beside");
    let row = |i: usize| format!("{},{}\n", (0.3 * i as f64).sin(), i * i % 5);
    std::fs::write(home.join("x.csv"), (0..50).map(row).collect::<String>()).unwrap();
    for kind in ["poisson", "negative-binomial", "gaussian"] {
        let line = format!(
            "train --data x.csv --likelihood gaussian --{kind} 1 --epochs 1 --hidden 3 --latent 1 --device cpu"
        );
        run(&home, &format!("{line} --quiet --out {kind}")).succeeded();
    }
    let said = |runs: &str| run(&home, &format!("compare {runs}")).succeeded().stderr;
    assert!(!said("poisson negative-binomial").contains("not comparable"));
    assert!(said("poisson gaussian").contains("not comparable"));
}

/// The encoder's input, the dispersion and the output's bias: where training begins.
#[test]
fn training_begins_at_the_moments_of_the_columns() {
    let home = folder("counts-begin");
    let x = Truth::new(true).draw(200, &mut Numbers::new(5));
    write_csv(&home.join("x.csv"), &NAMES, &x);
    run(&home, &format!("{TRAIN} --lr 1e-12 --out run --dispersion scalar")).succeeded();
    let file = Tensors::read(&home.join("run/model.safetensors")).unwrap();
    let bias = &file.tensors["decoder.out.bias"].values;
    for j in 0..COLS {
        let want = mean(&x.iter().skip(j).step_by(COLS).copied().collect::<Vec<_>>()).ln();
        assert!((bias[j] - want).abs() < 1e-5, "{j}: {}, want {want}", bias[j]);
    }
    // The variance of a column is m + α m².
    let moments = |j: usize| {
        let of: Vec<f64> = x.iter().skip(j).step_by(COLS).copied().collect();
        let m = mean(&of);
        (m, mean(&of.iter().map(|x| (x - m).powi(2)).collect::<Vec<_>>()) - m)
    };
    let (beyond, squares): (Vec<f64>, Vec<f64>) = (0..COLS).map(|j| (moments(j).1, moments(j).0.powi(2))).unzip();
    let of_all = beyond.iter().sum::<f64>() / squares.iter().sum::<f64>();
    let dispersion = &file.tensors["decoder.logdispersion"];
    assert_eq!(dispersion.shape, [1]);
    assert!((dispersion.values[0] - of_all.ln()).abs() < 1e-5, "{:?}, want {}", dispersion.values, of_all.ln());
    for (how, name) in [("shared", "decoder.logdispersion"), ("network", "decoder.out_logdispersion.bias")] {
        run(&home, &format!("{TRAIN} --lr 1e-12 --out {how} --dispersion {how}")).succeeded();
        let file = Tensors::read(&home.join(how).join("model.safetensors")).unwrap();
        for (j, got) in file.tensors[name].values.iter().enumerate() {
            // Drawn to that of all where the column counts little: of 200 rows.
            let want = ((200.0 * beyond[j] + 2.0 * of_all) / (200.0 * squares[j] + 2.0)).max(0.01).ln();
            assert!((got - want).abs() < 1e-5, "{how} {j}: {got}, want {want}");
        }
    }
}

/// Bytes are counts themselves, and not 255ths; of whatever else is no count a sentence speaks.
#[test]
fn what_is_no_count_is_refused() {
    let home = folder("counts-refused");
    write_idx(&home.join("x.idx"), 50, 3);
    let train = "train --likelihood poisson --hidden 3 --latent 1 --epochs 1 --device cpu --quiet";
    run(&home, &format!("{train} --data x.idx --out bytes")).succeeded();
    let file = Tensors::read(&home.join("bytes/model.safetensors")).unwrap();
    let bias = mean(&file.tensors["decoder.out.bias"].values);
    assert!((bias - 127.5f64.ln()).abs() < 0.2, "bytes of about 127, and a bias of {bias}");
    std::fs::write(home.join("x.csv"), "a,b\n1,2\n3,-4\n").unwrap();
    run(&home, &format!("{train} --data x.csv --out none")).refused(
        1,
        "row 1, column 1 (\"b\", counted from 0) of x.csv is -4: must be a whole number, 0 or more, for a likelihood of counts; \
         pass --likelihood gaussian",
    );
}

#[test]
fn the_library_takes_counts() {
    let x = Truth::new(true).draw(200, &mut Numbers::new(5));
    let data = |x: &[f64]| Arc::new(Dataset::from_rows("x", COLS, x.iter().map(|&x| x as f32).collect()).unwrap());
    let builder = || {
        let plain = Vae::builder().hidden(&[9]).latent(2).epochs(3).device("cpu");
        plain.likelihood(Likelihood::NegativeBinomial).dispersion(Dispersion::Network)
    };
    let mut vae = builder().fit(&data(&x)).unwrap();
    assert!(vae.elbo(&data(&x)).unwrap().mean.is_finite());
    assert!(vae.sample(10, 0).unwrap().iter().all(|m| *m > 0.0), "means of counts are positive");
    let halves: Vec<f64> = x.iter().map(|x| x + 0.5).collect();
    let refused = builder().fit(&data(&halves)).map(|_| ()).unwrap_err().to_string();
    assert!(refused.contains("must be a whole number, 0 or more, for a likelihood of counts"), "{refused}");
}
