//! The counts that were agreed on, by what they depend on beside our code.

use std::fmt::Write;

/// How far a count may be from the agreed one, as a share of it. It goes both ways: what was gained
/// is to be kept, so the baseline follows.
pub const TOLERANCE: f64 = 0.03;

/// Sections of `name = count`, each headed by its toolchain in brackets.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Baseline {
    /// What stands above the first section.
    preamble: String,
    sections: Vec<(String, Vec<(String, u64)>)>,
}

impl Baseline {
    /// Reads it; the error says which line is none.
    pub fn parse(text: &str) -> Result<Baseline, String> {
        let mut baseline = Baseline::default();
        for (at, line) in text.lines().enumerate() {
            if let Some(toolchain) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
                baseline.sections.push((toolchain.to_owned(), Vec::new()));
            } else if let Some((_, counts)) = baseline.sections.last_mut() {
                if line.is_empty() {
                    continue;
                }
                let count = line
                    .split_once(" = ")
                    .and_then(|(name, count)| Some((name.to_owned(), count.parse().ok()?)));
                counts.push(count.ok_or_else(|| format!("line {}: {line:?}", at + 1))?);
            } else {
                let _ = writeln!(baseline.preamble, "{line}");
            }
        }
        Ok(baseline)
    }

    /// The counts of a toolchain.
    pub fn of(&self, toolchain: &str) -> Option<&[(String, u64)]> {
        let (_, counts) = self.sections.iter().find(|(section, _)| section == toolchain)?;
        Some(counts)
    }

    /// Replaces or adds those of a toolchain.
    pub fn set(&mut self, toolchain: &str, counts: Vec<(String, u64)>) {
        match self.sections.iter_mut().find(|(section, _)| section == toolchain) {
            Some((_, old)) => *old = counts,
            None => self.sections.push((toolchain.to_owned(), counts)),
        }
    }
}

impl std::fmt::Display for Baseline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.preamble)?;
        for (place, (toolchain, counts)) in self.sections.iter().enumerate() {
            if place > 0 {
                f.write_char('\n')?;
            }
            writeln!(f, "[{toolchain}]")?;
            counts.iter().try_for_each(|(name, count)| writeln!(f, "{name} = {count}"))?;
        }
        Ok(())
    }
}

/// What a count says beside the agreed one.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Verdict {
    /// As agreed.
    Holds,
    /// So large a share more.
    More(f64),
    /// So large a share less.
    Less(f64),
    /// Nobody agreed on anything.
    Unknown,
}

/// Compares one count.
pub fn judge(agreed: &[(String, u64)], name: &str, count: u64) -> Verdict {
    let Some((_, agreed)) = agreed.iter().find(|(agreed, _)| agreed == name) else {
        return Verdict::Unknown;
    };
    let change = (count as f64 - *agreed as f64) / *agreed as f64;
    match change {
        change if change > TOLERANCE => Verdict::More(change),
        change if change < -TOLERANCE => Verdict::Less(-change),
        _ => Verdict::Holds,
    }
}
