//! What can go wrong, as a sentence for the user and an exit code for the shell.
use std::fmt;

/// Why the work was not done. Its `Display` is one sentence: the thing, the value, the bound, the remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The request was wrong: an option, its value, or two that contradict each other. Exit code 2.
    Request(String),
    /// The work failed: a file, a device, a number that is not finite. Exit code 1.
    Failed(String),
    /// There is too little memory, on the device or on the host. Exit code 1.
    NoRoom {
        /// For what, and where.
        what: String,
        /// Bytes.
        wanted: u64,
        /// Bytes, where that is known.
        free: Option<u64>,
    },
    /// The bound of an example is not a number: the model does not fit it. Exit code 1.
    NotFinite {
        /// Its place in the data, from 0.
        example: usize,
        /// Their name.
        data: String,
    },
    /// A signal, after the state was saved. Exit code 128 + its number.
    Interrupted { signal: u8, sentence: String },
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub fn request(sentence: impl Into<String>) -> Self {
        Error::Request(sentence.into())
    }
    pub fn failed(sentence: impl Into<String>) -> Self {
        Error::Failed(sentence.into())
    }
    /// What the program exits with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Request(_) => 2,
            Error::Failed(_) | Error::NoRoom { .. } | Error::NotFinite { .. } => 1,
            Error::Interrupted { signal, .. } => 128 + signal,
        }
    }
}

/// Checks an option that counts something.
///
/// # Errors
/// It is 0; `example` says what to pass.
pub fn at_least_one(option: &str, value: usize, example: &str) -> Result<()> {
    match value {
        0 => Err(Error::request(format!("{option} 0: must be at least 1; pass {example}"))),
        _ => Ok(()),
    }
}

/// Checks an option that is a part of something: neither none of it nor all.
///
/// # Errors
/// It is not; `example` says what to pass.
pub fn a_part(option: &str, value: f64, example: &str) -> Result<()> {
    match value > 0.0 && value < 1.0 {
        true => Ok(()),
        false => Err(Error::request(format!("{option} {value}: must be more than 0 and less than 1; pass {example}"))),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Error::Request(sentence) | Error::Failed(sentence) | Error::Interrupted { sentence, .. } => {
                one_line(sentence, f)
            }
            Error::NotFinite { example, data } => {
                one_line(&format!("{data}: the bound of example {example} is not finite: the model does not fit it"), f)
            }
            Error::NoRoom { what, wanted, free } => {
                write!(f, "there is no room for {what}: {wanted} bytes are needed")?;
                free.map_or(Ok(()), |free| write!(f, ", {free} are free"))
            }
        }
    }
}

/// Whatever names and words of a file are in it: none of them drives the terminal, or fills it.
fn one_line(sentence: &str, f: &mut fmt::Formatter) -> fmt::Result {
    let (shown, rest) = match sentence.char_indices().nth(LONGEST) {
        Some((at, _)) => (&sentence[..at], "…"),
        None => (sentence, ""),
    };
    shown.split_inclusive(char::is_control).try_for_each(|part| {
        match part.char_indices().next_back().filter(|(_, last)| last.is_control()) {
            Some((at, control)) => write!(f, "{}{}", &part[..at], control.escape_default()),
            None => f.write_str(part),
        }
    })?;
    f.write_str(rest)
}

/// Characters of a sentence that are shown.
const LONGEST: usize = 1500;

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_one_line_whatever_is_in_it() {
        let e = Error::failed("a\n\u{1b}[2Jb\u{9b}ü.csv is empty");
        assert_eq!(e.to_string(), "a\\n\\u{1b}[2Jb\\u{9b}ü.csv is empty");
        assert_eq!(Error::failed("").to_string(), "");
        let long = Error::failed("é".repeat(5000)).to_string();
        assert!(long.chars().count() == LONGEST + 1 && long.ends_with("é…"));
    }
}
