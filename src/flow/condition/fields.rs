//! The fields that a condition may use: name, type, where the value comes from.

use crate::event::EventType;
use crate::profile::rhythm::WEEKDAYS;
use crate::profile::worth::WinbackReason;

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
    /// The product that the instance or the event is about, as this customer uses it up.
    Supply,
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
    /// Does an event of this type carry it? What is of no event is not asked.
    #[must_use]
    pub const fn is_told_by(self, event: EventType) -> bool {
        match self {
            Self::Profile | Self::Cart | Self::Supply | Self::Event => true,
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
            Self::Profile | Self::Cart | Self::Supply => false,
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
            /// What it is, for people.
            #[must_use]
            pub const fn about(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),*),)* }
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
    /// Whole days since the first order.
    ProfileLifetimeDays = "profile.lifetime_days", Whole, Profile;
    /// Bought exactly once.
    ProfileOneTime = "profile.one_time", Bool, Profile;
    /// RFM: how lately they bought, 1 to 5 by the policy's bands.
    ProfileRfmRecency = "profile.rfm_recency", Whole, Profile;
    /// RFM: how often, 1 to 5.
    ProfileRfmFrequency = "profile.rfm_frequency", Whole, Profile;
    /// RFM: for how much, 1 to 5.
    ProfileRfmMoney = "profile.rfm_money", Whole, Profile;
    /// Mean days between two days with an order.
    ProfileOrderIntervalDays = "profile.order_interval_days", Decimal, Profile;
    /// Days since the last order ÷ the customer's mean interval: 1.0 is when the next is due.
    ProfileRecencyRatio = "profile.recency_ratio", Decimal, Profile;
    /// `weekday`, `interval` or `irregular`.
    ProfileRhythm = "profile.rhythm", Text, Profile;
    /// The usual weekday (`saturday`) of a customer whose rhythm it is.
    ProfileOrderWeekday = "profile.order_weekday", Text, Profile;
    /// Whole days until the next order is expected by the customer's rhythm; negative when it is overdue.
    ProfileExpectedOrderDays = "profile.expected_order_days", Whole, Profile;
    /// The expected day passed by more than the rhythm's tolerance.
    ProfileCadenceBroken = "profile.cadence_broken", Bool, Profile;
    /// The product that stands in most orders.
    ProfileUsualProduct = "profile.usual_product", Text, Profile;
    /// Share of the remembered orders with a discount or coupon, 0.0 to 1.0.
    ProfileDiscountShare = "profile.discount_share", Decimal, Profile;
    /// Two orders or more, all of them discounted.
    ProfileDiscountOnly = "profile.discount_only", Bool, Profile;
    /// Only ever bought in the policy's peak seasons.
    ProfilePeakOnly = "profile.peak_only", Bool, Profile;
    /// Refunds ever.
    ProfileReturns = "profile.returns", Whole, Profile;
    /// Share of the money paid that was paid back, 0.0 to 1.0.
    ProfileReturnShare = "profile.return_share", Decimal, Profile;
    /// Whole days since the last refund.
    ProfileLastReturnDays = "profile.last_return_days", Whole, Profile;
    /// Tickets that are open.
    ProfileOpenTickets = "profile.open_tickets", Whole, Profile;
    /// Whole days since a ticket was last opened.
    ProfileLastTicketDays = "profile.last_ticket_days", Whole, Profile;
    /// The last answer to a question for feedback, 0 to 10.
    ProfileFeedback = "profile.feedback", Whole, Profile;
    /// An open ticket, or a complaint, unhappy answer or settled ticket lately (`policy.norms.negative_experience`).
    ProfileNegativeExperience = "profile.negative_experience", Bool, Profile;
    /// Why the customer stays away: `complaint`, `return`, `peak_only`, `discount_only`, `one_time` or `cadence_broken`.
    ProfileWinbackReason = "profile.winback_reason", Text, Profile;
    /// Days that one unit of the product lasts this customer.
    SupplyDaysPerUnit = "supply.days_per_unit", Decimal, Supply;
    /// Whole days until what they have is used up; negative when it is.
    SupplyDaysLeft = "supply.days_left", Whole, Supply;
    /// Purchases of it among the remembered orders.
    SupplyPurchases = "supply.purchases", Whole, Supply;
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
    /// Does its value change while nothing happens?
    #[must_use]
    pub const fn moves_with_time(self) -> bool {
        matches!(
            self,
            Self::ProfileLastOrderDays
                | Self::ProfileLastVisitDays
                | Self::ProfileLastEngagedDays
                | Self::ProfileLifetimeDays
                | Self::ProfileRfmRecency
                | Self::ProfileRecencyRatio
                | Self::ProfileExpectedOrderDays
                | Self::ProfileCadenceBroken
                | Self::ProfileLastReturnDays
                | Self::ProfileLastTicketDays
                | Self::ProfileNegativeExperience
                | Self::ProfileWinbackReason
                | Self::SupplyDaysLeft
        )
    }

    /// The only values that this text field can have, if they are a closed set.
    pub(crate) fn values(self) -> Vec<&'static str> {
        match self {
            Self::EventType => EventType::ALL.iter().map(|event| event.name()).collect(),
            Self::OrderChannel => vec!["online", "offline"],
            Self::ProfileRhythm => vec!["irregular", "interval", "weekday"],
            Self::ProfileWinbackReason => WinbackReason::ALL.map(WinbackReason::name).to_vec(),
            Self::ProfileOrderWeekday => WEEKDAYS.to_vec(),
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
            | Self::ProfileLifetimeDays
            | Self::ProfileOneTime
            | Self::ProfileRfmRecency
            | Self::ProfileRfmFrequency
            | Self::ProfileRfmMoney
            | Self::ProfileOrderIntervalDays
            | Self::ProfileRecencyRatio
            | Self::ProfileExpectedOrderDays
            | Self::ProfileCadenceBroken
            | Self::ProfileUsualProduct
            | Self::ProfileDiscountShare
            | Self::ProfileDiscountOnly
            | Self::ProfilePeakOnly
            | Self::ProfileReturns
            | Self::ProfileReturnShare
            | Self::ProfileLastReturnDays
            | Self::ProfileOpenTickets
            | Self::ProfileLastTicketDays
            | Self::ProfileFeedback
            | Self::ProfileNegativeExperience
            | Self::SupplyDaysPerUnit
            | Self::SupplyDaysLeft
            | Self::SupplyPurchases
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
