//! Which packet belongs where: SSRCs, MID, RID, payload types, layers, header extensions.

use super::*;

fn learned(mut track: PublishTrack) -> PublishTrack {
    track.ssrcs.clear();
    track.rtx_ssrcs.clear();
    track
}

fn simulcast() -> PublishTrack {
    PublishTrack { rids: vec!["q".into(), "h".into(), "f".into()], ..learned(video()) }
}

#[test]
fn ssrcs_are_learned_by_payload_type() {
    let mut rig = Rig::new(vec![learned(audio()), learned(video())]);
    rig.accept([opus(1, 0).from(5), vp8(1, 0).from(6).marked()]);
    let kinds: Vec<Kind> = rig.packets().iter().map(|packet| packet.kind).collect();
    assert_eq!(kinds, [Kind::Audio, Kind::Video]);
}

#[test]
fn a_track_follows_its_peer_to_another_format() {
    let other = Format {
        codec: Codec::H264,
        payload_type: PayloadType(102),
        rtx_payload_type: Some(PayloadType(103)),
    };
    let mut rig = Rig::new(vec![PublishTrack { alternatives: vec![other], ..video() }]);
    let h264 = |sequence, timestamp, nal: u8| Rtp {
        payload_type: 102,
        payload: vec![nal; 50],
        ..vp8(sequence, timestamp)
    };
    rig.accept([vp8_key(1, 0).marked(), vp8(2, 3_000), h264(4, 6_000, 0x65).marked()]);
    // What was overtaken by the change is late and changes nothing back.
    rig.accept([vp8(3, 3_000).marked(), h264(5, 9_000, 0x41).marked()]);
    let codecs: Vec<(u64, Codec)> = rig.packets().iter().map(|p| (p.sequence, p.codec)).collect();
    let first = codecs[0].0;
    let newest =
        codecs.iter().filter(|(sequence, _)| *sequence >= first + 3).map(|(_, codec)| *codec);
    assert_eq!(newest.collect::<Vec<_>>(), [Codec::H264, Codec::H264]);
    assert_eq!(rig.source.codecs(), [(Kind::Video, Codec::H264)]);
    let strange = Rtp { payload_type: 50, ..vp8(6, 0) };
    assert_eq!(rig.send(strange), Err(Discard::RtpPayloadType));
}

#[test]
fn what_nothing_explains_is_refused() {
    let mut rig = Rig::new(vec![audio(), video()]);
    let strange = Rtp { payload_type: 50, ..vp8(1, 0) };
    assert_eq!(rig.send(strange.clone()), Err(Discard::RtpPayloadType));
    assert_eq!(rig.send(strange.from(99)), Err(Discard::RtpUnknownSsrc));
    assert_eq!(rig.send(vp8(1, 0).with(id::MID, b"9")), Err(Discard::RtpUnknownSsrc));
    // The payload type is the video's, but SDP announced another SSRC for it.
    assert_eq!(rig.send(vp8(1, 0).from(99)), Err(Discard::RtpUnknownSsrc));
    // An audio SSRC with a video payload type, and the other way round.
    assert_eq!(rig.send(vp8(1, 0).from(AUDIO.0)), Err(Discard::RtpPayloadType));
    assert_eq!(rig.send(vp8(1, 0).with(id::MID, b"0")), Err(Discard::RtpPayloadType));
    assert!(rig.packets().is_empty());
}

#[test]
fn mid_overrides_the_announced_ssrc() {
    // Two tracks with one payload type are told apart by nothing but MID.
    let voice = PublishTrack { payload_type: PayloadType(96), ..audio() };
    let mut rig = Rig::new(vec![voice, video()]);
    rig.accept([vp8(1, 0).marked(), vp8(2, 0).with(id::MID, b"0"), vp8(3, 0)]);
    let kinds: Vec<Kind> = rig.packets().iter().map(|packet| packet.kind).collect();
    assert_eq!(kinds, [Kind::Video, Kind::Audio, Kind::Audio]);
}

#[test]
fn ssrcs_are_bounded() {
    let mut rig = Rig::new(vec![learned(video())]);
    let refused = (0..10_000)
        .filter(|ssrc| rig.send(vp8(1, 0).from(*ssrc)) == Err(Discard::RtpUnknownSsrc))
        .count();
    assert_eq!(refused, 10_000 - 32);
    // Flapping between tracks by MID makes no new encodings either.
    for n in 0..1_000 {
        let _ = rig.send(vp8(n, 0).from(3).with(id::MID, b"1"));
    }
    assert!(rig.source.tracks[0].encodings.len() <= 32);
}

#[test]
fn padding_longer_than_the_packet_is_refused() {
    let mut rig = Rig::new(vec![video()]);
    let mut bytes = probe(1, 0).bytes();
    *bytes.last_mut().unwrap() = 225;
    let view = View::parse(&bytes).unwrap();
    let refused = rig.source.handle_rtp(rig.now, &view, &bytes, bytes.len(), &mut rig.stats);
    assert_eq!(refused, Err(Discard::RtpPadding));
}

#[test]
fn hop_by_hop_extensions_are_stripped_and_the_others_travel() {
    let mut rig = Rig::new(vec![audio(), video()]);
    let level = opus(1, 0).with(id::MID, b"0").with(id::AUDIO_LEVEL, &[0x85]);
    let picture = vp8(1, 0)
        .with(id::TRANSPORT_CC, &[0, 1])
        .with(id::ABS_SEND_TIME, &[1, 2, 3])
        .with(id::COLOR_SPACE, &[9, 9, 9, 9])
        .with(id::COLOR_SPACE, &[8, 8, 8, 8])
        .with(200, &[1]);
    rig.accept([level, picture.marked()]);
    let packets = rig.packets();
    assert_eq!(packets[0].extension(Extension::AudioLevel), Some(&[0x85][..]));
    assert_eq!(packets[0].extensions.present.len(), 1);
    assert_eq!(packets[0].payload(), [7; 80]);
    assert_eq!(packets[1].extension(Extension::ColorSpace), Some(&[9, 9, 9, 9][..]));
    assert_eq!(packets[1].extensions.present.len(), 1);
    assert_eq!(packets[1].payload(), [0; 1_000]);
}

#[test]
fn of_simulcast_layers_the_largest_is_forwarded_from_its_keyframe_on() {
    let mut rig = Rig::new(vec![simulcast()]);
    let layers: [(u32, &[u8], usize); 3] = [(10, b"q", 100), (11, b"h", 400), (12, b"f", 1_100)];
    // Each layer has its own numbers and its own clock.
    let frame = |n: u16, key: bool, (ssrc, rid, len): (u32, &[u8], usize)| {
        let sequence = n.wrapping_add(ssrc as u16 * 100);
        let timestamp = u32::from(n) * 3_000 + ssrc * 1_000_000;
        let mut packet = if key { vp8_key(sequence, timestamp) } else { vp8(sequence, timestamp) };
        packet.payload.truncate(len);
        packet.payload.resize(len, 0);
        packet.from(ssrc).with(id::RID, rid).marked()
    };
    let mut seen = Vec::new();
    for n in 0..60 {
        // The large layer's keyframe comes once it is asked for.
        let key = n == 0 || rig.plis().contains(&Ssrc(12));
        for layer in layers {
            let sent = rig.send(frame(n, key, layer));
            assert!(sent.is_ok() || sent == Err(Discard::RtpLayer));
        }
        seen.extend(rig.packets());
        rig.pass(33);
    }
    let switch = seen.iter().position(|packet| packet.payload().len() == 1_100).unwrap();
    assert!(seen[..switch].iter().all(|packet| packet.payload().len() == 100));
    assert!(seen[switch..].iter().all(|packet| packet.payload().len() == 1_100), "sticky");
    assert!(seen[switch].keyframe && switch < 25);
    // One sequence and one clock, as if nothing had happened. The layers' pictures of one moment
    // arrive together, so that the first of the new layer follows the old one's by a tick.
    for (n, pair) in seen.windows(2).enumerate() {
        assert_eq!(pair[1].sequence, pair[0].sequence + 1);
        let step = pair[1].timestamp.wrapping_sub(pair[0].timestamp);
        assert_eq!(step, if n + 1 == switch { 1 } else { 3_000 });
    }
    assert_eq!(rig.send(frame(61, false, (13, b"x", 9))), Err(Discard::RtpUnknownSsrc));
}

#[test]
fn layers_are_aligned_by_sender_reports() {
    let mut rig = Rig::new(vec![simulcast()]);
    let report = |ssrc, ntp_ms: u64, rtp_timestamp| Item::SenderReport {
        ssrc: Ssrc(ssrc),
        ntp: Ntp((5_000 << 32) + (ntp_ms << 32) / 1_000),
        rtp_timestamp,
        packets: 0,
        octets: 0,
    };
    rig.accept([vp8_key(1, 0).from(10).with(id::RID, b"q").marked()]);
    assert_eq!(rig.send(vp8(1, 0).from(12).with(id::RID, b"f")), Err(Discard::RtpLayer));
    assert!(rig.tell(&report(10, 0, 1_000)).is_some());
    assert!(rig.tell(&report(12, 500, 700_000)).is_none(), "nobody gets this layer");
    rig.pass(40);
    for n in 2..20 {
        let _ = rig.send(vp8(n, 0).from(12).with(id::RID, b"f"));
    }
    rig.pass(600);
    rig.accept([vp8_key(20, 709_000).from(12).with(id::RID, b"f").marked()]);
    // 100 ms after its report, which is 500 ms after the other's: 600 ms at 90 kHz.
    assert_eq!(rig.packets().last().unwrap().timestamp, 1_000 + 54_000);
    // Its reports speak of the same clock from now on.
    let clock = rig.tell(&report(12, 500, 700_000)).unwrap();
    assert_eq!(clock.rtp_timestamp, 1_000 + 45_000);
}

#[test]
fn a_publisher_that_changes_its_ssrc_goes_on() {
    let mut rig = Rig::new(vec![learned(audio()), learned(video())]);
    rig.accept([vp8_key(500, 0).marked(), opus(9, 0)]);
    rig.pass(20);
    assert_eq!(rig.send(vp8(7, 90).from(77).marked()), Err(Discard::RtpLayer));
    rig.accept([opus(700, 50_000).from(78)]);
    rig.accept([vp8_key(8, 90).from(77).marked()]);
    let packets = rig.packets();
    let of = |kind| packets.iter().filter(move |packet| packet.kind == kind);
    let steps = |kind| {
        let all: Vec<_> = of(kind).collect();
        (all[1].sequence - all[0].sequence, all[1].timestamp.wrapping_sub(all[0].timestamp))
    };
    assert_eq!(steps(Kind::Audio), (1, 960));
    assert_eq!(steps(Kind::Video), (1, 1_800));
}

#[test]
fn retransmissions_find_their_layer_by_rid_or_by_what_is_missing() {
    let mut rig = Rig::new(vec![simulcast()]);
    rig.accept([vp8_key(1, 0).from(10).with(id::RID, b"q")]);
    let _ = rig.send(vp8(1, 0).from(11).with(id::RID, b"h"));
    rig.accept([vp8(4, 0).from(10)]);
    let repair = |sequence, osn| rtx(&vp8(osn, 0), sequence);
    rig.accept([repair(1, 2).from(20).with(id::REPAIRED_RID, b"q")]);
    assert_eq!(rig.send(repair(1, 9).from(21)), Err(Discard::RtpRtx), "nobody misses it");
    rig.accept([repair(2, 3).from(21)]);
    let mut positions = rig.positions();
    positions.sort_unstable();
    assert_eq!(positions, [1, 2, 3, 4].map(|n| 65_536 + n));
}
