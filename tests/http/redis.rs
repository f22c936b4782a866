//! Real engines to test against: nodes, Sentinels and clusters of `redis-server`, on free ports and
//! gone with the test.

use crate::support::until;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeSet;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};

/// A running `redis-server`, killed when dropped or when the test's process ends.
pub struct Redis {
    port: u16,
    folder: PathBuf,
    arguments: Vec<String>,
    child: Child,
}

impl Redis {
    /// A node that keeps nothing on disk.
    pub fn start(arguments: &[&str]) -> Self {
        until("a redis-server starts", || {
            Self::try_start_at(free_port(), arguments)
        })
    }

    pub fn start_at(port: u16, arguments: &[&str]) -> Self {
        Self::try_start_at(port, arguments).expect("the port is free")
    }

    /// `None` where it ends at once: one of its ports was taken since it was found free.
    fn try_start_at(port: u16, arguments: &[&str]) -> Option<Self> {
        let folder = new_folder();
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let child = spawn(port, &folder, &arguments);
        let mut redis = Self {
            port,
            folder,
            arguments,
            child,
        };
        redis.wait().then_some(redis)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The port where it speaks TLS, if it was told to.
    pub fn tls_port(&self) -> Option<u16> {
        let mut arguments = self.arguments.iter();
        arguments.find(|argument| *argument == "--tls-port")?;
        arguments.next()?.parse().ok()
    }

    /// Runs a command and returns what `redis-cli` prints.
    pub fn run(&self, command: &[&str]) -> String {
        cli(self.port, command)
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Kills the process at once.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again at its port, with what it had on disk.
    pub fn restart(&mut self) {
        self.kill();
        until("the redis-server starts again", || {
            self.child = spawn(self.port, &self.folder, &self.arguments);
            self.wait().then_some(())
        });
    }

    /// Waits until it answers, or has ended. Returns whether it answers.
    fn wait(&mut self) -> bool {
        until("redis-server answers", || {
            if self.child.try_wait().unwrap().is_some() {
                return Some(false);
            }
            // It says nothing to strangers there, but listens once it is ready.
            if let Some(port) = self.tls_port() {
                return TcpStream::connect(("127.0.0.1", port)).ok().map(|_| true);
            }
            TcpStream::connect(("127.0.0.1", self.port)).ok()?;
            let pong = self.run(&["ping"]);
            let answers = ["PONG", "NOAUTH", "NOPERM", "unknown"];
            answers
                .iter()
                .any(|answer| pong.contains(answer))
                .then_some(true)
        })
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Runs `redis-cli` at a port.
pub fn cli(port: u16, command: &[&str]) -> String {
    let output = Command::new("redis-cli")
        .args(["-p", &port.to_string()])
        .args(command)
        .output()
        .expect("redis-cli is installed (make tools)");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

/// The kernel ends a child with the *thread* that made it, so that one thread makes them all and
/// never ends.
pub fn spawn_tied(command: Command) -> Child {
    static SPAWNER: std::sync::LazyLock<mpsc::Sender<(Command, mpsc::Sender<Child>)>> =
        std::sync::LazyLock::new(|| {
            let (sender, commands) = mpsc::channel::<(Command, mpsc::Sender<Child>)>();
            std::thread::spawn(move || {
                for (mut command, answer) in commands {
                    let child = command
                        .spawn()
                        .expect("what tests run is installed (make tools)");
                    let _ = answer.send(child);
                }
            });
            sender
        });
    let (sender, child) = mpsc::channel();
    SPAWNER.send((command, sender)).unwrap();
    child.recv().unwrap()
}

fn spawn(port: u16, folder: &Path, arguments: &[String]) -> Child {
    let mut command = server();
    command
        .args(["--port", &port.to_string()])
        .args(["--bind", "127.0.0.1", "--save", "", "--dir"])
        .arg(folder)
        .args(arguments);
    spawn_tied(command)
}

/// The server, or another one that is to be tried in its place (`KVSTORE_TEST_REDIS_SERVER`).
fn server() -> Command {
    let server = std::env::var("KVSTORE_TEST_REDIS_SERVER");
    let server = server.unwrap_or_else(|_| "redis-server".into());
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", &server])
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

/// A folder unlike any other test's.
pub fn new_folder() -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("redis-{}-{number}", std::process::id());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// A port that is free and that no other test was given. Some connection may take it before a server
/// does.
pub fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let port = || {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.local_addr().unwrap().port()
    };
    let mut given = GIVEN.lock().unwrap();
    std::iter::repeat_with(port)
        .find(|port| given.insert(*port))
        .expect("there are thousands of ports")
}

/// A master, its replica, and three Sentinels that watch them.
pub struct Sentinels {
    pub nodes: Vec<Redis>,
    sentinels: Vec<Redis>,
    password: Option<&'static str>,
}

impl Sentinels {
    pub fn start() -> Self {
        Self::start_with(None)
    }

    /// Sentinels that ask for a password of their own.
    pub fn start_with(password: Option<&'static str>) -> Self {
        let master = Redis::start(&["--repl-diskless-sync-delay", "0"]);
        let port = master.port().to_string();
        let replica = Redis::start(&["--replicaof", "127.0.0.1", &port]);
        until("the replica has all data", || {
            let says = replica.run(&["info", "replication"]);
            says.contains("master_link_status:up").then_some(())
        });
        let sentinel = |_| {
            until("a Sentinel starts", || {
                Redis::try_start_sentinel(master.port(), password)
            })
        };
        let all = Self {
            sentinels: (0..3).map(sentinel).collect(),
            nodes: vec![master, replica],
            password,
        };
        until("the Sentinels know each other and the replica", || {
            let knows = |sentinel: &Redis| {
                let says = all.ask(sentinel, &["sentinel", "master", "main"]);
                says.contains("num-other-sentinels\n2") && says.contains("num-slaves\n1")
            };
            all.sentinels.iter().all(knows).then_some(())
        });
        all
    }

    pub fn url(&self) -> String {
        format!("redis+sentinel://{}/main", hosts(&self.sentinels))
    }

    /// The port of the master, as the Sentinels have it.
    pub fn master(&self) -> u16 {
        let asked = ["sentinel", "get-master-addr-by-name", "main"];
        let says = self.ask(&self.sentinels[0], &asked);
        says.lines().nth(1).unwrap().trim().parse().unwrap()
    }

    fn ask(&self, sentinel: &Redis, command: &[&str]) -> String {
        match self.password {
            Some(password) => sentinel.run(&[&["-a", password], command].concat()),
            None => sentinel.run(command),
        }
    }
}

impl Redis {
    /// A Sentinel that watches a master; `None` where its port was taken.
    fn try_start_sentinel(master: u16, password: Option<&str>) -> Option<Self> {
        let port = free_port();
        let folder = new_folder();
        let file = folder.join("sentinel.conf");
        let password = password.map_or(String::new(), |it| format!("requirepass {it}\n"));
        let config = format!(
            "sentinel monitor main 127.0.0.1 {master} 2\n\
             sentinel down-after-milliseconds main 1000\n\
             sentinel failover-timeout main 3000\n\
             {password}",
        );
        std::fs::write(&file, config).unwrap();
        let mut command = server();
        command
            .arg(&file)
            .args(["--sentinel", "--port", &port.to_string()])
            .args(["--bind", "127.0.0.1", "--dir"])
            .arg(&folder);
        let mut redis = Self {
            port,
            folder,
            arguments: Vec::new(),
            child: spawn_tied(command),
        };
        redis.wait().then_some(redis)
    }
}

/// The addresses of nodes, as they stand in URLs.
fn hosts(nodes: &[Redis]) -> String {
    let host = |node: &Redis| format!("127.0.0.1:{}", node.port());
    nodes.iter().map(host).collect::<Vec<_>>().join(",")
}

/// A cluster of three masters, each with two replicas.
pub struct Cluster {
    pub nodes: Vec<Redis>,
}

impl Cluster {
    pub fn start() -> Self {
        let nodes: Vec<Redis> = (0..9)
            .map(|_| {
                until("a node starts", || {
                    let bus = free_port().to_string();
                    let arguments = [
                        "--cluster-enabled",
                        "yes",
                        "--cluster-port",
                        &bus,
                        "--cluster-node-timeout",
                        "2000",
                        "--cluster-allow-replica-migration",
                        "no",
                        "--cluster-replica-validity-factor",
                        "0",
                        "--repl-diskless-sync-delay",
                        "0",
                    ];
                    Redis::try_start_at(free_port(), &arguments)
                })
            })
            .collect();
        let addresses: Vec<String> = nodes
            .iter()
            .map(|node| format!("127.0.0.1:{}", node.port()))
            .collect();
        let mut create = vec!["--cluster", "create"];
        create.extend(addresses.iter().map(String::as_str));
        create.extend(["--cluster-replicas", "2", "--cluster-yes"]);
        let said = cli(nodes[0].port(), &create);
        assert!(said.contains("All 16384 slots covered"), "{said}");
        let cluster = Self { nodes };
        cluster.wait_whole();
        cluster
    }

    /// Waits until every node sees the cluster whole and every master has its two replicas.
    pub fn wait_whole(&self) {
        until("all nodes agree", || {
            let agrees = |node: &Redis| {
                let info = node.run(&["cluster", "info"]);
                let synced = node.run(&["info", "replication"]);
                info.contains("cluster_state:ok")
                    && (synced.contains("master_link_status:up")
                        || synced.contains("connected_slaves:2"))
            };
            self.nodes.iter().all(agrees).then_some(())
        });
    }

    pub fn url(&self) -> String {
        format!("redis+cluster://{}", hosts(&self.nodes[..3]))
    }

    /// The nodes that are masters now, by what they say themselves.
    pub fn masters(&self) -> Vec<usize> {
        let is_master = |node: &Redis| node.run(&["role"]).starts_with("master");
        let nodes = self.nodes.iter().enumerate();
        nodes
            .filter(|(_, node)| is_master(node))
            .map(|(index, _)| index)
            .collect()
    }
}
