//! Who is not a person, from a list of marks (`bots.tsv`, which says its own format; operators may have their own).
//!
//! One automaton looks for all marks at once (Aho and Corasick, 1975), so that a longer list costs no more per event.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use aho_corasick::{AhoCorasick, AhoCorasickKind};

/// The list that ships.
const SHIPPED: &str = include_str!("bots.tsv");

/// The largest file that is read, in bytes, and the most marks in it: the automaton takes about 3 kB for each.
const MAX_FILE: u64 = 1024 * 1024;
const MAX_MARKS: usize = 5_000;
/// Lengths of a mark without its anchors, in bytes. One letter alone would be found everywhere.
const MARK_LENGTHS: std::ops::RangeInclusive<usize> = 2..=200;
/// Longest word of a user agent that is quoted as a name, in bytes.
const MAX_WORD: usize = 64;

/// Why a list of bots cannot be used. It is read at start only, so the old one stays in use until then.
#[derive(Debug, thiserror::Error)]
pub enum BotsError {
    /// Put the list there, readable for this user, or take `bots` away to use the one that ships.
    #[error("list of bots {}: {message}", .path.display())]
    Unreadable { path: PathBuf, message: String },
    /// Put that line right; the head of the list that ships explains the format.
    #[error("list of bots {}, line {line}: {message}", .path.display())]
    Line { path: PathBuf, line: usize, message: String },
}

/// What the list says of a user agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// `ai_crawler: GPTBot`.
    Bot(Arc<str>),
    /// A person, though something in it looks like a bot.
    Person,
    /// Nothing in it is on the list.
    Unlisted,
}

/// What must or must not stand at an end of a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edge {
    Anything,
    /// The text ends here.
    Text,
    /// No letter or digit.
    Word,
}

/// What a mark says.
#[derive(Debug, Clone)]
enum Says {
    Person,
    /// The reason.
    Bot(Arc<str>),
    /// The class; the name is the word around the mark.
    Word(Arc<str>),
}

/// A line of the list.
#[derive(Debug, Clone)]
struct Mark {
    text: String,
    before: Edge,
    after: Edge,
    says: Says,
}

/// A list, ready to be asked.
#[derive(Debug)]
pub(super) struct Bots {
    automaton: AhoCorasick,
    /// In the order of the file: the first that is found counts.
    marks: Vec<Mark>,
}

impl Bots {
    /// The list that ships, built once.
    pub fn shipped() -> Result<Arc<Self>, BotsError> {
        static BUILT: OnceLock<Arc<Bots>> = OnceLock::new();
        if let Some(bots) = BUILT.get() {
            return Ok(bots.clone());
        }
        let bots = Arc::new(Self::parse(SHIPPED, Path::new("bots.tsv"))?);
        Ok(BUILT.get_or_init(|| bots).clone())
    }

    /// Reads an operator's list.
    pub fn read(path: &Path) -> Result<Arc<Self>, BotsError> {
        let unreadable = |message: String| BotsError::Unreadable { path: path.to_owned(), message };
        let size = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
        if size > MAX_FILE {
            return Err(unreadable(format!("has {size} bytes, and at most {MAX_FILE} are read")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
        Self::parse(&text, path).map(Arc::new)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, BotsError> {
        let marks = marks(text).map_err(|(line, message)| BotsError::Line { path: path.to_owned(), line, message })?;
        let unreadable = |message: String| BotsError::Unreadable { path: path.to_owned(), message };
        if marks.len() > MAX_MARKS {
            return Err(unreadable(format!("has {} marks, and at most {MAX_MARKS} are used", marks.len())));
        }
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .kind(Some(AhoCorasickKind::DFA))
            .build(marks.iter().map(|mark| mark.text.as_bytes()))
            .map_err(|error| unreadable(error.to_string()))?;
        Ok(Bots { automaton, marks })
    }

    /// What the list says of this user agent.
    pub fn verdict(&self, user_agent: &str) -> Verdict {
        let found = self
            .automaton
            .find_overlapping_iter(user_agent)
            .filter(|found| self.marks[found.pattern().as_usize()].fits(user_agent, found.start(), found.end()))
            .min_by_key(|found| found.pattern());
        let Some(found) = found else { return Verdict::Unlisted };
        match &self.marks[found.pattern().as_usize()].says {
            Says::Person => Verdict::Person,
            Says::Bot(reason) => Verdict::Bot(reason.clone()),
            Says::Word(class) => {
                Verdict::Bot(format!("{class}: {}", word_around(user_agent, found.start(), found.end())).into())
            }
        }
    }
}

impl Mark {
    /// Whether what stands around the found text is as the mark asks.
    fn fits(&self, text: &str, start: usize, end: usize) -> bool {
        let is_word = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let bytes = text.as_bytes();
        (match self.before {
            Edge::Anything => true,
            Edge::Text => start == 0,
            Edge::Word => !is_word(start.checked_sub(1).and_then(|before| bytes.get(before))),
        }) && (match self.after {
            Edge::Anything => true,
            Edge::Text => end == bytes.len(),
            Edge::Word => !is_word(bytes.get(end)),
        })
    }
}

/// The word around a found mark, as it is written: `Googlebot` of `Googlebot/2.1`.
fn word_around(text: &str, start: usize, end: usize) -> &str {
    let is_part = |character: char| character.is_alphanumeric() || matches!(character, '-' | '_' | '.');
    let front = text[..start].trim_end_matches(is_part).len();
    let back = text.len() - text[end..].trim_start_matches(is_part).len();
    let word = text[front..back].trim_matches(|character: char| !character.is_alphanumeric());
    &word[..word.floor_char_boundary(MAX_WORD)]
}

/// Reads lines, up to the first fault: its line number, from 1, and what it is.
fn marks(text: &str) -> Result<Vec<Mark>, (usize, String)> {
    let mut marks = Vec::new();
    let mut lines: HashMap<String, usize> = HashMap::new();
    for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate().map(|(at, line)| (at + 1, line)) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        // The list that ships holds no such line, so this ends.
        if line == "@shipped" {
            marks.extend(self::marks(SHIPPED)?);
            continue;
        }
        let mark = mark(line).map_err(|message| (number, message))?;
        let key = line.split('\t').next().unwrap_or_default().to_ascii_lowercase();
        if let Some(first) = lines.insert(key, number) {
            return Err((number, format!("this mark stands on line {first} already")));
        }
        marks.push(mark);
    }
    Ok(marks)
}

fn mark(line: &str) -> Result<Mark, String> {
    let mut columns = line.split('\t');
    let (written, class, name) = (columns.next().unwrap_or_default(), columns.next(), columns.next());
    let Some(class) = class else {
        let mut message = "a tab and a class belong after the mark".to_owned();
        if line.contains("    ") {
            message.push_str("; there are only spaces");
        }
        return Err(message);
    };
    if columns.next().is_some() {
        return Err("there are more than three columns".to_owned());
    }
    let is_class = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '_';
    if class.is_empty() || class.len() > 32 || !class.chars().all(is_class) {
        return Err(format!("a class has up to 32 small letters, digits and _, not {class:?}"));
    }
    let name = name.filter(|name| !name.is_empty());
    if name.is_some_and(|name| name.len() > 2 * MAX_WORD || name.chars().any(char::is_control)) {
        return Err(format!("a name has up to {} bytes and no control characters", 2 * MAX_WORD));
    }
    let (before, text) = match written.as_bytes().first() {
        Some(b'^') => (Edge::Text, &written[1..]),
        Some(b'|') => (Edge::Word, &written[1..]),
        _ => (Edge::Anything, written),
    };
    let (after, text) = match text.as_bytes().last() {
        Some(b'$') => (Edge::Text, &text[..text.len() - 1]),
        Some(b'|') => (Edge::Word, &text[..text.len() - 1]),
        _ => (Edge::Anything, text),
    };
    if !MARK_LENGTHS.contains(&text.len()) {
        return Err(format!("a mark has {} to {} bytes", MARK_LENGTHS.start(), MARK_LENGTHS.end()));
    }
    let says = match (class, name) {
        ("person", _) => Says::Person,
        (class, Some("*")) => Says::Word(class.into()),
        (class, name) => Says::Bot(format!("{class}: {}", name.unwrap_or(text)).into()),
    };
    Ok(Mark { text: text.to_owned(), before, after, says })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Result<Bots, String> {
        Bots::parse(text, Path::new("own.tsv")).map_err(|error| error.to_string())
    }

    fn reason(bots: &Bots, user_agent: &str) -> String {
        match bots.verdict(user_agent) {
            Verdict::Bot(reason) => reason.to_string(),
            Verdict::Person => "person".to_owned(),
            Verdict::Unlisted => "unlisted".to_owned(),
        }
    }

    #[test]
    fn bots_are_told_by_what_they_call_themselves() {
        let bots = Bots::shipped().unwrap();
        for (user_agent, expected) in [
            ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "search: Googlebot"),
            (
                "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
                "ai_crawler: GPTBot",
            ),
            (
                "Mozilla/5.0 (Linux; Android 5.0) AppleWebKit/537.36 (KHTML, like Gecko) Mobile Safari/537.36 (compatible; Bytespider; spider-feedback@bytedance.com)",
                "ai_crawler: Bytespider",
            ),
            (
                "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko); compatible; ChatGPT-User/1.0; +https://openai.com/bot",
                "ai_agent: ChatGPT-User",
            ),
            ("Mozilla/5.0 (compatible; OAI-SearchBot/1.0; +https://openai.com/searchbot)", "ai_crawler: OAI-SearchBot"),
            ("Mozilla/5.0 (compatible; Claude-User/1.0; +Claude-User@anthropic.com)", "ai_agent: Claude-User"),
            ("CCBot/2.0 (https://commoncrawl.org/faq/)", "ai_crawler: CCBot"),
            ("Mozilla/5.0 (compatible; Applebot-Extended/0.1)", "ai_crawler: Applebot-Extended"),
            ("meta-externalagent/1.1 (+https://developers.facebook.com/docs)", "ai_crawler: meta-externalagent"),
            (
                "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
                "preview: facebookexternalhit",
            ),
            ("WhatsApp/2.23.20.0", "preview: WhatsApp"),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36 DatadogSynthetics",
                "monitor: DatadogSynthetics",
            ),
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/120.0.0.0 Safari/537.36",
                "headless: HeadlessChrome",
            ),
            ("Pingdom.com_bot_version_1.4_(http://www.pingdom.com/)", "monitor: Pingdom"),
            ("Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)", "monitor: UptimeRobot"),
            ("curl/8.5.0", "library: curl"),
            ("python-requests/2.31.0", "library: python-requests"),
            ("Go-http-client/2.0", "library: Go-http-client"),
            ("Mozilla/5.0 (compatible; YandexMetrika/4.0)", "monitor: YandexMetrika"),
            ("Mozilla/5.0 (compatible; SomethingNew-Bot/0.1)", "crawler: SomethingNew-Bot"),
            ("Mozilla/5.0 (compatible; nobody/0.1)", "crawler: only compatible"),
        ] {
            assert_eq!(reason(&bots, user_agent), expected, "{user_agent}");
        }
    }

    #[test]
    fn people_are_not_bots_for_the_name_of_their_telephone_or_library() {
        let bots = Bots::shipped().unwrap();
        for user_agent in [
            "Mozilla/5.0 (Linux; Android 11; CUBOT X30) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Mobile Safari/537.36",
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0",
            "Mozilla/5.0 (compatible; MSIE 10.0; Windows NT 6.2; Trident/6.0)",
            "Mozilla/5.0 (Macintosh) Robotics/1.0 Bottle/2",
            "okhttp/4.12.0",
            "AcmeShop/5.2 CFNetwork/1494.0.7 Darwin/23.4.0",
            "Dalvik/2.1.0 (Linux; U; Android 14; Pixel 8 Build/UD1A)",
        ] {
            assert!(
                !matches!(bots.verdict(user_agent), Verdict::Bot(_)),
                "{user_agent}: {}",
                reason(&bots, user_agent)
            );
        }
    }

    #[test]
    fn no_line_of_the_list_that_ships_is_hidden_by_an_earlier_one() {
        let bots = Bots::shipped().unwrap();
        for mark in &bots.marks {
            if let Says::Bot(own) = &mark.says {
                assert_eq!(reason(&bots, &mark.text), **own, "{mark:?}");
            }
        }
        assert!(bots.marks.len() > 700, "{}", bots.marks.len());
    }

    #[test]
    fn an_operator_s_list_takes_the_place_of_ours_or_goes_before_it() {
        let own = list("acme\tinternal\tAcme's own\ngptbot\tperson\n").unwrap();
        assert_eq!(reason(&own, "ACME-checker/1"), "internal: Acme's own");
        assert_eq!(reason(&own, "GPTBot/1.2"), "person");
        assert_eq!(reason(&own, "curl/8"), "unlisted");
        let both = list("# ours first\n\ngptbot\tperson\n@shipped\n").unwrap();
        assert_eq!(reason(&both, "GPTBot/1.2"), "person");
        assert_eq!(reason(&both, "curl/8"), "library: curl");
    }

    #[test]
    fn anchors_hold_a_mark_to_its_place() {
        let own = list("^go\ta\n|bot|\tb\t*\nend$\tc\r\nüb\td").unwrap();
        for (user_agent, expected) in [
            ("go/1", "a: go"),
            ("let go", "unlisted"),
            ("a bot, indeed", "b: bot"),
            ("robot", "unlisted"),
            ("the END", "c: end"),
            ("the end.", "unlisted"),
            ("bot\u{e9}", "b: bot\u{e9}"),
            ("a\0bot\0", "b: bot"),
            ("über", "d: üb"),
        ] {
            assert_eq!(reason(&own, user_agent), expected, "{user_agent}");
        }
    }

    #[test]
    fn a_faulty_list_is_refused_with_file_and_line() {
        for (text, expected) in [
            ("gptbot ai", "own.tsv, line 1: a tab and a class belong after the mark"),
            ("#\n\ngptbot    ai", "line 3: a tab and a class belong after the mark; there are only spaces"),
            ("gptbot\tAI crawler", "line 1: a class has up to 32 small letters, digits and _, not \"AI crawler\""),
            ("gptbot\t", "not \"\""),
            ("|x|\ta", "line 1: a mark has 2 to 200 bytes"),
            ("\ta", "line 1: a mark has 2 to 200 bytes"),
            ("a1\ta\nb1\ta\nA1\tb", "line 3: this mark stands on line 1 already"),
            ("a1\ta\tb\tc", "line 1: there are more than three columns"),
        ] {
            let error = list(text).err().unwrap();
            assert!(error.contains(expected), "{error}");
        }
        let many: String = (0..=MAX_MARKS).map(|number| format!("m{number}\ta\n")).collect();
        assert!(list(&many).err().unwrap().contains("has 5001 marks, and at most 5000 are used"));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = Bots::read(&folder.path().join("none.tsv")).err().unwrap().to_string();
        assert!(missing.contains("none.tsv: "), "{missing}");
        let binary = folder.path().join("binary.tsv");
        std::fs::write(&binary, b"\xff\xfe\tx").unwrap();
        assert!(Bots::read(&binary).err().unwrap().to_string().contains("UTF-8"));
        let own = folder.path().join("own.tsv");
        std::fs::write(&own, "acme\tinternal\n").unwrap();
        assert_eq!(reason(&Bots::read(&own).unwrap(), "acme/1"), "internal: acme");
    }
}
