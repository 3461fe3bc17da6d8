//! Data and sizes at the edge of what is allowed, by the shipped program: each trains to a finite bound, and its model
//! evaluates, reconstructs and samples; or it is refused in one sentence.
use crate::numbers::Numbers;
use crate::program::{Outcome, folder, run, write_labels};
use std::path::Path;
use vae_gpu::data::{Dataset, npy};

const LIKELIHOODS: [&str; 5] = [
    "--likelihood bernoulli",
    "--likelihood gaussian --variance fixed",
    "--likelihood gaussian --variance scalar",
    "--likelihood gaussian --variance shared",
    "--likelihood gaussian --variance network",
];

/// Writes `rows` examples of `cols` numbers.
fn write(path: &Path, rows: usize, cols: usize, value: impl FnMut(usize) -> f32) {
    let (mut file, values) = (vec![], (0..rows * cols).map(value).collect::<Vec<_>>());
    npy::write(&mut file, rows, cols, &values).unwrap();
    std::fs::write(path, file).unwrap();
}

fn json(line: &str) -> serde_json::Value {
    serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))
}

/// The elbo that a training and then an evaluation report. Everything that the model gives is finite: JSON has null where
/// a number is not, and a reader of data refuses one. Of one example alone there is no standard error.
fn lives(home: &Path, data: &str, options: &str) -> (f64, f64) {
    let go = |line: &str| {
        let done = run(home, &format!("{line} --device cpu"));
        assert_eq!(done.code, Some(0), "{data} {options}\n{line}\n{}", done.stderr);
        done
    };
    let trained = go(&format!("train --data {data} {options} --out run --force --json --quiet"));
    let trained = json(trained.stdout.lines().last().unwrap());
    let with = match options.contains("--condition") {
        true => " --condition labels.idx",
        false => "",
    };
    let eval = go(&format!("eval run --data {data}{with} --samples 3 --json")).stdout;
    let means = if eval.contains("\"examples\":1,") { eval.replace("_error\":null", "") } else { eval.clone() };
    assert!(!means.contains("null"), "{data} {options}: {eval}");
    let cols = Dataset::read(&home.join(data)).unwrap().cols;
    for line in [
        "sample run --count 3 --to s.npy".to_string(),
        "sample run --count 3 --draw --to s.npy".into(),
        format!("reconstruct run --data {data}{with} --count 3 --to s.npy"),
    ] {
        go(&format!("{line} --force"));
        assert_eq!(Dataset::read(&home.join("s.npy")).unwrap().cols, cols);
    }
    go("sample run --count 3 --to s.png --force");
    let number = |value: &serde_json::Value| value.as_f64().unwrap_or_else(|| panic!("{data} {options}: {value}"));
    (number(&trained["train"]["elbo"]), number(&json(&eval)["elbo"]))
}

/// What no elbo is above: of zeros and ones, and of a Gaussian whose variance is 1.
fn highest(likelihood: &str, cols: usize) -> f64 {
    match likelihood {
        "--likelihood bernoulli" => 0.0,
        "--likelihood gaussian --variance fixed" => -0.5 * cols as f64 * std::f64::consts::TAU.ln(),
        _ => f64::INFINITY,
    }
}

#[test]
fn the_smallest_and_the_dullest_data_train_under_every_likelihood() {
    let home = folder("extremes");
    let mut numbers = Numbers::new(1);
    let mut random = |_| numbers.unit() as f32;
    for (name, rows, cols) in [("one-example", 1, 6), ("two", 2, 6), ("one-column", 50, 1), ("one-number", 1, 1)] {
        write(&home.join(name).with_extension("npy"), rows, cols, &mut random);
    }
    write(&home.join("zeros.npy"), 50, 6, |_| 0.0);
    write(&home.join("ones.npy"), 50, 6, |_| 1.0);
    write(&home.join("some-constant.npy"), 50, 6, |i| if i % 6 < 3 { random(i) } else { [0.0, 0.25, 1.0][i % 3] });
    for (data, cols) in [
        ("one-example.npy", 6),
        ("two.npy", 6),
        ("one-column.npy", 1),
        ("one-number.npy", 1),
        ("zeros.npy", 6),
        ("ones.npy", 6),
        ("some-constant.npy", 6),
    ] {
        for likelihood in LIKELIHOODS {
            // A latent space larger than the data, and the smallest; a batch larger than the data, and one of one.
            for sizes in ["--hidden none --latent 12 --batch 1000000000", "--hidden 7,3 --latent 1 --batch 1"] {
                let (trained, evaluated) = lives(&home, data, &format!("{likelihood} {sizes} --steps 60 --lr 0.01"));
                // To the rounding of a sum of f32.
                let highest = highest(likelihood, cols) + 1e-5;
                assert!(trained <= highest && evaluated <= highest, "{data} {likelihood}: {trained} {evaluated}");
            }
        }
    }
}

/// Where every example is the same the best elbo is known: 0 of zeros, the constant of the density of a fixed Gaussian.
#[test]
fn constant_data_are_learned_to_their_bound() {
    let home = folder("extremes-constant");
    for value in [0.0, 1.0] {
        write(&home.join("x.npy"), 50, 6, |_| value);
        for likelihood in &LIKELIHOODS[..2] {
            let options = format!("{likelihood} --hidden 8 --latent 2 --steps 1500 --lr 0.02 --batch 50");
            let (_, evaluated) = lives(&home, "x.npy", &options);
            let best = highest(likelihood, 6);
            // What 1,500 steps leave: a logit of l costs log(1 + exp(−|l|)) a column, and is not infinite yet.
            assert!(evaluated > best - 0.05, "{value} {likelihood}: {evaluated}, at best {best}");
        }
    }
}

/// A learned variance of a constant has no best value. With the mean there from the beginning, Adam lowers log σ² by the
/// learning rate a step: −½ log 2π + ½ lr · steps nats, until exp(−log σ²) is beyond f32 at 88.7. Then the training ends in a
/// sentence, and what was saved is whole. With a mean that is learned, its own error keeps the variance up (below).
#[test]
fn the_variance_of_a_constant_falls_until_the_training_says_so() {
    let home = folder("extremes-variance");
    write(&home.join("x.npy"), 50, 1, |_| 0.25);
    let start = "--hidden 8 --latent 3 --init normal:0 --init-output-bias data --lr 0.1";
    for likelihood in &LIKELIHOODS[2..] {
        let (_, evaluated) = lives(&home, "x.npy", &format!("{likelihood} {start} --steps 800"));
        let want = 0.5 * (0.1 * 800.0 - std::f64::consts::TAU.ln());
        // Adam's eps of 1e-8 beside a gradient of 1/2, and f32.
        assert!((evaluated - want).abs() < 1e-3, "{likelihood}: {evaluated}, want {want}");
        let line =
            format!("train --data x.npy {likelihood} {start} --steps 2000 --save-every 100 --out end --force --quiet");
        let ended = run(&home, &format!("{line} --device cpu"));
        assert_eq!(ended.code, Some(1), "{likelihood}: {}", ended.stderr);
        assert!(ended.stderr.contains("not finite: nll is") && ended.stderr.lines().count() == 1, "{}", ended.stderr);
        let kept = json(&run(&home, "eval end --data x.npy --json --device cpu").succeeded().stdout);
        assert!(kept["elbo"].as_f64().unwrap() > 30.0, "{kept}");
        std::fs::remove_dir_all(home.join("end")).unwrap();
    }
    // 20,000 steps with a constant rate, the mean learned.
    write(&home.join("y.npy"), 50, 6, |i| [0.0, 1.0, 0.0, 0.3, 0.0, -1.0][i % 6]);
    for likelihood in &LIKELIHOODS[2..] {
        let (trained, evaluated) =
            lives(&home, "y.npy", &format!("{likelihood} --hidden 4 --latent 1 --steps 4000 --lr 0.003 --batch 25"));
        assert!(trained > 5.0 && evaluated > 5.0, "{likelihood}: {trained} {evaluated}");
    }
}

#[test]
fn a_hundred_thousand_columns_train_with_a_rate_for_so_many() {
    let home = folder("extremes-wide");
    let mut numbers = Numbers::new(2);
    write(&home.join("x.npy"), 4, 100_000, |_| numbers.unit() as f32);
    for likelihood in LIKELIHOODS {
        let options = format!("{likelihood} --hidden 8 --latent 3 --steps 5");
        let (trained, evaluated) = lives(&home, "x.npy", &format!("{options} --lr 0.00001"));
        assert!(trained < 0.0 && evaluated < 0.0, "{likelihood}: {trained} {evaluated}");
        // Adam moves each of 100,000 weights by the rate at once: of 1, and the log-variance is in the thousands.
        let wild = run(&home, &format!("train --data x.npy {options} --lr 1 --out wild --force --quiet --device cpu"));
        one_sentence(&wild, "not finite");
        assert!(wild.stderr.contains("try a smaller --lr"), "{}", wild.stderr);
    }
}

fn one_sentence(outcome: &Outcome, word: &str) {
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    let said = &outcome.stderr;
    assert!(said.starts_with("vae-gpu: ") && said.contains(word) && said.lines().count() == 1, "{said}");
}

#[test]
fn one_class_and_one_example_to_validate_on_will_do() {
    let home = folder("extremes-few");
    let mut numbers = Numbers::new(3);
    write(&home.join("x.npy"), 50, 6, |_| numbers.unit() as f32);
    write(&home.join("v.npy"), 1, 6, |_| numbers.unit() as f32);
    write_labels(&home.join("labels.idx"), &[0; 50]);
    for likelihood in LIKELIHOODS {
        lives(&home, "x.npy", &format!("{likelihood} --hidden 8 --latent 3 --epochs 5 --condition labels.idx"));
        lives(&home, "x.npy", &format!("{likelihood} --hidden 8 --latent 3 --epochs 5 --valid v.npy --patience 2"));
        // 0.02 of 50 is one example.
        let one = format!("{likelihood} --hidden 8 --latent 3 --epochs 5 --valid-fraction 0.02");
        lives(&home, "x.npy", &one);
        // All but one.
        lives(&home, "x.npy", &one.replace("0.02", "0.98"));
    }
}

/// Of a single example there is no standard error: none is told, where 0 would say that the mean is known.
#[test]
fn one_example_has_no_standard_error() {
    let home = folder("extremes-single");
    write(&home.join("x.npy"), 1, 6, |_| 0.5);
    lives(&home, "x.npy", "--hidden 4 --latent 2 --steps 3");
    let eval =
        run(&home, "eval run --data x.npy --samples 1 --estimator iwae,naive,ais --chains 1 --json --device cpu");
    let eval = json(&eval.succeeded().stdout);
    for name in ["elbo_error", "iwae_error", "naive_error", "ais_error"] {
        assert_eq!(eval[name], serde_json::Value::Null, "{name}");
    }
    let words = run(&home, "eval run --data x.npy --device cpu").succeeded().stdout;
    assert!(words.starts_with("x.npy: 1 example, nats") && words.matches('±').count() == 1, "{words}");
    assert_eq!(eval["active_units"], 0, "one mean has no variance over examples");
}
