//! A rewritten key is a path's length at most, and plain texts replace each other as they do
//! anywhere.

use waypost::domain::key_rewrite::{KeyChange, KeyMatch};
use waypost::domain::path::MAX_BYTES;
use waypost::domain::whole_name::WholeName;

/// The input has an expression or a template, a replacement, and a key, each on a line.
pub fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut lines = text.splitn(3, '\n');
    let (source, target, key) = (lines.next(), lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let source = source.unwrap_or_default();
    // As long as a manifest may have them.
    if source.len() > 1024 || target.len() > 1024 || key.len() > MAX_BYTES {
        return;
    }
    check_template(source, key);
    check_expression(source, target, key);
}

fn check_template(text: &str, key: &str) {
    if let Ok(change) = KeyChange::template(text)
        && let Ok(name) = change.rewrite(0, key)
    {
        assert!(name.len() <= MAX_BYTES);
    }
}

fn check_expression(source: &str, target: &str, key: &str) {
    let Ok(change) = KeyChange::replace(source, target) else {
        assert!(WholeName::parse(source).is_err());
        return;
    };
    let rewritten = change.rewrite(0, key).ok();
    assert!(rewritten.as_ref().is_none_or(|name| name.len() <= MAX_BYTES));
    let matches = source.is_empty() || KeyMatch::parse(Some(source)).is_ok_and(|expression| expression.is_match(key));
    if !matches {
        assert_eq!(rewritten.as_deref(), Some(key), "what is not matched is not changed");
    }
    let is_whole = WholeName::parse(source).is_ok_and(|name| name.is_match(key));
    assert!(matches || !is_whole, "the whole key is matched, and no part of it");
    let is_plain = !source.is_empty() && source.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if is_plain && !target.contains('$') {
        let expected = Some(key.replace(source, target)).filter(|name| name.len() <= MAX_BYTES);
        assert_eq!(rewritten, expected);
        assert_eq!(is_whole, source == key);
    }
}
