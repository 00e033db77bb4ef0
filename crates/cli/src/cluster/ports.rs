//! Free ports on the loopback interface, below those that the system hands out by itself: a node that is started again
//! must not find its port taken by somebody's outgoing connection.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    ops::Range,
};

use crate::failure::Failure;

/// Below Linux's ephemeral ports (32768 and up), above those of well-known services.
const CANDIDATES: Range<u16> = 20_000..32_000;

/// Finds `count` free ports, beginning at a random one so that two clusters started together seldom meet.
pub(crate) fn free(count: usize) -> Result<Vec<SocketAddr>, Failure> {
    let mut chance = [0; 2];
    getrandom::fill(&mut chance)
        .map_err(|error| Failure::Failed(format!("no random bytes from the system: {error}")))?;
    let first = u16::from_le_bytes(chance) % CANDIDATES.len() as u16;
    let (before, after) = (CANDIDATES.start..CANDIDATES.start + first, CANDIDATES.start + first..CANDIDATES.end);
    // Held until all are found, so that none is found twice.
    let mut held = Vec::with_capacity(count);
    for port in after.chain(before) {
        if held.len() == count {
            break;
        }
        held.extend(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok());
    }
    if held.len() < count {
        return Err(Failure::Failed(format!(
            "expected {count} free ports from {} to {} on 127.0.0.1, found {}; stop other clusters",
            CANDIDATES.start,
            CANDIDATES.end,
            held.len()
        )));
    }
    Ok(held.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?)
}

/// Whether somebody could listen there now.
pub(crate) fn is_free(address: SocketAddr) -> bool {
    TcpListener::bind(address).is_ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn free_ports_are_distinct_and_stay_free_for_whoever_asked() {
        let found = free(17).unwrap();
        assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), 17);
        assert!(found.iter().all(|address| CANDIDATES.contains(&address.port()) && is_free(*address)));
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert!(!is_free(taken.local_addr().unwrap()));
    }
}
