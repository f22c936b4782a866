//! Holds the page on security against the tests that it names.

use std::fs;
use std::path::Path;

/// Whether there is a test of this name: that of a binary and where it is there, or that of a file.
fn is_there(name: &str) -> bool {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let Some((binary, path)) = name.split_once(' ') else {
        return name.starts_with("tests/") && root.join(name).is_file();
    };
    let folder = match binary {
        "lib" => root.join("src"),
        binary => root.join("tests").join(binary),
    };
    let (module, test) = path.rsplit_once("::").unwrap();
    // One that stands beside what it tests.
    let module = module.strip_suffix("::tests").unwrap_or(module);
    let file = folder.join(module.replace("::", "/") + ".rs");
    let text = fs::read_to_string(file).unwrap_or_default();
    text.contains(&format!("#[test]\nfn {test}(")) || text.contains(&format!("    fn {test}("))
}

#[test]
fn the_page_on_security_names_tests_that_there_are() {
    let text = include_str!("../../docs/security.md");
    let (_, text) = text.split_once("## What is protected").unwrap();
    let (table, _) = text.split_once("## What shows it").unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| "));
    let rows: Vec<&str> = rows.skip(1).collect();
    assert!(rows.len() >= 15, "{rows:?}");
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
        assert_eq!(cells.len(), 4, "{row}");
        let names: Vec<&str> = cells[3].split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "{row}");
        for name in names {
            assert!(is_there(name), "{name}");
        }
    }
}
