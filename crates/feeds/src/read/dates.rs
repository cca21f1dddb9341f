//! Dates as files write them. A date that does not exist is refused.

use chrono::format::{Parsed, StrftimeItems, parse};
use chrono::{Datelike as _, NaiveDate};

/// The years that a shop's orders can have. A number outside was misread.
const YEARS: std::ops::RangeInclusive<i32> = 1970..=9999;

/// The reason why a date is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DateError {
    /// No format reads it.
    #[error("the date is none, or not written as the mapping says ([dates] formats)")]
    Unreadable,
    /// Two formats read it, each as another day.
    #[error(
        "the date is another day with another of the mapping's formats: leave only one ([dates] formats)"
    )]
    Ambiguous,
}

/// Returns the day of a date, as the file counts days. An offset from UTC is not applied.
pub(crate) fn day_of(text: &str, formats: &[String]) -> Result<NaiveDate, DateError> {
    let mut found = None;
    for day in formats.iter().filter_map(|format| read(text, format)) {
        match found {
            None => found = Some(day),
            Some(before) if before == day => {}
            Some(_) => return Err(DateError::Ambiguous),
        }
    }
    found.ok_or(DateError::Unreadable)
}

/// Reads the whole text by one format.
fn read(text: &str, format: &str) -> Option<NaiveDate> {
    let mut parsed = Parsed::new();
    parse(&mut parsed, text, StrftimeItems::new(format)).ok()?;
    let day = parsed.to_naive_date().ok()?;
    // A text with an impossible time of day is not a date.
    let has_time = parsed.hour_mod_12().is_some();
    let good = YEARS.contains(&day.year()) && (!has_time || parsed.to_naive_time().is_ok());
    good.then_some(day)
}

/// Returns whether a format is valid and names a day.
pub(crate) fn is_format(format: &str) -> bool {
    use chrono::format::Item;
    let example = NaiveDate::from_ymd_opt(2031, 12, 25).and_then(|day| day.and_hms_opt(13, 14, 15));
    let readable = StrftimeItems::new(format).all(|item| !matches!(item, Item::Error));
    let Some(example) = example.filter(|_| readable) else {
        return false;
    };
    use std::fmt::Write as _;
    let mut text = String::new();
    let written = write!(text, "{}", example.and_utc().fixed_offset().format(format));
    written.is_ok() && read(&text, format) == Some(example.date())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str, formats: &[&str]) -> Result<String, DateError> {
        let formats: Vec<String> = formats.iter().map(|format| (*format).to_owned()).collect();
        day_of(text, &formats).map(|day| day.to_string())
    }

    #[test]
    fn dates_that_there_are_not_are_refused() {
        let iso = [
            "%Y-%m-%d",
            "%Y-%m-%d %H:%M:%S",
            "%Y-%m-%dT%H:%M:%S%:z",
            "%Y-%m-%d %H:%M:%S %z",
        ];
        for good in [
            "2010-12-01",
            "2010-12-01 08:26:00",
            "2010-12-01T08:26:00-05:00",
            "2010-12-01 10:00:00 +0000",
        ] {
            assert_eq!(day(good, &iso).as_deref(), Ok("2010-12-01"), "{good}");
        }
        for bad in [
            "",
            "12010-12-01 08:26:00",
            "01.12.2010 08:26",
            "40513.35",
            "2010-02-30 00:00:00",
            "13/45/2010 8:26",
            "0/0/0",
            "1 Dec 2010",
            "2010-12-01 99:99:99 nonsense",
            "2010-12-01 24:00:00",
            "2010-12-01 08:26:00 and more",
            "0007-12-01",
        ] {
            assert_eq!(day(bad, &iso), Err(DateError::Unreadable), "{bad}");
        }
    }

    #[test]
    fn a_date_with_two_readings_is_refused_and_one_with_one_reading_is_not() {
        let both = ["%d/%m/%Y", "%m/%d/%Y"];
        assert_eq!(day("3/4/2020", &both), Err(DateError::Ambiguous));
        assert_eq!(day("25/4/2020", &both).as_deref(), Ok("2020-04-25"));
        assert_eq!(day("4/4/2020", &both).as_deref(), Ok("2020-04-04"));
        assert_eq!(
            day("31.12.2010 08:26", &["%d.%m.%Y %H:%M"]).as_deref(),
            Ok("2010-12-31")
        );
    }

    #[test]
    fn a_format_must_name_a_day() {
        for good in [
            "%Y-%m-%d",
            "%d.%m.%Y %H:%M",
            "%m/%d/%y",
            "%Y-%m-%dT%H:%M:%S%:z",
            "%d %b %Y",
        ] {
            assert!(is_format(good), "{good}");
        }
        for bad in ["", "%Y-%m", "%H:%M", "%Q", "day"] {
            assert!(!is_format(bad), "{bad}");
        }
    }
}
