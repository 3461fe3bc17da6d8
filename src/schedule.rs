//! How the learning rate and beta go along the steps: pure functions of the step's index, so that a resumed run needs
//! no more than the index.
use crate::config::Optimizer;
use crate::error::at_least_one;
use crate::step::Step;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The course of the learning rate, as a factor of `--lr`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Schedule {
    Constant,
    /// Times `factor` after every `epochs` epochs.
    Step {
        epochs: u32,
        factor: f64,
    },
    /// Half a cosine, from 1 to 0 over the whole training (Loshchilov & Hutter 2017, without restarts).
    Cosine,
    /// 10^(−i/7) for 3^i epochs, i = 0 to 7: 3,280 epochs in all (Burda et al. 2016, section 5). Then the last.
    Iwae,
}

impl Schedule {
    fn factor(self, index: u32, steps_per_epoch: u32, total: u32) -> f64 {
        let epoch = index / steps_per_epoch;
        match self {
            Schedule::Constant => 1.0,
            Schedule::Step { epochs, factor } => factor.powi((epoch / epochs) as i32),
            Schedule::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * index as f64 / total as f64).cos()),
            Schedule::Iwae => {
                // Stage i begins after (3^i − 1) / 2 epochs.
                let stage = (0..=7).rev().find(|&i| epoch >= (3u32.pow(i) - 1) / 2).unwrap_or(0);
                10f64.powf(-(stage as f64) / 7.0)
            }
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Schedule::Constant => f.write_str("constant"),
            Schedule::Step { epochs, factor } => write!(f, "step:{epochs}:{factor}"),
            Schedule::Cosine => f.write_str("cosine"),
            Schedule::Iwae => f.write_str("iwae"),
        }
    }
}

impl FromStr for Schedule {
    type Err = Error;
    fn from_str(s: &str) -> Result<Schedule> {
        let wrong = || {
            Error::request(format!(
                "lr-schedule {s}: must be constant, cosine, iwae, or step:EPOCHS:FACTOR (step:10:0.5)"
            ))
        };
        match s.split(':').collect::<Vec<_>>()[..] {
            ["constant"] => Ok(Schedule::Constant),
            ["cosine"] => Ok(Schedule::Cosine),
            ["iwae"] => Ok(Schedule::Iwae),
            ["step", epochs, factor] => {
                let (epochs, factor) = (epochs.parse().map_err(|_| wrong())?, factor.parse().map_err(|_| wrong())?);
                match epochs > 0 && f64::is_finite(factor) && factor > 0.0 {
                    true => Ok(Schedule::Step { epochs, factor }),
                    false => Err(wrong()),
                }
            }
            _ => Err(wrong()),
        }
    }
}

impl TryFrom<String> for Schedule {
    type Error = Error;
    fn try_from(s: String) -> Result<Schedule> {
        s.parse()
    }
}
impl From<Schedule> for String {
    fn from(s: Schedule) -> String {
        s.to_string()
    }
}

/// Every step of a training, by its index.
#[derive(Clone, Debug)]
pub struct Plan {
    pub examples: u32,
    pub batch: u32,
    /// How many steps there are in all.
    pub total: u32,
    pub seed: u64,
    pub optimizer: Optimizer,
    pub schedule: Schedule,
    /// Steps over which the learning rate rises from nothing. 0: none.
    pub lr_warmup: u32,
    pub beta: f64,
    /// Steps over which beta rises from 0. 0: none.
    pub kl_warmup: u32,
}

/// Steps in a pass over the data; a batch is never larger than they are.
pub fn steps_per_epoch(examples: usize, batch: usize) -> usize {
    let examples = examples.max(1);
    examples.div_ceil(batch.clamp(1, examples))
}

/// The steps of so many epochs, the last of each with the examples that are left over.
///
/// # Errors
/// None, or more than can be counted.
pub fn steps(epochs: u32, examples: usize, batch: usize) -> Result<u32> {
    at_least_one("epochs", epochs as usize, "--epochs 10")?;
    let per_epoch = steps_per_epoch(examples, batch);
    u32::try_from(per_epoch as u64 * epochs as u64)
        .map_err(|_| Error::request(format!("epochs {epochs}: more than 4294967295 steps; pass fewer --epochs")))
}

impl Plan {
    pub fn steps_per_epoch(&self) -> u32 {
        self.examples.div_ceil(self.batch)
    }

    /// The step of this index, from 0.
    pub fn step(&self, index: u32) -> Step {
        let per_epoch = self.steps_per_epoch();
        let position = index % per_epoch * self.batch;
        let warm = |steps: u32, done: u32| if done >= steps { 1.0 } else { done as f64 / steps as f64 };
        let t = index.min(i32::MAX as u32 - 1) as i32 + 1; // where the corrections have long been 1
        Step {
            seed: self.seed,
            index,
            epoch: index / per_epoch,
            position,
            rows: self.batch.min(self.examples - position),
            first_row: 0,
            slot: 0,
            lr: self.optimizer.lr
                * self.schedule.factor(index, per_epoch, self.total)
                * warm(self.lr_warmup, index + 1), // a first step of size 0 would be wasted
            beta: self.beta * warm(self.kl_warmup, index),
            corrections: (1.0 - self.optimizer.betas.0.powi(t), 1.0 - self.optimizer.betas.1.powi(t)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Rule;

    fn plan(schedule: Schedule) -> Plan {
        let optimizer = Optimizer { lr: 1.0, ..Optimizer::new(Rule::Adam) };
        let (examples, batch, total) = (1003, 100, 11 * 20);
        Plan { examples, batch, total, seed: 0, optimizer, schedule, lr_warmup: 0, beta: 1.0, kl_warmup: 0 }
    }

    #[test]
    fn an_epoch_holds_every_example_once() {
        let plan = plan(Schedule::Constant);
        assert_eq!(plan.steps_per_epoch(), 11);
        for epoch in 0..3 {
            let steps: Vec<_> = (0..11).map(|i| plan.step(epoch * 11 + i)).collect();
            assert!(steps.iter().all(|s| s.epoch == epoch));
            assert_eq!(steps.iter().map(|s| s.rows).sum::<u32>(), 1003);
            assert_eq!(steps[10].rows, 3);
            assert!(steps.windows(2).all(|s| s[0].position + s[0].rows == s[1].position));
        }
    }

    #[test]
    fn schedules_are_the_published_ones() {
        let lr = |schedule, index| plan(schedule).step(index).lr;
        assert_eq!(lr(Schedule::Constant, 219), 1.0);
        let halving = "step:10:0.5".parse().unwrap();
        assert_eq!((lr(halving, 109), lr(halving, 110)), (1.0, 0.5));
        assert_eq!(lr(Schedule::Cosine, 0), 1.0);
        assert!((lr(Schedule::Cosine, 110) - 0.5).abs() < 1e-12);
        // Stages of 1, 3, 9, ... epochs: the second stage is epochs 1 to 3, the third begins with epoch 4.
        let stage = |i: i32| 10f64.powf(-i as f64 / 7.0);
        for (epoch, i) in [(0, 0), (1, 1), (3, 1), (4, 2), (12, 2), (13, 3), (1093, 7), (3279, 7), (9999, 7)] {
            assert_eq!(lr(Schedule::Iwae, epoch * 11), stage(i), "epoch {epoch}");
        }
    }

    #[test]
    fn warm_ups_are_linear_and_end() {
        let plan = Plan { lr_warmup: 4, kl_warmup: 4, beta: 2.0, ..plan(Schedule::Constant) };
        let lrs: Vec<_> = (0..6).map(|i| plan.step(i).lr).collect();
        assert_eq!(lrs, [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]);
        let betas: Vec<_> = (0..6).map(|i| plan.step(i).beta).collect();
        assert_eq!(betas, [0.0, 0.5, 1.0, 1.5, 2.0, 2.0]);
    }

    #[test]
    fn a_schedule_is_its_own_name() {
        for name in ["constant", "cosine", "iwae", "step:10:0.5"] {
            assert_eq!(name.parse::<Schedule>().unwrap().to_string(), name);
        }
        for wrong in ["", "linear", "step", "step:0:0.5", "step:1:-1", "step:1:nan", "step:1:2:3"] {
            assert!(wrong.parse::<Schedule>().is_err(), "{wrong}");
        }
    }
}
