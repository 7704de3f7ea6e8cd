//! The table of routes: which paths there are, the methods they take, and their names in metrics.
//!
//! A request is looked up here before warp sees it, so that a 405 says what is allowed and a metric
//! counts what was asked for. A route that warp answers must stand here, too: what is missing here
//! is a 404.

use warp::http::Method;

/// A route.
#[derive(Debug)]
struct Entry {
    /// The path; `*` stands for any segment that is not empty.
    path: &'static str,
    /// `http.route` in metrics.
    label: &'static str,
    /// Methods, as in `Allow`.
    methods: &'static str,
}

const READ: &str = "GET, HEAD";

const ENTRIES: &[Entry] = &[
    Entry { path: "/", label: "/", methods: "GET, HEAD, POST" },
    Entry { path: "/classify", label: CLASSIFY, methods: "POST" },
    Entry { path: "/livez", label: "/livez", methods: READ },
    Entry { path: "/readyz", label: "/readyz", methods: READ },
    Entry { path: "/metrics", label: "/metrics", methods: READ },
    Entry { path: "/samples", label: "/samples", methods: READ },
    Entry { path: "/samples/*", label: "/samples", methods: READ },
    Entry { path: "/page/*", label: "/page", methods: READ },
    Entry { path: "/openapi.json", label: "/openapi.json", methods: READ },
    Entry { path: "/v2", label: "/v2", methods: READ },
    Entry { path: "/v2/health/live", label: "/v2/health/live", methods: READ },
    Entry { path: "/v2/health/ready", label: "/v2/health/ready", methods: READ },
    Entry { path: "/v2/models/*", label: MODEL, methods: READ },
    Entry { path: "/v2/models/*/ready", label: MODEL, methods: READ },
    Entry { path: "/v2/models/*/config", label: MODEL, methods: READ },
    Entry { path: "/v2/models/*/infer", label: CLASSIFY, methods: "POST" },
    Entry { path: "/v2/models/*/versions/*", label: MODEL, methods: READ },
    Entry { path: "/v2/models/*/versions/*/ready", label: MODEL, methods: READ },
    Entry { path: "/v2/models/*/versions/*/config", label: MODEL, methods: READ },
    Entry { path: "/v2/models/*/versions/*/infer", label: CLASSIFY, methods: "POST" },
];

/// Operations on a model.
const MODEL: &str = "/v2/models/{model}";

/// All ways to classify count as one, which rules, dashboards and the comparison look at.
const CLASSIFY: &str = "/classify";

/// Probes and metrics. Answered even when every connection and every place is taken.
const PROBES: [&str; 5] = ["/livez", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready"];

/// The label of unknown paths.
const OTHER: &str = "_OTHER";

/// The route of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Route(Option<&'static Entry>);

impl Route {
    /// Looks up a path. One trailing slash is ignored, as in warp.
    pub(crate) fn of(path: &str) -> Self {
        let short = path.strip_suffix('/').filter(|short| !short.is_empty() && !short.ends_with('/'));
        let path = short.unwrap_or(path);
        Self(ENTRIES.iter().find(|entry| {
            let (mut segments, mut wanted) = (path.split('/'), entry.path.split('/'));
            let fits = |wanted: &str| match segments.next() {
                Some(segment) if wanted == "*" => !segment.is_empty(),
                segment => segment == Some(wanted),
            };
            wanted.all(fits) && segments.next().is_none()
        }))
    }

    /// Its name in metrics.
    pub(crate) fn label(self, method: &Method) -> &'static str {
        match self.0 {
            Some(entry) if entry.path == "/" && *method == Method::POST => CLASSIFY,
            Some(entry) => entry.label,
            None => OTHER,
        }
    }

    /// The supported methods, as in `Allow`; `None` for unknown paths.
    pub(crate) fn methods(self) -> Option<&'static str> {
        self.0.map(|entry| entry.methods)
    }

    /// Whether it takes `method`.
    pub(crate) fn takes(self, method: &Method) -> bool {
        self.methods().is_some_and(|methods| methods.split(", ").any(|taken| taken == method.as_str()))
    }

    /// Whether it is a probe or a scrape.
    pub(crate) fn is_probe(self) -> bool {
        self.0.is_some_and(|entry| PROBES.contains(&entry.path))
    }
}

/// Paths and methods, for the document of the contract.
#[cfg(test)]
pub(super) fn entries() -> impl Iterator<Item = (&'static str, &'static str)> {
    ENTRIES.iter().map(|entry| (entry.path, entry.methods))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_counted_as_what_it_is() {
        for (method, path, label) in [
            (Method::POST, "/", "/classify"),
            (Method::POST, "/classify", "/classify"),
            (Method::POST, "/classify/", "/classify"),
            (Method::GET, "/", "/"),
            (Method::GET, "/samples/open.jpg", "/samples"),
            (Method::GET, "/samples/", "/samples"),
            (Method::GET, "/v2/", "/v2"),
            (Method::GET, "/v2/models/eye-state/versions/1", "/v2/models/{model}"),
            (Method::POST, "/v2/models/eye-state/infer", "/classify"),
            (Method::POST, "/v2/models//infer", "_OTHER"),
            (Method::POST, "/v2/models/a/infer/b", "_OTHER"),
            (Method::GET, "/samplesXYZ", "_OTHER"),
            (Method::GET, "/samples/a/b", "_OTHER"),
            (Method::GET, "/livez//", "_OTHER"),
            (Method::GET, "//", "_OTHER"),
            (Method::GET, "/nowhere", "_OTHER"),
        ] {
            assert_eq!(Route::of(path).label(&method), label, "{method} {path}");
        }
    }

    #[test]
    fn a_route_knows_its_methods() {
        assert!(Route::of("/classify").takes(&Method::POST) && !Route::of("/classify").takes(&Method::GET));
        assert_eq!(Route::of("/").methods(), Some("GET, HEAD, POST"));
        assert_eq!(Route::of("/nowhere").methods(), None);
        assert!(Route::of("/livez").is_probe() && !Route::of("/").is_probe());
    }
}
