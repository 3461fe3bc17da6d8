//! Several runs that belong together: the combinations of a grid ([`grid`]), how they are made side by side
//! ([`places`]), and what came of runs, in one table ([`table`]). What a run is, and what is said of it, is the caller's.
pub mod grid;
pub mod places;
mod rows;
pub mod table;
pub(crate) mod units;
