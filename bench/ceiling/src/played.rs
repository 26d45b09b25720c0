//! What a play showed, as lines or as JSON.

use std::time::Duration;

use crate::play::Played;
use crate::report::{Head, clocks, counted, counts_json, line, or_null, time_json};

const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p999", 0.999)];

impl Played {
    /// All of it, as JSON or in lines.
    pub fn told(&self, head: &Head, arrived: Option<u64>, json: bool) -> String {
        if json { self.json(head, arrived) } else { self.lines(head, arrived) }
    }

    fn json(&self, head: &Head, arrived: Option<u64>) -> String {
        let us = |time: Duration| time.as_micros();
        let latency = QUANTILES
            .map(|(name, share)| {
                format!("\"{name}\":{}", or_null(self.latency.quantile(share).map(us)))
            })
            .join(",");
        let fields = [
            head.json(),
            counts_json(self.warm_up.frames + self.sample.frames, arrived),
            time_json(self.sample.time),
            format!("\"packets\":{},\"lost\":{}", self.sample.packets, self.sample.lost),
            format!("\"bytes\":{},\"calls\":{}", self.sample.bytes, self.sample.calls),
            format!("\"frames\":{},\"took_s\":{}", self.frames, self.took.as_secs_f64()),
            format!("\"behind_us\":{}", us(self.behind)),
            format!(
                "\"latency_us\":{{\"count\":{},{latency},\"most\":{}}}",
                self.latency.total(),
                us(self.latency.most())
            ),
        ];
        format!("{{{}}}\n", fields.join(","))
    }

    fn lines(&self, head: &Head, arrived: Option<u64>) -> String {
        let ms = |time: Duration| format!("{:.2} ms", 1e3 * time.as_secs_f64());
        let quantile = |(name, share)| {
            self.latency.quantile(share).map(|time| line(name, &ms(time))).unwrap_or_default()
        };
        let took = self.took.as_secs_f64();
        [
            head.table(),
            counted(self.warm_up.frames + self.sample.frames, arrived),
            line("clocks", &clocks(self.sample.time)),
            line("sent", &format!("{} packets in {took:.2} s", self.sample.packets)),
            line("lost", &format!("{} of them", self.sample.lost)),
            line("frames", &format!("{}, whole for {} viewers", self.frames, self.latency.total())),
            QUANTILES.map(quantile).concat(),
            line("most", &ms(self.latency.most())),
            line("behind", &ms(self.behind)),
        ]
        .concat()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::cpu::CpuTime;
    use crate::histogram::Histogram;
    use crate::sample::Sample;

    /// Two frames to fifty viewers, of whom one waited.
    fn played() -> Played {
        let mut latency = Histogram::new();
        latency.record(Duration::from_micros(100), 99);
        latency.record(Duration::from_micros(12_000), 1);
        Played {
            warm_up: Sample { frames: 50, ..Sample::default() },
            sample: Sample {
                packets: 500,
                lost: 3,
                bytes: 9,
                calls: 4,
                frames: 500,
                time: CpuTime { own: Duration::from_millis(500), busy: Duration::from_millis(510) },
                ..Sample::default()
            },
            latency,
            frames: 2,
            took: Duration::from_millis(1_500),
            behind: Duration::from_micros(80),
        }
    }

    #[test]
    fn json_has_what_a_caller_judges_by() {
        let json = played().told(&Head::default(), Some(551), true);
        for part in [
            "\"sent\":550,\"arrived\":551,\"cpu_s\":0.5,\"busy_s\":0.51",
            "\"packets\":500,\"lost\":3,\"bytes\":9,\"calls\":4,\"frames\":2,\"took_s\":1.5",
            "\"behind_us\":80",
            "\"latency_us\":{\"count\":100,\"p50\":100,\"p99\":100,\"p999\":12000,\"most\":12000}",
        ] {
            assert!(json.contains(part), "{part}: {json}");
        }
    }

    #[test]
    fn without_a_whole_frame_nothing_is_known_of_latency() {
        let played = Played { latency: Histogram::new(), ..played() };
        let json = played.told(&Head::default(), None, true);
        assert!(json.contains("\"count\":0,\"p50\":null,\"p99\":null"), "{json}");
    }

    #[test]
    fn people_read_milliseconds() {
        let told = played().told(&Head::default(), None, false);
        assert!(told.contains("p999          12.00 ms\n"), "{told}");
        assert!(
            told.contains("lost          3 of them\n") && told.contains("behind        0.08 ms")
        );
    }
}
