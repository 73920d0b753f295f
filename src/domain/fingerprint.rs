//! Digests that detect changes. External Secrets Operator writes them on objects; they are computed
//! exactly as it does, so that a hand-over rewrites nothing.

use std::collections::BTreeMap;
use std::fmt::Write;

use sha3::{Digest, Sha3_224};

use super::secret::SecretMap;

/// The `data-hash` annotation of a target Secret: SHA3-224 over the data in Go's `%+v` notation.
pub fn data_hash(data: &SecretMap) -> String {
    let mut digest = Sha3_224::new();
    digest.update("map[");
    for (index, (key, value)) in data.iter().enumerate() {
        if index > 0 {
            digest.update(" ");
        }
        digest.update(key);
        digest.update(":[");
        for (position, byte) in value.expose().iter().enumerate() {
            let number = DECIMALS[usize::from(*byte)].as_bytes();
            // Each number has the space before it.
            digest.update(if position == 0 { &number[1..] } else { number });
        }
        digest.update("]");
    }
    digest.update("]");
    hex(&digest.finalize())
}

/// The `created-by` label of a target Secret: its owner, in a form that fits into a label value.
pub fn owner_label(namespace: &str, name: &str) -> String {
    hex(&Sha3_224::digest(format!("{namespace}/{name}")))
}

/// `status.syncedResourceVersion`: the generation with a digest of annotations and labels, all of
/// which trigger a sync.
pub fn synced_resource_version(
    generation: i64,
    annotations: &BTreeMap<String, String>,
    labels: &BTreeMap<String, String>,
) -> String {
    let text = format!("{{annotations:{} labels:{}}}", go_map(annotations), go_map(labels));
    format!("{generation}-{}", hex(&Sha3_224::digest(text)))
}

/// SHA3-224 in lower-case hexadecimal, for names that are too long.
pub fn short_digest(text: &str) -> String {
    hex(&Sha3_224::digest(text))
}

/// A byte in decimal after a space, right-aligned in four characters.
struct Decimal {
    text: [u8; 4],
    start: usize,
}

/// One for each byte, so that hashing creates no text of a value that would have to be zeroed.
static DECIMALS: [Decimal; 256] = decimals();

impl Decimal {
    const fn of(byte: u8) -> Self {
        let (mut text, mut start, mut rest) = ([b' '; 4], 3, byte);
        loop {
            text[start] = b'0' + rest % 10;
            start -= 1;
            rest /= 10;
            if rest == 0 {
                return Decimal { text, start };
            }
        }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.text[self.start..]
    }
}

const fn decimals() -> [Decimal; 256] {
    let mut decimals = [const { Decimal::of(0) }; 256];
    let mut byte = 0;
    while byte < 256 {
        decimals[byte] = Decimal::of(byte as u8);
        byte += 1;
    }
    decimals
}

fn go_map(map: &BTreeMap<String, String>) -> String {
    let entries: Vec<String> = map.iter().map(|(key, value)| format!("{key}:{value}")).collect();
    format!("map[{}]", entries.join(" "))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::secret::SecretBytes;

    fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
    }

    #[test]
    fn data_hashes_are_the_ones_eso_writes() {
        let cases: [(&[(&str, &str)], &str); 3] = [
            (&[("foo", "value1"), ("bar", "value2")], "1bed8bcbcb4547ffe19a19cd47d9078e84aa6598266d86b99f992d64"),
            (&[], "74a974446e359fb3e6baff9bd0058950e6edd0f040888d9989b0a11b"),
            (&[("k", "")], "a921e2357fadba0d5f3e1e4fec0c73811088f841beab9554c83697ee"),
        ];
        for (data, hash) in cases {
            let data = data.iter().map(|(key, value)| ((*key).into(), SecretBytes::from(*value))).collect();
            assert_eq!(data_hash(&data), hash);
        }
    }

    #[test]
    fn every_byte_is_hashed_as_its_decimal() {
        let bytes: Vec<u8> = (0..=255).collect();
        let numbers: Vec<String> = bytes.iter().map(u8::to_string).collect();
        let text = format!("map[k:[{}]]", numbers.join(" "));
        let data = SecretMap::from([("k".to_owned(), SecretBytes::new(bytes))]);
        assert_eq!(data_hash(&data), hex(&Sha3_224::digest(text)));
    }

    #[test]
    fn owner_labels_are_the_ones_eso_writes() {
        assert_eq!(owner_label("default", "my-es"), "b8464376b5fe3535e690594280bfe59b60be2603cb6cbb6d6c8bcbb4");
    }

    #[test]
    fn synced_resource_versions_are_the_ones_eso_writes() {
        assert_eq!(
            synced_resource_version(3, &map(&[("a", "1"), ("b", "2")]), &map(&[("x", "y")])),
            "3-6ee08b1e6308371322db46ffd6e44d85577c0ba431e835c152bee5bc"
        );
        assert_eq!(
            synced_resource_version(1, &map(&[]), &map(&[])),
            "1-f47fe3c0b255b6dd8047cdffa772587bb829efe7a1cb70febeda2eb2"
        );
    }
}
