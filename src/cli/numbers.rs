//! Sentences for numbers that are none. clap hands on what Rust's parsers say, which speak of digits and literals.
use clap::Command;
use clap::builder::ValueParser;
use std::any::TypeId;
use std::fmt::Display;
use std::str::FromStr;

/// The command, with sentences for every option that takes a number.
pub(super) fn with_sentences(command: Command) -> Command {
    command.mut_subcommands(with_sentences).mut_args(|arg| {
        let takes = arg.get_value_parser().type_id();
        let parsers = [
            (TypeId::of::<usize>(), ValueParser::from(|s: &str| whole(s, usize::MAX))),
            (TypeId::of::<u64>(), ValueParser::from(|s: &str| whole(s, u64::MAX))),
            (TypeId::of::<u32>(), ValueParser::from(|s: &str| whole(s, u32::MAX))),
            (TypeId::of::<f64>(), ValueParser::from(real)),
        ];
        match parsers.into_iter().find(|(kind, _)| takes == *kind) {
            Some((_, parser)) => arg.value_parser(parser),
            None => arg,
        }
    })
}

fn whole<T: FromStr + Display>(s: &str, most: T) -> Result<T, String> {
    s.parse().map_err(|_| match !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit()) {
        true => format!("must be at most {most}"),
        false => "must be a whole number that is not negative, as 20".into(),
    })
}

fn real(s: &str) -> Result<f64, String> {
    s.parse().map_err(|_| "must be a number, as 0.5 or 1e-3".into())
}
