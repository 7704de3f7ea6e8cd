//! A fake cluster: API server, Prometheus and gateway in one small server, a script as kubectl, and
//! a file that exists while the variant is deployed. Its answers have the form of the real ones.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// The settings of the fake cluster.
#[derive(Clone, Copy)]
pub(crate) struct Fake {
    pub(crate) minor: &'static str,
    pub(crate) cadvisor: bool,
    pub(crate) gateway: &'static str,
    pub(crate) vpa: bool,
    pub(crate) scaling_active: &'static str,
    /// Namespaces of pods that belong neither to a variant nor to the adapter.
    pub(crate) others: &'static [&'static str],
    /// Prometheus' answer to a push.
    pub(crate) push: &'static str,
    /// Kind of objects that may be read and not watched.
    pub(crate) unwatched: Option<&'static str>,
}

pub(crate) const FIT: Fake = Fake {
    minor: "36",
    cadvisor: true,
    gateway: "200 OK",
    vpa: true,
    scaling_active: "True",
    others: &["kube-system"],
    push: "200 OK",
    unwatched: None,
};

/// Two seconds, one step up after the first. The objective is loose enough for a busy test machine.
const SHORT: &str = "title='Short'\nabout=''\nslo_ms=20000\ntimeout_ms=1000\n[images]\nopen=1.0\n[rate]\n\
    points=[[0,1],[1,1],[1,2],[2,2]]";

/// The fake cluster and its files.
pub(crate) struct Stage {
    pub(crate) folder: PathBuf,
    pub(crate) kubectl: String,
    pushed: Arc<Mutex<Vec<Value>>>,
    _runtime: tokio::runtime::Runtime,
}

impl Stage {
    pub(crate) fn new(name: &str, fake: Fake) -> Self {
        let folder = std::env::temp_dir().join(format!("comparison-{name}-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("scenarios")).expect("a folder");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let pushed = Arc::<Mutex<Vec<Value>>>::default();
        let server = Arc::new(Server { fake, applied: folder.join("applied"), pushed: Arc::clone(&pushed) });
        runtime.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&server).serve(socket));
            }
        });
        let kubectl = folder.join("kubectl");
        std::fs::write(&kubectl, format!("#!/bin/sh\necho Starting to serve on {address}\nexec sleep 60\n"))
            .expect("written");
        std::fs::set_permissions(&kubectl, std::fs::Permissions::from_mode(0o755)).expect("executable");
        for scenario in ["short", "shorter"] {
            std::fs::write(folder.join(format!("scenarios/{scenario}.toml")), SHORT).expect("written");
        }
        let stage = Self { kubectl: kubectl.display().to_string(), folder, pushed, _runtime: runtime };
        stage.describe(&address);
        stage
    }

    fn describe(&self, address: &str) {
        let applied = self.folder.join("applied");
        let applied = applied.display();
        let text = format!(
            r#"
gateway = "http://{address}/"
prometheus = "http://{address}/prom"
scrape_s = 1
[variants.k8s-autoscalers]
namespace = "eye"
name = "eye-state"
selector = "app=eye-state"
host = "eye.example"
container = "eye-state"
apply = ["touch {applied}"]
remove = ["rm -f {applied}"]
components = [{{ name = "adapter", namespace = "adapter", selector = "app=adapter" }}]
"#
        );
        std::fs::write(self.cluster_file(), text).expect("written");
    }

    pub(crate) fn cluster_file(&self) -> PathBuf {
        self.folder.join("cluster.toml")
    }

    pub(crate) fn results(&self) -> PathBuf {
        self.folder.join("results")
    }

    pub(crate) fn images() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../function/samples")
    }

    /// The metrics pushed to Prometheus.
    pub(crate) fn pushed(&self) -> Vec<Value> {
        self.pushed.lock().expect("no panic").clone()
    }

    /// Whether the variant is deployed.
    pub(crate) fn applied(&self) -> bool {
        self.folder.join("applied").exists()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

struct Server {
    fake: Fake,
    applied: PathBuf,
    pushed: Arc<Mutex<Vec<Value>>>,
}

impl Server {
    fn pod(name: &str, ready: &str) -> Value {
        json!({
            "metadata": {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z", "resourceVersion": "7"},
            "spec": {"nodeName": "node", "containers": [
                {"name": "eye-state", "resources": {"requests": {"cpu": "500m", "memory": "192Mi"}}},
            ]},
            "status": {
                "conditions": [
                    {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
                    {"type": "Ready", "status": ready, "lastTransitionTime": "2026-01-01T00:00:04Z"},
                ],
                "containerStatuses": [{
                    "name": "eye-state", "imageID": "sha256:77",
                    "state": {"running": {"startedAt": "2026-01-01T00:00:02Z"}},
                }],
            },
        })
    }

    fn answer(&self, path: &str) -> Option<Value> {
        let Fake { minor, cadvisor, vpa, scaling_active, .. } = self.fake;
        if path.starts_with("/prom/api/v1/query") {
            return Some(prometheus(path, cadvisor));
        }
        if path.contains("namespaces/eye/pods") {
            let items = if self.applied.exists() { vec![Self::pod("standing", "True")] } else { vec![] };
            return Some(json!({"metadata": {"resourceVersion": "7"}, "items": items}));
        }
        let named = |kind: &str| {
            path.ends_with(&format!("/namespaces/eye/{kind}/eye-state")) && self.applied.exists()
        };
        let conditions = json!([{"type": "ScalingActive", "status": scaling_active, "message": "no metric"}]);
        let containers = json!([{"name": "eye-state", "image": "dev.local/eye-state:1",
            "resources": {"limits": {"cpu": "500m", "memory": "192Mi"}}}]);
        match path {
            "/version" => Some(json!({"major": "1", "minor": minor, "gitVersion": format!("v1.{minor}.0")})),
            "/api/v1/nodes" => Some(json!({"items": []})),
            "/apis/autoscaling.k8s.io/v1" => vpa.then(|| json!({"kind": "APIResourceList"})),
            "/apis/custom.metrics.k8s.io/v1beta2" => Some(json!({"kind": "APIResourceList"})),
            _ if path.contains("namespaces/adapter/pods") => {
                Some(json!({"items": [Self::pod("standing", "True")]}))
            }
            "/api/v1/pods?fieldSelector=status.phase%3DRunning" => {
                let pod = |namespace: &&str| json!({"metadata": {"namespace": namespace, "name": "pod"}});
                Some(json!({"items": self.fake.others.iter().map(pod).collect::<Vec<_>>()}))
            }
            _ if path.contains("/pods") => Some(json!({"items": []})),
            _ if named("horizontalpodautoscalers") => {
                Some(json!({"spec": {"maxReplicas": 10}, "status": {"conditions": conditions}}))
            }
            _ if named("deployments") => {
                Some(json!({"spec": {"replicas": 1, "template": {"spec": {"containers": containers}}}}))
            }
            _ if named("verticalpodautoscalers") => Some(json!({"spec": {}})),
            _ => None,
        }
    }

    /// Events of a watch: a second pod starts and becomes ready; the HPA wants two.
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
            let mut body = vec![0; length];
            socket.read_exact(&mut body).await?;
            let path = request.split(' ').nth(1).unwrap_or_default();
            if request.starts_with("POST") {
                let push = path == "/prom/api/v1/otlp/v1/metrics";
                if push {
                    let document = serde_json::from_slice(&body).expect("JSON");
                    self.pushed.lock().expect("no panic").push(document);
                }
                let status = if push { self.fake.push } else { self.fake.gateway };
                let reply = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
                socket.get_mut().write_all(reply.as_bytes()).await?;
            } else if path.contains("watch=true")
                && self.fake.unwatched.is_some_and(|kind| path.contains(kind))
            {
                socket.get_mut().write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").await?;
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

/// Half a core and 256 MiB, every half second, in the container's own series, from cAdvisor only.
fn prometheus(path: &str, cadvisor: bool) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
    let memory = path.contains("working_set");
    let value = |t: f64| if memory { "268435456".to_owned() } else { format!("{}", (t - now + 100.0) * 0.5) };
    let samples: Vec<Value> =
        (0..40).map(|i| now - 20.0 + f64::from(i) * 0.5).map(|t| json!([t, value(t)])).collect();
    let series = json!({"metric": {"pod": "standing", "container": "eye-state"}, "values": samples});
    let result = if cadvisor && path.contains("container_") { vec![series] } else { vec![] };
    json!({"status": "success", "data": {"resultType": "matrix", "result": result}})
}
