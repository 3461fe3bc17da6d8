//! Every kernel in the emulator, which checks each access, beside the CPU reference in f64; in both orders of threads.
#![allow(unsafe_code)] // the emulator is C++
mod compiled;
mod counts;
mod drawn;
#[path = "../support/emulator.rs"]
mod emulator;
mod faults;
mod finite;
mod halves;
mod missing;
#[path = "../support/models.rs"]
mod models;
#[path = "../support/numbers.rs"]
mod numbers;
mod products;
mod setting;
mod stack;
mod steps;
mod tall;
use emulator::{Emulator, Library};
use products::matrices;
use setting::{Setting, adam, optimizers};
use std::collections::BTreeSet;
use steps::one_by_one_and_merged;
use vae_gpu::arena::View;
use vae_gpu::config::{
    Activation, Dispersion, Gradient, Likelihood, Model, Objective, Optimizer, Rule, SizeFactor, Variance,
};
use vae_gpu::device::Shortcut;
use vae_gpu::device::driver::{Grid, Precision};
use vae_gpu::device::kernels::{self, In, Out, Out16};

#[test]
fn every_kernel_is_launched_by_a_test() {
    let mut launched = BTreeSet::new();
    let mut launch = |setting: Setting| launched.append(&mut setting.check());
    for variance in [Variance::Scalar, Variance::Shared] {
        let model = Model { likelihood: Likelihood::Gaussian, variance, ..Model::new(3, &[2], 1) };
        launch(Setting { library: Library::Missing, ..Setting::new(model) });
    }
    for dispersion in [Dispersion::Scalar, Dispersion::Shared] {
        launch(Setting::new(Model { likelihood: Likelihood::NegativeBinomial, dispersion, ..Model::new(3, &[2], 1) }));
    }
    launch(Setting::new(Model {
        likelihood: Likelihood::NegativeBinomial,
        others: vec![(Likelihood::Gaussian, 1, 2), (Likelihood::Categorical, 3, 5)],
        ..Model::new(5, &[2], 1)
    }));
    for optimizer in optimizers() {
        // An eps that gradients of rounding errors do not outweigh.
        let optimizer = Optimizer { eps: 0.1, ..optimizer };
        launch(Setting { optimizer, ..Setting::new(Model::new(3, &[2], 1)) });
    }
    // Enough columns for wide tiles, for those between, and few.
    for input in [6100, 2200, 3] {
        launch(adam(Model::new(input, &[2], 1), Rule::Adam));
    }
    launch(tall::tall(Model::new(3, &[2], 1)));
    let trained = |setting: Setting, reverse| {
        let network = setting.network();
        let mut gpu = setting.gpu(&network, reverse);
        setting.train(&network, &mut gpu);
        gpu.driver.launched
    };
    // Each way of multiplying has kernels of its own. What bf16 rounds may turn a relu of so many columns around: what it
    // gives is compared in `halves`.
    for input in [6100, 2200, 3] {
        let of = |precision, without| Setting { precision, without, ..adam(Model::new(input, &[2], 1), Rule::Adam) };
        launched.append(&mut of(Precision::Tf32, None).check_within(0.02));
        for setting in [None, Some(Shortcut::Copies)].map(|without| of(Precision::Bf16, without)) {
            launched.append(&mut trained(setting, input == 3));
        }
    }
    // compared in `tall`
    let relu = tall::tall(Model { activation: Activation::Relu, ..Model::new(3, &[2], 1) });
    launched.append(&mut trained(Setting { precision: Precision::Bf16, ..relu }, false));
    for likelihood in [Likelihood::Bernoulli, Likelihood::Poisson, Likelihood::Multinomial] {
        let model = Model { likelihood, ..Model::new(3, &[2], 1) };
        launched.append(&mut one_by_one_and_merged(&Setting::new(model)));
    }
    let of_shares =
        Model { size_factor: SizeFactor::Total, likelihood: Likelihood::NegativeBinomial, ..Model::new(3, &[2], 1) };
    launched.append(&mut one_by_one_and_merged(&Setting::new(of_shares)));
    let path = Model { objective: Objective::Iwae, gradient: Gradient::Path, samples: 3, ..Model::new(3, &[2], 1) };
    launched.append(&mut one_by_one_and_merged(&Setting::new(path)));
    // by `a_cast_rounds_to_the_nearest_bf16` and `our_own_products_match_in_every_layout_and_precision`
    launched.insert("cast");
    let by_itself =
        |name: &&&str| name.starts_with("product_") && !name.contains("adam") && !name.contains("bernoulli");
    launched.extend(kernels::NAMES.iter().filter(by_itself));
    // by the tests of `stack`, in every way of multiplying
    launched.extend(kernels::NAMES.iter().filter(|name| name.starts_with("stack_")));
    let all: BTreeSet<&str> = kernels::NAMES.iter().copied().collect();
    assert_eq!(launched, all);
}

#[test]
fn reading_a_neighbour_s_columns_is_caught() {
    let (layout, [y, bias]) = matrices([(3, 9), (1, 9)]);
    let mut e = Emulator::new(&layout, false);
    let bias = bias.columns(0..8); // the launcher's mistake
    let (none, none_of_parts) = (Out16(View { rows: 0, ..y }), Out(View::NONE));
    kernels::bias_activation(&mut e, Grid::new([1, 1], 32), Out(y), none, Out(y), In(bias), 0).unwrap();
    // the quad beyond is read as zeros; a scalar access is not so forgiving
    let (kl, kl_dim) = (Out(y.columns(0..1)), Out(bias.columns(0..5)));
    let error = kernels::kl_forward(&mut e, Grid::new([2, 1], 256), kl, kl_dim, none_of_parts, In(y));
    let said = error.unwrap_err().to_string();
    assert!(said.starts_with("kl_forward: block 1, thread 4: load outside every view of the launch"), "{said}");
}

#[test]
fn a_race_between_two_rows_is_caught() {
    let (layout, [y]) = matrices([(5, 8)]);
    for reverse in [false, true] {
        let mut e = Emulator::new(&layout, reverse);
        let (low, high) = (y.slice(0..4), y.slice(1..5)); // y(row) = a(row) + bias, and a is y one row further
        let none = Out16(View { rows: 0, ..y });
        let grid = Grid::new([1, 1], 32);
        let error = kernels::bias_activation(&mut e, grid, Out(low), none, Out(high), In(y.slice(0..1)), 0);
        assert!(error.unwrap_err().to_string().contains("data race on view"));
    }
}
