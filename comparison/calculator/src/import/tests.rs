use super::*;
use crate::manifest::export;

fn other_than_default(kind: Kind) -> Values {
    // Values that differ from the defaults, within the bounds.
    let other = |f: &crate::settings::Field| {
        let value = if f.default + 1.0 <= f.most { f.default + 1.0 } else { f.default - 1.0 };
        (f.name.to_owned(), if f.most <= 1.0 { f.default / 2.0 } else { value })
    };
    kind.complete(&kind.fields().iter().map(other).collect()).expect("within the bounds")
}

#[test]
fn what_is_exported_is_imported_again() {
    for kind in Kind::ALL {
        let values = other_than_default(kind);
        let files: Vec<String> = export(kind, &values).into_values().collect();
        let back = import(&files.join("\n---\n")).expect("valid");
        assert_eq!((back.kind, back.values, back.notes), (kind, values, vec![]));
    }
}

#[test]
fn durations_are_exported_in_the_units_that_knative_takes() {
    let values = Kind::Kpa.complete(&Values::new()).expect("the defaults");
    let text: String = export(Kind::Kpa, &values).into_values().collect();
    for line in ["/window: 60s\n", "/scale-down-delay: 0s\n", "/scale-to-zero-pod-retention-period: 0ms\n"] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn objects_of_this_repository_are_read() {
    let read = import(include_str!("../../../../knative/components/hand-tuned/kustomization.yaml"));
    let Imported { kind, values, notes } = read.expect("valid");
    assert_eq!((kind, values["window"], values["scale-down-delay"]), (Kind::Kpa, 30.0, 60.0));
    assert!(notes[0].contains("target is set elsewhere"), "{notes:?}");
    let tuned = include_str!("../../../../k8s-autoscalers/components/tuned/kustomization.yaml");
    let Imported { kind, values, notes } = import(tuned).expect("valid");
    assert_eq!((kind, values["averageValue"], values["minReplicas"]), (Kind::Hpa, 2.0, 3.0));
    assert!(notes[0].contains("../vpa-floor was not read") && notes[1].contains("no VPA"), "{notes:?}");
    let vpa = include_str!("../../../../k8s-autoscalers/base/vpa.yaml");
    let hpa = include_str!("../../../../k8s-autoscalers/base/hpa.yaml");
    let Imported { kind, values, .. } = import(&format!("{hpa}\n---\n{vpa}")).expect("valid");
    assert_eq!((kind, values["maxAllowed.cpu"], values["maxReplicas"]), (Kind::HpaVpa, 2000.0, 10.0));
    let keda = include_str!("../../../../k8s-autoscalers/components/keda/scaled-object.yaml");
    assert_eq!(import(keda).expect("valid").kind, Kind::Keda);
    let zero = include_str!("../../../../k8s-autoscalers/components/hpa-zero/kustomization.yaml");
    let Imported { kind, values, .. } = import(zero).expect("valid");
    assert_eq!((kind, values["minReplicas"]), (Kind::HpaZero, 0.0));
}

#[test]
fn a_list_of_one_kind_is_read_whose_items_have_none() {
    let spec = hpa("maxReplicas: 7", PODS).split_once("spec:").expect("a spec").1.to_owned();
    let item = format!("- spec:{}", spec.replace('\n', "\n  "));
    let list = |version: &str, kind: &str| format!("apiVersion: {version}\nkind: {kind}\nitems:\n{item}\n");
    let Imported { kind, values, .. } =
        import(&list("autoscaling/v2", "HorizontalPodAutoscalerList")).expect("valid");
    assert_eq!((kind, values["maxReplicas"], values["averageValue"]), (Kind::Hpa, 7.0, 1.5));
    assert!(import(&list("v1", "List")).is_err(), "a mixed list names the kind of each item");
    assert!(import("kind: PodList\nitems: [{spec: {}}, 1]").is_err(), "nothing that scales");
}

const PODS: &str =
    "[{type: Pods, pods: {metric: {name: concurrency}, target: {type: AverageValue, averageValue: 1500m}}}]";

fn hpa(more: &str, metrics: &str) -> String {
    format!(
        "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nspec:\n  {more}\n  metrics: {metrics}\n"
    )
}

fn service(annotations: &str, spec: &str) -> String {
    format!(
        "apiVersion: serving.knative.dev/v1\nkind: Service\nspec: {{template: {{metadata: {{annotations: \
         {{{annotations}}}}}, spec: {{{spec}}}}}}}\n"
    )
}

fn scaled(spec: &str, triggers: &str) -> String {
    format!("apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nspec:\n  {spec}\n  triggers: {triggers}\n")
}

const TRIGGER: &str = "{type: prometheus, metadata: {query: sum(requests_in_flight), threshold: \"2\"}}";

fn refused(text: &str, reason: &str) {
    let error = import(text).expect_err(text);
    assert!(error.contains(reason), "{error:?} does not say {reason:?}");
}

#[test]
fn a_missing_limit_is_the_apis_own_default_or_refused() {
    let kpa = import(&service("", "")).expect("valid");
    assert_eq!((kpa.values["max-scale"], kpa.values["target"]), (0.0, 100.0));
    let keda = import(&scaled("minReplicaCount: 1", &format!("[{TRIGGER}]"))).expect("valid");
    assert_eq!((keda.values["maxReplicaCount"], keda.values["threshold"]), (100.0, 2.0));
    refused(&hpa("minReplicas: 1", PODS), "maxReplicas");
    assert_eq!(import(&hpa("maxReplicas: 30", PODS)).expect("valid").values["averageValue"], 1.5);
}

#[test]
fn an_hpa_that_does_not_scale_on_requests_in_flight_is_refused() {
    let cpu =
        "[{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}]";
    refused(&hpa("maxReplicas: 5", cpu), "type \"Resource\"");
    refused(&hpa("maxReplicas: 5", "[]"), "80 % of CPU");
    refused(&hpa("maxReplicas: 5", &PODS.replace("concurrency", "requests_per_second")), "in flight");
    let two = PODS.replace('[', "[{type: Resource}, ");
    refused(&hpa("maxReplicas: 5", &two), "2 metrics");
    refused(&hpa("maxReplicas: 5", &PODS.replace("1500m", "10rps")), "10rps");
    refused(
        "apiVersion: autoscaling/v1\nkind: HorizontalPodAutoscaler\nspec: {maxReplicas: 5}",
        "only autoscaling/v2",
    );
    refused(&hpa("maxReplicas: 2.5", PODS), "whole number");
    let reversed = hpa("minReplicas: 7\n  maxReplicas: 5", PODS);
    refused(&reversed, "minReplicas 7 is above maxReplicas 5");
}

const OBJECT: &str = "{type: Object, object: {metric: {name: concurrency_of_all}, describedObject: {kind: \
                      Deployment, name: any}, target: {type: AverageValue, averageValue: \"2\"}}}";
const WAKES: &str = "{type: External, external: {metric: {name: unserved}, target: {type: AverageValue, \
                     averageValue: 1M}}}";

#[test]
fn an_hpa_with_metrics_that_exist_at_zero_pods_may_scale_to_zero() {
    let both = format!("[{OBJECT}, {WAKES}]");
    let zero = import(&hpa("minReplicas: 0\n  maxReplicas: 5", &both)).expect("valid");
    assert_eq!(
        (zero.kind, zero.values["minReplicas"], zero.values["averageValue"]),
        (Kind::HpaZero, 0.0, 2.0)
    );
    // The API's own minimum is one.
    let one = import(&hpa("maxReplicas: 5", &format!("[{OBJECT}]"))).expect("valid");
    assert_eq!((one.kind, one.values["minReplicas"]), (Kind::HpaZero, 1.0));
    refused(&hpa("minReplicas: 0\n  maxReplicas: 5", &format!("[{OBJECT}]")), "nothing wakes it from zero");
    refused(&hpa("minReplicas: 0\n  maxReplicas: 5", PODS), "minReplicas: 0 is not between 1");
    refused(&hpa("maxReplicas: 5", &format!("[{OBJECT}, {OBJECT}]")), "2 metrics that scale");
    refused(&hpa("maxReplicas: 5", &format!("[{WAKES}]")), "0 metrics that scale");
    refused(&hpa("maxReplicas: 5", &format!("[{OBJECT}, {{type: Resource}}]")), "2 metrics");
    let waking_flight = OBJECT.replace("\"2\"", "1M");
    refused(&hpa("maxReplicas: 5", &format!("[{OBJECT}, {waking_flight}]")), "2 metrics that scale");
    let component = |spec: &str| {
        let patch = format!("kind: HorizontalPodAutoscaler\nspec: {{maxReplicas: 4, {spec}}}");
        serde_json::json!({ "kind": "Component", "components": ["../hpa-zero"], "patches": [{ "patch": patch }] })
            .to_string()
    };
    refused(&component(&format!("metrics: [{OBJECT}]")), "nothing wakes it from zero");
    refused(&component(&format!("metrics: {PODS}")), "takes one of type Object");
    assert_eq!(import(&component("minReplicas: 0")).expect("valid").kind, Kind::HpaZero);
    let ratio = OBJECT.replace("AverageValue", "Value").replace("averageValue", "value");
    refused(&hpa("maxReplicas: 5", &format!("[{ratio}]")), "target of type \"Value\"");
    let vpa = "\n---\napiVersion: autoscaling.k8s.io/v1\nkind: VerticalPodAutoscaler\nspec:\n  updatePolicy: \
               {updateMode: InPlaceOrRecreate, minReplicas: 1}\n  resourcePolicy: {containerPolicies: \
               [{minAllowed: {cpu: 100m}, maxAllowed: {cpu: 2}}]}\n";
    refused(&format!("{}{vpa}", hpa("maxReplicas: 5", &both)), "without a VPA only");
}

#[test]
fn a_direction_without_policies_has_the_apis_own() {
    let with = |rules: &str| hpa(&format!("maxReplicas: 5\n  behavior: {rules}"), PODS);
    let off = import(&with("{scaleDown: {selectPolicy: Disabled}}")).expect("valid").values;
    assert_eq!((off["scaleDown.Percent"], off["scaleDown.Pods"], off["scaleUp.Pods"]), (0.0, 0.0, 4.0));
    refused(&with("{scaleUp: {selectPolicy: Min}}"), "selectPolicy Min of 2 policies");
    assert_eq!(
        import(&with("{scaleDown: {selectPolicy: Min}}")).expect("valid").values["scaleDown.Percent"],
        100.0
    );
    refused(&with("{scaleDown: {policies: [{type: Cores, value: 1, periodSeconds: 15}]}}"), "Cores");
    refused(&with("{scaleDown: {policies: []}}"), "at least one policy");
    refused(&with("{scaleUp: {policies: [{type: Pods, value: 1, periodSeconds: 60}]}}"), "period of 60");
}

#[test]
fn a_vpa_that_is_off_leaves_the_hpa_alone_and_others_are_refused() {
    let vpa = |mode: &str| {
        format!(
            "{}---\napiVersion: autoscaling.k8s.io/v1\nkind: VerticalPodAutoscaler\nspec:\n  updatePolicy: \
             {{{mode}}}\n  resourcePolicy: {{containerPolicies: [{{minAllowed: {{cpu: 100m}}, maxAllowed: \
             {{cpu: 2}}}}]}}\n",
            hpa("maxReplicas: 5", PODS)
        )
    };
    let off = import(&vpa("updateMode: \"Off\"")).expect("valid");
    assert_eq!(off.kind, Kind::Hpa);
    assert!(off.notes[0].contains("the VPA is off"), "{:?}", off.notes);
    let on = import(&vpa("updateMode: InPlaceOrRecreate, minReplicas: 1")).expect("valid");
    assert_eq!((on.kind, on.values["maxAllowed.cpu"], on.notes), (Kind::HpaVpa, 2000.0, vec![]));
    refused(&vpa("updateMode: Initial"), "Initial");
    refused(&vpa("updateMode: false"), "in quotes");
    refused(&vpa(""), "Recreate");
}

#[test]
fn a_scaled_object_with_other_triggers_is_refused() {
    let object = |triggers: &str| scaled("maxReplicaCount: 5", triggers);
    refused(&object("[{type: cron, metadata: {desiredReplicas: \"10\"}}]"), "trigger \"cron\"");
    refused(&object(&format!("[{TRIGGER}, {{type: kafka}}]")), "trigger \"kafka\"");
    refused(&object("[]"), "0 triggers");
    refused(&object(&format!("[{TRIGGER}, {TRIGGER}]")), "2 triggers");
    refused(&object(&format!("[{}]", TRIGGER.replace("requests_in_flight", "rate(requests)"))), "in flight");
    refused(&object(&format!("[{}]", TRIGGER.replace("\"2\"", "1k"))), "1k");
}

#[test]
fn annotations_of_knative_are_read_as_knative_reads_them_or_refused() {
    let with = |name: &str, value: &str| service(&format!("autoscaling.knative.dev/{name}: \"{value}\""), "");
    let delay = import(&with("scale-down-delay", "15m")).expect("valid").values["scale-down-delay"];
    assert!((delay - 900.0).abs() < 1e-9, "{delay}");
    for (name, value) in
        [("target", "10rps"), ("target", "1k"), ("metric", "rps"), ("metric", "cpu"), ("window", "60")]
    {
        refused(&with(name, value), value);
    }
    refused(&with("initial-scale", "5"), "initial-scale");
    refused(&with("min-scale", "1.5"), "min-scale");
    refused(&with("window", "6500ms"), "window: 6.5 is not a whole number");
    refused(&with("target-burst-capacity", "-0.5"), "-0.5 is neither -1 nor at least 0");
    refused(&service("", "containerConcurrency: 10"), "containerConcurrency 10");
    assert!(import(&service("", "containerConcurrency: 0")).is_ok());
}

#[test]
fn a_second_object_of_a_kind_is_refused() {
    let one = hpa("maxReplicas: 5", PODS);
    refused(&format!("{one}---\n{one}"), "more than one HorizontalPodAutoscaler");
    refused(&format!("{0}---\n{0}", service("", "")), "more than one Service");
    refused(&format!("{one}---\n{}", service("", "")), "several autoscalers");
    // The Service of Kubernetes beside an HPA is not Knative's.
    assert!(import(&format!("{one}---\napiVersion: v1\nkind: Service\nspec: {{ports: []}}")).is_ok());
}

#[test]
fn what_is_not_simulated_is_an_error_that_names_it() {
    let service =
        "kind: Service\nspec: {template: {metadata: {annotations: {autoscaling.knative.dev/metric: rps}}}}";
    refused(service, "only concurrency");
    assert!(import("a: [").is_err() && import("kind: ConfigMap").is_err());
}
