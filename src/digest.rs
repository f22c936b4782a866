//! SHA-256, by the library that TLS has its cryptography from: no second one is needed for it.

use ring::digest::{SHA256, digest};

/// A SHA-256.
pub(crate) type Sha256 = [u8; 32];

/// The SHA-256 of some bytes.
pub(crate) fn sha256(bytes: &[u8]) -> Sha256 {
    let digest = digest(&SHA256, bytes);
    Sha256::try_from(digest.as_ref()).expect("a SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first example of FIPS 180-2, B.1.
    #[test]
    fn it_is_sha_256() {
        let digits: String = sha256(b"abc")
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(
            digits,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
