//! What a viewer costs in memory, by part: counted by the allocator, so that it is the same on every
//! machine. `cargo test --package pyforward-core --test parts -- --nocapture` prints it, and
//! docs/measurements.md keeps it; tests/memory.rs holds what the process has resident.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rig;

use std::alloc::System;
use std::time::Duration;

use pyforward_core::session::{Association, Credentials, Paths, Session};
use pyforward_core::srtp::{Opener, Sealer};
use pyforward_core::subscriber::{Subscriber, Template};
use rig::crowd::Crowd;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Tables are at their fullest: they double beyond it.
const VIEWERS: u64 = 3_500;

/// The target of a viewer's native memory, in bytes.
const ALLOWED: usize = 20_000;

fn held() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// What each viewer holds more after `step` was done for all of them.
fn each(what: &str, crowd: &mut Crowd, mut step: impl FnMut(&mut Crowd, u64)) -> usize {
    let before = held();
    (0..VIEWERS).for_each(|viewer| step(crowd, viewer));
    crowd.settle();
    let bytes = (held() - before) / VIEWERS as usize;
    println!("{bytes:>6}  {what}");
    bytes
}

#[test]
fn a_viewer_by_part() {
    for (name, bytes) in [
        ("Session", size_of::<Session>()),
        ("  of it Credentials", size_of::<Credentials>()),
        ("Association", size_of::<Association>()),
        ("  of it Paths", size_of::<Paths>()),
        ("Subscriber", size_of::<Subscriber>()),
        ("  of it Sealer", size_of::<Sealer>()),
        ("  of it Template, for each track", size_of::<Template>()),
        ("Opener", size_of::<Opener>()),
    ] {
        println!("{bytes:>6}  {name}");
    }
    let mut crowd = Crowd::new(VIEWERS);
    let parts = [
        each("known, on every shard", &mut crowd, Crowd::add),
        each("checked, on its own", &mut crowd, Crowd::claim),
        each("keyed", &mut crowd, Crowd::install_keys),
        each("watching", &mut crowd, |crowd, viewer| {
            if viewer == 0 {
                crowd.show();
                crowd.shard.handle_timeout(crowd.now);
            }
        }),
        each("has reported", &mut crowd, |crowd, viewer| {
            let report = crowd.report(viewer);
            crowd.take(report);
        }),
        each("was repaired", &mut crowd, |crowd, viewer| {
            crowd.now = crowd.now + Duration::from_millis(1);
            let nack = crowd.nack(viewer);
            crowd.take(nack);
            crowd.settle();
        }),
    ];
    let all: usize = parts.iter().sum();
    println!("{all:>6}  a viewer");
    assert!(all <= ALLOWED);
}
