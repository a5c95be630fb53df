//! One HTTP request after the other, each on a connection of its own: a registry is asked a handful of times in a process's life.

use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::client::{Login, RegistryError, Settings};

#[cfg(feature = "kafka")]
mod tls;

/// One request, from connecting to the last byte of its answer.
const WITHIN: Duration = Duration::from_secs(10);
/// Largest answer that is read: schemas of a thousand fields take a tenth of it.
const LARGEST: usize = 4 << 20;
/// What a registry calls its JSON.
const MEDIA: &str = "application/vnd.schemaregistry.v1+json";

/// A registry's address, and how to talk to it.
pub(super) struct Http {
    base: Uri,
    host: String,
    authorization: Option<HeaderValue>,
    /// Present when the address says `https`.
    #[cfg(feature = "kafka")]
    tls: Option<tls::Connector>,
}

/// What came back.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

impl Http {
    pub(super) fn new(settings: &Settings) -> Result<Self, RegistryError> {
        let base: Uri = settings.url.parse().map_err(|_| RegistryError::Address)?;
        let encrypted = match base.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            Some(_) | None => return Err(RegistryError::Address),
        };
        let host = base.host().ok_or(RegistryError::Address)?;
        // An IPv6 address stands in brackets there, and nowhere else.
        let host = host.trim_matches(['[', ']']).to_owned();
        #[cfg(not(feature = "kafka"))]
        if encrypted {
            return Err(RegistryError::NoTls);
        }
        Ok(Self {
            authorization: authorization(&settings.login)?,
            #[cfg(feature = "kafka")]
            tls: encrypted
                .then(|| tls::Connector::new(settings.ca.as_deref()))
                .transpose()?,
            base,
            host,
        })
    }

    /// Asks, and waits for all of the answer.
    ///
    /// # Errors
    /// When there is none.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> Result<Answer, RegistryError> {
        let asked = tokio::time::timeout(WITHIN, self.exchange(method, path, body)).await;
        asked.unwrap_or(Err(RegistryError::Slow(WITHIN)))
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> Result<Answer, RegistryError> {
        let request = self.request(method, path, body)?;
        let port = self
            .base
            .port_u16()
            .unwrap_or(if self.is_encrypted() { 443 } else { 80 });
        let stream = TcpStream::connect((self.host.as_str(), port))
            .await
            .map_err(RegistryError::Unreachable)?;
        #[cfg(feature = "kafka")]
        if let Some(tls) = &self.tls {
            return over(tls.connect(&self.host, stream).await?, request).await;
        }
        over(stream, request).await
    }

    fn is_encrypted(&self) -> bool {
        self.base.scheme_str() == Some("https")
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> Result<Request<Full<Bytes>>, RegistryError> {
        let base = self.base.path().trim_end_matches('/');
        let authority = self.base.authority().ok_or(RegistryError::Address)?;
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{base}{path}"))
            .header(HOST, authority.as_str())
            .header(ACCEPT, MEDIA);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, MEDIA);
        }
        request
            .body(Full::from(body.unwrap_or_default()))
            .map_err(|_| RegistryError::Address)
    }
}

/// One exchange over a connection that ends with it.
async fn over<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    request: Request<Full<Bytes>>,
) -> Result<Answer, RegistryError> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(RegistryError::Broken)?;
    // Ends when the sender and the answer are gone.
    let driver = tokio::spawn(connection);
    let answer = sender
        .send_request(request)
        .await
        .map_err(RegistryError::Broken)?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), LARGEST).collect().await;
    let body = body.map_err(RegistryError::CutShort)?.to_bytes();
    drop(sender);
    driver.abort();
    Ok(Answer { status, body })
}

fn authorization(login: &Login) -> Result<Option<HeaderValue>, RegistryError> {
    let text = match login {
        Login::None => return Ok(None),
        Login::Basic { user, password } => {
            format!("Basic {}", base64(format!("{user}:{password}").as_bytes()))
        }
        Login::Bearer(token) => format!("Bearer {token}"),
    };
    let mut value = HeaderValue::try_from(text).map_err(|_| RegistryError::Login)?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let whole = three
            .iter()
            .chain(std::iter::repeat(&0))
            .take(3)
            .fold(0, |whole: usize, byte| whole << 8 | usize::from(*byte));
        for digit in 0..4 {
            let index = whole >> (18 - 6 * digit) & 63;
            let letter = DIGITS.get(index).filter(|_| digit <= three.len());
            text.push(letter.map_or('=', |letter| char::from(*letter)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }
}
