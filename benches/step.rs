//! One step of training on the CPU, in f32, and each of its operations: `cargo bench --bench step`. The data is resident
//! and random; what is timed is `Backend::train`, the call that a training makes, and what it calls in its turn.
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::sync::Arc;
use vae_gpu::config::{Activation, Binarize, Model, Objective, Optimizer, Rule};
use vae_gpu::data::{Dataset, Values};
use vae_gpu::device::{Backend, Cpu};
use vae_gpu::model::Network;
use vae_gpu::rng::{Stream, uniforms};
use vae_gpu::step::Step;
use vae_gpu::tape::Op;

const EXAMPLES: usize = 10_000;
/// Steps that one call runs, as a training does between two looks at its metrics.
const STEPS: usize = 16;

fn pixels(cols: usize) -> Arc<Dataset> {
    let mut draws = vec![0f32; EXAMPLES * cols];
    draws.chunks_mut(cols).enumerate().for_each(|(row, u)| uniforms(u, 1, Stream::Sample, 0, row as u32));
    let values = Values::Bytes(draws.iter().map(|u| (u * 256.0) as u8).collect());
    Arc::new(Dataset::new("random", cols, values))
}

/// The `STEPS` steps from `index` on, of epochs without their incomplete last batch.
fn steps(index: usize, batch: usize) -> [Step; STEPS] {
    std::array::from_fn(|i| {
        let (index, per_epoch) = (index + i, EXAMPLES / batch);
        let corrections = (1.0 - 0.9f64.powi(index as i32 + 1), 1.0 - 0.999f64.powi(index as i32 + 1));
        Step {
            index: index as u32,
            epoch: (index / per_epoch) as u32,
            position: (index % per_epoch * batch) as u32,
            slot: i as u32,
            lr: 1e-3,
            corrections,
            ..Step::batch(0, batch)
        }
    })
}

/// A model with random weights and data.
fn begun(model: &Model, batch: usize, binarize: Binarize) -> (Network, Cpu<f32>) {
    let network = Network::training(model, batch, binarize);
    let mut cpu = Cpu::<f32>::new(network.layout(), batch);
    for (i, p) in network.parameters.iter().filter(|p| p.shape.len() == 2).enumerate() {
        let mut draws = vec![0f32; p.view.elements()];
        uniforms(&mut draws, 0, Stream::Init, 0, i as u32);
        let bound = 1.0 / (p.view.cols as f64).sqrt();
        let weights: Vec<f64> = draws.iter().map(|&u| bound * (2.0 * u as f64 - 1.0)).collect();
        cpu.write(p.view, &weights).unwrap();
    }
    cpu.load(&pixels(model.input)).unwrap();
    (network, cpu)
}

fn bench(c: &mut Criterion, name: &str, model: &Model, batch: usize, binarize: Binarize) {
    let (network, mut cpu) = begun(model, batch, binarize);
    let optimizer = Optimizer::new(Rule::Adam);
    let mut index = 0;
    let mut group = c.benchmark_group("step");
    group.throughput(Throughput::Elements((batch * STEPS) as u64));
    group.bench_function(format!("{name} batch {batch}"), |b| {
        b.iter(|| {
            cpu.train(&network.tape, &optimizer, black_box(&steps(index, batch))).unwrap();
            index += STEPS;
        })
    });
    let loss = cpu.read(network.layout().metrics().slice(0..1)).unwrap()[0];
    assert!(loss.is_finite(), "{name}: loss {loss}: what was timed is no training");
}

fn training(c: &mut Criterion) {
    let aevb = Model::new(784, &[500], 20);
    for batch in [100, 1024] {
        bench(c, "aevb", &aevb, batch, Binarize::None);
    }
    for samples in [1, 5] {
        let tanh = Model { activation: Activation::Tanh, ..Model::new(784, &[200, 200], 50) };
        let iwae = Model { objective: Objective::Iwae, samples, ..tanh };
        bench(c, &format!("iwae k={samples}"), &iwae, 20, Binarize::Dynamic);
    }
}

/// Forward and backward of every operation of a step, on what the step before left.
fn operations(c: &mut Criterion) {
    for (batch, samples, objective) in [(100, 1, Objective::Elbo), (20, 5, Objective::Iwae)] {
        let model = Model { samples, objective, ..Model::new(784, &[500], 20) };
        let (network, mut cpu) = begun(&model, batch, Binarize::Dynamic);
        let (tape, optimizer) = (&network.tape, Optimizer::new(Rule::Adam));
        cpu.train(tape, &optimizer, &steps(0, batch)).unwrap();
        let mut group = c.benchmark_group(format!("operations batch {batch} k={samples}"));
        for (i, op) in tape.ops.iter().enumerate() {
            let what = match op {
                Op::Gather { x, .. } => format!("gather {}x{}", x.rows, x.cols),
                Op::Log1p { x, .. } => format!("log1p {}x{}", x.rows, x.cols),
                Op::LogSoftmax { y, .. } => format!("log softmax {}x{}", y.rows, y.cols),
                Op::LogMeans { y, .. } => format!("log means {}x{}", y.rows, y.cols),
                Op::Linear { x, y, .. } => format!("linear {}: {} to {}", x.rows, x.cols, y.cols),
                Op::Reparam { z, .. } => format!("reparam {}x{}", z.rows, z.cols),
                Op::Kl { head, .. } => format!("kl {}x{}", head.rows, head.cols),
                Op::Nll { decoded, .. } => format!("nll {}x{}", decoded.out.rows, decoded.out.cols),
                Op::Bound { weight, .. } => format!("bound {}", weight.rows),
            };
            group.bench_function(format!("{i} {what}, forward"), |b| {
                b.iter(|| tape.forward(&mut cpu, i..i + 1).unwrap())
            });
            if matches!(op, Op::Linear { .. } | Op::Reparam { .. } | Op::Nll { .. }) {
                group.bench_function(format!("{i} {what}, backward"), |b| {
                    b.iter(|| tape.backward_of(&mut cpu, i).unwrap())
                });
            }
        }
        group.bench_function(format!("adam {}", tape.layout.params().cols), |b| {
            b.iter(|| cpu.update(&tape.layout, &optimizer).unwrap())
        });
    }
}

criterion_group!(benches, training, operations);
criterion_main!(benches);
