//! The benchmark on the stand-in: what it counts is what the driver was told, and each launch and choice has its line.
use crate::measured::{QUICK, lines, number};
use crate::program::{Outcome, folder, run_on_stand_in};
use crate::shipped::shipped;
use serde_json::Value;

/// `vae-gpu ARGS` on the stand-in driver, and the names of the calls that it got.
fn traced(name: &str, line: &str) -> (Outcome, Vec<String>) {
    let home = folder(name);
    let trace = home.join("trace");
    let outcome = run_on_stand_in(&home, line, &[("STAND_IN_TRACE", trace.to_str().unwrap())]);
    let trace = std::fs::read_to_string(trace).unwrap();
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
    for precision in ["tf32", "bf16"] {
        let model = format!("--input 5 --hidden 3 --latent 2 --batch 300 --device cuda --precision {precision}");
        let (step, _) = traced(&format!("bench-standin-step-{precision}"), &format!("bench {model} {QUICK}"));
        let (kernels, _) =
            traced(&format!("bench-standin-launches-{precision}"), &format!("bench kernels {model} --json"));
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

/// What each choice costs or gives is asked for by name, and the answer stands beside the promise.
#[test]
fn bench_measures_beside_it_what_choices_cost_and_shortcuts_give() {
    let home = folder("standin-order");
    let line = "bench --input 9 --hidden 9 --latent 3 --batch 10 --repeats 1 --seconds 0.001 --json --device cuda";
    let devices = |line: &str| -> Vec<String> {
        let said = shipped(&home, line).succeeded().stdout;
        let row =
            |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["device"].as_str().map(String::from);
        said.lines().filter_map(row).collect()
    };
    assert_eq!(devices(line), ["cuda:0 (Stand-in)"]);
    assert_eq!(devices(&format!("{line} --any-order")), ["cuda:0 (Stand-in)", "cuda:0 (Stand-in), any order"]);
    assert_eq!(devices(&format!("{line} --stacked")), ["cuda:0 (Stand-in)", "cuda:0 (Stand-in), stacked"]);
    assert_eq!(devices(&format!("{line} --timed")), ["cuda:0 (Stand-in)", "cuda:0 (Stand-in), timed"]);
    let each = ["", ", without split", ", without update"].map(|variant| format!("cuda:0 (Stand-in){variant}"));
    assert_eq!(devices(&format!("{line} --without split,update")), each);
    // Only bf16 has copies.
    let each = ["", ", without copies"].map(|variant| format!("cuda:0 (Stand-in){variant}"));
    assert_eq!(devices(&format!("{line} --without copies")), each[..1]);
    assert_eq!(devices(&format!("{line} --without copies --precision bf16")), each);
}
