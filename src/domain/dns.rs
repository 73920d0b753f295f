//! Kubernetes' rules for names.

/// The longest name of an object, in bytes.
const MAX_SUBDOMAIN: usize = 253;
/// The longest name of a namespace, in bytes.
const MAX_LABEL: usize = 63;

/// Whether a namespace can have this name.
pub fn is_label(text: &str) -> bool {
    text.len() <= MAX_LABEL && is_part(text)
}

/// Whether an object can have this name.
pub fn is_subdomain(text: &str) -> bool {
    text.len() <= MAX_SUBDOMAIN && text.split('.').all(is_part)
}

fn is_part(text: &str) -> bool {
    let is_end = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(is_end) && text.ends_with(is_end) && text.chars().all(|c| is_end(c) || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_other_texts() {
        for name in ["a", "db-1", "0"] {
            assert!(is_label(name) && is_subdomain(name), "{name}");
        }
        assert!(is_subdomain("a.b-c") && !is_label("a.b-c"));
        assert!(is_label(&"x".repeat(63)) && !is_label(&"x".repeat(64)));
        assert!(is_subdomain(&"x".repeat(253)) && !is_subdomain(&"x".repeat(254)));
        for other in ["", "-a", "a-", "a..b", ".", "A", "a/b", "a b", "ä", "a?b", "a%2f", "a\n"] {
            assert!(!is_label(other) && !is_subdomain(other), "{other:?}");
        }
    }
}
