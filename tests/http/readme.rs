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
