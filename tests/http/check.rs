//! `kvstore check`: what it says of a data directory, and what it saves of a damaged one.

use crate::durable::{refused, start};
use crate::support::{Server, kvstore};
use rustix::process::Signal;
use serde_json::Value as Json;
use tempfile::TempDir;

#[test]
fn check_verifies_a_directory_and_saves_what_is_whole() {
    let directory = TempDir::new().unwrap();
    let mut server = start(directory.path(), &["--shards", "2"]);
    server.fill((0..2000).map(|number| format!("k{number}")));
    server.put(
        "/set/text",
        &[("Content-Type", "text/plain")],
        b"some\ntext",
    );
    server.signal(Signal::TERM);
    server.wait();
    let check = |more: &[&str]| {
        let mut command = kvstore();
        command
            .args(["check", "--data-dir"])
            .arg(directory.path())
            .args(more);
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let (code, says, errors) = check(&[]);
    assert_eq!((code, &errors[..]), (Some(0), ""), "{says}");
    assert!(says.starts_with("2 shards, 2001 keys\n"), "{says}");
    assert!(says.ends_with("all of it is as it was written\n"), "{says}");
    let (code, says, _) = check(&["--json"]);
    let found: Json = serde_json::from_str(&says).unwrap();
    assert_eq!((code, &found["keys"]), (Some(0), &2001.into()), "{says}");
    assert_eq!(found["damage"], serde_json::json!([]), "{says}");
    let keys = |at: usize| found["checkpoints"][at]["keys"].as_u64();
    assert_eq!(
        keys(0).zip(keys(1)).map(|(a, b)| a + b),
        Some(2001),
        "{says}"
    );
    let saved = directory.path().join("saved.ndjson");
    let (code, ..) = check(&["--salvage", saved.to_str().unwrap()]);
    assert_eq!(code, Some(0));
    let all = std::fs::read_to_string(&saved).unwrap();
    assert_eq!(all.lines().count(), 2001);
    let (code, _, errors) = check(&["--salvage", saved.to_str().unwrap()]);
    assert!(
        code == Some(74) && errors.contains("cannot write"),
        "{errors}"
    );
    std::fs::remove_file(&saved).unwrap();
    // The values of a shard are damaged: the other's are whole.
    let shard = directory.path().join("shard-1");
    let files = std::fs::read_dir(&shard)
        .unwrap()
        .map(|file| file.unwrap().path());
    let values = files.filter(|file| file.extension().is_some_and(|kind| kind == "values"));
    let values: Vec<_> = values.collect();
    assert_eq!(values.len(), 1);
    let mut bytes = std::fs::read(&values[0]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&values[0], &bytes).unwrap();
    let (code, says, _) = check(&["--json"]);
    let found: Json = serde_json::from_str(&says).unwrap();
    let damage = found["damage"][0].as_str().unwrap();
    assert_eq!(code, Some(74));
    assert!(damage.contains(values[0].to_str().unwrap()), "{says}");
    let (code, _, errors) = check(&["--salvage", saved.to_str().unwrap()]);
    assert_eq!(code, Some(74));
    assert!(errors.contains(values[0].to_str().unwrap()), "{errors}");
    assert!(errors.contains("missing: up to"), "{errors}");
    let some = std::fs::read_to_string(&saved).unwrap();
    assert!((800..2001).contains(&some.lines().count()));
    assert!(some.lines().all(|line| all.contains(line)));
    let other = Server::in_memory(&[]);
    assert_eq!(other.bulk(&some).status, 200);
    let (code, says) = refused(directory.path(), &[]);
    assert!(
        code == Some(78) && says.contains(values[0].to_str().unwrap()),
        "{says}"
    );
}
