//! The engine on a real GPU, where there is one: beside the reference, twice, cut and resumed. Without a GPU each test
//! says that it was skipped. tools/gpu-bundle takes this test along to machines without Rust.
#[path = "support/models.rs"]
mod models;
#[path = "support/numbers.rs"]
mod numbers;
use clap::ValueEnum;
use models::of_every_likelihood;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use vae_gpu::checkpoint::{Folder, Saved};
use vae_gpu::config::*;
use vae_gpu::data::{Dataset, Values, digits};
use vae_gpu::device::{Backend, Cpu, Device, Shortcut, Variant};
use vae_gpu::evaluate::Evaluator;
use vae_gpu::init;
use vae_gpu::model::Network;
use vae_gpu::schedule::{Plan, Schedule};
use vae_gpu::step::Step;
use vae_gpu::trainer::{Begin, Progress, Saving, Trainer, Watch};

/// The GPU in this arithmetic; None, and a word, where there is none.
fn gpu(numbers: Numbers) -> Option<Device> {
    match Device::find("cuda", numbers) {
        Ok((device, _)) => Some(device),
        Err(why) => {
            println!("skipped: {why}");
            None
        }
    }
}

fn data(rows: usize, cols: usize) -> Arc<Dataset> {
    let byte = |i: usize| ((i as u32).wrapping_mul(2654435761) >> 24) as u8;
    let values = Values::Bytes((0..rows * cols).map(byte).collect());
    Arc::new(Dataset::new("bytes", cols, values))
}

/// What the likelihoods take: whole numbers to 8 where the model counts, words where it has some.
fn of(model: &Model, data: &Dataset) -> Arc<Dataset> {
    let mut rows = data.to_rows();
    models::as_the_likelihoods_have_them(model, &mut rows);
    Arc::new(Dataset::new("counts", data.cols, Values::Reals(rows)))
}

fn plan(model: &Model, rows: usize, batch: usize, optimizer: Optimizer) -> Plan {
    let (examples, batch) = (rows as u32, batch as u32);
    let (schedule, total) = (Schedule::Constant, 1000);
    Plan { examples, batch, total, seed: 9, optimizer, schedule, lr_warmup: 0, beta: model.beta, kl_warmup: 0 }
}

/// Seven steps, two of them partial batches; the parameters and the metrics after them.
fn train(network: &Network, b: &mut dyn Backend, data: &Arc<Dataset>, plan: &Plan) -> (Vec<f64>, Vec<f64>) {
    init::parameters(network, Init::Torch, 1, b).unwrap();
    b.load(data).unwrap();
    let steps: Vec<Step> = (0..7).map(|i| Step { slot: i, ..plan.step(i) }).collect();
    b.train(&network.tape, &plan.optimizer, &steps).unwrap();
    let parameters = network.parameters.iter().flat_map(|p| b.read(p.view).unwrap()).collect();
    (parameters, b.read(network.layout().metrics().slice(0..7)).unwrap())
}

/// ‖got − want‖ / ‖want‖
fn relative(got: &[f64], want: &[f64]) -> f64 {
    let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>().sqrt();
    norm(&mut got.iter().zip(want).map(|(g, w)| g - w)) / norm(&mut want.iter().copied())
}

#[test]
fn training_on_the_gpu_is_training_by_the_reference() {
    for (numbers, tolerance) in [(Numbers::Fp32, 2e-5), (Numbers::Tf32, 5e-3), (Numbers::Bf16, 5e-2)] {
        let Some(device) = gpu(numbers) else { return };
        for objective in [Objective::Elbo, Objective::ElboMc, Objective::Iwae] {
            for activation in [Activation::Tanh, Activation::Relu, Activation::Gelu] {
                let samples = if objective == Objective::Elbo { 1 } else { 3 };
                // Of a path gradient none but the latent variables know.
                let path = objective != Objective::Elbo && activation == Activation::Relu;
                let gradient = if path { Gradient::Path } else { Gradient::Total };
                let plain = Model { objective, gradient, activation, samples, ..Model::new(65, &[33, 17], 6) };
                // The likelihoods do not know the activation: all of them beside one, and of the others the first.
                let models = if activation == Activation::Tanh { usize::MAX } else { 1 };
                for model in of_every_likelihood(&plain).into_iter().take(models) {
                    let own = model.has_counts() || model.is_mixed() || model.has(Likelihood::Categorical);
                    let data = if own { of(&model, &data(100, 65)) } else { data(100, 65) };
                    let binarize = if own { Binarize::None } else { Binarize::Dynamic };
                    // Plain gradient steps: an adaptive rule would divide what is nearly zero by itself.
                    let optimizer = Optimizer { lr: 1e-3, ..Optimizer::new(Rule::Sgd) };
                    let plan = plan(&model, 100, 33, optimizer);
                    let network = Network::training(&model, 33, binarize);
                    let mut reference = Cpu::<f64>::new(network.layout(), 33);
                    let want = train(&network, &mut reference, &data, &plan);
                    let mut backend = device.open(network.layout(), 33).unwrap();
                    let got = train(&network, &mut *backend, &data, &plan);
                    let errors = (relative(&got.0, &want.0), relative(&got.1, &want.1));
                    assert!(errors.0 < tolerance && errors.1 < tolerance, "{numbers:?} {model:?}: {errors:?}");
                }
            }
        }
    }
}

/// The launches that a training is made of, with each of its shortcuts and without, and twice to the byte.
#[test]
fn every_shortcut_on_the_gpu_is_a_step_of_the_reference() {
    for (numbers, tolerance) in [(Numbers::Fp32, 2e-5), (Numbers::Tf32, 5e-3), (Numbers::Bf16, 5e-2)] {
        let Some(device) = gpu(numbers) else { return };
        for (input, hidden, latent, batch, objective, samples) in [
            (300, &[100][..], 20, 100, Objective::Elbo, 1),
            (65, &[33], 6, 300, Objective::Elbo, 1),
            (65, &[33, 17], 6, 33, Objective::Elbo, 3),
            (65, &[33, 40], 50, 20, Objective::Iwae, 1),
            (65, &[33, 17], 6, 20, Objective::Iwae, 5),
        ] {
            let model = Model { objective, samples, ..Model::new(input, hidden, latent) };
            let data = data(3 * batch + 1, input);
            // An eps that gradients of rounding errors do not outweigh.
            let optimizer = Optimizer { lr: 1e-2, eps: 0.1, ..Optimizer::new(Rule::Adam) };
            let plan = plan(&model, data.rows(), batch, optimizer);
            let network = Network::training(&model, batch, Binarize::Dynamic);
            let want = train(&network, &mut Cpu::<f64>::new(network.layout(), batch), &data, &plan);
            let mut first = None;
            let without = Shortcut::value_variants().iter().copied().map(Variant::Without);
            for variant in [None, Some(Variant::Stacked)].into_iter().chain(without.map(Some)) {
                let device = variant.map_or(device.clone(), |variant| device.with(variant));
                let trained = || train(&network, &mut *device.open(network.layout(), batch).unwrap(), &data, &plan);
                let (got, again) = (trained(), trained());
                assert!(got == again, "{} {numbers:?} {input} {objective:?}: two runs differ", device.name);
                let errors = (relative(&got.0, &want.0), relative(&got.1, &want.1));
                let near = errors.0 < tolerance && errors.1 < tolerance;
                assert!(near, "{} {numbers:?} {input} {objective:?}: {errors:?}", device.name);
                // What runs beside what changes no sum.
                let same = *first.get_or_insert(got.clone()) == got;
                assert!(
                    same || variant != Some(Variant::Without(Shortcut::Branch)),
                    "{numbers:?} {input} {objective:?}"
                );
            }
        }
    }
}

struct StopAt(u32, u32);

impl Watch for StopAt {
    fn progress(&mut self, progress: &Progress) {
        self.1 = progress.step;
    }
    fn stop(&mut self) -> bool {
        self.1 >= self.0
    }
}

fn folder(name: &str) -> Folder {
    // Beside the executable's own temporary folder: the machine may not be the one that built it.
    let path: PathBuf = std::env::temp_dir().join(format!("vae-gpu-device-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    Folder(path)
}

#[test]
fn a_run_on_the_gpu_is_repeated_and_resumed_to_the_byte() {
    for numbers in [Numbers::Fp32, Numbers::Tf32, Numbers::Bf16] {
        let Some(device) = gpu(numbers) else { return };
        let (data, valid) = (data(1003, 300), data(77, 300));
        let run = Run {
            model: Model { samples: 2, ..Model::new(300, &[100], 9) },
            training: Training {
                optimizer: Optimizer { clip_norm: 5.0, ..Optimizer::new(Rule::Adam) },
                lr_schedule: Schedule::Cosine,
                lr_warmup: 7,
                kl_warmup: 30,
                seed: 4,
                precision: numbers,
                log_every: 10,
                ..Training::new(64, 90)
            },
            data: Source { valid_fraction: 0.1, binarize: Binarize::Dynamic, ..Source::new("bytes", 1003) },
        };
        let until = |folder: &Folder, at: u32, saving: Saving| {
            let saved = folder.checkpoint().exists().then(|| Saved::read(&folder.checkpoint()).unwrap());
            let mut trainer = Trainer::new(
                run.clone(),
                folder.hold().unwrap(),
                saving,
                &data,
                Some(&valid),
                &device,
                saved.as_ref().map_or(Begin::New, Begin::Again),
            )
            .unwrap();
            assert_eq!(trainer.run(&mut StopAt(at, 0)).unwrap().steps, at);
        };
        let (whole, again, cut) = (folder("whole"), folder("again"), folder("cut"));
        let seldom = Saving::Every(Duration::from_secs(3600));
        until(&whole, 90, seldom);
        until(&again, 90, seldom);
        for at in [1, 16, 17, 50, 90] {
            until(&cut, at, Saving::Steps(1));
        }
        let bytes = |f: &Folder| std::fs::read(f.model()).unwrap();
        assert!(bytes(&whole) == bytes(&again), "{numbers:?}: two runs differ");
        assert!(bytes(&whole) == bytes(&cut), "{numbers:?}: a run that was cut differs");
        [whole, again, cut].iter().for_each(|f| std::fs::remove_dir_all(&f.0).unwrap());
    }
}

#[test]
fn an_evaluation_on_the_gpu_is_that_of_the_reference() {
    let Some(device) = gpu(Numbers::Fp32) else { return };
    let data = Arc::new(digits::test().first(300));
    let model = Model::new(784, &[100], 10);
    let evaluator = Evaluator::new(&model, 70, Binarize::None, data.rows());
    let n = evaluator.network();
    let evaluate = |b: &mut dyn Backend| {
        init::parameters(n, Init::Glorot, 2, b).unwrap();
        b.load(&data).unwrap();
        evaluator.run(b, &data, 3, &mut |_| Ok(())).unwrap()
    };
    let want = evaluate(&mut Cpu::<f64>::new(n.layout(), n.tape.batch));
    let got = evaluate(&mut *device.open(n.layout(), n.tape.batch).unwrap());
    for (name, got, want) in
        [("elbo", got.elbo, want.elbo), ("L_70", got.iwae.bound, want.iwae.bound), ("kl", got.kl, want.kl)]
    {
        assert!((got.mean - want.mean).abs() < 1e-5 * want.mean.abs(), "{name}: got {got:?}, want {want:?}");
        assert!((got.error - want.error).abs() < 1e-4 * want.error, "{name}: got {got:?}, want {want:?}");
    }
    assert_eq!(got.active_units, want.active_units);
}

#[test]
fn a_loss_that_is_not_finite_halts_the_gpu_and_is_not_applied() {
    let Some(device) = gpu(Numbers::Fp32) else { return };
    let model = Model::new(65, &[33], 6);
    let (data, network) = (data(100, 65), Network::training(&model, 33, Binarize::None));
    let plan = plan(&model, 100, 33, Optimizer::new(Rule::Adam));
    let mut b = device.open(network.layout(), 33).unwrap();
    train(&network, &mut *b, &data, &plan);
    let weight = network.parameters[0].view;
    let mut values = b.read(weight).unwrap();
    values[5] = f64::NAN;
    b.write(weight, &values).unwrap();
    let before = b.read(network.parameters[2].view).unwrap();
    let steps: Vec<Step> = (7..12).map(|i| Step { slot: i - 7, ..plan.step(i) }).collect();
    b.train(&network.tape, &plan.optimizer, &steps).unwrap();
    let flags = b.read(network.layout().metrics().slice(0..5).columns(3..4)).unwrap();
    assert_eq!(flags, [3.0; 5]); // the loss, and with it the gradient
    assert_eq!(b.read(network.parameters[2].view).unwrap(), before, "no step was applied");
}
