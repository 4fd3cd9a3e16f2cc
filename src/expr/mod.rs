//! Conditions in CEL: bounded before compiling, typed against a scope; unknown is not true. Pure.

mod condition;

pub use condition::{Condition, ExprError, Scope, Truth};
