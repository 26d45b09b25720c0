//! Counts the instructions of each piece of work, ciphers left out, and holds them against what was
//! agreed: a regression shows on a noisy machine too.
//!
//! `make counts` checks, `make counts-baseline` agrees on what is. Without valgrind, or where nobody
//! agreed on anything for this toolchain, a line says so and all is well.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod baseline;
mod profile;
#[path = "../work/mod.rs"]
mod work;

use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use baseline::{Baseline, TOLERANCE, Verdict, judge};
use work::Work;

const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/counts/baseline.txt");

fn main() -> ExitCode {
    // cargo says --bench to every benchmark.
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        [] => check(),
        ["agree"] => agree(),
        ["work", name] => return alone(name),
        _ => Err(format!("no argument, or agree; not {}", words.join(" "))),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("counts: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What is counted runs in a process of its own: under valgrind, which looks only while `measured`
/// runs.
fn alone(name: &str) -> ExitCode {
    let Some(mut work) = work::named(name) else { return ExitCode::FAILURE };
    // Buffers grow and first packets are told once.
    work.run();
    measured(&mut *work);
    ExitCode::SUCCESS
}

#[inline(never)]
fn measured(work: &mut dyn Work) {
    work.run();
}

fn check() -> Result<ExitCode, String> {
    let Some(toolchain) = toolchain() else {
        println!("counts: not checked, there is no valgrind here");
        return Ok(ExitCode::SUCCESS);
    };
    let baseline = read()?;
    let Some(agreed) = baseline.of(&toolchain) else {
        println!("counts: not checked, there is no baseline for {toolchain}");
        return Ok(ExitCode::SUCCESS);
    };
    let mut good = true;
    for name in work::NAMES {
        let count = count(name)?;
        let wrong = match judge(agreed, name, count) {
            Verdict::Holds => continue,
            Verdict::More(share) => format!("{:.1} % more than agreed", 100.0 * share),
            Verdict::Less(share) => format!("{:.1} % less than agreed", 100.0 * share),
            Verdict::Unknown => "which nobody agreed on".to_owned(),
        };
        println!("{name}: {count} instructions, {wrong}; see {}", profile_of(name).display());
        good = false;
    }
    if good {
        return Ok(ExitCode::SUCCESS);
    }
    Err(format!(
        "instruction counts moved by more than {:.0} %. callgrind_annotate shows where; if it is \
         meant, run `make counts-baseline` and say in the commit why",
        100.0 * TOLERANCE
    ))
}

/// Writes the counts of this toolchain into the baseline, and prints them for each packet.
fn agree() -> Result<ExitCode, String> {
    let toolchain = toolchain().ok_or("there is no valgrind here")?;
    let mut baseline = read()?;
    let mut counts = Vec::new();
    for name in work::NAMES {
        let count = count(name)?;
        let packets = work::named(name).map_or(1, |work| work.packets());
        println!("{name:<16} {count:>10}  {:>6.0} a packet", count as f64 / packets as f64);
        counts.push((name.to_owned(), count));
    }
    baseline.set(&toolchain, counts);
    std::fs::write(BASELINE, baseline.to_string()).map_err(|error| error.to_string())?;
    Ok(ExitCode::SUCCESS)
}

fn read() -> Result<Baseline, String> {
    let text = std::fs::read_to_string(BASELINE).map_err(|error| format!("{BASELINE}: {error}"))?;
    Baseline::parse(&text).map_err(|error| format!("{BASELINE}: {error}"))
}

/// What the counts depend on: the compiler; the C library, whose copies are counted; valgrind, which
/// tells that library what processor it has, whatever it is. None without valgrind.
fn toolchain() -> Option<String> {
    let valgrind = said("valgrind", "--version")?;
    let rustc = said(&std::env::var("RUSTC").unwrap_or("rustc".to_owned()), "--version")?;
    let rustc: Vec<&str> = rustc.split(' ').take(2).collect();
    let libc = said("getconf", "GNU_LIBC_VERSION").unwrap_or("no glibc".to_owned());
    Some(format!("{}, {libc}, {valgrind}, {}", rustc.join(" "), std::env::consts::ARCH))
}

fn said(program: &str, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).output().ok()?;
    let said = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| said.trim().to_owned())
}

fn profile_of(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.callgrind", name.replace('/', "-")))
}

fn count(name: &str) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let profile = profile_of(name);
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no", "--toggle-collect=counts::measured"])
        .args(["--compress-strings=no", "--compress-pos=no", "--dump-line=no"])
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg(program)
        .args(["work", name])
        .stdout(Stdio::null())
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    if !output.status.success() {
        return Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr)));
    }
    let text = std::fs::read_to_string(&profile)
        .map_err(|error| format!("{}: {error}", profile.display()))?;
    profile::instructions(&text).ok_or_else(|| format!("{}: nothing counted", profile.display()))
}
