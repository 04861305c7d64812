{{/*
What the operator may do where it works: the same rules for a Role of one namespace and for the ClusterRole.
No wildcard, no Secrets. Server-side apply needs patch, and create for an object that is not there yet.
*/}}
{{- define "medley.rules" -}}
- apiGroups: [medley.health]
  resources: [medicalservices, servicequeries, workflows]
  verbs: [get, list, watch]
- apiGroups: [medley.health]
  resources: [servicepolicies]
  verbs: [list, watch]
- apiGroups: [medley.health]
  resources: [workflowruns]
  verbs: [get, list, watch, create, delete]
- apiGroups: [medley.health]
  resources: [medicalservices/status, servicequeries/status, workflows/status, workflowruns/status]
  verbs: [update]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, create, delete]
- apiGroups: [""]
  resources: [pods/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, create, delete]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, delete]
- apiGroups: [apps]
  resources: [controllerrevisions]
  verbs: [get, list, watch, create, delete]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [deployments, statefulsets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}

{{/* Of the cluster: what is granted, the labels by which a pool's shares choose namespaces, and what nodes bring along. */}}
{{- define "medley.poolRules" -}}
- apiGroups: [medley.health]
  resources: [capacitypools]
  verbs: [list, watch]
- apiGroups: [medley.health]
  resources: [capacitypools/status]
  verbs: [update]
- apiGroups: [""]
  resources: [namespaces, nodes]
  verbs: [list, watch]
{{- end -}}

{{/* Of the cluster: Kubernetes is asked who reads the registry, and whether they may. Nothing is stored by it. */}}
{{- define "medley.registryRules" -}}
- apiGroups: [authentication.k8s.io]
  resources: [tokenreviews]
  verbs: [create]
- apiGroups: [authorization.k8s.io]
  resources: [subjectaccessreviews]
  verbs: [create]
{{- end -}}

{{/* Only in the operator's own namespace. A create cannot be bound to a name. */}}
{{- define "medley.leaseRules" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "medley.leaseName" . }}]
  verbs: [get, update]
{{- end -}}
