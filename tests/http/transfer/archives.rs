//! Archives: what is written is read, here and elsewhere, and what is not whole is told from what is.

use super::{export, folder, import, resident_bytes, run, stopped};
use crate::gateway::{Framing, Gateway, Part, Reply, Then};
use crate::support::{Server, kvstore, until};
use rustix::process::Signal;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// The ends of names, and the programs that read and write what they stand for.
const ARCHIVES: [(&str, &str); 2] = [("gz", "gzip"), ("zst", "zstd")];

/// Runs a program to its end and returns what it wrote.
fn output(program: &str, arguments: &[&str], file: &Path) -> Vec<u8> {
    let mut command = Command::new(program);
    let output = command.args(arguments).arg(file).output();
    let output = output.unwrap_or_else(|_| panic!("{program} is installed (make tools)"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    output.stdout
}

fn line(number: usize) -> String {
    format!(
        "{{\"key\":\"{number:06}\",\"value\":\"{}\"}}\n",
        "v".repeat(70)
    )
}

fn lines(count: usize) -> String {
    (0..count).map(line).collect()
}

fn total(server: &Server) -> usize {
    server.get("/search?prefix=&limit=1").total()
}

#[test]
fn an_archive_is_what_other_programs_read_and_write() {
    let server = Server::start();
    let text = lines(3000);
    assert_eq!(server.bulk(&text).status, 200);
    let folder = folder("archives");
    for (end, program) in ARCHIVES {
        let file = folder.join(format!("all.ndjson.{end}"));
        let (code, said) = export(&server.url(), &file);
        assert_eq!(code, Some(0), "{said}");
        output(program, &["-t"], &file);
        assert_eq!(
            output(program, &["-dc"], &file),
            text.as_bytes(),
            "{program}"
        );
        assert!(fs::metadata(&file).unwrap().len() < text.len() as u64 / 4);
        // Two that were put together, as `cat` does, are one.
        let (begin, rest) = text.split_at(line(0).len() * 1000);
        let mut joined = Vec::new();
        for part in [begin, rest] {
            let file = folder.join("part.ndjson");
            fs::write(&file, part).unwrap();
            joined.extend(output(program, &["-c"], &file));
        }
        let file = folder.join(format!("joined.{end}"));
        fs::write(&file, joined).unwrap();
        let to = Server::start();
        let (code, said) = import(&to.url(), &file);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("3000 lines: 3000 keys created"), "{said}");
        assert_eq!(total(&to), 3000);
    }
}

#[test]
fn an_interrupted_export_leaves_an_archive_that_can_be_read() {
    let server = Server::start();
    assert_eq!(server.bulk(&lines(30_000)).status, 200);
    let folder = folder("interrupted-archives");
    for (end, program) in ARCHIVES {
        let file = folder.join(format!("all.{end}"));
        fs::write(&file, "older").unwrap();
        let part_file = folder.join(format!("all.{end}.part"));
        let gateway = Gateway::start(server.address(), |asked| {
            Reply::Part(Part {
                target: asked.target,
                bytes: 2_000_000,
                framing: Framing::Chunks,
                then: Then::Hold,
            })
        });
        let child = kvstore()
            .args(["export", "--url", &gateway.url()])
            .arg(&file)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        until("some of it is written", || {
            let known = fs::metadata(&part_file).ok()?;
            (known.len() > 0).then_some(())
        });
        // What waits in the compressor is not in the file yet.
        let (code, said) = stopped(child, Signal::INT);
        assert_eq!(code, Some(130), "{said}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "older");
        let text = output(program, &["-dc"], &renamed(&part_file, end));
        let text = String::from_utf8(text).unwrap();
        let count = text.lines().count();
        assert!(
            said.contains(&format!("{count} of 30000 keys were written")),
            "{said}"
        );
        assert!(count > 0 && text.ends_with('\n'), "{count} whole lines");
        let to = Server::start();
        let (code, said) = import(&to.url(), &part_file);
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(total(&to), count);
    }
}

/// A copy under a name that says what it is: other programs do not look through `.part`.
fn renamed(part: &Path, end: &str) -> std::path::PathBuf {
    let copy = part.with_extension(format!("copy.{end}"));
    fs::copy(part, &copy).unwrap();
    copy
}

#[test]
fn a_killed_export_leaves_the_older_file() {
    let server = Server::start();
    assert_eq!(server.bulk(&lines(3000)).status, 200);
    let folder = folder("killed");
    for name in ["all.ndjson", "all.csv.gz", "all.zst"] {
        let file = folder.join(name);
        fs::write(&file, "older").unwrap();
        let part_file = folder.join(format!("{name}.part"));
        let gateway = Gateway::start(server.address(), |asked| {
            Reply::Part(Part {
                target: asked.target,
                bytes: 200_000,
                framing: Framing::Chunks,
                then: Then::Hold,
            })
        });
        let mut command = kvstore();
        command.args(["export", "--url", &gateway.url()]).arg(&file);
        if name.contains("csv") {
            command.arg("--csv");
        }
        let child = command.stderr(Stdio::piped()).spawn().unwrap();
        until("it is under way", || part_file.exists().then_some(()));
        let (code, _) = stopped(child, Signal::KILL);
        assert_eq!(code, None);
        assert_eq!(fs::read_to_string(&file).unwrap(), "older", "{name}");
    }
}

#[test]
fn an_archive_that_is_cut_off_says_so_and_where_to_go_on() {
    let server = Server::start();
    let text = lines(40_000);
    let folder = folder("cut-off");
    let plain = folder.join("all.ndjson");
    fs::write(&plain, &text).unwrap();
    for (end, program) in ARCHIVES {
        assert_eq!(server.delete("/delete?prefix=").status, 200);
        let whole = output(program, &["-c"], &plain);
        let file = folder.join(format!("all.{end}"));
        fs::write(&file, &whole[..whole.len() * 3 / 4]).unwrap();
        let (code, said) = import(&server.url(), &file);
        assert_eq!(code, Some(74), "{said}");
        assert!(said.contains("the archive is cut off"), "{said}");
        let applied = total(&server);
        assert!((1..40_000).contains(&applied), "{applied}");
        assert!(
            said.contains(&format!("(--skip-lines {applied})")),
            "{said}"
        );
        fs::write(&file, &whole).unwrap();
        let mut command = kvstore();
        let command = command.args(["import", "--url", &server.url()]).arg(&file);
        let (code, said) = run(command.args(["--skip-lines", &applied.to_string()]));
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(total(&server), 40_000, "{end}");
        let mut changed = whole;
        let middle = changed.len() / 2;
        changed[middle..middle + 8].fill(0);
        fs::write(&file, &changed).unwrap();
        let (code, said) = import(&server.url(), &file);
        assert_eq!(code, Some(74), "{said}");
        assert!(
            said.contains("the archive is damaged") || said.contains("line "),
            "{said}"
        );
    }
}

#[test]
fn a_file_that_is_not_what_its_name_says_is_refused_before_anything_is_sent() {
    let server = Server::start();
    let folder = folder("misnamed");
    for (name, content, says) in [
        (
            "a.gz",
            line(0).into_bytes(),
            "byte 1: something else, where an archive of gzip",
        ),
        (
            "b.gz",
            b"\x28\xb5\x2f\xfd\x04".to_vec(),
            "a file compressed by zstd, where",
        ),
        (
            "c.zst",
            b"\x1f\x8b\x08\x00".to_vec(),
            "a file compressed by gzip, where",
        ),
        (
            "d.zst",
            Vec::new(),
            "byte 1: nothing, where an archive of zstd",
        ),
        ("e.ndjson", b"\x1f\x8b\x08\x00".to_vec(), "name it .gz"),
        ("f.ndjson", b"\x28\xb5\x2f\xfd\x04".to_vec(), "name it .zst"),
    ] {
        let file = folder.join(name);
        fs::write(&file, content).unwrap();
        let (code, said) = import(&server.url(), &file);
        assert_eq!(code, Some(74), "{said}");
        assert!(said.contains(says), "{name}: {said}");
        assert_eq!(total(&server), 0);
    }
}

#[test]
fn an_import_takes_no_more_memory_than_an_archive_needs() {
    let server = Server::start();
    let folder = folder("memory");
    let plain = folder.join("all.ndjson");
    // 40 MB of the same few keys.
    let value = "v".repeat(100_000);
    let some: String = (0..20)
        .map(|key| format!("{{\"key\":\"{key}\",\"value\":\"{value}\"}}\n"))
        .collect();
    fs::write(&plain, some.repeat(20)).unwrap();
    let file = folder.join("all.zst");
    fs::write(&file, output("zstd", &["-c"], &plain)).unwrap();
    let mut child = kvstore()
        .args(["import", "--url", &server.url()])
        .arg(&file)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut most = 0;
    let status = until("the import ends", || {
        most = most.max(resident_bytes(&child));
        child.try_wait().unwrap()
    });
    assert!(status.success());
    assert!(most < 40_000_000, "{most} bytes");
    assert_eq!(total(&server), 20);
}
