//! `vae-gpu mixture`, as it is shipped: what it writes and says, and what it refuses.
#[path = "support/numbers.rs"]
mod numbers;
#[path = "support/program.rs"]
mod program;
use numbers::{assert_near, mean_and_error};
use program::{folder, run, write_idx};
use vae_gpu::data::Dataset;
use vae_gpu::mixture::{Covariance, Mixture};

#[test]
fn the_command_writes_a_mixture_that_reads_back_and_pictures() {
    let home = folder("mixture");
    write_idx(&home.join("x.idx"), 103, 6);
    let line = "mixture --data x.idx --valid-fraction 0.2 --components 3 --covariance full --json --out out --seed 5";
    let outcome = run(&home, line).succeeded();
    let json: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!((&json["train"]["examples"], &json["valid"]["examples"]), (&82.into(), &21.into()));
    let (m, config) = Mixture::read(&home.join("out/mixture.safetensors")).unwrap();
    assert_eq!((m.covariance, m.components(), m.cols(), config.shape), (Covariance::Full, 3, 36, Some((6, 6).into())));
    let (train, valid) = Dataset::read(&home.join("x.idx")).unwrap().split(0.2).unwrap();
    for (part, data) in [("train", train), ("valid", valid)] {
        let x: Vec<f64> = data.to_rows().into_iter().map(f64::from).collect();
        let (mean, error) = mean_and_error(&m.log_likelihoods(&x).unwrap());
        let got = |key: &str| json[part][key].as_f64().unwrap();
        assert_near(part, &[got("log_likelihood"), got("log_likelihood_error")], &[mean, error], 1e-12);
    }
    for picture in ["means.png", "samples.png"] {
        assert!(std::fs::read(home.join("out").join(picture)).unwrap().starts_with(b"\x89PNG"), "{picture}");
    }
    // The same file with one thread; another with another seed; the same likelihood from the file.
    let file = |out: &str| std::fs::read(home.join(out).join("mixture.safetensors")).unwrap();
    run(&home, &line.replace("--out out", "--out one --threads 1")).succeeded();
    run(&home, &line.replace("--out out --seed 5", "--out other --seed 6")).succeeded();
    assert!(file("out") == file("one") && file("out") != file("other"));
    let again =
        "mixture --data x.idx --valid-fraction 0.2 --start out/mixture.safetensors --iterations 0 --json --out b";
    let again: serde_json::Value = serde_json::from_str(&run(&home, again).succeeded().stdout).unwrap();
    assert_eq!((&again["train"], &again["valid"]), (&json["train"], &json["valid"]));
    // And in words.
    let words = run(&home, "mixture --data x.idx --components 2 --restarts 1 --out words").succeeded();
    assert!(
        words.stdout.contains("train  log p(x)") && words.stderr.contains("start 1, iteration"),
        "{}",
        words.stderr
    );
}

#[test]
fn wrong_requests_get_one_sentence_and_their_exit_code() {
    let home = folder("mixture-refused");
    write_idx(&home.join("x.idx"), 13, 3);
    std::fs::write(home.join("constant.csv"), "1,5\n2,5\n3,5\n").unwrap();
    run(&home, "mixture --data x.idx --components 2 --out fitted --quiet").succeeded();
    run(&home, "train --data x.idx --steps 1 --hidden 2 --latent 1 --out vae --device cpu --quiet").succeeded();
    for (code, line, sentence) in [
        (2, "--data x.idx --components 0", "components 0: must be at least 1; pass --components 10"),
        (2, "--data x.idx --components 14", "components 14: more than the 13 examples; pass --components 13 or fewer"),
        (2, "--data x.idx --restarts 0", "restarts 0: must be at least 1; pass --restarts 3"),
        (
            2,
            "--data x.idx --tolerance -1",
            "tolerance -1: must be a number that is not negative; pass --tolerance 0.001",
        ),
        (2, "--data x.idx --floor NaN", "floor NaN: must be a number that is not negative; pass --floor 0.001"),
        (
            2,
            "--data x.idx --device cuda",
            "device cuda: a mixture is fitted on the CPU; pass --device cpu, or leave it out",
        ),
        (2, "--data x.idx --device tpu", "device tpu: must be auto, cpu, cuda or cuda:N; pass --device auto"),
        (2, "--data x.idx --threads 0", "threads 0: must be at least 1; pass --threads 2"),
        (2, "--data x.idx --out fitted", "out fitted: holds a mixture already; pass another --out, or --force"),
        (
            2,
            "--data x.idx --valid-fraction 2",
            "--valid-fraction 2: must be more than 0 and less than 1; pass --valid-fraction 0.1",
        ),
        (1, "--data x.idx --valid constant.csv", "constant.csv: an example has 2 numbers; must be 9 as in --data"),
        (
            1,
            "--data constant.csv --start fitted/mixture.safetensors",
            "constant.csv: an example has 2 numbers; must be 9 as in --start",
        ),
        (
            1,
            "--data x.idx --start vae/model.safetensors",
            "vae/model.safetensors: no mixture; give the mixture.safetensors of vae-gpu mixture",
        ),
        (
            1,
            "--data constant.csv --components 1 --floor 0",
            "component 0 (counted from 0): the variance of column 1 is 0.0e0, so its density has no bound; pass a larger --floor, or fewer --components",
        ),
    ] {
        let out = if line.contains("--out") { "" } else { "--out out" };
        run(&home, &format!("mixture {line} {out} --quiet")).refused(code, sentence);
        assert!(!home.join("out").exists(), "{line}: nothing is written");
    }
}

#[test]
fn help_names_the_defaults_and_shows_examples() {
    let help = run(&folder("mixture-help"), "help mixture").succeeded().stdout;
    for word in ["Examples:", "--components", "[default: 10]", "reg_covar", "means.png", "--restarts"] {
        assert!(help.contains(word), "{word}");
    }
}
