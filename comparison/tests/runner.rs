//! The runner against an API server, a Prometheus and a gateway that are all played by one small server, with a script in
//! the place of kubectl: what it says when something is wrong. A whole run was done on a real cluster (comparison/results).

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use comparison::cluster::config::ClusterConfig;
use comparison::cluster::runner::{Plan, compare};
use comparison::scenario::Scenario;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What the played cluster is like.
#[derive(Clone)]
struct Fake {
    minor: &'static str,
    cadvisor: bool,
    gateway: &'static str,
}

const FIT: Fake = Fake { minor: "36", cadvisor: true, gateway: "200 OK" };

impl Fake {
    fn pod(name: &str, ready: &str) -> Value {
        json!({
            "metadata": {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z", "resourceVersion": "7"},
            "spec": {"nodeName": "node", "containers": [
                {"name": "eye-state", "resources": {"requests": {"cpu": "500m", "memory": "192Mi"}}},
            ]},
            "status": {
                "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": "2026-01-01T00:00:04Z"}],
                "containerStatuses": [{"name": "eye-state", "state": {"running": {"startedAt": "2026-01-01T00:00:02Z"}}}],
            },
        })
    }

    fn answer(&self, path: &str) -> Option<Value> {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .expect("after 1970")
            .as_secs_f64();
        if path.starts_with("/version") {
            return Some(
                json!({"major": "1", "minor": self.minor, "gitVersion": format!("v1.{}.0", self.minor)}),
            );
        }
        if path.starts_with("/prom/api/v1/query") {
            let found = self.cadvisor && path.contains("container_");
            // Half a core and 256 MiB, every half second, in the container's own series.
            let memory = path.contains("working_set");
            let value =
                |t: f64| if memory { "268435456".to_owned() } else { format!("{}", (t - now + 100.0) * 0.5) };
            let samples: Vec<Value> =
                (0..40).map(|i| now - 20.0 + f64::from(i) * 0.5).map(|t| json!([t, value(t)])).collect();
            let series = json!({"metric": {"pod": "standing", "container": "eye-state"}, "values": samples});
            let result = if found { vec![series] } else { vec![] };
            return Some(json!({"status": "success", "data": {"resultType": "matrix", "result": result}}));
        }
        if path.contains("/pods") {
            let items = if path.contains("eye") || path.contains("adapter") {
                vec![Self::pod("standing", "True")]
            } else {
                vec![]
            };
            return Some(json!({"metadata": {"resourceVersion": "7"}, "items": items}));
        }
        let exists = ["/api/v1/nodes", "horizontalpodautoscalers/", "verticalpodautoscalers/"]
            .iter()
            .any(|p| path.contains(p));
        exists.then(|| json!({"items": []}))
    }

    /// Events of a watch: a second pod comes and gets ready; the HPA wants two.
    fn events(path: &str) -> Vec<Value> {
        if path.contains("/pods") {
            let event = |kind: &str, ready: &str| json!({"type": kind, "object": Self::pod("coming", ready)});
            return vec![event("ADDED", "False"), event("MODIFIED", "True")];
        }
        if path.contains("horizontal") {
            let hpa = json!({
                "spec": {"metrics": [{"pods": {"target": {"averageValue": "2"}}}]},
                "status": {"desiredReplicas": 2, "currentMetrics": [{"pods": {"current": {"averageValue": "3"}}}]},
            });
            return vec![json!({"type": "ADDED", "object": hpa})];
        }
        vec![]
    }

    async fn serve(self: Arc<Self>, socket: TcpStream) -> std::io::Result<()> {
        let mut socket = BufReader::new(socket);
        loop {
            let mut request = String::new();
            if socket.read_line(&mut request).await? == 0 {
                return Ok(());
            }
            let (mut line, mut length) = (String::new(), 0);
            loop {
                line.clear();
                socket.read_line(&mut line).await?;
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap_or(0);
                }
                if line.trim().is_empty() {
                    break;
                }
            }
            socket.read_exact(&mut vec![0; length]).await?;
            let path = request.split(' ').nth(1).unwrap_or_default();
            if request.starts_with("POST") {
                let reply = format!("HTTP/1.1 {}\r\ncontent-length: 0\r\n\r\n", self.gateway);
                socket.get_mut().write_all(reply.as_bytes()).await?;
            } else if path.contains("watch=true") {
                socket.get_mut().write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
                for event in Self::events(path) {
                    tokio::time::sleep(Duration::from_millis(600)).await;
                    let line = format!("{event}\n");
                    socket.get_mut().write_all(format!("{:x}\r\n{line}\r\n", line.len()).as_bytes()).await?;
                }
                tokio::time::sleep(Duration::from_secs(60)).await;
            } else {
                let (status, body) = match self.answer(path) {
                    Some(body) => ("200 OK", body.to_string()),
                    None => ("404 Not Found", "{\"message\":\"not found\"}".to_owned()),
                };
                let reply = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                socket.get_mut().write_all(reply.as_bytes()).await?;
            }
        }
    }
}

/// A played cluster, its files, and a plan of one short run on it.
struct Stage {
    folder: PathBuf,
    config: ClusterConfig,
    plan: Plan,
    kubectl: String,
    _runtime: tokio::runtime::Runtime,
}

fn stage(name: &str, fake: Fake) -> Stage {
    let folder = std::env::temp_dir().join(format!("comparison-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
    let address = listener.local_addr().expect("bound");
    let fake = Arc::new(fake);
    runtime.spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(Arc::clone(&fake).serve(socket));
        }
    });
    let kubectl = folder.join("kubectl");
    std::fs::write(&kubectl, format!("#!/bin/sh\necho Starting to serve on {address}\nexec sleep 60\n"))
        .expect("written");
    std::fs::set_permissions(&kubectl, std::fs::Permissions::from_mode(0o755)).expect("executable");
    let config = format!(
        r#"
gateway = "http://{address}/"
prometheus = "/prom"
scrape_s = 1
[variants.k8s-autoscalers]
namespace = "eye"
name = "eye-state"
selector = "app=eye-state"
host = "eye.example"
container = "eye-state"
autoscaler = "hpa"
rest_pods = {{ defaults = 1 }}
apply.defaults = ["true"]
components = [{{ name = "adapter", namespace = "adapter", selector = "app=adapter" }}]
"#
    );
    let path = folder.join("cluster.toml");
    std::fs::write(&path, config).expect("written");
    let scenario = "title='Short'\nabout=''\nslo_ms=500\ntimeout_ms=1000\n[images]\nopen=1.0\n[rate]\npoints=[[0,1],[1,1],[1,2],[2,2]]";
    let scenarios = folder.join("scenarios");
    std::fs::create_dir_all(&scenarios).expect("a folder");
    std::fs::write(scenarios.join("short.toml"), scenario).expect("written");
    let plan = Plan {
        scenarios: Scenario::read_folder(&scenarios, &[]).expect("valid"),
        variants: vec!["k8s-autoscalers".into()],
        configurations: vec!["defaults".into()],
        repeats: 1,
        scale: 20.0,
        stretch: 1.0,
        seed: 1,
        tail_s: 0.5,
        patience: Duration::from_secs(2),
        calm: Duration::ZERO,
        as_is: false,
        images: Path::new(env!("CARGO_MANIFEST_DIR")).join("../function/samples"),
        results: folder.join("results"),
        threads: 1,
        commit: "test".into(),
    };
    let config = ClusterConfig::read(&path).expect("valid");
    Stage { folder, config, plan, kubectl: kubectl.display().to_string(), _runtime: runtime }
}

impl Stage {
    fn compare(&self) -> anyhow::Result<()> {
        compare(&self.plan, &self.config, &self.kubectl)
    }

    fn error(&self) -> String {
        let error = format!("{:#}", self.compare().expect_err("this cannot work"));
        assert!(!self.plan.results.exists(), "no result that looks like one");
        error
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn without_kubectl_or_cluster_it_says_so() {
    let mut stage = stage("nowhere", FIT);
    stage.kubectl = "/nowhere/kubectl".into();
    assert!(stage.error().contains("install kubectl"));
    let refuses = stage.folder.join("refuses");
    std::fs::write(&refuses, "#!/bin/sh\necho 'current-context is not set' >&2\nexit 1\n").expect("written");
    std::fs::set_permissions(&refuses, std::fs::Permissions::from_mode(0o755)).expect("executable");
    stage.kubectl = refuses.display().to_string();
    let error = stage.error();
    assert!(error.contains("no cluster") && error.contains("current-context is not set"), "{error}");
}

#[test]
fn an_unfit_cluster_names_everything_that_is_wrong_at_once() {
    let error = stage("unfit", Fake { minor: "30", cadvisor: false, ..FIT }).error();
    assert!(error.contains("1.35 or newer is needed") && error.contains("v1.30.0"), "{error}");
    assert!(error.contains("Prometheus has no container_cpu_usage_seconds_total"), "{error}");
}

#[test]
fn a_variant_that_never_answers_gives_no_result() {
    let error = stage("silent", Fake { gateway: "503 Service Unavailable", ..FIT }).error();
    assert!(error.contains("k8s-autoscalers never got ready") && error.contains("Unavailable"), "{error}");
}

#[test]
fn an_unknown_variant_or_configuration_names_the_known_ones() {
    let mut stage = stage("unknown", FIT);
    stage.plan.variants = vec!["kubernetes".into()];
    assert!(stage.error().contains("there are k8s-autoscalers"));
    stage.plan.variants = vec!["k8s-autoscalers".into()];
    stage.plan.configurations = vec!["tuned".into()];
    assert!(stage.error().contains("no configuration \"tuned\""));
}
