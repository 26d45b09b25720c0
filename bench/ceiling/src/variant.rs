//! The ways to send that are compared, each a row of the report.

/// What a row plays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plays {
    /// So many packets of one size at a time.
    Equal(usize),
    /// The trains of the file that was given.
    File,
}

/// One way to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Variant {
    /// What `--variants` and the results call it.
    pub name: &'static str,
    /// What a viewer gets at once.
    pub plays: Plays,
    /// It leaves as one message.
    pub gso: bool,
    /// Many messages leave by one call.
    pub sendmmsg: bool,
    /// The device segments trains (as a NIC with USO would), not the kernel.
    pub offload: bool,
    /// It is really sent, not only built.
    pub send: bool,
}

/// The row of what is not sent, only built.
pub const SEAL: &str = "seal";

/// The row that a run's validity is judged by, together with [`EIGHT`].
pub const SINGLES: &str = "singles";

/// See [`SINGLES`].
pub const EIGHT: &str = "trains of 8";

const BASE: Variant = Variant {
    name: "",
    plays: Plays::Equal(8),
    gso: true,
    sendmmsg: true,
    offload: false,
    send: true,
};

/// What is given leaves as the forwarder sends it; a schedule is played like this.
pub const TRAINS: Variant = Variant { name: "trains", plays: Plays::File, ..BASE };

/// Every row there is, in the report's order.
const ALL: [Variant; 10] = [
    Variant { name: SEAL, send: false, ..BASE },
    Variant { name: SINGLES, gso: false, sendmmsg: false, ..BASE },
    Variant { name: "sendmmsg", gso: false, ..BASE },
    TRAINS,
    Variant { name: "trains of 1", plays: Plays::Equal(1), ..BASE },
    Variant { name: "trains of 2", plays: Plays::Equal(2), ..BASE },
    Variant { name: "trains of 4", plays: Plays::Equal(4), ..BASE },
    Variant { name: EIGHT, ..BASE },
    Variant { name: "trains of 16", plays: Plays::Equal(16), ..BASE },
    Variant { name: "unsegmented", offload: true, ..BASE },
];

/// Rows of a run with `--trains`, unless others are chosen.
const WITH_FILE: [&str; 4] = [SINGLES, "sendmmsg", "trains", EIGHT];

impl Variant {
    /// What the table calls it.
    pub fn title(&self) -> &'static str {
        match self.name {
            SEAL => "header and seal alone",
            SINGLES => "singles, one sendmsg each",
            "sendmmsg" => "sendmmsg of singles",
            "trains" => "trains of the file",
            "unsegmented" => "trains of 8, unsegmented",
            name => name,
        }
    }

    /// Datagrams that are not cut from trains of one length are the file's, if there is one.
    fn with_file(self) -> Variant {
        if self.gso { self } else { Variant { plays: Plays::File, ..self } }
    }
}

/// The rows of a run: those of `chosen`, or all that make sense for it. `file`: trains were given.
pub fn rows(chosen: Option<&[String]>, file: bool) -> Result<Vec<Variant>, String> {
    let fits = |variant: &Variant| file || variant.plays != Plays::File;
    let usual = |variant: &Variant| if file { WITH_FILE.contains(&variant.name) } else { true };
    let rows: Vec<Variant> = match chosen {
        None => ALL.into_iter().filter(|variant| fits(variant) && usual(variant)).collect(),
        Some(names) => names.iter().map(|name| named(name)).collect::<Result<_, _>>()?,
    };
    if let Some(lost) = rows.iter().find(|variant| !fits(variant)) {
        return Err(format!("the row {} plays a file: it wants --trains FILE", lost.name));
    }
    Ok(if file { rows.into_iter().map(Variant::with_file).collect() } else { rows })
}

/// A hyphen stands for a space, so that a shell needs no quotes.
fn named(name: &str) -> Result<Variant, String> {
    let spaced = name.trim().replace('-', " ");
    ALL.into_iter().find(|variant| variant.name == spaced).ok_or_else(|| {
        let known: Vec<&str> = ALL.iter().map(|variant| variant.name).collect();
        format!("--variants knows {}; not {name}", known.join(", "))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn names(chosen: Option<&[&str]>, file: bool) -> Result<Vec<&'static str>, String> {
        let chosen = chosen.map(|names| names.iter().map(|&n| n.to_owned()).collect::<Vec<_>>());
        let rows = rows(chosen.as_deref(), file)?;
        Ok(rows.iter().map(|variant| variant.name).collect())
    }

    #[test]
    fn a_file_brings_its_own_rows() {
        assert_eq!(names(None, true).unwrap(), WITH_FILE);
        let without = names(None, false).unwrap();
        assert_eq!(without.len(), ALL.len() - 1);
        assert!(!without.contains(&"trains"));
    }

    #[test]
    fn rows_are_chosen_by_name_in_their_order() {
        let chosen = names(Some(&["trains-of-8", "singles", "trains of 2"]), false).unwrap();
        assert_eq!(chosen, ["trains of 8", "singles", "trains of 2"]);
        assert!(names(Some(&["trains of 3"]), false).unwrap_err().contains("trains of 3"));
        assert!(names(Some(&["trains"]), false).unwrap_err().contains("wants --trains"));
    }

    #[test]
    fn singles_carry_the_packets_of_the_file() {
        let rows = rows(None, true).unwrap();
        let plays: Vec<Plays> = rows.iter().map(|variant| variant.plays).collect();
        assert_eq!(plays, [Plays::File, Plays::File, Plays::File, Plays::Equal(8)]);
    }
}
