//! Whole trainings, by the shipped program: what they leave, that they learn, and that nothing depends on how they ran.
use crate::program::{self, folder, run, write_idx};
use crate::runs::{self, assert_same_run, bytes, lines};
use std::sync::Arc;
use std::time::Duration;
use vae_gpu::checkpoint::{Folder, Saved};
use vae_gpu::config::*;
use vae_gpu::data::Dataset;
use vae_gpu::device::Device;
use vae_gpu::metrics::{self, Split};
use vae_gpu::schedule::Schedule;
use vae_gpu::tensors::Tensors;
use vae_gpu::trainer::{Begin, Ending, Progress, Saving, Trainer, Watch};

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

/// Of an epoch of 21 steps and a line after every second a last line of one batch would be a draw.
#[test]
fn the_line_of_an_epoch_is_of_all_of_it() {
    let home = folder("epoch-lines");
    write_idx(&home.join("x.idx"), 210, 6);
    let lines = |options: &str, out: &str| {
        let train = "train --data x.idx --batch 10 --hidden 9 --latent 3 --lr 0.01 --device cpu --quiet";
        run(&home, &format!("{train} {options} --out {out}")).succeeded();
        lines(&home.join(out))
    };
    let each = lines("--epochs 2 --log-every 1", "each");
    // The epoch's mean and the 20 steps before leave the last one, which is hardly another than that.
    let of_last = 21.0 * each[20].loss - each[..20].iter().map(|r| r.loss).sum::<f64>();
    let fell = each[0].loss - each[19].loss;
    assert!(fell > 0.5 && (of_last - each[19].loss).abs() < fell / 2.0, "{of_last}, fell by {fell}: {each:?}");
    for every in [2, 1000] {
        let others = lines(&format!("--epochs 2 --log-every {every}"), &format!("every{every}"));
        let end = others.last().unwrap();
        assert_eq!((end.step, end.loss, end.nll, end.kl), (42, each[41].loss, each[41].nll, each[41].kl));
    }
    // A run that ends a step into an epoch tells the one before with it.
    let beyond = lines("--steps 43", "beyond");
    let end = beyond.last().unwrap();
    assert!(end.step == 43 && (end.loss - each[41].loss).abs() < 0.1 * fell, "{end:?}");
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
        assert_eq!(tasks, threads + 2, "with the one that waits for them, and the one that waits for signals");
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
    let mut trainer = Trainer::new(
        run.clone(),
        folder.hold().unwrap(),
        saving,
        data,
        valid,
        &device,
        saved.as_ref().map_or(Begin::New, Begin::Again),
    )
    .unwrap();
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

/// Once more, or twice, or over the end of a mean of the metrics: as if it had been asked for at once.
#[test]
fn a_run_that_is_trained_on_ends_in_the_bytes_of_one_as_long() {
    let home = folder("longer");
    write_idx(&home.join("x.idx"), 103, 6);
    for (i, (options, lengths)) in [
        ("--optimizer adam", ["--epochs 2", "--epochs 5", "--epochs 6"]),
        (
            "--optimizer momentum --lr 1e-3 --lr-schedule step:2:0.5 --kl-warmup 20 --log-every 3",
            ["--steps 7", "--steps 21", "--epochs 6"],
        ),
        (
            "--optimizer adagrad --valid-fraction 0.2 --patience 2 --lr-warmup 9",
            ["--epochs 1", "--epochs 2", "--steps 36"],
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let train = |out: &str, length: &str| {
            let line = format!("train --data x.idx {SMALL} {options} {length} --quiet --out {out}{i}");
            run(&home, &line).succeeded();
        };
        let [first, then, last] = lengths;
        train("want", last);
        train("run", first);
        for length in [then, last] {
            run(&home, &format!("train --resume run{i} {length} --device cpu --quiet")).succeeded();
        }
        let [want, run] = ["want", "run"].map(|name| home.join(format!("{name}{i}")));
        assert_same_run(&run, &want, options);
        assert!(bytes(&run, "run.toml") == bytes(&want, "run.toml"), "what repeats it is as long");
        assert!(bytes(&run, "config.json") == bytes(&want, "config.json"), "its configuration is as long");
    }
    // What is complete says how it would go on; shorter than what was done is nothing, nor is another end of a cosine.
    let said = run(&home, "train --resume run0 --device cpu").succeeded().stderr;
    assert!(said.contains("nothing is left to do: --epochs or --steps, of more than it has, trains it on"), "{said}");
    // A run that lost patience, too: with more of it, it is the one that had more from the beginning.
    let stale = format!("train --data x.idx --valid x.idx --lr 1e-20 {SMALL} --quiet --epochs 9");
    run(&home, &format!("{stale} --patience 2 --out stale")).succeeded();
    let said = run(&home, "train --resume stale --epochs 12 --device cpu").succeeded().stderr;
    let note = "nothing is left to do: 2 epochs without a better validation; --patience, of more, or 0, trains it on";
    assert!(said.contains(note), "{said}");
    run(&home, "train --resume stale --epochs 9 --patience 4 --device cpu --quiet").succeeded();
    run(&home, &format!("{stale} --patience 4 --out patient")).succeeded();
    let [stale, patient] = ["stale", "patient"].map(|name| home.join(name));
    // The best model was kept before, and tells of the run as it was then.
    assert!(runs::tensors(&stale) == runs::tensors(&patient));
    assert_eq!(runs::lines(&stale), runs::lines(&patient));
    assert!(bytes(&stale, "run.toml") == bytes(&patient, "run.toml"), "what repeats it waits as long");
    run(&home, "train --resume run0 --epochs 5 --device cpu")
        .refused(2, "epochs 5: the run has done 42 steps already, and that is 35; pass more, or leave it out");
    run(&home, &format!("train --data x.idx {SMALL} --epochs 2 --lr-schedule cosine --quiet --out cosine")).succeeded();
    run(&home, "train --resume cosine --epochs 2 --device cpu --quiet").succeeded();
    run(&home, "train --resume cosine --epochs 3 --device cpu --quiet").refused(
        2,
        "epochs 3: the learning rate of the run falls to 0 at step 14, as --lr-schedule cosine has it, and was another at every \
         step of a longer one; leave it out, or begin a new run",
    );
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
    // In words: what was kept, where it is not the last; as the table of runs has it.
    let said = run(&home, &line.replace("--json", "--force")).succeeded().stderr;
    let (epoch, last) = (&summary["best"]["epoch"], valid.last().unwrap());
    let kept = format!("valid elbo {last:.2} nats per example; kept epoch {epoch}: valid elbo {best:.2}; see run/");
    assert!(said.lines().last().unwrap().contains(&kept), "{said}");
    let table = run(&home, "compare run").succeeded().stdout;
    assert!(table.contains(&format!(" {best:.2} ")), "{table}");
    let first = run(&home, &line.replace("--json", "--force").replace("--epochs 400", "--epochs 1")).succeeded().stderr;
    assert!(!first.contains("kept epoch"), "the last is the best: {first}");
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
    // What concerns the machine, the disk and the screen; and how long it is.
    let free = [
        "device",
        "threads",
        "save-every",
        "json",
        "quiet",
        "help",
        "resume",
        "epochs",
        "steps",
        "patience",
        "on-nan",
        "data",
        "valid",
    ];
    for option in options.into_iter().filter(|option| !free.contains(option)) {
        let value = match option {
            "force" => "",
            "betas" => "0.5,0.5",
            "config" => "run/run.toml",
            "condition" | "past" | "future" => "0..1",
            "activation" => "tanh",
            "scale" => "minmax",
            "missing" => "allow",
            "header" => "no",
            "likelihood" => "gaussian",
            "variance" | "dispersion" => "scalar",
            "mean" => "sigmoid",
            "size-factor" => "total",
            "binarize" => "threshold",
            "objective" => "iwae",
            "gradient" => "path",
            "optimizer" => "sgd",
            "lr-schedule" => "cosine",
            "init" => "torch",
            "init-output-bias" => "data",
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
        .refused(1, "x.idx: its numbers are not those that the run began with; give the same file, or pass --data FILE of them, or begin a new run");
    // Nor is a page drawn of other data under the name of the run's, unless they are named.
    let page = std::fs::read(home.join("run/report.html")).unwrap();
    run(&home, "report run --device cpu").refused(
        1,
        "x.idx: its numbers are not those that the run began with; give the same file, or pass --data FILE, of which to draw",
    );
    assert!(std::fs::read(home.join("run/report.html")).unwrap() == page);
    run(&home, "report run --data x.idx --device cpu").succeeded();
    // A path is from where the run was started.
    let away = home.join("away");
    std::fs::create_dir(&away).unwrap();
    let gone = "x.idx: is not there; the run keeps the path as it was given, and it begins where the run was started: go there, or";
    run(&away, "train --resume ../run --device cpu")
        .refused(1, &format!("{gone} pass --data FILE of them, or begin a new run"));
    run(&away, "report ../run --device cpu").refused(1, &format!("{gone} pass --data FILE, of which to draw"));
    // Where they are now may be said, and is kept; other data are not taken.
    write_idx(&away.join("moved.idx"), 60, 4);
    write_idx(&away.join("other.idx"), 60, 4);
    let mut bytes = std::fs::read(away.join("other.idx")).unwrap();
    bytes[20] ^= 1;
    std::fs::write(away.join("other.idx"), bytes).unwrap();
    let resumed = "train --resume run --steps 6 --device cpu --quiet --data";
    run(&home, &format!("{resumed} away/other.idx")).refused(
        1,
        "away/other.idx: its numbers are not those that the run began with; give the same file, or begin a new run with its weights, by \
         --start",
    );
    run(&home, &format!("{resumed} away/moved.idx")).succeeded();
    // Where its columns stand elsewhere, what repeats the run would count other ones.
    std::fs::write(
        home.join("t.csv"),
        (0..30).fold("a,b,c\n".into(), |t, i| format!("{t}{},{},{}\n", i, i % 3, i % 7)),
    )
    .unwrap();
    std::fs::write(
        home.join("u.csv"),
        (0..30).fold("c,b,a\n".into(), |t, i| format!("{t}{},{},{}\n", i % 7, i % 3, i)),
    )
    .unwrap();
    for (out, columns) in [("some", "--columns 0..2"), ("all", "")] {
        let line = format!(
            "train --data t.csv {columns} --likelihood gaussian --hidden 3 --latent 1 --epochs 1 --valid-fraction .5"
        );
        run(&home, &format!("{line} --lr .001 --batch 05 --device cpu --quiet --out {out}")).succeeded();
        run(&home, &format!("train --resume {out} --epochs 2 --data u.csv --device cpu --quiet")).refused(
            2,
            "data u.csv: its columns stand elsewhere than those that the run began with, and what repeats the run counts them; give \
             them as they stood",
        );
        // Numbers stand there as toml has them, however they were written.
        run(&home, &format!("train --config {out}/run.toml --device cpu --quiet --out {out}-again")).succeeded();
        let model = |run: &str| std::fs::read(home.join(run).join("model.safetensors")).unwrap();
        assert!(model(out) == model(&format!("{out}-again")));
    }
    run(&home, "train --resume run --steps 7 --device cpu --quiet").succeeded();
    let kept = std::fs::read_to_string(home.join("run/run.toml")).unwrap();
    assert!(kept.contains("data = \"away/moved.idx\"") && kept.contains("steps = 7"), "{kept}");
}

/// 80 points around a circle, in four columns.
fn write_circle(path: &std::path::Path) {
    let row = |i: u32| {
        let (s, c) = (i as f64 * 2.4).sin_cos();
        format!("{s:.4},{c:.4},{:.4},{:.4}\n", s + 0.5 * c, c - s)
    };
    std::fs::write(path, (0..80).map(row).collect::<String>()).unwrap();
}

const CIRCLE: &str = "train --data c.csv --likelihood gaussian --sigma 0.3 --hidden 16 --latent 3 --batch 16 --lr 0.01 \
                      --valid-fraction 0.25 --device cpu --quiet";

fn valid_lines(run: &std::path::Path) -> Vec<metrics::Record> {
    lines(run).into_iter().filter(|r| r.split == Split::Valid).collect()
}

fn best(run: &std::path::Path) -> Option<vae_gpu::checkpoint::Best> {
    Saved::read(&run.join("checkpoint.safetensors")).unwrap().position().unwrap().best
}

/// With a small beta the KL may grow: by the elbo an early model is the best, by what is trained a late one.
#[test]
fn the_model_is_kept_that_is_best_by_what_is_trained() {
    let home = folder("by-loss");
    write_circle(&home.join("c.csv"));
    let line = format!("{CIRCLE} --beta 0.01 --epochs 60 --out run").replace("--quiet", "");
    let said = run(&home, &line).succeeded().stderr;
    let valid = valid_lines(&home.join("run"));
    for r in &valid {
        // the KL of an example, and the sum of the means of its dimensions: rounded apart, in f32
        assert!((r.loss - (r.nll + 0.01 * r.kl)).abs() < 1e-5 * r.nll.abs().max(1.0), "{r:?}");
        assert!((r.elbo + r.nll + r.kl).abs() < 1e-9, "{r:?}");
    }
    let by = |of: &dyn Fn(&metrics::Record) -> f64| valid.iter().min_by(|a, b| of(a).total_cmp(&of(b))).unwrap();
    let (by_loss, by_elbo) = (by(&|r| r.loss), by(&|r| -r.elbo));
    assert!(by_elbo.epoch < 25.0 && by_loss.epoch > 40.0, "{by_elbo:?} {by_loss:?}");
    let kept = best(&home.join("run")).unwrap();
    assert_eq!((kept.epoch as f64, kept.elbo, kept.loss), (by_loss.epoch, by_loss.elbo, Some(by_loss.loss)));
    let table = run(&home, "compare run --json").succeeded().stdout;
    let table: serde_json::Value = serde_json::from_str(&table).unwrap();
    assert_eq!(table["runs"][0]["best_epoch"], by_loss.epoch);
    // What chose it is told, or a model of a lower elbo than the last would seem a mistake.
    let last = said.lines().last().unwrap();
    let chosen = format!(", loss {:.2}; see run/report.html", by_loss.loss);
    assert!(last.ends_with(&chosen) && said.contains("  loss "), "{last}");
}

#[test]
fn a_warm_up_that_outlasts_the_training_is_told() {
    let home = folder("warm-ups");
    write_circle(&home.join("c.csv"));
    let line = format!("{CIRCLE} --epochs 1 --kl-warmup 1000 --lr-warmup 500 --out run").replace("--quiet", "");
    let said = run(&home, &line).succeeded().stderr;
    let steps = said.split(" steps of ").next().unwrap().split_whitespace().last().unwrap().to_string();
    for (name, of) in [("kl-warmup 1000", "beta that validation goes by"), ("lr-warmup 500", "learning rate")] {
        let warmup: f64 = name.split(' ').nth(1).unwrap().parse().unwrap();
        let part = 100.0 * steps.parse::<f64>().unwrap() / warmup;
        let sentence = format!("{name}: the training ends after {steps} steps, at {part:.0} % of the {of}");
        assert!(said.lines().any(|line| line == sentence), "{sentence}: {said}");
    }
}

#[test]
fn what_has_no_effect_at_beta_0_is_told_and_trained() {
    let home = folder("beta-0");
    write_circle(&home.join("c.csv"));
    let line = format!("{CIRCLE} --epochs 1 --beta 0 --free-bits 0.5 --kl-warmup 3 --out run").replace("--quiet", "");
    let said = run(&home, &line).succeeded().stderr;
    assert!(said.contains("free-bits 0.5: without effect at beta 0, where the KL costs nothing anyway"), "{said}");
    assert!(said.contains("kl-warmup 3: without effect at beta 0, to which nothing warms up"), "{said}");
    run(&home, "eval run --data c.csv --device cpu").succeeded();
    let line = format!("{CIRCLE} --epochs 1 --kl-warmup 1000 --out sweep --grid beta=0,1 --sigma 0.3");
    let said = run(&home, &line.replace("--quiet", "").replacen("train", "sweep", 1).replacen("--sigma 0.3", "", 1));
    let said = said.succeeded().stderr;
    assert!(
        said.contains("kl-warmup 1000: without effect") && said.contains("kl-warmup 1000: the training ends"),
        "{said}"
    );
}

/// Where iwae stands beside others the table says what its order is by; what a run does not use is no setting of its.
#[test]
fn a_table_of_objectives_says_what_its_order_is() {
    let home = folder("objectives");
    write_circle(&home.join("c.csv"));
    for (name, options) in [
        ("elbo", ""),
        ("iwae", "--objective iwae --samples 5"),
        ("learned", "--variance shared"),
        ("given", "--sigma 0.5"),
    ] {
        run(&home, &format!("{} --epochs 1 {options} --out {name}", CIRCLE.replace("--sigma 0.3", ""))).succeeded();
    }
    let note = "rows stand by the elbo, which iwae does not maximise: with --data FILE they stand by L_K";
    let said = |runs: &str| run(&home, &format!("compare {runs}")).succeeded();
    assert!(said("elbo iwae").stderr.contains(note) && !said("elbo learned").stderr.contains("iwae"));
    let table = run(&home, "compare learned given --json").succeeded().stdout;
    let sigmas: Vec<serde_json::Value> = table
        .lines()
        .map(|row| serde_json::from_str::<serde_json::Value>(row).unwrap()["options"]["sigma"].clone())
        .collect();
    assert!(sigmas.contains(&0.5.into()) && sigmas.contains(&serde_json::Value::Null), "{table}");
}

/// Each objective's own bound, with its samples, and free bits: what `eval` says of the model and the same examples.
#[test]
fn validation_has_the_loss_of_the_objective() {
    let home = folder("own-loss");
    write_circle(&home.join("c.csv"));
    write_circle(&home.join("v.csv"));
    let common = CIRCLE.replace("--valid-fraction 0.25", "--valid v.csv --precision f64 --epochs 1");
    let evaluated = |options: &str, samples: u32| {
        run(&home, &format!("{common} {options} --out run --force")).succeeded();
        let line = format!("eval run --data v.csv --samples {samples} --precision f64 --device cpu --json");
        let eval: serde_json::Value = run(&home, &line).json();
        (eval, valid_lines(&home.join("run")).pop().unwrap())
    };
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a} {b}"); // sums in another order
    let (eval, line) = evaluated("--objective iwae --samples 7", 7);
    close(line.loss, -eval["iwae"].as_f64().unwrap());
    close(line.elbo, eval["elbo"].as_f64().unwrap());
    assert!(line.loss < -line.elbo, "L_7 is nearer than the elbo: {line:?}");
    let (eval, line) = evaluated("--objective elbo-mc --beta 0.5 --samples 5", 5);
    close(line.nll, eval["nll"].as_f64().unwrap());
    // In expectation the same as by the KL in closed form: 80 examples of 5 samples, log-ratios of a few nats.
    let closed = line.nll + 0.5 * line.kl;
    assert!(line.loss != closed && (line.loss - closed).abs() < 0.5, "{line:?}");
    let (eval, line) = evaluated("--free-bits 0.4 --beta 2 --samples 3", 1);
    let kl: f64 = eval["kl_per_dim"].as_array().unwrap().iter().map(|kl| kl.as_f64().unwrap().max(0.4)).sum();
    close(line.loss, eval["nll"].as_f64().unwrap() + 2.0 * kl);
    let (_, line) = evaluated("--samples 3", 1);
    assert_eq!((line.loss, best(&home.join("run")).unwrap().loss), (-line.elbo, None));
}

/// While beta rises, the elbo at beta 1 falls: neither the best model nor patience is counted from then.
#[test]
fn patience_begins_when_the_kl_has_warmed_up() {
    let home = folder("warm-up");
    write_circle(&home.join("c.csv"));
    let line = CIRCLE.replace("--sigma 0.3", "--sigma 1 --patience 2 --kl-warmup 400 --epochs 130"); // 4 steps each
    run(&home, &format!("{line} --out run")).succeeded();
    let (valid, kept) = (valid_lines(&home.join("run")), best(&home.join("run")).unwrap());
    let early = valid[..3].iter().map(|r| r.elbo).fold(f64::NEG_INFINITY, f64::max);
    assert!(valid[3..10].iter().all(|r| r.elbo < early), "patience of 2 would have ended it: {early} {valid:?}");
    assert!(valid.len() > 100 && kept.epoch >= 100, "{} {kept:?}", valid.len());
    // One that ends within: the last state is the one that is kept, and told.
    let short = home.join("short");
    run(&home, &format!("{line} --out short").replace("--epochs 130", "--epochs 25")).succeeded();
    assert_eq!(best(&short), None);
    let [model, last] =
        ["model", "checkpoint"].map(|f| Tensors::read(&short.join(f).with_extension("safetensors")).unwrap());
    assert!(model.tensors.iter().all(|(name, tensor)| tensor.values == last.tensors[name].values));
    let table = run(&home, "compare short --json").succeeded().stdout;
    let table: serde_json::Value = serde_json::from_str(&table).unwrap();
    assert_eq!(table["runs"][0]["best_epoch"], 25.0);
}
