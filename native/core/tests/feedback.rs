//! What viewers bring is taken by the batch: a turn's answers leave together, and whoever brings nothing
//! costs nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rig;

use std::collections::HashSet;
use std::time::Duration;

use pyforward_core::stats::Counter;
use rig::crowd::Crowd;

/// Datagrams that one system call brings.
const BATCH: u64 = 32;

/// How much was sent for what `bring` brings in one turn: messages and system calls.
fn sent_for(crowd: &mut Crowd, bring: impl FnOnce(&mut Crowd)) -> [u64; 2] {
    let counted = |crowd: &Crowd| {
        [Counter::MessagesOut, Counter::SendCalls].map(|counter| crowd.shard.stats().get(counter))
    };
    let before = counted(crowd);
    bring(crowd);
    crowd.drain();
    let after = counted(crowd);
    [after[0] - before[0], after[1] - before[1]]
}

#[test]
fn a_batch_of_checks_is_answered_by_one_call() {
    let mut crowd = Crowd::watching(BATCH);
    let sent = sent_for(&mut crowd, |crowd| {
        for viewer in 0..BATCH {
            let check = crowd.check(viewer);
            crowd.take(check);
        }
    });
    assert_eq!(sent, [BATCH, 1]);
}

#[test]
fn a_batch_of_requests_is_repaired_by_one_call() {
    let mut crowd = Crowd::watching(BATCH);
    crowd.now = crowd.now + Duration::from_millis(50);
    let sent = sent_for(&mut crowd, |crowd| {
        for viewer in 0..BATCH {
            let nack = crowd.nack(viewer);
            crowd.take(nack);
        }
    });
    assert_eq!(sent, [BATCH, 1]);
    assert_eq!(crowd.shard.stats().get(Counter::NacksServed), BATCH);
}

#[test]
fn reports_are_answered_by_nothing() {
    let mut crowd = Crowd::watching(BATCH);
    let sent = sent_for(&mut crowd, |crowd| {
        for viewer in 0..BATCH {
            let report = crowd.report(viewer);
            crowd.take(report);
        }
    });
    assert_eq!(sent, [0, 0]);
    assert_eq!(crowd.shard.stats().viewer_loss.words().take(1).sum::<u64>(), BATCH);
}

#[test]
fn reports_that_are_due_together_leave_by_one_call_and_wake_nobody_else() {
    let mut crowd = Crowd::watching(1_000);
    crowd.end();
    let (mut reports, mut woken) = (0, HashSet::new());
    for _ in 0..100 {
        let due = crowd.shard.poll_timeout();
        assert!(due > crowd.now);
        crowd.now = due;
        let [sent, calls] = sent_for(&mut crowd, |crowd| crowd.shard.handle_timeout(due));
        assert!(sent <= 20 && calls <= 1, "{sent} by {calls} calls");
        reports += sent;
        woken.extend(crowd.last());
    }
    // A thousand in 3 s: 6 or 7 in 20 ms.
    assert!((400..900).contains(&reports), "{reports}");
    assert!(woken.len() >= 90, "the last of each, every time another one: {}", woken.len());
}
