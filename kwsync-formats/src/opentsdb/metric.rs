//! What table and columns a metric goes into.

/// How a metric becomes a table and a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum MetricNames {
    /// Table `tb.c1`, columns `timestamp` and `value`
    #[default]
    Verbatim,
    /// Table `tb_c1`, columns `k_timestamp` and `value`
    Underscore,
    /// Table `tb`, column `c1`, cut at the last dot; a metric without a dot is a table with the column `value`
    Split,
}

/// The table, the column of the value, and that of the time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The table
    pub table: String,
    /// The column of the value
    pub value: String,
    /// The column of the time, unless another was chosen
    pub time: &'static str,
}

impl MetricNames {
    /// Where points of `metric` go.
    ///
    /// # Examples
    /// ```
    /// use kwsync_formats::opentsdb::MetricNames;
    /// let names = MetricNames::Split.of("sys.cpu.user");
    /// assert_eq!((names.table.as_str(), names.value.as_str()), ("sys.cpu", "user"));
    /// ```
    #[must_use]
    pub fn of(self, metric: &str) -> Names {
        let value = "value".to_owned();
        match self {
            Self::Verbatim => Names { table: metric.to_owned(), value, time: "timestamp" },
            Self::Underscore => Names { table: metric.replace('.', "_"), value, time: "k_timestamp" },
            Self::Split => match metric.rsplit_once('.') {
                Some((table, column)) if !table.is_empty() && !column.is_empty() => {
                    Names { table: table.to_owned(), value: column.to_owned(), time: "timestamp" }
                }
                _ => Names { table: metric.to_owned(), value, time: "timestamp" },
            },
        }
    }
}

/// `verbatim`, `underscore`, `split`; the error is the text that was none of them.
impl std::str::FromStr for MetricNames {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "verbatim" => Ok(Self::Verbatim),
            "underscore" => Ok(Self::Underscore),
            "split" => Ok(Self::Split),
            other => Err(format!("{other:?} is none of verbatim, underscore, split")),
        }
    }
}
