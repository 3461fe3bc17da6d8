//! The built-in digits: the same ones each time, balanced, and where MNIST has them.
use vae_gpu::data::{Dataset, Values, digits};

fn pixels(data: &Dataset) -> &[u8] {
    match &data.values {
        Values::Bytes(v) => v,
        _ => panic!("digits are bytes"),
    }
}

#[test]
fn the_built_in_digits_are_the_same_each_time_and_balanced() {
    let (train, test) = (digits::train(), digits::test());
    for (data, rows) in [(&train, 60_000), (&test, 10_000)] {
        assert_eq!((data.rows(), data.cols, data.shape), (rows, 784, Some((28, 28).into())));
        let labels = data.labels.as_ref().unwrap();
        assert_eq!(labels.len(), rows);
        let mut classes = [0usize; 10];
        labels.iter().for_each(|&l| classes[l as usize] += 1);
        // A draw of a tenth each: within five standard deviations.
        let bound = 5.0 * (rows as f64 * 0.09).sqrt();
        assert!(classes.iter().all(|&n| (n as f64 - rows as f64 / 10.0).abs() < bound), "{classes:?}");
        let mean = pixels(data).iter().map(|&b| b as f64 / 255.0).sum::<f64>() / (rows * 784) as f64;
        assert!((mean - 0.13).abs() < 0.01, "the mean grey is MNIST's 0.13 within 0.01: {mean}");
        assert!(pixels(data).chunks(784).all(|p| p.iter().any(|&b| b > 128)), "no picture is blank");
    }
    assert_eq!(pixels(&test), pixels(&digits::test()));
    let pictures: std::collections::HashSet<&[u8]> =
        pixels(&train).chunks(784).chain(pixels(&test).chunks(784)).collect();
    assert_eq!(pictures.len(), 70_000, "no picture comes twice");
}

#[test]
fn the_built_in_digits_lie_in_the_middle() {
    let test = digits::test();
    for picture in pixels(&test).chunks(784) {
        let (mut mass, mut x, mut y) = (0.0, 0.0, 0.0);
        for (i, &b) in picture.iter().enumerate() {
            mass += b as f64;
            x += b as f64 * (i % 28) as f64;
            y += b as f64 * (i / 28) as f64;
        }
        // A shift of at most 0.9 pixels, and pressure moves the centre a little.
        assert!((x / mass - 13.5).abs() < 2.0 && (y / mass - 13.5).abs() < 2.0, "({}, {})", x / mass, y / mass);
    }
}
