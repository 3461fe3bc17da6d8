//! Handwritten digits made up on the spot, so that a first run needs no file: 28 x 28, grey, sized and centred like
//! MNIST. Each picture is a pure function of its index. They stand in for MNIST, and no result on them is one on MNIST.
mod strokes;

use std::f32::consts::PI;

use rayon::prelude::*;

use self::strokes::{HANDS, Hand};
use super::split::hash;
use super::{Dataset, Values};

/// Pixels along each side.
pub(super) const SIDE: usize = 28;
/// Line segments between two points of a stroke.
const STEPS: usize = 5;

/// 60,000 digits to train on.
pub fn train() -> Dataset {
    draw_all("the built-in digits", 60_000, 0)
}

/// 10,000 digits to test on; none is among those of `train`.
pub fn test() -> Dataset {
    draw_all("the built-in test digits", 10_000, 1)
}

fn draw_all(name: &str, n: usize, stream: u64) -> Dataset {
    let mut values = vec![0u8; n * SIDE * SIDE];
    let mut labels = vec![0u8; n];
    values.par_chunks_exact_mut(SIDE * SIDE).zip(&mut labels).enumerate().for_each(|(i, (picture, label))| {
        *label = draw(picture, &mut Rng::new(hash(stream << 32 | i as u64)));
    });
    Dataset {
        labels: Some(labels),
        shape: Some((SIDE, SIDE).into()),
        ..Dataset::new(name, SIDE * SIDE, Values::Bytes(values))
    }
}

/// The k-th number is a hash of (key, k).
pub(super) struct Rng {
    key: u64,
    k: u64,
}

impl Rng {
    pub(super) fn new(key: u64) -> Rng {
        Rng { key, k: 0 }
    }
    pub(super) fn bits(&mut self) -> u64 {
        self.k += 1;
        hash(self.key ^ hash(self.k))
    }
    /// In [0, 1).
    fn uniform(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1 << 24) as f32
    }
    /// Mean 0, variance 1, within +-3.5: the sum of four uniforms. A hand has no long tails.
    fn normal(&mut self) -> f32 {
        let bits = self.bits();
        let sum: u64 = (0..4).map(|i| bits >> (16 * i) & 0xffff).sum();
        (sum as f32 / 65536.0 - 2.0) * 3f32.sqrt()
    }
}

/// A piece of a stroke in pixels, with the radius of the pen at both ends.
struct Segment {
    a: [f32; 3],
    b: [f32; 3],
}

/// Draws one digit and returns which.
pub(super) fn draw(picture: &mut [u8], rng: &mut Rng) -> u8 {
    let digit = (rng.bits() % 10) as usize;
    let hand = choose(HANDS[digit], rng.uniform());
    let points = move_points(hand, digit, rng);

    let mut segments: Vec<Segment> = Vec::with_capacity(64);
    // The pen's radius in pixels: most lines are 2 to 3.5 pixels wide, and pressure varies along them.
    let radius = (1.26 + 0.30 * rng.normal()).clamp(0.75, 2.2);
    let (swing, phase) = (0.12 * rng.normal(), 2.0 * PI * rng.uniform());
    for stroke in hand.strokes {
        trace(&mut segments, &points, stroke, |t| radius * (1.0 + swing * (phase + 4.0 * t).sin()));
    }
    fit(&mut segments, rng);
    paint(picture, &segments);
    digit as u8
}

fn choose(hands: &'static [Hand], mut u: f32) -> &'static Hand {
    for hand in hands {
        u -= hand.weight;
        if u < 0.0 {
            return hand;
        }
    }
    &hands[0]
}

/// The points of a hand, unsteady, then narrowed, bent, slanted and turned.
fn move_points(hand: &Hand, digit: usize, rng: &mut Rng) -> [[f32; 2]; 16] {
    // An oval shows every tremor.
    let unsteady = if digit == 0 { 0.6 } else { 1.0 } * (0.022 + 0.030 * rng.uniform());
    // Zeros and twos are the broad ones.
    let width = if matches!(digit, 0 | 2) { 0.88 } else { 0.78 } * (0.20 * rng.normal()).exp();
    // A 1 leans most: nothing but its slant tells one from another.
    let slant = if digit == 1 { 0.22 + 0.30 * rng.normal() } else { 0.18 + 0.22 * rng.normal() };
    let (sin, cos) = (0.09 * rng.normal()).sin_cos();
    let bend = [0.035 * rng.normal(), 0.030 * rng.normal()];
    let phase = [2.0 * PI * rng.uniform(), 2.0 * PI * rng.uniform()];
    // Upper and lower half differ in size.
    let balance = 0.10 * rng.normal();

    let mut out = [[0.0; 2]; 16];
    for (out, &(x, y)) in out.iter_mut().zip(hand.points) {
        let (x, y) = (x - 0.5 + unsteady * rng.normal(), y - 0.5 + unsteady * rng.normal());
        let (x, y) = (x + bend[0] * (PI * 1.5 * y + phase[0]).sin(), y + bend[1] * (PI * 1.5 * x + phase[1]).sin());
        let x = x * width * (1.0 + 2.0 * balance * y);
        let y = y + balance * (0.25 - y * y);
        let x = x - slant * y;
        *out = [cos * x - sin * y, sin * x + cos * y];
    }
    out
}

/// Appends the Catmull-Rom curve through the points of one stroke. `radius` is a function of the distance along the
/// stroke in points.
fn trace(segments: &mut Vec<Segment>, points: &[[f32; 2]], stroke: &[u8], radius: impl Fn(f32) -> f32) {
    let point = |i: usize| points[stroke[i.min(stroke.len() - 1)] as usize];
    let mut a = [point(0)[0], point(0)[1], radius(0.0)];
    for i in 0..stroke.len() - 1 {
        let (p0, p1, p2, p3) = (point(i.saturating_sub(1)), point(i), point(i + 1), point(i + 2));
        for step in 1..=STEPS {
            let t = step as f32 / STEPS as f32;
            let curve = |k: usize| {
                let (m1, m2) = (0.5 * (p2[k] - p0[k]), 0.5 * (p3[k] - p1[k]));
                let d = p2[k] - p1[k];
                p1[k] + t * (m1 + t * (3.0 * d - 2.0 * m1 - m2 + t * (m1 + m2 - 2.0 * d)))
            };
            let b = [curve(0), curve(1), radius(i as f32 + t)];
            segments.push(Segment { a, b });
            a = b;
        }
    }
}

/// Scales the drawing so that its longer side, ink included, takes about 20 pixels, and puts its centre of mass near
/// the centre of the picture, as MNIST was made (LeCun et al. 1998).
fn fit(segments: &mut [Segment], rng: &mut Rng) {
    let (mut low, mut high) = ([f32::MAX; 2], [f32::MIN; 2]);
    let (mut mass, mut centre) = (1e-6, [0.0; 2]);
    for Segment { a, b } in segments.iter() {
        let length = (b[0] - a[0]).hypot(b[1] - a[1]);
        mass += length;
        for k in 0..2 {
            low[k] = low[k].min(a[k]).min(b[k]);
            high[k] = high[k].max(a[k]).max(b[k]);
            centre[k] += length * 0.5 * (a[k] + b[k]);
        }
    }
    let ink = 2.0 * segments[0].a[2];
    let scale = (20.0 - 0.4 * rng.uniform() - ink) / (high[0] - low[0]).max(high[1] - low[1]);
    let middle = (SIDE - 1) as f32 / 2.0;
    let shift = [0.25 * rng.normal(), 0.25 * rng.normal()];
    for k in 0..2 {
        let by = middle + shift[k] - scale * centre[k] / mass;
        for Segment { a, b } in segments.iter_mut() {
            a[k] = scale * a[k] + by;
            b[k] = scale * b[k] + by;
        }
    }
}

/// Every pixel takes the coverage of the stroke nearest to it, from the distance between its centre and the ink's edge.
fn paint(picture: &mut [u8], segments: &[Segment]) {
    // Half the width in pixels over which the edge fades.
    const SOFT: f32 = 0.65;
    let mut edge = [SOFT; SIDE * SIDE];
    for Segment { a, b } in segments {
        let reach = a[2].max(b[2]) + SOFT;
        let span = |k: usize| {
            let low = (a[k].min(b[k]) - reach).ceil().max(0.0) as usize;
            let high = (a[k].max(b[k]) + reach).floor().min((SIDE - 1) as f32) as usize;
            low..high + 1
        };
        let d = [b[0] - a[0], b[1] - a[1]];
        let per_length = 1.0 / (d[0] * d[0] + d[1] * d[1]).max(1e-9);
        for y in span(1) {
            let ey = y as f32 - a[1];
            for x in span(0) {
                let ex = x as f32 - a[0];
                let t = ((ex * d[0] + ey * d[1]) * per_length).clamp(0.0, 1.0);
                let (fx, fy) = (ex - t * d[0], ey - t * d[1]);
                let distance = (fx * fx + fy * fy).sqrt() - (a[2] + t * (b[2] - a[2]));
                let held = &mut edge[y * SIDE + x];
                *held = held.min(distance);
            }
        }
    }
    for (pixel, distance) in picture.iter_mut().zip(edge) {
        let ink = ((SOFT - distance) / (2.0 * SOFT)).clamp(0.0, 1.0);
        *pixel = (ink * ink * (3.0 - 2.0 * ink) * 255.0).round() as u8;
    }
}
