//! What a model that is told columns holds possible, beside the truth: p(x | told), by draws of z from the prior and of x, which is
//! `forecast --draw`. In the units of the file.
use super::columns::{self, Rows};
use super::{as_image, pictures, short, spread};
use crate::config::{Condition, Likelihood, Run, Variance};
use crate::data::{Bytes, Dataset, to_csv};
use crate::estimate::quantile_of_sorted;
use crate::infer::Inference;
use crate::plot::grid;
use crate::{Result, quantiles};
use serde_json::{Value, json};
use std::sync::Arc;

/// Draws for each example; and examples, of so many numbers in all that it takes no longer than a short training, and 4 MiB.
const DRAWS: usize = 100;
const EXAMPLES: usize = 500;
const NUMBERS: usize = 1 << 20;
/// Examples that are drawn.
const PANELS: usize = 6;
/// Means that a row of pictures has.
const MEANS: usize = 6;
/// The quantiles of the draws: the median in the middle of two intervals.
const QUANTILES: [f64; 5] = [0.05, 0.25, 0.5, 0.75, 0.95];
/// So many columns on one scale are a series, drawn as a line; fewer stand beside each other.
const SERIES: usize = 8;
/// Values that a panel tells of what the model is told.
const TOLD: usize = 4;
/// Numbers that a line is drawn by, or that stand beside each other; of more some.
const POINTS: usize = 1000;
const BARS: usize = 60;
/// Wider examples than so have no predictions on the page: those of the panels alone would take longer than the training.
const WIDEST: usize = 1 << 17;

/// What the page shows of predictions; nothing of a model that is told no columns, of shares, or of very wide examples.
///
/// # Errors
/// Those of the device.
pub(super) fn gather(run: &Run, examples: &Arc<Dataset>, inference: &mut Inference) -> Result<Value> {
    let is_told = matches!(run.data.condition, Some(Condition::Columns { .. }));
    if !is_told || run.model.is_of_shares() || run.model.input > WIDEST {
        return Ok(Value::Null);
    }
    // A series may have as many numbers as a square.
    let (model, data) = (&run.model, &run.data);
    let are_greys = model.is_all(Likelihood::Bernoulli) || matches!(data.bytes, Some(Bytes::Grey | Bytes::Binary));
    let is_picture = are_greys || data.shape.is_some_and(|shape| shape.numbers() == model.input);
    match is_picture && !grid::is_strip(pictures::tile(run)) {
        true => in_pictures(run, examples, inference),
        false => in_numbers(run, examples, inference),
    }
}

/// A row for each example: what it is told where that is as large, what came, and means of p(x | z, told).
fn in_pictures(run: &Run, examples: &Arc<Dataset>, inference: &mut Inference) -> Result<Value> {
    let (x, told) = (run.model.input, run.model.condition);
    let chosen = spread(examples, examples.rows().min(PANELS));
    let (z, repeated) = inference.asked(&chosen, MEANS, run.training.seed);
    let means = inference.decode(&z, &repeated)?;
    let (mut tiles, across) = rows((&inference.told(&chosen), told), (&inference.examples(&chosen), x), &means);
    pictures::on_one_scale(run, [&mut tiles]);
    let image = as_image(&tiles, pictures::tile(run), across, chosen.rows())?;
    Ok(json!({ "picture": image, "is_told": told == x, "draws": MEANS }))
}

/// The tiles of rows of predictions, and how many stand in a row: of each example what it is told, unless that is of another size and
/// no tile of this picture; what came, unless somewhere nobody knows that; and the same number of what the model makes of it.
pub(crate) fn rows((told, past): (&[f32], usize), (came, x): (&[f32], usize), drawn: &[f32]) -> (Vec<f32>, usize) {
    let (shown, known) = (past == x, !came.iter().any(|x| x.is_nan()));
    let draws = drawn.len() / came.len();
    let rows = told.chunks(past).zip(came.chunks(x)).zip(drawn.chunks(draws * x));
    let tiles = rows.flat_map(|((told, came), drawn)| {
        [if shown { told } else { &[] }, if known { came } else { &[] }, drawn].concat()
    });
    (tiles.collect(), draws + shown as usize + known as usize)
}

/// Quantiles of the numbers of x, words left out, how often what came lies between them, and some examples to look at.
fn in_numbers(run: &Run, examples: &Arc<Dataset>, inference: &mut Inference) -> Result<Value> {
    let (x, width) = (run.model.input, run.model.condition);
    let kinds = run.model.likelihood_of_each();
    let kept: Vec<usize> = (0..x).filter(|&j| kinds[j] != Likelihood::Categorical).collect();
    let kinds: Vec<Likelihood> = kept.iter().map(|&j| kinds[j]).collect();
    if kept.is_empty() {
        return Ok(Value::Null);
    }
    let count = examples.rows().min(EXAMPLES).min((NUMBERS / (x * DRAWS)).max(PANELS));
    let chosen = spread(examples, count);
    let (z, repeated) = inference.asked(&chosen, DRAWS, run.training.seed);
    let drawn = of_columns(inference.draw(&z, &repeated, run.training.seed)?, x, &kept);
    let came = of_columns(inference.examples(&chosen), x, &kept);
    let told = inference.told(&chosen);

    let within = quantiles::of(&drawn, (DRAWS, kept.len()), &QUANTILES, |j| kinds[j] != Likelihood::Gaussian);
    // Of zeros and ones every interval is all or nothing: their probability says more.
    let is_number: Vec<bool> = kinds.iter().map(|kind| *kind != Likelihood::Bernoulli).collect();
    let has_chances = is_number.contains(&false);

    // One example has no extents.
    let apart = run.model.is_mixed() || count > 1 && grid::are_apart(&came, kept.len());
    let is_series = kept.len() >= SERIES && !apart && !has_chances;
    // A past that is of the same kind of numbers is seen in front of its future.
    let together: Vec<f32> =
        told.chunks(width).zip(came.chunks(kept.len())).flat_map(|(a, b)| [a, b].concat()).collect();
    let told_words = run.words_told();
    let are_together = count == 1 || !grid::are_apart(&together, width + kept.len());
    let is_past = is_series && width > 1 && told_words.is_empty() && are_together;
    let names = run.names();
    let (step, step_of_past) = (kept.len().div_ceil(if is_series { POINTS } else { BARS }), width.div_ceil(POINTS));
    let shown = (0..count.min(PANELS)).map(|panel| {
        let i = panel * count / count.min(PANELS);
        let (told, came) = (&told[i * width..][..width], &came[i * kept.len()..][..kept.len()]);
        let within = &within[i * kept.len() * QUANTILES.len()..][..kept.len() * QUANTILES.len()];
        let quantile = |q: usize| numbers(within.iter().skip(q).step_by(QUANTILES.len() * step).copied());
        let drawn = &drawn[i * DRAWS * kept.len()..][..DRAWS * kept.len()];
        let chance = |j: usize| (!is_number[j]).then(|| short(mean(drawn.iter().skip(j).step_by(kept.len()).copied())));
        json!({
            "told": if is_past { json!(numbers(told.iter().step_by(step_of_past).copied())) } else { json!(in_words(run, told)) },
            "came": numbers(came.iter().step_by(step).copied()),
            "quantiles": (0..QUANTILES.len()).map(quantile).collect::<Vec<_>>(),
            "chances": (0..kept.len()).step_by(step).map(chance).collect::<Vec<_>>(),
        })
    });
    Ok(json!({
        "panels": shown.collect::<Vec<_>>(),
        "count": count,
        "draws": DRAWS,
        "names": kept.iter().step_by(step).map(|&j| &names[j]).collect::<Vec<_>>(),
        "has_chances": has_chances,
        "is_given_its_variance": kinds.contains(&Likelihood::Gaussian) && run.model.variance == Variance::Fixed,
        "is_series": is_series,
        "is_past": is_past,
        "apart": apart,
        "coverage": coverage(&came, &within, &is_number),
        "explained": explained(&came, &drawn, kept.len()),
    }))
}

/// These columns of rows of `cols` numbers.
fn of_columns(rows: Vec<f32>, cols: usize, kept: &[usize]) -> Vec<f32> {
    match kept.len() == cols {
        true => rows,
        false => rows.chunks(cols).flat_map(|row| kept.iter().map(|&j| row[j])).collect(),
    }
}

/// As the page has them; none where one is missing.
fn numbers(values: impl Iterator<Item = f32>) -> Vec<Option<f64>> {
    values.map(|x| x.is_finite().then(|| short(x as f64))).collect()
}

/// The first values that an example is told, by their names.
fn in_words(run: &Run, told: &[f32]) -> String {
    let (words, known) = (run.words_told(), run.data.known_columns());
    let place =
        |j: usize| known.name_of(j).cloned().unwrap_or(format!("column {}", known.place_of(known.column_of(j))));
    let names: Vec<String> = (run.model.input..run.model.columns()).map(place).collect();
    // To four digits.
    let told: Vec<f32> = told.iter().map(|&x| format!("{x:.3e}").parse().unwrap_or(x)).collect();
    let pairs = to_csv::titles(&names, &words).into_iter().zip(to_csv::texts(&told, &words));
    let all: Vec<String> = pairs.map(|(name, value)| format!("{name} {value}")).collect();
    let more = if all.len() > TOLD { ", \u{2026}" } else { "" };
    all[..all.len().min(TOLD)].join(", ") + more
}

/// Of the numbers that came, the part between the inner two and the outer two quantiles; of the columns that are `asked`.
fn coverage(came: &[f32], within: &[f32], asked: &[bool]) -> Option<[f64; 2]> {
    let (mut inside, mut all) = ([0, 0], 0);
    let each = came.iter().zip(within.chunks(QUANTILES.len())).zip(asked.iter().cycle());
    for ((x, q), _) in each.filter(|((x, _), asked)| **asked && x.is_finite()) {
        all += 1;
        for (inside, [low, high]) in inside.iter_mut().zip([[1, 3], [0, 4]]) {
            *inside += (q[low]..=q[high]).contains(x) as usize;
        }
    }
    (all > 0).then(|| inside.map(|inside| short(inside as f64 / all as f64)))
}

fn mean(values: impl Iterator<Item = f32>) -> f64 {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), x| (sum + x as f64, count + 1));
    sum / count as f64
}

/// What the mean of an example's draws explains of a column: of those that change, the median.
fn explained(came: &[f32], drawn: &[f32], cols: usize) -> Option<f64> {
    let draws = drawn.len() / came.len();
    let of_example = |drawn: &[f32]| {
        (0..cols).map(|j| mean(drawn.iter().skip(j).step_by(cols).copied()) as f32).collect::<Vec<f32>>()
    };
    let predicted = Rows { values: drawn.chunks(draws * cols).flat_map(of_example).collect(), cols };
    let came = Rows { values: came.to_vec(), cols };
    let mut all: Vec<f64> = (0..cols).filter_map(|j| columns::explained(&came, &predicted, j)).collect();
    all.sort_unstable_by(f64::total_cmp);
    (!all.is_empty()).then(|| short(quantile_of_sorted(&all, 0.5)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_within_is_counted_where_it_is_known_and_asked_for() {
        let q = [0.0, 1.0, 2.0, 3.0, 4.0];
        let within = [q, q, q, q].concat();
        assert_eq!(coverage(&[1.5, 3.5, f32::NAN, 9.0], &within, &[true]), Some([short(1.0 / 3.0), short(2.0 / 3.0)]));
        assert_eq!(coverage(&[1.5, 3.5, 1.0, 9.0], &within, &[true, false]), Some([1.0, 1.0]), "the ends belong to it");
        assert_eq!(coverage(&[1.5], &q, &[false]), None);
    }

    #[test]
    fn what_a_prediction_explains_is_that_of_the_mean_of_its_draws() {
        // Two examples of two columns, of which the second never changes, and two draws of each.
        let came = [0.0, 5.0, 2.0, 5.0];
        let drawn = [0.0, 1.0, 1.0, 1.0, 2.0, 1.0, 2.0, 1.0];
        // Means 0.5 and 2: 0.25 of 2 is left.
        assert_eq!(explained(&came, &drawn, 2), Some(0.875));
        assert_eq!(explained(&[5.0, 5.0], &[1.0; 4], 1), None);
    }

    #[test]
    fn a_row_has_what_fits_and_is_known() {
        let (came, drawn) = ([3.0, 4.0], [5.0, 6.0, 7.0, 8.0]);
        assert_eq!(rows((&[1.0, 2.0], 1), (&came, 1), &drawn), (vec![1.0, 3.0, 5.0, 6.0, 2.0, 4.0, 7.0, 8.0], 4));
        assert_eq!(rows((&[1.0, 2.0, 1.0, 2.0], 2), (&came, 1), &drawn), (vec![3.0, 5.0, 6.0, 4.0, 7.0, 8.0], 3));
        assert_eq!(rows((&[1.0, 2.0], 1), (&[f32::NAN, 4.0], 1), &drawn), (vec![1.0, 5.0, 6.0, 2.0, 7.0, 8.0], 3));
    }
}
