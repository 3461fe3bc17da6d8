//! Numbers that are large, or none: found, and no step applied with them.
use crate::emulator::{Emulator, Library};
use crate::setting::{Setting, adam, compare, is_launched};
use std::sync::Arc;
use vae_gpu::config::{Activation, Likelihood, Model, Optimizer, Rule, Variance};
use vae_gpu::data::{Dataset, Values};
use vae_gpu::device::{Backend, Gpu};

/// Three steps with this bias of the decoder's output end on the GPU as in the reference.
fn agree_with_output_bias(model: Model, bias: f64) -> Gpu<Emulator> {
    let setting = adam(model, Rule::Adam);
    let network = setting.network();
    let train = |b: &mut dyn Backend| -> Vec<Vec<f64>> {
        setting.fill(&network, b);
        b.write(network.parameter("decoder.out.bias").unwrap().view, &[bias; 6]).unwrap();
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
    gpu
}

/// Means thousands of millions away: the gradients are finite, but only seen to be when all are there.
#[test]
fn a_step_with_large_numbers_is_applied_all_the_same() {
    let gpu = agree_with_output_bias(Model { likelihood: Likelihood::Gaussian, ..Model::new(6, &[5], 2) }, 4e9);
    assert!(is_launched(&gpu.driver.launched, "product_tn_adam"));
}

/// Means of counts that f32 does not hold, whose likelihood and its slopes are no more than their logarithm.
#[test]
fn a_step_with_large_means_of_counts_is_the_reference_s() {
    for variance in [Variance::Scalar, Variance::Shared] {
        let model = Model { likelihood: Likelihood::NegativeBinomial, variance, ..Model::new(6, &[5], 2) };
        agree_with_output_bias(model, 150.0);
    }
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
