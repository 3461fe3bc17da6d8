//! `compare --data`: models on the same examples, by the differences example by example.
use crate::program::{folder, run};
use serde_json::Value;
use std::path::Path;

/// Rows around a line, in columns of different sizes.
fn write(path: &Path, from: usize) {
    let row = |i: usize| {
        let t = (i as f64 * 0.7).sin();
        let noise = |k: usize| ((i * k * k) as f64 * 1.3).sin() * 0.3;
        format!("{},{},{}\n", t + noise(3), 100.0 * (1.0 - t + noise(5)), 0.01 * (2.0 * t + noise(7)))
    };
    std::fs::write(path, format!("a,b,c\n{}", (from..from + 120).map(row).collect::<String>())).unwrap();
}

/// What `eval --to` has of each example.
fn bounds(home: &Path, name: &str) -> Vec<f64> {
    let line = format!("eval {name} --data new.csv --samples 40 --to {name}.csv --force --device cpu --quiet");
    run(home, &line).succeeded();
    let text = std::fs::read_to_string(home.join(format!("{name}.csv"))).unwrap();
    text.lines().skip(1).map(|line| line.parse().unwrap()).collect()
}

fn mean_and_error(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (mean, (values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0) / n).sqrt())
}

#[test]
fn models_are_judged_by_differences_of_each_example() {
    let home = folder("judged");
    write(&home.join("x.csv"), 0);
    write(&home.join("new.csv"), 1000);
    let train = "train --data x.csv --likelihood gaussian --variance shared --hidden 16 --batch 20 --lr 0.01 --device cpu --quiet";
    for (name, options) in [
        ("good", "--scale standard --latent 2 --epochs 60"),
        ("short", "--scale standard --latent 2 --epochs 5"),
        ("minmax", "--scale minmax --latent 2 --epochs 60"),
    ] {
        run(&home, &format!("{train} {options} --out {name}")).succeeded();
    }
    let judged = |runs: &str| -> Vec<Value> {
        let line = format!("compare {runs} --data new.csv --samples 40 --json --device cpu --quiet");
        let said = run(&home, &line).succeeded().stdout;
        said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let close = |value: &Value, want: f64| {
        let got = value.as_f64().unwrap();
        assert!((got - want).abs() < 1e-4 * want.abs().max(1.0), "{got}, want {want}"); // f32 in the csv
    };
    // As the tables of single examples have it: from each the other's.
    let (good, short) = (bounds(&home, "good"), bounds(&home, "short"));
    let differences: Vec<f64> = good.iter().zip(&short).map(|(a, b)| a - b).collect();
    let ((bound, error), (below, below_error)) = (mean_and_error(&short), mean_and_error(&differences));
    for runs in ["good short", "short good"] {
        let of = judged(runs);
        assert_eq!((&of[0]["run"], &of[1]["run"], of.len()), (&"good".into(), &"short".into(), 2));
        assert_eq!((of[0]["below"].as_f64(), of[1]["examples"].as_u64()), (Some(0.0), Some(120)));
        close(&of[1]["iwae"], bound);
        close(&of[1]["iwae_error"], error);
        close(&of[1]["below"], below);
        close(&of[1]["below_error"], below_error);
    }
    // Columns that are scaled differently: by densities in the units of the file. The keys are those of eval, whatever stands beside.
    let of_file: Vec<f64> = ["good", "minmax", "good minmax"]
        .into_iter()
        .flat_map(judged)
        .map(|line| {
            let name = line["run"].as_str().unwrap();
            let line_of = format!("eval {name} --data new.csv --samples 40 --json --device cpu --quiet");
            let of_eval = run(&home, &line_of).json();
            for key in ["iwae", "iwae_error", "iwae_in_units_of_file"] {
                close(&line[key], of_eval[key].as_f64().unwrap());
            }
            line["iwae_in_units_of_file"].as_f64().unwrap()
        })
        .collect();
    close(&judged("good minmax")[1]["below"], (of_file[0] - of_file[1]).abs());
    // For people.
    let said = run(&home, "compare short good minmax --data new.csv --samples 40 --count 50 --device cpu").succeeded();
    let lines: Vec<&str> = said.stdout.lines().collect();
    assert!(
        lines.len() == 4 && lines[0].contains("L_40 of the file") && lines[0].contains("below the best"),
        "{lines:?}"
    );
    assert!(lines[1].contains("–") && lines[3].ends_with("short"), "{lines:?}");
    assert!(
        said.stderr.contains("50 examples, nats per example") && !said.stderr.contains("comparable"),
        "{}",
        said.stderr
    );

    // Of other quantities no order means anything.
    let counts =
        "train --data x.csv --columns a,b --likelihood gaussian --latent 1 --hidden 4 --epochs 1 --device cpu --quiet";
    run(&home, &format!("{counts} --out other")).succeeded();
    let said = run(&home, "compare good other --data new.csv --samples 5 --device cpu").succeeded().stderr;
    assert!(said.contains("good and other are not comparable: their bounds are of different quantities"), "{said}");
}
