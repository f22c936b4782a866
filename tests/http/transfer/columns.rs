//! CSV with some of the columns of an export: `key` and `value`, say.

use super::csv::import;
use super::folder;
use crate::support::Server;
use std::fs;

/// Keys with their values, what these are, and when they end.
type Made<'a> = &'a [(&'a str, &'a [u8], &'a str, Option<&'a str>)];

#[test]
fn some_of_our_own_columns_are_enough() {
    let server = Server::start();
    let file = folder("some-columns").join("table.csv");
    let text = "text/plain; charset=utf-8";
    let far = "2090-01-31T12:00:00.000Z";
    let cases: [(&str, &[&str], Made<'_>); 6] = [
        (
            "key,value\na,1\nb,\n",
            &[],
            &[("a", b"1", text, None), ("b", b"", text, None)],
        ),
        (
            "key,value\na,\"[1, 2]\"\n",
            &["--content-type", "application/json"],
            &[("a", b"[1, 2]", "application/json", None)],
        ),
        (
            "expires_at,value,key\n2090-01-31T12:00:00Z,1,a\n,2,b\n",
            &["--content-type", "a/b"],
            &[("a", b"1", "a/b", Some(far)), ("b", b"2", "a/b", None)],
        ),
        (
            "key,base64\na,eA==\nb,/w==\nc,\n",
            &[],
            &[
                ("a", b"x", text, None),
                ("b", b"\xff", "application/octet-stream", None),
                ("c", b"", text, None),
            ],
        ),
        (
            "base64,key,value\n/w==,a,\n,b,1\n",
            &["--content-type", "a/b"],
            &[("a", b"\xff", "a/b", None), ("b", b"1", "a/b", None)],
        ),
        (
            "key,content_type,value\na,c/d,1\nb,,2\n",
            &["--content-type", "a/b"],
            &[("a", b"1", "c/d", None), ("b", b"2", "a/b", None)],
        ),
    ];
    for (table, words, made) in cases {
        assert_eq!(server.delete("/delete?prefix=").status, 200);
        fs::write(&file, table).unwrap();
        let (code, said) = import(&server, &file, words);
        assert_eq!(code, Some(0), "{table:?}: {said}");
        let keys: Vec<&str> = made.iter().map(|(key, ..)| *key).collect();
        assert_eq!(server.get("/search?prefix=").keys(), keys, "{table:?}");
        for (key, value, content_type, ends) in made {
            let read = server.get(&format!("/get/{key}"));
            assert_eq!(read.body, *value, "{key} of {table:?}");
            assert_eq!(
                read.header("content-type"),
                Some(*content_type),
                "{table:?}"
            );
            assert_eq!(read.header("x-expires-at"), *ends, "{table:?}");
        }
    }
    for (table, words, says) in [
        (
            "key,value\na,x\n",
            &["--content-type", "application/json"][..],
            "column 3: a field that is none, where JSON",
        ),
        ("key\na\n", &[], "another header"),
        ("value,base64\na,\n", &[], "another header"),
        ("key,value,note\na,1,2\n", &[], "another header"),
        (
            "key,content_type,value\na,,1\n",
            &[],
            "column 3: a field that is none, where a content type",
        ),
        (
            "key,base64\na,eA==\n",
            &["--content-type", "application/json"],
            "column 3: a field that is none, where JSON",
        ),
    ] {
        fs::write(&file, table).unwrap();
        let (code, said) = import(&server, &file, words);
        assert_eq!(code, Some(74), "{table:?}: {said}");
        assert!(said.contains(says), "{said:?} says {says:?}");
    }
}
