//! The configuration room: environment variables only, all of them read here and nowhere else.
//!
//! Every variable has an `ENV_*` name and a `DEFAULT_*` value with its reason. All values are
//! parsed before the first error is returned, so that a bad deployment is mended in one round.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::time::Duration;

/// TCP port; the name is Knative's, which sets it itself.
pub const ENV_PORT: &str = "PORT";
/// 8080 is what Knative and most platforms assume.
pub const DEFAULT_PORT: u16 = 8080;

/// Address to listen on.
pub const ENV_HOST: &str = "HOST";
/// All interfaces: probes and the sidecar come in through the pod's own address.
pub const DEFAULT_HOST: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Largest request body in bytes.
pub const ENV_MAX_IMAGE_BYTES: &str = "MAX_IMAGE_BYTES";
/// 10 MiB holds any JPEG of a phone and a raw 8-bit 4K frame (8.3 MB).
pub const DEFAULT_MAX_IMAGE_BYTES: usize = 10 * 1024 * 1024;

/// Largest image in pixels, checked in the header before anything is decoded.
pub const ENV_MAX_IMAGE_PIXELS: &str = "MAX_IMAGE_PIXELS";
/// 4096 × 4096: twice a 4K frame; what decoding may cost in memory follows from it.
pub const DEFAULT_MAX_IMAGE_PIXELS: u64 = 4096 * 4096;

/// Most `file` parts in one multipart request.
pub const ENV_MAX_PARTS: &str = "MAX_PARTS";
/// A short burst of frames from one camera; more belongs into several requests.
pub const DEFAULT_MAX_PARTS: usize = 16;

/// Memory that request bodies still being read or queued may hold together, in bytes.
pub const ENV_MAX_BODY_MEMORY: &str = "MAX_BODY_MEMORY_BYTES";
/// Six of the largest bodies at once; typical frames of 50 kB never get near it.
pub const DEFAULT_MAX_BODY_MEMORY: usize = 64 * 1024 * 1024;

/// Confidence below which a detection does not count.
pub const ENV_CONFIDENCE_THRESHOLD: &str = "CONFIDENCE_THRESHOLD";
/// Of the thresholds tried, the lowest with which the validation images meet both aims: under 1 %
/// of open eyes missed, under 2 % of closed eyes called open (model card). Faces at odd angles ask
/// for less rather than more.
pub const DEFAULT_CONFIDENCE_THRESHOLD: f32 = 0.35;

/// Overlap above which two boxes of one class are the same eye.
pub const ENV_IOU_THRESHOLD: &str = "IOU_THRESHOLD";
/// YOLOv5's own default in `detect.py`.
pub const DEFAULT_IOU_THRESHOLD: f32 = 0.45;

/// Inferences at once; 0 follows the CPU allotment while running.
pub const ENV_MAX_CONCURRENCY: &str = "MAX_CONCURRENCY";
/// Follow the CPUs: more inferences than CPUs only make each of them late.
pub const DEFAULT_MAX_CONCURRENCY: usize = 0;

/// Requests that may wait for an inference.
pub const ENV_QUEUE_CAPACITY: &str = "QUEUE_CAPACITY";
/// Rides out a burst of a few hundred milliseconds; a longer queue only turns overload into
/// latency.
pub const DEFAULT_QUEUE_CAPACITY: usize = 16;

/// Longest a request may wait in the queue before it is answered 504 without being computed.
pub const ENV_REQUEST_DEADLINE_MS: &str = "REQUEST_DEADLINE_MS";
/// An alarm later than this is worth nothing, and its sender has given up.
pub const DEFAULT_REQUEST_DEADLINE_MS: u64 = 2_000;

/// Longest a client may take to send its request (head, then body).
pub const ENV_BODY_TIMEOUT_MS: &str = "BODY_TIMEOUT_MS";
/// 10 MiB over a slow mobile uplink (8 Mbit/s) takes about ten seconds.
pub const DEFAULT_BODY_TIMEOUT_MS: u64 = 10_000;

/// After SIGTERM: how long requests are still taken while `/readyz` already says no.
pub const ENV_DRAIN_DELAY_MS: &str = "DRAIN_DELAY_MS";
/// None on a laptop; in a cluster the manifests set it to what endpoint propagation takes.
pub const DEFAULT_DRAIN_DELAY_MS: u64 = 0;

/// After the drain delay: how long accepted requests may take to finish.
pub const ENV_DRAIN_TIMEOUT_MS: &str = "DRAIN_TIMEOUT_MS";
/// Longer than body timeout + deadline + a slow inference, shorter than Kubernetes' grace of 30 s.
pub const DEFAULT_DRAIN_TIMEOUT_MS: u64 = 20_000;

/// Connections open at once; further ones wait in the kernel's backlog.
pub const ENV_MAX_CONNECTIONS: &str = "MAX_CONNECTIONS";
/// Each costs a few kilobytes; a gateway in front keeps far fewer.
pub const DEFAULT_MAX_CONNECTIONS: usize = 1024;

/// Where the source of what runs here is: the page offers it, as the AGPL (section 13) asks of a
/// modified program that users reach over a network.
pub const ENV_SOURCE_URL: &str = "SOURCE_URL";
/// Not known to the program: the image is built with the repository that it was built from.
pub const DEFAULT_SOURCE_URL: &str = "";

/// Exit code of a bad configuration: `EX_CONFIG` of sysexits.h.
pub const EXIT_CONFIG: u8 = 78;

/// Everything that can be set from outside.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen.
    pub address: SocketAddr,
    /// Bounds on what a request may bring.
    pub limits: RequestLimits,
    /// Thresholds where the request names none.
    pub thresholds: Thresholds,
    /// A fixed number of inferences at once, or `None` to follow the CPU allotment.
    pub concurrency: Option<NonZeroUsize>,
    /// Requests that may wait for an inference.
    pub queue_capacity: usize,
    /// Longest wait in the queue.
    pub request_deadline: Duration,
    /// Requests still taken after SIGTERM.
    pub drain_delay: Duration,
    /// Time for accepted requests to finish.
    pub drain_timeout: Duration,
    /// Connections open at once.
    pub max_connections: usize,
    /// An http or https URL of the source, where one is known.
    pub source_url: Option<String>,
}

/// Bounds on what a request may bring.
#[derive(Clone, Copy, Debug)]
pub struct RequestLimits {
    /// Bytes of one image.
    pub max_image_bytes: usize,
    /// Pixels of one image.
    pub max_image_pixels: u64,
    /// Parts of one multipart request.
    pub max_parts: usize,
    /// Bytes of all bodies in memory.
    pub max_body_memory: usize,
    /// Time to send the body.
    pub body_timeout: Duration,
}

/// Detection thresholds, each 0..1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// Detections at or below it do not count.
    pub confidence: f32,
    /// Boxes of one class that overlap more are one.
    pub iou: f32,
}

/// All that is wrong with the environment, one line each.
#[derive(Debug, PartialEq)]
pub struct ConfigError(Vec<String>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bad environment variable(s)", self.0.len())?;
        self.0.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads the process environment.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_vars(std::env::vars_os().filter_map(|(name, value)| {
            // A value that is not Unicode is kept, so that it is reported and not passed over.
            Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
        }))
    }

    /// Reads from any list of variables.
    pub fn from_vars(vars: impl IntoIterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let mut env = Reader { vars: vars.into_iter().collect(), errors: Vec::new() };
        let millis = |value| Duration::from_millis(value);
        let config = Config {
            address: SocketAddr::new(
                env.get(ENV_HOST, DEFAULT_HOST, "an IP address, such as 0.0.0.0", |_| true),
                env.get(ENV_PORT, DEFAULT_PORT, "a port from 0 to 65535", |_| true),
            ),
            limits: RequestLimits {
                max_image_bytes: env.positive(ENV_MAX_IMAGE_BYTES, DEFAULT_MAX_IMAGE_BYTES),
                max_image_pixels: env.positive(ENV_MAX_IMAGE_PIXELS, DEFAULT_MAX_IMAGE_PIXELS),
                max_parts: env.positive(ENV_MAX_PARTS, DEFAULT_MAX_PARTS),
                max_body_memory: env.positive(ENV_MAX_BODY_MEMORY, DEFAULT_MAX_BODY_MEMORY),
                body_timeout: millis(env.positive(ENV_BODY_TIMEOUT_MS, DEFAULT_BODY_TIMEOUT_MS)),
            },
            thresholds: Thresholds {
                confidence: env.fraction(ENV_CONFIDENCE_THRESHOLD, DEFAULT_CONFIDENCE_THRESHOLD),
                iou: env.fraction(ENV_IOU_THRESHOLD, DEFAULT_IOU_THRESHOLD),
            },
            concurrency: NonZeroUsize::new(env.count(ENV_MAX_CONCURRENCY, DEFAULT_MAX_CONCURRENCY)),
            queue_capacity: env.count(ENV_QUEUE_CAPACITY, DEFAULT_QUEUE_CAPACITY),
            request_deadline: millis(env.positive(ENV_REQUEST_DEADLINE_MS, DEFAULT_REQUEST_DEADLINE_MS)),
            drain_delay: millis(env.count(ENV_DRAIN_DELAY_MS, DEFAULT_DRAIN_DELAY_MS)),
            drain_timeout: millis(env.positive(ENV_DRAIN_TIMEOUT_MS, DEFAULT_DRAIN_TIMEOUT_MS)),
            max_connections: env.positive(ENV_MAX_CONNECTIONS, DEFAULT_MAX_CONNECTIONS),
            source_url: Some(env.get(
                ENV_SOURCE_URL,
                DEFAULT_SOURCE_URL.to_owned(),
                "an http or https URL",
                |url| is_web_address(url),
            ))
            .filter(|url| !url.is_empty()),
        };
        if config.limits.max_body_memory < config.limits.max_image_bytes {
            env.errors.push(format!(
                "{ENV_MAX_BODY_MEMORY} ({}) is less than {ENV_MAX_IMAGE_BYTES} ({}): no such image could ever be read",
                config.limits.max_body_memory, config.limits.max_image_bytes
            ));
        }
        if env.errors.is_empty() { Ok(config) } else { Err(ConfigError(env.errors)) }
    }
}

/// An http or https URL made of the characters that RFC 3986 allows, so that it can stand in a link
/// as it is.
fn is_web_address(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or(url.strip_prefix("http://"));
    rest.is_some_and(|rest| {
        !rest.is_empty()
            && rest.chars().all(|c| c.is_ascii_alphanumeric() || "-._~:/?#[]@!$&()*+,;=%".contains(c))
    })
}

struct Reader {
    vars: HashMap<String, String>,
    errors: Vec<String>,
}

impl Reader {
    fn get<T: FromStr>(&mut self, name: &str, default: T, expected: &str, valid: impl Fn(&T) -> bool) -> T {
        let Some(text) = self.vars.get(name).map(|text| text.trim()).filter(|text| !text.is_empty()) else {
            return default;
        };
        match text.parse::<T>() {
            Ok(value) if valid(&value) => value,
            _ => {
                self.errors.push(format!("{name}={text:?}: expected {expected}"));
                default
            }
        }
    }

    fn positive<T: FromStr + PartialOrd + Default>(&mut self, name: &str, default: T) -> T {
        self.get(name, default, "a whole number of at least 1", |value| *value > T::default())
    }

    fn count<T: FromStr>(&mut self, name: &str, default: T) -> T {
        self.get(name, default, "a whole number of at least 0", |_| true)
    }

    fn fraction(&mut self, name: &str, default: f32) -> f32 {
        self.get(name, default, "a number from 0 to 1", |value| (0.0..=1.0).contains(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(vars: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::from_vars(vars.iter().map(|(name, value)| (name.to_string(), value.to_string())))
    }

    #[test]
    fn an_empty_environment_gives_the_defaults() {
        let config = config(&[]).expect("the defaults are valid");
        assert_eq!(config.address.port(), DEFAULT_PORT);
        assert_eq!(config.concurrency, None);
        assert_eq!(config.thresholds.iou, DEFAULT_IOU_THRESHOLD);
    }

    #[test]
    fn every_bad_variable_is_named_at_once() {
        let error = config(&[
            (ENV_PORT, "eighty"),
            (ENV_CONFIDENCE_THRESHOLD, "1.5"),
            (ENV_IOU_THRESHOLD, "NaN"),
            (ENV_MAX_IMAGE_BYTES, "0"),
            (ENV_QUEUE_CAPACITY, "-1"),
            (ENV_SOURCE_URL, "javascript:alert(1)"),
        ])
        .expect_err("six bad values")
        .to_string();
        for name in [
            ENV_PORT,
            ENV_CONFIDENCE_THRESHOLD,
            ENV_IOU_THRESHOLD,
            ENV_MAX_IMAGE_BYTES,
            ENV_QUEUE_CAPACITY,
            ENV_SOURCE_URL,
        ] {
            assert!(error.contains(name), "{name} is missing from: {error}");
        }
    }

    #[test]
    fn an_empty_value_counts_as_unset() {
        assert_eq!(config(&[(ENV_PORT, " ")]).expect("unset").address.port(), DEFAULT_PORT);
    }

    #[test]
    fn a_body_budget_below_one_image_is_refused() {
        let error = config(&[(ENV_MAX_BODY_MEMORY, "1000")]).expect_err("too small").to_string();
        assert!(error.contains(ENV_MAX_BODY_MEMORY) && error.contains(ENV_MAX_IMAGE_BYTES));
    }
}
