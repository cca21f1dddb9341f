//! Why a row was not taken.

use serde::{Deserialize, Serialize};

/// Why a row was not imported, or not in full. `docs/import-orders.md` says what to do about each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RejectReason {
    /// Not as many fields as the header.
    WrongNumberOfFields,
    /// A field is not in the file's encoding.
    BadEncoding,
    /// The document's number cannot be a reference.
    BadDocument,
    /// The article's code cannot be a SKU.
    BadSku,
    /// The quantity is no whole number other than 0, or has the wrong sign.
    BadQuantity,
    /// The date is empty, unreadable, or none that there is.
    BadDate,
    /// The price is unreadable.
    BadPrice,
    /// A fee, postage, a voucher: nothing that lies on a shelf, as a rule says.
    NotStock,
    /// A rule leaves it out for another reason.
    LeftOut,
    /// No rule says what it is.
    Unclear,
    /// Rows of one document name several customers.
    MixedDocument,
    /// Another file brought its document, with other rows.
    ChangedDocument,
    /// There was not enough stock for the order or the write-off.
    InsufficientStock,
    /// With best effort: fewer units than asked for.
    PartlyFilled,
    /// It takes back a sale that was itself refused, so nothing can come back.
    CancelsRefusedSale,
    /// The hold ran out before it could be committed.
    HoldExpired,
    /// The ledger refused for another reason, named in the detail.
    Refused,
}

impl RejectReason {
    /// The code in the rejects file and in the summary.
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

/// One row that was not taken. Holds nothing personal: a field is repeated only where it is what its column says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// The row, counted from 1 after the header; blank lines are not counted.
    pub row: u64,
    /// The line of the file it begins on; the first one is line 1.
    pub line: u64,
    /// Why.
    pub reason: RejectReason,
    /// What exactly was wrong, for a person. Repeats nothing of the row.
    pub detail: String,
    /// The document's number, where it can be one.
    pub document: String,
    /// The article's code: of a row that could be sent always, of another one where it is a plain code.
    pub sku: String,
    /// The quantity, where it is a number.
    pub quantity: String,
}
