//! The GPU through cudarc: one device, a stream with one branch, one allocation for the state and one for each thing beside
//! it. All `unsafe` of the crate is in this folder. Errors are sentences, and nothing panics for what the machine lacks:
//! detection has asked for every library and symbol used here.
#![allow(unsafe_code)]
use super::Chosen;
use super::driver::{self, Arg, Cluster, Driver, Epilogue, Grid, PLAN_WORDS, Precision, Product, Resident, Stored};
use crate::arena::{Layout, View};
use crate::{Error, Result};
use blas::{Addresses, Blas, Lane};
use branch::Branch;
use cudarc::driver::sys::{self, CUgraphInstantiate_flags, CUstreamCaptureMode};
use cudarc::driver::{CudaContext, CudaGraph, CudaStream, DriverError, result};
use detect::Device;
use libraries::Cublas;
use memory::Memory;
use std::ffi::c_void;
use std::fmt::Display;
use std::ops::Range;
use std::ptr;
use std::sync::Arc;
use turn::Turn;

mod blas;
mod branch;
pub mod detect;
pub mod image;
mod launch;
pub mod libraries;
mod memory;
mod shape;
mod timer;
mod turn;

pub use blas::Algorithms;
pub use detect::Report;
pub use timer::Mark;

/// The oldest driver whose graphs hold launches that overlap: 12.4.
const OVERLAP: i32 = 12040;
/// Sizes of clusters that are asked for, the largest first. Of an H200's groups of processors one has no room for 16.
const CLUSTERS: [u32; 6] = [16, 14, 12, 8, 4, 2];
/// No kernel takes more.
const MAX_ARGS: usize = 160;

/// The resident data set.
struct Data {
    bytes: Memory,
    rows: usize,
    cols: usize,
    stored: Stored,
}

/// Stays on the thread that made it, where its GPU is the current one until another is opened: one GPU a thread. Dropped
/// from top to bottom, once the work is done: first what uses the memory, then the memory, then the stream.
pub struct Cuda {
    graph: Option<CudaGraph>,
    capturing: bool,
    /// None: no product is to be had, and our own kernels multiply.
    blas: Option<Blas>,
    workspace: Memory,
    branch: Branch,
    /// Work goes to the branch.
    beside: bool,
    /// The next launch waits for the branch too.
    joined: bool,
    data: Option<Data>,
    plan: Memory,
    /// What the driver may not have read yet.
    on_their_way: Vec<Vec<u32>>,
    arena: Memory,
    /// With `Precision::Bf16`, the same places once more.
    arena16: Option<Memory>,
    rows_padded: Range<usize>,
    functions: image::Functions,
    precision: Precision,
    /// Whether launches may overlap: both the GPU and a capture can.
    overlap: bool,
    device: Device,
    stream: Arc<CudaStream>,
    context: Arc<CudaContext>,
    /// While it captures, and while it is dropped: the last field, for it lasts until the others are gone.
    turn: Option<Turn>,
}

impl Cuda {
    /// Opens a GPU, with our kernels and zeros in its memory for a `layout`.
    ///
    /// # Errors
    /// What is missing, and what would help.
    pub fn new(ordinal: usize, layout: &Layout, precision: Precision) -> Result<Cuda> {
        let (device, cublas) = find(ordinal)?;
        let turn = turn::take();
        let context = context(ordinal)?;
        // SAFETY: one stream orders all our work, but for what `Driver::branch` describes.
        // With cudarc's events a launch would be 16 driver calls instead of one, and a capture would fail.
        unsafe { context.disable_event_tracking() };
        // Not the default stream: that one cannot be captured.
        let stream = context.new_stream().map_err(|e| because("cannot make a stream", e))?;
        let driver = detect::driver()?;
        let functions = image::load(&context, &device, driver)?;

        let elements = layout.total();
        let arena = Memory::zeroed(&context, &stream, "parameters and activations", 4 * elements)?;
        let arena16 = match precision {
            Precision::Bf16 => Some(Memory::zeroed(&context, &stream, "bf16 operands", 2 * elements)?),
            Precision::Fp32 | Precision::Tf32 => None,
        };
        let plan = Memory::zeroed(&context, &stream, "the plan of steps", 4 * PLAN_WORDS)?;
        let (blas, room) = match cublas {
            Ok(found) => (Some(Blas::new(precision, library(&device, &found))?), blas::WORKSPACE),
            Err(_) => (None, 0), // `find` has told why
        };
        let workspace = Memory::new(&context, "the workspace of cuBLAS", room)?;
        let branch = Branch::new(&context, room)?;
        let overlap = device.capability >= (9, 0) && driver >= OVERLAP;
        let (graph, data, rows_padded) = (None, None, layout.rows_padded());
        let (capturing, beside, joined) = (false, false, false);
        drop(turn);
        Ok(Cuda {
            graph,
            capturing,
            blas,
            workspace,
            branch,
            beside,
            joined,
            data,
            plan,
            on_their_way: vec![],
            arena,
            arena16,
            rows_padded,
            functions,
            precision,
            overlap,
            device,
            stream,
            context,
            turn: None,
        })
    }

    pub fn device(&self) -> &Device {
        &self.device
    }

    /// How algorithms of matrix products are chosen from now on. Forgets what was captured.
    pub fn choose(&mut self, algorithms: Algorithms) {
        self.forget();
        if let Some(blas) = &mut self.blas {
            blas.choose(algorithms);
        }
    }

    /// A point in the work enqueued so far, to measure from or to.
    pub fn mark(&self) -> Result<Mark> {
        self.not_capturing()?;
        Mark::new(&self.context, &self.stream)
    }

    /// What `work` takes on the GPU, in milliseconds.
    pub fn time(&mut self, work: impl FnOnce(&mut Cuda) -> Result<()>) -> Result<f64> {
        let begin = self.mark()?;
        work(self)?;
        self.mark()?.since(&begin)
    }

    /// Where work goes now.
    fn lane(&self) -> Lane<'_> {
        match self.beside {
            true => self.branch.lane(),
            false => Lane { stream: &self.stream, workspace: &self.workspace },
        }
    }

    fn address(&self, v: View) -> u64 {
        let Range { start, end } = v.span();
        if v.rows == 0 { 0 } else { self.arena.at(4 * start..4 * end) }
    }

    fn address16(&self, v: View) -> u64 {
        if v.rows == 0 {
            return 0; // how a kernel is told that there is no copy in bf16
        }
        let arena = self.arena16.as_ref().expect("views of bf16 have rows only where the precision is bf16");
        let Range { start, end } = v.span();
        arena.at(2 * start..2 * end)
    }

    /// As kernels/view.cuh, data.cuh and step.cuh have it in memory, from the first byte on: an address of 8 bytes,
    /// then numbers of 4; or a number alone.
    fn argument(&self, arg: Arg) -> [u64; 3] {
        const { assert!(cfg!(target_endian = "little"), "the first number of a pair is the low half") };
        let word = |x: usize| u64::from(u32::try_from(x).ok().filter(|&x| x <= i32::MAX as u32).expect("fits an int"));
        let pair = |low, high| word(low) | word(high) << 32;
        match arg {
            Arg::View(v) => [self.address(v), pair(v.rows, v.cols), word(v.stride)],
            Arg::View16(v) => [self.address16(v), pair(v.rows, v.cols), word(v.stride)],
            Arg::AnyView { view: v, half: false } => [self.address(v), pair(v.rows, v.cols), pair(v.stride, 0)],
            Arg::AnyView { view: v, half: true } => [self.address16(v), pair(v.rows, v.cols), pair(v.stride, 1)],
            Arg::Struct(_) => unreachable!("its fields are arguments"),
            Arg::Data => match &self.data {
                Some(Data { bytes, rows, cols, stored }) => {
                    [bytes.at(0..0), pair(*rows, *cols), word(*stored as usize)]
                }
                None => [0; 3],
            },
            Arg::Plan => [self.plan.at(0..4 * PLAN_WORDS), 0, 0],
            Arg::U32(x) | Arg::Word(x) => [u64::from(x), 0, 0],
            Arg::F32(x) => [u64::from(x.to_bits()), 0, 0],
        }
    }

    /// A graph would keep the address of the host's memory, and use it again at every replay.
    fn not_capturing(&self) -> Result<()> {
        match self.capturing {
            true => Err(Error::failed("a captured step cannot wait, nor copy to or from the host")),
            false => Ok(()),
        }
    }
}

impl Driver for Cuda {
    fn upload(&mut self, at: usize, src: &[f32]) -> Result<()> {
        self.not_capturing()?;
        self.arena.upload(&self.stream, 4 * at, src)
    }

    fn download(&mut self, src: Range<usize>) -> Result<Vec<f32>> {
        self.not_capturing()?;
        let numbers = self.arena.download(&self.stream, 4 * src.start..4 * src.end)?;
        self.on_their_way.clear();
        Ok(numbers)
    }

    fn zero(&mut self, range: Range<usize>) -> Result<()> {
        if let Some(arena16) = &self.arena16 {
            arena16.zero(&self.stream, 2 * range.start..2 * range.end)?;
        }
        self.arena.zero(&self.stream, 4 * range.start..4 * range.end)
    }

    fn load(&mut self, data: &Resident) -> Result<()> {
        self.not_capturing()?;
        self.forget(); // it has the address of the data before
        memory::wait(&self.stream)?;
        self.data = None; // first, so that there is room
        let memory = Memory::new(&self.context, "the data set", data.bytes())?;
        let mut at = 0;
        for piece in data.pieces.iter().filter(|piece| !piece.is_empty()) {
            memory.upload(&self.stream, at, piece)?;
            at += piece.len();
        }
        let &Resident { rows, cols, stored, .. } = data;
        self.data = Some(Data { bytes: memory, rows, cols, stored });
        Ok(())
    }

    fn write_plan(&mut self, at: usize, words: &[u32]) -> Result<()> {
        self.not_capturing()?;
        // Several stretches of steps are on their way before anybody waits.
        self.on_their_way.push(words.to_vec());
        let words = self.on_their_way.last().expect("pushed just now");
        // SAFETY: `download` forgets them when it has waited, and `drop` waits before it does.
        unsafe { self.plan.enqueue(&self.stream, 4 * at, words) }
    }

    fn launch(&mut self, kernel: &'static str, grid: Grid, args: &[Arg]) -> Result<()> {
        assert!(args.len() <= MAX_ARGS, "{kernel} takes {} arguments", args.len());
        let mut values = [[0; 3]; MAX_ARGS];
        let mut pointers = [ptr::null_mut::<c_void>(); MAX_ARGS];
        let valued = args.iter().filter(|arg| !matches!(arg, Arg::Struct(_)));
        values.iter_mut().zip(valued).for_each(|(value, &arg)| *value = self.argument(arg));
        let first = values.as_mut_ptr();
        let begin = driver::parameters(args).map(|at| first.wrapping_add(at).cast());
        pointers.iter_mut().zip(begin).for_each(|(pointer, begin)| *pointer = begin);
        let function = self.functions[kernel].cu_function();
        // What waits for two streams does not overlap: after a fork, or a join.
        let alone = self.beside || std::mem::take(&mut self.joined);
        let mut attributes = [launch::cluster_of(grid.cluster), launch::overlapping()];
        let of_cluster = (grid.cluster > 1) as usize;
        let attributes = &mut attributes[1 - of_cluster..if self.overlap && !alone { 2 } else { 1 }];
        let config =
            sys::CUlaunchConfig { hStream: self.lane().stream.cu_stream(), ..launch::config(grid, attributes) };
        // SAFETY: build.rs made the launcher from the kernel's signature, so number and types of the arguments agree,
        // and each value has the bytes of the widest; `Memory::at` checked the views, and tests/kernels that the
        // kernel keeps to them. build.rs checked that it waits for the launch before.
        let launched =
            unsafe { sys::cuLaunchKernelEx(&config, function, pointers.as_mut_ptr(), ptr::null_mut()) }.result();
        launched.map_err(|e| because(format_args!("cannot launch {kernel}"), e))
    }

    fn clusters(&self, kernel: &'static str, threads: u32) -> Vec<Cluster> {
        if self.device.capability < (9, 0) {
            return vec![];
        }
        let function = self.functions[kernel].cu_function();
        let fits = |blocks: u32| {
            let (mut attributes, mut at_once) = ([launch::cluster_of(blocks)], 0);
            let grid = Grid { blocks: [blocks, 1], threads, cluster: blocks };
            let config = launch::config(grid, &mut attributes);
            let wide = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED;
            // SAFETY: the kernel is loaded, and the attribute is of kernels; the configuration lives as long as the question.
            let asked = unsafe {
                match sys::cuFuncSetAttribute(function, wide, 1).result() {
                    Ok(()) => sys::cuOccupancyMaxActiveClusters(&mut at_once, function, &config).result(),
                    refused => refused,
                }
            };
            // Where a size is not to be had, an error may say so.
            asked.ok().filter(|()| at_once > 0).map(|()| Cluster { blocks, at_once: at_once as u32 })
        };
        CLUSTERS.into_iter().filter_map(fits).collect()
    }

    fn offers(&self, product: &Product) -> bool {
        self.blas.is_some() && shape::large(product, self.precision)
    }

    fn product(&mut self, product: &Product) -> Result<bool> {
        if product.c.elements() == 0 {
            return Ok(true);
        }
        let Some(mut blas) = self.blas.take() else { return Ok(false) };
        let rounded = || {
            let p = shape::rounded(product, &self.rows_padded);
            let operand = |v| if self.arena16.is_some() { self.address16(v) } else { self.address(v) };
            let bias = match p.epilogue {
                Epilogue::None => 0,
                Epilogue::Bias(bias) | Epilogue::BiasRelu(bias) => self.address(bias),
            };
            let (c, a, b) = (self.address(p.c), operand(p.a.view()), operand(p.b.view()));
            (p, Addresses { c, a, b, bias })
        };
        let done = blas.product(product, rounded, self.lane(), self.capturing);
        self.blas = Some(blas);
        done
    }

    fn branch(&mut self) -> Result<()> {
        self.branch.fork(&self.stream)?;
        self.beside = true;
        Ok(())
    }

    fn trunk(&mut self) {
        self.beside = false;
    }

    fn join(&mut self) -> Result<()> {
        self.joined |= self.branch.join(&self.stream)?;
        Ok(())
    }

    fn precision(&self) -> Precision {
        self.precision
    }

    fn tune(&mut self, known: Option<&Chosen>) {
        self.forget();
        if let Some(blas) = &mut self.blas {
            blas.tune(known);
        }
    }

    fn chosen(&self) -> Option<Chosen> {
        self.blas.as_ref().map(|blas| blas.chosen().clone())
    }

    fn begin_capture(&mut self) -> Result<()> {
        self.forget();
        self.turn = Some(turn::take());
        // Relaxed: cuBLAS may load a kernel at its first use. What a graph must not hold we refuse ourselves.
        let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
        let begun = self.stream.begin_capture(mode).map_err(|e| because("cannot begin a capture", e));
        self.capturing = begun.is_ok();
        if begun.is_err() {
            self.turn = None;
        }
        begun
    }

    fn end_capture(&mut self) -> Result<()> {
        self.capturing = false;
        self.branch.ended();
        self.beside = false;
        let graph = self.stream.end_capture(CUgraphInstantiate_flags(0));
        self.turn = None;
        let graph = graph.map_err(|e| because("cannot end the capture", e))?;
        let graph = graph.ok_or_else(|| Error::failed("the capture gave no graph"))?;
        graph.upload().map_err(|e| because("cannot upload the graph", e))?;
        self.graph = Some(graph);
        Ok(())
    }

    fn replay(&mut self, times: usize) -> Result<()> {
        let graph = self.graph.as_ref().ok_or_else(|| Error::failed("nothing was captured"))?;
        let (graph, stream) = (graph.cu_graph_exec(), self.stream.cu_stream());
        for _ in 0..times {
            // SAFETY: the addresses in the graph are of memory that lives as long; `load`, which frees some, forgets
            // the graph. cudarc's `CudaGraph::launch` would be two calls.
            unsafe { result::graph::launch(graph, stream) }.map_err(|e| because("cannot replay the step", e))?;
        }
        Ok(())
    }

    fn forget(&mut self) {
        self.graph = None; // replays in flight finish: the driver keeps what they need
    }

    fn captured(&self) -> Result<usize> {
        let graph = self.graph.as_ref().ok_or_else(|| Error::failed("nothing was captured"))?;
        let mut nodes = 0;
        // SAFETY: the graph is alive. Without room for them, the nodes are only counted.
        let counted = unsafe { sys::cuGraphGetNodes(graph.cu_graph(), ptr::null_mut(), &mut nodes) }.result();
        counted.map(|()| nodes).map_err(|e| because("cannot count what was captured", e))
    }

    fn copy(&mut self, dst: usize, src: usize, len: usize) -> Result<()> {
        let (dst, src) = (4 * dst..4 * (dst + len), 4 * src..4 * (src + len));
        assert!(dst.end <= src.start || src.end <= dst.start, "bytes {src:?} copied to {dst:?}");
        let (dst, bytes, src) = (self.arena.at(dst.clone()), dst.len(), self.arena.at(src));
        // SAFETY: `Memory::at` checked both ranges, which do not overlap; the stream is of the same context.
        unsafe { result::memcpy_dtod_async(dst, src, bytes, self.stream.cu_stream()) }
            .map_err(|e| because("cannot copy", e))
    }
}

impl Drop for Cuda {
    fn drop(&mut self) {
        if self.capturing {
            let _ = self.stream.end_capture(CUgraphInstantiate_flags(0));
        }
        self.turn.get_or_insert_with(turn::take);
        // Then nothing uses the memory any more. An error may have come between a fork and its join.
        let (trunk, branch) = (memory::wait(&self.stream), self.branch.wait());
        if trunk.is_err() || branch.is_err() {
            image::forget(self.device.ordinal);
        }
    }
}

/// A GPU of a kind that our kernels run on, and the cuBLAS for it, or why there is none: then our own, slower kernels multiply.
///
/// # Errors
/// What is missing, and what would help.
pub fn find(ordinal: usize) -> Result<(Device, Result<Cublas>)> {
    let version = detect::driver()?;
    let device = Device::look(ordinal)?;
    if device.capability < detect::CAPABILITY {
        let (major, minor) = detect::CAPABILITY;
        return Err(Error::failed(format!("{device}: compute capability {major}.{minor} or later is needed")));
    }
    Ok((device, libraries::cublas(version)))
}

/// Whether the GPU can have our kernels: asked where the driver would have to compile them.
///
/// # Errors
/// What is missing, and what would help.
pub fn try_kernels(device: &Device) -> Result<()> {
    let driver = detect::driver()?;
    match image::has_code(device, driver) {
        true => Ok(()),
        false => {
            let _turn = turn::take();
            image::load(&context(device.ordinal)?, device, driver).map(drop)
        }
    }
}

/// What offers algorithms, and for what.
pub fn library(device: &Device, cublas: &Cublas) -> String {
    format!("cuBLAS {} for {}", cublas.number(), device.name)
}

/// Bytes that a layout takes beside its elements.
pub const BESIDE: u64 = (4 * PLAN_WORDS + 2 * blas::WORKSPACE) as u64;

/// Bytes that are free, if the driver says.
pub fn room(ordinal: usize) -> Option<u64> {
    let _turn = turn::take();
    let _context = context(ordinal).ok()?; // the question is of the current one
    result::mem_get_info().ok().map(|(free, _)| free as u64)
}

fn context(ordinal: usize) -> Result<Arc<CudaContext>> {
    CudaContext::new(ordinal).map_err(|e| because(format_args!("cannot open GPU {ordinal}"), e))
}

/// One sentence: what we could not do, and the driver's reason.
fn because(what: impl Display, e: DriverError) -> Error {
    let reason = e.error_string().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    Error::failed(format!("{what}: {reason} (CUDA error {})", e.0 as u32))
}
