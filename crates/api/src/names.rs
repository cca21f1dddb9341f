//! Types for the names of things. A name is checked once, when it is made, and trusted afterwards. Copying
//! one is cheap.

#[cfg(feature = "lookalikes")]
pub mod lookalikes;
mod printable;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use smol_str::SmolStr;

/// The reason why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The name is empty.
    #[error("{what} is empty")]
    Empty {
        /// The kind of name.
        what: &'static str,
    },
    /// The name is too long.
    #[error("{what} has {bytes} bytes, at most {limit} are allowed")]
    TooLong {
        /// The kind of name.
        what: &'static str,
        /// Its length in bytes.
        bytes: usize,
        /// The longest allowed length in bytes.
        limit: usize,
    },
    /// One byte is not allowed.
    #[error(
        "{what} has a character that is not allowed at byte {at}: allowed are letters, digits and {allowed}"
    )]
    BadCharacter {
        /// The kind of name.
        what: &'static str,
        /// The position of the byte, from 0.
        at: usize,
        /// The allowed punctuation.
        allowed: &'static str,
    },
    /// A character is not allowed in a SKU. The error shows its number, because the character may be
    /// invisible.
    #[error("{what} has the character U+{:04X} at byte {at}: {rule}", u32::from(*character))]
    Unprintable {
        /// The kind of name.
        what: &'static str,
        /// The character.
        character: char,
        /// The byte at which it begins, from 0.
        at: usize,
        /// The refused characters, and what to do.
        rule: &'static str,
    },
    /// The text has a user or a password in front of a host.
    #[error("{what} has a user or password before `@`: leave them out, everybody can read it")]
    HasSecret {
        /// The kind of text.
        what: &'static str,
    },
    /// The id does not have 16 bytes, or is not a UUID of version 7 or 8.
    #[error("{what} must be 16 bytes holding a UUID of version 7 or 8")]
    NotAUuid {
        /// The kind of id.
        what: &'static str,
    },
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:literal, $allowed:literal, empty: $empty:literal) => {
        text_id!($(#[$doc])* $name, $what, $max, |text| check(text, $what, $max, $allowed, $empty));
    };
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(SmolStr);

        impl $name {
            /// The longest allowed name, in bytes.
            pub const MAX_BYTES: usize = $max;

            /// Checks a name and makes it.
            ///
            /// # Errors
            /// [`IdError`] says which rule is broken.
            pub fn new(text: impl AsRef<str>) -> Result<Self, IdError> {
                let check: fn(&str) -> Result<(), IdError> = $check;
                let text = text.as_ref();
                check(text)?;
                Ok(Self(SmolStr::new(text)))
            }

            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.into()
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl de::Visitor<'_> for Text {
                    type Value = $name;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str($what)
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        $name::new(text).map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

fn check(
    text: &str,
    what: &'static str,
    limit: usize,
    allowed: &'static str,
    may_be_empty: bool,
) -> Result<(), IdError> {
    check_length(text, what, limit, may_be_empty)?;
    match text.bytes().position(|byte| !is_plain(byte, allowed)) {
        Some(at) => Err(IdError::BadCharacter { what, at, allowed }),
        None => Ok(()),
    }
}

fn check_length(text: &str, what: &'static str, limit: usize, may_be_empty: bool) -> Result<(), IdError> {
    if text.is_empty() && !may_be_empty {
        return Err(IdError::Empty { what });
    }
    if text.len() > limit {
        return Err(IdError::TooLong {
            what,
            bytes: text.len(),
            limit,
        });
    }
    Ok(())
}

fn is_plain(byte: u8, punctuation: &str) -> bool {
    byte.is_ascii_alphanumeric() || punctuation.as_bytes().contains(&byte)
}

text_id!(
    /// A stock keeping unit: printable text, compared byte for byte. `docs/names.md` has the rules.
    Sku, "sku", 128, printable::check
);
text_id!(
    /// A place that holds stock.
    WarehouseId, "warehouse", 32, "._:/-", empty: false
);
text_id!(
    /// A channel that sells.
    StorefrontId, "storefront", 32, "._:/-", empty: false
);
text_id!(
    /// The caller's own document number. May be empty. Never holds personal data: `@` and blanks are not
    /// allowed.
    Reference, "reference", 64, "._:/-#", empty: true
);
text_id!(
    /// The caller's name for a supply on its way: a purchase order, a delivery. Unique in its cell.
    SupplyId, "supply_id", 64, "._:/-#", empty: false
);
text_id!(
    /// The caller's reason code. May be empty.
    CallerReason, "reason", 32, "._:/-", empty: true
);
text_id!(
    /// The caller, as authenticated by the node.
    Principal, "principal", 64, "._:/-#", empty: false
);

text_id!(
    /// The name of a registered consumer of the change stream, such as `archive`.
    ConsumerName, "consumer", 32, "._:/-", empty: false
);
text_id!(
    /// The place to which a consumer brings the changes, for people and tools: for an archive its URL or folder.
    /// May be empty. Printable ASCII without blanks, and without a user or password.
    ConsumerLocation, "location", 1024, check_location
);

/// Checks a location: printable ASCII, and no user or password in front of a host.
fn check_location(text: &str) -> Result<(), IdError> {
    const WHAT: &str = "location";
    check_length(text, WHAT, ConsumerLocation::MAX_BYTES, true)?;
    if let Some(at) = text.bytes().position(|byte| !byte.is_ascii_graphic()) {
        let allowed = "ASCII punctuation";
        return Err(IdError::BadCharacter {
            what: WHAT,
            at,
            allowed,
        });
    }
    let authority = text
        .split_once("://")
        .map(|(_, rest)| rest.split(['/', '?']).next().unwrap_or(rest));
    match authority.is_some_and(|authority| authority.contains('@')) {
        true => Err(IdError::HasSecret { what: WHAT }),
        false => Ok(()),
    }
}

impl Sku {
    /// The longest SKU that every release knows, in bytes.
    pub const MAX_PLAIN_BYTES: usize = 64;

    /// The punctuation of a SKU that every release knows.
    pub const PLAIN_PUNCTUATION: &str = "._:/-";

    /// Returns whether every release can read this SKU: it has at most 64 bytes of ASCII letters, digits and
    /// `._:/-`.
    pub fn is_plain(&self) -> bool {
        self.as_str().len() <= Self::MAX_PLAIN_BYTES
            && self
                .as_str()
                .bytes()
                .all(|byte| is_plain(byte, Self::PLAIN_PUNCTUATION))
    }
}

impl StorefrontId {
    /// Returns whether the name is reserved for the ledger itself, so that no caller may use it.
    pub fn is_reserved(&self) -> bool {
        self.as_str().starts_with("holdfast:")
    }
}

impl Reference {
    /// Makes a reference from bytes that were checked earlier. The reference is empty if they are not text.
    pub fn from_checked(bytes: &[u8]) -> Self {
        Self(SmolStr::new(std::str::from_utf8(bytes).unwrap_or_default()))
    }
}

impl Default for ConsumerLocation {
    /// Returns the empty location.
    fn default() -> Self {
        Self(SmolStr::default())
    }
}

impl Default for Reference {
    /// Returns the empty reference.
    fn default() -> Self {
        Self(SmolStr::default())
    }
}

impl Default for CallerReason {
    /// Returns the empty reason.
    fn default() -> Self {
        Self(SmolStr::default())
    }
}

/// The id of one mutating operation: a UUID of version 7, or of version 8 with the time in front, for feeds.
/// Ids sort by their time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "[u8; 16]")]
pub struct OperationId([u8; 16]);

/// Compares by bytes, as two machine words, because ids are compared more often than anything else.
impl Ord for OperationId {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        u128::from_be_bytes(self.0).cmp(&u128::from_be_bytes(other.0))
    }
}

impl PartialOrd for OperationId {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl TryFrom<[u8; 16]> for OperationId {
    type Error = IdError;
    fn try_from(bytes: [u8; 16]) -> Result<Self, IdError> {
        Self::from_slice(&bytes)
    }
}

/// The id of a reservation: the operation id of its Reserve.
pub type ReservationId = OperationId;

/// The id of a transfer: the operation id of its TransferOut. Over several shards it is also the id of a
/// reservation.
pub type TransferId = OperationId;

impl OperationId {
    /// Checks version and variant (RFC 9562) and makes the id.
    ///
    /// # Errors
    /// [`IdError::NotAUuid`] when it is not 16 bytes or of another version.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, IdError> {
        let error = IdError::NotAUuid { what: "operation_id" };
        let id: [u8; 16] = bytes.try_into().map_err(|_| error.clone())?;
        let version = id[6] >> 4;
        let rfc_variant = id[8] >> 6 == 0b10;
        if rfc_variant && (version == 7 || version == 8) {
            Ok(Self(id))
        } else {
            Err(error)
        }
    }

    /// Returns the id of a step of this operation. It is always the same for the same purpose, and has the
    /// same time.
    pub fn derived(&self, purpose: &str) -> Self {
        let mut seed = self.0.to_vec();
        seed.extend_from_slice(purpose.as_bytes());
        let mut bytes = xxhash_rust::xxh3::xxh3_128(&seed).to_be_bytes();
        bytes[..6].copy_from_slice(&self.0[..6]);
        bytes[6] = 0x80 | bytes[6] & 0x0f;
        bytes[8] = 0x80 | bytes[8] & 0x3f;
        Self(bytes)
    }

    /// Returns the 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Returns the time in its first 48 bits: milliseconds since the Unix epoch.
    pub fn time_ms(&self) -> u64 {
        let mut bytes = [0; 8];
        bytes[2..].copy_from_slice(&self.0[..6]);
        u64::from_be_bytes(bytes)
    }
}

impl std::fmt::Display for OperationId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", uuid::Uuid::from_bytes(self.0))
    }
}
