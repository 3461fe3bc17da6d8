//! Matrix products: the library's where it offers them, else our own; and which operands have a fresh copy in bf16.
use super::{Gpu, NONE, Shortcut, activation};
use crate::Result;
use crate::arena::{ALIGN, View};
use crate::config::Activation;
use crate::device::driver::{Driver, Epilogue, Factor, Grid, Precision, Product};
use crate::device::kernels::{self, In, InAny, Out, Out16, Way};

/// What our own product does with its sums.
#[derive(Clone, Copy)]
pub(super) enum Finish {
    None,
    /// y = f(sum + bias), and `pre` what went into f.
    Activation {
        bias: View,
        pre: View,
        f: Option<Activation>,
    },
    /// dx f'(x), from x = `out`, the nonlinearity's output; of gelu, its input.
    Slope {
        out: View,
        f: Option<Activation>,
    },
}

/// What of c a block of our own product makes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Tiles {
    /// 32 × 16, all of its warps on the depth.
    Small,
    /// 32 × 32. By tensor cores only.
    Middle,
    /// 64 × 64.
    Wide,
}

/// From so many blocks on, products take wide tiles: they keep a GPU of today busy, and read less.
const WIDE: usize = 96;
/// The processors of an H200. Each has room for one block of a product by tensor cores: those beyond would be a second
/// round. There 100×784×500, 196 small tiles, took 7.2 µs in tf32, and 100×500×784, 128 of them, 5.6.
const PROCESSORS: usize = 132;

impl Tiles {
    /// For `c`; `tensor` cores or not.
    pub fn of(c: View, tensor: bool) -> Tiles {
        if Tiles::Wide.count(c) >= WIDE {
            Tiles::Wide
        } else if tensor && Tiles::Small.count(c) > PROCESSORS {
            Tiles::Middle
        } else {
            Tiles::Small
        }
    }
    /// Blocks for `c`.
    pub fn count(self, c: View) -> usize {
        self.grid(c).blocks.iter().product::<u32>() as usize
    }
    pub fn grid(self, c: View) -> Grid {
        let (rows, cols) = match self {
            Tiles::Small => (32, 16),
            Tiles::Middle => (32, 32),
            Tiles::Wide => (64, 64),
        };
        Grid::new([c.cols.div_ceil(cols) as u32, c.rows.div_ceil(rows) as u32], 512)
    }
}

/// The most rows of one launch: tiles of the smallest, as many as a grid has in its second dimension.
const ROWS: usize = 32 * 65_535;

/// Where a Bernoulli's value and gradient go along with the product.
pub(super) struct BernoulliOf {
    pub dout: View,
    /// What the logits are of.
    pub data: View,
    /// As many rows, and at least a column for each block.
    pub room: View,
}

/// With its padding, which is zero: our products read whole quads.
pub(super) fn whole(v: View) -> View {
    debug_assert!(v.offset.is_multiple_of(ALIGN) && v.stride == v.cols.next_multiple_of(ALIGN), "{v:?} is a part");
    View { cols: v.stride, ..v }
}

/// Whether two views share numbers. Columns of one matrix, side by side, do not.
fn overlap(a: View, b: View) -> bool {
    let (p, q) = (a.padded(), b.padded());
    if p.end <= q.start || q.end <= p.start {
        return false;
    }
    if a.stride != b.stride {
        return true;
    }
    // Where b's columns begin, counted from a's first.
    let first = (b.offset + a.stride - a.offset % a.stride) % a.stride;
    first < a.cols || first + b.cols > a.stride
}

impl<D: Driver> Gpu<D> {
    /// Where a kernel leaves a copy of `v` in bf16: nowhere, in the other precisions.
    pub(super) fn copy16(&self, v: View) -> Out16 {
        Out16(if self.driver.precision() == Precision::Bf16 { v } else { NONE })
    }
    /// Whether the copy of `v` is up to date: as a whole, by its columns, or with all parameters.
    pub(super) fn is_fresh(&self, v: View) -> bool {
        let (mut at, end) = (v.offset, v.offset + v.cols);
        let beside = |f: &View, at: usize| {
            (f.rows, f.stride) == (v.rows, v.stride) && (f.offset..f.offset + f.cols).contains(&at)
        };
        let flat = |f: &View| f.rows == 1 && f.offset <= v.offset && v.span().end <= f.offset + f.cols;
        while at < end {
            match self.fresh.iter().find(|f| beside(f, at) || flat(f)) {
                Some(f) => at = f.offset + f.cols,
                None => return false,
            }
        }
        true
    }
    /// Makes the copy of `v`, where it is not up to date.
    pub(super) fn refresh(&mut self, v: View) -> Result<()> {
        if !self.is_fresh(v) {
            kernels::cast(&mut self.driver, Grid::quads(v), Out16(v), In(v))?;
            self.fresh.push(v);
        }
        Ok(())
    }
    /// `v` has new values.
    pub(super) fn changed(&mut self, v: View) {
        self.fresh.retain(|&f| !overlap(f, v));
    }
    /// `v` has new values, and a kernel left their copy in bf16.
    pub(super) fn copied(&mut self, v: View) {
        self.changed(v);
        if self.driver.precision() == Precision::Bf16 && v.rows > 0 {
            self.fresh.push(v);
        }
    }

    /// Where an update leaves its copy of all parameters: where all of them had one that was up to date. It may change
    /// none of them, in a run that is halted.
    pub(super) fn kept16(&self, params: View) -> Out16 {
        if self.fresh.contains(&params) { self.copy16(params) } else { Out16(NONE) }
    }
    /// All parameters have new values, and a kernel left their copy there.
    pub(super) fn updated(&mut self, params: View, kept: Out16) {
        self.changed(params);
        if kept.0.rows > 0 {
            self.fresh.push(params);
        }
    }

    /// c = epilogue(a b) by the library. False where it does not offer that: then nothing was done.
    pub(super) fn product(&mut self, c: View, a: Factor, b: Factor, epilogue: Epilogue) -> Result<bool> {
        let product = Product { c, a, b, epilogue };
        if !self.library_takes(&product) {
            return Ok(false);
        }
        self.refresh_factors(&product)?;
        let done = self.driver.product(&product)?;
        if done {
            self.library = true;
            self.changed(c);
        }
        Ok(done)
    }

    /// Makes the copies that the library multiplies, where they are not up to date.
    pub(super) fn refresh_factors(&mut self, product: &Product) -> Result<()> {
        if self.driver.precision() == Precision::Bf16 {
            self.refresh(product.a.view())?;
            self.refresh(product.b.view())?;
        }
        Ok(())
    }

    /// Whether our own products read copies in bf16, and parameters keep theirs from step to step.
    pub(super) fn reads_copies(&self) -> bool {
        self.driver.precision() == Precision::Bf16 && self.has(Shortcut::Copies)
    }

    /// A factor as our own products take it.
    pub(super) fn operand(&mut self, v: View) -> Result<InAny> {
        if !self.reads_copies() {
            return Ok(InAny::F32(whole(v)));
        }
        self.refresh(v)?;
        Ok(InAny::Half(whole(v)))
    }

    /// y = finish(a b), or finish(a bᵀ), by our own kernels.
    pub(super) fn own_product(&mut self, y: View, a: View, b: Factor, finish: Finish) -> Result<()> {
        let (bias, pre, out, f) = match finish {
            Finish::None => (NONE, NONE, NONE, None),
            Finish::Activation { bias, pre, f } => (bias, if pre == y { NONE } else { pre }, NONE, f),
            Finish::Slope { out, f } => (NONE, NONE, out, f),
        };
        let way = self.tensor();
        let tiles = Tiles::of(y, way.is_some());
        let kernel = match (b, way, tiles) {
            (Factor::T(_), None, Tiles::Wide) => kernels::product_nt_wide,
            (Factor::T(_), None, _) => kernels::product_nt,
            (Factor::T(_), Some(way), Tiles::Small) => kernels::product_nt_tensor(way),
            (Factor::T(_), Some(way), Tiles::Middle) => kernels::product_nt_tensor_middle(way),
            (Factor::T(_), Some(way), Tiles::Wide) => kernels::product_nt_tensor_wide(way),
            (Factor::N(_), None, Tiles::Wide) => kernels::product_nn_wide,
            (Factor::N(_), None, _) => kernels::product_nn,
            (Factor::N(_), Some(way), Tiles::Small) => kernels::product_nn_tensor(way),
            (Factor::N(_), Some(way), Tiles::Middle) => kernels::product_nn_tensor_middle(way),
            (Factor::N(_), Some(way), Tiles::Wide) => kernels::product_nn_tensor_wide(way),
        };
        let (a, b) = (self.operand(a)?, self.operand(b.view())?);
        for from in (0..y.rows).step_by(ROWS) {
            let rows = from..y.rows.min(from + ROWS);
            let part = |v: View| if v.rows == 0 { v } else { v.slice(rows.clone()) };
            let (y, pre, a, out) = (part(y), part(pre), a.map(part), part(out));
            let (y16, d) = (self.copy16(y), &mut self.driver);
            kernel(d, tiles.grid(y), Out(y), y16, Out(pre), a, b, In(bias), In(out), activation(f))?;
        }
        self.changed(pre);
        self.copied(y);
        Ok(())
    }

    /// The logits of a Bernoulli, their gradient where each example has one sample, and −log p(x|z) in `parts`: for each
    /// row so many columns as are handed back.
    pub(super) fn bernoulli_product(&mut self, y: View, x: View, w: View, bias: View, op: BernoulliOf) -> Result<View> {
        let BernoulliOf { dout, data, room } = op;
        let (tiles, way) = (Tiles::of(y, true), self.way());
        let kernel = match tiles {
            Tiles::Small => kernels::product_nt_bernoulli(way),
            Tiles::Middle => kernels::product_nt_bernoulli_middle(way),
            Tiles::Wide => kernels::product_nt_bernoulli_wide(way),
        };
        let grid = tiles.grid(y);
        let parts = room.columns(0..grid.blocks[0] as usize);
        let (x, w) = (self.operand(x)?, self.operand(w)?);
        let (dout16, d) = (self.copy16(dout), &mut self.driver);
        kernel(d, grid, Out(y), Out(parts), Out(dout), dout16, x, w, In(bias), In(data))?;
        self.changed(y);
        self.copied(dout);
        Ok(parts)
    }

    pub(super) fn library_takes(&self, product: &Product) -> bool {
        self.has(Shortcut::Library) && self.driver.offers(product)
    }

    /// Whether our own kernel makes c = a b, by tensor cores: then more can go along.
    pub(super) fn is_ours(&self, c: View, a: Factor, b: Factor) -> bool {
        self.tensor().is_some() && !self.library_takes(&Product { c, a, b, epilogue: Epilogue::None })
    }

    /// How the tensor cores multiply; `None` where products are not for them.
    pub(super) fn tensor(&self) -> Option<Way> {
        match self.driver.precision() {
            Precision::Fp32 => self.has(Shortcut::Split).then_some(Way::Split),
            Precision::Tf32 => Some(Way::Tf32),
            Precision::Bf16 => Some(if self.reads_copies() { Way::Half } else { Way::Bf16 }),
        }
    }

    /// The same, of a launch that there is for the tensor cores alone.
    pub(super) fn way(&self) -> Way {
        self.tensor().expect("what goes along with a product is asked for where tensor cores make it")
    }
}
