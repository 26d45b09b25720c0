//! What the publisher is told, and what its RTCP tells us: receiver reports, NACK, PLI and FIR,
//! transport-wide feedback or REMB, round trips and clocks.
//!
//! Every compound starts with a report and a CNAME (RFC 3550 §6.1), so that it also suits a
//! publisher that did not negotiate reduced-size RTCP (RFC 5506).

use std::time::Duration;

use arrayvec::ArrayVec;

use super::track::{Encoding, SenderReport, Track};
use super::{ClockUpdate, Source};
use crate::command::PublishTrack;
use crate::ids::Ssrc;
use crate::media::Kind;
use crate::rtcp::{Item, ReportBlock, Writer};
use crate::time::{Ntp, Time};

/// Time between two reports, unless another one is asked for.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Sequence numbers in one NACK: at worst an entry of four bytes each.
const MAX_NACKS: usize = 200;
/// From this fraction on the way counts as lossy.
const LOSSY: f64 = 0.01;
/// Report blocks of one report (RFC 3550 §6.4.1), and within 1,200 bytes for two tracks.
const MAX_BLOCKS: usize = 16;
/// Receiver reference times that wait for an answer.
const MAX_REFERENCES: usize = 4;
/// A round trip beyond this is a mistake of somebody's clock.
const MAX_ROUND_TRIP: Duration = Duration::from_secs(10);
/// How long a packet is waited for before it is asked for again while no round trip is known.
const UNKNOWN_ROUND_TRIP: Duration = Duration::from_millis(50);

/// The schedule of reports and what is known of the path.
#[derive(Debug)]
pub(super) struct Feedback {
    /// Whom feedback about no particular track comes from: the video track, else the first.
    sender: Ssrc,
    cname: String,
    interval: Duration,
    due: Time,
    report: bool,
    references: ArrayVec<Reference, MAX_REFERENCES>,
    /// As the publisher's DLRR tells it.
    round_trip: Option<Duration>,
    /// As repaired packets tell it: contains the publisher's own delay.
    answered_in: Option<Duration>,
    loss: f64,
}

/// A receiver reference time of the publisher's (RFC 3611 §4.4).
#[derive(Debug)]
struct Reference {
    ssrc: Ssrc,
    middle: u32,
    arrival: Time,
}

impl Feedback {
    pub(super) fn new(tracks: &[PublishTrack], interval: Option<Duration>) -> Feedback {
        let video = tracks.iter().find(|track| track.kind == Kind::Video);
        let sender = video.or(tracks.first()).map_or(Ssrc(1), |track| track.feedback_ssrc);
        Feedback {
            sender,
            cname: format!("{:08x}", sender.0),
            interval: interval.unwrap_or(REPORT_INTERVAL),
            due: Time::NEVER,
            report: false,
            references: ArrayVec::new(),
            round_trip: None,
            answered_in: None,
            loss: 0.0,
        }
    }

    /// A packet arrived: there is something to report from now on.
    pub(super) fn started(&mut self, now: Time) {
        if self.due == Time::NEVER {
            self.due = now + self.interval;
        }
    }

    /// A packet came so long after it was asked for.
    pub(super) fn answered(&mut self, answered_in: Duration) {
        let before = self.answered_in.unwrap_or(answered_in);
        self.answered_in = Some((before * 7 + answered_in) / 8);
    }

    /// How long to wait before a packet is asked for again.
    pub(super) fn retry(&self) -> Duration {
        self.answered_in.max(self.round_trip).unwrap_or(UNKNOWN_ROUND_TRIP)
    }

    pub(super) fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    pub(super) fn loss(&self) -> f64 {
        self.loss
    }

    pub(super) fn handle_timeout(&mut self, now: Time) {
        if self.due <= now {
            self.report = true;
            self.due = now + self.interval;
        }
    }

    /// When `handle_timeout` has something to do next.
    pub(super) fn due(&self) -> Time {
        self.due
    }

    /// Starts a compound.
    fn open<'a>(&self, sender: Ssrc, out: &'a mut Vec<u8>) -> Writer<'a> {
        let mut writer = Writer::new(out);
        writer.receiver_report(sender, &[]).sdes_cname(&[sender], &self.cname);
        writer
    }
}

/// Relates the publisher's wall clock to ours. One relation for all of its tracks, so that their
/// lips stay in sync; it follows the reports that took the least time to arrive, and rises by at
/// most [`Clock::RISE`] with each report, as clocks drift.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// Our clock minus the publisher's, modulo 2^64, in units of 2^-32 s.
    ahead: Option<u64>,
}

impl Clock {
    /// 1 ms.
    const RISE: i64 = (1 << 32) / 1_000;
    /// A larger step means that somebody set a clock: 1 s.
    const STEP: u64 = 1 << 32;

    /// A report made at `theirs` arrived at `ours`; when it was made, by our clock.
    fn relate(&mut self, theirs: Ntp, ours: Ntp) -> Ntp {
        // Encoders without a clock send zero (RFC 3550 §6.4.1).
        if theirs.0 == 0 {
            return ours;
        }
        let seen = ours.0.wrapping_sub(theirs.0);
        let before = self.ahead.unwrap_or(seen);
        let change = seen.wrapping_sub(before).cast_signed();
        let change =
            if change.unsigned_abs() > Clock::STEP { change } else { change.min(Clock::RISE) };
        let ahead = before.wrapping_add_signed(change);
        self.ahead = Some(ahead);
        Ntp(theirs.0.wrapping_add(ahead))
    }
}

/// See [`Source::handle_rtcp`].
pub(super) fn handle_rtcp(source: &mut Source, now: Time, item: &Item<'_>) -> Option<ClockUpdate> {
    let ours = source.config.wall_clock.ntp(now);
    match *item {
        Item::SenderReport { ssrc, ntp, rtp_timestamp, .. } => {
            let of = |encoding: &Encoding| encoding.ssrc == ssrc;
            let track = source.tracks.iter_mut().find(|track| track.encodings.iter().any(of))?;
            let encoding = track.encodings.iter_mut().find(|encoding| of(encoding))?;
            encoding.last_report = Some(SenderReport { ntp, rtp_timestamp, arrival: now });
            let ntp = source.clock.relate(ntp, ours);
            // Of a layer that nobody gets it is only remembered.
            (track.forwarded()?.ssrc == ssrc).then(|| ClockUpdate {
                kind: track.config.kind,
                clock_rate: track.config.clock_rate,
                ntp,
                rtp_timestamp: track.timeline.timestamp(rtp_timestamp),
            })
        }
        Item::ReceiverReferenceTime { ssrc, ntp } => {
            let references = &mut source.feedback.references;
            references.retain(|reference| reference.ssrc != ssrc);
            let _ = references.try_push(Reference { ssrc, middle: ntp.middle(), arrival: now });
            None
        }
        Item::Dlrr { ssrc, last_rr, delay } => {
            let is_ours = source.tracks.iter().any(|track| track.config.feedback_ssrc == ssrc);
            if is_ours && last_rr != 0 {
                // RFC 3611 §4.5: arrival minus LRR minus DLRR; it may come out just below zero.
                let units = ours.middle().wrapping_sub(last_rr).wrapping_sub(delay);
                let round_trip = from_units(u32::try_from(units.cast_signed()).unwrap_or(0));
                if round_trip <= MAX_ROUND_TRIP {
                    source.feedback.round_trip = Some(round_trip);
                }
            }
            None
        }
        _ => None,
    }
}

/// See [`Source::poll_rtcp`].
pub(super) fn poll_rtcp(source: &mut Source, now: Time, out: &mut Vec<u8>) -> bool {
    if source.feedback.report {
        source.feedback.report = false;
        write_report(source, now, out);
        return true;
    }
    let feedback = &source.feedback;
    let asking = |track: &&mut Track| track.keyframe_request || !track.nacks.is_empty();
    let begun = out.len();
    while let Some(track) = source.tracks.iter_mut().find(asking) {
        if track.config.reduced_size {
            write_want(track, &mut Writer::new(out));
        } else {
            let mut writer = feedback.open(track.config.feedback_ssrc, out);
            while write_want(track, &mut writer) {}
        }
        // What is wanted may be of an encoding that is not known any more.
        if out.len() > begun {
            return true;
        }
    }
    match &mut source.arrivals {
        Some(arrivals) if arrivals.is_ready() => {
            let media = source.tracks.iter().find_map(Track::forwarded);
            let media = media.map_or(Ssrc(0), |encoding| encoding.ssrc);
            arrivals.write(feedback.sender, media, &mut feedback.open(feedback.sender, out));
            true
        }
        _ => false,
    }
}

/// See [`Source::write_bye`].
pub(super) fn write_bye(source: &Source, out: &mut Vec<u8>) {
    let feedback = &source.feedback;
    let ours: ArrayVec<Ssrc, 2> =
        source.tracks.iter().map(|track| track.config.feedback_ssrc).take(2).collect();
    feedback.open(feedback.sender, out).bye(&ours);
}

/// Receiver reports of all tracks, our reference time, the answers to the publisher's, REMB.
fn write_report(source: &mut Source, now: Time, out: &mut Vec<u8>) {
    let Source { tracks, feedback, config, .. } = source;
    let sender = feedback.sender;
    let mut writer = Writer::new(out);
    let mut worst = 0;
    for track in tracks.iter_mut() {
        let mut blocks = ArrayVec::<ReportBlock, MAX_BLOCKS>::new();
        // The newest encodings, if there are too many.
        for encoding in track.encodings.iter_mut().rev().take(MAX_BLOCKS) {
            blocks.extend(report_block(encoding, now));
        }
        worst = blocks.iter().map(|block| block.fraction_lost).fold(worst, u8::max);
        writer.receiver_report(track.config.feedback_ssrc, &blocks);
    }
    feedback.loss = f64::from(worst) / 256.0;
    let lossy = config.repeats && feedback.loss >= LOSSY;
    for encoding in tracks.iter_mut().flat_map(|track| &mut track.encodings) {
        encoding.jitter.set_lossy(lossy);
    }
    writer.sdes_cname(&[sender], &feedback.cname);
    writer.receiver_reference_time(sender, config.wall_clock.ntp(now));
    let answers: ArrayVec<_, MAX_REFERENCES> = feedback
        .references
        .drain(..)
        .map(|reference| (reference.ssrc, reference.middle, to_units(now.since(reference.arrival))))
        .collect();
    writer.dlrr(sender, &answers);
    let has_transport_cc = tracks.iter().any(|track| track.config.transport_cc);
    if !has_transport_cc && tracks.iter().any(|track| track.config.remb) {
        let sources: ArrayVec<Ssrc, 2> = tracks
            .iter()
            .filter(|track| track.config.remb)
            .filter_map(|track| track.forwarded().map(|encoding| encoding.ssrc))
            .take(2)
            .collect();
        if !sources.is_empty() {
            writer.remb(sender, config.bitrate_bps, &sources);
        }
    }
}

/// A keyframe request or NACKs of one track; true after the former, for NACKs may follow. Where a
/// report need not come first, each is a datagram by itself (RFC 5506 §3.4): FFmpeg 8.1 sees no NACK
/// that has anything before or behind it.
fn write_want(track: &mut Track, writer: &mut Writer<'_>) -> bool {
    let sender = track.config.feedback_ssrc;
    let ssrc = |encoding: Option<usize>| {
        encoding.and_then(|at| track.encodings.get(at)).map(|encoding| encoding.ssrc)
    };
    let (forwarded, wanted) = (ssrc(track.layers.forwarded()), ssrc(track.layers.wanted()));
    if std::mem::take(&mut track.keyframe_request) {
        // FIR is for conferences with mixers (RFC 5104 §4.3.1); PLI where both were negotiated.
        match wanted {
            Some(media) if track.config.pli => writer.pli(sender, media),
            Some(media) => writer.fir(sender, media, track.fir_sequence),
            None => writer,
        };
        return true;
    }
    let count = track.nacks.len().min(MAX_NACKS);
    let nacks: ArrayVec<u16, MAX_NACKS> = track.nacks.drain(..count).collect();
    if let Some(media) = forwarded {
        writer.nack(sender, media, &nacks);
    }
    false
}

fn report_block(encoding: &mut Encoding, now: Time) -> Option<ReportBlock> {
    let reception = encoding.jitter.report()?;
    let last = encoding.last_report;
    Some(ReportBlock {
        ssrc: encoding.ssrc,
        fraction_lost: reception.fraction_lost,
        cumulative_lost: reception.cumulative_lost,
        highest: reception.highest,
        jitter: reception.jitter,
        last_sr: last.map_or(0, |report| report.ntp.middle()),
        delay_since_last_sr: last.map_or(0, |report| to_units(now.since(report.arrival))),
    })
}

/// In units of 1/65,536 s.
fn to_units(duration: Duration) -> u32 {
    u32::try_from((duration.as_micros() << 16) / 1_000_000).unwrap_or(u32::MAX)
}

fn from_units(units: u32) -> Duration {
    Duration::from_micros((u64::from(units) * 1_000_000) >> 16)
}
