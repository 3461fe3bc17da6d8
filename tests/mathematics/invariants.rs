//! The sentences of the architecture, read from the sources: what each room may do. Comments, strings and the tests at
//! the end of a file are not looked at.
use std::fs;
use std::path::{Path, PathBuf};

/// Every source file, by its path from `src`, with its text.
fn sources() -> Vec<(String, String)> {
    fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => walk(&path, files),
                false => files.push(path),
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = vec![];
    walk(&root, &mut files);
    files.retain(|f| f.extension().is_some_and(|e| e == "rs"));
    files.sort();
    let name = |f: &Path| f.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
    files.iter().map(|f| (name(f), fs::read_to_string(f).unwrap())).collect()
}

/// The code of a file: without its tests, its comments, and what stands in quotes.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap();
    let mut code = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = match c {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            'r' if rest.starts_with("r#\"") => rest.find("\"#").map_or(rest.len(), |end| end + 2),
            '"' => {
                let mut escaped = false;
                let end = rest[1..].find(|c| {
                    let ends = c == '"' && !escaped;
                    escaped = c == '\\' && !escaped;
                    ends
                });
                end.map_or(rest.len(), |end| end + 2)
            }
            // A quote as a character is not the start of a string.
            '\'' if rest.starts_with("'\"'") => 3,
            '\'' if rest.starts_with("'\\\"'") => 4,
            _ => {
                code.push(c);
                c.len_utf8()
            }
        };
        rest = &rest[skipped..];
    }
    code
}

/// Its identifiers, in order.
fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| !w.is_empty())
}

/// Whether a file is one of these files, or lies in one of these folders.
fn lies_in(file: &str, rooms: &[&str]) -> bool {
    rooms.iter().any(|room| file == *room || room.ends_with('/') && file.starts_with(room))
}

/// The files outside `rooms` whose code `breaks` a sentence.
fn breaking(rooms: &[&str], breaks: impl Fn(&str) -> bool) -> Vec<String> {
    let outside = sources().into_iter().filter(|(file, _)| !lies_in(file, rooms));
    outside.filter(|(_, text)| breaks(&code(text))).map(|(file, _)| file).collect()
}

#[test]
fn the_reader_of_these_tests_sees_code_and_nothing_else() {
    let text = "//! unsafe\nfn f() { g(\"unsafe \\\" unsafe\", '\"', h) } /* unsafe */ unsafe_code // unsafe\nlast\n\
                #[cfg(test)]\nmod tests { unsafe }";
    assert_eq!(words(&code(text)).collect::<Vec<_>>(), ["fn", "f", "g", "h", "unsafe_code", "last"]);
    assert!(sources().iter().any(|(file, _)| file == "device/cpu/mod.rs"));
}

#[test]
fn only_cuda_has_unsafe() {
    let rooms = ["device/cuda/", "device/cuda.rs"];
    assert_eq!(breaking(&rooms, |code| words(code).any(|w| w == "unsafe")), [""; 0]);
}

/// The command line chooses a device, and `check` compares one with the reference; all others see a `Backend`.
#[test]
fn no_module_above_device_knows_which_device_there_is() {
    let rooms = ["device/", "check.rs", "cli/", "main.rs"];
    let devices = ["Cpu", "Gpu", "Cuda", "Driver", "cpu", "gpu", "cuda", "driver", "cudarc"];
    assert_eq!(breaking(&rooms, |code| words(code).any(|w| devices.contains(&w))), [""; 0]);
}

/// From the top. A room uses those below it; those of one floor may use each other.
#[test]
fn dependencies_point_down() {
    let floors: [&[&str]; 10] = [
        &["cli/"],
        &["sweep/", "report/", "vae/", "ranking.rs"],
        &["trainer/", "evaluate.rs", "ais.rs", "infer.rs", "impute/"],
        &["checkpoint.rs"],
        &["model.rs"],
        &["tape.rs", "device/"],
        &["arena.rs"],
        &["config/"],
        &["data/"],
        &["likelihood.rs"],
    ];
    for (i, rooms) in floors.iter().enumerate() {
        let above = floors[..i].concat();
        let above: Vec<&str> = above.iter().map(|room| room.trim_end_matches(".rs").trim_end_matches('/')).collect();
        let here = sources().into_iter().filter(|(file, _)| lies_in(file, rooms));
        for (file, text) in here {
            let code = code(&text);
            // Of `crate::{a, b::c}` each word.
            let names = |path: &str| match path.strip_prefix('{') {
                Some(list) => words(list.split(';').next().unwrap()).map(String::from).collect(),
                None => words(path).next().into_iter().map(String::from).collect::<Vec<_>>(),
            };
            let used: Vec<String> = code.split("crate::").skip(1).flat_map(names).collect();
            let found = above.iter().find(|room| used.iter().any(|name| name == **room));
            assert_eq!(found, None, "{file} uses what lies above it");
        }
    }
}

#[test]
fn only_the_command_line_prints() {
    let prints = ["println", "eprintln", "print", "eprint", "dbg", "stdout", "stderr"];
    assert_eq!(breaking(&["cli/", "main.rs"], |code| words(code).any(|w| prints.contains(&w))), [""; 0]);
}

/// Those that read and write: a file whole or not at all, tensors, data sets, checkpoints, the log of a run, what the
/// system says of itself, and the driver, which looks for libraries. Everything else is given bytes or a path to pass on.
#[test]
fn only_some_rooms_touch_files() {
    let rooms = ["files.rs", "tensors.rs", "data/", "checkpoint.rs", "metrics.rs", "host.rs", "device/cuda/", "cli/"];
    assert_eq!(breaking(&rooms, |code| code.contains("std::fs") || words(code).any(|w| w == "File")), [""; 0]);
}

#[test]
fn every_file_opens_with_what_it_is_for() {
    let silent = sources().into_iter().filter(|(_, text)| !text.starts_with("//! ")).map(|(file, _)| file);
    assert_eq!(silent.collect::<Vec<_>>(), [""; 0]);
}
