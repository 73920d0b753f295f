//! JSON as a store returns it: with fields in another order, other escapes, and numbers converted
//! through 64-bit floats.
//!
//! A KV v2 server stores what was written but reads it into floats: 9007199254740993 comes back as
//! 9007199254740992, and 1.50 as 1.5. So values are compared by meaning. Numbers whose digits must
//! all survive have to be written as text.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use zeroize::Zeroizing;

/// Deeper values are not compared by meaning, and not assumed to come back unchanged.
const MAX_DEPTH: usize = 64;

/// The canonical spelling of a value; `None` if it is not JSON or nested too deep.
pub fn canonical(json: &str) -> Option<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::with_capacity(json.len()));
    spell(json, MAX_DEPTH, &mut text)?;
    Some(text)
}

/// Whether a server returns it with the same meaning.
pub fn comes_back(json: &str) -> bool {
    survives(json, MAX_DEPTH).unwrap_or(false)
}

fn spell(json: &str, depth: usize, text: &mut String) -> Option<()> {
    let depth = depth.checked_sub(1)?;
    let json = json.trim();
    match json.as_bytes().first()? {
        b'{' => {
            let fields: BTreeMap<String, &RawValue> = serde_json::from_str(json).ok()?;
            text.push('{');
            for (name, value) in fields {
                text.push_str(&serde_json::to_string(&name).ok()?);
                text.push(':');
                spell(value.get(), depth, text)?;
                text.push(',');
            }
            text.push('}');
        }
        b'[' => {
            let items: Vec<&RawValue> = serde_json::from_str(json).ok()?;
            text.push('[');
            for value in items {
                spell(value.get(), depth, text)?;
                text.push(',');
            }
            text.push(']');
        }
        b'"' => {
            let plain = Zeroizing::new(serde_json::from_str::<String>(json).ok()?);
            text.push_str(&Zeroizing::new(serde_json::to_string(plain.as_str()).ok()?));
        }
        b'-' | b'0'..=b'9' => text.push_str(&decimal(json).unwrap_or_else(|| Zeroizing::new(json.to_owned()))),
        _literal => text.push_str(json),
    }
    Some(())
}

fn survives(json: &str, depth: usize) -> Option<bool> {
    let depth = depth.checked_sub(1)?;
    let json = json.trim();
    match json.as_bytes().first()? {
        b'{' => {
            let fields: BTreeMap<String, &RawValue> = serde_json::from_str(json).ok()?;
            Some(fields.into_values().all(|value| survives(value.get(), depth).unwrap_or(false)))
        }
        b'[' => {
            let items: Vec<&RawValue> = serde_json::from_str(json).ok()?;
            Some(items.into_iter().all(|value| survives(value.get(), depth).unwrap_or(false)))
        }
        b'-' | b'0'..=b'9' => {
            let float = json.parse::<f64>().ok().filter(|float| float.is_finite())?;
            Some(decimal(json)? == decimal(&Zeroizing::new(format!("{float:e}")))?)
        }
        // Half of a surrogate pair is not text: a server replaces it by U+FFFD.
        b'"' => Some(serde_json::from_str::<String>(json).map(Zeroizing::new).is_ok()),
        _literal => Some(true),
    }
}

/// A number as its significant digits and an exponent: the same for `1.50`, `1.5` and `15e-1`.
fn decimal(number: &str) -> Option<Zeroizing<String>> {
    let (sign, unsigned) = number.strip_prefix('-').map_or(("", number), |unsigned| ("-", unsigned));
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent = exponent.strip_prefix('+').unwrap_or(exponent).parse::<i64>().ok()?;
    let all = Zeroizing::new(format!("{whole}{fraction}"));
    let digits = all.trim_end_matches('0');
    let dropped = i64::try_from(all.len() - digits.len()).ok()?;
    let exponent = exponent.checked_sub(i64::try_from(fraction.len()).ok()?)?.checked_add(dropped)?;
    Some(Zeroizing::new(match digits.trim_start_matches('0') {
        "" => "0".to_owned(),
        digits => format!("{sign}{digits}e{exponent}"),
    }))
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// JSON as serde_json's raw values take it, with any escapes.
    pub(crate) fn json() -> impl Strategy<Value = String> {
        let escape = "[0-9a-fA-F]{4}|d[89ab][0-9a-f]{2}|d[c-f][0-9a-f]{2}".prop_map(|hex| format!("\\u{hex}"));
        let text = prop::collection::vec(prop_oneof!["[a-z \u{e4}]{0,3}", escape], 0..4)
            .prop_map(|parts| format!("\"{}\"", parts.concat()));
        let leaf = prop_oneof![text.clone(), "-?(0|[1-9][0-9]{0,14})", Just("null".to_owned())];
        leaf.prop_recursive(3, 12, 3, move |inner| {
            let fields = prop::collection::vec((text.clone(), inner.clone()), 0..3);
            let object = fields.prop_map(|fields| {
                let fields: Vec<String> = fields
                    .into_iter()
                    .enumerate()
                    .map(|(at, (name, value))| format!("\"{at}{}:{value}", &name[1..]))
                    .collect();
                format!("{{{}}}", fields.join(","))
            });
            prop_oneof![object, prop::collection::vec(inner, 0..3).prop_map(|items| format!("[{}]", items.join(",")))]
        })
    }

    #[test]
    fn one_meaning_has_one_spelling() {
        let same = |one: &str, other: &str| canonical(one).unwrap() == canonical(other).unwrap();
        assert!(same(r#"{"a": [1, {"c":null}], "b":"\u003c"}"#, r#"{"b":"<","a":[1,{"c":null}]}"#));
        assert!(
            same("1.50", "1.5") && same("1e3", "1000") && same("-0", "0") && same("2.0", "2") && same("15E-1", "1.5")
        );
        for (one, other) in [("[1,2]", "[2,1]"), ("{}", "[]"), ("1", "\"1\""), ("1", "-1"), ("10", "1"), ("[[]]", "[]")]
        {
            assert!(!same(one, other), "{one} {other}");
        }
        assert!(!same("9007199254740993", "9007199254740992"));
        assert_eq!(canonical(&format!("{}1{}", "[".repeat(100), "]".repeat(100))), None);
    }

    #[test]
    fn half_of_a_surrogate_pair_does_not_come_back() {
        for json in [r#""\ud800""#, r#"{"a":["\udc00x"]}"#, r#"{"\ud800":1}"#, r#""\ud800\ud800""#] {
            assert!(RawValue::from_string(json.to_owned()).is_ok() && !comes_back(json), "{json}");
        }
        assert!(comes_back(r#""\ud83d\udd11""#) && comes_back(r#""\\ud800""#));
    }

    #[test]
    fn numbers_that_no_float_holds_do_not_come_back() {
        for json in ["1", "-0.1", "1.50", "1e3", "9007199254740992", r#"{"a":[true,"9007199254740993",0.3]}"#, "null"] {
            assert!(comes_back(json), "{json}");
        }
        for json in ["9007199254740993", "0.1234567890123456789", "1e400", r#"{"a":[{"b":18446744073709551615}]}"#] {
            assert!(!comes_back(json), "{json}");
        }
    }

    proptest! {
        #[test]
        // So many digits a float always keeps; of a seventeenth there can be two that mean the same
        // float.
        fn fifteen_digits_come_back(digits in -999_999_999_999_999_i64..=999_999_999_999_999, exponent in -200..=200) {
            let number = format!("{digits}e{exponent}");
            prop_assert!(comes_back(&number), "{}", number);
        }

        #[test]
        fn nothing_panics(text in any::<String>()) {
            let _any = (canonical(&text), comes_back(&text));
        }

        /// What comes back has a meaning to compare it by: else it would be written again at each
        /// refresh.
        #[test]
        fn what_comes_back_has_one_spelling(json in json()) {
            if comes_back(&json) {
                prop_assert_eq!(canonical(&json), canonical(&json));
                prop_assert!(canonical(&json).is_some());
            }
        }
    }
}
