//! Runs and sweeps of which files were moved, or are gone: what was trained is not trained anew unless that is asked for, and what
//! is said names a way out.
#![cfg(unix)]
use crate::program::{command, folder, run, send, write_idx};
use crate::runs::{assert_same_run, bytes, tensors};
use std::process::Stdio;
use std::time::Duration;

const SMALL: &str = "--steps 20 --batch 20 --hidden 6 --device cpu --quiet";

#[test]
fn a_model_without_its_checkpoint_is_not_trained_over() {
    let home = folder("lost-checkpoints");
    write_idx(&home.join("x.idx"), 60, 4);
    let line = format!("sweep --data x.idx {SMALL} --grid latent=2,3 --out s");
    run(&home, &line).succeeded();
    let model = || bytes(&home.join("s/latent=2,seed=0"), "model.safetensors");
    let before = model();
    for latent in [2, 3] {
        std::fs::remove_file(home.join(format!("s/latent={latent},seed=0/checkpoint.safetensors"))).unwrap();
    }
    // Its page tells that it had come to its end.
    for force in ["", "--force"] {
        let said = run(&home, &format!("sweep --resume s --device cpu {force}")).succeeded().stderr;
        assert!(said.contains("2 runs, all of them done before"), "{said}");
    }
    let table = run(&home, "compare s --json").succeeded().stdout;
    assert_eq!(table.matches("\"state\":\"done\"").count(), 2, "{table}");
    assert!(model() == before);
    // Nor is a run done whose model is gone; what there is to do about it is said.
    run(&home, &format!("sweep --data x.idx {SMALL} --grid latent=4 --out s")).succeeded();
    std::fs::remove_file(home.join("s/latent=4,seed=0/model.safetensors")).unwrap();
    let said = run(&home, "sweep --resume s --device cpu");
    assert!(said.code == Some(1) && said.stdout.contains("its model.safetensors is gone"), "{}", said.stdout);
    run(&home, "sweep --resume s --force --device cpu --quiet").succeeded();
    assert!(home.join("s/latent=4,seed=0/model.safetensors").exists());
}

/// Killed before its first checkpoint, when it had a model already: of a validation.
#[test]
fn a_sweep_that_was_killed_before_its_first_checkpoint_goes_on() {
    let home = folder("killed-early");
    write_idx(&home.join("x.idx"), 60, 4);
    let line = "sweep --data x.idx --valid-fraction 0.2 --epochs 3000 --batch 20 --hidden 6 --grid latent=2 --device cpu --out s";
    let args: Vec<&str> = line.split_whitespace().collect();
    let mut child = command(&home, &args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !home.join("s/latent=2,seed=0/model.safetensors").exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!home.join("s/latent=2,seed=0/checkpoint.safetensors").exists());
    let said = run(&home, "sweep --resume s --device cpu --quiet").succeeded().stdout;
    assert!(!said.contains("gone") && home.join("s/latent=2,seed=0/report.html").exists(), "{said}");
}

#[test]
fn a_sweep_goes_on_with_data_that_moved() {
    let home = folder("moved-data");
    write_idx(&home.join("old.idx"), 60, 4);
    let line = format!("sweep {SMALL} --data old.idx --grid latent=2,3");
    run(&home, &format!("{line} --out whole")).succeeded();
    run(&home, &format!("sweep {SMALL} --data old.idx --grid latent=2 --out s")).succeeded();
    std::fs::rename(home.join("old.idx"), home.join("new.idx")).unwrap();
    let said = run(&home, &format!("sweep {SMALL} --data new.idx --grid latent=2,3 --out s")).succeeded();
    for name in ["latent=2,seed=0", "latent=3,seed=0"] {
        let model = |out: &str| tensors(&home.join(out).join(name)); // its header has the path
        assert!(model("whole") == model("s"), "{name}");
    }
    // The same numbers are the same data, under whatever name.
    assert!(!said.stderr.contains("comparable") && !said.stdout.contains("data"), "{}{}", said.stdout, said.stderr);
    run(&home, "sweep --resume s --data ./new.idx --device cpu --quiet").succeeded();
    // What repeats a run that went on names the data where they are.
    let text = String::from_utf8(bytes(&home.join("s/latent=3,seed=0"), "run.toml")).unwrap();
    assert!(text.contains("new.idx"), "{text}");
    // Other numbers are not.
    write_idx(&home.join("other.idx"), 60, 5);
    let said = run(&home, "sweep --resume s --data other.idx --device cpu --quiet");
    assert!(said.code == Some(2) && said.stderr.contains("other settings or other data"), "{}", said.stderr);
}

/// Of the same x, told other columns or none: their bounds may be held against one another.
#[test]
fn columns_that_a_model_is_told_are_no_other_data() {
    let home = folder("same-x");
    let row = |i: usize| format!("{},{},{}\n", i % 5, i * i % 7, i % 2);
    std::fs::write(home.join("x.csv"), format!("a,b,batch\n{}", (0..40).map(row).collect::<String>())).unwrap();
    let train = format!("train --data x.csv --likelihood poisson --latent 2 {SMALL}");
    run(&home, &format!("{train} --columns a,b --out plain")).succeeded();
    run(&home, &format!("{train} --condition batch --out told")).succeeded();
    run(&home, &format!("{train} --columns a,batch --out other")).succeeded();
    let said = |runs: &str| run(&home, &format!("compare {runs}")).succeeded().stderr;
    assert!(!said("plain told").contains("comparable"), "{}", said("plain told"));
    assert!(said("plain other").contains("rows that differ in columns are not comparable"));
    // Which of them it is told is a setting, though the numbers are the same.
    for (out, told) in [("one", "2..3"), ("two", "1..3")] {
        run(&home, &format!("{train} --condition {told} --out {out}")).succeeded();
    }
    let table = run(&home, "compare one two").succeeded();
    assert!(table.stdout.contains("condition") && table.stdout.lines().count() == 3, "{}", table.stdout);
    assert!(table.stderr.contains("rows that differ in condition are not comparable"), "{}", table.stderr);
}

#[test]
fn runs_that_an_earlier_grid_left_are_named() {
    let home = folder("left-runs");
    write_idx(&home.join("x.idx"), 60, 4);
    let line = "sweep --data x.idx --steps 100000 --log-every 50 --batch 20 --hidden 6 --latent 2 --device cpu --grid";
    let args: Vec<_> = format!("{line} beta=1,2 --jobs 1 --out s").split_whitespace().map(String::from).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let child = command(&home, &args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !std::fs::metadata(home.join("s/beta=1,seed=0/metrics.jsonl")).is_ok_and(|file| file.len() > 0) {
        std::thread::sleep(Duration::from_millis(5));
    }
    send(&child, "-TERM");
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(143));
    let said =
        run(&home, &format!("sweep --data x.idx {SMALL} --latent 2 --grid beta=3 --out s").replace("--quiet", ""))
            .succeeded();
    for said in [said.stderr, run(&home, "sweep --resume s --device cpu").succeeded().stderr] {
        let sentence = "1 run of an earlier grid is not done (beta=1,seed=0): that grid given again, or vae-gpu train --resume \
                    s/beta=1,seed=0, goes on";
        assert!(said.contains(sentence), "{said}");
    }
}

#[test]
fn a_directory_of_a_sweep_is_no_place_for_a_run() {
    let home = folder("sweep-and-run");
    write_idx(&home.join("x.idx"), 60, 4);
    run(&home, &format!("sweep --data x.idx {SMALL} --latent 2 --seeds 2 --out s")).succeeded();
    for force in ["", "--force"] {
        run(&home, &format!("train --data x.idx {SMALL} --latent 2 --out s {force}"))
            .refused(2, "out s: is the directory of a sweep; pass another --out, as s/mine");
    }
    // Nor is one that nobody named.
    run(&home, &format!("sweep --data x.idx {SMALL} --latent 2 --seeds 2 --out runs/x")).succeeded();
    run(&home, &format!("train --data x.idx {SMALL} --latent 2")).succeeded();
    assert!(home.join("runs/x-2/model.safetensors").exists() && !home.join("runs/x/model.safetensors").exists());
    run(&home, &format!("train --data x.idx {SMALL} --latent 2 --out s/mine")).succeeded();
    run(&home, "sweep --resume s --device cpu --quiet").succeeded();
}

#[test]
fn what_ended_before_it_was_saved_is_begun_anew() {
    let home = folder("nothing-saved");
    std::fs::write(home.join("x.csv"), (0..40).map(|i| format!("{i},{}\n", i * i % 7)).collect::<String>()).unwrap();
    let line =
        "train --data x.csv --likelihood gaussian --hidden 5 --latent 1 --steps 40 --lr 1e30 --device cpu --out r";
    assert_eq!(run(&home, line).code, Some(1));
    assert!(!home.join("r/checkpoint.safetensors").exists());
    run(&home, line)
        .refused(2, "out r: holds a run that ended before anything was saved; pass --force to begin it anew");
    run(&home, "train --resume r").refused(
        1,
        "resume: there is no r/checkpoint.safetensors; it ended before anything was saved; vae-gpu train --config r/run.toml --out r \
         --force begins it anew",
    );
    // And so it does.
    let again = run(&home, "train --config r/run.toml --lr 0.001 --out r --force");
    again.succeeded();
}

/// Without --out each finds a directory, however close they come.
#[test]
fn trainings_that_begin_at_once_have_each_their_own_directory() {
    let home = folder("at-once");
    write_idx(&home.join("x.idx"), 60, 4);
    let args = format!("train --data x.idx {SMALL} --latent 2");
    let args: Vec<&str> = args.split_whitespace().collect();
    let start = |_| command(&home, &args).stderr(Stdio::piped()).spawn().unwrap();
    let children: Vec<_> = (0..6).map(start).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    for i in 2..=6 {
        assert_same_run(&home.join("runs/x"), &home.join(format!("runs/x-{i}")), "begun at once");
    }
}
