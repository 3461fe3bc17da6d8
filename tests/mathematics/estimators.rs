//! Estimates of log p(x) beside the truth, where it is known.
use crate::linear::LinearGaussian;
use crate::numbers::Numbers;
use std::sync::Arc;
use vae_gpu::ais::{Ais, Annealer};
use vae_gpu::config::{Binarize, Init, Model, Objective};
use vae_gpu::data::{Dataset, Missing, Values};
use vae_gpu::device::{Backend, Cpu};
use vae_gpu::estimate::LogLikelihood;
use vae_gpu::evaluate::Evaluator;
use vae_gpu::init;
use vae_gpu::step::Step;

/// How many standard errors count as a contradiction. The draws have fixed seeds, so one that passes always passes.
const SIGMAS: f64 = 4.0;

fn dataset(cols: usize, values: Values) -> Arc<Dataset> {
    Arc::new(Dataset::new("drawn", cols, values))
}

/// It may lack values, where the data do.
fn model(linear: &LinearGaussian) -> Model {
    Model { missing: Missing::Allow, ..linear.model(Objective::Elbo, 1) }
}

/// Examples of the model, and the mean of their log p(x).
fn examples(linear: &LinearGaussian, rows: usize) -> (Arc<Dataset>, f64) {
    let values = linear.draw(rows, &mut Numbers::new(11));
    let log_p = |x: &[f32]| linear.log_p(&x.iter().map(|&x| x as f64).collect::<Vec<_>>());
    let mean = values.chunks(linear.input).map(log_p).sum::<f64>() / rows as f64;
    (dataset(linear.input, Values::Reals(values)), mean)
}

/// L_K, and the naive estimate with as many draws; q is moved and widened.
fn drawn(
    linear: &LinearGaussian,
    data: &Arc<Dataset>,
    samples: usize,
    shift: f64,
    wider: f64,
) -> (LogLikelihood, LogLikelihood) {
    let evaluator = Evaluator::new(&model(linear), samples, Binarize::None, data.rows());
    let n = evaluator.network();
    let mut cpu = Cpu::<f64>::new(n.layout(), n.tape.batch);
    linear.write(n, &mut cpu, shift, wider);
    cpu.load(data).unwrap();
    let iwae = evaluator.run(&mut cpu, data, 1, &mut |_| Ok(())).unwrap().iwae;
    (iwae, evaluator.prior(&mut cpu, data, 1, &mut |_| Ok(())).unwrap())
}

fn annealed(linear: &LinearGaussian, data: &Arc<Dataset>, ais: Ais) -> LogLikelihood {
    let annealer = Annealer::new(&model(linear), ais, Binarize::None, data.rows()).unwrap();
    let n = annealer.network();
    let mut cpu = Cpu::<f64>::new(n.layout(), n.tape.batch);
    linear.write(n, &mut cpu, 9.0, 0.0); // the encoder plays no part
    cpu.load(data).unwrap();
    annealer.run(&mut cpu, data, 1, &mut |_| Ok(())).unwrap()
}

/// An unbiased estimate of p lies below log p by half its variance, to the first order, which is what the jackknife tells.
fn agrees(what: &str, l: &LogLikelihood, log_p: f64) {
    let n = l.per_example.len() as f64;
    let (mean, error, bias) = (l.bound.mean, l.monte_carlo_error, -l.bias);
    let half = 0.5 * error.powi(2) * n;
    assert!((bias / half - 1.0).abs() < 0.3, "{what}: too low by {bias}, half its variance is {half}");
    println!("{what:<24} {mean:.4} ± {error:.4}, effective {:.1} of {}", l.effective_samples, l.samples);
    assert!(error < 0.05, "{what}: ± {error} says nothing");
    assert!((mean + bias - log_p).abs() < SIGMAS * error, "{what}: {mean} ± {error}, bias {bias}; log p(x) = {log_p}");
}

#[test]
fn the_naive_the_importance_and_the_annealed_estimate_agree_with_the_exact_likelihood() {
    let linear = LinearGaussian::new(6, 3, 3);
    let (data, log_p) = examples(&linear, 301);
    let (iwae, naive) = drawn(&linear, &data, 1500, 0.3, 0.4);
    println!("log p(x) = {log_p:.4}");
    agrees("L_1500", &iwae, log_p);
    agrees("naive", &naive, log_p);
    agrees("ais", &annealed(&linear, &data, Ais { temperatures: 60, chains: 15, leapfrogs: 4 }), log_p);
    // At equal draws the prior is by far the worse proposal.
    assert!(naive.monte_carlo_error > 3.0 * iwae.monte_carlo_error);
    assert!(naive.effective_samples < 0.3 * iwae.effective_samples);
    // A q that is wider than the posterior everywhere has bounded weights.
    assert!(iwae.heavy.unwrap() < 15, "{:?} of 301", iwae.heavy);
}

/// p(x_observed) of a Gaussian is known too. The encoder sees zeros in the gaps, and is off by that: the weights mend it.
#[test]
fn every_estimate_is_of_what_is_observed() {
    let linear = LinearGaussian::new(6, 2, 3);
    let (data, _) = examples(&linear, 301);
    let gap = |i: usize| (i * 7 + i / 6).is_multiple_of(4) || i / 6 == 5;
    let values = data.to_rows().into_iter().enumerate().map(|(i, x)| if gap(i) { f32::NAN } else { x });
    let data = Arc::new(Dataset::from_rows_with_missing("gaps", 6, values.collect()).unwrap());
    let all: Vec<f64> = data.to_rows().iter().map(|&x| x as f64).collect();
    let log_p = all.chunks(6).map(|x| linear.log_p(x)).sum::<f64>() / 301.0;
    let (iwae, naive) = drawn(&linear, &data, 4000, 0.0, 1.0);
    println!("log p(x) = {log_p:.4}");
    agrees("L_4000", &iwae, log_p);
    agrees("naive", &naive, log_p);
    agrees("ais", &annealed(&linear, &data, Ais { temperatures: 60, chains: 15, leapfrogs: 4 }), log_p);
    assert!(iwae.per_example[5].abs() < 0.2, "of nothing: {}", iwae.per_example[5]);
}

#[test]
fn annealing_is_right_where_q_is_not() {
    let linear = LinearGaussian::new(9, 2, 5);
    let (data, log_p) = examples(&linear, 201);
    let (iwae, _) = drawn(&linear, &data, 200, 3.0, -2.0); // q is narrow, and three units from the posterior
    assert!(iwae.bound.mean < log_p - 5.0, "L_200 = {:?}, log p(x) = {log_p}", iwae.bound);
    assert!(iwae.effective_samples < 5.0, "{}", iwae.effective_samples);
    // Nor is there a variance of weights; which none of the others can see.
    assert!(iwae.heavy.unwrap() > 180, "{:?} of 201", iwae.heavy);
    agrees("ais", &annealed(&linear, &data, Ais { temperatures: 80, chains: 10, leapfrogs: 5 }), log_p);
}

#[test]
fn one_temperature_is_the_naive_estimate() {
    let linear = LinearGaussian::new(4, 1, 7);
    let (data, log_p) = examples(&linear, 101);
    agrees("ais, one step", &annealed(&linear, &data, Ais { temperatures: 1, chains: 1500, leapfrogs: 1 }), log_p);
}

#[test]
fn the_error_by_sampling_is_the_spread_between_seeds() {
    let linear = LinearGaussian::new(6, 3, 3);
    let (data, _) = examples(&linear, 51);
    let evaluator = Evaluator::new(&linear.model(Objective::Elbo, 1), 70, Binarize::None, data.rows());
    let n = evaluator.network();
    let mut cpu = Cpu::<f64>::new(n.layout(), n.tape.batch);
    linear.write(n, &mut cpu, 0.3, 0.4);
    cpu.load(&data).unwrap();
    let runs: Vec<LogLikelihood> =
        (0..60).map(|seed| evaluator.run(&mut cpu, &data, seed, &mut |_| Ok(())).unwrap().iwae).collect();
    let mean = runs.iter().map(|l| l.bound.mean).sum::<f64>() / 60.0;
    let spread = (runs.iter().map(|l| (l.bound.mean - mean).powi(2)).sum::<f64>() / 59.0).sqrt();
    let said = runs.iter().map(|l| l.monte_carlo_error).sum::<f64>() / 60.0;
    // The spread of 60 runs is known to 1 / √118 = 9 %; four times that.
    assert!((spread / said - 1.0).abs() < 0.4, "spread {spread}, said {said}");
}

/// With dynamic binarisation x is drawn; but an example has one x, however many z it takes to weigh it.
#[test]
fn all_samples_of_an_example_see_the_same_drawn_x() {
    let model = Model::new(65, &[17], 3);
    let rows = 33;
    let grey: Vec<u8> = Numbers::new(3).units(rows * 65).iter().map(|u| (u * 255.0) as u8).collect();
    let evaluate = |data: &Arc<Dataset>, binarize| {
        let evaluator = Evaluator::new(&model, 200, binarize, data.rows()); // four passes
        let n = evaluator.network();
        let mut cpu = Cpu::<f64>::new(n.layout(), n.tape.batch);
        init::parameters(n, Init::Glorot, 1, &mut cpu).unwrap();
        cpu.load(data).unwrap();
        let e = evaluator.run(&mut cpu, data, 1, &mut |_| Ok(())).unwrap();
        (e.iwae, evaluator.prior(&mut cpu, data, 1, &mut |_| Ok(())).unwrap(), n.clone(), cpu)
    };
    let data = dataset(65, Values::Bytes(grey));
    let (iwae, naive, n, mut cpu) = evaluate(&data, Binarize::Dynamic);
    let mut drawn: Vec<u8> = vec![];
    for position in (0..rows).step_by(n.tape.batch) {
        let live = n.tape.batch.min(rows - position);
        let at = position as u32;
        cpu.set_step(&Step { index: 1 << 31, position: at, first_row: at, ..Step::batch(1, live) }).unwrap();
        n.tape.forward(&mut cpu, n.tape.data.clone()).unwrap();
        drawn.extend(cpu.read(n.x.slice(0..live)).unwrap().iter().map(|&x| 255 * x as u8));
    }
    let (want, want_naive, ..) = evaluate(&dataset(65, Values::Bytes(drawn)), Binarize::None);
    assert_eq!(iwae, want);
    assert_eq!(naive, want_naive);
}

#[test]
fn wrong_requests_are_told_so() {
    for (ais, option) in [
        (Ais { temperatures: 0, chains: 1, leapfrogs: 1 }, "temperatures 0"),
        (Ais { temperatures: 1, chains: 0, leapfrogs: 1 }, "chains 0"),
        (Ais { temperatures: 1, chains: 1, leapfrogs: 0 }, "leapfrogs 0"),
    ] {
        let error = Annealer::new(&Model::new(3, &[], 2), ais, Binarize::None, 5).err().unwrap();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().starts_with(option), "{error}");
    }
}
