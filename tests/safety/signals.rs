//! Ctrl-C and its kin: the step is finished, the state saved, the exit code that of the signal.
#![cfg(unix)]
use crate::program::{command, folder, run, send, write_idx};
use crate::runs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use vae_gpu::checkpoint::Saved;

/// What a user may wait for after Ctrl-C.
const PATIENCE: Duration = Duration::from_secs(2);

fn start(home: &Path, line: &str) -> Child {
    let args: Vec<_> = line.split_whitespace().collect();
    let mut child = command(home, &args).stderr(Stdio::piped()).spawn().unwrap();
    if ignores_signals(&child) {
        child.kill().unwrap();
        panic!(
            "signals were ignored where these tests were started, as nohup and a script's & have it: start them otherwise"
        );
    }
    child
}

/// Whether it was started to ignore SIGHUP, SIGINT or SIGTERM. Where the system does not say, it was not.
fn ignores_signals(child: &Child) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let bits = ignored.map_or(0, |bits| u64::from_str_radix(bits.trim(), 16).unwrap());
    [1, 2, 15].iter().any(|signal| bits >> (signal - 1) & 1 == 1)
}

/// Waits until the run has written a line of metrics.
fn begun(home: &Path) {
    let metrics = home.join("run/metrics.jsonl");
    let deadline = Instant::now() + Duration::from_secs(60);
    while !std::fs::metadata(&metrics).is_ok_and(|m| m.len() > 0) {
        assert!(Instant::now() < deadline, "no line of metrics in a minute");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Its exit code, and the last line on stderr.
fn ended(child: Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), said.lines().last().unwrap_or_default().to_string())
}

const TRAIN: &str = "train --steps 1000000 --log-every 10 --hidden 32 --latent 4 --device cpu --out run";

#[test]
fn a_signal_finishes_the_step_saves_and_is_the_exit_code() {
    for (signal, code) in [("-INT", 130), ("-TERM", 143), ("-HUP", 129)] {
        let home = folder(&format!("signal{signal}"));
        let child = start(&home, TRAIN);
        begun(&home);
        let asked = Instant::now();
        send(&child, signal);
        let (got, last) = ended(child);
        // The promise of the program, and no measurement: it takes a tenth of that.
        assert!(asked.elapsed() < PATIENCE, "{signal}: {:?}", asked.elapsed());
        assert_eq!(got, Some(code), "{signal}: {last}");
        assert!(last.contains("saved: vae-gpu train --resume run goes on"), "{signal}: {last}");
        run(&home, "eval run --device cpu").succeeded();
    }
}

/// As `timeout` sends it: to its child, and at once to the group that the child is in.
#[test]
fn a_signal_that_comes_twice_at_once_is_one() {
    let home = folder("signals-at-once");
    let child = start(&home, TRAIN);
    begun(&home);
    send(&child, "-TERM");
    send(&child, "-TERM");
    let (code, last) = ended(child);
    assert_eq!(code, Some(143), "{last}");
    assert!(last.contains("saved: vae-gpu train --resume run goes on"), "{last}");
    Saved::read(&home.join("run/checkpoint.safetensors")).unwrap();
}

/// Of a training that cannot end, for nobody reads what it says.
#[test]
fn a_second_signal_ends_at_once_and_loses_nothing_that_was_saved() {
    let home = folder("signals-twice");
    write_idx(&home.join("x.idx"), 20, 4);
    let mut child = start(&home, &format!("{TRAIN} --data x.idx --batch 20 --save-every 10"));
    begun(&home);
    let lines = || std::fs::metadata(home.join("run/metrics.jsonl")).unwrap().len();
    let (mut before, mut still) = (0, 0);
    while still < 4 {
        std::thread::sleep(Duration::from_millis(500));
        still = if lines() == before { still + 1 } else { 0 };
        before = lines();
    }
    send(&child, "-TERM");
    std::thread::sleep(Duration::from_millis(1300));
    assert!(child.try_wait().unwrap().is_none(), "it was to be stuck");
    let asked = Instant::now();
    send(&child, "-INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(asked.elapsed() < PATIENCE, "{:?}", asked.elapsed());
    Saved::read(&home.join("run/checkpoint.safetensors")).unwrap();
}

/// `nohup` starts the program with SIGHUP ignored; then the terminal may go.
#[test]
fn a_signal_that_was_ignored_before_stays_so() {
    let home = folder("nohup");
    let script = format!("trap '' HUP; exec {} {TRAIN}", env!("CARGO_BIN_EXE_vae-gpu"));
    let mut child = Command::new("sh");
    let child = child.args(["-c", &script]).current_dir(&home).stderr(Stdio::piped()).spawn().unwrap();
    begun(&home);
    send(&child, "-HUP");
    std::thread::sleep(Duration::from_millis(300));
    send(&child, "-TERM");
    let (code, last) = ended(child);
    assert_eq!(code, Some(143), "{last}");
}

/// A validation may take long: it is given up, leaves no trace, and is made up when the run goes on.
#[test]
fn a_validation_that_was_cut_short_is_made_up() {
    let home = folder("validation");
    write_idx(&home.join("x.idx"), 40, 6);
    write_idx(&home.join("valid.idx"), 60_000, 6);
    let settings = "--data x.idx --valid valid.idx --epochs 2 --batch 10 --hidden 400,400 --latent 20 --log-every 1 \
                    --device cpu";
    run(&home, &format!("train {settings} --out whole --quiet")).succeeded();
    let child = start(&home, &format!("train {settings} --out run"));
    let lines = || runs::lines(&home.join("run"));
    let metrics = home.join("run/metrics.jsonl");
    while !metrics.exists() || lines().len() < 4 {
        std::thread::sleep(Duration::from_millis(2));
    }
    let asked = Instant::now();
    send(&child, "-INT");
    let (code, last) = ended(child);
    assert!(asked.elapsed() < PATIENCE, "{:?}", asked.elapsed());
    assert_eq!(code, Some(130), "{last}");
    assert_eq!(lines().len(), 4, "the validation was under way: {last}");
    run(&home, "train --resume run --device cpu --quiet").succeeded();
    runs::assert_same_run(&home.join("whole"), &home.join("run"), "cut in a validation");
}
