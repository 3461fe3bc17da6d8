//! z = mu + exp(logvar / 2) eps, eps ~ N(0, I); Kingma & Welling 2014, section 2.4.
use super::{Cpu, each_rows};
use crate::arena::View;
use crate::config::{Gradient, Objective};
use crate::device::Real;
use crate::device::sum;
use crate::rng::{self, Stream};
use crate::step::Step;
use crate::tape::Goal;

/// eps of rows: drawn, or as given.
struct Noise<'a, T> {
    step: Step,
    samples: usize,
    given: Option<(&'a [T], usize)>,
}

impl<T: Real> Noise<'_, T> {
    /// For `rows` of `cols` columns from row b·K + k = `first` on. An evaluation's rows are numbered through all its batches.
    #[inline(always)]
    fn of_rows(&self, first: usize, rows: usize, cols: usize) -> Vec<T> {
        let mut eps = vec![T::of(0.0); rows * cols];
        match self.given {
            Some((given, stride)) => {
                for (eps, given) in eps.chunks_mut(cols).zip(given[first * stride..].chunks(stride)) {
                    eps.copy_from_slice(&given[..cols]);
                }
            }
            None => {
                let first = self.step.first_row.wrapping_mul(self.samples as u32).wrapping_add(first as u32);
                rng::normals_of_rows(&mut eps, cols, self.step.seed, Stream::Noise, self.step.index, first);
            }
        }
        eps
    }
}

/// Also ratio = log q(z|x) − log p(z) = ½ Σ (z² − logvar − eps²): the constants of the two normals cancel.
pub fn forward<T: Real>(cpu: &mut Cpu<T>, z: View, ratio: View, head: View, eps: Option<View>) {
    let samples = z.rows / head.rows;
    let (step, z, ratio, head) = (cpu.step, cpu.live(z), cpu.live(ratio), cpu.live(head));
    let given = eps.unwrap_or(View { rows: 0, offset: 0, ..z });
    let [z_out, ratio_out, head_in, given_in] = cpu.split([z, ratio, head, given]);
    let noise = Noise { step, samples, given: eps.map(|v| (&*given_in, v.stride)) };
    let (head_in, latent) = (&*head_in, z.cols);
    let matrices = [(z_out, samples * z.stride), (ratio_out, samples * ratio.stride)];
    each_rows(
        head.rows,
        matrices,
        #[inline(always)]
        |first, [z_out, ratio_out]: &mut [&mut [T]; 2]| {
            let all = noise.of_rows(first * samples, z_out.len().div_ceil(z.stride), latent);
            let rows = z_out.chunks_mut(z.stride).zip(ratio_out.chunks_mut(ratio.stride));
            for (i, (z, ratio)) in rows.enumerate() {
                let (row, eps) = (first * samples + i, &all[i * latent..][..latent]);
                let (mu, logvar) = halves(head_in, row / samples, head.stride, latent);
                for j in 0..latent {
                    z[j] = mu[j] + (T::of(0.5) * logvar[j]).exp() * eps[j];
                }
                ratio[0] = T::of(0.5) * sum([&z[..latent], logvar, eps], |[z, logvar, eps]| z * z - logvar - eps * eps);
            }
        },
    );
}

/// dmu = Σ_k dz, dlogvar = Σ_k dz ½ exp(logvar / 2) eps. Where the objective holds `ratio`, with d loss / d ratio = w
/// beta: its z gives w beta z to dz, its logvar −½ w beta to dlogvar, and its eps is a constant.
///
/// Of the path alone mu and logvar are constants of log q(z|x): it gives w beta (z − eps / sigma) to dz, and nothing else. Of iwae each
/// draw then counts once more by its share of the weights (Tucker et al. 2019, equation 8).
pub fn backward<T: Real>(
    cpu: &mut Cpu<T>,
    dhead: View,
    dz: View,
    z: View,
    head: View,
    eps: Option<View>,
    weight: View,
    goal: Goal,
) {
    let samples = z.rows / head.rows;
    let (dhead, dz, z, head, weight) = (cpu.live(dhead), cpu.live(dz), cpu.live(z), cpu.live(head), cpu.live(weight));
    let step = cpu.step;
    let beta = T::of(match goal.objective {
        Objective::Elbo => 0.0,
        Objective::ElboMc => step.beta,
        Objective::Iwae => 1.0, // its bound has no beta, whatever the step says
    });
    let path = goal.gradient == Gradient::Path;
    // d loss / d nll of a draw is this part of its share.
    let examples = (path && goal.objective == Objective::Iwae).then(|| T::of(step.rows as f64));
    let given = eps.unwrap_or(View { rows: 0, offset: 0, ..z });
    let [dhead_out, dz, z_in, head_in, weight_in, given_in] = cpu.split([dhead, dz, z, head, weight, given]);
    let noise = Noise { step, samples, given: eps.map(|v| (&*given_in, v.stride)) };
    let (dz, z_in, head_in, weight_in, latent) = (&*dz, &*z_in, &*head_in, &*weight_in, z.cols);
    each_rows(
        head.rows,
        [(dhead_out, dhead.stride)],
        #[inline(always)]
        |first, [dhead_out]: &mut [&mut [T]; 1]| {
            let all = noise.of_rows(first * samples, dhead_out.len().div_ceil(dhead.stride) * samples, latent);
            for (i, dhead) in dhead_out.chunks_mut(dhead.stride).enumerate() {
                let (_, logvar) = halves(head_in, first + i, head.stride, latent);
                let (dmu, dlogvar) = dhead.split_at_mut(latent);
                dmu.fill(T::of(0.0));
                dlogvar[..latent].fill(T::of(0.0));
                for k in i * samples..(i + 1) * samples {
                    let (row, eps) = (first * samples + k, &all[k * latent..][..latent]);
                    let weight = weight_in[row * weight.stride];
                    let (w, at) = (weight * beta, row * z.stride);
                    if path {
                        let share = examples.map_or(T::of(1.0), |examples| weight * examples);
                        for j in 0..latent {
                            let sigma = (T::of(0.5) * logvar[j]).exp();
                            let dz = share * (dz[at + j] + w * (z_in[at + j] - eps[j] / sigma));
                            dmu[j] += dz;
                            dlogvar[j] += T::of(0.5) * dz * sigma * eps[j];
                        }
                        continue;
                    }
                    for j in 0..latent {
                        let dz = dz[at + j] + w * z_in[at + j];
                        dmu[j] += dz;
                        dlogvar[j] += T::of(0.5) * (dz * (T::of(0.5) * logvar[j]).exp() * eps[j] - w);
                    }
                }
            }
        },
    );
}

/// (mu, logvar) of an example.
#[inline(always)]
pub fn halves<T>(head: &[T], row: usize, stride: usize, latent: usize) -> (&[T], &[T]) {
    head[row * stride..row * stride + 2 * latent].split_at(latent)
}
