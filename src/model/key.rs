//! The name of a value.

use std::borrow::Cow;

/// A key: UTF-8, not empty, and within the limit that it was parsed under.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Box<str>);

/// Why a text is not a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The text has no bytes.
    #[error("the key is empty; give one of 1 to {bytes_max} bytes")]
    Empty {
        /// The longest key that is accepted.
        bytes_max: usize,
    },
    /// The text has too many bytes.
    #[error(
        "the key has {bytes} bytes, over the limit of {bytes_max} (setting key_bytes_max); \
         use a shorter key"
    )]
    TooLong {
        /// The length of the text.
        bytes: usize,
        /// The longest key that is accepted.
        bytes_max: usize,
    },
}

impl Key {
    /// Takes a text as a key of at most `bytes_max` bytes.
    ///
    /// # Errors
    /// Where the text is empty or too long.
    pub fn parse(text: Cow<'_, str>, bytes_max: usize) -> Result<Self, KeyError> {
        match text.len() {
            0 => Err(KeyError::Empty { bytes_max }),
            bytes if bytes > bytes_max => Err(KeyError::TooLong { bytes, bytes_max }),
            _ => Ok(Self(text.into())),
        }
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key as bytes, whose order is the order of every search.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_byte_to_the_limit() {
        assert_eq!(
            Key::parse("".into(), 4),
            Err(KeyError::Empty { bytes_max: 4 })
        );
        assert_eq!(Key::parse("a".into(), 4).unwrap().as_str(), "a");
        assert_eq!(Key::parse("éé".into(), 4).unwrap().as_bytes().len(), 4);
        assert_eq!(
            Key::parse("éée".into(), 4),
            Err(KeyError::TooLong {
                bytes: 5,
                bytes_max: 4
            })
        );
    }
}
