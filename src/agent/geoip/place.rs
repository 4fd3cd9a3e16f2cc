//! What a place database says of an address, in the layouts that are about.
//!
//! - MaxMind's City, Country and Enterprise, and DB-IP's own: nested, names by language.
//! - MaxMind's ASN: `autonomous_system_number`, `autonomous_system_organization`.
//! - flat ones (ip-location-db, IPinfo): `country_code`, `state1`, `timezone`, `asn` …
//!
//! Only what we show is decoded, borrowed from the database.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use crate::event::Value;

/// A field of the part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    City,
    Country,
    Region,
    TimeZone,
    Latitude,
    Longitude,
    Asn,
    AsOrg,
    Continent,
    PostalCode,
    IsEu,
}

impl Field {
    /// The field of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "city" => Field::City,
            "country" => Field::Country,
            "region" => Field::Region,
            "time_zone" => Field::TimeZone,
            "latitude" => Field::Latitude,
            "longitude" => Field::Longitude,
            "asn" => Field::Asn,
            "as_org" => Field::AsOrg,
            "continent" => Field::Continent,
            "postal_code" => Field::PostalCode,
            "is_eu" => Field::IsEu,
            _ => return None,
        })
    }
}

/// An entry of the database. Fields that a database has in another shape than ours are read as absent.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Place<'a> {
    #[serde(borrow)]
    city: Thing<'a>,
    #[serde(borrow)]
    country: Thing<'a>,
    #[serde(borrow)]
    continent: Thing<'a>,
    #[serde(borrow)]
    subdivisions: First<'a>,
    #[serde(borrow)]
    postal: Thing<'a>,
    #[serde(borrow)]
    location: Thing<'a>,
    #[serde(borrow)]
    autonomous_system_number: Thing<'a>,
    #[serde(borrow)]
    autonomous_system_organization: Thing<'a>,
    // Flat layouts.
    #[serde(borrow)]
    country_code: Thing<'a>,
    #[serde(borrow)]
    continent_code: Thing<'a>,
    #[serde(borrow)]
    state1: Thing<'a>,
    #[serde(borrow)]
    region: Thing<'a>,
    #[serde(borrow)]
    timezone: Thing<'a>,
    #[serde(borrow)]
    postcode: Thing<'a>,
    #[serde(borrow)]
    postal_code: Thing<'a>,
    #[serde(borrow)]
    latitude: Thing<'a>,
    #[serde(borrow)]
    longitude: Thing<'a>,
    #[serde(borrow)]
    asn: Thing<'a>,
    #[serde(borrow)]
    as_name: Thing<'a>,
}

impl Place<'_> {
    /// The values of these fields.
    pub fn values(&self, fields: &[Option<Field>]) -> Vec<Value> {
        fields.iter().map(|field| field.map_or(Value::Null, |field| self.value(field))).collect()
    }

    fn value(&self, field: Field) -> Value {
        let text = |choices: &[Option<&str>]| {
            choices.iter().copied().flatten().find(|text| !text.is_empty()).map_or(Value::Null, Value::text)
        };
        match field {
            Field::City => text(&[self.city.name, self.city.bare]),
            Field::Country => text(&[self.country.code, self.country_code.bare, self.country.bare]),
            Field::Region => {
                text(&[self.subdivisions.0.code, self.subdivisions.0.name, self.state1.bare, self.region.bare])
            }
            Field::TimeZone => text(&[self.location.time_zone, self.timezone.bare]),
            Field::Latitude => self.location.latitude.or(self.latitude.number).into(),
            Field::Longitude => self.location.longitude.or(self.longitude.number).into(),
            Field::Asn => {
                let written = self.asn.bare.and_then(|asn| asn.trim_start_matches("AS").parse().ok());
                let number = self.autonomous_system_number.number.or(self.asn.number).or(written);
                number.map_or(Value::Null, |number| Value::Int(number as i64))
            }
            Field::AsOrg => text(&[self.autonomous_system_organization.bare, self.as_name.bare]),
            Field::Continent => text(&[self.continent.code, self.continent_code.bare, self.continent.bare]),
            Field::PostalCode => text(&[self.postal.code, self.postcode.bare, self.postal_code.bare]),
            // MaxMind writes the flag only where it is true.
            Field::IsEu => match self.country.code {
                Some(_) => Value::Bool(self.country.eu),
                None => Value::Null,
            },
        }
    }
}

/// Whatever stands under a name: bare text, a number, or a map of which we know some keys.
#[derive(Debug, Default, PartialEq, Clone, Copy)]
struct Thing<'a> {
    bare: Option<&'a str>,
    number: Option<f64>,
    code: Option<&'a str>,
    /// In English.
    name: Option<&'a str>,
    eu: bool,
    time_zone: Option<&'a str>,
    latitude: Option<f64>,
    longitude: Option<f64>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Thing<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Thing<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a number or a map")
            }
            fn visit_borrowed_str<E: serde::de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Thing { bare: Some(text), ..Thing::default() })
            }
            // A text that cannot be borrowed has no place here (JSON with escapes, in tests).
            fn visit_str<E: serde::de::Error>(self, _text: &str) -> Result<Self::Value, E> {
                Ok(Thing::default())
            }
            fn visit_bool<E: serde::de::Error>(self, flag: bool) -> Result<Self::Value, E> {
                Ok(Thing { eu: flag, ..Thing::default() })
            }
            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Self::Value, E> {
                self.visit_f64(number as f64)
            }
            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Self::Value, E> {
                self.visit_f64(number as f64)
            }
            fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Self::Value, E> {
                Ok(Thing { number: Some(number), ..Thing::default() })
            }
            fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
                Ok(Thing::default())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Thing::default())
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut thing = Thing::default();
                while let Some(key) = map.next_key::<&'de str>()? {
                    match key {
                        "iso_code" | "code" => thing.code = map.next_value::<Thing<'de>>()?.bare,
                        "en" | "name" => thing.name = map.next_value::<Thing<'de>>()?.bare,
                        // {"names": {"en": …}}
                        "names" => thing.name = map.next_value::<Thing<'de>>()?.name,
                        "is_in_european_union" => thing.eu = map.next_value::<Thing<'de>>()?.eu,
                        "time_zone" => thing.time_zone = map.next_value::<Thing<'de>>()?.bare,
                        "latitude" => thing.latitude = map.next_value::<Thing<'de>>()?.number,
                        "longitude" => thing.longitude = map.next_value::<Thing<'de>>()?.number,
                        _ => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(thing)
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// The first of a list: of subdivisions the largest.
#[derive(Debug, Default, PartialEq)]
struct First<'a>(Thing<'a>);

impl<'de: 'a, 'a> Deserialize<'de> for First<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = First<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let first = items.next_element::<Thing<'de>>()?.unwrap_or_default();
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(First(first))
            }
        }
        deserializer.deserialize_seq(List)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(json: &str, fields: &[&str]) -> Vec<String> {
        let place: Place<'_> = serde_json::from_str(json).unwrap();
        let fields: Vec<_> = fields.iter().map(|name| Some(Field::from_name(name).unwrap())).collect();
        place.values(&fields).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn flat_layouts_are_read() {
        let dbip = r#"{"city":"Berlin","country_code":"DE","latitude":52.5,"longitude":13,"postcode":"10115","state1":"Berlin","state2":"","timezone":"Europe/Berlin"}"#;
        let fields = ["city", "country", "region", "time_zone", "latitude", "longitude", "postal_code", "is_eu"];
        assert_eq!(shown(dbip, &fields), ["Berlin", "DE", "Berlin", "Europe/Berlin", "52.5", "13", "10115", ""]);
        let ipinfo = r#"{"asn":"AS15169","as_name":"Google LLC","continent":"North America","continent_code":"NA","country":"United States","country_code":"US"}"#;
        assert_eq!(shown(ipinfo, &["asn", "as_org", "continent", "country"]), ["15169", "Google LLC", "NA", "US"]);
    }

    #[test]
    fn what_is_empty_or_of_another_shape_is_absent() {
        let odd = r#"{"city":"","country":["x"],"location":7,"traits":{"a":[{"b":1}]},"postal":null}"#;
        assert_eq!(shown(odd, &["city", "country", "latitude", "postal_code"]), ["", "", "", ""]);
    }
}
