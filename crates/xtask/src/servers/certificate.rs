//! A certificate authority of our own and a server certificate signed by it, made with openssl.
//!
//! Two certificates and not one signed by itself: a strict client (rustls) refuses an authority's certificate as a server's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{command, endpoints};

/// How long the certificates are valid; they live no longer than the target folder.
const VALID_DAYS: &str = "3650";
/// The authority's certificate, which a client that verifies is to trust.
pub const AUTHORITY_FILE: &str = "ca.crt";

/// The files of a made certificate.
pub struct Certificate {
    /// The server's certificate, in PEM.
    pub chain: PathBuf,
    /// The server's private key, in PEM.
    pub key: PathBuf,
}

/// Makes the certificates in `dir`, unless they are there.
pub fn make(dir: &Path) -> Result<Certificate> {
    let made = Certificate { chain: dir.join("server.crt"), key: dir.join("server.key") };
    if made.chain.is_file() {
        return Ok(made);
    }
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let extensions_path = dir.join("server.ext");
    let names = format!(
        "basicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth\nsubjectAltName=DNS:localhost,IP:{}\n",
        endpoints::LOOPBACK
    );
    fs::write(&extensions_path, names).with_context(|| format!("cannot write {}", extensions_path.display()))?;

    let new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let mut authority = openssl(dir, &["req", "-x509"]);
    authority.args(new_key).args(["-subj", "/CN=Tailwater test authority", "-days", VALID_DAYS]);
    authority.args(["-keyout", "ca.key", "-out", AUTHORITY_FILE]);
    command::run_quietly(&mut authority).context("cannot make the test authority's certificate")?;

    let mut request = openssl(dir, &["req", "-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.csr"]);
    command::run_quietly(request.args(new_key)).context("cannot make the server's key")?;

    // The certificate comes last and in one step: while it is missing, everything is made again.
    let mut sign = openssl(dir, &["x509", "-req", "-in", "server.csr", "-CA", AUTHORITY_FILE, "-CAkey", "ca.key"]);
    sign.args(["-CAcreateserial", "-days", VALID_DAYS, "-extfile", "server.ext", "-out", "server.new"]);
    command::run_quietly(&mut sign).context("cannot sign the server's certificate")?;
    fs::rename(dir.join("server.new"), &made.chain)
        .with_context(|| format!("cannot move the new certificate to {}", made.chain.display()))?;
    Ok(made)
}

fn openssl(dir: &Path, arguments: &[&str]) -> Command {
    let mut openssl = Command::new("openssl");
    openssl.current_dir(dir).args(arguments);
    openssl
}
