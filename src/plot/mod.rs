//! Pictures to judge a model by: examples as a grid of tiles (PNG) and the course of a training (SVG).
//! It draws numbers that it is given; it knows no model and no trainer, and of a data set
//! the shape of a picture alone.

mod axis;
pub mod bars;
pub mod curves;
pub mod grid;

/// The grey of separators, of empty places and of NaN: neither the black nor the white of a tile.
pub const BACKGROUND: u8 = 112;
/// Pixels between tiles and around them.
pub const GAP: usize = 2;
/// A row of many tiles keeps within this, in pixels.
const ROW: usize = 4096;

pub use curves::{Panel, Point, Series};
