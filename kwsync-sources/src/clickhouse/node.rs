//! Columns of the format Native as they come, piece by piece. What was taken of a block stays where a chunk ends, so that it does not
//! matter where that is.

use kwsync_core::system::clickhouse::types::Type;

use super::native::MOST_BYTES;

/// Most values within the rows of a block: more would not fit into an array.
const MOST_VALUES: u64 = 1 << 30;

/// The bytes do not follow the format.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken(pub(super) &'static str);

/// What is left of a chunk.
#[derive(Debug)]
pub(super) struct Input<'a> {
    pub(super) rest: &'a [u8],
}

impl<'a> Input<'a> {
    /// Up to so many bytes.
    pub(super) fn some(&mut self, most: usize) -> &'a [u8] {
        let (head, rest) = self.rest.split_at(most.min(self.rest.len()));
        self.rest = rest;
        head
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }
}

/// A number of seven bits a byte, on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct VarInt {
    value: u64,
    shift: u32,
}

impl VarInt {
    /// The number, once all of it is there.
    pub(super) fn take(&mut self, input: &mut Input<'_>) -> Result<Option<u64>, Broken> {
        while let Some(byte) = input.byte() {
            if self.shift > 63 || (self.shift == 63 && byte > 1) {
                return Err(Broken("a number has more than 64 bits"));
            }
            self.value |= u64::from(byte & 0x7f) << self.shift;
            self.shift += 7;
            if byte & 0x80 == 0 {
                let value = self.value;
                *self = Self::default();
                return Ok(Some(value));
            }
        }
        Ok(None)
    }
}

/// A number of eight bytes, on its way.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Word {
    bytes: [u8; 8],
    len: usize,
}

impl Word {
    fn take(&mut self, input: &mut Input<'_>) -> Option<u64> {
        while self.len < 8 {
            let byte = input.byte()?;
            if let Some(place) = self.bytes.get_mut(self.len) {
                *place = byte;
            }
            self.len += 1;
        }
        self.len = 0;
        Some(u64::from_le_bytes(self.bytes))
    }
}

/// Texts, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Strings {
    pub(super) ends: Vec<usize>,
    pub(super) data: Vec<u8>,
    length: VarInt,
    /// Bytes of the text in hand that are still to come.
    left: Option<usize>,
}

impl Strings {
    fn fill(&mut self, input: &mut Input<'_>, upto: usize) -> Result<bool, Broken> {
        while self.ends.len() < upto {
            let left = match (self.left, input.rest.split_first()) {
                (Some(left), _) => left,
                // Most are short, and all there.
                (None, Some((length, rest))) if *length < 0x80 && self.length.shift == 0 => {
                    let length = usize::from(*length);
                    if let Some((text, rest)) = rest.split_at_checked(length) {
                        self.data.extend_from_slice(text);
                        self.ends.push(self.data.len());
                        input.rest = rest;
                        continue;
                    }
                    input.rest = rest;
                    length
                }
                _ => match self.length.take(input)? {
                    Some(length) => {
                        usize::try_from(length).map_err(|_| Broken("a text is longer than memory"))?
                    }
                    None => return Ok(false),
                },
            };
            let some = input.some(left);
            self.data.extend_from_slice(some);
            match left - some.len() {
                0 => {
                    self.left = None;
                    self.ends.push(self.data.len());
                }
                left => {
                    self.left = Some(left);
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    pub(super) fn get(&self, row: usize) -> &[u8] {
        let from = row.checked_sub(1).and_then(|row| self.ends.get(row)).copied().unwrap_or(0);
        let to = self.ends.get(row).copied().unwrap_or(from);
        self.data.get(from..to).unwrap_or_default()
    }

    fn push(&mut self, text: &[u8]) {
        self.data.extend_from_slice(text);
        self.ends.push(self.data.len());
    }
}

/// A column, or a part of one.
#[derive(Debug)]
pub(super) enum Node {
    /// Values of so many bytes each.
    Fixed {
        width: usize,
        data: Vec<u8>,
        base: usize,
    },
    Strings {
        strings: Strings,
        base: usize,
    },
    /// One byte a row, 1 for null; then values for all rows.
    Nullable {
        nulls: Vec<u8>,
        base: usize,
        inner: Box<Self>,
    },
    Low(Box<Low>),
    /// The end of each row among the values; then the values.
    List {
        ends: Vec<u64>,
        base: usize,
        word: Word,
        item: Box<Self>,
    },
    Tuple(Vec<Self>),
}

/// Values by their numbers in a dictionary that each block brings along; they are looked up as they come.
#[derive(Debug)]
pub(super) struct Low {
    nullable: bool,
    stage: Stage,
    word: Word,
    version: bool,
    width: usize,
    keys: Node,
    keys_count: usize,
    /// Bytes of the number in hand.
    index: [u8; 8],
    index_len: usize,
    left: u64,
    base: usize,
    pub(super) nulls: Vec<u8>,
    pub(super) values: Node,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Flags,
    KeyCount,
    Keys,
    RowCount,
    Rows,
}

impl Node {
    /// What takes a column of a type.
    pub(super) fn of(of: &Type) -> Self {
        let fixed = |width: usize| Self::Fixed { width, data: Vec::new(), base: 0 };
        let list = |item: Self| Self::List {
            ends: Vec::new(),
            base: 0,
            word: Word::default(),
            item: Box::new(item),
        };
        match of {
            Type::Int(bytes) | Type::UInt(bytes) | Type::Enum(bytes, _) => fixed(usize::from(*bytes)),
            Type::Bool | Type::Nothing => fixed(1),
            Type::BFloat16 | Type::Date => fixed(2),
            Type::Float32 | Type::Date32 | Type::DateTime | Type::Ipv4 => fixed(4),
            Type::Float64 | Type::DateTime64(_) => fixed(8),
            Type::Decimal(1..=9, _) => fixed(4),
            Type::Decimal(10..=18, _) => fixed(8),
            Type::Decimal(19..=38, _) => fixed(16),
            Type::Decimal(..) => fixed(32),
            Type::Uuid | Type::Ipv6 => fixed(16),
            Type::FixedString(width) => fixed(*width),
            Type::Nullable(inner) => {
                Self::Nullable { nulls: Vec::new(), base: 0, inner: Box::new(Self::of(inner)) }
            }
            Type::LowCardinality(inner) => {
                let bare = Self::of(inner.bare());
                Self::Low(Box::new(Low {
                    nullable: inner.is_nullable(),
                    stage: Stage::Flags,
                    word: Word::default(),
                    version: false,
                    width: 1,
                    keys: bare,
                    keys_count: 0,
                    index: [0; 8],
                    index_len: 0,
                    left: 0,
                    base: 0,
                    nulls: Vec::new(),
                    values: Self::of(inner.bare()),
                }))
            }
            Type::Array(item) => list(Self::of(item)),
            Type::Map(key, value) => list(Self::Tuple(vec![Self::of(key), Self::of(value)])),
            Type::Tuple(parts) => Self::Tuple(parts.iter().map(|(_, part)| Self::of(part)).collect()),
            // The type is open to others, of which the parser makes none.
            _ => Self::Strings { strings: Strings::default(), base: 0 },
        }
    }

    /// Rows that are there.
    pub(super) fn rows(&self) -> usize {
        match self {
            Self::Fixed { width, data, .. } => data.len() / width,
            Self::Strings { strings, .. } => strings.ends.len(),
            Self::Nullable { inner, .. } => inner.rows(),
            Self::Low(low) => low.nulls.len(),
            Self::List { ends, .. } => ends.len(),
            Self::Tuple(parts) => parts.first().map_or(0, Self::rows),
        }
    }

    /// Bytes that are held, about.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Fixed { data, .. } => data.len(),
            Self::Strings { strings, .. } => strings.data.len() + 8 * strings.ends.len(),
            Self::Nullable { nulls, inner, .. } => nulls.len() + inner.bytes(),
            Self::Low(low) => low.keys.bytes() + low.nulls.len() + low.values.bytes(),
            Self::List { ends, item, .. } => 8 * ends.len() + item.bytes(),
            Self::Tuple(parts) => parts.iter().map(Self::bytes).sum(),
        }
    }

    /// Begins a block.
    pub(super) fn begin(&mut self) {
        let rows = self.rows();
        match self {
            Self::Fixed { base, .. } | Self::Strings { base, .. } => *base = rows,
            Self::Nullable { nulls, base, inner } => {
                *base = nulls.len();
                inner.begin();
            }
            Self::Low(low) => {
                (low.base, low.version, low.stage) = (low.nulls.len(), false, Stage::Flags);
                low.values.begin();
            }
            Self::List { ends, base, item, .. } => {
                *base = ends.len();
                item.begin();
            }
            Self::Tuple(parts) => parts.iter_mut().for_each(Self::begin),
        }
    }

    /// What stands in front of the values of a block; true once all of it is there.
    pub(super) fn prefix(&mut self, input: &mut Input<'_>) -> Result<bool, Broken> {
        match self {
            Self::Fixed { .. } | Self::Strings { .. } => Ok(true),
            Self::Nullable { inner, .. } => inner.prefix(input),
            Self::List { item, .. } => item.prefix(input),
            Self::Tuple(parts) => {
                for part in parts {
                    if !part.prefix(input)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Self::Low(low) => {
                if !low.version {
                    match low.word.take(input) {
                        Some(1) => low.version = true,
                        Some(_) => return Err(Broken("a dictionary is of an unknown version")),
                        None => return Ok(false),
                    }
                }
                Ok(true)
            }
        }
    }

    /// Takes so many rows of a block, beside those of earlier ones; true once all are there.
    pub(super) fn fill(&mut self, input: &mut Input<'_>, rows: usize) -> Result<bool, Broken> {
        match self {
            Self::Fixed { width, data, base } => {
                let want = base.saturating_add(rows).saturating_mul(*width);
                let some = input.some(want - data.len().min(want));
                data.extend_from_slice(some);
                Ok(data.len() >= want)
            }
            Self::Strings { strings, base } => strings.fill(input, base.saturating_add(rows)),
            Self::Nullable { nulls, base, inner } => {
                let want = base.saturating_add(rows);
                let some = input.some(want - nulls.len().min(want));
                nulls.extend_from_slice(some);
                Ok(nulls.len() >= want && inner.fill(input, rows)?)
            }
            Self::Low(low) => low.fill(input, rows),
            Self::List { ends, base, word, item } => {
                let before = base.checked_sub(1).and_then(|at| ends.get(at)).copied().unwrap_or(0);
                while ends.len() < base.saturating_add(rows) {
                    let Some(end) = word.take(input) else { return Ok(false) };
                    let last = ends.last().copied().unwrap_or(0);
                    match end.checked_add(before).filter(|end| (last..=MOST_VALUES).contains(end)) {
                        Some(end) => ends.push(end),
                        None => return Err(Broken("lists end in no order")),
                    }
                }
                let all = ends.last().copied().unwrap_or(0) - before;
                item.fill(input, all as usize)
            }
            Self::Tuple(parts) => {
                for part in parts {
                    if !part.fill(input, rows)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
        }
    }

    /// Adds a row of another column of the same type.
    fn push(&mut self, of: &Self, row: usize) -> Result<(), Broken> {
        match (self, of) {
            (Self::Fixed { width, data, .. }, Self::Fixed { data: from, .. }) => {
                let at = row.saturating_mul(*width);
                let value = from.get(at..at.saturating_add(*width));
                data.extend_from_slice(value.ok_or(Broken("a dictionary lacks a value"))?);
            }
            (Self::Strings { strings, .. }, Self::Strings { strings: from, .. }) => {
                strings.push(from.get(row));
            }
            _ => return Err(Broken("a dictionary is of no plain type")),
        }
        Ok(())
    }

    fn clear(&mut self) {
        match self {
            Self::Fixed { data, base, .. } => {
                data.clear();
                *base = 0;
            }
            Self::Strings { strings, base } => {
                *strings = Strings::default();
                *base = 0;
            }
            _ => {}
        }
    }
}

impl Low {
    const WIDTH: u64 = 0xff;
    const GLOBAL: u64 = 1 << 8;
    const KEYS: u64 = 1 << 9;

    fn fill(&mut self, input: &mut Input<'_>, rows: usize) -> Result<bool, Broken> {
        let want = self.base.saturating_add(rows);
        while self.nulls.len() < want {
            match self.stage {
                Stage::Flags => {
                    let Some(flags) = self.word.take(input) else { return Ok(false) };
                    if flags & Self::GLOBAL != 0 || flags & Self::KEYS == 0 {
                        return Err(Broken("a dictionary lies outside of its block"));
                    }
                    self.width = match flags & Self::WIDTH {
                        power @ 0..=3 => 1 << power,
                        _ => return Err(Broken("a dictionary has numbers of an unknown width")),
                    };
                    self.stage = Stage::KeyCount;
                }
                Stage::KeyCount => {
                    let Some(count) = self.word.take(input) else { return Ok(false) };
                    if count > MOST_VALUES {
                        return Err(Broken("a dictionary is longer than any block"));
                    }
                    self.keys.clear();
                    (self.keys_count, self.stage) = (count as usize, Stage::Keys);
                }
                Stage::Keys => {
                    if !self.keys.fill(input, self.keys_count)? {
                        return Ok(false);
                    }
                    self.stage = Stage::RowCount;
                }
                Stage::RowCount => {
                    let Some(count) = self.word.take(input) else { return Ok(false) };
                    if count == 0 || count > (want - self.nulls.len()) as u64 {
                        return Err(Broken("a dictionary is of more rows than there are"));
                    }
                    (self.left, self.stage) = (count, Stage::Rows);
                }
                Stage::Rows => {
                    let Some(byte) = input.byte() else { return Ok(false) };
                    if let Some(place) = self.index.get_mut(self.index_len) {
                        *place = byte;
                    }
                    self.index_len += 1;
                    if self.index_len < self.width {
                        continue;
                    }
                    let at = usize::try_from(u64::from_le_bytes(self.index)).unwrap_or(usize::MAX);
                    (self.index, self.index_len) = ([0; 8], 0);
                    if at >= self.keys_count {
                        return Err(Broken("a dictionary lacks a value"));
                    }
                    self.values.push(&self.keys, at)?;
                    // The first of one with nulls stands for null.
                    self.nulls.push(u8::from(self.nullable && at == 0));
                    self.left -= 1;
                    if self.left == 0 {
                        self.stage = Stage::Flags;
                    }
                    // A few bytes of numbers can mean a long value each: what is too much is refused by whoever asks next.
                    if self.values.bytes() > MOST_BYTES {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }
}
