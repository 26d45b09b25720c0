//! The parsers of what strangers send, tried from outside: with vectors of known origin, cut off
//! at every byte, and with seeded mutations for as long as there is time.
//!
//! Where a vector names aiortc or aioice, those Python packages (1.16 and 0.13) wrote the bytes;
//! `rtp-types`, `rtcp-types` and `stun-types` read and write alongside as independent
//! implementations.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod answers;
mod codec;
mod mutation;
mod rtcp;
mod rtp;
mod stun;

/// Bytes from hexadecimal digits; spaces are for the reader.
fn hex(digits: &str) -> Vec<u8> {
    let digits: Vec<u32> = digits.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}
