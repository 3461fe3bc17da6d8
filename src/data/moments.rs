//! What the numbers of each column are like, of what is observed of them.
use super::Dataset;

/// Of each column. One of which nothing is observed has an empty range, and the mean 0.
pub struct Moments {
    pub low: Vec<f32>,
    pub high: Vec<f32>,
    pub mean: Vec<f64>,
    /// With n; 0 of a column that never changes. Empty where it was not asked for.
    pub variance: Vec<f64>,
}

impl Moments {
    /// Those of the first `cols` columns. Bytes are what they stand for.
    pub fn of(data: &Dataset, cols: usize) -> Moments {
        let n = counts(data);
        let Moments { low, high, mean, .. } = Moments::without_variance(data, cols);
        let mut variance = vec![0f64; cols];
        each_row(data, |row| {
            (0..cols).for_each(|j| variance[j] += (observed(row[j], mean[j]) - mean[j]).powi(2) / n[j])
        });
        // The rounding of a mean would be one.
        (0..cols).filter(|&j| low[j] >= high[j]).for_each(|j| variance[j] = 0.0);
        Moments { low, high, mean, variance }
    }

    /// The same, which takes half as long.
    pub fn without_variance(data: &Dataset, cols: usize) -> Moments {
        let n = counts(data);
        let (mut low, mut high) = (vec![f32::INFINITY; cols], vec![f32::NEG_INFINITY; cols]);
        let mut mean = vec![0f64; cols];
        each_row(data, |row| {
            for j in 0..cols {
                low[j] = low[j].min(row[j]); // not the NaN of a missing value
                high[j] = high[j].max(row[j]);
                mean[j] += observed(row[j], 0.0) / n[j];
            }
        });
        Moments { low, high, mean, variance: vec![] }
    }
}

/// How many values of each column are there, to divide by.
fn counts(data: &Dataset) -> Vec<f64> {
    data.observed().iter().map(|&n| n.max(1) as f64).collect()
}

/// x, or where it is missing what takes its place.
fn observed(x: f32, otherwise: f64) -> f64 {
    if x.is_nan() { otherwise } else { x as f64 }
}

pub(super) fn each_row(data: &Dataset, mut f: impl FnMut(&[f32])) {
    let mut row = vec![0f32; data.cols];
    for i in 0..data.rows() {
        data.row(i, &mut row);
        f(&row);
    }
}
