//! The lab of Waypost: a real etcd, kube-apiserver, kube-controller-manager and OpenBao, for tests,
//! the demo and benchmarks.
//!
//! [`lab::Lab`] starts the servers and hands out clients; [`provision`] makes the programs it
//! starts; [`demo`] shows the product at work; [`health`] says how GitOps tools read an object;
//! [`cmd`] is the command line; [`wait`] waits, [`pace`] says how long that may take on this machine,
//! and [`turns`] lets heavy tests run one after another.

pub mod bench;
pub mod cmd;
pub mod demo;
pub mod health;
pub mod lab;
pub mod mutants;
pub mod pace;
pub mod provision;
pub mod turns;
pub mod wait;
