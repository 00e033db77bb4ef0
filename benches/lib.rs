//! Nothing: this package is its benches. Those that have peers are in `peers/`, a package built on its own.
