//! What the options name is read before anything is built, so that a mistake in it costs nothing.

use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;

use crate::destinations;
use crate::options::Options;
use crate::schedule::{self, Due};
use crate::trains::{self, Train};
use crate::variant::{self, Plays, Variant};

/// More than any of these files needs.
const MAX_BYTES: u64 = 32 << 20;

/// What a run is made of.
pub struct Input {
    /// Where the caller wants the load; none if the rig has its own viewers.
    pub destinations: Option<Vec<SocketAddr>>,
    /// What is done with them.
    pub work: Work,
    /// In words: whose packets these are.
    pub media: String,
}

/// What a run does.
pub enum Work {
    /// It compares rows, each with the trains that it plays round and round.
    Compare(Vec<(Variant, Vec<Train>)>),
    /// It plays trains at their time.
    Play(Vec<Due>),
}

impl Input {
    /// Reads the files and decides on the rows.
    pub fn read(options: &Options) -> Result<Input, String> {
        let destinations =
            options.to.as_deref().map(|path| read(path, destinations::parse)).transpose()?;
        if let Some(destinations) = &destinations {
            destinations::permit(destinations, options.may_load)?;
        }
        let (work, media) = match &options.play {
            Some(path) => {
                let schedule = read(path, schedule::parse)?;
                let media = format!("{} trains at their time", schedule.len());
                (Work::Play(schedule), media)
            }
            None => comparison(options)?,
        };
        Ok(Input { destinations, work, media })
    }

    /// Bytes of the longest train, with what is added to each payload.
    pub fn longest(&self, overhead: usize) -> usize {
        let longest = |trains: &mut dyn Iterator<Item = Train>| {
            trains.map(|train| train.len(overhead)).max().unwrap_or_default()
        };
        match &self.work {
            Work::Compare(rows) => {
                longest(&mut rows.iter().flat_map(|(_, trains)| trains).copied())
            }
            Work::Play(schedule) => longest(&mut schedule.iter().map(|due| due.train)),
        }
    }
}

fn comparison(options: &Options) -> Result<(Work, String), String> {
    let trains = options.trains.as_deref().map(|path| read(path, trains::parse)).transpose()?;
    let payload = trains.as_deref().map_or(options.payload, trains::mean_payload);
    let rows = variant::rows(options.variants.as_deref(), trains.is_some())?
        .into_iter()
        .map(|variant| {
            let played = match (variant.plays, &trains) {
                (Plays::File, Some(trains)) => trains.clone(),
                (Plays::Equal(packets), _) => vec![Train::equal(packets, payload)],
                (Plays::File, None) => Vec::new(),
            };
            (variant, played)
        })
        .collect();
    let media = match &trains {
        Some(trains) => format!("{} trains of a file, {payload} B a packet", trains.len()),
        None => format!("packets of {payload} B"),
    };
    Ok((Work::Compare(rows), media))
}

/// The text of a file through its parser; errors name the file.
fn read<T>(path: &Path, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, String> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text))
        .map_err(|error| error.to_string())
        .and_then(|read| match read as u64 {
            0..=MAX_BYTES => parse(&text),
            _ => Err(format!("more than {} MiB", MAX_BYTES >> 20)),
        })
        .map_err(|error| format!("{}: {error}", path.display()))
}
