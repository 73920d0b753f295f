//! The lab itself, on its real servers.
