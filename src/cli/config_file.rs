//! `--config FILE`: options from a TOML file, by the names that they have on the command line; and the file that repeats
//! a run, which every run leaves.
use crate::{Error, Result};
use clap::parser::ValueSource;
use clap::{ArgMatches, Command};
use std::ffi::OsString;
use std::fmt::Write;
use std::path::Path;
use toml::{Table, Value};

/// The command line with the options of its `--config` before its own, which therefore win.
///
/// # Errors
/// A file that cannot be read, or is not TOML of names and plain values.
pub(super) fn expand(args: Vec<OsString>) -> Result<Vec<OsString>> {
    let Some((path, rest)) = take(&args) else { return Ok(args) };
    let what = Path::new(&path).display();
    let text = std::fs::read_to_string(&path)
        .map_err(|e| Error::failed(format!("config {what}: cannot be read: {e}; check the path")))?;
    let table: Table = text.parse().map_err(|e: toml::de::Error| {
        let line = e.span().map_or(0, |span| text[..span.start.min(text.len())].lines().count().max(1));
        Error::request(format!("config {what}: line {line}: {}; write NAME = VALUE", e.message()))
    })?;
    let mut all = rest.iter().take(2).cloned().collect::<Vec<_>>(); // the program and its command
    for (name, value) in &table {
        all.extend(option(name, value).ok_or_else(|| {
            Error::request(format!(
                "config {what}: {name} = {value}: must be a number, a word, true, or a list of them"
            ))
        })?);
    }
    all.extend(rest.into_iter().skip(2));
    Ok(all)
}

/// What follows `--config`, and the line without it.
fn take(args: &[OsString]) -> Option<(OsString, Vec<OsString>)> {
    let at =
        args.iter().position(|arg| arg == "--config" || arg.to_str().is_some_and(|a| a.starts_with("--config=")))?;
    let (path, words) = match args[at].to_str()?.split_once('=') {
        Some((_, path)) => (path.into(), 1),
        None => (args.get(at + 1)?.clone(), 2),
    };
    Some((path, [&args[..at], &args[at + words..]].concat()))
}

/// As it would stand on the command line; None where it could not.
fn option(name: &str, value: &Value) -> Option<Option<OsString>> {
    let word = |value: &Value| match value {
        Value::String(s) => Some(s.clone()),
        Value::Integer(n) => Some(n.to_string()),
        Value::Float(x) => Some(x.to_string()),
        _ => None,
    };
    match value {
        Value::Boolean(false) => Some(None),
        Value::Boolean(true) => Some(Some(format!("--{name}").into())),
        Value::Array(list) => {
            let words = list.iter().map(word).collect::<Option<Vec<_>>>()?;
            Some(Some(format!("--{name}={}", words.join(",")).into()))
        }
        value => Some(Some(format!("--{name}={}", word(value)?).into())),
    }
}

/// What is about this machine, the screen, and where a run goes, and so no part of what repeats it.
const ELSEWHERE: [&str; 10] =
    ["config", "out", "force", "resume", "save_every", "device", "threads", "json", "quiet", "help"];

/// The file for [`expand`] that repeats what was asked for, defaults and all.
pub(super) fn repeating(command: &Command, given: &ArgMatches) -> String {
    let mut text = format!("# vae-gpu {} --config run.toml repeats this run.\n", command.get_name());
    let mut heading = None;
    for arg in command.get_arguments().filter(|arg| !ELSEWHERE.contains(&arg.get_id().as_str())) {
        let id = arg.get_id().as_str();
        let (Some(name), Ok(Some(values))) = (arg.get_long(), given.try_get_raw(id)) else { continue };
        // The default of one gives way to the other: epochs to steps.
        let by_user = |id: &str| given.value_source(id) == Some(ValueSource::CommandLine);
        if !by_user(id) && command.get_arg_conflicts_with(arg).iter().any(|other| by_user(other.get_id().as_str())) {
            continue;
        }
        let values: Vec<_> = values.map(|value| value.to_string_lossy()).collect();
        if arg.get_help_heading() != heading {
            heading = arg.get_help_heading();
            let _ = writeln!(text, "\n# {}", heading.unwrap_or_default());
        }
        let value = values.join(",");
        let plain =
            value.parse::<i64>().is_ok() || value.parse::<f64>().is_ok_and(f64::is_finite) && value.contains('.');
        let _ = match plain {
            true => writeln!(text, "{name} = {value}"),
            false => writeln!(text, "{name} = {}", Value::String(value)),
        };
    }
    text
}
