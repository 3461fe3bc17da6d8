//! Every gradient beside central finite differences of the forward pass, in f64: each operation alone, then whole steps.
//! Every element is compared, never a sample of them.
use crate::models::{self, of_every_likelihood};
use crate::numbers::{Numbers, Stage, assert_close, metrics};
use clap::ValueEnum;
use rayon::prelude::*;
use vae_gpu::arena::{Layout, View};
use vae_gpu::config::{Activation, Binarize, Gradient, Likelihood, Model, Objective, Variance};
use vae_gpu::device::{Backend, Cpu, MISSING};
use vae_gpu::model::Network;
use vae_gpu::step::Step;
use vae_gpu::tape::{Decoded, Family, Goal, Op};

/// The step of the differences. Their own error is h²/6 = 2e-11 third derivatives, and rounding.
const H: f64 = 1e-5;
/// On |numeric − analytic| / (|numeric| + |analytic|).
const TOLERANCE: f64 = 1e-6;
/// No argument of a function with a kink lies nearer to it: a hundred steps.
const KINK: f64 = 1e-3;
/// Most draws stay off it; so many never all lie at it.
const DRAWS: u64 = 100;

/// Below this, |numeric| + |analytic| counts as this much. A loss L carries about five roundings, ε (1 + |L|) each; over
/// 2 H that is 1e-10 (1 + |L|) in a difference, which reaches the tolerance where the gradient is below 1e-4 (1 + |L|).
fn floor(loss: f64) -> f64 {
    1e-4 * (1.0 + loss.abs())
}

const OBJECTIVES: [Objective; 3] = [Objective::Elbo, Objective::ElboMc, Objective::Iwae];

/// (f(v + H) − f(v − H)) / 2 H for every element of a view.
fn differences(cpu: &mut Cpu<f64>, v: View, mut f: impl FnMut(&mut Cpu<f64>) -> f64) -> Vec<f64> {
    let values = cpu.read(v).unwrap();
    let mut slopes = Vec::new();
    for (i, &value) in values.iter().enumerate() {
        let element = v.slice(i / v.cols..i / v.cols + 1).columns(i % v.cols..i % v.cols + 1);
        let mut at = |x: f64| {
            cpu.write(element, &[x]).unwrap();
            f(cpu)
        };
        slopes.push((at(value + H) - at(value - H)) / (2.0 * H));
        cpu.write(element, &[value]).unwrap();
    }
    slopes
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

// ---------------------------------------------------------------------------------------- each operation alone

/// Examples for which there is room, and those that count.
const BATCH: usize = 4;
const ROWS: usize = 3;
const SAMPLES: usize = 3;

fn cpu(layout: &Layout, beta: f64) -> Cpu<f64> {
    let mut cpu = Cpu::new(layout, BATCH);
    cpu.set_step(&Step { beta, ..Step::batch(0, ROWS) }).unwrap();
    cpu
}

/// Of a view with one or several rows per example, the rows that count.
fn live(v: View) -> View {
    v.slice(0..v.rows / BATCH * ROWS)
}

fn fill(cpu: &mut Cpu<f64>, v: View, numbers: &mut Numbers, scale: f64) -> Vec<f64> {
    cpu.write(v, &numbers.uniforms(v.elements(), scale)).unwrap();
    cpu.read(v).unwrap()
}

#[test]
fn linear_backward_is_the_derivative_of_linear_forward() {
    for (rows, inputs, outputs) in [(BATCH, 5, 3), (BATCH * SAMPLES, 9, 7), (BATCH, 1, 1), (BATCH, 12, 1)] {
        for f in Activation::value_variants().iter().copied().map(Some).chain([None]) {
            let mut layout = Layout::training();
            let (w, bias) = (layout.weight(outputs, inputs), layout.parameter(1, outputs));
            let (x, a) = (layout.activation(rows, inputs), layout.activation(rows, outputs));
            let y = if f.is_some_and(Activation::slope_is_of_input) { layout.activation(rows, outputs) } else { a };
            let mut cpu = cpu(&layout, 1.0);
            let mut numbers = Numbers::new(inputs as u64);
            // As many draws as it takes to stay off relu's kink.
            let off_the_kink = (0..DRAWS).any(|_| {
                for v in [w, bias, x] {
                    fill(&mut cpu, v, &mut numbers, 1.5);
                }
                cpu.linear_forward(a, a, x, w, bias, None).unwrap();
                cpu.read(live(a)).unwrap().iter().all(|a| a.abs() > KINK)
            });
            assert!(off_the_kink, "({rows}, {inputs}) to {outputs}: {DRAWS} draws lie at a kink");
            let dy = numbers.uniforms(live(y).elements(), 1.0);
            let mut loss = |cpu: &mut Cpu<f64>| {
                cpu.linear_forward(y, a, x, w, bias, f).unwrap();
                dot(&dy, &cpu.read(live(y)).unwrap())
            };
            let floor = floor(loss(&mut cpu));
            cpu.write(live(layout.d(y)), &dy).unwrap();
            let d = |v| layout.d(v);
            cpu.linear_backward(Some(d(x)), Some((d(w), d(bias))), d(y), y, a, x, w, f).unwrap();
            for (name, v) in [("x", live(x)), ("weight", w), ("bias", bias)] {
                let analytic = cpu.read(d(v)).unwrap();
                let numeric = differences(&mut cpu, v, &mut loss);
                let what = format!("({rows}, {inputs}) to {outputs}, {f:?}: d{name}");
                assert_close(&what, &analytic, &numeric, TOLERANCE, floor);
            }
        }
    }
}

/// With the terms that the objective gives to mu and logvar directly; beta weighs them in elbo-mc alone.
#[test]
fn reparam_backward_is_the_derivative_of_z_and_of_the_ratio_in_the_objective() {
    let beta = 0.7;
    for latent in [1, 5] {
        for objective in OBJECTIVES {
            let mut layout = Layout::training();
            let head = layout.activation(BATCH, 2 * latent);
            let eps = layout.activation(BATCH * SAMPLES, latent);
            let (z, ratio) = (layout.activation(BATCH * SAMPLES, latent), layout.activation(BATCH * SAMPLES, 1));
            let weight = layout.activation(BATCH * SAMPLES, 1);
            let mut cpu = cpu(&layout, beta);
            let mut numbers = Numbers::new(3);
            fill(&mut cpu, head, &mut numbers, 1.0);
            fill(&mut cpu, eps, &mut numbers, 2.0);
            let weights = fill(&mut cpu, live(weight), &mut numbers, 1.0);
            let dz = fill(&mut cpu, live(layout.d(z)), &mut numbers, 1.0);
            let share = match objective {
                Objective::Elbo => 0.0,
                Objective::ElboMc => beta,
                Objective::Iwae => 1.0, // it has no beta
            };
            let mut loss = |cpu: &mut Cpu<f64>| {
                cpu.reparam_forward(z, ratio, head, Some(eps)).unwrap();
                dot(&dz, &cpu.read(live(z)).unwrap()) + share * dot(&weights, &cpu.read(live(ratio)).unwrap())
            };
            let floor = floor(loss(&mut cpu));
            let goal = Goal { objective, gradient: Gradient::Total, free_bits: 0.0 };
            let d = |v| layout.d(v);
            cpu.reparam_backward(d(head), d(z), z, head, Some(eps), weight, goal).unwrap();
            let analytic = cpu.read(d(live(head))).unwrap();
            let numeric = differences(&mut cpu, live(head), &mut loss);
            let what = format!("latent {latent}, {objective:?}: d[mu | logvar]");
            assert_close(&what, &analytic, &numeric, TOLERANCE, floor);
        }
    }
}

#[test]
fn kl_backward_adds_the_derivative_of_the_kl_above_the_free_bits() {
    let (beta, latent) = (0.7, 5);
    for floored in [0, 2, latent] {
        let mut layout = Layout::training();
        let head = layout.activation(BATCH, 2 * latent);
        let (kl, kl_dim) = (layout.activation(BATCH, 1), layout.activation(1, latent));
        let mut cpu = cpu(&layout, beta);
        let mut numbers = Numbers::new(4);
        fill(&mut cpu, head, &mut numbers, 1.5);
        cpu.kl_forward(kl, kl_dim, head).unwrap();
        let mut dims = cpu.read(kl_dim).unwrap();
        dims.sort_by(f64::total_cmp);
        // Between two dimensions, so that none lies at the kink.
        let free_bits = match floored {
            0 => 0.0,
            n if n == latent => dims[latent - 1] + 1.0,
            n => (dims[n - 1] + dims[n]) / 2.0,
        };
        assert!(dims.iter().all(|kl| (kl - free_bits).abs() > KINK), "{dims:?} beside {free_bits}");
        let mut loss = |cpu: &mut Cpu<f64>| {
            cpu.kl_forward(kl, kl_dim, head).unwrap();
            beta * cpu.read(kl_dim).unwrap().iter().map(|kl| kl.max(free_bits)).sum::<f64>()
        };
        let floor = floor(loss(&mut cpu));
        let before = fill(&mut cpu, live(layout.d(head)), &mut numbers, 1.0);
        cpu.kl_backward(
            layout.d(head),
            head,
            kl_dim,
            Goal { objective: Objective::Elbo, gradient: Gradient::Total, free_bits },
        )
        .unwrap();
        let after = cpu.read(live(layout.d(head))).unwrap();
        let analytic: Vec<f64> = after.iter().zip(&before).map(|(a, b)| a - b).collect();
        let numeric = differences(&mut cpu, live(head), &mut loss);
        assert_close(&format!("{floored} of {latent} floored: d[mu | logvar]"), &analytic, &numeric, TOLERANCE, floor);
    }
}

#[test]
fn nll_backward_is_the_derivative_of_nll_forward() {
    for model in of_every_likelihood(&Model { sigma: 0.7, ..Model::new(5, &[], 1) }) {
        for (input, missing) in [(1, false), (5, false), (1, true), (5, true)] {
            // As a model of so many columns has it, with views of this layout.
            let others = model.others.iter().filter(|(_, _, to)| *to <= input).copied().collect();
            let model = Model { input, others, ..model.clone() };
            let network = Network::training(&model, 1, Binarize::None);
            let mut layout = Layout::training();
            let learned = network.decoded.learned.map(|v| layout.parameter(1, v.cols));
            let x = layout.activation(BATCH, input);
            let out = layout.activation(BATCH * SAMPLES, network.decoded.out.cols);
            let (nll, weight) = (layout.activation(BATCH * SAMPLES, 1), layout.activation(BATCH * SAMPLES, 1));
            let mut constants = network.layout().constants().iter().map(|(_, values)| layout.constant(values.clone()));
            let family = constants.next().map_or(network.decoded.family, Family::ByColumn);
            let variables = constants.next();
            let mut cpu = cpu(&layout, 1.0);
            let mut numbers = Numbers::new(5);
            learned.map(|v| fill(&mut cpu, v, &mut numbers, 1.0));
            fill(&mut cpu, out, &mut numbers, 2.0);
            let mut values: Vec<f64> = (0..BATCH).flat_map(|_| numbers.example(&model)).collect();
            values.iter_mut().step_by(3).filter(|_| missing).for_each(|x| *x = MISSING);
            for (row, words) in
                model.categoricals().into_iter().flat_map(|v| (0..BATCH).map(move |row| (row, v.clone())))
            {
                // As a whole, or not at all.
                let words = &mut values[row * input..][words];
                let is_missing = missing && row % 2 == 1;
                words.fill(if is_missing { MISSING } else { 0.0 });
                words[row % words.len()] = if is_missing { MISSING } else { 1.0 };
            }
            cpu.write(x, &values).unwrap();
            let weights = fill(&mut cpu, live(weight), &mut numbers, 1.0);
            let decoded = Decoded { out, family, learned, ..network.decoded };
            // Normalised in place; the gradient is of what it was before.
            let normalise = |cpu: &mut Cpu<f64>| variables.map_or(Ok(()), |v| cpu.log_softmax(out, v)).unwrap();
            let mut loss = |cpu: &mut Cpu<f64>| {
                let before = cpu.read(out).unwrap();
                normalise(cpu);
                cpu.nll_forward(nll, decoded, x).unwrap();
                cpu.write(out, &before).unwrap();
                dot(&weights, &cpu.read(live(nll)).unwrap())
            };
            let floor = floor(loss(&mut cpu));
            normalise(&mut cpu);
            let gradient = learned.map(|v| layout.d(v));
            cpu.nll_backward(layout.d(out), gradient, decoded, x, weight).unwrap();
            let mut views = vec![("out", live(out))];
            views.extend(learned.map(|v| ("dispersion", v)));
            for (name, v) in views {
                let analytic = cpu.read(layout.d(v)).unwrap();
                let numeric = differences(&mut cpu, v, &mut loss);
                let what = format!("{model:?}, missing {missing}: d{name}");
                assert_close(&what, &analytic, &numeric, TOLERANCE, floor);
            }
        }
    }
}

#[test]
fn the_weights_of_the_bound_are_the_derivative_of_the_loss() {
    let beta = 0.7;
    for objective in OBJECTIVES {
        for samples in [1, SAMPLES] {
            let mut layout = Layout::training();
            let per_row = |layout: &mut Layout| layout.activation(BATCH * samples, 1);
            let (nll, ratio, weight) = (per_row(&mut layout), per_row(&mut layout), per_row(&mut layout));
            let (kl, bound) = (layout.activation(BATCH, 1), layout.activation(BATCH, 1));
            let kl_dim = layout.activation(1, 2);
            let mut cpu = cpu(&layout, beta);
            let mut numbers = Numbers::new(6);
            for v in [nll, ratio, kl, kl_dim] {
                fill(&mut cpu, v, &mut numbers, 2.0);
            }
            // Every dimension above no bits at all: no kink.
            cpu.write(kl_dim, &numbers.units(2)).unwrap();
            let goal = Goal { objective, gradient: Gradient::Total, free_bits: 0.0 };
            let ring = layout.metrics();
            let mut loss = |cpu: &mut Cpu<f64>| {
                cpu.bound(bound, weight, ring, nll, kl, kl_dim, ratio, goal).unwrap();
                metrics(ring, cpu)[0]
            };
            let floor = floor(loss(&mut cpu));
            let weights = cpu.read(live(weight)).unwrap();
            // What reparam_backward and kl_backward take for granted.
            let (share, kl_share) = match objective {
                Objective::Elbo => (0.0, beta),
                Objective::ElboMc => (beta, 0.0),
                Objective::Iwae => (1.0, 0.0),
            };
            let scaled = |c: f64| weights.iter().map(|w| c * w).collect::<Vec<_>>();
            let wanted = [
                ("nll", live(nll), scaled(1.0)),
                ("ratio", live(ratio), scaled(share)),
                ("kl", kl_dim, vec![kl_share; 2]),
            ];
            for (name, v, want) in wanted {
                let numeric = differences(&mut cpu, v, &mut loss);
                let what = format!("{objective:?}, {samples} samples: d loss / d {name}");
                assert_close(&what, &want, &numeric, TOLERANCE, floor);
            }
        }
    }
}

// ------------------------------------------------------------------------------------------------- whole steps

/// Runs the step, and says how near to relu's kink any argument of it is.
fn distance_to_a_kink(stage: &mut Stage<f64>) -> f64 {
    stage.loss();
    let mut nearest = f64::INFINITY;
    for op in stage.network.tape.ops.clone() {
        if let Op::Linear { x, weight, bias, activation: Some(Activation::Relu), .. } = op {
            let (x_in, w, bias) = (stage.read(x), stage.read(weight), stage.read(bias));
            for x in x_in.chunks(x.cols) {
                let a = w.chunks(x.len()).zip(&bias).map(|(w, bias)| dot(w, x) + bias);
                nearest = a.map(f64::abs).fold(nearest, f64::min);
            }
        }
    }
    nearest
}

/// Every gradient of every parameter of one model, in a batch with one example less than there is room for.
fn check_step(model: &Model, batch: usize, rows: usize) {
    model.check().unwrap();
    let mut stages = (0..DRAWS).map(|seed| Stage::<f64>::new(model, batch, rows, seed));
    let stage = &mut stages.find_map(|mut stage| (distance_to_a_kink(&mut stage) > KINK).then_some(stage)).unwrap();
    let floor = floor(stage.loss());
    let gradients = stage.gradients();
    let tape = stage.network.tape.clone();
    let mut loss = |cpu: &mut Cpu<f64>| {
        tape.forward(cpu, tape.encoder.start..tape.ops.len()).unwrap();
        metrics(tape.layout.metrics(), cpu)[0]
    };
    for (p, (name, analytic)) in stage.network.parameters.iter().zip(gradients) {
        let numeric = differences(&mut stage.cpu, p.view, &mut loss);
        assert_close(&format!("{model:?}: d {name}"), &analytic, &numeric, TOLERANCE, floor);
    }
}

fn check_steps(hidden: &[usize], activations: &[Activation]) {
    let mut models = vec![];
    for objective in OBJECTIVES {
        for &activation in activations {
            for samples in [1, 3] {
                let beta = if objective == Objective::Iwae { 1.0 } else { 0.7 };
                let plain = Model { activation, sigma: 0.8, objective, samples, beta, ..Model::new(5, hidden, 2) };
                models.extend(of_every_likelihood(&plain));
            }
        }
    }
    models.par_iter().for_each(|model| check_step(model, 4, 3));
}

#[test]
fn a_step_of_a_linear_model_has_the_gradients_of_its_loss() {
    check_steps(&[], &[Activation::Tanh]); // there is no hidden layer to tell them apart
}

#[test]
fn a_step_with_one_hidden_layer_has_the_gradients_of_its_loss() {
    check_steps(&[3], Activation::value_variants());
}

#[test]
fn a_step_with_two_hidden_layers_has_the_gradients_of_its_loss() {
    check_steps(&[4, 3], Activation::value_variants());
}

#[test]
fn a_step_at_the_edges_has_the_gradients_of_its_loss() {
    let network = Model { likelihood: Likelihood::Gaussian, variance: Variance::Network, ..Model::new(1, &[1], 1) };
    for objective in OBJECTIVES {
        check_step(&Model { activation: Activation::Tanh, objective, ..network.clone() }, 1, 1);
        check_step(&Model { objective, samples: 2, ..Model::new(9, &[17], 1) }, 2, 1);
        check_step(&Model { objective, ..Model::new(3, &[2, 9, 3], 9) }, 3, 3);
    }
}

#[test]
fn a_step_of_a_model_drawn_at_random_has_the_gradients_of_its_loss() {
    let mut numbers = Numbers::new(7);
    let draw = |_| {
        let batch = 1 + numbers.below(4);
        (models::draw(&mut numbers, &[1, 1, 3, 9]), batch, 1 + numbers.below(batch))
    };
    let drawn: Vec<(Model, usize, usize)> = (0..400).map(draw).collect();
    drawn.par_iter().for_each(|(model, batch, rows)| check_step(model, *batch, *rows));
}

#[test]
fn a_conditional_step_has_the_gradients_of_its_loss() {
    for objective in OBJECTIVES {
        for (condition, hidden, samples) in [(1, vec![], 1), (3, vec![4], 3), (9, vec![3, 2], 2)] {
            let plain = Model { objective, condition, samples, ..Model::new(5, &hidden, 2) };
            check_step(&Model { activation: Activation::Tanh, ..plain.clone() }, 4, 3);
            let (likelihood, variance) = (Likelihood::Gaussian, Variance::Network);
            check_step(&Model { likelihood, variance, ..plain }, 4, 3);
        }
    }
}

/// The kink of max(λ, mean kl) is avoided by λ half way between two dimensions.
#[test]
fn a_step_with_free_bits_has_the_gradients_of_its_loss() {
    for &activation in Activation::value_variants() {
        for samples in [1, 3] {
            let plain = Model { activation, samples, beta: 0.7, ..Model::new(5, &[3], 4) };
            let mut stage = Stage::<f64>::new(&plain, 4, 3, 0);
            stage.loss();
            let mut dims = stage.read(stage.network.tape.kl_dim);
            dims.sort_by(f64::total_cmp);
            assert!(dims[2] - dims[1] > 2.0 * KINK, "{dims:?}");
            check_step(&Model { free_bits: (dims[1] + dims[2]) / 2.0, ..plain }, 4, 3);
        }
    }
}
