//! Options that what was chosen beside them does not use: given, they are refused, for to ignore them would look as if they
//! had been heard. The model of an old run may hold them; only the command line and its file are asked.
use crate::{Error, Result};
use clap::ArgMatches;
use clap::parser::ValueSource;

/// An option, the choice that decides whether it is used, and what it must be for that.
const USED: [(&str, &str, &[&str]); 7] = [
    ("variance", "likelihood", &["gaussian"]),
    ("mean", "likelihood", &["gaussian"]),
    ("sigma", "likelihood", &["gaussian"]),
    ("sigma", "variance", &["fixed"]),
    ("betas", "optimizer", &["adam", "adamw"]),
    ("eps", "optimizer", &["adam", "adamw", "adagrad"]),
    ("momentum", "optimizer", &["momentum"]),
];

/// Whether a choice must be made for this option to be used.
pub(super) fn depends(option: &str) -> bool {
    USED.iter().any(|(name, ..)| *name == option)
}

/// Whether one of the choices that were made, by their names, leaves this option unused.
pub(super) fn displaced(option: &str, made: impl Fn(&str) -> Option<String>) -> bool {
    let mut of_it = USED.iter().filter(|(name, ..)| *name == option);
    of_it.any(|(_, choice, users)| made(choice).is_some_and(|made| !users.contains(&made.as_str())))
}

/// # Errors
/// A sentence about the first option that was given and is not used.
pub(super) fn refuse(given: &ArgMatches) -> Result<()> {
    let value = |id: &str| {
        let raw = given.try_get_raw(id).ok().flatten()?;
        Some(raw.map(|value| value.to_string_lossy()).collect::<Vec<_>>().join(","))
    };
    for (option, choice, users) in USED {
        let (Some(of), Some(made)) = (value(option), value(choice)) else { continue };
        if given.value_source(option) == Some(ValueSource::CommandLine) && !users.contains(&made.as_str()) {
            let example = users[0];
            return Err(Error::request(format!(
                "{option} {of}: the {choice} {made} has none; leave it out, or pass --{choice} {example}"
            )));
        }
    }
    Ok(())
}
