//! Variational autoencoders, fast on an NVIDIA GPU and right everywhere.
//!
//! To fit a model and use it, begin with [`Vae`]. The program `vae-gpu` is a thin skin over this library: see [`cli`] for
//! the commands, and the README for what they print. Likelihood-like numbers are nats per example throughout; matrices are
//! row-major, examples are rows, weights have PyTorch's `nn.Linear` layout.
//!
//! # The tour
//!
//! A step of training is data. Read in this order:
//!
//! 1. [`config`]: what a user chooses. [`schedule`]: every [`step::Step`] of a training, a pure function of its index.
//! 2. [`arena`]: the state of a training is one allocation, everything else a [`arena::View`] of it.
//! 3. [`tape`]: the fused operations of a step, forward and backward. [`model`] turns a configuration into a layout
//!    and a tape, and is the only file that knows what an encoder is.
//! 4. [`device`]: `Backend` is the contract of the operations. [`device::Cpu`] states what each means (f64: the
//!    reference; f32: the fallback), one file a group of operations, its formula above it. On a GPU the same tape is a
//!    captured graph of launches.
//! 5. [`rng`]: randomness as a function of (seed, step, index). Nothing holds the state of a generator.
//! 6. [`trainer`], [`evaluate`], [`ais`], [`infer`], [`impute`]: what is done with all that; [`estimate`] adds up
//!    log-likelihoods. [`latents`]: where in latent space to look. [`decoding`]: p(x|z) column by column, on the host.
//!    [`ranking`]: how high a model ranks what was held out, and what it ranks first. [`checkpoint`], [`metrics`],
//!    [`plot`], [`report`]: what it leaves behind. [`data`]: what it is fed. [`sweep`]: several runs, side by side, and one
//!    table of them.
//! 7. [`check`]: whether a device is right. [`mod@bench`]: how fast it is, and how near to what it could be.
//! 8. [`mixture`]: the shallow latent variable model, fitted by expectation maximisation. [`gaussian`]: what is exact
//!    of Gaussians with a full covariance, the divergence of any two among it. Both apart from the devices, in f64.
//!
//! # What holds
//!
//! Each sentence is a test, in `tests/mathematics/invariants.rs` or where it says.
//!
//! - Dependencies point down: `main → cli → sweep, report, vae, ranking → trainer, evaluate, ais, infer, impute →
//!   checkpoint → model → tape, device → arena → config → data`. No module above `device` knows whether a GPU exists.
//! - Only `device/cuda` steps outside what rustc checks. Only `cli` prints. Only `files`, `tensors`, `data`,
//!   `checkpoint`, `metrics`, `host`, `device/cuda` and `cli` open files.
//! - The tape never allocates while it runs.
//! - The library gives the bytes that the program gives, prints nothing, and returns its errors
//!   (`tests/commands/library.rs`).
//! - A column of classes gives the model that a file of labels gives, and later files are read by its name
//!   (`tests/commands/classes.rs`).
//! - Every file from outside is refused or read right, in memory of a small multiple of its bytes (`tests/fuzz.rs`).
//! - The padding of every view is zero and stays zero (`tests/mathematics/operations.rs`).
//! - Every estimate of log p(x) agrees with the truth where that is known (`tests/mathematics/estimators.rs`); a linear
//!   model reaches the optimum of probabilistic PCA (`tests/mathematics/principal_components.rs`); what is imputed has the
//!   exact conditional distribution (`tests/mathematics/imputation.rs`).
//! - The same seed gives the same bytes, with any number of threads, cut and resumed anywhere
//!   (`tests/commands/training.rs`), killed at any moment (`tests/safety/killed.rs`), asked to end by any signal
//!   (`tests/safety/signals.rs`), on a disk that fails at any call (`tests/safety/disk.rs`).
//! - A run of a sweep, side by side with others, has the bytes of the run that `train` makes of its options
//!   (`tests/commands/sweep.rs`, `tests/standin/shipped.rs`).
//! - A file of tensors is what was written, to the bit, or is refused (`tests/safety/damage.rs`); a data file is read right
//!   or refused, in memory that its size bounds (`tests/data`, `tests/safety/outside.rs`, `tests/fuzz.rs`).
//! - What is missing is in no likelihood and no gradient, and what is learned of the rest is as likely as the truth
//!   (`tests/mathematics/missing.rs`, `tests/mathematics/estimators.rs`).
//! - Probabilities of counts have the digits of fifty-digit arithmetic (`counts`), and what is learned of counts is as
//!   likely as what they were drawn from (`tests/mathematics/counts.rs`).
//! - Of a table whose columns have different likelihoods log p is the sum of theirs, and what is learned as likely as what it was
//!   drawn from (`tests/mathematics/mixed.rs`).
//! - Words are a column each, however they were given, and come back as words (`tests/commands/words.rs`); what is learned of
//!   them is as likely as what they were drawn from, and what is filled in as probable as it should be
//!   (`tests/mathematics/words.rs`).
//! - A step whose loss or gradient is not finite is found, named and not applied (`tests/safety/not_finite.rs`,
//!   `tests/kernels`).
//! - Memory does not grow with the steps, no data file is held twice, and where there is too little that is a sentence
//!   (`tests/safety/memory.rs`, `tests/standin/memory.rs`). What is refused is in `tests/requests/refused.txt`.
//! - Bytes stand for the same numbers in every file of a model (`tests/commands/bytes.rs`).
//! - A model takes the same columns of every file, by their names where there are some (`tests/commands/columns.rs`); one
//!   of scaled columns is, to the bit, that of columns scaled by hand, and what it gives is in the units of the file
//!   (`tests/commands/scale.rs`).
//! - What the page of a run predicts are the quantiles that `forecast` writes, and how often the truth lies between them is counted
//!   anew from those (`tests/commands/predictions.rs`).
//! - Gradients agree with finite differences, and with an independent implementation (`tests/mathematics/gradients.rs`,
//!   `tests/mathematics/golden.rs`), also those of models drawn at random, which train to the reference's numbers on every
//!   device (`tests/kernels`).
//! - Every kernel passes its tests twice: as the host's compiler has it, and as the PTX that nvcc makes of it, where the
//!   build fetches nvcc (`tests/kernels/compiled.rs`). Nobody touches memory before the launch ahead of it is over.
//! - While one thread captures a step, no other does what waits for the whole GPU (`tests/standin/driver.rs`).
//! - A GPU or a driver for which the build has no code trains to the same bytes (`tests/standin/drivers.rs`).
//! - log p(x) − KL(q(z|x) ‖ p(z|x)) is the elbo, to rounding, of a linear model, where each of them is known; and the
//!   gradient through the reparameterised z is unbiased as the score function's is, and varies far less
//!   (`tests/mathematics/identities.rs`).
//! - Expectation maximisation without a floor never lowers the likelihood, and agrees with an independent implementation
//!   (`tests/mathematics/mixture.rs`).
//!
//! # Where the code left its plan
//!
//! - The runs of a sweep are threads of one process, not processes: on a GPU those would take turns, where the streams of
//!   one process overlap; and the data are read once.
//! - Checksums stand inside the JSON of the metadata key `config` ([`checkpoint`]): the file format's library writes
//!   several keys in no fixed order, and the same run shall give the same bytes.
//! - Who writes a gradient says whether it is finite, in passing: a product on the CPU in its registers, a kernel by a flag
//!   in the plan. To read the gradient again was 7 % of a step at batch 100 on one core, and would be a launch on a GPU.
//!   Where Adam steps in the launch that makes the gradients, those who write their factors have said whether one is large
//!   enough for a gradient that is not finite: only then gradients are stored, and Adam waits until all have been seen.
//! - A GPU's tensor cores multiply f32 as sums of two numbers in tf32, three products for one: what is lost is as small as
//!   what f32 rounds, and a small product takes no longer than its bytes. The plan had the cores for f32.
//! - In bf16, whoever writes what a product will read leaves the copy in bf16 too, an update that of the parameters: a
//!   captured step makes none (`tests/kernels`), and our own products read half of the bytes.
//! - The gradients that cuBLAS makes of the weights, of more than 256 examples, and of the biases beside them are a branch
//!   of the captured graph: nothing waits for them before the update, and one of 500 × 784 is 28 tiles of 128 × 128, where
//!   an H200 has 132 processors.
//! - A small batch's whole pass can be one launch of clusters (`kernels/stack.cu`): nearer to the plan's resident kernel than
//!   to its graph of fused ones, but weights and their moments stay in memory, and Adam goes along with the gradients in a
//!   launch of the whole GPU. No GPU has run it yet, so only `bench --stacked` does.
//! - Large batches are not cut into sub-batches that stay in L2. An H200 moves 4.0 TB/s from and to its memory and 8.9 from
//!   L2 (`benches/RESULTS.md`), so of the 411 µs of a step of 8192 examples the cache could save 25, at 183 MB a step; each
//!   of three passes more would be some twenty launches of 0.7 µs, over tiles for half of its processors.
//! - The build makes no fatbin: code of each architecture, and beside it the PTX that it was assembled from, which says
//!   that it is of CUDA 12.0. Drivers of CUDA 12 know neither the code nor the PTX of CUDA 13; that PTX they compile, as
//!   those of CUDA 13 do for GPUs after Hopper.
//! - An encoder of counts sees log(1 + x), by an operation of its own behind the gather: x itself is what the likelihood is
//!   of. The plan had no counts.
//! - Columns may have likelihoods of their own. They stay in the order of the file, so that tensors and tables read as it does;
//!   which column is what is a row of numbers in the arena, that nothing writes after it was opened. The CPU goes by runs of
//!   columns, each with the code of its likelihood; a kernel by columns, for a table has few.
//! - A column of words becomes a column for each word when a file is read, so that nothing below `data` knows of words. Log p of
//!   them is made in place of the decoder's output, by an operation that has no backward: with it −log p is a sum over columns,
//!   −x log p, as every other, and its slope softmax − x in what the layer put out needs no column but its own.
//! - Rows of which most numbers are zero are kept by the others, on the host and on the device, and become whole in the gather of a
//!   batch: nothing behind it knows of them, and a model is the same to the byte. Columns of many words are kept so too.
//! - On the CPU the product of a factor that is mostly zeros, as digits, counts and words are, goes along lists of what is not
//!   (`device/cpu/sparse.rs`): the same terms in the same order, so the same bits. A GPU multiplies whole blocks, and does not.
//! - Of a multinomial, the likelihood needs the total of a row in every column. An operation that sees x makes the logarithms of
//!   shares those of means that add up as x does; from there all is a Poisson's, column by column, but for a number a row. A negative
//!   binomial of size factors goes the same way, and back through that operation: its slopes do not add up to 0 as a Poisson's do.
//!   A Poisson has no size factor: given the total it is the multinomial, but for a constant of the data.
//! - log p under size factors is scVI's: the product of the columns' probabilities, given the total. It is no distribution over the
//!   counts of that total, and the dispersion of a column that is most of the total is found too small.
//! - A variance that is learned begins with that of the data, not with 1, from where an optimiser takes thousands of steps to a
//!   small one; latents die on the way. 3,000 vectors of length 1 with 768 columns, 40 epochs: −246 nats and no active latent
//!   from 1, 1,946 and all of them from there (`tests/commands/scale.rs` has smaller ones).
//!   So does the dispersion of a negative binomial.
//! - What sampling does to an estimate of log p is told by a jackknife over groups of weights. A delta method has a
//!   variance of 1 an example at the most, where one weight that outweighs the others may be off by tens of nats; and where the
//!   weights have no variance, which no figure made of them shows, the shape of their tail tells it ([`estimate`]).
//! - Gradients are *assigned*, not accumulated. The graph is a chain, so each has one producer; there is nothing to clear
//!   before a step and nothing to read back. The one sum, of the reparameterisation's and the KL's gradients of `[mu |
//!   logvar]`, says so; and so does the one that is made of another in place, behind size factors.
//! - A weight's number of rows is padded to a multiple of 8, like every row's length. Products then run on whole multiples,
//!   and write their outputs' padding as exact zeros.
//! - The steps of a stretch are planned on the host and uploaded together ([`schedule::Plan`]), so schedules, warm-ups and
//!   the last partial batch exist once, in Rust, and a device reads the step it is at from its own memory.
#![deny(unsafe_code)] // allowed in device/cuda only

pub mod ais;
pub mod arena;
pub mod bench;
pub mod case;
pub mod check;
pub mod checkpoint;
pub mod cli;
pub mod config;
mod counts;
pub mod data;
pub mod decoding;
pub mod device;
pub mod error;
pub mod estimate;
pub mod evaluate;
pub mod files;
pub mod gaussian;
pub mod host;
pub mod impute;
pub mod infer;
pub mod init;
pub mod latents;
mod likelihood;
pub mod metrics;
pub mod mixture;
pub mod model;
pub mod plot;
mod quantiles;
pub mod ranking;
pub mod report;
pub mod rng;
pub mod schedule;
mod seal;
pub mod step;
pub mod sweep;
mod tail;
pub mod tape;
pub mod tensors;
pub mod trainer;
mod vae;

/// The Rust of the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;

pub use error::{Error, Result};
pub use vae::{Builder, Latents, Vae};
