//! Sprig's check sums.

use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

use super::{Call, Function, fixed};
use crate::error::Problem;
use crate::value::{Type, Value};

const TEXT: Type = Type::Text;

pub const FUNCTIONS: &[Function] = &[
    fixed("sha1sum", &[TEXT], digest::<Sha1>),
    fixed("sha256sum", &[TEXT], digest::<Sha256>),
    fixed("sha512sum", &[TEXT], digest::<Sha512>),
    fixed("adler32sum", &[TEXT], |call| Ok(Value::text(adler32(&call.text(0)).to_string()))),
];

fn digest<D: Digest>(call: &mut Call<'_>) -> Result<Value, Problem> {
    let digits: String = D::digest(&call.text(0)[..]).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Value::text(digits))
}

/// RFC 1950.
fn adler32(bytes: &[u8]) -> u32 {
    const MODULUS: u32 = 65_521;
    let (mut low, mut high) = (1, 0);
    for byte in bytes {
        low = (low + u32::from(*byte)) % MODULUS;
        high = (high + low) % MODULUS;
    }
    (high << 16) | low
}
