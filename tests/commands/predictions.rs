//! What the page of a run has of predictions: those of `forecast`, counted anew.
use crate::browser::{browsed, data, left, page};
use crate::program::{folder, run};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

const TRAIN: &str = "--hidden 8 --latent 2 --batch 16 --steps 60 --seed 5 --device cpu --quiet";
const ROWS: usize = 90;
/// Of the past and of the future of a series.
const HALF: usize = 9;

/// Waves, as a csv of columns t0, t1, and so on.
fn series(path: &Path) {
    let title = (0..2 * HALF).map(|t| format!("t{t}")).collect::<Vec<_>>().join(",");
    let value =
        |row: usize, t: usize| 10.0 + ((row * row % 37) as f32 + 0.5 * t as f32).sin() + (row * t % 7) as f32 * 0.1;
    let line = |row| (0..2 * HALF).map(|t| value(row, t).to_string()).collect::<Vec<_>>().join(",");
    fs::write(path, title + "\n" + &(0..ROWS).map(line).collect::<Vec<_>>().join("\n")).unwrap();
}

fn predictions(run: &Path) -> Value {
    data(&page(&run.join("report.html")))["predictions"].clone()
}

/// The numbers of a csv with a title.
fn rows(path: &Path) -> Vec<Vec<f64>> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().skip(1).map(|line| line.split(',').map(|cell| cell.parse().unwrap()).collect()).collect()
}

fn is_near(got: &Value, want: f64) -> bool {
    (got.as_f64().unwrap() - want).abs() <= 1e-6 * want.abs().max(1.0) // the page has seven digits
}

#[test]
fn a_page_has_the_forecasts_of_the_command() {
    let home = folder("predictions");
    series(&home.join("x.csv"));
    run(&home, &format!("train --data x.csv --past 0..9 --future 9..18 --scale standard --likelihood gaussian --variance shared {TRAIN} --out r"))
        .succeeded();
    let forecast = "forecast r --data x.csv --draws 100 --seed 5 --device cpu --quiet";
    run(&home, &format!("{forecast} --quantiles 0.05,0.25,0.5,0.75,0.95 --to q.csv")).succeeded();
    run(&home, &format!("{forecast} --draw --to d.csv")).succeeded();
    let (x, quantiles, draws) = (rows(&home.join("x.csv")), rows(&home.join("q.csv")), rows(&home.join("d.csv")));
    // In front of a draw stand its example and its number.
    assert_eq!(
        (quantiles.len(), quantiles[0].len(), draws.len(), draws[0].len()),
        (ROWS, 5 * HALF, 100 * ROWS, 2 + HALF)
    );

    let page = predictions(&home.join("r"));
    let of = |key: &str| &page[key];
    assert_eq!((of("count"), of("draws")), (&json!(ROWS), &json!(100)));
    assert_eq!((of("is_series"), of("is_past"), of("apart")), (&json!(true), &json!(true), &json!(false)));
    assert_eq!((of("has_chances"), of("is_given_its_variance")), (&json!(false), &json!(false)));
    assert_eq!(of("names"), &json!((9..18).map(|t| format!("t{t}")).collect::<Vec<_>>()));
    let panels = of("panels").as_array().unwrap();
    assert_eq!(panels.len(), 6);
    for (i, panel) in panels.iter().enumerate() {
        let row = i * ROWS / 6;
        for j in 0..HALF {
            assert!(is_near(&panel["told"][j], x[row][j]) && is_near(&panel["came"][j], x[row][HALF + j]), "{row} {j}");
            for q in 0..5 {
                let (got, want) = (&panel["quantiles"][q][j], quantiles[row][5 * j + q]);
                assert!(is_near(got, want), "row {row}, column {j}, quantile {q}: {got}, want {want}");
            }
        }
    }
    // How many lie within, and how much the means explain, by what the command wrote.
    let came = |row: usize, j: usize| x[row][HALF + j];
    let within = |low: usize, high: usize| {
        let inside = |&(row, j): &(usize, usize)| {
            let q = &quantiles[row][5 * j..];
            (q[low]..=q[high]).contains(&came(row, j))
        };
        let all = (0..ROWS).flat_map(|row| (0..HALF).map(move |j| (row, j)));
        all.filter(inside).count() as f64 / (ROWS * HALF) as f64
    };
    assert!(is_near(&of("coverage")[0], within(1, 3)) && is_near(&of("coverage")[1], within(0, 4)));
    assert!((0.3..0.7).contains(&within(1, 3)) && within(0, 4) > 0.8, "the variance was learned");
    let explained = (0..HALF).map(|j| {
        let mean = (0..ROWS).map(|row| came(row, j)).sum::<f64>() / ROWS as f64;
        let predicted = |row: usize| draws[100 * row..][..100].iter().map(|d| d[2 + j]).sum::<f64>() / 100.0;
        let left: f64 = (0..ROWS).map(|row| (came(row, j) - predicted(row)).powi(2)).sum();
        1.0 - left / (0..ROWS).map(|row| (came(row, j) - mean).powi(2)).sum::<f64>()
    });
    let mut explained: Vec<f64> = explained.collect();
    explained.sort_by(f64::total_cmp);
    let explained = explained[HALF / 2]; // of nine
    assert!(is_near(of("explained"), explained), "{}, want {explained}", of("explained"));
}

/// Numbers on scales of their own, counts, zeros and ones, words, some of them told.
#[test]
fn a_mixed_table_is_predicted_column_by_column() {
    let home = folder("predictions-mixed");
    let line = |row: usize| {
        let word = ["a", "b", "c"][row % 3];
        let visits = if row == 15 { String::new() } else { (row * row % 5).to_string() };
        format!(
            "{},{word},{},{visits},{},{}",
            20 + row % 40,
            (row as f32).sin() * 100.0,
            row / 2 % 2,
            ["x", "y"][row % 2]
        )
    };
    let title = "age,ward,stay,visits,sick,out\n";
    fs::write(home.join("x.csv"), title.to_string() + &(0..ROWS).map(line).collect::<Vec<_>>().join("\n")).unwrap();
    run(&home, &format!("train --data x.csv --scale standard --likelihood gaussian --poisson visits --bernoulli sick --categorical ward,out --condition age,ward --missing allow {TRAIN} --out r"))
        .succeeded();
    let page = predictions(&home.join("r"));
    assert_eq!(page["names"], json!(["stay", "visits", "sick"]), "words have no quantiles");
    assert_eq!((&page["is_series"], &page["apart"]), (&json!(false), &json!(true)));
    assert_eq!((&page["has_chances"], &page["is_given_its_variance"]), (&json!(true), &json!(true)));
    let panels = page["panels"].as_array().unwrap();
    assert_eq!((&panels[0]["told"], &panels[1]["told"]), (&json!("age 20, ward a"), &json!("age 35, ward a")));
    assert_eq!(panels[1]["came"][1], Value::Null, "what is missing");
    // Where columns have no names they are told by their places in the file, and of many some are drawn.
    let rows: Vec<f32> =
        (0..40 * 300).map(|i| (i % 7) as f32 * 10f32.powi(i % 300 % 5) + (i % 11) as f32 / 8192.0).collect();
    vae_gpu::data::npy::write(&mut fs::File::create(home.join("x.npy")).unwrap(), 40, 300, &rows).unwrap();
    run(
        &home,
        &format!("train --data x.npy --condition 3..5 --scale standard --likelihood gaussian {TRAIN} --out wide"),
    )
    .succeeded();
    let wide = predictions(&home.join("wide"));
    let first = &wide["panels"][0];
    assert_eq!(first["told"], json!("column 3 3000, column 4 40000"));
    let drawn = wide["names"].as_array().unwrap();
    assert_eq!((&drawn[0], &drawn[1], drawn.len()), (&json!("x0"), &json!("x5"), 60), "every fifth of 298");
    assert!(["came", "chances"].iter().all(|part| first[*part].as_array().unwrap().len() == 60));
    assert!((0..5).all(|q| first["quantiles"][q].as_array().unwrap().len() == 60));
    for panel in panels {
        let chance = panel["chances"][2].as_f64().unwrap();
        assert!(panel["chances"][0].is_null() && (0.0..=1.0).contains(&chance) && (chance * 100.0).fract() < 1e-9);
        assert!(panel["quantiles"][1][1].as_f64().unwrap().fract() == 0.0, "a quantile of counts is one");
    }
    assert!(page["coverage"][1].as_f64().unwrap() >= page["coverage"][0].as_f64().unwrap());
    let script = r##"
        const out = document.documentElement.dataset, section = document.querySelector("#predicted").parentNode;
        out.note = section.querySelector(".note").textContent; out.hidden = section.hidden;
        out.figures = section.querySelectorAll("figure").length; out.bands = section.querySelectorAll("rect.band").length;
        out.dots = section.querySelectorAll("circle.came").length; out.wide = document.documentElement.scrollWidth <= innerWidth;
    "##;
    let Some(dom) = browsed(&home.join("r/report.html"), script, "predictions-mixed") else { return };
    // Of numbers two bars, of zeros and ones a single one; of what is missing no dot.
    assert_eq!((left(&dom, "figures"), left(&dom, "bands"), left(&dom, "dots")), ("6", "30", "17"));
    assert_eq!((left(&dom, "hidden"), left(&dom, "wide")), ("false", "true"));
    let note = left(&dom, "note");
    assert!(
        note.contains("of zeros and ones how many of 100 draws are 1") && note.contains("--variance shared"),
        "{note}"
    );
}

#[test]
fn pictures_are_predicted_as_pictures() {
    let home = folder("predictions-pictures");
    let rows: Vec<f32> = (0..20 * 72).map(|i| (i % 7) as f32 / 6.0).collect();
    vae_gpu::data::npy::write(&mut fs::File::create(home.join("x.npy")).unwrap(), 20, 72, &rows).unwrap();
    run(&home, &format!("train --data x.npy --past 0..36 --future 36..72 {TRAIN} --out r")).succeeded();
    let page = predictions(&home.join("r"));
    assert_eq!((&page["is_told"], &page["draws"], &page["picture"]["count"]), (&json!(true), &json!(6), &json!(6)));
    let width = page["picture"]["width"].as_u64().unwrap();
    assert!(width > 8 * 36, "eight tiles in a row: {width}");
    // The same as numbers are as many as a square has, and no picture.
    run(&home, &format!("train --data x.npy --past 0..36 --future 36..72 --likelihood gaussian {TRAIN} --out numbers"))
        .succeeded();
    let numbers = predictions(&home.join("numbers"));
    assert_eq!((&numbers["picture"], &numbers["is_series"]), (&Value::Null, &json!(true)));
    let script = r##"
        const out = document.documentElement.dataset, section = document.querySelector("#predicted").parentNode;
        out.images = [...section.querySelectorAll("img")].map(i => `${i.naturalWidth} ${i.alt}`).join(";");
    "##;
    let Some(dom) = browsed(&home.join("r/report.html"), script, "predictions-pictures") else { return };
    assert_eq!(left(&dom, "images"), format!("{width} 6 examples with predictions: told, the truth, means"));
}

#[test]
fn a_model_that_is_told_no_columns_predicts_nothing() {
    let home = folder("predictions-none");
    fs::write(home.join("x.csv"), "a,b,kind\n".to_string() + &"1,2,u\n3,5,v\n".repeat(20)).unwrap();
    let train = "train --data x.csv --classes kind --likelihood gaussian --scale standard";
    run(&home, &format!("{train} {TRAIN} --out plain")).succeeded();
    run(&home, &format!("{train} --condition labels {TRAIN} --out classes")).succeeded();
    for name in ["plain", "classes"] {
        assert_eq!(predictions(&home.join(name)), Value::Null, "{name}");
    }
    // Of classes the samples have a column for each.
    let page = |name: &str| data(&page(&home.join(name).join("report.html")));
    let (plain, told) = (page("plain"), page("classes"));
    assert_eq!((&plain["classes"], &told["classes"]), (&Value::Null, &json!(["u", "v"])));
    let side = |page: &Value, side: &str| page["samples"][side].as_u64().unwrap();
    assert_eq!((side(&plain, "count"), side(&told, "count")), (32, 32));
    let high = (vae_gpu::plot::bars::HEIGHT + vae_gpu::plot::GAP) as u64 * 16 + vae_gpu::plot::GAP as u64;
    assert_eq!(side(&told, "height"), high, "16 rows of two");
    assert!(side(&plain, "height") < high);
}
