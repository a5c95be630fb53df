//! A record as it came, before it is checked: every field of product.md §2, borrowed from the record's bytes where that is possible.
//!
//! JSON ([`super::json`]) fills a [`Wire`] while it parses, without a tree in between; Avro ([`super::avro`]) fills the same one.
//! [`super::check`] makes an event of it, so that both formats mean the same. Own fields may stand at the top level or under
//! `properties`; the latter win. Envelope fields stand at the top level only.

use std::borrow::Cow;
use std::fmt;

use super::refusal::Refusal;

/// One value that is neither list nor map.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Scalar<'a> {
    /// Not there, or null.
    #[default]
    Null,
    Bool(bool),
    Int(i64),
    /// Only ever printed (the shortest decimal that reads back) and read as text: no arithmetic.
    Float(f64),
    Text(Cow<'a, str>),
    /// A list or map where a scalar belongs.
    Other,
}

/// Declares the scalar fields once: variant and accepted names.
macro_rules! fields {
    ($($variant:ident = $name:literal $(| $alias:literal)*;)*) => {
        /// A field that holds a scalar. The order is that of [`Wire::scalars`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Field { $($variant,)* }

        impl Field {
            /// Every field.
            pub(super) const ALL: [Self; Self::COUNT] = [$(Self::$variant,)*];
            pub(super) const COUNT: usize = [$(Self::$variant,)*].len();

            /// Name on the wire.
            pub(super) const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }

        impl Key {
            /// Finds out which field a name means; `None` for those that mean nothing to us.
            pub(super) fn parse(name: &str) -> Option<Self> {
                match name {
                    $($name $(| $alias)* => Some(Self::Scalar(Field::$variant)),)*
                    "properties" => Some(Self::Properties),
                    "products" => Some(Self::Products),
                    "channels" => Some(Self::Channels),
                    "addresses" => Some(Self::Addresses),
                    "consents" => Some(Self::Consents),
                    "traits" => Some(Self::Traits),
                    "offer" => Some(Self::Offer),
                    "context" => Some(Self::Context),
                    _ => None,
                }
            }
        }
    };
}

fields! {
    // Of a product. These come first: a `Line` holds only them.
    ProductId = "product_id";
    Sku = "sku";
    GroupId = "group_id";
    Name = "name";
    Category = "category";
    Brand = "brand";
    Quantity = "quantity";
    Price = "price";
    LineId = "line_id";
    Currency = "currency";
    // The envelope.
    EventId = "event_id";
    Type = "type";
    EventTime = "event_time";
    ReceivedAt = "received_at";
    CustomerId = "customer_id";
    AnonymousId = "anonymous_id";
    Source = "source";
    SchemaVersion = "schema_version";
    Test = "test";
    // Own fields of the types.
    CartId = "cart_id";
    OrderId = "order_id";
    Page = "page" | "url";
    Query = "query";
    Rating = "rating";
    Step = "step";
    Coupon = "coupon";
    Channel = "channel";
    Total = "total";
    Discount = "discount";
    Recurring = "recurring";
    Seller = "seller";
    RefundId = "refund_id";
    Reason = "reason";
    DecisionId = "decision_id";
    Address = "address";
    Machine = "machine";
    Bounce = "bounce" | "bounce_type";
    Scope = "scope";
    List = "list";
    All = "all";
    Link = "link";
    Action = "action";
    Locale = "locale";
    TimeZone = "time_zone";
    Country = "country";
    Vip = "vip";
    State = "state";
    TicketId = "ticket_id";
    Score = "score";
    Model = "model";
    Horizon = "horizon";
    Value = "value";
    ValidUntil = "valid_until";
    Into = "into";
    RequestId = "request_id";
    Campaign = "campaign";
    Template = "template";
    Class = "class";
    ExpiresAt = "expires_at";
}

impl Field {
    /// How many fields a [`Line`] has: those before the envelope.
    pub(super) const OF_LINE: usize = Self::EventId as usize;

    /// Stands at the top level only.
    pub(super) const fn is_envelope(self) -> bool {
        self as usize >= Self::EventId as usize && self as usize <= Self::Test as usize
    }
}

/// A name that means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Scalar(Field),
    Properties,
    Products,
    Channels,
    Addresses,
    Consents,
    Traits,
    Offer,
    Context,
}

impl Key {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Scalar(field) => field.name(),
            Self::Properties => "properties",
            Self::Products => "products",
            Self::Channels => "channels",
            Self::Addresses => "addresses",
            Self::Consents => "consents",
            Self::Traits => "traits",
            Self::Offer => "offer",
            Self::Context => "context",
        }
    }
}

/// Where in a record something stands. Names of the contract and numbers only.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    pub(super) key: Option<Key>,
    pub(super) index: Option<usize>,
    pub(super) inner: Option<&'static str>,
}

impl From<Key> for Place {
    fn from(key: Key) -> Self {
        Self {
            key: Some(key),
            index: None,
            inner: None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key.map_or("", Key::name))?;
        if let Some(index) = self.index {
            write!(f, "[{index}]")?;
        }
        match self.inner {
            Some(inner) => write!(f, ".{inner}"),
            None => Ok(()),
        }
    }
}

/// One product of a list.
#[derive(Clone, Debug, Default)]
pub(super) struct Line<'a>(pub(super) [Scalar<'a>; Field::OF_LINE]);

impl<'a> Line<'a> {
    /// The slot of a product's field; `None` for other fields.
    pub(super) fn slot(&mut self, key: Key) -> Option<&mut Scalar<'a>> {
        match key {
            Key::Scalar(field) => self.0.get_mut(field as usize),
            Key::Properties
            | Key::Products
            | Key::Channels
            | Key::Addresses
            | Key::Consents
            | Key::Traits
            | Key::Offer
            | Key::Context => None,
        }
    }
}

/// A value that may be one scalar, several, or some by name.
#[derive(Clone, Debug)]
pub(super) enum Shape<'a> {
    One(Scalar<'a>),
    Many(Vec<Scalar<'a>>),
    Named(Pairs<'a, Scalar<'a>>),
}

/// A map of the wire, in its order.
pub(super) type Pairs<'a, T> = Vec<(Cow<'a, str>, T)>;

/// A whole record.
#[derive(Debug)]
pub(super) struct Wire<'a> {
    pub(super) scalars: [Scalar<'a>; Field::COUNT],
    pub(super) products: Option<Vec<Line<'a>>>,
    pub(super) channels: Option<Shape<'a>>,
    pub(super) addresses: Pairs<'a, Shape<'a>>,
    pub(super) consents: Pairs<'a, Shape<'a>>,
    pub(super) traits: Pairs<'a, Shape<'a>>,
    pub(super) offer: Option<Shape<'a>>,
    /// Compact JSON.
    pub(super) context: Option<String>,
    /// Where the reader stands, for the path of an error.
    pub(super) at: Place,
    /// What is wrong there, when the format itself finds nothing wrong.
    pub(super) problem: Option<Refusal>,
}

impl<'a> Wire<'a> {
    pub(super) fn new() -> Self {
        Self {
            scalars: std::array::from_fn(|_| Scalar::Null),
            products: None,
            channels: None,
            addresses: Vec::new(),
            consents: Vec::new(),
            traits: Vec::new(),
            offer: None,
            context: None,
            at: Place::default(),
            problem: None,
        }
    }

    /// Stores a scalar found at the top level or (`nested`) under `properties`.
    pub(super) fn put(&mut self, field: Field, value: Scalar<'a>, nested: bool) {
        if nested && field.is_envelope() {
            return;
        }
        if let Some(slot) = self.scalars.get_mut(field as usize)
            && (nested || *slot == Scalar::Null)
        {
            *slot = value;
        }
    }
}
