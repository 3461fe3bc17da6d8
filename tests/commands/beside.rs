//! Tables that are given beside the data, conditions, masks and latents: with a header they are read by it, as the data are.
use crate::program::{folder, run};
use std::fs;
use std::path::Path;
use vae_gpu::data::Dataset;

/// Rows of four numbers, of which no two columns are alike.
fn write_table(path: &Path, header: &str) {
    let row = |i: usize| {
        let x = |j: usize| ((i * 37 + j * 11) % 97) as f64 / 97.0 + j as f64;
        format!("{:.3},{:.3},{:.3},{:.3}\n", x(0), x(1), x(2), x(3))
    };
    fs::write(path, format!("{header}\n{}", (0..40).map(row).collect::<String>())).unwrap();
}

const SMALL: &str = "--likelihood gaussian --hidden 5 --latent 2 --batch 8 --steps 20 --device cpu --quiet";

#[test]
fn a_table_beside_the_data_is_read_by_its_header() {
    let home = folder("beside");
    write_table(&home.join("x.csv"), "age,smoker,y,w");
    run(&home, &format!("train --data x.csv {SMALL} --out plain")).succeeded();
    run(&home, &format!("train --data x.csv --condition age,smoker {SMALL} --out told")).succeeded();
    for (name, text) in [
        ("none", "60,1\n"),
        ("same", "age,smoker\n60,1\n"),
        ("other", "smoker,age\n1,60\n"),
        ("alien", "height,bmi\n60,1\n"),
        ("mask-none", "0,1,1,1\n"),
        ("mask-same", "age,smoker,y,w\n0,1,1,1\n"),
        ("mask-other", "w,y,smoker,age\n1,1,1,0\n"),
        ("mask-column", "observed\n0\n1\n1\n1\n"),
        ("mask-alien", "a,b,c,d\n0,1,1,1\n"),
        ("z-none", "-2,1\n"),
        ("z-own", "first,second\n-2,1\n"),
        ("z-same", "mu0,mu1\n-2,1\n"),
        ("z-other", "mu1,mu0\n1,-2\n"),
        ("z-more", "mu0,mu1,logvar0,logvar1\n-2,1,9,9\n"),
        ("z-alien", "mu0,mu2\n-2,1\n"),
    ] {
        fs::write(home.join(format!("{name}.csv")), text).unwrap();
    }
    let asked = |line: &str, name: &str| run(&home, &format!("{line} {name}.csv --to {name}.npy --device cpu --quiet"));
    let all_the_same = |line: &str, names: &[&str]| {
        let of = |name: &&str| {
            asked(line, name).succeeded();
            Dataset::read(&home.join(format!("{name}.npy"))).unwrap().to_rows()
        };
        let got: Vec<_> = names.iter().map(of).collect();
        assert!(got.iter().all(|rows| *rows == got[0]), "{names:?}: {got:?}");
    };
    let sample = "sample told --count 1 --temperature 0 --condition";
    all_the_same(sample, &["none", "same", "other"]);
    asked(sample, "alien")
        .refused(1, "the model's column age: alien.csv has no column of this name; it has height, bmi; give it that column, which the model is told");
    let impute = "impute plain --data x.csv --count 3 --mask";
    all_the_same(impute, &["mask-none", "mask-same", "mask-other", "mask-column"]);
    asked(impute, "mask-alien")
        .refused(1, "the model's column age: mask-alien.csv has no column of this name; it has a, b, c, d; give it that column, which a model of --missing allow takes empty");
    all_the_same("decode plain --data", &["z-none", "z-own", "z-same", "z-other", "z-more"]);
    asked("decode plain --data", "z-alien")
        .refused(1, "the model's column mu1: z-alien.csv has no column of this name; did you mean mu0?");
}

/// Who has fewer conditions than draws has taken another file, or has forgotten some.
#[test]
fn a_file_of_conditions_has_a_row_for_each() {
    let home = folder("beside-rows");
    write_table(&home.join("x.csv"), "age,smoker,y,w");
    run(&home, &format!("train --data x.csv --condition age,smoker {SMALL} --out run")).succeeded();
    fs::write(home.join("one.csv"), "age,smoker\n0.5,1.5\n").unwrap();
    fs::write(home.join("two.csv"), "age,smoker\n0.5,1.5\n0.1,1.1\n").unwrap();
    for (name, rows) in [("z2", 2), ("z3", 3)] {
        fs::write(home.join(format!("{name}.csv")), "0.1,0.2\n".repeat(rows)).unwrap();
    }
    let asked = |line: &str| run(&home, &format!("{line} --to out.npy --force --device cpu --quiet"));
    let rows = |line: &str| {
        asked(line).succeeded();
        Dataset::read(&home.join("out.npy")).unwrap().rows()
    };
    let sentence = |count: usize| {
        format!("two.csv: has 2 rows, and {count} are told something: give a row for each, or one for all")
    };
    assert_eq!(rows("sample run --condition one.csv --count 3"), 3);
    assert_eq!((rows("sample run --condition one.csv"), rows("sample run --condition two.csv")), (1, 2));
    assert_eq!(rows("sample run --condition two.csv --count 1"), 1);
    asked("sample run --condition two.csv --count 3").refused(1, &sentence(3));
    assert_eq!(
        (rows("decode run --data z3.csv --condition one.csv"), rows("decode run --data z2.csv --condition two.csv")),
        (3, 2)
    );
    asked("decode run --data z3.csv --condition two.csv").refused(1, &sentence(3));
    fs::write(home.join("z1.csv"), "0.1,0.2\n").unwrap();
    asked("decode run --data z1.csv --condition two.csv").refused(1, &sentence(1));
}

/// A name that comes twice tells no column; but the file that the model learned from has them where they were.
#[test]
fn columns_of_the_same_name_are_found_where_they_were() {
    let home = folder("beside-twice");
    write_table(&home.join("x.csv"), "a,b,b,c");
    write_table(&home.join("other.csv"), "c,b,b,a");
    run(&home, &format!("train --data x.csv --skip-columns c {SMALL} --out run")).succeeded();
    run(&home, "train --resume run --steps 40 --device cpu --quiet").succeeded();
    run(&home, "eval run --data x.csv --device cpu").succeeded();
    run(&home, "report run --device cpu --quiet").succeeded();
    run(&home, "eval run --data other.csv --device cpu")
        .refused(1, "other.csv: two columns of the model's data have the name b; give data with the same header");
}

#[test]
fn what_a_model_of_several_kinds_is_asked_of_is_not_binarised() {
    let home = folder("beside-binarize");
    write_table(&home.join("x.csv"), "a,b,c,d");
    let text = fs::read_to_string(home.join("x.csv")).unwrap();
    let with_bits =
        |(i, line): (usize, &str)| format!("{line},{}\n", if i == 0 { "e".into() } else { (i % 2).to_string() });
    fs::write(home.join("bits.csv"), text.lines().enumerate().map(with_bits).collect::<String>()).unwrap();
    run(&home, &format!("train --data bits.csv --bernoulli e {SMALL} --out run")).succeeded();
    let sentence = "makes zeros and ones of all columns, which have different likelihoods; leave it out";
    for line in ["eval run --data bits.csv", "encode run --data bits.csv --to z.npy"] {
        run(&home, &format!("{line} --device cpu --binarize threshold"))
            .refused(2, &format!("binarize threshold: {sentence}"));
    }
    run(&home, "encode run --data bits.csv --to z.png --device cpu")
        .refused(2, "to z.png: must end in .npy or .csv; pass --to z.csv");
}

/// A spreadsheet finds its umlauts again, and a repository no line that changed: what marks a file, ends its lines, and says what
/// separates its cells.
#[test]
fn a_table_that_is_filled_in_begins_and_ends_its_lines_as_it_did() {
    let home = folder("beside-dress");
    let rows = |gap: &str| {
        (0..30).map(|i| format!("p\u{e4}d {i};{i},5;{}", if i == 7 { gap } else { "1" })).collect::<Vec<_>>()
    };
    for (name, opening, end) in [
        ("plain", "", "\n"),
        ("windows", "\u{feff}", "\r\n"),
        ("mark", "\u{feff}", "\n"),
        ("excel", "sep=;\r\n", "\r\n"),
    ] {
        let file = |gap: &str| format!("{opening}{}{end}", [vec!["name;a;b".into()], rows(gap)].concat().join(end));
        let data = home.join(format!("{name}.csv"));
        std::fs::write(&data, file("")).unwrap();
        let train = "--missing allow --likelihood gaussian --hidden 3 --latent 1 --steps 2 --device cpu --quiet";
        run(&home, &format!("train --data {name}.csv {train} --out {name}")).succeeded();
        run(&home, &format!("impute {name} --data {name}.csv --to {name}-filled.csv --device cpu --quiet")).succeeded();
        let filled = std::fs::read_to_string(home.join(format!("{name}-filled.csv"))).unwrap();
        let gap = filled.split(end).nth(8 + opening.matches('\n').count()).unwrap().rsplit(';').next().unwrap();
        assert!(gap.replace(',', ".").parse::<f32>().is_ok(), "{name}: {filled}");
        assert_eq!(filled, file(gap), "{name}");
    }
}

/// What follows a quotation mark that nobody closes is no text of a cell.
#[test]
fn a_quotation_mark_that_is_never_closed_is_found() {
    let home = folder("beside-quotes");
    let train = |text: &str| {
        fs::write(home.join("x.csv"), text).unwrap();
        run(
            &home,
            "train --data x.csv --skip-columns n --likelihood gaussian --hidden 3 --latent 1 --steps 1 --device cpu --out r --force",
        )
    };
    let why = "x.csv: a quotation mark in line 3 is not closed before the end, line 5: close it, or write it twice if it is part of the \
               text";
    train("a,b,n\n1,2,x\n3,4,\"open\n5,6,y\n7,8,z\n").refused(1, why);
    train("a,b,n\n1,2,x\n3,4,\"of two\nlines\"\n5,6,y\n7,8,\"the\nlast\"\n").succeeded();
    // A mark within a cell that has none around it is a character as others.
    train("a,b,n\n1,2,5\" pipe\n3,4,y\n").succeeded();
}
