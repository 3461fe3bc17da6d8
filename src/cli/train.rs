//! `vae-gpu train`
use super::job::{Job, claim, curves};
use super::loading::Wanted;
use super::options::TrainArgs;
use super::progress::Follow;
use super::{BUILT_IN, Common, columns_told, config_file, counted, print, thousands};
use crate::checkpoint::{Folder, Saved};
use crate::config::{Algorithm, Condition, Run, name_of};
use crate::data::{Bytes, Dataset, Missing, Values};
use crate::device::Device;
use crate::files::Aside;
use crate::report::active_units;
use crate::schedule::Schedule;
use crate::trainer::{Ending, Outcome, Trainer};
use crate::{Error, Result};
use std::sync::Arc;

/// What is said anew of a run that goes on.
#[derive(Clone, Copy)]
pub(crate) struct Anew {
    /// How long it shall be.
    pub length: bool,
    pub patience: bool,
    /// What becomes of what is not finite.
    pub on_nan: bool,
}

/// `repeating`: the file of options that repeats the run.
pub(crate) fn run(args: &TrainArgs, repeating: &str, anew: Anew) -> Result<()> {
    let saving = args.saving()?;
    let mut repeating = Some(repeating.to_string());
    let (mut job, folder, resume) = match &args.data.resume {
        Some(dir) => {
            let folder = Folder(dir.clone());
            if !folder.checkpoint().exists() {
                let path = folder.checkpoint();
                let before = Aside::place(&folder.0);
                let nothing = match before.exists() {
                    true => format!(
                        "the training was cut before its first; the run that it was to replace is in {}",
                        before.display()
                    ),
                    false if folder.options().exists() && !folder.model().exists() => format!(
                        "it ended before anything was saved; vae-gpu train --config {} --out {} --force begins it anew",
                        folder.options().display(),
                        dir.display()
                    ),
                    false => "nothing to go on with".into(),
                };
                return Err(Error::failed(format!("resume: there is no {}; {nothing}", path.display())));
            }
            let folder = folder.hold()?;
            let mut saved = Saved::read(&folder.checkpoint())?;
            // A run that was made by the library has no such file.
            let (data, valid) = (&args.data.data, &args.data.valid);
            let is_other = anew.length || anew.patience || anew.on_nan || data.is_some() || valid.is_some();
            repeating = std::fs::read_to_string(folder.options()).ok().filter(|_| is_other);
            if anew.length {
                let done = saved.position().map_or(0, |position| position.step);
                args.lengthen(&mut saved.run, done)?;
                repeating = repeating.map(|text| config_file::lengthened(&text, args.length()));
            }
            if anew.patience {
                saved.run.training.patience = args.patience();
                repeating = repeating.map(|text| config_file::with(&text, "patience", args.patience()));
            }
            if anew.on_nan {
                saved.run.training.on_nan = args.on_nan();
                repeating = repeating.map(|text| config_file::with(&text, "on-nan", name_of(args.on_nan())));
            }
            // Their numbers are held against those that it began with.
            if let Some(path) = data {
                saved.run.data.train = path.clone();
                repeating = repeating.map(|text| config_file::with(&text, "data", path.as_str()));
            }
            if let Some(path) = valid {
                if saved.run.data.valid.is_none() {
                    return Err(Error::request(format!("valid {path}: the run has no such file; leave it out")));
                }
                saved.run.data.valid = Some(path.clone());
                repeating = repeating.map(|text| config_file::with(&text, "valid", path.as_str()));
            }
            let job = Job::again(&saved, data.is_some())?;
            let began = saved.run.data.known_columns();
            // What repeats a run that began with another model counts none.
            let counts = saved.run.training.start.is_none();
            if let (Some(path), false) = (data.as_ref().filter(|_| counts), job.data.columns.stand_as(&began)) {
                return Err(Error::request(format!(
                    "data {path}: its columns stand elsewhere than those that the run began with, and what repeats the run counts \
                     them; give them as they stood"
                )));
            }
            (job, folder, Some(saved))
        }
        None => {
            let start = args.start()?.map(Arc::new);
            let began = start.as_ref().map(|saved| &saved.run);
            args.check_out(began)?;
            let job = Job::new(args, &Wanted::new(args, began)?.load()?, start.as_ref())?;
            (job, args.hold_out(began)?, None)
        }
    };
    let common = Common { precision: job.run.training.precision, ..args.common.clone() };
    let device = match resume {
        Some(_) => common.device_to_go_on()?,
        None => {
            let device = common.device()?;
            // What repeats the run repeats what was computed, on a machine with a GPU, too.
            repeating = repeating.map(|text| config_file::with(&text, "precision", name_of(device.numbers)));
            job.run.training.precision = device.numbers;
            device
        }
    };
    let _claim = claim(&device, &common);
    if let Some(saved) = &resume {
        saved.differences(&device).iter().for_each(|note| common.say(note));
        nothing_left(saved).iter().for_each(|note| common.say(note));
    }

    if device.library.is_none() && job.run.training.algorithm == Algorithm::Fastest {
        common.say(format!("algorithm fastest: nothing to choose from, for there is no cuBLAS for {}", device.name));
    }

    let name = folder.0.display().to_string();
    let watch = |trainer: &Trainer| {
        let per_epoch = trainer.plan().steps_per_epoch();
        common.say(describe(&job.run, &job.data, &place(&device), &name, per_epoch));
        [Some(&job.data), job.valid.as_ref()].into_iter().flatten().for_each(|data| common.tell(data));
        job.run.idle().iter().chain(&job.hints(resume.is_none())).for_each(|hint| common.say(hint));
        Follow::new(&common, trainer.plan().clone(), !job.run.model.minimises_elbo())
    };
    let (outcome, files, follow) = job.train(folder, saving, resume.as_ref(), repeating.as_deref(), &device, watch)?;
    follow.finish();

    curves(&files)?;
    if let (Ending::Stopped, Some(signal)) = (outcome.ending, follow.signals.came()) {
        let steps = outcome.steps;
        let before = match files.before() {
            None => "",
            Some(_) => "; until it has done an epoch other commands take the run before it",
        };
        let sentence = format!("stopped after step {steps}; saved: vae-gpu train --resume {name} goes on{before}");
        return Err(Error::Interrupted { signal, sentence });
    }
    job.show(&files, &device, &mut |note| common.say(note))?;
    let page = files.text("report.html");
    let active = page.as_deref().and_then(active_units);
    let see = if page.is_some() { "report.html" } else { "samples.png" };
    summarise(&common, &outcome, active, (&name, see))?;
    if active == Some(0) {
        common.say(columns_told::collapsed(&job.run));
    }
    Ok(())
}

/// Of a run that has had all its steps, or has lost patience.
fn nothing_left(saved: &Saved) -> Option<String> {
    let (t, position) = (&saved.run.training, saved.position()?);
    let stale = position.stale_epochs;
    let on = match t.lr_schedule {
        _ if t.patience > 0 && stale >= t.patience => {
            let epochs = counted(stale as usize, "epoch");
            format!(": {epochs} without a better validation; --patience, of more, or 0, trains it on")
        }
        _ if position.step < t.steps => return None,
        Schedule::Cosine => String::new(),
        _ => ": --epochs or --steps, of more than it has, trains it on".into(),
    };
    Some(format!("nothing is left to do{on}"))
}

/// Where, and how: what was chosen without being asked for.
fn place(device: &Device) -> String {
    let how = match (device.is_host(), rayon::current_num_threads()) {
        (false, _) => "a step is one captured graph".into(),
        (true, 1) => "1 thread".into(),
        (true, threads) => format!("{threads} threads"),
    };
    format!("{}, {how}", device.name)
}

fn describe(run: &Run, data: &Dataset, device: &str, folder: &str, steps_per_epoch: u32) -> String {
    let (widths, batch) = (run.model.widths(), run.training.batch.min(data.rows()));
    let epochs = run.training.steps as f64 / steps_per_epoch as f64;
    let all = data.rows() * data.columns.in_file(data.cols);
    let missing = match run.model.missing {
        Missing::Refuse | Missing::Never => 0,
        Missing::Allow => {
            let observed = data.observed().into_iter().zip(data.columns.begin(data.cols));
            all - observed.filter(|(_, first)| *first).map(|(n, _)| n).sum::<usize>()
        }
    };
    let missing = match missing {
        0 => String::new(),
        n => format!(", {} of {} values missing", thousands(n as f64), thousands(all as f64)),
    };
    // Of a column of words the first stands for it.
    let firsts = data.columns.begin(data.cols);
    let (of_x, kept) = (firsts.iter().take(run.model.input), run.model.unscaled().filter(|&j| firsts[j]));
    let scaled = match (&run.data.scale, of_x.filter(|first| **first).count(), kept.count()) {
        (None, ..) => String::new(),
        (Some(scale), _, 0) => format!(", columns {}", scale.told()),
        (Some(scale), all, kept) => format!(", {} of {all} columns {}", all - kept, scale.told()),
    };
    let sparse = match &data.values {
        // Of a table of words most columns are zero, and that is how it is kept, not what it is.
        Values::Sparse(entries) if data.columns.words.is_empty() => {
            let input = run.model.input;
            let others = entries.iter().filter(|&(_, j, x)| j < input && x != 0.0 && !x.is_nan()).count();
            let part = others as f64 / data.rows() as f64 / input as f64;
            format!(", of whose numbers {:.2} % are not 0", 100.0 * part)
        }
        _ => String::new(),
    };
    let known = run.data.known_columns();
    let told = match run.data.condition {
        Some(Condition::Columns { columns, x }) => {
            format!("; {} from {}", known.shown(x.unwrap_or((0, run.model.input))), known.shown(columns))
        }
        _ => String::new(),
    };
    let bytes = run.data.bytes.filter(|_| !BUILT_IN.contains(&run.data.train.as_str())).map_or("", Bytes::told);
    let start = run.training.start.as_ref().map_or(String::new(), |start| format!(", from {}", start.model));
    format!(
        "{}: {}{bytes}{sparse}{missing}{scaled}{told}; model {widths}{start}; {} of {batch} ({}) on {device}; writing to {folder}",
        data.name,
        counted(data.rows(), "example"),
        counted(run.training.steps as usize, "step"),
        if epochs.fract() == 0.0 { counted(epochs as usize, "epoch") } else { format!("{epochs:.2} epochs") },
    )
}

/// `active`: latents, where that is known; `see`: the file of the run that shows it.
fn summarise(common: &Common, outcome: &Outcome, active: Option<u64>, (folder, see): (&str, &str)) -> Result<()> {
    let rate = outcome.examples as f64 / outcome.seconds.max(1e-9);
    if common.json {
        let json = serde_json::json!({
            "run": folder,
            "steps": outcome.steps,
            "ending": format!("{:?}", outcome.ending).to_lowercase(),
            "seconds": outcome.seconds,
            "examples_per_s": rate,
            "train": outcome.train,
            "valid": outcome.valid,
            "best": outcome.best,
            "skipped": outcome.skipped,
            "active_units": active,
        });
        return print(json);
    }
    let what = match outcome.ending {
        Ending::Complete => "done",
        Ending::Patience => "ended: no better validation",
        Ending::Stopped => "stopped",
    };
    // What the model was chosen by, where that is something else.
    let loss = |loss: Option<f64>| loss.map_or(String::new(), |loss| format!(", loss {loss:.2}"));
    let of_last = |r: &crate::metrics::Record| outcome.best.and_then(|best| best.loss).map(|_| r.loss);
    let bound = match (&outcome.valid, &outcome.train) {
        (Some(r), _) => format!("valid elbo {:.2} nats per example{}", r.elbo, loss(of_last(r))),
        (None, Some(r)) => format!("train elbo {:.2} nats per example", r.elbo),
        (None, None) => "nothing was learned".into(),
    };
    let kept = match (&outcome.valid, &outcome.best) {
        (Some(last), Some(best)) if (best.elbo, best.epoch) != (last.elbo, last.epoch as u32) => {
            format!("; kept epoch {}: valid elbo {:.2}{}", best.epoch, best.elbo, loss(best.loss))
        }
        _ => String::new(),
    };
    let skipped = match outcome.skipped {
        0 => String::new(),
        n => format!(", {n} of them skipped,"),
    };
    let rate = if outcome.examples > 0 { format!(" ({} examples/s)", thousands(rate)) } else { String::new() };
    common.say(format!(
        "{what} after {}{skipped} in {:.1} s{rate}: {bound}{kept}; see {folder}/{see}",
        counted(outcome.steps as usize, "step"),
        outcome.seconds,
    ));
    Ok(())
}
