//! KL(q(z|x) ‖ N(0, I)) of a diagonal Gaussian, in nats; Kingma & Welling 2014, appendix B.
use super::reparam::halves;
use super::{Cpu, each_rows};
use crate::arena::View;
use crate::device::Real;
use crate::device::sum;
use crate::tape::Goal;

/// ½ (mu² + exp(logvar) − 1 − logvar); expm1 keeps exp(logvar) − 1 exact near the prior.
#[inline(always)]
fn term<T: Real>(mu: T, logvar: T) -> T {
    T::of(0.5) * (mu * mu + (logvar.exp_m1() - logvar))
}

/// kl[b] = Σ_j term, kl_dim[j] = the mean of the term over the batch.
pub fn forward<T: Real>(cpu: &mut Cpu<T>, kl: View, kl_dim: View, head: View) {
    let (kl, head, latent) = (cpu.live(kl), cpu.live(head), kl_dim.cols);
    let [kl_out, kl_dim_out, head_in] = cpu.split([kl, kl_dim, head]);
    let head_in = &*head_in;
    each_rows(
        kl.rows,
        [(kl_out, kl.stride)],
        #[inline(always)]
        |first, [kl_out]: &mut [&mut [T]; 1]| {
            for (i, kl) in kl_out.chunks_mut(kl.stride).enumerate() {
                let (mu, logvar) = halves(head_in, first + i, head.stride, latent);
                kl[0] = sum(
                    [mu, logvar],
                    #[inline(always)]
                    |[mu, logvar]| term(mu, logvar),
                );
            }
        },
    );
    let scale = T::of(1.0 / head.rows as f64);
    each_rows(
        latent,
        [(&mut kl_dim_out[..latent], 1)],
        #[inline(always)]
        |first, [means]: &mut [&mut [T]; 1]| {
            means.fill(T::of(0.0));
            for row in 0..head.rows {
                let (mu, logvar) = halves(head_in, row, head.stride, latent);
                means.iter_mut().enumerate().for_each(|(j, mean)| *mean += term(mu[first + j], logvar[first + j]));
            }
            means.iter_mut().for_each(|mean| *mean *= scale);
        },
    );
}

/// dmu += s mu, dlogvar += s ½ (exp(logvar) − 1), with s = beta / rows; only in the dimensions whose mean KL is at least
/// the free bits λ, where max(λ, mean kl) moves with it (Kingma et al. 2016, section C.8).
pub fn backward<T: Real>(cpu: &mut Cpu<T>, dhead: View, head: View, kl_dim: View, goal: Goal) {
    let (dhead, head, latent) = (cpu.live(dhead), cpu.live(head), kl_dim.cols);
    let (scale, free_bits) = (T::of(cpu.step.beta / cpu.step.rows as f64), T::of(goal.free_bits));
    let [dhead_out, head_in, kl_dim] = cpu.split([dhead, head, kl_dim]);
    let (head_in, kl_dim) = (&*head_in, &*kl_dim);
    each_rows(
        head.rows,
        [(dhead_out, dhead.stride)],
        #[inline(always)]
        |first, [dhead_out]: &mut [&mut [T]; 1]| {
            for (i, dhead) in dhead_out.chunks_mut(dhead.stride).enumerate() {
                let (mu, logvar) = halves(head_in, first + i, head.stride, latent);
                let (dmu, dlogvar) = dhead.split_at_mut(latent);
                for j in 0..latent {
                    let s = if kl_dim[j] >= free_bits { scale } else { T::of(0.0) };
                    dmu[j] += s * mu[j];
                    dlogvar[j] += s * T::of(0.5) * logvar[j].exp_m1();
                }
            }
        },
    );
}
