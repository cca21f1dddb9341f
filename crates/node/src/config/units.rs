//! Values that are written with their unit: times such as `"50ms"`, and sizes such as `"64MiB"`.
//!
//! A value is written with the largest unit that has a whole number of it, so reading it again gives the same
//! value.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The units of a time, in milliseconds, the largest first. A day is written as `24h`, two days as `2d`.
const TIME_UNITS: [(u64, &str); 5] = [
    (86_400_000, "d"),
    (3_600_000, "h"),
    (60_000, "m"),
    (1_000, "s"),
    (1, "ms"),
];
/// The units of a size, in bytes, the largest first.
const SIZE_UNITS: [(u64, &str); 6] = [
    (1 << 50, "PiB"),
    (1 << 40, "TiB"),
    (1 << 30, "GiB"),
    (1 << 20, "MiB"),
    (1 << 10, "KiB"),
    (1, "B"),
];

/// The reason why a text is no time or no size, with what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// A number without a unit.
    #[error("{number} has no unit: write \"{number}{unit}\", or another unit of {units}")]
    NoUnit {
        /// The number as it was written.
        number: String,
        /// The smallest unit.
        unit: &'static str,
        /// All units.
        units: &'static str,
    },
    /// Some other text.
    #[error("`{text}` is no {what}: write a whole number and a unit of {units}, such as \"{example}\"")]
    Malformed {
        /// The text as it was written.
        text: String,
        /// The kind of value that was expected.
        what: &'static str,
        /// All units.
        units: &'static str,
        /// A value that is well formed.
        example: &'static str,
    },
}

/// A kind of value with a unit.
trait Written: FromStr<Err = UnitError> {
    /// The name of the kind.
    const WHAT: &'static str;
    /// All units, for messages.
    const UNITS: &'static str;
    /// The smallest unit.
    const SMALLEST: &'static str;
    /// A value for messages.
    const EXAMPLE: &'static str;

    fn malformed(text: &str) -> UnitError {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return UnitError::NoUnit {
                number: text.to_owned(),
                unit: Self::SMALLEST,
                units: Self::UNITS,
            };
        }
        UnitError::Malformed {
            text: text.to_owned(),
            what: Self::WHAT,
            units: Self::UNITS,
            example: Self::EXAMPLE,
        }
    }
}

/// Returns how many numbers with a unit the text has: two in `1h 30m`. Each is a number, at most one space,
/// and one of these units. Returns None for any other text.
fn parts(text: &str, units: &[(u64, &str)]) -> Option<usize> {
    let mut rest = text;
    for count in 1.. {
        let number = rest.trim_start_matches(|digit: char| digit.is_ascii_digit());
        let written = number.strip_prefix(' ').unwrap_or(number);
        let end = written
            .find(|letter: char| !letter.is_ascii_alphabetic())
            .unwrap_or(written.len());
        let (unit, next) = written.split_at(end);
        if number.len() == rest.len() || units.iter().all(|(_, known)| *known != unit) {
            return None;
        }
        if next.is_empty() {
            return Some(count);
        }
        rest = next.strip_prefix(' ').unwrap_or(next);
    }
    None
}

/// A time in whole milliseconds, written as `"50ms"`, `"10s"`, `"15m"`, `"24h"` or `"90d"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeSpan(u64);

impl TimeSpan {
    /// Makes a time of whole milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Makes a time of whole seconds. Takes the longest time that there is if that is too long.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000))
    }

    /// Makes a time of whole hours. Takes the longest time that there is if that is too long.
    pub const fn from_hours(hours: u64) -> Self {
        Self(hours.saturating_mul(3_600_000))
    }

    /// Returns the milliseconds.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Returns the time as the standard library's type.
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl Written for TimeSpan {
    const WHAT: &'static str = "time";
    const UNITS: &'static str = "ms, s, m, h and d";
    const SMALLEST: &'static str = "ms";
    const EXAMPLE: &'static str = "50ms";
}

impl FromStr for TimeSpan {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        // The parser counts in nanoseconds, so it has no room for the largest numbers of milliseconds.
        let plain = text
            .strip_suffix("ms")
            .filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
        if let Some(Ok(millis)) = plain.map(str::parse::<u64>) {
            return Ok(Self(millis));
        }
        // The parser also knows `5M` as five months, fractions, and units that nobody is told of.
        if parts(text, &TIME_UNITS).is_none() {
            return Err(Self::malformed(text));
        }
        let time = humantime::parse_duration(text).map_err(|_| Self::malformed(text))?;
        let millis = u64::try_from(time.as_millis()).map_err(|_| Self::malformed(text))?;
        if Duration::from_millis(millis) != time {
            return Err(Self::malformed(text));
        }
        Ok(Self(millis))
    }
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(millis, unit): &&(u64, &str)| {
            self.0.is_multiple_of(*millis) && (*unit != "d" || self.0 != *millis)
        };
        match TIME_UNITS.iter().find(fits) {
            Some((millis, unit)) if *millis > 1 && self.0 > 0 => write!(f, "{}{unit}", self.0 / millis),
            _ => write!(f, "{}ms", self.0),
        }
    }
}

impl JsonSchema for TimeSpan {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "TimeSpan".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]+ ?(ms|s|m|h|d)( ?[0-9]+ ?(ms|s|m|h|d))*$", "x-unit": "time" })
    }
}

/// A number of bytes, written as `"512KiB"`, `"64MiB"` or `"2GiB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(u64);

impl ByteSize {
    /// Makes a size of bytes.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// Makes a size of whole KiB. Takes the largest size that there is if that is too large.
    pub const fn kib(kib: u64) -> Self {
        Self(kib.saturating_mul(1 << 10))
    }

    /// Makes a size of whole MiB. Takes the largest size that there is if that is too large.
    pub const fn mib(mib: u64) -> Self {
        Self(mib.saturating_mul(1 << 20))
    }

    /// Returns the bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// Returns the bytes as a length in memory. A size that no memory can have is the largest length.
    pub fn in_memory(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl Written for ByteSize {
    const WHAT: &'static str = "size";
    const UNITS: &'static str = "B, KiB, MiB, GiB, TiB and PiB";
    const SMALLEST: &'static str = "B";
    const EXAMPLE: &'static str = "64MiB";
}

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        // The parser takes a number without a unit for bytes, rounds fractions, and takes the largest size
        // for one that is too large.
        // It also takes `64M` for 64,000,000, and ignores case.
        if parts(text, &SIZE_UNITS) != Some(1) {
            return Err(Self::malformed(text));
        }
        match text.parse::<bytesize::ByteSize>() {
            Ok(size) if size.as_u64() < u64::MAX || text == format!("{}B", u64::MAX) => {
                Ok(Self(size.as_u64()))
            }
            _ => Err(Self::malformed(text)),
        }
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = SIZE_UNITS
            .iter()
            .find(|(bytes, _)| self.0 > 0 && self.0.is_multiple_of(*bytes));
        match unit {
            Some((bytes, unit)) => write!(f, "{}{unit}", self.0 / bytes),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl JsonSchema for ByteSize {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ByteSize".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]+ ?([KMGTP]i)?B$", "x-unit": "size" })
    }
}

/// Reads a text. A number without a unit gets the message that shows how to write it.
struct WithUnit<T>(std::marker::PhantomData<T>);

impl<T: Written> de::Visitor<'_> for WithUnit<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a {} such as \"{}\"", T::WHAT, T::EXAMPLE)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        Err(E::custom(T::malformed(&number.to_string())))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        Err(E::custom(T::malformed(&number.to_string())))
    }
}

impl<'de> Deserialize<'de> for TimeSpan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(WithUnit(std::marker::PhantomData))
    }
}

impl Serialize for TimeSpan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(WithUnit(std::marker::PhantomData))
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_value_is_written_with_the_largest_unit_that_is_exact() {
        for (millis, text) in [
            (0, "0ms"),
            (50, "50ms"),
            (1_500, "1500ms"),
            (10_000, "10s"),
            (90_000, "90s"),
            (3_600_000, "1h"),
            (86_400_000, "24h"),
            (172_800_000, "2d"),
            (2_592_000_000, "30d"),
            (7_776_000_000, "90d"),
            (7_776_000_001, "7776000001ms"),
            (u64::MAX, "18446744073709551615ms"),
        ] {
            assert_eq!(TimeSpan::from_millis(millis).to_string(), text);
            assert_eq!(text.parse(), Ok(TimeSpan::from_millis(millis)));
        }
        for (bytes, text) in [
            (0, "0B"),
            (1_000, "1000B"),
            (512 << 10, "512KiB"),
            (64 << 20, "64MiB"),
            (2 << 30, "2GiB"),
            (1 << 50, "1PiB"),
            ((1 << 53) + 1, "9007199254740993B"),
            (u64::MAX, "18446744073709551615B"),
        ] {
            assert_eq!(ByteSize::new(bytes).to_string(), text);
            assert_eq!(text.parse(), Ok(ByteSize::new(bytes)));
        }
    }

    #[test]
    fn a_number_without_a_unit_is_refused_with_how_to_write_it() {
        let told = "50".parse::<TimeSpan>().unwrap_err().to_string();
        assert_eq!(
            told,
            "50 has no unit: write \"50ms\", or another unit of ms, s, m, h and d"
        );
        let told = "64".parse::<ByteSize>().unwrap_err().to_string();
        assert!(told.contains("write \"64B\""), "{told}");
    }

    #[test]
    fn only_the_units_that_are_told_are_read() {
        for text in [
            "5M", "1M", "1w", "1y", "1month", "50msec", "50000us", "0.05s", "1.5h", "90D", "1H", "50\nms",
            " 50ms", "50ms ", "50  ms", "1h  30m", "1h,30m",
        ] {
            let told = text.parse::<TimeSpan>().unwrap_err().to_string();
            assert!(told.contains("such as \"50ms\""), "{text}: {told}");
        }
        for text in [
            "64M", "64m", "64MB", "65536k", "64Mib", "64mi", "64mib", "1EiB", " 64MiB", "64MiB ", "64  MiB",
            "1KiB 1B", "1B1B",
        ] {
            let told = text.parse::<ByteSize>().unwrap_err().to_string();
            assert!(told.contains("such as \"64MiB\""), "{text}: {told}");
        }
        assert_eq!("1h 30m".parse(), Ok(TimeSpan::from_secs(5_400)));
        assert_eq!("1h30m".parse(), Ok(TimeSpan::from_secs(5_400)));
        assert_eq!("50 ms".parse(), Ok(TimeSpan::from_millis(50)));
        assert_eq!("64 MiB".parse(), Ok(ByteSize::mib(64)));
    }

    #[test]
    fn what_is_not_whole_or_too_large_is_refused() {
        for text in [
            "",
            "ms",
            "-1s",
            "1.0001s",
            "1us",
            "5 fortnights",
            "18446744073709552s",
            "18446744073709551616ms",
            "999999999999999999d",
        ] {
            let told = text.parse::<TimeSpan>().unwrap_err().to_string();
            assert!(told.contains("such as \"50ms\""), "{told}");
        }
        for text in [
            "",
            "MiB",
            "-1B",
            "1.5GiB",
            "1 firkin",
            "16EiB",
            "99999999999999999999B",
        ] {
            let told = text.parse::<ByteSize>().unwrap_err().to_string();
            assert!(told.contains("such as \"64MiB\""), "{told}");
        }
    }

    proptest! {
        #[test]
        fn a_value_survives_writing_and_reading(value: u64, unit in 0_usize..5) {
            for millis in [value, (value >> 32) * TIME_UNITS[unit].0] {
                let time = TimeSpan::from_millis(millis);
                prop_assert_eq!(time.to_string().parse(), Ok(time));
            }
            for bytes in [value, (value >> 54) * SIZE_UNITS[unit].0] {
                let size = ByteSize::new(bytes);
                prop_assert_eq!(size.to_string().parse(), Ok(size));
            }
        }
    }
}
