//! Models of every likelihood; and models drawn at random: what no list of cases thought of.
#![allow(dead_code)] // each test file uses some of it
use crate::numbers::Numbers;
use clap::ValueEnum;
use vae_gpu::config::{Activation, Dispersion, Likelihood, Mean, Model, Objective, SizeFactor, Variance};

/// The model with every likelihood, each with every variance, mean and dispersion that it can have; and with all of them.
pub fn of_every_likelihood(plain: &Model) -> Vec<Model> {
    let (variances, means) = (Variance::value_variants(), Mean::value_variants());
    let dispersions = Dispersion::value_variants();
    let mut all = vec![];
    for &likelihood in Likelihood::value_variants() {
        let plain = Model { likelihood, ..plain.clone() };
        match likelihood {
            Likelihood::Multinomial if plain.input == 1 => {} // whose share is 1
            Likelihood::Bernoulli | Likelihood::Poisson | Likelihood::Categorical | Likelihood::Multinomial => {
                all.push(plain)
            }
            Likelihood::Gaussian => {
                let of = |&variance| means.iter().map(move |&mean| (variance, mean));
                let kinds = variances.iter().flat_map(of);
                all.extend(kinds.map(|(variance, mean)| Model { variance, mean, ..plain.clone() }));
            }
            Likelihood::NegativeBinomial => {
                let of_shares: &[SizeFactor] = if plain.input == 1 { &[] } else { &[SizeFactor::Total] };
                let factors = [&[SizeFactor::None], of_shares].concat();
                let of = |&dispersion| factors.iter().map(move |&size_factor| (dispersion, size_factor));
                let kinds = dispersions.iter().flat_map(of);
                all.extend(kinds.map(|(dispersion, size_factor)| Model { dispersion, size_factor, ..plain.clone() }))
            }
        }
    }
    all.extend(mixed(plain));
    all
}

/// The model with a likelihood for each column, or two: all of them in turn, each of the places that a second parameter may come
/// from, and some with it beside some without.
fn mixed(plain: &Model) -> Vec<Model> {
    use {Dispersion as D, Likelihood as L, Variance as V};
    let turns = [
        (L::Bernoulli, 1),
        (L::Gaussian, 1),
        (L::NegativeBinomial, 2),
        (L::Categorical, 3),
        (L::Categorical, 2),
        (L::Poisson, 1),
        (L::Gaussian, 1),
    ];
    let (mut others, mut at, mut turns) = (vec![], 0, turns.into_iter().cycle());
    while let Some((likelihood, columns)) = turns.next().filter(|_| at < plain.input) {
        let to = (at + columns).min(plain.input);
        others.extend((likelihood != L::Gaussian).then_some((likelihood, at, to)));
        at = to;
    }
    let plain = Model { likelihood: L::Gaussian, others, ..plain.clone() };
    let ways = [
        (V::Fixed, D::Shared, Mean::Sigmoid),
        (V::Shared, D::Shared, Mean::Identity),
        (V::Shared, D::Network, Mean::Identity),
        (V::Network, D::Shared, Mean::Sigmoid),
        (V::Network, D::Network, Mean::Identity),
    ];
    ways.map(|(variance, dispersion, mean)| Model { variance, dispersion, mean, ..plain.clone() }).into()
}

/// Numbers in [0, 1] for whole rows of such a model, made what each column is of: counts to 8 where it counts; one of the words of
/// a variable, or none where the first is missing.
pub fn as_the_likelihoods_have_them(model: &Model, rows: &mut [f32]) {
    for (_, columns) in model.likelihoods().into_iter().filter(|(likelihood, _)| likelihood.is_of_counts()) {
        for row in rows.chunks_mut(model.columns()) {
            row[columns.clone()].iter_mut().for_each(|u| *u = (8.0 * *u * *u).floor());
        }
    }
    for columns in model.categoricals() {
        for row in rows.chunks_mut(model.columns()) {
            let words = &mut row[columns.clone()];
            let word = ((words[0] * words.len() as f32) as usize).min(words.len() - 1);
            let missing = words[0].is_nan();
            words.fill(if missing { f32::NAN } else { 0.0 });
            words[word] += 1.0;
        }
    }
}

/// Its extents are among these, or off by one.
pub fn draw(numbers: &mut Numbers, extents: &[usize]) -> Model {
    let extent = |numbers: &mut Numbers| (numbers.one_of(extents) + numbers.below(3)).saturating_sub(1).max(1);
    let layers = numbers.below(4);
    let hidden: Vec<usize> = (0..layers).map(|_| extent(numbers)).collect();
    let plain = Model::new(extent(numbers), &hidden, extent(numbers));
    let plain = numbers.one_of(&of_every_likelihood(&plain));
    let objective = numbers.one_of(Objective::value_variants());
    let free_bits = if objective == Objective::Elbo { numbers.one_of(&[0.0, 0.0, 0.02]) } else { 0.0 };
    Model {
        condition: if numbers.below(3) == 0 { extent(numbers) } else { 0 },
        activation: numbers.one_of(Activation::value_variants()),
        sigma: 0.7,
        objective,
        samples: numbers.one_of(&[1, 1, 2, 5, 33]),
        free_bits,
        ..plain
    }
}
