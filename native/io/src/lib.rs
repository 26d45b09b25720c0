//! Sockets, threads and the clock around the packet engine.
//!
//! [`engine::Engine`] binds the shared port and runs one thread a shard; `worker` drives
//! `pyforward_core::shard::Shard` by its contract. This is the only crate with unsafe code: each
//! file that calls the kernel says so at its top, and each block says why it is sound. No packet is
//! judged here, and nothing here knows what a session is.

mod bind;
pub mod clock;
pub mod cmsg;
pub mod engine;
pub mod exchange;
pub mod fatal;
pub mod gso;
pub mod lock;
pub mod mailbox;
pub mod outbox;
pub mod own;
mod pin;
pub mod poll;
pub mod published;
pub mod receive;
pub mod send;
mod slice;
pub mod udp;
mod worker;
