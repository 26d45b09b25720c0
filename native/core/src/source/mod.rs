//! A publisher's side of a stream, on the shard where the publisher lives: opened RTP in, packets
//! ready for every viewer out, and all that is told back to the publisher.
//!
//! It decides once, for all viewers, what a packet's position, timestamp, size and extensions are;
//! see [`crate::packet`]. It never alters a payload, never holds a packet longer than the frame
//! window, never sees a key and never knows a viewer.
//!
//! ```text
//! handle_rtp   header ─ routes ─ (RTX unwrapped) ─ jitter ─ layers ─ timeline ─ gather ── poll_departure
//! handle_rtcp  clock, round trip                      └─ wants ─┐
//! request_keyframe ─ keyframes ────────────────────────────────┴─ feedback ───────────── poll_rtcp
//! ```

mod congestion;
mod feedback;
mod gather;
mod header;
mod ingress;
mod keyframes;
mod layers;
mod parameter_sets;
mod routes;
#[cfg(test)]
mod tests;
mod timeline;
mod track;

use std::time::Duration;

use self::congestion::TransportArrivals;
use self::feedback::{Clock, Feedback};
use self::gather::Gatherer;
use self::header::ExtensionIds;
use self::routes::Routes;
use self::track::Track;
use crate::command::PublishTrack;
use crate::discard::Discard;
use crate::event::TrackReport;
use crate::exchange::Departure;
use crate::ids::{SessionId, StreamId};
use crate::media::{Codec, Kind};
use crate::record::Record;
use crate::rtcp::Item;
use crate::rtp::View;
use crate::stats::Stats;
use crate::time::{MachineClock, Ntp, Time, WallClock};

/// What a source is told at its start.
#[derive(Clone, Copy, Debug)]
pub struct SourceConfig {
    /// How long a video frame's packets wait for its last one; zero: until the next
    /// `handle_timeout`.
    pub frame_window: Duration,
    /// Packets leave in trains; off: every packet is a departure of its own, and nothing waits.
    pub trains: bool,
    /// Padding evens out the packets of a train.
    pub padding: bool,
    /// At most one keyframe request goes upstream in this time.
    pub keyframe_interval: Duration,
    /// What REMB tells, in bits a second.
    pub bitrate_bps: u64,
    /// Relates our time to the wall clock.
    pub wall_clock: WallClock,
    /// Relates our time to the machine's clock.
    pub machine_clock: MachineClock,
    /// Received packets are recorded under this number.
    pub record_as: Option<u32>,
    /// Time between two receiver reports, if not the usual one.
    pub report_interval: Option<Duration>,
    /// On a lossy way requests are made twice, and early for the end of a frame.
    pub repeats: bool,
}

/// What a sender report told of a track's clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClockUpdate {
    /// Which track.
    pub kind: Kind,
    /// Its clock rate in Hz.
    pub clock_rate: u32,
    /// The moment that the report speaks of, by our wall clock.
    pub ntp: Ntp,
    /// The RTP timestamp of that moment, as packets carry it.
    pub rtp_timestamp: u32,
}

/// What a source has to report of itself.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Figures {
    /// Media packets accepted.
    pub packets: u64,
    /// Their bytes of UDP payload.
    pub bytes: u64,
    /// Packets asked of the publisher by NACK, repetitions included.
    pub nacks: u64,
    /// Packets that came because they were asked for.
    pub repaired: u64,
    /// Packets given up.
    pub lost: u64,
    /// Fraction lost by our last reports, 0 to 1, the worse track.
    pub loss: f64,
    /// Round trip in milliseconds; none before the first measurement.
    pub rtt_ms: Option<f64>,
    /// Of accepted media packets over the last whole second.
    pub bitrate_bps: u64,
    /// Between the last two keyframes; none before two.
    pub keyframe_interval_ms: Option<f64>,
    /// Keyframes received.
    pub keyframes: u64,
    /// When the last one came.
    pub keyframe_at: Option<Time>,
    /// When the newest packet that is forwarded came.
    pub packet_at: Option<Time>,
    /// Interarrival jitter of what is forwarded (RFC 3550 §6.4.1), the worse track.
    pub jitter: Duration,
}

/// A publisher's media.
///
/// The contract: any of the `handle_*` and `request_keyframe` with a `now` that never goes back;
/// then `poll_departure` and `poll_rtcp` until they give nothing; then no waiting beyond
/// `poll_timeout`. Memory is bounded if departures are polled after every batch.
#[derive(Debug)]
pub struct Source {
    config: SourceConfig,
    /// Somebody may watch what it gets; otherwise it is only received and counted.
    forwards: bool,
    /// Of the packet that was taken last.
    record: Option<Record>,
    extension_ids: ExtensionIds,
    routes: Routes,
    tracks: Vec<Track>,
    /// Where transport-wide feedback was negotiated.
    arrivals: Option<TransportArrivals>,
    gatherer: Gatherer,
    feedback: Feedback,
    clock: Clock,
    counts: Counts,
}

/// See [`Figures`].
#[derive(Debug, Default)]
struct Counts {
    packets: u64,
    bytes: u64,
    nacks: u64,
    repaired: u64,
    lost: u64,
    /// The second that `bytes_in_second` counts, by engine time.
    second: u64,
    bytes_in_second: u64,
    bytes_in_last_second: u64,
}

impl Source {
    /// A publisher that has sent nothing yet.
    #[must_use]
    pub fn new(
        stream: StreamId,
        publisher: SessionId,
        tracks: Vec<PublishTrack>,
        config: SourceConfig,
    ) -> Source {
        let SourceConfig { frame_window, trains, padding, .. } = config;
        let transport_cc = tracks.iter().any(|track| track.transport_cc);
        Source {
            config,
            forwards: stream != StreamId::NOWHERE,
            record: None,
            extension_ids: ExtensionIds::new(&tracks),
            routes: Routes::new(&tracks),
            arrivals: transport_cc.then(TransportArrivals::new),
            gatherer: Gatherer::new(stream, publisher, frame_window, trains, padding),
            feedback: Feedback::new(&tracks, config.report_interval),
            clock: Clock::default(),
            counts: Counts::default(),
            tracks: tracks
                .into_iter()
                .map(|track| Track::new(track, config.keyframe_interval))
                .collect(),
        }
    }

    /// How long the packets of a frame wait whose first one is still to come; see
    /// [`SourceConfig::frame_window`].
    pub fn set_frame_window(&mut self, window: Duration) {
        self.gatherer.set_window(window);
    }

    /// Takes an opened packet without its tag. `view` is its header, `wire_len` its bytes of UDP
    /// payload as received.
    ///
    /// # Errors
    /// Why it goes no further; the caller counts that. `Ok` also for padding and probes, which
    /// nobody gets but which are no mistake.
    pub fn handle_rtp(
        &mut self,
        now: Time,
        view: &View,
        packet: &[u8],
        wire_len: usize,
        stats: &mut Stats,
    ) -> Result<(), Discard> {
        ingress::handle_rtp(self, now, view, packet, wire_len, stats)
    }

    /// Takes one item of an opened compound. BYE is only a hint and is the session's to judge.
    pub fn handle_rtcp(
        &mut self,
        now: Time,
        item: &Item<'_>,
        stats: &mut Stats,
    ) -> Option<ClockUpdate> {
        let _ = stats;
        feedback::handle_rtcp(self, now, item)
    }

    /// Somebody needs a keyframe.
    pub fn request_keyframe(&mut self, now: Time, stats: &mut Stats) {
        self.tracks.iter_mut().for_each(|track| track.request_keyframe(now, stats));
    }

    /// The record of the packet that was taken last, if it is to have one.
    pub fn take_record(&mut self) -> Option<Record> {
        self.record.take()
    }

    /// Others may get what it receives.
    #[must_use]
    pub fn forwards(&self) -> bool {
        self.forwards
    }

    /// Nobody will ever get what it received.
    #[must_use]
    pub fn is_only_counted_and_has_begun(&self) -> bool {
        !self.forwards && self.counts.packets > 0
    }

    /// The next departure that is ready, in order.
    pub fn poll_departure(&mut self) -> Option<Departure> {
        self.gatherer.poll()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Time, stats: &mut Stats) {
        self.gatherer.handle_timeout(now);
        let retry = self.feedback.retry();
        for track in &mut self.tracks {
            if track.due() <= now {
                track.handle_timeout(now, stats);
                self.counts.wants(track.ask_missing(now, retry, stats));
            }
        }
        if let Some(arrivals) = &mut self.arrivals {
            arrivals.handle_timeout(now);
        }
        self.feedback.handle_timeout(now);
    }

    /// When `handle_timeout` is due next; [`Time::NEVER`] if nothing waits.
    #[must_use]
    pub fn poll_timeout(&self) -> Time {
        let arrivals = self.arrivals.as_ref().map_or(Time::NEVER, TransportArrivals::due);
        let own = self.gatherer.due().min(self.feedback.due()).min(arrivals);
        self.tracks.iter().map(Track::due).fold(own, Time::min)
    }

    /// Appends one plain compound of at most 1,200 bytes for the publisher; false if there is
    /// nothing to tell.
    pub fn poll_rtcp(&mut self, now: Time, out: &mut Vec<u8>) -> bool {
        feedback::poll_rtcp(self, now, out)
    }

    /// Appends what we say when we listen no more (RFC 3550 §6.6).
    pub fn write_bye(&self, out: &mut Vec<u8>) {
        feedback::write_bye(self, out);
    }

    /// What its tracks carry.
    #[must_use]
    pub fn codecs(&self) -> Vec<(Kind, Codec)> {
        self.tracks.iter().map(|track| (track.config.kind, track.config.codec)).collect()
    }

    /// One of its tracks is video.
    #[must_use]
    pub fn has_video(&self) -> bool {
        self.tracks.iter().any(|track| track.config.kind == Kind::Video)
    }

    /// What was received, by track, with times counted from `since`.
    #[must_use]
    pub fn track_reports(&self, since: Time) -> Vec<TrackReport> {
        self.tracks.iter().map(|track| track.report(since)).collect()
    }

    /// Its figures.
    #[must_use]
    pub fn figures(&self, now: Time) -> Figures {
        let counts = &self.counts;
        let ms = |duration: Duration| duration.as_secs_f64() * 1_000.0;
        let video = self.tracks.iter().find(|track| track.config.kind == Kind::Video);
        Figures {
            packets: counts.packets,
            bytes: counts.bytes,
            nacks: counts.nacks,
            repaired: counts.repaired,
            lost: counts.lost,
            loss: self.feedback.loss(),
            rtt_ms: self.feedback.round_trip().map(ms),
            bitrate_bps: counts.bitrate_bps(now),
            keyframe_interval_ms: video.and_then(|track| track.keyframes.apart()).map(ms),
            keyframes: self.tracks.iter().map(|track| track.counts.keyframes).sum(),
            keyframe_at: video.and_then(|track| track.keyframes.last_at()),
            packet_at: self.tracks.iter().filter_map(|track| Some(track.newest?.0)).max(),
            jitter: self.tracks.iter().filter_map(Track::jitter).max().unwrap_or_default(),
        }
    }
}

impl Counts {
    fn media(&mut self, now: Time, wire_len: usize) {
        let second = now.0 / 1_000_000;
        if second != self.second {
            let follows = second == self.second + 1;
            self.bytes_in_last_second = if follows { self.bytes_in_second } else { 0 };
            self.bytes_in_second = 0;
            self.second = second;
        }
        self.bytes_in_second += wire_len as u64;
        self.packets += 1;
        self.bytes += wire_len as u64;
    }

    fn wants(&mut self, wants: track::Wants) {
        self.nacks += wants.asked;
        self.lost += wants.lost;
    }

    fn bitrate_bps(&self, now: Time) -> u64 {
        8 * match (now.0 / 1_000_000).saturating_sub(self.second) {
            0 => self.bytes_in_last_second,
            1 => self.bytes_in_second,
            _ => 0,
        }
    }
}
