//! Writing a file so that its name never stands for half of it: the content goes to `.NAME.PROCESS.partial` beside it,
//! reaches the disk, and only then takes the name. A reader, a crash or a full disk sees the old file or the new one; of two
//! who write the same file, the one that is done last.
use crate::{Error, Result};
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What the name of an unfinished file ends in.
const PARTIAL: &str = ".partial";

/// Replaces the file at `path` by what `fill` writes, wholly or not at all.
///
/// A link keeps pointing where it points: the file behind it is replaced. What is no regular file
/// (`/dev/stdout`, a pipe) cannot be replaced and is written straight through.
///
/// # Errors
/// One sentence with the path and the cause. The partial file is removed, a file that was there before is untouched.
pub fn write_atomically(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let written = match fs::metadata(path) {
        Ok(found) if found.is_dir() => return Err(failed(path, "it is a directory; name a file in it")),
        Ok(found) if found.is_file() => fs::canonicalize(path).and_then(|target| replace(&target, fill)),
        Ok(_) => write_through(path, fill),
        Err(_) => replace(path, fill),
    };
    written.map_err(|cause| match cause.kind() {
        io::ErrorKind::NotFound if !directory_of(path).exists() => {
            let directory = directory_of(path);
            failed(path, &format!("the directory {} does not exist; create it first", directory.display()))
        }
        _ => failed(path, &cause.to_string()),
    })
}

/// Counts the bytes that arrive, to be told where a disk was full.
pub struct Counted {
    pub file: File,
    pub bytes: u64,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.file.write(bytes)?;
        self.bytes += n as u64;
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Says of an error that there was no room, where that is what it is, after how many bytes.
pub fn no_room(cause: io::Error, bytes: u64) -> io::Error {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    match cause.kind() {
        StorageFull | FileTooLarge | QuotaExceeded => {
            io::Error::other(format!("{cause}, after {bytes} bytes; make room"))
        }
        _ => cause,
    }
}

/// Through a buffer, all of it.
fn fill_buffered(
    file: File,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    done: impl FnOnce(&File) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = BufWriter::new(Counted { file, bytes: 0 });
    let written = fill(&mut buffer).and_then(|()| buffer.flush()).and_then(|()| done(&buffer.get_ref().file));
    // What is left in the buffer after an error is not tried again.
    let (counted, _) = buffer.into_parts();
    written.map_err(|cause| no_room(cause, counted.bytes))
}

fn write_through(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    fill_buffered(fs::OpenOptions::new().write(true).open(path)?, fill, |_| Ok(()))
}

fn replace(target: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let name = target.file_name().ok_or_else(|| io::Error::other("the path does not name a file"))?;
    // Of no other process, and no other thread.
    static WRITTEN: AtomicU64 = AtomicU64::new(0);
    let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
    let mut partial_name = std::ffi::OsString::from(".");
    partial_name.push(name);
    partial_name.push(format!(".{}-{number}{PARTIAL}", std::process::id()));
    let directory = directory_of(target);
    let path = directory.join(partial_name);

    // A process that was killed may have had this number.
    let file = match File::create_new(&path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(&path)?;
            File::create_new(&path)?
        }
        other => other?,
    };
    let partial = Partial { path, in_place: false };
    // Who may read the file that is replaced, and no others, may read the new one.
    if let Ok(there) = fs::metadata(target) {
        let _ = fs::set_permissions(&partial.path, there.permissions());
    }
    fill_buffered(file, fill, |file| {
        // Without the sync, a power cut after the rename could leave an empty file under the name.
        file.sync_all()?;
        partial.rename(target)
    })?;
    sync_directory(&directory)
}

/// The file while it is being written: removed when dropped, also by a panic, unless it took its name.
struct Partial {
    path: PathBuf,
    in_place: bool,
}

impl Partial {
    fn rename(mut self, target: &Path) -> io::Result<()> {
        fs::rename(&self.path, target)?;
        self.in_place = true;
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.in_place {
            // Nothing to do if this fails too: the cause that brought us here is the one to tell.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Makes the new name itself outlast a power cut. File systems that cannot do this for a directory are no failure:
/// the file is whole and in place.
fn sync_directory(directory: &Path) -> io::Result<()> {
    let Ok(opened) = File::open(directory) else { return Ok(()) };
    match opened.sync_all() {
        Err(cause) if !matches!(cause.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Err(cause),
        _ => Ok(()),
    }
}

/// Removes from a directory what a process that was killed had not finished: of `files`, which nobody else writes now, and of others
/// whose process is known to be gone.
pub fn remove_partial(directory: &Path, files: &[&str]) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(of) = name.to_str().and_then(|name| name.strip_prefix('.')?.strip_suffix(PARTIAL)) else { continue };
        // An earlier version wrote no number of a process.
        let numbered =
            of.rsplit_once('.').and_then(|(file, by)| Some((file, by.split_once('-')?.0.parse::<u32>().ok()?)));
        let is_left = numbered.is_none_or(|(file, process)| files.contains(&file) || is_gone(process));
        if is_left && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            let _ = fs::remove_file(entry.path()); // it only takes room
        }
    }
}

/// Whether a process has ended, where the system tells.
fn is_gone(process: u32) -> bool {
    Path::new("/proc/self").exists() && !Path::new(&format!("/proc/{process}")).exists()
}

/// Files of a directory that a new run will replace, out of its way in `.before` until it has something of its own to put in their
/// place. Where it fails without, they are put back.
pub struct Aside {
    directory: PathBuf,
    files: &'static [&'static str],
    /// Whether they are put back: not where somebody stopped the new run, or it goes on.
    returns: bool,
}

impl Aside {
    /// # Errors
    /// Files that cannot be moved.
    pub fn of(directory: &Path, files: &'static [&'static str]) -> io::Result<Aside> {
        let partial = Aside::partial(directory);
        fs::create_dir_all(&partial)?;
        // All or none, whenever the process is killed.
        let moved = files
            .iter()
            .filter(|file| directory.join(file).exists())
            .try_for_each(|file| fs::rename(directory.join(file), partial.join(file)));
        if let Err(e) = moved.and_then(|()| fs::rename(&partial, Aside::place(directory))) {
            Aside::recover(directory, files);
            return Err(e);
        }
        Ok(Aside { directory: directory.into(), files, returns: true })
    }

    fn partial(directory: &Path) -> PathBuf {
        directory.join(".before.partial")
    }

    /// Puts back what a process was moving out of the way when it was killed.
    pub fn recover(directory: &Path, files: &[&str]) {
        let partial = Aside::partial(directory);
        let _ = fs::remove_dir_all(Aside::gone(directory));
        if !partial.exists() {
            return;
        }
        for file in files.iter().filter(|file| !directory.join(file).exists()) {
            let _ = fs::rename(partial.join(file), directory.join(file)); // where there was one
        }
        let _ = fs::remove_dir_all(partial);
    }

    fn gone(directory: &Path) -> PathBuf {
        directory.join(".gone")
    }

    /// Those that are there already: of a process that was killed, or stopped.
    pub fn left(directory: &Path, files: &'static [&'static str]) -> Option<Aside> {
        Aside::place(directory).exists().then(|| Aside { directory: directory.into(), files, returns: true })
    }

    /// They stay where they are, whatever comes of the new run.
    pub fn staying(mut self) -> Aside {
        self.returns = false;
        self
    }

    /// Whether they are put back where the new run fails.
    pub fn returns(&self) -> bool {
        self.returns
    }

    /// Where they are meanwhile.
    pub fn place(directory: &Path) -> PathBuf {
        directory.join(".before")
    }

    /// They are not needed any more.
    pub fn forget(mut self) {
        self.returns = false;
        Aside::clear(&self.directory);
    }

    /// The same of those of a process that was killed.
    pub fn clear(directory: &Path) {
        // At once, and then one after the other.
        let gone = Aside::gone(directory);
        let _ = fs::remove_dir_all(&gone);
        let there = if fs::rename(Aside::place(directory), &gone).is_ok() { gone } else { Aside::place(directory) };
        let _ = fs::remove_dir_all(there); // they only take room
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        if !self.returns {
            return;
        }
        for file in self.files {
            let (there, before) = (self.directory.join(file), Aside::place(&self.directory).join(file));
            let _ = fs::remove_file(&there);
            let _ = fs::rename(before, there); // where there was one
        }
        let _ = fs::remove_dir(Aside::place(&self.directory));
    }
}

/// Whether something is locked by us.
pub enum Lock {
    /// As long as the file is open; where the file system has no locks, None.
    Held(Option<File>),
    Taken,
}

/// Locks a file or directory against other processes, without a trace in it.
pub fn lock(path: &Path) -> Lock {
    if cfg!(windows) && path.is_dir() {
        // Windows opens no directory as a file: one among the temporary files stands for it, and stays there, empty.
        let mut hash = DefaultHasher::new();
        fs::canonicalize(path).unwrap_or(path.into()).hash(&mut hash);
        return lock_named(&format!("{:016x}", hash.finish()));
    }
    let Ok(file) = File::open(path) else { return Lock::Held(None) };
    // Who is just ending, or was just forked off, gives it back within this time.
    for _ in 0..20 {
        match file.try_lock() {
            Ok(()) => return Lock::Held(Some(file)),
            Err(fs::TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(20)),
            Err(fs::TryLockError::Error(_)) => return Lock::Held(None),
        }
    }
    Lock::Taken
}

/// Whether another process holds the lock of a file or directory. Who asks for it meanwhile still gets it.
pub fn is_locked(path: &Path) -> bool {
    match cfg!(windows) && path.is_dir() {
        true => matches!(lock(path), Lock::Taken),
        // Held for no longer than a moment: a lock waits for that.
        false => File::open(path).is_ok_and(|file| matches!(file.try_lock_shared(), Err(fs::TryLockError::WouldBlock))),
    }
}

/// The same for what is no file, by a name that stands for it on this machine.
pub fn lock_named(name: &str) -> Lock {
    let path = std::env::temp_dir().join(format!("vae-gpu-{name}.lock"));
    // Of any user: to lock it one only has to read it. A link that lies there is not followed to make a file.
    let _ = File::create_new(&path);
    lock(&path)
}

/// Where `path` lies; the current directory for a bare name.
fn directory_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

fn failed(path: &Path, reason: &str) -> Error {
    Error::failed(format!("cannot write {}: {reason}", path.display()))
}
