//! Copies in bf16: up to date, and made by whoever makes the numbers.
use crate::emulator::{Emulator, Library};
use crate::setting::{Setting, adam, assert_padding_is_zero, compare, is_stored, numbers, used};
use clap::ValueEnum;
use vae_gpu::config::{Activation, Likelihood, Model, Optimizer, Rule, Variance};
use vae_gpu::device::driver::Precision;
use vae_gpu::device::{Backend, Gpu, Shortcut};
use vae_gpu::step::Step;

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
        for ((name, got), (_, want)) in all.iter().zip(&want) {
            if !is_stored(name, &network, &gpu.driver.launched) {
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
