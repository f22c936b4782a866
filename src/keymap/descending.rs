//! Keeps a few streams in descending order of what they are at, so that the least is last: the one
//! to take from next.

/// Orders items so that the least is last.
pub(super) fn sort_descending<T>(items: &mut [T], is_before: impl Fn(&T, &T) -> bool) {
    for len in 1..=items.len() {
        sink_last(&mut items[..len], &is_before);
    }
}

/// Moves the last item down to its place, where all others are in descending order. It mostly stays
/// where it is, since a merge has few inputs and one of them has most of the keys.
pub(super) fn sink_last<T>(items: &mut [T], is_before: impl Fn(&T, &T) -> bool) {
    for at in (1..items.len()).rev() {
        if !is_before(&items[at - 1], &items[at]) {
            return;
        }
        items.swap(at - 1, at);
    }
}
