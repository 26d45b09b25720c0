//! Arrivals in order, out of order and not at all.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use super::*;

const RTT: Duration = Duration::from_millis(40);

fn wanted() -> Jitter {
    let mut jitter = Jitter::new(90_000, true);
    jitter.set_wanted(true);
    jitter
}

fn receive(jitter: &mut Jitter, now: u64, sequence: u16) -> Result<Arrival, Discard> {
    jitter.receive(Time(now), sequence, 0, false)
}

/// What arrives is new.
fn accept(jitter: &mut Jitter, now: u64, sequence: u16) -> Arrival {
    receive(jitter, now, sequence).expect("a new packet")
}

fn asks(jitter: &mut Jitter, now: u64) -> (Vec<u16>, u64) {
    let mut wants = Vec::new();
    let asked = jitter.ask(Time(now), RTT, &mut wants);
    assert_eq!(asked.asked, wants.len() as u64);
    (wants, asked.lost)
}

#[test]
fn extends_across_the_rollover_and_lists_the_gap() {
    let mut jitter = wanted();
    let first = accept(&mut jitter, 0, 65_534);
    let next = accept(&mut jitter, 0, 1);
    assert_eq!(next.sequence - first.sequence, 3);
    assert_eq!(next.order, Order::Newest { gap: 2 });
    assert_eq!(asks(&mut jitter, 0), (vec![65_535, 0], 0));
    let late = accept(&mut jitter, 30_000, 65_535);
    assert_eq!(late.sequence, first.sequence + 1);
    let answered_in = Some(Duration::from_millis(30));
    assert_eq!(late.order, Order::Late { repaired: true, answered_in });
    assert!(jitter.is_missing(0) && !jitter.is_missing(65_535));
}

#[test]
fn asks_again_each_round_trip_and_gives_up_after_a_second() {
    let mut jitter = wanted();
    accept(&mut jitter, 0, 10);
    accept(&mut jitter, 0, 12);
    let (mut tries, mut now) = (0, 0);
    loop {
        let (wants, lost) = asks(&mut jitter, now);
        if lost > 0 {
            break;
        }
        tries += wants.len();
        assert!(asks(&mut jitter, now + 39_999).0.is_empty(), "asked twice in a round trip");
        now = jitter.due().0;
    }
    assert_eq!((tries, jitter.missing(), jitter.due()), (10, 0, Time::NEVER));
    assert!(now <= 1_000_000);

    accept(&mut jitter, now, 14);
    let mut wants = Vec::new();
    let slow = Duration::from_millis(300);
    let mut last = now;
    while jitter.ask(Time(last), slow, &mut wants).lost == 0 {
        last = jitter.due().0;
    }
    assert_eq!((wants.len(), last - now), (4, 1_000_000), "slow paths get a second, no more");
}

#[test]
fn duplicates_and_the_too_old_stop_here() {
    let mut jitter = wanted();
    for sequence in 0..3_000 {
        accept(&mut jitter, 0, sequence);
    }
    assert_eq!(receive(&mut jitter, 0, 2_999), Err(Discard::RtpDuplicate));
    assert_eq!(receive(&mut jitter, 0, 2_999 - 2_047), Err(Discard::RtpDuplicate));
    assert_eq!(receive(&mut jitter, 0, 2_999 - 2_048), Err(Discard::RtpLate));
}

#[test]
fn the_window_forgets_what_it_has_left_behind() {
    let mut jitter = wanted();
    (0..2_050).for_each(|sequence| assert!(receive(&mut jitter, 0, sequence).is_ok()));
    // 2060 has the bit that 12 had.
    accept(&mut jitter, 0, 2_070);
    assert!(receive(&mut jitter, 0, 2_060).is_ok());
}

#[test]
fn a_restarted_sender_is_followed() {
    let mut jitter = wanted();
    accept(&mut jitter, 0, 30_000);
    let ahead = accept(&mut jitter, 0, 40_000);
    assert_eq!(ahead.order, Order::Restarted);
    assert_eq!(asks(&mut jitter, 0), (vec![], 9_999));
    assert_eq!(
        receive(&mut jitter, 0, 100),
        Ok(Arrival { sequence: ahead.sequence + (1 << 16) - 39_900, order: Order::Restarted })
    );
    // Back: one stray old packet is late, two in a row are a restart (RFC 3550 §A.1).
    assert_eq!(receive(&mut jitter, 0, 50_000), Err(Discard::RtpLate));
    assert_eq!(accept(&mut jitter, 0, 101).order, Order::Newest { gap: 0 });
    assert_eq!(receive(&mut jitter, 0, 50_000), Err(Discard::RtpLate));
    let back = accept(&mut jitter, 0, 50_001);
    assert_eq!(back.order, Order::Restarted);
    assert!(back.sequence > ahead.sequence + (1 << 16) - 39_900);
    assert_eq!(accept(&mut jitter, 0, 50_002).sequence, back.sequence + 1);
}

#[test]
fn without_nack_a_gap_may_close_by_reordering() {
    let mut jitter = Jitter::new(90_000, false);
    jitter.set_wanted(true);
    accept(&mut jitter, 0, 1);
    accept(&mut jitter, 0, 4);
    let order = accept(&mut jitter, 50_000, 2).order;
    assert_eq!(order, Order::Late { repaired: false, answered_in: None });
    assert_eq!(asks(&mut jitter, 99_999), (vec![], 0));
    assert_eq!(asks(&mut jitter, 100_000), (vec![], 1));
}

#[test]
fn the_list_of_gaps_is_bounded() {
    let mut jitter = wanted();
    let mut sequence = 0_u16;
    for _ in 0..50 {
        accept(&mut jitter, 0, sequence);
        sequence = sequence.wrapping_add(1_000);
    }
    assert_eq!(jitter.missing(), MAX_MISSING);
    let (wants, lost) = asks(&mut jitter, 0);
    assert_eq!((wants.len(), lost), (MAX_MISSING, 49 * 999 - MAX_MISSING as u64));
}

#[test]
fn reports_as_rfc_3550_counts() {
    let mut jitter = wanted();
    for sequence in [10, 11, 13, 14] {
        accept(&mut jitter, 0, sequence);
    }
    // RTX repairs the stream, not the report (RFC 4588 §6.2).
    jitter.receive(Time(0), 12, 0, true).unwrap();
    let report = jitter.report().unwrap();
    assert_eq!((report.fraction_lost, report.cumulative_lost, report.highest), (51, 1, 14));
    accept(&mut jitter, 0, 15);
    let report = jitter.report().unwrap();
    assert_eq!((report.fraction_lost, report.cumulative_lost), (0, 1));
    assert_eq!(jitter.report().unwrap().fraction_lost, 0);
}

#[test]
fn jitter_follows_rfc_3550() {
    let mut jitter = wanted();
    for n in 0_u32..200 {
        // Sent each 10 ms; every second packet is 4 ms late: 360 units of 90 kHz.
        let late = if n % 2 == 1 { 4_000 } else { 0 };
        let now = Time(u64::from(n) * 10_000 + late);
        jitter.receive(now, n as u16, n.wrapping_mul(900), false).unwrap();
    }
    let measured = jitter.report().unwrap().jitter;
    assert!((340..=361).contains(&measured), "{measured}");
}

#[test]
fn on_a_lossy_way_a_request_is_made_twice() {
    let mut jitter = wanted();
    jitter.set_lossy(true);
    accept(&mut jitter, 0, 1);
    accept(&mut jitter, 0, 3);
    assert_eq!(
        asked_for(&mut jitter, 2, 0..100),
        [0, 10, 50, 60],
        "twice, and once both may be here"
    );
}

/// The milliseconds at which a number is asked for.
fn asked_for(jitter: &mut Jitter, number: u16, during: std::ops::Range<u64>) -> Vec<u64> {
    during.filter(|ms| asks(jitter, ms * 1_000).0.contains(&number)).collect()
}

#[test]
fn on_a_lossy_way_the_rest_of_a_frame_is_asked_for_though_nothing_follows() {
    let mut jitter = wanted();
    accept(&mut jitter, 0, 1);
    jitter.set_frame_whole(Time(0), false);
    assert_eq!(jitter.due(), Time::NEVER, "this way loses nothing");
    jitter.set_lossy(true);
    jitter.set_frame_whole(Time(0), false);
    assert_eq!(asked_for(&mut jitter, 2, 0..200), [10, 20], "twice: perhaps there is none");
    assert_eq!((jitter.missing(), jitter.due()), (0, Time::NEVER));
    // Its answer ends the frame.
    jitter.receive(Time(200_000), 2, 0, true).unwrap();
    jitter.set_frame_whole(Time(200_000), true);
    assert_eq!(asked_for(&mut jitter, 3, 200..300), []);
}

#[test]
fn the_rest_of_a_frame_that_turns_out_to_be_missing_has_been_asked_for() {
    // Before the next frame comes: not, once, twice.
    for (next, expected) in [(5, vec![5, 15]), (15, vec![10, 15]), (33, vec![10, 20])] {
        let mut jitter = wanted();
        jitter.set_lossy(true);
        accept(&mut jitter, 0, 1);
        jitter.set_frame_whole(Time(0), false);
        let mut at = asked_for(&mut jitter, 2, 0..next);
        accept(&mut jitter, next * 1_000, 3);
        jitter.set_frame_whole(Time(next * 1_000), true);
        at.extend(asked_for(&mut jitter, 2, next..at.first().unwrap_or(&next) + 50));
        assert_eq!(at, expected, "the next frame after {next} ms");
        let answer = accept(&mut jitter, 55_000, 2).order;
        let since = Duration::from_millis(55 - expected[0]);
        assert_eq!(answer, Order::Late { repaired: true, answered_in: Some(since) });
    }
}
