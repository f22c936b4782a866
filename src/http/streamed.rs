//! Answers that are sent as they are found.

use super::State;
use super::door::Caller;
use super::problem::{Code, Problem};
use actix_web::body::BodyStream;
use actix_web::web::Data;
use bytes::Bytes;
use futures_util::stream::{self, Stream};

/// Whatever gives an answer piece by piece.
pub(super) trait Pieces: 'static {
    /// The next of its text; `None` at its end.
    ///
    /// # Errors
    /// Why there is no next one, though this is not the end.
    fn next_piece(&mut self) -> impl Future<Output = Result<Option<Bytes>, Problem>>;
}

/// Why a streamed answer broke off.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Broken(String);

/// A body whose first piece is there. Where a later one is not to be had, or whoever asked may not have it any more, it
/// breaks off without its end, so that a client cannot take it for whole.
pub(super) fn body<P: Pieces>(
    first: Bytes,
    pieces: P,
    caller: Caller,
    state: Data<State>,
) -> BodyStream<impl Stream<Item = Result<Bytes, Broken>>> {
    let begun = Some((Some(first), pieces));
    BodyStream::new(stream::unfold(begun, move |under_way| {
        let (caller, state) = (caller.clone(), state.clone());
        async move {
            let (first, mut pieces) = under_way?;
            if let Some(first) = first {
                return Some((Ok(first), Some((None, pieces))));
            }
            let next = match caller.may_go_on(&state) {
                true => pieces.next_piece().await,
                false => {
                    let detail =
                        "the token was taken out of auth_file or changed before all was sent";
                    Err(Problem::new(Code::Forbidden, detail))
                }
            };
            match next {
                Ok(piece) => Some((Ok(piece?), Some((None, pieces)))),
                Err(problem) => {
                    let why = problem.detail();
                    log::warn!("an answer ended before its last key: {why}");
                    state.store.search_aborted();
                    Some((Err(Broken(why.into())), None))
                }
            }
        }
    }))
}

/// The body of an answer to `HEAD` where one to `GET` would be streamed.
pub(super) fn nothing() -> BodyStream<impl Stream<Item = Result<Bytes, Broken>>> {
    BodyStream::new(stream::empty())
}
