//! Money of the wire in the shop's currency, exactly: decimals are read as text, rates are rationals, nothing is a float.

use std::collections::BTreeMap;

use crate::value::Money;

/// No amount is larger: ten million millions of a currency with cents.
const MAX_MINOR: i64 = 1_000_000_000_000_000;

/// Minor digits of an ISO 4217 currency: 2 but for the listed exceptions.
#[must_use]
pub fn minor_digits(currency: &str) -> u32 {
    match currency {
        "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF" | "UGX"
        | "UYI" | "VND" | "VUV" | "XAF" | "XOF" | "XPF" => 0,
        "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
        "CLF" | "UYW" => 4,
        _ => 2,
    }
}

/// How much of the shop's currency one unit of another is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    numerator: i64,
    decimals: u32,
}

impl Rate {
    /// Reads a positive decimal (`0.8543`) of at most 12 digits; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = format!("{whole}{fraction}");
        if digits.is_empty() || digits.len() > 12 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let numerator = digits.parse().ok()?;
        let decimals = u32::try_from(fraction.len()).ok()?;
        (numerator > 0).then_some(Self {
            numerator,
            decimals,
        })
    }
}

/// The shop's currency and what others are worth in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Currencies {
    shop: String,
    digits: u32,
    rates: BTreeMap<String, Rate>,
}

impl Currencies {
    /// Of a shop that counts in `shop` (ISO 4217, upper case), with `rates` by currency code, upper case.
    #[must_use]
    pub fn new(shop: &str, rates: impl IntoIterator<Item = (String, Rate)>) -> Self {
        Self {
            shop: shop.to_owned(),
            digits: minor_digits(shop),
            rates: rates.into_iter().collect(),
        }
    }

    /// The shop's currency.
    #[must_use]
    pub fn shop(&self) -> &str {
        &self.shop
    }

    /// Minor digits of the shop's currency.
    #[must_use]
    pub const fn digits(&self) -> u32 {
        self.digits
    }

    /// Can amounts of `currency` (`None`: the shop's) be read into the shop's currency?
    pub(crate) fn converts(&self, currency: Option<&str>) -> bool {
        currency.is_none_or(|code| {
            code.eq_ignore_ascii_case(&self.shop)
                || self.rates.contains_key(&code.to_ascii_uppercase())
        })
    }

    /// Reads `decimal`, an amount of `currency` (`None`: the shop's), into the shop's currency.
    /// `Ok(None)`: a sound amount, but no rate is known. `Err`: not an amount, or absurd.
    pub(crate) fn read(
        &self,
        decimal: &str,
        currency: Option<&str>,
    ) -> Result<Option<Money>, Absurd> {
        let own = currency.is_none_or(|code| code.eq_ignore_ascii_case(&self.shop));
        if own {
            return bounded(Money::parse(decimal, self.digits).map(Money::minor)).map(Some);
        }
        let code = currency.unwrap_or_default().to_ascii_uppercase();
        let digits = minor_digits(&code);
        let foreign = bounded(Money::parse(decimal, digits).map(Money::minor))?;
        let Some(rate) = self.rates.get(&code) else {
            return Ok(None);
        };
        // At most 10^15 × 10^12 × 10^4, far from the end of i128.
        let dividend =
            i128::from(foreign.minor()) * i128::from(rate.numerator) * 10_i128.pow(self.digits);
        let divisor = 10_i128.pow(rate.decimals + digits);
        let half = if dividend < 0 {
            -divisor / 2
        } else {
            divisor / 2
        };
        bounded(i64::try_from((dividend + half) / divisor).ok()).map(Some)
    }
}

/// Not an amount of money that anyone pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Absurd;

fn bounded(minor: Option<i64>) -> Result<Money, Absurd> {
    minor
        .filter(|minor| (-MAX_MINOR..=MAX_MINOR).contains(minor))
        .map(Money::from_minor)
        .ok_or(Absurd)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shop(currency: &str) -> Currencies {
        let rates = [("USD", "0.85"), ("JPY", "0.0061"), ("KWD", "2.9")];
        Currencies::new(
            currency,
            rates.map(|(code, rate)| (code.to_owned(), Rate::parse(rate).unwrap())),
        )
    }

    #[test]
    fn foreign_money_converts_exactly_and_rounds_half_away_from_zero() {
        let minor = |text, currency| {
            shop("EUR")
                .read(text, currency)
                .map(|m| m.map(Money::minor))
        };
        assert_eq!(minor("59.90", None), Ok(Some(5990)));
        assert_eq!(minor("59.90", Some("eur")), Ok(Some(5990)));
        assert_eq!(minor("10.00", Some("USD")), Ok(Some(850)));
        assert_eq!(minor("0.10", Some("USD")), Ok(Some(9)), "8.5 cents");
        assert_eq!(minor("-0.10", Some("USD")), Ok(Some(-9)));
        assert_eq!(minor("1000", Some("JPY")), Ok(Some(610)));
        assert_eq!(minor("1.001", Some("KWD")), Ok(Some(290)));
        assert_eq!(minor("5", Some("CHF")), Ok(None), "no rate");
    }

    #[test]
    fn money_that_nobody_pays_is_refused() {
        for text in [
            "NaN",
            "inf",
            "",
            "1e3",
            "10000000000000.01",
            "99999999999999999999",
        ] {
            assert_eq!(shop("EUR").read(text, None), Err(Absurd), "{text}");
            assert_eq!(shop("EUR").read(text, Some("CHF")), Err(Absurd), "{text}");
        }
        assert!(shop("EUR").read("10000000000000.00", None).is_ok());
        for rate in ["", "0", "-1", "1e3", "1.2.3", "12345678901234"] {
            assert_eq!(Rate::parse(rate), None, "{rate}");
        }
    }
}
