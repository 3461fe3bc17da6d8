//! Every command and option, by the shipped program as a user starts it, and what the library gives beside it.
#[path = "../support/archive.rs"]
mod archive;
mod bench;
mod beside;
#[path = "../support/browser.rs"]
mod browser;
mod bytes;
mod classes;
mod cli;
mod columns;
mod conditional;
mod config_file;
mod extremes;
mod generation;
mod get_mnist;
mod judged;
mod library;
mod lost_and_moved;
#[path = "../support/measured.rs"]
mod measured;
mod mixture_command;
#[path = "../support/numbers.rs"]
mod numbers;
mod pictures;
mod predictions;
#[path = "../support/program.rs"]
mod program;
mod python;
mod rank;
mod readme;
mod report;
mod requests;
#[path = "../support/runs.rs"]
mod runs;
mod scale;
mod scores;
mod sparse;
mod start;
mod sweep;
mod told;
mod training;
mod words;
