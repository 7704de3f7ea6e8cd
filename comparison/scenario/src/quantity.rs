//! Kubernetes quantities: `250m`, `1`, `256Mi`, `1e3`.

/// The number that a quantity stands for; `None` if it is malformed.
pub fn parse(text: &str) -> Option<f64> {
    const SUFFIXES: [(&str, f64); 14] = [
        ("Ki", 1024.0),
        ("Mi", 1024.0 * 1024.0),
        ("Gi", 1024.0 * 1024.0 * 1024.0),
        ("Ti", 1024.0 * 1024.0 * 1024.0 * 1024.0),
        ("Pi", 1024.0 * 1024.0 * 1024.0 * 1024.0 * 1024.0),
        ("n", 1e-9),
        ("u", 1e-6),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("", 1.0),
    ];
    let found = SUFFIXES.iter().find_map(|(suffix, factor)| {
        let number: f64 = text.strip_suffix(suffix)?.parse().ok()?;
        // A division keeps 1500m exact.
        Some(if *factor < 1.0 { number / (1.0 / factor).round() } else { number * factor })
    });
    found.filter(|n| n.is_finite())
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn quantities_are_read_as_kubernetes_means_them() {
        for (text, number) in [
            ("250m", 0.25),
            ("2", 2.0),
            ("256Mi", 268_435_456.0),
            ("1Gi", 1_073_741_824.0),
            ("128974848", 128_974_848.0),
            ("129M", 129e6),
            ("1e3", 1000.0),
            ("0.5", 0.5),
            ("15u", 15e-6),
        ] {
            assert!(parse(text).is_some_and(|n| (n - number).abs() < 1e-9 * number), "{text}");
        }
        assert_eq!(parse("1500m"), Some(1.5), "exactly");
        assert_eq!(parse("much"), None);
        assert_eq!(parse(""), None);
    }
}
