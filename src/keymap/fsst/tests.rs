//! Symbol tables against the strings that they are to give back.

use super::*;
use proptest::prelude::*;

fn string() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..30),
        prop::collection::vec(prop::sample::select(vec![0u8, 1, b'a', b'b', 255]), 0..40),
        "(user|name|mail):[0-9]{0,6}".prop_map(String::into_bytes),
    ]
}

proptest! {
    #[test]
    fn any_string_makes_the_round_trip_whatever_the_table_was_trained_on(
        sample in prop::collection::vec(string(), 0..60),
        strings in prop::collection::vec(string(), 1..40),
    ) {
        let table = SymbolTable::train(sample.iter().map(Vec::as_slice));
        let table = SymbolTable::open(table.part().clone());
        let encoder = Encoder::new(&table);
        for original in sample.iter().chain(&strings) {
            let mut codes = Vec::new();
            encoder.encode(original, &mut codes);
            prop_assert!(codes.len() <= 2 * original.len());
            let mut decoded = vec![7; 8 * codes.len()];
            let len = table.decode(&codes, &mut decoded);
            prop_assert_eq!(&decoded[..len], &original[..]);
            for other in sample.iter().chain(&strings) {
                let shared = original.iter().zip(other).take_while(|(a, b)| a == b).count();
                prop_assert_eq!(table.compare(&codes, other), (original.cmp(other), shared));
                for bytes in [shared, other.len(), other.len() / 2] {
                    let begins = original.starts_with(&other[..bytes]);
                    prop_assert_eq!(table.begins_with(&codes, other, bytes), begins);
                }
            }
        }
    }
}

#[test]
fn repetitive_strings_shrink_to_less_than_half() {
    let strings: Vec<String> = (0..4000)
        .map(|n| format!("{:07}:created_at", n * 7919))
        .collect();
    let table = SymbolTable::train(strings.iter().map(|string| string.as_bytes()));
    let encoder = Encoder::new(&table);
    let mut codes = Vec::new();
    strings
        .iter()
        .for_each(|string| encoder.encode(string.as_bytes(), &mut codes));
    let bytes: usize = strings.iter().map(String::len).sum();
    assert!(codes.len() * 2 < bytes, "{} of {bytes}", codes.len());
}
