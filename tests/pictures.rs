//! What is drawn: pixels read back by the png crate.
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use vae_gpu::plot::grid::{self, BACKGROUND, GAP};

struct Picture {
    width: usize,
    height: usize,
    pixels: Vec<u8>, // (height, width)
}

fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("vae-gpu-pictures-{}-{name}", std::process::id()))
}

fn draw(name: &str, tiles: &[f32], shape: (usize, usize), columns: usize) -> Picture {
    let path = scratch(name);
    grid::write_png(&path, tiles, shape, columns).unwrap();
    let mut reader = png::Decoder::new(BufReader::new(File::open(&path).unwrap())).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    fs::remove_file(path).unwrap();
    assert_eq!((info.color_type, info.bit_depth), (png::ColorType::Grayscale, png::BitDepth::Eight));
    Picture { width: info.width as usize, height: info.height as usize, pixels }
}

#[test]
fn a_grid_has_every_value_at_its_place_and_lines_between_the_tiles() {
    let value = |tile: usize, y: usize, x: usize| ((tile * 784 + y * 28 + x) * 7 % 256) as u8;
    let tiles: Vec<f32> = (0..3 * 784).map(|i| value(0, 0, i) as f32 / 255.0).collect(); // (3, 784), in 2 columns
    let picture = draw("places", &tiles, (28, 28), 2);
    let cell = 2 * 28 + GAP;
    assert_eq!((picture.height, picture.width), (2 * cell + GAP, 2 * cell + GAP));
    for (i, &got) in picture.pixels.iter().enumerate() {
        let (y, x) = (i / picture.width, i % picture.width);
        let tile = y / cell * 2 + x / cell;
        let separator = y % cell < GAP || x % cell < GAP || tile == 3;
        let want = if separator { BACKGROUND } else { value(tile, (y % cell - GAP) / 2, (x % cell - GAP) / 2) };
        assert_eq!(got, want, "pixel ({y}, {x})");
    }
}

#[test]
fn values_outside_are_clamped_and_nan_is_background() {
    let tile = [-3.0, 7.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.5];
    let picture = draw("clamped", &tile, (2, 3), 1);
    let factor = 64 / 3; // the longer side within 64 pixels
    assert_eq!((picture.height, picture.width), (2 * factor + 2 * GAP, 3 * factor + 2 * GAP));
    let corner = |y: usize, x: usize| picture.pixels[(GAP + y * factor) * picture.width + GAP + x * factor];
    let greys: Vec<u8> = (0..6).map(|i| corner(i / 3, i % 3)).collect();
    assert_eq!(greys, [0, 255, BACKGROUND, 255, 0, 128]);
}

#[test]
fn fewer_tiles_than_columns_leave_nothing_empty() {
    let picture = draw("single", &[1.0; 300 * 17], (300, 17), 8);
    assert_eq!((picture.height, picture.width), (300 + 2 * GAP, 17 + 2 * GAP));
}

#[test]
fn rows_of_a_table_are_strips_of_visible_cells() {
    let shape = grid::shape_for(30, None);
    assert_eq!((shape, grid::columns_for(5, shape)), ((1, 30), 1));
    let picture = draw("strips", &[0.0; 5 * 30], shape, 1);
    assert_eq!((picture.height, picture.width), (5 * (16 + GAP) + GAP, 30 * 16 + 2 * GAP));
    let wide = draw("wide", &[0.0; 3000], grid::shape_for(3000, None), 1);
    assert_eq!((wide.height, wide.width), (8 + 2 * GAP, 3000 + 2 * GAP));
}

#[test]
fn shapes_are_the_known_one_or_a_square_or_a_strip() {
    assert_eq!(grid::shape_for(784, None), (28, 28));
    assert_eq!(grid::shape_for(560, Some((28, 20))), (28, 20));
    assert_eq!(grid::shape_for(64, Some((28, 20))), (8, 8), "a shape that does not fit is not used");
    assert_eq!(grid::shape_for(16, None), (4, 4));
    assert_eq!(grid::shape_for(4, None), (1, 4), "four columns of a table are no picture");
    assert_eq!(grid::shape_for(1, None), (1, 1));
    assert_eq!(grid::shape_for(17, None), (1, 17));
}

#[test]
fn default_columns_make_a_square_or_whole_rows() {
    let columns = [0, 1, 2, 3, 10, 17, 20, 64, 100].map(|count| grid::columns_for(count, (28, 28)));
    assert_eq!(columns, [1, 1, 2, 3, 5, 6, 5, 8, 10]);
    assert_eq!(grid::columns_for(16, (28, 7)), 8, "narrow tiles: more of them in a row");
}

#[test]
fn reconstructions_stand_under_their_originals() {
    let originals: Vec<f32> = (0..10).map(|v| v as f32).collect(); // (5, 2)
    let reconstructions: Vec<f32> = originals.iter().map(|v| v + 100.0).collect();
    let (tiles, columns) = grid::interleave(&originals, &reconstructions, 2, 3);
    assert_eq!(columns, 3);
    let nan = f32::NAN;
    let want = [
        [0.0, 1.0, 2.0, 3.0, 4.0, 5.0],
        [100.0, 101.0, 102.0, 103.0, 104.0, 105.0],
        [6.0, 7.0, 8.0, 9.0, nan, nan],
        [106.0, 107.0, 108.0, 109.0, nan, nan],
    ];
    let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&tiles), bits(want.as_flattened()));
    assert!(grid::interleave(&[], &[], 2, 3).0.is_empty());
}

#[test]
fn one_original_in_a_grid_of_eight_columns_still_has_its_reconstruction_below() {
    let (tiles, columns) = grid::interleave(&[0.0], &[1.0], 1, 8);
    let picture = draw("below", &tiles, (1, 1), columns);
    let cell = 64 + GAP;
    assert_eq!(picture.height, 2 * cell + GAP);
    let at = |y: usize, x: usize| picture.pixels[y * picture.width + x];
    assert_eq!((at(GAP, GAP), at(cell + GAP, GAP)), (0, 255));
}

#[test]
fn normalising_maps_the_range_to_grey_and_keeps_nan() {
    let mut values = [-2.0, 0.0, 2.0, f32::NAN];
    grid::normalise(&mut values, -2.0, 2.0);
    assert_eq!(values[..3], [0.0, 0.5, 1.0]);
    assert!(values[3].is_nan());
    let mut constant = [7.0, 7.0, f32::INFINITY];
    grid::normalise(&mut constant, 7.0, 7.0);
    assert_eq!(constant, [0.5; 3]);

    assert_eq!(grid::range(&[0.2, 0.4, f32::NAN]), (0.0, 1.0), "pictures keep their greys");
    assert_eq!(grid::range(&[]), (0.0, 1.0));
    let mut outlier: Vec<f32> = (0..200).map(|i| i as f32).collect();
    outlier[0] = 1e9;
    assert_eq!(grid::range(&outlier), (3.0, 198.0));
}

#[test]
fn no_examples_are_an_error_that_names_the_file() {
    let error = grid::write_png(Path::new("nowhere/samples.png"), &[], (28, 28), 8).unwrap_err();
    assert_eq!(error.to_string(), "cannot write nowhere/samples.png: there are no examples to draw");
}
