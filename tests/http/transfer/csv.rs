//! CSV: what is exported is imported exactly, tables of others by their columns, and faults by line and column.

use super::{folder, run};
use crate::support::{Server, kvstore};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value as Json, json};
use std::fs;
use std::path::Path;

pub(super) fn import(server: &Server, file: &Path, words: &[&str]) -> (Option<i32>, String) {
    let mut command = kvstore();
    let command = command.args(["import", "--csv", "--url", &server.url()]);
    run(command.args(words).arg(file))
}

/// All entries without their tags, a line each.
fn all(server: &Server) -> String {
    let output = kvstore()
        .args(["export", "-", "--url", &server.url()])
        .output();
    String::from_utf8(output.unwrap().stdout).unwrap()
}

/// Entries as lines that import takes, with whatever is odd about keys, types, values and ends.
fn entries() -> impl Strategy<Value = Vec<String>> {
    let key = prop_oneof!["[a-c,\"\r\n é\u{0}\u{1b}\u{feff}=]{1,6}", "\\PC{1,8}"];
    let json = prop_oneof![
        Just(json!(null)),
        Just(json!({"etag": "\"00c4f0e2d1b3a596\"", "a": [1, ",", "\n"]})),
        any::<i64>().prop_map(Json::from),
        "[a\",\r\n\\\\]{0,5}".prop_map(Json::from),
    ];
    let kinds = [
        "application/json",
        "text/plain",
        "application/json; charset=utf-8",
        "a/b; c=\"d,e\"",
    ];
    let bytes = prop_oneof![
        "[1a\",\r\n\t]{0,6}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..12),
    ];
    let value = prop_oneof![
        json.prop_map(|json| json!({"value": json})),
        (prop::sample::select(kinds.to_vec()), bytes).prop_map(|(kind, bytes)| {
            use base64::Engine;
            let base64 = base64::engine::general_purpose::STANDARD.encode(bytes);
            json!({"content_type": kind, "base64": base64})
        }),
    ];
    let end = prop::option::of(0_u32..1000);
    let entry = (key, value, end).prop_map(|(key, mut entry, end)| {
        entry["key"] = key.into();
        if let Some(millis) = end {
            entry["expires_at"] = format!("2090-01-31T12:00:00.{millis:03}Z").into();
        }
        entry.to_string()
    });
    prop::collection::vec(entry, 1..12)
}

#[test]
fn what_is_exported_in_any_form_is_imported_exactly() {
    let (from, to) = (Server::start(), Server::start());
    let folder = folder("exactly");
    let mut runner = TestRunner::new(Config {
        cases: 24,
        failure_persistence: None,
        ..Config::default()
    });
    let names = vec![
        "all.csv",
        "all.csv.gz",
        "all.csv.zst",
        "all.ndjson",
        "all.ndjson.gz",
    ];
    let done = runner.run(
        &(entries(), prop::sample::select(names)),
        |(lines, name)| {
            for server in [&from, &to] {
                assert_eq!(server.delete("/delete?prefix=").status, 200);
            }
            let filled = from.bulk(&(lines.join("\n") + "\n"));
            prop_assert_eq!(filled.status, 200, "{}", filled.text());
            let file = folder.join(name);
            for (command, server) in [("export", &from), ("import", &to)] {
                let mut process = kvstore();
                process.args([command, "--url", &server.url()]).arg(&file);
                if name.contains("csv") {
                    process.arg("--csv");
                }
                let (code, said) = run(&mut process);
                prop_assert_eq!(code, Some(0), "{}", said);
            }
            prop_assert_eq!(all(&to), all(&from));
            if name == "all.csv" {
                let records = csv::ReaderBuilder::new()
                    .from_path(&file)
                    .unwrap()
                    .into_byte_records();
                prop_assert_eq!(
                    records.map(Result::unwrap).count(),
                    all(&from).lines().count()
                );
            }
            Ok(())
        },
    );
    done.unwrap();
}

#[test]
fn a_table_of_others_is_imported_by_its_columns() {
    let server = Server::start();
    let file = folder("columns").join("table.csv");
    let table = "\u{feff}id,name,\"note, long\",ttl,end,type\r\n\
                 1,Ann,\"says \"\"hi\"\"\r\nand goes\",,,\r\n\
                 2,,,3600000,,application/json\r\n\
                 \r\n\
                 3,[1],,,2090-01-31T12:00:00Z,application/json";
    fs::write(&file, table).unwrap();
    let (code, said) = import(&server, &file, &["--key-column", "id"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("3 records: 3 keys created"), "{said}");
    assert_eq!(
        server.get("/get/1").text(),
        r#"{"name":"Ann","note, long":"says \"hi\"\r\nand goes","ttl":"","end":"","type":""}"#
    );
    let ends = [
        "--key-column",
        "id",
        "--ttl-ms-column",
        "ttl",
        "--expires-at-column",
        "end",
    ];
    let (code, said) = import(&server, &file, &ends);
    assert_eq!(code, Some(0), "{said}");
    let second = server.get("/get/2");
    assert_eq!(
        second.text(),
        r#"{"name":"","note, long":"","type":"application/json"}"#
    );
    assert!(second.header("x-expires-at").is_some());
    let third = server.get("/get/3");
    assert_eq!(
        third.header("x-expires-at"),
        Some("2090-01-31T12:00:00.000Z")
    );
    assert_eq!(server.get("/get/1").header("x-expires-at"), None);
    let one = ["--key-column", "id", "--value-column", "name"];
    let (code, said) = import(&server, &file, &one);
    assert_eq!(code, Some(0), "{said}");
    let first = server.get("/get/1");
    assert_eq!(first.text(), "Ann");
    assert_eq!(
        first.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    let typed = [
        &one[..],
        &["--content-type-column", "type", "--content-type", "a/b"],
    ]
    .concat();
    let (code, said) = import(&server, &file, &typed);
    assert_eq!(code, Some(0), "{said}");
    let (first, third) = (server.get("/get/1"), server.get("/get/3"));
    assert_eq!(first.header("content-type"), Some("a/b"));
    assert_eq!(third.header("content-type"), Some("application/json"));
    assert_eq!(third.text(), "[1]");
    let (code, said) = import(&server, &file, &["--key-column", "id", "--json"]);
    assert_eq!(code, Some(0), "{said}");
    let counts: Json = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    assert_eq!(
        counts,
        json!({"lines": 3, "created": 0, "updated": 3, "unmet": 0, "unmet_lines": []})
    );
}

#[test]
fn faults_are_named_by_line_record_and_column_without_what_is_there() {
    let server = Server::start();
    let file = folder("faults").join("table.csv");
    let id = &["--key-column", "id"][..];
    let json = &[
        "--key-column",
        "id",
        "--value-column",
        "v",
        "--content-type",
        "application/json",
    ];
    let ends = &[
        "--key-column",
        "id",
        "--ttl-ms-column",
        "t",
        "--expires-at-column",
        "e",
    ];
    let exported = "key,content_type,value,base64,expires_at\n";
    let long = format!("id,v\na,1\n\n\"{}\",1\n", "k".repeat(2000));
    for (table, words, says) in [
        (
            "",
            id,
            "line 1 (the header), column 1: the end of the input",
        ),
        (
            "id,v,id\nsecret,1,2\n",
            id,
            "line 1 (the header), column 6: the name of a column for the second time",
        ),
        (
            "a,v\nsecret,1\n",
            id,
            "line 1 (the header), column 1: a header without it, where the column of --key-column",
        ),
        (
            "secret,1\n",
            &[],
            "line 1 (the header), column 1: another header, where key,content_type,value",
        ),
        (
            "id,v\na,1\n,secret\n",
            id,
            "line 3 (record 2), column 1: nothing, where a key",
        ),
        (
            "id,v\nsecret\n",
            id,
            "line 2 (record 1), column 7: the end of the record after 1 fields, where 2",
        ),
        (
            "id,v\n\"a\n\",secret,2\n",
            id,
            "line 3 (record 1), column 10: one field more",
        ),
        (
            "id,v\na,se\"cret\n",
            id,
            "line 2 (record 1), column 5: a quote",
        ),
        (
            "id,v\na,1\nb,\"secret\n",
            id,
            "line 3 (record 2), column 3: a quote that opens a field",
        ),
        (
            "id,v\na,\"secret\" \n",
            id,
            "line 2 (record 1), column 11: another character",
        ),
        (
            "id,v\na,secret\n",
            json,
            "line 2 (record 1), column 3: a field that is none, where JSON",
        ),
        (
            "id,t,e\na,secret,\n",
            ends,
            "line 2 (record 1), column 3: a field that is none, where ttl_ms",
        ),
        (
            "id,t,e\na,,secret\n",
            ends,
            "line 2 (record 1), column 4: a field that is none, where expires_at",
        ),
        (
            "id,t,e\na,1,2090-01-31T12:00:00Z\n",
            ends,
            "column 5: a moment, where nothing",
        ),
        (
            &format!("{exported}a,text/plain,1,secret,\n"),
            &[],
            "line 2 (record 1), column 16: base64, where nothing",
        ),
        (
            &format!("{exported}a,text/plain,,secret,\n"),
            &[],
            "column 15: a field that is none, where base64",
        ),
        (
            &format!("{exported}a,secret,1,,\n"),
            &[],
            "column 3: a field that is none, where a content type",
        ),
        (&long, id, "the server refused line 4 (record 2) with 413"),
    ] {
        fs::write(&file, table).unwrap();
        let (code, said) = import(&server, &file, words);
        assert_eq!(code, Some(74), "{table:?}: {said}");
        assert!(said.contains(says), "{said:?} says {says:?}");
        assert!(!said.contains("secret") && !said.contains("kkk"), "{said}");
    }
    for (content, says) in [
        (
            &b"id,v\na,\xff\n"[..],
            "line 2 (record 1), column 3: a field that is not UTF-8",
        ),
        (b"\xff\xfei\x00d\x00", "UTF-16"),
        (
            b"\x1f\x8b\x08\x00",
            "a file compressed by gzip, where a CSV is expected: name it .gz",
        ),
    ] {
        fs::write(&file, content).unwrap();
        let (code, said) = import(&server, &file, id);
        assert_eq!(code, Some(74), "{said}");
        assert!(said.contains(says), "{said:?} says {says:?}");
    }
    for words in [
        &["--value-column", "v"][..],
        &["--key-column", "id", "--content-type", "a/b"],
        &[
            "--key-column",
            "id",
            "--value-column",
            "v",
            "--content-type",
            "none",
        ],
    ] {
        assert_eq!(import(&server, &file, words).0, Some(2), "{words:?}");
    }
    let unclosed = format!("id,v\na,\"{}", "x\n".repeat(100_000));
    fs::write(&file, unclosed).unwrap();
    let (code, said) = import(
        &server,
        &file,
        &["--key-column", "id", "--line-bytes-max", "1000"],
    );
    assert_eq!(code, Some(74), "{said}");
    assert!(
        said.contains("line 2 (record 1), column 3") && said.contains("within 1000 bytes"),
        "{said}"
    );
}
