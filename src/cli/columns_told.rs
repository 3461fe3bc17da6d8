//! What is worth saying of the columns of a training before it begins.
use crate::config::{Likelihood, Run, Variance};
use crate::data::scale::Rule;
use crate::data::{Dataset, Moments};
use std::collections::HashSet;

/// A column with numbers of this size, or of its inverse, is far from those that a network begins with, of about 1.
const LARGE: f64 = 100.0;
/// What a first layer gives is of about 1 where columns are scaled; of this the log-variances of q(z|x) behind it may be so large that
/// a training begins with a KL of millions, and is still at it in the end.
const PUSHED: f64 = 4.0;
/// Columns whose sizes are this far apart are learned one after the other, the largest first.
const APART: f64 = 1000.0;

/// A sentence about columns that never change: no factor could be found for them, and a variance that is learned has no best value.
pub(super) fn never_change(run: &Run, data: &Dataset, Moments { variance, .. }: &Moments) -> Option<String> {
    const SHOWN: usize = 8;
    let scaled = run.data.scale.as_ref().map(|scale| scale.shift.len());
    let is_learned = run.model.has(Likelihood::Gaussian) && run.model.variance != Variance::Fixed;
    let cols = scaled.unwrap_or(if is_learned { run.model.input } else { 0 });
    let unscaled: HashSet<usize> = run.model.unscaled().collect();
    let own: HashSet<usize> = gaussian(run).collect(); // of others nothing is learned that could fall
    let is_meant = |j: usize| if scaled.is_some() { !unscaled.contains(&j) } else { own.contains(&j) };
    let constant: Vec<usize> = (0..cols).filter(|&j| variance[j] == 0.0 && is_meant(j)).collect();
    let more = if constant.len() > SHOWN { format!(", and {} more", constant.len() - SHOWN) } else { String::new() };
    let told: Vec<String> = constant.iter().take(SHOWN).map(|&j| data.columns.told(j)).collect();
    let list = if constant.len() > SHOWN { String::new() } else { format!(" {}", run.listed(&constant)) };
    let by_one = if scaled.is_some() { ", and is scaled by 1" } else { "" };
    let of_them = if constant.len() == 1 { "it" } else { "them" };
    let falls = match is_learned {
        true => format!(
            "; a variance that is learned may fall there without end: --skip-columns{list} leaves {of_them} out"
        ),
        false => String::new(),
    };
    (!constant.is_empty()).then(|| format!("never changes{by_one}: {}{more}{falls}", told.join(", ")))
}

/// A hint, where some columns of a Gaussian hold nothing but zeros and ones.
pub(super) fn zeros_and_ones(run: &Run, data: &Dataset) -> Option<String> {
    const SHOWN: usize = 8;
    if data.shape.is_some() {
        return None; // of pixels some may be so by chance
    }
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
pub(super) fn unscaled(run: &Run, data: &Dataset, moments: &Moments) -> Option<String> {
    // Where those without a likelihood of their own are no Gaussians, they would be scaled too.
    if run.model.likelihood != Likelihood::Gaussian || run.data.scale.is_some() {
        return None;
    }
    let Moments { mean, variance, .. } = moments;
    let size = |j: usize| mean[j].hypot(variance[j].sqrt());
    let by_size = |a: &usize, b: &usize| size(*a).total_cmp(&size(*b));
    // What never changes may be far away, but is not small beside others, nor large beside small ones.
    let changes = || gaussian(run).filter(|&j| variance[j] > 0.0);
    let (smallest, largest) = (changes().min_by(by_size)?, changes().max_by(by_size)?);
    let furthest = gaussian(run).max_by(by_size)?;
    // The deviation of what the first layer gives: of the weights 2 / (inputs + outputs), as they are drawn by Glorot's rule.
    let first = run.model.hidden.first().copied().unwrap_or(2 * run.model.latent);
    let norm = gaussian(run).map(|j| size(j) * size(j)).sum::<f64>().sqrt();
    let pushed = norm * (2.0 / (run.model.input + first) as f64).sqrt();
    let worst = match (size(smallest), size(largest)) {
        _ if pushed > PUSHED => largest,
        _ if size(furthest) > LARGE => furthest,
        (small, large) if large > LARGE.sqrt() && large > small * APART => largest,
        (_, large) if large < 1.0 / LARGE => smallest,
        _ => return None,
    };
    Some(format!(
        "{} has mean {:.3e} and standard deviation {:.3e}: hard to learn as it is; --scale standard brings every column to 0 and 1",
        data.columns.told(worst),
        mean[worst],
        variance[worst].sqrt()
    ))
}

/// A hint, where a column that hardly ever changes, as a pixel at the edge, was scaled by its small deviation.
pub(super) fn far(run: &Run, data: &Dataset, Moments { low, high, .. }: &Moments) -> Option<String> {
    run.data.scale.as_ref().filter(|scale| scale.rule == Rule::Standard)?;
    let unscaled: HashSet<usize> = run.model.unscaled().collect();
    let size = |j: &usize| f64::from(low[*j].abs().max(high[*j].abs()));
    let scaled = (0..run.model.input).filter(|j| !unscaled.contains(j));
    let worst = scaled.filter(|j| size(j).is_finite()).max_by(|a, b| size(a).total_cmp(&size(b)))?;
    (size(&worst) > LARGE).then(|| {
        format!(
            "{} has a number {:.0} standard deviations from its mean: hard to learn; --scale minmax has none beyond 1, or leave \
             columns out that hardly change",
            data.columns.told(worst),
            size(&worst)
        )
    })
}

/// A hint, where the columns of a Gaussian of given sigma vary less than that. Of principal components those of a larger variance
/// than sigma² are worth what they cost, which none is if all together have less: the bound is highest where z says nothing.
pub(super) fn outweighed(run: &Run, moments: &Moments) -> Option<String> {
    let model = &run.model;
    if model.likelihood != Likelihood::Gaussian || model.is_mixed() || model.variance != Variance::Fixed {
        return None;
    }
    let (all, sigma) = (moments.variance[..model.input].iter().sum::<f64>(), model.sigma);
    (all > 0.0 && all < sigma * sigma).then(|| {
        format!(
            "the variances of all columns add up to {all:.3}, less than sigma² = {}: latents cost more than they tell; --variance \
             shared learns it{}",
            sigma * sigma,
            if run.data.scale.is_some() { "" } else { ", and --scale standard brings every column to 0 and 1" }
        )
    })
}

/// Of a training that has ended: no latent is active.
pub(super) fn collapsed(run: &Run) -> String {
    let model = &run.model;
    let given = model.has(Likelihood::Gaussian) && model.variance == Variance::Fixed;
    let wakes = match () {
        () if given && run.data.scale.is_none() => "--scale standard, --variance shared",
        () if given => "--variance shared, a smaller --sigma",
        () => "--kl-warmup, --free-bits, a smaller --beta",
    };
    format!("no latent is active: what is decoded does not depend on x; {wakes} or more steps may wake some")
}
