//! A codec for short strings: frequent pieces of up to eight bytes become one-byte codes, so that
//! each string decodes by itself.
//!
//! Source: Boncz, Neumann and Leis, "FSST: Fast Random Access String Compression" (VLDB 2020).
//! Ours is a small safe form: 255 symbols, the code 255 announcing a literal byte.

use super::part::{Buffer, Part, PartKind};
use super::scratch::Scratch;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;

/// How many symbols a table has at the most.
const SYMBOLS_MAX: usize = 255;

/// How many values a code has.
const CODES: usize = 256;

/// What a string is made of while a table is trained: a code, or a literal byte after all of them.
const PIECES: usize = 2 * CODES;

/// The code before a byte that no symbol begins with.
const ESCAPE: u8 = 255;

/// The longest symbol, in bytes.
const SYMBOL_BYTES_MAX: usize = 8;

/// Rounds of training; each can double the length of the symbols.
const ROUNDS: usize = 5;

/// What a symbol takes in a part: its bytes and its length.
const STORED_BYTES: usize = SYMBOL_BYTES_MAX + 1;

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
    /// By code; a code that is not in use stands for nothing.
    bytes: [u64; CODES],
    lens: [u8; CODES],
    /// How many codes are in use.
    len: usize,
    part: Part,
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
    /// A table for strings like those of the sample. About 3 ms for 4,000 short ones.
    pub(super) fn train<'a>(sample: impl Iterator<Item = &'a [u8]> + Clone) -> Self {
        let mut table = Self::of(&[]);
        // How often each piece occurs, and how often each after each.
        let mut counts = vec![0_u32; PIECES];
        let mut pairs = Scratch::zeroed(PIECES * PIECES);
        for _ in 0..ROUNDS {
            counts.fill(0);
            pairs.fill(0);
            let encoder = Encoder::new(&table);
            for string in sample.clone() {
                let (mut rest, mut before) = (string, None);
                while let Some(&first) = rest.first() {
                    let (piece, len) = match encoder.longest(rest) {
                        Some((code, len)) => (usize::from(code), len),
                        None => (CODES + usize::from(first), 1),
                    };
                    counts[piece] += 1;
                    if len > 1 {
                        // A byte may yet prove better than the symbol that swallowed it.
                        counts[CODES + usize::from(first)] += 1;
                    }
                    if let Some(before) = before {
                        pairs[before * PIECES + piece] += 1;
                    }
                    before = Some(piece);
                    rest = &rest[usize::from(len)..];
                }
            }
            table = Self::of(&table.best(&counts, &pairs));
        }
        table
    }

    /// The symbols that would save most, by how often pieces occur alone and in pairs.
    fn best(&self, counts: &[u32], pairs: &[u32]) -> Vec<Symbol> {
        let mut gains: HashMap<Symbol, u64> = HashMap::new();
        let mut add = |symbol: Symbol, count: u32| {
            *gains.entry(symbol).or_default() += u64::from(symbol.len) * u64::from(count);
        };
        let occurring = |counts: &[u32]| -> Vec<(usize, u32)> {
            let counts = counts.iter().copied().enumerate();
            counts.filter(|(_, count)| *count > 0).collect()
        };
        for (piece, count) in occurring(counts) {
            add(self.piece(piece), count);
            let after = &pairs[piece * PIECES..(piece + 1) * PIECES];
            for (next, count) in occurring(after) {
                add(self.piece(piece).followed_by(self.piece(next)), count);
            }
        }
        let mut ranked: Vec<(u64, Symbol)> = gains
            .into_iter()
            .map(|(symbol, gain)| (gain, symbol))
            .collect();
        ranked.sort_unstable_by(|left, right| right.cmp(left));
        ranked.truncate(SYMBOLS_MAX);
        ranked.into_iter().map(|(_, symbol)| symbol).collect()
    }

    fn piece(&self, piece: usize) -> Symbol {
        match piece.checked_sub(CODES) {
            Some(byte) => Symbol::byte(byte as u8),
            None => self.symbol(piece as u8),
        }
    }

    fn symbol(&self, code: u8) -> Symbol {
        Symbol {
            bytes: self.bytes[usize::from(code)],
            len: self.lens[usize::from(code)],
        }
    }

    fn of(symbols: &[Symbol]) -> Self {
        let mut buffer = Buffer::with_capacity(symbols.len() * STORED_BYTES);
        for symbol in symbols {
            buffer.extend(&symbol.bytes.to_le_bytes());
            buffer.extend(&[symbol.len]);
        }
        Self::open(buffer.seal(PartKind::Symbols))
    }

    /// The table that a part holds.
    pub(super) fn open(part: Part) -> Self {
        let (stored, _) = part.as_chunks::<STORED_BYTES>();
        let (mut bytes, mut lens) = ([0; CODES], [0; CODES]);
        for (code, [symbol @ .., len]) in stored.iter().take(SYMBOLS_MAX).enumerate() {
            bytes[code] = u64::from_le_bytes(*symbol);
            lens[code] = *len;
        }
        Self {
            bytes,
            lens,
            len: stored.len().min(SYMBOLS_MAX),
            part,
        }
    }

    /// As [`open`](Self::open), of a part that may be anything; `None` where it is no table.
    pub(super) fn open_checked(part: Part) -> Option<Self> {
        let (stored, rest) = part.as_chunks::<STORED_BYTES>();
        let is_symbol = |[symbol @ .., len]: &[u8; STORED_BYTES]| {
            let is_one = (1..=SYMBOL_BYTES_MAX as u8).contains(len);
            is_one && u64::from_le_bytes(*symbol) & !mask(*len) == 0
        };
        let is_table = rest.is_empty() && stored.len() <= SYMBOLS_MAX;
        let is_table = is_table && stored.iter().all(is_symbol);
        is_table.then(|| Self::open(part))
    }

    /// Appends what the codes stand for to `string`; `None` where they are of no encoder of this table.
    pub(super) fn decode_checked(&self, codes: &[u8], string: &mut Vec<u8>) -> Option<()> {
        let mut codes = codes.iter();
        while let Some(&code) = codes.next() {
            if code == ESCAPE {
                string.push(*codes.next()?);
            } else if usize::from(code) < self.len {
                let symbol = self.symbol(code);
                let bytes = symbol.bytes.to_le_bytes();
                string.extend_from_slice(&bytes[..usize::from(symbol.len)]);
            } else {
                return None;
            }
        }
        Some(())
    }

    /// The part that holds the table.
    pub(super) fn part(&self) -> &Part {
        &self.part
    }

    /// Writes what the codes stand for to the beginning of `string`, which must have room for eight
    /// bytes a code, and returns its length. The codes must come from an encoder of this table.
    pub(super) fn decode(&self, codes: &[u8], string: &mut [u8]) -> usize {
        let mut end = 0;
        let mut codes = codes.iter();
        while let Some(&code) = codes.next() {
            if code == ESCAPE {
                string[end] = codes.next().copied().unwrap_or_default();
                end += 1;
            } else {
                // Eight bytes are copied whatever the symbol's length: that needs no call.
                let symbol = self.bytes[usize::from(code)].to_le_bytes();
                string[end..end + SYMBOL_BYTES_MAX].copy_from_slice(&symbol);
                end += usize::from(self.lens[usize::from(code)]);
            }
        }
        end
    }

    /// How what the codes stand for compares with a string, and how many bytes they share. Nothing
    /// is decoded past the first difference.
    pub(super) fn compare(&self, codes: &[u8], string: &[u8]) -> (Ordering, usize) {
        let mut shared = 0;
        let mut codes = codes.iter();
        while let Some(&code) = codes.next() {
            let symbol = if code == ESCAPE {
                Symbol::byte(codes.next().copied().unwrap_or_default())
            } else {
                self.symbol(code)
            };
            let rest = &string[shared..];
            let different = (head_of(rest) ^ symbol.bytes) & mask(symbol.len);
            let equal = (different.trailing_zeros() / 8).min(symbol.len.into()) as usize;
            if equal >= rest.len() && rest.len() < usize::from(symbol.len) {
                return (Ordering::Greater, string.len());
            }
            shared += equal;
            if equal < usize::from(symbol.len) {
                let byte = (symbol.bytes >> (8 * equal)) as u8;
                return (byte.cmp(&rest[equal]), shared);
            }
        }
        (shared.cmp(&string.len()), shared)
    }

    /// Whether what the codes stand for begins with so many bytes of `string`. Faster where it has seven more.
    pub(super) fn begins_with(&self, codes: &[u8], string: &[u8], bytes: usize) -> bool {
        let mut codes = codes.iter();
        let mut at = 0;
        while at < bytes {
            let Some(&code) = codes.next() else {
                return false;
            };
            let symbol = match code {
                ESCAPE => Symbol::byte(codes.next().copied().unwrap_or_default()),
                code => self.symbol(code),
            };
            let len = usize::from(symbol.len).min(bytes - at);
            if (head_of(&string[at..]) ^ symbol.bytes) & mask(len as u8) != 0 {
                return false;
            }
            at += len;
        }
        true
    }
}

impl fmt::Debug for SymbolTable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SymbolTable({})", self.len)
    }
}

/// Finds the longest symbol at the head of a string. Larger than a table, and made from one
/// whenever there is something to encode.
pub(super) struct Encoder {
    /// By the first two bytes, the longest symbol of up to two bytes.
    short: Vec<Short>,
    /// By the only byte that is left.
    last: [Short; CODES],
    /// Symbols of three bytes or more, by a hash of their first three; longer ones come first.
    long: Vec<Option<(u8, Symbol)>>,
}

/// The code and length of a symbol; of length 0 where there is none.
#[derive(Clone, Copy, Debug, Default)]
struct Short {
    code: u8,
    len: u8,
}

impl Encoder {
    pub(super) fn new(table: &SymbolTable) -> Self {
        let mut encoder = Self {
            short: vec![Short::default(); 1 << 16],
            last: [Short::default(); CODES],
            long: vec![None; LONG_PLACES],
        };
        let codes = 0..u8::try_from(table.len).expect("255 symbols at the most");
        let mut coded: Vec<(u8, Symbol)> = codes.map(|code| (code, table.symbol(code))).collect();
        coded.sort_by_key(|(_, symbol)| symbol.len);
        for &(code, symbol) in coded.iter().filter(|(_, symbol)| symbol.len == 1) {
            encoder.last[symbol.bytes as usize] = Short { code, len: 1 };
        }
        for second in encoder.short.chunks_exact_mut(CODES) {
            second.copy_from_slice(&encoder.last);
        }
        for &(code, symbol) in coded.iter().filter(|(_, symbol)| symbol.len == 2) {
            encoder.short[symbol.bytes as usize] = Short { code, len: 2 };
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
                Some((code, len)) => {
                    codes.push(code);
                    rest = &rest[usize::from(len)..];
                }
                None => {
                    codes.extend([ESCAPE, first]);
                    rest = &rest[1..];
                }
            }
        }
    }

    /// The code and length of the longest symbol that a string, not empty, begins with.
    fn longest(&self, string: &[u8]) -> Option<(u8, u8)> {
        let head = head_of(string);
        let Short { code, len } = match string.len() {
            1 => self.last[usize::from(string[0])],
            2 => self.short[head as usize & 0xffff],
            len => {
                let mut place = place_of(head);
                while let Some((code, symbol)) = self.long[place] {
                    let fits = usize::from(symbol.len) <= len;
                    if fits && head & mask(symbol.len) == symbol.bytes {
                        return Some((code, symbol.len));
                    }
                    place = (place + 1) % LONG_PLACES;
                }
                self.short[head as usize & 0xffff]
            }
        };
        (len > 0).then_some((code, len))
    }
}

/// The first eight bytes, or fewer and then zeros.
fn head_of(string: &[u8]) -> u64 {
    if let Some(head) = string.first_chunk() {
        return u64::from_le_bytes(*head);
    }
    // From parts that overlap: a copy of so few bytes costs a call, and then waits to be read.
    if let (Some(first), Some(last)) = (string.first_chunk(), string.last_chunk()) {
        let [first, last] = [first, last].map(|part| u64::from(u32::from_le_bytes(*part)));
        return first | last << (8 * (string.len() - 4));
    }
    let byte = |at: usize| u64::from(string[at]) << (8 * at);
    match string.len() {
        0 => 0,
        len => byte(0) | byte(len / 2) | byte(len - 1),
    }
}

/// Ones for the low bytes, `len` of them: 1 to 8.
fn mask(len: u8) -> u64 {
    u64::MAX >> (64 - 8 * u32::from(len)).min(63)
}

/// Fibonacci hashing of the first three bytes.
fn place_of(head: u64) -> usize {
    const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
    ((head & 0xff_ffff).wrapping_mul(MULTIPLIER) >> 53) as usize % LONG_PLACES
}

#[cfg(test)]
mod tests;
