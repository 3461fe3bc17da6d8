//! `vae-gpu mixture`, as it is shipped: what it writes and says, and what it refuses.
use crate::numbers::{assert_near, mean_and_error};
use crate::program::{folder, run, write_idx};
use vae_gpu::data::Dataset;
use vae_gpu::mixture::{Covariance, Mixture};

#[test]
fn the_command_writes_a_mixture_that_reads_back_and_pictures() {
    let home = folder("mixture");
    write_idx(&home.join("x.idx"), 103, 6);
    let line = "mixture --data x.idx --valid-fraction 0.2 --components 3 --covariance full --json --out out --seed 5";
    let outcome = run(&home, line).succeeded();
    let json: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!((&json["train"]["examples"], &json["valid"]["examples"]), (&82.into(), &21.into()));
    let (m, config) = Mixture::read(&home.join("out/mixture.safetensors")).unwrap();
    assert_eq!((m.covariance, m.components(), m.cols(), config.shape), (Covariance::Full, 3, 36, Some((6, 6).into())));
    let (train, valid) = Dataset::read(&home.join("x.idx")).unwrap().split(0.2).unwrap();
    for (part, data) in [("train", train), ("valid", valid)] {
        let x: Vec<f64> = data.to_rows().into_iter().map(f64::from).collect();
        let (mean, error) = mean_and_error(&m.log_likelihoods(&x).unwrap());
        let got = |key: &str| json[part][key].as_f64().unwrap();
        assert_near(part, &[got("log_likelihood"), got("log_likelihood_error")], &[mean, error], 1e-12);
    }
    for picture in ["means.png", "samples.png"] {
        assert!(std::fs::read(home.join("out").join(picture)).unwrap().starts_with(b"\x89PNG"), "{picture}");
    }
    // The same file with one thread; another with another seed; the same likelihood from the file.
    let file = |out: &str| std::fs::read(home.join(out).join("mixture.safetensors")).unwrap();
    run(&home, &line.replace("--out out", "--out one --threads 1")).succeeded();
    run(&home, &line.replace("--out out --seed 5", "--out other --seed 6")).succeeded();
    assert!(file("out") == file("one") && file("out") != file("other"));
    let again =
        "mixture --data x.idx --valid-fraction 0.2 --start out/mixture.safetensors --iterations 0 --json --out b";
    let again: serde_json::Value = run(&home, again).json();
    assert_eq!((&again["train"], &again["valid"]), (&json["train"], &json["valid"]));
    // And in words.
    let words = run(&home, "mixture --data x.idx --components 2 --restarts 1 --out words").succeeded();
    assert!(
        words.stdout.contains("train  log p(x)") && words.stderr.contains("start 1, iteration"),
        "{}",
        words.stderr
    );
}

#[test]
fn help_names_the_defaults_and_shows_examples() {
    let help = run(&folder("mixture-help"), "help mixture").succeeded().stdout;
    for word in ["Examples:", "--components", "[default: 10]", "reg_covar", "means.png", "--restarts"] {
        assert!(help.contains(word), "{word}");
    }
}

/// A mixture goes on with its own columns of other data, wherever they stand there.
#[test]
fn a_mixture_knows_its_columns() {
    let home = folder("mixture-columns");
    let table = |name: &str, order: [usize; 3], header: bool| {
        let line = |cells: [String; 3]| order.map(|j| cells[j].clone()).join(",") + "\n";
        let row = |i: usize| [i % 7, 100 + i % 5, 20 + i * i % 11].map(|x| format!("{x}.5"));
        let first = if header { line(["age", "income", "size"].map(String::from)) } else { String::new() };
        std::fs::write(home.join(name), first + &(0..60).map(|i| line(row(i))).collect::<String>()).unwrap();
    };
    table("a.csv", [0, 1, 2], true);
    table("turned.csv", [2, 0, 1], true);
    table("bare.csv", [0, 1, 2], false);
    run(&home, "mixture --data a.csv --skip-columns size --components 2 --quiet --out m").succeeded();
    let likelihood = |line: &str| {
        let line = format!("mixture --start m/mixture.safetensors --iterations 0 --json --force --out n {line}");
        run(&home, &line).json()["train"]["log_likelihood"].as_f64().unwrap()
    };
    let want = likelihood("--data a.csv");
    assert_eq!((likelihood("--data turned.csv"), likelihood("--data bare.csv")), (want, want));
    run(&home, "mixture --start m/mixture.safetensors --data a.csv --columns age,size --out n --force").refused(
        2,
        "columns: the mixture of --start is of \"age\", \"income\", which are taken by their names; leave out --columns, \
         --skip-columns and --header",
    );
    // What bytes stood for is kept.
    write_idx(&home.join("x.idx"), 60, 4);
    run(&home, "mixture --data x.idx --components 2 --quiet --out bytes").succeeded();
    let config = Mixture::read(&home.join("bytes/mixture.safetensors")).unwrap().1;
    assert_eq!(config.bytes, Dataset::read(&home.join("x.idx")).unwrap().bytes);
    assert!(config.bytes.is_some());
}

/// What each example belongs to, from the fit and from its file; which is all that is written where nothing is fitted.
#[test]
fn a_table_says_what_each_example_belongs_to() {
    let home = folder("mixture-table");
    // Two heaps, one behind the other; the first column names the rows.
    let cells = |i: usize| [i / 30 * 50 + i * i % 7, 3 + i / 30 * 40 + i * 3 % 5];
    let line = |i: usize| format!("p{i},{}.5,{}\n", cells(i)[0], cells(i)[1]);
    std::fs::write(home.join("x.csv"), "id,a,b\n".to_string() + &(0..50).map(line).collect::<String>()).unwrap();
    run(&home, "mixture --data x.csv --components 2 --quiet --out m --to fitted.csv").succeeded();
    let start = "mixture --data x.csv --start m/mixture.safetensors --iterations 0";
    let json = run(&home, &format!("{start} --to later.npy --json")).json();
    run(&home, &format!("{start} --to titled.csv --keep id,b --quiet")).succeeded();
    assert!(json["out"].is_null() && !home.join("runs").exists());

    let x: Vec<f64> =
        (0..50).flat_map(cells).enumerate().map(|(i, x)| x as f64 + 0.5 * (i % 2 == 0) as u8 as f64).collect();
    let (mixture, _) = Mixture::read(&home.join("m/mixture.safetensors")).unwrap();
    let (log_p, r) = (mixture.log_likelihoods(&x).unwrap(), mixture.responsibilities(&x).unwrap());
    let later = Dataset::read(&home.join("later.npy")).unwrap();
    assert_eq!((later.rows(), later.cols), (50, 4));
    for (i, row) in later.to_rows().chunks(4).enumerate() {
        let p = [r[2 * i] as f32, r[2 * i + 1] as f32];
        assert_eq!(row, [log_p[i] as f32, (p[1] > p[0]) as u8 as f32, p[0], p[1]], "{i}");
    }
    let components: Vec<f32> = later.to_rows().chunks(4).map(|row| row[1]).collect();
    assert!(
        components[..30].iter().all(|&k| k == components[0]) && components[30..].iter().all(|&k| k != components[0])
    );

    let text = |name: &str| std::fs::read_to_string(home.join(name)).unwrap();
    let (fitted, titled) = (text("fitted.csv"), text("titled.csv"));
    assert!(fitted.starts_with("id,log p(x),component,p(z = 0),p(z = 1)\np0,"), "{fitted}");
    assert!(titled.starts_with("id,b,log p(x),component,p(z = 0),p(z = 1)\np0,3,"), "{titled}");
    let cut = |text: &str, cells: usize| -> Vec<String> {
        text.lines().map(|line| line.split(',').skip(cells).collect::<Vec<_>>().join(",")).collect()
    };
    assert_eq!(cut(&fitted, 1), cut(&titled, 2));
}

/// What helps a training with gaps and words helps no mixture, and is not told.
#[test]
fn gaps_and_words_are_told_with_what_helps_a_mixture() {
    let home = folder("mixture-gaps");
    std::fs::write(home.join("gaps.csv"), "a,b,c\n1.5,2,x\n0.5,,y\n2,1,x\n1,3,y\n").unwrap();
    let refused = |columns: &str, sentence: &str| {
        let line = format!("mixture --data gaps.csv --columns {columns} --components 2 --out m --device cpu");
        run(&home, &line).refused(1, sentence);
    };
    refused("a,b", "line 3, column 2 (\"b\") of gaps.csv is empty: fill the cell, or leave the example out");
    refused(
        "a,c",
        "line 2, column 3 (\"c\") of gaps.csv is \"x\", not a number: separate numbers by comma, semicolon or tab; leave a column of \
         words out by --skip-columns c",
    );
    let words: String = (0..20).map(|i| format!("{},{i}\n", ["x", "y"][i % 2])).collect();
    std::fs::write(home.join("words.csv"), format!("c,a\n{words}")).unwrap();
    run(&home, "mixture --data words.csv --components 2 --out m --device cpu").refused(
        1,
        "column 1 (\"c\") of words.csv has words that come again, 2 different ones in 20 rows: names of rows differ; leave a column of \
         words out by --skip-columns c",
    );
    std::fs::write(home.join("first.csv"), ",1\n2,3\n4,5\n1,0\n").unwrap();
    run(&home, "mixture --data first.csv --components 2 --out m --device cpu").refused(
        1,
        "line 1, column 1 of first.csv is empty: fill the cell, leave the example out, or pass --header yes if the line is one",
    );
}
