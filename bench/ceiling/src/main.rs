//! `pyforward-ceiling`: the bare sender. Header, seal, train, send, and nothing else: what any
//! forwarder on this machine can reach at most. It says how many packets a second of CPU carries,
//! sent one by one, by `sendmmsg`, and as trains of several lengths.
//!
//! It runs twice. The outer process pins a second one to a core and gives it a network namespace of
//! its own, so that the load goes nowhere else and all that was made vanishes with the processes.
//! Where that is not permitted the load goes to loopback, and the result says so.

mod broadcast;
mod cpu;
mod options;
mod report;
mod rig;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use broadcast::Broadcast;
use cpu::CpuClock;
use options::{Inside, Options};
use report::{Report, Sample};
use rig::Rig;

/// One way to send, as a row of the report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Variant {
    /// What the row is called.
    pub name: &'static str,
    /// Packets of a viewer that are ready at once.
    pub burst: usize,
    /// They leave as one message.
    pub gso: bool,
    /// Many messages leave by one call.
    pub sendmmsg: bool,
    /// The device segments trains (as a NIC with USO would), not the kernel.
    pub offload: bool,
    /// They are really sent, not only built.
    pub send: bool,
}

const BASE: Variant =
    Variant { name: "", burst: 8, gso: true, sendmmsg: true, offload: false, send: true };

/// Every row; each round runs all of them.
const VARIANTS: [Variant; 9] = [
    Variant { name: "header and seal alone", send: false, ..BASE },
    Variant { name: "singles, one sendmsg each", gso: false, sendmmsg: false, ..BASE },
    Variant { name: "sendmmsg of singles", gso: false, ..BASE },
    Variant { name: "trains of 1", burst: 1, ..BASE },
    Variant { name: "trains of 2", burst: 2, ..BASE },
    Variant { name: "trains of 4", burst: 4, ..BASE },
    Variant { name: "trains of 8", burst: 8, ..BASE },
    Variant { name: "trains of 16", burst: 16, ..BASE },
    Variant { name: "trains of 8, unsegmented", offload: true, ..BASE },
];

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    let result = match options.inside {
        None => rig::enter(&options),
        Some(inside) => measure(&options, inside),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("pyforward-ceiling: {error}");
            ExitCode::from(3)
        }
    }
}

/// Interleaved rounds: each row is measured once in every round, so that a noisy minute of the
/// machine falls on all of them.
fn measure(options: &Options, inside: Inside) -> Result<ExitCode, String> {
    let rig = Rig::build(inside)?;
    let mut broadcast = Broadcast::new(options, &rig)?;
    let clock = CpuClock::new()?;
    let variants: Vec<Variant> =
        VARIANTS.into_iter().filter(|variant| !variant.offload || rig.can_offload()).collect();
    let mut report = Report::new(options, &rig, &clock, &variants);
    for round in 0..=options.rounds {
        for (row, variant) in variants.iter().enumerate() {
            rig.set_offload(variant.offload)?;
            // The first round warms caches and neighbours up and does not count.
            let time = if round == 0 { options.time / 8 } else { options.time };
            let sample = run(&mut broadcast, &clock, variant, time)?;
            report.sent(&sample);
            if round > 0 {
                report.add(row, sample);
            }
        }
    }
    report.print(&rig);
    Ok(ExitCode::SUCCESS)
}

/// Sends bursts to every viewer until the time is over.
fn run(
    broadcast: &mut Broadcast,
    clock: &CpuClock,
    variant: &Variant,
    time: Duration,
) -> Result<Sample, String> {
    let mut sender = broadcast.sender(variant);
    let until = Instant::now() + time;
    let before = clock.now()?;
    let mut sample = Sample::default();
    while Instant::now() < until {
        sample.add(broadcast.burst(variant, &mut sender)?);
    }
    sample.cpu = clock.now()? - before;
    Ok(sample)
}
