//! What is on disk while a run goes on, and after it was killed: whole, recent, and the way to the same bytes.
#![cfg(unix)]
use crate::program::{command, folder, run, send, write_idx};
use crate::runs::assert_same_run;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use vae_gpu::checkpoint::{Folder, Saved};
use vae_gpu::metrics;

const KILLS: u32 = 200;
/// Steps between two checkpoints, and between two lines of metrics: the newest line tells how far a run had come.
const INTERVAL: u32 = 5;

/// Milliseconds, from a few to some more, without a pattern that saving could fall in with.
fn pauses() -> impl Iterator<Item = Duration> {
    let mut state = 1u64;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        Duration::from_micros(2_000 + (state >> 33) % 40_000)
    })
}

/// The step of the newest checkpoint, after seeing that it and the model can be read; none: 0.
fn checkpoint(run: &Folder) -> u32 {
    if !run.checkpoint().exists() {
        return 0;
    }
    Saved::read(&run.model()).unwrap();
    Saved::read(&run.checkpoint()).unwrap().position().unwrap().step
}

#[test]
fn killed_two_hundred_times_a_run_loses_one_interval_at_most_and_ends_in_the_same_bytes() {
    let home = folder("killed");
    write_idx(&home.join("x.idx"), 57, 5);
    let settings = format!(
        "--data x.idx --steps 1500 --hidden 11 --latent 3 --batch 10 --binarize dynamic --lr-schedule cosine \
         --valid-fraction 0.1 --save-every {INTERVAL} --log-every {INTERVAL} --device cpu --quiet"
    );
    let (mut kills, mut finished, mut newest) = (0, 0, 0);
    let mut pauses = pauses();
    while kills < KILLS || newest > 0 {
        let cut = Folder(home.join(format!("cut{finished}")));
        let line = match cut.checkpoint().exists() {
            true => format!("train --resume cut{finished} --save-every {INTERVAL} --device cpu --quiet"),
            false => format!("train --out cut{finished} --force --seed {finished} {settings}"),
        };
        let mut child = command(&home, &line.split_whitespace().collect::<Vec<_>>());
        let mut child = child.stderr(Stdio::piped()).spawn().unwrap();
        if kills < KILLS {
            std::thread::sleep(pauses.next().unwrap());
            child.kill().unwrap();
            kills += 1;
        }
        let ended = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(ended.status.code().is_none_or(|code| code == 0), "after {kills} kills: {said}");

        let step = checkpoint(&cut);
        let logged = metrics::read(&cut.metrics()).unwrap().last().map_or(0, |line| line.step);
        assert!(step >= newest, "a checkpoint of step {newest} became one of step {step}");
        assert!(logged <= step + INTERVAL, "a checkpoint of step {step}, and metrics of step {logged}");
        newest = step;
        if step == 1500 && ended.status.success() {
            let whole = format!("train --out whole{finished} --seed {finished} {settings}");
            run(&home, &whole).succeeded();
            assert_same_run(&home.join(format!("whole{finished}")), &cut.0, &format!("run {finished}"));
            assert!(unfinished(&cut.0).is_empty(), "{:?}", unfinished(&cut.0));
            (finished, newest) = (finished + 1, 0);
        }
    }
    println!("{kills} kills, {finished} runs compared");
    assert!(finished > 0);
}

/// The files of which only a part is there.
fn unfinished(run: &Path) -> Vec<String> {
    let names = std::fs::read_dir(run).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".partial")).collect()
}

#[test]
fn what_a_killed_process_had_not_finished_is_cleared_away() {
    let home = folder("stale");
    write_idx(&home.join("x.idx"), 20, 4);
    let train = "train --data x.idx --steps 4 --hidden 3 --latent 2 --device cpu --out run --quiet";
    run(&home, train).succeeded();
    // The last ones are of files that the next training does not write, of an earlier version and of a process that goes on.
    let going = format!(".latents.npy.{}-0.partial", std::process::id());
    for name in [".model.safetensors.partial", ".checkpoint.safetensors.7-0.partial", ".latents.npy.partial", &going] {
        std::fs::write(home.join("run").join(name), "half").unwrap();
    }
    std::fs::write(home.join("run/notes.partial"), "mine").unwrap();
    run(&home, "train --resume run --device cpu --quiet").succeeded();
    let mut left = unfinished(&home.join("run"));
    left.sort();
    assert_eq!(left, [going.as_str(), "notes.partial"]);
}

/// Every file of a folder, with its bytes.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file());
    entries.map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())).collect()
}

#[test]
fn a_run_that_is_replaced_stays_until_the_new_one_has_something_of_its_own() {
    let home = folder("replaced");
    write_idx(&home.join("x.idx"), 57, 5);
    let small = "--hidden 3 --latent 2 --device cpu --quiet --out run";
    run(&home, &format!("train --data x.idx --steps 30 {small}")).succeeded();
    let before = files(&home.join("run"));
    // One that fails leaves it as it was, to the byte.
    let fails = "train --data x.idx --likelihood gaussian --steps 30 --optimizer sgd --lr 1e30";
    let said = run(&home, &format!("{fails} {small} --force")).stderr;
    assert!(said.contains("; run has the run before again: "), "{said}");
    assert!(files(&home.join("run")) == before && !home.join("run/.before").exists());
    // One that is killed before its first checkpoint has nothing that could be taken for the other's.
    let line = format!("train --data x.idx --steps 4000000000 --force {small}");
    let mut child = command(&home, &line.split_whitespace().collect::<Vec<_>>()).spawn().unwrap();
    let is_begun = |log: &str| home.join(log).metadata().is_ok_and(|file| file.len() > 0);
    while !(is_begun("run/.before/metrics.jsonl") && is_begun("run/metrics.jsonl")) {
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(files(&home.join("run/.before")) == before);
    run(&home, "train --resume run --device cpu")
        .refused(
        1,
        "resume: there is no run/checkpoint.safetensors; the training was cut before its first; the run that it was to replace is in \
         run/.before",
    );
    // Other commands take it meanwhile.
    let eval = |run_: &str| run(&home, &format!("eval {run_} --data x.idx --json --device cpu --quiet")).json();
    assert_eq!(eval("run"), eval("run/.before"));
    // It is put back by the next that fails, and goes where one has a checkpoint.
    assert_eq!(run(&home, &format!("{fails} {small} --force")).code, Some(1));
    assert!(files(&home.join("run")) == before && !home.join("run/.before").exists());
    run(&home, &format!("train --data x.idx --steps 31 --force {small}")).succeeded();
    assert!(!home.join("run/.before").exists());
    assert_eq!(Saved::read(&home.join("run")).unwrap().run.training.steps, 31);
}

/// What had not done an epoch takes nobody's place, however it ended; but it can go on, and then does.
#[test]
fn a_run_that_is_replaced_stays_until_the_new_one_has_done_an_epoch() {
    let home = folder("replaced-later");
    write_idx(&home.join("x.idx"), 57, 5);
    write_idx(&home.join("long.idx"), 30_000, 5);
    let small = "--hidden 3 --latent 2 --device cpu --quiet --out run";
    run(&home, &format!("train --data x.idx --steps 30 {small}")).succeeded();
    let before = files(&home.join("run"));
    let eval = || run(&home, "eval run --data x.idx --json --device cpu --quiet").json();
    let bound = eval();
    let long = format!(
        "train --data long.idx --batch 1 --epochs 40 --log-every 10 --save-every 100 --valid-fraction 0.01 --force {small}"
    );
    let stop = |signal: &str| {
        // Of what was stopped before, if it was: that of this one is waited for.
        if home.join("run/.before").exists() {
            let _ = std::fs::remove_file(home.join("run/checkpoint.safetensors"));
        }
        let mut child = command(&home, &long.split_whitespace().collect::<Vec<_>>());
        let child = child.stderr(Stdio::piped()).spawn().unwrap();
        while !home.join("run/checkpoint.safetensors").exists()
            || !home.join("run/.before/checkpoint.safetensors").exists()
        {
            std::thread::sleep(Duration::from_millis(2));
        }
        send(&child, signal);
        String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap()
    };
    let said = stop("-TERM");
    let last = "; saved: vae-gpu train --resume run goes on; until it has done an epoch other commands take the run before it\n";
    assert!(said.starts_with("vae-gpu: stopped after step ") && said.ends_with(last), "{said}");
    assert!(files(&home.join("run/.before")) == before && eval() == bound);
    // Begun anew it is the other one's place that counts, and not what had been stopped.
    assert_eq!(stop("-KILL"), "");
    assert!(files(&home.join("run/.before")) == before && eval() == bound);
    run(&home, "report run --data x.idx --device cpu --quiet").succeeded();
    let fails = "train --data x.idx --likelihood gaussian --steps 30 --optimizer sgd --lr 1e30";
    assert_eq!(run(&home, &format!("{fails} {small} --force")).code, Some(1));
    assert!(!home.join("run/.before").exists() && eval() == bound);
    // Killed while it was moved out of the way, it is there for the next as it was.
    std::fs::create_dir(home.join("run/.before.partial")).unwrap();
    for file in ["config.json", "run.toml", "model.safetensors"] {
        std::fs::rename(home.join("run").join(file), home.join("run/.before.partial").join(file)).unwrap();
    }
    assert_eq!(run(&home, &format!("{fails} {small} --force")).code, Some(1));
    assert!(eval() == bound && home.join("run/metrics.jsonl").exists() && !home.join("run/.before.partial").exists());
    // What fails after an epoch has the place, too.
    let later = "train --data x.idx --likelihood gaussian --epochs 4000 --valid-fraction 0.2 --optimizer sgd --lr 1e4 --lr-warmup 100000";
    let failed = run(&home, &format!("{later} {small} --force"));
    assert!(failed.code == Some(1) && failed.stderr.contains(" in run is kept: "), "{}", failed.stderr);
    assert!(!home.join("run/.before").exists() && Saved::read(&home.join("run")).unwrap().run.training.steps == 4000);
    run(&home, &format!("train --data x.idx --steps 30 {small} --force")).succeeded();
    // What goes on has the place once it has done an epoch.
    stop("-INT");
    run(&home, "train --resume run --steps 29700 --device cpu --quiet").succeeded();
    assert!(!home.join("run/.before").exists() && eval() != bound);
}

/// A validation that was written, and is done again because the checkpoint is of before it, is not written twice.
#[test]
fn a_validation_that_is_done_again_is_one_line() {
    let home = folder("again");
    write_idx(&home.join("x.idx"), 57, 5);
    let line = "train --data x.idx --valid-fraction 0.2 --batch 9 --hidden 3 --latent 2 --device cpu --quiet";
    run(&home, &format!("{line} --epochs 4 --out run")).succeeded();
    let path = home.join("run/metrics.jsonl");
    let records = metrics::read(&path).unwrap();
    let last = records.last().unwrap();
    let (mut log, kept) = metrics::Log::open(&path, Some(last.step)).unwrap();
    assert_eq!(kept.len(), records.len());
    log.write(last).unwrap();
    let next = metrics::Record { step: last.step + 1, ..last.clone() };
    log.write(&next).unwrap();
    assert_eq!(metrics::read(&path).unwrap(), [&records[..], &[next]].concat());
    // A byte that is none of text ends what is read, as a line that is cut off does.
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[5] ^= 128;
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(metrics::read(&path).unwrap(), []);
}

#[test]
fn a_second_run_in_the_same_directory_is_told() {
    let home = folder("second");
    write_idx(&home.join("x.idx"), 57, 5);
    let first = "train --data x.idx --steps 4000000000 --hidden 3 --latent 2 --device cpu --out run --quiet";
    let mut first = command(&home, &first.split_whitespace().collect::<Vec<_>>()).spawn().unwrap();
    while !home.join("run/metrics.jsonl").exists() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let again = run(&home, "train --data x.idx --steps 5 --device cpu --out run --force");
    let resumed = run(&home, "train --resume run --device cpu");
    first.kill().unwrap();
    first.wait().unwrap();
    again.refused(2, "out run: another run writes to it; wait for it, or pass another --out");
    assert_ne!(resumed.code, Some(0));
    run(&home, "train --data x.idx --steps 5 --device cpu --out run --force --quiet").succeeded();
}
