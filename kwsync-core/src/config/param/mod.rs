//! What a connector can be told: each parameter declared once, and read by type.

#[cfg(test)]
mod tests;
mod value;

#[cfg(feature = "jobs")]
pub(crate) use value::duration;

use std::fmt;
use std::time::Duration;

use self::value::Value;
#[cfg(feature = "jobs")]
pub(crate) use self::value::size as parse_size;
use super::Faults;
use super::nearest::did_you_mean;
use super::secret::Secret;
use crate::error::{Error, Result};

/// The declaration of one parameter: its documentation, its check, and its default are all this.
///
/// # Examples
/// ```
/// use kwsync_core::config::{Param, Params};
///
/// static PARAMS: &[Param] = &[
///     Param::choice("format", &["csv", "json"], "how records are written").with_default("csv"),
///     Param::size("chunk", "bytes read at once").with_default("256KiB"),
///     Param::flag("assert", "create the database if it is missing"),
///     Param::text("token", "access token").secret(),
/// ];
/// let params = Params::parse("file source", PARAMS, [("chunk", Some("1MiB")), ("assert", None)])?;
/// assert_eq!(params.choice("format"), Some("csv"));
/// assert_eq!(params.size("chunk"), Some(1 << 20));
/// assert!(params.flag("assert"));
///
/// let error = Params::parse("file source", PARAMS, [("fromat", Some("csv"))]).unwrap_err();
/// assert_eq!(error.to_string(), "file source: unknown parameter `fromat`, did you mean `format`?");
/// # Ok::<(), kwsync_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Param {
    name: &'static str,
    aliases: &'static [&'static str],
    kind: ParamType,
    default: Option<&'static str>,
    help: &'static str,
    required: bool,
    secret: bool,
    ignored: bool,
}

/// What values a parameter takes.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum ParamType {
    /// Any text.
    Text,
    /// `true`, `yes`, `on`, `1` or the key alone; `false`, `no`, `off`, `0`.
    Flag,
    /// A whole number; `_` between digits is skipped.
    Int {
        /// The least that is allowed.
        min: i64,
        /// The most that is allowed.
        max: i64,
    },
    /// A number of bytes: `4096`, `64KiB`, `16MiB`, `1GiB`; also `KB`, `MB`, `GB` (powers of 1000) and
    /// `K`, `M`, `G` (powers of 1024).
    Size,
    /// A time: `500ms`, `30s`, `5m`, `2h`, `7d`; a bare number counts in `unit`.
    Duration {
        /// What a number without a unit counts.
        unit: Duration,
        /// Whether `never` is a value; it reads as [`Duration::MAX`].
        never: bool,
    },
    /// One of these words, in any letter case.
    Choice(&'static [&'static str]),
    /// Texts between commas or line ends; blanks around them and empty ones are dropped. May be given several times.
    List,
    /// Any text, under any name that begins with the declared one.
    Prefix,
}

impl Param {
    const fn new(name: &'static str, kind: ParamType, help: &'static str) -> Self {
        Self { name, aliases: &[], kind, default: None, help, required: false, secret: false, ignored: false }
    }

    /// A parameter that is any text; `help` is one line, without a full stop.
    pub const fn text(name: &'static str, help: &'static str) -> Self {
        Self::new(name, ParamType::Text, help)
    }

    /// A switch, off by default.
    pub const fn flag(name: &'static str, help: &'static str) -> Self {
        Self::new(name, ParamType::Flag, help)
    }

    /// A whole number from `min` to `max`.
    pub const fn int(name: &'static str, min: i64, max: i64, help: &'static str) -> Self {
        Self::new(name, ParamType::Int { min, max }, help)
    }

    /// A number of bytes.
    pub const fn size(name: &'static str, help: &'static str) -> Self {
        Self::new(name, ParamType::Size, help)
    }

    /// A time; a number without a unit counts in `unit`.
    pub const fn duration(name: &'static str, unit: Duration, help: &'static str) -> Self {
        Self::new(name, ParamType::Duration { unit, never: false }, help)
    }

    /// A time, or `never`.
    pub const fn duration_or_never(name: &'static str, unit: Duration, help: &'static str) -> Self {
        Self::new(name, ParamType::Duration { unit, never: true }, help)
    }

    /// One of `words`.
    pub const fn choice(name: &'static str, words: &'static [&'static str], help: &'static str) -> Self {
        Self::new(name, ParamType::Choice(words), help)
    }

    /// Several texts.
    pub const fn list(name: &'static str, help: &'static str) -> Self {
        Self::new(name, ParamType::List, help)
    }

    /// Any number of texts whose names begin with `name`, as `kafka.`: what is passed on to somebody else.
    pub const fn prefix(name: &'static str, help: &'static str) -> Self {
        Self::new(name, ParamType::Prefix, help)
    }

    /// Other names that mean the same.
    #[must_use]
    pub const fn with_aliases(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    /// The value where none is given, written as a user would.
    #[must_use]
    pub const fn with_default(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }

    /// It must be given.
    #[must_use]
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Its value is never shown.
    #[must_use]
    pub const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// Other programs document it, and it means nothing here: any value is accepted, and the plan lists it.
    #[must_use]
    pub const fn ignored(mut self) -> Self {
        self.ignored = true;
        self
    }

    /// The name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The other names.
    pub fn aliases(&self) -> &'static [&'static str] {
        self.aliases
    }

    /// What values it takes.
    pub fn kind(&self) -> ParamType {
        self.kind
    }

    /// The value where none is given.
    pub fn default(&self) -> Option<&'static str> {
        self.default
    }

    /// One line that says what it is.
    pub fn help(&self) -> &'static str {
        self.help
    }

    /// Whether it must be given.
    pub fn is_required(&self) -> bool {
        self.required
    }

    /// Whether its value is never shown.
    pub fn is_secret(&self) -> bool {
        self.secret
    }

    /// Whether it is accepted and means nothing.
    pub fn is_ignored(&self) -> bool {
        self.ignored
    }

    /// Whether `name` is its name or one of its aliases.
    pub fn is_called(&self, name: &str) -> bool {
        match self.kind {
            ParamType::Prefix => name.starts_with(self.name),
            _ => self.name == name || self.aliases.contains(&name),
        }
    }

    fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Provenance {
    /// From the declaration.
    Default,
    /// From the user.
    Given,
}

/// The parameters of one connector, checked and typed.
///
/// The getters take the declared name. Asking by another type than the declared one is a fault of the
/// connector: it is caught in debug builds, and gives nothing otherwise.
#[derive(Clone)]
pub struct Params {
    slots: Vec<Slot>,
}

#[derive(Clone)]
struct Slot {
    param: &'static Param,
    value: Option<Value>,
    text: String,
    provenance: Provenance,
}

/// One parameter as it stands, for printing.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    /// Its declaration.
    pub param: &'static Param,
    /// Its value as text, `***` for a secret; `None` where it has none.
    pub value: Option<&'a str>,
    /// Where the value comes from.
    pub provenance: Provenance,
}

impl Params {
    /// Checks `given`, pairs of a name and a value (`None` for a key alone), against `declared`. An empty
    /// value counts as not given; the same value twice is fine. `subject` heads the errors: `file source`.
    ///
    /// # Errors
    /// [`Config`](crate::ErrorKind::Config) with all faults at once: unknown names with the nearest known
    /// one, values out of type or range, contradictions, and required parameters that are missing. Values of
    /// secrets are left out.
    pub fn parse<'a>(
        subject: &str,
        declared: &'static [Param],
        given: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Result<Self> {
        let mut sets = Self::parse_sets(subject, &[declared], given)?;
        Ok(sets.pop().unwrap_or(Self { slots: Vec::new() }))
    }

    /// Like [`parse`](Self::parse) for several declarations at once, as a connector and its format share one
    /// address: each gets the parameters that it declares, and only what none declares is unknown.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_sets<'a>(
        subject: &str,
        declared: &[&'static [Param]],
        given: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Result<Vec<Self>> {
        let slot = |param| Slot { param, value: None, text: String::new(), provenance: Provenance::Default };
        let mut sets: Vec<_> =
            declared.iter().map(|set| Self { slots: set.iter().map(slot).collect() }).collect();
        let mut faults = Faults::default();
        for (name, text) in given {
            let mut known = false;
            for slot in
                sets.iter_mut().flat_map(|set| &mut set.slots).filter(|slot| slot.param.is_called(name))
            {
                known = true;
                if text != Some("") {
                    faults.check(slot.give(name, text));
                }
            }
            if !known {
                faults.check(Err(unknown(name, declared)));
            }
        }
        for slot in sets.iter_mut().flat_map(|set| &mut set.slots) {
            faults.check(slot.complete());
        }
        faults.finish(subject)?;
        Ok(sets)
    }

    fn slot(&self, name: &str) -> Option<&Slot> {
        let slot = self.slots.iter().find(|slot| slot.param.name == name);
        debug_assert!(slot.is_some(), "`{name}` is not declared");
        slot
    }

    fn value(&self, name: &str) -> Option<&Value> {
        self.slot(name)?.value.as_ref()
    }

    /// A text.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.value(name)? {
            Value::Text(text) => Some(text),
            other => mismatch(name, other),
        }
    }

    /// A text that must not be seen.
    pub fn secret(&self, name: &str) -> Option<Secret> {
        self.text(name).map(Secret::from)
    }

    /// A switch; off where it is not given and has no default.
    pub fn flag(&self, name: &str) -> bool {
        match self.value(name) {
            None => false,
            Some(Value::Flag(on)) => *on,
            Some(other) => mismatch(name, other).unwrap_or_default(),
        }
    }

    /// A whole number.
    pub fn int(&self, name: &str) -> Option<i64> {
        match self.value(name)? {
            Value::Int(number) => Some(*number),
            other => mismatch(name, other),
        }
    }

    /// A number of bytes.
    pub fn size(&self, name: &str) -> Option<u64> {
        match self.value(name)? {
            Value::Size(bytes) => Some(*bytes),
            other => mismatch(name, other),
        }
    }

    /// A time; [`Duration::MAX`] for `never`.
    pub fn duration(&self, name: &str) -> Option<Duration> {
        match self.value(name)? {
            Value::Duration(time) => Some(*time),
            other => mismatch(name, other),
        }
    }

    /// A word, as it is declared.
    pub fn choice(&self, name: &str) -> Option<&'static str> {
        match self.value(name)? {
            Value::Choice(word) => Some(word),
            other => mismatch(name, other),
        }
    }

    /// Several texts; empty where it is not given.
    pub fn list(&self, name: &str) -> &[String] {
        match self.value(name) {
            None => &[],
            Some(Value::List(items)) => items,
            Some(other) => mismatch(name, other).unwrap_or_default(),
        }
    }

    /// What was given under names that begin with `prefix`: the rest of the name, and the value.
    pub fn prefixed(&self, prefix: &str) -> impl Iterator<Item = (&str, &str)> {
        let items: &[(String, String)] = match self.value(prefix) {
            Some(Value::Pairs(pairs)) => pairs,
            Some(other) => mismatch(prefix, other).unwrap_or_default(),
            None => &[],
        };
        items.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Where the value of `name` comes from; `None` where it has none.
    pub fn provenance(&self, name: &str) -> Option<Provenance> {
        self.slot(name).filter(|slot| slot.value.is_some()).map(|slot| slot.provenance)
    }

    /// Whether the user gave a value for `name`.
    pub fn is_given(&self, name: &str) -> bool {
        self.provenance(name) == Some(Provenance::Given)
    }

    /// Every parameter in the order of the declaration, for plans and logs.
    pub fn settings(&self) -> impl Iterator<Item = Setting<'_>> {
        self.slots.iter().map(|slot| Setting {
            param: slot.param,
            value: slot.value.as_ref().map(|_| slot.shown()),
            provenance: slot.provenance,
        })
    }

    /// The names of those that were given and mean nothing here.
    pub fn ignored(&self) -> impl Iterator<Item = &'static str> {
        self.slots
            .iter()
            .filter(|slot| slot.param.ignored && slot.value.is_some())
            .map(|slot| slot.param.name)
    }
}

impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.settings().map(|setting| (setting.param.name, setting.value))).finish()
    }
}

impl Slot {
    fn give(&mut self, name: &str, text: Option<&str>) -> Result<()> {
        let param = self.param;
        if param.kind == ParamType::Prefix {
            return self.give_pair(name, text);
        }
        let value = if param.ignored {
            Value::Text(text.unwrap_or_default().to_owned())
        } else {
            value::parse(param.kind, text).map_err(|needs| {
                let given = match text {
                    Some(_) if param.secret => "=***".to_owned(),
                    Some(text) => format!("={}", shortened(text)),
                    None => String::new(),
                };
                Error::config(format!("`{name}{given}` is wrong: it takes {needs}"))
            })?
        };
        if self.provenance == Provenance::Given && !param.ignored {
            match (&mut self.value, value) {
                (Some(Value::List(items)), Value::List(more)) => items.extend(more),
                (Some(old), new) if *old != new => {
                    let names: Vec<_> = param.names().collect();
                    return Err(Error::config(format!("`{name}` is given twice, with different values"))
                        .with_hint(format!(
                            "leave one out; these names mean the same: {}",
                            names.join(", ")
                        )));
                }
                _ => {}
            }
            if let (ParamType::List, Some(text)) = (param.kind, text) {
                self.text.push(',');
                self.text.push_str(text);
            }
            return Ok(());
        }
        self.value = Some(value);
        self.text = text.unwrap_or("true").to_owned();
        self.provenance = Provenance::Given;
        Ok(())
    }

    fn give_pair(&mut self, name: &str, text: Option<&str>) -> Result<()> {
        let (Some(rest), Some(text)) =
            (name.strip_prefix(self.param.name).filter(|rest| !rest.is_empty()), text)
        else {
            return Err(Error::config(format!("`{name}` is wrong"))
                .with_hint(format!("write {}NAME=VALUE", self.param.name)));
        };
        let pair = (rest.to_owned(), text.to_owned());
        match &mut self.value {
            Some(Value::Pairs(pairs)) => pairs.push(pair),
            value => *value = Some(Value::Pairs(vec![pair])),
        }
        self.text = if self.text.is_empty() { rest.to_owned() } else { format!("{},{rest}", self.text) };
        self.provenance = Provenance::Given;
        Ok(())
    }

    fn complete(&mut self) -> Result<()> {
        if self.value.is_some() {
            return Ok(());
        }
        if let Some(default) = self.param.default {
            let value = value::parse(self.param.kind, Some(default)).map_err(|needs| {
                Error::config(format!(
                    "the default of `{}`, `{default}`, is wrong: it takes {needs}",
                    self.param.name
                ))
            })?;
            self.value = Some(value);
            self.text = default.to_owned();
        } else if self.param.required {
            let Param { name, help, .. } = self.param;
            return Err(Error::config(format!("the parameter `{name}` is missing"))
                .with_hint(format!("{name}: {help}")));
        }
        Ok(())
    }

    fn shown(&self) -> &str {
        if self.param.secret { "***" } else { &self.text }
    }
}

fn unknown(name: &str, declared: &[&'static [Param]]) -> Error {
    let all = || declared.iter().copied().flatten();
    let meant = did_you_mean(name, all().flat_map(Param::names));
    let error = Error::config(format!("unknown parameter `{name}`{meant}"));
    if !meant.is_empty() {
        return error;
    }
    let names: Vec<_> = all().filter(|param| !param.ignored).map(|param| param.name).collect();
    error.with_hint(if names.is_empty() {
        "there are no parameters here".to_owned()
    } else {
        format!("known are: {}", names.join(", "))
    })
}

/// At most sixty characters.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

fn mismatch<T>(name: &str, value: &Value) -> Option<T> {
    debug_assert!(false, "`{name}` is declared as another type, {:?}", std::mem::discriminant(value));
    None
}
