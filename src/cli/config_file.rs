//! `--config FILE`: options from a TOML file, by the names that they have on the command line; and the file that repeats
//! a run or a sweep, which every one leaves.
use crate::checkpoint::SWEEP;
use crate::config::used;
use crate::{Error, Result};
use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};
use std::ffi::OsString;
use std::fmt::Write;
use std::path::Path;
use toml::{Table, Value};

/// The command line with the options of its `--config` before its own, which therefore win. Of the file those are left out
/// that one of the command line excludes, as `--steps` excludes `epochs`.
///
/// # Errors
/// A file that cannot be read, or is not TOML of names and plain values.
pub(super) fn expand(args: Vec<OsString>, command: &Command) -> Result<Vec<OsString>> {
    let args = with_momentum(resumed_sweep(args));
    let Some((path, rest)) = take(&args, "--config") else { return Ok(args) };
    let what = Path::new(&path).display();
    if let Some((other, _)) = take(&rest, "--config") {
        let other = Path::new(&other).display();
        return Err(Error::request(format!(
            "config {other}: beside {what}; pass one file, and what differs as options"
        )));
    }
    let text = std::fs::read_to_string(&path)
        .map_err(|e| Error::failed(format!("config {what}: cannot be read: {e}; check the path")))?;
    let table: Table = text.parse().map_err(|e: toml::de::Error| {
        let line = e.span().map_or(0, |span| text[..span.start.min(text.len())].lines().count().max(1));
        Error::request(format!("config {what}: line {line}: {}; write NAME = VALUE", e.message()))
    })?;
    let mut all = rest.iter().take(2).cloned().collect::<Vec<_>>(); // the program and its command
    let line = Line::new(command, &rest);
    // What a grid is of, here or there, it says for each run.
    let grid = table.get(GRID).and_then(Value::as_array).into_iter().flatten();
    let axes: Vec<String> = grid.filter_map(|axis| option_of(axis.as_str()?)).chain(line.axes.clone()).collect();
    for (name, value) in table.iter().filter(|(name, _)| !axes.contains(name)) {
        let mut words = option(name, value).ok_or_else(|| {
            Error::request(format!(
                "config {what}: {name} = {value}: must be a number, a word, true, or a list of them"
            ))
        })?;
        line.check(name).map_err(|why| Error::request(format!("config {what}: {name}: {why}")))?;
        if name == GRID {
            words.retain(|word| !line.has_axis(word));
        }
        if !line.displaces(name, &words, &table) {
            all.extend(words);
        }
    }
    all.extend(rest.into_iter().skip(2));
    Ok(all)
}

/// `sweep --resume DIR` is the sweep that DIR says it is, into DIR.
fn resumed_sweep(args: Vec<OsString>) -> Vec<OsString> {
    let is_sweep = args.get(1).is_some_and(|command| command == "sweep");
    match take(&args, "--resume").filter(|_| is_sweep && take(&args, "--config").is_none()) {
        Some((dir, mut rest)) => {
            let file = Path::new(&dir).join(SWEEP);
            rest.splice(2..2, ["--config".into(), file.into(), "--out".into(), dir]);
            rest
        }
        None => args,
    }
}

/// `--optimizer sgd --momentum 0.9` is the rule momentum, as PyTorch has it. A file says both where it repeats a run of plain sgd.
fn with_momentum(args: Vec<OsString>) -> Vec<OsString> {
    let has_momentum = take(&args, "--momentum").is_some();
    match take(&args, "--optimizer").filter(|(rule, _)| rule == "sgd" && has_momentum) {
        Some((_, mut rest)) => {
            rest.insert(2, "--optimizer=momentum".into());
            rest
        }
        None => args,
    }
}

/// What follows an option, and the line without it.
fn take(args: &[OsString], option: &str) -> Option<(OsString, Vec<OsString>)> {
    let with_value = |arg: &str| arg.strip_prefix(option).is_some_and(|rest| rest.starts_with('='));
    let at = args.iter().position(|arg| arg == option || arg.to_str().is_some_and(with_value))?;
    let (path, words) = match args[at].to_str()?.split_once('=') {
        Some((_, path)) => (path.into(), 1),
        None => (args.get(at + 1)?.clone(), 2),
    };
    Some((path, [&args[..at], &args[at + words..]].concat()))
}

/// What the command line itself says.
struct Line<'a> {
    command: Option<&'a Command>,
    /// Options by name, with the value that stands there. Those of a grid are options too, each with a value of its own in
    /// every run.
    given: Vec<(String, Option<String>)>,
    /// Those that its grid is of.
    axes: Vec<String>,
}

impl Line<'_> {
    fn new<'a>(command: &'a Command, args: &[OsString]) -> Line<'a> {
        let (mut given, mut axes): (Vec<(String, Option<String>)>, _) = (vec![], vec![]);
        let mut words = args.iter().skip(2).map(|word| word.to_string_lossy()).peekable();
        while let Some(word) = words.next() {
            let Some(option) = word.strip_prefix("--") else { continue };
            let (name, value) = match option.split_once('=') {
                Some((name, value)) => (name, Some(value.to_string())),
                None => (option, words.peek().map(|next| next.to_string())),
            };
            match value.as_ref().filter(|_| name == GRID).and_then(|axis| option_of(axis)) {
                Some(axis) => {
                    given.push((axis.clone(), None));
                    axes.push(axis);
                }
                None => given.push((name.into(), value)),
            }
        }
        Line { command: args.get(1).and_then(|name| command.find_subcommand(name)), given, axes }
    }

    /// Whether an option may stand in a file, else why not.
    fn check(&self, name: &str) -> std::result::Result<(), String> {
        let Some(command) = self.command else { return Ok(()) };
        let of = command.get_name();
        match name {
            "config" => Err("a file takes no other in; write its options here".into()),
            "help" | "version" => Err("is no option of a file; leave it out".into()),
            _ if command.get_arguments().any(|arg| arg.get_long() == Some(name)) => Ok(()),
            _ => Err(format!("{}; see vae-gpu {of} --help", no_such_option(command, name))),
        }
    }

    /// Whether a `--grid` of the file is of an option that one of the line is of, too.
    fn has_axis(&self, word: &OsString) -> bool {
        let word = word.to_string_lossy();
        let axis = word.split_once('=').and_then(|(_, axis)| option_of(axis));
        axis.is_some_and(|axis| self.axes.contains(&axis))
    }

    /// Whether an option of the file, which would stand on the line as `words`, has no place beside the line's own: another
    /// is there that excludes it, or a choice that does not use it. A default that nothing uses says nothing either.
    fn displaces(&self, name: &str, words: &[OsString], file: &Table) -> bool {
        let Some(command) = self.command else { return false };
        let arg = |name: &str| command.get_arguments().find(|arg| arg.get_long() == Some(name));
        let Some(option) = arg(name) else { return false };
        // What a run that goes on excludes is refused: it keeps its own. So does one that begins with another model, of which the
        // file says no more.
        let is_kept = |other: &str| other == "resume" || name == START;
        let others = self.given.iter().filter(|(other, _)| !is_kept(other)).filter_map(|(other, _)| arg(other));
        if others.into_iter().any(|other| excludes(command, option, other)) {
            return true;
        }
        // What a model is told, the file of another run names as columns; a file of labels is that of its data.
        let is_file = || file.get("condition").and_then(Value::as_str).is_some_and(|what| Path::new(what).is_file());
        if TOLD.contains(&name) && !is_file() && self.given.iter().any(|(other, _)| other == START) {
            return true;
        }
        let made = |choice: &str| self.given.iter().rfind(|(name, _)| name == choice)?.1.clone();
        let by_default = |value: &OsString| {
            let said = value.to_string_lossy().split_once('=').map(|(_, value)| value.to_string());
            option.get_default_values().iter().any(|default| said.as_deref() == default.to_str())
        };
        used::displaced(name, made, |option| {
            file.contains_key(option) || self.given.iter().any(|(name, _)| name == option)
        }) || used::depends(name) && words.iter().all(by_default)
    }
}

/// As it would stand on the command line; None where it could not.
fn option(name: &str, value: &Value) -> Option<Vec<OsString>> {
    let word = |value: &Value| match value {
        Value::String(s) => Some(s.clone()),
        Value::Integer(n) => Some(n.to_string()),
        Value::Float(x) => Some(x.to_string()),
        _ => None,
    };
    match value {
        Value::Boolean(false) => Some(vec![]),
        Value::Boolean(true) => Some(vec![format!("--{name}").into()]),
        Value::Array(list) => {
            let words = list.iter().map(word).collect::<Option<Vec<_>>>()?;
            Some(match name {
                // Each is an option and its values, which commas part.
                GRID => words.iter().map(|word| format!("--{name}={word}").into()).collect(),
                _ => vec![format!("--{name}={}", words.join(",")).into()],
            })
        }
        value => Some(vec![format!("--{name}={}", word(value)?).into()]),
    }
}

/// That the command has none that is called so, and which it may be that was meant: clap knows the nearest.
pub(super) fn no_such_option(command: &Command, name: &str) -> String {
    let of = command.get_name();
    let unknown = command.clone().try_get_matches_from([of.to_string(), format!("--{name}=")]).err();
    let nearest = match unknown.as_ref().and_then(|e| e.get(ContextKind::SuggestedArg)) {
        Some(ContextValue::String(nearest)) => format!(" (the nearest is {})", nearest.trim_start_matches("--")),
        _ => String::new(),
    };
    format!("{of} has no such option{nearest}")
}

/// The option that an axis is of, as `latent` of `latent=1,2`.
fn option_of(axis: &str) -> Option<String> {
    Some(axis.split_once('=')?.0.trim_start_matches("--").replace('_', "-"))
}

/// Whether one of two options excludes the other.
fn excludes(command: &Command, a: &Arg, b: &Arg) -> bool {
    let says = |a: &Arg, b: &Arg| command.get_arg_conflicts_with(a).iter().any(|c| c.get_id() == b.get_id());
    says(a, b) || says(b, a)
}

/// The option that names the model which a run begins with.
const START: &str = "start";
/// Those that say what a model is told.
const TOLD: [&str; 2] = ["condition", "valid-condition"];

/// The option that may stand there several times.
const GRID: &str = "grid";

/// What is about this machine, the screen, and where a run goes, and so no part of what repeats it.
const ELSEWHERE: [&str; 11] =
    ["config", "out", "force", "resume", "save_every", "device", "threads", "jobs", "json", "quiet", "help"];

/// The file of a run that is as long as this option says now.
pub(super) fn lengthened(text: &str, (option, value): (&str, u32)) -> String {
    replaced(text, &["epochs", "steps"], format!("{option} = {value}"))
}

/// The file of a run with another value of an option that it has.
pub(super) fn with(text: &str, option: &str, value: impl Into<Value>) -> String {
    replaced(text, &[option], format!("{option} = {}", value.into()))
}

/// What is a number, as toml writes it: somebody may have written .1 or 03. The file is for people to read, so 1e-4 stays text.
fn number(text: &str) -> Option<Value> {
    let digits = text.bytes().all(|b| b.is_ascii_digit() || b"+-.".contains(&b));
    match text.parse::<i64>() {
        _ if !digits => None,
        Ok(whole) => Some(whole.into()),
        Err(_) => text.parse::<f64>().ok().filter(|x| x.is_finite()).map(Value::from),
    }
}

/// With another line for the one of these options.
fn replaced(text: &str, options: &[&str], by: String) -> String {
    let is_one = |line: &str| line.split_once(" = ").is_some_and(|(name, _)| options.contains(&name));
    // Of what was not said there is no line: a run that begins with another model takes its data from that.
    if !text.lines().any(is_one) && !text.is_empty() {
        return format!("{text}\n{by}\n");
    }
    text.lines().map(|line| if is_one(line) { &by } else { line }).flat_map(|line| [line, "\n"]).collect()
}

/// The file for [`expand`] that repeats what was asked for, defaults and all.
pub(super) fn repeating(command: &Command, given: &ArgMatches) -> String {
    let mut text = match command.get_name() {
        "sweep" => format!("# vae-gpu sweep --config {SWEEP} repeats this sweep.\n"),
        name => format!("# vae-gpu {name} --config run.toml repeats this run.\n"),
    };
    let mut heading = None;
    for arg in command.get_arguments().filter(|arg| !ELSEWHERE.contains(&arg.get_id().as_str())) {
        let id = arg.get_id().as_str();
        let (Some(name), Ok(Some(values))) = (arg.get_long(), given.try_get_raw(id)) else { continue };
        // The default of one gives way to the other: epochs to steps.
        let by_user = |id: &str| given.value_source(id) == Some(ValueSource::CommandLine);
        let mut others = command.get_arguments().filter(|other| by_user(other.get_id().as_str()));
        if !by_user(id) && others.any(|other| excludes(command, arg, other)) {
            continue;
        }
        let values: Vec<_> = values.map(|value| value.to_string_lossy()).collect();
        if arg.get_help_heading() != heading {
            heading = arg.get_help_heading();
            let _ = writeln!(text, "\n# {}", heading.unwrap_or_default());
        }
        if id == GRID {
            let values = Value::Array(values.iter().map(|value| Value::String(value.to_string())).collect());
            let _ = writeln!(text, "{name} = {values}");
            continue;
        }
        let value = values.join(",");
        let _ = writeln!(text, "{name} = {}", number(&value).unwrap_or(Value::String(value)));
    }
    text
}
