//! helm and kubeconform, and the schemas to compare with.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests, outside any #[test] function

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs};

use serde_json::{Value, json};

pub(crate) const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A program of the harness's cache, or of the `PATH`.
pub(crate) fn tool(name: &str) -> PathBuf {
    let dirs = env::var_os("MEDLEY_CLUSTER_BIN").or_else(|| env::var_os("PATH")).unwrap_or_default();
    env::split_paths(&dirs).map(|dir| dir.join(name)).find(|path| path.is_file()).unwrap_or_else(|| {
        panic!(
            "`{name}` is neither in MEDLEY_CLUSTER_BIN nor on the PATH. `make test` builds it and says where it is; \
             by hand: MEDLEY_CLUSTER_BIN=$(cargo run -q -p medley-harness --bin cluster -- build) cargo test --test charts"
        )
    })
}

pub(crate) fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"))
}

pub(crate) fn helm_template(chart: &str, values: &Value) -> Output {
    let file = scratch("values").join(format!("{}.json", unique()));
    fs::write(&file, values.to_string()).unwrap();
    run(Command::new(tool("helm"))
        .args(["template", "medley"])
        .arg(chart_dir(chart))
        .args(["--namespace", "home", "--values"])
        .arg(&file))
}

pub(crate) fn render(chart: &str, values: &Value) -> String {
    let out = helm_template(chart, values);
    assert!(out.status.success(), "{chart} with {values}: {}", text(&out));
    String::from_utf8(out.stdout).unwrap()
}

pub(crate) fn conforms(schemas: &Path, manifests: &str, skip: &str, skipped: u32) -> Result<(), String> {
    let file = scratch("manifests").join(format!("{}.yaml", unique()));
    fs::write(&file, manifests).unwrap();
    let location = format!("{}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json", schemas.display());
    let mut command = Command::new(tool("kubeconform"));
    let out = run(command
        .args(["-strict", "-output", "json", "-summary", "-skip", skip, "-schema-location", &location])
        .arg(&file));
    let report: Value = serde_json::from_slice(&out.stdout).map_err(|_| text(&out))?;
    let (summary, objects) = (&report["summary"], documents(manifests).len());
    if out.status.success() && summary["skipped"] == skipped && summary["valid"] == objects - skipped as usize {
        return Ok(());
    }
    Err(format!("of {objects} objects: {report:#}"))
}

/// JSON schemas of Kubernetes' own kinds, from the OpenAPI document in the module that the local cluster is built from.
pub(crate) fn write_schemas(dir: &Path) {
    let out = run(Command::new("go")
        .args(["mod", "download", "-json", "k8s.io/kubernetes"])
        .current_dir(Path::new(ROOT).join("tests/harness/cluster/tools")));
    assert!(out.status.success(), "the source of Kubernetes' schemas cannot be had: {}", text(&out));
    let module: Value = serde_json::from_slice(&out.stdout).unwrap();
    let document = Path::new(module["Dir"].as_str().unwrap()).join("api/openapi-spec/swagger.json");
    let mut document: Value = serde_json::from_str(&read(&document)).unwrap();
    let definitions = document["definitions"].as_object_mut().unwrap();
    for (name, definition) in definitions.iter_mut() {
        if name.ends_with(".IntOrString") {
            *definition = json!({"oneOf": [{"type": "string"}, {"type": "integer"}]});
        } else if name.ends_with(".Quantity") {
            *definition = json!({"oneOf": [{"type": "string"}, {"type": "number"}]});
        } else if definition.get("properties").is_some() {
            definition["additionalProperties"] = json!(false);
        }
        // a kind of one group and version; the others, such as DeleteOptions, are never in a manifest
        if let Some([gvk]) = definition["x-kubernetes-group-version-kind"].as_array().map(Vec::as_slice) {
            let part = |field: &str| gvk[field].as_str().unwrap().split('.').next().unwrap().to_lowercase();
            let parts: Vec<_> =
                [part("kind"), part("group"), part("version")].into_iter().filter(|part| !part.is_empty()).collect();
            let schema = json!({"$ref": format!("_definitions.json#/definitions/{name}")});
            fs::write(dir.join(format!("{}.json", parts.join("-"))), schema.to_string()).unwrap();
        }
    }
    fs::write(dir.join("_definitions.json"), json!({"definitions": definitions}).to_string()).unwrap();
}

pub(crate) fn documents(manifests: &str) -> Vec<Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(manifests).unwrap();
    documents.into_iter().filter(|document| !document.is_null()).collect()
}

pub(crate) fn chart_dir(chart: &str) -> PathBuf {
    Path::new(ROOT).join("charts").join(chart)
}

pub(crate) fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

pub(crate) fn scratch(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("charts").join(name);
    fs::create_dir_all(&dir).unwrap();
    dir
}

fn unique() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn text(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}
