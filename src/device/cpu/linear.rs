//! A linear layer and the nonlinearity after it.
use super::product::Factor;
use super::{Cpu, each_rows, squares_are_finite};
use crate::arena::{ALIGN, View};
use crate::config::Activation;
use crate::device::{Real, vectorise};
use rayon::prelude::*;

/// √(2/π), of gelu's tanh form (Hendrycks & Gimpel 2016).
const GELU_SCALE: f64 = 0.797_884_560_802_865_4;
const GELU_CUBE: f64 = 0.044715;

/// A product of fewer multiplications gains little from a second thread.
const SHORT: usize = 8 << 20;

/// a = x wᵀ + bias, y = f(a)
pub fn forward<T: Real>(cpu: &mut Cpu<T>, y: View, a: View, x: View, w: View, bias: View, f: Option<Activation>) {
    let (y, a, x) = (cpu.live(y), cpu.live(a), cpu.live(x));
    let [out, x_in, w_in] = cpu.split([a, x, padded_rows(w)]);
    T::product(out, a.stride, x.stride, Factor::n(x_in, x.stride), Factor::t(w_in, w.stride));

    if f == Some(Activation::Gelu) {
        let [y_out, a_out, bias] = cpu.split([y, a, bias]);
        let bias = &bias[..a.cols];
        each_rows(
            a.rows,
            [(y_out, y.stride), (a_out, a.stride)],
            #[inline(always)]
            |_, [y_out, a_out]: &mut [&mut [T]; 2]| {
                for (y, a) in y_out.chunks_mut(y.stride).zip(a_out.chunks_mut(a.stride)) {
                    for ((y, a), &bias) in y.iter_mut().zip(a).zip(bias) {
                        *a += bias;
                        *y = gelu(*a);
                    }
                }
            },
        );
        return;
    }
    let [out, bias] = cpu.split([y, bias]);
    let bias = &bias[..y.cols];
    each_rows(
        y.rows,
        [(out, y.stride)],
        #[inline(always)]
        |_, [out]: &mut [&mut [T]; 1]| {
            macro_rules! apply {
                ($f:expr) => {
                    for row in out.chunks_mut(y.stride) {
                        row.iter_mut().zip(bias).for_each(|(y, &bias)| *y = $f(*y + bias));
                    }
                };
            }
            match f {
                None => apply!(|a: T| a),
                Some(Activation::Relu) => apply!(|a: T| a.max(T::of(0.0))),
                Some(Activation::Tanh) => apply!(|a: T| a.tanh()),
                Some(Activation::Sigmoid) => apply!(|a: T| a.sigmoid()),
                Some(Activation::Softplus) => apply!(|a: T| a.softplus()),
                Some(Activation::Gelu) => apply!(gelu),
            }
        },
    );
}

/// dy becomes da = dy f'(a); of `learned`, dw = daᵀ x and dbias = Σ_rows da; dx = da w.
pub fn backward<T: Real>(
    cpu: &mut Cpu<T>,
    dx: Option<View>,
    learned: Option<(View, View)>,
    dy: View,
    y: View,
    a: View,
    x: View,
    w: View,
    f: Option<Activation>,
) {
    let (dy, y, a, x) = (cpu.live(dy), cpu.live(y), cpu.live(a), cpu.live(x));
    if let Some(f) = f {
        let source = f.slope_from(a, y);
        let [da, values] = cpu.split([dy, source]);
        let values = &*values;
        each_rows(
            dy.rows,
            [(da, dy.stride)],
            #[inline(always)]
            |first, [da]: &mut [&mut [T]; 1]| {
                let values = &values[first * source.stride..];
                macro_rules! apply {
                    ($derivative:expr) => {
                        for (da, v) in da.chunks_mut(dy.stride).zip(values.chunks(source.stride)) {
                            da[..dy.cols].iter_mut().zip(v).for_each(|(da, &v)| *da *= $derivative(v));
                        }
                    };
                }
                let one = T::of(1.0);
                match f {
                    Activation::Relu => apply!(|y: T| if y > T::of(0.0) { one } else { T::of(0.0) }),
                    Activation::Tanh => apply!(|y: T| one - y * y),
                    Activation::Sigmoid => apply!(|y: T| y * (one - y)),
                    // y = log(1 + eᵃ), so σ(a) = 1 − e⁻ʸ; expm1 keeps it exact where y is small
                    Activation::Softplus => apply!(|y: T| -(-y).exp_m1()),
                    Activation::Gelu => apply!(gelu_derivative),
                }
            },
        );
    }

    // Neither needs the other. Short ones go side by side; of long ones each has all threads, and the caches, to itself.
    let side_by_side = dy.rows * dy.cols * x.cols < SHORT;
    let finite = match (learned, dx.map(|dx| cpu.live(dx))) {
        (Some((dw, dbias)), Some(dx)) => {
            let views = [dbias, padded_rows(dw), dx, dy, x, padded_rows(w)];
            let [sums, dw_out, dx_out, da, x_in, w_in] = cpu.split(views);
            let (da, x_in, w_in) = ((&*da, dy), (&*x_in, x), (&*w_in, w));
            let mut learn = || parameters((dw_out, dw), &mut sums[..dbias.cols], da, x_in);
            let mut pass = || input((dx_out, dx), da, w_in);
            if side_by_side { rayon::join(learn, pass).0 } else { (learn(), pass()).0 }
        }
        (Some((dw, dbias)), None) => {
            let [sums, dw_out, da, x_in] = cpu.split([dbias, padded_rows(dw), dy, x]);
            parameters((dw_out, dw), &mut sums[..dbias.cols], (da, dy), (x_in, x))
        }
        (None, Some(dx)) => {
            let [dx_out, da, w_in] = cpu.split([dx, dy, padded_rows(w)]);
            input((dx_out, dx), (da, dy), (w_in, w));
            true
        }
        (None, None) => true,
    };
    cpu.note_gradient(finite);
}

/// dbias = Σ_rows da; dw = daᵀ x. Whether all of it has finite squares.
fn parameters<T: Real>(dw: (&mut [T], View), dbias: &mut [T], da: (&[T], View), x: (&[T], View)) -> bool {
    let ((dw_out, dw), (da_in, da), (x_in, x)) = (dw, da, x);
    // By columns, so that every sum runs over the rows in order, whatever the number of threads.
    let width = 64;
    dbias.par_chunks_mut(width).with_min_len(4).enumerate().for_each(|(i, sums)| {
        vectorise(
            #[inline(always)]
            || {
                sums.fill(T::of(0.0));
                for row in da_in.chunks(da.stride) {
                    sums.iter_mut().zip(&row[i * width..]).for_each(|(sum, &da)| *sum += da);
                }
            },
        )
    });
    T::product(dw_out, dw.stride, da.rows, Factor::t(da_in, da.stride), Factor::n(x_in, x.stride))
        & squares_are_finite(dbias)
}

/// dx = da w.
fn input<T: Real>((dx_out, dx): (&mut [T], View), (da_in, da): (&[T], View), (w_in, w): (&[T], View)) {
    T::product(dx_out, dx.stride, da.stride, Factor::n(da_in, da.stride), Factor::n(w_in, w.stride));
}

/// A weight with the rows of zeros below it: products run on whole multiples of [`ALIGN`], and the padding columns of
/// what they give are zero because these rows are.
fn padded_rows(w: View) -> View {
    View { rows: w.rows.next_multiple_of(ALIGN), ..w }
}

#[inline(always)]
fn gelu<T: Real>(a: T) -> T {
    let t = (T::of(GELU_SCALE) * (a + T::of(GELU_CUBE) * a * a * a)).tanh();
    T::of(0.5) * a * (T::of(1.0) + t)
}

#[inline(always)]
fn gelu_derivative<T: Real>(a: T) -> T {
    let (one, half) = (T::of(1.0), T::of(0.5));
    let t = (T::of(GELU_SCALE) * (a + T::of(GELU_CUBE) * a * a * a)).tanh();
    let inner = T::of(GELU_SCALE) * (one + T::of(3.0 * GELU_CUBE) * a * a);
    half * (one + t) + half * a * (one - t * t) * inner
}
