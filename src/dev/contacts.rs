//! The stub CRM's people: each contact a function of its number, the same in every run and process.

/// One contact. All of it made up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    pub number: u64,
    pub first_name: &'static str,
    pub last_name: &'static str,
    pub company: &'static str,
    /// `enterprise`, `mid`, `small`, or none.
    pub segment: Option<&'static str>,
    pub lifecycle: &'static str,
    pub country: &'static str,
    pub employees: u64,
}

const FIRST: &[&str] = &[
    "Ada", "Aisha", "Bruno", "Chloe", "Daniel", "Elena", "Farid", "Grace", "Hana", "Igor", "Jonas", "Kofi", "Lena",
    "Mateo", "Nadia", "Omar", "Priya", "Quentin", "Rosa", "Sven", "Tomas", "Uma", "Vera", "Wei", "Yara", "Zoe",
];
const LAST: &[&str] = &[
    "Abbott",
    "Bauer",
    "Castillo",
    "Dubois",
    "Eriksson",
    "Fischer",
    "Garcia",
    "Hughes",
    "Ito",
    "Jensen",
    "Kowalski",
    "Lindqvist",
    "Martin",
    "Novak",
    "Okafor",
    "Patel",
    "Quinn",
    "Rossi",
    "Singh",
    "Tanaka",
    "Umarov",
    "Varga",
    "Wong",
];
const COMPANY: &[&str] = &[
    "Acme",
    "Birchwood",
    "Cobalt",
    "Dovetail",
    "Evergreen",
    "Foxglove",
    "Granite",
    "Harbour",
    "Ironbridge",
    "Juniper",
    "Kestrel",
    "Lantern",
    "Meridian",
    "Northwind",
    "Orchard",
    "Pinnacle",
    "Quarry",
    "Riverside",
    "Summit",
    "Tidewater",
];
const LIFECYCLE: &[&str] =
    &["subscriber", "lead", "marketingqualifiedlead", "salesqualifiedlead", "opportunity", "customer"];
const COUNTRY: &[&str] = &["US", "GB", "CA", "DE", "SE", "FR", "NL", "IN"];

/// The contact of that number.
pub fn contact(number: u64) -> Contact {
    let hash = mix(number);
    let pick = |list: &[&'static str], salt: u32| list[(hash.rotate_right(salt) % list.len() as u64) as usize];
    let (segment, employees) = match hash % 100 {
        0..25 => (Some("enterprise"), 1_000 + hash.rotate_right(7) % 50_000),
        25..55 => (Some("mid"), 100 + hash.rotate_right(7) % 900),
        55..85 => (Some("small"), 1 + hash.rotate_right(7) % 99),
        _ => (None, 0),
    };
    Contact {
        number,
        first_name: pick(FIRST, 11),
        last_name: pick(LAST, 17),
        company: pick(COMPANY, 23),
        segment,
        lifecycle: pick(LIFECYCLE, 29),
        country: pick(COUNTRY, 37),
        employees,
    }
}

impl Contact {
    /// The user id that traffic uses: `u_0042`.
    pub fn user_id(&self) -> String {
        format!("u_{:04}", self.number)
    }

    /// `acme.example`.
    pub fn domain(&self) -> String {
        format!("{}.example", self.company.to_ascii_lowercase())
    }

    /// Different for each contact: it holds the number.
    pub fn email(&self) -> String {
        let (first, last) = (self.first_name.to_ascii_lowercase(), self.last_name.to_ascii_lowercase());
        format!("{first}.{last}{}@{}", self.number, self.domain())
    }

    /// A property as HubSpot would give it, all of them text: `None` unknown, `Some(None)` known and not set.
    pub fn property(&self, name: &str) -> Option<Option<String>> {
        let set = |text: &str| Some(Some(text.to_owned()));
        match name {
            "firstname" => set(self.first_name),
            "lastname" => set(self.last_name),
            "email" => Some(Some(self.email())),
            "company" => set(self.company),
            "domain" | "hs_email_domain" | "company_domain" => Some(Some(self.domain())),
            "segment" => Some(self.segment.map(str::to_owned)),
            "lifecyclestage" | "lifecycle" => set(self.lifecycle),
            "country" => set(self.country),
            "numemployees" | "seats" => Some((self.employees > 0).then(|| self.employees.to_string())),
            "user_id" | "external_id" => Some(Some(self.user_id())),
            _ => None,
        }
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): spreads neighbours far apart.
pub fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contacts_are_the_same_every_time_and_segments_come_in_their_shares() {
        assert_eq!(contact(42), contact(42));
        let of = |segment| (0..2_000).filter(|n| contact(*n).segment == segment).count();
        for (segment, share) in [(Some("enterprise"), 500), (Some("mid"), 600), (Some("small"), 600), (None, 300)] {
            assert!(of(segment).abs_diff(share) < 80, "{segment:?}: {}", of(segment));
        }
    }

    #[test]
    fn every_contact_has_an_email_of_its_own() {
        let emails: std::collections::HashSet<_> = (0..2_000).map(|n| contact(n).email()).collect();
        assert_eq!(emails.len(), 2_000);
    }
}
