//! Who may do what the others of this process must not do meanwhile. A capture is one of these things, and all that waits
//! for the whole GPU is another: opening and closing it, and what a library does at its first use. The driver would
//! invalidate the captures of every thread ("it is invalid to synchronize a broader handle which encompasses an active
//! stream capture, such as a device or context handle": CUDA programming guide, "Prohibited and Unhandled Operations").
use std::sync::{Mutex, MutexGuard, PoisonError};

/// As long as it is held. Nobody takes it twice: whoever captures has it.
pub type Turn = MutexGuard<'static, ()>;

pub fn take() -> Turn {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
