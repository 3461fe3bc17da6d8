//! The bound on log p(x) of each example, the loss, and the weight of each sample in it.
use super::Cpu;
use crate::arena::View;
use crate::config::Objective;
use crate::device::Real;
use crate::tape::Goal;

/// With K samples an example, r = ratio = log q(z|x) − log p(z):
///
/// ```text
/// elbo     (1/K) Σ_k −nll_k − beta kl                 weight 1/K      Kingma & Welling 2014, estimator B
/// elbo-mc  (1/K) Σ_k (−nll_k − beta r_k)              weight 1/K      estimator A
/// iwae     log (1/K) Σ_k exp(−nll_k − r_k)            weight softmax  Burda et al. 2016, equation 8
/// ```
///
/// The loss is −mean bound; with free bits λ it is mean nll + beta Σ_j max(λ, mean kl_j). The weight is divided by the
/// number of examples: it is d loss / d nll of the sample.
pub fn forward<T: Real>(
    cpu: &mut Cpu<T>,
    bound: View,
    weight: View,
    metrics: View,
    nll: View,
    kl: View,
    kl_dim: View,
    ratio: View,
    goal: Goal,
) {
    let samples = nll.rows / kl.rows;
    let step = cpu.step;
    let (rows, beta) = (step.rows as usize, step.beta);
    let (bound, weight, nll, kl) = (cpu.live(bound), cpu.live(weight), cpu.live(nll), cpu.live(kl));
    let ratio = cpu.live(ratio);
    let slot = metrics.slice(step.slot as usize..step.slot as usize + 1);
    let [bound_out, weight_out, slot, nll_in, kl_in, kl_dim_in, ratio_in] =
        cpu.split([bound, weight, slot, nll, kl, kl_dim, ratio]);

    // In f64: a few numbers a row, and the mean of many rows.
    let (mut bounds, mut nlls, mut kls) = (0.0, 0.0, 0.0);
    let k = samples as f64;
    for b in 0..rows {
        let nll = |s: usize| nll_in[(b * samples + s) * nll.stride].to_f64();
        let ratio = |s: usize| ratio_in[(b * samples + s) * ratio.stride].to_f64();
        let kl = kl_in[b * kl.stride].to_f64();
        let mean_nll = (0..samples).map(nll).sum::<f64>() / k;
        let mut set_weight = |s: usize, w: f64| weight_out[(b * samples + s) * weight.stride] = T::of(w / rows as f64);
        let value = match goal.objective {
            Objective::Elbo => {
                (0..samples).for_each(|s| set_weight(s, 1.0 / k));
                -mean_nll - beta * kl
            }
            Objective::ElboMc => {
                (0..samples).for_each(|s| set_weight(s, 1.0 / k));
                -mean_nll - beta * (0..samples).map(ratio).sum::<f64>() / k
            }
            Objective::Iwae => {
                let log_weight = |s| -nll(s) - ratio(s);
                // log-sum-exp about the largest, so that nothing overflows; a NaN stays one
                let top = (0..samples).map(log_weight).fold(f64::NEG_INFINITY, |a, b| if a > b { a } else { b });
                let total: f64 = (0..samples).map(|s| (log_weight(s) - top).exp()).sum();
                // What is 1e-20 of the bound moves no parameter, but would make numbers too small for f32's normal range
                // of all that is multiplied by it, and those are a hundred times slower on a CPU.
                let share = |s| match (log_weight(s) - top).exp() / total {
                    w if w < 1e-20 => 0.0,
                    w => w, // a NaN too
                };
                (0..samples).for_each(|s| set_weight(s, share(s)));
                top + (total / k).ln()
            }
        };
        bound_out[b * bound.stride] = T::of(value);
        bounds += value;
        nlls += mean_nll;
        kls += kl;
    }
    let n = rows as f64;
    let loss = match goal.objective {
        Objective::Elbo => {
            let dims = kl_dim_in[..kl_dim.cols].iter().map(|kl| kl.to_f64());
            // A NaN must not vanish in the maximum.
            nlls / n + beta * dims.map(|kl| if kl < goal.free_bits { goal.free_bits } else { kl }).sum::<f64>()
        }
        _ => -bounds / n,
    };
    let values = [loss, nlls / n, kls / n];
    let bad = !values.iter().all(|v| v.is_finite());
    slot[..4].copy_from_slice(&[values[0], values[1], values[2], bad as u8 as f64].map(T::of));
    cpu.halted |= if bad { super::LOSS } else { 0 };
}
