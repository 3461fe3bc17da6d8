//! Initial weights: a function of the seed, the parameter and the row.
use crate::config::Init;
use crate::device::Backend;
use crate::model::Network;
use crate::rng::{Stream, Words};
use crate::{Error, Result};
use rand_distr::{Distribution, Normal, Uniform};

/// Writes every parameter. Learned log-variances begin at 0, a variance of one.
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
        let zero = p.name == "decoder.logvar" || (bias && init != Init::Torch);
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
