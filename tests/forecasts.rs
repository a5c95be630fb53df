//! How often the forecasts of `replenishment` and `cadence_break` come true over a year of real orders: what is said to be needed, against
//! what was really bought next. `make forecasts` prints the report; without the data there is nothing to report.
#![expect(
    clippy::unwrap_used,
    reason = "a test that meets the unexpected should stop there and say so"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::sync::Arc;

use tidegate::config::{Config, Overrides};
use tidegate::decision::{Message, Verdict, VerdictKind};
use tidegate::engine::Plan;
use tidegate::event::{Body, DecodeContext, EventType, Origin, json};
use tidegate::flow::compile::{FlowFile, Surroundings, compile};
use tidegate::plan::fold_plan;
use tidegate::store::memory::MemoryStore;
use tidegate::store::staging::CacheLimits;
use tidegate::task::fold::{ClockKind, Decided, Fold};
use tidegate::value::{Span, Timestamp};

const DATA: &str = "../shared/data/uci_orders_a.jsonl.gz";
/// The day after the last order of the data.
const END: &str = "2011-12-10T00:00:00Z";
/// A forecast is judged by what is bought within that.
const WITHIN: Span = Span::from_days(30);

/// Everybody is reachable, and nothing of the gate stands before a forecast: only the forecast is judged.
const CONFIG: &str = "
app: { id: forecasts }
kafka: { bootstrap: 'nowhere:9092' }
shop: { currency: GBP, time_zone: Europe/London }
identity: { address_key: nobody-lives-in-this-shop }
inputs: [{ stream: purchases, topic: purchases, key: customer_id }]
channels:
  email: { needs_address: false, reports: [sent, opened, clicked] }
  push: { needs_address: false, reports: [sent, opened, clicked] }
control_group: 0%
flows: shipped
";

const FLOWS: [(&str, &str); 2] = [
    (
        "replenishment",
        include_str!("../deploy/flows/replenishment.yaml"),
    ),
    (
        "cadence_break",
        include_str!("../deploy/flows/cadence_break.yaml"),
    ),
];

/// What a customer bought, and when.
type Bought = Vec<(Timestamp, BTreeSet<String>)>;

/// A forecast: this customer needs this product about now.
struct Forecast {
    customer: String,
    product: String,
    at: Timestamp,
}

/// Plays the year: every order by customer, and the forecasts by flow.
fn play(path: &Path) -> (BTreeMap<String, Bought>, BTreeMap<String, Vec<Forecast>>) {
    let config = Config::parse("forecasts", CONFIG, &Overrides::default()).unwrap();
    let policy = config.policy().unwrap();
    let texts = FLOWS.map(|(name, text)| {
        let open = text.replace("class: marketing\nlist: offers\n", "class: transactional\n");
        assert!(open != text);
        (name, open)
    });
    let files = texts.each_ref().map(|(name, text)| FlowFile { name, text });
    let flows = compile(&files, &Surroundings::of(&policy)).unwrap();
    let shared = Arc::new(fold_plan(&config, Plan { flows, policy }, ClockKind::Records).unwrap());
    let cache = CacheLimits {
        profiles: 10_000,
        bytes: 256 << 20,
    };
    let mut fold = Fold::new(0, Arc::clone(&shared), Box::new(MemoryStore::new()), cache).unwrap();
    let mut bought: BTreeMap<String, Bought> = BTreeMap::new();
    let mut forecasts: BTreeMap<String, Vec<Forecast>> = BTreeMap::new();
    let mut note = |fold: &mut Fold| {
        for decided in fold.take_decided() {
            if let Decided::Verdict(verdict) = decided
                && let Some((flow, forecast)) = forecast(&verdict)
            {
                forecasts.entry(flow).or_default().push(forecast);
            }
        }
    };
    let lines = BufReader::new(flate2::read::GzDecoder::new(
        std::fs::File::open(path).unwrap(),
    ));
    for (offset, line) in (0..).zip(lines.lines()) {
        let context = DecodeContext {
            rules: &shared.decode,
            record_timestamp: None,
        };
        let event = json::decode(line.unwrap().as_bytes(), &context).unwrap();
        let at = event.effective_time;
        fold.fire(at, usize::MAX).unwrap();
        fold.advance(at);
        let origin = Origin {
            topic: "purchases".into(),
            partition: 0,
            offset,
            timestamp: at,
        };
        fold.event(&event, &origin, false).unwrap();
        fold.fire(at, usize::MAX).unwrap();
        note(&mut fold);
        if let (EventType::OrderCompleted, Body::Order(order), Some(customer)) =
            (event.kind, &event.body, &event.customer_id)
        {
            let products = order.products.iter().map(|line| line.product_id.clone());
            let orders = bought.entry(customer.clone()).or_default();
            orders.push((at, products.collect()));
        }
    }
    fold.fire(Timestamp::parse(END).unwrap(), usize::MAX)
        .unwrap();
    note(&mut fold);
    (bought, forecasts)
}

/// The first step of an instance, with the product that it names.
fn forecast(verdict: &Verdict) -> Option<(String, Forecast)> {
    let place = verdict.place.as_ref()?;
    if verdict.kind != VerdictKind::Send || place.step != 1 {
        return None;
    }
    let Some(Message::Trigger(trigger)) = &verdict.message else {
        return None;
    };
    let product = trigger.context.get("products")?.get(0)?.get("product_id")?;
    let forecast = Forecast {
        customer: verdict.customer_id.clone()?,
        product: product.as_str()?.to_owned(),
        at: verdict.decided_at,
    };
    Some((place.flow.to_string(), forecast))
}

/// What became of the forecasts of one flow.
#[derive(Default)]
struct Report {
    /// All of them.
    made: usize,
    /// Those whose time is over before the data ends.
    judged: usize,
    /// Of those: the customer ordered anything in time.
    came: usize,
    /// Of those: the named product in time.
    hit: usize,
    /// The same if a product had been drawn of those that the customer had bought in two orders at least.
    chance: f64,
}

impl Report {
    fn of(forecasts: &[Forecast], bought: &BTreeMap<String, Bought>) -> Self {
        let end = Timestamp::parse(END).unwrap();
        let mut report = Self {
            made: forecasts.len(),
            ..Self::default()
        };
        for Forecast {
            customer,
            product,
            at,
        } in forecasts
        {
            let until = at.plus(WITHIN);
            if until > end {
                continue;
            }
            let orders = bought.get(customer).unwrap();
            let later = orders.iter().filter(|(day, _)| day > at && *day <= until);
            let later: Vec<&BTreeSet<String>> = later.map(|(_, products)| products).collect();
            let in_time = |product: &String| later.iter().any(|order| order.contains(product));
            let mut before: BTreeMap<&String, usize> = BTreeMap::new();
            for (_, products) in orders.iter().filter(|(day, _)| day <= at) {
                for product in products {
                    *before.entry(product).or_default() += 1;
                }
            }
            before.retain(|_, orders| *orders >= 2);
            let drawn = before.keys().filter(|product| in_time(product)).count();
            report.judged += 1;
            report.came += usize::from(!later.is_empty());
            report.hit += usize::from(in_time(product));
            report.chance += share(drawn, before.len().max(1));
        }
        report
    }

    fn precision(&self) -> f64 {
        share(self.hit, self.judged)
    }

    fn by_chance(&self) -> f64 {
        self.chance / to_f64(self.judged)
    }
}

fn share(part: usize, whole: usize) -> f64 {
    to_f64(part) / to_f64(whole)
}

fn to_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap())
}

#[test]
fn what_is_said_to_run_out_is_bought_more_often_than_what_else_the_customer_takes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(DATA);
    if !path.exists() {
        return;
    }
    let (bought, forecasts) = play(&path);
    println!(
        "flow           forecasts  judged  ordered in 30 d  named product in 30 d  a product of theirs by chance"
    );
    let mut reports = BTreeMap::new();
    for (flow, forecasts) in &forecasts {
        let report = Report::of(forecasts, &bought);
        println!(
            "{flow:<14} {:>9}  {:>6}  {:>14.1}%  {:>20.1}%  {:>28.1}%",
            report.made,
            report.judged,
            100.0 * share(report.came, report.judged),
            100.0 * report.precision(),
            100.0 * report.by_chance(),
        );
        reports.insert(flow.as_str(), report);
    }
    for (flow, floor) in [("replenishment", 0.35), ("cadence_break", 0.3)] {
        let report = &reports[flow];
        assert!(report.judged > 100, "{flow}: {} judged", report.judged);
        assert!(
            report.precision() >= floor,
            "{flow}: {}",
            report.precision()
        );
        let lift = report.precision() / report.by_chance();
        assert!(lift >= 1.25, "{flow}: lift {lift}");
    }
}
