//! Sprig's random texts and numbers. The numbers come from a generator for secrets that the
//! operating system seeds.

use rand::seq::SliceRandom;
use rand::{Rng, RngExt};
use zeroize::Zeroizing;

use super::{Call, Function, encoding, fixed};
use crate::error::Problem;
use crate::go_text;
use crate::value::{Type, Value};

const INT: Type = Type::Int;
const DIGITS: &[u8] = b"0123456789";
const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const BOTH: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

pub const FUNCTIONS: &[Function] = &[
    fixed("randAlphaNum", &[INT], |call| text_of(call, BOTH)),
    fixed("randAlpha", &[INT], |call| text_of(call, LETTERS)),
    fixed("randNumeric", &[INT], |call| text_of(call, DIGITS)),
    fixed("randAscii", &[INT], |call| {
        let printable: Vec<u8> = (b' '..=b'~').collect();
        text_of(call, &printable)
    }),
    fixed("randBytes", &[INT], |call| {
        let Ok(count) = usize::try_from(call.int(0)) else { return call.refuse("a count cannot be negative") };
        call.purse.make(count.saturating_mul(3))?;
        let mut bytes = Zeroizing::new(vec![0; count]);
        rand::rng().fill_bytes(&mut bytes);
        Ok(Value::text(encoding::to_base64(&bytes)))
    }),
    fixed("randInt", &[INT, INT], |call| {
        let (least, limit) = (call.int(0), call.int(1));
        match limit.wrapping_sub(least) {
            1.. => Ok(Value::int(rand::rng().random_range(least..limit))),
            _ => call.refuse("the second number must be larger than the first"),
        }
    }),
    fixed("shuffle", &[Type::Text], |call| {
        let text = call.text(0);
        call.purse.make(5 * text.len())?;
        let mut characters: Zeroizing<Vec<char>> = Zeroizing::new(go_text::characters(&text).collect());
        characters.shuffle(&mut rand::rng());
        let mut shuffled = Vec::with_capacity(3 * text.len());
        characters.iter().for_each(|character| go_text::push(&mut shuffled, *character));
        Ok(Value::text(shuffled))
    }),
    fixed("uuidv4", &[], |_| Ok(Value::text(uuid::Uuid::new_v4().to_string()))),
];

/// A text of so many of these characters; empty for a negative count, as in Sprig.
fn text_of(call: &mut Call<'_>, characters: &[u8]) -> Result<Value, Problem> {
    let count = usize::try_from(call.int(0)).unwrap_or(0);
    call.purse.step(count)?;
    call.purse.make(count)?;
    let mut random = rand::rng();
    let text: Vec<u8> = (0..count).map(|_| characters[random.random_range(0..characters.len())]).collect();
    Ok(Value::text(text))
}
