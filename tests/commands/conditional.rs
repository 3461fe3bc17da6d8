//! Models that are told something beside x: what the columns become, and the commands as a user runs them.
use crate::numbers::Numbers;
use crate::program::{command, folder, run};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use vae_gpu::data::{Dataset, Values};

fn reals(cols: usize, values: &[f32]) -> Dataset {
    Dataset::new("a table", cols, Values::Reals(values.to_vec()))
}

#[test]
fn classes_become_columns_of_which_one_is_1() {
    let labels = Some(vec![2, 0]);
    let table = Dataset { labels: labels.clone(), ..reals(2, &[1.0, 2.0, 3.0, 4.0]) };
    let got = table.clone().with_classes(3).unwrap();
    assert_eq!((got.cols, got.to_rows()), (5, vec![1.0, 2.0, 0.0, 0.0, 1.0, 3.0, 4.0, 1.0, 0.0, 0.0]));
    let bytes = Dataset { values: Values::Bytes(vec![0, 255, 51, 0]), ..table.clone() };
    assert_eq!(bytes.with_classes(3).unwrap().to_rows(), [0.0, 1.0, 0.0, 0.0, 1.0, 0.2, 0.0, 1.0, 0.0, 0.0]);

    let said = |data: Dataset, classes| data.with_classes(classes).unwrap_err().to_string();
    assert_eq!(said(table.clone(), 2), "a table: example 0 is of class 2; the model knows 0 to 1");
    let short = Dataset { labels: Some(vec![0]), ..table.clone() };
    assert_eq!(said(short, 3), "a table: has 2 examples, but there are 1 labels; give its own");
    let none = Dataset { labels: None, ..table };
    let want = "a table has no labels of its own: pass the file that has them, as --condition labels-idx1-ubyte.gz";
    assert_eq!(said(none, 3), want);
}

#[test]
fn columns_move_behind_those_of_x() {
    let table = reals(4, &[0.0, 1.0, 2.0, 3.0, 10.0, 11.0, 12.0, 13.0]);
    let arranged = |x, condition| table.clone().arranged(x, condition).map(|t| (t.cols, t.to_rows()));
    let rest = arranged(None, 1..3).unwrap();
    assert_eq!(rest, (4, vec![0.0, 3.0, 1.0, 2.0, 10.0, 13.0, 11.0, 12.0]));
    assert_eq!(arranged(Some(3..4), 0..2).unwrap(), (3, vec![3.0, 0.0, 1.0, 13.0, 10.0, 11.0]));
    assert_eq!(table.columns(1..2), [1.0, 11.0]);

    let said = |x, condition| arranged(x, condition).unwrap_err().to_string();
    let range = "must be from..to, with to at most 4 and beyond from; they count from 0";
    assert_eq!(said(None, 2..5), format!("columns 2..5 of a table: {range}"));
    assert_eq!(said(Some(1..1), 2..3), format!("columns 1..1 of a table: {range}"));
    assert_eq!(said(None, 0..4), "columns 0..4 of a table: none are left to be learned");
    let shared = "columns 0..3 and 2..4: one shall be predicted from the other, and they share some";
    assert_eq!(said(Some(0..3), 2..4), shared);
}

fn write_idx(path: &Path, dims: &[u32], bytes: &[u8]) {
    let mut out = vec![0, 0, 8, dims.len() as u8];
    dims.iter().for_each(|n| out.extend(n.to_be_bytes()));
    out.extend(bytes);
    std::fs::write(path, out).unwrap();
}

/// A folder with pictures of 4 × 4 in which one of four corners is bright, by the class; and a model of them.
fn corners() -> &'static Path {
    static HOME: OnceLock<PathBuf> = OnceLock::new();
    HOME.get_or_init(|| {
        let home = folder("conditional");
        let mut numbers = Numbers::new(1);
        for (name, rows) in [("x", 600), ("y", 90)] {
            let (mut pixels, mut labels) = (vec![], vec![]);
            for _ in 0..rows {
                let (label, level) = ((numbers.unit() * 4.0) as usize, 0.4 * numbers.unit());
                for j in 0..16 {
                    let bright = label == j / 4 / 2 * 2 + j % 4 / 2;
                    // How bright is left for z to tell.
                    pixels.push(((if bright { 0.6 + level } else { 0.25 * level }) * 255.0) as u8);
                }
                labels.push(label as u8);
            }
            write_idx(&home.join(format!("{name}.idx")), &[rows, 4, 4], &pixels);
            write_idx(&home.join(format!("{name}-labels.idx")), &[rows], &labels);
        }
        run(
            &home,
            "train --data x.idx --condition x-labels.idx --valid y.idx --valid-condition y-labels.idx --likelihood gaussian --sigma 0.1 --hidden 32 \
                    --latent 2 --epochs 40 --batch 50 --lr 0.005 --out run --device cpu --quiet",
        )
        .succeeded();
        home
    })
}

fn rows(path: &Path) -> Vec<Vec<f32>> {
    let data = Dataset::read(path).unwrap();
    data.to_rows().chunks(data.cols).map(<[f32]>::to_vec).collect()
}

/// The mean of each corner.
fn brightness(picture: &[f32]) -> [f32; 4] {
    let mut sums = [0.0; 4];
    picture.iter().enumerate().for_each(|(j, x)| sums[j / 4 / 2 * 2 + j % 4 / 2] += x / 4.0);
    sums
}

fn brightest(picture: &[f32]) -> usize {
    let corners = brightness(picture);
    (0..4).max_by(|&a, &b| corners[a].total_cmp(&corners[b])).unwrap()
}

fn correlation(pairs: &[(f64, f64)]) -> f64 {
    let n = pairs.len() as f64;
    let mean = pairs.iter().fold((0.0, 0.0), |m, p| (m.0 + p.0 / n, m.1 + p.1 / n));
    let sum = |f: &dyn Fn(f64, f64) -> f64| pairs.iter().map(|p| f(p.0 - mean.0, p.1 - mean.1)).sum::<f64>();
    sum(&|a, b| a * b) / (sum(&|a, _| a * a) * sum(&|_, b| b * b)).sqrt()
}

#[test]
fn a_sample_is_of_the_class_that_was_asked_for() {
    for (ask, want) in
        [("--condition 2", vec![2; 40]), ("--condition 3,0", [3, 0].repeat(20)), ("", [0, 1, 2, 3].repeat(10))]
    {
        run(corners(), &format!("sample run {ask} --count 40 --to s.npy --force --device cpu")).succeeded();
        let got: Vec<usize> = rows(&corners().join("s.npy")).iter().map(|s| brightest(s)).collect();
        assert_eq!(got, want, "{ask}");
    }
}

/// The class is told, so z need not hold it; with another class, the same z is a picture of that one.
#[test]
fn the_class_decides_and_z_holds_the_rest() {
    let home = corners();
    run(home, "encode run --data y.idx --condition y-labels.idx --to z.npy --device cpu").succeeded();
    run(home, "decode run --data z.npy --condition 1 --to as-1.npy --device cpu").succeeded();
    run(home, "reconstruct run --data y.idx --condition y-labels.idx --to r.npy --device cpu").succeeded();
    let labels = Dataset::read_labels(&home.join("y-labels.idx")).unwrap();
    let (as_one, own) = (rows(&home.join("as-1.npy")), rows(&home.join("r.npy")));
    let mut levels = vec![];
    for ((other, own), label) in as_one.iter().zip(&own).zip(labels) {
        assert_eq!((brightest(other), brightest(own)), (1, label as usize));
        levels.push((brightness(other)[1] as f64, brightness(own)[label as usize] as f64));
    }
    // How bright it is comes from z.
    let correlation = correlation(&levels);
    assert!(correlation > 0.8, "of the brightness as class 1 with that as its own: {correlation}");
    run(home, "interpolate run --data y.idx --condition y-labels.idx --to i.png --device cpu").succeeded();
    run(home, "traverse run --data y.idx --condition y-labels.idx --to t.png --device cpu").succeeded();
    run(home, "manifold run --condition 3 --side 5 --to m.npy --device cpu").succeeded();
    assert!(rows(&home.join("m.npy")).iter().all(|picture| brightest(picture) == 3));
    run(home, "sample run --near y.idx --condition y-labels.idx --count 2 --to n.png --device cpu").succeeded();
}

#[test]
fn a_conditional_run_that_was_cut_ends_in_the_bytes_of_one_that_was_not() {
    let home = corners();
    let train = "train --data x.idx --condition x-labels.idx --valid-fraction 0.2 --binarize dynamic --hidden 8 --samples 2 \
                 --objective iwae --batch 20 --steps 6000 --save-every 50 --quiet --device cpu --out";
    run(home, &format!("{train} whole")).succeeded();
    let line = format!("{train} cut --threads 1");
    let mut child = command(home, &line.split_whitespace().collect::<Vec<_>>()).spawn().unwrap();
    while !home.join("cut/checkpoint.safetensors").exists() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let read = |name: &str| std::fs::read(home.join(name)).unwrap();
    assert_ne!(read("whole/model.safetensors").len(), 0);
    run(home, "train --resume cut --device cpu --quiet").succeeded();
    assert_eq!(read("whole/model.safetensors"), read("cut/model.safetensors"));
}

/// A message tells where a column stands in the file, wherever the model has it.
#[test]
fn a_column_behind_a_condition_is_told_by_its_place_in_the_file() {
    let home = folder("told-places");
    let row = |i: usize| (0..6).map(move |j| if (i, j) == (3, 4) { "-2".into() } else { ((i + j) % 5).to_string() });
    let table: String = (0..30).map(|i| row(i).collect::<Vec<String>>().join(",") + "\n").collect();
    std::fs::write(home.join("bare.csv"), &table).unwrap();
    std::fs::write(home.join("named.csv"), format!("a,b,c,d,e,f\n{table}")).unwrap();
    for (data, told) in [("bare", "column 4 (counted from 0)"), ("named", "column 4 (\"e\", counted from 0)")] {
        for options in ["", "--condition 0..2", "--past 0..1 --future 3..6", "--columns 2..6 --condition 2..3"] {
            let line = format!("train --data {data}.csv --likelihood poisson {options} --device cpu --out no");
            let said = run(&home, &line).stderr;
            assert!(said.contains(&format!("{told} of {data}.csv is -2")), "{options}: {said}");
        }
    }
}

/// y = A past + b + noise: a linear model without hidden layers can be exact, and then its elbo is the negative entropy
/// of the noise, and the mean of its futures the regression.
#[test]
fn a_forecast_of_a_linear_table_is_its_regression() {
    let home = folder("forecast");
    let (mut table, mut truths) = (String::from("a,unused,b,c,d\n"), vec![]);
    let mut numbers = Numbers::new(2);
    let noise = 0.3;
    for _ in 0..4000 {
        let [a, b, e, f, unused] = [(); 5].map(|()| numbers.normal());
        let mean = [0.8 * a - 0.5 * b + 0.2, 0.6 * b - 0.1];
        writeln!(table, "{a},{unused},{b},{},{}", mean[0] + noise * e, mean[1] + noise * f).unwrap();
        truths.push(mean);
    }
    std::fs::write(home.join("t.csv"), table).unwrap();
    run(
        &home,
        "train --data t.csv --past 0..3 --future 3..5 --hidden none --latent 1 --likelihood gaussian --variance \
                shared --batch 100 --epochs 60 --lr 0.01 --lr-schedule cosine --out run --device cpu --quiet",
    )
    .succeeded();
    let eval = run(&home, "eval run --data t.csv --json --device cpu").succeeded();
    let eval: serde_json::Value = serde_json::from_str(&eval.stdout).unwrap();
    let (elbo, error) = (eval["elbo"].as_f64().unwrap(), eval["elbo_error"].as_f64().unwrap());
    let entropy = (std::f64::consts::TAU * noise * noise).ln() + 1.0; // of two columns: log 2πe σ²
    // Four standard errors of 4,000 examples, and 0.02 nat that the training may leave.
    assert!((elbo + entropy).abs() < 4.0 * error + 0.02, "elbo {elbo} ± {error}, at best {}", -entropy);

    run(&home, "forecast run --data t.csv --draws 4 --count 500 --to f.npy --device cpu").succeeded();
    let futures = rows(&home.join("f.npy"));
    assert_eq!(futures.len(), 2000);
    let mut off = 0.0f64;
    for (drawn, truth) in futures.chunks(4).zip(&truths) {
        for k in 0..2 {
            let mean = drawn.iter().map(|f| f[k] as f64).sum::<f64>() / 4.0;
            off = off.max((mean - truth[k]).abs());
        }
    }
    assert!(off < 0.15, "a forecast is off by {off}, half of the noise's {noise}");
    // Drawn with its variance, a future has the noise.
    run(&home, "forecast run --data t.csv --draws 4 --count 500 --draw --to d.npy --device cpu").succeeded();
    let squares: Vec<f64> = rows(&home.join("d.npy"))
        .chunks(4)
        .zip(&truths)
        .flat_map(|(drawn, truth)| drawn.iter().map(|f| (f[0] as f64 - truth[0]).powi(2)).collect::<Vec<_>>())
        .collect();
    let variance = squares.iter().sum::<f64>() / squares.len() as f64;
    // 2,000 squares of normals: their mean is known to √(2 / 2000) = 3 %; four times that, and what training left.
    assert!((variance / (noise * noise) - 1.0).abs() < 0.2, "variance {variance}, want {}", noise * noise);
    run(&home, "forecast run --data t.csv --to f.png --device cpu").succeeded();
    // Quantiles of what will be seen: of the draws that --draw gives, and of the data as many lie below as they say.
    let quantiles = "forecast run --data t.csv --quantiles 0.1,0.5,0.9 --count 1000 --device cpu";
    run(&home, &format!("{quantiles} --to q.npy")).succeeded();
    let (below, seen) = (rows(&home.join("q.npy")), rows(&home.join("t.csv")));
    assert_eq!((below.len(), below[0].len()), (1000, 6));
    run(&home, "forecast run --data t.csv --draw --draws 200 --count 1000 --to d.npy --force --device cpu").succeeded();
    let mut first: Vec<f32> = rows(&home.join("d.npy"))[..200].iter().map(|row| row[1]).collect();
    first.sort_by(f32::total_cmp);
    assert_eq!(below[0][4], (first[99] + first[100]) / 2.0, "the median of the second column");
    for (j, q) in [0.1, 0.5, 0.9].into_iter().enumerate() {
        for column in 0..2 {
            let part = below.iter().zip(&seen).filter(|(below, seen)| seen[3 + column] < below[3 * column + j]).count();
            // Of 1,000 examples four standard errors, and what 200 draws and the training leave.
            let error = 4.0 * (q * (1.0 - q) / 1000.0f64).sqrt() + 0.015;
            assert!((part as f64 / 1000.0 - q).abs() < error, "{part} of 1000 lie below {q}");
        }
    }
    run(&home, &format!("{quantiles} --to q.csv --keep a")).succeeded();
    let text = std::fs::read_to_string(home.join("q.csv")).unwrap();
    assert!(text.starts_with("a,c 0.1,c 0.5,c 0.9,d 0.1,d 0.5,d 0.9\n") && text.lines().count() == 1001, "{text:.200}");
    // The future need not be known: the past alone, in whatever order of columns, or gaps.
    let text = std::fs::read_to_string(home.join("t.csv")).unwrap();
    let by =
        |cells: fn(&[&str]) -> String| text.lines().map(|l| cells(&l.split(',').collect::<Vec<_>>()) + "\n").collect();
    let ways: [(&str, String); 3] = [
        ("past.csv", by(|c| c[..3].join(","))),
        ("turned.csv", by(|c| [c[2], c[1], c[0]].join(","))),
        ("gaps.csv", by(|c| if c[3] == "c" { c.join(",") } else { format!("{},,", c[..3].join(",")) })),
    ];
    for (name, text) in ways {
        std::fs::write(home.join(name), text).unwrap();
        run(&home, &format!("forecast run --data {name} --draws 4 --count 500 --to p.npy --force --device cpu"))
            .succeeded();
        assert!(std::fs::read(home.join("p.npy")).unwrap() == std::fs::read(home.join("f.npy")).unwrap(), "{name}");
    }
    run(&home, "forecast run --data past.csv --to p.png --device cpu").succeeded();
    // With more beside it, which may be kept.
    let day = |(i, l): (usize, &str)| format!("{i},{}\n", l.split(',').take(3).collect::<Vec<_>>().join(","));
    std::fs::write(
        home.join("days.csv"),
        text.lines().enumerate().map(day).collect::<String>().replacen("0,", "day,", 1),
    )
    .unwrap();
    run(&home, "forecast run --data days.csv --draws 4 --count 500 --to p.npy --force --device cpu").succeeded();
    assert!(std::fs::read(home.join("p.npy")).unwrap() == std::fs::read(home.join("f.npy")).unwrap());
    run(&home, "forecast run --data days.csv --keep day --count 3 --to p.csv --device cpu").succeeded();
    assert!(std::fs::read_to_string(home.join("p.csv")).unwrap().starts_with("day,"));
    std::fs::write(home.join("none.csv"), "a,unused,b\n1,,3\n").unwrap();
    let unknown = "row 0, column 1 (\"unused\", counted from 0) of none.csv is NaN: a condition must be known; leave the \
                   example out";
    run(&home, "forecast run --data none.csv --to n.npy --device cpu").refused(1, unknown);
    // A condition from a file: of its columns alone, or of whole examples.
    let table = std::fs::read_to_string(home.join("t.csv")).unwrap();
    let past: Vec<String> = table.lines().map(|l| l.split(',').take(3).collect::<Vec<_>>().join(",") + "\n").collect();
    std::fs::write(home.join("past.csv"), past.concat()).unwrap();
    for (condition, to) in [("t.csv", "whole.npy"), ("past.csv", "alone.npy")] {
        run(&home, &format!("sample run --condition {condition} --count 5 --to {to} --device cpu")).succeeded();
    }
    assert_eq!(rows(&home.join("whole.npy")), rows(&home.join("alone.npy")));
}

/// What each draw was told stands in front of it as it does in the file, not as it comes back from where the model has it.
#[test]
fn draws_stand_behind_the_cells_that_they_were_told() {
    let home = folder("told-cells");
    let cells = |i: usize| format!("{},{}", (i * i % 7 < 2) as u8, 18 + i * 37 % 72);
    let row = |i: usize| format!("{},{}\n", cells(i), (0.3 * i as f64).sin());
    let text: String = (0..200).map(row).collect();
    std::fs::write(home.join("x.csv"), format!("flag,age,y\n{text}")).unwrap();
    let train = "train --data x.csv --likelihood gaussian --scale standard --condition flag,age --hidden 4 --latent 1 --epochs 1";
    let said = run(&home, &format!("{train} --device cpu --out run")).succeeded().stderr;
    assert!(said.contains("; y from flag, age; model 1+2-4-1+2-4-1;"), "{said}");
    let drawn = run(&home, "sample run --condition x.csv --to - --device cpu").succeeded().stdout;
    let lines: Vec<&str> = drawn.lines().collect();
    assert_eq!((lines[0], lines.len()), ("flag,age,y", 201));
    for (i, line) in lines[1..].iter().enumerate() {
        assert_eq!(line.rsplit_once(',').unwrap().0, cells(i), "row {i}");
    }
    // In every csv of what a model makes of z, behind what else says what a row is.
    let table = |line: &str| {
        let said = run(&home, &format!("{line} --to - --device cpu")).succeeded().stdout;
        said.lines().map(|line| line.rsplit_once(',').unwrap().0.to_string()).collect::<Vec<_>>()
    };
    let near = table("sample run --near x.csv --per-example 2");
    assert_eq!((near[0].as_str(), near.len()), ("flag,age", 401));
    assert!((0..400).all(|i| near[1 + i] == cells(i / 2)), "each example's twice");
    std::fs::write(home.join("z.csv"), "id,mu0\na,0.5\nb,-1\n").unwrap();
    assert_eq!(table("decode run --data z.csv --condition flag=1,age=40"), ["id,flag,age", "a,1,40", "b,1,40"]);
    let around = table("traverse run --data x.csv --around 3 --steps 3");
    assert!(around[0] == "latent,z,flag,age" && around.len() == 4);
    assert!(around[1..].iter().all(|line| line.ends_with(&format!(",{}", cells(3)))), "{around:?}");
    let asked = table("traverse run --data x.csv --steps 2 --condition age=33,flag=1");
    assert_eq!(asked, ["latent,z,flag,age", "0,-3,1,33", "0,3,1,33"]);
    let forecast = table("forecast run --data x.csv --draws 3 --count 2");
    assert_eq!(forecast, ["example,draw", "0,0", "0,1", "0,2", "1,0", "1,1", "1,2"]);
    assert_eq!(
        table("forecast run --data x.csv --draws 2 --count 1 --keep age"),
        ["age,example,draw", "18,0,0", "18,0,1"]
    );
    run(&home, &format!("{} --device cpu --out plane", train.replace("--latent 1", "--latent 2"))).succeeded();
    let plane = table("manifold plane --side 2 --condition flag=0,age=30");
    assert!(plane[0] == "z0,z1,flag,age" && plane[1..].iter().all(|line| line.ends_with(",0,30")), "{plane:?}");

    let past = "train --data x.csv --likelihood gaussian --scale standard --past 0..2 --future 2..3 --hidden 4 --latent 1 --epochs 1";
    let said = run(&home, &format!("{past} --device cpu --out past")).succeeded().stderr;
    assert!(said.contains("; y from flag, age; model"), "{said}");
    // A name that is a number, where there is no such position.
    std::fs::write(home.join("years.csv"), format!("2019,2020,2021\n{text}")).unwrap();
    let years = "train --data years.csv --columns 2019,2021 --likelihood gaussian --scale standard --hidden 4 --latent 1 --epochs 1";
    run(&home, &format!("{years} --device cpu --out years")).succeeded();
    assert!(run(&home, "sample years --count 1 --to - --device cpu").succeeded().stdout.starts_with("2019,2021\n"));
}
