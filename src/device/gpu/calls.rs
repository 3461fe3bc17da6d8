//! What a step asks of its driver, noted, to be asked again.
use crate::Result;
use crate::arena::View;
use crate::device::driver::{Arg, Cluster, Driver, Grid, Precision, Product, Resident};
use std::ops::Range;

/// A launch, of our own kernels or of the library's.
#[derive(Clone, Debug)]
pub(super) enum Call {
    Kernel(&'static str, Grid, Vec<Arg>),
    Product(Product),
}

impl Call {
    pub fn again<D: Driver>(&self, driver: &mut D) -> Result<()> {
        match self {
            Call::Kernel(kernel, grid, args) => driver.launch(kernel, *grid, args),
            Call::Product(product) => driver.product(product).map(drop),
        }
    }

    /// The kernel, how many blocks of how many threads, and what it writes first; or the product.
    pub fn name(&self) -> String {
        match self {
            Call::Kernel(kernel, Grid { blocks: [x, y], threads, .. }, args) => {
                let first = args.iter().filter_map(view).map(|(v, _)| v).find(|v| v.rows > 0);
                let shape = first.map(|v| format!(" {}×{}", v.rows, v.cols)).unwrap_or_default();
                let blocks = if *y == 1 { x.to_string() } else { format!("{x}×{y}") };
                format!("{kernel}{shape} ({blocks} of {threads})")
            }
            Call::Product(product) => format!("cuBLAS {product}"),
        }
    }

    /// Bytes of what it is given, once each, without the data set. `operand`: of a number that the library multiplies.
    pub fn bytes(&self, operand: usize) -> f64 {
        let views: Vec<(View, usize)> = match self {
            Call::Kernel(_, _, args) => args.iter().filter_map(view).collect(),
            Call::Product(Product { c, a, b, .. }) => vec![(*c, 4), (a.view(), operand), (b.view(), operand)],
        };
        views.iter().map(|(v, width)| (v.elements() * width) as f64).sum()
    }
}

/// The view that an argument is, and how many bytes its numbers have.
fn view(arg: &Arg) -> Option<(View, usize)> {
    match *arg {
        Arg::View(v) => Some((v, 4)),
        Arg::View16(v) => Some((v, 2)),
        Arg::AnyView { view, half } => Some((view, if half { 2 } else { 4 })),
        Arg::Struct(_) | Arg::Data | Arg::Plan | Arg::U32(_) | Arg::F32(_) | Arg::Word(_) => None,
    }
}

/// A driver, and what was asked of it.
pub(super) struct Noting<'a> {
    pub driver: &'a mut dyn Driver,
    /// Each, and whether it runs beside the rest.
    pub calls: Vec<(Call, bool)>,
    pub beside: bool,
}

impl Driver for Noting<'_> {
    fn launch(&mut self, kernel: &'static str, grid: Grid, args: &[Arg]) -> Result<()> {
        self.calls.push((Call::Kernel(kernel, grid, args.to_vec()), self.beside));
        self.driver.launch(kernel, grid, args)
    }
    fn product(&mut self, product: &Product) -> Result<bool> {
        let done = self.driver.product(product)?;
        self.calls.extend(done.then_some((Call::Product(*product), self.beside)));
        Ok(done)
    }

    fn branch(&mut self) -> Result<()> {
        self.beside = true;
        self.driver.branch()
    }
    fn trunk(&mut self) {
        self.beside = false;
        self.driver.trunk()
    }
    fn join(&mut self) -> Result<()> {
        self.driver.join()
    }
    fn upload(&mut self, at: usize, src: &[f32]) -> Result<()> {
        self.driver.upload(at, src)
    }
    fn download(&mut self, src: Range<usize>) -> Result<Vec<f32>> {
        self.driver.download(src)
    }
    fn zero(&mut self, range: Range<usize>) -> Result<()> {
        self.driver.zero(range)
    }
    fn load(&mut self, data: &Resident) -> Result<()> {
        self.driver.load(data)
    }
    fn write_plan(&mut self, at: usize, words: &[u32]) -> Result<()> {
        self.driver.write_plan(at, words)
    }
    fn clusters(&self, kernel: &'static str, threads: u32) -> Vec<Cluster> {
        self.driver.clusters(kernel, threads)
    }
    fn offers(&self, product: &Product) -> bool {
        self.driver.offers(product)
    }
    fn precision(&self) -> Precision {
        self.driver.precision()
    }
    fn begin_capture(&mut self) -> Result<()> {
        self.driver.begin_capture()
    }
    fn end_capture(&mut self) -> Result<()> {
        self.driver.end_capture()
    }
    fn replay(&mut self, times: usize) -> Result<()> {
        self.driver.replay(times)
    }
    fn forget(&mut self) {
        self.driver.forget()
    }
    fn captured(&self) -> Result<usize> {
        self.driver.captured()
    }
    fn copy(&mut self, dst: usize, src: usize, len: usize) -> Result<()> {
        self.driver.copy(dst, src, len)
    }
}
