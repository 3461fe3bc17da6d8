//! Numbers to put in, whole steps to run, and comparisons that say where they fail. No test of its own; a test file
//! takes what it needs with `#[path]`.
#![allow(dead_code)] // each test file uses some of it
use vae_gpu::arena::{Layout, View};
use vae_gpu::config::{Likelihood, Model};
use vae_gpu::device::{Backend, Cpu, Real};
use vae_gpu::model::Network;
use vae_gpu::step::Step;

/// SplitMix64 (Steele et al. 2014): it shares nothing with the generator of the program.
pub struct Numbers(u64);

impl Numbers {
    pub fn new(seed: u64) -> Numbers {
        Numbers(seed.wrapping_mul(0x2545_F491_4F6C_DD1D))
    }
    fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    /// One of 0..n; 0 where there is none.
    pub fn below(&mut self, n: usize) -> usize {
        (self.word() % n.max(1) as u64) as usize
    }
    pub fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }
    /// In (0, 1).
    pub fn unit(&mut self) -> f64 {
        ((self.word() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }
    pub fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }
    pub fn units(&mut self, n: usize) -> Vec<f64> {
        (0..n).map(|_| self.unit()).collect()
    }
    /// Between −`scale` and `scale`.
    pub fn uniforms(&mut self, n: usize, scale: f64) -> Vec<f64> {
        (0..n).map(|_| scale * (2.0 * self.unit() - 1.0)).collect()
    }
    /// Whole, from 0 to 7, small ones more often.
    pub fn counts(&mut self, n: usize) -> Vec<f64> {
        (0..n).map(|_| (8.0 * self.unit().powi(2)).floor()).collect()
    }
    pub fn normals(&mut self, n: usize) -> Vec<f64> {
        (0..n).map(|_| self.normal()).collect()
    }
    /// What the likelihoods of a model take.
    pub fn example(&mut self, model: &Model) -> Vec<f64> {
        let of = |(likelihood, columns): (Likelihood, std::ops::Range<usize>)| match likelihood {
            Likelihood::Bernoulli => self.units(columns.len()),
            Likelihood::Gaussian => self.normals(columns.len()),
            Likelihood::Poisson | Likelihood::NegativeBinomial | Likelihood::Multinomial => self.counts(columns.len()),
            Likelihood::Categorical => {
                let word = self.below(columns.len());
                (0..columns.len()).map(|j| (j == word) as u8 as f64).collect()
            }
        };
        model.likelihoods().into_iter().flat_map(of).collect()
    }
}

/// Weights of a size that keeps every layer's output near one, biases of half a unit.
pub fn write_parameters(network: &Network, cpu: &mut dyn Backend, numbers: &mut Numbers) {
    for p in &network.parameters {
        let scale = if p.shape.len() == 2 { 1.5 / (p.shape[1] as f64).sqrt() } else { 0.5 };
        let values = numbers.uniforms(p.view.elements(), scale);
        cpu.write(p.view, &values).unwrap();
    }
}

/// A model with parameters, data and noise written: a whole step without a data set.
pub struct Stage<T: Real> {
    pub network: Network,
    pub cpu: Cpu<T>,
}

impl<T: Real> Stage<T>
where
    Cpu<T>: Backend,
{
    /// Room for `batch` examples, of which `rows` count; what lies in the others is noise that nothing may read.
    pub fn new(model: &Model, batch: usize, rows: usize, seed: u64) -> Stage<T> {
        let network = Network::case(model, batch);
        let mut cpu = Cpu::<T>::new(network.layout(), batch);
        let mut numbers = Numbers::new(seed);
        write_parameters(&network, &mut cpu, &mut numbers);
        // Example by example, so that the first ones do not depend on how many follow.
        for b in 0..batch {
            let x = numbers.example(model);
            cpu.write(network.x.slice(b..b + 1), &x).unwrap();
            let samples = b * model.samples..(b + 1) * model.samples;
            let condition = numbers.uniforms(model.condition, 1.0);
            cpu.write(network.conditions[0].slice(b..b + 1), &condition).unwrap();
            cpu.write(network.conditions[1].slice(samples.clone()), &condition.repeat(model.samples)).unwrap();
            cpu.write(network.eps.slice(samples), &numbers.normals(model.samples * model.latent)).unwrap();
        }
        cpu.set_step(&Step { beta: model.beta, ..Step::batch(0, rows) }).unwrap();
        Stage { network, cpu }
    }

    /// Runs the forward pass. x is written, so the tape begins at the encoder.
    pub fn loss(&mut self) -> f64 {
        let tape = &self.network.tape;
        tape.forward(&mut self.cpu, tape.encoder.start..tape.ops.len()).unwrap();
        metrics(tape.layout.metrics(), &mut self.cpu)[0]
    }

    /// Runs both passes.
    pub fn gradients(&mut self) -> Vec<(String, Vec<f64>)> {
        self.loss();
        self.network.tape.backward(&mut self.cpu).unwrap();
        let (network, cpu) = (&self.network, &mut self.cpu);
        network.parameters.iter().map(|p| (p.name.clone(), cpu.read(network.layout().d(p.view)).unwrap())).collect()
    }

    pub fn read(&mut self, v: View) -> Vec<f64> {
        self.cpu.read(v).unwrap()
    }

    pub fn write(&mut self, parameter: &str, values: &[f64]) {
        let view = self.network.parameter(parameter).unwrap_or_else(|| panic!("no parameter {parameter}")).view;
        self.cpu.write(view, values).unwrap();
    }
}

/// Loss, nll, kl and whether they were not finite, of the first slot.
pub fn metrics(ring: View, cpu: &mut dyn Backend) -> Vec<f64> {
    cpu.read(ring.slice(0..1)).unwrap()
}

/// The whole arena as one row.
pub fn everything(layout: &Layout) -> View {
    View { offset: 0, rows: 1, cols: layout.total(), stride: layout.total() }
}

/// Every |got − want| is at most `tolerance` (|got| + |want|), or at most `tolerance` · `floor`.
pub fn assert_close(what: &str, got: &[f64], want: &[f64], tolerance: f64, floor: f64) {
    assert_eq!(got.len(), want.len(), "{what}: how many numbers");
    let error = |i: usize| (got[i] - want[i]).abs() / (got[i].abs() + want[i].abs()).max(floor).max(f64::MIN_POSITIVE);
    // A NaN is the worst of all.
    let worst = (0..got.len()).max_by(|&i, &j| error(i).abs().total_cmp(&error(j).abs()));
    if let Some(i) = worst {
        let n = got.len();
        assert!(
            error(i) <= tolerance,
            "{what}: [{i}] of {n}: got {:e}, want {:e}, error {:.2e}",
            got[i],
            want[i],
            error(i)
        );
    }
}

/// The same bits.
pub fn assert_same(what: &str, got: &[f64], want: &[f64]) {
    assert_eq!(got.len(), want.len(), "{what}: how many numbers");
    if let Some(i) = (0..got.len()).find(|&i| got[i].to_bits() != want[i].to_bits()) {
        panic!("{what}: [{i}] of {}: got {:e}, want {:e}", got.len(), got[i], want[i]);
    }
}

/// ‖got − want‖ / ‖want‖ is at most `tolerance`.
pub fn assert_near(what: &str, got: &[f64], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{what}: how many numbers");
    let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>().sqrt();
    let error = norm(&mut got.iter().zip(want).map(|(g, w)| g - w)) / norm(&mut want.iter().copied()).max(1e-300);
    let worst = (0..got.len()).max_by(|&i, &j| (got[i] - want[i]).abs().total_cmp(&(got[j] - want[j]).abs()));
    let i = worst.unwrap_or(0);
    assert!(
        error <= tolerance,
        "{what}: relative error {error:.2e}; worst at [{i}] of {}: got {:e}, want {:e}",
        got.len(),
        got[i],
        want[i]
    );
}

/// The mean of some draws and its standard error.
pub fn mean_and_error(draws: &[f64]) -> (f64, f64) {
    let n = draws.len() as f64;
    let mean = draws.iter().sum::<f64>() / n;
    let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, (variance / n).sqrt())
}
