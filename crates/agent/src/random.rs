//! Randomness for jitter, from the same source as the keys.

/// 32 random bits. Jitter needs no secrecy: should the source fail, the longest wait is the safe one.
pub(crate) fn bits() -> u32 {
    let mut bytes = [0; 4];
    let source = rustls::crypto::aws_lc_rs::default_provider().secure_random;
    match source.fill(&mut bytes) {
        Ok(()) => u32::from_be_bytes(bytes),
        Err(_) => u32::MAX,
    }
}
