//! On a real node: services of each backend have names in cluster DNS that pods can use, and a host outside the cluster
//! leaves and re-enters its name with its health.

mod site;

use std::time::{Duration, Instant};

use site::{Operator, Site, until};

/// A workload's and an external service's name and SRV record resolve in a pod, and the connection works.
#[test]
#[ignore = "needs a real node: make test-node"]
fn names_of_workload_and_external_services_resolve_and_connect() {
    let site = Site::new("dns");
    let _operator = Operator::start(&site);
    let outside = site.serve();
    site.apply(&format!(
        "{{apiVersion: medley.health/v1alpha1, kind: MedicalService, metadata: {{name: archive}}, spec: {{\
           external: {{endpoints: [{{host: {host}}}]}}, \
           interfaces: [{{name: http, port: {port}, protocol: HTTP, probe: {{interval: 1s}}}}]}}}}\n---\n\
         {{apiVersion: medley.health/v1alpha1, kind: MedicalService, metadata: {{name: viewer}}, spec: {{\
           workload: {{image: {image}, command: [/bin/httpd, -f, -p, '8080', -h, /etc], replicas: 2, \
                       resources: {{requests: {{cpu: 10m}}}}}}, \
           interfaces: [{{name: web, port: 80, targetPort: 8080, protocol: HTTP, http: {{healthPath: /index.html}}, \
                         probe: {{interval: 1s}}}}]}}}}",
        host = site.host(),
        port = outside.port(),
        image = site::IMAGE,
    ));
    for service in ["archive", "viewer"] {
        site.kubectl(&["wait", "--for=condition=Reachable", "--timeout=60s", &format!("msvc/{service}")]);
        site.kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", &format!("msvc/{service}")]);
    }
    until("both pods are endpoints", Duration::from_secs(20), || {
        (site.get("msvc/viewer", "{.status.endpointSummary}") == "2/2").then_some(())
    });
    assert_eq!(site.get("pdb/viewer", "{.spec.maxUnavailable}"), "1");
    for (service, port_name, port, answer) in
        [("archive", "http", outside.port(), site::ANSWER), ("viewer", "web", 80, site::PAGE)]
    {
        let name = site.get(&format!("msvc/{service}"), "{.status.dnsName}");
        assert_eq!(name, format!("{service}.{}.svc.cluster.local", site.namespace));
        let address = site.get(&format!("svc/{service}"), "{.spec.clusterIP}");
        let found = site.in_pod(&["nslookup", &name]);
        assert!(found.contains(&address), "{name} should resolve to {address}:\n{found}");
        let srv = site.in_pod(&["nslookup", "-type=srv", &format!("_{port_name}._tcp.{name}")]);
        assert!(srv.contains(&format!(" {port} {name}")), "the SRV record should name port {port}:\n{srv}");
        until("the Service is programmed and answers", Duration::from_secs(20), || {
            let got = site.try_in_pod(&["wget", "-q", "-O-", &format!("http://{name}:{port}/index.html")]);
            got.is_some_and(|g| g.contains(answer)).then_some(())
        });
    }
}

/// Stop the external service's process: its endpoint leaves the `EndpointSlice`, the status names the layer; start it again: back.
#[test]
#[ignore = "needs a real node: make test-node"]
fn an_external_endpoint_follows_its_process() {
    let site = Site::new("health");
    let _operator = Operator::start(&site);
    let outside = site.serve();
    let port = outside.port();
    site.apply(&format!(
        "{{apiVersion: medley.health/v1alpha1, kind: MedicalService, metadata: {{name: archive}}, spec: {{\
           external: {{endpoints: [{{host: {host}}}]}}, \
           interfaces: [{{name: http, port: {port}, protocol: HTTP, \
             probe: {{interval: 1s, timeout: 1s, failureThreshold: 2, successThreshold: 1}}}}]}}}}",
        host = site.host(),
    ));
    site.kubectl(&["wait", "--for=condition=Reachable", "--timeout=30s", "msvc/archive"]);
    let listed = || {
        let slices = site.get("endpointslices -l medley.health/service=archive", "{.items[*].endpoints[*].addresses}");
        slices.contains(&site.host())
    };
    until("the endpoint is published", Duration::from_secs(10), || listed().then_some(()));
    for round in 1..=3 {
        let stopped = Instant::now();
        outside.pause();
        until("the endpoint leaves", Duration::from_secs(30), || (!listed()).then_some(()));
        let left = stopped.elapsed();
        until("the status names the layer", Duration::from_secs(10), || {
            (site.get("msvc/archive", "{.status.endpoints[0].reason}") == "TcpRefused").then_some(())
        });
        assert_eq!(site.get("msvc/archive", "{.status.conditions[?(@.type==\"Reachable\")].status}"), "False");
        // live health never blocks a rollout
        assert_eq!(site.get("msvc/archive", "{.status.conditions[?(@.type==\"Ready\")].status}"), "True");
        let started = Instant::now();
        outside.resume();
        until("the endpoint comes back", Duration::from_secs(30), || listed().then_some(()));
        println!(
            "round {round}: left {left:?} after the stop (2 failures, 1 s apart), back {:?} after the start",
            started.elapsed()
        );
    }
}
