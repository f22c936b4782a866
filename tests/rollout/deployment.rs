//! What a Deployment's controller, its kubelet and its endpoints do when servers are replaced.

use crate::balancer::Balancer;
use crate::support::{Server, until};
use rustix::process::Signal;
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

/// How many servers there are.
const REPLICAS: usize = 3;

/// How long a server is told nothing before SIGTERM, as the manifests have it.
const PRE_STOP: Duration = Duration::from_secs(5);

/// The longest that the endpoints lag behind SIGTERM.
const LAG_MAX_MS: u64 = 5_000;

/// How servers are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manners {
    /// Another first, once it is ready; then a pause, SIGTERM, and a drain.
    Kubernetes,
    /// No pause and no drain.
    Bad,
}

/// Three servers, and those that end.
pub struct Deployment {
    engine: String,
    manners: Manners,
    balancer: Arc<Mutex<Balancer>>,
    servers: Vec<(usize, Server)>,
    ending: Vec<JoinHandle<()>>,
}

impl Deployment {
    pub fn start(engine: &str, manners: Manners) -> Self {
        let mut deployment = Self {
            engine: engine.to_owned(),
            manners,
            balancer: Arc::new(Mutex::new(Balancer::start())),
            servers: Vec::new(),
            ending: Vec::new(),
        };
        for _ in 0..REPLICAS {
            deployment.add();
        }
        deployment
    }

    /// Where clients go.
    pub fn urls(&self) -> [String; 2] {
        self.balancer.lock().unwrap().urls()
    }

    /// Replaces every server: one more than there should be, none less. The old ones end meanwhile,
    /// as terminating pods do.
    pub fn roll(&mut self) {
        for _ in 0..REPLICAS {
            self.add();
            let (slot, server) = self.servers.remove(0);
            let balancer = self.balancer.clone();
            let manners = self.manners;
            self.ending
                .push(spawn(move || end(slot, server, &balancer, manners)));
        }
        for ending in self.ending.drain(..) {
            ending.join().unwrap();
        }
    }

    fn add(&mut self) {
        let mut arguments = vec!["--engine", &self.engine];
        if self.manners == Manners::Bad {
            arguments.extend(["--drain-ms", "0"]);
        }
        let server = Server::launch(&arguments);
        until("the server is ready", || {
            (server.get("/readyz").status == 200).then_some(())
        });
        let slot = self.balancer.lock().unwrap().add(server.address());
        self.servers.push((slot, server));
    }
}

fn end(slot: usize, mut server: Server, balancer: &Mutex<Balancer>, manners: Manners) {
    // What Kubernetes does by the clock is done by the clock here; no outcome is waited for.
    if manners == Manners::Kubernetes {
        sleep(PRE_STOP);
    }
    server.signal(Signal::TERM);
    sleep(Duration::from_millis(
        getrandom::u64().unwrap() % LAG_MAX_MS,
    ));
    balancer.lock().unwrap().remove(slot);
    let status = server.wait();
    assert!(status.success(), "{status}: {}", server.log());
    balancer.lock().unwrap().free(slot);
}
