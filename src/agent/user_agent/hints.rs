//! User-agent client hints (WICG "User-Agent Client Hints"; values are structured headers, RFC 8941).

/// What client hints say. Empty where there are none.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Hints<'a> {
    /// The browser's brand, as people call it.
    pub browser: Option<&'a str>,
    /// In full where it was sent, else the major version.
    pub version: Option<&'a str>,
    pub platform: Option<&'a str>,
    pub platform_version: Option<&'a str>,
    pub mobile: Option<bool>,
    /// `mobile`, `tablet` or `desktop`.
    pub form_factor: Option<&'static str>,
    pub model: Option<&'a str>,
}

impl<'a> Hints<'a> {
    /// Reads the hints from headers, by lower-case name.
    pub fn read(header: impl Fn(&str) -> Option<&'a str>) -> Self {
        let brand = |name| header(name).and_then(brand);
        let (browser, version) = match (brand("sec-ch-ua-full-version-list"), brand("sec-ch-ua")) {
            (Some(full), _) => full,
            (None, Some(major)) => major,
            (None, None) => ("", ""),
        };
        let text = |name| header(name).map(unquoted).filter(|text| !text.is_empty());
        Hints {
            browser: Some(browser).filter(|browser| !browser.is_empty()),
            version: Some(version).filter(|version| !version.is_empty()),
            platform: text("sec-ch-ua-platform").filter(|platform| *platform != "Unknown"),
            platform_version: text("sec-ch-ua-platform-version"),
            mobile: header("sec-ch-ua-mobile").and_then(|flag| match flag.trim() {
                "?1" => Some(true),
                "?0" => Some(false),
                _ => None,
            }),
            form_factor: header("sec-ch-ua-form-factors").and_then(form_factor),
            model: text("sec-ch-ua-model"),
        }
    }

    /// Whether there are none that say anything.
    pub fn is_empty(&self) -> bool {
        *self == Hints::default()
    }
}

/// The class of device in a list such as `"Mobile", "EInk"`; the first that we have a class for.
fn form_factor(list: &str) -> Option<&'static str> {
    entries(list).find_map(|(name, _)| match name {
        "Mobile" => Some("mobile"),
        "Tablet" => Some("tablet"),
        "Desktop" => Some("desktop"),
        _ => None,
    })
}

fn unquoted(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text).trim()
}

/// The brand of a list such as `"Chromium";v="124", "Google Chrome";v="124", "Not-A.Brand";v="99"`, and its
/// version: a name of its own before Chromium, which they all are; the one made up (GREASE) never.
fn brand(list: &str) -> Option<(&str, &str)> {
    let brands = || entries(list).filter(|(name, _)| !made_up(name));
    brands().find(|(name, _)| *name != "Chromium").or_else(|| brands().next())
}

/// The entries of a list, each a quoted name and its parameter `v`. Names may hold commas and semicolons.
fn entries(mut list: &str) -> impl Iterator<Item = (&str, &str)> {
    let quoted = |text: &mut &'_ str| -> Option<(usize, usize)> {
        let open = text.find('"')? + 1;
        let close = open + text[open..].find('"')?;
        Some((open, close))
    };
    std::iter::from_fn(move || {
        let (open, close) = quoted(&mut list)?;
        let (name, rest) = (&list[open..close], &list[close + 1..]);
        list = rest;
        let version = match rest.trim_start().strip_prefix(';').map(str::trim_start) {
            Some(parameter) if parameter.starts_with("v=") => {
                let (open, close) = quoted(&mut list)?;
                let version = &list[open..close];
                list = &list[close + 1..];
                version
            }
            _ => "",
        };
        Some((name.trim(), version))
    })
}

/// Names that browsers make up so that nobody relies on the list: "Not A;Brand", "Not(A:Brand", "Not-A.Brand" …
fn made_up(name: &str) -> bool {
    let letters = name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase());
    letters.eq("notabrand".chars()) || name.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_brand_is_neither_chromium_nor_made_up() {
        for (list, expected) in [
            (r#""Chromium";v="124", "Google Chrome";v="124", "Not-A.Brand";v="99""#, Some(("Google Chrome", "124"))),
            (
                r#""Not(A:Brand";v="99.0.0.0", "Microsoft Edge";v="133.0.3065.59", "Chromium";v="133.0.6943.60""#,
                Some(("Microsoft Edge", "133.0.3065.59")),
            ),
            (r#"" Not A;Brand";v="99", "Chromium";v="96""#, Some(("Chromium", "96"))),
            (r#""Not_A Brand";v="8""#, None),
            (r#""Opera""#, Some(("Opera", ""))),
            (r#""Opera"; v="1", "unclosed"#, Some(("Opera", "1"))),
            ("nonsense", None),
            ("", None),
        ] {
            assert_eq!(brand(list), expected, "{list}");
        }
    }

    #[test]
    fn form_factors_give_a_class_where_we_have_one() {
        for (list, expected) in
            [(r#""Tablet""#, Some("tablet")), (r#""EInk", "Mobile""#, Some("mobile")), (r#""XR""#, None), ("", None)]
        {
            assert_eq!(form_factor(list), expected, "{list}");
        }
    }

    #[test]
    fn what_was_not_sent_is_absent() {
        assert!(Hints::read(|_| None).is_empty());
        assert!(Hints::read(|_| Some("")).is_empty());
    }
}
