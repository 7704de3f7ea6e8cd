//! What is logged and traced: `RUST_LOG` and OpenTelemetry's standard variables.
//!
//! The OpenTelemetry SDK reads some of these itself, and silently uses its default for a value that
//! it does not understand. All of them are checked here, so that a value is either honoured or
//! refused.
//!
//! Source: <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/> and
//! <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>.

use std::borrow::Cow;
use std::time::Duration;

use hyper::Uri;
use percent_encoding::percent_decode_str;
use tracing_subscriber::filter::{LevelFilter, Targets};

use super::MAX_MILLISECONDS;
use super::reader::Reader;

/// What is logged: a level, `target=level` pairs, or both, separated by commas.
pub const ENV_LOG: &str = "RUST_LOG";
/// Start, shutdown, configuration and defects; single requests are at `debug`.
pub const DEFAULT_LOG: LevelFilter = LevelFilter::INFO;

/// `true`: neither metrics nor traces. To measure their cost.
pub const ENV_SDK_DISABLED: &str = "OTEL_SDK_DISABLED";

/// `otlp` or `none`. Unset, traces are exported only if an endpoint is set: a function on a laptop
/// does not look for a collector.
pub const ENV_TRACES_EXPORTER: &str = "OTEL_TRACES_EXPORTER";
/// `prometheus` (the default: `GET /metrics`) or `none`.
pub const ENV_METRICS_EXPORTER: &str = "OTEL_METRICS_EXPORTER";
/// `none`: logs always go to standard error.
pub const ENV_LOGS_EXPORTER: &str = "OTEL_LOGS_EXPORTER";

/// Settings of the exporter; each is read with this prefix and the name of the signal first, then
/// without.
const OTLP: &str = "OTEL_EXPORTER_OTLP_";
/// Default endpoint of OTLP over HTTP (exporter specification).
const DEFAULT_ENDPOINT: &str = "http://localhost:4318";
/// Path of traces below the general endpoint (OTLP specification, section OTLP/HTTP request).
const TRACES_PATH: &str = "v1/traces";
/// Longest an export may take (exporter specification).
const DEFAULT_TIMEOUT_MS: u64 = 10_000;

/// Which traces are recorded.
pub const ENV_SAMPLER: &str = "OTEL_TRACES_SAMPLER";
/// The ratio of the two samplers that take one.
pub const ENV_SAMPLER_ARG: &str = "OTEL_TRACES_SAMPLER_ARG";
const SAMPLERS: [&str; 6] = [
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
];

/// The propagator of the caller's context.
pub const ENV_PROPAGATORS: &str = "OTEL_PROPAGATORS";

/// The service's name; wins over `service.name` in the resource attributes.
pub const ENV_SERVICE_NAME: &str = "OTEL_SERVICE_NAME";
/// Attributes of this instance: `key=value` pairs separated by commas.
pub const ENV_RESOURCE_ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";

/// Numbers that the SDK reads itself, and the largest that makes sense. It allocates its queue of
/// spans at once (about 0.5 kB each), hence the bound of 65,536.
const SDK_NUMBERS: [(&str, u64, u64); 7] = [
    ("OTEL_BSP_SCHEDULE_DELAY", 0, MAX_MILLISECONDS),
    ("OTEL_BSP_EXPORT_TIMEOUT", 0, MAX_MILLISECONDS),
    ("OTEL_BSP_MAX_QUEUE_SIZE", 1, 65_536),
    ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 1, 65_536),
    ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", 0, 65_536),
    ("OTEL_SPAN_EVENT_COUNT_LIMIT", 0, 65_536),
    ("OTEL_SPAN_LINK_COUNT_LIMIT", 0, 65_536),
];

/// Logs, metrics and traces.
#[derive(Clone, Debug)]
pub struct TelemetryConfig {
    /// The filter of the log.
    pub log: Targets,
    /// Whether metrics are recorded.
    pub metrics: bool,
    /// The destination of traces, if any.
    pub traces: Option<TraceExport>,
    /// Whether the environment sets the service's name; if not, the default is passed to the SDK.
    pub service_is_named: bool,
    /// OpenTelemetry variables that are set and have no effect.
    pub without_effect: Vec<String>,
}

/// The destination of traces.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceExport {
    /// The collector's URL for traces, plain HTTP.
    pub endpoint: Uri,
    /// Longest an export may take, retries included.
    pub timeout: Duration,
}

impl TelemetryConfig {
    pub(super) fn read(env: &mut Reader) -> Self {
        let log = env
            .parsed(
                ENV_LOG,
                "a level (off, error, warn, info, debug, trace), target=level pairs, or both, separated by commas",
                log_filter,
            )
            .unwrap_or_else(|| Targets::new().with_default(DEFAULT_LOG));
        let mut config =
            Self { log, metrics: false, traces: None, service_is_named: false, without_effect: Vec::new() };
        let disabled = env.parsed(ENV_SDK_DISABLED, "true or false", boolean).unwrap_or(false);
        if disabled {
            return config;
        }
        let metrics = "prometheus or none: metrics are served on /metrics and not sent anywhere";
        config.metrics = one_of(env, ENV_METRICS_EXPORTER, &["prometheus", "none"], metrics) != Some("none");
        one_of(env, ENV_LOGS_EXPORTER, &["none"], "none: logs are lines on standard error");
        config.service_is_named = env.text(ENV_SERVICE_NAME).is_some() | resource_names_service(env);
        config.traces = traces(env);
        config.without_effect = without_effect(env, config.traces.is_some());
        config
    }
}

/// Levels and `target=level` pairs. Targets without a pair have the level that stands alone, or the
/// default: neither a pair nor a misspelt level turns off everything else.
fn log_filter(text: &str) -> Option<Targets> {
    let mut filter = Targets::new().with_default(DEFAULT_LOG);
    for directive in text.split(',').map(str::trim).filter(|directive| !directive.is_empty()) {
        filter = match directive.split_once('=') {
            Some((target, level)) => {
                let target = target.trim();
                let is_path = |c: char| c.is_alphanumeric() || matches!(c, '_' | ':' | '-');
                if target.is_empty() || !target.chars().all(is_path) {
                    return None;
                }
                filter.with_target(target, level.trim().parse::<LevelFilter>().ok()?)
            }
            None => filter.with_default(directive.parse::<LevelFilter>().ok()?),
        };
    }
    Some(filter)
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// The one of `allowed` that the variable names. Lists of one are lists, too: the specification
/// allows several.
fn one_of(env: &mut Reader, name: &str, allowed: &[&'static str], expected: &str) -> Option<&'static str> {
    env.parsed(name, expected, |text| allowed.iter().find(|value| text.eq_ignore_ascii_case(value)).copied())
}

/// `key=value` pairs separated by commas, values percent-encoded (W3C Baggage, as both
/// specifications ask for).
fn pairs(text: &str) -> Option<Vec<(&str, Cow<'_, str>)>> {
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=')?;
            let key = key.trim();
            let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
            (!key.is_empty()).then_some((key, value))
        })
        .collect()
}

fn resource_names_service(env: &mut Reader) -> bool {
    env.parsed(ENV_RESOURCE_ATTRIBUTES, "key=value pairs separated by commas", |text| {
        pairs(text).map(|pairs| pairs.iter().any(|(key, _)| *key == "service.name"))
    })
    .unwrap_or(false)
}

fn traces(env: &mut Reader) -> Option<TraceExport> {
    let exporter = one_of(
        env,
        ENV_TRACES_EXPORTER,
        &["otlp", "none"],
        "otlp or none: let a collector translate to anything else",
    );
    let [endpoint, traces_endpoint] = otlp("ENDPOINT");
    let named = env.text(&endpoint).is_some() || env.text(&traces_endpoint).is_some();
    if exporter == Some("none") || (exporter.is_none() && !named) {
        return None;
    }

    for name in otlp("PROTOCOL") {
        one_of(
            env,
            &name,
            &["http/protobuf"],
            "http/protobuf (a collector's port 4318): gRPC and JSON are not built in",
        );
    }
    for name in otlp("COMPRESSION") {
        one_of(env, &name, &["none", "gzip"], "none or gzip");
    }
    for name in otlp("HEADERS") {
        env.parsed_unseen(&name, "header=value pairs separated by commas, values percent-encoded", headers);
    }
    let mut timeout = Duration::from_millis(DEFAULT_TIMEOUT_MS);
    for name in otlp("TIMEOUT") {
        // The general one first: the signal's own overrides it.
        let default = timeout.as_millis() as u64;
        timeout = env.milliseconds(&name, default, 1..=MAX_MILLISECONDS);
    }
    one_of(env, ENV_SAMPLER, &SAMPLERS, &format!("one of {}", SAMPLERS.join(", ")));
    env.fraction(ENV_SAMPLER_ARG, 1.0);
    // Baggage is not read, and harms nothing beside it.
    env.parsed(ENV_PROPAGATORS, "tracecontext, or tracecontext,baggage: no other is built in", |text| {
        let names: Vec<&str> = text.split(',').map(str::trim).collect();
        let known = names.iter().all(|name| ["tracecontext", "baggage"].contains(name));
        (known && names.contains(&"tracecontext")).then_some(())
    });
    for (name, least, most) in SDK_NUMBERS {
        env.number(name, least, least..=most);
    }

    let base = read_endpoint(env, &endpoint);
    let own = read_endpoint(env, &traces_endpoint);
    let endpoint = match (own, base) {
        (Some(own), _) => own,
        (None, base) => {
            let base = base.map_or_else(|| DEFAULT_ENDPOINT.to_owned(), |base| base.to_string());
            format!("{}/{TRACES_PATH}", base.trim_end_matches('/')).parse().ok()?
        }
    };
    Some(TraceExport { endpoint, timeout })
}

/// The general variable and the one for traces, in this order.
fn otlp(setting: &str) -> [String; 2] {
    [format!("{OTLP}{setting}"), format!("{OTLP}TRACES_{setting}")]
}

/// A collector's URL. The log names it, and so does an error: one with credentials is refused, and
/// not repeated.
fn read_endpoint(env: &mut Reader, name: &str) -> Option<Uri> {
    let expected = "http://host:port, without user or query: TLS is the collector's part, so send to one in the same \
                    cluster, and credentials go into OTEL_EXPORTER_OTLP_HEADERS";
    env.parsed_unseen(name, expected, plain_http)
}

fn plain_http(text: &str) -> Option<Uri> {
    let uri: Uri = text.parse().ok()?;
    let (host, place) = (uri.host()?, uri.authority()?.as_str());
    // What follows the host is a port, if anything does; `port_u16` is none for what is no number.
    let port = place == host || uri.port_u16().is_some_and(|port| port > 0);
    let plain = uri.scheme_str() == Some("http") && !text.contains('@') && uri.query().is_none();
    (plain && !host.is_empty() && port).then_some(uri)
}

fn headers(text: &str) -> Option<()> {
    let valid = |(name, value): &(&str, Cow<'_, str>)| {
        hyper::header::HeaderName::try_from(*name).is_ok()
            && hyper::header::HeaderValue::try_from(&**value).is_ok()
    };
    pairs(text)?.iter().all(valid).then_some(())
}

/// Variables that are set and change nothing, such as those of signals that are not exported over
/// OTLP, and those of traces if none are exported.
fn without_effect(env: &Reader, exporting: bool) -> Vec<String> {
    const USED: [&str; 6] = [
        ENV_SDK_DISABLED,
        ENV_TRACES_EXPORTER,
        ENV_METRICS_EXPORTER,
        ENV_LOGS_EXPORTER,
        ENV_SERVICE_NAME,
        ENV_RESOURCE_ATTRIBUTES,
    ];
    let exporter = ["ENDPOINT", "PROTOCOL", "COMPRESSION", "HEADERS", "TIMEOUT"].into_iter().flat_map(otlp);
    let of_traces = [ENV_SAMPLER, ENV_SAMPLER_ARG, ENV_PROPAGATORS].into_iter();
    let of_traces = of_traces.chain(SDK_NUMBERS.iter().map(|(name, ..)| *name)).map(str::to_owned);
    let of_traces: Vec<String> = exporter.chain(of_traces).collect();
    let mut unused: Vec<String> = env
        .names()
        .filter(|name| name.starts_with("OTEL_"))
        .filter(|name| !USED.contains(name))
        .filter(|name| !exporting || !of_traces.iter().any(|used| used == name))
        .map(str::to_owned)
        .collect();
    unused.sort();
    unused
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(vars: &[(&str, &str)]) -> Result<TelemetryConfig, String> {
        let mut env = Reader::new(vars.iter().map(|(name, value)| (name.to_string(), value.to_string())));
        let config = TelemetryConfig::read(&mut env);
        if env.errors.is_empty() { Ok(config) } else { Err(env.errors.join("\n")) }
    }

    fn endpoint(vars: &[(&str, &str)]) -> Option<String> {
        read(vars).expect("valid").traces.map(|traces| traces.endpoint.to_string())
    }

    #[test]
    fn a_misspelt_level_is_refused_and_a_pair_leaves_the_rest_as_it_is() {
        use tracing::Level;
        for text in ["verbose", "eye_state=verbose", "info,=debug", "eye state=info"] {
            assert!(read(&[(ENV_LOG, text)]).is_err_and(|error| error.contains(ENV_LOG)), "{text}");
        }
        let log = read(&[(ENV_LOG, "hyper=debug")]).expect("valid").log;
        assert!(log.would_enable("hyper::proto", &Level::DEBUG));
        assert!(log.would_enable("eye_state", &Level::INFO) && !log.would_enable("eye_state", &Level::DEBUG));
        let log = read(&[(ENV_LOG, "WARN, eye_state=trace")]).expect("valid").log;
        assert!(log.would_enable("eye_state", &Level::TRACE) && !log.would_enable("hyper", &Level::INFO));
    }

    #[test]
    fn the_endpoint_follows_the_exporter_specification() {
        let (general, own) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
        assert_eq!(endpoint(&[]), None);
        assert_eq!(endpoint(&[(general, "  ")]), None);
        assert_eq!(endpoint(&[(general, "http://c:4318")]).as_deref(), Some("http://c:4318/v1/traces"));
        assert_eq!(endpoint(&[(general, "http://c/x/")]).as_deref(), Some("http://c/x/v1/traces"));
        assert_eq!(endpoint(&[(general, "http://c"), (own, "http://t/y")]).as_deref(), Some("http://t/y"));
        assert_eq!(
            endpoint(&[(ENV_TRACES_EXPORTER, "otlp")]).as_deref(),
            Some("http://localhost:4318/v1/traces")
        );
        assert_eq!(endpoint(&[(general, "http://c"), (ENV_TRACES_EXPORTER, "none")]), None);
        assert_eq!(endpoint(&[(general, "http://c"), (ENV_SDK_DISABLED, "TRUE")]), None);
    }

    #[test]
    fn the_timeout_for_traces_wins_over_the_general_one() {
        let exporting = |vars: &[(&str, &str)]| {
            let vars = [&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c")], vars].concat();
            read(&vars).expect("valid").traces.expect("an endpoint").timeout.as_millis()
        };
        let (general, own) = ("OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT");
        assert_eq!(exporting(&[]), 10_000);
        assert_eq!(exporting(&[(general, "3000")]), 3_000);
        assert_eq!(exporting(&[(general, "3000"), (own, "20")]), 20);
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c:4318"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "c:4318"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:99999"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:0"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://[::1]:b"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=b%0d%0ax: y,good=1"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=%ff"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "10s"),
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_METRICS_EXPORTER", "otlp"),
            ("OTEL_LOGS_EXPORTER", "otlp"),
            ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
            ("OTEL_TRACES_SAMPLER_ARG", "2"),
            ("OTEL_PROPAGATORS", "b3"),
            ("OTEL_PROPAGATORS", "baggage"),
            ("OTEL_RESOURCE_ATTRIBUTES", "region"),
            ("OTEL_RESOURCE_ATTRIBUTES", "region=%ff"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "99999999999"),
            ("OTEL_SDK_DISABLED", "yes"),
        ] {
            let vars = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c"), (name, value)];
            let error = read(&vars).expect_err(name);
            // Headers and addresses carry credentials, and errors end up in logs.
            let shown = !["HEADERS", "ENDPOINT"].iter().any(|secret| name.ends_with(secret));
            let quoted = format!("{value:?}");
            assert!(error.contains(name) && error.contains(&quoted) == shown, "{name}={value}: {error}");
        }
    }

    #[test]
    fn credentials_in_an_endpoint_are_refused_and_not_repeated() {
        for name in ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] {
            for url in [
                "http://u:secret@c:4318",
                "http://secret@c",
                "https://u:secret@c",
                "u:secret@c:1",
                "http://u:secret%40c:4318",
                "http://u:secret＠c:4318",
                "http://c:secret",
                "http://c:4318/?api_key=secret",
                "https://c/?t=secret",
            ] {
                let error = read(&[(name, url)]).expect_err(url);
                assert!(error.contains(name) && !error.contains("secret"), "{url}: {error}");
                assert!(error.contains("OTEL_EXPORTER_OTLP_HEADERS"), "{error}");
            }
        }
    }

    #[test]
    fn what_has_no_effect_is_listed() {
        let vars = [("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://c"), ("OTEL_SERVICE_NAME", "eyes")];
        let config = read(&vars).expect("valid");
        assert_eq!(config.without_effect, ["OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"]);
        assert!(config.service_is_named);
        // Without an exporter, nothing of traces has.
        let vars = [("OTEL_TRACES_SAMPLER", "foo"), ("OTEL_BSP_MAX_QUEUE_SIZE", "abc")];
        let config = read(&vars).expect("valid");
        assert_eq!(config.without_effect, ["OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_TRACES_SAMPLER"]);
        let named = read(&[("OTEL_RESOURCE_ATTRIBUTES", "service.name=eyes, a=b")]).expect("valid");
        assert!(named.service_is_named);
    }
}
