//! One publisher takes over from another: when, for whom, and what viewers notice of it. It takes
//! the stream with its first keyframe, and until then the one before it is left alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rig;

use std::time::Duration;

use pyforward_core::claim::Claim;
use pyforward_core::command::{AddSession, CloseReason, Command, Media};
use pyforward_core::discard::Discard;
use pyforward_core::ids::{PayloadType, SessionId};
use pyforward_core::media::{Codec, Format, Kind};
use pyforward_core::srtp::Profile;
use rig::Rig;
use rig::publisher::{AUDIO, Publisher, VIDEO};
use rig::viewer::Viewer;

const FIRST: SessionId = SessionId(1);
const SECOND: SessionId = SessionId(2);
const THIRD: SessionId = SessionId(3);
const VIEWERS: [SessionId; 2] = [SessionId(10), SessionId(11)];
const GCM: Profile = Profile::AeadAes128Gcm;

fn address(port: u16) -> std::net::SocketAddr {
    ([10, 0, 1, 1], port).into()
}

/// A publisher on shard 0, a viewer on each of two shards, all flowing.
fn live() -> Rig {
    let mut rig = Rig::new(2);
    connect(&mut rig, FIRST, 2_000);
    keys(&mut rig, FIRST);
    for (viewer, port) in VIEWERS.into_iter().zip(3_000..) {
        rig.add_session(viewer, Viewer::subscription(viewer, true));
        rig.viewers.insert(viewer, Viewer::new(viewer, address(port), rig.now, GCM));
        rig.run_for(Duration::from_millis(1));
        keys(&mut rig, viewer);
    }
    rig.run_for(Duration::from_secs(1));
    assert!(VIEWERS.iter().all(|viewer| rig.told(*viewer).contains(&"flowing")));
    rig
}

/// It sends from now on, in the middle of a group of pictures, and has no keys yet.
fn connect(rig: &mut Rig, session: SessionId, port: u16) {
    rig.add_session(session, Publisher::media());
    let mut publisher = Publisher::new(session, address(port), rig.now, 60_000);
    publisher.begin_between_keyframes();
    publisher.frames_between_keyframes = 1_000_000;
    rig.publishers.insert(session, publisher);
    rig.run_for(Duration::from_millis(1));
}

fn keys(rig: &mut Rig, session: SessionId) {
    rig.install_keys(session, GCM);
}

fn run_until_told(rig: &mut Rig, session: SessionId, what: &str) {
    let until = rig.now + Duration::from_secs(5);
    while !rig.told(session).contains(&what) {
        assert!(rig.now < until, "{session} is never told to be {what}");
        rig.run_for(Duration::from_millis(1));
    }
}

/// Whose packets a viewer got, and which of theirs, in the order of its numbers.
fn heard(rig: &Rig, viewer: SessionId, kind: Kind) -> Vec<(SessionId, usize)> {
    let number = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().unwrap());
    let payloads = rig.viewers[&viewer].payloads(kind);
    payloads.iter().map(|p| (SessionId(number(&p[12..20])), number(&p[4..12]) as usize)).collect()
}

/// What a viewer got of one publisher, as the first and the last of its packets.
fn span(rig: &Rig, viewer: SessionId, kind: Kind, publisher: SessionId) -> Option<[usize; 2]> {
    let heard = heard(rig, viewer, kind);
    let mut of = heard.iter().filter(|(session, _)| *session == publisher).map(|(_, n)| *n);
    let first = of.next()?;
    Some([first, of.next_back().unwrap_or(first)])
}

fn count(rig: &Rig, session: SessionId) -> [usize; 2] {
    Kind::ALL.map(|kind| rig.publishers[&session].sent[kind as usize].len())
}

/// Nothing is missing, nothing goes back, no step of time is longer than a second.
fn assert_continuous(rig: &Rig, viewer: SessionId) {
    for kind in Kind::ALL {
        let viewer = &rig.viewers[&viewer];
        assert_eq!(viewer.missing(kind), Vec::<u64>::new(), "{kind:?}");
        let rate = if kind == Kind::Audio { 48_000 } else { 90_000 };
        let times: Vec<u32> = viewer.media[kind as usize].values().map(|o| o.timestamp).collect();
        assert!(times.windows(2).all(|w| w[1].wrapping_sub(w[0]) < rate), "{kind:?}: time goes on");
    }
    assert_eq!(rig.broken, vec![]);
}

#[test]
fn both_tracks_change_at_the_first_keyframe_and_nothing_before() {
    let mut rig = live();
    connect(&mut rig, SECOND, 2_001);
    keys(&mut rig, SECOND);
    assert!(!rig.told(SECOND).contains(&"flowing"), "keys alone take nothing");
    run_until_told(&mut rig, SECOND, "flowing");
    assert_eq!(rig.publishers[&SECOND].keyframe_requests, 1, "it was asked for a keyframe");
    let (before, after) = (count(&rig, FIRST), count(&rig, SECOND));
    // Control has not ended the first one yet, and it goes on sending.
    rig.run_for(Duration::from_secs(1));
    for viewer in VIEWERS {
        for kind in Kind::ALL {
            let heard = heard(&rig, viewer, kind);
            let changes = heard.windows(2).filter(|w| w[0].0 != w[1].0).count();
            assert_eq!(changes, 1, "{kind:?}: one after the other");
            let last = span(&rig, viewer, kind, FIRST).unwrap()[1];
            let (sent, first) = (before[kind as usize], span(&rig, viewer, kind, SECOND).unwrap());
            // Two frames and four packets of audio are what 80 ms hold.
            assert!((sent - 8..=sent).contains(&last), "{kind:?} of the first: {last} of {sent}");
            let began = after[kind as usize];
            assert!(first[0] + 24 > began && first[0] < began + 4, "{kind:?}: {first:?}, {began}");
        }
        let video = rig.viewers[&viewer].payloads(Kind::Video);
        let at = heard(&rig, viewer, Kind::Video).iter().position(|h| h.0 == SECOND).unwrap();
        assert_eq!(video[at][..2], [0x10, 0], "its first packet is a keyframe's first");
        assert_continuous(&rig, viewer);
    }
    rig.command(Command::RemoveSession { session: FIRST, reason: CloseReason::Replaced });
    rig.run_for(Duration::from_secs(1));
    for viewer in VIEWERS {
        let last = span(&rig, viewer, Kind::Video, SECOND).unwrap()[1];
        assert!(last + 8 > count(&rig, SECOND)[1], "the end of the first one changes nothing");
        assert_continuous(&rig, viewer);
    }
}

#[test]
fn who_never_sends_leaves_the_present_one_alone() {
    let mut rig = live();
    // One never checks, one never has keys, one has them and sends nothing.
    rig.add_session(SessionId(4), Publisher::media());
    connect(&mut rig, SECOND, 2_001);
    connect(&mut rig, THIRD, 2_002);
    rig.publishers.get_mut(&THIRD).unwrap().on_air = false;
    keys(&mut rig, THIRD);
    rig.run_for(Duration::from_secs(20));
    rig.remove(SessionId(4));
    rig.publishers.remove(&SECOND);
    rig.publishers.remove(&THIRD);
    rig.run_for(Duration::from_secs(20));
    assert_eq!(rig.closed(THIRD), Some(CloseReason::Silent));
    rig.publishers.get_mut(&FIRST).unwrap().on_air = false;
    rig.run_for(Duration::from_secs(1));
    for viewer in VIEWERS {
        rig.assert_whole(FIRST, viewer, Kind::Audio);
        rig.assert_whole(FIRST, viewer, Kind::Video);
    }
}

#[test]
fn of_two_newcomers_the_later_one_holds_the_stream_whoever_connects_first() {
    for order in [[SECOND, THIRD], [THIRD, SECOND]] {
        let mut rig = live();
        for session in order {
            connect(&mut rig, session, 2_000 + session.0 as u16);
        }
        for session in order {
            keys(&mut rig, session);
            run_until_told(&mut rig, session, "flowing");
        }
        rig.run_for(Duration::from_secs(1));
        for viewer in VIEWERS {
            let video = heard(&rig, viewer, Kind::Video);
            assert_eq!(video.last().unwrap().0, THIRD);
            let of_second = video.iter().any(|heard| heard.0 == SECOND);
            assert_eq!(of_second, order[0] == SECOND, "an earlier one takes nothing back");
            assert_continuous(&rig, viewer);
        }
    }
}

#[test]
fn who_takes_over_and_goes_at_once_gives_the_stream_back() {
    let mut rig = live();
    connect(&mut rig, SECOND, 2_001);
    keys(&mut rig, SECOND);
    run_until_told(&mut rig, SECOND, "flowing");
    rig.remove(SECOND);
    rig.publishers.remove(&SECOND);
    rig.run_for(Duration::from_secs(1));
    for viewer in VIEWERS {
        let last = span(&rig, viewer, Kind::Video, FIRST).unwrap()[1];
        assert!(last + 8 > count(&rig, FIRST)[1], "the first one is there still");
        assert_continuous(&rig, viewer);
    }
}

#[test]
fn a_newcomer_begins_at_once_when_the_present_one_goes() {
    let mut rig = live();
    connect(&mut rig, SECOND, 2_001);
    keys(&mut rig, SECOND);
    rig.remove(FIRST);
    rig.run_for(Duration::from_millis(40));
    assert!(rig.told(SECOND).contains(&"flowing"));
    rig.run_for(Duration::from_secs(1));
    VIEWERS.into_iter().for_each(|viewer| assert_continuous(&rig, viewer));
    let heard = heard(&rig, VIEWERS[0], Kind::Video);
    assert_eq!(heard.last().unwrap().0, SECOND);
}

#[test]
fn a_publisher_that_comes_back_from_its_old_port_is_let_in_at_once() {
    let mut rig = live();
    rig.publishers.remove(&FIRST);
    connect(&mut rig, SECOND, 2_000);
    keys(&mut rig, SECOND);
    rig.run_for(Duration::from_secs(1));
    assert!(rig.told(SECOND).contains(&"flowing"));
    assert_eq!(rig.discarded(Discard::PathTaken), 0);
    // A viewer has no such right.
    rig.add_session(SessionId(12), Viewer::subscription(SessionId(12), true));
    rig.send(address(2_000), rig::check(SessionId(12), 1, true));
    rig.run_for(Duration::from_millis(1));
    assert_eq!(rig.discarded(Discard::PathTaken), 1);
}

// Packet by packet, from local publishers ----------------------------------------------------------

fn publish_locally(rig: &mut Rig, session: SessionId, media: Media) {
    rig.command(Command::AddSession(Box::new(AddSession {
        session,
        ice: None,
        media: media.into(),
        candidates: Vec::new(),
        trial: None,
        claim: Claim::default(),
    })));
}

/// What begins and what ends a picture, in VP8 and in H.264 (RFC 7741 §4.2, RFC 6184 §5.4).
const VP8_KEY: &[u8] = &[0x10, 0, 1, 2];
const VP8_MORE: &[u8] = &[0, 0, 3, 4];
const VP8_DELTA: &[u8] = &[0x10, 1, 5, 6];
const H264_KEY: &[u8] = &[0x65, 0x88, 7, 8];
const H264_DELTA: &[u8] = &[0x41, 0x9A, 9, 10];

/// Packets of one picture: number, whether it is the last, payload.
fn picture(rig: &mut Rig, session: SessionId, timestamp: u32, packets: &[(u16, bool, &[u8])]) {
    let bytes = |(number, last, payload): &(u16, bool, &[u8])| {
        let mut bytes = vec![0x80, (u8::from(*last) << 7) | 96];
        bytes.extend(number.to_be_bytes());
        bytes.extend(timestamp.to_be_bytes());
        bytes.extend(VIDEO.0.to_be_bytes());
        bytes.extend(*payload);
        bytes
    };
    let packets = packets.iter().map(bytes).collect();
    rig.command(Command::InjectRtp { session, packets, stamped: false });
    rig.run_for(Duration::from_millis(10));
}

fn talk(rig: &mut Rig, session: SessionId, number: u16) {
    let mut bytes = vec![0x80, 111];
    bytes.extend(number.to_be_bytes());
    bytes.extend((u32::from(number) * 960).to_be_bytes());
    bytes.extend(AUDIO.0.to_be_bytes());
    bytes.extend([7; 40]);
    rig.command(Command::InjectRtp { session, packets: vec![bytes], stamped: false });
    rig.run_for(Duration::from_millis(20));
}

/// A viewer that takes these video codecs, from payload type 102 on in steps of two.
fn watch(rig: &mut Rig, session: SessionId, codecs: &[Codec]) {
    let Media::Subscribe { stream, mut tracks, cname } = Viewer::subscription(session, true) else {
        panic!("it watches")
    };
    tracks[Kind::Video as usize].formats = (102..)
        .step_by(2)
        .zip(codecs)
        .map(|(number, codec)| Format {
            codec: *codec,
            payload_type: PayloadType(number),
            rtx_payload_type: Some(PayloadType(number + 1)),
        })
        .collect();
    rig.add_session(session, Media::Subscribe { stream, tracks, cname });
    let address = address(3_000 + session.0 as u16);
    rig.viewers.insert(session, Viewer::new(session, address, rig.now, GCM));
    rig.run_for(Duration::from_millis(1));
    keys(rig, session);
}

/// Payload types and payloads of what a viewer has seen.
fn seen(rig: &Rig, viewer: SessionId) -> Vec<(u8, Vec<u8>)> {
    let video = &rig.viewers[&viewer].media[Kind::Video as usize];
    video.values().map(|opened| (opened.payload_type, opened.payload.clone())).collect()
}

#[test]
fn another_codec_changes_the_payload_type_or_closes_whoever_lacks_it() {
    let (both, one) = (VIEWERS[0], VIEWERS[1]);
    let mut rig = Rig::new(2);
    publish_locally(&mut rig, FIRST, Publisher::media());
    watch(&mut rig, both, &[Codec::Vp8, Codec::H264]);
    watch(&mut rig, one, &[Codec::Vp8]);
    picture(&mut rig, FIRST, 3_000, &[(1, true, VP8_KEY)]);
    publish_locally(&mut rig, SECOND, Publisher::media_of(Codec::H264));
    picture(&mut rig, SECOND, 2_999_997_000, &[(9, true, H264_DELTA)]);
    picture(&mut rig, FIRST, 6_000, &[(2, true, VP8_DELTA)]);
    assert_eq!(rig.closed(one), None, "as long as nothing has changed");
    // Its clock is another one.
    picture(&mut rig, SECOND, 3_000_000_000, &[(10, true, H264_KEY)]);
    picture(&mut rig, SECOND, 3_000_003_000, &[(11, true, H264_DELTA)]);
    let expected = [(102, VP8_KEY), (102, VP8_DELTA), (104, H264_KEY), (104, H264_DELTA)];
    assert_eq!(seen(&rig, both), expected.map(|(number, payload)| (number, payload.to_vec())));
    assert_continuous(&rig, both);
    assert_eq!((rig.closed(one), rig.closed(both)), (Some(CloseReason::NoCommonCodec), None));
    assert_eq!(rig.viewers[&one].byes, 2, "it is told");
}

#[test]
fn a_keyframe_whose_first_packet_was_overtaken_is_taken_whole() {
    let viewer = VIEWERS[0];
    let mut rig = Rig::new(2);
    publish_locally(&mut rig, FIRST, Publisher::media());
    watch(&mut rig, viewer, &[Codec::Vp8]);
    picture(&mut rig, FIRST, 3_000, &[(1, true, VP8_KEY)]);
    publish_locally(&mut rig, SECOND, Publisher::media());
    picture(&mut rig, SECOND, 3_000, &[(20, true, VP8_DELTA)]);
    picture(&mut rig, SECOND, 6_000, &[(22, false, VP8_MORE), (23, true, VP8_MORE)]);
    assert_eq!(seen(&rig, viewer).len(), 1);
    picture(&mut rig, SECOND, 6_000, &[(21, false, VP8_KEY)]);
    let payloads = rig.viewers[&viewer].payloads(Kind::Video);
    assert_eq!(payloads, [VP8_KEY, VP8_KEY, VP8_MORE, VP8_MORE]);
    assert_eq!(rig.viewers[&viewer].missing(Kind::Video), [0; 0]);
}

#[test]
fn who_sends_no_picture_takes_over_after_two_seconds_or_at_once_if_it_has_none() {
    let viewer = VIEWERS[0];
    let mut rig = Rig::new(1);
    publish_locally(&mut rig, FIRST, Publisher::media());
    watch(&mut rig, viewer, &[Codec::Vp8]);
    talk(&mut rig, FIRST, 1);
    let heard = |rig: &Rig| rig.viewers[&viewer].payloads(Kind::Audio).len();
    publish_locally(&mut rig, SECOND, Publisher::media());
    for number in 0..100 {
        talk(&mut rig, SECOND, number);
    }
    assert_eq!((heard(&rig), rig.told(SECOND)), (1, vec![]));
    (100..102).for_each(|number| talk(&mut rig, SECOND, number));
    assert_eq!(rig.told(SECOND), ["flowing"]);
    let before = heard(&rig);
    assert!(before > 1);
    let Media::Publish { stream, mut tracks } = Publisher::media() else { panic!("it publishes") };
    tracks.retain(|track| track.kind == Kind::Audio);
    publish_locally(&mut rig, THIRD, Media::Publish { stream, tracks });
    talk(&mut rig, THIRD, 7);
    assert_eq!((heard(&rig), rig.told(THIRD)), (before + 1, vec!["flowing"]));
}
