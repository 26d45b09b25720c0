//! The Python module `pyforward._native`: the packet engine as control sees it.
//!
//! A thin skin: it reads dataclasses into commands and turns events into tuples. What the module
//! offers is written down in `pyforward/_native.pyi`, which is checked against it. Python code of
//! pyforward reaches it through `pyforward.engine` alone.

mod commands;
mod engine;
mod errors;
mod events;
mod read;
mod srtp;

use pyforward_core::discard::Discard;
use pyforward_core::figures::StreamFigures;
use pyforward_core::stages::{STAGE_BOUNDS, Stage};
use pyforward_core::stats::{
    Counter, FAN_OUT_BOUNDS, JITTER_BOUNDS, LATENCY_BOUNDS, LOSS_BOUNDS, ROUND_TRIP_BOUNDS,
    TRAIN_BOUNDS, TURN_BOUNDS,
};
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// A name and the names that belong to it, for each of several.
type Book = &'static [(&'static str, &'static [&'static str])];

/// The packet engine: sockets, threads, SRTP and fan-out.
#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<engine::Engine>()?;
    module.add_class::<srtp::Srtp>()?;
    module.add("COMMANDS", book(module.py(), commands::COMMANDS)?)?;
    module.add("RECORDS", book(module.py(), commands::RECORDS)?)?;
    module.add("EVENTS", book(module.py(), events::EVENTS)?)?;
    module.add("ROWS", book(module.py(), events::ROWS)?)?;
    module.add("NAMES", names(module.py())?)?;
    module.add("COUNTERS", Counter::ALL.iter().map(|c| c.name()).collect::<Vec<_>>())?;
    module.add("DISCARDS", Discard::ALL.iter().map(|d| d.name()).collect::<Vec<_>>())?;
    module.add("TRAIN_BOUNDS", TRAIN_BOUNDS.to_vec())?;
    module.add("LATENCY_BOUNDS_US", LATENCY_BOUNDS.to_vec())?;
    module.add("TURN_BOUNDS_US", TURN_BOUNDS.to_vec())?;
    module.add("FAN_OUT_BOUNDS_US", FAN_OUT_BOUNDS.to_vec())?;
    module.add("LOSS_BOUNDS_10000THS", LOSS_BOUNDS.to_vec())?;
    module.add("JITTER_BOUNDS_US", JITTER_BOUNDS.to_vec())?;
    module.add("ROUND_TRIP_BOUNDS_US", ROUND_TRIP_BOUNDS.to_vec())?;
    module.add("STAGE_BOUNDS_US", STAGE_BOUNDS.to_vec())?;
    module.add("STAGES", Stage::ALL.iter().map(|stage| stage.name()).collect::<Vec<_>>())?;
    module.add("STREAM_FIGURES", StreamFigures::NAMES.to_vec())
}

fn book<'py>(py: Python<'py>, book: Book) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, fields) in book {
        dict.set_item(name, fields.to_vec())?;
    }
    Ok(dict)
}

/// Every enumeration that travels by name.
fn names(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let dict = PyDict::new(py);
    for (name, names) in read::enumerations() {
        dict.set_item(name, names)?;
    }
    Ok(dict)
}
