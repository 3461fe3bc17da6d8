//! `train --start`: a new run that begins with the weights of another.
use crate::browser;
use crate::program::{folder, run, write_idx, write_labels};
use crate::runs::{assert_same_run, bytes, lines, tensors};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use vae_gpu::Vae;
use vae_gpu::checkpoint::Saved;
use vae_gpu::data::{Dataset, Missing};
use vae_gpu::metrics::Split;

/// A step that moves nothing: to the bit the weights stay.
const STILL: &str = "--lr 1e-30 --steps 1 --device cpu --quiet";

fn config(run: &Path) -> Value {
    serde_json::from_slice(&bytes(run, "config.json")).unwrap()
}

/// The command line on the page of a run makes it again, to the byte.
fn typed_is(home: &Path, name: &str) {
    let page = browser::data(&browser::page(&home.join(name).join("report.html")));
    let line = page["command"].as_str().unwrap().strip_prefix("vae-gpu ").unwrap().to_string();
    run(home, &format!("{line} --out typed --device cpu --quiet")).succeeded();
    assert_same_run(&home.join(name), &home.join("typed"), &line);
}

/// A table of words, zeros and ones, counts and numbers of several sizes, with gaps; `shift` moves its numbers.
fn table(path: &Path, rows: usize, shift: f64, header: &[&str]) {
    let cell = |i: usize, column: &&str| match *column {
        "ward" => ["east", "north", "west"][i * i % 5 % 3].to_string(),
        "ill" => (i % 3 / 2).to_string(),
        "visits" => (i * 7 % 11).to_string(),
        "height" if i % 9 == 4 => String::new(),
        "height" => (170.0 + shift + (i as f64 * 1.3).sin() * 9.0).to_string(),
        "age" => (40.0 + shift + (i as f64 * 0.7).cos() * 20.0).to_string(),
        "note" => format!("n{i}"),
        other => panic!("{other}"),
    };
    let line = |i: usize| header.iter().map(|column| cell(i, column)).collect::<Vec<_>>().join(",") + "\n";
    fs::write(path, header.join(",") + "\n" + &(0..rows).map(line).collect::<String>()).unwrap();
}

const COLUMNS: [&str; 5] = ["ward", "ill", "visits", "height", "age"];
/// Every kind of column, and of parameter that is none of a layer.
const MIXED: &str = "--likelihood gaussian --variance shared --scale standard --missing allow --categorical ward --bernoulli ill \
                     --negative-binomial visits --hidden 6 --latent 2 --batch 8 --device cpu --quiet";

#[test]
fn the_weights_are_those_of_the_model() {
    let home = folder("start-weights");
    table(&home.join("t.csv"), 60, 0.0, &COLUMNS);
    run(&home, &format!("train --data t.csv --valid-fraction 0.2 {MIXED} --epochs 3 --out a")).succeeded();
    // Data and what is held out are the same, where none are named.
    run(&home, &format!("train --start a {STILL} --out still")).succeeded();
    assert_eq!(tensors(&home.join("still")), tensors(&home.join("a")));
    let (a, still) = (config(&home.join("a")), config(&home.join("still")));
    for what in ["hidden", "latent", "others", "missing", "likelihood", "variance"] {
        assert_eq!(still[what], a[what], "{what}");
    }
    assert_eq!(still["data"], a["data"]);
    assert_eq!(still["training"]["init"], a["training"]["init"]);
    // It is judged before it is trained: as it was when it was kept.
    let (of_a, of_still) = (lines(&home.join("a")), lines(&home.join("still")));
    let best = of_a.iter().rfind(|r| r.split == Split::Valid).unwrap();
    let first = &of_still[0];
    assert_eq!((first.step, first.epoch, first.split), (0, 0.0, Split::Valid));
    assert_eq!((first.elbo, first.nll, first.kl), (best.elbo, best.nll, best.kl));
    // And without the run: its model is all that it takes, here with other data.
    fs::copy(home.join("a/model.safetensors"), home.join("alone.safetensors")).unwrap();
    run(&home, &format!("train --start alone.safetensors --data t.csv {STILL} --out alone")).succeeded();
    assert_eq!(tensors(&home.join("alone")), tensors(&home.join("a")));
}

#[test]
fn other_data_are_read_as_the_model_reads_them() {
    let home = folder("start-other");
    table(&home.join("t.csv"), 60, 0.0, &COLUMNS);
    table(&home.join("new.csv"), 40, 25.0, &["age", "note", "visits", "ward", "height", "ill"]);
    run(&home, &format!("train --data t.csv {MIXED} --epochs 2 --out a")).succeeded();
    run(&home, &format!("train --start a --data new.csv --valid new.csv {STILL} --out b")).succeeded();
    let (a, b) = (config(&home.join("a"))["data"].clone(), config(&home.join("b"))["data"].clone());
    assert_eq!((&b["scale"], &b["columns"]), (&a["scale"], &a["columns"]));
    assert_eq!((b["rows"].as_u64(), b["train"].as_str()), (Some(40), Some("new.csv")));
    let first = &lines(&home.join("b"))[0];
    let eval = run(&home, "eval a --data new.csv --json --device cpu --quiet").json();
    for (got, name) in [(first.elbo, "elbo"), (first.nll, "nll"), (first.kl, "kl")] {
        let want = eval[name].as_f64().unwrap();
        assert!((got - want).abs() < 1e-5 * want.abs(), "{name}: got {got}, want {want}"); // sums in another order, in f32
    }
    // What comes of it is in the units of those data, by the names of the columns.
    run(
        &home,
        "train --start a --data new.csv --valid-fraction 0.2 --lr 0.01 --epochs 60 --out c --device cpu --quiet",
    )
    .succeeded();
    run(&home, "sample c --count 200 --draw --to drawn.csv --device cpu --quiet").succeeded();
    let drawn = fs::read_to_string(home.join("drawn.csv")).unwrap();
    let (head, rows) = drawn.split_once('\n').unwrap();
    let at = head.split(',').position(|name| name == "age").unwrap();
    let ages: Vec<f64> = rows.lines().map(|row| row.split(',').nth(at).unwrap().parse().unwrap()).collect();
    let mean = ages.iter().sum::<f64>() / ages.len() as f64;
    assert!((mean - 65.0).abs() < 6.0, "they were 40 ± 14 and are 65 ± 14; drawn: {mean}"); // 14/√200 = 1, and the fit
    // Beside a run of the same data by a scale of its own: the numbers that both saw are others, the data are not.
    run(&home, &format!("train --data new.csv --skip-columns note --valid-fraction 0.2 {MIXED} --epochs 1 --out own"))
        .succeeded();
    run(&home, "train --config own/run.toml --start own --epochs 1 --out on --device cpu --quiet").succeeded();
    let said = run(&home, "compare own on c").succeeded().stderr;
    assert!(!said.contains("under the same name"), "{said}");
    let lost = run(&home, "train --start a --data new.csv --skip-columns note --device cpu");
    assert!(lost.code == Some(2) && lost.stderr.contains("cannot be used with '--skip-columns"), "{}", lost.stderr);
}

#[test]
fn a_model_that_is_not_bettered_is_kept() {
    let home = folder("start-kept");
    write_idx(&home.join("x.idx"), 80, 4);
    let train = "--hidden 8 --latent 2 --batch 10 --device cpu --quiet";
    run(&home, &format!("train --data x.idx --valid x.idx {train} --epochs 20 --out a")).succeeded();
    let worse = run(&home, "train --start a --lr 0.5 --epochs 3 --device cpu --out worse").succeeded();
    assert!(worse.stderr.contains("; kept epoch 0: valid elbo"), "{}", worse.stderr);
    assert_eq!(tensors(&home.join("worse")), tensors(&home.join("a")));
    // Also where the KL warms up, before which no other validation chooses; and one that is not finite is of no epoch.
    run(&home, "train --start a --lr 0.5 --epochs 3 --kl-warmup 10 --device cpu --quiet --out warm").succeeded();
    assert_eq!(tensors(&home.join("warm")), tensors(&home.join("a")));
    // What it begins with is not replaced by it, named or not.
    let why = "holds the model that --start names; pass another --out";
    for out in ["a", "a/../a"] {
        run(&home, &format!("train --start a --out {out} --force --device cpu"))
            .refused(2, &format!("out {out}: {why}"));
    }
    fs::create_dir_all(home.join("runs")).unwrap();
    run(&home, &format!("train --data x.idx {train} --epochs 1")).succeeded();
    run(&home, "train --start runs/x --epochs 1 --force --device cpu --quiet").succeeded();
    assert!(home.join("runs/x-2/model.safetensors").exists());
    let inside = run(&home.join("a"), "train --start model.safetensors --data ../x.idx --out . --force --device cpu");
    assert!(
        inside.code == Some(2) && inside.stderr.contains("holds the model that --start names"),
        "{}",
        inside.stderr
    );
    // The loss that is trained decides, and it is another one here.
    let other =
        run(&home, "train --start a --beta 20 --epochs 30 --batch 10 --device cpu --out other --json").succeeded();
    let other: Value = serde_json::from_str(other.stdout.lines().last().unwrap()).unwrap();
    assert!(other["best"]["epoch"].as_u64() > Some(0) && other["best"]["loss"].is_f64(), "{other}");
    assert_ne!(tensors(&home.join("other")), tensors(&home.join("a")));
    let kl = |name: &str| lines(&home.join(name)).iter().rfind(|r| r.split == Split::Valid).unwrap().kl;
    assert!(kl("other") < kl("a"), "{} {}", kl("other"), kl("a"));
}

#[test]
fn what_repeats_it_and_what_goes_on_gives_the_same_bytes() {
    let home = folder("start-same");
    write_idx(&home.join("x.idx"), 60, 4);
    let first = "train --data x.idx --valid-fraction 0.2 --hidden 8 --latent 2 --batch 10 --epochs 3 --device cpu --quiet --out a";
    run(&home, first).succeeded();
    let on = "--objective iwae --samples 3 --batch 7 --lr 0.002 --device cpu --quiet";
    run(&home, &format!("train --start a {on} --steps 23 --out whole")).succeeded();
    run(&home, "train --config whole/run.toml --out again --device cpu --quiet").succeeded();
    assert_same_run(&home.join("whole"), &home.join("again"), "by run.toml");
    // The page has a command line for it.
    typed_is(&home, "whole");
    // The options of the other run, but for what both have of the model.
    run(&home, &format!("train --config a/run.toml --start a {on} --steps 23 --out all")).succeeded();
    assert_same_run(&home.join("whole"), &home.join("all"), "with the options of the other");
    // Cut, and gone on with: what it began with is not needed any more.
    run(&home, &format!("train --start a {on} --steps 9 --out cut")).succeeded();
    fs::rename(home.join("a"), home.join("gone")).unwrap();
    run(&home, "train --resume cut --steps 23 --device cpu --quiet").succeeded();
    let [whole, cut] = ["whole", "cut"].map(|name| tensors(&home.join(name)));
    assert_eq!(whole, cut);
    // Of a validation that is due at step 9 alone there is a line more.
    let at = |name: &str| lines(&home.join(name)).last().cloned().unwrap();
    assert_eq!(at("whole"), at("cut"));
    run(&home, "train --config whole/run.toml --out other --device cpu")
        .refused(1, "a: there is no such file; give a run directory or its model");
    // What is in the file of a run that begins with a model cannot be displaced by what a model is made of.
    let made = run(&home, "train --config whole/run.toml --hidden 3 --out other --device cpu");
    assert!(
        made.code == Some(2) && made.stderr.contains("'--start <MODEL>' cannot be used with '--hidden"),
        "{}",
        made.stderr
    );
}

#[test]
fn what_the_model_is_told_is_told_of_other_data() {
    let home = folder("start-told");
    write_idx(&home.join("x.idx"), 60, 4);
    write_idx(&home.join("y.idx"), 45, 4);
    write_labels(&home.join("lx.idx"), &(0..60).map(|i| i % 3).collect::<Vec<u8>>());
    write_labels(&home.join("ly.idx"), &(0..45).map(|i| i % 2).collect::<Vec<u8>>());
    write_labels(&home.join("more.idx"), &(0..45).map(|i| i % 5).collect::<Vec<u8>>());
    let small = "--hidden 8 --latent 2 --batch 10 --device cpu --quiet";
    run(&home, &format!("train --data x.idx --condition lx.idx {small} --epochs 2 --out a")).succeeded();
    run(&home, &format!("train --start a {STILL} --out same")).succeeded();
    run(&home, &format!("train --start a --data y.idx --condition ly.idx {STILL} --out b")).succeeded();
    for name in ["same", "b"] {
        assert_eq!(tensors(&home.join(name)), tensors(&home.join("a")), "{name}");
        assert_eq!(config(&home.join(name))["data"]["condition"]["classes"]["classes"], 3, "{name}");
    }
    run(&home, "train --start a --data y.idx --condition more.idx --out c --device cpu")
        .refused(1, "more.idx: row 3 is of class 3; the model knows 0 to 2");
    run(&home, "train --start a --data y.idx --out c --device cpu")
        .refused(2, "y.idx has no labels of its own: pass the file that has them, as --condition labels-idx1-ubyte.gz");
    // What else is validated on has labels of its own: those of what was validated on before are none of it.
    let with_valid = "train --data x.idx --condition lx.idx --valid x.idx --valid-condition lx.idx";
    run(&home, &format!("{with_valid} {small} --epochs 1 --out v")).succeeded();
    let no_labels = "valid-condition: not given, and --valid has no labels of its own; pass --valid-condition FILE";
    run(&home, "train --start v --valid y.idx --device cpu --out w").refused(2, no_labels);
    let given = run(&home, &format!("train --start v --valid y.idx --valid-condition ly.idx {STILL} --out w"));
    given.succeeded();
    let eval = run(&home, "eval v --data y.idx --condition ly.idx --json --device cpu --quiet").json();
    let want = eval["elbo"].as_f64().unwrap();
    assert!((lines(&home.join("w"))[0].elbo - want).abs() < 1e-5 * want.abs(), "{want}"); // in f32
    run(&home, &format!("train --start v --valid-fraction 0.2 {STILL} --out part")).succeeded();
    assert_eq!(config(&home.join("part"))["data"]["condition"]["classes"]["valid"], Value::Null);
    run(&home, "train --config a/run.toml --start a --epochs 3 --out with-options --device cpu --quiet").succeeded();
    // Columns of a table are found by their names.
    table(&home.join("t.csv"), 60, 0.0, &["age", "visits", "ward"]);
    table(&home.join("u.csv"), 30, 3.0, &["ward", "visits", "age"]);
    let told = "--data t.csv --condition age,ward --categorical ward --likelihood poisson";
    run(&home, &format!("train {told} --hidden 5 --latent 1 --batch 8 --epochs 2 --out told --device cpu --quiet"))
        .succeeded();
    run(&home, &format!("train --start told --data u.csv {STILL} --out of-u")).succeeded();
    assert_eq!(tensors(&home.join("of-u")), tensors(&home.join("told")));
    typed_is(&home, "of-u");
    // Where its data are now can be said, wherever their columns stand.
    fs::rename(home.join("u.csv"), home.join("moved.csv")).unwrap();
    run(&home, "train --resume of-u --data moved.csv --steps 3 --device cpu --quiet").succeeded();
    // With the file of the other run's options too, which names them.
    run(&home, "train --config told/run.toml --start told --epochs 3 --out on --device cpu --quiet").succeeded();
    run(&home, "train --start told --condition age --device cpu")
        .refused(2, "condition age: the model of --start is told columns, and stays so; leave it out");
}

/// What a model is made of, and how it reads data, is that model's: an option of it that `--start` took would be ignored.
#[test]
fn what_a_model_is_made_of_is_not_said_again() {
    let home = folder("start-kept-options");
    write_idx(&home.join("x.idx"), 40, 4);
    run(&home, "train --data x.idx --hidden 5 --latent 2 --steps 2 --device cpu --quiet --out a").succeeded();
    let help = run(&home, "train --help").succeeded().stdout;
    let (of_model, rest) = help.split_once("\nModel:\n").unwrap().1.split_once("\nTraining:\n").unwrap();
    let names = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| line.starts_with("      --"));
        lines.map(|line| line.trim().trim_start_matches("--").split_whitespace().next().unwrap().to_string()).collect()
    };
    assert!(names(of_model).len() > 15 && names(rest).len() > 15, "{help}");
    for option in names(of_model) {
        let value = match option.as_str() {
            "activation" => "tanh",
            "likelihood" => "gaussian",
            "variance" | "dispersion" => "scalar",
            "mean" => "sigmoid",
            "size-factor" => "total",
            "init" => "torch",
            "init-output-bias" => "data",
            _ => "3",
        };
        let said = run(&home, &format!("train --start a --{option} {value} --device cpu --out b")).stderr;
        assert!(said.starts_with("error: the argument '--start <MODEL>' cannot be used with "), "--{option}: {said}");
    }
}

#[test]
fn a_sweep_begins_with_one_model_or_each_with_its_own() {
    let home = folder("start-sweep");
    write_idx(&home.join("x.idx"), 60, 4);
    for (name, seed) in [("a", 1), ("b", 2)] {
        let train =
            format!("train --data x.idx --seed {seed} --hidden 8 --latent 2 --batch 10 --epochs 3 --out {name}");
        run(&home, &format!("{train} --device cpu --quiet")).succeeded();
    }
    let sweep =
        "sweep --grid start=a;b --grid beta=0.5,2 --epochs 2 --batch 10 --out s --device cpu --quiet --threads 1";
    let table = run(&home, sweep).succeeded().stdout;
    assert!(table.lines().next().unwrap().contains("start") && table.lines().count() == 5, "{table}");
    run(&home, "train --start b --beta 2 --epochs 2 --batch 10 --out one --device cpu --quiet").succeeded();
    let in_sweep = fs::read_dir(home.join("s")).unwrap().map(|entry| entry.unwrap().path());
    let same = in_sweep.filter(|run| run.is_dir() && tensors(run) == tensors(&home.join("one"))).count();
    assert_eq!(same, 1, "the run that train makes is one of the sweep");
    run(&home, "sweep --start a --grid beta=1 --epochs 1 --out s2 --device cpu --quiet").succeeded();
    run(&home, "sweep --start s2/beta=1,seed=0 --grid beta=1 --out s2 --force --device cpu")
        .refused(2, "out s2/beta=1,seed=0: holds the model that --start names; pass another --out");
    // The command given again has nothing to do, unless the model is another by now.
    let files = |name: &str| fs::read(home.join("s").join(name)).unwrap();
    let before = files("sweep.csv");
    run(&home, sweep).succeeded();
    assert_eq!(files("sweep.csv"), before);
    run(
        &home,
        "train --data x.idx --seed 3 --hidden 8 --latent 2 --batch 10 --epochs 3 --out b --force --device cpu --quiet",
    )
    .succeeded();
    let again = run(&home, sweep);
    assert!(again.code == Some(2) && again.stderr.contains("holds a run with other settings"), "{}", again.stderr);
}

#[test]
fn the_library_begins_so_too() {
    let home = folder("start-library");
    table(&home.join("t.csv"), 60, 0.0, &COLUMNS);
    table(&home.join("new.csv"), 40, 5.0, &COLUMNS);
    run(&home, &format!("train --data t.csv {MIXED} --epochs 2 --out a")).succeeded();
    run(&home, "train --start a --data new.csv --valid-fraction 0.2 --epochs 3 --batch 8 --lr 0.01 --device cpu --quiet --out b").succeeded();
    let saved = Arc::new(Saved::read(&home.join("a")).unwrap());
    let known = saved.run.data.known_columns();
    let new = Arc::new(Dataset::read_columns(&home.join("new.csv"), Some(&known), Missing::Allow).unwrap());
    let builder = Vae::builder().start(saved.clone()).valid_fraction(0.2).epochs(3).batch(8).lr(0.01).device("cpu");
    let vae = builder.clone().folder(home.join("c")).fit(&new).unwrap();
    assert_eq!(tensors(&home.join("c")), tensors(&home.join("b")));
    assert_eq!(vae.run().data.scale, saved.run.data.scale);
    assert_eq!(
        vae.run().training.start.as_ref().map(|start| start.checksum),
        Some(saved.origin(Path::new("a")).checksum)
    );
    // What the model has is not said anew, and other data are no data of it.
    let said = builder.clone().latent(5).fit(&new).unwrap_err().to_string();
    assert!(said.starts_with("start: layers, likelihoods"), "{said}");
    let narrow = Arc::new(Dataset::from_rows("narrow", 2, vec![1.0; 20]).unwrap());
    let other = builder.fit(&narrow).unwrap_err().to_string();
    assert!(other.starts_with("narrow: "), "{other}");
}
