//! What is on its way to a stream's viewers.
//!
//! They stand in a circle, by their slots. Whoever's turn it is gets everything that has come since
//! its last turn, as one train where it can be; a batch has gone round when it is back where it came
//! in. So what comes while a shard is sending waits for its viewers' turns and for nothing else, and
//! trains grow with the load by themselves (docs/decisions/0029).

use std::time::Duration;

use crate::media::Kind;
use crate::time::Time;
use crate::track::Batch;

/// Where a viewer that is left out gets no more; see [`crate::shedding`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cut {
    /// From this batch on.
    Here,
    /// Somewhere before it, or not yet: it is not the beginning of a frame.
    Elsewhere,
}

/// A batch on its way.
#[derive(Clone, Debug)]
pub struct UnderWay {
    /// What is sent.
    pub batch: Batch,
    /// What it is to those who are left out; None if it goes to them all the same.
    pub cut: Option<Cut>,
    entered: Time,
    /// It has gone round when this is the next place.
    until: Place,
}

/// Somebody's turn.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
struct Place {
    lap: u64,
    slot: usize,
}

/// See the module.
#[derive(Default, Debug)]
pub struct Circuit {
    next: Place,
    /// Each in the order in which it came, and so in that in which it has gone round.
    video: Vec<UnderWay>,
    audio: Vec<UnderWay>,
    /// Of all of them.
    room: usize,
}

impl Circuit {
    /// A batch begins its way around so many slots. Where nothing else is on its way the start moves,
    /// so that nobody is always last.
    pub fn enter(&mut self, now: Time, batch: Batch, cut: Option<Cut>, slots: usize) {
        if self.is_idle() {
            self.next.slot = self.next.slot.wrapping_add(ROTATION) % slots.max(1);
        }
        let until = Place { lap: self.next.lap + 1, ..self.next };
        self.room += batch.room;
        let way = match batch.kind {
            Kind::Video => &mut self.video,
            Kind::Audio => &mut self.audio,
        };
        way.push(UnderWay { batch, cut, entered: now, until });
    }

    /// True if nothing is on its way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.video.is_empty() && self.audio.is_empty()
    }

    /// How long the oldest has been on its way.
    #[must_use]
    pub fn age(&self, now: Time) -> Duration {
        let oldest = self.video.first().into_iter().chain(self.audio.first());
        oldest.map(|oldest| now.since(oldest.entered)).max().unwrap_or_default()
    }

    /// Whose turn it is; nobody's if nothing is on its way.
    #[must_use]
    pub fn turn(&self) -> Option<usize> {
        (!self.is_idle()).then_some(self.next.slot)
    }

    /// What whoever's turn it is has not got. Each track keeps its order; audio is behind video, so
    /// that it ends the last train: it leaves no later, and shorter packets between the others would
    /// end each.
    pub fn due(&self) -> impl Iterator<Item = &UnderWay> {
        self.video.iter().chain(&self.audio)
    }

    /// True if the packet of video at this place of the timeline is on its way.
    #[must_use]
    pub fn has(&self, place: u64) -> bool {
        let mut entries = self.video.iter().flat_map(|due| &due.batch.entries);
        entries.any(|entry| entry.sequence == place)
    }

    /// Bytes that it needs at most.
    #[must_use]
    pub fn room(&self) -> usize {
        self.room
    }

    /// The turn goes to the next of so many slots; `gone_round` hears of each batch that nobody has
    /// to get any more when it came.
    pub fn pass_on(&mut self, slots: usize, mut gone_round: impl FnMut(Time)) {
        self.next.slot += 1;
        if self.next.slot >= slots {
            self.next = Place { lap: self.next.lap + 1, slot: 0 };
        }
        for way in [&mut self.video, &mut self.audio] {
            while way.first().is_some_and(|oldest| oldest.until <= self.next) {
                let done = way.remove(0);
                self.room -= done.batch.room;
                gone_round(done.entered);
            }
        }
    }

    /// Nobody is there who would get it.
    pub fn clear(&mut self) {
        *self = Circuit { next: self.next, ..Circuit::default() };
    }
}

/// The start moves by a large odd step, so that neighbours do not trail each other for long.
const ROTATION: usize = 0x9E37_79B1;
