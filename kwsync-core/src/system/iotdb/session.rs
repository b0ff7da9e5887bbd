//! A session with a server.

use std::time::Duration;

use arrow_array::{ArrayRef, Int64Array};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::status::{error_of, lost, protocol};
use super::{SeriesType, Status, Tablet, block, rpc};
use crate::config::{Dsn, Params, Secret};
use crate::data::Value;
use crate::{Error, ErrorKind, Result, TimeUnit};

/// Where IoTDB listens for clients unless the address says otherwise.
pub const DEFAULT_PORT: u16 = 6667;
/// An answer that is larger is none.
const MOST_ANSWER: usize = 1 << 30;

/// How to reach a server and who to be there.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectConfig {
    /// The nodes of the cluster; the first that answers is taken.
    pub hosts: Vec<(String, u16)>,
    /// The user.
    pub user: String,
    /// The password.
    pub password: Secret,
    /// How long connecting may take, for each node.
    pub connect_timeout: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
}

impl ConnectConfig {
    /// A server at `host:port`, with the user and password that a new one has: root and root.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            hosts: vec![(host.into(), port)],
            user: "root".to_owned(),
            password: "root".into(),
            connect_timeout: Duration::from_secs(10),
            timeout: Duration::from_secs(300),
        }
    }

    /// Nodes, user and password of an address, with the parameters `user`, `password`, `node-urls`, `connect_timeout` and `timeout`,
    /// which must be declared.
    ///
    /// # Errors
    /// `Config` for an address without a host, or a node that is no `HOST:PORT`.
    pub fn from_params(dsn: &Dsn, params: &Params) -> Result<Self> {
        let mut hosts: Vec<_> = dsn
            .hosts()
            .iter()
            .filter(|host| !host.name().is_empty())
            .map(|host| (host.name().to_owned(), host.port_or(DEFAULT_PORT)))
            .collect();
        for node in params.list("node-urls") {
            let (host, port) = node.rsplit_once(':').unwrap_or((node, "6667"));
            let port = port.parse().map_err(|_| {
                Error::config(format!("node-urls: {node:?} is no HOST:PORT"))
                    .with_hint("as in node-urls=h1:6667,h2:6667")
            })?;
            hosts.push((host.to_owned(), port));
        }
        let (host, port) = hosts.first().cloned().ok_or_else(|| {
            Error::config("the address says not where IoTDB is").with_hint(
                "write iotdb://USER:PASSWORD@HOST:6667; in a pipe 'source.ip'='HOST', 'source.port'='6667', since kwsync does not run inside of IoTDB",
            )
        })?;
        let mut config = Self::new(host, port);
        config.hosts = hosts;
        if let Some(user) = dsn.user().filter(|user| !user.is_empty()).or_else(|| params.text("user")) {
            user.clone_into(&mut config.user);
        }
        if let Some(password) = dsn.password().cloned().or_else(|| params.secret("password")) {
            config.password = password;
        }
        if let Some(timeout) = params.duration("connect_timeout") {
            config.connect_timeout = timeout;
        }
        if let Some(timeout) = params.duration("timeout") {
            config.timeout = timeout;
        }
        Ok(config)
    }

    /// The nodes, for messages.
    pub fn place(&self) -> String {
        let all: Vec<_> = self.hosts.iter().map(|(host, port)| format!("{host}:{port}")).collect();
        all.join(", ")
    }
}

/// A session, over one connection. One call at a time.
///
/// # Cancel safety
/// A call whose future is dropped leaves an answer on its way: the session [is broken](Self::is_broken) then.
#[derive(Debug)]
pub struct Session {
    stream: TcpStream,
    place: String,
    timeout: Duration,
    session: i64,
    statement: i64,
    unit: TimeUnit,
    version: String,
    most_bytes: usize,
    broken: bool,
}

impl Session {
    /// Opens a session with the first node that answers.
    ///
    /// # Errors
    /// `Auth` for a wrong password; `Unavailable` or `Timeout` if no node answers; `Protocol` if something else listens there.
    pub async fn connect(config: &ConnectConfig) -> Result<Self> {
        let mut last = None;
        for (host, port) in &config.hosts {
            match Self::at(config, host, *port).await {
                Ok(session) => return Ok(session),
                Err(error) if error.kind() == ErrorKind::Auth => return Err(error),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| Error::config("the address says not where IoTDB is")))
    }

    async fn at(config: &ConnectConfig, host: &str, port: u16) -> Result<Self> {
        let place = format!("{host}:{port}");
        let opening = async {
            let stream = TcpStream::connect((host, port))
                .await
                .map_err(|error| Error::io(format!("cannot connect to IoTDB at {place}"), error))?;
            stream.set_nodelay(true).map_err(|error| Error::io("cannot set up the connection", error))?;
            let mut made = Self {
                stream,
                place: place.clone(),
                timeout: config.timeout,
                session: 0,
                statement: 0,
                unit: TimeUnit::Millisecond,
                version: String::new(),
                most_bytes: 16 << 20,
                broken: false,
            };
            made.open(config).await?;
            Ok(made)
        };
        match tokio::time::timeout(config.connect_timeout, opening).await {
            Ok(made) => made,
            Err(_) => Err(Error::new(
                ErrorKind::Timeout,
                format!("IoTDB at {place} did not answer within {:?}", config.connect_timeout),
            )
            .with_hint("is this the RPC port (dn_rpc_port, usually 6667)? connect_timeout= gives it longer")),
        }
    }

    async fn open(&mut self, config: &ConnectConfig) -> Result<()> {
        let request = rpc::open_session(&config.user, config.password.expose(), "UTC")?;
        let (status, session) = rpc::opened(&self.call(&request).await?)?;
        if !status.is_success() {
            return Err(error_of(
                &status,
                &format!("IoTDB at {} opens no session for {}", self.place, config.user),
            ));
        }
        self.session = session;
        self.statement = rpc::number(&self.call(&rpc::request_statement(session)?).await?)?;
        let found = rpc::properties(&self.call(&rpc::get_properties()?).await?)?;
        self.unit = match found.precision.as_str() {
            "us" => TimeUnit::Microsecond,
            "ns" => TimeUnit::Nanosecond,
            _ => TimeUnit::Millisecond,
        };
        self.version = found.version;
        if let Some(most) =
            found.most_bytes.and_then(|most| usize::try_from(most).ok()).filter(|most| *most > 1 << 16)
        {
            self.most_bytes = self.most_bytes.min(most - (1 << 14));
        }
        Ok(())
    }

    /// The precision of the server's times.
    pub fn unit(&self) -> TimeUnit {
        self.unit
    }

    /// The server's version, as it says it.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Whether the server has the types that came with 1.3.3: STRING, BLOB, DATE, TIMESTAMP.
    pub fn has_recent_types(&self) -> bool {
        let mut parts = self.version.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or_default());
        let version = (parts.next(), parts.next(), parts.next());
        version >= (Some(1), Some(3), Some(3))
    }

    /// The most bytes of one request.
    pub fn most_bytes(&self) -> usize {
        self.most_bytes
    }

    /// `HOST:PORT`.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Whether the connection was lost, or a call was dropped: nothing can be asked for any more.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    async fn call(&mut self, request: &[u8]) -> Result<Vec<u8>> {
        if self.broken {
            return Err(Error::new(
                ErrorKind::Unavailable,
                format!("the session with IoTDB at {} is over", self.place),
            ));
        }
        self.broken = true;
        let exchange = async {
            let fault = |error| lost(&self.place, error);
            self.stream.write_all(request).await.map_err(fault)?;
            let mut head = [0; rpc::FRAME];
            self.stream.read_exact(&mut head).await.map_err(fault)?;
            let length = u32::from_be_bytes(head) as usize;
            if length > MOST_ANSWER {
                return Err(protocol(format!(
                    "what listens at {} does not speak IoTDB's protocol",
                    self.place
                )));
            }
            let mut answer = Vec::new();
            let read =
                (&mut self.stream).take(length as u64).read_to_end(&mut answer).await.map_err(fault)?;
            if read < length {
                return Err(fault(std::io::ErrorKind::UnexpectedEof.into()));
            }
            Ok(answer)
        };
        let answer = match tokio::time::timeout(self.timeout, exchange).await {
            Ok(answer) => answer?,
            Err(_) => {
                let text = format!("IoTDB at {} did not answer within {:?}", self.place, self.timeout);
                return Err(Error::new(ErrorKind::Timeout, text).with_hint("timeout= gives it longer"));
            }
        };
        self.broken = false;
        Ok(answer)
    }

    fn ids(&self) -> (i64, i64) {
        (self.session, self.statement)
    }

    fn timeout_ms(&self) -> i64 {
        i64::try_from(self.timeout.as_millis()).unwrap_or(i64::MAX)
    }

    /// Runs a statement without a result.
    ///
    /// # Errors
    /// What the server says; `Unavailable` if the connection is lost.
    pub async fn execute(&mut self, statement: &str) -> Result<()> {
        let request = rpc::execute("executeUpdateStatementV2", self.ids(), statement, 1, self.timeout_ms())?;
        let executed = rpc::executed(&self.call(&request).await?)?;
        match executed.status.is_success() {
            true => Ok(()),
            false => Err(error_of(&executed.status, statement)),
        }
    }

    /// Begins a query; `rows` are fetched at a time.
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    pub async fn query(&mut self, statement: &str, rows: usize) -> Result<Query> {
        let rows = i32::try_from(rows).unwrap_or(i32::MAX);
        let request =
            rpc::execute("executeQueryStatementV2", self.ids(), statement, rows, self.timeout_ms())?;
        let found = rpc::executed(&self.call(&request).await?)?;
        if !found.status.is_success() {
            return Err(error_of(&found.status, statement));
        }
        let mut types = Vec::with_capacity(found.types.len());
        for name in &found.types {
            let known = SeriesType::from_name(name);
            types.push(known.ok_or_else(|| {
                Error::new(ErrorKind::Unsupported, format!("IoTDB has a type {name}, which is unknown here"))
            })?);
        }
        let places = (0..found.columns.len())
            .map(|at| {
                let place = match &found.by_place {
                    Some(list) => list.get(at).copied(),
                    None => {
                        let name = found.columns.get(at);
                        found.by_name.iter().find(|(known, _)| Some(known) == name).map(|(_, place)| *place)
                    }
                };
                // A negative one is the time itself.
                place.map_or(Some(at), |place| usize::try_from(place).ok())
            })
            .collect();
        Ok(Query {
            statement: statement.to_owned(),
            rows,
            id: found.query,
            columns: found.columns,
            types,
            places,
            has_time: !found.without_time,
            blocks: found.blocks.into_iter().collect(),
            more: found.more,
        })
    }

    /// The next rows of a query, their times and a column for each of [`Query::columns`]; `None` at the end.
    ///
    /// # Errors
    /// As [`execute`](Self::execute); `Protocol` for an answer that cannot be read.
    pub async fn next(&mut self, query: &mut Query) -> Result<Option<(Int64Array, Vec<ArrayRef>)>> {
        loop {
            if let Some(bytes) = query.blocks.pop_front() {
                let found = block::read(&bytes, &query.stored_types(), self.unit)?;
                if found.times.is_empty() {
                    continue;
                }
                let column = |place: &Option<usize>| match place {
                    Some(place) => found.columns.get(*place).cloned(),
                    None => Some(std::sync::Arc::new(found.times.clone()) as ArrayRef),
                };
                let columns: Option<Vec<_>> = query.places.iter().map(column).collect();
                let columns = columns.ok_or_else(|| protocol("a block of a result lacks a column"))?;
                return Ok(Some((found.times, columns)));
            }
            let Some(id) = query.id.filter(|_| query.more) else { return Ok(None) };
            let request = rpc::fetch(self.ids(), id, &query.statement, query.rows, self.timeout_ms())?;
            let found = rpc::fetched(&self.call(&request).await?)?;
            if !found.status.is_success() {
                return Err(error_of(&found.status, &query.statement));
            }
            query.more = found.more && !found.blocks.is_empty();
            query.blocks.extend(found.blocks);
        }
    }

    /// Ends a query before its end, so that the server lets go of it.
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    pub async fn end(&mut self, query: Query) -> Result<()> {
        if let Some(id) = query.id {
            let request = rpc::close_operation(self.ids(), id)?;
            rpc::status(&self.call(&request).await?)?;
        }
        Ok(())
    }

    /// All rows of a statement that shows something, as text.
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    pub async fn show(&mut self, statement: &str) -> Result<Vec<Vec<Option<String>>>> {
        let mut query = self.query(statement, 10_000).await?;
        let mut rows = Vec::new();
        while let Some((times, columns)) = self.next(&mut query).await? {
            for row in 0..times.len() {
                let text = |column: &ArrayRef| match Value::of(column.as_ref(), row)? {
                    Value::Null => Ok(None),
                    value => Ok(Some(value.to_string())),
                };
                rows.push(columns.iter().map(text).collect::<Result<Vec<_>>>()?);
            }
        }
        self.end(query).await?;
        Ok(rows)
    }

    /// Writes tablets, all of aligned devices or all of others. What became of them is the status: that of all, or one a tablet.
    ///
    /// # Errors
    /// `Unavailable` or `Timeout` if the connection is lost: then it is in doubt whether they were written.
    pub async fn insert(&mut self, tablets: &[Tablet], aligned: bool) -> Result<Status> {
        let request = match tablets {
            [one] => rpc::insert_tablet(self.session, one, aligned)?,
            many => rpc::insert_tablets(self.session, many, aligned)?,
        };
        let answer =
            self.call(&request).await.map_err(|error| error.with_delivered(crate::Delivered::InDoubt))?;
        rpc::status(&answer)
    }

    /// Says good-bye.
    ///
    /// # Errors
    /// If the connection is lost; then the server ends the session by itself.
    pub async fn close(mut self) -> Result<()> {
        let request = rpc::close_session(self.session)?;
        rpc::status(&self.call(&request).await?).map(drop)
    }
}

/// A result that is being fetched.
#[derive(Debug)]
pub struct Query {
    statement: String,
    rows: i32,
    id: Option<i64>,
    columns: Vec<String>,
    types: Vec<SeriesType>,
    /// The column of the blocks that each column is; none for the time.
    places: Vec<Option<usize>>,
    has_time: bool,
    blocks: std::collections::VecDeque<Vec<u8>>,
    more: bool,
}

impl Query {
    /// The names of the columns, as the server has them; the time is none of them.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Their types.
    pub fn types(&self) -> &[SeriesType] {
        &self.types
    }

    /// Whether the rows have times.
    pub fn has_time(&self) -> bool {
        self.has_time
    }

    fn stored_types(&self) -> Vec<Option<SeriesType>> {
        let count = self.places.iter().flatten().max().map_or(0, |most| most + 1);
        let mut types = vec![None; count];
        for (place, series) in self.places.iter().zip(&self.types) {
            if let Some(slot) = place.and_then(|place| types.get_mut(place)) {
                *slot = Some(*series);
            }
        }
        types
    }
}
