//! A bucket of an S3-compatible service.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ObjectStore, RetryConfig};
// object_store calls through it, and leaves to us which TLS it has.
use object_store::{Certificate, ClientOptions};
use reqwest as _;
use url::{Host, Url};

/// A call that fails is repeated within this time. Whoever asked waits no longer, and tries again by himself.
const PATIENCE: Duration = Duration::from_secs(15);
/// Longest time until a call begins to be answered, and between two pieces of the answer. Not of the whole: how long a
/// package takes depends on whoever fetches it.
const SILENCE: Duration = Duration::from_secs(30);
/// Longest time to connect.
const CONNECT: Duration = Duration::from_secs(5);

/// A bucket, or the part of it below a prefix. Who may use it is said by the variables that the tools of AWS read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// What every key begins with; empty: nothing.
    pub prefix: String,
    /// Where the service is, `https://host:port`. None: `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`, or that of AWS.
    pub endpoint: Option<String>,
    /// The region. None: `AWS_REGION`, `AWS_DEFAULT_REGION`, or `us-east-1`, which is right where there are no regions.
    pub region: Option<String>,
    /// Whether the bucket is named in the path of each request, as every service takes it, and not in the host's name.
    pub path_style: bool,
    /// Whether to go on where credentials and content can be read by others on the way.
    pub allow_http: bool,
}

impl Bucket {
    /// The bucket that `s3://NAME/PREFIX` names; by path, and only by https.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("s3://").ok_or_else(|| format!("{text:?} does not begin with s3://"))?;
        let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if name.is_empty() || name.contains(['?', '#', '@', ':']) {
            return Err(format!("{text:?} is not s3://BUCKET or s3://BUCKET/PREFIX"));
        }
        let prefix = prefix.trim_matches('/').to_owned();
        Ok(Self { name: name.to_owned(), prefix, path_style: true, ..Self::default() })
    }

    /// A client for it. Calls nobody yet.
    ///
    /// # Errors
    /// What is wrong with the settings or `variables`, in words.
    pub(super) fn open(
        &self,
        variables: impl Iterator<Item = (String, String)>,
    ) -> Result<Arc<dyn ObjectStore>, String> {
        // The only TLS that is linked; it fails if it was chosen before, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let options = ClientOptions::new()
            .with_timeout_disabled()
            .with_connect_timeout(CONNECT)
            .with_read_timeout(SILENCE)
            .with_allow_http(true);
        let retry = RetryConfig {
            backoff: BackoffConfig { max_backoff: Duration::from_secs(3), ..BackoffConfig::default() },
            max_retries: 8,
            retry_timeout: PATIENCE,
        };
        let (mut builder, mut options) = (AmazonS3Builder::new(), options);
        for (name, value) in variables.filter(|(name, value)| name.starts_with("AWS_") && !value.is_empty()) {
            if name == "AWS_CA_BUNDLE" {
                for certificate in certificates(&value)? {
                    options = options.with_root_certificate(certificate);
                }
            } else if let Ok(key) = name.to_ascii_lowercase().parse() {
                builder = match key {
                    // What connections are like is ours to say.
                    AmazonS3ConfigKey::Client(_) => builder,
                    key => builder.with_config(key, value),
                };
            }
        }
        let value = |key| builder.get_config_value(&key);
        let endpoint = self.endpoint.clone().or_else(|| value(AmazonS3ConfigKey::S3Endpoint));
        let endpoint = endpoint.or_else(|| value(AmazonS3ConfigKey::Endpoint));
        let mut builder = builder
            .with_client_options(options)
            .with_retry(retry)
            .with_bucket_name(&self.name)
            .with_virtual_hosted_style_request(!self.path_style);
        if let Some(region) = &self.region {
            builder = builder.with_region(region);
        }
        if let Some(endpoint) = endpoint {
            builder = builder.with_config(AmazonS3ConfigKey::S3Endpoint, self.address(&endpoint)?);
        }
        let bucket: AmazonS3 = builder.build().map_err(|e| e.to_string())?;
        Ok(match self.prefix.as_str() {
            "" => Arc::new(bucket),
            prefix => Arc::new(PrefixStore::new(bucket, prefix)),
        })
    }

    /// The endpoint as requests are sent to it.
    fn address(&self, endpoint: &str) -> Result<String, String> {
        let url = Url::parse(endpoint).map_err(|e| format!("the endpoint {endpoint:?}: {e}"))?;
        let host = url.host().ok_or_else(|| format!("the endpoint {endpoint:?} names no host"))?;
        let is_here = match &host {
            Host::Domain(name) => *name == "localhost",
            Host::Ipv4(ip) => ip.is_loopback(),
            Host::Ipv6(ip) => ip.is_loopback(),
        };
        match url.scheme() {
            "https" => {}
            "http" if is_here || self.allow_http => {}
            "http" => {
                return Err(format!(
                    "the endpoint {endpoint} would get everything in the clear: name one with https, or set \
                     s3.allow_http=true"
                ));
            }
            _ => return Err(format!("the endpoint {endpoint:?} begins neither with https:// nor http://")),
        }
        let bucket = if self.path_style { String::new() } else { format!("{}.", self.name) };
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        Ok(format!("{}://{bucket}{host}{port}{}", url.scheme(), url.path().trim_end_matches('/')))
    }
}

impl std::fmt::Display for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        write!(f, "s3://{}{slash}{}", self.name, self.prefix)
    }
}

fn certificates(path: &str) -> Result<Vec<Certificate>, String> {
    let text = std::fs::read(path).map_err(|e| format!("AWS_CA_BUNDLE={path} cannot be read: {e}"))?;
    Certificate::from_pem_bundle(&text).map_err(|e| format!("AWS_CA_BUNDLE={path} cannot be used: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_and_a_prefix_are_read_from_one_name() {
        let bucket = Bucket::parse("s3://b").unwrap();
        assert_eq!((bucket.name.as_str(), bucket.prefix.as_str()), ("b", ""));
        let bucket = Bucket::parse("s3://b.c/x/y/").unwrap();
        assert_eq!((bucket.name.as_str(), bucket.prefix.as_str()), ("b.c", "x/y"));
        assert_eq!(bucket.to_string(), "s3://b.c/x/y");
        for bad in ["b", "s3:/b", "s3://", "s3:///x", "s3://k:s@b/x", "S3://b"] {
            assert!(Bucket::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn nothing_goes_in_the_clear_unless_it_stays_here_or_was_allowed() {
        let bucket = Bucket::parse("s3://b").unwrap();
        for good in
            ["https://s3.example", "http://127.0.0.1:9000", "http://[::1]:9000/", "http://localhost:1"]
        {
            assert_eq!(bucket.address(good).unwrap(), good.trim_end_matches('/'));
        }
        let refused = bucket.address("http://10.0.0.1:9000").unwrap_err();
        assert!(refused.contains("in the clear") && refused.contains("s3.allow_http"), "{refused}");
        let allowed = Bucket { allow_http: true, ..bucket.clone() };
        assert_eq!(allowed.address("http://10.0.0.1:9000").unwrap(), "http://10.0.0.1:9000");
        assert!(bucket.address("ftp://10.0.0.1").is_err() && bucket.address("minio:9000").is_err());
        let hosted = Bucket { path_style: false, ..bucket };
        assert_eq!(hosted.address("https://s3.example:9000/").unwrap(), "https://b.s3.example:9000");
    }

    #[test]
    fn what_is_wrong_with_the_variables_is_said() {
        let open = |name: &str, value: &str| {
            let variables = [(name.to_owned(), value.to_owned())];
            Bucket::parse("s3://b").unwrap().open(variables.into_iter()).unwrap_err()
        };
        assert!(open("AWS_ENDPOINT_URL", "http://10.0.0.1").contains("in the clear"));
        assert!(
            open("AWS_CA_BUNDLE", "/no/such/file").starts_with("AWS_CA_BUNDLE=/no/such/file cannot be read")
        );
        let lacking = open("AWS_ACCESS_KEY_ID", "k").to_lowercase();
        assert!(lacking.contains("secret"), "{lacking}");
    }
}
