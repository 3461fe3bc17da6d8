//! Models drawn at random: what no list of cases thought of.
use crate::numbers::Numbers;
use clap::ValueEnum;
use vae_gpu::config::{Activation, Likelihood, Mean, Model, Objective, Variance};

/// Its extents are among these, or off by one.
pub fn draw(numbers: &mut Numbers, extents: &[usize]) -> Model {
    let extent = |numbers: &mut Numbers| (numbers.one_of(extents) + numbers.below(3)).saturating_sub(1).max(1);
    let layers = numbers.below(4);
    let hidden: Vec<usize> = (0..layers).map(|_| extent(numbers)).collect();
    let plain = Model::new(extent(numbers), &hidden, extent(numbers));
    let likelihood = numbers.one_of(Likelihood::value_variants());
    let gaussian = likelihood == Likelihood::Gaussian;
    let objective = numbers.one_of(Objective::value_variants());
    let free_bits = if objective == Objective::Elbo { numbers.one_of(&[0.0, 0.0, 0.02]) } else { 0.0 };
    Model {
        condition: if numbers.below(3) == 0 { extent(numbers) } else { 0 },
        activation: numbers.one_of(Activation::value_variants()),
        likelihood,
        variance: if gaussian { numbers.one_of(Variance::value_variants()) } else { plain.variance },
        sigma: 0.7,
        mean: if gaussian { numbers.one_of(Mean::value_variants()) } else { plain.mean },
        objective,
        samples: numbers.one_of(&[1, 1, 2, 5, 33]),
        free_bits,
        ..plain
    }
}
