//! The table of several runs as others read it: JSON, one object a row; CSV, one line a run; the data of the page.
use super::table::{Entry, Row, Spread, State, Table};
use crate::metrics::{self, Record, Split};
use crate::report::told;
use crate::{Error, Result};
use serde_json::{Map, Value, json};

impl Table {
    /// One object for each row, best first.
    pub fn json(&self) -> Vec<Value> {
        self.rows.iter().map(|row| self.row(row)).collect()
    }

    fn row(&self, row: &Row) -> Value {
        let options = self.options.iter().zip(&row.values);
        let options: Map<String, Value> =
            options.map(|(option, value)| (option.to_string(), value.as_deref().map_or(Value::Null, plain))).collect();
        let mean = |spread: Option<Spread>| spread.map(|s| s.mean);
        let deviation = |spread: Option<Spread>| spread.and_then(|s| s.deviation);
        json!({
            "options": options,
            "elbo": mean(row.elbo),
            "elbo_deviation": deviation(row.elbo),
            "elbo_in_units_of_file": mean(row.of_file),
            "nll": mean(row.nll),
            "nll_deviation": deviation(row.nll),
            "kl": mean(row.kl),
            "kl_deviation": deviation(row.kl),
            "active_units": mean(row.active),
            "seconds": mean(row.seconds),
            "runs": row.runs.iter().map(|&i| run(&self.entries[i])).collect::<Vec<_>>(),
        })
    }

    /// A line for each run, under a line of names.
    ///
    /// # Errors
    /// None that a string can have; the writer of the format has.
    pub fn csv(&self) -> Result<String> {
        let failed = |e: &dyn std::fmt::Display| Error::failed(format!("the table cannot be written: {e}"));
        let mut out = csv::Writer::from_writer(vec![]);
        let about = [
            "state",
            "split",
            "elbo",
            "nll",
            "kl",
            "active_units",
            "best_epoch",
            "steps",
            "seconds",
            "elbo_in_units_of_file",
            "remark",
        ];
        let head = ["run"].iter().chain(&self.options).chain(["seed"].iter().filter(|s| !self.options.contains(s)));
        let head: Vec<&str> = head.chain(&about).copied().collect();
        out.write_record(&head).map_err(|e| failed(&e))?;
        let number = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
        for row in &self.rows {
            for entry in row.runs.iter().map(|&i| &self.entries[i]) {
                let result = entry.result();
                let mut line = vec![entry.name.clone()];
                line.extend(row.values.iter().map(|value| value.clone().unwrap_or_default()));
                if !self.options.contains(&"seed") {
                    line.push(entry.run.training.seed.to_string());
                }
                line.extend([state(entry).into(), result.map_or(String::new(), |r| split(r).into())]);
                line.extend([result.map(|r| r.elbo), result.map(|r| r.nll), result.map(|r| r.kl)].map(number));
                line.push(entry.active.map_or(String::new(), |n| n.to_string()));
                line.extend([number(result.map(|r| r.epoch)), steps(entry).to_string(), number(entry.seconds)]);
                line.push(number(entry.of_file()));
                line.push(entry.remark().unwrap_or_default());
                out.write_record(&line).map_err(|e| failed(&e))?;
            }
        }
        let bytes = out.into_inner().map_err(|e| failed(&e))?;
        String::from_utf8(bytes).map_err(|e| failed(&e))
    }

    /// What the page draws. `link`: where the page of a run lies, as seen from this one.
    pub fn page(&self, name: &str, link: impl Fn(&Entry) -> Option<String>) -> Value {
        let mut rows = self.json();
        for (row, of) in rows.iter_mut().zip(&self.rows) {
            row["remarks"] = json!(self.remarks(of));
            for (json, &i) in row["runs"].as_array_mut().into_iter().flatten().zip(&of.runs) {
                json["link"] = json!(link(&self.entries[i]));
                json["curve"] = course(&self.entries[i]);
            }
        }
        let done = self.entries.iter().filter(|entry| entry.state == State::Done).count();
        json!({ "name": name, "elbo": self.elbo(), "by_file": self.by_file, "comparable": self.incomparable.is_empty(),
                "notes": self.notes(), "options": self.options, "rows": rows,
                "runs": self.entries.len(), "done": done, "version": env!("CARGO_PKG_VERSION") })
    }
}

/// A number where the text is one.
fn plain(text: &str) -> Value {
    text.parse::<serde_json::Number>().map_or(text.into(), Value::Number)
}

fn state(entry: &Entry) -> &'static str {
    match entry.state {
        State::Done => "done",
        State::Cut(_) => "cut",
        State::Running(_) => "running",
        State::Failed(_) => "failed",
    }
}

fn split(record: &Record) -> &'static str {
    if record.split == Split::Valid { "valid" } else { "train" }
}

fn steps(entry: &Entry) -> u32 {
    match entry.state {
        State::Cut(step) | State::Running(step) => step,
        _ => entry.records.last().map_or(0, |r| r.step),
    }
}

fn run(entry: &Entry) -> Value {
    let result = entry.result();
    json!({
        "run": entry.name,
        "seed": entry.run.training.seed,
        "state": state(entry),
        "split": result.map(split),
        "elbo": result.map(|r| r.elbo),
        "nll": result.map(|r| r.nll),
        "kl": result.map(|r| r.kl),
        "active_units": entry.active,
        "best_epoch": result.map(|r| r.epoch),
        "steps": steps(entry),
        "seconds": entry.seconds,
        "elbo_in_units_of_file": entry.of_file(),
        "remark": entry.remark(),
    })
}

/// The elbo by epoch: of validation; without it, of training.
fn course(entry: &Entry) -> Value {
    let is_validated = entry.records.iter().any(|r| r.split == Split::Valid && r.elbo.is_finite());
    let split = if is_validated { Split::Valid } else { Split::Train };
    told(metrics::course(&entry.records, split).iter().map(|r| (r.epoch, r.elbo)))
}
