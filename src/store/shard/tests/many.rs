//! Reads of many keys.

use super::*;
use crate::model::Fetched;

fn set_to(text: &str, body: String) -> Mutation {
    Mutation::set(key(text), ContentType::JSON, body.into())
}

#[test]
fn many_values_come_in_the_order_of_their_keys_whatever_their_shards() {
    with_store(5, 2, PATIENT, |store| async move {
        for number in 0..1000 {
            let name = number.to_string();
            store.change(set_to(&name, name.clone())).await.unwrap();
        }
        // Some are asked for twice, and some are not there.
        let numbers: Vec<usize> = (0..3000).map(|at| at * 7919 % 1500).collect();
        let keys = || numbers.iter().map(|number| key(&number.to_string()));
        let values = store.get_many(keys().collect()).await.unwrap();
        let bodies = values
            .iter()
            .map(|value| value.as_ref().map(|value| &value.body[..]));
        let names: Vec<String> = numbers.iter().map(usize::to_string).collect();
        let expected = numbers.iter().zip(&names);
        let expected = expected.map(|(number, name)| (*number < 1000).then_some(name.as_bytes()));
        assert!(bodies.eq(expected));
        let short = store.get_short(keys().collect(), Manner::Refuse).await;
        let short: Vec<Option<Value>> = short.unwrap().into_iter().map(Fetched::value).collect();
        assert_eq!(short, values);
        assert_eq!(store.get_many(Vec::new()).await, Ok(Vec::new()));
    });
}

#[test]
fn of_long_values_among_many_only_the_length_comes_unless_all_are_wanted() {
    with_store(2, 1, PATIENT, |store| async move {
        for length in [4096, 4097, 200_000] {
            let set = set_to(&length.to_string(), "v".repeat(length));
            store.change(set).await.unwrap();
        }
        let keys = || ["4096", "none", "4097", "200000"].map(key).to_vec();
        let short = store.get_short(keys(), Manner::Wait).await.unwrap();
        let [
            Fetched::Value(value),
            Fetched::Nothing,
            Fetched::Long(4097),
            Fetched::Long(200_000),
        ] = &short[..]
        else {
            panic!("{short:?}");
        };
        assert_eq!(value.body.len(), 4096);
        let all = store.get_many(keys()).await.unwrap();
        let lengths: Vec<Option<usize>> = all
            .iter()
            .map(|value| value.as_ref().map(|value| value.body.len()))
            .collect();
        assert_eq!(lengths, [Some(4096), None, Some(4097), Some(200_000)]);
    });
}

#[test]
fn many_reads_past_the_bound_on_messages_are_refused_or_wait() {
    let options = StoreOptions {
        messages_in_flight_max: 1,
        ..options()
    };
    with_store_of(1, options, |store| async move {
        // More than one message.
        let keys = || (0..300).map(|number| key(&number.to_string())).collect();
        let (release, blocked) = mpsc::channel::<()>();
        let block = Run(Box::new(move |_| blocked.recv().unwrap_or_default()));
        let refused = async {
            let refused = store.get_short(keys(), Manner::Refuse).await;
            drop(release);
            refused
        };
        let block = memory(&store).ask(0, block, Manner::Refuse);
        let (blocked, refused) = tokio::join!(biased; block, refused);
        assert_eq!(blocked, Ok(()));
        assert_eq!(refused, Err(StoreError::Overloaded));
        let waited = store.get_short(keys(), Manner::Wait).await.unwrap();
        assert_eq!(waited, vec![Fetched::Nothing; 300]);
    });
}
