//! How do two versions of a value merge? Which lists are keyed, which maps are one piece: the part of a
//! kind's schema that server-side apply needs.

use serde_json::Value;
use std::collections::BTreeMap;

/// Merge behaviour of one place in an object.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shape {
    /// Nothing is declared: objects merge field by field, lists and scalars are one piece.
    Deduced,
    /// One piece, owned and replaced as a whole.
    Atomic,
    /// Object that merges field by field; fields not named here follow `rest`.
    Struct { fields: BTreeMap<String, Shape>, rest: Box<Shape> },
    /// List whose items are identified by key fields (with the value a missing key stands for).
    Keyed { keys: Vec<(String, Option<Value>)>, item: Box<Shape> },
    /// List whose items are identified by their value.
    Set,
}

static DEDUCED: Shape = Shape::Deduced;
static ATOMIC: Shape = Shape::Atomic;

impl Shape {
    /// Shape of an object's field.
    pub(super) fn field(&self, name: &str) -> &Shape {
        match self {
            Shape::Struct { fields, rest } => fields.get(name).unwrap_or(rest),
            Shape::Atomic => &ATOMIC,
            _ => &DEDUCED,
        }
    }

    /// Whether this value, having this shape, is owned as one piece.
    pub(super) fn is_leaf(&self, value: &Value) -> bool {
        match value {
            Value::Object(_) => matches!(self, Shape::Atomic),
            Value::Array(_) => !matches!(self, Shape::Keyed { .. } | Shape::Set),
            _ => true,
        }
    }

    fn object(fields: impl IntoIterator<Item = (&'static str, Shape)>) -> Shape {
        let fields = fields.into_iter().map(|(name, shape)| (name.to_owned(), shape)).collect();
        Shape::Struct { fields, rest: Box::new(Shape::Deduced) }
    }

    fn keyed(keys: &[&str], item: Shape) -> Shape {
        let keys = keys
            .iter()
            // The only key with a default among the built-in kinds.
            .map(|key| ((*key).to_owned(), (*key == "protocol").then(|| Value::from("TCP"))))
            .collect();
        Shape::Keyed { keys, item: Box::new(item) }
    }

    /// Shape of `metadata`, the same for every kind.
    pub(super) fn metadata() -> Shape {
        Shape::object([("finalizers", Shape::Set), ("ownerReferences", Shape::keyed(&["uid"], Shape::Atomic))])
    }

    /// Shape of a custom resource's object, from its structural schema.
    pub(super) fn from_schema(schema: &Value) -> Shape {
        let mut shape = Self::of_schema(schema);
        if let Shape::Struct { fields, .. } = &mut shape {
            fields.insert("metadata".to_owned(), Self::metadata());
        } else {
            shape = Shape::object([("metadata", Self::metadata())]);
        }
        shape
    }

    fn of_schema(schema: &Value) -> Shape {
        match schema["type"].as_str() {
            Some("object") => {
                if schema["x-kubernetes-map-type"] == "atomic" {
                    return Shape::Atomic;
                }
                let fields = schema["properties"].as_object().into_iter().flatten();
                let rest = match &schema["additionalProperties"] {
                    Value::Object(_) => Self::of_schema(&schema["additionalProperties"]),
                    _ => Shape::Deduced,
                };
                Shape::Struct {
                    fields: fields.map(|(name, s)| (name.clone(), Self::of_schema(s))).collect(),
                    rest: Box::new(rest),
                }
            }
            Some("array") => match schema["x-kubernetes-list-type"].as_str() {
                Some("map") => {
                    let items = &schema["items"];
                    let keys =
                        schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten().filter_map(Value::as_str);
                    let keys =
                        keys.map(|key| (key.to_owned(), items["properties"][key].get("default").cloned())).collect();
                    Shape::Keyed { keys, item: Box::new(Self::of_schema(items)) }
                }
                Some("set") => Shape::Set,
                _ => Shape::Atomic,
            },
            _ => Shape::Deduced,
        }
    }

    /// Shape of a built-in kind's object, as the published OpenAPI of Kubernetes 1.36 declares it.
    pub(super) fn builtin(kind: &str) -> Shape {
        let conditions = || ("conditions", Shape::keyed(&["type"], Shape::Deduced));
        let workload = |status: Shape| {
            vec![
                ("spec", Shape::object([("selector", Shape::Atomic), ("template", Self::pod_template())])),
                ("status", status),
            ]
        };
        let mut parts = match kind {
            "Pod" => {
                let container_status = || Shape::Atomic;
                vec![
                    ("spec", Self::pod_spec()),
                    (
                        "status",
                        Shape::object([
                            conditions(),
                            ("podIPs", Shape::keyed(&["ip"], Shape::Deduced)),
                            ("containerStatuses", container_status()),
                            ("initContainerStatuses", container_status()),
                        ]),
                    ),
                ]
            }
            "Deployment" | "StatefulSet" => workload(Shape::object([conditions()])),
            "ReplicaSet" => workload(Shape::object([conditions()])),
            // The conditions of a Job are declared as one piece.
            "Job" => workload(Shape::object([(
                "uncountedTerminatedPods",
                Shape::object([("failed", Shape::Set), ("succeeded", Shape::Set)]),
            )])),
            "Service" => vec![
                (
                    "spec",
                    Shape::object([
                        ("selector", Shape::Atomic),
                        ("ports", Shape::keyed(&["port", "protocol"], Shape::Deduced)),
                    ]),
                ),
                ("status", Shape::object([conditions()])),
            ],
            "PodDisruptionBudget" => {
                vec![("spec", Shape::object([("selector", Shape::Atomic)])), ("status", Shape::object([conditions()]))]
            }
            "NetworkPolicy" => vec![("spec", Shape::object([("podSelector", Shape::Atomic)]))],
            "HorizontalPodAutoscaler" | "PersistentVolumeClaim" | "Namespace" => {
                vec![("status", Shape::object([conditions()]))]
            }
            "Node" => vec![
                ("spec", Shape::object([("podCIDRs", Shape::Set)])),
                ("status", Shape::object([conditions(), ("addresses", Shape::keyed(&["type"], Shape::Deduced))])),
            ],
            "ServiceAccount" => vec![("secrets", Shape::keyed(&["name"], Shape::Deduced))],
            "Event" => {
                vec![("regarding", Shape::Atomic), ("related", Shape::Atomic), ("involvedObject", Shape::Atomic)]
            }
            "CustomResourceDefinition" => vec![("status", Shape::object([conditions()]))],
            _ => vec![],
        };
        parts.push(("metadata", Self::metadata()));
        Shape::object(parts)
    }

    fn pod_template() -> Shape {
        Shape::object([("metadata", Self::metadata()), ("spec", Self::pod_spec())])
    }

    fn pod_spec() -> Shape {
        let value_from = || {
            let atomic = ["configMapKeyRef", "secretKeyRef", "fieldRef", "resourceFieldRef", "fileKeyRef"];
            Shape::object(atomic.map(|name| (name, Shape::Atomic)))
        };
        let container = || {
            Shape::object([
                ("env", Shape::keyed(&["name"], Shape::object([("valueFrom", value_from())]))),
                ("ports", Shape::keyed(&["containerPort", "protocol"], Shape::Deduced)),
                ("volumeDevices", Shape::keyed(&["devicePath"], Shape::Deduced)),
                ("volumeMounts", Shape::keyed(&["mountPath"], Shape::Deduced)),
                ("resources", Shape::object([("claims", Shape::keyed(&["name"], Shape::Deduced))])),
            ])
        };
        Shape::object([
            ("containers", Shape::keyed(&["name"], container())),
            ("initContainers", Shape::keyed(&["name"], container())),
            ("ephemeralContainers", Shape::keyed(&["name"], container())),
            ("hostAliases", Shape::keyed(&["ip"], Shape::Deduced)),
            ("imagePullSecrets", Shape::keyed(&["name"], Shape::Atomic)),
            ("nodeSelector", Shape::Atomic),
            ("resourceClaims", Shape::keyed(&["name"], Shape::Deduced)),
            ("schedulingGates", Shape::keyed(&["name"], Shape::Deduced)),
            (
                "topologySpreadConstraints",
                Shape::keyed(&["topologyKey", "whenUnsatisfiable"], Shape::object([("labelSelector", Shape::Atomic)])),
            ),
            ("volumes", Shape::keyed(&["name"], Shape::Deduced)),
        ])
    }
}
