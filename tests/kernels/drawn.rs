//! Training of models drawn at random, on the emulated GPU and on the CPU.
use crate::emulator::Library;
use crate::models;
use crate::numbers::Numbers;
use crate::setting::{Setting, compare, optimizers};
use clap::ValueEnum;
use vae_gpu::config::{Binarize, Gradient, Likelihood, Model, Objective, Optimizer, Rule, Variance};
use vae_gpu::device::driver::Stored;
use vae_gpu::device::{Cpu, Shortcut};

/// Of the largest of a tensor. Where it has one number, whose terms cancel, nothing larger may be beside it.
const TOLERANCE: f64 = 1e-4;

fn setting(numbers: &mut Numbers, extents: &[usize], batches: &[usize]) -> Setting {
    let model = models::draw(numbers, extents);
    let batch = numbers.one_of(batches) + numbers.below(3);
    let bernoulli = model.is_all(Likelihood::Bernoulli);
    // A variance that is learned takes smaller steps.
    let slowly = if model.variance == Variance::Fixed { 1.0 } else { 0.1 };
    let slowly = if model.has_counts() { 0.02 } else { slowly };
    let optimizer = numbers.one_of(&optimizers());
    // Some of those that draw their KL; what is drawn of the others stays as it was.
    let path = model.objective != Objective::Elbo && model.latent.is_multiple_of(2);
    let gradient = if path { Gradient::Path } else { Gradient::Total };
    let plain = Setting::new(Model { gradient, ..model });
    let lr = match optimizer.rule {
        Rule::Sgd | Rule::Momentum => slowly * plain.optimizer.lr,
        // Of 500 inputs a step of 0.02 each is 10, and the mean of a count is an exponential.
        Rule::Adagrad | Rule::Adam | Rule::Adamw if plain.model.has_counts() => 0.1 * optimizer.lr,
        Rule::Adagrad | Rule::Adam | Rule::Adamw => optimizer.lr,
    };
    // One that gradients of rounding errors do not outweigh: those of counts are larger.
    let eps = if plain.model.has_counts() { 10.0 } else { 0.1 };
    Setting {
        batch,
        rows: 1 + numbers.below(batch),
        binarize: if bernoulli { numbers.one_of(Binarize::value_variants()) } else { Binarize::None },
        stored: numbers.one_of(&[Stored::Reals, Stored::Bytes, Stored::Sparse]),
        optimizer: Optimizer { lr, eps, ..optimizer },
        library: numbers.one_of(&[Library::Fused, Library::Plain, Library::Missing]),
        without: [None, Some(numbers.one_of(Shortcut::value_variants()))][numbers.below(2)],
        ..plain
    }
}

/// Multiplications of a step, about.
fn work(setting: &Setting) -> usize {
    let weights: usize = setting.network().parameters.iter().map(|p| p.view.elements()).sum();
    setting.batch * setting.model.samples * weights
}

#[test]
fn models_drawn_at_random_match_the_reference_on_the_gpu() {
    let mut numbers = Numbers::new(1);
    // Around the sizes of quads, tiles and warps; and batches whose gradients go to the library.
    let draw = |_| setting(&mut numbers, &[1, 4, 8, 16, 32, 64, 128], &[1, 4, 16, 32, 64, 257]);
    let settings: Vec<Setting> = (0..).map(draw).filter(|s| work(s) < 300_000).take(40).collect();
    settings.iter().for_each(|setting| drop(setting.check_within(TOLERANCE)));
}

#[test]
fn models_drawn_at_random_match_the_reference_on_the_cpu_with_any_number_of_threads() {
    let mut numbers = Numbers::new(2);
    let draw = |_| setting(&mut numbers, &[1, 9, 33, 100, 256, 500], &[1, 20, 100, 257]);
    let settings: Vec<Setting> = (0..).map(draw).filter(|s| work(s) < 100_000_000).take(40).collect();
    let mut diverged = 0;
    for setting in settings {
        let network = setting.network();
        let want = setting.train(&network, &mut setting.reference(&network));
        // Hundreds of counts at a rate that is too large for them: in f64 too.
        if want.iter().any(|(_, want)| want.iter().any(|x| !x.is_finite())) {
            diverged += 1;
            continue;
        }
        let train = || setting.train(&network, &mut Cpu::<f32>::new(network.layout(), setting.batch));
        let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let [one, two, three] = [1, 2, 3].map(|threads| pool(threads).install(train));
        assert!(one.iter().all(|(_, got)| got.iter().all(|x| x.is_finite())), "not finite: {setting:?}");
        assert!(one == two && two == three, "{setting:?}");
        for ((name, got), (_, own)) in one.iter().zip(&want) {
            // Beside a bias of one number its weight, whose gradient sums the same slopes: what is left of those that cancel is small.
            let weight = name.strip_suffix(".bias").map(|of| format!("{of}.weight"));
            let mut beside: Vec<f64> = vec![];
            if own.len() == 1 {
                want.iter().filter(|(name, _)| Some(name) == weight.as_ref()).for_each(|(_, w)| beside.extend(w));
            }
            let (got, own) = ([got, &beside[..]].concat(), [own, &beside[..]].concat());
            compare(&format!("{name} of {setting:?}"), &got, &own, TOLERANCE);
        }
    }
    assert!(diverged <= 1, "{diverged} of 40 say nothing");
}
