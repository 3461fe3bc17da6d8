//! A name never stands for half a file.
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use vae_gpu::files::write_atomically;

/// An empty directory, removed in the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("vae-gpu-files-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_file_is_replaced_wholly_or_not_at_all() {
    let scratch = Scratch::new("atomic");
    let path = scratch.0.join("metrics.bin");
    write_atomically(&path, |out| out.write_all(b"first, and long")).unwrap();
    write_atomically(&path, |out| {
        assert_eq!(fs::read(&path)?, b"first, and long", "the old content stands until the new one is whole");
        out.write_all(b"second")
    })
    .unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"second");

    let failing = |out: &mut dyn Write| {
        out.write_all(b"half of it")?;
        Err(std::io::Error::other("no space left"))
    };
    let error = write_atomically(&path, failing).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot write {}: no space left", path.display()));
    assert_eq!(error.exit_code(), 1);
    assert!(std::panic::catch_unwind(|| write_atomically(&path, |_| panic!("as a test"))).is_err());
    assert_eq!(fs::read(&path).unwrap(), b"second");
    assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 1, "the partial file is gone");
}

#[test]
fn of_two_who_write_the_same_file_the_last_counts() {
    let scratch = Scratch::new("two");
    let path = scratch.0.join("draws.csv");
    let long = vec![b'1'; 1 << 20];
    write_atomically(&path, |out| {
        out.write_all(&long[..1 << 19])?;
        write_atomically(&path, |out| out.write_all(b"short")).map_err(std::io::Error::other)?;
        assert_eq!(fs::read(&path)?, b"short");
        out.write_all(&long[1 << 19..])
    })
    .unwrap();
    assert!(fs::read(&path).unwrap() == long);
    assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 1);
}

#[cfg(unix)]
#[test]
fn who_could_not_read_a_file_cannot_read_the_one_that_replaces_it() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = Scratch::new("private");
    let path = scratch.0.join("patients.csv");
    write_atomically(&path, |out| out.write_all(b"a")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    write_atomically(&path, |out| out.write_all(b"b")).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn paths_that_cannot_be_written_are_named_with_the_cause() {
    let scratch = Scratch::new("causes");
    let sentence = |path: &Path| write_atomically(path, |out| out.write_all(b"x")).unwrap_err().to_string();
    let missing = scratch.0.join("missing");
    let path = missing.join("a.png");
    assert_eq!(
        sentence(&path),
        format!("cannot write {}: the directory {} does not exist; create it first", path.display(), missing.display())
    );
    assert_eq!(
        sentence(&scratch.0),
        format!("cannot write {}: it is a directory; name a file in it", scratch.0.display())
    );
    assert_eq!(sentence(Path::new("")), "cannot write : the path does not name a file");
}

#[cfg(unix)]
#[test]
fn links_keep_pointing_and_devices_stay_devices() {
    let scratch = Scratch::new("links");
    let (file, link) = (scratch.0.join("file"), scratch.0.join("link"));
    fs::write(&file, b"old").unwrap();
    std::os::unix::fs::symlink("file", &link).unwrap();
    write_atomically(&link, |out| out.write_all(b"new")).unwrap();
    assert_eq!(fs::read(&file).unwrap(), b"new");
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    write_atomically(Path::new("/dev/null"), |out| out.write_all(b"gone")).unwrap();
    assert!(!fs::metadata("/dev/null").unwrap().is_file());
}
