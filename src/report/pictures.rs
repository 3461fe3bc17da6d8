//! What the pictures of a run show, and on which scale.
use crate::Result;
use crate::config::{Condition, Likelihood, Run};
use crate::data::scale::Rule;
use crate::data::{Bytes, Dataset, Shape};
use crate::infer::Inference;
use crate::plot::grid;
use std::sync::Arc;

/// Draws from the prior, and examples beside their reconstructions; all on one scale.
pub struct Drawn {
    /// (count, x)
    pub samples: Vec<f32>,
    /// (count / 2, x)
    pub originals: Vec<f32>,
    /// (count / 2, x)
    pub reconstructions: Vec<f32>,
    pub shape: Shape,
    /// How many samples stand in a row; and how many of the pairs.
    pub columns: usize,
    across: usize,
}

/// More classes than these have no column each.
const CLASSES: usize = 16;

/// Of a model that is told few classes their number: its samples have a column for each.
pub(super) fn classes(run: &Run) -> Option<usize> {
    let classes = run.data.condition.as_ref().map_or(0, Condition::classes);
    (2..=CLASSES).contains(&classes).then_some(classes)
}

impl Drawn {
    /// `count` means of p(x|z), z from the prior, or whole rows of them: which a model that is told classes is told these in turn, of few
    /// classes a column each, and another what the first examples are; and half as many examples, or all if there are fewer.
    ///
    /// # Errors
    /// Those of the device.
    pub fn of(run: &Run, examples: &Arc<Dataset>, inference: &mut Inference, count: usize) -> Result<Drawn> {
        let (seed, shape) = (run.training.seed, tile(run));
        let few = Arc::new(examples.first(count));
        let across = grid::columns_for(count, shape);
        let one_hot =
            |classes: usize| (0..classes * classes).map(move |i| (i % (classes + 1) == 0) as u8 as f32).collect();
        let (told, columns, samples) = match classes(run).filter(|&classes| classes <= count) {
            Some(classes) => (one_hot(classes), classes, count / classes * classes),
            None => (inference.condition_of(&few), across, count),
        };
        let told: Vec<f32> = told.into_iter().cycle().take(samples * run.model.condition).collect();
        let mut samples = inference.sample(samples, &told, seed)?;
        let few = Arc::new(few.first(count / 2));
        let mut originals = inference.examples(&few);
        let mut reconstructions = inference.reconstruct(&few, seed)?;
        on_one_scale(run, [&mut originals, &mut reconstructions, &mut samples]);
        Ok(Drawn { samples, originals, reconstructions, shape, columns, across })
    }

    /// The tiles of originals, under each its reconstruction, and how many stand in a row.
    pub fn pairs(&self) -> (Vec<f32>, usize) {
        grid::interleave(&self.originals, &self.reconstructions, self.shape.numbers(), self.across)
    }
}

/// How an example of a run is drawn: as the picture that it is, or may be, for nothing else is known of it; else as a row of bars.
pub fn tile(run: &Run) -> Shape {
    let (cols, model) = (run.model.input, &run.model);
    let named = run.data.columns.as_ref().is_some_and(|columns| !columns.names.is_empty());
    let of_pictures = [Likelihood::Bernoulli, Likelihood::Gaussian].contains(&model.likelihood) && !model.is_mixed();
    let shape = grid::shape_for(cols, run.data.shape);
    let is_table = named || run.data.scale.is_some() || !of_pictures;
    if is_table && Some(shape) != run.data.shape { (1, cols).into() } else { shape }
}

/// On one scale, which is as far as possible known of what the columns are, so that a few rows that are alike look alike: grey values
/// as they are, and those of a Bernoulli; counts by log(1 + x); what the model has scaled as it sees it, from three deviations below the
/// mean of the data to as many above, or from their smallest to their largest; of shares of a total shares, for that is what they are.
/// Other means go from the smallest to the largest of the first picture, and where columns are so far apart that one scale would show
/// only the largest, each on its own. Columns that have likelihoods of their own are each on the scale of theirs.
pub fn on_one_scale<const N: usize>(run: &Run, mut pictures: [&mut Vec<f32>; N]) {
    let (cols, model) = (run.model.input, &run.model);
    if let Some(scale) = &run.data.scale {
        pictures.iter_mut().for_each(|values| _ = scale.apply_to(values, 0..cols));
    }
    let ends = run.data.scale.as_ref().and_then(|scale| match scale.rule {
        Rule::Standard => Some((-DEVIATIONS, DEVIATIONS)),
        Rule::Minmax => Some((0.0, 1.0)),
        Rule::None => None,
    });
    let grey = ends.is_none() && matches!(run.data.bytes, Some(Bytes::Grey | Bytes::Binary));
    for (likelihood, columns) in model.likelihoods() {
        match likelihood {
            Likelihood::Bernoulli | Likelihood::Categorical => {}
            _ if model.is_of_shares() => return grid::by_share(pictures, cols),
            // Their own columns are of their own sizes; where all are counts, one beside the other.
            Likelihood::Poisson | Likelihood::NegativeBinomial if model.is_mixed() => {
                columns.for_each(|j| grid::by_counts(&mut pictures, cols, j..j + 1));
            }
            Likelihood::Poisson | Likelihood::NegativeBinomial | Likelihood::Multinomial => {
                grid::by_counts(&mut pictures, cols, columns)
            }
            Likelihood::Gaussian => match ends {
                Some((low, high)) => {
                    let rows = pictures.iter_mut().flat_map(|values| values.chunks_mut(cols));
                    rows.for_each(|row| grid::normalise(&mut row[columns.clone()], low, high));
                }
                None if grey => {}
                None if model.is_mixed() => grid::by_column(&mut pictures, cols, columns),
                None => return grid::by_first(pictures, tile(run)),
            },
        }
    }
}

/// Standard deviations that a picture of columns of `--scale standard` has on either side.
const DEVIATIONS: f32 = 3.0;
