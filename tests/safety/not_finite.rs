//! A number that is not finite, put into the data, the weights, or a gradient: found within a step, named, not applied.
//! On the CPU here; for the kernels the same is in tests/kernels, for a GPU in tests/device.rs.
use crate::program::{self, folder, run, write_idx};
use crate::runs;
use std::sync::Arc;
use vae_gpu::checkpoint::{Folder, Position, Saved};
use vae_gpu::config::*;
use vae_gpu::data::{Dataset, Values};
use vae_gpu::device::{Backend, Device};
use vae_gpu::metrics::{Record, Split};
use vae_gpu::model::Network;
use vae_gpu::step::Step;
use vae_gpu::trainer::{Begin, InFolder, Keep, Outcome, Progress, Saving, Trainer, Watch};
use vae_gpu::{Error, Result, init};

/// 29 examples of 4 numbers, of which one is not a number where `bad` says so.
fn data(bad: Option<usize>) -> Arc<Dataset> {
    let mut values: Vec<f32> = (0..29 * 4).map(|i| (i * i % 23) as f32 / 23.0).collect();
    if let Some(row) = bad {
        values[4 * row + 2] = f32::NAN;
    }
    Arc::new(Dataset::new("x", 4, Values::Reals(values)))
}

fn settings(numbers: Numbers, on_nan: OnNan) -> Run {
    Run {
        model: Model { likelihood: Likelihood::Gaussian, ..Model::new(4, &[7], 2) },
        training: Training { seed: 3, precision: numbers, log_every: 10, on_nan, ..Training::new(5, 60) },
        data: Source::new("x", 29),
    }
}

/// Follows a training, and stops it after a step.
#[derive(Default)]
struct Notes {
    said: Vec<String>,
    stop_at: Option<u32>,
    step: u32,
}

impl Watch for Notes {
    fn progress(&mut self, progress: &Progress) {
        self.step = progress.step;
    }
    fn note(&mut self, sentence: &str) {
        self.said.push(sentence.into());
    }
    fn stop(&mut self) -> bool {
        self.stop_at.is_some_and(|at| self.step >= at)
    }
}

fn train(run: &Run, folder: &Folder, data: &Arc<Dataset>, saving: Saving, notes: &mut Notes) -> Result<Outcome> {
    let (device, _) = Device::find("cpu", run.training.precision).unwrap();
    let saved = folder.checkpoint().exists().then(|| Saved::read(&folder.checkpoint()).unwrap());
    Trainer::new(
        run.clone(),
        folder.hold()?,
        saving,
        data,
        None,
        &device,
        saved.as_ref().map_or(Begin::New, Begin::Again),
    )?
    .run(notes)
}

/// The bad example is met in each of the ten epochs of six steps, whatever its place in them.
#[test]
fn a_step_with_a_bad_example_is_skipped_and_named_or_ends_the_training() {
    for numbers in [Numbers::Fp32, Numbers::F64] {
        let home = folder(&format!("example-{numbers:?}"));
        let data = data(Some(11));
        let (whole, cut) = (Folder(home.join("whole")), Folder(home.join("cut")));
        let skip = settings(numbers, OnNan::Skip);
        let mut notes = Notes::default();
        let outcome = train(&skip, &whole, &data, Saving::Steps(1000), &mut notes).unwrap();
        assert_eq!((outcome.skipped, notes.said.len()), (10, 10), "{:?}", notes.said);
        for note in &notes.said {
            assert!(note.contains(": not finite: x is NaN in row ") && note.ends_with(", column 2; skipped"), "{note}");
        }
        assert!(Saved::read(&whole.0).is_ok(), "the model is finite");
        assert!(runs::lines(&whole.0).iter().all(|line| line.elbo.is_finite()));

        // However steps are grouped, and wherever the run is cut, the same steps are skipped.
        for at in [1, 7, 20, 33, 60] {
            let mut notes = Notes { stop_at: Some(at), ..Notes::default() };
            train(&skip, &cut, &data, Saving::Steps(1), &mut notes).unwrap();
        }
        runs::assert_same_run(&whole.0, &cut.0, "cut");

        let stop = settings(numbers, OnNan::Stop);
        let folder = Folder(home.join("stop"));
        let error = train(&stop, &folder, &data, Saving::Steps(1), &mut Notes::default()).unwrap_err().to_string();
        let step: u32 = error.strip_prefix("step ").unwrap().split(':').next().unwrap().parse().unwrap();
        let first: u32 = notes.said[0].strip_prefix("step ").unwrap().split(':').next().unwrap().parse().unwrap();
        assert_eq!(step, first, "{error}");
        assert!(error.contains("x is NaN in row ") && error.contains("column 2; "), "{error}");
        if step > 0 {
            let kept = Saved::read(&folder.checkpoint()).unwrap();
            assert_eq!(kept.position().unwrap().step, step, "the state before that step is kept");
        }
    }
}

#[test]
fn when_every_step_is_bad_the_training_ends_all_the_same() {
    let home = Folder(folder("hopeless"));
    let mut run = settings(Numbers::Fp32, OnNan::Skip);
    run.training.steps = 1000;
    let values = vec![f32::INFINITY; 29 * 4];
    let data = Dataset { values: Values::Reals(values), ..(*data(None)).clone() };
    let mut notes = Notes::default();
    let error = train(&run, &home, &Arc::new(data), Saving::Steps(7), &mut notes).unwrap_err().to_string();
    assert!(
        error.starts_with(
            "step 99: not finite: x is infinite in row 0 of the batch, column 0, the last of 100 in a row"
        ),
        "{error}"
    );
    assert_eq!(notes.said.len(), 99);
}

/// A parameter, on the device, at some step.
#[test]
fn a_weight_that_is_not_finite_is_found_in_the_next_step() {
    for numbers in [Numbers::Fp32, Numbers::F64] {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let (flags, same) = inject(numbers, |n, b| {
                let bias = n.parameter("decoder.out.bias").unwrap().view;
                b.write(bias, &[0.0, value, 0.0, 0.0]).unwrap();
            });
            assert_eq!(flags, [3.0; 3], "{numbers:?} {value}");
            assert!(same, "{numbers:?} {value}: a step was applied");
        }
    }
}

/// The loss is finite: half of 4 · 1e38, or 4 · 1e306. The gradient of a weight of the decoder's is 1e19, or 1e153, times
/// a z of some hundreds: its square is not.
#[test]
fn a_gradient_that_is_not_finite_is_not_applied() {
    for (numbers, large) in [(Numbers::Fp32, 0.5e19), (Numbers::F64, 0.5e154)] {
        for clip in [0.0, 1.0] {
            let run = settings(numbers, OnNan::Stop);
            let (flags, same) = inject_with(numbers, clip, |n, b| {
                b.write(n.parameter("decoder.out.bias").unwrap().view, &[large; 4]).unwrap();
                let mu = n.parameter("encoder.mu.bias").unwrap().view;
                b.write(mu, &[1e3; 2]).unwrap();
            });
            assert_eq!(flags, [2.0; 3], "{numbers:?}, clipped to {clip}, of {:?}", run.model);
            assert!(same, "{numbers:?}: a step was applied");
        }
    }
}

fn inject(numbers: Numbers, change: impl Fn(&Network, &mut dyn Backend)) -> (Vec<f64>, bool) {
    inject_with(numbers, 0.0, change)
}

/// What three steps from changed parameters leave: their flags, and whether the parameters are what they were.
fn inject_with(numbers: Numbers, clip_norm: f64, change: impl Fn(&Network, &mut dyn Backend)) -> (Vec<f64>, bool) {
    let (device, _) = Device::find("cpu", numbers).unwrap();
    let n = Network::training(&settings(numbers, OnNan::Stop).model, 1, Binarize::None);
    let mut b = device.open(n.layout(), 1).unwrap();
    b.load(&data(None)).unwrap();
    init::parameters(&n, Init::Glorot, 1, &mut *b).unwrap();
    change(&n, &mut *b);
    let bits =
        |b: &mut dyn Backend| b.read(n.layout().params()).unwrap().iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    let before = bits(&mut *b);
    let step = |i: u32| Step { index: i, position: i, slot: i, lr: 0.1, ..Step::batch(0, 1) };
    let optimizer = Optimizer { clip_norm, ..Optimizer::new(Rule::Adam) };
    b.train(&n.tape, &optimizer, &[0, 1, 2].map(step)).unwrap();
    let flags = b.read(n.layout().metrics().slice(0..3).columns(3..4)).unwrap();
    (flags, bits(&mut *b) == before)
}

/// By the shipped program, on the CPU and on the stand-in for a GPU: an example that is too far away for f32's squares.
#[cfg(feature = "cuda")]
#[test]
fn every_device_skips_the_same_steps() {
    let home = folder("devices");
    let row = |i: u32| if i == 17 { "1e25,0,3\n".into() } else { format!("{},{},{}\n", i % 3, i % 5, i % 7) };
    std::fs::write(home.join("x.csv"), (0..29).map(row).collect::<String>()).unwrap();
    let train = "train --data x.csv --likelihood gaussian --epochs 3 --batch 5 --hidden 6 --latent 2 --on-nan skip";
    let skipped = |outcome: program::Outcome| -> Vec<u32> {
        let said = outcome.succeeded().stderr;
        let lines = said.lines().filter(|line| line.ends_with("; skipped"));
        lines.map(|line| line.strip_prefix("step ").unwrap().split(':').next().unwrap().parse().unwrap()).collect()
    };
    let want = skipped(run(&home, &format!("{train} --device cpu --out cpu")));
    assert_eq!(want.len(), 3, "one in each epoch");
    for precision in ["fp32", "tf32", "bf16"] {
        let line = format!("{train} --device cuda --precision {precision} --out {precision}");
        let got = skipped(program::run_on_stand_in(&home, &line, &[]));
        assert_eq!(got, want, "{precision}");
        let line = format!("{train} --device cuda --precision {precision} --out stop --force").replace("skip", "stop");
        let stopped = program::run_on_stand_in(&home, &line, &[]);
        assert_eq!(stopped.code, Some(1));
        let sentence = format!("vae-gpu: step {}: not finite: ", want[0]);
        assert!(stopped.stderr.contains(&sentence), "{precision}: {}", stopped.stderr);
    }
}

/// By the shipped program. An example to validate on that is too far away for f32's squares ends a training whose steps are
/// all well, and what was trained is kept: it goes on when it is told to pass over that, to what it had been if told at first.
#[test]
fn a_validation_that_is_not_finite_ends_a_training_that_can_go_on_without_it() {
    let home = folder("validation-far");
    let row = |i: u32| format!("{},{},{}\n", i % 3, i % 5, i % 7);
    let far = |i: u32| if i == 4 { "1e25,0,3\n".into() } else { row(i) };
    std::fs::write(home.join("x.csv"), (0..29).map(row).collect::<String>()).unwrap();
    std::fs::write(home.join("y.csv"), (0..9).map(far).collect::<String>()).unwrap();
    let train = "train --data x.csv --valid y.csv --likelihood gaussian --epochs 3 --batch 5 --hidden 6 --latent 2 --device cpu";
    let why = "epoch 1: the bound of example 4 of the validation data, y.csv, is not finite";
    run(&home, &format!("{train} --out stop --quiet")).refused(
        1,
        &format!(
            "{why}; the last checkpoint in stop is kept: leave the example out, or pass --on-nan skip, with --resume to go on, \
             which passes over it"
        ),
    );
    let text = |path: &str| std::fs::read_to_string(home.join(path)).unwrap();
    assert_eq!(text("stop/failed.txt"), format!("{why}\n"));
    assert_eq!(Saved::read(&home.join("stop/checkpoint.safetensors")).unwrap().position().unwrap().step, 6);

    // Of none that was finite there is no result either, though the training was complete.
    let none = "no validation of 3 epochs was finite";
    let said = run(&home, "train --resume stop --on-nan skip --device cpu");
    assert!(said.code == Some(1) && said.stderr.matches("is not finite; skipped").count() == 3, "{}", said.stderr);
    assert!(
        said.stderr.contains(&format!("vae-gpu: {none}; the last checkpoint in stop is kept: ")),
        "{}",
        said.stderr
    );
    assert!(run(&home, "compare stop").succeeded().stdout.contains(none));
    assert_eq!(run(&home, &format!("{train} --on-nan skip --out skip")).code, Some(1));
    runs::assert_same_run(&home.join("skip"), &home.join("stop"), "told later");
    for file in ["run.toml", "config.json", "failed.txt"] {
        assert_eq!(text(&format!("skip/{file}")), text(&format!("stop/{file}")));
    }
    assert!(runs::lines(&home.join("stop")).iter().all(|line| line.split == Split::Train));
}

/// The state is written, the metrics are not: whatever ends a training is told by what is left of it.
#[test]
fn whatever_ends_a_training_is_kept_beside_it() {
    struct Full(InFolder);
    impl Keep for Full {
        fn begin(&mut self, run: &Run, network: &Network, at: Option<u32>) -> Result<Vec<Record>> {
            self.0.begin(run, network, at)
        }
        fn record(&mut self, _: &Record) -> Result<()> {
            Err(Error::failed("cannot write metrics.jsonl: no space"))
        }
        fn model(&mut self, run: &Run, network: &Network, b: &mut dyn Backend) -> Result<()> {
            self.0.model(run, network, b)
        }
        fn checkpoint(&mut self, run: &Run, at: &Position, network: &Network, b: &mut dyn Backend) -> Result<()> {
            self.0.checkpoint(run, at, network, b)
        }
        fn failed(&mut self, why: &str) {
            self.0.failed(why);
        }
        fn left(&self) -> String {
            self.0.left()
        }
    }
    let home = Folder(folder("ended"));
    let (data, run) = (data(None), settings(Numbers::Fp32, OnNan::Stop));
    let (device, _) = Device::find("cpu", Numbers::Fp32).unwrap();
    let keep = Full(home.hold().unwrap().into());
    let mut trainer = Trainer::keeping(run, keep, Saving::Steps(1), &data, None, &device, Begin::New).unwrap();
    trainer.run(&mut ()).unwrap_err();
    assert_eq!(std::fs::read_to_string(home.failed()).unwrap(), "cannot write metrics.jsonl: no space\n");
}

/// By the shipped program: a learning rate that breaks the parameters in one step.
#[test]
fn what_is_not_finite_is_never_saved() {
    let home = folder("broken");
    write_idx(&home.join("x.idx"), 103, 6);
    for optimizer in ["sgd", "adam", "momentum"] {
        let line = format!(
            "train --data x.idx --steps 500 --save-every 1 --hidden 17,9 --latent 5 --batch 16 --seed 3 --device cpu \
             --out {optimizer} --optimizer {optimizer} --lr 1e38"
        );
        let outcome = run(&home, &line);
        assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
        let last = outcome.stderr.lines().last().unwrap();
        let (step, saved) = (last.contains("step ") && last.contains("not finite: "), last.contains(": not saved, "));
        assert!(step || saved, "{last}");
        let checkpoint = home.join(optimizer).join("checkpoint.safetensors");
        if checkpoint.exists() {
            Saved::read(&checkpoint).unwrap();
        }
    }
}
