//! The elements of a tensor in JSON, nested as clients nest them.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};

use crate::http::json::Text;

/// Elements in JSON: one text, or levels; in one list or in lists of lists.
#[derive(Default)]
pub(super) struct SentData<'a> {
    pub(super) found: Option<Found<'a>>,
    lists: Lists,
}

pub(super) enum Found<'a> {
    Text(Text<'a>),
    Levels(Vec<u8>),
}

/// How elements are nested.
#[derive(Default)]
struct Lists {
    /// The length of the lists within so many others, those that have ended.
    lengths: Vec<Option<usize>>,
    /// In how many lists the elements are.
    around: Option<usize>,
}

impl Lists {
    fn element<E: Error>(&mut self, around: usize) -> Result<(), E> {
        match *self.around.get_or_insert(around) {
            first if first == around => Ok(()),
            _ => Err(E::custom("elements in fewer lists than others")),
        }
    }

    fn end<E: Error>(&mut self, around: usize, length: usize) -> Result<(), E> {
        if self.lengths.len() <= around {
            self.lengths.resize(around + 1, None);
        }
        match *self.lengths[around].get_or_insert(length) {
            first if first == length => Ok(()),
            first => Err(E::custom(format!("a list of {length} elements beside one of {first}"))),
        }
    }
}

impl SentData<'_> {
    /// The lists' lengths, from the outermost to the innermost.
    pub(super) fn lengths(&self) -> Vec<usize> {
        self.lists.lengths.iter().flatten().copied().collect()
    }
}

/// Whether lists of these lengths hold a tensor of this shape row by row: each is as long as some
/// axes in a row together. One list for all is, and so are lists without the axes of length 1.
pub(super) fn is_nested_as(lengths: &[usize], shape: &[u64]) -> bool {
    let mut axes = shape.iter();
    let held = lengths.iter().all(|&length| {
        let mut elements = 1_u64;
        while elements < length as u64 {
            let Some(axis) = axes.next() else { return false };
            elements = elements.saturating_mul(*axis);
        }
        elements == length as u64
    });
    held && axes.all(|axis| *axis == 1)
}

impl<'de: 'a, 'a> Deserialize<'de> for SentData<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut data = Self::default();
        deserializer.deserialize_any(Gather { data: &mut data, around: 0 })?;
        Ok(data)
    }
}

/// Puts what it meets into the data.
struct Gather<'f, 'a> {
    data: &'f mut SentData<'a>,
    around: usize,
}

impl<'a> Gather<'_, 'a> {
    /// Whether it is within a list. The error has no part of a text that is not.
    fn ensure_list<E: Error>(&self) -> Result<(), E> {
        if self.around == 0 { Err(E::custom("invalid type: data that is no list")) } else { Ok(()) }
    }

    fn text<E: Error>(self, text: Text<'a>) -> Result<(), E> {
        self.ensure_list()?;
        self.data.lists.element(self.around)?;
        match self.data.found.replace(Found::Text(text)) {
            None => Ok(()),
            Some(_) => Err(E::custom("more than one element, or numbers and texts mixed")),
        }
    }
}

impl<'de: 'a, 'a> serde::de::DeserializeSeed<'de> for Gather<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de: 'a, 'a> Visitor<'de> for Gather<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("whole numbers from 0 to 255, or one text in base64")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let mut length = 0;
        while elements.next_element_seed(Gather { data: &mut *self.data, around: self.around + 1 })?.is_some()
        {
            length += 1;
        }
        self.data.lists.end(self.around, length)
    }

    fn visit_u64<E: Error>(self, level: u64) -> Result<(), E> {
        self.ensure_list()?;
        let level = u8::try_from(level)
            .map_err(|_| E::invalid_value(serde::de::Unexpected::Unsigned(level), &self))?;
        self.data.lists.element(self.around)?;
        match self.data.found.get_or_insert_with(|| Found::Levels(Vec::new())) {
            Found::Levels(levels) => {
                levels.push(level);
                Ok(())
            }
            Found::Text(_) => Err(E::custom("numbers and texts mixed")),
        }
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<(), E> {
        self.text(Text::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.text(Text::Owned(text.to_owned()))
    }
}
