//! RTCP compounds, read and written.

use pyforward_core::discard::Discard;
use pyforward_core::ids::Ssrc;
use pyforward_core::rtcp::{Item, ReportBlock, Writer, is_rtcp, parse};
use pyforward_core::time::Ntp;
use rtcp_types::prelude::*;

use super::hex;

// Written by aiortc.
const SR: &str = "82c80012 11223344 e123456789abcdef 000dbba0 000004d2 0008aa52 \
                  55667788 19 0003e8 00012345 00000141 aabbccdd 00010000 \
                  99aabbcc 19 fffffd 00012345 00000141 aabbccdd 00010000";
const RR: &str = "81c90007 00000001 55667788 19 0003e8 00012345 00000141 aabbccdd 00010000";
const BYE: &str = "82cb0002 11223344 11223345";
const NACK: &str = "81cd0005 00000001 55667788 ffdc8001 ffed0000 ffff0000";
const PLI: &str = "81ce0002 00000001 55667788";
const FIR: &str = "84ce0004 00000001 00000000 55667788 07000000";
const REMB: &str = "8fce0006 00000001 00000000 52454d42 02 12625a 55667788 99aabbcc";
// By hand after RFC 3611 §4.4 and §4.5: a reference time, a block of another type, two answers.
const XR: &str = "80cf000d 00000001 04000002 e123456789abcdef 07010001 aaaaaaaa \
                  05000006 11223344 aabbccdd 00008000 11223345 00000000 00000000";
// By hand: source descriptions (aiortc does not align the second chunk), an application packet,
// and transport-wide feedback as libwebrtc pads it.
const SDES: &str = "82ca0009 11223344 01 07 7b636e616d657d 00 0000 \
                    11223345 01 09 7079666f7277617264 02 01 6e 0000";
const APP: &str = "80cc0003 00000001 6e616d65 aaaaaaaa";
const TRANSPORT_WIDE: &str = "afcd0006 00000001 55667788 0001 0003 00000100 2003 04080c 000003";

/// Each packet alone and all of them as one compound, the padded one last.
pub fn samples() -> Vec<Vec<u8>> {
    let packets = [SR, SDES, RR, NACK, PLI, FIR, REMB, XR, APP, BYE, TRANSPORT_WIDE].map(hex);
    let compound = packets.concat();
    packets.into_iter().chain([compound]).collect()
}

fn items(compound: &[u8]) -> Vec<Item<'_>> {
    parse(compound).unwrap().collect()
}

fn written(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut Writer::new(&mut out));
    out
}

fn block(ssrc: u32, cumulative_lost: u32) -> ReportBlock {
    ReportBlock {
        ssrc: Ssrc(ssrc),
        fraction_lost: 25,
        cumulative_lost,
        highest: 0x0001_2345,
        jitter: 321,
        last_sr: 0xaabb_ccdd,
        delay_since_last_sr: 65_536,
    }
}

fn sender_report() -> Item<'static> {
    Item::SenderReport {
        ssrc: Ssrc(0x1122_3344),
        ntp: Ntp(0xe123_4567_89ab_cdef),
        rtp_timestamp: 900_000,
        packets: 1234,
        octets: 567_890,
    }
}

#[test]
fn reports_of_aiortc_are_read() {
    let from = Ssrc(0x1122_3344);
    assert_eq!(
        items(&hex(SR)),
        [
            sender_report(),
            Item::Report { from, block: block(0x5566_7788, 1000) },
            Item::Report { from, block: block(0x99aa_bbcc, 0xff_fffd) },
        ]
    );
    let block = block(0x5566_7788, 1000);
    assert_eq!(items(&hex(RR)), [Item::Report { from: Ssrc(1), block }]);
    assert_eq!(items(&hex("80c90001 00000001")), []);
}

#[test]
fn feedback_of_aiortc_is_read() {
    let media = Ssrc(0x5566_7788);
    let nack = hex(NACK);
    let [Item::Nack { media: of, sequences }] = &items(&nack)[..] else { panic!("one NACK") };
    assert_eq!(*of, media);
    assert!(sequences.clone().eq([65500, 65501, 65516, 65517, 65535]));
    assert_eq!(items(&hex(PLI)), [Item::Pli { media }]);
    assert_eq!(items(&hex(FIR)), [Item::Fir { media, seq_nr: 7 }]);
    assert_eq!(items(&hex(REMB)), [Item::Remb { bitrate_bps: 2_500_000 }]);
    let leaving = [0x1122_3344, 0x1122_3345].map(|ssrc| Item::Bye { ssrc: Ssrc(ssrc) });
    assert_eq!(items(&hex(BYE)), leaving);
}

#[test]
fn a_nack_mask_wraps_around() {
    let nack = hex("81cd0004 00000001 00000002 fffe 8003 0000 ffff");
    let Item::Nack { sequences, .. } = items(&nack).remove(0) else { panic!("a NACK") };
    let expected: Vec<u16> = [65534, 65535, 0, 14].into_iter().chain(0..=16).collect();
    assert!(sequences.eq(expected));
}

#[test]
fn extended_reports_are_read_over_foreign_blocks() {
    assert_eq!(
        items(&hex(XR)),
        [
            Item::ReceiverReferenceTime { ssrc: Ssrc(1), ntp: Ntp(0xe123_4567_89ab_cdef) },
            Item::Dlrr { ssrc: Ssrc(0x1122_3344), last_rr: 0xaabb_ccdd, delay: 0x8000 },
            Item::Dlrr { ssrc: Ssrc(0x1122_3345), last_rr: 0, delay: 0 },
        ]
    );
}

#[test]
fn a_compound_is_read_in_order_and_what_is_not_known_is_skipped() {
    let everything = samples().pop().unwrap();
    let kinds: Vec<&str> = items(&everything)
        .iter()
        .map(|item| match item {
            Item::SenderReport { .. } => "sr",
            Item::Report { .. } => "report",
            Item::Nack { .. } => "nack",
            Item::Pli { .. } => "pli",
            Item::Fir { .. } => "fir",
            Item::Remb { .. } => "remb",
            Item::ReceiverReferenceTime { .. } => "rrt",
            Item::Dlrr { .. } => "dlrr",
            Item::Bye { .. } => "bye",
        })
        .collect();
    assert_eq!(kinds.join(" "), "sr report report report nack pli fir remb rrt dlrr dlrr bye bye");
    for skipped in [SDES, APP, TRANSPORT_WIDE, "80c00000", "80df0001 00000000", "81c2 0000"] {
        assert_eq!(items(&hex(skipped)), [], "{skipped}");
    }
    // Application layer feedback that is not REMB, feedback of unknown format.
    for skipped in ["8fce0003 00000001 00000000 41424344", "82ce0002 00000001 00000000"] {
        assert_eq!(items(&hex(skipped)), [], "{skipped}");
    }
}

#[test]
fn a_bye_may_tell_a_reason() {
    let bye = hex("81cb0003 11223344 05 77686174 2e 0000");
    assert_eq!(items(&bye), [Item::Bye { ssrc: Ssrc(0x1122_3344) }]);
    assert_eq!(items(&hex("80cb0000")), []);
}

#[test]
fn remb_holds_more_than_64_bits() {
    for (mantissa, expected) in [
        ("000001", 1),
        ("03ffff", 0x3ffff),
        ("fc0001", 1 << 63),
        ("fc0002", u64::MAX),
        ("ffffff", u64::MAX),
        ("fc0000", 0),
    ] {
        let remb = hex(&format!("8fce0004 00000001 00000000 52454d42 00 {mantissa}"));
        assert_eq!(items(&remb), [Item::Remb { bitrate_bps: expected }], "{mantissa}");
    }
}

#[test]
fn broken_compounds_are_dropped_whole() {
    for (broken, why) in [
        ("", "empty"),
        ("81ce00", "no whole header"),
        ("41ce0002 00000001 55667788", "version 1"),
        ("81ce0003 00000001 55667788", "longer than the datagram"),
        ("81ce0002 00000001 55667788 00", "bytes left over"),
        ("81ce0002 00000001 55667788 41ce0002 00000001 55667788", "version 1 behind version 2"),
        ("81ce0001 00000001", "feedback without a media source"),
        ("81c80006 11223344 e123456789abcdef 000dbba0 000004d2 0008aa52", "SR short of a block"),
        ("80c80005 11223344 e123456789abcdef 000dbba0 000004d2", "SR without its octets"),
        ("81c90001 00000001", "RR short of a block"),
        ("80c90000", "RR without a sender"),
        ("83cb0002 11223344 11223345", "BYE short of a source"),
        ("81cb0002 11223344 04 414141", "BYE's reason too long"),
        ("81cd0002 00000001 55667788", "NACK of nothing"),
        ("8fcd0003 00000001 55667788 00010002", "transport-wide feedback without its time"),
        ("84ce0003 00000001 00000000 55667788", "half a FIR"),
        ("84ce0002 00000001 00000000", "FIR of nothing"),
        ("8fce0003 00000001 00000000 52454d42", "REMB without a bitrate"),
        ("8fce0004 00000001 00000000 52454d42 01 12625a", "REMB short of a source"),
        ("80cc0001 00000001", "APP without a name"),
        ("80cf0000", "XR without a sender"),
        ("80cf0003 00000001 04000002 e1234567", "XR block beyond the packet"),
        ("80cf0003 00000001 04000001 e1234567", "reference time too short"),
        ("80cf0004 00000001 05000002 11223344 aabbccdd", "DLRR short of a delay"),
        ("81ca0001 11223344", "SDES chunk without an end"),
        ("81ca0002 11223344 01034141", "SDES item too long"),
        ("82ca0002 11223344 00000000", "SDES short of a chunk"),
        ("a1ce0003 00000001 55667788 00000000", "padding of nothing"),
        ("a1ce0003 00000001 55667788 00000010", "padding longer than the packet"),
        ("a1ce0003 00000001 55667788 0000000c", "nothing but padding"),
        ("a0c00000", "padding without room for it"),
    ] {
        assert_eq!(parse(&hex(broken)).err(), Some(Discard::RtcpMalformed), "{why}");
        // Nothing of a good packet before it counts either.
        let after_good = [hex(PLI), hex(broken)].concat();
        let expected = (!broken.is_empty()).then_some(Discard::RtcpMalformed);
        assert_eq!(parse(&after_good).err(), expected, "{why}");
    }
}

#[test]
fn any_packet_may_be_padded_by_any_number() {
    // libwebrtc pads each transport-wide feedback of a compound, not the last packet alone.
    let padded = [TRANSPORT_WIDE, PLI, "a1ce0004 00000001 55667788 00000000 00000008", PLI];
    let compound = padded.map(hex).concat();
    let pli = Item::Pli { media: Ssrc(0x5566_7788) };
    assert_eq!(items(&compound), [pli.clone(), pli.clone(), pli]);
}

#[test]
fn compounds_cut_or_flipped_anywhere_are_dropped_or_read() {
    for sample in samples() {
        for len in 0..sample.len() {
            if let Ok(items) = parse(&sample[..len]) {
                items.for_each(drop);
                assert_eq!(len % 4, 0);
            }
        }
        let mut broken = sample.clone();
        for position in 0..sample.len() * 8 {
            broken[position / 8] ^= 1 << (position % 8);
            parse(&broken).into_iter().flatten().for_each(drop);
            broken[position / 8] ^= 1 << (position % 8);
        }
    }
}

#[test]
fn written_packets_equal_aiortcs() {
    let (sender, media) = (Ssrc(1), Ssrc(0x5566_7788));
    let blocks = [block(0x5566_7788, 1000), block(0x99aa_bbcc, 0xff_fffd)];
    let ntp = Ntp(0xe123_4567_89ab_cdef);
    let sources = [Ssrc(0x1122_3344), Ssrc(0x1122_3345)];
    let compound = written(|to| {
        to.sender_report(Ssrc(0x1122_3344), ntp, 900_000, 1234, 567_890, &blocks)
            .receiver_report(sender, &blocks[..1])
            .bye(&sources)
            .nack(sender, media, &[65500, 65501, 65516, 65517, 65535])
            .pli(sender, media)
            .fir(sender, media, 7)
            .remb(sender, 2_500_000, &[media, Ssrc(0x99aa_bbcc)]);
    });
    assert_eq!(compound, [SR, RR, BYE, NACK, PLI, FIR, REMB].map(hex).concat());
}

#[test]
fn nacks_and_cnames_wrap_and_align() {
    let nack = written(|to| {
        to.nack(Ssrc(1), Ssrc(2), &[65534, 65535, 0, 14, 15]);
    });
    assert_eq!(nack, hex("81cd0004 00000001 00000002 fffe 8003 000f 0000"));
    for cname in ["", "n", "nn", "nnn", "nnnn", "a-cname"] {
        let bytes = written(|to| {
            to.sdes_cname(&[Ssrc(0x1122_3344), Ssrc(0x1122_3345)], cname);
        });
        let sdes = rtcp_types::Sdes::parse(&bytes).unwrap();
        let read: Vec<(u32, &[u8])> =
            sdes.chunks().map(|c| (c.ssrc(), c.items().next().unwrap().value())).collect();
        assert_eq!(read, [(0x1122_3344, cname.as_bytes()), (0x1122_3345, cname.as_bytes())]);
        assert_eq!(items(&bytes), []);
    }
}

#[test]
fn nothing_is_written_for_nothing() {
    let nothing = written(|to| {
        to.nack(Ssrc(1), Ssrc(2), &[]).bye(&[]).sdes_cname(&[], "n").dlrr(Ssrc(1), &[]);
        to.transport_feedback(Ssrc(1), Ssrc(2), 0, 0, 0, &[]);
    });
    assert_eq!(nothing, []);
}

#[test]
fn long_rows_go_on_in_further_packets() {
    let blocks: Vec<ReportBlock> = (0..70).map(|ssrc| block(ssrc, 0)).collect();
    let sources: Vec<Ssrc> = (0..300).map(Ssrc).collect();
    let answers: Vec<_> = sources.iter().map(|ssrc| (*ssrc, 1, 2)).collect();
    let compound = written(|to| {
        to.sender_report(Ssrc(9), Ntp(0), 0, 0, 0, &blocks)
            .receiver_report(Ssrc(9), &blocks)
            .sdes_cname(&sources, &"n".repeat(300))
            .bye(&sources)
            .dlrr(Ssrc(9), &answers)
            .remb(Ssrc(9), u64::MAX, &sources);
    });
    let count = |wanted: fn(&Item<'_>) -> bool| parse(&compound).unwrap().filter(wanted).count();
    assert_eq!(count(|item| matches!(item, Item::Report { .. })), 140);
    assert_eq!(count(|item| matches!(item, Item::Bye { .. })), 300);
    assert_eq!(count(|item| matches!(item, Item::Dlrr { .. })), 300);
    assert_eq!(count(|item| matches!(item, Item::SenderReport { .. })), 1);
}

#[test]
fn extended_reports_are_written_as_they_are_read() {
    let bytes = written(|to| {
        to.receiver_reference_time(Ssrc(7), Ntp(0xe123_4567_89ab_cdef));
        to.dlrr(Ssrc(8), &[(Ssrc(1), 2, 3), (Ssrc(4), 5, 6)]);
    });
    assert_eq!(
        items(&bytes),
        [
            Item::ReceiverReferenceTime { ssrc: Ssrc(7), ntp: Ntp(0xe123_4567_89ab_cdef) },
            Item::Dlrr { ssrc: Ssrc(1), last_rr: 2, delay: 3 },
            Item::Dlrr { ssrc: Ssrc(4), last_rr: 5, delay: 6 },
        ]
    );
    // rtcp-types refuses a DLRR of two answers.
    let bytes = written(|to| {
        to.dlrr(Ssrc(8), &[(Ssrc(1), 2, 3)]);
    });
    let report = rtcp_types::Xr::parse(&bytes).unwrap();
    let block = report.block_iter().next().unwrap();
    let dlrr = block.parse_into::<rtcp_types::DelaySinceLastReceiverReport>().unwrap();
    let answer = dlrr.block_iter().next().unwrap();
    assert_eq!((report.sender_ssrc(), answer.ssrc(), answer.last_receiver_report()), (8, 1, 2));
    assert_eq!(answer.delay_since_last_receiver_report_timestamp(), 3);
}

#[test]
fn remb_is_written_rounded_down() {
    for bitrate in [0, 1, 0x3_ffff, 0x4_0001, 30_000, 123_456_789, u64::MAX] {
        let bytes = written(|to| {
            to.remb(Ssrc(1), bitrate, &[Ssrc(2)]);
        });
        let [Item::Remb { bitrate_bps: read }] = items(&bytes)[..] else { panic!("a REMB") };
        assert!(read <= bitrate && bitrate - read <= bitrate >> 17, "{bitrate} became {read}");
    }
}

#[test]
fn transport_feedback_chooses_its_chunks() {
    let chunks = |deltas: &[Option<i16>]| {
        let bytes = written(|to| {
            to.transport_feedback(Ssrc(1), Ssrc(2), 5, 100, 0xff12_3456, deltas);
        });
        assert_eq!(bytes.len() % 4, 0);
        assert_eq!(bytes[..12], hex(&format!("8fcd{:04x} 00000001 00000002", bytes.len() / 4 - 1)));
        assert_eq!(bytes[16..20], hex("123456 05"), "24 bits of the time, the count");
        bytes[20..].to_vec()
    };
    let (none, small, large, before) = (None, Some(4), Some(256), Some(-1));
    // Runs: three small ones; all of twenty lost but the last, which ends in a vector.
    assert_eq!(chunks(&[small; 3]), hex("2003 040404 000000"));
    let mut lost = vec![none; 20];
    lost.push(small);
    assert_eq!(chunks(&lost), hex("0014 2001 04 000000"));
    // A one-bit vector holds 14, a two-bit one 7; what is left is a run of one.
    let mixed: Vec<_> = (0..15).map(|i| if i % 2 == 0 { small } else { none }).collect();
    assert_eq!(chunks(&mixed), hex("aaaa 2001 0404040404040404"));
    let wide = [small, none, large, before, none, none, small, small];
    assert_eq!(chunks(&wide), hex("d281 2001 04 0100 ffff 04 04 00"));
    // A run has 13 bits.
    let lost = vec![none; 0x2000];
    assert_eq!(chunks(&lost), hex("1fff 0001"));
    assert_eq!(chunks(&[large; 7]), hex(&format!("4007 {}", "0100".repeat(7))));
}

#[test]
fn transport_feedback_says_what_it_was_told() {
    // By the eyes of rtcp-types, over every mixture that a small generator comes upon.
    let mut random = super::mutation::Random::new(7);
    for _ in 0..2_000 {
        let (some_lost, some_large) = (random.below(4), random.below(3) * 20);
        let deltas: Vec<Option<i16>> = (0..=random.below(60))
            .map(|_| match (random.below(4) < some_lost, random.below(100) < some_large) {
                (true, _) => None,
                (false, true) => Some(random.next() as i16),
                (false, false) => Some(random.below(256) as i16),
            })
            .collect();
        let bytes = written(|to| {
            to.transport_feedback(Ssrc(1), Ssrc(2), 9, 65_530, 77, &deltas);
        });
        assert_eq!(items(&bytes), []);
        let packet = rtcp_types::TransportFeedback::parse(&bytes).unwrap();
        let feedback = packet.parse_fci::<rtcp_types::Twcc>().unwrap();
        let read: Vec<(u16, Option<i16>)> = feedback
            .packets()
            .map(|status| match status.unwrap() {
                (sequence, rtcp_types::TwccPacketStatus::Received { delta }) => {
                    (sequence, Some(delta))
                }
                (sequence, rtcp_types::TwccPacketStatus::NotReceived) => (sequence, None),
            })
            .collect();
        let told: Vec<(u16, Option<i16>)> =
            (0..).map(|i: u16| i.wrapping_add(65_530)).zip(deltas).collect();
        assert_eq!(read, told);
        assert_eq!((feedback.feedback_packet_count(), feedback.reference_time()), (9, 77));
    }
}

#[test]
fn rtcp_is_told_from_rtp_by_its_second_byte() {
    for sample in samples() {
        assert!(is_rtcp(&sample));
    }
    assert!(!is_rtcp(&hex(super::rtp::OPUS)));
    assert!(!is_rtcp(&hex("80")) && !is_rtcp(&hex("80bf")) && !is_rtcp(&hex("80e0")));
}
