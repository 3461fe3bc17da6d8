//! Columns that count the rows, as the keys of a table do: numbers like others, and nothing to learn.

/// Fewer rows may count by chance.
const FEWEST: usize = 20;

/// Of each column its first number, as long as every row has one more than the row above.
pub(super) struct Counting(Vec<Option<f64>>);

impl Counting {
    pub fn new(cols: usize) -> Counting {
        Counting(vec![Some(f64::NAN); cols])
    }

    /// The number of a row and a column, before it is rounded; NaN where there is none.
    pub fn see(&mut self, row: usize, j: usize, number: f64) {
        self.0[j] = match self.0[j] {
            Some(_) if row == 0 && number.fract() == 0.0 => Some(number),
            Some(first) if row > 0 && number == first + row as f64 => Some(first),
            _ => None,
        };
    }

    /// Those that count all of so many rows.
    pub fn columns(&self, rows: usize) -> impl Iterator<Item = usize> {
        (0..self.0.len()).filter(move |&j| rows >= FEWEST && self.0[j].is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_counts_and_numbers_do_not() {
        let counts = |rows: usize, number: &dyn Fn(usize) -> f64| {
            let mut counting = Counting::new(1);
            (0..rows).for_each(|i| counting.see(i, 0, number(i)));
            counting.columns(rows).count() == 1
        };
        assert!(counts(20, &|i| i as f64) && counts(50, &|i| 1e15 + i as f64));
        assert!(!counts(19, &|i| i as f64));
        assert!(!counts(50, &|i| if i == 30 { f64::NAN } else { i as f64 }));
        assert!(!counts(50, &|i| i as f64 + 0.5) && !counts(50, &|i| 2.0 * i as f64) && !counts(50, &|_| 3.0));
    }
}
