//! What the original service's tests pinned.

use crate::support::Server;

#[test]
fn a_missing_key_is_a_404_with_a_detail() {
    let server = Server::start();
    let response = server.get("/get/missing");
    assert_eq!(response.status, 404);
    assert!(response.json()["detail"].is_string());
}

#[test]
fn a_value_reads_back_as_it_was_set() {
    let server = Server::start();
    assert_eq!(server.post(r#"{"key":"abc-1","value":"one"}"#).status, 200);
    assert_eq!(server.get("/get/abc-1").json(), "one");
}

#[test]
fn a_body_of_the_wrong_shape_is_a_422() {
    assert_eq!(Server::start().post(r#"{"key":1}"#).status, 422);
}

#[test]
fn searches_by_prefix_and_suffix_give_keys() {
    let server = Server::start();
    server.fill(["abc-1", "abc-2", "xyz-1", "xyz-2"]);
    assert_eq!(server.get("/search").text(), "[]");
    assert_eq!(server.get("/search?prefix=abc").keys(), ["abc-1", "abc-2"]);
    assert_eq!(server.get("/search?suffix=-1").keys(), ["abc-1", "xyz-1"]);
}
