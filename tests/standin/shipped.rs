//! The program as it is shipped, on the stand-in: what it gives is what the CPU gives, and no choice that must not matter
//! does.
use crate::program::{Outcome, folder, run, run_on_stand_in, write_idx};

/// `vae-gpu ARGS` on the stand-in.
pub fn shipped(cwd: &std::path::Path, line: &str) -> Outcome {
    run_on_stand_in(cwd, line, &[])
}

#[test]
fn the_shipped_program_trains_and_evaluates_as_on_the_cpu() {
    let home = folder("standin");
    write_idx(&home.join("x.idx"), 23, 3);
    for condition in ["", "--past 0..4 --future 4..9 --samples 2"] {
        // tanh: in these data one number that goes into a relu is -5e-8, less than what f32 rounds there, and its sign
        // decides which way Adam's first step goes.
        let model = "--hidden 9 --latent 3 --activation tanh";
        let train = format!("train --data x.idx --epochs 2 --batch 10 {model} --quiet --force {condition}");
        shipped(&home, &format!("{train} --out gpu --device cuda")).succeeded();
        run(&home, &format!("{train} --out cpu --device cpu")).succeeded();
        let eval = |model: &str, device: &str| -> serde_json::Value {
            let all = "--estimator naive,ais --temperatures 5 --chains 2 --leapfrogs 2";
            let line = format!("eval {model} --data x.idx --samples 3 {all} --json --device {device}");
            let ended = if device == "cpu" { run(&home, &line) } else { shipped(&home, &line) };
            serde_json::from_str(&ended.succeeded().stdout).unwrap()
        };
        let want = eval("cpu", "cpu");
        for (model, device) in [("gpu", "cpu"), ("cpu", "cuda"), ("gpu", "cuda:0")] {
            let got = eval(model, device);
            for key in ["elbo", "iwae", "nll", "kl", "naive", "ais"] {
                let [g, w] = [&got, &want].map(|e| e[key].as_f64().unwrap());
                // f32, after six steps
                assert!((g - w).abs() <= 1e-5 * w.abs().max(1.0), "{key} of {model} on {device}: got {g}, want {w}");
            }
        }
    }
}

/// The paths that write rows of x and of z, rather than gather them: in fp32, and where a device keeps copies in bf16.
#[test]
fn the_shipped_program_generates_and_fills_in_as_on_the_cpu() {
    let home = folder("standin-generate");
    write_idx(&home.join("x.idx"), 23, 3);
    run(&home, "train --data x.idx --epochs 2 --batch 10 --hidden 9 --latent 3 --quiet --out run --device cpu")
        .succeeded();
    std::fs::write(home.join("mask.csv"), "1,1,1,1,0,0,0,0,0\n").unwrap();
    for (line, precision, tolerance) in [
        ("sample run --near x.idx --per-example 2", "fp32", 1e-6),
        ("interpolate run --data x.idx --spherical", "fp32", 1e-6),
        ("impute run --data x.idx --mask mask.csv --samples 5 --sweeps 2", "fp32", 1e-6),
        // Eight bits of mantissa: what a proposal is worth changes by so much, and which one is taken with it.
        ("impute run --data x.idx --mask mask.csv --samples 5 --sweeps 2", "bf16", 0.1),
    ] {
        let rows = |ended: Outcome, file: &str| {
            ended.succeeded();
            vae_gpu::data::Dataset::read(&home.join(file)).unwrap().to_rows()
        };
        let want = rows(run(&home, &format!("{line} --to c.npy --force --device cpu")), "c.npy");
        let got =
            rows(shipped(&home, &format!("{line} --to g.npy --force --device cuda --precision {precision}")), "g.npy");
        let worst = got.iter().zip(&want).map(|(g, w)| (g - w).abs()).fold(0.0, f32::max);
        assert!(got.len() == want.len() && worst <= tolerance, "{line} in {precision}: {worst:e}");
    }
}

#[test]
fn info_says_what_was_found() {
    let home = folder("standin-info");
    let text = shipped(&home, "info").succeeded().stdout;
    for part in
        ["CUDA driver: 13.0", "GPU 0: Stand-in", "cuBLAS: 13.1.0", "kernels: ", "runs on  cuda:0 (Stand-in), fp32"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_run_on_the_device_that_was_cut_ends_in_the_bytes_of_one_that_was_not() {
    let home = folder("standin-cut");
    write_idx(&home.join("x.idx"), 23, 3);
    let train = "train --data x.idx --batch 10 --hidden 9 --latent 3 --device cuda --quiet --save-every 2";
    for precision in ["fp32", "bf16"] {
        let line = format!("{train} --precision {precision} --steps 11 --out");
        shipped(&home, &format!("{line} whole-{precision}")).succeeded();
        // Cut hard, at the eighth replay: what it saved last is after an even number of steps.
        let broken = [("STAND_IN_FAIL", "cuGraphLaunch:8:719")];
        let cut = run_on_stand_in(&home, &format!("{line} cut-{precision}"), &broken);
        assert_eq!(cut.code, Some(1), "{}", cut.stderr);
        let bytes = |run: &str| std::fs::read(home.join(format!("{run}-{precision}/model.safetensors"))).unwrap();
        assert_ne!(bytes("whole"), bytes("cut"), "{precision}: the run was not cut");
        shipped(&home, &format!("train --resume cut-{precision} --device cuda --quiet")).succeeded();
        assert!(bytes("whole") == bytes("cut"), "{precision}");
    }
}

/// A batch whose weight gradients are cuBLAS's: beside the rest of the backward pass, as early or as late as may be.
#[test]
fn branches_of_a_step_change_no_byte() {
    let home = folder("standin-branch");
    write_idx(&home.join("x.idx"), 600, 3);
    let train =
        "train --data x.idx --steps 4 --batch 300 --hidden 9 --latent 3 --device cuda --out run --force --quiet";
    for precision in ["tf32", "bf16"] {
        let model = |env: &[(&str, &str)]| {
            run_on_stand_in(&home, &format!("{train} --precision {precision}"), env).succeeded();
            std::fs::read(home.join("run/model.safetensors")).unwrap()
        };
        let trace = home.join("trace");
        let early = model(&[("STAND_IN_TRACE", trace.to_str().unwrap())]);
        assert!(early == model(&[("STAND_IN_BRANCH", "late")]), "{precision}");
        let calls = std::fs::read_to_string(trace).unwrap();
        let count = |name: &str| calls.lines().filter(|call| *call == name).count();
        // Of four layers: launched once, captured once. And one wait for all of them.
        assert_eq!(count("cuStreamWaitEvent"), 2 * (4 + 1));
    }
}

/// The fastest algorithms of its first day serve a run to its end.
#[test]
fn a_run_keeps_the_algorithms_that_were_timed_for_it() {
    let home = folder("standin-algorithms");
    write_idx(&home.join("x.idx"), 600, 3);
    let anywhere = "train --data x.idx --batch 300 --hidden 9 --latent 3 --device cuda --steps 9 --save-every 1";
    let train = format!("{anywhere} --precision tf32"); // in fp32 so few rows are our own kernels'
    let on = |line: &str, env: &[(&str, &str)]| {
        let ended = run_on_stand_in(&home, line, env);
        assert!(matches!(ended.code, Some(0 | 1)), "{}", ended.stderr);
        ended.stderr
    };
    let bytes = |run: &str| std::fs::read(home.join(run).join("model.safetensors")).unwrap();
    let fast = |n| [("STAND_IN_FASTEST", n)];
    on(&format!("{train} --out first"), &fast("2"));
    on(&format!("{train} --out second --algorithm fastest"), &fast("1"));
    on(&format!("{train} --out third --algorithm fastest"), &fast("2"));
    // Each adds up in an order of its own.
    assert!(bytes("first") != bytes("second") && bytes("second") != bytes("third") && bytes("first") != bytes("third"));
    // Cut at a time when the second is the fastest, and gone on with when the third is.
    let cut = [("STAND_IN_FASTEST", "1"), ("STAND_IN_FAIL", "cuGraphLaunch:4:719")];
    on(&format!("{train} --out cut --algorithm fastest"), &cut);
    assert!(bytes("cut") != bytes("second"));
    let said = on("train --resume cut --device cuda", &fast("2"));
    assert!(bytes("cut") == bytes("second") && !said.contains("differ"), "{said}");
    // What another library calls the second is another algorithm.
    on(&format!("{train} --out moved --algorithm fastest"), &cut);
    let said = on("train --resume moved --device cuda", &[("STAND_IN_FASTEST", "2"), ("STAND_IN_CUBLAS", "130200")]);
    let note = "this run went so far with algorithms of cuBLAS 13.1.0 for Stand-in; from here on cuBLAS 13.2.0 for \
                Stand-in: its numbers differ in the last digits";
    assert!(said.contains(note) && bytes("moved") != bytes("second"), "{said}");
    let said =
        run(&home, &format!("{} --algorithm fastest --out cpu", anywhere.replace("cuda", "cpu"))).succeeded().stderr;
    assert!(said.contains("algorithm fastest: nothing to choose from, for there is no cuBLAS for cpu"), "{said}");
}

/// Trainings of several threads share one context, each with a stream of its own: none takes part in another's.
#[test]
fn runs_side_by_side_on_the_device_are_those_of_train() {
    let home = folder("standin-sweep");
    write_idx(&home.join("x.idx"), 23, 3);
    let settings = "--data x.idx --epochs 2 --batch 10 --hidden 9 --valid-fraction 0.2 --device cuda --quiet";
    shipped(&home, &format!("sweep {settings} --grid latent=2,3 --seeds 2 --jobs 2 --out all")).succeeded();
    for (latent, seed) in [(2, 0), (2, 1), (3, 0), (3, 1)] {
        shipped(&home, &format!("train {settings} --latent {latent} --seed {seed} --force --out one")).succeeded();
        let bytes = |run: &str| std::fs::read(home.join(run).join("model.safetensors")).unwrap();
        assert!(bytes("one") == bytes(&format!("all/latent={latent},seed={seed}")), "latent {latent}, seed {seed}");
    }
}
