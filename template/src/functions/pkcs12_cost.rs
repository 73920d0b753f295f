//! What a PKCS#12 store costs to open. A store says itself how often a password is hashed, once
//! for each of its parts, so a small one can keep a processor busy for hours. Its iterations are
//! added up before the crate that opens it sees it.

use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockCipherDecrypt, BlockModeDecrypt, KeyInit, KeyIvInit};
use des::TdesEde3;
use pkcs5::pbes2;
use pkcs12::cms::content_info::ContentInfo;
use pkcs12::cms::encrypted_data::EncryptedData;
use pkcs12::kdf::{self, Pkcs12KeyType};
use pkcs12::pbe_params::{EncryptedPrivateKeyInfo, Pkcs12PbeParams};
use pkcs12::safe_bag::SafeContents;
use pkcs12::{AuthenticatedSafe, Pfx};
use rc2::Rc2;
use rsa::pkcs8::der::asn1::{ContextSpecific, OctetString};
use rsa::pkcs8::der::{Decode, Encode};
use rsa::pkcs8::spki::AlgorithmIdentifierOwned;
use sha1::Sha1;
use zeroize::Zeroizing;

use super::Call;
use crate::error::Problem;

pub const WRONG: &str = "the password is wrong, or the text is no PKCS#12 store of a supported kind";
/// The most iterations of all parts together. Java takes 10 000 for each, OpenSSL 2 048.
const MOST_ITERATIONS: u32 = 500_000;
/// The most parts: more keys and certificates than any chain has.
const MOST_BAGS: usize = 1_000;

const DATA: &str = "1.2.840.113549.1.7.1";
const ENCRYPTED_DATA: &str = "1.2.840.113549.1.7.6";
const PBES2: &str = "1.2.840.113549.1.5.13";

/// Takes the iterations of a store out of the budget, a step each; an error if they are too many.
pub fn take(call: &mut Call<'_>, store: &[u8], password: &str) -> Result<(), Problem> {
    let mut cost = Cost { left: MOST_ITERATIONS, bags: MOST_BAGS };
    let fault = cost.of_store(store, password).err();
    call.purse.step((MOST_ITERATIONS - cost.left) as usize)?;
    match fault {
        None => Ok(()),
        Some(Fault::Wrong) => call.refuse(WRONG),
        Some(Fault::TooMuch) => {
            call.refuse(format!("the store takes more than {MOST_ITERATIONS} iterations, or has too many parts"))
        }
    }
}

#[derive(Debug, PartialEq)]
enum Fault {
    Wrong,
    TooMuch,
}

/// What is left.
struct Cost {
    left: u32,
    bags: usize,
}

impl Cost {
    fn of_store(&mut self, store: &[u8], password: &str) -> Result<(), Fault> {
        let store = Pfx::from_der(store).map_err(|_| Fault::Wrong)?;
        if let Some(mac) = &store.mac_data {
            self.spend(mac.iterations)?;
        }
        for safe in AuthenticatedSafe::from_der(&octets(&store.auth_safe)?).map_err(|_| Fault::Wrong)? {
            self.of_safe(&safe, password)?;
        }
        Ok(())
    }

    fn of_safe(&mut self, safe: &ContentInfo, password: &str) -> Result<(), Fault> {
        match &*safe.content_type.to_string() {
            DATA => self.of_bags(&octets(safe)?),
            ENCRYPTED_DATA => {
                let content = safe.content.to_der().and_then(|der| EncryptedData::from_der(&der));
                let content = content.map_err(|_| Fault::Wrong)?.enc_content_info;
                let Some(encrypted) = content.encrypted_content else { return Ok(()) };
                // It is decrypted here, and once more by the crate.
                self.of_algorithm(&content.content_enc_alg)?;
                self.of_algorithm(&content.content_enc_alg)?;
                let plain = decrypted(&content.content_enc_alg, encrypted.as_bytes(), password);
                self.of_bags(&plain.ok_or(Fault::Wrong)?)
            }
            _other => Err(Fault::Wrong),
        }
    }

    fn of_bags(&mut self, contents: &[u8]) -> Result<(), Fault> {
        for bag in SafeContents::from_der(contents).map_err(|_| Fault::Wrong)? {
            self.bags = self.bags.checked_sub(1).ok_or(Fault::TooMuch)?;
            if bag.bag_id == pkcs12::PKCS_12_SECRET_BAG_OID {
                return Err(Fault::Wrong);
            }
            if bag.bag_id == pkcs12::PKCS_12_PKCS8_KEY_BAG_OID {
                let key = ContextSpecific::<EncryptedPrivateKeyInfo>::from_der(&bag.bag_value);
                self.of_algorithm(&key.map_err(|_| Fault::Wrong)?.value.encryption_algorithm)?;
            }
        }
        Ok(())
    }

    fn of_algorithm(&mut self, algorithm: &AlgorithmIdentifierOwned) -> Result<(), Fault> {
        let parameters = parameters(algorithm).ok_or(Fault::Wrong)?;
        if algorithm.oid.to_string() == PBES2 {
            let parameters = pbes2::Parameters::from_der(&parameters).map_err(|_| Fault::Wrong)?;
            // Scrypt, which takes memory as well, is not for stores.
            let iterations = parameters.kdf.pbkdf2().ok_or(Fault::Wrong)?.iteration_count;
            return self.spend(i32::try_from(iterations).map_err(|_| Fault::TooMuch)?);
        }
        let parameters = Pkcs12PbeParams::from_der(&parameters).map_err(|_| Fault::Wrong)?;
        self.spend(parameters.iterations)
    }

    fn spend(&mut self, iterations: i32) -> Result<(), Fault> {
        let iterations = u32::try_from(iterations).map_err(|_| Fault::Wrong)?;
        self.left = self.left.checked_sub(iterations).ok_or(Fault::TooMuch)?;
        Ok(())
    }
}

fn octets(content: &ContentInfo) -> Result<Vec<u8>, Fault> {
    let octets = content.content.to_der().and_then(|der| OctetString::from_der(&der));
    octets.map(OctetString::into_bytes).map(Into::into).map_err(|_| Fault::Wrong)
}

fn parameters(algorithm: &AlgorithmIdentifierOwned) -> Option<Vec<u8>> {
    algorithm.parameters.as_ref()?.to_der().ok()
}

fn decrypted(algorithm: &AlgorithmIdentifierOwned, data: &[u8], password: &str) -> Option<Zeroizing<Vec<u8>>> {
    let parameters = parameters(algorithm)?;
    let plain = match algorithm.oid {
        _ if algorithm.oid.to_string() == PBES2 => {
            pbes2::Parameters::from_der(&parameters).ok()?.decrypt(password.as_bytes(), data).ok()
        }
        pkcs12::PKCS_12_PBE_WITH_SHAAND3_KEY_TRIPLE_DES_CBC => {
            legacy_decrypted::<TdesEde3>(&parameters, data, password, 24)
        }
        pkcs12::PKCS_12_PBEWITH_SHAAND40_BIT_RC2_CBC => legacy_decrypted::<Rc2>(&parameters, data, password, 5),
        _other => None,
    };
    plain.map(Zeroizing::new)
}

fn legacy_decrypted<C>(parameters: &[u8], data: &[u8], password: &str, key_size: usize) -> Option<Vec<u8>>
where
    C: KeyInit + BlockCipherDecrypt,
{
    let Pkcs12PbeParams { salt, iterations } = Pkcs12PbeParams::from_der(parameters).ok()?;
    let derive = |kind, size| {
        kdf::derive_key_utf8::<Sha1>(password, salt.as_bytes(), kind, iterations, size).ok().map(Zeroizing::new)
    };
    let (key, vector) = (derive(Pkcs12KeyType::EncryptionKey, key_size)?, derive(Pkcs12KeyType::Iv, 8)?);
    let cipher = cbc::Decryptor::<C>::new_from_slices(&key, &vector).ok()?;
    cipher.decrypt_padded_vec::<Pkcs7>(data).ok()
}

#[cfg(test)]
mod tests {
    use pkcs12::cms::content_info::CmsVersion;
    use pkcs12::cms::enveloped_data::EncryptedContentInfo;
    use pkcs12::safe_bag::SafeBag;
    use rsa::pkcs8::der::Any;
    use rsa::pkcs8::der::oid::ObjectIdentifier;

    use super::*;

    fn algorithm(iterations: u32) -> (AlgorithmIdentifierOwned, pbes2::Parameters) {
        let parameters = pbes2::Parameters::generate_pbkdf2_sha256_aes256cbc(iterations, &[1; 16], [2; 16]).unwrap();
        let any = Any::from_der(&parameters.to_der().unwrap()).unwrap();
        (AlgorithmIdentifierOwned { oid: ObjectIdentifier::new_unwrap(PBES2), parameters: Some(any) }, parameters)
    }

    fn bag(iterations: u32) -> SafeBag {
        let (encryption_algorithm, _) = algorithm(iterations);
        let encrypted_data = OctetString::new(vec![0; 16]).unwrap();
        let key = EncryptedPrivateKeyInfo { encryption_algorithm, encrypted_data };
        SafeBag { bag_id: pkcs12::PKCS_12_PKCS8_KEY_BAG_OID, bag_value: key.to_der().unwrap(), bag_attributes: None }
    }

    /// Keys that only somebody who has the password can see.
    fn hidden(bags: &[SafeBag]) -> ContentInfo {
        let (content_enc_alg, parameters) = algorithm(100);
        let encrypted = parameters.encrypt(b"password", &bags.to_vec().to_der().unwrap()).unwrap();
        let enc_content_info = EncryptedContentInfo {
            content_type: ObjectIdentifier::new_unwrap(DATA),
            content_enc_alg,
            encrypted_content: Some(OctetString::new(encrypted).unwrap()),
        };
        let data = EncryptedData { version: CmsVersion::V0, enc_content_info, unprotected_attrs: None };
        ContentInfo {
            content_type: ObjectIdentifier::new_unwrap(ENCRYPTED_DATA),
            content: Any::from_der(&data.to_der().unwrap()).unwrap(),
        }
    }

    #[test]
    fn hidden_keys_count() {
        let mut cost = Cost { left: 1_201, bags: 10 };
        assert_eq!(cost.of_safe(&hidden(&[bag(300), bag(300)]), "password"), Ok(()));
        assert_eq!((cost.left, cost.bags), (401, 8));
        assert_eq!(cost.of_safe(&hidden(&[bag(1)]), "password"), Ok(()));
        assert_eq!(cost.of_safe(&hidden(&[bag(1)]), "password"), Err(Fault::TooMuch));
    }

    #[test]
    fn too_many_parts_are_too_much() {
        let mut cost = Cost { left: 1_000, bags: 1 };
        assert_eq!(cost.of_safe(&hidden(&[bag(1), bag(1)]), "password"), Err(Fault::TooMuch));
        let mut cost = Cost { left: 1_000, bags: 1 };
        assert_eq!(cost.of_safe(&hidden(&[]), "wrong"), Err(Fault::Wrong));
    }
}
