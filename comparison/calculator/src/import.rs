//! Settings from pasted manifests. What the simulator does not have is an error that says what it
//! has, so that an import never stands for something else than what was pasted.

mod metric;
mod pasted;
mod read;
#[cfg(test)]
mod tests;

use pasted::{Pasted, Role};
use read::Read;
use serde_json::Value;

use crate::settings::{Kind, Values};

/// Size limit of the pasted text, above any usual set of manifests.
const MOST_TEXT: usize = 1 << 20;

/// What was imported.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// The autoscaler.
    pub kind: Kind,
    /// All of its settings.
    pub values: Values,
    /// What the user has to know about them.
    pub notes: Vec<String>,
}

/// Reads settings from manifests: of a Knative Service, an HPA (optionally with a VPA), or a
/// ScaledObject. Patches of a kustomization are read like the objects that they patch.
pub fn import(text: &str) -> Result<Imported, String> {
    if text.len() > MOST_TEXT {
        return Err("more than 1 MiB: paste the autoscaler's objects only".into());
    }
    let mut pasted = Pasted::default();
    for document in text.split("\n---") {
        let value: Value =
            serde_saphyr::from_str(document).map_err(|error| format!("invalid YAML: {error}"))?;
        pasted.collect(value)?;
    }
    let (knative, hpa) = (pasted.one(Role::Knative)?, pasted.one(Role::Hpa)?);
    let (vpa, keda) = (pasted.one(Role::Vpa)?, pasted.one(Role::Keda)?);
    let mut read = Read { notes: pasted.notes.clone(), ..Read::default() };
    let kind = match (knative, hpa, vpa, keda) {
        (Some(service), None, None, None) => read.knative(service, pasted.target.as_ref())?,
        (None, None, None, Some(object)) => read.keda(object, pasted.target.as_ref())?,
        (None, Some(object), vpa, None) => {
            let own = read.hpa(object, pasted.target.as_ref())?;
            if pasted.to_zero && own == Some(false) {
                return Err("a metric of type Pods, where a minimum of zero takes one of type Object".into());
            }
            let of_object = own.unwrap_or(pasted.to_zero);
            let with_vpa = vpa.map(|vpa| read.vpa(vpa)).transpose()?;
            match (of_object, with_vpa) {
                (true, Some(Kind::HpaVpa)) => {
                    return Err("metrics of type Object or External are simulated without a VPA only".into());
                }
                (true, _) => Kind::HpaZero,
                (false, Some(kind)) => kind,
                (false, None) => {
                    if object.patch && !pasted.vpa_off {
                        read.notes.push("there is no VPA in it, so the HPA alone is simulated".into());
                    }
                    Kind::Hpa
                }
            }
        }
        (None, None, _, None) => {
            return Err("there is no Knative Service, HorizontalPodAutoscaler or ScaledObject in it".into());
        }
        _ => {
            return Err("several autoscalers: paste one Knative Service, one HorizontalPodAutoscaler (with \
                        a VerticalPodAutoscaler or without), or one ScaledObject"
                .into());
        }
    };
    Ok(Imported { kind, values: kind.complete(&read.values)?, notes: read.notes })
}
