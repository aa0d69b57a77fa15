//! The HTTP server: framing, headers, and the faults of the way.

use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::Response;
use axum::routing::{any, get, post};
use tokio::net::TcpListener;

use super::account::Account;
use super::control::{Verb, Wanted};
use super::fault::{Broken, long_message};

/// Largest request, in bytes: DynamoDB takes 16 MB in a batch (API reference, `BatchWriteItem`).
const REQUEST_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How late a slow answer comes.
const SLOW_ANSWER: Duration = Duration::from_secs(3);
const CONTENT_TYPE: &str = "application/x-amz-json-1.0";

/// Tells the time, in milliseconds since 1970.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

#[derive(Clone)]
struct Desk {
    account: Arc<Mutex<Account>>,
    clock: Clock,
}

/// Serves an account until `stopped` is ready; requests that are under way then are answered.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    account: Arc<Mutex<Account>>,
    clock: Clock,
    stopped: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let router = Router::new()
        .route("/", post(answer).merge(get(healthy)))
        .route("/_tailwater/{verb}", any(control))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .with_state(Desk { account, clock });
    axum::serve(listener, router).with_graceful_shutdown(stopped).await
}

async fn healthy() -> &'static str {
    "healthy"
}

async fn answer(State(desk): State<Desk>, headers: HeaderMap, body: Bytes) -> Response {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let target = header("x-amz-target");
    let (answer, broken, request_id) = {
        let mut account = desk.account.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = match target {
            "DynamoDB_20120810.DescribeEndpoints" => Ok(endpoints(header("host"))),
            _ => account.answer((desk.clock)(), target, &body),
        };
        let broken = account.draw_broken();
        (answer, broken, account.draw_request_id())
    };
    let (status, body) = match answer {
        Ok(body) => (200, body),
        Err(refusal) => (refusal.status, refusal.body),
    };
    if broken == Some(Broken::Slow) {
        tokio::time::sleep(SLOW_ANSWER).await;
    }
    respond(status, body, broken, &request_id)
}

/// What testers ask for; never broken on its way.
async fn control(State(desk): State<Desk>, method: Method, Path(verb): Path<String>, uri: Uri) -> Response {
    let answer = Verb::parse(method.as_str(), &verb).and_then(|verb| {
        let wanted = Wanted::parse(uri.query().unwrap_or_default())?;
        let mut account = desk.account.lock().unwrap_or_else(PoisonError::into_inner);
        account.control((desk.clock)(), verb, &wanted)
    });
    let (status, body) = match answer {
        Ok(body) => (StatusCode::OK, body),
        Err(error) => (StatusCode::BAD_REQUEST, serde_json::json!({"error": error})),
    };
    let mut response = Response::new(Body::from(format!("{body}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
    response
}

/// `DescribeEndpoints`: whoever asks shall come back to where it asked, and not go to AWS.
fn endpoints(host: &str) -> String {
    serde_json::json!({"Endpoints": [{"Address": host, "CachePeriodInMinutes": 1440}]}).to_string()
}

fn respond(status: u16, body: String, broken: Option<Broken>, request_id: &str) -> Response {
    let (status, mut body, content_type) = match broken {
        Some(Broken::Html) => (503, "<html><body><h1>503 Service Unavailable</h1></body></html>".into(), "text/html"),
        Some(Broken::Empty) => (500, String::new(), CONTENT_TYPE),
        Some(Broken::LongMessage) => (500, long_message(), CONTENT_TYPE),
        _ => (status, body, CONTENT_TYPE),
    };
    let mut checksum = crc32fast::hash(body.as_bytes());
    match broken {
        Some(Broken::WrongChecksum) => checksum = !checksum,
        Some(Broken::Truncated) => {
            body.truncate(body.floor_char_boundary(body.len() / 2));
            checksum = crc32fast::hash(body.as_bytes());
        }
        _ => {}
    }
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert("content-type", HeaderValue::from_static(content_type));
    headers.insert("x-amz-crc32", HeaderValue::from(checksum));
    if let Ok(request_id) = HeaderValue::from_str(request_id) {
        headers.insert("x-amzn-requestid", request_id);
    }
    response
}
