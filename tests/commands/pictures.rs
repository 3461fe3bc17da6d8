//! What is drawn: pixels read back by the png crate, SVG taken apart by a strict little reader of its own.
use crate::program::{folder, run};
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use vae_gpu::data::Shape;
use vae_gpu::plot::curves::{self, Panel, Point, Series, TRAINING};
use vae_gpu::plot::{BACKGROUND, GAP, bars, grid};

struct Picture {
    width: usize,
    height: usize,
    pixels: Vec<u8>, // (height, width, channels)
}

fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("vae-gpu-pictures-{}-{name}", std::process::id()))
}

fn draw(name: &str, tiles: &[f32], shape: impl Into<Shape>, columns: usize) -> Picture {
    let (path, shape) = (scratch(name), shape.into());
    grid::write_png(&path, tiles, shape, columns).unwrap();
    let (picture, colour) = read(&path);
    fs::remove_file(path).unwrap();
    assert_eq!(colour, if shape.channels == 1 { png::ColorType::Grayscale } else { png::ColorType::Rgb });
    picture
}

fn read(path: &Path) -> (Picture, png::ColorType) {
    let mut reader = png::Decoder::new(BufReader::new(File::open(path).unwrap())).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!(info.bit_depth, png::BitDepth::Eight);
    (Picture { width: info.width as usize, height: info.height as usize, pixels }, info.color_type)
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
fn a_coloured_grid_has_every_colour_at_its_place() {
    let shape = Shape { height: 2, width: 33, channels: 3 };
    let value = |i: usize| (i * 7 % 256) as u8;
    let tiles: Vec<f32> = (0..3 * 2 * 33 * 3).map(|i| value(i) as f32 / 255.0).collect(); // (3, 2 x 33 x 3), in 2 columns
    let picture = draw("colours", &tiles, shape, 2);
    let (height, width) = (2 + GAP, 33 + GAP);
    assert_eq!((picture.height, picture.width), (2 * height + GAP, 2 * width + GAP));
    for (i, &got) in picture.pixels.iter().enumerate() {
        let (y, x, c) = (i / 3 / picture.width, i / 3 % picture.width, i % 3);
        let tile = y / height * 2 + x / width;
        let separator = y % height < GAP || x % width < GAP || tile == 3;
        let at = |y: usize, x: usize| ((tile * 2 + y) * 33 + x) * 3 + c;
        let want = if separator { BACKGROUND } else { value(at(y % height - GAP, x % width - GAP)) };
        assert_eq!(got, want, "pixel ({y}, {x}), colour {c}");
    }
    assert_eq!(grid::shape_for(198, Some(shape)), shape);
    assert_eq!(grid::shape_for(66, Some(shape)), (1, 66).into(), "three numbers a pixel");
    let large = Shape { height: 28, width: 28, channels: 3 };
    assert_eq!(draw("large", &vec![0.5; large.numbers()], large, 1).height, 2 * 28 + 2 * GAP);
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
fn rows_of_a_table_are_tiles_of_bars() {
    let shape = grid::shape_for(30, None);
    assert_eq!((shape, grid::columns_for(5, shape), grid::columns_for(32, shape)), ((1, 30).into(), 2, 4));
    assert_eq!(grid::columns_of_stacks(32, 2, shape), 5, "pairs are higher, and more of them stand in a row");
    let rows: Vec<f32> = (0..3 * 30).map(|i| (i % 30) as f32 / 29.0).collect();
    let picture = draw("bars", &rows, shape, 2);
    assert_eq!((picture.height, picture.width), (2 * (bars::HEIGHT + GAP) + GAP, 2 * (30 * 5 + GAP) + GAP));
    let at = |y: usize, x: usize| picture.pixels[y * picture.width + x];
    // The first number is 0 and the last 1; of the fourth tile there is none.
    let (bottom, second) = (GAP + bars::HEIGHT - 1, 2 * GAP + 150);
    assert_eq!((at(bottom, GAP), at(bottom - 5, GAP), at(GAP, GAP + 29 * 5)), (bars::TOP, bars::PAPER, bars::TOP));
    assert_eq!((at(bottom, second), at(bottom - 5, second + 15 * 5)), (bars::TOP, bars::BAR_GREY));
    assert_eq!(at(bottom + GAP + bars::HEIGHT, second), BACKGROUND);
    let wide = draw("wide", &[0.0; 3000], grid::shape_for(3000, None), 1);
    assert_eq!((wide.height, wide.width), (bars::HEIGHT + 2 * GAP, 640 + 2 * GAP));
}

#[test]
fn columns_far_apart_are_told_from_those_of_one_scale() {
    let series: Vec<f32> = (0..20 * 24).map(|i| (i % 24) as f32 / 4.0 + (i * 37 % 11) as f32).collect();
    assert!(!grid::are_apart(&series, 24));
    let table: Vec<f32> = (0..20).flat_map(|i| [i as f32, 170.0 + i as f32, 0.01 * i as f32]).collect();
    assert!(grid::are_apart(&table, 3));
    let constant: Vec<f32> = (0..20).flat_map(|_| [1.0, 1.0]).collect();
    assert!(!grid::are_apart(&constant, 2));
}

/// How high each of `cols` bars of a tile is, in pixels.
fn heights(picture: &Picture, tile: usize, cols: usize) -> Vec<usize> {
    let width = bars::width(cols, 1);
    let (across, each) = ((picture.width - GAP) / (width + GAP), width / cols);
    let (top, left) = (GAP + tile / across * (bars::HEIGHT + GAP), GAP + tile % across * (width + GAP));
    let height = |j: usize| {
        let is_bar = |y: &usize| picture.pixels[(top + y) * picture.width + left + j * each + 1] != bars::PAPER;
        (0..bars::HEIGHT).filter(is_bar).count()
    };
    (0..cols).map(height).collect()
}

/// The scale of a few rows is no other than that of many: they look alike where they are.
#[test]
fn rows_that_are_alike_look_alike() {
    let home = folder("pictures-alike");
    // Counts with means of about 10, 3, 0.3, and one that is hardly ever counted; the same as numbers, and beside a flag.
    let count = |i: usize| [8 + i * 7 % 5, 2 + i * 5 % 3, i.is_multiple_of(3) as usize, (i == 7) as usize];
    let line = |i: usize| count(i).map(|x| x.to_string()).join(",");
    let write = |name: &str, title: &str, line: &dyn Fn(usize) -> String| {
        fs::write(home.join(name), format!("{title}\n{}\n", (0..60).map(line).collect::<Vec<_>>().join("\n"))).unwrap();
    };
    write("x.csv", "a,b,c,d", &line);
    write("mixed.csv", "a,b,c,d,flag", &|i| format!("{},{}", line(i), i % 2));
    fs::write(home.join("z.csv"), "mu0\n0\n0.01\n-0.01\n").unwrap();
    let tiles = |data: &str, how: &str| {
        let train =
            format!("train --data {data} {how} --hidden 4 --latent 1 --batch 20 --steps 100 --device cpu --quiet");
        run(&home, &format!("{train} --out run --force")).succeeded();
        run(&home, "decode run --data z.csv --to z.png --force --device cpu --quiet").succeeded();
        let (picture, _) = read(&home.join("z.png"));
        let tiles = [0, 1, 2].map(|tile| heights(&picture, tile, 4 + (data == "mixed.csv") as usize));
        for (a, b) in tiles[0].iter().zip(&tiles[1]).chain(tiles[0].iter().zip(&tiles[2])) {
            assert!(a.abs_diff(*b) <= 1, "{how}: {tiles:?}");
        }
        tiles[0].clone()
    };
    let counts = tiles("x.csv", "--likelihood poisson");
    assert!(counts[0] > counts[1] && counts[1] > counts[2] && counts[2] > counts[3], "{counts:?}");
    assert!(counts[0] >= bars::HEIGHT - 3 && counts[3] <= 4, "{counts:?}");
    // Means lie in the middle of what there may be.
    for of in tiles("x.csv", "--likelihood gaussian --scale standard") {
        assert!(of.abs_diff(bars::HEIGHT / 2) < bars::HEIGHT / 4, "{of}");
    }
    tiles("x.csv", "--likelihood gaussian --scale minmax");
    let mixed = tiles("mixed.csv", "--likelihood gaussian --scale standard --poisson a,b,c,d --bernoulli flag");
    assert!(mixed[3] <= 6 && mixed[4].abs_diff(bars::HEIGHT / 2) < bars::HEIGHT / 4, "{mixed:?}");
}

#[test]
fn shapes_are_the_known_one_or_a_square_or_a_strip() {
    assert_eq!(grid::shape_for(784, None), (28, 28).into());
    assert_eq!(grid::shape_for(560, Some((28, 20).into())), (28, 20).into());
    assert_eq!(grid::shape_for(64, Some((28, 20).into())), (8, 8).into(), "a shape that does not fit is not used");
    assert_eq!(grid::shape_for(16, None), (4, 4).into());
    assert_eq!(grid::shape_for(4, None), (1, 4).into(), "four columns of a table are no picture");
    assert_eq!(grid::shape_for(1, None), (1, 1).into());
    assert_eq!(grid::shape_for(17, None), (1, 17).into());
}

#[test]
fn default_columns_make_a_square_or_whole_rows() {
    let columns = [0, 1, 2, 3, 10, 17, 20, 64, 100].map(|count| grid::columns_for(count, (28, 28).into()));
    assert_eq!(columns, [1, 1, 2, 3, 5, 6, 5, 8, 10]);
    assert_eq!(grid::columns_for(16, (28, 7).into()), 8, "narrow tiles: more of them in a row");
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
    let (tiles, columns) = grid::interleave(&[0.0; 4], &[1.0; 4], 4, 8);
    let picture = draw("below", &tiles, (2, 2), columns);
    let cell = 64 + GAP;
    assert_eq!(picture.height, 2 * cell + GAP);
    let at = |y: usize, x: usize| picture.pixels[y * picture.width + x];
    assert_eq!((at(GAP, GAP), at(cell + GAP, GAP)), (0, 255));
}

#[test]
fn any_number_of_parts_can_stand_under_each_other() {
    let (tiles, columns) = grid::stack(&[&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0], &[7.0, 8.0, 9.0]], 1, 2);
    let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    let want = [1.0, 2.0, 4.0, 5.0, 7.0, 8.0, 3.0, f32::NAN, 6.0, f32::NAN, 9.0, f32::NAN];
    assert_eq!((bits(&tiles), columns), (bits(&want), 2));
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
    // A mean that a Gaussian draws beyond white does not make the others greyer.
    let mut grey: Vec<f32> = (0..200).map(|i| i as f32 / 199.0).collect();
    (grey[0], grey[7]) = (-0.1, 1.2);
    assert_eq!(grid::range(&grey), (0.0, 1.0));
}

#[test]
fn no_examples_are_an_error_that_names_the_file() {
    let error = grid::write_png(Path::new("nowhere/samples.png"), &[], (28, 28).into(), 8).unwrap_err();
    assert_eq!(error.to_string(), "cannot write nowhere/samples.png: there are no examples to draw");
}

type Attributes = Vec<(String, String)>;

/// All elements, after checking that every tag is closed by its own name under one root, that attributes are quoted
/// and finite, and that nothing stands unescaped.
fn elements(svg: &str) -> Vec<(String, Attributes)> {
    let (mut found, mut open) = (Vec::new(), Vec::new());
    let mut rest = svg.trim();
    while let Some(start) = rest.find('<') {
        let text = &rest[..start];
        assert!(!text.contains('>') && well_escaped(text), "text {text:?}");
        assert!(!open.is_empty() || found.is_empty(), "a second root: {rest:?}");
        let end = start + rest[start..].find('>').expect("a tag that ends");
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "closing tag");
            continue;
        }
        let (tag, closed) = tag.strip_suffix('/').map_or((tag, false), |t| (t, true));
        let (name, mut list) = tag.split_once(' ').unwrap_or((tag, ""));
        let mut attributes = Attributes::new();
        while !list.trim().is_empty() {
            let (key, value) = list.trim_start().split_once("=\"").expect("a quoted attribute");
            let (value, after) = value.split_once('"').expect("a closing quote");
            assert!(well_escaped(value) && !value.contains("NaN") && !value.contains("inf"), "{name} {key}={value}");
            attributes.push((key.to_string(), value.to_string()));
            list = after;
        }
        if !closed {
            open.push(name.to_string());
        }
        found.push((name.to_string(), attributes));
    }
    assert!(open.is_empty() && rest.is_empty(), "left open: {open:?} {rest:?}");
    found
}

fn well_escaped(text: &str) -> bool {
    text.split('&').skip(1).all(|t| ["amp;", "lt;", "gt;", "quot;"].iter().any(|e| t.starts_with(e)))
        && !text.contains(|c: char| c.is_control() && c != '\n')
}

const ONE: [Panel; 1] = [Panel { title: "elbo", unit: "nats per example" }];

fn one_line(points: Vec<(f64, f64)>) -> String {
    curves::svg("a run", &ONE, &[Series { name: "train", panel: 0, points }])
}

/// The points of every line, in pixels.
fn lines(svg: &str) -> Vec<Vec<(f64, f64)>> {
    let value = |a: &Attributes, key: &str| a.iter().find(|(k, _)| k == key).map_or("", |(_, v)| v).to_string();
    let point = |text: &str| text.split_once(' ').map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap())).unwrap();
    elements(svg)
        .iter()
        .filter(|(name, a)| name == "path" && value(a, "class").starts_with("line"))
        .map(|(_, a)| value(a, "d"))
        .filter(|d| !d.contains('h')) // the legend's
        .map(|d| d[1..].split('L').map(point).collect())
        .collect()
}

fn dots(svg: &str) -> usize {
    elements(svg).iter().filter(|(name, _)| name == "circle").count()
}

#[test]
fn curves_of_a_training_have_three_panels_a_legend_and_both_themes() {
    let at = |step: u64| Point { step, elbo: -100.0 - 1e4 / step as f64, nll: 75.0 + 1e4 / step as f64, kl: 25.0 };
    let train: Vec<Point> = (1..301).map(|i| at(i * 100)).collect();
    let valid: Vec<Point> = (1..5).map(|i| at(i * 7500)).collect();
    let series = curves::training(&train, &valid);
    let svg = curves::svg("digits", &TRAINING, &series);
    assert_eq!(lines(&svg).iter().map(Vec::len).collect::<Vec<_>>(), [300, 4, 300, 4, 300, 4]);
    assert_eq!(dots(&svg), 12);
    let texts = [
        ">digits<",
        ">elbo<",
        ">nll<",
        ">kl<",
        ">train<",
        ">valid<",
        ">step<",
        ">nats per example<",
        ">30k<",
        ">\u{2212}",
    ];
    for text in texts {
        assert!(svg.contains(text), "{text}");
    }
    assert!(svg.contains("@media (prefers-color-scheme:dark)"));

    let path = scratch("curves.svg");
    curves::write(&path, "digits", &TRAINING, &series).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), svg);
    fs::remove_file(path).unwrap();
}

#[test]
fn few_points_or_none_are_still_a_picture() {
    let none = curves::svg("", &TRAINING, &curves::training(&[], &[]));
    assert_eq!((lines(&none).len(), dots(&none)), (0, 0));
    assert_eq!(none.matches("nothing recorded yet").count(), 3);
    let one = one_line(vec![(1.0, -543.0)]);
    assert_eq!((lines(&one).len(), dots(&one)), (0, 1));
    assert_eq!(lines(&one_line(vec![(1.0, 0.0), (2.0, 0.0)])).len(), 1);
    elements(&curves::svg("no panel", &[], &[]));
    let astray = Series { name: "train", panel: 7, points: vec![(1.0, 1.0), (2.0, 2.0)] };
    assert_eq!(lines(&curves::svg("a panel that is not there", &ONE, &[astray])).len(), 0);
}

#[test]
fn what_is_not_finite_is_led_past() {
    let (nan, inf) = (f64::NAN, f64::INFINITY);
    let svg = one_line(vec![(1.0, -3.0), (2.0, nan), (3.0, -inf), (4.0, -2.0), (nan, -1.0), (5.0, f64::MAX)]);
    assert_eq!(lines(&svg)[0].len(), 2);
    assert_eq!(lines(&one_line(vec![(1.0, nan); 5])).len(), 0);
}

#[test]
fn long_lines_keep_their_ends_and_every_spike() {
    let mut points: Vec<(f64, f64)> = (0..100_000).map(|i| (i as f64, (i % 10) as f64)).collect();
    points[54_321].1 = 15.0;
    let line = &lines(&one_line(points))[0];
    assert!((900..=1000).contains(&line.len()), "{} points", line.len());
    assert!(line.is_sorted_by(|a, b| a.0 <= b.0));
    let ends = &lines(&one_line(vec![(0.0, 0.0), (99_999.0, 9.0)]))[0];
    assert_eq!((line[0].0, line[line.len() - 1].0), (ends[0].0, ends[1].0));
    let top = line.iter().map(|p| p.1).fold(f64::INFINITY, f64::min);
    assert_eq!(line.iter().filter(|p| p.1 == top).count(), 1, "one point stands above all others");
}

#[test]
fn a_huge_first_value_does_not_flatten_the_rest() {
    for count in [5, 50, 2000] {
        let mut points: Vec<(f64, f64)> = (0..count).map(|i| (i as f64, i as f64 / count as f64)).collect();
        points[0].1 = -1e12;
        let svg = one_line(points);
        assert!(svg.contains(">1 point cut off<"));
        let rest = lines(&svg)[0][1..].iter().fold((f64::MIN, f64::MAX), |(b, t), p| (p.1.max(b), p.1.min(t)));
        assert!(rest.0 - rest.1 > 200.0, "{count} points: the others take {} of 240 pixels", rest.0 - rest.1);
    }
}

#[test]
fn a_curve_without_outliers_is_drawn_whole() {
    for count in [2, 10, 300] {
        let curve = |of: fn(f64) -> f64| (0..count).map(|i| (i as f64, of(i as f64 / count as f64))).collect();
        assert!(!one_line(curve(|t| 80.0 - 3.0 * t)).contains("cut off"));
        assert!(!one_line(curve(|t| if t == 0.0 { 5.0 } else { 0.0 })).contains("cut off"));
        assert!(!one_line(curve(|t| 25.0 * (1.0 - (-5.0 * t).exp()))).contains("cut off"));
    }
    // Few points near each other between where it began and where it ended: that it ended there is what it tells.
    let few = one_line(vec![(0.0, 10.60), (1.0, 11.26), (2.0, 11.19), (3.0, 11.28), (4.0, 11.95)]);
    assert!(!few.contains("cut off"));
}

#[test]
fn ticks_are_round_numbers_as_short_as_they_can_be() {
    let labels = |low: f64, high: f64, last: f64| -> Vec<String> {
        let svg = one_line(vec![(0.0, low), (last, high)]);
        let texts = svg.split("<text").skip(1).filter_map(|t| t.split(['>', '<']).nth(1).map(str::to_string));
        texts.filter(|t| t.starts_with(|c: char| c.is_ascii_digit() || c == '\u{2212}')).collect()
    };
    let cases: [(f64, f64, f64, &[&str]); 6] = [
        (-160.0, -100.0, 3000.0, &["\u{2212}160", "\u{2212}110", "0", "500", "3000"]),
        (0.0, 1.0, 30_000.0, &["0.2", "5k", "30k"]),
        (-1.0, 1.0, 1_200_000.0, &["\u{2212}0.5", "0", "0.2M", "1.2M"]),
        (0.0, 1e-6, 2.0, &["2.0e\u{2212}7", "1", "2"]),
        (0.0, 3e20, 1.0, &["1.0e20", "0", "1"]),
        (-12345.0, -12344.0, 7.0, &["\u{2212}12345.0", "7"]),
    ];
    for (low, high, last, wanted) in cases {
        let found = labels(low, high, last);
        for want in wanted {
            assert!(found.iter().any(|f| f == want), "{want} is not in {found:?}");
        }
        assert!(found.len() <= 20 && found.iter().all(|f| f.chars().count() <= 9), "{found:?}");
    }
}

#[test]
fn titles_are_escaped() {
    let svg = curves::svg("a < b & \"c\" > \u{1b}[31m", &ONE, &[]);
    elements(&svg);
    assert!(svg.contains("<title>a &lt; b &amp; &quot;c&quot; &gt;  [31m</title>"));
    let long = curves::svg(&"é".repeat(200), &ONE, &[]);
    assert!(long.contains(&format!(">{}…</text>", "é".repeat(72))));
}

/// What came of each picture stands behind the name of its file.
#[test]
fn rows_of_a_folder_of_pictures_have_the_names_of_their_files() {
    let home = folder("pictures-names");
    fs::create_dir(home.join("faces")).unwrap();
    let names = ["10.png", "9.png", "anne, too.png", "zoë.png"];
    for (i, name) in names.iter().enumerate() {
        let tile: Vec<f32> = (0..12).map(|j| (5 * i + j) as f32 / 30.0).collect();
        grid::write_png(&home.join("faces").join(name), &tile, Shape::from((3, 4)), 1).unwrap();
    }
    let small = "--steps 3 --hidden 3 --latent 2 --device cpu --quiet";
    run(&home, &format!("train --data faces {small} --out run")).succeeded();
    let first = |file: &str| {
        let mut table = csv::Reader::from_path(home.join(file)).unwrap();
        assert_eq!(table.headers().unwrap().get(0), Some("file"), "{file}");
        table.records().map(|row| row.unwrap()[0].to_string()).collect::<Vec<_>>()
    };
    for (line, file) in [
        ("encode run --data faces", "z.csv"),
        ("reconstruct run --data faces --count 3", "x.csv"),
        ("eval run --data faces", "eval.csv"),
    ] {
        run(&home, &format!("{line} --to {file} --device cpu")).succeeded();
    }
    assert_eq!(first("z.csv"), names);
    assert_eq!(first("x.csv"), names[..3]);
    assert_eq!(first("eval.csv"), names);
    // They go on with the rows.
    run(&home, "decode run --data z.csv --to decoded.csv --device cpu").succeeded();
    assert_eq!(first("decoded.csv"), names);
    run(&home, "encode run --data faces --keep file --to no.csv --device cpu")
        .refused(2, "keep file: faces is no text that can be read a second time; leave it out");
    // Pictures of a run among them would be of another size.
    run(&home, &format!("train --data faces {small} --out ./faces --force"))
        .refused(2, "out ./faces: is the folder of the data; pass another --out, as runs/faces");
}
