//! What a model is told where columns of words are among it: as the same numbers in columns of their own, in every command, and
//! as a user gives it for draws.
use crate::browser;
use crate::program::{command, folder, run};
use crate::runs::tensors;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use vae_gpu::Vae;
use vae_gpu::data::{Dataset, npy};

const ROWS: usize = 80;
const SMALL: &str = "--likelihood gaussian --variance shared --hidden 5 --latent 2 --batch 8 --steps 30 --device cpu";
/// By the alphabet.
const WARDS: [&str; 3] = ["icu, or so", "medicine", "surgery"];

fn ward(row: usize) -> usize {
    (row * row + 2) % 7 % 3
}

fn age(row: usize) -> usize {
    20 + row * 37 % 61
}

/// A column of the table, as text.
fn cell(column: &str, row: usize) -> String {
    match column {
        "name" => format!("n{row}"),
        "ward" => format!("\"{}\"", WARDS[ward(row)]),
        "age" => age(row).to_string(),
        "bmi" => ((row as f32 * 1.7).sin() - ward(row) as f32).to_string(),
        "score" => ((row as f32 * 0.9).cos() + 0.01 * age(row) as f32).to_string(),
        "ill" => ["yes", "no"][row % 2].into(),
        one_hot => ((ward(row) == one_hot.parse::<usize>().unwrap()) as u8).to_string(),
    }
}

fn table(path: &Path, columns: &[&str], titled: bool) {
    let line = |row| columns.iter().map(|column| cell(column, row)).collect::<Vec<_>>().join(",") + "\n";
    let title = if titled { columns.join(",") + "\n" } else { String::new() };
    fs::write(path, title + &(0..ROWS).map(line).collect::<String>()).unwrap();
}

#[test]
fn words_that_a_model_is_told_are_a_column_each() {
    let home = folder("told-words");
    table(&home.join("x.csv"), &["name", "bmi", "ward", "score", "age"], true);
    table(&home.join("bare.csv"), &["ward", "bmi", "score", "age"], false);
    table(&home.join("by-hand.csv"), &["bmi", "score", "0", "1", "2", "age"], false);
    table(&home.join("other.csv"), &["age", "score", "ward", "bmi"], true);
    let codes = |row: usize| {
        let numbers = ["bmi", "score"].map(|column| cell(column, row).parse().unwrap());
        [numbers[0], [-3.5, 9.0, 10.0][ward(row)], numbers[1], age(row) as f32]
    };
    let rows: Vec<f32> = (0..ROWS).flat_map(codes).collect();
    npy::write(&mut fs::File::create(home.join("codes.npy")).unwrap(), ROWS, 4, &rows).unwrap();
    let train = |how: &str, out: &str| run(&home, &format!("train --data {how} {SMALL} --out {out}")).succeeded();
    train("by-hand.csv --condition 2..6", "want");
    let want = tensors(&home.join("want"));
    let elbo = |line: &str| run(&home, &format!("eval {line} --json --device cpu")).succeeded().stdout;
    let same = elbo("want --data by-hand.csv");
    for (i, way) in [
        "x.csv --condition age,ward --categorical ward",
        "x.csv --condition 2,4 --categorical 2",
        "x.csv --past ward,age --future 3,bmi --categorical ward",
        "bare.csv --condition 3,0 --categorical 0",
        "codes.npy --condition 3,1 --categorical 1",
    ]
    .into_iter()
    .enumerate()
    {
        train(way, &format!("run{i}"));
        assert!(tensors(&home.join(format!("run{i}"))) == want, "{way}");
        assert_eq!(elbo(&format!("run{i} --data {}", way.split(' ').next().unwrap())), same, "{way}");
        // The file of options of a run makes it again, and so does the command that its report shows.
        run(&home, &format!("train --config run{i}/run.toml --device cpu --quiet --out again{i}")).succeeded();
        assert!(tensors(&home.join(format!("again{i}"))) == want, "{way}: run.toml");
        let page = browser::page(&home.join(format!("run{i}/report.html")));
        let shown = browser::data(&page)["command"].as_str().unwrap().replace("vae-gpu ", "");
        run(&home, &format!("{shown} --device cpu --quiet --out shown{i}")).succeeded();
        assert!(tensors(&home.join(format!("shown{i}"))) == want, "{way}: {shown}");
    }
    assert_eq!(elbo("run0 --data other.csv"), same);
    let by_library = Vae::open(home.join("run0")).unwrap();
    let columns = by_library.run().data.known_columns();
    let read = Dataset::read_columns(&home.join("other.csv"), Some(&columns), Default::default()).unwrap();
    let nats = format!("\"elbo\":{}", by_library.elbo(&Arc::new(read)).unwrap().mean);
    assert!(same.contains(&nats), "{same}, not {nats}");
}

/// One row for all draws, or a file with a row for each, of what is told alone or of whole examples.
#[test]
fn draws_are_told_words_as_a_user_writes_them() {
    let home = folder("told-draws");
    table(&home.join("x.csv"), &["bmi", "ward", "score", "age"], true);
    table(&home.join("alone.csv"), &["ward", "age"], true);
    table(&home.join("bare.csv"), &["ward", "age"], false);
    table(&home.join("turned.csv"), &["age", "name", "ward"], true);
    let train =
        format!("train --data x.csv --condition ward,age --categorical ward --scale standard {SMALL} --out run");
    let said = run(&home, &train).succeeded().stderr;
    assert!(said.contains("; bmi, score from ward, age; model 2+4-5-2+4-5-2;"), "{said}");
    let config = fs::read_to_string(home.join("run/config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    // Of the words zeros and ones are left.
    let factors = config["data"]["scale"]["factor"].as_array().unwrap();
    let of_words: Vec<f64> = factors[2..5].iter().map(|x| x.as_f64().unwrap()).collect();
    assert_eq!((factors.len(), of_words), (6, vec![1.0; 3]));
    let drawn = |how: &str| run(&home, &format!("sample run {how} --to - --device cpu --quiet")).succeeded().stdout;
    let whole = drawn("--condition x.csv");
    for file in ["alone.csv", "bare.csv", "turned.csv"] {
        assert_eq!(drawn(&format!("--condition {file}")), whole, "{file}");
    }
    let lines: Vec<&str> = whole.lines().collect();
    assert_eq!((lines[0], lines.len()), ("ward,age,bmi,score", ROWS + 1));
    for (row, line) in lines[1..].iter().enumerate() {
        let want = ["ward", "age"].map(|column| cell(column, row).replace("\"medicine\"", "medicine"));
        assert!(line.starts_with(&want.map(|cell| cell.replace("\"surgery\"", "surgery")).join(",")), "{line}: {row}");
    }
    fs::write(home.join("drawn.csv"), &whole).unwrap();
    run(&home, "eval run --data drawn.csv --device cpu --quiet").succeeded();
    // The same for all: in any order, in quotes where a word has commas.
    fs::write(home.join("one.csv"), "ward,age\nsurgery,50\n".replace("surgery", "\"icu, or so\"")).unwrap();
    let all = drawn("--condition one.csv --count 64");
    for values in [
        "age=50,\"ward=icu, or so\"",
        "\"ward = icu, or so\", age = 50.0",
        "ward=\"icu, or so\",age=50",
        "\"ward\"=\"icu, or so\", \"age\"=50",
    ] {
        let line = ["sample", "run", "--to", "-", "--device", "cpu", "--quiet", "--condition", values];
        let out = command(&home, &line).output().unwrap();
        assert_eq!(String::from_utf8(out.stdout).unwrap(), all, "{values}: {}", String::from_utf8_lossy(&out.stderr));
    }
    assert_eq!(
        drawn("--condition age=50,ward=surgery").lines().filter(|line| line.starts_with("surgery,50,")).count(),
        64
    );
    run(&home, "encode run --data x.csv --to z.npy --device cpu --quiet").succeeded();
    run(&home, "decode run --data z.npy --condition ward=medicine,age=33 --to d.npy --device cpu --quiet").succeeded();
    assert_eq!(Dataset::read(&home.join("d.npy")).unwrap().rows(), ROWS);
    run(&home, "manifold run --condition ward=medicine,age=33 --side 3 --to m.csv --device cpu --quiet").succeeded();
    // A past of words, and futures that nobody knows.
    run(&home, "forecast run --data alone.csv --draws 2 --to f.csv --device cpu --quiet").succeeded();
    assert_eq!(Dataset::read(&home.join("f.csv")).unwrap().rows(), 2 * ROWS);
    for line in [
        "traverse run --data x.csv",
        "interpolate run --data x.csv",
        "reconstruct run --data x.csv",
        "impute run --data x.csv",
    ] {
        run(&home, &format!("{line} --to t.csv --force --device cpu --quiet")).succeeded();
    }
    let takes = "it takes ward=VALUE,age=VALUE";
    for (what, want) in [
        ("ward=surgery", format!("condition ward=surgery: age is not given; {takes}")),
        ("ward=hall,age=5", "condition ward=hall: the model knows \"icu, or so\", \"medicine\", \"surgery\"".into()),
        ("ward=surgery,age=old", "condition age=old: must be a finite number".into()),
        ("ward=surgery,age=5,age=6", format!("condition ward=surgery,age=5,age=6: age comes twice; {takes}")),
        (
            "ward=surgery,sex=f",
            format!("condition ward=surgery,sex=f: sex=f is no NAME=VALUE of what the model is told; {takes}"),
        ),
    ] {
        run(&home, &format!("sample run --condition {what} --to - --device cpu")).refused(2, &want);
    }
    let needs = "condition: not given; the model needs it: pass --condition ward=...,age=... for all draws, or FILE, with a row for \
                 each draw";
    run(&home, "sample run --to - --device cpu").refused(2, needs);
    fs::write(home.join("new.csv"), "ward,age\nhall,50\n").unwrap();
    run(&home, "sample run --condition new.csv --to - --device cpu").refused(
        1,
        "line 2 of new.csv has \"hall\" in column ward: the model knows \"icu, or so\", \"medicine\", \"surgery\"; leave the example \
         out, or train on data that have it",
    );
}

/// Words that are learned stand beside words that are told.
#[test]
fn words_are_told_and_learned_side_by_side() {
    let home = folder("told-beside");
    table(&home.join("x.csv"), &["ill", "bmi", "ward", "age"], true);
    let train = format!("train --data x.csv --condition ward,age --categorical ward,ill {SMALL} --quiet --out run");
    run(&home, &train).succeeded();
    run(&home, "sample run --condition ward=medicine,age=40 --count 9 --draw --to s.csv --device cpu --quiet")
        .succeeded();
    let drawn = fs::read_to_string(home.join("s.csv")).unwrap();
    assert!(drawn.starts_with("ward,age,ill,bmi\nmedicine,40,"), "{drawn}");
    let ill: Vec<&str> = drawn.lines().skip(1).map(|line| line.split(',').nth(2).unwrap()).collect();
    assert!(ill.iter().all(|ill| ["yes", "no"].contains(ill)), "{ill:?}");
    run(&home, "eval run --data s.csv --device cpu --quiet").succeeded();
    let filled = table_with_gaps(&home);
    assert!(filled.starts_with("ill,bmi,ward,age\n") && !filled.contains(",,"), "{filled}");
    assert!(filled.lines().nth(1).unwrap().ends_with(",medicine,20"), "{filled}");
    // What is told must be known.
    fs::write(home.join("unknown.csv"), "ill,bmi,ward,age\nyes,,,20\n").unwrap();
    let line = "impute run --data unknown.csv --to no.csv --device cpu --quiet";
    let said = run(&home, line).stderr;
    assert!(said.contains("a condition must be known; leave the example out"), "{said}");
}

fn table_with_gaps(home: &Path) -> String {
    fs::write(home.join("gaps.csv"), "ill,bmi,ward,age\n,0.5,medicine,20\nyes,,surgery,30\n").unwrap();
    run(home, "impute run --data gaps.csv --to filled.csv --device cpu --quiet").succeeded();
    fs::read_to_string(home.join("filled.csv")).unwrap()
}

/// Only what a model is told is looked at: of whole examples the rest may be missing, or say what the model does not know.
#[test]
fn what_a_model_is_not_told_may_be_anything() {
    let home = folder("told-only");
    table(&home.join("x.csv"), &["name", "ill", "ward", "bmi", "age"], true);
    let train = format!("train --data x.csv --condition ward,age --categorical ward,ill {SMALL} --quiet --out run");
    run(&home, &train).succeeded();
    let drawn = |file: &str| {
        run(&home, &format!("sample run --condition {file} --to - --device cpu --quiet")).succeeded().stdout
    };
    fs::write(home.join("whole.csv"), "name,ill,ward,bmi,age\nn1,yes,medicine,0.5,20\nn2,no,surgery,1,30\n").unwrap();
    fs::write(home.join("gaps.csv"), "name,ill,ward,bmi,age\nn1,perhaps,medicine,,20\nn2,,surgery,many,30\n").unwrap();
    fs::write(home.join("some.csv"), "age,remark,ward\n20,good,medicine\n30,,surgery\n").unwrap();
    let whole = drawn("whole.csv");
    assert_eq!(whole.lines().count(), 3);
    assert_eq!((drawn("gaps.csv"), drawn("some.csv")), (whole.clone(), whole));
    fs::write(home.join("less.csv"), "age,bmi\n20,1\n").unwrap();
    run(&home, "sample run --condition less.csv --to - --device cpu").refused(
        1,
        "the model's column ward: less.csv has no column of this name; it has age, bmi; give it that column, which the model is told",
    );
    // Without names by their places, in the whole file or alone.
    table(&home.join("bare.csv"), &["bmi", "score", "age"], false);
    run(&home, &format!("train --data bare.csv --condition 2 {SMALL} --quiet --out bare")).succeeded();
    let bare = |file: &str| {
        run(&home, &format!("sample bare --condition {file} --count 2 --to - --device cpu --quiet")).succeeded().stdout
    };
    fs::write(home.join("whole-bare.csv"), ",x,20\n,,30\n").unwrap();
    fs::write(home.join("alone-bare.csv"), "20\n30\n").unwrap();
    assert_eq!(bare("whole-bare.csv"), bare("alone-bare.csv"));
}

#[test]
fn values_of_bytes_are_bytes_and_names_may_be_words_of_the_option() {
    let home = folder("told-bytes");
    let rows: Vec<u8> =
        (0..200usize).flat_map(|i| [(i * 37 % 251) as u8, (i * 37 % 251 / 2) as u8, (i * 11 % 200) as u8]).collect();
    let idx = [&[0, 0, 8, 2, 0, 0, 0, 200, 0, 0, 0, 3][..], &rows].concat();
    fs::write(home.join("x.idx"), idx).unwrap();
    fs::write(home.join("one.idx"), [0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0, 1, 200]).unwrap();
    run(&home, &format!("train --data x.idx --condition 0 {SMALL} --quiet --out run")).succeeded();
    let drawn = |told: &str| {
        run(&home, &format!("sample run --condition {told} --count 3 --to - --device cpu --quiet")).succeeded().stdout
    };
    assert_eq!(drawn("0=200"), drawn("one.idx"));
    run(&home, "sample run --condition 0=0.78 --to - --device cpu")
        .refused(2, "condition 0=0.78: must be a byte, from 0 to 255, as the data are");
    // A column may be called as the option calls what the data bring, or as a folder, or have quotes in its name.
    let text: String = (0..60).map(|i| format!("{},{},{}\n", i % 7, i % 5, i % 3)).collect();
    fs::write(home.join("x.csv"), format!("y,labels,\"di\"\"et\"\n{text}")).unwrap();
    fs::create_dir(home.join("labels")).unwrap();
    for (i, told) in ["1", "labels,2", "'\"labels\"'"].into_iter().enumerate() {
        let told = told.trim_matches('\'');
        run(&home, &format!("train --data x.csv --condition {told} {SMALL} --quiet --out run{i}")).succeeded();
        let page = browser::page(&home.join(format!("run{i}/report.html")));
        let shown = browser::data(&page)["command"].as_str().unwrap().to_string();
        let line =
            format!("{shown} --device cpu --quiet --out shown{i}").replace("vae-gpu", env!("CARGO_BIN_EXE_vae-gpu"));
        let out = std::process::Command::new("sh").args(["-c", &line]).current_dir(&home).output().unwrap();
        assert!(out.status.success(), "{line}: {}", String::from_utf8_lossy(&out.stderr));
        assert!(tensors(&home.join(format!("run{i}"))) == tensors(&home.join(format!("shown{i}"))), "{line}");
    }
}
