//! Rows of which most numbers are zero: given by what is not zero they make the same model as with all their zeros, and take a
//! fraction of the memory.
use crate::archive::{stored, zip};
use crate::program::{folder, run};
use crate::runs::{assert_same_run, bytes, tensors};
use std::fs;
use std::path::Path;
use vae_gpu::data::{Asked, Bytes, Columns, Dataset, Missing, Scale, Values, npy, scale};

const ROWS: usize = 70;
const COLS: usize = 30;
const SMALL: &str = "--hidden 5 --latent 2 --batch 8 --device cpu --quiet";

/// Counts, one in eight of them not zero.
fn counts() -> Vec<f32> {
    (0..ROWS * COLS).map(|i| if (i * i + 3 * i) % 29 < 4 { (i % 5) as f32 + 1.0 } else { 0.0 }).collect()
}

fn write_npy(path: &Path, values: &[f32]) {
    npy::write(&mut fs::File::create(path).unwrap(), values.len() / COLS, COLS, values).unwrap();
}

fn array(name: &str, kind: &str, shape: &str, data: &[u8]) -> crate::archive::Entry {
    let dictionary = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let length = (dictionary.len() as u16).to_le_bytes();
    stored(name, &[b"\x93NUMPY\x01\0", &length[..], dictionary.as_bytes(), data].concat())
}

/// As `scipy.sparse.save_npz(path, csr_matrix(values), compressed=False)`.
fn write_csr(path: &Path, values: &[f32]) {
    write_csr_of(path, values, COLS);
}

fn write_csr_of(path: &Path, values: &[f32], cols: usize) {
    let (mut starts, mut columns, mut data) = (vec![0i32], vec![], vec![]);
    for row in values.chunks(cols) {
        for (j, x) in row.iter().enumerate().filter(|(_, x)| **x != 0.0) {
            columns.push(j as i32);
            data.push(*x);
        }
        starts.push(data.len() as i32);
    }
    let ints = |v: &[i32]| v.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    let reals: Vec<u8> = data.iter().flat_map(|x| x.to_le_bytes()).collect();
    let shape: Vec<u8> = [values.len() / cols, cols].iter().flat_map(|&n| (n as i64).to_le_bytes()).collect();
    let archive = zip(&[
        array("indices.npy", "<i4", &format!("({},)", columns.len()), &ints(&columns)),
        array("indptr.npy", "<i4", &format!("({},)", starts.len()), &ints(&starts)),
        array("format.npy", "|S3", "()", b"csr"),
        array("shape.npy", "<i8", "(2,)", &shape),
        array("data.npy", "<f4", &format!("({},)", data.len()), &reals),
    ]);
    fs::write(path, archive).unwrap();
}

#[test]
fn what_is_not_zero_makes_the_model_that_all_numbers_make() {
    let home = folder("sparse-same");
    write_npy(&home.join("dense"), &counts());
    write_csr(&home.join("sparse"), &counts());
    for (case, how) in [
        ("poisson", "--likelihood poisson"),
        ("plain", "--likelihood gaussian"),
        ("held-out", "--likelihood negative-binomial --valid-fraction 0.2 --patience 5"),
        ("columns", "--likelihood poisson --skip-columns 0,7,12..20"),
        ("condition", "--likelihood poisson --condition 5..9"),
        ("classes", "--likelihood poisson --skip-columns 2 --classes 2 --condition labels"),
        ("scaled", "--likelihood gaussian --scale standard"),
        ("zeros-stay", "--likelihood gaussian --scale minmax"),
        ("words", "--likelihood poisson --categorical 3,20"),
        ("multinomial", "--likelihood multinomial"),
    ] {
        let mut said = vec![];
        for data in ["dense", "sparse"] {
            // The same name for both: it is kept in the model.
            fs::copy(home.join(data), home.join("x")).unwrap();
            run(&home, &format!("train --data x --epochs 3 --out {case}-{data} {how} {SMALL}")).succeeded();
            let eval = format!("eval {case}-{data} --data x --samples 5 --json --device cpu");
            said.push(run(&home, &eval).succeeded().stdout);
            let to = format!("--to {case}-{data}.npy --device cpu");
            run(&home, &format!("encode {case}-{data} --data x {to}")).succeeded();
        }
        let of = |data: &str| home.join(format!("{case}-{data}"));
        assert_same_run(&of("dense"), &of("sparse"), case);
        assert_eq!(said[0], said[1], "{case}");
        let latents = |data: &str| bytes(&home, &format!("{case}-{data}.npy"));
        assert!(latents("dense") == latents("sparse"), "{case}: the latents differ");
    }
}

#[test]
fn a_training_goes_on_with_the_same_data_stored_otherwise() {
    let home = folder("sparse-resumed");
    let train =
        |out: &str, epochs: usize| format!("train --data x --likelihood poisson --epochs {epochs} --out {out} {SMALL}");
    write_npy(&home.join("x"), &counts());
    run(&home, &train("whole", 4)).succeeded();
    run(&home, &train("cut", 2)).succeeded();
    write_csr(&home.join("x"), &counts());
    run(&home, "train --resume cut --epochs 4 --device cpu --quiet").succeeded();
    assert_eq!(tensors(&home.join("cut")), tensors(&home.join("whole")));
    let mut others = counts();
    others[5 * COLS + 3] += 1.0;
    write_csr(&home.join("x"), &others);
    let refused = run(&home, "train --resume cut --epochs 5 --device cpu --quiet");
    assert!(refused.code == Some(1) && refused.stderr.contains("are not those that"), "{}", refused.stderr);
}

#[test]
fn columns_of_many_words_take_little_memory_and_are_the_same_numbers() {
    let (rows, words) = (300, 40);
    let word = |i: usize| if i.is_multiple_of(17) { String::new() } else { format!("w{:02}", (i * i + i / 7) % words) };
    let age = |i: usize| if i.is_multiple_of(5) { 0.0 } else { (i as f32).sin() };
    let table: String = (0..rows).map(|i| format!("{},{},{}\n", age(i), word(i), word(i / 2))).collect();
    let text = format!("age,first,second\n{table}");
    let asked = Asked {
        likelihoods: vec![(vae_gpu::config::Likelihood::Categorical, "first,second".parse().unwrap())],
        ..Asked::default()
    };
    let columns = Columns::asked(asked).unwrap();
    let read = Dataset::columns_from_bytes("x", text.as_bytes(), &columns, Missing::Allow).unwrap();
    let Values::Sparse(entries) = &read.values else { panic!("{} columns, all stored", read.cols) };
    assert!(entries.bytes() < rows * read.cols * 4 / 2, "{} bytes", entries.bytes());
    // Column by column what the table says.
    let all = read.to_rows();
    let known: Vec<&[String]> = read.columns.words.iter().map(|w| &w.words[..]).collect();
    assert_eq!(read.cols, 1 + known[0].len() + known[1].len());
    for (i, row) in all.chunks(read.cols).enumerate() {
        let (first, second) = row[1..].split_at(known[0].len());
        assert_eq!(row[0], age(i));
        for (own, known, word) in [(first, known[0], word(i)), (second, known[1], word(i / 2))] {
            match word.is_empty() {
                true => assert!(own.iter().all(|x| x.is_nan()), "row {i}"),
                false => own.iter().zip(known).for_each(|(&x, w)| assert_eq!(x, f32::from(*w == word), "row {i}, {w}")),
            }
        }
    }
    // Scaled, its zeros move, and the words stay.
    let dense = Dataset { values: Values::Reals(all), ..read.clone() };
    let found = Scale::find(scale::Rule::Standard, &read, read.cols).unwrap();
    assert_eq!(found, Scale::find(scale::Rule::Standard, &dense, read.cols).unwrap());
    let found = found.leaving(1..read.cols);
    let [scaled, want] = [read, dense].map(|data| found.apply(data).unwrap());
    assert!(matches!(scaled.values, Values::Sparse(_)), "only numbers were scaled, and of them all are stored");
    let bits = |data: &Dataset| data.to_rows().iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&scaled), bits(&want));
}

#[test]
fn rows_move_as_those_that_are_stored_whole() {
    let values = counts();
    let home = folder("sparse-rows");
    write_csr(&home.join("x.npz"), &values);
    let sparse = Dataset {
        labels: Some((0..ROWS as u8).map(|i| i % 3).collect()),
        ..Dataset::read(&home.join("x.npz")).unwrap()
    };
    let dense = Dataset { values: Values::Reals(values), ..sparse.clone() };
    assert!(matches!(sparse.values, Values::Sparse(_)));
    let same = |a: &Dataset, b: &Dataset, what: &str| {
        assert_eq!((a.rows(), a.cols, &a.labels), (b.rows(), b.cols, &b.labels), "{what}");
        assert_eq!(a.to_rows(), b.to_rows(), "{what}");
        assert_eq!(Dataset::checksum([Some(a)]), Dataset::checksum([Some(b)]), "{what}");
        assert_eq!(a.observed(), b.observed(), "{what}");
        assert_eq!(a.columns(1..3), b.columns(1..3), "{what}");
    };
    same(&sparse, &dense, "read");
    same(&sparse.first(7), &dense.first(7), "first");
    same(&sparse.pick(&[9, 2, 2, 60]), &dense.pick(&[9, 2, 2, 60]), "picked");
    for fraction in [0.2, 0.9] {
        let ((a, held), (b, also)) = (sparse.clone().split(fraction).unwrap(), dense.clone().split(fraction).unwrap());
        same(&a, &b, "the rest");
        same(&held, &also, "held out");
    }
    let classes = |data: &Dataset| data.clone().with_classes(3).unwrap();
    same(&classes(&sparse), &classes(&dense), "with classes");
    let arranged = |data: &Dataset| data.clone().arranged(Some(4..9), 20..22).unwrap();
    same(&arranged(&sparse), &arranged(&dense), "arranged");
    let columns = Columns::asked(Asked { take: Some("9,3..5,20".parse().unwrap()), ..Asked::default() }).unwrap();
    let taken = |data: &Dataset| data.clone().with_columns(&columns).unwrap();
    same(&taken(&sparse), &taken(&dense), "columns");
    for wrong in
        [sparse.check_unit_interval(0..COLS, "r").unwrap_err(), dense.check_unit_interval(0..COLS, "r").unwrap_err()]
    {
        assert!(wrong.to_string().starts_with("row 0, column 8 (counted from 0) of"), "{wrong}");
    }
    assert!(sparse.check_counts(0..COLS, "").is_ok());
    assert!(Dataset::from_sparse_rows("x", 3, vec![0, 1], vec![2], vec![f32::NAN]).is_err());
    assert!(Dataset::from_sparse_rows("x", 3, vec![0], vec![], vec![]).is_err());
}

/// Of a matrix of 3 examples and 5 columns, in which (0, 1) is named twice and (2, 4) is 255.
fn coo(kind: &str, values: [u8; 4]) -> Vec<u8> {
    let whole = |numbers: &[i64]| numbers.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<u8>>();
    zip(&[
        array("row.npy", "<i8", "(4,)", &whole(&[2, 0, 0, 1])),
        array("col.npy", "<i8", "(4,)", &whole(&[4, 1, 1, 0])),
        array("format.npy", "<U3", "()", &"coo".chars().flat_map(|c| (c as u32).to_le_bytes()).collect::<Vec<u8>>()),
        array("shape.npy", "<i8", "(2,)", &whole(&[3, 5])),
        array("data.npy", kind, "(4,)", &values),
    ])
}

#[test]
fn sparse_bytes_are_what_those_of_the_model_are() {
    let mut want = [0.0; 15];
    (want[1], want[5], want[14]) = (51.0, 1.0, 255.0);
    let sparse = Dataset::from_bytes("x", &coo("|u1", [255, 50, 1, 1])).unwrap();
    assert_eq!((sparse.to_rows(), sparse.bytes), (want.to_vec(), Some(Bytes::Plain)));
    let grey = sparse.clone().with_bytes(Some(Bytes::Grey)).unwrap();
    assert_eq!(grey.to_rows(), want.map(|x| x / 255.0));
    assert!(matches!(grey.values, Values::Sparse(_)));
    // And dense bytes what those of a sparse file were.
    let dense = Dataset::new("x", 5, Values::Bytes(want.map(|x| x as u8).to_vec()));
    assert_eq!(dense.with_bytes(sparse.bytes).unwrap().to_rows(), want);
    let truths = Dataset::from_bytes("x", &coo("|b1", [1, 1, 1, 1])).unwrap();
    assert_eq!((truths.to_rows()[1], truths.bytes), (1.0, None), "true and true is true");
}

#[test]
fn one_example_of_a_wide_model_is_no_small_file_that_claims_much() {
    let example = |cols: usize| {
        let mut values = vec![0.0; cols];
        values[cols - 1] = 3.0;
        let home = folder(&format!("sparse-wide-{cols}"));
        write_csr_of(&home.join("x.npz"), &values, cols);
        Dataset::read(&home.join("x.npz")).map(|data| (data.rows(), data.cols))
    };
    assert_eq!(example(200_000).unwrap(), (1, 200_000));
    let refused = example((1 << 20) + 17).unwrap_err().to_string();
    assert!(
        refused.contains("claims 1048593 columns, and has 1 entries: must be at most 1048576, and 16"),
        "{refused}"
    );
}

/// Genes have names, for which an array has no place: given beside it they are those of a header.
#[test]
fn columns_of_an_array_have_the_names_of_a_file() {
    let home = folder("sparse-names");
    write_csr(&home.join("cells.npz"), &counts());
    write_npy(&home.join("cells.npy"), &counts());
    let name = |j: usize| format!("G{}", (j * 7) % COLS); // no order
    let names: Vec<String> = (0..COLS).map(name).collect();
    let features: String = names.iter().map(|name| format!("{name}\tsymbol, of {name}\tGene Expression\n")).collect();
    fs::write(home.join("features.tsv"), &features).unwrap();
    fs::write(home.join("titled.csv"), format!("gene\n{}\n", names.join("\n"))).unwrap();
    // As one would have it with a header.
    let row = |row: &[f32]| row.iter().map(f32::to_string).collect::<Vec<_>>().join(",") + "\n";
    let text: String = counts().chunks(COLS).map(row).collect();
    fs::write(home.join("cells.csv"), names.join(",") + "\n" + &text).unwrap();
    let how = format!("--likelihood poisson --skip-columns G7,3 --epochs 3 {SMALL}");
    run(&home, &format!("train --data cells.csv {how} --out of-csv")).succeeded();
    for (out, data) in [("sparse", "cells.npz --names features.tsv"), ("dense", "cells.npy --names titled.csv")] {
        run(&home, &format!("train --data {data} {how} --out {out}")).succeeded();
        assert_eq!(tensors(&home.join(out)), tensors(&home.join("of-csv")), "{out}");
        let columns = |run: &str| -> serde_json::Value {
            let config: serde_json::Value = serde_json::from_slice(&bytes(&home.join(run), "config.json")).unwrap();
            config["data"]["columns"].clone()
        };
        assert_eq!(columns(out), columns("of-csv"), "{out}");
        run(&home, &format!("sample {out} --count 3 --draw --to {out}.csv --device cpu --quiet")).succeeded();
        let left: Vec<&str> =
            names.iter().enumerate().filter(|(j, n)| *j != 3 && *n != "G7").map(|(_, n)| n.as_str()).collect();
        assert_eq!(
            fs::read_to_string(home.join(format!("{out}.csv"))).unwrap().lines().next().unwrap(),
            left.join(",")
        );
        // What repeats it names the file, and what goes on needs it no more.
        run(&home, &format!("train --config {out}/run.toml --out {out}-again --device cpu --quiet")).succeeded();
        assert_same_run(&home.join(out), &home.join(format!("{out}-again")), out);
        let page = fs::read_to_string(home.join(format!("{out}/report.html"))).unwrap();
        assert!(page.contains("--names ") && page.contains(left[0]), "{out}");
    }
    // A later file with a header is read by it, in whatever order.
    let by: Vec<usize> = (0..COLS).rev().collect();
    let moved = |row: &[f32]| by.iter().map(|&j| row[j].to_string()).collect::<Vec<_>>().join(",") + "\n";
    let head = by.iter().map(|&j| names[j].clone()).collect::<Vec<_>>().join(",");
    fs::write(home.join("moved.csv"), head + "\n" + &counts().chunks(COLS).map(moved).collect::<String>()).unwrap();
    let elbo = |data: &str| {
        run(&home, &format!("eval sparse --data {data} --json --device cpu --quiet")).json()["elbo"].clone()
    };
    assert_eq!(elbo("moved.csv"), elbo("cells.npz"));
    // More or fewer names, a line without one, and text, which has its own.
    let train = |data: &str| run(&home, &format!("train --data {data} --likelihood poisson --device cpu --out no"));
    fs::write(home.join("few.txt"), "a\nb\n").unwrap();
    train("cells.npz --names few.txt").refused(
        2,
        "names few.txt: has 2 names, and cells.npz 30 columns; give one a line, in the order of the columns",
    );
    fs::write(home.join("gap.txt"), "a,1\n,2\nc,3\n").unwrap();
    train("cells.npz --names gap.txt").refused(1, "line 2 of gap.txt has no name of a column in front");
    train("cells.csv --names features.tsv").refused(
        2,
        "names features.tsv: cells.csv is text, whose first line names its columns; leave it out, or write them there",
    );
    train("cells.npz --names none.txt")
        .refused(1, "none.txt cannot be read: No such file or directory (os error 2); check the path");
}
