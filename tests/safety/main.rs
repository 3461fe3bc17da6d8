//! Nothing is lost and nothing gets in: kills, signals, full disks, damage, numbers that are not finite, memory.
#[path = "../support/archive.rs"]
mod archive;
mod damage;
mod disk;
mod files;
mod killed;
mod memory;
mod not_finite;
mod outside;
mod pipes;
#[path = "../support/program.rs"]
mod program;
#[path = "../support/runs.rs"]
mod runs;
mod signals;
