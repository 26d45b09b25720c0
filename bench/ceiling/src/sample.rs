//! What one row sent in one round, and what a row's rounds say together.

use crate::cpu::CpuTime;

/// One row in one round.
#[derive(Clone, Copy, Default, Debug)]
pub struct Sample {
    /// Datagrams.
    pub packets: u64,
    /// Of these, what the kernel did not take.
    pub lost: u64,
    /// Their bytes, without UDP and IP.
    pub bytes: u64,
    /// Messages that the kernel was given: trains, or datagrams where they leave singly.
    pub messages: u64,
    /// System calls that sent them.
    pub calls: u64,
    /// What the far end should count: datagrams, or trains where nobody segments them.
    pub frames: u64,
    /// CPU time that it took.
    pub time: CpuTime,
}

impl Sample {
    /// Counts another one in.
    pub fn add(&mut self, other: Sample) {
        self.packets += other.packets;
        self.lost += other.lost;
        self.bytes += other.bytes;
        self.messages += other.messages;
        self.calls += other.calls;
        self.frames += other.frames;
        self.time += other.time;
    }

    /// By the scheduler's clock.
    pub fn packets_per_cpu_second(&self) -> f64 {
        self.packets as f64 / self.time.own.as_secs_f64().max(1e-9)
    }

    /// Seconds of CPU for a packet, by the scheduler's clock.
    pub fn cost(&self) -> f64 {
        self.time.own.as_secs_f64() / self.packets.max(1) as f64
    }
}

/// A row over its rounds.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Packets per CPU-second: the median of the rounds.
    pub median: f64,
    /// Of the slowest round.
    pub least: f64,
    /// Of the fastest round.
    pub most: f64,
    /// The median in bits, without UDP and IP.
    pub gbit: f64,
    /// None where nothing was sent.
    pub packets_per_call: Option<f64>,
}

impl Figures {
    /// Of samples of one row.
    pub fn of(samples: &[Sample]) -> Figures {
        let mut rates: Vec<f64> = samples.iter().map(Sample::packets_per_cpu_second).collect();
        rates.sort_by(f64::total_cmp);
        let median = median(&rates);
        let mut all = Sample::default();
        samples.iter().for_each(|sample| all.add(*sample));
        let packet_bits = 8.0 * all.bytes as f64 / all.packets.max(1) as f64;
        Figures {
            median,
            least: rates.first().copied().unwrap_or_default(),
            most: rates.last().copied().unwrap_or_default(),
            gbit: median * packet_bits / 1e9,
            packets_per_call: (all.calls > 0).then(|| all.packets as f64 / all.calls as f64),
        }
    }
}

/// Of values in order; zero of none.
pub fn median(sorted: &[f64]) -> f64 {
    let (lower, upper) = (sorted.len().saturating_sub(1) / 2, sorted.len() / 2);
    match (sorted.get(lower), sorted.get(upper)) {
        (Some(lower), Some(upper)) => (lower + upper) / 2.0,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
            time: CpuTime { own: Duration::from_millis(millis), busy: Duration::ZERO },
            ..Sample::default()
        };
        let row = Figures::of(&[sample(1_000, 10), sample(800, 10), sample(880, 10)]);
        assert!((row.median - 88_000.0).abs() < 1e-3);
        assert!((row.least - 80_000.0).abs() < 1e-3 && (row.most - 100_000.0).abs() < 1e-3);
        assert!((row.gbit - 0.88).abs() < 1e-6);
        assert_eq!(row.packets_per_call, Some(8.0));
        assert_eq!(Figures::of(&[Sample::default()]).packets_per_call, None);
    }
}
