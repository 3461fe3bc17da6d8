//! What a step must cost whatever runs it: its arithmetic, the bytes that a kernel for each matrix product moves, and
//! the time below which neither, nor the launches, can be pushed. Pure functions of the model; measures nothing.
use crate::config::{Model, Numbers, Optimizer, Rule};

/// A matrix product of the forward pass: y (rows, out) = x (rows, inputs) weightᵀ.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Layer {
    rows: f64,
    inputs: f64,
    out: f64,
    /// Whether x is the data: one byte a number, and no gradient.
    data: bool,
}

/// Encoder, `[mu | logvar]`, decoder, in the order that data flows. The decoder has K rows for each example.
fn layers(m: &Model, batch: usize) -> Vec<Layer> {
    let heads = if m.second_head().is_some() { 2 } else { 1 };
    let encoder = [&[m.columns()], &m.hidden[..], &[2 * m.latent]].concat();
    let back: Vec<usize> = m.hidden.iter().rev().copied().collect();
    let decoder = [&[m.latent + m.condition], &back[..], &[heads * m.input]].concat();
    let chain = |widths: &[usize], rows: usize, data: bool| -> Vec<Layer> {
        let layer = |(i, w): (usize, &[usize])| Layer {
            rows: rows as f64,
            inputs: w[0] as f64,
            out: w[1] as f64,
            data: data && i == 0,
        };
        widths.windows(2).enumerate().map(layer).collect()
    };
    [chain(&encoder, batch, true), chain(&decoder, batch * m.samples, false)].concat()
}

/// How many numbers are trained, padding not counted.
pub fn parameters(m: &Model) -> f64 {
    layers(m, 1).iter().map(|l| l.inputs * l.out + l.out).sum()
}

/// The floating-point operations of a step, of matrix products alone:
///
/// ```text
/// forward  2BE + 2BkD
/// dW       2BE + 2BkD
/// dX       2B(E − W1) + 2BkD        no gradient with respect to the data
/// ```
///
/// with E and D the weights of encoder and decoder, W1 those of the first layer, k samples. A multiplication and an
/// addition are two. The optimiser's 15 to 20 a parameter, and the nonlinearities, are left out.
pub fn flops(m: &Model, batch: usize) -> f64 {
    let product = |l: &Layer| 2.0 * l.rows * l.inputs * l.out;
    layers(m, batch).iter().map(|l| if l.data { 2.0 } else { 3.0 } * product(l)).sum()
}

/// Bytes of a number that is stored, and of an operand of a matrix product.
fn widths(numbers: Numbers) -> (f64, f64) {
    match numbers {
        Numbers::F64 => (8.0, 8.0),
        Numbers::Fp32 | Numbers::Tf32 => (4.0, 4.0),
        Numbers::Bf16 => (4.0, 2.0),
    }
}

/// How many numbers a rule remembers for each parameter.
fn moments(rule: Rule) -> f64 {
    match rule {
        Rule::Sgd => 0.0,
        Rule::Momentum | Rule::Adagrad => 1.0,
        Rule::Adam | Rule::Adamw => 2.0,
    }
}

/// Bytes of the optimiser: weight, gradient and moments are read, weight and moments written; and in bf16 the copy of
/// the weight.
pub fn optimizer_bytes(m: &Model, optimizer: &Optimizer, numbers: Numbers) -> f64 {
    let (stored, operand) = widths(numbers);
    let moved = (3.0 + 2.0 * moments(optimizer.rule)) * stored;
    parameters(m) * if operand < stored { moved + operand } else { moved }
}

/// Bytes of a step with one kernel for each matrix product and everything else fused into them, n rows:
///
/// ```text
/// forward  x, weight, y      a (n·in + in·out + n·out)
/// dW       dy, x, dweight    a (n·out + n·in) + s·in·out
/// dX       dy, weight, dx    a (n·out + in·out + n·in)
/// ```
///
/// a the bytes of an operand, s of a number that is stored; the data is one byte a number. With the optimiser's.
pub fn bytes(m: &Model, batch: usize, optimizer: &Optimizer, numbers: Numbers) -> f64 {
    let (stored, a) = widths(numbers);
    let layer = |l: &Layer| {
        let (x, y, w) = (l.rows * l.inputs, l.rows * l.out, l.inputs * l.out);
        let x = if l.data { x } else { a * x };
        let backward = if l.data { 0.0 } else { a * (y + w) + x };
        (x + a * (w + y)) + (a * y + x + stored * w) + backward
    };
    layers(m, batch).iter().map(layer).sum::<f64>() + optimizer_bytes(m, optimizer, numbers)
}

/// Bytes that one step comes back to: parameters, gradients and moments, and every activation with its gradient.
pub fn working_set(m: &Model, batch: usize, optimizer: &Optimizer, numbers: Numbers) -> f64 {
    let (stored, a) = widths(numbers);
    let state = (2.0 + moments(optimizer.rule)) * stored + if a < stored { a } else { 0.0 };
    let outputs: f64 = layers(m, batch).iter().map(|l| 2.0 * a * l.rows * l.out).sum();
    parameters(m) * state + outputs + (batch * m.input) as f64
}

/// The three times of a step, in microseconds. None shortens the others; the longest is the floor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Floor {
    /// The arithmetic, at the rate of a large product in the same precision, or on a CPU of multiply-adds alone.
    pub product: f64,
    /// The bytes, at the rate of a copy with the same working set.
    pub memory: f64,
    /// The launches, each as long as one that does nothing. 0 where nothing is launched.
    pub launches: f64,
}

impl Floor {
    pub fn us(&self) -> f64 {
        self.product.max(self.memory).max(self.launches)
    }
    /// Which of the three it is.
    pub fn by(&self) -> &'static str {
        match self.us() {
            us if us == self.product => "product",
            us if us == self.memory => "memory",
            _ => "launches",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aevb() -> Model {
        Model::new(784, &[500], 20)
    }
    fn iwae(samples: usize) -> Model {
        Model { samples, ..Model::new(784, &[200, 200], 50) }
    }
    fn wide() -> Model {
        Model::new(4096, &[4096, 4096], 256)
    }

    fn near(got: f64, want: f64, relative: f64, what: &str) {
        assert!((got - want).abs() <= relative * want, "{what}: got {got}, want {want}");
    }

    #[test]
    fn flops_of_the_smallest_model_are_counted_by_hand() {
        // 3-2-1: 3→2 and 2→2 in the encoder, 1→2 and 2→3 in the decoder, 4 examples, 5 samples.
        let m = Model { samples: 5, ..Model::new(3, &[2], 1) };
        let encoder = 2 * 4 * (3 * 2) * 2 + 2 * 4 * (2 * 2) * 3;
        let decoder = 2 * 20 * (2 + 2 * 3) * 3;
        assert_eq!(flops(&m, 4), (encoder + decoder) as f64);
        assert_eq!(parameters(&m), (3 * 2 + 2 + 2 * 2 + 2 + 2 + 2 + 2 * 3 + 3) as f64);
    }

    /// The numbers of the design, worked out apart from this code, as far as their digits go.
    #[test]
    fn flops_and_bytes_are_those_of_the_design() {
        let adam = Optimizer::new(Rule::Adam);
        for (name, m, batch, p, gflop, mb) in [
            ("aevb 100", aevb(), 100, 0.816e6, 0.410, 32.1),
            ("aevb 128", aevb(), 128, 0.816e6, 0.525, 32.6),
            ("aevb 1024", aevb(), 1024, 0.816e6, 4.20, 49.3),
            ("aevb 8192", aevb(), 8192, 0.816e6, 33.6, 183.0),
            ("aevb 65536", aevb(), 65536, 0.816e6, 268.7, 1251.0),
            ("iwae 1", iwae(1), 20, 0.425e6, 0.0446, 16.2),
            ("iwae 5", iwae(5), 20, 0.425e6, 0.1438, 17.0),
            ("iwae 50", iwae(50), 20, 0.425e6, 1.26, 25.8),
            ("wide", wide(), 8192, 70.3e6, 3178.0, 4600.0),
        ] {
            near(parameters(&m), p, 0.002, name);
            near(flops(&m, batch) / 1e9, gflop, 0.003, name);
            // Its table reads dy of the first layer once more than its formulas, which are ours, say.
            let more = (2 * batch * m.hidden[0]) as f64;
            near((bytes(&m, batch, &adam, Numbers::Bf16) + more) / 1e6, mb, 0.012, name);
            near(optimizer_bytes(&m, &adam, Numbers::Bf16), 30.0 * p, 0.002, name);
        }
    }

    /// 3-1: one layer 3→2 in the encoder (mu and logvar), one 1→3 in the decoder, 4 examples.
    #[test]
    fn bytes_of_a_linear_model_are_counted_by_hand() {
        let (m, sgd) = (Model::new(3, &[], 1), Optimizer::new(Rule::Sgd));
        let first = (12 + 4 * (6 + 8)) + (4 * 8 + 12 + 4 * 6);
        let last = 4 * (4 + 3 + 12) + 4 * (12 + 4 + 3) + 4 * (12 + 3 + 4);
        let parameters = 6 + 2 + 3 + 3;
        assert_eq!(bytes(&m, 4, &sgd, Numbers::Fp32), (first + last + 12 * parameters) as f64);
        assert_eq!(working_set(&m, 4, &sgd, Numbers::Fp32), (8 * parameters + 8 * (8 + 12) + 12) as f64);
    }

    #[test]
    fn a_second_head_of_the_decoder_is_counted() {
        use crate::config::{Likelihood, Variance};
        let one = Model { likelihood: Likelihood::Gaussian, ..Model::new(7, &[5], 2) };
        let two = Model { variance: Variance::Network, ..one.clone() };
        assert_eq!(flops(&two, 3) - flops(&one, 3), (6 * 3 * 5 * 7) as f64);
    }

    #[test]
    fn the_floor_is_the_longest_of_the_three() {
        let floor = Floor { product: 1.0, memory: 3.0, launches: 2.0 };
        assert_eq!((floor.us(), floor.by()), (3.0, "memory"));
        assert_eq!(Floor { launches: 4.0, ..floor }.by(), "launches");
    }
}
