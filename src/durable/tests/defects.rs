//! Defects that are planted in a store, each of which histories must find: else what finds none would say nothing.

use super::super::simulated::{Operation, Skipped};
use super::histories::{Defect, explore, steps};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::iter::once;
use std::panic::catch_unwind;

/// How many histories are searched, which are always the same.
const HISTORIES: usize = 40;

/// Searches for a history in which a defect shows, from the one on in which it is known to: that takes a second or two,
/// and another only where what is drawn or how it is explored has changed. Then the rest is searched, which takes a
/// minute: note here what is found.
fn is_found(defect: Defect, known: usize) {
    let mut runner = TestRunner::deterministic();
    let mut drawn = || (steps(), steps()).new_tree(&mut runner).unwrap().current();
    let histories: Vec<_> = (0..HISTORIES).map(|_| drawn()).collect();
    let others = (0..HISTORIES).filter(|number| *number != known);
    let found = once(known).chain(others).find(|number| {
        let (first, second) = &histories[*number];
        catch_unwind(|| explore(first, second, *number as u64, Some(defect))).is_err()
    });
    let number = found.unwrap_or_else(|| panic!("{defect:?} is not found"));
    println!("{defect:?} is found by history {number}, known was {known}");
}

const fn skips(operation: Operation, path: &'static str) -> Defect {
    Defect::Skips(Skipped { operation, path })
}

#[test]
fn a_log_that_is_not_synced_is_found() {
    is_found(skips(Operation::Sync, ".log"), 0);
}

#[test]
fn a_file_of_the_log_that_is_not_synced_before_it_has_its_name_is_found() {
    is_found(skips(Operation::Sync, "/next"), 0);
}

#[test]
fn names_of_the_log_that_are_not_synced_are_found() {
    is_found(skips(Operation::SyncDirectory, "/log"), 0);
}

#[test]
fn a_torn_end_that_is_not_cut_off_is_found() {
    is_found(skips(Operation::Cut, ".log"), 1);
}

#[test]
fn values_of_a_checkpoint_that_are_not_synced_are_found() {
    is_found(skips(Operation::Sync, ".values"), 3);
}

#[test]
fn segments_of_a_checkpoint_that_are_not_synced_are_found() {
    is_found(skips(Operation::Sync, ".segment"), 7);
}

#[test]
fn a_checkpoint_that_is_not_synced_is_found() {
    is_found(skips(Operation::Sync, "/checkpoint.new"), 2);
}

#[test]
fn names_of_a_shard_that_are_not_synced_are_found() {
    is_found(skips(Operation::SyncDirectory, "/shard-1"), 7);
}

#[test]
fn an_acknowledgement_that_comes_early_is_found() {
    is_found(Defect::AcknowledgesEarly, 0);
}

#[test]
fn a_checkpoint_that_is_ahead_of_the_log_is_found() {
    is_found(Defect::CommitsEarly, 4);
}

#[test]
fn a_log_that_is_cut_early_is_found() {
    is_found(Defect::TrimsEarly, 2);
}

#[test]
fn a_removal_without_a_record_is_found() {
    is_found(Defect::RemovesQuietly, 21);
}

#[test]
fn a_checkpoint_that_is_dated_late_is_found() {
    is_found(Defect::DatesLate, 2);
}
