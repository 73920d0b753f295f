//! Bounds of the functions for passwords, keys and certificates (S13), and that their errors quote
//! nothing. What they give is compared with Go's answers in `oracle/main.rs`.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use p12_keystore::{Certificate, KeyStore, KeyStoreEntry};
use waypost_template::{Budget, Data, Template};

fn pem(file: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/pem").join(file)).unwrap()
}

fn rendered(template: &str, value: &[u8]) -> Result<Vec<u8>, String> {
    let data = Data::of([("value", value), ("key", &pem("ec-sec1.key"))]);
    let template = Template::parse(template).map_err(|fault| fault.to_string())?;
    template.render(&data, Budget::default()).map(|text| text.to_vec()).map_err(|fault| fault.to_string())
}

fn refused(template: &str, value: &[u8]) -> String {
    rendered(template, value).expect_err(template)
}

#[test]
fn a_text_has_at_most_a_hundred_blocks_and_a_mebibyte() {
    let leaf = pem("ec-leaf.crt");
    let filter = "{{ filterPEM \"CERTIFICATE\" .value | len }}";
    assert!(rendered(filter, &leaf.repeat(100)).is_ok());
    for function in ["filterPEM", "filterCertChain"] {
        let template = format!("{{{{ {function} \"leaf\" .value }}}}");
        assert!(refused(&template, &leaf.repeat(101)).contains("more than 100"));
        assert!(refused(&template, &vec![b'x'; (1 << 20) + 1]).contains("more than 1048576 bytes"));
    }
    for function in ["certSANs", "pemTruststoreToPKCS12", "jwkPublicKeyPem", "pkcs12key"] {
        let template = format!("{{{{ {function} .value }}}}");
        assert!(refused(&template, &vec![b'x'; (1 << 20) + 1]).contains("bytes"));
    }
}

#[test]
fn a_store_says_in_vain_that_it_takes_hours() {
    let mut store = KeyStore::new();
    let leaf = STANDARD.decode(pem_body(&pem("ec-leaf.crt"))).unwrap();
    store.add_entry("leaf", KeyStoreEntry::Certificate(Certificate::from_der(&leaf).unwrap()));
    let slow = store.writer("").encryption_iterations(1).mac_iterations(500_001).write().unwrap();
    assert!(refused("{{ pkcs12cert .value }}", &slow).contains("more than 500000 iterations"));
    let long = "{{ pkcs12certPass (repeat 1025 \"x\") .value }}";
    assert!(refused(long, &pem("ec-modern.p12")).contains("more than 1024 bytes"));
}

fn pem_body(text: &[u8]) -> String {
    String::from_utf8_lossy(text).lines().filter(|line| !line.starts_with('-')).collect()
}

#[test]
fn what_takes_long_takes_much_of_the_budget() {
    for (once, count) in [
        ("genPrivateKey \"rsa\"", 3),
        ("genCA \"x\" 1", 12),
        ("bcrypt \"x\"", 60),
        ("derivePassword 1 \"pin\" \"a\" \"b\" \"c\"", 25),
        ("pemTruststoreToPKCS12 \"\"", 40),
    ] {
        let data = Data::of([]);
        let budget = Budget { steps: 1_000_000 / count, ..Budget::default() };
        let template = Template::parse(format!("{{{{ {once} | print | trunc 0 }}}}")).unwrap();
        let fault = template.render(&data, budget).expect_err(once);
        assert!(fault.to_string().contains("steps"), "{once}: {fault}");
    }
    let long = refused("{{ randAlphaNum 2000000 }}", b"");
    assert!(long.contains("steps"), "{long}");
    assert!(refused("{{ randBytes 9000000 }}", b"").contains("bytes"));
}

#[test]
fn a_key_is_no_larger_than_one_can_be() {
    let block = |bytes| {
        format!("-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----\n", STANDARD.encode(vec![7; bytes]))
    };
    let decrypt = "{{ rsaDecrypt \"RSA-OAEP\" \"\" \"\" .value }}";
    assert!(refused(decrypt, block(6145).as_bytes()).contains("more than 6144 bytes"));
    assert!(refused(decrypt, block(6144).as_bytes()).contains("neither"));
    let number = "A".repeat(40_000);
    let jwk = format!("{{\"kty\":\"RSA\",\"n\":\"{number}\",\"e\":\"AQAB\"}}");
    assert!(refused("{{ jwkPublicKeyPem .value }}", jwk.as_bytes()).contains("steps"));
}

#[test]
fn numbers_of_a_jwk_may_begin_with_zeros_and_have_line_breaks() {
    let jwk = String::from_utf8(pem("rsa-private.jwk")).unwrap();
    let mut members: serde_json::Value = serde_json::from_str(&jwk).unwrap();
    for member in ["d", "p", "n"] {
        let number = members[member].as_str().unwrap();
        let plain =
            STANDARD.decode(number.replace('-', "+").replace('_', "/") + &"=".repeat((4 - number.len() % 4) % 4));
        let longer = STANDARD.encode([vec![0], plain.unwrap()].concat());
        members[member] = format!("{}\n", longer.trim_end_matches('=')).into();
    }
    let key = rendered("{{ jwkPrivateKeyPem .value }}", members.to_string().as_bytes());
    assert_eq!(key.unwrap(), pem("rsa-pkcs8.key"));
}

#[test]
fn certificates_are_of_what_they_say() {
    let chain = "{{ $ca := genCAWithKey \"root\" 9 .key }}{{ $leaf := genSignedCertWithKey \"leaf\" \
                 (list \"::ffff:10.0.0.1\") nil 9 $ca .key }}{{ certSANs $leaf.Cert }}{{ $ca.Cert | len | lt 300 }}";
    assert_eq!(rendered(chain, b"").unwrap(), b"[10.0.0.1]true");
    let print = "{{ $ca := genCAWithKey \"root\" 9 .key }}{{ eq (print $ca) (printf \"{%s %s}\" $ca.Cert $ca.Key) }}";
    assert_eq!(rendered(print, b"").unwrap(), b"true");
    let other = "{{ $ca := buildCustomCert (b64enc .value) (b64enc .key) }}{{ genSignedCertWithKey \"leaf\" nil nil 9 $ca .key }}";
    assert!(refused(other, &pem("rsa-leaf.crt")).contains("another key"));
    assert!(refused("{{ genCAWithKey \"x\" 106752 .key }}", b"").contains("106751 days"));
    assert!(refused("{{ genPrivateKey \"dsa\" }}", b"").contains("DSA"));
}

#[test]
fn errors_quote_no_value() {
    let secret = b"hunter2";
    for template in [
        "{{ decryptAES .value .value }}",
        "{{ genCAWithKey \"x\" 1 .value }}",
        "{{ genSelfSignedCertWithKey \"x\" (list .value) nil 1 .key }}",
        "{{ buildCustomCert .value .value }}",
        "{{ jwkPrivateKeyPem .value }}",
        "{{ jwkPrivateKeyPem (printf \"{\\\"kty\\\":\\\"%s\\\",\\\"d\\\":\\\"%s\\\"}\" .value .value) }}",
        "{{ pkcs12keyPass .value .value }}",
        "{{ pemToPkcs12 .value .value }}",
        "{{ rsaDecrypt .value \"\" \"\" \"\" }}",
        "{{ rsaDecrypt \"RSA-OAEP\" .value .value .value }}",
        "{{ filterPEM \"X\" .value }}",
        "{{ filterCertChain .value .value }}",
    ] {
        let fault = refused(template, secret);
        assert!(!fault.contains("hunter2"), "{template}: {fault}");
    }
}
