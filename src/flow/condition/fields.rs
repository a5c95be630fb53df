//! The fields that a condition may use: name, type, where the value comes from.

use super::plan::{Gap, Sight, Value};
use crate::event::{Body, Event, EventType, Order, Product, SalesChannel};
use crate::profile::person::TraitValue;
use crate::value::{Money, Span, Timestamp};

/// Type of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Whole,
    /// A decimal number; money is in major units.
    Decimal,
    /// A text.
    Text,
    /// A trait: known only when it is read.
    Any,
}

impl Type {
    /// For people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bool => "true or false",
            Self::Whole => "a whole number",
            Self::Decimal => "a decimal number",
            Self::Text => "text",
            Self::Any => "a trait",
        }
    }
    /// Can it be counted with?
    #[must_use]
    pub const fn is_number(self) -> bool {
        match self {
            Self::Whole | Self::Decimal | Self::Any => true,
            Self::Bool | Self::Text => false,
        }
    }
}

/// Where the value of a field comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// What is known of the customer.
    Profile,
    /// The cart that the instance or the event is about.
    Cart,
    /// Every event.
    Event,
    /// Events that carry an order.
    Order,
    /// Events that are about one product.
    Product,
    /// `feedback_given`.
    Feedback,
}

impl Origin {
    /// Does an event of this type carry it? Profile and cart are always at hand.
    #[must_use]
    pub const fn is_told_by(self, event: EventType) -> bool {
        match self {
            Self::Profile | Self::Cart | Self::Event => true,
            Self::Order => matches!(event, EventType::OrderCompleted | EventType::OrderUpdated),
            Self::Product => matches!(
                event,
                EventType::ProductViewed
                    | EventType::ProductAdded
                    | EventType::ProductRemoved
                    | EventType::ProductAddedToWishlist
                    | EventType::ProductReviewed
            ),
            Self::Feedback => matches!(event, EventType::FeedbackGiven),
        }
    }

    /// Does it need an event at hand?
    #[must_use]
    pub const fn is_of_event(self) -> bool {
        match self {
            Self::Profile | Self::Cart => false,
            Self::Event | Self::Order | Self::Product | Self::Feedback => true,
        }
    }
}

/// Declares the fields once: variant, name, type, origin.
macro_rules! fields {
    ($($(#[doc = $doc:literal])* $variant:ident = $name:literal, $type:ident, $origin:ident;)*) => {
        /// A field with a name of its own (traits have none).
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Field { $($(#[doc = $doc])* $variant,)* }

        impl Field {
            /// Every field.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// As written in a condition.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
            /// Its type.
            #[must_use]
            pub const fn of_type(self) -> Type {
                match self { $(Self::$variant => Type::$type,)* }
            }
            /// Where its value comes from.
            #[must_use]
            pub const fn origin(self) -> Origin {
                match self { $(Self::$variant => Origin::$origin,)* }
            }
            /// Reads the name.
            #[must_use]
            pub fn parse(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

fields! {
    /// Sum of the cart.
    CartValue = "cart.value", Decimal, Cart;
    /// Pieces in the cart.
    CartItems = "cart.items", Whole, Cart;
    /// Different products in the cart.
    CartProducts = "cart.products", Whole, Cart;
    /// A very important customer; `false` when nobody said so.
    ProfileVip = "profile.vip", Bool, Profile;
    /// BCP 47, as told.
    ProfileLocale = "profile.locale", Text, Profile;
    /// ISO 3166 alpha-2, upper case.
    ProfileCountry = "profile.country", Text, Profile;
    /// IANA name.
    ProfileTimeZone = "profile.time_zone", Text, Profile;
    /// A test customer.
    ProfileTest = "profile.test", Bool, Profile;
    /// Own orders that are remembered, cancelled ones not.
    ProfileOrders = "profile.orders", Whole, Profile;
    /// Sum of those orders.
    ProfileOrderValue = "profile.order_value", Decimal, Profile;
    /// Whole days since the last of them.
    ProfileLastOrderDays = "profile.last_order_days", Whole, Profile;
    /// Whole days since the customer was last seen in the shop.
    ProfileLastVisitDays = "profile.last_visit_days", Whole, Profile;
    /// Whole days since they last opened or clicked a message.
    ProfileLastEngagedDays = "profile.last_engaged_days", Whole, Profile;
    /// Product views ever.
    ProfileViews = "profile.views", Whole, Profile;
    /// Type of the event.
    EventType = "event.type", Text, Event;
    /// Who reported it.
    EventSource = "event.source", Text, Event;
    /// Sum of the order.
    OrderTotal = "order.total", Decimal, Order;
    /// What was taken off.
    OrderDiscount = "order.discount", Decimal, Order;
    /// Pieces in the order.
    OrderItems = "order.items", Whole, Order;
    /// Lines of the order.
    OrderProducts = "order.products", Whole, Order;
    /// A subscription's delivery.
    OrderRecurring = "order.recurring", Bool, Order;
    /// `online` or `offline`.
    OrderChannel = "order.channel", Text, Order;
    /// The coupon used.
    OrderCoupon = "order.coupon", Text, Order;
    /// The product's id.
    ProductId = "product.id", Text, Product;
    /// Price of one.
    ProductPrice = "product.price", Decimal, Product;
    /// Path `a/b/c`.
    ProductCategory = "product.category", Text, Product;
    /// The brand.
    ProductBrand = "product.brand", Text, Product;
    /// How many.
    ProductQuantity = "product.quantity", Whole, Product;
    /// 0 to 10.
    FeedbackScore = "feedback.score", Whole, Feedback;
}

impl Field {
    /// The only values that this text field can have, if they are a closed set.
    pub(super) fn values(self) -> Vec<&'static str> {
        match self {
            Self::EventType => EventType::ALL.iter().map(|event| event.name()).collect(),
            Self::OrderChannel => vec!["online", "offline"],
            Self::CartValue
            | Self::CartItems
            | Self::CartProducts
            | Self::ProfileVip
            | Self::ProfileLocale
            | Self::ProfileCountry
            | Self::ProfileTimeZone
            | Self::ProfileTest
            | Self::ProfileOrders
            | Self::ProfileOrderValue
            | Self::ProfileLastOrderDays
            | Self::ProfileLastVisitDays
            | Self::ProfileLastEngagedDays
            | Self::ProfileViews
            | Self::EventSource
            | Self::OrderTotal
            | Self::OrderDiscount
            | Self::OrderItems
            | Self::OrderProducts
            | Self::OrderRecurring
            | Self::OrderCoupon
            | Self::ProductId
            | Self::ProductPrice
            | Self::ProductCategory
            | Self::ProductBrand
            | Self::ProductQuantity
            | Self::FeedbackScore => Vec::new(),
        }
    }
}

/// The order that an event carries.
const fn order(event: &Event) -> Option<&Order> {
    match &event.body {
        Body::Order(order) => Some(order),
        Body::Browse(_)
        | Body::CartLine(_)
        | Body::CartSnapshot(_)
        | Body::Checkout(_)
        | Body::OrderStatus(_)
        | Body::Refund(_)
        | Body::Receipt(_)
        | Body::Identity(_)
        | Body::Consent(_)
        | Body::Ticket(_)
        | Body::Feedback(_)
        | Body::Score(_)
        | Body::Merge(_)
        | Body::Erasure
        | Body::SendRequest(_) => None,
    }
}

/// The one product that an event is about.
const fn product(event: &Event) -> Option<&Product> {
    match &event.body {
        Body::CartLine(line) => Some(&line.product),
        Body::Browse(browse) => browse.product.as_ref(),
        Body::CartSnapshot(_)
        | Body::Checkout(_)
        | Body::Order(_)
        | Body::OrderStatus(_)
        | Body::Refund(_)
        | Body::Receipt(_)
        | Body::Identity(_)
        | Body::Consent(_)
        | Body::Ticket(_)
        | Body::Feedback(_)
        | Body::Score(_)
        | Body::Merge(_)
        | Body::Erasure
        | Body::SendRequest(_) => None,
    }
}

/// The score that an event carries.
const fn feedback_score(event: &Event) -> Option<u32> {
    match &event.body {
        Body::Feedback(feedback) => Some(feedback.score),
        Body::Browse(_)
        | Body::CartLine(_)
        | Body::CartSnapshot(_)
        | Body::Checkout(_)
        | Body::Order(_)
        | Body::OrderStatus(_)
        | Body::Refund(_)
        | Body::Receipt(_)
        | Body::Identity(_)
        | Body::Consent(_)
        | Body::Ticket(_)
        | Body::Score(_)
        | Body::Merge(_)
        | Body::Erasure
        | Body::SendRequest(_) => None,
    }
}

/// The value of a field.
pub(super) fn read<'a>(field: Field, sight: &Sight<'a>) -> Result<Value<'a>, Gap> {
    let scope = sight.scope;
    let money = |amount: Money| Value::Decimal(i128::from(amount.minor()) * sight.minor_unit);
    let whole = |number: u32| Value::Whole(i64::from(number));
    let many = |number: u64| {
        i64::try_from(number)
            .map(Value::Whole)
            .map_err(|_| Gap::Missing)
    };
    let cart = scope.cart.ok_or(Gap::Missing);
    let person = &scope.profile.person;
    let event = scope.event.ok_or(Gap::NoEvent);
    let order = || event.and_then(|event| order(event).ok_or(Gap::Missing));
    let product = || event.and_then(|event| product(event).ok_or(Gap::Missing));
    match field {
        Field::CartValue => Ok(money(cart?.value())),
        Field::CartItems => many(cart?.count()),
        Field::CartProducts => count(cart?.items().count()),
        Field::ProfileVip => Ok(Value::Bool(person.vip())),
        Field::ProfileLocale => text(person.locale()),
        Field::ProfileCountry => text(person.country()),
        Field::ProfileTimeZone => text(person.time_zone()),
        Field::ProfileTest => Ok(Value::Bool(person.test)),
        Field::ProfileOrders => {
            let totals = scope.profile.orders.totals();
            many(totals.orders.saturating_sub(totals.cancelled))
        }
        Field::ProfileOrderValue => {
            let totals = scope.profile.orders.totals();
            Ok(money(totals.money.minus(totals.cancelled_money)))
        }
        Field::ProfileLastOrderDays => days_since(
            scope.profile.orders.last().map(|order| order.placed_at),
            scope.now,
        ),
        Field::ProfileLastVisitDays => days_since(scope.profile.activity.last_visit, scope.now),
        Field::ProfileLastEngagedDays => days_since(scope.profile.activity.last_engaged, scope.now),
        Field::ProfileViews => many(scope.profile.activity.views),
        Field::EventType => Ok(Value::Text(event?.kind.name())),
        Field::EventSource => Ok(Value::Text(&event?.source)),
        Field::OrderTotal => order()?.total.map(money).ok_or(Gap::Missing),
        Field::OrderDiscount => order()?.discount.map(money).ok_or(Gap::Missing),
        Field::OrderItems => Ok(Value::Whole(
            order()?
                .products
                .iter()
                .map(|line| i64::from(line.quantity))
                .sum(),
        )),
        Field::OrderProducts => count(order()?.products.len()),
        Field::OrderRecurring => Ok(Value::Bool(order()?.recurring)),
        Field::OrderChannel => Ok(Value::Text(match order()?.channel {
            SalesChannel::Online => "online",
            SalesChannel::Offline => "offline",
        })),
        Field::OrderCoupon => text(order()?.coupon.as_deref()),
        Field::ProductId => Ok(Value::Text(&product()?.product_id)),
        Field::ProductPrice => product()?.price.map(money).ok_or(Gap::Missing),
        Field::ProductCategory => text(product()?.category.as_deref()),
        Field::ProductBrand => text(product()?.brand.as_deref()),
        Field::ProductQuantity => Ok(whole(product()?.quantity)),
        Field::FeedbackScore => feedback_score(event?).map(whole).ok_or(Gap::Missing),
    }
}

fn text(value: Option<&str>) -> Result<Value<'_>, Gap> {
    value.map(Value::Text).ok_or(Gap::Missing)
}

fn count<'a>(number: usize) -> Result<Value<'a>, Gap> {
    i64::try_from(number)
        .map(Value::Whole)
        .map_err(|_| Gap::Missing)
}

/// Whole days of 24 hours from `then` to `now`; a time in the future counts as now.
fn days_since<'a>(then: Option<Timestamp>, now: Timestamp) -> Result<Value<'a>, Gap> {
    let day = Span::from_days(1).millis();
    then.map(|then| Value::Whole(now.since(then).millis().max(0) / day))
        .ok_or(Gap::Missing)
}

/// The value of a trait.
pub(super) fn read_trait<'a>(name: &str, sight: &Sight<'a>) -> Result<Value<'a>, Gap> {
    match sight.scope.profile.person.trait_value(name) {
        Some(TraitValue::Bool(truth)) => Ok(Value::Bool(*truth)),
        // Kept in thousandths.
        Some(TraitValue::Number(number)) => Ok(Value::Decimal(i128::from(*number) * 1_000)),
        Some(TraitValue::Text(text)) => Ok(Value::Text(text)),
        None => Err(Gap::Missing),
    }
}
