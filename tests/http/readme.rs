//! The README's tour: every command is run, and must print what the README shows.

use crate::support::Server;
use std::process::Command;

/// Lines of an answer, with what differs from run to run masked, and its headers, whose order is
/// not fixed, sorted.
fn comparable(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text
        .lines()
        .map(|line| match line.split_once(": ") {
            Some((name @ ("etag" | "date"), _)) => name.to_owned(),
            _ => line.trim_end().to_owned(),
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
    let mut commands = 0;
    for entry in blocks.split("$ ").skip(1) {
        let (command, shown) = entry.split_once('\n').unwrap();
        let here = command.replace("localhost:8000", &server.address().to_string());
        let here = here.replace("curl ", "curl -s ");
        let output = Command::new("bash").args(["-c", &here]).output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{command}: is curl installed?");
        assert_eq!(comparable(&printed), comparable(shown), "{command}");
        commands += 1;
    }
    assert!(commands > 15, "{commands} commands");
}

/// Paths that are there, as a server lists them, up to the key.
fn endpoints(server: &Server) -> std::collections::BTreeSet<String> {
    let problem = server.get("/nowhere").json();
    let detail = problem["detail"].as_str().unwrap();
    let (_, paths) = detail.split_once("the paths are ").unwrap();
    paths.split(", ").map(str::to_owned).collect()
}

#[test]
fn every_path_is_in_the_reference_and_those_of_clients_are_let_in() {
    let server = Server::start();
    let paths = endpoints(&server);
    assert!(paths.contains("/get/{key}") && paths.contains("/set"));
    let readme = include_str!("../../README.md");
    let (_, table) = readme.split_once("## Interface").unwrap();
    let (table, _) = table.split_once("\n\n- ").unwrap();
    let documented = table.split('`').filter_map(|code| {
        let path = code.split(' ').find(|word| word.starts_with('/'))?;
        Some(path.split('?').next().unwrap().to_owned())
    });
    assert_eq!(documented.collect::<std::collections::BTreeSet<_>>(), paths);
    // What only operators and their tools call stays inside.
    let inside = ["/metrics", "/livez", "/readyz", "/healthz"];
    let outside: std::collections::BTreeSet<&str> = paths
        .iter()
        .map(|path| path.trim_end_matches("/{key}"))
        .filter(|path| !inside.contains(path))
        .collect();
    let ingress = include_str!("../../k8s/base/ingress.yaml");
    let route = include_str!("../../k8s/components/gateway/httproute.yaml");
    let let_in = |manifest: &'static str, before: &str| {
        let paths = manifest.lines().filter_map(move |line| {
            let (_, path) = line.split_once(before)?;
            Some(path.trim_end_matches('}'))
        });
        paths.collect::<std::collections::BTreeSet<&str>>()
    };
    assert_eq!(let_in(ingress, " path: "), outside);
    assert_eq!(let_in(route, "value: "), outside);
}
