//! The traffic of a small shop: orders are placed, paid, shipped, and cancelled or archived, which removes them.
//! Pure and seeded: a seed and the times given always make the same writes.

use std::collections::VecDeque;

use serde_json::{Value, json};

/// The table that the traffic goes to.
pub const TABLE: &str = "orders";

/// Most orders that are alive at a time. It bounds the table, the mirror and the final comparison.
const ORDERS_MAX: usize = 400;

/// Fewest orders before something else than placing another one happens.
const ORDERS_MIN: usize = 12;

const CUSTOMERS: [&str; 8] = ["ada", "björn", "chidi", "dolores", "emeka", "frøya", "grace", "hedy"];
const CITIES: [(&str, &str); 4] =
    [("Berlin", "10115"), ("Lagos", "101233"), ("Zürich", "8001"), ("São Paulo", "01310-100")];
const TAGS: [&str; 5] = ["gift", "express", "fragile", "first-order", "newsletter"];
const CARRIERS: [&str; 3] = ["dhl", "ups", "bicycle"];
/// Stock-keeping unit, title and price in cents.
const GOODS: [(&str, &str, u64); 6] = [
    ("A-77", "Enamel mug", 1290),
    ("B-03", "Field notebook", 745),
    ("C-12", "Wool socks, \"grey\"", 1899),
    ("D-40", "Rain cover", 2499),
    ("E-01", "Tea, 100 g", 680),
    ("F-99", "Pocket knife", 4350),
];

/// One write to the table, as the members of DynamoDB's request of that name.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// `PutItem`
    Put(Value),
    /// `UpdateItem`
    Update(Value),
    /// `DeleteItem`
    Delete(Value),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Placed,
    Paid,
    Shipped,
}

#[derive(Clone, Debug)]
struct Order {
    customer: &'static str,
    number: u64,
    stage: Stage,
}

/// The shop's memory of its orders.
#[derive(Debug)]
pub struct Shop {
    random: fastrand::Rng,
    orders: VecDeque<Order>,
    next_number: u64,
}

impl Shop {
    /// A shop without orders.
    pub fn new(seed: u64) -> Self {
        Self { random: fastrand::Rng::with_seed(seed), orders: VecDeque::new(), next_number: 1001 }
    }

    /// The next write. `now` is a time in text (RFC 3339) that goes into the items.
    pub fn next_write(&mut self, now: &str) -> Write {
        if self.orders.len() >= ORDERS_MAX {
            return self.remove(0);
        }
        if self.orders.len() < ORDERS_MIN || self.random.u8(0..10) < 3 {
            return self.place(now);
        }
        let index = self.random.usize(0..self.orders.len());
        let order = &mut self.orders[index];
        match (order.stage, self.random.u8(0..10)) {
            (Stage::Placed, 0) | (Stage::Shipped, 0..4) => self.remove(index),
            (Stage::Placed, _) => {
                order.stage = Stage::Paid;
                update(
                    order,
                    "SET #s = :s, payment = :p REMOVE reserved_until",
                    json!({":s": {"S": "PAID"}, ":p": {"M": {"at": {"S": now}, "method": {"S": "card"}}}}),
                    Some("status"),
                )
            }
            (Stage::Paid, _) => {
                order.stage = Stage::Shipped;
                let carrier = CARRIERS[self.random.usize(0..CARRIERS.len())];
                let grams = self.random.u32(80..4000);
                update(
                    order,
                    "SET #s = :s, shipment = :c",
                    json!({":s": {"S": "SHIPPED"}, ":c": {"M": {
                        "carrier": {"S": carrier}, "grams": {"N": grams.to_string()}, "at": {"S": now}}}}),
                    Some("status"),
                )
            }
            (Stage::Shipped, _) => {
                let tag = TAGS[self.random.usize(0..TAGS.len())];
                update(order, "ADD tags :t, page_views :one", json!({":t": {"SS": [tag]}, ":one": {"N": "1"}}), None)
            }
        }
    }

    fn place(&mut self, now: &str) -> Write {
        let customer = CUSTOMERS[self.random.usize(0..CUSTOMERS.len())];
        let (city, zip) = CITIES[self.random.usize(0..CITIES.len())];
        let mut total = 0;
        let lines: Vec<Value> = (0..self.random.usize(1..4))
            .map(|_| {
                let (sku, title, cents) = GOODS[self.random.usize(0..GOODS.len())];
                let quantity = self.random.u64(1..4);
                total += cents * quantity;
                json!({"M": {"sku": {"S": sku}, "title": {"S": title}, "quantity": {"N": quantity.to_string()},
                             "price": {"N": euros(cents)}}})
            })
            .collect();
        // Eight letters or digits are base64 of six bytes.
        let receipt: String = (0..8).map(|_| self.random.alphanumeric()).collect();
        let number = self.next_number;
        self.next_number += 1;
        self.orders.push_back(Order { customer, number, stage: Stage::Placed });
        Write::Put(json!({"TableName": TABLE, "Item": {
            "customer": {"S": customer}, "order_no": {"N": number.to_string()},
            "status": {"S": "PLACED"}, "placed_at": {"S": now}, "reserved_until": {"S": now},
            "total": {"N": euros(total)}, "currency": {"S": "EUR"}, "lines": {"L": lines},
            "address": {"M": {"city": {"S": city}, "zip": {"S": zip}}},
            "tags": {"SS": [TAGS[self.random.usize(0..TAGS.len())]]},
            "paper_invoice": {"BOOL": self.random.bool()}, "voucher": {"NULL": true}, "receipt": {"B": receipt},
        }}))
    }

    fn remove(&mut self, index: usize) -> Write {
        let key = self.orders.remove(index).map(|order| key(&order));
        Write::Delete(json!({"TableName": TABLE, "Key": key}))
    }
}

fn key(order: &Order) -> Value {
    json!({"customer": {"S": order.customer}, "order_no": {"N": order.number.to_string()}})
}

/// An update of an order that is still there: somebody else may have deleted it, and an update alone would then make
/// half an order.
fn update(order: &Order, expression: &str, values: Value, reserved_name: Option<&str>) -> Write {
    let mut request = json!({
        "TableName": TABLE, "Key": key(order), "UpdateExpression": expression,
        "ConditionExpression": "attribute_exists(customer)", "ExpressionAttributeValues": values,
    });
    if let Some(name) = reserved_name {
        request["ExpressionAttributeNames"] = json!({"#s": name});
    }
    Write::Update(request)
}

/// An exact amount: cents never pass through a binary fraction.
fn euros(cents: u64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_seed_always_makes_the_same_traffic() {
        let traffic = |seed| {
            let mut shop = Shop::new(seed);
            (0..500).map(|_| shop.next_write("2026-01-01T00:00:00Z")).collect::<Vec<_>>()
        };
        assert_eq!(traffic(7), traffic(7));
        assert_ne!(traffic(7), traffic(8));
    }

    #[test]
    fn orders_live_and_die_and_their_number_is_bounded() {
        let mut shop = Shop::new(1);
        let mut kinds = BTreeMap::new();
        for _ in 0..20_000 {
            let kind = match shop.next_write("2026-01-01T00:00:00Z") {
                Write::Put(request) => request["Item"]["status"]["S"].to_string(),
                Write::Update(request) => request["ExpressionAttributeValues"][":s"]["S"].to_string(),
                Write::Delete(_) => "deleted".into(),
            };
            *kinds.entry(kind).or_insert(0_u32) += 1;
            assert!(shop.orders.len() <= ORDERS_MAX);
        }
        assert_eq!(kinds.len(), 5, "placed, paid, shipped, tagged (no status), deleted: {kinds:?}");
        assert!(kinds.values().all(|count| *count > 500), "{kinds:?}");
    }

    #[test]
    fn amounts_are_exact() {
        assert_eq!([euros(5), euros(1290), euros(100)], ["0.05", "12.90", "1.00"]);
    }
}
