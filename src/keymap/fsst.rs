//! A codec for short strings: frequent pieces of up to eight bytes become one-byte codes, so that
//! each string decodes by itself.
//!
//! Source: Boncz, Neumann and Leis, "FSST: Fast Random Access String Compression" (VLDB 2020).
//! Ours is a small safe form: 255 symbols, the code 255 announcing a literal byte.

use std::collections::HashMap;
use std::fmt;

/// How many symbols a table has at the most.
const SYMBOLS_MAX: usize = 255;

/// The code before a byte that no symbol begins with.
const ESCAPE: u8 = 255;

/// The longest symbol, in bytes.
const SYMBOL_BYTES_MAX: usize = 8;

/// Rounds of training; each can double the length of the symbols.
const ROUNDS: usize = 5;

/// Places in the encoder's table of longer symbols, a power of two.
const LONG_PLACES: usize = 2048;

/// A piece of a string, its bytes in the low end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Symbol {
    bytes: u64,
    len: u8,
}

/// What codes stand for.
pub(super) struct SymbolTable {
    symbols: Vec<Symbol>,
}

impl Symbol {
    fn byte(byte: u8) -> Self {
        Self {
            bytes: byte.into(),
            len: 1,
        }
    }

    /// Both one after the other, cut to the longest that a symbol may be.
    fn followed_by(self, next: Self) -> Self {
        let len = (self.len + next.len).min(SYMBOL_BYTES_MAX as u8);
        let joined = if usize::from(self.len) == SYMBOL_BYTES_MAX {
            self.bytes
        } else {
            self.bytes | next.bytes << (8 * self.len)
        };
        Self {
            bytes: joined & mask(len),
            len,
        }
    }
}

impl SymbolTable {
    /// A table for strings like those of the sample. About 2 ms for 4,000 short ones.
    pub(super) fn train<'a>(sample: impl Iterator<Item = &'a [u8]> + Clone) -> Self {
        let mut table = Self {
            symbols: Vec::new(),
        };
        for _ in 0..ROUNDS {
            let encoder = Encoder::new(&table);
            let mut gains: HashMap<Symbol, u64> = HashMap::new();
            for string in sample.clone() {
                let mut before: Option<Symbol> = None;
                let mut rest = string;
                while let Some(symbol) = encoder
                    .longest(rest)
                    .map(|(_, symbol)| symbol)
                    .or_else(|| rest.first().map(|byte| Symbol::byte(*byte)))
                {
                    *gains.entry(symbol).or_default() += u64::from(symbol.len);
                    if symbol.len > 1 {
                        // A byte may yet prove better than the symbol that swallowed it.
                        *gains.entry(Symbol::byte(rest[0])).or_default() += 1;
                    }
                    if let Some(before) = before {
                        let joined = before.followed_by(symbol);
                        *gains.entry(joined).or_default() += u64::from(joined.len);
                    }
                    before = Some(symbol);
                    rest = &rest[usize::from(symbol.len)..];
                }
            }
            let mut ranked: Vec<(u64, Symbol)> = gains
                .into_iter()
                .map(|(symbol, gain)| (gain, symbol))
                .collect();
            ranked.sort_unstable_by(|left, right| right.cmp(left));
            ranked.truncate(SYMBOLS_MAX);
            table.symbols = ranked.into_iter().map(|(_, symbol)| symbol).collect();
        }
        table
    }

    /// Appends what the codes stand for. The codes must come from an encoder of this table.
    pub(super) fn decode(&self, codes: &[u8], string: &mut Vec<u8>) {
        let mut codes = codes.iter();
        while let Some(&code) = codes.next() {
            if code == ESCAPE {
                string.extend(codes.next());
            } else {
                // Eight bytes are copied whatever the symbol's length: that needs no call.
                let symbol = self.symbols[usize::from(code)];
                let end = string.len() + usize::from(symbol.len);
                string.extend_from_slice(&symbol.bytes.to_le_bytes());
                string.truncate(end);
            }
        }
    }
}

impl fmt::Debug for SymbolTable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SymbolTable({})", self.symbols.len())
    }
}

/// Finds the longest symbol at the head of a string. Larger than a table, and made from one
/// whenever there is something to encode.
pub(super) struct Encoder {
    /// By the first two bytes, the code and length of the longest symbol of up to two bytes.
    short: Vec<Option<(u8, u8)>>,
    /// Symbols of three bytes or more, by a hash of their first three; longer ones come first.
    long: Vec<Option<(u8, Symbol)>>,
}

impl Encoder {
    pub(super) fn new(table: &SymbolTable) -> Self {
        let mut encoder = Self {
            short: vec![None; 1 << 16],
            long: vec![None; LONG_PLACES],
        };
        let mut coded: Vec<(u8, Symbol)> = (0..).zip(table.symbols.iter().copied()).collect();
        coded.sort_by_key(|(_, symbol)| symbol.len);
        for &(code, symbol) in &coded {
            match symbol.len {
                1 => {
                    for second in 0..=0xff_usize {
                        encoder.short[symbol.bytes as usize | second << 8] = Some((code, 1));
                    }
                }
                2 => encoder.short[symbol.bytes as usize] = Some((code, 2)),
                _ => {}
            }
        }
        for &(code, symbol) in coded.iter().rev().filter(|(_, symbol)| symbol.len > 2) {
            let mut place = place_of(symbol.bytes);
            while encoder.long[place].is_some() {
                place = (place + 1) % LONG_PLACES;
            }
            encoder.long[place] = Some((code, symbol));
        }
        encoder
    }

    /// Appends the codes of a string.
    pub(super) fn encode(&self, string: &[u8], codes: &mut Vec<u8>) {
        let mut rest = string;
        while let Some(&first) = rest.first() {
            match self.longest(rest) {
                Some((code, symbol)) => {
                    codes.push(code);
                    rest = &rest[usize::from(symbol.len)..];
                }
                None => {
                    codes.extend([ESCAPE, first]);
                    rest = &rest[1..];
                }
            }
        }
    }

    /// The longest symbol that the string begins with, and its code.
    fn longest(&self, string: &[u8]) -> Option<(u8, Symbol)> {
        if string.is_empty() {
            return None;
        }
        let head = head_of(string);
        if string.len() > 2 {
            let mut place = place_of(head);
            while let Some((code, symbol)) = self.long[place] {
                let fits = usize::from(symbol.len) <= string.len();
                if fits && head & mask(symbol.len) == symbol.bytes {
                    return Some((code, symbol));
                }
                place = (place + 1) % LONG_PLACES;
            }
        }
        let (code, len) = self.short[head as usize & 0xffff]?;
        if usize::from(len) <= string.len() {
            let bytes = head & mask(len);
            return Some((code, Symbol { bytes, len }));
        }
        // One byte is left, and a symbol of two hides the one of one.
        self.single(head as u8)
    }

    /// The symbol of one byte, found where no symbol of two hides it.
    fn single(&self, byte: u8) -> Option<(u8, Symbol)> {
        let row = (0..=0xff_usize).map(|second| self.short[usize::from(byte) | second << 8]);
        let found = row.flatten().find(|(_, len)| *len == 1);
        found.map(|(code, _)| (code, Symbol::byte(byte)))
    }
}

/// The first eight bytes, or fewer and then zeros.
fn head_of(string: &[u8]) -> u64 {
    match string.first_chunk::<SYMBOL_BYTES_MAX>() {
        Some(head) => u64::from_le_bytes(*head),
        None => {
            let mut head = [0; SYMBOL_BYTES_MAX];
            head[..string.len()].copy_from_slice(string);
            u64::from_le_bytes(head)
        }
    }
}

fn mask(len: u8) -> u64 {
    u64::MAX >> (64 - 8 * u32::from(len))
}

/// Fibonacci hashing of the first three bytes.
fn place_of(head: u64) -> usize {
    const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
    ((head & 0xff_ffff).wrapping_mul(MULTIPLIER) >> 53) as usize % LONG_PLACES
}

#[cfg(test)]
mod tests {
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
            let encoder = Encoder::new(&table);
            for original in sample.iter().chain(&strings) {
                let (mut codes, mut decoded) = (Vec::new(), b"before".to_vec());
                encoder.encode(original, &mut codes);
                prop_assert!(codes.len() <= 2 * original.len());
                table.decode(&codes, &mut decoded);
                prop_assert_eq!(decoded, [b"before", original.as_slice()].concat());
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
}
