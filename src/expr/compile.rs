//! From text to a bounded tree whose names are places of the record.

use std::sync::Arc;

use cel::{
    Env,
    common::{
        ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators},
        types::{CelInt, CelList},
        value::Val,
    },
};
use regex::{Regex, RegexBuilder};

use super::{ExprError, Scope, functions, lex, types};
use crate::event::{EventMap, Path, Type};

/// Deepest tree: evaluation recurses once per level, with up to 25 kB of stack each in a debug build. `&&` and `||` are
/// balanced, so that a long chain of them is not deep.
const MAX_DEPTH: usize = 24;

/// What evaluation needs beside the values.
pub(super) struct Compiled {
    pub expression: IdedExpr,
    pub regexes: Arc<[Regex]>,
    /// Lists of literals, made once instead of per record.
    pub lists: Vec<CelList<'static>>,
}

/// A name in the compiled tree: `@3`, `?3`, `#0`. No name in a condition can look like that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    /// Value of the read of that index.
    Read(usize),
    /// Whether that read is there, for `has(…)`.
    Has(usize),
    /// The list of that index.
    List(usize),
}

impl Slot {
    fn name(self) -> String {
        match self {
            Slot::Read(index) => format!("@{index}"),
            Slot::Has(index) => format!("?{index}"),
            Slot::List(index) => format!("#{index}"),
        }
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        let (kind, index) = (name.as_bytes().first()?, name.get(1..)?.parse().ok()?);
        match kind {
            b'@' => Some(Slot::Read(index)),
            b'?' => Some(Slot::Has(index)),
            b'#' => Some(Slot::List(index)),
            _ => None,
        }
    }
}

/// A name the condition reads, with its type.
pub(super) struct Read {
    pub name: Arc<str>,
    pub path: Path,
    pub ty: Type,
}

type Compilation = (Compiled, Vec<(Arc<str>, Path)>);

pub(super) fn compile(source: &str, scope: &dyn Scope, env: &Env) -> Result<Compilation, ExprError> {
    if lex::tokens(source)?.is_empty() {
        return Err(ExprError::Syntax { message: "the condition is empty".to_owned(), offset: None });
    }
    let program = env.compile(source).map_err(|errors| syntax(source, &errors))?;
    let mut expression = program.expression().clone();
    if depth(&expression, 0) > MAX_DEPTH {
        return Err(ExprError::TooBig {
            message: format!("a condition is at most {MAX_DEPTH} levels deep; split it into several rules"),
        });
    }
    let mut resolver = Resolver::new(scope);
    resolver.walk(&mut expression, &mut Vec::new())?;
    if !resolver.undefined.is_empty() {
        return Err(ExprError::Undefined { names: resolver.undefined });
    }
    types::check(&mut expression, &resolver.reads)?;
    let reads = resolver.reads.into_iter().map(|read| (read.name, read.path)).collect();
    Ok((Compiled { expression, regexes: resolver.regexes.into(), lists: resolver.lists }, reads))
}

/// The parser's first complaint, in our words where we know better ones.
fn syntax(source: &str, errors: &cel::ParseErrors) -> ExprError {
    let Some(error) = errors.errors.first() else {
        return ExprError::Syntax { message: "not a condition".to_owned(), offset: None };
    };
    let (line, column) = error.pos;
    let offset = source
        .split_inclusive('\n')
        .take(usize::try_from(line).unwrap_or(1).saturating_sub(1))
        .map(str::len)
        .sum::<usize>()
        + usize::try_from(column).unwrap_or(1).saturating_sub(1);
    let message = error.msg.lines().next().unwrap_or("not a condition").trim();
    let message = message.strip_prefix("Syntax error: ").unwrap_or(message);
    let message = match message.split_once(" expecting ") {
        Some((what, _)) => what,
        None => message,
    };
    let hint = [(" and ", "&&"), (" or ", "||"), (" = ", "=="), ("not ", "!")]
        .iter()
        .find(|(word, _)| source.contains(word))
        .map_or_else(String::new, |(word, operator)| format!("; for \"{}\" write {operator}", word.trim()));
    ExprError::Syntax {
        message: format!("not a condition in CEL: {message}{hint}"),
        offset: Some(offset.min(source.len())),
    }
}

fn children(expression: &Expr) -> Vec<&IdedExpr> {
    match expression {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Vec::new(),
        Expr::Call(call) => call.target.iter().map(|target| &**target).chain(&call.args).collect(),
        Expr::Comprehension(it) => {
            vec![&it.iter_range, &it.accu_init, &it.loop_cond, &it.loop_step, &it.result]
        }
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Select(select) => vec![&select.operand],
        Expr::Map(map) => entries(&map.entries),
        Expr::Struct(of) => entries(&of.entries),
    }
}

fn entries(entries: &[cel::common::ast::IdedEntryExpr]) -> Vec<&IdedExpr> {
    entries
        .iter()
        .flat_map(|entry| match &entry.expr {
            EntryExpr::StructField(field) => vec![&field.value],
            EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
        })
        .collect()
}

fn depth(expression: &IdedExpr, above: usize) -> usize {
    let here = above + 1;
    if here > MAX_DEPTH {
        return here;
    }
    children(&expression.expr).into_iter().map(|child| depth(child, here)).max().unwrap_or(here)
}

/// Replaces names by slots; collects what they read.
struct Resolver<'s> {
    scope: &'s dyn Scope,
    reads: Vec<Read>,
    undefined: Vec<String>,
    regexes: Vec<Regex>,
    lists: Vec<CelList<'static>>,
}

impl<'s> Resolver<'s> {
    fn new(scope: &'s dyn Scope) -> Self {
        Resolver { scope, reads: Vec::new(), undefined: Vec::new(), regexes: Vec::new(), lists: Vec::new() }
    }

    fn read(&mut self, dotted: &str) -> Option<usize> {
        if let Some(index) = self.reads.iter().position(|read| *read.name == *dotted) {
            return Some(index);
        }
        let (path, ty) = self.scope.resolve(dotted)?;
        self.reads.push(Read { name: dotted.into(), path, ty });
        Some(self.reads.len() - 1)
    }

    fn walk(&mut self, node: &mut IdedExpr, bound: &mut Vec<String>) -> Result<(), ExprError> {
        if let Some((dotted, test)) = dotted(&node.expr)
            && !bound.iter().any(|name| dotted.split('.').next() == Some(name))
        {
            match self.read(&dotted) {
                Some(index) => {
                    node.expr = Expr::Ident(if test { Slot::Has(index) } else { Slot::Read(index) }.name());
                }
                None if self.undefined.contains(&dotted) => {}
                None => self.undefined.push(dotted),
            }
            return Ok(());
        }
        match &mut node.expr {
            Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
            Expr::Call(_) => return self.call(node, bound),
            Expr::Comprehension(it) => {
                self.walk(&mut it.iter_range, bound)?;
                self.walk(&mut it.accu_init, bound)?;
                let outer = bound.len();
                bound.push(it.iter_var.clone());
                bound.extend(it.iter_var2.clone());
                bound.push(it.accu_var.clone());
                for part in [&mut it.loop_cond, &mut it.loop_step, &mut it.result] {
                    self.walk(part, bound)?;
                }
                bound.truncate(outer);
            }
            Expr::List(list) => {
                for element in &mut list.elements {
                    self.walk(element, bound)?;
                }
                let literals: Option<Vec<Box<dyn Val>>> = list
                    .elements
                    .iter()
                    .map(|element| match &element.expr {
                        Expr::Literal(literal) => Some(literal.to_val().into_owned()),
                        _ => None,
                    })
                    .collect();
                // Short lists inside loops and arithmetic stay as they are; those of `in` are prepared in `call`.
                if let Some(literals) = literals.filter(|literals| !literals.is_empty() && bound.is_empty()) {
                    self.lists.push(CelList::from(literals));
                    node.expr = Expr::Ident(Slot::List(self.lists.len() - 1).name());
                }
            }
            Expr::Map(map) => {
                for entry in &mut map.entries {
                    if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                        self.walk(&mut entry.key, bound)?;
                        self.walk(&mut entry.value, bound)?;
                    }
                }
            }
            Expr::Select(select) => self.walk(&mut select.operand, bound)?,
            Expr::Struct(_) => {
                return Err(ExprError::Syntax { message: "a condition makes no structures".to_owned(), offset: None });
            }
        }
        Ok(())
    }

    fn call(&mut self, node: &mut IdedExpr, bound: &mut Vec<String>) -> Result<(), ExprError> {
        let Expr::Call(call) = &mut node.expr else { return Ok(()) };
        if let Some(entry) = map_entry(call, self.scope)
            && let Some(index) = self.read(&entry)
        {
            node.expr = Expr::Ident(Slot::Read(index).name());
            return Ok(());
        }
        if call.func_name.starts_with(|first: char| first.is_ascii_alphabetic()) {
            if !functions::KNOWN.contains(&call.func_name.as_str()) {
                return unusable(format!(
                    "there is no function \"{}\"; there are {}",
                    call.func_name,
                    functions::KNOWN.join(", ")
                ));
            }
            if call.func_name == "matches" {
                self.compile_pattern(call)?;
            }
        }
        if let Some(target) = &mut call.target {
            self.walk(target, bound)?;
        }
        for argument in &mut call.args {
            self.walk(argument, bound)?;
        }
        Ok(())
    }

    /// `text.matches("pattern")` becomes `@matches(text, index of the compiled pattern)`.
    fn compile_pattern(&mut self, call: &mut CallExpr) -> Result<(), ExprError> {
        let mut arguments: Vec<IdedExpr> = call.target.take().map(|target| *target).into_iter().collect();
        arguments.append(&mut call.args);
        let [_, pattern] = arguments.as_mut_slice() else {
            return unusable("matches is written text.matches(\"pattern\")".to_owned());
        };
        let Expr::Literal(LiteralValue::String(text)) = &pattern.expr else {
            return unusable(
                "the pattern of matches is to be a text in quotes, so that it is compiled once".to_owned(),
            );
        };
        let regex = RegexBuilder::new(text.inner()).size_limit(functions::REGEX_BYTES).build().map_err(|error| {
            let last = error.to_string();
            let last = last.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            ExprError::Syntax { message: format!("{:?} is not a pattern: {last}", text.inner()), offset: None }
        })?;
        pattern.expr = Expr::Literal(LiteralValue::Int(CelInt::from(self.regexes.len() as i64)));
        self.regexes.push(regex);
        call.func_name = functions::MATCHES.to_owned();
        call.args = arguments;
        Ok(())
    }
}

/// `a.b.c` of a chain of selections on a name, and whether it is `has(a.b.c)`.
fn dotted(expression: &Expr) -> Option<(String, bool)> {
    match expression {
        Expr::Ident(name) => Some((name.clone(), false)),
        Expr::Select(select) => {
            let (operand, false) = dotted(&select.operand.expr)? else { return None };
            Some((format!("{operand}.{}", select.field), select.test))
        }
        _ => None,
    }
}

/// `event.properties["plan"]` as `event.properties.plan`.
fn map_entry(call: &CallExpr, scope: &dyn Scope) -> Option<String> {
    let [map, key] = call.args.as_slice() else { return None };
    let Expr::Literal(LiteralValue::String(key)) = &key.expr else { return None };
    if call.func_name != operators::INDEX {
        return None;
    }
    let (map, false) = dotted(&map.expr)? else { return None };
    let (Path::Map(_), _) = scope.resolve(&map)? else { return None };
    Some(format!("{map}.{}", key.inner()))
}

fn unusable<T>(message: String) -> Result<T, ExprError> {
    Err(ExprError::Syntax { message, offset: None })
}

/// What a map of the event holds.
pub(super) fn map_type(map: EventMap) -> Type {
    if map == EventMap::Consent { Type::Bool } else { Type::Text }
}
