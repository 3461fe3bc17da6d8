//! Matrix products: a library's in f32, three loops in f64.
use rayon::prelude::*;
use rten_gemm::{GemmExecutor, GemmInputA, GemmInputB, GemmOptions};
use rten_tensor::NdTensorView;

/// A factor: element (i, j) lies at `i · row + j · col` of `data`.
#[derive(Clone, Copy)]
pub struct Factor<'a, T> {
    pub data: &'a [T],
    pub row: usize,
    pub col: usize,
}

impl<'a, T> Factor<'a, T> {
    /// Row-major, rows `stride` apart.
    pub fn n(data: &'a [T], stride: usize) -> Self {
        Factor { data, row: stride, col: 1 }
    }
    /// The transpose of that.
    pub fn t(data: &'a [T], stride: usize) -> Self {
        Factor { data, row: 1, col: stride }
    }
}

/// rten-gemm, on all cores. How it cuts the work depends on the number of threads, but the order in which the products
/// of one element are summed does not: it depends on k alone.
pub fn fast(c: &mut [f32], n: usize, k: usize, a: Factor<f32>, b: Factor<f32>) {
    thread_local! {
        // Finds the best kernel for this machine. It cannot move between threads.
        static GEMM: GemmExecutor = GemmExecutor::new();
    }
    fn matrix<'a>(f: Factor<'a, f32>, shape: [usize; 2]) -> NdTensorView<'a, f32, 2> {
        NdTensorView::from_slice_with_strides(shape, f.data, [f.row, f.col]).expect("a factor lies in its slice")
    }
    let (a, b) = (matrix(a, [c.len() / n, k]), matrix(b, [k, n]));
    GEMM.with(|gemm| gemm.gemm(c, GemmInputA::Unpacked(a), GemmInputB::Unpacked(b), GemmOptions::default()))
        .expect("the shapes of a product agree");
}

/// The definition.
pub fn exact(c: &mut [f64], n: usize, k: usize, a: Factor<f64>, b: Factor<f64>) {
    c.par_chunks_mut(n).enumerate().for_each(|(i, c)| {
        c.fill(0.0);
        for l in 0..k {
            let factor = a.data[i * a.row + l * a.col];
            for (j, c) in c.iter_mut().enumerate() {
                *c += factor * b.data[l * b.row + j * b.col];
            }
        }
    });
}
