//! Parameters in the query.

use picture::BitDepth;

use crate::config::Thresholds;
use crate::error::RequestError;

/// The thresholds of this request: its own where it names them, `defaults` otherwise.
pub fn thresholds(query: &str, defaults: Thresholds) -> Result<Thresholds, RequestError> {
    let mut thresholds = defaults;
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let target = match name.as_ref() {
            "confidence_threshold" => &mut thresholds.confidence,
            "iou_threshold" => &mut thresholds.iou,
            // Unknown parameters may be meant for intermediaries (tracing, cache busting).
            _ => continue,
        };
        *target = value
            .trim()
            .parse()
            .ok()
            .filter(|value| (0.0..=1.0).contains(value))
            .ok_or_else(|| invalid(&name, &value, "a number from 0 to 1"))?;
    }
    Ok(thresholds)
}

/// Significant bits of 16-bit samples, if the client states them.
pub fn bit_depth(query: &str) -> Result<Option<BitDepth>, RequestError> {
    const NAME: &str = "bit_depth";
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let Some((_, value)) = pairs.find(|(name, _)| name == NAME) else { return Ok(None) };
    let depth = value.trim().parse().ok().and_then(BitDepth::new);
    depth.map(Some).ok_or_else(|| invalid(NAME, &value, "a whole number from 9 to 16"))
}

fn invalid(name: &str, value: &str, expected: &'static str) -> RequestError {
    RequestError::InvalidParameter { name: name.into(), value: value.chars().take(40).collect(), expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULTS: Thresholds = Thresholds { confidence: 0.35, iou: 0.45 };

    #[test]
    fn thresholds_override_one_by_one() {
        let thresholds = thresholds("confidence_threshold=0.5&cache=1", DEFAULTS).expect("valid");
        assert_eq!(thresholds, Thresholds { confidence: 0.5, iou: 0.45 });
    }

    #[test]
    fn keys_and_values_may_be_percent_encoded() {
        let thresholds = thresholds("confidence%5Fthreshold=0%2E5", DEFAULTS).expect("valid");
        assert_eq!(thresholds.confidence, 0.5);
    }

    #[test]
    fn thresholds_outside_0_to_1_are_named() {
        for query in
            ["iou_threshold=1.1", "iou_threshold=NaN", "iou_threshold=-1", "iou_threshold", "iou_threshold=x"]
        {
            let error = thresholds(query, DEFAULTS).expect_err(query);
            assert!(matches!(error, RequestError::InvalidParameter { name, .. } if name == "iou_threshold"));
        }
    }

    #[test]
    fn a_bit_depth_is_from_9_to_16() {
        assert_eq!(bit_depth("iou_threshold=0.5"), Ok(None));
        assert_eq!(bit_depth("iou_threshold=0.5&bit_depth=12"), Ok(BitDepth::new(12)));
        for query in ["bit_depth=8", "bit_depth=17", "bit_depth=", "bit_depth=12.0", "bit_depth"] {
            let error = bit_depth(query).expect_err(query);
            assert!(error.to_string().contains("from 9 to 16"), "{error}");
        }
    }
}
