//! What is played: trains of packets, from a file or all alike.

use pyforward_io::gso::MAX_SEGMENTS;

/// Largest RTP payload: with header, tag, UDP and IPv6 it stays under an Ethernet's 1,500 bytes.
pub const MAX_PAYLOAD: usize = 1_400;

/// Most trains of a file: an hour of video at 30 frames a second.
const MAX_TRAINS: usize = 108_000;

/// Most bytes of a line; 64 packets need less.
const MAX_LINE: usize = 1_024;

/// Packets of a viewer that are ready at once. All but the last are equal, as UDP_SEGMENT wants it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Train {
    /// How many, at least 1.
    pub packets: usize,
    /// Bytes of RTP payload of each but the last.
    pub size: usize,
    /// Bytes of RTP payload of the last, at most `size`.
    pub last: usize,
}

impl Train {
    /// Packets of one size.
    pub fn equal(packets: usize, size: usize) -> Train {
        Train { packets, size, last: size }
    }

    /// Bytes of RTP payload of each packet in turn.
    pub fn sizes(self) -> impl Iterator<Item = usize> {
        std::iter::repeat_n(self.size, self.packets - 1).chain([self.last])
    }

    /// Bytes with `overhead` for each packet.
    pub fn len(self, overhead: usize) -> usize {
        (self.size + overhead) * (self.packets - 1) + self.last + overhead
    }
}

/// Mean payload of the packets of all trains, to the nearest byte.
pub fn mean_payload(trains: &[Train]) -> usize {
    let packets: usize = trains.iter().map(|train| train.packets).sum();
    let bytes: usize = trains.iter().map(|train| train.len(0)).sum();
    (bytes + packets / 2) / packets.max(1)
}

/// Reads one train a line: sizes of RTP payloads in bytes, with commas between them. Errors name the
/// line.
pub fn parse(text: &str) -> Result<Vec<Train>, String> {
    let trains: Vec<Train> = text
        .lines()
        .take(MAX_TRAINS + 1)
        .enumerate()
        .map(|(at, line)| train(line).map_err(|error| format!("line {}: {error}", at + 1)))
        .collect::<Result<_, _>>()?;
    match trains.len() {
        0 => Err("no train in it".to_owned()),
        1..=MAX_TRAINS => Ok(trains),
        _ => Err(format!("more than {MAX_TRAINS} trains")),
    }
}

/// Reads one: sizes with commas between them.
pub fn train(line: &str) -> Result<Train, String> {
    if line.len() > MAX_LINE {
        return Err(format!("longer than {MAX_LINE} bytes"));
    }
    let sizes: Vec<usize> = line.split(',').map(size).collect::<Result<_, _>>()?;
    let most = MAX_SEGMENTS as usize;
    let (Some(&size), Some(&last)) = (sizes.first(), sizes.last()) else {
        return Err("no packet".to_owned());
    };
    if sizes.len() > most {
        return Err(format!("{} packets; a train has at most {most}", sizes.len()));
    }
    if sizes.iter().rev().skip(1).any(|other| *other != size) || last > size {
        return Err("all packets but the last have one size, and the last is no larger".to_owned());
    }
    Ok(Train { packets: sizes.len(), size, last })
}

fn size(field: &str) -> Result<usize, String> {
    field
        .trim()
        .parse()
        .ok()
        .filter(|size| (1..=MAX_PAYLOAD).contains(size))
        .ok_or_else(|| format!("a packet has 1 to {MAX_PAYLOAD} bytes, not {:?}", field.trim()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_line_is_a_train() {
        let read = train("1150,1150, 1148").unwrap();
        assert_eq!(read, Train { packets: 3, size: 1_150, last: 1_148 });
        assert_eq!(read.sizes().collect::<Vec<_>>(), [1_150, 1_150, 1_148]);
        assert_eq!(read.len(28), 3 * 28 + 1_150 + 1_150 + 1_148);
        assert_eq!(train("80").unwrap(), Train::equal(1, 80));
    }

    #[test]
    fn what_is_no_train_is_told() {
        for (line, part) in [
            ("", "not \"\""),
            ("1150,", "not \"\""),
            ("1150;1150", "1150;1150"),
            ("0", "1 to 1400"),
            ("1401", "1 to 1400"),
            ("1000,1001", "no larger"),
            ("1000,900,1000", "one size"),
        ] {
            assert!(train(line).unwrap_err().contains(part), "{line}: {:?}", train(line));
        }
        assert!(train(&["9"; 65].join(",")).unwrap_err().contains("65 packets"));
        assert!(train(&["9"; 64].join(",")).is_ok());
        assert!(train(&"9".repeat(2_000)).unwrap_err().contains("longer"));
    }

    #[test]
    fn errors_name_the_line() {
        assert_eq!(parse("9,9\n8\n").unwrap(), [Train::equal(2, 9), Train::equal(1, 8)]);
        assert!(parse("9,9\n\n8").unwrap_err().starts_with("line 2: "));
        assert!(parse("").unwrap_err().contains("no train"));
        assert!(parse(&"9\n".repeat(MAX_TRAINS + 1)).unwrap_err().contains("more than"));
    }

    #[test]
    fn the_mean_counts_packets_and_not_trains() {
        assert_eq!(mean_payload(&[Train::equal(9, 1_000), Train::equal(1, 500)]), 950);
        assert_eq!(mean_payload(&[Train { packets: 2, size: 100, last: 51 }]), 76);
    }
}
