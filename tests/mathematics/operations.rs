//! What the papers say must hold, beside closed forms and laws of large numbers; and what must not change a result:
//! the precision, the room in a batch, the number of threads.
use crate::linear::{LinearGaussian, dot};
use crate::numbers::{
    self, Numbers, Stage, assert_close, assert_near, assert_same, everything, mean_and_error, metrics,
};
use clap::ValueEnum;
use std::sync::Arc;
use vae_gpu::arena::{Layout, View};
use vae_gpu::config::{
    Activation, Binarize, Dispersion, Gradient, Likelihood, Mean, Model, Objective, Optimizer, Rule, Spread, Variance,
};
use vae_gpu::data::{Dataset, Values};
use vae_gpu::device::{Backend, Cpu, Real};
use vae_gpu::model::Network;
use vae_gpu::step::Step;
use vae_gpu::tape::{Decoded, Family, Kind, Op, Order};

/// How many standard errors count as a contradiction. A right program is further off once in 16,000 comparisons; the
/// draws have fixed seeds, so one that passes always passes.
const SIGMAS: f64 = 4.0;

/// ½ (mu² + exp(logvar) − 1 − logvar), summed.
fn kl(mu: &[f64], logvar: &[f64]) -> f64 {
    mu.iter().zip(logvar).map(|(mu, logvar)| 0.5 * (mu * mu + logvar.exp_m1() - logvar)).sum()
}

/// log N(x; mean, exp(logvar))
fn log_normal(x: f64, mean: f64, logvar: f64) -> f64 {
    -0.5 * (std::f64::consts::TAU.ln() + logvar + (x - mean).powi(2) * (-logvar).exp())
}

// ------------------------------------------------------------------------------------------------- the divergence

#[test]
fn the_closed_kl_is_the_mean_of_its_draws() {
    let (rows, latent, samples) = (5, 3, 20_001);
    let network = Network::inference(&Model { samples, ..Model::new(1, &[], latent) }, rows, Binarize::None);
    let mut cpu = Cpu::<f64>::new(network.layout(), rows);
    let mut numbers = Numbers::new(1);
    let head = numbers.uniforms(rows * 2 * latent, 1.5);
    cpu.write(network.head, &head).unwrap();
    cpu.set_step(&Step::batch(3, rows)).unwrap();
    cpu.kl_forward(network.kl, network.tape.kl_dim, network.head).unwrap();
    cpu.reparam_forward(network.z, network.ratio, network.head, None).unwrap();
    let (z, ratio) = (cpu.read(network.z).unwrap(), cpu.read(network.ratio).unwrap());
    let closed = cpu.read(network.kl).unwrap();
    for b in 0..rows {
        let (mu, logvar) = head[b * 2 * latent..(b + 1) * 2 * latent].split_at(latent);
        // log q(z|x) − log p(z) of each draw, by the densities themselves.
        let draws: Vec<f64> = z[b * samples * latent..(b + 1) * samples * latent]
            .chunks(latent)
            .map(|z| (0..latent).map(|j| log_normal(z[j], mu[j], logvar[j]) - log_normal(z[j], 0.0, 0.0)).sum())
            .collect();
        assert_close("ratio", &ratio[b * samples..(b + 1) * samples], &draws, 1e-12, 1.0); // roundings
        let (mean, error) = mean_and_error(&draws);
        let z_score = (mean - closed[b]) / error;
        assert!(z_score.abs() < SIGMAS, "kl[{b}]: closed {}, drawn {mean} ± {error}, z {z_score}", closed[b]);
        assert_close("kl", &[closed[b]], &[kl(mu, logvar)], 1e-14, 0.0); // roundings
    }
}

fn kl_of<T: Real>(mu: f64, logvar: f64) -> f64
where
    Cpu<T>: Backend,
{
    let mut layout = Layout::inference();
    let (head, kl, kl_dim) = (layout.activation(1, 2), layout.activation(1, 1), layout.activation(1, 1));
    let mut cpu = Cpu::<T>::new(&layout, 1);
    cpu.write(head, &[mu, logvar]).unwrap();
    cpu.kl_forward(kl, kl_dim, head).unwrap();
    assert_same("kl of one dimension", &cpu.read(kl).unwrap(), &cpu.read(kl_dim).unwrap());
    cpu.read(kl).unwrap()[0]
}

#[test]
fn the_kl_is_right_at_both_ends() {
    for mu in [0.0, -3.0, 100.0] {
        for logvar in [-60.0, -30.0, 0.0, 30.0, 60.0] {
            let want = [0.5 * (mu * mu + f64::exp(logvar) - 1.0 - logvar)];
            let what = format!("kl at mu {mu}, logvar {logvar}");
            assert_close(&format!("f64 {what}"), &[kl_of::<f64>(mu, logvar)], &want, 1e-15, 0.0);
            assert_close(&format!("f32 {what}"), &[kl_of::<f32>(mu, logvar)], &want, 3e-7, 0.0); // of f32's exp
        }
    }
}

#[test]
fn the_kl_is_zero_at_the_prior_and_exact_beside_it() {
    assert_eq!((kl_of::<f32>(0.0, 0.0), kl_of::<f64>(0.0, 0.0)), (0.0, 0.0));
    for logvar in [1e-3, -1e-3, 1e-5, -1e-5f64] {
        // ½ (exp(v) − 1 − v) = v²/4 + v³/12 + ...; f32 rounds exp(v) − 1, of v's size, but never a number near one.
        let series = logvar * logvar / 4.0 + logvar.powi(3) / 12.0 + logvar.powi(4) / 48.0 + logvar.powi(5) / 240.0;
        for (got, epsilon) in
            [(kl_of::<f32>(0.0, logvar), f32::EPSILON as f64), (kl_of::<f64>(0.0, logvar), f64::EPSILON)]
        {
            let error = (got - series).abs();
            assert!(error < 2.0 * epsilon * logvar.abs(), "logvar {logvar}: got {got:e}, want {series:e}");
        }
    }
}

// ------------------------------------------------------------------------------------------------- the layers

type Formula = fn(f64) -> f64;

fn layers<T: Real>(tolerance: f64)
where
    Cpu<T>: Backend,
{
    let activations: [(Option<Activation>, Formula); 6] = [
        (None, |a| a),
        (Some(Activation::Tanh), f64::tanh),
        (Some(Activation::Relu), |a| if a > 0.0 { a } else { 0.0 }),
        (Some(Activation::Softplus), |a| a.exp().ln_1p()),
        (Some(Activation::Gelu), |a| {
            0.5 * a * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (a + 0.044715 * a * a * a)).tanh())
        }),
        (Some(Activation::Sigmoid), |a| 1.0 / (1.0 + (-a).exp())),
    ];
    assert_eq!(activations.len(), 1 + Activation::value_variants().len());
    for (rows, inputs, outputs) in [(1, 1, 1), (7, 33, 1), (17, 33, 9), (3, 300, 65)] {
        for (f, formula) in activations {
            let mut layout = Layout::inference();
            let (w, bias) = (layout.weight(outputs, inputs), layout.parameter(1, outputs));
            let views = [(rows, inputs), (rows, outputs), (rows, outputs)];
            let [x, a, y] = views.map(|(rows, cols)| layout.activation(rows, cols));
            let a = if f.is_some_and(Activation::slope_is_of_input) { a } else { y };
            let mut cpu = Cpu::<T>::new(&layout, rows);
            let mut numbers = Numbers::new(6);
            let scale = 3.0 / (inputs as f64).sqrt();
            let mut put = |v: View, scale: f64| {
                cpu.write(v, &numbers.uniforms(v.elements(), scale)).unwrap();
                cpu.read(v).unwrap() // as this precision has them
            };
            let (w_in, bias_in, x_in) = (put(w, scale), put(bias, 1.0), put(x, 1.0));
            cpu.linear_forward(y, a, x, w, bias, f).unwrap();
            let row = |x| w_in.chunks(inputs).zip(&bias_in).map(move |(w, bias)| formula(dot(w, x) + bias));
            let want: Vec<f64> = x_in.chunks(inputs).flat_map(row).collect();
            let what = format!("({rows}, {inputs}) to {outputs}, {f:?}");
            assert_close(&what, &cpu.read(y).unwrap(), &want, tolerance, 1.0);
        }
    }
}

#[test]
fn a_layer_is_its_formula() {
    layers::<f64>(1e-14); // sums of 300 numbers, roundings of about 1e-16
    layers::<f32>(2e-6); // the same at 6e-8
}

// ------------------------------------------------------------------------------------------------- the likelihoods

fn extreme_logits<T: Real>()
where
    Cpu<T>: Backend,
{
    let cases: Vec<(f64, f64)> = [1e4, -1e4].iter().flat_map(|&l| [0.0, 0.25, 1.0].map(|x| (l, x))).collect();
    let mut layout = Layout::training();
    let (x, out) = (layout.activation(cases.len(), 3), layout.activation(cases.len(), 3));
    let (nll, weight) = (layout.activation(cases.len(), 1), layout.activation(cases.len(), 1));
    let mut cpu = Cpu::<T>::new(&layout, cases.len());
    cpu.write(out, &cases.iter().flat_map(|c| [c.0; 3]).collect::<Vec<_>>()).unwrap();
    cpu.write(x, &cases.iter().flat_map(|c| [c.1; 3]).collect::<Vec<_>>()).unwrap();
    cpu.write(weight, &vec![1.0; cases.len()]).unwrap();
    let family = Family::One(Kind { likelihood: Likelihood::Bernoulli, spread: Spread::Fixed });
    let decoded = Decoded { out, family, mean: Mean::Identity, fixed: 0.0, learned: None };
    cpu.nll_forward(nll, decoded, x).unwrap();
    cpu.nll_backward(layout.d(out), None, decoded, x, weight).unwrap();
    // exp(−10⁴) is zero in every precision, so the logarithm is that of one.
    let want: Vec<f64> = cases.iter().map(|&(l, x)| 3.0 * (l.max(0.0) - x * l)).collect();
    assert_same("nll", &cpu.read(nll).unwrap(), &want);
    let want: Vec<f64> = cases.iter().flat_map(|&(l, x)| [(l > 0.0) as u8 as f64 - x; 3]).collect();
    assert_eq!(cpu.read(layout.d(out)).unwrap(), want);
}

#[test]
fn the_bernoulli_nll_is_exact_at_logits_of_ten_thousand() {
    extreme_logits::<f32>();
    extreme_logits::<f64>();
}

#[test]
fn the_bernoulli_nll_is_minus_the_logarithm_of_the_probability() {
    let mut stage = Stage::<f64>::new(&Model::new(7, &[3], 2), 3, 3, 1);
    stage.loss();
    let (logits, x, nll) =
        (stage.read(stage.network.decoded.out), stage.read(stage.network.x), stage.read(stage.network.nll));
    let term = |(&l, &x): (&f64, &f64)| {
        let p = 1.0 / (1.0 + (-l).exp());
        -(x * p.ln() + (1.0 - x) * (1.0 - p).ln())
    };
    let terms: Vec<f64> = logits.iter().zip(&x).map(term).collect();
    let want: Vec<f64> = terms.chunks(7).map(|row| row.iter().sum()).collect();
    assert_close("nll", &nll, &want, 1e-14, 1.0); // roundings
}

#[test]
fn the_gaussian_nll_is_minus_the_logarithm_of_the_density() {
    for variance in [Variance::Fixed, Variance::Scalar, Variance::Shared, Variance::Network] {
        for mean in [Mean::Identity, Mean::Sigmoid] {
            let plain = Model { likelihood: Likelihood::Gaussian, sigma: 0.3, samples: 2, ..Model::new(7, &[3], 2) };
            let mut stage = Stage::<f64>::new(&Model { variance, mean, ..plain }, 3, 3, 2);
            stage.loss();
            let (out, x) = (stage.read(stage.network.decoded.out), stage.read(stage.network.x));
            let learned = stage.network.decoded.learned.map_or(vec![], |view| stage.read(view));
            let width = out.len() / 6;
            let nll = |row: usize| -> f64 {
                let (out, x) = (&out[row * width..(row + 1) * width], &x[row / 2 * 7..(row / 2 + 1) * 7]);
                let term = |j: usize| {
                    let m = if mean == Mean::Sigmoid { 1.0 / (1.0 + (-out[j]).exp()) } else { out[j] };
                    let logvar = match variance {
                        Variance::Fixed => 2.0 * 0.3f64.ln(),
                        Variance::Scalar => learned[0],
                        Variance::Shared => learned[j],
                        Variance::Network => out[7 + j],
                    };
                    -log_normal(x[j], m, logvar)
                };
                (0..7).map(term).sum()
            };
            let want: Vec<f64> = (0..6).map(nll).collect();
            let got = stage.read(stage.network.nll);
            assert_close(&format!("nll, {variance:?}, {mean:?}"), &got, &want, 1e-14, 1.0); // roundings
        }
    }
}

// ------------------------------------------------------------------------- a linear Gaussian model, where all is known

#[test]
fn with_the_exact_posterior_every_importance_weight_is_the_likelihood() {
    for (input, latent, samples) in [(7, 3, 5), (1, 1, 2), (17, 9, 1)] {
        let linear = LinearGaussian::new(input, latent, 1);
        for objective in [Objective::ElboMc, Objective::Iwae] {
            let mut stage = Stage::<f64>::new(&linear.model(objective, samples), 4, 4, 2);
            linear.write(&stage.network, &mut stage.cpu, 0.0, 0.0);
            stage.loss();
            let (nll, ratio) = (stage.read(stage.network.nll), stage.read(stage.network.ratio));
            let log_weights: Vec<f64> = nll.iter().zip(&ratio).map(|(nll, ratio)| -nll - ratio).collect();
            let log_p: Vec<f64> = stage.read(stage.network.x).chunks(input).map(|x| linear.log_p(x)).collect();
            let want: Vec<f64> = log_p.iter().flat_map(|&p| vec![p; samples]).collect();
            let what = format!("{input} to {latent}, {objective:?}");
            assert_close(&format!("{what}: log-weights"), &log_weights, &want, 1e-10, 1.0);
            // All weights being equal, the bound is tight.
            let bound = stage.read(stage.network.bound);
            assert_close(&format!("{what}: bound"), &bound, &log_p, 1e-10, 1.0);
        }
    }
}

/// Where q is the posterior log p(x, z) − log q(z|x) is the same for every z: through z nothing is to be had, whatever was drawn, where
/// the gradient of the bound is noise about 0 (Roeder et al. 2017, section 3).
#[test]
fn at_the_posterior_the_path_gradient_is_nothing_for_every_draw() {
    let linear = LinearGaussian::new(7, 3, 1);
    for (objective, samples) in
        [(Objective::ElboMc, 1), (Objective::ElboMc, 4), (Objective::Iwae, 1), (Objective::Iwae, 5)]
    {
        let [total, path] = [Gradient::Total, Gradient::Path].map(|gradient| {
            let model = Model { gradient, ..linear.model(objective, samples) };
            let mut stage = Stage::<f64>::new(&model, 4, 4, 2);
            linear.write(&stage.network, &mut stage.cpu, 0.0, 0.0);
            stage.gradients()
        });
        for ((name, total), (_, path)) in total.into_iter().zip(path) {
            let most = |of: &[f64]| of.iter().fold(0f64, |most, x| most.max(x.abs()));
            match name.starts_with("encoder") {
                true => {
                    assert!(most(&path) < 1e-12 && most(&total) > 1e-3, "{name}, {objective:?}, {samples}: {path:?}")
                }
                // p's parameters follow the bound in either.
                false => assert_same(&name, &path, &total),
            }
        }
    }
}

/// What the path leaves out is 0 in the mean, wherever q is: of the score for elbo-mc, and of the rest for iwae (Tucker et al. 2019).
#[test]
fn the_path_gradient_is_that_of_the_bound_in_the_mean() {
    let (rows, steps) = (256, 40); // the same x in every row: so many draws of its gradient
    for (objective, samples, beta) in
        [(Objective::ElboMc, 2, 0.7), (Objective::Iwae, 1, 1.0), (Objective::Iwae, 4, 1.0)]
    {
        let draws = [(Gradient::Total, 7), (Gradient::Path, 8)].map(|(gradient, seed)| {
            let plain = Model { activation: Activation::Tanh, ..Model::new(6, &[5], 2) };
            let model = Model { objective, gradient, samples, beta, ..plain };
            let network = Network::training(&model, rows, Binarize::None);
            let (tape, layout) = (&network.tape, network.layout());
            let mut cpu = Cpu::<f64>::new(layout, rows);
            numbers::write_parameters(&network, &mut cpu, &mut Numbers::new(3));
            let x: Vec<f64> = Numbers::new(4).uniforms(6, 0.5).iter().map(|u| u + 0.5).collect();
            cpu.write(network.x, &x.repeat(rows)).unwrap();
            let mut draws = vec![]; // of d/d[mu | logvar]
            for index in 0..steps {
                cpu.set_step(&Step { index, beta, ..Step::batch(seed, rows) }).unwrap();
                tape.forward(&mut cpu, tape.encoder.start..tape.ops.len()).unwrap();
                tape.backward(&mut cpu).unwrap();
                draws.extend(cpu.read(layout.d(network.head)).unwrap().iter().map(|d| d * rows as f64));
            }
            draws
        });
        let width = 2 * 2;
        for j in 0..width {
            let of = |draws: &Vec<f64>| draws.iter().skip(j).step_by(width).copied().collect::<Vec<_>>();
            let [total, path] = draws.each_ref().map(|draws| mean_and_error(&of(draws)));
            let either = (total.1.powi(2) + path.1.powi(2)).sqrt();
            let what = format!("{objective:?}, {samples}, [{j}]: {total:?} and {path:?}");
            assert!((total.0 - path.0).abs() < SIGMAS * either, "{what}");
            assert!(total.0.abs() > SIGMAS * total.1, "{what}: nothing but noise is compared");
        }
    }
}

/// L_k ≤ L_k+1 ≤ log p(x): Burda et al. 2016, theorem 1. And L_1 = log p(x) − KL(q ‖ p(z|x)).
#[test]
fn the_importance_bound_rises_with_the_samples_towards_the_likelihood() {
    let (linear, shift, widening) = (LinearGaussian::new(5, 3, 3), 0.4, 0.7);
    let x = Numbers::new(4).normals(5);
    let log_p = linear.log_p(&x);
    let (rows, steps) = (257, 12); // the same x in every row: so many draws of the bound
    let mut below = (f64::NEG_INFINITY, 0.0);
    for samples in [1, 2, 5, 20, 80] {
        let network = Network::inference(&linear.model(Objective::Iwae, samples), rows, Binarize::None);
        let mut cpu = Cpu::<f64>::new(network.layout(), rows);
        linear.write(&network, &mut cpu, shift, widening);
        cpu.write(network.x, &x.repeat(rows)).unwrap();
        let mut draws = vec![];
        for index in 0..steps {
            cpu.set_step(&Step { index, ..Step::batch(5, rows) }).unwrap();
            network.tape.forward(&mut cpu, network.tape.encoder.start..network.tape.ops.len()).unwrap();
            draws.extend(cpu.read(network.bound).unwrap());
        }
        let (mean, error) = mean_and_error(&draws);
        let either = (error * error + below.1 * below.1).sqrt();
        assert!(mean - below.0 > SIGMAS * either, "L_{samples} = {mean} ± {error} after {below:?}");
        assert!(mean < log_p + SIGMAS * error, "L_{samples} = {mean} ± {error}, log p(x) = {log_p}");
        if samples == 1 {
            // Of two diagonal Gaussians with variances v e^w and v, means `shift` apart.
            let divergence = |j| 0.5 * (shift * shift / linear.posterior_variance(j) + widening.exp_m1() - widening);
            let want = log_p - (0..3).map(divergence).sum::<f64>();
            assert!((mean - want).abs() < SIGMAS * error, "L_1 = {mean} ± {error}, want {want}");
        }
        below = (mean, error);
    }
    assert!(log_p - below.0 < 0.05, "L_80 = {below:?}, log p(x) = {log_p}"); // L_1 is more than one nat below it
}

// ------------------------------------------------------------------------------------------------- the objectives

#[test]
fn with_one_sample_the_importance_bound_is_the_monte_carlo_elbo() {
    for &likelihood in Likelihood::value_variants() {
        let plain = Model { likelihood, variance: Variance::Network, ..Model::new(7, &[5], 3) };
        let [mut mc, mut iwae] = [Objective::ElboMc, Objective::Iwae]
            .map(|objective| Stage::<f64>::new(&Model { objective, ..plain.clone() }, 4, 4, 1));
        assert_same("loss", &[iwae.loss()], &[mc.loss()]);
        assert_same("bound", &iwae.read(iwae.network.bound), &mc.read(mc.network.bound));
        for ((name, got), (_, want)) in iwae.gradients().iter().zip(mc.gradients()) {
            assert_same(&format!("d {name}"), got, &want);
        }
    }
}

/// Both estimate the same bound; so do their gradients.
#[test]
fn the_monte_carlo_elbo_agrees_with_the_elbo_in_expectation() {
    let (rows, steps) = (3, 3000);
    let plain = Model { samples: 2, beta: 0.7, activation: Activation::Tanh, ..Model::new(5, &[4], 2) };
    let mut differences: Vec<Vec<f64>> = vec![];
    let mut stages = [Objective::Elbo, Objective::ElboMc].map(|objective| {
        let network = Network::training(&Model { objective, ..plain.clone() }, rows, Binarize::None);
        let mut cpu = Cpu::<f64>::new(network.layout(), rows);
        let mut numbers = Numbers::new(1);
        numbers::write_parameters(&network, &mut cpu, &mut numbers);
        cpu.write(network.x, &numbers.units(network.x.elements())).unwrap();
        (network, cpu)
    });
    for index in 0..steps {
        let [elbo, mc] = stages.each_mut().map(|(network, cpu)| {
            cpu.set_step(&Step { index, beta: plain.beta, ..Step::batch(2, rows) }).unwrap();
            network.tape.forward(cpu, network.tape.encoder.start..network.tape.ops.len()).unwrap();
            network.tape.backward(cpu).unwrap();
            let mut all = vec![metrics(network.layout().metrics(), cpu)[0]];
            for p in &network.parameters {
                all.extend(cpu.read(network.layout().d(p.view)).unwrap());
            }
            all
        });
        differences.push(mc.iter().zip(elbo).map(|(mc, elbo)| mc - elbo).collect());
    }
    let mut moved = 0;
    for i in 0..differences[0].len() {
        let (mean, error) = mean_and_error(&differences.iter().map(|d| d[i]).collect::<Vec<_>>());
        // The decoder sees the same z with the same weights: there the gradients are the same.
        moved += (error > 0.0) as usize;
        // 70 comparisons: one more standard error.
        assert!(mean.abs() <= (SIGMAS + 1.0) * error, "[{i}] (0 is the loss): differs by {mean} ± {error}");
    }
    let encoder = 4 * 5 + 4 + 2 * (2 * 4 + 2);
    assert_eq!(moved, 1 + encoder, "what depends on how the kl is estimated");
}

#[test]
fn the_loss_is_minus_the_mean_bound_and_the_elbo_is_nll_plus_kl() {
    for objective in [Objective::Elbo, Objective::ElboMc, Objective::Iwae] {
        for samples in [1, 3] {
            let beta = if objective == Objective::Iwae { 1.0 } else { 0.7 };
            let mut stage = Stage::<f64>::new(&Model { objective, samples, beta, ..Model::new(7, &[5], 3) }, 4, 3, 1);
            stage.loss();
            let metrics = stage.read(stage.network.layout().metrics().slice(0..1));
            let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
            let (bound, kl) = (stage.read(stage.network.bound), stage.read(stage.network.kl));
            let (nll, ratio) = (stage.read(stage.network.nll), stage.read(stage.network.ratio));
            let (nll, ratio) = (&nll[..3 * samples], &ratio[..3 * samples]);
            let want: Vec<f64> = (0..3)
                .map(|b| {
                    let (nll, ratio) = (&nll[b * samples..][..samples], &ratio[b * samples..][..samples]);
                    match objective {
                        Objective::Elbo => -mean(nll) - beta * kl[b],
                        Objective::ElboMc => -mean(nll) - beta * mean(ratio),
                        Objective::Iwae => {
                            mean(&nll.iter().zip(ratio).map(|(n, r)| (-n - r).exp()).collect::<Vec<_>>()).ln()
                        }
                    }
                })
                .collect();
            let what = format!("{objective:?}, {samples} samples");
            assert_close(&format!("{what}: bound"), &bound[..3], &want, 1e-14, 1.0); // roundings
            let want = [-mean(&want), mean(nll), mean(&kl[..3]), 0.0];
            assert_close(&format!("{what}: metrics"), &metrics, &want, 1e-14, 1.0); // roundings
        }
    }
}

#[test]
fn no_free_bits_are_free_bits_of_zero_and_enough_of_them_silence_the_kl() {
    let plain = Model { beta: 0.7, ..Model::new(7, &[5], 3) };
    let stage = |model: Model| Stage::<f64>::new(&model, 4, 3, 1);
    let kl_dims = |stage: &mut Stage<f64>| stage.read(stage.network.tape.kl_dim);
    let mut none = stage(plain.clone());
    let loss = none.loss();
    assert!(kl_dims(&mut none).iter().all(|&kl| kl > 1e-3));
    // Fewer bits than any dimension has.
    let mut few = stage(Model { free_bits: 1e-3, ..plain.clone() });
    assert_same("loss with few", &[few.loss()], &[loss]);
    for ((name, got), (_, want)) in few.gradients().iter().zip(none.gradients()) {
        assert_same(&format!("d {name} with few"), got, &want);
    }
    // More than any: the loss counts λ in each of three dimensions, and its gradient is that of the nll alone.
    let mut many = stage(Model { free_bits: 100.0, ..plain.clone() });
    let mut nll = stage(Model { beta: 0.0, ..plain });
    assert_close("loss with many", &[many.loss()], &[nll.loss() + 0.7 * 300.0], 1e-14, 0.0); // roundings
    for ((name, got), (_, want)) in many.gradients().iter().zip(nll.gradients()) {
        assert_same(&format!("d {name} with many"), got, &want);
    }
    // The bound never has them.
    assert_same("bound", &many.read(many.network.bound), &none.read(none.network.bound));
}

// ------------------------------------------------------------------------------------- what must not change a result

fn models() -> Vec<Model> {
    let gaussian =
        |variance, mean| Model { likelihood: Likelihood::Gaussian, variance, mean, ..Model::new(33, &[17], 3) };
    let deep = Model { samples: 3, ..Model::new(17, &[33, 9], 5) };
    vec![
        Model::new(13, &[11], 1),
        Model { activation: Activation::Gelu, objective: Objective::Iwae, ..deep.clone() },
        Model { activation: Activation::Softplus, objective: Objective::ElboMc, beta: 0.5, ..deep.clone() },
        Model { activation: Activation::Sigmoid, free_bits: 0.3, ..deep },
        Model { activation: Activation::Tanh, ..gaussian(Variance::Fixed, Mean::Sigmoid) },
        Model { samples: 2, ..gaussian(Variance::Scalar, Mean::Identity) },
        Model { activation: Activation::Tanh, ..gaussian(Variance::Shared, Mean::Identity) },
        Model { objective: Objective::Iwae, samples: 3, ..gaussian(Variance::Network, Mean::Sigmoid) },
        Model { variance: Variance::Network, likelihood: Likelihood::Gaussian, ..Model::new(1, &[], 1) },
        Model { likelihood: Likelihood::Poisson, ..Model::new(33, &[17], 3) },
        Model { likelihood: Likelihood::NegativeBinomial, samples: 2, ..Model::new(33, &[17], 3) },
        Model {
            likelihood: Likelihood::Gaussian,
            others: vec![
                (Likelihood::Bernoulli, 0, 9),
                (Likelihood::NegativeBinomial, 11, 20),
                (Likelihood::Poisson, 20, 21),
                (Likelihood::Categorical, 21, 24),
                (Likelihood::Categorical, 24, 33),
            ],
            variance: Variance::Shared,
            dispersion: Dispersion::Network,
            samples: 2,
            ..Model::new(33, &[17], 3)
        },
    ]
}

fn partial_batches<T: Real>()
where
    Cpu<T>: Backend,
{
    for model in models() {
        for (batch, rows) in [(5, 3), (9, 1), (4, 4)] {
            let mut whole = Stage::<T>::new(&model, rows, rows, 1);
            let mut partial = Stage::<T>::new(&model, batch, batch, 1);
            // A full batch first: what it leaves behind must not count.
            partial.gradients();
            partial.cpu.set_step(&Step { beta: model.beta, ..Step::batch(0, rows) }).unwrap();
            let what = format!("{rows} of {batch}, {model:?}");
            assert_same(&format!("{what}: loss"), &[partial.loss()], &[whole.loss()]);
            let bound = partial.network.bound.slice(0..rows);
            assert_same(&format!("{what}: bound"), &partial.read(bound), &whole.read(whole.network.bound));
            for ((name, got), (_, want)) in partial.gradients().iter().zip(whole.gradients()) {
                assert_same(&format!("{what}: d {name}"), got, &want);
            }
        }
    }
}

#[test]
fn a_partial_batch_is_a_batch_of_its_size() {
    partial_batches::<f64>();
    partial_batches::<f32>();
}

/// The noise belongs to the example, not to its place in a batch.
#[test]
fn an_evaluation_does_not_depend_on_its_batch_size() {
    let model = Model { samples: 3, ..Model::new(13, &[11], 5) };
    let evaluate = |batch: usize| {
        let network = Network::inference(&model, batch, Binarize::Dynamic);
        let mut cpu = Cpu::<f64>::new(network.layout(), batch);
        numbers::write_parameters(&network, &mut cpu, &mut Numbers::new(3));
        cpu.load(&data(&model, 10)).unwrap();
        let mut nll = vec![];
        for first in (0..10).step_by(batch) {
            let rows = batch.min(10 - first);
            let at = first as u32;
            cpu.set_step(&Step { index: 4, position: at, first_row: at, ..Step::batch(7, rows) }).unwrap();
            network.tape.forward(&mut cpu, 0..network.tape.ops.len()).unwrap();
            nll.extend(cpu.read(network.nll.slice(0..rows * 3)).unwrap());
        }
        nll
    };
    for batch in [1, 3, 4] {
        assert_same(&format!("nll by batches of {batch}"), &evaluate(batch), &evaluate(10));
    }
}

/// The third of five examples is not a number: what was learned before it stays, and nothing is learned after it.
#[test]
fn a_loss_that_is_not_finite_stops_the_training_where_it_was() {
    let model = Model { likelihood: Likelihood::Gaussian, ..Model::new(3, &[5], 2) };
    let mut values = Numbers::new(1).normals(15).iter().map(|&x| x as f32).collect::<Vec<_>>();
    values[7] = f32::NAN;
    let data = Dataset::new("damaged", 3, Values::Reals(values));
    let mut network = Network::training(&model, 1, Binarize::None);
    // In order, so that the damaged one is the third.
    if let Op::Gather { fetch, .. } = &mut network.tape.ops[0] {
        fetch.order = Order::Sequential;
    }
    let mut cpu = Cpu::<f64>::new(network.layout(), 1);
    numbers::write_parameters(&network, &mut cpu, &mut Numbers::new(3));
    cpu.load(&Arc::new(data)).unwrap();
    let step = |i: u32| Step { index: i, position: i, slot: i, lr: 0.1, ..Step::batch(0, 1) };
    let mut train = |steps: std::ops::Range<u32>| {
        cpu.train(&network.tape, &Optimizer::new(Rule::Sgd), &steps.map(step).collect::<Vec<_>>()).unwrap();
        (cpu.read(network.layout().params()).unwrap(), cpu.read(network.layout().metrics()).unwrap())
    };
    let (two_steps, _) = train(0..2);
    let (three_more, metrics) = train(2..5);
    assert_same("parameters", &three_more, &two_steps);
    let bad: Vec<f64> = metrics.chunks(4).take(5).map(|m| m[3]).collect();
    // The loss, and with it the gradient; and that of the steps after it nothing was applied.
    assert_eq!(bad, [0.0, 0.0, 3.0, 3.0, 3.0], "which steps were not applied");
}

#[test]
fn both_precisions_take_the_same_step() {
    for model in models() {
        for (batch, rows) in [(1, 1), (17, 13), (64, 64)] {
            let mut double = Stage::<f64>::new(&model, batch, rows, 1);
            let mut single = Stage::<f32>::new(&model, batch, rows, 1);
            let what = format!("{rows} of {batch}, {model:?}");
            // The contract's tolerance for f32: sums of some hundred numbers with 6e-8 each.
            assert_near(&format!("{what}: loss"), &[single.loss()], &[double.loss()], 1e-5);
            for ((name, got), (_, want)) in single.gradients().iter().zip(double.gradients()) {
                assert_near(&format!("{what}: d {name}"), got, &want, 1e-5);
            }
        }
    }
}

/// Bytes, numbers for a Gaussian, or counts.
fn data(model: &Model, rows: usize) -> Arc<Dataset> {
    let mut numbers = Numbers::new(9);
    let n = rows * model.input;
    let values = match model.is_all(Likelihood::Bernoulli) {
        true => Values::Bytes(numbers.units(n).iter().map(|u| (u * 256.0) as u8).collect()),
        false => Values::Reals((0..rows).flat_map(|_| numbers.example(model)).map(|x| x as f32).collect()),
    };
    Arc::new(Dataset::new("made up", model.input, values))
}

/// Some epochs, the last batch of each smaller; returns the whole memory.
fn train<T: Real>(model: &Model, examples: usize, batch: usize, count: usize, o: &Optimizer) -> (Network, Vec<f64>)
where
    Cpu<T>: Backend,
{
    let binarize = if model.is_all(Likelihood::Bernoulli) { Binarize::Dynamic } else { Binarize::None };
    let network = Network::training(model, batch, binarize);
    let mut cpu = Cpu::<T>::new(network.layout(), batch);
    numbers::write_parameters(&network, &mut cpu, &mut Numbers::new(3));
    cpu.load(&data(model, examples)).unwrap();
    let per_epoch = examples.div_ceil(batch);
    let step = |index: usize| {
        let position = index % per_epoch * batch;
        let t = index as i32 + 1;
        Step {
            index: index as u32,
            epoch: (index / per_epoch) as u32,
            position: position as u32,
            slot: index as u32,
            lr: 0.01,
            beta: model.beta,
            corrections: (1.0 - o.betas.0.powi(t), 1.0 - o.betas.1.powi(t)),
            ..Step::batch(7, batch.min(examples - position))
        }
    };
    cpu.train(&network.tape, o, &(0..count).map(step).collect::<Vec<_>>()).unwrap();
    let losses = cpu.read(network.layout().metrics().slice(0..count)).unwrap();
    assert!(losses.chunks(4).all(|m| m[0].is_finite() && m[0] != 0.0 && m[3] == 0.0), "{model:?}: {losses:?}");
    let memory = cpu.read(everything(network.layout())).unwrap();
    (network, memory)
}

fn same_bytes<T: Real>(model: &Model, examples: usize, batch: usize, count: usize, rule: Rule)
where
    Cpu<T>: Backend,
{
    let o = Optimizer { clip_norm: 5.0, ..Optimizer::new(rule) };
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| train::<T>(model, examples, batch, count, &o).1)
    };
    let one = with(1);
    for threads in [2, 3] {
        assert_same(&format!("{threads} threads, {model:?}: memory"), &with(threads), &one);
    }
}

#[test]
fn the_number_of_threads_changes_no_byte() {
    for model in models() {
        same_bytes::<f32>(&model, 23, 9, 7, Rule::Adam);
        same_bytes::<f64>(&model, 23, 9, 7, Rule::Adam);
    }
    // Large enough to be cut into pieces.
    let network =
        Model { likelihood: Likelihood::Gaussian, variance: Variance::Network, ..Model::new(130, &[300], 17) };
    same_bytes::<f32>(&Model { samples: 3, ..network.clone() }, 150, 101, 3, Rule::Adamw);
    same_bytes::<f64>(&network, 150, 101, 3, Rule::Momentum);
}

/// Kingma & Welling 2014, section 5: 500 hidden units, tanh, batches of 100, Adagrad.
#[test]
fn the_number_of_threads_changes_no_byte_at_the_shape_of_the_paper() {
    let model = Model { activation: Activation::Tanh, ..Model::new(784, &[500], 20) };
    same_bytes::<f32>(&model, 250, 100, 4, Rule::Adagrad);
}

#[test]
fn padding_stays_zero_through_training() {
    for model in models() {
        let o = Optimizer { weight_decay: 0.1, clip_norm: 1.0, ..Optimizer::new(Rule::Adam) };
        padding_is_zero::<f32>(&model, &o);
        padding_is_zero::<f64>(&model, &o);
    }
}

fn padding_is_zero<T: Real>(model: &Model, o: &Optimizer)
where
    Cpu<T>: Backend,
{
    let (network, memory) = train::<T>(model, 23, 9, 7, o);
    let layout = network.layout();
    let mut real = vec![false; memory.len()];
    let mut mark = |v: View| (0..v.rows).for_each(|row| real[v.at(row, 0)..v.at(row, v.cols)].fill(true));
    mark(layout.metrics());
    layout.constants().iter().for_each(|(v, _)| mark(*v));
    for p in &network.parameters {
        let segments = [p.view, layout.d(p.view), layout.moment(p.view, 0), layout.moment(p.view, 1)];
        segments.into_iter().for_each(&mut mark);
    }
    for (_, v) in &network.activations {
        [*v, layout.d(*v)].into_iter().for_each(&mut mark);
    }
    let stained = (0..memory.len()).find(|&i| !real[i] && memory[i] != 0.0);
    assert_eq!(stained.map(|i| (i, memory[i])), None, "{model:?}: position and value of a padding");
    // And the rest is not: every parameter has moved.
    for p in &network.parameters {
        let moved = memory[layout.moment(p.view, 1).offset];
        assert!(moved != 0.0 || model.activation == Activation::Relu, "{model:?}: {} has not moved", p.name);
    }
}
