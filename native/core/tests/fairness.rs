//! Whoever watches the same stream gets it in turns: nobody is always the last.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rig;

use std::collections::HashMap;

use rig::crowd::Crowd;

const ROUNDS: usize = 320;

#[test]
fn everybody_is_the_last_at_times_and_nobody_mostly() {
    // As many as fill the table of them, and as many as leave nearly half of it free.
    for viewers in [16, 18, 32] {
        let mut crowd = Crowd::watching(viewers);
        let mut last = HashMap::new();
        for _ in 0..ROUNDS {
            crowd.show();
            *last.entry(crowd.last().unwrap()).or_insert(0) += 1;
        }
        assert_eq!(last.len(), viewers as usize, "of {viewers}: {last:?}");
        assert!(last.values().all(|rounds| *rounds <= ROUNDS / 2), "of {viewers}: {last:?}");
    }
}
