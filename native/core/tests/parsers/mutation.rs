//! Seeded mutations of good packets, on stable Rust: each parser gets a second of them, or
//! `PYFORWARD_FUZZ_SECONDS`. The seed is fixed, so that a failure comes again; the input it fails
//! on is printed. What was found once stays in `fuzz-corpus/<parser>/` and is replayed first.

use std::path::Path;
use std::time::{Duration, Instant};

use pyforward_core::media::Codec;
use pyforward_core::rtcp::{self, Item};
use pyforward_core::rtp::View;
use pyforward_core::rtp::codec::{h264, inspect};
use pyforward_core::stun::{self, IntegrityKey};

use super::hex;

/// Longest input; datagrams are not longer.
const MAX_LEN: usize = 1500;

/// Marsaglia's xorshift64.
pub struct Random(u64);

impl Random {
    /// A generator whose numbers follow from `seed` alone.
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `bound`, which is not zero.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// Changes bytes where parsers look: bits, extreme values, lengths, pieces of other samples.
fn mutate(random: &mut Random, samples: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = samples[random.below(samples.len())].clone();
    for _ in 0..=random.below(6) {
        let at = random.below(bytes.len().max(1));
        match random.below(8) {
            _ if bytes.is_empty() => bytes.push(random.next() as u8),
            0 | 1 => bytes[at] ^= 1 << random.below(8),
            2 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff, 4][random.below(6)],
            3 => bytes[at] = bytes[at].wrapping_add([1, 255, 4, 252][random.below(4)]),
            4 => bytes.truncate(at),
            5 => bytes.insert(at, random.next() as u8),
            6 => drop(bytes.drain(at..(at + 1 + random.below(8)).min(bytes.len()))),
            _ => {
                let other = &samples[random.below(samples.len())];
                let from = random.below(other.len());
                bytes.splice(at..at, other[from..].iter().copied());
            }
        }
    }
    bytes.truncate(MAX_LEN);
    bytes
}

/// Prints the input that made a check panic.
struct Witness<'a>(&'a str, &'a [u8]);

impl Drop for Witness<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let digits: String = self.1.iter().map(|byte| format!("{byte:02x}")).collect();
            eprintln!("the {} parser failed on {digits}", self.0);
        }
    }
}

/// Gives `check` the corpus, the samples and then their mutations until the time is up.
fn fuzz(parser: &str, samples: &[Vec<u8>], check: impl Fn(&[u8])) {
    let witnessed = |input: &[u8]| {
        let _witness = Witness(parser, input);
        check(input);
    };
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz-corpus").join(parser);
    // In one order everywhere, or the seed would mean nothing.
    let mut files: Vec<_> =
        std::fs::read_dir(&corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{corpus:?} has nothing to replay");
    let read = files.iter().map(|file| std::fs::read(file).unwrap());
    let samples: Vec<Vec<u8>> = samples.iter().cloned().chain(read).collect();
    samples.iter().for_each(|sample| witnessed(sample));
    let seconds = std::env::var("PYFORWARD_FUZZ_SECONDS");
    let seconds = seconds.map_or(1.0, |text| text.parse().expect("PYFORWARD_FUZZ_SECONDS"));
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let mut random = Random::new(1);
    let mut tried = 0_u64;
    while Instant::now() < end {
        for _ in 0..256 {
            witnessed(&mutate(&mut random, &samples));
        }
        tried += 256;
    }
    println!("{parser}: {tried} mutations");
}

#[test]
fn rtp() {
    let samples = [
        hex(super::rtp::OPUS),
        hex("90600001 00000002 00000003 1000 0003 0101aa 00 0202bbcc 0000 aabbcc 00"),
        hex("b0600001 00000002 00000003 bede 0001 10aa 00 00 aabbcc 02"),
        hex("80600001 00000002 00000003 aabbcc"),
    ];
    fuzz("rtp", &samples, |packet| {
        let ours = View::parse(packet);
        let payload = ours.and_then(|view| view.payload(packet));
        // rtp-types judges padding while it parses.
        let theirs = rtp_types::RtpPacket::parse(packet);
        assert_eq!(payload.is_ok(), theirs.is_ok());
        if let (Ok(view), Ok(payload), Ok(theirs)) = (ours, payload, theirs) {
            assert_eq!(&packet[payload], theirs.payload());
            assert_eq!(view.header_len, theirs.payload_offset());
            assert_eq!(view.sequence, theirs.sequence_number());
            assert_eq!(view.timestamp, theirs.timestamp());
            assert_eq!(view.ssrc.0, theirs.ssrc());
            assert_eq!(view.payload_type.0, theirs.payload_type());
            assert_eq!(view.marker, theirs.marker_bit());
        }
        if let Ok(view) = ours {
            let mut reached = 12;
            for (_, start, len) in view.extensions(packet) {
                assert!(start > reached && start + len <= view.header_len);
                reached = start + len;
            }
        }
    });
}

#[test]
fn codec() {
    let samples: Vec<Vec<u8>> = super::codec::SAMPLES.iter().map(|sample| hex(sample)).collect();
    fuzz("codec", &samples, |payload| {
        for codec in Codec::ALL {
            let _ = inspect(codec, payload);
        }
        let sets: Vec<&[u8]> = h264::parameter_sets(payload).collect();
        let mut joined = Vec::new();
        h264::stap_a(&sets, &mut joined);
        assert!(h264::parameter_sets(&joined).eq(sets));
    });
}

#[test]
fn rtcp() {
    fuzz("rtcp", &super::rtcp::samples(), |compound| {
        let Ok(items) = rtcp::parse(compound) else { return };
        let (mut count, mut missing, mut reports) = (0, 0, Vec::new());
        let mut written = Vec::new();
        for item in items {
            count += 1;
            match item {
                Item::Nack { sequences, .. } => missing += sequences.count(),
                Item::Report { from, block } => {
                    rtcp::Writer::new(&mut written).receiver_report(from, &[block]);
                    reports.push(Item::Report { from, block });
                }
                _ => {}
            }
        }
        // Nobody is made to work for more than was sent: an item takes four bytes at least, and
        // four bytes of a NACK name 17 packets at most.
        assert!(count <= compound.len() / 4);
        assert!(missing <= compound.len() / 4 * 17);
        // What was read can be written, and is then read the same.
        assert!(rtcp::parse(&written).into_iter().flatten().eq(reports));
    });
}

#[test]
fn stun() {
    let samples = super::stun::samples();
    let key = IntegrityKey::new(super::stun::PASSWORD);
    let signed: Vec<_> = samples.iter().map(|sample| said(sample)).collect();
    fuzz("stun", &samples, |message| {
        // Once as it is, which the checksum mostly ends, and once with the checksum mended.
        let _ = stun::parse(message);
        let mut message = message.to_vec();
        super::stun::mend_fingerprint(&mut message);
        if stun::parse(&message).is_ok_and(|request| request.verify(&key).is_ok()) {
            // Nobody without the password makes a request say something new.
            assert!(signed.contains(&said(&message)));
        }
    });
}

#[test]
fn stun_answers() {
    use stun_types::attribute::ErrorCode;
    use stun_types::message::{Message, MessageClass, ShortTermCredentials};

    let samples = super::answers::samples();
    let key = IntegrityKey::new(super::stun::PASSWORD);
    let credentials = ShortTermCredentials::new(super::stun::PASSWORD.to_owned()).into();
    let answered = |message: &[u8]| {
        let answer = stun::parse_response(message).ok()?;
        Some((answer.transaction, answer.error, answer.verify(&key).is_ok()))
    };
    let signed: Vec<_> = samples.iter().filter_map(|sample| answered(sample)).collect();
    fuzz("stun-answers", &samples, |message| {
        let _ = stun::parse_response(message);
        let mut message = message.to_vec();
        super::stun::mend_fingerprint(&mut message);
        let Some((transaction, error, verified)) = answered(&message) else { return };
        assert!(stun::is_response(&message));
        // Nobody without the password makes an answer say something new.
        assert!(!verified || signed.contains(&(transaction, error, verified)));
        // It judges the order of attributes more strictly and reads values that we pass over.
        let Ok(theirs) = Message::from_bytes(&message) else { return };
        assert_eq!(theirs.has_class(MessageClass::Error), error.is_some());
        assert!(!verified || theirs.validate_integrity(&credentials).is_ok());
        if let (true, Ok(code)) = (verified, theirs.attribute::<ErrorCode>()) {
            assert!(error.is_none_or(|error| error == code.code()));
        }
    });
}

/// All that a request says, for comparison.
fn said(message: &[u8]) -> String {
    let request = stun::parse(message).unwrap();
    format!(
        "{:?} {} {} {:?} {} {:?} {:?} {:?}",
        request.transaction,
        request.local_ufrag,
        request.remote_ufrag,
        request.priority,
        request.use_candidate,
        request.controlling,
        request.controlled,
        request.unknown
    )
}
