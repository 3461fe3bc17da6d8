//! `--classes`: a column that is no part of x but says of what class an example is. It is what a file of labels is, and later
//! files are read by it.
use crate::browser;
use crate::program::{command, folder, run, write_labels};
use crate::runs::tensors;
use std::fs;
use std::path::Path;
use vae_gpu::Vae;
use vae_gpu::data::{Dataset, Missing, npy};

const ROWS: usize = 60;
const SMALL: &str = "--likelihood gaussian --hidden 5 --latent 2 --batch 8 --steps 20 --device cpu --quiet";
/// In the order of the alphabet, and so of their labels.
const WORDS: [&str; 3] = ["Adelie", "chinstrap", "gentoo, or so"];

fn class(row: usize) -> usize {
    row * row % 7 % 3
}

/// Two numbers near (class, −class).
fn x(row: usize) -> [f64; 2] {
    let (class, little) = (class(row) as f64, (row as f64 * 1.7).sin() * 0.1);
    [class + little, little * 0.5 - class]
}

/// A csv of these columns; `word` writes the class.
fn table(path: &Path, header: &[&str], titled: bool, word: impl Fn(usize) -> String) {
    let cell = |row: usize, column: &&str| match *column {
        "a" => x(row)[0].to_string(),
        "b" => x(row)[1].to_string(),
        "id" => row.to_string(),
        "class" => word(class(row)),
        other => panic!("{other}"),
    };
    let line = |row: usize| header.iter().map(|column| cell(row, column)).collect::<Vec<_>>().join(",") + "\n";
    let title = if titled { header.join(",") + "\n" } else { String::new() };
    fs::write(path, title + &(0..ROWS).map(line).collect::<String>()).unwrap();
}

fn quoted(class: usize) -> String {
    format!("\"{}\"", WORDS[class])
}

fn labels(path: &Path) {
    let labels: Vec<u8> = (0..ROWS).map(|row| class(row) as u8).collect();
    write_labels(path, &labels);
}

#[test]
fn a_column_of_classes_gives_the_model_of_a_file_of_labels() {
    let home = folder("classes-ways");
    table(&home.join("x.csv"), &["a", "b"], true, quoted);
    labels(&home.join("labels.idx"));
    table(&home.join("last.csv"), &["a", "b", "class"], true, quoted);
    table(&home.join("first.csv"), &["class", "a", "b"], true, quoted);
    table(&home.join("bare-last.csv"), &["a", "b", "class"], false, quoted);
    table(&home.join("bare-first.csv"), &["class", "a", "b"], false, quoted);
    table(&home.join("between.csv"), &["id", "a", "class", "b"], true, quoted);
    // By the alphabet 10 comes first; and 9.0 is 9.
    let numbers = ["-0.50", "9.0", "10"];
    table(&home.join("numbers.csv"), &["a", "class", "b"], true, |class| numbers[class].into());
    let rows: Vec<f32> = (0..ROWS).flat_map(|row| [x(row)[0] as f32, class(row) as f32, x(row)[1] as f32]).collect();
    npy::write(&mut fs::File::create(home.join("array.npy")).unwrap(), ROWS, 3, &rows).unwrap();
    let train = |data: &str, out: &str| run(&home, &format!("train {data} {SMALL} --out {out}")).succeeded();
    train("--data x.csv --condition labels.idx", "want");
    let want = tensors(&home.join("want"));
    let ways = [
        "last.csv --classes class",
        "last.csv --classes 2",
        "first.csv --classes class",
        "first.csv --classes 0",
        "bare-last.csv --classes 2",
        "bare-first.csv --classes 0",
        "between.csv --classes class --skip-columns id",
        "between.csv --classes 2 --columns a,b",
        "numbers.csv --classes class",
        "array.npy --classes 1",
    ];
    for (i, way) in ways.iter().enumerate() {
        train(&format!("--data {way} --condition labels"), &format!("run{i}"));
        assert!(tensors(&home.join(format!("run{i}"))) == want, "{way}");
        let file = way.split(' ').next().unwrap();
        let of = |model: &str, data: &str| {
            let eval = format!("eval {model} --data {data} --samples 3 --json --device cpu");
            let said = run(&home, &eval).succeeded().stdout;
            let said: serde_json::Value = serde_json::from_str(&said).unwrap();
            (said["elbo"].as_f64().unwrap(), said["iwae"].as_f64().unwrap())
        };
        assert_eq!(of(&format!("run{i}"), file), of("want", "x.csv --condition labels.idx"), "{way}");
        run(&home, &format!("train --config run{i}/run.toml --device cpu --quiet --out again{i}")).succeeded();
        assert!(tensors(&home.join(format!("again{i}"))) == want, "{way}: run.toml");
    }
    let written_otherwise = ["-0.5", "9", "10.0"];
    table(&home.join("otherwise.csv"), &["a", "class", "b"], true, |class| written_otherwise[class].into());
    let encode = |data: &str| {
        run(&home, &format!("encode run8 --data {data} --to z.npy --force --device cpu")).succeeded();
        fs::read(home.join("z.npy")).unwrap()
    };
    assert_eq!(encode("numbers.csv"), encode("otherwise.csv"));
    // The first column is that of the classes, and no names of rows.
    let said = run(&home, "eval run2 --data first.csv --device cpu").succeeded().stderr;
    let trained = format!("train --data first.csv --classes class {} --out loud", SMALL.replace(" --quiet", ""));
    let said = said + &run(&home, &trained).succeeded().stderr;
    assert!(!said.contains("taken as names"), "{said}");
    // Without a word to the model they are left out, and nothing else.
    train("--data x.csv", "plain");
    train("--data last.csv --classes class", "told-nothing");
    assert!(tensors(&home.join("plain")) == tensors(&home.join("told-nothing")));
}

#[test]
fn later_files_have_the_column_by_its_name_or_say_that_they_have_not() {
    let home = folder("classes-later");
    table(&home.join("data.csv"), &["a", "b", "class"], true, quoted);
    table(&home.join("other.csv"), &["class", "b", "id", "a"], true, quoted);
    table(&home.join("bare.csv"), &["a", "b", "class"], false, quoted);
    table(&home.join("x.csv"), &["a", "b"], true, quoted);
    table(&home.join("new.csv"), &["a", "b", "class"], true, |class| ["Adelie", "king", "chinstrap"][class].into());
    labels(&home.join("labels.idx"));
    for (out, told) in [("told", "--condition labels"), ("plain", "")] {
        let line = format!("train --data data.csv --classes class {told} --valid other.csv {SMALL} --out {out}");
        run(&home, &line).succeeded();
    }
    let encode = |model: &str, data: &str| {
        run(&home, &format!("encode {model} --data {data} --to z.npy --force --device cpu")).succeeded();
        fs::read(home.join("z.npy")).unwrap()
    };
    for model in ["told", "plain"] {
        let want = encode(model, "data.csv");
        assert!(want == encode(model, "other.csv") && want == encode(model, "bare.csv"), "{model}");
    }
    let want = encode("told", "data.csv");
    // A table has the words too; its own classes give way to those, with a word about it.
    table(&home.join("class.csv"), &["class"], true, quoted);
    assert!(want == encode("told", "x.csv --condition class.csv"));
    table(&home.join("third.csv"), &["class"], true, |_| quoted(2));
    let line = "encode told --data data.csv --condition third.csv --to z.npy --force --device cpu";
    let said = run(&home, line).succeeded().stderr;
    assert!(said.contains("data.csv: has classes of its own; those of third.csv count"), "{said}");
    assert!(want != fs::read(home.join("z.npy")).unwrap());
    // What the model is not told may be anything, or nothing.
    assert_eq!(encode("plain", "x.csv"), encode("plain", "new.csv"));
    run(&home, "encode told --data x.csv --to no.npy --device cpu").refused(
        1,
        "x.csv: has no column class with the class of each example, which the model is told; give data that have it, or \
         --condition FILE",
    );
    // A cell without one: the model that is told nothing does not miss it.
    table(&home.join("some.csv"), &["a", "b", "class"], true, |class| ["Adelie", "", "chinstrap"][class].into());
    assert_eq!(encode("plain", "x.csv"), encode("plain", "some.csv"));
    run(&home, "encode told --data some.csv --to no.npy --device cpu")
        .refused(1, "line 3 of some.csv has no class in column class: fill the cell, or leave the example out");
    // Numbers are no words: another file may count the classes in another order.
    run(&home, "encode told --data x.csv --condition labels.idx --to no.npy --device cpu").refused(
        1,
        "labels.idx: row 0 is of class \"0\"; the model knows \"Adelie\", \"chinstrap\", \"gentoo, or so\"",
    );
    let unknown =
        "new.csv: example 1 is of class \"king\"; the model knows \"Adelie\", \"chinstrap\", \"gentoo, or so\"";
    run(&home, "encode told --data new.csv --to no.npy --device cpu").refused(1, unknown);
    let valid = format!("train --data data.csv --classes class --condition labels --valid new.csv {SMALL} --out no");
    run(&home, &valid).refused(1, unknown);
}

/// An array has no column of words: they stand in a file beside it.
#[test]
fn a_file_of_labels_may_be_of_words() {
    let home = folder("classes-beside");
    let rows: Vec<f32> = (0..ROWS).flat_map(|row| x(row).map(|x| x as f32)).collect();
    npy::write(&mut fs::File::create(home.join("x.npy")).unwrap(), ROWS, 2, &rows).unwrap();
    labels(&home.join("labels.idx"));
    table(&home.join("words.csv"), &["class"], true, quoted);
    table(&home.join("bare.csv"), &["class"], false, quoted);
    table(&home.join("king.csv"), &["class"], true, |class| ["Adelie", "king", "chinstrap"][class].into());
    let train = |line: &str, out: &str| run(&home, &format!("train {line} {SMALL} --out {out}"));
    train("--data x.npy --condition labels.idx --valid x.npy --valid-condition labels.idx", "want").succeeded();
    let want = tensors(&home.join("want"));
    for (i, file) in ["words.csv", "bare.csv"].into_iter().enumerate() {
        let line = format!("--data x.npy --condition {file} --valid x.npy --valid-condition words.csv");
        train(&line, &format!("run{i}")).succeeded();
        assert!(tensors(&home.join(format!("run{i}"))) == want, "{file}");
    }
    run(&home, "train --config run0/run.toml --device cpu --quiet --out again").succeeded();
    assert!(tensors(&home.join("again")) == want);
    for (model, more) in [("want", "labels.idx"), ("run0", "words.csv")] {
        run(&home, &format!("train --resume {model} --steps 40 --device cpu --quiet")).succeeded();
        run(&home, &format!("encode {model} --data x.npy --condition {more} --to {model}.npy --device cpu"))
            .succeeded();
    }
    assert!(fs::read(home.join("want.npy")).unwrap() == fs::read(home.join("run0.npy")).unwrap());
    let sample = |line: &str| {
        run(&home, &format!("sample {line} --count 4 --to s.npy --force --device cpu")).succeeded();
        fs::read(home.join("s.npy")).unwrap()
    };
    assert!(sample("run0 --condition chinstrap") == sample("want --condition 1"));
    let unknown = "king.csv: row 1 is of class \"king\"; the model knows \"Adelie\", \"chinstrap\", \"gentoo, or so\"";
    train("--data x.npy --condition words.csv --valid x.npy --valid-condition king.csv", "no").refused(1, unknown);
    run(&home, "eval run0 --data x.npy --condition king.csv --device cpu").refused(1, unknown);
    run(&home, "eval run0 --data x.npy --device cpu")
        .refused(1, "x.npy: the model is told the class of each example; give --condition FILE");
    // A comma without quotes, and a line that says nothing, are no classes.
    let written = |name: &str, text: String| std::fs::write(home.join(name), text).unwrap();
    let lines = |third: &str| format!("class\n{}{third}\n{}", "cat\n".repeat(2), "dog\n".repeat(ROWS - 3));
    written("comma.csv", lines("dog, brown"));
    written("blank.csv", lines("") + "dog\n");
    train("--data x.npy --condition comma.csv", "no")
        .refused(1, "line 4 of comma.csv has 2 cells, but 1 are expected; put a class that has a comma in quotes");
    written("commas.csv", "class\n".to_string() + &(0..ROWS).map(|i| format!("dog, {i}\n")).collect::<String>());
    train("--data x.npy --condition commas.csv", "no")
        .refused(1, "line 2 of commas.csv has 2 cells, but 1 are expected; put a class that has a comma in quotes");
    train("--data x.npy --condition blank.csv", "no")
        .refused(1, "line 4 of blank.csv has no class in column 0: fill the cell, or leave the example out");
    // Which file it is that changed.
    fs::copy(home.join("words.csv"), home.join("changed.csv")).unwrap();
    train("--data x.npy --condition changed.csv", "changed").succeeded();
    table(&home.join("changed.csv"), &["class"], true, |class| quoted((class + 1) % 3));
    run(&home, "train --resume changed --steps 40 --device cpu").refused(
        1,
        "x.npy or changed.csv: their numbers are not those that the run began with; give the same files, or pass --data FILE of them, or begin a new run",
    );
    // And as colours.
    train("--data x.npy", "plain").succeeded();
    run(&home, "report plain --data x.npy --labels words.csv --to words.html --device cpu").succeeded();
    assert!(browser::page(&home.join("words.html")).contains("gentoo, or so"));
}

/// Told a class by its word, the decoder draws what that class looks like.
#[test]
fn a_class_is_drawn_by_its_word() {
    let home = folder("classes-drawn");
    table(&home.join("data.csv"), &["a", "b", "class"], true, |class| ["low", "high", "highest"][class].into());
    let model = "--likelihood gaussian --variance shared --hidden 20 --latent 1 --batch 20 --epochs 150 --lr 0.005";
    let train =
        format!("train --data data.csv --classes class --condition labels {model} --out run --quiet --device cpu");
    run(&home, &train).succeeded();
    let means = |condition: &str| -> Vec<Vec<f64>> {
        let line = format!("sample run --count 6 {condition} --to drawn.csv --force --temperature 0 --device cpu");
        run(&home, &line).succeeded();
        let text = fs::read_to_string(home.join("drawn.csv")).unwrap();
        assert!(text.starts_with("class,a,b\n"), "{text}");
        let numbers = |line: &str| line.split(',').skip(1).map(|x| x.parse().unwrap()).collect();
        text.lines().skip(1).map(numbers).collect()
    };
    let near = |drawn: &[f64], class: f64| (drawn[0] - class).abs() < 0.2 && (drawn[1] + class).abs() < 0.2;
    let highest = means("--condition highest");
    assert!(highest.iter().all(|x| near(x, 2.0)), "{highest:?}");
    let two = means("--condition low,high");
    assert!(two.chunks(2).all(|x| near(&x[0], 0.0) && near(&x[1], 1.0)), "{two:?}");
    // All of them, by the alphabet.
    let all = means("");
    assert!(all.chunks(3).all(|x| near(&x[0], 1.0) && near(&x[1], 2.0) && near(&x[2], 0.0)), "{all:?}");
    // And what is drawn is data of the model: every row has the class that it was drawn as.
    let told = Dataset::read_columns(
        &home.join("drawn.csv"),
        Some(&Vae::open(home.join("run")).unwrap().run().data.known_columns()),
        Missing::Refuse,
    );
    assert_eq!(told.unwrap().labels, Some(vec![0, 1, 2, 0, 1, 2]));
    run(&home, "eval run --data drawn.csv --device cpu --quiet").succeeded();
    run(&home, "sample run --condition hi --to no.csv --device cpu")
        .refused(2, "condition \"hi\": the model knows \"high\", \"highest\", \"low\"");
}

/// A class may have a comma in it, and a file may say which class each row is of.
#[test]
fn classes_are_asked_for_in_quotes_and_by_a_file() {
    let home = folder("classes-files");
    let words = ["low", "high, or so", "highest"];
    table(&home.join("data.csv"), &["a", "b", "class"], true, |class| format!("\"{}\"", words[class]));
    table(&home.join("x.csv"), &["a", "b"], true, |class| words[class].into());
    run(&home, &format!("train --data data.csv --classes class --condition labels {SMALL} --out run")).succeeded();
    let answer = |line: &str| {
        run(&home, &format!("{line} --to out.npy --force --device cpu --quiet")).succeeded();
        fs::read(home.join("out.npy")).unwrap()
    };
    let bare: String = (0..ROWS).map(|i| format!("\"{}\"\n", words[class(i)])).collect();
    fs::write(home.join("named.csv"), format!("other\n{bare}").replace("other", "class")).unwrap();
    fs::write(home.join("bare.csv"), &bare).unwrap();
    let all = answer("reconstruct run --data data.csv");
    answer("encode run --data data.csv");
    fs::rename(home.join("out.npy"), home.join("z.npy")).unwrap();
    for file in ["data.csv", "named.csv", "bare.csv"] {
        assert!(answer(&format!("decode run --data z.npy --condition {file}")) == all, "{file}");
        assert!(answer(&format!("reconstruct run --data x.csv --condition {file}")) == all, "{file}");
    }
    let drawn = |classes: &str| {
        let line = "sample run --count 6 --temperature 0 --to drawn.npy --force --device cpu --quiet --condition";
        let args: Vec<&str> = line.split(' ').chain([classes]).collect();
        assert!(command(&home, &args).status().unwrap().success(), "{classes}");
        Dataset::read(&home.join("drawn.npy")).unwrap().to_rows()
    };
    let (low, high) = (drawn("low"), drawn("high, or so"));
    let turns: Vec<f32> = [&low[..2], &high[..2]].concat().repeat(3);
    assert!(low != high && drawn("low,\"high, or so\"") == turns);
    run(&home, "decode run --data z.npy --to no.npy --device cpu").refused(
        2,
        "condition: not given; the model is told a class with each z: pass --condition FILE, with a row for each, or one class for \
         all",
    );
    fs::write(home.join("short.csv"), "low\nlow\n").unwrap();
    run(&home, "decode run --data z.npy --condition short.csv --to no.npy --device cpu").refused(
        1,
        &format!("short.csv: has 2 rows, and {ROWS} are told something: give a row for each, or one for all"),
    );
    fs::write(home.join("new.csv"), "class\nlow\nhuge\n").unwrap();
    run(&home, "sample run --condition new.csv --to no.npy --device cpu")
        .refused(1, "new.csv: row 1 is of class \"huge\"; the model knows \"high, or so\", \"highest\", \"low\"");
    fs::write(home.join("two.csv"), "low,1\nlow,2\n").unwrap();
    run(&home, "sample run --condition two.csv --to no.npy --device cpu").refused(
        1,
        "two.csv: has 2 columns, and which is of classes is not known; give a column class, or the class of each row alone",
    );
    fs::write(home.join("other.csv"), format!("other\n{bare}")).unwrap();
    assert!(answer("decode run --data z.npy --condition other.csv") == all, "a title is no class");
    // Of a model without names of columns too; and a pipe is read once.
    table(&home.join("headless.csv"), &["a", "b", "class"], false, |class| format!("\"{}\"", words[class]));
    run(&home, &format!("train --data headless.csv --classes 2 --condition labels {SMALL} --out headless")).succeeded();
    let want = answer("reconstruct headless --data headless.csv");
    for file in ["bare.csv", "headless.csv", "other.csv"] {
        assert!(answer(&format!("reconstruct headless --data x.csv --condition {file}")) == want, "{file}");
    }
    if cfg!(unix) {
        let line = "reconstruct run --data x.csv --to out.npy --force --device cpu --quiet --condition /dev/stdin";
        let mut piped = command(&home, &line.split(' ').collect::<Vec<_>>());
        assert!(piped.stdin(fs::File::open(home.join("named.csv")).unwrap()).status().unwrap().success());
        assert!(fs::read(home.join("out.npy")).unwrap() == all);
    }
    // A class may be called as what is missing elsewhere.
    table(&home.join("na.csv"), &["a", "b", "class"], true, |class| ["NA", "EU", "nan"][class].into());
    run(&home, &format!("train --data na.csv --classes class --condition labels {SMALL} --out na")).succeeded();
    assert!(answer("encode na --data na.csv") == answer("encode na --data x.csv --condition na.csv"));

    // Classes that are numbers are those of an idx, whatever their places; and labels of pictures come from a table too.
    table(&home.join("numbers.csv"), &["a", "b", "class"], true, |class| (class + 1).to_string());
    run(&home, &format!("train --data numbers.csv --classes class --condition labels {SMALL} --out numbers"))
        .succeeded();
    write_labels(&home.join("numbers.idx"), &(0..ROWS).map(|i| class(i) as u8 + 1).collect::<Vec<_>>());
    let want = answer("encode numbers --data numbers.csv");
    assert!(answer("encode numbers --data x.csv --condition numbers.idx") == want);
    write_labels(&home.join("zero.idx"), &[0; ROWS]);
    run(&home, "encode numbers --data x.csv --condition zero.idx --to no.npy --device cpu")
        .refused(1, "zero.idx: row 0 is of class \"0\"; the model knows \"1\", \"2\", \"3\"");
    labels(&home.join("labels.idx"));
    run(&home, &format!("train --data x.csv --condition labels.idx {SMALL} --out plain")).succeeded();
    fs::write(home.join("labels.csv"), (0..ROWS).map(|i| format!("{}\n", class(i))).collect::<String>()).unwrap();
    assert!(
        answer("encode plain --data x.csv --condition labels.csv")
            == answer("encode plain --data x.csv --condition labels.idx")
    );
}

#[test]
fn what_is_no_column_of_classes_is_refused() {
    let home = folder("classes-refused");
    labels(&home.join("labels.idx"));
    let numbers: String = (0..300).map(|i| format!("{i},{}\n", i % 5)).collect();
    fs::write(home.join("many.csv"), format!("id,a\n{numbers}")).unwrap();
    fs::write(home.join("empty.csv"), "a,class\n1,red\n2,\n").unwrap();
    fs::write(home.join("bytes.idx"), [&[0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3][..], &[5; 6]].concat()).unwrap();
    for (data, code, said) in [
        (
            "many.csv --classes id",
            1,
            "classes id: many.csv has more than 256 different values there; must be a column of classes, of which each has \
             many examples",
        ),
        (
            "empty.csv --classes class",
            1,
            "line 3 of empty.csv has no class in column class: fill the cell, or leave the example out",
        ),
        (
            "bytes.idx --classes 1",
            2,
            "classes 1: bytes.idx is of bytes; classes are a column of a csv, or of an array of other numbers",
        ),
        ("many.csv --classes ID", 2, "classes ID: many.csv has no column of this name; did you mean id?"),
        ("many.csv --classes 2", 2, "classes 2: many.csv has columns 0 to 1; pass some of them, as 0..2"),
        ("many.csv --classes a --columns a", 2, "classes: none of the 2 columns of many.csv are left; leave some"),
        (
            "many.csv --classes a --condition labels.idx",
            2,
            "condition labels.idx: --classes says where the labels are; pass --condition labels, or leave one out",
        ),
    ] {
        run(&home, &format!("train --data {data} {SMALL} --out no")).refused(code, said);
    }
    // Words that are told by columns.
    fs::write(home.join("words.csv"), "a,class\n1,red\n2,blue\n").unwrap();
    run(&home, &format!("train --data words.csv --condition class {SMALL} --out no")).refused(
        1,
        "line 2, column 2 (\"class\") of words.csv is \"red\", not a number: of a column of words that the model is told train with \
         --categorical class, or with --classes class --condition labels if it is the class of an example",
    );
    // As many as a label can be.
    let just: String = (0..512).map(|i| format!("{},{}\n", i % 256, i % 5)).collect();
    fs::write(home.join("just.csv"), format!("id,a\n{just}")).unwrap();
    run(&home, &format!("train --data just.csv --classes id --condition labels {SMALL} --out yes")).succeeded();
}

/// The page names the classes of its latents, whatever their words try.
#[test]
fn a_report_names_the_classes() {
    let home = folder("classes-report");
    let words = ["</script><b>", "it's", "über"];
    table(&home.join("data.csv"), &["a", "b", "class"], true, |class| words[class].into());
    run(&home, &format!("train --data data.csv --classes class {SMALL} --out run")).succeeded();
    let page = browser::page(&home.join("run/report.html"));
    assert!(!page.contains("<b>"));
    let latents = &browser::data(&page)["latents"];
    assert_eq!(latents["classes"], serde_json::json!(words));
    let want: Vec<usize> = (0..ROWS).map(class).collect();
    assert_eq!(latents["labels"], serde_json::json!(want));
    // Other labels have no names.
    labels(&home.join("labels.idx"));
    run(&home, "report run --data data.csv --labels labels.idx --to other.html --device cpu").succeeded();
    assert!(browser::data(&browser::page(&home.join("other.html")))["latents"]["classes"].is_null());
}
