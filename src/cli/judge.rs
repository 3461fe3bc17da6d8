//! `vae-gpu compare --data FILE`: models judged on the same examples, by the differences from the best of them, example by example.
//! Bounds of single examples differ far more than models do, and both models find the same ones hard: two standard errors of bounds
//! that overlap say nothing.
use super::condition::DataFor;
use super::eval::{Sampled, evaluated};
use super::{Common, counted, print, table, with_error};
use crate::checkpoint::Saved;
use crate::data::Unknown;
use crate::error::{Error, Result, at_least_one};
use crate::estimate::{Estimate, LogLikelihood, Running};
use crate::evaluate::check_data;
use crate::sweep::table::Entry;
use crate::sweep::units;
use clap::Args;
use serde_json::json;

#[derive(Args)]
#[command(next_help_heading = "Judged on the same examples")]
pub(crate) struct Judged {
    /// Estimates log p(x) of these examples by L_K of each run, in place of what the runs report: how far each is below the best, the
    /// mean of the differences example by example ± its standard error
    #[arg(long, value_name = "FILE", conflicts_with_all = ["to", "each"])]
    data: Option<String>,
    /// Importance samples for each example
    #[arg(long, value_name = "K", default_value_t = 100, requires = "data")]
    samples: usize,
    /// How many examples, the first ones; all if not given
    #[arg(long, value_name = "N", requires = "data")]
    count: Option<usize>,
}

/// What a model says of the examples.
struct Verdict {
    name: String,
    /// Of all examples, and what tells how far to trust it.
    iwae: LogLikelihood,
    /// log p(x) of each in the units of the file, where the model has others.
    in_file: Option<Vec<f64>>,
}

impl Verdict {
    /// log p(x) of each, by which it is judged: in the units of the file where the models' own differ.
    fn each(&self, by_file: bool) -> &[f64] {
        self.in_file.as_ref().filter(|_| by_file).unwrap_or(&self.iwae.per_example)
    }
}

impl Judged {
    pub(super) fn is_asked_for(&self) -> bool {
        self.data.is_some()
    }

    /// Judges all of them and prints it, best first.
    ///
    /// # Errors
    /// Data that one of the models does not take; those of the device.
    pub(super) fn judge(&self, entries: &[Entry], common: &Common) -> Result<()> {
        at_least_one("samples", self.samples, "--samples 100")?;
        at_least_one("count", self.count.unwrap_or(1), "--count 100")?;
        let (mut verdicts, mut judged) = (vec![], vec![]);
        for (i, entry) in entries.iter().enumerate() {
            let saved = Saved::read(&entry.folder.0)?;
            let data =
                DataFor { data: self.data.clone(), held_out: false, labels: None, unknown_words: Unknown::Refuse };
            // What there is to say of a file is said once.
            let said = Common { quiet: common.quiet || i > 0, ..common.clone() };
            let mut data = data.load(&saved.run, &said)?;
            check_data(&saved, &data, "--data")?;
            if let Some(count) = self.count {
                data = super::first(data, count);
            }
            let sampled = Sampled { samples: self.samples, binarize: saved.run.binarize(None)? };
            let iwae = evaluated(&saved, &data, sampled, common)?.iwae;
            let scale = saved.run.data.scale.as_ref().filter(|_| units::is_density(&saved.run));
            let in_file = scale.map(|scale| scale.in_file(&iwae.per_example, &data, saved.run.model.input));
            verdicts.push(Verdict { name: entry.name.clone(), iwae, in_file });
            // Of a run that is being replaced the model is that of the one before.
            judged.push(Entry { run: saved.run, ..entry.clone() });
        }
        let (entries, by_file) = (&judged, units::differ(&judged));
        let examples = verdicts.first().map_or(0, |first: &Verdict| first.iwae.per_example.len());
        if let Some(other) = verdicts.iter().find(|verdict| verdict.iwae.per_example.len() != examples) {
            return Err(Error::failed(format!(
                "{}: takes {} of the examples, and {} {examples}; give runs that take the same",
                other.name,
                other.iwae.per_example.len(),
                verdicts[0].name
            )));
        }
        if let Some(other) = entries.iter().find(|entry| !units::are_of_the_same(&entry.run, &entries[0].run)) {
            common.say(format!(
                "{} and {} are not comparable: their bounds are of different quantities",
                entries[0].name, other.name
            ));
        }
        let bound = |verdict: &Verdict| Estimate::of(verdict.each(by_file));
        verdicts.sort_by(|a, b| bound(b).mean.total_cmp(&bound(a).mean));
        let best = verdicts[0].each(by_file);
        let below = |verdict: &Verdict| {
            best.iter().zip(verdict.each(by_file)).map(|(best, own)| best - own).collect::<Running>().estimate()
        };
        if common.json {
            return verdicts.iter().try_for_each(|verdict| {
                let (below, l) = (below(verdict), &verdict.iwae);
                print(json!({
                    "run": verdict.name, "examples": examples, "samples": l.samples,
                    "iwae": l.bound.mean, "iwae_error": l.bound.error, "iwae_in_units_of_file": verdict.in_file.as_ref().map(|each| Estimate::of(each).mean),
                    "below": below.mean, "below_error": below.error, "iwae_monte_carlo_error": l.monte_carlo_error,
                    "iwae_bias": l.bias, "iwae_effective_samples": l.effective_samples, "iwae_heavy_tailed": l.heavy,
                }))
            });
        }
        let title = if by_file { format!("L_{} of the file", self.samples) } else { format!("L_{}", self.samples) };
        let head = [&title, "below the best", "too low by", "effective", "k̂ high", "run"].map(String::from);
        let rows: Vec<Vec<String>> = verdicts
            .iter()
            .enumerate()
            .map(|(i, verdict)| {
                let l = &verdict.iwae;
                let below = if i == 0 { "–".into() } else { with_error(below(verdict)).trim().to_string() };
                let low = if l.bias.is_nan() { "–".into() } else { format!("{:.4}", (-l.bias).max(0.0)) };
                let heavy = l.heavy.map_or("–".into(), |n| format!("{:.0} %", 100.0 * n as f64 / examples as f64));
                let effective = format!("{:.1}", l.effective_samples);
                let bound = with_error(bound(verdict)).trim().to_string();
                vec![bound, below, low, effective, heavy, verdict.name.clone()]
            })
            .collect();
        let of = counted(examples, "example");
        common.say(format!(
            "{of}, nats per example ± standard error; what is below the best by differences example by example"
        ));
        print(table::aligned(&head, &rows).join("\n"))
    }
}
