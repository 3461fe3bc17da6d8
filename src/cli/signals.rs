//! Signals that ask a training to end: the first is noted, the training saves and ends; a second ends it at once.
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[cfg(unix)]
pub(super) use unix::survive_file_size_limit;

/// The signal that came first.
pub(super) struct Signals(Arc<AtomicUsize>);

impl Signals {
    /// From now on they are noted. Where one cannot be, it does what it does by default, and what was saved last stays.
    pub fn watch() -> Signals {
        let first = Arc::new(AtomicUsize::new(0));
        #[cfg(unix)]
        unix::note(&first);
        #[cfg(windows)]
        windows::note(&first);
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

#[cfg(unix)]
mod unix {
    use signal_hook::consts::signal::*;
    use signal_hook::flag;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicUsize};

    /// What is ignored, as `nohup` has it, stays so.
    pub fn note(first: &Arc<AtomicUsize>) {
        let armed = Arc::new(AtomicBool::new(false));
        let ignored = crate::host::ignored_signals();
        for signal in [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0) {
            // In this order: a signal finds it armed only if another came before.
            let _ = flag::register_conditional_shutdown(signal, 128 + signal, armed.clone());
            let _ = flag::register(signal, armed.clone());
            let _ = flag::register_usize(signal, first.clone(), signal as usize);
        }
    }

    /// A file that would grow beyond the limit (`ulimit -f`) shall be an error of the write and not the end of the process.
    pub fn survive_file_size_limit() {
        let _ = flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)));
    }
}

#[cfg(windows)]
mod windows {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// The number that Unix gives an interrupt: the exit code is 130 here too.
    const INTERRUPT: usize = 2;

    /// Ctrl-C and Ctrl-Break are one to us. When the window is closed, what was saved last stays.
    pub fn note(first: &Arc<AtomicUsize>) {
        let first = first.clone();
        let _ = ctrlc::set_handler(move || {
            if first.swap(INTERRUPT, Ordering::SeqCst) != 0 {
                std::process::exit(128 + INTERRUPT as i32);
            }
        });
    }
}
