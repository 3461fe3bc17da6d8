//! Too little memory on a device, by the shipped program on the stand-in driver: a sentence, and a batch that fits.
use crate::program::{command, folder, run_on_stand_in, write_idx};

const TRAIN: &str = "train --data x.idx --hidden 16 --latent 4 --steps 2 --device cuda --quiet --force --out run";
const NO_ROOM: &str = "vae-gpu: there is no room for ";

#[test]
fn with_any_size_of_memory_it_trains_or_names_a_batch_that_does() {
    let home = folder("device-memory");
    write_idx(&home.join("x.idx"), 300, 5);
    // From nothing, over where the two workspaces of cuBLAS fit but not the batch, to where all does.
    let sizes = (10..27).step_by(4).map(|bits| 1 << bits).chain((1..10).map(|i| (64 << 20) + 60_000 * i));
    let (mut told, mut trained) = (0, 0);
    for memory in sizes {
        let memory = memory.to_string();
        let on =
            |batch: usize| run_on_stand_in(&home, &format!("{TRAIN} --batch {batch}"), &[("STAND_IN_MEMORY", &memory)]);
        let outcome = on(300);
        let said = outcome.stderr.trim();
        if outcome.code == Some(0) {
            trained += 1;
            continue;
        }
        assert_eq!(outcome.code, Some(1), "{memory} bytes: {said}");
        let whole = said.starts_with(NO_ROOM) && said.contains(" on the GPU: ") && said.lines().count() == 1;
        assert!(whole && said.contains(" bytes are needed, "), "{memory} bytes: {said}");
        match said.split_once("; the largest that fits is --batch ") {
            Some((_, batch)) => {
                told += 1;
                on(batch.parse().unwrap()).succeeded();
            }
            None => assert!(said.ends_with("not even --batch 1 fits: pass a smaller --hidden, or less data"), "{said}"),
        }
    }
    println!("told a batch that fits {told} times, trained {trained} times");
    assert!(told >= 3 && trained >= 1, "told {told} times, trained {trained} times");
}

#[test]
fn an_allocation_that_fails_is_a_sentence_whichever_it_is() {
    let home = folder("device-allocations");
    write_idx(&home.join("x.idx"), 40, 5);
    let mut failed = 0;
    for n in 1.. {
        let env = [("STAND_IN_FAIL", &*format!("cuMemAlloc_v2:{n}:2"))];
        let outcome = run_on_stand_in(&home, &format!("{TRAIN} --valid-fraction 0.2 --precision bf16"), &env);
        if outcome.code == Some(0) {
            break;
        }
        let said = &outcome.stderr;
        assert!(outcome.code == Some(1) && said.starts_with(NO_ROOM) && said.lines().count() == 1, "{n}: {said}");
        failed += 1;
    }
    println!("{failed} allocations, each failed once");
    assert!(failed >= 10, "{failed} allocations");
}

#[test]
fn a_second_training_on_a_gpu_is_told() {
    let home = folder("device-second");
    write_idx(&home.join("x.idx"), 40, 5);
    let line = TRAIN.replace("--steps 2", "--steps 4000000000").replace("--out run", "--out first");
    let mut first = command(&home, &line.split_whitespace().collect::<Vec<_>>());
    first.env("LD_LIBRARY_PATH", concat!(env!("OUT_DIR"), "/stand_in")).env_remove("VAE_GPU_CUDA_LIBS");
    let mut first = first.env("TMPDIR", &home).spawn().unwrap();
    while !home.join("first/metrics.jsonl").exists() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let second = run_on_stand_in(&home, &TRAIN.replace("--quiet", ""), &[("TMPDIR", home.to_str().unwrap())]);
    first.kill().unwrap();
    first.wait().unwrap();
    let note = "another training runs on cuda:0 (Stand-in) already: both are slower, and share its memory\n";
    assert!(second.stderr.contains(note), "{}", second.stderr);
    let alone = run_on_stand_in(&home, &TRAIN.replace("--quiet", ""), &[("TMPDIR", home.to_str().unwrap())]);
    assert!(!alone.succeeded().stderr.contains("another training"));
}
