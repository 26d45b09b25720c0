//! Keyframes and parameter sets, seen in payloads.

use pyforward_core::media::Codec;
use pyforward_core::rtp::codec::{Inspection, h264, inspect};

use super::hex;

const NOTHING: Inspection = Inspection { keyframe: false, parameter_sets: false };
const KEYFRAME: Inspection = Inspection { keyframe: true, parameter_sets: false };
const PARAMETER_SETS: Inspection = Inspection { keyframe: false, parameter_sets: true };
const BOTH: Inspection = Inspection { keyframe: true, parameter_sets: true };

#[track_caller]
fn shows(codec: Codec, expected: Inspection, payloads: &[&str]) {
    for payload in payloads {
        assert_eq!(inspect(codec, &hex(payload)), expected, "{codec:?} {payload}");
    }
}

/// A payload of each sort, for the mutations.
pub const SAMPLES: &[&str] = &[
    "9080a8e5f078009d012aa0007800390300001c22",
    "90f080010263 f078009d012a",
    "7800166742c01fd902847e5840000003004000000f23c60c92000468cb8cb2",
    "7c8588840abc31800580600b64c0562e",
    "6588840abc31",
    "78 000c 6742c01fd902847e58400000 0004 68cb8cb2 0005 6588840abc",
    "6201 93 afaf",
    "6001 0005 4001aabbcc 0006 2601afaabbcc",
    "18 0a0b0000000442abbfc3 32aabb",
    "08 04 0a0b0000 03 32aabb",
    "8aabb10a2b0c aabbcc",
    "78 80",
];

#[test]
fn vp8_keyframes_start_with_the_first_partition() {
    // Descriptors and frames by aiortc (libvpx).
    shows(
        Codec::Vp8,
        KEYFRAME,
        &[
            "9080a8e5 f078009d012aa0007800", // 15-bit picture id
            "10 f078009d012aa000",           // no extension
            "908011 f078009d012a",           // 7-bit picture id
            "90f080010263 f078009d012a",     // picture id, TL0PICIDX, TID and KEYIDX
            "9060 0102 f0",                  // TL0PICIDX and TID without a picture id
            "b080a8e5 f0",                   // a frame that no other refers to
        ],
    );
    shows(
        Codec::Vp8,
        NOTHING,
        &[
            "9080a8e6 713a00e3c2e8", // an inter frame's start
            "8080a8e5 410d497b",     // a later packet of a keyframe
            "8080a8e5 400d497b",     // the same, looking like one
            "938011 f078009d012a",   // the start of a later partition
            "00 f0",
        ],
    );
    // Cut off in the descriptor or before the frame.
    shows(Codec::Vp8, NOTHING, &["", "10", "90", "9080", "9080a8", "9080a8e5", "90f0800102"]);
}

#[test]
fn vp9_keyframes_are_unpredicted_lowest_layers() {
    shows(
        Codec::Vp9,
        KEYFRAME,
        &[
            "88 11 aa",         // I, B
            "8a 8123 aa",       // I, B, V with a long picture id
            "08 aa",            // B alone
            "a8 8123 00 05 aa", // I, L, B: TID 0, SID 0
            "b8 8123 10 aa",    // I, L, F, B: U set
        ],
    );
    shows(
        Codec::Vp9,
        NOTHING,
        &[
            "c8 11 aa",         // P
            "80 11 aa",         // no B
            "84 11 aa",         // E only
            "a8 8123 02 05 aa", // SID 1
            "a8 8123 03 05 aa", // SID 1, depends on SID 0
            "a8 8123",          // cut before the layers
            "a8",
            "",
        ],
    );
}

#[test]
fn h264_idr_slices_are_found_in_all_forms_of_mode_0_and_1() {
    shows(
        Codec::H264,
        KEYFRAME,
        &[
            "6588840abc31",               // single NAL unit
            "7c8588840abc31",             // FU-A, start
            "2588",                       // NRI 1
            "78 0003 06aabb 0003 658884", // STAP-A: SEI, IDR
        ],
    );
    shows(
        Codec::H264,
        NOTHING,
        &[
            "4188840abc31",  // P slice
            "7c05512b5fe7",  // FU-A, IDR, middle
            "7c45512b5fe7",  // FU-A, IDR, end
            "5c8188886bc3",  // FU-A, P slice, start
            "6540840abc31",  // a later slice of an IDR picture
            "7c85400abc31",  // the same, fragmented
            "0605aabb",      // SEI
            "790000 658884", // STAP-B, of mode 2
            "7d8588840abc",  // FU-B, of mode 2
            "65",
            "7c85",
            "7c",
            "78",
            "7800",
            "780004 6588",
            "",
        ],
    );
}

#[test]
fn h264_parameter_sets_are_found_with_and_without_a_slice() {
    shows(Codec::H264, PARAMETER_SETS, &["6742c01f", "68cb8cb2", "78 0004 6742c01f 0004 68cb8cb2"]);
    shows(Codec::H264, BOTH, &["78 0004 6742c01f 0004 68cb8cb2 0003 658884"]);
    // aiortc (libx264): SPS, PPS and SEI of its first frame in one STAP-A.
    let start = hex("7800166742c01fd902847e5840000003004000000f23c60c92000468cb8cb2");
    let sets: Vec<&[u8]> = h264::parameter_sets(&start).collect();
    assert_eq!(sets.len(), 2);
    assert_eq!(sets[0], hex("6742c01fd902847e5840000003004000000f23c60c92"));
    assert_eq!(sets[1], hex("68cb8cb2"));
    // The rest of a STAP-A that is cut off does not count.
    assert_eq!(h264::parameter_sets(&start[..start.len() - 1]).count(), 1);
    assert_eq!(h264::parameter_sets(&hex("7c8742c01f")).count(), 0);
}

#[test]
fn stap_a_joins_units_as_aiortc_does() {
    let (sps, pps) = (hex("6742c01fd902847e5840000003004000000f23c60c92"), hex("68cb8cb2"));
    let mut out = b"before".to_vec();
    h264::stap_a(&[&sps, &pps], &mut out);
    let aiortc = hex("7800166742c01fd902847e5840000003004000000f23c60c92000468cb8cb2");
    assert_eq!(out, [b"before", &aiortc[..]].concat());
    // F of any, NRI of the highest.
    let mut out = Vec::new();
    h264::stap_a(&[&[0x01, 1], &[0xa1, 2], &[0x41]], &mut out);
    assert_eq!(out[0], 0x80 | 0x40 | 24);
}

#[test]
fn stap_a_leaves_out_what_it_cannot_hold() {
    let long = vec![0x67; 65_536];
    let mut out = Vec::new();
    h264::stap_a(&[], &mut out);
    h264::stap_a(&[&[], &long], &mut out);
    assert!(out.is_empty());
    h264::stap_a(&[&[], &long, &[0x68, 1]], &mut out);
    assert_eq!(out, hex("78 0002 6801"));
}

#[test]
fn h265_random_access_pictures_and_parameter_sets() {
    shows(
        Codec::H265,
        KEYFRAME,
        &[
            "2601af",       // IDR_W_RADL
            "2801af",       // IDR_N_LP
            "2a01af",       // CRA
            "2001af",       // BLA_W_LP
            "6201 93 afaf", // fragment, start of IDR_W_RADL
        ],
    );
    shows(
        Codec::H265,
        NOTHING,
        &[
            "0201af",       // TRAIL_R
            "2c01af",       // reserved IRAP
            "26012f",       // a later slice segment
            "6201 13 afaf", // fragment, middle
            "6201 81 afaf", // fragment, start of TRAIL_R
            "6401 93 afaf", // PACI
            "2601",
            "26",
            "6201",
            "620193",
            "6001",
            "600100",
            "60010009",
            "",
        ],
    );
    shows(Codec::H265, PARAMETER_SETS, &["4001aa", "4201aa", "4401aa"]);
    shows(Codec::H265, BOTH, &["6001 0005 4001aabbcc 0006 2601afaabbcc"]);
}

#[test]
fn av1_sequences_start_with_n() {
    let sequence_header = "0a0b0000000442abbfc3";
    // W = 1: one element without a length; N set.
    shows(Codec::Av1, KEYFRAME, &["18 32aabb"]);
    shows(
        Codec::Av1,
        BOTH,
        &[
            &format!("18 {sequence_header}"),
            "28 04 0a0b0000 32aabb",    // W = 2
            "08 04 0a0b0000 03 32aabb", // W = 0: each has its length
            "08 8400 0a0b0000",         // a length in more bytes than it needs
        ],
    );
    shows(
        Codec::Av1,
        PARAMETER_SETS,
        &["10 0aaabb", "20 0232aa 0aaabb"], // no N: a sequence header said again
    );
    shows(
        Codec::Av1,
        NOTHING,
        &[
            "10 32aabb",
            "98 0aaabb",    // Z with N is a contradiction
            "90 0aaabb",    // the first element continues another
            "50 0aaabb",    // the last one is not whole
            "00 05 0aaabb", // a length beyond the packet
            "00 ffffffffffffffff 0a",
            "00 ff",
            "18",
            "",
        ],
    );
}

#[test]
fn audio_has_neither() {
    for codec in [Codec::Opus, Codec::Pcmu, Codec::Pcma] {
        shows(codec, NOTHING, &["", "78", "fc0102030405", "6742c01f"]);
    }
}

#[test]
fn payloads_cut_anywhere_are_looked_at() {
    for sample in SAMPLES {
        let payload = hex(sample);
        for len in 0..=payload.len() {
            for codec in Codec::ALL {
                let _ = inspect(codec, &payload[..len]);
            }
        }
    }
}
