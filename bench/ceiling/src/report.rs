//! What was measured: medians, ranges and rounds, as a table or as JSON.

use std::fmt::Write;
use std::fs;

use crate::cpu::{CpuClock, CpuTime};
use crate::input::{Input, Work};
use crate::options::Options;
use crate::rig::Rig;
use crate::sample::{Figures, Sample, median};
use crate::variant::{EIGHT, Plays, SEAL, SINGLES, Variant};

/// Packets a second of a 1080p30 stream of 2.5 Mbit/s.
const VIEWER_PACKETS: f64 = 264.0;

/// A machine where trains of 8 gain less than this over singles did not really segment, or did
/// something else meanwhile; its figures are no ceiling.
const LEAST_GAIN: f64 = 2.2;

/// What was run: the beginning of every result.
#[derive(Default)]
pub struct Head(Vec<(&'static str, String)>);

impl Head {
    /// Of this run.
    pub fn new(
        options: &Options,
        input: &Input,
        viewers: usize,
        rig: &Rig,
        clock: &CpuClock,
    ) -> Head {
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let build = if cfg!(debug_assertions) { "debug: no figure" } else { "release" };
        let rounds = match input.work {
            Work::Compare(_) => options.rounds,
            Work::Play(_) => 1,
        };
        Head(vec![
            ("suite", options.profile.name().to_owned()),
            ("media", input.media.clone()),
            ("viewers", viewers.to_string()),
            ("rounds", rounds.to_string()),
            ("seconds", options.time.as_secs_f64().to_string()),
            ("arena_kib", (options.arena >> 10).to_string()),
            ("kernel", kernel.trim().to_owned()),
            ("build", build.to_owned()),
            ("cpu_time", clock.describe()),
            ("rig", rig.describe().to_owned()),
        ])
    }

    /// A line each.
    pub fn table(&self) -> String {
        self.0.iter().map(|(name, value)| line(name, value)).collect()
    }

    /// Fields with commas between them.
    pub fn json(&self) -> String {
        let fields = self.0.iter().map(|(name, value)| format!("\"{name}\":\"{value}\""));
        fields.collect::<Vec<_>>().join(",")
    }
}

/// One of the lines before the figures.
pub fn line(name: &str, value: &str) -> String {
    format!("{name:<13} {value}\n")
}

/// The rows so far.
#[derive(Default)]
pub struct Report {
    rows: Vec<(Variant, Vec<Sample>)>,
    frames: u64,
}

impl Report {
    /// Counts what was sent, also outside the rounds that count.
    pub fn sent(&mut self, sample: &Sample) {
        self.frames += sample.frames;
    }

    /// One more sample of a row.
    pub fn add(&mut self, variant: &Variant, sample: Sample) {
        match self.rows.iter_mut().find(|(row, _)| row == variant) {
            Some((_, samples)) => samples.push(sample),
            None => self.rows.push((*variant, vec![sample])),
        }
    }

    /// All of it, as JSON or as a table.
    pub fn told(&self, head: &Head, arrived: Option<u64>, json: bool) -> String {
        if json { self.json(head, arrived) } else { self.table(head, arrived) }
    }

    /// What a packet costs in a row, round by round.
    fn costs(&self, name: &str) -> Option<Vec<f64>> {
        let (_, samples) = self.rows.iter().find(|(variant, _)| variant.name == name)?;
        Some(samples.iter().map(Sample::cost).collect())
    }

    /// How many times as many packets trains of 8 carry as singles do: the median of the rounds, in
    /// each of which the two ran close together; none without both rows.
    fn gain(&self) -> Option<f64> {
        let (singles, eights) = (self.costs(SINGLES)?, self.costs(EIGHT)?);
        middle(singles.iter().zip(eights).map(|(single, eight)| single / eight))
    }

    /// The same of what is left when header and seal are taken off: what segmentation gains however
    /// much the suite costs. None without the row of the seal alone.
    fn sending_gain(&self) -> Option<f64> {
        let (singles, eights) = (self.costs(SINGLES)?, self.costs(EIGHT)?);
        let pairs = singles.into_iter().zip(eights).zip(self.costs(SEAL)?);
        middle(pairs.map(|((single, eight), seal)| (single - seal) / (eight - seal)))
    }

    fn time(&self) -> CpuTime {
        let mut time = CpuTime::default();
        self.rows.iter().flat_map(|(_, samples)| samples).for_each(|sample| time += sample.time);
        time
    }

    fn table(&self, head: &Head, arrived: Option<u64>) -> String {
        let mut out = head.table();
        out += &counted(self.frames, arrived);
        out += &line("clocks", &clocks(self.time()));
        out += &line("valid", &verdict(self.gain()));
        if let Some(gain) = self.sending_gain() {
            let cheaper = format!("{gain:.2} times cheaper in trains of 8, header and seal apart");
            out += &line("sending", &cheaper);
        }
        let _ = writeln!(
            out,
            "\n{:<27} {:>12} {:>19} {:>10} {:>8} {:>8} {:>8}",
            "", "packets/CPU-s", "range", "us/packet", "Gbit/s", "viewers", "pkt/call"
        );
        for (variant, samples) in &self.rows {
            let row = Figures::of(samples);
            let _ = writeln!(
                out,
                "{:<27} {:>13.0} {:>9.0}..{:<8.0} {:>10.3} {:>8.2} {:>8.0} {:>8}",
                variant.title(),
                row.median,
                row.least,
                row.most,
                1e6 / row.median,
                row.gbit,
                row.median / VIEWER_PACKETS,
                row.packets_per_call.map_or("-".to_owned(), |packets| format!("{packets:.1}")),
            );
        }
        out
    }

    fn json(&self, head: &Head, arrived: Option<u64>) -> String {
        let gain = self.gain();
        let fields = [
            head.json(),
            counts_json(self.frames, arrived),
            time_json(self.time()),
            format!("\"trains_of_8_over_singles\":{}", or_null(gain)),
            format!("\"sending_gain\":{}", or_null(self.sending_gain())),
            format!("\"valid\":{}", or_null(gain.map(|gain| gain >= LEAST_GAIN))),
        ];
        let rows: Vec<String> =
            self.rows.iter().map(|(row, samples)| row_json(row, samples)).collect();
        format!("{{{},\"rows\":[{}]}}\n", fields.join(","), rows.join(","))
    }
}

/// How many frames of the device left and arrived; nothing where nobody counts.
pub fn counted(sent: u64, arrived: Option<u64>) -> String {
    let told = |arrived| line("arrived", &format!("{arrived} frames at the far end, {sent} sent"));
    arrived.map_or(String::new(), told)
}

/// The same as fields.
pub fn counts_json(sent: u64, arrived: Option<u64>) -> String {
    format!("\"sent\":{sent},\"arrived\":{}", or_null(arrived))
}

/// What both clocks say, as fields.
pub fn time_json(time: CpuTime) -> String {
    format!(
        "\"cpu_s\":{},\"busy_s\":{},\"disagreement\":{}",
        time.own.as_secs_f64(),
        busy(time),
        or_null(time.disagreement())
    )
}

fn row_json(variant: &Variant, samples: &[Sample]) -> String {
    let figures = Figures::of(samples);
    let train = match variant.plays {
        Plays::Equal(packets) => Some(packets),
        Plays::File => None,
    };
    let rounds: Vec<String> = samples.iter().map(round_json).collect();
    format!(
        "{{\"name\":\"{}\",\"train\":{},\"gso\":{},\"sendmmsg\":{},\"sent\":{},\
         \"unsegmented\":{},\"packets_per_cpu_second\":{:.0},\"least\":{:.0},\
         \"most\":{:.0},\"gbit_per_second\":{:.3},\"rounds\":[{}]}}",
        variant.name,
        or_null(train),
        variant.gso,
        variant.sendmmsg,
        variant.send,
        variant.offload,
        figures.median,
        figures.least,
        figures.most,
        figures.gbit,
        rounds.join(","),
    )
}

fn round_json(sample: &Sample) -> String {
    format!(
        "{{\"packets\":{},\"bytes\":{},\"messages\":{},\"calls\":{},\"cpu_s\":{},\"busy_s\":{}}}",
        sample.packets,
        sample.bytes,
        sample.messages,
        sample.calls,
        sample.time.own.as_secs_f64(),
        busy(sample.time),
    )
}

/// A value of JSON.
pub fn or_null(value: Option<impl ToString>) -> String {
    value.map_or("null".to_owned(), |value| value.to_string())
}

fn middle(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    Some(median(&values)).filter(|value| value.is_finite() && *value > 0.0)
}

/// Seconds, or null where the core is unknown.
fn busy(time: CpuTime) -> String {
    or_null((!time.busy.is_zero()).then_some(time.busy.as_secs_f64()))
}

/// What both clocks say.
pub fn clocks(time: CpuTime) -> String {
    let own = time.own.as_secs_f64();
    match time.disagreement() {
        Some(share) => format!(
            "{own:.2} s of CPU by schedstat, the core was busy for {:.2} s: {:.1} % apart",
            time.busy.as_secs_f64(),
            100.0 * share
        ),
        None => format!("{own:.2} s of CPU by schedstat; the core's busy time is not known"),
    }
}

fn verdict(gain: Option<f64>) -> String {
    match gain {
        Some(gain) if gain >= LEAST_GAIN => {
            format!("yes: trains of 8 carry {gain:.2} times the packets of singles")
        }
        Some(gain) => format!(
            "NO: trains of 8 carry only {gain:.2} times the packets of singles, not {LEAST_GAIN}: \
             these figures are no ceiling"
        ),
        None => format!("not judged: that takes the rows {SINGLES} and {EIGHT}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;
    use crate::variant;

    fn head() -> Head {
        Head(vec![("rig", "none".to_owned())])
    }

    /// Two rounds of half a second, with so many packets in each row.
    fn report(rows: &[(&str, u64)]) -> Report {
        let mut report = Report { rows: Vec::new(), frames: 7 };
        let time = CpuTime { own: Duration::from_millis(500), busy: Duration::from_millis(510) };
        for (name, packets) in rows {
            let variant = variant::rows(Some(&[(*name).to_owned()]), false).unwrap()[0];
            let packets = *packets;
            let sample =
                Sample { packets, bytes: 9, messages: 3, calls: 2, time, ..Sample::default() };
            report.add(&variant, sample);
            report.add(&variant, sample);
        }
        report
    }

    #[test]
    fn json_has_each_round_and_the_verdict() {
        let json = report(&[(SINGLES, 1_000), (EIGHT, 2_500)]).json(&head(), None);
        let round = "{\"packets\":1000,\"bytes\":9,\"messages\":3,\"calls\":2,\
                     \"cpu_s\":0.5,\"busy_s\":0.51}";
        for part in [
            &format!("\"rounds\":[{round},{round}]"),
            "\"trains_of_8_over_singles\":2.5,\"sending_gain\":null,\"valid\":true",
            "\"sent\":7,\"arrived\":null,\"cpu_s\":2,\"busy_s\":2.04,\"disagreement\":0.02",
        ] {
            assert!(json.contains(part), "{part}: {json}");
        }
        let json = report(&[(SINGLES, 1_000), (EIGHT, 2_199)]).json(&head(), None);
        assert!(json.contains("\"valid\":false"), "{json}");
    }

    #[test]
    fn the_table_says_in_words_whether_it_holds() {
        let table = |rows| report(rows).table(&head(), Some(9));
        assert!(table(&[(SINGLES, 1_000), (EIGHT, 2_500)]).contains("yes: trains of 8 carry 2.50"));
        let bad = table(&[(SINGLES, 1_000), (EIGHT, 2_100)]);
        assert!(bad.contains("NO: trains of 8 carry only 2.10"), "{bad}");
        assert!(table(&[(SINGLES, 1_000)]).contains("not judged"));
        let json = report(&[(EIGHT, 1_000)]).json(&head(), None);
        assert!(json.contains("\"trains_of_8_over_singles\":null"), "{json}");
        assert!(json.contains("\"valid\":null"), "{json}");
    }

    #[test]
    fn a_dear_seal_is_taken_off_both() {
        // 10 us and 5 us a packet, of which the seal is 2.5 us.
        let rows = [(SEAL, 200_000), (SINGLES, 50_000), (EIGHT, 100_000)];
        let json = report(&rows).json(&head(), None);
        let gain = json.split("\"sending_gain\":").nth(1).unwrap().split(',').next().unwrap();
        assert!((gain.parse::<f64>().unwrap() - 3.0).abs() < 1e-9, "{gain}");
    }
}
