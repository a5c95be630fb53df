//! The `policy.traits` section: what is true of a customer and binds every flow, new ones included.

use super::node::{Node, Value};
use super::norms::Amount;
use super::problem::Problem;
use super::setting::{Fields, Setting, choice, read_scalar, section};
use super::values::{Per, Percent};
use crate::flow::Class;
use crate::policy::traits::{Band, Diet, Guard, Keeps, Recent, Traits};
use crate::policy::{Cap, CapScope, Window};
use crate::value::Span;

section! {
    /// What is true of a customer and binds every flow. A flow carries no exclusion of its own; those in `exempt` go free.
    pub struct TraitsSection {
        /// Very important customers (`vip` of `identified`). Default: they are guarded from nothing.
        vip: VipSection,
        /// Who bought lately, for a guard beside `policy.purchase_cooloff`. Default: none.
        recent_buyer: RecentBuyerSection,
        /// Who brought something back lately.
        returned: ReturnedSection,
        /// Who has an open ticket, or had reason to be unhappy within `policy.norms.negative_experience`.
        negative_experience: NegativeSection,
        /// Who is likely to leave hears less. Service messages are not affected.
        churn: ChurnSection,
        /// Who is not about to buy hears less.
        intent: IntentSection,
        /// Who always buys at a discount gets no more of them.
        discount_diet: DietSection,
    }
}

section! {
    /// Very important customers.
    pub struct VipSection {
        /// What is kept away from them: `nothing`, `discounts`, `marketing`. Default nothing.
        keeps: Kept = Kept::Nothing,
        /// Flows that it does not bind.
        exempt: Vec<String> = Vec::new(),
    }
}

section! {
    /// Who bought lately.
    pub struct RecentBuyerSection {
        /// How long after an order. Default 0s: not at all.
        within: Span = Span::ZERO,
        /// What is kept away from them. Default discounts.
        keeps: Kept = Kept::Discounts,
        /// Flows that it does not bind.
        exempt: Vec<String> = Vec::new(),
    }
}

section! {
    /// Who brought something back lately.
    pub struct ReturnedSection {
        /// How long after a refund. Default 14d; `0s` not at all.
        within: Span = Span::from_days(14),
        /// What is kept away from them. Default marketing.
        keeps: Kept = Kept::Marketing,
        /// Flows that it does not bind. Default: winback.
        exempt: Vec<String> = vec!["winback".to_owned()],
    }
}

section! {
    /// Who is unhappy with us.
    pub struct NegativeSection {
        /// What is kept away from them. Default marketing.
        keeps: Kept = Kept::Marketing,
        /// Flows that it does not bind. Default: winback.
        exempt: Vec<String> = vec!["winback".to_owned()],
    }
}

section! {
    /// The band of those who are likely to leave: one more cap on their marketing.
    pub struct ChurnSection {
        /// The score, as `score_updated` names it: `model`, or `model/horizon`. Default `churn`; `none` for no such band.
        score: String = "churn".to_owned(),
        /// In the band is whose score is at or above it. Default 0.66, the upper third as Klaviyo cuts it.
        bound: Amount = Amount("0.66".to_owned()),
        /// Marketing contacts on all channels. Default 1; 0 for none at all.
        limit: u32 = 1,
        /// In which window. Default 7d.
        per: Per = Per(Window::Rolling(Span::from_days(7))),
    }
}

section! {
    /// The band of those who are not about to buy: one more cap on their marketing.
    pub struct IntentSection {
        /// The score, as `score_updated` names it. Default `intent`; `none` for no such band.
        score: String = "intent".to_owned(),
        /// In the band is whose score is at or below it. Default 0.33.
        bound: Amount = Amount("0.33".to_owned()),
        /// Marketing contacts on all channels. Default 1; 0 for none at all.
        limit: u32 = 1,
        /// In which window. Default 7d.
        per: Per = Per(Window::Rolling(Span::from_days(7))),
    }
}

section! {
    /// Who always buys at a discount gets no more of them.
    pub struct DietSection {
        /// Share of discounted orders from which on it holds. Default 75%.
        share: Percent = Percent(7_500),
        /// Orders remembered before it can hold. Default 4; 0 for no such diet.
        orders: u32 = 4,
    }
}

choice! {
    /// What a trait keeps away.
    pub enum Kept {
        /// Nothing.
        Nothing = "nothing",
        /// Marketing that carries a discount.
        Discounts = "discounts",
        /// All marketing.
        Marketing = "marketing",
    }
}

fn guard(keeps: Kept, exempt: &[String]) -> Guard {
    Guard {
        keeps: match keeps {
            Kept::Nothing => Keeps::Nothing,
            Kept::Discounts => Keeps::Discounts,
            Kept::Marketing => Keeps::Marketing,
        },
        exempt: exempt.iter().map(|flow| flow.as_str().into()).collect(),
    }
}

fn band(score: &str, bound: &Amount, limit: u32, per: Per) -> Option<Band> {
    (score != "none").then(|| Band {
        score: score.to_owned(),
        bound: bound.money(6).minor(),
        cap: Cap {
            scope: CapScope::Class(Class::Marketing),
            limit,
            window: per.0,
        },
    })
}

impl TraitsSection {
    /// As the gate looks at them.
    #[must_use]
    pub fn traits(&self) -> Traits {
        let diet = Diet {
            share: i64::from(self.discount_diet.share.0) * 100,
            orders: usize::try_from(self.discount_diet.orders).unwrap_or(usize::MAX),
        };
        Traits {
            vip: guard(self.vip.keeps, &self.vip.exempt),
            recent_buyer: Recent {
                within: self.recent_buyer.within,
                guard: guard(self.recent_buyer.keeps, &self.recent_buyer.exempt),
            },
            returned: Recent {
                within: self.returned.within,
                guard: guard(self.returned.keeps, &self.returned.exempt),
            },
            negative_experience: guard(
                self.negative_experience.keeps,
                &self.negative_experience.exempt,
            ),
            churn: band(
                &self.churn.score,
                &self.churn.bound,
                self.churn.limit,
                self.churn.per,
            ),
            intent: band(
                &self.intent.score,
                &self.intent.bound,
                self.intent.limit,
                self.intent.per,
            ),
            discount_diet: (diet.orders > 0).then_some(diet),
        }
    }
}
