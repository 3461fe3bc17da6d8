//! The program as it is shipped, started as a user starts it.
#![allow(dead_code)] // each test file uses its part
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::sync::Mutex;

/// An empty folder of its own for a test. Tests run side by side: no two may have one.
pub fn folder(name: &str) -> PathBuf {
    static GIVEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    assert!(GIVEN.lock().unwrap().insert(name.into()), "another test has the folder {name}");
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

pub struct Outcome {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    pub fn of(output: Output) -> Outcome {
        let [stdout, stderr] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        Outcome { code: output.status.code(), stdout, stderr }
    }
    /// Exit code 0, or the test ends with what the program said.
    pub fn succeeded(self) -> Outcome {
        assert_eq!(self.code, Some(0), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }
    /// What it printed, once it succeeded.
    pub fn json(self) -> serde_json::Value {
        let said = self.succeeded().stdout;
        serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {said}"))
    }
    /// One sentence, on stderr, and this exit code.
    pub fn refused(&self, code: i32, sentence: &str) {
        assert_eq!(self.code, Some(code), "stderr:\n{}", self.stderr);
        assert_eq!(self.stderr, format!("vae-gpu: {sentence}\n"));
        assert_eq!(self.stdout, "");
    }
}

/// The command, to be run in `cwd`.
pub fn command(cwd: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vae-gpu"));
    command.current_dir(cwd).args(args).env_remove("LD_LIBRARY_PATH");
    command
}

/// `vae-gpu ARGS`, with the arguments of one line.
pub fn run(cwd: &Path, line: &str) -> Outcome {
    Outcome::of(command(cwd, &line.split_whitespace().collect::<Vec<_>>()).output().unwrap())
}

/// The same with the stand-in for a GPU, and these variables for it.
pub fn run_on_stand_in(cwd: &Path, line: &str, env: &[(&str, &str)]) -> Outcome {
    let mut command = command(cwd, &line.split_whitespace().collect::<Vec<_>>());
    command.env("LD_LIBRARY_PATH", concat!(env!("OUT_DIR"), "/stand_in")).env_remove("VAE_GPU_CUDA_LIBS");
    Outcome::of(command.envs(env.iter().copied()).output().unwrap())
}

/// Sends a signal, as `-INT`.
pub fn send(child: &Child, signal: &str) {
    // The shell's own `kill`: a small container has no program of that name.
    let kill = format!("kill {signal} {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
}

/// Labels as an idx file.
pub fn write_labels(path: &Path, labels: &[u8]) {
    let count = (labels.len() as u32).to_be_bytes();
    std::fs::write(path, [&[0, 0, 8, 1], &count[..], labels].concat()).unwrap();
}

/// A grey data set as an idx file: `rows` pictures of `side` × `side` pixels, without a pattern.
pub fn write_idx(path: &Path, rows: u32, side: u32) {
    let mut bytes = vec![0, 0, 8, 3];
    [rows, side, side].iter().for_each(|n| bytes.extend(n.to_be_bytes()));
    bytes.extend((0..rows * side * side).map(|i| (i.wrapping_mul(2654435761) >> 24) as u8));
    std::fs::write(path, bytes).unwrap();
}
