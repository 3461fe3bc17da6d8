//! What a machine must offer to run the kernels. Pointers exist only behind [`Driver`]: `Cuda` implements it for the
//! program, the emulator for tests.
use super::Chosen;
use crate::Result;
use crate::arena::{RING, View};
use crate::data::{Dataset, Values};
use crate::step::Step;
use std::fmt;
use std::ops::Range;

/// The arithmetic of matrix products on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// f32 throughout. Where tensor cores multiply, each number is two of TF32: what is lost is as small as f32 rounds.
    Fp32,
    /// Operands rounded to TF32 inside the product, sums in f32.
    Tf32,
    /// Operands in bf16, sums, parameters and optimiser state in f32.
    Bf16,
}

/// A factor of a matrix product: a view, or its transpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Factor {
    N(View),
    T(View),
}

impl Factor {
    pub fn view(self) -> View {
        let (Factor::N(v) | Factor::T(v)) = self;
        v
    }
    /// `(rows, cols)` of the factor.
    pub fn shape(self) -> (usize, usize) {
        match self {
            Factor::N(v) => (v.rows, v.cols),
            Factor::T(v) => (v.cols, v.rows),
        }
    }
}

/// What follows a matrix product in the same launch, where the library can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Epilogue {
    None,
    /// c = a b + bias, the bias (1, cols) broadcast over rows.
    Bias(View),
    /// c = max(0, a b + bias)
    BiasRelu(View),
}

/// c = epilogue(a b). Assigns. Products are over the real rows and columns; padding columns of c stay zero.
///
/// Its views are whole, as the layout handed them out: what lies between a row's last column and the next row is padding
/// and zero, which a driver may count in. `columns` and `slice` of a view would have neighbours there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Product {
    pub c: View,
    pub a: Factor,
    pub b: Factor,
    pub epilogue: Epilogue,
}

/// `tn 504×784×100 + bias, relu`: which factors are transposed, and rows, columns, depth.
impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Product { c, a, b, epilogue } = self;
        let side = |f: &Factor| if matches!(f, Factor::N(_)) { 'n' } else { 't' };
        let and = match epilogue {
            Epilogue::None => "",
            Epilogue::Bias(_) => " + bias",
            Epilogue::BiasRelu(_) => " + bias, relu",
        };
        write!(f, "{}{} {}×{}×{}{and}", side(a), side(b), c.rows, c.cols, a.shape().1)
    }
}

/// How many blocks of how many threads.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    pub blocks: [u32; 2],
    pub threads: u32,
    /// So many blocks run at once, and may wait for each other; of 1, no block waits for another.
    pub cluster: u32,
}

impl Grid {
    /// Blocks that do not wait for each other.
    pub fn new(blocks: [u32; 2], threads: u32) -> Grid {
        Grid { blocks, threads, cluster: 1 }
    }
}

/// How many blocks a cluster may have, and how many such clusters run at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cluster {
    pub blocks: u32,
    pub at_once: u32,
}

/// An argument of a kernel, before positions have become addresses.
#[derive(Clone, Copy, Debug)]
pub enum Arg {
    /// `In` or `Out` of kernels/view.cuh: f32.
    View(View),
    /// `In16` or `Out16`: the same place in the arena of bf16.
    View16(View),
    /// `InAny`: one of the two, and it says which.
    AnyView {
        view: View,
        half: bool,
    },
    /// So many of the next, all views, are one parameter.
    Struct(usize),
    /// The resident data set, as kernels/data.cuh has it.
    Data,
    /// The address of the `Plan` of kernels/step.cuh, [`PLAN_WORDS`] long: the current step, the flags, the steps planned.
    Plan,
    U32(u32),
    F32(f32),
    /// `Word` of kernels/stack.cu: a number among the views of a struct.
    Word(u32),
}

/// Where each parameter begins, counted in arguments that have a value: a struct has none of its own, but is those that
/// follow, side by side as its fields are.
pub fn parameters(args: &[Arg]) -> impl Iterator<Item = usize> {
    let (mut values, mut fields) = (0, 0);
    args.iter().filter_map(move |arg| {
        let begin = (fields == 0).then_some(values);
        match arg {
            Arg::Struct(of) => fields = *of,
            _ => (values, fields) = (values + 1, fields.saturating_sub(1)),
        }
        begin
    })
}

/// A data set as a device shall hold it, `Data` of kernels/data.cuh.
pub struct Resident<'a> {
    pub rows: usize,
    pub cols: usize,
    pub stored: Stored,
    /// What lies there, one behind the other.
    pub pieces: Vec<&'a [u8]>,
}

impl<'a> Resident<'a> {
    pub fn new(data: &'a Dataset) -> Self {
        let (stored, pieces) = match &data.values {
            Values::Bytes(bytes) => (Stored::Bytes, vec![&bytes[..]]),
            Values::Reals(reals) => (Stored::Reals, vec![bytemuck::cast_slice(reals)]),
            Values::Sparse(sparse) => (Stored::Sparse, sparse.pieces().to_vec()),
        };
        Resident { rows: data.rows(), cols: data.cols, stored, pieces }
    }

    /// How many bytes they are.
    pub fn bytes(&self) -> usize {
        self.pieces.iter().map(|piece| piece.len()).sum()
    }
}

/// How the numbers of a data set lie in memory; the kernels know these codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    Bytes = 0,
    Reals = 1,
    Sparse = 2,
}

/// How many 32-bit words `Plan` of kernels/step.cuh has: a step, the cursor and the flags, and the steps planned.
pub const PLAN_WORDS: usize = (1 + RING) * Step::WORDS + 8;

/// Positions and lengths are in elements of the arena.
pub trait Driver {
    fn upload(&mut self, at: usize, src: &[f32]) -> Result<()>;
    /// Waits for all work before it.
    fn download(&mut self, src: Range<usize>) -> Result<Vec<f32>>;
    fn zero(&mut self, range: Range<usize>) -> Result<()>;
    /// Makes a data set resident, in place of the one before.
    fn load(&mut self, data: &Resident) -> Result<()>;
    /// Writes the plan's words from `at` on.
    fn write_plan(&mut self, at: usize, words: &[u32]) -> Result<()>;
    fn launch(&mut self, kernel: &'static str, grid: Grid, args: &[Arg]) -> Result<()>;
    /// The clusters that `kernel` can run in with so many threads a block, the largest first; none where blocks cannot wait for
    /// each other.
    fn clusters(&self, _kernel: &'static str, _threads: u32) -> Vec<Cluster> {
        vec![]
    }
    /// Whether a library of products is there and better at this one than our own kernels.
    fn offers(&self, product: &Product) -> bool;
    /// By the library. False where the epilogue is not to be had: then nothing was done, and the caller takes it apart.
    /// False without an epilogue: there is no library at all, and the caller runs our own kernels.
    fn product(&mut self, product: &Product) -> Result<bool>;
    /// What is enqueued from here to `trunk` waits for all before it, and runs beside what comes after `trunk`, up to
    /// `join`. Until then, nothing there writes what it reads or touches what it writes.
    fn branch(&mut self) -> Result<()>;
    fn trunk(&mut self);
    /// What follows waits for the branch too.
    fn join(&mut self) -> Result<()>;
    fn precision(&self) -> Precision;
    /// As `Backend::tune`.
    fn tune(&mut self, _known: Option<&Chosen>) {}
    /// As `Backend::chosen`.
    fn chosen(&self) -> Option<Chosen> {
        None
    }

    /// Between these two, work is recorded instead of run. Copies to or from the host are refused.
    fn begin_capture(&mut self) -> Result<()>;
    fn end_capture(&mut self) -> Result<()>;
    /// Enqueues what was captured, `times` over.
    fn replay(&mut self, times: usize) -> Result<()>;
    /// Forgets what was captured.
    fn forget(&mut self);
    /// How many launches, copies and the like one replay is.
    fn captured(&self) -> Result<usize>;
    /// Copies `len` elements from `src` to `dst`.
    fn copy(&mut self, dst: usize, src: usize, len: usize) -> Result<()>;
}
