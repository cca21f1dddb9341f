//! The moment that `--as-of` names.

use holdfast_changes::as_of::At;
use holdfast_client::v1;

use crate::arguments::time_ms;

/// A past moment: a time, or a change of one shard.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Moment {
    /// The state after this change.
    Position(v1::ChangePosition),
    /// The state after the last change with this log time or an earlier one, in milliseconds since the Unix
    /// epoch.
    LogTimeMs(u64),
}

impl Moment {
    /// Returns the moment for a reading of an archive.
    pub(super) fn at(self) -> At {
        match self {
            Self::Position(position) => At::Seq(position.seq),
            Self::LogTimeMs(at_ms) => At::LogTimeMs(at_ms),
        }
    }

    /// Returns the moment that is sent to ask for cells.
    pub(super) fn of_stock(self) -> v1::get_stock_as_of_request::At {
        use v1::get_stock_as_of_request::At;
        match self {
            Self::Position(position) => At::Position(position),
            Self::LogTimeMs(at_ms) => At::LogTimeMs(at_ms),
        }
    }

    /// Returns the moment that is sent to ask for a reservation.
    pub(super) fn of_reservation(self) -> v1::get_reservation_as_of_request::At {
        use v1::get_reservation_as_of_request::At;
        match self {
            Self::Position(position) => At::Position(position),
            Self::LogTimeMs(at_ms) => At::LogTimeMs(at_ms),
        }
    }
}

/// Parses SHARD:SEQ, milliseconds since the Unix epoch, or a UTC time.
pub(super) fn moment(text: &str) -> Result<Moment, String> {
    const HOW: &str = "write a UTC time such as 2026-11-21T09:30:00Z, milliseconds since the Unix epoch, or a change as SHARD:SEQ, such as 0:17";
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if let Some((shard, seq)) = text
        .split_once(':')
        .filter(|(shard, seq)| digits(shard) && digits(seq))
    {
        let shard = shard.parse().map_err(|error| format!("{error}: {HOW}"))?;
        let seq = seq.parse().map_err(|error| format!("{error}: {HOW}"))?;
        if seq == 0 {
            return Err(format!("changes are counted from 1: {HOW}"));
        }
        return Ok(Moment::Position(v1::ChangePosition { shard, seq }));
    }
    let at_ms = time_ms(text).map_err(|error| format!("{error}, or a change as SHARD:SEQ, such as 0:17"))?;
    Ok(Moment::LogTimeMs(at_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_utc_time_or_milliseconds_or_a_change() {
        let at_ms = |at_ms| Ok(Moment::LogTimeMs(at_ms));
        assert_eq!(moment("2023-11-14T22:13:20.123Z"), at_ms(1_700_000_000_123));
        assert_eq!(moment("2023-11-14 22:13:20"), at_ms(1_700_000_000_000));
        assert_eq!(moment("1700000000123"), at_ms(1_700_000_000_123));
        let position = v1::ChangePosition { shard: 3, seq: 17 };
        assert_eq!(moment("3:17"), Ok(Moment::Position(position)));
    }

    #[test]
    fn a_part_of_a_millisecond_does_not_reach_into_the_next_one() {
        let moment = moment("2023-11-14T22:13:20.123999Z");
        assert_eq!(moment, Ok(Moment::LogTimeMs(1_700_000_000_123)));
    }

    #[test]
    fn malformed_moments_are_refused_and_say_how_to_write_one() {
        for bad in [
            "",
            ":",
            "3:",
            ":3",
            "3:0",
            "-1",
            "3:-1",
            "5000000000:1",
            "99999999999999999999",
            "yesterday",
            "2026-13-01T00:00:00Z",
            "1969-12-31T23:59:59Z",
        ] {
            let refused = moment(bad).map_err(|why| why.contains("SHARD:SEQ"));
            assert_eq!(refused, Err(true), "{bad}");
        }
    }
}
