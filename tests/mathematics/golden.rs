//! Forward and backward passes beside those of an independent implementation with automatic differentiation, in f64.
use std::path::{Path, PathBuf};
use vae_gpu::case::Case;
use vae_gpu::device::{Backend, Cpu, Real};
use vae_gpu::tensors::Tensors;

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()).collect();
    files.retain(|f| f.file_name().unwrap() != "optimizers.safetensors");
    files.sort();
    files
}

/// ‖got − want‖ / ‖want‖
fn relative_error(got: &[f64], want: &[f64]) -> f64 {
    let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>().sqrt();
    norm(&mut got.iter().zip(want).map(|(g, w)| g - w)) / norm(&mut want.iter().copied())
}

fn check<T: Real>(tolerance: f64)
where
    Cpu<T>: Backend,
{
    let cases = cases();
    assert_eq!(cases.len(), 26);
    for path in cases {
        let case = Case::read(&path).unwrap();
        let mut cpu = Cpu::<T>::new(case.network.layout(), case.network.tape.batch);
        let got = case.run(&mut cpu).unwrap();
        let want = Tensors::read(&path).unwrap();
        let expected: Vec<_> =
            want.tensors.iter().filter(|(name, _)| name.starts_with("out.") || name.starts_with("grad.")).collect();
        assert_eq!(got.tensors.len(), expected.len(), "{}", path.display());
        for (name, want) in expected {
            let got = &got.tensors[name];
            assert_eq!(got.shape, want.shape, "{}: {name}", path.display());
            let error = relative_error(&got.values, &want.values);
            assert!(error < tolerance, "{}: {name}: relative error {error:.2e}", path.display());
        }
    }
}

#[test]
fn f64_agrees_with_an_independent_implementation() {
    check::<f64>(1e-10); // the contract's
}

#[test]
fn f32_agrees_with_an_independent_implementation() {
    check::<f32>(1e-5); // the contract's
}
