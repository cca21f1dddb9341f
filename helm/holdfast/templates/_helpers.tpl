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

{{/* The name of everything that belongs to the runner of the sinks. */}}
{{- define "holdfast.sinksName" -}}
{{ include "holdfast.fullname" . }}-sinks
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

{{/* The pods that run sinks. */}}
{{- define "holdfast.sinksSelectorLabels" -}}
{{ include "holdfast.selectorLabels" . }}
app.kubernetes.io/component: sinks
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

{{/* The schema of the node's own configuration, as JSON. */}}
{{- define "holdfast.configSchema" -}}
{{- .Files.Get "files/config.schema.json" -}}
{{- end -}}

{{/* The configuration as JSON, in which every old spelling (drain_ms: 10000) is replaced by the new one. */}}
{{- define "holdfast.config" -}}
{{- $schema := include "holdfast.configSchema" . | fromJson -}}
{{- $config := dict -}}
{{- range $section, $keys := .Values.config -}}
{{- $written := deepCopy $keys -}}
{{- range $key, $about := (get $schema.properties $section).properties -}}
{{- $old := get $about "x-old-key" -}}
{{- if and $old (hasKey $written $old) -}}
{{- $unit := ternary "ms" "B" (eq (get $about "x-unit") "time") -}}
{{- $_ := set $written $key (printf "%d%s" (int64 (get $written $old)) $unit) -}}
{{- $_ := unset $written $old -}}
{{- end -}}
{{- end -}}
{{- $_ := set $config $section $written -}}
{{- end -}}
{{- toJson $config -}}
{{- end -}}

{{/* The number of milliseconds of a time, or of bytes of a size. */}}
{{- define "holdfast.number" -}}
{{- $units := dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000 "d" 86400000 "B" 1 "KiB" 1024 "MiB" 1048576 "GiB" 1073741824 "TiB" 1099511627776 "PiB" 1125899906842624 -}}
{{- $sum := 0.0 -}}
{{- range $part := regexFindAll "[0-9]+ ?[A-Za-z]+" . -1 -}}
{{- $number := mulf (regexFind "[0-9]+" $part | float64) (get $units (regexFind "[A-Za-z]+" $part)) -}}
{{- $sum = addf $sum $number -}}
{{- end -}}
{{- printf "%.0f" $sum -}}
{{- end -}}

{{/* The section `ledger` as JSON for the immutable object: the same text whichever spelling the values have, and the text that a release of the old spelling has. */}}
{{- define "holdfast.ledgerFacts" -}}
{{- $schema := include "holdfast.configSchema" . | fromJson -}}
{{- $facts := dict -}}
{{- range $key, $value := (include "holdfast.config" . | fromJson).ledger -}}
{{- $old := get (get $schema.properties.ledger.properties $key) "x-old-key" -}}
{{- if $old -}}
{{- $_ := set $facts $old (include "holdfast.number" $value | int64) -}}
{{- else -}}
{{- $_ := set $facts $key $value -}}
{{- end -}}
{{- end -}}
{{- toJson $facts -}}
{{- end -}}

{{/* node.toml without node_id, which comes from the pod. JSON's numbers, strings and booleans are TOML's too. */}}
{{- define "holdfast.nodeToml" -}}
{{- $config := include "holdfast.config" . | fromJson -}}
[node]
cluster_id = {{ include "holdfast.clusterId" . | toJson }}
# A folder of its own: a fresh volume may hold what its file system put there.
data_dir = "/var/lib/holdfast/node"
{{- range $key, $value := omit $config.node "cluster_id" }}
{{ $key }} = {{ toJson $value }}
{{- end }}

[listen]
client = {{ printf "%s:7301" .Values.listenAddress | toJson }}
peer = {{ printf "%s:7302" .Values.listenAddress | toJson }}
http = {{ printf "%s:7303" .Values.listenAddress | toJson }}
admin = {{ printf "%s:7304" .Values.listenAddress | toJson }}

[security]
{{- if .Values.tls.enabled }}
{{- if .Values.policy.rules }}
policy = "/etc/holdfast/policy/policy.toml"
{{- else }}
admins = {{ prepend .Values.policy.admins .Values.tls.operatorPrincipal | uniq | toJson }}
{{- end }}

# The node's own certificate and its CA are named by the environment.
[tls]
client_ca = "/etc/holdfast/clients/ca.crt"
{{- else }}
# values.yaml says so: allowPlaintext. Who reaches a port may do everything there.
allow_plaintext = true
{{- end }}
{{ range $section, $keys := omit $config "node" }}
{{- if $keys }}
[{{ $section }}]
{{- range $key, $value := $keys }}
{{ $key }} = {{ toJson $value }}
{{- end }}
{{ end }}
{{- end }}
{{- end -}}

{{/* The nodes that found the cluster, and whom a node contacts that wants to join. */}}
{{- define "holdfast.peersToml" -}}
{{- $root := . -}}
{{- range $node := untilStep 1 (int (add1 (int .Values.replicaCount))) 1 }}
{{- $host := printf "%s-%d.%s.%s.svc.%s" (include "holdfast.fullname" $root) $node (include "holdfast.nodesService" $root) $root.Release.Namespace $root.Values.clusterDomain }}
[[peers]]
node_id = {{ $node }}
client_address = "{{ $host }}:7301"
peer_address = "{{ $host }}:7302"
admin_address = "{{ $host }}:7304"
{{ end }}
{{- end -}}

{{/* sinks.toml: what the values say, and where the runner listens. */}}
{{- define "holdfast.sinksToml" -}}
listen = {{ printf "%s:7305" .Values.listenAddress | toJson }}
{{ .Values.sinks.config }}
{{- end -}}

{{/* The headless service of the admin ports of the nodes that are ready. */}}
{{- define "holdfast.adminService" -}}
{{ include "holdfast.fullname" . }}-admin
{{- end -}}

{{- define "holdfast.scheme" -}}
{{ if .Values.tls.enabled }}https{{ else }}http{{ end }}
{{- end -}}

{{/* The names of the secrets. */}}
{{- define "holdfast.nodeSecretPrefix" -}}
{{ .Values.tls.nodeSecretPrefix | default (printf "%s-node-" (include "holdfast.fullname" .)) }}
{{- end -}}
{{- define "holdfast.operatorSecret" -}}
{{ .Values.tls.operatorSecret | default (printf "%s-operator" (include "holdfast.fullname" .)) }}
{{- end -}}
{{- define "holdfast.testSecret" -}}
{{ .Values.tls.testSecret | default (printf "%s-test" (include "holdfast.fullname" .)) }}
{{- end -}}

{{- define "holdfast.sinksSecret" -}}
{{ .Values.tls.sinksSecret | default (include "holdfast.sinksName" .) }}
{{- end -}}

{{/* policy.toml: the rules of the values, and what the chart's own jobs and `helm test` need. */}}
{{- define "holdfast.policyToml" -}}
{{- range $rule := .Values.policy.rules }}
[[rules]]
{{- range $key := list "principals" "verbs" "storefronts" "warehouses" }}
{{ $key }} = {{ get $rule $key | toJson }}
{{- end }}
{{ end }}
# The jobs of this chart that admit and remove nodes.
[[rules]]
principals = [{{ .Values.tls.operatorPrincipal | toJson }}]
verbs = ["admin"]
storefronts = ["*"]
warehouses = ["*"]

# The pod of `helm test`.
[[rules]]
principals = [{{ .Values.tls.testPrincipal | toJson }}]
verbs = ["reserve", "commit", "cancel", "release", "receive", "adjust"]
storefronts = ["chart-test"]
warehouses = ["CHART-TEST"]

# A cell shows the pools of all storefronts.
[[rules]]
principals = [{{ .Values.tls.testPrincipal | toJson }}]
verbs = ["read"]
storefronts = ["*"]
warehouses = ["CHART-TEST"]
{{- if .Values.sinks.enabled }}

# The runner of the sinks.
[[rules]]
principals = [{{ .Values.tls.sinksPrincipal | toJson }}]
verbs = {{ ternary (list "changes" "read") (list "changes") .Values.sinks.mayRead | toJson }}
storefronts = ["*"]
warehouses = ["*"]
{{- end }}
{{- end -}}

{{/* A client's certificate, key and the CA of the nodes as files; called with the root and the name of its secret. */}}
{{- define "holdfast.clientVolume" -}}
{{- $root := index . 0 -}}
- name: tls
  projected:
    defaultMode: 0440
    sources:
      - secret:
          name: {{ index . 1 }}
          items:
            - key: tls.crt
              path: tls.crt
            - key: tls.key
              path: tls.key
      - secret:
          name: {{ include "holdfast.nodeSecretPrefix" $root }}1
          items:
            - key: ca.crt
              path: ca.crt
{{- end -}}

{{- define "holdfast.clientEnv" -}}
- name: HOLDFAST_TLS_CA
  value: /etc/holdfast/tls/ca.crt
- name: HOLDFAST_TLS_CERT
  value: /etc/holdfast/tls/tls.crt
- name: HOLDFAST_TLS_KEY
  value: /etc/holdfast/tls/tls.key
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
{{- $schema := include "holdfast.configSchema" . | fromJson -}}
{{- $config := include "holdfast.config" . | fromJson -}}
{{- /* Each time in milliseconds and each size in bytes: what is set, or else the node's default. */ -}}
{{- $is := dict -}}
{{- range $section, $keys := .Values.config -}}
{{- range $key, $about := (get $schema.properties $section).properties -}}
{{- $old := get $about "x-old-key" -}}
{{- if and $old (hasKey $keys $old) (hasKey $keys $key) -}}
{{- $problems = append $problems (printf "config.%s.%s is the old spelling of config.%s.%s, and both are set: keep config.%s.%s" $section $old $section $key $section $key) -}}
{{- end -}}
{{- $value := get (get $config $section) $key | default (get $about "default") -}}
{{- if and $value (get $about "x-unit") -}}
{{- $number := include "holdfast.number" $value | float64 -}}
{{- $_ := set $is (printf "%s.%s" $section $key) $number -}}
{{- $least := get $about "x-minimum" -}}
{{- $most := get $about "x-maximum" -}}
{{- $isTooLow := and $least (lt $number (include "holdfast.number" $least | float64)) -}}
{{- $isTooHigh := and $most (gt $number (include "holdfast.number" $most | float64)) -}}
{{- if or $isTooLow $isTooHigh -}}
{{- $range := ternary (printf "a value from %s to %s" $least $most) (printf "at most %s" $most) (ne $least "") -}}
{{- $problems = append $problems (printf "config.%s.%s is %s: choose %s" $section $key $value $range) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $drain := get $is "limits.drain" -}}
{{- $least := add 10 (ceil (divf $drain 1000) | int64) (int64 .Values.preStopSleepSeconds) -}}
{{- if lt (int64 .Values.terminationGracePeriodSeconds) $least -}}
{{- $problems = append $problems (printf "terminationGracePeriodSeconds is %d: choose at least %d, ten seconds more than preStopSleepSeconds (%d) and config.limits.drain (%.0fms)" (int64 .Values.terminationGracePeriodSeconds) $least (int64 .Values.preStopSleepSeconds) $drain) -}}
{{- end -}}
{{- $leastTimeout := mulf 3 (get $is "raft.heartbeat") -}}
{{- $min := get $is "raft.election_timeout_min" -}}
{{- $max := get $is "raft.election_timeout_max" -}}
{{- if lt $min $leastTimeout -}}
{{- $problems = append $problems (printf "config.raft.election_timeout_min is %.0fms: choose at least %.0fms, three times config.raft.heartbeat" $min $leastTimeout) -}}
{{- end -}}
{{- if le $max $min -}}
{{- $problems = append $problems (printf "config.raft.election_timeout_max is %.0fms: choose more than config.raft.election_timeout_min (%.0fms)" $max $min) -}}
{{- end -}}
{{- range $pair := list (list "limits.max_deadline" "limits.default_deadline") (list "ledger.closed_retention" "ledger.operation_window") (list "ledger.shipped_retention" "ledger.operation_window") -}}
{{- $longer := get $is (first $pair) -}}
{{- $shorter := get $is (last $pair) -}}
{{- if lt $longer $shorter -}}
{{- $problems = append $problems (printf "config.%s is %.0fms: choose at least config.%s (%.0fms)" (first $pair) $longer (last $pair) $shorter) -}}
{{- end -}}
{{- end -}}
{{- if and (eq .Values.persistence.whenScaled "Delete") (not .Values.scaling.jobs) -}}
{{- $problems = append $problems "persistence.whenScaled is Delete although scaling.jobs is false: nobody drains the nodes whose volumes would be deleted; set it to Retain" -}}
{{- end -}}
{{- if and .Values.zoneFromPodLabel (get .Values.config.node "zone") -}}
{{- $problems = append $problems "config.node.zone is set beside zoneFromPodLabel: keep one" -}}
{{- end -}}
{{- $tls := .Values.tls -}}
{{- if and (not $tls.enabled) (not .Values.allowPlaintext) -}}
{{- $problems = append $problems "tls.enabled is false: whoever reaches a port could read and write everything. Set tls.enabled (docs/security.md), or say allowPlaintext: true where only friends reach the nodes" -}}
{{- end -}}
{{- if and $tls.enabled .Values.allowPlaintext -}}
{{- $problems = append $problems "allowPlaintext is true although tls.enabled is: remove one" -}}
{{- end -}}
{{- if $tls.enabled -}}
{{- if and $tls.certManager.enabled (not $tls.certManager.nodeIssuer.name) -}}
{{- $problems = append $problems "tls.certManager.nodeIssuer.name is empty: name the cert-manager issuer that signs for the nodes (of a CA of your own), or set tls.certManager.enabled to false and bring the secrets" -}}
{{- end -}}
{{- if and (not $tls.certManager.enabled) (not $tls.nodeSecretPrefix) -}}
{{- $problems = append $problems "tls.enabled is true and nobody makes the certificates: set tls.certManager.enabled, or tls.nodeSecretPrefix (and tls.operatorSecret, tls.testSecret) to secrets that are there; to try things out without certificates set tls.enabled to false and allowPlaintext to true" -}}
{{- end -}}
{{- else if or .Values.policy.rules .Values.policy.admins -}}
{{- $problems = append $problems "policy is set without tls.enabled, so nobody's name is known" -}}
{{- end -}}
{{- if and .Values.policy.rules .Values.policy.admins -}}
{{- $problems = append $problems "policy.admins is set beside policy.rules: keep one; a rule with verbs: [admin] says the same" -}}
{{- end -}}
{{- $sinks := .Values.sinks -}}
{{- if $sinks.enabled -}}
{{- if not (trim $sinks.config) -}}
{{- $problems = append $problems "sinks.config is empty: name at least one sink, such as [sinks.product-pages] (docs/operations.md, Sinks), or set sinks.enabled to false" -}}
{{- end -}}
{{- if regexMatch "(?m)^\\s*[\"']?listen[\"']?\\s*=" $sinks.config -}}
{{- $problems = append $problems "sinks.config sets listen, which the chart sets itself: remove that line" -}}
{{- end -}}
{{- if or (regexMatch "(?i)(password|passphrase|secret|token|private_key)[\"']?\\s*=\\s*[\"']" $sinks.config) (regexMatch "://[^/@\\s]*:[^/@\\s]+@" $sinks.config) -}}
{{- $problems = append $problems "sinks.config contains a secret, and everybody who reads the ConfigMap could read it: put it into a Secret, name that in sinks.secretFiles or sinks.secretEnv, and refer to it with { file = \"/etc/holdfast/secrets/SECRET/KEY\" } or { env = \"VARIABLE\" }" -}}
{{- end -}}
{{- range $each := $sinks.secretEnv -}}
{{- if hasPrefix "HOLDFAST_" $each.name -}}
{{- $problems = append $problems (printf "sinks.secretEnv names %s, and the chart sets the variables of that kind itself: choose a name that does not begin with HOLDFAST_" $each.name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if $problems -}}
{{- fail (printf "these values cannot work:\n  - %s" (join "\n  - " $problems)) -}}
{{- end -}}
{{- end -}}

{{/* What all certificates have; called with `common` and `issuer`. */}}
{{- define "holdfast.certificateSpec" -}}
duration: {{ .common.duration }}
renewBefore: {{ .common.renewBefore }}
privateKey:
  algorithm: ECDSA
  size: 256
  rotationPolicy: Always
issuerRef:
  name: {{ .issuer.name }}
  kind: {{ .issuer.kind }}
  group: {{ .issuer.group }}
{{- end -}}

{{/* A job of an operator's: `root`, `name`, `hook`, `weight`, `args`. It may be run again at any time. */}}
{{- define "holdfast.operatorJob" -}}
{{- $root := .root -}}
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ include "holdfast.fullname" $root }}-{{ .name }}
  labels:
    {{- include "holdfast.labels" $root | nindent 4 }}
    app.kubernetes.io/component: operator
  annotations:
    helm.sh/hook: {{ .hook }}
    # The one before goes first; what went wrong can be read until the next upgrade or ttlSecondsAfterFinished.
    helm.sh/hook-delete-policy: before-hook-creation
spec:
  activeDeadlineSeconds: {{ $root.Values.scaling.timeoutSeconds }}
  backoffLimit: {{ $root.Values.scaling.backoffLimit }}
  ttlSecondsAfterFinished: {{ $root.Values.scaling.ttlSecondsAfterFinished }}
  template:
    metadata:
      labels:
        {{- include "holdfast.selectorLabels" $root | nindent 8 }}
        app.kubernetes.io/component: operator
    spec:
      serviceAccountName: {{ include "holdfast.fullname" $root }}
      automountServiceAccountToken: false
      enableServiceLinks: false
      restartPolicy: Never
      securityContext:
        {{- include "holdfast.podSecurityContext" $root | nindent 8 }}
      {{- with $root.Values.imagePullSecrets }}
      imagePullSecrets:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $root.Values.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $root.Values.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      containers:
        - name: operator
          image: {{ include "holdfast.image" $root }}
          imagePullPolicy: {{ $root.Values.image.pullPolicy }}
          args: {{ .args | toJson }}
          env:
            - name: HOLDFAST_ADMIN_ADDRESS
              value: {{ include "holdfast.adminService" $root }}.{{ $root.Release.Namespace }}.svc.{{ $root.Values.clusterDomain }}:7304
            - name: HOLDFAST_ENDPOINTS
              value: {{ include "holdfast.scheme" $root }}://{{ include "holdfast.fullname" $root }}:7301
            {{- if $root.Values.tls.enabled }}
            {{- include "holdfast.clientEnv" $root | nindent 12 }}
            {{- end }}
          resources:
            requests:
              cpu: 50m
              memory: 64Mi
            limits:
              memory: 128Mi
          securityContext:
            {{- include "holdfast.containerSecurityContext" $root | nindent 12 }}
          {{- if $root.Values.tls.enabled }}
          volumeMounts:
            - name: tls
              mountPath: /etc/holdfast/tls
              readOnly: true
          {{- end }}
      {{- if $root.Values.tls.enabled }}
      volumes:
        {{- include "holdfast.clientVolume" (list $root (include "holdfast.operatorSecret" $root)) | nindent 8 }}
      {{- end }}
{{- end -}}
