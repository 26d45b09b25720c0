//! RTCP of a viewer: the sender reports it gets, the reports it sends.
//!
//! Sender reports are made for each viewer, because counts and timestamps are its own; the clock
//! is extrapolated from the publisher's last report, so that lips stay in sync and the round trip
//! that the viewer's answer tells is the one to us (RFC 3550 §6.4.1).

use std::time::Duration;

use super::Subscriber;
use crate::ids::Ssrc;
use crate::rtcp::{ReportBlock, Writer};
use crate::stats::{JITTER_BOUNDS, LOSS_BOUNDS, ROUND_TRIP_BOUNDS, Stats};
use crate::time::{Ntp, Time, WallClock};
use crate::track::Clock;

/// The last receiver reference time of a viewer (RFC 3611 §4.4).
#[derive(Clone, Copy, Debug)]
pub(super) struct ReferenceTime {
    from: Ssrc,
    middle: u32,
    arrival: Time,
}

/// What one report told, for the sums of the stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Told {
    /// Share lost, in 1/256.
    pub lost: u64,
    /// Round trip in microseconds, if the report answers one of ours.
    pub round_trip_us: Option<u64>,
}

impl Subscriber {
    /// Appends a compound of sender reports, SDES and, if asked for, DLRR. Nothing if no track has
    /// sent yet.
    pub fn write_reports(
        &mut self,
        now: Time,
        wall_clock: WallClock,
        clocks: [Option<Clock>; 2],
        out: &mut Vec<u8>,
    ) {
        let ntp = wall_clock.ntp(now);
        let mut writer = Writer::new(out);
        let mut first = None;
        for track in self.tracks.iter().flatten().filter(|track| track.packets > 0) {
            let Some(clock) = clocks[track.kind as usize] else { continue };
            let timestamp = clock.at(ntp).wrapping_add(track.timestamp_offset);
            let (packets, octets) = (track.packets as u32, track.octets as u32);
            writer.sender_report(track.ssrc, ntp, timestamp, packets, octets, &[]);
            first = first.or(Some(track.ssrc));
        }
        let Some(sender) = first else { return };
        writer.sdes_cname(&self.ssrcs(), &self.cname);
        if let Some(reference) = self.reference_time.take() {
            let delay = in_65536ths(now.since(reference.arrival));
            writer.dlrr(sender, &[(reference.from, reference.middle, delay)]);
        }
    }

    /// Appends a compound that ends its tracks (RFC 3550 §6.6).
    pub fn write_bye(&self, out: &mut Vec<u8>) {
        let ssrcs = self.ssrcs();
        let Some(sender) = ssrcs.first() else { return };
        let mut writer = Writer::new(out);
        writer.receiver_report(*sender, &[]);
        writer.sdes_cname(&ssrcs, &self.cname);
        writer.bye(&ssrcs);
    }

    /// Takes a reception report about one of its tracks; what it told, of a track that there is.
    pub fn handle_report(
        &mut self,
        now: Time,
        wall_clock: WallClock,
        block: &ReportBlock,
        stats: &mut Stats,
    ) -> Option<Told> {
        let track = self.track_of(block.ssrc)?;
        track.loss = f64::from(block.fraction_lost) / 256.0;
        let lost = u64::from(block.fraction_lost);
        stats.viewer_loss.observe(&LOSS_BOUNDS, lost * 10_000 / 256, 1);
        let jitter = u64::from(block.jitter) * 1_000_000 / u64::from(track.clock_rate);
        stats.viewer_jitter.observe(&JITTER_BOUNDS, jitter, 1);
        let mut told = Told { lost, round_trip_us: None };
        if block.last_sr != 0 {
            let passed = wall_clock
                .ntp(now)
                .middle()
                .wrapping_sub(block.last_sr)
                .wrapping_sub(block.delay_since_last_sr);
            // A negative difference is a peer's rounding, not a round trip of 18 hours.
            if passed < u32::MAX / 2 {
                let micros = u64::from(passed) * 1_000_000 / 65_536;
                self.round_trip = Some(Duration::from_micros(micros));
                stats.viewer_round_trip.observe(&ROUND_TRIP_BOUNDS, micros, 1);
                told.round_trip_us = Some(micros);
            }
        }
        self.judge_way(now);
        Some(told)
    }

    /// Remembers a receiver reference time until the next report answers it, where that was
    /// negotiated.
    pub fn handle_reference_time(&mut self, now: Time, from: Ssrc, ntp: Ntp) {
        if self.answers_reference_time {
            self.reference_time = Some(ReferenceTime { from, middle: ntp.middle(), arrival: now });
        }
    }

    fn ssrcs(&self) -> arrayvec::ArrayVec<Ssrc, 2> {
        self.tracks.iter().flatten().map(|track| track.ssrc).collect()
    }
}

impl Clock {
    /// The timeline's RTP timestamp at a moment.
    #[must_use]
    pub fn at(&self, ntp: Ntp) -> u32 {
        let passed = i128::from(ntp.0) - i128::from(self.ntp.0);
        let ticks = (passed * i128::from(self.rate)) >> 32;
        self.timestamp.wrapping_add(ticks as u32)
    }
}

/// Durations of RTCP are in units of 1/65536 s (RFC 3550 §6.4.1).
fn in_65536ths(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros() * 65_536 / 1_000_000).unwrap_or(u32::MAX)
}
