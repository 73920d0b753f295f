//! Loopback ports that stay a lab's own while it lives, also while the server on one of them is
//! stopped.

use std::{
    fs::{self, File},
    hash::{BuildHasher, RandomState},
    net::{Ipv4Addr, TcpListener},
    path::Path,
};

use anyhow::Context;

/// Below the ports that systems give to outgoing connections, one of which would otherwise take the
/// port of a stopped server.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

/// A reserved port. No other lab gets it until this value is dropped.
#[derive(Debug)]
pub(super) struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    /// Reserves a free port; `folder` holds a lock file for each port and is shared by all labs of
    /// a user.
    pub(super) fn reserve(folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        let width = u64::from(RANGE.end - RANGE.start);
        for _ in 0..1_000 {
            let offset = u16::try_from(RandomState::new().hash_one(()) % width).context("the range fits a port")?;
            let number = RANGE.start + offset;
            let lock = File::create(folder.join(number.to_string())).context("open the lock of a port")?;
            if lock.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Ok(Port { number, _lock: lock });
            }
        }
        anyhow::bail!("no free loopback port between {} and {}", RANGE.start, RANGE.end)
    }

    pub(super) fn number(&self) -> u16 {
        self.number
    }

    /// `127.0.0.1:PORT`
    pub(super) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.number)
    }
}
