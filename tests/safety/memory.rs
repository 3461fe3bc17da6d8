//! Memory: what a long training takes more and more of is nothing; what does not fit is a sentence.
#![cfg(target_os = "linux")]
use crate::program::{self, Outcome, folder, run, write_idx, write_labels};
use std::path::Path;
use std::process::{Command, Stdio};
use vae_gpu::data::npy;

/// Bytes of a process that are in memory, `VmRSS:`, or were at most, `VmHWM:`.
fn resident(pid: u32, what: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix(what))?;
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
            at.extend(resident(pid, "VmRSS:"));
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

/// The most memory that a training had, once its data were read, split and scaled and it went through many steps.
fn peak(home: &Path, options: &str) -> u64 {
    let line = format!(
        "train {options} --steps 400 --hidden 8 --latent 2 --log-every 100 --device cpu --threads 1 --out run --force --json"
    );
    let mut command = program::command(home, &line.split_whitespace().collect::<Vec<_>>());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let pid = child.id();
    let lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    let most = lines.filter_map(|line| line.ok().and_then(|_| resident(pid, "VmHWM:"))).max();
    assert!(child.wait().unwrap().success(), "{options}");
    most.unwrap()
}

/// 64 MB as numbers of 4 bytes and as bytes, and as text. What a program takes for a few examples is no part of it.
#[test]
fn a_large_file_is_never_held_twice() {
    const COLS: usize = 64;
    let home = folder("held-twice");
    let reals = |name: &str, rows: usize| {
        let values: Vec<f32> = (0..rows * COLS).map(|i| (i.wrapping_mul(7919) % 4096) as f32 / 4096.0).collect();
        npy::write(&mut std::fs::File::create(home.join(name)).unwrap(), rows, COLS, &values).unwrap();
    };
    let fortran = |name: &str, rows: usize| {
        reals(name, rows);
        let bytes = std::fs::read(home.join(name)).unwrap();
        let (header, numbers) = bytes.split_at(128);
        let header = String::from_utf8_lossy(&header[10..]).replacen("False", "True ", 1);
        std::fs::write(home.join(name), [&bytes[..10], header.as_bytes(), numbers].concat()).unwrap();
    };
    let bytes = |name: &str, rows: u32| write_idx(&home.join(name), rows, 8);
    let text = |name: &str, rows: usize| {
        let line = |i: usize| (0..COLS).map(|j| format!("0.{}", (i + j) % 10)).collect::<Vec<_>>().join(",") + "\n";
        std::fs::write(home.join(name), (0..rows).map(line).collect::<String>()).unwrap();
    };
    const FEW: usize = 10_000;
    const MANY: usize = 250_000;
    reals("few.npy", FEW);
    reals("many.npy", MANY);
    fortran("few.fortran", FEW);
    fortran("many.fortran", MANY);
    bytes("few.idx", FEW as u32);
    bytes("many.idx", 4 * MANY as u32);
    text("few.csv", FEW);
    text("many.csv", MANY);
    let labels = |name: &str, rows: usize| write_labels(&home.join(name), &vec![3; rows]);
    labels("few.labels", FEW);
    labels("many.labels", MANY);
    let size = (MANY * COLS * 4) as f64;
    let mut wrong = vec![];
    for (file, options, bound) in [
        ("npy", "", 1.15),
        ("npy", "--valid-fraction 0.1", 1.25),
        ("npy", "--scale standard --likelihood gaussian", 1.15),
        ("npy", "--scale minmax --valid-fraction 0.1 --likelihood gaussian", 1.25),
        ("npy", "--columns 1..63", 1.15),
        ("npy", "--condition 0..4", 1.15),
        ("npy", "--condition FILE.labels", 1.15 * 68.0 / 64.0),
        ("fortran", "--valid-fraction 0.1", 1.25),
        ("idx", "", 1.15),
        ("idx", "--valid-fraction 0.1", 1.25),
        ("idx", "--scale minmax", 4.0 * 1.15),
        ("csv", "", 1.15),
        ("csv", "--valid-fraction 0.1", 1.25),
    ] {
        let of = |name: &str| peak(&home, &format!("--data {name}.{file} {}", options.replace("FILE", name)));
        let (few, many) = (of("few"), of("many"));
        let ratio = (many - few) as f64 / size;
        println!("{file} {options}: {few} bytes, {many} bytes; {ratio:.3} of the data");
        if ratio > bound {
            wrong.push(format!("{file} {options}: {ratio:.3} times the data, at most {bound}"));
        }
        assert!(ratio > 0.8, "{file} {options}: {ratio:.3}: not all that is held was seen");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
