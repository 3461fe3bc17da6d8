//! Steps of training: every kernel of one beside the reference, one by one and merged.
use crate::emulator::{Emulator, Library};
use crate::models::of_every_likelihood;
use crate::setting::{Setting, adam, assert_padding_is_zero, compare, dataset, is_launched, numbers, optimizers};
use clap::ValueEnum;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use vae_gpu::arena::Layout;
use vae_gpu::case::Case;
use vae_gpu::config::{
    Activation, Binarize, Dispersion, Gradient, Likelihood, Model, Objective, Optimizer, Rule, Variance,
};
use vae_gpu::data::{Dataset, Values};
use vae_gpu::device::driver::{Precision, Stored};
use vae_gpu::device::{Backend, Cpu, Gpu, Shortcut};
use vae_gpu::step::Step;
use vae_gpu::tape::{Fetch, Order};
use vae_gpu::tensors::Tensors;

fn every_objective(samples: usize) {
    for objective in [Objective::Elbo, Objective::ElboMc, Objective::Iwae] {
        let activation = Activation::Tanh;
        let plain = Model { objective, samples, sigma: 0.5, activation, ..Model::new(17, &[9], 3) };
        for model in of_every_likelihood(&plain) {
            // Of the one number that is the sum over all counts nine tenths cancel.
            let one = model.likelihood == Likelihood::NegativeBinomial && model.dispersion == Dispersion::Scalar;
            Setting::new(model).check_within(if one { 1e-4 } else { 2e-5 });
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

/// Samples for one lane of a warp, for some, and for each more than one; in a batch of which one example is not there.
#[test]
fn the_path_gradient_matches_the_reference() {
    for objective in [Objective::ElboMc, Objective::Iwae] {
        for (samples, latent) in [(1, 1), (3, 5), (40, 17), (70, 2)] {
            for likelihood in [Likelihood::Bernoulli, Likelihood::Gaussian] {
                let plain = Model { likelihood, activation: Activation::Tanh, ..Model::new(17, &[9], latent) };
                let model = Model { objective, gradient: Gradient::Path, samples, ..plain };
                Setting { batch: 4, rows: 3, ..Setting::new(model) }.check();
            }
        }
    }
}

#[test]
fn every_activation_matches_the_reference_with_every_library() {
    for &activation in Activation::value_variants() {
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
        (1, &[17], 3, 3, 2, 1), // a weight of one row, longer than its bias is away
        (33, &[], 17, 3, 2, 1),
        (300, &[33], 33, 17, 9, 1),
        (65, &[300], 5, 33, 33, 1),
        (7, &[5], 140, 2, 1, 2), // more latent dimensions than a warp has columns
        (3, &[4], 2, 300, 131, 1),
        (3, &[4], 2, 1100, 1031, 1), // more rows than a block of columns takes at once
        (5, &[4], 2, 3, 2, 70),      // more samples than a warp has lanes
        (5, &[4], 17, 5, 3, 9),      // samples enough for a warp, of several quads
        (3, &[2], 1, 300, 131, 8),   // more samples of a batch than one block gives the bound of in passing
    ] {
        for objective in [Objective::Elbo, Objective::Iwae] {
            let activation = Activation::Softplus;
            let model = Model { samples, objective, activation, ..Model::new(input, hidden, latent) };
            Setting { batch, rows, ..Setting::new(model) }.check();
        }
    }
}

#[test]
fn dispersions_of_odd_shapes_match_the_reference() {
    for (input, batch, rows) in [(1, 1, 1), (300, 2, 1), (9, 300, 290)] {
        let plain = Model::new(input, &[], 2);
        let gaussian = |variance| Model { likelihood: Likelihood::Gaussian, variance, ..plain.clone() };
        let count = |dispersion| Model { likelihood: Likelihood::NegativeBinomial, dispersion, ..plain.clone() };
        let gaussians = [Variance::Scalar, Variance::Shared, Variance::Network].map(gaussian);
        for model in gaussians.into_iter().chain(Dispersion::value_variants().iter().map(|&d| count(d))) {
            let mut setting = Setting { batch, rows, stored: Stored::Reals, ..Setting::new(model) };
            setting.optimizer.lr *= 0.1; // one that is learned takes smaller steps
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
        for stored in [Stored::Bytes, Stored::Reals, Stored::Sparse] {
            for binarize in [Binarize::None, Binarize::Threshold, Binarize::Dynamic] {
                for order in [Order::Shuffled, Order::Sequential] {
                    let setting = Setting { stored, binarize, ..Setting::new(Model::new(cols, &[], 1)) };
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
                    assert_eq!(live, &gathered[1][..live.len()], "{cols} {stored:?} {binarize:?} {order:?}");
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
        for stored in [Stored::Bytes, Stored::Reals, Stored::Sparse] {
            for binarize in [Binarize::None, Binarize::Dynamic] {
                let setting = Setting { stored, binarize, ..Setting::new(Model::new(13, &[], 1)) };
                let mut layout = Layout::training();
                let v = layout.activation(setting.batch * samples, cols + 3).columns(1..1 + cols);
                let mut gpu = Gpu::new(Emulator::new(&layout, false), &layout).unwrap();
                let mut cpu = Cpu::<f64>::new(&layout, setting.batch);
                let fetch = Fetch { from, samples, ..Fetch::new(Order::Shuffled, binarize) };
                let mut gathered = [vec![], vec![]];
                for (b, gathered) in [&mut gpu as &mut dyn Backend, &mut cpu].into_iter().zip(&mut gathered) {
                    b.load(&dataset(17, 13, stored)).unwrap();
                    b.set_step(&setting.steps()[2]).unwrap();
                    b.gather(v, fetch).unwrap();
                    *gathered = b.read(v.slice(0..setting.rows * samples)).unwrap();
                }
                assert_eq!(gathered[0], gathered[1], "{fetch:?} {stored:?}");
                let data = dataset(17, 13, stored);
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
        let got = case.run(&mut Gpu::new(Emulator::new(layout, false), layout).unwrap()).unwrap();
        let want = Tensors::read(&path).unwrap();
        for (name, got) in &got.tensors {
            compare(&format!("{}: {name}", path.display()), &got.values, &want.tensors[name].values, 1e-5);
        }
    }
}

#[test]
fn a_step_is_the_reference_s_whatever_shortcut_it_does_without() {
    let all = Shortcut::value_variants().iter().copied().map(Some);
    let shapes = [(&[17][..], 1), (&[9, 70], 3), (&[3, 4, 5], 1), (&[], 2), (&[5, 6], 1)];
    for (i, without) in [None].into_iter().chain(all).enumerate() {
        for (j, (hidden, samples)) in shapes.into_iter().enumerate() {
            // All that there is with either, and each that is left out.
            let both = [Objective::Elbo, Objective::Iwae];
            let one = &both[(i + j) % 2..][..1];
            for &objective in if without.is_none() { &both[..] } else { one } {
                // each with either, at one shape or another
                let is_adam = (objective == Objective::Elbo) == (hidden.len() % 2 == 0);
                let rule = if is_adam { Rule::Adam } else { Rule::Adamw };
                let model = Model { samples, objective, condition: hidden.len() % 2, ..Model::new(33, hidden, 5) };
                // It is there, and left out.
                let library = if without == Some(Shortcut::Library) { Library::Fused } else { Library::Missing };
                let launched = Setting { without, library, ..adam(model, rule) }.check();
                let fma = without == Some(Shortcut::Split);
                assert_eq!(launched.contains("product_tn"), fma, "{without:?}");
                let adam = !fma && without != Some(Shortcut::Update);
                assert_eq!(is_launched(&launched, "product_tn_adam"), adam, "{without:?}");
                // The layer behind z needs a hidden one, and no condition beside z; the one before any.
                let latent = !fma && without != Some(Shortcut::Latent) && !hidden.is_empty();
                let forward = is_launched(&launched, "latent_forward_linear");
                assert_eq!(forward, latent && hidden.len() % 2 == 0, "{without:?} {hidden:?}");
                let known = objective == Objective::Elbo || samples == 1;
                assert_eq!(is_launched(&launched, "latent_backward_linear"), latent && known, "{without:?} {hidden:?}");
                let nll = !fma && without != Some(Shortcut::Nll) && samples == 1;
                assert_eq!(is_launched(&launched, "product_nt_bernoulli"), nll, "{without:?} {samples}");
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
                assert_eq!(is_launched(&launched, kernel), latent <= 64 && samples <= 8, "{kernel} {latent} {samples}");
            }
        }
    }
}

/// As annealed importance sampling asks for it: the same bits, and no gradient of a parameter.
#[test]
fn the_gradient_of_z_alone_is_that_of_a_whole_backward_pass() {
    for library in [Library::Fused, Library::Plain, Library::Missing] {
        for (hidden, variance) in [(&[9][..], Variance::Fixed), (&[], Variance::Shared)] {
            let likelihood = if hidden.is_empty() { Likelihood::Gaussian } else { Likelihood::Bernoulli };
            let setting =
                Setting { library, ..Setting::new(Model { likelihood, variance, ..Model::new(33, hidden, 5) }) };
            let network = setting.network();
            let (tape, layout) = (&network.tape, network.layout());
            let backward = |whole: bool| {
                let mut gpu = setting.gpu(&network, !whole);
                setting.fill(&network, &mut gpu);
                gpu.set_step(&setting.steps()[1]).unwrap();
                tape.forward(&mut gpu, 0..tape.ops.len()).unwrap();
                match whole {
                    true => tape.backward(&mut gpu).unwrap(),
                    false => tape.backward_to_input(&mut gpu, tape.decoder.start..tape.decoder.end + 1).unwrap(),
                }
                let learned = gpu.read(layout.d(layout.params())).unwrap();
                (gpu.read(layout.d(network.z)).unwrap(), learned.iter().any(|&g| g != 0.0))
            };
            let (all, z) = (backward(true), backward(false));
            assert_eq!(z.0, all.0, "{setting:?}");
            assert_eq!((all.1, z.1), (true, false), "{setting:?}");
        }
    }
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

/// The tape's operations one by one, as `check` runs them, and merged, as `train` does.
pub fn one_by_one_and_merged(setting: &Setting) -> BTreeSet<&'static str> {
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
    if !is_launched(&merged.driver.launched, "product_tn_adam") {
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
            // Each likelihood with one or the other: merged is what stands between the layers.
            let activations = [Activation::Tanh, Activation::Gelu].into_iter().cycle();
            let plain = Model { objective, samples: 2, ..Model::new(17, &[9, 6], 3) };
            for (model, activation) in of_every_likelihood(&plain).into_iter().zip(activations) {
                one_by_one_and_merged(&Setting { library, ..Setting::new(Model { activation, ..model }) });
            }
            if objective != Objective::Elbo {
                let model = Model { gradient: Gradient::Path, activation: Activation::Tanh, ..plain };
                one_by_one_and_merged(&Setting { library, ..Setting::new(model) });
            }
        }
    }
}

/// In the reversed order what runs beside runs as late as it may, else as early: neither may matter.
#[test]
fn the_gradients_of_the_weights_run_beside_the_rest() {
    for precision in [Precision::Fp32, Precision::Bf16] {
        for (activation, objective) in [(Activation::Relu, Objective::Elbo), (Activation::Gelu, Objective::Iwae)] {
            let model = Model { activation, objective, samples: 2, ..Model::new(33, &[9, 5], 3) };
            let trained = |reverse: bool, without: Option<Shortcut>| {
                let setting = Setting { without, library: Library::Plain, ..adam(model.clone(), Rule::Adam) };
                let network = setting.network();
                let mut gpu = setting.gpu(&network, reverse);
                gpu.driver.precision = precision;
                let numbers = setting.train(&network, &mut gpu);
                (numbers, gpu.driver.branched)
            };
            let (want, branched) = trained(false, Some(Shortcut::Branch));
            assert_eq!(branched, 0);
            for reverse in [false, true] {
                let (got, branched) = trained(reverse, None);
                // Of six layers, once launched and once captured; of two without a nonlinearity the sums over rows too.
                assert_eq!(branched, 2 * (6 + 2));
                assert!(got == want, "{precision:?} {activation:?}, reversed: {reverse}");
            }
        }
    }
}
