//! What a person reads whose machine lacks something.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

/// A folder of programs that each print one line and succeed: all that is needed, until a test
/// changes it.
struct Machine(PathBuf);

impl Machine {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("waypost-prerequisites-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        symlink("/bin/bash", folder.join("bash")).unwrap();
        let machine = Machine(folder);
        for (program, prints) in
            [("cargo", "cargo 1.95.0 (0 2026-01-01)"), ("go", "go1.26.0"), ("python3", ""), ("cc", "")]
        {
            machine.has(program, prints, 0);
        }
        machine
    }

    fn has(&self, program: &str, prints: &str, exit_code: u8) {
        let path = self.0.join(program);
        fs::write(&path, format!("#!/bin/bash\necho '{prints}'\nexit {exit_code}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn lacks(&self, program: &str) {
        fs::remove_file(self.0.join(program)).unwrap();
    }

    /// The lines of complaint; none exactly when the check succeeds.
    fn complaints(&self) -> Vec<String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("prerequisites");
        let output = Command::new("/bin/bash").arg(script).env_clear().env("PATH", &self.0).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.success(), text.is_empty(), "{text}");
        text.lines().map(str::to_owned).collect()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_complete_machine_is_silent() {
    assert_eq!(Machine::new("complete").complaints(), [""; 0]);
}

#[test]
fn each_missing_program_is_one_line_with_what_to_install() {
    for (program, line) in [
        ("cargo", "cargo 1.95 or newer is missing: install Rust"),
        ("go", "go 1.26 or newer is missing: install Go"),
        ("python3", "python3 is missing: install Python 3"),
        ("cc", "a C compiler (cc) is missing: install one"),
    ] {
        let machine = Machine::new(program);
        machine.lacks(program);
        let complaints = machine.complaints();
        assert!(complaints.len() == 1 && complaints[0].contains(line), "without {program}: {complaints:?}");
    }
}

#[test]
fn what_is_too_old_is_named_with_both_versions() {
    let machine = Machine::new("old");
    machine.has("cargo", "cargo 1.94.9 (0 2025-01-01)", 0);
    machine.has("go", "go1.9.7", 0);
    let complaints = machine.complaints();
    assert!(complaints[0].contains("cargo is 1.94.9, and 1.95 or newer is needed"), "{complaints:?}");
    assert!(complaints[1].contains("go is 1.9.7, and 1.26 or newer is needed"), "{complaints:?}");
}

#[test]
fn a_python_without_venv_says_so() {
    let machine = Machine::new("venv");
    machine.has("python3", "", 1);
    assert!(machine.complaints()[0].contains("python3 has no venv: install it"));
}
