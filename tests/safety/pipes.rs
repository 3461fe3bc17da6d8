//! What the program does where it writes to: a reader that goes away, a closed or a full stdout or stderr, no terminal, a
//! terminal. Never a panic, never a control character where there is no terminal.
#![cfg(unix)]
use crate::program::{Outcome, folder, run, write_idx};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// A folder with `x.idx` and a model `run` of it.
fn home() -> &'static Path {
    static HOME: OnceLock<PathBuf> = OnceLock::new();
    HOME.get_or_init(|| {
        let home = folder("pipes");
        write_idx(&home.join("x.idx"), 103, 6);
        run(&home, "train --data x.idx --steps 3 --hidden 4 --latent 3 --out run --device cpu --quiet").succeeded();
        home
    })
}

/// One of each kind of output on stdout: a table, a long text, lines of JSON while it works, an array.
const TALKATIVE: [&str; 10] = [
    "--help",
    "help train",
    "--version",
    "info",
    "info --json",
    "eval run --data x.idx --device cpu",
    "train --data x.idx --steps 300 --log-every 1 --hidden 4 --latent 3 --json --device cpu --out RUN --force",
    "encode run --data x.idx --to - --device cpu",
    "check run --json --device cpu",
    "mixture --data x.idx --components 2 --iterations 3 --restarts 1 --json --out RUN --force",
];

/// Runs `vae-gpu LINE` within `how`, where `@` stands for it; PIPESTATUS is what it exits with.
fn shell(how: &str, line: &str) -> Outcome {
    // A run directory of its own: tests run side by side.
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let line = line.replace("RUN", &format!("out{number}"));
    let script = how.replace('@', &format!("{} {line}", env!("CARGO_BIN_EXE_vae-gpu"))) + "; exit ${PIPESTATUS[0]}";
    let mut bash = Command::new("bash");
    bash.args(["-c", &script]).current_dir(home()).env_remove("LD_LIBRARY_PATH").stdin(Stdio::null());
    let outcome = Outcome::of(bash.output().unwrap());
    let all = format!("{}{}", outcome.stdout, outcome.stderr);
    assert!(!all.contains("panicked") && !all.contains("RUST_BACKTRACE"), "{how} {line}: {all}");
    assert!(!all.contains(['\x1b', '\r', '\x08']), "{how} {line}: control characters off a terminal: {all:?}");
    outcome
}

#[test]
fn a_reader_that_goes_away_has_what_it_wanted() {
    for line in TALKATIVE {
        for how in ["@ | head -n 1", "@ | true", "@ 2>&1 | head -n 1"] {
            let got = shell(how, line);
            assert_eq!(got.code, Some(0), "{how} {line}: {}", got.stderr);
            assert!(got.stdout.lines().count() <= 1);
        }
    }
    // And nothing was left undone for it: the run is whole.
    let count = home().join("cut");
    shell(
        "@ | head -n 1",
        "train --data x.idx --steps 50 --log-every 1 --hidden 4 --latent 3 --json --out cut --device cpu",
    );
    assert_eq!(std::fs::read_to_string(count.join("metrics.jsonl")).unwrap().lines().count(), 50);
    assert!(count.join("samples.png").exists());
}

#[test]
fn closed_streams_are_no_reason_to_stop() {
    for line in TALKATIVE {
        let open = shell("@", line);
        for how in ["@ 2>&-", "@ >&-", "@ >&- 2>&-", "@ <&-", "@ 2>/dev/full"] {
            let got = shell(how, line);
            assert_eq!(got.code, Some(0), "{how} {line}: {}", got.stderr);
            if how == "@ 2>&-" && !line.contains("train") && !line.contains("mixture") && !line.contains("check") {
                assert_eq!(got.stdout, open.stdout, "{how} {line}");
            }
        }
    }
    // The exit code of what goes wrong needs no stream either.
    for (line, code) in [("eval run", 2), ("eval nowhere --data x.idx", 1), ("trian", 2), ("", 2)] {
        for how in ["@ 2>&-", "@ 2>/dev/full", "@ >&- 2>&-", "@ 2>/dev/full >/dev/full"] {
            assert_eq!(shell(how, line).code, Some(code), "{how} {line}");
        }
    }
}

#[test]
fn a_full_stdout_is_a_sentence_and_exit_code_1() {
    if !Path::new("/dev/full").exists() {
        println!("skipped: no /dev/full");
        return;
    }
    for line in TALKATIVE {
        let got = shell("@ >/dev/full", line);
        assert_eq!(got.code, Some(1), "{line}: {}", got.stderr);
        let last = got.stderr.lines().last().unwrap_or_default();
        assert_eq!(last, "vae-gpu: cannot write to stdout: No space left on device (os error 28)", "{line}");
        assert_eq!(shell("@ >/dev/full 2>/dev/full", line).code, Some(1), "{line}");
    }
    // What prints nothing needs no room.
    assert_eq!(shell("@ >/dev/full", "train --data x.idx --steps 3 --hidden 4 --out RUN --device cpu").code, Some(0));
    // A file to write into that has no room: the sentence, and nothing in its place.
    let got = shell("@", "encode run --data x.idx --to /dev/full --device cpu");
    assert_eq!(got.code, Some(1));
    let sentence = "vae-gpu: cannot write /dev/full: No space left on device (os error 28), after 0 bytes; make room\n";
    assert_eq!(got.stderr, sentence);
}

#[test]
fn a_stream_that_is_written_as_a_file_may_close_too() {
    // Small enough for the pipe's buffer, or too late: then a sentence, for the file is not whole.
    let got = shell("@ | true", "encode run --data x.idx --to /dev/stdout --device cpu");
    match got.code {
        Some(0) => assert_eq!(got.stderr, ""),
        code => {
            assert_eq!((code, got.stderr.lines().count()), (Some(1), 1));
            assert!(got.stderr.starts_with("vae-gpu: cannot write /dev/stdout: "), "{}", got.stderr);
        }
    }
}

/// What `vae-gpu LINE` writes on a terminal, and what it exits with; None where there is no program that makes one.
fn on_a_terminal(line: &str, environment: &str) -> Option<Outcome> {
    let command = format!("{environment} {} {line}", env!("CARGO_BIN_EXE_vae-gpu"));
    let python = "import os,pty,sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(['sh', '-c', sys.argv[1]])))";
    let makers: [(&str, Vec<&str>); 2] =
        [("script", vec!["-qec", &command, "/dev/null"]), ("python3", vec!["-c", python, &command])];
    for (maker, args) in makers {
        let mut made = Command::new(maker);
        made.args(args).current_dir(home()).env("TERM", "xterm").env_remove("NO_COLOR").env_remove("LD_LIBRARY_PATH");
        if let Ok(output) = made.stdin(Stdio::null()).output() {
            return Some(Outcome::of(output));
        }
    }
    println!("skipped: neither script nor python3 to make a terminal");
    None
}

#[test]
fn a_terminal_gets_colour_and_a_bar_and_nobody_else_does() {
    let line = "train --data x.idx --steps 3000 --hidden 64 --latent 3 --device cpu --out terminal --force";
    let Some(got) = on_a_terminal(line, "") else { return };
    assert_eq!(got.code, Some(0), "{}", got.stdout);
    assert!(got.stdout.contains("3000 steps") && got.stdout.contains('\x1b'), "a bar: {:?}", got.stdout);
    let last = got.stdout.lines().last().unwrap();
    assert!(last.contains("done after 3,000 steps"), "the bar is gone at the end: {last:?}");

    let wrong = on_a_terminal("eval run", "").unwrap();
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.stdout.starts_with("\x1b[1;31mvae-gpu:\x1b[0m data: not given"), "{:?}", wrong.stdout);
    let plain = on_a_terminal("eval run", "NO_COLOR=1").unwrap();
    assert!(plain.stdout.starts_with("vae-gpu: data: not given"), "{:?}", plain.stdout);
    let clap = on_a_terminal("trian", "NO_COLOR=1").unwrap();
    assert!(clap.code == Some(2) && !clap.stdout.contains('\x1b'), "{:?}", clap.stdout);

    // stdout is a file while stderr is the terminal: the file has no control characters, and the bar goes on.
    let json =
        "train --data x.idx --steps 3000 --hidden 64 --latent 3 --device cpu --out terminal --force --json >t.jsonl";
    let got = on_a_terminal(json, "").unwrap();
    assert_eq!(got.code, Some(0));
    let text = std::fs::read_to_string(home().join("t.jsonl")).unwrap();
    assert!(text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{text}");
    // --quiet is quiet there too.
    assert_eq!(on_a_terminal(&format!("{line} --quiet"), "").unwrap().stdout, "");
}
