//! HTTP: `/metrics`, `/livez`, `/readyz`, `/status`, and, where switched on, `/v1/customers/{id}`; on a thread of its own, on loopback unless told otherwise.
//!
//! It only reads [`Telemetry`] and asks workers between two passes; nothing here can hold a worker up. Bounded: so many connections, each for so long.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use tokio::sync::oneshot;

use crate::telemetry::Telemetry;
use crate::value::{Span, Timestamp};

mod connections;
mod customers;

use connections::Connections;
pub use customers::{Customers, Elsewhere};

/// Connections at one time; one more waits.
const CONNECTIONS: usize = 32;
/// Life of one connection, whatever it does: a scraper that keeps it open connects again.
const CONNECTION_LIFE: Duration = Duration::from_secs(60);
/// How long answers under way may take once the server stops.
const FAREWELL: Duration = Duration::from_secs(1);

/// Reads the wall clock.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What the server needs to know.
pub struct Settings {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// A poll loop that has not turned for that long is stuck: `/livez` fails.
    pub stuck_after: Span,
    /// The wall clock.
    pub now: Now,
    /// Answers for single customers; `None`: nobody is told anything.
    pub customers: Option<Customers>,
}

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The address is taken or not ours.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// No thread or no event loop to be had.
    #[error("cannot start the HTTP thread")]
    Start(#[source] io::Error),
}

/// The running server. Stops when dropped.
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What every request sees.
struct Shared {
    telemetry: Arc<Telemetry>,
    stuck_after: Span,
    now: Now,
    customers: Option<Customers>,
}

impl Server {
    /// Binds and serves until dropped.
    ///
    /// # Errors
    /// When the address cannot be bound or the thread not be started.
    pub fn start(settings: Settings, telemetry: Arc<Telemetry>) -> Result<Self, HttpError> {
        let Settings {
            listen: address,
            stuck_after,
            now,
            customers,
        } = settings;
        let refused = |source| HttpError::Listen { address, source };
        let listener = TcpListener::bind(address).map_err(refused)?;
        listener.set_nonblocking(true).map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(HttpError::Start)?;
        let routes = routes(Arc::new(Shared {
            telemetry,
            stuck_after,
            now,
            customers,
        }));
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new()
            .name("http".to_owned())
            .spawn(move || {
                if let Err(error) = runtime.block_on(serve(listener, routes, stopped)) {
                    tracing::error!(%error, "HTTP ended");
                }
            })
            .map_err(HttpError::Start)?;
        Ok(Self {
            address,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    /// Lets answers under way finish, for a second at most.
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the HTTP thread panicked");
        }
    }
}

async fn serve(
    listener: TcpListener,
    routes: Router,
    stopped: oneshot::Receiver<()>,
) -> io::Result<()> {
    let listener = Connections::new(
        tokio::net::TcpListener::from_std(listener)?,
        CONNECTIONS,
        CONNECTION_LIFE,
    );
    let (closing, closed) = oneshot::channel::<()>();
    let server = axum::serve(listener, routes).with_graceful_shutdown(async move {
        // Dropping the sender is the signal; both ends of the wait mean the same.
        drop(stopped.await);
        drop(closing);
    });
    let deadline = async move {
        drop(closed.await);
        tokio::time::sleep(FAREWELL).await;
    };
    tokio::select! {
        ended = server => ended,
        () = deadline => Ok(()),
    }
}

fn routes(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/status", get(status))
        .route("/v1/customers/{id}", get(customers::customer))
        .with_state(shared)
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    match shared.telemetry.render() {
        Ok(text) => (
            [(
                header::CONTENT_TYPE,
                "text/plain; version=0.0.4; charset=utf-8",
            )],
            text,
        )
            .into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Answer of a probe.
#[derive(Serialize)]
struct Probe<T> {
    ok: bool,
    reasons: Vec<T>,
}

fn probe<T: Serialize>(reasons: Vec<T>) -> Response {
    let ok = reasons.is_empty();
    let code = if ok {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    json(code, &Probe { ok, reasons })
}

async fn livez(State(shared): State<Arc<Shared>>) -> Response {
    probe(
        shared
            .telemetry
            .status((shared.now)())
            .stuck(shared.stuck_after),
    )
}

async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    probe(shared.telemetry.status((shared.now)()).not_ready())
}

async fn status(State(shared): State<Arc<Shared>>) -> Response {
    json(StatusCode::OK, &shared.telemetry.status((shared.now)()))
}

fn json(code: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_string(body) {
        Ok(text) => (
            code,
            [(header::CONTENT_TYPE, "application/json")],
            text + "\n",
        )
            .into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{Ipv4Addr, TcpStream};

    use super::*;
    use crate::bus::Sources;

    fn start(telemetry: &Arc<Telemetry>, millis: i64) -> Server {
        let settings = Settings {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            stuck_after: Span::from_secs(10),
            now: Arc::new(move || Timestamp::from_millis(millis)),
            customers: None,
        };
        Server::start(settings, Arc::clone(telemetry)).unwrap()
    }

    fn get(server: &Server, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let code = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let body = answer.split_once("\r\n\r\n").unwrap().1.to_owned();
        (code, body)
    }

    #[test]
    fn probes_tell_why_they_fail() {
        let telemetry = Telemetry::new("shop", "one");
        let worker = telemetry.worker(0, &Sources::direct(&["shop-events".into()]));
        let server = start(&telemetry, 20_000);
        worker.beat(Timestamp::from_millis(19_000));
        worker.assigned(&[2]);
        assert_eq!(get(&server, "/livez").0, 200);
        let (code, body) = get(&server, "/readyz");
        assert_eq!(code, 503);
        assert_eq!(
            body.trim(),
            r#"{"ok":false,"reasons":[{"reason":"restoring","worker":0,"partition":2,"remaining":0}]}"#
        );
        worker.restored(2, Duration::ZERO);
        assert_eq!(
            get(&server, "/readyz"),
            (200, "{\"ok\":true,\"reasons\":[]}\n".to_owned())
        );
        worker.beat(Timestamp::from_millis(9_000));
        assert_eq!(get(&server, "/livez").0, 503);
        assert_eq!(get(&server, "/nothing").0, 404);
    }

    #[test]
    fn status_lists_what_each_worker_reads_and_metrics_render() {
        let telemetry = Telemetry::new("shop", "one");
        let worker = telemetry.worker(1, &Sources::direct(&["shop-events".into()]));
        worker.assigned(&[5]);
        let server = start(&telemetry, 0);
        let status: serde_json::Value = serde_json::from_str(&get(&server, "/status").1).unwrap();
        assert_eq!(
            status["workers"][0]["reads"],
            serde_json::json!([{"topic": "shop-events", "partition": 5}])
        );
        assert_eq!(status["workers"][0]["tasks"][0]["state"], "restoring");
        assert!(get(&server, "/metrics").1.contains("tidegate_build_info"));
        drop(server);
    }
}
