//! A service's records: a bounded table of JSON objects by number, with the fields that each may
//! have. Refuses what has other fields or other types, and more records than fit.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value, json};

/// Most records in one service.
const MAX_RECORDS: usize = 1_000;
/// Longest text in a field, in bytes.
const MAX_TEXT: usize = 200;

/// One field of a record.
struct Field {
    name: &'static str,
    kind: Kind,
}

enum Kind {
    /// Any text, but not none.
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A whole number in this range.
    Number(i64, i64),
}

const fn field(name: &'static str, kind: Kind) -> Field {
    Field { name, kind }
}

static USERS: [Field; 3] = [
    field("name", Kind::Text),
    field("role", Kind::Word(&["admin", "member", "guest"])),
    field("email", Kind::Text),
];
static ORDERS: [Field; 4] = [
    field("user", Kind::Number(1, i64::MAX)),
    field("product", Kind::Number(1, i64::MAX)),
    field("quantity", Kind::Number(1, 1_000)),
    field("status", Kind::Word(&["new", "paid", "shipped", "returned"])),
];
static PRODUCTS: [Field; 3] = [
    field("name", Kind::Text),
    field("price_cents", Kind::Number(0, 100_000_000)),
    field("stock", Kind::Number(0, 1_000_000)),
];
static STATS: [Field; 2] =
    [field("name", Kind::Text), field("value", Kind::Number(i64::MIN, i64::MAX))];

/// Why a record was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Its fields are wrong: how.
    Invalid(String),
    /// The table is full.
    Full,
    /// There is none of this number.
    Missing,
}

/// The table. Several instances may share one.
pub(super) struct Records {
    fields: &'static [Field],
    table: Mutex<Table>,
}

struct Table {
    rows: BTreeMap<u64, Value>,
    next: u64,
}

impl Records {
    /// The table of a service, with a few records in it.
    pub(super) fn seeded(service: &str) -> Self {
        let (fields, seeds): (&'static [Field], Vec<Value>) = match service {
            "users" => (&USERS, users()),
            "orders" => (&ORDERS, orders()),
            "products" => (&PRODUCTS, products()),
            _ => (&STATS, stats()),
        };
        let records = Self { fields, table: Mutex::new(Table { rows: BTreeMap::new(), next: 1 }) };
        for seed in seeds {
            // Seeds are valid: a test holds them to it.
            let _ = records.create(&seed);
        }
        records
    }

    /// The first `limit` records, and how many there are in all.
    pub(super) fn list(&self, limit: usize) -> (Vec<Value>, usize) {
        let table = self.table();
        (table.rows.values().take(limit).cloned().collect(), table.rows.len())
    }

    /// One record.
    pub(super) fn get(&self, id: u64) -> Option<Value> {
        self.table().rows.get(&id).cloned()
    }

    /// Adds a record; the answer is the record with its number.
    pub(super) fn create(&self, value: &Value) -> Result<(u64, Value), Refusal> {
        let fields = self.valid(value)?;
        let mut table = self.table();
        if table.rows.len() >= MAX_RECORDS {
            return Err(Refusal::Full);
        }
        let id = table.next;
        table.next += 1;
        let row = with_id(id, fields);
        table.rows.insert(id, row.clone());
        Ok((id, row))
    }

    /// Puts other fields in a record's place.
    pub(super) fn update(&self, id: u64, value: &Value) -> Result<Value, Refusal> {
        let fields = self.valid(value)?;
        let mut table = self.table();
        let row = table.rows.get_mut(&id).ok_or(Refusal::Missing)?;
        *row = with_id(id, fields);
        Ok(row.clone())
    }

    /// Takes a record away; whether there was one.
    pub(super) fn delete(&self, id: u64) -> bool {
        self.table().rows.remove(&id).is_some()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The record's fields in their own order, `id` apart.
    fn valid(&self, value: &Value) -> Result<Map<String, Value>, Refusal> {
        let invalid = |what: String| Err(Refusal::Invalid(what));
        let Some(given) = value.as_object() else {
            return invalid("a record is a JSON object".to_owned());
        };
        let known = || self.fields.iter().map(|field| field.name).collect::<Vec<_>>().join(", ");
        let stranger = |name: &&String| {
            *name != "id" && self.fields.iter().all(|field| field.name != name.as_str())
        };
        if given.keys().any(|name| stranger(&name)) {
            return invalid(format!("there is a field too many; the fields are {}", known()));
        }
        let mut record = Map::new();
        for field in self.fields {
            let Some(value) = given.get(field.name) else {
                return invalid(format!("`{}` is missing; the fields are {}", field.name, known()));
            };
            if let Err(what) = field.kind.check(value) {
                return invalid(format!("`{}` should be {what}", field.name));
            }
            record.insert(field.name.to_owned(), value.clone());
        }
        Ok(record)
    }
}

fn with_id(id: u64, mut fields: Map<String, Value>) -> Value {
    fields.shift_insert(0, "id".to_owned(), id.into());
    Value::Object(fields)
}

impl Kind {
    /// `Err` says what it should be.
    fn check(&self, value: &Value) -> Result<(), String> {
        let fits = match self {
            Self::Text => value.as_str().is_some_and(|t| (1..=MAX_TEXT).contains(&t.len())),
            Self::Word(words) => value.as_str().is_some_and(|text| words.contains(&text)),
            Self::Number(from, to) => {
                value.as_i64().is_some_and(|number| (*from..=*to).contains(&number))
            }
        };
        if fits {
            return Ok(());
        }
        Err(match self {
            Self::Text => format!("a text of 1 to {MAX_TEXT} bytes"),
            Self::Word(words) => format!("one of {}", words.join(", ")),
            Self::Number(i64::MIN, i64::MAX) => "a whole number".to_owned(),
            Self::Number(from, i64::MAX) => format!("a whole number from {from}"),
            Self::Number(from, to) => format!("a whole number from {from} to {to}"),
        })
    }
}

fn users() -> Vec<Value> {
    let user = |number: u32, role: &str| {
        let email = format!("user-{number}@example.com");
        json!({ "name": format!("user-{number}"), "role": role, "email": email })
    };
    vec![user(1, "admin"), user(2, "member"), user(3, "member"), user(4, "guest")]
}

fn orders() -> Vec<Value> {
    let rows = [(1, 2, 1, "shipped"), (2, 1, 3, "paid"), (2, 4, 12, "new"), (3, 3, 1, "returned")];
    let mut orders = Vec::new();
    for (user, product, quantity, status) in rows {
        orders.push(json!({
            "user": user, "product": product, "quantity": quantity, "status": status,
        }));
    }
    orders
}

fn products() -> Vec<Value> {
    let rows = [
        ("Desk lamp", 3_490, 120),
        ("Office chair", 18_900, 14),
        ("Standing desk", 42_500, 6),
        ("Notebook, A5", 450, 2_300),
    ];
    let mut products = Vec::new();
    for (name, price_cents, stock) in rows {
        products.push(json!({ "name": name, "price_cents": price_cents, "stock": stock }));
    }
    products
}

fn stats() -> Vec<Value> {
    let stat = |name: &str, value: i64| json!({ "name": name, "value": value });
    vec![
        stat("orders_today", 214),
        stat("revenue_cents_today", 1_934_650),
        stat("visitors_now", 57),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_is_valid() {
        for (service, count) in [("users", 4), ("orders", 4), ("products", 4), ("stats", 3)] {
            assert_eq!(Records::seeded(service).list(usize::MAX).1, count, "{service}");
        }
    }

    #[test]
    fn a_full_table_takes_no_more_until_one_goes() {
        let records = Records::seeded("stats");
        let row = json!({ "name": "x", "value": 1 });
        for _ in 3..MAX_RECORDS {
            records.create(&row).unwrap();
        }
        assert_eq!(records.create(&row), Err(Refusal::Full));
        assert!(records.delete(1));
        let (id, _) = records.create(&row).unwrap();
        assert_eq!(id, MAX_RECORDS as u64 + 1, "a number is never given twice");
    }

    #[test]
    fn wrong_fields_are_named() {
        let records = Records::seeded("orders");
        for (row, says) in [
            (json!([]), "object"),
            (json!({}), "`user` is missing"),
            (json!({ "user": 1, "product": 1, "quantity": 0, "status": "new" }), "1 to 1000"),
            (json!({ "user": 1, "product": 1, "quantity": 1.5, "status": "new" }), "`quantity`"),
            (json!({ "user": 1, "product": 1, "quantity": 1, "status": "lost" }), "one of new"),
            (
                json!({ "user": 1, "product": 1, "quantity": 1, "status": "new", "x": 1 }),
                "too many",
            ),
        ] {
            let Err(Refusal::Invalid(what)) = records.create(&row) else { panic!("{row}") };
            assert!(what.contains(says), "{row}: {what}");
        }
    }
}
