//! Are the charts right, as far as it shows without a cluster? What they do in one: `charts_node.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

#[path = "charts/signals.rs"]
mod signals;
#[path = "charts/tools.rs"]
mod tools;
#[path = "charts/values.rs"]
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use medley::api::Urgency;
use serde_json::{Value, json};

use tools::{
    ROOT, chart_dir, conforms, documents, helm_template, read, render, run, scratch, text, tool, write_schemas,
};
use values::{another, leaves, set};

/// Value sets that together use every branch of the templates.
const SETS: [(&str, &str); 7] = [
    ("defaults", "{}"),
    ("cluster-wide", r#"{"clusterWide": true, "global": {"of": "a bundle"}}"#),
    (
        "listed namespaces, one replica",
        r#"{"namespaces": ["radiology", "stroke"], "replicas": 1, "log": {"format": "text"}}"#,
    ),
    (
        "nothing optional",
        r#"{"rbac": {"create": false, "userRoles": false}, "serviceAccount": {"create": false}, "priorityClasses": {"create": false},
            "podDisruptionBudget": {"enabled": false}, "networkPolicy": {"enabled": false}, "resources": null}"#,
    ),
    (
        "mirrors and the registry",
        r#"{"mirrors": {"redis": {"url": "rediss://medley@[fd00::7]:6380/2", "existingSecret": "redis", "caSecret": "authority"},
            "memcached": {"address": "memcached.cache.svc:11211"}, "ttl": "90s"},
            "registry": {"enabled": true, "tlsSecret": "certificate", "from": [{"podSelector": {}}]},
            "signals": {"prometheus": {"url": "https://prometheus:9090", "caSecret": "prometheus"}},
            "networkPolicy": {"mirrors": [{"to": [{"podSelector": {}}], "ports": [{"protocol": "TCP", "port": 6380}]}]}}"#,
    ),
    (
        "closed network",
        r#"{"networkPolicy": {"scrapeFrom": [{"namespaceSelector": {"matchLabels": {"a": "b"}}, "podSelector": {}}], "calls": [],
            "dns": {"to": [{"namespaceSelector": {}}], "ports": [53, 5353]}, "apiServer": {"to": [{"ipBlock": {"cidr": "10.0.0.1/32"}}], "ports": [6443]}}}"#,
    ),
    (
        "everything",
        r#"{"fullnameOverride": "orchestra", "nameOverride": "conductor", "replicas": 3, "podDisruptionBudget": {"maxUnavailable": 2},
            "image": {"digest": "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "pullSecrets": ["one", "two"]},
            "serviceAccount": {"name": "baton", "annotations": {"a/b": "c"}}, "service": {"annotations": {"a/b": "c"}},
            "serviceMonitor": {"enabled": true, "labels": {"release": "prometheus"}}, "dashboards": {"enabled": true},
            "prometheusRule": {"enabled": true, "labels": {"release": "prometheus"}}, "priorityClassName": "system-cluster-critical",
            "podAnnotations": {"a/b": "c"}, "podLabels": {"team": "imaging"}, "nodeSelector": {"kubernetes.io/os": "linux"},
            "tolerations": [{"key": "dedicated", "operator": "Equal", "value": "medley", "effect": "NoSchedule"}],
            "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms":
              [{"matchExpressions": [{"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64"]}]}]}}},
            "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway",
              "labelSelector": {"matchLabels": {"app.kubernetes.io/name": "conductor"}}}]}"#,
    ),
];

#[test]
fn both_charts_pass_helm_lint() {
    for chart in ["medley", "medley-crds"] {
        let out = run(Command::new(tool("helm")).args(["lint", "--strict"]).arg(chart_dir(chart)));
        assert!(out.status.success(), "{chart}: {}", text(&out));
    }
}

#[test]
fn everything_rendered_fits_the_schemas_of_kubernetes() {
    let dir = scratch("schemas");
    write_schemas(&dir);
    for (name, values) in SETS {
        let skipped = u32::from(values.contains("serviceMonitor")) + u32::from(values.contains("prometheusRule"));
        let rendered = render("medley", &json_of(values));
        // the kinds that are not Kubernetes' own
        conforms(&dir, &rendered, "ServiceMonitor,PrometheusRule", skipped)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    for keep in [true, false] {
        conforms(&dir, &render("medley-crds", &json!({ "keep": keep })), "", 0)
            .unwrap_or_else(|error| panic!("CRDs: {error}"));
    }
    let misspelt = render("medley", &json!({})).replace("readOnlyRootFilesystem", "readOnlyRootFileSystem");
    let refused =
        conforms(&dir, &misspelt, "", 0).expect_err("a misspelt field must be found, or this test shows nothing");
    assert!(refused.contains("readOnlyRootFileSystem"), "{refused}");
}

#[test]
fn a_wrong_value_is_refused_by_name() {
    for (values, wanted) in [
        (r#"{"replica": 2}"#, "'replica' not allowed"),
        (r#"{"image": {"repo": "medley"}}"#, "'repo' not allowed"),
        (r#"{"replicas": "two"}"#, "/replicas"),
        (r#"{"replicas": 0}"#, "/replicas"),
        (r#"{"image": {"pullPolicy": "Sometimes"}}"#, "/image/pullPolicy"),
        (r#"{"image": {"digest": "sha256:12"}}"#, "/image/digest"),
        (r#"{"namespaces": "radiology"}"#, "/namespaces"),
        (r#"{"namespaces": ["Radiology"]}"#, "/namespaces/0"),
        (r#"{"namespaces": ["a", "a"]}"#, "/namespaces"),
        (r#"{"clusterWide": "yes"}"#, "/clusterWide"),
        (r#"{"calls": {"allowedRanges": ["10.0.0.1"]}}"#, "/calls/allowedRanges/0"),
        (r#"{"calls": {"deniedRanges": "10.0.0.0/8"}}"#, "/calls/deniedRanges"),
        (r#"{"mirrors": {"redis": {"url": "redis://user:secret@cache"}}}"#, "/mirrors/redis/url"),
        (r#"{"mirrors": {"redis": {"existingSecret": "login"}}}"#, "mirrors.redis.url must be set"),
        (r#"{"mirrors": {"redis": {"url": "rediss://cache"}}}"#, "mirrors.redis.caSecret"),
        (r#"{"mirrors": {"redis": {"url": "redis://cache", "caSecret": "a"}}}"#, "must begin with rediss://"),
        (r#"{"mirrors": {"redis": {"prefix": "a:b"}}}"#, "/mirrors/redis/prefix"),
        (r#"{"mirrors": {"memcached": {"address": "cache"}}}"#, "/mirrors/memcached/address"),
        (r#"{"mirrors": {"renew": "21s"}}"#, "mirrors.renew (21s) must be at most a third of mirrors.ttl (60s)"),
        (r#"{"registry": {"enabled": true}}"#, "registry.tlsSecret must be set"),
        (
            r#"{"registry": {"enabled": true, "tlsSecret": "t", "port": 8080}}"#,
            "registry.port must differ from http.port",
        ),
        (r#"{"registry": {"port": 443}}"#, "/registry/port"),
        (r#"{"leaderElection": {"leaseDuration": 15}}"#, "/leaderElection/leaseDuration"),
        (r#"{"leaderElection": {"retryPeriod": "1m"}}"#, "/leaderElection/retryPeriod"),
        (r#"{"log": {"format": "xml"}}"#, "/log/format"),
        (r#"{"http": {"port": 80}}"#, "/http/port"),
        (r#"{"resources": {"limits": {"memory": "lots"}}}"#, "/resources/limits/memory"),
        (r#"{"resources": {"limit": {}}}"#, "'limit' not allowed"),
        (r#"{"networkPolicy": {"apiServer": {"ports": []}}}"#, "/networkPolicy/apiServer/ports"),
        (r#"{"networkPolicy": {"scrapeFrom": [{}]}}"#, "/networkPolicy/scrapeFrom/0"),
        (r#"{"networkPolicy": {"calls": [{"port": 1}]}}"#, "'port' not allowed"),
        (r#"{"prometheusRule": {"availabilityObjective": 100}}"#, "/prometheusRule/availabilityObjective"),
        (r#"{"prometheusRule": {"availabilityObjective": 90}}"#, "/prometheusRule/availabilityObjective"),
        (r#"{"podLabels": {"app.kubernetes.io/name": "other"}}"#, "/podLabels"),
        (r#"{"tolerations": [{"effects": "NoSchedule"}]}"#, "'effects' not allowed"),
        (
            r#"{"clientCertificates": [{"namespace": "a", "name": "../b", "secret": "c"}]}"#,
            "/clientCertificates/0/name",
        ),
        (
            r#"{"clientCertificates": [{"namespace": "a", "name": "b", "secret": "c"}, {"namespace": "a", "name": "b", "secret": "d"}]}"#,
            "a/b is there twice",
        ),
        (r#"{"clusterWide": true, "namespaces": ["a"]}"#, "namespaces must be empty when clusterWide is true"),
        (
            r#"{"leaderElection": {"renewDeadline": "15s"}}"#,
            "leaderElection.leaseDuration (15s) must be at least 4s longer than leaderElection.renewDeadline (15s)",
        ),
        (
            r#"{"leaderElection": {"retryPeriod": "6s"}}"#,
            "leaderElection.retryPeriod (6s) must be at most half of leaderElection.renewDeadline",
        ),
        (r#"{"podDisruptionBudget": {"maxUnavailable": 2}}"#, "podDisruptionBudget.maxUnavailable (2) must be smaller"),
    ] {
        let out = helm_template("medley", &json_of(values));
        assert!(!out.status.success(), "{values} must be refused");
        assert!(text(&out).contains(wanted), "{values}: wanted `{wanted}` in: {}", text(&out));
    }
    let out = helm_template("medley-crds", &json!({"keep": "yes"}));
    assert!(!out.status.success() && text(&out).contains("/keep"), "{}", text(&out));
}

#[test]
fn every_value_changes_what_is_rendered_and_is_documented() {
    // where each value has an effect
    let on = json!({"enabled": true});
    let redis = json!({"url": "rediss://cache:6379", "caSecret": "authority"});
    let base = json!({"replicas": 3, "serviceMonitor": on, "prometheusRule": on, "dashboards": on, "mirrors": {"redis": redis},
        "registry": {"enabled": true, "tlsSecret": "certificate"}, "influxdb": {"tokenSecret": {"name": "influx"}},
        "signals": {"prometheus": {"url": "https://prometheus", "caSecret": "a", "tokenSecret": {"name": "prometheus"}}}});
    let of_base = render("medley", &base);
    let defaults: Value = serde_saphyr::from_str(&read(&chart_dir("medley").join("values.yaml"))).unwrap();
    let readme = read(&chart_dir("medley").join("README.md"));
    let mut paths = Vec::new();
    leaves("", &defaults, &mut paths);
    assert!(paths.len() > 40, "values.yaml was not read whole: {paths:?}");
    for path in paths {
        assert!(readme.contains(&format!("\n| `{path}` |")), "charts/medley/README.md has no row for `{path}`");
        let changed = another(&path, defaults.pointer(&format!("/{}", path.replace('.', "/"))).unwrap());
        let mut values = base.clone();
        set(&mut values, &path, changed.clone());
        assert!(render("medley", &values) != of_base, "`{path}`: {changed} changes nothing");
    }
}

#[test]
fn no_role_has_a_wildcard_reaches_secrets_or_widens_itself() {
    let mut seen = 0;
    for (name, values) in SETS {
        for role in
            documents(&render("medley", &json_of(values))).iter().filter(|object| kind(object).ends_with("Role"))
        {
            for rule in role["rules"].as_array().expect("a role has rules") {
                seen += 1;
                let words: BTreeSet<_> =
                    ["apiGroups", "resources", "verbs"].iter().flat_map(|field| strings(&rule[*field])).collect();
                for never in [
                    "*",
                    "secrets",
                    "pods/exec",
                    "pods/attach",
                    "serviceaccounts/token",
                    "escalate",
                    "bind",
                    "impersonate",
                ] {
                    assert!(
                        !words.contains(never),
                        "{name}: {} {} grants `{never}`: {rule}",
                        kind(role),
                        role["metadata"]["name"]
                    );
                }
                assert!(!words.iter().any(|word| word.contains('*')), "{name}: a wildcard in {rule}");
                assert!(rule.get("nonResourceURLs").is_none(), "{name}: {rule}");
            }
        }
    }
    assert!(seen > 40, "the rules were not found: {seen}");
}

#[test]
fn a_client_certificate_lies_in_the_folder_of_its_namespace() {
    let values = json!({"clientCertificates": [{"namespace": "radiology", "name": "pacs", "secret": "tls"}]});
    let rendered = documents(&render("medley", &values));
    let deployment = rendered.iter().find(|o| kind(o) == "Deployment").unwrap();
    let pod = &deployment["spec"]["template"]["spec"];
    let secret = &pod["volumes"][0]["projected"]["sources"][0]["secret"];
    assert_eq!((&secret["name"], &secret["optional"]), (&json!("tls"), &json!(true)));
    assert_eq!(secret["items"][1], json!({"key": "tls.key", "path": "radiology/pacs/tls.key"}));
    let mount = &pod["containers"][0]["volumeMounts"][0];
    assert_eq!(mount["readOnly"], json!(true));
    let told =
        pod["containers"][0]["env"].as_array().unwrap().iter().find(|v| v["name"] == "MEDLEY_CLIENT_CERTIFICATES");
    assert_eq!(told.unwrap()["value"], mount["mountPath"]);
}

#[test]
fn both_modes_grant_the_same_where_the_operator_works_and_the_lease_only_at_home() {
    let find = |values: Value, wanted: &str| -> BTreeMap<String, Value> {
        let name = |role: &Value| {
            format!(
                "{}/{}",
                role["metadata"]["namespace"].as_str().unwrap_or("-"),
                role["metadata"]["name"].as_str().unwrap()
            )
        };
        documents(&render("medley", &values))
            .into_iter()
            .filter(|o| kind(o) == wanted)
            .map(|o| (name(&o), o["rules"].clone()))
            .collect()
    };
    let wide = find(json!({"clusterWide": true, "rbac": {"userRoles": false}}), "ClusterRole");
    let rules = &wide["-/medley"];
    assert_eq!(wide.len(), 1);
    let home = find(json!({"clusterWide": true}), "Role");
    assert_eq!(home.keys().collect::<Vec<_>>(), ["home/medley-lease"]);
    let listed = find(json!({"namespaces": ["a", "b"]}), "Role");
    assert_eq!(listed.keys().collect::<Vec<_>>(), ["a/medley", "b/medley", "home/medley-lease"]);
    assert_eq!((&listed["a/medley"], &listed["b/medley"]), (rules, rules));
    assert_eq!(listed["home/medley-lease"], home["home/medley-lease"]);
    let own = find(json!({}), "Role");
    assert_eq!(own.keys().collect::<Vec<_>>(), ["home/medley", "home/medley-lease"]);
    assert_eq!(&own["home/medley"], rules);
    assert!(
        find(json!({"rbac": {"userRoles": false}}), "ClusterRole").is_empty(),
        "a namespaced install needs no cluster-wide grant"
    );
    let pools = find(json!({"capacityPools": true, "rbac": {"userRoles": false}}), "ClusterRole");
    assert_eq!(pools.keys().collect::<Vec<_>>(), ["-/home-medley-pools"], "pools are of the cluster");
    let served = json!({"registry": {"enabled": true, "tlsSecret": "t"}, "rbac": {"userRoles": false}});
    let served = find(served, "ClusterRole");
    assert_eq!(served.keys().collect::<Vec<_>>(), ["-/home-medley-registry"], "users are of the cluster");
    for rule in home["home/medley-lease"].as_array().unwrap() {
        let named = strings(&rule["resourceNames"]) == BTreeSet::from(["medley".to_owned()]);
        assert!(
            named || strings(&rule["verbs"]) == BTreeSet::from(["create".to_owned()]),
            "a lease of another name is reached: {rule}"
        );
    }
}

#[test]
fn the_operator_learns_where_to_work_and_who_it_is() {
    for (values, namespaces) in
        [(json!({}), "home"), (json!({"namespaces": ["a", "b"]}), "a,b"), (json!({"clusterWide": true}), "")]
    {
        let pod = pod(&values);
        let env: BTreeMap<_, _> = pod["containers"][0]["env"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| (entry["name"].as_str().unwrap(), entry))
            .collect();
        assert_eq!(env["MEDLEY_NAMESPACES"]["value"], namespaces);
        assert_eq!(env["MEDLEY_LEASE_NAMESPACE"]["value"], "home");
        assert_eq!(env["POD_NAME"]["valueFrom"]["fieldRef"]["fieldPath"], "metadata.name");
        assert_eq!(env["MEDLEY_LISTEN"]["value"], "0.0.0.0:8080");
        assert_eq!(pod["containers"][0]["args"], json!(["operator"]));
        let help = text(&run(Command::new(env!("CARGO_BIN_EXE_medley")).args(["operator", "--help"])));
        let known: BTreeSet<_> =
            help.split("[env: ").skip(1).filter_map(|rest| rest.split(['=', ']']).next()).collect();
        assert_eq!(
            env.keys().copied().collect::<BTreeSet<_>>(),
            known,
            "the chart and the program differ in variables"
        );
    }
}

#[test]
fn the_pods_fulfil_the_restricted_standard_whatever_the_values() {
    for (name, values) in SETS {
        let pod = pod(&json_of(values));
        let security = &pod["securityContext"];
        assert_eq!((&security["runAsNonRoot"], &security["runAsUser"]), (&json!(true), &json!(65532)), "{name}");
        assert_eq!(security["seccompProfile"]["type"], "RuntimeDefault", "{name}");
        for container in pod["containers"].as_array().unwrap() {
            let security = &container["securityContext"];
            assert_eq!(security["allowPrivilegeEscalation"], false, "{name}");
            assert_eq!(security["readOnlyRootFilesystem"], true, "{name}");
            assert_eq!(security["capabilities"], json!({"drop": ["ALL"]}), "{name}");
        }
        for forbidden in ["hostNetwork", "hostPID", "hostIPC", "initContainers"] {
            assert!(pod.get(forbidden).is_none(), "{name}: {forbidden}");
        }
        for volume in pod["volumes"].as_array().into_iter().flatten() {
            let names: BTreeSet<&str> = volume.as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(names, ["name", "secret"].into(), "{name}");
        }
    }
}

#[test]
fn the_priority_classes_are_those_of_the_urgencies_in_their_order() {
    let classes: BTreeMap<_, _> = documents(&render("medley", &json!({})))
        .into_iter()
        .filter(|object| kind(object) == "PriorityClass")
        .map(|class| (class["metadata"]["name"].as_str().unwrap().to_owned(), class))
        .collect();
    assert_eq!(classes.len(), Urgency::ALL.len());
    let values: Vec<_> =
        Urgency::ALL.iter().map(|urgency| classes[urgency.priority_class()]["value"].as_i64().unwrap()).collect();
    assert_eq!(values, [10_000, 300_000, 500_000, 700_000, 900_000]);
    for urgency in Urgency::ALL {
        let policy = if urgency >= Urgency::Asap { "PreemptLowerPriority" } else { "Never" };
        assert_eq!(classes[urgency.priority_class()]["preemptionPolicy"], policy, "{urgency:?}");
    }
}

#[test]
fn the_chart_of_kinds_renders_the_generated_kinds_unchanged_but_kept() {
    let (generated, copies) =
        (yaml_files(&Path::new(ROOT).join("crds")), yaml_files(&chart_dir("medley-crds").join("files")));
    assert!(!generated.is_empty(), "crds/ holds no YAML: run `cargo run -- crds --out crds`");
    let how = "run `cp crds/*.yaml charts/medley-crds/files/`";
    assert_eq!(
        generated.keys().collect::<Vec<_>>(),
        copies.keys().collect::<Vec<_>>(),
        "other files than in crds/: {how}"
    );
    for (name, content) in &generated {
        assert!(copies[name] == *content, "charts/medley-crds/files/{name} is not the same as crds/{name}: {how}");
    }
    for keep in [true, false] {
        let rendered = documents(&render("medley-crds", &json!({ "keep": keep })));
        let mut wanted: Vec<Value> =
            generated.values().map(|content| serde_saphyr::from_str(content).unwrap()).collect();
        for crd in &mut wanted {
            if keep {
                set(crd, "metadata.annotations", json!({"helm.sh/resource-policy": "keep"}));
            }
        }
        assert_eq!(by_name(&rendered), by_name(&wanted), "keep: {keep}");
    }
}

fn by_name(crds: &[Value]) -> BTreeMap<String, Value> {
    crds.iter().map(|crd| (crd["metadata"]["name"].as_str().unwrap().to_owned(), as_floats(crd))).collect()
}

/// YAML writers differ in how they write a whole number; its value counts.
fn as_floats(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(items) => items.iter().map(as_floats).collect(),
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(name, value)| (name.clone(), as_floats(value))).collect())
        }
        other => other.clone(),
    }
}

fn pod(values: &Value) -> Value {
    let objects = documents(&render("medley", values));
    let deployment = objects.iter().find(|object| kind(object) == "Deployment").expect("a Deployment is rendered");
    deployment["spec"]["template"]["spec"].clone()
}

fn kind(object: &Value) -> &str {
    object["kind"].as_str().expect("every object has a kind")
}

fn strings(list: &Value) -> BTreeSet<String> {
    list.as_array().into_iter().flatten().map(|item| item.as_str().unwrap().to_owned()).collect()
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn yaml_files(dir: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("cannot read {}: {error}", dir.display()));
    let paths = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    paths.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), read(&path))).collect()
}
