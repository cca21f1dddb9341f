//! The characters of a SKU.
//!
//! Entries, changes and snapshots are checked when they are read. So every later release must accept each
//! name that was accepted once, and all replicas must accept the same names. That is why the ranges are
//! written here: a table of a Unicode version would differ between two releases. The node checks for names
//! that look like others, where requests come in.

use std::ops::RangeInclusive;

use super::{IdError, Sku, check_length};

const WHAT: &str = "sku";

const CONTROL: &str = "control characters are not allowed, so leave it out";
const WHITE_SPACE: &str = "the only white space allowed is the plain space U+0020, so write that";
const OUTER_SPACE: &str = "a space may not be the first or the last character, so leave it out";
const SECOND_SPACE: &str = "two spaces may not follow each other, so write one";
const INVISIBLE: &str =
    "characters that are invisible or only change how others are shown are not allowed, so leave it out";
const REPLACEMENT: &str = "it stands where other text was lost, so write that text";
const PRIVATE: &str = "characters for private use are not allowed, because nobody else knows what they mean";
const NONCHARACTER: &str = "Unicode has no character with this number and never will, so leave it out";

/// White space other than U+0020 and the control characters.
const WHITE_SPACES: [RangeInclusive<char>; 7] = [
    '\u{a0}'..='\u{a0}',
    '\u{1680}'..='\u{1680}',
    '\u{2000}'..='\u{200a}',
    '\u{2028}'..='\u{2029}',
    '\u{202f}'..='\u{202f}',
    '\u{205f}'..='\u{205f}',
    '\u{3000}'..='\u{3000}',
];

/// Characters that show nothing, or change how others are shown. The code points that Unicode reserves for
/// such use are included, even those without a character yet.
const INVISIBLES: [RangeInclusive<char>; 18] = [
    '\u{ad}'..='\u{ad}',
    '\u{34f}'..='\u{34f}',
    '\u{61c}'..='\u{61c}',
    '\u{115f}'..='\u{1160}',
    '\u{17b4}'..='\u{17b5}',
    '\u{180b}'..='\u{180f}',
    '\u{200b}'..='\u{200f}',
    '\u{202a}'..='\u{202e}',
    '\u{2060}'..='\u{206f}',
    // The Braille cell without dots.
    '\u{2800}'..='\u{2800}',
    '\u{3164}'..='\u{3164}',
    '\u{fe00}'..='\u{fe0f}',
    '\u{feff}'..='\u{feff}',
    '\u{ffa0}'..='\u{ffa0}',
    '\u{fff0}'..='\u{fffb}',
    // Controls of shorthand and of musical notation.
    '\u{1bca0}'..='\u{1bca3}',
    '\u{1d173}'..='\u{1d17a}',
    '\u{e0000}'..='\u{e0fff}',
];

/// The object replacement character, and the one that programs put in place of damaged text.
const REPLACEMENTS: RangeInclusive<char> = '\u{fffc}'..='\u{fffd}';

const PRIVATE_USE: [RangeInclusive<char>; 3] = [
    '\u{e000}'..='\u{f8ff}',
    '\u{f0000}'..='\u{ffffd}',
    '\u{100000}'..='\u{10fffd}',
];

/// Checks a SKU. Almost every SKU has only ASCII letters, digits and punctuation, and passes in one look.
pub(super) fn check(text: &str) -> Result<(), IdError> {
    check_length(text, WHAT, Sku::MAX_BYTES, false)?;
    if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    let mut after_space = false;
    for (at, character) in text.char_indices() {
        let is_space = character == ' ';
        let is_last = at + character.len_utf8() == text.len();
        let rule = match broken_rule(character) {
            None if is_space && (at == 0 || is_last) => Some(OUTER_SPACE),
            None if is_space && after_space => Some(SECOND_SPACE),
            rule => rule,
        };
        if let Some(rule) = rule {
            return Err(IdError::Unprintable {
                what: WHAT,
                character,
                at,
                rule,
            });
        }
        after_space = is_space;
    }
    Ok(())
}

/// Returns the rule that a character breaks at any place in the name.
fn broken_rule(character: char) -> Option<&'static str> {
    let is_in = |ranges: &[RangeInclusive<char>]| ranges.iter().any(|range| range.contains(&character));
    if character.is_ascii_graphic() || character == ' ' {
        None
    } else if matches!(character, '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}') {
        Some(CONTROL)
    } else if is_in(&WHITE_SPACES) {
        Some(WHITE_SPACE)
    } else if is_in(&INVISIBLES) {
        Some(INVISIBLE)
    } else if REPLACEMENTS.contains(&character) {
        Some(REPLACEMENT)
    } else if is_in(&PRIVATE_USE) {
        Some(PRIVATE)
    } else if matches!(character, '\u{fdd0}'..='\u{fdef}') || u32::from(character) & 0xfffe == 0xfffe {
        Some(NONCHARACTER)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns the character, its byte and the rule that a refusal names.
    fn refused(text: &str) -> (u32, usize, &'static str) {
        match Sku::new(text) {
            Err(IdError::Unprintable {
                character, at, rule, ..
            }) => (u32::from(character), at, rule),
            other => panic!("{text:?}: {other:?}"),
        }
    }

    #[test]
    fn names_as_shops_write_them_are_taken() {
        for name in [
            "SHIRT-1",
            "Größe-XL rot",
            "サイズ-M",
            "АБВГД-1",
            "尺寸 42",
            "قميص",
            "12\" LP (mono) #3, 50% off!",
            "=1+1",
            "'; drop table --",
            "x",
            "🎁",
            // A letter and a combining mark that have no composed character.
            "x\u{301}",
        ] {
            assert_eq!(Sku::new(name).map(String::from).as_deref(), Ok(name));
        }
    }

    #[test]
    fn a_name_has_1_to_128_bytes_however_many_characters_those_are() {
        assert_eq!(Sku::new(""), Err(IdError::Empty { what: "sku" }));
        for (character, fits) in [("a", 128), ("ö", 64), ("ズ", 42), ("🎁", 32)] {
            assert!(Sku::new(character.repeat(fits)).is_ok());
            let bytes = (fits + 1) * character.len();
            assert_eq!(
                Sku::new(character.repeat(fits + 1)),
                Err(IdError::TooLong {
                    what: "sku",
                    bytes,
                    limit: 128
                })
            );
        }
    }

    #[test]
    fn a_space_is_taken_inside_a_name_alone() {
        assert!(Sku::new("a b c").is_ok());
        assert_eq!(refused(" ab"), (0x20, 0, OUTER_SPACE));
        assert_eq!(refused("ab "), (0x20, 2, OUTER_SPACE));
        assert_eq!(refused(" "), (0x20, 0, OUTER_SPACE));
        assert_eq!(refused("ö  b"), (0x20, 3, SECOND_SPACE));
        assert_eq!(refused("a  "), (0x20, 2, OUTER_SPACE));
    }

    #[test]
    fn each_class_of_characters_is_refused_from_its_first_to_its_last() {
        let classes: [(&str, &[(u32, u32)]); 6] = [
            (CONTROL, &[(0, 0x1f), (0x7f, 0x9f)]),
            (
                WHITE_SPACE,
                &[
                    (0xa0, 0xa0),
                    (0x1680, 0x1680),
                    (0x2000, 0x200a),
                    (0x2028, 0x2029),
                    (0x202f, 0x202f),
                    (0x205f, 0x205f),
                    (0x3000, 0x3000),
                ],
            ),
            (
                INVISIBLE,
                &[
                    (0xad, 0xad),
                    (0x34f, 0x34f),
                    (0x61c, 0x61c),
                    (0x115f, 0x1160),
                    (0x17b4, 0x17b5),
                    (0x180b, 0x180f),
                    (0x200b, 0x200f),
                    (0x202a, 0x202e),
                    (0x2060, 0x206f),
                    (0x2800, 0x2800),
                    (0x3164, 0x3164),
                    (0xfe00, 0xfe0f),
                    (0xfeff, 0xfeff),
                    (0xffa0, 0xffa0),
                    (0xfff0, 0xfffb),
                    (0x1_bca0, 0x1_bca3),
                    (0x1_d173, 0x1_d17a),
                    (0xe_0000, 0xe_0fff),
                ],
            ),
            (REPLACEMENT, &[(0xfffc, 0xfffd)]),
            (
                PRIVATE,
                &[(0xe000, 0xf8ff), (0xf_0000, 0xf_fffd), (0x10_0000, 0x10_fffd)],
            ),
            (NONCHARACTER, &[(0xfdd0, 0xfdef), (0xfffe, 0xffff)]),
        ];
        let rule_of = |number: u32| {
            let class = classes.iter().find(|(_, ranges)| {
                let in_range = |(first, last): &(u32, u32)| (*first..=*last).contains(&number);
                ranges.iter().any(in_range)
            });
            match class {
                Some((rule, _)) => Some(*rule),
                // The last two code points of each plane.
                None => (number & 0xffff >= 0xfffe).then_some(NONCHARACTER),
            }
        };
        for character in '\0'..=char::MAX {
            let number = u32::from(character);
            let name = format!("a{character}b");
            match rule_of(number) {
                Some(rule) => assert_eq!(refused(&name), (number, 1, rule)),
                None => assert!(Sku::new(&name).is_ok(), "U+{number:04X}"),
            }
        }
    }

    #[test]
    fn a_refusal_names_the_character_by_its_number_and_never_repeats_it() {
        let told = Sku::new("ab\u{202e}cd").unwrap_err().to_string();
        assert!(
            told.starts_with("sku has the character U+202E at byte 2: "),
            "{told}"
        );
        assert!(told.is_ascii(), "{told}");
        let told = Sku::new("ab\u{e0041}").unwrap_err().to_string();
        assert!(told.contains("U+E0041 at byte 2"), "{told}");
    }

    #[test]
    fn a_name_of_the_first_release_is_plain_and_no_other() {
        for name in ["SHIRT-1", "a.b_c:d/e-f", "-", &"x".repeat(64)] {
            assert!(Sku::new(name).unwrap().is_plain(), "{name}");
        }
        for name in ["Größe", "a b", "a,b", "a#b", "a@b", &"x".repeat(65)] {
            assert!(!Sku::new(name).unwrap().is_plain(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_kept_as_it_is(text in ".{0,140}|[\\PC ]{0,130}|\\PC{0,4}") {
            if let Ok(sku) = Sku::new(&text) {
                prop_assert_eq!(sku.as_str(), text.as_str());
                prop_assert!((1..=Sku::MAX_BYTES).contains(&text.len()));
                let bytes = postcard::to_stdvec(&sku).unwrap();
                prop_assert_eq!(postcard::from_bytes::<Sku>(&bytes), Ok(sku));
            }
        }

        #[test]
        fn what_is_refused_is_refused_when_bytes_are_read(text in ".{0,20}|\\p{C}{1,3}") {
            let bytes = postcard::to_stdvec(&text).unwrap();
            prop_assert_eq!(postcard::from_bytes::<Sku>(&bytes).ok(), Sku::new(&text).ok());
        }
    }
}
