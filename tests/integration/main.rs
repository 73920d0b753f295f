//! The product on real servers: etcd, kube-apiserver, kube-controller-manager and OpenBao, with the RBAC and the Vault
//! policies that we ship. Every test has its own namespaces and paths, so all run side by side on one lab.

mod bad_pull;
mod bad_push;
mod bad_store;
mod beside;
mod beside_eso;
mod canary;
mod claims;
mod connections;
mod consume;
mod corpus;
mod deletion;
mod drift;
mod envelope;
mod eso_crds;
mod gitops;
mod guide;
mod health;
mod held;
mod large;
mod limits;
mod listing;
mod logins;
mod outage;
mod publish;
mod push_guide;
mod refresh;
mod rights;
mod sessions;
mod stage;
mod tenants;
mod throttled;
mod trail;
mod two_clusters;
mod undecodable;
