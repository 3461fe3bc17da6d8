//! A step whose loss or gradient is not finite, or a validation: what of it is not, and what becomes of the training.
use super::{Keep, Trainer, Watch};
use crate::arena::View;
use crate::config::{Likelihood, OnNan};
use crate::step::Step;
use crate::{Error, Result};

/// So many steps in a row that are not finite end a training that skips them: the parameters themselves are lost.
const HOPELESS: u32 = 100;

impl<K: Keep> Trainer<'_, K> {
    /// Skips a step that was not finite.
    ///
    /// # Errors
    /// The sentence about it, where it ends the training.
    pub(super) fn not_finite(&mut self, step: &Step, watch: &mut dyn Watch) -> Result<()> {
        let (index, culprit) = (step.index, self.culprit(step));
        self.position.skipped += 1;
        self.position.skipped_in_a_row += 1;
        let row = self.position.skipped_in_a_row;
        if self.run.training.on_nan == OnNan::Skip && row < HOPELESS {
            watch.note(&format!("step {index}: not finite: {culprit}; skipped"));
            return Ok(());
        }
        // In the first step nothing has been learned yet, however fast: it is the data.
        let scaled = self.run.data.scale.is_some() || self.run.model.is_all(Likelihood::Bernoulli);
        let remedy = match (index, scaled) {
            (0, false) => "pass --scale standard, or look at the data",
            (0, true) => "look at the data",
            _ if self.network.log_variance().is_some() => {
                "try a smaller --lr, or --clip-norm 1, or look at the data, of which no column may be constant"
            }
            _ => "try a smaller --lr, or --clip-norm 1, or look at the data",
        };
        let last = if row < HOPELESS { String::new() } else { format!(", the last of {row} in a row") };
        Err(self.failed(format!("step {index}: not finite: {culprit}{last}"), remedy))
    }

    /// Passes over a validation of which an example was not finite: it is no better than those before. The parameters are
    /// what they were.
    ///
    /// # Errors
    /// The sentence about it, where it ends the training, whose state was saved.
    pub(super) fn not_validated(&mut self, example: usize, data: &str, watch: &mut dyn Watch) -> Result<()> {
        let epoch = self.epoch();
        let why =
            format!("epoch {epoch}: the bound of example {example} of the validation data, {data}, is not finite");
        if self.run.training.on_nan == OnNan::Stop {
            self.save()?;
            let remedy = "leave the example out, or pass --on-nan skip, with --resume to go on, which passes over it";
            return Err(self.failed(why, remedy));
        }
        watch.note(&format!("{why}; skipped"));
        // That of the model which the run begins with is of no epoch.
        self.position.stale_epochs += (self.position.step > 0 && self.run.training.chooses(self.position.step)) as u32;
        Ok(())
    }

    /// The sentence about what ends the training. Why is kept beside what is left of it.
    pub(super) fn failed(&mut self, why: String, remedy: &str) -> Error {
        self.keep.failed(&why);
        Error::failed(format!("{why}; {}: {remedy}", self.keep.left()))
    }

    /// What of a step is not finite. It was not applied, and it is a function of the parameters: run again, it leaves what
    /// broke it in memory.
    fn culprit(&mut self, step: &Step) -> String {
        let again = self.backend.train(&self.network.tape, &self.run.training.optimizer, &[Step { slot: 0, ..*step }]);
        let (batch, rows) = (self.network.tape.batch, step.rows as usize);
        // Rows beyond a partial batch were not computed.
        let computed = |v: View| v.slice(0..if v.rows.is_multiple_of(batch) { v.rows / batch * rows } else { v.rows });
        let parameters = || self.network.parameters.iter();
        let named = parameters().map(|p| (format!("the parameter {}", p.name), p.view, ""));
        // Their rows are the examples of this batch, or what is drawn of each: not those of the file.
        let values =
            self.network.activations.iter().map(|(name, view)| (name.clone(), computed(*view), " of the batch"));
        let d = |view| self.network.layout().d(view);
        let gradients = parameters().map(|p| (format!("the gradient of {}", p.name), d(p.view), ""));
        let mut largest = (0.0, "the loss".to_string());
        for (name, view, of) in named.chain(values).chain(gradients).take_while(|_| again.is_ok()) {
            let Ok(values) = self.backend.read(view) else { break };
            let at = |i: usize| {
                let (row, column) = (i / view.cols, i % view.cols);
                format!("{name} is {:e} in row {row}{of}, column {column}", values[i])
            };
            if let Some(i) = values.iter().position(|x| !x.is_finite()) {
                return at(i).replace("inf", "infinite");
            }
            let size = |&i: &usize| values[i].abs();
            if let Some(i) = (0..values.len()).max_by(|a, b| size(a).total_cmp(&size(b)))
                && name.starts_with("the gradient")
                && size(&i) > largest.0
            {
                largest = (size(&i), format!("the square of a gradient: {}", at(i)));
            }
        }
        largest.1
    }
}
