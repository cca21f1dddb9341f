//! The rules of a mapping. The first rule that fits a row decides what the row is.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::numbers::Sign;
use crate::reject::RejectReason;

/// The effect of a row on stock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Goods are sold.
    Sale,
    /// A sale is taken back: cancelled before it ships, or returned afterwards.
    TakeBack,
    /// Goods are gone without a sale.
    WriteOff,
    /// Goods turned up.
    Found,
}

/// One rule. A property that it does not mention may have any value.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    /// The article is one of these; upper and lower case count as the same.
    #[serde(default)]
    sku_is: Vec<String>,
    /// The article begins with one of these.
    #[serde(default)]
    sku_starts_with: Vec<String>,
    /// The document is one of these; upper and lower case count as the same.
    #[serde(default)]
    document_is: Vec<String>,
    /// The document begins with one of these.
    #[serde(default)]
    document_starts_with: Vec<String>,
    quantity: Option<QuantityIs>,
    /// The price is one of these.
    #[serde(default)]
    price: Vec<PriceIs>,
    customer: Option<CustomerIs>,
    /// The row is the only one of its document.
    alone: Option<bool>,
    /// Each of these columns has one of these texts; `*` is any text.
    #[serde(default)]
    columns: BTreeMap<String, Vec<String>>,
    then: Option<Then>,
    /// The reason that is reported with each row that the rule keeps from the ledger.
    #[serde(default)]
    because: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum QuantityIs {
    Positive,
    Negative,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum PriceIs {
    Positive,
    Zero,
    Negative,
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum CustomerIs {
    Known,
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Then {
    Sale,
    TakeBack,
    WriteOff,
    Found,
    NotStock,
    LeftOut,
}

/// The facts that rules check. A fact that could not be read fits no condition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) document: &'a str,
    pub(crate) sku: &'a str,
    pub(crate) quantity: Option<i64>,
    /// The sign of the price. None: unreadable; `Some(None)`: the row has no price.
    pub(crate) price: Option<Option<Sign>>,
    pub(crate) has_customer: bool,
    pub(crate) is_alone: bool,
}

/// The result of the rules for a row.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict<'a> {
    /// The row is for the ledger, with this many units. Units that leave without a sale or come back are
    /// negative.
    Is(Kind),
    /// The row is not for the ledger. `names_sku`: the rule names its article, and fits for that reason.
    Kept {
        reason: RejectReason,
        because: &'a str,
        names_sku: bool,
    },
    /// The rule that fits requires another sign of the quantity.
    WrongSign(&'static str),
    /// No rule fits.
    Unclear,
}

/// Judges a row. `columns_fit` tells for each rule whether its columns have its texts.
pub(crate) fn judge<'a>(
    not_stock: Option<&'a Rule>,
    rules: &'a [Rule],
    facts: &Facts<'_>,
    columns_fit: u64,
) -> Verdict<'a> {
    if let Some(rule) = not_stock.filter(|rule| rule.fits(facts)) {
        return rule.verdict(facts);
    }
    let fitting = rules
        .iter()
        .enumerate()
        .find(|(number, rule)| columns_fit >> number & 1 == 1 && rule.fits(facts));
    match fitting {
        Some((_, rule)) => rule.verdict(facts),
        None => Verdict::Unclear,
    }
}

/// Returns rules for files that nobody described: sales and returns as they look everywhere.
pub(crate) fn plain() -> Vec<Rule> {
    let totals = ["total", "totals", "subtotal", "sub-total", "grand total", "sum"];
    let totals: Vec<String> = totals.map(str::to_owned).into();
    let total = |of: &dyn Fn(&mut Rule) -> &mut Vec<String>| {
        let mut rule = Rule {
            then: Some(Then::LeftOut),
            because: "a row of totals".to_owned(),
            ..Rule::default()
        };
        of(&mut rule).clone_from(&totals);
        rule
    };
    vec![
        total(&|rule| &mut rule.sku_is),
        total(&|rule| &mut rule.document_is),
        Rule {
            quantity: Some(QuantityIs::Positive),
            then: Some(Then::Sale),
            ..Rule::default()
        },
        Rule {
            quantity: Some(QuantityIs::Negative),
            price: vec![PriceIs::Positive],
            then: Some(Then::TakeBack),
            ..Rule::default()
        },
    ]
}

/// Makes a rule for articles that are not goods.
pub(crate) fn not_stock(skus: &[String]) -> Rule {
    Rule {
        sku_is: skus.to_vec(),
        then: Some(Then::NotStock),
        because: "named as no goods".to_owned(),
        ..Rule::default()
    }
}

impl Rule {
    /// Returns the columns that the rule checks.
    pub(crate) fn columns(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.columns
            .iter()
            .map(|(name, texts)| (name.as_str(), texts.as_slice()))
    }

    /// Checks that the rule has a meaning. Returns the reason if it has none.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        match self.then {
            None => Err("does not say what then"),
            Some(Then::NotStock | Then::LeftOut) if self.because.is_empty() => {
                Err("keeps rows from the ledger and does not say because of what")
            }
            Some(_) => Ok(()),
        }
    }

    fn fits(&self, facts: &Facts<'_>) -> bool {
        let is = |names: &[String], text: &str| {
            names.is_empty() || names.iter().any(|name| name.eq_ignore_ascii_case(text))
        };
        let starts_with = |starts: &[String], text: &str| {
            starts.is_empty() || starts.iter().any(|start| text.starts_with(start.as_str()))
        };
        let price = match facts.price {
            None => None,
            Some(None) => Some(PriceIs::None),
            Some(Some(Sign::Positive)) => Some(PriceIs::Positive),
            Some(Some(Sign::Zero)) => Some(PriceIs::Zero),
            Some(Some(Sign::Negative)) => Some(PriceIs::Negative),
        };
        let quantity_fits = match (self.quantity, facts.quantity) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(QuantityIs::Positive), Some(units)) => units > 0,
            (Some(QuantityIs::Negative), Some(units)) => units < 0,
        };
        let customer_fits = match self.customer {
            None => true,
            Some(CustomerIs::Known) => facts.has_customer,
            Some(CustomerIs::None) => !facts.has_customer,
        };
        is(&self.sku_is, facts.sku)
            && starts_with(&self.sku_starts_with, facts.sku)
            && is(&self.document_is, facts.document)
            && starts_with(&self.document_starts_with, facts.document)
            && quantity_fits
            && (self.price.is_empty() || price.is_some_and(|price| self.price.contains(&price)))
            && customer_fits
            && self.alone.is_none_or(|alone| alone == facts.is_alone)
    }

    fn verdict(&self, facts: &Facts<'_>) -> Verdict<'_> {
        let kept = |reason| Verdict::Kept {
            reason,
            because: &self.because,
            names_sku: !self.sku_is.is_empty(),
        };
        let (kind, wants) = match self.then {
            Some(Then::Sale) => (Kind::Sale, QuantityIs::Positive),
            Some(Then::TakeBack) => (Kind::TakeBack, QuantityIs::Negative),
            Some(Then::WriteOff) => (Kind::WriteOff, QuantityIs::Negative),
            Some(Then::Found) => (Kind::Found, QuantityIs::Positive),
            Some(Then::NotStock) => return kept(RejectReason::NotStock),
            Some(Then::LeftOut) => return kept(RejectReason::LeftOut),
            None => return Verdict::Unclear,
        };
        // A rule that requires a sign of the quantity is deliberate. Only the other rules are checked for the
        // sign.
        match (facts.quantity, self.quantity) {
            (Some(units), None) if (units > 0) != (wants == QuantityIs::Positive) => {
                Verdict::WrongSign(match wants {
                    QuantityIs::Positive => "the rule that fits is about positive quantities",
                    QuantityIs::Negative => {
                        "the rule that fits takes goods away or back, and the quantity is positive"
                    }
                })
            }
            _ => Verdict::Is(kind),
        }
    }
}
