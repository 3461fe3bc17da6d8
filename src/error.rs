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
            Error::Failed(_) | Error::NoRoom { .. } => 1,
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

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Error::Request(sentence) | Error::Failed(sentence) | Error::Interrupted { sentence, .. } => {
                f.write_str(sentence)
            }
            Error::NoRoom { what, wanted, free: Some(free) } => {
                write!(f, "there is no room for {what}: {wanted} bytes are needed, {free} are free")
            }
            Error::NoRoom { what, wanted, free: None } => {
                write!(f, "there is no room for {what}: {wanted} bytes are needed")
            }
        }
    }
}

impl std::error::Error for Error {}
