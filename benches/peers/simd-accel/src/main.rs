//! The peer in Reed–Solomon coding: `reed-solomon-erasure` with its C kernels, in a process of its own.
//!
//! `holdfast-simd-accel-peer K M SHARD_LEN` reads the k data shards from standard input, then one command a byte, and
//! answers each on standard output. Times are processor time of this process, nanoseconds, 8 bytes little-endian.
//!
//! | command | does | answers |
//! |---|---|---|
//! | `e` | encodes once | its time |
//! | `r` | loses the first m shards (data shards, as far as there are any) and reconstructs them | its time |
//! | `p` | – | the parity, m × SHARD_LEN bytes |
//!
//! A reconstruction that does not give the lost bytes ends the process.

use std::{
    env,
    error::Error,
    hint::black_box,
    io::{self, Read, Write},
};

use reed_solomon_erasure::galois_8::ReedSolomon;
use rustix::time::{ClockId, clock_gettime};

fn main() -> Result<(), Box<dyn Error>> {
    let numbers = env::args().skip(1).map(|word| word.parse()).collect::<Result<Vec<usize>, _>>()?;
    let [k, m, shard_len] = numbers[..] else { return Err("expected K M SHARD_LEN".into()) };
    let coder = ReedSolomon::new(k, m)?;
    let (mut commands, mut answers) = (io::stdin().lock(), io::stdout().lock());
    // With a flag each, so that a reconstruction needs no fresh memory.
    let mut shards = vec![(vec![0u8; shard_len], true); k + m];
    for (data, _) in &mut shards[..k] {
        commands.read_exact(data)?;
    }
    let originals: Vec<Vec<u8>> = shards[..m.min(k)].iter().map(|(bytes, _)| bytes.clone()).collect();
    let mut plain: Vec<Vec<u8>> = shards.iter().map(|(bytes, _)| bytes.clone()).collect();
    coder.encode(&mut plain)?;
    for ((bytes, _), coded) in shards.iter_mut().zip(&plain) {
        bytes.copy_from_slice(coded);
    }
    let mut command = [0];
    while commands.read(&mut command)? == 1 {
        match command[0] {
            b'e' => {
                let began = now();
                coder.encode(black_box(&mut plain))?;
                answers.write_all(&(now() - began).to_le_bytes())?;
            }
            b'r' => {
                for (bytes, present) in &mut shards[..m.min(k)] {
                    bytes.fill(0);
                    *present = false;
                }
                let began = now();
                coder.reconstruct(black_box(&mut shards))?;
                let took = now() - began;
                if shards.iter().zip(&originals).any(|((bytes, _), original)| bytes != original) {
                    return Err("the reconstruction gave other bytes than those lost".into());
                }
                answers.write_all(&took.to_le_bytes())?;
            }
            b'p' => plain[k..].iter().try_for_each(|parity| answers.write_all(parity))?,
            other => return Err(format!("expected one of the commands e, r, p, got byte {other}").into()),
        }
        answers.flush()?;
    }
    Ok(())
}

/// Processor time of this process, in nanoseconds.
fn now() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
