//! The identities that the method rests on, where every term is known: the divergence of two Gaussians,
//! log p(x) − KL(q(z|x) ‖ p(z|x)) = elbo, and two gradients of one expectation.
use crate::numbers::{self, Numbers, Stage, assert_close, mean_and_error};
use std::sync::Arc;
use vae_gpu::config::{Binarize, Likelihood, Model, Variance};
use vae_gpu::data::{Dataset, Values};
use vae_gpu::device::{Backend, Cpu};
use vae_gpu::evaluate::Evaluator;
use vae_gpu::gaussian::{Cholesky, Gaussian, kl};
use vae_gpu::model::Network;
use vae_gpu::step::Step;

/// How many standard errors count as a contradiction: see tests/mathematics/operations.rs.
const SIGMAS: f64 = 4.0;

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// a b, (m, k) by (k, n).
fn product(a: &[f64], b: &[f64], k: usize, n: usize) -> Vec<f64> {
    let entry = |i: usize, j: usize| (0..k).map(|l| a[i * k + l] * b[l * n + j]).sum();
    (0..a.len() / k * n).map(|e| entry(e / n, e % n)).collect()
}

fn transposed(a: &[f64], cols: usize) -> Vec<f64> {
    let rows = a.len() / cols;
    (0..a.len()).map(|e| a[e % rows * cols + e / rows]).collect()
}

fn diagonal(values: &[f64]) -> Vec<f64> {
    let n = values.len();
    (0..n * n).map(|e| if e / n == e % n { values[e / n] } else { 0.0 }).collect()
}

/// A Aᵀ / n + I / 5: no structure, and far from singular.
fn covariance(n: usize, numbers: &mut Numbers) -> Vec<f64> {
    let a = numbers.normals(n * n);
    let mut c = product(&a, &transposed(&a, n), n, n);
    c.iter_mut().for_each(|c| *c /= n as f64);
    (0..n).for_each(|i| c[i * n + i] += 0.2);
    c
}

fn gaussian(n: usize, numbers: &mut Numbers) -> Gaussian {
    Gaussian::new(numbers.normals(n), &covariance(n, numbers)).unwrap()
}

// ------------------------------------------------------------------------------------------------- the factor

#[test]
fn the_factor_gives_back_its_matrix_and_solves_with_it() {
    for n in [1, 2, 9, 17, 33, 130] {
        let mut numbers = Numbers::new(n as u64);
        let a = covariance(n, &mut numbers);
        let factor = Cholesky::new(&a, n).unwrap();
        let lower = factor.lower();
        assert!((0..n * n).all(|e| e % n <= e / n || lower[e] == 0.0), "{n}: above the diagonal");
        // Roundings of sums of n terms, times the condition of the matrix, some tens.
        assert_close(&format!("{n}: L Lᵀ"), &product(lower, &transposed(lower, n), n, n), &a, 1e-13, 1.0);
        let identity = diagonal(&vec![1.0; n]);
        assert_close(&format!("{n}: L⁻¹ L"), &product(&factor.inverse_lower(), lower, n, n), &identity, 1e-13, 1.0);
        let b = numbers.normals(n);
        let mut solved = b.clone();
        factor.solve(&mut solved);
        assert_close(&format!("{n}: A A⁻¹ b"), &product(&a, &solved, n, 1), &b, 1e-12, 1.0);
        let mut half = factor.times(&b);
        factor.solve_lower(&mut half);
        assert_close(&format!("{n}: L⁻¹ L b"), &half, &b, 1e-12, 1.0);
    }
    let two = Cholesky::new(&[2.0, 0.0, 0.5, 1.0], 2).unwrap(); // of which the lower triangle is read
    assert!((two.log_det() - 1.75f64.ln()).abs() < 1e-15);
}

#[test]
fn what_is_no_covariance_is_an_error_that_names_the_row() {
    let rank_one = [1.0, 2.0, 3.0, 2.0, 4.0, 6.0, 3.0, 6.0, 9.0];
    for (a, n, row) in [
        (&[0.0][..], 1, 0),
        (&[f64::NAN], 1, 0),
        (&[f64::INFINITY], 1, 0),
        (&[1.0, 0.0, 0.0, -1.0], 2, 1),
        (&[1.0, 2.0, 2.0, 1.0], 2, 1),
        (&rank_one, 3, 1),
    ] {
        let e = Gaussian::new(vec![0.0; n], a).unwrap_err();
        let begins = format!("covariance: not positive definite, at row {row} (counted from 0) ");
        assert!(e.to_string().starts_with(&begins), "{a:?}: {e}");
        assert!(e.to_string().ends_with("; add to its diagonal, or leave out columns that others determine"));
        assert_eq!(e.exit_code(), 1);
    }
    // A third that is the sum of two: what rounding leaves of it counts as nothing.
    let x = Numbers::new(1).normals(2 * 50);
    let with_sum: Vec<f64> = x.chunks(2).flat_map(|x| [x[0], x[1], x[0] + x[1]]).collect();
    let dependent = product(&transposed(&with_sum, 3), &with_sum, 50, 3);
    assert!(Cholesky::new(&dependent, 3).is_err());
}

#[test]
fn the_density_is_that_of_its_conditionals() {
    // log p(x, y) = log p(x) + log p(y | x), the second with mean m_y + c/a (x − m_x) and variance b − c²/a.
    let (a, b, c) = (2.0, 1.5, 0.7);
    let two = Gaussian::new(vec![1.0, -2.0], &[a, c, c, b]).unwrap();
    let log_normal = |x: f64, mean: f64, variance: f64| {
        -0.5 * (std::f64::consts::TAU.ln() + f64::ln(variance) + (x - mean).powi(2) / variance)
    };
    for (x, y) in [(0.0, 0.0), (1.0, -2.0), (-3.0, 5.0)] {
        let want = log_normal(x, 1.0, a) + log_normal(y, -2.0 + c / a * (x - 1.0), b - c * c / a);
        assert!((two.log_density(&[x, y]) - want).abs() < 1e-14 * want.abs().max(1.0)); // roundings
    }
}

// ------------------------------------------------------------------------------------------------- the divergence

#[test]
fn the_divergence_is_zero_of_equals_and_positive_of_others() {
    for n in [1, 2, 17, 33] {
        let mut numbers = Numbers::new(1);
        let (q, p) = (gaussian(n, &mut numbers), gaussian(n, &mut numbers));
        assert_eq!((kl(&q, &q), kl(&p, &p)), (0.0, 0.0));
        assert!(kl(&q, &p) > 0.0 && kl(&p, &q) > 0.0 && kl(&q, &p) != kl(&p, &q));
    }
}

/// What the encoder's divergence is: of a diagonal Gaussian from N(0, I), by the engine.
#[test]
fn of_diagonal_gaussians_the_divergence_is_the_encoders() {
    for (input, latent) in [(1, 1), (7, 3), (5, 17)] {
        let mut stage = Stage::<f64>::new(&Model::new(input, &[], latent), 5, 5, 1);
        stage.loss();
        let (head, engine) = (stage.read(stage.network.head), stage.read(stage.network.kl));
        let prior = standard(latent);
        let want: Vec<f64> = head.chunks(2 * latent).map(|head| kl(&encoded(head), &prior)).collect();
        assert_close(&format!("kl of {latent}"), &engine, &want, 1e-13, 1.0); // roundings
    }
}

fn standard(n: usize) -> Gaussian {
    Gaussian::new(vec![0.0; n], &diagonal(&vec![1.0; n])).unwrap()
}

/// q(z|x) of one row `[mu | logvar]`.
fn encoded(head: &[f64]) -> Gaussian {
    let (mu, logvar) = head.split_at(head.len() / 2);
    let variances: Vec<f64> = logvar.iter().map(|v| v.exp()).collect();
    Gaussian::new(mu.to_vec(), &diagonal(&variances)).unwrap()
}

#[test]
fn the_divergence_is_the_mean_of_its_draws() {
    for n in [1, 3, 9] {
        let mut numbers = Numbers::new(4);
        let (q, p) = (gaussian(n, &mut numbers), gaussian(n, &mut numbers));
        let draw = |_| {
            let z = q.at(&numbers.normals(n));
            q.log_density(&z) - p.log_density(&z)
        };
        let (mean, error) = mean_and_error(&(0..20_001).map(draw).collect::<Vec<_>>());
        let closed = kl(&q, &p);
        assert!((mean - closed).abs() < SIGMAS * error, "{n}: closed {closed}, drawn {mean} ± {error}");
        assert!(error < 0.05 * closed, "{n}: the draws tell something: {mean} ± {error}");
    }
}

/// KL is of two distributions, not of the coordinates that they are written in.
#[test]
fn the_divergence_does_not_change_with_the_coordinates() {
    for n in [1, 2, 9, 17] {
        let mut numbers = Numbers::new(5);
        let pair = [0, 1].map(|_| (numbers.normals(n), covariance(n, &mut numbers)));
        let (a, shift) = (covariance(n, &mut numbers), numbers.normals(n)); // invertible, which is all it must be
        let moved = |(mean, covariance): &(Vec<f64>, Vec<f64>)| {
            let mean = product(&a, mean, n, 1).iter().zip(&shift).map(|(m, s)| m + s).collect();
            let covariance = product(&product(&a, covariance, n, n), &transposed(&a, n), n, n);
            Gaussian::new(mean, &covariance).unwrap()
        };
        let plain = |(mean, covariance): &(Vec<f64>, Vec<f64>)| Gaussian::new(mean.clone(), covariance).unwrap();
        let (got, want) = (kl(&moved(&pair[0]), &moved(&pair[1])), kl(&plain(&pair[0]), &plain(&pair[1])));
        assert!((got - want).abs() < 1e-10 * want, "{n}: {got}, want {want}"); // roundings times three conditions
    }
}

// ------------------------------------------------------------------------- a linear Gaussian model, where all is known

/// The decoder of a linear model, as the engine has it: x = W z + b + sigma ε. Nothing is orthogonal, so p(z|x) is
/// correlated, and no diagonal q reaches it.
struct Linear {
    w: Vec<f64>, // (input, latent)
    b: Vec<f64>, // (input)
    variance: f64,
    latent: usize,
}

fn model(input: usize, latent: usize, variance: Variance) -> Model {
    Model { likelihood: Likelihood::Gaussian, variance, sigma: 0.7, ..Model::new(input, &[], latent) }
}

impl Linear {
    fn of(network: &Network, cpu: &mut Cpu<f64>) -> Linear {
        let mut read = |name: &str| network.parameter(name).map(|p| cpu.read(p.view).unwrap());
        let variance = match read("decoder.logvar") {
            Some(logvar) => logvar[0].exp(),
            None => network.model.sigma.powi(2),
        };
        let (w, b) = (read("decoder.out.weight").unwrap(), read("decoder.out.bias").unwrap());
        Linear { w, b, variance, latent: network.model.latent }
    }

    fn residual(&self, x: &[f64], z: &[f64]) -> Vec<f64> {
        let mean = product(&self.w, z, self.latent, 1);
        x.iter().zip(&mean).zip(&self.b).map(|((x, m), b)| x - m - b).collect()
    }

    /// |w_j|² of the columns of W.
    fn squares(&self) -> Vec<f64> {
        (0..self.latent).map(|j| self.w.iter().skip(j).step_by(self.latent).map(|w| w * w).sum()).collect()
    }

    /// log N(x; b, W Wᵀ + sigma² I)
    fn log_p(&self, x: &[f64]) -> f64 {
        let input = self.b.len();
        let mut c = product(&self.w, &transposed(&self.w, self.latent), self.latent, input);
        (0..input).for_each(|i| c[i * input + i] += self.variance);
        Gaussian::new(self.b.clone(), &c).unwrap().log_density(x)
    }

    /// p(z|x) = N(M⁻¹ Wᵀ (x − b) / sigma², M⁻¹), M = I + Wᵀ W / sigma² (Bishop 2006, equation 2.116).
    fn posterior(&self, x: &[f64]) -> Gaussian {
        let n = self.latent;
        let mut m = product(&transposed(&self.w, n), &self.w, self.b.len(), n);
        m.iter_mut().for_each(|m| *m /= self.variance);
        (0..n).for_each(|i| m[i * n + i] += 1.0);
        let m = Cholesky::new(&m, n).unwrap();
        let scaled: Vec<f64> = self.residual(x, &vec![0.0; n]).iter().map(|r| r / self.variance).collect();
        let mut mean = product(&transposed(&self.w, n), &scaled, self.b.len(), 1);
        m.solve(&mut mean);
        let inverse = m.inverse_lower();
        Gaussian::new(mean, &product(&transposed(&inverse, n), &inverse, n, n)).unwrap()
    }

    /// E_q log p(x|z) for q = N(mu, exp(logvar)): −½ [D ln 2π sigma² + (|x − b − W mu|² + Σ_j v_j |w_j|²) / sigma²]
    fn expected_log_p(&self, x: &[f64], head: &[f64]) -> f64 {
        let (mu, logvar) = head.split_at(self.latent);
        let r = self.residual(x, mu);
        let around: f64 = self.squares().iter().zip(logvar).map(|(s, v)| s * v.exp()).sum();
        let constant = x.len() as f64 * (std::f64::consts::TAU * self.variance).ln();
        -0.5 * (constant + (dot(&r, &r) + around) / self.variance)
    }

    /// Its gradient, by mu and by logvar: Wᵀ (x − b − W mu) / sigma², −½ v_j |w_j|² / sigma².
    fn gradient(&self, x: &[f64], head: &[f64]) -> Vec<f64> {
        let (mu, logvar) = head.split_at(self.latent);
        let by_mu = product(&transposed(&self.w, self.latent), &self.residual(x, mu), x.len(), 1);
        let by_logvar = self.squares().into_iter().zip(logvar).map(|(s, v)| -0.5 * s * v.exp());
        by_mu.into_iter().chain(by_logvar).map(|g| g / self.variance).collect()
    }
}

/// Doersch 2016, equation 5; Kingma & Welling 2014, equation 1. All four terms in closed form.
#[test]
fn the_likelihood_less_the_divergence_from_the_posterior_is_the_elbo() {
    for variance in [Variance::Fixed, Variance::Scalar] {
        for (input, latent) in [(7, 3), (1, 1), (17, 9), (3, 5)] {
            let mut stage = Stage::<f64>::new(&model(input, latent, variance), 5, 5, 2);
            stage.loss();
            let linear = Linear::of(&stage.network, &mut stage.cpu);
            let (x, head) = (stage.read(stage.network.x), stage.read(stage.network.head));
            for (x, head) in x.chunks(input).zip(head.chunks(2 * latent)) {
                let (q, log_p) = (encoded(head), linear.log_p(x));
                let gap = kl(&q, &linear.posterior(x));
                let elbo = linear.expected_log_p(x, head) - kl(&q, &standard(latent));
                let what = format!("{input} from {latent}, {variance:?}");
                assert!(gap > 0.01, "{what}: the gap counts: {gap}");
                let error = (log_p - gap - elbo).abs();
                assert!(error < 1e-10 * (log_p.abs() + gap), "{what}: {log_p} − {gap}, elbo {elbo}"); // the contract's
            }
        }
    }
}

#[test]
fn the_evaluated_elbo_is_the_exact_one() {
    for variance in [Variance::Fixed, Variance::Scalar] {
        let (input, latent, rows, samples) = (7, 3, 5, 200);
        let evaluator = Evaluator::new(&model(input, latent, variance), samples, Binarize::None, rows);
        let network = evaluator.network();
        let mut cpu = Cpu::<f64>::new(network.layout(), network.tape.batch);
        let mut numbers = Numbers::new(3);
        numbers::write_parameters(network, &mut cpu, &mut numbers);
        let values: Vec<f32> = numbers.normals(rows * input).iter().map(|&x| x as f32).collect();
        let x: Vec<f64> = values.iter().map(|&x| x as f64).collect();
        let values = Values::Reals(values);
        let data = Arc::new(Dataset::new("normals", input, values));
        cpu.load(&data).unwrap();
        let mut evaluate = |seed| evaluator.run(&mut cpu, &data, seed, &mut |_| Ok(())).unwrap();
        let evaluations: Vec<_> = (0..100).map(&mut evaluate).collect();
        // The evaluation's own error is over examples; that of its draws shows between seeds.
        let (elbo, error) = mean_and_error(&evaluations.iter().map(|e| e.elbo.mean).collect::<Vec<_>>());
        let (iwae, _) = mean_and_error(&evaluations.iter().map(|e| e.iwae.bound.mean).collect::<Vec<_>>());

        let linear = Linear::of(network, &mut cpu);
        let head = cpu.read(network.head.slice(0..rows)).unwrap();
        let each = x.chunks(input).zip(head.chunks(2 * latent));
        let exact = each.map(|(x, head)| linear.expected_log_p(x, head) - kl(&encoded(head), &standard(latent)));
        let exact = exact.sum::<f64>() / rows as f64;
        let log_p = x.chunks(input).map(|x| linear.log_p(x)).sum::<f64>() / rows as f64;
        assert!((elbo - exact).abs() < SIGMAS * error, "{variance:?}: {elbo} ± {error}, want {exact}");
        assert!(error < 0.01 * (log_p - exact), "the draws tell the elbo from log p(x) = {log_p}: ± {error}");
        assert!(elbo < iwae && iwae < log_p, "{variance:?}: {elbo}, {iwae}, {log_p}");
    }
}

// ------------------------------------------------------------------------------------------------- two gradients

/// d/d(mu, logvar) of E_q log p(x|z), by draws: through z (Kingma & Welling 2014, section 2.4), as the tape has it, and
/// log p(x|z) ∇ log q(z|x) (the score function; their section 2.2), also less the mean of log p(x|z), its best known cure.
#[test]
fn both_gradients_are_right_and_the_reparameterised_one_varies_less() {
    let (input, latent, draws) = (17, 3, 20_001);
    let network = Network::case(&model(input, latent, Variance::Fixed), draws);
    let mut cpu = Cpu::<f64>::new(network.layout(), draws);
    let mut numbers = Numbers::new(6);
    numbers::write_parameters(&network, &mut cpu, &mut numbers);
    let x = numbers.normals(input);
    cpu.write(network.x, &x.repeat(draws)).unwrap(); // so that every row is a draw
    let eps = numbers.normals(draws * latent);
    cpu.write(network.eps, &eps).unwrap();
    cpu.set_step(&Step { beta: 0.0, ..Step::batch(0, draws) }).unwrap(); // the loss is the nll alone
    network.tape.forward(&mut cpu, 1..network.tape.ops.len()).unwrap();
    network.tape.backward(&mut cpu).unwrap();

    let head = cpu.read(network.head.slice(0..1)).unwrap();
    let log_p: Vec<f64> = cpu.read(network.nll).unwrap().iter().map(|nll| -nll).collect();
    let dhead = cpu.read(network.layout().d(network.head)).unwrap();
    let linear = Linear::of(&network, &mut cpu);
    let (exact, baseline) = (linear.gradient(&x, &head), linear.expected_log_p(&x, &head));
    // ∂ log q / ∂ mu = eps / exp(logvar / 2), ∂ log q / ∂ logvar = ½ (eps² − 1)
    let score = |draw: usize, i: usize| match i < latent {
        true => eps[draw * latent + i] * (-0.5 * head[latent + i]).exp(),
        false => 0.5 * (eps[draw * latent + i - latent].powi(2) - 1.0),
    };
    println!("                     exact   variance: reparameterised   score function   less its mean");
    for i in 0..2 * latent {
        let name = format!("d {}{}", if i < latent { "mu" } else { "logvar" }, i % latent);
        // The loss is the mean over the draws, of −log p.
        let path: Vec<f64> = (0..draws).map(|b| -(draws as f64) * dhead[b * 2 * latent + i]).collect();
        let reinforce: Vec<f64> = (0..draws).map(|b| log_p[b] * score(b, i)).collect();
        let centred: Vec<f64> = (0..draws).map(|b| (log_p[b] - baseline) * score(b, i)).collect();
        let variances = [&path, &reinforce, &centred].map(|gradient| {
            let (mean, error) = mean_and_error(gradient);
            assert!((mean - exact[i]).abs() < SIGMAS * error, "{name}: {mean} ± {error}, want {}", exact[i]);
            error * error * draws as f64
        });
        let [path, reinforce, centred] = variances;
        println!("{name:<12} {:>13.4} {path:>27.4} {reinforce:>16.4} {centred:>15.4}", exact[i]);
        // The one sees the slope of log p, the others its whole size: tens of nats, or their scatter. The factors are
        // some two thirds of the smallest that these draws give, and a variance of 20,001 draws is good to a few percent.
        assert!(reinforce > 10.0 * path && centred > 3.0 * path, "{name}: {variances:?}");
    }
}
