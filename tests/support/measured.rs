//! What `vae-gpu bench --json` says.
use crate::program::Outcome;
use serde_json::Value;

pub fn lines(outcome: Outcome) -> Vec<Value> {
    let outcome = outcome.succeeded();
    outcome.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub fn number(line: &Value, key: &str) -> f64 {
    line[key].as_f64().unwrap_or_else(|| panic!("{key} of {line}"))
}

/// Few and short measurements.
pub const QUICK: &str = "--seconds 0.005 --repeats 3 --json --quiet";
