//! The calculator's exports deploy the simulated settings: the exported files are read from a copy
//! of the repository, as `comparison` reads the manifests.

use std::path::{Path, PathBuf};

use calculator::manifest::{COMPONENT, export};
use calculator::settings::{Kind, Values};
use comparison::manifests;
use simulator::Autoscaler;

/// An autoscaler, its variant, and the changed settings.
type Changed = (Kind, &'static str, &'static [(&'static str, f64)]);

const MEBIBYTE: f64 = 1024.0 * 1024.0;

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        std::fs::create_dir_all(to).expect("a folder");
        for entry in std::fs::read_dir(from).expect("readable") {
            let name = entry.expect("readable").file_name();
            copy(&from.join(&name), &to.join(&name));
        }
    } else {
        std::fs::copy(from, to).expect("copied");
    }
}

/// A copy of the manifests in a folder of its own.
fn manifests_of_the_repository(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("exported-{name}"));
    let _ = std::fs::remove_dir_all(&to);
    for part in ["knative", "k8s-autoscalers", "function/manifests"] {
        copy(&root.join(part), &to.join(part));
    }
    to
}

#[test]
fn the_exported_files_deploy_what_was_simulated() {
    let changed: [Changed; 6] = [
        (
            Kind::Kpa,
            "knative",
            &[("target", 1.5), ("window", 30.0), ("scale-down-delay", 60.0), ("min-scale", 2.0)],
        ),
        (
            Kind::Hpa,
            "k8s-autoscalers",
            &[("averageValue", 0.25), ("minReplicas", 3.0), ("scaleDown.Pods", 2.0)],
        ),
        (Kind::HpaVpa, "k8s-autoscalers", &[("minAllowed.cpu", 150.0), ("scaleUp.tolerance", 0.05)]),
        (
            Kind::Keda,
            "k8s-autoscalers",
            &[("threshold", 0.5), ("pollingInterval", 5.0), ("scaleDown.Percent", 50.0)],
        ),
        (
            Kind::HpaZero,
            "k8s-autoscalers",
            &[("averageValue", 0.5), ("maxReplicas", 7.0), ("scaleDown.Pods", 2.0)],
        ),
        (Kind::HpaZero, "k8s-autoscalers", &[("minReplicas", 2.0)]),
    ];
    for (kind, variant, pairs) in changed {
        let values: Values = pairs.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        let complete = kind.complete(&values).expect("within the bounds");
        let root = manifests_of_the_repository(&format!("{kind:?}"));
        for (path, text) in export(kind, &complete) {
            let file = root.join(path);
            std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
            std::fs::write(file, text).expect("written");
        }
        let mut deployed = manifests::read(&root, variant, COMPONENT, None).expect("readable").autoscaler;
        let mut simulated = kind.autoscaler(&values, 256.0 * MEBIBYTE).expect("within the bounds");
        // The VPA's bounds for memory are the base's, and the HPA below KEDA has its own lowest
        // count.
        for autoscaler in [&mut deployed, &mut simulated] {
            match autoscaler {
                Autoscaler::Hpa(_, Some(vpa)) => vpa.memory = (0.0, 0.0),
                Autoscaler::Keda(keda) => keda.hpa.min = 1,
                _ => {}
            }
        }
        assert_eq!(deployed, simulated, "{kind:?}");
    }
}
