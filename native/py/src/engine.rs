//! `_native.Engine`: the running engine. Only starting and stopping let the GIL go; nothing else
//! waits for anything.

use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use pyforward_core::figures::StreamFigures;
use pyforward_io::engine::EngineConfig;
use pyforward_io::fatal::end_process;
use pyo3::prelude::*;

use crate::commands;
use crate::errors::{Error, Wrong};
use crate::events::{Told, tell};

/// The shards with their threads and sockets, from making to `stop`.
#[pyclass(frozen, module = "pyforward._native")]
pub(crate) struct Engine {
    engine: pyforward_io::engine::Engine,
}

#[pymethods]
impl Engine {
    #[new]
    #[pyo3(signature = (addresses, port, shards, gso, train_packets, padding, sendmmsg, recvmmsg, riders,
        slice_us, short_turns, frame_window_us, idle_window_us, shed_after_us,
        keyframe_interval_ms, silence_ms, publisher_bitrate_bps, max_events, source_address,
        pace_bytes_per_second, repeats, cores))]
    #[allow(clippy::too_many_arguments, reason = "keyword arguments in Python")]
    fn new(
        py: Python<'_>,
        addresses: Vec<String>,
        port: u16,
        shards: u64,
        gso: bool,
        train_packets: usize,
        padding: bool,
        sendmmsg: bool,
        recvmmsg: bool,
        riders: bool,
        slice_us: u64,
        short_turns: bool,
        frame_window_us: u64,
        idle_window_us: u64,
        shed_after_us: u64,
        keyframe_interval_ms: u64,
        silence_ms: u64,
        publisher_bitrate_bps: u64,
        max_events: usize,
        source_address: Option<String>,
        pace_bytes_per_second: u64,
        repeats: bool,
        cores: Vec<u16>,
    ) -> Result<Engine, Error> {
        let config = EngineConfig {
            addresses: addresses
                .iter()
                .map(|text| ip(text, "addresses:"))
                .collect::<Result<_, _>>()?,
            port,
            shards: u8::try_from(shards).unwrap_or(u8::MAX),
            gso,
            train_packets,
            padding,
            sendmmsg,
            recvmmsg,
            riders,
            slice: Duration::from_micros(slice_us),
            short_turns,
            frame_window: Duration::from_micros(frame_window_us),
            idle_window: Duration::from_micros(idle_window_us),
            shed_after: Duration::from_micros(shed_after_us),
            keyframe_interval: Duration::from_millis(keyframe_interval_ms),
            silence: Duration::from_millis(silence_ms),
            publisher_bitrate_bps,
            max_events,
            pace_bytes_per_second,
            repeats,
            cores,
            source_address: source_address.map(|text| ip(&text, "source_address:")).transpose()?,
        };
        let fatal = Arc::new(|reason: String| end_process(&reason));
        let engine = detached(py, || pyforward_io::engine::Engine::start(&config, fatal))?;
        Ok(Engine { engine })
    }

    /// Hands commands to the shards, in order, all of them or, if one will not do, none.
    fn submit(&self, commands: &Bound<'_, PyAny>) -> Result<(), Error> {
        let mut read = Vec::new();
        for command in commands.try_iter()? {
            read.push(commands::read(&command?)?);
        }
        Ok(self.engine.submit(read)?)
    }

    /// A descriptor that is readable while events wait.
    fn event_fd(&self) -> i32 {
        self.engine.event_descriptor().as_raw_fd()
    }

    /// At most `limit` events, in order.
    fn take_events<'py>(&self, py: Python<'py>, limit: usize) -> PyResult<Vec<Told<'py>>> {
        self.engine.take_events(limit).into_iter().map(|event| tell(py, event)).collect()
    }

    /// The words of each shard: counters, discards, then the histograms.
    fn stats(&self) -> Vec<Vec<u64>> {
        self.engine.stats()
    }

    /// Each stream on each shard, in the words of `STREAM_FIGURES`.
    fn streams(&self) -> Vec<Vec<u64>> {
        self.engine.streams().iter().map(StreamFigures::words).collect()
    }

    /// Viewers by the stage of their joining and its bucket, with how long they took, in
    /// microseconds.
    fn exemplars(&self) -> Vec<(usize, usize, u64, u64)> {
        let all = self.engine.exemplars();
        all.iter()
            .map(|(stage, bucket, one)| (*stage, *bucket, one.session.0, one.micros))
            .collect()
    }

    /// Queues by name: how much waits, and how much may.
    fn queues(&self) -> Vec<(&'static str, usize, Option<usize>)> {
        self.engine.queues().to_vec()
    }

    /// The bound addresses with their port.
    fn addresses(&self) -> Vec<(String, u16)> {
        let pair = |address: &std::net::SocketAddr| (address.ip().to_string(), address.port());
        self.engine.addresses().iter().map(pair).collect()
    }

    /// What is worse on this host than it could be, a sentence each.
    fn notes(&self) -> Vec<String> {
        self.engine.notes().to_vec()
    }

    /// Ends the threads and frees the port.
    fn stop(&self, py: Python<'_>) {
        detached(py, || self.engine.stop());
    }
}

/// The one place that lets other Python threads run meanwhile.
fn detached<T: Send>(py: Python<'_>, work: impl FnOnce() -> T + Send) -> T {
    py.detach(work)
}

fn ip(text: &str, field: &str) -> Result<IpAddr, Error> {
    let wrong = || Wrong::value(format!("'{text}' is no IP address")).within(field).into();
    text.parse().map_err(|_| wrong())
}
