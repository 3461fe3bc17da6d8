//! Where to look in latent space: draws from the prior and around an example, paths between two, the plane of a
//! two-dimensional model, one latent at a time. Numbers in, numbers out; it knows no model and no device.
use crate::rng::{self, Stream};

/// What the noise of a draw is for: the place of the step in the counter of [`Stream::Sample`].
const PRIOR: u32 = 0;
const NEAR: u32 = 1;

/// z ~ N(0, T² I): draw i depends on the seed and i alone.                                    (count, latent)
pub fn prior(count: usize, latent: usize, temperature: f64, seed: u64) -> Vec<f32> {
    let mut z = vec![0f32; count * latent];
    for (row, z) in z.chunks_mut(latent).enumerate() {
        rng::normals(z, seed, Stream::Sample, PRIOR, row as u32);
        z.iter_mut().for_each(|z| *z *= temperature as f32);
    }
    z
}

/// z = mu + T exp(logvar / 2) eps, `each` for every row of `head`, which is `[mu | logvar]`. Draw i depends on the seed
/// and i alone.                                                                       (rows · each, latent)
pub fn near(head: &[f32], latent: usize, each: usize, temperature: f64, seed: u64) -> Vec<f32> {
    let mut out = vec![0f32; head.len() / (2 * latent) * each * latent];
    for (i, z) in out.chunks_mut(latent).enumerate() {
        let (mu, logvar) = head[i / each * 2 * latent..][..2 * latent].split_at(latent);
        rng::normals(z, seed, Stream::Sample, NEAR, i as u32);
        for (j, z) in z.iter_mut().enumerate() {
            *z = mu[j] + temperature as f32 * (0.5 * logvar[j]).exp() * *z;
        }
    }
    out
}

/// Each row `times` times, one after the other, of rows of `width` numbers.
pub(crate) fn repeated(rows: &[f32], width: usize, times: usize) -> Vec<f32> {
    rows.chunks(width.max(1)).flat_map(|row| row.repeat(times)).collect()
}

/// The left halves of `[mu | logvar]`.                                                          (rows, latent)
pub fn means(head: &[f32], latent: usize) -> Vec<f32> {
    head.chunks(2 * latent).flat_map(|row| &row[..latent]).copied().collect()
}

/// Of each dimension, the mean over the rows of ½ (mu² + exp(logvar) − 1 − logvar), in nats.
pub fn kl_per_dim(head: &[f32], latent: usize) -> Vec<f64> {
    let mut kl = vec![0.0; latent];
    for row in head.chunks(2 * latent) {
        for (j, kl) in kl.iter_mut().enumerate() {
            let (mu, logvar) = (row[j] as f64, row[latent + j] as f64);
            *kl += 0.5 * (mu * mu + logvar.exp_m1() - logvar);
        }
    }
    let rows = head.len() / (2 * latent);
    kl.iter_mut().for_each(|kl| *kl /= rows as f64);
    kl
}

/// How to go from one z to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// (1 − t) a + t b
    Line,
    /// [sin((1 − t) ω) a + sin(t ω) b] / sin ω, with ω the angle between a and b: Shoemake 1985, "Animating rotation
    /// with quaternion curves". Draws from the prior in many dimensions lie near a sphere, and so does this path (White
    /// 2016, "Sampling generative networks"). Where a and b are parallel, or one is zero, there is no arc: the line.
    Arc,
}

impl Path {
    /// `steps` points with equal distances in t, both ends included and exact.               (steps, latent)
    ///
    /// # Panics
    /// If there are fewer than two steps, or the ends differ in length.
    pub fn between(self, a: &[f32], b: &[f32], steps: usize) -> Vec<f32> {
        assert!(steps >= 2 && a.len() == b.len(), "{steps} steps between {} and {} numbers", a.len(), b.len());
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| a as f64 * b as f64).sum::<f64>();
        let angle = (dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()).clamp(-1.0, 1.0).acos();
        let weights = |t: f64| match self {
            // 1e-4: below it, sin ω has lost half of the digits, and the arc is the line to 1e-9.
            Path::Arc if angle.sin() > 1e-4 => {
                (((1.0 - t) * angle).sin() / angle.sin(), (t * angle).sin() / angle.sin())
            }
            _ => (1.0 - t, t),
        };
        let point = |i: usize| match i {
            0 => a.to_vec(),
            _ if i == steps - 1 => b.to_vec(),
            _ => {
                let (u, v) = weights(i as f64 / (steps - 1) as f64);
                a.iter().zip(b).map(|(&a, &b)| (u * a as f64 + v * b as f64) as f32).collect()
            }
        };
        (0..steps).flat_map(point).collect()
    }
}

/// The plane of two latents under equal masses of the prior, the others zero: a `side` × `side` grid on the unit square
/// through the inverse of the normal distribution (Kingma & Welling 2014, figure 4). Row by row as it is looked at:
/// `dims.0` rises to the right, `dims.1` upwards. The points are the middles of the cells, (i + ½) / side.
///                                                                                      (side², latent)
pub fn manifold(side: usize, dims: (usize, usize), latent: usize) -> Vec<f32> {
    let at = |i: usize| normal_quantile((i as f64 + 0.5) / side as f64) as f32;
    let mut out = vec![0f32; side * side * latent];
    for (i, z) in out.chunks_mut(latent).enumerate() {
        z[dims.0] = at(i % side);
        z[dims.1] = at(side - 1 - i / side);
    }
    out
}

/// `around`, with one of its numbers at a time replaced by `steps` values from −extent to extent: a row of points for
/// each of `dims`.                                                                 (dims · steps, latent)
///
/// # Panics
/// If there are fewer than two steps.
pub fn traverse(around: &[f32], dims: &[usize], extent: f64, steps: usize) -> Vec<f32> {
    assert!(steps >= 2, "{steps} steps have no two ends");
    let value = |i: usize| (extent * (2.0 * i as f64 / (steps - 1) as f64 - 1.0)) as f32;
    let mut out = around.repeat(dims.len() * steps);
    for (i, z) in out.chunks_mut(around.len()).enumerate() {
        z[dims[i / steps]] = value(i % steps);
    }
    out
}

/// The x below which N(0, 1) has the mass p: algorithm AS 241, PPND16 (Wichura 1988, "The percentage points of the normal
/// distribution"), accurate to about 1e-16 relative. ∓∞ at 0 and 1, NaN outside.
pub fn normal_quantile(p: f64) -> f64 {
    // Of the numerator and the denominator, lowest power first.
    let ratio = |r: f64, above: [f64; 8], below: [f64; 8]| {
        let horner = |c: [f64; 8]| c.iter().rev().fold(0.0, |sum, c| sum * r + c);
        horner(above) / horner(below)
    };
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        return q * ratio(0.180625 - q * q, CENTRE.0, CENTRE.1);
    }
    let tail = if q < 0.0 { p } else { 1.0 - p };
    if tail == 0.0 {
        return f64::INFINITY.copysign(q);
    }
    let r = (-tail.ln()).sqrt(); // NaN outside of [0, 1]
    let x = if r <= 5.0 { ratio(r - 1.6, NEAR_TAIL.0, NEAR_TAIL.1) } else { ratio(r - 5.0, FAR_TAIL.0, FAR_TAIL.1) };
    x.copysign(q)
}

type Ratio = ([f64; 8], [f64; 8]);

#[rustfmt::skip]
#[allow(clippy::excessive_precision)] // as the paper prints them
const CENTRE: Ratio = (
    [3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3, 1.3731693765509461125e4,
     4.5921953931549871457e4, 6.7265770927008700853e4, 3.3430575583588128105e4, 2.5090809287301226727e3],
    [1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3,
     2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4, 5.2264952788528545610e3],
);
#[rustfmt::skip]
#[allow(clippy::excessive_precision)]
const NEAR_TAIL: Ratio = (
    [1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0, 3.64784832476320460504e0,
     1.27045825245236838258e0, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4],
    [1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
     1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9],
);
#[rustfmt::skip]
#[allow(clippy::excessive_precision)]
const FAR_TAIL: Ratio = (
    [6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0, 2.96560571828504891230e-1,
     2.65321895265761230930e-2, 1.24266094738807843860e-3, 2.71155556874348757815e-5, 2.01033439929228813265e-7],
    [1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
     7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7, 2.04426310338993978564e-15],
);
