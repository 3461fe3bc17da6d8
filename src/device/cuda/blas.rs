//! Matrix products of row-major views through cublasLt. What a product needs (descriptors, the algorithm) is made once,
//! on the host alone and therefore also inside a capture; running it again is one call.
use super::memory::Memory;
use super::{timer, turn};
use crate::device::Chosen;
use crate::device::driver::{Epilogue, Factor, Precision, Product};
use crate::{Error, Result};
use cudarc::cublaslt::result::{self, CublasError};
use cudarc::cublaslt::sys::{
    self, cublasComputeType_t as Compute, cublasLtEpilogue_t as LtEpilogue,
    cublasLtMatmulDescAttributes_t as Attribute, cublasLtMatmulPreferenceAttributes_t as Preference,
    cublasLtReductionScheme_t as Scheme, cudaDataType_t as Type,
};
use cudarc::driver::CudaStream;
use std::collections::HashMap;
use std::ffi::c_void;
use std::ptr;

/// What NVIDIA advises for Hopper; other GPUs need less. Our own, for otherwise a capture would allocate.
pub const WORKSPACE: usize = 32 << 20; // bytes
/// How many algorithms compete where they are timed.
const CANDIDATES: usize = 8;
/// What it answers where it knows no way: INVALID_VALUE for some combinations, NOT_SUPPORTED for others.
const UNKNOWN: [u32; 2] = [7, 15];
/// Runs of each.
const RUNS: usize = 10;

/// How the algorithm of a product is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithms {
    /// The library's first: the same on every run, and so are the bits of the result.
    First,
    /// The fastest of the library's first eight: as it was chosen before, else here and now. Two runs that choose anew may
    /// differ in the last bits.
    Fastest,
    /// The library's first, also of those that add partial sums in whatever order they come. To measure what order costs.
    AnyOrder,
}

/// Where the operands of a product lie. Resolved and checked by whoever owns the memory.
#[derive(Clone, Copy)]
pub struct Addresses {
    pub c: u64,
    pub a: u64,
    pub b: u64,
    /// 0 without one.
    pub bias: u64,
}

/// Where a product runs: a stream, and a workspace that no other stream uses.
#[derive(Clone, Copy)]
pub struct Lane<'a> {
    pub stream: &'a CudaStream,
    pub workspace: &'a Memory,
}

/// Dropped from top to bottom: the plans, then the handle (in `drop`).
pub struct Blas {
    plans: HashMap<Product, Option<Plan>>,
    handle: sys::cublasLtHandle_t,
    precision: Precision,
    algorithms: Algorithms,
    /// The fastest, as far as they are known.
    chosen: Chosen,
}

impl Blas {
    /// `library`: what it is called where choices are remembered.
    pub fn new(precision: Precision, library: String) -> Result<Blas> {
        let handle = result::create_handle().map_err(|e| because("cuBLAS does not start", e))?;
        let (plans, algorithms) = (HashMap::new(), Algorithms::First);
        Ok(Blas { plans, handle, precision, algorithms, chosen: Chosen { library, ..Chosen::default() } })
    }

    /// From now on. Forgets what was chosen before.
    pub fn choose(&mut self, algorithms: Algorithms) {
        self.algorithms = algorithms;
        self.plans.clear();
    }

    /// The fastest from now on, as far as they are known to the same library.
    pub fn tune(&mut self, known: Option<&Chosen>) {
        self.choose(Algorithms::Fastest);
        if let Some(known) = known.filter(|known| known.library == self.chosen.library) {
            self.chosen = known.clone();
        }
    }

    pub fn chosen(&self) -> &Chosen {
        &self.chosen
    }

    /// False where the library has no algorithm for it; then nothing was done. `rounded` gives the extents to run with
    /// and the addresses, and is asked once per product. `capturing`: nothing can be timed now.
    pub fn product(
        &mut self,
        product: &Product,
        rounded: impl FnOnce() -> (Product, Addresses),
        lane: Lane,
        capturing: bool,
    ) -> Result<bool> {
        let multiply = |e| because("cuBLAS cannot multiply", e);
        if let Some(plan) = self.plans.get(product) {
            return match plan {
                Some(plan) => self.run(plan, &plan.algorithm, lane).map(|()| true).map_err(multiply),
                None => Ok(false),
            };
        }
        // The library may wait for the GPU when it meets a product for the first time. Who captures has the turn already.
        let _turn = (!capturing).then(turn::take);
        let (rounded, addresses) = rounded();
        let mut plan = self.plan(&rounded, addresses, lane, capturing)?;
        if let Some(made) = &plan {
            match self.run(made, &made.algorithm, lane) {
                Ok(()) => {}
                // It had an algorithm, and does not run it: then the epilogue is not to be had after all.
                Err(e) if UNKNOWN.contains(&(e.0 as u32)) && product.epilogue != Epilogue::None => plan = None,
                Err(e) => return Err(multiply(e)),
            }
        }
        let done = plan.is_some();
        self.plans.insert(*product, plan);
        Ok(done)
    }

    fn plan(&mut self, p: &Product, at: Addresses, lane: Lane, capturing: bool) -> Result<Option<Plan>> {
        let failed = |e| because("cuBLAS cannot describe a product", e);
        let mut plan = Plan::describe(p, at, self.precision).map_err(failed)?;
        let found = match self.candidates(&plan) {
            Ok(found) => found,
            Err(e) if UNKNOWN.contains(&(e.0 as u32)) => Vec::new(),
            Err(e) => return Err(because("cuBLAS cannot choose an algorithm", e)),
        };
        let Some(first) = found.first() else { return Ok(None) };
        plan.algorithm = first.algo;
        if self.algorithms == Algorithms::Fastest {
            let name = plan.name(p);
            let known = self.chosen.algorithms.get(&name).copied().filter(|&i| i < found.len());
            let chosen = match known {
                None if !capturing => Some(self.fastest(&plan, &found, lane)?),
                known => known,
            };
            if let Some(i) = chosen {
                plan.algorithm = found[i].algo;
                self.chosen.algorithms.insert(name, i);
            }
        }
        Ok(Some(plan))
    }

    /// Which one takes the least time, here and now.
    fn fastest(&self, plan: &Plan, found: &[sys::cublasLtMatmulHeuristicResult_t], lane: Lane) -> Result<usize> {
        let mut best = (f64::INFINITY, 0);
        for (i, candidate) in found.iter().enumerate() {
            // Products assign, and read nothing that they write: running one again changes nothing.
            let runs = || self.run(plan, &candidate.algo, lane);
            if runs().is_err() {
                continue;
            }
            let begin = timer::mark(lane.workspace, lane.stream)?;
            (0..RUNS).try_for_each(|_| runs()).map_err(|e| because("cuBLAS cannot multiply", e))?;
            let ms = timer::mark(lane.workspace, lane.stream)?.since(&begin)?;
            if ms < best.0 {
                best = (ms, i);
            }
        }
        Ok(best.1)
    }

    /// The library's algorithms, best first by its own estimate. Host only.
    fn candidates(&self, plan: &Plan) -> std::result::Result<Vec<sys::cublasLtMatmulHeuristicResult_t>, CublasError> {
        let preference = Preferences(result::create_matmul_pref()?);
        preference.set(Preference::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &WORKSPACE)?;
        // Partial sums are added up in the workspace and in order, if at all: never by atomics, never in bf16.
        let schemes = match self.algorithms {
            Algorithms::First | Algorithms::Fastest => Scheme::CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE,
            Algorithms::AnyOrder => Scheme::CUBLASLT_REDUCTION_SCHEME_MASK,
        } as u32;
        preference.set(Preference::CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &schemes)?;
        // Unless told, the library believes in 256 bytes; views of bf16 begin on 128.
        let [c, a, b] = plan.alignments();
        for (attribute, bytes) in [
            (Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, b), // its A is our b: see `describe`
            (Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, a),
            (Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, c),
            (Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, c),
        ] {
            preference.set(attribute, &bytes)?;
        }
        let want = if self.algorithms == Algorithms::Fastest { CANDIDATES } else { 1 };
        let mut found = Vec::with_capacity(want);
        let mut count = 0;
        // SAFETY: handle, descriptor, layouts and preference are borrowed from what destroys them (`Blas`, `Plan`,
        // `Preferences`), and no layout is null: `describe` hands out a plan only when it is whole. `found` has room for
        // `want` results, of which the library has written the first `count`; more than it was asked for, or fewer than
        // none, are not believed.
        unsafe {
            let (desc, [a, b, c]) = (plan.desc, plan.layouts);
            let asked = want as i32;
            sys::cublasLtMatmulAlgoGetHeuristic(
                self.handle,
                desc,
                a,
                b,
                c,
                c,
                preference.0,
                asked,
                found.as_mut_ptr(),
                &mut count,
            )
            .result()?;
            found.set_len((count.max(0) as usize).min(want));
        }
        found.retain(|f: &sys::cublasLtMatmulHeuristicResult_t| {
            f.state == sys::cublasStatus_t::CUBLAS_STATUS_SUCCESS && f.workspaceSize <= WORKSPACE
        });
        Ok(found)
    }

    fn run(
        &self,
        plan: &Plan,
        algorithm: &sys::cublasLtMatmulAlgo_t,
        lane: Lane,
    ) -> std::result::Result<(), CublasError> {
        let Addresses { c, a, b, .. } = plan.at;
        let (one, zero) = (1.0f32, 0.0f32); // alpha and beta
        let ([a_layout, b_layout, c_layout], c) = (plan.layouts, c as *mut c_void);
        // SAFETY: handle, descriptor and layouts as in `candidates`. The addresses are those of `Cuda::product`, which
        // asked `Memory::at` for the whole of each view in the extents that the layouts have, and memory does not move;
        // `candidates` left out every algorithm that wants a larger workspace.
        unsafe {
            result::matmul(
                self.handle,
                plan.desc,
                ptr::from_ref(&one).cast(),
                ptr::from_ref(&zero).cast(),
                b as *const c_void,
                a_layout,
                a as *const c_void,
                b_layout,
                c,
                c_layout,
                c,
                c_layout,
                algorithm,
                lane.workspace.at(0..WORKSPACE) as *mut c_void,
                WORKSPACE,
                lane.stream.cu_stream().cast(),
            )
        }
    }
}

impl Drop for Blas {
    fn drop(&mut self) {
        // The result is ignored: after an error of the GPU this fails too.
        // SAFETY: made by `new`, destroyed once; descriptors do not refer to the handle.
        let _ = unsafe { result::destroy_handle(self.handle) };
    }
}

/// Descriptors of one product, and its algorithm.
struct Plan {
    desc: sys::cublasLtMatmulDesc_t,
    /// Of the library's A, B and D, as far as they are made.
    layouts: [sys::cublasLtMatrixLayout_t; 3],
    algorithm: sys::cublasLtMatmulAlgo_t,
    at: Addresses,
}

impl Plan {
    /// cuBLAS thinks in columns, where a row-major matrix is its own transpose: cᵀ = bᵀ aᵀ. So its A is our b, its B our
    /// a; a view has `cols` of its rows and `rows` of its columns, with the same stride; and its bias, one number a
    /// row, is ours, one a column. Host only.
    fn describe(p: &Product, at: Addresses, precision: Precision) -> std::result::Result<Plan, CublasError> {
        let (operand, compute) = match precision {
            Precision::Fp32 => (Type::CUDA_R_32F, Compute::CUBLAS_COMPUTE_32F),
            Precision::Tf32 => (Type::CUDA_R_32F, Compute::CUBLAS_COMPUTE_32F_FAST_TF32),
            Precision::Bf16 => (Type::CUDA_R_16BF, Compute::CUBLAS_COMPUTE_32F),
        };
        let desc = result::create_matmul_desc(compute, Type::CUDA_R_32F)?;
        let algorithm = sys::cublasLtMatmulAlgo_t { data: [0; 8] };
        let mut plan = Plan { desc, layouts: [ptr::null_mut(); 3], algorithm, at }; // from here on `drop` cleans up

        // cublasOperation_t: 0 is N, 1 is T.
        let op = |f: Factor| matches!(f, Factor::T(_)) as i32;
        plan.set(Attribute::CUBLASLT_MATMUL_DESC_TRANSA, &op(p.b))?;
        plan.set(Attribute::CUBLASLT_MATMUL_DESC_TRANSB, &op(p.a))?;
        let epilogue = match p.epilogue {
            Epilogue::None => LtEpilogue::CUBLASLT_EPILOGUE_DEFAULT,
            Epilogue::Bias(_) => LtEpilogue::CUBLASLT_EPILOGUE_BIAS,
            Epilogue::BiasRelu(_) => LtEpilogue::CUBLASLT_EPILOGUE_RELU_BIAS,
        };
        plan.set(Attribute::CUBLASLT_MATMUL_DESC_EPILOGUE, &(epilogue as u32))?;
        if p.epilogue != Epilogue::None {
            // Before the search, which looks at the pointer's alignment.
            plan.set(Attribute::CUBLASLT_MATMUL_DESC_BIAS_POINTER, &at.bias)?;
            plan.set(Attribute::CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, &(Type::CUDA_R_32F as i32))?;
        }
        for (i, (v, ty)) in
            [(p.b.view(), operand), (p.a.view(), operand), (p.c, Type::CUDA_R_32F)].into_iter().enumerate()
        {
            plan.layouts[i] = result::create_matrix_layout(ty, v.cols as u64, v.rows as u64, v.stride as i64)?;
        }
        Ok(plan)
    }

    /// Bytes that each address is a multiple of, of c, a and b: 256 at most.
    fn alignments(&self) -> [u32; 3] {
        let Addresses { c, a, b, .. } = self.at;
        [c, a, b].map(|address| 1 << address.trailing_zeros().min(8))
    }

    /// All that the library's list depends on, but for the library and the precision.
    fn name(&self, p: &Product) -> String {
        let [c, a, b] = [p.c, p.a.view(), p.b.view()].map(|v| v.stride);
        let [c_bytes, a_bytes, b_bytes] = self.alignments();
        format!("{p}, rows {c} {a} {b} apart, from multiples of {c_bytes} {a_bytes} {b_bytes}")
    }

    fn set<T: Copy>(&self, attribute: Attribute, value: &T) -> std::result::Result<(), CublasError> {
        // SAFETY: the descriptor is alive; the library copies as many bytes as the value has.
        unsafe { result::set_matmul_desc_attribute(self.desc, attribute, ptr::from_ref(value).cast(), size_of::<T>()) }
    }
}

impl Drop for Plan {
    fn drop(&mut self) {
        for layout in self.layouts.into_iter().filter(|layout| !layout.is_null()) {
            // SAFETY: made by `describe`, not null by the filter, and destroyed once, for a `Plan` is not `Clone`.
            let _ = unsafe { result::destroy_matrix_layout(layout) };
        }
        // SAFETY: likewise.
        let _ = unsafe { result::destroy_matmul_desc(self.desc) };
    }
}

struct Preferences(sys::cublasLtMatmulPreference_t);

impl Preferences {
    fn set<T: Copy>(&self, attribute: Preference, value: &T) -> std::result::Result<(), CublasError> {
        // SAFETY: the preference is alive; the library copies as many bytes as the value has.
        unsafe { result::set_matmul_pref_attribute(self.0, attribute, ptr::from_ref(value).cast(), size_of::<T>()) }
    }
}

impl Drop for Preferences {
    fn drop(&mut self) {
        // SAFETY: made in `candidates`, destroyed once.
        let _ = unsafe { result::destroy_matmul_pref(self.0) };
    }
}

fn because(what: &str, e: CublasError) -> Error {
    Error::failed(format!("{what} (cuBLAS status {})", e.0 as u32))
}
