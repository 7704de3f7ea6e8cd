//! The form of the answer that the client accepts: `Accept`.

use warp::http::HeaderMap;
use warp::http::header::ACCEPT;

use crate::annotate::PictureFormat;
use crate::telemetry::metrics::Exposition;

/// The media types that can be answered, the default first.
const OFFERS: [(&str, &str, Option<PictureFormat>); 3] = [
    ("application", "json", None),
    ("image", "png", Some(PictureFormat::Png)),
    ("image", "jpeg", Some(PictureFormat::Jpeg)),
];

/// The picture format that the client prefers to JSON, if any (RFC 9110, section 12.5.1).
///
/// The most specific range that fits an offer gives its quality. Of equal qualities the offer that
/// a range of that quality fits first wins, then JSON before PNG before JPEG. A client that accepts
/// nothing of the three gets JSON.
pub fn picture(headers: &HeaderMap) -> Option<PictureFormat> {
    let ranges = accepted(headers);
    let mut best: Option<(f32, usize, Option<PictureFormat>)> = None;
    for (kind, subtype, format) in OFFERS {
        let names = [format!("{kind}/{subtype}"), format!("{kind}/*"), "*/*".to_owned()];
        let Some(at) = names.iter().find_map(|name| ranges.iter().position(|range| range.name == *name))
        else {
            continue;
        };
        let quality = ranges[at].quality;
        // In `*/*, application/json` the first range asks for JSON, too, and not for PNG before it.
        let fits = |range: &Range| range.quality == quality && names.contains(&range.name);
        let at = ranges.iter().position(fits).unwrap_or(at);
        let better = best.is_none_or(|(most, first, _)| quality > most || (quality == most && at < first));
        if quality > 0.0 && better {
            best = Some((quality, at, format));
        }
    }
    best.and_then(|(.., format)| format)
}

/// The format of a scrape: OpenMetrics 1.0 where the client names it, in this version or in none,
/// and does not prefer the text format 0.0.4.
///
/// Of equal qualities the range that comes first wins, but a range with a `*` is last. A client
/// that accepts neither gets the text format.
pub fn exposition(headers: &HeaderMap) -> Exposition {
    let ranges = accepted(headers);
    let find = |name: &str, version: Option<&str>| {
        ranges.iter().position(|range| range.name == name && range.version.as_deref() == version)
    };
    let open_metrics = [Some("1.0.0"), None].into_iter().find_map(|version| find(OPEN_METRICS, version));
    let Some(open_metrics) = open_metrics.filter(|at| ranges[*at].quality > 0.0) else {
        return Exposition::Text;
    };
    let named = [Some("0.0.4"), None].into_iter().find_map(|version| find("text/plain", version));
    let text = named.or_else(|| ["text/*", "*/*"].into_iter().find_map(|name| find(name, None)));
    let prefers_text = text.is_some_and(|text| {
        let (quality, other) = (ranges[text].quality, ranges[open_metrics].quality);
        quality > other || (quality == other && named.is_some_and(|at| at < open_metrics))
    });
    if prefers_text { Exposition::Text } else { Exposition::OpenMetrics }
}

const OPEN_METRICS: &str = "application/openmetrics-text";

/// A media range of `Accept`, in lower case.
struct Range {
    name: String,
    /// That of a text format of metrics.
    version: Option<String>,
    quality: f32,
}

/// The media ranges that a client accepts. Malformed ones are ignored.
fn accepted(headers: &HeaderMap) -> Vec<Range> {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).filter_map(range).collect()
}

fn range(text: &str) -> Option<Range> {
    let mut parts = text.split(';').map(|part| part.trim().to_ascii_lowercase());
    let name = parts.next().filter(|name| !name.is_empty())?;
    let (mut version, mut quality) = (None, None);
    for part in parts {
        match part.split_once('=') {
            Some(("q", value)) if quality.is_none() => quality = Some(value.trim().parse::<f32>()),
            Some(("version", value)) => version = Some(value.trim().trim_matches('"').to_owned()),
            _ => {}
        }
    }
    match quality.unwrap_or(Ok(1.0)) {
        Ok(quality) if (0.0..=1.0).contains(&quality) => Some(Range { name, version, quality }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(value: &str) -> Option<PictureFormat> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, value.parse().expect("a header value"));
        picture(&headers)
    }

    #[test]
    fn curl_and_browsers_get_json() {
        assert_eq!(accept("*/*"), None);
        assert_eq!(accept("application/json, image/png;q=0.9"), None);
    }

    #[test]
    fn the_preferred_picture_wins_by_quality_then_by_order() {
        assert_eq!(accept("image/png"), Some(PictureFormat::Png));
        assert_eq!(accept("image/jpeg, image/png"), Some(PictureFormat::Jpeg));
        assert_eq!(accept("image/png;q=0.2, image/jpeg;q=0.8, */*;q=0.1"), Some(PictureFormat::Jpeg));
        assert_eq!(accept("image/png;q=0"), None);
        assert_eq!(accept("image/jpeg;Q=0.1, application/json"), None);
        assert_eq!(accept("application/json;q=0.2 , IMAGE/JPEG; Q=0.8"), Some(PictureFormat::Jpeg));
        assert_eq!(accept("image/jpeg;q=2, image/png;q=0.1"), Some(PictureFormat::Png));
    }

    #[test]
    fn any_picture_is_png_unless_that_is_ruled_out() {
        assert_eq!(accept("image/*"), Some(PictureFormat::Png));
        assert_eq!(accept("image/*, image/png;q=0"), Some(PictureFormat::Jpeg));
        assert_eq!(accept("image/avif,image/webp,image/*,*/*;q=0.8"), Some(PictureFormat::Png));
        assert_eq!(accept("image/*;q=0.5, application/json"), None);
        assert_eq!(accept("text/html"), None);
        assert_eq!(accept("image/jpeg;q=0.8, */*, application/json"), None, "JSON is named");
        assert_eq!(accept("*/*;q=0.1, image/png, application/json"), Some(PictureFormat::Png));
        assert_eq!(accept("application/json;q=0.5, */*"), Some(PictureFormat::Png), "rather anything else");
    }

    fn scraped(accept: &[&str]) -> Exposition {
        let mut headers = HeaderMap::new();
        for accept in accept {
            headers.append(ACCEPT, accept.parse().expect("a header value"));
        }
        exposition(&headers)
    }

    #[test]
    fn prometheus_gets_openmetrics() {
        let three = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
            application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
            text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let with_native_histograms = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;\
            encoding=delimited;q=0.7,application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.3";
        let two = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
            text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for accept in [three, with_native_histograms, two] {
            assert_eq!(scraped(&[accept]), Exposition::OpenMetrics, "{accept}");
        }
    }

    #[test]
    fn openmetrics_is_for_clients_that_name_it() {
        let named = [
            &["application/openmetrics-text; version=1.0.0"][..],
            &["Application/OpenMetrics-Text; Version=\"1.0.0\"; charset=utf-8"],
            &["application/openmetrics-text"],
            &["text/plain;q=0.5", "application/openmetrics-text"],
            &["*/*, application/openmetrics-text;version=1.0.0"],
            &["application/openmetrics-text;version=0.0.1, application/openmetrics-text;version=1.0.0;q=0.1"],
            &["text/plain;version=0.0.4;q=0, application/openmetrics-text;q=0.001"],
        ];
        for accept in named {
            assert_eq!(scraped(accept), Exposition::OpenMetrics, "{accept:?}");
        }
    }

    #[test]
    fn everyone_else_gets_the_text_format() {
        let others = [
            &[][..],
            &["*/*"],
            &[""],
            &["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"],
            &["text/plain; version=0.0.4"],
            &["application/*"],
            &["application/openmetrics-text;version=0.0.1"],
            &["application/openmetrics-text;version=2.0.0"],
            &["application/openmetrics-text;version=1.0.0;q=0"],
            &["application/openmetrics-text;version=1.0.0;q=2"],
            &["application/openmetrics-text;q=NaN"],
            &["application/openmetrics-text;version=1.0.0;q=0.2, */*"],
            &["text/plain, application/openmetrics-text"],
            &["application/openmetrics-text;q=0.4, text/*;q=0.5"],
            &["application/json", ";;,=,q=1;version", "application/openmetrics-text2"],
        ];
        for accept in others {
            assert_eq!(scraped(accept), Exposition::Text, "{accept:?}");
        }
    }
}
