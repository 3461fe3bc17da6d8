//! Whole passes in one launch of clusters, beside the reference.
use crate::emulator::Library;
use crate::setting::{Setting, adam, assert_padding_is_zero, compare, is_launched, is_stored};
use vae_gpu::config::{Activation, Binarize, Model, Objective, Optimizer, Rule};
use vae_gpu::device::Shortcut;
use vae_gpu::device::driver::Precision;

/// Of these shapes: input, hidden, latent; batch, and rows of the last step.
const SHAPES: [(usize, &[usize], usize, usize, usize); 4] = [
    (9, &[17], 5, 5, 3),
    (40, &[33, 20], 20, 20, 17), // columns for every block, in two groups of warps; dimensions for several quads
    (150, &[9, 6], 3, 3, 3),     // columns in two rounds
    (7, &[80, 1], 64, 2, 1),     // a depth of several rounds; as many dimensions as there is room for
];

#[test]
fn a_pass_in_one_launch_is_that_of_the_reference() {
    use Activation::*;
    for (i, (input, hidden, latent, batch, rows)) in SHAPES.into_iter().enumerate() {
        for (j, cluster) in [3, 4].into_iter().enumerate() {
            let objective = [Objective::Elbo, Objective::ElboMc, Objective::Iwae][(i + j) % 3];
            let activation = [Tanh, Relu, Softplus, Gelu, Sigmoid][(i + 2 * j) % 5];
            let model = Model { objective, activation, ..Model::new(input, hidden, latent) };
            let rule = if j == 0 { Rule::Adam } else { Rule::Adamw };
            let setting = Setting { batch, rows, cluster, binarize: Binarize::Dynamic, ..adam(model, rule) };
            let launched = setting.check();
            let layers = ["product_nt", "product_nn", "latent_forward", "kl_forward"];
            assert!(launched.contains("stack_split"), "{setting:?}: {launched:?}");
            assert!(layers.iter().all(|layer| !is_launched(&launched, layer)), "{setting:?}: {launched:?}");
        }
    }
}

#[test]
fn a_pass_in_one_launch_is_near_the_reference_in_every_precision() {
    let copies = Some(Shortcut::Copies);
    for (precision, without, kernel, tolerance) in [
        (Precision::Tf32, None, "stack_tf32", 2e-2),
        (Precision::Bf16, None, "stack_half", 2e-1),
        (Precision::Bf16, copies, "stack_bf16", 2e-1),
    ] {
        for (input, hidden, latent, batch, rows) in SHAPES {
            let plain = Model { activation: Activation::Tanh, ..Model::new(input, hidden, latent) };
            let optimizer = Optimizer { lr: 1e-3, ..Optimizer::new(Rule::Sgd) };
            let library = Library::Missing;
            let setting =
                Setting { batch, rows, cluster: 2, optimizer, library, precision, without, ..Setting::new(plain) };
            let network = setting.network();
            let want = setting.train(&network, &mut setting.reference(&network));
            for reverse in [false, true] {
                let mut gpu = setting.gpu(&network, reverse);
                let got = setting.train(&network, &mut gpu);
                for ((name, got), (_, want)) in got.iter().zip(&want) {
                    if is_stored(name, &network, &gpu.driver.launched) {
                        compare(&format!("{name} of {setting:?}"), got, want, tolerance);
                    }
                }
                assert_padding_is_zero(&network, &mut gpu);
                assert!(gpu.driver.launched.contains(kernel), "{:?}", gpu.driver.launched);
            }
        }
    }
}

#[test]
fn what_is_no_stack_runs_as_before() {
    let plain = Model::new(12, &[17], 4);
    for model in [
        Model { samples: 2, ..plain.clone() },
        Model { free_bits: 0.1, ..plain.clone() },
        Model { condition: 2, ..plain.clone() },
        Model { hidden: vec![], ..plain.clone() },
        Model { latent: 65, ..plain.clone() },
    ] {
        let launched = Setting { cluster: 2, ..adam(model, Rule::Adam) }.check();
        assert!(!launched.contains("stack_split"), "{launched:?}");
    }
}
