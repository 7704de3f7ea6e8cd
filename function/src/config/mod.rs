//! Configuration: environment variables only, all of them parsed in this module.
//!
//! Every variable has an `ENV_*` name and a `DEFAULT_*` value with its reason. All values are
//! parsed before the first error is returned, so that all errors of a deployment can be corrected
//! at once. Every number has an upper bound: a larger value would exhaust memory or wait for ever.

mod reader;
pub mod telemetry;

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use reader::Reader;

pub use reader::ConfigError;
pub use telemetry::TelemetryConfig;

/// Longest duration that can be set, one hour: longer than any gateway waits for an answer.
const MAX_MILLISECONDS: u64 = 3_600_000;

/// TCP port; the name is Knative's, which sets it itself.
pub const ENV_PORT: &str = "PORT";
/// 8080 is what Knative and most platforms assume.
pub const DEFAULT_PORT: u16 = 8080;

/// Address to listen on. Unset: every address of the machine, IPv6 and IPv4, or IPv4 alone where
/// there is no IPv6. Probes and the sidecar connect to the pod's address, which may be of either
/// family.
pub const ENV_HOST: &str = "HOST";

/// Largest image in bytes: a body that is one, a part, what base64 holds.
pub const ENV_MAX_IMAGE_BYTES: &str = "MAX_IMAGE_BYTES";
/// 10 MiB holds any JPEG of a phone and a raw 8-bit 4K frame (8.3 MB).
pub const DEFAULT_MAX_IMAGE_BYTES: usize = 10 * 1024 * 1024;
/// 1 GiB: an image is held in memory as a whole.
const MAX_MAX_IMAGE_BYTES: usize = 1 << 30;

/// Largest image in pixels, checked in the header before anything is decoded.
pub const ENV_MAX_IMAGE_PIXELS: &str = "MAX_IMAGE_PIXELS";
/// 4096 × 4096: twice a 4K frame; it bounds the memory of decoding.
pub const DEFAULT_MAX_IMAGE_PIXELS: u64 = 4096 * 4096;
/// 2^30 pixels: a gray picture of 32,768 × 32,768 takes 1 GiB.
const MAX_MAX_IMAGE_PIXELS: u64 = 1 << 30;

/// Most `file` parts in one multipart request.
pub const ENV_MAX_PARTS: &str = "MAX_PARTS";
/// A short burst of frames from one camera; more belongs into several requests.
pub const DEFAULT_MAX_PARTS: usize = 16;
/// The results of all parts are kept until the last is done.
pub(crate) const MAX_MAX_PARTS: usize = 1024;

/// Memory that request bodies still being read or queued may hold together, in bytes.
pub const ENV_MAX_BODY_MEMORY: &str = "MAX_BODY_MEMORY_BYTES";
/// Six of the largest bodies at once; typical frames of 50 kB stay far below it.
pub const DEFAULT_MAX_BODY_MEMORY: usize = 64 * 1024 * 1024;
/// 2 GiB: also a number on 32-bit machines.
const MAX_MAX_BODY_MEMORY: usize = 1 << 31;

/// Confidence below which a detection does not count.
pub const ENV_CONFIDENCE_THRESHOLD: &str = "CONFIDENCE_THRESHOLD";
/// With it the validation images meet both aims, under 1 % of open eyes missed and under 2 % of
/// closed eyes called open, as with lower ones, which call more things eyes (model card). Faces at
/// unusual angles need a lower threshold, not a higher one.
pub const DEFAULT_CONFIDENCE_THRESHOLD: f32 = 0.35;

/// Overlap (IoU) above which two boxes of one class are the same eye.
pub const ENV_IOU_THRESHOLD: &str = "IOU_THRESHOLD";
/// YOLOv5's own default in `detect.py`.
pub const DEFAULT_IOU_THRESHOLD: f32 = 0.45;

/// Inferences at once; 0 follows the CPU allotment while running.
pub const ENV_MAX_CONCURRENCY: &str = "MAX_CONCURRENCY";
/// Follow the CPUs: more inferences than CPUs only delay each other.
pub const DEFAULT_MAX_CONCURRENCY: usize = 0;
/// Each is a thread with its own buffers (about 10 MB).
const MAX_MAX_CONCURRENCY: usize = 1024;

/// Requests that may wait for an inference.
pub const ENV_QUEUE_CAPACITY: &str = "QUEUE_CAPACITY";
/// Absorbs a burst of a few hundred milliseconds; a longer queue would only turn overload into
/// latency.
pub const DEFAULT_QUEUE_CAPACITY: usize = 16;
/// Room for all places is allocated at the start; a queue this long is minutes of work.
const MAX_QUEUE_CAPACITY: usize = 65_536;

/// Longest time in the queue, and then for memory; after it a request is answered with 504 and not
/// computed.
pub const ENV_REQUEST_DEADLINE_MS: &str = "REQUEST_DEADLINE_MS";
/// A later alarm is useless, and its sender has given up.
pub const DEFAULT_REQUEST_DEADLINE_MS: u64 = 2_000;

/// Longest a client may take to send its request (head, then body).
pub const ENV_BODY_TIMEOUT_MS: &str = "BODY_TIMEOUT_MS";
/// 10 MB over a slow mobile uplink (8 Mbit/s) take ten seconds; the largest image, 10 MiB, needs
/// 8.4 Mbit/s.
pub const DEFAULT_BODY_TIMEOUT_MS: u64 = 10_000;

/// After SIGTERM: how long requests are still taken while `/readyz` already says no.
pub const ENV_DRAIN_DELAY_MS: &str = "DRAIN_DELAY_MS";
/// None on a laptop; in a cluster the manifests set it to the time that endpoint propagation takes.
pub const DEFAULT_DRAIN_DELAY_MS: u64 = 0;

/// After the drain delay: how long accepted requests may take to finish.
pub const ENV_DRAIN_TIMEOUT_MS: &str = "DRAIN_TIMEOUT_MS";
/// Longer than body timeout + deadline + a slow inference, shorter than Kubernetes' grace of 30 s.
pub const DEFAULT_DRAIN_TIMEOUT_MS: u64 = 20_000;

/// Connections open at once, fewer where memory or open files do not suffice. A further one takes
/// the place of one that is idle, or a spare place.
pub const ENV_MAX_CONNECTIONS: &str = "MAX_CONNECTIONS";
/// Each costs up to 168 KiB (docs/hostile-input.md); a gateway in front keeps far fewer.
pub const DEFAULT_MAX_CONNECTIONS: usize = 1024;
/// The number of ports of one client address, and more than the file descriptors that most systems
/// allow.
const MAX_MAX_CONNECTIONS: usize = 65_535;

/// Origins whose pages may use the function from a browser, separated by commas, or `*` for all.
///
/// None by default: the function's own page needs no permission, and a gateway's decision is not
/// overridden.
pub const ENV_CORS_ORIGINS: &str = "CORS_ALLOWED_ORIGINS";

/// URL of the source of this build: the page offers it, as the AGPL (section 13) requires of a
/// modified program that users reach over a network. Unset: unknown; an image has the repository
/// that it was built from.
pub const ENV_SOURCE_URL: &str = "SOURCE_URL";

/// Exit code of a bad configuration: `EX_CONFIG` of sysexits.h.
pub const EXIT_CONFIG: u8 = 78;

/// The whole configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address to listen on; `None` for all of them.
    pub host: Option<IpAddr>,
    /// Port to listen on; 0 for any free one.
    pub port: u16,
    /// Limits of a request.
    pub limits: RequestLimits,
    /// Default thresholds.
    pub thresholds: Thresholds,
    /// A fixed number of inferences at once, or `None` to follow the CPU allotment.
    pub concurrency: Option<NonZeroUsize>,
    /// Requests that may wait for an inference.
    pub queue_capacity: usize,
    /// Longest wait in the queue and for memory.
    pub request_deadline: Duration,
    /// Requests still taken after SIGTERM.
    pub drain_delay: Duration,
    /// Time for accepted requests to finish.
    pub drain_timeout: Duration,
    /// Connections open at once.
    pub max_connections: usize,
    /// An http or https URL of the source, if known.
    pub source_url: Option<String>,
    /// Origins whose pages may use the function.
    pub origins: Origins,
    /// Logs, metrics and traces.
    pub telemetry: TelemetryConfig,
}

/// Origins (scheme, host and port) whose pages may use the function from a browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// Only the function's own page.
    None,
    /// Pages from anywhere.
    Any,
    /// Pages of these, such as `https://example.org`.
    These(Vec<String>),
}

impl Origins {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Any);
        }
        let origins = text.split(',').map(|origin| {
            let origin = origin.trim();
            let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"))?;
            let valid = hyper::http::uri::Authority::try_from(host).is_ok() && !host.contains('@');
            valid.then(|| origin.to_owned())
        });
        origins.collect::<Option<_>>().map(Self::These)
    }
}

/// Limits of a request.
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
    /// Boxes of one class that overlap more are merged.
    pub iou: f32,
}

impl Config {
    /// Reads the process environment.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_vars(std::env::vars_os().filter_map(|(name, value)| {
            // A value that is not Unicode is kept, so that it is reported.
            Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
        }))
    }

    /// Reads from any list of variables.
    pub fn from_vars(vars: impl IntoIterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let mut env = Reader::new(vars);
        let config = Config {
            host: env.parsed(ENV_HOST, "an IP address, such as 0.0.0.0 or ::", |text| text.parse().ok()),
            port: env.number(ENV_PORT, DEFAULT_PORT, 0..=u16::MAX),
            limits: RequestLimits {
                max_image_bytes: env.number(
                    ENV_MAX_IMAGE_BYTES,
                    DEFAULT_MAX_IMAGE_BYTES,
                    1..=MAX_MAX_IMAGE_BYTES,
                ),
                max_image_pixels: env.number(
                    ENV_MAX_IMAGE_PIXELS,
                    DEFAULT_MAX_IMAGE_PIXELS,
                    1..=MAX_MAX_IMAGE_PIXELS,
                ),
                max_parts: env.number(ENV_MAX_PARTS, DEFAULT_MAX_PARTS, 1..=MAX_MAX_PARTS),
                max_body_memory: env.number(
                    ENV_MAX_BODY_MEMORY,
                    DEFAULT_MAX_BODY_MEMORY,
                    1..=MAX_MAX_BODY_MEMORY,
                ),
                body_timeout: env.milliseconds(
                    ENV_BODY_TIMEOUT_MS,
                    DEFAULT_BODY_TIMEOUT_MS,
                    1..=MAX_MILLISECONDS,
                ),
            },
            thresholds: Thresholds {
                confidence: env.fraction(ENV_CONFIDENCE_THRESHOLD, DEFAULT_CONFIDENCE_THRESHOLD),
                iou: env.fraction(ENV_IOU_THRESHOLD, DEFAULT_IOU_THRESHOLD),
            },
            concurrency: NonZeroUsize::new(env.number(
                ENV_MAX_CONCURRENCY,
                DEFAULT_MAX_CONCURRENCY,
                0..=MAX_MAX_CONCURRENCY,
            )),
            queue_capacity: env.number(ENV_QUEUE_CAPACITY, DEFAULT_QUEUE_CAPACITY, 0..=MAX_QUEUE_CAPACITY),
            request_deadline: env.milliseconds(
                ENV_REQUEST_DEADLINE_MS,
                DEFAULT_REQUEST_DEADLINE_MS,
                1..=MAX_MILLISECONDS,
            ),
            drain_delay: env.milliseconds(ENV_DRAIN_DELAY_MS, DEFAULT_DRAIN_DELAY_MS, 0..=MAX_MILLISECONDS),
            drain_timeout: env.milliseconds(
                ENV_DRAIN_TIMEOUT_MS,
                DEFAULT_DRAIN_TIMEOUT_MS,
                1..=MAX_MILLISECONDS,
            ),
            max_connections: env.number(
                ENV_MAX_CONNECTIONS,
                DEFAULT_MAX_CONNECTIONS,
                1..=MAX_MAX_CONNECTIONS,
            ),
            source_url: env.parsed(ENV_SOURCE_URL, "an http or https URL", web_address),
            origins: env
                .parsed(
                    ENV_CORS_ORIGINS,
                    "* or origins such as https://example.org (no path), separated by commas",
                    Origins::parse,
                )
                .unwrap_or(Origins::None),
            telemetry: TelemetryConfig::read(&mut env),
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

/// An http or https URL made of the characters that RFC 3986 allows, so that it can be used in a
/// link without escaping.
fn web_address(url: &str) -> Option<String> {
    let rest = url.strip_prefix("https://").or(url.strip_prefix("http://"))?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~:/?#[]@!$&()*+,;=%".contains(c);
    (!rest.is_empty() && rest.chars().all(allowed)).then(|| url.to_owned())
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
        assert_eq!(config.port, DEFAULT_PORT);
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
            (telemetry::ENV_LOG, "verbose"),
            (telemetry::ENV_TRACES_EXPORTER, "zipkin"),
        ])
        .expect_err("eight bad values")
        .to_string();
        for name in [
            ENV_PORT,
            ENV_CONFIDENCE_THRESHOLD,
            ENV_IOU_THRESHOLD,
            ENV_MAX_IMAGE_BYTES,
            ENV_QUEUE_CAPACITY,
            ENV_SOURCE_URL,
            telemetry::ENV_LOG,
            telemetry::ENV_TRACES_EXPORTER,
        ] {
            assert!(error.contains(name), "{name} is missing from: {error}");
        }
    }

    #[test]
    fn every_number_has_an_upper_bound() {
        for name in [
            ENV_PORT,
            ENV_MAX_IMAGE_BYTES,
            ENV_MAX_IMAGE_PIXELS,
            ENV_MAX_PARTS,
            ENV_MAX_BODY_MEMORY,
            ENV_BODY_TIMEOUT_MS,
            ENV_CONFIDENCE_THRESHOLD,
            ENV_IOU_THRESHOLD,
            ENV_MAX_CONCURRENCY,
            ENV_QUEUE_CAPACITY,
            ENV_REQUEST_DEADLINE_MS,
            ENV_DRAIN_DELAY_MS,
            ENV_DRAIN_TIMEOUT_MS,
            ENV_MAX_CONNECTIONS,
        ] {
            for value in ["18446744073709551615", "99999999999999999999999"] {
                let error = config(&[(name, value)]).expect_err(name).to_string();
                assert!(error.contains(name) && error.contains(" to "), "{error}");
            }
        }
    }

    #[test]
    fn origins_are_schemes_and_hosts() {
        let origins = |text| config(&[(ENV_CORS_ORIGINS, text)]).map(|config| config.origins);
        assert_eq!(origins(""), Ok(Origins::None));
        assert_eq!(origins("*"), Ok(Origins::Any));
        let two = ["https://a.example", "http://localhost:3000"].map(str::to_owned);
        assert_eq!(origins("https://a.example, http://localhost:3000"), Ok(Origins::These(two.to_vec())));
        for bad in ["a.example", "https://a.example/", "https://a.example,", "null"] {
            assert!(origins(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_empty_value_counts_as_unset() {
        assert_eq!(config(&[(ENV_PORT, " ")]).expect("unset").port, DEFAULT_PORT);
    }

    #[test]
    fn a_body_budget_below_one_image_is_refused() {
        let error = config(&[(ENV_MAX_BODY_MEMORY, "1000")]).expect_err("too small").to_string();
        assert!(error.contains(ENV_MAX_BODY_MEMORY) && error.contains(ENV_MAX_IMAGE_BYTES));
    }
}
