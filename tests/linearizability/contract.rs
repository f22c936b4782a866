//! Histories on the engine that the contract is tested on.

use crate::client::{Http, Place};
use crate::histories;
use crate::history::{AT_ONCE, History};
use crate::support::Server;
use crate::tally::Tally;

#[test]
fn what_clients_are_told_that_ask_at_once_has_an_order() {
    let server = Server::start();
    let place = Place::of(&server);
    let mut tally = Tally::default();
    for _ in 0..histories().div_ceil(AT_ONCE) {
        for history in History::record_many(&|| Http::to(&place)) {
            history.assert_linearizable();
            tally.add(&history);
        }
    }
    println!("{tally}");
    tally.assert_some(&["read", "missing", "created", "updated", "deleted"]);
    tally.assert_some(&["unmet", "unmet by none", "at once"]);
}
