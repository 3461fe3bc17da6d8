//! `--columns` and `--skip-columns`: which columns are learned, that a model takes the same ones of every file, and that it
//! says which it misses.
use crate::browser;
use crate::numbers::assert_near;
use crate::program::{folder, run, write_idx, write_labels};
use crate::runs;
use std::fmt::Write as _;
use std::path::Path;
use vae_gpu::data::{Asked, Columns, Dataset, Missing, npy};

const ROWS: usize = 40;
const SMALL: &str = "--likelihood gaussian --hidden 5 --latent 2 --batch 8 --steps 5 --device cpu --quiet";

/// Some number of a row and a column, which every file below agrees about.
fn number(row: usize, column: &str) -> String {
    let seed: usize = column.bytes().map(usize::from).sum();
    format!("{:.3}", ((row * 37 + seed * 11) % 97) as f64 / 97.0)
}

/// A csv with these columns. An id and a date are words.
fn table(path: &Path, header: bool, columns: &[&str]) {
    let mut text = if header { columns.join(",") + "\n" } else { String::new() };
    for row in 0..ROWS {
        let cell = |column: &&str| match *column {
            "id" => format!("n{row}"),
            "date" => format!("2020-01-{:02}", row % 28 + 1),
            column => number(row, column),
        };
        writeln!(text, "{}", columns.iter().map(cell).collect::<Vec<_>>().join(",")).unwrap();
    }
    std::fs::write(path, text).unwrap();
}

const ALL: [&str; 6] = ["id", "age", "height", "date", "weight", "score"];

/// The same numbers give the same tensors, whatever names the header of the model has for where they came from.
fn tensors(home: &Path, run: &str) -> Vec<u64> {
    runs::tensors(&home.join(run))
}

#[test]
fn every_way_to_ask_for_columns_learns_the_same() {
    let home = folder("columns-ways");
    table(&home.join("all.csv"), true, &ALL);
    table(&home.join("bare.csv"), false, &ALL);
    table(&home.join("three.csv"), false, &["age", "height", "score"]);
    run(&home, &format!("train --data three.csv {SMALL} --out want")).succeeded();
    let want = tensors(&home, "want");
    let ways = [
        "--data all.csv --columns age,height,score",
        "--data all.csv --columns score,1..3",
        "--data all.csv --columns 5,2,1,1..2",
        "--data all.csv --skip-columns date,weight",
        "--data all.csv --skip-columns 0,3..5",
        "--data all.csv --columns 1..6 --skip-columns date,weight",
        "--data bare.csv --columns 1,2,5",
        "--data bare.csv --skip-columns 3,4",
    ];
    for (i, way) in ways.iter().enumerate() {
        run(&home, &format!("train {way} {SMALL} --out run{i}")).succeeded();
        assert_eq!(tensors(&home, &format!("run{i}")), want, "{way}");
        run(&home, &format!("train --config run{i}/run.toml --device cpu --quiet --out again{i}")).succeeded();
        let bytes = |run: &str| std::fs::read(home.join(format!("{run}{i}/model.safetensors"))).unwrap();
        assert_eq!(bytes("run"), bytes("again"), "{way}");
    }
    run(&home, &format!("train --data all.csv --columns age,height,weight {SMALL} --out other")).succeeded();
    assert_ne!(tensors(&home, "other"), want);
}

#[test]
fn a_model_takes_its_columns_of_every_file() {
    let home = folder("columns-files");
    table(&home.join("all.csv"), true, &ALL);
    run(&home, &format!("train --data all.csv --columns age,height,score --valid-fraction 0.2 {SMALL} --out run"))
        .succeeded();
    table(&home.join("bare.csv"), false, &ALL);
    table(&home.join("moved.csv"), true, &["score", "date", "height", "more", "age"]);
    table(&home.join("alone.csv"), false, &["age", "height", "score"]);
    let alone = Dataset::read(&home.join("alone.csv")).unwrap();
    npy::write(&mut std::fs::File::create(home.join("alone.npy")).unwrap(), ROWS, 3, &alone.to_rows()).unwrap();
    let wide: Vec<f32> = alone.to_rows().chunks(3).flat_map(|r| [9.0, r[0], r[1], 9.0, 9.0, r[2]]).collect();
    npy::write(&mut std::fs::File::create(home.join("wide.npy")).unwrap(), ROWS, 6, &wide).unwrap();
    let of = |command: &str, options: &str| {
        let files = ["all.csv", "bare.csv", "moved.csv", "alone.csv", "alone.npy", "wide.npy"];
        let outputs = files.map(|file| {
            let line = format!("{command} run {options} {file} --device cpu --quiet --to {file}.{command}.npy");
            run(&home, &line).succeeded();
            std::fs::read(home.join(format!("{file}.{command}.npy"))).unwrap()
        });
        assert!(outputs.iter().all(|output| *output == outputs[0]), "{command}");
    };
    of("encode", "--data");
    of("reconstruct", "--data");
    of("interpolate", "--data");
    of("traverse", "--data");
    of("sample", "--near");
    of("impute", "--data");
    let eval = |file: &str| run(&home, &format!("eval run --data {file} --device cpu --json")).succeeded().stdout;
    assert_eq!(eval("all.csv"), eval("wide.npy"));
    run(&home, "train --resume run --device cpu --quiet").succeeded();
    run(&home, "report run --device cpu --quiet").succeeded();

    table(&home.join("renamed.csv"), true, &["Age", "height", "score"]);
    run(&home, "eval run --data renamed.csv --device cpu --quiet")
        .refused(1, "the model's column age: renamed.csv has no column of this name; did you mean Age?");
    table(&home.join("four.csv"), false, &["age", "height", "score", "more"]);
    run(&home, "eval run --data four.csv --device cpu --quiet").refused(
        1,
        "four.csv: an example has 4 numbers; must have 6, as the data of the model, or its 3 columns alone: give data of the \
         same columns",
    );
}

/// Without --columns too.
#[test]
fn columns_are_found_by_the_names_of_the_header() {
    let home = folder("columns-names");
    let some = ["id", "age", "height", "weight"];
    table(&home.join("all.csv"), true, &some);
    table(&home.join("moved.csv"), true, &["id", "weight", "age", "height"]);
    table(&home.join("more.csv"), true, &["age", "score", "weight", "height"]);
    table(&home.join("bare.csv"), false, &some);
    table(&home.join("renamed.csv"), true, &["id", "age", "size", "weight"]);
    table(&home.join("fewer.csv"), true, &["age", "weight"]);
    run(&home, &format!("train --data all.csv {SMALL} --out run")).succeeded();
    let x = Dataset::read(&home.join("bare.csv")).unwrap();
    npy::write(&mut std::fs::File::create(home.join("bare.npy")).unwrap(), ROWS, 3, &x.to_rows()).unwrap();
    let eval = |model: &str, file: &str| run(&home, &format!("eval {model} --data {file} --device cpu --json"));
    let want = eval("run", "all.csv").succeeded().stdout;
    for file in ["moved.csv", "more.csv", "bare.csv", "bare.npy"] {
        assert_eq!(eval("run", file).succeeded().stdout, want, "{file}");
    }
    let sentence =
        |file: &str| format!("the model's column height: {file} has no column of this name; did you mean weight?");
    for file in ["renamed.csv", "fewer.csv"] {
        eval("run", file).refused(1, &sentence(file));
        run(&home, &format!("train --data all.csv --valid {file} {SMALL} --out no")).refused(1, &sentence(file));
    }
    for (valid, out) in [("all", "one"), ("moved", "other")] {
        run(&home, &format!("train --data all.csv --valid {valid}.csv {SMALL} --out {out}")).succeeded();
    }
    let last = |run: &str| {
        let lines = std::fs::read_to_string(home.join(run).join("metrics.jsonl")).unwrap();
        let line: serde_json::Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
        (line["split"].clone(), line["elbo"].clone())
    };
    assert_eq!((last("one"), last("one").0), (last("other"), "valid".into()));
    run(&home, "train --resume run --device cpu --quiet").succeeded();
    assert!(!run(&home, "report run --device cpu --quiet").succeeded().stdout.contains("--columns"));

    // A name that comes twice is no name; the same header is the same columns.
    std::fs::write(home.join("twice.csv"), "a,b,a\n1,2,3\n4,5,7\n2,2,1\n").unwrap();
    std::fs::write(home.join("twice-moved.csv"), "b,a,a\n1,2,3\n").unwrap();
    run(&home, &format!("train --data twice.csv {SMALL} --out twice")).succeeded();
    eval("twice", "twice.csv").succeeded();
    eval("twice", "twice-moved.csv")
        .refused(1, "twice-moved.csv: two columns of the model's data have the name a; give data with the same header");

    // The library knows them too.
    let mut vae = vae_gpu::Vae::open(home.join("run")).unwrap();
    let mut latents = |file: &str| vae.encode(&Dataset::read(&home.join(file)).unwrap().into()).map(|z| z.mean);
    assert_eq!(latents("moved.csv"), latents("all.csv"));
    assert_eq!(latents("more.csv"), latents("bare.npy"));
    let path = home.join("renamed.csv").display().to_string();
    assert_eq!(latents("renamed.csv").unwrap_err().to_string(), sentence(&path));
}

#[test]
fn what_was_taken_as_names_is_said_once() {
    let home = folder("columns-said");
    table(&home.join("all.csv"), true, &["id", "age", "height"]);
    let note = "all.csv: first column (\"id\") taken as names of the rows\n";
    let train = SMALL.replace(" --quiet", "");
    let said = |line: &str| run(&home, line).succeeded().stderr.matches(note).count();
    assert_eq!(said(&format!("train --data all.csv {train} --out run")), 1);
    assert_eq!(said("eval run --data all.csv --device cpu"), 1);
    assert_eq!(said("eval run --data all.csv --device cpu --quiet"), 0);
    assert_eq!(said("eval run --data all.csv --device cpu --json"), 0);
    assert_eq!(said(&format!("train --data all.csv --skip-columns id {train} --out other")), 0);
    assert_eq!(said(&format!("train --data all.csv --columns age,height {train} --out third")), 0);

    // Words that come again are refused to be learned from, and read by the model that leaves them out.
    let rows: String = (0..ROWS).map(|i| format!("{},{},{i}\n", ["M", "F"][i % 2], i * 7 % 5)).collect();
    std::fs::write(home.join("sex.csv"), format!("sex,a,b\n{rows}")).unwrap();
    run(&home, &format!("train --data sex.csv {SMALL} --out sex")).refused(
        1,
        "column 1 (\"sex\") of sex.csv has words that come again, 2 different ones in 40 rows: names of rows differ; train with \
         --categorical sex, with --classes sex if it is the class of an example, or with --skip-columns sex",
    );
    run(&home, &format!("train --data sex.csv --skip-columns sex {SMALL} --out sex")).succeeded();
    run(&home, "eval sex --data sex.csv --device cpu --quiet").succeeded();
    table(&home.join("named.csv"), true, &["id", "a", "b"]);
    run(&home, &format!("train --data named.csv {SMALL} --out named")).succeeded();
    run(&home, "eval named --data sex.csv --device cpu --quiet").succeeded();
}

/// Numbers as names of columns are kept like words, and a run of before, which learned them as an example, goes on.
#[test]
fn columns_that_are_counted_are_known_again() {
    let home = folder("columns-counted");
    let rows: Vec<[String; 3]> = (0..ROWS).map(|i| ["a", "b", "c"].map(|column| number(i, column))).collect();
    let text = |order: [usize; 3]| {
        let lines = rows.iter().map(|row| order.map(|j| row[j].clone()).join(",") + "\n");
        [order.map(|j| j.to_string()).join(",") + "\n"].into_iter().chain(lines).collect::<String>()
    };
    std::fs::write(home.join("x.csv"), text([0, 1, 2])).unwrap();
    std::fs::write(home.join("bare.csv"), text([0, 1, 2]).split_once('\n').unwrap().1).unwrap();
    run(&home, &format!("train --data x.csv {SMALL} --out run")).succeeded();
    let eval = |file: &str| run(&home, &format!("eval run --data {file} --device cpu --json")).succeeded().stdout;
    assert_eq!(eval("x.csv"), eval("bare.csv"));
    run(&home, "train --resume run --device cpu --quiet").succeeded();
    let again = Columns { again: true, ..Columns::default() };
    let before = Dataset::read_columns(&home.join("x.csv"), Some(&again), Missing::Refuse).unwrap();
    assert_eq!((before.rows(), before.to_rows()[..3].to_vec()), (ROWS + 1, vec![0.0, 1.0, 2.0]));
}

#[test]
fn positions_of_a_condition_count_in_the_file() {
    let home = folder("columns-condition");
    table(&home.join("all.csv"), true, &ALL);
    table(&home.join("four.csv"), false, &["age", "height", "weight", "score"]);
    table(&home.join("given.csv"), true, &["age", "height"]);
    run(&home, &format!("train --data four.csv --condition 0..2 {SMALL} --out want")).succeeded();
    let got = format!("train --data all.csv --skip-columns id,date {SMALL} --out got --condition");
    run(&home, &format!("{got} 1..3")).succeeded();
    assert_eq!(tensors(&home, "got"), tensors(&home, "want"));
    for (model, given) in [("want", "four.csv"), ("got", "all.csv"), ("got", "given.csv")] {
        run(
            &home,
            &format!("sample {model} --count 9 --condition {given} --device cpu --quiet --to {model}-{given}.npy"),
        )
        .succeeded();
    }
    let read = |name: &str| std::fs::read(home.join(name)).unwrap();
    assert_eq!(read("got-all.csv.npy"), read("want-four.csv.npy"));
    assert_eq!(read("got-given.csv.npy"), read("want-four.csv.npy"));
    // In any order, with names among them; and the past and the future as well.
    for (i, told) in ["2,age", "height,1..2"].into_iter().enumerate() {
        run(&home, &format!("{} {told}", got.replace("out got", &format!("out same{i}")))).succeeded();
        assert_eq!(tensors(&home, &format!("same{i}")), tensors(&home, "want"), "{told}");
    }
    for (i, future) in ["weight,score", "4..6", "5,weight"].into_iter().enumerate() {
        run(&home, &format!("train --data all.csv --past 1,height --future {future} {SMALL} --out future{i}"))
            .succeeded();
        assert_eq!(tensors(&home, &format!("future{i}")), tensors(&home, "want"), "{future}");
    }
    let names = "column 0 holds the names of the rows, of which no model is told; begin at 1";
    run(&home, &format!("train --data all.csv --skip-columns date --condition 0..2 {SMALL} --out no"))
        .refused(2, &format!("condition 0..2: {names}"));
    run(&home, &format!("train --data all.csv --past age --future 0,weight {SMALL} --out no"))
        .refused(2, &format!("future 0: {names}"));
}

#[test]
fn pictures_are_cut_and_are_no_pictures_then() {
    let home = folder("columns-pictures");
    write_idx(&home.join("x.idx"), 30, 6);
    run(&home, "train --data x.idx --columns 6..30 --steps 3 --hidden 5 --latent 2 --device cpu --quiet --out run")
        .succeeded();
    let config = std::fs::read_to_string(home.join("run/config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    assert_eq!((&config["input"], &config["data"]["shape"]), (&serde_json::json!(24), &serde_json::Value::Null));
    let columns = Columns::asked(Asked { take: Some("6..30".parse().unwrap()), ..Asked::default() });
    let (cut, all) = (
        Dataset::read_columns(&home.join("x.idx"), columns.as_ref(), Missing::Refuse).unwrap(),
        Dataset::read(&home.join("x.idx")).unwrap(),
    );
    let want: Vec<f32> = all.to_rows().chunks(36).flat_map(|row| row[6..30].to_vec()).collect();
    assert_eq!(cut.to_rows(), want);
    // Built-in data too.
    run(&home, "train --columns 300..400 --steps 1 --hidden 5 --latent 2 --device cpu --quiet --out digits")
        .succeeded();
    run(&home, "eval digits --count 9 --device cpu --quiet").succeeded();
    run(&home, "mixture --data x.idx --columns 6..8,9 --components 1 --out mixed --quiet").succeeded();
    let mixture = vae_gpu::mixture::Mixture::read(&home.join("mixed/mixture.safetensors")).unwrap().0;
    assert_eq!(mixture.cols(), 3);
}

#[test]
fn headers_are_told_by_the_columns_that_are_taken() {
    let home = folder("columns-headers");
    let rows = |text: &str, columns: &str| {
        std::fs::write(home.join("t.csv"), text).unwrap();
        let columns = Columns::asked(Asked { take: Some(columns.parse().unwrap()), ..Asked::default() });
        Dataset::read_columns(&home.join("t.csv"), columns.as_ref(), Missing::Refuse)
            .map(|data| (data.to_rows(), data.columns.names.join(" ")))
            .map_err(|e| e.to_string())
    };
    let read = |values: &[f32], names: &str| Ok((values.to_vec(), names.to_string()));
    // Words beside what is taken make no header of an example.
    assert_eq!(rows("1,two,3\n4,five,6\n", "0,2"), read(&[1.0, 3.0, 4.0, 6.0], ""));
    assert_eq!(rows("a,b,c\n4,five,6\n", "0,2"), read(&[4.0, 6.0], "a c"));
    assert_eq!(rows("a,b\n4,five\n", "0"), read(&[4.0], "a"));
    assert_eq!(rows("x,1,two\ny,3,four\n", "1"), read(&[1.0, 3.0], ""));
    // Names that are numbers are positions; columns counted by pandas; the title of the row names left out by R.
    assert_eq!(
        rows("id,2020,2021\nx,5,6\n", "id,1").unwrap_err().split(" of ").next(),
        Some("line 2, column 1 (\"id\")")
    );
    assert_eq!(rows(",0,1,2\nx,5,6,7\ny,8,9,1\n", "1,3"), read(&[5.0, 7.0, 8.0, 1.0], "0 2"));
    assert_eq!(rows("height,weight\nann,5,6\nbob,7,8\n", "weight"), read(&[6.0, 8.0], "weight"));
    // Names that are numbers: words beside them stand above numbers, or the numbers are those of names.
    for (text, columns, values, names) in [
        ("id,site,2001,2003,2009\n1,7,5,6,8\n", "2..5", &[5.0, 6.0, 8.0][..], "2001 2003 2009"),
        ("id,site,400,410,420,430,440\nx,north,0.5,0.25,0,1,0.5\n", "2..5", &[0.5, 0.25, 0.0], "400 410 420"),
        ("id,site,2001,2002,2003\nx,north,0.5,0.25,0.5\n", "2..5", &[0.5, 0.25, 0.5], "2001 2002 2003"),
        ("x,south,7,8,9\nx,north,0.5,0.25,1\n", "2..5", &[7.0, 8.0, 9.0, 0.5, 0.25, 1.0], ""),
        ("7,12b,5,9,8\n8,13,1,2,3\n", "2..5", &[5.0, 9.0, 8.0, 1.0, 2.0, 3.0], ""),
        ("7,12b,5,9,8.5\n8,13,1,2,3\n", "2..5", &[5.0, 9.0, 8.5, 1.0, 2.0, 3.0], ""),
    ] {
        assert_eq!(rows(text, columns), read(values, names), "{text}");
    }
    assert!(rows("a,a\n1,2\n", "a").unwrap_err().ends_with("have this name; pass a position"));
    assert!(rows("1,2\n3,4\n", "1,7").unwrap_err().contains("has columns 0 to 1"));
}

/// Whether there is a header can be said, which no guess then undoes: of the data, of other files and when a run goes on.
#[test]
fn a_header_that_is_said_is_one_in_every_file() {
    let home = folder("columns-header");
    let rows =
        |from: usize| (from..from + ROWS).map(|i| format!("{},{},{}\n", i % 7, i % 5, i % 3)).collect::<String>();
    let write = |name: &str, text: String| std::fs::write(home.join(name), text).unwrap();
    let config = |run: &str| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(home.join(run).join("config.json")).unwrap()).unwrap()
    };
    let evaluated = |line: &str| -> serde_json::Value {
        let out = run(&home, &format!("eval {line} --device cpu --json")).succeeded().stdout;
        serde_json::from_str(&out).unwrap()
    };
    let scaled = format!("--scale minmax {SMALL}");

    // Numbers: an example, unless they are said to be names; those of a later file in another order too.
    write("codes.csv", format!("31,9,12\n{}", rows(0)));
    write("turned.csv", {
        let turned = (0..ROWS).map(|i| format!("{},{},{}\n", i % 3, i % 5, i % 7)).collect::<String>();
        format!("12,9,31\n{turned}")
    });
    run(&home, &format!("train --data codes.csv {scaled} --out auto")).succeeded();
    run(&home, &format!("train --data codes.csv --header yes {scaled} --out yes")).succeeded();
    assert_eq!(config("auto")["data"]["rows"], ROWS + 1);
    assert_eq!(
        (&config("yes")["data"]["rows"], &config("yes")["data"]["columns"]["header"]),
        (&ROWS.into(), &"yes".into())
    );
    let same = evaluated("yes --data codes.csv");
    assert_eq!(same["examples"], ROWS);
    assert_eq!(evaluated("yes --data turned.csv")["elbo"], same["elbo"]);
    run(&home, "train --resume yes --steps 6 --device cpu --quiet").succeeded();

    // The model's own names, in another order, and those of what it is told alone.
    let three = |first: &str, order: [usize; 3], named: bool| {
        let row = |i: usize| order.map(|j| format!("{}.5", [i % 7, 5 + i % 5, 20 + i % 3][j])).join(",");
        let named = |i: usize| if named { format!("n{i},") } else { String::new() };
        first.to_string() + &(0..ROWS).map(|i| named(i) + &row(i) + "\n").collect::<String>()
    };
    write("years.csv", three("country,2001,2002,2003\n", [0, 1, 2], true));
    write("back.csv", three("2003,2002,2001\n", [2, 1, 0], false));
    write("pandas.csv", three(",2003,2002,2001\n", [2, 1, 0], true));
    write("bare.csv", three("", [0, 1, 2], false));
    run(&home, &format!("train --data years.csv {scaled} --out years")).succeeded();
    let same = evaluated("years --data years.csv");
    assert_eq!(same["examples"], ROWS);
    for file in ["back.csv", "pandas.csv", "bare.csv"] {
        assert_eq!(evaluated(&format!("years --data {file}")), same, "{file}");
    }
    run(&home, &format!("train --data pandas.csv {scaled} --out pandas")).succeeded();
    assert_eq!(config("pandas")["data"]["columns"]["names"], serde_json::json!(["2003", "2002", "2001"]));
    run(&home, &format!("train --data years.csv --condition 2..3 {scaled} --out told")).succeeded();
    write("one.csv", "2002\n6\n7\n".into());
    run(&home, "sample told --condition one.csv --to told.npy --device cpu --quiet").succeeded();
    assert_eq!(Dataset::read(&home.join("told.npy")).unwrap().rows(), 2);

    // Words: the names of columns, unless they are said to be an example.
    let words: String = (0..ROWS).map(|i| format!("{},{}\n", ["a", "b", "c"][i % 3], ["u", "v"][i % 2])).collect();
    write("words.csv", words.clone());
    write("other.csv", words);
    let categorical = SMALL.replace("gaussian", "categorical");
    run(&home, &format!("train --data words.csv {categorical} --out named")).succeeded();
    assert_eq!(config("named")["data"]["rows"], ROWS - 1);
    run(&home, &format!("train --data words.csv --valid other.csv --header no {categorical} --out no")).succeeded();
    assert_eq!(config("no")["data"]["rows"], ROWS);
    assert_eq!(evaluated("no --data other.csv")["examples"], ROWS);
    run(&home, "train --resume no --steps 6 --device cpu --quiet").succeeded();

    // Said of the data, "no" leaves other files with a header theirs, and "yes" asks for one.
    write("titled.csv", three("a,b,c\n", [0, 1, 2], false));
    run(&home, &format!("train --data bare.csv --valid titled.csv --header no {scaled} --out bare")).succeeded();
    run(&home, "train --resume bare --steps 6 --device cpu --quiet").succeeded();
    for model in ["bare", "no"] {
        let line = if model == "no" { "reconstruct no --data other.csv" } else { "reconstruct bare --data bare.csv" };
        run(&home, &format!("{line} --to ours.csv --force --device cpu --quiet")).succeeded();
        assert!(std::fs::read_to_string(home.join("ours.csv")).unwrap().starts_with("x0,x1"));
        assert_eq!(evaluated(&format!("{model} --data ours.csv"))["examples"], ROWS, "{model}");
    }
    write("others.csv", format!("31,9,77\n{}", rows(0)));
    run(&home, "eval yes --data others.csv --device cpu")
        .refused(1, "the model's column 12: others.csv has no column of this name; it has 31, 9, 77; give it that column, which a model of --missing allow takes empty");
    let report = std::fs::read_to_string(home.join("yes/report.html")).unwrap();
    assert!(report.contains("vae-gpu train --data codes.csv --header yes"), "as the page says how it was made");

    run(&home, "mixture --data codes.csv --header yes --components 1 --out m --quiet").succeeded();
    write_idx(&home.join("x.idx"), 30, 6);
    run(&home, &format!("train --data x.idx --header yes {SMALL} --out idx"))
        .refused(2, "header: x.idx is no text, and has none; leave --header out");
}

/// A table that a command writes as csv has the names of the model's columns, and is read back to the bit.
#[test]
fn tables_are_written_with_the_names_of_their_columns() {
    let home = folder("columns-written");
    table(&home.join("all.csv"), true, &ALL);
    let train = format!("train --data all.csv {SMALL} --scale standard");
    run(&home, &format!("{train} --columns age,weight,score --out some")).succeeded();
    run(&home, &format!("{train} --past height,weight --future 1..2 --out told")).succeeded();
    std::fs::write(home.join("gaps.csv"), "age,weight,score\n0.5,,0.25\nNA,0.75,0.125\n").unwrap();
    for (line, header, rows) in [
        ("reconstruct some --data all.csv", "age,weight,score", ROWS),
        ("sample some --count 3", "age,weight,score", 3),
        ("impute some --data gaps.csv", "age,weight,score", 2),
        ("encode some --data all.csv", "mu0,mu1", ROWS),
        ("encode some --data all.csv --logvar", "mu0,mu1,logvar0,logvar1", ROWS),
        ("eval some --data all.csv --samples 5 --estimator iwae,naive", "iwae,naive", ROWS),
        ("forecast told --data all.csv --draws 1", "age", ROWS),
    ] {
        let written = |ending: &str| {
            let line = format!("{line} --to written.{ending} --force --device cpu --quiet");
            run(&home, &line).succeeded();
            Dataset::read(&home.join(format!("written.{ending}"))).unwrap()
        };
        let (csv, npy) = (written("csv"), written("npy"));
        assert_eq!((csv.rows(), csv.columns.names.join(",")), (rows, header.into()), "{line}");
        let bits = |data: &Dataset| data.to_rows().iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&csv), bits(&npy), "{line}");
    }
}

/// Decimal commas, what separates cells, and truth values: a cell that was there is written as it was, and one that is filled in as
/// those above and below it.
#[test]
fn a_table_is_filled_in_as_it_is_written() {
    let home = folder("columns-filled");
    let file = |name: &str, text: &str| std::fs::write(home.join(name), text).unwrap();
    file("x.csv", "a;ok;note;b\n1,50;yes;9,5;2\n2,25;no;8,5;\n;yes;7,5;4,25\n4,0;no;6,5;5\n");
    file("truth.csv", "a,ok,b\n1.50,True,2\n2.25,False,\n3.125,,4\n4,FALSE,5\n");
    let train =
        "--likelihood gaussian --scale standard --missing allow --epochs 2 --hidden 4 --latent 1 --device cpu --quiet";
    run(&home, &format!("train --data x.csv --columns a,b {train} --out x")).succeeded();
    run(&home, &format!("train --data truth.csv --bernoulli ok {train} --out truth")).succeeded();
    let filled = |line: &str| -> Vec<Vec<String>> {
        let text = run(&home, &format!("impute {line} --device cpu --quiet --to -")).succeeded().stdout;
        text.lines().map(|line| line.split([';']).map(String::from).collect()).collect()
    };
    let rows = filled("x --data x.csv");
    assert_eq!(rows[0], ["a", "ok", "note", "b"]);
    assert_eq!(rows[1], ["1,50", "yes", "9,5", "2"]);
    for (row, cell, rest) in [(2, 3, ["2,25", "no", "8,5"]), (3, 0, ["yes", "7,5", "4,25"])] {
        let number = &rows[row][cell];
        assert!(number.contains(',') && number.replace(',', ".").parse::<f32>().is_ok_and(f32::is_finite), "{number}");
        let others: Vec<&String> = (0..4).filter(|j| *j != cell).map(|j| &rows[row][j]).collect();
        assert_eq!(others, rest);
    }
    assert_eq!(rows[4], ["4,0", "no", "6,5", "5"]);
    let drawn = filled("truth --data truth.csv --draws 3").concat().join("\n");
    let drawn: Vec<&str> = drawn.lines().collect();
    assert_eq!((drawn[0], drawn[1], drawn[10]), ("a,ok,b", "1.50,True,2", "4,FALSE,5"));
    let words = |line: &&str| ["3.125,True,4", "3.125,False,4"].contains(line);
    assert!(drawn[7..10].iter().all(words), "{drawn:?}");
    // The mean of a truth value is a number.
    let mean: f32 = filled("truth --data truth.csv").concat()[3].split(',').nth(1).unwrap().parse().unwrap();
    assert!(mean > 0.0 && mean < 1.0);
}

/// What is not learned goes with the rows: names, and columns that are asked for; and a table is filled in where it has gaps, and is
/// as it was everywhere else.
#[test]
fn what_is_written_can_be_joined_to_what_was_read() {
    let home = folder("columns-joined");
    let row = |i: usize| [number(i, "age"), number(i, "weight"), ["no", "yes"][i % 2].to_string()];
    let line = |i: usize, [age, weight, ill]: [String; 3]| {
        format!("n{i};2020-01-0{};\"{},50\";{age};{}{i};{weight};{ill}\n", i % 9 + 1, 12345678 + i, 100000000)
    };
    let head = "who;day;paid;age;account;weight;ill\n";
    let whole: String = (0..ROWS).map(|i| line(i, row(i))).collect();
    let gaps: String = (0..ROWS)
        .map(|i| {
            let [age, weight, ill] = row(i);
            line(i, [if i % 3 == 0 { "NA".into() } else { age }, weight, if i % 5 == 0 { String::new() } else { ill }])
        })
        .collect();
    std::fs::write(home.join("all.csv"), format!("{head}{whole}")).unwrap();
    std::fs::write(home.join("gaps.csv"), format!("{head}{gaps}")).unwrap();
    std::fs::write(home.join("bare.csv"), &gaps).unwrap();
    let train = "train --data all.csv --columns age,weight,ill --categorical ill --scale standard --missing allow";
    run(&home, &format!("{train} {SMALL} --out run")).succeeded();
    let written = |line: &str| -> Vec<Vec<String>> {
        run(&home, &format!("{line} --to out.csv --force --device cpu --quiet")).succeeded();
        // A table that is filled in has the marks that it had.
        let semicolons = ["gaps.csv", "bare.csv", "all.csv"].map(|file| format!("impute run --data {file}"));
        let semicolons = semicolons.iter().any(|begin| line.starts_with(begin));
        let mut rows = csv::ReaderBuilder::new();
        rows.delimiter(if semicolons { b';' } else { b',' });
        let mut rows = rows.has_headers(false).from_path(home.join("out.csv")).unwrap();
        rows.records().map(|row| row.unwrap().iter().map(String::from).collect()).collect()
    };
    for (line, rest) in [
        ("encode run --data all.csv", &["mu0", "mu1"][..]),
        ("reconstruct run --data all.csv", &["age", "weight", "ill"]),
        ("eval run --data all.csv", &["iwae"]),
    ] {
        let by_name = written(line);
        assert_eq!((by_name.len(), by_name[0].join(" ")), (ROWS + 1, format!("who {}", rest.join(" "))), "{line}");
        assert!((0..ROWS).all(|i| by_name[i + 1][0] == format!("n{i}")), "{line}");
        let kept = written(&format!("{line} --keep 4,paid"));
        assert_eq!(kept[0], [&["paid", "account"], rest].concat());
        assert_eq!(kept[3][..2], ["12345680,50".to_string(), "1000000002".to_string()]);
        assert!(kept.iter().zip(&by_name).all(|(kept, named)| kept[2..] == named[1..]), "{line}");
    }
    // What is drawn around them is of them, too; and where a row has several draws, by what was asked for.
    let near = "sample run --near all.csv --per-example";
    assert_eq!(written(&format!("{near} 1"))[1][0], "n0");
    let kept = written(&format!("{near} 2 --keep who"));
    assert_eq!((kept.len(), kept[0].join(" ")), (2 * ROWS + 1, "who age weight ill".into()));
    assert!((0..2 * ROWS).all(|i| kept[i + 1][0] == format!("n{}", i / 2)));
    assert_eq!(written(&format!("{near} 2"))[0], ["age", "weight", "ill"]);
    // And from there on.
    written("encode run --data all.csv");
    std::fs::copy(home.join("out.csv"), home.join("z.csv")).unwrap();
    let decoded = written("decode run --data z.csv");
    assert_eq!(decoded, written("reconstruct run --data all.csv"));
    assert_eq!(written("encode run --data bare.csv")[0], ["", "mu0", "mu1"]);

    // On stdout too, with nothing else.
    let piped = |line: &str| {
        let out = run(&home, &format!("{line} --to out.csv --force --device cpu")).succeeded();
        assert_eq!(out.stdout, "", "{line}");
        let table = std::fs::read_to_string(home.join("out.csv")).unwrap();
        assert_eq!(run(&home, &format!("{line} --to - --device cpu")).succeeded().stdout, table, "{line}");
    };
    for line in [
        "encode run --data all.csv",
        "reconstruct run --data all.csv",
        "sample run --count 3",
        "impute run --data gaps.csv",
        "decode run --data z.csv",
    ] {
        piped(line);
    }
    assert!(!home.join("-").exists());
    run(&home, "eval run --data all.csv --to - --json --device cpu")
        .refused(2, "to -: with --json stdout has JSON, and nothing else; pass --to FILE.csv");

    // Filled in: what is there stays to the letter, what is missing is what the array has.
    let filled = written("impute run --data gaps.csv");
    let headless = written("impute run --data bare.csv");
    assert_eq!((&filled[0].join(";"), &filled[1..]), (&head.trim().to_string(), &headless[..]));
    run(&home, "impute run --data gaps.csv --to out.npy --device cpu --quiet").succeeded();
    let array = Dataset::read(&home.join("out.npy")).unwrap().to_rows();
    for (i, (got, values)) in headless.iter().zip(array.chunks(4)).enumerate() {
        let mut want = row(i);
        if i % 3 == 0 {
            want[0] = values[0].to_string();
        }
        if i % 5 == 0 {
            want[2] = if values[2] >= values[3] { "no".into() } else { "yes".into() };
        }
        let line = line(i, want).replace(['"', '\n'], "");
        assert_eq!(got.join(";"), line);
    }
    let twice = written("impute run --data gaps.csv --draws 2");
    assert!(twice.len() == 2 * ROWS + 1 && twice[1][..3] == twice[2][..3] && twice[3][1..3] == filled[2][1..3]);
    // A file that has a column for each word, and one in another encoding: what is not learned stays as it is, in UTF-8.
    std::fs::write(home.join("wide.csv"), "0.5,0.25,0,1\n,0.5,1,0\n0.5,,1,0\n0.5,0.5,,\n").unwrap();
    let wide = written("impute run --data wide.csv");
    let gaps: Vec<(usize, usize)> = vec![(1, 0), (2, 1), (3, 2), (3, 3)];
    for (i, line) in ["0.5,0.25,0,1", ",0.5,1,0", "0.5,,1,0", "0.5,0.5,,"].iter().enumerate() {
        for (j, cell) in line.split(',').enumerate() {
            let filled = wide[i][j].parse::<f32>().is_ok_and(f32::is_finite);
            assert!(filled && (gaps.contains(&(i, j)) || wide[i][j] == cell), "{i}, {j}: {wide:?}");
        }
    }
    let latin = b"who,age,weight,ill\nM\xfcller,0.5,,no\nM\xf6ller,0.25,0.5,yes\n";
    std::fs::write(home.join("latin.csv"), latin).unwrap();
    for line in ["impute run --data latin.csv", "encode run --data latin.csv"] {
        run(&home, &format!("{line} --to latin-out.csv --force --device cpu --quiet")).succeeded();
        let text = std::fs::read_to_string(home.join("latin-out.csv")).unwrap();
        assert!(text.contains("Müller") && text.contains("Möller"), "{text}");
    }
    // What comes again names no rows, and is left out unless it is asked for; decode finds what it needs beside words.
    let ill = |text: &str| -> String {
        text.lines()
            .enumerate()
            .map(|(i, line)| format!("{};{}\n", ["yes", "no"][i % 2], line.split_once(';').unwrap().1))
            .collect()
    };
    std::fs::write(home.join("again.csv"), format!("{head}{}", ill(&whole))).unwrap();
    assert_eq!(written("encode run --data again.csv")[0], ["mu0", "mu1"]);
    written("encode run --data again.csv --keep who,day,paid");
    std::fs::copy(home.join("out.csv"), home.join("z.csv")).unwrap();
    assert_eq!(written("decode run --data z.csv").len(), ROWS + 1);
    run(&home, "reconstruct run --data all.csv --keep age --to no.csv --device cpu")
        .refused(2, "keep age: the table has a column \"age\" anyway; leave it out");
    // The gap of the first row, of a mask: what it hides is filled in, too.
    std::fs::write(home.join("mask.csv"), "age,weight,ill\n1,0,1\n").unwrap();
    let masked = written("impute run --data all.csv --mask mask.csv");
    assert!((0..ROWS).all(|i| masked[i + 1][5] != row(i)[1] && masked[i + 1][3] == row(i)[0]));

    run(&home, &format!("train --data all.csv --columns age,weight {SMALL} --out two")).succeeded();
    run(&home, "reconstruct two --data all.csv --to two.npy --device cpu --quiet").succeeded();
    for (line, said) in [
        (
            "encode run --data all.csv --keep who --to z.npy",
            "keep who: only a csv has words; pass --to FILE.csv, or leave --keep out",
        ),
        (
            "eval run --data all.csv --keep who",
            "keep who: only a csv has words; pass --to FILE.csv, or leave --keep out",
        ),
        (
            "encode run --data all.csv --keep whom --to no.csv",
            "keep whom: all.csv has no column of this name; did you mean who?",
        ),
        (
            "encode two --data two.npy --keep 0 --to no.csv",
            "keep 0: two.npy is no text that can be read a second time; leave it out",
        ),
    ] {
        run(&home, &format!("{line} --device cpu --quiet")).refused(2, said);
    }
}

/// Columns that are told by name stand anywhere in the file; the model is that of a file where they stand last.
#[test]
fn a_condition_by_name_is_one_by_position() {
    let home = folder("columns-told");
    table(&home.join("all.csv"), true, &ALL);
    table(&home.join("turned.csv"), true, &["score", "date", "weight", "height", "id", "age"]);
    table(&home.join("bare.csv"), false, &ALL);
    let eval =
        |model: &str, data: &str| run(&home, &format!("eval {model} --data {data} --json --device cpu")).succeeded();
    for (i, (told, order)) in [
        ("height", ["age", "weight", "score", "height"]),
        ("score,age", ["height", "weight", "age", "score"]),
        ("age,score,age", ["height", "weight", "age", "score"]),
        ("weight,score", ["age", "height", "weight", "score"]),
    ]
    .into_iter()
    .enumerate()
    {
        table(&home.join("order.csv"), true, &order);
        let count = if told == "height" { 1 } else { 2 };
        let scaled = format!("{SMALL} --scale standard");
        let by_hand = format!("train --data order.csv --condition {}..4 {scaled} --out want --force", 4 - count);
        run(&home, &by_hand).succeeded();
        let want = tensors(&home, "want");
        let line = format!("train --data all.csv --skip-columns id,date --condition {told} {scaled} --out run{i}");
        run(&home, &line).succeeded();
        assert!(tensors(&home, &format!("run{i}")) == want, "{told}");
        let elbo = eval("want", "order.csv").stdout;
        for data in ["all.csv", "turned.csv", "bare.csv", "order.csv"] {
            assert_eq!(eval(&format!("run{i}"), data).stdout, elbo, "{told}: {data}");
        }
        // What is drawn has in front what it was told, and so is data of the model.
        let sample = format!("sample run{i} --condition all.csv --count 3 --to drawn.csv --force --device cpu");
        run(&home, &sample).succeeded();
        let drawn = std::fs::read_to_string(home.join("drawn.csv")).unwrap();
        let (x, given) = order.split_at(4 - count);
        assert_eq!(drawn.lines().next().unwrap(), [given, x].concat().join(","), "{told}");
        for (i, line) in drawn.lines().skip(1).enumerate() {
            let got: Vec<f64> = line.split(',').take(count).map(|x| x.parse().unwrap()).collect();
            let want: Vec<f64> = given.iter().map(|name| number(i, name).parse().unwrap()).collect();
            assert_near(told, &got, &want, 1e-6);
        }
        assert!(eval(&format!("run{i}"), "drawn.csv").stdout.contains("\"examples\":3"), "{told}");
        run(&home, &format!("train --config run{i}/run.toml --device cpu --quiet --out again{i}")).succeeded();
        assert!(tensors(&home, &format!("again{i}")) == want, "{told}: run.toml");
        // The command that a report shows.
        let page = browser::page(&home.join(format!("run{i}/report.html")));
        let command = browser::data(&page)["command"].as_str().unwrap().replace("vae-gpu ", "");
        run(&home, &format!("{command} --device cpu --quiet --out shown{i}")).succeeded();
        assert!(tensors(&home, &format!("shown{i}")) == want, "{told}: {command}");
    }
    // A file of this name is meant, where there is one.
    write_labels(&home.join("height"), &[1; ROWS]);
    let train = format!("train --data all.csv --skip-columns id,date {SMALL} --out labels --force --condition");
    run(&home, &format!("{train} height")).succeeded();
    assert!(std::fs::read_to_string(home.join("labels/config.json")).unwrap().contains("classes"));
    run(&home, &format!("{train} ags"))
        .refused(2, "condition ags: is no file, and all.csv has no column of this name; did you mean age?");
    run(&home, &format!("{train} date")).refused(
        2,
        "condition date: --columns, --skip-columns or --classes leave this column out; name one of the others",
    );
    run(&home, &format!("{train} age,weight,score,labels.idx")).refused(
        2,
        "condition labels.idx: is no file, and all.csv has no column of this name; it has id, age, height, date, weight, score",
    );
}

/// What is wrong with a column is said of its place in the file, which is what `--columns` and `--skip-columns` count.
#[test]
fn columns_are_told_by_their_place_in_the_file() {
    let home = folder("columns-places");
    let mut values: Vec<f32> = (0..30 * 12).map(|i| ((i * 37) % 97) as f32 / 97.0).collect();
    values.chunks_mut(12).enumerate().for_each(|(i, row)| (row[7], row[9]) = (2.5, (i % 2) as f32));
    let write = |name: &str, values: &[f32]| {
        npy::write(&mut std::fs::File::create(home.join(name)).unwrap(), 30, 12, values).unwrap();
    };
    write("x.npy", &values);
    values[3 * 12 + 8] = f32::NAN;
    write("gap.npy", &values);
    let said = run(
        &home,
        "train --data x.npy --columns 5..12 --scale standard --likelihood gaussian --hidden 4 --latent 1 \
                           --steps 2 --device cpu --out run",
    );
    let said = said.succeeded().stderr;
    assert!(said.contains("never changes, and is scaled by 1: column 7 (counted from 0)"), "{said}");
    assert!(said.contains("zeros and ones: column 9 (counted from 0); --bernoulli 9 learns it as such"), "{said}");
    run(&home, &format!("train --data gap.npy --columns 5..12 {SMALL} --out gap"))
        .refused(1, "row 3, column 8 (counted from 0) of gap.npy is NaN: must be a number; repair it, leave the example out, or train with --missing allow");
}
