//! TLS by the OpenSSL that the Kafka client is linked with: one library to patch, one store of trusted authorities.

use std::path::Path;
use std::pin::Pin;

use openssl::ssl::{SslConnector, SslMethod};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

use crate::registry::client::RegistryError;

/// Trusts the authorities of the system, or those of one file.
pub(super) struct Connector(SslConnector);

impl Connector {
    pub(super) fn new(authorities: Option<&Path>) -> Result<Self, RegistryError> {
        let tls = |error| RegistryError::Tls(Box::new(error));
        let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(tls)?;
        if let Some(file) = authorities {
            builder
                .set_ca_file(file)
                .map_err(|source| RegistryError::Authorities {
                    file: file.to_owned(),
                    source: Box::new(source),
                })?;
        }
        Ok(Self(builder.build()))
    }

    /// Shakes hands; the certificate must be of `host`.
    pub(super) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<SslStream<TcpStream>, RegistryError> {
        let ssl = self
            .0
            .configure()
            .and_then(|configured| configured.into_ssl(host));
        let mut stream = ssl
            .and_then(|ssl| SslStream::new(ssl, stream))
            .map_err(|error| RegistryError::Tls(Box::new(error)))?;
        let shaken = Pin::new(&mut stream).connect().await;
        shaken.map_err(|error| RegistryError::Tls(Box::new(error)))?;
        Ok(stream)
    }
}
