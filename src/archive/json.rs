//! JSON as image tools read it, but stricter.
//!
//! Keys are found without regard to case, as Go's readers find them, and `null` counts as absent. Two keys that mean the
//! same are refused: readers disagree on which of them holds.

use std::cell::Cell;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Why a document is not what its place asks for.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub(super) struct Malformed(String);

type Result<T> = std::result::Result<T, Malformed>;

/// An object whose keys are looked up as Go does.
#[derive(Debug, Clone, Copy)]
pub(super) struct Object<'a>(&'a Map<String, Value>);

impl Malformed {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// More values than the index of a thousand images has. The smallest take two bytes of text and a hundred of memory.
const MOST_VALUES: usize = 200_000;

/// Reads one JSON document; a key that occurs twice in an object is an error.
pub(super) fn parse(text: &[u8]) -> Result<Value> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let left = Cell::new(MOST_VALUES);
    let value = Strict(&left).deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    value.map_err(|e| Malformed(format!("not JSON: {e}")))
}

impl<'a> Object<'a> {
    /// Takes `value` for an object.
    pub(super) fn of(value: &'a Value) -> Result<Self> {
        value.as_object().map(Self).ok_or_else(|| Malformed("not a JSON object".into()))
    }

    /// Returns the value of `key`, unless it is absent or null.
    pub(super) fn get(&self, key: &str) -> Result<Option<&'a Value>> {
        let mut found = self.0.iter().filter(|(name, _)| name.eq_ignore_ascii_case(key));
        let first = found.next();
        if found.next().is_some() {
            return Err(Malformed(format!("'{key}' is given twice")));
        }
        Ok(first.map(|(_, value)| value).filter(|value| !value.is_null()))
    }

    /// Returns the string `key`.
    pub(super) fn text(&self, key: &str) -> Result<Option<&'a str>> {
        let text =
            |value: &'a Value| value.as_str().ok_or_else(|| Malformed(format!("'{key}' is no string")));
        self.get(key)?.map(text).transpose()
    }

    /// Returns the whole, not negative number `key`.
    pub(super) fn number(&self, key: &str) -> Result<Option<u64>> {
        let number = |value: &Value| {
            value.as_u64().ok_or_else(|| Malformed(format!("'{key}' is {value}, not a whole number from 0")))
        };
        self.get(key)?.map(number).transpose()
    }

    /// Returns the object `key`.
    pub(super) fn object(&self, key: &str) -> Result<Option<Self>> {
        let object =
            |value: &'a Value| Self::of(value).map_err(|_| Malformed(format!("'{key}' is no JSON object")));
        self.get(key)?.map(object).transpose()
    }

    /// Returns the items of the list `key`; none where it is absent or null.
    pub(super) fn list(&self, key: &str) -> Result<&'a [Value]> {
        match self.get(key)? {
            None => Ok(&[]),
            Some(Value::Array(items)) => Ok(items),
            Some(_) => Err(Malformed(format!("'{key}' is no list"))),
        }
    }

    /// Returns the strings of the list `key`; none where it is absent or null.
    pub(super) fn texts(&self, key: &str) -> Result<Vec<&'a str>> {
        let text = |value: &'a Value| {
            value.as_str().ok_or_else(|| Malformed(format!("'{key}' has an item that is no string")))
        };
        self.list(key)?.iter().map(text).collect()
    }
}

/// Builds a [`Value`] as serde_json does, but for duplicate keys, of which that one keeps the last without a word, and for the
/// number of values, which it counts down.
#[derive(Clone, Copy)]
struct Strict<'a>(&'a Cell<usize>);

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> std::result::Result<Value, D::Error> {
        let left = self.0.get().checked_sub(1);
        self.0.set(left.ok_or_else(|| de::Error::custom(format_args!("more than {MOST_VALUES} values")))?);
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> std::result::Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> std::result::Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> std::result::Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> std::result::Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> std::result::Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> std::result::Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> std::result::Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> std::result::Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if map.contains_key(&key) {
                return Err(de::Error::custom(format_args!("'{}' is given twice", key.escape_debug())));
            }
            map.insert(key, entries.next_value_seed(self)?);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        parse(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn finds_keys_without_regard_to_case() {
        let value = parse(br#"{"rEpoTags": ["a", "b"], "Size": 3, "nothing": null}"#).unwrap();
        let object = Object::of(&value).unwrap();
        assert_eq!(object.texts("RepoTags"), Ok(vec!["a", "b"]));
        assert_eq!(object.number("size"), Ok(Some(3)));
        assert_eq!(object.text("Nothing"), Ok(None));
        assert_eq!(object.texts("nothing"), Ok(vec![]));
        assert_eq!(object.texts("absent"), Ok(vec![]));
    }

    #[test]
    fn refuses_a_key_that_is_given_twice() {
        assert_eq!(refused(r#"{"a": {"b": 1, "b": 1}}"#), "not JSON: 'b' is given twice at line 1 column 18");
        let value = parse(br#"{"Layers": [], "layers": []}"#).unwrap();
        assert_eq!(
            Object::of(&value).unwrap().list("layers").unwrap_err().to_string(),
            "'layers' is given twice"
        );
    }

    #[test]
    fn labels_that_differ_in_case_are_two_labels() {
        assert!(parse(br#"{"Labels": {"version": "1", "Version": "2"}}"#).is_ok());
    }

    #[test]
    fn refuses_values_of_another_type() {
        let value = parse(br#"{"size": -1, "list": "x", "text": []}"#).unwrap();
        let object = Object::of(&value).unwrap();
        assert_eq!(object.number("size").unwrap_err().to_string(), "'size' is -1, not a whole number from 0");
        assert_eq!(object.list("list").unwrap_err().to_string(), "'list' is no list");
        assert_eq!(object.text("text").unwrap_err().to_string(), "'text' is no string");
        assert_eq!(Object::of(&Value::Null).unwrap_err().to_string(), "not a JSON object");
    }

    #[test]
    fn refuses_more_values_than_any_document_has() {
        let list = |count: usize| format!("[{}]", vec!["0"; count].join(","));
        assert!(parse(list(MOST_VALUES - 1).as_bytes()).is_ok());
        let reason = refused(&list(MOST_VALUES));
        assert!(reason.starts_with("not JSON: more than 200000 values at line 1 "), "{reason}");
    }

    #[test]
    fn refuses_what_follows_the_document() {
        assert_eq!(refused("{} {}"), "not JSON: trailing characters at line 1 column 4");
    }
}
