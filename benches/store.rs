//! One message through the store: to a shard on the same thread and to one on another, against a
//! bare channel to another thread and back.

use actix::{Arbiter, System};
use criterion::{Criterion, criterion_group, criterion_main};
use kvstore::clock::Clock;
use kvstore::lifecycle::{Lifecycle, Stage};
use kvstore::model::{ContentType, Key, Mutation};
use kvstore::store::{Store, StoreOptions};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use tokio::sync::oneshot;

fn key() -> Key {
    Key::parse("key".into(), 1024).expect("it is a key")
}

fn store(lifecycle: Arc<Lifecycle>) -> Store {
    let options = StoreOptions {
        shards: 1,
        messages_in_flight_max: 1024,
        store_bytes_max: usize::MAX,
        changes_bytes_max: 16 << 20,
        request_timeout: Duration::from_secs(30),
        hash_key: [1, 2],
        remote: None,
        durable: None,
        clock: Clock::running(),
    };
    Store::new(options, lifecycle).expect("the system gives threads")
}

fn get(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("one message");
    let system = System::new();
    let lifecycle = Arc::new(Lifecycle::default());
    let here = store(lifecycle.clone());
    system.block_on(async { here.host(1) });
    let there = store(lifecycle.clone());
    let arbiter = Arbiter::new();
    let (sender, receiver) = mpsc::channel();
    let hosted = there.clone();
    arbiter.spawn_fn(move || {
        hosted.host(1);
        sender.send(()).expect("the bench waits");
    });
    receiver.recv().expect("the shard is hosted");
    for (place, store) in [("shard on this thread", here), ("shard on another", there)] {
        let set = Mutation::set(key(), ContentType::JSON, "1".into());
        system.block_on(store.change(set)).expect("it is set");
        group.bench_function(place, |bencher| {
            bencher.iter(|| {
                let value = system
                    .block_on(store.get(key()))
                    .expect("the store answers");
                assert_eq!(value.expect("it is there").body, "1");
            });
        });
    }
    let (asks, asked) = mpsc::channel::<oneshot::Sender<u64>>();
    let echo = std::thread::spawn(move || {
        for reply in asked {
            reply.send(1).expect("the bench waits");
        }
    });
    group.bench_function("bare channel to another thread", |bencher| {
        bencher.iter(|| {
            let (reply, answer) = oneshot::channel();
            asks.send(reply).expect("the thread lives");
            assert_eq!(system.block_on(answer), Ok(1));
        });
    });
    group.finish();
    drop(asks);
    echo.join().expect("the thread ends well");
    lifecycle.advance(Stage::Stopping);
    arbiter.stop();
    arbiter.join().expect("the arbiter ends well");
}

criterion_group!(benches, get);
criterion_main!(benches);
