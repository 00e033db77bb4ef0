//! The deterministic cluster: real cores and real volumes of a whole cluster in one thread from one seed.
