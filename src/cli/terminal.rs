//! Output of commands. A closed pipe (`… | head`) is not a failure: the rest is not printed, and
//! the exit code is that of the command.

use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::process::ExitCode;

/// Prints a command's result and returns its exit code; 2 if standard output cannot be written,
/// such as on a full disk.
pub fn print(command: &str, text: &str, code: ExitCode) -> ExitCode {
    match written(io::stdout().lock(), text) {
        Ok(()) => code,
        Err(error) => {
            say(format_args!("waypost {command}: cannot write to standard output: {error}"));
            ExitCode::from(2)
        }
    }
}

/// Prints a line to standard error. A failure is ignored.
pub fn say(line: impl Display) {
    let _unread = writeln!(io::stderr().lock(), "{line}");
}

/// Whether standard output is a terminal that accepts colour.
pub fn is_coloured() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

fn written(mut out: impl Write, text: &str) -> io::Result<()> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Full(ErrorKind);

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_has_gone_is_no_failure_and_a_full_disk_is_one() {
        assert!(written(Full(ErrorKind::BrokenPipe), "text").is_ok());
        assert!(written(Full(ErrorKind::StorageFull), "text").is_err());
    }
}
