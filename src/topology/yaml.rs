//! YAML as a tree with places, refusing what would change a text silently: tags, anchors, aliases, and comments that
//! cut a condition. Works on parser events, since values no longer show what was lost.

use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, ScanError, Span as ParserSpan, options};

use super::{codes, diagnostic::Findings};
use crate::expr;

/// Largest topology file in bytes.
const MAX_BYTES: usize = 1 << 20;

/// A place in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Span {
    /// From 1; zero is no place.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// Bytes.
    pub start: usize,
    pub end: usize,
}

impl Span {
    fn of(span: ParserSpan) -> Self {
        let start = span.start.byte_offset().unwrap_or(0);
        let end = span.end.byte_offset().unwrap_or(start).max(start);
        Span { line: span.start.line(), column: span.start.col() + 1, start, end }
    }

    /// So many characters and bytes into it, for texts on one line.
    pub(super) fn advanced(self, characters: usize, bytes: usize) -> Self {
        Span { column: self.column + characters, start: (self.start + bytes).min(self.end), ..self }
    }
}

/// How a scalar was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Quoted,
    Block,
}

#[derive(Debug, Clone)]
pub(super) enum Shape {
    Scalar(String, Style),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

#[derive(Debug, Clone)]
pub(super) struct Node {
    pub shape: Shape,
    pub span: Span,
}

impl Node {
    /// The text of a scalar.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.shape {
            Shape::Scalar(text, _) => Some(text),
            _ => None,
        }
    }

    /// Nothing was written (`key:`) or an explicit null.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.shape, Shape::Scalar(text, Style::Plain) if matches!(text.as_str(), "" | "~" | "null"))
    }

    pub(super) fn noun(&self) -> &'static str {
        match &self.shape {
            _ if self.is_null() => "nothing",
            Shape::Scalar(..) => "text",
            Shape::List(_) => "a list",
            Shape::Map(_) => "a map",
        }
    }
}

/// Reads the one document of a file. Findings are reported; without a tree there was an error.
pub(super) fn parse(text: &str, findings: &mut Findings) -> Option<Node> {
    if text.len() > MAX_BYTES {
        let message = format!("a file has at most {MAX_BYTES} bytes; this one has {}", text.len());
        findings.error(codes::HW102, Span { line: 1, column: 1, ..Span::default() }, message, "");
        return None;
    }
    let options = options! { emit_anchor_events: true, emit_unresolved_aliases: true, block_nesting_limit: 32, flow_nesting_limit: 32 };
    let mut events = Vec::new();
    let mut comments = Vec::new();
    for next in Parser::new_from_str_with_options(text, options) {
        match next {
            Ok((Event::Comment(..), span)) => comments.push(Span::of(span)),
            Ok(event) => events.push(event),
            Err(error) => {
                not_yaml(text, &error, findings);
                return None;
            }
        }
    }
    let mut reader = Reader { text, events: events.into_iter().peekable(), comments, findings };
    let mut root = None;
    while let Some((event, span)) = reader.events.next() {
        match event {
            Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            Event::DocumentStart(..) if root.is_none() => root = reader.node(&mut Vec::new()),
            _ => {
                let message = "a file is one document; this is a second one";
                reader.findings.error(codes::HW102, Span::of(span), message, "Put it into a file of its own");
                break;
            }
        }
    }
    root
}

struct Reader<'t, 'f, I: Iterator<Item = (Event<'t>, ParserSpan)>> {
    text: &'t str,
    events: std::iter::Peekable<I>,
    comments: Vec<Span>,
    findings: &'f mut Findings,
}

impl<'t, I: Iterator<Item = (Event<'t>, ParserSpan)>> Reader<'t, '_, I> {
    /// Reads one node below `keys`. Depth is bounded by the parser.
    fn node(&mut self, keys: &mut Vec<String>) -> Option<Node> {
        let (event, parser_span) = self.events.next()?;
        let mut span = Span::of(parser_span);
        let tag = parser_span.tag_span().map(Span::of);
        let anchor = match self.events.peek() {
            Some((Event::Anchor(..), span)) => Some(Span::of(*span)),
            _ => None,
        };
        if anchor.is_some() {
            self.events.next();
        }
        for (at, what) in
            [(tag, "tag"), (anchor, "anchor")].into_iter().filter_map(|(at, what)| at.map(|at| (at, what)))
        {
            if tag.is_none_or(|tag| tag.start == at.start) {
                self.refuse(at, what, keys);
            }
        }
        let shape = match event {
            Event::Scalar(text, style, ..) => {
                let style = match style {
                    ScalarStyle::Plain => Style::Plain,
                    ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => Style::Quoted,
                    ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
                };
                if style == Style::Plain && is_condition(keys) && anchor.is_none() && tag.is_none() {
                    self.refuse_cut(&text, span, keys);
                }
                Shape::Scalar(text.into_owned(), style)
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                self.refuse(span, "alias", keys);
                Shape::Scalar(String::new(), Style::Quoted)
            }
            Event::SequenceStart(..) => {
                let mut nodes = Vec::new();
                while !matches!(self.events.peek(), None | Some((Event::SequenceEnd, _))) {
                    nodes.push(self.node(keys)?);
                }
                if let Some((_, end)) = self.events.next() {
                    span.end = Span::of(end).end;
                }
                Shape::List(nodes)
            }
            Event::MappingStart(..) => {
                let mut entries: Vec<(Node, Node)> = Vec::new();
                while !matches!(self.events.peek(), None | Some((Event::MappingEnd, _))) {
                    let key = self.node(&mut Vec::new())?;
                    keys.push(key.text().unwrap_or_default().to_owned());
                    let value = self.node(keys)?;
                    keys.pop();
                    if let Some((first, _)) =
                        entries.iter().find(|(other, _)| key.text().is_some() && other.text() == key.text())
                    {
                        let message = format!(
                            "key \"{}\" stands here twice, first on line {}",
                            key.text().unwrap_or_default(),
                            first.span.line
                        );
                        self.findings.error(codes::HW106, key.span, message, "Keep one of them");
                        continue;
                    }
                    entries.push((key, value));
                }
                if let Some((_, end)) = self.events.next() {
                    span.end = Span::of(end).end;
                }
                Shape::Map(entries)
            }
            _ => return None,
        };
        Some(Node { shape, span })
    }

    /// A tag, anchor or alias: in a condition it swallows words, elsewhere we have no use for it.
    fn refuse(&mut self, at: Span, what: &str, keys: &[String]) {
        let token = self.text.get(at.start..at.end).unwrap_or_default();
        let line = self.text.get(at.start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        let (message, fix) = if is_condition(keys) {
            let rest = line.split(" #").next().unwrap_or_default().trim_end();
            let rest = if expr::is_whole(rest) { rest } else { rest.trim_end_matches(['}', ']', ' ', ',']) };
            (
                format!("\"{token}\" is a YAML {what} here and would vanish from the condition"),
                format!("Quote it: {}: {}", keys.last().map_or("when", String::as_str), quoted(rest)),
            )
        } else {
            (
                format!("\"{token}\" is a YAML {what}; our files have none, since they change values unseen"),
                "Write the value out, or quote it if it is meant as text".to_owned(),
            )
        };
        self.findings.error(codes::HW103, at, message, fix);
    }

    /// A plain condition that ends in the middle of a text or bracket: ` #` or, inside `{ … }`, a comma cut it.
    fn refuse_cut(&mut self, condition: &str, span: Span, keys: &[String]) {
        if expr::is_whole(condition) {
            return;
        }
        let after = self.text.get(span.end..).unwrap_or_default();
        let gap = after.len() - after.trim_start_matches([' ', '\t']).len();
        let line = self.text.get(span.start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        let key = keys.last().map_or("when", String::as_str);
        let end = span.end + gap;
        if self.comments.iter().any(|comment| comment.start == end) {
            let message = "\" #\" starts a YAML comment here and cuts the condition";
            let at = Span { column: span.column + condition.chars().count() + gap, start: end, end: end + 1, ..span };
            self.findings.error(codes::HW103, at, message, format!("Quote it: {key}: {}", quoted(line)));
        } else if self.text.get(end..).is_some_and(|rest| rest.starts_with(',')) {
            let message = "the comma ends the condition here, since it stands unquoted inside { … }";
            let at = Span { column: span.column + condition.chars().count() + gap, start: end, end: end + 1, ..span };
            self.findings.error(codes::HW103, at, message, format!("Put the condition into quotes: {key}: '…'"));
        }
    }
}

/// `when`, and the steps of a funnel.
fn is_condition(keys: &[String]) -> bool {
    match keys {
        [.., parent, _] if parent == "steps" => true,
        [.., key] => key == "when",
        [] => false,
    }
}

/// A condition in quotes that YAML leaves alone.
fn quoted(condition: &str) -> String {
    let condition = condition.trim();
    if condition.contains('"') { format!("'{}'", condition.replace('\'', "''")) } else { format!("\"{condition}\"") }
}

/// A scanner's complaint, with the usual reason where the line shows it.
fn not_yaml(text: &str, error: &ScanError, findings: &mut Findings) {
    let marker = error.marker();
    let (line, column) = (marker.line().max(1), marker.col() + 1);
    let start = marker.byte_offset().unwrap_or(0).min(text.len());
    let span = Span { line, column, start, end: start + 1 };
    let written = |number: usize| text.lines().nth(number.saturating_sub(1)).unwrap_or_default();
    // The scanner often notices a line too late.
    let at_fault = [line, line.saturating_sub(1)];
    for number in at_fault {
        let content = written(number);
        if let Some(at) = content.find("${").filter(|at| unquoted(&content[..*at]) && content[..*at].contains('{')) {
            let end = content[at..].find('}').map_or(content.len(), |end| at + end + 1);
            let key = content[..at].trim_end().trim_end_matches(':').rsplit([' ', '{', ',']).next().unwrap_or_default();
            let before: usize = text.lines().take(number - 1).map(|line| line.len() + 1).sum();
            let span =
                Span { line: number, column: content[..at].chars().count() + 1, start: before + at, end: before + end };
            let fix = format!("Quote it: {key}: \"{}\"", &content[at..end]);
            findings.error(codes::HW102, span, "this is not YAML: \"{\" inside { … }", fix);
            return;
        }
    }
    let fix = at_fault
        .iter()
        .map(|number| written(*number))
        .find_map(|content| {
            // Brackets and commas of a condition inside { … }.
            let (before, condition) = content.split_once("when:")?;
            let condition = condition.trim();
            let condition = condition.strip_suffix('}').unwrap_or(condition).trim();
            (before.contains('{') && !condition.starts_with(['"', '\'']))
                .then(|| format!("Quote it: when: {}", quoted(condition)))
        })
        .or_else(|| {
            at_fault.iter().map(|number| written(*number)).find_map(|content| {
                let (key, value) = content.trim_start().trim_start_matches("- ").split_once(':')?;
                let value = value.trim();
                let starts_quoted = value.starts_with(['"', '\'']) && value.len() > 1 && !value.ends_with(&value[..1]);
                (starts_quoted || value.contains(": ") || value.starts_with(['%', '@', '`']))
                    .then(|| format!("Put the whole value into quotes: {key}: {}", quoted(value)))
            })
        })
        .or_else(|| written(line).contains('\t').then(|| "Indent with spaces, not tabs".to_owned()))
        .unwrap_or_default();
    findings.error(codes::HW102, span, format!("this is not YAML: {}", error.info()), fix);
}

fn unquoted(before: &str) -> bool {
    before.matches('"').count().is_multiple_of(2)
}
