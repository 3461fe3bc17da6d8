//! The same tests once more, on the PTX that nvcc makes of the kernels: what a driver gets, inline assembly included. The
//! host's compiler sees none of that, and what it makes of the source is not what nvcc does.
use crate::emulator::{EXECUTE, Ptx};
use std::process::Command;

/// The tests of this program that its arguments choose, in a process of their own. How many there were.
fn on_the_ptx_of(arch: u32, arguments: &[&str]) -> Option<usize> {
    if std::env::var_os(EXECUTE).is_some() {
        return None; // this is that process
    }
    Ptx::of(arch)?;
    let here = std::env::current_exe().unwrap();
    let output = Command::new(here).args(arguments).env(EXECUTE, arch.to_string()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "sm_{arch}:\n{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let (_, passed) = said.split_once("test result: ok. ").expect("the last line of a test");
    Some(passed.split_whitespace().next().unwrap().parse().unwrap())
}

#[test]
fn the_ptx_for_hopper_passes_every_test() {
    // But what executes the PTX all the same, what runs on the CPU, and what comes below.
    if let Some(passed) = on_the_ptx_of(90, &["--skip", "counts::", "--skip", "on_the_cpu"]) {
        assert!(passed > 30, "{passed} tests");
    }
}

/// It rounds to tf32 in another way, and no launch overlaps.
#[test]
fn the_ptx_for_ampere_multiplies_and_trains() {
    let tests = ["products::", "halves::", "merged_operations", "odd_shapes"];
    if let Some(passed) = on_the_ptx_of(80, &tests) {
        assert!(passed > 8, "{passed} tests");
    }
}
