//! The reasons why a row is not taken.

use serde::{Deserialize, Serialize};

/// The reason why a row was not imported, or not in full. `docs/import-orders.md` says what to do about each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RejectReason {
    /// The row has another number of fields than the header.
    WrongNumberOfFields,
    /// A field is not in the file's encoding.
    BadEncoding,
    /// The document's number is not valid as a reference.
    BadDocument,
    /// The article's code is not valid as a SKU.
    BadSku,
    /// The quantity is not a whole number, is 0, or has the wrong sign.
    BadQuantity,
    /// The date is empty or unreadable, or does not exist.
    BadDate,
    /// The price is unreadable.
    BadPrice,
    /// A rule says that the row is a fee, postage or a voucher: nothing that lies on a shelf.
    NotStock,
    /// A rule leaves the row out for another reason.
    LeftOut,
    /// No rule fits the row.
    Unclear,
    /// Rows of one document name several customers.
    MixedDocument,
    /// Another file has the same document with other rows.
    ChangedDocument,
    /// The stock was not enough for the order or the write-off.
    InsufficientStock,
    /// With best effort, fewer units were granted than asked for.
    PartlyFilled,
    /// The row takes back a sale that was itself refused, so nothing can come back.
    CancelsRefusedSale,
    /// The hold ran out before it could be committed.
    HoldExpired,
    /// The ledger refused for another reason. The detail names it.
    Refused,
}

impl RejectReason {
    /// Returns the code in the rejects file and in the summary.
    pub fn code(self) -> &'static str {
        match self {
            Self::WrongNumberOfFields => "wrong_number_of_fields",
            Self::BadEncoding => "bad_encoding",
            Self::BadDocument => "bad_document",
            Self::BadSku => "bad_sku",
            Self::BadQuantity => "bad_quantity",
            Self::BadDate => "bad_date",
            Self::BadPrice => "bad_price",
            Self::NotStock => "not_stock",
            Self::LeftOut => "left_out",
            Self::Unclear => "unclear",
            Self::MixedDocument => "mixed_document",
            Self::ChangedDocument => "changed_document",
            Self::InsufficientStock => "insufficient_stock",
            Self::PartlyFilled => "partly_filled",
            Self::CancelsRefusedSale => "cancels_refused_sale",
            Self::HoldExpired => "hold_expired",
            Self::Refused => "refused",
        }
    }
}

/// One row that was not taken. It holds nothing personal: a field is repeated only if its content is what its
/// column should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// The row, counted from 1 after the header; blank lines are not counted.
    pub row: u64,
    /// The line of the file on which it begins; the first line is 1.
    pub line: u64,
    /// The reason for the reject.
    pub reason: RejectReason,
    /// The exact fault, for a person. Repeats nothing of the row.
    pub detail: String,
    /// The document's number, if it is valid.
    pub document: String,
    /// The article's code. For a row that could be sent it is always there, for another row only if it is a
    /// plain code.
    pub sku: String,
    /// The quantity, if it is a number.
    pub quantity: String,
}
