//! The other commands on a small trained model. What they refuse: requests.rs.
use crate::program::{Outcome, folder, run, run_on_stand_in, write_idx};
use std::fs;
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
        assert!(number("_bias") < 0.0, "all are below log p(x): {e}");
    }
    // Of five chains there is no tail to look at.
    assert!(e["iwae_heavy_tailed"].as_u64().is_some() && e["ais_heavy_tailed"].is_null(), "{e}");
    // All three estimate one number; this model and its q are simple.
    let number = |key: &str| e[key].as_f64().unwrap();
    assert!((number("iwae") - number("ais")).abs() < 0.2 && number("naive") < number("iwae") + 0.2, "{e}");
    // Each example's own: their means are the estimates.
    run(home(), &format!("{line} --to bounds.npy --device cpu")).succeeded();
    let bounds = npy(&home().join("bounds.npy"));
    assert_eq!((bounds.rows(), bounds.cols), (20, 3));
    for (j, name) in ["iwae", "naive", "ais"].into_iter().enumerate() {
        let mean = bounds.columns(j..j + 1).iter().map(|&x| x as f64).sum::<f64>() / 20.0;
        assert!((mean - number(name)).abs() < 1e-4, "{name}: {mean} of {e}"); // f32 of hundreds
    }
    run(home(), "eval run --data x.idx --count 20 --samples 50 --estimator elbo,naive --to parts.csv --device cpu")
        .succeeded();
    let parts = std::fs::read_to_string(home().join("parts.csv")).unwrap();
    assert_eq!(parts.lines().next(), Some("iwae,naive,elbo,nll,kl"));
    let parts: Vec<Vec<f64>> =
        parts.lines().skip(1).map(|row| row.split(',').map(|x| x.parse().unwrap()).collect()).collect();
    for (j, name) in ["iwae", "naive", "elbo", "nll", "kl"].into_iter().enumerate() {
        let mean = parts.iter().map(|row| row[j]).sum::<f64>() / 20.0;
        assert!(parts.len() == 20 && (mean - number(name)).abs() < 1e-4, "{name}: {mean} of {e}");
    }
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
        "sweep",
        "compare",
        "eval",
        "rank",
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
fn info_says_where_a_run_would_compute() {
    let text = run(home(), "info --device cpu").succeeded().stdout;
    assert!(text.ends_with("\nruns on  cpu, fp32\n"), "{text}");
    let said = run(home(), "info --device cpu --precision f64 --json").succeeded().stdout;
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((said["device"].as_str(), said["precision"].as_str()), (Some("cpu"), Some("f64")));
}

/// On the stand-in for a GPU, so that it does not matter whether this machine has one.
#[test]
#[cfg(feature = "cuda")]
fn info_says_that_a_gpu_is_not_there() {
    let none = run_on_stand_in(home(), "info --device cuda", &[("STAND_IN_DEVICES", "0")]);
    assert_eq!((none.code, none.stderr.as_str()), (Some(1), "vae-gpu: a CUDA driver, but no GPU\n"));
    // After all that was found.
    assert!(none.stdout.contains("\ngpu ") && !none.stdout.contains("runs on"), "{}", none.stdout);
    let one = run_on_stand_in(home(), "info --device cuda:4711", &[]);
    one.refused(2, "cuda:4711: this machine has GPUs 0 to 0; pass cuda:0");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let line =
        format!("{} eval run --data x.idx --device cpu | true; exit ${{PIPESTATUS[0]}}", env!("CARGO_BIN_EXE_vae-gpu"));
    let output = std::process::Command::new("bash").args(["-c", &line]).current_dir(home()).output().unwrap();
    let outcome = Outcome::of(output);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
}

/// What a run was validated on can be asked of, too, and is what it was.
#[test]
fn what_was_held_out_can_be_had() {
    let home = folder("held-out");
    write_idx(&home.join("x.idx"), 103, 6);
    let train = "train --data x.idx --epochs 3 --hidden 8 --latent 2 --batch 20 --device cpu --quiet";
    run(&home, &format!("{train} --valid-fraction 0.2 --out part")).succeeded();
    run(&home, &format!("{train} --valid x.idx --out other")).succeeded();
    run(&home, &format!("{train} --out none")).succeeded();
    for (name, examples) in [("part", 21), ("other", 103)] {
        let e = run(&home, &format!("eval {name} --held-out --json --device cpu")).succeeded().stdout;
        let e: serde_json::Value = serde_json::from_str(&e).unwrap();
        let lines = vae_gpu::metrics::read(&home.join(name).join("metrics.jsonl")).unwrap();
        let valid = lines.iter().filter(|line| line.split == vae_gpu::metrics::Split::Valid);
        let best = valid.map(|line| line.elbo).fold(f64::NEG_INFINITY, f64::max);
        assert_eq!((e["examples"].as_u64(), e["elbo"].as_f64()), (Some(examples), Some(best)), "{name}: {e}");
        run(&home, &format!("encode {name} --held-out --to {name}.npy --device cpu --quiet")).succeeded();
        assert_eq!(npy(&home.join(format!("{name}.npy"))).rows() as u64, examples);
    }
    // Its rows have the names, and the cells, that they have in the file.
    let row = |i: usize| format!("id{i},{},{},{}\n", i * i % 11, (i as f32).sin(), ["x", "y"][i % 2]);
    let text: String = (0..60).map(row).collect();
    std::fs::write(home.join("x.csv"), format!("id,a,b,word\n{text}")).unwrap();
    let table = "train --data x.csv --skip-columns word --scale standard --likelihood gaussian --hidden 4 --latent 1 --steps 5 --device cpu";
    run(&home, &format!("{table} --valid-fraction 0.2 --out table --quiet")).succeeded();
    let encoded = |how: &str| {
        let said = run(&home, &format!("encode table {how} --to - --device cpu --quiet")).succeeded().stdout;
        said.lines().map(String::from).collect::<Vec<_>>()
    };
    for keep in ["", "--keep word,id"] {
        let (all, held) = (encoded(&format!("--data x.csv {keep}")), encoded(&format!("--held-out {keep}")));
        assert_eq!((all.len(), held.len(), &all[0]), (61, 13, &held[0]));
        let places: Vec<_> = held.iter().map(|line| all.iter().position(|other| other == line)).collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{keep}: {held:?}");
    }
    let bounds = run(&home, "eval table --held-out --count 3 --to b.csv --json --device cpu").succeeded().stdout;
    assert!(bounds.contains("\"examples\":3"), "{bounds}");
    let ids: Vec<String> =
        encoded("--held-out").iter().take(4).map(|line| line.split(',').next().unwrap().into()).collect();
    let written = std::fs::read_to_string(home.join("b.csv")).unwrap();
    assert!(
        written.lines().map(|line| line.split(',').next().unwrap()).eq(ids.iter().map(String::as_str)),
        "{written}"
    );
    for (line, want) in [
        ("eval none --held-out", "held-out: the run held nothing out; pass --data FILE"),
        (
            "eval part",
            "data: not given, and the model was trained on x.idx; pass --data FILE, or --held-out for its validation part",
        ),
        ("impute part --held-out --to filled.csv", "held-out: is no file to fill in; pass --data FILE"),
    ] {
        run(&home, &format!("{line} --device cpu")).refused(2, want);
    }
}

#[test]
fn what_auto_came_to_is_told_where_a_run_depends_on_it() {
    let none = [("STAND_IN_DEVICES", "0")];
    let note = "a CUDA driver, but no GPU; running on the CPU";
    let said = |line: &str| run_on_stand_in(home(), line, &none).succeeded().stderr;
    assert!(said("train --data x.idx --steps 1 --hidden 3 --latent 2 --out told --force").starts_with(note));
    for line in [
        "eval run --data x.idx",
        "encode run --data x.idx --to quiet-z.npy --force",
        "sample run --to quiet-s.npy --force",
        "reconstruct run --data x.idx --to quiet-r.npy --force",
    ] {
        assert!(!said(line).contains("running on"), "{line}: {}", said(line));
    }
    // Another arithmetic than was asked for is news, also to who wants it quiet.
    for line in ["eval run --data x.idx", "train --data x.idx --steps 1 --hidden 3 --latent 2 --out told --force"] {
        let line = format!("{line} --precision tf32");
        assert!(said(&line).starts_with(&format!("{note}, in fp32")), "{line}");
        assert_eq!(said(&format!("{line} --quiet")), format!("{note}, in fp32\n"), "{line}");
    }
}

#[test]
fn one_of_something_is_no_plural_and_a_choice_stands_there_by_its_name() {
    let line = "train --data x.idx --steps 1 --batch 103 --hidden 3 --latent 2 --device cpu --out one --force";
    let said = run(home(), line).succeeded().stderr;
    assert!(said.contains("; 1 step of 103 (1 epoch) on cpu") && said.contains("done after 1 step in "), "{said}");
    let e = run(home(), "eval run --data x.idx --count 1 --device cpu").succeeded().stdout;
    assert!(e.starts_with("x.idx: 1 example, nats"), "{e}");
    let said = run(home(), "sweep --data x.idx --steps 1 --hidden 3 --latent 2 --device cpu --out several").succeeded();
    assert!(said.stderr.starts_with("1 run; "), "{}", said.stderr);
    let said = run(home(), "mixture --data x.idx --components 1 --restarts 1 --out m --force").succeeded().stderr;
    assert!(said.contains(": 103 examples of 36; 1 component, diag covariance; writing"), "{said}");
    let checked = run(home(), "check run --device cpu").succeeded().stdout;
    assert!(checked.contains("gather 100×36  ") && checked.contains("bound 100×1 elbo "), "{checked}");
}

/// With --json a command that writes a file says so on stdout, and says nothing else there.
#[test]
fn what_was_written_is_said_as_json() {
    for (line, rows) in [
        ("sample run --count 5 --to said.npy", Some(5)),
        ("sample run --near x.idx --count 2 --per-example 3 --to said.csv", Some(6)),
        ("sample run --to said.png", None),
        ("reconstruct run --data x.idx --to said.npy", Some(103)),
        ("reconstruct run --data x.idx --to said.png", None),
        ("interpolate run --data x.idx --pair 0,1 --steps 4 --to said.npy", Some(4)),
        ("manifold run --dims 0,1 --side 3 --to said.npy", Some(9)),
        ("encode run --data x.idx --to said.npy", Some(103)),
        ("decode run --data said.npy --to decoded.csv", Some(103)),
    ] {
        let said = run(home(), &format!("{line} --force --json --device cpu")).json();
        let to = line.rsplit(' ').next().unwrap();
        let want = match rows {
            Some(rows) => serde_json::json!({ "to": to, "rows": rows }),
            None => serde_json::json!({ "to": to }),
        };
        assert_eq!(said, want, "{line}");
        if to.ends_with("npy") {
            assert_eq!(Some(npy(&home().join(to)).rows()), rows, "{line}");
        }
    }
}

/// What is kept of a run is the arithmetic that it was computed in, so that what repeats it does, and what compares it tells the
/// truth. One that began on a GPU goes on without one.
#[test]
#[cfg(feature = "cuda")]
fn an_arithmetic_that_the_cpu_does_not_have_is_not_kept_as_the_one_of_a_run() {
    let none = [("STAND_IN_DEVICES", "0")];
    let small = "--data x.idx --hidden 3 --latent 2 --precision bf16";
    let precision = |run: &str| {
        let text = fs::read_to_string(home().join(run).join("config.json")).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["training"]["precision"].as_str().unwrap().to_string()
    };
    let model = |run: &str| fs::read(home().join(run).join("model.safetensors")).unwrap();
    run_on_stand_in(home(), &format!("train {small} --steps 3 --out asked-bf16"), &none).succeeded();
    assert_eq!(precision("asked-bf16"), "fp32");
    run(home(), "train --config asked-bf16/run.toml --device cpu --quiet --out asked-again").succeeded();
    assert!(model("asked-bf16") == model("asked-again"));
    let both = "sweep --data x.idx --steps 1 --grid precision=fp32,bf16 --out in-both";
    let said = run_on_stand_in(home(), both, &none);
    assert_eq!(said.code, Some(2), "{}", said.stderr);
    assert!(said.stderr.ends_with("are the same run; leave out one of the values\n"), "{}", said.stderr);

    run_on_stand_in(home(), &format!("train {small} --steps 3 --device cuda --out in-bf16"), &[]).succeeded();
    assert_eq!(precision("in-bf16"), "bf16");
    let said = run(home(), "train --resume in-bf16 --steps 5 --device cpu").succeeded().stderr;
    assert!(said.starts_with("bf16 needs a GPU; going on in fp32\n"), "{said}");
}
