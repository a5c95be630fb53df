//! The workload "profile-fold v1": a seeded shop. The same seed gives the same events, whatever their times and whoever reads them.
//!
//! 80 % clicks, 14 % receipts, 5 % purchases, 1 % consent; customers drawn by a zipf law (0.99); about 300 bytes of JSON each. One event
//! in eight changes a cart and so arms or restarts a timer; most orders are of an open cart and so cancel one.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};

/// What an event says, as far as the harness cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Clicks,
    Deliveries,
    Purchases,
    Customers,
}

impl Stream {
    pub(crate) const ALL: [Self; 4] = [
        Self::Clicks,
        Self::Deliveries,
        Self::Purchases,
        Self::Customers,
    ];

    /// The name in the configuration of tidegate, and the end of the topic's name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Clicks => "clickstream",
            Self::Deliveries => "deliveries",
            Self::Purchases => "purchases",
            Self::Customers => "customers",
        }
    }
}

/// One event, written into buffers that are used again for the next.
#[derive(Debug, Default)]
pub(crate) struct Made {
    pub(crate) key: String,
    pub(crate) json: String,
    /// An order: the event that is answered by suppressions.
    pub(crate) order: bool,
}

impl Made {
    fn put(&mut self, text: fmt::Arguments<'_>) {
        // Writing into a String cannot fail.
        self.json.write_fmt(text).unwrap_or_default();
    }
}

/// Small, fast, and the same on every machine (splitmix64).
struct Random(u64);

impl Random {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// 0 up to, not including, `bound`.
    const fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

struct Cart {
    customer: usize,
    number: u64,
    products: Vec<u64>,
}

/// Draws one event after the other.
pub(crate) struct Shop {
    random: Random,
    /// Distribution over customers, by rank.
    cumulative: Vec<f64>,
    /// Open carts, oldest first; the oldest are given up.
    carts: VecDeque<Cart>,
    /// Latest orders, for refunds, cancellations and parcels.
    orders: VecDeque<(usize, u64, Vec<u64>)>,
    prefix: String,
    events: u64,
    numbers: u64,
}

const OPEN_CARTS: usize = 20_000;
const KEPT_ORDERS: usize = 2_000;
const PRODUCTS: u64 = 20_000;
const CHANNELS: [&str; 3] = ["email", "push", "sms"];
const CATEGORIES: [&str; 8] = [
    "shoes/sneakers",
    "shoes/boots",
    "coffee/beans",
    "coffee/capsules",
    "toys/wood",
    "garden/tools",
    "pets/food",
    "beauty/skin",
];
const ZONES: [&str; 4] = ["Europe/Berlin", "Europe/Madrid", "Europe/London", "UTC"];

impl Shop {
    /// `prefix` begins every event, cart and order id, so that two stretches of one run never share one.
    pub(crate) fn new(seed: u64, customers: usize, prefix: &str) -> Self {
        let mut sum = 0.0;
        let cumulative = (1..=customers)
            .map(|rank| {
                sum += (rank as f64).powf(-0.99);
                sum
            })
            .collect();
        Self {
            random: Random(seed),
            cumulative,
            carts: VecDeque::new(),
            orders: VecDeque::new(),
            prefix: prefix.to_owned(),
            events: 0,
            numbers: 0,
        }
    }

    /// Writes the next event, which happens at `at` (Unix ms), and says on which stream.
    pub(crate) fn next(&mut self, at: i64, into: &mut Made) -> Stream {
        into.order = false;
        let customer = self.customer();
        match self.random.below(1_000) {
            0..800 => self.click(customer, at, into),
            800..940 => self.receipt(customer, at, into),
            940..990 => self.purchase(customer, at, into),
            _ => self.person(customer, at, into),
        }
    }

    /// Makes the customer of this rank reachable and consenting.
    pub(crate) fn identify(&mut self, customer: usize, at: i64, into: &mut Made) -> Stream {
        into.order = false;
        self.open("identified", customer, "crm", at, into);
        let zone = ZONES[customer % ZONES.len()];
        into.put(format_args!(r#""addresses":{{"email":"customer-{customer}@shop.test","push":"token-{customer:012}","sms":"+49151{customer:08}"}},"consents":{{"email":true,"push":true,"sms":true}},"time_zone":"{zone}"}}}}"#
        ));
        Stream::Customers
    }

    fn customer(&mut self) -> usize {
        let whole = self.cumulative.last().copied().unwrap_or_default();
        let point = self.random.unit() * whole;
        self.cumulative.partition_point(|&sum| sum < point)
    }

    fn open(&mut self, kind: &str, customer: usize, source: &str, at: i64, into: &mut Made) {
        let id = self.events;
        self.events += 1;
        into.key.clear();
        into.json.clear();
        let time = jiff::Timestamp::from_millisecond(at).unwrap_or_default();
        into.key.push_str(&format!("c-{customer:07}"));
        into.put(format_args!(r#"{{"event_id":"{}-{id:09}","type":"{kind}","event_time":"{time:.3}","customer_id":"c-{customer:07}","source":"{source}","properties":{{"#,
            self.prefix
        ));
    }

    fn product(&mut self) -> u64 {
        // Few products are most of the trade.
        let unit = self.random.unit();
        (unit * unit * unit * PRODUCTS as f64) as u64
    }

    fn line(product: u64, into: &mut Made) {
        let category = CATEGORIES[(product % 8) as usize];
        let (brand, whole, cents) = (product % 40, 5 + product % 190, product % 100);
        into.put(format_args!(r#""product_id":"p-{product}","sku":"p-{product}-{cents}","name":"Product {product} of brand {brand}","category":"{category}","brand":"brand-{brand}","quantity":1,"price":"{whole}.{cents:02}","currency":"EUR""#
        ));
    }

    fn click(&mut self, customer: usize, at: i64, into: &mut Made) -> Stream {
        match self.random.below(800) {
            0..120 => self.add_to_cart(customer, at, into),
            120..150 if !self.carts.is_empty() => self.touch_cart(at, into),
            150..200 => {
                let query = self.random.below(5_000);
                self.open("products_searched", customer, "web", at, into);
                into.put(format_args!(
                    r#""query":"something like number {query}","results":{}}}}}"#,
                    query % 60
                ));
            }
            200..260 => {
                let page = self.random.below(3_000);
                self.open("page_viewed", customer, "web", at, into);
                into.put(format_args!(r#""page":"/shop/season/{page}","url":"https://shop.test/shop/season/{page}?campaign=spring","referrer":"https://search.test/?q=season"}}}}"#
                ));
            }
            _ => {
                let product = self.product();
                self.open("product_viewed", customer, "web", at, into);
                Self::line(product, into);
                into.json.push_str("}}");
            }
        }
        Stream::Clicks
    }

    fn add_to_cart(&mut self, customer: usize, at: i64, into: &mut Made) {
        let product = self.product();
        // A third goes into a cart that is open already.
        let again = (!self.carts.is_empty() && self.random.below(3) == 0)
            .then(|| self.random.below(self.carts.len() as u64) as usize);
        let (customer, number) = match again.and_then(|at| self.carts.get_mut(at)) {
            Some(cart) => {
                cart.products.push(product);
                (cart.customer, cart.number)
            }
            None => {
                self.numbers += 1;
                let (number, products) = (self.numbers, vec![product]);
                self.carts.push_back(Cart {
                    customer,
                    number,
                    products,
                });
                if self.carts.len() > OPEN_CARTS {
                    self.carts.pop_front();
                }
                (customer, number)
            }
        };
        self.open("product_added", customer, "web", at, into);
        into.put(format_args!(r#""cart_id":"{}-k{number}","#, self.prefix));
        Self::line(product, into);
        into.json.push_str("}}");
    }

    /// Somebody looks at their cart, or takes the last thing out again.
    fn touch_cart(&mut self, at: i64, into: &mut Made) {
        let which = self.random.below(self.carts.len() as u64) as usize;
        let removes = self.random.below(3) == 0;
        let Some(cart) = self.carts.get_mut(which) else {
            return;
        };
        let (customer, number) = (cart.customer, cart.number);
        let taken = if removes && cart.products.len() > 1 {
            cart.products.pop()
        } else {
            None
        };
        let kind = if taken.is_some() {
            "product_removed"
        } else {
            "cart_viewed"
        };
        self.open(kind, customer, "web", at, into);
        into.put(format_args!(r#""cart_id":"{}-k{number}""#, self.prefix));
        if let Some(product) = taken {
            into.json.push(',');
            Self::line(product, into);
        }
        into.json.push_str("}}");
    }

    fn purchase(&mut self, customer: usize, at: i64, into: &mut Made) -> Stream {
        if self.random.below(50) < 6
            && let Some((customer, order, products)) = self.orders.pop_front()
        {
            self.after_order(customer, order, &products, at, into);
            return Stream::Purchases;
        }
        let cart = (!self.carts.is_empty() && self.random.below(10) < 9)
            .then(|| self.random.below(self.carts.len() as u64) as usize)
            .and_then(|which| self.carts.swap_remove_back(which));
        self.numbers += 1;
        let order = self.numbers;
        let (customer, number, products) = match cart {
            Some(cart) => (cart.customer, Some(cart.number), cart.products),
            None => (customer, None, vec![self.product()]),
        };
        self.open("order_completed", customer, "shop", at, into);
        let total: u64 = products
            .iter()
            .map(|product| (5 + product % 190) * 100 + product % 100)
            .sum();
        into.put(format_args!(
            r#""order_id":"{}-o{order}","channel":"online","currency":"EUR","total":"{}.{:02}","#,
            self.prefix,
            total / 100,
            total % 100
        ));
        if let Some(number) = number {
            into.put(format_args!(r#""cart_id":"{}-k{number}","#, self.prefix));
        }
        into.json.push_str(r#""products":["#);
        for (number, &product) in products.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            into.put(format_args!(r#"{comma}{{"line_id":"{number}","#));
            Self::line(product, into);
            into.json.push('}');
        }
        into.json.push_str("]}}");
        self.orders.push_back((customer, order, products));
        if self.orders.len() > KEPT_ORDERS {
            self.orders.pop_front();
        }
        into.order = true;
        Stream::Purchases
    }

    fn after_order(
        &mut self,
        customer: usize,
        order: u64,
        products: &[u64],
        at: i64,
        into: &mut Made,
    ) {
        let kind =
            ["order_shipped", "order_delivered", "order_refunded"][self.random.below(3) as usize];
        self.open(kind, customer, "shop", at, into);
        into.put(format_args!(r#""order_id":"{}-o{order}""#, self.prefix));
        if let (true, Some(&product)) = (kind == "order_refunded", products.first()) {
            into.put(format_args!(r#","refund_id":"{}-r{order}","total":"{}.{:02}","currency":"EUR","products":[{{"line_id":"0","#,
                self.prefix,
                5 + product % 190,
                product % 100
            ));
            Self::line(product, into);
            into.json.push_str("}]");
        }
        into.json.push_str("}}");
    }

    fn receipt(&mut self, customer: usize, at: i64, into: &mut Made) -> Stream {
        let (kind, machine) = match self.random.below(1_000) {
            0..300 => ("sent", false),
            300..650 => ("delivered", false),
            650..900 => ("opened", self.random.below(3) == 0),
            900..995 => ("clicked", false),
            _ => ("bounced", false),
        };
        let channel = CHANNELS[self.random.below(3) as usize];
        let (one, two) = (self.random.next(), self.random.next());
        self.open(kind, customer, "esp", at, into);
        into.put(format_args!(r#""channel":"{channel}","decision_id":"{one:016x}{two:016x}","provider":"provider-of-{channel}","message":"{two:016x}-{one:016x}""#
        ));
        match kind {
            "opened" => {
                into.put(format_args!(r#","machine":{machine}"#));
            }
            "clicked" => into
                .json
                .push_str(r#","machine":false,"link":"https://shop.test/""#),
            "bounced" => into.json.push_str(r#","bounce":"soft""#),
            _ => {}
        }
        into.json.push_str("}}");
        Stream::Deliveries
    }

    fn person(&mut self, customer: usize, at: i64, into: &mut Made) -> Stream {
        if self.random.below(10) < 3 {
            self.open("signed_up", customer, "shop", at, into);
            into.json
                .push_str(r#""method":"form","page":"https://shop.test/account/new"}}"#);
        } else {
            let channel = CHANNELS[self.random.below(3) as usize];
            let state = if self.random.below(10) < 7 {
                "granted"
            } else {
                "denied"
            };
            self.open("consent_changed", customer, "crm", at, into);
            into.put(format_args!(r#""channel":"{channel}","list":"offers","state":"{state}","source":"preference centre, double opt-in"}}}}"#
            ));
        }
        Stream::Customers
    }
}
