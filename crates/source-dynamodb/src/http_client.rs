//! The HTTP client of everything that AWS is asked: TLS, the authorities it trusts, and the proxies on the way.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use data_encoding::BASE64;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tailwater_model::Trouble;
use url::Url;

use crate::endpoint::address;
use crate::environment::{Environment, bad_variable};

/// The variables of the proxy for `https` addresses; the first one wins.
const HTTPS_PROXY: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
/// And those for `http` ones.
const HTTP_PROXY: [&str; 4] = ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];
/// The variables that name what is asked without a proxy.
const NO_PROXY: [&str; 2] = ["NO_PROXY", "no_proxy"];
/// What no proxy can reach for us: this machine, and where AWS gives credentials to machines, containers and pods.
const NEVER_BY_PROXY: &str =
    "localhost,127.0.0.0/8,::1,169.254.169.254,169.254.170.2,169.254.170.23,fd00:ec2::254,fd00:ec2::23";
/// Most bytes that are read of a file of authorities; the system's list has some 200 KB.
const AUTHORITIES_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// The scheme of what goes encrypted.
const ENCRYPTED: &str = "https:";

/// The client that the variables ask for.
///
/// # Errors
/// `aws.bad_variable`: one of them names no proxy, or no certificates.
pub(crate) fn http_client(environment: &Environment) -> Result<SharedHttpClient, Trouble> {
    let tls = tls_context(trust_store(environment)?);
    let https = proxy(environment, HTTPS_PROXY, |url| ProxyConfig::https(url).ok())?;
    let http = proxy(environment, HTTP_PROXY, |url| ProxyConfig::http(url).ok())?;
    if https.is_none() && http.is_none() {
        return Ok(client_through(None, tls));
    }
    let (https, http) = (client_through(https, tls.clone()), client_through(http, tls));
    Ok(SharedHttpClient::new(BySchemeClient { https, http }))
}

/// A client for an emulator in this process: nothing of the environment matters to it, and nothing of it is encrypted.
pub(crate) fn emulator_client() -> SharedHttpClient {
    client_through(None, tls_context(TrustStore::empty()))
}

/// Which proxy may be on the way to an address, in words; nothing where there is none.
pub(crate) fn proxy_words(environment: &Environment, url: Option<&str>) -> Option<String> {
    let is_encrypted = url.is_none_or(|url| url.starts_with(ENCRYPTED));
    let (name, value) = environment.first(if is_encrypted { HTTPS_PROXY } else { HTTP_PROXY })?;
    Some(format!("{name} names the proxy {}, and NO_PROXY what goes without it", address(&with_scheme(value))))
}

/// TLS by rustls with ring. The SDK's default brings AWS-LC, which takes longer to build than all of our own crates.
fn client_through(proxy: Option<ProxyConfig>, tls: TlsContext) -> SharedHttpClient {
    Builder::new().build_with_connector_fn(move |settings, components| {
        let mut connector = Connector::builder();
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        connector.set_proxy_config(proxy.clone());
        connector.tls_provider(Provider::Rustls(CryptoMode::Ring)).tls_context(tls.clone()).build()
    })
}

fn tls_context(trust: TrustStore) -> TlsContext {
    TlsContext::builder().with_trust_store(trust).build().expect("the builder checks nothing")
}

/// Whom to trust. `AWS_CA_BUNDLE` takes the place of the system's list, as it does for every AWS tool.
fn trust_store(environment: &Environment) -> Result<TrustStore, Trouble> {
    if let Some(path) = environment.get("AWS_CA_BUNDLE") {
        return authorities("AWS_CA_BUNDLE", Path::new(path));
    }
    match (environment.get("SSL_CERT_FILE"), environment.get("SSL_CERT_DIR")) {
        // The library reads both of them, and only warns when nothing is there.
        (Some(path), _) => authorities("SSL_CERT_FILE", Path::new(path)).map(|_| TrustStore::default()),
        (None, Some(_)) => Ok(TrustStore::default()),
        // Empty, it would hide the system's list from the library.
        (None, None) if std::env::var_os("SSL_CERT_FILE").is_some() => {
            let list = openssl_probe::probe().cert_file;
            list.map_or_else(|| Ok(TrustStore::default()), |list| authorities("SSL_CERT_FILE", &list))
        }
        (None, None) => Ok(TrustStore::default()),
    }
}

/// The certificates in a PEM file, without those that the library cannot use: it would panic on them.
fn authorities(variable: &str, file: &Path) -> Result<TrustStore, Trouble> {
    let refused = |why: String| bad_variable(variable, &format!("names {}, {why}", file.display()));
    let mut text = Vec::new();
    let read = File::open(file).and_then(|file| file.take(AUTHORITIES_BYTES_MAX).read_to_end(&mut text));
    read.map_err(|error| refused(format!("which cannot be read: {error}")))?;
    let mut roots = RootCertStore::empty();
    let mut store = TrustStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text).flatten() {
        if roots.add(certificate.clone()).is_ok() {
            store.add_pem_certificate(pem(&certificate));
        }
    }
    if roots.is_empty() { Err(refused("which holds no certificate in PEM that can be used".into())) } else { Ok(store) }
}

fn pem(certificate: &CertificateDer<'_>) -> String {
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", BASE64.encode(certificate))
}

fn proxy(
    environment: &Environment,
    names: [&str; 4],
    config: impl Fn(&str) -> Option<ProxyConfig>,
) -> Result<Option<ProxyConfig>, Trouble> {
    let Some((name, value)) = environment.first(names) else { return Ok(None) };
    let url = with_scheme(value);
    let is_url = Url::parse(&url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let config = config(&url).filter(|_| is_url);
    let config = config.ok_or_else(|| bad_variable(name, "names no proxy by an http or https URL"))?;
    Ok(Some(config.no_proxy(without_proxy(environment))))
}

fn with_scheme(value: &str) -> String {
    let value = value.trim();
    if value.contains("://") { value.to_owned() } else { format!("http://{value}") }
}

/// The rules of `NO_PROXY` and our own, separated by commas. `*.name`, which the library does not know, is `.name`.
fn without_proxy(environment: &Environment) -> String {
    let asked = environment.first(NO_PROXY).map_or("", |(_, rules)| rules);
    let rules = asked.split(',').map(str::trim).filter(|rule| !rule.is_empty());
    let rules = rules.map(|rule| rule.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(rule));
    rules.chain([NEVER_BY_PROXY]).collect::<Vec<_>>().join(",")
}

/// Goes one way to what is encrypted, and another one to what is not.
#[derive(Debug)]
struct BySchemeClient {
    https: SharedHttpClient,
    http: SharedHttpClient,
}

impl HttpClient for BySchemeClient {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let [https, http] = [&self.https, &self.http].map(|client| client.http_connector(settings, components));
        SharedHttpConnector::new(BySchemeConnector { https, http })
    }
}

#[derive(Debug)]
struct BySchemeConnector {
    https: SharedHttpConnector,
    http: SharedHttpConnector,
}

impl HttpConnector for BySchemeConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let is_encrypted = request.uri().starts_with(ENCRYPTED);
        if is_encrypted { self.https.call(request) } else { self.http.call(request) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::tests::environment;

    #[test]
    fn a_variable_that_names_no_proxy_is_refused_without_its_value() {
        for (name, value) in [
            ("HTTPS_PROXY", "socks5://canary:1080"),
            ("https_proxy", "http://"),
            ("HTTP_PROXY", "canary proxy"),
            ("all_proxy", "http://me:canary@"),
        ] {
            let refused = http_client(&environment(&[(name, value)]).expect("fine"));
            let trouble = refused.err().unwrap_or_else(|| panic!("{name}={value} was taken"));
            assert_eq!(trouble.code, "aws.bad_variable");
            assert!(trouble.message.contains(name) && !trouble.message.contains("canary"), "{trouble}");
        }
        for value in ["proxy:3128", "http://me:canary@proxy:3128/", "https://proxy"] {
            assert!(http_client(&environment(&[("HTTPS_PROXY", value)]).expect("fine")).is_ok(), "{value}");
        }
    }

    #[test]
    fn the_proxy_on_the_way_is_told_without_its_password() {
        let variables = [("HTTPS_PROXY", "me:canary@proxy:3128"), ("http_proxy", ""), ("ALL_PROXY", "http://other")];
        let environment = environment(&variables).expect("fine");
        let told = |url| proxy_words(&environment, url).expect("a proxy");
        assert!(told(None).starts_with("HTTPS_PROXY names the proxy http://proxy:3128,"), "{}", told(None));
        assert!(told(Some("http://x")).starts_with("ALL_PROXY names the proxy http://other,"));
    }

    #[test]
    fn what_goes_without_a_proxy() {
        let with = |rules| without_proxy(&environment(&[("no_proxy", rules)]).expect("fine"));
        assert_eq!(with(""), NEVER_BY_PROXY);
        assert_eq!(with("*.internal, 10.0.0.0/8,,*"), format!(".internal,10.0.0.0/8,*,{NEVER_BY_PROXY}"));
    }

    #[test]
    fn authorities_that_are_none_are_refused() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let path = file.path().to_str().expect("text");
        // What the library would panic on: an empty file, base64 that is none, a certificate that is none.
        let broken = "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n".to_owned();
        let no_certificate = pem(&CertificateDer::from(vec![1, 2, 3]));
        for text in [String::new(), broken, no_certificate] {
            std::fs::write(file.path(), &text).expect("writes");
            for name in ["AWS_CA_BUNDLE", "SSL_CERT_FILE"] {
                let trouble =
                    http_client(&environment(&[(name, path)]).expect("fine")).map(drop).expect_err("is refused");
                assert_eq!(trouble.code, "aws.bad_variable");
                assert!(trouble.message.contains(name) && trouble.message.contains(path), "{trouble}");
            }
        }
        let missing = http_client(&environment(&[("AWS_CA_BUNDLE", "/nowhere")]).expect("fine"));
        assert!(missing.err().is_some_and(|trouble| trouble.message.contains("cannot be read")));
    }
}
