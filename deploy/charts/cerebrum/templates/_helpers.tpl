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

{{- define "cerebrum.env" -}}
{{- range $name, $value := . }}
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

{{- define "cerebrum.taskNamespace" -}}
{{ .Values.agent.taskNamespace | default .Release.Namespace }}
{{- end -}}
