//! A panic on purpose at a step of this thread's key maps, for tests that go through all steps of what is asked.

use std::cell::Cell;

thread_local! {
    /// How many steps there are until it comes, if it does.
    static LEFT: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Has the step panic that comes after so many others.
pub(crate) fn arm(steps: usize) {
    LEFT.set(Some(steps));
}

/// Has no step panic any more. Whether one did.
pub(crate) fn disarm() -> bool {
    LEFT.take().is_none()
}

/// A step: where code of the key map that a message runs might have a defect.
pub(super) fn step() {
    match LEFT.get() {
        None => {}
        Some(0) => {
            LEFT.set(None);
            panic!("on purpose");
        }
        Some(left) => LEFT.set(Some(left - 1)),
    }
}
