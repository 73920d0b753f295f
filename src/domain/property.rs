//! What a consumer reads from an entry: one property, or the whole secret as JSON; and how the
//! bytes are decoded.
//!
//! A name of a spec is that of a property or, if there is none of that name, a path in gjson's
//! syntax ([`json_path`](super::json_path)) that leads into the secret.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use zeroize::Zeroizing;

use super::go_json::{self, Html};
use super::json_path::{JsonPath, PathFault};
use super::remote::{RemoteData, RemoteValue};
use super::secret::SecretBytes;

/// How the bytes of a value are decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoding {
    /// As base64, else as URL-safe base64, else not at all.
    Auto,
    /// As base64.
    Base64,
    /// As URL-safe base64.
    Base64Url,
    /// Not at all.
    Plain,
}

/// The properties that a name may select a value from, if there is none of exactly that name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// This one.
    One(String),
    /// All: the path begins with a wildcard, or looks at the secret as a whole.
    All,
}

/// The value of the property with exactly this name, else what its path selects.
///
/// # Errors
/// [`PathFault`] if there is no such property, and the path asks for more than to select a value.
pub fn pick(data: &RemoteData, name: &str) -> Result<Option<SecretBytes>, PathFault> {
    if let Some(value) = data.get(name) {
        return Ok(Some(value.rendered()));
    }
    let path = JsonPath::parse(name)?;
    let document = match path.first_name() {
        // A path that begins with a name sees no other property.
        Some(property) => data.get(property).map(|value| document(std::iter::once((property, value)))),
        None => Some(document(data.iter().map(|(property, value)| (property.as_str(), value)))),
    };
    let selected = document.as_ref().and_then(|document| path.select(document));
    Ok(selected.and_then(|selected| go_json::rendered(selected.raw(), Html::Escaped)))
}

/// An object of these properties, each as the store returned it.
fn document<'d>(properties: impl Iterator<Item = (&'d str, &'d RemoteValue)>) -> Zeroizing<String> {
    let properties: Vec<_> = properties.collect();
    let length = properties.iter().map(|(name, value)| 6 * name.len() + value.expose_json().len() + 4).sum::<usize>();
    let mut document = Zeroizing::new(String::with_capacity(length + 2));
    document.push('{');
    for (index, (name, value)) in properties.into_iter().enumerate() {
        if index > 0 {
            document.push(',');
        }
        go_json::push_string(&mut document, name, Html::Plain);
        document.push(':');
        document.push_str(value.expose_json());
    }
    document.push('}');
    document
}

/// Whether a name selects a value.
pub fn is_there(data: &RemoteData, name: &str) -> bool {
    matches!(pick(data, name), Ok(Some(_)))
}

/// The properties that a name that is a path may select from.
pub fn reach(name: &str) -> Reach {
    match JsonPath::parse(name) {
        Ok(path) => path.first_name().map_or(Reach::All, |property| Reach::One(property.to_owned())),
        // It selects nothing.
        Err(_) => Reach::One(name.to_owned()),
    }
}

/// All properties as one compact JSON object with sorted keys, escaped as Go's encoder does; `None`
/// when nested too deep.
pub fn whole(data: &RemoteData) -> Option<SecretBytes> {
    text_of(data).map(|mut text| SecretBytes::new(std::mem::take(&mut *text).into_bytes()))
}

fn text_of(data: &RemoteData) -> Option<Zeroizing<String>> {
    go_json::object(data.iter().map(|(property, value)| (property.as_str(), value.expose_json())), Html::Escaped)
}

/// The decoded bytes; `None` if they are not in the declared encoding.
pub fn decode(value: SecretBytes, decoding: Decoding) -> Option<SecretBytes> {
    match decoding {
        Decoding::Plain => Some(value),
        Decoding::Base64 => base64(&value, &STANDARD),
        Decoding::Base64Url => base64(&value, &URL_SAFE),
        Decoding::Auto => Some(base64(&value, &STANDARD).or_else(|| base64(&value, &URL_SAFE)).unwrap_or(value)),
    }
}

fn base64(value: &SecretBytes, engine: &impl Engine) -> Option<SecretBytes> {
    // Line breaks are allowed anywhere, as in PEM-like values.
    let line: Zeroizing<Vec<u8>> =
        Zeroizing::new(value.expose().iter().copied().filter(|byte| !matches!(byte, b'\n' | b'\r')).collect());
    engine.decode(&*line).ok().map(SecretBytes::new)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::value::RawValue;

    use super::*;

    fn data(json: &str) -> RemoteData {
        let values: BTreeMap<String, Box<RawValue>> = serde_json::from_str(json).unwrap();
        values.into_iter().map(|(property, value)| (property, RemoteValue::raw(value))).collect()
    }

    fn picked(json: &str, name: &str) -> Option<String> {
        pick(&data(json), name).unwrap().map(|value| value.expose_utf8().unwrap().to_owned())
    }

    #[test]
    fn a_literal_name_wins_over_a_path() {
        let json = r#"{"a.b": "literal", "a": {"b": ["x", {"c": 9007199254740993}], "d.e": true}, "tls.crt": "pem"}"#;
        for (property, value) in [
            ("a.b", Some("literal")),
            ("a.b.0", Some("x")),
            ("a.b.1.c", Some("9007199254740993")),
            (r"a.d\.e", Some("true")),
            ("tls.crt", Some("pem")),
            ("a.b.2", None),
            ("a.x", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(picked(json, property).as_deref(), value, "{property}");
        }
    }

    #[test]
    fn a_path_counts_elements_and_looks_for_them_over_several_names_too() {
        let json = r#"{"db": {"users": [{"name": "app", "level": 9007199254740993}, {"name": "ops"}]}, "dx": "<&>"}"#;
        for (path, value) in [
            ("db.users.#", "2"),
            ("db.users.#.name", r#"["app","ops"]"#),
            (r#"db.users.#(name=="ops").name"#, "ops"),
            ("db.users.#(level>1)#.level", "[9007199254740993]"),
            ("d?.users.0.name", "app"),
            ("d*|users|1", r#"{"name":"ops"}"#),
            ("?x", "<&>"),
        ] {
            assert_eq!(picked(json, path).as_deref(), Some(value), "{path}");
        }
        assert_eq!(picked(json, "db.nobody.#"), None);
    }

    #[test]
    fn what_makes_a_value_instead_of_selecting_one_is_refused_unless_a_property_has_that_name() {
        let json = r#"{"@this": "literal", "a": ["x"]}"#;
        assert_eq!(picked(json, "@this").as_deref(), Some("literal"));
        for path in ["a|@reverse", "a.@join", "{a,b}", "[a]", "!true"] {
            assert!(matches!(pick(&data(json), path), Err(PathFault::Unsupported { .. })), "{path}");
        }
    }

    #[test]
    fn a_path_reaches_into_the_property_of_its_first_name_or_into_all() {
        let one = |name: &str| Reach::One(name.to_owned());
        for (path, into) in [
            ("a", one("a")),
            ("a.b.0", one("a")),
            (r"a\.b.c", one("a.b")),
            (r"a.b\.c", one("a")),
            ("a|b", one("a")),
            ("", one("")),
            ("@this", one("@this")),
            ("a*", Reach::All),
            ("?", Reach::All),
            ("..a", Reach::All),
        ] {
            assert_eq!(reach(path), into, "{path}");
        }
    }

    proptest::proptest! {
        /// Who may read a value is judged by that.
        #[test]
        fn a_path_selects_nothing_from_beyond_its_reach(path in r"[ab.*?#|()=\\]{0,8}") {
            let json = r#"{"a": {"a": [1, {"b": 2}], "b": "a"}, "b": [{"a": "b"}, "x"], "ab": {"b": 3}}"#;
            if let (false, Reach::One(name)) = (data(json).contains_key(&path), reach(&path)) {
                let alone = data(json).into_iter().filter(|(property, _)| *property == name).collect();
                let of_all = text_of(&data(json)).unwrap();
                let selected = JsonPath::parse(&path).ok().and_then(|path| go_json::rendered(path.select(&of_all)?.raw(), Html::Escaped));
                let picked = pick(&alone, &path).ok().flatten();
                let shown = |value: Option<SecretBytes>| value.map(|value| value.expose().to_vec());
                proptest::prop_assert_eq!(shown(picked), shown(selected));
            }
        }
    }

    #[test]
    fn a_whole_secret_is_the_json_that_go_writes() {
        let secret = data(r#"{"b": {"y": 1.50, "x": [ true , null ]}, "a": "<p&w>ü\u2028\u0001"}"#);
        assert_eq!(
            whole(&secret).unwrap().expose_utf8(),
            Some(r#"{"a":"\u003cp\u0026w\u003eü\u2028\u0001","b":{"x":[true,null],"y":1.50}}"#)
        );
    }

    #[test]
    fn nesting_without_end_is_refused() {
        let deep = format!("{{\"a\": {}1{}}}", "[".repeat(100), "]".repeat(100));
        assert!(whole(&data(&deep)).is_none());
    }

    #[test]
    fn decoding_is_as_declared() {
        let decoded = |text: &str, decoding| decode(text.into(), decoding).map(|value| value.expose().to_vec());
        assert_eq!(decoded("/w==", Decoding::Base64), Some(vec![0xff]));
        assert_eq!(decoded("_w==", Decoding::Base64), None);
        assert_eq!(decoded("_w==", Decoding::Base64Url), Some(vec![0xff]));
        assert_eq!(decoded("_w==", Decoding::Auto), Some(vec![0xff]));
        assert_eq!(decoded("p@ss", Decoding::Auto), Some(b"p@ss".to_vec()));
        assert_eq!(decoded("Y\nQ==", Decoding::Base64), Some(b"a".to_vec()));
        assert_eq!(decoded("YQ==", Decoding::Plain), Some(b"YQ==".to_vec()));
    }
}
