//! A rough static check: it finds comparisons that can never hold, and stays silent where it cannot know.

use cel::common::{
    ast::{CallExpr, Expr, IdedExpr, LiteralValue, operators},
    types::CelDouble,
};

use super::{
    ExprError,
    compile::{Read, Slot, map_type},
    functions,
};
use crate::event::{Path, Type};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ty {
    Bool,
    Int,
    Float,
    Text,
    Null,
    List,
    Map,
    /// Cannot be known here.
    Any,
}

impl Ty {
    fn noun(self) -> &'static str {
        match self {
            Ty::Bool => "true or false",
            Ty::Int | Ty::Float => "a number",
            Ty::Text => "text",
            Ty::Null => "null",
            Ty::List => "a list",
            Ty::Map => "a map",
            Ty::Any => "anything",
        }
    }

    fn can_be(self, other: Ty) -> bool {
        self == other || self == Ty::Any || other == Ty::Any || (self.is_number() && other.is_number())
    }

    fn is_number(self) -> bool {
        matches!(self, Ty::Int | Ty::Float)
    }
}

/// Finds the first type error of a condition.
/// Where whole and fractional numbers meet in arithmetic it makes the whole one fractional, as people expect and CEL refuses.
pub(super) fn check(expression: &mut IdedExpr, reads: &[Read]) -> Result<(), ExprError> {
    let checker = Checker { reads };
    let ty = checker.infer(&mut expression.expr)?;
    if !ty.can_be(Ty::Bool) {
        return wrong(format!(
            "a condition is to be true or false, and {} is {}",
            checker.show(&expression.expr, "this"),
            ty.noun()
        ));
    }
    Ok(())
}

fn wrong<T>(message: String) -> Result<T, ExprError> {
    Err(ExprError::Type { message })
}

struct Checker<'r> {
    reads: &'r [Read],
}

impl Checker<'_> {
    fn infer(&self, expression: &mut Expr) -> Result<Ty, ExprError> {
        Ok(match expression {
            Expr::Literal(literal) => match literal {
                LiteralValue::Boolean(_) => Ty::Bool,
                LiteralValue::Double(_) => Ty::Float,
                LiteralValue::Int(_) => Ty::Int,
                LiteralValue::String(_) => Ty::Text,
                LiteralValue::Null => Ty::Null,
                LiteralValue::Bytes(_) | LiteralValue::UInt(_) => Ty::Any,
            },
            Expr::Ident(name) => match Slot::parse(name) {
                Some(Slot::Read(index)) => self.reads.get(index).map_or(Ty::Any, type_of),
                Some(Slot::Has(_)) => Ty::Bool,
                Some(Slot::List(_)) => Ty::List,
                None => Ty::Any,
            },
            Expr::List(list) => {
                for element in &mut list.elements {
                    self.infer(&mut element.expr)?;
                }
                Ty::List
            }
            Expr::Call(call) => self.call(call)?,
            Expr::Select(select) => {
                let operand = self.infer(&mut select.operand.expr)?;
                if !operand.can_be(Ty::Map) {
                    return wrong(format!("{} has no field \"{}\"", operand.noun(), select.field));
                }
                if select.test { Ty::Bool } else { Ty::Any }
            }
            Expr::Map(_) => Ty::Map,
            Expr::Comprehension(it) => {
                let range = self.infer(&mut it.iter_range.expr)?;
                if !range.can_be(Ty::List) && range != Ty::Map {
                    return wrong(format!(
                        "{} is {}, not a list",
                        self.show(&it.iter_range.expr, "this"),
                        range.noun()
                    ));
                }
                Ty::Any
            }
            Expr::Struct(_) | Expr::Unspecified => Ty::Any,
        })
    }

    fn call(&self, call: &mut CallExpr) -> Result<Ty, ExprError> {
        let target = call.target.as_mut().map(|target| &mut target.expr);
        let types = target
            .into_iter()
            .chain(call.args.iter_mut().map(|argument| &mut argument.expr))
            .map(|argument| self.infer(argument))
            .collect::<Result<Vec<_>, _>>()?;
        let arithmetic =
            [operators::ADD, operators::SUBSTRACT, operators::MULTIPLY, operators::DIVIDE, operators::MODULO];
        if arithmetic.contains(&call.func_name.as_str())
            && let [left, right] = call.args.as_mut_slice()
        {
            match types.as_slice() {
                [Ty::Int, Ty::Float] => make_fractional(&mut left.expr),
                [Ty::Float, Ty::Int] => make_fractional(&mut right.expr),
                _ => {}
            }
        }
        let target = call.target.as_ref().map(|target| &target.expr);
        let arguments: Vec<&Expr> = target.into_iter().chain(call.args.iter().map(|argument| &argument.expr)).collect();
        let expect = |index: usize, ty: Ty, of: &str| match (arguments.get(index), types.get(index)) {
            (Some(argument), Some(found)) if !found.can_be(ty) => wrong(format!(
                "{of} wants {}, and {} is {}",
                ty.noun(),
                self.show(argument, "what stands there"),
                found.noun()
            )),
            _ => Ok(()),
        };
        Ok(match (call.func_name.as_str(), types.as_slice()) {
            (operators::LOGICAL_AND | operators::LOGICAL_OR, _) => {
                let of = if call.func_name == operators::LOGICAL_AND { "&&" } else { "||" };
                expect(0, Ty::Bool, of)?;
                expect(1, Ty::Bool, of)?;
                Ty::Bool
            }
            (operators::LOGICAL_NOT, _) => {
                expect(0, Ty::Bool, "!")?;
                Ty::Bool
            }
            (operators::CONDITIONAL, [_, yes, no]) => {
                expect(0, Ty::Bool, "? :")?;
                if yes == no { *yes } else { Ty::Any }
            }
            (
                operators::EQUALS
                | operators::NOT_EQUALS
                | operators::LESS
                | operators::LESS_EQUALS
                | operators::GREATER
                | operators::GREATER_EQUALS,
                &[left, right],
            ) => {
                self.compare(&call.func_name, (arguments[0], left), (arguments[1], right))?;
                Ty::Bool
            }
            (operators::IN, [_, container]) => {
                if !container.can_be(Ty::List) && *container != Ty::Map {
                    return wrong(format!(
                        "in wants a list on its right, and {} is {}; for text write .contains(…)",
                        self.show(arguments[1], "what stands there"),
                        container.noun()
                    ));
                }
                Ty::Bool
            }
            (operators::ADD, &[left, right]) if left == right => left,
            (operators::ADD, [Ty::Any, _] | [_, Ty::Any]) => Ty::Any,
            (
                operators::ADD | operators::SUBSTRACT | operators::MULTIPLY | operators::DIVIDE | operators::MODULO,
                _,
            ) => {
                let of = call.func_name.trim_matches('_');
                expect(0, Ty::Float, of)?;
                expect(1, Ty::Float, of)?;
                if types.contains(&Ty::Any) {
                    Ty::Any
                } else if types.contains(&Ty::Float) {
                    Ty::Float
                } else {
                    Ty::Int
                }
            }
            (operators::NEGATE, _) => {
                expect(0, Ty::Float, "-")?;
                types.first().copied().unwrap_or(Ty::Any)
            }
            ("contains" | "startsWith" | "endsWith", _) => {
                expect(0, Ty::Text, &call.func_name)?;
                expect(1, Ty::Text, &call.func_name)?;
                Ty::Bool
            }
            (functions::MATCHES, _) => {
                expect(0, Ty::Text, "matches")?;
                Ty::Bool
            }
            ("number", _) => {
                expect(0, Ty::Text, "number")?;
                Ty::Float
            }
            ("size" | "int", _) => Ty::Int,
            ("double", _) => Ty::Float,
            ("string", _) => Ty::Text,
            _ => Ty::Any,
        })
    }

    fn compare(&self, operator: &str, left: (&Expr, Ty), right: (&Expr, Ty)) -> Result<(), ExprError> {
        let symbol = operator.trim_matches('_');
        let (left_text, right_text) = (self.show(left.0, "the left side"), self.show(right.0, "the right side"));
        if left.1 == Ty::Null || right.1 == Ty::Null {
            let name = if left.1 == Ty::Null { right_text } else { left_text };
            let not = if symbol == "!=" { "" } else { "!" };
            return wrong(format!("an absent value is unknown, not null; write {not}has({name})"));
        }
        if left.1.can_be(right.1) {
            return Ok(());
        }
        let literal = |expression: &Expr| match expression {
            Expr::Literal(LiteralValue::String(text)) => Some(text.inner().to_owned()),
            _ => None,
        };
        let reading = |expression: &Expr| matches!(expression, Expr::Ident(_));
        let remedy = match (left, right) {
            ((_, Ty::Int | Ty::Float), (text, Ty::Text))
                if literal(text).is_some_and(|text| text.parse::<f64>().is_ok()) =>
            {
                format!("; write {left_text} {symbol} {}", literal(text).unwrap_or_default())
            }
            ((text, Ty::Text), (_, Ty::Int | Ty::Float))
                if literal(text).is_some_and(|text| text.parse::<f64>().is_ok()) =>
            {
                format!("; write {} {symbol} {right_text}", literal(text).unwrap_or_default())
            }
            ((text, Ty::Text), (_, Ty::Int | Ty::Float)) if reading(text) => {
                format!("; write number({left_text}) {symbol} {right_text}")
            }
            ((_, Ty::Int | Ty::Float), (text, Ty::Text)) if reading(text) => {
                format!("; write {left_text} {symbol} number({right_text})")
            }
            ((_, Ty::Bool), (text, Ty::Text)) => match literal(text).as_deref() {
                Some("true") => format!("; write {left_text}"),
                Some("false") => format!("; write !{left_text}"),
                _ => String::new(),
            },
            ((_, Ty::List), (_, Ty::Text)) => format!("; write {right_text} in {left_text}"),
            _ => String::new(),
        };
        wrong(format!("{left_text} is {} and {right_text} is {}{remedy}", left.1.noun(), right.1.noun()))
    }

    /// An operand as it was written, if it is a name or a literal.
    fn show(&self, expression: &Expr, otherwise: &str) -> String {
        match expression {
            Expr::Ident(name) => match Slot::parse(name) {
                Some(Slot::Read(index)) => self.reads.get(index).map(|read| read.name.to_string()),
                Some(Slot::Has(index)) => self.reads.get(index).map(|read| format!("has({})", read.name)),
                _ => None,
            },
            Expr::Literal(LiteralValue::String(text)) => Some(format!("{:?}", text.inner())),
            Expr::Literal(LiteralValue::Int(number)) => Some(number.inner().to_string()),
            Expr::Literal(LiteralValue::Double(number)) => Some(number.inner().to_string()),
            Expr::Literal(LiteralValue::Boolean(truth)) => Some(truth.inner().to_string()),
            _ => None,
        }
        .unwrap_or_else(|| otherwise.to_owned())
    }
}

/// A whole number as a fractional one: `2` as `2.0`, anything else as `double(…)`.
fn make_fractional(expression: &mut Expr) {
    if let Expr::Literal(LiteralValue::Int(number)) = expression {
        *expression = Expr::Literal(LiteralValue::Double(CelDouble::from(*number.inner() as f64)));
        return;
    }
    let argument = IdedExpr { id: 0, expr: std::mem::take(expression) };
    *expression = Expr::Call(CallExpr { func_name: "double".to_owned(), target: None, args: vec![argument] });
}

fn type_of(read: &Read) -> Ty {
    let of = |ty: Type| match ty {
        Type::Bool => Ty::Bool,
        Type::Int | Type::Timestamp => Ty::Int,
        Type::Float => Ty::Float,
        Type::Text => Ty::Text,
        Type::TextList => Ty::List,
    };
    match &read.path {
        Path::Map(_) => Ty::Map,
        Path::Entry(map, _) => of(map_type(*map)),
        _ => of(read.ty),
    }
}
