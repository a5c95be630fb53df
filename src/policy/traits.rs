//! Global traits: what is true of a customer guards them in every flow, new ones included, without a word in the flow (product.md §5.5).

use std::sync::Arc;

use super::Cap;
use crate::value::Span;

/// What a trait keeps away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// Nothing: the trait is not in force.
    Nothing,
    /// Marketing that carries a discount.
    Discounts,
    /// All marketing.
    Marketing,
}

/// What one trait does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// What it keeps away.
    pub keeps: Keeps,
    /// Flows that it does not bind.
    pub exempt: Vec<Arc<str>>,
}

impl Guard {
    /// A guard that guards nothing.
    pub const NONE: Self = Self {
        keeps: Keeps::Nothing,
        exempt: Vec::new(),
    };
}

/// A guard against what happened lately.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recent {
    /// How long it guards.
    pub within: Span,
    /// What it does.
    pub guard: Guard,
}

/// Customers on one side of a score's bound meet one more cap; a limit of 0 keeps all of its scope away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Band {
    /// `model` or `model/horizon`, as `score_updated` names them.
    pub score: String,
    /// In millionths.
    pub bound: i64,
    /// What binds them.
    pub cap: Cap,
}

/// Who always buys at a discount gets no more of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Diet {
    /// Share of the remembered orders from which on it holds, in millionths.
    pub share: i64,
    /// Orders remembered before it can hold.
    pub orders: usize,
}

/// All of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traits {
    /// Very important customers (`vip_guard`).
    pub vip: Guard,
    /// An order lately (`purchase_cooloff`); beside the pause after a purchase, for longer guards of other kinds.
    pub recent_buyer: Recent,
    /// A return lately (`negative_experience`).
    pub returned: Recent,
    /// An open ticket, an unhappy answer, a complaint (`negative_experience`); how long is the norms'.
    pub negative_experience: Guard,
    /// Likely to leave: score at or above the bound (`churn_guard`).
    pub churn: Option<Band>,
    /// Not about to buy: score at or below the bound (`low_intent`).
    pub intent: Option<Band>,
    /// Discounts in doses (`discount_capped`).
    pub discount_diet: Option<Diet>,
}

impl Default for Traits {
    /// Nothing guards anybody.
    fn default() -> Self {
        let recent = Recent {
            within: Span::ZERO,
            guard: Guard::NONE,
        };
        Self {
            vip: Guard::NONE,
            recent_buyer: recent.clone(),
            returned: recent,
            negative_experience: Guard::NONE,
            churn: None,
            intent: None,
            discount_diet: None,
        }
    }
}
