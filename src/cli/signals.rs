//! Signals that ask a training to end: the first is noted, the training saves and ends; a second, later ends it at
//! once.
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
    use signal_hook::iterator::Signals;
    use signal_hook::{flag, low_level};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

    /// One that comes so soon after the first is the same request: `timeout` sends it to its child, and then to the group that the child
    /// is in.
    const SAME: Duration = Duration::from_secs(1);

    /// What is ignored, as `nohup` has it, stays so.
    pub fn note(first: &Arc<AtomicUsize>) {
        let ignored = crate::host::ignored_signals();
        let heard = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0);
        let (heard, first): (Vec<i32>, _) = (heard.collect(), first.clone());
        let listen = move || {
            let Ok(mut signals) = Signals::new(heard) else { return };
            let mut came: Option<Instant> = None;
            for signal in signals.forever() {
                match came {
                    None => {
                        first.store(signal as usize, Ordering::SeqCst);
                        came = Some(Instant::now());
                    }
                    Some(at) if at.elapsed() < SAME => {}
                    Some(_) => low_level::exit(128 + signal),
                }
            }
        };
        let _ = std::thread::Builder::new().name("signals".into()).spawn(listen);
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
