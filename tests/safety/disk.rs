//! A disk that is full, too small, or cannot be written: the checkpoint before stays, and the sentence says where.
//! `tests/support/disk.c` takes the place of the disk; where this may make a file system of its own, a real one does.
#![cfg(target_os = "linux")]
use crate::program::{Outcome, command, folder, run, write_idx};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use vae_gpu::checkpoint::Saved;

const TRAIN: &str = "train --data x.idx --hidden 40 --latent 4 --batch 10 --device cpu --quiet";

/// The library that fails writes, compiled once.
fn broken_disk() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let library = folder("broken-disk").join("disk.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/disk.c");
        let mut compiler = Command::new(std::env::var("CC").unwrap_or("cc".into()));
        let done = compiler.args(["-shared", "-fPIC", "-O1", "-o"]).args([&library, &source]).status();
        assert!(done.is_ok_and(|status| status.success()), "tests/support/disk.c does not compile");
        library
    })
}

/// Goes on with `run` on a disk of which `what` fails.
fn resume_on(home: &Path, what: &str) -> Outcome {
    let line = "train --resume run --save-every 7 --device cpu --quiet";
    let mut command = command(home, &line.split_whitespace().collect::<Vec<_>>());
    command.env("LD_PRELOAD", broken_disk()).env("BROKEN_DISK", what);
    Outcome::of(command.output().unwrap())
}

#[test]
fn a_disk_that_fills_up_leaves_the_checkpoint_before() {
    for (what, of) in [
        ("write:checkpoint:0", "No space left on device (os error 28), after 0 bytes"),
        ("write:checkpoint:9000", "No space left on device (os error 28), after 9000 bytes"),
        ("sync:checkpoint", "No space left on device (os error 28), after"),
        ("rename:checkpoint", "No space left on device (os error 28), after"),
        ("write:model:100", "No space left on device (os error 28), after 100 bytes"),
        ("write:metrics:0", "No space left on device (os error 28), after 0 bytes"),
    ] {
        let home = folder(&format!("full-{}", what.replace(':', "-")));
        write_idx(&home.join("x.idx"), 103, 6);
        run(&home, &format!("{TRAIN} --steps 60 --out whole")).succeeded();
        let path = home.join("run/checkpoint.safetensors");
        cut_to(&home, 20);
        let before = std::fs::read(&path).unwrap();

        let outcome = resume_on(&home, what);
        assert_eq!(outcome.code, Some(1), "{what}: {}", outcome.stderr);
        let said = outcome.stderr.lines().collect::<Vec<_>>();
        assert!(
            said.len() == 1 && said[0].starts_with("vae-gpu: cannot write run/") && said[0].contains(of),
            "{said:?}"
        );
        let name = what.split(':').nth(1).unwrap();
        assert!(said[0].contains(name), "{what}: {said:?}");
        if name == "checkpoint" {
            assert!(std::fs::read(&path).unwrap() == before, "{what}: the checkpoint before is not what it was");
        }
        Saved::read(&path).unwrap();
        Saved::read(&home.join("run")).unwrap();

        // With room again, to the same end.
        run(&home, "train --resume run --device cpu --quiet").succeeded();
        let model = |run: &str| std::fs::read(home.join(run).join("model.safetensors")).unwrap();
        assert!(model("run") == model("whole"), "{what}");
    }
}

/// Trains `run` to so many steps of its 60.
fn cut_to(home: &Path, step: u32) {
    let line = format!("{TRAIN} --steps 60 --save-every {step} --out run");
    let mut command = command(home, &line.split_whitespace().collect::<Vec<_>>());
    // The second checkpoint fails: the first one, of that step, stays.
    command.env("LD_PRELOAD", broken_disk()).env("BROKEN_DISK", "again:checkpoint");
    assert_eq!(command.output().unwrap().status.code(), Some(1));
    let saved = Saved::read(&home.join("run/checkpoint.safetensors")).unwrap();
    assert_eq!(saved.position().unwrap().step, step);
}

#[test]
fn a_limit_on_the_size_of_files_is_a_sentence() {
    let home = folder("limit");
    write_idx(&home.join("x.idx"), 103, 6);
    let script = format!("ulimit -f 8; exec {} {TRAIN} --steps 20 --out run", env!("CARGO_BIN_EXE_vae-gpu"));
    let outcome = Outcome::of(Command::new("bash").args(["-c", &script]).current_dir(&home).output().unwrap());
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    let want =
        "vae-gpu: cannot write run/model.safetensors: File too large (os error 27), after 8192 bytes; make room\n";
    assert_eq!(outcome.stderr, want);
    assert!(["model", "checkpoint"].iter().all(|name| !home.join(format!("run/{name}.safetensors")).exists()));
}

/// Runs a script below a file system of its own; None, with a word, where this process may not make one.
fn on_its_own_disk(home: &Path, options: &str, script: &str) -> Option<Outcome> {
    let disk = home.join("disk");
    std::fs::create_dir_all(&disk).unwrap();
    let mount = |rest: &str| format!("mount -t tmpfs -o {options} tmpfs {} && {rest}", disk.display());
    let unshare = |script: &str| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--user", "--map-root-user", "--mount", "bash", "-c", &mount(script)]).current_dir(home);
        unshare.env("VAE", env!("CARGO_BIN_EXE_vae-gpu")).output()
    };
    if !unshare("true").is_ok_and(|output| output.status.success()) {
        println!("skipped: this process may not mount a file system");
        return None;
    }
    Some(Outcome::of(unshare(script).unwrap()))
}

#[test]
fn a_full_file_system_of_a_megabyte_keeps_the_checkpoint() {
    let home = folder("megabyte");
    write_idx(&home.join("x.idx"), 103, 6);
    // 12 KiB are left once the first checkpoint is there: less than the next one.
    let script = format!(
        "$VAE {TRAIN} --steps 4000000000 --save-every 50 --out disk/run & run=$!
         until [ -f disk/run/checkpoint.safetensors ]; do sleep 0.01; done
         while head -c 12288 /dev/zero >> disk/filler; do :; done 2>/dev/null
         wait $run; echo code $?
         $VAE eval disk/run/checkpoint.safetensors --data x.idx --device cpu --quiet --json >/dev/null && echo loads"
    );
    let Some(outcome) = on_its_own_disk(&home, "size=1m", &script) else { return };
    assert_eq!(outcome.stdout, "code 1\nloads\n", "{}", outcome.stderr);
    assert!(outcome.stderr.contains("vae-gpu: cannot write disk/run/"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("No space left on device"), "{}", outcome.stderr);
}

#[test]
fn room_is_asked_for_before_the_training_starts() {
    let home = folder("room");
    write_idx(&home.join("x.idx"), 103, 6);
    let script = "$VAE train --data x.idx --hidden 500 --steps 10 --device cpu --quiet --out disk/run";
    let Some(outcome) = on_its_own_disk(&home, "size=256k", script) else { return };
    let said = &outcome.stderr;
    assert_eq!(outcome.code, Some(1), "{said}");
    assert!(said.starts_with("vae-gpu: disk/run: a run of this model writes up to "), "{said}");
    assert!(said.contains(" bytes, and 262144 are free; make room, or pass another --out"), "{said}");
}

#[test]
fn a_folder_that_cannot_be_written_is_a_sentence() {
    let home = folder("read-only");
    write_idx(&home.join("x.idx"), 103, 6);
    let script = format!("$VAE {TRAIN} --steps 10 --out disk/run");
    let Some(outcome) = on_its_own_disk(&home, "ro", &script) else { return };
    outcome.refused(1, "cannot make the directory disk/run: Read-only file system (os error 30); pass another --out");
}
