//! `rank`: what was held out of an example is found among what it has not.
use crate::program::{folder, run};
use std::fs;
use std::path::Path;
use vae_gpu::data::{Dataset, Missing, npy};
use vae_gpu::rng::{Stream, uniforms};

const ITEMS: usize = 40;
/// Items of one group, of which a row has `PICKED`.
const GROUP: usize = 20;
const PICKED: usize = 10;

/// Rows with items of one of two groups, any ten of its twenty.
fn write_baskets(path: &Path, rows: usize, seed: u64) {
    let mut values = vec![0f32; rows * ITEMS];
    for (i, row) in values.chunks_mut(ITEMS).enumerate() {
        let mut draws = [0f32; GROUP];
        uniforms(&mut draws, seed, Stream::Sample, 0, i as u32);
        let mut items: Vec<usize> = (0..GROUP).collect();
        items.sort_by(|&a, &b| draws[a].total_cmp(&draws[b]));
        items[..PICKED].iter().for_each(|j| row[GROUP * (i % 2) + j] = 1.0);
    }
    npy::write(&mut fs::File::create(path).unwrap(), rows, ITEMS, &values).unwrap();
}

fn number(json: &serde_json::Value, of: &str, at: u64, what: &str) -> (f64, f64) {
    let measures = json[of].as_array().unwrap().iter().find(|m| m["at"] == at).unwrap();
    (measures[what].as_f64().unwrap(), measures[format!("{what}_error")].as_f64().unwrap())
}

#[test]
fn a_model_that_knows_the_groups_finds_what_was_held_out() {
    let home = folder("rank");
    write_baskets(&home.join("train.npy"), 1000, 1);
    write_baskets(&home.join("new.npy"), 800, 2);
    for likelihood in ["multinomial", "bernoulli", "poisson"] {
        let train = format!(
            "train --data train.npy --likelihood {likelihood} --hidden 32 --latent 2 --batch 50 --epochs 20 --out {likelihood} \
             --device cpu --quiet"
        );
        run(&home, &train).succeeded();
        let json = run(&home, &format!("rank {likelihood} --data new.npy --at 5,12 --json --device cpu")).json();
        assert_eq!((json["examples"].as_u64(), json["left_out"].as_u64()), (Some(800), Some(0)));

        // Two of ten are held out, among the twelve of their group that are not shown; which twelve, the others say.
        let (all, _) = number(&json, "by_model", 12, "recall");
        assert!(all > 0.999, "{likelihood}: recall@12 {all}");
        // Of five of the twelve, two are 5 / 6; places 1 to 5 of Σ 1 / log₂(1 + place) are 2 of 12 each.
        let (five, error) = number(&json, "by_model", 5, "recall");
        assert!((five - 5.0 / 12.0).abs() < 4.0 * error, "{likelihood}: recall@5 {five} ± {error}");
        let gain = |n: u32| (1..=n).map(|place| 1.0 / (1.0 + place as f64).log2()).sum::<f64>();
        let (ndcg, error) = number(&json, "by_model", 5, "ndcg");
        let want = gain(5) * 2.0 / 12.0 / gain(2);
        assert!((ndcg - want).abs() < 4.0 * error, "{likelihood}: ndcg@5 {ndcg} ± {error}, want {want}");

        // Frequency does not know the group: of the 32 that are not shown it takes any twelve, or nearly.
        let (some, error) = number(&json, "by_frequency", 12, "recall");
        assert!((some - 12.0 / 32.0).abs() < 0.1 && error > 0.0, "{likelihood}: by frequency {some} ± {error}");
    }

    let table = run(&home, "rank multinomial --data new.npy --count 100 --device cpu").succeeded().stdout;
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("new.npy: 100 examples, 2.0 columns held out of each on average;"), "{table}");
    let names: Vec<_> = lines[1..].iter().map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(names, ["recall@20", "ndcg@20"], "of 40 columns 50 and 100 say nothing");
    assert!(lines[1].contains(" ± ") && lines[1].contains("by frequency"), "{table}");

    // The seed chooses what is held out, and nothing else does.
    let of = |more: &str| {
        run(&home, &format!("rank multinomial --data new.npy --at 5 --device cpu {more}")).succeeded().stdout
    };
    assert_eq!(of(""), of("--threads 1"));
    assert_ne!(of(""), of("--seed 1"));
    assert_ne!(of(""), of("--hold-out 0.5"));
}

/// Zeros and ones as floats and as text, with gaps, and behind x what the model is told.
#[test]
fn what_is_there_is_the_same_however_it_is_stored() {
    let home = folder("rank-stored");
    write_baskets(&home.join("reals.npy"), 60, 1);
    let how = "--likelihood bernoulli --hidden 8 --latent 2 --batch 20 --epochs 3 --device cpu --quiet";
    run(&home, &format!("train --data reals.npy {how} --out run")).succeeded();
    let of =
        |model: &str, data: &str| run(&home, &format!("rank {model} --data {data} --at 3 --json --device cpu")).json();
    let reals = Dataset::read_columns(&home.join("reals.npy"), None, Missing::Refuse).unwrap().to_rows();
    let text = |cell: &dyn Fn(usize, f32) -> String| {
        let row = |(i, row): (usize, &[f32])| {
            row.iter().enumerate().map(|(j, &x)| cell(i * ITEMS + j, x)).collect::<Vec<_>>().join(",") + "\n"
        };
        reals.chunks(ITEMS).enumerate().map(row).collect::<String>()
    };
    fs::write(home.join("cells.csv"), text(&|_, x| x.to_string())).unwrap();
    assert_eq!(of("run", "reals.npy"), of("run", "cells.csv"));

    // What is missing is not there to be held out.
    fs::write(home.join("gaps.csv"), text(&|at, x| if at % 7 == 3 { String::new() } else { x.to_string() })).unwrap();
    run(&home, &format!("train --data gaps.csv --missing allow {how} --out gaps")).succeeded();
    let gaps = of("gaps", "gaps.csv");
    let there = reals.iter().enumerate().filter(|&(at, &x)| at % 7 != 3 && x != 0.0).count() as f64;
    let held = gaps["held_out_columns"].as_f64().unwrap() * gaps["examples"].as_f64().unwrap();
    assert!((held / there - 0.2).abs() < 0.03, "{held} of {there} held out");

    // Told whether a column of the other group is there.
    run(&home, &format!("train --data reals.npy --condition 0..5 {how} --out told")).succeeded();
    assert_eq!(of("told", "reals.npy")["examples"], 60);
}

#[test]
fn what_has_nothing_to_hold_out_is_refused() {
    let home = folder("rank-refused");
    write_baskets(&home.join("train.npy"), 60, 1);
    for (name, how) in [
        ("gaussian", "--likelihood gaussian"),
        ("scaled", "--scale minmax"),
        ("bits", "--likelihood bernoulli"),
        ("shares", "--likelihood multinomial"),
    ] {
        let small = "--hidden 4 --latent 1 --batch 10 --steps 1 --device cpu --quiet";
        run(&home, &format!("train --data train.npy {how} {small} --out {name}")).succeeded();
    }
    let sentence =
        "takes a model of counts, or of zeros and ones, as they stand in the file; this one is of something else";
    run(&home, "rank gaussian --data train.npy --device cpu").refused(2, &format!("rank gaussian: {sentence}"));
    run(&home, "rank scaled --data train.npy --device cpu").refused(2, &format!("rank scaled: {sentence}"));
    fs::write(home.join("grey.csv"), format!("1,0.3,1{}\n", ",0".repeat(ITEMS - 3)).repeat(3)).unwrap();
    run(&home, "rank bits --data grey.csv --device cpu").refused(
        1,
        "row 0, column 1 (counted from 0) of grey.csv is 0.3: must be 0 or 1, for what is there or is not can be held out and found again",
    );
    run(&home, "rank bits --data train.npy --at 3,40 --device cpu")
        .refused(2, "at 40: the model ranks 40 columns, and at most one fewer can be asked for; pass --at 10");
    fs::write(home.join("bare.csv"), format!("1{}\n", ",0".repeat(ITEMS - 1)).repeat(3)).unwrap();
    run(&home, "rank shares --data bare.csv --device cpu")
        .refused(1, "bare.csv: no example has two columns that are not 0, of which one could be held out");
}

/// The best columns of each example, beside what `encode` and `decode` say of the same.
#[test]
fn the_best_columns_of_an_example_are_written() {
    let home = folder("rank-best");
    write_baskets(&home.join("train.npy"), 1000, 1);
    write_baskets(&home.join("new.npy"), 30, 2);
    let read = |file: &str| Dataset::read_columns(&home.join(file), None, Missing::Refuse).unwrap();
    let new = read("new.npy").to_rows();
    // With names, a column in the middle that the model is told, and one row that has all but three columns.
    let names: Vec<String> = (0..ITEMS).map(|j| format!("item {j}")).collect();
    let text = |rows: &[f32]| {
        let line = |(i, row): (usize, &[f32])| {
            let mut cells: Vec<String> = row.iter().map(f32::to_string).collect();
            cells.insert(7, (i % 2).to_string());
            cells.join(",") + "\n"
        };
        let mut header = names.clone();
        header.insert(7, "group".into());
        header.join(",") + "\n" + &rows.chunks(ITEMS).enumerate().map(line).collect::<String>()
    };
    let mut full = [1.0; ITEMS];
    [3, 20, 39].iter().for_each(|&j| full[j] = 0.0);
    let asked = [&new[..], &full[..]].concat();
    fs::write(home.join("train.csv"), text(&read("train.npy").to_rows())).unwrap();
    fs::write(home.join("new.csv"), text(&asked)).unwrap();
    let how = "--condition group --likelihood bernoulli --hidden 32 --latent 2 --batch 50 --epochs 10 --device cpu";
    run(&home, &format!("train --data train.csv {how} --quiet --out run")).succeeded();
    for to in ["best.csv", "best.npy"] {
        run(&home, &format!("rank run --data new.csv --best 5 --to {to} --device cpu")).succeeded();
    }
    run(&home, "reconstruct run --data new.csv --to means.npy --device cpu").succeeded();

    let (best, means) = (read("best.npy"), read("means.npy").to_rows());
    assert_eq!((best.rows(), best.cols), (31, 5));
    let best = best.to_rows();
    let table = fs::read_to_string(home.join("best.csv")).unwrap();
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!((lines.len(), lines[0]), (32, "1,2,3,4,5"));
    for (i, (row, means)) in asked.chunks(ITEMS).zip(means.chunks(ITEMS)).enumerate() {
        let mut want: Vec<usize> = (0..ITEMS).filter(|&j| row[j] == 0.0).collect();
        want.sort_by(|&a, &b| means[b].total_cmp(&means[a]));
        let got = &best[5 * i..][..5];
        for (place, &j) in got.iter().enumerate() {
            match want.get(place) {
                None => assert_eq!(j, -1.0, "row {i}"),
                Some(&k) => assert_eq!(means[j as usize], means[k], "row {i}, place {place}"),
            }
            let cell = lines[i + 1].split(',').nth(place).unwrap();
            assert_eq!(cell, if j < 0.0 { "" } else { &names[j as usize] }, "row {i}");
        }
        // Ten of its twenty it has; the best of the others are of its group.
        if i < 30 {
            assert!(got.iter().all(|&j| j as usize / GROUP == i % 2), "row {i}: {got:?}");
        }
    }
    run(&home, "rank run --data new.csv --best 40 --to other.csv --device cpu")
        .refused(2, "best 40: the model ranks 40 columns, and at most one fewer can be asked for; pass --best 10");
    run(&home, "rank run --data new.csv --to best.csv --device cpu")
        .refused(2, "to best.csv: exists already; pass another name, or --force to replace it");
}
