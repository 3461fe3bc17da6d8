//! What can go wrong, as a sentence for the user and an exit code for the shell.
use std::fmt;

/// Why the work was not done. Its `Display` is one sentence: the thing, the value, the bound, the remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The request was wrong: an option, its value, or two that contradict each other. Exit code 2.
    Request(String),
    /// The work failed: a file, a device, a number that is not finite. Exit code 1.
    Failed(String),
    /// Ctrl-C, after the state was saved. Exit code 130.
    Interrupted(String),
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
            Error::Failed(_) => 1,
            Error::Interrupted(_) => 130,
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

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let (Error::Request(sentence) | Error::Failed(sentence) | Error::Interrupted(sentence)) = self;
        // One line, whatever names and words of a file are in it: none of them drives the terminal.
        sentence.split_inclusive(char::is_control).try_for_each(|part| {
            match part.char_indices().next_back().filter(|(_, last)| last.is_control()) {
                Some((at, control)) => write!(f, "{}{}", &part[..at], control.escape_default()),
                None => f.write_str(part),
            }
        })
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_one_line_whatever_is_in_it() {
        let e = Error::failed("a\n\u{1b}[2Jb\u{9b}ü.csv is empty");
        assert_eq!(e.to_string(), "a\\n\\u{1b}[2Jb\\u{9b}ü.csv is empty");
        assert_eq!(Error::failed("").to_string(), "");
    }
}
