{{- define "medley.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "medley.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "medley.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "medley.selectorLabels" -}}
app.kubernetes.io/name: {{ include "medley.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "medley.labels" -}}
{{ include "medley.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: medley
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{- define "medley.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "medley.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "medley.leaseName" -}}
{{- default (include "medley.fullname" .) .Values.leaderElection.leaseName -}}
{{- end -}}

{{- define "medley.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{/* The namespaces worked in, separated by commas; empty means the whole cluster. */}}
{{- define "medley.namespaces" -}}
{{- if not .Values.clusterWide -}}
{{- join "," (default (list .Release.Namespace) .Values.namespaces) -}}
{{- end -}}
{{- end -}}

{{/* A name of the cluster: other releases may have the same in other namespaces. */}}
{{- define "medley.poolsRole" -}}
{{- printf "%s-%s-pools" .Release.Namespace (include "medley.fullname" .) -}}
{{- end -}}

{{- define "medley.registryRole" -}}
{{- printf "%s-%s-registry" .Release.Namespace (include "medley.fullname" .) -}}
{{- end -}}

{{/* Rules between values, which a JSON schema cannot say or cannot say clearly. */}}
{{- define "medley.validate" -}}
{{- if and .Values.clusterWide .Values.namespaces -}}
{{- fail "namespaces must be empty when clusterWide is true: list the namespaces, or work in all of them" -}}
{{- end -}}
{{- if and .Values.registry.enabled (eq .Values.registry.tlsSecret "") -}}
{{- fail "registry.tlsSecret must be set where registry.enabled is true: tokens are never taken in the clear" -}}
{{- end -}}
{{- if and .Values.registry.enabled (eq (int .Values.registry.port) (int .Values.http.port)) -}}
{{- fail "registry.port must differ from http.port" -}}
{{- end -}}
{{- $names := dict -}}
{{- range .Values.clientCertificates -}}
{{- $name := printf "%s/%s" .namespace .name -}}
{{- if hasKey $names $name -}}
{{- fail (printf "clientCertificates: %s is there twice: give each a name of its own in its namespace" $name) -}}
{{- end -}}
{{- $_ := set $names $name true -}}
{{- end -}}
{{- with .Values.signals -}}
{{- if and .expressions (not .prometheus.url) -}}
{{- fail "signals.prometheus.url must be set where signals.expressions has any: they are evaluated there" -}}
{{- end -}}
{{- if and .prometheus.caSecret (not (hasPrefix "https://" .prometheus.url)) -}}
{{- fail "signals.prometheus.url must begin with https:// where signals.prometheus.caSecret is set: the Secret holds the authority of the server's certificate" -}}
{{- end -}}
{{- $signals := dict -}}
{{- range .expressions -}}
{{- if hasKey $signals .name -}}
{{- fail (printf "signals.expressions: %s is there twice: give each a name of its own" .name) -}}
{{- end -}}
{{- $_ := set $signals .name true -}}
{{- end -}}
{{- end -}}
{{- with .Values.mirrors -}}
{{- if and (eq .redis.url "") (or .redis.existingSecret .redis.caSecret) -}}
{{- fail "mirrors.redis.url must be set where mirrors.redis.existingSecret or mirrors.redis.caSecret is: they are of no use without" -}}
{{- end -}}
{{- if and .redis.url (ne (hasPrefix "rediss://" .redis.url) (ne .redis.caSecret "")) -}}
{{- fail "mirrors.redis.url must begin with rediss:// where mirrors.redis.caSecret is set, and only there: the Secret holds the authority of the server's certificate" -}}
{{- end -}}
{{- if gt (mul 3 (trimSuffix "s" .renew | int)) (trimSuffix "s" .ttl | int) -}}
{{- fail (printf "mirrors.renew (%s) must be at most a third of mirrors.ttl (%s): entries have to outlive a renewal that fails" .renew .ttl) -}}
{{- end -}}
{{- if gt (trimSuffix "s" .ttl | int) 3600 -}}
{{- fail (printf "mirrors.ttl (%s) must be at most 3600s" .ttl) -}}
{{- end -}}
{{- end -}}
{{- $lease := trimSuffix "s" .Values.leaderElection.leaseDuration | int -}}
{{- $renew := trimSuffix "s" .Values.leaderElection.renewDeadline | int -}}
{{- $retry := trimSuffix "s" .Values.leaderElection.retryPeriod | int -}}
{{- if lt $lease (add $renew 4 | int) -}}
{{- fail (printf "leaderElection.leaseDuration (%ds) must be at least 4s longer than leaderElection.renewDeadline (%ds): a call of the old leader may take that long, and has to end before a new one starts" $lease $renew) -}}
{{- end -}}
{{- if gt (mul $retry 2 | int) $renew -}}
{{- fail (printf "leaderElection.retryPeriod (%ds) must be at most half of leaderElection.renewDeadline (%ds): a lost renewal has to be made up for" $retry $renew) -}}
{{- end -}}
{{- if and .Values.podDisruptionBudget.enabled (gt (int .Values.replicas) 1) (ge (int .Values.podDisruptionBudget.maxUnavailable) (int .Values.replicas)) -}}
{{- fail (printf "podDisruptionBudget.maxUnavailable (%d) must be smaller than replicas (%d): otherwise it protects nothing" (int .Values.podDisruptionBudget.maxUnavailable) (int .Values.replicas)) -}}
{{- end -}}
{{- end -}}
