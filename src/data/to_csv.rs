//! Writes a table as csv: a header, and a row a line. What [`super::Dataset::read`] gives back, to the bit.
use std::io::{self, Write};

/// `values` is (rows, as many columns as there are names), row-major; each number in as few digits as tell it from others.
///
/// # Errors
/// Those of `out`.
///
/// ```
/// let mut file = Vec::new();
/// vae_gpu::data::to_csv::write(&mut file, &["age", "weight, kg"].map(String::from), &[41.0, 70.5])?;
/// assert_eq!(file, b"age,\"weight, kg\"\n41,70.5\n");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn write(out: &mut impl Write, names: &[String], values: &[f32]) -> io::Result<()> {
    assert!(values.len().is_multiple_of(names.len()), "rows have a number for each name");
    let mut rows = csv::Writer::from_writer(out);
    rows.write_record(names)?;
    for row in values.chunks(names.len()) {
        rows.write_record(row.iter().map(f32::to_string))?;
    }
    rows.flush()
}
