//! The benchmark as a user starts it: what it prints, what it counts, what it refuses. Times are not judged.
use crate::measured::{QUICK, lines, number};
use crate::program::{folder, run};
use serde_json::Value;

#[test]
fn a_line_of_json_for_each_case_says_what_was_measured() {
    let home = folder("bench");
    let models = "--input 36 --hidden 9 --latent 3 --batch 7,20 --samples 1,4 --precision fp32,f64 --device cpu";
    let lines = lines(run(&home, &format!("bench {models} {QUICK}")));
    let case = |line: &Value| (number(line, "samples") as u64, number(line, "batch") as u64);
    let cases: Vec<_> = lines.iter().map(case).collect();
    assert_eq!(cases, [(1, 7), (1, 7), (1, 20), (1, 20), (4, 7), (4, 7), (4, 20), (4, 20)]);
    for (i, line) in lines.iter().enumerate() {
        assert_eq!((&line["model"], &line["device"]), (&"36-9-3-9-36".into(), &"cpu".into()));
        assert_eq!((&line["precision"], &line["plan"]), (&["fp32", "f64"][i % 2].into(), &"tape".into()));
        assert_eq!((&line["launches_per_step"], &line["host_us_per_step"]), (&Value::Null, &Value::Null));
        let [low, mid, high] = ["us_p25", "us_per_step", "us_p75"].map(|key| number(line, key));
        assert!(0.0 < low && low <= mid && mid <= high, "{line}");
        let (samples, batch) = case(line);
        let rate = batch as f64 / mid * 1e6;
        assert!((number(line, "examples_per_s") - rate).abs() < 1e-9 * rate);
        // 36→9 forward and dW; 9→6 of the encoder, 3→9 and 9→36 of the decoder also dX
        let flops = 2 * batch * (2 * 36 * 9 + 3 * 9 * 6) + 2 * batch * samples * 3 * (3 * 9 + 9 * 36);
        assert_eq!(number(line, "flops_per_step"), flops as f64);
        assert_eq!(line["repeats"].as_array().unwrap().len(), 3);
        let part = 100.0 * number(line, "floor_us") / mid;
        assert!((number(line, "percent_of_floor") - part).abs() < 1e-6 * part, "{line}");
    }
}

#[test]
fn a_preset_keeps_its_name_and_its_numbers_of_samples() {
    let home = folder("bench-preset");
    let measured = lines(run(&home, &format!("bench --preset iwae --batch 2 --device cpu {QUICK}")));
    assert_eq!(measured.iter().map(|l| number(l, "samples") as u64).collect::<Vec<_>>(), [1, 5, 50]);
    assert!(measured.iter().all(|l| l["model"] == "iwae" && l["objective"] == "iwae" && l["binarize"] == "dynamic"));
    assert_eq!(lines(run(&home, &format!("bench --preset small --device cpu {QUICK}")))[0]["model"], "small");
    // The default of the model's flags is a preset too.
    let measured = lines(run(&home, &format!("bench --batch 2 --device cpu {QUICK}")));
    assert_eq!((&measured[0]["model"], &measured[0]["binarize"]), (&"aevb".into(), &"none".into()));
}

#[test]
fn what_is_learned_from_can_be_given() {
    let home = folder("bench-data");
    let examples: Vec<String> = (0..9).map(|i| format!("0,{},1", i % 2)).collect();
    std::fs::write(home.join("x.csv"), format!("a,b,c\n{}\n", examples.join("\n"))).unwrap();
    std::fs::write(home.join("grey.csv"), "a,b,c\n0,3,1\n1,2,1\n").unwrap();
    let bench = |options: &str| run(&home, &format!("bench --hidden 4 --latent 2 --device cpu {options} {QUICK}"));
    let measured = lines(bench("--data x.csv --batch 4 --binarize threshold"));
    assert_eq!((&measured[0]["data"], &measured[0]["binarize"]), (&"x.csv".into(), &"threshold".into()));
    assert_eq!(measured[0]["model"], "3-4-2-4-3", "as many columns as the data have");
    assert_eq!(lines(bench("--input 3 --batch 4"))[0]["data"], "random");
    bench("--data x.csv --batch 4,10").refused(2, "batch 10: x.csv has 9 examples; pass --batch 9 or less");
    run(&home, "bench kernels --data x.csv --batch 10 --device cpu")
        .refused(2, "batch 10: x.csv has 9 examples; pass --batch 9 or less");
    bench("--data grey.csv --batch 2").refused(
        1,
        "row 0, column 1 (\"b\", counted from 0) of grey.csv is 3: must be in [0, 1] for the Bernoulli likelihood; pass \
         --likelihood gaussian",
    );
    run(&home, &format!("bench --preset aevb --data x.csv --device cpu {QUICK}")).refused(
        1,
        "x.csv: an example has 3 numbers; must have 784, as the preset aevb: give data of the same columns",
    );
}

#[test]
fn people_get_a_table() {
    let line = "bench --input 36 --hidden 9 --latent 3 --batch 7 --device cpu --seconds 0.005 --repeats 3";
    let ended = run(&folder("bench-table"), line).succeeded();
    let rows: Vec<_> = ended.stdout.lines().collect();
    assert!(rows.len() == 2 && rows[0].starts_with("model") && rows[1].starts_with("36-9-3-9-36"), "{}", ended.stdout);
    assert_eq!(rows[0].chars().count(), rows[1].chars().count(), "columns stand below their titles");
    assert!(ended.stderr.contains("cpu fp32: product"), "{}", ended.stderr);
}

#[test]
fn kernels_stand_beside_a_copy() {
    let home = folder("bench-kernels");
    let line = "bench kernels --input 36 --hidden 9 --latent 3 --batch 7 --device cpu --json";
    // Steps after one that is not finite are skipped, and an update that is skipped takes no time.
    let said = run(&home, &format!("{line} --likelihood poisson --optimizer sgd --lr 1e30"));
    let sentence = "vae-gpu: 36-9-3-9-36: the loss is not finite; pass a smaller --lr\n";
    assert!(said.code == Some(1) && said.stderr == sentence && !said.stdout.contains("update"), "{}", said.stderr);
    let lines = lines(run(&home, line));
    assert!(number(&lines[0], "product_tflops") > 0.0 && lines[0]["launch_us"].is_null());
    assert!(number(&lines[0], "fma_tflops") > 0.0);
    assert!(lines[0]["copies"].as_array().unwrap().iter().all(|copy| number(copy, "gb_per_s") > 0.0));
    let ops: Vec<_> = lines[1..].iter().map(|l| l["op"].as_str().unwrap().split(' ').next().unwrap()).collect();
    for op in ["gather", "linear_forward", "reparam_forward", "kl_forward", "nll_forward", "bound", "linear_backward"] {
        assert!(ops.contains(&op), "{op}: {ops:?}");
    }
    assert_eq!(*ops.last().unwrap(), "update");
    for line in &lines[1..] {
        let rate = number(line, "bytes") / number(line, "us") / 1e3;
        assert!((number(line, "gb_per_s") - rate).abs() < 1e-9 * rate && number(line, "copy_us") > 0.0, "{line}");
    }
}
