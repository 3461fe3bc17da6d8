//! What a training test varies, and what is compared.
use crate::emulator::{Emulator, Library};
use crate::models::as_the_likelihoods_have_them;
use std::collections::BTreeSet;
use std::sync::Arc;
use vae_gpu::arena::View;
use vae_gpu::config::{Binarize, Likelihood, Model, Optimizer, Rule};
use vae_gpu::data::{Dataset, Missing, Values};
use vae_gpu::device::driver::{Cluster, Precision, Stored};
use vae_gpu::device::{Backend, Cpu, Gpu, Shortcut};
use vae_gpu::model::{BEFORE, Network};
use vae_gpu::step::Step;

/// Numbers without a pattern, in [-1, 1): the same on every device.
pub fn numbers(n: usize, salt: usize) -> Vec<f64> {
    (0..n).map(|i| ((i * 7919 + salt * 104_729 + i * i * 31) % 2003) as f64 / 1001.5 - 1.0).collect()
}

pub fn dataset(rows: usize, cols: usize, stored: Stored) -> Arc<Dataset> {
    let unit = numbers(rows * cols, 99).into_iter().map(|x| (x + 1.0) / 2.0);
    // some of them where the threshold is
    let real = |(i, x): (usize, f64)| if i % 7 == 0 { 0.5 } else { x as f32 };
    Arc::new(match stored {
        Stored::Bytes => Dataset::new("made up", cols, Values::Bytes(unit.map(|x| (x * 256.0) as u8).collect())),
        Stored::Reals => Dataset::new("made up", cols, Values::Reals(unit.enumerate().map(real).collect())),
        // two of three are zero, and all of some rows
        Stored::Sparse => {
            let zero = |i: usize| i / cols % 5 == 3 || i * i % 11 > 3;
            sparse(
                cols,
                &unit.enumerate().map(real).enumerate().map(|(i, x)| if zero(i) { 0.0 } else { x }).collect::<Vec<_>>(),
            )
        }
    })
}

/// Rows by what of them is not zero, or is −0.
pub fn sparse(cols: usize, values: &[f32]) -> Dataset {
    Dataset::new("made up", cols, Values::Reals(values.to_vec())).sparse()
}

/// What a training test varies.
#[derive(Clone, Debug)]
pub struct Setting {
    pub model: Model,
    pub batch: usize,
    /// Of the last step.
    pub rows: usize,
    pub binarize: Binarize,
    pub stored: Stored,
    pub optimizer: Optimizer,
    pub library: Library,
    pub without: Option<Shortcut>,
    pub precision: Precision,
    /// Whole passes are one launch, in clusters of so many blocks; or, of 0, are not.
    pub cluster: u32,
}

impl Setting {
    pub fn new(model: Model) -> Setting {
        // large enough to make stale parameters visible, and for wide inputs small enough to converge
        let lr = (0.5 / model.input as f64).min(0.1);
        // the mean of a count is an exponential: large where the others are not
        let lr = if model.has_counts() { 0.05 * lr } else { lr };
        let optimizer = Optimizer { lr, ..Optimizer::new(Rule::Sgd) };
        let (binarize, library) = (Binarize::None, Library::Plain);
        Setting {
            model,
            batch: 5,
            rows: 3,
            binarize,
            stored: Stored::Bytes,
            optimizer,
            library,
            without: None,
            precision: Precision::Fp32,
            cluster: 0,
        }
    }
    pub fn network(&self) -> Network {
        self.model.check().unwrap();
        Network::training(&self.model, self.batch, self.binarize)
    }
    /// One of the first epoch, two of the next, the last of them partial. Nothing is 0 that could hide a mistake.
    pub fn steps(&self) -> Vec<Step> {
        let step = |index: u32, epoch, position, rows: usize| Step {
            seed: 0x1234_5678_9abc_def0,
            index,
            epoch,
            position,
            rows: rows as u32,
            first_row: 11,
            slot: index % 256,
            lr: self.optimizer.lr,
            // exact in f32; iwae must not heed it
            beta: 0.25 + 0.125 * (index % 4) as f64,
            corrections: (1.0 - 0.9f64.powi(index as i32 + 1), 1.0 - 0.999f64.powi(index as i32 + 1)),
        };
        let (b, rows) = (self.batch, self.rows);
        vec![step(7, 0, b as u32, b), step(8, 1, 0, b), step(9, 1, b as u32, rows)]
    }
    /// What the likelihoods take: of counts, whole numbers to 8. Of a model that allows it, a fifth of the values of x are missing, and all of one example.
    fn data(&self) -> Arc<Dataset> {
        let (rows, input, cols) = (3 * self.batch + 2, self.model.input, self.model.columns());
        let whole = dataset(rows, cols, self.stored);
        let of_its_own = self.model.has_counts() || self.model.has(Likelihood::Categorical);
        if self.model.missing == Missing::Refuse && !of_its_own {
            return whole;
        }
        let mut values = whole.to_rows();
        let gap = |i: usize| i % cols < input && ((i * 7 + i / cols).is_multiple_of(5) || i / cols == self.batch + 1);
        if self.model.missing == Missing::Allow {
            values.iter_mut().enumerate().filter(|(i, _)| gap(*i)).for_each(|(_, x)| *x = f32::NAN);
        }
        as_the_likelihoods_have_them(&self.model, &mut values);
        Arc::new(match self.stored {
            Stored::Sparse => sparse(cols, &values),
            _ => Dataset::from_rows_with_missing("made up", cols, values).unwrap(),
        })
    }
    pub fn fill(&self, network: &Network, b: &mut dyn Backend) {
        b.load(&self.data()).unwrap();
        for (salt, p) in network.parameters.iter().enumerate() {
            // of the size of a common initialisation
            let scale = if p.shape.len() == 2 { (3.0 / p.shape[1] as f64).sqrt() } else { 0.3 };
            let values: Vec<f64> = numbers(p.view.elements(), salt).iter().map(|x| x * scale).collect();
            b.write(p.view, &values).unwrap();
        }
    }
    pub fn gpu(&self, network: &Network, reverse: bool) -> Gpu<Emulator> {
        let mut emulator = Emulator::new(network.layout(), reverse);
        (emulator.library, emulator.precision) = (self.library, self.precision);
        emulator.clusters = vec![Cluster { blocks: self.cluster.max(1), at_once: 16 }];
        let mut gpu = Gpu::new(emulator, network.layout()).unwrap();
        if self.cluster > 0 {
            gpu.stack_passes();
        }
        self.without.into_iter().for_each(|shortcut| gpu.leave_out(shortcut));
        gpu
    }
    pub fn reference(&self, network: &Network) -> Cpu<f64> {
        Cpu::new(network.layout(), network.tape.batch)
    }

    /// Trains, and reads every number that a step leaves: parameters, their moments, everybody's gradients, the values of
    /// the examples that count, and the metrics.
    pub fn train(&self, network: &Network, b: &mut dyn Backend) -> Vec<(String, Vec<f64>)> {
        self.fill(network, b);
        let steps = self.steps();
        b.train(&network.tape, &self.optimizer, &steps).unwrap();
        let layout = network.layout();
        let mut all = vec![];
        for p in &network.parameters {
            all.push((p.name.clone(), b.read(p.view).unwrap()));
            all.push((format!("d {}", p.name), b.read(layout.d(p.view)).unwrap()));
            for which in 0..2 {
                all.push((format!("moment {which} of {}", p.name), b.read(layout.moment(p.view, which)).unwrap()));
            }
        }
        let used = |name: &str| {
            let seen = ["x", "[x | condition]", "log(1 + x)", "[log(1 + x) | condition]"];
            let alone = ["kl", "kl by dimension", "log q - log p", "nll", "bound", "sample weights"];
            !seen.contains(&name) && !alone.contains(&name)
        };
        for (name, v) in &network.activations {
            let live = match v.rows {
                1 if name == "kl by dimension" => *v,
                rows => v.slice(0..rows / self.batch * self.rows),
            };
            all.push((name.clone(), b.read(live).unwrap()));
            // the gradient before a nonlinearity is that after it, in place
            if used(name) && !name.ends_with(BEFORE) {
                all.push((format!("d {name}"), b.read(layout.d(live)).unwrap()));
            }
        }
        for step in &steps {
            let slot = layout.metrics().slice(step.slot as usize..step.slot as usize + 1);
            let values = b.read(slot).unwrap();
            for (name, value) in ["loss", "nll", "kl", "flag"].into_iter().zip(values) {
                all.push((format!("{name} of step {}", step.index), vec![value]));
            }
        }
        all
    }

    /// Examples that the last batch lacks have no weight, no bound, and no gradient.
    pub fn assert_zero_beyond_the_batch(&self, network: &Network, gpu: &mut Gpu<Emulator>) {
        let beyond = |v: View| v.slice(v.rows / self.batch * self.rows..v.rows);
        let layout = network.layout();
        let mut views = vec![network.x, network.bound, network.tape.weight];
        views.extend([network.head, network.z, network.decoded.out].map(|v| layout.d(v)));
        for v in views {
            let values = gpu.read(beyond(v)).unwrap();
            assert!(values.iter().all(|&x| x == 0.0), "{v:?} of {self:?}: {values:?}");
        }
    }

    /// On the emulated GPU, in both orders of threads, against the reference.
    pub fn check(&self) -> BTreeSet<&'static str> {
        self.check_within(2e-5) // three steps in f32: sums of up to a thousand terms, of which some cancel
    }

    pub fn check_within(&self, tolerance: f64) -> BTreeSet<&'static str> {
        let network = self.network();
        let want = self.train(&network, &mut self.reference(&network));
        let mut launched = BTreeSet::new();
        for reverse in [false, true] {
            let mut gpu = self.gpu(&network, reverse);
            let got = self.train(&network, &mut gpu);
            for ((name, got), (_, want)) in got.iter().zip(&want) {
                if !is_stored(name, &network, &gpu.driver.launched) {
                    continue;
                }
                compare(&format!("{name} of {self:?}"), got, want, tolerance);
            }
            assert_padding_is_zero(&network, &mut gpu);
            self.assert_zero_beyond_the_batch(&network, &mut gpu);
            launched.append(&mut gpu.driver.launched);
        }
        launched
    }
}

/// Whether a step with these launches stores what `Setting::train` calls so.
pub fn is_stored(name: &str, network: &Network, launched: &BTreeSet<&str>) -> bool {
    let parameter = name.strip_prefix("d ").is_some_and(|name| network.parameter(name).is_some());
    // Adam in their launch keeps the gradients of parameters to itself.
    let kept = !is_launched(launched, "product_tn_adam");
    // The sum over a row is nobody's but the bound's, where blocks leave their parts.
    let apart = is_launched(launched, "product_nt_bernoulli");
    // There, nobody asks how large the KL of a dimension is.
    let stacked = is_launched(launched, "stack_");
    let unknown = name == "nll" && apart || stacked && ["nll", "kl by dimension"].contains(&name);
    // Of thousands of rows in bf16, what relu's gradient is in f32 is what came in.
    let hidden = ["d encoder.", "d decoder."].iter().find_map(|of| name.strip_prefix(of)).map(str::parse::<usize>);
    let half = is_launched(launched, "relu_backward_tall") && matches!(hidden, Some(Ok(_)));
    !(parameter && !kept || unknown || half)
}

/// The kernel of that name, or of a way of multiplying and a width of tiles.
pub fn is_launched(launched: &BTreeSet<&str>, family: &str) -> bool {
    launched.iter().any(|kernel| kernel.starts_with(family))
}

/// Each number within `tolerance` of the tensor's largest.
#[track_caller]
pub fn compare(name: &str, got: &[f64], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{name}");
    let scale = want.iter().fold(1e-6, |a: f64, w| a.max(w.abs()));
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((g - w).abs() <= tolerance * scale, "{name}[{i}]: got {g}, want {w}");
    }
}

/// Which places of the arena some view or a constant holds; the others are padding.
pub fn used(network: &Network) -> Vec<bool> {
    let layout = network.layout();
    let mut views: Vec<View> = network.activations.iter().map(|(_, v)| *v).collect();
    views.extend(network.parameters.iter().map(|p| p.view));
    views.extend(views.clone().iter().map(|&v| layout.d(v)));
    views.extend(network.parameters.iter().flat_map(|p| [layout.moment(p.view, 0), layout.moment(p.view, 1)]));
    views.extend([layout.metrics(), layout.scratch()]);
    views.extend(layout.sums());
    views.extend(layout.constants().iter().map(|(v, _)| *v));
    let mut used = vec![false; layout.total()];
    for v in views {
        (0..v.rows).for_each(|row| used[v.at(row, 0)..v.at(row, v.cols)].fill(true));
    }
    used
}

/// It is zero, in the arena and in the one of bf16.
pub fn assert_padding_is_zero(network: &Network, gpu: &mut Gpu<Emulator>) {
    let (layout, used) = (network.layout(), used(network));
    let halves: Vec<bool> = gpu.driver.halves()[..layout.total()].iter().map(|&h| h == 0).collect();
    let floats = gpu.driver.floats();
    for i in 0..layout.total() {
        assert!(used[i] || (floats[i] == 0.0 && halves[i]), "padding at {i} holds {}", floats[i]);
    }
}

/// The rules, each with clipping and weight decay.
pub fn optimizers() -> Vec<Optimizer> {
    let mut all = vec![];
    for rule in [Rule::Sgd, Rule::Momentum, Rule::Adagrad, Rule::Adam, Rule::Adamw] {
        for (clip_norm, weight_decay) in [(0.0, 0.0), (0.5, 0.1), (1e6, 0.02)] {
            all.push(Optimizer { lr: 0.02, clip_norm, weight_decay, ..Optimizer::new(rule) });
        }
    }
    all
}

/// Adam and adamw, without the library whose products could hide a large number.
pub fn adam(model: Model, rule: Rule) -> Setting {
    // An eps that gradients of rounding errors do not outweigh.
    let optimizer = Optimizer { lr: 0.02, eps: 0.1, weight_decay: 0.1, ..Optimizer::new(rule) };
    Setting { optimizer, library: Library::Missing, ..Setting::new(model) }
}
