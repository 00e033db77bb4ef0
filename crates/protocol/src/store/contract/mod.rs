//! What every store promises, one function a promise. A store's own test is one call of [`run`]
//! with a way to make an empty store; whoever writes a new store has this as the specification.

mod audits;
mod burials;
mod chance;
mod fixture;
mod leases;
mod nodes;
mod objects;
mod owed;
mod placements;
pub(in crate::store) mod twin;
mod uploads;
mod witnesses;

use crate::store::Store;

/// One promise, put to an empty store. Panics when it is broken.
pub type Promise = fn(&mut dyn Store);

macro_rules! promises {
    ($($module:ident: $($name:ident),+;)+) => {
        /// All promises, by name.
        pub const PROMISES: &[(&str, Promise)] = &[$($((concat!(stringify!($module), "::", stringify!($name)), $module::$name)),+),+];
    };
}

promises! {
    nodes: an_epoch_only_rises, a_node_is_replaced_by_its_own_version_only, the_summary_counts_what_is_there,
        segments_are_counted_by_spare_worst_first;
    uploads: beginning_twice_finds_the_same_upload, an_upload_is_seen_by_its_owner_only,
        staged_segments_come_in_pages_one_by_one_and_as_spans, staging_reserves_and_restaging_moves_the_reservation, staging_what_does_not_fit_changes_nothing,
        receipts_are_noted_where_the_assignment_still_stands, a_number_given_twice_is_not_noted,
        a_commit_is_all_or_nothing, a_second_commit_answers_the_same, a_commit_below_all_shards_leaves_the_rest_absent,
        an_object_put_twice_keeps_the_first_copy, an_expired_upload_leaves_nothing_but_deletions,
        an_aborted_upload_leaves_nothing_but_deletions, a_large_upload_is_dropped_piece_by_piece,
        what_expires_together_is_dropped_piece_by_piece,
        what_is_acknowledged_outlives_a_reopening;
    objects: an_object_is_seen_by_its_owner_only, objects_come_in_order_and_in_pages,
        extents_come_by_the_bytes_they_touch, deleting_keeps_a_shared_segment_until_its_last_object,
        deleting_what_is_not_there_is_done;
    placements: a_commitment_is_set_against_the_expected_one_only, pending_commitments_come_in_pages,
        placements_come_in_order_of_sequence, the_greatest_number_is_kept_and_ends_a_page,
        a_number_that_does_not_fit_fails_and_changes_nothing, the_worst_segment_comes_first,
        a_place_needs_the_version_it_replaces,
        a_place_needs_the_live_lease, an_older_fence_is_refused, a_place_moves_bytes_and_queues_the_old_copy,
        a_place_fills_an_absent_index, a_place_of_other_content_is_refused, a_node_holds_one_shard_of_a_segment;
    witnesses: witnesses_come_with_their_segment_and_the_later_one_counts,
        witnesses_that_fit_no_shard_are_refused_with_their_segment, a_witness_is_burnt_once,
        a_raised_epoch_burns_what_may_have_been_told,
        a_client_vouches_only_for_the_list_its_witness_was_burnt_with, no_witness_is_burnt_for_what_is_accepted,
        a_list_that_the_client_computed_stands_on_its_word_from_the_commit_on,
        a_staged_shard_keeps_its_list, lists_are_named_by_placements_and_witnesses_and_nothing_else,
        witnesses_go_with_their_segment, nothing_that_is_known_of_one_shard_is_noted_of_another_in_its_place,
        what_is_pending_says_since_when, the_oldest_pending_may_have_no_witness, debts_and_counts_are_those_of_good_pending_shards;
    leases: one_lease_a_segment_at_a_time, fences_rise_across_release_and_epoch, a_lease_is_renewed_by_its_holder_only,
        a_release_by_a_former_holder_does_nothing, a_deleted_segment_has_no_lease;
    audits: an_audit_closes_once, a_verdict_changes_what_was_judged_only, damage_adds_up_and_a_loss_stays,
        losing_a_node_names_each_shard_once, losing_a_node_voids_its_receipts, verdicts_come_in_order_and_in_pages,
        open_audits_are_there_after_a_reopening, repairs_come_newest_first;
    owed: deletions_come_when_due_and_go_when_done, deletions_are_found_by_their_shards, what_is_claimed_is_never_queued,
        a_claim_withdraws_a_queued_deletion, only_what_nobody_knows_is_unknown, owed_records_go_when_kept,
        a_kept_record_that_changed_since_is_still_owed, a_change_of_a_segment_asks_for_a_description;
    burials: a_deleted_objects_records_are_not_owed_and_its_tombstone_is,
        burials_end_when_every_node_keeps_the_tombstone_and_the_grace_is_over,
        burials_end_page_by_page, without_a_tombstone_the_records_go_after_the_grace, a_node_that_left_holds_up_no_burial,
        a_node_that_held_a_shard_before_a_repair_buries_too,
        what_is_buried_is_not_committed_until_its_tombstones_are_gone, records_of_another_revision_are_not_owed,
        what_others_need_is_not_buried, strays_are_buried_and_nothing_else_is, a_new_descriptor_buries_pages_of_the_last_one;
    twin: a_walk_of_operations_is_answered_as_the_map_does, another_walk_is_answered_as_the_map_does,
        a_third_walk_is_answered_as_the_map_does;
}

/// Puts every promise to a fresh store of `make`.
pub fn run<S: Store>(mut make: impl FnMut() -> S) {
    for (_, promise) in PROMISES {
        promise(&mut make());
    }
}

#[cfg(test)]
mod tests {
    use crate::store::MapStore;

    #[test]
    fn the_map_keeps_every_promise() {
        super::run(MapStore::new);
    }
}
