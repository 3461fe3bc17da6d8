//! What makes a step of training shorter and can be left out.
use clap::ValueEnum;

/// A way to a shorter step that a bench can leave out, to measure what it gives. The numbers mean the same with and
/// without; sums may differ in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shortcut {
    /// cuBLAS for large products: else our own kernels multiply everything.
    Library,
    /// Products in f32 by tensor cores, each number as two of tf32: else by the cores for f32.
    Split,
    /// In bf16, factors of our own products from their copies in bf16: else from f32, rounded when they are multiplied. And
    /// relu's gradient of thousands of rows as that copy alone.
    Copies,
    /// The gradients that cuBLAS makes of the weights, and sums over rows, beside the rest of the backward pass: else one
    /// after the other.
    Branch,
    /// Adam in the launch that makes the gradients: else they are stored, and read by a launch of their own.
    Update,
    /// A Bernoulli's value and gradient in the launch of the product that makes its logits: else in one of their own.
    Nll,
    /// The latent variables, forward and backward, in the launch of the layer behind them: else in one of their own.
    Latent,
}

impl Shortcut {
    /// As the command line has it.
    pub fn name(self) -> String {
        self.to_possible_value().expect("none is hidden").get_name().into()
    }
}
