//! How does a CustomResourceDefinition become a served kind?

use super::{
    error::{ApiError, Cause},
    kinds::{self, KindInfo},
    store::State,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value, json};

impl State {
    /// Serves the kind that a CustomResourceDefinition defines, and says so in its status. Leaves other kinds alone.
    pub(super) fn define(&mut self, info: &KindInfo, object: &mut Value) -> Result<(), ApiError> {
        if info.kind != "CustomResourceDefinition" {
            return Ok(());
        }
        let refuse = |why: String| {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            ApiError::invalid(info, name, &[Cause::new("FieldValueInvalid", "spec", why)])
        };
        let crd: CustomResourceDefinition =
            serde_json::from_value(object.clone()).map_err(|e| refuse(e.to_string()))?;
        let custom = kinds::custom(&crd).map_err(refuse)?;
        let established = object["status"]["conditions"].as_array().is_some_and(|c| !c.is_empty());
        if !established {
            object["status"] = established_status(&custom, &object["spec"]["names"], &self.clock.stamp(0));
        }
        self.serve(custom);
        Ok(())
    }

    /// Serves a kind without a request: what a test starts with, or changes behind everybody's back.
    ///
    /// # Errors
    /// What the server cannot serve in it.
    pub(super) fn install(&mut self, crd: &CustomResourceDefinition) -> Result<(), String> {
        let custom = kinds::custom(crd)?;
        let name = crd.metadata.name.clone().unwrap_or_default();
        let names = serde_json::to_value(&crd.spec.names).map_err(|e| e.to_string())?;
        let spec = serde_json::to_value(&crd.spec).map_err(|e| e.to_string())?;
        let stamp = self.clock.stamp(0);
        let mut body = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "spec": spec,
            "metadata": {"name": name, "creationTimestamp": stamp, "generation": 1, "uid": self.new_uid()},
            "status": established_status(&custom, &names, &stamp),
        });
        self.serve(custom);
        let Some(table) = self.find("apiextensions.k8s.io", "customresourcedefinitions") else { return Ok(()) };
        if let Some(old) = self.tables[table].objects.get(&name) {
            for field in ["uid", "creationTimestamp"] {
                body["metadata"][field] = old.value["metadata"][field].clone();
            }
            body["metadata"]["generation"] = (old.value["metadata"]["generation"].as_i64().unwrap_or(0) + 1).into();
        }
        self.put(table, &name, body, Vec::new());
        Ok(())
    }
}

fn established_status(custom: &KindInfo, names: &Value, stamp: &str) -> Value {
    let condition = |kind: &str, reason: &str| json!({"type": kind, "status": "True", "reason": reason, "message": "", "lastTransitionTime": stamp});
    json!({
        "acceptedNames": names, "storedVersions": [custom.version],
        "conditions": [condition("NamesAccepted", "NoConflicts"), condition("Established", "InitialNamesAccepted")],
    })
}
