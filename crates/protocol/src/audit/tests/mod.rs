//! Nodes that are honest, broken, absent or lying, against the real machines.

mod answers;
mod attacks;
mod chaos;
mod honesty;
mod silence;
mod world;
