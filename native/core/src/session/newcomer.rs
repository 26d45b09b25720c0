//! A publisher with keys while another one holds its stream.
//!
//! It takes the stream with the first packet of a keyframe, so that viewers have the other one's
//! picture until theirs can go on, and both tracks change at one moment. Nothing here knows the
//! other publisher.

use std::sync::Arc;
use std::time::Duration;

use crate::exchange::Departure;
use crate::media::Kind;
use crate::time::Time;

/// Who sends, but no keyframe, takes the stream after this time all the same: two requests for one
/// have had their answer's time by then. Its video may be switched off, or it ignores requests.
const PATIENCE: Duration = Duration::from_secs(2);

/// Departures of a frame that are kept; a frame has fewer, unless somebody plays with us.
const MAX_KEPT: usize = 64;

/// See the module.
#[derive(Debug, Default)]
pub struct Newcomer {
    heard_at: Option<Time>,
    /// The newest frame of its video: packets that overtook the first one of a keyframe belong to
    /// what viewers begin with. Without video: all that has come.
    kept: Vec<Arc<Departure>>,
    shows_keyframe: bool,
}

impl Newcomer {
    /// It has sent this. What is neither of its newest frame nor begins it is for nobody.
    pub fn handle(&mut self, now: Time, departure: Arc<Departure>, has_video: bool) {
        self.heard_at.get_or_insert(now);
        let Some(first) = departure.packets.first() else { return };
        if has_video && first.kind == Kind::Audio {
            return;
        }
        let timestamp = first.timestamp;
        let kept = self.kept.first().and_then(|kept| kept.packets.first());
        let ahead = kept.map_or(0, |kept| timestamp.wrapping_sub(kept.timestamp).cast_signed());
        if ahead > 0 {
            self.kept.clear();
        }
        if ahead >= 0 && self.kept.len() < MAX_KEPT {
            let starts = first.kind == Kind::Audio;
            self.shows_keyframe |= starts || departure.packets.iter().any(|p| p.keyframe);
            self.kept.push(departure);
        }
    }

    /// It may take the stream.
    #[must_use]
    pub fn is_ready(&self, now: Time) -> bool {
        self.shows_keyframe || self.heard_at.is_some_and(|heard| now.since(heard) >= PATIENCE)
    }

    /// It sends pictures, but none that a viewer could begin with.
    #[must_use]
    pub fn lacks_keyframe(&self) -> bool {
        !self.kept.is_empty() && !self.shows_keyframe
    }

    /// It takes the stream, and begins with this.
    #[must_use]
    pub fn take(self) -> Vec<Arc<Departure>> {
        self.kept
    }
}
