//! Writes a table as csv: a header, and a row a line. What [`super::Dataset::read`] gives back, to the bit.
use std::io::{self, Write};
use std::ops::Range;

/// Columns that are the words of one.
pub struct Of {
    /// Which they are.
    pub columns: Range<usize>,
    /// What that one is called.
    pub name: String,
    pub words: Vec<String>,
}

/// `values` is (rows, as many columns as there are names), row-major; each number in as few digits as tell it from others. In
/// place of the columns of `words`, in order, stands the word whose number is the largest; nothing where they are missing.
///
/// # Errors
/// Those of `out`.
///
/// ```
/// let mut file = Vec::new();
/// vae_gpu::data::to_csv::write(&mut file, &["age", "weight, kg"].map(String::from), &[41.0, 70.5], &[])?;
/// assert_eq!(file, b"age,\"weight, kg\"\n41,70.5\n");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn write(out: &mut impl Write, names: &[String], values: &[f32], words: &[Of]) -> io::Result<()> {
    assert!(values.len().is_multiple_of(names.len()), "rows have a number for each name");
    let mut rows = csv::Writer::from_writer(out);
    rows.write_record(cells(names.len(), words, |j| names[j].clone(), |of| of.name.clone()))?;
    for row in values.chunks(names.len()) {
        let word = |of: &Of| {
            let columns = &row[of.columns.clone()];
            let largest = (0..columns.len()).reduce(|best, j| if columns[j] > columns[best] { j } else { best });
            largest.filter(|_| !columns[0].is_nan()).map_or(String::new(), |j| of.words[j].clone())
        };
        rows.write_record(cells(names.len(), words, |j| row[j].to_string(), word))?;
    }
    rows.flush()
}

/// What stands in a line: of each column by itself, or of those that are the words of one.
fn cells(columns: usize, words: &[Of], one: impl Fn(usize) -> String, word: impl Fn(&Of) -> String) -> Vec<String> {
    let (mut cells, mut at) = (vec![], 0);
    for of in words {
        cells.extend((at..of.columns.start).map(&one));
        cells.push(word(of));
        at = of.columns.end;
    }
    cells.extend((at..columns).map(one));
    cells
}
