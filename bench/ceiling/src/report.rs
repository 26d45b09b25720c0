//! What was measured: medians and ranges, as a table or as JSON.

use std::fs;
use std::time::Duration;

use crate::Variant;
use crate::cpu::CpuClock;
use crate::options::Options;
use crate::rig::Rig;

/// Packets a second of a 1080p30 stream of 2.5 Mbit/s.
const VIEWER_PACKETS: f64 = 264.0;

/// One row in one round.
#[derive(Clone, Copy, Default, Debug)]
pub struct Sample {
    /// Datagrams.
    pub packets: u64,
    /// Their bytes, without UDP and IP.
    pub bytes: u64,
    /// System calls that sent them.
    pub calls: u64,
    /// What the far end should count: datagrams, or trains where nobody segments them.
    pub frames: u64,
    /// CPU time that it took.
    pub cpu: Duration,
}

impl Sample {
    /// Counts another one in.
    pub fn add(&mut self, other: Sample) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.calls += other.calls;
        self.frames += other.frames;
        self.cpu += other.cpu;
    }

    fn packets_per_cpu_second(&self) -> f64 {
        self.packets as f64 / self.cpu.as_secs_f64().max(1e-9)
    }
}

/// The rows so far.
pub struct Report {
    json: bool,
    head: Vec<(&'static str, String)>,
    rows: Vec<(Variant, Vec<Sample>)>,
    frames: u64,
}

impl Report {
    /// Nothing measured yet.
    pub fn new(options: &Options, rig: &Rig, clock: &CpuClock, variants: &[Variant]) -> Report {
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let head = vec![
            ("suite", options.profile.name().to_owned()),
            ("packet_bytes", options.packet_len().to_string()),
            ("viewers", options.viewers.to_string()),
            ("rounds", options.rounds.to_string()),
            ("seconds", options.time.as_secs_f64().to_string()),
            ("arena_kib", (options.arena >> 10).to_string()),
            ("kernel", kernel.trim().to_owned()),
            (
                "build",
                if cfg!(debug_assertions) { "debug: no figure" } else { "release" }.to_owned(),
            ),
            ("cpu_time", clock.describe()),
            ("rig", rig.describe().to_owned()),
        ];
        let rows = variants.iter().map(|variant| (*variant, Vec::new())).collect();
        Report { json: options.json, head, rows, frames: 0 }
    }

    /// Counts what was sent, also outside the rounds that count.
    pub fn sent(&mut self, sample: &Sample) {
        self.frames += sample.frames;
    }

    /// One more sample of a row.
    pub fn add(&mut self, row: usize, sample: Sample) {
        if let Some((_, samples)) = self.rows.get_mut(row) {
            samples.push(sample);
        }
    }

    /// All of it, to standard output.
    pub fn print(&self, rig: &Rig) {
        if self.json { self.print_json(rig) } else { self.print_table(rig) }
    }

    fn print_table(&self, rig: &Rig) {
        for (name, value) in &self.head {
            println!("{name:<13} {value}");
        }
        if let Some(arrived) = rig.arrived() {
            println!("{:<13} {arrived} frames at the far end, {} sent", "arrived", self.frames);
        }
        println!(
            "\n{:<27} {:>12} {:>19} {:>10} {:>8} {:>8} {:>8}",
            "", "packets/CPU-s", "range", "us/packet", "Gbit/s", "viewers", "pkt/call"
        );
        for (variant, samples) in &self.rows {
            let row = Row::of(samples);
            println!(
                "{:<27} {:>13.0} {:>9.0}..{:<8.0} {:>10.3} {:>8.2} {:>8.0} {:>8}",
                variant.name,
                row.median,
                row.least,
                row.most,
                1e6 / row.median,
                row.gbit,
                row.median / VIEWER_PACKETS,
                row.packets_per_call.map_or("-".to_owned(), |packets| format!("{packets:.1}")),
            );
        }
    }

    fn print_json(&self, rig: &Rig) {
        let mut fields: Vec<String> =
            self.head.iter().map(|(name, value)| format!("\"{name}\":\"{value}\"")).collect();
        if let Some(arrived) = rig.arrived() {
            fields.push(format!("\"sent\":{},\"arrived\":{arrived}", self.frames));
        }
        let rows: Vec<String> = self
            .rows
            .iter()
            .map(|(variant, samples)| {
                let row = Row::of(samples);
                format!(
                    "{{\"name\":\"{}\",\"train\":{},\"gso\":{},\"sendmmsg\":{},\"sent\":{},\
                     \"unsegmented\":{},\"packets_per_cpu_second\":{:.0},\"least\":{:.0},\
                     \"most\":{:.0},\"gbit_per_second\":{:.3}}}",
                    variant.name,
                    variant.burst,
                    variant.gso,
                    variant.sendmmsg,
                    variant.send,
                    variant.offload,
                    row.median,
                    row.least,
                    row.most,
                    row.gbit,
                )
            })
            .collect();
        println!("{{{},\"rows\":[{}]}}", fields.join(","), rows.join(","));
    }
}

/// A row over its rounds.
struct Row {
    median: f64,
    least: f64,
    most: f64,
    gbit: f64,
    packets_per_call: Option<f64>,
}

impl Row {
    fn of(samples: &[Sample]) -> Row {
        let mut rates: Vec<f64> = samples.iter().map(Sample::packets_per_cpu_second).collect();
        rates.sort_by(f64::total_cmp);
        let median = median(&rates);
        let mut all = Sample::default();
        samples.iter().for_each(|sample| all.add(*sample));
        let packet_bits = 8.0 * all.bytes as f64 / all.packets.max(1) as f64;
        Row {
            median,
            least: rates.first().copied().unwrap_or_default(),
            most: rates.last().copied().unwrap_or_default(),
            gbit: median * packet_bits / 1e9,
            packets_per_call: (all.calls > 0).then(|| all.packets as f64 / all.calls as f64),
        }
    }
}

fn median(sorted: &[f64]) -> f64 {
    let (lower, upper) = (sorted.len().saturating_sub(1) / 2, sorted.len() / 2);
    match (sorted.get(lower), sorted.get(upper)) {
        (Some(lower), Some(upper)) => (lower + upper) / 2.0,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_lies_in_the_middle() {
        assert!((median(&[1.0, 2.0, 9.0]) - 2.0).abs() < 1e-9);
        assert!((median(&[1.0, 2.0, 4.0, 9.0]) - 3.0).abs() < 1e-9);
        assert!(median(&[]).abs() < 1e-9);
    }

    #[test]
    fn a_row_counts_packets_by_cpu_time() {
        let sample = |packets, millis| Sample {
            packets,
            bytes: packets * 1_250,
            calls: packets / 8,
            frames: packets,
            cpu: Duration::from_millis(millis),
        };
        let row = Row::of(&[sample(1_000, 10), sample(800, 10), sample(880, 10)]);
        assert!((row.median - 88_000.0).abs() < 1e-3);
        assert!((row.least - 80_000.0).abs() < 1e-3 && (row.most - 100_000.0).abs() < 1e-3);
        assert!((row.gbit - 0.88).abs() < 1e-6);
        assert_eq!(row.packets_per_call, Some(8.0));
        assert_eq!(Row::of(&[Sample::default()]).packets_per_call, None);
    }
}
