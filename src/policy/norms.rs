//! What a customer's own history is measured against: priors, bands and seasons that no single profile can know.

use std::collections::BTreeMap;

use crate::value::{Money, Span};

/// Yardsticks of the shop for what [`crate::profile`] tells of a customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Norms {
    /// How fast products are used up, until a customer's own orders say it.
    pub consumption: Consumption,
    /// Bands of recency, frequency and money.
    pub rfm: RfmBands,
    /// Yearly stretches in which people buy who do not buy otherwise (Black Friday, Christmas).
    pub peaks: Vec<Peak>,
    /// How long a return, a complaint, an unhappy answer or a settled ticket counts as a negative experience; an open ticket always does.
    pub negative_experience: Span,
    /// The best answer to `feedback_given` that still counts as unhappy.
    pub unhappy_feedback: u32,
}

impl Default for Norms {
    /// The shipped values.
    fn default() -> Self {
        Self {
            consumption: Consumption::default(),
            rfm: RfmBands::default(),
            peaks: vec![Peak {
                from: MonthDay { month: 11, day: 20 },
                to: MonthDay { month: 12, day: 2 },
            }],
            negative_experience: Span::from_days(14),
            // 0 to 6 are the detractors of the net promoter score (Reichheld, Harvard Business Review 12/2003).
            unhappy_feedback: 6,
        }
    }
}

/// Priors of consumption: a profile knows only itself, so what other customers need of a product stands in the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumption {
    /// Time that one unit lasts, by product or group id.
    pub products: BTreeMap<String, Span>,
    /// Time that one unit of any other product lasts. `None`: other products are no consumables until a customer's own orders show it.
    pub any: Option<Span>,
    /// How many units of own history a prior weighs.
    pub weight: u32,
    /// So long before it is used up a product may be promoted again.
    pub lead: Span,
}

impl Default for Consumption {
    fn default() -> Self {
        Self {
            products: BTreeMap::new(),
            any: None,
            weight: 2,
            lead: Span::from_days(3),
        }
    }
}

impl Consumption {
    /// The prior of a product: its own, else that of its group, else that of any product.
    #[must_use]
    pub fn of(&self, product_id: &str, group_id: Option<&str>) -> Option<Span> {
        let own = self.products.get(product_id);
        let group = || group_id.and_then(|id| self.products.get(id));
        own.or_else(group).copied().or(self.any)
    }
}

/// Four bounds each between the scores 1 to 5. Classic RFM cuts the customer base into fifths (Hughes, Strategic Database Marketing,
/// 1994); a profile cannot see the base, so the cuts are the policy's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RfmBands {
    /// Time since the last order, ascending: within the first is 5, beyond the last is 1.
    pub recency: [Span; 4],
    /// Orders ever, ascending: at or above the last is 5.
    pub frequency: [u64; 4],
    /// Money ever, ascending: at or above the last is 5.
    pub money: [Money; 4],
}

impl Default for RfmBands {
    fn default() -> Self {
        Self {
            recency: [30, 90, 180, 365].map(Span::from_days),
            frequency: [2, 4, 7, 12],
            money: [5_000, 15_000, 40_000, 100_000].map(Money::from_minor),
        }
    }
}

/// A day of every year.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MonthDay {
    /// 1 to 12.
    pub month: i8,
    /// 1 to 31.
    pub day: i8,
}

/// A yearly stretch of days, both ends included; may pass the year's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peak {
    /// First day.
    pub from: MonthDay,
    /// Last day.
    pub to: MonthDay,
}

impl Peak {
    /// Is the day in it?
    #[must_use]
    pub fn holds(&self, day: MonthDay) -> bool {
        if self.from <= self.to {
            self.from <= day && day <= self.to
        } else {
            self.from <= day || day <= self.to
        }
    }
}
