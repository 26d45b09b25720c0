//! Microbenchmarks: how long a frame takes on each part of its way, ciphers and copies included.
//!
//! `cargo bench -p pyforward-core --bench packets`; a name chooses some. Where the machine is shared
//! the fastest sample tells more than the median; `counts` tells what a change costs regardless.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod work;

use divan::Bencher;
use divan::counter::ItemsCount;

fn main() {
    divan::main();
}

/// Items are packets.
#[divan::bench(args = work::NAMES)]
fn frame(bencher: Bencher, name: &str) {
    let mut work = work::named(name).unwrap();
    let packets = work.packets();
    bencher.counter(ItemsCount::new(packets)).bench_local(|| work.run());
}
