//! The encoding of commands and causes.
//!
//! Both got fields after the first release wrote them to logs. A value without the new fields has the same
//! bytes as before, so members of the previous version can read it. A value with new fields has a tag that
//! those members do not know. It is written only when the rules of the log allow it
//! ([`crate::Rules::check`]).

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{EnumAccess, IntoDeserializer as _, VariantAccess, Visitor, value::EnumAccessDeserializer},
    ser::{SerializeStruct as _, SerializeStructVariant as _, SerializeTupleVariant as _},
};

use crate::{Action, CallerReason, Cause, Command, Details, OperationId, Principal, Reference};

/// The tag of a command with details. It stands in the place of the action's kind, and kinds count from 0.
const DETAILED: u32 = 127;

impl Serialize for Command {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Command", 5)?;
        fields.serialize_field("operation_id", &self.operation_id)?;
        fields.serialize_field("principal", &self.principal)?;
        fields.serialize_field("reference", &self.reference)?;
        fields.serialize_field("reason", &self.reason)?;
        if self.details.is_empty() {
            fields.serialize_field("action", &self.action)?;
        } else {
            fields.serialize_field("action", &Detailed(&self.details, &self.action))?;
        }
        fields.end()
    }
}

impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Fields {
            operation_id: OperationId,
            principal: Principal,
            reference: Reference,
            reason: CallerReason,
            action: MaybeDetailed,
        }
        let Fields {
            operation_id,
            principal,
            reference,
            reason,
            action: MaybeDetailed(details, action),
        } = Fields::deserialize(deserializer)?;
        Ok(Self {
            operation_id,
            principal,
            reference,
            reason,
            details,
            action,
        })
    }
}

struct Detailed<'a>(&'a Details, &'a Action);

impl Serialize for Detailed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut both = serializer.serialize_tuple_variant("Action", DETAILED, "Detailed", 2)?;
        both.serialize_field(self.0)?;
        both.serialize_field(self.1)?;
        both.end()
    }
}

struct MaybeDetailed(Details, Action);

impl<'de> Deserialize<'de> for MaybeDetailed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_enum("Action", &[], MaybeDetailedVisitor)
    }
}

struct MaybeDetailedVisitor;

impl<'de> Visitor<'de> for MaybeDetailedVisitor {
    type Value = MaybeDetailed;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an action, with details or without")
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<MaybeDetailed, A::Error> {
        let (kind, variant): (u32, A::Variant) = data.variant()?;
        if kind != DETAILED {
            let action = Action::deserialize(EnumAccessDeserializer::new(KnownKind { kind, variant }))?;
            return Ok(MaybeDetailed(Details::default(), action));
        }
        let MaybeDetailed(details, action) = variant.tuple_variant(2, BothVisitor)?;
        // One command has only one encoding.
        if details.is_empty() {
            return Err(serde::de::Error::custom("empty details are never written"));
        }
        Ok(MaybeDetailed(details, action))
    }
}

struct BothVisitor;

impl<'de> Visitor<'de> for BothVisitor {
    type Value = MaybeDetailed;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("details and an action")
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut both: A) -> Result<MaybeDetailed, A::Error> {
        let missing = || serde::de::Error::custom("details or action are missing");
        let details = both.next_element()?.ok_or_else(missing)?;
        let action = both.next_element()?.ok_or_else(missing)?;
        Ok(MaybeDetailed(details, action))
    }
}

/// An enum whose kind is already read.
struct KnownKind<V> {
    kind: u32,
    variant: V,
}

impl<'de, V: VariantAccess<'de>> EnumAccess<'de> for KnownKind<V> {
    type Error = V::Error;
    type Variant = V;

    fn variant_seed<S: serde::de::DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, V), V::Error> {
        let kind = seed.deserialize(self.kind.into_deserializer())?;
        Ok((kind, self.variant))
    }
}

impl Serialize for Cause {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Tags 0 and 1 are the tags of an optional id. So a cause without a business time has the bytes of an
        // optional id and of the fields after it.
        let (tag, name) = match (self.operation_id, self.occurred_at_ms) {
            (None, None) => (0, "Time"),
            (Some(_), None) => (1, "Operation"),
            (None, Some(_)) => (2, "TimePast"),
            (Some(_), Some(_)) => (3, "OperationPast"),
        };
        let fields =
            3 + usize::from(self.operation_id.is_some()) + usize::from(self.occurred_at_ms.is_some());
        let mut cause = serializer.serialize_struct_variant("Cause", tag, name, fields)?;
        if let Some(operation_id) = &self.operation_id {
            cause.serialize_field("operation_id", operation_id)?;
        }
        cause.serialize_field("principal", &self.principal)?;
        cause.serialize_field("reason", &self.reason)?;
        cause.serialize_field("reference", &self.reference)?;
        if let Some(occurred_at_ms) = &self.occurred_at_ms {
            cause.serialize_field("occurred_at_ms", occurred_at_ms)?;
        }
        cause.end()
    }
}

impl<'de> Deserialize<'de> for Cause {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename = "Cause")]
        enum Form {
            Time {
                principal: Option<Principal>,
                reason: CallerReason,
                reference: Reference,
            },
            Operation {
                operation_id: OperationId,
                principal: Option<Principal>,
                reason: CallerReason,
                reference: Reference,
            },
            TimePast {
                principal: Option<Principal>,
                reason: CallerReason,
                reference: Reference,
                occurred_at_ms: u64,
            },
            OperationPast {
                operation_id: OperationId,
                principal: Option<Principal>,
                reason: CallerReason,
                reference: Reference,
                occurred_at_ms: u64,
            },
        }
        let (operation_id, principal, reason, reference, occurred_at_ms) =
            match Form::deserialize(deserializer)? {
                Form::Time {
                    principal,
                    reason,
                    reference,
                } => (None, principal, reason, reference, None),
                Form::Operation {
                    operation_id,
                    principal,
                    reason,
                    reference,
                } => (Some(operation_id), principal, reason, reference, None),
                Form::TimePast {
                    principal,
                    reason,
                    reference,
                    occurred_at_ms,
                } => (None, principal, reason, reference, Some(occurred_at_ms)),
                Form::OperationPast {
                    operation_id,
                    principal,
                    reason,
                    reference,
                    occurred_at_ms,
                } => (
                    Some(operation_id),
                    principal,
                    reason,
                    reference,
                    Some(occurred_at_ms),
                ),
            };
        Ok(Self {
            operation_id,
            principal,
            reason,
            reference,
            occurred_at_ms,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: [u8; 16] = [1, 2, 3, 4, 5, 6, 0x70, 8, 0x80, 10, 11, 12, 13, 14, 15, 16];

    /// The layout of commands before they had details.
    #[derive(Serialize)]
    struct OldCommand<'a> {
        operation_id: OperationId,
        principal: Principal,
        reference: Reference,
        reason: CallerReason,
        action: &'a Action,
    }

    /// The layout of causes before they had a business time.
    #[derive(Serialize, Deserialize)]
    struct OldCause {
        operation_id: Option<OperationId>,
        principal: Option<Principal>,
        reason: CallerReason,
        reference: Reference,
    }

    fn command(details: Details) -> Command {
        Command {
            details,
            ..Command::seal(
                OperationId::from_slice(&ID).unwrap(),
                Principal::new("ann").unwrap(),
            )
        }
    }

    fn cause(operation_id: Option<OperationId>, occurred_at_ms: Option<u64>) -> Cause {
        Cause {
            operation_id,
            principal: operation_id.map(|_| Principal::new("ann").unwrap()),
            reason: CallerReason::new("recount").unwrap(),
            reference: Reference::new("D-1").unwrap(),
            occurred_at_ms,
        }
    }

    #[test]
    fn a_command_without_details_has_the_bytes_that_it_always_had() {
        let command = command(Details::default());
        let old = OldCommand {
            operation_id: command.operation_id,
            principal: command.principal.clone(),
            reference: command.reference.clone(),
            reason: command.reason.clone(),
            action: &command.action,
        };
        assert_eq!(
            postcard::to_stdvec(&command).unwrap(),
            postcard::to_stdvec(&old).unwrap()
        );
    }

    #[test]
    fn a_command_with_details_comes_back_and_is_unknown_to_the_version_before() {
        let details = Details {
            occurred_at_ms: Some(1_291_190_400_000),
            as_of_seq: Some(7),
            unique_reference: true,
            replaces: OperationId::from_slice(&ID).ok(),
        };
        let command = command(details);
        let bytes = postcard::to_stdvec(&command).unwrap();
        assert_eq!(postcard::from_bytes::<Command>(&bytes), Ok(command.clone()));
        let behind_the_texts = bytes.len()
            - postcard::to_stdvec(&Detailed(&details, &command.action))
                .unwrap()
                .len();
        assert!(postcard::from_bytes::<Action>(&bytes[behind_the_texts..]).is_err());
    }

    #[test]
    fn details_that_say_nothing_are_not_read() {
        let mut bytes = postcard::to_stdvec(&command(Details::default())).unwrap();
        let action = postcard::to_stdvec(&Action::Seal).unwrap();
        bytes.truncate(bytes.len() - action.len());
        bytes.extend(postcard::to_stdvec(&Detailed(&Details::default(), &Action::Seal)).unwrap());
        assert!(postcard::from_bytes::<Command>(&bytes).is_err());
    }

    #[test]
    fn a_cause_without_business_time_has_the_bytes_that_it_always_had() {
        for operation_id in [None, OperationId::from_slice(&ID).ok()] {
            let now = cause(operation_id, None);
            let old = OldCause {
                operation_id,
                principal: now.principal.clone(),
                reason: now.reason.clone(),
                reference: now.reference.clone(),
            };
            let bytes = postcard::to_stdvec(&now).unwrap();
            assert_eq!(bytes, postcard::to_stdvec(&old).unwrap());
            assert_eq!(postcard::from_bytes::<Cause>(&bytes), Ok(now));
        }
    }

    #[test]
    fn a_cause_with_business_time_comes_back_and_is_unknown_to_the_version_before() {
        for operation_id in [None, OperationId::from_slice(&ID).ok()] {
            let past = cause(operation_id, Some(1_291_190_400_000));
            let bytes = postcard::to_stdvec(&past).unwrap();
            assert!(postcard::from_bytes::<OldCause>(&bytes).is_err());
            assert_eq!(postcard::from_bytes::<Cause>(&bytes), Ok(past));
        }
    }
}
