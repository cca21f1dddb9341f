//! The names of the files of an archive.
//!
//! ```text
//!   changes/shard=0003/day=2026-12-01/0003-<first>-<last>-<hash16>.parquet     a file of changes
//!   manifest/shard=0003/day=2026-12-01/0003-<entry>.json                       the entry that names it
//! ```

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike as _, NaiveDate};
use object_store::path::Path;

use super::Format;

/// The folder of the files of changes.
pub(super) const CHANGES: &str = "changes";
/// The folder of the manifest entries.
pub(super) const MANIFEST: &str = "manifest";

/// A day of log time, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Day(NaiveDate);

impl Day {
    /// Returns the day of a log time. Returns None for a time after the year 9999, which has no name here.
    pub(super) fn of(log_time_ms: u64) -> Option<Self> {
        let time = DateTime::from_timestamp_millis(i64::try_from(log_time_ms).ok()?)?;
        let date = time.date_naive();
        (date.year() <= 9999).then_some(Self(date))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(date) = self;
        write!(f, "{:04}-{:02}-{:02}", date.year(), date.month(), date.day())
    }
}

impl FromStr for Day {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let day = Self(text.parse().map_err(|_| ())?);
        (day.to_string() == text).then_some(day).ok_or(())
    }
}

/// Returns the folder of a shard below `changes` or `manifest`.
pub(super) fn shard_folder(root: &Path, shard: u32) -> Path {
    root.clone().join(format!("shard={shard:04}"))
}

/// Returns the folder of a shard's day below `changes` or `manifest`.
pub(super) fn day_folder(root: &Path, shard: u32, day: Day) -> Path {
    shard_folder(root, shard).join(format!("day={day}"))
}

/// Parses the name of a shard's folder.
pub(super) fn parse_shard(name: &str) -> Option<u32> {
    let shard = name.strip_prefix("shard=")?.parse().ok()?;
    (name == format!("shard={shard:04}")).then_some(shard)
}

/// Parses the name of a day's folder.
pub(super) fn parse_day(name: &str) -> Option<Day> {
    name.strip_prefix("day=")?.parse().ok()
}

/// Returns the name of a manifest entry.
pub(super) fn entry(shard: u32, entry: u64) -> String {
    format!("{shard:04}-{entry:012}.json")
}

/// Parses the name of a manifest entry of this shard.
pub(super) fn parse_entry(shard: u32, name: &str) -> Option<u64> {
    let (_, number) = name.strip_suffix(".json")?.split_once('-')?;
    let number = number.parse().ok()?;
    (number > 0 && name == entry(shard, number)).then_some(number)
}

/// The name of a file of changes, without its folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileName {
    /// The shard of the changes.
    pub(super) shard: u32,
    /// Its first change.
    pub(super) first_seq: u64,
    /// Its last change.
    pub(super) last_seq: u64,
    /// The first 16 digits of the SHA-256 of its content.
    pub(super) hash: String,
    /// The format of its content.
    pub(super) format: Format,
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            shard,
            first_seq,
            last_seq,
            hash,
            format,
        } = self;
        let extension = format.extension();
        write!(f, "{shard:04}-{first_seq:020}-{last_seq:020}-{hash}.{extension}")
    }
}

impl FromStr for FileName {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        let (stem, extension) = name.split_once('.').ok_or(())?;
        let format = Format::of_extension(extension).ok_or(())?;
        let mut parts = stem.split('-');
        let mut number = || parts.next().and_then(|part| part.parse::<u64>().ok()).ok_or(());
        let (shard, first_seq, last_seq) = (number()?, number()?, number()?);
        let parsed = Self {
            shard: u32::try_from(shard).map_err(|_| ())?,
            first_seq,
            last_seq,
            hash: parts.next().ok_or(())?.to_owned(),
            format,
        };
        (parsed.to_string() == name).then_some(parsed).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_that_of_utc_and_is_read_as_it_is_written() {
        // 2026-12-01T23:59:59.999Z and the millisecond after it.
        let (before, after) = (1_796_169_599_999, 1_796_169_600_000);
        assert_eq!(Day::of(before).unwrap().to_string(), "2026-12-01");
        assert_eq!(Day::of(after).unwrap().to_string(), "2026-12-02");
        assert!(Day::of(before) < Day::of(after));
        assert_eq!("2026-12-01".parse(), Ok(Day::of(before).unwrap()));
        for bad in [
            "",
            "2026-1-1",
            "2026-13-01",
            "+12026-01-01",
            "2026-12-01T00:00:00Z",
        ] {
            assert!(bad.parse::<Day>().is_err(), "{bad}");
        }
        assert_eq!((Day::of(u64::MAX), Day::of(253_402_300_800_000)), (None, None));
    }

    #[test]
    fn names_are_read_as_they_are_written_and_no_other_form_is() {
        let name = "0003-00000000000000000001-00000000000000004096-0a1b2c3d4e5f6071.parquet";
        let parsed: FileName = name.parse().unwrap();
        assert_eq!((parsed.shard, parsed.first_seq, parsed.last_seq), (3, 1, 4096));
        assert_eq!(parsed.to_string(), name);
        for bad in [
            "0003-1-4096-0a1b2c3d4e5f6071.parquet",
            &name[1..],
            &name.replace("parquet", "csv"),
            "x",
        ] {
            assert!(bad.parse::<FileName>().is_err(), "{bad}");
        }
        assert_eq!(parse_entry(3, "0003-000000000017.json"), Some(17));
        for bad in [
            "0004-000000000017.json",
            "0003-17.json",
            "0003-000000000000.json",
            "0003-000000000017.txt",
        ] {
            assert_eq!(parse_entry(3, bad), None, "{bad}");
        }
        assert_eq!(
            (parse_shard("shard=0003"), parse_shard("shard=12345")),
            (Some(3), Some(12_345))
        );
        assert_eq!((parse_shard("shard=3"), parse_shard("3")), (None, None));
    }
}
