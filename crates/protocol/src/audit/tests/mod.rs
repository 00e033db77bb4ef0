//! Nodes that are honest, broken, absent or lying, against the real machines.

mod attacks;
mod honesty;
mod silence;
mod world;
