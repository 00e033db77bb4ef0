//! Leases: one holder at a time, and a number that orders them for ever.

use holdfast_types::{Fence, Wall};

use super::fixture::*;
use crate::store::{Store, StoreOp, StoreReply};

fn acquire(n: u8, now: Wall) -> StoreOp {
    StoreOp::AcquireLease { segment: segment_id(n), now, ttl: TTL }
}

pub(super) fn one_lease_a_segment_at_a_time(store: &mut dyn Store) {
    nodes(store, 4);
    put(store, 1);
    put(store, 2);
    let first = lease(store, 1, START);
    assert_eq!((first.segment, first.expires), (segment_id(1), START + TTL));
    conflict(store, acquire(1, START));
    store.reopen();
    conflict(store, acquire(1, Wall(first.expires.0 - 1)));
    let other = lease(store, 2, START);
    let second = lease(store, 1, first.expires);
    assert!(first.fence < other.fence && other.fence < second.fence);
    assert_eq!(store.apply(acquire(9, START)), StoreReply::NotFound);
}

pub(super) fn fences_rise_across_release_and_epoch(store: &mut dyn Store) {
    nodes(store, 4);
    put(store, 1);
    let mut last = Fence::default();
    for round in 0..6 {
        let held = lease(store, 1, START);
        assert!(held.fence > last, "{} after {last}", held.fence);
        last = held.fence;
        done(store, StoreOp::ReleaseLease(held));
        if round == 2 {
            assert_eq!(store.apply(StoreOp::RaiseEpoch { above: 40 }), StoreReply::Epoch(41));
        }
        store.reopen();
    }
    assert_eq!(last.epoch, 41);
    assert_eq!(summary(store).counter, last.counter);
}

pub(super) fn a_lease_is_renewed_by_its_holder_only(store: &mut dyn Store) {
    nodes(store, 4);
    put(store, 1);
    let held = lease(store, 1, START);
    let longer = Wall(held.expires.0 + 500);
    let reply = store.apply(StoreOp::RenewLease { lease: held, expires: longer });
    assert_eq!(reply, StoreReply::Lease(crate::model::Lease { expires: longer, ..held }));
    conflict(store, acquire(1, held.expires));
    let next = lease(store, 1, longer);
    conflict(store, StoreOp::RenewLease { lease: held, expires: Wall(longer.0 + 9999) });
    done(store, StoreOp::ReleaseLease(next));
    conflict(store, StoreOp::RenewLease { lease: next, expires: Wall(longer.0 + 9999) });
}

pub(super) fn a_release_by_a_former_holder_does_nothing(store: &mut dyn Store) {
    nodes(store, 4);
    put(store, 1);
    let old = lease(store, 1, START);
    let new = lease(store, 1, old.expires);
    done(store, StoreOp::ReleaseLease(old));
    conflict(store, acquire(1, old.expires));
    done(store, StoreOp::ReleaseLease(new));
    lease(store, 1, old.expires);
}

pub(super) fn a_deleted_segment_has_no_lease(store: &mut dyn Store) {
    nodes(store, 5);
    put(store, 1);
    let held = lease(store, 1, START);
    let seen = placement(store, 1, 3);
    done(store, StoreOp::DeleteObject { owner: owner(1), id: object_id(1), tombstone: vec![], at: START });
    assert_eq!(store.apply(replaced(&seen, 5, 7, held.fence)), StoreReply::NotFound);
    conflict(store, StoreOp::RenewLease { lease: held, expires: Wall(START.0 + 99_999) });
    done(store, StoreOp::ReleaseLease(held));
    assert!(used(store).values().all(|used| *used == 0));
}
