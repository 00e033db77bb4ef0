//! A node as its peers meet it: real sockets, real TLS, a real volume in a temporary directory.

mod audit;
mod cluster;
mod crash;
mod damage;
mod grants;
mod life;
mod storage;
