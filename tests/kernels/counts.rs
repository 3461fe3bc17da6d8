//! What the launches of a step execute, counted in their PTX: numbers that the noise of a machine does not touch.
//! `cargo test --release --test kernels counts -- --nocapture` prints them.
use crate::emulator::{Counts, Library, Ptx};
use crate::setting::{Setting, adam};
use vae_gpu::config::{Activation, Model, Rule};
use vae_gpu::device::Backend;
use vae_gpu::device::driver::Precision;

#[test]
fn warps_meet_in_no_bank_of_shared_memory_where_their_sums_do() {
    let Some(hopper) = Ptx::of(90) else { return };
    let aevb = (Model::new(784, &[500], 20), 100);
    let iwae = (Model { activation: Activation::Tanh, ..Model::new(784, &[200, 200], 50) }, 20);
    for (model, batch) in [aevb, iwae] {
        for precision in [Precision::Fp32, Precision::Tf32, Precision::Bf16] {
            let setting = Setting { batch, rows: batch, library: Library::Missing, ..adam(model.clone(), Rule::Adam) };
            let network = setting.network();
            let mut gpu = setting.gpu(&network, false);
            (gpu.driver.precision, gpu.driver.code) = (precision, hopper);
            setting.fill(&network, &mut gpu);
            gpu.train(&network.tape, &setting.optimizer, &setting.steps()[..1]).unwrap();
            println!(
                "{:?}, batch {batch}, {precision:?}: instructions of warps, of the longest; products by tensor \
                      cores; sectors of memory; passes over shared memory, of what would do",
                model.hidden
            );
            for &(kernel, c) in &gpu.driver.counted {
                let Counts { instructions, longest, products, sectors, passes, least_passes, .. } = c;
                println!(
                    "{kernel:33} {instructions:8} {longest:5} {products:7} {sectors:8} {passes:7} {least_passes:7}"
                );
                if kernel.starts_with("product_") {
                    assert_eq!(passes, least_passes, "{kernel}, {precision:?}");
                }
            }
        }
    }
}
