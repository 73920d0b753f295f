//! Decoding gives back what was encoded, and takes nothing else.

use base64::Engine;
use base64::engine::general_purpose::{GeneralPurpose, STANDARD, URL_SAFE};
use waypost::domain::property::{Decoding, decode};
use waypost::domain::secret::SecretBytes;

/// The input is a value.
pub fn check(value: &[u8]) {
    assert_eq!(decoded(value, Decoding::Plain).as_deref(), Some(value));
    let line: Vec<u8> = value.iter().copied().filter(|byte| !matches!(byte, b'\n' | b'\r')).collect();
    for (decoding, engine) in [(Decoding::Base64, &STANDARD), (Decoding::Base64Url, &URL_SAFE)] {
        check_alphabet(value, &line, decoding, engine);
    }
    let first = decoded(value, Decoding::Base64).or_else(|| decoded(value, Decoding::Base64Url));
    assert_eq!(decoded(value, Decoding::Auto), Some(first.unwrap_or_else(|| value.to_vec())));
}

fn check_alphabet(value: &[u8], line: &[u8], decoding: Decoding, engine: &GeneralPurpose) {
    assert_eq!(decoded(engine.encode(value).as_bytes(), decoding).as_deref(), Some(value));
    if let Some(bytes) = decoded(value, decoding) {
        assert_eq!(engine.encode(bytes).as_bytes(), line, "two texts mean the same bytes");
    }
}

fn decoded(value: &[u8], decoding: Decoding) -> Option<Vec<u8>> {
    decode(SecretBytes::new(value.to_vec()), decoding).map(|value| value.expose().to_vec())
}
