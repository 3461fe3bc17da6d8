//! Signals that ask a training to end: the first is noted, the training saves and ends; a second ends it at once.
use signal_hook::consts::signal::*;
use signal_hook::flag;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

#[cfg(unix)]
const ENDING: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];
#[cfg(not(unix))]
const ENDING: [i32; 2] = [SIGINT, SIGTERM];

/// The signal that came first.
pub(super) struct Signals(Arc<AtomicUsize>);

impl Signals {
    /// From now on they are noted. What is ignored, as `nohup` has it, stays so.
    pub fn watch() -> Signals {
        let (first, armed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let ignored = crate::host::ignored_signals();
        for signal in ENDING.into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0) {
            // In this order: a signal finds it armed only if another came before. Where one cannot be noted it does what
            // it does by default, and what was saved last stays.
            let _ = flag::register_conditional_shutdown(signal, 128 + signal, armed.clone());
            let _ = flag::register(signal, armed.clone());
            let _ = flag::register_usize(signal, first.clone(), signal as usize);
        }
        Signals(first)
    }

    /// The number of the signal that came.
    pub fn came(&self) -> Option<u8> {
        match self.0.load(Ordering::SeqCst) {
            0 => None,
            signal => Some(signal as u8),
        }
    }
}

/// A file that would grow beyond the limit (`ulimit -f`) shall be an error of the write and not the end of the process.
pub(super) fn survive_file_size_limit() {
    #[cfg(unix)]
    let _ = flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)));
}
