//! Our own matrix products, and views at their edges.
use crate::emulator::Emulator;
use crate::setting::numbers;
use vae_gpu::arena::{Layout, View};
use vae_gpu::config::Activation;
use vae_gpu::device::driver::{Grid, Precision};
use vae_gpu::device::kernels::{self, In, In16, InAny, LAYERS, Layer, Layers, Out, Out16, Way};

/// A layout with one view of that shape for each of the names.
pub fn matrices<const N: usize>(shapes: [(usize, usize); N]) -> (Layout, [View; N]) {
    let mut layout = Layout::inference();
    let views = shapes.map(|(rows, cols)| layout.activation(rows, cols));
    (layout, views)
}

pub fn write(e: &mut Emulator, v: View, values: &[f64]) {
    for row in 0..v.rows {
        for col in 0..v.cols {
            e.floats()[v.at(row, col)] = values[row * v.cols + col] as f32;
        }
    }
}

#[test]
fn a_cast_rounds_to_the_nearest_bf16() {
    for cols in [1, 4, 7, 33] {
        let (layout, [x]) = matrices([(3, cols)]);
        let mut e = Emulator::new(&layout, false);
        let mut values = numbers(3 * cols, 1);
        let ties = [1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0, f64::INFINITY];
        values[..3].copy_from_slice(&ties);
        write(&mut e, x, &values);
        kernels::cast(&mut e, Grid::new([1, 1], 32), Out16(x), In(x)).unwrap();
        for row in 0..3 {
            for col in 0..cols {
                let want = half::bf16::from_f64(values[row * cols + col]);
                assert_eq!(e.halves()[x.at(row, col)], want.to_bits(), "{}", values[row * cols + col]);
            }
        }
        e.floats()[x.offset] = f32::from_bits(0x7f80_0001); // the NaN whose upper half is infinity
        kernels::cast(&mut e, Grid::new([1, 1], 32), Out16(x), In(x)).unwrap();
        assert!(half::bf16::from_bits(e.halves()[x.offset]).is_nan());
        let _ = In16(x);
    }
}

#[test]
fn views_may_start_anywhere() {
    let (layout, [x, y]) = matrices([(3, 33), (3, 33)]);
    let mut e = Emulator::new(&layout, false);
    for first in 0..9 {
        let (from, to) = (x.columns(first..33), y.columns(first..33));
        write(&mut e, x, &numbers(99, first));
        let grid = Grid::new([1, 1], 32);
        kernels::cast(&mut e, grid, Out16(to), In(from)).unwrap();
        let zero = In(View { rows: 1, ..layout.scratch().columns(first..33) });
        kernels::bias_activation(&mut e, grid, Out(to), Out16(View { rows: 0, ..y }), Out(from), zero, 0).unwrap();
        for (row, col) in (0..3).flat_map(|row| (first..33).map(move |col| (row, col))) {
            let value = e.floats()[x.at(row, col)];
            assert_eq!(e.floats()[y.at(row, col)], value);
            assert_eq!(e.halves()[y.at(row, col)], half::bf16::from_f32(value).to_bits());
        }
    }
}

/// As our products round their operands.
fn rounded(x: f64, precision: Precision) -> f64 {
    match precision {
        Precision::Fp32 => x as f32 as f64,
        Precision::Tf32 => f32::from_bits(((x as f32).to_bits() + 0x1000) & 0xffff_e000) as f64,
        Precision::Bf16 => half::bf16::from_f32(x as f32).to_f64(),
    }
}

#[test]
fn our_own_products_match_in_every_layout_and_precision() {
    use {Activation::*, Precision::*};
    for (turn, (m, n, k)) in [(1, 1, 1), (17, 33, 65), (33, 17, 300), (70, 130, 16), (5, 66, 9)].into_iter().enumerate()
    {
        // Each with how the tensor cores multiply it; f32 also without them, bf16 also from copies.
        for (precision, way) in [
            (Fp32, None),
            (Fp32, Some(Way::Split)),
            (Tf32, Some(Way::Tf32)),
            (Bf16, Some(Way::Bf16)),
            (Bf16, Some(Way::Half)),
        ] {
            for tile in if way.is_some() { &[(32, 16), (32, 32), (64, 64)][..] } else { &[(32, 16), (64, 64)] } {
                let f = [None, Some(Gelu), Some(Tanh)][turn % 3];
                products_match((m, n, k), precision, way, *tile, turn % 2 == 0, f);
            }
        }
    }
}

fn products_match(
    (m, n, k): (usize, usize, usize),
    p: Precision,
    way: Option<Way>,
    tile: (usize, usize),
    reverse: bool,
    f: Option<Activation>,
) {
    let (layout, [y, pre, dx, dw, dbias, x, w, bias, dy]) =
        matrices([(m, n), (m, n), (m, k), (n, k), (1, n), (m, k), (n, k), (1, n), (m, n)]);
    let mut e = Emulator::new(&layout, reverse);
    let copies = way == Some(Way::Half);
    let number = match f {
        Some(Activation::Tanh) => 1,
        Some(Activation::Gelu) => 4,
        _ => 0,
    };
    let values: Vec<Vec<f64>> = [x, w, bias, dy].iter().enumerate().map(|(i, v)| numbers(v.elements(), i)).collect();
    let [x_is, w_is, bias_is, dy_is] = &values[..] else { unreachable!() };
    for (v, is) in [x, w, bias, dy].into_iter().zip(&values) {
        write(&mut e, v, is);
        if copies {
            kernels::cast(&mut e, Grid::new([4, 1], 32), Out16(v), In(v)).unwrap();
            // dbias is a sum of dy in f32, and the slope that at x; the weights are only multiplied
            if v == w {
                write(&mut e, v, &vec![f64::NAN; is.len()]);
            }
        }
    }
    let whole = |v: View| View { cols: v.stride, ..v };
    let any = |v: View| if copies { InAny::Half(whole(v)) } else { InAny::F32(whole(v)) };
    let none = View { rows: 0, ..x };
    let grid = |c: View| Grid::new([c.cols.div_ceil(tile.1) as u32, c.rows.div_ceil(tile.0) as u32], 512);
    use Precision::*;
    let nt = match (way, tile.1) {
        (None, 64) => kernels::product_nt_wide,
        (None, _) => kernels::product_nt,
        (Some(way), 64) => kernels::product_nt_tensor_wide(way),
        (Some(way), 32) => kernels::product_nt_tensor_middle(way),
        (Some(way), _) => kernels::product_nt_tensor(way),
    };
    let nn = match (way, tile.1) {
        (None, 64) => kernels::product_nn_wide,
        (None, _) => kernels::product_nn,
        (Some(way), 64) => kernels::product_nn_tensor_wide(way),
        (Some(way), 32) => kernels::product_nn_tensor_middle(way),
        (Some(way), _) => kernels::product_nn_tensor(way),
    };
    let (tn, threads) = match way {
        Some(way) => (kernels::product_tn_tensor(way), 256),
        None => (kernels::product_tn as fn(&mut Emulator, Grid, &Layers) -> vae_gpu::Result<()>, 512),
    };
    let half16 = if p == Bf16 { y } else { none };
    nt(&mut e, grid(y), Out(y), Out16(half16), Out(pre), any(x), any(w), In(bias), In(none), number).unwrap();
    // the slope at x, as if a nonlinearity had made it
    let (tiles, no) = (grid(dx), In(none));
    nn(&mut e, tiles, Out(dx), Out16(none), Out(none), any(dy), any(w), no, In(x), number).unwrap();
    let tiles = Grid::new([(n.div_ceil(64) * k.div_ceil(64)) as u32, 1], threads);
    let dy16 = In16(if copies { whole(dy) } else { none });
    let (no, nothing) = (Out(none), In(none));
    let mut layers = [Layer { dw: no, dbias: no, dy: nothing, dy16: In16(none), x: InAny::F32(none) }; LAYERS];
    layers[0] = Layer { dw: Out(dw), dbias: Out(dbias), dy: In(whole(dy)), dy16, x: any(x) };
    tn(&mut e, tiles, &Layers(layers)).unwrap();

    let r = |x: f64| rounded(x, p);
    let dot = |a: &dyn Fn(usize) -> f64, b: &dyn Fn(usize) -> f64, depth| -> f64 {
        (0..depth).map(|l| r(a(l)) * r(b(l))).sum()
    };
    let mut compare_all = |name: &str, v: View, want: &dyn Fn(usize, usize) -> f64| {
        for row in 0..v.rows {
            for col in 0..v.stride {
                let got = e.floats()[v.at(row, col)] as f64;
                let want = if col < v.cols { want(row, col) } else { 0.0 };
                // a sum of up to 300 terms of size 1
                assert!((got - want).abs() < 3e-5, "{name}({row}, {col}) of {m} {n} {k} {p:?} {tile:?}: {got}, {want}");
            }
        }
    };
    let sum = |row: usize, col: usize| dot(&|l| x_is[row * k + l], &|l| w_is[col * k + l], k) + bias_is[col];
    let gelu = |a: f64| {
        let t = (0.797_884_560_802_865_4 * (a + 0.044715 * a * a * a)).tanh();
        let inner = 0.797_884_560_802_865_4 * (1.0 + 3.0 * 0.044715 * a * a);
        (0.5 * a * (1.0 + t), 0.5 * (1.0 + t) + 0.5 * a * (1.0 - t * t) * inner)
    };
    compare_all("pre", pre, &sum);
    compare_all("y", y, &|row, col| match f {
        Some(Activation::Tanh) => sum(row, col).tanh(),
        Some(Activation::Gelu) => gelu(sum(row, col)).0,
        _ => sum(row, col),
    });
    compare_all("dx", dx, &|row, col| {
        let x = x_is[row * k + col];
        let slope = match f {
            Some(Activation::Tanh) => 1.0 - x * x,
            Some(Activation::Gelu) => gelu(x).1,
            _ => 1.0,
        };
        slope * dot(&|l| dy_is[row * n + l], &|l| w_is[l * k + col], n)
    });
    compare_all("dw", dw, &|row, col| dot(&|l| dy_is[l * n + row], &|l| x_is[l * k + col], m));
    compare_all("dbias", dbias, &|_, col| (0..m).map(|l| dy_is[l * n + col]).sum());
    if p == Bf16 {
        for (row, col) in (0..m).flat_map(|row| (0..n).map(move |col| (row, col))) {
            let value = e.floats()[y.at(row, col)];
            assert_eq!(e.halves()[y.at(row, col)], half::bf16::from_f32(value).to_bits());
        }
    }
}
