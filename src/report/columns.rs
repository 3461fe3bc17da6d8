//! The columns of a table one by one: what the data hold beside what the model draws, and how much of each comes back from the
//! latents. In the units of the file.
use super::{short, spread};
use crate::Result;
use crate::config::{Likelihood, Run};
use crate::data::Dataset;
use crate::data::to_csv::Of;
use crate::estimate::Running;
use crate::infer::{Inference, Totals};
use crate::latents;
use serde_json::{Value, json};
use std::sync::Arc;

/// Examples that are looked at, and draws; and numbers of them, so that a wide table takes no longer than the training.
const ROWS: usize = 1000;
const NUMBERS: usize = 1 << 22;
/// Columns that have a chart each; of more the means and deviations are compared.
const CHARTS: usize = 48;
/// Of so many of them.
const DOTS: usize = 1000;
/// Bins of a histogram: about two for the root of the number of examples, within these.
const BINS: (usize, usize) = (6, 24);
/// Whole numbers over a wider range are as good as others.
const WHOLE: f64 = 1e4;
/// Words that have a bar each; the others are one.
const WORDS: usize = 12;
/// The part of the numbers that a chart leaves out at either end.
const CUT: f64 = 0.005;

/// Rows of all columns of x.
pub(super) struct Rows {
    pub values: Vec<f32>,
    pub cols: usize,
}

impl Rows {
    /// The known numbers of a column.
    fn of(&self, j: usize) -> Vec<f64> {
        self.values.iter().skip(j).step_by(self.cols).filter(|x| x.is_finite()).map(|&x| x as f64).collect()
    }
}

/// What the page shows of each column.
///
/// # Errors
/// Those of the device.
pub(super) fn gather(run: &Run, examples: &Arc<Dataset>, inference: &mut Inference) -> Result<Value> {
    let (cols, seed) = (run.model.input, run.training.seed);
    let count = examples.rows().min(ROWS).min((NUMBERS / cols).max(1));
    let chosen = spread(examples, count);
    // As many draws as there may be, told what the examples are in turn, and of shares as much as they count.
    let draws = ROWS.min((NUMBERS / cols).max(1));
    let told =
        inference.condition_of(&chosen).into_iter().cycle().take(draws * run.model.condition).collect::<Vec<_>>();
    let z = latents::prior(draws, inference.latent(), 1.0, seed);
    if run.model.is_of_shares() {
        inference.set_totals_like(&chosen, 1);
    }
    let drawn = Rows { values: inference.draw(&z, &told, seed)?, cols };
    inference.set_totals(Totals::Of(1.0));
    let data = Rows { values: inference.examples(&chosen), cols };
    let back = Rows { values: inference.reconstruct(&chosen, seed)?, cols };
    let (names, words) = (run.names(), run.words());
    let of_words: usize = words.iter().map(|of| of.columns.len() - 1).sum();
    if cols - of_words > CHARTS {
        let dots: Vec<usize> = (0..cols.min(DOTS)).map(|i| i * cols / cols.min(DOTS)).collect();
        let names: Vec<&String> = dots.iter().map(|&j| &names[j]).collect();
        let all: Vec<[Value; 4]> = dots
            .iter()
            .map(|&j| {
                let [(mean, deviation), (of_draws, theirs)] = [moments(&data.of(j)), moments(&drawn.of(j))];
                // Of a column that never changes there is no scale.
                let part = |x: f64| (deviation > 0.0).then(|| short(x / deviation));
                [Some(short(mean)), Some(short(deviation)), part(of_draws - mean), part(theirs)].map(|x| json!(x))
            })
            .collect();
        return Ok(json!({ "count": count, "draws": draws, "of": cols, "names": names, "moments": all }));
    }
    let mut charts = vec![];
    let likelihoods = run.model.likelihood_of_each();
    let mut j = 0;
    while j < cols {
        let chart = match words.iter().find(|of| of.columns.start == j) {
            Some(of) => {
                j = of.columns.end;
                of_word(of, [&data, &drawn, &back])
            }
            None => {
                j += 1;
                let binary = likelihoods[j - 1] == Likelihood::Bernoulli
                    && data.of(j - 1).iter().all(|x| [0.0, 1.0].contains(x));
                of_number(&names[j - 1], [&data, &drawn, &back], j - 1, binary)
            }
        };
        charts.push(chart);
    }
    Ok(json!({ "count": count, "draws": draws, "charts": charts }))
}

/// The mean and the standard deviation.
fn moments(values: &[f64]) -> (f64, f64) {
    let running: Running = values.iter().copied().collect();
    (running.mean, running.variance_as_it_is().sqrt())
}

/// Shares of the bins of a column, and the part of its variance that reconstructions explain.
fn of_number(name: &str, [data, drawn, back]: [&Rows; 3], j: usize, binary: bool) -> Value {
    let seen = data.of(j);
    let explained = explained(data, back, j);
    if binary {
        let ones = |rows: &Rows| moments(&rows.of(j)).0;
        let shares = |rows: &Rows| [1.0 - ones(rows), ones(rows)].map(short);
        return json!({ "name": name, "words": ["0", "1"], "data": shares(data), "drawn": shares(drawn), "explained": explained });
    }
    let mut sorted = seen.clone();
    sorted.sort_unstable_by(f64::total_cmp);
    let cut = (sorted.len() as f64 * CUT) as usize;
    let ends = sorted.get(cut).zip(sorted.iter().nth_back(cut));
    let (low, high) = ends.map_or((0.0, 1.0), |(&low, &high)| (low, high));
    let ends = [low, high];
    let most = (2 * seen.len().isqrt()).clamp(BINS.0, BINS.1);
    // Of whole numbers a bin holds one, or as many as every other: else some would stand out.
    let (low, high, bins) = match seen.iter().all(|x| x.fract() == 0.0) && high - low < WHOLE {
        true => {
            let each = ((high - low + 1.0) / BINS.1 as f64).ceil();
            let bins = ((high - low + 1.0) / each).ceil();
            (low - 0.5, low - 0.5 + bins * each, bins as usize)
        }
        false if low == high => (low - 0.5, high + 0.5, most),
        false => (low, high, most),
    };
    let shares = |values: &[f64]| {
        let mut shares = vec![0.0; bins];
        for x in values.iter().filter(|x| (low..=high).contains(*x)) {
            shares[(((x - low) / (high - low) * bins as f64) as usize).min(bins - 1)] += 1.0 / values.len() as f64;
        }
        shares.into_iter().map(short).collect::<Vec<f64>>()
    };
    let (data, drawn) = (shares(&seen), shares(&drawn.of(j)));
    json!({ "name": name, "low": short(ends[0]), "high": short(ends[1]), "data": data, "drawn": drawn, "explained": explained })
}

/// 1 − Σ(x − x̂)² / Σ(x − mean)² over what is known; none where a column never changes.
pub(super) fn explained(data: &Rows, back: &Rows, j: usize) -> Option<f64> {
    let mean = moments(&data.of(j)).0;
    let pairs = data.values.iter().zip(&back.values).skip(j).step_by(data.cols).filter(|(x, _)| x.is_finite());
    let (left, all) = pairs.fold((0.0, 0.0), |(left, all), (&x, &y)| {
        (left + (x as f64 - y as f64).powi(2), all + (x as f64 - mean).powi(2))
    });
    (all > 0.0 && left.is_finite()).then(|| short(1.0 - left / all))
}

/// Shares of the words of a column, the most frequent first, and how often the most probable is the right one.
fn of_word(of: &Of, [data, drawn, back]: [&Rows; 3]) -> Value {
    let places = |rows: &Rows| -> Vec<Option<usize>> {
        rows.values.chunks(rows.cols).map(|row| of.most_probable(row)).collect()
    };
    let [data, drawn, back] = [data, drawn, back].map(places);
    let shares = |places: &[Option<usize>]| {
        let known = places.iter().flatten().count().max(1) as f64;
        let mut shares = vec![0.0; of.columns.len()];
        places.iter().flatten().for_each(|&at| shares[at] += 1.0 / known);
        shares
    };
    let (of_data, of_drawn) = (shares(&data), shares(&drawn));
    let mut order: Vec<usize> = (0..of.words.len()).collect();
    order.sort_by(|&a, &b| of_data[b].total_cmp(&of_data[a]));
    let (first, rest) = order.split_at(order.len().min(WORDS));
    let listed = |shares: &[f64]| {
        let rest = (!rest.is_empty()).then(|| rest.iter().map(|&at| shares[at]).sum());
        first.iter().map(|&at| shares[at]).chain(rest).map(short).collect::<Vec<f64>>()
    };
    let words = first
        .iter()
        .map(|&at| of.words[at].clone())
        .chain((!rest.is_empty()).then(|| format!("{} others", rest.len())));
    let known = data.iter().zip(&back).filter(|(x, _)| x.is_some());
    let (right, all) = known.fold((0, 0), |(right, all), (x, y)| (right + (x == y) as usize, all + 1));
    json!({
        "name": of.name, "words": words.collect::<Vec<_>>(), "data": listed(&of_data), "drawn": listed(&of_drawn),
        "right": (all > 0).then(|| short(right as f64 / all as f64)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(values: &[[f32; 3]]) -> Rows {
        Rows { values: values.concat(), cols: 3 }
    }

    #[test]
    fn shares_and_what_is_explained_are_those_of_the_numbers() {
        let data = rows(&[[0.0, 1.0, 0.0], [2.0, 1.0, 0.0], [2.0, 0.0, 1.0], [f32::NAN, 0.0, 1.0]]);
        let back = rows(&[[0.0, 1.0, 0.0], [1.0, 0.2, 0.8], [2.0, 0.4, 0.6], [9.0, 0.1, 0.9]]);
        let chart = of_number("age", [&data, &back, &back], 0, false);
        assert_eq!(
            (chart["low"].as_f64(), chart["high"].as_f64()),
            (Some(0.0), Some(2.0)),
            "a bin for each of 0, 1, 2"
        );
        let third = short(1.0 / 3.0);
        assert_eq!(chart["data"], json!([third, 0.0, short(2.0 / 3.0)]), "a bin for each of 0, 1, 2");
        assert_eq!(chart["drawn"], json!([0.25, 0.25, 0.25]), "of four one lies outside");
        // Σ(x − x̂)² = 1, Σ(x − 4/3)² = 8/3.
        assert_eq!(chart["explained"].as_f64(), Some(short(1.0 - 3.0 / 8.0)));
        let of = Of { columns: 1..3, name: "ward".into(), words: vec!["a".into(), "b".into()] };
        let chart = of_word(&of, [&data, &back, &back]);
        assert_eq!((&chart["data"], &chart["drawn"]), (&json!([0.5, 0.5]), &json!([0.25, 0.75])));
        assert_eq!(chart["right"].as_f64(), Some(0.75));
        let binary = of_number("sick", [&data, &data, &back], 1, true);
        assert_eq!((&binary["words"], &binary["data"]), (&json!(["0", "1"]), &json!([0.5, 0.5])));
        let constant = rows(&[[5.0; 3]; 4]);
        assert_eq!(of_number("x", [&constant; 3], 0, false)["explained"], Value::Null);
    }
}
