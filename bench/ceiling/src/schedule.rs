//! What is played at its time: trains that are due, from a file.

use std::time::Duration;

use crate::trains::{self, Train};

/// Most trains of a file: an hour of single packets, 300 a second.
const MAX_TRAINS: usize = 1_080_000;

/// The latest moment.
const MAX_US: u64 = 3_600_000_000;

/// A train, and when it is to leave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Due {
    /// When its last packet is there, from the start.
    pub at: Duration,
    /// What leaves then.
    pub train: Train,
    /// With it a frame is whole.
    pub ends_frame: bool,
}

/// Reads one train a line: microseconds from the start, none less than the one before; sizes as in
/// [`trains::parse`]; and `m` if it ends a frame. Errors name the line.
pub fn parse(text: &str) -> Result<Vec<Due>, String> {
    let mut schedule: Vec<Due> = Vec::new();
    for (at, line) in text.lines().take(MAX_TRAINS + 1).enumerate() {
        let due = due(line).and_then(|due| match schedule.last() {
            Some(before) if due.at < before.at => Err("earlier than the line before".to_owned()),
            _ => Ok(due),
        });
        schedule.push(due.map_err(|error| format!("line {}: {error}", at + 1))?);
    }
    match schedule.len() {
        0 => Err("no train in it".to_owned()),
        1..=MAX_TRAINS => Ok(schedule),
        _ => Err(format!("more than {MAX_TRAINS} trains")),
    }
}

fn due(line: &str) -> Result<Due, String> {
    let mut fields = line.split_whitespace();
    let (Some(us), Some(sizes), mark, None) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err("not MICROSECONDS SIZE,SIZE,... and m where a frame ends".to_owned());
    };
    let at = us
        .parse()
        .ok()
        .filter(|us| *us <= MAX_US)
        .map(Duration::from_micros)
        .ok_or_else(|| format!("a train is due after 0 to {MAX_US} us, not {us:?}"))?;
    match mark {
        None | Some("m") => {
            Ok(Due { at, train: trains::train(sizes)?, ends_frame: mark.is_some() })
        }
        Some(other) => Err(format!("m marks the end of a frame, not {other:?}")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_line_is_a_train_and_its_time() {
        let read = parse("0 1150,1150,1148\n4450 80 m\n4450 90\n").unwrap();
        let due = |us, train, ends_frame| Due { at: Duration::from_micros(us), train, ends_frame };
        let first = Train { packets: 3, size: 1_150, last: 1_148 };
        assert_eq!(
            read,
            [
                due(0, first, false),
                due(4_450, Train::equal(1, 80), true),
                due(4_450, Train::equal(1, 90), false),
            ]
        );
    }

    #[test]
    fn what_is_no_schedule_is_told_with_its_line() {
        for (text, part) in [
            ("", "no train"),
            ("9", "line 1: not MICROSECONDS"),
            ("0 9 m\n0 9 m m", "line 2: not MICROSECONDS"),
            ("0 9 k", "not \"k\""),
            ("-1 9", "not \"-1\""),
            ("3600000001 9", "3600000001"),
            ("0 9,10", "line 1: all packets but the last"),
            ("5 9\n4 9", "line 2: earlier"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(part), "{text:?}: {error}");
        }
        assert!(parse(&"0 9\n".repeat(MAX_TRAINS + 1)).unwrap_err().contains("more than"));
    }
}
