//! A store of two shards on threads of their own, as a server of two workers has it.

use crate::PAGE;
use crate::rivals::Answer;
use actix::{Arbiter, System, SystemRunner};
use kvstore::clock::Clock;
use kvstore::lifecycle::{Lifecycle, Stage};
use kvstore::model::{ContentType, Filter, Key, Mutation, Query};
use kvstore::store::{Store, StoreOptions};
use std::sync::{Arc, mpsc};
use std::time::Duration;

const SHARDS: usize = 2;

pub struct Hosted {
    system: SystemRunner,
    store: Store,
    lifecycle: Arc<Lifecycle>,
    arbiters: Vec<Arbiter>,
}

impl Hosted {
    /// A store with these keys, whose merges are done.
    pub fn filled(keys: &[String]) -> Self {
        let lifecycle = Arc::new(Lifecycle::default());
        let options = StoreOptions {
            shards: SHARDS,
            messages_in_flight_max: 1024,
            store_bytes_max: usize::MAX,
            changes_bytes_max: 16 << 20,
            request_timeout: Duration::from_secs(60),
            hash_key: [1, 2],
            remote: None,
            durable: None,
            clock: Clock::running(),
        };
        let system = System::new();
        let store = Store::new(options, lifecycle.clone()).expect("the system gives threads");
        let host = |_| {
            let (arbiter, store) = (Arbiter::new(), store.clone());
            let (sender, receiver) = mpsc::channel();
            arbiter.spawn_fn(move || {
                store.host(SHARDS);
                sender.send(()).expect("the bench waits");
            });
            receiver.recv().expect("the shard is hosted");
            arbiter
        };
        let arbiters = (0..SHARDS).map(host).collect();
        let hosted = Self {
            system,
            store,
            lifecycle,
            arbiters,
        };
        hosted.system.block_on(hosted.fill(keys));
        hosted
    }

    async fn fill(&self, keys: &[String]) {
        let mut batch = self.store.batch();
        for (number, key) in (1..).zip(keys) {
            let key = Key::parse(key.clone().into(), 1024).expect("the names are keys");
            batch.push(number, Mutation::set(key, ContentType::JSON, "1".into()));
            if batch.is_full(usize::MAX) || number as usize == keys.len() {
                assert_eq!(batch.make().await.failure, None);
            }
        }
        // One merge may lead to the next, which is begun by the shard's next message.
        let patience = Duration::from_secs(60);
        let mut idle = 0;
        while idle < 10 {
            std::thread::sleep(Duration::from_millis(20));
            let stats = self.store.stats(patience).await.expect("it answers");
            let merges = stats.counted.index.merges_running;
            idle = if merges == 0 { idle + 1 } else { 0 };
        }
    }

    pub fn search(&self, filter: &Filter) -> Answer {
        let query = Query {
            filter: filter.clone(),
            after: Vec::new(),
            limit: Some(PAGE),
        };
        self.system.block_on(async {
            let mut searched = self.store.search(query).await.expect("it answers");
            let keys = searched.pages.next(PAGE).await.expect("it answers");
            (searched.total, keys.iter().map(<[u8]>::to_vec).collect())
        })
    }
}

impl Drop for Hosted {
    fn drop(&mut self) {
        self.lifecycle.advance(Stage::Stopping);
        for arbiter in self.arbiters.drain(..) {
            arbiter.stop();
            arbiter.join().expect("the arbiter ends well");
        }
    }
}
