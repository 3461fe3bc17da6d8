//! What a model is fitted to: a matrix of examples, from a file or built in.

/// A data set in memory: one row per example.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// Where it came from, for messages.
    pub name: String,
    /// How many numbers one example has.
    pub cols: usize,
    pub values: Values,
    /// One class per example, where the source gives them.
    pub labels: Option<Vec<u8>>,
    /// (height, width) where the examples are pictures.
    pub shape: Option<(usize, usize)>,
}

/// The numbers, row-major, as compact as the source had them.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Stand for byte / 255, in [0, 1].
    Bytes(Vec<u8>),
    Reals(Vec<f32>),
}

impl Dataset {
    /// How many examples there are.
    pub fn rows(&self) -> usize {
        match &self.values {
            Values::Bytes(v) => v.len() / self.cols,
            Values::Reals(v) => v.len() / self.cols,
        }
    }
}
