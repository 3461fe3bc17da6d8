//! `--scale`: a model of scaled columns is the model of the same columns scaled by hand, and what it is given and gives is in
//! the units of the file.
use crate::numbers::{Numbers, assert_near};
use crate::program::{command, folder, run, write_labels};
use crate::runs::{self, tensors};
use std::fmt::Write as _;
use std::path::Path;
use vae_gpu::data::{Dataset, npy};
use vae_gpu::tensors::Tensors;

const ROWS: usize = 400;
const COLS: usize = 4;
const SMALL: &str = "--likelihood gaussian --hidden 9 --latent 2 --batch 32 --seed 2 --device cpu --quiet";

/// Four columns of one cause and some noise, of sizes from 1e-4 to 1e5.
fn table(seed: u64) -> Vec<f32> {
    let mut numbers = Numbers::new(seed);
    let mut rows = vec![];
    for _ in 0..ROWS {
        let cause = numbers.normal();
        for (mean, size) in [(40.0, 12.0), (5e4, 2e4), (0.0, 1e-3), (-7e5, 1e5)] {
            rows.push((mean + size * (cause + 0.2 * numbers.normal())) as f32);
        }
    }
    rows
}

fn write(path: &Path, cols: usize, values: &[f32]) {
    npy::write(&mut std::fs::File::create(path).unwrap(), values.len() / cols, cols, values).unwrap();
}

fn read(path: &Path) -> Vec<f32> {
    Dataset::read(path).unwrap().to_rows()
}

fn config(run: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(run.join("config.json")).unwrap()).unwrap()
}

/// (shift, factor)
fn scale_of(run: &Path) -> (Vec<f64>, Vec<f64>) {
    let config = config(run);
    let list = |key: &str| {
        let list = config["data"]["scale"][key].as_array().unwrap();
        list.iter().map(|v| v.as_f64().unwrap() as f32 as f64).collect()
    };
    (list("shift"), list("factor"))
}

fn by_hand(values: &[f32], (shift, factor): &(Vec<f64>, Vec<f64>)) -> Vec<f32> {
    let n = shift.len();
    values.iter().enumerate().map(|(i, &x)| ((x as f64 - shift[i % n]) / factor[i % n]) as f32).collect()
}

fn back(values: &[f32], (shift, factor): &(Vec<f64>, Vec<f64>)) -> Vec<f32> {
    let n = shift.len();
    values.iter().enumerate().map(|(i, &x)| (x as f64 * factor[i % n] + shift[i % n]) as f32).collect()
}

/// Mean and standard deviation, smallest and largest, of a column.
fn moments(rows: &[f32], j: usize) -> [f64; 4] {
    let column: Vec<f64> = rows.iter().skip(j).step_by(COLS).map(|&x| x as f64).collect();
    let mean = column.iter().sum::<f64>() / column.len() as f64;
    let variance = column.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / column.len() as f64;
    let low = column.iter().copied().fold(f64::INFINITY, f64::min);
    [mean, variance.sqrt(), low, column.iter().copied().fold(f64::NEG_INFINITY, f64::max)]
}

fn near(got: f64, want: f64, what: &str) {
    assert!((got - want).abs() <= 1e-6 * want.abs().max(1e-9), "{what}: {got}, want {want}");
}

/// Everything that reads or gives examples, against a model of the columns scaled by hand.
#[test]
fn a_scaled_model_is_the_model_of_columns_scaled_by_hand() {
    let home = folder("scale-by-hand");
    let x = table(1);
    write(&home.join("x.npy"), COLS, &x);
    for rule in ["standard", "minmax"] {
        let (ours, hand) = (format!("{rule}-run"), format!("{rule}-hand"));
        run(&home, &format!("train --data x.npy --scale {rule} --steps 60 {SMALL} --out {ours}")).succeeded();
        let scale = scale_of(&home.join(&ours));
        for j in 0..COLS {
            let [mean, deviation, low, high] = moments(&x, j);
            let (shift, factor) = if rule == "minmax" { (low, high - low) } else { (mean, deviation) };
            near(scale.1[j], factor, rule);
            assert!((scale.0[j] - shift).abs() <= 1e-6 * shift.abs().max(factor), "{rule}: {} {shift}", scale.0[j]);
        }
        write(&home.join("hand.npy"), COLS, &by_hand(&x, &scale));
        run(&home, &format!("train --data hand.npy --steps 60 {SMALL} --out {hand}")).succeeded();
        assert_eq!(tensors(&home.join(&ours)), tensors(&home.join(&hand)), "{rule}");

        let both = |line: &str, undone: bool| {
            for (model, data) in [(&ours, "x.npy"), (&hand, "hand.npy")] {
                let line = line.replace("DATA", data).replacen(' ', &format!(" {model} "), 1);
                run(&home, &format!("{line} --device cpu --quiet --force --to {model}.npy")).succeeded();
            }
            let (got, want) = (read(&home.join(format!("{ours}.npy"))), read(&home.join(format!("{hand}.npy"))));
            assert_eq!(got, if undone { back(&want, &scale) } else { want }, "{rule}: {line}");
        };
        both("encode --data DATA --logvar", false);
        both("reconstruct --data DATA", true);
        both("sample --count 50", true);
        both("sample --count 50 --draw", true);
        both("sample --near DATA --count 5", true);
        both("interpolate --data DATA", true);
        both("manifold --side 4", true);
        both("traverse --data DATA --around 3", true);
        for command in ["reconstruct --data", "interpolate --data", "sample --near"] {
            let (name, option) = command.split_once(' ').unwrap();
            let line = format!("{name} {ours} {option} x.npy --to {name}-{rule}.png --device cpu --quiet");
            run(&home, &line).succeeded();
            run(&home, &format!("{name} {hand} {option} hand.npy --to {name}-hand.png --device cpu --quiet --force"))
                .succeeded();
            assert!(std::fs::metadata(home.join(format!("{name}-{rule}.png"))).unwrap().len() > 100);
        }
    }
}

#[test]
fn latents_and_examples_are_the_arithmetic_of_the_tensors() {
    let home = folder("scale-arithmetic");
    let x = table(2);
    write(&home.join("x.npy"), COLS, &x);
    let line = SMALL.replace("--hidden 9", "--hidden none");
    run(&home, &format!("train --data x.npy --scale standard --steps 40 {line} --out run")).succeeded();
    run(&home, "encode run --data x.npy --to z.npy --device cpu --quiet").succeeded();
    run(&home, "decode run --data z.npy --to back.npy --device cpu --quiet").succeeded();
    let read_tensors = Tensors::read(&home.join("run/model.safetensors")).unwrap();
    let tensor = |name: &str| read_tensors.tensors[name].values.clone();
    let [w, b, v, c] = ["encoder.mu.weight", "encoder.mu.bias", "decoder.out.weight", "decoder.out.bias"].map(tensor);
    let (shift, factor) = scale_of(&home.join("run"));
    let (z, got) = (read(&home.join("z.npy")), read(&home.join("back.npy")));
    for (i, row) in x.chunks(COLS).enumerate() {
        let mu: Vec<f64> = (0..2)
            .map(|l| b[l] + (0..COLS).map(|j| w[l * COLS + j] * (row[j] as f64 - shift[j]) / factor[j]).sum::<f64>())
            .collect();
        for j in 0..COLS {
            let mean = shift[j] + factor[j] * (c[j] + (0..2).map(|l| v[j * 2 + l] * mu[l]).sum::<f64>());
            let got = got[i * COLS + j] as f64;
            // f32 on one side, f64 on the other, in units of the column.
            assert!((got - mean).abs() < 1e-5 * (factor[j] + shift[j].abs()), "{i}, {j}: {got}, want {mean}");
        }
        assert!((0..2).all(|l| (z[2 * i + l] as f64 - mu[l]).abs() < 1e-5), "{i}");
    }
}

#[test]
fn columns_of_all_sizes_are_learned() {
    let home = folder("scale-learns");
    let (x, other) = (table(3), table(4));
    write(&home.join("x.npy"), COLS, &x);
    write(&home.join("other.npy"), COLS, &other);
    let line = "train --data x.npy --likelihood gaussian --variance shared --hidden 16 --latent 1 --lr 0.01 --steps 1500 \
                --device cpu --quiet";
    for options in ["--scale standard --out run", "--scale standard --valid-fraction 0.1 --out held"] {
        run(&home, &format!("{line} {options}")).succeeded();
    }
    run(&home, "reconstruct run --data other.npy --to back.npy --device cpu --quiet").succeeded();
    let back = read(&home.join("back.npy"));
    for j in 0..COLS {
        let [_, deviation, ..] = moments(&other, j);
        let wrong: Vec<f32> = back.iter().zip(&other).map(|(b, x)| b - x).collect();
        let [bias, rest, ..] = moments(&wrong, j);
        // The noise is a fifth of the cause: 0.04 of the variance, and what is left of it is what no latent explains.
        assert!(bias.abs() < 0.1 * deviation && rest < 0.35 * deviation, "column {j}: {bias}, {rest} of {deviation}");
    }
}

/// What is held out has no part in the scale.
#[test]
fn held_out_examples_do_not_matter() {
    let home = folder("scale-held");
    let x = table(5);
    write(&home.join("x.npy"), COLS, &x);
    let line = format!("--scale standard --valid-fraction 0.25 --steps 30 {SMALL} --out");
    run(&home, &format!("train --data x.npy {line} one")).succeeded();
    let (train, held) = Dataset::read(&home.join("x.npy")).unwrap().split(0.25).unwrap();
    let held: Vec<Vec<f32>> = held.to_rows().chunks(COLS).map(<[f32]>::to_vec).collect();
    let is_held = |row: &[f32]| held.iter().any(|h| h == row);
    let other: Vec<f32> = x
        .chunks(COLS)
        .flat_map(|row| row.iter().map(|v| if is_held(row) { 3.0 * v + 1.0 } else { *v }).collect::<Vec<_>>())
        .collect();
    assert_ne!(other, x);
    write(&home.join("other.npy"), COLS, &other);
    run(&home, &format!("train --data other.npy {line} other")).succeeded();
    assert_eq!(scale_of(&home.join("one")), scale_of(&home.join("other")));
    let rows = train.to_rows();
    (0..COLS).for_each(|j| near(scale_of(&home.join("one")).1[j], moments(&rows, j)[1], "of the examples trained on"));
    // They are scaled like the others: the course of the training, validation and all, is that of numbers scaled by hand.
    write(&home.join("hand.npy"), COLS, &by_hand(&x, &scale_of(&home.join("one"))));
    run(&home, &format!("train --data hand.npy {} hand", line.replace("--scale standard", ""))).succeeded();
    assert_eq!(runs::lines(&home.join("one")), runs::lines(&home.join("hand")));
    // A file to validate on has no part in it either.
    let line = format!("train --data x.npy --valid other.npy --scale minmax --steps 9 {SMALL} --out file");
    run(&home, &line).succeeded();
    near(scale_of(&home.join("file")).1[1], moments(&x, 1)[3] - moments(&x, 1)[2], "of --data");
}

/// The density of 1024 x is that of x over 1024 for each column: and a power of two leaves the scaled numbers as they are.
#[test]
fn the_density_is_that_of_the_units_of_the_file() {
    let home = folder("scale-density");
    let x = table(6);
    write(&home.join("x.npy"), COLS, &x);
    write(&home.join("large.npy"), COLS, &x.iter().map(|v| v * 1024.0).collect::<Vec<_>>());
    let eval = |file: &str| {
        run(&home, &format!("train --data {file}.npy --scale standard --steps 50 {SMALL} --out {file}")).succeeded();
        let line = format!("eval {file} --data {file}.npy --samples 10 --device cpu");
        let table = run(&home, &line).succeeded().stdout;
        assert!(table.contains("\nof the file "), "{table}");
        let e: serde_json::Value = run(&home, &format!("{line} --json")).json();
        [e["iwae"].as_f64().unwrap(), e["iwae_in_units_of_file"].as_f64().unwrap()]
    };
    let ([scaled, one], [same, other]) = (eval("x"), eval("large"));
    assert_eq!(scaled, same);
    near(one - other, COLS as f64 * 1024f64.ln(), "nats");
    near(scaled - one, scale_of(&home.join("x")).1.iter().map(|f| f.ln()).sum(), "nats");
    // Of a Bernoulli there is no density.
    run(&home, "train --data x.npy --scale minmax --steps 5 --hidden 4 --latent 2 --device cpu --quiet --out bits")
        .succeeded();
    let e = run(&home, "eval bits --data x.npy --json --device cpu").succeeded().stdout;
    assert!(!e.contains("units_of_file"), "{e}");
}

#[test]
fn a_condition_of_columns_is_scaled_and_classes_are_not() {
    let home = folder("scale-condition");
    let x = table(7);
    write(&home.join("x.npy"), COLS, &x);
    let line =
        |data: &str, out: &str| format!("train --data {data} --past 1..3 --future 3..4 --steps 60 {SMALL} --out {out}");
    run(&home, &format!("{} --scale standard", line("x.npy", "ours"))).succeeded();
    let (shift, factor) = scale_of(&home.join("ours")); // of the future, then of the past
    let order = [3, 1, 2];
    let mut hand = x.clone();
    for row in hand.chunks_mut(COLS) {
        (0..3).for_each(|i| row[order[i]] = ((row[order[i]] as f64 - shift[i]) / factor[i]) as f32);
    }
    write(&home.join("hand.npy"), COLS, &hand);
    run(&home, &line("hand.npy", "hand")).succeeded();
    assert_eq!(tensors(&home.join("ours")), tensors(&home.join("hand")));
    let pasts = |rows: &[f32]| rows.chunks(COLS).flat_map(|row| row[1..3].to_vec()).collect::<Vec<_>>();
    write(&home.join("pasts-x.npy"), 2, &pasts(&x));
    write(&home.join("pasts-hand.npy"), 2, &pasts(&hand));
    let outputs = |model: &str, data: &str| {
        let say = |line: &str, to: &str| {
            run(&home, &format!("{line} --device cpu --quiet --to {model}-{to}.npy")).succeeded();
            read(&home.join(format!("{model}-{to}.npy")))
        };
        [
            say(&format!("forecast {model} --data {data}.npy --draws 2"), "forecast"),
            say(&format!("sample {model} --count 30 --condition {data}.npy"), "whole"),
            say(&format!("sample {model} --count 30 --condition pasts-{data}.npy"), "alone"),
        ]
    };
    let future = (vec![shift[0]], vec![factor[0]]);
    for (got, want) in outputs("ours", "x").iter().zip(outputs("hand", "hand")) {
        assert_eq!(*got, back(&want, &future));
    }
    run(&home, "forecast ours --data x.npy --to f.png --device cpu --quiet").succeeded();

    write_labels(&home.join("labels.idx"), &(0..ROWS).map(|i| (i % 3) as u8).collect::<Vec<_>>());
    run(&home, &format!("train --data x.npy --condition labels.idx --scale standard --steps 9 {SMALL} --out classes"))
        .succeeded();
    assert_eq!(scale_of(&home.join("classes")).0.len(), COLS);
    run(&home, "sample classes --condition 2 --count 9 --to c.npy --device cpu --quiet").succeeded();
    run(&home, "eval classes --data x.npy --condition labels.idx --device cpu --quiet").succeeded();
}

#[test]
fn gaps_are_filled_in_the_units_of_the_file() {
    let home = folder("scale-gaps");
    let x = table(8);
    write(&home.join("x.npy"), COLS, &x);
    run(&home, &format!("train --data x.npy --scale standard --steps 200 {SMALL} --out ours")).succeeded();
    let scale = scale_of(&home.join("ours"));
    write(&home.join("hand.npy"), COLS, &by_hand(&x, &scale));
    run(&home, &format!("train --data hand.npy --steps 200 {SMALL} --out hand")).succeeded();
    let gaps = |values: &[f32]| {
        let mut values = values[..20 * COLS].to_vec();
        values.iter_mut().step_by(3).for_each(|v| *v = f32::NAN);
        values
    };
    let csv = |values: &[f32]| {
        let cell = |v: &f32| if v.is_nan() { String::new() } else { v.to_string() };
        let line = |row: &[f32]| row.iter().map(cell).collect::<Vec<_>>().join(",") + "\n";
        values.chunks(COLS).map(line).collect::<String>()
    };
    let (ours, hand) = (gaps(&x), gaps(&by_hand(&x, &scale)));
    std::fs::write(home.join("ours.csv"), csv(&ours)).unwrap();
    std::fs::write(home.join("hand.csv"), csv(&hand)).unwrap();
    for draws in ["", "--draws 1"] {
        let filled = |model: &str| {
            let line =
                format!("impute {model} --data {model}.csv {draws} --to {model}.npy --force --device cpu --quiet");
            run(&home, &line).succeeded();
            read(&home.join(format!("{model}.npy")))
        };
        let (got, want) = (filled("ours"), back(&filled("hand"), &scale));
        for (i, (got, want)) in got.iter().zip(&want).enumerate() {
            match ours[i].is_nan() {
                true => assert_eq!(got, want, "{i}"),
                false => assert_eq!(*got, ours[i], "{i}: what is known stays, bit for bit"),
            }
        }
    }
}

#[test]
fn a_scaled_run_that_was_cut_ends_in_the_bytes_of_one_that_was_not() {
    let home = folder("scale-cut");
    let mut text = String::from("name,a,b,c,d\n");
    for (i, row) in table(9).chunks(COLS).enumerate() {
        writeln!(text, "n{i},{},{},{},{}", row[0], row[1], row[2], row[3]).unwrap();
    }
    std::fs::write(home.join("x.csv"), text).unwrap();
    let train = format!(
        "train --data x.csv --columns c,a,d --scale standard --valid-fraction 0.2 --steps 6000 --save-every 50 {SMALL} --out"
    );
    run(&home, &format!("{train} whole")).succeeded();
    let line = format!("{train} cut --threads 1");
    let mut child = command(&home, &line.split_whitespace().collect::<Vec<_>>()).spawn().unwrap();
    while !home.join("cut/checkpoint.safetensors").exists() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    run(&home, "train --resume cut --device cpu --quiet").succeeded();
    let bytes = |run: &str| std::fs::read(home.join(run).join("model.safetensors")).unwrap();
    assert_eq!(bytes("whole"), bytes("cut"));
    run(&home, "train --config whole/run.toml --device cpu --quiet --out again").succeeded();
    assert_eq!(bytes("whole"), bytes("again"));
}

#[test]
fn a_column_that_never_changes_is_told_once() {
    let home = folder("scale-constant");
    std::fs::write(home.join("x.csv"), "a,b\n1,5\n2,5\n3,5\n").unwrap();
    let line = "train --data x.csv --scale standard --likelihood gaussian --hidden 3 --latent 1 --steps 2 --device cpu --out run";
    let said = run(&home, line).succeeded().stderr;
    let note = "never changes, and is scaled by 1: column 1 (\"b\", counted from 0)\n";
    assert_eq!(said.matches(note).count(), 1, "{said}");
    assert!(said.contains("3 examples, columns scaled to mean 0 and standard deviation 1; model"), "{said}");
    assert_eq!(scale_of(&home.join("run")).1[1], 1.0);
    // Columns are those of the file.
    std::fs::write(home.join("words.csv"), "a,w\n1,u\n2,v\n3,t\n").unwrap();
    let words = line.replace("x.csv", "words.csv").replace("--out run", "--categorical w --out words");
    let said = run(&home, &words).succeeded().stderr;
    assert!(said.contains("3 examples, 1 of 2 columns scaled to mean 0"), "{said}");
    // Where it matters without a scale, too.
    let falls = "; a variance that is learned may fall there without end: --skip-columns b leaves it out\n";
    for (options, want) in [
        ("--scale standard --variance shared", format!("{}{falls}", note.trim_end())),
        ("--variance network", format!("never changes: column 1 (\"b\", counted from 0){falls}")),
    ] {
        let said =
            run(&home, &format!("{} {options} --force", line.replace("--scale standard ", ""))).succeeded().stderr;
        assert!(said.contains(&want), "{said}");
    }
    let said = run(&home, &format!("{} --force", line.replace("--scale standard ", ""))).succeeded().stderr;
    assert!(!said.contains("never changes"), "{said}");
}

#[test]
fn columns_far_from_one_are_told_with_what_helps() {
    let home = folder("scale-hint");
    let write_csv = |name: &str, factors: [f64; 2]| {
        let row =
            |i: u32| format!("{},{}\n", factors[0] * (i as f64).sin(), factors[1] * (1.0 + (3.0 * i as f64).cos()));
        std::fs::write(home.join(name), String::from("small,income\n") + &(0..50).map(row).collect::<String>())
            .unwrap();
    };
    write_csv("far.csv", [1.0, 30000.0]);
    write_csv("near.csv", [1.0, 3.0]);
    write_csv("tiny.csv", [1e-4, 1e-3]);
    let said = |line: &str| {
        let line = format!("train {line} --hidden 4 --latent 1 --lr 1e-9 --steps 2 --device cpu --out run --force");
        run(&home, &line).succeeded().stderr
    };
    let hint = "hard to learn as it is; --scale standard brings every column to 0 and 1\n";
    let far = said("--data far.csv --likelihood gaussian");
    assert!(far.matches(hint).count() == 1 && far.contains("column 1 (\"income\", counted from 0) has mean "), "{far}");
    assert!(said("--data tiny.csv --likelihood gaussian").contains("column 0 (\"small\", counted from 0) has mean "));
    for line in ["--data near.csv --likelihood gaussian", "--data far.csv --likelihood gaussian --scale standard"] {
        assert!(!said(line).contains("hard to learn"), "{line}");
    }
    // What never changes is not of the others' size, whatever factor it is given.
    let row = |i: usize| format!("{},0\n", 1e-4 * (i as f64).sin());
    std::fs::write(home.join("beside.csv"), (0..50).map(row).collect::<String>()).unwrap();
    assert!(said("--data beside.csv --likelihood gaussian").contains("column 0 (counted from 0) has mean "));
    let row = |i: usize| format!("{},0\n", 20.0 + (i as f64).sin());
    std::fs::write(home.join("beside.csv"), (0..50).map(row).collect::<String>()).unwrap();
    let wide = "train --data beside.csv --likelihood gaussian --hidden 1000 --latent 1 --steps 2 --device cpu --out run --force";
    assert!(!run(&home, wide).succeeded().stderr.contains("hard to learn"));
    // What is away from 0 in a narrow network is.
    assert!(said("--data beside.csv --likelihood gaussian").contains("column 0 (counted from 0) has mean 2.0"));
    // A column that hardly ever changes is far from 0 and 1 once it is scaled.
    let row = |i: usize| format!("{},{}\n", (i as f64).sin(), (i == 7) as u8);
    std::fs::write(home.join("rare.csv"), (0..12_000).map(row).collect::<String>()).unwrap();
    let rare = "column 1 (counted from 0) has a number 110 standard deviations from its mean: hard to learn; --scale minmax has";
    assert!(said("--data rare.csv --likelihood gaussian --scale standard").contains(rare));
    assert!(!said("--data rare.csv --likelihood gaussian --scale minmax").contains("hard to learn"));
    // What is there of the run that is replaced is told as such.
    let line = "train --data lost.csv --likelihood gaussian --hidden 4 --latent 1 --device cpu --out run --force";
    write_csv("lost.csv", [1.0, 1e25]);
    let lost = run(&home, line).stderr;
    assert!(lost.contains("; run has the run before again: pass"), "{lost}");
    // In the first step a smaller rate cannot be what helps.
    write_csv("lost.csv", [1.0, 1e25]);
    let lost = run(&home, "train --data lost.csv --likelihood gaussian --hidden 4 --latent 1 --device cpu --out lost");
    assert!(lost.code == Some(1) && lost.stderr.contains("vae-gpu: step 0: not finite: "), "{}", lost.stderr);
    assert!(lost.stderr.ends_with("pass --scale standard, or look at the data\n"), "{}", lost.stderr);
}

/// Scaled, the bound of columns of thousands is larger than it is: what counts is the density of the file.
#[test]
fn runs_that_scale_differently_stand_by_the_density_of_the_file() {
    let home = folder("scale-compare");
    let x = table(10);
    write(&home.join("x.npy"), COLS, &x);
    let line = "train --data x.npy --likelihood gaussian --variance shared --hidden 8 --latent 2 --steps 60 --device cpu --quiet";
    for rule in ["none", "minmax", "standard"] {
        run(&home, &format!("{line} --scale {rule} --valid-fraction 0.2 --out {rule}")).succeeded();
    }
    let compared = run(&home, "compare none minmax standard --json").succeeded();
    let rows: Vec<serde_json::Value> =
        compared.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |row: &serde_json::Value, key: &str| row[key].as_f64().unwrap();
    for row in &rows {
        let run = row["runs"][0]["run"].as_str().unwrap();
        let volume = if run == "none" { 0.0 } else { scale_of(&home.join(run)).1.iter().map(|f| f.ln()).sum() };
        near(of(row, "elbo") - of(row, "elbo_in_units_of_file"), volume, "nats");
    }
    let bounds: Vec<f64> = rows.iter().map(|row| of(row, "elbo_in_units_of_file")).collect();
    assert!(bounds.is_sorted_by(|a, b| a >= b), "{bounds:?}");
    let note = "columns are scaled differently: rows stand by the elbo of the file, a density in its units\n";
    assert_eq!(compared.stderr, note);
    let words = run(&home, "compare none minmax standard").succeeded();
    assert!(words.stdout.lines().next().unwrap().contains("of the file"), "{}", words.stdout);
    // By another likelihood the bound is another quantity, and that of the training is not that of a validation.
    run(&home, "train --data x.npy --scale minmax --steps 5 --hidden 4 --latent 2 --device cpu --quiet --out bits")
        .succeeded();
    let other = run(&home, "compare minmax bits").succeeded().stderr;
    assert!(other.contains("rows that differ in valid-fraction or likelihood are not comparable: "), "{other}");
    let same = run(&home, "compare minmax --each").succeeded();
    assert!(same.stderr.is_empty() && !same.stdout.contains("of the file"), "{}", same.stderr);
}

/// Rounded to f32, times in seconds are one number: no scale brings them back.
#[test]
fn a_column_of_times_is_refused() {
    let home = folder("scale-times");
    let rows: String = (0..40).map(|i| format!("{i},{}\n", 1_700_000_000 + 7 * i)).collect();
    std::fs::write(home.join("x.csv"), format!("a,time\n{rows}")).unwrap();
    let train = format!("train --data x.csv --scale standard --steps 3 {SMALL} --out run");
    for precision in ["fp32", "f64"] {
        run(&home, &format!("{train} --precision {precision}")).refused(
            1,
            "column 1 (\"time\", counted from 0) of x.csv: its numbers near 1700000000 differ by hardly more than 128, the step \
             of f32 there; subtract an offset from the column, as its smallest number",
        );
    }
    run(&home, &format!("{train} --skip-columns time")).succeeded();
}

/// By the mean over the examples, of what is observed of each: what eval says of the same data.
#[test]
fn gaps_have_the_units_of_the_file_in_a_table_of_runs() {
    let home = folder("scale-gaps-table");
    let cell = |i: usize, j: usize| match (i * 7 + j * 3) % 5 {
        0 => String::new(),
        _ => ((i * (j + 3)) % 11 * [1, 100][j]).to_string(),
    };
    let rows: String = (0..60).map(|i| format!("{},{}\n", cell(i, 0), cell(i, 1))).collect();
    std::fs::write(home.join("x.csv"), format!("a,b\n{rows}")).unwrap();
    std::fs::write(home.join("valid.csv"), format!("a,b\n{}", rows.lines().take(25).collect::<Vec<_>>().join("\n")))
        .unwrap();
    for (rule, valid, on) in [("standard", "", "x.csv"), ("minmax", "--valid valid.csv", "valid.csv")] {
        let train = "train --data x.csv --missing allow --likelihood gaussian --hidden 5 --latent 2 --steps 5 --device cpu --quiet";
        run(&home, &format!("{train} --scale {rule} {valid} --out {rule}")).succeeded();
        let said = run(&home, &format!("eval {rule} --data {on} --device cpu --json")).json();
        let want = said["iwae"].as_f64().unwrap() - said["iwae_in_units_of_file"].as_f64().unwrap();
        let config: serde_json::Value =
            serde_json::from_slice(&std::fs::read(home.join(rule).join("config.json")).unwrap()).unwrap();
        assert_near(rule, &[config["data"]["log_volume"].as_f64().unwrap()], &[want], 1e-9);
    }
    run(&home, "train --resume standard --steps 8 --device cpu --quiet").succeeded();
    let table = run(&home, "compare standard minmax --json").succeeded().stdout;
    assert!(!table.contains("\"elbo_in_units_of_file\":null"), "{table}");
}

/// Vectors of length 1, as embeddings are: of 64 columns of a variance of 1/64 each.
#[test]
fn embeddings_do_not_collapse_in_silence() {
    let home = folder("scale-embeddings");
    let mut numbers = Numbers::new(7);
    let directions: Vec<f64> = (0..4 * 64).map(|_| numbers.normal()).collect();
    let mut x = vec![];
    for _ in 0..1000 {
        let z = [(); 4].map(|()| 3.0 * numbers.normal());
        let row: Vec<f64> =
            (0..64).map(|j| (0..4).map(|l| z[l] * directions[l * 64 + j]).sum::<f64>() + numbers.normal()).collect();
        let length = row.iter().map(|x| x * x).sum::<f64>().sqrt();
        x.extend(row.iter().map(|x| (x / length) as f32));
    }
    write(&home.join("x.npy"), 64, &x);
    let train = |options: &str, out: &str| {
        let line = format!("train --data x.npy --hidden 32 --latent 4 --epochs 30 {options} --device cpu --out {out}");
        run(&home, &line)
    };
    // Without an option the program advises what works.
    let refused = train("", "no");
    assert!(
        refused.stderr.contains("pass --likelihood gaussian --scale standard, or --scale minmax"),
        "{}",
        refused.stderr
    );
    let hint = "less than sigma² = 1: latents cost more than they tell; --variance shared learns it, and --scale standard brings";
    let asleep =
        "no latent is active: what is decoded does not depend on x; --scale standard, --variance shared or more steps";
    let said = train("--likelihood gaussian", "fixed").succeeded().stderr;
    assert!(said.contains(hint) && said.contains(asleep), "{said}");
    for (i, options) in
        ["--scale standard", "--variance scalar", "--variance shared", "--variance network", "--sigma 0.05"]
            .iter()
            .enumerate()
    {
        let said = train(&format!("--likelihood gaussian {options}"), &format!("run{i}")).succeeded().stderr;
        assert!(!said.contains("latents cost") && !said.contains("no latent is active"), "{options}: {said}");
        let eval = run(&home, &format!("eval run{i} --data x.npy --json --device cpu")).succeeded().stdout;
        let eval: serde_json::Value = serde_json::from_str(&eval).unwrap();
        assert_eq!(eval["active_units"], 4, "{options}: {eval}");
    }
}

/// What would be learned in silence is no more what the file has, or hard to learn.
#[test]
fn what_binarising_would_hide_is_refused_and_what_is_far_from_zero_is_told() {
    let home = folder("scale-far");
    let row = |i: usize| {
        (0..16).map(|j| (10.0 + 2.0 * (0.7 * (i * j) as f64).sin()).to_string()).collect::<Vec<_>>().join(",")
    };
    std::fs::write(home.join("x.csv"), (0..60).map(|i| row(i) + "\n").collect::<String>()).unwrap();
    let train = "train --data x.csv --hidden 4 --latent 2 --epochs 1 --device cpu --out run --force";
    for scale in ["", " --scale standard"] {
        let refused = run(&home, &format!("{train} --likelihood gaussian --binarize threshold{scale}"));
        let why = "must be in [0, 1] to become zeros and ones; leave out --binarize, or divide by what is the most\n";
        assert!(refused.code == Some(1) && refused.stderr.ends_with(why), "{}", refused.stderr);
    }
    let refused = run(&home, &format!("{train} --binarize threshold")).stderr;
    assert!(
        refused.contains("pass --scale minmax; or leave out --binarize, and pass --likelihood gaussian"),
        "{refused}"
    );
    run(&home, &format!("{train} --binarize threshold --scale minmax")).succeeded();
    run(&home, &format!("{train} --likelihood gaussian --binarize threshold --scale minmax")).succeeded();
    run(&home, "eval run --data x.csv --binarize dynamic --device cpu --quiet").succeeded(); // in [0, 1], as it is scaled

    // Nor do the commands that look at a model hide it.
    let later =
        |line: &str| run(&home, &format!("{line} run --data x.csv --to to.npy --binarize dynamic --device cpu"));
    run(&home, &format!("{train} --likelihood gaussian --scale standard --quiet")).succeeded();
    for command in ["eval", "encode", "impute"] {
        later(command).refused(
            2,
            "binarize dynamic: the columns of the model are scaled (scale standard), and not in [0, 1] to become zeros and ones; leave \
             it out",
        );
    }
    run(&home, &format!("{train} --likelihood gaussian --quiet")).succeeded();
    for command in ["eval", "encode", "impute"] {
        let refused = later(command);
        let why = "of x.csv is 10: must be in [0, 1] to become zeros and ones";
        assert!(refused.code == Some(1) && refused.stderr.contains(why), "{command}: {}", refused.stderr);
    }

    let hint = "hard to learn as it is; --scale standard brings every column to 0 and 1";
    let said = |options: &str| run(&home, &format!("{train} --likelihood gaussian {options}")).succeeded().stderr;
    assert!(said("").contains(hint) && said("--hidden none").contains(hint));
    assert!(!said("--scale standard").contains("hard to learn"));
}
