//! What nodes bring along.

use k8s_openapi::api::core::v1::Node;

use crate::{
    api::capacity_pool::NodeSupply,
    core::scheduling::{amounts::thousandths, tree::Quantities},
};

/// Whether new pods can come to a node: it is ready, nobody has cordoned it, and it is not about to go.
fn takes_pods(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|s| s.conditions.iter().flatten());
    let ready = conditions.filter(|c| c.type_ == "Ready").any(|c| c.status == "True");
    let cordoned = node.spec.as_ref().is_some_and(|s| s.unschedulable == Some(true));
    ready && !cordoned && node.metadata.deletion_timestamp.is_none()
}

/// What these nodes bring along together.
#[must_use]
pub fn supply<'n>(wish: &NodeSupply, nodes: impl IntoIterator<Item = &'n Node>) -> Quantities {
    let mut supply: Quantities = wish.resources.iter().map(|name| (name.clone(), 0)).collect();
    let empty = std::collections::BTreeMap::new();
    for node in nodes.into_iter().filter(|n| takes_pods(n)) {
        let labels = node.metadata.labels.as_ref().unwrap_or(&empty);
        if wish.selector.as_ref().is_some_and(|s| !s.matches(labels)) {
            continue;
        }
        let Some(allocatable) = node.status.as_ref().and_then(|s| s.allocatable.as_ref()) else { continue };
        for (name, sum) in &mut supply {
            let amount = allocatable.get(name).and_then(|q| thousandths(&q.0)).unwrap_or(0);
            *sum = sum.saturating_add(amount);
        }
    }
    supply
}

/// Whether a change of a node may change what it brings along.
#[must_use]
pub fn differ(before: &Node, after: &Node) -> bool {
    let allocatable = |n: &Node| n.status.as_ref().and_then(|s| s.allocatable.clone());
    takes_pods(before) != takes_pods(after)
        || before.metadata.labels != after.metadata.labels
        || allocatable(before) != allocatable(after)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn node(name: &str, labels: Value, ready: &str, allocatable: Value) -> Node {
        let node = json!({"metadata": {"name": name, "labels": labels},
            "status": {"allocatable": allocatable, "conditions": [{"type": "Ready", "status": ready}]}});
        serde_json::from_value(node).unwrap()
    }

    #[test]
    fn the_sum_of_what_ready_nodes_have_that_are_meant() {
        let gpu = |count: &str| json!({"nvidia.com/gpu": count, "cpu": "3920m", "memory": "16374084Ki"});
        let mut cordoned = node("d", json!({"gpu": "a100"}), "True", gpu("64"));
        cordoned.spec = Some(serde_json::from_value(json!({"unschedulable": true})).unwrap());
        let nodes = [
            node("a", json!({"gpu": "a100"}), "True", gpu("8")),
            node("b", json!({"gpu": "a100"}), "False", gpu("16")),
            node("c", json!({"gpu": "t4"}), "True", gpu("32")),
            cordoned,
            node("e", json!({"gpu": "a100"}), "True", json!({"cpu": "2"})),
        ];
        let wish = |selector: Value| -> NodeSupply {
            serde_json::from_value(json!({"selector": selector, "resources": ["nvidia.com/gpu", "cpu"]})).unwrap()
        };
        let found = supply(&wish(json!({"matchLabels": {"gpu": "a100"}})), &nodes);
        let expected = [("cpu".to_owned(), 5920), ("nvidia.com/gpu".to_owned(), 8000)];
        assert_eq!(found, expected.clone().into());
        let all = supply(&wish(Value::Null), &nodes);
        assert_eq!(all["nvidia.com/gpu"], 40_000);
        assert_eq!(supply(&wish(Value::Null), []), [("cpu".to_owned(), 0), ("nvidia.com/gpu".to_owned(), 0)].into());
        assert!(differ(&nodes[0], &nodes[1]) && !differ(&nodes[0], &nodes[0]));
    }
}
