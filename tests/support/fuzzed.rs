//! What is done with bytes that anybody may have written: one function for each target of `fuzz/`, which `tests/fuzz.rs`
//! runs too. An error is right and a data set that holds together is right; a panic is not.
use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use vae_gpu::checkpoint::Saved;
use vae_gpu::data::{Asked, Columns, Dataset, Missing, Values};
use vae_gpu::mixture::Mixture;

/// Bytes in; a panic if they are neither refused nor read right.
pub type Target = fn(&[u8]);

/// The targets by name.
#[allow(dead_code)] // each target of fuzz/ takes its own function
pub const TARGETS: [(&str, Target); 8] = [
    ("idx", data),
    ("gz", gz),
    ("npy", data),
    ("npz", data),
    ("csv", csv),
    ("png", data),
    ("safetensors", safetensors),
    ("config", config),
];

/// As a table of numbers, and as one of words, gaps and all.
pub fn csv(bytes: &[u8]) {
    data(bytes);
    // A column for each word takes memory of its own, which the bytes of a large file do not bound.
    if bytes.len() > 2000 {
        return;
    }
    let words = Columns::asked(Asked { words: true, ..Asked::default() }).expect("something is asked for");
    let read = Dataset::columns_from_bytes("words", bytes, &words, Missing::Allow);
    if let Ok(data) = &read {
        // Of every column that was read, one of its words is there, or it is missing.
        let variables = data.columns.variables();
        assert_eq!(variables.iter().map(|v| v.len()).sum::<usize>(), data.cols, "all are words");
        assert!(variables.into_iter().all(|v| data.check_one_of(v, "").is_ok()));
        // By the columns of the model the same bytes are the same data.
        let known = Columns { again: true, ..data.columns.kept().expect("words are kept") };
        let again = Dataset::columns_from_bytes("words", bytes, &known, Missing::Allow).expect("what was read once");
        assert_eq!((again.cols, again.to_rows().len()), (data.cols, data.to_rows().len()));
        assert!(again.to_rows().iter().zip(data.to_rows()).all(|(a, b)| a.to_bits() == b.to_bits()));
    }
    good(read.map(|data| Dataset { values: Values::Reals(vec![0.0; data.rows() * data.cols]), ..data }));
}

/// As a file of data; its content says which.
pub fn data(bytes: &[u8]) {
    good(Dataset::from_bytes("data", bytes));
}

fn good(read: vae_gpu::Result<Dataset>) {
    match read {
        Ok(data) => {
            let numbers = match &data.values {
                Values::Bytes(v) => v.len(),
                Values::Reals(v) => v.len(),
                Values::Sparse(v) => {
                    // Each row's columns ascend, and are there.
                    let columns = |i: usize| v.row(i).0.iter().map(|&j| j as usize).chain([data.cols]);
                    assert!((0..v.rows()).all(|i| columns(i).is_sorted_by(|a, b| a < b)), "entries in order");
                    assert!(v.iter().all(|(.., x)| x.is_finite()));
                    v.rows() * data.cols
                }
            };
            assert!(data.rows() > 0 && data.cols > 0, "a data set of {} x {}", data.rows(), data.cols);
            assert_eq!(numbers, data.rows() * data.cols, "as many numbers as rows and columns say");
            if let Values::Reals(v) = &data.values {
                assert!(v.iter().all(|v| v.is_finite()));
            }
        }
        Err(e) => one_sentence(&e.to_string()),
    }
}

/// As packed bytes, and as what is packed.
pub fn gz(bytes: &[u8]) {
    data(bytes);
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(bytes).unwrap();
    data(&packed.finish().unwrap());
}

/// As data, and as a model, a checkpoint or a mixture.
pub fn safetensors(bytes: &[u8]) {
    data(bytes);
    saved(bytes);
}

/// As the configuration in the metadata of a model.
pub fn config(bytes: &[u8]) {
    let header = serde_json::json!({"__metadata__": {"config": String::from_utf8_lossy(bytes)}}).to_string();
    saved(&[&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat());
}

fn saved(bytes: &[u8]) {
    let thread = std::thread::current().id();
    let path = std::env::temp_dir().join(format!("vae-gpu-fuzzed-{}-{thread:?}", std::process::id()));
    std::fs::write(&path, bytes).unwrap();
    if let Err(e) = Saved::read(&path) {
        one_sentence(&e.to_string());
    }
    if let Err(e) = Mixture::read(&path) {
        one_sentence(&e.to_string());
    }
    std::fs::remove_file(&path).unwrap();
}

/// What a file says about itself must not fill the screen, nor drive the terminal.
fn one_sentence(sentence: &str) {
    assert!(!sentence.contains(['\n', '\x1b']) && sentence.len() < 2000, "{sentence:?}");
}
