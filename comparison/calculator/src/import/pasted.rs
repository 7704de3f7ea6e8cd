//! What was pasted: the objects of the documents, of lists and of a kustomization's patches.

use serde_json::{Value, json};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Knative,
    Hpa,
    Vpa,
    Keda,
}

pub(super) struct Object {
    pub(super) role: Role,
    pub(super) value: Value,
    /// A patch has only what it changes: a missing field is not the API's default.
    pub(super) patch: bool,
}

#[derive(Default)]
pub(super) struct Pasted {
    pub(super) objects: Vec<Object>,
    /// The target, of `function/manifests/scaling.yaml` or of a JSON patch.
    pub(super) target: Option<Value>,
    /// Whether a component takes the VPA away.
    pub(super) vpa_off: bool,
    /// Whether a component has the HPA scale to zero, without a VPA.
    pub(super) to_zero: bool,
    pub(super) notes: Vec<String>,
}

impl Pasted {
    /// Objects of a document: itself, the items of a list, the patches of a kustomization.
    pub(super) fn collect(&mut self, value: Value) -> Result<(), String> {
        match value["kind"].as_str().unwrap_or_default() {
            kind if kind.ends_with("List") => {
                let items = value["items"].as_array().into_iter().flatten();
                items.map(|item| listed(item, &value)).try_for_each(|item| self.collect(item))
            }
            "Component" | "Kustomization" => self.kustomization(&value),
            "ConfigMap" if value["metadata"]["name"] == "eye-state-scaling" => {
                self.target = Some(value["data"]["target"].clone());
                Ok(())
            }
            _ => {
                self.add(value, false);
                Ok(())
            }
        }
    }

    fn add(&mut self, value: Value, patch: bool) {
        if let Some(role) = role(&value).filter(|_| value["$patch"] != "delete") {
            self.objects.push(Object { role, value, patch });
        }
    }

    fn kustomization(&mut self, value: &Value) -> Result<(), String> {
        for name in ["patchesStrategicMerge", "patchesJson6902"] {
            if !value[name].is_null() {
                return Err(format!("{name}: paste the objects that `kustomize build` prints"));
            }
        }
        for component in value["components"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            match component {
                "../vpa-off" => self.vpa_off = true,
                "../hpa-zero" => self.to_zero = true,
                _ => self.notes.push(format!("the component {component} was not read")),
            }
        }
        for patch in value["patches"].as_array().into_iter().flatten() {
            let Some(text) = patch["patch"].as_str() else {
                return Err("a patch in a file: paste the objects that `kustomize build` prints".into());
            };
            for document in text.split("\n---") {
                let object: Value = serde_saphyr::from_str(document)
                    .map_err(|error| format!("invalid patch YAML: {error}"))?;
                match object.as_array() {
                    Some(operations) => self.operations(&patch["target"], operations)?,
                    None => self.add(object, true),
                }
            }
        }
        Ok(())
    }

    /// A JSON patch: the target of an HPA, or the CPU bounds of a VPA, as the export has them.
    fn operations(&mut self, target: &Value, operations: &[Value]) -> Result<(), String> {
        let kind = target["kind"].as_str().unwrap_or_default();
        if role(&json!({ "kind": kind, "spec": { "template": {} } })).is_none() {
            return Ok(());
        }
        let mut policy = json!({});
        for operation in operations {
            let path = operation["path"].as_str().unwrap_or_default();
            let sets = operation["op"] == "replace" || operation["op"] == "add";
            let targets = ["pods", "object", "external"];
            let target = |of: &&&str| path == format!("/spec/metrics/0/{of}/target/averageValue");
            let target = targets.iter().find(target).filter(|_| kind == "HorizontalPodAutoscaler");
            if let Some(of) = target.filter(|_| sets) {
                self.to_zero |= *of != "pods";
                self.target = Some(operation["value"].clone());
                continue;
            }
            let bound = ["minAllowed", "maxAllowed"].into_iter().find(|bound| {
                kind == "VerticalPodAutoscaler"
                    && path == format!("/spec/resourcePolicy/containerPolicies/0/{bound}/cpu")
            });
            let Some(bound) = bound.filter(|_| sets) else {
                return Err(format!(
                    "the JSON patch of {path} is not read: paste the objects that `kustomize build` prints"
                ));
            };
            policy[bound] = json!({ "cpu": operation["value"] });
        }
        if policy == json!({}) {
            return Ok(());
        }
        self.add(
            json!({ "kind": kind, "spec": { "resourcePolicy": { "containerPolicies": [policy] } } }),
            true,
        );
        Ok(())
    }

    /// The only object of a kind.
    pub(super) fn one(&self, role: Role) -> Result<Option<&Object>, String> {
        let mut all = self.objects.iter().filter(|o| o.role == role);
        let first = all.next();
        if all.next().is_some() {
            let kind = first.map_or("", |o| o.value["kind"].as_str().unwrap_or_default());
            return Err(format!("more than one {kind}: paste one"));
        }
        Ok(first)
    }
}

/// An item of a list. In one that has a kind of its own (`kubectl get --raw`), as
/// HorizontalPodAutoscalerList, the API server leaves out the kind of the items.
fn listed(item: &Value, list: &Value) -> Value {
    let mut item = item.clone();
    let kind = list["kind"].as_str().and_then(|kind| kind.strip_suffix("List")).unwrap_or_default();
    if item.is_object() && item["kind"].is_null() && !kind.is_empty() {
        item["kind"] = kind.into();
        item["apiVersion"] = list["apiVersion"].clone();
    }
    item
}

fn role(value: &Value) -> Option<Role> {
    let group = |group: &str| {
        value["apiVersion"].as_str().is_none_or(|v| v.split('/').next() == Some(group) && v.contains('/'))
    };
    match value["kind"].as_str()? {
        // A Service without an `apiVersion` may be Kubernetes' own.
        "Service" if group("serving.knative.dev") && value.pointer("/spec/template").is_some() => {
            Some(Role::Knative)
        }
        "HorizontalPodAutoscaler" if group("autoscaling") => Some(Role::Hpa),
        "VerticalPodAutoscaler" if group("autoscaling.k8s.io") => Some(Role::Vpa),
        "ScaledObject" if group("keda.sh") => Some(Role::Keda),
        _ => None,
    }
}
