//! SplitMix64: first sequence numbers, the spread of reports, which datagram an impaired link loses.
//! Nothing secret comes from it.

/// A sequence of numbers that follows from its seed.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// From 32 bytes.
    #[must_use]
    pub fn new(seed: &[u8; 32]) -> Random {
        let mut state = 0;
        for chunk in seed.chunks_exact(8) {
            state ^= u64::from_le_bytes(chunk.try_into().unwrap_or_default());
        }
        Random(state)
    }

    /// From a number: a run that can be repeated.
    #[must_use]
    pub fn from_number(seed: u64) -> Random {
        Random(seed)
    }

    /// The next number, any of 2^64.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// The next number from 0 up to 1.
    pub fn share(&mut self) -> f64 {
        (self.draw() >> 11) as f64 / (1_u64 << 53) as f64
    }
}
