//! `--config`, and the run.toml that every run leaves.
use crate::program::{folder, run, write_idx};

#[test]
fn the_file_that_a_run_leaves_repeats_it() {
    let home = folder("repeats");
    write_idx(&home.join("x.idx"), 60, 5);
    let settings = [
        "--hidden 9,7 --latent 3 --steps 11 --batch 7 --lr 3e-4 --betas 0.8,0.99 --seed 5 --valid-fraction 0.25",
        "--hidden none --latent 2 --epochs 2 --likelihood gaussian --variance shared --init normal:0.1 --optimizer adamw",
        "--past 0..10 --future 12..20 --objective iwae --samples 3 --epochs 1 --hidden 8 --latent 2 --lr-schedule step:2:0.5",
    ];
    for (i, settings) in settings.iter().enumerate() {
        run(&home, &format!("train --data x.idx {settings} --device cpu --out first{i} --quiet")).succeeded();
        run(&home, &format!("train --config first{i}/run.toml --device cpu --out again{i} --quiet")).succeeded();
        let read = |run: &str, file: &str| std::fs::read(home.join(format!("{run}{i}/{file}"))).unwrap();
        for file in ["model.safetensors", "config.json", "run.toml"] {
            assert!(read("first", file) == read("again", file), "{settings}: {file} differs");
        }
    }
}

#[test]
fn the_command_line_wins_over_the_file() {
    let home = folder("wins");
    write_idx(&home.join("x.idx"), 30, 4);
    let file = "data = \"x.idx\"\nhidden = [6, 5]\nlatent = 2\nsteps = 3\nquiet = true\nforce = false\nlr = 0.5\n";
    std::fs::write(home.join("run.toml"), file).unwrap();
    run(&home, "train --latent 4 --config=run.toml --lr 1e-3 --device cpu --out run").succeeded();
    let config = std::fs::read_to_string(home.join("run/config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    assert_eq!(config["latent"], 4);
    assert_eq!(config["hidden"], serde_json::json!([6, 5]));
    assert_eq!(config["training"]["optimizer"]["lr"], 1e-3);
}

/// Of two options that exclude each other clap takes one only: that of the command line, whatever the file has.
#[test]
fn the_command_line_wins_over_what_it_excludes() {
    let home = folder("excludes");
    write_idx(&home.join("x.idx"), 30, 4);
    let file = "data = \"x.idx\"\nhidden = 5\nlatent = 2\nepochs = 2\nvalid-fraction = 0.2\npast = \"0..8\"\nfuture = \"8..16\"\n";
    std::fs::write(home.join("a.toml"), file).unwrap();
    let line = "train --config a.toml --steps 7 --valid x.idx --condition 0..4 --device cpu --quiet --out run";
    run(&home, line).succeeded();
    let config: serde_json::Value =
        serde_json::from_slice(&std::fs::read(home.join("run/config.json")).unwrap()).unwrap();
    assert_eq!((&config["training"]["steps"], &config["data"]["valid"]), (&7.into(), &"x.idx".into()));
    assert_eq!((&config["data"]["valid_fraction"], &config["input"]), (&0.0.into(), &12.into()));
    let toml = std::fs::read_to_string(home.join("run/run.toml")).unwrap();
    assert!(["epochs", "valid-fraction", "past", "future"].iter().all(|name| !toml.contains(name)), "{toml}");
    // And the other way, with `=`; a grid is the command line's too.
    run(&home, "train --config run/run.toml --epochs=1 --valid-fraction=0.5 --device cpu --quiet --out back")
        .succeeded();
    let toml = std::fs::read_to_string(home.join("back/run.toml")).unwrap();
    assert!(toml.contains("epochs = 1\n") && !toml.contains("steps ="), "{toml}");
    run(&home, "sweep --config back/run.toml --grid steps=2,3 --device cpu --quiet --out all").succeeded();
    // What the command line has twice is still refused.
    let both = run(&home, "train --config a.toml --steps 7 --epochs 3 --device cpu");
    assert_eq!(both.code, Some(2), "{}", both.stderr);
    let resumed = run(&home, "train --config a.toml --resume run --device cpu");
    assert!(resumed.code == Some(2) && resumed.stderr.contains("--resume <DIR>"), "{}", resumed.stderr);
}

/// A file that says a default asks for nothing, and every run leaves one that says them all; a choice of the command line
/// leaves out what of the file it does not use.
#[test]
fn what_a_file_says_may_be_unused_where_it_is_a_default_or_displaced() {
    let home = folder("unused");
    write_idx(&home.join("x.idx"), 30, 4);
    let train = "train --device cpu --quiet --steps 3 --hidden 4 --latent 2";
    let all = "data = \"x.idx\"\nvariance = \"fixed\"\nsigma = 1\nmean = \"identity\"\nbetas = [0.9, 0.999]\nmomentum = 0.9\n";
    std::fs::write(home.join("all.toml"), format!("{all}optimizer = \"sgd\"\n")).unwrap();
    run(&home, &format!("{train} --config all.toml --out first")).succeeded();
    let toml = std::fs::read_to_string(home.join("first/run.toml")).unwrap();
    assert!(toml.contains("sigma = 1\n") && toml.contains("momentum = 0.9\n"), "{toml}");
    run(&home, &format!("{train} --config first/run.toml --out again")).succeeded();
    std::fs::write(home.join("given.toml"), format!("{all}optimizer = \"sgd\"\n").replace("0.9\n", "0.8\n")).unwrap();
    run(&home, &format!("{train} --config given.toml --out none"))
        .refused(2, "momentum 0.8: the optimizer sgd has none; leave it out, or pass --optimizer momentum");
    // On the line the two are what PyTorch has them be.
    let rule = |how: &str, out: &str| run(&home, &format!("{train} --data x.idx {how} --out {out}")).succeeded();
    rule("--optimizer momentum --momentum 0.8", "momentum");
    rule("--momentum=0.8 --optimizer=sgd", "sgd-one");
    rule("--optimizer sgd --momentum 0.8", "sgd-two");
    run(&home, &format!("{train} --config sgd-two/run.toml --out sgd-again")).succeeded();
    let model = |name: &str| std::fs::read(home.join(name).join("model.safetensors")).unwrap();
    for name in ["sgd-one", "sgd-two", "sgd-again"] {
        assert!(model(name) == model("momentum"), "{name}");
    }
    rule("--optimizer sgd", "plain-sgd");
    assert!(model("plain-sgd") != model("momentum"));
    // What a grid is of, a file may say too, as every sweep's does; the run of the file keeps it.
    let sweep = "sweep --device cpu --quiet --config first/run.toml --grid latent=2,3";
    run(&home, &format!("{sweep} --out latents")).succeeded();
    let toml = std::fs::read_to_string(home.join("latents/sweep.toml")).unwrap();
    assert!(toml.contains("grid = [\"latent=2,3\"]"), "{toml}");
    run(&home, "sweep --resume latents --device cpu --quiet").succeeded();
    let gaussian = "--data x.idx --likelihood gaussian --sigma 0.5 --mean sigmoid";
    run(&home, &format!("{train} {gaussian} --out gaussian")).succeeded();
    run(&home, &format!("{train} --config gaussian/run.toml --variance shared --out shared")).succeeded();
    run(&home, &format!("{train} --config gaussian/run.toml --likelihood bernoulli --out bernoulli")).succeeded();
    let read = |name: &str| std::fs::read(home.join(name).join("config.json")).unwrap();
    run(&home, &format!("{train} --data x.idx --out plain")).succeeded();
    assert!(read("bernoulli") == read("plain"), "nothing of the gaussian is left");
    // Of a sweep, too, an option is for the runs that use it.
    let line =
        "sweep --data x.idx --device cpu --quiet --steps 3 --hidden 4 --grid optimizer=adam,momentum --momentum 0.8";
    run(&home, &format!("{line} --out all")).succeeded();
}

#[test]
fn what_is_no_option_is_named() {
    let home = folder("no-option");
    for (file, code, sentence) in [
        ("latent = \n", 2, "vae-gpu: config c.toml: line 1: "),
        ("steps = 3\nlr == 1\n", 2, "vae-gpu: config c.toml: line 2: "),
        ("[model]\nlatent = 3\n", 2, "vae-gpu: config c.toml: model = { latent = 3 }: must be a number, a word, true"),
        (
            "latnet = 3\n",
            2,
            "vae-gpu: config c.toml: latnet: train has no such option (the nearest is latent); see vae-gpu train --help",
        ),
        ("help = true\n", 2, "vae-gpu: config c.toml: help: is no option of a file; leave it out"),
        ("latent = \"many\"\n", 2, "error: invalid value 'many' for '--latent <N>'"),
        (
            "config = \"c.toml\"\n",
            2,
            "vae-gpu: config c.toml: config: a file takes no other in; write its options here",
        ),
    ] {
        std::fs::write(home.join("c.toml"), file).unwrap();
        let outcome = run(&home, "train --config c.toml --device cpu");
        assert_eq!(outcome.code, Some(code), "{file}: {}", outcome.stderr);
        assert!(outcome.stderr.starts_with(sentence), "{file}: {}", outcome.stderr);
    }
}

#[test]
fn shells_are_given_their_completions() {
    let home = folder("completions");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let text = run(&home, &format!("completions {shell}")).succeeded().stdout;
        assert!(text.contains("kl-warmup") && text.contains("vae-gpu"), "{shell}");
    }
    let script = home.join("vae-gpu.bash");
    std::fs::write(&script, run(&home, "completions bash").stdout).unwrap();
    match std::process::Command::new("bash").arg("-n").arg(&script).status() {
        Ok(status) => assert!(status.success(), "bash does not understand it"),
        Err(_) => println!("skipped: no bash"),
    }
}
