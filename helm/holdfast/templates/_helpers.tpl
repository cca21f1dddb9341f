{{/* The name of everything. Pods get an ordinal and labels a hash behind it, which together may have 63 characters. */}}
{{- define "holdfast.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains "holdfast" .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-holdfast" (.Release.Name | trunc 31 | trimSuffix "-") -}}
{{- end -}}
{{- end -}}

{{/* The headless service, which gives each node its DNS name. */}}
{{- define "holdfast.nodesService" -}}
{{ include "holdfast.fullname" . }}-nodes
{{- end -}}

{{- define "holdfast.selectorLabels" -}}
app.kubernetes.io/name: holdfast
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* The pods that are nodes, and not those that test them. */}}
{{- define "holdfast.nodeSelectorLabels" -}}
{{ include "holdfast.selectorLabels" . }}
app.kubernetes.io/component: node
{{- end -}}

{{- define "holdfast.labels" -}}
{{ include "holdfast.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "holdfast.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* The cluster's id: what was given, or one that follows from where the release is, the same at every upgrade. */}}
{{- define "holdfast.clusterId" -}}
{{- if .Values.config.node.cluster_id -}}
{{- .Values.config.node.cluster_id -}}
{{- else -}}
{{- $hash := printf "holdfast %s %s" .Release.Namespace (include "holdfast.fullname" .) | sha256sum -}}
{{- printf "%s-%s-8%s-8%s-%s" (substr 0 8 $hash) (substr 8 12 $hash) (substr 12 15 $hash) (substr 15 18 $hash) (substr 18 30 $hash) -}}
{{- end -}}
{{- end -}}

{{/* node.toml without node_id, which comes from the pod. JSON's numbers, strings and booleans are TOML's too. */}}
{{- define "holdfast.nodeToml" -}}
{{- $root := . -}}
[node]
cluster_id = {{ include "holdfast.clusterId" . | toJson }}
# A folder of its own: a fresh volume may hold what its file system put there.
data_dir = "/var/lib/holdfast/node"
{{- range $key, $value := omit .Values.config.node "cluster_id" }}
{{ $key }} = {{ toJson $value }}
{{- end }}

[listen]
client = {{ printf "%s:7301" .Values.listenAddress | toJson }}
peer = {{ printf "%s:7302" .Values.listenAddress | toJson }}
http = {{ printf "%s:7303" .Values.listenAddress | toJson }}

[security]
# The chart brings no certificates: the NetworkPolicy says who reaches the ports.
allow_plaintext = true
{{ range $section, $keys := omit .Values.config "node" }}
{{- if $keys }}
[{{ $section }}]
{{- range $key, $value := $keys }}
{{ $key }} = {{ toJson $value }}
{{- end }}
{{ end }}
{{- end }}
{{- range $node := untilStep 1 (int (add1 (int .Values.replicaCount))) 1 }}
{{- $host := printf "%s-%d.%s.%s.svc.%s" (include "holdfast.fullname" $root) $node (include "holdfast.nodesService" $root) $root.Release.Namespace $root.Values.clusterDomain }}
[[peers]]
node_id = {{ $node }}
client_address = "{{ $host }}:7301"
peer_address = "{{ $host }}:7302"
{{ end }}
{{- end -}}

{{/* What the Pod Security standard `restricted` asks of a pod, and a user of the image. */}}
{{- define "holdfast.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* The same of a container. */}}
{{- define "holdfast.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* What a schema cannot say, because it is about two values. All of it at once. */}}
{{- define "holdfast.check" -}}
{{- $problems := list -}}
{{- $drain_ms := int64 .Values.config.limits.drain_ms -}}
{{- $least := add 10 (div (add $drain_ms 999) 1000) -}}
{{- if lt (int64 .Values.terminationGracePeriodSeconds) $least -}}
{{- $problems = append $problems (printf "terminationGracePeriodSeconds is %d: choose at least %d, ten seconds more than config.limits.drain_ms (%d)" (int64 .Values.terminationGracePeriodSeconds) $least $drain_ms) -}}
{{- end -}}
{{- $raft := .Values.config.raft -}}
{{- $heartbeat := int64 (get $raft "heartbeat_ms" | default 50) -}}
{{- $min := int64 (get $raft "election_timeout_min_ms" | default 250) -}}
{{- $max := int64 (get $raft "election_timeout_max_ms" | default 500) -}}
{{- if lt $min (mul 3 $heartbeat) -}}
{{- $problems = append $problems (printf "config.raft.election_timeout_min_ms is %d: choose at least %d, three times config.raft.heartbeat_ms" $min (mul 3 $heartbeat)) -}}
{{- end -}}
{{- if le $max $min -}}
{{- $problems = append $problems (printf "config.raft.election_timeout_max_ms is %d: choose more than config.raft.election_timeout_min_ms (%d)" $max $min) -}}
{{- end -}}
{{- $limits := .Values.config.limits -}}
{{- $deadline := int64 (get $limits "default_deadline_ms" | default 5000) -}}
{{- if lt (int64 (get $limits "max_deadline_ms" | default 60000)) $deadline -}}
{{- $problems = append $problems (printf "config.limits.max_deadline_ms is less than config.limits.default_deadline_ms (%d)" $deadline) -}}
{{- end -}}
{{- $ledger := .Values.config.ledger -}}
{{- $window := int64 (get $ledger "operation_window_ms" | default 86400000) -}}
{{- if lt (int64 (get $ledger "closed_retention_ms" | default 86400000)) $window -}}
{{- $problems = append $problems (printf "config.ledger.closed_retention_ms is less than config.ledger.operation_window_ms (%d)" $window) -}}
{{- end -}}
{{- if lt (int64 (get $ledger "shipped_retention_ms" | default 7776000000)) $window -}}
{{- $problems = append $problems (printf "config.ledger.shipped_retention_ms is less than config.ledger.operation_window_ms (%d)" $window) -}}
{{- end -}}
{{- if $problems -}}
{{- fail (printf "these values cannot work:\n  - %s" (join "\n  - " $problems)) -}}
{{- end -}}
{{- end -}}
