//! What changes from one step to the next. Planned on the host as a pure function of the step's index, read on a device
//! from its memory: a scalar passed by value would freeze in a captured graph.
use crate::rng;

/// One step of training, or one batch of an evaluation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    pub seed: u64,
    /// Counts from 0. The noise depends on it.
    pub index: u32,
    pub epoch: u32,
    /// Where in the epoch its first example stands.
    pub position: u32,
    /// How many examples this batch has: the last one of an epoch may be smaller.
    pub rows: u32,
    /// Added to a row's number where noise is drawn, so that an evaluation does not depend on its batch size.
    pub first_row: u32,
    /// The row of the metrics ring that this step writes.
    pub slot: u32,
    pub lr: f64,
    /// The weight of the KL in the loss.
    pub beta: f64,
    /// Adam's bias corrections, 1 − beta1ᵗ and 1 − beta2ᵗ.
    pub corrections: (f64, f64),
}

impl Step {
    /// The first `rows` examples, in order, for the seed.
    pub fn batch(seed: u64, rows: usize) -> Step {
        Step {
            seed,
            index: 0,
            epoch: 0,
            position: 0,
            rows: rows as u32,
            first_row: 0,
            slot: 0,
            lr: 0.0,
            beta: 1.0,
            corrections: (1.0, 1.0),
        }
    }

    /// How many 32-bit words a step is in the memory of a device.
    pub const WORDS: usize = 24;

    /// As `struct Step` of kernels/step.cuh lies in memory.
    pub fn words(&self) -> [u32; Step::WORDS] {
        let [k0, k1] = rng::key(self.seed);
        let real = |x: f64| (x as f32).to_bits();
        let mut words = [0; Step::WORDS];
        words[..12].copy_from_slice(&[
            k0,
            k1,
            self.index,
            self.epoch,
            self.position,
            self.rows,
            self.first_row,
            self.slot,
            real(self.lr),
            real(self.beta),
            real(self.corrections.0),
            real(self.corrections.1),
        ]);
        words[12..20].copy_from_slice(&rng::shuffle_keys(self.seed, self.epoch));
        words
    }
}
