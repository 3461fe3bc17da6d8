//! The moving digits: the same ones each time, whole, and as fast as their velocities say.
use std::collections::BTreeSet;
use vae_gpu::data::moving::{self, SIDE, VELOCITIES};
use vae_gpu::data::{Dataset, Values};

const FRAME: usize = SIDE * SIDE;

fn pixels(data: &Dataset) -> &[u8] {
    match &data.values {
        Values::Bytes(v) => v,
        _ => panic!("frames are bytes"),
    }
}

/// The frame moved by (dx, dy), if no ink leaves it.
fn shifted(frame: &[u8], (dx, dy): (i32, i32)) -> Option<Vec<u8>> {
    let mut out = vec![0u8; FRAME];
    for (i, &ink) in frame.iter().enumerate().filter(|(_, ink)| **ink > 0) {
        let (x, y) = ((i % SIDE) as i32 + dx, (i / SIDE) as i32 + dy);
        if !(0..SIDE as i32).contains(&x) || !(0..SIDE as i32).contains(&y) {
            return None;
        }
        out[y as usize * SIDE + x as usize] = ink;
    }
    Some(out)
}

#[test]
fn every_digit_moves_whole_by_one_of_the_velocities() {
    let mut seen = [0usize; VELOCITIES.len()];
    let test = moving::test();
    assert_eq!((test.rows(), test.cols, test.shape), (2_000, 2 * FRAME, Some((2 * SIDE, SIDE).into())));
    for (i, frames) in pixels(&test).chunks(2 * FRAME).enumerate() {
        let (now, next) = frames.split_at(FRAME);
        let mass = |frame: &[u8]| frame.iter().map(|&b| b as u64).sum::<u64>();
        assert!(mass(now) > 1_000 && mass(now) == mass(next), "example {i}: {} and {}", mass(now), mass(next));
        let by: Vec<usize> =
            (0..VELOCITIES.len()).filter(|&v| shifted(now, VELOCITIES[v]).is_some_and(|s| s == next)).collect();
        assert_eq!(by.len(), 1, "example {i} moves by one of the velocities");
        seen[by[0]] += 1;
    }
    // A wall turns round as many as it takes away: an eighth each, within five standard deviations.
    assert!(seen.iter().all(|&n| (n as f64 - 250.0).abs() < 5.0 * (2_000.0f64 * 7.0 / 64.0).sqrt()), "{seen:?}");
    for (vx, vy) in VELOCITIES {
        let speed = ((vx * vx + vy * vy) as f64).sqrt();
        assert!((2.8..=3.0).contains(&speed), "({vx}, {vy}): {speed} pixels a frame");
    }
}

/// What makes the second frame worth predicting: the same digit is anywhere, and where it stands says little of where
/// it goes.
#[test]
fn digits_stand_everywhere_and_of_every_class() {
    let test = moving::test();
    let mut classes = [0usize; 10];
    test.labels.as_ref().unwrap().iter().for_each(|&l| classes[l as usize] += 1);
    // A tenth each, within five standard deviations.
    assert!(classes.iter().all(|&n| (n as f64 - 200.0).abs() < 5.0 * 180.0f64.sqrt()), "{classes:?}");
    let centres: BTreeSet<(usize, usize)> = pixels(&test)
        .chunks(2 * FRAME)
        .map(|frames| {
            let (mut mass, mut x, mut y) = (0, 0, 0);
            for (i, &b) in frames[..FRAME].iter().enumerate() {
                (mass, x, y) = (mass + b as usize, x + b as usize * (i % SIDE), y + b as usize * (i / SIDE));
            }
            (x / mass, y / mass)
        })
        .collect();
    // 15 × 15 places, and each has about 9 of the examples.
    assert!(centres.len() > 200, "{} places", centres.len());
}

#[test]
fn the_moving_digits_are_the_same_each_time_and_none_comes_twice() {
    let (train, test) = (moving::train(), moving::test());
    assert_eq!(train.rows(), 20_000);
    assert_eq!(pixels(&test), pixels(&moving::test()));
    let one: std::collections::HashSet<&[u8]> =
        pixels(&train).chunks(2 * FRAME).chain(pixels(&test).chunks(2 * FRAME)).collect();
    assert_eq!(one.len(), 22_000);
    assert_ne!(pixels(&train)[..2 * FRAME], pixels(&test)[..2 * FRAME]);
}
