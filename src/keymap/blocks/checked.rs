//! Reads the keys of blocks that may be anything, and believes nothing of them.

use super::{BLOCK_KEYS, Blocks, LENGTH_BITS, LENGTH_ESCAPE, SHARED_ESCAPE, shared_prefix};

/// The longest key there is, in bytes.
const KEY_BYTES_MAX: usize = u16::MAX as usize;

impl Blocks {
    /// Gives each key, with its rank and the key before it, to `each`, in their order. `None` where what
    /// is stored is not a list of ascending texts, or the places of blocks are others.
    pub(in crate::keymap) fn check(
        &self,
        mut each: impl FnMut(u32, &[u8], &[u8]) -> Option<()>,
    ) -> Option<()> {
        if self.starts.len() != self.len.div_ceil(BLOCK_KEYS) as usize * size_of::<u32>() {
            return None;
        }
        let mut at = 0;
        let (mut key, mut last) = (Vec::new(), Vec::new());
        for rank in 0..self.len {
            let is_first = rank.is_multiple_of(BLOCK_KEYS);
            if is_first && self.starts.number(rank / BLOCK_KEYS) as usize != at {
                return None;
            }
            let head = usize::from(*self.entries.get(at)?);
            at += 1;
            let shared = self.number(head >> LENGTH_BITS, SHARED_ESCAPE, &mut at)?;
            let length = self.number(head & LENGTH_ESCAPE, LENGTH_ESCAPE, &mut at)?;
            let rest = self.entries.get(at..at.checked_add(length)?)?;
            at += length;
            std::mem::swap(&mut key, &mut last);
            key.clear();
            if !is_first {
                key.extend_from_slice(last.get(..shared)?);
            } else if shared > 0 {
                return None;
            }
            match self.symbols() {
                Some(symbols) => symbols.decode_checked(rest, &mut key)?,
                None => key.extend_from_slice(rest),
            }
            // That an entry shares all it could is what searches rely on.
            let is_text = (1..=KEY_BYTES_MAX).contains(&key.len()) && str::from_utf8(&key).is_ok();
            let is_exact = is_first || shared_prefix(&last, &key) == shared;
            if !is_text || !is_exact || rank > 0 && last >= key {
                return None;
            }
            each(rank, &last, &key)?;
        }
        (at == self.entries.len()).then_some(())
    }

    /// A number of an entry's head, which goes on in a varint from `escape` on.
    fn number(&self, begun: usize, escape: usize, at: &mut usize) -> Option<usize> {
        if begun < escape {
            return Some(begun);
        }
        let mut value = 0;
        for shift in [0, 7, 14] {
            let byte = *self.entries.get(*at)?;
            *at += 1;
            value |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value + escape);
            }
        }
        None
    }
}
