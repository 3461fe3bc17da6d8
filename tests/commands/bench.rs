//! The benchmark as a user starts it: what it prints, what it counts, what it refuses. Times are not judged.
#[path = "support/program.rs"]
mod program;
use program::{Outcome, folder, run};
use serde_json::Value;

fn lines(outcome: Outcome) -> Vec<Value> {
    let outcome = outcome.succeeded();
    outcome.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn number(line: &Value, key: &str) -> f64 {
    line[key].as_f64().unwrap_or_else(|| panic!("{key} of {line}"))
}

const QUICK: &str = "--seconds 0.005 --repeats 3 --json --quiet";

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
    assert!(measured.iter().all(|l| l["model"] == "iwae" && l["objective"] == "iwae"));
    // The default of the model's flags is a preset too.
    assert_eq!(lines(run(&home, &format!("bench --batch 2 --device cpu {QUICK}")))[0]["model"], "aevb");
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
    let lines = lines(run(&home, line));
    assert!(number(&lines[0], "product_tflops") > 0.0 && lines[0]["launch_us"].is_null());
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

#[cfg(feature = "cuda")]
mod standin {
    use super::*;

    /// `vae-gpu ARGS` on the stand-in driver, and the names of the calls that it got.
    fn traced(name: &str, line: &str) -> (Outcome, Vec<String>) {
        let home = folder(name);
        let mut command = program::command(&home, &line.split_whitespace().collect::<Vec<_>>());
        command.env("LD_LIBRARY_PATH", concat!(env!("OUT_DIR"), "/stand_in")).env_remove("VAE_GPU_CUDA_LIBS");
        command.env("STAND_IN_TRACE", home.join("trace"));
        let outcome = Outcome::of(command.output().unwrap());
        let trace = std::fs::read_to_string(home.join("trace")).unwrap();
        (outcome, trace.lines().map(String::from).collect())
    }

    #[test]
    fn launches_are_those_that_the_driver_captured_and_a_step_is_one_call() {
        for precision in ["fp32", "bf16"] {
            let model = "--input 17 --hidden 9 --latent 3 --batch 5 --device cuda";
            let name = format!("bench-standin-{precision}");
            let (outcome, trace) = traced(&name, &format!("bench {model} --precision {precision} {QUICK}"));
            let line = &lines(outcome)[0];
            assert_eq!((&line["plan"], &line["precision"]), (&"graph".into(), &precision.into()));
            // The probes come first, so the step is what was captured last.
            let begin = trace.iter().rposition(|call| call == "cuStreamBeginCapture_v2").unwrap();
            let end = trace.iter().rposition(|call| call == "cuStreamEndCapture").unwrap();
            let enqueue = ["cuLaunchKernelEx", "cublasLtMatmul", "cuMemsetD8Async", "cuMemcpyDtoDAsync_v2"];
            let captured = trace[begin..end].iter().filter(|call| enqueue.contains(&call.as_str())).count();
            assert_eq!(number(line, "launches_per_step"), captured as f64, "{:?}", &trace[begin..end]);
            assert!(number(line, "host_us_per_step") <= number(line, "us_per_step"));
            // From one plan to the reading of its metrics: nothing but replays, one for each step.
            let after = &trace[end..];
            let plans: Vec<_> = after.iter().enumerate().filter(|(_, c)| *c == "cuMemcpyHtoDAsync_v2").collect();
            assert!(plans.len() >= 3, "{after:?}");
            for (at, _) in plans {
                let work: Vec<_> = after[at + 1..].iter().take_while(|call| *call != "cuMemcpyDtoHAsync_v2").collect();
                assert!(!work.is_empty() && work.iter().all(|call| *call == "cuGraphLaunch"), "{work:?}");
            }
        }
    }

    #[test]
    fn devices_stand_beside_each_other_and_lack_what_they_lack() {
        let model = "--input 17 --hidden 9 --latent 3 --batch 5 --device cpu,cuda --precision fp32,tf32,f64";
        let (outcome, _) = traced("bench-standin-devices", &format!("bench {model} {QUICK}"));
        let of = |l: Value| format!("{} {}", l["device"].as_str().unwrap(), l["precision"].as_str().unwrap());
        let cases: Vec<_> = lines(outcome).into_iter().map(of).collect();
        assert_eq!(cases, ["cpu fp32", "cpu f64", "cuda:0 (Stand-in) fp32", "cuda:0 (Stand-in) tf32"]);
    }

    #[test]
    fn kernels_are_timed_as_a_graph_runs_them() {
        let (outcome, _) = traced(
            "bench-standin-kernels",
            "bench kernels --input 5 --hidden 3 --latent 2 --batch 2 --device cuda --precision bf16 --json",
        );
        let lines = lines(outcome);
        assert!(number(&lines[0], "launch_us") > 0.0 && number(&lines[0], "product_tflops") > 0.0);
        assert!(lines.len() > 10 && lines[1..].iter().all(|l| number(l, "us") > 0.0));
    }

    /// Neighbours in one launch, cuBLAS's products, and those that run beside the rest.
    #[test]
    fn launches_are_timed_one_by_one() {
        for precision in ["fp32", "bf16"] {
            let model = format!("--input 5 --hidden 3 --latent 2 --batch 300 --device cuda --precision {precision}");
            let (step, _) = traced("bench-standin-launches", &format!("bench {model} {QUICK}"));
            let (kernels, _) = traced("bench-standin-launches", &format!("bench kernels {model} --json"));
            let parts = lines(kernels);
            let launches: Vec<_> = parts.iter().filter(|l| !l["launch"].is_null()).collect();
            assert_eq!(launches.len() as f64, number(&lines(step)[0], "launches_per_step"));
            let name = |l: &&Value| l["launch"].as_str().unwrap().to_string();
            let names: Vec<_> = launches.iter().map(name).collect();
            assert_eq!(names[0], "gather 300×5 (3 of 256)");
            assert_eq!(names.iter().filter(|name| name.starts_with("cuBLAS tn")).count(), 4, "{names:?}");
            assert!(names.contains(&"cuBLAS tn 5×3×300, beside".into()), "{names:?}");
            assert_eq!(names.last().unwrap(), "adam 1×512 (1 of 256)");
            for line in &launches {
                assert!(number(line, "us") > 0.0 && number(line, "bytes") > 0.0, "{line}");
            }
            // x of 300 rows of 5, and in bf16 its copy
            let width = if precision == "bf16" { 6 } else { 4 };
            assert_eq!(number(launches[0], "bytes"), (300 * 5 * width) as f64);
        }
    }
}
