//! The README's tour: every command is run, and must print what the README shows. And its table of requests: it and what
//! the manifests let in are the paths that the server has.

use crate::support::{Server, kvstore};
use rustix::process::{Pid, Signal, kill_process_group};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// Paths that the manifests must not let in from outside, and why.
const INSIDE: [(&str, &str); 4] = [
    ("/metrics", "says what is stored how, to whoever asks"),
    ("/livez", "for the kubelet's probe"),
    ("/readyz", "for the kubelet's probe"),
    ("/healthz", "for the kubelet's probe"),
];

/// Methods by path.
pub type Routes = BTreeMap<String, BTreeSet<String>>;

/// Lines of an answer, with what differs from run to run masked, and its headers, whose order is
/// not fixed, sorted.
fn comparable(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text
        .lines()
        .map(|line| match line.split_once(": ") {
            Some((name @ ("etag" | "date" | "id"), _)) => name.to_owned(),
            _ => without_id(&without_tags(line.trim_end())),
        })
        .filter(|line| !line.is_empty())
        .collect();
    if let Some(headers) = lines.get_mut(1..)
        && text.starts_with("HTTP/")
    {
        headers.sort();
    }
    lines
}

/// A line without the entity tags of its entries.
fn without_tags(line: &str) -> String {
    let mut parts = line.split(r#""etag":"\""#);
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |text, part| text + &part["72c8a23a54d21af8".len()..])
}

/// A line without the id of its event.
fn without_id(line: &str) -> String {
    match line.split_once(r#""id":""#) {
        Some((before, after)) => before.to_owned() + after.split_once('"').unwrap().1,
        None => line.to_owned(),
    }
}

/// What a command prints.
fn printed(command: &mut Command, shown: &str) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{shown}: is curl installed?");
    String::from_utf8(output.stdout).unwrap()
}

/// As many lines of what a command prints as are shown of it, which goes on until it is interrupted.
fn begun(command: &mut Command, shown: &str) -> String {
    let mut child = command
        .process_group(0)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let lines = lines.take(shown.lines().count());
    let printed: String = lines.map(|line| line.unwrap() + "\n").collect();
    kill_process_group(Pid::from_child(&child), Signal::KILL).unwrap();
    child.wait().unwrap();
    printed
}

#[test]
fn the_tour_prints_what_it_shows() {
    let server = Server::start();
    let readme = include_str!("../../README.md");
    let (_, tour) = readme.split_once("## A tour").unwrap();
    let (tour, _) = tour.split_once("\n## ").unwrap();
    let blocks = tour.split("```console\n").skip(1);
    let blocks: String = blocks
        .map(|block| block.split_once("```").unwrap().0)
        .collect();
    // The binary is there by its name.
    let binary = kvstore().get_program().to_owned();
    let beside = std::path::Path::new(&binary).parent().unwrap();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = [beside.to_owned()]
        .into_iter()
        .chain(std::env::split_paths(&path));
    let path = std::env::join_paths(path).unwrap();
    let mut commands = 0;
    for entry in blocks.split("$ ").skip(1) {
        let (command, shown) = entry.split_once('\n').unwrap();
        let here = command.replace("localhost:8000", &server.address().to_string());
        let here = here.replace("curl ", "curl -s ");
        let mut bash = Command::new("bash");
        bash.args(["-c", &here]);
        bash.envs([("PATH", path.clone()), ("KVSTORE_URL", server.url().into())]);
        let printed = match command.contains("curl -N ") || command.starts_with("kvstore watch ") {
            true => begun(&mut bash, shown),
            false => printed(&mut bash, command),
        };
        assert_eq!(comparable(&printed), comparable(shown), "{command}");
        commands += 1;
    }
    assert!(commands > 15, "{commands} commands");
}

/// The routes as a 404 lists them.
pub fn served() -> Routes {
    let server = Server::in_memory(&[]);
    let response = server.get("/no-such-path");
    let problem = response.json();
    let detail = problem["detail"].as_str().unwrap();
    let (_, listed) = detail.split_once("the paths are ").unwrap();
    let mut routes = Routes::new();
    for entry in listed.split("; ") {
        let (methods, path) = entry.rsplit_once(' ').unwrap();
        let methods = methods.split(", ").map(String::from);
        routes.entry(path.to_owned()).or_default().extend(methods);
    }
    routes
}

/// The routes of the table of requests: `GET`, `HEAD` `/path?query`, with the methods first.
fn documented() -> Routes {
    let readme = include_str!("../../README.md");
    let (_, table) = readme.split_once("| request | does |").unwrap();
    let (table, _) = table.split_once("\n\n").unwrap();
    let mut routes = Routes::new();
    for row in table.lines().skip(2) {
        let request = row.split('|').nth(1).unwrap().replace(['`', ','], " ");
        let mut methods = BTreeSet::new();
        for word in request.split_whitespace() {
            if word.starts_with('/') {
                let path = word.split('?').next().unwrap().to_owned();
                routes.entry(path).or_default().extend(methods.clone());
            } else if word.chars().all(|letter| letter.is_ascii_uppercase()) {
                methods.insert(word.to_owned());
            }
        }
    }
    routes
}

/// What stands after `mark` in each line of a manifest that has it, up to a brace.
fn marked<'a>(manifest: &'a str, mark: &str) -> BTreeSet<&'a str> {
    let lines = manifest
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'));
    let values = lines.filter_map(|line| line.split_once(mark));
    values
        .map(|(_, value)| value.trim_end_matches('}').trim())
        .collect()
}

#[test]
fn the_readme_has_a_row_for_every_route() {
    assert_eq!(documented(), served());
}

#[test]
fn the_manifests_let_in_every_route_but_those_for_the_inside() {
    let served = served();
    for (path, why) in INSIDE {
        assert!(served.contains_key(path), "{path}, {why}, is no route");
    }
    let inside = INSIDE.map(|(path, _)| path);
    let outside = served.keys();
    let outside = outside.map(|path| path.strip_suffix("/{key}").unwrap_or(path));
    let outside: BTreeSet<_> = outside.filter(|path| !inside.contains(path)).collect();
    let ingress = include_str!("../../k8s/base/ingress.yaml");
    assert_eq!(marked(ingress, " path: "), outside);
    let route = include_str!("../../k8s/components/gateway/httproute.yaml");
    let mut let_in = marked(route, "PathPrefix, value: ");
    let_in.extend(marked(route, "Exact, value: "));
    assert_eq!(let_in, outside);
    let operations = include_str!("../../docs/operations.md");
    let (_, listed) = operations
        .split_once("The Gateway and the Ingress lead to ")
        .unwrap();
    let (listed, _) = listed.split_once(';').unwrap();
    let listed: BTreeSet<&str> = listed.split('`').skip(1).step_by(2).collect();
    assert_eq!(listed, outside);
    // As a prefix it would let in all that there is.
    assert!(!marked(route, "PathPrefix, value: ").contains("/"));
    assert!(ingress.contains("path: /\n            pathType: Exact\n"));
}

#[test]
fn what_is_said_of_where_to_add_names_files_that_there_are() {
    let text = include_str!("../../ARCHITECTURE.md");
    let (_, section) = text.split_once("## Where to add").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let named: Vec<&str> = section.split('`').skip(1).step_by(2).collect();
    assert!(named.len() > 10, "{named:?}");
    for path in named {
        assert!(root.join(path).exists(), "{path}");
    }
}
