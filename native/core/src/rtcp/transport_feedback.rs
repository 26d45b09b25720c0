//! The packet statuses of transport-wide feedback
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1.1 to §3.1.5): two-byte chunks that say
//! which packets arrived and how wide their deltas are, then the deltas.
//!
//! Chunks are chosen greedily: a run length where the run is at least as long as what a vector
//! would hold, otherwise a vector of one-bit symbols where they suffice, otherwise of two-bit ones.

/// Symbols of a one-bit and of a two-bit vector, as many as 14 bits hold.
const ONE_BIT: usize = 14;
const TWO_BIT: usize = 7;
/// Longest run: 13 bits.
const MAX_RUN: usize = 0x1fff;

/// Packet status symbols.
mod symbol {
    pub(super) const NOT_RECEIVED: u16 = 0;
    pub(super) const SMALL_DELTA: u16 = 1;
    pub(super) const LARGE_DELTA: u16 = 2;
}

/// Appends chunks and deltas.
pub(super) fn write_statuses(deltas: &[Option<i16>], out: &mut Vec<u8>) {
    let mut rest = deltas;
    while !rest.is_empty() {
        let (chunk, told) = chunk(rest);
        out.extend_from_slice(&chunk.to_be_bytes());
        rest = rest.get(told..).unwrap_or(&[]);
    }
    for delta in deltas.iter().flatten() {
        match u8::try_from(*delta) {
            Ok(small) => out.push(small),
            Err(_) => out.extend_from_slice(&delta.to_be_bytes()),
        }
    }
}

/// The chunk that starts here, and how many statuses it tells.
fn chunk(rest: &[Option<i16>]) -> (u16, usize) {
    let symbols = || rest.iter().map(|delta| symbol(*delta));
    let first = symbols().next().unwrap_or(symbol::NOT_RECEIVED);
    let run = symbols().take(MAX_RUN).take_while(|symbol| *symbol == first).count();
    let one_bit = symbols().take(ONE_BIT).all(|symbol| symbol != symbol::LARGE_DELTA);
    let (header, bits, capacity) = if one_bit { (0b10, 1, ONE_BIT) } else { (0b11, 2, TWO_BIT) };
    if run >= capacity.min(rest.len()) {
        return (first << 13 | run as u16, run);
    }
    // Symbols stand from the high bits down; those behind the last status are zero.
    let told = capacity.min(rest.len());
    let vector = symbols()
        .chain(std::iter::repeat(symbol::NOT_RECEIVED))
        .take(capacity)
        .fold(header, |vector: u16, symbol| vector << bits | symbol);
    (vector, told)
}

fn symbol(delta: Option<i16>) -> u16 {
    match delta {
        None => symbol::NOT_RECEIVED,
        Some(0..=255) => symbol::SMALL_DELTA,
        Some(_) => symbol::LARGE_DELTA,
    }
}
