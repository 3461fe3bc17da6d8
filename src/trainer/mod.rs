//! The course of a training: steps in stretches, metrics, validation, checkpoints. It does not know what a step is, nor
//! on what device it runs; it prints nothing, and tells a [`Watch`] how it goes.
//!
//! Everything that decides the result is a function of the step's index, so how steps are grouped into stretches, where
//! a run was cut, and how often it was saved leave no trace in it.
use crate::Result;
use crate::arena::{METRICS, RING};
use crate::checkpoint::{Best, Held, Position};
use crate::config::{Algorithm, Run};
use crate::data::Dataset;
use crate::device::{Backend, Device};
use crate::metrics::{Record, Split};
use crate::model::Network;
use crate::schedule::Plan;
use crate::step::Step;
use std::array;
use std::sync::Arc;
use std::time::{Duration, Instant};

mod begin;
mod broken;
mod keep;
mod room;
mod validation;
pub use begin::Begin;
pub use keep::{InFolder, InMemory, Keep};
use room::Room;
use validation::Validation;

/// Bytes of memory that a training takes on the device, and on the host; where the device is the host, they are the same
/// memory.
pub fn memory(run: &Run, device: &Device, data: &Arc<Dataset>, valid: Option<&Arc<Dataset>>) -> (u64, u64) {
    Room { run, device, data, batch: run.training.batch.min(data.rows()), valid }.wanted()
}

/// Who follows a training. A closure of the [`Progress`] does, and `()` looks away.
pub trait Watch {
    /// After every stretch of steps.
    fn progress(&mut self, _: &Progress) {}
    /// A line of metrics was written.
    fn record(&mut self, _: &Record) {}
    /// Something that the user should know, as a sentence.
    fn note(&mut self, _: &str) {}
    /// Whether to finish the step, save and end.
    fn stop(&mut self) -> bool {
        false
    }
}

impl Watch for () {}

impl<F: FnMut(&Progress)> Watch for F {
    fn progress(&mut self, progress: &Progress) {
        self(progress);
    }
}

/// How far a training is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    pub step: u32,
    pub steps: u32,
    pub epoch: u32,
    /// Of the last stretch.
    pub elbo: f64,
    pub nll: f64,
    pub kl: f64,
    pub examples_per_s: f64,
}

/// How a training ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ending {
    Complete,
    /// `--patience` ran out.
    Patience,
    /// `Watch::stop` said so; the state is saved.
    Stopped,
}

/// What a training leaves, beside its files.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub ending: Ending,
    pub steps: u32,
    pub best: Option<Best>,
    /// Steps that were not finite, and not applied.
    pub skipped: u32,
    /// The last lines of metrics, of training and of validation.
    pub train: Option<Record>,
    pub valid: Option<Record>,
    /// Seconds and examples of this session.
    pub seconds: f64,
    pub examples: u64,
}

/// When the state is written to disk, beside the end.
#[derive(Clone, Copy, Debug)]
pub enum Saving {
    /// At the end of an epoch, if this long has passed.
    Every(Duration),
    /// After every so many steps.
    Steps(u32),
}

/// How long a stretch of steps takes at most, so that Ctrl-C and the progress bar answer.
const STRETCH: f64 = 0.1; // seconds

/// A training ready to run.
pub struct Trainer<'a, K = InFolder> {
    pub run: Run,
    pub keep: K,
    pub saving: Saving,
    network: Network,
    backend: Box<dyn Backend>,
    plan: Plan,
    valid: Option<Validation<'a>>,
    position: Position,
    /// The last lines of metrics, of training and of validation: all of them would be memory that grows.
    last: [Option<Record>; 2],
}

impl<'a> Trainer<'a> {
    /// A training in a run directory: a new one, or one that goes on.
    ///
    /// # Errors
    /// A configuration that cannot be, a folder that cannot be written, too little memory.
    pub fn new(
        run: Run,
        folder: Held,
        saving: Saving,
        data: &'a Arc<Dataset>,
        valid: Option<&'a Arc<Dataset>>,
        device: &Device,
        begin: Begin,
    ) -> Result<Trainer<'a>> {
        Trainer::keeping(run, folder.into(), saving, data, valid, device, begin)
    }

    pub fn folder(&self) -> &Held {
        &self.keep.folder
    }

    /// Gives back the device's memory; the directory is still held.
    pub fn close(self) -> Held {
        self.keep.folder
    }
}

impl<'a, K: Keep> Trainer<'a, K> {
    /// The same, with another place for what it makes.
    ///
    /// # Errors
    /// As [`Trainer::new`].
    pub fn keeping(
        run: Run,
        mut keep: K,
        saving: Saving,
        data: &'a Arc<Dataset>,
        valid: Option<&'a Arc<Dataset>>,
        device: &Device,
        begin: Begin,
    ) -> Result<Trainer<'a, K>> {
        run.check()?;
        let t = &run.training;
        // A batch is never larger than the data: rows that no example fills would be work for nothing.
        let batch = t.batch.min(data.rows());
        let room = Room { run: &run, device, data, batch, valid };
        let (network, mut backend, valid) = room.open()?;
        if t.algorithm == Algorithm::Fastest {
            backend.tune(begin.chosen());
        }
        let mut position = begin.write(&run, &network, data, &mut *backend)?;
        position.program = env!("CARGO_PKG_VERSION").into();
        position.device = device.name.clone();
        let plan = Plan {
            examples: data.rows() as u32,
            batch: batch as u32,
            total: t.steps,
            seed: t.seed,
            optimizer: t.optimizer,
            schedule: t.lr_schedule,
            lr_warmup: t.lr_warmup,
            beta: run.model.beta,
            kl_warmup: t.kl_warmup,
        };
        let lines = keep.begin(&run, &network, begin.checkpoint().map(|_| position.step))?;
        let last = [Split::Train, Split::Valid].map(|split| lines.iter().rfind(|line| line.split == split).cloned());
        Ok(Trainer { run, keep, saving, network, backend, plan, valid, position, last })
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Trains to the end, or until `watch` wants to stop.
    ///
    /// # Errors
    /// A loss that is not finite, and those of device and disk.
    pub fn run(&mut self, watch: &mut dyn Watch) -> Result<Outcome> {
        let done = self.go(watch);
        if let Err(e) = &done {
            self.keep.failed(&e.to_string());
        }
        done
    }

    fn go(&mut self, watch: &mut dyn Watch) -> Result<Outcome> {
        let started = Instant::now();
        let seconds_before = self.position.seconds;
        let first = self.position.step;
        let (mut saved_at, mut window_start) = (Instant::now(), Instant::now());
        let mut per_step = STRETCH; // before it is known: one step at a time
        // A validation that a signal cut short comes first, and that of a model which is trained on.
        let mut stopped = !self.validate(watch)?;
        let mut steps = Vec::with_capacity(RING);
        while !stopped && self.position.step < self.plan.total && !self.out_of_patience() {
            let end = self.stretch_end(per_step);
            steps.clear();
            steps.extend((self.position.step..end).map(|index| self.plan.step(index)));
            let clock = Instant::now();
            let metrics = self.train(&steps, watch)?;
            let elapsed = clock.elapsed().as_secs_f64();
            per_step = elapsed / steps.len() as f64;
            self.position.step = end;
            self.position.seconds = seconds_before + started.elapsed().as_secs_f64();

            // Step by step, so that the sums do not depend on where stretches end.
            add(&mut self.position.window, &steps, &metrics);
            add(&mut self.position.epoch, &steps, &metrics);
            watch.progress(&self.progress(&steps, &metrics, elapsed));

            let epoch_ends = end.is_multiple_of(self.plan.steps_per_epoch());
            if epoch_ends || end.is_multiple_of(self.run.training.log_every) || end == self.plan.total {
                let last = *steps.last().expect("a stretch has steps");
                let Position { window, epoch, line, .. } = &self.position;
                let of = match () {
                    () if epoch_ends => *epoch,
                    // What the end leaves may be a step: the line before it is told with it.
                    () if end == self.plan.total => array::from_fn(|i| window[i] + line[i]),
                    () => *window,
                };
                self.log(of, &last, window_start.elapsed().as_secs_f64(), watch)?;
                window_start = Instant::now();
            }
            if epoch_ends {
                self.position.epoch = [0.0; 4];
            }
            if epoch_ends || end == self.plan.total {
                stopped = !self.validate(watch)?;
                // What a validation takes is no part of the rate of training.
                window_start = Instant::now();
            }
            stopped |= watch.stop();
            if stopped {
                break;
            }
            let due = match self.saving {
                Saving::Every(pause) => epoch_ends && saved_at.elapsed() >= pause,
                Saving::Steps(n) => end.is_multiple_of(n),
            };
            if due {
                self.save()?;
                saved_at = Instant::now();
            }
        }
        self.save()?;
        let ending = match stopped {
            _ if self.position.step == self.plan.total && self.is_validated() => Ending::Complete,
            true => Ending::Stopped,
            false => Ending::Patience,
        };
        // What a training ends with is compared with others by its validations.
        if ending != Ending::Stopped && self.valid.is_some() && self.last[1].is_none() && self.position.step > 0 {
            let why = format!("no validation of {} epochs was finite", self.epoch());
            return Err(self.failed(why, "look at the validation data, or pass --scale standard, or a smaller --lr"));
        }
        if ending == Ending::Stopped {
            self.keep.stopped();
        }
        let done = first..self.position.step;
        Ok(Outcome {
            ending,
            steps: self.position.step,
            best: self.position.best,
            skipped: self.position.skipped,
            train: self.last[0].clone(),
            valid: self.last[1].clone(),
            seconds: started.elapsed().as_secs_f64(),
            examples: done.map(|i| self.plan.step(i).rows as u64).sum(),
        })
    }

    /// Epochs done.
    fn epoch(&self) -> u32 {
        self.position.step / self.plan.steps_per_epoch()
    }

    fn out_of_patience(&self) -> bool {
        let patience = self.run.training.patience;
        patience > 0 && self.position.stale_epochs >= patience
    }

    fn progress(&self, steps: &[Step], metrics: &[f64], elapsed: f64) -> Progress {
        let mut sums = [0.0; 4];
        add(&mut sums, steps, metrics);
        let [_, nll, kl, examples] = sums;
        let (nll, kl) = (nll / examples, kl / examples);
        Progress {
            step: self.position.step,
            steps: self.plan.total,
            epoch: self.epoch(),
            elbo: -(nll + kl),
            nll,
            kl,
            examples_per_s: examples / elapsed.max(1e-9),
        }
    }

    /// Where the stretch that begins now ends: at the latest at the next line of metrics, save, or end of an epoch.
    fn stretch_end(&self, per_step: f64) -> u32 {
        let at = self.position.step;
        let room = (STRETCH / per_step.max(1e-9)).clamp(1.0, RING as f64) as u32;
        let next = |every: u32| (at / every + 1).saturating_mul(every);
        let mut end = (at + room).min(self.plan.total).min(next(self.plan.steps_per_epoch()));
        end = end.min(next(self.run.training.log_every));
        if let Saving::Steps(n) = self.saving {
            end = end.min(next(n));
        }
        end
    }

    /// Runs the steps; their metrics, of which those of a step that was skipped are not finite.   (steps, METRICS)
    fn train(&mut self, steps: &[Step], watch: &mut dyn Watch) -> Result<Vec<f64>> {
        let mut all = Vec::with_capacity(steps.len() * METRICS);
        while all.len() < steps.len() * METRICS {
            let left = &steps[all.len() / METRICS..];
            let slots: Vec<Step> = (0..).zip(left).map(|(slot, step)| Step { slot, ..*step }).collect();
            self.backend.train(&self.network.tape, &self.run.training.optimizer, &slots)?;
            let metrics = self.backend.read(self.network.layout().metrics().slice(0..left.len()))?;
            let bad = metrics.chunks(METRICS).position(|row| row[3] != 0.0);
            let good = bad.unwrap_or(left.len());
            all.extend(&metrics[..good * METRICS]);
            self.position.skipped_in_a_row *= (good == 0) as u32;
            // It was not applied, nor were those after it.
            if let Some(step) = left.get(good) {
                all.extend([f64::NAN; METRICS]);
                self.not_finite(step, watch)?;
            }
        }
        Ok(all)
    }

    /// Writes the line of these sums, and begins the next window.
    fn log(&mut self, of: [f64; 4], last: &Step, elapsed: f64, watch: &mut dyn Watch) -> Result<()> {
        let [loss, nll, kl, examples] = of;
        let [.., since] = std::mem::take(&mut self.position.window);
        self.position.line = of;
        if examples == 0.0 {
            return Ok(()); // every step was skipped
        }
        let record = Record {
            step: self.position.step,
            epoch: self.position.step as f64 / self.plan.steps_per_epoch() as f64,
            split: Split::Train,
            elbo: -(nll + kl) / examples,
            nll: nll / examples,
            kl: kl / examples,
            loss: loss / examples,
            lr: last.lr,
            beta: last.beta,
            examples_per_s: since / elapsed.max(1e-9),
        };
        self.write(record, watch)
    }

    fn write(&mut self, record: Record, watch: &mut dyn Watch) -> Result<()> {
        self.keep.record(&record)?;
        watch.record(&record);
        let split = (record.split == Split::Valid) as usize;
        self.last[split] = Some(record);
        Ok(())
    }

    /// The model, where no validation chooses it; then the checkpoint, so that where there is one there is a model.
    fn save(&mut self) -> Result<()> {
        if self.position.best.is_none() {
            self.keep.model(&self.run, &self.network, &mut *self.backend)?;
        }
        if self.run.training.algorithm == Algorithm::Fastest {
            self.position.chosen = self.backend.chosen().or(self.position.chosen.take());
        }
        self.keep.checkpoint(&self.run, &self.position, &self.network, &mut *self.backend)
    }
}

/// Adds to the sums over examples of loss, nll and kl, and to the number of examples.
fn add(sums: &mut [f64; 4], steps: &[Step], metrics: &[f64]) {
    for (step, row) in steps.iter().zip(metrics.chunks(METRICS)).filter(|(_, row)| row[3] == 0.0) {
        let rows = step.rows as f64;
        (0..3).for_each(|i| sums[i] += rows * row[i]);
        sums[3] += rows;
    }
}
