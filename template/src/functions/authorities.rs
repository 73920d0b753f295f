//! Sprig's certificates: authorities, and what they or nobody sign.

use std::any::Any;
use std::net::IpAddr;
use std::rc::Rc;

use rand::Rng;
use rcgen::string::{Ia5String, PrintableString};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use time::{Duration, OffsetDateTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::oid_registry::OID_X509_COMMON_NAME;
use zeroize::Zeroizing;

use super::certificates::{self, Certificate};
use super::keys::{self, PrivateKey};
use super::pem::{self, Block};
use super::{Call, Function, encoding, fixed, json};
use crate::error::Problem;
use crate::value::{List, Object, Text, Type, Value};

const TEXT: Type = Type::Text;
const INT: Type = Type::Int;
const LIST: Type = Type::ANY_LIST;
const PAIR: Type = Type::Object("sprig.certificate");
/// The most days that Go's durations hold. More wraps around there.
const MOST_DAYS: i64 = 106_751;

pub const FUNCTIONS: &[Function] = &[
    fixed("buildCustomCert", &[TEXT, TEXT], build),
    fixed("genCA", &[TEXT, INT], |call| {
        let key = PrivateKey::new_rsa(call)?;
        authority(call, &key)
    }),
    fixed("genCAWithKey", &[TEXT, INT, TEXT], |call| {
        let key = key_of(call, 2)?;
        authority(call, &key)
    }),
    fixed("genSelfSignedCert", &[TEXT, LIST, LIST, INT], |call| {
        let key = PrivateKey::new_rsa(call)?;
        self_signed(call, &key)
    }),
    fixed("genSelfSignedCertWithKey", &[TEXT, LIST, LIST, INT, TEXT], |call| {
        let key = key_of(call, 4)?;
        self_signed(call, &key)
    }),
    fixed("genSignedCert", &[TEXT, LIST, LIST, INT, PAIR], |call| {
        let key = PrivateKey::new_rsa(call)?;
        signed(call, &key)
    }),
    fixed("genSignedCertWithKey", &[TEXT, LIST, LIST, INT, PAIR, TEXT], |call| {
        let key = key_of(call, 5)?;
        signed(call, &key)
    }),
];

/// A certificate with its private key, both PEM.
struct Pair {
    certificate: Text,
    key: Text,
}

impl Object for Pair {
    fn name(&self) -> &'static str {
        "sprig.certificate"
    }

    fn member(&self, name: &str, arguments: &[Value]) -> Option<Result<Value, String>> {
        let field = match name {
            "Cert" => &self.certificate,
            "Key" => &self.key,
            _ => return None,
        };
        Some(match arguments {
            [] => Ok(Value::Text(field.clone())),
            _ => Err("is a value, and takes no arguments".to_owned()),
        })
    }

    fn print(&self) -> Vec<u8> {
        [b"{", &*self.certificate, b" ", &*self.key, b"}"].concat()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn json(&self) -> Vec<u8> {
        let mut text = b"{\"Cert\":".to_vec();
        json::push_string(&mut text, &self.certificate, true);
        text.extend_from_slice(b",\"Key\":");
        json::push_string(&mut text, &self.key, true);
        text.push(b'}');
        text
    }
}

fn pair(certificate: Text, key: Text) -> Value {
    Value::Object(Rc::new(Pair { certificate, key }))
}

fn key_of(call: &mut Call<'_>, index: usize) -> Result<PrivateKey, Problem> {
    let text = call.text(index);
    PrivateKey::of_type(call, &text)
}

/// Both texts stay as they are, if their first blocks are a certificate and a private key.
fn build(call: &mut Call<'_>) -> Result<Value, Problem> {
    let (certificate, key) = (call.text(0), call.text(1));
    call.purse.make(certificate.len() + key.len())?;
    let Some(certificate) = encoding::base64(&certificate).map(Text::new) else {
        return call.refuse("the certificate is not base64");
    };
    let Some(key) = encoding::base64(&key).map(Text::new) else { return call.refuse("the private key is not base64") };
    first_certificate(call, &certificate)?;
    PrivateKey::of_type(call, &key)?;
    Ok(pair(certificate, key))
}

fn first_certificate(call: &mut Call<'_>, text: &[u8]) -> Result<Certificate, Problem> {
    let (blocks, _) = pem::blocks(call, text)?;
    match blocks.first().and_then(|block| Certificate::parse(&block.content)) {
        Some(certificate) => Ok(certificate),
        None => call.refuse("the first PEM block is not a certificate"),
    }
}

fn authority(call: &mut Call<'_>, key: &PrivateKey) -> Result<Value, Problem> {
    let mut params = params(call, 1)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages.push(KeyUsagePurpose::KeyCertSign);
    let signer = signer(call, key)?;
    finished(call, params.self_signed(&*signer), key)
}

fn self_signed(call: &mut Call<'_>, key: &PrivateKey) -> Result<Value, Problem> {
    let params = named_params(call)?;
    let signer = signer(call, key)?;
    finished(call, params.self_signed(&*signer), key)
}

fn signed(call: &mut Call<'_>, key: &PrivateKey) -> Result<Value, Problem> {
    let parent = call.value(4);
    let Value::Object(object) = &parent else { return call.refuse("takes a certificate that signs") };
    let Some(parent) = object.as_any().downcast_ref::<Pair>() else {
        return call.refuse("takes a certificate that signs");
    };
    let of_parent = first_certificate(call, &parent.certificate)?;
    let parent_key = PrivateKey::of_type(call, &parent.key)?;
    let mut params = named_params(call)?;
    let (subject, signing) = (signer(call, key)?, signer(call, &parent_key)?);
    let Some(parent) = certificates::parsed(&of_parent.der) else {
        return call.refuse("the signing certificate is damaged");
    };
    if *parent.public_key().subject_public_key.data != *signing.der_bytes() {
        return call.refuse("the signing certificate has another key than the one it comes with");
    }
    let Ok(issuer) = Issuer::from_ca_cert_der(&of_parent.der.as_slice().into(), &*signing) else {
        return call.refuse("nothing can be signed with this certificate");
    };
    params.use_authority_key_identifier_extension = of_parent.has_key_identifier() && !is_named(&parent, &params);
    let certificate = params.signed_by(&*subject, &issuer);
    // A name with two parts of one type, such as DC, would lose one, and the chain would be broken.
    let keeps_issuer =
        |der: &[u8]| certificates::parsed(der).is_some_and(|made| made.issuer().as_raw() == parent.subject().as_raw());
    if certificate.as_ref().is_ok_and(|certificate| !keeps_issuer(certificate.der())) {
        return call.refuse("the name of the signing certificate has several parts of one type");
    }
    finished(call, certificate, key)
}

/// Whether both have the same name: then Go takes the new one for self-signed, and does not name
/// its issuer's key.
fn is_named(parent: &X509Certificate<'_>, params: &CertificateParams) -> bool {
    let mut names = parent.subject().iter_attributes();
    let name = match params.distinguished_name.get(&DnType::CommonName) {
        Some(DnValue::PrintableString(name)) => Some(name.as_str()),
        Some(DnValue::Utf8String(name)) => Some(name.as_str()),
        Some(_) | None => None,
    };
    match (names.next(), name) {
        (None, None) => true,
        (Some(only), Some(name)) if names.next().is_none() => {
            *only.attr_type() == OID_X509_COMMON_NAME && only.as_str() == Ok(name)
        }
        (_, _) => false,
    }
}

/// As PEM, with the key in the form of its kind.
fn finished(
    call: &Call<'_>,
    certificate: Result<rcgen::Certificate, rcgen::Error>,
    key: &PrivateKey,
) -> Result<Value, Problem> {
    match (certificate, key.own_pem()) {
        (Ok(certificate), Some(key)) => {
            let certificate = Block::new(certificates::CERTIFICATE, certificate.der()).text();
            Ok(pair(Text::new(certificate), Text::new(key)))
        }
        (Err(_), _) | (_, None) => call.refuse("the certificate cannot be made from these texts"),
    }
}

/// The crate takes no RSA keys below 2048 bits.
fn signer(call: &mut Call<'_>, key: &PrivateKey) -> Result<Zeroizing<KeyPair>, Problem> {
    keys::take_steps(call, key.der().len())?;
    match KeyPair::try_from(key.der()) {
        Ok(pair) => Ok(Zeroizing::new(pair)),
        Err(_) => call.refuse("the private key cannot sign: take RSA from 2048 bits, P-256, P-384, P-521 or Ed25519"),
    }
}

/// Of what is no authority, with its alternative names.
fn named_params(call: &mut Call<'_>) -> Result<CertificateParams, Problem> {
    let (addresses, names) = (call.list(1), call.list(2));
    let mut params = params(call, 3)?;
    for name in texts(call, &names)? {
        let Some(name) = utf8(&name).and_then(|name| Ia5String::try_from(name).ok()) else {
            return call.refuse("a DNS name has other characters than ASCII's");
        };
        params.subject_alt_names.push(SanType::DnsName(name));
    }
    for address in texts(call, &addresses)? {
        let Some(address) = utf8(&address).and_then(|address| address.parse::<IpAddr>().ok()) else {
            return call.refuse("what should be an IP address is none");
        };
        params.subject_alt_names.push(SanType::IpAddress(address.to_canonical()));
    }
    // Go says that it is no authority; the crate can only do so together with a key identifier.
    let mut no_authority = CustomExtension::from_oid_content(&[2, 5, 29, 19], vec![0x30, 0]);
    no_authority.set_criticality(true);
    params.custom_extensions.push(no_authority);
    Ok(params)
}

fn params(call: &mut Call<'_>, days: usize) -> Result<CertificateParams, Problem> {
    let name = call.text(0);
    let Some(name) = utf8(&name) else { return call.refuse("the name is not UTF-8") };
    let days = call.int(days);
    if days.abs() > MOST_DAYS {
        return call.refuse(format!("a certificate is valid for {MOST_DAYS} days at most"));
    }
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    if !name.is_empty() {
        let value = PrintableString::try_from(name).map_or_else(|_| name.into(), DnValue::PrintableString);
        params.distinguished_name.push(DnType::CommonName, value);
    }
    let mut serial = [0; 16];
    rand::rng().fill_bytes(&mut serial);
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.not_before = OffsetDateTime::now_utc();
    params.not_after = params.not_before + Duration::days(days);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params)
}

fn texts(call: &mut Call<'_>, list: &List) -> Result<Vec<Text>, Problem> {
    call.purse.step(list.len())?;
    let texts: Option<Vec<Text>> = list.iter().map(|value| value.as_text().cloned()).collect();
    texts.map_or_else(|| call.refuse("the alternative names must be texts"), Ok)
}

fn utf8(text: &[u8]) -> Option<&str> {
    std::str::from_utf8(text).ok()
}
