//! The driver that runs kernels on the CPU and checks every access; see kernels/host/emulator.cpp.
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString, c_char, c_void};
use std::io::Read;
use std::{ops::Range, sync::Mutex};
use vae_gpu::arena::{Layout, View};
use vae_gpu::device::driver::{
    self, Arg, Cluster, Driver, Epilogue, Factor, Grid, PLAN_WORDS, Precision, Product, Resident,
};
use vae_gpu::{Error, Result};

/// A kernel of kernels/host/cuda.h, and those of a text in PTX.
#[repr(C)]
struct Kernel([u8; 0]);
#[repr(C)]
struct Kernels([u8; 0]);
unsafe extern "C" {
    fn emu_find(name: *const c_char) -> *const Kernel;
    fn emu_launch(kernel: *const Kernel, grid: Grid, args: *mut *mut c_void, reverse: bool) -> *const c_char;
    fn ptx_load(text: *const c_char, error: *mut *const c_char) -> *const Kernels;
    fn ptx_counts() -> *const Counts;
    fn ptx_find(kernels: *const Kernels, name: *const c_char) -> *const Kernel;
}

/// What a launch did, as kernels/host/ptx.h has it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    pub instructions: u64,
    pub longest: u64,
    pub products: u64,
    pub accesses: u64,
    pub sectors: u64,
    pub least_sectors: u64,
    pub shared_accesses: u64,
    pub passes: u64,
    pub least_passes: u64,
}

/// What is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// What the host's C++ compiler makes of the kernels.
    Host,
    /// The PTX that nvcc makes of them.
    Ptx(&'static Ptx),
}

/// The variable that says of which architecture the PTX is that emulators execute, as `90`; else it is the host's code.
pub const EXECUTE: &str = "EMULATOR_EXECUTES_PTX_OF";

impl Code {
    fn wanted() -> Code {
        let Ok(arch) = std::env::var(EXECUTE) else { return Code::Host };
        Ptx::of(arch.parse().unwrap()).expect("the build has PTX")
    }
}

/// The nvcc whose PTX the executor knows, for it knows the instructions that occur in it: the one that the build fetches.
const KNOWN: &str = "13.0";

/// The kernels in PTX, read once.
#[derive(Debug, PartialEq, Eq)]
pub struct Ptx(usize);

impl Ptx {
    /// For GPUs of this architecture; `None`, and a word, where the build has none that the executor knows.
    pub fn of(arch: u32) -> Option<Code> {
        let release = env!("NVCC_RELEASE"); // empty where there was none
        if release != KNOWN {
            println!("skipped: this build has no PTX of nvcc {KNOWN}");
            return None;
        }
        static READ: Mutex<BTreeMap<u32, &'static Ptx>> = Mutex::new(BTreeMap::new());
        let mut read = READ.lock().unwrap();
        let ptx = read.entry(arch).or_insert_with(|| {
            let packed = std::fs::File::open(format!("{}/kernels.{arch}.ptx.gz", env!("OUT_DIR"))).unwrap();
            let mut text = vec![];
            flate2::read::GzDecoder::new(packed).read_to_end(&mut text).unwrap();
            let text = CString::from_vec_with_nul(text).unwrap();
            let mut error = std::ptr::null();
            // SAFETY: the text ends with a zero; the kernels live as long as the process.
            let kernels = unsafe { ptx_load(text.as_ptr(), &mut error) };
            // SAFETY: the reader's message.
            assert!(error.is_null(), "{}", unsafe { CStr::from_ptr(error) }.to_string_lossy());
            Box::leak(Box::new(Ptx(kernels as usize)))
        });
        Some(Code::Ptx(ptx))
    }
}

/// `In`, `Out` and their kin, as kernels/view.cuh and data.cuh have them; a pointer is the address alone.
#[repr(C)]
struct Operand {
    address: u64,
    words: [i32; 4],
}

/// 256 bytes: what a view of a GPU's arena starts on.
#[repr(C, align(256))]
#[derive(Clone, Copy)]
struct Line([u32; 64]);

/// Device memory: `Vec` alone promises no alignment of 256 bytes.
struct Memory(Vec<Line>);

impl Memory {
    fn new(words: usize) -> Memory {
        Memory(vec![Line([0; 64]); words.div_ceil(64)])
    }
    fn words(&mut self) -> &mut [u32] {
        // SAFETY: a Line is 64 words without padding.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), self.0.len() * 64) }
    }
    fn floats(&mut self) -> &mut [f32] {
        // SAFETY: as above, and every word is a float.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), self.0.len() * 64) }
    }
    fn halves(&mut self) -> &mut [u16] {
        // SAFETY: as above, and a word is two halves.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), self.0.len() * 128) }
    }
}

enum Work {
    Launch(&'static str, Grid, Vec<Arg>),
    Product(Product),
    Copy(usize, usize, usize),
}

/// Which matrix products it offers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Library {
    /// With every epilogue.
    Fused,
    /// Without.
    Plain,
    /// None: our own kernel must serve.
    Missing,
}

pub struct Emulator {
    memory: Memory,
    half: Memory,
    plan: Memory,
    data: (Memory, [i32; 3]),
    pub precision: Precision,
    pub library: Library,
    pub clusters: Vec<Cluster>,
    pub code: Code,
    /// What each launch executed, of PTX.
    pub counted: Vec<(&'static str, Counts)>,
    pub reverse: bool, // runs the threads of a block last to first
    pub launched: BTreeSet<&'static str>,
    /// Launches and products since the start, replayed ones not counted.
    pub calls: usize,
    /// Those of them that ran beside others.
    pub branched: usize,
    /// What runs on the branch, until it is waited for. In the order of `reverse` it runs as late as that.
    beside: Vec<Work>,
    on_branch: bool,
    joined: bool,
    capture: Option<Vec<Work>>,
    graph: Option<Vec<Work>>,
}

impl Emulator {
    pub fn new(layout: &Layout, reverse: bool) -> Self {
        Emulator {
            memory: Memory::new(layout.total()),
            half: Memory::new(layout.total().div_ceil(2)),
            plan: Memory::new(PLAN_WORDS),
            data: (Memory::new(0), [0; 3]),
            precision: Precision::Fp32,
            library: Library::Plain,
            clusters: vec![],
            code: Code::wanted(),
            counted: vec![],
            reverse,
            launched: BTreeSet::new(),
            calls: 0,
            branched: 0,
            beside: vec![],
            on_branch: false,
            joined: true,
            capture: None,
            graph: None,
        }
    }
    pub fn floats(&mut self) -> &mut [f32] {
        self.memory.floats()
    }
    pub fn halves(&mut self) -> &mut [u16] {
        self.half.halves()
    }

    /// The kernels that one replay launches.
    pub fn captured_kernels(&self) -> Vec<&'static str> {
        let launch = |work: &Work| match work {
            Work::Launch(kernel, ..) => Some(*kernel),
            _ => None,
        };
        self.graph.iter().flatten().filter_map(launch).collect()
    }

    fn run(&mut self, work: &Work) -> Result<()> {
        match work {
            Work::Launch(kernel, grid, args) => self.run_kernel(kernel, *grid, args),
            Work::Product(product) => {
                self.run_product(product);
                Ok(())
            }
            &Work::Copy(dst, src, len) => {
                self.memory.floats().copy_within(src..src + len, dst);
                Ok(())
            }
        }
    }

    fn run_kernel(&mut self, kernel_name: &'static str, grid: Grid, args: &[Arg]) -> Result<()> {
        let shape = |v: View| [v.rows as i32, v.cols as i32, v.stride as i32, 0];
        let mut operand = |arg: &Arg| match *arg {
            // The slices check that the view lies in the allocation.
            Arg::View(v) => Operand { address: self.memory.floats()[v.span()].as_ptr() as u64, words: shape(v) },
            Arg::View16(v) => Operand { address: self.half.halves()[v.span()].as_ptr() as u64, words: shape(v) },
            Arg::AnyView { view: v, half } => {
                let address = match half {
                    true => self.half.halves()[v.span()].as_ptr() as u64,
                    false => self.memory.floats()[v.span()].as_ptr() as u64,
                };
                Operand { address, words: [v.rows as i32, v.cols as i32, v.stride as i32, half as i32] }
            }
            Arg::Struct(_) => unreachable!("its fields are operands"),
            Arg::Data => {
                let [rows, cols, stored] = self.data.1;
                Operand { address: self.data.0.0.as_ptr() as u64, words: [rows, cols, stored, 0] }
            }
            Arg::Plan => Operand { address: self.plan.0.as_ptr() as u64, words: [0; 4] },
            Arg::U32(x) | Arg::Word(x) => Operand { address: x as u64, words: [0; 4] }, // little-endian, as CUDA
            Arg::F32(x) => Operand { address: x.to_bits() as u64, words: [0; 4] },
        };
        let valued = args.iter().filter(|arg| !matches!(arg, Arg::Struct(_)));
        let mut values: Vec<Operand> = valued.map(&mut operand).collect();
        let first = values.as_mut_ptr();
        let mut pointers: Vec<*mut c_void> = driver::parameters(args).map(|at| first.wrapping_add(at).cast()).collect();
        let name = CString::new(kernel_name).unwrap();
        // SAFETY: the launcher's types follow the kernel's signature; the emulator stops what leaves these views.
        let error = unsafe {
            let kernel = match self.code {
                Code::Host => emu_find(name.as_ptr()),
                Code::Ptx(Ptx(kernels)) => ptx_find(*kernels as *const Kernels, name.as_ptr()),
            };
            assert!(!kernel.is_null(), "no kernel {kernel_name}");
            let error = emu_launch(kernel, grid, pointers.as_mut_ptr(), self.reverse);
            if self.code != Code::Host {
                self.counted.push((kernel_name, *ptx_counts()));
            }
            error
        };
        match error.is_null() {
            true => Ok(()),
            // SAFETY: the emulator's message, which lives until the next launch of this thread.
            false => Err(Error::failed(unsafe { CStr::from_ptr(error) }.to_string_lossy())),
        }
    }

    /// The sums in f64: what is compared is our kernels.
    fn run_product(&mut self, &Product { c, a, b, epilogue }: &Product) {
        let ((rows, depth), (_, cols)) = (a.shape(), b.shape());
        assert_eq!((rows, depth, cols), (c.rows, b.shape().0, c.cols));
        let bf16 = self.precision == Precision::Bf16;
        let mut factor = |f: Factor| -> Vec<f64> {
            let (rows, cols) = f.shape();
            let at = |i: usize, j: usize| if let Factor::N(v) = f { v.at(i, j) } else { f.view().at(j, i) };
            let mut values = vec![0.0; rows * cols];
            for i in 0..rows {
                for j in 0..cols {
                    values[i * cols + j] = match bf16 {
                        true => f32::from_bits((self.half.halves()[at(i, j)] as u32) << 16) as f64,
                        false => self.memory.floats()[at(i, j)] as f64,
                    };
                }
            }
            values
        };
        let (a, b) = (factor(a), factor(b));
        let memory = self.memory.floats();
        for i in 0..rows {
            let mut sums = vec![0.0; cols];
            for l in 0..depth {
                sums.iter_mut().zip(&b[l * cols..]).for_each(|(sum, b)| *sum += a[i * depth + l] * b);
            }
            for (j, sum) in sums.into_iter().enumerate() {
                let bias = |v: View| memory[v.at(0, j)] as f64;
                memory[c.at(i, j)] = match epilogue {
                    Epilogue::None => sum,
                    Epilogue::Bias(v) => sum + bias(v),
                    Epilogue::BiasRelu(v) => (sum + bias(v)).max(0.0),
                } as f32;
            }
        }
    }

    fn enqueue(&mut self, work: Work) -> Result<()> {
        self.calls += 1;
        self.branched += self.on_branch as usize;
        if self.on_branch && self.reverse {
            self.beside.push(work);
            return Ok(());
        }
        match &mut self.capture {
            Some(list) => {
                list.push(work);
                Ok(())
            }
            None => self.run(&work),
        }
    }
    fn not_capturing(&self) {
        assert!(self.joined, "a copy to or from the host, beside what was never waited for");
        assert!(self.capture.is_none(), "a copy to or from the host, inside a capture");
    }
}

impl Driver for Emulator {
    fn upload(&mut self, at: usize, src: &[f32]) -> Result<()> {
        self.not_capturing();
        self.memory.floats()[at..at + src.len()].copy_from_slice(src);
        Ok(())
    }
    fn download(&mut self, src: Range<usize>) -> Result<Vec<f32>> {
        self.not_capturing();
        Ok(self.memory.floats()[src].to_vec())
    }
    fn zero(&mut self, range: Range<usize>) -> Result<()> {
        self.not_capturing();
        self.memory.floats()[range].fill(0.0);
        Ok(())
    }
    fn load(&mut self, data: &Resident) -> Result<()> {
        self.not_capturing();
        let mut memory = Memory::new(data.bytes().div_ceil(4));
        let words = memory.words();
        for (i, &byte) in data.pieces.iter().copied().flatten().enumerate() {
            words[i / 4] |= (byte as u32) << (8 * (i % 4));
        }
        self.data = (memory, [data.rows as i32, data.cols as i32, data.stored as i32]);
        Ok(())
    }
    fn write_plan(&mut self, at: usize, words: &[u32]) -> Result<()> {
        self.not_capturing();
        self.plan.words()[at..at + words.len()].copy_from_slice(words);
        Ok(())
    }
    fn launch(&mut self, kernel: &'static str, grid: Grid, args: &[Arg]) -> Result<()> {
        self.launched.insert(kernel);
        self.enqueue(Work::Launch(kernel, grid, args.to_vec()))
    }
    fn clusters(&self, _: &'static str, _: u32) -> Vec<Cluster> {
        self.clusters.clone()
    }
    fn offers(&self, _: &Product) -> bool {
        self.library != Library::Missing
    }
    fn product(&mut self, product: &Product) -> Result<bool> {
        let offered = match self.library {
            Library::Fused => true,
            Library::Plain => product.epilogue == Epilogue::None,
            Library::Missing => false,
        };
        if offered {
            self.enqueue(Work::Product(*product))?;
        }
        Ok(offered)
    }
    fn branch(&mut self) -> Result<()> {
        (self.on_branch, self.joined) = (true, false);
        Ok(())
    }
    fn trunk(&mut self) {
        self.on_branch = false;
    }
    fn join(&mut self) -> Result<()> {
        assert!(!self.on_branch, "a branch that waits for itself");
        self.joined = true;
        let late = std::mem::take(&mut self.beside);
        self.calls -= late.len(); // they were counted
        late.into_iter().try_for_each(|work| self.enqueue(work))
    }
    fn precision(&self) -> Precision {
        self.precision
    }

    fn begin_capture(&mut self) -> Result<()> {
        self.not_capturing();
        self.capture = Some(vec![]);
        Ok(())
    }
    fn end_capture(&mut self) -> Result<()> {
        assert!(self.joined, "a capture ends beside what was never waited for");
        self.graph = Some(self.capture.take().expect("a capture has begun"));
        Ok(())
    }
    fn replay(&mut self, times: usize) -> Result<()> {
        let graph = self.graph.take().expect("a step was captured");
        let replayed = (0..times).try_for_each(|_| graph.iter().try_for_each(|work| self.run(work)));
        self.graph = Some(graph);
        replayed
    }
    fn forget(&mut self) {
        self.graph = None;
    }
    fn captured(&self) -> Result<usize> {
        Ok(self.graph.as_ref().expect("a step was captured").len())
    }
    fn copy(&mut self, dst: usize, src: usize, len: usize) -> Result<()> {
        self.enqueue(Work::Copy(dst, src, len))
    }
}
