//! The processes of a lab, for tests that end some or count them.

use std::{fs, path::Path, process::Child};

/// Every server of a lab in this folder: its name, and the process id that it reported.
pub fn servers_in(folder: &Path) -> Vec<(String, u32)> {
    let mut servers = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
        let path = entry.path();
        if path.is_dir() {
            servers.extend(servers_in(&path));
        } else if path.extension().is_some_and(|extension| extension == "pid") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            // The file is there before its content is.
            servers.extend(fs::read_to_string(&path).ok().and_then(|text| Some((name, text.trim().parse().ok()?))));
        }
    }
    servers
}

/// How many of them run.
pub fn running(servers: &[(String, u32)]) -> usize {
    servers.iter().filter(|(_, pid)| is_alive(*pid)).count()
}

fn is_alive(pid: u32) -> bool {
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // A zombie is dead; it only waits for its parent.
    !state.is_empty() && !state.contains(") Z ")
}

/// Kills its process on drop, so that a failed test leaves nothing either.
pub struct Owner(pub Child);

impl Drop for Owner {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
