//! Thousands of rows: sums over them have parts, which a launch of its own adds up, and threads take several quads.
use crate::emulator::Library;
use crate::setting::{Setting, adam, compare, dataset};
use std::collections::BTreeSet;
use vae_gpu::config::{Activation, Binarize, Likelihood, Model, Objective, Rule};
use vae_gpu::device::driver::{Precision, Stored};
use vae_gpu::device::{Backend, Shortcut};
use vae_gpu::step::Step;
use vae_gpu::tape::{Fetch, Order};

/// Those that a step launches because its rows are many.
const TALL: [&str; 4] = ["activation_backward_tall", "bias_of_parts", "kl_dim_of_parts", "metrics_of_parts"];

fn of_them(launched: &BTreeSet<&'static str>) -> Vec<&'static str> {
    TALL.into_iter().filter(|kernel| launched.contains(kernel)).collect()
}

/// A batch for which every sum has parts.
pub fn tall(model: Model) -> Setting {
    Setting { batch: 4100, rows: 4099, ..Setting::new(model) }
}

#[test]
fn sums_over_thousands_of_rows_match_the_reference() {
    // More columns than a block has lines of; more dimensions than one block sums; no nonlinearity, and two.
    let model = |hidden: &[usize], latent, activation| Model { activation, ..Model::new(3, hidden, latent) };
    let free = Model { free_bits: 0.05, ..model(&[33], 9, Activation::Gelu) };
    for model in [free, model(&[2, 5], 1, Activation::Relu), model(&[], 2, Activation::Relu)] {
        // Three steps, whose sums have thousands of terms, of which most cancel.
        assert_eq!(of_them(&tall(model).check_within(1e-4)), TALL);
    }
}

/// Sums with a few parts or with none are the same, but for the order: from 2048 rows on they have some.
#[test]
fn fewer_rows_have_fewer_parts_or_none() {
    for (batch, rows, wanted) in [(2047, 2047, &[][..]), (2048, 3, &TALL[..3]), (4096, 4096, &TALL[..3])] {
        let setting = Setting { batch, rows, ..Setting::new(Model::new(2, &[3], 1)) };
        assert_eq!(of_them(&setting.check_within(1e-4)), wanted, "{batch}");
    }
}

#[test]
fn the_bound_of_many_examples_with_samples_is_the_reference_s() {
    for objective in [Objective::Elbo, Objective::ElboMc, Objective::Iwae] {
        // 32 examples are two for each warp of a block, and one is left; a multiple of neither.
        for (batch, rows, samples) in [(33, 32, 3), (83, 70, 35)] {
            let model = Model { objective, samples, ..Model::new(3, &[2], 2) };
            let split = Setting { batch, rows, ..Setting::new(model) }.check().contains("metrics_of_parts");
            // Else the bound goes along with the latent variables, where the weights are known.
            assert_eq!(split, objective == Objective::Iwae || batch * samples > 2048, "{objective:?} {batch}");
        }
    }
}

/// In bf16, by the library and by our own kernels, with Adam.
#[test]
fn thousands_of_rows_leave_their_copies_in_bf16() {
    for library in [Library::Plain, Library::Missing] {
        let model = Model { activation: Activation::Tanh, ..Model::new(5, &[33], 2) };
        let setting = Setting { batch: 2050, rows: 2049, library, ..adam(model, Rule::Adam) };
        let network = setting.network();
        let want = setting.train(&network, &mut setting.reference(&network));
        let mut gpu = setting.gpu(&network, false);
        gpu.driver.precision = Precision::Bf16;
        for ((name, got), (_, want)) in setting.train(&network, &mut gpu).iter().zip(&want) {
            if crate::setting::is_stored(name, &network, &gpu.driver.launched) {
                compare(&format!("{name} {library:?}"), got, want, 0.1); // operands of 8 bits
            }
        }
        let tall = gpu.driver.launched.contains("activation_backward_tall");
        assert_eq!(tall, library == Library::Plain, "our own gradients sum up what they read anyway");
        assert!(!gpu.driver.captured_kernels().contains(&"cast"), "{library:?}");
    }
}

/// Relu's gradient is in bf16 alone, or in f32 too: the products, the sums and so the parameters have the same bits.
#[test]
fn nobody_misses_the_gradient_that_relu_leaves_in_bf16_alone() {
    let model = Model { activation: Activation::Relu, ..Model::new(5, &[33, 7], 2) };
    let network = Setting { batch: 2050, ..Setting::new(model.clone()) }.network();
    let trained = |without: Option<Shortcut>| {
        let precision = Precision::Bf16;
        let setting = Setting { batch: 2050, rows: 2049, precision, without, ..Setting::new(model.clone()) };
        let mut gpu = setting.gpu(&network, false);
        (setting.train(&network, &mut gpu), gpu.driver.launched)
    };
    let ((alone, by), (both, other)) = (trained(None), trained(Some(Shortcut::Copies)));
    assert!(by.contains("relu_backward_tall") && !other.contains("relu_backward_tall"));
    for ((name, got), (_, want)) in alone.iter().zip(&both) {
        assert!(got == want || !crate::setting::is_stored(name, &network, &by), "{name}");
    }
}

/// In bf16 that lasts longer than one after the other.
#[test]
fn gradients_of_thousands_of_rows_run_beside_the_rest_but_not_in_bf16() {
    for (precision, batch, beside) in
        [(Precision::Fp32, 4096, true), (Precision::Tf32, 4096, true), (Precision::Bf16, 4096, false)]
    {
        let setting = Setting { batch, rows: batch, ..Setting::new(Model::new(2, &[2], 1)) };
        let network = setting.network();
        let mut gpu = setting.gpu(&network, true);
        gpu.driver.precision = precision;
        setting.train(&network, &mut gpu);
        assert_eq!(gpu.driver.branched > 0, beside, "{precision:?}");
    }
}

/// The two sums of what runs beside and of what does not have places of their own.
#[test]
fn parts_of_sums_beside_do_not_meet_those_of_the_rest() {
    let trained = |reverse: bool, without: Option<Shortcut>| {
        let model = Model { activation: Activation::Relu, ..Model::new(2, &[3, 2], 1) };
        let setting = Setting { batch: 2050, rows: 2050, without, ..Setting::new(model) };
        let network = setting.network();
        setting.train(&network, &mut setting.gpu(&network, reverse))
    };
    let want = trained(false, Some(Shortcut::Branch));
    assert!(trained(false, None) == want && trained(true, None) == want);
}

#[test]
fn rows_of_many_quads_are_gathered_by_fewer_threads() {
    // 65 quads: a thread each for few rows, two or more for many, with a rest; and whatever is stored. Of 275 a row has several
    // blocks.
    for (batch, cols, stored) in [
        (3, 260, Stored::Bytes),
        (1100, 260, Stored::Bytes),
        (2100, 260, Stored::Bytes),
        (2100, 260, Stored::Reals),
        (2100, 260, Stored::Sparse),
        (3, 1100, Stored::Bytes),
        (3, 1100, Stored::Sparse),
    ] {
        for binarize in [Binarize::None, Binarize::Dynamic] {
            let setting =
                Setting { batch, rows: batch - 1, stored, binarize, ..Setting::new(Model::new(cols, &[], 1)) };
            let network = setting.network();
            let (mut gpu, mut cpu) = (setting.gpu(&network, true), setting.reference(&network));
            let gathered = [&mut gpu as &mut dyn Backend, &mut cpu].map(|b: &mut dyn Backend| {
                b.load(&dataset(2 * batch, cols, stored)).unwrap();
                b.set_step(&Step { position: batch as u32, ..Step::batch(3, batch - 1) }).unwrap();
                b.gather(network.x, Fetch::new(Order::Shuffled, binarize)).unwrap();
                b.read(network.x.slice(0..batch - 1)).unwrap()
            });
            assert!(gathered[0] == gathered[1], "{batch} {cols} {stored:?} {binarize:?}");
        }
    }
}

#[test]
fn every_byte_is_divided_as_by_a_division() {
    let setting = Setting { batch: 256, rows: 256, ..Setting::new(Model::new(1, &[], 1)) };
    let network = setting.network();
    let mut gpu = setting.gpu(&network, false);
    let values = vae_gpu::data::Values::Bytes((0..=255).collect());
    gpu.load(&std::sync::Arc::new(vae_gpu::data::Dataset::new("", 1, values))).unwrap();
    gpu.set_step(&Step { position: 0, ..Step::batch(3, 256) }).unwrap();
    gpu.gather(network.x, Fetch::new(Order::Sequential, Binarize::None)).unwrap();
    let want: Vec<f64> = (0..=255).map(|byte| f64::from(byte as f32 / 255.0)).collect();
    assert_eq!(gpu.read(network.x).unwrap(), want);
}

#[test]
fn likelihoods_of_thousands_of_rows_match_the_reference() {
    for input in [3, 70] {
        let model = Model { likelihood: Likelihood::Bernoulli, ..Model::new(input, &[2], 1) };
        let setting = Setting { batch: 2050, rows: 2049, ..Setting::new(model) };
        assert!(setting.check_within(1e-4).contains("bernoulli_both"));
    }
}
