//! That the numbers are right: beside closed forms, laws of large numbers, finite differences and other programs' results.
mod counts;
mod estimators;
mod exact;
mod golden;
mod gradients;
mod identities;
mod imputation;
mod invariants;
#[path = "../support/linear.rs"]
mod linear;
mod missing;
mod mixed;
mod mixture;
#[path = "../support/models.rs"]
mod models;
mod multinomial;
#[path = "../support/numbers.rs"]
mod numbers;
mod operations;
mod optimizers;
mod principal_components;
#[path = "../support/program.rs"]
mod program;
#[path = "../support/runs.rs"]
mod runs;
mod size_factor;
mod words;
