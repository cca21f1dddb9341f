//! Finds SKUs that look like other SKUs.
//!
//! The ledger compares names byte for byte and takes any printable ones. A person compares them by eye. So
//! this module checks each request that can make a name known, by the rules of UTS #39 (Unicode Security
//! Mechanisms): one way to write a letter, one script, and nothing that passes for ASCII.
//!
//! The tables of a later Unicode version may give other answers. Therefore the ledger, reads, and requests
//! that take from stock never use this module: a name that was accepted once can be read and sold for ever.
//! `docs/names.md` has the rules for callers.

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_public_assigned;
use unicode_script::{Script, ScriptExtension};
use unicode_security::mixed_script::AugmentedScriptSet;
use unicode_security::skeleton;

use super::Sku;

/// The reason why a name may not be made known. It shows characters by their numbers, because they mislead
/// the eye.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Confusable {
    /// A code point that has no character, so nobody can see what it is.
    #[error("the character U+{:04X} at byte {at} is not assigned in Unicode: write another one", u32::from(*character))]
    Unassigned {
        /// The code point.
        character: char,
        /// The byte at which it begins, from 0.
        at: usize,
    },
    /// A letter that is not in its composed form.
    #[error(
        "it is not in Unicode's composed form (NFC), which has U+{:04X} at byte {at}: send the composed form",
        u32::from(*composed)
    )]
    NotComposed {
        /// The first character of the composed form that differs.
        composed: char,
        /// The byte at which it differs, from 0.
        at: usize,
    },
    /// Letters of scripts that are not written together.
    #[error(
        "the character U+{:04X} at byte {at} belongs to the script {script}, and the characters before it belong to {before}: write the name in one script",
        u32::from(*character)
    )]
    MixedScripts {
        /// The first character of another script.
        character: char,
        /// The byte at which it begins, from 0.
        at: usize,
        /// Its script.
        script: &'static str,
        /// A script of the characters before it.
        before: &'static str,
    },
    /// A name that passes for one of ASCII characters.
    #[error(
        "it looks like a name of ASCII characters: U+{:04X} at byte {at} looks like `{like}`, so write `{like}`",
        u32::from(*character)
    )]
    LooksAscii {
        /// The first character that is not ASCII.
        character: char,
        /// The byte at which it begins, from 0.
        at: usize,
        /// The ASCII characters that it looks like.
        like: String,
    },
}

/// Checks that a name does not look like another one.
///
/// # Errors
/// [`Confusable`] says which rule is broken.
pub fn check(sku: &Sku) -> Result<(), Confusable> {
    let text = sku.as_str();
    if text.is_ascii() {
        return Ok(());
    }
    check_assigned(text)?;
    check_composed(text)?;
    check_scripts(text)?;
    check_looks(text)
}

fn check_assigned(text: &str) -> Result<(), Confusable> {
    let unassigned = text
        .char_indices()
        .find(|(_, character)| !is_public_assigned(*character));
    match unassigned {
        Some((at, character)) => Err(Confusable::Unassigned { character, at }),
        None => Ok(()),
    }
}

fn check_composed(text: &str) -> Result<(), Confusable> {
    let mut at = 0;
    let mut given = text.chars();
    for composed in text.nfc() {
        if given.next() != Some(composed) {
            return Err(Confusable::NotComposed { composed, at });
        }
        at += composed.len_utf8();
    }
    Ok(())
}

/// Checks that the name is at most "highly restrictive", in the words of UTS #39. It must be of one script,
/// or of Latin with one of Chinese, Japanese and Korean. Each of these three counts as one script with all
/// scripts that it is written in.
fn check_scripts(text: &str) -> Result<(), Confusable> {
    let mut all = AugmentedScriptSet::default();
    let mut without_latin = AugmentedScriptSet::default();
    let mut before = None;
    for (at, character) in text.char_indices() {
        let set = AugmentedScriptSet::for_char(character);
        all.intersect_with(set);
        if !set.base.contains_script(Script::Latin) {
            without_latin.intersect_with(set);
        }
        let beside_latin = without_latin.hanb || without_latin.jpan || without_latin.kore;
        if all.is_empty() && !beside_latin {
            return Err(Confusable::MixedScripts {
                character,
                at,
                script: name_of(set.base),
                before: before.map_or("another", name_of),
            });
        }
        if before.is_none() && !set.is_all() {
            before = Some(set.base);
        }
    }
    Ok(())
}

fn name_of(scripts: ScriptExtension) -> &'static str {
    scripts.iter().next().map_or("another", Script::full_name)
}

fn check_looks(text: &str) -> Result<(), Confusable> {
    if !looks_ascii(text) {
        return Ok(());
    }
    match text.char_indices().find(|(_, character)| !character.is_ascii()) {
        Some((at, character)) => Err(Confusable::LooksAscii {
            character,
            at,
            like: look_of(character),
        }),
        None => Ok(()),
    }
}

/// Returns whether a name of ASCII characters could look the same. The percent sign is the only ASCII
/// character whose skeleton is not ASCII.
fn looks_ascii(text: &str) -> bool {
    let percent: String = skeleton("%").collect();
    skeleton(text)
        .collect::<String>()
        .replace(&percent, "%")
        .is_ascii()
}

/// Returns the ASCII characters that this one looks like. Prefers those that it stands for, then a single
/// one.
fn look_of(character: char) -> String {
    let stands_for: String = character
        .nfkc()
        .map(|part| if part == '⁄' { '/' } else { part })
        .collect();
    if stands_for.is_ascii() {
        return stands_for;
    }
    let look = |character: char| -> String { skeleton(character.encode_utf8(&mut [0; 4])).collect() };
    let looks = look(character);
    // A part of what looks like a percent sign as a whole.
    if !looks.is_ascii() {
        return "%".to_owned();
    }
    let single = (looks.len() > 1)
        .then(|| ('!'..='~').find(|ascii| look(*ascii) == looks))
        .flatten();
    single.map_or(looks, String::from)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn checked(name: &str) -> Result<(), Confusable> {
        check(&Sku::new(name).unwrap())
    }

    #[test]
    fn names_as_shops_write_them_are_taken() {
        for name in [
            "SHIRT-1",
            "=1+1 \"x\", 50%",
            "Größe-XL rot",
            "Crème brûlée 4×100 g",
            "100µF",
            "АБВГД-1",
            "Ελιές 1",
            "サイズ-M",
            "サイズ 大きい L",
            "尺寸-XL",
            "크기 L",
            "קפה 250",
            "قهوة",
            "กาแฟ",
            "€5 🎁",
        ] {
            assert_eq!(checked(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn a_letter_is_written_in_its_composed_form() {
        assert_eq!(checked("Größe"), Ok(()));
        assert_eq!(
            checked("Gro\u{308}ße"),
            Err(Confusable::NotComposed {
                composed: 'ö', at: 2
            })
        );
        // The ohm sign is another code point for the letter omega.
        assert_eq!(
            checked("\u{2126}"),
            Err(Confusable::NotComposed {
                composed: '\u{3a9}',
                at: 0
            })
        );
        // Two marks in the wrong order.
        assert!(matches!(
            checked("x\u{301}\u{323}"),
            Err(Confusable::NotComposed { at: 1, .. })
        ));
        // These have no composed form.
        assert_eq!(checked("ж\u{301}"), Ok(()));
    }

    #[test]
    fn scripts_that_are_not_written_together_are_refused_where_the_second_begins() {
        for (name, number, at, script, before) in [
            ("SHIRТ-1", 0x422, 4, "Cyrillic", "Latin"),
            ("4.7kΩ", 0x3a9, 4, "Greek", "Latin"),
            ("Жacket", 0x61, 2, "Latin", "Cyrillic"),
            ("サイズ Ж", 0x416, 10, "Cyrillic", "Katakana"),
            ("サ크", 0xd06c, 3, "Hangul", "Katakana"),
        ] {
            let character = char::from_u32(number).unwrap();
            assert_eq!(
                checked(name),
                Err(Confusable::MixedScripts {
                    character,
                    at,
                    script,
                    before
                }),
                "{name}"
            );
        }
    }

    #[test]
    fn a_name_that_passes_for_ascii_is_refused_and_one_that_shows_its_script_is_not() {
        for (name, at, like) in [
            ("СОК-1", 0, "C"),
            ("ΑΒΕ", 0, "A"),
            ("10×20", 2, "x"),
            ("SHIRT–1", 5, "-"),
            ("ＳＨＩＲＴ", 0, "S"),
            ("ⅿ-1", 0, "m"),
            ("¼ l", 0, "1/4"),
            ("Levi’s", 4, "'"),
            ("12“", 2, "\""),
            ("Æbler", 0, "AE"),
            ("kırmızı", 1, "i"),
            ("СОК 50%", 0, "C"),
            ("5°/₀", 1, "%"),
        ] {
            match checked(name) {
                Err(Confusable::LooksAscii {
                    at: found,
                    like: looks,
                    ..
                }) => assert_eq!((found, looks.as_str()), (at, like), "{name}"),
                other => panic!("{name}: {other:?}"),
            }
        }
        for name in ["СОКИ-1", "СОКИ 5%", "ΑΒΓ", "Æblegrød", "kırmızı gömlek"] {
            assert_eq!(checked(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn a_code_point_without_a_character_is_refused() {
        let character = '\u{378}';
        assert_eq!(
            checked("ab\u{378}"),
            Err(Confusable::Unassigned { character, at: 2 })
        );
    }

    #[test]
    fn a_refusal_says_in_ascii_what_to_do() {
        for (name, told) in [
            ("Gro\u{308}ße", "U+00F6 at byte 2: send the composed form"),
            (
                "SHIRТ-1",
                "U+0422 at byte 4 belongs to the script Cyrillic, and the characters before it belong to Latin: write the name in one script",
            ),
            ("СОК-1", "U+0421 at byte 0 looks like `C`, so write `C`"),
            (
                "a\u{378}",
                "U+0378 at byte 1 is not assigned in Unicode: write another one",
            ),
        ] {
            let refusal = checked(name).unwrap_err().to_string();
            assert!(refusal.is_ascii() && refusal.contains(told), "{refusal}");
        }
    }

    #[test]
    fn every_ascii_name_is_of_the_look_of_ascii() {
        let all: String = (' '..='~').collect();
        assert!(looks_ascii(&all));
        assert!(all.chars().all(|character| looks_ascii(&character.to_string())));
    }

    /// Cyrillic letters that look like Latin ones.
    const LOOKALIKES: [(char, char); 12] = [
        ('a', 'а'),
        ('c', 'с'),
        ('e', 'е'),
        ('o', 'о'),
        ('p', 'р'),
        ('x', 'х'),
        ('A', 'А'),
        ('B', 'В'),
        ('E', 'Е'),
        ('H', 'Н'),
        ('K', 'К'),
        ('T', 'Т'),
    ];

    proptest! {
        #[test]
        fn any_name_is_refused_in_ascii_or_is_of_another_look_than_all_ascii_names(text in "\\PC{0,40}|[ -~]{0,40}|[а-яА-Я0-9 -]{0,20}") {
            if let Ok(sku) = Sku::new(&text) {
                match check(&sku) {
                    Err(refusal) => prop_assert!(refusal.to_string().is_ascii() && !text.is_ascii()),
                    Ok(()) => {
                        prop_assert!(text.is_ascii() || !text.chars().all(|character| character.is_ascii() || skeleton(character.encode_utf8(&mut [0; 4])).all(|part| part.is_ascii())));
                        prop_assert!(text.nfc().eq(text.chars()));
                    }
                }
            }
        }

        #[test]
        fn a_name_with_letters_swapped_for_lookalikes_is_refused(
            name in "[acexopABEHKT]{1,12}[ -~]{0,8}[a-z]",
            swaps in prop::collection::vec(any::<bool>(), 12),
        ) {
            let swap = |(at, letter): (usize, char)| {
                let other = LOOKALIKES.iter().find(|(latin, _)| *latin == letter);
                other.filter(|_| at == 0 || swaps.get(at) == Some(&true)).map_or(letter, |(_, other)| *other)
            };
            let swapped: String = name.chars().enumerate().map(swap).collect();
            if let Ok(sku) = Sku::new(&swapped) {
                prop_assert!(check(&sku).is_err(), "{swapped}");
            }
        }
    }
}
