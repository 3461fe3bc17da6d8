//! What is worth saying of the columns of a training before it begins.
use crate::config::{Likelihood, Run};
use crate::data::scale::Rule;
use crate::data::{Dataset, Scale};
use std::collections::HashSet;

/// A column with numbers of this size, or of its inverse, is far from those that a network begins with, of about 1.
const LARGE: f64 = 100.0;
/// Columns whose sizes are this far apart are learned one after the other, the largest first.
const APART: f64 = 1000.0;

/// A sentence about the columns that no factor could be found for.
pub(super) fn never_change(run: &Run, data: &Dataset) -> Option<String> {
    const SHOWN: usize = 8;
    let mut constant = run.data.scale.as_ref()?.constant(data);
    let unscaled: HashSet<usize> = run.model.unscaled().collect();
    constant.retain(|j| !unscaled.contains(j));
    let more = if constant.len() > SHOWN { format!(", and {} more", constant.len() - SHOWN) } else { String::new() };
    let told: Vec<String> = constant.iter().take(SHOWN).map(|&j| data.columns.told(j)).collect();
    (!constant.is_empty()).then(|| format!("never changes, and is scaled by 1: {}{more}", told.join(", ")))
}

/// A hint, where some columns of a Gaussian hold nothing but zeros and ones.
pub(super) fn zeros_and_ones(run: &Run, data: &Dataset) -> Option<String> {
    const SHOWN: usize = 8;
    let as_scaled = |j: usize, x: f32| {
        let mut row = [x];
        run.data.scale.iter().for_each(|scale| _ = scale.apply_to(&mut row, j..j + 1));
        row[0]
    };
    // A column, what 0 and 1 are in it, and which of them was seen.
    let candidate = |j: usize| (j, [0.0, 1.0].map(|x| as_scaled(j, x)), [false; 2]);
    let mut binary: Vec<_> = gaussian(run).map(candidate).collect();
    let mut row = vec![0.0; data.cols];
    for i in 0..data.rows() {
        if binary.is_empty() {
            break;
        }
        data.row(i, &mut row);
        binary.retain_mut(|(j, ends, seen)| {
            let x = row[*j];
            (0..2).for_each(|end| seen[end] |= x == ends[end]);
            x.is_nan() || ends.contains(&x)
        });
    }
    let binary: Vec<usize> = binary.iter().filter(|(.., seen)| *seen == [true, true]).map(|(j, ..)| *j).collect();
    // Where all are, or so many that nobody would list them, it was chosen.
    if binary.is_empty() || binary.len() > SHOWN || binary.len() == run.model.input {
        return None;
    }
    let told: Vec<String> = binary.iter().map(|&j| data.columns.told(j)).collect();
    let (of_them, list) = (if binary.len() == 1 { "it" } else { "them" }, run.listed(&binary));
    Some(format!("nothing but zeros and ones: {}; --bernoulli {list} learns {of_them} as such", told.join(", ")))
}

/// The columns that are Gaussian.
fn gaussian(run: &Run) -> impl Iterator<Item = usize> {
    let of = |(likelihood, columns)| (likelihood == Likelihood::Gaussian).then_some(columns);
    run.model.likelihoods().into_iter().filter_map(of).flatten()
}

/// A hint, where columns of a Gaussian are of a size that no network begins with, or of very different ones.
pub(super) fn unscaled(run: &Run, data: &Dataset) -> Option<String> {
    // Where those without a likelihood of their own are no Gaussians, they would be scaled too.
    if run.model.likelihood != Likelihood::Gaussian || run.data.scale.is_some() {
        return None;
    }
    let found = Scale::find(Rule::Standard, data, run.model.input).ok()?;
    let column = |j: usize| (j, (found.shift[j] as f64).hypot(found.factor[j] as f64));
    let by_size = |a: &(usize, f64), b: &(usize, f64)| a.1.total_cmp(&b.1);
    let (smallest, largest) = (gaussian(run).map(column).min_by(by_size)?, gaussian(run).map(column).max_by(by_size)?);
    let worst = match (smallest.1, largest.1) {
        (small, large) if large > LARGE || large > LARGE.sqrt() && large > small * APART => largest.0,
        (_, large) if large < 1.0 / LARGE => smallest.0,
        _ => return None,
    };
    let (mean, deviation) = (found.shift[worst], found.factor[worst]);
    Some(format!(
        "{} has mean {mean:.3e} and standard deviation {deviation:.3e}: hard to learn as it is; --scale standard brings every \
         column to 0 and 1",
        data.columns.told(worst)
    ))
}
