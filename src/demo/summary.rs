//! What is said at the end.

use std::time::Duration;

use super::narrator::{Figures, millis};
use super::view::grouped;
use crate::decision::VerdictKind;

/// A few lines with the figures of `elapsed`.
pub(super) fn text(figures: &Figures, open_carts: u64, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64().max(0.001);
    let per_second = u64::try_from(elapsed.as_millis())
        .ok()
        .and_then(|millis| (figures.events * 1_000).checked_div(millis))
        .unwrap_or(0);
    let verdicts: Vec<String> = VerdictKind::ALL
        .into_iter()
        .filter_map(|kind| {
            let count = figures.verdicts.get(&kind)?;
            Some(format!("{} {}", grouped(*count), kind.name()))
        })
        .collect();
    let decided = if verdicts.is_empty() {
        "nothing yet".to_owned()
    } else {
        verdicts.join(", ")
    };
    let shut = match (figures.shut.quantile(50), figures.shut.quantile(99)) {
        (Some(half), Some(most)) => format!(
            "{} of {} purchases; p50 {}, p99 {} until the last channel's suppression was read",
            grouped(figures.shut.count()),
            grouped(figures.orders),
            millis(half),
            millis(most)
        ),
        (_, _) => "no purchase".to_owned(),
    };
    format!(
        "played   {seconds:.1} s: {} events ({}/s), {} orders, {} carts open\n\
         decided  {decided}\n\
         shut     {shut}\n\
         messages {} sent, {} recalled before they left; decisions read twice: {}\n\
         This broker is librdkafka's embedded one, which keeps nothing and knows transactions only roughly.\n\
         Guarantees and figures that count come from a real broker: `deploy/local/kafka up`, then `tidegate run`.\n",
        grouped(figures.events),
        grouped(per_second),
        grouped(figures.orders),
        grouped(open_carts),
        grouped(figures.sent),
        grouped(figures.recalled),
        grouped(figures.repeated),
    )
}
