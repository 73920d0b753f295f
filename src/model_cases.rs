//! How many random cases a model test plays: the same few each time, or as many others as
//! `WAYPOST_MODEL_CASES` says (`make model`). A case that fails is shrunk, and its seed is kept in
//! `proptest-regressions/`.

use proptest::test_runner::{Config, RngSeed};

/// Plays `usual` cases, from this seed, where nobody says how many.
pub fn config(usual: u32, seed: u64) -> Config {
    let kept = Config { max_shrink_time: 120_000, ..Config::default() };
    match std::env::var("WAYPOST_MODEL_CASES").ok().and_then(|cases| cases.parse().ok()) {
        Some(cases) => Config { cases, ..kept },
        None => Config { cases: usual, rng_seed: RngSeed::Fixed(seed), ..kept },
    }
}
