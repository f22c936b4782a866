//! Completions and man pages: each has every command and every flag that `--help` has.

use crate::support::kvstore;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

const SHELLS: [&str; 5] = ["bash", "elvish", "fish", "powershell", "zsh"];

fn written(words: &[&str]) -> String {
    let output = kvstore().args(words).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// The flags of a help, without their hyphens. What is wrapped stands further to the right than any of them.
fn flags(help: &str) -> BTreeSet<String> {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
    let flags = help.lines().filter_map(|line| {
        let begin = line.strip_prefix("      --");
        let begin = begin.or_else(|| line.strip_prefix("  -h, --"));
        let begin = begin.or_else(|| line.strip_prefix("  -V, --"))?;
        begin.split(|letter| !is_letter(letter)).next()
    });
    flags.map(str::to_owned).collect()
}

/// Every command with its flags, the one without a name among them.
fn commands() -> BTreeMap<String, BTreeSet<String>> {
    let help = written(&["--help"]);
    let (_, listed) = help.split_once("Commands:\n").unwrap();
    let (listed, _) = listed.split_once("\n\n").unwrap();
    let names = listed.lines().filter_map(|line| {
        let name = line.strip_prefix("  ")?.split(' ').next()?;
        (!name.is_empty() && name != "help").then(|| name.to_owned())
    });
    let mut commands: BTreeMap<_, _> = names
        .map(|name| {
            let flags = flags(&written(&[name.as_str(), "--help"]));
            (name, flags)
        })
        .collect();
    commands.insert(String::new(), flags(&help));
    commands
}

#[test]
fn every_command_of_the_interface_is_there() {
    let commands = commands();
    for name in [
        "get",
        "set",
        "delete",
        "search",
        "watch",
        "expire",
        "import",
        "export",
        "check",
        "token",
        "completions",
        "man",
    ] {
        assert!(commands.contains_key(name), "{name}");
    }
    assert!(commands[""].contains("listen"), "{commands:?}");
    assert!(commands["import"].contains("skip-lines"), "{commands:?}");
}

#[test]
fn each_shell_completes_every_command_and_flag() {
    let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let commands = commands();
    for shell in SHELLS {
        let script = written(&["completions", shell]);
        for (name, flags) in &commands {
            assert!(script.contains(name.as_str()), "{shell}: {name}");
            for flag in flags {
                let flag = match shell {
                    "fish" => format!("-l {flag}"),
                    _ => format!("--{flag}"),
                };
                assert!(script.contains(&flag), "{shell}: {name} {flag}");
            }
        }
        let file = folder.path().join(shell);
        fs::write(&file, script).unwrap();
        let syntax = match shell {
            "bash" | "zsh" => ["-n"],
            "fish" => ["--no-execute"],
            _ => continue,
        };
        // Whoever has no zsh or fish need not install one.
        let checked = Command::new(shell).args(syntax).arg(&file).output();
        match checked {
            Ok(checked) => {
                let said = String::from_utf8_lossy(&checked.stderr);
                assert!(
                    checked.status.success() && said.is_empty(),
                    "{shell}: {said}"
                );
            }
            Err(error) => assert_ne!(shell, "bash", "{error}"),
        }
    }
    let unknown = kvstore().args(["completions", "tcsh"]).output().unwrap();
    assert_eq!(unknown.status.code(), Some(2));
}

#[test]
fn bash_completes_what_it_is_asked_for() {
    let script = written(&["completions", "bash"]);
    let asked = r#"
        COMP_WORDS=(kvstore import --skip) COMP_CWORD=2
        _kvstore kvstore --skip import
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let output = Command::new("bash")
        .args(["-c", &(script + asked)])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "--skip-lines\n",
        "{said}"
    );
}

/// A page as a terminal shows it, without emphasis.
fn rendered(page: &Path) -> String {
    // A line that is too long to be broken well is no fault of a page.
    let mut command = Command::new("groff");
    command.args([
        "-k",
        "-man",
        "-Tutf8",
        "-ww",
        "-Wbreak",
        "-rLL=200n",
        "-P-cbou",
    ]);
    let output = command.arg(page).stdin(Stdio::null()).output();
    let output = output.expect("groff is installed (make tools)");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.is_empty(),
        "{}: {said}",
        page.display()
    );
    let text = String::from_utf8(output.stdout).unwrap();
    // Some systems show a hyphen of a flag as a minus.
    text.replace(['\u{2010}', '\u{2212}'], "-")
}

#[test]
fn each_command_has_a_man_page_with_its_flags_that_renders_without_a_warning() {
    let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let pages = folder.path().join("new/man");
    written(&["man", pages.to_str().unwrap()]);
    let mut names = BTreeSet::new();
    for (name, flags) in commands() {
        let file = match name.as_str() {
            "" => "kvstore.1".to_owned(),
            name => format!("kvstore-{name}.1"),
        };
        let text = rendered(&pages.join(&file));
        for flag in flags {
            assert!(text.contains(&format!("--{flag}")), "{file}: {flag}");
        }
        names.insert(file);
    }
    let there = fs::read_dir(&pages).unwrap();
    let there = there.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(there.collect::<BTreeSet<_>>(), names);
    let whole = rendered(&pages.join("kvstore.1"));
    for said in ["kvstore-import(1)", "KVSTORE_LISTEN", "127.0.0.1:8000"] {
        assert!(whole.contains(said), "{said}");
    }
    let unwritable = kvstore().args(["man", "/dev/null/man"]).output().unwrap();
    assert_eq!(unwritable.status.code(), Some(74));
}
