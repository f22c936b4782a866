//! Writes that wait for merges.

use super::*;

/// Adds keys to shard 0 and hands no job out, until so little room is left.
async fn crowd(store: &Store, room: Room) {
    let crowd = Run(Box::new(move |shard| {
        let mut number = 0_u64;
        while shard.share.map.room() != room {
            let value = Value {
                content_type: ContentType::JSON,
                body: "1".into(),
                revision: Revision(number),
                expires_at: None,
            };
            shard.share.map.set(&key(&format!("filler{number}")), value);
            number += 1;
            assert!(number < 100_000, "{room:?} is reached");
        }
    }));
    // A busy machine may take longer for it than a request may.
    let crowded = memory(store)
        .ask_within(PATIENT, 0, crowd, Manner::Refuse)
        .await;
    crowded.unwrap();
}

/// Waits until a write that needs all room goes through.
async fn until_roomy(store: &Store) {
    let written = tokio::time::timeout(PATIENT, async {
        store.change_many(0, vec![set("last")]).await.unwrap();
    });
    written.await.unwrap();
}

#[test]
fn a_parked_write_whose_sender_gave_up_is_not_made() {
    with_store(1, 1, Duration::from_millis(100), |store| async move {
        crowd(&store, Room::Full).await;
        // Nothing of this shard hands out a job before the write is parked, and the jobs that it
        // does hand out wait behind this.
        let (release, blocked) = mpsc::channel::<()>();
        let block = Run(Box::new(move |_| blocked.recv().unwrap_or_default()));
        let parked = store.change(set("k"));
        let blocking = memory(&store).ask(0, block, Manner::Refuse);
        let (parked, _) = futures_util::future::join(parked, blocking).await;
        assert!(matches!(parked, Err(StoreError::Timeout(_))), "{parked:?}");
        drop(release);
        until_roomy(&store).await;
        let read = tokio::time::timeout(PATIENT, async {
            loop {
                if let Ok(read) = store.get(key("k")).await {
                    return read;
                }
            }
        });
        assert_eq!(read.await.unwrap(), None);
        assert!(store.get(key("last")).await.unwrap().is_some());
    });
}

#[test]
fn single_writes_do_not_wait_behind_parked_bulk_writes() {
    with_store(1, 1, PATIENT, |store| async move {
        crowd(&store, Room::Crowded).await;
        let order = std::cell::RefCell::new(Vec::new());
        let bulk = async {
            store.change_many(0, vec![set("bulk")]).await.unwrap();
            order.borrow_mut().push("bulk");
        };
        let single = async {
            store.change(set("single")).await.unwrap();
            order.borrow_mut().push("single");
        };
        futures_util::future::join(bulk, single).await;
        assert_eq!(order.into_inner(), ["single", "bulk"]);
    });
}

#[test]
fn bulk_writes_wait_for_merges_and_all_are_made() {
    with_store(2, 1, PATIENT, |store| async move {
        let mut shards = vec![Vec::new(); 2];
        for number in 0..60_000 {
            let mutation = set(&number.to_string());
            shards[store.owner(&mutation.key)].push(mutation);
        }
        let load = shards.into_iter().enumerate().map(|(shard, mutations)| {
            let store = store.clone();
            async move {
                for chunk in mutations.chunks(MESSAGE_CHANGES_MAX) {
                    let written = store.change_many(shard, chunk.to_vec()).await.unwrap();
                    assert_eq!(written.counts.created as usize, chunk.len());
                    assert_eq!(written.stopped, None);
                }
            }
        });
        futures_util::future::join_all(load).await;
        let stats = store.stats(PATIENT).await.unwrap();
        assert_eq!(stats.counted.keys, 60_000);
        assert!(stats.counted.index.segments > 0);
        assert!(stats.bytes > 60_000 * 20);
    });
}
