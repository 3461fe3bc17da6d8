//! Initial weights: a function of the seed, the parameter and the row. And the one bias that may begin with the data.
use crate::config::{Binarize, Init, Likelihood, Mean};
use crate::data::{Dataset, Moments};
use crate::device::Backend;
use crate::model::Network;
use crate::rng::{Stream, Words};
use crate::{Error, Result};
use rand_distr::{Distribution, Normal, Uniform};

/// Writes every parameter. Learned log-variances and log-dispersions are 0 until [`log_variance`] and [`log_dispersion`] make them what
/// the data say.
///
/// # Errors
/// Those of the device.
pub fn parameters(network: &Network, init: Init, seed: u64, b: &mut dyn Backend) -> Result<()> {
    for (tensor, p) in network.parameters.iter().enumerate() {
        let (rows, cols) = (p.view.rows, p.view.cols);
        let bias = p.shape.len() == 1;
        // The width of what feeds the layer: of a bias, its weight's, which stands before it.
        let fan_in = if bias { network.parameters[tensor.max(1) - 1].view.cols } else { cols };
        let bound = match init {
            Init::Glorot => (6.0 / (rows + cols) as f64).sqrt(),
            Init::Torch => 1.0 / (fan_in as f64).sqrt(),
            Init::Normal(_) => 0.0,
        };
        let alone = network.decoded.learned == Some(p.view);
        let zero = alone || (bias && init != Init::Torch);
        let mut values = vec![0.0; rows * cols];
        if !zero {
            let impossible =
                |e: &dyn std::fmt::Display| Error::failed(format!("{}: cannot be initialised: {e}", p.name));
            for (row, values) in values.chunks_mut(cols).enumerate() {
                let mut words = Words::new(seed, Stream::Init, tensor as u32, row as u32);
                match init {
                    Init::Normal(sigma) => {
                        let normal = Normal::new(0.0, sigma).map_err(|e| impossible(&e))?;
                        values.iter_mut().for_each(|v| *v = normal.sample(&mut words));
                    }
                    _ => {
                        let uniform = Uniform::new_inclusive(-bound, bound).map_err(|e| impossible(&e))?;
                        values.iter_mut().for_each(|v| *v = uniform.sample(&mut words));
                    }
                }
            }
        }
        b.write(p.view, &values)?;
    }
    Ok(())
}

/// Writes the log-variance of Gaussian columns, where it is learned: it begins with the variance of what is observed of the data.
/// An optimiser that moves by about the learning rate in a step takes thousands of steps from 1 to 0.001, and until it is there the
/// bound pays nothing for what z says of x: latents die before.
///
/// # Errors
/// Those of the device.
pub fn log_variance(network: &Network, data: &Dataset, b: &mut dyn Backend) -> Result<()> {
    let model = &network.model;
    let Some(view) = network.log_variance() else { return Ok(()) };
    let columns = model.likelihoods().into_iter().filter(|(likelihood, _)| *likelihood == Likelihood::Gaussian);
    let variance = Moments::of(data, model.input).variance;
    // One that never changes has no best variance: its own begins at 1, and one for all is that of the others.
    let columns: Vec<usize> = columns.flat_map(|(_, columns)| columns).filter(|&j| variance[j] > 0.0).collect();
    let mut values = b.read(view)?;
    match values.as_mut_slice() {
        _ if columns.is_empty() => {}
        [one] => *one = (columns.iter().map(|&j| variance[j]).sum::<f64>() / columns.len() as f64).ln(),
        each => columns.iter().for_each(|&j| each[j] = variance[j].ln()),
    }
    b.write(view, &values)
}

/// The least dispersion that one begins with: of what varies no more than a Poisson, or less.
const LEAST: f64 = 0.01;

/// Writes the log-dispersion of columns of a negative binomial: it begins with the α of the data by their moments, where the variance
/// around the mean m of an example is m + α m². The reason is that of [`log_variance`]: from 1 an optimiser that moves by the learning
/// rate does not reach 0.1 in the 1,500 steps that some trainings have, and what is drawn varies by too much.
///
/// # Errors
/// Those of the device.
pub fn log_dispersion(network: &Network, data: &Dataset, b: &mut dyn Backend) -> Result<()> {
    let model = &network.model;
    let Some(view) = network.log_dispersion() else { return Ok(()) };
    let columns = model.likelihoods().into_iter().filter(|(likelihood, _)| *likelihood == Likelihood::NegativeBinomial);
    let columns: Vec<usize> = columns.flat_map(|(_, columns)| columns).collect();
    let mut row = vec![0f32; data.cols];
    // What an example counts, which its means are shares of; else all have the same means.
    let depth = |row: &[f32]| match model.is_of_shares() {
        true => row[..model.input].iter().filter(|x| !x.is_nan()).map(|&x| x as f64).sum(),
        false => 1.0,
    };
    let (mut rates, mut depths) = (vec![0.0; model.input], vec![0.0; model.input]);
    for i in 0..data.rows() {
        data.row(i, &mut row);
        let depth: f64 = depth(&row);
        for &j in columns.iter().filter(|&&j| !row[j].is_nan()) {
            rates[j] += row[j] as f64;
            depths[j] += depth;
        }
    }
    columns.iter().for_each(|&j| rates[j] /= depths[j].max(f64::MIN_POSITIVE));
    // Σ (x − m)² − m, and Σ m².
    let (mut beyond, mut squares) = (vec![0.0; model.input], vec![0.0; model.input]);
    for i in 0..data.rows() {
        data.row(i, &mut row);
        let depth = depth(&row);
        for &j in columns.iter().filter(|&&j| !row[j].is_nan()) {
            let m = depth * rates[j];
            beyond[j] += (row[j] as f64 - m).powi(2) - m;
            squares[j] += m * m;
        }
    }
    // The variance of Σ (x − m)² − m is 2 Σ m² at least: where m is small a column says little of its own α, and it is that of all.
    let sum = |of: &[f64]| columns.iter().map(|&j| of[j]).sum::<f64>();
    if sum(&squares) == 0.0 {
        return Ok(()); // nothing is counted
    }
    let of_all = (sum(&beyond) / sum(&squares)).max(LEAST);
    let own = |j: usize| ((beyond[j] + 2.0 * of_all) / (squares[j] + 2.0)).max(LEAST);
    let mut values = b.read(view)?;
    match values.as_mut_slice() {
        [one] => *one = of_all.ln(),
        each => columns.iter().for_each(|&j| each[j] = own(j).ln()),
    }
    b.write(view, &values)
}

/// How far from 0 and 1 a mean is kept where its logit is taken, as in the code of Burda et al. 2016, and from 0 where its
/// logarithm is.
const CLIP: f64 = 0.001;

/// Writes the bias of the decoder's output so that its mean is that of what is observed of the data.
///
/// # Errors
/// Those of the device.
pub fn output_bias(network: &Network, data: &Dataset, binarize: Binarize, b: &mut dyn Backend) -> Result<()> {
    let (input, model) = (network.model.input, &network.model);
    let (mut means, mut row) = (vec![0.0; input], vec![0f32; data.cols]);
    let observed: Vec<f64> = data.observed().iter().map(|&n| n.max(1) as f64).collect();
    for i in 0..data.rows() {
        data.row(i, &mut row);
        for ((mean, &x), n) in means.iter_mut().zip(&row).zip(&observed).filter(|((_, x), _)| !x.is_nan()) {
            let x = if binarize == Binarize::Threshold { (x >= 0.5) as u8 as f64 } else { x as f64 };
            *mean += x / n;
        }
    }
    for (likelihood, columns) in model.likelihoods() {
        let means = means[columns].iter_mut();
        match likelihood {
            Likelihood::Gaussian if model.mean == Mean::Identity => {}
            Likelihood::Bernoulli | Likelihood::Gaussian => means.for_each(|mean| {
                let p = mean.clamp(CLIP, 1.0 - CLIP);
                *mean = (p / (1.0 - p)).ln();
            }),
            // Of thousands of columns most shares are small. One that never counts is taken to have counted half.
            _ if model.is_of_shares() => means.zip(&observed).for_each(|(mean, n)| *mean = mean.max(0.5 / n).ln()),
            // A column of nothing but zeros has no best rate either, and a word that was not seen no best probability.
            _ => means.for_each(|mean| *mean = mean.max(CLIP).ln()),
        }
    }
    let bias = network.parameter("decoder.out.bias").expect("every model has it");
    b.write(bias.view, &means)
}
