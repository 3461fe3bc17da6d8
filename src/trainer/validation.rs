//! Validation: after every epoch, and at the end. It chooses the model that is kept, by what is trained.
use super::{Keep, Trainer, Watch};
use crate::checkpoint::Best;
use crate::data::Dataset;
use crate::device::Backend;
use crate::evaluate::{Evaluation, Evaluator};
use crate::metrics::{Record, Split};
use crate::{Error, Result};
use std::sync::Arc;

pub(super) struct Validation<'a> {
    pub data: &'a Arc<Dataset>,
    pub evaluator: Evaluator,
    pub backend: Box<dyn Backend>,
}

impl<K: Keep> Trainer<'_, K> {
    /// Whether nothing is to be validated where the training stands: at the end of an epoch, and of all; and where it begins with
    /// another model, which is the one to be better than.
    pub(super) fn is_validated(&self) -> bool {
        let step = self.position.step;
        if step == 0 && self.run.training.start.is_some() {
            return self.valid.is_none() || self.last[1].is_some();
        }
        let due = step > 0 && (step.is_multiple_of(self.plan.steps_per_epoch()) || step == self.plan.total);
        self.valid.is_none() || !due || self.position.validated == step
    }

    /// Evaluates on the validation data where that is due, and keeps the model if it is the best so far. False: `watch`
    /// wanted to stop before it was done; then it left no trace.
    pub(super) fn validate(&mut self, watch: &mut dyn Watch) -> Result<bool> {
        if self.is_validated() {
            return Ok(true);
        }
        let Some(valid) = &mut self.valid else { return Ok(true) };
        for (from, to) in self.network.parameters.iter().zip(&valid.evaluator.network().parameters) {
            valid.backend.write(to.view, &self.backend.read(from.view)?)?;
        }
        let clock = std::time::Instant::now();
        let seed = self.run.training.seed;
        let mut stopped = false;
        let mut go_on = |_: f64| match watch.stop() {
            false => Ok(()),
            true => {
                stopped = true;
                Err(Error::failed("the validation was stopped"))
            }
        };
        let e = match valid.evaluator.run(&mut *valid.backend, valid.data, seed, &mut go_on) {
            Err(_) if stopped => return Ok(false),
            Err(Error::NotFinite { example, data }) => {
                self.not_validated(example, &data, watch)?;
                self.position.validated = self.position.step;
                return Ok(true);
            }
            done => done?,
        };
        let step = self.plan.step(self.position.step.saturating_sub(1));
        let record = Record {
            step: self.position.step,
            epoch: self.position.step as f64 / self.plan.steps_per_epoch() as f64,
            split: Split::Valid,
            elbo: e.elbo.mean,
            nll: e.nll.mean,
            kl: e.kl.mean,
            loss: e.loss(&self.run.model),
            lr: step.lr,
            beta: step.beta,
            examples_per_s: e.examples as f64 / clock.elapsed().as_secs_f64().max(1e-9),
        };
        if self.run.training.chooses(self.position.step) {
            self.choose(&e)?;
        }
        self.position.validated = self.position.step;
        self.write(record, watch)?;
        Ok(true)
    }

    /// Keeps the model if none before was better.
    fn choose(&mut self, e: &Evaluation) -> Result<()> {
        let model = &self.run.model;
        let (loss, epoch) = (e.loss(model), self.epoch());
        let is_elbo = model.minimises_elbo();
        // Of a version that judged every model by the elbo no loss is known: that best gives way.
        let before = self.position.best.and_then(|best| best.loss.or(is_elbo.then_some(-best.elbo)));
        if before.is_some_and(|before| loss >= before) {
            self.position.stale_epochs += 1;
            return Ok(());
        }
        self.position.best = Some(Best { elbo: e.elbo.mean, epoch, loss: (!is_elbo).then_some(loss) });
        self.position.stale_epochs = 0;
        self.keep.model(&self.run, &self.network, &mut *self.backend)?;
        // That of the model which the run begins with is of no training.
        if self.position.step > 0 {
            self.keep.takes_place();
        }
        Ok(())
    }
}
