//! Every kernel in the emulator, which checks each access, beside the CPU reference in f64; in both orders of threads.
#![allow(unsafe_code)] // the emulator is C++
#[path = "support/emulator.rs"]
mod emulator;
use clap::ValueEnum;
use emulator::{Emulator, Library};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use vae_gpu::arena::{Layout, View};
use vae_gpu::case::Case;
use vae_gpu::config::{Activation, Binarize, Likelihood, Mean, Model, Objective, Optimizer, Rule, Variance};
use vae_gpu::data::{Dataset, Values};
use vae_gpu::device::driver::{Grid, Precision};
use vae_gpu::device::kernels::{self, In, In16, InAny, Out, Out16};
use vae_gpu::device::{Backend, Cpu, Gpu, Shortcut};
use vae_gpu::model::Network;
use vae_gpu::step::Step;
use vae_gpu::tape::{Fetch, Order};
use vae_gpu::tensors::Tensors;

/// Numbers without a pattern, in [-1, 1): the same on every device.
fn numbers(n: usize, salt: usize) -> Vec<f64> {
    (0..n).map(|i| ((i * 7919 + salt * 104_729 + i * i * 31) % 2003) as f64 / 1001.5 - 1.0).collect()
}

fn dataset(rows: usize, cols: usize, reals: bool) -> Arc<Dataset> {
    let unit = numbers(rows * cols, 99).into_iter().map(|x| (x + 1.0) / 2.0);
    let values = match reals {
        // some of them where the threshold is
        true => Values::Reals(unit.enumerate().map(|(i, x)| if i % 7 == 0 { 0.5 } else { x as f32 }).collect()),
        false => Values::Bytes(unit.map(|x| (x * 256.0) as u8).collect()),
    };
    Arc::new(Dataset::new("made up", cols, values))
}

/// What a training test varies.
#[derive(Clone, Debug)]
struct Setting {
    model: Model,
    batch: usize,
    /// Of the last step.
    rows: usize,
    binarize: Binarize,
    reals: bool,
    optimizer: Optimizer,
    library: Library,
    without: Option<Shortcut>,
}

impl Setting {
    fn new(model: Model) -> Setting {
        // large enough to make stale parameters visible, and for wide inputs small enough to converge
        let lr = (0.5 / model.input as f64).min(0.1);
        let optimizer = Optimizer { lr, ..Optimizer::new(Rule::Sgd) };
        let (binarize, library) = (Binarize::None, Library::Plain);
        Setting { model, batch: 5, rows: 3, binarize, reals: false, optimizer, library, without: None }
    }
    fn network(&self) -> Network {
        self.model.check().unwrap();
        Network::training(&self.model, self.batch, self.binarize)
    }
    /// One of the first epoch, two of the next, the last of them partial. Nothing is 0 that could hide a mistake.
    fn steps(&self) -> Vec<Step> {
        let step = |index: u32, epoch, position, rows: usize| Step {
            seed: 0x1234_5678_9abc_def0,
            index,
            epoch,
            position,
            rows: rows as u32,
            first_row: 11,
            slot: index % 256,
            lr: self.optimizer.lr,
            // exact in f32; iwae must not heed it
            beta: 0.25 + 0.125 * (index % 4) as f64,
            corrections: (1.0 - 0.9f64.powi(index as i32 + 1), 1.0 - 0.999f64.powi(index as i32 + 1)),
        };
        let (b, rows) = (self.batch, self.rows);
        vec![step(7, 0, b as u32, b), step(8, 1, 0, b), step(9, 1, b as u32, rows)]
    }
    fn fill(&self, network: &Network, b: &mut dyn Backend) {
        b.load(&dataset(3 * self.batch + 2, self.model.columns(), self.reals)).unwrap();
        for (salt, p) in network.parameters.iter().enumerate() {
            // of the size of a common initialisation
            let scale = if p.shape.len() == 2 { (3.0 / p.shape[1] as f64).sqrt() } else { 0.3 };
            let values: Vec<f64> = numbers(p.view.elements(), salt).iter().map(|x| x * scale).collect();
            b.write(p.view, &values).unwrap();
        }
    }
    fn gpu(&self, network: &Network, reverse: bool) -> Gpu<Emulator> {
        let mut emulator = Emulator::new(network.layout(), reverse);
        emulator.library = self.library;
        let mut gpu = Gpu::new(emulator, network.layout());
        self.without.into_iter().for_each(|shortcut| gpu.leave_out(shortcut));
        gpu
    }
    fn reference(&self, network: &Network) -> Cpu<f64> {
        Cpu::new(network.layout(), network.tape.batch)
    }

    /// Trains, and reads every number that a step leaves: parameters, their moments, everybody's gradients, the values of
    /// the examples that count, and the metrics.
    fn train(&self, network: &Network, b: &mut dyn Backend) -> Vec<(String, Vec<f64>)> {
        self.fill(network, b);
        let steps = self.steps();
        b.train(&network.tape, &self.optimizer, &steps).unwrap();
        let layout = network.layout();
        let mut all = vec![];
        for p in &network.parameters {
            all.push((p.name.clone(), b.read(p.view).unwrap()));
            all.push((format!("d {}", p.name), b.read(layout.d(p.view)).unwrap()));
            for which in 0..2 {
                all.push((format!("moment {which} of {}", p.name), b.read(layout.moment(p.view, which)).unwrap()));
            }
        }
        let used = |name: &str| {
            !["x", "[x | condition]", "kl", "kl by dimension", "log q - log p", "nll", "bound", "sample weights"]
                .contains(&name)
        };
        for (name, v) in &network.activations {
            let live = match v.rows {
                1 if name == "kl by dimension" => *v,
                rows => v.slice(0..rows / self.batch * self.rows),
            };
            all.push((name.clone(), b.read(live).unwrap()));
            // the gradient before gelu is that after it, in place
            if used(name) && !name.ends_with("before gelu") {
                all.push((format!("d {name}"), b.read(layout.d(live)).unwrap()));
            }
        }
        for step in &steps {
            let slot = layout.metrics().slice(step.slot as usize..step.slot as usize + 1);
            let values = b.read(slot).unwrap();
            for (name, value) in ["loss", "nll", "kl", "flag"].into_iter().zip(values) {
                all.push((format!("{name} of step {}", step.index), vec![value]));
            }
        }
        all
    }

    /// Examples that the last batch lacks have no weight, no bound, and no gradient.
    fn assert_zero_beyond_the_batch(&self, network: &Network, gpu: &mut Gpu<Emulator>) {
        let beyond = |v: View| v.slice(v.rows / self.batch * self.rows..v.rows);
        let layout = network.layout();
        let mut views = vec![network.x, network.bound, network.tape.weight];
        views.extend([network.head, network.z, network.decoded.out].map(|v| layout.d(v)));
        for v in views {
            let values = gpu.read(beyond(v)).unwrap();
            assert!(values.iter().all(|&x| x == 0.0), "{v:?} of {self:?}: {values:?}");
        }
    }

    /// On the emulated GPU, in both orders of threads, against the reference.
    fn check(&self) -> BTreeSet<&'static str> {
        let network = self.network();
        let want = self.train(&network, &mut self.reference(&network));
        let mut launched = BTreeSet::new();
        for reverse in [false, true] {
            let mut gpu = self.gpu(&network, reverse);
            let got = self.train(&network, &mut gpu);
            // Adam in their launch keeps the gradients of parameters to itself.
            let kept = !gpu.driver.launched.contains("product_tn_adam");
            for ((name, got), (_, want)) in got.iter().zip(&want) {
                let parameter = name.strip_prefix("d ").is_some_and(|name| network.parameter(name).is_some());
                // The sum over a row is nobody's but the bound's, where blocks leave their parts.
                let apart =
                    ["product_nt_bernoulli", "product_nt_bernoulli_wide"].map(|k| gpu.driver.launched.contains(k));
                if parameter && !kept || name == "nll" && apart.contains(&true) {
                    continue;
                }
                // Three steps in f32: sums of up to a thousand terms, of which some cancel.
                compare(&format!("{name} of {self:?}"), got, want, 2e-5);
            }
            assert_padding_is_zero(&network, &mut gpu);
            self.assert_zero_beyond_the_batch(&network, &mut gpu);
            launched.append(&mut gpu.driver.launched);
        }
        launched
    }
}

/// Each number within `tolerance` of the tensor's largest.
#[track_caller]
fn compare(name: &str, got: &[f64], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{name}");
    let scale = want.iter().fold(1e-6, |a: f64, w| a.max(w.abs()));
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((g - w).abs() <= tolerance * scale, "{name}[{i}]: got {g}, want {w}");
    }
}

/// Which places of the arena some view holds; the others are padding.
fn used(network: &Network) -> Vec<bool> {
    let layout = network.layout();
    let mut views: Vec<View> = network.activations.iter().map(|(_, v)| *v).collect();
    views.extend(network.parameters.iter().map(|p| p.view));
    views.extend(views.clone().iter().map(|&v| layout.d(v)));
    views.extend(network.parameters.iter().flat_map(|p| [layout.moment(p.view, 0), layout.moment(p.view, 1)]));
    views.extend([layout.metrics(), layout.scratch()]);
    let mut used = vec![false; layout.total()];
    for v in views {
        (0..v.rows).for_each(|row| used[v.at(row, 0)..v.at(row, v.cols)].fill(true));
    }
    used
}

/// It is zero, in the arena and in the one of bf16.
fn assert_padding_is_zero(network: &Network, gpu: &mut Gpu<Emulator>) {
    let (layout, used) = (network.layout(), used(network));
    let halves: Vec<bool> = gpu.driver.halves()[..layout.total()].iter().map(|&h| h == 0).collect();
    let floats = gpu.driver.floats();
    for i in 0..layout.total() {
        assert!(used[i] || (floats[i] == 0.0 && halves[i]), "padding at {i} holds {}", floats[i]);
    }
}

fn likelihoods() -> Vec<(Likelihood, Variance, Mean)> {
    use {Likelihood::*, Mean::*, Variance::*};
    vec![
        (Bernoulli, Fixed, Identity),
        (Gaussian, Fixed, Identity),
        (Gaussian, Scalar, Sigmoid),
        (Gaussian, Scalar, Identity),
        (Gaussian, Shared, Identity),
        (Gaussian, Shared, Sigmoid),
        (Gaussian, Network, Identity),
        (Gaussian, Network, Sigmoid),
    ]
}

fn every_objective(samples: usize) {
    for objective in [Objective::Elbo, Objective::ElboMc, Objective::Iwae] {
        for (likelihood, variance, mean) in likelihoods() {
            let model = Model::new(17, &[9], 3);
            let model = Model { objective, likelihood, variance, mean, samples, sigma: 0.5, ..model };
            Setting::new(Model { activation: Activation::Tanh, ..model }).check();
        }
    }
}

#[test]
fn every_objective_and_likelihood_matches_the_reference_with_one_sample() {
    every_objective(1);
}

#[test]
fn every_objective_and_likelihood_matches_the_reference_with_three_samples() {
    every_objective(3);
}

#[test]
fn every_activation_matches_the_reference_with_every_library() {
    use Activation::*;
    for activation in [Tanh, Relu, Softplus, Gelu, Sigmoid] {
        for library in [Library::Fused, Library::Plain, Library::Missing] {
            let model = Model { activation, ..Model::new(12, &[17, 6], 4) };
            Setting { library, ..Setting::new(model) }.check();
        }
    }
}

#[test]
fn odd_shapes_match_the_reference() {
    for (input, hidden, latent, batch, rows, samples) in [
        (1, &[][..], 1, 1, 1, 1),
        (1, &[1], 1, 1, 1, 2),
        (33, &[], 17, 3, 2, 1),
        (300, &[33], 33, 17, 9, 1),
        (65, &[300], 5, 33, 33, 1),
        (7, &[5], 140, 2, 1, 2), // more latent dimensions than a warp has columns
        (3, &[4], 2, 300, 131, 1),
        (3, &[4], 2, 1100, 1031, 1), // more rows than a block of columns takes at once
        (5, &[4], 2, 3, 2, 70),      // more samples than a warp has lanes
    ] {
        for objective in [Objective::Elbo, Objective::Iwae] {
            let activation = Activation::Softplus;
            let model = Model { samples, objective, activation, ..Model::new(input, hidden, latent) };
            Setting { batch, rows, ..Setting::new(model) }.check();
        }
    }
}

#[test]
fn gaussians_of_odd_shapes_match_the_reference() {
    for (input, batch, rows) in [(1, 1, 1), (300, 2, 1), (9, 300, 290)] {
        for variance in [Variance::Scalar, Variance::Shared, Variance::Network] {
            let model = Model { likelihood: Likelihood::Gaussian, variance, ..Model::new(input, &[], 2) };
            let mut setting = Setting { batch, rows, reals: true, ..Setting::new(model) };
            setting.optimizer.lr *= 0.1; // a variance that is learned takes smaller steps
            setting.check();
        }
    }
}

#[test]
fn free_bits_hold_some_dimensions_back() {
    let model = Model { free_bits: 0.05, activation: Activation::Tanh, ..Model::new(17, &[9], 12) };
    let setting = Setting::new(model);
    setting.check();
    let network = setting.network();
    let mut cpu = setting.reference(&network);
    setting.train(&network, &mut cpu);
    let held = cpu.read(network.tape.kl_dim).unwrap().iter().filter(|&&kl| kl < 0.05).count();
    assert!(0 < held && held < 12, "{held} of 12: the test wants both kinds");
}

#[test]
fn every_batch_is_gathered_as_by_the_reference() {
    for cols in [3, 8, 33] {
        for reals in [false, true] {
            for binarize in [Binarize::None, Binarize::Threshold, Binarize::Dynamic] {
                for order in [Order::Shuffled, Order::Sequential] {
                    let setting = Setting { reals, binarize, ..Setting::new(Model::new(cols, &[], 1)) };
                    let network = setting.network();
                    let mut gpu = setting.gpu(&network, false);
                    let mut cpu = setting.reference(&network);
                    let step = setting.steps()[2];
                    let mut gathered = [vec![], vec![]];
                    for (b, gathered) in [&mut gpu as &mut dyn Backend, &mut cpu].into_iter().zip(&mut gathered) {
                        setting.fill(&network, b);
                        b.write(network.x, &vec![7.0; network.x.elements()]).unwrap();
                        b.set_step(&step).unwrap();
                        b.gather(network.x, Fetch::new(order, binarize)).unwrap();
                        *gathered = b.read(network.x).unwrap();
                    }
                    let (live, beyond) = gathered[0].split_at(setting.rows * cols);
                    assert_eq!(live, &gathered[1][..live.len()], "{cols} {reals} {binarize:?} {order:?}");
                    assert!(beyond.iter().all(|&x| x == 0.0));
                    assert_padding_is_zero(&network, &mut gpu);
                }
            }
        }
    }
}

#[test]
fn any_columns_are_gathered_once_for_each_sample() {
    for (from, cols, samples) in [(0, 9, 2), (5, 4, 1), (4, 8, 3), (7, 2, 3), (12, 1, 1)] {
        for reals in [false, true] {
            for binarize in [Binarize::None, Binarize::Dynamic] {
                let setting = Setting { reals, binarize, ..Setting::new(Model::new(13, &[], 1)) };
                let mut layout = Layout::training();
                let v = layout.activation(setting.batch * samples, cols + 3).columns(1..1 + cols);
                let mut gpu = Gpu::new(Emulator::new(&layout, false), &layout);
                let mut cpu = Cpu::<f64>::new(&layout, setting.batch);
                let fetch = Fetch { from, samples, ..Fetch::new(Order::Shuffled, binarize) };
                let mut gathered = [vec![], vec![]];
                for (b, gathered) in [&mut gpu as &mut dyn Backend, &mut cpu].into_iter().zip(&mut gathered) {
                    b.load(&dataset(17, 13, reals)).unwrap();
                    b.set_step(&setting.steps()[2]).unwrap();
                    b.gather(v, fetch).unwrap();
                    *gathered = b.read(v.slice(0..setting.rows * samples)).unwrap();
                }
                assert_eq!(gathered[0], gathered[1], "{fetch:?} {reals}");
                let data = dataset(17, 13, reals);
                // Sample k of an example is sample 0, and what it is comes from these columns.
                for example in gathered[1].chunks(samples * cols) {
                    assert!(example.chunks(cols).all(|row| row == &example[..cols]));
                    let mut all = [0f32; 13];
                    let is = |i| {
                        data.row(i, &mut all);
                        (0..cols).all(|c| all[from + c] as f64 == example[c])
                    };
                    assert!(binarize == Binarize::Dynamic || (0..17).any(is), "{fetch:?}: {example:?}");
                }
            }
        }
    }
}

#[test]
fn a_conditional_step_is_that_of_the_reference() {
    for (condition, hidden, samples) in [(1, vec![9], 1), (3, vec![17], 3), (10, vec![], 2)] {
        for objective in [Objective::Elbo, Objective::Iwae] {
            for library in [Library::Plain, Library::Fused, Library::Missing] {
                let model = Model { condition, samples, objective, ..Model::new(33, &hidden, 5) };
                let binarize = Binarize::Dynamic;
                Setting { library, binarize, ..Setting::new(model) }.check();
            }
        }
    }
}

#[test]
fn every_epoch_is_a_permutation() {
    for n in [1, 2, 5, 17, 33] {
        let setting = Setting { batch: n, rows: n, ..Setting::new(Model::new(1, &[], 1)) };
        let network = setting.network();
        let mut gpu = setting.gpu(&network, false);
        let values = Values::Bytes((0..n as u8).collect());
        gpu.load(&Arc::new(Dataset::new("", 1, values))).unwrap();
        gpu.set_step(&Step { position: 0, ..Step::batch(3, n) }).unwrap();
        gpu.gather(network.x, Fetch::new(Order::Shuffled, Binarize::None)).unwrap();
        let seen: BTreeSet<u64> = gpu.read(network.x).unwrap().iter().map(|x| (x * 255.0).round() as u64).collect();
        assert_eq!(seen, (0..n as u64).collect());
    }
}

/// The rules, each with clipping and weight decay.
fn optimizers() -> Vec<Optimizer> {
    let mut all = vec![];
    for rule in [Rule::Sgd, Rule::Momentum, Rule::Adagrad, Rule::Adam, Rule::Adamw] {
        for (clip_norm, weight_decay) in [(0.0, 0.0), (0.5, 0.1), (1e6, 0.02)] {
            all.push(Optimizer { lr: 0.02, clip_norm, weight_decay, ..Optimizer::new(rule) });
        }
    }
    all
}

#[test]
fn every_rule_updates_as_the_reference() {
    let setting = Setting::new(Model::new(33, &[17], 5));
    let network = setting.network();
    let layout = network.layout();
    for optimizer in optimizers() {
        for reverse in [false, true] {
            let (mut gpu, mut cpu) = (setting.gpu(&network, reverse), setting.reference(&network));
            let mut ends = [vec![], vec![]];
            for (b, end) in [&mut gpu as &mut dyn Backend, &mut cpu].into_iter().zip(&mut ends) {
                setting.fill(&network, b);
                for (t, step) in setting.steps().iter().enumerate() {
                    b.set_step(&Step { lr: 0.02, ..*step }).unwrap();
                    for (salt, p) in network.parameters.iter().enumerate() {
                        b.write(layout.d(p.view), &numbers(p.view.elements(), 50 * t + salt)).unwrap();
                    }
                    b.update(layout, &optimizer).unwrap();
                }
                for p in &network.parameters {
                    let moments = [layout.moment(p.view, 0), layout.moment(p.view, 1)];
                    for v in [p.view, moments[0], moments[1]] {
                        end.push(b.read(v).unwrap());
                    }
                }
            }
            for (got, want) in ends[0].iter().zip(&ends[1]) {
                compare(&format!("{optimizer:?}"), got, want, 1e-6); // a few roundings a step
            }
            assert_padding_is_zero(&network, &mut gpu);
        }
    }
}

#[test]
fn padding_stays_zero_without_an_eps() {
    for rule in [Rule::Adagrad, Rule::Adam, Rule::Adamw] {
        let optimizer = Optimizer { eps: 0.0, weight_decay: 0.1, clip_norm: 1.0, ..Optimizer::new(rule) };
        let setting = Setting { optimizer, ..Setting::new(Model::new(5, &[3], 2)) };
        let network = setting.network();
        let mut gpu = setting.gpu(&network, false);
        setting.train(&network, &mut gpu);
        assert_padding_is_zero(&network, &mut gpu);
    }
}

#[test]
fn an_independent_implementation_agrees() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.file_name().unwrap() == "optimizers.safetensors" {
            continue;
        }
        let case = Case::read(&path).unwrap();
        let layout = case.network.layout();
        let got = case.run(&mut Gpu::new(Emulator::new(layout, false), layout)).unwrap();
        let want = Tensors::read(&path).unwrap();
        for (name, got) in &got.tensors {
            compare(&format!("{}: {name}", path.display()), &got.values, &want.tensors[name].values, 1e-5);
        }
    }
}

/// Adam and adamw, without the library whose products could hide a large number.
fn adam(model: Model, rule: Rule) -> Setting {
    // An eps that gradients of rounding errors do not outweigh.
    let optimizer = Optimizer { lr: 0.02, eps: 0.1, weight_decay: 0.1, ..Optimizer::new(rule) };
    Setting { optimizer, library: Library::Missing, ..Setting::new(model) }
}

#[test]
fn a_step_is_the_reference_s_whatever_shortcut_it_does_without() {
    let all = Shortcut::value_variants().iter().copied().map(Some);
    for without in [None].into_iter().chain(all) {
        for (hidden, samples) in [(&[17][..], 1), (&[9, 70], 3), (&[3, 4, 5], 1), (&[], 2), (&[5, 6], 1)] {
            for rule in [Rule::Adam, Rule::Adamw] {
                for objective in [Objective::Elbo, Objective::Iwae] {
                    let model = Model { samples, objective, condition: hidden.len() % 2, ..Model::new(33, hidden, 5) };
                    // It is there, and left out.
                    let library = if without == Some(Shortcut::Library) { Library::Fused } else { Library::Missing };
                    let launched = Setting { without, library, ..adam(model, rule) }.check();
                    let fma = without == Some(Shortcut::Split);
                    assert_eq!(launched.contains("product_tn"), fma, "{without:?}");
                    let adam = !fma && without != Some(Shortcut::Update);
                    assert_eq!(launched.contains("product_tn_adam"), adam, "{without:?}");
                    // The layer behind z needs a hidden one, and no condition beside z; the one before any.
                    let latent = !fma && without != Some(Shortcut::Latent) && !hidden.is_empty();
                    let forward = launched.contains("latent_forward_linear");
                    assert_eq!(forward, latent && hidden.len() % 2 == 0, "{without:?} {hidden:?}");
                    let known = objective == Objective::Elbo || samples == 1;
                    assert_eq!(launched.contains("latent_backward_linear"), latent && known, "{without:?} {hidden:?}");
                    let nll = !fma && without != Some(Shortcut::Nll) && samples == 1;
                    assert_eq!(launched.contains("product_nt_bernoulli"), nll, "{without:?} {samples}");
                }
            }
        }
    }
}

#[test]
fn the_layers_beside_the_latent_variables_are_the_reference_s_at_every_size() {
    for (hidden, latent, samples, batch, rows) in
        [(33, 64, 1, 5, 4), (5, 63, 8, 2, 1), (9, 65, 1, 3, 3), (3, 2, 9, 4, 4), (70, 20, 1, 100, 67), (1, 1, 1, 1, 1)]
    {
        for activation in [Activation::Gelu, Activation::Relu] {
            let model = Model { samples, activation, free_bits: 0.01, ..Model::new(7, &[hidden], latent) };
            let launched = Setting { batch, rows, ..adam(model, Rule::Adam) }.check();
            for kernel in ["latent_forward_linear", "latent_backward_linear"] {
                assert_eq!(launched.contains(kernel), latent <= 64 && samples <= 8, "{kernel} {latent} {samples}");
            }
        }
    }
}

/// Means thousands of millions away: the gradients are finite, but only seen to be when all are there.
#[test]
fn a_step_with_large_numbers_is_applied_all_the_same() {
    let model = Model { likelihood: Likelihood::Gaussian, ..Model::new(6, &[5], 2) };
    let setting = adam(model, Rule::Adam);
    let network = setting.network();
    let train = |b: &mut dyn Backend| -> Vec<Vec<f64>> {
        setting.fill(&network, b);
        b.write(network.parameter("decoder.out.bias").unwrap().view, &[4e9; 6]).unwrap();
        b.train(&network.tape, &setting.optimizer, &setting.steps()).unwrap();
        network.parameters.iter().map(|p| b.read(p.view).unwrap()).collect()
    };
    let (mut gpu, mut cpu) = (setting.gpu(&network, false), setting.reference(&network));
    let (got, want) = (train(&mut gpu), train(&mut cpu));
    for ((p, got), want) in network.parameters.iter().zip(&got).zip(&want) {
        compare(&p.name, got, want, 2e-5);
    }
    let metrics = gpu.read(network.layout().metrics()).unwrap();
    assert_eq!([7, 8, 9].map(|slot| metrics[4 * slot + 3]), [0.0; 3]);
    assert!(gpu.driver.launched.contains("product_tn_adam"));
}

/// The losses are finite, half of 5 · 1.6e37 at most; a decoder's weight has a gradient of its output's bias times a tenth
/// of its hidden bias, whose square is not.
#[test]
fn a_gradient_that_is_not_finite_halts_the_run() {
    for (library, clip_norm, rule) in [
        (Library::Missing, 0.0, Rule::Sgd),
        (Library::Missing, 0.0, Rule::Adam),
        (Library::Plain, 0.0, Rule::Sgd),
        (Library::Fused, 0.0, Rule::Adam),
        (Library::Plain, 1.0, Rule::Sgd),
    ] {
        for (out, hidden) in [(4e18, 1e3), (4e12, 1e9), (-4e9, 4e11), (4e10, 4e10)] {
            let what = format!("{library:?}, clipped to {clip_norm}, {rule:?}, {out} × {hidden}");
            let model = Model { likelihood: Likelihood::Gaussian, ..Model::new(5, &[3], 2) };
            let mut setting = Setting { library, ..Setting::new(model) };
            setting.optimizer = Optimizer { clip_norm, rule, ..setting.optimizer };
            let network = setting.network();
            let mut gpu = setting.gpu(&network, false);
            setting.fill(&network, &mut gpu);
            let view = |name: &str| network.parameter(name).unwrap().view;
            gpu.write(view("decoder.out.bias"), &[out; 5]).unwrap();
            gpu.write(view("decoder.0.bias"), &[hidden; 3]).unwrap();
            let before = gpu.read(network.layout().params()).unwrap();
            gpu.train(&network.tape, &setting.optimizer, &setting.steps()).unwrap();
            assert_eq!(gpu.read(network.layout().params()).unwrap(), before, "{what}: a step was applied");
            let mut flag = |slot: usize| gpu.read(network.layout().metrics()).unwrap()[4 * slot + 3];
            assert_eq!([7, 8, 9].map(&mut flag), [2.0; 3], "{what}");
        }
    }
}

/// One factor of a gradient is beyond all bounds, and nothing else is: whoever wrote it must have said so.
#[test]
fn each_factor_of_a_gradient_is_seen_to_be_large() {
    let zeros = |n: usize| vec![0.0; n];
    for factor in ["the data", "a hidden layer", "its gradient"] {
        let activation = if factor == "its gradient" { Activation::Tanh } else { Activation::Relu };
        let likelihood = Likelihood::Gaussian;
        let setting = adam(Model { likelihood, activation, condition: 1, ..Model::new(5, &[3], 2) }, Rule::Adam);
        let network = setting.network();
        let mut gpu = setting.gpu(&network, false);
        setting.fill(&network, &mut gpu);
        let mut set = |name: &str, values: Vec<f64>| gpu.write(network.parameter(name).unwrap().view, &values).unwrap();
        match factor {
            // Columns 5 of the encoder's weight and 2 of the decoder's meet the condition.
            "the data" => {
                set("encoder.0.weight", (0..18).map(|i| if i % 6 == 5 { 0.0 } else { 0.1 }).collect());
                set("decoder.0.weight", (0..9).map(|i| if i % 3 == 2 { 0.0 } else { 0.1 }).collect());
                let row = |_| [0.1, 0.2, 0.3, 0.4, 0.5, 1e22f32];
                let data = Dataset::new("a condition", 6, Values::Reals((0..17).flat_map(row).collect()));
                gpu.load(&Arc::new(data)).unwrap();
            }
            "a hidden layer" => {
                set("decoder.0.bias", vec![4e13; 3]);
                set("decoder.out.weight", zeros(15));
                set("decoder.out.bias", vec![1e8; 5]);
            }
            _ => {
                set("decoder.0.weight", zeros(9));
                set("decoder.0.bias", zeros(3));
                set("decoder.out.weight", vec![1e13; 15]);
                set("decoder.out.bias", vec![1e8; 5]);
            }
        }
        let before = gpu.read(network.layout().params()).unwrap();
        gpu.train(&network.tape, &setting.optimizer, &setting.steps()).unwrap();
        assert!(gpu.read(network.layout().params()).unwrap() == before, "{factor}: a step was applied");
        let metrics = gpu.read(network.layout().metrics()).unwrap();
        assert_eq!([7, 8, 9].map(|slot| metrics[4 * slot + 3]), [2.0; 3], "{factor}");
    }
}

#[test]
fn a_loss_that_is_not_finite_halts_the_run() {
    let setting = Setting::new(Model::new(5, &[3], 2));
    let network = setting.network();
    let mut gpu = setting.gpu(&network, false);
    setting.fill(&network, &mut gpu);
    let bias = network.parameter("decoder.out.bias").unwrap().view;
    let weight = network.parameter("encoder.0.weight").unwrap().view;
    let healthy = gpu.read(bias).unwrap();
    gpu.write(bias, &[f64::NAN; 5]).unwrap();
    let before = gpu.read(weight).unwrap();
    gpu.train(&network.tape, &setting.optimizer, &setting.steps()).unwrap();
    assert_eq!(gpu.read(weight).unwrap(), before);
    let flag = |gpu: &mut Gpu<Emulator>, slot: usize| gpu.read(network.layout().metrics()).unwrap()[4 * slot + 3];
    // The loss, and with it the gradient.
    assert_eq!([7, 8, 9].map(|slot| flag(&mut gpu, slot)), [3.0; 3]);

    // The next call starts anew.
    gpu.write(bias, &healthy).unwrap();
    gpu.train(&network.tape, &setting.optimizer, &setting.steps()).unwrap();
    assert_ne!(gpu.read(weight).unwrap(), before);
    assert_eq!([7, 8, 9].map(|slot| flag(&mut gpu, slot)), [0.0; 3]);
}

#[test]
fn steps_at_once_and_one_by_one_give_the_same_bits() {
    let setting = Setting::new(Model { samples: 2, ..Model::new(17, &[9], 3) });
    let network = setting.network();
    let (mut at_once, mut one_by_one) = (setting.gpu(&network, false), setting.gpu(&network, true));
    setting.fill(&network, &mut at_once);
    setting.fill(&network, &mut one_by_one);
    at_once.train(&network.tape, &setting.optimizer, &setting.steps()).unwrap();
    for step in setting.steps() {
        one_by_one.train(&network.tape, &setting.optimizer, &[step]).unwrap();
    }
    assert!(at_once.driver.floats() == one_by_one.driver.floats());
    let calls = at_once.driver.calls;
    at_once.train(&network.tape, &setting.optimizer, &setting.steps()).unwrap();
    assert_eq!(at_once.driver.calls, calls, "a captured step is replayed, not launched again");
}

#[test]
fn a_run_in_bf16_is_near_and_its_copies_are_never_stale() {
    let model = |activation, condition| Model { activation, condition, samples: 2, ..Model::new(33, &[17], 5) };
    let (relu, gelu) = (model(Activation::Relu, 0), model(Activation::Gelu, 3));
    let gaussian = Model { likelihood: Likelihood::Gaussian, variance: Variance::Network, ..relu.clone() };
    let mut settings = vec![];
    for library in [Library::Plain, Library::Fused, Library::Missing] {
        settings.extend([&relu, &gelu].map(|m| Setting { library, ..Setting::new(m.clone()) }));
    }
    // Adam with the gradients, and every launch that stands for several
    settings.extend([&relu, &gelu, &gaussian].map(|m| adam(m.clone(), Rule::Adam)));
    settings.push(adam(Model { samples: 1, ..relu.clone() }, Rule::Adamw));
    settings.push(Setting { without: Some(Shortcut::Copies), ..adam(gelu.clone(), Rule::Adam) });
    for setting in settings {
        let network = setting.network();
        let layout = network.layout();
        let bf16 = |reverse| {
            let mut gpu = setting.gpu(&network, reverse);
            gpu.driver.precision = Precision::Bf16;
            setting.fill(&network, &mut gpu);
            gpu
        };
        let want = setting.train(&network, &mut setting.reference(&network));
        let mut gpu = bf16(false);
        let all = setting.train(&network, &mut gpu);
        let apart = gpu.driver.launched.contains("product_nt_bernoulli");
        for ((name, got), (_, want)) in all.iter().zip(&want) {
            let parameter = name.strip_prefix("d ").is_some_and(|name| network.parameter(name).is_some());
            // as in `check`: what is never stored, or in parts
            if parameter && gpu.driver.launched.contains("product_tn_adam") || name == "nll" && apart {
                continue;
            }
            // Operands have 8 bits: errors of 2^-9, some of which add up over the layers.
            let near = |tolerance| compare(&format!("{name} {setting:?}"), got, want, tolerance);
            near(if name.starts_with("d ") || name.starts_with("moment") { 0.1 } else { 0.03 });
        }
        assert_padding_is_zero(&network, &mut gpu);

        // The same steps, with every copy made anew: parameters and data written before each.
        let mut anew = bf16(true);
        for step in setting.steps() {
            let halves = anew.driver.halves();
            used(&network).iter().zip(halves).filter(|(used, _)| **used).for_each(|(_, half)| *half = 0x7fc0); // NaN
            let params = layout.params();
            let values = anew.read(params).unwrap();
            anew.write(params, &values).unwrap();
            anew.train(&network.tape, &setting.optimizer, &[step]).unwrap();
        }
        let end = layout.scratch().offset;
        let bits = |gpu: &mut Gpu<Emulator>| gpu.driver.floats()[..end].iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert!(bits(&mut gpu) == bits(&mut anew), "{setting:?}: a stale copy was multiplied");
    }
}

/// What a step multiplies in bf16, the launch that made it has left in bf16 too.
#[test]
fn a_captured_step_makes_no_copies() {
    for library in [Library::Plain, Library::Missing] {
        for (likelihood, variance) in
            [(Likelihood::Bernoulli, Variance::Fixed), (Likelihood::Gaussian, Variance::Network)]
        {
            for rule in Rule::value_variants() {
                let model = Model { likelihood, variance, activation: Activation::Tanh, ..Model::new(33, &[17, 9], 5) };
                let model = Model { condition: 3, samples: 2, ..model };
                let setting = Setting { library, optimizer: Optimizer::new(*rule), ..Setting::new(model) };
                let network = setting.network();
                let mut gpu = setting.gpu(&network, false);
                gpu.driver.precision = Precision::Bf16;
                setting.fill(&network, &mut gpu);
                gpu.train(&network.tape, &setting.optimizer, &setting.steps()).unwrap();
                assert!(gpu.driver.launched.contains("cast"), "of the parameters, before the first step");
                assert!(!gpu.driver.captured_kernels().contains(&"cast"), "{setting:?}");
            }
        }
    }
}

#[test]
fn what_the_host_writes_is_what_bf16_multiplies() {
    let setting = Setting::new(Model::new(33, &[17], 5));
    let network = setting.network();
    let weight = network.parameter("encoder.0.weight").unwrap().view;
    let head = |rewritten: bool| {
        let mut gpu = setting.gpu(&network, false);
        gpu.driver.precision = Precision::Bf16;
        setting.fill(&network, &mut gpu);
        gpu.set_step(&Step::batch(1, setting.batch)).unwrap();
        if rewritten {
            gpu.write(network.x, &numbers(network.x.elements(), 1)).unwrap();
            network.tape.forward(&mut gpu, network.tape.data.start..network.tape.encoder.end).unwrap();
        }
        gpu.write(network.x, &numbers(network.x.elements(), 2)).unwrap();
        gpu.write(weight, &numbers(weight.elements(), 3)).unwrap();
        network.tape.forward(&mut gpu, network.tape.data.start..network.tape.encoder.end).unwrap();
        gpu.read(network.head).unwrap()
    };
    assert_eq!(head(true), head(false));
}

#[test]
fn a_look_at_the_model_between_two_steps_in_bf16_changes_nothing() {
    let setting = Setting::new(Model::new(33, &[17], 5));
    let network = setting.network();
    let trained = |look: bool| {
        let mut gpu = setting.gpu(&network, false);
        gpu.driver.precision = Precision::Bf16;
        setting.fill(&network, &mut gpu);
        let steps = setting.steps();
        gpu.train(&network.tape, &setting.optimizer, &steps[..1]).unwrap();
        if look {
            network.tape.forward(&mut gpu, 0..network.tape.ops.len()).unwrap(); // its copies must not go into the capture
        }
        gpu.train(&network.tape, &setting.optimizer, &steps[1..]).unwrap();
        gpu.read(network.layout().params()).unwrap()
    };
    assert_eq!(trained(true), trained(false));
}

/// A layout with one view of that shape for each of the names.
fn matrices<const N: usize>(shapes: [(usize, usize); N]) -> (Layout, [View; N]) {
    let mut layout = Layout::inference();
    let views = shapes.map(|(rows, cols)| layout.activation(rows, cols));
    (layout, views)
}

fn write(e: &mut Emulator, v: View, values: &[f64]) {
    for row in 0..v.rows {
        for col in 0..v.cols {
            e.floats()[v.at(row, col)] = values[row * v.cols + col] as f32;
        }
    }
}

#[test]
fn a_cast_rounds_to_the_nearest_bf16() {
    for cols in [1, 4, 7, 33] {
        let (layout, [x]) = matrices([(3, cols)]);
        let mut e = Emulator::new(&layout, false);
        let mut values = numbers(3 * cols, 1);
        let ties = [1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0, f64::INFINITY];
        values[..3].copy_from_slice(&ties);
        write(&mut e, x, &values);
        kernels::cast(&mut e, Grid { blocks: [1, 1], threads: 32 }, Out16(x), In(x)).unwrap();
        for row in 0..3 {
            for col in 0..cols {
                let want = half::bf16::from_f64(values[row * cols + col]);
                assert_eq!(e.halves()[x.at(row, col)], want.to_bits(), "{}", values[row * cols + col]);
            }
        }
        e.floats()[x.offset] = f32::from_bits(0x7f80_0001); // the NaN whose upper half is infinity
        kernels::cast(&mut e, Grid { blocks: [1, 1], threads: 32 }, Out16(x), In(x)).unwrap();
        assert!(half::bf16::from_bits(e.halves()[x.offset]).is_nan());
        let _ = In16(x);
    }
}

#[test]
fn views_may_start_anywhere() {
    let (layout, [x, y]) = matrices([(3, 33), (3, 33)]);
    let mut e = Emulator::new(&layout, false);
    for first in 0..9 {
        let (from, to) = (x.columns(first..33), y.columns(first..33));
        write(&mut e, x, &numbers(99, first));
        let grid = Grid { blocks: [1, 1], threads: 32 };
        kernels::cast(&mut e, grid, Out16(to), In(from)).unwrap();
        let zero = In(View { rows: 1, ..layout.scratch().columns(first..33) });
        kernels::bias_activation(&mut e, grid, Out(to), Out16(View { rows: 0, ..y }), Out(from), zero, 0).unwrap();
        for (row, col) in (0..3).flat_map(|row| (first..33).map(move |col| (row, col))) {
            let value = e.floats()[x.at(row, col)];
            assert_eq!(e.floats()[y.at(row, col)], value);
            assert_eq!(e.halves()[y.at(row, col)], half::bf16::from_f32(value).to_bits());
        }
    }
}

/// As our products round their operands.
fn rounded(x: f64, precision: Precision) -> f64 {
    match precision {
        Precision::Fp32 => x as f32 as f64,
        Precision::Tf32 => f32::from_bits(((x as f32).to_bits() + 0x1000) & 0xffff_e000) as f64,
        Precision::Bf16 => half::bf16::from_f32(x as f32).to_f64(),
    }
}

#[test]
fn our_own_products_match_in_every_layout_and_precision() {
    use {Activation::*, Precision::*};
    for (turn, (m, n, k)) in [(1, 1, 1), (17, 33, 65), (33, 17, 300), (70, 130, 16), (5, 66, 9)].into_iter().enumerate()
    {
        // Each with how the tensor cores take its operands; f32 also without them, bf16 also from copies.
        for (precision, operands, copies) in [
            (Fp32, None, false),
            (Fp32, Some(2), false),
            (Tf32, Some(0), false),
            (Bf16, Some(1), false),
            (Bf16, Some(1), true),
        ] {
            for wide in [false, true] {
                let f = [None, Some(Gelu), Some(Tanh)][turn % 3];
                products_match((m, n, k), precision, (operands, copies), wide, turn % 2 == 0, f);
            }
        }
    }
}

fn products_match(
    (m, n, k): (usize, usize, usize),
    p: Precision,
    (operands, copies): (Option<i32>, bool),
    wide: bool,
    reverse: bool,
    f: Option<Activation>,
) {
    let (layout, [y, pre, dx, dw, dbias, x, w, bias, dy]) =
        matrices([(m, n), (m, n), (m, k), (n, k), (1, n), (m, k), (n, k), (1, n), (m, n)]);
    let mut e = Emulator::new(&layout, reverse);
    let (tensor, operands) = (operands.is_some(), operands.unwrap_or(0));
    let number = match f {
        Some(Activation::Tanh) => 1,
        Some(Activation::Gelu) => 4,
        _ => 0,
    };
    let values: Vec<Vec<f64>> = [x, w, bias, dy].iter().enumerate().map(|(i, v)| numbers(v.elements(), i)).collect();
    let [x_is, w_is, bias_is, dy_is] = &values[..] else { unreachable!() };
    for (v, is) in [x, w, bias, dy].into_iter().zip(&values) {
        write(&mut e, v, is);
        if copies {
            kernels::cast(&mut e, Grid { blocks: [4, 1], threads: 32 }, Out16(v), In(v)).unwrap();
            // dbias is a sum of dy in f32, and the slope that at x; the weights are only multiplied
            if v == w {
                write(&mut e, v, &vec![f64::NAN; is.len()]);
            }
        }
    }
    let whole = |v: View| View { cols: v.stride, ..v };
    let any = |v: View| if copies { InAny::Half(whole(v)) } else { InAny::F32(whole(v)) };
    let none = View { rows: 0, ..x };
    let grid = |c: View, tile: (usize, usize)| {
        let (rows, cols) = if wide { (64, 64) } else { tile };
        Grid { blocks: [c.cols.div_ceil(cols) as u32, c.rows.div_ceil(rows) as u32], threads: 512 }
    };
    use Precision::*;
    let nt = match (tensor, wide) {
        (false, false) => kernels::product_nt,
        (false, true) => kernels::product_nt_wide,
        (true, false) => kernels::product_nt_tensor,
        (true, true) => kernels::product_nt_tensor_wide,
    };
    let nn = match (tensor, wide) {
        (false, false) => kernels::product_nn,
        (false, true) => kernels::product_nn_wide,
        (true, false) => kernels::product_nn_tensor,
        (true, true) => kernels::product_nn_tensor_wide,
    };
    let tn = if tensor { kernels::product_tn_tensor } else { kernels::product_tn };
    let half16 = if p == Bf16 { y } else { none };
    nt(
        &mut e,
        grid(y, (32, 16)),
        Out(y),
        Out16(half16),
        Out(pre),
        any(x),
        any(w),
        In(bias),
        In(none),
        number,
        operands,
    )
    .unwrap();
    // the slope at x, as if a nonlinearity had made it
    let (tiles, no) = (grid(dx, (32, 16)), In(none));
    nn(&mut e, tiles, Out(dx), Out16(none), Out(none), any(dy), any(w), no, In(x), number, operands).unwrap();
    let tiles = Grid { blocks: [(n.div_ceil(64) * k.div_ceil(64)) as u32, 1], threads: if tensor { 256 } else { 512 } };
    let (no, nothing, nothing16, any_none) = (Out(none), In(none), In16(none), InAny::F32(none));
    let dy16 = In16(if copies { whole(dy) } else { none });
    #[rustfmt::skip] // one layer of six
    tn(
        &mut e, tiles, Out(dw), Out(dbias), In(whole(dy)), dy16, any(x),
        no, no, nothing, nothing16, any_none, no, no, nothing, nothing16, any_none,
        no, no, nothing, nothing16, any_none, no, no, nothing, nothing16, any_none,
        no, no, nothing, nothing16, any_none, operands,
    )
    .unwrap();

    let r = |x: f64| rounded(x, p);
    let dot = |a: &dyn Fn(usize) -> f64, b: &dyn Fn(usize) -> f64, depth| -> f64 {
        (0..depth).map(|l| r(a(l)) * r(b(l))).sum()
    };
    let mut compare_all = |name: &str, v: View, want: &dyn Fn(usize, usize) -> f64| {
        for row in 0..v.rows {
            for col in 0..v.stride {
                let got = e.floats()[v.at(row, col)] as f64;
                let want = if col < v.cols { want(row, col) } else { 0.0 };
                // a sum of up to 300 terms of size 1
                assert!((got - want).abs() < 3e-5, "{name}({row}, {col}) of {m} {n} {k} {p:?} {wide}: {got}, {want}");
            }
        }
    };
    let sum = |row: usize, col: usize| dot(&|l| x_is[row * k + l], &|l| w_is[col * k + l], k) + bias_is[col];
    let gelu = |a: f64| {
        let t = (0.797_884_560_802_865_4 * (a + 0.044715 * a * a * a)).tanh();
        let inner = 0.797_884_560_802_865_4 * (1.0 + 3.0 * 0.044715 * a * a);
        (0.5 * a * (1.0 + t), 0.5 * (1.0 + t) + 0.5 * a * (1.0 - t * t) * inner)
    };
    compare_all("pre", pre, &sum);
    compare_all("y", y, &|row, col| match f {
        Some(Activation::Tanh) => sum(row, col).tanh(),
        Some(Activation::Gelu) => gelu(sum(row, col)).0,
        _ => sum(row, col),
    });
    compare_all("dx", dx, &|row, col| {
        let x = x_is[row * k + col];
        let slope = match f {
            Some(Activation::Tanh) => 1.0 - x * x,
            Some(Activation::Gelu) => gelu(x).1,
            _ => 1.0,
        };
        slope * dot(&|l| dy_is[row * n + l], &|l| w_is[l * k + col], n)
    });
    compare_all("dw", dw, &|row, col| dot(&|l| dy_is[l * n + row], &|l| x_is[l * k + col], m));
    compare_all("dbias", dbias, &|_, col| (0..m).map(|l| dy_is[l * n + col]).sum());
    if p == Bf16 {
        for (row, col) in (0..m).flat_map(|row| (0..n).map(move |col| (row, col))) {
            let value = e.floats()[y.at(row, col)];
            assert_eq!(e.halves()[y.at(row, col)], half::bf16::from_f32(value).to_bits());
        }
    }
}

/// The tape's operations one by one, as `check` runs them, and merged, as `train` does.
fn one_by_one_and_merged(setting: &Setting) -> BTreeSet<&'static str> {
    let network = setting.network();
    let (mut one_by_one, mut merged) = (setting.gpu(&network, false), setting.gpu(&network, true));
    let step = setting.steps()[2];
    setting.fill(&network, &mut one_by_one);
    setting.fill(&network, &mut merged);
    one_by_one.set_step(&step).unwrap();
    network.tape.step(&mut one_by_one, &setting.optimizer).unwrap();
    merged.train(&network.tape, &setting.optimizer, &[step]).unwrap();
    let layout = network.layout();
    let mut views = vec![layout.params(), layout.moment(layout.params(), 0), layout.metrics()];
    if !merged.driver.launched.contains("product_tn_adam") {
        views.push(layout.d(layout.params())); // else they were not stored
    }
    views.extend(network.activations.iter().map(|(_, v)| *v));
    views.extend([network.head, network.z, network.decoded.out].map(|v| layout.d(v)));
    for v in views {
        let [got, want] = [&mut merged, &mut one_by_one].map(|gpu| gpu.read(v).unwrap());
        compare(&format!("{v:?} of {setting:?}"), &got, &want, 1e-5); // sums of a hundred terms, in another order
    }
    one_by_one.driver.launched.append(&mut merged.driver.launched);
    one_by_one.driver.launched.clone()
}

#[test]
fn merged_operations_give_the_numbers_of_each_by_itself() {
    for library in [Library::Plain, Library::Missing] {
        for objective in [Objective::Elbo, Objective::ElboMc, Objective::Iwae] {
            for activation in [Activation::Tanh, Activation::Gelu] {
                for (likelihood, variance, mean) in likelihoods() {
                    let model =
                        Model { objective, likelihood, variance, mean, samples: 2, ..Model::new(17, &[9, 6], 3) };
                    one_by_one_and_merged(&Setting { library, ..Setting::new(Model { activation, ..model }) });
                }
            }
        }
    }
}

#[test]
fn every_kernel_is_launched_by_a_test() {
    let mut launched = BTreeSet::new();
    let mut launch = |setting: Setting| launched.append(&mut setting.check());
    for variance in [Variance::Scalar, Variance::Shared] {
        let model = Model { likelihood: Likelihood::Gaussian, variance, ..Model::new(3, &[2], 1) };
        launch(Setting { library: Library::Missing, ..Setting::new(model) });
    }
    for optimizer in optimizers() {
        // An eps that gradients of rounding errors do not outweigh.
        let optimizer = Optimizer { eps: 0.1, ..optimizer };
        launch(Setting { optimizer, ..Setting::new(Model::new(3, &[2], 1)) });
    }
    // Enough columns for large tiles, and few.
    for input in [6100, 3] {
        launch(adam(Model::new(input, &[2], 1), Rule::Adam));
    }
    launched.append(&mut one_by_one_and_merged(&Setting::new(Model::new(3, &[2], 1))));
    // by `a_cast_rounds_to_the_nearest_bf16` and `our_own_products_match_in_every_layout_and_precision`
    launched.insert("cast");
    let by_itself =
        |name: &&&str| name.starts_with("product_") && !name.contains("adam") && !name.contains("bernoulli");
    launched.extend(kernels::NAMES.iter().filter(by_itself));
    let all: BTreeSet<&str> = kernels::NAMES.iter().copied().collect();
    assert_eq!(launched, all);
}

#[test]
fn reading_a_neighbour_s_columns_is_caught() {
    let (layout, [y, bias]) = matrices([(3, 9), (1, 9)]);
    let mut e = Emulator::new(&layout, false);
    let bias = bias.columns(0..8); // the launcher's mistake
    let none = Out16(View { rows: 0, ..y });
    kernels::bias_activation(&mut e, Grid { blocks: [1, 1], threads: 32 }, Out(y), none, Out(y), In(bias), 0).unwrap();
    // the quad beyond is read as zeros; a scalar access is not so forgiving
    let error = kernels::kl_forward(
        &mut e,
        Grid { blocks: [1, 1], threads: 256 },
        Out(y.columns(0..1)),
        Out(y.columns(0..5)),
        In(y),
    );
    assert_eq!(error.unwrap_err().to_string(), "kl_forward: block 0, thread 4: load outside every view of the launch");
}

#[test]
fn a_race_between_two_rows_is_caught() {
    let (layout, [y]) = matrices([(5, 8)]);
    for reverse in [false, true] {
        let mut e = Emulator::new(&layout, reverse);
        let (low, high) = (y.slice(0..4), y.slice(1..5)); // y(row) = a(row) + bias, and a is y one row further
        let none = Out16(View { rows: 0, ..y });
        let grid = Grid { blocks: [1, 1], threads: 32 };
        let error = kernels::bias_activation(&mut e, grid, Out(low), none, Out(high), In(y.slice(0..1)), 0);
        assert!(error.unwrap_err().to_string().contains("data race on view"));
    }
}
