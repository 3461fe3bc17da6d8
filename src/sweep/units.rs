//! Whether the bounds of several runs may be held against one another. A density has the units of its columns, and of
//! other data, or by another likelihood, a bound is another quantity.
use super::table::Entry;
use crate::config::{Likelihood, Run, SizeFactor};
use crate::report::command::Setting;

/// log p(x) in the units of the file is less by this, in nats per example: nothing where p(x) is no density of columns
/// that were scaled. Where values are missing it is a mean over the examples; none of a run of before that was kept.
pub(super) fn log_volume(run: &Run) -> Option<f64> {
    // Before its first step a run has not looked at its columns.
    match run.data.scale.as_ref().filter(|scale| run.model.has(Likelihood::Gaussian) && scale.is_found()) {
        Some(_) if !run.model.missing.is_refused() => run.data.log_volume,
        Some(scale) => Some(scale.log_volume(run.model.input)),
        None => Some(0.0),
    }
}

/// Whether p(x) is a density of the columns that are scaled, and its units are known.
pub(crate) fn is_density(run: &Run) -> bool {
    run.model.has(Likelihood::Gaussian) && log_volume(run).is_some()
}

/// Whether runs are of columns in different units. The mean over examples without a gap is the sum of the columns but for rounding.
pub(crate) fn differ(entries: &[Entry]) -> bool {
    let first = log_volume(&entries[0].run);
    entries.iter().any(|entry| match (log_volume(&entry.run), first) {
        (Some(volume), Some(first)) => (volume - first).abs() > 1e-9 * (1.0 + first.abs()),
        (volume, first) => volume != first,
    })
}

/// Options that decide what the numbers of the data are that a run sees.
const OF_DATA: [&str; 18] = [
    "data",
    "header",
    "columns",
    "classes",
    "valid",
    "valid-fraction",
    "condition",
    "valid-condition",
    "past",
    "future",
    "scale",
    "likelihood",
    "bernoulli",
    "gaussian",
    "poisson",
    "negative-binomial",
    "categorical",
    "missing",
];

/// Of each run, which data it is of among those of the same options: files change under their names. By their checksums.
pub(super) fn versions(entries: &[Entry], settings: &[Vec<Setting>]) -> Vec<usize> {
    let of = |i: usize| settings[i].iter().filter(|s| OF_DATA.contains(&s.option)).map(|s| (s.option, &s.value));
    let mut versions: Vec<usize> = vec![];
    for i in 0..entries.len() {
        let sum = |j: usize| entries[j].run.data.checksum;
        // They are of scaled numbers, which a run that begins with another model scales as that.
        let began = |j: usize| entries[j].run.training.start.is_some();
        let scale = |j: usize| &entries[j].run.data.scale;
        let can_tell = |j: usize| !began(i) && !began(j) || scale(i) == scale(j);
        let alike: Vec<usize> = (0..i).filter(|&j| of(j).eq(of(i)) && sum(j).is_some() && can_tell(j)).collect();
        let version = match alike.iter().find(|&&j| sum(j) == sum(i)) {
            Some(&same) => versions[same],
            None if sum(i).is_none() => 0, // of a version that kept none
            None => alike.iter().map(|&j| versions[j] + 1).max().unwrap_or(0),
        };
        versions.push(version);
    }
    versions
}

/// Of each column, what its likelihood gives a probability to: that of a count is one of the same counts by another. And what is
/// taken as given of them.
fn measures(run: &Run) -> (Vec<Likelihood>, SizeFactor) {
    let of = |likelihood| match likelihood {
        Likelihood::NegativeBinomial => Likelihood::Poisson,
        other => other,
    };
    let columns =
        run.model.likelihoods().into_iter().flat_map(|(likelihood, columns)| columns.map(move |_| of(likelihood)));
    (columns.collect(), run.model.size_factor)
}

/// Whether two runs give a probability to the same of an example.
pub(crate) fn are_of_the_same(a: &Run, b: &Run) -> bool {
    measures(a) == measures(b) && a.names() == b.names() && a.data.binarize == b.data.binarize
}

/// Options by which rows have other data, or another likelihood of them, or were validated on others, of those in which the
/// runs differ.
pub(super) fn incomparable(entries: &[Entry], options: &[&'static str]) -> Vec<&'static str> {
    // No scale is undone for what is no density.
    let scaled = entries.iter().any(|entry| !is_density(&entry.run));
    let of_data = |option: &str| match option {
        // Not missing: a run that refuses gaps has none, and nor has another of the same data.
        "data" | "header" | "future" | "binarize" | "valid" => true,
        // Of the same x others may be taken to tell the model.
        "columns" => entries.iter().any(|entry| entry.run.names() != entries[0].run.names()),
        // Columns that a model is told are no part of x; classes never were.
        "condition" => entries.iter().any(|entry| entry.run.x() != entries[0].run.x()),
        // Parts of the same data of different sizes are held against one another, a part and what was trained on are not.
        "valid-fraction" => entries.iter().any(|entry| entry.run.data.valid_fraction == 0.0),
        // The probabilities of the same counts may be held against one another, those that take the total as given are others.
        "likelihood" | "size-factor" | "bernoulli" | "gaussian" | "poisson" | "negative-binomial" | "categorical" => {
            let first = measures(&entries[0].run);
            entries.iter().any(|entry| measures(&entry.run) != first)
        }
        "scale" => scaled,
        _ => false,
    };
    options.iter().copied().filter(|option| of_data(option)).collect()
}
