//! Options that what was chosen beside them does not use: given, they are refused, for to ignore them would look as if they
//! had been heard. The model of an old run may hold them; only the command line and its file are asked.
use crate::config::used::{USED, is_used};
use crate::{Error, Result};
use clap::ArgMatches;
use clap::parser::ValueSource;

/// # Errors
/// A sentence about the first option that was given and is not used.
pub(super) fn refuse(given: &ArgMatches) -> Result<()> {
    let id = |option: &str| option.replace('-', "_");
    let value = |option: &str| {
        let raw = given.try_get_raw(&id(option)).ok().flatten()?;
        Some(raw.map(|value| value.to_string_lossy()).collect::<Vec<_>>().join(","))
    };
    for (option, choice, users) in USED {
        let (Some(of), Some(made)) = (value(option), value(choice)) else { continue };
        let is_used = is_used(choice, users, &made, |user| value(user).is_some());
        if given.value_source(&id(option)) == Some(ValueSource::CommandLine) && !is_used {
            let (who, example) = match users.first() {
                Some(user) => (format!("the {choice} {made}"), *user),
                None => (format!("a model of {choice} {made}"), "500"),
            };
            return Err(Error::request(format!(
                "{option} {of}: {who} has none; leave it out, or pass --{choice} {example}"
            )));
        }
    }
    Ok(())
}
