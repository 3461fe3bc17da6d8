//! The columns of x in segments that have one likelihood, and their rows: one by one where they are long, else several side by
//! side, for a vector of 16 has no use for three numbers.
use super::Cpu;
use crate::arena::View;
use crate::config::Spread;
use crate::device::Real;
use crate::tape::{Decoded, Family, Kind};
use std::ops::Range;

/// Columns that stand side by side and have one likelihood. An operation goes over all rows for each: a choice of the likelihood
/// within a row would cost short rows, of one likelihood too, a tenth of a step.
pub(super) struct Segment {
    pub kind: Kind,
    pub columns: Range<usize>,
}

impl Segment {
    /// The one that begins at this column, of `n`.
    fn at<T: Real>(cpu: &Cpu<T>, family: Family, from: usize, n: usize) -> Option<Segment> {
        let (kind, to) = match family {
            _ if from == n => return None,
            Family::One(kind) => (kind, n),
            Family::ByColumn(codes) => {
                let codes = &cpu.memory[cpu.start..][codes.span()][from..];
                (Kind::of(codes[0].to_f64()), from + codes.iter().take_while(|&&code| code == codes[0]).count())
            }
        };
        Some(Segment { kind, columns: from..to })
    }

    /// Their log-dispersions in a row: one for each, or one that serves all. `network`: the row's part of the second head.
    #[inline(always)]
    pub fn log_dispersions<'a, T: Real>(&self, fixed: &'a [T; 1], learned: &'a [T], network: &'a [T]) -> &'a [T] {
        match self.kind.spread {
            Spread::Fixed => fixed,
            Spread::Learned if learned.len() == 1 => learned,
            Spread::Learned => &learned[self.columns.clone()],
            Spread::Network => &network[self.columns.clone()],
        }
    }

    /// Where the gradients of a row of the output go, of which `input` numbers are not of the second head: those of that head
    /// too, where it makes something of these columns; else they are 0.
    #[inline(always)]
    pub fn parts<'a, T: Real>(&self, dout: &'a mut [T], input: usize) -> (&'a mut [T], Option<&'a mut [T]>) {
        let (from, n) = (self.columns.start, self.columns.len());
        let (dmean, dnetwork) = dout.split_at_mut(input);
        let dnetwork = dnetwork.get_mut(from..from + n);
        let dnetwork = match self.kind.spread {
            Spread::Network => dnetwork,
            Spread::Fixed | Spread::Learned => {
                dnetwork.into_iter().for_each(|d| d.fill(T::of(0.0)));
                None
            }
        };
        (&mut dmean[from..][..n], dnetwork)
    }
}

/// Rows of fewer numbers than this are taken several at once: a vector of 16 has no use for three.
pub(super) const SHORT: usize = 64;
/// Numbers that are taken at once.
pub(super) const BLOCK: usize = 512;

/// Short rows, one behind the other.
pub(super) struct Block<T> {
    x: [T; BLOCK],
    out: [T; BLOCK],
    a: [T; BLOCK],
    made: [T; BLOCK],
}

impl<T: Real> Block<T> {
    #[inline(always)]
    pub fn new() -> Block<T> {
        let zeros = [T::of(0.0); BLOCK];
        Block { x: zeros, out: zeros, a: zeros, made: zeros }
    }

    /// How many of `n` numbers it holds.
    #[inline(always)]
    pub fn rows(n: usize) -> usize {
        BLOCK / n
    }

    /// With these rows: x and the output, the log-dispersions, one for each number or one for all; and where what is made of
    /// them is to go.
    #[inline(always)]
    pub fn filled<'a>(&'a mut self, of: &'a Rows<T>, rows: Range<usize>) -> ([&'a [T]; 2], &'a [T], &'a mut [T]) {
        let (n, len) = (of.segment.columns.len(), rows.len() * of.segment.columns.len());
        let some = of.row(rows.start).1;
        let one_for_all = of.segment.kind.spread != Spread::Network && some.len() == 1;
        for (i, row) in rows.enumerate() {
            let ([x, out], a) = of.row(row);
            let at = i * n..(i + 1) * n;
            self.x[at.clone()].copy_from_slice(x);
            self.out[at.clone()].copy_from_slice(out);
            if !one_for_all {
                self.a[at].copy_from_slice(a);
            }
        }
        let a = if one_for_all { some } else { &self.a[..len] };
        ([&self.x[..len], &self.out[..len]], a, &mut self.made[..len])
    }
}

/// What a segment is made of, row by row.
pub(super) struct Rows<'a, T> {
    pub segment: &'a Segment,
    pub x: (&'a [T], View),
    pub out: (&'a [T], View),
    /// Rows of the output for each of x.
    pub samples: usize,
    pub learned: &'a [T],
    pub fixed: [T; 1],
}

impl<'a, T: Real> Rows<'a, T> {
    /// x and the output of a row, and its log-dispersions.
    #[inline(always)]
    pub fn row(&'a self, row: usize) -> ([&'a [T]; 2], &'a [T]) {
        let (from, n) = (self.segment.columns.start, self.segment.columns.len());
        let ((x_in, x), (out_in, out)) = (self.x, self.out);
        let (out, network) = out_in[row * out.stride..][..out.cols].split_at(x.cols);
        let x = &x_in[row / self.samples * x.stride + from..][..n];
        ([x, &out[from..][..n]], self.segment.log_dispersions(&self.fixed, self.learned, network))
    }
}

/// Calls `f` for all segments of the columns of x, from left to right.
pub(super) fn each_segment<T: Real>(
    cpu: &mut Cpu<T>,
    decoded: Decoded,
    x: View,
    mut f: impl FnMut(&mut Cpu<T>, Segment),
) {
    let mut at = 0;
    while let Some(segment) = Segment::at(cpu, decoded.family, at, x.cols) {
        at = segment.columns.end;
        f(cpu, segment);
    }
}
