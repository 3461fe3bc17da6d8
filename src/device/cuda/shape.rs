//! The extents that a product is run with. Row-major views, without pointers: pure functions, tested without a GPU.
//!
//! Strides are multiples of 8, but extents are not, and cuBLAS has its fastest kernels only where both are: they load
//! 16 bytes at once. The views of a product are whole (see `Product`), so the columns between `cols` and `stride` are
//! its own and zero; so are the rows that pad a parameter, or its gradient, to a multiple of 8. An extent is therefore
//! rounded up where *both* views that have it are padded along it: sums gain terms 0 · 0, and the padding of the result
//! is assigned 0. Nothing else is read or written.
use crate::arena::{ALIGN, View};
use crate::device::driver::{Epilogue, Factor, Precision, Product};
use std::ops::Range;

/// `product` with its extents rounded up where that changes no number. `padded_rows`: the part of the arena where rows
/// are padded.
pub fn rounded(product: &Product, padded_rows: &Range<usize>) -> Product {
    let Product { c, a, b, epilogue } = *product;
    let ((m, k), (k_b, n)) = (a.shape(), b.shape());
    assert!((c.rows, c.cols, k) == (m, n, k_b), "{product:?}: the shapes differ");
    let bias = match epilogue {
        Epilogue::None => None,
        Epilogue::Bias(bias) | Epilogue::BiasRelu(bias) => Some(bias),
    };
    assert!(bias.is_none_or(|bias| (bias.rows, bias.cols) == (1, n)), "{product:?}: the bias is not (1, {n})");

    let room = |v: View| {
        let rows = v.rows > 1 && padded_rows.contains(&v.offset);
        let cols = v.offset.is_multiple_of(ALIGN) && v.stride == v.cols.next_multiple_of(ALIGN);
        (if rows { v.rows.next_multiple_of(ALIGN) } else { v.rows }, if cols { v.stride } else { v.cols })
    };
    let factor_room = |f: Factor| match (f, room(f.view())) {
        (Factor::N(_), (rows, cols)) => (rows, cols),
        (Factor::T(_), (rows, cols)) => (cols, rows),
    };
    let ((m_a, k_a), (k_b, n_b), (m_c, n_c)) = (factor_room(a), factor_room(b), room(c));
    let up = |extent: usize, rooms: &[usize]| match extent.next_multiple_of(ALIGN) {
        wanted if rooms.iter().all(|&room| wanted <= room) => wanted,
        _ => extent,
    };
    let n_bias = bias.map_or(n_c, |bias| room(bias).1);
    let (m, n, k) = (up(m, &[m_a, m_c]), up(n, &[n_b, n_c, n_bias]), up(k, &[k_a, k_b]));

    let resized = |f: Factor, rows: usize, cols: usize| match f {
        Factor::N(v) => Factor::N(View { rows, cols, ..v }),
        Factor::T(v) => Factor::T(View { rows: cols, cols: rows, ..v }),
    };
    Product {
        c: View { rows: m, cols: n, ..c },
        a: resized(a, m, k),
        b: resized(b, k, n),
        epilogue: match epilogue {
            Epilogue::None => Epilogue::None,
            Epilogue::Bias(bias) => Epilogue::Bias(View { cols: n, ..bias }),
            Epilogue::BiasRelu(bias) => Epilogue::BiasRelu(View { cols: n, ..bias }),
        },
    }
}

/// Whether cuBLAS is faster at a product than our own kernels, which start sooner, do what follows in the same launch (for
/// gradients, those of all layers, and Adam), and fall behind as products grow: in f32, where they have the tensor cores and
/// cuBLAS has not, later than elsewhere. A step of 784-500-20-500-784 on an H200, us, by our own kernels alone, and beside
/// it with cuBLAS for what takes more than 2^26 multiplications forward or 256 rows backward:
///
/// ```text
/// batch            100           192            256            384            512           1024
/// fp32    63.2  (62.9)   85.7 (98.1)   90.8 (104.7)  125.7 (157.0)  138.7 (176.1)  191.3 (254.7)
/// tf32    53.6  (53.9)   73.7 (79.5)   77.9  (84.7)  108.0 (107.2)  119.9 (120.4)  156.4 (140.8)
/// bf16    44.9  (45.2)   63.4 (67.2)   66.9  (70.7)   94.3  (86.6)  101.5  (97.4)  133.9 (110.6)
/// ```
///
/// So the limits are of the batch and of what is multiplied, and such that a layer of 500×784 goes over at the same batch
/// forward and backward: a single gradient by cuBLAS takes Adam out of the launch that makes the others. Beyond a batch of
/// 1024 our own kernels have not been timed: there all goes that takes cuBLAS as long as a launch or two.
pub fn large(product: &Product, precision: Precision) -> bool {
    let (rows, depth) = product.a.shape();
    let multiplications = rows * product.c.cols * depth;
    let (batch, most) = match precision {
        Precision::Fp32 => (1024, 1 << 29),
        Precision::Tf32 | Precision::Bf16 => (256, 1 << 27),
    };
    match product.a {
        Factor::T(_) => depth > 256 && (depth > batch || multiplications > most),
        Factor::N(_) => multiplications > if rows > batch { 1 << 26 } else { most },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::Layout;

    fn extents(p: &Product) -> (usize, usize, usize) {
        (p.c.rows, p.c.cols, p.a.shape().1)
    }

    #[test]
    fn a_layers_products_run_on_whole_multiples_except_for_the_batch() {
        let mut layout = Layout::training();
        let (weight, bias) = (layout.weight(33, 17), layout.parameter(1, 33));
        let (x, y) = (layout.activation(101, 17), layout.activation(101, 33));
        let padded = layout.rows_padded();
        let forward = Product { c: y, a: Factor::N(x), b: Factor::T(weight), epilogue: Epilogue::BiasRelu(bias) };
        assert_eq!(extents(&rounded(&forward, &padded)), (101, 40, 24));
        let (dx, dy, dweight) = (layout.d(x), layout.d(y), layout.d(weight));
        let data = Product { c: dx, a: Factor::N(dy), b: Factor::N(weight), epilogue: Epilogue::None };
        assert_eq!(extents(&rounded(&data, &padded)), (101, 24, 40));
        let weights = Product { c: dweight, a: Factor::T(dy), b: Factor::N(x), epilogue: Epilogue::None };
        assert_eq!(extents(&rounded(&weights, &padded)), (40, 24, 101));
    }

    #[test]
    fn a_layer_goes_to_the_library_at_the_batch_from_which_that_was_faster() {
        let goes = |batch: usize, wide: usize, precision: Precision| {
            let mut layout = Layout::training();
            let weight = layout.weight(500, wide);
            let (x, y) = (layout.activation(batch, wide), layout.activation(batch, 500));
            let forward = Product { c: y, a: Factor::N(x), b: Factor::T(weight), epilogue: Epilogue::None };
            let data = Product { c: x, a: Factor::N(y), b: Factor::N(weight), epilogue: Epilogue::None };
            let gradient = Product { c: layout.d(weight), a: Factor::T(y), b: Factor::N(x), epilogue: Epilogue::None };
            [forward, data, gradient].map(|product| large(&product, precision))
        };
        for (precision, ours, theirs) in
            [(Precision::Fp32, 1024, 8192), (Precision::Tf32, 256, 384), (Precision::Bf16, 256, 384)]
        {
            assert_eq!(goes(100, 784, precision), [false; 3], "{precision:?}");
            assert_eq!(goes(ours, 784, precision), [false; 3], "{precision:?}");
            assert_eq!(goes(theirs, 784, precision), [true; 3], "{precision:?}");
            // The narrow layers around the latent variables go later, but for their gradients.
            assert_eq!(goes(1025, 20, precision), [false, false, true], "{precision:?}");
            assert_eq!(goes(8192, 20, precision), [true; 3], "{precision:?}");
            assert_eq!(goes(1024, 8192, precision), [true; 3], "{precision:?}");
        }
    }

    #[test]
    fn a_single_row_and_a_part_of_a_view_keep_their_extents() {
        let mut layout = Layout::training();
        let weight = layout.parameter(1, 17); // one row is not padded
        let (x, y) = (layout.activation(5, 17), layout.activation(5, 1));
        let padded = layout.rows_padded();
        let forward = Product { c: y, a: Factor::N(x), b: Factor::T(weight), epilogue: Epilogue::None };
        assert_eq!(extents(&rounded(&forward, &padded)), (5, 1, 24));
        let part = Product {
            c: y,
            a: Factor::N(x.columns(0..9)),
            b: Factor::T(weight.columns(0..9)),
            epilogue: Epilogue::None,
        };
        assert_eq!(extents(&rounded(&part, &padded)), (5, 1, 9));
    }
}
