//! One forward and backward pass of a case file, to compare with another framework: parameters, x and eps in;
//! nll, kl, bound, loss and every gradient out.
use crate::arena::View;
use crate::config::Model;
use crate::device::Backend;
use crate::model::Network;
use crate::step::Step;
use crate::tensors::Tensors;
use crate::{Error, Result};
use std::path::Path;

/// A case file, checked, and its model laid out for it.
pub struct Case {
    pub network: Network,
    file: Tensors,
    step: Step,
}

impl Case {
    /// # Errors
    /// A file that is not a case: its config, a tensor or a shape is missing or wrong.
    pub fn read(path: &Path) -> Result<Case> {
        let file = Tensors::read(path)?;
        let what = path.display();
        let config = file.metadata.get("config").ok_or_else(|| {
            Error::failed(format!("{what}: no metadata key config; a case file holds its model there as JSON"))
        })?;
        let model: Model = serde_json::from_str(config)
            .map_err(|e| Error::failed(format!("{what}: the config is not a model: {e}")))?;
        model.check()?;
        let batch = match file.tensors.get("x").map(|x| x.shape.as_slice()) {
            Some(&[batch, cols]) if batch > 0 && cols == model.input => batch,
            found => {
                let want = model.input;
                let found = found.map_or("there is no x".into(), |shape| format!("x has the shape {shape:?}"));
                return Err(Error::failed(format!("{what}: {found}; a case has x of (batch, {want})")));
            }
        };
        model.check_batch(batch)?;
        let network = Network::case(&model, batch);
        for p in &network.parameters {
            file.get(path, &format!("param.{}", p.name), &p.shape)?;
        }
        file.get(path, "eps", &[batch, model.samples, model.latent])?;
        if model.condition > 0 {
            file.get(path, "condition", &[batch, model.condition])?;
        }
        let step = Step { beta: model.beta, ..Step::batch(0, batch) };
        Ok(Case { network, file, step })
    }

    /// Runs it. The result has the tensors `out.*` and `grad.*`.
    ///
    /// # Errors
    /// Those of the device.
    pub fn run(&self, b: &mut dyn Backend) -> Result<Tensors> {
        let (n, file) = (&self.network, &self.file.tensors);
        for p in &n.parameters {
            b.write(p.view, &file[&format!("param.{}", p.name)].values)?;
        }
        b.write(n.x, &file["x"].values)?;
        b.write(n.eps, &file["eps"].values)?;
        if n.model.condition > 0 {
            let condition = &file["condition"].values;
            b.write(n.conditions[0], condition)?;
            let rows = condition.chunks(n.model.condition);
            b.write(n.conditions[1], &rows.flat_map(|row| row.repeat(n.model.samples)).collect::<Vec<_>>())?;
        }
        b.set_step(&self.step)?;
        // x is written, so the tape begins at the encoder.
        n.tape.forward(b, n.tape.encoder.start..n.tape.ops.len())?;
        n.tape.backward(b)?;

        let (batch, samples) = (n.tape.batch, n.model.samples);
        let mut out = Tensors::default();
        let mut insert = |name: String, shape: Vec<usize>, view: View, b: &mut dyn Backend| -> Result<()> {
            out.insert(name, shape, b.read(view)?);
            Ok(())
        };
        insert("out.nll".into(), vec![batch, samples], n.nll, b)?;
        insert("out.kl".into(), vec![batch], n.kl, b)?;
        insert("out.bound".into(), vec![batch], n.bound, b)?;
        let loss = n.layout().metrics().slice(0..1).columns(0..1);
        insert("out.loss".into(), vec![1], loss, b)?;
        for p in &n.parameters {
            insert(format!("grad.{}", p.name), p.shape.clone(), n.layout().d(p.view), b)?;
        }
        Ok(out)
    }
}
