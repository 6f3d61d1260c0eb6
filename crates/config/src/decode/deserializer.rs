//! A serde deserializer over one node of the tree.
//!
//! It is strict where serde is lax and lax where the manual is: `off` is `false`, a missing
//! option and zero; `true` is a map of defaults; a scalar in place of a struct is the short form
//! that [`super::forms::short`] lists; unknown keys of a struct are noted and passed over.

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, Visitor};

use super::failure::{Failure, What};
use super::{Decoder, forms};
use crate::source::{NodeId, Shape};

type Result<T> = std::result::Result<T, Failure>;

/// A node being decoded.
#[derive(Clone, Copy)]
pub(super) struct Node<'d, 's> {
    cx: &'d Decoder<'s>,
    id: NodeId,
}

impl<'d, 's> Node<'d, 's> {
    pub(super) fn new(cx: &'d Decoder<'s>, id: NodeId) -> Self {
        Self { cx, id }
    }

    fn shape(&self) -> Shape {
        self.cx.source.tree.shape(self.id)
    }

    fn text(&self) -> Result<&'s str> {
        self.cx.text(self.id).ok_or_else(|| Failure::expected("text"))
    }

    fn pin<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|failure| failure.at(self.id))
    }

    fn list<'de, V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value> {
        visitor.visit_seq(Items { cx: self.cx, items: self.cx.source.tree.items(self.id).iter() })
    }

    fn map<'de, V: Visitor<'de>>(
        &self,
        fields: Option<&'static [&'static str]>,
        visitor: V,
    ) -> Result<V::Value> {
        let pairs = self.cx.source.tree.pairs(self.id).iter();
        visitor.visit_map(Pairs { cx: self.cx, pairs, value: None, fields })
    }

    /// A scalar whose references, if it has any, may stand for a number or a bool.
    fn word(&self) -> Option<&'s str> {
        match self.shape() {
            Shape::Number | Shape::Bool(_) => self.cx.text(self.id),
            Shape::Text if self.cx.source.tree.reference(self.id).is_some() => {
                self.cx.text(self.id)
            }
            _ => None,
        }
    }

    fn any<'de, V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value> {
        match self.shape() {
            Shape::Nothing => visitor.visit_unit(),
            Shape::Bool(on) => visitor.visit_bool(on),
            Shape::Map => self.map(None, visitor),
            Shape::List => self.list(visitor),
            Shape::Text => visitor.visit_str(self.text()?),
            Shape::Number => {
                let text = self.text()?.trim_start_matches('+');
                match (text.parse::<u64>(), text.parse::<i64>(), text.parse::<f64>()) {
                    (Ok(number), ..) => visitor.visit_u64(number),
                    (_, Ok(number), _) => visitor.visit_i64(number),
                    (.., Ok(number)) => visitor.visit_f64(number),
                    _ => visitor.visit_str(text),
                }
            }
        }
    }

    fn unsigned(&self) -> Result<u64> {
        let expected = || Failure::expected("a whole number");
        match self.word() {
            Some("off" | "false") => Ok(0),
            Some(word) => {
                let word = word.strip_prefix('+').unwrap_or(word);
                word.replace('_', "").parse().map_err(|_| expected())
            }
            None => Err(expected()),
        }
    }

    fn signed(&self) -> Result<i64> {
        let number = self.word().and_then(|word| word.parse().ok());
        number.ok_or_else(|| Failure::expected("a whole number"))
    }
}

macro_rules! whole_numbers {
    ($($method:ident $visit:ident $read:ident),*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            self.pin(self.$read().and_then(|number| visitor.$visit(number)))
        }
    )*};
}

impl<'de> Deserializer<'de> for Node<'_, '_> {
    type Error = Failure;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.pin(self.any(visitor))
    }

    whole_numbers! {
        deserialize_u8 visit_u64 unsigned, deserialize_u16 visit_u64 unsigned,
        deserialize_u32 visit_u64 unsigned, deserialize_u64 visit_u64 unsigned,
        deserialize_i8 visit_i64 signed, deserialize_i16 visit_i64 signed,
        deserialize_i32 visit_i64 signed, deserialize_i64 visit_i64 signed
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let number = self.word().and_then(|word| word.parse().ok());
        let number = number.ok_or_else(|| Failure::expected("a number"));
        self.pin(number.and_then(|number| visitor.visit_f64(number)))
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let on = match self.word().or_else(|| self.text().ok()) {
            Some("true" | "on") => Ok(true),
            Some("false" | "off") => Ok(false),
            _ => Err(Failure::expected("`true` or `false`")),
        };
        self.pin(on.and_then(|on| visitor.visit_bool(on)))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        if matches!(self.shape(), Shape::Map | Shape::List | Shape::Nothing) {
            let expected = forms::expecting(&visitor);
            return self.pin(Err(Failure::expected(&expected)));
        }
        self.pin(self.text().and_then(|text| visitor.visit_str(text)))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_str(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.shape() {
            Shape::Nothing | Shape::Bool(false) => self.pin(visitor.visit_none()),
            _ => self.pin(visitor.visit_some(self)),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.pin(match self.shape() {
            Shape::List => self.list(visitor),
            Shape::Bool(false) => visitor.visit_seq(Items { cx: self.cx, items: [].iter() }),
            _ => Err(Failure::expected("a list")),
        })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.pin(match self.shape() {
            Shape::Map => self.map(None, visitor),
            _ => Err(Failure::expected("a map")),
        })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        let short = forms::short(name);
        self.pin(match self.shape() {
            Shape::Map => self.map(Some(fields), visitor),
            Shape::Bool(true) | Shape::Nothing => visitor.visit_map(Pairs::none(self.cx)),
            Shape::List => Err(Failure::expected("a map")),
            _ => match short {
                Some(field) => visitor.visit_map(Short { node: self, field: Some(field) }),
                None => Err(Failure::expected("a map")),
            },
        })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.pin(match self.shape() {
            Shape::Map => match self.cx.source.tree.pairs(self.id) {
                &[(key, value)] => {
                    let variant = Variant { cx: self.cx, key, value: Some(value) };
                    visitor.visit_enum(variant)
                }
                _ => Err(Failure { node: None, what: What::NoneOf(variants) }),
            },
            Shape::List | Shape::Nothing => {
                Err(Failure { node: None, what: What::NoneOf(variants) })
            }
            _ => visitor.visit_enum(Variant { cx: self.cx, key: self.id, value: None }),
        })
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        self.pin(match (name, self.shape()) {
            (forms::WORD, Shape::Number) => self.text().and_then(|text| visitor.visit_str(text)),
            (forms::WORD, _) => self.any(visitor),
            (forms::PATH, Shape::Text | Shape::Number) => self.text().and_then(|text| {
                let tree = &self.cx.source.tree;
                let as_written = tree.reference(self.id).is_some() && text.contains("${");
                if as_written || text == forms::STDOUT {
                    return visitor.visit_str(text);
                }
                let path = self.cx.path(tree.at(self.id), text);
                visitor.visit_string(path.to_string_lossy().into_owned())
            }),
            (forms::PATH, _) => Err(Failure::expected("a file's path")),
            _ => visitor.visit_newtype_struct(self),
        })
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_any(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        i128 u128 bytes byte_buf unit_struct tuple tuple_struct
    }
}

struct Items<'d, 's> {
    cx: &'d Decoder<'s>,
    items: std::slice::Iter<'s, NodeId>,
}

impl<'de> de::SeqAccess<'de> for Items<'_, '_> {
    type Error = Failure;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        for &id in self.items.by_ref() {
            if !self.cx.is_removed(id) {
                return seed.deserialize(Node { cx: self.cx, id }).map(Some);
            }
        }
        Ok(None)
    }
}

struct Pairs<'d, 's> {
    cx: &'d Decoder<'s>,
    pairs: std::slice::Iter<'s, (NodeId, NodeId)>,
    value: Option<NodeId>,
    /// The keys that a struct knows.
    fields: Option<&'static [&'static str]>,
}

impl<'d, 's> Pairs<'d, 's> {
    fn none(cx: &'d Decoder<'s>) -> Self {
        Self { cx, pairs: [].iter(), value: None, fields: None }
    }
}

impl<'de> de::MapAccess<'de> for Pairs<'_, '_> {
    type Error = Failure;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        for &(key, value) in self.pairs.by_ref() {
            if self.cx.is_removed(key) || self.cx.is_removed(value) {
                continue;
            }
            let word = self.cx.source.tree.written(key).unwrap_or_default();
            if let Some(fields) = self.fields
                && !fields.contains(&word)
            {
                self.cx.unknown(key, value, fields);
                continue;
            }
            self.value = Some(value);
            // A key is a word, whatever it looks like.
            let word: StrDeserializer<'_, Failure> = word.into_deserializer();
            return seed.deserialize(word).map(Some).map_err(|failure| failure.at(key));
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value> {
        match self.value.take() {
            Some(id) => seed.deserialize(Node { cx: self.cx, id }),
            None => Err(Failure::custom("a value without a key".into())),
        }
    }
}

/// A scalar that stands for a map with one key.
struct Short<'d, 's> {
    node: Node<'d, 's>,
    field: Option<&'static str>,
}

impl<'de> de::MapAccess<'de> for Short<'_, '_> {
    type Error = Failure;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        let Some(field) = self.field.take() else { return Ok(None) };
        let word: StrDeserializer<'_, Failure> = field.into_deserializer();
        seed.deserialize(word).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value> {
        seed.deserialize(self.node)
    }
}

/// A word, or a map with one key, that chooses a variant.
struct Variant<'d, 's> {
    cx: &'d Decoder<'s>,
    key: NodeId,
    value: Option<NodeId>,
}

impl<'de> de::EnumAccess<'de> for Variant<'_, '_> {
    type Error = Failure;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self)> {
        let text = self.cx.text(self.key).unwrap_or_default();
        // `off` and `false` are the same word everywhere.
        let word = match self.cx.source.tree.shape(self.key) {
            Shape::Bool(false) => "off",
            _ => text,
        };
        let word: StrDeserializer<'_, Failure> = word.into_deserializer();
        let variant = seed.deserialize(word).map_err(|failure| failure.at(self.key))?;
        Ok((variant, self))
    }
}

impl<'de> de::VariantAccess<'de> for Variant<'_, '_> {
    type Error = Failure;

    fn unit_variant(self) -> Result<()> {
        match self.value {
            Some(value) => Err(Failure::custom("this word takes no settings".into()).at(value)),
            None => Ok(()),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value> {
        let word = self.cx.source.tree.written(self.key).unwrap_or_default();
        match self.value {
            Some(id) => seed.deserialize(Node { cx: self.cx, id }),
            None => {
                Err(Failure::custom(format!("`{word}` needs a value: `{{ {word}: … }}`"))
                    .at(self.key))
            }
        }
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value> {
        Err(Failure::expected("a map").at(self.key))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        let Some(id) = self.value else {
            let found = visitor.visit_map(Pairs::none(self.cx));
            return found.map_err(|failure| failure.at(self.key));
        };
        let node = Node { cx: self.cx, id };
        node.pin(match (node.shape(), fields.first()) {
            (Shape::Map, _) => node.map(Some(fields), visitor),
            (Shape::List | Shape::Nothing, _) | (_, None) => Err(Failure::expected("a map")),
            (_, Some(first)) => visitor.visit_map(Short { node, field: Some(first) }),
        })
    }
}
