//! What `check` reports: every finding with code, place and what to write instead; all at once, in file order.

use std::{fmt, fmt::Write as _};

use super::{codes, yaml::Span};

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The topology cannot be used.
    Error,
    /// It can, but probably not as meant.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    pub const fn name(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize)]
pub struct Diagnostic {
    /// `HW207`; `headwater explain` has the long text.
    pub code: &'static str,
    pub severity: Severity,
    /// As it was given to [`super::load`].
    pub file: String,
    /// From 1. Zero where the finding has no place in the file.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// Characters to underline.
    #[serde(skip)]
    pub width: usize,
    /// What is wrong.
    pub message: String,
    /// What to write instead, where that is known.
    pub fix: Option<String>,
}

/// `topology.yaml:31:5 error HW101: unknown key "time_out" in agent "crm_lookup"; did you mean "timeout"?`
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        write!(f, " {} {}: {}", self.severity.name(), self.code, self.message)?;
        match &self.fix {
            Some(fix) if fix.starts_with(char::is_uppercase) => write!(f, ". {fix}"),
            Some(fix) => write!(f, "; {fix}"),
            None => Ok(()),
        }
    }
}

/// Prints findings with the lines they speak of, and a line of counts. `text` is the file.
pub fn render(findings: &[Diagnostic], text: &str) -> String {
    let mut out = String::new();
    for finding in findings {
        let _ = writeln!(out, "{finding}");
        if let Some(line) = finding.line.checked_sub(1).and_then(|index| text.lines().nth(index)) {
            let gutter = finding.line.to_string().len().max(4);
            let room = line.chars().count().saturating_sub(finding.column - 1).max(1);
            let _ = writeln!(out, "{:>gutter$} | {line}", finding.line);
            let _ = writeln!(
                out,
                "{:>gutter$} | {}{}",
                "",
                " ".repeat(finding.column - 1),
                "^".repeat(finding.width.clamp(1, room))
            );
        }
        out.push('\n');
    }
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let plural = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    let errors_first = findings.iter().find(|finding| finding.severity == Severity::Error).or(findings.first());
    if let Some(first) = errors_first {
        let _ = writeln!(
            out,
            "{}, {}. More on a code: headwater explain {}",
            plural(count(Severity::Error), "error"),
            plural(count(Severity::Warning), "warning"),
            first.code
        );
    }
    out
}

/// Collects findings on the way.
pub(super) struct Findings {
    file: String,
    text: String,
    /// With the byte where each begins.
    list: Vec<(usize, Diagnostic)>,
}

impl Findings {
    pub(super) fn new(file: &str, text: &str) -> Self {
        Findings { file: file.to_owned(), text: text.to_owned(), list: Vec::new() }
    }

    pub(super) fn error(&mut self, code: &'static str, span: Span, message: impl Into<String>, fix: impl Into<String>) {
        self.push(code, Severity::Error, span, message.into(), fix.into());
    }

    pub(super) fn warn(&mut self, code: &'static str, span: Span, message: impl Into<String>, fix: impl Into<String>) {
        self.push(code, Severity::Warning, span, message.into(), fix.into());
    }

    fn push(&mut self, code: &'static str, severity: Severity, span: Span, message: String, fix: String) {
        let width = self
            .text
            .get(span.start..span.end)
            .map_or(1, |text| text.lines().next().map_or(1, |line| line.trim_end().chars().count()).max(1));
        let finding = Diagnostic {
            code,
            severity,
            file: self.file.clone(),
            line: span.line,
            column: span.column,
            width,
            message,
            fix: Some(fix).filter(|fix| !fix.is_empty()),
        };
        if !self.list.iter().any(|(_, other)| *other == finding) {
            self.list.push((span.start, finding));
        }
    }

    pub(super) fn has_errors(&self) -> bool {
        self.list.iter().any(|(_, finding)| finding.severity == Severity::Error)
    }

    /// Whether something inside a node was in error: then what follows from it need not be said.
    pub(super) fn has_errors_within(&self, node: Span) -> bool {
        self.list
            .iter()
            .any(|(start, finding)| finding.severity == Severity::Error && (node.start..node.end).contains(start))
    }

    /// By place in the file. Where YAML changed a condition, whatever else was found on its line is an echo of that.
    pub(super) fn into_sorted(self) -> Vec<Diagnostic> {
        let mut list: Vec<Diagnostic> = self.list.into_iter().map(|(_, finding)| finding).collect();
        let changed: Vec<usize> =
            list.iter().filter(|finding| finding.code == codes::HW103).map(|finding| finding.line).collect();
        list.retain(|finding| finding.code == codes::HW103 || !changed.contains(&finding.line));
        list.sort_by_key(|finding| (finding.line, finding.column, finding.code));
        list
    }
}
