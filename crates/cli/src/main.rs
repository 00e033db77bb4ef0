//! The one binary, holdfast.

fn main() {}
