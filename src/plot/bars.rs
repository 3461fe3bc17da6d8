//! Rows of numbers that are no pictures, as tiles of a grid: a bar for each number, or where they are many and narrow the line
//! along their tops.
use super::{BACKGROUND, GAP, ROW};

/// Pixels from 0 to 1.
pub const HEIGHT: usize = 48;
/// A tile of few numbers is about this wide, in pixels; one of many at most that.
const WIDTHS: (usize, usize) = (160, 640);
/// A bar is at most this wide, with the gap behind it; from the other width on it has one.
const BAR: usize = 16;
const APART: usize = 4;

/// The greys of paper, of a bar, and of its top.
pub const PAPER: u8 = 255;
pub const BAR_GREY: u8 = 168;
pub const TOP: u8 = 24;
/// Pixels of the top of a bar.
const THICK: usize = 2;

/// How wide the tile of so many numbers is, in pixels, where `columns` stand in a row.
pub fn width(numbers: usize, columns: usize) -> usize {
    let natural = (WIDTHS.0 / numbers).clamp(1, BAR) * numbers;
    natural.min(WIDTHS.1).min((ROW / columns).saturating_sub(GAP)).max(1)
}

/// The tile, (HEIGHT, width), of numbers in [0, 1]; what lies outside is clamped, and in place of NaN is [`BACKGROUND`].
pub fn tile(values: &[f32], width: usize) -> Vec<u8> {
    let mut pixels = vec![PAPER; HEIGHT * width];
    let each = width / values.len();
    let level = |v: f32| (v.clamp(0.0, 1.0) * (HEIGHT - THICK) as f32).round() as usize;
    let mut last: Option<usize> = None;
    for x in 0..width {
        // The numbers that this pixel stands for: one, or several where there are more than pixels.
        let (from, to) = (x * values.len() / width, ((x + 1) * values.len() / width).max(x * values.len() / width + 1));
        let known = || values[from..to].iter().filter(|v| !v.is_nan()).map(|&v| level(v));
        let (Some(low), Some(high)) = (known().min(), known().max()) else {
            (0..HEIGHT).for_each(|y| pixels[y * width + x] = BACKGROUND);
            last = None;
            continue;
        };
        if each >= APART && x % each == each - 1 {
            last = None;
            continue; // paper between two bars
        }
        // Along narrow bars a line leads from the last top to this one.
        let joined = last.filter(|_| each < APART);
        let (bottom, top) =
            (joined.map_or(low, |at| low.min(at + 1)), joined.map_or(high, |at| high.max(at.max(1) - 1)));
        for up in 0..top + THICK {
            pixels[(HEIGHT - 1 - up) * width + x] = if up < bottom { BAR_GREY } else { TOP };
        }
        last = Some(if joined.is_some_and(|at| at > high) { low } else { high });
    }
    pixels
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pixel `up` from the bottom.
    fn at(tile: &[u8], width: usize, x: usize, up: usize) -> u8 {
        tile[(HEIGHT - 1 - up) * width + x]
    }

    #[test]
    fn a_bar_is_as_high_as_its_number() {
        let values = [0.0, 1.0, 0.5, f32::NAN, 7.0];
        let width = width(values.len(), 1);
        assert_eq!(width, 5 * BAR);
        let tile = tile(&values, width);
        for (i, (up, grey)) in [
            (THICK, PAPER), // of 0 the top alone is seen
            (HEIGHT - 1, TOP),
            (HEIGHT / 2 - 2, BAR_GREY),
            (HEIGHT / 2, TOP),
            (HEIGHT / 2 + 2, PAPER),
        ]
        .into_iter()
        .enumerate()
        {
            let column = [0, 1, 2, 2, 2][i];
            assert_eq!(at(&tile, width, column * BAR + 3, up), grey, "{i}");
        }
        assert_eq!(at(&tile, width, 3, 0), TOP);
        assert!((0..HEIGHT).all(|up| at(&tile, width, 3 * BAR, up) == BACKGROUND), "missing");
        assert_eq!(at(&tile, width, 4 * BAR, HEIGHT - 1), TOP, "held within");
        assert!((0..HEIGHT).all(|up| at(&tile, width, 2 * BAR - 1, up) == PAPER), "paper between two bars");
    }

    #[test]
    fn many_numbers_are_a_line_without_holes() {
        let values: Vec<f32> = (0..3000).map(|i| 0.5 + 0.5 * (i as f32 / 200.0).sin()).collect();
        let width = width(values.len(), 1);
        assert_eq!(width, WIDTHS.1);
        let tile = tile(&values, width);
        let tops: Vec<(usize, usize)> = (0..width)
            .map(|x| {
                let dark: Vec<usize> = (0..HEIGHT).filter(|&up| at(&tile, width, x, up) == TOP).collect();
                (dark[0], dark[dark.len() - 1])
            })
            .collect();
        assert!(tops.iter().any(|t| t.1 == HEIGHT - 1) && tops.iter().any(|t| t.0 == 0));
        assert!(tops.windows(2).all(|two| two[0].0 <= two[1].1 + 1 && two[1].0 <= two[0].1 + 1), "{tops:?}");
        // A peak that is narrower than a pixel is seen.
        let mut spike = vec![0.0; 3000];
        spike[1234] = 1.0;
        let tile = super::tile(&spike, width);
        assert_eq!(at(&tile, width, 1234 * width / 3000, HEIGHT - 1), TOP);
    }

    #[test]
    fn a_row_of_tiles_has_a_width_that_can_be_looked_at() {
        for (numbers, columns, want) in
            [(1, 1, 16), (4, 8, 64), (10, 4, 160), (24, 4, 144), (160, 1, 160), (300, 2, 300), (9000, 1, 640)]
        {
            assert_eq!(width(numbers, columns), want, "{numbers}, {columns}");
        }
        assert!(width(300, 100) * 100 < ROW && width(300, 10_000) == 1);
    }
}
