//! Sprig's hashes of passwords, and what it encrypts with one.

use aes::Aes256;
use bcrypt::Version;
use cbc::cipher::block_padding::{NoPadding, Pkcs7};
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use hmac::{Hmac, KeyInit, Mac};
use rand::Rng;
use scrypt::Params;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{Call, Function, encoding, fixed};
use crate::error::Problem;
use crate::value::{Type, Value};

const TEXT: Type = Type::Text;
/// The cost that Sprig uses; a template cannot choose another.
const BCRYPT_COST: u32 = 10;
/// The most bytes that bcrypt looks at. Go refuses more; other programs ignore the rest.
const BCRYPT_MOST: usize = 72;
/// What a hash takes of the budget: about as long as so many other steps.
const BCRYPT_STEPS: usize = 100_000;
/// Scrypt also needs 32 MiB of memory, but only one at a time.
const SCRYPT_STEPS: usize = 100_000;
const AES_BLOCK: usize = 16;

pub const FUNCTIONS: &[Function] = &[
    fixed("bcrypt", &[TEXT], |call| {
        let password = call.text(0);
        Ok(Value::text(bcrypt_hash(call, &password)?))
    }),
    fixed("htpasswd", &[TEXT, TEXT], |call| {
        let (user, password) = (call.text(0), call.text(1));
        if user.contains(&b':') {
            return Ok(Value::text([b"invalid username: ", &*user].concat()));
        }
        let hash = bcrypt_hash(call, &password)?;
        Ok(Value::text([&*user, b":", hash.as_bytes()].concat()))
    }),
    fixed("derivePassword", &[Type::Uint32, TEXT, TEXT, TEXT, TEXT], derive_password),
    fixed("encryptAES", &[TEXT, TEXT], encrypt_aes),
    fixed("decryptAES", &[TEXT, TEXT], decrypt_aes),
];

/// As Sprig, which shows an error as if it were the hash.
fn bcrypt_hash(call: &mut Call<'_>, password: &[u8]) -> Result<String, Problem> {
    if password.len() > BCRYPT_MOST {
        return Ok("failed to encrypt string with bcrypt: bcrypt: password length exceeds 72 bytes".to_owned());
    }
    call.purse.step(BCRYPT_STEPS)?;
    match bcrypt::hash_with_result(password, BCRYPT_COST) {
        Ok(parts) => Ok(parts.format_for_version(Version::TwoA)),
        Err(_) => call.refuse("the password cannot be hashed"),
    }
}

/// The Master Password algorithm, version 0.
fn derive_password(call: &mut Call<'_>) -> Result<Value, Problem> {
    let (kind, password, user, site) = (call.text(1), call.text(2), call.text(3), call.text(4));
    let Some(forms) = forms(&kind) else {
        return Ok(Value::text([b"cannot find password template ", &*kind].concat()));
    };
    // Go's literals wrap around.
    let counter = (call.int(0) as u32).to_be_bytes();
    call.purse.step(SCRYPT_STEPS)?;
    let Some(seed) = seed(&password, &counter, &user, &site) else {
        return call.refuse("no password can be derived from these texts");
    };
    let form = forms[usize::from(seed[0]) % forms.len()];
    let character = |(class, random): (u8, &u8)| {
        let characters = class_of(class);
        characters[usize::from(*random) % characters.len()]
    };
    let derived: Vec<u8> = form.bytes().zip(&seed[1..]).map(character).collect();
    Ok(Value::text(derived))
}

fn seed(password: &[u8], counter: &[u8], user: &[u8], site: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    const NAME: &[u8] = b"com.lyndir.masterpassword";
    let length = |text: &[u8]| u32::try_from(text.len()).map(u32::to_be_bytes).ok();
    let salt = [NAME, &length(user)?, user].concat();
    let mut key = Zeroizing::new([0; 64]);
    scrypt::scrypt(password, &salt, &Params::new(15, 8, 2).ok()?, &mut *key).ok()?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&*key).ok()?;
    mac.update(&[NAME, &length(site)?, site, counter].concat());
    Some(Zeroizing::new(mac.finalize().into_bytes().to_vec()))
}

/// The forms of a kind of password; each letter is a class of characters.
fn forms(kind: &[u8]) -> Option<&'static [&'static str]> {
    Some(match kind {
        b"maximum" => &["anoxxxxxxxxxxxxxxxxx", "axxxxxxxxxxxxxxxxxno"],
        b"long" => &[
            "CvcvnoCvcvCvcv",
            "CvcvCvcvnoCvcv",
            "CvcvCvcvCvcvno",
            "CvccnoCvcvCvcv",
            "CvccCvcvnoCvcv",
            "CvccCvcvCvcvno",
            "CvcvnoCvccCvcv",
            "CvcvCvccnoCvcv",
            "CvcvCvccCvcvno",
            "CvcvnoCvcvCvcc",
            "CvcvCvcvnoCvcc",
            "CvcvCvcvCvccno",
            "CvccnoCvccCvcv",
            "CvccCvccnoCvcv",
            "CvccCvccCvcvno",
            "CvcvnoCvccCvcc",
            "CvcvCvccnoCvcc",
            "CvcvCvccCvccno",
            "CvccnoCvcvCvcc",
            "CvccCvcvnoCvcc",
            "CvccCvcvCvccno",
        ],
        b"medium" => &["CvcnoCvc", "CvcCvcno"],
        b"short" => &["Cvcn"],
        b"basic" => &["aaanaaan", "aannaaan", "aaannaaa"],
        b"pin" => &["nnnn"],
        _ => return None,
    })
}

fn class_of(class: u8) -> &'static [u8] {
    match class {
        b'V' => b"AEIOU",
        b'C' => b"BCDFGHJKLMNPQRSTVWXYZ",
        b'v' => b"aeiou",
        b'c' => b"bcdfghjklmnpqrstvwxyz",
        b'a' => b"AEIOUaeiouBCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz",
        b'n' => b"0123456789",
        b'o' => b"@&%?,=[]_:-+*$#!'^~;()/.",
        _any => b"AEIOUaeiouBCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz0123456789!@#$%^&*()",
    }
}

/// AES in CBC mode, in base64: the initial vector, then the blocks. Nothing authenticates them.
fn encrypt_aes(call: &mut Call<'_>) -> Result<Value, Problem> {
    let (password, plain) = (call.text(0), call.text(1));
    if plain.is_empty() {
        return Ok(Value::text(""));
    }
    call.purse.make(3 * (plain.len() + 2 * AES_BLOCK))?;
    let mut vector = [0; AES_BLOCK];
    rand::rng().fill_bytes(&mut vector);
    let key = aes_key(&password);
    let Ok(cipher) = cbc::Encryptor::<Aes256>::new_from_slices(&*key, &vector) else {
        return call.refuse("the key has a wrong length");
    };
    let blocks = cipher.encrypt_padded_vec::<Pkcs7>(&plain);
    Ok(Value::text(encoding::to_base64(&[&vector, &*blocks].concat())))
}

/// As Sprig: only the last byte says how much padding goes, and nobody looks at the others.
fn decrypt_aes(call: &mut Call<'_>) -> Result<Value, Problem> {
    let (password, encoded) = (call.text(0), call.text(1));
    if encoded.is_empty() {
        return Ok(Value::text(""));
    }
    call.purse.make(2 * encoded.len())?;
    let Some(encrypted) = encoding::base64(&encoded) else { return call.refuse("the text is not base64") };
    let Some((vector, blocks)) = encrypted.split_at_checked(AES_BLOCK) else {
        return call.refuse("the text is shorter than one block");
    };
    let key = aes_key(&password);
    let cipher = cbc::Decryptor::<Aes256>::new_from_slices(&*key, vector).ok();
    let plain = cipher.and_then(|cipher| cipher.decrypt_padded_vec::<NoPadding>(blocks).ok()).map(Zeroizing::new);
    let Some(plain) = plain else { return call.refuse("the text does not end with a whole block") };
    let padding = plain.last().map(|last| usize::from(*last));
    match padding.and_then(|padding| plain.len().checked_sub(padding)) {
        Some(end) => Ok(Value::text(&plain[..end])),
        None => call.refuse("the password is wrong, or the text is damaged"),
    }
}

/// The password itself, cut or filled up with zeros. It should be random.
fn aes_key(password: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    key.iter_mut().zip(password).for_each(|(byte, of_password)| *byte = *of_password);
    key
}
