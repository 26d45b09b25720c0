//! `pyforward-ceiling`: the bare sender. Header, seal, train, send, and nothing else: what any
//! forwarder on this machine can reach at most. It says how many packets a second of CPU carries,
//! sent one by one, by `sendmmsg`, and as trains; or it plays a schedule in real time, and says how
//! late frames leave.
//!
//! It runs twice. The outer process pins a second one to a core and gives it a network namespace of
//! its own, so that the load goes nowhere else and all that was made vanishes with the processes.
//! Where that is not permitted the load goes to loopback, and the result says so. `--here` leaves
//! all of this to the caller.

mod broadcast;
mod cpu;
mod destinations;
mod histogram;
mod input;
mod options;
mod play;
mod played;
mod report;
mod rig;
mod sample;
mod schedule;
mod trains;
mod variant;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use broadcast::Broadcast;
use cpu::CpuClock;
use input::{Input, Work};
use options::{Inside, Options};
use report::{Head, Report};
use rig::Rig;
use sample::Sample;
use trains::Train;
use variant::Variant;

/// What each row runs before the rounds: caches, routes and neighbours are warm after a burst.
const WARM_UP: Duration = Duration::from_millis(20);

fn main() -> ExitCode {
    let read = Options::parse(std::env::args().skip(1))
        .and_then(|options| Input::read(&options).map(|input| (options, input)));
    let (options, input) = match read {
        Ok(read) => read,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    let result = match options.inside {
        None => rig::enter(&options),
        Some(inside) => measure(&options, &input, inside),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("pyforward-ceiling: {error}");
            ExitCode::from(3)
        }
    }
}

/// One row while it runs: its trains go on where they were left.
struct Row<'a> {
    variant: Variant,
    trains: std::iter::Cycle<std::slice::Iter<'a, Train>>,
}

fn measure(options: &Options, input: &Input, inside: Inside) -> Result<ExitCode, String> {
    let rig = Rig::build(inside)?;
    let destinations = match &input.destinations {
        Some(destinations) => destinations.clone(),
        None => (0..options.viewers).map(|number| rig.viewer(number)).collect(),
    };
    let longest = input.longest(options.overhead());
    let mut broadcast = Broadcast::new(options, &rig, &destinations, longest)?;
    let clock = CpuClock::new()?;
    let head = Head::new(options, input, destinations.len(), &rig, &clock);
    let told = match &input.work {
        Work::Play(schedule) => {
            let played = play::play(&mut broadcast, &clock, schedule, options.time)?;
            played.told(&head, rig.arrived(), options.json)
        }
        Work::Compare(rows) => {
            let report = compare(options, rows, &rig, &mut broadcast, &clock)?;
            report.told(&head, rig.arrived(), options.json)
        }
    };
    print!("{told}");
    Ok(ExitCode::SUCCESS)
}

/// Interleaved rounds: each row is measured once in every round, so that a noisy minute of the
/// machine falls on all of them.
fn compare(
    options: &Options,
    rows: &[(Variant, Vec<Train>)],
    rig: &Rig,
    broadcast: &mut Broadcast,
    clock: &CpuClock,
) -> Result<Report, String> {
    let mut report = Report::default();
    let mut rows: Vec<Row> = rows
        .iter()
        .filter(|(variant, _)| !variant.offload || rig.can_offload())
        .map(|(variant, trains)| Row { variant: *variant, trains: trains.iter().cycle() })
        .collect();
    for round in 0..=options.rounds {
        for row in &mut rows {
            rig.set_offload(row.variant.offload)?;
            let time = if round == 0 { WARM_UP } else { options.time };
            let sample = run(broadcast, clock, row, time)?;
            report.sent(&sample);
            if round > 0 {
                report.add(&row.variant, sample);
            }
        }
    }
    Ok(report)
}

/// Sends trains to every viewer until the time is over.
fn run(
    broadcast: &mut Broadcast,
    clock: &CpuClock,
    row: &mut Row,
    time: Duration,
) -> Result<Sample, String> {
    let mut out = broadcast.sender(&row.variant);
    let mut sample = Sample::default();
    let until = Instant::now() + time;
    let before = clock.now()?;
    for train in &mut row.trains {
        sample.add(broadcast.burst(&row.variant, *train, &mut out, |_| ())?);
        if Instant::now() >= until {
            break;
        }
    }
    sample.time = clock.now()? - before;
    match sample.lost {
        0 => Ok(sample),
        lost => Err(format!("the kernel did not take {lost} packets: no figure")),
    }
}
