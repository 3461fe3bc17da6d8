//! How well a model ranks what it was not shown, of items in baskets, words in texts, or anything that is there or is not. Of every
//! example part of what is not 0 is held out, the rest is encoded, and the columns that it has not are ranked by their mean
//! of p(x|z): Liang, Krishnan, Hoffman & Jebara 2018, "Variational Autoencoders for Collaborative Filtering", section 4.
//!
//! The measures are theirs. Recall@k is how many of the k columns that are ranked first were held out, of as many as could
//! be: of min(k, h) where h were. NDCG@k is Σ 1 / log₂(1 + place) over those of them that were held out, of what that sum
//! is where they come first.
//!
//! And the ranking itself, [`best_of`]: what an example has not and would most likely have.
use crate::data::{Dataset, Values};
use crate::estimate::{Estimate, Running};
use crate::infer::Inference;
use crate::rng::{Stream, Words};
use crate::{Error, Result, host, latents};
use rand::seq::SliceRandom;
use rayon::prelude::*;
use std::sync::Arc;

/// The place of the step in the counter of [`Stream::Sample`] where it is drawn what is held out; [`crate::infer`] and
/// [`crate::latents`] have others.
const HELD_OUT: u32 = 3;

/// Examples without part of what they have.
pub struct HeldOut {
    /// Those that had two columns that are not 0, or more.
    pub shown: Arc<Dataset>,
    /// Of each the columns that were made 0, in order.
    pub columns: Vec<Vec<u32>>,
    /// How many had fewer, and are not there.
    pub left_out: usize,
    /// The columns of x: what a model is told stands behind them.
    input: usize,
}

impl HeldOut {
    /// Holds out the part `part` of what is not 0 in the first `input` columns of each row: rounded, at least one and never all.
    /// What of row i depends on the seed, i and the row alone. What is missing is not there, and is not ranked.
    ///
    /// # Errors
    /// No row has two; too little memory for a copy of the data, where others have them too.
    pub fn of(data: Arc<Dataset>, input: usize, part: f64, seed: u64) -> Result<HeldOut> {
        let all = data.rows();
        let has_two = |&i: &usize| columns(&data, i, input).len() > 1;
        let rows: Vec<usize> = (0..all).into_par_iter().filter(has_two).collect();
        if rows.is_empty() {
            return Err(Error::failed(format!(
                "{}: no example has two columns that are not 0, of which one could be held out",
                data.name
            )));
        }
        let columns: Vec<Vec<u32>> = rows
            .par_iter()
            .map(|&i| {
                let mut there = columns(&data, i, input);
                let n = there.len();
                let out = ((part * n as f64).round() as usize).clamp(1, n - 1);
                let (held, _) = there.partial_shuffle(&mut Words::new(seed, Stream::Sample, HELD_OUT, i as u32), out);
                let mut held = held.to_vec();
                held.sort_unstable();
                held
            })
            .collect();
        let mut shown = match Arc::try_unwrap(data) {
            Ok(data) if rows.len() == all => data,
            data => {
                let data = data.map_or_else(|shared| shared, Arc::new);
                let what = format!("the examples of {} without what is held out", data.name);
                host::check_memory(data.values.bytes() as u128, &what, "pass fewer: --count 1000")?;
                data.pick(&rows)
            }
        };
        let cols = shown.cols;
        columns.iter().enumerate().for_each(|(i, held)| shown.values.clear(cols, i, held));
        let left_out = all - columns.len();
        Ok(HeldOut { shown: Arc::new(shown), columns, left_out, input })
    }

    /// How many columns are held out of an example, on average.
    pub fn mean_columns(&self) -> f64 {
        self.columns.iter().map(Vec::len).sum::<usize>() as f64 / self.columns.len() as f64
    }

    /// The measures at each of these numbers of columns, for what `model` ranks. `watch` is told which part of it is done.
    ///
    /// # Errors
    /// Those of the device.
    pub fn ranked_by(
        &self,
        model: &mut Inference,
        at: &[usize],
        seed: u64,
        watch: &mut dyn FnMut(f64),
    ) -> Result<Vec<Measures>> {
        let all = each(&self.shown, self.input, model, seed, watch, |i, means| self.measures(i, means, at))?;
        Ok(mean(&all, at))
    }

    /// The same for how many of these examples show each column, which says nothing of the example itself.
    pub fn ranked_by_frequency(&self, at: &[usize]) -> Vec<Measures> {
        let mut counts = vec![0f32; self.input];
        for i in 0..self.columns.len() {
            columns(&self.shown, i, self.input).into_iter().for_each(|j| counts[j as usize] += 1.0);
        }
        let all: Vec<_> = (0..self.columns.len()).into_par_iter().map(|i| self.measures(i, &counts, at)).collect();
        mean(&all, at)
    }

    /// Recall and NDCG at each of `at`, of one row.
    fn measures(&self, i: usize, scores: &[f32], at: &[usize]) -> Vec<(f64, f64)> {
        let first = best(scores, not_in(&self.shown, i, self.input), at.iter().copied().max().unwrap_or(0));
        let held = &self.columns[i];
        at.iter().map(|&k| (recall(&first, held, k), ndcg(&first, held, k))).collect()
    }
}

/// Of each example the `n` columns of x that it has not, of the highest means in p(x|z), the highest first; fewer where it
/// lacks fewer. What is missing is not among them. `input`: how many columns x has.
///
/// # Errors
/// Those of the device.
pub fn best_of(
    data: &Arc<Dataset>,
    input: usize,
    model: &mut Inference,
    n: usize,
    seed: u64,
    watch: &mut dyn FnMut(f64),
) -> Result<Vec<Vec<u32>>> {
    each(data, input, model, seed, watch, |i, means| best(means, not_in(data, i, input), n))
}

/// What `of` makes of the number of each example and its means in p(x|z), where z is the mean of q(z|x).
fn each<T: Send>(
    data: &Arc<Dataset>,
    input: usize,
    model: &mut Inference,
    seed: u64,
    watch: &mut dyn FnMut(f64),
    of: impl Fn(usize, &[f32]) -> T + Sync,
) -> Result<Vec<T>> {
    /// Numbers of p(x|z) at once.
    const AT_ONCE: usize = 1 << 22;
    let z = latents::means(&model.encode(data, seed)?, model.latent());
    let condition = model.condition_of(data);
    let (examples, latent) = (data.rows(), model.latent());
    let told = condition.len() / examples;
    let rows = (AT_ONCE / input).max(1);
    let mut all = Vec::with_capacity(examples);
    for first in (0..examples).step_by(rows) {
        watch(first as f64 / examples as f64);
        let end = examples.min(first + rows);
        let means = model.decode(&z[first * latent..end * latent], &condition[first * told..end * told])?;
        let of_row = |(i, means): (usize, &[f32])| of(first + i, means);
        all.extend(means.par_chunks(input).enumerate().map(of_row).collect::<Vec<_>>());
    }
    watch(1.0);
    Ok(all)
}

/// Zeros and ones, and what is missing: of shades it could not be said what is there.
///
/// # Errors
/// The first that is something else.
pub fn check_zeros_and_ones(data: &Dataset, input: usize) -> Result<()> {
    let must = "must be 0 or 1, for what is there or is not can be held out and found again";
    data.check(0..input, |x| x == 0.0 || x == 1.0 || x.is_nan(), must)
}

/// What is not 0 in a row, and is known.
fn columns(data: &Dataset, i: usize, input: usize) -> Vec<u32> {
    let there = |x: f32| x != 0.0 && !x.is_nan();
    match &data.values {
        Values::Sparse(v) => v.entries_in(i, 0..input).filter(|&(_, x)| there(x)).map(|(j, _)| j as u32).collect(),
        _ => {
            let mut row = vec![0.0; input];
            data.part(i, 0..input, &mut row);
            (0..input as u32).filter(|&j| there(row[j as usize])).collect()
        }
    }
}

/// What a row has not: what it has is known, and what is missing is not asked for.
fn not_in(data: &Dataset, i: usize, input: usize) -> Vec<u32> {
    let mut row = vec![0.0; input];
    data.part(i, 0..input, &mut row);
    (0..input as u32).filter(|&j| row[j as usize] == 0.0).collect()
}

/// The `n` candidates of the highest scores, the highest first. Equal ones come in an order that has nothing to do with the
/// columns': files may have their most frequent columns first.
fn best(scores: &[f32], mut candidates: Vec<u32>, n: usize) -> Vec<u32> {
    let any = |j: u32| j.wrapping_mul(0x9E37_79B1); // one to one
    let order = |a: &u32, b: &u32| scores[*b as usize].total_cmp(&scores[*a as usize]).then(any(*a).cmp(&any(*b)));
    if n < candidates.len() {
        if n > 0 {
            candidates.select_nth_unstable_by(n - 1, order);
        }
        candidates.truncate(n);
        candidates.shrink_to_fit(); // of many rows the room of those that are not kept would be all of memory
    }
    candidates.sort_unstable_by(order);
    candidates
}

/// Of the first `k` of a ranking: which of them were held out, each by its place from 1 on.
fn hits<'a>(ranked: &'a [u32], held: &'a [u32], k: usize) -> impl Iterator<Item = usize> + 'a {
    ranked.iter().take(k).enumerate().filter(|(_, j)| held.binary_search(j).is_ok()).map(|(i, _)| i + 1)
}

fn recall(ranked: &[u32], held: &[u32], k: usize) -> f64 {
    hits(ranked, held, k).count() as f64 / k.min(held.len()) as f64
}

fn ndcg(ranked: &[u32], held: &[u32], k: usize) -> f64 {
    let gain = |place: usize| 1.0 / (1.0 + place as f64).log2();
    hits(ranked, held, k).map(gain).sum::<f64>() / (1..=k.min(held.len())).map(gain).sum::<f64>()
}

/// Means over examples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measures {
    /// How many columns of the ranking count.
    pub at: usize,
    pub recall: Estimate,
    pub ndcg: Estimate,
}

fn mean(all: &[Vec<(f64, f64)>], at: &[usize]) -> Vec<Measures> {
    let of =
        |i: usize, pick: fn(&(f64, f64)) -> f64| all.iter().map(|row| pick(&row[i])).collect::<Running>().estimate();
    at.iter().enumerate().map(|(i, &at)| Measures { at, recall: of(i, |m| m.0), ndcg: of(i, |m| m.1) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_measures_are_those_of_the_paper() {
        // Held out are 2, 5 and 9; they come at places 1, 4 and 6.
        let (ranked, held) = ([5, 0, 7, 2, 1, 9], [2, 5, 9]);
        let near = |got: f64, want: f64| assert!((got - want).abs() < 1e-12, "{got}, want {want}");
        near(recall(&ranked, &held, 1), 1.0); // one of one
        near(recall(&ranked, &held, 2), 0.5);
        near(recall(&ranked, &held, 4), 2.0 / 3.0); // of three
        near(recall(&ranked, &held, 100), 1.0);
        let ideal = 1.0 + 1.0 / 3f64.log2() + 0.5;
        near(ndcg(&ranked, &held, 3), 1.0 / ideal);
        near(ndcg(&ranked, &held, 5), (1.0 + 1.0 / 5f64.log2()) / ideal);
        near(ndcg(&ranked, &held, 2), 1.0 / (1.0 + 1.0 / 3f64.log2()));
        near(ndcg(&[5, 2, 9], &held, 3), 1.0);
        near(ndcg(&[1, 3], &held, 3), 0.0);
    }

    #[test]
    fn the_best_come_first_and_equals_in_no_order_of_columns() {
        let scores = [0.1, 0.5, 0.6, 0.9, -1.0, 0.7];
        assert_eq!(best(&scores, vec![5, 0, 1, 4, 2], 3), [5, 2, 1]);
        assert_eq!(best(&scores, (0..6).collect(), 100), [3, 5, 2, 1, 0, 4]);
        let equal = best(&[0.5; 1000], (0..1000).collect(), 500);
        let low = equal.iter().filter(|&&j| j < 500).count();
        assert!((200..300).contains(&low), "{low} of the first 500 columns among the first 500 places");
        assert!(best(&scores, (0..6).collect(), 0).is_empty());
    }

    #[test]
    fn a_part_of_every_row_is_held_out_by_its_seed() {
        let row = |n: usize| (0..20).map(move |j| if j % 2 == 0 && j < 2 * n { 1.0 + j as f32 } else { 0.0 });
        let values: Vec<f32> = [10, 1, 2, 0, 7].into_iter().flat_map(row).collect();
        let dense = Dataset::from_rows("x", 20, values).unwrap();
        let sparse = dense.clone().sparse();
        let of = |data: &Dataset, seed| HeldOut::of(Arc::new(data.clone()), 20, 0.2, seed).unwrap();
        let (d, s) = (of(&dense, 3), of(&sparse, 3));
        assert_eq!((d.left_out, d.columns.len()), (2, 3));
        assert_eq!(d.columns.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1, 1]);
        assert_eq!((&d.columns, d.shown.to_rows()), (&s.columns, s.shown.to_rows()), "sparse rows are dense ones");
        for (i, from) in [0, 2, 4].into_iter().enumerate() {
            let (mut was, mut is) = (vec![0.0; 20], vec![0.0; 20]);
            dense.row(from, &mut was);
            d.shown.row(i, &mut is);
            for j in 0..20 {
                let held = d.columns[i].contains(&(j as u32));
                assert!(if held { was[j] != 0.0 && is[j] == 0.0 } else { was[j] == is[j] }, "row {i}, column {j}");
            }
        }
        assert!((0..9).any(|seed| of(&dense, seed).columns != d.columns), "the seed chooses");
        // Whoever else has the data keeps them as they were.
        let kept = Arc::new(dense.pick(&[0, 2, 4]));
        let held = HeldOut::of(kept.clone(), 20, 0.2, 3).unwrap();
        assert_eq!(kept.to_rows(), dense.pick(&[0, 2, 4]).to_rows());
        assert_ne!(held.shown.to_rows(), kept.to_rows());
        let alone = HeldOut::of(Arc::new(dense.pick(&[0, 2, 4])), 20, 0.2, 3).unwrap();
        assert_eq!(alone.shown.to_rows(), held.shown.to_rows());
        let bare = Dataset::from_rows("x", 2, vec![1.0, 0.0, 0.0, 0.0]).unwrap();
        assert!(HeldOut::of(Arc::new(bare), 2, 0.2, 0).is_err());
    }

    #[test]
    fn zeros_and_ones_are_told_from_shades() {
        let of = |values| check_zeros_and_ones(&Dataset::new("x", 2, values), 1);
        assert!(of(Values::Bytes(vec![0, 7, 255, 9])).is_ok(), "what stands behind x may be anything");
        let sentence = of(Values::Bytes(vec![0, 0, 51, 0])).unwrap_err().to_string();
        assert!(sentence.starts_with("row 1, column 0 (counted from 0) of x is 0.2: must be 0 or 1"), "{sentence}");
        assert!(of(Values::Reals(vec![0.0, 0.5, f32::NAN, 0.5])).is_ok());
        assert!(of(Values::Reals(vec![0.0, 0.5, 0.5, 0.5])).is_err());
    }
}
