//! The extents that a product is run with. Row-major views, without pointers: pure functions, tested without a GPU.
//!
//! Strides are multiples of 8, but extents are not, and cuBLAS has its fastest kernels only where both are: they load
//! 16 bytes at once. The views of a product are whole (see `Product`), so the columns between `cols` and `stride` are
//! its own and zero; so are the rows that pad a parameter, or its gradient, to a multiple of 8. An extent is therefore
//! rounded up where *both* views that have it are padded along it: sums gain terms 0 · 0, and the padding of the result
//! is assigned 0. Nothing else is read or written.
use crate::arena::{ALIGN, View};
use crate::device::driver::{Epilogue, Factor, Product};
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
/// gradients, those of all layers), and fall behind as products grow. On an H200, as nodes of a graph, us, ours (cuBLAS),
/// first in fp32 (by FMA; as two numbers in tf32 they have not been timed), then in tf32:
///
/// ```text
/// forward   100×500×784   10.6 (9.5)   5.6 (6.4)      1024×40×500     7.4 (7.4)    4.9 (4.9)
/// forward   100×784×500   10.8 (9.6)   7.2 (6.6)      1024×784×500   46   (26)    45   (7.7)
/// gradient of 500×784 over 100 examples   8.6 (5.9)   5.7 (3.7), and as much for three more layers along with it;
///                      over 1024 examples 63  (26)   31   (14)
/// ```
///
/// Between 100 and 1024 nothing has been timed, nor has the kernel of today, which has half the instructions: `bench
/// --without library` will tell.
pub fn large(product: &Product) -> bool {
    let (rows, depth) = product.a.shape();
    match product.a {
        Factor::T(_) => depth > 256,
        Factor::N(_) => rows * product.c.cols * depth > 1 << 26,
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
    fn a_batch_of_a_hundred_is_ours_and_one_of_a_thousand_the_library_s() {
        for (batch, wanted) in [(100, [false, false]), (1024, [true, true])] {
            let mut layout = Layout::training();
            let weight = layout.weight(500, 784);
            let (x, y) = (layout.activation(batch, 784), layout.activation(batch, 500));
            let forward = Product { c: y, a: Factor::N(x), b: Factor::T(weight), epilogue: Epilogue::None };
            let gradient = Product { c: layout.d(weight), a: Factor::T(y), b: Factor::N(x), epilogue: Epilogue::None };
            assert_eq!([large(&forward), large(&gradient)], wanted);
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
