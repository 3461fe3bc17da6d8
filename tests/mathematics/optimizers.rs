//! The rules that turn gradients into steps, beside PyTorch's as an independent implementation wrote them down, in f64.
use crate::numbers::{Numbers, assert_close, assert_same, everything};
use std::path::Path;
use vae_gpu::arena::{Layout, View};
use vae_gpu::config::{Optimizer, Rule};
use vae_gpu::device::{Backend, Cpu, Real};
use vae_gpu::step::Step;
use vae_gpu::tensors::Tensors;

const RULES: [(&str, Rule); 5] = [
    ("adam", Rule::Adam),
    ("adamw", Rule::Adamw),
    ("adagrad", Rule::Adagrad),
    ("sgd", Rule::Sgd),
    ("momentum", Rule::Momentum),
];

/// The step that counts from 0, with what the host plans for it.
fn step(index: usize, lr: f64, o: &Optimizer) -> Step {
    let t = index as i32 + 1;
    let corrections = (1.0 - o.betas.0.powi(t), 1.0 - o.betas.1.powi(t));
    Step { index: index as u32, lr, corrections, ..Step::batch(0, 1) }
}

/// The parameters after each step, from the gradients of each.
fn run(w0: &[f64], gradients: &[Vec<f64>], lr: f64, o: &Optimizer) -> Vec<Vec<f64>> {
    let mut layout = Layout::training();
    let w = layout.parameter(1, w0.len());
    let mut cpu = Cpu::<f64>::new(&layout, 1);
    cpu.write(w, w0).unwrap();
    let mut after = vec![];
    for (i, gradient) in gradients.iter().enumerate() {
        cpu.write(layout.d(w), gradient).unwrap();
        cpu.set_step(&step(i, lr, o)).unwrap();
        cpu.update(&layout, o).unwrap();
        after.push(cpu.read(w).unwrap());
    }
    after
}

/// w0, the gradients of each step, and the tensors by rule.
fn golden() -> (Vec<f64>, Vec<Vec<f64>>, Tensors) {
    let file =
        Tensors::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/optimizers.safetensors")).unwrap();
    let w0 = file.tensors["w0"].values.clone();
    let gradients = file.tensors["grads"].values.chunks(w0.len()).map(<[f64]>::to_vec).collect();
    (w0, gradients, file)
}

#[test]
fn every_rule_agrees_with_an_independent_implementation() {
    let (w0, gradients, file) = golden();
    let settings: serde_json::Value = serde_json::from_str(&file.metadata["config"]).unwrap();
    let setting = |name: &str| settings[name].as_f64().unwrap();
    for (name, rule) in RULES {
        let o = Optimizer {
            betas: (settings["betas"][0].as_f64().unwrap(), settings["betas"][1].as_f64().unwrap()),
            eps: setting(if rule == Rule::Adagrad { "adagrad_eps" } else { "eps" }),
            momentum: setting("momentum"),
            // In the file it is adamw's: the others were run without.
            weight_decay: if rule == Rule::Adamw { setting("weight_decay") } else { 0.0 },
            ..Optimizer::new(rule)
        };
        let got = run(&w0, &gradients, setting("lr"), &o);
        assert_eq!(got.len(), 7);
        for (t, (got, want)) in got.iter().zip(file.tensors[name].values.chunks(w0.len())).enumerate() {
            assert_close(&format!("{name} after step {t}"), got, want, 1e-12, 1.0); // a few roundings a step
        }
    }
}

#[test]
fn the_defaults_are_those_of_pytorch() {
    for (name, rule) in RULES {
        let o = Optimizer::new(rule);
        o.check().unwrap();
        let eps = if rule == Rule::Adagrad { 1e-10 } else { 1e-8 };
        let decay = if rule == Rule::Adamw { 0.01 } else { 0.0 };
        assert_eq!(
            (o.lr, o.betas, o.eps, o.weight_decay, o.clip_norm),
            (1e-3, (0.9, 0.999), eps, decay, 0.0),
            "{name}"
        );
    }
}

/// Of adamw it is beside the gradient; of the others, decay · w is part of it.
#[test]
fn weight_decay_is_added_to_the_gradient_but_in_adamw() {
    let (w0, gradients, _) = golden();
    let (decay, lr) = (0.05, 0.01);
    for (name, rule) in RULES {
        let with = Optimizer { weight_decay: decay, ..Optimizer::new(rule) };
        let got = run(&w0, &gradients, lr, &with);
        // The gradients of the same loss with its penalty ½ decay w², along the same path.
        let mut before = &w0;
        let mut penalised = vec![];
        for (gradient, after) in gradients.iter().zip(&got) {
            penalised.push(gradient.iter().zip(before).map(|(g, w)| g + decay * w).collect());
            before = after;
        }
        let without = Optimizer { weight_decay: 0.0, ..with };
        if rule == Rule::Adamw {
            let plain = &run(&w0, &gradients, lr, &without)[0];
            let want: Vec<f64> = plain.iter().zip(&w0).map(|(plain, w)| plain - lr * decay * w).collect();
            assert_close(name, &got[0], &want, 1e-14, 1.0); // one step, one rounding
        } else {
            let want = run(&w0, &penalised, lr, &without);
            assert_close(name, &got.concat(), &want.concat(), 1e-13, 1.0); // as above, seven steps
        }
    }
}

/// Several parameters of odd shapes, so that there is padding between and behind them.
fn odd_layout() -> (Layout, Vec<View>) {
    let mut layout = Layout::training();
    let views = [(3, 5), (1, 3), (33, 17), (1, 33), (1, 1), (300, 129)];
    let views = views.map(|(rows, cols)| layout.parameter(rows, cols)).to_vec();
    (layout, views)
}

#[test]
fn clipping_scales_the_gradient_to_its_global_norm() {
    let (layout, views) = odd_layout();
    let mut numbers = Numbers::new(1);
    let gradients: Vec<Vec<f64>> = views.iter().map(|v| numbers.normals(v.elements())).collect();
    let norm = gradients.iter().flatten().map(|g| g * g).sum::<f64>().sqrt();
    let after = |clip_norm: f64, rule: Rule| {
        let o = Optimizer { clip_norm, ..Optimizer::new(rule) };
        let mut cpu = Cpu::<f64>::new(&layout, 1);
        for (&v, gradient) in views.iter().zip(&gradients) {
            cpu.write(v, &vec![0.5; v.elements()]).unwrap();
            cpu.write(layout.d(v), gradient).unwrap();
        }
        cpu.set_step(&step(0, 1.0, &o)).unwrap();
        cpu.update(&layout, &o).unwrap();
        views.iter().flat_map(|&v| cpu.read(v).unwrap()).collect::<Vec<f64>>()
    };
    for (_, rule) in RULES {
        for loose in [norm * 1.01, 1e9] {
            assert_same(&format!("{rule:?} within {loose}"), &after(loose, rule), &after(0.0, rule));
        }
    }
    for tight in [0.1, 1.0, norm / 2.0] {
        // torch.nn.utils.clip_grad_norm_ divides by the norm + 1e-6
        let scale = tight / (norm + 1e-6);
        let want: Vec<f64> = gradients.iter().flatten().map(|g| 0.5 - scale * g).collect();
        assert_close(&format!("sgd within {tight}"), &after(tight, Rule::Sgd), &want, 1e-12, 1.0); // 40 000 squares
        let length = want.iter().map(|w| (w - 0.5).powi(2)).sum::<f64>().sqrt();
        assert!((length / tight - 1.0).abs() < 1e-6, "a step of length {length} within {tight}"); // the 1e-6 above
    }
}

#[test]
fn padding_stays_zero_under_every_rule() {
    padding_stays_zero::<f64>();
    padding_stays_zero::<f32>();
}

/// As does what never had a gradient, also where eps is 0: then a step of it would be 0 / 0.
fn padding_stays_zero<T: Real>()
where
    Cpu<T>: Backend,
{
    let (layout, views) = odd_layout();
    let mut real = vec![false; layout.total()];
    for &v in &views {
        for at in [v, layout.d(v), layout.moment(v, 0), layout.moment(v, 1)] {
            (0..v.rows).for_each(|row| real[at.at(row, 0)..at.at(row, v.cols)].fill(true));
        }
    }
    let all = RULES.into_iter().flat_map(|(name, rule)| {
        let o = Optimizer { weight_decay: 0.1, clip_norm: 1.0, ..Optimizer::new(rule) };
        [(name, o), (name, Optimizer { eps: 0.0, ..o })]
    });
    for (name, o) in all {
        let mut cpu = Cpu::<T>::new(&layout, 1);
        let mut numbers = Numbers::new(2);
        for &v in &views {
            cpu.write(v, &numbers.normals(v.elements())).unwrap();
        }
        for i in 0..3 {
            for &v in &views {
                cpu.write(layout.d(v), &numbers.normals(v.elements())).unwrap();
            }
            cpu.set_step(&step(i, 0.1, &o)).unwrap();
            cpu.update(&layout, &o).unwrap();
        }
        let memory = cpu.read(everything(&layout)).unwrap();
        let stained = (0..memory.len()).find(|&i| !real[i] && memory[i].to_bits() != 0);
        assert_eq!(stained.map(|i| (i, memory[i])), None, "{name}, eps {}: position and value of a padding", o.eps);
        // A row without a gradient, beside the others.
        let (weight, still) = (views[0], View { rows: 1, ..views[0] });
        let before = cpu.read(still).unwrap();
        for view in [layout.d(weight), layout.moment(weight, 0), layout.moment(weight, 1)] {
            cpu.write(View { rows: 1, ..view }, &vec![0.0; still.cols]).unwrap();
        }
        cpu.update(&layout, &Optimizer { weight_decay: 0.0, ..o }).unwrap();
        assert_eq!(cpu.read(still).unwrap(), before, "{name}, eps {}", o.eps);
    }
}

#[test]
fn the_moments_of_a_gradient_that_ended_become_zero() {
    // They would sink below f32's normal range and stay there, where a CPU is a hundred times slower.
    for (rule, steps) in [(Rule::Adam, 1000), (Rule::Momentum, 1000)] {
        let o = Optimizer::new(rule);
        let mut layout = Layout::training();
        let w = layout.parameter(1, 20);
        let mut cpu = Cpu::<f32>::new(&layout, 1);
        for i in 0..steps {
            cpu.write(layout.d(w), &[if i == 0 { 1e-3 } else { 0.0 }; 20]).unwrap();
            cpu.set_step(&step(i, 1e-3, &o)).unwrap();
            cpu.update(&layout, &o).unwrap();
        }
        assert_eq!(cpu.read(layout.moment(w, 0)).unwrap(), [0.0; 20], "{rule:?}");
    }
}
