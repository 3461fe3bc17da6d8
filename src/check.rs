//! Every operation on a device beside the reference in f64: each gets the reference's own inputs, so that an error is
//! its own and not what came before it.
use crate::arena::{Layout, View};
use crate::config::{
    Activation, Binarize, Dispersion, Gradient, Init, Likelihood, Mean, Model, Numbers, Objective, Optimizer, Rule,
    SizeFactor, Variance, name_of,
};
use crate::data::{Dataset, Missing, Values};
use crate::device::{Backend, Cpu, Device, Work};
use crate::model::Network;
use crate::step::Step;
use crate::tape::{Op, Tape};
use crate::{Result, init};
use std::sync::Arc;
use std::time::Instant;

/// One operation, compared.
#[derive(Clone, Debug)]
pub struct Line {
    pub model: String,
    pub op: String,
    /// The worst of its outputs: ‖got − want‖ / ‖want‖.
    pub error: f64,
    pub tolerance: f64,
    pub microseconds: f64,
    /// What it reads and writes, once each, in that time.
    pub gb_per_s: f64,
}

impl Line {
    /// A NaN does not pass.
    pub fn passes(&self) -> bool {
        self.error <= self.tolerance
    }
}

/// What an operation runs, what it reads and what it writes.
pub(crate) struct Item<'a> {
    pub name: String,
    pub inputs: Vec<View>,
    pub outputs: Vec<View>,
    /// Whether it holds matrix products, which round their operands in tf32 and bf16.
    products: bool,
    pub run: Box<Work<'a>>,
}

/// What is checked: a model, its batch, how it is updated and fed.
pub struct Subject {
    pub model: Model,
    pub batch: usize,
    pub optimizer: Optimizer,
    pub binarize: Binarize,
}

/// The models that hold every operation at several shapes: those of the papers, and odd ones.
pub fn subjects() -> Vec<Subject> {
    let adam = Optimizer::new(Rule::Adam);
    let plain = |input, hidden: &[usize], latent| Model::new(input, hidden, latent);
    let gaussian = |variance, mean, activation| Model {
        likelihood: Likelihood::Gaussian,
        variance,
        mean,
        activation,
        sigma: 0.7,
        ..plain(33, &[17], 5)
    };
    let counts = |likelihood, dispersion| Model { likelihood, dispersion, ..plain(33, &[17], 5) };
    let negative_binomial = |dispersion| counts(Likelihood::NegativeBinomial, dispersion);
    let of_shares = |model| Model { size_factor: SizeFactor::Total, ..model };
    let missing = |model: Model| Model { missing: Missing::Allow, ..model };
    let iwae =
        Model { activation: Activation::Tanh, objective: Objective::Iwae, samples: 5, ..plain(784, &[200, 200], 50) };
    let path = |model: Model| Model { gradient: Gradient::Path, ..model };
    let clipped = Optimizer { clip_norm: 0.1, weight_decay: 0.01, ..Optimizer::new(Rule::Adamw) };
    // Runs of one column and of several, the first and the last of each kind; of words 2 to 40.
    let mixed = |variance, dispersion| Model {
        likelihood: Likelihood::Gaussian,
        others: vec![
            (Likelihood::Bernoulli, 0, 3),
            (Likelihood::NegativeBinomial, 4, 5),
            (Likelihood::Bernoulli, 9, 10),
            (Likelihood::Poisson, 10, 21),
            (Likelihood::Categorical, 22, 24),
            (Likelihood::Categorical, 24, 27),
            (Likelihood::NegativeBinomial, 28, 33),
            (Likelihood::Categorical, 33, 73),
        ],
        variance,
        dispersion,
        sigma: 0.7,
        ..plain(73, &[17], 5)
    };
    let subjects = vec![
        (plain(784, &[500], 20), 100, adam, Binarize::None),
        (plain(784, &[500], 20), 1024, adam, Binarize::Dynamic),
        (iwae.clone(), 20, adam, Binarize::Dynamic),
        (path(iwae), 20, adam, Binarize::Dynamic),
        (plain(1, &[1], 1), 1, Optimizer::new(Rule::Sgd), Binarize::Threshold),
        (Model { objective: Objective::ElboMc, samples: 3, ..plain(300, &[], 33) }, 17, clipped, Binarize::None),
        (path(Model { objective: Objective::ElboMc, samples: 40, ..plain(33, &[17], 5) }), 7, adam, Binarize::None),
        (Model { free_bits: 0.05, ..plain(65, &[33, 9], 6) }, 7, Optimizer::new(Rule::Momentum), Binarize::None),
        (
            gaussian(Variance::Fixed, Mean::Identity, Activation::Gelu),
            19,
            Optimizer::new(Rule::Adagrad),
            Binarize::None,
        ),
        (gaussian(Variance::Scalar, Mean::Sigmoid, Activation::Softplus), 19, adam, Binarize::None),
        (gaussian(Variance::Shared, Mean::Identity, Activation::Sigmoid), 300, adam, Binarize::None),
        (gaussian(Variance::Network, Mean::Sigmoid, Activation::Tanh), 33, adam, Binarize::None),
        (missing(gaussian(Variance::Network, Mean::Identity, Activation::Relu)), 19, adam, Binarize::None),
        (missing(gaussian(Variance::Shared, Mean::Identity, Activation::Relu)), 19, adam, Binarize::None),
        (missing(plain(65, &[33], 6)), 19, adam, Binarize::Dynamic),
        (missing(counts(Likelihood::Poisson, Dispersion::Shared)), 33, adam, Binarize::None),
        (counts(Likelihood::Multinomial, Dispersion::Shared), 33, adam, Binarize::None),
        (missing(counts(Likelihood::Multinomial, Dispersion::Shared)), 300, adam, Binarize::None),
        (negative_binomial(Dispersion::Scalar), 19, adam, Binarize::None),
        (of_shares(negative_binomial(Dispersion::Network)), 33, adam, Binarize::None),
        (missing(of_shares(negative_binomial(Dispersion::Shared))), 300, adam, Binarize::None),
        (negative_binomial(Dispersion::Network), 19, adam, Binarize::None),
        (missing(negative_binomial(Dispersion::Shared)), 300, adam, Binarize::None),
        (mixed(Variance::Shared, Dispersion::Shared), 19, adam, Binarize::None),
        (mixed(Variance::Network, Dispersion::Shared), 33, adam, Binarize::None),
        (missing(mixed(Variance::Fixed, Dispersion::Network)), 300, adam, Binarize::None),
    ];
    let subject = |(model, batch, optimizer, binarize)| Subject { model, batch, optimizer, binarize };
    subjects.into_iter().map(subject).collect()
}

/// Compares all operations of one model.
///
/// # Errors
/// Those of the device. An operation out of tolerance is a line, not an error.
pub fn run(device: &Device, subject: &Subject) -> Result<Vec<Line>> {
    let Subject { model, batch, optimizer, binarize } = subject;
    let (batch, binarize) = (*batch, *binarize);
    let network = Network::training(model, batch, binarize);
    let layout = network.layout();
    let mut reference = Cpu::<f64>::new(layout, batch);
    let mut backend = device.open(layout, batch)?;
    let whole = data_for(model, 2 * batch + 3);
    let data = if model.missing == Missing::Allow { with_gaps(whole, model) } else { whole };
    // What counts shares of a total is nearly empty, and then kept so.
    let data = Arc::new(if model.is_of_shares() { data.sparse() } else { data });
    init::parameters(&network, Init::Torch, 7, &mut reference)?;
    // One example fewer than fits, where there are several: the padding of a last batch is checked too.
    let rows = (batch - batch.min(2) / 2) as u32;
    let corrections = (1.0 - optimizer.betas.0.powi(3), 1.0 - optimizer.betas.1.powi(3));
    let beta = if model.objective == Objective::Iwae { 1.0 } else { 0.75 };
    let step = Step { seed: 5, index: 2, position: 1, rows, lr: 1e-3, beta, corrections, ..Step::batch(5, batch) };
    for b in [&mut reference as &mut dyn Backend, &mut *backend] {
        b.load(&data)?;
        b.set_step(&step)?;
    }
    // Moments as after some steps: small, and the second not negative.
    for which in 0..2 {
        let view = layout.moment(layout.params(), which);
        let moment =
            |i: usize| 1e-3 * (((i * 7919 + which) % 1000) as f64 / 500.0 - if which == 0 { 1.0 } else { 0.0 });
        for p in &network.parameters {
            let view = layout.moment(p.view, which);
            reference.write(view, &(0..view.elements()).map(moment).collect::<Vec<_>>())?;
        }
        backend.write(view, &reference.read(view)?)?;
    }

    let live = |v: View| live(v, layout, batch, rows as usize);
    let mut lines = vec![];
    for item in items(&network, optimizer) {
        for &view in &item.inputs {
            // What the device can hold.
            let rounded: Vec<f64> = reference.read(live(view))?.iter().map(|&x| x as f32 as f64).collect();
            reference.write(live(view), &rounded)?;
            backend.write(live(view), &rounded)?;
        }
        (item.run)(&mut reference)?;
        (item.run)(&mut *backend)?;
        let mut error = 0f64;
        for &view in &item.outputs {
            let (got, want) = (backend.read(live(view))?, reference.read(live(view))?);
            let e = relative(&got, &want);
            error = if e.is_nan() { f64::INFINITY } else { error.max(e) };
        }
        let microseconds = time(&item, &mut *backend)?;
        let bytes: usize = item.inputs.iter().chain(&item.outputs).map(|v| 4 * v.elements()).sum();
        let tolerance = match (device.numbers, item.products) {
            (Numbers::Tf32, true) => 2e-3, // operands of 10 bits, relative Frobenius
            (Numbers::Bf16, true) => 2e-2, // operands of 8 bits
            _ => 2e-6,                     // a few roundings of f32
        };
        let hidden: String = model.hidden.iter().map(|h| format!("-{h}")).collect();
        lines.push(Line {
            model: format!("{}{hidden}-{} × {batch}", model.input, model.latent),
            op: item.name,
            error,
            tolerance,
            microseconds,
            gb_per_s: bytes as f64 / microseconds / 1e3,
        });
    }
    Ok(lines)
}

/// What of a view counts: of activations and their gradients the examples that are there, the first `rows` of each batch; of
/// parameters, and what is of their size, everything.
fn live(v: View, layout: &Layout, batch: usize, rows: usize) -> View {
    match v.rows % batch {
        0 if v.offset >= layout.activations_start() && v.rows > 0 => View { rows: v.rows / batch * rows, ..v },
        _ => v,
    }
}

/// ‖got − want‖ / ‖want‖; of two zeros, 0.
fn relative(got: &[f64], want: &[f64]) -> f64 {
    let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>().sqrt();
    let (error, size) = (norm(&mut got.iter().zip(want).map(|(g, w)| g - w)), norm(&mut want.iter().copied()));
    if error == 0.0 { 0.0 } else { error / size.max(1e-30) }
}

/// The mean of some repetitions, launches included: the best of three.
fn time(item: &Item, b: &mut dyn Backend) -> Result<f64> {
    let probe = View { rows: 1, cols: 1, ..item.outputs[0] };
    let mut best = f64::INFINITY;
    for _ in 0..3 {
        b.read(probe)?; // waits for what went before
        let repetitions = 10;
        let clock = Instant::now();
        for _ in 0..repetitions {
            (item.run)(b)?;
        }
        b.read(probe)?;
        best = best.min(clock.elapsed().as_secs_f64() * 1e6 / repetitions as f64);
    }
    Ok(best)
}

/// The operations of a step, one by one.
pub(crate) fn items<'a>(network: &'a Network, optimizer: &'a Optimizer) -> Vec<Item<'a>> {
    let tape: &Tape = &network.tape;
    let layout = &tape.layout;
    let d = |v| layout.d(v);
    let mut items: Vec<Item> = vec![];
    let mut add = |name: String, products, inputs, outputs, run| {
        items.push(Item { name, inputs, outputs, products, run });
    };
    let size = |v: View| format!("{}×{}", v.rows, v.cols);
    for (i, &op) in tape.ops.iter().enumerate() {
        let forward = Box::new(move |b: &mut dyn Backend| tape.forward(b, i..i + 1));
        match op {
            Op::Gather { x, fetch } => {
                let how = if fetch.binarize == Binarize::None {
                    String::new()
                } else {
                    format!(" {}", name_of(fetch.binarize))
                };
                let gaps = if fetch.missing { " with gaps" } else { "" };
                add(format!("gather {}{how}{gaps}", size(x)), false, vec![], vec![x], forward)
            }
            Op::Log1p { y, x, .. } => add(format!("log1p {}", size(x)), false, vec![x], vec![y], forward),
            Op::LogSoftmax { y, .. } => add(format!("log_softmax {}", size(y)), false, vec![y], vec![y], forward),
            Op::LogMeans { y, x, .. } => add(format!("log_means {}", size(y)), false, vec![y, x], vec![y], forward),
            Op::Linear { y, a, x, weight, bias, activation } => {
                let f = activation.map_or("identity".into(), name_of);
                let name = format!("linear_forward {}→{} {f}", size(x), y.cols);
                add(name, true, vec![x, weight, bias], vec![y, a], forward)
            }
            Op::Reparam { z, ratio, head, .. } => {
                add(format!("reparam_forward {}", size(z)), false, vec![head], vec![z, ratio], forward)
            }
            Op::Kl { kl, kl_dim, head } => {
                add(format!("kl_forward {}", size(head)), false, vec![head], vec![kl, kl_dim], forward)
            }
            Op::Nll { nll, decoded, x } => {
                let name = format!("nll_forward {} {}", size(decoded.out), decoded.family.name());
                let inputs = [decoded.out, x].into_iter().chain(decoded.learned).collect();
                add(name, false, inputs, vec![nll], forward)
            }
            Op::Bound { bound, weight, nll, kl, kl_dim, ratio, objective } => {
                let metrics = layout.metrics().slice(0..1);
                let name = format!("bound {} {}", size(weight), name_of(objective.objective));
                add(name, false, vec![nll, kl, kl_dim, ratio], vec![bound, weight, metrics], forward)
            }
        }
    }
    for &op in tape.ops.iter().rev() {
        match op {
            Op::Nll { decoded, x, .. } => {
                let inputs = [decoded.out, x, tape.weight].into_iter().chain(decoded.learned).collect();
                let (out, gradient) = (d(decoded.out), decoded.learned.map(d));
                let name = format!("nll_backward {} {}", size(decoded.out), decoded.family.name());
                let run = move |b: &mut dyn Backend| b.nll_backward(out, gradient, decoded, x, tape.weight);
                add(name, false, inputs, [out].into_iter().chain(gradient).collect(), Box::new(run))
            }
            Op::Linear { y, a, x, weight, bias, activation } => {
                let dx = (x != tape.x).then(|| d(x));
                let outputs = [vec![d(weight), d(bias)], dx.into_iter().collect()].concat();
                let name = format!("linear_backward {}←{}", size(x), y.cols);
                let (dw, dbias, dy) = (d(weight), d(bias), d(y));
                let run = move |b: &mut dyn Backend| {
                    b.linear_backward(dx, Some((dw, dbias)), dy, y, a, x, weight, activation)
                };
                add(name, true, vec![dy, y, a, x, weight], outputs, Box::new(run))
            }
            Op::Reparam { z, head, eps, .. } => {
                let (dhead, dz, goal) = (d(head), d(z), tape.objective);
                let run = move |b: &mut dyn Backend| b.reparam_backward(dhead, dz, z, head, eps, tape.weight, goal);
                let name = format!("reparam_backward {}", size(z));
                add(name, false, vec![dz, z, head, tape.weight], vec![dhead], Box::new(run));
                if goal.objective == Objective::Elbo {
                    let run = move |b: &mut dyn Backend| b.kl_backward(dhead, head, tape.kl_dim, goal);
                    let name = format!("kl_backward {}", size(head));
                    add(name, false, vec![dhead, head, tape.kl_dim], vec![dhead], Box::new(run));
                }
            }
            Op::LogMeans { y, x, pulls: true } => {
                let (name, dy) = (format!("log_means_backward {}", size(y)), d(y));
                let run = move |b: &mut dyn Backend| b.log_means_backward(dy, y, x);
                add(name, false, vec![dy, y, x], vec![dy], Box::new(run))
            }
            Op::Gather { .. } | Op::Log1p { .. } | Op::LogSoftmax { .. } | Op::LogMeans { .. } => {}
            Op::Bound { .. } | Op::Kl { .. } => {}
        }
    }
    let all = layout.params();
    let (w, g) = (all, d(all));
    let moments = vec![layout.moment(all, 0), layout.moment(all, 1)];
    let inputs = [vec![w, g], moments.clone()].concat();
    let name = format!("update {} {}", all.cols, name_of(optimizer.rule));
    let run = Box::new(move |b: &mut dyn Backend| b.update(layout, optimizer));
    add(name, false, inputs, [vec![w], moments].concat(), run);
    items
}

/// Every fifth value is missing, and a variable of words as a whole.
fn with_gaps(data: Dataset, model: &Model) -> Dataset {
    let mut values = data.to_rows();
    values.iter_mut().skip(2).step_by(5).for_each(|x| *x = f32::NAN);
    each_variable(&mut values, model, |row, words| {
        words.fill(if row % 5 == 2 { f32::NAN } else { 0.0 });
        words[row % words.len()] += 1.0;
    });
    Dataset::new(data.name, data.cols, Values::Reals(values))
}

/// Calls `f` with the number of each row, and with the words of each variable there.
fn each_variable(rows: &mut [f32], model: &Model, mut f: impl FnMut(usize, &mut [f32])) {
    for columns in model.categoricals() {
        rows.chunks_mut(model.columns()).enumerate().for_each(|(i, row)| f(i, &mut row[columns.clone()]));
    }
}

/// What the model can learn from: bytes, in columns of counts those up to 1000, of which half are below 20, and words.
pub(crate) fn data_for(model: &Model, rows: usize) -> Dataset {
    let bytes = data(rows, model.columns());
    if !model.has_counts() && !model.is_mixed() && !model.has(Likelihood::Categorical) {
        return bytes;
    }
    let count = |u: f32| if u < 0.5 { (40.0 * u).floor() } else { (1000.0 * (2.0 * u - 1.0).powi(4)).floor() };
    let mut values = bytes.to_rows();
    let counts = model.likelihoods().into_iter().filter(|(likelihood, _)| likelihood.is_of_counts());
    for columns in counts.map(|(_, columns)| columns) {
        let rows = values.chunks_mut(bytes.cols);
        rows.for_each(|row| row[columns.clone()].iter_mut().for_each(|x| *x = count(*x)));
    }
    each_variable(&mut values, model, |_, words| {
        let word = (words[0] * (words.len() - 1) as f32).round() as usize;
        words.fill(0.0);
        words[word] = 1.0;
    });
    Dataset::new("counts", bytes.cols, Values::Reals(values))
}

/// Bytes without a pattern.
pub(crate) fn data(rows: usize, cols: usize) -> Dataset {
    let byte = |i: usize| ((i as u32).wrapping_mul(2654435761) >> 24) as u8;
    let values = Values::Bytes((0..rows * cols).map(byte).collect());
    Dataset::new("bytes", cols, values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_rows_of_a_weight_and_of_its_gradient_are_compared() {
        // As many units as two batches have examples.
        let network = Network::training(&Model::new(5, &[6], 2), 3, Binarize::None);
        let layout = network.layout();
        let weight = network.parameter("encoder.0.weight").unwrap().view;
        let rows = |v| live(v, layout, 3, 2).rows;
        assert_eq!((weight.rows, rows(weight), rows(layout.d(weight)), rows(layout.moment(weight, 1))), (6, 6, 6, 6));
        let x = network.tape.x;
        assert_eq!((x.rows, rows(x)), (3, 2), "the last example of the batch is padding");
    }
}
