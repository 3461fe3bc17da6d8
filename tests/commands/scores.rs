//! What `eval` says of each example, to find those that are odd: its bound, which of its columns the bound is from, and of a table with
//! a row that is no number the others.
use crate::program::{folder, run};
use std::collections::HashMap;
use std::fs;
use std::path::Path;

const ROWS: usize = 80;

/// Words, zeros and ones, counts, and numbers with gaps; in row 7 the height is odd.
fn table(path: &Path) {
    let mut text = String::from("id,ward,ill,visits,height,age\n");
    for i in 0..ROWS {
        let ward = ["east", "north", "west"][i * i % 5 % 3];
        let height = match i {
            7 => "320".to_string(),
            _ if i % 9 == 4 => String::new(),
            _ => (170.0 + (i as f64 * 1.3).sin() * 9.0).to_string(),
        };
        let age = 40.0 + (i as f64 * 0.7).cos() * 20.0;
        text += &format!("n{i},{ward},{},{},{height},{age}\n", i % 3 / 2, i * 7 % 11);
    }
    fs::write(path, text).unwrap();
}

/// A csv by the names of its columns; an empty cell is NaN.
fn columns(text: &str) -> HashMap<String, Vec<f64>> {
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let titles = lines.next().unwrap();
    let mut columns: HashMap<String, Vec<f64>> = titles.iter().map(|title| (title.to_string(), vec![])).collect();
    for line in lines {
        for (title, cell) in titles.iter().zip(line) {
            columns.get_mut(*title).unwrap().push(cell.parse().unwrap_or(f64::NAN));
        }
    }
    columns
}

#[test]
fn the_parts_of_the_columns_add_up_and_tell_which_is_odd() {
    let home = folder("scores-columns");
    table(&home.join("t.csv"));
    let how = "--likelihood gaussian --variance shared --scale standard --missing allow --categorical ward --bernoulli ill \
               --negative-binomial visits";
    run(
        &home,
        &format!("train --data t.csv {how} --hidden 6 --latent 2 --batch 8 --epochs 20 --device cpu --quiet --out a"),
    )
    .succeeded();
    for samples in [1, 3, 100] {
        let eval =
            format!("eval a --data t.csv --samples {samples} --estimator elbo,columns --device cpu --quiet --to");
        run(&home, &format!("{eval} parts.csv --force")).succeeded();
        let text = fs::read_to_string(home.join("parts.csv")).unwrap();
        assert_eq!(text.lines().next().unwrap(), "id,iwae,elbo,nll,kl,nll_ward,nll_ill,nll_visits,nll_height,nll_age");
        let parts = columns(&text);
        let names = ["nll_ward", "nll_ill", "nll_visits", "nll_height", "nll_age"];
        for i in 0..ROWS {
            let each = names.map(|name| parts[name][i]);
            assert_eq!(each.map(f64::is_nan), [false, false, false, i % 9 == 4, false], "row {i}: {each:?}");
            let (sum, nll) = (each.iter().filter(|part| !part.is_nan()).sum::<f64>(), parts["nll"][i]);
            assert!((sum - nll).abs() < 1e-5 * nll.abs().max(1.0), "row {i}, {samples} samples: {sum} and {nll}"); // in f32
        }
        let most = |name: &str| {
            (0..ROWS).max_by(|&i, &j| parts[name][i].max(-99.0).total_cmp(&parts[name][j].max(-99.0))).unwrap()
        };
        assert_eq!(most("nll_height"), 7, "the one of 320");
    }
    // On stdout the table stands alone; what is said of all goes beside it.
    let streamed = run(&home, "eval a --data t.csv --estimator columns --device cpu --to -").succeeded();
    assert!(streamed.stdout.starts_with("id,iwae,nll_ward,"), "{}", streamed.stdout);
    assert_eq!(streamed.stdout.lines().count(), 1 + ROWS);
    assert!(streamed.stderr.contains("\nelbo "), "{}", streamed.stderr);
}

#[test]
fn one_row_that_is_no_number_does_not_cost_the_others() {
    let home = folder("scores-skipped");
    let row = |i: usize| format!("{},{}\n", (i as f64 * 0.7).sin(), (i as f64 * 1.1).cos());
    let good: String = (0..50).map(row).collect();
    fs::write(home.join("t.csv"), format!("a,b\n{good}")).unwrap();
    let bad: String = (0..50).map(|i| if i == 13 { "1e30,0\n".into() } else { row(i) }).collect();
    fs::write(home.join("bad.csv"), format!("a,b\n{bad}")).unwrap();
    run(&home, "train --data t.csv --likelihood gaussian --hidden 5 --latent 2 --batch 10 --epochs 5 --device cpu --quiet --out a")
        .succeeded();
    let eval = "eval a --samples 10 --device cpu --data";
    run(&home, &format!("{eval} bad.csv --to no.csv")).refused(
        1,
        "bad.csv: the bound of example 13 is not finite: the model does not fit it; --on-nan skip leaves such examples out",
    );
    assert!(!home.join("no.csv").exists());
    let skipped = run(&home, &format!("{eval} bad.csv --to bad-scores.csv --on-nan skip --json")).succeeded();
    assert_eq!(
        skipped.stderr,
        "left out, for their bounds are not finite: 1 of 50 examples, the first of which is 13 (counted from 0)\n"
    );
    let found = skipped.json();
    assert_eq!((&found["examples"], &found["left_out"]), (&49.into(), &serde_json::json!([13])));
    run(&home, &format!("{eval} t.csv --to scores.csv --json")).succeeded();
    let [bad, all] = ["bad-scores.csv", "scores.csv"].map(|file| fs::read_to_string(home.join(file)).unwrap());
    let (bad, all) = (columns(&bad)["iwae"].clone(), columns(&all)["iwae"].clone());
    assert!((0..50).all(|i| if i == 13 { bad[i].is_nan() } else { bad[i] == all[i] }), "{bad:?}\n{all:?}");
    // What is told of all is of the others alone.
    let mean = (0..50).filter(|i| *i != 13).map(|i| all[i]).sum::<f64>() / 49.0;
    assert!((found["iwae"].as_f64().unwrap() - mean).abs() < 1e-5, "{found}"); // the file has f32
    let parts: f64 = found["kl_per_dim"].as_array().unwrap().iter().map(|kl| kl.as_f64().unwrap()).sum();
    let kl = found["kl"].as_f64().unwrap();
    assert!((parts - kl).abs() < 1e-5 * kl.abs().max(1.0), "{found}");
    // Where nothing is left there is nothing to tell.
    fs::write(home.join("none.csv"), "a,b\n1e30,0\n1e30,1\n").unwrap();
    let none = run(&home, &format!("{eval} none.csv --on-nan skip"));
    assert!(none.code == Some(1) && none.stderr.contains("not finite"), "{}", none.stderr);
}
