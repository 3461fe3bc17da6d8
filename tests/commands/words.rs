//! `--categorical`: columns of words, as a user has them in a table, and as every command gives them back.
use crate::program::{folder, run};
use crate::runs::{self, tensors};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use vae_gpu::Vae;
use vae_gpu::config::{Condition, Likelihood, Variance};
use vae_gpu::data::{Asked, Columns, Dataset, Missing, npy};

const ROWS: usize = 60;
const SMALL: &str = "--hidden 5 --latent 2 --batch 8 --steps 20 --device cpu --quiet";
/// By the alphabet.
const WARDS: [&str; 3] = ["icu, or so", "medicine", "surgery"];
const OWN: &str = "--likelihood gaussian --variance shared --categorical ward,ill";

/// The last comes first: a file need not have them sorted.
fn ward(row: usize) -> usize {
    (row * row + 2) % 7 % 3
}

fn age(row: usize) -> f32 {
    (row as f32 * 1.7).sin() - ward(row) as f32
}

fn ill(row: usize) -> usize {
    (row + 1) % 3 % 2
}

/// A csv of these columns; of those of words `word` writes the cells.
fn table(path: &Path, header: &[&str], titled: bool, word: impl Fn(&str, usize) -> String) {
    let cell = |row: usize, column: &&str| match *column {
        "age" => age(row).to_string(),
        "bmi" => (age(row) * 0.5 + ill(row) as f32).to_string(),
        "id" => format!("n{row}"),
        "ward" => word(column, ward(row)),
        "ill" => word(column, ill(row)),
        other => panic!("{other}"),
    };
    let line = |row: usize| header.iter().map(|column| cell(row, column)).collect::<Vec<_>>().join(",") + "\n";
    let title = if titled { header.join(",") + "\n" } else { String::new() };
    fs::write(path, title + &(0..ROWS).map(line).collect::<String>()).unwrap();
}

fn words(column: &str, place: usize) -> String {
    format!("\"{}\"", if column == "ward" { WARDS[place] } else { ["no", "yes"][place] })
}

/// What they are sorted as, too.
fn numbers(column: &str, place: usize) -> String {
    if column == "ward" { ["-3.50", "9.0", "10"][place] } else { ["0", "1"][place] }.into()
}

const ALL: [&str; 4] = ["age", "ward", "ill", "bmi"];

#[test]
fn every_way_to_give_words_gives_the_same_model() {
    let home = folder("words-ways");
    table(&home.join("x.csv"), &ALL, true, words);
    table(&home.join("bare.csv"), &ALL, false, words);
    table(&home.join("id.csv"), &["id", "age", "ward", "ill", "bmi"], true, words);
    table(&home.join("numbers.csv"), &ALL, true, numbers);
    let codes =
        |row: usize| [age(row), [-3.5, 9.0, 10.0][ward(row)], ill(row) as f32, age(row) * 0.5 + ill(row) as f32];
    let rows: Vec<f32> = (0..ROWS).flat_map(codes).collect();
    npy::write(&mut fs::File::create(home.join("array.npy")).unwrap(), ROWS, 4, &rows).unwrap();
    run(&home, &format!("train --data x.csv {OWN} {SMALL} --out want")).succeeded();
    let want = tensors(&home.join("want"));
    let ways = [
        format!("--data x.csv --variance shared --likelihood categorical --gaussian age,bmi {SMALL}"),
        format!("--data bare.csv {} {SMALL}", OWN.replace("ward,ill", "2,1")),
        format!("--data id.csv {OWN} {SMALL}"),
        format!("--data id.csv {} --skip-columns id {SMALL}", OWN.replace("ward,ill", "2..4")),
        format!("--data numbers.csv {OWN} {SMALL}"),
        format!("--data array.npy {} {SMALL}", OWN.replace("ward,ill", "1..3")),
    ];
    for (i, way) in ways.iter().enumerate() {
        run(&home, &format!("train {way} --out run{i}")).succeeded();
        assert!(tensors(&home.join(format!("run{i}"))) == want, "{way}");
        // A run goes on from its end as any other, and run.toml and the page of a report make it again.
        run(&home, &format!("train --resume run{i} --device cpu --quiet")).succeeded();
        run(&home, &format!("train --config run{i}/run.toml --device cpu --quiet --out again{i}")).succeeded();
        runs::assert_same_run(&home.join(format!("run{i}")), &home.join(format!("again{i}")), way);
        let page = fs::read_to_string(home.join(format!("run{i}/report.html"))).unwrap();
        let (_, data) = page.split_once("<script type=\"application/json\" id=\"data\">").unwrap();
        let data: serde_json::Value = serde_json::from_str(data.split_once("</script>").unwrap().0).unwrap();
        let command = data["command"].as_str().unwrap().strip_prefix("vae-gpu ").unwrap().to_string();
        run(&home, &format!("{command} --device cpu --quiet --out told{i}")).succeeded();
        assert!(tensors(&home.join(format!("told{i}"))) == want, "{command}");
    }

    // The same from numbers of which one is 1, by the library; and from a file that it reads.
    let one_of = |row: usize| {
        let [age, _, _, bmi] = codes(row);
        let is = |yes: bool| yes as u8 as f32;
        let (ward, ill) = (ward(row), ill(row));
        [age, is(ward == 0), is(ward == 1), is(ward == 2), is(ill == 0), is(ill == 1), bmi]
    };
    let builder = || {
        let mut builder = Vae::builder().hidden(&[5]).latent(2).batch(8).steps(20).device("cpu");
        builder = builder.likelihood(Likelihood::Gaussian).variance(Variance::Shared);
        builder
    };
    let rows = Arc::new(Dataset::from_rows("rows", 7, (0..ROWS).flat_map(one_of).collect()).unwrap());
    let by_hand = builder().columns(Likelihood::Categorical, 1..4).columns(Likelihood::Categorical, 4..6);
    by_hand.folder(home.join("library")).fit(&rows).unwrap();
    assert!(tensors(&home.join("library")) == want);
    let asked = Asked { likelihoods: vec![(Likelihood::Categorical, "ward,ill".parse().unwrap())], ..Asked::default() };
    let read = Dataset::read_columns(&home.join("x.csv"), Columns::asked(asked).as_ref(), Missing::Refuse).unwrap();
    assert_eq!(read.to_rows(), rows.to_rows());
    builder().folder(home.join("read")).fit(&Arc::new(read)).unwrap();
    assert!(tensors(&home.join("read")) == want);
}

/// What commands write as csv has the columns of the table, and is data like those of the training.
#[test]
fn every_command_takes_words_and_gives_words() {
    let home = folder("words-commands");
    table(&home.join("x.csv"), &ALL, true, words);
    table(&home.join("other.csv"), &["ill", "id", "bmi", "ward", "age"], true, words);
    let gap = |column: &str, place: usize| if place == 1 { String::new() } else { words(column, place) };
    table(&home.join("gaps.csv"), &ALL, true, gap);
    run(&home, &format!("train --data x.csv {OWN} --scale standard --valid other.csv {SMALL} --out run")).succeeded();
    npy::write(&mut fs::File::create(home.join("mask.npy")).unwrap(), 1, 4, &[1.0, 0.0, 1.0, 1.0]).unwrap();
    let narrow = "run --data x.csv --mask wide.npy --to wide.csv";
    npy::write(&mut fs::File::create(home.join("wide.npy")).unwrap(), 1, 7, &[1.0; 7]).unwrap();
    // A first column that is words of the model is no names of rows, though it was not the first.
    let letters =
        |column: &str, place: usize| if column == "ill" { ["a", "7"][place].into() } else { words(column, place) };
    table(&home.join("letters.csv"), &ALL, true, letters);
    table(&home.join("moved.csv"), &["ill", "bmi", "ward", "age"], true, letters);
    run(&home, &format!("train --data letters.csv {OWN} --valid moved.csv {SMALL} --out letters")).succeeded();
    let said = run(&home, "eval letters --data moved.csv --device cpu").succeeded().stderr;
    assert!(!said.contains("taken as"), "{said}");
    let said =
        run(&home, "impute letters --data moved.csv --mask mask.npy --to moved.npy --device cpu").succeeded().stderr;
    assert!(said.contains("60 of 240 values are missing"), "{said}");
    for command in [
        "eval run --data other.csv --count 10 --samples 10 --estimator iwae,naive,ais --to bounds.npy",
        "encode run --data other.csv --to latents.csv",
        "decode run --data latents.csv --to decoded.csv",
        "reconstruct run --data x.csv --to back.csv",
        "reconstruct run --data x.csv --to back.png",
        "sample run --count 40 --draw --to drawn.csv",
        "sample run --count 40 --to means.csv",
        "sample run --count 40 --to means.npy",
        "sample run --near x.csv --to near.csv",
        "interpolate run --data x.csv --to between.csv",
        "traverse run --data x.csv --to latents.png",
        "traverse run --data x.csv --rows 2 --steps 3 --extent 2 --to around.csv",
        "manifold run --to plane.csv",
        "impute run --data gaps.csv --to filled.csv",
        "impute run --data gaps.csv --draws 2 --to imputed.csv",
        "impute run --data x.csv --mask mask.npy --to masked.csv",
        "impute run --data x.csv --mask mask.npy --score --json",
        "report run --to page.html",
    ] {
        run(&home, &format!("{command} --device cpu --quiet")).succeeded();
    }
    let known = |file: &str| {
        let text = fs::read_to_string(home.join(file)).unwrap();
        let which = match file {
            "between.csv" => "from,to,part,",
            "around.csv" => "latent,z,",
            "plane.csv" => "z0,z1,",
            _ => "",
        };
        assert!(text.starts_with(&format!("{which}age,ward,ill,bmi\n")), "{file}: {text}");
        run(&home, &format!("eval run --data {file} --device cpu --quiet")).succeeded();
        text
    };
    for file in
        ["decoded.csv", "back.csv", "drawn.csv", "means.csv", "near.csv", "between.csv", "plane.csv", "imputed.csv"]
    {
        known(file);
    }
    // Points of the latents are told with where they are.
    let begin = |file: &str, cells: usize| -> Vec<String> {
        let cut = |line: &str| line.split(',').take(cells).collect::<Vec<_>>().join(",");
        known(file).lines().skip(1).map(cut).collect()
    };
    let (moved, between, plane) = (begin("around.csv", 2), begin("between.csv", 3), begin("plane.csv", 2));
    let latents: Vec<&str> = moved.iter().step_by(3).map(|row| &row[..1]).collect();
    assert!(latents == ["0", "1"] || latents == ["1", "0"], "{moved:?}");
    let want = latents.iter().flat_map(|j| ["-2", "0", "2"].map(|z| format!("{j},{z}")));
    assert_eq!(moved, want.collect::<Vec<_>>());
    assert_eq!((between.len(), &between[1][..], &between[9][..]), (36, "0,1,0.125", "2,3,0"));
    assert_eq!(
        (plane.len(), plane[0].split(',').next()),
        (400, plane[20].split(',').next()),
        "a column of the plane has one z0"
    );
    // What was there stays, word for word; and what a mask hid is not copied.
    let (filled, whole, masked) =
        (known("filled.csv"), fs::read_to_string(home.join("x.csv")).unwrap(), known("masked.csv"));
    let rows = |text: &str| {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
        reader
            .records()
            .skip(1)
            .map(|row| row.unwrap().iter().map(String::from).collect::<Vec<_>>())
            .collect::<Vec<_>>()
    };
    let whole = rows(&whole);
    for (row, (filled, masked)) in rows(&filled).iter().zip(&rows(&masked)).enumerate() {
        let there = [true, ward(row) != 1, ill(row) != 1, true];
        (0..4).filter(|&j| there[j]).for_each(|j| assert_eq!(filled[j], whole[row][j], "row {row}, column {j}"));
        assert!(WARDS.contains(&filled[1].as_str()) && ["no", "yes"].contains(&filled[2].as_str()), "{filled:?}");
        [0, 2, 3].iter().for_each(|&j| assert_eq!(masked[j], whole[row][j], "row {row}, column {j}"));
    }
    assert!(
        rows(&masked).iter().zip(&whole).any(|(a, b)| a[1] != b[1]),
        "a model of 20 steps knows no ward by its age"
    );
    // An npy has a column for each word: of means their probabilities.
    let means = Dataset::read(&home.join("means.npy")).unwrap();
    assert_eq!((means.rows(), means.cols), (40, 7));
    for row in means.to_rows().chunks(7) {
        let [ward, ill] = [&row[1..4], &row[4..6]].map(|p| p.iter().sum::<f32>());
        assert!((ward - 1.0).abs() < 1e-5 && (ill - 1.0).abs() < 1e-5 && row[1..6].iter().all(|p| *p > 0.0), "{row:?}");
    }
    run(&home, &format!("impute {narrow}"))
        .refused(1, "wide.npy: the mask is 1 x 7 numbers; must be 60 x 4 as x.csv, or one row of 4");

    // With gaps, of which the data of the training have some too; a word that no model knows; and told its age.
    run(&home, &format!("train --data gaps.csv --missing allow {OWN} {SMALL} --out gaps")).succeeded();
    run(&home, "impute gaps --data gaps.csv --to gaps-filled.csv --device cpu --quiet").succeeded();
    let allowed = format!("train --data x.csv --missing allow {OWN} {SMALL} --out allowed");
    run(&home, &allowed).succeeded();
    run(&home, "eval allowed --data gaps.csv --device cpu --quiet").succeeded();
    let new = |column: &str, place: usize| if place == 2 { "hall".into() } else { words(column, place) };
    table(&home.join("new.csv"), &ALL, true, new);
    let line = 2 + (0..ROWS).position(|row| ward(row) == 2).unwrap();
    run(&home, "eval run --data new.csv --device cpu").refused(
        1,
        &format!(
            "line {line} of new.csv has \"hall\" in column ward: the model knows \"icu, or so\", \"medicine\", \"surgery\"; \
             leave the example out, or train on data that have it"
        ),
    );
    run(&home, "encode allowed --data new.csv --to new.npy --device cpu").refused(
        1,
        &format!(
            "line {line} of new.csv has \"hall\" in column ward: the model knows \"icu, or so\", \"medicine\", \"surgery\"; \
             leave the cell empty or pass --unknown-words missing, which the model takes as missing, or leave the example \
             out, or train on data that have it"
        ),
    );
    // As missing it is as if the cell were empty.
    let out = run(&home, "encode allowed --data new.csv --unknown-words missing --to new.npy --device cpu");
    let halls = (0..ROWS).filter(|&row| ward(row) == 2).count();
    let note = format!(
        "(\"ward\", counted from 0) of new.csv: {halls} of {ROWS} words are none of the model's, as \"hall\"; taken as missing"
    );
    let said = out.succeeded().stderr;
    assert!(said.contains(&note), "{said}\nnot: {note}");
    let empty = |column: &str, place: usize| if place == 2 { String::new() } else { words(column, place) };
    table(&home.join("empty.csv"), &ALL, true, empty);
    run(&home, "encode allowed --data empty.csv --to empty.npy --device cpu --quiet").succeeded();
    assert!(fs::read(home.join("new.npy")).unwrap() == fs::read(home.join("empty.npy")).unwrap());
    // Whatever the model was trained on, impute fills it in.
    run(&home, "impute run --data new.csv --unknown-words missing --to new-filled.csv --device cpu --quiet")
        .succeeded();
    let filled = fs::read_to_string(home.join("new-filled.csv")).unwrap();
    assert!(filled.lines().count() == ROWS + 1 && !filled.contains("hall"), "{filled}");
    // A table has no column twice: one of words is written by its name, too.
    run(&home, "reconstruct run --data x.csv --keep ward --to twice.csv --device cpu")
        .refused(2, "keep ward: the table has a column \"ward\" anyway; leave it out");
    let takes_none =
        "unknown-words missing: the model takes no missing values; train it with --missing allow, or leave it out";
    run(&home, "eval run --data new.csv --unknown-words missing --device cpu").refused(2, takes_none);
    run(&home, &format!("train --data x.csv {OWN} --condition bmi {SMALL} --out told")).succeeded();
    run(&home, "sample told --condition other.csv --count 5 --draw --to told.csv --device cpu --quiet").succeeded();
    assert!(fs::read_to_string(home.join("told.csv")).unwrap().starts_with("bmi,age,ward,ill\n"));
    run(&home, "eval told --data told.csv --device cpu --quiet").succeeded();
    run(&home, "eval told --data other.csv --device cpu --quiet").succeeded();
    let classes = format!("train --data x.csv --classes ill --condition labels {OWN} {SMALL} --out classes");
    run(&home, &classes.replace("ward,ill", "ward")).succeeded();
    run(&home, "sample classes --condition yes --count 5 --draw --to yes.csv --device cpu --quiet").succeeded();
    assert!(fs::read_to_string(home.join("yes.csv")).unwrap().starts_with("ill,age,ward,bmi\n"));
}

/// The first column is one of words where it is asked for as such, and else holds the names of rows.
#[test]
fn words_in_front_are_no_names_of_rows() {
    let home = folder("words-front");
    table(&home.join("front.csv"), &["ward", "ill", "age"], true, words);
    table(&home.join("bare.csv"), &["ward", "ill", "age"], false, words);
    table(&home.join("words.csv"), &["ward", "ill"], true, words);
    for (i, way) in [
        "front.csv --likelihood gaussian --variance shared --categorical ward,ill",
        "bare.csv --likelihood gaussian --variance shared --categorical 0,1",
        "front.csv --likelihood gaussian --variance shared --categorical 0..2",
    ]
    .iter()
    .enumerate()
    {
        let said =
            run(&home, &format!("train --data {way} {} --out run{i}", SMALL.replace(" --quiet", ""))).succeeded();
        assert!(
            said.stderr.contains("60 examples; model 6-5-2-5-6") && !said.stderr.contains("taken as"),
            "{}",
            said.stderr
        );
        assert!(tensors(&home.join(format!("run{i}"))) == tensors(&home.join("run0")), "{way}");
        let said = run(&home, &format!("eval run{i} --data front.csv --device cpu")).succeeded();
        assert!(!said.stderr.contains("taken as"), "{}", said.stderr);
    }
    // All columns are of words: the first line is a header all the same.
    let all = format!("train --data words.csv --likelihood categorical {SMALL} --out all");
    run(&home, &all).succeeded();
    run(&home, "sample all --count 30 --draw --to all.csv --device cpu --quiet").succeeded();
    assert!(fs::read_to_string(home.join("all.csv")).unwrap().starts_with("ward,ill\n"));
    run(&home, "compare all run0").succeeded();
}

#[test]
fn what_is_no_column_of_words_is_refused_or_told() {
    let home = folder("words-refused");
    table(&home.join("x.csv"), &ALL, true, words);
    table(&home.join("id.csv"), &["age", "id"], true, words);
    let many: String = (0..1001).map(|i| format!("{i},w{i}\n")).collect();
    fs::write(home.join("many.csv"), format!("a,w\n{many}")).unwrap();
    fs::write(home.join("empty.csv"), "a,w\n1,\n2,NA\n").unwrap();
    fs::write(home.join("one.csv"), "a,w\n1,x\n2,\n").unwrap();
    let train = |options: &str| run(&home, &format!("train {options} {SMALL} --out run"));
    for (options, code, sentence) in [
        (
            "--data many.csv --categorical w",
            1,
            "categorical w: many.csv has more than 1000 different values there; must be a column of words, of which each has \
             many examples",
        ),
        (
            "--data empty.csv --categorical w --missing allow",
            1,
            "column 1 (\"w\", counted from 0) of empty.csv: every value is missing; leave the column out",
        ),
        (
            "--data one.csv --categorical w",
            1,
            "line 3, column 2 (\"w\") of one.csv is empty: fill the cell, leave the example out, or train with --missing allow",
        ),
        (
            "--data x.csv --columns age,bmi --categorical ward",
            2,
            "categorical ward: is left out, or told to the model; name columns that are learned",
        ),
        (
            "--data x.csv --likelihood gaussian --bernoulli ward --categorical ward",
            2,
            "categorical ward: column 1 (counted from 0) is bernoulli already; name it once",
        ),
        (
            "--data x.csv --likelihood gaussian --categorical ward",
            1,
            "line 2, column 3 (\"ill\") of x.csv is \"yes\", not a number: separate numbers by comma, semicolon or tab; of a column of \
             words train with --categorical ill, with --classes ill if it is the class of an example, or with --skip-columns ill",
        ),
    ] {
        train(options).refused(code, sentence);
    }
    let said = run(
        &home,
        &format!(
            "train --data id.csv --categorical id --likelihood gaussian {} --out id",
            SMALL.replace(" --quiet", "")
        ),
    );
    let said = said.succeeded().stderr;
    assert!(
        said.contains("column 1 (\"id\", counted from 0) of id.csv: 60 words in 60 rows, hardly one comes again; --skip-columns leaves names out"),
        "{said}"
    );
    train(&format!("--data x.csv {OWN}")).succeeded();
    run(&home, "impute run --data x.csv --noise 0.1 --to y.csv --device cpu")
        .refused(2, "noise 0.1: with normal noise on them counts are no counts, and words no words; leave it out");
    // By the library: of columns that stand for one variable, one is 1.
    let rows = |bad: [f32; 2]| Arc::new(Dataset::from_rows("rows", 2, [[1.0, 0.0], bad].concat()).unwrap());
    let fit = |bad| {
        Vae::builder().hidden(&[2]).latent(1).likelihood(Likelihood::Categorical).steps(1).device("cpu").fit(&rows(bad))
    };
    assert!(fit([0.0, 1.0]).is_ok());
    for bad in [[1.0, 1.0], [0.0, 0.0], [0.5, 0.5]] {
        let sentence = fit(bad).map(|_| ()).unwrap_err().to_string();
        assert!(
            sentence.starts_with("row 1, columns 0..2 (counted from 0) of rows: one must be 1 and the others 0"),
            "{sentence}"
        );
    }
}

/// A file may say anything of its words.
#[test]
fn words_that_cannot_be_are_no_model() {
    let home = folder("words-damaged");
    table(&home.join("x.csv"), &ALL, true, words);
    run(&home, &format!("train --data x.csv {OWN} {SMALL} --out run")).succeeded();
    let run_of = || Vae::open(home.join("run")).unwrap().run().clone();
    let with = |change: &dyn Fn(&mut Columns)| {
        let mut run = run_of();
        change(run.data.columns.as_mut().unwrap());
        run.check()
    };
    assert!(with(&|_| ()).is_ok());
    let mut told = run_of();
    told.data.condition = Some(Condition::Columns { columns: (0, 1), x: None });
    assert!(told.check().unwrap_err().to_string().starts_with("words: those of its data"));
    for change in [
        &(|c: &mut Columns| c.words[0].column = 0) as &dyn Fn(&mut Columns),
        &|c| c.words[0].column = usize::MAX,
        &|c| c.words[1].column = 1,
        &|c| c.words[0].words.clear(),
        &|c| _ = c.words[0].words.pop(),
        &|c| c.words.truncate(1),
        &|c| c.words.swap(0, 1),
    ] {
        let sentence = with(change).unwrap_err().to_string();
        assert!(sentence.starts_with("words: those of its data"), "{sentence}");
    }
}

/// A table, trained on and evaluated: what is said of it, and how many columns x has.
fn read(home: &Path, text: &str, options: &str) -> (String, usize) {
    fs::write(home.join("t.csv"), text).unwrap();
    let quiet = SMALL.replace(" --quiet", "");
    let trained = run(home, &format!("train --data t.csv {options} {quiet} --force --out t")).succeeded().stderr;
    let rows = text.lines().count();
    let again = run(home, "eval t --data t.csv --device cpu").succeeded();
    run(home, "train --resume t --device cpu --quiet").succeeded();
    let counted = again.stdout.contains(&format!("t.csv: {rows} examples"));
    let said = trained + &again.stderr + if counted { "all examples" } else { "" };
    (said, Vae::open(home.join("t")).unwrap().run().model.input)
}

/// Without a header every line is an example, whatever stands in front; where only words are it may be one, and that is said.
#[test]
fn lines_without_a_header_are_examples() {
    let home = folder("words-bare");
    let gaussian = "--likelihood gaussian --variance shared";
    let lines = |line: &dyn Fn(usize) -> String| (0..30).map(line).collect::<String>();
    let word = |i: usize| ["A", "B", "C"][i * i % 7 % 3];
    // Behind names of rows, of which the report knows too.
    let named = lines(&|i| format!("p{i},{},{}\n", word(i), i % 5));
    let (said, input) = read(&home, &named, &format!("{gaussian} --categorical 1"));
    assert!(input == 4 && said.contains("all examples") && said.contains("taken as names of the rows"), "{said}");
    let page = fs::read_to_string(home.join("t/report.html")).unwrap();
    assert!(page.contains("--categorical 1 "), "of the file");
    let (said, _) =
        read(&home, &lines(&|i| format!("p{i},{},{}\n", i % 5, word(i))), &format!("{gaussian} --categorical 2"));
    assert!(said.contains("all examples"), "{said}");
    // Words, numbers and gaps in the first column.
    let mixed = lines(&|i| format!("{},{}\n", if i % 3 == 1 { "7" } else { word(i) }, i % 5));
    let (said, _) = read(&home, &mixed, &format!("{gaussian} --categorical 0"));
    assert!(said.contains("all examples") && !said.contains("taken as"), "{said}");
    let gaps = lines(&|i| format!("{},{}\n", if i == 1 { "" } else { word(i) }, i % 5));
    let (said, _) = read(&home, &gaps, &format!("{gaussian} --categorical 0 --missing allow"));
    assert!(said.contains("all examples") && said.contains("1 of 60 values missing"), "{said}");
    let words = lines(&|i| format!("{},{}\n", word(i), word(i + 1)));
    let quiet = SMALL.replace(" --quiet", "");
    fs::write(home.join("words.csv"), words).unwrap();
    let said =
        run(&home, &format!("train --data words.csv --likelihood categorical {quiet} --out words")).succeeded().stderr;
    assert!(said.contains("words.csv: first line (\"A\", \"B\") taken as names of the columns"), "{said}");

    // Columns without names are numbered as in the file; some of them, alone in a file, are those of the model.
    run(&home, "sample t --draw --count 5 --to d.csv --device cpu --quiet").succeeded();
    assert!(fs::read_to_string(home.join("d.csv")).unwrap().starts_with("x0,x1\n"));
    let five = lines(&|i| format!("{},{},{},{},{}\n", i % 4, word(i), i % 3, word(i + 1), i % 5));
    let (_, input) = read(&home, &five, &format!("{gaussian} --columns 1,2,3 --categorical 1,3"));
    assert_eq!(input, 7);
    run(&home, "sample t --draw --count 20 --to some.csv --device cpu --quiet").succeeded();
    let some = fs::read_to_string(home.join("some.csv")).unwrap();
    assert!(some.starts_with("x0,x1,x2\n"), "{some}");
    fs::write(home.join("some.csv"), some.split_once('\n').unwrap().1).unwrap();
    run(&home, "eval t --data some.csv --device cpu --quiet").succeeded();
    // An array that has a column for each word is read back.
    run(&home, "sample t --draw --count 20 --to wide.npy --device cpu --quiet").succeeded();
    run(&home, "eval t --data wide.npy --device cpu --quiet").succeeded();
    run(&home, "sample t --count 20 --to means.npy --device cpu --quiet").succeeded();
    let said = run(&home, "eval t --data means.npy --device cpu --quiet").stderr;
    assert!(
        said.contains("row 0, columns 0..3 (counted from 0) of means.npy: one must be 1 and the others 0"),
        "{said}"
    );
    fs::write(home.join("two.csv"), "A,1\nB,2\n").unwrap();
    let said = run(&home, "eval t --data two.csv --device cpu --quiet").stderr;
    assert!(said.contains("an example has 2 numbers; must have 5, as the data of the model"), "{said}");
}

/// A table of a spreadsheet, not in UTF-8: its words are those of a later file that is.
#[test]
fn words_of_another_encoding_are_the_same() {
    let home = folder("words-encoding");
    let latin: String = (0..30).map(|i| format!("{},{i}\n", ["M\u{fc}ller", "M\u{f6}ller"][i % 2])).collect();
    let bytes: Vec<u8> = format!("gr\u{f6}\u{df}e,a\n{latin}").chars().map(|c| c as u8).collect();
    fs::write(home.join("latin.csv"), bytes).unwrap();
    let loud = SMALL.replace("--quiet", "");
    let out = run(
        &home,
        &format!("train --data latin.csv --categorical gr\u{f6}\u{df}e --likelihood gaussian {loud} --out l"),
    );
    let said = out.succeeded().stderr;
    assert!(said.contains("latin.csv: line 1 is not UTF-8; taken as Windows-1252"), "{said}");
    assert_eq!(Vae::open(home.join("l")).unwrap().run().model.input, 3);
    fs::write(home.join("utf8.csv"), format!("gr\u{f6}\u{df}e,a\n{latin}")).unwrap();
    let [one, other] = ["latin.csv", "utf8.csv"].map(|file| {
        run(&home, &format!("eval l --data {file} --device cpu --quiet --json --to {file}.npy")).succeeded();
        fs::read(home.join(format!("{file}.npy"))).unwrap()
    });
    assert!(one == other);
    // So do classes.
    let told = format!(
        "train --data latin.csv --classes gr\u{f6}\u{df}e --condition labels --likelihood gaussian {SMALL} --out c"
    );
    run(&home, &told).succeeded();
    run(&home, "sample c --condition M\u{fc}ller --count 2 --to s.npy --device cpu").succeeded();
}

/// What are words, and which are the same.
#[test]
fn words_are_as_they_are_written() {
    let home = folder("words-written");
    let gaussian = "--likelihood gaussian --variance shared --categorical w";
    let table = |words: &[&str]| {
        "w,a\n".to_string() + &(0..30).map(|i| format!("{},{i}\n", words[i % words.len()])).collect::<String>()
    };
    for (words, options, want) in [
        (&["none", "mild", "null", "-", "."][..], "", 6),
        (&["+", "-", "?", "NA", "N/A", "nan", ""], "--missing allow", 3),
        (&["007", "7", "7.0", "01", "1e5", "100000"], "", 6),
        (&["12345678901234567890", "12345678901234567891"], "", 3),
    ] {
        fs::write(home.join("t.csv"), table(words)).unwrap();
        run(&home, &format!("train --data t.csv {gaussian} {options} {SMALL} --force --out t")).succeeded();
        assert_eq!(Vae::open(home.join("t")).unwrap().run().model.input, want, "{words:?}");
        // And they come back so.
        run(&home, "impute t --data t.csv --to f.csv --force --device cpu --quiet").succeeded();
        let (got, want) = (fs::read_to_string(home.join("f.csv")).unwrap(), table(words));
        let kept = got.lines().zip(want.lines()).filter(|(got, want)| got == want).count();
        let missing = words.iter().filter(|word| ["?", "NA", "N/A", "nan", ""].contains(word)).count();
        assert!(kept == 31 - (0..30).filter(|i| i % words.len() >= words.len() - missing).count(), "{got}");
    }
    let codes: Vec<f32> = (0..20).flat_map(|i| [(1u32 << 24) as f32 + 4.0 * (i % 2) as f32, i as f32]).collect();
    npy::write(&mut fs::File::create(home.join("big.npy")).unwrap(), 20, 2, &codes).unwrap();
    run(&home, &format!("train --data big.npy --likelihood gaussian --categorical 0 {SMALL} --out l")).refused(
        1,
        "categorical 0 (counted from 0): row 0 of big.npy is 16777216, and f32 tells no codes beyond 16777216 apart; give words, or \
         smaller codes",
    );
}

/// A word of one file is no other word of another.
#[test]
fn the_library_does_not_mix_words_up() {
    let home = folder("words-library");
    let write = |name: &str, words: [&str; 3]| {
        let text: String = (0..30).map(|i| format!("{},{}\n", words[i % 3], i % 5)).collect();
        fs::write(home.join(name), format!("w,a\n{text}")).unwrap();
    };
    write("abc.csv", ["a", "b", "c"]);
    write("acd.csv", ["a", "c", "d"]);
    let asked = || Asked { likelihoods: vec![(Likelihood::Categorical, "w".parse().unwrap())], ..Asked::default() };
    let read = |name: &str, columns: Columns| {
        Dataset::read_columns(&home.join(name), Some(&columns), Missing::Refuse).map(Arc::new)
    };
    let [abc, acd] = ["abc.csv", "acd.csv"].map(|name| read(name, Columns::asked(asked()).unwrap()).unwrap());
    let builder = || Vae::builder().hidden(&[2]).latent(1).likelihood(Likelihood::Gaussian).steps(2).device("cpu");
    let vae = builder().fit(&abc).unwrap();
    assert!(vae.elbo(&abc).is_ok());
    let said = |e: vae_gpu::Error| e.to_string();
    assert!(said(vae.elbo(&acd).unwrap_err()).contains("has other words than the model knows"));
    assert!(said(builder().valid(&acd).fit(&abc).err().unwrap()).contains("has other words than"));
    assert!(said(builder().columns(Likelihood::Poisson, 3..4).fit(&abc).err().unwrap()).starts_with("columns: "));
    assert!(said((*abc).clone().arranged(None, 0..1).unwrap_err()).contains("cannot be arranged by places"));
    assert!(said(read("acd.csv", vae.run().data.known_columns()).unwrap_err()).contains("has \"d\" in column w"));
    assert!(
        said((*abc).clone().with_columns(&vae.run().data.known_columns()).unwrap_err()).contains("read the file by")
    );
}
