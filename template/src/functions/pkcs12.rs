//! PKCS#12 stores, which are binary, to PEM, and PEM to stores, which are written in base64.

use p12_keystore::{Certificate as Stored, KeyStore, KeyStoreEntry, Pkcs12Archive, PrivateKeyChain};
use sha1::{Digest, Sha1};
use zeroize::Zeroizing;

use super::certificates::{self, Certificate};
use super::keys::{self, PrivateKey};
use super::pem::{self, Block};
use super::{Call, Function, encoding, fixed, pkcs12_cost};
use crate::error::Problem;
use crate::value::{Type, Value};

const TEXT: Type = Type::Text;
/// As Java writes stores: the MAC, the certificates and the key take so many iterations each.
const ITERATIONS: u32 = 10_000;

pub const FUNCTIONS: &[Function] = &[
    fixed("pkcs12key", &[TEXT], |call| key_of_store(call, None, 0)),
    fixed("pkcs12keyPass", &[TEXT, TEXT], |call| key_of_store(call, Some(0), 1)),
    fixed("pkcs12cert", &[TEXT], |call| certificates_of_store(call, None, 0)),
    fixed("pkcs12certPass", &[TEXT, TEXT], |call| certificates_of_store(call, Some(0), 1)),
    fixed("pemToPkcs12", &[TEXT, TEXT], |call| store_of_leaf(call, None)),
    fixed("pemToPkcs12Pass", &[TEXT, TEXT, TEXT], |call| store_of_leaf(call, Some(2))),
    fixed("fullPemToPkcs12", &[TEXT, TEXT], |call| store_of_chain(call, None)),
    fixed("fullPemToPkcs12Pass", &[TEXT, TEXT, TEXT], |call| store_of_chain(call, Some(2))),
    fixed("pemTruststoreToPKCS12", &[TEXT], |call| truststore(call, None)),
    fixed("pemTruststoreToPKCS12Pass", &[TEXT, TEXT], |call| truststore(call, Some(1))),
];

/// The argument that is the password; empty where there is none.
fn password(call: &Call<'_>, index: Option<usize>) -> Result<Zeroizing<String>, Problem> {
    let text = index.map(|index| call.text(index)).unwrap_or_default();
    match std::str::from_utf8(&text) {
        // Keys are derived from the password again and again.
        Ok(password) if password.len() <= 1024 => Ok(Zeroizing::new(password.to_owned())),
        Ok(_) => call.refuse("the password has more than 1024 bytes"),
        Err(_) => call.refuse("the password is not UTF-8"),
    }
}

/// The key and the certificates of a store that has one key.
fn opened(call: &mut Call<'_>, password_at: Option<usize>, at: usize) -> Result<Pkcs12Archive, Problem> {
    let (password, store) = (password(call, password_at)?, call.text(at));
    if store.len() > pem::MOST_BYTES {
        return call.refuse(format!("the store has more than {} bytes", pem::MOST_BYTES));
    }
    call.purse.make(4 * store.len())?;
    pkcs12_cost::take(call, &store, &password)?;
    let Ok(archive) = Pkcs12Archive::from_pkcs12(&store, &password) else {
        return call.refuse(pkcs12_cost::WRONG);
    };
    match (archive.keys.len(), archive.certs.len()) {
        (1, 1..) => Ok(archive),
        (0, _) => call.refuse("the store has no private key"),
        (_, 0) => call.refuse("the store has no certificate"),
        _many => call.refuse("the store has several private keys"),
    }
}

fn key_of_store(call: &mut Call<'_>, password: Option<usize>, at: usize) -> Result<Value, Problem> {
    let archive = opened(call, password, at)?;
    // The crate does not wipe it.
    let key = archive.keys.first().map(|bag| bag.key.as_der()).unwrap_or_default();
    keys::take_steps(call, key.len())?;
    match PrivateKey::of_pkcs8(key) {
        Some(key) => Ok(Value::text(key.pem())),
        None => call.refuse("the private key of the store is damaged, or its kind is not supported"),
    }
}

/// From leaf to root, or as they are in the store if they are no chain.
fn certificates_of_store(call: &mut Call<'_>, password: Option<usize>, at: usize) -> Result<Value, Problem> {
    let archive = opened(call, password, at)?;
    let certificates: Option<Vec<_>> = archive.certs.iter().map(|bag| Certificate::parse(bag.cert.as_der())).collect();
    let Some(certificates) = certificates else { return call.refuse("a certificate of the store is damaged") };
    pem::check_count(call, certificates.len())?;
    let certificates = certificates::from_leaf_to_root(&certificates).unwrap_or(certificates);
    Ok(Value::text(certificates::written(&certificates)))
}

/// What follows the first certificate is ignored.
fn store_of_leaf(call: &mut Call<'_>, password: Option<usize>) -> Result<Value, Problem> {
    let text = call.text(0);
    let (blocks, _) = pem::blocks(call, &text)?;
    let Some(leaf) = blocks.get(..1) else { return call.refuse("there is no PEM block for the certificate") };
    store(call, leaf, password)
}

fn store_of_chain(call: &mut Call<'_>, password: Option<usize>) -> Result<Value, Problem> {
    let text = call.text(0);
    let blocks = only_blocks(call, &text)?;
    if blocks.is_empty() {
        return call.refuse("there is no PEM block for the certificate");
    }
    store(call, &blocks, password)
}

/// Nothing else may follow the last block, not even an empty line.
fn only_blocks(call: &mut Call<'_>, text: &[u8]) -> Result<Vec<Block>, Problem> {
    match pem::blocks(call, text)? {
        (blocks, []) => Ok(blocks),
        (_, _) => call.refuse("there is something that is no PEM block"),
    }
}

/// The first certificate is that of the key; whether it is, nobody looks.
fn store(call: &mut Call<'_>, blocks: &[Block], password_at: Option<usize>) -> Result<Value, Problem> {
    let certificates = stored(call, blocks)?;
    let text = call.text(1);
    let key = PrivateKey::of_any(call, &text)?;
    let Ok(key) = p12_keystore::PrivateKey::from_der(key.der()) else {
        return call.refuse("the private key cannot be stored");
    };
    let identifier = certificates.first().map(|leaf| Sha1::digest(leaf.as_der()).to_vec()).unwrap_or_default();
    let mut store = KeyStore::new();
    // The name that Java gives to a key without one.
    store.add_entry("1", KeyStoreEntry::PrivateKeyChain(PrivateKeyChain::new(identifier, key, certificates)));
    let password = password(call, password_at)?;
    written(call, &store, &password)
}

fn truststore(call: &mut Call<'_>, password_at: Option<usize>) -> Result<Value, Problem> {
    let text = call.text(0);
    let blocks = only_blocks(call, &text)?;
    let mut store = KeyStore::new();
    for (index, certificate) in stored(call, &blocks)?.into_iter().enumerate() {
        // A name of the store is UCS-2, and must be the only one.
        let subject = certificate.subject();
        let is_name = subject.chars().all(|character| u32::from(character) <= 0xffff) && store.entry(subject).is_none();
        let name = if is_name { subject.to_owned() } else { format!("{}", index + 1) };
        store.add_entry(&name, KeyStoreEntry::Certificate(certificate));
    }
    let password = password(call, password_at)?;
    written(call, &store, &password)
}

fn stored(call: &Call<'_>, blocks: &[Block]) -> Result<Vec<Stored>, Problem> {
    let of_block = |block: &Block| {
        certificates::parsed(&block.content)?;
        Stored::from_der(&block.content).ok()
    };
    let certificates: Option<Vec<_>> = blocks.iter().map(of_block).collect();
    certificates.map_or_else(|| call.refuse("a block is not a certificate"), Ok)
}

fn written(call: &mut Call<'_>, store: &KeyStore, password: &str) -> Result<Value, Problem> {
    call.purse.step(3 * ITERATIONS as usize)?;
    let writer = store.writer(password).encryption_iterations(ITERATIONS).mac_iterations(ITERATIONS);
    let Ok(store) = writer.write() else { return call.refuse("the store cannot be written") };
    call.purse.make(2 * store.len())?;
    Ok(Value::text(encoding::to_base64(&store)))
}
