//! One ICE + DTLS association and its way through its states.

mod claim;

pub use claim::{Claim, Claimed};
