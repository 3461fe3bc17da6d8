//! The training state is one allocation; everything else is a [`View`] of it.
//!
//! Row-major always: a view's rows begin `stride` elements apart. A view is plain data, borrows nothing, and means the
//! same on every device. Segments, in elements:
//!
//! ```text
//! training:   params | grads | moment 1 | moment 2 | activations | their gradients | metrics | scratch | sums
//! inference:  params | activations | metrics | scratch | sums
//! ```
//!
//! so the gradient of a view is the same view one segment further: [`Layout::d`].
use std::ops::Range;

/// Rows start on multiples of this many elements, and a parameter's number of rows is padded to it too, so that matrix
/// products run on whole multiples. The padding is zero and stays zero.
pub const ALIGN: usize = 8;
/// Views start on multiples of this many elements: 256 bytes of f32, what cuBLAS likes best.
const VIEW_ALIGN: usize = 64;
/// How many steps the metrics of a run are kept for, before the host reads them.
pub const RING: usize = 256;
/// Numbers that each step leaves in the metrics ring: loss, nll, kl (nats per example; kl in closed form, without beta),
/// and 0 where the step was applied; else as bits what was not finite: 1 the loss, 2 the gradient.
pub const METRICS: usize = 4;
/// How many numbers the first stage of a sum may leave to the second, on a device with many processors.
pub const SCRATCH: usize = 1024;
/// The same of sums over thousands of rows, of which each column has several parts.
pub const SUMS: usize = 8192;

/// A `(rows, cols)` matrix whose rows begin `stride` elements apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct View {
    pub offset: usize,
    pub rows: usize,
    pub cols: usize,
    pub stride: usize,
}

impl View {
    /// An operand that there is not.
    pub const NONE: View = View { offset: 0, rows: 0, cols: 0, stride: 0 };

    /// How many numbers it holds, padding not counted.
    pub fn elements(self) -> usize {
        self.rows * self.cols
    }
    /// Where element `(row, col)` lies.
    pub fn at(self, row: usize, col: usize) -> usize {
        self.offset + row * self.stride + col
    }
    /// From the first element to the last, with whatever lies between the rows. Empty if the view is.
    pub fn span(self) -> Range<usize> {
        match self.rows {
            0 => self.offset..self.offset,
            rows => self.offset..self.at(rows - 1, self.cols),
        }
    }
    /// All elements that belong to its rows, padding included.
    pub fn padded(self) -> Range<usize> {
        self.offset..self.offset + self.rows * self.stride
    }
    /// Some of the columns: `[mu | logvar]` is one output of a matrix product and two inputs of what follows.
    pub fn columns(self, cols: Range<usize>) -> View {
        debug_assert!(cols.end <= self.cols, "columns {cols:?} of {self:?}");
        View { offset: self.offset + cols.start, cols: cols.len(), ..self }
    }
    /// Some of the rows: the weights of `mu` and of `logvar` are one matrix.
    pub fn slice(self, rows: Range<usize>) -> View {
        debug_assert!(rows.end <= self.rows, "rows {rows:?} of {self:?}");
        View { offset: self.offset + rows.start * self.stride, rows: rows.len(), ..self }
    }
}

/// Hands out the views: first all parameters, then all activations.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// Whether there are gradients and moments.
    training: bool,
    /// Length of the segment of parameters, and of each of its three companions.
    params: usize,
    /// Length of the segment of activations, and of the one of their gradients.
    activations: usize,
    /// What whoever has the memory writes there once: no operation does.
    constants: Vec<(View, Vec<f64>)>,
}

impl Layout {
    pub fn training() -> Layout {
        Layout { training: true, params: 0, activations: 0, constants: vec![] }
    }
    pub fn inference() -> Layout {
        Layout { training: false, ..Layout::training() }
    }

    /// The weight of a layer, its rows padded, were it one: products write the padding. All parameters come before the first activation.
    pub fn weight(&mut self, rows: usize, cols: usize) -> View {
        self.padded_parameter(rows, cols, rows.next_multiple_of(ALIGN))
    }

    /// Another parameter. A single row is not padded to more.
    pub fn parameter(&mut self, rows: usize, cols: usize) -> View {
        self.padded_parameter(rows, cols, if rows == 1 { 1 } else { rows.next_multiple_of(ALIGN) })
    }

    fn padded_parameter(&mut self, rows: usize, cols: usize, padded: usize) -> View {
        assert_eq!(self.activations, 0, "parameters come before activations");
        let view = View { offset: self.params, rows, cols, stride: cols.next_multiple_of(ALIGN) };
        self.params = (view.offset + padded * view.stride).next_multiple_of(VIEW_ALIGN);
        view
    }

    /// A value of the forward pass.
    pub fn activation(&mut self, rows: usize, cols: usize) -> View {
        let offset = self.activations_start() + self.activations;
        let view = View { offset, rows, cols, stride: cols.next_multiple_of(ALIGN) };
        self.activations = (self.activations + rows * view.stride).next_multiple_of(VIEW_ALIGN);
        view
    }

    /// A row of numbers that never change.
    pub fn constant(&mut self, values: Vec<f64>) -> View {
        let view = self.activation(1, values.len());
        self.constants.push((view, values));
        view
    }

    /// They, and where they belong.
    pub fn constants(&self) -> &[(View, Vec<f64>)] {
        &self.constants
    }

    /// Where activations and their gradients begin, behind the parameters with theirs and their moments.
    pub(crate) fn activations_start(&self) -> usize {
        if self.training { 4 * self.params } else { self.params }
    }

    /// The gradient of the loss with respect to `v`.
    pub fn d(&self, v: View) -> View {
        assert!(self.training, "an inference layout has no gradients");
        let segment = if v.offset < self.params { self.params } else { self.activations };
        View { offset: v.offset + segment, ..v }
    }

    /// The parameters, flat, padding included: what an optimiser walks over.
    pub fn params(&self) -> View {
        View { offset: 0, rows: 1, cols: self.params, stride: self.params }
    }
    /// The optimiser's state for a parameter (or for all): `which` is 0 or 1.
    pub fn moment(&self, v: View, which: usize) -> View {
        assert!(self.training && which < 2 && v.offset < self.params);
        View { offset: v.offset + (2 + which) * self.params, ..v }
    }

    /// Where the rows of a matrix, too, are padded to [`ALIGN`] with zeros: the parameters and their gradients.
    pub fn rows_padded(&self) -> Range<usize> {
        let companions = if self.training { 2 } else { 1 };
        0..companions * self.params
    }

    /// One row per step of [`METRICS`] numbers; a ring of [`RING`] rows.
    pub fn metrics(&self) -> View {
        let offset = self.activations_start() + if self.training { 2 } else { 1 } * self.activations;
        View { offset, rows: RING, cols: METRICS, stride: ALIGN }
    }

    /// Where the blocks of a kernel leave their parts of a sum. Holds nothing between two operations.
    pub fn scratch(&self) -> View {
        View { offset: self.metrics().padded().end, rows: 1, cols: SCRATCH, stride: SCRATCH }
    }

    /// Where operations leave the parts of [`SUMS`], as the scratch: one for those that run one after the other, and one for
    /// those beside them.
    pub fn sums(&self) -> [View; 2] {
        let first = View { offset: self.scratch().padded().end, rows: 1, cols: SUMS, stride: SUMS };
        [first, View { offset: first.padded().end, ..first }]
    }

    /// The length of the allocation, in elements.
    pub fn total(&self) -> usize {
        self.sums()[1].padded().end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_of_a_layout_do_not_overlap() {
        let mut layout = Layout::training();
        let mut views = vec![layout.weight(3, 5), layout.parameter(1, 3), layout.weight(9, 17)];
        let params = views.len();
        views.extend([layout.activation(7, 9), layout.activation(1, 1), layout.activation(300, 33)]);
        let gradients: Vec<View> = views.iter().map(|&v| layout.d(v)).collect();
        let moments: Vec<View> =
            views[..params].iter().flat_map(|&v| [layout.moment(v, 0), layout.moment(v, 1)]).collect();
        let mut all =
            [views, gradients, moments, vec![layout.metrics(), layout.scratch()], layout.sums().to_vec()].concat();
        all.sort_by_key(|v| v.offset);
        for pair in all.windows(2) {
            assert!(pair[0].padded().end <= pair[1].offset, "{pair:?}");
        }
        assert_eq!(all.last().unwrap().padded().end, layout.total());
    }

    #[test]
    fn columns_and_rows_of_a_view_are_views() {
        let v = View { offset: 64, rows: 4, cols: 10, stride: 16 };
        assert_eq!(v.columns(5..10).at(2, 1), v.at(2, 6));
        assert_eq!(v.slice(2..4).at(1, 3), v.at(3, 3));
        assert_eq!(v.span(), 64..64 + 3 * 16 + 10);
        assert_eq!(View { rows: 0, ..v }.span(), 64..64);
    }
}
