//! The push protocol against stores and an API server in memory, with a fault at every request.

mod api_server;
mod ending;
mod labelled;
mod lifecycle;
mod misplaced;
mod protocol;
mod slow;
mod stores;
mod whole;
