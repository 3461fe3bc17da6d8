//! The course of a training: steps in stretches, metrics, validation, checkpoints. It does not know what a step is, nor
//! on what device it runs; it prints nothing, and tells a [`Watch`] how it goes.
//!
//! Everything that decides the result is a function of the step's index, so how steps are grouped into stretches, where
//! a run was cut, and how often it was saved leave no trace in it.
use crate::arena::RING;
use crate::checkpoint::{self, Best, Folder, Position, Saved};
use crate::config::{OutputBias, Run};
use crate::data::Dataset;
use crate::device::{Backend, Device};
use crate::evaluate::Evaluator;
use crate::metrics::{Log, Record, Split};
use crate::model::Network;
use crate::schedule::Plan;
use crate::step::Step;
use crate::{Error, Result, init};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Who follows a training.
pub trait Watch {
    /// After every stretch of steps.
    fn progress(&mut self, progress: &Progress);
    /// A line of metrics was written.
    fn record(&mut self, record: &Record);
    /// Whether to finish the step, save and end.
    fn stop(&mut self) -> bool;
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
    pub records: Vec<Record>,
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
pub struct Trainer<'a> {
    pub run: Run,
    pub folder: Folder,
    pub saving: Saving,
    network: Network,
    backend: Box<dyn Backend>,
    plan: Plan,
    valid: Option<Validation<'a>>,
    position: Position,
    log: Log,
    records: Vec<Record>,
}

struct Validation<'a> {
    data: &'a Arc<Dataset>,
    evaluator: Evaluator,
    backend: Box<dyn Backend>,
}

impl<'a> Trainer<'a> {
    /// A new training; or, with a checkpoint, one that goes on.
    ///
    /// # Errors
    /// A configuration that cannot be, a folder that cannot be written, too little memory.
    pub fn new(
        run: Run,
        folder: Folder,
        saving: Saving,
        data: &'a Arc<Dataset>,
        valid: Option<&'a Arc<Dataset>>,
        device: &Device,
        resume: Option<&Saved>,
    ) -> Result<Trainer<'a>> {
        run.check()?;
        let t = &run.training;
        // A batch is never larger than the data: rows that no example fills would be work for nothing.
        let batch = t.batch.min(data.rows());
        let network = Network::training(&run.model, batch, run.data.binarize);
        let mut backend = device.open(network.layout(), batch)?;
        backend.load(data)?;
        let position = match resume {
            Some(saved) => saved.resume(&network, &mut *backend)?,
            None => {
                init::parameters(&network, t.init, t.seed, &mut *backend)?;
                if t.init_output_bias == OutputBias::Data {
                    init::output_bias(&network, data, run.data.binarize, &mut *backend)?;
                }
                Position::default()
            }
        };
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
        let valid = match valid {
            Some(data) => {
                let evaluator = Evaluator::new(&run.model, 1, run.data.binarize, data.rows());
                let n = evaluator.network();
                let mut backend = device.open(n.layout(), n.tape.batch)?;
                backend.load(data)?; // once: a device keeps it
                Some(Validation { data, evaluator, backend })
            }
            None => None,
        };
        folder.create(&run)?;
        let (log, records) = Log::open(&folder.metrics(), resume.map(|_| position.step))?;
        Ok(Trainer { run, folder, saving, network, backend, plan, valid, position, log, records })
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Trains to the end, or until `watch` wants to stop.
    ///
    /// # Errors
    /// A loss that is not finite, and those of device and disk.
    pub fn run(&mut self, watch: &mut dyn Watch) -> Result<Outcome> {
        let started = Instant::now();
        let seconds_before = self.position.seconds;
        let first = self.position.step;
        let (mut saved_at, mut window_start) = (Instant::now(), Instant::now());
        let mut per_step = STRETCH; // before it is known: one step at a time
        let mut stopped = false;
        let mut steps = Vec::with_capacity(RING);
        while self.position.step < self.plan.total && !self.out_of_patience() {
            let end = self.stretch_end(per_step);
            steps.clear();
            steps.extend((self.position.step..end).map(|index| self.plan.step(index)));
            let clock = Instant::now();
            let metrics = self.train(&steps)?;
            let elapsed = clock.elapsed().as_secs_f64();
            per_step = elapsed / steps.len() as f64;
            self.position.step = end;
            self.position.seconds = seconds_before + started.elapsed().as_secs_f64();

            // Step by step, so that the sums do not depend on where stretches end.
            add(&mut self.position.window, &steps, &metrics);
            let epoch = end / self.plan.steps_per_epoch();
            watch.progress(&self.progress(&steps, &metrics, elapsed));

            let epoch_ends = end.is_multiple_of(self.plan.steps_per_epoch());
            if epoch_ends || end.is_multiple_of(self.run.training.log_every) || end == self.plan.total {
                let last = *steps.last().expect("a stretch has steps");
                self.log_window(&last, window_start.elapsed().as_secs_f64(), watch)?;
                window_start = Instant::now();
            }
            if epoch_ends || end == self.plan.total {
                self.validate(epoch, watch)?;
                // What a validation takes is no part of the rate of training.
                window_start = Instant::now();
            }
            if watch.stop() {
                stopped = true;
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
            _ if self.position.step == self.plan.total => Ending::Complete,
            true => Ending::Stopped,
            false => Ending::Patience,
        };
        let done = first..self.position.step;
        Ok(Outcome {
            ending,
            steps: self.position.step,
            best: self.position.best,
            records: std::mem::take(&mut self.records),
            seconds: started.elapsed().as_secs_f64(),
            examples: done.map(|i| self.plan.step(i).rows as u64).sum(),
        })
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
            epoch: self.position.step / self.plan.steps_per_epoch(),
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

    /// Runs the steps; their metrics.                                  (steps, METRICS)
    fn train(&mut self, steps: &[Step]) -> Result<Vec<f64>> {
        let slots: Vec<Step> = (0..).zip(steps).map(|(slot, step)| Step { slot, ..*step }).collect();
        self.backend.train(&self.network.tape, &self.run.training.optimizer, &slots)?;
        let view = self.network.layout().metrics().slice(0..steps.len());
        let metrics = self.backend.read(view)?;
        match metrics.chunks(view.cols).position(|row| row[3] != 0.0) {
            None => Ok(metrics),
            Some(bad) => Err(self.not_finite(&steps[bad])),
        }
    }

    /// The step was not applied, and it is a function of the parameters: run again, it leaves what broke it in memory.
    fn not_finite(&mut self, step: &Step) -> Error {
        let again = self.backend.train(&self.network.tape, &self.run.training.optimizer, &[Step { slot: 0, ..*step }]);
        let named = self.network.parameters.iter().map(|p| (format!("the parameter {}", p.name), p.view));
        let values = self.network.activations.iter().map(|(name, view)| (name.clone(), *view));
        let mut culprit = "the loss".to_string();
        for (name, view) in named.chain(values).take_while(|_| again.is_ok()) {
            // Rows beyond a partial batch were not computed.
            let rows = match view.rows % self.network.tape.batch {
                0 => view.rows / self.network.tape.batch * step.rows as usize,
                _ => view.rows,
            };
            let rows = if name.starts_with("the parameter") { view.rows } else { rows };
            match self.backend.read(view.slice(0..rows)) {
                Ok(values) if values.iter().all(|x| x.is_finite()) => {}
                Ok(values) => {
                    let i = values.iter().position(|x| !x.is_finite()).unwrap_or(0);
                    culprit = format!("{name} is {} in row {}, column {}", values[i], i / view.cols, i % view.cols);
                    break;
                }
                Err(_) => break,
            }
        }
        let (index, folder) = (step.index, self.folder.0.display());
        let kept = match self.folder.checkpoint().exists() {
            true => format!("the last checkpoint in {folder} is kept"),
            false => "no checkpoint was written yet".to_string(),
        };
        Error::failed(format!(
            "step {index}: not finite: {culprit}; {kept}: try a smaller --lr, or --clip-norm 1, or look at the data"
        ))
    }

    /// Writes the line of the window that ends here, and begins the next.
    fn log_window(&mut self, last: &Step, elapsed: f64, watch: &mut dyn Watch) -> Result<()> {
        let [loss, nll, kl, examples] = self.position.window;
        self.position.window = [0.0; 4];
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
            examples_per_s: examples / elapsed.max(1e-9),
        };
        self.write(record, watch)
    }

    fn write(&mut self, record: Record, watch: &mut dyn Watch) -> Result<()> {
        self.log.write(&record)?;
        watch.record(&record);
        self.records.push(record);
        Ok(())
    }

    /// Evaluates on the validation data, and keeps the model if it is the best so far.
    fn validate(&mut self, epoch: u32, watch: &mut dyn Watch) -> Result<()> {
        let Some(valid) = &mut self.valid else { return Ok(()) };
        for (from, to) in self.network.parameters.iter().zip(&valid.evaluator.network().parameters) {
            valid.backend.write(to.view, &self.backend.read(from.view)?)?;
        }
        let clock = Instant::now();
        let seed = self.run.training.seed;
        let e = valid.evaluator.run(&mut *valid.backend, valid.data, seed, &mut |_| Ok(()))?;
        let step = self.plan.step(self.position.step.saturating_sub(1));
        let record = Record {
            step: self.position.step,
            epoch: self.position.step as f64 / self.plan.steps_per_epoch() as f64,
            split: Split::Valid,
            elbo: e.elbo.mean,
            nll: e.nll.mean,
            kl: e.kl.mean,
            loss: -e.elbo.mean,
            lr: step.lr,
            beta: step.beta,
            examples_per_s: e.examples as f64 / clock.elapsed().as_secs_f64().max(1e-9),
        };
        if self.position.best.is_none_or(|best| e.elbo.mean > best.elbo) {
            self.position.best = Some(Best { elbo: e.elbo.mean, epoch });
            self.position.stale_epochs = 0;
            checkpoint::save_model(&self.folder, &self.run, &self.network, &mut *self.backend)?;
        } else {
            self.position.stale_epochs += 1;
        }
        self.write(record, watch)
    }

    /// The checkpoint; and, where no validation chooses it, the model.
    fn save(&mut self) -> Result<()> {
        checkpoint::save(&self.folder, &self.run, &self.position, &self.network, &mut *self.backend)?;
        if self.position.best.is_none() {
            checkpoint::save_model(&self.folder, &self.run, &self.network, &mut *self.backend)?;
        }
        Ok(())
    }
}

/// Adds to the sums over examples of loss, nll and kl, and to the number of examples.
fn add(sums: &mut [f64; 4], steps: &[Step], metrics: &[f64]) {
    for (step, row) in steps.iter().zip(metrics.chunks(crate::tape::METRICS)) {
        let rows = step.rows as f64;
        (0..3).for_each(|i| sums[i] += rows * row[i]);
        sums[3] += rows;
    }
}
