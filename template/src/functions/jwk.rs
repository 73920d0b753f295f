//! JSON Web Keys to PEM: RSA, the NIST curves, and Ed25519.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA384_ASN1_SIGNING,
    ECDSA_P521_SHA512_ASN1, ECDSA_P521_SHA512_ASN1_SIGNING, ED25519, EcdsaKeyPair, EcdsaSigningAlgorithm,
    EcdsaVerificationAlgorithm, Ed25519KeyPair, ParsedPublicKey, VerificationAlgorithm,
};
use rsa::pkcs8::EncodePublicKey;
use zeroize::Zeroizing;

use super::keys::{self, PrivateKey};
use super::pem::Block;
use super::{Call, Function, encoding, fixed, json};
use crate::error::Problem;
use crate::value::{Map, Type, Value};

/// No key is nearly as large.
const MOST_BYTES: usize = 64 << 10;

pub const FUNCTIONS: &[Function] = &[
    fixed("jwkPublicKeyPem", &[Type::Text], |call| {
        let key = Key::of(call)?;
        if key.is_private() {
            return call.refuse("the key is private: a public one is wanted");
        }
        match key.public() {
            Some(der) => Ok(Value::text(Block::new("PUBLIC KEY", &der).text())),
            None => call.refuse(key.fault()),
        }
    }),
    fixed("jwkPrivateKeyPem", &[Type::Text], |call| {
        let key = Key::of(call)?;
        if !key.is_private() {
            return call.refuse("the key is public: a private one is wanted");
        }
        match key.private() {
            Some(key) => Ok(Value::text(key.pem())),
            None => call.refuse(key.fault()),
        }
    }),
];

/// The members of a key, unchecked.
struct Key(Map);

struct Curve {
    signing: &'static EcdsaSigningAlgorithm,
    verification: &'static EcdsaVerificationAlgorithm,
    /// Bytes of a coordinate.
    size: usize,
}

impl Key {
    fn of(call: &mut Call<'_>) -> Result<Self, Problem> {
        let text = call.text(0);
        if text.len() > MOST_BYTES {
            return call.refuse(format!("the key has more than {MOST_BYTES} bytes"));
        }
        match json::read(&text, call.purse)? {
            Some(Value::Map(map)) => {
                let key = Key(map);
                // A private key is nearly five times as large as its modulus.
                keys::take_steps(call, 5 * key.bytes("n").map_or(0, |modulus| modulus.len()))?;
                Ok(key)
            }
            Some(_) | None => call.refuse("the text is no JSON object"),
        }
    }

    fn is_private(&self) -> bool {
        self.0.get(b"d").is_some()
    }

    fn text(&self, member: &str) -> Option<Vec<u8>> {
        Some(self.0.get(member.as_bytes())?.as_text()?.to_vec())
    }

    /// The bytes of a member: base64 for URLs, or the common one, as the library of Go takes it.
    fn bytes(&self, member: &str) -> Option<Zeroizing<Vec<u8>>> {
        let member = self.0.get(member.as_bytes())?;
        let member = member.as_text()?;
        // Large enough from the start, so that no copy is left behind.
        let mut text = Zeroizing::new(Vec::with_capacity(member.len() + 3));
        text.extend(member.iter().filter(|byte| !matches!(byte, b'\r' | b'\n')).map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            other => *other,
        }));
        while !text.len().is_multiple_of(4) {
            text.push(b'=');
        }
        encoding::base64(&text).map(Zeroizing::new)
    }

    /// A number in so many bytes.
    fn padded(&self, member: &str, size: usize) -> Option<Zeroizing<Vec<u8>>> {
        let bytes = self.bytes(member)?;
        let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
        let zeros = size.checked_sub(bytes.len() - first)?;
        Some(Zeroizing::new([&vec![0; zeros][..], &bytes[first..]].concat()))
    }

    fn curve(&self) -> Option<Curve> {
        let (signing, verification, size) = match &*self.text("crv")? {
            b"P-256" => (&ECDSA_P256_SHA256_ASN1_SIGNING, &ECDSA_P256_SHA256_ASN1, 32),
            b"P-384" => (&ECDSA_P384_SHA384_ASN1_SIGNING, &ECDSA_P384_SHA384_ASN1, 48),
            b"P-521" => (&ECDSA_P521_SHA512_ASN1_SIGNING, &ECDSA_P521_SHA512_ASN1, 66),
            _other => return None,
        };
        Some(Curve { signing, verification, size })
    }

    /// The uncompressed point.
    fn point(&self, size: usize) -> Option<Vec<u8>> {
        Some([&[4], &**self.padded("x", size)?, &**self.padded("y", size)?].concat())
    }

    fn is_ed25519(&self) -> bool {
        self.text("crv").is_some_and(|curve| curve == b"Ed25519")
    }

    fn public(&self) -> Option<Vec<u8>> {
        match &*self.text("kty")? {
            b"RSA" => {
                let number = |member| Some(rsa::BoxedUint::from_be_slice_vartime(&self.bytes(member)?));
                let key = rsa::PublicKey::new(number("n")?, number("e")?).ok()?;
                Some(key.to_public_key_der().ok()?.into_vec())
            }
            b"EC" => {
                let curve = self.curve()?;
                subject_public_key(curve.verification, &self.point(curve.size)?)
            }
            b"OKP" if self.is_ed25519() => subject_public_key(&ED25519, &self.bytes("x")?),
            _other => None,
        }
    }

    fn private(&self) -> Option<PrivateKey> {
        match &*self.text("kty")? {
            b"RSA" => {
                let [n, e, d, p, q] = ["n", "e", "d", "p", "q"].map(|member| self.bytes(member));
                PrivateKey::of_rsa_numbers([&n?, &e?, &d?, &p?, &q?])
            }
            b"EC" => {
                let curve = self.curve()?;
                let (number, point) = (self.padded("d", curve.size)?, self.point(curve.size)?);
                let key = EcdsaKeyPair::from_private_key_and_public_key(curve.signing, &number, &point).ok()?;
                PrivateKey::of_ec(&key)
            }
            b"OKP" if self.is_ed25519() => {
                let (seed, public) = (self.bytes("d")?, self.bytes("x")?);
                PrivateKey::of_ed25519(&Ed25519KeyPair::from_seed_and_public_key(&seed, &public).ok()?)
            }
            _other => None,
        }
    }

    /// Why it could not be read.
    fn fault(&self) -> &'static str {
        match self.text("kty").as_deref() {
            Some(b"RSA") => "a member of the RSA key is missing or wrong",
            Some(b"EC") => "a member of the EC key is missing or wrong; the curves are P-256, P-384 and P-521",
            Some(b"OKP") => "a member of the OKP key is missing or wrong; the curve is Ed25519",
            Some(_) | None => "\"kty\" is neither RSA, EC nor OKP",
        }
    }
}

/// A public key that is valid, as a certificate holds it.
fn subject_public_key(algorithm: &'static dyn VerificationAlgorithm, key: &[u8]) -> Option<Vec<u8>> {
    let der: PublicKeyX509Der<'_> = ParsedPublicKey::new(algorithm, key).ok()?.as_der().ok()?;
    Some(der.as_ref().to_vec())
}
