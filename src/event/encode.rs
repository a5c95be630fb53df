//! [`Event`] → the names of the wire, own fields beside the envelope. For tests, for `feed`, for the demo's shop.

use serde_json::{Map, Value};

use super::{
    Body, Bounce, Browse, Checkout, Consent, ConsentChange, Currencies, Event, Identity, OptOut,
    Order, Product, Receipt, Refund, SalesChannel, SendRequest, Trait,
};
use crate::value::{Money, Timestamp};

/// Fields being written; absent ones are left out.
struct Fields<'c> {
    map: Map<String, Value>,
    currencies: &'c Currencies,
}

impl Fields<'_> {
    fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.map.insert(name.to_owned(), value.into());
    }
    fn put_some(&mut self, name: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.put(name, value);
        }
    }
    fn text(&mut self, name: &str, value: Option<&String>) {
        self.put_some(name, value.map(String::as_str));
    }
    fn time(&mut self, name: &str, value: Option<Timestamp>) {
        self.put_some(name, value.map(|time| time.to_string()));
    }
    fn money(&mut self, name: &str, value: Option<Money>) {
        let digits = self.currencies.digits();
        self.put_some(name, value.map(|money| money.decimal(digits)));
    }
    fn product(&mut self, product: &Product) {
        self.put("product_id", product.product_id.as_str());
        self.text("sku", product.sku.as_ref());
        self.text("group_id", product.group_id.as_ref());
        self.text("name", product.name.as_ref());
        self.text("category", product.category.as_ref());
        self.text("brand", product.brand.as_ref());
        self.put("quantity", product.quantity);
        self.money("price", product.price);
        self.text("line_id", product.line_id.as_ref());
    }
    fn products(&mut self, products: &[Product]) {
        let lines = products.iter().map(|product| {
            let mut line = Fields {
                map: Map::new(),
                currencies: self.currencies,
            };
            line.product(product);
            Value::Object(line.map)
        });
        let lines: Vec<Value> = lines.collect();
        self.put("products", lines);
    }
}

/// The event as one flat object. Money is written in the shop's currency, which is what a missing currency means.
pub(super) fn object(event: &Event, currencies: &Currencies) -> Map<String, Value> {
    let mut fields = Fields {
        map: Map::new(),
        currencies,
    };
    fields.put("event_id", event.id.as_str());
    fields.put("type", event.kind.name());
    fields.time("event_time", Some(event.event_time));
    fields.time("received_at", event.received_at);
    fields.text("customer_id", event.customer_id.as_ref());
    fields.text("anonymous_id", event.anonymous_id.as_ref());
    if !event.source.is_empty() {
        fields.put("source", event.source.as_str());
    }
    fields.put("schema_version", event.schema_version);
    if event.test {
        fields.put("test", true);
    }
    own(&mut fields, &event.body);
    fields.map
}

fn own(fields: &mut Fields<'_>, body: &Body) {
    match body {
        Body::Browse(of) => browse(fields, of),
        Body::CartLine(line) => {
            fields.text("cart_id", line.cart_id.as_ref());
            fields.product(&line.product);
        }
        Body::CartSnapshot(cart) => {
            fields.text("cart_id", cart.cart_id.as_ref());
            fields.products(&cart.products);
        }
        Body::Checkout(of) => checkout(fields, of),
        Body::Order(of) => order(fields, of),
        Body::OrderStatus(status) => {
            fields.put("order_id", status.order_id.as_str());
            fields.text("reason", status.reason.as_ref());
        }
        Body::Refund(of) => refund(fields, of),
        Body::Receipt(of) => receipt(fields, of),
        Body::Identity(of) => identity(fields, of),
        Body::Consent(of) => consent_change(fields, of),
        Body::Ticket(ticket) => fields.put("ticket_id", ticket.ticket_id.as_str()),
        Body::Feedback(feedback) => fields.put("score", feedback.score),
        Body::Score(score) => {
            fields.put("model", score.model.as_str());
            fields.text("horizon", score.horizon.as_ref());
            fields.put("value", Money::from_minor(score.value).decimal(6));
            fields.time("valid_until", score.valid_until);
        }
        Body::Merge(merge) => fields.put("into", merge.into.as_str()),
        Body::Erasure => {}
        Body::SendRequest(of) => send_request(fields, of),
    }
}

fn browse(fields: &mut Fields<'_>, of: &Browse) {
    if let Some(product) = &of.product {
        fields.product(product);
    }
    fields.text("page", of.page.as_ref());
    fields.text("category", of.category.as_ref());
    fields.text("query", of.query.as_ref());
    fields.text("cart_id", of.cart_id.as_ref());
    fields.put_some("rating", of.rating);
}

fn checkout(fields: &mut Fields<'_>, of: &Checkout) {
    fields.text("cart_id", of.cart_id.as_ref());
    fields.text("order_id", of.order_id.as_ref());
    fields.text("step", of.step.as_ref());
    fields.text("coupon", of.coupon.as_ref());
    fields.products(&of.products);
}

fn order(fields: &mut Fields<'_>, of: &Order) {
    fields.put("order_id", of.order_id.as_str());
    fields.text("cart_id", of.cart_id.as_ref());
    fields.put(
        "channel",
        match of.channel {
            SalesChannel::Online => "online",
            SalesChannel::Offline => "offline",
        },
    );
    fields.money("total", of.total);
    fields.money("discount", of.discount);
    fields.text("coupon", of.coupon.as_ref());
    fields.put("recurring", of.recurring);
    fields.text("seller", of.seller.as_ref());
    fields.products(&of.products);
}

fn refund(fields: &mut Fields<'_>, of: &Refund) {
    fields.put("refund_id", of.refund_id.as_str());
    fields.text("order_id", of.order_id.as_ref());
    fields.money("total", of.total);
    fields.products(&of.products);
}

fn receipt(fields: &mut Fields<'_>, of: &Receipt) {
    fields.put("channel", of.channel.as_str());
    fields.text("decision_id", of.decision_id.as_ref());
    fields.text("address", of.address.as_ref());
    fields.put("machine", of.machine);
    let bounce = of.bounce.map(|bounce| match bounce {
        Bounce::Hard => "hard",
        Bounce::Soft => "soft",
        Bounce::Blocked => "blocked",
    });
    fields.put_some("bounce", bounce);
    match &of.opt_out {
        None => {}
        Some(OptOut::All) => fields.put("scope", "all"),
        Some(OptOut::Channel) => fields.put("scope", "channel"),
        Some(OptOut::List(list)) => {
            fields.put("scope", "list");
            fields.put("list", list.as_str());
        }
    }
    fields.text("link", of.link.as_ref());
    fields.text("action", of.action.as_ref());
    fields.text("cart_id", of.cart_id.as_ref());
    fields.text("order_id", of.order_id.as_ref());
    fields.text("reason", of.reason.as_ref());
}

const fn consent(state: Consent) -> &'static str {
    match state {
        Consent::Unknown => "unknown",
        Consent::Pending => "pending",
        Consent::Granted => "granted",
        Consent::Denied => "denied",
    }
}

fn identity(fields: &mut Fields<'_>, of: &Identity) {
    let addresses: Map<String, Value> = of
        .addresses
        .iter()
        .map(|(channel, addresses)| (channel.clone(), addresses.clone().into()))
        .collect();
    fields.put("addresses", addresses);
    let mut consents: Map<String, Value> = Map::new();
    for (channel, list, state) in &of.consents {
        let state = Value::from(consent(*state));
        match list {
            None => drop(consents.insert(channel.clone(), state)),
            Some(list) => {
                let lists = consents
                    .entry(channel.clone())
                    .or_insert_with(|| Map::new().into());
                if let Some(lists) = lists.as_object_mut() {
                    lists.insert(list.clone(), state);
                }
            }
        }
    }
    fields.put("consents", consents);
    fields.text("locale", of.locale.as_ref());
    fields.text("time_zone", of.time_zone.as_ref());
    fields.text("country", of.country.as_ref());
    fields.put_some("vip", of.vip);
    let traits: Map<String, Value> = of
        .traits
        .iter()
        .map(|(name, value)| (name.clone(), trait_value(value)))
        .collect();
    fields.put("traits", traits);
}

fn trait_value(value: &Trait) -> Value {
    match value {
        Trait::Bool(yes) => (*yes).into(),
        Trait::Text(text) => text.as_str().into(),
        Trait::Number(thousandths) if thousandths % 1_000 == 0 => (thousandths / 1_000).into(),
        Trait::Number(thousandths) => Money::from_minor(*thousandths)
            .decimal(3)
            .parse::<f64>()
            .map_or(Value::Null, Value::from),
    }
}

fn consent_change(fields: &mut Fields<'_>, of: &ConsentChange) {
    fields.text("channel", of.channel.as_ref());
    fields.text("list", of.list.as_ref());
    fields.put("state", consent(of.state));
}

fn send_request(fields: &mut Fields<'_>, of: &SendRequest) {
    fields.put("request_id", of.request_id.as_str());
    fields.put("campaign", of.campaign.as_str());
    fields.put("channels", of.channels.clone());
    fields.put("template", of.template.as_str());
    fields.put("class", of.class.name());
    fields.text("list", of.list.as_ref());
    let offer = of.offer.as_ref();
    fields.put_some(
        "offer",
        offer.map(|(id, discount)| serde_json::json!({ "id": id, "discount": discount })),
    );
    fields.time("expires_at", of.expires_at);
    // Was an object when it was decoded.
    let context = of.context.as_deref().map(serde_json::from_str::<Value>);
    fields.put_some("context", context.and_then(Result::ok));
}
