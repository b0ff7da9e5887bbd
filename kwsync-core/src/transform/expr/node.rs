//! What an expression is made of.

use std::sync::Arc;

use arrow_array::ArrayRef;

use super::function::Function;
use crate::DataType;

/// One step of an expression.
#[derive(Debug)]
pub(super) enum Node {
    Column(Arc<str>),
    /// One value, and how a number or a text was written: it takes the type of what it meets.
    Literal(ArrayRef, Option<Arc<str>>),
    Not(Box<Self>),
    Negative(Box<Self>),
    /// `IS [NOT] NULL`
    IsNull(Box<Self>, bool),
    /// `IS TRUE` and `IS FALSE`, or not
    Is(Box<Self>, bool, bool),
    And(Vec<Self>),
    Or(Vec<Self>),
    /// A value and the list that it is looked for in
    In(Box<Self>, Vec<Self>),
    Compare(Compare, Box<Self>, Box<Self>),
    Arithmetic(Arithmetic, Box<Self>, Box<Self>),
    /// A text, a pattern, whether case counts, whether it is negated
    Like(Box<Self>, Arc<str>, bool, bool),
    /// A text, a regular expression, whether case counts, whether it is negated
    Regex(Box<Self>, Arc<str>, bool, bool),
    Case(Vec<(Self, Self)>, Option<Box<Self>>),
    Cast(Box<Self>, DataType),
    Extract(arrow_arith::temporal::DatePart, Box<Self>),
    Call(Function, Vec<Self>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compare {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Distinct,
    NotDistinct,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Node {
    /// Adds the names of all columns below.
    pub(super) fn columns(&self, names: &mut Vec<Arc<str>>) {
        match self {
            Self::Column(name) => names.push(Arc::clone(name)),
            Self::Literal(..) => {}
            Self::Not(inner)
            | Self::Negative(inner)
            | Self::IsNull(inner, _)
            | Self::Is(inner, ..)
            | Self::Like(inner, ..)
            | Self::Regex(inner, ..)
            | Self::Extract(_, inner)
            | Self::Cast(inner, _) => inner.columns(names),
            Self::And(parts) | Self::Or(parts) => parts.iter().for_each(|part| part.columns(names)),
            Self::In(value, list) => {
                value.columns(names);
                list.iter().for_each(|item| item.columns(names));
            }
            Self::Compare(_, left, right) | Self::Arithmetic(_, left, right) => {
                left.columns(names);
                right.columns(names);
            }
            Self::Case(cases, otherwise) => {
                for (when, then) in cases {
                    when.columns(names);
                    then.columns(names);
                }
                if let Some(otherwise) = otherwise {
                    otherwise.columns(names);
                }
            }
            Self::Call(_, arguments) => arguments.iter().for_each(|argument| argument.columns(names)),
        }
    }
}
