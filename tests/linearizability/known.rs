//! Histories of which the verdict is known.

use crate::check::{Reason, check};
use crate::model::Condition::{self, Absent, Always, Is};
use crate::model::{Answer, Asked, Body, Operation, Tag};
use std::ops::Range;

const A: Body = Body(1);
const B: Body = Body(2);
const C: Body = Body(3);

/// The tag of a body, unless a test gives it another.
fn tag(body: Body) -> Tag {
    Tag(100 + body.0)
}

/// An operation from its call to its return.
fn said(span: Range<u64>, asked: Asked, answer: Answer) -> Operation {
    unsaid(span.start, asked).answered(answer, span.end)
}

/// One that is not answered, from its call on.
fn unsaid(called: u64, asked: Asked) -> Operation {
    Operation::new(0, asked, called)
}

fn created(span: Range<u64>, body: Body, condition: Condition) -> Operation {
    said(
        span,
        Asked::Set(body, condition),
        Answer::Created(tag(body)),
    )
}

fn updated(span: Range<u64>, body: Body, condition: Condition) -> Operation {
    said(
        span,
        Asked::Set(body, condition),
        Answer::Updated(tag(body)),
    )
}

fn read(span: Range<u64>, body: Body) -> Operation {
    said(span, Asked::Get, Answer::Value(body, tag(body)))
}

fn missing(span: Range<u64>) -> Operation {
    said(span, Asked::Get, Answer::Missing)
}

fn deleted(span: Range<u64>, condition: Condition) -> Operation {
    said(span, Asked::Delete(condition), Answer::Deleted)
}

/// A change that shows the tag that there is, or none, since its condition does not hold.
fn unmet(span: Range<u64>, asked: Asked, shown: Option<Tag>) -> Operation {
    said(span, asked, Answer::Unmet(shown))
}

#[track_caller]
fn accepted(operations: &[Operation]) {
    if let Err(violation) = check(operations) {
        panic!("{violation}");
    }
}

#[track_caller]
fn rejected(operations: &[Operation]) {
    let violation = check(operations).expect_err("there is no order");
    assert_eq!(violation.reason, Reason::Order, "{violation}");
}

#[test]
fn one_after_the_other_each_has_the_answer_of_the_contract() {
    accepted(&[
        created(1..2, A, Always),
        read(3..4, A),
        updated(5..6, B, Is(tag(A))),
        unmet(7..8, Asked::Set(C, Is(tag(A))), Some(tag(B))),
        unmet(9..10, Asked::Set(C, Absent), Some(tag(B))),
        unmet(11..12, Asked::Delete(Is(tag(A))), Some(tag(B))),
        deleted(13..14, Is(tag(B))),
        missing(15..16),
        said(17..18, Asked::Delete(Always), Answer::Missing),
        unmet(19..20, Asked::Set(C, Is(tag(B))), None),
        created(21..22, C, Absent),
        read(23..24, C),
    ]);
    accepted(&[]);
}

#[test]
fn what_is_at_once_may_be_in_either_order() {
    accepted(&[created(1..6, A, Always), missing(2..3), read(4..5, A)]);
    accepted(&[created(1..6, A, Always), read(2..3, A), read(4..5, A)]);
    accepted(&[
        updated(1..6, A, Always),
        created(2..5, B, Always),
        read(7..8, A),
    ]);
    accepted(&[
        created(1..6, A, Absent),
        unmet(2..5, Asked::Set(B, Absent), Some(tag(A))),
    ]);
}

#[test]
fn a_stale_read_has_no_order() {
    rejected(&[
        created(1..2, A, Always),
        updated(3..4, B, Always),
        read(5..6, A),
    ]);
    rejected(&[created(1..2, A, Always), missing(3..4)]);
    // The set is still under way, but somebody has seen it.
    rejected(&[
        created(1..2, A, Always),
        updated(3..8, B, Always),
        read(4..5, B),
        read(6..7, A),
    ]);
}

#[test]
fn a_lost_update_has_no_order() {
    rejected(&[
        created(1..2, A, Always),
        updated(3..6, B, Is(tag(A))),
        updated(4..5, C, Is(tag(A))),
    ]);
    rejected(&[
        created(1..2, A, Always),
        updated(3..4, B, Always),
        updated(5..6, C, Is(tag(A))),
    ]);
}

#[test]
fn a_double_create_has_no_order() {
    rejected(&[created(1..4, A, Absent), created(2..3, B, Absent)]);
    rejected(&[created(1..2, A, Always), created(3..4, B, Always)]);
}

#[test]
fn a_resurrected_value_has_no_order() {
    rejected(&[
        created(1..2, A, Always),
        deleted(3..4, Always),
        read(5..6, A),
    ]);
    rejected(&[
        created(1..6, A, Always),
        deleted(2..3, Always),
        read(4..5, A),
    ]);
}

#[test]
fn a_value_that_nobody_had_set_has_no_order() {
    rejected(&[read(1..2, A)]);
    rejected(&[read(1..2, A), created(3..4, A, Always)]);
}

#[test]
fn a_refusal_without_a_reason_has_no_order() {
    rejected(&[unmet(1..2, Asked::Set(A, Absent), None)]);
    rejected(&[
        created(1..2, A, Always),
        updated(3..4, B, Always),
        unmet(5..6, Asked::Set(C, Absent), Some(tag(A))),
    ]);
    rejected(&[
        created(1..2, A, Always),
        unmet(3..4, Asked::Set(B, Is(tag(A))), Some(tag(A))),
    ]);
}

#[test]
fn a_tag_is_one_values() {
    let other = said(3..4, Asked::Get, Answer::Value(A, Tag(7)));
    let violation = check(&[created(1..2, A, Always), other]).unwrap_err();
    assert_eq!(violation.reason, Reason::Tags);
    let same = said(3..4, Asked::Set(B, Always), Answer::Updated(tag(A)));
    let violation = check(&[created(1..2, A, Always), same]).unwrap_err();
    assert_eq!(violation.reason, Reason::Tags);
}

#[test]
fn what_was_not_answered_may_be_done_at_any_time_or_never() {
    let set = unsaid(1, Asked::Set(A, Always));
    accepted(&[set]);
    accepted(&[set, missing(3..4)]);
    accepted(&[set, missing(3..4), read(5..6, A)]);
    accepted(&[set, read(3..4, A)]);
    accepted(&[set, created(3..4, B, Always), read(5..6, B), read(7..8, A)]);
    accepted(&[set, updated(3..4, B, Always)]);
    accepted(&[unsaid(1, Asked::Get), missing(2..3)]);
    let delete = unsaid(3, Asked::Delete(Always));
    let value = created(1..2, A, Always);
    accepted(&[value, delete, read(4..5, A)]);
    accepted(&[value, delete, read(4..5, A), missing(6..7)]);
}

#[test]
fn what_was_not_answered_is_done_once_and_not_before_its_call() {
    let set = unsaid(1, Asked::Set(A, Always));
    rejected(&[set, read(3..4, A), missing(5..6)]);
    rejected(&[set, created(3..4, B, Always), read(5..6, A), read(7..8, B)]);
    rejected(&[set, read(3..4, A), updated(5..6, B, Always), read(7..8, A)]);
    rejected(&[read(1..2, A), unsaid(3, Asked::Set(A, Always))]);
    let delete = unsaid(3, Asked::Delete(Always));
    rejected(&[
        created(1..2, A, Always),
        delete,
        missing(4..5),
        read(6..7, A),
    ]);
}

#[test]
fn what_was_not_answered_is_done_only_where_its_condition_holds() {
    let value = created(1..2, A, Always);
    let create = unsaid(3, Asked::Set(B, Absent));
    rejected(&[value, create, read(4..5, B)]);
    accepted(&[value, create, deleted(4..5, Always), read(6..7, B)]);
    let compared = unsaid(3, Asked::Set(B, Is(tag(A))));
    accepted(&[value, compared, read(4..5, B)]);
    accepted(&[value, compared, updated(4..5, C, Always), read(6..7, C)]);
    rejected(&[value, compared, updated(4..5, C, Always), read(6..7, B)]);
}

#[test]
fn a_refusal_may_show_the_tag_of_what_was_not_answered() {
    let show = |span, tag| unmet(span, Asked::Delete(Absent), Some(Tag(tag)));
    let value = created(1..2, A, Always);
    let one = unsaid(3, Asked::Set(B, Always));
    let other = unsaid(4, Asked::Set(C, Always));
    accepted(&[value, one, show(5..6, 7)]);
    accepted(&[value, one, show(5..6, 7), show(7..8, 7)]);
    rejected(&[value, show(5..6, 7)]);
    // The one cannot have two tags, nor can one tag be that of both.
    rejected(&[value, one, show(5..6, 7), show(7..8, 8)]);
    accepted(&[value, one, other, show(5..6, 7), show(7..8, 8)]);
    rejected(&[
        value,
        one,
        other,
        show(5..6, 7),
        show(7..8, 8),
        show(9..10, 7),
    ]);
    let seen = |tag| said(7..8, Asked::Get, Answer::Value(B, Tag(tag)));
    accepted(&[value, one, show(5..6, 7), seen(7)]);
    rejected(&[value, one, show(5..6, 7), seen(8)]);
}

#[test]
fn what_was_refused_is_not_done() {
    let refused = said(1..2, Asked::Set(A, Always), Answer::Refused);
    accepted(&[refused, missing(3..4)]);
    rejected(&[refused, read(3..4, A)]);
}
