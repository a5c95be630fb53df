//! The `policy.norms` section: what a customer's own history is measured against.

use std::collections::BTreeMap;

use super::node::{Node, Value};
use super::problem::Problem;
use super::setting::{Fields, Setting, read_scalar, section};
use crate::policy::norms::{self, MonthDay, Norms};
use crate::value::{Money, Span};

section! {
    /// What a customer's own history is measured against: fields of `profile` and `supply` in conditions rest on it.
    pub struct NormsSection {
        /// How long products last, until a customer's own orders say it.
        consumption: ConsumptionSection,
        /// Bounds between the scores 1 to 5 of `profile.rfm_recency`, `profile.rfm_frequency` and `profile.rfm_money`.
        rfm: RfmSection,
        /// Yearly stretches in which people buy who never come otherwise. Default: Black Friday, 20 November to 2 December.
        peaks: Vec<PeakSection> = vec![PeakSection { from: Day(MonthDay { month: 11, day: 20 }), to: Day(MonthDay { month: 12, day: 2 }) }],
        /// How long a complaint, an unhappy answer or a settled ticket counts as a negative experience; an open ticket always does. Default 14d.
        negative_experience: Span = Norms::default().negative_experience,
        /// The best answer (0 to 10) that is still unhappy. Default 6, the net promoter score's detractors.
        unhappy_feedback: u32 = Norms::default().unhappy_feedback,
    }
}

section! {
    /// How long products last.
    pub struct ConsumptionSection {
        /// Time that one unit lasts, by product or group id: `{coffee-1kg: 14d}`. Default: none.
        products: BTreeMap<String, Span> = BTreeMap::new(),
        /// Time that one unit of any other product lasts. Default: none, so that other products count as consumables only when a customer
        /// bought them three times. Right for shops that sell nothing but consumables.
        any: Option<Span>,
        /// How many units of a customer's own use such a prior weighs. Default 2: after a few purchases it hardly counts.
        weight: u32 = 2,
        /// So long before it is used up a bought product may be promoted again; where its use is not known, `policy.bought_product` counts. Default 3d.
        lead: Span = Span::from_days(3),
    }
}

section! {
    /// Four ascending bounds each.
    pub struct RfmSection {
        /// Time since the last order: within the first is 5, beyond the last is 1. Default 30d, 90d, 180d, 365d.
        recency: Vec<Span> = [30, 90, 180, 365].map(Span::from_days).to_vec(),
        /// Orders ever: from the last on is 5. Default 2, 4, 7, 12.
        frequency: Vec<u64> = vec![2, 4, 7, 12],
        /// Money ever, in the shop's currency: from the last on is 5. Default 50, 150, 400, 1000.
        money: Vec<Amount> = ["50", "150", "400", "1000"].map(|amount| Amount(amount.to_owned())).to_vec(),
    }
}

section! {
    /// A yearly stretch, both days included; may pass the year's end.
    pub struct PeakSection {
        /// First day, `"11-20"`.
        from: Day,
        /// Last day, `"12-02"`.
        to: Day,
    }
}

/// A day of every year, month first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Day(pub MonthDay);

impl Setting for Day {
    const EXPECTED: &'static str = r#"a day of the year such as "11-20", month first"#;
    fn read(node: &Node, path: &str, problems: &mut Vec<Problem>) -> Self {
        read_scalar(node, path, problems, |text| {
            let (month, day) = text.split_once('-')?;
            let (month, day) = (month.parse().ok()?, day.parse().ok()?);
            // Of a leap year, so that 29 February is a day.
            jiff::civil::Date::new(2000, month, day).ok()?;
            Some(Self(MonthDay { month, day }))
        })
    }
    fn placeholder() -> Self {
        Self(MonthDay { month: 1, day: 1 })
    }
    fn print(&self) -> Node {
        Node::text(format!("{:02}-{:02}", self.0.month, self.0.day))
    }
}

/// An amount in the shop's currency, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Amount(pub String);

impl Amount {
    /// In minor units.
    #[must_use]
    pub fn money(&self, digits: u32) -> Money {
        Money::parse(&self.0, digits).unwrap_or_default()
    }
}

impl Setting for Amount {
    const EXPECTED: &'static str = "an amount in the shop's currency such as 49.90";
    fn read(node: &Node, path: &str, problems: &mut Vec<Problem>) -> Self {
        read_scalar(node, path, problems, |text| {
            let amount = Money::parse(text, 4).filter(|amount| amount.minor() >= 0);
            amount.map(|_| Self(text.to_owned()))
        })
    }
    fn placeholder() -> Self {
        Self("0".to_owned())
    }
    fn print(&self) -> Node {
        Node::text(&self.0)
    }
}

impl NormsSection {
    /// As the profile is measured; `digits` are the minor ones of the shop's currency.
    #[must_use]
    pub fn norms(&self, digits: u32) -> Norms {
        let shipped = norms::RfmBands::default();
        let money: Vec<Money> = self
            .rfm
            .money
            .iter()
            .map(|amount| amount.money(digits))
            .collect();
        Norms {
            consumption: norms::Consumption {
                products: self.consumption.products.clone(),
                any: self.consumption.any,
                weight: self.consumption.weight,
                lead: self.consumption.lead,
            },
            // `check` refuses anything but four bounds.
            rfm: norms::RfmBands {
                recency: self
                    .rfm
                    .recency
                    .clone()
                    .try_into()
                    .unwrap_or(shipped.recency),
                frequency: self
                    .rfm
                    .frequency
                    .clone()
                    .try_into()
                    .unwrap_or(shipped.frequency),
                money: money.try_into().unwrap_or(shipped.money),
            },
            peaks: self
                .peaks
                .iter()
                .map(|peak| norms::Peak {
                    from: peak.from.0,
                    to: peak.to.0,
                })
                .collect(),
            negative_experience: self.negative_experience,
            unhappy_feedback: self.unhappy_feedback,
        }
    }

    /// What makes sense only together.
    pub(super) fn check(&self, problems: &mut Vec<Problem>) {
        let money: Vec<Money> = self
            .rfm
            .money
            .iter()
            .map(|amount| amount.money(4))
            .collect();
        for (name, is_right) in [
            ("recency", ascending(&self.rfm.recency)),
            ("frequency", ascending(&self.rfm.frequency)),
            ("money", ascending(&money)),
        ] {
            if !is_right {
                problems.push(Problem::of(
                    format!("policy.norms.rfm.{name}"),
                    "does not cut into five",
                    "write four ascending bounds",
                ));
            }
        }
        if self.unhappy_feedback > 10 {
            problems.push(Problem::of(
                "policy.norms.unhappy_feedback",
                "is out of bounds",
                "write 0 to 10",
            ));
        }
    }
}

fn ascending<T: PartialOrd>(bounds: &[T]) -> bool {
    bounds.len() == 4
        && bounds
            .iter()
            .zip(bounds.iter().skip(1))
            .all(|(low, high)| low < high)
}
