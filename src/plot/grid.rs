//! Examples as a picture, grey or coloured: one tile per example, row by row, separated by thin lines.
//! Rows of numbers that are no pictures are drawn as [`bars`].
use super::{BACKGROUND, GAP, ROW, bars};
use crate::data::Shape;
use crate::files::write_atomically;
use crate::{Error, Result};
use std::ops::Range;
use std::path::Path;

/// A tile is enlarged by the largest whole factor that keeps its longer side within this, in pixels.
const TILE_SIDE: usize = 64;

/// Writes `tiles`, (count, height · width · channels) row-major with 0 black and 1 white, as a PNG with `columns` tiles a
/// row: grey of one channel, RGB of three.
///
/// Values outside [0, 1] are clamped (see [`normalise`]), NaN is drawn in [`BACKGROUND`]. Small tiles are enlarged by
/// a whole factor: 28×28 by 2, 8×8 by 8. A strip, of height 1, is drawn as bars from 0 to 1. The last row is filled up
/// with background.
///
/// # Errors
/// If there is no tile, or the file cannot be written.
///
/// # Panics
/// If `tiles` is not a whole number of tiles of this shape, or `columns` is 0.
///
/// ```
/// use vae_gpu::plot::grid;
/// let examples = vec![0.5; 10 * 64]; // (10, 64)
/// let shape = grid::shape_for(64, None);
/// assert_eq!(shape, (8, 8).into());
/// let path = std::env::temp_dir().join("vae-gpu-doc-grid.png");
/// grid::write_png(&path, &examples, shape, grid::columns_for(10, shape))?;
/// # std::fs::remove_file(path).unwrap();
/// # Ok::<(), vae_gpu::Error>(())
/// ```
pub fn write_png(path: &Path, tiles: &[f32], shape: Shape, columns: usize) -> Result<()> {
    let bytes =
        png(tiles, shape, columns).map_err(|e| Error::failed(format!("cannot write {}: {e}", path.display())))?;
    write_atomically(path, |out| out.write_all(&bytes))
}

/// The bytes of the file that [`write_png`] writes.
///
/// # Errors
/// If there is no tile, or there are too many pixels.
///
/// # Panics
/// As [`write_png`].
pub fn png(tiles: &[f32], shape: Shape, columns: usize) -> Result<Vec<u8>> {
    let Shape { height, width, channels } = shape;
    assert!(shape.numbers() > 0 && columns > 0, "a grid of {columns} columns of {height}x{width} tiles");
    assert_eq!(tiles.len() % shape.numbers(), 0, "{} values are no whole {height}x{width} tiles", tiles.len());
    assert!([1, 3].contains(&channels), "{channels} channels: grey has 1 and RGB 3");
    let count = tiles.len() / shape.numbers();
    if count == 0 {
        return Err(Error::failed("there are no examples to draw"));
    }

    let columns = columns.min(count);
    let (tile_height, tile_width) = size(shape, columns);
    let (cell_height, cell_width) = (tile_height + GAP, tile_width + GAP);
    let (full_height, full_width) = (count.div_ceil(columns) * cell_height + GAP, columns * cell_width + GAP);
    let (Ok(png_width), Ok(png_height)) = (i32::try_from(full_width), i32::try_from(full_height)) else {
        return Err(Error::failed(format!(
            "{full_width}x{full_height} pixels are too many for a PNG; draw fewer examples"
        )));
    };

    let mut pixels = vec![BACKGROUND; full_height * full_width * channels]; // (full_height, full_width, channels)
    for (i, tile) in tiles.chunks_exact(shape.numbers()).enumerate() {
        let (top, left) = (GAP + i / columns * cell_height, GAP + i % columns * cell_width);
        if is_strip(shape) {
            // A place that is filled up has no paper either.
            let bars = match tile.iter().all(|v| v.is_nan()) {
                true => vec![BACKGROUND; tile_height * tile_width],
                false => bars::tile(tile, tile_width),
            };
            for (y, line) in bars.chunks_exact(tile_width).enumerate() {
                pixels[(top + y) * full_width + left..][..tile_width].copy_from_slice(line);
            }
            continue;
        }
        let factor = tile_width / width;
        for y in 0..tile_height {
            let values = &tile[y / factor * width * channels..][..width * channels];
            let line = &mut pixels[((top + y) * full_width + left) * channels..][..tile_width * channels];
            for (cell, values) in line.chunks_exact_mut(factor * channels).zip(values.chunks_exact(channels)) {
                for pixel in cell.chunks_exact_mut(channels) {
                    pixel.iter_mut().zip(values).for_each(|(p, &value)| *p = grey(value));
                }
            }
        }
    }

    let mut bytes = vec![];
    let mut encoder = png::Encoder::new(&mut bytes, png_width as u32, png_height as u32);
    encoder.set_color(if channels == 1 { png::ColorType::Grayscale } else { png::ColorType::Rgb });
    encoder.set_depth(png::BitDepth::Eight);
    let failed = |e: png::EncodingError| Error::failed(e.to_string());
    let mut writer = encoder.write_header().map_err(failed)?;
    writer.write_image_data(&pixels).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(bytes)
}

/// How many pixels high and wide a tile is drawn.
fn size(shape: Shape, columns: usize) -> (usize, usize) {
    let Shape { height, width, .. } = shape;
    if is_strip(shape) {
        return (bars::HEIGHT, bars::width(width, columns));
    }
    let factor = (TILE_SIDE / height.max(width)).min(ROW / (columns * width)).max(1);
    (height * factor, width * factor)
}

fn grey(value: f32) -> u8 {
    if value.is_nan() { BACKGROUND } else { (value.clamp(0.0, 1.0) * 255.0).round() as u8 }
}

/// The shape to draw examples of `cols` numbers in: the `known` one if it fits, else a square from 4×4 up, else one row: a
/// table has no neighbourhood in two dimensions.
pub fn shape_for(cols: usize, known: Option<Shape>) -> Shape {
    match (known, cols.isqrt()) {
        (Some(shape), _) if shape.numbers() == cols && [1, 3].contains(&shape.channels) => shape,
        (_, side) if side >= 4 && side * side == cols => (side, side).into(),
        _ => (1, cols).into(),
    }
}

/// Whether examples of this shape are no pictures, but rows of a table.
pub fn is_strip(shape: Shape) -> bool {
    shape.height == 1 && shape.channels == 1
}

/// How many tiles of this shape to put in a row: the picture is about square, somewhat wide rather than high, with as few
/// empty places as that allows (64 in 8 columns, 10 in 5).
pub fn columns_for(count: usize, shape: Shape) -> usize {
    columns_of_stacks(count, 1, shape)
}

/// The same of stacks of so many tiles, one under the other.
pub fn columns_of_stacks(count: usize, tiles: usize, shape: Shape) -> usize {
    if count == 0 {
        return 1;
    }
    // Shapes may be large, and of pictures the proportion alone matters.
    let (height, width) = if is_strip(shape) { size(shape, 1) } else { (shape.height, shape.width) };
    let height = height.saturating_mul(tiles);
    let square = (count as f64 * height as f64 / width as f64).sqrt().ceil() as usize;
    let least = square.clamp(1, count);
    // min_by_key keeps the first of equals: the one nearest to a square.
    (least..=(least * 3 / 2).min(count)).min_by_key(|c| c * count.div_ceil(*c) - count).unwrap_or(least)
}

/// Rows of originals, under each the row of their reconstructions: [`stack`] of two.
///
/// # Panics
/// If the two differ in length or are not whole examples.
pub fn interleave(originals: &[f32], reconstructions: &[f32], cols: usize, columns: usize) -> (Vec<f32>, usize) {
    stack(&[originals, reconstructions], cols, columns)
}

/// A row of the first part, under it the same examples of the second, and so on; then the next row of the first. Each
/// part is (count, cols). Gives the tiles and the number of columns to draw them with: `columns`, or as many as there
/// are examples if those are fewer.
///
/// `columns_for(parts * count, shape)` makes the whole about square. A short last row is filled up with NaN, that is,
/// with background.
///
/// # Panics
/// If there is no part, or they differ in length or are not whole examples.
pub fn stack(parts: &[&[f32]], cols: usize, columns: usize) -> (Vec<f32>, usize) {
    let length = parts[0].len();
    assert!(parts.iter().all(|part| part.len() == length), "one example of each part for each of the first");
    assert_eq!(length % cols, 0, "{length} values are no whole examples of {cols}");
    let columns = columns.min(length / cols).max(1);
    let row = columns * cols;
    let mut tiles = Vec::with_capacity(parts.len() * length.next_multiple_of(row));
    for start in (0..length).step_by(row) {
        for part in parts {
            tiles.extend_from_slice(&part[start..length.min(start + row)]);
            tiles.resize(tiles.len().next_multiple_of(row), f32::NAN);
        }
    }
    (tiles, columns)
}

/// Maps `low` to 0 and `high` to 1, for data that does not lie in [0, 1]; where they are no range, everything to 0.5.
/// NaN stays NaN.
pub fn normalise(values: &mut [f32], low: f32, high: f32) {
    let width = high - low;
    let is_range = width > 0.0 && width.is_finite();
    for value in values.iter_mut().filter(|v| !v.is_nan()) {
        *value = if is_range { (*value - low) / width } else { 0.5 };
    }
}

/// Each of these columns of rows of `cols` numbers by itself, by its smallest and largest number in the first part.
pub fn by_column<const N: usize>(parts: &mut [&mut Vec<f32>; N], cols: usize, columns: Range<usize>) {
    for j in columns {
        let first = parts[0].iter().skip(j).step_by(cols).filter(|v| v.is_finite());
        let wider = |(low, high): (f32, f32), &v: &f32| (low.min(v), high.max(v));
        let (low, high) = first.fold((f32::INFINITY, f32::NEG_INFINITY), wider);
        for values in parts.iter_mut() {
            values.iter_mut().skip(j).step_by(cols).for_each(|v| normalise(std::slice::from_mut(v), low, high));
        }
    }
}

/// Counts in these columns, by log(1 + x): rare ones are low beside frequent ones, and yet there. The largest of the first part, but for
/// one in a hundred, is 1; or a count of 1, where none is larger.
pub fn by_counts<const N: usize>(parts: &mut [&mut Vec<f32>; N], cols: usize, columns: Range<usize>) {
    for row in parts.iter_mut().flat_map(|values| values.chunks_mut(cols)) {
        row[columns.clone()].iter_mut().for_each(|x| *x = x.ln_1p());
    }
    let rows = parts[0].chunks(cols).flat_map(|row| row[columns.clone()].iter());
    let high = nearly_the_largest(rows).unwrap_or(0.0).max(std::f32::consts::LN_2);
    for row in parts.iter_mut().flat_map(|values| values.chunks_mut(cols)) {
        normalise(&mut row[columns.clone()], 0.0, high);
    }
}

/// Of those that are positive the largest, but for one in a hundred.
fn nearly_the_largest<'a>(values: impl Iterator<Item = &'a f32>) -> Option<f32> {
    let mut some: Vec<f32> = values.copied().filter(|x| x.is_finite() && *x > 0.0).collect();
    some.sort_unstable_by(f32::total_cmp);
    some.len().checked_sub(1 + some.len() / 100).map(|at| some[at])
}

/// The (low, high) for [`normalise`]: the 1st and the 99th percentile, so that one outlier does not turn the rest grey; but (0, 1)
/// where these lie in there, so that pictures keep their greys. NaN and infinities are ignored.
pub fn range(values: &[f32]) -> (f32, f32) {
    let mut finite: Vec<f32> = values.iter().copied().filter(|v| v.is_finite()).collect();
    finite.sort_unstable_by(f32::total_cmp);
    let cut = finite.len() / 100;
    match finite.get(cut).zip(finite.iter().nth_back(cut)) {
        Some((&low, &high)) if low < 0.0 || high > 1.0 => (low, high),
        _ => (0.0, 1.0),
    }
}

/// Pictures of other values than greys on the scale of the first: each column by itself where they are bars of columns far apart,
/// else all on one.
pub fn by_first<const N: usize>(mut pictures: [&mut Vec<f32>; N], shape: Shape) {
    let cols = shape.numbers();
    match is_strip(shape) && are_apart(pictures[0], cols) {
        true => by_column(&mut pictures, cols, 0..cols),
        false => {
            let (low, high) = range(pictures[0]);
            pictures.into_iter().for_each(|values| normalise(values, low, high));
        }
    }
}

/// Whether columns of rows of `cols` numbers lie so far apart, or are of so different sizes, that on one scale most of them would be
/// flat.
pub fn are_apart(rows: &[f32], cols: usize) -> bool {
    const FLAT: f32 = 8.0;
    let extent = |values: &mut dyn Iterator<Item = f32>| {
        let (low, high) =
            values.filter(|v| v.is_finite()).fold((f32::INFINITY, f32::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
        (high - low).max(0.0)
    };
    let mut each: Vec<f32> = (0..cols).map(|j| extent(&mut rows.iter().skip(j).step_by(cols).copied())).collect();
    each.sort_unstable_by(f32::total_cmp);
    extent(&mut rows.iter().copied()) > FLAT * each[cols / 2]
}

/// Makes shares of counts, or of shares, that have different totals, row by row, and puts them on one scale: from 0 to the largest
/// of the first picture, but for one in a hundred of those that are not 0.
pub fn by_share<const N: usize>(mut pictures: [&mut Vec<f32>; N], cols: usize) {
    for row in pictures.iter_mut().flat_map(|values| values.chunks_mut(cols)) {
        let total: f32 = row.iter().filter(|x| x.is_finite()).sum();
        row.iter_mut().for_each(|x| *x /= if total > 0.0 { total } else { 1.0 });
    }
    let high = nearly_the_largest(pictures[0].iter()).unwrap_or(1.0);
    pictures.into_iter().for_each(|values| normalise(values, 0.0, high));
}
