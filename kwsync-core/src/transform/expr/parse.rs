//! Text to [`Node`], by way of `sqlparser`.

use std::sync::Arc;

use arrow_arith::temporal::DatePart;
use arrow_array::{ArrayRef, BooleanArray, Float64Array, Int64Array, NullArray, StringViewArray};
use sqlparser::ast::{
    BinaryOperator, CastKind, CeilFloorKind, DateTimeField, Expr, FunctionArg, FunctionArgExpr,
    FunctionArguments, TrimWhereField, UnaryOperator, Value,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, Tokenizer};

use super::function::Function;
use super::node::{Arithmetic, Compare, Node};
use crate::{DataType, Error, Result};

/// What is longer was not written by a person, and would be deeper than the stack of a thread.
const MAX_TOKENS: usize = 4_000;
const MAX_DEPTH: usize = 100;

/// Reads an expression.
pub(super) fn parse(text: &str) -> Result<Node> {
    let fault = |error: ParserError| {
        let reason = error.to_string();
        let reason = reason.strip_prefix("sql parser error: ").unwrap_or(&reason).to_owned();
        Error::config(format!("`{text}` is no expression: {reason}"))
            .with_hint("write it as behind WHERE in SQL: usage > 0.5 AND host LIKE 'web%'")
    };
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, text)
        .tokenize_with_location()
        .map_err(|error| fault(ParserError::from(error)))?;
    if tokens.len() > MAX_TOKENS {
        return Err(Error::config(format!("an expression of {} words is too long", tokens.len()))
            .with_hint(format!("at most {MAX_TOKENS} are read; split it into several transforms")));
    }
    let mut parser = Parser::new(&PostgreSqlDialect {}).with_tokens_with_locations(tokens);
    let expression = parser.parse_expr().map_err(fault)?;
    let rest = parser.peek_token();
    if rest.token != Token::EOF {
        return Err(Error::config(format!(
            "`{text}` is no expression: {rest} at column {} is one word too many",
            rest.span.start.column
        ))
        .with_hint("AND, OR or an operator may be missing; names with blanks stand in \"...\""));
    }
    node(expression, 0).map_err(|reason| Error::config(format!("`{text}`: {reason}")))
}

type Parsed = std::result::Result<Node, String>;

fn boxed(expression: Expr, depth: usize) -> std::result::Result<Box<Node>, String> {
    node(expression, depth).map(Box::new)
}

fn node(expression: Expr, depth: usize) -> Parsed {
    if depth > MAX_DEPTH {
        return Err(format!("more than {MAX_DEPTH} steps stand in one another"));
    }
    let depth = depth + 1;
    Ok(match expression {
        Expr::Identifier(name) => Node::Column(name.value.into()),
        Expr::CompoundIdentifier(names) => {
            let names: Vec<_> = names.into_iter().map(|name| name.value).collect();
            let dotted = names.join(".");
            return Err(format!(
                "{dotted} has a dot: for a column of that name write \"{dotted}\"; the table needs no naming"
            ));
        }
        Expr::Nested(inner) => node(*inner, depth)?,
        Expr::Value(value) => literal(value.value)?,
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => Node::Not(boxed(*expr, depth)?),
        Expr::UnaryOp { op: UnaryOperator::Plus, expr } => node(*expr, depth)?,
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match *expr {
            Expr::Value(value) => match value.value {
                Value::Number(text, _) => number(&format!("-{text}"))?,
                other => Node::Negative(Box::new(literal(other)?)),
            },
            other => Node::Negative(boxed(other, depth)?),
        },
        Expr::BinaryOp { left, op, right } => binary(*left, &op, *right, depth)?,
        Expr::IsNull(inner) => Node::IsNull(boxed(*inner, depth)?, false),
        Expr::IsNotNull(inner) => Node::IsNull(boxed(*inner, depth)?, true),
        Expr::IsTrue(inner) => Node::Is(boxed(*inner, depth)?, true, false),
        Expr::IsNotTrue(inner) => Node::Is(boxed(*inner, depth)?, true, true),
        Expr::IsFalse(inner) => Node::Is(boxed(*inner, depth)?, false, false),
        Expr::IsNotFalse(inner) => Node::Is(boxed(*inner, depth)?, false, true),
        Expr::IsUnknown(inner) => Node::IsNull(boxed(*inner, depth)?, false),
        Expr::IsNotUnknown(inner) => Node::IsNull(boxed(*inner, depth)?, true),
        Expr::IsDistinctFrom(left, right) => {
            Node::Compare(Compare::Distinct, boxed(*left, depth)?, boxed(*right, depth)?)
        }
        Expr::IsNotDistinctFrom(left, right) => {
            Node::Compare(Compare::NotDistinct, boxed(*left, depth)?, boxed(*right, depth)?)
        }
        Expr::InList { expr, list, negated } => {
            let list = list.into_iter().map(|item| node(item, depth)).collect::<Result<Vec<_>, _>>()?;
            negate(Node::In(boxed(*expr, depth)?, list), negated)
        }
        Expr::Between { expr, negated, low, high } => {
            let from =
                Node::Compare(Compare::GreaterOrEqual, boxed((*expr).clone(), depth)?, boxed(*low, depth)?);
            let to = Node::Compare(Compare::LessOrEqual, boxed(*expr, depth)?, boxed(*high, depth)?);
            negate(Node::And(vec![from, to]), negated)
        }
        Expr::Like { negated, any: false, expr, pattern, escape_char: None } => {
            Node::Like(boxed(*expr, depth)?, text_of(*pattern, "LIKE", depth)?, true, negated)
        }
        Expr::ILike { negated, any: false, expr, pattern, escape_char: None } => {
            Node::Like(boxed(*expr, depth)?, text_of(*pattern, "ILIKE", depth)?, false, negated)
        }
        Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr, data_type, format: None } => {
            Node::Cast(boxed(*expr, depth)?, type_named(&data_type.to_string())?)
        }
        Expr::TypedString(typed) => {
            let value = literal(typed.value.value)?;
            Node::Cast(Box::new(value), type_named(&typed.data_type.to_string())?)
        }
        Expr::Case { operand, conditions, else_result, .. } => {
            let mut cases = Vec::with_capacity(conditions.len());
            for case in conditions {
                let when = match &operand {
                    Some(operand) => Node::Compare(
                        Compare::Equal,
                        boxed((**operand).clone(), depth)?,
                        boxed(case.condition, depth)?,
                    ),
                    None => node(case.condition, depth)?,
                };
                cases.push((when, node(case.result, depth)?));
            }
            Node::Case(cases, else_result.map(|otherwise| boxed(*otherwise, depth)).transpose()?)
        }
        Expr::Extract { field, expr, .. } => Node::Extract(part(&field)?, boxed(*expr, depth)?),
        Expr::Ceil { expr, field: CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) } => {
            Node::Call(Function::Ceil, vec![node(*expr, depth)?])
        }
        Expr::Floor { expr, field: CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) } => {
            Node::Call(Function::Floor, vec![node(*expr, depth)?])
        }
        Expr::Substring { expr, substring_from: Some(from), substring_for, .. } => {
            let mut arguments = vec![node(*expr, depth)?, node(*from, depth)?];
            if let Some(count) = substring_for {
                arguments.push(node(*count, depth)?);
            }
            Node::Call(Function::Substr, arguments)
        }
        Expr::Trim { trim_where, trim_what: None, expr, trim_characters: None } => {
            let function = match trim_where {
                None | Some(TrimWhereField::Both) => Function::Trim,
                Some(TrimWhereField::Leading) => Function::TrimStart,
                Some(TrimWhereField::Trailing) => Function::TrimEnd,
            };
            Node::Call(function, vec![node(*expr, depth)?])
        }
        Expr::Function(call) => function(call, depth)?,
        other => return Err(format!("`{other}` cannot be part of an expression here")),
    })
}

fn negate(node: Node, negated: bool) -> Node {
    if negated { Node::Not(Box::new(node)) } else { node }
}

fn binary(left: Expr, op: &BinaryOperator, right: Expr, depth: usize) -> Parsed {
    let compare = |op, left, right| Ok(Node::Compare(op, boxed(left, depth)?, boxed(right, depth)?));
    let arithmetic = |op, left, right| Ok(Node::Arithmetic(op, boxed(left, depth)?, boxed(right, depth)?));
    let regex = |left, right, exact, negated| {
        let pattern = text_of(right, "a regular expression", depth)?;
        // The kernel compiles it anew for each batch; a fault in it must show now.
        let none = StringViewArray::from(Vec::<&str>::new());
        arrow_string::regexp::regexp_is_match_scalar(&none, &pattern, None)
            .map_err(|error| format!("'{pattern}' is no regular expression: {error}"))?;
        Ok(Node::Regex(boxed(left, depth)?, pattern, exact, negated))
    };
    match op {
        BinaryOperator::And => Ok(Node::And(chain(left, op, right, depth)?)),
        BinaryOperator::Or => Ok(Node::Or(chain(left, op, right, depth)?)),
        BinaryOperator::Eq => compare(Compare::Equal, left, right),
        BinaryOperator::NotEq => compare(Compare::NotEqual, left, right),
        BinaryOperator::Lt => compare(Compare::Less, left, right),
        BinaryOperator::LtEq => compare(Compare::LessOrEqual, left, right),
        BinaryOperator::Gt => compare(Compare::Greater, left, right),
        BinaryOperator::GtEq => compare(Compare::GreaterOrEqual, left, right),
        BinaryOperator::Plus => arithmetic(Arithmetic::Add, left, right),
        BinaryOperator::Minus => arithmetic(Arithmetic::Subtract, left, right),
        BinaryOperator::Multiply => arithmetic(Arithmetic::Multiply, left, right),
        BinaryOperator::Divide => arithmetic(Arithmetic::Divide, left, right),
        BinaryOperator::Modulo => arithmetic(Arithmetic::Remainder, left, right),
        BinaryOperator::StringConcat => {
            Ok(Node::Call(Function::Join, vec![node(left, depth)?, node(right, depth)?]))
        }
        BinaryOperator::PGRegexMatch => regex(left, right, true, false),
        BinaryOperator::PGRegexIMatch => regex(left, right, false, false),
        BinaryOperator::PGRegexNotMatch => regex(left, right, true, true),
        BinaryOperator::PGRegexNotIMatch => regex(left, right, false, true),
        other => Err(format!("the operator {other} is not known here")),
    }
}

/// All parts of `a AND b AND c`, which the parser returns as `(a AND b) AND c`.
fn chain(
    left: Expr,
    op: &BinaryOperator,
    right: Expr,
    depth: usize,
) -> std::result::Result<Vec<Node>, String> {
    let mut parts = vec![node(right, depth)?];
    let mut rest = left;
    loop {
        match rest {
            Expr::BinaryOp { left, op: other, right } if other == *op => {
                parts.push(node(*right, depth)?);
                rest = *left;
            }
            first => {
                parts.push(node(first, depth)?);
                parts.reverse();
                return Ok(parts);
            }
        }
    }
}

fn literal(value: Value) -> Parsed {
    Ok(match value {
        Value::Number(text, _) => number(&text)?,
        Value::SingleQuotedString(text)
        | Value::EscapedStringLiteral(text)
        | Value::UnicodeStringLiteral(text)
        | Value::NationalStringLiteral(text) => {
            let array: ArrayRef = Arc::new(StringViewArray::from(vec![text.as_str()]));
            Node::Literal(array, Some(text.into()))
        }
        Value::Boolean(value) => Node::Literal(Arc::new(BooleanArray::from(vec![value])), None),
        Value::Null => Node::Literal(Arc::new(NullArray::new(1)), None),
        other => return Err(format!("`{other}` is no value that is known here")),
    })
}

fn number(text: &str) -> Parsed {
    let array: ArrayRef = if let Ok(value) = text.parse::<i64>() {
        Arc::new(Int64Array::from(vec![value]))
    } else {
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Arc::new(Float64Array::from(vec![value])),
            _ => return Err(format!("{text} is no number that fits 64 bits")),
        }
    };
    Ok(Node::Literal(array, Some(text.into())))
}

fn text_of(expression: Expr, what: &str, depth: usize) -> std::result::Result<Arc<str>, String> {
    match node(expression, depth)? {
        Node::Literal(array, Some(text)) if *array.data_type() == DataType::Text.to_arrow() => Ok(text),
        _ => Err(format!("{what} takes a text in quotes")),
    }
}

fn type_named(name: &str) -> std::result::Result<DataType, String> {
    let lower = name.to_ascii_lowercase();
    let plain = match lower.strip_suffix(" with time zone") {
        Some(rest) => format!("{}tz", rest.split('(').next().unwrap_or(rest)),
        None => lower.strip_suffix(" without time zone").unwrap_or(&lower).to_owned(),
    };
    plain.parse::<DataType>().map_err(|error| error.message().to_owned())
}

fn part(field: &DateTimeField) -> std::result::Result<DatePart, String> {
    Ok(match field {
        DateTimeField::Year | DateTimeField::Years => DatePart::Year,
        DateTimeField::Quarter => DatePart::Quarter,
        DateTimeField::Month | DateTimeField::Months => DatePart::Month,
        DateTimeField::Week(None) | DateTimeField::Weeks => DatePart::Week,
        DateTimeField::Day | DateTimeField::Days => DatePart::Day,
        DateTimeField::DayOfWeek | DateTimeField::Dow => DatePart::DayOfWeekSunday0,
        DateTimeField::DayOfYear | DateTimeField::Doy => DatePart::DayOfYear,
        DateTimeField::Hour | DateTimeField::Hours => DatePart::Hour,
        DateTimeField::Minute | DateTimeField::Minutes => DatePart::Minute,
        DateTimeField::Second | DateTimeField::Seconds => DatePart::Second,
        other => {
            return Err(format!("EXTRACT knows no {other}: use year to second, quarter, week, dow, doy"));
        }
    })
}

fn function(call: sqlparser::ast::Function, depth: usize) -> Parsed {
    let name = call.name.to_string();
    let plain = call.filter.is_none() && call.over.is_none() && call.within_group.is_empty();
    let function = Function::named(&name)?;
    let mut arguments = Vec::new();
    match call.args {
        FunctionArguments::None => {}
        FunctionArguments::List(list) if plain && list.clauses.is_empty() => {
            for argument in list.args {
                match argument {
                    FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => {
                        arguments.push(node(expression, depth)?);
                    }
                    other => return Err(format!("{name} cannot take `{other}`")),
                }
            }
        }
        _ => return Err(format!("{name} takes plain arguments only")),
    }
    let (least, most) = function.arguments();
    if !(least..=most).contains(&arguments.len()) {
        let wanted = match (least, most) {
            (least, most) if least == most => least.to_string(),
            (least, usize::MAX) => format!("at least {least}"),
            (least, most) => format!("{least} to {most}"),
        };
        return Err(format!("{name} takes {wanted} arguments, not {}", arguments.len()));
    }
    Ok(Node::Call(function, arguments))
}
