//! Private keys: those that Sprig makes, the forms in which others come, and what RSA decrypts.

use aws_lc_rs::encoding::{AsDer, EcPrivateKeyRfc5915Der, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair,
};
use rsa::pkcs1::DecodeRsaPrivateKey;
use rsa::pkcs8::{DecodePrivateKey, EncodePrivateKey, PrivateKeyInfoRef};
use rsa::traits::PublicKeyParts;
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use zeroize::Zeroizing;

use super::pem::{self, Block};
use super::{Call, Function, fixed};
use crate::error::Problem;
use crate::value::{Type, Value};

const TEXT: Type = Type::Text;
/// What a step of the budget stands for takes about a microsecond. How long it takes to find
/// primes is chance; these are about the mean.
const RSA_2048_STEPS: usize = 100_000;
const RSA_4096_STEPS: usize = 400_000;
/// The most bytes of a private key: RSA with 8192 bits has 4 700. The crate that reads keys bounds
/// public ones only.
const MOST_KEY_BYTES: usize = 6 << 10;
/// The most bytes of an RSA modulus.
const MOST_MODULUS_BYTES: usize = 1 << 10;

pub const FUNCTIONS: &[Function] =
    &[fixed("genPrivateKey", &[TEXT], generate), fixed("rsaDecrypt", &[TEXT, TEXT, TEXT, TEXT], rsa_decrypt)];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rsa,
    Ec(&'static EcdsaSigningAlgorithm),
    Ed25519,
}

/// A private key of which all is valid, in PKCS#8.
pub struct PrivateKey {
    kind: Kind,
    pkcs8: Zeroizing<Vec<u8>>,
}

impl PrivateKey {
    /// A new RSA key of 2048 bits.
    pub fn new_rsa(call: &mut Call<'_>) -> Result<Self, Problem> {
        call.purse.step(RSA_2048_STEPS)?;
        Self::rsa_of(call, KeySize::Rsa2048)
    }

    fn rsa_of(call: &Call<'_>, size: KeySize) -> Result<Self, Problem> {
        let der = KeyPair::generate(size).and_then(|pair| AsDer::<Pkcs8V1Der<'_>>::as_der(&pair));
        match der {
            Ok(der) => Ok(PrivateKey::of(Kind::Rsa, der.as_ref())),
            Err(_) => call.refuse("no RSA key can be made now"),
        }
    }

    fn of(kind: Kind, pkcs8: &[u8]) -> Self {
        PrivateKey { kind, pkcs8: Zeroizing::new(pkcs8.to_vec()) }
    }

    fn of_rsa(key: &rsa::PrivateKey) -> Option<Self> {
        if key.size() > MOST_MODULUS_BYTES {
            return None;
        }
        Some(PrivateKey::of(Kind::Rsa, key.to_pkcs8_der().ok()?.as_bytes()))
    }

    pub fn of_ec(key: &EcdsaKeyPair) -> Option<Self> {
        Some(PrivateKey::of(Kind::Ec(key.algorithm()), key.to_pkcs8v1().ok()?.as_ref()))
    }

    pub fn of_ed25519(key: &Ed25519KeyPair) -> Option<Self> {
        let der: Pkcs8V1Der<'_> = key.as_der().ok()?;
        Some(PrivateKey::of(Kind::Ed25519, der.as_ref()))
    }

    /// From the numbers of an RSA key: the modulus, both exponents and both primes.
    pub fn of_rsa_numbers([n, e, d, p, q]: [&[u8]; 5]) -> Option<Self> {
        if n.len() > MOST_MODULUS_BYTES {
            return None;
        }
        let bits = u32::try_from(n.len().checked_mul(8)?).ok()?;
        // Some libraries write a zero first, as if there were a sign.
        let first = |bytes: &[u8]| bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
        let secret = |bytes: &[u8]| rsa::BoxedUint::from_be_slice(&bytes[first(bytes)..], bits).ok();
        let (n, e) = (rsa::BoxedUint::from_be_slice_vartime(n), rsa::BoxedUint::from_be_slice_vartime(e));
        let key = rsa::PrivateKey::from_components(n, e, secret(d)?, vec![secret(p)?, secret(q)?]).ok()?;
        PrivateKey::of_rsa(&key)
    }

    /// From PKCS#8, of which the caller bounds the size.
    pub fn of_pkcs8(der: &[u8]) -> Option<Self> {
        const RSA: &str = "1.2.840.113549.1.1.1";
        const EC: &str = "1.2.840.10045.2.1";
        const ED25519: &str = "1.3.101.112";
        match &*PrivateKeyInfoRef::try_from(der).ok()?.algorithm.oid.to_string() {
            RSA => PrivateKey::of_rsa(&rsa::PrivateKey::from_pkcs8_der(der).ok()?),
            EC => ec_key(der),
            ED25519 => PrivateKey::of_ed25519(&Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok()?),
            _other => None,
        }
    }

    fn of_pkcs1(der: &[u8]) -> Option<Self> {
        PrivateKey::of_rsa(&rsa::PrivateKey::from_pkcs1_der(der).ok()?)
    }

    fn of_sec1(der: &[u8]) -> Option<Self> {
        match PrivateKeyInfoRef::try_from(der) {
            Ok(_) => None,
            Err(_) => ec_key(der),
        }
    }

    /// The first block of a text, read by its content, whatever its type says.
    pub fn of_any(call: &mut Call<'_>, text: &[u8]) -> Result<Self, Problem> {
        let block = first_block(call, text)?;
        let der = &block.content;
        match Self::of_pkcs1(der).or_else(|| Self::of_pkcs8(der)).or_else(|| Self::of_sec1(der)) {
            Some(key) => Ok(key),
            None => call.refuse("the private key is neither PKCS#1, PKCS#8 nor SEC 1, or its kind is not supported"),
        }
    }

    /// The first block of a text, read as its type says.
    pub fn of_type(call: &mut Call<'_>, text: &[u8]) -> Result<Self, Problem> {
        let block = first_block(call, text)?;
        let key = match &*block.kind {
            b"PRIVATE KEY" => Self::of_pkcs8(&block.content),
            b"RSA PRIVATE KEY" => Self::of_pkcs1(&block.content),
            b"EC PRIVATE KEY" => Self::of_sec1(&block.content),
            b"DSA PRIVATE KEY" => return call.refuse("keys for DSA are not supported"),
            _other => return call.refuse("the first PEM block is no private key of a known type"),
        };
        key.map_or_else(|| call.refuse("the private key is not what its PEM type says"), Ok)
    }

    /// In PKCS#8.
    pub fn der(&self) -> &[u8] {
        &self.pkcs8
    }

    /// In PKCS#8, as PEM.
    pub fn pem(&self) -> Vec<u8> {
        Block::new("PRIVATE KEY", &self.pkcs8).text()
    }

    /// In the form of its own kind, as Sprig writes it; `None` never, since the key is valid.
    pub fn own_pem(&self) -> Option<Vec<u8>> {
        let block = match self.kind {
            Kind::Rsa => {
                let info = PrivateKeyInfoRef::try_from(&**self.pkcs8).ok()?;
                Block::new("RSA PRIVATE KEY", info.private_key.as_bytes())
            }
            Kind::Ec(algorithm) => {
                let pair = EcdsaKeyPair::from_pkcs8(algorithm, &self.pkcs8).ok()?;
                let der: EcPrivateKeyRfc5915Der<'_> = pair.private_key().as_der().ok()?;
                Block::new("EC PRIVATE KEY", der.as_ref())
            }
            Kind::Ed25519 => return Some(self.pem()),
        };
        Some(block.text())
    }
}

/// An elliptic-curve key in PKCS#8 or SEC 1, on one of the curves that Go has as well.
fn ec_key(der: &[u8]) -> Option<PrivateKey> {
    let curves = [&ECDSA_P256_SHA256_ASN1_SIGNING, &ECDSA_P384_SHA384_ASN1_SIGNING, &ECDSA_P521_SHA512_ASN1_SIGNING];
    let key = curves.into_iter().find_map(|curve| EcdsaKeyPair::from_private_key_der(curve, der).ok())?;
    PrivateKey::of_ec(&key)
}

/// Takes what it costs to read or use a private key of so many bytes: RSA grows with their cube.
pub fn take_steps(call: &mut Call<'_>, bytes: usize) -> Result<(), Problem> {
    call.purse.step(1_000 + bytes.saturating_pow(3) / 400_000)
}

fn first_block(call: &mut Call<'_>, text: &[u8]) -> Result<Block, Problem> {
    if text.len() > pem::MOST_BYTES {
        return call.refuse(format!("the text has more than {} bytes", pem::MOST_BYTES));
    }
    call.purse.make(text.len())?;
    match pem::first(text) {
        Some((block, _)) if block.content.len() > MOST_KEY_BYTES => {
            call.refuse(format!("the private key has more than {MOST_KEY_BYTES} bytes"))
        }
        Some((block, _)) => {
            take_steps(call, block.content.len())?;
            Ok(block)
        }
        None => call.refuse("there is no PEM block for the private key"),
    }
}

fn generate(call: &mut Call<'_>) -> Result<Value, Problem> {
    let kind = call.text(0);
    let key = match &*kind {
        b"" | b"rsa" => {
            call.purse.step(RSA_4096_STEPS)?;
            Some(PrivateKey::rsa_of(call, KeySize::Rsa4096)?)
        }
        b"ecdsa" => EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).ok().as_ref().and_then(PrivateKey::of_ec),
        b"ed25519" => Ed25519KeyPair::generate().ok().as_ref().and_then(PrivateKey::of_ed25519),
        // DSA is withdrawn (FIPS 186-5), and no crate that is kept makes keys for it.
        b"dsa" => return call.refuse("keys for DSA are not supported: take rsa, ecdsa or ed25519"),
        _other => return Ok(Value::text([b"Unknown type ", &*kind].concat())),
    };
    match key.and_then(|key| key.own_pem()) {
        Some(text) => Ok(Value::text(text)),
        None => call.refuse("no key can be made now"),
    }
}

/// Hands the text on for the scheme `None`. A hash that it does not know is SHA-256.
fn rsa_decrypt(call: &mut Call<'_>) -> Result<Value, Problem> {
    let (scheme, hash, cipher, key) = (call.text(0), call.text(1), call.text(2), call.text(3));
    match &*scheme {
        b"None" => return Ok(Value::Text(cipher)),
        b"RSA-OAEP" => {}
        _other => return call.refuse("the scheme is neither None nor RSA-OAEP"),
    }
    let key = PrivateKey::of_any(call, &key)?;
    if key.kind != Kind::Rsa {
        return call.refuse("the private key is not for RSA");
    }
    take_steps(call, key.der().len())?;
    let Ok(key) = rsa::PrivateKey::from_pkcs8_der(key.der()) else { return call.refuse("the private key is damaged") };
    let plain = match &*hash {
        b"SHA1" => key.oaep_decrypt::<Sha1>(&cipher),
        b"SHA512" => key.oaep_decrypt::<Sha512>(&cipher),
        _sha256 => key.oaep_decrypt::<Sha256>(&cipher),
    };
    match plain {
        Ok(plain) => Ok(Value::text(plain)),
        // One answer for all causes: what is wrong with a ciphertext is nobody's business.
        Err(_) => call.refuse("the text cannot be decrypted with this key and hash"),
    }
}
