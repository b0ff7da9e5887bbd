//! A server of OPC UA in this process, by the server side of the library whose client the source uses.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opcua::crypto::SecurityPolicy;
use opcua::nodes::Variable;
use opcua::server::diagnostics::NamespaceMetadata;
use opcua::server::node_manager::memory::{SimpleNodeManager, simple_node_manager};
use opcua::server::{ANONYMOUS_USER_TOKEN_ID, ServerBuilder, ServerHandle, ServerUserToken};
use opcua::types::{AttributeId, DataValue, MessageSecurityMode, NodeId, StatusCode, Variant};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

const NAMESPACE: &str = "urn:kwsync:test:plant";
/// A user, and the password.
pub(super) const USER: (&str, &str) = ("uauser", "ua/p@ss");

/// A server with a user, endpoints with and without security, and variables that the test sets. It goes with this value.
pub(super) struct Server {
    runtime: Runtime,
    running: Mutex<Option<Running>>,
    dir: tempfile::TempDir,
    port: u16,
    anonymous: bool,
    /// What the variables were made with, for when it is started again.
    variables: Mutex<Vec<(NodeId, Variant)>>,
}

struct Running {
    handle: ServerHandle,
    nodes: Arc<SimpleNodeManager>,
    task: tokio::task::JoinHandle<()>,
}

/// A certificate and its key for an application, by `openssl`; false where there is none.
pub(super) fn certificate(dir: &Path, name: &str, application: &str) -> bool {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-sha256"])
        .args(["-subj", &format!("/CN={name}")])
        .args(["-addext", &format!("subjectAltName=URI:{application},DNS:localhost,IP:127.0.0.1")])
        .args(["-addext", "keyUsage=digitalSignature,nonRepudiation,keyEncipherment,dataEncipherment"])
        .args(["-addext", "extendedKeyUsage=serverAuth,clientAuth"])
        .args(["-keyout", &format!("{name}.key.pem"), "-out", &format!("{name}.pem")])
        .current_dir(dir)
        .output();
    match made {
        Ok(made) => {
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
            true
        }
        Err(_) => {
            println!("SKIPPED: openssl is not installed, which makes certificates");
            false
        }
    }
}

impl Server {
    /// Starts one. `None`, and a line that says so, where there is no `openssl`.
    pub(super) fn start(anonymous: bool) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        if !certificate(dir.path(), "server", "urn:kwsync:test:server") {
            return None;
        }
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let server =
            Self { runtime, running: Mutex::new(None), dir, port: 0, anonymous, variables: Mutex::default() };
        let port = server.run(0);
        Some(Self { port, ..server })
    }

    fn run(&self, port: u16) -> u16 {
        let listener = self.runtime.block_on(async {
            // The port that it had may not be free at once.
            let began = Instant::now();
            loop {
                match TcpListener::bind(("127.0.0.1", port)).await {
                    Ok(listener) => return listener,
                    Err(error) => assert!(began.elapsed() < Duration::from_secs(30), "{error}"),
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let port = listener.local_addr().unwrap().port();
        let pki = self.path("pki");
        let mut users = vec!["user"];
        if self.anonymous {
            users.push(ANONYMOUS_USER_TOKEN_ID);
        }
        let mut builder = ServerBuilder::new()
            .application_name("kwsync test server")
            .application_uri("urn:kwsync:test:server")
            .product_uri("urn:kwsync:test")
            .pki_dir(&pki)
            .certificate_path(self.path("server.pem"))
            .private_key_path(self.path("server.key.pem"))
            .create_sample_keypair(false)
            .trust_client_certs(true)
            .host("127.0.0.1")
            .port(port)
            .discovery_urls(vec![format!("opc.tcp://127.0.0.1:{port}/")])
            .add_user_token("user", ServerUserToken::user_pass(USER.0, USER.1))
            .subscription_poll_interval_ms(20)
            .max_array_length(100_000)
            .max_message_size(16 << 20)
            .max_chunk_count(256)
            .with_node_manager(simple_node_manager(
                NamespaceMetadata { namespace_uri: NAMESPACE.to_owned(), ..NamespaceMetadata::default() },
                "plant",
            ));
        for (name, policy, mode) in [
            ("none", SecurityPolicy::None, MessageSecurityMode::None),
            ("sign", SecurityPolicy::Basic256Sha256, MessageSecurityMode::Sign),
            ("both", SecurityPolicy::Basic256Sha256, MessageSecurityMode::SignAndEncrypt),
            ("old", SecurityPolicy::Basic256, MessageSecurityMode::SignAndEncrypt),
            ("older", SecurityPolicy::Basic128Rsa15, MessageSecurityMode::Sign),
            ("new", SecurityPolicy::Aes256Sha256RsaPss, MessageSecurityMode::SignAndEncrypt),
        ] {
            builder = builder.add_endpoint(name, ("/", policy, mode, users.as_slice()));
        }
        let limits = &mut builder.limits_mut().subscriptions;
        // Every change is told.
        limits.min_sampling_interval_ms = 0.0;
        limits.min_publishing_interval_ms = 10.0;
        limits.max_monitored_item_queue_size = 10_000;
        limits.max_queued_notifications = 10_000;
        let (server, handle) = self.runtime.block_on(async { builder.build() }).unwrap();
        let nodes = handle.node_managers().get_of_type::<SimpleNodeManager>().unwrap();
        let task = self.runtime.spawn(async move { server.run_with(listener).await.unwrap() });
        *self.running.lock().unwrap() = Some(Running { handle, nodes, task });
        for (id, value) in self.variables.lock().unwrap().iter() {
            self.make(id, value);
        }
        port
    }

    /// Stops it; sessions and subscriptions are gone then.
    pub(super) fn stop(&self) {
        let running = self.running.lock().unwrap().take().unwrap();
        running.handle.cancel();
        self.runtime.block_on(async { running.task.await.unwrap() });
    }

    /// Starts it again, with the values that its variables had at first.
    pub(super) fn start_again(&self) {
        self.run(self.port);
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn with<T>(&self, what: impl FnOnce(&Running) -> T) -> T {
        what(self.running.lock().unwrap().as_ref().unwrap())
    }

    /// A node of the namespace of the plant.
    pub(super) fn id(&self, number: u32) -> NodeId {
        NodeId::new(self.with(|running| running.handle.get_namespace_index(NAMESPACE)).unwrap(), number)
    }

    fn make(&self, id: &NodeId, value: &Variant) {
        let name = id.to_string();
        self.add(id, Variable::new(id, name.as_str(), name.as_str(), value.clone()));
    }

    /// Adds a variable as it is. It is not there again when the server is started again.
    pub(super) fn add(&self, id: &NodeId, variable: Variable) {
        self.with(|running| {
            let mut space = running.nodes.address_space().write();
            assert!(space.add_variables(vec![variable], &NodeId::objects_folder_id())[0], "{id}");
        });
    }

    /// Adds a variable with a value.
    pub(super) fn variable(&self, number: u32, value: impl Into<Variant>) -> NodeId {
        let (id, value) = (self.id(number), value.into());
        self.make(&id, &value);
        self.variables.lock().unwrap().push((id.clone(), value));
        id
    }

    /// Sets a value, of now.
    pub(super) fn set(&self, id: &NodeId, value: impl Into<Variant>) {
        self.set_as(id, DataValue::new_now(value));
    }

    /// Sets a bad status, with a value that nobody should believe.
    pub(super) fn set_bad(&self, id: &NodeId, value: impl Into<Variant>, status: StatusCode) {
        self.set_as(id, DataValue::new_now_status(value, status));
    }

    pub(super) fn set_as(&self, id: &NodeId, value: DataValue) {
        self.with(|running| running.nodes.set_value(running.handle.subscriptions(), id, None, value))
            .unwrap();
    }

    /// Whether somebody watches a variable.
    pub(super) fn is_watched(&self, id: &NodeId) -> bool {
        self.with(|running| {
            let watched = Cell::new(false);
            let items = [(id, AttributeId::Value)];
            running.handle.subscriptions().maybe_notify(items.into_iter(), |_, _, _, _| {
                watched.set(true);
                None
            });
            watched.get()
        })
    }
}
