//! Values that are missing: a gather makes −0 of NaN, and of nothing else; the likelihood and every gradient leave them out.
use crate::emulator::Library;
use crate::models::of_every_likelihood;
use crate::setting::{Setting, adam, sparse};
use std::sync::Arc;
use vae_gpu::config::{Binarize, Likelihood, Model, Objective, Rule};
use vae_gpu::data::{Dataset, Missing, Values};
use vae_gpu::device::{Backend, MISSING};
use vae_gpu::tape::{Fetch, Order};

/// Of NaN, −0, 0 and numbers, on both devices: bit for bit.
#[test]
fn nan_is_gathered_as_missing_and_minus_zero_is_not() {
    for (cols, binarize, missing) in [
        (3, Binarize::None, true),
        (3, Binarize::Threshold, true),
        (3, Binarize::Dynamic, true),
        (8, Binarize::None, true),
        (8, Binarize::None, false),
    ] {
        let setting = Setting { binarize, ..Setting::new(Model::new(cols, &[], 1)) };
        let network = setting.network();
        let numbers = |i: usize| [f32::NAN, -0.0, 0.25, 0.0, 1.0, 0.5, 0.75][i % 7];
        let values: Vec<f32> = (0..17 * cols).map(numbers).collect();
        let whole = Dataset::new("x", cols, Values::Reals(values.clone()));
        let fetch = Fetch { missing, ..Fetch::new(Order::Sequential, binarize) };
        let step = setting.steps()[1];
        for data in [whole, sparse(cols, &values)].map(Arc::new) {
            let gathered = |b: &mut dyn Backend| {
                b.load(&data).unwrap();
                b.set_step(&step).unwrap();
                b.gather(network.x, fetch).unwrap();
                b.read(network.x).unwrap()
            };
            let want = gathered(&mut setting.reference(&network));
            let got = gathered(&mut setting.gpu(&network, false));
            let bits = |x: &f64| if x.is_nan() { f64::NAN.to_bits() } else { x.to_bits() };
            assert!(
                got.iter().map(bits).eq(want.iter().map(bits)),
                "{cols} {binarize:?} {missing}: {got:?}, want {want:?}"
            );
            for (x, of) in want.iter().zip(&values[step.position as usize * cols..]) {
                let is_missing = x.to_bits() == MISSING.to_bits();
                assert_eq!(is_missing, missing && of.is_nan(), "{x} of {of}, {binarize:?}");
            }
        }
    }
}

#[test]
fn a_step_leaves_out_what_is_missing_as_the_reference_does() {
    let model = |objective, samples| Model { missing: Missing::Allow, objective, samples, ..Model::new(17, &[9], 3) };
    let mut settings = vec![];
    for (objective, samples) in [(Objective::Elbo, 1), (Objective::Iwae, 3)] {
        for model in of_every_likelihood(&model(objective, samples)) {
            let mut setting = Setting::new(model);
            if setting.model.likelihood == Likelihood::Gaussian {
                setting.optimizer.lr *= 0.1; // a variance that is learned takes smaller steps
            }
            settings.push(setting);
        }
    }
    // The launches that a common step has: merged, with Adam, copies in bf16 beside them; and a condition beside x.
    settings.push(Setting { binarize: Binarize::Dynamic, ..adam(model(Objective::Elbo, 1), Rule::Adam) });
    let told = Model { condition: 3, ..model(Objective::Elbo, 2) };
    settings.push(Setting { library: Library::Fused, ..Setting::new(told) });
    let mut launched = vec![];
    for setting in settings {
        launched.extend(setting.check());
    }
    for kernel in ["bernoulli_backward", "bernoulli_both", "product_nt_bernoulli", "gaussian_nll", "poisson_nll"] {
        assert!(launched.iter().any(|k| k.starts_with(kernel)), "{kernel} was not launched: {launched:?}");
    }
}

#[test]
fn the_gradient_of_what_is_missing_is_zero() {
    let setting = Setting::new(Model { missing: Missing::Allow, ..Model::new(17, &[9], 3) });
    let network = setting.network();
    let mut gpu = setting.gpu(&network, false);
    setting.train(&network, &mut gpu);
    let x = gpu.read(network.x).unwrap();
    let d = gpu.read(network.layout().d(network.decoded.out)).unwrap();
    let missing: Vec<usize> = (0..setting.rows * 17).filter(|&i| x[i].to_bits() == MISSING.to_bits()).collect();
    assert!(missing.len() > 5, "{x:?}");
    assert!(missing.iter().all(|&i| d[i] == 0.0), "{d:?}");
    assert!((0..setting.rows * 17).any(|i| d[i] != 0.0));
}
