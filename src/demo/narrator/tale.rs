//! The words of the story: facts, sentences, tones.

use crate::value::{Money, Timestamp};

/// Something worth telling.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::demo) enum Fact {
    /// Went away without paying.
    CartLeft {
        customer: String,
        items: i64,
        total: Money,
    },
    /// Made an account.
    SignedUp { customer: String },
    /// Took everything out again.
    CartEmptied { customer: String },
    /// Paid.
    Bought { customer: String, total: Money },
    /// Changed their mind.
    OrderCancelled { customer: String },
    /// A message left.
    Sent { customer: String, channel: String },
    /// A sender obeyed a cancel before the message left.
    Recalled { customer: String, channel: String },
    /// A message came back.
    Bounced { customer: String, channel: String },
    /// Somebody read it.
    Opened { customer: String, channel: String },
    /// Somebody followed its link.
    Clicked { customer: String, channel: String },
    /// Somebody had enough.
    Unsubscribed { customer: String, channel: String },
}

/// How a piece of a sentence is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::demo) enum Tone {
    Plain,
    Dim,
    /// Who it is about.
    Who,
    /// The customer did something.
    Shop,
    /// Something is said to the customer.
    Speak,
    /// Something is kept from the customer.
    Hush,
    /// Something went wrong on the way.
    Trouble,
    /// A figure.
    Figure,
}

/// One sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::demo) struct Line {
    pub(in crate::demo) at: Timestamp,
    pub(in crate::demo) pieces: Vec<(Tone, String)>,
}

impl Fact {
    /// Whom it is about, and what it says; `None` for what is only counted, or told elsewhere.
    pub(super) fn sentence(self) -> Option<(String, Tone, String)> {
        let told = match self {
            Self::CartLeft {
                customer,
                items,
                total,
            } => {
                let noun = if items == 1 { "item" } else { "items" };
                let text = format!("leaves a cart ({items} {noun}, {} EUR)", total.decimal(2));
                (customer, Tone::Shop, text)
            }
            Self::SignedUp { customer } => (customer, Tone::Shop, "signs up".to_owned()),
            Self::CartEmptied { customer } => {
                let text = "empties the cart: no reminder".to_owned();
                (customer, Tone::Shop, text)
            }
            Self::OrderCancelled { customer } => {
                (customer, Tone::Shop, "cancels the order".to_owned())
            }
            Self::Sent { customer, channel } => {
                let text = format!("{channel} sender: message sent");
                (customer, Tone::Dim, text)
            }
            Self::Recalled { customer, channel } => {
                let text = format!("{channel} sender: recalled before it left");
                (customer, Tone::Trouble, text)
            }
            Self::Bounced { customer, channel } => {
                let text = format!("{channel} sender: bounced");
                (customer, Tone::Trouble, text)
            }
            Self::Clicked { customer, channel } => {
                (customer, Tone::Shop, format!("clicks in the {channel}"))
            }
            Self::Unsubscribed { customer, channel } => {
                (customer, Tone::Shop, format!("unsubscribes from {channel}"))
            }
            Self::Opened { .. } | Self::Bought { .. } => return None,
        };
        Some(told)
    }
}

/// What a flow says to people.
pub(super) fn message_of(flow: &str) -> String {
    match flow {
        "abandoned_cart" => "reminder".to_owned(),
        "abandoned_browse" => "browse reminder".to_owned(),
        "abandoned_checkout" => "checkout reminder".to_owned(),
        "welcome" => "welcome".to_owned(),
        "post_purchase" => "thanks".to_owned(),
        "cross_sell" => "suggestion".to_owned(),
        "replenishment" => "refill reminder".to_owned(),
        "" => "message".to_owned(),
        other => words(other),
    }
}

pub(super) fn words(name: &str) -> String {
    name.replace('_', " ")
}

/// `a, b and c`.
pub(super) fn list(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
