{{- define "recsys.name" -}}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{- end }}
{{- define "recsys.image" -}}{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{- end }}
{{- define "recsys.labels" -}}
app.kubernetes.io/name: recsys-assets
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* A name of Kubernetes for a code location: it allows no underscore. */}}
{{- define "recsys.location" -}}
{{ include "recsys.name" .root }}-code-{{ .of | replace "_" "-" }}
{{- end }}

{{- define "recsys.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* What each of our own pods has besides its containers. */}}
{{- define "recsys.pod" -}}
securityContext: {{- toYaml .Values.podSecurityContext | nindent 2 }}
enableServiceLinks: false
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* What each of our own containers has: the root file system is read-only, so /tmp and DAGSTER_HOME are volumes. */}}
{{- define "recsys.container" -}}
image: {{ include "recsys.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext: {{- include "recsys.containerSecurity" . | nindent 2 }}
envFrom:
  {{- range .Values.secrets }}
  - secretRef: {name: {{ . }}}
  {{- end }}
{{- end }}

{{- define "recsys.env" -}}
- {name: DAGSTER_HOME, value: /var/lib/dagster}
{{- range $name, $value := .Values.env }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}

{{- define "recsys.mounts" -}}
- {name: home, mountPath: /var/lib/dagster}
- {name: instance, mountPath: /var/lib/dagster/dagster.yaml, subPath: dagster.yaml, readOnly: true}
- {name: tmp, mountPath: /tmp}
{{- end }}

{{- define "recsys.volumes" -}}
- {name: home, emptyDir: {}}
- {name: tmp, emptyDir: {}}
{{- end }}

{{/* dagster.yaml: that of the project for PostgreSQL, with runs as Jobs. */}}
{{- define "recsys.instance" -}}
{{- $instance := .Files.Get "files/dagster.yaml" | fromYaml }}
{{- $launcher := include "recsys.launcher" . | fromYaml }}
{{- $instance = mergeOverwrite $instance $launcher (deepCopy .Values.instance) }}
{{- toYaml $instance }}
{{- end }}

{{- define "recsys.launcher" -}}
concurrency:
  runs:
    max_concurrent_runs: {{ .Values.runs.most }}
# The log of a run is that of its pod: kubectl logs.
compute_logs:
  module: dagster._core.storage.noop_compute_log_manager
  class: NoOpComputeLogManager
run_launcher:
  module: dagster_k8s
  class: K8sRunLauncher
  config:
    job_namespace: {{ .Release.Namespace }}
    service_account_name: {{ include "recsys.name" . }}-runs
    instance_config_map: {{ include "recsys.name" . }}-instance
    dagster_home: /var/lib/dagster
    image_pull_policy: {{ .Values.image.pullPolicy }}
    {{- with .Values.image.pullSecrets }}
    image_pull_secrets: {{- toYaml . | nindent 6 }}
    {{- end }}
    env_secrets: {{- toYaml .Values.secrets | nindent 6 }}
    {{- with .Values.env }}
    env_vars:
      {{- range $name, $value := . }}
      - {{ printf "%s=%s" $name $value | quote }}
      {{- end }}
    {{- end }}
    labels: {{- include "recsys.labels" . | nindent 6 }}
    security_context: {{- include "recsys.containerSecurity" . | nindent 6 }}
    volumes:
      - {name: home, emptyDir: {}}
      - {name: tmp, emptyDir: {sizeLimit: {{ .Values.runs.scratch }}}}
      {{- with .Values.claim }}
      - {name: data, persistentVolumeClaim: {claimName: {{ . }}}}
      {{- end }}
    volume_mounts:
      - {name: home, mountPath: /var/lib/dagster}
      - {name: tmp, mountPath: /tmp}
      {{- if .Values.claim }}
      - {name: data, mountPath: /data}
      {{- end }}
    run_k8s_config:
      pod_spec_config:
        automount_service_account_token: false
        security_context: {{- toYaml .Values.podSecurityContext | nindent 10 }}
        {{- with .Values.runs.nodeSelector }}
        node_selector: {{- toYaml . | nindent 10 }}
        {{- end }}
        {{- with .Values.runs.tolerations }}
        tolerations: {{- toYaml . | nindent 10 }}
        {{- end }}
      # A node that is scaled down waits for the run on it.
      pod_template_spec_metadata:
        annotations:
          cluster-autoscaler.kubernetes.io/safe-to-evict: "false"
          karpenter.sh/do-not-disrupt: "true"
      job_spec_config:
        ttl_seconds_after_finished: {{ .Values.runs.keepSeconds }}
{{- end }}

{{- define "recsys.workspace" -}}
load_from:
  {{- range $of, $location := .Values.locations }}
  - grpc_server:
      host: {{ include "recsys.location" (dict "root" $ "of" $of) }}
      port: 4000
      location_name: {{ $of }}
  {{- end }}
{{- end }}

{{/* What a run of a code location has besides what every run has. */}}
{{- define "recsys.ofRuns" -}}
k8s:
  env_vars: [RECSYS_CONFIG=/etc/recsys-assets/surfaces.yaml]
  volumes:
    - {name: surfaces, configMap: {name: {{ include "recsys.location" . }}}}
  volume_mounts:
    - {name: surfaces, mountPath: /etc/recsys-assets, readOnly: true}
  resources: {{- toYaml (.values.runResources | default .root.Values.runs.resources) | nindent 4 }}
{{- end }}
