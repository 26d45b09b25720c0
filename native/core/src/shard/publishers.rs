//! Who holds a stream: a publisher that can send goes up, takes the stream when it is its turn, and
//! goes down.

use std::sync::Arc;

use super::Shard;
use crate::command::CloseReason;
use crate::exchange::{Departure, Exchange};
use crate::ids::{SessionId, StreamId};
use crate::session::{Newcomer, Part};
use crate::stream::Publisher;
use crate::time::Time;

impl Shard {
    /// A publisher has keys. It may send at once, or waits for its turn where somebody else does.
    pub(super) fn begin_publisher(&mut self, slot: usize) {
        let Some(session) = self.sessions.get_mut(slot) else { return };
        let Some(association) = session.association.as_deref_mut() else { return };
        let Part::Publisher { stream, .. } = &association.part else { return };
        if self.streams.get(stream).is_some_and(|stream| stream.publisher().is_some()) {
            association.newcomer = Some(Box::new(Newcomer::default()));
        } else {
            self.source_up(slot);
        }
    }

    /// What of a publisher's packets goes to its stream: nothing while it waits for its turn, which
    /// has come when nobody else is there, too.
    pub(super) fn admit(
        &mut self,
        now: Time,
        slot: usize,
        departures: Vec<Arc<Departure>>,
    ) -> Vec<Arc<Departure>> {
        let association = self.sessions.get_mut(slot).and_then(|s| s.association.as_deref_mut());
        let Some(association) = association else { return departures };
        let Part::Publisher { stream, source } = &mut association.part else { return departures };
        let Some(newcomer) = &mut association.newcomer else { return departures };
        let has_video = source.has_video();
        for departure in departures {
            newcomer.handle(now, departure, has_video);
        }
        let free = self.streams.get(stream).is_none_or(|stream| stream.publisher().is_none());
        if !free && !newcomer.is_ready(now) {
            if newcomer.lacks_keyframe() {
                source.request_keyframe(now, &mut self.stats);
            }
            return Vec::new();
        }
        let begins_with = association.newcomer.take().map(|newcomer| newcomer.take());
        self.source_up(slot);
        begins_with.unwrap_or_default()
    }

    /// A publisher can send: every shard hears who it is.
    pub(super) fn source_up(&mut self, slot: usize) {
        let Some(session) = self.sessions.get(slot) else { return };
        let Some(association) = session.association.as_deref() else { return };
        let Part::Publisher { stream, source } = &association.part else { return };
        let (stream, id, codecs) = (*stream, session.id, source.codecs());
        let shard = self.config.index;
        let publisher = Publisher { session: id, shard, codecs: codecs.clone() };
        self.broadcast(&Exchange::SourceUp { stream, publisher: id, shard, codecs });
        self.take_publisher(stream, publisher);
    }

    /// A publisher can send the stream, here or on another shard.
    pub(super) fn take_publisher(&mut self, id: StreamId, publisher: Publisher) {
        let Some(stream) = self.told_stream(id) else { return };
        if stream.add_publisher(publisher) {
            self.hand_over(id);
        }
    }

    /// A publisher is gone.
    pub(super) fn lose_publisher(&mut self, id: StreamId, publisher: SessionId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if stream.remove_publisher(publisher) {
            self.hand_over(id);
        }
    }

    /// Another publisher holds the stream: viewers who cannot take its codecs are closed.
    fn hand_over(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get(&id) else { return };
        let Some(publisher) = stream.publisher() else { return };
        let unable: Vec<SessionId> = stream
            .subscribers
            .iter()
            .filter(|(_, s)| !publisher.codecs.iter().all(|(kind, codec)| s.takes(*kind, *codec)))
            .map(|(_, subscriber)| subscriber.session)
            .collect();
        self.mark_ready(id);
        for session in unable {
            if let Some(slot) = self.by_id.get(&session).copied() {
                self.close_and_tell(slot, CloseReason::NoCommonCodec);
            }
        }
    }
}
