//! Numbers as files write them. They are exact: no floats.

/// The way in which numbers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NumberFormat {
    /// The character between the whole part and the fraction.
    pub(crate) decimal: char,
    /// The character between groups of three digits, if the format has one.
    pub(crate) thousands: Option<char>,
}

/// The sign of a number: above, at or below zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sign {
    Negative,
    Zero,
    Positive,
}

/// The checked digits of a number.
struct Digits {
    is_negative: bool,
    whole: String,
    fraction: String,
}

impl NumberFormat {
    /// Returns a whole number. A fraction of zeros may follow it.
    pub(crate) fn whole(self, text: &str) -> Result<i64, &'static str> {
        let digits = self.digits(text).ok_or("not a number as this file writes them")?;
        if digits.fraction.bytes().any(|digit| digit != b'0') {
            return Err("not a whole number");
        }
        let units: i64 = digits
            .whole
            .parse()
            .map_err(|_| "more units than a number can hold")?;
        Ok(if digits.is_negative { -units } else { units })
    }

    /// Returns whether the number is above, at or below zero; None when it is not a number.
    pub(crate) fn sign(self, text: &str) -> Option<Sign> {
        let digits = self.digits(text)?;
        let is_zero = digits
            .whole
            .bytes()
            .chain(digits.fraction.bytes())
            .all(|digit| digit == b'0');
        Some(match (is_zero, digits.is_negative) {
            (true, _) => Sign::Zero,
            (false, true) => Sign::Negative,
            (false, false) => Sign::Positive,
        })
    }

    fn digits(self, text: &str) -> Option<Digits> {
        let (is_negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (whole, fraction) = match rest.split_once(self.decimal) {
            Some((_, "")) => return None,
            Some((whole, fraction)) => (whole, fraction),
            None => (rest, ""),
        };
        let whole = match self.thousands {
            Some(mark) if whole.contains(mark) => {
                let mut groups = whole.split(mark);
                let first = groups.next().unwrap_or_default();
                let good = (1..=3).contains(&first.len()) && groups.all(|group| group.len() == 3);
                good.then(|| whole.replace(mark, ""))?
            }
            _ => whole.to_owned(),
        };
        let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let good = !whole.is_empty() && all_digits(&whole) && all_digits(fraction);
        good.then(|| Digits {
            is_negative,
            whole,
            fraction: fraction.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POINT: NumberFormat = NumberFormat {
        decimal: '.',
        thousands: None,
    };
    const COMMA: NumberFormat = NumberFormat {
        decimal: ',',
        thousands: Some('.'),
    };

    #[test]
    fn whole_numbers_are_read_exactly_and_others_refused() {
        let good = [
            (POINT, "6", 6),
            (POINT, "-6", -6),
            (POINT, "+6", 6),
            (POINT, "6.00", 6),
            (COMMA, "1.234", 1_234),
            (COMMA, "-1.234.567,0", -1_234_567),
            (COMMA, "1234", 1_234),
        ];
        for (format, text, units) in good {
            assert_eq!(format.whole(text), Ok(units), "{text}");
        }
        let bad = [
            (POINT, ""),
            (POINT, "six"),
            (POINT, "6.5"),
            (POINT, "6."),
            (POINT, ".5"),
            (POINT, "1,234"),
            (POINT, "1e3"),
            (POINT, "--6"),
            (POINT, "6 "),
            (POINT, "99999999999999999999"),
            (POINT, "\u{666}"),
            (COMMA, "1.23"),
            (COMMA, "12.34,5"),
            (COMMA, ".234"),
        ];
        for (format, text) in bad {
            assert!(format.whole(text).is_err(), "{text}");
        }
    }

    #[test]
    fn prices_have_a_sign_and_no_value() {
        assert_eq!(POINT.sign("2.55"), Some(Sign::Positive));
        assert_eq!(POINT.sign("-11062.06"), Some(Sign::Negative));
        assert_eq!(POINT.sign("-0.00"), Some(Sign::Zero));
        assert_eq!(COMMA.sign("1.234,50"), Some(Sign::Positive));
        for text in ["free", "NaN", "inf", "1,50", ""] {
            assert_eq!(POINT.sign(text), None, "{text}");
        }
    }
}
