//! Whole trainings, by the shipped program: what they leave, that they learn, and that nothing depends on how they ran.
#[path = "support/program.rs"]
mod program;
use program::{folder, run, write_idx};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use vae_gpu::checkpoint::{Folder, Saved};
use vae_gpu::config::*;
use vae_gpu::data::Dataset;
use vae_gpu::device::Device;
use vae_gpu::metrics::{self, Record, Split};
use vae_gpu::schedule::Schedule;
use vae_gpu::trainer::{Progress, Saving, Trainer, Watch};

const SMALL: &str = "--hidden 17,9 --latent 5 --batch 16 --seed 3 --device cpu";

fn bytes(run: &Path, file: &str) -> Vec<u8> {
    std::fs::read(run.join(file)).unwrap_or_else(|e| panic!("{}/{file}: {e}", run.display()))
}

/// The lines of metrics, but for what depends on the clock.
fn lines(run: &Path) -> Vec<Record> {
    let records = metrics::read(&run.join("metrics.jsonl")).unwrap();
    records.into_iter().map(|r| Record { examples_per_s: 0.0, ..r }).collect()
}

/// The tensors of a checkpoint: all of its bytes but the seconds in its header.
fn state(run: &Path) -> vae_gpu::tensors::Tensors {
    let mut tensors = vae_gpu::tensors::Tensors::read(&run.join("checkpoint.safetensors")).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&tensors.metadata["config"]).unwrap();
    config["position"]["seconds"] = 0.into();
    tensors.metadata.insert("config".into(), config.to_string());
    tensors
}

fn assert_same_run(a: &Path, b: &Path, what: &str) {
    assert!(bytes(a, "model.safetensors") == bytes(b, "model.safetensors"), "{what}: the models differ");
    let (x, y) = (state(a), state(b));
    assert_eq!(x.metadata, y.metadata, "{what}");
    for (name, tensor) in &x.tensors {
        let bits = |t: &vae_gpu::tensors::Tensor| t.values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert!(bits(tensor) == bits(&y.tensors[name]), "{what}: {name} differs");
    }
    assert_eq!(lines(a), lines(b), "{what}");
}

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

/// Stops after a step.
struct StopAt {
    at: u32,
    step: u32,
}

impl Watch for StopAt {
    fn progress(&mut self, progress: &Progress) {
        self.step = progress.step;
    }
    fn record(&mut self, _: &Record) {}
    fn stop(&mut self) -> bool {
        self.step >= self.at
    }
}

/// Trains until a step. Saving after every step makes every stretch one step long.
fn train_until(run: &Run, at: u32, folder: &Folder, data: &Arc<Dataset>, valid: Option<&Arc<Dataset>>, saving: Saving) {
    let (device, _) = Device::find("cpu", run.training.precision).unwrap();
    let saved = folder.checkpoint().exists().then(|| Saved::read(&folder.checkpoint()).unwrap());
    let mut trainer = Trainer::new(run.clone(), folder.clone(), saving, data, valid, &device, saved.as_ref()).unwrap();
    let outcome = trainer.run(&mut StopAt { at, step: 0 }).unwrap();
    assert_eq!(outcome.steps, at);
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
            training: Training {
                batch: 16,
                steps: 40,
                optimizer: Optimizer::new(rule),
                lr_schedule: Schedule::Constant,
                lr_warmup: 0,
                kl_warmup: 0,
                init: Init::Glorot,
                init_output_bias: OutputBias::Init,
                seed: 3,
                precision: Numbers::Fp32,
                patience: 0,
                log_every: 6,
            },
            data: Source {
                train: "x.idx".into(),
                valid: None,
                valid_fraction: 0.2,
                rows: data.rows(),
                condition: None,
                shape: None,
                binarize: Binarize::None,
            },
        };
        change(&mut run);
        run
    };
    let runs = [
        run(Rule::Adam, &|r| {
            (r.training.lr_schedule, r.training.lr_warmup, r.training.kl_warmup) = (Schedule::Cosine, 5, 9)
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
        train_until(run, 40, &whole, &data, Some(&valid), Saving::Every(Duration::from_secs(3600)));
        // In mid-epoch, at the end of an epoch of 6 steps, at a line of metrics, and next to them.
        for at in [1, 5, 6, 7, 18, 29, 40] {
            train_until(run, at, &cut, &data, Some(&valid), Saving::Steps(1));
        }
        assert_same_run(&whole.0, &cut.0, &format!("{:?}", run.training.optimizer.rule));
    }
}

#[test]
fn ctrl_c_finishes_the_step_saves_and_exits_130() {
    let home = folder("interrupt");
    let args = "train --steps 1000000 --hidden 32 --latent 4 --device cpu --out run";
    let mut child = program::command(&home, &args.split_whitespace().collect::<Vec<_>>());
    let mut child = child.stderr(std::process::Stdio::piped()).spawn().unwrap();
    // Training has begun once metrics are there.
    let metrics = home.join("run/metrics.jsonl");
    for _ in 0..600 {
        if std::fs::metadata(&metrics).is_ok_and(|m| m.len() > 0) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let mut stderr = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut stderr).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{stderr}");
    assert!(stderr.contains("saved: vae-gpu train --resume run goes on"), "{stderr}");
    run(&home, "eval run --device cpu").succeeded();
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

#[test]
fn a_loss_that_is_not_finite_stops_the_training_and_keeps_the_checkpoint() {
    let home = folder("nan");
    write_idx(&home.join("x.idx"), 103, 6);
    let line = format!("train --data x.idx --steps 500 --save-every 1 --out run {SMALL} --optimizer sgd --lr 1e30");
    let outcome = run(&home, &line);
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    let last = outcome.stderr.lines().last().unwrap();
    assert!(last.starts_with("vae-gpu: step ") && last.contains("not finite: "), "{last}");
    assert!(last.contains("the last checkpoint in run is kept"), "{last}");
    run(&home, "eval run/checkpoint.safetensors --data x.idx --device cpu");
    assert!(vae_gpu::tensors::Tensors::read(&home.join("run/checkpoint.safetensors")).is_ok());
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
