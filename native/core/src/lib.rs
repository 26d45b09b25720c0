//! The packet engine without I/O.
//!
//! Bytes and the time go in, bytes and events come out. This crate opens no socket, reads no
//! clock, starts no thread and has no unsafe code; `pyforward-io` drives it and tests drive it in
//! virtual time. [`shard::Shard`] is the machine; everything else is a part of it.
//!
//! The packet path never panics and never allocates without a bound. Whatever the network sent is
//! untrusted until a parser in this crate has checked it; what fails is one [`discard::Discard`].
#![forbid(unsafe_code)]

pub mod cache;
pub mod circuit;
pub mod claim;
pub mod command;
pub mod discard;
pub mod egress;
pub mod event;
pub mod exchange;
pub mod fanout;
pub mod figures;
pub mod ids;
pub mod jitter;
pub mod link;
pub mod media;
pub mod pacer;
pub mod packet;
pub mod path;
pub mod patience;
pub mod random;
pub mod record;
pub mod rtcp;
pub mod rtp;
pub mod session;
pub mod shard;
pub mod shedding;
pub mod source;
pub mod srtp;
pub mod stages;
pub mod stamp;
pub mod stats;
pub mod stream;
pub mod stun;
pub mod subscriber;
pub mod time;
pub mod track;
pub mod wake;
