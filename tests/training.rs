//! Whole trainings, by the shipped program: what they leave, that they learn, and that nothing depends on how they ran.
#[path = "support/program.rs"]
mod program;
#[path = "support/runs.rs"]
mod runs;
use program::{folder, run, write_idx};
use runs::{assert_same_run, bytes, lines};
use std::sync::Arc;
use std::time::Duration;
use vae_gpu::checkpoint::{Folder, Saved};
use vae_gpu::config::*;
use vae_gpu::data::Dataset;
use vae_gpu::device::Device;
use vae_gpu::metrics::{self, Split};
use vae_gpu::schedule::Schedule;
use vae_gpu::trainer::{Ending, Progress, Saving, Trainer, Watch};

const SMALL: &str = "--hidden 17,9 --latent 5 --batch 16 --seed 3 --device cpu";

#[test]
fn a_run_leaves_its_files() {
    let home = folder("files");
    write_idx(&home.join("x.idx"), 103, 6);
    run(&home, &format!("train --data x.idx --epochs 2 {SMALL}")).succeeded();
    let run_dir = home.join("runs/x");
    let png = |name: &str| bytes(&run_dir, name).starts_with(b"\x89PNG");
    assert!(png("samples.png") && png("reconstructions.png"));
    assert!(bytes(&run_dir, "curves.svg").starts_with(b"<svg"));
    let config: serde_json::Value = serde_json::from_slice(&bytes(&run_dir, "config.json")).unwrap();
    assert_eq!(config["hidden"], serde_json::json!([17, 9]));
    assert_eq!(config["input"], 36);
    let lines = lines(&run_dir);
    assert_eq!(lines.iter().map(|r| r.step).collect::<Vec<_>>(), [7, 14]); // 103 examples are seven batches of 16
    for r in lines {
        assert!((r.elbo + r.nll + r.kl).abs() < 1e-9 && (r.loss + r.elbo).abs() < 1e-4, "{r:?}");
    }
}

#[test]
fn training_raises_the_bound() {
    let home = folder("learns");
    let line = "train --steps 300 --hidden 64 --latent 8 --batch 50 --log-every 50 --device cpu --out run --quiet";
    run(&home, line).succeeded();
    let records = metrics::read(&home.join("run/metrics.jsonl")).unwrap();
    let train: Vec<f64> = records.iter().filter(|r| r.split == Split::Train).map(|r| r.elbo).collect();
    // A constant guess of every pixel's mean scores about −200 on these digits.
    assert!(train[0] < train[5] && train[5] > -185.0, "{train:?}");
}

#[test]
fn the_same_seed_gives_the_same_bytes_with_any_number_of_threads() {
    let home = folder("seed");
    write_idx(&home.join("x.idx"), 205, 8);
    for (i, threads) in [1, 2, 1, 2, 3].iter().enumerate() {
        let line = format!(
            "train --data x.idx --epochs 3 --hidden 200,33 --latent 7 --batch 64 --binarize dynamic --samples 2 \
             --valid-fraction 0.1 --device cpu --out run{i} --threads {threads} --quiet"
        );
        run(&home, &line).succeeded();
        assert_same_run(&home.join("run0"), &home.join(format!("run{i}")), &format!("{threads} threads"));
    }
    run(&home, "train --data x.idx --epochs 3 --hidden 200,33 --latent 7 --seed 1 --out other --quiet").succeeded();
    assert_ne!(bytes(&home.join("run0"), "model.safetensors"), bytes(&home.join("other"), "model.safetensors"));
}

/// The data that are built in are made by several threads: those, too, are no more than was asked for.
#[test]
#[cfg(target_os = "linux")]
fn a_training_has_as_many_threads_as_were_asked_for() {
    let home = folder("asked");
    for threads in [1, 3] {
        let line =
            format!("train --threads {threads} --steps 10000000 --hidden 4 --device cpu --out run --force --quiet");
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut child = program::command(&home, &words).spawn().unwrap();
        let metrics = home.join("run/metrics.jsonl");
        while !std::fs::metadata(&metrics).is_ok_and(|m| m.len() > 0) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let tasks = std::fs::read_dir(format!("/proc/{}/task", child.id())).unwrap().count();
        child.kill().unwrap();
        child.wait().unwrap();
        std::fs::remove_dir_all(home.join("run")).unwrap();
        assert_eq!(tasks, threads + 1, "with the one that waits for them");
    }
}

/// Stops after a step.
struct StopAt {
    at: u32,
    step: u32,
}

impl Watch for StopAt {
    fn progress(&mut self, progress: &Progress) {
        self.step = progress.step;
    }
    fn stop(&mut self) -> bool {
        self.step >= self.at
    }
}

/// Trains until a step, or until the training ends by itself. Saving after every step makes every stretch one step long.
fn train_until(run: &Run, at: u32, folder: &Folder, data: &Arc<Dataset>, valid: Option<&Arc<Dataset>>, saving: Saving) {
    let (device, _) = Device::find("cpu", run.training.precision).unwrap();
    let saved = folder.checkpoint().exists().then(|| Saved::read(&folder.checkpoint()).unwrap());
    let mut trainer =
        Trainer::new(run.clone(), folder.hold().unwrap(), saving, data, valid, &device, saved.as_ref()).unwrap();
    // A stop at the last step would cut its validation short.
    let stop = if at == run.training.steps { u32::MAX } else { at };
    let outcome = trainer.run(&mut StopAt { at: stop, step: 0 }).unwrap();
    assert!(outcome.steps == at || outcome.ending == Ending::Patience && outcome.steps < at, "{outcome:?}");
}

#[test]
fn a_run_that_was_cut_anywhere_ends_in_the_bytes_of_one_that_was_not() {
    let home = folder("cut");
    write_idx(&home.join("x.idx"), 103, 6);
    let (data, valid) = Dataset::read(&home.join("x.idx")).unwrap().split(0.2).unwrap();
    let (data, valid) = (Arc::new(data), Arc::new(valid));
    let run = |rule: Rule, change: &dyn Fn(&mut Run)| {
        let mut run = Run {
            model: Model::new(36, &[17, 9], 5),
            training: Training { optimizer: Optimizer::new(rule), seed: 3, log_every: 6, ..Training::new(16, 40) },
            data: Source { valid_fraction: 0.2, ..Source::new("x.idx", data.rows()) },
        };
        change(&mut run);
        run
    };
    let runs = [
        run(Rule::Adam, &|r| {
            (r.training.lr_schedule, r.training.lr_warmup, r.training.kl_warmup) = (Schedule::Cosine, 5, 9)
        }),
        run(Rule::Adam, &|r| {
            // Overfits: the best model is an early one, and patience ends the training at some step of its own.
            (r.training.optimizer.lr, r.training.patience, r.training.steps) = (0.02, 3, 4000);
            r.training.lr_schedule = Schedule::Step { epochs: 2, factor: 0.9 };
        }),
        run(Rule::Adamw, &|r| {
            (r.model.objective, r.model.samples, r.data.binarize) = (Objective::Iwae, 3, Binarize::Dynamic);
            r.training.optimizer.clip_norm = 1.0;
        }),
        run(Rule::Momentum, &|r| (r.training.optimizer.lr, r.training.patience) = (1e-4, 50)),
        run(Rule::Adagrad, &|r| (r.model.objective, r.model.samples) = (Objective::ElboMc, 2)),
        run(Rule::Sgd, &|r| {
            (r.model.likelihood, r.model.variance) = (Likelihood::Gaussian, Variance::Network);
            r.training.optimizer.lr = 1e-4;
        }),
        run(Rule::Adam, &|r| (r.training.precision, r.model.free_bits) = (Numbers::F64, 0.1)),
    ];
    for (i, run) in runs.iter().enumerate() {
        let (whole, cut) = (Folder(home.join(format!("whole{i}"))), Folder(home.join(format!("cut{i}"))));
        let end = run.training.steps;
        train_until(run, end, &whole, &data, Some(&valid), Saving::Every(Duration::from_secs(3600)));
        // Twenty anywhere: in mid-epoch, at the end of an epoch of 6 steps, at a line of metrics, and next to them.
        let mut cuts: Vec<u32> = (0..40).collect();
        cuts.sort_by_key(|&at| (at * 29 + 7 * i as u32) % 41);
        cuts.truncate(20);
        cuts.extend([1, 6, 40]);
        cuts.sort();
        cuts.dedup();
        for at in cuts.into_iter().filter(|&at| at > 0) {
            train_until(run, at, &cut, &data, Some(&valid), Saving::Steps(1));
        }
        train_until(run, end, &cut, &data, Some(&valid), Saving::Steps(1));
        assert_same_run(&whole.0, &cut.0, &format!("run {i}, {:?}", run.training.optimizer.rule));
    }
}

#[test]
fn the_best_model_is_kept_and_patience_ends_a_run() {
    let home = folder("patience");
    write_idx(&home.join("x.idx"), 60, 6);
    // Noise cannot be learnt: the model overfits, and validation gets worse.
    let line = "train --data x.idx --epochs 400 --hidden 128 --latent 8 --batch 10 --lr 0.003 --valid-fraction 0.3 \
                --patience 5 --device cpu --out run --json";
    let outcome = run(&home, line).succeeded();
    let summary: serde_json::Value = serde_json::from_str(outcome.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(summary["ending"], "patience");
    let valid: Vec<_> =
        lines(&home.join("run")).into_iter().filter(|r| r.split == Split::Valid).map(|r| r.elbo).collect();
    let best = valid.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    assert_eq!(summary["best"]["elbo"], best);
    assert_eq!(valid.iter().position(|&e| e == best).unwrap() + 6, valid.len(), "five epochs without a better one");
    assert_ne!(bytes(&home.join("run"), "model.safetensors"), bytes(&home.join("run"), "checkpoint.safetensors"));
}

/// With weights of zero the decoder gives its bias, whatever z is.
#[test]
fn the_output_bias_may_begin_with_the_data() {
    let home = folder("bias");
    write_idx(&home.join("x.idx"), 103, 6);
    let data = Dataset::read(&home.join("x.idx")).unwrap().to_rows();
    let column = |j: usize, f: &dyn Fn(f32) -> f64| data.iter().skip(j).step_by(36).map(|&x| f(x)).sum::<f64>() / 103.0;
    let grey = |x: f32| x as f64;
    let bright = |x: f32| (x >= 0.5) as u8 as f64;
    let models: [(&str, &dyn Fn(f32) -> f64); 4] = [
        ("", &grey),
        ("--binarize threshold", &bright),
        ("--likelihood gaussian", &grey),
        ("--likelihood gaussian --mean sigmoid --binarize dynamic", &grey),
    ];
    for (model, of) in models {
        let train =
            "train --data x.idx --init normal:0 --init-output-bias data --lr 1e-30 --steps 1 --out run --force --quiet";
        run(&home, &format!("{train} --hidden 9 --device cpu {model}")).succeeded();
        run(&home, "sample run --count 2 --to s.npy --force --device cpu --quiet").succeeded();
        let drawn = Dataset::read(&home.join("s.npy")).unwrap().to_rows();
        for (j, got) in drawn.iter().enumerate() {
            let want = column(j % 36, of);
            assert!((*got as f64 - want).abs() < 1e-6, "{model}: column {}: got {got}, want {want}", j % 36); // f32
        }
    }
}

/// What decides the numbers of a run is its own: none of it is changed on the way, and nothing is ignored in silence.
#[test]
fn a_run_that_goes_on_keeps_its_settings() {
    let home = folder("settings");
    write_idx(&home.join("x.idx"), 60, 4);
    let train = "train --data x.idx --steps 4 --hidden 5 --latent 2 --batch 10 --device cpu --out run --quiet";
    run(&home, train).succeeded();
    let help = run(&home, "train --help").succeeded().stdout;
    let options = help.split_whitespace().filter(|word| word.starts_with("--") && word.len() > 2);
    let options = options.map(|word| word.trim_matches(|c: char| !c.is_ascii_alphabetic()));
    let (mut options, mut refused) = (options.collect::<Vec<_>>(), 0);
    options.sort();
    options.dedup();
    // What concerns the machine, the disk and the screen.
    let free = ["device", "threads", "save-every", "json", "quiet", "help", "resume"];
    for option in options.into_iter().filter(|option| !free.contains(option)) {
        let value = match option {
            "force" => "",
            "betas" => "0.5,0.5",
            "config" => "run/run.toml",
            "condition" | "past" | "future" => "0..1",
            "activation" => "tanh",
            "scale" => "minmax",
            "likelihood" => "gaussian",
            "variance" => "scalar",
            "mean" => "sigmoid",
            "binarize" => "threshold",
            "objective" => "iwae",
            "optimizer" => "sgd",
            "lr-schedule" => "cosine",
            "init" => "torch",
            "init-output-bias" => "data",
            "on-nan" => "skip",
            "algorithm" => "fastest",
            "precision" => "f64",
            "sigma" | "beta" | "lr" | "eps" | "momentum" | "valid-fraction" => "0.5",
            _ => "3",
        };
        let outcome = run(&home, &format!("train --resume run --{option} {value}"));
        let conflict = outcome.stderr.contains("cannot be used with '--resume <DIR>'")
            || outcome.stderr.contains("the argument '--resume <DIR>' cannot be used with");
        let kept = outcome.stderr.contains("a run that goes on keeps its own");
        assert!(outcome.code == Some(2) && (conflict || kept), "--{option} {value}: {}", outcome.stderr);
        refused += 1;
    }
    assert!(refused > 35, "{refused} options were found in --help");
    // The data is what it was.
    write_idx(&home.join("x.idx"), 60, 4);
    run(&home, "train --resume run --device cpu --quiet").succeeded();
    let mut bytes = std::fs::read(home.join("x.idx")).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(home.join("x.idx"), bytes).unwrap();
    run(&home, "train --resume run --device cpu --quiet")
        .refused(1, "x.idx: its numbers are not those that the run began with; give the same file, or begin a new run");
}
