//! Facts that runs in one table must share: image, model, settings and environment.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::Value;

use super::config::VariantConfig;
use super::kube::Kube;
use scenario::arms::Arm;
use scenario::joinable::settings_key;
use scenario::recording::POD_LIMITS;

/// Facts of a deployed arm, from the API server.
pub async fn facts(kube: &Kube, variant: &VariantConfig, arm: &Arm) -> Result<BTreeMap<String, String>> {
    // First in the list, because the pods' template is read from the first object.
    let mut paths = vec![variant.workload(arm)];
    paths.extend(variant.scaling_objects(arm).into_iter().filter(|path| *path != variant.workload(arm)));
    let mut specs = Vec::new();
    for path in paths {
        let mut found = kube.get(&path).await.with_context(|| format!("{} is not deployed", variant.name))?;
        // What the HPA writes is its decision, not a setting.
        if let Some(spec) = found["spec"].as_object_mut() {
            spec.remove("replicas");
        }
        specs.push(found["spec"].take());
    }
    let containers = specs[0]["template"]["spec"]["containers"].as_array().into_iter().flatten();
    let function = containers.into_iter().find(|c| c["name"] == variant.container.as_str());
    let mut facts = BTreeMap::new();
    let image = function.and_then(|c| c["image"].as_str()).unwrap_or("?");
    facts.insert("Image".to_owned(), image.to_owned());
    if let Some(function) = function {
        let limits = &function["resources"]["limits"];
        let text = |value: &Value| value.as_str().unwrap_or("none").to_owned();
        facts.insert(
            POD_LIMITS.to_owned(),
            format!("{} CPU, {}", text(&limits["cpu"]), text(&limits["memory"])),
        );
    }
    // The image is a separate fact: its name may change while its content stays the same.
    let containers = specs[0]["template"]["spec"]["containers"].as_array_mut().into_iter().flatten();
    containers.filter_map(Value::as_object_mut).for_each(|c| {
        c.remove("image");
    });
    facts.insert(settings_key(&arm.variant, &arm.configuration), fingerprint(&specs));
    Ok(facts)
}

/// The image that a pod runs, as reported by the kubelet: a tag may have been moved.
pub fn image_of(pod: &Value, container: &str) -> Option<String> {
    let statuses = pod["status"]["containerStatuses"].as_array()?;
    let id = statuses.iter().find(|s| s["name"] == container)?["imageID"].as_str()?;
    (!id.is_empty()).then(|| id.to_owned())
}

/// The id of a running container, without `containerd://`.
pub fn container_id(pod: &Value, container: &str) -> Option<String> {
    let statuses = pod["status"]["containerStatuses"].as_array()?;
    let status = statuses.iter().find(|s| s["name"] == container && !s["state"]["running"].is_null())?;
    Some(status["containerID"].as_str()?.rsplit_once("//")?.1.to_owned())
}

/// Over the JSON as the API server prints it, which is the same for the same object.
fn fingerprint(specs: &[Value]) -> String {
    let text: String = specs.iter().map(ToString::to_string).collect();
    scenario::schedule::fnv(text.bytes())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_other_value_is_another_setting() {
        let of = |target: u32| fingerprint(&[json!({"window": "60s"}), json!({"target": target})]);
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }

    #[test]
    fn the_image_that_runs_is_the_kubelets_word() {
        let pod = json!({"status": {"containerStatuses": [
            {"name": "queue-proxy", "imageID": "x"}, {"name": "eye-state", "imageID": "sha256:1234"},
        ]}});
        assert_eq!(image_of(&pod, "eye-state").as_deref(), Some("sha256:1234"));
        assert_eq!(image_of(&pod, "other"), None);
    }
}
