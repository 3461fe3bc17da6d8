//! One function for each kernel of kernels/*.cu, with the kernel's own parameters; written by build.rs. The data set and
//! the plan are the device's own, so callers do not name them.
use super::driver::{Arg, Driver, Grid};
use crate::arena::View;

/// A kernel's parameter of that type: see kernels/view.cuh.
#[derive(Clone, Copy, Debug)]
pub struct In(pub View);
/// A kernel's parameter of that type: see kernels/view.cuh.
#[derive(Clone, Copy, Debug)]
pub struct Out(pub View);
/// A kernel's parameter of that type: see kernels/view.cuh.
#[derive(Clone, Copy, Debug)]
pub struct In16(pub View);
/// A kernel's parameter of that type: see kernels/view.cuh.
#[derive(Clone, Copy, Debug)]
pub struct Out16(pub View);

/// A kernel's parameter of that type: numbers of f32, or their copy in bf16.
#[derive(Clone, Copy, Debug)]
pub enum InAny {
    F32(View),
    Half(View),
}

impl InAny {
    /// The same numbers of another view.
    pub fn map(self, f: impl Fn(View) -> View) -> InAny {
        match self {
            InAny::F32(view) => InAny::F32(f(view)),
            InAny::Half(view) => InAny::Half(f(view)),
        }
    }
    fn arg(self) -> Arg {
        match self {
            InAny::F32(view) => Arg::AnyView { view, half: false },
            InAny::Half(view) => Arg::AnyView { view, half: true },
        }
    }
}

/// How tensor cores multiply: `Operands` of kernels/tensor.cuh. Each way has kernels of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Numbers of f32, rounded to tf32.
    Tf32,
    /// Numbers of f32, rounded to bf16.
    Bf16,
    /// Numbers of f32, each as two of tf32.
    Split,
    /// Copies in bf16.
    Half,
}

/// How many layers' gradients one launch makes.
pub const LAYERS: usize = 6;

/// One of [`Layers`]: the gradients of its parameters, and what they are made of.
#[derive(Clone, Copy, Debug)]
pub struct Layer {
    pub dw: Out,
    pub dbias: Out,
    pub dy: In,
    pub dy16: In16,
    pub x: InAny,
}

/// A kernel's parameter of that type: see kernels/gradients.cu.
#[derive(Clone, Copy, Debug)]
pub struct Layers(pub [Layer; LAYERS]);

impl Layers {
    fn args(&self) -> Vec<Arg> {
        let views =
            |l: &Layer| [Arg::View(l.dw.0), Arg::View(l.dbias.0), Arg::View(l.dy.0), Arg::View16(l.dy16.0), l.x.arg()];
        let mut args = vec![Arg::Struct(5 * LAYERS)];
        args.extend(self.0.iter().flat_map(views));
        args
    }
}

/// How many products one launch of a stack makes.
pub const PHASES: usize = 14;

/// One of [`Phases`]: a product, and what follows it.
#[derive(Clone, Copy, Debug)]
pub struct Phase {
    pub c: Out,
    pub c16: Out16,
    pub pre: Out,
    pub a: InAny,
    pub b: InAny,
    pub bias: In,
    pub out: In,
    /// As kernels/stack.cu numbers them.
    pub kind: u32,
    pub f: i32,
}

/// A kernel's parameter of that type: see kernels/stack.cu.
#[derive(Clone, Copy, Debug)]
pub struct Phases(pub [Phase; PHASES]);

impl Phases {
    fn args(&self) -> Vec<Arg> {
        let mut args = vec![Arg::Struct(9 * PHASES)];
        for p in &self.0 {
            args.extend([Arg::View(p.c.0), Arg::View16(p.c16.0), Arg::View(p.pre.0), p.a.arg(), p.b.arg()]);
            args.extend([Arg::View(p.bias.0), Arg::View(p.out.0), Arg::Word(p.kind), Arg::Word(p.f as u32)]);
        }
        args
    }
}

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));
