//! How long work is followed: a bar on a terminal, plain lines elsewhere; of a training JSON, where it was asked for.
use super::signals::Signals;
use super::{Common, print, thousands};
use crate::metrics::{Record, Split};
use crate::schedule::Plan;
use crate::trainer::{Progress, Watch};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Lines of a long epoch appear no oftener than this.
const PAUSE: Duration = Duration::from_secs(10);

/// A bar on a terminal; where there is none, or nothing is to be said, no bar.
pub(crate) struct Bar {
    common: Common,
    bar: Option<ProgressBar>,
}

/// Parts of a whole, where the bar counts no steps.
pub(crate) const WHOLE: f64 = 10_000.0;

impl Bar {
    pub(crate) fn new(common: &Common, length: u64, template: &str) -> Bar {
        let bar = (!common.quiet && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr_with_hz(8));
            bar.with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Bar { common: common.clone(), bar }
    }

    pub(crate) fn is_shown(&self) -> bool {
        self.bar.is_some()
    }

    pub(crate) fn set(&self, position: u64, words: impl FnOnce() -> String) {
        if let Some(bar) = &self.bar {
            bar.set_message(words());
            bar.set_position(position);
        }
    }

    /// A line of its own, above the bar.
    pub(crate) fn line(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None => self.common.say(line),
        }
    }

    /// Takes it away: what is said next stands on a line of its own.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.finish();
    }
}

pub(crate) struct Follow {
    common: Common,
    plan: Plan,
    bar: Bar,
    pub signals: Signals,
    /// Whether what is minimised, and chosen by, is something else than −elbo.
    has_loss: bool,
    said: Instant,
}

impl Follow {
    pub(crate) fn new(common: &Common, plan: Plan, has_loss: bool) -> Follow {
        let bar = Bar::new(common, plan.total as u64, "{bar:16} {pos}/{len} steps, {eta} left  {msg}");
        Follow { common: common.clone(), plan, bar, signals: Signals::watch(), has_loss, said: Instant::now() }
    }

    pub(crate) fn finish(&self) {
        self.bar.finish();
    }
}

impl Watch for Follow {
    fn progress(&mut self, p: &Progress) {
        self.bar.set(p.step as u64, || {
            let rate = thousands(p.examples_per_s);
            format!("elbo {:.2}  kl {:.2}  {rate}/s", p.elbo, p.kl)
        });
    }

    fn record(&mut self, r: &Record) {
        if self.common.json {
            // What cannot be printed is still in metrics.jsonl.
            let _ = print(serde_json::to_string(r).unwrap_or_default());
        }
        let epoch_ends = r.step.is_multiple_of(self.plan.steps_per_epoch()) || r.step == self.plan.total;
        if self.common.quiet || !(epoch_ends || self.said.elapsed() > PAUSE) {
            return;
        }
        let split = if r.split == Split::Train { "train" } else { "valid" };
        let rate = match r.split {
            Split::Train => format!("  {:>9}/s", thousands(r.examples_per_s)), // within 80 columns
            Split::Valid if self.has_loss => format!("  loss {:>10.3}", r.loss),
            Split::Valid => String::new(),
        };
        let (epoch, elbo, nll, kl) = (r.epoch, r.elbo, r.nll, r.kl);
        self.said = Instant::now();
        self.bar.line(&format!("epoch {epoch:>6.2}  {split}  elbo {elbo:>10.3}  nll {nll:>9.3}  kl {kl:>8.3}{rate}"));
    }

    fn note(&mut self, sentence: &str) {
        self.bar.line(sentence);
    }

    fn stop(&mut self) -> bool {
        self.signals.came().is_some()
    }
}

/// Work of which it is known what part is done: an evaluation, an imputation, a mixture. What takes a moment says nothing.
pub(crate) struct Working {
    what: &'static str,
    /// Of the whole, each as often as it is met.
    examples: f64,
    /// How sure the time left is.
    about: &'static str,
    bar: Bar,
    began: Instant,
    said: Instant,
}

impl Working {
    pub(crate) fn new(common: &Common, what: &'static str, examples: usize) -> Working {
        let bar = Bar::new(common, WHOLE as u64, &format!("{what} {{bar:24}} {{percent}} %, {{msg}}"));
        let now = Instant::now();
        Working { what, examples: examples as f64, about: "about", bar, began: now, said: now }
    }

    /// The work may be done before its last part: what is said of the time left is a bound.
    pub(crate) fn at_most(mut self) -> Working {
        self.about = "at most";
        self
    }

    /// `part` of it is done, from 0 to 1.
    pub(crate) fn part(&mut self, part: f64) {
        self.part_with(part, "");
    }

    /// The same, with where it stands in words.
    pub(crate) fn part_with(&mut self, part: f64, words: &str) {
        let seconds = self.began.elapsed().as_secs_f64();
        let rate = thousands(part * self.examples / seconds.max(1e-9));
        let left = seconds * (1.0 - part) / part.max(1e-9);
        let told = match part {
            0.0 => words.to_string(), // how fast it is, nothing tells yet
            _ => format!("{rate} examples/s, {} {left:.0} s left  {words}", self.about),
        };
        let told = told.trim_end();
        self.bar.set((part * WHOLE) as u64, || told.to_string());
        if part >= 1.0 {
            self.bar.finish();
        }
        if !self.bar.is_shown() && self.said.elapsed() > PAUSE && part > 0.0 && part < 1.0 {
            self.said = Instant::now();
            self.bar.line(&format!("{}: {:.0} % done, {told}", self.what, 100.0 * part));
        }
    }

    /// A line of its own, above the bar.
    pub(crate) fn line(&self, line: &str) {
        self.bar.line(line);
    }
}
