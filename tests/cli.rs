//! The other commands on a small trained model, and wrong requests: the sentence and the exit code of each.
#[path = "support/program.rs"]
mod program;
use program::{Outcome, folder, run, write_idx};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A folder with a data set `x.idx` (103 pictures of 6 × 6), and a model `run` trained on it.
fn home() -> &'static Path {
    static HOME: OnceLock<PathBuf> = OnceLock::new();
    HOME.get_or_init(|| {
        let home = folder("cli");
        write_idx(&home.join("x.idx"), 103, 6);
        run(&home, "train --data x.idx --epochs 3 --hidden 20 --latent 3 --out run --device cpu --quiet").succeeded();
        home
    })
}

fn npy(path: &Path) -> vae_gpu::data::Dataset {
    vae_gpu::data::Dataset::read(path).unwrap()
}

#[test]
fn eval_reports_bounds_that_belong_together() {
    let outcome = run(home(), "eval run --data x.idx --samples 100 --json --device cpu").succeeded();
    let e: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    let number = |key: &str| e[key].as_f64().unwrap();
    assert_eq!(e["examples"], 103);
    assert!((number("elbo") + number("nll") + number("kl")).abs() < 1e-9);
    assert!(number("iwae") > number("elbo"), "the importance bound is the tighter one");
    let dims: f64 = e["kl_per_dim"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).sum();
    assert!((dims - number("kl")).abs() < 1e-4 * number("kl"), "kl is the sum over dimensions, to f32");
    assert!(number("elbo_error") > 0.0 && e["active_units"].as_u64().unwrap() <= 3);
}

#[test]
fn eval_estimates_the_likelihood_in_three_ways() {
    let line = "eval run --data x.idx --count 20 --samples 50 --estimator iwae,naive,ais --temperatures 40 --chains 5 --leapfrogs 3";
    let outcome = run(home(), &format!("{line} --json --device cpu")).succeeded();
    let e: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(e["examples"], 20);
    for name in ["iwae", "naive", "ais"] {
        let number = |key: &str| e[format!("{name}{key}")].as_f64().unwrap();
        assert!(number("") < 0.0 && number("_error") > 0.0 && number("_monte_carlo_error") > 0.0, "{name}: {e}");
        assert!((1.0..=50.0).contains(&number("_effective_samples")), "{name}: {e}");
    }
    // All three estimate one number; this model and its q are simple.
    let number = |key: &str| e[key].as_f64().unwrap();
    assert!((number("iwae") - number("ais")).abs() < 0.2 && number("naive") < number("iwae") + 0.2, "{e}");
    let table = run(home(), &format!("{line} --device cpu --quiet")).succeeded().stdout;
    assert!(["L_50", "naive_50", "ais_5"].iter().all(|name| table.contains(name)), "{table}");
    for option in ["samples", "count", "chains", "temperatures", "leapfrogs"] {
        let refused = run(home(), &format!("eval run --data x.idx --estimator ais --{option} 0 --device cpu"));
        assert_eq!(refused.code, Some(2));
        assert!(refused.stderr.starts_with(&format!("vae-gpu: {option} 0: must be at least 1; pass --{option} ")));
    }
}

#[test]
fn encode_then_decode_is_reconstruct() {
    run(home(), "encode run --data x.idx --to z.npy --device cpu").succeeded();
    run(home(), "decode run --data z.npy --to decoded.npy --device cpu").succeeded();
    run(home(), "reconstruct run --data x.idx --to reconstructed.npy --device cpu").succeeded();
    assert_eq!((npy(&home().join("z.npy")).rows(), npy(&home().join("z.npy")).cols), (103, 3));
    let read = |name: &str| std::fs::read(home().join(name)).unwrap();
    assert_eq!(read("decoded.npy"), read("reconstructed.npy"));
    run(home(), "encode run --data x.idx --logvar --to both.npy --device cpu").succeeded();
    assert_eq!(npy(&home().join("both.npy")).cols, 6);
}

#[test]
fn samples_are_probabilities_and_depend_on_the_seed() {
    for (seed, file) in [(0, "a.npy"), (0, "b.npy"), (1, "c.npy")] {
        run(home(), &format!("sample run --count 5 --seed {seed} --to {file} --device cpu")).succeeded();
    }
    let read = |name: &str| std::fs::read(home().join(name)).unwrap();
    assert_eq!(read("a.npy"), read("b.npy"));
    assert_ne!(read("a.npy"), read("c.npy"));
    assert!(npy(&home().join("a.npy")).to_rows().iter().all(|&p| p > 0.0 && p < 1.0));
    run(home(), "sample run --to s.png --device cpu").succeeded();
    run(home(), "reconstruct run --data x.idx --to r.png --device cpu").succeeded();
    assert!(read("s.png").starts_with(b"\x89PNG") && read("r.png").starts_with(b"\x89PNG"));
}

#[test]
fn grad_writes_what_the_case_expects() {
    let case = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/iwae_k5_deep.safetensors");
    run(home(), &format!("grad {case} --precision f64 --to g.safetensors --device cpu")).succeeded();
    let read = |path: &Path| vae_gpu::tensors::Tensors::read(path).unwrap();
    let (got, want) = (read(&home().join("g.safetensors")), read(Path::new(case)));
    for (name, tensor) in &got.tensors {
        let want = &want.tensors[name].values;
        let worst = tensor.values.iter().zip(want).map(|(g, w)| (g - w).abs()).fold(0.0, f64::max);
        assert!(worst < 1e-10, "{name}: {worst:e}");
    }
}

#[test]
fn help_teaches_and_asks_for_nothing() {
    let help = run(home(), "--help").succeeded();
    assert!(help.stdout.contains("Examples:") && help.stderr.is_empty());
    for command in [
        "train",
        "eval",
        "sample",
        "reconstruct",
        "report",
        "interpolate",
        "manifold",
        "traverse",
        "forecast",
        "mixture",
        "impute",
        "encode",
        "decode",
        "grad",
        "check",
        "bench",
        "info",
    ] {
        assert!(help.stdout.contains(command));
        assert!(run(home(), &format!("help {command}")).succeeded().stdout.contains("Usage:"), "{command}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let line =
        format!("{} eval run --data x.idx --device cpu | true; exit ${{PIPESTATUS[0]}}", env!("CARGO_BIN_EXE_vae-gpu"));
    let output = std::process::Command::new("bash").args(["-c", &line]).current_dir(home()).output().unwrap();
    let outcome = Outcome::of(output);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
}

#[test]
fn wrong_requests_get_one_sentence_and_their_exit_code() {
    let home = home();
    std::fs::write(home.join("empty.csv"), "").unwrap();
    std::fs::write(home.join("wide.csv"), "1,2,3\n0.5,0.1,0.2\n").unwrap();
    std::fs::write(home.join("narrow.csv"), "0.1,0.2\n0.3,0.4\n").unwrap();
    std::fs::write(home.join("damaged.safetensors"), b"\x08\0\0\0\0\0\0\0{}      ").unwrap();
    std::fs::write(home.join("file"), "").unwrap();
    let refused: &[(i32, &str, &str)] = &[
        (2, "train --data x.idx --batch 0", "batch 0: must be at least 1; pass --batch 100"),
        (2, "train --data x.idx --latent 0", "latent 0: must be at least 1; pass --latent 20"),
        (2, "train --data x.idx --samples 0", "samples 0: must be at least 1; pass --samples 1"),
        (2, "train --data x.idx --epochs 0", "epochs 0: must be at least 1; pass --epochs 10"),
        (2, "train --data x.idx --steps 0", "steps 0: must be at least 1; pass --steps 1000 or --epochs 10"),
        (2, "train --data x.idx --lr NaN", "lr NaN: must be a positive number; pass --lr 0.001"),
        (2, "train --data x.idx --lr -1", "lr -1: must be a positive number; pass --lr 0.001"),
        (
            2,
            "train --data x.idx --hidden 5,0",
            "hidden 0: must be at least 1; pass --hidden 500, or --hidden none for a linear model",
        ),
        (2, "train --data x.idx --hidden wide", "hidden wide: must be widths, as 500 or 200,200, or none"),
        (2, "train --data x.idx --sigma 0", "sigma 0: must be a positive number; pass --sigma 1"),
        (2, "train --data x.idx --beta -1", "beta -1: must be a number that is not negative; pass --beta 1"),
        (2, "train --data x.idx --momentum 1", "momentum 1: must be in [0, 1); pass --momentum 0.9"),
        (2, "train --data x.idx --betas 0.9,1", "betas 1: must be in [0, 1); pass --betas 0.9,0.999"),
        (
            2,
            "train --data x.idx --objective iwae --beta 2",
            "beta 2: the objective iwae has none; pass --beta 1 or --objective elbo-mc",
        ),
        (
            2,
            "train --data x.idx --objective elbo-mc --free-bits 1",
            "free-bits 1: only the objective elbo has them, not elbo-mc; pass --free-bits 0",
        ),
        (
            2,
            "train --data x.idx --patience 3",
            "patience 3: needs validation data; pass --valid FILE or --valid-fraction 0.1",
        ),
        (
            2,
            "train --data x.idx --valid-fraction 1.5",
            "--valid-fraction 1.5: must be more than 0 and less than 1; pass --valid-fraction 0.1",
        ),
        (2, "train --data x.idx --save-every 0", "save-every 0: must be at least 1; pass --save-every 1000"),
        (
            2,
            "train --data x.idx --out run",
            "out run: holds a run already; pass another --out, --resume run to go on with it, or --force",
        ),
        (2, "train --data x.idx --threads 0", "threads 0: must be at least 1; pass --threads 2"),
        (2, "train --data x.idx --device tpu", "device tpu: must be auto, cpu, cuda or cuda:N; pass --device auto"),
        (
            1,
            "train --data nothing.idx",
            "nothing.idx cannot be read: No such file or directory (os error 2); check the path",
        ),
        (
            1,
            "train --data x.idx --out file/run",
            "cannot make the directory file/run: Not a directory (os error 20); pass another --out",
        ),
        (1, "train --resume nowhere", "resume: there is no nowhere/checkpoint.safetensors; nothing to go on with"),
        (
            1,
            "eval run --data wide.csv",
            "wide.csv: an example has 3 numbers; the model takes 36: give data like what it was trained on",
        ),
        (2, "eval run", "data: not given, and the model was trained on x.idx; pass --data FILE"),
        (2, "eval run --data x.idx --samples 0", "samples 0: must be at least 1; pass --samples 1"),
        (
            1,
            "train --data empty.csv",
            "empty.csv is empty: give a file of idx, .npy, .npz, .safetensors, .png or numeric .csv with at least one example",
        ),
        (
            1,
            "train --data wide.csv",
            "row 0, column 1 (counted from 0) of wide.csv is 2: must be in [0, 1] for the Bernoulli likelihood; pass --likelihood gaussian or scale the data of --data",
        ),
        (
            1,
            "eval damaged.safetensors --data x.idx",
            "damaged.safetensors: no metadata key config; give a model that this program wrote",
        ),
        (1, "eval nowhere --data x.idx", "nowhere: there is no such file; give a run directory or its model"),
        (2, "sample run --to s.jpg", "to s.jpg: must end in .png or .npy"),
        (2, "sample run --to s.png --count 0", "count 0: must be at least 1; pass --count 64"),
        (1, "decode run --data narrow.csv --to d.npy", "narrow.csv: a row has 2 numbers; the model's latents have 3"),
        (
            1,
            "sample run --to nowhere/s.png",
            "cannot write nowhere/s.png: the directory nowhere does not exist; create it first",
        ),
    ];
    let mut wrong = String::new();
    for &(code, line, sentence) in refused {
        let device = if line.contains("--device") { "" } else { "--device cpu" };
        let got = run(home, &format!("{line} {device}"));
        let want = (Some(code), format!("vae-gpu: {sentence}\n"), "");
        if (got.code, got.stderr.clone(), got.stdout.as_str()) != want {
            wrong += &format!("{line}\n  got  {:?} {}  want {:?} {}", got.code, got.stderr, want.0, want.1);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn an_unknown_name_is_answered_with_the_nearest() {
    for (line, nearest) in [("train --activation rely", "relu"), ("trian", "train"), ("train --latnet 3", "--latent")] {
        let outcome = run(home(), line);
        assert_eq!(outcome.code, Some(2), "{line}");
        assert!(outcome.stderr.contains(nearest), "{line}: {}", outcome.stderr);
    }
}
