//! Pictures to judge a model by: examples as a grid of tiles (PNG).
//! It draws numbers that it is given; it knows no model, no data set and no trainer.

pub mod grid;
