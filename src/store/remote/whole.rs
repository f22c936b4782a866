//! Requests that are carried to their end.

use std::pin::Pin;
use std::task::Poll;

/// What was begun and is carried to its end, also if whoever asked has gone away: what it holds, a
/// place among what is in flight, is free only once the engine has answered.
pub(super) fn whole<T: 'static>(
    asked: impl Future<Output = T> + 'static,
) -> impl Future<Output = T> {
    Whole(Some(Box::pin(asked)))
}

struct Whole<T: 'static>(Option<Pin<Box<dyn Future<Output = T>>>>);

impl<T: 'static> Future for Whole<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> Poll<T> {
        let asked = self
            .0
            .as_mut()
            .expect("a future is not polled after its end");
        let output = std::task::ready!(asked.as_mut().poll(context));
        self.0 = None;
        Poll::Ready(output)
    }
}

impl<T: 'static> Drop for Whole<T> {
    fn drop(&mut self) {
        if let Some(asked) = self.0.take() {
            actix::spawn(async move { drop(asked.await) });
        }
    }
}
