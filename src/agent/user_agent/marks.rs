//! All marks of browsers, systems and classes, found in one pass over a user agent.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind};

use super::{
    browsers::{BROWSERS, Browser},
    systems::{CLASSES, SYSTEMS, System},
};

/// What a user agent has in it.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The first in its table, and the end of its token in the text.
    pub browser: Option<(&'static Browser, usize)>,
    pub system: Option<(&'static System, usize)>,
    pub class: Option<&'static str>,
    /// Whether it says "Mobile" or "Mobi".
    pub mobile: bool,
    /// The end of the first "Version/", where Safari's version stands.
    pub version: Option<usize>,
}

/// The marks after the tables.
const MOBILE: &str = "Mobi";
const VERSION: &str = "Version/";

/// `None` cannot be: tests build it. Then nothing is seen, and woothee is asked.
static AUTOMATON: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    let browsers = BROWSERS.iter().map(|browser| browser.token);
    let systems = SYSTEMS.iter().map(|system| system.mark);
    let classes = CLASSES.iter().map(|(mark, _)| *mark);
    let marks = browsers.chain(systems).chain(classes).chain([MOBILE, VERSION]);
    AhoCorasick::builder().kind(Some(AhoCorasickKind::DFA)).build(marks).ok()
});

/// Looks for all marks.
pub(super) fn look(user_agent: &str) -> Seen {
    let Some(automaton) = &*AUTOMATON else { return Seen::default() };
    let none = (usize::MAX, 0);
    let (mut browser, mut system, mut class, mut mobile, mut version) = (none, none, none, false, None);
    let tables = BROWSERS.len() + SYSTEMS.len() + CLASSES.len();
    for found in automaton.find_overlapping_iter(user_agent) {
        let mark = found.pattern().as_usize();
        let (kind, at) = if mark < BROWSERS.len() {
            (&mut browser, mark)
        } else if mark < BROWSERS.len() + SYSTEMS.len() {
            (&mut system, mark - BROWSERS.len())
        } else if mark < tables {
            (&mut class, mark - BROWSERS.len() - SYSTEMS.len())
        } else {
            if mark == tables {
                mobile = true;
            } else {
                version = version.or(Some(found.end()));
            }
            continue;
        };
        // Of one mark that stands twice the first.
        if at < kind.0 {
            *kind = (at, found.end());
        }
    }
    Seen {
        browser: BROWSERS.get(browser.0).map(|seen| (seen, browser.1)),
        system: SYSTEMS.get(system.0).map(|seen| (seen, system.1)),
        class: CLASSES.get(class.0).and_then(|(_, class)| *class),
        mobile,
        version,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mark_is_found_by_itself() {
        assert!(AUTOMATON.is_some());
        for browser in BROWSERS {
            assert!(
                look(browser.token)
                    .browser
                    .is_some_and(|(seen, end)| { seen.name == browser.name && end <= browser.token.len() })
            );
        }
        for system in SYSTEMS {
            assert_eq!(look(system.mark).system.unwrap().0.name, system.name, "{system:?}");
        }
        for (mark, class) in CLASSES {
            assert_eq!(look(mark).class, *class, "{mark}");
        }
        assert!(look("Mobile").mobile && !look("mobile").mobile);
        assert_eq!(look("Version/1 Version/2").version, Some(8));
    }

    #[test]
    fn the_first_of_a_table_wins_wherever_it_stands() {
        let seen = look("Mozilla/5.0 (Linux; Android 14) Chrome/1 Safari/2 Edg/3 Edg/4");
        let (browser, end) = seen.browser.unwrap();
        assert_eq!((browser.name, end), ("Edge", "Mozilla/5.0 (Linux; Android 14) Chrome/1 Safari/2 Edg/".len()));
        assert_eq!(seen.system.unwrap().0.name, Some("Android"));
    }
}
