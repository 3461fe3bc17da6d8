//! Many draws of each example in a few numbers.
use crate::estimate::quantile_of_sorted;
use rayon::prelude::*;

/// Of draws, (examples · draws, columns) with those of an example together, the quantiles of each column: (examples,
/// columns · quantiles), those of a column together. Between two draws they are interpolated as NumPy's are; of columns that are
/// `whole`, as counts, the nearest draw is one, for what lies between cannot be.
pub(crate) fn of(
    drawn: &[f32],
    (draws, columns): (usize, usize),
    quantiles: &[f64],
    whole: impl Fn(usize) -> bool + Sync,
) -> Vec<f32> {
    let of_example = |drawn: &[f32]| {
        let mut row = Vec::with_capacity(columns * quantiles.len());
        for j in 0..columns {
            let mut column: Vec<f64> = drawn.iter().skip(j).step_by(columns).map(|&x| x as f64).collect();
            column.sort_unstable_by(f64::total_cmp);
            row.extend(quantiles.iter().map(|&q| match whole(j) {
                true => column[(q * (draws - 1) as f64).round() as usize] as f32,
                false => quantile_of_sorted(&column, q) as f32,
            }));
        }
        row
    };
    drawn.par_chunks(draws * columns).flat_map_iter(of_example).collect()
}

/// What these columns are called: the name, and the quantile behind it.
pub(crate) fn titles(names: &[String], quantiles: &[f64]) -> Vec<String> {
    names.iter().flat_map(|name| quantiles.iter().map(move |q| format!("{name} {q}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_numpy() {
        // np.quantile([[4, 0], [1, 10], [3, 20], [2, 30]], [0, .25, .5, 1], axis=0).T
        let drawn = [4.0, 0.0, 1.0, 10.0, 3.0, 20.0, 2.0, 30.0];
        let row = [1.0, 1.75, 2.5, 4.0, 0.0, 7.5, 15.0, 30.0];
        let two = [drawn, drawn.map(|x| x + 1.0)].concat();
        assert_eq!(of(&two, (4, 2), &[0.0, 0.25, 0.5, 1.0], |_| false), [row, row.map(|x| x + 1.0)].concat());
        assert_eq!(of(&[5.0], (1, 1), &[0.1, 0.9], |_| false), [5.0, 5.0]);
        assert_eq!(of(&[3.0, 1.0, 0.0, 7.0], (4, 1), &[0.1, 0.5, 0.9], |_| true), [0.0, 3.0, 7.0], "counts");
        assert_eq!(titles(&["h12".into(), "h13".into()], &[0.05, 0.5]), ["h12 0.05", "h12 0.5", "h13 0.05", "h13 0.5"]);
    }
}
