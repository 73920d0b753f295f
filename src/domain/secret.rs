//! Secret bytes that cannot be printed, are wiped when dropped, and compare in constant time.

use std::collections::BTreeMap;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A secret value. It has no `Debug`, `Display`, `Serialize` or `Clone` on purpose: code that needs
/// the bytes calls [`SecretBytes::expose`], which is easy to find.
pub struct SecretBytes(Zeroizing<Vec<u8>>);

/// The keys of a Secret with their values.
pub type SecretMap = BTreeMap<String, SecretBytes>;

impl SecretBytes {
    /// Takes ownership of the bytes without copying them.
    pub fn new(bytes: Vec<u8>) -> Self {
        SecretBytes(Zeroizing::new(bytes))
    }

    /// The bytes in the clear.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The value as text, or `None` when it is not UTF-8.
    pub fn expose_utf8(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A second copy, for the rare case that needs the value twice (one property mapped to two
    /// keys).
    pub fn duplicate(&self) -> Self {
        SecretBytes::new(self.0.to_vec())
    }
}

impl PartialEq for SecretBytes {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SecretBytes {}

impl From<&str> for SecretBytes {
    fn from(text: &str) -> Self {
        SecretBytes::new(text.as_bytes().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_bytes_are_equal_and_others_are_not() {
        assert!(SecretBytes::from("a") == SecretBytes::new(vec![b'a']));
        assert!(SecretBytes::from("a") != SecretBytes::from("b"));
        assert!(SecretBytes::from("a") != SecretBytes::from("ab"));
    }

    #[test]
    fn bytes_that_are_not_text_are_told_apart() {
        assert_eq!(SecretBytes::new(vec![0xff]).expose_utf8(), None);
        assert_eq!(SecretBytes::from("ü").expose_utf8(), Some("ü"));
    }
}
