//! `vae-gpu train`
use super::decode::on_one_scale;
use super::options::TrainArgs;
use super::progress::Follow;
use super::{Common, Part, condition, dataset, held_out_part, own_test, print, thousands};
use crate::checkpoint::{Folder, Saved};
use crate::config::{Binarize, Condition, Likelihood, Run, Source};
use crate::data::Dataset;
use crate::evaluate::same_columns;
use crate::infer::Inference;
use crate::metrics::{Record, Split};
use crate::plot::{self, grid};
use crate::trainer::{Ending, Outcome, Trainer};
use crate::{Error, Result};
use std::path::Path;
use std::sync::Arc;

/// The data of a run, to train on and to validate on, each with the condition behind its columns. The first time, the
/// classes in `source` are counted.
pub(super) fn load(source: &mut Source) -> Result<(Arc<Dataset>, Option<Arc<Dataset>>)> {
    let owned = |data: Arc<Dataset>| Arc::try_unwrap(data).unwrap_or_else(|shared| (*shared).clone());
    let mut data = owned(dataset(&source.train, Part::Train)?);
    let mut valid = source.valid.as_ref().map(|path| dataset(path, Part::Test)).transpose()?.map(owned);
    if let Some(Condition::Classes { classes, train, valid: valid_labels }) = &mut source.condition {
        for (data, file) in [(Some(&mut data), &train), (valid.as_mut(), &valid_labels)] {
            if let (Some(data), Some(file)) = (data, file) {
                data.labels = Some(Dataset::read_labels(Path::new(file))?);
            }
        }
        if valid.as_ref().is_some_and(|valid| valid.labels.is_none()) {
            return Err(Error::request(
                "valid-condition: not given, and --valid has no labels of its own; pass --valid-condition FILE",
            ));
        }
        if *classes == 0 {
            *classes = condition::classes(&data);
        }
    }
    if source.valid_fraction > 0.0 {
        let (train, held_out) = data.split(source.valid_fraction)?;
        (data, valid) = (train, Some(held_out));
    }
    let arrange = |data| condition::arrange(Arc::new(data), &source.condition, None);
    Ok((arrange(data)?, valid.map(arrange).transpose()?))
}

fn check(run: &Run, data: &Dataset, valid: Option<&Dataset>) -> Result<()> {
    run.check()?;
    for (set, option) in [(Some(data), "--data"), (valid, "--valid")] {
        let Some(set) = set else { continue };
        same_columns(set, run.model.columns(), "--data")?;
        if run.model.likelihood == Likelihood::Bernoulli {
            set.check_unit_interval(run.model.input, option)?;
        }
    }
    Ok(())
}

pub(crate) fn run(args: &TrainArgs) -> Result<()> {
    let saving = args.saving()?;
    let (run, folder, data, valid, resume) = match &args.data.resume {
        Some(dir) => {
            let folder = Folder(dir.clone());
            if !folder.checkpoint().exists() {
                let path = folder.checkpoint();
                return Err(Error::failed(format!("resume: there is no {}; nothing to go on with", path.display())));
            }
            let saved = Saved::read(&folder.checkpoint())?;
            let (data, valid) = load(&mut saved.run.data.clone())?;
            if data.rows() != saved.run.data.rows {
                let (name, got, want) = (&data.name, data.rows(), saved.run.data.rows);
                return Err(Error::failed(format!(
                    "{name}: has {got} examples; the run began with {want}: the file changed"
                )));
            }
            (saved.run.clone(), folder, data, valid, Some(saved))
        }
        None => {
            let folder = args.folder()?;
            let path = args.data.data.clone().unwrap_or("digits".into());
            let mut source = Source {
                valid: args.data.valid.clone().or(own_test(&path, args.data.valid_fraction)),
                train: path,
                valid_fraction: held_out_part(args.data.valid_fraction)?,
                rows: 0,
                condition: args.data.condition(),
                shape: None,
                binarize: args.data.binarize,
            };
            let (data, held_out) = load(&mut source)?;
            (args.run(&data, source)?, folder, data, held_out, None)
        }
    };
    check(&run, &data, valid.as_deref())?;
    let common = Common { precision: run.training.precision, ..args.common.clone() };
    let device = common.device()?;

    let name = folder.0.display().to_string();
    let mut trainer =
        Trainer::new(run.clone(), folder.clone(), saving, &data, valid.as_ref(), &device, resume.as_ref())?;
    common.say(describe(&run, &data, &device.name, &name, trainer.plan().steps_per_epoch()));
    let mut follow = Follow::new(&common, trainer.plan().clone());
    let outcome = trainer.run(&mut follow)?;
    follow.finish();

    draw(&run, &folder, &outcome, valid.as_ref().unwrap_or(&data), &device)?;
    summarise(&common, &outcome, &name)?;
    match outcome.ending {
        Ending::Stopped => Err(Error::Interrupted(format!(
            "stopped after step {}; saved: vae-gpu train --resume {name} goes on",
            outcome.steps
        ))),
        _ => Ok(()),
    }
}

fn describe(run: &Run, data: &Dataset, device: &str, folder: &str, steps_per_epoch: u32) -> String {
    let (widths, batch) = (run.model.widths(), run.training.batch.min(data.rows()));
    let epochs = run.training.steps as f64 / steps_per_epoch as f64;
    format!(
        "{}: {} examples; model {widths}; {} steps of {batch} ({} epochs) on {device}; writing to {folder}",
        data.name,
        thousands(data.rows() as f64),
        thousands(run.training.steps as f64),
        if epochs.fract() == 0.0 { format!("{epochs:.0}") } else { format!("{epochs:.2}") },
    )
}

/// Samples, reconstructions and curves.
fn draw(
    run: &Run,
    folder: &Folder,
    outcome: &Outcome,
    data: &Arc<Dataset>,
    device: &crate::device::Device,
) -> Result<()> {
    let points = |split| {
        let of = |r: &&Record| r.split == split;
        let point = |r: &Record| plot::Point { step: r.step as u64, elbo: r.elbo, nll: r.nll, kl: r.kl };
        outcome.records.iter().filter(of).map(point).collect::<Vec<_>>()
    };
    let series = plot::curves::training(&points(Split::Train), &points(Split::Valid));
    let title = folder.0.file_name().unwrap_or_default().to_string_lossy().into_owned();
    plot::curves::write(&folder.picture("curves.svg"), &title, &plot::curves::TRAINING, &series)?;

    let saved = Saved::read(&folder.0)?;
    let mut inference = Inference::open(&saved, Binarize::None, device)?;
    let shape = grid::shape_for(run.model.input, run.data.shape);
    let columns = grid::columns_for(64, shape);
    let few = Arc::new(data.first(64));
    // What a conditional model draws is drawn for the conditions of these examples.
    let given = few.columns(data.cols - run.model.condition..data.cols);
    let given: Vec<f32> = given.iter().copied().cycle().take(64 * run.model.condition).collect();
    let mut samples = inference.sample(64, &given, run.training.seed)?;
    let few = Arc::new(few.first(32));
    let mut originals = few.columns(0..run.model.input);
    let mut reconstructed = inference.reconstruct(&few, run.training.seed)?;
    on_one_scale(run, [&mut originals, &mut reconstructed, &mut samples]);
    grid::write_png(&folder.picture("samples.png"), &samples, shape, columns)?;
    let (tiles, columns) = grid::interleave(&originals, &reconstructed, run.model.input, columns);
    grid::write_png(&folder.picture("reconstructions.png"), &tiles, shape, columns)
}

fn summarise(common: &Common, outcome: &Outcome, folder: &str) -> Result<()> {
    let last = |split| outcome.records.iter().rev().find(|r| r.split == split);
    let rate = outcome.examples as f64 / outcome.seconds.max(1e-9);
    if common.json {
        let json = serde_json::json!({
            "run": folder,
            "steps": outcome.steps,
            "ending": format!("{:?}", outcome.ending).to_lowercase(),
            "seconds": outcome.seconds,
            "examples_per_s": rate,
            "train": last(Split::Train),
            "valid": last(Split::Valid),
            "best": outcome.best,
        });
        return print(json);
    }
    let what = match outcome.ending {
        Ending::Complete => "done",
        Ending::Patience => "ended: no better validation",
        Ending::Stopped => "stopped",
    };
    let bound = match (last(Split::Valid), last(Split::Train)) {
        (Some(r), _) => format!("valid elbo {:.2}", r.elbo),
        (None, Some(r)) => format!("train elbo {:.2}", r.elbo),
        (None, None) => "nothing to do".into(),
    };
    common.say(format!(
        "{what} after {} steps in {:.1} s ({} examples/s): {bound} nats per example; see {folder}/samples.png",
        thousands(outcome.steps as f64),
        outcome.seconds,
        thousands(rate),
    ));
    Ok(())
}
