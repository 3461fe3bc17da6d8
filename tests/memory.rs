//! Memory: what a long training takes more and more of is nothing; what does not fit is a sentence.
#![cfg(target_os = "linux")]
#[path = "support/program.rs"]
mod program;
use program::{Outcome, folder, run, write_idx};
use std::process::{Command, Stdio};

/// Bytes of a process that are in memory.
fn resident(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(kib.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? << 10)
}

#[test]
fn a_hundred_thousand_steps_take_no_more_memory() {
    let home = folder("flat");
    write_idx(&home.join("x.idx"), 60, 4);
    let line = "train --data x.idx --steps 120000 --hidden 8 --latent 2 --batch 10 --log-every 1000 --save-every 20000 \
                --valid-fraction 0.2 --device cpu --threads 1 --out run --json";
    let mut command = program::command(&home, &line.split_whitespace().collect::<Vec<_>>());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let pid = child.id();
    let mut at = vec![];
    for line in std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap())) {
        let line: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        let step = line["step"].as_u64().unwrap_or(0);
        if line["split"] == "train" && step.is_multiple_of(10_000) {
            at.extend(resident(pid));
        }
    }
    assert!(child.wait().unwrap().success());
    let (warm, rest) = (at[1], &at[2..]);
    println!("resident after 20,000 steps: {warm} bytes; then {rest:?}");
    let more = rest.iter().max().unwrap().saturating_sub(warm);
    assert!(rest.len() >= 9 && more < 1 << 20, "{more} bytes more than after 20,000 steps: {at:?}");
}

#[test]
fn a_batch_that_does_not_fit_is_told_the_largest_that_does() {
    let home = folder("batch");
    write_idx(&home.join("x.idx"), 1_000_000, 2);
    // A hundred layers of 1.9 billion numbers, and their gradients: a terabyte and more.
    let hidden = ["16"; 100].join(",");
    let train = format!("train --data x.idx --device cpu --hidden {hidden} --latent 2 --steps 1 --quiet");
    let outcome = run(&home, &format!("{train} --batch 1000000 --samples 120 --out run"));
    let said = &outcome.stderr;
    assert_eq!(outcome.code, Some(1), "{said}");
    let start = "vae-gpu: there is no room for parameters, activations and checkpoints in this machine's memory: ";
    assert!(said.starts_with(start) && said.contains(" bytes are needed, ") && said.contains(" are free; "), "{said}");
    let fits: usize = said.trim().rsplit(' ').next().unwrap().parse().unwrap();
    assert!((1..1_000_000).contains(&fits), "{said}");
}

/// A limit on the address space, which the system does hold to: what does not get its memory says so.
#[test]
fn where_memory_is_refused_that_is_a_sentence() {
    let home = folder("refused");
    write_idx(&home.join("x.idx"), 4, 2);
    let model = "--hidden 20000,20000 --latent 2"; // 800 million parameters and more: 13 GB with gradients and moments
    let script = format!(
        "ulimit -v 4000000; exec {} train --data x.idx {model} --steps 1 --device cpu --quiet --out run",
        env!("CARGO_BIN_EXE_vae-gpu")
    );
    let outcome = Outcome::of(Command::new("bash").args(["-c", &script]).current_dir(&home).output().unwrap());
    let start = "vae-gpu: there is no room for parameters, activations and checkpoints in this machine's memory: ";
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    assert!(outcome.stderr.starts_with(start), "{}", outcome.stderr);
}
