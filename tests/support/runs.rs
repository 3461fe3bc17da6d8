//! What makes two runs the same.
#![allow(dead_code)] // each test file uses its part
use std::path::Path;
use vae_gpu::metrics::{self, Record};
use vae_gpu::tensors::{Tensor, Tensors};

pub fn bytes(run: &Path, file: &str) -> Vec<u8> {
    std::fs::read(run.join(file)).unwrap_or_else(|e| panic!("{}/{file}: {e}", run.display()))
}

/// The lines of metrics, but for what depends on the clock.
pub fn lines(run: &Path) -> Vec<Record> {
    let records = metrics::read(&run.join("metrics.jsonl")).unwrap();
    records.into_iter().map(|r| Record { examples_per_s: 0.0, ..r }).collect()
}

/// A checkpoint but for the seconds in its header.
fn state(run: &Path) -> Tensors {
    let mut tensors = Tensors::read(&run.join("checkpoint.safetensors")).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&tensors.metadata["config"]).unwrap();
    config["position"]["seconds"] = 0.into();
    tensors.metadata.insert("config".into(), config.to_string());
    tensors
}

/// The numbers of a model, in the order of their names, as bits: whatever its header says of where they came from.
pub fn tensors(run: &Path) -> Vec<u64> {
    let read = Tensors::read(&run.join("model.safetensors")).unwrap();
    read.tensors.values().flat_map(|t| t.values.iter().map(|v| v.to_bits())).collect()
}

/// The same models, moments, positions and lines of metrics, to the bit.
pub fn assert_same_run(a: &Path, b: &Path, what: &str) {
    assert!(bytes(a, "model.safetensors") == bytes(b, "model.safetensors"), "{what}: the models differ");
    let (x, y) = (state(a), state(b));
    assert_eq!(x.metadata, y.metadata, "{what}");
    assert_eq!(x.tensors.keys().collect::<Vec<_>>(), y.tensors.keys().collect::<Vec<_>>(), "{what}");
    for (name, tensor) in &x.tensors {
        let bits = |t: &Tensor| t.values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert!(bits(tensor) == bits(&y.tensors[name]), "{what}: {name} differs");
    }
    assert_eq!(lines(a), lines(b), "{what}");
}
