//! `/v1/customers/{id}`: everything that is held of one customer, from the instance that owns their partition.
//!
//! Off unless a token is configured. Another instance's customer, and one who was merged into another, are answered with where to ask
//! (307). Neither the id nor what is found is ever logged.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Shared;
use crate::partitioner;
use crate::value::ProfileKey;
use crate::words::escaped;
use crate::worker::{Found, Lookup};

/// A worker answers between two passes; one that takes longer is held up by the bus or the disk.
const ANSWER: Duration = Duration::from_secs(5);

/// Who committed last for a partition, as a base address; `None` when nobody says. Asks the bus, so it blocks.
pub type Elsewhere = Arc<dyn Fn(i32) -> Option<String> + Send + Sync>;

/// What answering takes.
pub struct Customers {
    token: blake3::Hash,
    /// Of every topic of the application.
    pub partitions: i32,
    /// A way to each worker, by number.
    pub workers: Vec<Sender<Lookup>>,
    /// Where other instances answer.
    pub elsewhere: Elsewhere,
    /// Where this one does.
    pub address: String,
}

impl Customers {
    /// Answers whoever shows `token`.
    #[must_use]
    pub fn new(
        token: &str,
        partitions: i32,
        workers: Vec<Sender<Lookup>>,
        elsewhere: Elsewhere,
        address: String,
    ) -> Self {
        Self {
            token: blake3::hash(token.as_bytes()),
            partitions,
            workers,
            elsewhere,
            address,
        }
    }

    /// Hashes are compared, in constant time: how long it takes tells neither length nor beginning of the token.
    fn admits(&self, headers: &HeaderMap) -> bool {
        headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "))
            .is_some_and(|token| blake3::hash(token.as_bytes()) == self.token)
    }
}

fn refuse(code: StatusCode, why: &str) -> Response {
    super::json(code, &json!({ "error": why }))
}

pub(super) async fn customer(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let Some(customers) = &shared.customers else {
        return refuse(
            StatusCode::NOT_FOUND,
            "switched off: set http.customers.token",
        );
    };
    if !customers.admits(&headers) {
        let refused = refuse(StatusCode::UNAUTHORIZED, "a bearer token is needed");
        return ([(header::WWW_AUTHENTICATE, "Bearer")], refused).into_response();
    }
    let key = ProfileKey::customer(&id);
    let partition = partitioner::partition(key.id().as_bytes(), customers.partitions);
    let worker = shared.telemetry.owner(partition).map(usize::from);
    let Some(worker) = worker.and_then(|number| customers.workers.get(number)) else {
        return send_on(customers, partition, &id).await;
    };
    let (answer, answered) = oneshot::channel();
    let lookup = Lookup {
        key,
        partition,
        answer,
    };
    if worker.send(lookup).is_err() {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "this instance is stopping");
    }
    match timeout(ANSWER, answered).await {
        Ok(Ok(Found::Profile(summary))) => super::json(StatusCode::OK, &summary),
        Ok(Ok(Found::Merged(into))) => {
            let location = format!("/v1/customers/{}", escaped(&into));
            let body = json!({ "merged_into": into });
            redirect(location, &body)
        }
        Ok(Ok(Found::Nothing)) => {
            refuse(StatusCode::NOT_FOUND, "nothing is known of this customer")
        }
        Ok(Ok(Found::NotYet)) => refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            "the partition is restoring or moving: ask again",
        ),
        Ok(Ok(Found::Failed(error))) => {
            tracing::error!(partition, %error, "a customer was asked for");
            refuse(StatusCode::INTERNAL_SERVER_ERROR, "the state store fails")
        }
        Ok(Err(_)) | Err(_) => refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            "the worker does not answer: ask again",
        ),
    }
}

fn redirect(location: String, body: &Value) -> Response {
    let body = super::json(StatusCode::TEMPORARY_REDIRECT, body);
    ([(header::LOCATION, location)], body).into_response()
}

/// The customer is another instance's.
async fn send_on(customers: &Customers, partition: i32, id: &str) -> Response {
    let elsewhere = Arc::clone(&customers.elsewhere);
    let asked = tokio::task::spawn_blocking(move || elsewhere(partition)).await;
    match asked {
        Ok(Some(address)) if address != customers.address => {
            let location = format!("{address}/v1/customers/{}", escaped(id));
            let body = json!({ "partition": partition, "owner": address });
            redirect(location, &body)
        }
        Ok(Some(_) | None) | Err(_) => refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            "no instance says that it owns this customer: ask again; every instance needs http.customers",
        ),
    }
}
