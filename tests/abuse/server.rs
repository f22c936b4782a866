//! The server that is abused: the binary in a process of its own, and what the system and its own metrics say of it.

use rustix::process::{Pid, Signal, kill_process};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::NamedTempFile;

/// How long anything may take before a test fails.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// How long it is between two looks: a test that spins takes from the server what it needs to come to anything.
const PAUSE: Duration = Duration::from_millis(2);

/// In what `/proc` counts the time of a process, whatever the machine (`USER_HZ`).
const TICKS_PER_SECOND: u64 = 100;

/// What every server here is told, unless a test says otherwise.
const DEFAULTS: [(&str, &str); 3] = [
    ("listen", "127.0.0.1:0"),
    ("workers", "2"),
    ("drain_ms", "0"),
];

/// A running server, killed when dropped.
pub struct Server {
    child: Child,
    address: SocketAddr,
    log: NamedTempFile,
}

impl Server {
    /// A server on a free port with these settings, by their names, once it is ready.
    pub fn start(settings: &[(&str, &str)]) -> Self {
        Self::start_by(settings, |command| command)
    }

    /// As [`start`](Self::start), by the command that `wrap` makes of the one that would be run. It has no environment
    /// and no arguments yet, and must end up as the same process (`exec`).
    pub fn start_by(settings: &[(&str, &str)], wrap: impl FnOnce(Command) -> Command) -> Self {
        let log = NamedTempFile::new().unwrap();
        let mut command = wrap(Command::new(env!("CARGO_BIN_EXE_kvstore")));
        command.env_clear();
        for (setting, value) in DEFAULTS.iter().chain(settings) {
            command.env(format!("KVSTORE_{}", setting.to_uppercase()), value);
        }
        command
            .stdin(Stdio::null())
            .stderr(Stdio::from(log.reopen().unwrap()));
        let mut server = Self {
            child: command.spawn().unwrap(),
            address: (Ipv4Addr::LOCALHOST, 0).into(),
            log,
        };
        server.address = until("the server listens", || {
            server.assert_runs();
            listens_on(&server.log())
        });
        until("the server is ready", || {
            server.assert_runs();
            let answer = fetch(server.address, "/readyz").ok()?;
            answer.starts_with("HTTP/1.1 200 ").then_some(())
        });
        server
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to standard error.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.log.path()).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The value of one series (`name{label="value"}`), or the sum of all those with a name. A series with labels
    /// that has not happened yet is 0.
    pub fn metric(&self, metric: &str) -> f64 {
        let text = self.metrics();
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let samples = samples.filter_map(|line| line.rsplit_once(' '));
        let values: Vec<f64> = samples
            .filter(|(series, _)| {
                let labels = series.strip_prefix(metric);
                labels.is_some_and(|labels| labels.is_empty() || labels.starts_with('{'))
            })
            .map(|(_, value)| value.parse().unwrap())
            .collect();
        let is_known = !values.is_empty() || metric.contains('{');
        assert!(is_known, "there is a metric {metric}");
        values.iter().sum()
    }

    /// All that `/metrics` says, as soon as it says it.
    pub fn metrics(&self) -> String {
        until("the server says its metrics", || {
            let answer = fetch(self.address, "/metrics").ok()?;
            let (head, body) = answer.split_once("\r\n\r\n")?;
            head.starts_with("HTTP/1.1 200 ").then(|| body.to_owned())
        })
    }

    /// What of its memory is in the machine's.
    pub fn resident_bytes(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most that this was.
    pub fn peak_bytes(&self) -> u64 {
        self.memory("VmHWM:")
    }

    /// How many files and sockets it has open.
    pub fn descriptors(&self) -> usize {
        let folder = std::fs::read_dir(format!("/proc/{}/fd", self.pid()));
        folder.unwrap().count()
    }

    /// How long it has run on a processor, to 10 ms.
    pub fn cpu(&self) -> Duration {
        let stat = self.process("stat");
        // The name before it may hold anything, even a space.
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let fields: Vec<&str> = fields.split_whitespace().collect();
        // `utime` and `stime`, which are the 14th and the 15th of proc(5), of which the name is the 2nd.
        let ticks = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Duration::from_millis(ticks * (1000 / TICKS_PER_SECOND))
    }

    /// Tells it to end, and waits until it has.
    pub fn stop(mut self) -> ExitStatus {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        until("the server ends", || self.child.try_wait().unwrap())
    }

    /// Asserts that its process has not ended.
    pub fn assert_runs(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("the server ended, {status}: {}", self.log());
        }
    }

    fn memory(&self, field: &str) -> u64 {
        let status = self.process("status");
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kibibytes.unwrap().parse::<u64>().unwrap() * 1024
    }

    fn process(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.pid())).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until `probe` gives something, within the deadline.
pub fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} within {DEADLINE:?}");
        std::thread::sleep(PAUSE);
    }
}

fn listens_on(log: &str) -> Option<SocketAddr> {
    let whole = log
        .split_inclusive('\n')
        .filter_map(|line| line.strip_suffix('\n'));
    let mut addresses = whole.filter_map(|line| line.split_once(" listens on "));
    addresses
        .next()
        .map(|(_, address)| address.parse().unwrap())
}

/// The whole answer to a GET by a connection of its own.
fn fetch(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, DEADLINE)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.write_all(
        format!("GET {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
