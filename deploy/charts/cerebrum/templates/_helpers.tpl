{{- define "cerebrum.name" -}}
{{- if contains "cerebrum" .Release.Name -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-cerebrum" .Release.Name | trunc 40 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{/* Labels that say which part of which release: (dict "root" $ "part" "agent"). */}}
{{- define "cerebrum.selector" -}}
app.kubernetes.io/name: cerebrum
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end -}}

{{- define "cerebrum.labels" -}}
{{ include "cerebrum.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{- define "cerebrum.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{/* What no container of ours needs, it does not get. */}}
{{- define "cerebrum.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "cerebrum.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "cerebrum.placing" -}}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{/* Variables of values.yaml, none of which the chart sets itself:
     (dict "given" .env "own" LIST "where" "agent.env"). */}}
{{- define "cerebrum.env" -}}
{{- $given := .given }}
{{- $where := .where }}
{{- range fromYamlArray .own }}
{{- if hasKey $given .name }}
{{- fail (printf "%s: %s is set by the chart: expected it as a value of its own" $where .name) }}
{{- end }}
{{- end }}
{{- range $name, $value := $given }}
- name: {{ $name }}
  value: {{ $value | toString | quote }}
{{- end }}
{{- end -}}

{{- define "cerebrum.controllerScheme" -}}
{{ if .Values.controller.tlsSecret }}https{{ else }}http{{ end }}
{{- end -}}

{{/* The controller's address for this release's agent: '' works alone. */}}
{{- define "cerebrum.gccUrl" -}}
{{- if .Values.agent.gccUrl -}}
{{ .Values.agent.gccUrl }}
{{- else if .Values.controller.enabled -}}
{{ include "cerebrum.controllerScheme" . }}://{{ include "cerebrum.name" . }}-controller.{{ .Release.Namespace }}.svc:{{ .Values.controller.port }}
{{- end -}}
{{- end -}}

{{/* The ports of these addresses, as a YAML list. */}}
{{- define "cerebrum.gccPorts" -}}
{{- $ports := list }}
{{- range splitList "," (include "cerebrum.gccUrl" .) }}
{{- if . }}
{{- $url := urlParse . }}
{{- $port := regexFind "[0-9]+$" (regexFind ":[0-9]+$" $url.host) | default (ternary "443" "80" (eq $url.scheme "https")) }}
{{- $ports = append $ports (int $port) }}
{{- end }}
{{- end }}
{{- toYaml (uniq $ports) }}
{{- end -}}

{{- define "cerebrum.taskNamespace" -}}
{{ .Values.agent.taskNamespace | default .Release.Namespace }}
{{- end -}}

{{/* A volume of each replica: (dict "name" NAME "volume" VALUES with size and storageClassName). */}}
{{- define "cerebrum.claim" -}}
- metadata:
    name: {{ .name }}
  spec:
    accessModes: [ReadWriteOnce]
    {{- with .volume.storageClassName }}
    storageClassName: {{ . }}
    {{- end }}
    resources:
      requests:
        storage: {{ .volume.size }}
{{- end -}}
